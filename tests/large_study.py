"""A large study for benchmarks: one visit that was really answered and scored, and copies of it made by SQL."""

from io import StringIO
from typing import Any

from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection
from django.utils import timezone

from instruments.definitions import Role
from instruments.services import GivenAnswer, complete_administration, create_visits_with_new_patients, record_answers
from scoring.services import score_due
from studies.models import Clinician, Member, Site, Study, Visit, Wave

N_SITES, N_CLINICIANS = 20, 200


def make_study(n_dyads: int, *, with_log: bool = False) -> Visit:
    """A person with every role, and one visit that was really scored; all others are copies of it.

    `with_log` copies the answer log, too: a hundred lines for each dyad.
    """
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
    fill(n_dyads - 1, study.pk, created.visit.pk)
    if with_log:
        fill_log(n_dyads - 1)
    user = User.objects.create_user("everybody")
    for role in (Member.Role.ADMIN, Member.Role.RESEARCHER, Member.Role.CLINICIAN, Member.Role.AUDITOR):
        Member.objects.create(study=study, user=user, role=role)
    Clinician.objects.filter(pk=clinicians[1].pk).update(user=user)
    return created.visit


def fill(n: int, study: int, visit: int) -> None:
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


def fill_log(n: int) -> None:
    """The log of the first two questionnaires for all copies of them."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT min(id) FROM instruments_administration WHERE id <= 10 GROUP BY role ORDER BY role DESC")
        for place, (administration,) in enumerate(cursor.fetchall()):
            copy(cursor, f"WITH RECURSIVE k(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM k WHERE n < {n})",
                 "instruments_answerevent", f"administration_id = {administration}", {
                     "id": f"{10 + place * n} * 100 + k.n * 100 + t.sequence",
                     "administration_id": f"{10 + place * n} + k.n",
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
