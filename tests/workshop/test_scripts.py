"""The small programs behind make: what they refuse, and that they say so in one clear line."""

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import polib
import pytest

from scripts import translations

ROOT = Path(__file__).resolve().parents[2]


def run(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs a program in the project's folder with these variables added to the environment."""
    return subprocess.run(
        command, cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True, timeout=60, check=False
    )


def test_demo_refuses_a_port_in_use_before_anything_starts(tmp_path: Path) -> None:
    """A port that something else holds gives one line that names it, and nothing is written."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        refused = run(sys.executable, "scripts/demo.py", PORT=port, VAR_DIR=str(tmp_path / "var"))
    assert refused.returncode == 1
    assert refused.stderr.count("\n") == 1
    assert f"Port {port} on 127.0.0.1 is already in use" in refused.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("port", ["0", "65536", "eight", "-1", ""])
def test_demo_refuses_what_is_no_port(port: str, tmp_path: Path) -> None:
    """A PORT that is no port is refused with the range that is allowed."""
    refused = run(sys.executable, "scripts/demo.py", PORT=port, VAR_DIR=str(tmp_path / "var"))
    assert refused.returncode == 1
    assert "PORT must be a whole number from 1 to 65535" in refused.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_browser_is_refused(tmp_path: Path) -> None:
    """CHROMIUM that names no browser stops the search with one line, instead of another browser being taken."""
    refused = run(sys.executable, "scripts/find_browser.py", CHROMIUM=str(tmp_path / "no-browser"))
    assert refused.returncode == 1
    assert refused.stderr.count("\n") == 1
    assert "CHROMIUM names no browser that starts" in refused.stderr


def test_the_browser_of_the_tests_starts(browser_path: str) -> None:
    """The browser that was chosen is a Chrome or Chromium that starts."""
    asked = subprocess.run([browser_path, "--version"], capture_output=True, text=True, timeout=60, check=True)
    assert "Chrom" in asked.stdout


def test_missing_services_are_named_without_their_password() -> None:
    """Servers that don't answer give one line each with the variable and the remedy, and no password."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound but not listening: a connection is refused
        port = unused.getsockname()[1]
        refused = run(
            sys.executable,
            "scripts/check_services.py",
            DATABASE_URL=f"postgres://someone:canary-password@127.0.0.1:{port}/x",
            CELERY_BROKER_URL=f"redis://:canary-password@127.0.0.1:{port}/1",
        )
    assert refused.returncode == 1
    assert refused.stderr.count("\n") == 2
    assert "No PostgreSQL behind DATABASE_URL" in refused.stderr
    assert "No Redis behind CELERY_BROKER_URL" in refused.stderr
    assert "canary" not in refused.stderr


@pytest.mark.parametrize(
    ("variable", "url", "said"),
    [
        ("DATABASE_URL", "", "DATABASE_URL is not set"),
        ("DATABASE_URL", "sqlite:///x", "these tests need a postgres:// address"),
        ("CELERY_BROKER_URL", "filesystem://", "these tests need a redis:// address"),
    ],
)
def test_unfit_service_addresses_are_refused(variable: str, url: str, said: str) -> None:
    """An address of another kind of server is refused by the name of its variable."""
    refused = run(sys.executable, "scripts/check_services.py", **{variable: url})
    assert refused.returncode == 1
    assert said in refused.stderr


def test_translations_are_checked_and_compiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A catalogue is clean only when every text is translated, none is doubtful and the compiled file is the same."""
    monkeypatch.setattr(translations, "ROOT", tmp_path)
    path = tmp_path / "locale" / "es" / "LC_MESSAGES" / "django.po"
    path.parent.mkdir(parents=True)
    catalogue = polib.POFile()
    catalogue.metadata = {"Content-Type": "text/plain; charset=utf-8"}
    catalogue.append(polib.POEntry(msgid="Next", msgstr="Siguiente"))
    catalogue.save(str(path))
    assert ["compiled file is missing" in line for line in translations.problems(path)] == [True]
    translations.compile_all([path])
    assert translations.problems(path) == []
    catalogue.append(polib.POEntry(msgid="Back", msgstr=""))
    catalogue.append(polib.POEntry(msgid="Skip", msgstr="Saltar", flags=["fuzzy"]))
    catalogue.save(str(path))
    assert [line.split(": ")[1] for line in translations.problems(path)] == ["not translated", "marked fuzzy"]
    catalogue[0].msgstr = "Adelante"
    catalogue.save(str(path))
    assert "compiled file is missing or older" in translations.problems(path)[-1]


def test_make_says_which_python_is_needed(tmp_path: Path) -> None:
    """In a folder without an environment, a Python that is too old is refused with its version and the remedy."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    shutil.copy(ROOT / "requirements-bootstrap.lock", tmp_path)
    shutil.copy(ROOT / "requirements.lock", tmp_path)
    old = tmp_path / "old-python"
    # An interpreter that says it is 3.10: everything else about it is this one.
    old.write_text(
        f'#!/bin/sh\nshift\nexec "{sys.executable}" -c "import sys; sys.version_info = (3, 10, 4); '
        'sys.version = \'3.10.4 (old)\'; exec(sys.argv[1])" "$@"\n'
    )
    old.chmod(0o755)
    refused = subprocess.run(
        ["make", "-C", str(tmp_path), "env", f"PYTHON={old}"], capture_output=True, text=True, timeout=60, check=False
    )
    assert refused.returncode != 0
    assert "Python 3.11 or newer is needed" in refused.stderr
    assert "is 3.10.4" in refused.stderr
    assert not (tmp_path / ".venv").exists()
