"""Server time of every staff page with a large study in the database.

    PYTHONPATH=. python bench/staff_pages.py [--dyads 100000] [--repeats 5] [--keep FOLDER] [--postgresql postgres://…]

A throwaway database; rows are made by SQL, scores copied from one scored dyad. Prints one JSON line per page: the
median milliseconds of a request through all middleware, and its queries. The bar is 200 ms and 12 queries. `--keep`
leaves the SQLite database in the folder and uses it again; `--postgresql` names an empty database, or one made before.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from pathlib import Path

import django

PARSER = argparse.ArgumentParser(description=__doc__)
PARSER.add_argument("--dyads", type=int, default=100_000)
PARSER.add_argument("--repeats", type=int, default=5)
PARSER.add_argument("--keep", type=Path)
PARSER.add_argument("--postgresql", metavar="URL")
OPTIONS = PARSER.parse_args()
FOLDER = tempfile.TemporaryDirectory(prefix="healing-survey-bench-")
os.environ |= {
    "DJANGO_SETTINGS_MODULE": "healing_survey.settings.embedded",
    "VAR_DIR": str(OPTIONS.keep or FOLDER.name),
}
if OPTIONS.postgresql:
    os.environ["DATABASE_URL"] = OPTIONS.postgresql
django.setup()

from django.conf import settings
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from studies import tallies
from studies.models import Visit
from tests.large_study import make_study

BAR_MS, BAR_QUERIES = 200, 12
# fmt: off
PAGES: dict[str, tuple[str, ...]] = {
    "study_overview": ("",),
    "participation": ("",),
    "visits": ("", "?show=owing", "?show=owing&page=900"),
    "visit_new": ("",),
    "day": ("",),
    "devices": ("",),
    "paper_forms": ("",),
    "withdrawals": ("",),
    "retention": ("",),
    "consent_texts": ("",),
    "day_list": ("",),
    "dyads": (
        "", "?sort=-patient_valuing", "?sort=dyad", "?sort=clinician&page=1500", "?search=77",
        "?flagged=yes&complete=yes", "?page=1500",
    ),
    "dyad": ("",),
    "analyses": ("",),
    "analysis_new": ("",),
    "patients_to_rate": ("",),
    "study_settings": ("",),
    "audit_trail": ("", "?holds=visit"),
}
# fmt: on


def main() -> None:
    settings.ALLOWED_HOSTS = ["testserver"]
    call_command("migrate", verbosity=0)
    visit = Visit.objects.order_by("pk").first() or make_study(OPTIONS.dyads)
    start = time.perf_counter()
    n_counted = tallies.refresh(clock=timezone.now)
    told("the worker counts", "seconds", round(time.perf_counter() - start, 1), "s", clinicians=n_counted)
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("VACUUM ANALYZE")
    client = Client()
    client.force_login(User.objects.get())
    for name, queries in PAGES.items():
        arguments = ["BENCH", visit.dyad.code, visit.wave.code] if name == "dyad" else ["BENCH"]
        for query in queries:
            address = reverse(name, args=arguments) + query
            n_queries, milliseconds, busy = measure(client, address, OPTIONS.repeats)
            more = {"cpu_ms": round(busy, 1), "queries": n_queries, "bar_ms": BAR_MS}
            met = milliseconds <= BAR_MS and n_queries <= BAR_QUERIES
            told(name + query, "server_ms", round(milliseconds, 1), "ms", **more, met=met)
    FOLDER.cleanup()


def told(page: str, figure: str, value: float, unit: str, **more: object) -> None:
    line = {"benchmark": "staff_pages", "page": page, "figure": figure, "value": value, "unit": unit}
    print(json.dumps(line | more | {"dyads": OPTIONS.dyads, "database": connection.vendor}), flush=True)


def measure(client: Client, address: str, repeats: int) -> tuple[int, float, float]:
    """Queries of one request, and the median of the milliseconds and CPU milliseconds of several after a first one."""
    with CaptureQueriesContext(connection) as queries:
        response = client.get(address)
    n_queries = len(queries)
    assert response.status_code == 200, (address, response.status_code)
    times, busy = [], []
    for _ in range(repeats):
        start, start_busy = time.perf_counter(), time.process_time()
        client.get(address)
        times.append(1000 * (time.perf_counter() - start))
        busy.append(1000 * (time.process_time() - start_busy))
    return n_queries, statistics.median(times), statistics.median(busy)


if __name__ == "__main__":
    main()
