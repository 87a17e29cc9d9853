"""Import answers collected elsewhere."""

from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from instruments.imports import ImportRefused, import_responses
from studies.models import Study


class Command(BaseCommand):
    """`manage.py import_responses --study CODE FILE.csv`."""

    help = "Import a wide CSV file (one row per respondent, columns = item codes): all of it, or nothing."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--study", required=True, metavar="CODE")
        parser.add_argument("file", type=Path)

    def handle(self, *args: Any, **options: Any) -> None:
        path: Path = options["file"]
        study = Study.objects.filter(code=options["study"]).first()
        if study is None:
            raise CommandError(f"There is no study {options['study']!r}.")
        try:
            if path.stat().st_size > settings.MAXIMUM_IMPORT_BYTES:
                raise CommandError(
                    f"{path} is larger than {settings.MAXIMUM_IMPORT_BYTES:,} bytes. Split it into smaller files."
                )
            data = path.read_bytes()
        except OSError as error:
            raise CommandError(f"{path}: cannot be read ({error.strerror}).") from error
        try:
            report = import_responses(study=study, data=data, now=timezone.now(), actor=None, file_name=path.name)
        except (ImportRefused, ValueError) as error:
            raise CommandError(f"{path}: nothing was imported.\n{error}") from error
        self.stdout.write(f"{report.n_forms} forms imported, {report.n_dyads} new dyads")
