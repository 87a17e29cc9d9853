"""A kept connection to PostgreSQL is looked at, not asked; one that the server has ended is found before it is used."""

import os
import time
import urllib.request
from collections.abc import Iterator
from typing import Any

import dj_database_url
import psycopg
import pytest
from django.db.backends.postgresql import base as django_postgresql

from healing_survey.postgresql.base import DatabaseWrapper
from tests.platform_processes import Platform

pytestmark = pytest.mark.services


@pytest.fixture(autouse=True)
def allowed(django_db_blocker: Any) -> Iterator[None]:
    """These tests open connections of their own; no test database is made or touched."""
    with django_db_blocker.unblock():
        yield


def opened(wrapper: type[django_postgresql.DatabaseWrapper]) -> django_postgresql.DatabaseWrapper:
    """A connection of this kind to the server under test, with the settings that Django would add."""
    settings = dj_database_url.parse(os.environ["DATABASE_URL"], conn_health_checks=True)
    defaults = {"TIME_ZONE": None, "AUTOCOMMIT": True, "ATOMIC_REQUESTS": False, "OPTIONS": {}, "CONN_MAX_AGE": 60}
    connection = wrapper({**defaults, **settings}, alias="looked_at")
    connection.inc_thread_sharing()
    connection.connect()
    return connection


@pytest.fixture
def onlooker() -> Iterator[psycopg.Connection]:
    """Another connection, which sees what the first one asks and can end it."""
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as connection:
        yield connection


def last_statement(onlooker: psycopg.Connection, pid: int) -> str:
    row = onlooker.execute("SELECT query FROM pg_stat_activity WHERE pid = %s", [pid]).fetchone()
    assert row is not None
    return str(row[0])


@pytest.mark.parametrize(("wrapper", "asks"), [(DatabaseWrapper, False), (django_postgresql.DatabaseWrapper, True)])
def test_a_quiet_connection_is_not_asked(
    onlooker: psycopg.Connection, wrapper: type[django_postgresql.DatabaseWrapper], asks: bool
) -> None:
    """Nothing is sent to find that it stands; the control, Django's own, sends a query."""
    connection = opened(wrapper)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        (pid,) = cursor.fetchone()
    assert connection.is_usable()
    assert (last_statement(onlooker, pid) == "SELECT 1") is asks
    connection.close()


def test_a_connection_that_the_server_ended_is_found(onlooker: psycopg.Connection) -> None:
    """Before the first statement it is closed and opened anew; one that had an error is asked."""
    connection = opened(DatabaseWrapper)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        (pid,) = cursor.fetchone()
    onlooker.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
    assert not connection.is_usable()
    connection.health_check_enabled, connection.health_check_done = True, False
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        assert cursor.fetchone() != (pid,)
    connection.errors_occurred = True
    assert connection.is_usable()
    connection.close()


def test_no_page_fails_after_all_connections_were_ended(platform: Platform) -> None:
    """The server ends every connection of the running platform; each worker's next request is answered as ever."""
    (visit,) = platform.create_visits(1, "--form", "short")
    for _ in range(8):
        urllib.request.urlopen(visit["patient_url"], timeout=10).close()
    with psycopg.connect(platform.environment["DATABASE_URL"], autocommit=True) as connection:
        ended = connection.execute(
            """SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity
               WHERE datname = current_database() AND pid <> pg_backend_pid()"""
        ).fetchone()
    assert ended is not None
    assert ended[0] > 0
    start = time.monotonic()
    for _ in range(16):
        with urllib.request.urlopen(visit["patient_url"], timeout=10) as answer:
            assert answer.status == 200
    print(f"{ended[0]} connections ended, 16 pages in {time.monotonic() - start:.1f} s")
