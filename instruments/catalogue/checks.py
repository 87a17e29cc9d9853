"""What must hold between the parts of an instrument. Pure.

Each check adds what it finds to the log and goes on. Names that are empty were refused by the reader already and are
passed over here, so that one fault is told once.
"""

from collections import Counter
from collections.abc import Iterable

from instruments.catalogue.entries import listed
from instruments.catalogue.problems import ProblemLog
from instruments.definitions import (
    Absence,
    Component,
    Composite,
    Domain,
    Form,
    Instrument,
    Question,
    Role,
    ScoringExample,
)

REASONS = ("NOT_APPLICABLE", "TOO_FEW_ANSWERS", "TOO_FEW_COMPONENTS")
FLAGS = ("straightline", "reverse_conflict", "fast", "missing")
PREFER_NOT = "prefer_not"

_ITEM_ABSENCES = (Absence.SKIPPED, Absence.DOES_NOT_APPLY, Absence.NOT_REACHED)
_NUMERIC = ("integer", "number", "years_months")
_WITH_OPTIONS = ("choice", "multiple_choice")


def check_instrument(instrument: Instrument, log: ProblemLog) -> None:
    """Note everything that does not fit together."""
    _check_scale(instrument, log)
    _check_names(instrument, log)
    for component in instrument.components.values():
        _check_component(component, instrument, log)
    for domain in instrument.domains.values():
        _check_group(domain, f"domains/{domain.id}", instrument, log)
        _check_domain_members(domain, instrument, log)
    for composite in instrument.composites.values():
        _check_group(composite, f"composites/{composite.id}", instrument, log)
    _check_items(instrument, log)
    _check_forms(instrument, log)
    _check_questions(instrument, log)
    _check_scoring(instrument, log)
    for example in instrument.examples:
        _check_example(example, instrument, log)


def _check_scale(instrument: Instrument, log: ProblemLog) -> None:
    values = [int(option.value) for option in instrument.scale]
    if len(values) < 2:
        log.add("scale", f"has {len(values)} points.", "Give it at least two.")
    elif values != list(range(values[0], values[0] + len(values))):
        log.add("scale", f"has the values {listed(values)}.", "Use consecutive whole numbers, lowest first.")


def _check_names(instrument: Instrument, log: ProblemLog) -> None:
    """Scores share one set of names, answers another; a name in both halves of a set would hide one of the two."""
    for first, second, place in (
        (instrument.components, instrument.domains, "domains"),
        (instrument.components, instrument.composites, "composites"),
        (instrument.domains, instrument.composites, "composites"),
        (instrument.items, instrument.questions, "questions"),
    ):
        for name in second:
            if name and name in first:
                log.add(f"{place}/{name}", "has the name of something else in the instrument.", "Give it another name.")
    codes = Counter(component.code for component in instrument.components.values())
    for component in instrument.components.values():
        if component.code and codes[component.code] > 1:
            log.add(
                f"components/{component.id}/code",
                f"is {component.code}, which another component has too.",
                "Give each component its own code.",
            )


def _check_component(component: Component, instrument: Instrument, log: ProblemLog) -> None:
    place = f"components/{component.id}"
    domain = instrument.domains.get(component.domain)
    if component.domain and domain is None:
        log.add(f"{place}/domain", f"names the unknown domain {component.domain}.", _one_of(instrument.domains))
    if domain is not None and component.id not in domain.components:
        log.add(f"{place}/domain", f"is {domain.id}, which does not list the component.", "Make the two agree.")
    if component.parent is None or component.parent == "":
        return
    parent = instrument.components.get(component.parent)
    if parent is None:
        log.add(f"{place}/parent", f"names the unknown component {component.parent}.", _one_of(instrument.components))
    elif parent.id == component.id or parent.parent is not None:
        log.add(f"{place}/parent", "is the component itself or has a parent too.", "Nest one level deep only.")
    elif parent.domain != component.domain:
        log.add(f"{place}/parent", f"is {parent.id}, which is in another domain.", "Choose one of the same domain.")


def _check_domain_members(domain: Domain, instrument: Instrument, log: ProblemLog) -> None:
    for name in domain.components:
        component = instrument.components.get(name)
        if component is not None and component.domain and component.domain != domain.id:
            log.add(
                f"domains/{domain.id}/components/{name}",
                f"says of itself that it belongs to {component.domain}.",
                "Make the two agree.",
            )


def _check_group(group: Domain | Composite, place: str, instrument: Instrument, log: ProblemLog) -> None:
    for name in group.components:
        if name not in instrument.components:
            log.add(f"{place}/components/{name}", "is not a component.", _one_of(instrument.components))
    if group.minimum_components > len(group.components):
        log.add(
            f"{place}/minimum_components",
            f"is {group.minimum_components}, but there are {len(group.components)} components.",
            "Lower it, or add components.",
        )


def _check_items(instrument: Instrument, log: ProblemLog) -> None:
    for item in instrument.items.values():
        place = f"items/{item.code}"
        component = instrument.components.get(item.component)
        if item.component and component is None:
            log.add(
                f"{place}/component", f"names the unknown component {item.component}.", _one_of(instrument.components)
            )
        if component is not None and component.code and item.code.rstrip("0123456789") not in ("", component.code):
            log.add(
                f"{place}/code",
                f"does not start with {component.code}, its component's code.",
                "Rename or move the item.",
            )
        if item.recall and item.recall not in instrument.recall_blocks:
            log.add(f"{place}/recall", f"names the unknown block {item.recall}.", _one_of(instrument.recall_blocks))
        if item.reverse and len(instrument.scale) < 2:
            log.add(f"{place}/reverse", "is true, but there is no scale to reverse on.", "Give the scale its points.")
        if item.allow_does_not_apply and not instrument.does_not_apply:
            log.add(
                f"{place}/allow_does_not_apply",
                "is true, but the answer 'does not apply' has no label.",
                "Write its texts under does_not_apply, or set it to false.",
            )


def _check_forms(instrument: Instrument, log: ProblemLog) -> None:
    for form in instrument.forms.values():
        _check_form(form, instrument, log)
    for name in ("full", "short"):
        if name not in instrument.forms:
            log.add(f"forms/{name}", "is missing.", "Every instrument has a full and a short form.")
    full, short = instrument.forms.get("full"), instrument.forms.get("short")
    if full is not None and short is not None:
        for code in short.order:
            if code not in full.order:
                log.add(
                    f"forms/short/order/{code}",
                    "is not on the full form.",
                    "Add it there, or choose another: the short form is a subset of the full form.",
                )


def _check_form(form: Form, instrument: Instrument, log: ProblemLog) -> None:
    place = f"forms/{form.id}/order"
    items = [instrument.items[code] for code in form.order if code in instrument.items]
    for code in form.order:
        if code not in instrument.items:
            log.add(f"{place}/{code}", "is not an item.", "Correct the code, or add the item.")
    covered = {item.component for item in items}
    for component in instrument.components:
        if component and component not in covered:
            log.add(place, f"has no item of the component {component}.", "Add one: every form covers all components.")
    blocks = list(instrument.recall_blocks)
    latest = 0
    for item in items:
        if item.recall in blocks:
            if blocks.index(item.recall) < latest:
                log.add(
                    f"{place}/{item.code}",
                    f"goes back to the block {item.recall}.",
                    "Keep each block's items together, in the order of recall_blocks.",
                )
            latest = max(latest, blocks.index(item.recall))


def _check_questions(instrument: Instrument, log: ProblemLog) -> None:
    earlier: dict[str, Question] = {}
    for question in instrument.questions.values():
        place = f"questions/{question.code}"
        _check_options(question, place, log)
        _check_bounds(question, place, log)
        _check_condition(question, place, earlier, instrument, log)
        earlier[question.code] = question


def _check_options(question: Question, place: str, log: ProblemLog) -> None:
    values = [option.value for option in question.options]
    real = [value for value in values if value != PREFER_NOT]
    if question.kind in _WITH_OPTIONS and len(real) < 2:
        log.add(f"{place}/options", f"offers {len(real)} answers.", "Offer at least two, besides prefer_not.")
    if question.kind not in _WITH_OPTIONS and real:
        log.add(f"{place}/options", f"has no place on a question of the kind {question.kind}.", "Keep only prefer_not.")
    if question.section != "context" and (not values or values[-1] != PREFER_NOT):
        log.add(
            f"{place}/options",
            "does not end with prefer_not.",
            "Every question about a person lets that person decline.",
        )


def _check_bounds(question: Question, place: str, log: ProblemLog) -> None:
    for bound in ("minimum", "maximum"):
        value = getattr(question, bound)
        if question.kind in _NUMERIC and value is None:
            log.add(f"{place}/{bound}", "is missing.", "Give the least and the greatest number that can be true.")
        if question.kind not in _NUMERIC and value is not None:
            log.add(f"{place}/{bound}", f"has no place on a question of the kind {question.kind}.", "Remove it.")
        if question.kind in ("integer", "years_months") and value is not None and value % 1:
            log.add(f"{place}/{bound}", f"is {value:g} on a question that takes whole numbers.", "Use a whole number.")
    if question.minimum is not None and question.maximum is not None and question.minimum > question.maximum:
        log.add(f"{place}/minimum", f"is {question.minimum:g}, above the maximum.", "Exchange or correct the two.")


def _check_condition(
    question: Question, place: str, earlier: dict[str, Question], instrument: Instrument, log: ProblemLog
) -> None:
    condition = question.ask_if
    if condition is None or not condition.question:
        return
    asked = earlier.get(condition.question)
    if asked is None:
        fault = (
            f"names {condition.question}, which is asked later or is the question itself."
            if condition.question in instrument.questions
            else f"names the unknown question {condition.question}."
        )
        log.add(f"{place}/ask_if/question", fault, "Name a question that stands before this one.")
        return
    if not condition.values:
        log.add(f"{place}/ask_if/values", "is empty, so the question would never be asked.", "Name a value.")
    offered = [str(option.value) for option in asked.options if option.value != PREFER_NOT]
    for value in condition.values:
        if value not in offered:
            log.add(f"{place}/ask_if/values/{value}", f"is not offered by {asked.code}.", _one_of(offered))
    for role in question.text:
        if role not in asked.text:
            log.add(f"{place}/ask_if/question", f"is not asked of the {role}.", "Ask both questions of the same roles.")
    if Role.CLINICIAN in question.text and (question.section == "person") != (asked.section == "person"):
        log.add(
            f"{place}/ask_if/question",
            "is asked of the clinician on another occasion.",
            "Questions about the clinician as a person are asked once, all others with each form.",
        )


def _check_scoring(instrument: Instrument, log: ProblemLog) -> None:
    rules = instrument.scoring
    full = instrument.forms.get("full")
    for key, codes in (
        ("straightline_items", rules.straightline_items),
        ("reverse_conflict_items", rules.reverse_conflict_items),
    ):
        for code in codes:
            item = instrument.items.get(code)
            place = f"scoring/{key}/{code}"
            if item is None:
                log.add(place, "is not an item.", "Correct the code, or add the item.")
            elif not item.reverse:
                log.add(place, "is not a reversed item.", "The flag rests on reversed items; name one.")
            elif full is not None and code not in full.order:
                log.add(place, "is not on the full form.", "Name an item that is asked.")
    if rules.reverse_conflict_items and rules.reverse_conflict_minimum > len(rules.reverse_conflict_items):
        log.add(
            "scoring/reverse_conflict_minimum",
            f"is {rules.reverse_conflict_minimum}, but there are {len(rules.reverse_conflict_items)} items.",
            "Lower it, so that the flag can be raised.",
        )
    width = int(instrument.scale[-1].value) - int(instrument.scale[0].value) if instrument.scale else 0
    if rules.reverse_conflict_distance > width:
        log.add(
            "scoring/reverse_conflict_distance",
            f"is {rules.reverse_conflict_distance:g}, wider than the scale.",
            f"Use at most {width}.",
        )
    if rules.profile_minimum_components > max(len(instrument.components), 2):
        log.add(
            "scoring/profile_minimum_components",
            f"is {rules.profile_minimum_components}, but there are {len(instrument.components)} components.",
            "Lower it.",
        )


def _check_example(example: ScoringExample, instrument: Instrument, log: ProblemLog) -> None:
    place = f"examples/{example.id}"
    form = instrument.forms.get(example.form)
    if form is None:
        if example.form:
            log.add(f"{place}/form", f"names the unknown form {example.form}.", _one_of(instrument.forms))
    else:
        _check_example_answers(example, form, instrument, log)
    score_names = (*instrument.components, *instrument.domains, *instrument.composites)
    for key, names in (("scores", example.scores), ("unscored", example.unscored)):
        for name in names:
            if name not in score_names:
                log.add(f"{place}/{key}/{name}", "is not a score.", "Name a component, domain or composite.")
    for name in score_names:
        if name and (name in example.scores) == (name in example.unscored):
            log.add(
                f"{place}/scores/{name}",
                "stands in both or in neither of scores and unscored.",
                "An example tells for every score either its value or the reason why there is none.",
            )
    for name, reason in example.unscored.items():
        if reason and reason not in REASONS:
            log.add(f"{place}/unscored/{name}", f"gives the unknown reason {reason!r:.40}.", _one_of(REASONS))
    for flag in example.flags:
        if flag not in FLAGS:
            log.add(f"{place}/flags/{flag}", "is not a flag.", _one_of(FLAGS))


def _check_example_answers(example: ScoringExample, form: Form, instrument: Instrument, log: ProblemLog) -> None:
    place = f"examples/{example.id}/answers"
    points = [int(option.value) for option in instrument.scale]
    for code, answer in example.answers.items():
        item = instrument.items.get(code)
        if item is None or code not in form.order:
            log.add(f"{place}/{code}", f"is not an item of the {form.id} form.", "Correct the code, or leave it out.")
        elif answer == Absence.DOES_NOT_APPLY and not item.allow_does_not_apply:
            log.add(f"{place}/{code}", "is DNA, which the item does not allow.", "Use SKIPPED or a scale point.")
        elif answer != "" and answer not in points and answer not in _ITEM_ABSENCES:
            log.add(
                f"{place}/{code}",
                "is neither a scale point nor a reason of absence.",
                _one_of([*points, *_ITEM_ABSENCES]),
            )
    for code in form.order:
        if code not in example.answers:
            log.add(f"{place}/{code}", "is missing.", "Answer every item of the form, or say under others how.")


def _one_of(names: Iterable[object]) -> str:
    return f"Use one of {listed(names)}."
