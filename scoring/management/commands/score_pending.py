"""Score whatever is due, now, in this process."""

from typing import Any

from django.core.management.base import BaseCommand
from django.utils import timezone

from scoring import services
from studies.workers import claimant


class Command(BaseCommand):
    """`manage.py score_pending`."""

    help = "Score every dyad that is due, now, in this process. Dyads that a live worker holds are left to it."

    def handle(self, *args: Any, **options: Any) -> None:
        n_scored = services.score_due(owner=claimant("score_pending"), clock=timezone.now)
        self.stdout.write(f"{n_scored} scored")
