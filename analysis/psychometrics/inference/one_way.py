"""Random-intercept model of scores grouped by clinician, fitted by REML for many columns and resamples at once."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from analysis.psychometrics.response_matrix import FloatArray, IntArray

ArrayFunction = Callable[[FloatArray], FloatArray]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ClinicianSums:
    """All that the model needs of the data: per clinician and column the number, mean and squares about the mean."""

    n: FloatArray  # (n_clinicians, n_columns)
    mean: FloatArray  # (n_clinicians, n_columns); 0 where n is 0
    squares: FloatArray  # (n_clinicians, n_columns)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OneWayFit:
    """REML estimates, each of shape (n_resamples, n_columns); NaN where the column does not identify them."""

    between: FloatArray
    within: FloatArray
    mean: FloatArray  # generalised least squares
    mean_variance: FloatArray
    log_likelihood: FloatArray  # restricted


def sum_by_clinician(values: FloatArray, codes: IntArray, n_clinicians: int) -> ClinicianSums:
    """Return number, mean and within squares of each column for each clinician; NaN values are left out."""
    observed = ~np.isnan(values)
    filled = np.where(observed, values, 0.0)
    n, totals = (_group_sums(part, codes, n_clinicians) for part in (observed.astype(np.float64), filled))
    mean = totals / np.maximum(n, 1.0)
    deviation = np.where(observed, filled - mean[codes], 0.0)
    return ClinicianSums(n=n, mean=mean, squares=_group_sums(deviation**2, codes, n_clinicians))


def _group_sums(values: FloatArray, codes: IntArray, n_groups: int) -> FloatArray:
    sums = np.zeros((n_groups, values.shape[1]))
    for column in range(values.shape[1]):
        sums[:, column] = np.bincount(codes, weights=values[:, column], minlength=n_groups)
    return sums


def fit_one_way(sums: ClinicianSums, counts: FloatArray | None = None) -> OneWayFit:
    """Fit y_ij = μ + u_i + e_ij by REML.

    Parameters
    ----------
    sums : ClinicianSums
    counts : array, shape (n_resamples, n_clinicians), optional
        How often each clinician was drawn; once each by default.

    Notes
    -----
    With λ = σ²_u/σ²_e, v_i = 1 + n_i·λ the restricted likelihood is profiled over μ and σ²_e, and the zero of its
    derivative in λ is found by Chandrupatla's method; a derivative that points below zero at λ = 0 gives σ²_u = 0.
    Agrees with `lme4::lmer(y ~ 1 + (1 | clinician))`.
    """
    weights = np.ones((1, len(sums.n))) if counts is None else counts
    n = sums.n[None]
    w = np.where(n > 0, weights[:, :, None], 0.0)
    total = (w * n).sum(axis=1)
    within_squares = (w * sums.squares[None]).sum(axis=1)
    groups = (w * (n > 0)).sum(axis=1)
    # The grand mean first: large offsets would cost digits in the squares between clinicians.
    centre = (w * n * sums.mean[None]).sum(axis=1) / np.maximum(total, 1.0)
    y = sums.mean[None] - centre[:, None, :]
    between_squares = (w * n * y**2).sum(axis=1)
    spread = within_squares + between_squares
    tiny = 1e-12 * np.maximum(spread, np.finfo(np.float64).tiny)
    usable = (groups >= 2) & (total > groups) & (within_squares > tiny)

    def parts(rho: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
        ratio = rho / (1 - rho)
        v = 1 + n * ratio[:, None, :]
        precision = w * n / v
        sum_precision = np.maximum(precision.sum(axis=1), 1e-300)
        mean = (precision * y).sum(axis=1) / sum_precision
        deviations = precision * (y - mean[:, None, :]) ** 2
        variance = (within_squares + deviations.sum(axis=1)) / np.maximum(total - 1, 1.0)
        variance = np.where(usable, variance, 1.0)
        slope = (
            sum_precision
            - (precision * n / v).sum(axis=1) / sum_precision
            - (deviations * n / v).sum(axis=1) / variance
        )
        return slope, mean, variance, sum_precision

    shape = total.shape
    low, high = np.zeros(shape), np.full(shape, 1 - 1e-9)
    slope_low, slope_high = parts(low)[0], parts(high)[0]
    inside = usable & (slope_low < 0) & (slope_high > 0)
    rho = np.where(slope_low >= 0, low, high)
    if inside.any():
        found = find_zero(lambda x: parts(x)[0], low, high, slope_low, slope_high, inside)
        rho = np.where(inside, found, rho)
    _, mean, variance, precision = parts(rho)
    ratio = rho / (1 - rho)
    degrees = np.maximum(total - 1, 1.0)
    log_v = (w * np.log1p(n * ratio[:, None, :])).sum(axis=1)
    log_likelihood = -0.5 * (degrees * (1 + np.log(2 * np.pi * variance)) + log_v + np.log(precision))
    undefined = np.where(usable, 0.0, np.nan)
    return OneWayFit(
        between=ratio * variance + undefined,
        within=variance + undefined,
        mean=mean + centre + undefined,
        mean_variance=variance / precision + undefined,
        log_likelihood=log_likelihood + undefined,
    )


def find_zero(
    function: ArrayFunction,
    low: FloatArray,
    high: FloatArray,
    at_low: FloatArray,
    at_high: FloatArray,
    active: FloatArray,
    tolerance: float = 1e-13,
) -> FloatArray:
    """Return a zero between `low` and `high` for every active element (Chandrupatla 1997, Adv Eng Softw 28:145)."""
    a, b, fa, fb = high.copy(), low.copy(), at_high.copy(), at_low.copy()
    c, fc = b.copy(), fb.copy()
    step = np.full(low.shape, 0.5)
    live = np.asarray(active, dtype=bool).copy()
    for _ in range(100):
        x = a + step * (b - a)
        fx = function(np.where(live, x, a))
        same = np.sign(fx) == np.sign(fa)
        c, fc = np.where(live, np.where(same, a, b), c), np.where(live, np.where(same, fa, fb), fc)
        b, fb = np.where(live & ~same, a, b), np.where(live & ~same, fa, fb)
        a, fa = np.where(live, x, a), np.where(live, fx, fa)
        best = np.where(np.abs(fa) < np.abs(fb), a, b)
        width = np.abs(b - a)
        limit = (tolerance + 4e-16 * np.abs(best)) / np.where(width > 0, width, 1.0)
        live &= (limit < 0.5) & (width > 0) & (fa != 0)
        if not live.any():
            break
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            xi, phi = (a - b) / (c - b), (fa - fb) / (fc - fb)
            quadratic = (phi**2 < xi) & ((1 - phi) ** 2 < 1 - xi)
            guess = fa / (fb - fa) * fc / (fb - fc) + (c - a) / (b - a) * fa / (fc - fa) * fb / (fc - fb)
        step = np.where(quadratic & np.isfinite(guess), guess, 0.5)
        step = np.clip(step, np.minimum(limit, 0.5), np.maximum(1 - limit, 0.5))
    return np.where(np.abs(fa) < np.abs(fb), a, b)
