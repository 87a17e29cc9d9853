"""Send the reminders that are due, now, in this process."""

from typing import Any

from django.core.management.base import BaseCommand
from django.utils import timezone

from instruments import reminders
from studies.workers import claimant


class Command(BaseCommand):
    """`manage.py send_reminders`."""

    help = "Remind clinicians by e-mail of the patients who wait: at most one mail a day to each."

    def handle(self, *args: Any, **options: Any) -> None:
        n_sent = reminders.send_due(owner=claimant("send_reminders"), clock=timezone.now)
        self.stdout.write(f"{n_sent} reminders were sent.")
