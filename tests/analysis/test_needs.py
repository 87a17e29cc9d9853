"""When something needs a hand: the rules alone, with their edges."""

from datetime import UTC, datetime, timedelta

import pytest

from analysis.needs import Completions, Kind, Need, Signs, completions_fall, lower_tail, needs_of

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)


@pytest.mark.parametrize(
    ("k", "n", "p", "expected"),
    # R: pbinom(c(3, 0, 10, 5), c(10, 5, 10, 20), c(.5, .2, .9, .6))
    [(3, 10, 0.5, 0.171875), (0, 5, 0.2, 0.32768), (10, 10, 0.9, 1.0), (5, 20, 0.6, 0.001611524643456288)],
)
def test_the_lower_tail_is_exact(k: int, n: int, p: float, expected: float) -> None:
    """As R's pbinom; double precision leaves a few units in the last place."""
    assert lower_tail(k, n, p) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("k", "n", "p", "expected"),
    # R: pbinom(c(1200, 49500, 0), c(1300, 100000, 5000), c(.95, .5, .1))
    [
        (1200, 1300, 0.95, 2.02800849270305e-05),
        (49500, 100_000, 0.5, 0.000791179939425798),
        (0, 5000, 0.1, 1.63135018534249e-229),
    ],
)
def test_the_lower_tail_of_many_visits(k: int, n: int, p: float, expected: float) -> None:
    """Beyond the binomial coefficients that a float holds; logarithms of a million cost digits after the ninth."""
    assert lower_tail(k, n, p) == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize(
    ("week", "before", "falls"),
    [
        ((2, 12), (40, 50), True),  # 17 % after 80 %
        ((7, 12), (40, 50), False),  # 58 %: chance may do that
        ((0, 2), (40, 50), False),  # two visits say little
        ((0, 3), (50, 50), True),
        ((2, 3), (50, 50), False),  # one of three, after a perfect month, is no alarm
        ((0, 30), (15, 19), False),  # too little is known of before
        ((0, 0), (40, 50), False),
        ((30, 30), (0, 50), False),  # rising is no worry
    ],
)
def test_completions_fall_only_beyond_chance(week: tuple[int, int], before: tuple[int, int], falls: bool) -> None:
    """Few visits raise no alarm; a real fall does."""
    counts = Completions(n_week_finished=week[0], n_week=week[1], n_before_finished=before[0], n_before=before[1])
    assert completions_fall(counts) is falls


def test_false_alarms_are_rare() -> None:
    """With an unchanged share of 80 % and ten visits a week, fewer than one week in a hundred raises an alarm."""
    alarms = sum(
        lower_tail(k, 10, 0.8) - (lower_tail(k - 1, 10, 0.8) if k else 0)
        for k in range(11)
        if completions_fall(Completions(n_week=10, n_week_finished=k, n_before=40, n_before_finished=32))
    )
    assert 0 < alarms < 0.01


def kinds(signs: Signs) -> list[Kind]:
    return [need.kind for need in needs_of(signs, now=NOW)]


def test_nothing_known_is_no_worry() -> None:
    """Neither is a whole installation that was heard of in time, nor one that has just begun."""
    assert kinds(Signs()) == []
    fresh = dict.fromkeys(("scoring worker", "analysis worker", "audit anchor", "backup"), NOW)
    assert kinds(Signs(heard=fresh, installed_at=NOW - timedelta(days=90))) == []
    assert kinds(Signs(heard={}, installed_at=NOW - timedelta(minutes=5))) == []


def test_silence_is_told_by_how_long_it_may_last() -> None:
    """A worker after minutes, an anchor after half a day, a backup after a week; never heard counts from the start."""
    heard = {
        "scoring worker": NOW - timedelta(minutes=11),
        "analysis worker": NOW - timedelta(minutes=9),
        "audit anchor": NOW - timedelta(hours=14),
        "backup": NOW - timedelta(days=6),
    }
    found = needs_of(Signs(heard=heard, installed_at=NOW - timedelta(days=90)), now=NOW)
    assert [(need.kind, need.names) for need in found] == [
        (Kind.WORKER_SILENT, ("scoring worker",)),
        (Kind.ANCHOR_OVERDUE, ()),
    ]
    assert kinds(Signs(heard={}, installed_at=NOW - timedelta(days=8))) == [
        Kind.WORKER_SILENT, Kind.WORKER_SILENT, Kind.ANCHOR_OVERDUE, Kind.BACKUP_OVERDUE,
    ]  # fmt: skip


def test_what_was_put_away_comes_back_when_it_changes() -> None:
    """The key holds the figures."""

    def key(names: tuple[str, ...]) -> str:
        return needs_of(Signs(tablets=names), now=NOW)[0].key

    assert key(("A",)) == key(("A",))
    assert len({key(("A",)), key(("B",)), key(("A", "B"))}) == 3
    assert Need(kind=Kind.EXPIRING, n=1).key != Need(kind=Kind.EXPIRING, n=2).key


def test_failing_mails_and_analyses_are_told_with_their_number() -> None:
    """In the order of what is more urgent."""
    found = needs_of(Signs(n_failed_analyses=2, n_unsent_reminders=3, n_expiring=4), now=NOW)
    assert [(need.kind, need.n) for need in found] == [
        (Kind.ANALYSIS_FAILED, 2), (Kind.REMINDERS_FAIL, 3), (Kind.EXPIRING, 4),
    ]  # fmt: skip
