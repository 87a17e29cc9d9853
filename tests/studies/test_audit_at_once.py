"""Several processes write the audit trail at once, on SQLite; the full dose is in tests/services, on PostgreSQL."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.audit_writers import ROOT, start_writer


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An installation of its own with one study."""
    settings = {
        "DJANGO_SETTINGS_MODULE": "healing_survey.settings.embedded",
        "VAR_DIR": str(tmp_path_factory.mktemp("audit")),
        "DATABASE_URL": "",
    }
    settings["DATABASE_URL"] = f"sqlite:///{settings['VAR_DIR']}/healing_survey.sqlite3"
    manage(settings, "migrate", "--verbosity=0")
    make = "from studies.models import Study; Study.objects.create(code='OWN', title='Own')"
    manage(settings, "shell", "--no-imports", "-v0", "-c", make)
    return settings


def manage(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def counts(environment: dict[str, str]) -> tuple[int, int]:
    """How many sites there are, and how many lines tell of one."""
    with sqlite3.connect(Path(environment["VAR_DIR"]) / "healing_survey.sqlite3") as connection:
        (sites,) = connection.execute("SELECT count(*) FROM studies_site").fetchone()
        (lines,) = connection.execute("SELECT count(*) FROM studies_auditevent WHERE action = 'add site'").fetchone()
    return sites, lines


def test_writers_at_once_make_one_chain_also_when_they_are_killed(environment: dict[str, str]) -> None:
    """Three finish, one is killed in the middle: one chain, and as many lines as changes."""
    writers = [start_writer(environment, study="OWN", name=f"w{n}", n=25) for n in range(3)]
    victim = start_writer(environment, study="OWN", name="victim", n=100_000)
    deadline = time.monotonic() + 60
    while counts(environment)[0] < 20 and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(victim.pid, signal.SIGKILL)
    victim.communicate()
    for writer in writers:
        errors = writer.communicate(timeout=120)[1]
        assert writer.returncode == 0, errors.decode()
    sites, lines = counts(environment)
    assert sites == lines
    assert sites >= 75
    assert f"whole: {lines} lines" in manage(environment, "verify_audit").stdout
