"""A site's tablet from enrolling to giving back, page by page, as a browser without scripts goes."""

import json
import re
from datetime import timedelta
from typing import Any
from unittest.mock import patch

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.test import Client, override_settings
from django.urls import reverse
from django.utils import timezone

from instruments import codes, devices, hand_over, tablets
from instruments.definitions import Role
from instruments.devices import Need
from instruments.models import Administration, AnswerEvent, HandOver
from studies.models import AuditEvent, Device, Member
from tests.factories import StudyKit, administration_of, make_member, make_study, make_visit

pytestmark = pytest.mark.django_db
PIN = "2580"
SECOND = "VC2"  # the second item of the short form


@pytest.fixture
def kit() -> StudyKit:
    return make_study(form="short", n_sites=2)


@pytest.fixture
def coordinator(kit: StudyKit) -> User:
    return make_member(kit, Member.Role.COORDINATOR)


@pytest.fixture
def desk(coordinator: User) -> Client:
    """The coordinator's own browser."""
    client = Client()
    client.force_login(coordinator)
    return client


def url(name: str, *arguments: object) -> str:
    return reverse(name, args=["PILOT", *arguments])


def page(response: Any) -> str:
    return str(response.content.decode())


def new_tablet(desk: Client, *, name: str = "Front desk 1") -> Client:
    """A browser that was enrolled through the staff's page, by the link shown there."""
    offer = desk.post(url("device_new"), {"name": name, "pin": PIN})
    link = re.search(r'href="(http://testserver(/q/tablet/enrol/[^"]+))"', page(offer))
    assert link is not None
    tablet = Client(enforce_csrf_checks=True)
    asked = tablet.get(link[2])
    assert name in page(asked)
    enrolled = send(tablet, link[2])
    assert (enrolled.status_code, enrolled["Location"]) == (303, "/q/tablet/")
    return tablet


def send(client: Client, address: str, /, **data: str) -> Any:
    """Post a form of a page with its CSRF token."""
    token = client.cookies["csrftoken"].value
    return client.post(address, {**data, "csrfmiddlewaretoken": token})


def followed(client: Client, response: Any) -> tuple[Any, list[str]]:
    """The page that a browser ends at, and the addresses on its way."""
    way: list[str] = []
    while response.status_code in (302, 303):
        way.append(response["Location"])
        assert len(way) < 10, way
        response = client.get(way[-1])
    return response, way


def form_of(kit: StudyKit) -> Administration:
    return administration_of(make_visit(kit, now=timezone.now()), Role.PATIENT)


def give(desk: Client, form: Administration, *, name: str = "Front desk 1") -> Any:
    """The coordinator hands a questionnaire over to this tablet."""
    device = Device.objects.get(name=name)
    return desk.post(url("hand_over", form.pk), {"tablet": device.pk})


def opened_on(tablet: Client) -> str:
    """The address to which the tablet's page sends it."""
    response = tablet.get("/q/tablet/")
    assert response.status_code == 303, page(response)
    return str(response["Location"])


def answered(tablet: Client, root: str) -> None:
    """Begins and gives one answer by the plain pages."""
    assert tablet.post(root, {"language": "en"})["Location"] == f"{root}page/1/"
    assert tablet.post(f"{root}page/1/", {"VN1": "4", "sequence": "1", "action": "next"}).status_code == 303


def finished(tablet: Client, root: str) -> None:
    response = tablet.post(f"{root}finish/")
    assert response["Location"] == root
    assert tablet.get(root)["Location"] == "/q/tablet/"


# --- enrolling ---


def test_a_tablet_is_enrolled_by_link_or_code(desk: Client) -> None:
    """The link asks before it does anything; then the tablet waits. Its cookie is long-lived, HttpOnly and Lax."""
    tablet = new_tablet(desk)
    cookie = tablet.cookies[settings.DEVICE_COOKIE]
    assert cookie["httponly"]
    assert (cookie["samesite"], cookie["path"], cookie["max-age"]) == ("Lax", "/", tablets.KEPT_SECONDS)
    waiting = page(tablet.get("/q/tablet/"))
    assert "This tablet is ready" in waiting
    assert "Front desk 1" in waiting
    offer = page(desk.post(url("device_new"), {"name": "Front desk 2", "pin": PIN}))
    code = re.search(r'<strong class="address fs-5">([0-9A-Z]{4}-[0-9A-Z]{4})<', offer)
    assert code is not None
    other = Client(enforce_csrf_checks=True)
    assert other.get("/tablet/")["Location"] == "/q/tablet/"
    assert "Make this a study tablet" in page(other.get("/q/tablet/"))
    wrong = send(other, "/q/tablet/code/", code="AAAA-AAAA")
    assert wrong.status_code == 422
    assert send(other, "/q/tablet/code/", code=code[1].lower())["Location"] == "/q/tablet/"
    assert "Front desk 2" in page(other.get("/q/tablet/"))


def test_a_used_link_enrols_nothing_more(desk: Client) -> None:
    """Kindly, and with what to do; nor does a page of another site make somebody's browser a tablet."""
    offer = desk.post(url("device_new"), {"name": "Front desk 1", "pin": PIN})
    link = re.search(r'href="http://testserver(/q/tablet/enrol/[^"]+)"', page(offer))
    assert link is not None
    assert Client(enforce_csrf_checks=True).post(link[1]).status_code == 403
    first, second = Client(), Client()
    assert first.get(link[1]).status_code == second.get(link[1]).status_code == 200
    assert first.post(link[1]).status_code == 303
    late = second.post(link[1])
    assert late.status_code == 410
    assert "Make a new link" in page(late)
    assert settings.DEVICE_COOKIE not in second.cookies


def test_many_wrong_codes_are_told_kindly(desk: Client) -> None:
    """The page says to wait or to use the link."""
    client = Client()
    for _ in range(codes.GUESSES_OF_ALL_OTHERS):
        codes.count_wrong_guess(browser="", now=timezone.now())
    response = client.post("/q/tablet/code/", {"code": "AAAA-AAAA"})
    assert response.status_code == 429
    assert "or open the link" in page(response)


def test_the_cookie_is_a_host_cookie_in_production(desk: Client) -> None:
    """Its name makes browsers refuse it without Secure, with a domain or from a subdomain."""
    with override_settings(DEVICE_COOKIE="__Host-tablet_device"):
        offer = desk.post(url("device_new"), {"name": "Front desk 1", "pin": PIN}, secure=True)
        link = re.search(r'href="https://testserver(/q/tablet/enrol/[^"]+)"', page(offer))
        assert link is not None
        tablet = Client()
        response = tablet.post(link[1], secure=True)
        cookies = response.cookies
        for name in ("__Host-tablet_device", "__Host-tablet_device_form"):
            assert (cookies[name]["secure"], cookies[name]["path"], cookies[name]["domain"]) == (True, "/", "")


def test_nobody_stays_signed_in_on_a_tablet(desk: Client, coordinator: User) -> None:
    """Not when it is enrolled, and not when somebody signs in on it later."""
    offer = desk.post(url("device_new"), {"name": "Front desk 1", "pin": PIN})
    link = re.search(r'href="http://testserver(/q/tablet/enrol/[^"]+)"', page(offer))
    assert link is not None
    desk.get(link[1])
    assert "_auth_user_id" not in desk.session
    desk.post(link[1])
    desk.force_login(coordinator)
    assert "_auth_user_id" in desk.session
    desk.get("/q/tablet/")
    assert "_auth_user_id" not in desk.session


# --- one patient, and the next ---


def test_from_the_desk_to_the_patient_and_back(kit: StudyKit, desk: Client) -> None:
    """Handed over, opened once, finished, thanked, locked; the PIN brings the waiting page and then the next one."""
    tablet = new_tablet(desk)
    form, following = form_of(kit), form_of(kit)
    chooser = page(desk.get(url("hand_over", form.pk)))
    assert "Front desk 1" in chooser
    response = give(desk, form)
    assert response["Location"] == url("day")
    assert "_auth_user_id" in desk.session
    assert json.loads(tablet.get("/q/tablet/next/").content) == {"is_waiting": False}
    root = opened_on(tablet)
    assert "Stop and give the tablet back" in page(tablet.get(root))
    answered(tablet, root)
    finished(tablet, root)
    give(desk, following)
    locked = page(tablet.get("/q/tablet/"))
    assert "Your answers are stored" in locked
    assert "Please give the tablet back" in locked
    assert "Go on with this survey" not in locked
    assert send(tablet, "/q/tablet/unlock/", pin="9999", then="next").status_code == 422
    assert send(tablet, "/q/tablet/unlock/", pin=PIN, then="next")["Location"] == "/q/tablet/"
    assert opened_on(tablet) != root
    assert [row.administration for row in HandOver.objects.order_by("pk")] == [form, following]
    assert "_auth_user_id" not in tablet.session


@pytest.mark.parametrize("then", ["next", "go on"])
def test_a_stopped_questionnaire_is_locked(kit: StudyKit, desk: Client, then: str) -> None:
    """A tap on "stop" asks first; afterwards no address of the patient's leads anywhere until the PIN says so."""
    tablet = new_tablet(desk)
    give(desk, form_of(kit))
    root = opened_on(tablet)
    answered(tablet, root)
    asks = page(tablet.get("/q/tablet/"))
    assert "Do you want to stop?" in asks
    assert f'href="{root}"' in asks
    assert tablet.get(root).status_code == 200  # a slip of the finger changes nothing
    send(tablet, "/q/tablet/")
    assert "This survey is paused" in page(tablet.get("/q/tablet/"))
    refuse_everything(tablet, root)
    response = send(tablet, "/q/tablet/unlock/", pin=PIN, then=then)
    if then == "go on":
        assert response["Location"] == root
        assert tablet.post(root, {"language": "en"})["Location"] == f"{root}page/2/"
        assert AuditEvent.objects.filter(action="go on after pause").count() == 1
    else:
        assert "This tablet is ready" in page(tablet.get("/q/tablet/"))
        refuse_everything(tablet, root)


def refuse_everything(tablet: Client, root: str) -> None:
    """Every page of the questionnaire leads back to the tablet's own page, without a word of it."""
    for path in ("", "page/1/", "page/2/", "review/", "language/", "display/", "finish/"):
        for method in (tablet.get, tablet.post):
            response, way = followed(tablet, method(f"{root}{path}"))
            assert way[-1:] == ["/q/tablet/"] or response.status_code == 405, path
            assert "VN1" not in page(response)
            assert root not in page(response)
    state = tablet.get(f"{root}state/")
    assert (state.status_code, "VN1" in page(state)) == (403, False)


def test_without_the_binding_the_last_patient_is_shown(kit: StudyKit, desk: Client) -> None:
    """The control: a browser that does not compare its cookies shows the paused questionnaire to whoever goes back."""
    tablet = new_tablet(desk)
    give(desk, form_of(kit))
    root = opened_on(tablet)
    answered(tablet, root)
    send(tablet, "/q/tablet/")
    with patch.object(tablets, "holds_another", return_value=False), pytest.raises(AssertionError):
        refuse_everything(tablet, root)


def test_stopping_at_once_locks_as_well(kit: StudyKit, desk: Client) -> None:
    """On the welcome page, a moment after it was opened: it does not come back, however often the page is loaded."""
    tablet = new_tablet(desk)
    give(desk, form_of(kit))
    root = opened_on(tablet)
    assert "Do you want to stop?" in page(tablet.get("/q/tablet/"))
    send(tablet, "/q/tablet/")
    for _ in range(2):
        assert "This survey is paused" in page(tablet.get("/q/tablet/"))
    refuse_everything(tablet, root)


def test_who_declines_on_a_tablet_is_thanked(kit: StudyKit, desk: Client) -> None:
    """And the tablet is locked; nobody is asked to go on."""
    tablet = new_tablet(desk)
    form = form_of(kit)
    give(desk, form)
    root = opened_on(tablet)
    Administration.objects.filter(pk=form.pk).update(status=Administration.Status.DECLINED, language="en")
    assert tablet.get(root)["Location"] == "/q/tablet/"
    locked = page(tablet.get("/q/tablet/"))
    assert "Thank you for telling us" in locked
    assert "Go on with this survey" not in locked
    assert send(tablet, "/q/tablet/unlock/", pin=PIN, then="go on")["Location"] == "/q/tablet/"
    assert "This tablet is ready" in page(tablet.get("/q/tablet/"))


def test_an_idle_tablet_is_locked(kit: StudyKit, desk: Client) -> None:
    """The page to which the script sends an abandoned questionnaire locks a tablet; other devices see what they did."""
    tablet = new_tablet(desk)
    give(desk, form_of(kit))
    root = opened_on(tablet)
    answered(tablet, root)
    assert tablet.get("/q/locked/")["Location"] == "/q/tablet/"
    refuse_everything(tablet, root)
    assert "This survey is paused" in page(Client().get("/q/locked/"))


def test_a_lost_answer_is_asked_for_again(kit: StudyKit, desk: Client) -> None:
    """The tablet whose redirection got lost opens the same questionnaire; a minute later it wants the PIN."""
    tablet = new_tablet(desk)
    give(desk, form_of(kit))
    root = opened_on(tablet)
    del tablet.cookies[f"{settings.DEVICE_COOKIE}_form"]
    assert opened_on(tablet) == root
    del tablet.cookies[f"{settings.DEVICE_COOKIE}_form"]
    HandOver.objects.update(taken_at=timezone.now() - hand_over.ASKS_AGAIN)
    assert tablet.get("/q/tablet/").status_code == 200


def test_the_pages_speak_the_patients_language(kit: StudyKit, desk: Client) -> None:
    """Stop, lock and thanks in the language that was chosen on the welcome page."""
    tablet = new_tablet(desk)
    give(desk, form_of(kit))
    root = opened_on(tablet)
    tablet.post(root, {"language": "es"})
    assert "Parar y devolver la tableta" in page(tablet.get(f"{root}page/1/"))
    assert "¿Quiere parar?" in page(tablet.get("/q/tablet/"))
    tablet.post(f"{root}finish/")
    locked = page(tablet.get("/q/tablet/"))
    assert '<html lang="es">' in locked
    assert "Sus respuestas están guardadas" in locked


def test_wrong_pins_are_told_and_slowed_down(kit: StudyKit, desk: Client) -> None:
    """With the way out: waiting, or a new PIN from the staff's page, which works at once."""
    tablet = new_tablet(desk)
    give(desk, form_of(kit))
    opened_on(tablet)
    send(tablet, "/q/tablet/")
    tablet.get("/q/tablet/")
    for _ in range(5):
        assert send(tablet, "/q/tablet/unlock/", pin="1").status_code == 422
    slow = send(tablet, "/q/tablet/unlock/", pin=PIN)
    assert slow.status_code == 429
    assert "set a new PIN" in page(slow)
    device = Device.objects.get()
    desk.post(url("device_edit", device.pk), {"name": device.name, "pin": "5683"})
    assert send(tablet, "/q/tablet/unlock/", pin="5683", then="next").status_code == 303


# --- links and codes on a tablet ---


def test_a_printed_code_works_on_a_waiting_tablet(kit: StudyKit, desk: Client) -> None:
    """Also to resume what was paused there; but not while another patient's questionnaire is open."""
    tablet = new_tablet(desk)
    visit, other = make_visit(kit, now=timezone.now()), make_visit(kit, now=timezone.now())
    root = f"/q/{visit.patient_token}/"
    typed = {"code": codes.code_of(visit.patient_token)}
    assert tablet.post("/q/code/", typed)["Location"] == root
    answered(tablet, root)
    tablet.get("/q/locked/")
    tablet.post("/q/code/", {"code": codes.code_of(other.patient_token)})
    refuse_everything(tablet, f"/q/{other.patient_token}/")
    tablet.post("/q/code/", typed)
    assert tablet.get(f"{root}page/2/").status_code == 200


def test_links_on_a_tablet(kit: StudyKit, desk: Client) -> None:
    """A fresh one opens and locks it; the clinician's form does not; a forgotten tablet is a browser again."""
    tablet = new_tablet(desk)
    visit = make_visit(kit, now=timezone.now())
    assert followed(tablet, tablet.get(f"/q/{visit.clinician_token}/"))[1][-1] == "/q/tablet/"
    root = f"/q/{visit.patient_token}/"
    assert followed(tablet, tablet.get(root))[1] == [f"/q/tablet/open/{root[3:]}", root]
    tablet.cookies[settings.DEVICE_COOKIE] = "something else"
    response, _way = followed(tablet, tablet.get(f"/q/{visit.clinician_token}/"))
    assert response.status_code == 200
    assert tablet.cookies[settings.DEVICE_COOKIE].value == ""


def test_two_tablets_with_the_same_questionnaire(kit: StudyKit, desk: Client) -> None:
    """Handed over to a second one before it was begun, the first one's link ends, kindly; nothing is answered twice."""
    first, second = new_tablet(desk), new_tablet(desk, name="Front desk 2")
    form = form_of(kit)
    give(desk, form)
    old = opened_on(first)
    give(desk, form, name="Front desk 2")
    root = opened_on(second)
    answered(second, root)
    gone = first.get(old)
    assert gone.status_code == 404
    assert "ask the staff" in page(gone)
    assert "Stop and give the tablet back" in page(gone)
    refused = give(desk, form)
    assert refused["Location"] == url("hand_over", form.pk)
    assert "The patient has begun it elsewhere." in page(desk.get(refused["Location"]))
    assert AnswerEvent.objects.filter(administration=form).count() == 1


def test_a_link_that_expires_on_the_tablet(kit: StudyKit, desk: Client) -> None:
    """The patient reads why and what to do; the tablet is locked, not stuck; what was queued is still taken."""
    tablet = new_tablet(desk)
    form = form_of(kit)
    give(desk, form)
    root = opened_on(tablet)
    answered(tablet, root)
    Administration.objects.filter(pk=form.pk).update(expires_at=timezone.now() - timedelta(hours=1))
    over = tablet.get(f"{root}page/2/")
    assert over.status_code == 410
    assert "Stop and give the tablet back" in page(over)
    queued = {"language": "en", "answers": [{"item": SECOND, "value": 3, "sequence": 2}], "finish": True}
    sent = tablet.post(f"{root}deliver/", json.dumps(queued), content_type="application/json")
    assert (sent.status_code, sent.json()["status"]) == (200, "completed")
    assert "Your answers are stored" in page(tablet.get("/q/tablet/"))
    assert send(tablet, "/q/tablet/unlock/", pin=PIN, then="next").status_code == 303


# --- revoked, forgotten ---


def test_a_tablet_that_is_revoked_in_the_middle(kit: StudyKit, desk: Client) -> None:
    """The patient finishes, the queue is delivered, then the tablet says to give it back; nothing is handed to it."""
    tablet = new_tablet(desk)
    form = form_of(kit)
    give(desk, form)
    root = opened_on(tablet)
    answered(tablet, root)
    device = Device.objects.get()
    confirm = page(desk.get(url("device_revoke", device.pk)))
    assert "It is with a patient now" in confirm
    desk.post(url("device_revoke", device.pk))
    assert give(desk, form_of(kit))["Location"].endswith("/")
    queued = {"language": "en", "answers": [{"item": SECOND, "value": 3, "sequence": 2}]}
    sent = tablet.post(f"{root}deliver/", json.dumps(queued), content_type="application/json")
    assert sent.status_code == 200
    assert tablet.get(f"{root}page/3/").status_code == 200
    finished(tablet, root)
    for _ in range(2):
        assert "no longer used for surveys" in page(tablet.get("/q/tablet/"))
    form.refresh_from_db()
    assert (form.status, form.answers["VN1"], form.answers[SECOND]) == ("completed", 4, 3)
    assert send(tablet, "/q/tablet/unlock/", pin=PIN, then="next")["Location"] == "/q/tablet/"
    refuse_everything(tablet, root)
    assert tablet.post("/q/tablet/report/", '{"unsent": 0, "refused": 0}', content_type="application/json").json() == {
        "is_enrolled": False
    }
    again = desk.post(url("device_new"), {"name": "Front desk 1", "pin": PIN})
    link = re.search(r'href="http://testserver(/q/tablet/enrol/[^"]+)"', page(again))
    assert link is not None
    send(tablet, link[1])
    assert "This tablet is ready" in page(tablet.get("/q/tablet/"))


def test_a_queue_outlives_the_version_that_a_study_uses(kit: StudyKit, desk: Client) -> None:
    """The study goes over to another version while answers wait on the tablet: they are taken as they were asked."""
    tablet = new_tablet(desk)
    form = form_of(kit)
    give(desk, form)
    root = opened_on(tablet)
    answered(tablet, root)
    kit.study.instrument_version = "2.0"
    kit.study.save()
    queued = {"language": "en", "answers": [{"item": SECOND, "value": 3, "sequence": 2}], "finish": True}
    sent = tablet.post(f"{root}deliver/", json.dumps(queued), content_type="application/json")
    assert sent.json()["status"] == "completed"
    form.refresh_from_db()
    assert form.answers[SECOND] == 3


def test_a_browser_that_lost_its_cookie(kit: StudyKit, desk: Client) -> None:
    """A new link for the same tablet; whatever had its cookie is no tablet any more."""
    tablet = new_tablet(desk)
    device = Device.objects.get()
    assert "forgotten" in page(desk.get(url("device_link", device.pk)))
    offer = desk.post(url("device_link", device.pk))
    link = re.search(r'href="http://testserver(/q/tablet/enrol/[^"]+)"', page(offer))
    assert link is not None
    other = Client(enforce_csrf_checks=True)
    other.get(link[1])
    send(other, link[1])
    assert "This tablet is ready" in page(other.get("/q/tablet/"))
    assert "Make this a study tablet" in page(tablet.get("/q/tablet/"))
    assert Device.objects.count() == 1


# --- reports ---


@pytest.mark.parametrize(
    "body",
    ["", "{", "[]", "null", '{"unsent": 1}', '{"unsent": -1, "refused": 0}', '{"unsent": true, "refused": 0}',
     '{"unsent": 1e3, "refused": 0}', '{"unsent": 99999999999, "refused": 0}', '{"unsent": "1", "refused": 0}',
     "[" * 100_000, "\udcff"],
)  # fmt: skip
def test_a_report_that_is_none(desk: Client, body: str) -> None:
    """Refused with what is wanted; nothing is stored."""
    tablet = new_tablet(desk)
    raw = body.encode("utf-8", "surrogateescape")
    response = tablet.post("/q/tablet/report/", raw, content_type="application/json")
    assert response.status_code == 422
    assert "unsent" in response.json()["error"]
    assert Device.objects.get().reported_at is None


def test_what_tablets_report_reaches_the_desk(kit: StudyKit, desk: Client, coordinator: User) -> None:
    """Unsent answers with the time; refused ones until somebody says that they have seen it. Others report nothing."""
    tablet = new_tablet(desk)
    report = {"unsent": 3, "refused": 2}
    stranger = Client().post("/q/tablet/report/", report, content_type="application/json")
    assert stranger.status_code == 404
    assert tablet.post("/q/tablet/report/", report, content_type="application/json").json() == {"is_enrolled": True}
    (needy,) = devices.devices_needing_a_hand(kit.study, now=timezone.now() + devices.PATIENCE)
    assert needy.needs == (Need.UNSENT, Need.REFUSED)
    Device.objects.update(unsent_since=timezone.now() - devices.PATIENCE)
    listed = page(desk.get(url("devices")))
    assert "3 answers not yet sent, last heard at" in listed
    assert "The server would not take 2 answers" in listed
    desk.post(url("device_noted", Device.objects.get().pk))
    assert "would not take" not in page(desk.get(url("devices")))
    assert AuditEvent.objects.filter(action="note refused answers", actor=coordinator).exists()


# --- the staff's pages ---


def test_the_list_of_tablets_says_what_to_do_when_it_is_empty(kit: StudyKit, desk: Client) -> None:
    """And each step says what is wrong beside its field; a tablet is added once."""
    assert "No tablet is enrolled yet" in page(desk.get(url("devices")))
    for data, words in (
        ({"name": "", "pin": PIN}, "This field is required"),
        ({"name": "Desk", "pin": "12"}, "Use 4 to 8 digits"),
        ({"name": "Desk", "pin": "1234"}, "Anybody would try this one first"),
    ):
        response = desk.post(url("device_new"), data)
        assert (response.status_code, words in page(response)) == (422, True)
    desk.post(url("device_new"), {"name": "Desk", "pin": PIN})
    twice = desk.post(url("device_new"), {"name": "Desk", "pin": PIN})
    assert twice.status_code == 422
    assert "already" in page(twice)
    assert Device.objects.get().site == kit.sites[0]
    assert "Waits to be enrolled" in page(desk.get(url("devices")))


def test_a_tablet_of_another_site_is_out_of_reach(kit: StudyKit, desk: Client) -> None:
    """Not listed, not chosen, not changed; an admin chooses the site of a new one."""
    admin = Client()
    admin.force_login(make_member(kit, Member.Role.ADMIN))
    data = {"site": kit.sites[1].pk, "name": "Hill 1", "pin": PIN}
    assert admin.post(url("device_new"), data).status_code == 200
    other = Device.objects.get(name="Hill 1")
    assert other.site == kit.sites[1]
    assert "Hill 1" not in page(desk.get(url("devices")))
    for name in ("device_edit", "device_link", "device_revoke"):
        assert desk.get(url(name, other.pk)).status_code == 404
        assert desk.post(url(name, other.pk), {"name": "x", "pin": ""}).status_code == 404
    form = form_of(kit)  # of the first site
    assert desk.post(url("hand_over", form.pk), {"tablet": other.pk}).status_code == 404
    assert admin.post(url("hand_over", form.pk), {"tablet": other.pk}).status_code == 404
    assert desk.post(url("hand_over", form.pk), {"tablet": "x"})["Location"] == url("hand_over", form.pk)


def test_what_was_handed_over_can_be_taken_back(kit: StudyKit, desk: Client) -> None:
    """As long as the tablet has not opened it; its list shows whom it waits for."""
    tablet = new_tablet(desk)
    form = form_of(kit)
    give(desk, form)
    assert form.visit.dyad.code in page(desk.get(url("devices")))
    device = Device.objects.get()
    desk.post(url("hand_over_take_back", device.pk))
    assert "This tablet is ready" in page(tablet.get("/q/tablet/"))
    late = desk.post(url("hand_over_take_back", device.pk), follow=True)
    assert "nothing to take back" in page(late)


def test_the_device_in_hand_is_an_enrolled_tablet(kit: StudyKit, desk: Client, coordinator: User) -> None:
    """The coordinator is signed out on it, and the questionnaire is bound to it as any other."""
    tablet = new_tablet(desk)
    form, following = form_of(kit), form_of(kit)
    tablet.force_login(coordinator)
    tablet.get(url("hand_over", form.pk))
    response = send(tablet, url("hand_over", form.pk), tablet="")
    assert response["Location"] == "/q/tablet/"
    assert "_auth_user_id" not in tablet.session
    root = opened_on(tablet)
    answered(tablet, root)
    tablet.get("/q/locked/")
    tablet.force_login(coordinator)
    tablet.get(url("hand_over", following.pk))
    send(tablet, url("hand_over", following.pk), tablet="")
    assert opened_on(tablet) != root
    refuse_everything(tablet, root)
    assert HandOver.objects.filter(ended_at=None).get().administration == following


def test_a_begun_questionnaire_goes_on_where_it_was_begun(kit: StudyKit, desk: Client) -> None:
    """The chooser offers that tablet only, and the same link opens there."""
    tablet = new_tablet(desk)
    new_tablet(desk, name="Front desk 2")
    form = form_of(kit)
    give(desk, form)
    root = opened_on(tablet)
    answered(tablet, root)
    tablet.get("/q/locked/")
    tablet.get("/q/tablet/")
    send(tablet, "/q/tablet/unlock/", pin=PIN, then="next")
    chooser = page(desk.get(url("hand_over", form.pk)))
    assert chooser.count('name="tablet" value="') == 2  # that one, and the device in hand
    give(desk, form)
    assert opened_on(tablet) == root
