"""Recruitment against a site's target: what was to be expected by now, and when the target is reached at this pace."""

from dataclasses import dataclass
from datetime import date, timedelta

#: Sooner, or on fewer dyads, a pace says nothing about when a site will be done.
FEWEST_DAYS = 14
FEWEST_DYADS = 5
#: Beyond this a date is no forecast any more.
FARTHEST = timedelta(days=3650)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recruitment:
    """One site's way to its target. Shares are of the target, 0 to 1; `finish` is None where no pace can be told."""

    n_done: int  # dyads with both forms
    target: int
    until: date | None  # the day by which the target is to be reached
    expected: float | None  # dyads, on a straight line from the start; None without such a day
    finish: date | None

    @property
    def share(self) -> float:
        return min(1.0, self.n_done / self.target)

    @property
    def expected_share(self) -> float | None:
        return None if self.expected is None else self.expected / self.target

    @property
    def is_behind(self) -> bool:
        """Whether fewer than nine in ten of the expected dyads are there: one or two are no delay."""
        return self.expected is not None and self.n_done < 0.9 * self.expected - 1

    @property
    def is_reached(self) -> bool:
        return self.n_done >= self.target

    @property
    def is_late(self) -> bool:
        """Whether the pace so far ends after the day that was set."""
        return self.finish is not None and self.until is not None and self.finish > self.until


def recruitment(*, n_done: int, target: int, start: date, until: date | None, today: date) -> Recruitment | None:
    """Where a site stands; None without a target. The pace is that of all days since the start."""
    if target <= 0:
        return None
    elapsed = (today - start).days
    expected = None
    if until is not None and until > start:
        expected = target * min(1.0, max(0.0, elapsed / (until - start).days))
    finish = None
    if FEWEST_DYADS <= n_done < target and elapsed >= FEWEST_DAYS:
        needed = timedelta(days=-(-(target - n_done) * elapsed // n_done))  # rounded up to whole days
        finish = today + needed if needed <= FARTHEST else None
    return Recruitment(n_done=n_done, target=target, until=until, expected=expected, finish=finish)
