"""Score a whole study again."""

import time
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from scoring.services import rescore_study
from studies.models import Study


class Command(BaseCommand):
    """`manage.py rescore --study CODE`."""

    help = "Score all visits of a study again with the vectorised rules, for example after an update of the rules."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--study", required=True, metavar="CODE")

    def handle(self, *args: Any, **options: Any) -> None:
        study = Study.objects.filter(code=options["study"]).first()
        if study is None:
            raise CommandError(f"There is no study {options['study']!r}.")
        start = time.monotonic()
        n_scored = rescore_study(
            study=study, clock=timezone.now, progress=lambda n_done: self.stderr.write(f"{n_done} scored …")
        )
        self.stdout.write(f"{n_scored} visits scored in {time.monotonic() - start:.1f} s")
