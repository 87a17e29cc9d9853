"""No name, address or number of a patient stands anywhere in plain: database, logs, addresses, tasks, trail, files."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.identifier_canaries import JOURNEY, PLACES, backup_parts, files_below, found_in

ROOT = Path(__file__).resolve().parents[2]


def search(folder: Path, *, plain: bool) -> dict[str, list[str]]:
    """An installation of its own in the folder, used as people do; what stands where."""
    environment = {
        **{name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "CELERY_BROKER_URL")},
        "DJANGO_SETTINGS_MODULE": "healing_survey.settings.embedded",
        "VAR_DIR": str(folder),
        "LOG_REQUESTS": "true",
        "LOG_FORMAT": "json",
        **({"PLAIN": "1"} if plain else {}),
    }
    logs = b""
    for arguments in (
        ("migrate", "--verbosity=0"),
        ("shell", "--no-imports", "-v0", "-c", JOURNEY),
        ("backup", "--output", str(folder / "one.backup")),
    ):
        command = [sys.executable, "manage.py", *arguments]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, timeout=120, check=False)
        logs += done.stdout + done.stderr
        assert done.returncode == 0, logs.decode()
    assert b'"page": "identifiers_edit"' in logs, "requests are in the log"
    downloads = (folder / "out" / "downloads.txt").read_bytes()
    assert b"QUIET" in downloads
    messages = files_below(folder / "broker" / "messages")
    assert messages, "finished questionnaires have sent a message"
    return found_in(
        {
            "database": [path.read_bytes() for path in folder.glob("healing_survey.sqlite3*")],
            "backup": backup_parts(folder / "one.backup"),
            "logs": [logs],
            "addresses": [(folder / "out" / "addresses.txt").read_bytes()],
            "tasks": messages,
            "audit trail": [line for line in downloads.splitlines() if b"identifiers" in line],
            "downloads": [downloads],
        }
    )


@pytest.mark.parametrize("plain", [False, True], ids=["sealed", "plain: the control"])
def test_a_name_is_in_no_file_log_address_or_task(tmp_path: Path, plain: bool) -> None:
    """Added, found, seen, mistyped, downloaded around, backed up: 0 traces; unsealed it is in every place."""
    found = search(tmp_path, plain=plain)
    assert sorted(found) == (sorted(PLACES) if plain else [])
