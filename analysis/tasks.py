"""What workers are asked to do: ids in, one service call."""

from celery import Task, shared_task
from django.utils import timezone

from analysis import running, services
from studies.workers import claimant


@shared_task(bind=True)
def run_analysis(self: Task, run_id: int) -> None:
    """Run one analysis, if it is due."""
    running.run_analysis(run_id=run_id, owner=claimant(self.request.id), clock=timezone.now)


@shared_task(bind=True)
def sweep_analysis(self: Task) -> None:
    """Send analyses again whose message or worker was lost."""
    for run_id in services.due_runs(now=timezone.now()):
        run_analysis.delay(run_id)
