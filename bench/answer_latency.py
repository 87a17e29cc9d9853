"""What one questionnaire costs the server, and how long a respondent waits. Prints one JSON line per figure.

    python bench/answer_latency.py [--forms 20] [--postgresql postgres://user:password@127.0.0.1/postgres]

A real gunicorn on a throwaway database: SQLite, and a PostgreSQL server on this machine where one answers. Two kinds of
respondents fill in a patient's full form from the welcome page to the thanks, with synthetic answers from a fixed seed:

- by the page's script, on a tablet that opens it for the first time: the welcome page with its scripts and styles, the
  form in both languages, the service worker and its page, then deliveries as `static/questionnaire/patient.js` makes
  them. How many answers go out together depends on how fast somebody answers, so it is reported at three paces.
- without scripts: each page is read, its form filled in and sent, redirects followed; five sentences a page
  (version 1.1 of the instrument) and one a page (1.0).

Nobody really waits for the pace: what would have been sent together is sent together, one delivery after another. Where
the server would have closed the kept connection meanwhile, a new one is opened.

CPU is user plus system time of gunicorn (one worker) and its children, whatever it waited for; with SQLite the database
runs inside them. With PostgreSQL the time of the processes that serve this database is added; what its background
writers do for everybody is left out. A request's wait is measured at 1, 8 and 32 respondents at once, without a pause
between requests, on as many workers as are deployed: more than any waiting room. Respondents run on this machine, too,
and take CPU from the server.
"""

import argparse
import gzip
import json
import os
import random
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from html import unescape
from html.parser import HTMLParser
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlencode, urlsplit, urlunsplit

import psutil  # type: ignore[import-untyped]  # ships no types
import psycopg

ROOT = Path(__file__).resolve().parents[1]
BAR_SCRIPTED_CPU_MS = 100
BAR_PAGES_OF_FIVE_CPU_MS = 75
BAR_ONE_A_PAGE_CPU_MS = 300
N_ITEMS = 50
PACES_SECONDS = (2, 4, 8)  # from one answer to the next
USUAL_PACE = 4
AT_ONCE = (1, 8, 32)
SEED = 20260101
#: Where `make services` puts a server.
LOCAL_POSTGRESQL = "postgres://healing:healing@127.0.0.1:5432/healing"
#: As long as the script collects answers, and as long as the server keeps a connection that says nothing.
SEND_AFTER_SECONDS = (
    int(
        re.findall(r"SEND_AFTER = ([0-9_]+);", (ROOT / "static/questionnaire/patient.js").read_text(encoding="utf-8"))[
            0
        ]
    )
    / 1000
)
KEPT_SECONDS = 5.0

_BROWSER = {
    "User-Agent": "Mozilla/5.0 (Linux; Android 14) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0 Safari/537.36",
    "Accept": "*/*",
    "Accept-Encoding": "gzip, deflate, br",
    "Accept-Language": "en-US,en;q=0.9",
}

_PREPARE = """
import json
from pathlib import Path
from django.utils import timezone
from instruments.services import create_visits_with_new_patients, release_instrument
from studies.models import Clinician, Site, Study, Wave
tokens = {{}}
for version in ("1.0", "1.1"):
    release_instrument(Path(f"instruments/catalogue/healing-relationships-{{version}}.yaml"), now=timezone.now())
    code = "BENCH" + version[-1]
    study = Study.objects.create(code=code, title="Benchmark", is_synthetic=True, instrument_version=version)
    site = Site.objects.create(study=study, code="B", name="Benchmark")
    visits = create_visits_with_new_patients(
        study=study, clinicians=[Clinician.objects.create(site=site, code="C1")],
        wave=Wave.objects.create(study=study, code="t0", label="Baseline"), form="full", count={count},
        now=timezone.now(),
    )
    tokens[version] = [visit.patient_token for visit in visits]
print(json.dumps(tokens))
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
class Respondent:
    """Fills in questionnaires over a connection that is kept as long as the server keeps it."""

    port: int
    rng: random.Random
    pace: float = USUAL_PACE
    waits_ms: list[float] = field(default_factory=list)
    connection: HTTPConnection | None = None

    def request(
        self, method: str, address: str, body: str | None = None, kind: str = "", *, after: float = 0.0
    ) -> tuple[int, str, str]:
        """Status, redirect address and body of a request that comes so many seconds after the one before."""
        if after > KEPT_SECONDS and self.connection is not None:
            self.connection.close()
            self.connection = None
        headers = _BROWSER | ({"Content-Type": kind} if kind else {})
        started = time.perf_counter()
        if self.connection is None:
            self.connection = HTTPConnection("127.0.0.1", self.port)
            self.connection.connect()
            # Otherwise the system holds back the body of a POST until the headers are acknowledged.
            self.connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.connection.request(method, address, body, headers)
        response = self.connection.getresponse()
        content = response.read()
        self.waits_ms.append(1000 * (time.perf_counter() - started))
        if response.getheader("Content-Encoding") == "gzip":
            content = gzip.decompress(content)
        return response.status, response.getheader("Location", ""), content.decode()

    def get(self, address: str, *, after: float = 0.0) -> str:
        """A page or a file that must be there."""
        status, _, text = self.request("GET", address, after=after)
        if status != 200:
            raise SystemExit(f"GET {_without_secret(address)} answered {status} instead of 200.")
        return text

    def by_pages(self, token: str) -> int:
        """One form without scripts, from the welcome page to the thanks; returns how many items were answered."""
        address = f"/q/{token}/"
        n_items = n_answers = 0
        for _ in range(200):
            forms = FormReader(self.get(address)).forms
            if not forms:
                return n_items
            action, fields, offered, texts = forms[-1]
            sent = dict(fields)
            if "sequence" in fields:
                sent["action"] = ["next"]
                sent |= self._choose(offered, texts)
                n_items += sum(bool(re.fullmatch(r"[A-Z]{2}\d", name)) for name in offered)
                n_answers = len(offered)
            status, location, _ = self.request(
                "POST", action, urlencode(sent, doseq=True), "application/x-www-form-urlencoded",
                after=self.pace * max(1, n_answers),
            )  # fmt: skip
            if status != 303:
                raise SystemExit(f"POST {_without_secret(action)} answered {status} instead of 303.")
            address = location.split("#")[0]
        raise SystemExit("A form did not end after 200 pages.")

    def by_script(self, token: str) -> int:
        """One form as the page's script fills it in, on a tablet that has nothing of it yet; the number of items."""
        html = self.get(f"/q/{token}/")
        for file in re.findall(r'(?:href|src)="(/static/[^"]+)"', html):
            self.get(file)
        given = re.search(r'data-state="([^"]+)"', html)
        if given is None:
            raise SystemExit("The welcome page holds no state.")
        bundles = json.loads(unescape(given[1]))["bundles"]
        bundle = json.loads(self.get(bundles["en"]))
        for address in (bundles["es"], "/q/service-worker.js", "/q/shell/"):
            self.get(address)
        self._deliver(token, [], after=self.pace)
        answers = []
        for sequence, (code, entry) in enumerate(bundle["entries"].items(), start=1):
            value = self.rng.randint(1, 5) if entry["control"] == "scale" else "SKIPPED"
            answers.append({
                "item": code, "value": value, "sequence": sequence, "language": "en",
                "client_time": f"2026-01-31T09:30:{sequence % 60:02}.123Z",
                "paradata": {
                    "ms": int(1000 * self.pace), "shown": 1, "changed": 0, "portrait": True, "offline": False,
                    "text": "0123456789abcdef",
                },
            })  # fmt: skip
        # The first waits for the others that are given meanwhile; the review and the finish send at once.
        together = 1 + int(SEND_AFTER_SECONDS // self.pace)
        for start in range(0, len(answers), together):
            self._deliver(token, answers[start : start + together], after=together * self.pace)
        self._deliver(token, [], finish=True, after=self.pace)
        self.get(f"/q/{token}/")
        return sum(bool(re.fullmatch(r"[A-Z]{2}\d", code)) for code in bundle["entries"])

    def _deliver(self, token: str, answers: list[dict[str, object]], *, after: float, finish: bool = False) -> None:
        body = {
            "language": "en", "answers": answers, "finish": finish, "sent_at": "2026-01-31T09:31:00.456Z", "waiting": 0,
        }  # fmt: skip
        address = f"/q/{token}/deliver/"
        status, _, _ = self.request("POST", address, json.dumps(body), "application/json", after=after)
        if status != 200:
            raise SystemExit(f"A delivery was answered by {status} instead of 200.")

    def _choose(self, offered: dict[str, list[str]], texts: list[str]) -> dict[str, list[str]]:
        chosen = {name: [str(self.rng.randint(20, 60))] for name in texts if not name.endswith("_months")}
        for name, values in offered.items():
            if not any(text == name or text.startswith(f"{name}_") for text in texts):
                chosen[name] = [self.rng.choice([value for value in values if value != "prefer_not"])]
        return chosen


def _without_secret(address: str) -> str:
    return re.sub(r"/q/[^/]{20,}/", "/q/…/", address)


@contextmanager
def throwaway_database(server: str) -> Iterator[tuple[dict[str, str], str]]:
    """The environment that points to a database of our own on this server, and its name; nothing for SQLite."""
    if not server:
        yield {}, ""
        return
    name = f"healing_bench_{os.getpid()}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    try:
        yield {"DATABASE_URL": urlunsplit(urlsplit(server)._replace(path=f"/{name}"))}, name
    finally:
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@contextmanager
def running_server(
    n_forms: int, database: dict[str, str], *, workers: int
) -> Iterator[tuple[psutil.Process, int, dict[str, list[str]]]]:
    """A migrated database with open questionnaires, and gunicorn in front of it: process, port, secrets by version."""
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
        command = [sys.executable, "-m", "gunicorn", "--config", "deploy/gunicorn.conf.py", "--workers", str(workers)]
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


def cpu_seconds(process: psutil.Process, *, database: str) -> float:
    """User plus system time of a process, its children (living or not) and, if named, of a PostgreSQL database."""
    total = 0.0
    serving = [
        one
        for one in psutil.process_iter(["name", "cmdline"])
        if database and one.info["name"] == "postgres" and database in " ".join(one.info["cmdline"] or [])
    ]
    for one in (process, *process.children(recursive=True), *serving):
        times = one.cpu_times()
        total += times.user + times.system + times.children_user + times.children_system
    return total


def percentile(values: list[float], share: float) -> float:
    """The smallest value that at least this share of the values does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def report(figure: str, value: float, unit: str, n: int, **more: object) -> None:
    """One figure, one line; with the load of the machine, which CPU time on shared cores depends on."""
    line = {"benchmark": "answer_latency", "figure": figure, "value": round(value, 3), "unit": unit, "n": n, **more}
    print(json.dumps(line | {"load": round(os.getloadavg()[0], 1)}), flush=True)


_Way = Callable[[Respondent, str], int]


def measure_cpu(engine: str, address: str, n_forms: int) -> None:
    """CPU of one completed form, each way, after two forms that warm the server up."""
    ways: list[tuple[str, str, _Way, float, int]] = [
        *(("scripted_form", "1.0", Respondent.by_script, pace, BAR_SCRIPTED_CPU_MS) for pace in PACES_SECONDS),
        ("form_on_pages_of_five", "1.1", Respondent.by_pages, USUAL_PACE, BAR_PAGES_OF_FIVE_CPU_MS),
        ("form_one_a_page", "1.0", Respondent.by_pages, USUAL_PACE, BAR_ONE_A_PAGE_CPU_MS),
    ]
    n_each = n_forms + 2
    with (
        throwaway_database(address) as (environment, name),
        running_server(n_each * len(ways), environment, workers=1) as (server, port, tokens),
    ):
        for figure, version, way, pace, bar in ways:
            own, tokens[version] = tokens[version][:n_each], tokens[version][n_each:]
            respondent = Respondent(port, random.Random(SEED), pace)
            for token in own[:2]:
                way(respondent, token)
            respondent.waits_ms.clear()
            before = cpu_seconds(server, database=name)
            items = {way(respondent, token) for token in own[2:]}
            cpu_ms = 1000 * (cpu_seconds(server, database=name) - before) / n_forms
            if items != {N_ITEMS}:
                raise SystemExit(f"Every form has {N_ITEMS} items, but {sorted(items)} were answered.")
            more = {"engine": engine, "pace_seconds": pace, "requests": round(len(respondent.waits_ms) / n_forms, 1)}
            report(f"server_cpu_per_{figure}", cpu_ms, "ms", n_forms, **more, bar=bar, met=cpu_ms <= bar)


def measure_waits(engine: str, address: str) -> None:
    """How long a request takes while so many respondents fill in forms, each request right after the one before."""
    workers = int(os.environ.get("WEB_WORKERS", "2"))
    per_respondent = {n: max(1, 8 // n) for n in AT_ONCE}
    count = sum(n * per_respondent[n] for n in AT_ONCE) + 2
    with (
        throwaway_database(address) as (environment, _),
        running_server(count, environment, workers=workers) as (_, port, tokens),
    ):
        kinds: tuple[tuple[str, str, _Way], ...] = (
            ("scripted", "1.0", Respondent.by_script),
            ("pages_of_five", "1.1", Respondent.by_pages),
        )
        for name, version, way in kinds:
            warm = Respondent(port, random.Random(SEED))
            for _ in range(2):
                way(warm, tokens[version].pop())
            for n in AT_ONCE:
                # A pace that keeps the connection: the wait for an answer is measured, not that for a new connection.
                respondents = [Respondent(port, random.Random(SEED + number), 1.0) for number in range(n)]
                threads = [
                    threading.Thread(
                        target=_fill_in, args=(one, way, [tokens[version].pop() for _ in range(per_respondent[n])])
                    )
                    for one in respondents
                ]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()
                waits = [wait for one in respondents for wait in one.waits_ms]
                for share in (0.5, 0.95, 0.99):
                    figure = f"request_{name}_p{100 * share:.0f}"
                    report(
                        figure, percentile(waits, share), "ms", len(waits), engine=engine, at_once=n, workers=workers
                    )


def _fill_in(respondent: Respondent, way: _Way, tokens: list[str]) -> None:
    for token in tokens:
        way(respondent, token)


def main() -> None:
    parser = argparse.ArgumentParser(description="Server CPU and latency of complete patient forms.")
    parser.add_argument("--forms", type=int, default=20, help="how many forms are filled in each way for the CPU")
    parser.add_argument("--postgresql", default=LOCAL_POSTGRESQL, help="a local server's maintenance database")
    options = parser.parse_args()
    engines = {"sqlite": ""}
    try:
        psycopg.connect(options.postgresql, connect_timeout=3).close()
        engines["postgresql"] = options.postgresql
    except psycopg.OperationalError:
        print("No PostgreSQL answers on this machine (make services): only SQLite is measured.", file=sys.stderr)
    for engine, address in engines.items():
        measure_cpu(engine, address, options.forms)
        measure_waits(engine, address)


if __name__ == "__main__":
    main()
