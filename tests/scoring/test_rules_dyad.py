"""The two forms of a dyad: who may be compared, how far apart they are, and how alike their profiles are."""

import math
from pathlib import Path

import pytest

from instruments.catalogue.reader import read_instrument
from scoring.rules.dyad import NOT_COMPARED, DyadScoring, GapReference, RatedForm, score_dyad
from scoring.rules.form import score_form
from scoring.rules.layout import form_layouts
from scoring.rules.reasons import Ineligibility, Note, Reason, ScoringInputError
from scoring.rules.records import dyad_record

INSTRUMENT = read_instrument(Path(__file__).parents[2] / "instruments" / "catalogue" / "healing-relationships-1.0.yaml")
LAYOUTS = form_layouts(INSTRUMENT)
SHORT = LAYOUTS["short"].items
COMPONENTS = tuple(INSTRUMENT.components)


def short(*values: int | str) -> dict[str, int | str]:
    """A short form, one item a component: the values in the components' order, the last one repeated."""
    by_component = {INSTRUMENT.items[item].component: item for item in SHORT}
    filled = [*values, *[values[-1]] * (len(COMPONENTS) - len(values))]
    return {by_component[component]: value for component, value in zip(COMPONENTS, filled, strict=True)}


def rated(answers: dict[str, int | str], *, form: str = "short", blind: bool = True) -> RatedForm:
    """A completed form."""
    return RatedForm(form=form, answers=answers, blind=blind)


def dyad(
    patient: RatedForm | None,
    clinician: RatedForm | None,
    *,
    days_apart: float | None = 0,
    months_known: float | None = 24,
    visits: int | None = 6,
    references: dict[str, GapReference] | None = None,
) -> DyadScoring:
    """A dyad that may be compared unless something is said."""
    return score_dyad(
        LAYOUTS,
        patient=patient,
        clinician=clinician,
        days_apart=days_apart,
        months_known=months_known,
        visits=visits,
        references=references,
    )


@pytest.mark.parametrize(
    ("circumstances", "ineligible", "notes"),
    [
        ({}, (), ()),
        ({"days_apart": 14}, (), ()),
        ({"days_apart": 15}, (Ineligibility.TOO_FAR_APART,), ()),
        ({"months_known": 3, "visits": 0}, (), ()),
        ({"months_known": 2.9, "visits": 2}, (), ()),
        ({"months_known": 2.9, "visits": 1}, (Ineligibility.KNOWN_TOO_SHORT,), ()),
        ({"months_known": None, "visits": 2}, (), ()),
        ({"months_known": 3, "visits": None}, (), ()),
        ({"months_known": None, "visits": 1}, (), (Note.ACQUAINTANCE_UNKNOWN,)),
        ({"months_known": 2, "visits": None}, (), (Note.ACQUAINTANCE_UNKNOWN,)),
        ({"months_known": None, "visits": None}, (), (Note.ACQUAINTANCE_UNKNOWN,)),
    ],
)
def test_eligibility(
    circumstances: dict[str, float | None], ineligible: tuple[Ineligibility, ...], notes: tuple[Note, ...]
) -> None:
    """Two weeks, three months and two visits are enough, a little less is not, and the unknown is noted."""
    result = dyad(rated(short(4)), rated(short(4)), **circumstances)
    assert (result.ineligible, result.notes, result.eligible) == (ineligible, notes, not ineligible)
    assert (result.gaps["trust"].reason is Reason.NOT_ELIGIBLE) is bool(ineligible)


@pytest.mark.parametrize(("patient_blind", "clinician_blind"), [(False, True), (True, False), (False, False)])
def test_not_blind(patient_blind: bool, clinician_blind: bool) -> None:
    """A form filled in with sight of the other's answers is never compared, whichever it is."""
    result = dyad(rated(short(4), blind=patient_blind), rated(short(4), blind=clinician_blind))
    assert result.ineligible == (Ineligibility.NOT_BLIND,)


def test_missing_forms() -> None:
    """A dyad with one form has that form's scores and the other's absence as the reason; no days are needed."""
    only_clinician = dyad(None, rated(short(5)), days_apart=None)
    assert only_clinician.ineligible == (Ineligibility.PATIENT_FORM_MISSING,)
    assert only_clinician.patient is None
    assert only_clinician.clinician == score_form(LAYOUTS["short"], short(5))
    only_patient = dyad(rated(short(5)), None, days_apart=None)
    assert only_patient.ineligible == (Ineligibility.CLINICIAN_FORM_MISSING,)
    assert only_patient.clinician is None
    neither = dyad(None, None, days_apart=None)
    assert neither.ineligible == (Ineligibility.PATIENT_FORM_MISSING, Ineligibility.CLINICIAN_FORM_MISSING)
    assert set(neither.gaps) == set(LAYOUTS["short"].score_ids)


def test_every_reason_is_listed() -> None:
    """All reasons that hold are listed, in a fixed order; both forms are scored all the same."""
    full = rated(dict.fromkeys(LAYOUTS["full"].items, 3), form="full", blind=False)
    result = dyad(rated(short(4)), full, days_apart=15, months_known=0, visits=1)
    assert result.ineligible == (
        Ineligibility.FORMS_DIFFER,
        Ineligibility.TOO_FAR_APART,
        Ineligibility.NOT_BLIND,
        Ineligibility.KNOWN_TOO_SHORT,
    )
    assert result.patient is not None
    assert result.clinician is not None
    assert (result.patient.form, result.clinician.form) == ("short", "full")
    assert set(result.gaps.values()) == {NOT_COMPARED}
    assert (result.profile.n_components, result.profile.reason) == (0, Reason.NOT_ELIGIBLE)
    assert result.rules_version == INSTRUMENT.scoring.version


def test_gap_is_clinician_minus_patient() -> None:
    """A clinician who rates higher than the patient has a positive gap; its size is the absolute gap."""
    gap = dyad(rated(short(4)), rated(short(5))).gaps["hope"]
    assert (gap.value, gap.absolute, gap.reason, gap.n_items, gap.thin) == (25.0, 25.0, None, 1, False)
    turned = dyad(rated(short(5)), rated(short(4))).gaps["hope"]
    assert (turned.value, turned.absolute) == (-25.0, 25.0)


def test_gap_rests_on_items_both_answered() -> None:
    """Each side is scored again on the shared items: what only one answered counts for neither."""
    full = LAYOUTS["full"].items
    patient = dict.fromkeys(full, 3) | {"OT1": 1, "OT2": 5, "OT3": "SKIPPED", "VC1": 1, "VC2": 5}
    clinician = dict.fromkeys(full, 3) | {"OT1": 5, "OT2": 5, "OT3": 1, "VC1": "SKIPPED", "VC2": 3}
    result = dyad(rated(patient, form="full"), rated(clinician, form="full"))
    assert result.clinician is not None
    assert result.clinician.scores["trust"].value == pytest.approx(200 / 3)
    trust, connecting = result.gaps["trust"], result.gaps["connecting"]
    assert (trust.value, trust.n_items, trust.thin) == (50.0, 2, False)  # 100 - 50
    assert (connecting.value, connecting.n_items, connecting.thin) == (-50.0, 1, True)


def test_does_not_apply_to_one_applies_to_neither() -> None:
    """An item that does not apply to one side counts as not applicable for both, even where the other skipped it."""
    full = LAYOUTS["full"].items
    patient = dict.fromkeys(full, 3) | {"AM1": "DNA", "AM3": "SKIPPED"}
    clinician = dict.fromkeys(full, 3) | {"AM1": 5, "AM3": "DNA"}
    result = dyad(rated(patient, form="full"), rated(clinician, form="full"))
    crises, abiding = result.gaps["major_health_crises"], result.gaps["abiding"]
    assert (crises.value, crises.reason, crises.absolute) == (None, Reason.NOT_APPLICABLE, None)
    assert (abiding.value, abiding.n_items) == (0.0, 8)


def test_gap_without_enough_shared_items() -> None:
    """Each side may have a score and the gap none: the reason is the shared items'."""
    full = LAYOUTS["full"].items
    patient = dict.fromkeys(full, 3) | {"OT1": "SKIPPED"}
    clinician = dict.fromkeys(full, 3) | {"OT2": "PREFER_NOT"}
    result = dyad(rated(patient, form="full"), rated(clinician, form="full"))
    trust = result.gaps["trust"]
    assert (trust.value, trust.reason, trust.reliable, trust.reliable_reason, trust.n_items) == (
        None,
        Reason.TOO_FEW_ANSWERS,
        None,
        Reason.TOO_FEW_ANSWERS,
        1,
    )


def test_reliable_gap() -> None:
    """Beyond 1.96 standard errors of a difference from the mean gap is reliable; without a reference, no verdict."""
    # 1.96 * sqrt(3^2 + 4^2) = 9.8: a gap of 25 is reliable around 15.1 or 34.9 and not around 15.3.
    references = {
        "hope": GapReference(mean_gap=15.1, sem_patient=3, sem_clinician=4),
        "trust": GapReference(mean_gap=15.3, sem_patient=3, sem_clinician=4),
        "being_known": GapReference(mean_gap=34.9, sem_patient=3, sem_clinician=4),
    }
    gaps = dyad(rated(short(4)), rated(short(5)), references=references).gaps
    assert {name: (gaps[name].reliable, gaps[name].reliable_reason) for name in (*references, "valuing")} == {
        "hope": (True, None),
        "trust": (False, None),
        "being_known": (True, None),
        "valuing": (None, Reason.NO_REFERENCE),
    }


def test_gap_at_the_threshold_is_not_reliable() -> None:
    """The rule says beyond the threshold; a gap exactly on it is not reliable."""
    exact = {"hope": GapReference(mean_gap=25.0, sem_patient=0, sem_clinician=0)}
    assert dyad(rated(short(4)), rated(short(5)), references=exact).gaps["hope"].reliable is False


def test_threshold_of_the_plan_s_example() -> None:
    """SD 20 and omega .70 give standard errors of 11 points in both roles, and 30 points as the threshold of a gap."""
    error = 20 * math.sqrt(1 - 0.70)
    reference = GapReference(mean_gap=0, sem_patient=error, sem_clinician=error)
    assert reference.threshold(1.96) == pytest.approx(30.36, abs=0.005)


def test_profile_worked_by_hand() -> None:
    """Ten components at 0 and 100, crossed with a shifted copy, give the parts that paper and pencil give."""
    # Patient 0,100 five times each; clinician 50,100 five times each, the same direction; ten components skipped.
    patient = short(*[1, 5] * 5, "SKIPPED")
    clinician = short(*[3, 5] * 5, "SKIPPED")
    profile = dyad(rated(patient), rated(clinician)).profile
    assert profile.n_components == 10
    assert profile.reason is None
    assert profile.d_squared == 5 * 50**2
    assert profile.elevation == 10 * 25**2  # means 50 and 75
    assert profile.scatter == 10 * 25**2  # standard deviations 50 and 25
    assert profile.shape == 0
    assert profile.correlation == 1
    # Pairs entered both ways: mean 62.5, covariance (1250 - 156.25), variance (0.5 * (2500 + 625) + 156.25).
    assert profile.double_entry_icc == pytest.approx((1250 - 156.25) / (1562.5 + 156.25), rel=1e-15)


def test_opposite_profiles() -> None:
    """Mirror images correlate at -1 and differ in shape alone."""
    profile = dyad(rated(short(*[1, 5] * 10)), rated(short(*[5, 1] * 10))).profile
    assert (profile.correlation, profile.double_entry_icc) == (-1, -1)
    assert (profile.elevation, profile.scatter, profile.shape, profile.d_squared) == (0, 0, 200_000, 200_000)


@pytest.mark.parametrize(("n_scored", "reason"), [(10, None), (9, Reason.TOO_FEW_COMPONENTS)])
def test_profile_needs_ten_components(n_scored: int, reason: Reason | None) -> None:
    """Ten components make a profile, nine do not; which side left the tenth out makes no difference."""
    skipping = short(*[2, 4] * 5, "SKIPPED")
    if n_scored == 9:
        skipping |= {SHORT[0]: "DNA"}
    for patient, clinician in ((skipping, short(*[1, 5] * 10)), (short(*[1, 5] * 10), skipping)):
        profile = dyad(rated(patient), rated(clinician)).profile
        assert (profile.n_components, profile.reason) == (n_scored, reason)
        assert (profile.d_squared is None) is (reason is not None)


@pytest.mark.parametrize("flat_patient", [True, False])
def test_one_flat_profile(flat_patient: bool) -> None:
    """All fives have no shape: correlation and shape are missing with the reason, never 0 or 1."""
    flat, varied = rated(short(5)), rated(short(*[3, 5] * 10))
    profile = (dyad(flat, varied) if flat_patient else dyad(varied, flat)).profile
    assert (profile.reason, profile.correlation, profile.shape) == (Reason.FLAT_PROFILE, None, None)
    # Means 100 and 75, standard deviations 0 and 25.
    assert (profile.d_squared, profile.elevation, profile.scatter) == (25_000, 12_500, 12_500)
    assert profile.double_entry_icc == pytest.approx(-156.25 / (312.5 + 156.25), rel=1e-15)


def test_two_flat_profiles() -> None:
    """Two flat profiles differ in elevation alone; no coefficient of likeness is made up for them."""
    profile = dyad(rated(short(5)), rated(short(4))).profile
    assert profile.reason is Reason.FLAT_PROFILE
    assert (profile.d_squared, profile.elevation, profile.scatter) == (12_500, 12_500, 0)
    assert (profile.shape, profile.correlation, profile.double_entry_icc) == (None, None, None)


def test_flat_profile_of_thirds() -> None:
    """A profile of equal scores that no float holds exactly (66.67 everywhere) is flat all the same."""
    answers = dict.fromkeys(LAYOUTS["full"].items, 5)
    for component in LAYOUTS["full"].components:
        if len(component.items) == 3:
            for index, value in zip(component.items, (3, 4, 4), strict=True):
                code = LAYOUTS["full"].items[index]
                answers[code] = 6 - value if LAYOUTS["full"].reverse[index] else value
        else:
            answers |= {LAYOUTS["full"].items[index]: "SKIPPED" for index in component.items}
    result = dyad(rated(answers, form="full"), rated(dict.fromkeys(LAYOUTS["full"].items, 2), form="full"))
    assert result.patient is not None
    assert result.patient.scores["trust"].value == 66.66666666666667
    assert result.profile.reason is Reason.FLAT_PROFILE
    assert result.profile.correlation is None


@pytest.mark.parametrize(
    ("circumstances", "message"),
    [
        ({"days_apart": None}, "days_apart must be the days between"),
        ({"days_apart": -1}, "days_apart must be a finite number, 0 or more"),
        ({"days_apart": math.nan}, "days_apart must be a finite number"),
        ({"months_known": -1}, "months_known must be a finite number"),
        ({"visits": -1}, "visits must be a finite number"),
    ],
)
def test_unusable_circumstances(circumstances: dict[str, float | None], message: str) -> None:
    """Days, months and visits that cannot be are refused by name."""
    with pytest.raises(ScoringInputError, match=message):
        dyad(rated(short(4)), rated(short(4)), **circumstances)


def test_unusable_forms_and_references() -> None:
    """An unknown form, no forms at all, a reference of an unknown score, and an impossible reference are refused."""
    with pytest.raises(ScoringInputError, match="one of full, short; 'bank' came"):
        dyad(rated(short(4), form="bank"), rated(short(4)))
    with pytest.raises(ScoringInputError, match="none came"):
        score_dyad({}, patient=None, clinician=None, days_apart=None, months_known=None, visits=None)
    with pytest.raises(ScoringInputError, match="total came"):
        dyad(None, None, references={"total": GapReference(mean_gap=0, sem_patient=1, sem_clinician=1)})
    for numbers in ((math.nan, 1, 1), (0, -1, 1), (0, 1, -1), (0, 1, math.inf)):
        with pytest.raises(ScoringInputError, match="three finite numbers"):
            GapReference(mean_gap=numbers[0], sem_patient=numbers[1], sem_clinician=numbers[2])


def test_dyad_record() -> None:
    """The stored record holds gaps with reasons and verdicts, the profile, and both forms or null."""
    references = {"hope": GapReference(mean_gap=0, sem_patient=3, sem_clinician=4)}
    record = dyad_record(
        dyad(rated(short("DNA", 4)), rated(short(5)), visits=None, months_known=1, references=references)
    )
    assert record["rules"] == INSTRUMENT.scoring.version
    assert (record["eligible"], record["ineligible"], record["notes"]) == (True, [], ["ACQUAINTANCE_UNKNOWN"])
    assert record["patient"]["reasons"] == {"nonjudgmental_stance": "NOT_APPLICABLE"}
    assert record["gaps"]["values"]["nonjudgmental_stance"] is None
    assert record["gaps"]["values"]["hope"] == 25.0
    assert record["gaps"]["reasons"] == {"nonjudgmental_stance": "NOT_APPLICABLE"}
    assert record["gaps"]["reliable"] == {"hope": True}
    assert record["gaps"]["thin"] == []
    assert record["profile"] == {
        "n_components": 19,
        "reason": "FLAT_PROFILE",
        "d_squared": 19 * 625.0,
        "elevation": 19 * 625.0,
        "scatter": 0.0,
        "shape": None,
        "correlation": None,
        "double_entry_icc": None,
    }
    alone = dyad_record(dyad(None, rated(short(5)), days_apart=None))
    assert (alone["eligible"], alone["ineligible"], alone["patient"]) == (False, ["PATIENT_FORM_MISSING"], None)
