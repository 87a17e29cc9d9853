"""Names sealed and people erased on PostgreSQL: nothing in a dump, nor after an older backup came back."""

import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest

from tests.erasure_canaries import ERASE, ERASED, GONE, MAKE, STATE, STAYS
from tests.identifier_canaries import JOURNEY, found_in
from tests.platform_processes import Platform

pytestmark = pytest.mark.services


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[tuple[Platform, str]]:
    """An installation on an empty database of its own, and the database's address; nothing runs."""
    server = urlsplit(os.environ["DATABASE_URL"])
    name = f"healing_erasure_{os.getpid()}_{time.monotonic_ns()}"
    with psycopg.connect(urlunsplit(server), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    address = urlunsplit(server._replace(path=f"/{name}"))
    made = Platform(tmp_path / "var", DATABASE_URL=address)
    made.manage("migrate", "--verbosity=0")
    yield made, address
    with psycopg.connect(urlunsplit(server), autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def run(installation: Platform, script: str) -> str:
    return installation.manage("shell", "--no-imports", "-v0", "-c", script)


def dump(address: str) -> bytes:
    """Everything in the database, as PostgreSQL's own tool writes it."""
    return subprocess.run(["pg_dump", address], capture_output=True, check=True, timeout=120).stdout


def test_names_are_in_no_dump(installation: tuple[Platform, str]) -> None:
    """Sealed: 0. The control: the same names stored unsealed are found."""
    made, address = installation
    run(made, JOURNEY)
    content = dump(address)
    assert (b"QUIET" in content, found_in({"dump": [content]})) == (True, {})
    run(made, MAKE)
    assert f"{STAYS} Person".encode().hex().encode() in dump(address)


def test_a_restored_backup_forgets_again_who_was_erased(installation: tuple[Platform, str], tmp_path: Path) -> None:
    """0 traces in a dump after the restore, the trail is whole; without the ledger everything is back."""
    made, address = installation

    def traces(word: str) -> int:
        content = dump(address)
        return content.count(word.encode()) + content.count(word.encode().hex().encode())

    run(made, MAKE)
    old = str(tmp_path / "old.backup")
    made.manage("backup", "--output", old)
    assert traces(GONE) > 40
    run(made, ERASE)
    assert (traces(GONE), traces(STAYS) > 40) == (0, True)
    assert json.loads(made.manage("restore", old, "--replace"))["erasures"]["done_again"] == 1
    assert (traces(GONE), traces(STAYS) > 40) == (0, True)
    assert json.loads(run(made, STATE)) == ERASED
    assert "whole" in made.manage("verify_audit")
    told = json.loads(made.manage("restore", old, "--replace", "--ledger", str(tmp_path / "none")))
    assert told["erasures"] is None
    assert traces(GONE) > 40
