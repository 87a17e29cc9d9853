"""What workers are asked to do: ids in, one service call."""

from celery import Task, shared_task
from django.utils import timezone

from scoring import services
from studies.workers import claimant


@shared_task(bind=True)
def score_visit(self: Task, visit_id: int) -> None:
    """Score one visit, if it is due."""
    services.score_visit(visit_id=visit_id, owner=claimant(self.request.id), clock=timezone.now)


@shared_task(bind=True)
def sweep_scoring(self: Task) -> None:
    """Score whatever is due: lost messages, killed workers, failures whose waiting time is over."""
    services.score_due(owner=claimant(self.request.id), clock=timezone.now, seconds=services.SWEEP_SECONDS)
