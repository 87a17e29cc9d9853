"""One running platform for the journeys of a test process: web, two workers and beat, with the demonstration study."""

from collections.abc import Iterator

import pytest

from tests.platform_processes import Platform


@pytest.fixture(scope="session")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """Real processes on SQLite and the file-system broker, as `make demo` runs them."""
    running = Platform(tmp_path_factory.mktemp("platform"))
    try:
        running.start()
        yield running
    finally:
        running.stop()
