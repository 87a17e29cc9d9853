"""When something in a study needs a hand: rules on what is known of it, without a clock or a database.

Completions: of the visits of the last seven days, the share whose patient finished is held against the four weeks
before. The rule is an exact binomial one: with p = (finished before + 1) / (visits before + 2), a message comes when
so few or fewer of this week's n would finish with a probability below one in a hundred. A week of three visits can
hardly reach that, so small sites are not called to arms by chance; below twenty visits before there is no rule at all.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from math import exp, fsum, lgamma, log, log1p

FALLS_BELOW = 0.01
FEWEST_BEFORE = 20
#: The beat notes that each worker lives once a minute.
WORKER_SILENCE = timedelta(minutes=10)
#: The end of the audit trail is noted every six hours.
ANCHOR_OVERDUE = timedelta(hours=13)
BACKUP_OVERDUE = timedelta(days=7)
WORKERS = ("scoring worker", "analysis worker")


class Kind(Enum):
    """What needs a hand."""

    TABLETS = "tablets"
    COMPLETIONS = "completions"
    EXPIRING = "expiring"
    ANALYSIS_FAILED = "analysis failed"
    REMINDERS_FAIL = "reminders fail"
    WORKER_SILENT = "worker silent"
    ANCHOR_OVERDUE = "anchor overdue"
    BACKUP_OVERDUE = "backup overdue"


@dataclass(frozen=True, slots=True, kw_only=True)
class Completions:
    """Visits, and those of them whose patient has finished: of the last seven days, and of the four weeks before."""

    n_week: int
    n_week_finished: int
    n_before: int
    n_before_finished: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Signs:
    """What is known of a study now, as far as one person may know it."""

    tablets: Sequence[str] = ()  # names of those that somebody should look after
    completions: Completions | None = None
    n_expiring: int = 0  # open forms whose link ends within days
    n_failed_analyses: int = 0  # of the last week
    n_unsent_reminders: int = 0  # mails of the last days that no mail server took
    #: When each part of the installation was last heard of; None for who cannot do anything about it.
    heard: Mapping[str, datetime] | None = None
    installed_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """One thing that needs a hand, with its figures. `key` stays the same while nothing about it changes."""

    kind: Kind
    n: int = 0
    names: Sequence[str] = field(default_factory=tuple)
    since: datetime | None = None
    completions: Completions | None = None

    @property
    def key(self) -> str:
        day = "" if self.since is None else f"{self.since:%Y-%m-%d}"
        return f"{self.kind.value}|{self.n}|{','.join(self.names)}|{day}"


def needs_of(signs: Signs, *, now: datetime) -> list[Need]:
    """Everything that needs a hand, what stands still first."""
    found = []
    if signs.heard is not None:
        for worker in WORKERS:
            last = signs.heard.get(worker)
            if _is_overdue(last, signs.installed_at, WORKER_SILENCE, now=now):
                found.append(Need(kind=Kind.WORKER_SILENT, names=(worker,), since=last))
        for name, kind, patience in (
            ("audit anchor", Kind.ANCHOR_OVERDUE, ANCHOR_OVERDUE),
            ("backup", Kind.BACKUP_OVERDUE, BACKUP_OVERDUE),
        ):
            last = signs.heard.get(name)
            if _is_overdue(last, signs.installed_at, patience, now=now):
                found.append(Need(kind=kind, since=last))
    if signs.tablets:
        found.append(Need(kind=Kind.TABLETS, n=len(signs.tablets), names=tuple(signs.tablets)))
    if signs.completions is not None and completions_fall(signs.completions):
        counts = signs.completions
        found.append(Need(kind=Kind.COMPLETIONS, n=counts.n_week_finished, completions=counts))
    if signs.n_failed_analyses:
        found.append(Need(kind=Kind.ANALYSIS_FAILED, n=signs.n_failed_analyses))
    if signs.n_unsent_reminders:
        found.append(Need(kind=Kind.REMINDERS_FAIL, n=signs.n_unsent_reminders))
    if signs.n_expiring:
        found.append(Need(kind=Kind.EXPIRING, n=signs.n_expiring))
    return found


def completions_fall(counts: Completions) -> bool:
    """Whether so few finished forms this week would hardly come by chance (see the rule above)."""
    if counts.n_before < FEWEST_BEFORE or not counts.n_week:
        return False
    before = (counts.n_before_finished + 1) / (counts.n_before + 2)
    return lower_tail(counts.n_week_finished, counts.n_week, before) < FALLS_BELOW


def lower_tail(k: int, n: int, p: float) -> float:
    """P(X <= k) of a binomial with n trials of probability p, strictly between 0 and 1; R: ``pbinom(k, n, p)``.

    By logarithms, for the binomial coefficients of some thousand visits are beyond what a float holds.
    """
    ways = lgamma(n + 1)
    chances = (ways - lgamma(i + 1) - lgamma(n - i + 1) + i * log(p) + (n - i) * log1p(-p) for i in range(k + 1))
    return min(1.0, fsum(map(exp, chances)))


def _is_overdue(last: datetime | None, installed_at: datetime | None, patience: timedelta, *, now: datetime) -> bool:
    """Never heard of counts from the day of the installation; before anything is known, nothing is overdue."""
    start = last if last is not None else installed_at
    return start is not None and now - start > patience
