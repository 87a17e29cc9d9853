"""Asking for analyses. Running them (`analysis.running`) needs the statistics libraries; no page waits for those."""

from datetime import datetime
from functools import partial

from celery import current_app
from django.contrib.auth.models import User
from django.db import transaction

from analysis.models import AnalysisRun
from studies import audit
from studies.models import Study


@transaction.atomic
def request_analysis(
    *,
    study: Study,
    form: str,
    n_factors: int | None,
    exclude_flagged: bool,
    seed: int,
    user: User | None,
    now: datetime,
) -> AnalysisRun:
    """Put an analysis into the queue of rows, and nudge a worker."""
    run = AnalysisRun.objects.create(
        study=study,
        form=form,
        n_factors=n_factors,
        exclude_flagged=exclude_flagged,
        seed=seed,
        requested_by=user,
        requested_at=now,
    )
    audit.record(
        study=study,
        actor=user,
        action="run analysis",
        detail={"run": run.pk, "form": form, "n_factors": n_factors, "exclude_flagged": exclude_flagged, "seed": seed},
        now=now,
    )
    # By name, because importing the task would load the statistics; robust, because the sweep sends it again anyway.
    transaction.on_commit(partial(current_app.send_task, "analysis.tasks.run_analysis", args=[run.pk]), robust=True)
    return run


def due_runs(*, now: datetime) -> list[int]:
    """Runs that nobody is at."""
    return list(AnalysisRun.objects.due(now=now).order_by("pk").values_list("pk", flat=True))
