"""Signing in: guessing is slowed, sessions end, a second factor where it is needed, invitations by e-mail."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.contrib.auth.models import User
from django.core import mail
from django.test import Client
from django.urls import reverse
from django_otp.oath import TOTP

from studies import audit, second_factor, sessions, throttle
from studies.models import AuditEvent, Invitation, Member, SecondFactor, SignInFailures
from studies.sealing import CannotUnseal, seal, unseal
from tests.factories import NOW, PASSWORD, StudyKit, make_member, make_study, make_user

pytestmark = pytest.mark.django_db


@pytest.fixture
def kit() -> StudyKit:
    return make_study("OWN", n_sites=2)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[datetime]:
    """What time it is for the pages; tests move it."""
    now = [datetime.now(UTC)]
    monkeypatch.setattr("django.utils.timezone.now", lambda: now[0])
    return now


def sign_in(client: Client, username: str, password: str = PASSWORD, **headers: str) -> bool:
    """Whether it worked."""
    response = client.post(reverse("login"), {"username": username, "password": password}, **headers)  # type: ignore[arg-type]
    return response.status_code == 302


# --- guessing ---


def test_a_guesser_never_gets_in_whatever_address_it_claims(kit: StudyKit, clock: list[datetime]) -> None:
    """Forged forwarding headers and fresh browsers count together; even the right password has to wait then."""
    make_member(kit, Member.Role.COORDINATOR, username="cora")
    for number in range(30):
        forged = {"HTTP_X_FORWARDED_FOR": f"10.0.0.{number}", "REMOTE_ADDR": f"192.0.2.{number}"}
        assert not sign_in(Client(), "cora", f"guess {number}", **forged)
    assert not sign_in(Client(), "cora")
    row = SignInFailures.objects.get()
    assert (row.failures, row.browser) == (second_factor.FREE_FAILURES, "")
    clock[0] += timedelta(minutes=16)
    assert sign_in(Client(), "cora")
    assert not SignInFailures.objects.exists()


def test_a_hundred_thousand_guesses_in_a_day_are_a_few_dozen_tries() -> None:
    """The waiting grows to a quarter of an hour: one guess each second makes little more than a hundred tries a day."""
    account, browser = throttle.account_hash("cora"), throttle.Browser()
    tries, now = 0, NOW
    blocked_until = NOW
    for second in range(86_400):
        now = NOW + timedelta(seconds=second)
        if now < blocked_until:
            continue
        tries += 1
        throttle.failed(account=account, browser=browser, now=now)
        blocked_until = SignInFailures.objects.get().blocked_until or now
    assert tries < 110


def test_guessing_shuts_no_waiting_room(kit: StudyKit, clock: list[datetime]) -> None:
    """Same address: colleagues sign in, and the person, too, in the browser that is used at the desk every day."""
    make_member(kit, Member.Role.COORDINATOR, username="cora")
    make_user("colleague")
    desk = Client()
    assert sign_in(desk, "cora")
    desk.post(reverse("logout"))
    for number in range(10):
        sign_in(Client(), "cora", f"guess {number}")
    assert not sign_in(Client(), "cora")
    assert sign_in(Client(), "colleague")
    assert sign_in(desk, "cora")


def test_a_forged_cookie_makes_no_browser_known(kit: StudyKit, clock: list[datetime]) -> None:
    """Neither unsigned nor another's: it counts as a stranger's."""
    make_member(kit, Member.Role.COORDINATOR, username="cora")
    make_user("mallory")
    mallory = Client()
    assert sign_in(mallory, "mallory")
    mallory.post(reverse("logout"))
    forged = Client()
    forged.cookies[django_settings.KNOWN_BROWSER_COOKIE] = '["x","' + throttle.account_hash("cora") + '"]'
    for client in (mallory, forged):
        for number in range(4):
            sign_in(client, "cora", f"guess {number}")
    assert [row.browser for row in SignInFailures.objects.all()] == [""]


def test_what_is_typed_is_never_stored(kit: StudyKit, clock: list[datetime]) -> None:
    """People type their password where the name belongs: only a hash of it is counted."""
    sign_in(Client(), "my secret password", "x")
    assert "secret" not in SignInFailures.objects.get().account
    assert not AuditEvent.objects.filter(record__contains="my secret").exists()


# --- how long a session lasts ---


def test_a_session_ends_when_nobody_uses_it_and_in_any_case_after_a_day(kit: StudyKit, clock: list[datetime]) -> None:
    """Half an hour idle, eight hours in all; then the sign-in leads back to the page. The trail says so."""
    make_member(kit, Member.Role.COORDINATOR, username="cora")
    page = reverse("visits", args=["OWN"])
    client = Client()
    sign_in(client, "cora")
    clock[0] += timedelta(minutes=29)
    assert client.get(page).status_code == 200
    clock[0] += timedelta(minutes=31)
    ended = client.get(page)
    assert ended.headers["Location"] == f"{reverse('login')}?next={page.replace('/', '%2F')}"
    assert "nobody used this page" in client.get(ended.headers["Location"]).content.decode()
    sign_in(client, "cora")
    for _ in range(24):
        assert client.get(page).status_code == 200
        clock[0] += timedelta(minutes=20)
    clock[0] += timedelta(minutes=10)
    assert client.get(page).status_code == 302
    told = AuditEvent.objects.filter(action="session ended").order_by("sequence")
    assert [event.detail["because"] for event in told] == ["idle", "too long"]


# --- the second factor ---


def code_of(secret_uri: str, when: datetime, *, steps: int = 0) -> str:
    found = re.search(r"secret=([A-Z2-7]+)", secret_uri)
    assert found
    totp = TOTP(_base32(found[1]), drift=steps)
    totp.time = when.timestamp()
    return f"{totp.token():06d}"


def _base32(text: str) -> bytes:
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
    bits = "".join(f"{alphabet.index(letter):05b}" for letter in text)
    return bytes(int(bits[place : place + 8], 2) for place in range(0, len(bits) - len(bits) % 8, 8))


def set_up(user: User, now: datetime) -> tuple[str, list[str]]:
    """The app's address and the recovery codes."""
    uri = second_factor.begin(user=user).uri
    codes = second_factor.confirm(user=user, code=code_of(uri, now), now=now)
    assert codes is not None
    return uri, codes


def test_who_needs_one_where_it_is_asked_for(kit: StudyKit, settings: Any) -> None:
    """Admins, researchers and clinicians; coordinators and auditors do not, unless they have set one up."""
    users = {role: make_member(kit, role) for role in Member.Role.values}
    assert not any(sessions.needs_second_factor(user) for user in users.values())
    settings.SECOND_FACTOR_REQUIRED = True
    needs = {role for role, user in users.items() if sessions.needs_second_factor(user)}
    assert needs == {Member.Role.ADMIN, Member.Role.RESEARCHER, Member.Role.CLINICIAN}
    assert sessions.needs_second_factor(make_user("root", is_superuser=True))
    set_up(users["coordinator"], NOW)
    assert sessions.needs_second_factor(users["coordinator"])


def test_nothing_opens_before_the_code(kit: StudyKit, settings: Any, clock: list[datetime]) -> None:
    """From the password to setting up, the recovery codes, and at the next sign-in the code; GET and POST alike."""
    settings.SECOND_FACTOR_REQUIRED = True
    make_member(kit, Member.Role.ADMIN, username="ada")
    page = reverse("study_settings", args=["OWN"])
    client = Client()
    sign_in(client, "ada")
    for method in ("get", "post"):
        assert getattr(client, method)(page).headers["Location"].startswith(reverse("second_factor"))
    assert client.get(reverse("second_factor")).headers["Location"] == reverse("second_factor_setup")
    shown = client.get(reverse("second_factor_setup")).content.decode()
    assert "<svg" in shown
    secret = re.search(r'class="address">([A-Z2-7]+)<', shown)
    assert secret
    uri = f"secret={secret[1]}"
    assert client.post(reverse("second_factor_setup"), {"code": "000000"}).status_code == 422
    ready = client.post(reverse("second_factor_setup"), {"code": code_of(uri, clock[0])})
    codes = re.findall(r"<code>(\d{6}-\d{6})</code>", ready.content.decode())
    assert len(codes) == second_factor.N_RECOVERY_CODES
    assert client.get(page).status_code == 200
    again = Client()
    sign_in(again, "ada")
    assert again.get(page).status_code == 302
    assert again.post(reverse("second_factor"), {"code": code_of(uri, clock[0])}).status_code == 422  # used before
    clock[0] += timedelta(seconds=60)
    shown_code = again.post(reverse("second_factor"), {"code": code_of(uri, clock[0]), "next": page})
    assert shown_code.headers["Location"] == page
    assert again.get(page).status_code == 200
    third = Client()
    sign_in(third, "ada")
    assert third.post(reverse("second_factor"), {"code": codes[0], "next": "https://evil.example/"}).headers[
        "Location"
    ] == reverse("home")
    fourth = Client()
    sign_in(fourth, "ada")
    assert fourth.post(reverse("second_factor"), {"code": codes[0]}).status_code == 422


def test_codes_cannot_be_guessed(kit: StudyKit) -> None:
    """A thousand guesses at once: none counts after the first few; the right one has to wait as well."""
    user = make_member(kit, Member.Role.ADMIN)
    uri, _ = set_up(user, NOW)
    later = NOW + timedelta(minutes=5)
    right = code_of(uri, later)
    assert not any(
        second_factor.verify(user=user, code=f"{number:06d}", now=later)
        for number in range(50)
        if f"{number:06d}" != right
    )
    assert SecondFactor.objects.get().failures == second_factor.FREE_FAILURES
    assert not second_factor.verify(user=user, code=right, now=later)
    much_later = later + timedelta(minutes=20)
    assert second_factor.verify(user=user, code=code_of(uri, much_later), now=much_later)


def test_a_lost_device_can_be_taken_away(kit: StudyKit) -> None:
    """By somebody else, with the reason in the trail; the secret in the database is sealed."""
    user = make_member(kit, Member.Role.ADMIN)
    uri, _ = set_up(user, NOW)
    stored = SecondFactor.objects.get().secret
    assert _base32(uri.partition("secret=")[2].partition("&")[0]).hex() not in stored
    second_factor.remove(user=user, study=kit.study, actor=make_user("root"), why="phone lost", now=NOW)
    assert not second_factor.has_one(user)
    assert AuditEvent.objects.get(action="remove second factor").note.text == "phone lost"
    assert list(audit.problems()) == []


def test_an_admin_takes_a_lost_second_factor_away(kit: StudyKit) -> None:
    """Of a member of the own study, with a reason; never one's own, a stranger's or a superuser's."""
    admin = Client()
    admin.force_login(make_member(kit, Member.Role.ADMIN))
    rosa = make_member(kit, Member.Role.RESEARCHER, username="rosa")
    root = make_user("root", is_superuser=True)
    Member.objects.create(study=kit.study, user=root, role=Member.Role.AUDITOR)
    stranger = make_member(make_study("FAR"), Member.Role.RESEARCHER)
    for person in (rosa, root, stranger, User.objects.get(username="own-admin")):
        set_up(person, NOW)
    n_before = SecondFactor.objects.count()

    def page(person: User) -> str:
        return reverse("second_factor_remove", args=["OWN", Member.objects.filter(user=person).latest("pk").pk])

    for person, status in ((root, 409), (stranger, 404), (User.objects.get(username="own-admin"), 409)):
        assert admin.post(page(person), {"why": "lost"}).status_code == status
    assert "open nothing any more" in admin.get(page(rosa)).content.decode()
    assert admin.post(page(rosa), {"why": ""}).status_code == 422
    assert SecondFactor.objects.count() == n_before
    assert page(rosa) in admin.get(reverse("study_settings", args=["OWN"])).content.decode()
    assert admin.post(page(rosa), {"why": "phone stolen, called back"}).status_code == 302
    assert not second_factor.has_one(rosa)
    event = AuditEvent.objects.get(action="remove second factor")
    assert (event.study, event.detail, event.note.text) == (
        kit.study, {"account": rosa.pk}, "phone stolen, called back",
    )  # fmt: skip
    assert page(rosa) not in admin.get(reverse("study_settings", args=["OWN"])).content.decode()
    assert admin.get(page(rosa)).status_code == 200


def test_sealed_texts_open_under_old_keys_and_for_their_purpose_only(settings: Any) -> None:
    """A key that was replaced still opens; another purpose, a changed text or no key does not."""
    sealed = seal("Ñandú", purpose="one")
    old = settings.SECRET_KEY
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "another", [old]
    assert unseal(sealed, purpose="one") == "Ñandú"
    for text, purpose in ((sealed, "two"), (sealed[:-4] + "AAA=", "one"), ("", "one")):
        with pytest.raises(CannotUnseal):
            unseal(text, purpose=purpose)
    settings.SECRET_KEY_FALLBACKS = []
    with pytest.raises(CannotUnseal, match="older SECRET_KEY"):
        unseal(sealed, purpose="one")


# --- invitations ---


@pytest.fixture
def admin(kit: StudyKit) -> Client:
    client = Client()
    client.force_login(make_member(kit, Member.Role.ADMIN))
    return client


def invite(admin: Client, **data: object) -> str:
    """The path of the link in the mail."""
    response = admin.post(reverse("member_invite", args=["OWN"]), {"email": "rosa@example.org", **data})
    assert response.status_code == 302
    link = re.search(r"https?://[^/\s]+(/invitations/\S+)", mail.outbox[-1].body)
    assert link
    return link[1]


def test_an_invitation_is_taken_up_once(kit: StudyKit, admin: Client) -> None:
    """The mail goes to that address; its link makes the account with the role, and then opens no more."""
    link = invite(admin, role="researcher", export="deidentified")
    assert mail.outbox[-1].to == ["rosa@example.org"]
    assert "rosa@example.org" in admin.get(reverse("study_settings", args=["OWN"])).content.decode()
    page = Client().get(link)
    assert "Researcher" in page.content.decode()
    weak = Client().post(link, {"username": "rosa", "new_password": "short"})
    assert weak.status_code == 422
    taken = Client().post(link, {"username": "rosa", "new_password": PASSWORD})
    assert taken.headers["Location"] == reverse("login")
    member = Member.objects.get(user__username="rosa")
    assert (member.role, member.export, member.user.email) == ("researcher", "deidentified", "rosa@example.org")
    assert Client().get(link).status_code == 404
    assert sign_in(Client(), "rosa")
    assert not AuditEvent.objects.filter(record__contains="example.org").exists()


def test_an_invitation_can_be_withdrawn_and_ends(kit: StudyKit, admin: Client, clock: list[datetime]) -> None:
    """By the admin, or after two weeks; a made-up link opens nothing, and a taken name is refused."""
    link = invite(admin, role="coordinator", site=kit.sites[0].pk)
    make_user("taken")
    assert Client().post(link, {"username": "taken", "new_password": PASSWORD}).status_code == 422
    invitation = Invitation.objects.get()
    admin.post(reverse("invitation_withdraw", args=["OWN", invitation.pk]))
    assert Client().get(link).status_code == 404
    second = invite(admin, role="auditor")
    assert Client().get(second).status_code == 200
    clock[0] += timedelta(days=15)
    assert Client().get(second).status_code == 404
    assert Client().get("/invitations/nothing/").status_code == 404


def test_a_mail_that_cannot_be_sent_invites_nobody(
    kit: StudyKit, admin: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page says so; no invitation and no line in the trail is left."""

    def fail(*args: object, **kwargs: object) -> None:
        raise ConnectionRefusedError

    monkeypatch.setattr("studies.invitations.send_mail", fail)
    response = admin.post(reverse("member_invite", args=["OWN"]), {"email": "rosa@example.org", "role": "auditor"})
    assert response.status_code == 422
    assert not Invitation.objects.exists()
    assert not AuditEvent.objects.filter(action="invite").exists()


def test_django_admins_own_sign_in_is_no_second_door(client: Client) -> None:
    """It leads to the one sign-in, which knows the waiting and the second factor."""
    response = client.get("/admin/login/?next=/admin/")
    assert response.headers["Location"] == f"{reverse('login')}?next=/admin/"
