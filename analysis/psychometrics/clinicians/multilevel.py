"""Patients within clinicians: how much lies between clinicians, what that costs and allows, and clinicians' means."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.special import fdtri, ndtri

from analysis.psychometrics.dyads.agreement import Estimates, require_confidence
from analysis.psychometrics.errors import AnalysisInputError
from analysis.psychometrics.inference.few_clinicians import group_by_clinician, rules_for
from analysis.psychometrics.inference.one_way import ClinicianSums, find_zero, fit_one_way, sum_by_clinician
from analysis.psychometrics.response_matrix import FloatArray, IntArray, as_item_codes, as_responses, listed, read_only

#: The reliabilities for which the number of patients is worked out: group feedback, comparison, single decisions.
RELIABILITIES: Final = (0.70, 0.80, 0.90)
#: A clinician's mean of fewer patients is not shown: it would let a patient be recognised.
MINIMUM_PATIENTS: Final = 5
#: Below this reliability a clinician's mean is exploratory.
EXPLORATORY_BELOW: Final = 0.70


def reliability_of_mean(icc: float, n_patients: float) -> float:
    """Return the reliability of the mean of so many patients of one clinician.

    Notes
    -----
    n·ICC / (1 + (n − 1)·ICC), Spearman–Brown. Negative coefficients count as 0. NaN in gives NaN out.

    Raises
    ------
    AnalysisInputError
        A coefficient above one, or fewer than no patients.

    Examples
    --------
    >>> round(reliability_of_mean(0.05, 10), 2)
    0.34
    """
    if icc > 1 or n_patients < 0:
        raise AnalysisInputError(
            f"reliability_of_mean requires an ICC of at most 1 and no negative number of patients; got {icc} and "
            f"{n_patients}. Remedy: pass the ICC of patients within clinicians."
        )
    if math.isnan(icc) or math.isnan(n_patients):
        return float("nan")
    share = max(icc, 0.0)
    return n_patients * share / (1 + (n_patients - 1) * share) if n_patients > 0 else 0.0


def patients_needed(icc: float, reliability: float) -> float:
    """Return how many patients a clinician's mean needs for a reliability, rounded up; ∞ where the ICC is 0.

    Notes
    -----
    R/(1 − R)·(1 − ICC)/ICC. Published needs are of this order: about 30 patients for .70 (GPAQ-R), 66 to 77 for .80.

    Raises
    ------
    AnalysisInputError
        A reliability that is not between 0 and 1, or an ICC above one.

    Examples
    --------
    >>> [patients_needed(0.05, r) for r in (0.70, 0.80, 0.90)]
    [45.0, 76.0, 171.0]
    """
    if not 0 < reliability < 1 or icc > 1:
        raise AnalysisInputError(
            f"patients_needed requires a reliability between 0 and 1 and an ICC of at most 1; got {reliability} and "
            f"{icc}. Remedy: ask for 0.70, 0.80 or 0.90."
        )
    if math.isnan(icc):
        return float("nan")
    if icc <= 0:
        return float("inf")
    exact = reliability / (1 - reliability) * (1 - icc) / icc
    # 0.8/0.2 is a little more than 4 in binary: don't ask for another patient on that account.
    return float(max(1, math.ceil(exact - 1e-9)))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ClinicianVariance:
    """How much of each scale's variance lies between clinicians, and what follows. Arrays have one entry a scale."""

    names: tuple[str, ...]
    n_used: IntArray
    n_dropped: IntArray
    n_clinicians: IntArray
    n_single: IntArray  # clinicians with one patient
    patients_per_clinician: FloatArray  # mean
    mean: FloatArray
    mean_se: FloatArray
    between: FloatArray  # variance
    within: FloatArray
    icc: Estimates
    design_effect: FloatArray  # 1 + (mean patients − 1)·ICC
    effective_n: FloatArray  # dyads divided by the design effect
    reliability: FloatArray  # of a clinician's mean of the mean number of patients
    patients_needed: FloatArray  # (n_scales, 3): for reliabilities of .70, .80 and .90
    log_likelihood: FloatArray  # restricted
    confidence: float
    notes: tuple[str, ...]


def variance_between_clinicians(
    scores: npt.ArrayLike,
    clinicians: npt.ArrayLike,
    *,
    names: Sequence[str] | None = None,
    confidence: float = 0.95,
) -> ClinicianVariance:
    """Divide each scale's variance into that between clinicians and that among the patients of one.

    Parameters
    ----------
    scores : array-like, shape (n_dyads, n_scales) or (n_dyads,)
        NaN for missing, left out scale by scale.
    clinicians : array-like, shape (n_dyads,)
        The clinician of each dyad.
    names : sequence of str, optional
        One a scale.
    confidence : float
        Of the ICC's interval.

    Returns
    -------
    ClinicianVariance
        NaN with a note where the variances cannot be told apart (one clinician, one patient each, no variance within).

    Raises
    ------
    AnalysisInputError
        Keys that don't fit the scores.

    Notes
    -----
    REML of a random intercept; the interval of the ICC is Wald's (1940, Ann Math Stat 11:96), exact for unequal numbers
    of patients and equal to McGraw & Wong's for equal ones, cut off at 0. Design effect: Kish (1965). R:
    `lme4::lmer(y ~ 1 + (1 | clinician))`.

    Examples
    --------
    >>> import numpy as np
    >>> scores = np.array([5.0, 6, 7, 2, 3, 1, 8, 9, 8])
    >>> result = variance_between_clinicians(scores, ["a"] * 3 + ["b"] * 3 + ["c"] * 3)
    >>> round(float(result.between[0]), 3), round(float(result.within[0]), 3), round(float(result.icc.estimate[0]), 3)
    (10.0, 0.778, 0.928)
    """
    who = "variance_between_clinicians"
    require_confidence(confidence, who=who)
    values = as_responses(_columns(scores), who=who)
    codes = as_item_codes(names, values.shape[1], who=who)
    groups = group_by_clinician(clinicians, who=who, n_rows=len(values))
    sums = sum_by_clinician(values, groups.codes, groups.n_clinicians)
    fit = fit_one_way(sums)
    between, within = fit.between[0], fit.within[0]
    n = sums.n.sum(axis=0)
    with_any = (sums.n > 0).sum(axis=0)
    per_clinician = n / np.maximum(with_any, 1)
    with np.errstate(invalid="ignore"):
        icc = between / (between + within)
        effect = 1 + (per_clinician - 1) * icc
    lower, upper = _wald_interval(sums, confidence)
    notes = _problems(codes, sums, icc)
    alone = (sums.n == 1).sum(axis=0)
    if alone.any():
        worst = int(alone.max())
        notes.append(f"up to {worst} clinician(s) with one patient: they tell little about the variance within")
    for count in sorted({int(k) for k in with_any}):
        notes += [note for note in rules_for(count).notes if note not in notes]
    described = with_any < 10
    lower, upper = np.where(described, np.nan, lower), np.where(described, np.nan, upper)
    return ClinicianVariance(
        names=codes,
        n_used=read_only(n.astype(np.int64)),
        n_dropped=read_only((len(values) - n).astype(np.int64)),
        n_clinicians=read_only(with_any.astype(np.int64)),
        n_single=read_only(alone.astype(np.int64)),
        patients_per_clinician=read_only(per_clinician),
        mean=read_only(fit.mean[0]),
        mean_se=read_only(np.sqrt(fit.mean_variance[0])),
        between=read_only(between),
        within=read_only(within),
        icc=Estimates(
            estimate=read_only(icc),
            se=read_only(np.full(len(codes), np.nan)),
            ci_lower=read_only(np.where(np.isnan(icc), np.nan, lower)),
            ci_upper=read_only(np.where(np.isnan(icc), np.nan, upper)),
            method="exact F (Wald)",
        ),
        design_effect=read_only(effect),
        effective_n=read_only(n / effect),
        reliability=read_only(
            np.array([reliability_of_mean(float(x), float(k)) for x, k in zip(icc, per_clinician, strict=True)])
        ),
        patients_needed=read_only(np.array([[patients_needed(float(x), r) for r in RELIABILITIES] for x in icc])),
        log_likelihood=read_only(fit.log_likelihood[0]),
        confidence=confidence,
        notes=tuple(notes),
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ClinicianMeans:
    """Clinicians' means, raw and drawn towards the grand mean by their unreliability. Arrays: one entry a clinician.

    Means of fewer patients than `minimum_patients` are NaN and `shown` is False. `exploratory`: reliability below .70.
    """

    labels: tuple[str, ...]
    n_patients: IntArray
    shown: npt.NDArray[np.bool_]
    raw_mean: FloatArray
    shrunken_mean: FloatArray
    se: FloatArray  # of the shrunken mean as a prediction of the clinician's true mean
    ci_lower: FloatArray
    ci_upper: FloatArray
    reliability: FloatArray
    exploratory: npt.NDArray[np.bool_]
    grand_mean: float
    between: float
    within: float
    n_used: int
    n_dropped: int
    minimum_patients: int
    confidence: float
    notes: tuple[str, ...]


def shrink_clinician_means(
    scores: npt.ArrayLike,
    clinicians: npt.ArrayLike,
    *,
    minimum_patients: int = MINIMUM_PATIENTS,
    confidence: float = 0.95,
) -> ClinicianMeans:
    """Predict each clinician's true mean: the raw mean drawn to the grand mean by 1 − reliability.

    Parameters
    ----------
    scores : array-like, shape (n_dyads,)
        One scale; NaN for missing.
    clinicians : array-like, shape (n_dyads,)
        The clinician of each dyad.
    minimum_patients : int
        Means of fewer patients are suppressed.
    confidence : float
        Of the prediction intervals.

    Returns
    -------
    ClinicianMeans
        Below 10 clinicians raw means only: nothing is inferred about them.

    Raises
    ------
    AnalysisInputError
        More than one scale, keys that don't fit.

    Notes
    -----
    Best linear unbiased prediction: μ̂ + λ_i(ȳ_i − μ̂), λ_i = n_i·σ²_u/(n_i·σ²_u + σ²_e), variance components by REML;
    prediction variance σ²_u(1 − λ_i) + (1 − λ_i)²·Var(μ̂) (Robinson 1991, Stat Sci 6:15). R: `coef(lmer(y ~ 1 + (1 |
    clinician)))`, whose `ranef(condVar = TRUE)` leaves the second term out. Ranking clinicians by these is not a
    supported use: with an ICC of .05 it takes 45 patients each to reach a reliability of .70.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(1)
    >>> clinicians = np.repeat(np.arange(12), 6)
    >>> scores = 70 + 5 * rng.normal(size=12)[clinicians] + 15 * rng.normal(size=72)
    >>> result = shrink_clinician_means(scores, clinicians)
    >>> bool(np.ptp(result.shrunken_mean) < np.ptp(result.raw_mean))
    True
    """
    who = "shrink_clinician_means"
    require_confidence(confidence, who=who)
    values = as_responses(_columns(scores), who=who)
    if values.shape[1] != 1:
        raise AnalysisInputError(
            f"{who} requires one scale; got {values.shape[1]} columns. Remedy: call it for each scale."
        )
    groups = group_by_clinician(clinicians, who=who, n_rows=len(values))
    sums = sum_by_clinician(values, groups.codes, groups.n_clinicians)
    fit = fit_one_way(sums)
    n = sums.n[:, 0]
    between, within, grand = float(fit.between[0, 0]), float(fit.within[0, 0]), float(fit.mean[0, 0])
    with np.errstate(invalid="ignore", divide="ignore"):
        reliability = n * between / (n * between + within)
        raw = np.where(n > 0, sums.mean[:, 0], np.nan)
        shrunken = grand + reliability * (raw - grand)
        variance = between * (1 - reliability) + (1 - reliability) ** 2 * float(fit.mean_variance[0, 0])
        se = np.sqrt(variance)
    shown = n >= minimum_patients
    rules = rules_for(int((n > 0).sum()))
    notes = [*_problems(("the scale",), sums, fit.between[0] / (fit.between[0] + fit.within[0])), *rules.notes]
    if (~shown).any():
        hidden = [label for label, one in zip(groups.labels, shown, strict=True) if not one]
        notes.append(
            f"{len(hidden)} clinician(s) with fewer than {minimum_patients} patients not shown: {listed(hidden)}"
        )
    known = shown & (rules.inference and not math.isnan(between))
    exploratory = known & (reliability < EXPLORATORY_BELOW)
    if exploratory.any():
        notes.append(
            f"{int(exploratory.sum())} of {int(known.sum())} means are exploratory: reliability below "
            f"{EXPLORATORY_BELOW:.2f}; ranking clinicians is not a supported use"
        )
    z = float(ndtri(1 - (1 - confidence) / 2))
    return ClinicianMeans(
        labels=groups.labels,
        n_patients=read_only(n.astype(np.int64)),
        shown=_closed(shown),
        raw_mean=read_only(np.where(shown, raw, np.nan)),
        shrunken_mean=read_only(np.where(known, shrunken, np.nan)),
        se=read_only(np.where(known, se, np.nan)),
        ci_lower=read_only(np.where(known, shrunken - z * se, np.nan)),
        ci_upper=read_only(np.where(known, shrunken + z * se, np.nan)),
        reliability=read_only(np.where(known, reliability, np.nan)),
        exploratory=_closed(exploratory),
        grand_mean=grand,
        between=between,
        within=within,
        n_used=int(n.sum()),
        n_dropped=int(len(values) - n.sum()),
        minimum_patients=minimum_patients,
        confidence=confidence,
        notes=tuple(notes),
    )


def _columns(values: npt.ArrayLike) -> npt.ArrayLike:
    array = np.asarray(values)
    return array[:, None] if array.ndim == 1 else array


def _closed(flags: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    copy = flags.copy()
    copy.setflags(write=False)
    return copy


def _problems(names: Sequence[str], sums: ClinicianSums, icc: FloatArray) -> list[str]:
    """Say why a scale's variances could not be told apart, or that none lies between clinicians."""
    notes = []
    n, used = sums.n.sum(axis=0), (sums.n > 0).sum(axis=0)
    for position, name in enumerate(names):
        if np.isnan(icc[position]):
            if used[position] < 2:
                reason = f"scores of {int(used[position])} clinician(s)"
            elif n[position] == used[position]:
                reason = "each clinician has one patient"
            else:
                reason = "the scores do not vary within clinicians"
            notes.append(f"{name}: variances between and within clinicians cannot be told apart, {reason}")
        elif icc[position] == 0:
            notes.append(f"{name}: no variance between clinicians beyond chance, estimated as 0")
    return notes


def _wald_interval(sums: ClinicianSums, confidence: float) -> tuple[FloatArray, FloatArray]:
    """Return the exact limits of the ICC; NaN where there are too few degrees of freedom."""
    n, groups = sums.n, (sums.n > 0).sum(axis=0)
    df1, df2 = groups - 1.0, n.sum(axis=0) - groups
    usable = (df1 >= 1) & (df2 >= 1)
    ms_within = sums.squares.sum(axis=0) / np.maximum(df2, 1.0)
    usable &= ms_within > 0

    def ratio(rho: FloatArray) -> FloatArray:
        # n/(1 + n·λ); a clinician without patients weighs nothing, also where λ is infinite
        weight = n * (1 - rho) / np.where(n > 0, 1 + (n - 1) * rho, 1.0)
        total = np.maximum(weight.sum(axis=0), 1e-300)
        mean = (weight * sums.mean).sum(axis=0) / total
        squares = (weight * (sums.mean - mean) ** 2).sum(axis=0)
        return np.asarray(squares / np.maximum(df1, 1.0) / np.where(usable, ms_within, 1.0), dtype=np.float64)

    tail = (1 - confidence) / 2

    def limit(probability: float) -> FloatArray:
        target = fdtri(np.maximum(df1, 1.0), np.maximum(df2, 1.0), probability)
        low, high = np.zeros(len(df1)), np.ones(len(df1))
        at_low, at_high = ratio(low) - target, ratio(high) - target
        inside = usable & (at_low > 0) & (at_high < 0)
        zero = find_zero(lambda rho: ratio(rho) - target, low, high, at_low, at_high, inside)
        return np.where(usable, np.where(inside, zero, 0.0), np.nan)

    return limit(1 - tail), limit(tail)
