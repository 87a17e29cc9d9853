"""Every visit is scored once for each change, whoever dies on the way."""

import random
from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from django.conf import settings

from instruments.definitions import Absence, Role
from scoring import services
from scoring.models import NEVER, DyadScore, GapReference, ScoringRequest
from scoring.services import rescore_study, score_due, score_visit, set_gap_reference
from studies.models import Visit
from tests.factories import NOW, StudyKit, administration_of, answer, finish, make_study, make_visit

pytestmark = pytest.mark.django_db


@pytest.fixture
def kit() -> StudyKit:
    return make_study()


def at(moment: datetime) -> Callable[[], datetime]:
    """A clock that stands."""
    return lambda: moment


def both_finished(kit: StudyKit, *, patient: int = 5, clinician: int = 4) -> Visit:
    created = make_visit(kit)
    finish(created, Role.PATIENT, value=patient, rel_years=48)
    finish(created, Role.CLINICIAN, value=clinician)
    return created.visit


def test_a_finished_form_asks_for_scoring_in_the_same_transaction(kit: StudyKit) -> None:
    """The request is a row; no message is needed to find it."""
    created = make_visit(kit)
    assert not ScoringRequest.objects.exists()
    finish(created, Role.PATIENT)
    assert list(ScoringRequest.objects.due(now=NOW).values_list("pk", flat=True)) == [created.visit.pk]


def test_a_dyad_with_both_forms_is_scored(kit: StudyKit) -> None:
    """Domain scores, gap and eligibility of two plain forms come out as computed by hand."""
    visit = both_finished(kit, patient=5, clinician=4)
    assert score_visit(visit_id=visit.pk, owner="w", clock=at(NOW)) == 1
    score = DyadScore.objects.get(pk=visit.pk)
    assert score.is_complete
    assert score.is_eligible
    # Abiding holds no reverse-keyed item but AN3: its component not_giving_up is (100 + 100 + 0) / 3.
    assert score.patient_abiding == pytest.approx((100 + 100 + 100 + 200 / 3) / 4, abs=1e-12)
    assert score.patient_competence == 100
    assert score.clinician_competence == 75
    assert score.dyad["gaps"]["values"]["competence"] == -25
    assert score.patient["flags"] == ["straightline", "reverse_conflict", "fast"]
    assert score.rules_version == kit.instrument.scoring.version


def test_one_finished_form_is_scored_alone_and_says_what_is_missing(kit: StudyKit) -> None:
    """The patient's scores do not wait for the clinician; the gap says why there is none."""
    created = make_visit(kit)
    finish(created, Role.PATIENT)
    score_visit(visit_id=created.visit.pk, owner="w", clock=at(NOW))
    score = DyadScore.objects.get(pk=created.visit.pk)
    assert not score.is_complete
    assert score.clinician is None
    assert score.dyad["ineligible"] == ["CLINICIAN_FORM_MISSING"]
    assert score.dyad["gaps"]["reasons"]["trust"] == "NOT_ELIGIBLE"
    finish(created, Role.CLINICIAN)
    assert score_visit(visit_id=created.visit.pk, owner="w", clock=at(NOW)) == 1
    assert DyadScore.objects.get(pk=created.visit.pk).is_complete


def test_a_second_message_for_the_same_change_scores_nothing(kit: StudyKit) -> None:
    """Delivered twice or out of order, a nudge finds nothing due."""
    visit = both_finished(kit)
    assert score_visit(visit_id=visit.pk, owner="first", clock=at(NOW)) == 1
    assert score_visit(visit_id=visit.pk, owner="second", clock=at(NOW)) == 0
    assert DyadScore.objects.count() == 1


def test_a_held_visit_is_left_to_its_holder_until_the_lease_runs_out(kit: StudyKit) -> None:
    """A dead worker's claim keeps others away for the length of the lease, no longer."""
    visit = both_finished(kit)
    seconds = settings.SCORING_LEASE_SECONDS
    assert ScoringRequest.objects.claim(pk=visit.pk, owner="dead", now=NOW, seconds=seconds)
    assert score_due(owner="alive", clock=at(NOW + timedelta(seconds=seconds - 1))) == 0
    assert score_due(owner="alive", clock=at(NOW + timedelta(seconds=seconds))) == 1


def test_a_claim_is_given_to_one_of_many(kit: StudyKit) -> None:
    """Only the first conditional update wins."""
    visit = both_finished(kit)
    won = [ScoringRequest.objects.claim(pk=visit.pk, owner=f"w{n}", now=NOW, seconds=15) for n in range(8)]
    assert won == [True] + [False] * 7


def test_who_lost_the_claim_stores_nothing(kit: StudyKit, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that was away so long that another took over must not store its result."""
    visit = both_finished(kit)
    forms = services._visit_forms

    def overtaken(visits):  # noqa: ANN001, ANN202  stands in for a private function
        ScoringRequest.objects.filter(pk=visit.pk).update(lease_owner="other")
        return forms(visits)

    monkeypatch.setattr(services, "_visit_forms", overtaken)
    assert score_visit(visit_id=visit.pk, owner="slow", clock=at(NOW)) == 0
    assert not DyadScore.objects.exists()
    assert ScoringRequest.objects.get(pk=visit.pk).scored == NEVER


def test_a_change_during_scoring_is_scored_as_well(kit: StudyKit, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second form finished while the first is being scored leaves the row unanswered."""
    created = make_visit(kit)
    finish(created, Role.PATIENT)
    forms = services._visit_forms
    finished: list[bool] = []

    def finish_meanwhile(visits):  # noqa: ANN001, ANN202  stands in for a private function
        read = list(forms(visits))
        if not finished:
            finished.append(True)
            finish(created, Role.CLINICIAN)
        return iter(read)

    monkeypatch.setattr(services, "_visit_forms", finish_meanwhile)
    assert score_visit(visit_id=created.visit.pk, owner="w", clock=at(NOW)) == 2
    assert DyadScore.objects.get(pk=created.visit.pk).is_complete


def test_a_failure_is_noted_waits_and_does_not_keep_others_waiting(
    kit: StudyKit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One broken visit says why on its row, comes back later, and the next one is scored."""
    broken, sound = both_finished(kit), both_finished(kit)
    score_dyad = services.score_dyad
    calls: list[int] = []

    def breaks_once(*args, **options):  # noqa: ANN002, ANN003, ANN202  stands in for the rules
        calls.append(1)
        if len(calls) == 1:
            raise ArithmeticError("planted")
        return score_dyad(*args, **options)

    monkeypatch.setattr(services, "score_dyad", breaks_once)
    with pytest.raises(ArithmeticError):
        score_due(owner="w", clock=at(NOW))
    assert list(DyadScore.objects.values_list("pk", flat=True)) == [sound.pk]
    request = ScoringRequest.objects.get(pk=broken.pk)
    assert request.error == "ArithmeticError: planted"
    assert score_due(owner="w", clock=at(NOW + timedelta(seconds=1))) == 0
    assert score_due(owner="w", clock=at(NOW + timedelta(seconds=3))) == 1
    assert ScoringRequest.objects.get(pk=broken.pk).error == ""


def test_acquaintance_comes_from_the_patient_and_then_from_the_clinician(kit: StudyKit) -> None:
    """Known for less than 3 months and fewer than 2 visits: not comparable; unknown is noted."""
    created = make_visit(kit)
    finish(created, Role.PATIENT, rel_years=1, rel_visits_12m=1)
    finish(created, Role.CLINICIAN, rel_years=60)
    score_visit(visit_id=created.visit.pk, owner="w", clock=at(NOW))
    assert DyadScore.objects.get(pk=created.visit.pk).dyad["ineligible"] == ["KNOWN_TOO_SHORT"]

    silent = make_visit(kit)
    finish(silent, Role.PATIENT, rel_visits_12m=1)
    finish(silent, Role.CLINICIAN, rel_years=60)
    score_visit(visit_id=silent.visit.pk, owner="w", clock=at(NOW))
    assert DyadScore.objects.get(pk=silent.visit.pk).is_eligible


def test_forms_more_than_two_weeks_apart_are_not_compared(kit: StudyKit) -> None:
    """14 days are still comparable, 15 are not."""
    for days, reasons in ((14, []), (15, ["TOO_FAR_APART"])):
        created = make_visit(kit)
        finish(created, Role.PATIENT, rel_years=48)
        finish(created, Role.CLINICIAN, now=NOW + timedelta(days=days))
        score_visit(visit_id=created.visit.pk, owner="w", clock=at(NOW))
        assert DyadScore.objects.get(pk=created.visit.pk).dyad["ineligible"] == reasons


def snapshot() -> list[dict[str, object]]:
    """Everything stored about every score but the time."""
    rows = list(DyadScore.objects.order_by("pk").values())
    for row in rows:
        del row["scored_at"]
    return rows


@pytest.mark.parametrize("form", ["full", "short"])
def test_scoring_a_study_again_gives_what_one_by_one_gave(form: str) -> None:
    """The vectorised twin stores the same rows, to the last bit: skips, DNA, unfinished dyads, references and all."""
    kit = make_study(n_clinicians=3, form=form)
    rng = random.Random(8)
    for n in range(40):
        created = make_visit(kit, clinician=kit.clinicians[n % 3])
        for role in Role:
            administration = administration_of(created, role)
            answers = {
                item.code: rng.choice([1, 2, 3, 4, 5, 5, "SKIPPED", *(["DNA"] if item.allow_does_not_apply else [])])
                for item in administration.instrument.form_items(form)
                if rng.random() > 0.05
            }
            answer(administration, answers)
            if rng.random() > 0.15:
                services_finish = NOW + timedelta(days=rng.choice([0, 1, 20]))
                finish(created, role, now=services_finish, **answers)
    score_due(owner="w", clock=at(NOW))
    GapReference.objects.create(
        study=kit.study,
        form=form,
        parameters={"valuing": {"mean_gap": -3.5, "sem_patient": 6.1, "sem_clinician": 5.2}},
        source="test",
    )
    for pk in DyadScore.objects.values_list("pk", flat=True):
        forms = next(services._visit_forms(Visit.objects.filter(pk=pk)))
        DyadScore.objects.store([services._scored_alone(forms, now=NOW)])
    one_by_one = snapshot()
    DyadScore.objects.all().delete()
    assert rescore_study(study=kit.study, clock=at(NOW)) == len(one_by_one) > 30
    assert snapshot() == one_by_one
    assert any(row["dyad"]["gaps"]["reliable"] for row in one_by_one)  # type: ignore[index]


def test_scoring_again_answers_open_requests(kit: StudyKit) -> None:
    """What was due is scored with the rest and not due any more."""
    both_finished(kit)
    assert rescore_study(study=kit.study, clock=at(NOW)) == 1
    assert not ScoringRequest.objects.unfinished().exists()


def test_a_reference_judges_the_gaps_already_scored(kit: StudyKit) -> None:
    """A new reference reaches the dyads scored before it."""
    visit = both_finished(kit, patient=5, clinician=1)
    score_visit(visit_id=visit.pk, owner="w", clock=at(NOW))
    assert DyadScore.objects.get(pk=visit.pk).dyad["gaps"]["reliable"] == {}
    set_gap_reference(
        study=kit.study,
        form="full",
        parameters={"competence": {"mean_gap": 0.0, "sem_patient": 5.0, "sem_clinician": 5.0}},
        source="test",
        clock=at(NOW),
    )
    assert DyadScore.objects.get(pk=visit.pk).dyad["gaps"]["reliable"] == {"competence": True}


def test_a_missing_answer_map_entry_is_counted_as_unanswered(kit: StudyKit) -> None:
    """A finished form holds every code; a domain of skipped items has a reason instead of a score."""
    created = make_visit(kit)
    trust = dict.fromkeys(("OT1", "OT2", "OT3"), Absence.SKIPPED.value)
    finish(created, Role.PATIENT, **trust)
    score_visit(visit_id=created.visit.pk, owner="w", clock=at(NOW))
    patient = DyadScore.objects.get(pk=created.visit.pk).patient
    assert patient["values"]["trust"] is None
    assert patient["reasons"]["trust"] == "TOO_FEW_ANSWERS"


def test_a_sweep_stops_after_its_time_and_the_next_goes_on(kit: StudyKit) -> None:
    """A backlog must not keep waiting those who finish meanwhile."""
    for _ in range(3):
        both_finished(kit)
    ticks = iter(NOW + timedelta(seconds=n) for n in range(1000))
    assert score_due(owner="w", clock=lambda: next(ticks), seconds=4) < 3
    assert score_due(owner="w", clock=lambda: next(ticks)) > 0
    assert DyadScore.objects.count() == 3
