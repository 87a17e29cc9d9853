"""One answered form to its scores.

Source of every rule: the instrument's catalogue file (`ScoringRules`), after the scoring plan of the item bank.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from instruments.definitions import Absence
from scoring.rules.layout import DOES_NOT_APPLY, UNANSWERED, ComponentLayout, FormLayout, GroupLayout
from scoring.rules.quality import keyed, quality_flags
from scoring.rules.reasons import Flag, Reason, ScoringInputError

#: What each reason for a missing answer means to scoring: only "does not apply" leaves the denominator.
ABSENCE_CODES: dict[str, int] = {
    absence.value: DOES_NOT_APPLY if absence is Absence.DOES_NOT_APPLY else UNANSWERED for absence in Absence
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """A score of 0 to 100, unrounded, or the reason why there is none, and the answers it rests on."""

    value: float | None
    reason: Reason | None
    n_answered: int  # items answered
    n_applicable: int  # items on the form that were not "does not apply"
    thin: bool  # the score of a component of several items rests on one answer


@dataclass(frozen=True, slots=True, kw_only=True)
class FormScore:
    """The scores of one form, in the fixed order components, domains, composites. There is no total."""

    form: str
    rules_version: str
    scores: Mapping[str, Score]
    n_answered: int
    n_does_not_apply: int
    n_unanswered: int
    flags: tuple[Flag, ...]


def score_form(layout: FormLayout, answers: Mapping[str, object], *, median_seconds: float | None = None) -> FormScore:
    """Score one answered form.

    Parameters
    ----------
    layout : the form's plan, from `form_layout`.
    answers : item code -> scale point (int) or a reason for absence (`Absence` or its text). Keys that are not
        items of the form are ignored; an item that is not there counts as not reached.
    median_seconds : median time per item in seconds, None where it was not taken.

    Returns
    -------
    FormScore : every score unrounded, 0 to 100, or a reason.

    Raises
    ------
    ScoringInputError : an answer is neither a point of the scale nor a known reason, or the time is unusable.

    Notes
    -----
    A reverse-keyed answer x counts as (min + max) - x. Component: mean of the answered items, as 0 to 100,
    (mean - min) / (max - min) * 100, if at least half of its items on the form (rounded up) are answered.
    Domain and composite: unweighted mean of the component scores there are, if at least 70 % of the applicable
    items are answered and enough components are scored.
    """
    return score_codes(layout, read_answers(layout, answers), median_seconds=median_seconds)


def read_answers(layout: FormLayout, answers: Mapping[str, object]) -> list[int]:
    """The form's answers in its order: a scale point, 0 for unanswered, -1 for "does not apply"."""
    return [_read_answer(layout, code, answers.get(code, Absence.NOT_REACHED)) for code in layout.items]


def score_codes(layout: FormLayout, codes: Sequence[int], *, median_seconds: float | None) -> FormScore:
    """`score_form` for answers already read by `read_answers`."""
    n_does_not_apply = sum(code == DOES_NOT_APPLY for code in codes)
    n_unanswered = sum(code == UNANSWERED for code in codes)
    return FormScore(
        form=layout.form,
        rules_version=layout.rules.version,
        scores=scores_of(layout, codes),
        n_answered=len(codes) - n_does_not_apply - n_unanswered,
        n_does_not_apply=n_does_not_apply,
        n_unanswered=n_unanswered,
        flags=quality_flags(layout, codes, median_seconds=median_seconds),
    )


def scores_of(layout: FormLayout, codes: Sequence[int]) -> dict[str, Score]:
    """Every score of one form, without counts of the whole form and flags."""
    components = [_score_component(layout, component, codes) for component in layout.components]
    scores = {part.id: score for part, (score, _) in zip(layout.components, components, strict=True)}
    for group in layout.groups:
        scores[group.id] = _score_group(layout, group, [components[index] for index in group.components])
    return scores


def rescaled(layout: FormLayout, *, parts: int, n_components: int) -> float:
    """The mean of components as 0 to 100, from their summed height above the scale's minimum in `layout.parts`.

    Algebraically (mean - min) / (max - min) * 100. Component means are thirds and halves of scale points, so
    counted in sixths they are whole numbers, and one division of two whole numbers is correctly rounded: every
    score is the float nearest to the true one, whatever the number of items and the order of adding, and the
    ends are exactly 0 and 100. The published example, (5 + 4 + 4) / 3 - 1 = 20 sixths:

    >>> 100 * 20 / (6 * (5 - 1) * 1)
    83.33333333333333
    """
    return 100 * parts / (layout.parts * (layout.scale_maximum - layout.scale_minimum) * n_components)


def _score_component(layout: FormLayout, component: ComponentLayout, codes: Sequence[int]) -> tuple[Score, int]:
    """A component's score, and its height above the scale's minimum in `layout.parts` (0 without a score)."""
    n_answered = n_does_not_apply = points = 0
    for index in component.items:
        code = codes[index]
        if code > UNANSWERED:
            n_answered += 1
            points += keyed(layout, index, code) - layout.scale_minimum
        elif code == DOES_NOT_APPLY:
            n_does_not_apply += 1
    n_items = len(component.items)
    reason = component_reason(component, n_answered=n_answered, n_does_not_apply=n_does_not_apply)
    parts = 0 if reason else component_parts(layout, points=points, n_answered=n_answered)
    score = Score(
        value=None if reason else rescaled(layout, parts=parts, n_components=1),
        reason=reason,
        n_answered=n_answered,
        n_applicable=n_items - n_does_not_apply,
        thin=reason is None and n_answered == 1 and n_items > 1,
    )
    return score, parts


def component_parts(layout: FormLayout, *, points: int, n_answered: int) -> int:
    """The mean of `points` scale points over `n_answered` items, in `layout.parts`; always a whole number."""
    return points * (layout.parts // n_answered)


def component_reason(component: ComponentLayout, *, n_answered: int, n_does_not_apply: int) -> Reason | None:
    """Why a component with this pattern of answers has no score, or None if it has one."""
    if not component.items:
        return Reason.NOT_ON_FORM
    if n_does_not_apply == len(component.items):
        return Reason.NOT_APPLICABLE
    return Reason.TOO_FEW_ANSWERS if n_answered < component.needs else None


def _score_group(layout: FormLayout, group: GroupLayout, components: Sequence[tuple[Score, int]]) -> Score:
    n_answered = sum(score.n_answered for score, _ in components)
    n_applicable = sum(score.n_applicable for score, _ in components)
    n_scored = sum(score.value is not None for score, _ in components)
    reason: Reason | None = None
    if not group.n_items:
        reason = Reason.NOT_ON_FORM
    elif not n_applicable:
        reason = Reason.NOT_APPLICABLE
    elif n_answered * 100 < layout.rules.domain_answered_percent * n_applicable:
        reason = Reason.TOO_FEW_ANSWERS
    elif n_scored < group.minimum_components:
        reason = Reason.TOO_FEW_COMPONENTS
    return Score(
        value=None if reason else rescaled(layout, parts=sum(parts for _, parts in components), n_components=n_scored),
        reason=reason,
        n_answered=n_answered,
        n_applicable=n_applicable,
        thin=False,
    )


def _read_answer(layout: FormLayout, item: str, answer: object) -> int:
    # `type(...) is int`, because True is an int to Python and a slip of an importer to us.
    if type(answer) is int and layout.scale_minimum <= answer <= layout.scale_maximum:
        return answer
    if isinstance(answer, str) and answer in ABSENCE_CODES:
        return ABSENCE_CODES[answer]
    kinds = {int: "a number outside the scale", str: "an unknown text"}
    came = kinds.get(type(answer), f"a value of type {type(answer).__name__}")
    raise ScoringInputError(
        f"Item {item} on form {layout.form}: the answer must be a whole number from {layout.scale_minimum} to "
        f"{layout.scale_maximum} or one of {', '.join(ABSENCE_CODES)}; {came} came. "
        "Correct the recorded or imported answer."
    )
