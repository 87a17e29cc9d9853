"""Eight characters that open a questionnaire, for whoever can't scan or type a long link.

A code follows from the link's secret and the installation's key, so that it can be shown to whoever holds the link and
needs no storing. The database keeps a keyed hash to recognise it by, and the link locked with the code: neither a copy
of the database nor a code alone tells a link. Forty bits are few enough to try, so wrong codes are counted: for each
browser that was let in before, and for all others together. An address on the network counts for nothing, because all
tablets of a clinic share one.
"""

import base64
import hmac
import secrets
from datetime import datetime, timedelta

from django.utils.crypto import salted_hmac

from instruments.models import Administration, CodeGuess

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # 32 letters and digits, none of them easily taken for another
LENGTH = 8  # 40 bits
GUESS_WINDOW = timedelta(minutes=10)
GUESSES_OF_A_KNOWN_BROWSER = 10
GUESSES_OF_ALL_OTHERS = 60

_READ_AS = str.maketrans({"O": "0", "I": "1", "L": "1", "U": "V"})


class UnknownCode(Exception):
    """No open questionnaire has this code."""


class TooManyGuesses(Exception):
    """This browser, or all unknown ones together, gave too many wrong codes; later ones count again."""


def code_of(token: str) -> str:
    """The code of a link's secret."""
    number = int.from_bytes(_keyed("code", token)[:5], "big")
    return "".join(ALPHABET[number >> shift & 31] for shift in range(35, -1, -5))


def in_groups(code: str) -> str:
    """As it is written for people: XXXX-XXXX."""
    return f"{code[:4]}-{code[4:]}"


def read_code(typed: str) -> str:
    """What was meant by what was typed: small letters, spaces, hyphens and look-alikes do no harm."""
    return "".join(letter for letter in typed.upper()[:40].translate(_READ_AS) if letter in ALPHABET)


def link_fields(token: str) -> dict[str, str]:
    """The columns by which the database recognises a link's code."""
    code = code_of(token)
    return {"code_hash": code_hash(code), "token_box": _locked(_bytes_of(token), code).hex()}


def token_of_code(*, typed: str, browser: str, now: datetime) -> str:
    """The secret of the questionnaire that a typed code opens. `browser` names one that was let in before, or nobody.

    Raises
    ------
    TooManyGuesses
        If too many wrong codes came within `GUESS_WINDOW`; nothing was looked up.
    UnknownCode
        If no questionnaire has this code; the guess is counted.
    """
    ensure_may_guess(browser=browser, now=now)
    code = read_code(typed)
    boxes = Administration.objects.filter(code_hash=code_hash(code)).values_list("token_box", flat=True)
    row = boxes.first() if len(code) == LENGTH else None
    if row is None:
        count_wrong_guess(browser=browser, now=now)
        raise UnknownCode
    return base64.urlsafe_b64encode(_locked(bytes.fromhex(row), code)).decode().rstrip("=")


def ensure_may_guess(*, browser: str, now: datetime) -> None:
    """Raises `TooManyGuesses` if too many wrong codes came from this browser, or from all unknown ones together."""
    limit = GUESSES_OF_A_KNOWN_BROWSER if browser else GUESSES_OF_ALL_OTHERS
    if CodeGuess.objects.filter(browser=browser, at__gt=now - GUESS_WINDOW).count() >= limit:
        raise TooManyGuesses


def count_wrong_guess(*, browser: str, now: datetime) -> None:
    """Remember one wrong code for as long as it counts."""
    CodeGuess.objects.filter(at__lt=now - timedelta(days=1)).delete()
    CodeGuess.objects.create(browser=browser, at=now)


def new_code() -> str:
    """A fresh code that belongs to no questionnaire's link."""
    return "".join(secrets.choice(ALPHABET) for _ in range(LENGTH))


def code_hash(code: str) -> str:
    """What the database keeps of a code: a keyed hash, since forty bits alone could be tried through."""
    return _keyed("lookup", code).hex()


def _bytes_of(token: str) -> bytes:
    return base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))


def _locked(content: bytes, code: str) -> bytes:
    """Locks and unlocks: each code is used for one link, so the pad is used once."""
    pad = _keyed("box", code)
    return bytes(one ^ other for one, other in zip(content, pad, strict=False))


def _keyed(use: str, text: str) -> bytes:
    digest: hmac.HMAC = salted_hmac(f"instruments.codes {use}", text, algorithm="sha256")
    return digest.digest()
