"""Bring var/demo.json up to date and tell where to click."""

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from healing_survey.demo import describe_demo
from studies.models import Study


class Command(BaseCommand):
    """`manage.py print_demo`."""

    help = "Bring var/demo.json up to date (a used visit is replaced by a fresh one) and print where to click."

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            demo = describe_demo(
                base_url=settings.BASE_URL.rstrip("/"), path=settings.VAR_DIR / "demo.json", now=timezone.now()
            )
        except Study.DoesNotExist:
            raise CommandError("There is no demonstration study yet. Run `manage.py seed_demo` first.") from None
        pages = {
            "coordinator": f"/studies/{demo.study}/visits/",
            "clinician": f"/studies/{demo.study}/rate/",
            "researcher": f"/studies/{demo.study}/dyads/",
            "admin": f"/studies/{demo.study}/settings/",
            "auditor": f"/studies/{demo.study}/audit/",
        }
        closed = "no link: somebody has closed the study"
        lines = [
            "",
            f"Healing relationships survey: {demo.base_url}   (synthetic demonstration data)",
            "",
            f"  patient      {demo.visit['patient_url'] or closed}",
            f"  clinician    {demo.visit['clinician_url'] or closed}   (the same visit; finish both and see it scored)",
            "",
            "  sign in at   " + demo.base_url + "/login/",
        ]
        for one in demo.staff:
            address = demo.base_url + pages[one["role"]]
            lines.append(f"  {one['role']:<12} {one['username']:<17} {one['password']:<14} {address}")
        self.stdout.write("\n".join([*lines, "", "Ctrl-C stops everything.", ""]))
