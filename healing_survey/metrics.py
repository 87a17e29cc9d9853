"""Figures for Prometheus, read from the database when they are asked for: the same from every web process."""

import secrets
from collections.abc import Iterator
from datetime import datetime

from django.conf import settings
from django.db.models import Count, Min
from django.http import Http404, HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.http import require_GET

from analysis.models import AnalysisRun
from instruments.models import Administration
from scoring.models import DyadScore, ScoringRequest
from studies import audit
from studies.models import SignInFailures, Visit
from studies.scope import lifted


@require_GET
def metrics(request: HttpRequest) -> HttpResponse:
    """In Prometheus' text format; only with the token of METRICS_TOKEN, and not at all without one."""
    token = settings.METRICS_TOKEN
    given = request.headers.get("Authorization", "").removeprefix("Bearer ").strip()
    if not token or not secrets.compare_digest(given.encode("utf-8", "replace"), token.encode()):
        raise Http404
    with lifted():
        text = "".join(f"{line}\n" for line in lines(now=timezone.now()))
    return HttpResponse(text, content_type="text/plain; version=0.0.4; charset=utf-8")


def lines(*, now: datetime) -> Iterator[str]:
    """Counts only: no code, no name, no answer."""
    yield from _family("healing_visits", "gauge", "Visits", {"": Visit.objects.count()})
    by_status = Administration.objects.order_by().values_list("role", "status").annotate(n=Count("pk"))
    forms = {f'{{role="{role}",status="{status}"}}': n for role, status, n in by_status}
    yield from _family("healing_questionnaires", "gauge", "Questionnaires by role and status", forms)
    yield from _family("healing_scores", "gauge", "Scored visits", {"": DyadScore.objects.count()})
    due = ScoringRequest.objects.due(now=now)
    yield from _family("healing_scoring_due", "gauge", "Visits that wait to be scored", {"": due.count()})
    oldest = AnalysisRun.objects.due(now=now).aggregate(first=Min("requested_at"))["first"]
    runs = AnalysisRun.objects.due(now=now).count()
    yield from _family("healing_analyses_due", "gauge", "Analyses that wait for a worker", {"": runs})
    waits = 0.0 if oldest is None else max(0.0, (now - oldest).total_seconds())
    yield from _family("healing_analyses_wait_seconds", "gauge", "How long the oldest of them has waited", {"": waits})
    blocked = SignInFailures.objects.filter(blocked_until__gt=now).count()
    yield from _family("healing_sign_ins_waiting", "gauge", "Accounts with too many wrong passwords", {"": blocked})
    yield from _family("healing_audit_lines", "counter", "Lines of the audit trail", {"": audit.head().sequence})


def _family(name: str, kind: str, meaning: str, values: dict[str, float]) -> Iterator[str]:
    yield f"# HELP {name} {meaning}."
    yield f"# TYPE {name} {kind}"
    for labels, value in values.items():
        yield f"{name}{labels} {value:g}" if isinstance(value, float) else f"{name}{labels} {value}"
