"""Change the keys of patients' names and contact details, while the platform runs."""

import json
import time
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from studies import audit
from studies.identifier_keys import BadKeys, KeyRing, keys_in_use, new_key, write_ring
from studies.identifiers import configured_ring, rotate, rows_by_key


class Command(BaseCommand):
    """`manage.py rotate_identifier_keys`: with --make-key, then without, then with --retire."""

    help = "Seal names and contact details under the newest key. Broken off, it goes on where it was."

    def add_arguments(self, parser: CommandParser) -> None:
        steps = parser.add_mutually_exclusive_group()
        steps.add_argument("--make-key", action="store_true", help="first: put a fresh key in front of the others")
        steps.add_argument("--retire", action="store_true", help="last: take the older keys away, when none is in use")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            if options["make_key"]:
                self._make_key()
            elif options["retire"]:
                self._retire()
            else:
                self._rotate()
        except BadKeys as problem:
            raise CommandError(str(problem)) from problem

    def _make_key(self) -> None:
        key, file = new_key(), settings.IDENTIFIER_KEY_FILE
        if settings.IDENTIFIER_KEYS or file is None:
            self.stdout.write(key.line())
            self.stderr.write("Put this line, and a comma, in front of IDENTIFIER_KEYS; then restart every process.")
            return
        older = configured_ring().keys if file.exists() else ()
        write_ring(file, KeyRing(keys=(key, *older)))
        self._tell(key=key.id, file=str(file))

    def _rotate(self) -> None:
        begun = time.monotonic()
        newest = configured_ring().newest.id
        n_rows, failed = rotate()
        seconds = round(time.monotonic() - begun, 2)
        detail = {"key": newest, "rows": n_rows, "failed": len(failed)}
        audit.record(study=None, actor=None, action="rotate identifier keys", detail=detail, now=timezone.now())
        self._tell(**detail, seconds=seconds)
        if failed:
            shown = ", ".join(map(str, failed[:10]))
            raise CommandError(
                f"{len(failed)} rows do not open and stay as they are (patient ids {shown}). Is an older key missing? "
                "No key may be retired before they open."
            )

    def _retire(self) -> None:
        ring, file = configured_ring(), settings.IDENTIFIER_KEY_FILE
        counts = rows_by_key()
        unknown = [key for key in counts if key not in {known.id for known in ring.keys}]
        if used := [*keys_in_use(counts, ring), *unknown]:
            raise CommandError(f"Still in use: {', '.join(used)}. Run rotate_identifier_keys first.")
        if settings.IDENTIFIER_KEYS or file is None:
            raise CommandError("Every row is under the first key: take the others out of IDENTIFIER_KEYS and restart.")
        write_ring(file, KeyRing(keys=(ring.newest,)))
        self._tell(key=ring.newest.id, retired=[key.id for key in ring.keys[1:]])

    def _tell(self, **told: Any) -> None:
        self.stdout.write(json.dumps(told))
