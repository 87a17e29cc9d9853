"""A completed questionnaire asks for scoring: the request in the same transaction, the message after its commit."""

from functools import partial
from typing import Any

from django.db import transaction
from django.dispatch import receiver
from django.utils import timezone

from instruments.services import administration_completed, answers_taken_away
from scoring import services, tasks
from scoring.models import DyadScore

#: An import of many forms sends no message for each: the sweep scores them.
MAXIMUM_MESSAGES = 100


@receiver(administration_completed, dispatch_uid="scoring.request")
def request_scoring(*, visit_ids: list[int], **_: Any) -> None:
    """Put the visits into the queue of rows, and nudge a worker."""
    services.request_scoring(visit_ids=visit_ids, now=timezone.now())
    for visit_id in visit_ids[:MAXIMUM_MESSAGES]:
        # As `delay_on_commit`, but robust: with the broker away the answers are safe, the page must say so, and the
        # sweep scores the dyad.
        transaction.on_commit(partial(tasks.score_visit.delay, visit_id), robust=True)


@receiver(answers_taken_away, dispatch_uid="scoring.forget")
def forget_scores(*, visit_ids: list[int], **_: Any) -> None:
    """Scores that rest on the answers go with them, at once; what is left of the visit is scored again."""
    DyadScore.objects.filter(pk__in=visit_ids).delete()
    request_scoring(visit_ids=visit_ids)
