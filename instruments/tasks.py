"""What workers do for questionnaires."""

from celery import Task, shared_task
from django.utils import timezone

from instruments import reminders
from instruments.retention import apply_orders
from studies.workers import claimant


@shared_task(bind=True)
def send_reminders(self: Task) -> None:
    """Remind clinicians of the patients who wait."""
    reminders.send_due(owner=claimant(self.request.id), clock=timezone.now)


@shared_task
def apply_retention() -> None:
    """Delete what somebody confirmed for today, and nothing else."""
    apply_orders(now=timezone.now())
