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
from io import StringIO
from pathlib import Path
from typing import Any

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

from instruments.definitions import Role
from instruments.services import GivenAnswer, complete_administration, create_visits_with_new_patients, record_answers
from scoring.services import score_due
from studies import tallies
from studies.models import Clinician, Member, Site, Study, Visit, Wave

N_SITES, N_CLINICIANS = 20, 200
BAR_MS, BAR_QUERIES = 200, 12
# fmt: off
PAGES: dict[str, tuple[str, ...]] = {
    "study_overview": ("",),
    "participation": ("",),
    "visits": ("", "?show=owing", "?show=owing&page=900"),
    "visit_new": ("",),
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


def make_study(n_dyads: int) -> Visit:
    """A person with every role, and one visit that was really scored; all others are copies of it."""
    call_command("load_instruments", stdout=StringIO())
    call_command("collectstatic", interactive=False, verbosity=0)
    now = timezone.now()
    study = Study.objects.create(code="BENCH", title="Benchmark", is_synthetic=True)
    sites = [
        Site.objects.create(study=study, code=f"S{n}", name=f"Site {n}", target_dyads=5000) for n in range(N_SITES)
    ]
    clinicians = [Clinician.objects.create(site=sites[n % N_SITES], code=f"C{n}") for n in range(N_CLINICIANS)]
    wave = Wave.objects.create(study=study, code="baseline", label="Baseline", position=1)
    (created,) = create_visits_with_new_patients(
        study=study, clinicians=clinicians[:1], wave=wave, form="full", count=1, now=now
    )
    for administration in created.visit.administrations.all():
        codes = administration.instrument.forms["full"].order
        given = [GivenAnswer(item=code, value=4, sequence=n) for n, code in enumerate(codes, start=1)]
        record_answers(administration_id=administration.pk, given=given, now=now)
        complete_administration(administration_id=administration.pk, now=now)
    score_due(owner="bench", clock=timezone.now)
    fill(n_dyads - 1, study.pk, created.visit.pk, wave.pk)
    user = User.objects.create_user("everybody")
    for role in (Member.Role.ADMIN, Member.Role.RESEARCHER, Member.Role.CLINICIAN, Member.Role.AUDITOR):
        Member.objects.create(study=study, user=user, role=role)
    Clinician.objects.filter(pk=clinicians[1].pk).update(user=user)
    return created.visit


def fill(n: int, study: int, visit: int, wave: int) -> None:
    """Copies of the first dyad: visits over 200 days, both questionnaires (a tenth unfinished of each) and scores."""
    is_postgresql = connection.vendor == "postgresql"
    visit_date = "CURRENT_DATE - k.n % 200" if is_postgresql else "date('now', '-' || (k.n % 200) || ' days')"
    numbers = f"WITH RECURSIVE k(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM k WHERE n < {n})"
    with connection.cursor() as cursor:
        cursor.execute("SELECT min(id), count(*) FROM studies_clinician")
        first, many = cursor.fetchone()
        cursor.execute("SELECT max(id) FROM studies_patient")
        p = cursor.fetchone()[0]
        cursor.execute("SELECT max(id) FROM studies_dyad")
        d = cursor.fetchone()[0]
        clinician = f"({first} + n % {many})"
        cursor.execute(
            f"{numbers} INSERT INTO studies_patient (id, site_id, code) SELECT {p} + n, "
            f"(SELECT site_id FROM studies_clinician WHERE id = {clinician}), 'P' || n FROM k"
        )
        cursor.execute(
            f"{numbers} INSERT INTO studies_dyad (id, study_id, clinician_id, patient_id, code) "
            f"SELECT {d} + n, {study}, {clinician}, {p} + n, 'D' || n FROM k"
        )
        copy(cursor, numbers, "studies_visit", f"id = {visit}", {
            "id": f"{visit} + k.n", "dyad_id": f"{d} + k.n", "request_key": "CAST(NULL AS uuid)",
            "visit_date": visit_date,
        })  # fmt: skip
        for place, role in enumerate(Role):
            done = f"k.n / {many} % 10 <> {place}"
            copy(cursor, numbers, "instruments_administration", f"visit_id = {visit} AND role = '{role}'", {
                "id": f"10 + {place * n} + k.n", "code_hash": "NULL",
                "visit_id": f"{visit} + k.n", "token_hash": f"'{role}' || k.n",
                "status": f"CASE WHEN {done} THEN 'completed' ELSE 'waiting' END",
                "completed_at": f"CASE WHEN {done} THEN t.completed_at END",
            })  # fmt: skip
        copy(cursor, numbers, "scoring_dyadscore", f"visit_id = {visit}", {
            "visit_id": f"{visit} + k.n", "dyad_code": "'D' || k.n", "visit_date": visit_date,
            "dyad_clinician_id": f"({first} + k.n % {many})",
            "patient_valuing": "k.n % 101", "is_flagged": "k.n % 7 = 0",
            "is_complete": f"k.n / {many} % 10 > 1", "is_eligible": f"k.n / {many} % 10 > 2",
        })  # fmt: skip
        cursor.execute("ANALYZE")


def copy(cursor: Any, numbers: str, table: str, which: str, changed: dict[str, str]) -> None:
    """Copy one row of a table as often as there are numbers, with some columns changed."""
    columns = [column.name for column in connection.introspection.get_table_description(cursor, table)]
    values = ", ".join(changed.get(name, f't."{name}"') for name in columns)
    names = ", ".join(f'"{name}"' for name in columns)
    cursor.execute(
        f"{numbers} INSERT INTO {table} ({names}) SELECT {values} FROM k, (SELECT * FROM {table} WHERE {which}) t"
    )


if __name__ == "__main__":
    main()
