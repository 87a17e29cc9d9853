"""Guessing passwords is slowed down per account and browser, never per address.

All devices of a clinic share one address: an address that is locked out is a waiting room that is shut. So failures
count for the account, and apart for each browser that this account has signed in from before: somebody who guesses
elsewhere makes strangers' browsers wait, not the desk where the person works.
"""

import hashlib
import json
import secrets
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.core import signing
from django.db import transaction

from studies.models import SignInFailures
from studies.second_factor import waits_until

COOKIE_SALT = "browser that somebody has signed in from"
FORGOTTEN_AFTER = timedelta(hours=24)
MOST_ACCOUNTS = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Browser:
    """What a signed cookie tells: a number of its own, and the accounts that have signed in here."""

    number: str = ""
    accounts: tuple[str, ...] = field(default=())

    def bucket(self, account: str) -> str:
        """Where this browser's failures with an account are counted: alone once the account is known here."""
        return self.number if account in self.accounts else ""

    def with_account(self, account: str) -> "Browser":
        others = [one for one in self.accounts if one != account]
        return Browser(number=self.number or secrets.token_hex(16), accounts=(account, *others)[:MOST_ACCOUNTS])

    def as_cookie(self) -> str:
        return signing.dumps([self.number, *self.accounts], salt=COOKIE_SALT, compress=True)


def read_browser(cookie: str) -> Browser:
    """The browser that the cookie tells of; an unknown one when it was not signed here."""
    try:
        number, *accounts = signing.loads(cookie, salt=COOKIE_SALT)
    except (signing.BadSignature, ValueError, json.JSONDecodeError):
        return Browser()
    return Browser(number=str(number), accounts=tuple(map(str, accounts)))


def account_hash(username: str) -> str:
    """What is kept of the name that was typed: people type passwords there."""
    return hashlib.sha256(username.strip().lower().encode("utf-8", "surrogatepass")).hexdigest()


def waits(*, account: str, browser: Browser, now: datetime) -> timedelta | None:
    """How long this browser has to wait before it may try this account again; None when it need not."""
    row = SignInFailures.objects.filter(account=account, browser=browser.bucket(account)).first()
    if row is None or row.blocked_until is None or row.blocked_until <= now:
        return None
    return row.blocked_until - now


@transaction.atomic
def failed(*, account: str, browser: Browser, now: datetime) -> None:
    """Count one failure."""
    row, _is_new = SignInFailures.objects.select_for_update().get_or_create(
        account=account, browser=browser.bucket(account), defaults={"last_at": now}
    )
    row.failures = 1 if now - row.last_at > FORGOTTEN_AFTER else row.failures + 1
    row.last_at, row.blocked_until = now, waits_until(row.failures, now=now)
    row.save()


def succeeded(*, account: str, browser: Browser) -> Browser:
    """Forget the failures; the browser that knows the account from now on."""
    SignInFailures.objects.filter(account=account, browser=browser.bucket(account)).delete()
    return browser.with_account(account)
