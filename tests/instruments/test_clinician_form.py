"""Which form a clinician answers, and that scoring copes with a long and a short one."""

from collections import Counter
from datetime import timedelta

import pytest

from instruments.clinician_form import long_places, short_form_within
from instruments.definitions import Role
from instruments.models import DrawnForm, FormDraw
from instruments.services import create_visit
from scoring.models import DyadScore
from scoring.services import rescore_study, score_due
from studies.models import Study, Wave
from tests.factories import NOW, StudyKit, administration_of, answer, finish, make_study, make_visit

pytestmark = pytest.mark.django_db


@pytest.fixture
def kit() -> StudyKit:
    return make_study("DRAW", n_clinicians=2)


def decide(kit: StudyKit, rule: str, *, n_long: int = 3, n_planned: int = 6) -> None:
    for name, value in (
        ("clinician_form", rule),
        ("n_full_form_patients", n_long),
        ("n_planned_patients", n_planned),
    ):
        setattr(kit.study, name, value)
    kit.study.save()


def clinicians_form(kit: StudyKit, **options: object) -> str:
    return administration_of(make_visit(kit, **options), Role.CLINICIAN).form  # type: ignore[arg-type]


def test_every_patient_has_the_same_chance_and_every_set_too() -> None:
    """Over 6,000 seeds each number of six, and each of the twenty sets of three, is drawn as often as it should be."""
    drawn = [long_places(seed=seed, n_planned=6, n_long=3) for seed in range(6000)]
    numbers, sets = Counter(place for places in drawn for place in places), Counter(drawn)
    assert set(numbers) == {1, 2, 3, 4, 5, 6}
    assert len(sets) == 20
    # Five standard deviations of a binomial count around 3,000 and 300.
    assert all(abs(count - 3000) < 5 * (6000 * 0.25) ** 0.5 for count in numbers.values())
    assert all(abs(count - 300) < 5 * (6000 * 0.05 * 0.95) ** 0.5 for count in sets.values())
    assert long_places(seed=7, n_planned=20, n_long=3) == long_places(seed=7, n_planned=20, n_long=3)
    assert long_places(seed=7, n_planned=2, n_long=3) == (1, 2)


def test_just_the_drawn_patients_get_the_long_form(kit: StudyKit) -> None:
    """Three of the first six for each clinician, the short form for all who come after; the draw is stored."""
    decide(kit, "some")
    for clinician in kit.clinicians:
        forms = [clinicians_form(kit, clinician=clinician) for _ in range(9)]
        draw = FormDraw.objects.get(clinician=clinician)
        assert [place for place, form in enumerate(forms, start=1) if form == "full"] == draw.places
        assert Counter(forms) == {"short": 6, "full": 3}
        assert list(draw.places) == list(long_places(seed=draw.seed, n_planned=6, n_long=3))
        stored = DrawnForm.objects.filter(draw=draw).order_by("place").values_list("place", "is_long")
        assert list(stored) == [(place, place in draw.places) for place in range(1, 10)]
    assert administration_of(make_visit(kit), Role.PATIENT).form == "full"


def test_a_patient_keeps_the_form_at_later_waves(kit: StudyKit) -> None:
    """A second visit of the same dyad takes no further number, so that times can be compared."""
    decide(kit, "some", n_long=1, n_planned=1)
    first = make_visit(kit)
    later = Wave.objects.create(study=kit.study, code="later", label="Later", position=2)
    second = create_visit(
        dyad=first.visit.dyad,
        wave=later,
        form="full",
        instrument_version=kit.version,
        visit_date=NOW.date(),
        now=NOW,
        link_valid_days=30,
    )
    assert administration_of(second, Role.CLINICIAN).form == "full"
    assert FormDraw.objects.get().n_taken == 1


def test_the_study_decides(kit: StudyKit) -> None:
    """The patient's form, or the short one for all; a changed plan leaves a draw that was made alone."""
    assert clinicians_form(kit) == "full"
    decide(kit, "short")
    assert {clinicians_form(kit) for _ in range(4)} == {"short"}
    assert not FormDraw.objects.exists()
    decide(kit, "some", n_long=2, n_planned=2)
    assert clinicians_form(kit) == "full"
    decide(kit, "some", n_long=1, n_planned=50)
    assert clinicians_form(kit) == "full"
    assert FormDraw.objects.get().n_planned == 2
    assert clinicians_form(kit, form="short") == "short"
    assert short_form_within(kit.instrument, "short") == "short"


def test_a_long_and_a_short_form_are_compared_on_the_short_one(kit: StudyKit) -> None:
    """Patient 50 items, clinician 20: each keeps the own score, and the gap rests on the 20 that both answered.

    The control has a short form on both sides with the same answers: its gaps and profile are the same numbers.
    """
    decide(kit, "short")
    mixed = make_visit(kit)
    short = make_visit(kit, form="short")
    order = kit.instrument.forms["full"].order
    on_short = set(kit.instrument.forms["short"].order)
    values = {code: 2 + number % 3 for number, code in enumerate(order)}
    # What is on the long form alone pulls far away: were it compared, the numbers below would differ.
    values |= {code: 1 for code in order if code not in on_short}
    finish(mixed, Role.PATIENT, **values)  # type: ignore[arg-type]
    finish(short, Role.PATIENT, **{code: values[code] for code in on_short})  # type: ignore[arg-type]
    for created in (mixed, short):
        answer(administration_of(created, Role.CLINICIAN), {"rel_years": 24})
        finish(created, Role.CLINICIAN, OT1=5, OH1=2)
    score_due(owner="test", clock=lambda: NOW)
    of_mixed, of_short = (DyadScore.objects.get(visit=created.visit) for created in (mixed, short))
    assert (of_mixed.form, of_mixed.is_complete, of_mixed.is_eligible) == ("short", True, True)
    assert of_mixed.patient["form"] == "full"
    assert of_mixed.clinician["form"] == "short"
    assert of_mixed.dyad["gaps"] == of_short.dyad["gaps"]
    assert of_mixed.dyad["profile"] == of_short.dyad["profile"]
    assert of_mixed.patient != of_short.patient
    alone = (of_mixed.dyad, of_mixed.patient, of_mixed.clinician, of_mixed.patient_valuing)
    rescore_study(study=kit.study, clock=lambda: NOW + timedelta(days=1))
    again = DyadScore.objects.get(visit=mixed.visit)
    assert (again.dyad, again.patient, again.clinician, again.patient_valuing) == alone
    assert again.form == "short"


def test_until_the_second_form_is_there_the_first_stands_alone(kit: StudyKit) -> None:
    """A patient's long form is scored as such; when the clinician's short one comes, the pair is compared."""
    decide(kit, Study.ClinicianForm.SHORT)
    created = make_visit(kit)
    finish(created, Role.PATIENT)
    score_due(owner="test", clock=lambda: NOW)
    score = DyadScore.objects.get(visit=created.visit)
    assert (score.form, score.is_complete, score.dyad["ineligible"]) == ("full", False, ["CLINICIAN_FORM_MISSING"])
    finish(created, Role.CLINICIAN)
    score_due(owner="test", clock=lambda: NOW)
    score.refresh_from_db()
    assert (score.form, score.is_complete, score.dyad["ineligible"]) == ("short", True, [])
