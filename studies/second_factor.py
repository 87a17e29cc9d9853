"""The second factor: six digits from an app on one's own device, or one of the recovery codes on paper."""

import base64
import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import quote, urlencode

from django.contrib.auth.models import User
from django.db import transaction
from django_otp.oath import TOTP

from studies import audit
from studies.models import SecondFactor, Study
from studies.sealing import seal, unseal

N_RECOVERY_CODES = 8
STEP_SECONDS = 30
TOLERANCE_STEPS = 1  # a clock that is off by half a minute still works
FREE_FAILURES = 5
PURPOSE = "second factor"


@dataclass(frozen=True, slots=True, kw_only=True)
class Enrolment:
    """A second factor that is being set up: what the app scans, and the same to type."""

    uri: str
    secret: str


def has_one(user: User) -> bool:
    """Whether it is set up."""
    return SecondFactor.objects.filter(user=user, confirmed_at__isnull=False).exists()


@transaction.atomic
def begin(*, user: User) -> Enrolment:
    """A fresh secret, or the one that waits for its first code. A second factor in use is left alone.

    Raises `SecondFactor.DoesNotExist` when one is in use.
    """
    row, _is_new = SecondFactor.objects.select_for_update().get_or_create(
        user=user, defaults={"secret": seal(secrets.token_hex(20), purpose=PURPOSE)}
    )
    if row.confirmed_at is not None:
        raise SecondFactor.DoesNotExist("This person has a second factor in use.")
    key = bytes.fromhex(unseal(row.secret, purpose=PURPOSE))
    secret = base64.b32encode(key).decode()
    label = quote(f"Healing relationships:{user.get_username()}")
    query = urlencode({"secret": secret, "issuer": "Healing relationships", "digits": 6, "period": STEP_SECONDS})
    return Enrolment(uri=f"otpauth://totp/{label}?{query}", secret=secret)


@transaction.atomic
def confirm(*, user: User, code: str, now: datetime) -> list[str] | None:
    """Take the second factor into use with its first code; the recovery codes, or None: a wrong code."""
    row = SecondFactor.objects.select_for_update().filter(user=user, confirmed_at=None).first()
    if row is None or not _accept(row, code, now=now):
        return None
    codes = [f"{secrets.randbelow(10**6):06d}-{secrets.randbelow(10**6):06d}" for _ in range(N_RECOVERY_CODES)]
    row.recovery_hashes = [_hash(code) for code in codes]
    row.confirmed_at = now
    row.save()
    audit.record(study=None, actor=user, action="set up second factor", detail={}, now=now)
    return codes


@transaction.atomic
def verify(*, user: User, code: str, now: datetime) -> bool:
    """Whether this is the app's code of now, or a recovery code that was not used. Each opens once.

    Wrong codes make the next ones wait, longer and longer, up to a quarter of an hour; a right one, too, has to wait.
    """
    row = SecondFactor.objects.select_for_update().filter(user=user, confirmed_at__isnull=False).first()
    if row is None or (row.blocked_until is not None and now < row.blocked_until):
        return False
    hashed = _hash(code.strip())
    is_recovery = hashed in row.recovery_hashes
    if is_recovery:
        row.recovery_hashes = [one for one in row.recovery_hashes if one != hashed]
    if is_recovery or _accept(row, code, now=now):
        row.failures, row.blocked_until = 0, None
        row.save()
        detail = {"with": "recovery code" if is_recovery else "app", "codes_left": len(row.recovery_hashes)}
        audit.record(study=None, actor=user, action="second factor shown", detail=detail, now=now)
        return True
    row.failures += 1
    row.blocked_until = waits_until(row.failures, now=now)
    row.save()
    audit.record(study=None, actor=user, action="second factor failed", detail={"failures": row.failures}, now=now)
    return False


@transaction.atomic
def remove(*, user: User, study: Study, actor: User, why: str, now: datetime) -> None:
    """Take it away, when the device and the recovery codes are lost; the person sets up another one.

    `study` is the one whose admin does it, and in whose trail it stands.
    """
    SecondFactor.objects.filter(user=user).delete()
    detail = {"account": user.pk}
    audit.record(study=study, actor=actor, action="remove second factor", detail=detail, why=why, now=now)


def waits_until(failures: int, *, now: datetime) -> datetime | None:
    """Until when the next try has to wait after so many failures: 30 s, doubled each time, at most 15 min."""
    if failures < FREE_FAILURES:
        return None
    return now + timedelta(seconds=min(30 * 2 ** min(failures - FREE_FAILURES, 10), 15 * 60))


def _accept(row: SecondFactor, code: str, *, now: datetime) -> bool:
    """Whether the code is right and newer than the last one that was used; remembers it."""
    digits = "".join(code.split())
    if not (digits.isascii() and digits.isdigit() and len(digits) == 6):
        return False
    totp = TOTP(bytes.fromhex(unseal(row.secret, purpose=PURPOSE)), step=STEP_SECONDS, digits=6)
    totp.time = now.timestamp()
    if not totp.verify(int(digits), tolerance=TOLERANCE_STEPS, min_t=row.last_step + 1):
        return False
    row.last_step = totp.t()
    return True


def _hash(code: str) -> str:
    return hashlib.sha256(code.encode("utf-8", "surrogatepass")).hexdigest()
