"""One running platform for the journeys of a test process: web, two workers and beat, with the demonstration study."""

import os
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.platform_processes import Platform, prepared_once
from tests.questionnaire_page import TABLET

# A page's script sends what it keeps after five seconds, and a busy machine takes its time.
expect.set_options(timeout=15_000)


@pytest.fixture(scope="session")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """Real processes on SQLite and the file-system broker, as `make demo` runs them."""
    own = tmp_path_factory.getbasetemp()
    shared = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own
    running = Platform(tmp_path_factory.mktemp("platform"))
    running.copy(prepared_once(shared))
    try:
        running.start()
        yield running
    finally:
        running.stop()


@pytest.fixture
def contexts(browser: Browser) -> Iterator[Any]:
    """Opens pages on a tablet, each in a context of its own; a script error or a 5xx on one of them fails the test."""
    opened: list[BrowserContext] = []
    errors: list[str] = []

    def open_page(**options: Any) -> Page:
        context = browser.new_context(**{"viewport": TABLET, "locale": "en-US", **options})
        context.set_default_timeout(20_000)
        opened.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("response", lambda r: errors.append(f"{r.status} {r.url}") if r.status >= 500 else None)
        return page

    yield open_page
    for context in opened:
        context.close()
    assert errors == []
