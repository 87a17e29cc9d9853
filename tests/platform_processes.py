"""The platform as it really runs: a web server, workers and beat, as processes, in a folder of their own."""

import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
START_SECONDS = 60.0
#: Visits are made so many at a time: the command's start takes longer than the visits.
VISITS_AT_A_TIME = 6


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_until(condition: Callable[[], bool], *, seconds: float, what: str) -> float:
    """Wait for a condition; the seconds it took. Fails with `what` when it never holds."""
    start = time.monotonic()
    while not condition():
        if time.monotonic() - start > seconds:
            raise AssertionError(f"{what} did not happen within {seconds} s")
        time.sleep(0.1)
    return time.monotonic() - start


def prepared_once(shared: Path) -> "Platform":
    """A prepared installation in `shared`; the first of all test processes makes it, the others wait and find it."""
    prepared = Platform(shared / "prepared")
    prepared.folder.mkdir(exist_ok=True)
    with (shared / "prepared.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = shared / "prepared.url"
        if not done.exists():
            prepared.prepare()
            done.write_text(prepared.base_url, encoding="utf-8")
        prepared.base_url = done.read_text(encoding="utf-8")
    return prepared


class Platform:
    """Processes of one installation; `environment` can point them to PostgreSQL and Redis."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self.folder = folder
        self.spare_visits: dict[tuple[str, ...], list[dict[str, str]]] = {}
        self.port = free_port()
        self.base_url = f"http://127.0.0.1:{self.port}"
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "DJANGO_"))},
            "DJANGO_SETTINGS_MODULE": "healing_survey.settings.embedded",
            "VAR_DIR": str(folder),
            "PORT": str(self.port),
            "BASE_URL": self.base_url,
            **environment,
        }
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def manage(self, *arguments: str) -> str:
        """Run a management command; what it printed."""
        done = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=240,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def prepare(self) -> None:
        """Database, instrument, static files and the demonstration study."""
        for command in (["migrate", "--verbosity=0"], ["load_instruments"], ["collectstatic", "--noinput", "-v0"]):
            self.manage(*command)
        self.manage("seed_demo")
        # The demonstration asks for consent first. The journeys are about what comes after it; those of the consent
        # itself make a study of their own.
        self.manage("shell", "-c", "from studies.models import Study; Study.objects.update(consent='outside')")

    def copy(self, prepared: "Platform") -> None:
        """What `prepared` has in its folder, under this one's own address."""
        shutil.copytree(prepared.folder, self.folder, dirs_exist_ok=True)
        told = self.folder / "demo.json"
        told.write_text(told.read_text(encoding="utf-8").replace(prepared.base_url, self.base_url), encoding="utf-8")

    @property
    def demo(self) -> dict[str, Any]:
        """What `seed_demo` wrote."""
        read: dict[str, Any] = json.loads((self.folder / "demo.json").read_text(encoding="utf-8"))
        return read

    def start(self) -> None:
        """Everything that `make demo` starts on what is prepared, and wait until all of it serves."""
        for worker in ("scoring", "analysis"):
            self.start_worker(queues=worker, name=worker)
        self.start_beat()
        self.start_web()
        for worker in ("scoring", "analysis"):
            wait_until(
                lambda name=worker: " ready." in self.log(name),  # type: ignore[misc]
                seconds=START_SECONDS,
                what=f"the start of worker {worker}",
            )

    def start_web(self) -> None:
        self._start("web", "gunicorn", "--config", "deploy/gunicorn.conf.py", "healing_survey.wsgi:application")
        wait_until(self._answers, seconds=START_SECONDS, what="the web server's first answer")

    def start_worker(self, *, queues: str = "scoring", name: str = "worker") -> None:
        self._start(
            name, "celery", "-A", "healing_survey", "worker", "--queues", queues, "--pool", "solo",
            "--hostname", f"{name}@%h", "--loglevel", "INFO", "--without-mingle", "--without-gossip",
            TASK_PACKAGES=queues,  # as the demonstration's supervisor starts them
        )  # fmt: skip

    def start_beat(self) -> None:
        self._start("beat", "celery", "-A", "healing_survey", "beat", "--pidfile=", TASK_PACKAGES="scoring")

    def kill(self, name: str) -> None:
        """SIGKILL: no handler runs, nothing is tidied."""
        process = self.processes.pop(name)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def stop(self) -> None:
        """Ask every process to end, and see to it that it does."""
        for process in self.processes.values():
            os.killpg(process.pid, signal.SIGTERM)
        for process in self.processes.values():
            try:
                process.wait(timeout=15)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        self.processes.clear()

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text(encoding="utf-8", errors="replace")

    def create_visits(self, count: int, *options: str) -> list[dict[str, str]]:
        """Visits that nobody has used, each with its links."""
        spare = self.spare_visits.setdefault(options, [])
        if len(spare) < count:
            n = max(count, VISITS_AT_A_TIME)
            printed = self.manage("create_visits", "--study", "DEMO", "--count", str(n), *options)
            spare += [json.loads(line) for line in printed.splitlines()]
        handed_out, self.spare_visits[options] = spare[:count], spare[count:]
        return handed_out

    def export(self) -> str:
        """The CSV file of all scored dyads, incomplete ones included."""
        file = self.folder / "export.csv"
        self.manage("export_dyads", "--study", "DEMO", "--format", "csv", "--include-incomplete", "--output", str(file))
        return file.read_text(encoding="utf-8")

    def _start(self, name: str, module: str, *arguments: str, **environment: str) -> None:
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [sys.executable, "-m", module, *arguments],
                cwd=ROOT,
                env=self.environment | environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _answers(self) -> bool:
        assert self.processes["web"].poll() is None, self.log("web")
        try:
            with urllib.request.urlopen(f"{self.base_url}/health/ready/", timeout=5) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False
