"""One form of an instrument, laid out for scoring: positions in place of codes, thresholds in place of per cents.

Both ways of scoring (one form at a time, a whole study at once) read this same plan, so they cannot disagree
about which items belong where.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from instruments.definitions import Composite, Domain, Instrument, ScoringRules
from scoring.rules.reasons import ScoringInputError

#: How an answer is written down for scoring, in memory only: a scale point as itself, and
UNANSWERED = 0
DOES_NOT_APPLY = -1

#: Largest scale point: answers travel as int8, where doubling (min + max) must still fit.
LARGEST_SCALE_POINT = 60

#: Up to here every whole number is a float64.
LARGEST_EXACT_INTEGER = 2**53


@dataclass(frozen=True, slots=True, kw_only=True)
class ComponentLayout:
    """A component's items on the form (positions in the form's order) and how many must be answered."""

    id: str
    items: tuple[int, ...]
    needs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupLayout:
    """A domain or composite: its components (positions), its number of items on the form, its thresholds."""

    id: str
    components: tuple[int, ...]
    n_items: int
    minimum_components: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ReverseCheck:
    """A reverse-keyed item and the other items of its component on the form (positions)."""

    item: int
    others: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FormLayout:
    """Everything that scoring one form needs. `score_ids` is the fixed order of all results:

    components, then domains, then composites, each in the catalogue's order.
    """

    instrument: str
    instrument_version: str
    form: str
    rules: ScoringRules
    items: tuple[str, ...]
    reverse: tuple[bool, ...]
    scale_minimum: int
    scale_maximum: int
    parts: int  # every component mean lies a whole number of 1/parts scale points above the minimum
    components: tuple[ComponentLayout, ...]
    groups: tuple[GroupLayout, ...]
    score_ids: tuple[str, ...]
    straightline_items: tuple[int, ...]  # empty: the form does not hold them all, so there is no such flag
    reverse_checks: tuple[ReverseCheck, ...]


def form_layouts(instrument: Instrument) -> dict[str, FormLayout]:
    """The layouts of all forms of an instrument, by form id. Make them once, score many."""
    return {form: form_layout(instrument, form) for form in instrument.forms}


def form_layout(instrument: Instrument, form: str) -> FormLayout:
    """The layout of one form.

    Raises `ScoringInputError` if the form is unknown, the response scale is not whole numbers without a gap
    from 1 upwards, two scores share an id, or components are so long that scores would not be exact.
    """
    who = f"Instrument {instrument.code} {instrument.version}"
    if form not in instrument.forms:
        raise ScoringInputError(f"{who}: the form must be one of {', '.join(instrument.forms)}; {form!r} came.")
    scale_minimum, scale_maximum = _scale_ends(instrument.scale_values, who=who)
    rules = instrument.scoring
    items = instrument.forms[form].order
    position = {code: index for index, code in enumerate(items)}
    of_component: dict[str, list[int]] = {component: [] for component in instrument.components}
    for code in items:
        of_component[instrument.items[code].component].append(position[code])
    components = tuple(
        ComponentLayout(
            id=component,
            items=tuple(indices),
            needs=max(1, _share_rounded_up(len(indices), rules.component_answered_percent)),
        )
        for component, indices in of_component.items()
    )
    component_position = {component.id: index for index, component in enumerate(components)}
    grouped: tuple[Domain | Composite, ...] = (*instrument.domains.values(), *instrument.composites.values())
    groups = tuple(
        GroupLayout(
            id=group.id,
            components=tuple(component_position[component] for component in group.components),
            n_items=sum(len(of_component[component]) for component in group.components),
            minimum_components=max(1, group.minimum_components),
        )
        for group in grouped
    )
    score_ids = (*(component.id for component in components), *(group.id for group in groups))
    if len(set(score_ids)) != len(score_ids):
        twice = sorted({score for score in score_ids if score_ids.count(score) > 1})
        raise ScoringInputError(
            f"{who}: components, domains and composites must all have different ids; "
            f"{', '.join(twice)} came twice. Rename one in a new version of the catalogue file."
        )
    parts = math.lcm(*range(1, max(len(component.items) for component in components) + 1))
    if 100 * parts * (scale_maximum - scale_minimum) * len(components) > LARGEST_EXACT_INTEGER:
        raise ScoringInputError(
            f"{who}, form {form}: a component has too many items for exact scores; at most about 25 are possible. "
            "Split it in a new version of the catalogue file."
        )
    holds_all = all(code in position for code in rules.straightline_items)
    return FormLayout(
        instrument=instrument.code,
        instrument_version=instrument.version,
        form=form,
        rules=rules,
        items=items,
        reverse=tuple(instrument.items[code].reverse for code in items),
        scale_minimum=scale_minimum,
        scale_maximum=scale_maximum,
        parts=parts,
        components=components,
        groups=groups,
        score_ids=score_ids,
        straightline_items=tuple(position[code] for code in rules.straightline_items) if holds_all else (),
        reverse_checks=tuple(
            ReverseCheck(
                item=position[code],
                others=tuple(i for i in of_component[instrument.items[code].component] if i != position[code]),
            )
            for code in rules.reverse_conflict_items
            if code in position
        ),
    )


def _scale_ends(values: Sequence[int], *, who: str) -> tuple[int, int]:
    low, high = min(values), max(values)
    if sorted(values) != list(range(low, high + 1)) or low < 1 or high > LARGEST_SCALE_POINT or low == high:
        raise ScoringInputError(
            f"{who}: scoring needs a response scale of at least two whole numbers without a gap, "
            f"between 1 and {LARGEST_SCALE_POINT}; {list(values)} came. Renumber the scale in a new version."
        )
    return low, high


def _share_rounded_up(count: int, percent: int) -> int:
    """`ceil(count * percent / 100)` in whole numbers, so that no threshold rests on a rounding."""
    return -(-count * percent // 100)
