"""Invitations by e-mail: a role waits behind a link that opens once."""

import hashlib
import secrets
from datetime import datetime, timedelta

from django.conf import settings
from django.contrib.auth.models import User
from django.core.mail import send_mail
from django.db import transaction
from django.template.loader import render_to_string

from studies import audit
from studies.models import Clinician, Invitation, Member, Site, Study
from studies.setup import add_member

VALID_DAYS = 14


class InvitationGone(Exception):
    """The invitation was taken up or withdrawn a moment ago, or its time is over."""


def invite(
    *,
    study: Study,
    email: str,
    role: str,
    export: str,
    site: Site | None,
    clinician: Clinician | None,
    actor: User,
    now: datetime,
) -> Invitation:
    """Keep the invitation and send its link. If the mail cannot be sent, nothing is kept and the error goes on."""
    token = secrets.token_urlsafe(24)
    with transaction.atomic():
        invitation = Invitation.objects.create(
            study=study,
            email=email,
            role=role,
            export=export,
            site=site,
            clinician=clinician,
            token_hash=_hash(token),
            invited_by=actor,
            invited_at=now,
            expires_at=now + timedelta(days=VALID_DAYS),
        )
        detail = {"invitation": invitation.pk, "role": role, "site": site.code if site else None, "export": export}
        audit.record(study=study, actor=actor, action="invite", detail=detail, now=now)
        context = {
            "invitation": invitation,
            "study": study,
            "link": f"{settings.BASE_URL.rstrip('/')}/invitations/{token}/",
        }
        subject, _, text = render_to_string("studies/invitation.txt", context).partition("\n")
        send_mail(subject.strip(), text.strip() + "\n", settings.DEFAULT_FROM_EMAIL, [email])
    return invitation


def open_invitation(token: str, *, now: datetime) -> Invitation | None:
    """The invitation behind a link, as long as it can be taken up."""
    return (
        Invitation.objects.filter(token_hash=_hash(token), taken_at=None, expires_at__gt=now)
        .select_related("study", "site", "clinician")
        .first()
    )


@transaction.atomic
def take_up(*, invitation: Invitation, username: str, new_password: str, now: datetime) -> Member:
    """Give the role to the account, which is made unless it is there; the link opens no more.

    Raises `InvitationGone`.
    """
    taken = Invitation.objects.filter(pk=invitation.pk, taken_at=None, expires_at__gt=now).update(taken_at=now)
    if not taken:
        raise InvitationGone
    member = add_member(
        study=invitation.study,
        username=username,
        new_password=new_password,
        role=invitation.role,
        site=invitation.site,
        clinician=invitation.clinician,
        export=invitation.export,
        actor=invitation.invited_by,
        now=now,
    )
    if not member.user.email:
        member.user.email = invitation.email
        member.user.save(update_fields=["email"])
    return member


@transaction.atomic
def withdraw(*, invitation: Invitation, actor: User, now: datetime) -> None:
    """The link opens no more."""
    detail = {"invitation": invitation.pk, "role": invitation.role}
    audit.record(study=invitation.study, actor=actor, action="withdraw invitation", detail=detail, now=now)
    invitation.delete()


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
