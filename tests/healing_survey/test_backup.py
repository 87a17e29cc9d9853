"""Backup and restore: whole, checked, encrypted with a key; a damaged backup is refused. PostgreSQL: tests/services."""

import io
import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from healing_survey import sealed_file
from healing_survey.sealed_file import BadSealedFile, SealedWriter, new_key, read_key, sealed_pieces

ROOT = Path(__file__).resolve().parents[2]


def sealed(data: bytes, key: bytes | None) -> bytes:
    out = io.BytesIO()
    writer = SealedWriter(out, key=key)
    for place in range(0, len(data), 7):
        writer.write(data[place : place + 7])
    writer.close()
    return out.getvalue()


def opened(content: bytes, key: bytes | None) -> bytes:
    return b"".join(sealed_pieces(io.BytesIO(content), key=key))


@pytest.mark.parametrize("has_key", [False, True])
def test_every_damage_to_a_sealed_file_is_noticed(monkeypatch: pytest.MonkeyPatch, has_key: bool) -> None:
    """Each byte changed, each length cut off, something added, two pieces changed about; whole it comes back."""
    monkeypatch.setattr(sealed_file, "PIECE", 40)
    key = read_key(new_key()) if has_key else None
    data = bytes(range(100))
    content = sealed(data, key)
    assert opened(content, key) == data
    size = 5 + 40 + (16 if has_key else 32)
    start = len(sealed_file.MAGIC) + 9
    first, second = content[start : start + size], content[start + size : start + 2 * size]
    damaged = [content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :] for place in range(len(content))]
    damaged += [content[:length] for length in range(len(content))]
    damaged += [content + b"x", content[:start] + second + first + content[start + 2 * size :]]
    for one in damaged:
        with pytest.raises(BadSealedFile):
            opened(one, key)


def test_a_sealed_file_opens_with_its_own_key_only() -> None:
    """Nothing of the content stands in it; another key, or none, opens nothing."""
    key = read_key(new_key())
    content = sealed(b"canary" * 100, key)
    assert b"canary" not in content
    for other in (None, read_key(new_key())):
        with pytest.raises(BadSealedFile, match="key"):
            opened(content, other)
    for bad in ("", "short", "é" * 44):
        with pytest.raises(BadSealedFile, match="key"):
            read_key(bad)


# --- the commands, on an installation of their own ---


class Installation:
    """A folder with a SQLite database."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.database = folder / "healing_survey.sqlite3"

    def manage(self, *arguments: str, fails: bool = False) -> str:
        done = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT,
            env={
                **{name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "BACKUP_KEY")},
                "DJANGO_SETTINGS_MODULE": "healing_survey.settings.embedded",
                "VAR_DIR": str(self.folder),
            },
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert (done.returncode != 0) == fails, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done.stdout + done.stderr

    def content(self) -> dict[str, list[tuple[object, ...]]]:
        """Every row of every table, but for the sign of life that a backup leaves once it is made."""
        with sqlite3.connect(self.database) as connection:
            names = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            names.remove("studies_heartbeat")
            return {name: connection.execute(f'SELECT * FROM "{name}" ORDER BY 1').fetchall() for name in names}


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """With one study and one finished form."""
    made = Installation(tmp_path_factory.mktemp("from"))
    made.manage("migrate", "--verbosity=0")
    made.manage("shell", "--no-imports", "-v0", "-c", MAKE)
    return made


MAKE = """
from instruments.definitions import Role
from tests.factories import finish, make_study, make_visit
finish(make_visit(make_study("KEPT")), Role.PATIENT)
"""


def test_a_backup_comes_back_on_an_empty_machine(installation: Installation, tmp_path: Path) -> None:
    """Every row of every table, by one command; the database that is there is not replaced unasked."""
    backup, key = tmp_path / "one.backup", tmp_path / "key"
    installation.manage("backup", "--make-key", str(key))
    assert key.stat().st_mode & 0o777 == 0o600
    told = json.loads(installation.manage("backup", "--output", str(backup), "--key-file", str(key)))
    assert (told["engine"], told["encrypted"], told["checked"]) == ("sqlite", True, True)
    assert backup.stat().st_mode & 0o777 == 0o600
    assert b"KEPT" not in backup.read_bytes()
    assert "there already" in installation.manage("backup", "--output", str(backup), fails=True)
    target = Installation(tmp_path / "to")
    assert "encrypted" in target.manage("restore", str(backup), fails=True)
    out = target.manage("restore", str(backup), "--key-file", str(key))
    assert "No erasure ledger" in out
    told = json.loads(out.splitlines()[0])
    assert told["restored"] is True
    assert target.content() == installation.content()
    assert told["rows"] == sum(map(len, target.content().values())) - len(target.content().get("sqlite_sequence", []))
    assert "--replace" in target.manage("restore", str(backup), "--key-file", str(key), fails=True)
    assert "whole" in target.manage("verify_audit")


def test_a_damaged_backup_is_refused_and_changes_nothing(installation: Installation, tmp_path: Path) -> None:
    """A byte changed in the middle, the end cut off, no backup at all, no file."""
    backup = tmp_path / "one.backup"
    installation.manage("backup", "--output", str(backup))
    installation.manage("backup", "--check", str(backup))
    content = backup.read_bytes()
    middle = len(content) // 2
    before = installation.content()
    for name, damaged in {
        "byte": content[:middle] + bytes([content[middle] ^ 255]) + content[middle + 1 :],
        "end": content[:-40],
        "other": b"SQLite format 3\0" + bytes(100),
    }.items():
        file = tmp_path / name
        file.write_bytes(damaged)
        assert "backup" in installation.manage("restore", str(file), "--replace", fails=True)
    assert "no file" in installation.manage("restore", str(tmp_path / "missing"), "--replace", fails=True)
    assert installation.content() == before
