"""Put the database back from a backup."""

import json
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from healing_survey.backup import BackupRefused, restore_backup
from healing_survey.management.commands.backup import key_from
from instruments.erasure import apply_ledger, shred_free_space
from studies.erasure_ledger import BadLedger


class Command(BaseCommand):
    """`manage.py restore`."""

    help = "Put the database back. The whole backup is checked first; a damaged one changes nothing."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path)
        parser.add_argument("--key-file", type=Path, help="the key of an encrypted backup (or BACKUP_KEY)")
        parser.add_argument("--ledger", type=Path, help="the erasure ledger to apply (ERASURE_LEDGER_FILE)")
        parser.add_argument("--replace", action="store_true", help="also where the database holds something")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            report = restore_backup(options["file"], key=key_from(options["key_file"]), replace=options["replace"])
        except BackupRefused as refusal:
            raise CommandError(str(refusal)) from refusal
        told = {
            "file": str(options["file"]),
            "made_at": report.made_at,
            "rows": report.n_rows_in_all,
            "restored": True,
            "erasures": self._erase_again(options["ledger"] or settings.ERASURE_LEDGER_FILE),
        }
        self.stdout.write(json.dumps(told))

    def _erase_again(self, ledger: Path) -> dict[str, int] | None:
        """Whom the backup still knew, though they were erased since; before anybody sees the database."""
        if not ledger.exists():
            self.stderr.write(f"No erasure ledger at {ledger}: if people were erased, name it with apply_erasures.")
            return None
        call_command("migrate", interactive=False, verbosity=0)  # of an older SQLite backup
        try:
            counts = apply_ledger(ledger, clock=timezone.now)
        except BadLedger as problem:
            raise CommandError(
                f"The backup was restored, but not everybody was erased again: {problem} "
                "Do not start the platform before `manage.py apply_erasures` has succeeded."
            ) from problem
        shred_free_space()
        return counts
