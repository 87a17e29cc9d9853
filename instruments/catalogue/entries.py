"""Typed reading of the mappings of a catalogue file: every key known, every value of the kind that it must be. Pure.

A faulty value is noted in the log and replaced by an empty one of the right type, so that the reading goes on and all
faults are found at once; nothing built this way leaves the reader while the log holds a problem.
"""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from instruments.catalogue.plain_yaml import Plain, entry_name
from instruments.catalogue.problems import ProblemLog
from instruments.definitions import Role, RoleTexts, Texts

SNAKE = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")

_ROLES = tuple(Role)
_KINDS = {bool: "a truth value", int: "a whole number", float: "a decimal number", list: "a list", dict: "a mapping"}


def kind_of(value: object) -> str:
    """How a message names the kind of a value (never the value)."""
    if value is None:
        return "nothing"
    if isinstance(value, str):
        return "text"
    return _KINDS.get(type(value), type(value).__name__)


def listed(names: Iterable[object]) -> str:
    """Names for a message, in the order given."""
    return ", ".join(str(name) for name in names)


@dataclass(frozen=True, slots=True)
class Entry:
    """A cursor on one mapping of the file. `place` is its path, empty for the whole file."""

    log: ProblemLog
    place: str
    values: Mapping[str, Plain]
    languages: tuple[str, ...] = ()

    @classmethod
    def read(
        cls,
        log: ProblemLog,
        place: str,
        value: Plain,
        *,
        required: tuple[str, ...],
        optional: tuple[str, ...] = (),
        languages: tuple[str, ...] = (),
    ) -> "Entry":
        """Check that a value is a mapping with exactly the keys it may have."""
        if not isinstance(value, dict):
            log.add(place or "file", f"must be a mapping, but is {kind_of(value)}.", f"Give it {listed(required)}.")
            return cls(log, place, {}, languages)
        entry = cls(log, place, value, languages)
        for key in value:
            if key not in required and key not in optional:
                log.add(
                    entry.at(key), "is not a known key.", f"Remove it, or use one of {listed(required + optional)}."
                )
        for key in required:
            if key not in value:
                log.add(entry.at(key), "is missing.", f"Add the key {key}.")
        return entry

    def at(self, key: str) -> str:
        """The place of one key."""
        return f"{self.place}/{key}" if self.place else key

    def has(self, key: str) -> bool:
        """Whether the key is there and holds something."""
        return self.values.get(key) is not None

    def text(self, key: str, *, pattern: re.Pattern[str] | None = None, example: str = "") -> str:
        """A text that is not empty and, where a pattern is given, matches it in full; else ''."""
        value = self._typed(key, str, "text")
        if not isinstance(value, str):
            return ""  # noted by _typed
        if not value.strip():
            self.log.add(self.at(key), "is empty.", "Write the text.")
            return ""
        if pattern is not None and not pattern.fullmatch(value):
            self.log.add(
                self.at(key), f"is {value!r:.60}, which is not in the form required.", f"Write it like {example}."
            )
            return ""
        return value

    def one_of(self, key: str, allowed: Iterable[str]) -> str:
        """A text out of a fixed list; else the first of the list."""
        choices = tuple(allowed)
        value = self.text(key)
        if value and value not in choices:
            self.log.add(self.at(key), f"is {value!r:.60}.", f"Use one of {listed(choices)}.")
        return value if value in choices else choices[0]

    def boolean(self, key: str) -> bool:
        """A truth value; else False. An absent optional key is False."""
        return bool(self._typed(key, bool, "true or false"))

    def integer(self, key: str, *, low: int, high: int) -> int:
        """A whole number within bounds; else the lower bound."""
        value = self._typed(key, int, "a whole number")
        return int(self._within(key, value, low, high)) if isinstance(value, int) else low

    def number(self, key: str, *, low: float, high: float) -> float:
        """A finite number within bounds; else the lower bound."""
        value = self._typed(key, (int, float), "a number")
        return float(self._within(key, value, low, high)) if isinstance(value, int | float) else low

    def names(self, key: str) -> tuple[str, ...]:
        """A list of texts, none twice."""
        names: list[str] = []
        for number, value in enumerate(self._list(key), start=1):
            place = f"{self.at(key)}/{number}"
            if not isinstance(value, str) or not value:
                remedy = "Put it in quotes." if isinstance(value, bool | int | float) else "Write a name."
                self.log.add(place, f"must be text, but is {kind_of(value)}.", remedy)
            elif value in names:
                self.log.add(f"{self.at(key)}/{value}", "stands twice in the list.", "Keep one.")
            else:
                names.append(value)
        return tuple(names)

    def entries(
        self, key: str, *, name: str, required: tuple[str, ...], optional: tuple[str, ...] = ()
    ) -> tuple["Entry", ...]:
        """A list of mappings, each known by the value of its key `name`, none twice."""
        seen: set[object] = set()
        entries: list[Entry] = []
        for number, value in enumerate(self._list(key), start=1):
            place = f"{self.at(key)}/{entry_name(value, number)}"
            entry = Entry.read(self.log, place, value, required=required, optional=optional, languages=self.languages)
            own_name = entry.values.get(name)
            if isinstance(own_name, str | int) and own_name in seen:
                self.log.add(place, f"its {name} stands twice.", f"Give each its own {name}.")
                continue
            if isinstance(own_name, str | int):
                seen.add(own_name)
            entries.append(entry)
        return tuple(entries)

    def inner(self, key: str, *, required: tuple[str, ...], optional: tuple[str, ...] = ()) -> "Entry":
        """The mapping under a key. An absent key was noted before and gives an empty mapping."""
        if key not in self.values:
            return Entry(self.log, self.at(key), {}, self.languages)
        return Entry.read(
            self.log,
            self.at(key),
            self.values[key],
            required=required,
            optional=optional,
            languages=self.languages,
        )

    def free_mapping(self, key: str) -> dict[str, Plain]:
        """A mapping whose keys are names out of the file itself, to be checked by the caller."""
        value = self._typed(key, dict, "a mapping")
        return value if isinstance(value, dict) else {}

    def texts(self, key: str) -> Texts:
        """A text in each language of the instrument."""
        return _texts(self.inner(key, required=self.languages))

    def role_texts(self, key: str, *, roles: tuple[Role, ...] = _ROLES) -> RoleTexts:
        """A text for each of the roles in each language."""
        inner = self.inner(key, required=tuple(roles))
        return MappingProxyType({role: inner.texts(role) for role in roles if role in inner.values})

    def asked_texts(self, key: str) -> RoleTexts:
        """Texts for one role or both: the roles present are those that are asked."""
        inner = self.inner(key, required=(), optional=tuple(_ROLES))
        roles = tuple(role for role in _ROLES if role in inner.values)
        if not roles and isinstance(self.values.get(key), dict):
            self.log.add(self.at(key), "asks nobody.", f"Give the text for {listed(_ROLES)}, or for one of them.")
        return MappingProxyType({role: inner.texts(role) for role in roles})

    def label(self, key: str, *, roles: tuple[Role, ...]) -> RoleTexts:
        """A label for each role, or one by language alone that serves all roles."""
        value = self.values.get(key)
        if isinstance(value, dict) and value and any(role in value for role in _ROLES):
            return self.role_texts(key, roles=roles)
        shared = self.texts(key)
        return MappingProxyType(dict.fromkeys(roles, shared))

    def _list(self, key: str) -> list[Plain]:
        value = self._typed(key, list, "a list")
        return value if isinstance(value, list) else []

    def _typed(self, key: str, kinds: type | tuple[type, ...], required: str) -> Plain:
        if key not in self.values:
            return None  # noted as missing, or optional
        value = self.values[key]
        wanted = kinds if isinstance(kinds, tuple) else (kinds,)
        if not isinstance(value, wanted) or (isinstance(value, bool) and bool not in wanted):
            remedy = "Put it in quotes." if wanted == (str,) and value is not None else f"Write {required}."
            self.log.add(self.at(key), f"must be {required}, but is {kind_of(value)}.", remedy)
            return None
        return value

    def _within(self, key: str, value: float, low: float, high: float) -> float:
        if not low <= value <= high or not math.isfinite(value):
            self.log.add(self.at(key), f"is {value}.", f"Use a number from {low:g} to {high:g}.")
            return low
        return value


def _texts(entry: Entry) -> Texts:
    return MappingProxyType(
        {language: entry.text(language) for language in entry.languages if language in entry.values}
    )
