"""The two forms of one dyad: may they be compared, how far apart are they, how alike are their profiles."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from instruments.definitions import ScoringRules
from scoring.rules.form import FormScore, Score, read_answers, score_codes, scores_of
from scoring.rules.layout import DOES_NOT_APPLY, UNANSWERED, FormLayout
from scoring.rules.reasons import Ineligibility, Note, Reason, ScoringInputError


@dataclass(frozen=True, slots=True, kw_only=True)
class RatedForm:
    """One completed form of a dyad."""

    form: str
    answers: Mapping[str, object]
    blind: bool  # answered without sight of the other role's answers
    median_seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GapReference:
    """What a gap of one score is judged by: the mean gap of a sample and both roles' standard errors of measurement."""

    mean_gap: float
    sem_patient: float
    sem_clinician: float

    def __post_init__(self) -> None:
        usable = all(map(math.isfinite, (self.mean_gap, self.sem_patient, self.sem_clinician)))
        if not usable or self.sem_patient < 0 or self.sem_clinician < 0:
            raise ScoringInputError(
                "A gap's reference must be three finite numbers, both standard errors of measurement 0 or more; "
                f"mean_gap={self.mean_gap}, sem_patient={self.sem_patient}, sem_clinician={self.sem_clinician} came. "
                "Leave the score out of the references where the sample gives no estimate."
            )

    def threshold(self, z: float) -> float:
        """How far from the mean gap a gap must lie to be reliable: z * sqrt(SEM_p^2 + SEM_c^2), in points."""
        return z * math.sqrt(self.sem_patient * self.sem_patient + self.sem_clinician * self.sem_clinician)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """Clinician minus patient in points of 0 to 100, over the items that both answered, or the reason for none."""

    value: float | None
    reason: Reason | None
    thin: bool  # rests on one item of a component of several
    n_items: int  # items that both answered
    reliable: bool | None
    reliable_reason: Reason | None  # why `reliable` is None

    @property
    def absolute(self) -> float | None:
        """|clinician - patient|. Folded: measurement error alone makes it positive."""
        return None if self.value is None else abs(self.value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """How alike the two profiles of component scores are.

    `d_squared` = `elevation` + `scatter` + `shape` (Cronbach & Gleser 1953), in squared points.
    `reason` is FLAT_PROFILE where only `correlation` and `shape` (and, if both profiles are flat,
    `double_entry_icc`) are undefined; with any other reason all numbers are.
    """

    n_components: int
    reason: Reason | None
    d_squared: float | None
    elevation: float | None
    scatter: float | None
    shape: float | None
    correlation: float | None
    double_entry_icc: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DyadScoring:
    """All results of one dyad. `gaps` has the order of the scores: components, domains, composites."""

    rules_version: str
    patient: FormScore | None
    clinician: FormScore | None
    ineligible: tuple[Ineligibility, ...]  # empty: the two forms may be compared
    notes: tuple[Note, ...]
    gaps: Mapping[str, Gap]
    profile: Profile

    @property
    def eligible(self) -> bool:
        return not self.ineligible


def score_dyad(
    layouts: Mapping[str, FormLayout],
    *,
    patient: RatedForm | None,
    clinician: RatedForm | None,
    days_apart: float | None,
    months_known: float | None,
    visits: int | None,
    references: Mapping[str, GapReference] | None = None,
) -> DyadScoring:
    """Score both forms of a dyad and, where that is allowed, compare them.

    Parameters
    ----------
    layouts : the instrument's forms, from `form_layouts`.
    patient, clinician : the two completed forms; None where one is not there.
    days_apart : days between the two completions, 0 or more; needed when both forms are there.
    months_known, visits : how long the two have known each other, in months, and their visits so far;
        None where unknown.
    references : per score id, what its gap is judged by. Scores without one get no verdict.

    Raises
    ------
    ScoringInputError : an unknown form, an unusable answer, number or reference.

    Notes
    -----
    Comparable: both forms there, of one length, at most 14 days apart, both blind, and known for 3 months or
    2 visits. Unknown acquaintance does not exclude; it is noted. Gaps compare what both answered: an item that
    does not apply to one counts as not applicable for both, any other item without two answers as skipped, and
    each side is scored on that by the form rules.
    """
    rules, score_ids = _common(layouts)
    check_references(score_ids, references)
    patient_codes = None if patient is None else read_answers(_layout_of(layouts, patient), patient.answers)
    clinician_codes = None if clinician is None else read_answers(_layout_of(layouts, clinician), clinician.answers)
    ineligible = _ineligibilities(
        rules, patient=patient, clinician=clinician, days_apart=days_apart, months_known=months_known, visits=visits
    )
    gaps = dict.fromkeys(score_ids, NOT_COMPARED)
    profile = _no_profile(0, Reason.NOT_ELIGIBLE)
    if not ineligible and patient is not None and patient_codes is not None and clinician_codes is not None:
        layout = layouts[patient.form]
        patient_pairwise, clinician_pairwise = _pairwise(patient_codes, clinician_codes)
        patient_scores = scores_of(layout, patient_pairwise)
        clinician_scores = scores_of(layout, clinician_pairwise)
        gaps = {
            score: _gap(patient_scores[score], clinician_scores[score], (references or {}).get(score), rules)
            for score in score_ids
        }
        components = [component.id for component in layout.components]
        profile = _profile(
            [patient_scores[component].value for component in components],
            [clinician_scores[component].value for component in components],
            rules,
        )
    return DyadScoring(
        rules_version=rules.version,
        patient=_form_score(layouts, patient, patient_codes),
        clinician=_form_score(layouts, clinician, clinician_codes),
        ineligible=ineligible,
        notes=_notes(rules, months_known=months_known, visits=visits),
        gaps=gaps,
        profile=profile,
    )


def common_form(layouts: Mapping[str, FormLayout], one: str, other: str) -> str | None:
    """The form on which two can be compared: the shorter, if all its items are on the longer; None if they are not."""
    shorter, longer = sorted((one, other), key=lambda form: len(layouts[form].items))
    return shorter if set(layouts[shorter].items) <= set(layouts[longer].items) else None


def score_dyad_of_two_lengths(
    layouts: Mapping[str, FormLayout],
    *,
    patient: RatedForm,
    clinician: RatedForm,
    days_apart: float | None,
    months_known: float | None,
    visits: int | None,
    references: Mapping[str, GapReference] | None = None,
) -> DyadScoring:
    """Score each role on its own form, and compare the two on the form that both answered whole.

    For studies whose clinicians answer the short form by design: of the longer form only the shorter one's items are
    compared, so both sides of the comparison have one length, as the rules ask. Two forms of which neither holds the
    other stay `FORMS_DIFFER`. Parameters and errors as `score_dyad`.
    """
    for rated in (patient, clinician):
        _layout_of(layouts, rated)
    common = common_form(layouts, patient.form, clinician.form)
    compared = score_dyad(
        layouts,
        patient=replace(patient, form=common or patient.form),
        clinician=replace(clinician, form=common or clinician.form),
        days_apart=days_apart,
        months_known=months_known,
        visits=visits,
        references=references,
    )
    patient_codes = read_answers(layouts[patient.form], patient.answers)
    clinician_codes = read_answers(layouts[clinician.form], clinician.answers)
    return replace(
        compared,
        patient=_form_score(layouts, patient, patient_codes),
        clinician=_form_score(layouts, clinician, clinician_codes),
    )


#: The gap of every score of a dyad whose forms may not be compared.
NOT_COMPARED = Gap(
    value=None,
    reason=Reason.NOT_ELIGIBLE,
    thin=False,
    n_items=0,
    reliable=None,
    reliable_reason=Reason.NOT_ELIGIBLE,
)


def check_references(score_ids: Sequence[str], references: Mapping[str, GapReference] | None) -> None:
    """Raise `ScoringInputError` if a reference is for a score that the instrument does not have."""
    unknown = sorted(set(references or {}) - set(score_ids))
    if unknown:
        raise ScoringInputError(
            f"References of gaps must be for scores of the instrument ({', '.join(score_ids)}); "
            f"{', '.join(unknown)} came. Estimate them with the same version of the instrument."
        )


def _common(layouts: Mapping[str, FormLayout]) -> tuple[ScoringRules, tuple[str, ...]]:
    """What all forms of an instrument share: the rules and the order of the scores."""
    if not layouts:
        raise ScoringInputError("Scoring a dyad needs the instrument's forms; none came. Use form_layouts(...).")
    first = next(iter(layouts.values()))
    return first.rules, first.score_ids


def _layout_of(layouts: Mapping[str, FormLayout], rated: RatedForm) -> FormLayout:
    if rated.form not in layouts:
        raise ScoringInputError(f"The form must be one of {', '.join(layouts)}; {rated.form!r} came.")
    return layouts[rated.form]


def _form_score(
    layouts: Mapping[str, FormLayout], rated: RatedForm | None, codes: Sequence[int] | None
) -> FormScore | None:
    if rated is None or codes is None:
        return None
    return score_codes(layouts[rated.form], codes, median_seconds=rated.median_seconds)


def _ineligibilities(
    rules: ScoringRules,
    *,
    patient: RatedForm | None,
    clinician: RatedForm | None,
    days_apart: float | None,
    months_known: float | None,
    visits: int | None,
) -> tuple[Ineligibility, ...]:
    reasons = []
    if patient is None:
        reasons.append(Ineligibility.PATIENT_FORM_MISSING)
    if clinician is None:
        reasons.append(Ineligibility.CLINICIAN_FORM_MISSING)
    if patient is not None and clinician is not None:
        if patient.form != clinician.form:
            reasons.append(Ineligibility.FORMS_DIFFER)
        if days_apart is None:
            raise ScoringInputError(
                "A dyad with both forms: days_apart must be the days between the two completions; None came. "
                "Pass the distance of the two completion dates."
            )
        if _checked("days_apart", days_apart) > rules.maximum_days_apart:
            reasons.append(Ineligibility.TOO_FAR_APART)
    if any(not rated.blind for rated in (patient, clinician) if rated is not None):
        reasons.append(Ineligibility.NOT_BLIND)
    months_enough = _reaches("months_known", months_known, rules.minimum_months_known)
    visits_enough = _reaches("visits", visits, rules.minimum_visits)
    if months_enough is False and visits_enough is False:
        reasons.append(Ineligibility.KNOWN_TOO_SHORT)
    return tuple(reasons)


def _notes(rules: ScoringRules, *, months_known: float | None, visits: int | None) -> tuple[Note, ...]:
    reached = (
        _reaches("months_known", months_known, rules.minimum_months_known),
        _reaches("visits", visits, rules.minimum_visits),
    )
    return (Note.ACQUAINTANCE_UNKNOWN,) if True not in reached and None in reached else ()


def _reaches(name: str, number: float | None, minimum: float) -> bool | None:
    # bool(...): a NumPy number would give NumPy's own Booleans, which are not False by identity.
    return None if number is None else bool(_checked(name, number) >= minimum)


def _checked(name: str, number: float) -> float:
    if not math.isfinite(number) or number < 0:
        raise ScoringInputError(
            f"A dyad's {name} must be a finite number, 0 or more, or None where unknown; "
            "a negative or unusable number came. Correct it in the visit's record."
        )
    return number


def _pairwise(patient: Sequence[int], clinician: Sequence[int]) -> tuple[list[int], list[int]]:
    """Both forms reduced to what both answered, with one pattern of absence."""
    patient_pairwise, clinician_pairwise = [], []
    for patient_code, clinician_code in zip(patient, clinician, strict=True):
        if patient_code > UNANSWERED and clinician_code > UNANSWERED:
            patient_pairwise.append(patient_code)
            clinician_pairwise.append(clinician_code)
        else:
            absence = DOES_NOT_APPLY if DOES_NOT_APPLY in (patient_code, clinician_code) else UNANSWERED
            patient_pairwise.append(absence)
            clinician_pairwise.append(absence)
    return patient_pairwise, clinician_pairwise


def _gap(patient: Score, clinician: Score, reference: GapReference | None, rules: ScoringRules) -> Gap:
    # One pattern of absence on both sides: either both have a score or both lack it for the same reason.
    if patient.value is None or clinician.value is None:
        return Gap(
            value=None,
            reason=patient.reason,
            thin=False,
            n_items=patient.n_answered,
            reliable=None,
            reliable_reason=patient.reason,
        )
    value = clinician.value - patient.value
    reliable = None
    if reference is not None:
        reliable = bool(abs(value - reference.mean_gap) > reference.threshold(rules.reliable_gap_z))
    return Gap(
        value=value,
        reason=None,
        thin=patient.thin,
        n_items=patient.n_answered,
        reliable=reliable,
        reliable_reason=Reason.NO_REFERENCE if reliable is None else None,
    )


def _no_profile(n_components: int, reason: Reason) -> Profile:
    return Profile(
        n_components=n_components,
        reason=reason,
        d_squared=None,
        elevation=None,
        scatter=None,
        shape=None,
        correlation=None,
        double_entry_icc=None,
    )


def _profile(patient: Sequence[float | None], clinician: Sequence[float | None], rules: ScoringRules) -> Profile:
    """Profile similarity over the components scored on both sides (Cronbach & Gleser 1953, Psychol Bull 50:456).

    D^2 = m (C - P)^2 [elevation] + m (s_C - s_P)^2 [scatter] + 2 m s_C s_P (1 - r) [shape], standard
    deviations with divisor m. Sums run in the components' order, one addition after the other, and squares are
    products: the batch twin repeats them to the last bit.
    """
    pairs = [(p, c) for p, c in zip(patient, clinician, strict=True) if p is not None and c is not None]
    m = len(pairs)
    if m < max(1, rules.profile_minimum_components):
        return _no_profile(m, Reason.TOO_FEW_COMPONENTS)
    sum_p = sum_c = d_squared = 0.0
    for p, c in pairs:
        sum_p += p
        sum_c += c
        d_squared += (c - p) * (c - p)
    mean_p, mean_c = sum_p / m, sum_c / m
    squares_p = squares_c = products = 0.0
    for p, c in pairs:
        from_p, from_c = p - mean_p, c - mean_c
        squares_p += from_p * from_p
        squares_c += from_c * from_c
        products += from_p * from_c
    # Flat is decided on the values, not on a standard deviation that rounding keeps from being exactly 0.
    flat_p = all(p == pairs[0][0] for p, _ in pairs)
    flat_c = all(c == pairs[0][1] for _, c in pairs)
    variance_p = 0.0 if flat_p else squares_p / m
    variance_c = 0.0 if flat_c else squares_c / m
    covariance = 0.0 if flat_p or flat_c else products / m
    sd_p, sd_c = math.sqrt(variance_p), math.sqrt(variance_c)
    shift, spread = mean_c - mean_p, sd_c - sd_p
    quarter = 0.25 * (shift * shift)
    shape = correlation = double_entry_icc = None
    if not (flat_p or flat_c):
        shape = max(0.0, 2.0 * m * (sd_c * sd_p - covariance))
        correlation = min(1.0, max(-1.0, covariance / (sd_c * sd_p)))
    if not (flat_p and flat_c):
        icc = (covariance - quarter) / (0.5 * (variance_p + variance_c) + quarter)
        double_entry_icc = min(1.0, max(-1.0, icc))
    return Profile(
        n_components=m,
        reason=Reason.FLAT_PROFILE if flat_p or flat_c else None,
        d_squared=d_squared,
        elevation=m * (shift * shift),
        scatter=m * (spread * spread),
        shape=shape,
        correlation=correlation,
        double_entry_icc=double_entry_icc,
    )
