"""Create visits of new patients and print their links."""

import json
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.urls import reverse
from django.utils import timezone

from instruments.services import create_visits_with_new_patients
from studies.models import Clinician, Study

MAXIMUM_COUNT = 10_000


class Command(BaseCommand):
    """`manage.py create_visits --study CODE --count N`."""

    help = "Create N visits of new patients, spread over the clinicians; one JSON line each with both links."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--study", required=True, metavar="CODE")
        parser.add_argument("--count", type=int, default=1, metavar="N")
        parser.add_argument("--form", help="full or short; default: the study's")
        parser.add_argument("--wave", help="default: the study's first wave")
        parser.add_argument("--site", help="only clinicians of this site")
        parser.add_argument("--clinician", help="only this clinician (study code)")
        parser.add_argument("--base-url", default=settings.BASE_URL, help="default: %(default)s")

    def handle(self, *args: Any, **options: Any) -> None:
        study = Study.objects.filter(code=options["study"]).first()
        if study is None:
            known = ", ".join(Study.objects.values_list("code", flat=True)) or "none yet"
            raise CommandError(f"There is no study {options['study']!r}. Studies: {known}.")
        if not 1 <= options["count"] <= MAXIMUM_COUNT:
            raise CommandError(f"--count must be from 1 to {MAXIMUM_COUNT:,}; it is {options['count']}.")
        waves = study.waves.filter(**({"code": options["wave"]} if options["wave"] else {}))
        wave = waves.first()
        if wave is None:
            raise CommandError("The study has no such wave. Add one under Settings, or leave out --wave.")
        clinicians = Clinician.objects.filter(site__study=study).select_related("site").order_by("pk")
        if options["site"]:
            clinicians = clinicians.filter(site__code=options["site"])
        if options["clinician"]:
            clinicians = clinicians.filter(code=options["clinician"])
        if not clinicians:
            raise CommandError("No clinician fits. Check --site and --clinician, or add clinicians to the study.")
        try:
            created = create_visits_with_new_patients(
                study=study,
                clinicians=list(clinicians),
                wave=wave,
                form=options["form"] or "",
                count=options["count"],
                now=timezone.now(),
            )
        except ValueError as error:
            raise CommandError(str(error)) from error
        base = options["base_url"].rstrip("/")
        for one in created:
            line = {
                "dyad": one.visit.dyad.code,
                "wave": wave.code,
                "form": one.visit.form,
                "patient_url": base + reverse("questionnaire", args=[one.patient_token]),
                "clinician_url": base + reverse("questionnaire", args=[one.clinician_token]),
            }
            self.stdout.write(json.dumps(line))
