"""What workers do for questionnaires."""

from celery import Task, shared_task
from django.utils import timezone

from instruments import reminders
from studies.workers import claimant


@shared_task(bind=True)
def send_reminders(self: Task) -> None:
    """Remind clinicians of the patients who wait."""
    reminders.send_due(owner=claimant(self.request.id), clock=timezone.now)
