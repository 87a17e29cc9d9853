"""Flags for careless answering: straight lines, contradictions, haste, many gaps. They never delete a record."""

import math
from collections.abc import Sequence

from scoring.rules.layout import DOES_NOT_APPLY, UNANSWERED, FormLayout
from scoring.rules.reasons import Flag, ScoringInputError


def quality_flags(layout: FormLayout, codes: Sequence[int], *, median_seconds: float | None) -> tuple[Flag, ...]:
    """The flags that one form earns, in the order of `Flag`.

    Parameters
    ----------
    codes : one number an item in the form's order, as `scoring.rules.form.read_answers` gives them.
    median_seconds : median time per item in seconds, or None where it was not taken (paper, import).

    Raises
    ------
    ScoringInputError : `median_seconds` is negative or not finite.

    Notes
    -----
    straightline: one raw value for every answered item, the reverse-keyed ones included; asked only of a form
    that holds them all and where all of them are answered. reverse_conflict: enough reverse-keyed items lie,
    once reversed, at least the set distance from the mean of their component's other answered items.
    fast: median time per item under the limit. missing: more than the set share of applicable items unanswered.
    """
    flags = []
    if is_straightline(layout, codes):
        flags.append(Flag.STRAIGHTLINE)
    if n_reverse_conflicts(layout, codes) >= layout.rules.reverse_conflict_minimum:
        flags.append(Flag.REVERSE_CONFLICT)
    if is_fast(layout, median_seconds):
        flags.append(Flag.FAST)
    if is_missing_much(layout, codes):
        flags.append(Flag.MISSING)
    return tuple(flags)


def is_straightline(layout: FormLayout, codes: Sequence[int]) -> bool:
    """Whether every answered item, all the reverse-keyed checks among them, holds one raw value."""
    checks = layout.straightline_items
    if not checks or any(codes[index] <= UNANSWERED for index in checks):
        return False
    return len({code for code in codes if code > UNANSWERED}) == 1


def n_reverse_conflicts(layout: FormLayout, codes: Sequence[int]) -> int:
    """How many reverse-keyed items contradict the other answered items of their component."""
    conflicts = 0
    for check in layout.reverse_checks:
        others = [keyed(layout, index, codes[index]) for index in check.others if codes[index] > UNANSWERED]
        if codes[check.item] <= UNANSWERED or not others:
            continue
        # Multiplied out, |x - mean| >= distance holds or fails exactly, without the rounding of a mean.
        away = abs(len(others) * keyed(layout, check.item, codes[check.item]) - sum(others))
        conflicts += away >= layout.rules.reverse_conflict_distance * len(others)
    return conflicts


def is_fast(layout: FormLayout, median_seconds: float | None) -> bool:
    """Whether the median time per item lies under the limit. No time taken: no flag."""
    if median_seconds is None:
        return False
    if not math.isfinite(median_seconds) or median_seconds < 0:
        raise ScoringInputError(
            f"Form {layout.form}: the median time per item must be a number of seconds, 0 or more, or None "
            "where it was not taken; a negative or unusable number came. Check the recorded times."
        )
    return median_seconds < layout.rules.fast_median_seconds


def is_missing_much(layout: FormLayout, codes: Sequence[int]) -> bool:
    """Whether more than the set share of the applicable items is unanswered."""
    n_unanswered = sum(code == UNANSWERED for code in codes)
    n_applicable = sum(code != DOES_NOT_APPLY for code in codes)
    return n_unanswered * 100 > layout.rules.missing_percent * n_applicable


def keyed(layout: FormLayout, index: int, code: int) -> int:
    """An answered item's scale point, turned round (min + max - x) where the item is reverse-keyed."""
    return layout.scale_minimum + layout.scale_maximum - code if layout.reverse[index] else code
