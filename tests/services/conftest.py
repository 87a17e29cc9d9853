"""The platform on real PostgreSQL and Redis, in a database of its own that is dropped afterwards."""

import os
from collections.abc import Iterator
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
import redis

from tests.platform_processes import Platform


def _required(name: str) -> str:
    value = os.environ.get(name, "")
    if not value:
        pytest.fail(f"{name} is not set. Run `make test-services`, which finds or starts the servers.")
    return value


@pytest.fixture(scope="session")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """Web, one worker for each queue and beat, as processes; all state in PostgreSQL and Redis."""
    server = urlsplit(_required("DATABASE_URL"))
    broker = _required("CELERY_BROKER_URL")
    name = f"healing_test_{os.getpid()}"
    with psycopg.connect(urlunsplit(server), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    redis.Redis.from_url(broker).flushdb()
    running = Platform(
        tmp_path_factory.mktemp("platform"),
        DATABASE_URL=urlunsplit(server._replace(path=f"/{name}")),
        CELERY_BROKER_URL=broker,
    )
    try:
        running.prepare()
        running.start()
        yield running
    finally:
        running.stop()
        redis.Redis.from_url(broker).flushdb()
        with psycopg.connect(urlunsplit(server), autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
