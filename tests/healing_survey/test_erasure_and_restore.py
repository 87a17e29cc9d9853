"""Who was erased stays erased: in the database's own files, and after an older backup came back."""

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.erasure_canaries import ERASE, ERASED, GONE, MAKE, STATE, STAYS

ROOT = Path(__file__).resolve().parents[2]


class Installation:
    """A folder with a SQLite database and a ledger."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

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
        return done.stdout + ("" if not fails else done.stderr)

    def run(self, script: str) -> str:
        return self.manage("shell", "--no-imports", "-v0", "-c", script)

    def traces(self, word: str) -> int:
        """How often a word stands in the database's files, free pages and the write-ahead log included."""
        return sum(path.read_bytes().count(word.encode()) for path in self.folder.glob("healing_survey.sqlite3*"))


def test_a_restored_backup_forgets_again_who_was_erased(tmp_path: Path) -> None:
    """0 traces in the erased and in the restored database's files, the trail is whole, the other patient is there.

    The control: without the ledger the backup brings everything back.
    """
    made, old = Installation(tmp_path / "var"), str(tmp_path / "old.backup")
    made.manage("migrate", "--verbosity=0")
    made.run(MAKE)
    made.manage("backup", "--output", old)
    assert made.traces(GONE) > 40
    made.run(ERASE)
    assert json.loads(made.manage("apply_erasures"))["done_again"] == 0
    assert (made.traces(GONE), made.traces(STAYS) > 40) == (0, True)
    told = json.loads(made.manage("restore", old, "--replace"))
    assert told["erasures"] == {"entries": 1, "done_again": 1, "unknown": 0}
    assert (made.traces(GONE), made.traces(STAYS) > 40) == (0, True)
    assert json.loads(made.run(STATE)) == ERASED
    assert "whole" in made.manage("verify_audit")
    told = json.loads(made.manage("restore", old, "--replace", "--ledger", str(tmp_path / "none")))
    assert told["erasures"] is None
    assert made.traces(GONE) > 40
    ledger = made.folder / "erasures.jsonl"
    ledger.write_text(ledger.read_text().replace("Pgone", "Pelse") * 2)
    assert "Do not start" in made.manage("restore", old, "--replace", fails=True)
