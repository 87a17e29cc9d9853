"""The reader refuses every kind of faulty catalogue file, and says where the fault is and what to do."""

import copy
import dataclasses
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
import yaml

from instruments.catalogue.problems import CatalogueError, Problem
from instruments.catalogue.reader import instrument_document, parse_instrument, read_instrument
from instruments.definitions import Role

RELEASED_PATH = Path(__file__).parents[3] / "instruments" / "catalogue" / "healing-relationships-1.0.yaml"
RELEASED_TEXT = RELEASED_PATH.read_text(encoding="utf-8")
RELEASED: dict[str, Any] = yaml.safe_load(RELEASED_TEXT)

Document = dict[str, Any]
Plant = Callable[[Document], None]


def problems_of(document: object) -> list[Problem]:
    """Everything that the reader finds wrong with a document."""
    return problems_of_text(json.dumps(document, ensure_ascii=False))  # JSON is YAML, without aliases


def problems_of_text(text: str | bytes) -> list[Problem]:
    """Everything that the reader finds wrong with a text."""
    with pytest.raises(CatalogueError) as caught:
        parse_instrument(text, source="draft.yaml")
    assert all(problem.file == "draft.yaml" for problem in caught.value.problems)
    return list(caught.value.problems)


def entry(document: Document, section: str, name: str) -> Document:
    """One entry of a list of the document, by its code or id."""
    found = [one for one in document[section] if name in (one.get("code"), one.get("id"))]
    assert len(found) == 1
    only: Document = found[0]
    return only


def put(section: str, name: str, key: str, value: object) -> Plant:
    """Replace one value of one entry."""

    def plant(document: Document) -> None:
        entry(document, section, name)[key] = value

    return plant


def drop(section: str, name: str, key: str) -> Plant:
    """Remove one key of one entry."""

    def plant(document: Document) -> None:
        del entry(document, section, name)[key]

    return plant


def top(key: str, value: object) -> Plant:
    """Replace one value of the whole document."""

    def plant(document: Document) -> None:
        document[key] = value

    return plant


def within(path: str, value: object) -> Plant:
    """Replace a value deep in an entry: section/name/key/key... (section/key/key for mappings)."""

    def plant(document: Document) -> None:
        section, *rest = path.split("/")
        node: Any = document[section]
        if isinstance(node, list):
            name, *rest = rest
            node = entry(document, section, name)
        for key in rest[:-1]:
            node = node[key]
        node[rest[-1]] = value

    return plant


def remove(path: str) -> Plant:
    """Remove a key deep in an entry."""

    def plant(document: Document) -> None:
        section, *rest = path.split("/")
        node: Any = document[section]
        if isinstance(node, list):
            name, *rest = rest
            node = entry(document, section, name)
        for key in rest[:-1]:
            node = node[key]
        del node[rest[-1]]

    return plant


def order(form: str, change: Callable[[list[str]], None]) -> Plant:
    """Change the order of a form."""

    def plant(document: Document) -> None:
        change(entry(document, "forms", form)["order"])

    return plant


def repeat(section: str, name: str) -> Plant:
    """Add a second copy of an entry."""

    def plant(document: Document) -> None:
        document[section].append(copy.deepcopy(entry(document, section, name)))

    return plant


def option(question: str, number: int, key: str, value: object) -> Plant:
    """Change one option of a question."""

    def plant(document: Document) -> None:
        entry(document, "questions", question)["options"][number][key] = value

    return plant


def rename_component_in_domain(document: Document) -> None:
    entry(document, "domains", "valuing")["components"].remove("connecting")


def list_component_in_two_domains(document: Document) -> None:
    entry(document, "domains", "outcome")["components"].append("connecting")


def remove_item(document: Document) -> None:
    document["items"].remove(entry(document, "items", "VN1"))


def ask_later_question(document: Document) -> None:
    entry(document, "questions", "X_NEED")["ask_if"] = {"question": "X_MISTAKE", "values": ["yes"]}


def exchange_bounds(document: Document) -> None:
    entry(document, "questions", "pt_age").update(minimum=111, maximum=110)


def empty_scale(document: Document) -> None:
    document["scale"] = []


# (name, how the fault is planted, the place told, a part of what is told, a part of the remedy)
DEFECTS: list[tuple[str, Plant, str, str, str]] = [
    # Structure
    ("unknown top-level key", top("colour", "red"), "colour", "not a known key", "Remove it"),
    ("missing top-level key", lambda d: d.pop("licence"), "licence", "is missing", "Add the key licence"),
    ("unknown key of an item", put("items", "VN1", "weight", 2), "items/VN1/weight", "not a known key", "Remove it"),
    ("missing key of an item", drop("items", "VN1", "recall"), "items/VN1/recall", "is missing", "Add the key recall"),
    ("section of another kind", top("items", {}), "items", "must be a list, but is a mapping", "Write a list"),
    ("entry that is no mapping", lambda d: d["items"].append("VN4"), "items/61", "must be a mapping", "Give it code"),
    ("number for a text", top("title", {"en": 3, "es": "t"}), "title/en", "must be text", "quotes"),
    ("text for a truth value", put("items", "VN1", "reverse", "yes"), "items/VN1/reverse", "is text", "true or false"),
    (
        "truth value for a number",
        within("scoring/missing_percent", True),
        "scoring/missing_percent",
        "truth value",
        "whole",
    ),
    (
        "fraction for a whole number",
        within("scoring/missing_percent", 3.5),
        "scoring/missing_percent",
        "decimal",
        "whole",
    ),
    ("nothing for a text", top("source", None), "source", "is nothing", "Write text"),
    ("unquoted version", top("version", 1.0), "version", "decimal number", "quotes"),
    ("bad version", top("version", "1.x"), "version", "not in the form", '"1.0"'),
    ("version with leading zero", top("version", "01.0"), "version", "not in the form", '"1.0"'),
    ("bad instrument code", top("instrument", "Healing Relationships"), "instrument", "form", "healing-relationships"),
    ("no entries on a page", top("display", {"patient": 0}), "display/patient", "is 0", "from 1 to 20"),
    ("an unknown way to show", top("display", {"patient": "grid"}), "display/patient", "is 'grid'", "block"),
    ("pages for a stranger", top("display", {"nurse": 5}), "display/nurse", "not a known key", "patient, clinician"),
    ("half a page", top("display", {"clinician": 2.5}), "display/clinician", "decimal", "whole"),
    ("no languages", top("languages", []), "languages", "names no language", "at least one"),
    ("bad language code", top("languages", ["en", "Spanish"]), "languages/Spanish", "language code", "like en"),
    ("language twice", top("languages", ["en", "es", "es"]), "languages/es", "stands twice", "Keep one"),
    # Texts
    (
        "missing Spanish of a clinician item",
        remove("items/VN3/text/clinician/es"),
        "items/VN3/text/clinician/es",
        "is missing",
        "Add the key es",
    ),
    ("missing role of an item", remove("items/VN3/text/patient"), "items/VN3/text/patient", "is missing", "patient"),
    ("empty text", within("items/VN3/text/patient/en", " "), "items/VN3/text/patient/en", "is empty", "Write the text"),
    (
        "language not announced",
        within("items/VN3/text/patient/fr", "x"),
        "items/VN3/text/patient/fr",
        "known key",
        "en, es",
    ),
    ("missing instructions", remove("instructions/clinician/en"), "instructions/clinician/en", "is missing", "en"),
    (
        "missing recall text",
        remove("recall_blocks/now/introduction/clinician/es"),
        "recall_blocks/now/introduction/clinician/es",
        "is missing",
        "es",
    ),
    ("missing domain label", remove("domains/valuing/label/es"), "domains/valuing/label/es", "is missing", "es"),
    ("missing component label", remove("components/trust/label/en"), "components/trust/label/en", "is missing", "en"),
    ("missing form label", remove("forms/short/label/es"), "forms/short/label/es", "is missing", "es"),
    ("missing title", remove("title/es"), "title/es", "is missing", "es"),
    (
        "missing option label",
        option("X_NEED", 0, "label", {"en": "x"}),
        "questions/X_NEED/options/not_at_all/label/es",
        "is missing",
        "es",
    ),
    (
        "option label for one role only",
        option("X_NEED", 0, "label", {"patient": {"en": "x", "es": "x"}}),
        "questions/X_NEED/options/not_at_all/label/clinician",
        "is missing",
        "clinician",
    ),
    ("missing scale label", lambda d: d["scale"][2]["label"].pop("es"), "scale/3/label/es", "is missing", "es"),
    (
        "missing does-not-apply text",
        remove("does_not_apply/clinician/es"),
        "does_not_apply/clinician/es",
        "missing",
        "es",
    ),
    # Names
    ("duplicate item", repeat("items", "VN1"), "items/VN1", "stands twice", "its own code"),
    ("duplicate component", repeat("components", "trust"), "components/trust", "stands twice", "its own id"),
    ("duplicate domain", repeat("domains", "outcome"), "domains/outcome", "stands twice", "its own id"),
    ("duplicate form", repeat("forms", "short"), "forms/short", "stands twice", "its own id"),
    ("duplicate question", repeat("questions", "pt_age"), "questions/pt_age", "stands twice", "its own code"),
    ("duplicate example", repeat("examples", "test_vector"), "examples/test_vector", "stands twice", "its own id"),
    ("duplicate recall block", repeat("recall_blocks", "now"), "recall_blocks/now", "stands twice", "its own id"),
    (
        "duplicate component code",
        put("components", "hope", "code", "OT"),
        "components/hope/code",
        "another",
        "own code",
    ),
    ("item code of another form", put("items", "VN1", "code", "vn_1"), "items/vn_1/code", "not in the form", "VN1"),
    ("item code of another component", put("items", "VN1", "code", "XX9"), "items/XX9/code", "start with VN", "Rename"),
    (
        "component named like a domain",
        put("composites", "presence_composite", "id", "trust"),
        "composites/trust",
        "has the name of something else",
        "another name",
    ),
    (
        "question named like an item",
        put("questions", "pt_age", "code", "VN1"),
        "questions/VN1",
        "name of something",
        "another",
    ),
    # The model
    (
        "unknown component",
        put("items", "VN1", "component", "charm"),
        "items/VN1/component",
        "unknown component charm",
        "trust",
    ),
    (
        "unknown recall block",
        put("items", "VN1", "recall", "ever"),
        "items/VN1/recall",
        "unknown block ever",
        "since_met",
    ),
    (
        "item's domain differs",
        put("items", "VN1", "domain", "outcome"),
        "items/VN1/domain",
        "belongs to valuing",
        "agree",
    ),
    (
        "unknown domain",
        put("components", "trust", "domain", "faith"),
        "components/trust/domain",
        "unknown domain",
        "outcome",
    ),
    (
        "component missing in its domain",
        rename_component_in_domain,
        "components/connecting/domain",
        "not list",
        "agree",
    ),
    (
        "component in another domain too",
        list_component_in_two_domains,
        "domains/outcome/components/connecting",
        "belongs to valuing",
        "agree",
    ),
    (
        "domain of an unknown component",
        within("domains/outcome/components", ["trust", "hope", "being_known", "luck"]),
        "domains/outcome/components/luck",
        "not a component",
        "Use one of",
    ),
    (
        "component twice in a domain",
        within("domains/outcome/components", ["trust", "hope", "being_known", "hope"]),
        "domains/outcome/components/hope",
        "stands twice",
        "Keep one",
    ),
    (
        "too many components needed",
        put("domains", "outcome", "minimum_components", 4),
        "domains/outcome/minimum_components",
        "there are 3",
        "Lower it",
    ),
    (
        "no component needed",
        put("domains", "outcome", "minimum_components", 0),
        "domains/outcome/minimum_components",
        "is 0",
        "from 1",
    ),
    (
        "composite of an unknown component",
        within("composites/presence_composite/components", ["presence", "aura", "empathy"]),
        "composites/presence_composite/components/aura",
        "not a component",
        "Use one of",
    ),
    (
        "unknown parent",
        put("components", "empathy", "parent", "aura"),
        "components/empathy/parent",
        "unknown",
        "Use one of",
    ),
    (
        "component its own parent",
        put("components", "trust", "parent", "trust"),
        "components/trust/parent",
        "itself",
        "one level",
    ),
    (
        "parent with a parent",
        put("components", "connecting", "parent", "empathy"),
        "components/connecting/parent",
        "has a parent too",
        "one level",
    ),
    (
        "parent in another domain",
        put("components", "hope", "parent", "presence"),
        "components/hope/parent",
        "another domain",
        "same domain",
    ),
    (
        "unknown measurement",
        put("components", "hope", "measurement", "vague"),
        "components/hope/measurement",
        "vague",
        "reflective, formative_leaning",
    ),
    (
        "unknown perspective",
        put("items", "OH1", "clinician_perspective", "guess"),
        "items/OH1/clinician_perspective",
        "guess",
        "self_report, meta_perception",
    ),
    # The scale
    ("scale with a gap", lambda d: d["scale"].pop(1), "scale", "1, 3, 4, 5", "consecutive"),
    ("scale upside down", lambda d: d["scale"].reverse(), "scale", "5, 4, 3, 2, 1", "lowest first"),
    ("scale point twice", lambda d: d["scale"].append(d["scale"][0]), "scale/1", "stands twice", "its own value"),
    ("no scale", empty_scale, "scale", "has 0 points", "at least two"),
    ("reversed item without a scale", empty_scale, "items/VN3/reverse", "no scale to reverse on", "points"),
    (
        "'does not apply' without its label",
        top("does_not_apply", None),
        "items/VP2/allow_does_not_apply",
        "no label",
        "Write its texts",
    ),
    # The forms
    (
        "form with an absent item",
        order("full", lambda o: o.append("OK9")),
        "forms/full/order/OK9",
        "not an item",
        "Correct",
    ),
    (
        "form with an item twice",
        order("full", lambda o: o.append("OK3")),
        "forms/full/order/OK3",
        "stands twice",
        "Keep one",
    ),
    ("removed item still on a form", remove_item, "forms/full/order/VN1", "not an item", "add the item"),
    (
        "short form no subset",
        order("short", lambda o: o.insert(1, "VC3")),
        "forms/short/order/VC3",
        "not on the full",
        "subset",
    ),
    (
        "form without a component",
        order("short", lambda o: o.remove("OH1")),
        "forms/short/order",
        "component hope",
        "Add one",
    ),
    (
        "form that goes back to a block",
        order("full", lambda o: o.append(o.pop(0))),
        "forms/full/order/VN1",
        "goes back to the block last_6_months",
        "together",
    ),
    ("no short form", lambda d: d["forms"].pop(1), "forms/short", "is missing", "full and a short"),
    # The questions
    (
        "question that asks nobody",
        put("questions", "pt_age", "text", {}),
        "questions/pt_age/text",
        "asks nobody",
        "patient",
    ),
    (
        "question for an unknown role",
        within("questions/pt_age/text/nurse", {}),
        "questions/pt_age/text/nurse",
        "known key",
        "patient, clinician",
    ),
    ("unknown kind", put("questions", "pt_age", "kind", "date"), "questions/pt_age/kind", "date", "multiple_choice"),
    (
        "unknown section",
        put("questions", "pt_age", "section", "extras"),
        "questions/pt_age/section",
        "extras",
        "context",
    ),
    ("choice without options", drop("questions", "X_NEED", "options"), "questions/X_NEED/options", "0 answers", "two"),
    (
        "option twice",
        option("X_NEED", 1, "value", "not_at_all"),
        "questions/X_NEED/options/not_at_all",
        "twice",
        "own value",
    ),
    (
        "option in upper case",
        option("X_NEED", 1, "value", "DNA"),
        "questions/X_NEED/options/DNA/value",
        "form",
        "lower case",
    ),
    (
        "option read as a truth value",
        option("X_MISTAKE", 0, "value", True),
        "questions/X_MISTAKE/options/1/value",
        "truth value",
        "quotes",
    ),
    (
        "options of a numeric question",
        lambda d: entry(d, "questions", "pt_age")["options"].insert(
            0, {"value": "old", "label": {"en": "x", "es": "x"}}
        ),
        "questions/pt_age/options",
        "kind integer",
        "prefer_not",
    ),
    (
        "personal question that can't be declined",
        lambda d: entry(d, "questions", "pt_sex")["options"].pop(),
        "questions/pt_sex/options",
        "prefer_not",
        "decline",
    ),
    (
        "number without bounds",
        drop("questions", "pt_age", "maximum"),
        "questions/pt_age/maximum",
        "is missing",
        "greatest",
    ),
    (
        "fraction as a bound",
        put("questions", "pt_age", "maximum", 99.5),
        "questions/pt_age/maximum",
        "whole numbers",
        "Use",
    ),
    (
        "bounds of a choice",
        put("questions", "pt_sex", "minimum", 1),
        "questions/pt_sex/minimum",
        "kind choice",
        "Remove",
    ),
    ("minimum above maximum", exchange_bounds, "questions/pt_age/minimum", "above the maximum", "Exchange"),
    (
        "condition on an unknown question",
        within("questions/X_OWNED/ask_if/question", "X_X"),
        "questions/X_OWNED/ask_if/question",
        "unknown question X_X",
        "before this one",
    ),
    (
        "condition on a later question",
        ask_later_question,
        "questions/X_NEED/ask_if/question",
        "later",
        "before this one",
    ),
    (
        "condition on a value not offered",
        within("questions/X_OWNED/ask_if/values", ["maybe"]),
        "questions/X_OWNED/ask_if/values/maybe",
        "not offered by X_MISTAKE",
        "yes, no, not_sure",
    ),
    (
        "condition on no value",
        within("questions/X_OWNED/ask_if/values", []),
        "questions/X_OWNED/ask_if/values",
        "empty",
        "Name",
    ),
    (
        "condition on another role's question",
        put("questions", "clin_sex", "ask_if", {"question": "pt_sex", "values": ["male"]}),
        "questions/clin_sex/ask_if/question",
        "not asked of the clinician",
        "same roles",
    ),
    (
        "condition across occasions",
        put("questions", "clin_sex", "ask_if", {"question": "X_MISTAKE", "values": ["yes"]}),
        "questions/clin_sex/ask_if/question",
        "another occasion",
        "asked once",
    ),
    # The scoring rules
    (
        "share above a hundred",
        within("scoring/domain_answered_percent", 101),
        "scoring/domain_answered_percent",
        "101",
        "100",
    ),
    ("missing rule", remove("scoring/missing_percent"), "scoring/missing_percent", "is missing", "missing_percent"),
    (
        "flag on an absent item",
        within("scoring/straightline_items", ["VN9"]),
        "scoring/straightline_items/VN9",
        "not an item",
        "Correct",
    ),
    (
        "flag on an item that isn't reversed",
        within("scoring/reverse_conflict_items", ["VN1", "VN3"]),
        "scoring/reverse_conflict_items/VN1",
        "not a reversed item",
        "reversed",
    ),
    (
        "conflict that can't occur",
        within("scoring/reverse_conflict_minimum", 4),
        "scoring/reverse_conflict_minimum",
        "3 items",
        "Lower",
    ),
    (
        "distance wider than the scale",
        within("scoring/reverse_conflict_distance", 5),
        "scoring/reverse_conflict_distance",
        "wider than the scale",
        "at most 4",
    ),
    (
        "profile of more than all components",
        within("scoring/profile_minimum_components", 21),
        "scoring/profile_minimum_components",
        "20 components",
        "Lower",
    ),
    # The examples
    (
        "example of an unknown form",
        put("examples", "test_vector", "form", "tiny"),
        "examples/test_vector/form",
        "tiny",
        "full",
    ),
    (
        "example with an absent item",
        within("examples/test_vector/answers/ZZ1", 3),
        "examples/test_vector/answers/ZZ1",
        "not an item of the full form",
        "Correct",
    ),
    (
        "example with an item of the other form",
        within("examples/short_form/answers/VN2", 3),
        "examples/short_form/answers/VN2",
        "not an item of the short form",
        "leave it out",
    ),
    (
        "answer off the scale",
        within("examples/test_vector/answers/VN1", 6),
        "examples/test_vector/answers/VN1",
        "neither",
        "1, 2, 3, 4, 5",
    ),
    (
        "empty answer",
        within("examples/test_vector/answers/VN1", ""),
        "examples/test_vector/answers/VN1",
        "must be",
        "Write 4",
    ),
    (
        "unknown absence",
        within("examples/test_vector/answers/VN1", "LOST"),
        "examples/test_vector/answers/VN1",
        "neither",
        "SKIPPED",
    ),
    (
        "'does not apply' where it isn't offered",
        within("examples/test_vector/answers/VN1", "DNA"),
        "examples/test_vector/answers/VN1",
        "does not allow",
        "SKIPPED",
    ),
    (
        "answer of another kind",
        within("examples/test_vector/answers/VN1", 4.5),
        "examples/test_vector/answers/VN1",
        "decimal",
        "Write 4",
    ),
    (
        "item without an answer",
        drop("examples", "test_vector", "others"),
        "examples/test_vector/answers/OK3",
        "missing",
        "under others",
    ),
    (
        "absent score",
        within("examples/test_vector/scores/luck", 3),
        "examples/test_vector/scores/luck",
        "not a score",
        "Name a",
    ),
    (
        "score out of range",
        within("examples/test_vector/scores/hope", 101),
        "examples/test_vector/scores/hope",
        "101",
        "100",
    ),
    (
        "score not told",
        remove("examples/test_vector/scores/hope"),
        "examples/test_vector/scores/hope",
        "neither",
        "reason",
    ),
    (
        "score and reason",
        within("examples/test_vector/unscored", {"hope": "TOO_FEW_ANSWERS"}),
        "examples/test_vector/scores/hope",
        "both",
        "either",
    ),
    (
        "unknown reason",
        within("examples/nothing_answered/unscored/hope", "LAZY"),
        "examples/nothing_answered/unscored/hope",
        "unknown reason",
        "NOT_APPLICABLE",
    ),
    (
        "unknown flag",
        within("examples/test_vector/flags", ["odd"]),
        "examples/test_vector/flags/odd",
        "not a flag",
        "missing",
    ),
]


@pytest.mark.parametrize(
    ("plant", "place", "what", "remedy"), [defect[1:] for defect in DEFECTS], ids=[defect[0] for defect in DEFECTS]
)
def test_a_planted_fault_is_told_with_place_and_remedy(plant: Plant, place: str, what: str, remedy: str) -> None:
    """Each kind of fault, planted into the released file, is found at its place and comes with a way out."""
    document = copy.deepcopy(RELEASED)
    plant(document)
    problems = problems_of(document)
    told = [problem for problem in problems if problem.place == place]
    assert any(what in problem.what and remedy in problem.remedy for problem in told), "\n".join(map(str, problems))


def test_the_unplanted_document_is_sound() -> None:
    """The document that the faults are planted into has none of its own."""
    assert parse_instrument(json.dumps(RELEASED), source="draft.yaml").code == "healing-relationships"


def test_all_faults_are_told_at_once() -> None:
    """Three faults in three places make three problems, one line each, in one error."""
    document = copy.deepcopy(RELEASED)
    document["version"] = "one"
    entry(document, "items", "VN3")["text"]["clinician"]["es"] = ""
    entry(document, "questions", "pt_age")["maximum"] = 17
    problems = problems_of(document)
    assert {problem.place for problem in problems} == {
        "version", "items/VN3/text/clinician/es", "questions/pt_age/minimum",
    }  # fmt: skip
    assert len(problems) == 3
    with pytest.raises(CatalogueError) as caught:
        parse_instrument(json.dumps(document), source="draft.yaml")
    lines = str(caught.value).splitlines()
    assert len(lines) == 3
    assert "draft.yaml: items/VN3/text/clinician/es: is empty. Write the text." in lines


def paths_of(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Where every value below the top stands, depth first."""
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        yield (*path, key)
        yield from paths_of(child, (*path, key))


WRONG_VALUES: list[object] = [
    None,
    [],
    {},
    "",
    3.5,
    True,
    -1,
    ["x", 1],
    {"en": 1},
    [[1]],
    [{}],
    10**30,
    {"patient": None},
]


def n_faults(document: Document) -> int:
    """How many problems the reader finds; 0 if it takes the document for sound."""
    try:
        parse_instrument(json.dumps(document), source="draft.yaml")
    except CatalogueError as error:
        return len(error.problems)
    return 0


@pytest.mark.parametrize("start", range(0, 40, 8))
def test_a_wrong_value_anywhere_never_crashes_the_reader(start: int) -> None:
    """Whatever stands wherever in the file, the reader ends in an instrument or in a list of problems."""
    refused = 0
    # Some hundred of the three thousand values, each replaced by one kind of wrong value in turn.
    paths = list(paths_of(RELEASED))[start::160]
    for number, path in enumerate(paths):
        document = copy.deepcopy(RELEASED)
        node: Any = document
        for key in path[:-1]:
            node = node[key]
        node[path[-1]] = WRONG_VALUES[(number + start) % len(WRONG_VALUES)]
        refused += n_faults(document) > 0
    # A few of the values are right where they happen to fall, e.g. "True" for a truth value.
    assert refused >= 0.8 * len(paths)


# (name, the text, the place told, a part of what is told)
TEXT_DEFECTS: list[tuple[str, str | bytes, str, str]] = [
    ("syntax error", "instrument: healing\nitems: [VN1, VN2\nversion: 1\n", "line 3", "not valid YAML"),
    ("tab as indentation", "title:\n\ten: x\n", "line 2", "not valid YAML"),
    ("duplicate key at the top", RELEASED_TEXT + "\nlicence: CC0-1.0\n", "licence", "stands twice (lines"),
    (
        "duplicate key in an item",
        RELEASED_TEXT.replace("    recall: last_6_months\n", "    recall: last_6_months\n    recall: now\n", 1),
        "items/VN1/recall",
        "stands twice",
    ),
    ("alias", "title: &t {en: x}\nsource: *t\n", "line 2", "alias *t"),
    ("anchor", "title: &t {en: x}\n", "line 1", "anchor &t"),
    ("merge key", "title: {<<: {en: x}}\n", "line 1", "key that YAML does not read as text"),
    ("tag", "title: !!python/object/apply:os.system [id]\n", "line 1", "sets the tag"),
    ("second document", "title: x\n---\ntitle: y\n", "line 2", "second document"),
    ("date", "title: 2024-01-01\n", "title", "read by YAML as a timestamp"),
    ("truth value as key", "title: {yes: x}\n", "line 1", "key that YAML does not read as text"),
    ("number too long to read", "title: " + "9" * 5000 + "\n", "title", "not a number that can be read"),
    ("NUL", "title: x\nsource: a\0b\n", "line 2", "NUL"),
    ("control character", "title: a\x07b\n", "file", "characters that YAML does not allow"),
    ("half a surrogate pair", "title: '\ud800'\n", "file", "surrogate"),
    ("not UTF-8", "title: x\nsource: año\n".encode("latin-1"), "line 2", "not UTF-8"),
    ("empty", "# nothing here\n", "file", "is empty"),
    ("list instead of a mapping", "- title\n", "file", "must be a mapping, but is a list"),
    ("nested too deep", "title: " + "[" * 5000 + "]" * 5000, "line 1", "nested more than 20 deep"),
    ("too large as text", "# " + "x" * 2_000_000, "file", "larger than 2,000,000 bytes"),
    ("too large as bytes", b"# " + b"x" * 2_000_000, "file", "larger than 2,000,000 bytes"),
]


@pytest.mark.parametrize(
    ("text", "place", "what"), [defect[1:] for defect in TEXT_DEFECTS], ids=[defect[0] for defect in TEXT_DEFECTS]
)
def test_a_text_that_is_no_strict_yaml_is_refused(text: str | bytes, place: str, what: str) -> None:
    """Broken, ambiguous and hostile texts are refused before anything is built from them."""
    problems = problems_of_text(text)
    assert any(problem.place == place and what in problem.what and problem.remedy for problem in problems), problems


def test_an_alias_bomb_is_refused_unopened() -> None:
    """Ten lines that would unfold to ten thousand million entries cost no memory: each alias is named instead."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    problems = problems_of_text("\n".join(lines))
    assert sum("alias" in problem.what for problem in problems) == 90
    assert sum("anchor" in problem.what for problem in problems) == 10


@pytest.mark.parametrize("name", ["absent.yaml", "."], ids=["absent file", "folder"])
def test_a_path_that_cannot_be_read_is_a_catalogue_error(tmp_path: Path, name: str) -> None:
    """A path without a readable file is told like any other fault, with the path."""
    with pytest.raises(CatalogueError, match=r"cannot be read .* Check the path") as caught:
        read_instrument(tmp_path / name)
    assert caught.value.problems[0].file == str(tmp_path / name)


def test_a_file_that_is_too_large_is_not_read_whole(tmp_path: Path) -> None:
    """A file beyond the limit is refused."""
    path = tmp_path / "large.yaml"
    path.write_bytes(b"#" * 2_000_001)
    with pytest.raises(CatalogueError, match="larger than 2,000,000 bytes"):
        read_instrument(path)


def test_reading_a_path_and_its_content_is_the_same() -> None:
    """Path, text and bytes give equal instruments."""
    from_path = read_instrument(RELEASED_PATH)
    assert parse_instrument(RELEASED_TEXT, source="x") == from_path
    assert parse_instrument(RELEASED_TEXT.encode(), source="y") == from_path


def test_the_document_reads_back_to_an_equal_instrument() -> None:
    """Writing an instrument out and reading it again changes nothing, its hash included."""
    instrument = read_instrument(RELEASED_PATH)
    text = json.dumps(instrument_document(instrument), ensure_ascii=False)
    assert parse_instrument(text, source="written out") == instrument


def turn_keys(value: Any) -> Any:
    """The same value with the keys of every mapping in reverse order."""
    if isinstance(value, dict):
        return {key: turn_keys(value[key]) for key in reversed(value)}
    return [turn_keys(one) for one in value] if isinstance(value, list) else value


@pytest.mark.parametrize(
    "text",
    [
        RELEASED_TEXT + "\n# a comment\n",
        RELEASED_TEXT.replace("\n", "\r\n"),
        "\ufeff" + RELEASED_TEXT,
        yaml.safe_dump(RELEASED, allow_unicode=True, sort_keys=True),
        json.dumps(turn_keys(RELEASED), indent=3),
    ],
    ids=["comment", "line ends", "byte order mark", "dumped anew", "keys turned round, as JSON"],
)
def test_the_hash_does_not_depend_on_the_writing(text: str) -> None:
    """Comments, line ends, quoting and the order of keys leave the content hash as it is."""
    assert parse_instrument(text, source="x").content_hash == read_instrument(RELEASED_PATH).content_hash


CHANGES: list[tuple[str, Plant]] = [
    ("a text", within("items/VN3/text/clinician/es", "Juzgo a este(a) paciente.")),
    ("an option's label", option("X_NEED", 0, "label", {"en": "Never", "es": "Nunca"})),
    ("the order of questions", lambda d: d["questions"].insert(0, d["questions"].pop(1))),
    ("the order of a form", order("short", lambda o: o.insert(0, o.pop(1)))),
    ("a scoring rule", within("scoring/missing_percent", 31)),
    ("an example", within("examples/test_vector/scores/hope", 75.00000001)),
    ("the status", top("status", "tested")),
    ("the licence", top("licence", "CC0-1.0")),
    ("a bound", within("questions/pt_age/minimum", 19)),
    ("when a question is asked", drop("questions", "X_CHANGE", "follow_up_only")),
    ("a condition", within("questions/X_OWNED/ask_if/values", ["yes", "not_sure"])),
    ("how many entries are on a page", top("display", {"patient": 5})),
    ("a nesting", put("components", "empathy", "parent", None)),
]


@pytest.mark.parametrize("plant", [change[1] for change in CHANGES], ids=[change[0] for change in CHANGES])
def test_the_hash_changes_with_the_content(plant: Plant) -> None:
    """Whatever a respondent or a score could notice changes the content hash."""
    document = copy.deepcopy(RELEASED)
    plant(document)
    changed = parse_instrument(json.dumps(document), source="x")
    assert changed.content_hash != read_instrument(RELEASED_PATH).content_hash


def test_the_usual_display_need_not_be_said() -> None:
    """Saying what is usual changes neither the instrument nor its hash: versions older than the key keep theirs."""
    document = copy.deepcopy(RELEASED)
    top("display", {"patient": 1, "clinician": "block"})(document)
    assert parse_instrument(json.dumps(document), source="x") == read_instrument(RELEASED_PATH)


def test_an_instrument_cannot_be_changed() -> None:
    """Definitions and their mappings are frozen, so that no request can change what the next one sees."""
    instrument = read_instrument(RELEASED_PATH)
    with pytest.raises(dataclasses.FrozenInstanceError):
        instrument.version = "2.0"  # type: ignore[misc]
    for mapping in (
        instrument.items,
        instrument.questions,
        instrument.items["VN1"].text,
        instrument.items["VN1"].text[Role.PATIENT],
        instrument.questions["X_NEED"].options[0].label,
        instrument.examples[0].answers,
    ):
        assert isinstance(mapping, MappingProxyType)


def test_a_label_without_roles_serves_every_role_asked() -> None:
    """A label by language alone is every role's label; a label by role is taken as it stands."""
    document = copy.deepcopy(RELEASED)
    own = {"patient": {"en": "No", "es": "No"}, "clinician": {"en": "Not in the least", "es": "En absoluto"}}
    option("X_NEED", 0, "label", own)(document)
    question = parse_instrument(json.dumps(document), source="x").questions["X_NEED"]
    assert {role: dict(texts) for role, texts in question.options[0].label.items()} == own
    assert question.options[1].label == {role: {"en": "A little", "es": "Un poco"} for role in Role}


def test_others_answer_the_items_not_named() -> None:
    """The short way to write an example is written out on reading: every item of the form has its answer."""
    instrument = read_instrument(RELEASED_PATH)
    for example in instrument.examples:
        assert set(example.answers) == set(instrument.forms[example.form].order), example.id
    short = next(example for example in instrument.examples if example.id == "short_form")
    assert (short.answers["VC2"], short.answers["PU2"], short.answers["AN1"]) == (3, "DNA", 4)
