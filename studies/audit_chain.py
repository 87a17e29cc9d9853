"""The audit trail as a chain: what a line holds, its hash, and whether a trail is as it was written.

Each line's hash covers its text, byte for byte as the database gives it back, and the hash of the line before. So no
line can be changed, put in or taken out without breaking the chain, except at its end: there an anchor that is kept
elsewhere (how many lines, and the last hash) shows a cut. Nothing here reads the database.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

#: What the first line has for the hash of the line before it.
GENESIS = "0" * 64


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainLine:
    """One line as the database gives it back; the columns beside `record` are only there to search by."""

    sequence: int
    record: str
    prev_hash: str
    hash: str
    at: datetime
    study_id: int | None
    actor_id: int | None
    action: str
    note: str | None = None  # the reason as written, None when there is none or it was erased
    note_salt: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchor:
    """How long the trail was at some time, and its last hash, as kept outside the database."""

    sequence: int
    hash: str


def line_text(facts: Mapping[str, Any]) -> str:
    """The one way to write a line's facts: ASCII, keys in order, no spaces."""
    return json.dumps(facts, sort_keys=True, ensure_ascii=True, separators=(",", ":"), default=str)


def line_time(at: datetime) -> str:
    """A time as it stands in a line: UTC, to the microsecond."""
    return at.astimezone(UTC).isoformat(timespec="microseconds")


def line_hash(prev_hash: str, record: str) -> str:
    """SHA-256 of the hash before and the line's text."""
    return hashlib.sha256(f"{prev_hash}\n{record}".encode()).hexdigest()


def note_digest(salt: str, note: str) -> str:
    """What a line keeps of its reason: the reason itself can be erased without breaking the chain.

    The salt is erased with it, so that the digest of a short text cannot be guessed.
    """
    return hashlib.sha256(f"{salt}\n{note}".encode()).hexdigest()


def chain_problems(
    lines: Iterable[ChainLine], *, head: Anchor | None = None, anchors: Sequence[Anchor] = ()
) -> Iterator[str]:
    """What is wrong with a trail, one sentence each; nothing when every line is as it was written.

    Parameters
    ----------
    lines : every line, in the order of `sequence`.
    head : what the database itself says is the end.
    anchors : what was noted elsewhere in the past.
    """
    wanted = {anchor.sequence: anchor.hash for anchor in anchors if anchor.sequence > 0}
    expected, before = 1, GENESIS
    for line in lines:
        if line.sequence != expected:
            yield f"line {expected} is missing: line {line.sequence} comes after line {expected - 1}"
        if line.prev_hash != before:
            yield f"line {line.sequence} does not follow the line before it"
        if line_hash(line.prev_hash, line.record) != line.hash:
            yield f"line {line.sequence} was changed: its hash is not that of its text"
        yield from _column_problems(line)
        if (anchored := wanted.pop(line.sequence, None)) is not None and anchored != line.hash:
            yield f"line {line.sequence} is not the line that was anchored: the trail was written anew"
        expected, before = line.sequence + 1, line.hash
    if head is not None and (head.sequence, head.hash) != (expected - 1, before):
        yield f"the trail ends with line {expected - 1}, but the database's own note says line {head.sequence}"
    for sequence in sorted(wanted):
        yield f"line {sequence} was anchored and is gone: the end of the trail was cut off"


def _column_problems(line: ChainLine) -> Iterator[str]:
    try:
        facts = json.loads(line.record)
        told = (facts["sequence"], facts["at"], facts["study"], facts["actor"], facts["action"])
    except (ValueError, KeyError, TypeError):
        yield f"line {line.sequence} cannot be read"
        return
    if told != (line.sequence, line_time(line.at), line.study_id, line.actor_id, line.action):
        yield f"line {line.sequence}: a column beside its text was changed"
    if line.note is not None and note_digest(line.note_salt or "", line.note) != facts.get("why"):
        yield f"line {line.sequence}: its reason was changed"
