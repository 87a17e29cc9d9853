"""Do again what the erasure ledger says."""

import json
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from instruments.erasure import apply_ledger, shred_free_space
from studies.erasure_ledger import BadLedger


class Command(BaseCommand):
    """`manage.py apply_erasures`."""

    help = "Erase again whom the ledger names, after a restore; and leave nothing of them in the database's free pages."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--ledger", type=Path, help="the ledger (ERASURE_LEDGER_FILE)")

    def handle(self, *args: Any, **options: Any) -> None:
        path = options["ledger"] or settings.ERASURE_LEDGER_FILE
        try:
            counts = apply_ledger(path, clock=timezone.now)
        except BadLedger as problem:
            raise CommandError(str(problem)) from problem
        finally:
            shred_free_space()
        self.stdout.write(json.dumps({"ledger": str(path), "found": path.exists(), **counts}))
