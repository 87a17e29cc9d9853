"""Reminders to clinicians by e-mail: a first and a second for each questionnaire, one mail a day for each clinician.

The rows are the queue. A reminder's row is unique and is made together with the mail's row before anything is sent, so
two workers cannot send it twice. A mail that the server would not take is tried again; one that was handed over never
goes again, even if the worker died before it could note so: a reminder may be lost that way, none arrives twice.
"""

import logging
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

from django.conf import settings
from django.contrib.auth.models import User
from django.core.mail import BadHeaderError, send_mail
from django.db import IntegrityError, transaction
from django.db.models import Exists, F, OuterRef, QuerySet
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone, translation

from instruments.inbox import ratings_wanted
from instruments.models import Administration, Reminder, ReminderMail
from studies import audit
from studies.models import Member, Study

logger = logging.getLogger(__name__)

LEASE_SECONDS = 120
RETRY = timedelta(minutes=30)
TRIED_FOR = timedelta(days=1)

Status = Administration.Status


def due_numbers(*, made_at: datetime, first_days: int | None, second_days: int | None, now: datetime) -> set[int]:
    """Which reminders of a questionnaire have come due; None in place of days means no such reminder."""
    days = {1: first_days, 2: second_days}
    return {number for number, wait in days.items() if wait is not None and now >= made_at + timedelta(days=wait)}


def waiting_ratings(*, now: datetime) -> "QuerySet[Administration]":
    """The clinician forms that somebody can be reminded of: open, in time, an address, and a patient who takes part."""
    is_member = Member.objects.filter(
        study=OuterRef("visit__dyad__study"), user=OuterRef("visit__dyad__clinician__user"), role=Member.Role.CLINICIAN
    )
    rows = ratings_wanted().filter(
        Exists(is_member),
        status__in=(Status.WAITING, Status.STARTED),
        expires_at__gt=now,
        visit__dyad__study__status=Study.Status.OPEN,
        visit__dyad__clinician__user__is_active=True,
    )
    return rows.exclude(visit__dyad__clinician__user__email="")


def send_due(*, owner: str, clock: Callable[[], datetime]) -> int:
    """Make the mails that are due and send whatever waits; the number sent. Safe to run many times at once."""
    _make_due(now=clock())
    n_sent = 0
    waiting = ReminderMail.objects.due(now=clock()).filter(made_at__gt=clock() - TRIED_FOR)
    for pk in list(waiting.order_by("pk").values_list("pk", flat=True)):
        if ReminderMail.objects.claim(pk=pk, owner=owner, now=clock(), seconds=LEASE_SECONDS):
            n_sent += _send(pk, owner=owner, now=clock())
    return n_sent


def _make_due(*, now: datetime) -> None:
    due: dict[int, set[tuple[int, int]]] = {}
    study = "visit__dyad__study__"
    rows = waiting_ratings(now=now).values_list(
        "pk",
        "visit__dyad__clinician__user",
        "visit__created_at",
        f"{study}first_reminder_days",
        f"{study}second_reminder_days",
    )
    reminded = set(
        Reminder.objects.filter(administration__in=waiting_ratings(now=now)).values_list("administration", "number")
    )
    for pk, user_id, made_at, first_days, second_days in rows:
        numbers = due_numbers(made_at=made_at, first_days=first_days, second_days=second_days, now=now)
        due.setdefault(user_id, set()).update({(pk, number) for number in numbers} - reminded)
    for user_id, reminders in sorted(due.items()):
        if reminders:
            _make(user_id, reminders, now=now)


def _make(user_id: int, reminders: set[tuple[int, int]], *, now: datetime) -> None:
    """Claim the day and the reminders together; nothing when the day, or one of them, is another worker's."""
    try:
        with transaction.atomic():
            mail = ReminderMail.objects.create(user_id=user_id, day=timezone.localdate(now), made_at=now)
            Reminder.objects.bulk_create(
                Reminder(administration_id=pk, number=number, mail=mail) for pk, number in sorted(reminders)
            )
    except IntegrityError:
        return


def _send(pk: int, *, owner: str, now: datetime) -> int:
    mail = ReminderMail.objects.select_related("user").get(pk=pk)
    counts = _counts(mail.user, now=now)
    if not counts:  # everything was finished since the mail was made
        ReminderMail.objects.held(pk=pk, owner=owner).delete()
        return 0
    if not ReminderMail.objects.held(pk=pk, owner=owner).update(sending_at=now):
        return 0
    subject, text = _words(counts)
    try:
        send_mail(subject, text, settings.DEFAULT_FROM_EMAIL, [mail.user.email])
    except (OSError, BadHeaderError) as error:
        logger.warning("Reminder mail %d could not be sent: %s", pk, type(error).__name__)
        ReminderMail.objects.filter(pk=pk, lease_owner=owner).update(
            sending_at=None, error=type(error).__name__, lease_expires_at=now + RETRY
        )
        return 0
    with transaction.atomic():
        ReminderMail.objects.filter(pk=pk).update(sent_at=now, error="")
        detail = {"account": mail.user_id, "patients": sum(counts.values())}
        audit.record(study=None, actor=None, action="remind clinician", detail=detail, now=now)
    return 1


def _counts(user: User, *, now: datetime) -> dict[str, int]:
    """How many patients wait for this person, by study."""
    own = waiting_ratings(now=now).filter(visit__dyad__clinician__user=user)
    counts: dict[str, int] = {}
    for code in own.annotate(study_code=F("visit__dyad__study__code")).values_list("study_code", flat=True):
        counts[code] = counts.get(code, 0) + 1
    return counts


def _words(counts: Mapping[str, int]) -> tuple[str, str]:
    """Subject and text, in every language of the site: nobody has said which one the clinician reads."""
    links = [settings.BASE_URL.rstrip("/") + reverse("patients_to_rate", args=[code]) for code in sorted(counts)]
    subjects, texts = [], []
    for language, _name in settings.LANGUAGES:
        with translation.override(language):
            context = {"n_patients": sum(counts.values()), "links": links}
            subject, _, text = render_to_string("instruments/reminder.txt", context).partition("\n")
        subjects.append(subject.strip())
        texts.append(text.strip())
    return " · ".join(subjects), "\n\n---\n\n".join(texts) + "\n"
