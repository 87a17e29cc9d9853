"""Make the demonstration study."""

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand
from django.utils import timezone

from healing_survey.demo import describe_demo
from healing_survey.demo_study import make_demo_study


class Command(BaseCommand):
    """`manage.py seed_demo`."""

    help = "Make the synthetic demonstration study unless it is there, and write var/demo.json."

    def handle(self, *args: Any, **options: Any) -> None:
        study = make_demo_study(clock=timezone.now)
        path = settings.VAR_DIR / "demo.json"
        describe_demo(base_url=settings.BASE_URL.rstrip("/"), path=path, now=timezone.now())
        self.stdout.write(f"study {study.code} is ready; {path}")
