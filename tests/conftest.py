"""Fixtures for every test. Imports no Django: the pure tests run where it isn't installed."""

import os
import sys
from pathlib import Path
from typing import Any

import pytest

# pytest-playwright keeps an event loop in the test's thread for the whole session. Django would take every later use of
# its database in that process for one from asynchronous code, and refuse it.
os.environ.setdefault("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
# As in the test settings, for the tests that run without Django.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

ROOT = Path(__file__).resolve().parents[1]
#: Modules that take long: they begin first, so that no process is left alone with one of them at the end.
LONG = (
    "tests/workshop/test_demo.py",
    "tests/healing_survey/test_policy.py",
    "tests/journeys/",
    "tests/healing_survey/test_backup.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the long modules first, in the order of LONG; all others stay as they are."""

    def place(item: pytest.Item) -> int:
        path = item.nodeid
        return next((n for n, start in enumerate(LONG) if path.startswith(start)), len(LONG))

    items.sort(key=place)


@pytest.fixture(scope="session")
def project_root() -> Path:
    """The folder that holds manage.py."""
    return ROOT


@pytest.fixture(scope="session")
def browser_path() -> str:
    """The real browser that `scripts/find_browser.py` chose, or the one that CHROMIUM names."""
    note = Path(sys.prefix) / "browser-path"
    path = os.environ.get("CHROMIUM") or (note.read_text().strip() if note.exists() else "")
    if not Path(path).is_file():
        pytest.fail(f"No browser at {path!r}. Run `make browser`, or set CHROMIUM to the path of Chrome or Chromium.")
    return path


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args: dict[str, Any], browser_path: str) -> dict[str, Any]:
    """pytest-playwright's options, with our browser; root needs --no-sandbox, which Chromium refuses to do without."""
    arguments = [*browser_type_launch_args.get("args", []), "--disable-quic", "--disable-component-update"]
    if os.geteuid() == 0:
        arguments.append("--no-sandbox")
    return {**browser_type_launch_args, "executable_path": browser_path, "args": arguments}
