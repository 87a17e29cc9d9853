"""Write the scored dyads of a study into a file."""

import hashlib
import os
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from analysis.exports import codebook_csv, dyads_csv
from studies import audit
from studies.models import Study


class Command(BaseCommand):
    """`manage.py export_dyads --study CODE --format csv --output FILE`."""

    help = "Write the scored dyads, one row each, and beside them the codebook (FILE.codebook.csv)."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--study", required=True, metavar="CODE")
        parser.add_argument("--format", default="csv", help="csv; other formats are not available yet")
        parser.add_argument("--output", required=True, type=Path, metavar="FILE")
        parser.add_argument("--include-incomplete", action="store_true", help="also visits with one finished form")

    def handle(self, *args: Any, **options: Any) -> None:
        study = Study.objects.filter(code=options["study"]).first()
        if study is None:
            known = ", ".join(Study.objects.values_list("code", flat=True)) or "none yet"
            raise CommandError(f"There is no study {options['study']!r}. Studies: {known}.")
        if options["format"] != "csv":
            raise CommandError(f"--format {options['format']} is not available yet; csv is.")
        output: Path = options["output"]
        draft = output.with_name(output.name + ".part")
        digest = hashlib.sha256()
        n_lines = 0
        try:
            with draft.open("w", encoding="utf-8", newline="") as file:
                for line in dyads_csv(study, include_incomplete=options["include_incomplete"]):
                    file.write(line)
                    digest.update(line.encode())
                    n_lines += 1
            # Only a whole file ever stands under the name that was asked for.
            os.replace(draft, output)
            output.with_name(output.name.removesuffix(".csv") + ".codebook.csv").write_text(
                "".join(codebook_csv(study)), encoding="utf-8"
            )
        except OSError as error:
            raise CommandError(f"{output}: cannot be written ({error.strerror}).") from error
        finally:
            draft.unlink(missing_ok=True)
        audit.record(
            study=study,
            actor=None,
            action="export dyads",
            detail={"rows": n_lines - 1, "sha256": digest.hexdigest()},
            now=timezone.now(),
        )
        note = " (SYNTHETIC data)" if study.is_synthetic else ""
        self.stdout.write(f"{n_lines - 1} dyads{note} written to {output}; SHA-256 {digest.hexdigest()}")
