"""Note the end of the audit trail outside the database."""

from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser
from django.utils import timezone

from studies import audit, heartbeats
from studies.audit_anchors import write_anchor


class Command(BaseCommand):
    """`manage.py anchor_audit`."""

    help = "Append (how many lines, the last hash) to the file of anchors. Keep a copy where nobody here can change it."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--file", type=Path, default=settings.AUDIT_ANCHOR_FILE)

    def handle(self, *args: Any, **options: Any) -> None:
        self.stdout.write(write_anchor(options["file"], audit.head(), now=timezone.now()))
        heartbeats.beat("audit anchor", now=timezone.now())
