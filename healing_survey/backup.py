"""The whole database in one file that proves itself, and back again: SQLite as its file, PostgreSQL table by table.

Inside the sealed file is a compressed tar: `manifest.json`, the data, and last `checksums.json` with the SHA-256 and
the length of each part. A backup is read through and checked before anything of a database is touched.
"""

import contextlib
import gzip
import hashlib
import io
import json
import os
import shutil
import sqlite3
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

from django.core.management import call_command
from django.core.management.color import no_style
from django.db import connection, transaction
from django.db.migrations.recorder import MigrationRecorder
from psycopg import sql

from healing_survey.sealed_file import BadSealedFile, SealedWriter, sealed_pieces

MANIFEST, CHECKSUMS, SQLITE_PART = "manifest.json", "checksums.json", "database.sqlite3"
BLOCK = 1024 * 1024


class BackupRefused(Exception):
    """Nothing was backed up or restored; the message says why and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupReport:
    """What a backup holds: rows of each table, and the SHA-256 of each part."""

    engine: str
    made_at: str
    n_rows: dict[str, int]
    checksums: dict[str, str]
    is_encrypted: bool

    @property
    def n_rows_in_all(self) -> int:
        return sum(self.n_rows.values())


def write_backup(path: Path, *, key: bytes | None, now: datetime) -> BackupReport:
    """Back the database up while it is in use. Only a whole, checked file ever stands at `path`.

    Raises `BackupRefused` when there is a file already.
    """
    if path.exists():
        raise BackupRefused(f"{path} is there already. Name another file: a backup never replaces one.")
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            parts = Path(folder)
            n_rows = _dump_sqlite(parts) if connection.vendor == "sqlite" else _dump_postgresql(parts)
            manifest = {
                "engine": connection.vendor,
                "made_at": now.isoformat(),
                "migrations": _migrations(),
                "n_rows": n_rows,
            }
            draft.touch(mode=0o600)
            with draft.open("wb") as file:
                _pack(file, parts, manifest, key=key)
                file.flush()
                os.fsync(file.fileno())
        report = check_backup(draft, key=key)
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)
    return report


def check_backup(path: Path, *, key: bytes | None) -> BackupReport:
    """Read a backup through to its end and check every part of it.

    Raises `BackupRefused` when it is damaged, cut off, made with another key or no backup.
    """
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        return _unpack(path, Path(folder), key=key, keep=False)


def restore_backup(path: Path, *, key: bytes | None, replace: bool) -> BackupReport:
    """Put the database back as it was. All of the backup is checked before the database is touched.

    On PostgreSQL it is one transaction, at whose end every table is read again and must have the backup's checksum.

    Raises
    ------
    BackupRefused
        If the backup is not sound, is of another kind of database or of other migrations, or the database holds
        something and `replace` is not set.
    """
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        parts = Path(folder)
        report = _unpack(path, parts, key=key, keep=True)
        if report.engine != connection.vendor:
            raise BackupRefused(f"This is a backup of {report.engine}; the database here is {connection.vendor}.")
        manifest = json.loads((parts / MANIFEST).read_text(encoding="utf-8"))
        if connection.vendor == "sqlite":
            _restore_sqlite(parts / SQLITE_PART, replace=replace)
        else:
            _restore_postgresql(parts, manifest, report, replace=replace)
    return report


# --- packing ---


def _pack(file: BinaryIO, parts: Path, manifest: dict[str, Any], *, key: bytes | None) -> None:
    checksums: dict[str, Any] = {}
    (parts / MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")
    with (
        contextlib.closing(SealedWriter(file, key=key)) as sealed,
        # Level 3: a third larger than level 9 and many times as fast.
        gzip.GzipFile(fileobj=cast(IO[bytes], sealed), mode="wb", compresslevel=3, mtime=0) as compressed,
        tarfile.open(fileobj=compressed, mode="w|") as tar,
    ):
        for part in [parts / MANIFEST, *sorted(one for one in parts.iterdir() if one.name != MANIFEST)]:
            checksums[part.name] = {"sha256": _digest(part), "length": part.stat().st_size}
            tar.add(part, arcname=part.name)
        content = json.dumps(checksums).encode()
        entry = tarfile.TarInfo(CHECKSUMS)
        entry.size = len(content)
        tar.addfile(entry, io.BytesIO(content))


class _Pieces(io.RawIOBase):
    """Pieces as a file that is read from beginning to end."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        super().__init__()
        self._pieces = pieces
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._rest:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._rest = piece
        n = min(len(buffer), len(self._rest))
        buffer[:n], self._rest = self._rest[:n], self._rest[n:]
        return n


def _unpack(path: Path, folder: Path, *, key: bytes | None, keep: bool) -> BackupReport:
    """Take every part out of the file and check it; without `keep` only the notes stay."""
    found: dict[str, Any] = {}
    try:
        with path.open("rb") as file:
            is_encrypted = file.read(11)[-1:] == b"E"
            file.seek(0)
            pieces = sealed_pieces(file, key=key)
            stream = io.BufferedReader(_Pieces(pieces), buffer_size=BLOCK)
            with tarfile.open(fileobj=stream, mode="r|gz") as tar:
                for entry in tar:
                    part = tar.extractfile(entry)
                    if part is None or "/" in entry.name or entry.name.startswith("."):
                        raise BadSealedFile("The backup holds something that no backup holds.")
                    kept = folder / entry.name if keep or entry.name in (MANIFEST, CHECKSUMS) else None
                    found[entry.name] = _drain(part, kept)
            for _piece in pieces:  # to the end: what comes after the last part is checked as well
                pass
    except FileNotFoundError:
        raise BackupRefused(f"There is no file {path}.") from None
    except BadSealedFile as error:
        raise BackupRefused(f"{path}: {error}") from error
    except (tarfile.TarError, EOFError, OSError) as error:
        raise BackupRefused(f"{path}: cannot be read ({type(error).__name__}: {error}).") from error
    if CHECKSUMS not in found or MANIFEST not in found:
        raise BackupRefused(f"{path}: its list of parts is missing.")
    checksums = json.loads((folder / CHECKSUMS).read_text(encoding="utf-8"))
    del found[CHECKSUMS]
    if found != checksums:
        wrong = sorted(name for name in {*found, *checksums} if found.get(name) != checksums.get(name))
        raise BackupRefused(f"{path}: parts with another checksum than noted: {', '.join(wrong)}.")
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    return BackupReport(
        engine=manifest["engine"],
        made_at=manifest["made_at"],
        n_rows=manifest["n_rows"],
        checksums={name: one["sha256"] for name, one in checksums.items()},
        is_encrypted=is_encrypted,
    )


def _drain(part: IO[bytes], kept: Path | None) -> dict[str, Any]:
    digest, length = hashlib.sha256(), 0
    with kept.open("wb") if kept is not None else contextlib.nullcontext() as out:
        while block := part.read(BLOCK):
            digest.update(block)
            length += len(block)
            if out is not None:
                out.write(block)
    return {"sha256": digest.hexdigest(), "length": length}


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _migrations() -> list[list[str]]:
    applied = MigrationRecorder(connection).applied_migrations()
    return sorted([app, name] for app, name in applied)


# --- SQLite ---


def _dump_sqlite(parts: Path) -> dict[str, int]:
    target = sqlite3.connect(parts / SQLITE_PART)
    try:
        connection.ensure_connection()
        connection.connection.backup(target)
        target.execute("PRAGMA journal_mode=DELETE")
        tables = [
            name
            for (name,) in target.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
            if not name.startswith("sqlite_")
        ]
        counts = {}
        for name in tables:
            quoted = name.replace('"', '""')
            (counts[name],) = target.execute(f'SELECT count(*) FROM "{quoted}"').fetchone()
        return counts
    finally:
        target.close()


def _restore_sqlite(part: Path, *, replace: bool) -> None:
    database = Path(str(connection.settings_dict["NAME"]))
    if database.exists() and database.stat().st_size > 0 and not replace:
        raise BackupRefused(
            f"{database} is there already. Stop the platform and add --replace to put the backup in its place."
        )
    with contextlib.closing(sqlite3.connect(part)) as check:
        (verdict,) = check.execute("PRAGMA integrity_check").fetchone()
    if verdict != "ok":
        raise BackupRefused(f"The database in the backup is damaged: {verdict}.")
    connection.close()
    database.parent.mkdir(parents=True, exist_ok=True)
    draft = database.with_name(f".{database.name}.restored")
    shutil.copyfile(part, draft)
    draft.chmod(0o600)
    for suffix in ("-wal", "-shm"):
        database.with_name(database.name + suffix).unlink(missing_ok=True)
    os.replace(draft, database)


# --- PostgreSQL ---


def _tables(cursor: Any) -> list[str]:
    cursor.execute(
        "SELECT tablename FROM pg_tables WHERE schemaname = current_schema() AND tablename <> 'django_migrations' "
        "ORDER BY tablename"
    )
    return [name for (name,) in cursor.fetchall()]


def _copied(cursor: Any, table: str) -> Iterator[bytes]:
    """The rows of a table in the order of its first column, as COPY writes them."""
    statement = sql.SQL("COPY (SELECT * FROM {} ORDER BY 1) TO STDOUT").format(sql.Identifier(table))
    with cursor.cursor.copy(statement) as copy:
        for block in copy:
            yield bytes(block)


def _dump_postgresql(parts: Path) -> dict[str, int]:
    counts = {}
    with transaction.atomic(), connection.cursor() as cursor:
        # One picture of one moment for all tables.
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        for table in _tables(cursor):
            n_rows = 0
            with (parts / f"{table}.copy").open("wb") as file:
                for block in _copied(cursor, table):
                    file.write(block)
                    n_rows += block.count(b"\n")
            counts[table] = n_rows
    return counts


def _restore_postgresql(parts: Path, manifest: dict[str, Any], report: BackupReport, *, replace: bool) -> None:
    call_command("migrate", interactive=False, verbosity=0)
    if _migrations() != manifest["migrations"]:
        raise BackupRefused(
            "The backup was made by another version: its migrations differ from this code's. "
            "Restore it with the version that made it, then update."
        )
    with transaction.atomic(), connection.cursor() as cursor:
        tables = _tables(cursor)
        if not replace:
            cursor.execute("SELECT EXISTS (SELECT 1 FROM auth_user) OR EXISTS (SELECT 1 FROM studies_study)")
            if cursor.fetchone()[0]:
                raise BackupRefused(
                    "The database holds studies or people already. Add --replace to put the backup in its place."
                )
        names = sql.SQL(", ").join(map(sql.Identifier, tables))
        cursor.execute("SET CONSTRAINTS ALL DEFERRED")
        cursor.execute(sql.SQL("TRUNCATE {} CASCADE").format(names).as_string(None))
        # The rows are put back as they were: nothing that triggers would add.
        _set_triggers(cursor, tables, "DISABLE")
        for table in tables:
            statement = sql.SQL("COPY {} FROM STDIN").format(sql.Identifier(table))
            with (parts / f"{table}.copy").open("rb") as file, cursor.cursor.copy(statement) as copy:
                while block := file.read(BLOCK):
                    copy.write(block)
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        _set_triggers(cursor, tables, "ENABLE")
        _set_sequences(cursor)
        for table in tables:
            digest = hashlib.sha256()
            for block in _copied(cursor, table):
                digest.update(block)
            if digest.hexdigest() != report.checksums[f"{table}.copy"]:
                raise BackupRefused(f"After the restore, table {table} has another checksum. Nothing was changed.")


def _set_triggers(cursor: Any, tables: list[str], state: str) -> None:
    for table in tables:
        statement = sql.SQL("ALTER TABLE {} {} TRIGGER USER").format(sql.Identifier(table), sql.SQL(state))
        cursor.execute(statement.as_string(None))


def _set_sequences(cursor: Any) -> None:
    models = list(connection.introspection.installed_models(_tables(cursor)))
    for statement in connection.ops.sequence_reset_sql(no_style(), models):
        cursor.execute(statement)
