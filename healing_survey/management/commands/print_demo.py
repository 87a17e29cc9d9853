"""Tell where to click."""

import json
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError


class Command(BaseCommand):
    """`manage.py print_demo`."""

    help = "Print where to click as patient, clinician, coordinator, researcher and admin of the demonstration."

    def handle(self, *args: Any, **options: Any) -> None:
        path = settings.VAR_DIR / "demo.json"
        try:
            demo = json.loads(path.read_text(encoding="utf-8"))
        except OSError:
            raise CommandError(f"{path} is not there. Run `manage.py seed_demo` first.") from None
        pages = {
            "coordinator": f"/studies/{demo['study']}/visits/",
            "clinician": f"/studies/{demo['study']}/",
            "researcher": f"/studies/{demo['study']}/dyads/",
            "admin": f"/studies/{demo['study']}/settings/",
        }
        lines = [
            "",
            f"Healing relationships survey: {demo['base_url']}   (synthetic demonstration data)",
            "",
            f"  patient      {demo['visit']['patient_url']}",
            f"  clinician    {demo['visit']['clinician_url']}   (the same visit; finish both and see the dyad scored)",
            "",
            "  sign in at   " + demo["base_url"] + "/login/",
        ]
        for one in demo["staff"]:
            address = demo["base_url"] + pages[one["role"]]
            lines.append(f"  {one['role']:<12} {one['username']:<17} {one['password']:<14} {address}")
        self.stdout.write("\n".join([*lines, "", "Ctrl-C stops everything.", ""]))
