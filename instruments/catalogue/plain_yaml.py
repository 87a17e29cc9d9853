"""Strict YAML: text to plain lists, dictionaries and scalars, refusing what YAML loaders silently put right. Pure.

Refused: a key that stands twice in one mapping (loaders keep the last), anchors and aliases (a few lines can unfold
to gigabytes), explicit tags, several documents, dates and other scalars that are neither text, number, truth value
nor null.
"""

import yaml
from yaml.constructor import SafeConstructor
from yaml.events import AliasEvent, CollectionEndEvent, CollectionStartEvent, DocumentStartEvent, NodeEvent, ScalarEvent
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from instruments.catalogue.problems import ProblemLog

#: A questionnaire with every text is under 100 kB; anything near this is not a questionnaire.
MAXIMUM_BYTES = 2_000_000
#: The catalogue's own structure is seven levels deep.
MAXIMUM_DEPTH = 20

Plain = dict[str, "Plain"] | list["Plain"] | str | int | float | bool | None

# libyaml's parser is some thirty times faster; both read the same language.
_LOADER: type = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TAG = "tag:yaml.org,2002:"


def decode(content: bytes, log: ProblemLog) -> str:
    """The text of a catalogue file.

    Raises
    ------
    CatalogueError
        If the file is too large or not UTF-8.
    """
    if len(content) > MAXIMUM_BYTES:
        log.fail("file", f"is larger than {MAXIMUM_BYTES:,} bytes.", "Check that this is a catalogue file.")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        log.fail(f"line {line}", "is not UTF-8.", "Save the file as UTF-8.")


def load_strictly(text: str, log: ProblemLog) -> Plain:
    """The content of one YAML document as plain lists, dictionaries and scalars.

    Raises
    ------
    CatalogueError
        If the text is not one document of strict YAML; every fault that does not hide others is listed.
    """
    _check_characters(text, log)
    try:
        _check_events(text, log)
        log.raise_if_any()
        node = yaml.compose(text, Loader=_LOADER)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"line {mark.line + 1}" if mark else "file"
        log.fail(place, f"is not valid YAML: {error.problem or error.context}.", "Mend the syntax.")
    except yaml.YAMLError:
        log.fail("file", "holds characters that YAML does not allow.", "Remove control characters.")
    if node is None:
        log.fail("file", "is empty.", "A catalogue file holds one mapping: instrument, version, items and so on.")
    content = _Converter(log).convert(node, "")
    log.raise_if_any()
    return content


def entry_name(entry: object, number: int) -> str:
    """How a place names one entry of a list: its id, code or value, else its position from 1."""
    if isinstance(entry, dict):
        for key in ("id", "code", "value"):
            name = entry.get(key)
            if isinstance(name, str | int) and not isinstance(name, bool):
                return str(name)
    return str(number)


def _check_characters(text: str, log: ProblemLog) -> None:
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        log.fail(f"line {line}", "holds a NUL character.", "Remove it; the file may be damaged.")
    try:
        size = len(text.encode("utf-8"))
    except UnicodeEncodeError:
        log.fail("file", "holds half of a surrogate pair.", "Save the file as UTF-8.")
    if size > MAXIMUM_BYTES:
        log.fail("file", f"is larger than {MAXIMUM_BYTES:,} bytes.", "Check that this is a catalogue file.")


def _check_events(text: str, log: ProblemLog) -> None:
    """Look at the stream before anything is built from it, so that no bomb is ever unfolded."""
    depth = documents = 0
    for event in yaml.parse(text, Loader=_LOADER):
        place = f"line {event.start_mark.line + 1}" if event.start_mark else "file"
        if isinstance(event, AliasEvent):
            log.add(place, f"uses the alias *{event.anchor}.", "Write the content out.")
        elif isinstance(event, NodeEvent) and event.anchor is not None:
            log.add(place, f"sets the anchor &{event.anchor}.", "Write the content out.")
        elif isinstance(event, DocumentStartEvent):
            documents += 1
            if documents > 1:
                log.add(place, "starts a second document.", "One file holds one instrument: remove the '---'.")
        if isinstance(event, ScalarEvent | CollectionStartEvent) and event.tag is not None:
            log.add(place, f"sets the tag {event.tag}.", "Remove the tag.")
        if isinstance(event, CollectionStartEvent):
            depth += 1
            if depth > MAXIMUM_DEPTH:
                log.add(place, f"is nested more than {MAXIMUM_DEPTH} deep.", "Check the brackets and the indentation.")
                return
        elif isinstance(event, CollectionEndEvent):
            depth -= 1


class _Converter:
    """Nodes to plain values, noting the place of every key that stands twice and every scalar of another kind."""

    def __init__(self, log: ProblemLog) -> None:
        self._log = log
        self._constructor = SafeConstructor()

    def convert(self, node: Node, place: str) -> Plain:
        if isinstance(node, MappingNode):
            return self._mapping(node, place)
        if isinstance(node, SequenceNode):
            return [
                self.convert(child, f"{place}/{self._name(child, number)}")
                for number, child in enumerate(node.value, start=1)
            ]
        if isinstance(node, ScalarNode):
            return self._scalar(node, place)
        raise TypeError(f"PyYAML composed a node of the unknown kind {type(node).__name__}.")

    def _mapping(self, node: MappingNode, place: str) -> dict[str, Plain]:
        values: dict[str, Plain] = {}
        lines: dict[str, int] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, ScalarNode) or key_node.tag != _TAG + "str":
                self._log.add(f"line {line}", "has a key that YAML does not read as text.", "Put the key in quotes.")
                continue
            key = str(key_node.value)
            child_place = f"{place}/{key}" if place else key
            if key in values:
                self._log.add(
                    child_place,
                    f"stands twice (lines {lines[key]} and {line}).",
                    "Keep one; YAML would drop the first.",
                )
                continue
            lines[key] = line
            values[key] = self.convert(value_node, child_place)
        return values

    def _scalar(self, node: ScalarNode, place: str) -> Plain:
        kind = node.tag.removeprefix(_TAG)
        try:
            match kind:
                case "str":
                    return str(node.value)
                case "null":
                    return None
                case "bool":
                    return bool(self._constructor.construct_yaml_bool(node))
                case "int":
                    return int(self._constructor.construct_yaml_int(node))
                case "float":
                    return float(self._constructor.construct_yaml_float(node))
        except (ValueError, OverflowError):
            self._log.add(place or "file", "is not a number that can be read.", "Write it in plain decimal digits.")
            return None
        self._log.add(place or "file", f"is read by YAML as a {kind}.", "Put the text in quotes.")
        return None

    def _name(self, node: Node, number: int) -> str:
        if not isinstance(node, MappingNode):
            return str(number)
        scalars = {str(key.value): value.value for key, value in node.value if isinstance(value, ScalarNode)}
        return entry_name(scalars, number)
