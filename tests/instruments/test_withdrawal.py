"""One side withdraws: nothing new is asked, its answers are kept, set apart or erased; the partner stays, unpaired."""

import json
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from analysis.exports import dyads_csv
from instruments import erasure
from instruments.day_list import plan_day_list
from instruments.definitions import Role
from instruments.enrolment import EnrolmentRefused, enrol_visit
from instruments.erasure import apply_ledger, erase, traces, withdraw_for_good
from instruments.imports import ImportRefused, import_responses
from instruments.models import Administration, AnswerEvent, InstrumentVersion
from instruments.opening import administration_with_token
from instruments.services import CreatedVisit
from instruments.withdrawal import consequences, dyads_of_the_same_person, offered_answers, withdraw
from scoring.models import DyadScore
from scoring.services import rescore_study, score_due
from studies import audit
from studies.access import study_for
from studies.erasure_ledger import BadLedger, Entry, append, entries
from studies.identifiers import Identifiers, store
from studies.models import AuditEvent, AuditNote, Clinician, DyadLabel, Member, PatientIdentifiers, Withdrawal
from tests.factories import NOW, StudyKit, administration_of, finish, make_member, make_study, make_visit

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def ledger(settings: Any, tmp_path: Path) -> Path:
    """A ledger of its own."""
    settings.ERASURE_LEDGER_FILE = tmp_path / "erasures.jsonl"
    return tmp_path / "erasures.jsonl"


@pytest.fixture
def kit() -> StudyKit:
    return make_study("LEAVE", n_clinicians=2, form="short")


@pytest.fixture
def admin(kit: StudyKit) -> User:
    return make_member(kit, Member.Role.ADMIN)


def finished_pair(kit: StudyKit) -> CreatedVisit:
    made = make_visit(kit)
    finish(made, Role.PATIENT)
    finish(made, Role.CLINICIAN)
    score()
    return made


def score() -> None:
    score_due(owner="test", clock=lambda: NOW)


def leave(made: CreatedVisit, role: Role, answers: str, admin: User) -> list[Withdrawal]:
    return withdraw(dyads=[made.visit.dyad], role=role, reason="wish", answers=answers, actor=admin, now=NOW)


def pairs(kit: StudyKit) -> list[str]:
    """The dyads of the export, header left out."""
    return [line.split(",")[2] for line in list(dyads_csv(kit.study))[1:]]


# --- what it does ---


@pytest.mark.parametrize("answers", ["keep", "exclude", "erase"])
@pytest.mark.parametrize("role", list(Role))
def test_the_partners_answers_stay_and_the_pair_goes_with_the_answers(
    kit: StudyKit, admin: User, role: Role, answers: str
) -> None:
    """Kept, the pair stays; set apart or erased it is gone from scores and exports at once, and says who withdrew."""
    made, other = finished_pair(kit), finished_pair(kit)
    leave(made, role, answers, admin)
    if answers != "keep":
        assert pairs(kit) == [other.visit.dyad.code], "at once, before any worker"
    score()
    assert made.visit.dyad.code in pairs(kit) if answers == "keep" else pairs(kit) == [other.visit.dyad.code]
    score_row = DyadScore.objects.get(visit=made.visit)
    partner = Role.CLINICIAN if role is Role.PATIENT else Role.PATIENT
    assert getattr(score_row, partner.value) is not None
    gone = f"{role.value}_withdrew".upper()
    if answers == "keep":
        assert (score_row.is_eligible, gone in score_row.dyad["ineligible"]) == (True, False)
    else:
        assert getattr(score_row, role.value) is None
        assert (score_row.is_complete, score_row.is_eligible) == (False, False)
        assert gone in score_row.dyad["ineligible"]
        assert gone in "".join(dyads_csv(kit.study, include_incomplete=True))
        assert set(score_row.dyad["gaps"]["values"].values()) <= {None}
    forms = Administration.with_withdrawn.filter(visit=made.visit, role=role)
    assert forms.count() == (0 if answers == "erase" else 1)
    assert AnswerEvent.objects.filter(administration__visit=made.visit, administration__role=role).exists() is (
        answers != "erase"
    )
    assert Administration.objects.filter(visit=made.visit, role=role).exists() is (answers == "keep")
    before = list(DyadScore.objects.order_by("pk").values("pk", "dyad", "patient", "clinician", "is_complete"))
    rescore_study(study=kit.study, clock=lambda: NOW)
    assert list(DyadScore.objects.order_by("pk").values("pk", "dyad", "patient", "clinician", "is_complete")) == before


def test_when_both_withdraw_no_score_is_left(kit: StudyKit, admin: User) -> None:
    """Neither from the one-by-one scoring nor from that of a whole study."""
    made = finished_pair(kit)
    for role in Role:
        leave(made, role, "exclude", admin)
    score()
    assert not DyadScore.objects.exists()
    rescore_study(study=kit.study, clock=lambda: NOW)
    assert not DyadScore.objects.exists()


def test_a_patients_withdrawal_ends_every_open_link_a_clinicians_only_their_own(kit: StudyKit, admin: User) -> None:
    """Nobody is asked about a patient who has left; a patient may finish what is open when the clinician leaves."""
    one, two = make_visit(kit), make_visit(kit)
    DyadLabel.objects.create(dyad=one.visit.dyad, user=admin, sealed_text="x")
    leave(one, Role.PATIENT, "keep", admin)
    leave(two, Role.CLINICIAN, "keep", admin)
    opened = {}
    for name, made in (("one", one), ("two", two)):
        for role, token in ((Role.PATIENT, made.patient_token), (Role.CLINICIAN, made.clinician_token)):
            try:
                administration_with_token(token)
                opened[name, role.value] = True
            except Administration.DoesNotExist:
                opened[name, role.value] = False
    assert opened == {
        ("one", "patient"): False,
        ("one", "clinician"): False,
        ("two", "patient"): True,
        ("two", "clinician"): False,
    }
    assert not DyadLabel.objects.exists()
    finish(two, Role.PATIENT)


def test_no_visit_is_added_for_who_withdrew(kit: StudyKit, admin: User) -> None:
    """Not at the desk, not by the day's list, not by an import: each names the remedy and adds nothing."""
    made = make_visit(kit)
    leave(made, Role.PATIENT, "keep", admin)
    dyad = made.visit.dyad
    with pytest.raises(EnrolmentRefused, match="withdrawn"):
        enrol_visit(
            study=kit.study,
            clinician=dyad.clinician,
            wave=kit.wave,
            form="short",
            patient_code=dyad.patient.code,
            visit_date=NOW.date(),
            request_key=uuid4(),
            actor=admin,
            now=NOW,
        )
    lines = f"clinician,patient\n{dyad.clinician.code},{dyad.patient.code}\n".encode()
    plan = plan_day_list(access=study_for(admin, "LEAVE", Member.Role.ADMIN), data=lines, default_day=NOW.date())
    assert any("withdrawn" in str(problem.kind) for problem in plan.problems)
    items = InstrumentVersion.objects.get().instrument.forms["short"].order
    data = f"role,dyad,wave,form,{','.join(items)}\npatient,{dyad.code},baseline,short,{','.join('4' for _ in items)}\n"
    with pytest.raises(ImportRefused, match="withdrawn"):
        import_responses(study=kit.study, data=data.encode(), now=NOW, actor=admin)


def test_a_withdrawal_can_only_become_stricter(kit: StudyKit, admin: User) -> None:
    """From kept to erased, not back; the same again changes nothing and writes no line."""
    made = finished_pair(kit)
    assert leave(made, Role.PATIENT, "exclude", admin)
    assert not leave(made, Role.PATIENT, "exclude", admin)
    assert not leave(made, Role.PATIENT, "keep", admin)
    assert leave(made, Role.PATIENT, "erase", admin)
    assert AuditEvent.objects.filter(action="withdraw").count() == 2
    assert not Administration.with_withdrawn.filter(visit=made.visit, role=Role.PATIENT).exists()


def test_what_is_offered_and_told_before(kit: StudyKit, admin: User) -> None:
    """The study's promise narrows the choice; the counts are those that the withdrawal then touches."""
    assert offered_answers(kit.study) == ["keep", "exclude", "erase"]
    kit.study.withdrawn_answers = "exclude"
    assert offered_answers(kit.study) == ["exclude"]
    one, two = finished_pair(kit), make_visit(kit)
    dyads = list(dyads_of_the_same_person(one.visit.dyad, Role.CLINICIAN))
    assert dyads == [one.visit.dyad, two.visit.dyad]
    told = consequences(dyads, Role.CLINICIAN)
    assert (told.n_dyads, told.n_finished, told.n_open) == (2, 1, 1)
    assert consequences([two.visit.dyad], Role.PATIENT).n_open == 2
    assert list(dyads_of_the_same_person(one.visit.dyad, Role.PATIENT)) == [one.visit.dyad]


# --- erasure ---


def test_erasing_a_patient_takes_everything_and_leaves_the_trail_whole(
    kit: StudyKit, admin: User, ledger: Path
) -> None:
    """Forms, log, names, notes that name them; another patient's stay. Once more finds nothing and does no harm."""
    made, other = finished_pair(kit), finished_pair(kit)
    patient = made.visit.dyad.patient
    for one in (made, other):
        store(patient=one.visit.dyad.patient, identifiers=Identifiers(name="Ana"), actor=admin, now=NOW)
        detail = {"dyad": one.visit.dyad.code}
        audit.record(study=kit.study, actor=admin, action="new link", detail=detail, why="she asked", now=NOW)
    found = traces(patient)
    assert (found.n_dyads, found.n_forms, found.n_identifiers, found.n_notes) == (1, 1, 1, 1)
    assert erase(person=patient, actor=admin, now=NOW) == found
    assert not traces(patient).has_any
    assert list(PatientIdentifiers.objects.values_list("patient", flat=True)) == [other.visit.dyad.patient_id]
    assert AuditNote.objects.count() == 1
    assert list(audit.problems()) == []
    assert [entry.patient for entry in entries(ledger)] == [patient.code]
    score()
    assert pairs(kit) == [other.visit.dyad.code]
    n_lines = AuditEvent.objects.count()
    assert apply_ledger(ledger, clock=lambda: NOW) == {"entries": 1, "done_again": 0, "unknown": 0}
    assert AuditEvent.objects.count() == n_lines


def test_erasing_a_clinician_keeps_the_patients_answers(kit: StudyKit, admin: User) -> None:
    """Ratings, characteristics and the account's tie go; patients' forms stay, unpaired."""
    made = finished_pair(kit)
    clinician = made.visit.dyad.clinician
    Clinician.objects.filter(pk=clinician.pk).update(characteristics={"age": 50}, user=admin)
    erase(person=clinician, actor=admin, now=NOW)
    clinician.refresh_from_db()
    assert (clinician.characteristics, clinician.user) == ({}, None)
    assert list(Administration.with_withdrawn.values_list("role", flat=True)) == ["patient"]


def test_nothing_is_erased_when_it_cannot_be_noted(kit: StudyKit, admin: User, settings: Any, tmp_path: Path) -> None:
    """An erasure that a restore would undo is none."""
    made = finished_pair(kit)
    settings.ERASURE_LEDGER_FILE = tmp_path  # a folder
    with pytest.raises(BadLedger, match="Nothing was erased"):
        erase(person=made.visit.dyad.patient, actor=admin, now=NOW)
    with pytest.raises(BadLedger):
        withdraw_for_good(dyads=[made.visit.dyad], role="patient", reason="wish", answers="erase", actor=admin, now=NOW)
    assert Administration.objects.filter(visit=made.visit).count() == 2
    assert not Withdrawal.objects.exists()


def test_an_erasure_that_was_broken_off_is_finished_by_the_ledger(
    kit: StudyKit, admin: User, ledger: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The line stands before anything is erased; applied again, it is done."""
    made = finished_pair(kit)

    def stop(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(erasure, "_erase", stop)
        with pytest.raises(KeyboardInterrupt):
            erase(person=made.visit.dyad.patient, actor=admin, now=NOW)
    assert traces(made.visit.dyad.patient).has_any
    assert apply_ledger(ledger, clock=lambda: NOW)["done_again"] == 1
    assert not traces(made.visit.dyad.patient).has_any


def test_withdrawals_are_done_again_and_strangers_are_counted(kit: StudyKit, admin: User, ledger: Path) -> None:
    """A restored backup asks nobody again who withdrew; people of another database are unknown, and no error."""
    made = finished_pair(kit)
    withdraw_for_good(dyads=[made.visit.dyad], role="patient", reason="wish", answers="exclude", actor=admin, now=NOW)
    Withdrawal.objects.all().delete()
    Administration.with_withdrawn.update(withdrawn_at=None)
    append(Entry(kind="erase", study="ELSEWHERE", site="S1", patient="P"), now=NOW)
    append(Entry(kind="erase", study="LEAVE", site="S1", patient="NOBODY"), now=NOW)
    assert apply_ledger(ledger, clock=lambda: NOW) == {"entries": 3, "done_again": 1, "unknown": 2}
    assert Withdrawal.objects.get().answers == "exclude"


def test_a_ledger_that_was_changed_is_refused(ledger: Path) -> None:
    """A line changed, taken out or unreadable is named by its number."""
    for name in ("a", "b", "c"):
        append(Entry(kind="erase", study="S", site="S1", patient=name), now=NOW)
    lines = ledger.read_text().splitlines()
    assert [entry.patient for entry in entries(ledger)] == ["a", "b", "c"]
    changed = lines[0].replace('"a"', '"x"')
    for wrong, number in (([changed, *lines[1:]], 2), ([lines[0], lines[2]], 2), (lines[1:], 1), (["{}"], 1)):
        ledger.write_text("\n".join(wrong) + "\n")
        with pytest.raises(BadLedger, match=f"line {number}"):
            list(entries(ledger))
    assert json.loads(lines[0])["patient"] == "a"


def client_of(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


# --- pages ---


def test_from_the_study_code_to_the_noted_withdrawal(kit: StudyKit, ledger: Path) -> None:
    """Found, told what follows, ticked, noted: in the list, in the figures of participation, in the ledger."""
    made = finished_pair(kit)
    dyad = made.visit.dyad
    client = client_of(make_member(kit, Member.Role.COORDINATOR))
    page = client.get(reverse("withdrawals", args=["LEAVE"]), {"patient": dyad.patient.code})
    address = reverse("withdrawal_new", args=["LEAVE", dyad.pk])
    assert address in page.content.decode()
    assert "patient_erase" not in page.content.decode()
    data = {"role": "patient", "reach": "dyad", "reason": "wish", "answers": "exclude"}
    assert client.post(address, data).status_code == 422, "not ticked"
    assert client.post(address, data | {"answers": "sell", "is_sure": "on"}).status_code == 422
    assert not Withdrawal.objects.exists()
    assert client.post(address, data | {"is_sure": "on"}).status_code == 302
    assert dyad.code in client.get(reverse("withdrawals", args=["LEAVE"])).content.decode()
    assert "Withdrawn" in client.get(reverse("visits", args=["LEAVE"]), {"date": "2026-03-02"}).content.decode()
    participation = client.get(reverse("participation", args=["LEAVE"]))
    assert [row.n_withdrawn for row in participation.context["rows"]] == [1, 0]
    assert [(entry.kind, entry.answers) for entry in entries(ledger)] == [("withdraw", "exclude")]


def test_a_clinician_leaves_every_dyad_at_once(kit: StudyKit, admin: User) -> None:
    """One page for all of the person's dyads; the other clinician's are untouched."""
    one, two, other = make_visit(kit), make_visit(kit), make_visit(kit, clinician=kit.clinicians[1])
    data = {"role": "clinician", "reach": "all", "reason": "left", "answers": "keep", "is_sure": "on"}
    client_of(admin).post(reverse("withdrawal_new", args=["LEAVE", one.visit.dyad_id]), data)
    left = set(Withdrawal.objects.values_list("dyad", flat=True))
    assert left == {one.visit.dyad_id, two.visit.dyad_id}
    assert administration_of(other, Role.CLINICIAN).status == "waiting"


def test_a_person_is_erased_only_under_the_typed_code(kit: StudyKit, admin: User) -> None:
    """Another code erases nobody; the right one erases, and the page told before what would go."""
    made = finished_pair(kit)
    patient = made.visit.dyad.patient
    client = client_of(admin)
    address = reverse("patient_erase", args=["LEAVE", patient.pk])
    assert "1 questionnaire that was begun" in client.get(address).content.decode()
    assert client.post(address, {"code": "S1-OTHER"}).status_code == 422
    assert traces(patient).has_any
    assert client.post(address, {"code": patient.code}).status_code == 302
    assert not traces(patient).has_any
    clinician = reverse("clinician_erase", args=["LEAVE", kit.clinicians[0].pk])
    assert client.post(clinician, {"code": kit.clinicians[0].code}).status_code == 302
    assert not Administration.with_withdrawn.filter(visit=made.visit).exists()
