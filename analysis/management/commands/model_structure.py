"""Print a form's items, components and domains as the file that `analysis.psychometrics rivals` reads."""

import dataclasses
import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from analysis.model_structure import model_structure
from analysis.psychometrics.plain_data import as_plain
from instruments.definitions import Role
from instruments.services import study_instrument_version
from studies.models import Study


class Command(BaseCommand):
    """`manage.py model_structure --study CODE --form full --role patient > structure.json`."""

    help = "Print the model's structure on a form of a study, as JSON for `python -m analysis.psychometrics rivals`."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--study", required=True, metavar="CODE")
        parser.add_argument("--form", default="full", metavar="FORM")
        parser.add_argument(
            "--role",
            choices=[role.value for role in Role],
            help="name the items as in the export of dyads: patient_VN1",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        study = Study.objects.filter(code=options["study"]).first()
        if study is None:
            known = ", ".join(Study.objects.values_list("code", flat=True)) or "none yet"
            raise CommandError(f"There is no study {options['study']!r}. Studies: {known}.")
        instrument = study_instrument_version(study).instrument
        if options["form"] not in instrument.forms:
            raise CommandError(f"There is no form {options['form']!r}. Forms: {', '.join(instrument.forms)}.")
        prefix = f"{options['role']}_" if options["role"] else ""
        structure = dataclasses.asdict(model_structure(instrument, form=options["form"], prefix=prefix))
        self.stdout.write(json.dumps(as_plain(structure), ensure_ascii=False, indent=1))
