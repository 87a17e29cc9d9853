"""Back the database up into one file."""

import json
import os
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from healing_survey.backup import BackupRefused, check_backup, write_backup
from healing_survey.sealed_file import BadSealedFile, new_key, read_key
from studies import heartbeats


def key_from(file: Path | None) -> bytes | None:
    """The key in the file, or in BACKUP_KEY; None without either."""
    try:
        if file is not None:
            return read_key(file.read_text(encoding="utf-8"))
        text = os.environ.get("BACKUP_KEY", "")
        return read_key(text) if text else None
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"{file}: the key cannot be read ({error}).") from error
    except BadSealedFile as error:
        raise CommandError(str(error)) from error


class Command(BaseCommand):
    """`manage.py backup`."""

    help = "Back the database up while it is in use; the file is checked before it stands under its name."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--output", type=Path, help="the file to write")
        parser.add_argument("--check", type=Path, help="only check this backup")
        parser.add_argument("--key-file", type=Path, help="a key: the backup is encrypted (or BACKUP_KEY)")
        parser.add_argument("--make-key", type=Path, help="write a fresh key into this file, and nothing else")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["make_key"]:
            self._make_key(options["make_key"])
            return
        if not (options["output"] or options["check"]):
            raise CommandError("Say where to write the backup: --output FILE (or --check FILE, --make-key FILE).")
        key = key_from(options["key_file"])
        try:
            if options["check"]:
                report = check_backup(options["check"], key=key)
            else:
                report = write_backup(options["output"], key=key, now=timezone.now())
                heartbeats.beat("backup", now=timezone.now())
        except BackupRefused as refusal:
            raise CommandError(str(refusal)) from refusal
        self.stdout.write(
            json.dumps(
                {
                    "file": str(options["check"] or options["output"]),
                    "made_at": report.made_at,
                    "engine": report.engine,
                    "rows": report.n_rows_in_all,
                    "parts": len(report.checksums),
                    "encrypted": report.is_encrypted,
                    "checked": True,
                }
            )
        )

    def _make_key(self, path: Path) -> None:
        try:
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(new_key() + "\n")
        except FileExistsError:
            raise CommandError(f"{path} is there already; a key is never replaced.") from None
        self.stdout.write(f"{path}: keep it apart from the backups. Without it they cannot be opened.")
