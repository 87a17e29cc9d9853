"""Recruitment against target: expected by now, and when it is done at the pace so far."""

from datetime import date, timedelta

import pytest

from analysis.recruitment import FARTHEST, Recruitment, recruitment

START = date(2026, 1, 1)


def way(n_done: int, *, day: int, target: int = 80, until: date | None = date(2026, 4, 11)) -> Recruitment:
    """Where a site is so many days after the start; a hundred days lead to the day that was set."""
    found = recruitment(n_done=n_done, target=target, start=START, until=until, today=START + timedelta(days=day))
    assert found is not None
    return found


def test_expected_goes_on_a_straight_line() -> None:
    """Nothing on the first day, half on the fiftieth, all at the end and after it."""
    assert [way(1, day=day).expected for day in (0, 50, 100, 130)] == [0, 40, 80, 80]
    assert way(1, day=50, until=None).expected is None
    assert way(1, day=50, until=START).expected is None


def test_the_pace_tells_the_end() -> None:
    """Twenty in fifty days need thirty more for the other twelve; a part of a day is a day."""
    assert way(20, day=50, target=32).finish == START + timedelta(days=80)
    assert way(21, day=50, target=32).finish == START + timedelta(days=50 + 27)  # 26.2
    assert way(20, day=50).is_late
    assert not way(79, day=50).is_late


@pytest.mark.parametrize(("n_done", "day"), [(4, 50), (20, 13), (0, 50), (80, 50), (90, 50)])
def test_where_no_pace_can_be_told(n_done: int, day: int) -> None:
    """Too few dyads, too few days, or the target is reached."""
    assert way(n_done, day=day).finish is None


def test_a_forecast_has_an_end() -> None:
    """Five dyads in two years towards a thousand: no date."""
    assert way(5, day=700, target=1000).finish is None
    assert FARTHEST.days == 3650


def test_one_dyad_short_is_no_delay() -> None:
    """Behind means fewer than nine tenths of the expected, less one."""
    assert not way(36, day=50).is_behind
    assert not way(35, day=50).is_behind
    assert way(34, day=50).is_behind
    assert not way(0, day=0).is_behind
    assert way(80, day=50).is_reached
    assert way(40, day=50).share == 0.5
    assert way(120, day=50).share == 1.0


def test_without_a_target_there_is_nothing_to_tell() -> None:
    """None, not a bar of nothing."""
    assert recruitment(n_done=3, target=0, start=START, until=None, today=START) is None
