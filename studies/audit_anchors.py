"""Anchors of the audit trail: how long it was, noted outside the database, so that a cut-off end shows."""

import json
import os
from datetime import datetime
from pathlib import Path

from studies.audit_chain import Anchor


class BadAnchors(Exception):
    """A file of anchors cannot be read; the message says where and what to do."""


def write_anchor(path: Path, anchor: Anchor, *, now: datetime) -> str:
    """Append an anchor to the file, on the disk when this returns; the line that was written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    line = json.dumps({"at": now.isoformat(), "sequence": anchor.sequence, "hash": anchor.hash})
    with path.open("a", encoding="utf-8") as file:
        file.write(line + "\n")
        file.flush()
        os.fsync(file.fileno())
    return line


def read_anchors(path: Path) -> list[Anchor]:
    """Every anchor in the file.

    Raises `BadAnchors` when there is no such file, or a line is not an anchor.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BadAnchors(f"{path}: cannot be read ({error}). Name a file that anchor_audit wrote.") from error
    anchors = []
    for number, line in enumerate(lines, start=1):
        try:
            read = json.loads(line)
            anchors.append(Anchor(sequence=int(read["sequence"]), hash=str(read["hash"])))
        except (ValueError, KeyError, TypeError) as error:
            raise BadAnchors(
                f"{path}, line {number}: not an anchor. Restore the file from where it is kept."
            ) from error
    return anchors
