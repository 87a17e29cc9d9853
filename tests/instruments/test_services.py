"""Answers are stored as given, once, until the form is finished; then never again."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from django.db import DatabaseError, connection, transaction
from django.utils import timezone

from instruments import services
from instruments.definitions import Absence, Role
from instruments.models import Administration, AnswerEvent
from instruments.services import (
    AnswerRefused,
    GivenAnswer,
    LinkExpired,
    QuestionnaireClosed,
    QuestionnaireNotStarted,
    QuestionnaireUnderWay,
    ReleaseRefused,
    SequenceConflict,
    complete_administration,
    record_answers,
    reissue_link,
    release_instrument,
)
from tests.factories import CATALOGUE_FILE, NOW, StudyKit, administration_of, answer, finish, make_study, make_visit

pytestmark = pytest.mark.django_db


@pytest.fixture
def kit() -> StudyKit:
    return make_study()


@pytest.fixture
def patient_form(kit: StudyKit) -> Administration:
    return administration_of(make_visit(kit), Role.PATIENT)


def stored(administration: Administration) -> tuple[dict[str, object], list[tuple[int, str, object]]]:
    """The current answers and the log as they stand in the database."""
    administration.refresh_from_db()
    log = administration.events.values_list("sequence", "item", "value")
    return administration.answers, list(log)


def give(administration: Administration, item: str, value: object, sequence: int) -> int:
    return record_answers(
        administration_id=administration.pk,
        given=[GivenAnswer(item=item, value=value, sequence=sequence)],
        now=NOW,
    )


def test_an_answer_stands_in_the_current_answers_and_in_the_log(patient_form: Administration) -> None:
    """The compact answers hold the latest value, the log every one."""
    assert give(patient_form, "VN1", 4, 1) == 1
    assert give(patient_form, "VN1", 2, 2) == 2
    assert stored(patient_form) == ({"VN1": 2}, [(1, "VN1", 4), (2, "VN1", 2)])


def test_a_text_digit_is_stored_as_a_number(patient_form: Administration) -> None:
    """A form field delivers text; the stored scale point is a number."""
    give(patient_form, "VN1", "5", 1)
    assert stored(patient_form)[0] == {"VN1": 5}


def test_the_same_delivery_twice_changes_nothing(patient_form: Administration) -> None:
    """A repeated sequence number with the same content is harmless."""
    give(patient_form, "VN1", 4, 1)
    before = stored(patient_form)
    assert give(patient_form, "VN1", 4, 1) == 1
    assert stored(patient_form) == before


@pytest.mark.parametrize(("item", "value"), [("VN1", 5), ("VC1", 4), ("VN1", "SKIPPED")])
def test_a_replay_with_changed_content_is_refused(patient_form: Administration, item: str, value: object) -> None:
    """A used sequence number cannot carry another item or value."""
    give(patient_form, "VN1", 4, 1)
    before = stored(patient_form)
    with pytest.raises(SequenceConflict, match="Sequence number 1"):
        give(patient_form, item, value, 1)
    assert stored(patient_form) == before


def test_one_delivery_cannot_use_a_sequence_number_for_two_answers(patient_form: Administration) -> None:
    """The conflict is found inside one delivery too, before anything is stored."""
    with pytest.raises(SequenceConflict):
        record_answers(
            administration_id=patient_form.pk,
            given=[GivenAnswer(item="VN1", value=1, sequence=7), GivenAnswer(item="VC1", value=1, sequence=7)],
            now=NOW,
        )
    assert stored(patient_form) == ({}, [])


def test_a_late_answer_is_logged_but_does_not_overrule_a_newer_one(patient_form: Administration) -> None:
    """Deliveries out of order end in the state of the order of giving."""
    give(patient_form, "VN1", 5, 3)
    give(patient_form, "VC1", 2, 1)
    give(patient_form, "VN1", 1, 2)
    assert stored(patient_form) == ({"VN1": 5, "VC1": 2}, [(1, "VC1", 2), (2, "VN1", 1), (3, "VN1", 5)])


@pytest.mark.parametrize(
    ("item", "value"),
    [
        ("VN1", 0),
        ("VN1", 6),
        ("VN1", 3.5),
        ("VN1", True),
        ("VN1", None),
        ("VN1", "٣"),
        ("VN1", [3]),
        ("VN1", "DNA"),  # offered on other items only
        ("VC3", 3),  # in the bank, on no form
        ("nonsense", 3),
        ("X_MISTAKE", "perhaps"),
        ("pt_age", 7),
        ("pt_age", "10e30"),
        ("pt_age", "nan"),
        ("pt_illness", ["diabetes", "dragons"]),
        ("clin_sex", "female"),  # the other role's question
    ],
)
def test_what_is_not_offered_is_refused_and_leaves_no_trace(
    patient_form: Administration, item: str, value: object
) -> None:
    """Unknown and foreign codes, and values outside the scale, are 422 and store nothing."""
    with pytest.raises(AnswerRefused) as refusal:
        give(patient_form, item, value, 1)
    assert refusal.value.status == 422
    assert stored(patient_form) == ({}, [])


def test_one_bad_answer_refuses_the_whole_delivery(patient_form: Administration) -> None:
    """All or nothing."""
    with pytest.raises(AnswerRefused):
        record_answers(
            administration_id=patient_form.pk,
            given=[GivenAnswer(item="VN1", value=4, sequence=1), GivenAnswer(item="VC1", value=9, sequence=2)],
            now=NOW,
        )
    assert stored(patient_form) == ({}, [])


def test_finishing_gives_every_gap_its_reason(patient_form: Administration) -> None:
    """Skipped, does not apply, not reached and not shown are told apart in the finished form."""
    answer(patient_form, {"VN1": 4, "VC1": "SKIPPED", "VI1": "DNA", "X_MISTAKE": "no", "pt_age": "PREFER_NOT"})
    complete_administration(administration_id=patient_form.pk, now=NOW)
    answers, _ = stored(patient_form)
    assert answers["VN1"] == 4
    assert answers["VC1"] == Absence.SKIPPED
    assert answers["VI1"] == Absence.DOES_NOT_APPLY
    assert answers["VP1"] == Absence.NOT_REACHED
    assert answers["X_OWNED"] == Absence.NOT_SHOWN
    assert answers["pt_age"] == Absence.PREFER_NOT
    assert set(answers) == set(patient_form.questionnaire.entries)


def test_an_answer_whose_condition_fell_away_is_not_kept_as_current(patient_form: Administration) -> None:
    """Who says yes, answers the follow-up and then says no was not asked it; the log still knows."""
    answer(patient_form, {"X_MISTAKE": "yes", "X_OWNED": "partly"})
    answer(patient_form, {"X_MISTAKE": "no"})
    complete_administration(administration_id=patient_form.pk, now=NOW)
    answers, log = stored(patient_form)
    assert answers["X_OWNED"] == Absence.NOT_SHOWN
    assert (2, "X_OWNED", "partly") in log


def test_a_finished_form_is_immutable(kit: StudyKit) -> None:
    """New answers are 409, a replay of an old one is still acknowledged, and finishing again changes nothing."""
    created = make_visit(kit)
    finish(created, Role.PATIENT, VN1=5)
    form = administration_of(created, Role.PATIENT)
    before = stored(form)
    with pytest.raises(QuestionnaireClosed) as refusal:
        give(form, "VN1", 1, 99)
    assert refusal.value.status == 409
    assert give(form, "VN1", 5, 1) == form.last_sequence
    complete_administration(administration_id=form.pk, now=NOW + timedelta(days=1))
    assert stored(form) == before
    assert form.completed_at == NOW


def test_the_database_itself_refuses_to_change_a_finished_form_or_the_log(kit: StudyKit) -> None:
    """Not only the services: an UPDATE that goes past them fails as well."""
    created = make_visit(kit)
    finish(created, Role.PATIENT)
    form = administration_of(created, Role.PATIENT)
    with pytest.raises(DatabaseError, match="final"), transaction.atomic():
        Administration.objects.filter(pk=form.pk).update(answers={})
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
        AnswerEvent.objects.filter(administration=form).update(value=1)
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("UPDATE instruments_answerevent SET value = '1'")


def test_nothing_is_stored_after_expiry(patient_form: Administration) -> None:
    """The time for answering ends; the refusal is 410."""
    late = NOW + timedelta(days=31)
    with pytest.raises(LinkExpired) as refusal:
        record_answers(
            administration_id=patient_form.pk, given=[GivenAnswer(item="VN1", value=4, sequence=1)], now=late
        )
    assert refusal.value.status == 410
    with pytest.raises(LinkExpired):
        complete_administration(administration_id=patient_form.pk, now=late)
    assert stored(patient_form) == ({}, [])


def test_a_new_link_opens_the_same_questionnaire_and_the_old_one_nothing(kit: StudyKit) -> None:
    """Reissuing replaces the secret and keeps a clinician's answers."""
    created = make_visit(kit)
    form = administration_of(created, Role.CLINICIAN)
    answer(form, {"VN1": 3})
    token = reissue_link(administration_id=form.pk, now=NOW)
    assert not Administration.objects.with_token(created.clinician_token).exists()
    assert Administration.objects.with_token(token).get().answers == {"VN1": 3}


def test_what_a_patient_has_begun_opens_with_the_patients_link_alone(kit: StudyKit) -> None:
    """A new link would show the answers to whoever made it: 409, and the patient's own still works."""
    created = make_visit(kit)
    form = administration_of(created, Role.PATIENT)
    answer(form, {"VN1": 3})
    with pytest.raises(QuestionnaireUnderWay) as refusal:
        reissue_link(administration_id=form.pk, now=NOW)
    assert refusal.value.status == 409
    assert Administration.objects.with_token(created.patient_token).get().answers == {"VN1": 3}


def test_a_questionnaire_that_nobody_opened_is_not_finished(patient_form: Administration) -> None:
    """No finished form without any answer comes into being: 409, and it still waits."""
    with pytest.raises(QuestionnaireNotStarted) as refusal:
        complete_administration(administration_id=patient_form.pk, now=NOW)
    assert refusal.value.status == 409
    patient_form.refresh_from_db()
    assert (patient_form.status, patient_form.answers, patient_form.completed_at) == ("waiting", {}, None)


def test_a_visit_is_of_the_day_on_the_wall(kit: StudyKit) -> None:
    """At half past eleven at night in Lima it is the next day in Greenwich already; the list goes by Lima."""
    with timezone.override("America/Lima"):
        created = make_visit(kit, now=datetime(2026, 3, 3, 4, 30, tzinfo=UTC))
    assert created.visit.visit_date == date(2026, 3, 2)


def test_the_database_holds_no_secret_of_a_link(kit: StudyKit) -> None:
    """Only the hash is kept."""
    created = make_visit(kit)
    for form in Administration.objects.all():
        assert created.patient_token not in str(vars(form))
        assert created.clinician_token not in str(vars(form))


def test_the_median_time_per_item_comes_from_the_log(kit: StudyKit) -> None:
    """Items that arrive together share the time since the arrival before them; changes are not counted again."""
    form = administration_of(make_visit(kit), Role.PATIENT)
    answer(form, {"VN1": 4}, now=NOW)  # starts the form: no time passed yet
    answer(form, {"VC1": 4}, now=NOW + timedelta(seconds=10))
    answer(form, {"VC1": 5}, now=NOW + timedelta(seconds=11))  # a change
    answer(form, {"VP1": 4, "VA1": 4}, now=NOW + timedelta(seconds=17))  # two items in 6 seconds
    form.refresh_from_db()
    assert services.median_item_seconds(form) == 3.0  # of 0, 10, 3 and 3


def test_releasing_the_same_file_again_changes_nothing() -> None:
    """Loading is idempotent."""
    first, is_new = release_instrument(CATALOGUE_FILE, now=NOW)
    again, is_new_again = release_instrument(CATALOGUE_FILE, now=NOW + timedelta(days=1))
    assert (is_new, is_new_again) == (True, False)
    assert (again.pk, again.released_at) == (first.pk, NOW)


def test_changing_the_file_under_a_released_version_is_refused(tmp_path: Path) -> None:
    """One changed word is another content, and a released version is frozen."""
    release_instrument(CATALOGUE_FILE, now=NOW)
    changed = tmp_path / "healing-relationships-1.0.yaml"
    text = CATALOGUE_FILE.read_text(encoding="utf-8")
    changed.write_text(text.replace("treats me as a person who matters", "treats me as a person who counts"))
    with pytest.raises(ReleaseRefused, match=r"healing-relationships 1\.0 was released.*new version number"):
        release_instrument(changed, now=NOW)


def test_finishing_announces_inside_the_transaction(kit: StudyKit) -> None:
    """Whoever listens is told before the commit, so that "completed" and "needs scoring" cannot part."""
    told: list[tuple[list[int], bool]] = []

    def listen(*, visit_ids: list[int], **_: object) -> None:
        told.append((visit_ids, connection.in_atomic_block))

    services.administration_completed.connect(listen)
    try:
        created = make_visit(kit)
        finish(created, Role.CLINICIAN)
    finally:
        services.administration_completed.disconnect(listen)
    assert told == [([created.visit.pk], True)]
