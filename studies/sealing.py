"""Texts that the database holds sealed: whoever has only a dump of it cannot read them."""

import base64
import hashlib

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings


class CannotUnseal(Exception):
    """None of the keys opens this text: it was sealed under a key that is not configured any more, or changed."""


def seal(text: str, *, purpose: str) -> str:
    """The text, sealed under the newest key. What was sealed for one purpose does not open for another."""
    return _keys(purpose).encrypt(text.encode()).decode()


def unseal(sealed: str, *, purpose: str) -> str:
    """The text again.

    Raises `CannotUnseal`.
    """
    try:
        return _keys(purpose).decrypt(sealed.encode()).decode()
    except InvalidToken as error:
        raise CannotUnseal(f"A text sealed for {purpose} does not open. Is an older SECRET_KEY missing?") from error


def _keys(purpose: str) -> MultiFernet:
    secrets = [str(key) for key in (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)]
    digests = [hashlib.sha256(f"{purpose}\n".encode() + secret.encode()).digest() for secret in secrets]
    return MultiFernet([Fernet(base64.urlsafe_b64encode(digest)) for digest in digests])
