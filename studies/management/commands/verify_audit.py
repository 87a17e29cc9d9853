"""Check the audit trail."""

from itertools import islice
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from studies import audit
from studies.audit_anchors import BadAnchors, read_anchors

MOST_SHOWN = 50


class Command(BaseCommand):
    """`manage.py verify_audit`: exit status 1 and one line for each fault, or 0."""

    help = "Check that no line of the audit trail was changed, added or taken away, its end included."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--anchors",
            type=Path,
            help=f"what anchor_audit wrote; left out: {settings.AUDIT_ANCHOR_FILE}, if it is there",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        file = options["anchors"] or settings.AUDIT_ANCHOR_FILE
        anchors = []
        if options["anchors"] or file.exists():
            try:
                anchors = read_anchors(file)
            except BadAnchors as error:
                raise CommandError(str(error)) from error
        found = audit.problems(anchors)
        shown = list(islice(found, MOST_SHOWN))
        for problem in shown:
            self.stderr.write(problem)
        if shown:
            n_more = sum(1 for _ in found)
            raise CommandError(f"The audit trail is not whole: {len(shown) + n_more} faults.")
        end = audit.head()
        self.stdout.write(
            f"The audit trail is whole: {end.sequence} lines, {len(anchors)} anchors. Last hash {end.hash}"
        )
        if not anchors:
            self.stdout.write("Without an anchor a cut-off end cannot be seen. Run anchor_audit daily.")
