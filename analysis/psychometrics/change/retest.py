"""Two occasions of the same people without change between: retest agreement and the error of measurement."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.special import stdtrit

from analysis.psychometrics.dyads.agreement import intraclass_correlations
from analysis.psychometrics.errors import AnalysisInputError
from analysis.psychometrics.inference.few_clinicians import ClinicianGroups, group_by_clinician, rules_for
from analysis.psychometrics.inference.resampling import Progress, WeightedStatistic, bootstrap_clinicians
from analysis.psychometrics.response_matrix import FloatArray, as_item_codes, as_responses

#: Numbers of retested people that count as adequate and as very good (COSMIN).
ADEQUATE: Final = 50
VERY_GOOD: Final = 100
_LIMIT: Final = 1.96


@dataclass(frozen=True, slots=True, kw_only=True)
class Retest:
    """Agreement of two occasions on one score; NaN where a note says why."""

    name: str
    icc_a1: float
    icc_a1_ci_lower: float
    icc_a1_ci_upper: float
    icc_c1: float
    interval_method: str  # of the ICC, the SEM and the SDC
    sem_agreement: float  # √(variance between occasions + residual variance)
    sem_agreement_ci_lower: float
    sem_agreement_ci_upper: float
    sem_consistency: float  # √(residual variance)
    sdc: float  # smallest detectable change of one person
    sdc_ci_lower: float
    sdc_ci_upper: float
    sdc_group: float  # of the mean of n people
    mean_difference: float  # second minus first
    mean_difference_ci_lower: float
    mean_difference_ci_upper: float
    sd_difference: float
    loa_lower: float
    loa_lower_ci_lower: float
    loa_lower_ci_upper: float
    loa_upper: float
    loa_upper_ci_lower: float
    loa_upper_ci_upper: float
    n_used: int
    n_dropped: int
    n_clinicians: int | None
    confidence: float
    notes: tuple[str, ...]


def assess_retest(
    first: npt.ArrayLike,
    second: npt.ArrayLike,
    *,
    rng: np.random.Generator,
    clinicians: npt.ArrayLike | None = None,
    names: Sequence[str] | None = None,
    n_draws: int = 2000,
    confidence: float = 0.95,
    progress: Progress | None = None,
) -> tuple[Retest, ...]:
    """Compare two occasions score by score: ICC(A,1), SEM of agreement, smallest detectable change, limits.

    Parameters
    ----------
    first, second : array-like, shape (n_people,) or (n_people, n_scores)
        Scores of the same people on both occasions, people whose state did not change; NaN for missing.
    rng : numpy.random.Generator
        For intervals of the SEM and the SDC.
    clinicians : array-like, shape (n_people,), optional
        The clinician's key of each person: intervals then resample whole clinicians (20 or more), else people.
    names : sequence of str, optional
        One a score.
    n_draws : int
        Resamples.
    confidence : float
        Of every interval.
    progress : callable, optional
        Called with the share done and a text.

    Returns
    -------
    tuple of Retest
        One a score.

    Raises
    ------
    AnalysisInputError
        Shapes that differ, an occasion without any value, keys that do not match.

    Notes
    -----
    With mean squares of occasions C and error E over n people: SEM_agreement = √(max((C − E)/n, 0) + E),
    SEM_consistency = √E, SDC = 1.96·√2·SEM_agreement, of a group mean SDC/√n; limits d̄ ± 1.96·SD_d. de Vet et al.
    (2006, J Clin Epidemiol 59:1033); ICC as McGraw & Wong (1996). R: `psych::ICC(x, lmer = FALSE)`, type ICC2.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(1)
    >>> true = 70 + 15 * rng.standard_normal(120)
    >>> first, second = true + 5 * rng.standard_normal((2, 120))
    >>> (result,) = assess_retest(first, second, rng=rng, n_draws=200)
    >>> bool(abs(result.icc_a1 - 0.9) < 0.05), bool(abs(result.sem_agreement - 5) < 1)
    (True, True)
    """
    who = "assess_retest"
    if not 0 < confidence < 1:
        raise AnalysisInputError(f"{who} requires a confidence between 0 and 1; got {confidence}. Remedy: use 0.95.")
    a, b = (
        as_responses(_as_columns(values), who=f"{who} ({which} occasion)")
        for values, which in ((first, "first"), (second, "second"))
    )
    if a.shape != b.shape:
        raise AnalysisInputError(
            f"{who} requires the same people and scores on both occasions; got {a.shape[0]} x {a.shape[1]} and "
            f"{b.shape[0]} x {b.shape[1]}. Remedy: pair the rows by the person's key and choose the same columns."
        )
    for values, which in ((a, "first"), (b, "second")):
        if np.isnan(values).all():
            raise AnalysisInputError(
                f"{who} requires both occasions; the {which} has no value at all. Remedy: check the columns."
            )
    labels = as_item_codes(names, a.shape[1], who=who)
    groups = None if clinicians is None else group_by_clinician(clinicians, who=who, n_rows=len(a))
    results = []
    for column, label in enumerate(labels):
        # One seed per score, in its order, so that a score's interval does not depend on its neighbours' values.
        column_rng = np.random.default_rng(int(rng.integers(2**62)))
        results.append(
            _one_score(
                np.column_stack([a[:, column], b[:, column]]),
                label,
                groups,
                column_rng,
                n_draws,
                confidence,
            )
        )
        if progress is not None:
            progress((column + 1) / len(labels), "retest")
    return tuple(results)


def _as_columns(values: npt.ArrayLike) -> npt.ArrayLike:
    array = np.asarray(values)
    return array[:, None] if array.ndim == 1 else array


def _one_score(
    pair: FloatArray,
    name: str,
    groups: ClinicianGroups | None,
    rng: np.random.Generator,
    n_draws: int,
    confidence: float,
) -> Retest:
    kept = np.asarray(~np.isnan(pair).any(axis=1), dtype=np.bool_)
    values = pair[kept]
    n = len(values)
    notes: list[str] = []
    if n < 3:
        return _undefined(
            name, n, len(pair) - n, groups, confidence, (f"{n} people with both occasions: 3 are needed",)
        )
    if n < ADEQUATE:
        notes.append(f"{n} people with both occasions: {ADEQUATE} are adequate, {VERY_GOOD} very good")
    difference = values[:, 1] - values[:, 0]
    icc = intraclass_correlations(values, confidence=confidence)
    notes += icc.notes
    position = {form: k for k, form in enumerate(icc.forms)}
    point = _figures(values - values.mean())(np.ones((1, n)))[0]
    sem_agreement, sem_consistency = float(point[1]), float(np.sqrt(max(icc.ms_error, 0.0)))
    sd = float(difference.std(ddof=1))
    flat = not values.std() > 1e-12 * max(float(np.abs(values).max()), 1e-300)
    if flat:
        notes.append("the scores do not vary: error and reliability are undefined")
        sem_agreement = sem_consistency = np.nan
    elif values[:, 0].std() == 0 or values[:, 1].std() == 0:
        notes.append("one occasion does not vary between people: reliability is zero by construction")
    statistic, n_units = _figures(values - values.mean()), n
    n_clinicians: int | None = None
    method = "resampling people"
    rules_notes: tuple[str, ...] = ()
    if groups is not None:
        own = group_by_clinician(np.asarray(groups.labels)[groups.codes][kept], who="assess_retest")
        statistic, n_units = _figures_by_clinician(values - values.mean(), own), own.n_clinicians
        n_clinicians = own.n_clinicians
        method = "resampling clinicians"
        rules_notes = rules_for(own.n_clinicians).notes
    bootstrap = bootstrap_clinicians(
        statistic,
        n_clinicians=n_units,
        n_draws=n_draws,
        rng=rng,
        confidence=confidence,
        names=(f"{name}: ICC(A,1)", f"{name}: SEM"),
    )
    notes += rules_notes
    if groups is None and not rules_for(n_units).cluster_bootstrap:
        notes.append("no interval of SEM and SDC with fewer than 20 people")
    lower, upper = bootstrap.ci_lower.copy(), bootstrap.ci_upper.copy()
    icc_lower, icc_upper = float(lower[0]), float(upper[0])
    if groups is None:
        # The F interval is exact enough for independent people; only SEM and SDC take the bootstrap.
        k = position["ICC(A,1)"]
        icc_lower, icc_upper = float(icc.ci_lower[k]), float(icc.ci_upper[k])
        method = "F for the ICC, resampling people for SEM and SDC"
    elif not rules_for(n_units).cluster_bootstrap:
        method = "none"
    if flat:
        lower[1] = upper[1] = np.nan
    inference = groups is None or rules_for(n_units).inference
    mean_half, limit_half = _difference_errors(difference, groups, kept, confidence)
    if not inference:
        mean_half = limit_half = np.nan
    mean = float(difference.mean())
    scale = _LIMIT * np.sqrt(2.0)
    return Retest(
        name=name,
        icc_a1=float(icc.estimate[position["ICC(A,1)"]]),
        icc_a1_ci_lower=icc_lower,
        icc_a1_ci_upper=icc_upper,
        icc_c1=float(icc.estimate[position["ICC(C,1)"]]),
        interval_method=method,
        sem_agreement=sem_agreement,
        sem_agreement_ci_lower=float(lower[1]),
        sem_agreement_ci_upper=float(upper[1]),
        sem_consistency=sem_consistency,
        sdc=float(scale * sem_agreement),
        sdc_ci_lower=float(scale * lower[1]),
        sdc_ci_upper=float(scale * upper[1]),
        sdc_group=float(scale * sem_agreement / np.sqrt(n)),
        mean_difference=mean,
        mean_difference_ci_lower=mean - mean_half,
        mean_difference_ci_upper=mean + mean_half,
        sd_difference=sd,
        loa_lower=mean - _LIMIT * sd,
        loa_lower_ci_lower=mean - _LIMIT * sd - limit_half,
        loa_lower_ci_upper=mean - _LIMIT * sd + limit_half,
        loa_upper=mean + _LIMIT * sd,
        loa_upper_ci_lower=mean + _LIMIT * sd - limit_half,
        loa_upper_ci_upper=mean + _LIMIT * sd + limit_half,
        n_used=n,
        n_dropped=len(pair) - n,
        n_clinicians=n_clinicians,
        confidence=confidence,
        notes=tuple(dict.fromkeys(notes)),
    )


def _difference_errors(
    difference: FloatArray, groups: ClinicianGroups | None, kept: npt.NDArray[np.bool_], confidence: float
) -> tuple[float, float]:
    """Return half widths of the intervals of the mean difference and of a limit (Bland & Altman's approximation).

    With clinicians, the squared error of the mean is that of the clinicians' totals (CR1 about the mean), and the
    limits take the same inflation.
    """
    n = len(difference)
    sd = float(difference.std(ddof=1))
    variance, degrees = sd**2 / n, n - 1
    if groups is not None:
        codes = groups.codes[kept]
        totals = np.bincount(codes, weights=difference - difference.mean())
        present = np.unique(codes)
        k = len(present)
        if k < 2:
            return np.nan, np.nan
        variance = float((totals[present] ** 2).sum()) / n**2 * k / (k - 1)
        degrees = k - 1
    t = float(stdtrit(degrees, (1 + confidence) / 2))
    inflation = max(variance / (sd**2 / n), 1.0) if sd > 0 else 1.0
    limit = sd * np.sqrt(inflation * (1 / n + _LIMIT**2 / (2 * (n - 1))))
    return t * float(np.sqrt(variance)), t * float(limit)


def _figures(values: FloatArray) -> WeightedStatistic:
    """Return ICC(A,1) and SEM of agreement as a function of how often each person was drawn."""
    return _figures_of(_moments(values))


def _figures_by_clinician(values: FloatArray, groups: ClinicianGroups) -> WeightedStatistic:
    return _figures_of(np.add.reduceat(_moments(values)[groups.order], groups.starts, axis=0))


def _moments(values: FloatArray) -> FloatArray:
    x, y = values.T
    return np.column_stack([np.ones(len(x)), x, y, x * x, y * y, x * y])


def _figures_of(moments: FloatArray) -> WeightedStatistic:
    def figures(counts: FloatArray) -> FloatArray:
        n, sx, sy, sxx, syy, sxy = (counts @ moments).T
        xx, yy, xy = sxx - sx**2 / n, syy - sy**2 / n, sxy - sx * sy / n
        # Mean squares of two columns: people (half the variance of the sum), occasions, error (half that of the gap).
        with np.errstate(divide="ignore", invalid="ignore"):
            people, error = (xx + yy + 2 * xy) / 2 / (n - 1), np.maximum((xx + yy - 2 * xy) / 2 / (n - 1), 0.0)
            occasions = (sx - sy) ** 2 / (2 * n)
            icc = (people - error) / (people + error + 2 * (occasions - error) / n)
            sem = np.sqrt(np.maximum((occasions - error) / n, 0.0) + error)
        return np.column_stack([np.where(np.isfinite(icc), icc, np.nan), sem])

    return figures


def _undefined(
    name: str, n: int, n_dropped: int, groups: ClinicianGroups | None, confidence: float, notes: tuple[str, ...]
) -> Retest:
    gap = float("nan")
    return Retest(
        name=name,
        icc_a1=gap,
        icc_a1_ci_lower=gap,
        icc_a1_ci_upper=gap,
        icc_c1=gap,
        interval_method="none",
        sem_agreement=gap,
        sem_agreement_ci_lower=gap,
        sem_agreement_ci_upper=gap,
        sem_consistency=gap,
        sdc=gap,
        sdc_ci_lower=gap,
        sdc_ci_upper=gap,
        sdc_group=gap,
        mean_difference=gap,
        mean_difference_ci_lower=gap,
        mean_difference_ci_upper=gap,
        sd_difference=gap,
        loa_lower=gap,
        loa_lower_ci_lower=gap,
        loa_lower_ci_upper=gap,
        loa_upper=gap,
        loa_upper_ci_lower=gap,
        loa_upper_ci_upper=gap,
        n_used=n,
        n_dropped=n_dropped,
        n_clinicians=None if groups is None else groups.n_clinicians,
        confidence=confidence,
        notes=notes,
    )
