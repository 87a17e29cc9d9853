"""Backup of a million answers, restore into an empty database by one command, and a damaged backup.

    PYTHONPATH=. python bench/backup_restore.py [--answers 1000000] [--postgresql postgres://…]

On SQLite in throwaway folders, or on two databases that are made on the server and dropped again. Every table is read
on both sides and compared by its SHA-256 (but for the times of migrations). One JSON line per figure; the bar is ten
minutes for the restore.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from urllib.parse import SplitResult, urlsplit, urlunsplit

import psycopg

ROOT = Path(__file__).resolve().parents[1]
BAR_SECONDS = 600
ANSWERS_OF_A_DYAD = 100
MAKE = """
from tests.large_study import make_study
make_study({n}, with_log=True)
"""
DIGESTS = """
import hashlib, json
from django.db import connection
found = {}
with connection.cursor() as cursor:
    for table in set(connection.introspection.table_names()) - {'django_migrations'}:
        digest = hashlib.sha256()
        cursor.execute(f'SELECT * FROM "{table}" ORDER BY 1')
        while rows := cursor.fetchmany(5000):
            digest.update(repr(rows).encode())
        found[table] = digest.hexdigest()
print(json.dumps(found))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--answers", type=int, default=1_000_000)
    parser.add_argument("--postgresql", metavar="URL")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="healing-survey-bench-"))
    server = None if options.postgresql is None else urlsplit(options.postgresql)
    names = [f"healing_bench_{os.getpid()}_{n}" for n in range(3)]
    try:
        for name in names:
            (folder / name).mkdir()
            if server is not None:
                with psycopg.connect(urlunsplit(server), autocommit=True) as connection:
                    connection.execute(f"CREATE DATABASE {name}")
        measure([environment(folder / name, server, name) for name in names], folder, options.answers)
    finally:
        shutil.rmtree(folder)
        if server is not None:
            with psycopg.connect(urlunsplit(server), autocommit=True) as connection:
                for name in names:
                    with suppress(psycopg.Error):
                        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def environment(folder: Path, server: SplitResult | None, name: str) -> dict[str, str]:
    """Settings of one installation."""
    url = f"sqlite:///{folder}/healing_survey.sqlite3"
    if server is not None:
        url = urlunsplit(server._replace(path=f"/{name}"))
    return {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "healing_survey.settings.embedded",
        "VAR_DIR": str(folder),
        "DATABASE_URL": url,
        "PYTHONPATH": str(ROOT),
    }


def measure(installations: list[dict[str, str]], folder: Path, n_answers: int) -> None:
    """Make, back up, restore, compare; then damage the backup and see it refused."""
    source, target, other = installations
    engine = source["DATABASE_URL"].split(":")[0]
    manage(source, "migrate", "--verbosity=0")
    manage(source, "shell", "--no-imports", "-v0", "-c", MAKE.format(n=n_answers // ANSWERS_OF_A_DYAD))
    backup = folder / "backup.bin"
    seconds, out = manage(source, "backup", "--output", str(backup))
    rows = json.loads(out)["rows"]
    told(engine, "backup_seconds", round(seconds, 1), "s", rows=rows, megabytes=round(backup.stat().st_size / 1e6, 1))
    seconds, _out = manage(target, "restore", str(backup))
    told(engine, "restore_seconds", round(seconds, 1), "s", rows=rows, met=seconds <= BAR_SECONDS)
    before, after = digests(source), digests(target)
    told(
        engine, "tables_that_differ", sum(before[name] != after.get(name) for name in before), "tables", of=len(before)
    )
    damaged = folder / "damaged.bin"
    content = bytearray(backup.read_bytes())
    content[len(content) // 2] ^= 1
    damaged.write_bytes(content)
    seconds, error = manage(other, "restore", str(damaged), fails=True)
    said = error.strip().splitlines()[-1]
    told(engine, "damaged_backup_refused", int("damaged" in said), "of 1", seconds=round(seconds, 1), said=said)


def digests(installation: dict[str, str]) -> dict[str, str]:
    """SHA-256 of each table's rows; but for the note of the last backup, which is made when the backup is."""
    found: dict[str, str] = json.loads(manage(installation, "shell", "--no-imports", "-v0", "-c", DIGESTS)[1])
    found.pop("studies_heartbeat")
    return found


def manage(installation: dict[str, str], *arguments: str, fails: bool = False) -> tuple[float, str]:
    """Seconds and output of one command; with `fails` it has to fail, and what it says is given."""
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env=installation,
        capture_output=True,
        text=True,
        check=False,
    )
    if (done.returncode != 0) != fails:
        raise SystemExit(f"{arguments}: {done.returncode}\n{done.stdout}{done.stderr}")
    return time.perf_counter() - start, done.stderr if fails else done.stdout


def told(engine: str, figure: str, value: float, unit: str, **more: object) -> None:
    line = {"benchmark": "backup_restore", "database": engine, "figure": figure, "value": value, "unit": unit}
    print(json.dumps(line | more), flush=True)


if __name__ == "__main__":
    main()
