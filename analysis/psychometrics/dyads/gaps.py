"""Gaps between the two roles' scores: how large, how reliable, which are more than error, and the pitfalls."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.special import stdtrit

from analysis.psychometrics.dyads.agreement import Estimates, groups_to_resample, require_confidence
from analysis.psychometrics.dyads.pairing import as_two_roles
from analysis.psychometrics.errors import AnalysisInputError
from analysis.psychometrics.inference.few_clinicians import ClinicianGroups, rules_for
from analysis.psychometrics.inference.resampling import bootstrap_clinicians
from analysis.psychometrics.reliability.coefficients import standard_error_of_measurement
from analysis.psychometrics.response_matrix import FloatArray, IntArray, as_item_codes, listed, read_only

#: A gap is reliable when it lies this many standard errors from the mean gap.
RELIABLE_GAP_Z: Final = 1.96


@dataclass(frozen=True, slots=True, kw_only=True)
class Pitfall:
    """One way in which gaps mislead; printed beside every gap."""

    code: str
    sentence: str


#: What has to stand beside any gap.
PITFALLS: Final[tuple[Pitfall, ...]] = (
    Pitfall(
        code="two_levels",
        sentence="A gap confounds two persons' levels: what goes with the gap may go with the patient's score alone.",
    ),
    Pitfall(
        code="own_parts",
        sentence="A gap correlates with its own parts by construction: never explain trust by a gap that holds trust.",
    ),
    Pitfall(
        code="folded",
        sentence="An absolute gap is folded: measurement error alone makes it positive, even where no true gap is.",
    ),
    Pitfall(
        code="ceiling",
        sentence="At the ceiling a gap can point one way only: above a patient at the highest score there is nothing.",
    ),
    Pitfall(
        code="invariance",
        sentence="A gap between roles means nothing unless both forms measure on one scale (scalar invariance).",
    ),
    Pitfall(
        code="rating_style",
        sentence="Where a clinician rates all patients alike, the gap is mostly the patient's score turned round.",
    ),
    Pitfall(
        code="describe_only",
        sentence="Use gaps to describe and to open a talk; to explain an outcome fit both scores (response surface).",
    ),
)


def reliability_of_difference(
    *,
    sd_patient: float,
    sd_clinician: float,
    reliability_patient: float,
    reliability_clinician: float,
    correlation: float,
) -> float:
    """Return the reliability of the difference between two scores.

    Notes
    -----
    (σ²_C·r_CC + σ²_P·r_PP − 2·r_PC·σ_C·σ_P) / (σ²_C + σ²_P − 2·r_PC·σ_C·σ_P), Edwards (2001, Organ Res Methods 4:265).
    NaN where the difference does not vary, and for NaN in. It can fall below 0 when the two scores correlate more than
    their reliabilities allow.

    Raises
    ------
    AnalysisInputError
        A negative SD, a correlation beyond ±1, a reliability above 1.

    Examples
    --------
    >>> round(reliability_of_difference(
    ...     sd_patient=1, sd_clinician=1, reliability_patient=0.75, reliability_clinician=0.75, correlation=0.5), 2)
    0.5
    """
    given = (sd_patient, sd_clinician, reliability_patient, reliability_clinician, correlation)
    if any(math.isnan(number) for number in given):
        return float("nan")
    if min(sd_patient, sd_clinician) < 0 or abs(correlation) > 1 or max(reliability_patient, reliability_clinician) > 1:
        raise AnalysisInputError(
            "reliability_of_difference requires SDs of at least 0, a correlation within -1 to 1 and reliabilities of "
            f"at most 1; got {given}. Remedy: check the order of the figures."
        )
    shared = 2 * correlation * sd_patient * sd_clinician
    observed = sd_patient**2 + sd_clinician**2 - shared
    true = sd_patient**2 * reliability_patient + sd_clinician**2 * reliability_clinician - shared
    return true / observed if observed > 1e-12 * (sd_patient**2 + sd_clinician**2) else float("nan")


def standard_error_of_gap(sem_patient: float, sem_clinician: float) -> float:
    """Return √(SEM_P² + SEM_C²): the standard error of one dyad's gap.

    Raises
    ------
    AnalysisInputError
        A negative standard error.

    Examples
    --------
    >>> round(standard_error_of_gap(10.95, 10.95), 1)
    15.5
    """
    if min(sem_patient, sem_clinician) < 0:
        raise AnalysisInputError(
            f"standard_error_of_gap requires standard errors of at least 0; got {sem_patient} and {sem_clinician}. "
            "Remedy: pass the standard errors of measurement of both roles."
        )
    return math.hypot(sem_patient, sem_clinician)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GapSummary:
    """Gaps clinician minus patient of a sample. Arrays have one entry a score.

    `mean_gap`, `sem_patient` and `sem_clinician` are what a single dyad's gap is judged by.
    """

    names: tuple[str, ...]
    n_used: IntArray
    n_dropped: IntArray
    n_clinicians: int | None
    mean_gap: Estimates
    sd_gap: FloatArray
    mean_absolute_gap: FloatArray
    absolute_gap_by_error: FloatArray  # E|e| = SE·√(2/π): what error alone would make of no gap at all
    correlation: FloatArray  # between the roles
    correlation_with_patient: FloatArray  # of the gap with the patient's own score
    correlation_with_clinician: FloatArray
    reliability: FloatArray  # of the gap
    sem_patient: FloatArray
    sem_clinician: FloatArray
    se_gap: FloatArray  # of one dyad's gap
    threshold: FloatArray  # z·SE: how far from the mean gap a reliable gap lies
    n_clinician_higher: IntArray  # reliable gaps
    n_patient_higher: IntArray
    share_reliable: FloatArray
    ceiling_share_patient: FloatArray  # at the highest score
    ceiling_share_clinician: FloatArray
    may_be_shown: tuple[bool | None, ...]  # None: invariance between the roles not tested
    z: float
    confidence: float
    pitfalls: tuple[Pitfall, ...]
    notes: tuple[str, ...]


def summarise_gaps(
    patient: npt.ArrayLike,
    clinician: npt.ArrayLike,
    *,
    reliability_patient: npt.ArrayLike | None = None,
    reliability_clinician: npt.ArrayLike | None = None,
    names: Sequence[str] | None = None,
    lowest: float = 0.0,
    highest: float = 100.0,
    z: float = RELIABLE_GAP_Z,
    scalar_invariant: Sequence[bool | None] | None = None,
    clinicians: npt.ArrayLike | None = None,
    confidence: float = 0.95,
    n_draws: int = 2000,
    rng: np.random.Generator | None = None,
    progress: Callable[[float, str], None] | None = None,
) -> GapSummary:
    """Describe the gaps between the roles' scores, with what makes them reliable and what makes them mislead.

    Parameters
    ----------
    patient, clinician : array-like, shape (n_dyads, n_scores) or (n_dyads,)
        The same dyads in the same order, one unit; NaN for missing.
    reliability_patient, reliability_clinician : array-like, shape (n_scores,), optional
        Reliability of each score in either role (omega). Without them nothing is said about single gaps.
    names : sequence of str, optional
        One a score.
    lowest, highest : float
        Ends of the scores' range.
    z : float
        Standard errors from the mean gap to a reliable gap.
    scalar_invariant : sequence of bool or None, optional
        Whether the roles' forms of each score measure on one scale; None where not tested.
    clinicians : array-like, shape (n_dyads,), optional
        The clinician of each dyad. The interval of the mean gap then resamples whole clinicians (20 or more).
    confidence, n_draws, rng, progress
        As in `agreement`.

    Returns
    -------
    GapSummary

    Raises
    ------
    AnalysisInputError
        Shapes that differ, scores beyond their range, reliabilities that are no reliabilities.

    Notes
    -----
    D = C − P. Reliability of D: see `reliability_of_difference`. A single gap is reliable if |D − D̄| > z·SE_D with
    SE_D = √(SEM_P² + SEM_C²). With SD 20 and ω .70 in both roles that takes 30 points of 100: flag gaps of domains, not
    of two-item components.

    Examples
    --------
    >>> import numpy as np
    >>> patient = np.array([80.0, 60, 70, 90, 50, 75])
    >>> clinician = np.array([85.0, 50, 75, 80, 95, 70])
    >>> result = summarise_gaps(patient, clinician, reliability_patient=[0.8], reliability_clinician=[0.8])
    >>> round(float(result.mean_gap.estimate[0]), 2), round(float(result.threshold[0]), 1), result.n_clinician_higher
    (5.0, 18.4, array([1]))
    """
    who = "summarise_gaps"
    require_confidence(confidence, who=who)
    p, c = as_two_roles(patient, clinician, who=who)
    codes = as_item_codes(names, p.shape[1], who=who)
    groups = groups_to_resample(clinicians, len(p), rng, who=who)
    _require_range(p, c, lowest, highest, who=who)
    n_scores = len(codes)
    of_patient = _reliabilities(reliability_patient, n_scores, role="patient", who=who)
    of_clinician = _reliabilities(reliability_clinician, n_scores, role="clinician", who=who)
    shown = tuple(scalar_invariant) if scalar_invariant is not None else (None,) * n_scores
    if len(shown) != n_scores:
        raise AnalysisInputError(
            f"{who} requires one statement about invariance a score; got {len(shown)} for {n_scores}. "
            "Remedy: pass True, False or None for each."
        )
    both = ~(np.isnan(p) | np.isnan(c))
    n = both.sum(axis=0)
    usable = n >= 3
    notes = []
    if not usable.all():
        few = [f"{code} ({count})" for code, count in zip(codes, n, strict=True) if count < 3]
        notes.append(f"fewer than 3 dyads with both scores, so nothing is given: {listed(few)}")
    p, c = np.where(both, p, np.nan), np.where(both, c, np.nan)
    moments = _Moments.of(p, c, both)
    sem_p, sem_c, se_gap, reliability = (np.full(n_scores, np.nan) for _ in range(4))
    for s in np.flatnonzero(usable):
        sem_p[s] = standard_error_of_measurement(float(moments.sd_patient[s]), float(of_patient[s]))
        sem_c[s] = standard_error_of_measurement(float(moments.sd_clinician[s]), float(of_clinician[s]))
        se_gap[s] = math.hypot(sem_p[s], sem_c[s])
        reliability[s] = reliability_of_difference(
            sd_patient=float(moments.sd_patient[s]),
            sd_clinician=float(moments.sd_clinician[s]),
            reliability_patient=float(of_patient[s]),
            reliability_clinician=float(of_clinician[s]),
            correlation=float(moments.correlation[s]),
        )
    threshold = z * se_gap
    away = c - p - moments.mean_gap
    with np.errstate(invalid="ignore"):
        above, below = (away > threshold).sum(axis=0), (away < -threshold).sum(axis=0)
    known = usable & ~np.isnan(threshold)
    notes += _notes(codes, moments, of_patient, of_clinician, reliability, shown, usable)
    se, low, high, method = _interval(p, c, moments, groups, n, confidence, n_draws, rng, progress)
    if groups is not None:
        notes += rules_for(groups.n_clinicians).notes
    with np.errstate(invalid="ignore", divide="ignore"):
        ceilings = [(values >= highest - 1e-9).sum(axis=0) / n for values in (p, c)]
        absolute = np.where(both, np.abs(c - p), 0.0).sum(axis=0) / n
        share = (above + below) / n
    return GapSummary(
        names=codes,
        n_used=read_only(n.astype(np.int64)),
        n_dropped=read_only((len(p) - n).astype(np.int64)),
        n_clinicians=None if groups is None else groups.n_clinicians,
        mean_gap=Estimates(
            estimate=_or_nan(usable, moments.mean_gap),
            se=_or_nan(usable, se),
            ci_lower=_or_nan(usable, low),
            ci_upper=_or_nan(usable, high),
            method=method,
        ),
        sd_gap=_or_nan(usable, moments.sd_gap),
        mean_absolute_gap=_or_nan(usable, absolute),
        absolute_gap_by_error=_or_nan(usable, se_gap * math.sqrt(2 / math.pi)),
        correlation=_or_nan(usable, moments.correlation),
        correlation_with_patient=_or_nan(usable, moments.with_patient),
        correlation_with_clinician=_or_nan(usable, moments.with_clinician),
        reliability=_or_nan(usable, reliability),
        sem_patient=_or_nan(usable, sem_p),
        sem_clinician=_or_nan(usable, sem_c),
        se_gap=_or_nan(usable, se_gap),
        threshold=_or_nan(usable, threshold),
        n_clinician_higher=read_only(np.where(known, above, 0).astype(np.int64)),
        n_patient_higher=read_only(np.where(known, below, 0).astype(np.int64)),
        share_reliable=_or_nan(known, share),
        ceiling_share_patient=_or_nan(usable, ceilings[0]),
        ceiling_share_clinician=_or_nan(usable, ceilings[1]),
        may_be_shown=shown,
        z=z,
        confidence=confidence,
        pitfalls=PITFALLS,
        notes=tuple(notes),
    )


def judge_gaps(
    gaps: npt.ArrayLike, *, mean_gap: float, sem_patient: float, sem_clinician: float, z: float = RELIABLE_GAP_Z
) -> IntArray:
    """Return 1 where the clinician is reliably higher, −1 where the patient is, 0 where it may be error.

    Parameters
    ----------
    gaps : array-like, shape (n_dyads,)
        Clinician minus patient; NaN counts as 0: no gap is known.
    mean_gap, sem_patient, sem_clinician : float
        Of the reference sample.
    z : float
        Standard errors from the mean gap to a reliable gap.

    Raises
    ------
    AnalysisInputError
        Standard errors that are negative or unknown.

    Examples
    --------
    >>> judge_gaps([30.0, -40.0, 5.0], mean_gap=2, sem_patient=10, sem_clinician=8).tolist()
    [1, -1, 0]
    """
    if not (math.isfinite(mean_gap) and math.isfinite(sem_patient) and math.isfinite(sem_clinician)):
        raise AnalysisInputError(
            f"judge_gaps requires a known mean gap and standard errors; got {mean_gap}, {sem_patient} and "
            f"{sem_clinician}. Remedy: leave scores without a reference unjudged."
        )
    values = np.asarray(gaps, dtype=np.float64)
    away = values - mean_gap
    threshold = z * standard_error_of_gap(sem_patient, sem_clinician)
    with np.errstate(invalid="ignore"):
        return np.where(away > threshold, 1, np.where(away < -threshold, -1, 0)).astype(np.int64)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Moments:
    mean_gap: FloatArray
    sd_gap: FloatArray
    sd_patient: FloatArray
    sd_clinician: FloatArray
    correlation: FloatArray
    with_patient: FloatArray
    with_clinician: FloatArray

    @classmethod
    def of(cls, p: FloatArray, c: FloatArray, both: npt.NDArray[np.bool_]) -> "_Moments":
        n = both.sum(axis=0)
        p0, c0 = np.where(both, p, 0.0), np.where(both, c, 0.0)
        with np.errstate(divide="ignore", invalid="ignore"):
            p_mean, c_mean = p0.sum(axis=0) / n, c0.sum(axis=0) / n
            dp, dc = np.where(both, p0 - p_mean, 0.0), np.where(both, c0 - c_mean, 0.0)
            pp, cc, pc = ((x * y).sum(axis=0) / (n - 1) for x, y in ((dp, dp), (dc, dc), (dp, dc)))
            gap = np.maximum(pp + cc - 2 * pc, 0.0)
            gap = np.where(gap > 1e-13 * (pp + cc), gap, 0.0)
            return cls(
                mean_gap=c_mean - p_mean,
                sd_gap=np.sqrt(gap),
                sd_patient=np.sqrt(pp),
                sd_clinician=np.sqrt(cc),
                correlation=_ratio(pc, pp * cc),
                with_patient=_ratio(pc - pp, gap * pp),
                with_clinician=_ratio(cc - pc, gap * cc),
            )


def _ratio(covariance: FloatArray, squared: FloatArray) -> FloatArray:
    """Return a correlation, NaN where one side does not vary."""
    defined = squared > 0
    return np.where(defined, np.clip(covariance / np.sqrt(np.where(defined, squared, 1.0)), -1.0, 1.0), np.nan)


def _or_nan(usable: npt.NDArray[np.bool_], values: FloatArray) -> FloatArray:
    return read_only(np.where(usable, values, np.nan))


def _interval(
    p: FloatArray,
    c: FloatArray,
    moments: _Moments,
    groups: ClinicianGroups | None,
    n: IntArray,
    confidence: float,
    n_draws: int,
    rng: np.random.Generator | None,
    progress: Callable[[float, str], None] | None,
) -> tuple[FloatArray, FloatArray, FloatArray, str]:
    """Return standard error and limits of the mean gap, and how they came about."""
    if groups is None or rng is None:
        with np.errstate(divide="ignore", invalid="ignore"):
            se = moments.sd_gap / np.sqrt(n)
        half = stdtrit(np.maximum(n - 1.0, 1.0), 1 - (1 - confidence) / 2) * se
        return se, moments.mean_gap - half, moments.mean_gap + half, "t"
    gap = c - p
    present = (~np.isnan(gap)).astype(np.float64)
    parts = np.stack([present, np.where(present > 0, gap, 0.0)])
    counts_of, sums_of = np.add.reduceat(parts[:, groups.order], groups.starts, axis=1)

    def statistic(counts: FloatArray) -> FloatArray:
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray((counts @ sums_of) / (counts @ counts_of), dtype=np.float64)

    outcome = bootstrap_clinicians(
        statistic,
        n_clinicians=groups.n_clinicians,
        n_draws=n_draws,
        rng=rng,
        confidence=confidence,
        progress=progress,
    )
    return outcome.se, outcome.ci_lower, outcome.ci_upper, "bootstrap of clinicians, percentile"


def _notes(
    codes: Sequence[str],
    moments: _Moments,
    of_patient: FloatArray,
    of_clinician: FloatArray,
    reliability: FloatArray,
    shown: Sequence[bool | None],
    usable: npt.NDArray[np.bool_],
) -> list[str]:
    notes = []

    def name(which: npt.NDArray[np.bool_]) -> str:
        return listed([code for code, one in zip(codes, which, strict=True) if one])

    unknown = usable & (np.isnan(of_patient) | np.isnan(of_clinician))
    if unknown.any():
        notes.append(f"no reliability given for both roles, so single gaps are not judged: {name(unknown)}")
    flat = usable & (moments.sd_gap == 0)
    if flat.any():
        notes.append(f"all gaps are the same, so they have no reliability: {name(flat)}")
    with np.errstate(invalid="ignore"):
        negative = usable & (reliability < 0)
        weak = usable & (reliability >= 0) & (reliability < 0.70)
        style = usable & (moments.with_patient < -0.9)
    if negative.any():
        notes.append(
            "the roles correlate more than their reliabilities allow, so the gaps' reliability is negative: "
            f"{name(negative)}"
        )
    if weak.any():
        notes.append(f"gaps less reliable than .70, not to be read one by one: {name(weak)}")
    if style.any():
        notes.append(f"the gap is mostly the patient's score turned round (r below -.90): {name(style)}")
    refused = np.array([one is False for one in shown])
    if refused.any():
        notes.append(f"the roles do not measure on one scale, so these gaps are not to be shown: {name(refused)}")
    return notes


def _reliabilities(values: npt.ArrayLike | None, n_scores: int, *, role: str, who: str) -> FloatArray:
    if values is None:
        return np.full(n_scores, np.nan)
    array = np.atleast_1d(np.asarray(values, dtype=np.float64))
    if array.shape != (n_scores,):
        raise AnalysisInputError(
            f"{who} requires one {role} reliability a score; got {array.size} for {n_scores} score(s). "
            "Remedy: pass NaN where the reliability is unknown."
        )
    if (array > 1).any():
        raise AnalysisInputError(
            f"{who} requires reliabilities of at most 1; got {float(np.nanmax(array))} for the {role}s. "
            "Remedy: pass omega or alpha, not a standard error."
        )
    return array


def _require_range(p: FloatArray, c: FloatArray, lowest: float, highest: float, *, who: str) -> None:
    for values, role in ((p, "patients"), (c, "clinicians")):
        with np.errstate(invalid="ignore"):
            beyond = int(((values < lowest - 1e-9) | (values > highest + 1e-9)).sum())
        if beyond:
            raise AnalysisInputError(
                f"{who} requires scores from {lowest:g} to {highest:g}; {beyond} of the {role}' lie beyond. "
                "Remedy: pass lowest and highest of the scores' own range."
            )
