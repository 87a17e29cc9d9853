"""Says in one line for each what is missing of the servers that `make test-services` needs; exits with 1 then."""

import os
import sys
from collections.abc import Callable

import dj_database_url
import psycopg
import redis

REMEDY = "Start it (`make services` does that for 127.0.0.1), or set {variable} to one that runs."


def reach_database(url: str) -> None:
    """Connects once. ValueError when the URL is not PostgreSQL's, psycopg.Error when the server doesn't let us in."""
    parts = dj_database_url.parse(url)
    if parts["ENGINE"] != "django.db.backends.postgresql":
        raise ValueError("these tests need a postgres:// address")
    psycopg.connect(
        host=parts["HOST"] or None,
        port=parts["PORT"] or None,
        user=parts["USER"] or None,
        password=parts["PASSWORD"] or None,
        dbname=parts["NAME"] or None,
        connect_timeout=5,
    ).close()


def reach_broker(url: str) -> None:
    """Pings once. ValueError when the URL is not Redis's, redis.RedisError when the server doesn't answer."""
    if not url.startswith(("redis://", "rediss://")):
        raise ValueError("these tests need a redis:// address")
    with redis.Redis.from_url(url, socket_connect_timeout=5, socket_timeout=5) as client:
        client.ping()


def problem(server: str, variable: str, reach: Callable[[str], None]) -> str | None:
    """One line about this server, or None when it answers. The address isn't shown: it may hold a password."""
    url = os.environ.get(variable, "")
    if not url:
        return f"{variable} is not set: {server} is needed. " + REMEDY.format(variable=variable)
    try:
        reach(url)
    except (ValueError, KeyError, psycopg.Error, redis.RedisError) as error:
        reason = " ".join(str(error).split())
        return f"No {server} behind {variable}: {reason}. " + REMEDY.format(variable=variable)
    return None


def main() -> None:
    problems = [
        problem("PostgreSQL", "DATABASE_URL", reach_database),
        problem("Redis", "CELERY_BROKER_URL", reach_broker),
    ]
    found = [line for line in problems if line is not None]
    if found:
        sys.exit("\n".join(found))


if __name__ == "__main__":
    main()
