"""Paper forms typed in twice: equal entries complete, different ones are decided, and nothing else is ever stored."""

from datetime import date, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from instruments.definitions import Role
from instruments.models import Administration, AnswerEvent, PaperEntry
from instruments.paper.codes import read_typed
from instruments.paper.entry import (
    AnsweredElectronically,
    PaperContent,
    PaperRefused,
    administration_of_code,
    decide_paper_form,
    enter_paper_form,
    entry_code,
)
from instruments.services import CreatedVisit
from scoring.models import DyadScore
from scoring.services import score_due
from studies.models import AuditEvent, Clinician, Member
from tests.factories import StudyKit, administration_of, answer, finish, make_member, make_study, make_visit
from tests.instruments.paper.test_sheets import complete

pytestmark = pytest.mark.django_db


@pytest.fixture
def kit() -> StudyKit:
    return make_study("DESK", n_sites=2)


@pytest.fixture
def visit(kit: StudyKit) -> CreatedVisit:
    return make_visit(kit, now=timezone.now())


@pytest.fixture
def form(visit: CreatedVisit) -> Administration:
    return administration_of(visit, Role.PATIENT)


@pytest.fixture
def ana(kit: StudyKit) -> User:
    return make_member(kit, Member.Role.COORDINATOR, username="ana")


@pytest.fixture
def ben(kit: StudyKit) -> User:
    return make_member(kit, Member.Role.COORDINATOR, username="ben")


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def typed_form(form: Administration, **changes: str) -> dict[str, str]:
    return complete(form.questionnaire, language="es", completed_on=timezone.localdate().isoformat(), **changes)


def content(form: Administration, *, day: date | None = None, **changes: str) -> PaperContent:
    read = read_typed(form.questionnaire, complete(form.questionnaire, **changes))
    assert read.problems == {}
    return PaperContent(language="es", completed_on=day or timezone.localdate(), answers=read.answers)


def enter(form: Administration, user: User, **changes: Any) -> list[str] | None:
    return enter_paper_form(administration_id=form.pk, content=content(form, **changes), actor=user, now=timezone.now())


def page(name: str, *arguments: object) -> str:
    return reverse(name, args=["DESK", *arguments])


def is_untouched(form: Administration) -> bool:
    form.refresh_from_db()
    return form.status == Administration.Status.WAITING and form.answers == {} and not form.events.exists()


# --- the two entries ---


def test_two_equal_entries_complete_the_questionnaire(
    form: Administration, visit: CreatedVisit, ana: User, ben: User
) -> None:
    """It is an ordinary finished one, of mode paper, with both people in log and trail, and it is scored."""
    finish(visit, Role.CLINICIAN, now=timezone.now())
    day = timezone.localdate() - timedelta(days=3)
    assert enter(form, ana, day=day, X_HELPED="2", VN1="2") is None
    assert is_untouched(form)
    assert enter(form, ben, day=day, X_HELPED="2", VN1="2") == []
    form.refresh_from_db()
    assert (form.status, form.mode, form.language) == ("completed", "paper", "es")
    assert timezone.localdate(form.completed_at) == day
    assert form.answers["X_HELPED"] == "yes_family"
    assert form.answers["VN1"] == 2
    assert form.answers["X_OWNED"] == "NOT_SHOWN"
    assert set(form.answers) == set(form.questionnaire.entries)
    assert form.median_item_seconds is None
    events = list(form.events.all())
    assert {event.item: event.value for event in events} == form.answers
    assert all(event.paradata == {"paper": {"entered_by": [ana.pk, ben.pk]}} for event in events)
    trail = AuditEvent.objects.filter(action="complete paper form").get()
    assert trail.actor == ben
    assert f'"entered_by":[{ana.pk},{ben.pk}]' in trail.record.replace(" ", "")
    assert AuditEvent.objects.filter(action="enter paper form").count() == 2
    score_due(owner="test", clock=timezone.now)
    assert DyadScore.objects.filter(visit=visit.visit).exists()


def test_the_same_answers_score_the_same_on_paper_as_on_screen(kit: StudyKit, ana: User, ben: User) -> None:
    """Two visits, one each way: the stored scores of the patient are equal."""
    now = timezone.now()
    on_screen, on_paper = make_visit(kit, now=now), make_visit(kit, now=now)
    for visit in (on_screen, on_paper):
        finish(visit, Role.CLINICIAN, now=now)
    typed = administration_of(on_paper, Role.PATIENT)
    finish(on_screen, Role.PATIENT, now=now, **content(typed, VN1="1", VN2="S").answers)
    for user in (ana, ben):
        enter(typed, user, VN1="1", VN2="S")
    score_due(owner="test", clock=timezone.now)
    first, second = (DyadScore.objects.get(visit=visit.visit) for visit in (on_screen, on_paper))
    values = [
        {
            field.name: getattr(row, field.name)
            for field in DyadScore._meta.concrete_fields
            if isinstance(getattr(row, field.name), float)
        }
        for row in (first, second)
    ]
    assert values[0]
    assert values[0] == values[1]


def test_different_entries_store_nothing_until_they_are_decided(form: Administration, ana: User, ben: User) -> None:
    """Only the differences are named, one undecided keeps everything out, and the decision is recorded."""
    enter(form, ana, VN1="2", VN2="3")
    assert enter(form, ben, VN1="3", VN2="S") == ["VN1", "VN2"]
    assert is_untouched(form)
    with pytest.raises(PaperRefused) as refusal:
        decide_paper_form(administration_id=form.pk, decisions={"VN1": 3}, actor=ana, now=timezone.now())
    assert refusal.value.codes == ("VN2",)
    assert is_untouched(form)
    decide_paper_form(administration_id=form.pk, decisions={"VN1": 3, "VN2": 5}, actor=ana, now=timezone.now())
    form.refresh_from_db()
    assert form.is_completed
    assert (form.answers["VN1"], form.answers["VN2"]) == (3, 5)
    who = {"entered_by": [ana.pk, ben.pk]}
    assert form.events.get(item="VN1").paradata == {"paper": {**who, "decided_by": ana.pk}}
    assert form.events.get(item="VN3").paradata == {"paper": who}
    trail = AuditEvent.objects.get(action="decide paper form")
    assert '"decided":["VN1","VN2"]' in trail.record.replace(" ", "")


def test_a_decision_can_make_a_question_asked_or_not(form: Administration, ana: User, ben: User) -> None:
    """What is not asked after it has no answer; what is asked needs one."""
    enter(form, ana, X_MISTAKE="1", X_OWNED="2")
    assert enter(form, ben, X_MISTAKE="2") == ["X_MISTAKE", "X_OWNED"]
    with pytest.raises(PaperRefused) as refusal:
        decide_paper_form(administration_id=form.pk, decisions={"X_MISTAKE": "yes"}, actor=ben, now=timezone.now())
    assert refusal.value.codes == ("X_OWNED",)
    decisions = {"X_MISTAKE": "no", "X_OWNED": "partly"}
    decide_paper_form(administration_id=form.pk, decisions=decisions, actor=ben, now=timezone.now())
    form.refresh_from_db()
    assert (form.answers["X_MISTAKE"], form.answers["X_OWNED"]) == ("no", "NOT_SHOWN")


def test_nobody_types_both_entries_and_nobody_a_third(
    kit: StudyKit, form: Administration, ana: User, ben: User
) -> None:
    """The same person is refused the second time, and a third person, too."""
    enter(form, ana)
    with pytest.raises(PaperRefused, match="same person"):
        enter(form, ana)
    assert PaperEntry.objects.count() == 1
    enter(form, ben, VN1="1")
    with pytest.raises(PaperRefused, match="both entered"):
        enter(form, make_member(kit, Member.Role.COORDINATOR, username="cai"))
    assert is_untouched(form)


def test_answers_given_electronically_are_never_replaced(
    form: Administration, visit: CreatedVisit, ana: User, ben: User
) -> None:
    """Begun or finished meanwhile: the second entry and the decision are refused, and both sides stay as they are."""
    enter(form, ana)
    answer(form, {"VN1": 5}, now=timezone.now())
    with pytest.raises(AnsweredElectronically, match="begun"):
        enter(form, ben)
    finish(visit, Role.PATIENT, now=timezone.now())
    before = Administration.objects.values().get(pk=form.pk)
    with pytest.raises(AnsweredElectronically, match="finished"):
        enter(form, ben)
    assert Administration.objects.values().get(pk=form.pk) == before
    assert PaperEntry.objects.count() == 1


def test_paper_may_be_typed_after_the_link_has_ended(form: Administration, ana: User, ben: User) -> None:
    """The time for answering is the link's; a paper lies in a drawer."""
    Administration.objects.filter(pk=form.pk).update(expires_at=timezone.now() - timedelta(days=1))
    enter(form, ana)
    assert enter(form, ben) == []


def test_an_incomplete_entry_or_an_impossible_day_is_refused(form: Administration, ana: User) -> None:
    """Nothing is stored of it."""
    sound = content(form)
    short = {code: value for code, value in sound.answers.items() if code != "VN1"}
    for bad, reason in (
        (PaperContent(language="es", completed_on=sound.completed_on, answers=short), "incomplete"),
        (PaperContent(language="fr", completed_on=sound.completed_on, answers=sound.answers), "language"),
        (PaperContent(language="es", completed_on=date(2999, 1, 1), answers=sound.answers), "date"),
    ):
        with pytest.raises(PaperRefused, match=reason):
            enter_paper_form(administration_id=form.pk, content=bad, actor=ana, now=timezone.now())
    assert not PaperEntry.objects.exists()


# --- the code ---


def test_a_code_names_its_form_and_a_slip_names_none() -> None:
    """Back and forth, with look-alikes and without a hyphen; a changed letter is noticed."""
    for pk in (1, 31, 32, 1_048_576, 987_654_321):
        code = entry_code(pk)
        assert administration_of_code(code) == pk
        assert administration_of_code(code.lower().replace("-", " ")) == pk
        wrong = [code[:place] + ("7" if code[place] != "7" else "8") + code[place + 1 :] for place in (0, 3, -1)]
        assert [administration_of_code(one) for one in wrong] == [None, None, None]
    for text in ("", "A", "\0", "9" * 400, "0000-000"):
        assert administration_of_code(text) is None


# --- the pages ---


def test_two_people_at_the_desk(form: Administration, ana: User, ben: User) -> None:
    """By code to the form, typed, typed again with a difference, compared, decided; each page says where one is."""
    first, second = signed_in(ana), signed_in(ben)
    found = first.get(page("paper_forms"), {"entry_code": entry_code(form.pk).lower()})
    assert found.headers["Location"] == page("paper_entry", form.pk)
    assert first.get(page("paper_forms"), {"entry_code": "0001-XXX"}).status_code == 404
    entered = first.post(page("paper_entry", form.pk), typed_form(form, VN1="2"))
    assert entered.headers["Location"] == page("paper_forms")
    assert "Waits for another person" in first.get(page("paper_forms")).content.decode()
    assert "Type it in the second time" in second.get(page("paper_forms")).content.decode()
    blind = second.get(page("paper_entry", form.pk)).content.decode()
    assert 'name="VN1" value=""' in blind
    assert first.post(page("paper_entry", form.pk), typed_form(form)).status_code == 409
    entered = second.post(page("paper_entry", form.pk), typed_form(form, VN1="3"))
    assert entered.headers["Location"] == page("paper_compare", form.pk)
    compare = second.get(page("paper_compare", form.pk)).content.decode()
    assert "choice_VN1" in compare
    assert "choice_VN2" not in compare
    assert second.post(page("paper_compare", form.pk), {}).status_code == 422
    bad = {"choice_VN1": "other", "other_VN1": "9"}
    assert "Type one of: 1–5 S." in second.post(page("paper_compare", form.pk), bad).content.decode()
    assert is_untouched(form)
    decided = second.post(page("paper_compare", form.pk), {"choice_VN1": "1"}, follow=True)
    assert "is complete and is scored" in decided.content.decode()
    form.refresh_from_db()
    assert (form.is_completed, form.answers["VN1"]) == (True, 2)
    assert "Complete: typed in by ana and ben." in first.get(page("paper_entry", form.pk)).content.decode()


def test_bad_codes_are_named_and_what_was_typed_stays(form: Administration, ana: User) -> None:
    """The page comes back with each bad line named and every other line as it was typed."""
    posted = typed_form(form, VN1="9", VN2="2", pt_age="seven") | {"completed_on": "2999-01-01"}
    response = signed_in(ana).post(page("paper_entry", form.pk), posted)
    text = response.content.decode()
    assert response.status_code == 422
    for code in ("VN1", "pt_age", "completed_on"):
        assert f'href="#id_{code}"' in text
    assert 'href="#id_VN2"' not in text
    assert 'name="VN2" value="2"' in text
    assert not PaperEntry.objects.exists()


def test_a_form_completed_meanwhile_is_told_and_nothing_is_lost(
    form: Administration, visit: CreatedVisit, ana: User, ben: User
) -> None:
    """A clear message on the way; the electronic answers and the first entry are kept."""
    client = signed_in(ben)
    enter(form, ana)
    finish(visit, Role.PATIENT, now=timezone.now())
    response = client.post(page("paper_entry", form.pk), typed_form(form))
    assert response.status_code == 409
    assert "completed in the meantime" in response.content.decode()
    assert "Its answers stay as they are" in client.get(page("paper_entry", form.pk)).content.decode()
    assert client.post(page("paper_compare", form.pk), {}).status_code == 302
    assert PaperEntry.objects.count() == 1
    assert AnswerEvent.objects.filter(administration=form, paradata__isnull=False).count() == 0


def test_whoever_typed_neither_entry_does_not_decide_but_an_admin_does(
    kit: StudyKit, form: Administration, ana: User, ben: User
) -> None:
    """Another coordinator is refused; the study's admin decides."""
    enter(form, ana)
    enter(form, ben, VN1="1")
    other = signed_in(make_member(kit, Member.Role.COORDINATOR, username="cai"))
    assert other.post(page("paper_compare", form.pk), {"choice_VN1": "1"}).status_code == 403
    assert is_untouched(form)
    admin = make_member(kit, Member.Role.ADMIN)
    assert signed_in(admin).post(page("paper_compare", form.pk), {"choice_VN1": "2"}).status_code == 302
    form.refresh_from_db()
    assert form.answers["VN1"] == 1
    assert form.events.get(item="VN1").paradata["paper"]["decided_by"] == admin.pk


def test_the_wrong_form_can_be_thrown_away(form: Administration, ana: User, ben: User) -> None:
    """One's own entry, while nothing is complete; it is told in the trail, and the other entry stays."""
    enter(form, ana, VN1="1")
    enter(form, ben, VN1="2")
    assert signed_in(ana).post(page("paper_discard", form.pk)).status_code == 302
    left = PaperEntry.objects.get()
    assert (left.entered_by, left.place) == (ben, 1)
    assert AuditEvent.objects.filter(action="discard paper entry").count() == 1
    assert enter(form, ana, VN1="2") == []
    signed_in(ana).post(page("paper_discard", form.pk))
    assert PaperEntry.objects.count() == 2


def test_nobody_types_the_form_of_their_own_patient(kit: StudyKit, form: Administration, ana: User) -> None:
    """Who rates a relationship sees nothing of the partner's side, on paper neither."""
    Clinician.objects.filter(pk=kit.clinicians[0].pk).update(user=ana)
    client = signed_in(ana)
    for name in ("paper_entry", "paper_compare"):
        assert client.get(page(name, form.pk)).status_code == 403
    assert client.post(page("paper_entry", form.pk), typed_form(form)).status_code == 403
    assert client.post(page("paper_discard", form.pk)).status_code == 403
    assert not PaperEntry.objects.exists()


def test_another_sites_form_is_not_there(kit: StudyKit, form: Administration) -> None:
    """Neither printed nor typed nor found by its code."""
    client = signed_in(make_member(kit, Member.Role.COORDINATOR, username="far", site=kit.sites[1]))
    for name in ("paper_print", "paper_entry", "paper_compare"):
        assert client.get(page(name, form.pk)).status_code == 404
    assert client.get(page("paper_forms"), {"entry_code": entry_code(form.pk)}).status_code == 404


def test_forms_are_printed_from_the_pages(kit: StudyKit, form: Administration, ana: User) -> None:
    """The visits and the settings lead to them; whatever is asked for, a PDF in an offered language comes."""
    client = signed_in(ana)
    day = form.visit.visit_date
    assert page("paper_entry", form.pk) in client.get(page("visits"), {"date": f"{day:%Y-%m-%d}"}).content.decode()
    settings = signed_in(make_member(kit, Member.Role.ADMIN)).get(page("study_settings")).content.decode()
    assert page("paper_forms") in settings
    for address, query in (
        (page("paper_print", form.pk), {"language": "es", "sheet": "letter"}),
        (page("paper_print", form.pk), {"language": "xx", "sheet": "wall"}),
        (page("paper_blank"), {"form": "short", "role": "clinician", "language": "es", "wave": "baseline"}),
        (page("paper_blank"), {"form": "?", "role": "?", "language": "?", "wave": "?"}),
    ):
        response = client.get(address, query)
        assert response.status_code == 200
        assert response.headers["Content-Type"] == "application/pdf"
        assert response.content.startswith(b"%PDF")
