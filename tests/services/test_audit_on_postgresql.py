"""The audit trail under eight processes on PostgreSQL: no fork, no change without its line; and the control."""

import os
import signal
import time
from collections.abc import Iterator
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest

from tests.audit_writers import start_writer
from tests.platform_processes import Platform

pytestmark = pytest.mark.services

N_WRITERS = 8
#: The bar is 1,000 writes a process: AUDIT_WRITES=1000 make test-services
N_WRITES = int(os.environ.get("AUDIT_WRITES", "100"))


@pytest.fixture
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """A database of its own with one study; nothing runs."""
    server = urlsplit(os.environ["DATABASE_URL"])
    name = f"healing_audit_{os.getpid()}_{time.monotonic_ns()}"
    with psycopg.connect(urlunsplit(server), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    own = Platform(tmp_path_factory.mktemp("audit"), DATABASE_URL=urlunsplit(server._replace(path=f"/{name}")))
    try:
        own.manage("migrate", "--verbosity=0")
        make = "from studies.models import Study; Study.objects.create(code='OWN', title='Own')"
        own.manage("shell", "--no-imports", "-v0", "-c", make)
        yield own
    finally:
        with psycopg.connect(urlunsplit(server), autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def count(installation: Platform, table: str) -> int:
    with psycopg.connect(installation.environment["DATABASE_URL"]) as connection:
        row = connection.execute(f"SELECT count(*) FROM {table}").fetchone()  # type: ignore[arg-type]
    assert row is not None
    return int(row[0])


def test_eight_processes_make_one_chain_also_when_some_are_killed(installation: Platform) -> None:
    """Every write is there, two more writers killed in the middle leave no change without a line."""
    environment = installation.environment
    writers = [start_writer(environment, study="OWN", name=f"w{n}", n=N_WRITES) for n in range(N_WRITERS)]
    victims = [start_writer(environment, study="OWN", name=f"v{n}", n=1_000_000) for n in range(2)]
    deadline = time.monotonic() + 120
    while count(installation, "studies_site") < N_WRITES and time.monotonic() < deadline:
        time.sleep(0.1)
    for victim in victims:
        os.killpg(victim.pid, signal.SIGKILL)
        victim.communicate()
    for writer in writers:
        errors = writer.communicate(timeout=600)[1]
        assert writer.returncode == 0, errors.decode()
    n_sites = count(installation, "studies_site")
    assert n_sites >= N_WRITERS * N_WRITES
    assert count(installation, "studies_auditevent WHERE action = 'add site'") == n_sites
    assert f"whole: {n_sites} lines" in installation.manage("verify_audit")


def test_without_the_lock_and_the_constraints_the_chain_forks(installation: Platform) -> None:
    """The control: whoever doesn't wait for the end's row forks the chain, and the check says so."""
    with psycopg.connect(installation.environment["DATABASE_URL"], autocommit=True) as connection:
        names = connection.execute(
            "SELECT conname FROM pg_constraint WHERE conrelid = 'studies_auditevent'::regclass AND contype = 'u'"
        ).fetchall()
        assert len(names) == 2
        for (name,) in names:
            connection.execute(f'ALTER TABLE studies_auditevent DROP CONSTRAINT "{name}"')  # type: ignore[arg-type]
    writers = [
        start_writer(installation.environment, study="OWN", name=f"w{n}", n=40, mode="unlocked") for n in range(4)
    ]
    for writer in writers:
        errors = writer.communicate(timeout=300)[1]
        assert writer.returncode == 0, errors.decode()
    with pytest.raises(AssertionError, match="is not whole"):
        installation.manage("verify_audit")
