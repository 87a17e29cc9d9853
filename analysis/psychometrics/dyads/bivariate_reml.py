"""REML for two roles' scores grouped by clinician: a 2×2 covariance matrix between and one within, many fits at once.

The likelihood needs of each clinician only sums, and its matrices depend only on how many dyads have both sides, the
patient's alone, the clinician's alone. Clinicians with the same three counts are therefore added up first, and all
resamples and scales are fitted together: arrays are (pattern, fit), the six parameters of a fit stand in one column.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from analysis.psychometrics.response_matrix import FloatArray, IntArray

BoolArray = npt.NDArray[np.bool_]

#: Positions of the pairs (both: patient, both: clinician, patient alone, clinician alone) in a packed 4×4 matrix.
_PAIRS: Final = tuple((i, j) for i in range(4) for j in range(i, 4))
_AT: Final = {pair: k for k, pair in enumerate(_PAIRS)} | {(j, i): k for k, (i, j) in enumerate(_PAIRS)}
#: A fit has settled when a Newton step would change −2 log-likelihood by less than this.
_SETTLED: Final = 1e-13
_MAXIMUM_STEPS: Final = 200
#: Steps before which B's triangle is chosen anew.
_TURNS: Final = frozenset({0, 2, 4, 7, 11, 20, 40, 80})


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ClinicianMoments:
    """Per clinician: counts of the three kinds of dyads, sums, products of sums, and sums of products of one scale."""

    counts: FloatArray  # (3, n_clinicians): both sides, the patient's alone, the clinician's alone
    sums: FloatArray  # (4, n_clinicians)
    products: FloatArray  # (5, n_clinicians): both: pp, pc, cc; patient alone: pp; clinician alone: cc


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BivariateFits:
    """Estimates of n fits. Matrices are packed as (11, 12, 22) in the first axis."""

    between: FloatArray  # (3, n)
    within: FloatArray  # (3, n)
    mean: FloatArray  # (2, n)
    mean_covariance: FloatArray  # (3, n)
    deviance: FloatArray  # (n,): −2 restricted log-likelihood without its constant
    converged: BoolArray  # (n,)


def clinician_moments(
    patient: FloatArray, clinician: FloatArray, codes: IntArray, n_clinicians: int
) -> ClinicianMoments:
    """Add up one scale's scores by clinician; NaN for a missing side."""
    has_p, has_c = ~np.isnan(patient), ~np.isnan(clinician)
    both, only_p, only_c = has_p & has_c, has_p & ~has_c, has_c & ~has_p
    p, c = np.where(has_p, patient, 0.0), np.where(has_c, clinician, 0.0)

    def add(values: npt.ArrayLike) -> FloatArray:
        weights = np.asarray(values, dtype=np.float64)
        return np.bincount(codes, weights=weights, minlength=n_clinicians).astype(np.float64)

    return ClinicianMoments(
        counts=np.stack([add(kind) for kind in (both, only_p, only_c)]),
        sums=np.stack([add(p * both), add(c * both), add(p * only_p), add(c * only_c)]),
        products=np.stack(
            [add(p * p * both), add(p * c * both), add(c * c * both), add(p * p * only_p), add(c * c * only_c)]
        ),
    )


@dataclass(slots=True, kw_only=True, eq=False)
class _Problem:
    """Sufficient statistics of n fits that share their patterns."""

    pattern: FloatArray  # (3, g): dyads of each kind of a clinician of the pattern
    weight: FloatArray  # (g, n): clinicians of the pattern
    sums: FloatArray  # (4, g, n)
    squares: FloatArray  # (10, g, n): products of sums, packed
    products: FloatArray  # (5, n)
    counts: FloatArray  # (3, n)
    totals: FloatArray  # (4, n)
    singles: bool  # whether any dyad has one side only
    upper: BoolArray  # (n,): which triangle B is factored into, see `_matrices`

    def take(self, chosen: IntArray) -> "_Problem":
        return _Problem(
            pattern=self.pattern,
            weight=self.weight[:, chosen],
            sums=self.sums[:, :, chosen],
            squares=self.squares[:, :, chosen],
            products=self.products[:, chosen],
            counts=self.counts[:, chosen],
            totals=self.totals[:, chosen],
            singles=self.singles,
            upper=self.upper[chosen],
        )


def fit_bivariate(
    scales: list[ClinicianMoments], draws: FloatArray, *, near: BivariateFits | None = None
) -> BivariateFits:
    """Fit every scale on every resample of clinicians; scales must share their counts.

    Parameters
    ----------
    scales : list of ClinicianMoments
        Scores of mean about 0 and SD about 1, so that starting values and tolerances suit.
    draws : array, shape (n_draws, n_clinicians)
        How often each clinician counts.
    near : BivariateFits, optional
        One fit a scale to start from: of the data themselves, when resamples are fitted.

    Returns
    -------
    BivariateFits
        n = n_scales · n_draws fits, the draws of the first scale first.

    Notes
    -----
    With u_i ~ N(0, B) and A_i the information of clinician i's dyads about μ + u_i (n_i·W⁻¹ for complete dyads):
    −2ℓ = Σ n_i·ln|W| + ln|I + B·A_i| + tr(W⁻¹·S_i(μ)) − r_iᵀ(B⁻¹ + A_i)⁻¹r_i + ln|Σ(A_i⁻¹ + B)⁻¹|, μ by generalised
    least squares. B = LLᵀ with a free triangle, so that B may become singular; W by a triangle with logarithms on its
    diagonal. Newton's method with the analytic gradient, its differences as Hessian, and eigenvalues turned positive.
    """
    problem = _problem(scales, draws)
    parameters = _start(problem) if near is None else np.repeat(_start_from(near), len(draws), axis=1)
    n_fits = parameters.shape[1]
    deviance, gradient = _evaluate(parameters, problem)
    converged = np.zeros(n_fits, dtype=bool)
    active = np.arange(n_fits)
    current = problem
    for number in range(_MAXIMUM_STEPS):
        theta, value, slope = parameters[:, active], deviance[active], gradient[:, active]
        if number in _TURNS and _turn_triangles(theta, current.upper).any():
            problem.upper[active] = current.upper
            value, slope = _evaluate(theta, current)
        hessian = _hessian(theta, slope, current)
        eigenvalues, vectors = np.linalg.eigh(np.moveaxis(hessian, -1, 0))
        size = np.abs(eigenvalues)
        size = np.maximum(size, 1e-8 * size.max(axis=1, keepdims=True) + 1e-12)
        along = np.einsum("nji,jn->ni", vectors, slope)
        decrement = (along**2 / size).sum(axis=1)
        step = -np.einsum("nij,nj->in", vectors, along / size)
        length = np.sqrt((step**2).sum(axis=0))
        step *= np.minimum(1.0, 1.5 / np.maximum(length, 1e-300))
        done = decrement < _SETTLED * np.maximum(1.0, np.abs(value))
        moved, moved_value, moved_slope, stuck = _search_line(theta, step, value, slope, decrement, current)
        parameters[:, active], deviance[active], gradient[:, active] = moved, moved_value, moved_slope
        converged[active] = done | (stuck & (decrement < 1e-8 * np.maximum(1.0, np.abs(value))))
        going = ~(done | stuck)
        if not going.any():
            break
        if not going.all():
            active = active[going]
            current = problem.take(active)
    return _estimates(parameters, problem, deviance, converged)


def _problem(scales: list[ClinicianMoments], draws: FloatArray) -> _Problem:
    counts = scales[0].counts
    pattern, member = np.unique(counts, axis=1, return_inverse=True)
    member = np.asarray(member).reshape(-1)
    n_patterns = pattern.shape[1]
    indicator = (member[:, None] == np.arange(n_patterns)).astype(np.float64)  # (n_clinicians, g)
    weight = draws @ indicator  # (n_draws, g)
    n_scales = len(scales)

    def by_pattern(rows: FloatArray) -> FloatArray:
        """(k, n_clinicians) → (k, g, n_draws)"""
        spread = rows[:, :, None] * indicator[None]
        return np.stack([(draws @ part).T for part in spread])

    def over_scales(parts: list[FloatArray]) -> FloatArray:
        return np.concatenate(parts, axis=-1)

    squares = [np.stack([scale.sums[i] * scale.sums[j] for i, j in _PAIRS]) for scale in scales]
    return _Problem(
        pattern=pattern.astype(np.float64),
        weight=np.tile(weight.T, (1, n_scales)),
        sums=over_scales([by_pattern(scale.sums) for scale in scales]),
        squares=over_scales([by_pattern(part) for part in squares]),
        products=over_scales([(draws @ scale.products.T).T for scale in scales]),
        counts=np.tile((draws @ counts.T).T, (1, n_scales)),
        totals=over_scales([(draws @ scale.sums.T).T for scale in scales]),
        singles=bool((counts[1:] > 0).any()),
        upper=np.zeros(n_scales * len(draws), dtype=bool),
    )


def _start(problem: _Problem) -> FloatArray:
    """Return starting values (6, n): half of the variance within, a little between, hardly correlated."""
    n_p = problem.counts[0] + problem.counts[1]
    n_c = problem.counts[0] + problem.counts[2]
    products, totals = problem.products, problem.totals
    var_p = (products[0] + products[3]) / n_p - ((totals[0] + totals[2]) / n_p) ** 2
    var_c = (products[2] + products[4]) / n_c - ((totals[1] + totals[3]) / n_c) ** 2
    both = np.maximum(problem.counts[0], 1.0)
    covariance = products[1] / both - totals[0] * totals[1] / both**2
    tiny = 1e-12
    scale_p, scale_c = np.sqrt(np.maximum(var_p, tiny)), np.sqrt(np.maximum(var_c, tiny))
    r = np.clip(covariance / (scale_p * scale_c), -0.7, 0.7)
    start = np.empty((6, len(r)))
    start[0], start[1], start[2] = 0.4 * scale_p, 0.4 * r * scale_c, 0.4 * np.sqrt(1 - r * r) * scale_c
    start[3] = np.log(0.85 * scale_p)
    start[4] = 0.85 * r * scale_c
    start[5] = np.log(0.85 * np.sqrt(1 - r * r) * scale_c)
    return start


def _start_from(near: BivariateFits) -> FloatArray:
    """Return the parameters of fits, B moved off its edge: from there no step would lead away."""
    w11, w12, w22 = near.within
    b11, b12, b22 = near.between[0] + 0.02 * w11, near.between[1], near.between[2] + 0.02 * w22
    a, e = np.sqrt(b11), np.sqrt(w11)
    b, f = b12 / a, w12 / e
    return np.stack([a, b, np.sqrt(b22 - b * b), np.log(e), f, np.log(np.sqrt(w22 - f * f))])


def _matrices(theta: FloatArray, upper: BoolArray) -> tuple[FloatArray, FloatArray]:
    """Return B and W, packed as (11, 12, 22), of the parameters (6, n).

    B is the product of the lower triangle a, b, d or of the upper one. The larger variance must be the square of a
    single parameter: near a B of rank one the other triangle has a flat direction, along which Newton's method creeps.
    """
    a, b, d, log_e, f, log_g = theta
    e, g = np.exp(log_e), np.exp(log_g)
    between = np.stack(
        [
            np.where(upper, a * a + b * b, a * a),
            np.where(upper, b * d, a * b),
            np.where(upper, d * d, b * b + d * d),
        ]
    )
    return between, np.stack([e * e, e * f, f * f + g * g])


def _turn_triangles(theta: FloatArray, upper: BoolArray) -> BoolArray:
    """Refactor, in place, every B whose larger variance is not the square of one parameter; return which."""
    (b11, b12, b22), _ = _matrices(theta, upper)
    turned: BoolArray = np.where(upper, b11 > 2 * b22, b22 > 2 * b11)
    to_upper, to_lower = turned & ~upper, turned & upper
    for chosen, large, small, at_large, at_small in ((to_upper, b22, b11, 2, 0), (to_lower, b11, b22, 0, 2)):
        theta[at_large, chosen] = np.sqrt(large[chosen])
        theta[1, chosen] = b12[chosen] / theta[at_large, chosen]
        theta[at_small, chosen] = np.sqrt(np.maximum(small[chosen] - theta[1, chosen] ** 2, 0.0))
    upper[turned] = ~upper[turned]
    return turned


def _evaluate(theta: FloatArray, t: _Problem) -> tuple[FloatArray, FloatArray]:
    """Return −2 restricted log-likelihood (n,) and its gradient (6, n)."""
    (b11, b12, b22), (w11, w12, w22) = _matrices(theta, t.upper)
    log_w = 2 * (theta[3] + theta[5])  # ln|W|: exact where W is nearly singular
    det_w = np.exp(log_w)
    v11, v12, v22 = w22 / det_w, -w12 / det_w, w11 / det_w
    p, c = 1 / w11, 1 / w22
    n_both, n_p, n_c = (part[:, None] for part in t.pattern)
    m = t.weight
    a11, a12, a22 = n_both * v11, n_both * v12, n_both * v22
    if t.singles:
        a11, a22 = a11 + n_p * p, a22 + n_c * c
    # J = (I + AB)⁻¹, M = JA, G = BJ
    k11, k12 = 1 + a11 * b11 + a12 * b12, a11 * b12 + a12 * b22
    k21, k22 = a12 * b11 + a22 * b12, 1 + a12 * b12 + a22 * b22
    det_a = a11 * a22 - a12 * a12
    det_k = 1 + a11 * b11 + 2 * a12 * b12 + a22 * b22 + det_a * (b11 * b22 - b12 * b12)
    j11, j12, j21, j22 = k22 / det_k, -k12 / det_k, -k21 / det_k, k11 / det_k
    det_b = b11 * b22 - b12 * b12
    m11, m12, m22 = (a11 + det_a * b22) / det_k, (a12 - det_a * b12) / det_k, (a22 + det_a * b11) / det_k
    g11, g12, g22 = (b11 + det_b * a22) / det_k, (b12 - det_b * a12) / det_k, (b22 + det_b * a11) / det_k
    q11, q12, q22 = ((m * part).sum(axis=0) for part in (m11, m12, m22))
    det_q = q11 * q22 - q12 * q12
    i11, i12, i22 = q22 / det_q, -q12 / det_q, q11 / det_q
    mu1, mu2 = _mean(t, (v11, v12, v22, p, c), (j11, j12, j21, j22), (i11, i12, i22))
    s = _centred_squares(t, mu1, mu2)
    # y[r][k] = Σ r_r·x_k, with r = Hx what the sums say about μ + u in units of information
    y1 = [v11 * s[0, k] + v12 * s[1, k] for k in range(2)]
    y2 = [v12 * s[0, k] + v22 * s[1, k] for k in range(2)]
    if t.singles:
        y1 = [v11 * s[0, k] + v12 * s[1, k] + p * s[2, k] for k in range(4)]
        y2 = [v12 * s[0, k] + v22 * s[1, k] + c * s[3, k] for k in range(4)]
    r11, r12 = v11 * y1[0] + v12 * y1[1], v12 * y1[0] + v22 * y1[1]
    r22 = v12 * y2[0] + v22 * y2[1]
    if t.singles:
        r11, r12, r22 = r11 + p * y1[2], r12 + c * y1[3], r22 + c * y2[3]
    # Residual products about μ alone
    x = t.products
    n_all = t.counts
    e11 = x[0] - 2 * mu1 * t.totals[0] + n_all[0] * mu1 * mu1
    e12 = x[1] - mu1 * t.totals[1] - mu2 * t.totals[0] + n_all[0] * mu1 * mu2
    e22 = x[2] - 2 * mu2 * t.totals[1] + n_all[0] * mu2 * mu2
    deviance = n_all[0] * log_w + (m * np.log(det_k)).sum(axis=0) + np.log(det_q)
    deviance += v11 * e11 + 2 * v12 * e12 + v22 * e22
    deviance -= (g11 * r11 + 2 * g12 * r12 + g22 * r22).sum(axis=0)
    # Gradient in B: Σ M − Σ (Jr)(Jr)ᵀ − Σ M·Q⁻¹·M
    z11 = j11 * j11 * r11 + 2 * j11 * j12 * r12 + j12 * j12 * r22
    z12 = j11 * j21 * r11 + (j11 * j22 + j12 * j21) * r12 + j12 * j22 * r22
    z22 = j21 * j21 * r11 + 2 * j21 * j22 * r12 + j22 * j22 * r22
    o11 = i11 * m11 * m11 + 2 * i12 * m11 * m12 + i22 * m12 * m12
    o12 = i11 * m11 * m12 + i12 * (m11 * m22 + m12 * m12) + i22 * m12 * m22
    o22 = i11 * m12 * m12 + 2 * i12 * m12 * m22 + i22 * m22 * m22
    db11 = q11 - (z11 + m * o11).sum(axis=0)
    db12 = q12 - (z12 + m * o12).sum(axis=0)
    db22 = q22 - (z22 + m * o22).sum(axis=0)
    # Gradient in W: what is left within clinicians, with the uncertainty of μ + u (G + JᵀQ⁻¹J)
    h11 = g11 + j11 * j11 * i11 + 2 * j11 * j21 * i12 + j21 * j21 * i22
    h12 = g12 + j11 * j12 * i11 + (j11 * j22 + j12 * j21) * i12 + j21 * j22 * i22
    h22 = g22 + j12 * j12 * i11 + 2 * j12 * j22 * i12 + j22 * j22 * i22
    f11 = g11 * g11 * r11 + 2 * g11 * g12 * r12 + g12 * g12 * r22 + m * h11
    f12 = g11 * g12 * r11 + (g11 * g22 + g12 * g12) * r12 + g12 * g22 * r22 + m * h12
    f22 = g12 * g12 * r11 + 2 * g12 * g22 * r12 + g22 * g22 * r22 + m * h22
    l11 = e11 + (n_both * f11 - 2 * (g11 * y1[0] + g12 * y2[0])).sum(axis=0)
    l22 = e22 + (n_both * f22 - 2 * (g12 * y1[1] + g22 * y2[1])).sum(axis=0)
    l12 = e12 + (n_both * f12 - g12 * y1[0] - g22 * y2[0] - g11 * y1[1] - g12 * y2[1]).sum(axis=0)
    dw11 = n_all[0] * v11 - (v11 * v11 * l11 + 2 * v11 * v12 * l12 + v12 * v12 * l22)
    dw12 = n_all[0] * v12 - (v11 * v12 * l11 + (v11 * v22 + v12 * v12) * l12 + v12 * v22 * l22)
    dw22 = n_all[0] * v22 - (v12 * v12 * l11 + 2 * v12 * v22 * l12 + v22 * v22 * l22)
    if t.singles:
        e_p = x[3] - 2 * mu1 * t.totals[2] + n_all[1] * mu1 * mu1
        e_c = x[4] - 2 * mu2 * t.totals[3] + n_all[2] * mu2 * mu2
        deviance += n_all[1] * np.log(w11) + n_all[2] * np.log(w22) + p * e_p + c * e_c
        left_p = e_p + (n_p * f11 - 2 * (g11 * y1[2] + g12 * y2[2])).sum(axis=0)
        left_c = e_c + (n_c * f22 - 2 * (g12 * y1[3] + g22 * y2[3])).sum(axis=0)
        dw11 = dw11 + n_all[1] * p - p * p * left_p
        dw22 = dw22 + n_all[2] * c - c * c * left_c
    a, b, d, log_e, f, log_g = theta
    e, g = np.exp(log_e), np.exp(log_g)
    gradient = np.stack(
        [
            2 * np.where(t.upper, a * db11, a * db11 + b * db12),
            2 * np.where(t.upper, b * db11 + d * db12, a * db12 + b * db22),
            2 * np.where(t.upper, d * db22 + b * db12, d * db22),
            2 * e * (e * dw11 + f * dw12),
            2 * (e * dw12 + f * dw22),
            2 * g * g * dw22,
        ]
    )
    return deviance, gradient


def _mean(
    t: _Problem, information: tuple[FloatArray, ...], j: tuple[FloatArray, ...], inverse: tuple[FloatArray, ...]
) -> tuple[FloatArray, FloatArray]:
    """Return the generalised least squares means of both roles."""
    v11, v12, v22, p, c = information
    h1 = v11 * t.sums[0] + v12 * t.sums[1]
    h2 = v12 * t.sums[0] + v22 * t.sums[1]
    if t.singles:
        h1, h2 = h1 + p * t.sums[2], h2 + c * t.sums[3]
    j11, j12, j21, j22 = j
    first, second = (j11 * h1 + j12 * h2).sum(axis=0), (j21 * h1 + j22 * h2).sum(axis=0)
    return inverse[0] * first + inverse[1] * second, inverse[1] * first + inverse[2] * second


class _Packed:
    """A symmetric 4×4 matrix of arrays, addressed by row and column."""

    __slots__ = ("parts",)

    def __init__(self, parts: list[FloatArray]) -> None:
        self.parts = parts

    def __getitem__(self, pair: tuple[int, int]) -> FloatArray:
        return self.parts[_AT[pair]]


def _centred_squares(t: _Problem, mu1: FloatArray, mu2: FloatArray) -> _Packed:
    """Return Σ x·xᵀ of a pattern's clinicians, x their sums minus what μ alone predicts."""
    n_both, n_p, n_c = (part[:, None] for part in t.pattern)
    predicted = (n_both * mu1, n_both * mu2, n_p * mu1, n_c * mu2)
    empty = np.zeros(0)
    parts = [
        t.squares[k] - t.sums[i] * predicted[j] - predicted[i] * t.sums[j] + t.weight * predicted[i] * predicted[j]
        if t.singles or j < 2
        else empty
        for k, (i, j) in enumerate(_PAIRS)
    ]
    return _Packed(parts)


def _hessian(theta: FloatArray, gradient: FloatArray, problem: _Problem) -> FloatArray:
    """Return the differences of the gradient, (6, 6, n), made symmetric."""
    hessian = np.empty((6, 6, theta.shape[1]))
    for k in range(6):
        shift = 1e-6 * np.maximum(1.0, np.abs(theta[k]))
        moved = theta.copy()
        moved[k] += shift
        hessian[k] = (_evaluate(moved, problem)[1] - gradient) / shift
    return (hessian + hessian.swapaxes(0, 1)) / 2


def _search_line(
    theta: FloatArray,
    step: FloatArray,
    value: FloatArray,
    slope: FloatArray,
    decrement: FloatArray,
    problem: _Problem,
) -> tuple[FloatArray, FloatArray, FloatArray, BoolArray]:
    """Halve the step of each fit until −2ℓ falls; return the new state and which fits could not move."""
    best, best_value, best_slope = theta.copy(), value.copy(), slope.copy()
    allowance = 1e-13 * np.maximum(1.0, np.abs(value))
    pending = np.arange(theta.shape[1])
    share = 1.0
    for _ in range(30):
        part = problem if len(pending) == theta.shape[1] else problem.take(pending)
        trial = theta[:, pending] + share * step[:, pending]
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            trial_value, trial_slope = _evaluate(trial, part)
        better = np.isfinite(trial_value) & np.isfinite(trial_slope).all(axis=0)
        better &= (
            trial_value <= value[pending] - 1e-4 * share * np.minimum(decrement[pending], 1.0) + allowance[pending]
        )
        chosen = pending[better]
        best[:, chosen], best_value[chosen], best_slope[:, chosen] = (
            trial[:, better],
            trial_value[better],
            trial_slope[:, better],
        )
        pending = pending[~better]
        if len(pending) == 0:
            break
        share /= 2
    stuck = np.zeros(theta.shape[1], dtype=bool)
    stuck[pending] = True
    return best, best_value, best_slope, stuck


def _estimates(theta: FloatArray, t: _Problem, deviance: FloatArray, converged: BoolArray) -> BivariateFits:
    between, within = _matrices(theta, t.upper)
    (b11, b12, b22), (w11, w12, w22) = between, within
    det_w = np.exp(2 * (theta[3] + theta[5]))
    v11, v12, v22, p, c = w22 / det_w, -w12 / det_w, w11 / det_w, 1 / w11, 1 / w22
    n_both, n_p, n_c = (part[:, None] for part in t.pattern)
    a11, a12, a22 = n_both * v11 + n_p * p, n_both * v12, n_both * v22 + n_c * c
    k11, k12 = 1 + a11 * b11 + a12 * b12, a11 * b12 + a12 * b22
    k21, k22 = a12 * b11 + a22 * b12, 1 + a12 * b12 + a22 * b22
    det_k = k11 * k22 - k12 * k21
    j = (k22 / det_k, -k12 / det_k, -k21 / det_k, k11 / det_k)
    m11, m12, m22 = j[0] * a11 + j[1] * a12, j[0] * a12 + j[1] * a22, j[2] * a12 + j[3] * a22
    q11, q12, q22 = ((t.weight * part).sum(axis=0) for part in (m11, m12, m22))
    det_q = q11 * q22 - q12 * q12
    inverse = (q22 / det_q, -q12 / det_q, q11 / det_q)
    mean = _mean(t, (v11, v12, v22, p, c), j, inverse)
    return BivariateFits(
        between=between,
        within=within,
        mean=np.stack(mean),
        mean_covariance=np.stack(inverse),
        deviance=deviance,
        converged=converged,
    )
