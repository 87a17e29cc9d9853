"""The erasure ledger: who withdrew and who was erased, noted outside the database, so that no backup brings them back.

One line for each, by study codes alone, each with the hash of the line before: a line changed or taken out shows. It is
written before anything is erased; an erasure that was broken off is finished when the ledger is applied again.
"""

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from django.conf import settings

GENESIS = "0" * 64


class BadLedger(Exception):
    """The ledger cannot be read or written; the message says where and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What was decided. `kind`: withdraw (one side of a dyad), erase (a person), identifiers (a patient's name)."""

    kind: str
    study: str
    site: str
    patient: str = ""
    clinician: str = ""
    role: str = ""
    reason: str = ""
    answers: str = ""


def append(*added: Entry, now: datetime) -> None:
    """Add a line for each entry, on the disk when this returns.

    Raises `BadLedger` when it cannot be written; then nothing may be erased.
    """
    path = settings.ERASURE_LEDGER_FILE
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a+", encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(0)
            last = GENESIS
            for line in file:
                last = _hash(line.rstrip("\n"))
            for entry in added:
                text = json.dumps({"at": now.isoformat(), **asdict(entry), "prev": last}, sort_keys=True)
                file.write(text + "\n")
                last = _hash(text)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise BadLedger(f"{path}: the erasure ledger cannot be written ({error}). Nothing was erased.") from error


def entries(path: Path) -> Iterator[Entry]:
    """Every entry, in order; none when there is no ledger yet.

    Raises `BadLedger` when a line is not one, or does not follow the line before.
    """
    if not path.exists():
        return
    last = GENESIS
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            read = json.loads(line)
            follows = read.pop("prev") == last
            del read["at"]
            entry = Entry(**read)
        except (ValueError, KeyError, TypeError) as error:
            raise BadLedger(f"{path}, line {number}: not an entry. Restore the file from where it is kept.") from error
        if not follows:
            raise BadLedger(
                f"{path}, line {number}: does not follow the line before; a line was changed or taken out. "
                "Restore the file from where it is kept."
            )
        last = _hash(line)
        yield entry


def _hash(line: str) -> str:
    return hashlib.sha256(line.encode()).hexdigest()
