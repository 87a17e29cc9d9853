"""What one questionnaire costs the server, and how long a respondent waits. Prints one JSON line per figure.

    python bench/answer_latency.py [--forms 20] [--postgresql postgres://user:password@127.0.0.1/postgres]

A real gunicorn (one worker, as deployed otherwise) on a throwaway database, SQLite or one on a local PostgreSQL server;
a plain HTTP client without scripts reads each page, fills in its form and follows the redirects, from the welcome page
to the thanks, on one kept connection. CPU is user plus system time of gunicorn and all its children: with SQLite the
database runs inside them, so web and database are both counted; with PostgreSQL all processes named "postgres" on this
machine are added. Answers are synthetic, from a fixed seed.
"""

import argparse
import json
import os
import random
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from html import unescape
from html.parser import HTMLParser
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlencode, urlsplit, urlunsplit

import psutil  # type: ignore[import-untyped]  # ships no types
import psycopg

ROOT = Path(__file__).resolve().parents[1]
BAR_CPU_MS = 300  # all pages of one completed 50-item patient form
BAR_SCRIPTED_CPU_MS = 100  # the same form by the page's script: one delivery an answer
N_ITEMS = 50

_PREPARE = """
import json, sys
from datetime import date
from pathlib import Path
from django.utils import timezone
from instruments.services import create_visits_with_new_patients, release_instrument
from studies.models import Clinician, Site, Study, Wave
release_instrument(Path("instruments/catalogue/healing-relationships-1.0.yaml"), now=timezone.now())
study = Study.objects.create(code="BENCH", title="Benchmark", is_synthetic=True)
site = Site.objects.create(study=study, code="B", name="Benchmark")
visits = create_visits_with_new_patients(
    study=study, clinicians=[Clinician.objects.create(site=site, code="C1")],
    wave=Wave.objects.create(study=study, code="t0", label="Baseline"), form="full", count={count}, now=timezone.now(),
)
print(json.dumps([visit.patient_token for visit in visits]))
"""


class FormReader(HTMLParser):
    """The forms of a page: address, hidden fields, and what can be chosen."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.forms: list[tuple[str, dict[str, list[str]], dict[str, list[str]], list[str]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collect a form or one of its fields."""
        given = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.forms.append((given["action"], {}, {}, []))
        elif tag == "input":
            _, fields, offered, texts = self.forms[-1]
            if given["type"] in ("radio", "checkbox"):
                offered.setdefault(given["name"], []).append(given["value"])
            elif given["type"] == "text":
                texts.append(given["name"])
            else:
                fields[given["name"]] = [given["value"]]


@dataclass
class Timings:
    """Milliseconds per request, by method."""

    get: list[float] = field(default_factory=list)
    post: list[float] = field(default_factory=list)


class Respondent:
    """Fills in questionnaires over one kept connection."""

    def __init__(self, port: int, rng: random.Random) -> None:
        self.connection = HTTPConnection("127.0.0.1", port)
        self.connection.connect()
        # Otherwise the system holds back the body of a POST until the headers are acknowledged.
        self.connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.rng = rng
        self.timings = Timings()

    def request(self, method: str, address: str, fields: dict[str, list[str]] | None = None) -> tuple[int, str, str]:
        """Status, redirect address and body."""
        body = urlencode(fields, doseq=True) if fields is not None else None
        headers = {"Content-Type": "application/x-www-form-urlencoded"} if body is not None else {}
        started = time.perf_counter()
        self.connection.request(method, address, body, headers)
        response = self.connection.getresponse()
        text = response.read().decode()
        elapsed = 1000 * (time.perf_counter() - started)
        (self.timings.get if method == "GET" else self.timings.post).append(elapsed)
        return response.status, response.getheader("Location", ""), text

    def complete(self, token: str) -> int:
        """One form from the welcome page to the thanks; returns how many items were answered."""
        root = address = f"/q/{token}/"
        n_items = 0
        for _ in range(200):
            status, _, html = self.request("GET", address)
            if status != 200:
                raise SystemExit(f"GET {address.replace(token, '…')} answered {status} instead of 200.")
            forms = FormReader(html).forms
            if not forms:
                return n_items
            action, fields, offered, texts = forms[-1]
            sent = dict(fields)
            if "sequence" in fields:
                sent["action"] = ["next"]
                sent |= self._choose(offered, texts)
                n_items += sum(bool(re.fullmatch(r"[A-Z]{2}\d", name)) for name in offered)
            status, location, _ = self.request("POST", action, sent)
            if status != 303:
                raise SystemExit(f"POST {action.replace(token, '…')} answered {status} instead of 303.")
            address = location
        raise SystemExit(f"The form of {root.replace(token, '…')} did not end after 200 pages.")

    def complete_by_script(self, token: str) -> int:
        """One form as the page's script fills it in: the welcome, the pages in one file, a delivery for each answer."""
        status, _, html = self.request("GET", f"/q/{token}/")
        given = re.search(r'data-state="([^"]+)"', html)
        if status != 200 or given is None:
            raise SystemExit(f"The welcome page answered {status}, and holds no state.")
        state = json.loads(unescape(given[1]))
        bundle = json.loads(self.request("GET", state["bundles"]["en"])[2])
        n_items = 0
        self._deliver(token, [])
        for sequence, (code, entry) in enumerate(bundle["entries"].items(), start=1):
            n_items += bool(re.fullmatch(r"[A-Z]{2}\d", code))
            value = self.rng.randint(1, 5) if entry["control"] == "scale" else "SKIPPED"
            self._deliver(token, [{"item": code, "value": value, "sequence": sequence, "paradata": {"ms": 3000}}])
        self._deliver(token, [], finish=True)
        return n_items

    def _deliver(self, token: str, answers: list[dict[str, object]], **more: object) -> None:
        body = json.dumps({"language": "en", "answers": answers, **more})
        started = time.perf_counter()
        self.connection.request("POST", f"/q/{token}/deliver/", body, {"Content-Type": "application/json"})
        response = self.connection.getresponse()
        response.read()
        self.timings.post.append(1000 * (time.perf_counter() - started))
        if response.status != 200:
            raise SystemExit(f"A delivery was answered by {response.status} instead of 200.")

    def _choose(self, offered: dict[str, list[str]], texts: list[str]) -> dict[str, list[str]]:
        chosen = {name: [str(self.rng.randint(20, 60))] for name in texts if not name.endswith("_months")}
        for name, values in offered.items():
            if not any(text == name or text.startswith(f"{name}_") for text in texts):
                chosen[name] = [self.rng.choice([value for value in values if value != "prefer_not"])]
        return chosen


@contextmanager
def throwaway_database(server: str) -> Iterator[dict[str, str]]:
    """The environment that points to a database of our own on this server; none for SQLite."""
    if not server:
        yield {}
        return
    name = f"healing_bench_{os.getpid()}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    try:
        yield {"DATABASE_URL": urlunsplit(urlsplit(server)._replace(path=f"/{name}"))}
    finally:
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@contextmanager
def running_server(n_forms: int, database: dict[str, str]) -> Iterator[tuple[psutil.Process, int, list[str]]]:
    """A migrated database with open questionnaires, and gunicorn in front of it: process, port, secrets."""
    folder = tempfile.mkdtemp(prefix="healing-survey-bench-")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    environment = {
        **{name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "CELERY_BROKER_URL")},
        "DJANGO_SETTINGS_MODULE": "healing_survey.settings.embedded",
        "VAR_DIR": folder,
        "PORT": str(port),
        "PYTHONPATH": str(ROOT),
        **database,
    }

    def manage(*arguments: str) -> str:
        command = [sys.executable, "manage.py", *arguments]
        return subprocess.run(command, cwd=ROOT, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout

    server: subprocess.Popen[bytes] | None = None
    try:
        manage("migrate", "--verbosity=0")
        manage("collectstatic", "--noinput", "--verbosity=0")
        tokens = json.loads(manage("shell", "--verbosity=0", "-c", _PREPARE.format(count=n_forms)).splitlines()[-1])
        command = [sys.executable, "-m", "gunicorn", "--config", "deploy/gunicorn.conf.py", "--workers", "1"]
        command += ["--bind", f"127.0.0.1:{port}", "--log-level", "warning", "healing_survey.wsgi:application"]
        server = subprocess.Popen(command, cwd=ROOT, env=environment)
        _wait_for(port, server)
        yield psutil.Process(server.pid), port, tokens
    finally:
        if server is not None:
            server.terminate()
            server.wait(timeout=20)
        shutil.rmtree(folder, ignore_errors=True)


def _wait_for(port: int, server: subprocess.Popen[bytes]) -> None:
    for _ in range(300):
        if server.poll() is not None:
            raise SystemExit(f"gunicorn ended with status {server.returncode} before it served.")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise SystemExit("gunicorn did not serve within 30 s.")


def cpu_seconds(process: psutil.Process, *, with_postgresql: bool) -> float:
    """User plus system time of a process, its children (living or not) and, if asked for, of PostgreSQL."""
    total = 0.0
    database = [one for one in psutil.process_iter(["name"]) if with_postgresql and one.info["name"] == "postgres"]
    for one in (process, *process.children(recursive=True), *database):
        times = one.cpu_times()
        total += times.user + times.system + times.children_user + times.children_system
    return total


def percentile(values: list[float], share: float) -> float:
    """The smallest value that at least this share of the values does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def report(figure: str, value: float, unit: str, n: int, **more: object) -> None:
    """One figure, one line."""
    line = {"benchmark": "answer_latency", "figure": figure, "value": round(value, 3), "unit": unit, "n": n, **more}
    print(json.dumps(line), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Server CPU and latency of complete patient forms without scripts.")
    parser.add_argument("--forms", type=int, default=20, help="how many forms are filled in and measured")
    parser.add_argument("--postgresql", default="", help="address of a local server's maintenance database")
    options = parser.parse_args()
    n_forms, n_warm = options.forms, 2
    engine = "postgresql" if options.postgresql else "sqlite"

    def cpu_so_far() -> float:
        return cpu_seconds(server, with_postgresql=bool(options.postgresql))

    with (
        throwaway_database(options.postgresql) as database,
        running_server(2 * (n_forms + n_warm), database) as (server, port, tokens),
    ):
        warm = Respondent(port, random.Random(date(2026, 1, 1).toordinal()))
        plain, by_script = tokens[: n_forms + n_warm], tokens[n_forms + n_warm :]
        for token in plain[:n_warm]:
            warm.complete(token)
        respondent = Respondent(port, random.Random(20260101))
        before, started = cpu_so_far(), time.perf_counter()
        items = {respondent.complete(token) for token in plain[n_warm:]}
        seconds, cpu = time.perf_counter() - started, cpu_so_far() - before
        scripted = Respondent(port, random.Random(20260101))
        for token in by_script[:n_warm]:
            scripted.complete_by_script(token)
        scripted.timings = Timings()
        before = cpu_so_far()
        items |= {scripted.complete_by_script(token) for token in by_script[n_warm:]}
        scripted_cpu_ms = 1000 * (cpu_so_far() - before) / n_forms
    if items != {N_ITEMS}:
        raise SystemExit(f"Every form has {N_ITEMS} items, but {sorted(items)} were answered.")
    get, post = respondent.timings.get, respondent.timings.post
    cpu_ms = 1000 * cpu / n_forms
    report("server_cpu_per_form", cpu_ms, "ms", n_forms, engine=engine, bar=BAR_CPU_MS, met=cpu_ms <= BAR_CPU_MS)
    met = scripted_cpu_ms <= BAR_SCRIPTED_CPU_MS
    bar = BAR_SCRIPTED_CPU_MS
    report("server_cpu_per_scripted_form", scripted_cpu_ms, "ms", n_forms, engine=engine, bar=bar, met=met)
    for share in (0.5, 0.95, 0.99):
        wait = percentile(scripted.timings.post, share)
        report(f"delivery_p{100 * share:.0f}", wait, "ms", len(scripted.timings.post))
    report("server_cpu_per_request", 1000 * cpu / (len(get) + len(post)), "ms", len(get) + len(post))
    report("requests_per_form", (len(get) + len(post)) / n_forms, "requests", n_forms)
    for name, values in (("get", get), ("post", post)):
        report(f"{name}_p50", percentile(values, 0.5), "ms", len(values))
        report(f"{name}_p95", percentile(values, 0.95), "ms", len(values))
    report("completions", n_forms / seconds, "forms/s", n_forms, clients=1, workers=1)


if __name__ == "__main__":
    main()
