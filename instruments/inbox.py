"""The clinician's inbox: which patients wait, the way in that leaves e-mailed links alone, labels, and "I can't"."""

import base64
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet
from django.utils.crypto import salted_hmac

from instruments.definitions import Role
from instruments.models import Administration, RatingPass, hash_token
from instruments.opening import locked_administration
from instruments.services import AnswerRefused, LinkExpired, QuestionnaireClosed
from studies import audit
from studies.access import StudyAccess
from studies.models import Dyad, DyadLabel
from studies.sealing import CannotUnseal, seal, unseal

#: From how many days before the end on a waiting patient stands out.
NEAR_DAYS = 5
MAXIMUM_LABEL = 60
PURPOSE = "private label"

Status = Administration.Status


class UnknownReason(AnswerRefused):
    """The reason is not on the list."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """One patient in the inbox."""

    form: Administration
    label: str  # the clinician's own; empty without one
    takes_label: bool  # whether the site allows one
    days_left: int  # whole days until the questionnaire closes; 0: today

    @property
    def is_near(self) -> bool:
        return self.days_left <= NEAR_DAYS


@dataclass(frozen=True, slots=True, kw_only=True)
class Inbox:
    """What a clinician sees: whoever waits, whom they said they can't rate, and how many are done."""

    waiting: list[Waiting]
    declined: list[Waiting]
    n_done: int


def ratings_wanted() -> "QuerySet[Administration]":
    """The clinician forms about patients who take part; nobody rates a patient who has declined."""
    declined = Administration.objects.filter(visit=OuterRef("visit"), role=Role.PATIENT, status=Status.DECLINED)
    rows: QuerySet[Administration] = Administration.objects.filter(
        ~Exists(declined), role=Role.CLINICIAN, visit__non_participation=None
    )
    return rows


def ratings_of(user: User, access: StudyAccess) -> "QuerySet[Administration]":
    """The clinician forms about this person's own patients, oldest visit first. No answer is among what is read."""
    own = (
        ratings_wanted()
        .filter(visit__dyad__study=access.study, visit__dyad__clinician__user=user)
        .select_related("visit__dyad__patient", "visit__dyad__clinician__site", "visit__wave")
        .defer("answers")
    )
    return access.within_sites(own, "visit__dyad__clinician__site").order_by("visit__visit_date", "pk")


def inbox_of(user: User, access: StudyAccess, *, now: datetime) -> Inbox:
    """This person's patients, in three queries however many there are."""
    own = ratings_of(user, access)
    forms = list(own.exclude(status=Status.COMPLETED).filter(expires_at__gt=now))
    labels = labels_of(user, [form.visit.dyad_id for form in forms])
    rows = [_waiting(form, labels, now=now) for form in forms]
    return Inbox(
        waiting=[row for row in rows if row.form.status != Status.DECLINED],
        declined=[row for row in rows if row.form.status == Status.DECLINED],
        n_done=own.filter(status=Status.COMPLETED).count(),
    )


def _waiting(form: Administration, labels: Mapping[int, str], *, now: datetime) -> Waiting:
    takes_label = form.visit.dyad.clinician.site.allows_private_labels
    return Waiting(
        form=form,
        label=labels.get(form.visit.dyad_id, "") if takes_label else "",
        takes_label=takes_label,
        days_left=(form.expires_at - now) // timedelta(days=1),
    )


# --- the way in ---


def pass_for(*, administration: Administration, user: User, now: datetime) -> str:
    """The secret that opens this questionnaire for the signed-in clinician; links given before go on working.

    The same person gets the same secret each time, so that what waits unsent on a device is found again. It follows
    from the installation's key and is not stored: the database recognises it by its hash.
    """
    digest = salted_hmac("instruments.inbox pass", f"{administration.pk} {user.pk}", algorithm="sha256").digest()
    token = base64.urlsafe_b64encode(digest[:16]).decode().rstrip("=")
    RatingPass.objects.get_or_create(
        token_hash=hash_token(token), defaults={"administration": administration, "user": user, "made_at": now}
    )
    return token


def clinician_of(administration: Administration, token: str) -> User | None:
    """Whose pass this secret is; None when it is a link, which names nobody."""
    token_hash = hash_token(token)
    if administration.token_hash == token_hash:
        return None
    row = RatingPass.objects.in_use().select_related("user").filter(token_hash=token_hash).first()
    return None if row is None else row.user


# --- "I can't rate this patient" ---


@transaction.atomic
def decline_rating(*, administration_id: int, reason: str, actor: User | None, now: datetime) -> None:
    """End a clinician's questionnaire without a rating, and keep why. Saying it again changes the reason.

    Answers given so far stay in the log and count for nothing. Until the questionnaire's time is over it can be taken
    up again.

    Raises
    ------
    UnknownReason
        If the reason is not one of `Administration.CannotRate`.
    QuestionnaireClosed, LinkExpired
        If it is finished, or its time is over.
    """
    if reason not in Administration.CannotRate.values:
        raise UnknownReason(f"The reason must be one of {', '.join(Administration.CannotRate.values)}.")
    form = _held_rating(administration_id, now=now)
    form.status, form.cannot_rate = Status.DECLINED, reason
    form.save(update_fields=["status", "cannot_rate"])
    _note(form, "cannot rate", {"reason": reason}, actor=actor, now=now)


@transaction.atomic
def rate_after_all(*, administration_id: int, actor: User | None, now: datetime) -> None:
    """Take a declined rating up again, where it was left. Raises as `decline_rating`."""
    form = _held_rating(administration_id, now=now)
    if form.status != Status.DECLINED:
        return
    form.status, form.cannot_rate = Status.STARTED if form.started_at else Status.WAITING, None
    form.save(update_fields=["status", "cannot_rate"])
    _note(form, "rate after all", {}, actor=actor, now=now)


def _held_rating(administration_id: int, *, now: datetime) -> Administration:
    form = locked_administration(administration_id)
    if form.role != Role.CLINICIAN:
        raise QuestionnaireClosed("Only a clinician can say that a patient can't be rated.")
    if form.is_completed:
        raise QuestionnaireClosed("This questionnaire is finished; its answers can no longer change.")
    if form.is_expired(now=now):
        raise LinkExpired("The time for answering this questionnaire is over.")
    return form


def _note(form: Administration, action: str, detail: Mapping[str, str], *, actor: User | None, now: datetime) -> None:
    dyad = form.visit.dyad
    detail = {"dyad": dyad.code, "wave": form.visit.wave.code, **detail}
    audit.record(study=dyad.study, actor=actor, action=action, detail=detail, now=now)


# --- private labels ---


def labels_of(user: User, dyad_ids: Iterable[int]) -> dict[int, str]:
    """What this person calls these dyads' patients; one that does not open any more is as good as none."""
    found = {}
    for dyad_id, sealed in DyadLabel.objects.filter(user=user, dyad__in=dyad_ids).values_list("dyad", "sealed_text"):
        try:
            found[dyad_id] = unseal(sealed, purpose=PURPOSE)
        except CannotUnseal:
            continue
    return found


@transaction.atomic
def set_label(*, dyad: Dyad, user: User, text: str, now: datetime) -> None:
    """Keep what this person calls the patient; a blank text takes it away. The audit trail never tells the text."""
    text = " ".join(text.split())[:MAXIMUM_LABEL]
    if text:
        DyadLabel.objects.update_or_create(dyad=dyad, user=user, defaults={"sealed_text": seal(text, purpose=PURPOSE)})
    else:
        DyadLabel.objects.filter(dyad=dyad, user=user).delete()
    detail = {"dyad": dyad.code, "label": "set" if text else "removed"}
    audit.record(study=dyad.study, actor=user, action="private label", detail=detail, now=now)
