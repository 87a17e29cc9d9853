"""The demonstration: prepares the database, then hands over to supervisord, which runs web, workers and beat.

`make demo` calls this in the project's environment. PORT and VAR_DIR are read from the environment; everything that is
written goes under VAR_DIR. The process itself becomes supervisord, so that Ctrl-C and SIGTERM reach it directly.
"""

import errno
import io
import os
import socket
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
READY_WITHIN_SECONDS = 180.0  # a busy machine loads the statistics libraries slowly


def read_port() -> int:
    """The port to serve on, from PORT; exits with one line when that is no port."""
    given = os.environ.get("PORT", "8000")
    if not given.isdigit() or not 1 <= int(given) <= 65535:
        sys.exit(f"PORT must be a whole number from 1 to 65535; it is {given!r}. For example: make demo PORT=8001")
    return int(given)


def refuse_second_demo(var: Path, port: int) -> None:
    """Exits with one line when this folder's demo runs already, or something else holds the port."""
    pid_file = var / "supervisord.pid"
    if pid_file.exists() and _is_supervisord(pid_file.read_text().strip()):
        sys.exit(f"The demo already runs from this folder (process {pid_file.read_text().strip()}). Stop it: make stop")
    with socket.socket() as probe:
        # As gunicorn does it: connections of the last run that are still closing must not count as a server.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                reason = "is already in use"
            else:
                reason = f"can't be opened ({error.strerror})"
            sys.exit(
                f"Port {port} on 127.0.0.1 {reason}. Choose another, for example: make demo PORT={port % 65535 + 1}"
            )


def _is_supervisord(pid: str) -> bool:
    if not pid.isdigit():
        return False
    command_line = Path("/proc") / pid / "cmdline"
    if Path("/proc/self").exists():
        # A process number is used again some day; its command line tells whether it is still ours.
        return command_line.exists() and b"supervisord" in command_line.read_bytes()
    try:
        os.kill(int(pid), 0)
    except OSError:
        return False
    return True


def prepare() -> str:
    """Brings the database, the instrument, the static files and the demo study up to date; returns where to click."""
    import django
    from django.core.management import call_command

    django.setup()
    from healing_survey.demo import STUDY_CODE
    from studies.models import Study

    call_command("migrate", interactive=False, verbosity=0)
    call_command("load_instruments")
    call_command("collectstatic", interactive=False, verbosity=0)
    # Only the first start makes the study: that needs the statistics libraries, which take seconds to load.
    if not Study.objects.filter(code=STUDY_CODE).exists():
        call_command("seed_demo")
    where_to_click = io.StringIO()
    call_command("print_demo", stdout=where_to_click)
    return where_to_click.getvalue()


def announce_when_ready(port: int, text: str, var: Path) -> None:
    """Waits, as a child of the process that becomes supervisord, until the web server answers; then prints `text`."""
    supervisor = os.getpid()
    if os.fork():
        return
    deadline = time.monotonic() + READY_WITHIN_SECONDS
    while time.monotonic() < deadline and os.getppid() == supervisor:
        if _is_ready(port):
            print(text, flush=True)
            os._exit(0)
        time.sleep(0.1)
    if os.getppid() == supervisor:
        print(f"The web server has not answered for {READY_WITHIN_SECONDS:.0f} s. See {var}/log/web.log", flush=True)
    os._exit(1)


def _is_ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health/ready/", timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def main() -> None:
    port = read_port()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "healing_survey.settings.embedded")
    os.environ.setdefault("BASE_URL", f"http://127.0.0.1:{port}")
    var = Path(os.environ.setdefault("VAR_DIR", str(ROOT / "var"))).resolve()
    os.environ.update(PORT=str(port), VAR_DIR=str(var), HEALING_ROOT=str(ROOT), HEALING_PYTHON=sys.executable)
    os.chdir(ROOT)
    sys.path.insert(0, str(ROOT))

    refuse_second_demo(var, port)
    (var / "log").mkdir(parents=True, exist_ok=True)
    announce_when_ready(port, prepare(), var)
    command = [sys.executable, "-m", "supervisor.supervisord", "--nodaemon", "--silent"]
    os.execv(sys.executable, [*command, "--configuration", str(ROOT / "deploy" / "supervisord.conf")])


if __name__ == "__main__":
    main()
