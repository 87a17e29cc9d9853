"""The same code on PostgreSQL and Redis, with processes that are killed for real."""

import concurrent.futures
import csv
import http.client
import io
import json
import random
from collections import Counter
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
import redis

from instruments.catalogue.reader import read_instrument
from instruments.definitions import Role
from tests.factories import CATALOGUE_FILE
from tests.form_client import FormClient, fill
from tests.platform_processes import Platform, wait_until

pytestmark = pytest.mark.services

INSTRUMENT = read_instrument(CATALOGUE_FILE)
SHORT_FORM = INSTRUMENT.forms["short"].order


def ask(platform: Platform, question: str, *parameters: object) -> list[tuple[Any, ...]]:
    """One query of the platform's database."""
    with psycopg.connect(platform.environment["DATABASE_URL"]) as connection:
        return connection.execute(question, parameters).fetchall()


def n_complete(platform: Platform, dyads: list[str]) -> int:
    ((n,),) = ask(
        platform,
        """SELECT count(*) FROM scoring_dyadscore score JOIN studies_visit visit ON visit.id = score.visit_id
           JOIN studies_dyad dyad ON dyad.id = visit.dyad_id WHERE score.is_complete AND dyad.code = ANY(%s)""",
        dyads,
    )
    return int(n)


def finish_both(platform: Platform, visit: dict[str, str], rng: random.Random) -> None:
    with FormClient(platform.base_url) as client:
        for role in Role:
            fill(client, visit[f"{role}_url"], {code: str(rng.randint(1, 5)) for code in SHORT_FORM})


def test_it_is_postgresql_and_redis_indeed(platform: Platform) -> None:
    """A control: the platform under test has its tables in PostgreSQL, and its worker listens on Redis."""
    assert ask(platform, "SELECT count(*) FROM instruments_administration")[0][0] > 300
    clients = redis.Redis.from_url(platform.environment["CELERY_BROKER_URL"]).client_list()
    assert any(client["cmd"].lower().startswith("brpop") for client in clients)


def test_a_dyad_is_scored_within_five_seconds_of_its_second_form(platform: Platform) -> None:
    """The whole path over PostgreSQL and Redis."""
    (visit,) = platform.create_visits(1, "--form", "short")
    finish_both(platform, visit, random.Random(1))
    wait_until(lambda: n_complete(platform, [visit["dyad"]]) == 1, seconds=5, what="the dyad's score")


def test_a_worker_killed_in_the_middle_loses_and_doubles_nothing(platform: Platform) -> None:
    """Killed while it stores a score: the claim is all that is left, and the restarted worker scores every dyad."""
    visits = platform.create_visits(4, "--form", "short")
    dyads = [visit["dyad"] for visit in visits]
    platform.kill("scoring")
    rng = random.Random(2)
    for visit in visits:
        finish_both(platform, visit, rng)
    with psycopg.connect(platform.environment["DATABASE_URL"]) as holder:
        # Reading goes on, writing scores waits: the worker stops in the middle of its work, its claim committed.
        holder.execute("LOCK TABLE scoring_dyadscore IN SHARE MODE")
        platform.start_worker(queues="scoring", name="scoring")
        wait_until(lambda: claimed(platform, dyads) > 0, seconds=40, what="a claim whose score can't be stored")
        wait_until(lambda: waiting_writers(platform) > 0, seconds=20, what="the worker's wait for the lock")
        platform.kill("scoring")
        holder.rollback()
    # PostgreSQL notices the dead client when the lock lets its statement go on, and rolls the half-done work back.
    wait_until(lambda: waiting_writers(platform) == 0, seconds=20, what="the end of the dead worker's connection")
    assert n_complete(platform, dyads) == 0
    assert claimed(platform, dyads) > 0
    platform.start_worker(queues="scoring", name="scoring")
    wait_until(lambda: n_complete(platform, dyads) == len(dyads), seconds=60, what="the scores of all dyads")
    rows = [row["dyad"] for row in csv.DictReader(io.StringIO(platform.export()))]
    assert {dyad: Counter(rows)[dyad] for dyad in dyads} == dict.fromkeys(dyads, 1)
    assert claimed(platform, dyads) == 0


def test_a_message_delivered_again_scores_nothing_again(platform: Platform) -> None:
    """Three more deliveries of the same message leave the score's time as it is; a control shows that it can change."""
    (visit,) = platform.create_visits(1, "--form", "short")
    finish_both(platform, visit, random.Random(5))
    wait_until(lambda: n_complete(platform, [visit["dyad"]]) == 1, seconds=10, what="the dyad's score")
    wait_until(lambda: claimed(platform, [visit["dyad"]]) == 0, seconds=10, what="the end of its scoring")
    before = scored_at(platform, visit["dyad"])
    for _ in range(3):
        platform.manage("shell", "--no-imports", "-v0", "-c", DELIVER.format(dyad=visit["dyad"]))
    # The worker takes messages in order: when a dyad finished after them is scored, they are done.
    (later,) = platform.create_visits(1, "--form", "short")
    finish_both(platform, later, random.Random(6))
    wait_until(lambda: n_complete(platform, [later["dyad"]]) == 1, seconds=10, what="the later dyad's score")
    assert scored_at(platform, visit["dyad"]) == before
    platform.manage("rescore", "--study", "DEMO")
    assert scored_at(platform, visit["dyad"]) > before


DELIVER = """
from scoring.tasks import score_visit
from studies.models import Visit
score_visit.delay(Visit.objects.get(dyad__code="{dyad}").pk)
"""

OF_DYADS = (
    "visit_id IN (SELECT v.id FROM studies_visit v JOIN studies_dyad d ON d.id = v.dyad_id WHERE d.code = ANY(%s))"
)


def claimed(platform: Platform, dyads: list[str]) -> int:
    """How many of these dyads a worker has claimed and not finished."""
    question = (
        f"SELECT count(*) FROM scoring_scoringrequest WHERE lease_owner <> '' AND scored <> requested AND {OF_DYADS}"
    )
    return int(ask(platform, question, dyads)[0][0])


def waiting_writers(platform: Platform) -> int:
    """Connections that wait for a lock."""
    return int(ask(platform, "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")[0][0])


def scored_at(platform: Platform, dyad: str) -> Any:
    return ask(platform, f"SELECT scored_at FROM scoring_dyadscore WHERE {OF_DYADS}", [dyad])[0][0]


def test_messages_lost_by_the_broker_are_made_good_by_the_sweep(platform: Platform) -> None:
    """Redis emptied while forms come in: the rows are the queue."""
    (visit,) = platform.create_visits(1, "--form", "short")
    platform.kill("scoring")
    finish_both(platform, visit, random.Random(4))
    redis.Redis.from_url(platform.environment["CELERY_BROKER_URL"]).flushdb()
    platform.start_worker(queues="scoring", name="scoring")
    wait_until(lambda: n_complete(platform, [visit["dyad"]]) == 1, seconds=40, what="the score without its message")


def post_answer(platform: Platform, path: str, item: str, value: int, sequence: int) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", platform.port, timeout=30)
    try:
        body = json.dumps({"item": item, "value": value, "sequence": sequence})
        connection.request("POST", f"{path}answers/", body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        answer.read()
        return answer.status
    finally:
        connection.close()


def test_one_answer_from_many_at_once_is_stored_once(platform: Platform) -> None:
    """The same delivery from 20 threads: one row, the same answer to all; changed content is refused."""
    (visit,) = platform.create_visits(1, "--form", "short")
    path = urlsplit(visit["patient_url"]).path
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        same = list(pool.map(lambda _: post_answer(platform, path, "VN1", 4, 1), range(60)))
    assert set(same) == {200}
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        rivals = list(pool.map(lambda n: post_answer(platform, path, "VC2", n % 5 + 1, 2), range(60)))
    assert set(rivals) == {200, 409}
    stored = ask(
        platform,
        """SELECT event.sequence, event.item, administration.answers FROM instruments_answerevent event
           JOIN instruments_administration administration ON administration.id = event.administration_id
           JOIN studies_visit visit ON visit.id = administration.visit_id
           JOIN studies_dyad dyad ON dyad.id = visit.dyad_id
           WHERE dyad.code = %s AND administration.role = 'patient' ORDER BY event.sequence""",
        visit["dyad"],
    )
    assert [(sequence, item) for sequence, item, _ in stored] == [(1, "VN1"), (2, "VC2")]
    assert rivals.count(200) == 12  # every delivery of the one value that won is the same delivery
    assert set(stored[0][2]) == {"VN1", "VC2"}


def test_an_analysis_runs_in_its_worker_and_survives_its_death(platform: Platform) -> None:
    """Asked for in a page, killed in the middle, finished after the lease by the worker that came back."""
    platform.kill("analysis")
    platform.manage("shell", "--no-imports", "-v0", "-c", REQUEST)
    platform.start_worker(queues="analysis", name="analysis")
    wait_until(lambda: newest(platform)[0] == "running", seconds=60, what="the analysis' start")
    platform.kill("analysis")
    assert newest(platform)[0] == "running"
    # What the lease does after its time, done now: nobody waits 90 seconds in a test.
    with psycopg.connect(platform.environment["DATABASE_URL"]) as connection:
        connection.execute(
            "UPDATE analysis_analysisrun SET lease_expires_at = now() WHERE lease_expires_at IS NOT NULL"
        )
    platform.start_worker(queues="analysis", name="analysis")
    wait_until(lambda: newest(platform)[0] == "done", seconds=90, what="the end of the analysis")
    status, error, digest = newest(platform)
    assert (status, error) == ("done", "")
    assert len(digest) == 64


REQUEST = """
from django.utils import timezone
from analysis.services import request_analysis
from studies.models import Study
study = Study.objects.get(code="DEMO")
options = {"form": "full", "n_factors": 3, "exclude_flagged": True, "seed": 1, "user": None}
request_analysis(study=study, **options, now=timezone.now())
"""


def newest(platform: Platform) -> tuple[str, str, str]:
    (row,) = ask(platform, "SELECT status, error, data_digest FROM analysis_analysisrun ORDER BY id DESC LIMIT 1")
    return row[0], row[1], row[2]


def test_the_database_refuses_to_change_what_is_final(platform: Platform) -> None:
    """The triggers hold in PostgreSQL as well."""
    with psycopg.connect(platform.environment["DATABASE_URL"]) as connection:
        with pytest.raises(psycopg.errors.IntegrityConstraintViolation, match="final"):
            connection.execute("UPDATE instruments_administration SET answers = '{}' WHERE status = 'completed'")
        connection.rollback()
        with pytest.raises(psycopg.errors.IntegrityConstraintViolation, match="append-only"):
            connection.execute("UPDATE instruments_answerevent SET value = '1'")
