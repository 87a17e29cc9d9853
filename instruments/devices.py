"""Tablets that a site has enrolled: how one becomes one, its PIN, what it reports, and which need a hand.

A tablet is known by a secret in its cookie, never by an address, which all of a clinic's share. It holds no staff
session: all it can do is open what was handed over to it (`instruments.hand_over`).
"""

import re
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from itertools import pairwise

from django.contrib.auth.hashers import check_password, make_password
from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import F, FilteredRelation, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Greatest

from instruments import codes
from instruments.models import Administration, AnswerEvent, HandOver, hash_token
from studies import audit
from studies.models import Device, Site, Study
from studies.second_factor import waits_until

OFFER_VALID = timedelta(minutes=60)
#: A report of answers that wait, or a questionnaire that the tablet has not opened, is no worry before that.
PATIENCE = timedelta(minutes=2)
#: A tablet with a patient reports every minute; after this long it is off, away or without a connection.
SILENCE = timedelta(minutes=15)
#: How long a questionnaire waits for its tablet to open it: not until the next patient holds it.
WAITS_FOR_TABLET = timedelta(minutes=30)
#: A sign of life is written down at most so often.
NOTE_EVERY = timedelta(seconds=30)
MOST_REPORTED = 1_000_000

_PIN = re.compile(r"[0-9]{4,8}\Z")


class OfferGone(Exception):
    """The link or code enrols no tablet: it was used, replaced, mistyped, or its time is over."""


class WrongPin(Exception):
    """The PIN is wrong; the try was counted."""


class PinMustWait(Exception):
    """Too many wrong PINs were typed on this tablet; nothing was tried. `wait` says how long."""

    def __init__(self, wait: timedelta) -> None:
        super().__init__("Too many wrong PINs on this tablet.")
        self.wait = wait


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """What enrols a tablet, once: the secret of a link, or a code to type. Neither is kept, only their hashes."""

    device: Device
    token: str
    code: str


class Need(Enum):
    """Why somebody should look after a tablet."""

    UNSENT = "unsent"  # answers have been waiting on it
    REFUSED = "refused"  # the server would not take answers, and nobody has noted it
    NOT_OPENED = "not opened"  # a questionnaire was handed over to it, and it does not open it
    SILENT = "silent"  # it is with a patient, and nothing is heard of it


class State(Enum):
    """What a tablet is doing."""

    OFFERED = "offered"  # its link or code was not opened on a tablet yet
    READY = "ready"
    ASKED = "asked"  # a questionnaire waits to be opened by it
    WITH_PATIENT = "with patient"
    LOCKED = "locked"  # the patient has finished; the PIN brings it back
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceState:
    """One tablet as the front desk sees it. `dyad` is the study code of whom it is with, or waits to be given to."""

    device: Device
    state: State
    needs: tuple[Need, ...]
    dyad: str = ""
    since: datetime | None = None  # when the questionnaire was handed over or opened


# --- which tablets ---


def devices_needing_a_hand(study: Study, *, now: datetime) -> list[DeviceState]:
    """The study's tablets, at the sites in reach, that somebody should look after; in one query."""
    return [one for one in device_states(study, now=now) if one.needs]


def device_states(study: Study, *, now: datetime) -> list[DeviceState]:
    """Every tablet of the study, at the sites in reach, by site and name; revoked ones only while they need a hand."""
    states = [_state_of(device, now=now) for device in _with_hand_overs(Device.objects.filter(site__study=study))]
    return [one for one in states if one.needs or one.state is not State.REVOKED]


def _with_hand_overs(devices: "QuerySet[Device]") -> "QuerySet[Device]":
    """With the one questionnaire that each has open, the one that waits for it, and when something was last heard."""
    is_open = Q(hand_overs__taken_at__isnull=False, hand_overs__ended_at=None)
    is_asked = Q(hand_overs__taken_at=None, hand_overs__ended_at=None)
    answers = AnswerEvent.objects.filter(administration=OuterRef("opened__administration")).order_by("-sequence")
    return (
        devices.select_related("site")
        .annotate(
            opened=FilteredRelation("hand_overs", condition=is_open),
            asked=FilteredRelation("hand_overs", condition=is_asked),
        )
        .annotate(
            opened_at=F("opened__taken_at"),
            opened_status=F("opened__administration__status"),
            opened_dyad=F("opened__administration__visit__dyad__code"),
            asked_at=F("asked__asked_at"),
            asked_dyad=F("asked__administration__visit__dyad__code"),
            answered_at=Subquery(answers.values("received_at")[:1]),
        )
        .order_by("site__code", "name", "pk")
    )


def _state_of(device: Device, *, now: datetime) -> DeviceState:
    opened_at: datetime | None = device.opened_at  # type: ignore[attr-defined]  # annotated above
    asked_at: datetime | None = device.asked_at  # type: ignore[attr-defined]
    waits = asked_at is not None and now - asked_at < WAITS_FOR_TABLET
    is_over = device.opened_status in (Administration.Status.COMPLETED, Administration.Status.DECLINED)  # type: ignore[attr-defined]
    dyad, since = "", None
    if device.revoked_at is not None:
        state = State.REVOKED
    elif device.enrolled_at is None:
        state = State.OFFERED
    elif opened_at is not None:
        state = State.LOCKED if is_over else State.WITH_PATIENT
        dyad, since = device.opened_dyad, opened_at  # type: ignore[attr-defined]
    elif waits:
        state, dyad, since = State.ASKED, device.asked_dyad, asked_at  # type: ignore[attr-defined]
    else:
        state = State.READY
    needs = []
    if device.n_unsent and device.unsent_since is not None and now - device.unsent_since >= PATIENCE:
        needs.append(Need.UNSENT)
    if device.n_refused:
        needs.append(Need.REFUSED)
    if state is State.ASKED and since is not None and now - since >= PATIENCE:
        needs.append(Need.NOT_OPENED)
    if state is State.WITH_PATIENT and opened_at is not None:
        answered_at: datetime | None = device.answered_at  # type: ignore[attr-defined]
        heard = max(time for time in (opened_at, device.last_seen_at, answered_at) if time is not None)
        if now - heard >= SILENCE:
            needs.append(Need.SILENT)
    return DeviceState(device=device, state=state, needs=tuple(needs), dyad=dyad, since=since)


# --- becoming one, and ceasing to be one ---


def pin_problem(pin: str) -> str:
    """Why this is no PIN for a tablet: "form", "easy", or "" when it is one."""
    if not _PIN.match(pin):
        return "form"
    steps = {int(after) - int(before) for before, after in pairwise(pin)}
    return "easy" if steps in ({0}, {1}, {-1}) else ""


@transaction.atomic
def add_device(*, site: Site, name: str, pin: str, actor: User, now: datetime) -> Offer:
    """A new tablet of the site, and what enrols it.

    Raises `IntegrityError` if a tablet of the site that is not revoked has this name.
    """
    device = Device(site=site, name=name, pin_hash=make_password(pin), added_by=actor, added_at=now)
    offer = _offer(device, now=now)
    device.save()
    _record(device, "add tablet", actor=actor, now=now)
    return offer


@transaction.atomic
def offer_again(*, device: Device, actor: User, now: datetime) -> Offer:
    """A new link and code for a tablet; those before enrol nothing any more. Its cookie works until they are used."""
    offer = _offer(device, now=now)
    device.save(update_fields=["enrol_hash", "enrol_code_hash", "enrol_until"])
    _record(device, "new tablet link", actor=actor, now=now)
    return offer


def _offer(device: Device, *, now: datetime) -> Offer:
    token, code = secrets.token_urlsafe(16), codes.new_code()
    device.enrol_hash, device.enrol_code_hash = hash_token(token), codes.code_hash(code)
    device.enrol_until = now + OFFER_VALID
    return Offer(device=device, token=token, code=code)


def offered_device(token: str, *, now: datetime) -> Device:
    """The tablet that this link enrols.

    Raises `OfferGone`.
    """
    return _offered(Q(enrol_hash=hash_token(token)), now=now)


def device_of_code(*, typed: str, browser: str, now: datetime) -> Device:
    """The tablet that a typed code enrols. `browser` names one that was let in before, or nobody.

    Raises `OfferGone`, and `codes.TooManyGuesses` when too many wrong codes came.
    """
    codes.ensure_may_guess(browser=browser, now=now)
    code = codes.read_code(typed)
    try:
        return _offered(Q(enrol_code_hash=codes.code_hash(code)), now=now)
    except OfferGone:
        codes.count_wrong_guess(browser=browser, now=now)
        raise


def _offered(which: Q, *, now: datetime) -> Device:
    device = Device.objects.filter(which, enrol_until__gt=now, revoked_at=None).select_related("site__study").first()
    if device is None:
        raise OfferGone
    return device


@transaction.atomic
def enrol(*, device: Device, replaces: Device | None, now: datetime) -> str:
    """Make the browser that asks this tablet; returns the secret for its cookie. The link and code work no more.

    `replaces` is the tablet that the browser was before; that one is revoked, since it exists no longer.

    Raises `OfferGone` if another browser was quicker.
    """
    secret = secrets.token_urlsafe(24)
    taken = Device.objects.filter(pk=device.pk, enrol_hash=device.enrol_hash, revoked_at=None).update(
        token_hash=hash_token(secret),
        enrolled_at=now,
        last_seen_at=now,
        enrol_hash=None,
        enrol_code_hash=None,
        enrol_until=None,
        # What another browser counted under this name is not this one's.
        n_unsent=0,
        unsent_since=None,
        refused_counter=0,
        reported_at=None,
    )
    if not taken:
        raise OfferGone
    HandOver.objects.filter(device=device, ended_at=None).update(ended_at=now)
    _record(device, "enrol tablet", actor=None, now=now)
    if replaces is not None and replaces.pk != device.pk and replaces.revoked_at is None:
        revoke(device=replaces, actor=None, now=now)
    return secret


@transaction.atomic
def change_device(*, device: Device, name: str, pin: str, actor: User, now: datetime) -> None:
    """Another name, and another PIN unless `pin` is blank; the trail keeps no PIN."""
    old = audit.stored_values(device, ["name"])
    device.name = name
    fields = ["name"]
    if pin:
        device.pin_hash, device.pin_failures, device.pin_blocked_until = make_password(pin), 0, None
        fields += ["pin_hash", "pin_failures", "pin_blocked_until"]
    device.save(update_fields=fields)
    audit.record(
        study=device.site.study,
        actor=actor,
        action="change tablet",
        detail={"tablet": name, "site": device.site.code, "new PIN": bool(pin)},
        old=old,
        new={"name": name},
        now=now,
    )


@transaction.atomic
def revoke(*, device: Device, actor: User | None, now: datetime) -> None:
    """From now on nothing can be handed over to it. What a patient has open on it can be finished and is delivered."""
    is_new = Device.objects.filter(pk=device.pk, revoked_at=None).update(
        revoked_at=now, enrol_hash=None, enrol_code_hash=None, enrol_until=None
    )
    if not is_new:
        return
    HandOver.objects.filter(device=device, taken_at=None, ended_at=None).update(ended_at=now)
    _record(device, "revoke tablet", actor=actor, now=now)


# --- the tablet itself ---


def device_with_secret(secret: str) -> Device | None:
    """The tablet that this cookie makes a browser, revoked or not; None for every other browser."""
    if not secret:
        return None
    return Device.objects.filter(token_hash=hash_token(secret)).select_related("site__study").first()


def seen(device: Device, *, now: datetime) -> None:
    """Note a sign of life; not each one is written."""
    if device.last_seen_at is None or now - device.last_seen_at >= NOTE_EVERY:
        Device.objects.filter(pk=device.pk).update(last_seen_at=now)


@transaction.atomic
def report(*, device: Device, n_unsent: int, refused_counter: int, now: datetime) -> None:
    """What the tablet says of itself: answers that wait on it now, and how many were ever refused.

    The counter makes a report that comes twice harmless. One that is smaller than before began anew with the
    browser's storage.
    """
    row = Device.objects.select_for_update().get(pk=device.pk)
    n_new = refused_counter - row.refused_counter if refused_counter >= row.refused_counter else refused_counter
    row.n_refused = min(row.n_refused + n_new, MOST_REPORTED)
    row.refused_counter, row.n_unsent = refused_counter, n_unsent
    row.unsent_since = None if n_unsent == 0 else row.unsent_since or now
    row.reported_at = row.last_seen_at = now
    row.save(update_fields=["n_refused", "refused_counter", "n_unsent", "unsent_since", "reported_at", "last_seen_at"])


@transaction.atomic
def note_refused(*, device: Device, actor: User, now: datetime) -> None:
    """Somebody has seen that answers were refused; the count begins anew."""
    n = device.n_refused
    # Only what was seen: a report that came meanwhile stays.
    Device.objects.filter(pk=device.pk).update(n_refused=Greatest(F("n_refused") - n, 0))
    detail = {"tablet": device.name, "site": device.site.code, "answers": n}
    audit.record(study=device.site.study, actor=actor, action="note refused answers", detail=detail, now=now)


def check_pin(*, device: Device, pin: str, now: datetime) -> None:
    """Nothing when the PIN is right.

    Raises `WrongPin`, and `PinMustWait` when too many wrong ones came on this tablet.
    """
    with transaction.atomic():
        # Counted before it is tried, so that a hundred tries at once are a hundred tries.
        row = Device.objects.select_for_update().get(pk=device.pk)
        if row.pin_blocked_until is not None and row.pin_blocked_until > now:
            raise PinMustWait(row.pin_blocked_until - now)
        row.pin_failures += 1
        row.pin_blocked_until = waits_until(row.pin_failures, now=now)
        row.save(update_fields=["pin_failures", "pin_blocked_until"])
    if not check_password(pin.strip()[:20], row.pin_hash):
        _record(device, "wrong tablet PIN", actor=None, now=now)
        raise WrongPin
    Device.objects.filter(pk=device.pk).update(pin_failures=0, pin_blocked_until=None)


def _record(device: Device, action: str, *, actor: User | None, now: datetime) -> None:
    detail = {"tablet": device.name, "site": device.site.code}
    audit.record(study=device.site.study, actor=actor, action=action, detail=detail, now=now)
