"""Delete what the retention rules' preview showed and somebody confirmed."""

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from instruments.retention import apply_orders, preview
from studies.erasure_ledger import BadLedger
from studies.models import Study


class Command(BaseCommand):
    """`manage.py apply_retention`."""

    help = "Delete what was confirmed and is due. With --preview: show what rules would delete, and delete nothing."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--study", help="only this study")
        parser.add_argument("--preview", action="store_true", help="delete nothing")

    def handle(self, *args: Any, **options: Any) -> None:
        study = None
        if options["study"] and (study := Study.objects.filter(code=options["study"]).first()) is None:
            raise CommandError(f"There is no study {options['study']}.")
        if options["preview"]:
            for one in [study] if study else Study.objects.all():
                for line in preview(one):
                    told = {"study": one.code, "rule": line.rule, "due_on": str(line.due_on), "rows": line.n_rows}
                    self.stdout.write(json.dumps(told | {"confirmed": line.is_confirmed}))
            return
        try:
            for applied in apply_orders(now=timezone.now(), study=study):
                self.stdout.write(json.dumps(applied))
        except BadLedger as problem:
            raise CommandError(str(problem)) from problem
