"""Reminders by e-mail: when, to whom, once; no patient's data; nothing when everything is done."""

from datetime import datetime, timedelta

import pytest
from django.contrib.auth.models import User
from django.core import mail
from django.core.management import call_command

from instruments import reminders
from instruments.definitions import Role
from instruments.inbox import decline_rating
from instruments.models import Administration, Reminder, ReminderMail
from instruments.reminders import due_numbers, send_due
from studies.models import AuditEvent, Member, Study
from tests.factories import NOW, StudyKit, administration_of, finish, make_member, make_study, make_visit

pytestmark = pytest.mark.django_db


@pytest.fixture
def kit() -> StudyKit:
    """Two clinicians, each with an address."""
    kit = make_study("OWN", n_clinicians=2, form="short")
    for number, clinician in enumerate(kit.clinicians):
        user = make_member(kit, Member.Role.CLINICIAN, username=f"doctor{number}", clinician=clinician)
        User.objects.filter(pk=user.pk).update(email=f"doctor{number}@example.org")
    return kit


def run(*, days: float, owner: str = "test") -> list[str]:
    """Who got a mail that many days after the visits were made."""
    mail.outbox.clear()
    send_due(owner=owner, clock=lambda: NOW + timedelta(days=days))
    return sorted(one.to[0] for one in mail.outbox)


@pytest.mark.parametrize(
    ("first", "second", "days", "due"),
    [
        (3, 7, 2.9, set()),
        (3, 7, 3, {1}),
        (3, 7, 8, {1, 2}),
        (None, 7, 8, {2}),
        (3, None, 8, {1}),
        (None, None, 99, set()),
    ],
)
def test_when_a_reminder_is_due(first: int | None, second: int | None, days: float, due: set[int]) -> None:
    """So many days after the visit was made; blank is never."""
    now = NOW + timedelta(days=days)
    assert due_numbers(made_at=NOW, first_days=first, second_days=second, now=now) == due


def test_a_first_and_a_second_and_no_third(kit: StudyKit) -> None:
    """Hourly runs over a month bring each clinician with a patient two mails; whoever has none gets none."""
    make_visit(kit)
    got = [(day, who) for day in range(30) for hour in range(8, 12) for who in run(days=day + hour / 24)]
    assert got == [(3, "doctor0@example.org"), (7, "doctor0@example.org")]
    assert Reminder.objects.count() == 2


def test_one_mail_a_day_whatever_comes_due(kit: StudyKit) -> None:
    """Four patients on one day are one mail with a count; what comes due later that day waits for the next."""
    for hours in (0, 1, 2, 8):
        make_visit(kit, now=NOW + timedelta(hours=hours))
    assert run(days=3 + 3 / 24) == ["doctor0@example.org"]
    assert "4 patients wait" in mail.outbox[0].subject
    assert run(days=3 + 9 / 24) == []
    assert run(days=4) == ["doctor0@example.org"]


def test_a_mail_tells_a_count_and_the_way_to_the_inbox(kit: StudyKit) -> None:
    """In both languages; no study code of a patient, no dyad, no questionnaire's link."""
    created = make_visit(kit)
    run(days=3)
    text = f"{mail.outbox[0].subject}\n{mail.outbox[0].body}"
    assert "/studies/OWN/rate/" in text
    assert "1 patient waits" in text
    assert "1 paciente espera" in text
    for secret in (created.visit.dyad.code, created.visit.dyad.patient.code, created.clinician_token, "/q/"):
        assert secret not in text
    event = AuditEvent.objects.get(action="remind clinician")
    assert event.detail == {"account": kit.clinicians[0].user_id, "patients": 1}


@pytest.mark.parametrize(
    "end", ["finished", "can't rate", "expired", "patient declined", "study closed", "no member", "no address", "off"]
)
def test_nothing_more_once_it_is_settled(kit: StudyKit, end: str) -> None:
    """Done, declined, over, withdrawn, closed: no second reminder. The control is the first one, which was sent."""
    created = make_visit(kit)
    form = administration_of(created, Role.CLINICIAN)
    assert run(days=3) == ["doctor0@example.org"]
    users = User.objects.filter(clinicians=kit.clinicians[0])
    match end:
        case "finished":
            finish(created, Role.CLINICIAN)
        case "can't rate":
            decline_rating(administration_id=form.pk, reason="left", actor=None, now=NOW)
        case "expired":
            Administration.objects.filter(pk=form.pk).update(expires_at=NOW + timedelta(days=5))
        case "patient declined":
            Administration.objects.filter(visit=created.visit, role="patient").update(status="declined")
        case "study closed":
            Study.objects.update(status=Study.Status.CLOSED)
        case "no member":
            Member.objects.all().delete()
        case "no address":
            users.update(email="")
        case "off":
            users.update(is_active=False)
    assert run(days=7) == []


def test_a_form_finished_between_making_and_sending_is_not_asked_for(kit: StudyKit) -> None:
    """The count is taken when the mail goes; with nobody left it does not go, and the row is gone."""
    created = make_visit(kit)
    reminders._make_due(now=NOW + timedelta(days=3))
    assert ReminderMail.objects.count() == 1
    finish(created, Role.CLINICIAN)
    assert run(days=3) == []
    assert not ReminderMail.objects.exists()


def test_two_workers_send_one(kit: StudyKit, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second worker that starts while the first one is sending finds the row taken."""
    make_visit(kit)
    real = reminders.send_mail
    seen: list[int] = []

    def sending(*args: object, **kwargs: object) -> int:
        seen.append(send_due(owner="second", clock=lambda: NOW + timedelta(days=3, minutes=10)))
        return real(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(reminders, "send_mail", sending)
    assert run(days=3, owner="first") == ["doctor0@example.org"]
    assert seen == [0]


def test_without_the_claim_two_workers_send_two(kit: StudyKit, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: were every row due to everybody, the second worker would send as well."""
    make_visit(kit)
    real = reminders.send_mail
    calls: list[int] = []

    def sending(*args: object, **kwargs: object) -> int:
        if not calls:
            calls.append(1)
            send_due(owner="second", clock=lambda: NOW + timedelta(days=3, minutes=10))
        return real(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(reminders, "send_mail", sending)
    monkeypatch.setattr(reminders.ReminderMail.objects.all().__class__, "unfinished", lambda self: self.all())
    assert len(run(days=3, owner="first")) == 2


def test_a_mail_server_that_refuses_is_tried_again(kit: StudyKit, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a pause, and no mail is lost; a worker that died while handing over is not repeated."""
    make_visit(kit)

    def refuse(*args: object, **kwargs: object) -> None:
        raise OSError("no mail server")

    with monkeypatch.context() as patched:
        patched.setattr(reminders, "send_mail", refuse)
        assert run(days=3) == []
    assert ReminderMail.objects.get().error == "OSError"
    assert run(days=3.01) == []
    assert run(days=3.05) == ["doctor0@example.org"]
    ReminderMail.objects.update(sent_at=None, lease_expires_at=None)
    assert run(days=3.5) == []


def test_the_command_sends_what_is_due(kit: StudyKit, capsys: pytest.CaptureFixture[str]) -> None:
    """By hand or by cron, as the worker does it."""
    make_visit(kit, now=datetime.now(NOW.tzinfo) - timedelta(days=4))
    call_command("send_reminders")
    assert capsys.readouterr().out == "1 reminders were sent.\n"
    call_command("send_reminders")
    assert capsys.readouterr().out == "0 reminders were sent.\n"
