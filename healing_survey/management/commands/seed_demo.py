"""Make the demonstration study."""

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand
from django.utils import timezone

from healing_survey.demo import seed_demo


class Command(BaseCommand):
    """`manage.py seed_demo`."""

    help = "Make the synthetic demonstration study unless it is there, and write var/demo.json."

    def handle(self, *args: Any, **options: Any) -> None:
        path = settings.VAR_DIR / "demo.json"
        demo = seed_demo(base_url=settings.BASE_URL.rstrip("/"), path=path, clock=timezone.now)
        self.stdout.write(f"study {demo.study} is ready; {path}")
