"""From a catalogue file to an `Instrument`, or to the list of everything that is wrong with it. Pure.

The way of a file: strict YAML (`catalogue_yaml`), typed entries (`catalogue_entries`), the definitions themselves
(here), then what must hold between them (`catalogue_checks`). Nothing is repaired and nothing is guessed.
"""

import dataclasses
import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Literal, cast

from instruments.catalogue.checks import check_instrument
from instruments.catalogue.entries import SNAKE, Entry, kind_of
from instruments.catalogue.plain_yaml import MAXIMUM_BYTES, Plain, decode, load_strictly
from instruments.catalogue.problems import CatalogueError, Problem, ProblemLog
from instruments.definitions import (
    DEFAULT_DISPLAY,
    Component,
    Composite,
    Condition,
    Domain,
    Form,
    Instrument,
    Item,
    Option,
    PerPage,
    Question,
    RecallBlock,
    Role,
    RoleTexts,
    ScoringExample,
    ScoringRules,
)

__all__ = ["CatalogueError", "Problem", "instrument_document", "parse_instrument", "read_instrument"]

_VERSION = re.compile(r"(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*))?")
_INSTRUMENT_CODE = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Z]{2})?")
_COMPONENT_CODE = re.compile(r"[A-Z]{2,4}")
_ITEM_CODE = re.compile(r"[A-Z]{2,4}[1-9][0-9]*")
_QUESTION_CODE = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,31}")

_TOP_LEVEL = (
    "instrument", "version", "title", "source", "licence", "status", "languages", "scale", "does_not_apply",
    "instructions", "recall_blocks", "domains", "components", "composites", "items", "forms", "questions", "scoring",
    "examples",
)  # fmt: skip
_MAXIMUM_PER_PAGE = 20
_SHUFFLED = "by lot within recall blocks"
_ITEM_KEYS = (
    "code", "component", "domain", "recall", "reverse", "allow_does_not_apply", "clinician_perspective", "paper_basis",
    "text",
)  # fmt: skip
_BOTH_ROLES = tuple(Role)


def read_instrument(path: Path) -> Instrument:
    """Read and check one catalogue file.

    Parameters
    ----------
    path
        A YAML file such as `instruments/catalogue/healing-relationships-1.0.yaml`.

    Raises
    ------
    CatalogueError
        If the file cannot be read or does not describe a sound instrument; holds every problem found.
    """
    log = ProblemLog(file=str(path))
    try:
        with path.open("rb") as file:
            content = file.read(MAXIMUM_BYTES + 1)
    except OSError as error:
        log.add("file", f"cannot be read ({error.strerror or type(error).__name__}).", "Check the path and its rights.")
        raise CatalogueError(tuple(log.problems)) from error
    return parse_instrument(content, source=str(path))


def parse_instrument(text: str | bytes, *, source: str) -> Instrument:
    """Read and check the content of a catalogue file.

    Parameters
    ----------
    text
        The content: text, or UTF-8 bytes.
    source
        How messages name the file.

    Raises
    ------
    CatalogueError
        If the content does not describe a sound instrument; holds every problem found.
    """
    log = ProblemLog(file=source)
    content = load_strictly(decode(text, log) if isinstance(text, bytes) else text, log)
    instrument = _read_content(content, log)
    log.raise_if_any()
    canonical = json.dumps(instrument_document(instrument), sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return dataclasses.replace(instrument, content_hash=hashlib.sha256(canonical.encode()).hexdigest())


def _read_content(content: Plain, log: ProblemLog) -> Instrument:
    top = Entry.read(log, "", content, required=_TOP_LEVEL, optional=("display", "item_order"))
    languages = _languages(top)
    top = dataclasses.replace(top, languages=languages)
    domains = {domain.id: domain for domain in map(_domain, _entries(top, "domains", *_GROUP_KEYS))}
    components = {component.id: component for component in map(_component, _component_entries(top))}
    item_entries = top.entries("items", name="code", required=_ITEM_KEYS)
    items = {item.code: item for item in map(_item, item_entries)}
    _check_item_domains(item_entries, components)
    composites = {composite.id: composite for composite in map(_composite, _entries(top, "composites", *_GROUP_KEYS))}
    forms = {form.id: form for form in map(_form, _entries(top, "forms", "id", "label", "order"))}
    questions = {question.code: question for question in map(_question, _question_entries(top))}
    recall_blocks = {
        block.id: block for block in map(_recall_block, _entries(top, "recall_blocks", "id", "introduction"))
    }
    instrument = Instrument(
        code=top.text("instrument", pattern=_INSTRUMENT_CODE, example="healing-relationships"),
        version=top.text("version", pattern=_VERSION, example='"1.0"'),
        title=top.texts("title"),
        source=top.text("source"),
        licence=top.text("licence"),
        status=top.text("status"),
        languages=languages,
        display=_display(top),
        may_shuffle="item_order" in top.values and top.one_of("item_order", [_SHUFFLED]) == _SHUFFLED,
        scale=tuple(_scale_option(entry) for entry in top.entries("scale", name="value", required=("value", "label"))),
        does_not_apply=_does_not_apply(top),
        instructions=top.role_texts("instructions"),
        recall_blocks=MappingProxyType(recall_blocks),
        items=MappingProxyType(items),
        components=MappingProxyType(components),
        domains=MappingProxyType(domains),
        composites=MappingProxyType(composites),
        forms=MappingProxyType(forms),
        questions=MappingProxyType(questions),
        scoring=_scoring(top),
        examples=(),
        content_hash="",
    )
    instrument = dataclasses.replace(instrument, examples=_examples(top, instrument))
    check_instrument(instrument, log)
    return instrument


_GROUP_KEYS = ("id", "label", "minimum_components", "components")
_EXAMPLE_KEYS = ("id", "form", "answers", "scores", "unscored", "flags")


def _entries(top: Entry, key: str, name: str, *others: str) -> tuple[Entry, ...]:
    return top.entries(key, name=name, required=(name, *others))


def _component_entries(top: Entry) -> tuple[Entry, ...]:
    return _entries(top, "components", "id", "code", "label", "domain", "parent", "measurement", "definition")


def _question_entries(top: Entry) -> tuple[Entry, ...]:
    return top.entries(
        "questions",
        name="code",
        required=("code", "section", "kind", "text"),
        optional=("options", "minimum", "maximum", "ask_if", "follow_up_only"),
    )


def _languages(top: Entry) -> tuple[str, ...]:
    languages = top.names("languages")
    for language in languages:
        if not _LANGUAGE.fullmatch(language):
            top.log.add(f"languages/{language}", "is not a language code.", "Write it like en or es or pt-BR.")
    if top.has("languages") and not languages:
        top.log.add("languages", "names no language.", "Name at least one, e.g. [en, es].")
    return languages


def _display(top: Entry) -> Mapping[Role, PerPage]:
    inner = top.inner("display", required=(), optional=_BOTH_ROLES)
    return MappingProxyType({
        role: _per_page(inner, role) if role in inner.values else default for role, default in DEFAULT_DISPLAY.items()
    })  # fmt: skip


def _per_page(entry: Entry, role: Role) -> PerPage:
    if isinstance(entry.values[role], str):
        entry.one_of(role, ["block"])
        return "block"
    return entry.integer(role, low=1, high=_MAXIMUM_PER_PAGE)


def _does_not_apply(top: Entry) -> RoleTexts:
    # null says on purpose that the instrument has no such answer; an item that allows it is then refused.
    if "does_not_apply" in top.values and not top.has("does_not_apply"):
        return MappingProxyType({})
    return top.role_texts("does_not_apply")


def _scale_option(entry: Entry) -> Option:
    value = entry.integer("value", low=0, high=100)
    return Option(value=value, label=entry.label("label", roles=_BOTH_ROLES))


def _recall_block(entry: Entry) -> RecallBlock:
    return RecallBlock(id=_identifier(entry), introduction=entry.role_texts("introduction"))


def _domain(entry: Entry) -> Domain:
    return Domain(
        id=_identifier(entry),
        label=entry.texts("label"),
        components=entry.names("components"),
        minimum_components=entry.integer("minimum_components", low=1, high=100),
    )


def _composite(entry: Entry) -> Composite:
    return Composite(
        id=_identifier(entry),
        label=entry.texts("label"),
        components=entry.names("components"),
        minimum_components=entry.integer("minimum_components", low=1, high=100),
    )


def _component(entry: Entry) -> Component:
    measurement = entry.one_of("measurement", ("reflective", "formative_leaning"))
    return Component(
        id=_identifier(entry),
        code=entry.text("code", pattern=_COMPONENT_CODE, example="VN"),
        label=entry.texts("label"),
        domain=entry.text("domain"),
        parent=entry.text("parent") if entry.has("parent") else None,
        definition=entry.text("definition"),
        measurement=cast(Literal["reflective", "formative_leaning"], measurement),
    )


def _item(entry: Entry) -> Item:
    perspective = entry.one_of("clinician_perspective", ("self_report", "meta_perception"))
    return Item(
        code=entry.text("code", pattern=_ITEM_CODE, example="VN1"),
        component=entry.text("component"),
        recall=entry.text("recall"),
        reverse=entry.boolean("reverse"),
        allow_does_not_apply=entry.boolean("allow_does_not_apply"),
        text=entry.role_texts("text"),
        clinician_perspective=cast(Literal["self_report", "meta_perception"], perspective),
        paper_basis=entry.text("paper_basis"),
    )


def _check_item_domains(entries: tuple[Entry, ...], components: Mapping[str, Component]) -> None:
    """An item repeats the domain of its component for the reader's sake; the two must agree."""
    for entry in entries:
        domain = entry.text("domain")
        component = components.get(str(entry.values.get("component")))
        if domain and component is not None and component.domain and domain != component.domain:
            entry.log.add(
                entry.at("domain"),
                f"is {domain}, but the component {component.id} belongs to {component.domain}.",
                "Make the two agree.",
            )


def _form(entry: Entry) -> Form:
    return Form(id=_identifier(entry), label=entry.texts("label"), order=entry.names("order"))


def _question(entry: Entry) -> Question:
    kind = entry.one_of("kind", ("choice", "multiple_choice", "integer", "number", "scale", "years_months"))
    section = entry.one_of("section", ("context", "person", "relationship"))
    text = entry.asked_texts("text")
    options = entry.entries("options", name="value", required=("value", "label")) if "options" in entry.values else ()
    return Question(
        code=entry.text("code", pattern=_QUESTION_CODE, example="X_NEED"),
        section=cast(Literal["context", "person", "relationship"], section),
        kind=cast(Literal["choice", "multiple_choice", "integer", "number", "scale", "years_months"], kind),
        text=text,
        options=tuple(_option(option, tuple(text)) for option in options),
        minimum=entry.number("minimum", low=0, high=1_000_000) if "minimum" in entry.values else None,
        maximum=entry.number("maximum", low=0, high=1_000_000) if "maximum" in entry.values else None,
        ask_if=_condition(entry),
        follow_up_only=entry.boolean("follow_up_only"),
    )


def _option(entry: Entry, roles: tuple[Role, ...]) -> Option:
    # Lower case, so that no option can be mistaken for a reason of absence such as PREFER_NOT.
    value = entry.text("value", pattern=SNAKE, example="prefer_not (lower case)")
    return Option(value=value, label=entry.label("label", roles=roles))


def _condition(entry: Entry) -> Condition | None:
    if "ask_if" not in entry.values:
        return None
    inner = entry.inner("ask_if", required=("question", "values"))
    return Condition(question=inner.text("question"), values=inner.names("values"))


def _identifier(entry: Entry) -> str:
    return entry.text("id", pattern=SNAKE, example="full_attention")


def _scoring(top: Entry) -> ScoringRules:
    entry = top.inner("scoring", required=tuple(field.name for field in dataclasses.fields(ScoringRules)))
    return ScoringRules(
        version=entry.text("version", pattern=_VERSION, example='"1.0"'),
        component_answered_percent=entry.integer("component_answered_percent", low=1, high=100),
        domain_answered_percent=entry.integer("domain_answered_percent", low=1, high=100),
        straightline_items=entry.names("straightline_items"),
        reverse_conflict_items=entry.names("reverse_conflict_items"),
        reverse_conflict_distance=entry.number("reverse_conflict_distance", low=0.5, high=100),
        reverse_conflict_minimum=entry.integer("reverse_conflict_minimum", low=1, high=100),
        fast_median_seconds=entry.number("fast_median_seconds", low=0, high=60),
        missing_percent=entry.integer("missing_percent", low=0, high=100),
        maximum_days_apart=entry.integer("maximum_days_apart", low=0, high=3650),
        minimum_months_known=entry.integer("minimum_months_known", low=0, high=1200),
        minimum_visits=entry.integer("minimum_visits", low=0, high=1000),
        reliable_gap_z=entry.number("reliable_gap_z", low=0.1, high=10),
        profile_minimum_components=entry.integer("profile_minimum_components", low=2, high=1000),
    )


def _examples(top: Entry, instrument: Instrument) -> tuple[ScoringExample, ...]:
    entries = top.entries("examples", name="id", required=_EXAMPLE_KEYS, optional=("others",))
    return tuple(_example(entry, instrument) for entry in entries)


def _example(entry: Entry, instrument: Instrument) -> ScoringExample:
    form = entry.text("form")
    answers = {code: _answer(entry, f"answers/{code}", value) for code, value in entry.free_mapping("answers").items()}
    if "others" in entry.values and form in instrument.forms:
        others = _answer(entry, "others", entry.values["others"])
        answers |= {code: others for code in instrument.forms[form].order if code not in answers}
    scores = entry.free_mapping("scores")
    numbers = Entry(entry.log, entry.at("scores"), scores)
    reasons = entry.free_mapping("unscored")
    texts = Entry(entry.log, entry.at("unscored"), reasons)
    return ScoringExample(
        id=_identifier(entry),
        form=form,
        answers=MappingProxyType(answers),
        scores=MappingProxyType({score: numbers.number(score, low=0, high=100) for score in scores}),
        unscored=MappingProxyType({score: texts.text(score) for score in reasons}),
        flags=entry.names("flags"),
    )


def _answer(entry: Entry, key: str, value: Plain) -> int | str:
    if isinstance(value, int | str) and not isinstance(value, bool) and value != "":
        return value
    entry.log.add(
        entry.at(key), f"must be a scale point or a reason of absence, but is {kind_of(value)}.", "Write 4 or SKIPPED."
    )
    return ""


def instrument_document(instrument: Instrument) -> dict[str, object]:
    """The instrument as plain lists and dictionaries in the structure of a catalogue file, everything written out.

    This is what the content hash is taken of, and what `parse_instrument` reads back to an equal instrument:
    lists keep what is ordered, so the order of keys, comments and line breaks of the file do not count.
    """
    # Left out where nothing special is said: versions released before it could be said keep their hash.
    display = {role.value: n for role, n in instrument.display.items() if n != DEFAULT_DISPLAY[role]}
    return {
        **({"display": display} if display else {}),
        **({"item_order": _SHUFFLED} if instrument.may_shuffle else {}),
        "instrument": instrument.code,
        "version": instrument.version,
        "title": dict(instrument.title),
        "source": instrument.source,
        "licence": instrument.licence,
        "status": instrument.status,
        "languages": list(instrument.languages),
        "scale": [_option_document(option) for option in instrument.scale],
        "does_not_apply": _role_document(instrument.does_not_apply) or None,
        "instructions": _role_document(instrument.instructions),
        "recall_blocks": [
            {"id": block.id, "introduction": _role_document(block.introduction)}
            for block in instrument.recall_blocks.values()
        ],
        "domains": [_group_document(domain) for domain in instrument.domains.values()],
        "components": [
            {
                "id": component.id,
                "code": component.code,
                "label": dict(component.label),
                "domain": component.domain,
                "parent": component.parent,
                "measurement": component.measurement,
                "definition": component.definition,
            }
            for component in instrument.components.values()
        ],
        "composites": [_group_document(composite) for composite in instrument.composites.values()],
        "items": [
            {
                "code": item.code,
                "component": item.component,
                "domain": instrument.components[item.component].domain,
                "recall": item.recall,
                "reverse": item.reverse,
                "allow_does_not_apply": item.allow_does_not_apply,
                "clinician_perspective": item.clinician_perspective,
                "paper_basis": item.paper_basis,
                "text": _role_document(item.text),
            }
            for item in instrument.items.values()
        ],
        "forms": [
            {"id": form.id, "label": dict(form.label), "order": list(form.order)} for form in instrument.forms.values()
        ],
        "questions": [_question_document(question) for question in instrument.questions.values()],
        "scoring": {
            field.name: list(value) if isinstance(value, tuple) else value
            for field in dataclasses.fields(ScoringRules)
            for value in [getattr(instrument.scoring, field.name)]
        },
        "examples": [
            {
                "id": example.id,
                "form": example.form,
                "answers": dict(example.answers),
                "scores": dict(example.scores),
                "unscored": dict(example.unscored),
                "flags": list(example.flags),
            }
            for example in instrument.examples
        ],
    }


def _role_document(texts: RoleTexts) -> dict[str, dict[str, str]]:
    return {role.value: dict(by_language) for role, by_language in texts.items()}


def _option_document(option: Option) -> dict[str, object]:
    return {"value": option.value, "label": _role_document(option.label)}


def _group_document(group: Domain | Composite) -> dict[str, object]:
    return {
        "id": group.id,
        "label": dict(group.label),
        "minimum_components": group.minimum_components,
        "components": list(group.components),
    }


def _question_document(question: Question) -> dict[str, object]:
    document: dict[str, object] = {
        "code": question.code,
        "section": question.section,
        "kind": question.kind,
        "text": _role_document(question.text),
        "options": [_option_document(option) for option in question.options],
        "follow_up_only": question.follow_up_only,
    }
    for bound in ("minimum", "maximum"):
        if getattr(question, bound) is not None:
            document[bound] = getattr(question, bound)
    if question.ask_if is not None:
        document["ask_if"] = {"question": question.ask_if.question, "values": list(question.ask_if.values)}
    return document
