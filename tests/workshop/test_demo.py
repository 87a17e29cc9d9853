"""`make demo` as a whole: real web server, real workers, real beat, in a folder of its own."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).resolve().parents[2]
#: Generous: the machine may be running another worker of the test suite. What is proved is that it happens at all.
PATIENCE_SECONDS = 120


def wait_until(condition: Callable[[], object], what: str) -> None:
    """Polls until the condition holds; fails with what was awaited."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        if condition():
            return
        time.sleep(0.1)
    pytest.fail(f"waited {PATIENCE_SECONDS} s for {what}")


class Demo:
    """A running demo and where its files are."""

    def __init__(self, var: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self.var = var
        self.output = var.parent / "output"
        environment = {name: value for name, value in os.environ.items() if name not in {"BASE_URL", "DATABASE_URL"}}
        environment |= {
            "PORT": str(self.port),
            "VAR_DIR": str(var),
            "DJANGO_SETTINGS_MODULE": "healing_survey.settings.embedded",
        }
        with self.output.open("w") as output:
            # No terminal and no standard input, as in `make demo &`.
            self.supervisor = subprocess.Popen(
                [sys.executable, "scripts/demo.py"],
                cwd=ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def processes(self, words: str) -> list[psutil.Process]:
        """The supervised processes whose command line holds these words."""
        children = psutil.Process(self.supervisor.pid).children()
        return [child for child in children if words in " ".join(child.cmdline())]

    def ready_lines(self, worker: str) -> int:
        """How many times this Celery worker has said that it is ready."""
        log = self.var / "log" / f"{worker}.log"
        return log.read_text().count(" ready.") if log.exists() else 0

    def status(self, path: str) -> int:
        """The status of a page."""
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)) as connection:
            connection.request("GET", path)
            return connection.getresponse().status


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Demo]:
    """A demo in a folder whose name has a space, stopped at the end whatever happens."""
    (tmp_path / "a folder").mkdir()
    running = Demo(tmp_path / "a folder" / "var")
    yield running
    if running.supervisor.poll() is None:
        running.supervisor.terminate()
        running.supervisor.wait(PATIENCE_SECONDS)


def test_demo_serves_brings_a_killed_worker_back_and_stops(demo: Demo) -> None:
    """It says where to click once pages are served, restarts a worker killed by SIGKILL, and leaves nothing behind."""
    wait_until(lambda: "demo-researcher" in demo.output.read_text(), "the lines that say where to click")
    assert f"http://127.0.0.1:{demo.port}" in demo.output.read_text()
    assert json.loads((demo.var / "demo.json").read_text())["base_url"] == f"http://127.0.0.1:{demo.port}"
    assert demo.status("/health/ready/") == 200
    assert demo.status("/static/vendor/bootstrap.min.css") == 200

    wait_until(lambda: demo.ready_lines("scoring") == 1, "the scoring worker")
    [worker] = demo.processes("--queues scoring")
    worker.send_signal(signal.SIGKILL)
    wait_until(lambda: demo.ready_lines("scoring") == 2, "the scoring worker's return")
    [successor] = demo.processes("--queues scoring")
    assert successor.pid != worker.pid

    everything = psutil.Process(demo.supervisor.pid).children(recursive=True)
    assert len(demo.processes("")) == 4  # web, two workers, beat
    demo.supervisor.send_signal(signal.SIGINT)
    assert demo.supervisor.wait(PATIENCE_SECONDS) == 0
    _, alive = psutil.wait_procs(everything, timeout=5)
    assert alive == []
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", demo.port)) != 0
