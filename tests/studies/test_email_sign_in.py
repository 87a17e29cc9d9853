"""Clinicians sign in by an e-mailed link: once, soon, to the inbox alone; asking tells nobody who has an account."""

import logging
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core import mail
from django.db import connection
from django.test import Client
from django.urls import reverse

from healing_survey.logs import WithoutLinks
from studies import email_sign_in
from studies.models import AuditEvent, Clinician, EmailSignIn, Member, SecondFactor
from tests.factories import StudyKit, make_member, make_study, make_user

pytestmark = pytest.mark.django_db

ADDRESS = "Rosa@example.org"
FOR_OTHERS = ("study_overview", "dyads", "dyads_download", "analyses")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[datetime]:
    """What time it is for the pages; tests move it."""
    now = [datetime.now(UTC)]
    monkeypatch.setattr("django.utils.timezone.now", lambda: now[0])
    return now


@pytest.fixture
def rosa() -> User:
    """A clinician, who is a researcher, too."""
    kit: StudyKit = make_study("OWN")
    user = make_member(kit, Member.Role.CLINICIAN, username="rosa")
    Member.objects.create(study=kit.study, user=user, role=Member.Role.RESEARCHER)
    user.email = ADDRESS
    user.save()
    return user


def ask(email: str = ADDRESS) -> Any:
    return Client().post(reverse("email_sign_in"), {"email": email}, follow=True)


def send(clock: list[datetime]) -> list[str]:
    """What a worker does; the links in the mails that it sent."""
    mail.outbox.clear()
    email_sign_in.send_asked(clock=lambda: clock[0])
    return [match[0] for one in mail.outbox for match in [re.search(r"/sign-in/link/[\w-]+/", str(one.body))] if match]


def without_csrf(response: Any) -> str:
    return re.sub(r'name="csrfmiddlewaretoken" value="[^"]+"', "", response.content.decode())


def test_the_button_signs_in_once_and_to_the_inbox_alone(rosa: User, clock: list[datetime]) -> None:
    """Other roles of the account need the password; the control with the password opens what the link does not."""
    ask()
    (link,) = send(clock)
    assert mail.outbox[0].to == [ADDRESS]
    client = Client()
    assert client.post(link).headers["Location"] == reverse("patients_to_rate", args=["OWN"])
    assert client.get(reverse("patients_to_rate", args=["OWN"])).status_code == 200
    for name in FOR_OTHERS:
        refused = client.get(reverse(name, args=["OWN"]))
        assert refused.status_code == 403, name
    assert client.get("/admin/").status_code == 403
    assert Client().post(link).status_code == 410
    assert [event.actor for event in AuditEvent.objects.filter(action="use sign-in link")] == [rosa]
    by_password = Client()
    by_password.force_login(rosa)
    assert {by_password.get(reverse(name, args=["OWN"])).status_code for name in FOR_OTHERS} == {200}


def test_looking_at_the_link_uses_nothing_up(rosa: User, clock: list[datetime]) -> None:
    """A mail scanner opens it, twice and by HEAD: nobody is signed in, and the person still is after the button."""
    ask()
    (link,) = send(clock)
    scanner = Client()
    for method in (scanner.get, scanner.get, scanner.head):
        assert method(link).status_code == 200
    assert "_auth_user_id" not in scanner.session
    assert Client().post(link).status_code == 302


def test_a_link_needs_the_page_s_own_form(rosa: User, clock: list[datetime]) -> None:
    """Another site cannot press the button for somebody: the form's token is asked for."""
    ask()
    (link,) = send(clock)
    assert Client(enforce_csrf_checks=True).post(link).status_code == 403
    assert Client().post(link).status_code == 302


def test_after_a_quarter_of_an_hour_it_is_over(rosa: User, clock: list[datetime]) -> None:
    """Page and button say so and offer another; one that was never made answers alike."""
    ask()
    (link,) = send(clock)
    clock[0] += email_sign_in.VALID
    bodies = set()
    for address in (link, reverse("email_sign_in_use", args=["x" * 22])):
        for response in (Client().get(address), Client().post(address)):
            assert response.status_code == 410
            bodies.add(without_csrf(response))
    assert len(bodies) == 1


def test_the_answer_does_not_tell_whether_there_is_an_account(rosa: User, clock: list[datetime]) -> None:
    """A clinician's address, a colleague's who rates nobody, nobody's: the same page; only the first gets mail."""
    desk = make_user("desk")
    User.objects.filter(pk=desk.pk).update(email="desk@example.org")
    pages = set()
    for address in (ADDRESS, ADDRESS.lower(), "desk@example.org", "nobody@example.org"):
        response = ask(address)
        assert response.redirect_chain == [("/sign-in/link/?asked=1", 302)]
        pages.add(without_csrf(response))
    assert len(pages) == 1
    assert len(send(clock)) == 2
    assert Client().post(reverse("email_sign_in"), {"email": "no address"}).status_code == 422


def test_asking_often_floods_no_mailbox_and_locks_nobody_out(rosa: User, clock: list[datetime]) -> None:
    """A few an hour; every one of them works, whoever asked for it, and an hour later there are new ones."""
    for _ in range(20):
        ask()
    links = send(clock)
    assert len(links) == email_sign_in.MOST_AN_HOUR
    assert Client().post(links[0]).status_code == 302
    assert Client().post(links[-1]).status_code == 302
    clock[0] += timedelta(hours=1, seconds=1)
    ask()
    assert len(send(clock)) == 1


def test_only_the_hash_is_kept_and_no_log_tells_a_link(rosa: User, clock: list[datetime]) -> None:
    """Nothing in the database or the trail holds the secret; it has 128 bits."""
    ask()
    (link,) = send(clock)
    token = link.strip("/").split("/")[-1]
    assert len(token) == 22
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM studies_emailsignin")
        assert token not in str(cursor.fetchall())
    assert all(token not in event.record for event in AuditEvent.objects.all())
    record = logging.LogRecord("x", logging.INFO, "x", 1, "GET %s", (link,), None)
    WithoutLinks().filter(record)
    assert token not in record.getMessage()


def test_a_mail_that_fails_is_sent_later_and_none_twice(
    rosa: User, clock: list[datetime], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The row is the queue: the next sweep tries again, and the one after it has nothing to do."""
    ask()

    def refuse(*args: object, **kwargs: object) -> None:
        raise OSError("no mail server")

    with monkeypatch.context() as patched:
        patched.setattr(email_sign_in, "send_mail", refuse)
        assert send(clock) == []
    assert len(send(clock)) == 1
    assert send(clock) == []


@pytest.mark.parametrize("change", ["switched off", "untied"])
def test_a_link_ends_with_the_account_s_part(rosa: User, clock: list[datetime], change: str) -> None:
    """Between sending and pressing the button the account may lose its part."""
    ask()
    (link,) = send(clock)
    if change == "switched off":
        User.objects.filter(pk=rosa.pk).update(is_active=False)
    else:
        Clinician.objects.update(user=None)
    assert Client().get(link).status_code == 410
    assert Client().post(link).status_code == 410
    assert EmailSignIn.objects.get().used_at is None


def test_the_session_ends_like_others(rosa: User, clock: list[datetime], settings: Any) -> None:
    """After the idle time the inbox asks for a sign-in again; a second factor that the account has is no hindrance."""
    SecondFactor.objects.create(user=rosa, secret="x", confirmed_at=clock[0])
    ask()
    (link,) = send(clock)
    client = Client()
    client.post(link)
    page = reverse("patients_to_rate", args=["OWN"])
    assert client.get(page).status_code == 200
    clock[0] += timedelta(seconds=settings.SESSION_IDLE_SECONDS + 1)
    assert client.get(page).headers["Location"].startswith(reverse("login"))
