"""Does the score move when people say that they changed, and how large is a change that matters to them?"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.special import expit, ndtri, stdtrit

from analysis.psychometrics.errors import AnalysisInputError
from analysis.psychometrics.inference.few_clinicians import ClinicianGroups, group_by_clinician, rules_for
from analysis.psychometrics.inference.resampling import Progress, WeightedStatistic, bootstrap_clinicians
from analysis.psychometrics.response_matrix import FloatArray

#: People needed in each group for the area under the curve, and in all for the minimal important change.
MINIMUM_PER_GROUP: Final = 30
MINIMUM_FOR_MIC: Final = 100
_STEPS: Final = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class AreaUnderCurve:
    """How often someone who improved changed more than someone who did not; ties count half."""

    estimate: float
    se: float
    ci_lower: float
    ci_upper: float
    interval_method: str
    n_improved: int
    n_not_improved: int
    n_dropped: int
    confidence: float
    notes: tuple[str, ...]


def responsiveness_auc(
    change: npt.ArrayLike,
    improved: npt.ArrayLike,
    *,
    clinicians: npt.ArrayLike | None = None,
    confidence: float = 0.95,
) -> AreaUnderCurve:
    """Return the area under the ROC curve of the change score against the anchor, with DeLong's interval.

    Parameters
    ----------
    change : array-like, shape (n_people,)
        Second minus first score; NaN for missing.
    improved : array-like, shape (n_people,)
        1 who says better, 0 who says the same, NaN who is left out (worse, no answer).
    clinicians : array-like, shape (n_people,), optional
        The clinician's key: the error then lets patients of one clinician resemble another (Obuchowski).
    confidence : float
        Of the interval, cut at 0 and 1.

    Raises
    ------
    AnalysisInputError
        Lengths that do not match, an anchor with other values than 0, 1 and NaN, a group without people.

    Notes
    -----
    The Mann-Whitney share; DeLong, DeLong & Clarke-Pearson (1988, Biometrics 44:837) by midranks; clustered: Obuchowski
    (1997, Biometrics 53:567). R: `pROC::ci.auc(improved, change)`.

    Examples
    --------
    >>> responsiveness_auc([1.0, 2, 3, 4], [0, 1, 0, 1]).estimate
    0.75
    """
    who = "responsiveness_auc"
    _require_confidence(confidence, who)
    data = _changes(change, improved, clinicians, who)
    x, y = data.change[data.improved], data.change[~data.improved]
    m, n = len(x), len(y)
    notes: list[str] = []
    if min(m, n) < MINIMUM_PER_GROUP:
        notes.append(f"{m} improved and {n} the same: {MINIMUM_PER_GROUP} of each are needed for a verdict")
    ranks = _midranks(np.concatenate([x, y]))
    v10 = (ranks[:m] - _midranks(x)) / n
    v01 = 1 - (ranks[m:] - _midranks(y)) / m
    auc = float(v10.mean())
    se, degrees, method = np.nan, np.inf, "DeLong"
    if min(m, n) < 2:
        notes.append("one person in a group: no interval")
        method = "none"
    elif data.groups is None:
        se = float(np.sqrt(v10.var(ddof=1) / m + v01.var(ddof=1) / n))
    else:
        rules = rules_for(data.groups.n_clinicians)
        notes += rules.notes
        method = "Obuchowski (clinicians)" if rules.inference else "none"
        if rules.inference:
            se = _clustered_se(
                v10 - auc, v01 - auc, data.groups.codes[data.improved], data.groups.codes[~data.improved]
            )
            degrees = data.groups.n_clinicians - 1
    if se == 0:
        notes.append("the groups do not overlap: the interval has no width and is not to be believed")
    quantile = (
        float(ndtri((1 + confidence) / 2)) if np.isinf(degrees) else float(stdtrit(degrees, (1 + confidence) / 2))
    )
    return AreaUnderCurve(
        estimate=auc,
        se=se,
        ci_lower=float(np.maximum(auc - quantile * se, 0.0)),
        ci_upper=float(np.minimum(auc + quantile * se, 1.0)),
        interval_method=method,
        n_improved=m,
        n_not_improved=n,
        n_dropped=data.n_dropped,
        confidence=confidence,
        notes=tuple(notes),
    )


def _midranks(values: FloatArray) -> FloatArray:
    """Return ranks from 1, the mean of their ranks for equal values (`scipy.stats.rankdata`, without its import)."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2)[place], dtype=np.float64)


def _clustered_se(
    v10: FloatArray, v01: FloatArray, improved_codes: npt.NDArray[np.int64], other_codes: npt.NDArray[np.int64]
) -> float:
    m, n = len(v10), len(v01)
    size = int(max(improved_codes.max(), other_codes.max())) + 1
    first, second = np.bincount(improved_codes, v10, size), np.bincount(other_codes, v01, size)
    k10, k01 = len(np.unique(improved_codes)), len(np.unique(other_codes))
    k = len(np.union1d(improved_codes, other_codes))
    if min(k10, k01) < 2:
        return float("nan")
    variance = (
        k10 / (k10 - 1) * float(first @ first) / m**2
        + k01 / (k01 - 1) * float(second @ second) / n**2
        + 2 * k / (k - 1) * float(first @ second) / (m * n)
    )
    return float(np.sqrt(max(variance, 0.0)))


@dataclass(frozen=True, slots=True, kw_only=True)
class MinimalImportantChange:
    """The change at which an answer "better" becomes as likely as it is overall, and corrected for that share."""

    predicted: float
    predicted_ci_lower: float
    predicted_ci_upper: float
    adjusted: float
    adjusted_ci_lower: float
    adjusted_ci_upper: float
    improved_adjusted: float  # with the anchor's reliability; NaN without it
    improved_adjusted_ci_lower: float
    improved_adjusted_ci_upper: float
    share_improved: float
    correlation: float  # of change and anchor
    sd_change: float
    slope: float  # log odds of "better" per point
    intercept: float
    n_used: int
    n_dropped: int
    n_draws: int
    interval_method: str
    confidence: float
    notes: tuple[str, ...]


def minimal_important_change(
    change: npt.ArrayLike,
    improved: npt.ArrayLike,
    *,
    rng: np.random.Generator,
    clinicians: npt.ArrayLike | None = None,
    anchor_reliability: float | None = None,
    n_draws: int = 2000,
    confidence: float = 0.95,
    progress: Progress | None = None,
) -> MinimalImportantChange:
    """Estimate the minimal important change by the predictive and the adjusted predictive model.

    Parameters
    ----------
    change : array-like, shape (n_people,)
        Second minus first score; NaN for missing.
    improved : array-like, shape (n_people,)
        1 who says better, 0 who says the same, NaN who is left out.
    rng : numpy.random.Generator
        For the bootstrap.
    clinicians : array-like, shape (n_people,), optional
        The clinician's key: resamples are then of whole clinicians (20 or more), else of people.
    anchor_reliability : float, optional
        Reliability of the change question, for the improved adjustment.
    n_draws : int
        Resamples.
    confidence : float
        Of the intervals.
    progress : callable, optional
        Called with the share done and a text.

    Returns
    -------
    MinimalImportantChange
        NaN with a note where the logistic regression separates the groups or has no slope.

    Raises
    ------
    AnalysisInputError
        Lengths that do not match, an anchor with other values, an empty group, a change without variation, a
        reliability outside 0 to 1.

    Notes
    -----
    logit P(better) = b0 + b1·change; predicted = (logit p − b0)/b1 with p the share improved (Terluin et al. 2015, J
    Clin Epidemiol 68:1388); adjusted = predicted − (0.090 + 0.103·r)·SD·logit p (Terluin et al. 2017, J Clin Epidemiol
    83:90), r the correlation of change and anchor; improved = predicted − (0.8/reliability − 0.5)·SD·r·logit p (Terluin
    et al. 2022, J Clin Epidemiol 148:109). R: `glm(improved ~ change, binomial)`.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(2)
    >>> change = 10 * rng.standard_normal(400) + 5
    >>> improved = change + 5 * rng.standard_normal(400) > 8
    >>> bool(6 < minimal_important_change(change, improved, rng=rng, n_draws=100).adjusted < 10)
    True
    """
    who = "minimal_important_change"
    _require_confidence(confidence, who)
    if anchor_reliability is not None and not 0 < anchor_reliability <= 1:
        raise AnalysisInputError(
            f"{who} requires an anchor reliability above 0 and at most 1; got {anchor_reliability}. "
            "Remedy: leave it out if it is not known."
        )
    data = _changes(change, improved, clinicians, who)
    x = data.change
    n = len(x)
    if not x.std() > 1e-12 * max(float(np.abs(x).max()), 1e-300):
        raise AnalysisInputError(
            f"{who} requires changes that vary; all {n} are the same. Remedy: check the two occasions' columns."
        )
    share = float(data.improved.mean())
    notes: list[str] = []
    if n < MINIMUM_FOR_MIC:
        notes.append(f"{n} people: {MINIMUM_FOR_MIC} are needed to report a minimal important change")
    if not 0.2 <= share <= 0.8:
        notes.append(f"{share:.0%} improved: the adjustment was developed for 20 % to 80 %")
    figures = _mic_figures(x, data.improved.astype(np.float64), data.groups, anchor_reliability)
    units = n if data.groups is None else data.groups.n_clinicians
    point = figures(np.ones((1, units)))[0]
    bootstrap = bootstrap_clinicians(
        figures,
        n_clinicians=units,
        n_draws=n_draws,
        rng=rng,
        confidence=confidence,
        names=("predicted MIC", "adjusted MIC", "improved adjusted MIC", "r", "SD", "slope", "intercept"),
        progress=progress,
    )
    if not np.isfinite(point[0]):
        notes.append("change does not predict the anchor, or separates it completely: no minimal important change")
    elif point[5] <= 0:
        notes.append("people who improved changed less than the others: the minimal important change has no meaning")
    if bootstrap.n_draws == 0:
        notes += bootstrap.notes if data.groups is not None else ("no interval with fewer than 20 people",)
    else:
        wanted = ("predicted MIC", "adjusted MIC") + (("improved adjusted MIC",) if anchor_reliability else ())
        notes += [note for note in bootstrap.notes if note.startswith(wanted)]
    method = "resampling people" if data.groups is None else "resampling clinicians"
    return MinimalImportantChange(
        predicted=float(point[0]),
        predicted_ci_lower=float(bootstrap.ci_lower[0]),
        predicted_ci_upper=float(bootstrap.ci_upper[0]),
        adjusted=float(point[1]),
        adjusted_ci_lower=float(bootstrap.ci_lower[1]),
        adjusted_ci_upper=float(bootstrap.ci_upper[1]),
        improved_adjusted=float(point[2]),
        improved_adjusted_ci_lower=float(bootstrap.ci_lower[2]),
        improved_adjusted_ci_upper=float(bootstrap.ci_upper[2]),
        share_improved=share,
        correlation=float(point[3]),
        sd_change=float(point[4]),
        slope=float(point[5]),
        intercept=float(point[6]),
        n_used=n,
        n_dropped=data.n_dropped,
        n_draws=bootstrap.n_draws,
        interval_method=method if bootstrap.n_draws else "none",
        confidence=confidence,
        notes=tuple(notes),
    )


def _mic_figures(
    change: FloatArray, improved: FloatArray, groups: ClinicianGroups | None, reliability: float | None
) -> WeightedStatistic:
    """Return the figures as a function of how often each unit (clinician or person) was drawn."""
    centre, scale = float(change.mean()), float(change.std())
    z = (change - centre) / scale

    def figures(counts: FloatArray) -> FloatArray:
        weights = counts if groups is None else counts[:, groups.codes]
        total = weights.sum(axis=1)
        share = weights @ improved / total
        mean, square = weights @ z / total, weights @ z**2 / total
        variance = np.maximum(square - mean**2, 0.0)
        with np.errstate(divide="ignore", invalid="ignore"):
            log_odds = np.log(share / (1 - share))
            b0, b1 = _logistic(z, improved, weights, np.where(np.isfinite(log_odds), log_odds, 0.0))
            covariance = weights @ (z * improved) / total - mean * share
            r = covariance / np.sqrt(variance * share * (1 - share))
            predicted = (log_odds - b0) / b1
            sd = np.sqrt(variance * total / (total - 1))
            adjusted = predicted - (0.090 + 0.103 * r) * sd * log_odds
            improved_adjusted = np.full_like(predicted, np.nan)
            if reliability is not None:
                improved_adjusted = predicted - (0.8 / reliability - 0.5) * sd * r * log_odds
        columns = [
            centre + scale * predicted,
            centre + scale * adjusted,
            centre + scale * improved_adjusted,
            r,
            scale * sd,
            b1 / scale,
            b0 - b1 * centre / scale,
        ]
        values = np.column_stack(columns)
        return np.where(np.isfinite(values), values, np.nan)

    return figures


def _logistic(z: FloatArray, y: FloatArray, weights: FloatArray, start: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Fit many weighted logistic regressions by Newton's method at once; NaN where one separates the groups."""
    b0, b1 = start.copy(), np.zeros(len(weights))
    right0, right1 = weights @ y, weights @ (y * z)
    change = np.full(len(weights), np.inf)
    for _ in range(_STEPS):
        p = expit(b0[:, None] + b1[:, None] * z)
        wp = weights * p
        wv = wp * (1 - p)
        g0, g1 = right0 - wp.sum(axis=1), right1 - wp @ z
        h00, h01, h11 = wv.sum(axis=1), wv @ z, wv @ z**2
        determinant = h00 * h11 - h01**2
        step0, step1 = (h11 * g0 - h01 * g1) / determinant, (h00 * g1 - h01 * g0) / determinant
        bounded = np.isfinite(step0) & np.isfinite(step1) & (np.abs(b1) < 50)
        b0, b1 = np.where(bounded, b0 + step0, np.nan), np.where(bounded, b1 + step1, np.nan)
        change = np.where(bounded, np.maximum(np.abs(step0), np.abs(step1)), 0.0)
        if (change < 1e-10).all():
            break
    settled = change < 1e-6
    return np.where(settled, b0, np.nan), np.where(settled, b1, np.nan)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Changes:
    change: FloatArray
    improved: npt.NDArray[np.bool_]
    groups: ClinicianGroups | None
    n_dropped: int


def _changes(change: npt.ArrayLike, improved: npt.ArrayLike, clinicians: npt.ArrayLike | None, who: str) -> _Changes:
    try:
        x, anchor = np.asarray(change, dtype=np.float64), np.asarray(improved, dtype=np.float64)
    except (TypeError, ValueError):
        raise AnalysisInputError(
            f"{who} requires numbers as change and anchor; got something that does not convert. "
            "Remedy: recode the anchor to 1 (better), 0 (the same) and NaN (left out)."
        ) from None
    if x.ndim != 1 or anchor.shape != x.shape:
        raise AnalysisInputError(
            f"{who} requires one change and one anchor answer per person; got shapes {x.shape} and {anchor.shape}. "
            "Remedy: take both from the same table."
        )
    if not np.isin(anchor[~np.isnan(anchor)], (0.0, 1.0)).all():
        raise AnalysisInputError(
            f"{who} requires an anchor of 1 (better), 0 (the same) and NaN (left out); got other values. "
            "Remedy: recode the answers of the change question."
        )
    groups = None if clinicians is None else group_by_clinician(clinicians, who=who, n_rows=len(x))
    kept = np.isfinite(x) & ~np.isnan(anchor)
    better = anchor[kept] == 1
    if better.all() or not better.any():
        missing = "the same" if better.any() else "better"
        raise AnalysisInputError(
            f"{who} requires people of both groups; among {int(kept.sum())} usable none says {missing}. "
            "Remedy: check how the change question was coded, or collect more follow-up forms."
        )
    if groups is not None:
        groups = group_by_clinician(np.asarray(groups.labels)[groups.codes][kept], who=who)
    return _Changes(change=x[kept], improved=better, groups=groups, n_dropped=int((~kept).sum()))


def _require_confidence(confidence: float, who: str) -> None:
    if not 0 < confidence < 1:
        raise AnalysisInputError(f"{who} requires a confidence between 0 and 1; got {confidence}. Remedy: use 0.95.")
