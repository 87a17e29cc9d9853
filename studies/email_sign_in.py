"""A clinician signs in by a link sent by e-mail: once, soon, and to the inbox alone.

Whoever asks gets the same answer, whether or not somebody has that address. Asking locks nobody out: every link that
was sent stays good until its time is over, and beyond a few an hour no further one is sent. Following the link changes
nothing (mail scanners follow links); the button on its page uses it up.
"""

import hashlib
import logging
import secrets
from collections.abc import Callable
from datetime import datetime, timedelta

from django.conf import settings
from django.contrib.auth.models import User
from django.core.mail import BadHeaderError, send_mail
from django.db import models, transaction
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import translation

from studies import audit
from studies.models import Clinician, EmailSignIn, Member

logger = logging.getLogger(__name__)

VALID = timedelta(minutes=15)
MOST_AN_HOUR = 5
KEPT = timedelta(days=1)


@transaction.atomic
def ask(*, email: str, language: str, now: datetime) -> None:
    """Let a worker send a link to each clinician's account with this address; nothing when there is none."""
    rows = [
        EmailSignIn(user=user, language=language, asked_at=now)
        for user in _clinicians_with(email)
        if EmailSignIn.objects.filter(user=user, asked_at__gt=now - timedelta(hours=1)).count() < MOST_AN_HOUR
    ]
    EmailSignIn.objects.filter(asked_at__lt=now - KEPT).delete()
    EmailSignIn.objects.bulk_create(rows)
    detail = {"accounts": [row.user_id for row in rows]}
    audit.record(study=None, actor=None, action="ask for sign-in link", detail=detail, now=now)


def _clinicians_with(email: str) -> list[User]:
    """The accounts in use with this address that rate patients."""
    users = User.objects.filter(email__iexact=email, is_active=True, memberships__role=Member.Role.CLINICIAN)
    return list(users.filter(clinicians__isnull=False).distinct().order_by("pk"))


def send_asked(*, clock: Callable[[], datetime]) -> int:
    """Send each link that was asked for and not sent yet; the number sent. Safe to run many times at once."""
    n_sent = 0
    waiting = EmailSignIn.objects.filter(token_hash=None, asked_at__gt=clock() - VALID).order_by("pk")
    for row in waiting.select_related("user"):
        token = secrets.token_urlsafe(16)
        now = clock()
        claimed = EmailSignIn.objects.filter(pk=row.pk, token_hash=None).update(
            token_hash=_hash(token), expires_at=now + VALID
        )
        if not claimed:
            continue
        try:
            _send(row, token)
        except (OSError, BadHeaderError) as error:
            logger.warning("Sign-in link %d could not be sent: %s", row.pk, type(error).__name__)
            EmailSignIn.objects.filter(pk=row.pk).update(token_hash=None, expires_at=None)
            continue
        audit.record(study=None, actor=row.user, action="send sign-in link", detail={"link": row.pk}, now=now)
        n_sent += 1
    return n_sent


def _send(row: EmailSignIn, token: str) -> None:
    with translation.override(row.language):
        context = {
            "link": settings.BASE_URL.rstrip("/") + reverse("email_sign_in_use", args=[token]),
            "minutes": VALID // timedelta(minutes=1),
        }
        subject, _, text = render_to_string("studies/email_sign_in.txt", context).partition("\n")
    send_mail(subject.strip(), text.strip() + "\n", settings.DEFAULT_FROM_EMAIL, [row.user.email])


def is_open(token: str, *, now: datetime) -> bool:
    """Whether this link signs somebody in; looking uses nothing up."""
    return _open_links(token, now=now).exists()


@transaction.atomic
def use(token: str, *, now: datetime) -> User | None:
    """The account that this link signs in, once; None when it is used, its time is over, or nobody's."""
    row = _open_links(token, now=now).select_related("user").first()
    if row is None or not EmailSignIn.objects.filter(pk=row.pk, used_at=None).update(used_at=now):
        return None
    audit.record(study=None, actor=row.user, action="use sign-in link", detail={"link": row.pk}, now=now)
    return row.user


def _open_links(token: str, *, now: datetime) -> "models.QuerySet[EmailSignIn]":
    # The account may have lost its part, or been switched off, since the link was sent.
    return EmailSignIn.objects.filter(
        token_hash=_hash(token),
        used_at=None,
        expires_at__gt=now,
        user__is_active=True,
        user__pk__in=Clinician._base_manager.filter(user__isnull=False).values("user"),
    )


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
