"""Which wave a visit belongs to, by the windows of the waves: days after the dyad's first visit."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date

from studies.models import Visit, Wave


@dataclass(frozen=True, slots=True, kw_only=True)
class VisitMade:
    """A visit that a dyad has already."""

    wave_id: int
    day: date


def days_after_first(day: date, made: Collection[VisitMade]) -> int:
    """Whole days from the dyad's first visit to this day; 0 on the day of the first one and where there is none."""
    return max(0, (day - min((one.day for one in made), default=day)).days)


def proposed_wave(waves: Sequence[Wave], *, day: date, made: Collection[VisitMade]) -> Wave | None:
    """The wave for a visit on this day where nobody has said which; None only where there is no wave.

    The first in order for a first visit, and where no wave has a window. Otherwise the first one that this dyad has
    not been asked at and whose window the day is in, or else the next one: its visit stands outside the window.
    """
    first = next(iter(waves), None)
    if not made or not any(wave.has_window for wave in waves):
        return first
    taken = {one.wave_id for one in made}
    left = [wave for wave in waves if wave.pk not in taken]
    days = days_after_first(day, made)
    fitting = (wave for wave in left if wave.has_window and wave.takes(days))
    return next(fitting, left[0] if left else first)


def days_outside(visit: Visit) -> int | None:
    """How many days after the dyad's first visit this one is, where its wave's window does not hold them."""
    if not visit.wave.has_window:
        return None
    first = Visit.objects.filter(dyad=visit.dyad_id).order_by("visit_date").values_list("visit_date", flat=True)[0]
    days = (visit.visit_date - first).days
    return None if visit.wave.takes(days) else days
