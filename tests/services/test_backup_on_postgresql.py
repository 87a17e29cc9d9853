"""Backup and restore of PostgreSQL: into an empty database, checksums equal; a damaged backup changes nothing."""

import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest

from tests.platform_processes import Platform

pytestmark = pytest.mark.services

MAKE = """
from instruments.definitions import Role
from tests.factories import finish, make_study, make_visit
kit = make_study("KEPT")
for _ in range(3):
    finish(make_visit(kit), Role.PATIENT)
"""


@pytest.fixture
def new_database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Platform]]:
    """Makes empty databases, each with an installation that uses it; nothing runs."""
    server = urlsplit(os.environ["DATABASE_URL"])
    made = []

    def make() -> Platform:
        name = f"healing_backup_{os.getpid()}_{time.monotonic_ns()}"
        with psycopg.connect(urlunsplit(server), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        made.append(name)
        return Platform(tmp_path_factory.mktemp("backup"), DATABASE_URL=urlunsplit(server._replace(path=f"/{name}")))

    yield make
    with psycopg.connect(urlunsplit(server), autocommit=True) as connection:
        for name in made:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def test_a_backup_comes_back_with_equal_checksums(new_database: Callable[[], Platform], tmp_path: Path) -> None:
    """By one command into an empty database; a second backup of the copy has the same parts; new rows get new ids."""
    origin, copy = new_database(), new_database()
    origin.manage("migrate", "--verbosity=0")
    origin.manage("shell", "--no-imports", "-v0", "-c", MAKE)
    backup = tmp_path / "one.backup"
    origin.manage("backup", "--output", str(backup))
    assert json.loads(copy.manage("restore", str(backup)))["restored"]
    assert parts(origin, tmp_path / "two.backup") == parts(copy, tmp_path / "three.backup")
    copy.manage("shell", "--no-imports", "-v0", "-c", MORE)
    assert "whole" in copy.manage("verify_audit")
    with pytest.raises(AssertionError, match="--replace"):
        copy.manage("restore", str(backup))
    content = backup.read_bytes()
    backup.write_bytes(content[: len(content) // 2] + b"\0\0\0\0" + content[len(content) // 2 + 4 :])
    before = parts(copy, tmp_path / "four.backup")
    with pytest.raises(AssertionError, match="damaged"):
        copy.manage("restore", str(backup), "--replace")
    assert parts(copy, tmp_path / "five.backup") == before


MORE = """
from studies.models import Study
from studies.setup import add_part
from studies.models import Site
from django.utils import timezone
study = Study.objects.get()
add_part(study=study, part=Site(study=study, code="NEW", name="New"), actor=None, now=timezone.now())
"""

#: What two backups of the same rows may differ in: when each was made, and that the one before was noted.
LEFT_OUT = ("manifest.json", "studies_heartbeat.copy")

CHECKSUMS = """
import json
from pathlib import Path
from healing_survey.backup import check_backup
report = check_backup(Path({path!r}), key=None)
print(json.dumps({{name: digest for name, digest in report.checksums.items() if name not in {left_out}}}))
"""


def parts(installation: Platform, path: Path) -> dict[str, str]:
    """The checksum of each table, by a fresh backup."""
    installation.manage("backup", "--output", str(path))
    read: dict[str, str] = json.loads(
        installation.manage("shell", "--no-imports", "-v0", "-c", CHECKSUMS.format(path=str(path), left_out=LEFT_OUT))
    )
    return read
