"""Put the database back from a backup."""

import json
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from healing_survey.backup import BackupRefused, restore_backup
from healing_survey.management.commands.backup import key_from


class Command(BaseCommand):
    """`manage.py restore`."""

    help = "Put the database back. The whole backup is checked first; a damaged one changes nothing."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path)
        parser.add_argument("--key-file", type=Path, help="the key of an encrypted backup (or BACKUP_KEY)")
        parser.add_argument("--replace", action="store_true", help="also where the database holds something")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            report = restore_backup(options["file"], key=key_from(options["key_file"]), replace=options["replace"])
        except BackupRefused as refusal:
            raise CommandError(str(refusal)) from refusal
        told = {"file": str(options["file"]), "made_at": report.made_at, "rows": report.n_rows_in_all, "restored": True}
        self.stdout.write(json.dumps(told))
