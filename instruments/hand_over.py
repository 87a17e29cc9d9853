"""Giving a patient's questionnaire to a tablet, and getting the tablet back.

The front desk asks, the tablet takes once: only then is the questionnaire's link made, so that nobody but the tablet
ever had it. It is kept sealed with the tablet's own secret, to bring a paused questionnaire back on the same tablet.
While a hand-over is open the tablet is with its patient, or locked; the PIN ends it.
"""

from datetime import datetime, timedelta

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import QuerySet

from instruments.definitions import Role
from instruments.devices import WAITS_FOR_TABLET
from instruments.models import Administration, HandOver, hash_token
from instruments.services import LinkExpired, QuestionnaireClosed, QuestionnaireUnderWay, reissue_link
from studies import audit
from studies.models import Device
from studies.sealing import CannotUnseal, seal, unseal

#: The answer to the tablet that took a questionnaire may be lost on bad Wi-Fi; so long it may ask again.
ASKS_AGAIN = timedelta(minutes=1)


class DeviceNotReady(Exception):
    """Nothing can be handed over to this tablet: it is not enrolled, or was revoked."""


@transaction.atomic
def ask(*, device: Device, administration: Administration, actor: User, now: datetime) -> HandOver:
    """Let the tablet open this questionnaire as its next one; takes the place of what waited for it before.

    Raises
    ------
    DeviceNotReady
        If the tablet is not enrolled.
    QuestionnaireClosed, LinkExpired
        If the questionnaire is finished or its time is over.
    QuestionnaireUnderWay
        If the patient has begun it elsewhere: only where it was begun can it go on.
    """
    _held(device)
    _require_open(administration, now=now)
    if administration.is_under_way_with_patient and not begun_on(administration).filter(device=device).exists():
        raise QuestionnaireUnderWay("It was begun elsewhere, and can only be continued there.")
    waiting = HandOver.objects.filter(taken_at=None, ended_at=None)
    waiting.filter(device=device).update(ended_at=now)
    waiting.filter(administration=administration).update(ended_at=now)
    hand_over = HandOver.objects.create(device=device, administration=administration, asked_by=actor, asked_at=now)
    Administration.objects.filter(pk=administration.pk).update(handed_over_at=now)
    _record(hand_over, "hand over", actor=actor, now=now)
    return hand_over


@transaction.atomic
def cancel(*, hand_over: HandOver, actor: User, now: datetime) -> bool:
    """Take back what no tablet has opened yet; whether it was in time."""
    was_waiting = HandOver.objects.filter(pk=hand_over.pk, taken_at=None, ended_at=None).update(ended_at=now)
    if was_waiting:
        Administration.objects.filter(pk=hand_over.administration_id).update(handed_over_at=None)
        _record(hand_over, "take back hand-over", actor=actor, now=now)
    return bool(was_waiting)


@transaction.atomic
def take(*, device: Device, secret: str, now: datetime) -> str | None:
    """What waits for this tablet: the secret of the questionnaire's link, made now. None when nothing does.

    Only once: after that the hand-over is open, and nothing else is taken until it is ended. `secret` is the tablet's.
    """
    held = Device.objects.select_for_update().get(pk=device.pk)
    if not held.is_enrolled or current(device) is not None:
        return None
    waiting = HandOver.objects.filter(device=device, taken_at=None, ended_at=None).first()
    if waiting is None:
        return None
    token = None
    if now - waiting.asked_at < WAITS_FOR_TABLET:
        try:
            token = _link_for(waiting, secret, now=now)
        except (QuestionnaireClosed, QuestionnaireUnderWay, LinkExpired):
            token = None
    if token is None:
        HandOver.objects.filter(pk=waiting.pk).update(ended_at=now)
        return None
    waiting.taken_at, waiting.token_hash = now, hash_token(token)
    waiting.token_box = seal(token, purpose=_purpose(secret))
    waiting.save(update_fields=["taken_at", "token_box", "token_hash"])
    _record(waiting, "open on tablet", actor=waiting.asked_by, now=now)
    return token


def _link_for(hand_over: HandOver, secret: str, *, now: datetime) -> str | None:
    administration = hand_over.administration
    _require_open(administration, now=now)
    if not administration.is_under_way_with_patient:
        return reissue_link(administration_id=administration.pk, now=now, into_hand=True)
    before = begun_on(administration).filter(device=hand_over.device).first()
    return None if before is None else token_again(before, secret)


@transaction.atomic
def open_here(*, device: Device, secret: str, token: str, with_code: bool, now: datetime) -> bool:
    """Whether a questionnaire whose link or code came to this tablet by itself may open here; then it is handed over.

    Never while another is open, and never one that this tablet had before: the way back to it is by the front desk.
    A link may come out of the browser's history, so a begun or paused questionnaire opens with its code only.
    """
    held = Device.objects.select_for_update().get(pk=device.pk)
    administration = Administration.objects.with_token(token).first()
    if not held.is_enrolled or administration is None or administration.role != Role.PATIENT:
        return False
    opened = current(device)
    if opened is not None:
        return with_code and opened.administration == administration
    if HandOver.objects.filter(device=device, administration=administration, taken_at__isnull=False).exists():
        return False
    if administration.status != Administration.Status.WAITING and not with_code:
        return False
    hand_over = HandOver.objects.create(
        device=device,
        administration=administration,
        asked_by=None,
        asked_at=now,
        taken_at=now,
        token_box=seal(token, purpose=_purpose(secret)),
        token_hash=hash_token(token),
    )
    _record(hand_over, "open on tablet", actor=None, now=now)
    return True


def current(device: Device) -> HandOver | None:
    """The questionnaire that this tablet has open, or had until its patient finished or paused: it is locked by it."""
    return (
        HandOver.objects.filter(device=device, taken_at__isnull=False, ended_at=None)
        .select_related("administration")
        .first()
    )


def waiting_for(device: Device, *, now: datetime) -> bool:
    """Whether a questionnaire waits to be opened by this tablet."""
    since = now - WAITS_FOR_TABLET
    return HandOver.objects.filter(device=device, taken_at=None, ended_at=None, asked_at__gt=since).exists()


def token_again(hand_over: HandOver, secret: str) -> str | None:
    """The secret of the link that the tablet has open; None when it leads nowhere any more."""
    try:
        token = unseal(hand_over.token_box, purpose=_purpose(secret))
    except CannotUnseal:
        return None
    return token if hash_token(token) == hand_over.administration.token_hash else None


def may_ask_again(hand_over: HandOver, *, now: datetime) -> bool:
    """Whether the tablet may just have missed the answer: it took the questionnaire, and nobody has begun it."""
    taken_at = hand_over.taken_at
    is_new = taken_at is not None and now - taken_at < ASKS_AGAIN
    return is_new and hand_over.administration.status == Administration.Status.WAITING


@transaction.atomic
def end(*, hand_over: HandOver, now: datetime) -> None:
    """The tablet is back at the front desk and ready for the next patient."""
    if HandOver.objects.filter(pk=hand_over.pk, ended_at=None).update(ended_at=now):
        _record(hand_over, "tablet back", actor=None, now=now)


@transaction.atomic
def go_on(*, hand_over: HandOver, now: datetime) -> None:
    """The patient goes on after a pause: the trail keeps that the PIN has opened a begun questionnaire."""
    _record(hand_over, "go on after pause", actor=None, now=now)


def begun_on(administration: Administration) -> "QuerySet[HandOver]":
    """Where this questionnaire is or was open under the link that it has now."""
    rows = HandOver.objects.filter(administration=administration, token_hash=administration.token_hash)
    return rows.select_related("administration")


def _purpose(secret: str) -> str:
    return f"questionnaire on tablet {secret}"


def _held(device: Device) -> Device:
    held = Device.objects.select_for_update().get(pk=device.pk)
    if not held.is_enrolled:
        raise DeviceNotReady
    return held


def _require_open(administration: Administration, *, now: datetime) -> None:
    if administration.is_completed or administration.is_declined:
        raise QuestionnaireClosed("This questionnaire is finished.")
    if administration.is_expired(now=now):
        raise LinkExpired("The time for answering this questionnaire is over.")


def _record(hand_over: HandOver, action: str, *, actor: User | None, now: datetime) -> None:
    visit = hand_over.administration.visit
    site = hand_over.device.site
    detail = {"tablet": hand_over.device.name, "site": site.code, "dyad": visit.dyad.code, "wave": visit.wave.code}
    audit.record(study=site.study, actor=actor, action=action, detail=detail, now=now)
