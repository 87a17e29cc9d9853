"""Regression on patients nested in clinicians: least squares with cluster-robust covariances, and the wild bootstrap.

Everything after one pass over the clinicians works from sums per clinician, so that tests and thousands of bootstrap
draws cost a few matrix products.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
from scipy.special import betainc, stdtr, stdtrit

from analysis.psychometrics.errors import AnalysisInputError
from analysis.psychometrics.inference.few_clinicians import (
    MINIMUM_FOR_BOOTSTRAP,
    ClinicianGroups,
    group_by_clinician,
    rules_for,
)
from analysis.psychometrics.inference.resampling import Progress, plan_parts
from analysis.psychometrics.response_matrix import FloatArray, read_only

CovarianceKind = Literal["CR0", "CR1", "CR1S", "CR2"]
WildWeights = Literal["webb", "rademacher"]

#: Eigenvalues of the adjustment matrices below this count as zero, as in clubSandwich.
_ZERO_EIGENVALUE: Final = 1e-12
#: A predictor whose part unexplained by the others is below this share of its length is a combination of them.
_COLLINEAR: Final = 1e-9
#: An outcome of which less than this share is left unexplained is fitted exactly.
_EXACT_FIT: Final = 1e-14
#: Below so many Satterthwaite degrees of freedom the t approximation itself is poor (Pustejovsky & Tipton 2018).
_POOR_DEGREES: Final = 4.0
_WEBB: Final = np.array([-np.sqrt(1.5), -1.0, -np.sqrt(0.5), np.sqrt(0.5), 1.0, np.sqrt(1.5)])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ClusterSums:
    """What tests and bootstraps need of the rows, per clinician. p coefficients per outcome, m outcomes.

    With X the design, W the weights, M = (X'WX)⁻¹ and A the adjustment of each clinician: `cross` X'WX, `scores` X'W
    times the unadjusted residuals, `adjusted_scores` X'WA times the residuals, `spread`, `projected` and `reached`
    MX'WAAWXM, X'WAWXM and MX'AWXM.
    """

    bread: FloatArray  # (p, p)
    weighted_squares: FloatArray  # (p, p): X'W²X over all rows
    cross: FloatArray  # (n_clinicians, p, p)
    scores: FloatArray  # (n_clinicians, p, m)
    adjusted_scores: FloatArray  # (n_clinicians, p, m)
    spread: FloatArray  # (n_clinicians, p, p)
    projected: FloatArray  # (n_clinicians, p, p)
    reached: FloatArray  # (n_clinicians, p, p)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ClusteredRegression:
    """Least squares with a cluster-robust covariance; with several outcomes, coefficients of the first come first.

    `se`, `statistic`, `df`, `pvalue` and the interval are NaN below 10 clinicians; estimates and `covariance` stand.
    """

    names: tuple[str, ...]  # (n_outcomes × n_coefficients,)
    estimate: FloatArray
    se: FloatArray
    statistic: FloatArray  # t = estimate / se
    df: FloatArray  # Satterthwaite
    pvalue: FloatArray
    ci_lower: FloatArray
    ci_upper: FloatArray
    covariance: FloatArray
    residual_sd: FloatArray  # (n_outcomes,): with n − p in the denominator
    r_squared: FloatArray  # (n_outcomes,)
    kind: CovarianceKind
    confidence: float
    n_outcomes: int
    n_used: int
    n_dropped: int
    n_clinicians: int
    sums: ClusterSums = field(repr=False)
    notes: tuple[str, ...]


def regress_clustered(
    outcome: npt.ArrayLike,
    predictors: npt.ArrayLike,
    *,
    clinicians: npt.ArrayLike,
    weights: npt.ArrayLike | None = None,
    kind: CovarianceKind = "CR2",
    confidence: float = 0.95,
    predictor_names: Sequence[str] | None = None,
    outcome_names: Sequence[str] | None = None,
) -> ClusteredRegression:
    """Regress by (weighted) least squares, with standard errors that let patients of one clinician resemble another.

    Parameters
    ----------
    outcome : array-like, shape (n_rows,) or (n_rows, n_outcomes)
        What is predicted; NaN for missing. Several outcomes share their predictors and get one joint covariance.
    predictors : array-like, shape (n_rows, n_predictors)
        Without the intercept, which is added; no column at all gives means. NaN for missing; rows with a missing value
        are left out.
    clinicians : array-like, shape (n_rows,)
        The clinician's key of each row.
    weights : array-like, shape (n_rows,), optional
        Positive weights, not taken as inverse variances (as `lm(weights = )` in clubSandwich).
    kind : {'CR2', 'CR0', 'CR1', 'CR1S'}
        CR2 corrects the bias of small numbers of clusters; CR1 and CR1S scale CR0 by J/(J−1) and by
        J(N−1)/((J−1)(N−p)).
    confidence : float
        Of the intervals.
    predictor_names, outcome_names : sequence of str, optional
        For the coefficients' names and for messages.

    Returns
    -------
    ClusteredRegression

    Raises
    ------
    AnalysisInputError
        Fewer than two clinicians, no more rows than coefficients, a constant or dependent predictor, weights that are
        not positive, keys or weights that do not match the rows.

    Notes
    -----
    With working covariance I: A_j = (I − H_jj − H_jj' + X_j M X'W²X M X_j')^(−1/2) and
    V = M Σ_j X_j'W_j A_j e_j e_j' A_j W_j X_j M. Bell & McCaffrey (2002, Surv Methodol 28:169); Pustejovsky & Tipton
    (2018, J Bus Econ Stat 36:672). Degrees of freedom (Σ_j g_j'g_j)² / Σ_jk (g_j'g_k)², where c'(estimate) has variance
    estimator Σ_j (g_j'y)². R: `clubSandwich::vcovCR(lm(y ~ x), cluster = cl, type = "CR2")` and `coef_test`.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(1)
    >>> clinicians = np.repeat(np.arange(30), 6)
    >>> x = rng.standard_normal(180)
    >>> y = 2 + 0.5 * x + rng.standard_normal(30)[clinicians] + rng.standard_normal(180)
    >>> fit = regress_clustered(y, x[:, None], clinicians=clinicians, predictor_names=["x"])
    >>> fit.names, fit.n_clinicians, bool(fit.ci_lower[1] < 0.5 < fit.ci_upper[1])
    (('intercept', 'x'), 30, True)
    """
    who = "regress_clustered"
    if kind not in ("CR0", "CR1", "CR1S", "CR2"):
        raise AnalysisInputError(f"{who} requires kind CR0, CR1, CR1S or CR2; got {kind!r}. Remedy: use CR2.")
    if not 0 < confidence < 1:
        raise AnalysisInputError(f"{who} requires a confidence between 0 and 1; got {confidence}. Remedy: use 0.95.")
    y, x = _columns(outcome, "outcome", who), _columns(predictors, "predictors", who)
    if len(y) != len(x):
        raise AnalysisInputError(
            f"{who} requires as many rows of predictors as of the outcome; got {len(x)} and {len(y)}. "
            "Remedy: take both from the same table."
        )
    names = _names(predictor_names, x.shape[1], "predictor", who)
    outcomes = _names(outcome_names, y.shape[1], "outcome", who)
    w = np.ones(len(y)) if weights is None else np.asarray(weights, dtype=np.float64)
    if w.shape != (len(y),) or not (w[~np.isnan(w)] > 0).all():
        raise AnalysisInputError(
            f"{who} requires one positive weight per row; got {w.shape[0] if w.ndim == 1 else w.shape} for {len(y)} "
            "rows, or a weight that is not positive. Remedy: leave out rows that should not count."
        )
    all_groups = group_by_clinician(clinicians, who=who, n_rows=len(y))
    kept = np.isfinite(y).all(axis=1) & np.isfinite(x).all(axis=1) & np.isfinite(w)
    y, x, w = y[kept], x[kept], w[kept]
    design = np.column_stack([np.ones(len(x)), x])
    _refuse_unusable_design(design, ("intercept", *names), len(kept), who)
    groups = all_groups
    if not kept.all():
        groups = group_by_clinician(np.asarray(all_groups.labels)[all_groups.codes][kept], who=who)
    if groups.n_clinicians < 2:
        raise AnalysisInputError(
            f"{who} requires rows from at least two clinicians; got {groups.n_clinicians}. "
            "Remedy: check the column with the clinician's code."
        )
    return _fit(y, design, w, groups, kind, confidence, names, outcomes, n_dropped=int((~kept).sum()))


def _fit(
    y: FloatArray,
    design: FloatArray,
    w: FloatArray,
    groups: ClinicianGroups,
    kind: CovarianceKind,
    confidence: float,
    names: tuple[str, ...],
    outcomes: tuple[str, ...],
    *,
    n_dropped: int,
) -> ClusteredRegression:
    n_rows, n_coefficients = design.shape
    n_outcomes = y.shape[1]
    root_w = np.sqrt(w)[:, None]
    q, r = np.linalg.qr(design * root_w)
    inverse_r = np.linalg.inv(r)
    coefficients = inverse_r @ (q.T @ (y * root_w))
    bread = inverse_r @ inverse_r.T
    residuals = y - design @ coefficients
    sums = _sum_over_clinicians(design, w, residuals, groups, bread, kind)
    covariance = _covariance_of(sums)
    rules = rules_for(groups.n_clinicians)
    notes = list(rules.notes)
    estimate = coefficients.T.reshape(-1)
    size = len(estimate)
    se, df = np.full(size, np.nan), np.full(size, np.nan)
    weighted_mean = (w @ y) / w.sum()
    total = (w[:, None] * (y - weighted_mean) ** 2).sum(axis=0)
    left = (w[:, None] * residuals**2).sum(axis=0)
    # Rounding leaves about 1e-16 of a constant outcome's level as its spread.
    varies = total > 1e-24 * (w @ y**2)
    explained = np.where(varies, 1 - left / np.where(varies, total, 1.0), np.nan)
    exact = ~(explained < 1 - _EXACT_FIT)
    labels = tuple(
        name if n_outcomes == 1 else f"{outcome}: {name}" for outcome in outcomes for name in ("intercept", *names)
    )
    if not varies.all():
        flat = [outcome for outcome, varied in zip(outcomes, varies, strict=True) if not varied]
        notes.append(f"{', '.join(flat)}: the outcome does not vary, so there is nothing to explain")
    if rules.inference:
        variances = np.diag(covariance)
        defined = (variances > 0) & ~np.repeat(exact, n_coefficients)
        se[defined] = np.sqrt(variances[defined])
        one_outcome = _satterthwaite(sums, np.eye(n_coefficients)[:, None, :])
        df[defined] = np.tile(one_outcome, n_outcomes)[defined]
        if not defined.all():
            notes.append("some coefficients fit the data exactly: no standard error")
        poor = [label for label, value in zip(labels, df, strict=True) if value < _POOR_DEGREES]
        if poor:
            notes.append(
                f"fewer than {_POOR_DEGREES:.0f} degrees of freedom for {', '.join(poor[:6])}: few clinicians carry "
                "this coefficient; treat its p value and interval as rough"
            )
        if kind != "CR2" and groups.n_clinicians < MINIMUM_FOR_BOOTSTRAP:
            notes.append(f"{kind} is too small with fewer than {MINIMUM_FOR_BOOTSTRAP} clinicians: use CR2")
    if groups.n_clinicians == len(groups.codes):
        notes.append("every clinician has one patient: clustering cannot be told from residual variation")
    statistic = estimate / se
    quantile = stdtrit(df, (1 + confidence) / 2)
    return ClusteredRegression(
        names=labels,
        estimate=read_only(estimate),
        se=read_only(se),
        statistic=read_only(statistic),
        df=read_only(df),
        pvalue=read_only(2 * stdtr(df, -np.abs(statistic))),
        ci_lower=read_only(estimate - quantile * se),
        ci_upper=read_only(estimate + quantile * se),
        covariance=read_only(covariance),
        residual_sd=read_only(np.sqrt(left / (n_rows - n_coefficients))),
        r_squared=read_only(explained),
        kind=kind,
        confidence=confidence,
        n_outcomes=n_outcomes,
        n_used=n_rows,
        n_dropped=n_dropped,
        n_clinicians=groups.n_clinicians,
        sums=sums,
        notes=tuple(notes),
    )


def _sum_over_clinicians(
    design: FloatArray,
    w: FloatArray,
    residuals: FloatArray,
    groups: ClinicianGroups,
    bread: FloatArray,
    kind: CovarianceKind,
) -> ClusterSums:
    """Return each clinician's sums; the adjustment matrix is identity plus a part of rank 2p, never formed in full."""
    n_rows, p = design.shape
    n_clinicians, m = groups.n_clinicians, residuals.shape[1]
    x = design[groups.order]
    wx = x * w[groups.order, None]
    e = residuals[groups.order]
    weighted_squares = wx.T @ wx
    middle = bread @ weighted_squares @ bread
    unweighted = bool((w == w[0]).all())
    scale = _scale(kind, n_clinicians, n_rows, p)
    cross, spread, projected, reached = (np.empty((n_clinicians, p, p)) for _ in range(4))
    scores, adjusted_scores = np.empty((n_clinicians, p, m)), np.empty((n_clinicians, p, m))
    # Clinicians with the same number of rows are handled together.
    for size in np.unique(groups.sizes):
        chosen = np.flatnonzero(groups.sizes == size)
        rows = groups.starts[chosen, None] + np.arange(size)
        xg, wxg, eg = x[rows], wx[rows], e[rows]  # (g, size, p or m)
        adjusted = wxg * scale
        if kind == "CR2":
            # G = I − Σ = I + Q K Q', so G^(−1/2) = I + Q ((I + K)^(−1/2) − I) Q'.
            basis, _ = np.linalg.qr(xg if unweighted else np.concatenate([xg, wxg], axis=2))
            turned = basis.transpose(0, 2, 1)
            bx, bwx = turned @ xg, turned @ wxg
            half = bx @ bread @ bwx.transpose(0, 2, 1)
            inside = np.eye(basis.shape[2]) - half - half.transpose(0, 2, 1) + bx @ middle @ bx.transpose(0, 2, 1)
            values, vectors = np.linalg.eigh((inside + inside.transpose(0, 2, 1)) / 2)
            usable = values > _ZERO_EIGENVALUE
            powers = np.where(usable, np.where(usable, values, 1.0) ** -0.5, 0.0)
            core = (vectors * (powers - 1)[:, None, :]) @ vectors.transpose(0, 2, 1)
            adjusted = wxg + basis @ (core @ bwx)
        x_turned, adjusted_turned = xg.transpose(0, 2, 1), adjusted.transpose(0, 2, 1)
        cross[chosen] = x_turned @ wxg
        scores[chosen] = wxg.transpose(0, 2, 1) @ eg
        adjusted_scores[chosen] = adjusted_turned @ eg
        spread[chosen] = bread @ (adjusted_turned @ adjusted) @ bread
        projected[chosen] = wxg.transpose(0, 2, 1) @ adjusted @ bread
        reached[chosen] = bread @ (x_turned @ adjusted) @ bread
    return ClusterSums(
        bread=read_only(bread),
        weighted_squares=read_only(weighted_squares),
        cross=read_only(cross),
        scores=read_only(scores),
        adjusted_scores=read_only(adjusted_scores),
        spread=read_only(spread),
        projected=read_only(projected),
        reached=read_only(reached),
    )


def _scale(kind: CovarianceKind, n_clinicians: int, n_rows: int, p: int) -> float:
    if kind == "CR1":
        return float(np.sqrt(n_clinicians / (n_clinicians - 1)))
    if kind == "CR1S":
        return float(np.sqrt(n_clinicians * (n_rows - 1) / ((n_clinicians - 1) * (n_rows - p))))
    return 1.0


def _covariance_of(sums: ClusterSums) -> FloatArray:
    """Return the joint covariance of all outcomes' coefficients, outcome after outcome."""
    influence = np.einsum("ab,gbm->gma", sums.bread, sums.adjusted_scores)
    flat = influence.reshape(len(influence), -1)
    return np.asarray(flat.T @ flat, dtype=np.float64)


class _Spread:
    """The variances and covariances of the variance estimator of some contrasts, (q, m, p), under the working model.

    The estimator is a sum over clinicians of (g_j'y)². With z_j the pair (X'WAWXMc, MX'AWXMc), g_sj'g_tk is z_sj'Kz_tk,
    plus c_s'(spread)c_t where j = k; sums over pairs of clinicians then need only the moments of z, so that the cost
    grows with the number of clinicians, not with its square. Outcomes are independent under the working covariance.
    """

    def __init__(self, sums: ClusterSums, contrasts: FloatArray) -> None:
        n_contrasts, n_outcomes, p = contrasts.shape
        projected = np.einsum("gab,smb->sgma", sums.projected, contrasts)
        reached = np.einsum("gab,smb->sgma", sums.reached, contrasts)
        z = np.concatenate([projected, reached], axis=3).reshape(n_contrasts, len(sums.cross), -1)
        identity = np.eye(p)
        kernel = np.block([[np.zeros((p, p)), -identity], [-identity, sums.weighted_squares]])
        kernel = np.kron(np.eye(n_outcomes), kernel)
        self._kernel = kernel
        self._moments = np.einsum("sga,tgb->stab", z, z)
        self._own = np.einsum("sma,gab,tmb->stg", contrasts, sums.spread, contrasts)
        self._cross = np.einsum("sga,tga->stg", z @ kernel, z)

    def expected(self) -> FloatArray:
        """Return the expected covariance matrix of the contrasts, (q, q)."""
        return np.asarray((self._own + self._cross).sum(axis=2), dtype=np.float64)

    def total_variance(self, whitening: FloatArray) -> float:
        """Return the sum of the variances of the elements of the whitened covariance estimator."""
        moments = np.einsum("as,bt,stij->abij", whitening, whitening, self._moments)
        own = np.einsum("as,bt,stg->abg", whitening, whitening, self._own)
        cross = np.einsum("as,bt,stg->abg", whitening, whitening, self._cross)
        through = self._kernel @ moments @ self._kernel
        pairs = np.einsum("stij,tsji->", through, moments) + np.einsum("stij,stji->", through, moments)
        own_s, cross_s = np.einsum("ssg->sg", own), np.einsum("ssg->sg", cross)
        same = 2 * (own_s.sum(axis=0) * cross_s.sum(axis=0)).sum() + (own_s.sum(axis=0) ** 2).sum()
        mixed = (2 * own * cross + own**2).sum()
        return float(pairs + same + mixed)


def _satterthwaite(sums: ClusterSums, contrasts: FloatArray) -> FloatArray:
    """Return the degrees of freedom of each contrast, (q, m, p), one at a time."""
    degrees = np.full(len(contrasts), np.nan)
    for row in range(len(contrasts)):
        spread = _Spread(sums, contrasts[row : row + 1])
        variance = spread.total_variance(np.ones((1, 1)))
        if variance > 0:
            degrees[row] = 2 * spread.expected()[0, 0] ** 2 / variance
    return degrees


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ContrastTests:
    """Linear combinations of coefficients, each with its own test."""

    names: tuple[str, ...]
    estimate: FloatArray  # (n_contrasts,)
    se: FloatArray
    statistic: FloatArray
    df: FloatArray
    pvalue: FloatArray
    ci_lower: FloatArray
    ci_upper: FloatArray
    covariance: FloatArray  # (n_contrasts, n_contrasts)


def combine_coefficients(
    fit: ClusteredRegression, contrasts: npt.ArrayLike, *, names: Sequence[str] | None = None
) -> ContrastTests:
    """Return linear combinations of the coefficients with standard errors and Satterthwaite degrees of freedom.

    Parameters
    ----------
    fit : ClusteredRegression
        From `regress_clustered`.
    contrasts : array-like, shape (n_contrasts, n_outcomes × n_coefficients)
        One row of weights per combination, in the order of `fit.names`.
    names : sequence of str, optional
        Names of the combinations.

    Raises
    ------
    AnalysisInputError
        Contrasts of another width than the coefficients.

    Notes
    -----
    The delta method is exact for linear combinations. R: `clubSandwich::linear_contrast(fit, vcov = V,
    contrasts = C)`.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(2)
    >>> x, y = rng.standard_normal((40, 2)), rng.standard_normal(40)
    >>> fit = regress_clustered(y, x, clinicians=np.repeat(np.arange(10), 4))
    >>> total = combine_coefficients(fit, [[0, 1, 1]])
    >>> bool(np.isclose(total.estimate[0], fit.estimate[1] + fit.estimate[2]))
    True
    """
    matrix = _contrast_matrix(fit, contrasts, who="combine_coefficients")
    estimate = matrix @ fit.estimate
    covariance = matrix @ fit.covariance @ matrix.T
    se, df = np.full(len(matrix), np.nan), np.full(len(matrix), np.nan)
    if rules_for(fit.n_clinicians).inference:
        variances = np.diag(covariance)
        defined = np.full(len(matrix), not _is_exact(fit)) & (variances > 0)
        se[defined] = np.sqrt(variances[defined])
        df = _satterthwaite(fit.sums, matrix.reshape(len(matrix), fit.n_outcomes, -1))
    statistic = estimate / se
    quantile = stdtrit(df, (1 + fit.confidence) / 2)
    return ContrastTests(
        names=_names(names, len(matrix), "contrast", "combine_coefficients"),
        estimate=read_only(estimate),
        se=read_only(se),
        statistic=read_only(statistic),
        df=read_only(df),
        pvalue=read_only(2 * stdtr(df, -np.abs(statistic))),
        ci_lower=read_only(estimate - quantile * se),
        ci_upper=read_only(estimate + quantile * se),
        covariance=read_only(covariance),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class WaldTest:
    """An F test of several linear constraints at once; NaN with a note where it cannot be had."""

    statistic: float  # F
    df_numerator: int
    df_denominator: float
    pvalue: float
    method: Literal["HTZ"]
    notes: tuple[str, ...]


def wald_test(fit: ClusteredRegression, constraints: npt.ArrayLike, *, values: npt.ArrayLike | None = None) -> WaldTest:
    """Test that several linear combinations of coefficients hold at once (approximate Hotelling's T², HTZ).

    Parameters
    ----------
    fit : ClusteredRegression
        From `regress_clustered`.
    constraints : array-like, shape (n_constraints, n_outcomes × n_coefficients)
        One row of weights per constraint.
    values : array-like, shape (n_constraints,), optional
        What each combination equals under the hypothesis; zeros by default.

    Returns
    -------
    WaldTest

    Raises
    ------
    AnalysisInputError
        Constraints of another width than the coefficients, or that depend on one another.

    Notes
    -----
    Q = d'(CVC')⁻¹d; F = (η − q + 1)/(η q) · Q on q and η − q + 1 degrees of freedom, with
    η = q(q + 1) / Σ_st Var(D_st), D = Ω^(−1/2) CVC' Ω^(−1/2), Ω = E(CVC'). Tipton & Pustejovsky (2015, J Educ Behav
    Stat 40:604). R: `clubSandwich::Wald_test(fit, constraints = C, vcov = V, test = "HTZ")`.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(2)
    >>> x = rng.standard_normal((80, 2))
    >>> fit = regress_clustered(x.sum(axis=1) + rng.standard_normal(80), x, clinicians=np.repeat(np.arange(20), 4))
    >>> wald_test(fit, [[0, 1, 0], [0, 0, 1]]).pvalue < 0.01
    True
    """
    matrix = _contrast_matrix(fit, constraints, who="wald_test")
    q = len(matrix)
    target = np.zeros(q) if values is None else np.asarray(values, dtype=np.float64)
    if target.shape != (q,):
        raise AnalysisInputError(
            f"wald_test requires one value per constraint; got {target.shape} for {q}. "
            "Remedy: pass as many values as rows of constraints."
        )
    if np.linalg.matrix_rank(matrix) < q:
        raise AnalysisInputError(
            f"wald_test requires constraints that do not follow from one another; got {q} of rank "
            f"{np.linalg.matrix_rank(matrix)}. Remedy: leave out the repeated ones."
        )
    rules = rules_for(fit.n_clinicians)
    if not rules.inference:
        return _no_wald_test(q, rules.notes)
    spread = _Spread(fit.sums, matrix.reshape(q, fit.n_outcomes, -1))
    expected = spread.expected()
    roots, vectors = np.linalg.eigh((expected + expected.T) / 2)
    if roots[0] <= _ZERO_EIGENVALUE * max(roots[-1], 1e-300):
        return _no_wald_test(q, ("too few clinicians carry these coefficients for a joint test",))
    eta = q * (q + 1) / spread.total_variance((vectors * roots**-0.5) @ vectors.T)
    difference = matrix @ fit.estimate - target
    covariance = matrix @ fit.covariance @ matrix.T
    if _is_exact(fit) or np.linalg.matrix_rank(covariance, hermitian=True) < q:
        return _no_wald_test(q, ("the robust covariance of these coefficients is singular: no joint test",))
    hotelling = float(difference @ np.linalg.solve(covariance, difference))
    df_denominator = eta - q + 1
    if df_denominator <= 0:
        return _no_wald_test(q, (f"{q} constraints leave no degrees of freedom (eta = {eta:.2f}): test fewer at once",))
    statistic = df_denominator / (eta * q) * hotelling
    return WaldTest(
        statistic=statistic,
        df_numerator=q,
        df_denominator=df_denominator,
        pvalue=f_tail(statistic, q, df_denominator),
        method="HTZ",
        notes=(),
    )


def f_tail(statistic: float, df_numerator: float, df_denominator: float) -> float:
    """Return the upper tail of the F distribution by the incomplete beta function; NaN for NaN."""
    share = df_denominator / (df_denominator + df_numerator * statistic)
    return float(betainc(df_denominator / 2, df_numerator / 2, share))


def _no_wald_test(q: int, notes: tuple[str, ...]) -> WaldTest:
    return WaldTest(statistic=np.nan, df_numerator=q, df_denominator=np.nan, pvalue=np.nan, method="HTZ", notes=notes)


@dataclass(frozen=True, slots=True, kw_only=True)
class WildBootstrapTest:
    """A test by the wild cluster bootstrap with the null imposed; the interval holds the values it does not reject."""

    estimate: float  # of the single combination; NaN for several constraints
    statistic: float  # t, or Q / q for several constraints, from CR1
    pvalue: float
    ci_lower: float
    ci_upper: float
    n_draws: int
    enumerated: bool  # every pattern of signs was used, so no randomness is left
    weights: WildWeights
    confidence: float
    n_clinicians: int
    notes: tuple[str, ...]


def wild_bootstrap_test(
    fit: ClusteredRegression,
    constraints: npt.ArrayLike,
    *,
    rng: np.random.Generator,
    values: npt.ArrayLike | None = None,
    n_draws: int = 1999,
    weights: WildWeights = "webb",
    progress: Progress | None = None,
) -> WildBootstrapTest:
    """Test constraints by the wild cluster bootstrap: the method for 10 to 19 clinicians.

    Parameters
    ----------
    fit : ClusteredRegression
        Of a single outcome, from `regress_clustered`.
    constraints : array-like, shape (n_coefficients,) or (n_constraints, n_coefficients)
        One row of weights per constraint.
    rng : numpy.random.Generator
        Source of the run's seed.
    values : array-like, shape (n_constraints,), optional
        What each combination equals under the hypothesis; zeros by default.
    n_draws : int
        Draws of the clinicians' weights.
    weights : {'webb', 'rademacher'}
        Webb's six points, or signs. All 2^J patterns of signs are used when they are no more than `n_draws`.
    progress : callable, optional
        Called with the share done and a text.

    Returns
    -------
    WildBootstrapTest
        The interval inverts the test and is given for one constraint only; NaN below 10 clinicians.

    Raises
    ------
    AnalysisInputError
        Several outcomes, constraints that do not fit, fewer than 99 draws.

    Notes
    -----
    The residuals of the fit under the hypothesis are multiplied by one random number per clinician; the t statistic
    (CR1) of each such data set forms the reference (WCR). Cameron, Gelbach & Miller (2008, Rev Econ Stat 90:414); Webb
    (2023, Can J Econ 56:839); interval by inversion: Roodman et al. (2019, Stata J 19:4). R:
    `fwildclusterboot::boottest`.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(4)
    >>> clinicians = np.repeat(np.arange(12), 8)
    >>> x = rng.standard_normal(96)
    >>> y = x + rng.standard_normal(12)[clinicians] + rng.standard_normal(96)
    >>> fit = regress_clustered(y, x[:, None], clinicians=clinicians)
    >>> wild_bootstrap_test(fit, [0, 1], rng=rng).pvalue < 0.05
    True
    """
    who = "wild_bootstrap_test"
    if fit.n_outcomes != 1:
        raise AnalysisInputError(
            f"{who} requires a regression of one outcome; got {fit.n_outcomes}. Remedy: fit the outcomes one by one."
        )
    if n_draws < 99:
        raise AnalysisInputError(f"{who} requires at least 99 draws; got {n_draws}. Remedy: use 1999 or more.")
    if weights not in ("webb", "rademacher"):
        raise AnalysisInputError(f"{who} requires weights 'webb' or 'rademacher'; got {weights!r}. Remedy: use 'webb'.")
    matrix = _contrast_matrix(fit, np.atleast_2d(np.asarray(constraints, dtype=np.float64)), who=who)
    q = len(matrix)
    target = np.zeros(q) if values is None else np.atleast_1d(np.asarray(values, dtype=np.float64))
    if target.shape != (q,) or np.linalg.matrix_rank(matrix) < q:
        raise AnalysisInputError(
            f"{who} requires independent constraints and one value for each; got {q} constraints of rank "
            f"{np.linalg.matrix_rank(matrix)} and {target.size} values. Remedy: drop repeated constraints."
        )
    rules = rules_for(fit.n_clinicians)
    estimate = float((matrix @ fit.estimate)[0]) if q == 1 else np.nan
    signs, enumerated = _wild_signs(fit.n_clinicians, n_draws, weights, rng)
    reference = _WildReference(fit, matrix, signs, exact=enumerated)
    observed = reference.observed(target)
    if not rules.inference or _is_exact(fit) or not np.isfinite(observed):
        reason = rules.notes if not rules.inference else ("the clustered standard error is zero: no test",)
        return WildBootstrapTest(
            estimate=estimate,
            statistic=np.nan,
            pvalue=np.nan,
            ci_lower=np.nan,
            ci_upper=np.nan,
            n_draws=0,
            enumerated=enumerated,
            weights=weights,
            confidence=fit.confidence,
            n_clinicians=fit.n_clinicians,
            notes=reason,
        )
    pvalue = reference.pvalue(target)
    if progress is not None:
        progress(0.2, "wild cluster bootstrap")
    lower = upper = np.nan
    notes: list[str] = []
    if q == 1:
        step = abs(estimate - target[0]) / max(abs(observed), 1e-12) if observed else 0.0
        step = step or float(np.sqrt((matrix @ fit.covariance @ matrix.T)[0, 0]))
        lower, upper = (reference.boundary(estimate, sign * step, 1 - fit.confidence) for sign in (-1.0, 1.0))
        if not (np.isfinite(lower) and np.isfinite(upper)):
            notes.append("the interval is open: so few clinicians reject no value on one side")
    if progress is not None:
        progress(1.0, "wild cluster bootstrap")
    return WildBootstrapTest(
        estimate=estimate,
        statistic=observed,
        pvalue=pvalue,
        ci_lower=lower,
        ci_upper=upper,
        n_draws=len(signs),
        enumerated=enumerated,
        weights=weights,
        confidence=fit.confidence,
        n_clinicians=fit.n_clinicians,
        notes=tuple(notes),
    )


def _wild_signs(
    n_clinicians: int, n_draws: int, weights: WildWeights, rng: np.random.Generator
) -> tuple[FloatArray, bool]:
    """Return (n_draws, n_clinicians) multipliers, and whether they are all there are."""
    if weights == "rademacher" and n_clinicians < 30 and 2**n_clinicians <= n_draws:
        bits = (np.arange(2**n_clinicians)[:, None] >> np.arange(n_clinicians)) & 1
        return np.asarray(2.0 * bits - 1.0, dtype=np.float64), True
    points = _WEBB if weights == "webb" else np.array([-1.0, 1.0])
    parts = plan_parts(seed=int(rng.integers(2**62)), n_draws=n_draws)
    drawn = [points[part.rng().integers(len(points), size=(part.n_draws, n_clinicians))] for part in parts]
    return np.concatenate(drawn), False


class _WildReference:
    """The bootstrap distribution of the test statistic as a function of the hypothesised values."""

    def __init__(self, fit: ClusteredRegression, matrix: FloatArray, signs: FloatArray, *, exact: bool) -> None:
        sums = fit.sums
        n_clinicians = len(sums.cross)
        self._signs = signs
        self._exact = exact
        self._estimate = matrix @ fit.estimate
        self._factor = n_clinicians / (n_clinicians - 1)
        bread = sums.bread
        # Restricted residuals are e + X M C'(C M C')⁻¹ (Cb − r): scores under the null are linear in r.
        towards = bread @ matrix.T @ np.linalg.inv(matrix @ bread @ matrix.T)  # (p, q)
        self._scores = sums.scores[:, :, 0]  # (J, p)
        self._shift = sums.cross @ towards  # (J, p, q)
        self._reach = matrix @ bread  # (q, p)
        self._leverage = np.einsum("qp,gpr->gqr", self._reach, sums.cross)  # (J, q, p)
        self._bread = bread

    def observed(self, target: FloatArray) -> float:
        own = self._scores @ self._reach.T  # (J, q)
        return float(self._statistic(own[None], (self._estimate - target)[None])[0])

    def _statistic(self, influence: FloatArray, difference: FloatArray) -> FloatArray:
        """Return t (one constraint) or Q/q from (n, J, q) influences and (n, q) differences."""
        covariance = self._factor * np.einsum("ngq,ngr->nqr", influence, influence)
        if difference.shape[1] == 1:
            variance = covariance[:, 0, 0]
            safe = np.where(variance > 0, variance, np.nan)
            return np.asarray(difference[:, 0] / np.sqrt(safe), dtype=np.float64)
        singular = np.linalg.matrix_rank(covariance, hermitian=True) < difference.shape[1]
        covariance[singular] = np.eye(difference.shape[1])
        solved = np.linalg.solve(covariance, difference[:, :, None])[:, :, 0]
        values = (difference * solved).sum(axis=1) / difference.shape[1]
        values[singular] = np.nan
        return np.asarray(values, dtype=np.float64)

    def pvalue(self, target: FloatArray) -> float:
        """Return the share of draws at least as far out as the data; ties within rounding count as far out.

        Unless all patterns were used the data count as one draw more, so that p is never zero.
        """
        drawn = np.abs(self._draw(target))
        observed = abs(self.observed(target))
        usable = drawn[np.isfinite(drawn)]
        if not len(usable):
            return np.nan
        beyond, added = int((usable >= observed * (1 - 1e-10)).sum()), 0 if self._exact else 1
        return (beyond + added) / (len(usable) + added)

    def _draw(self, target: FloatArray) -> FloatArray:
        null_scores = self._scores + self._shift @ (self._estimate - target)  # (J, p)
        moved = self._signs @ null_scores @ self._bread  # (n, p): estimates minus the restricted ones
        influence = self._signs[:, :, None] * (null_scores @ self._reach.T) - np.einsum(
            "np,gqp->ngq", moved, self._leverage
        )
        return self._statistic(influence, moved @ (self._reach @ np.linalg.inv(self._bread)).T)

    def boundary(self, estimate: float, step: float, level: float) -> float:
        """Return where the p value falls to the level on one side of the estimate; NaN if it never does."""
        inside, outside = estimate, estimate + 2 * step
        for _ in range(12):
            if self.pvalue(np.array([outside])) <= level:
                break
            inside, outside = outside, estimate + 2 * (outside - estimate)
        else:
            return np.nan
        for _ in range(40):
            middle = (inside + outside) / 2
            if self.pvalue(np.array([middle])) <= level:
                outside = middle
            else:
                inside = middle
            if abs(outside - inside) <= 1e-7 * max(abs(step), 1e-12):
                break
        return float(inside + outside) / 2


def _columns(data: npt.ArrayLike, what: str, who: str) -> FloatArray:
    try:
        values = np.asarray(data, dtype=np.float64)
    except (TypeError, ValueError):
        raise AnalysisInputError(
            f"{who} requires numbers as {what}; got something that does not convert. "
            "Remedy: recode text to numbers and missing values to NaN."
        ) from None
    if values.ndim == 1:
        values = values[:, None]
    if values.ndim != 2 or (values.shape[1] == 0 and what == "outcome"):
        raise AnalysisInputError(
            f"{who} requires {what} as one or more columns; got an array of shape {values.shape}. "
            "Remedy: pass rows by columns."
        )
    return values


def _names(names: Sequence[str] | None, n_columns: int, what: str, who: str) -> tuple[str, ...]:
    if names is None:
        return tuple(f"{what} {position + 1}" for position in range(n_columns))
    if len(names) != n_columns:
        raise AnalysisInputError(
            f"{who} requires one name per {what}; got {len(names)} names for {n_columns}. "
            "Remedy: name the columns in their order."
        )
    return tuple(names)


def _refuse_unusable_design(design: FloatArray, names: tuple[str, ...], n_rows: int, who: str) -> None:
    n, p = design.shape
    if n <= p:
        raise AnalysisInputError(
            f"{who} requires more complete rows than coefficients; got {n} of {n_rows} rows for {p} coefficients. "
            "Remedy: collect more forms or use fewer predictors."
        )
    spread = design[:, 1:].std(axis=0)
    level = np.abs(design[:, 1:]).max(axis=0)
    for position in np.flatnonzero(spread <= 1e-12 * np.maximum(level, 1e-300)):
        raise AnalysisInputError(
            f"{who} requires predictors that vary; {names[position + 1]} is constant among the {n} rows used. "
            "Remedy: leave it out."
        )
    # Standardised first, so that the scale of a predictor does not look like dependence.
    scaled = np.column_stack([np.full(n, n**-0.5), (design[:, 1:] - design[:, 1:].mean(axis=0))])
    scaled[:, 1:] /= np.linalg.norm(scaled[:, 1:], axis=0)
    remainder = np.abs(np.diag(np.linalg.qr(scaled, mode="r")))
    for position in np.flatnonzero(remainder < _COLLINEAR):
        raise AnalysisInputError(
            f"{who} requires predictors that are not combinations of one another; {names[position]} can be computed "
            "from those before it. Remedy: leave it out."
        )


def _is_exact(fit: ClusteredRegression) -> bool:
    """Tell whether an outcome is constant or fitted without a residual, so that no error can be estimated."""
    return not bool((fit.r_squared < 1 - _EXACT_FIT).all())


def _contrast_matrix(fit: ClusteredRegression, contrasts: npt.ArrayLike, *, who: str) -> FloatArray:
    matrix = np.asarray(contrasts, dtype=np.float64)
    if matrix.ndim != 2 or matrix.shape[1] != len(fit.estimate):
        raise AnalysisInputError(
            f"{who} requires rows of {len(fit.estimate)} weights, one per coefficient; got shape {matrix.shape}. "
            f"Remedy: the order is {', '.join(fit.names[:8])}{' …' if len(fit.names) > 8 else ''}."
        )
    return matrix
