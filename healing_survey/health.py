"""Is the process alive, and can it serve? For load balancers, containers and `make demo`."""

from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, HttpResponse, JsonResponse


def live(request: HttpRequest) -> HttpResponse:
    """The process answers."""
    return JsonResponse({"status": "live"})


def ready(request: HttpRequest) -> HttpResponse:
    """The database answers and its tables are those of this code."""
    try:
        executor = MigrationExecutor(connection)
        pending = executor.migration_plan(executor.loader.graph.leaf_nodes())
    except Exception as error:  # noqa: BLE001  whatever keeps the database away means "not ready"
        return JsonResponse({"status": "not ready", "reason": f"database: {type(error).__name__}"}, status=503)
    if pending:
        return JsonResponse({"status": "not ready", "reason": "migrations are pending"}, status=503)
    return JsonResponse({"status": "ready"})
