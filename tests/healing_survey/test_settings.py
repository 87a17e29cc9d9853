"""Settings say what is wrong with the environment, and production does not start without its secrets."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from healing_survey import env

PRODUCTION = {
    "DJANGO_SETTINGS_MODULE": "healing_survey.settings.production",
    "SECRET_KEY": "x" * 60,
    "ALLOWED_HOSTS": "survey.example",
    "DATABASE_URL": "postgres://localhost/healing",
    "CELERY_BROKER_URL": "redis://localhost",
    "BASE_URL": "https://survey.example",
}


@pytest.mark.parametrize(
    ("text", "expected"), [("1", True), ("Yes", True), ("on", True), ("0", False), ("OFF", False), ("", True)]
)
def test_a_flag_is_read_in_the_usual_words(monkeypatch: pytest.MonkeyPatch, text: str, expected: bool) -> None:
    """An empty variable is its default."""
    monkeypatch.setenv("A_FLAG", text)
    assert env.flag("A_FLAG", default=True) is expected


@pytest.mark.parametrize(
    ("read", "value", "message"),
    [
        (lambda: env.flag("BAD", default=False), "perhaps", "BAD must be one of 1, true"),
        (lambda: env.whole_number("BAD", default=1), "2.5", "BAD must be a whole number of at least 0"),
        (lambda: env.whole_number("BAD", default=1, minimum=1), "0", "at least 1"),
        (lambda: env.text("BAD"), "", "BAD must be set"),
    ],
)
def test_a_bad_value_is_named(monkeypatch: pytest.MonkeyPatch, read: object, value: str, message: str) -> None:
    """The variable's name and the remedy stand in the error."""
    monkeypatch.setenv("BAD", value)
    with pytest.raises(ImproperlyConfigured, match=message):
        read()  # type: ignore[operator]


def start(project_root: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    keep = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return subprocess.run(
        [sys.executable, "-c", "import django; django.setup(); print('started')"],
        cwd=project_root,
        env=keep | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.mark.parametrize("name", ["SECRET_KEY", "ALLOWED_HOSTS", "DATABASE_URL", "CELERY_BROKER_URL", "BASE_URL"])
def test_production_stops_without_a_variable_and_names_it(project_root: Path, tmp_path: Path, name: str) -> None:
    """A missing secret or address stops the start."""
    done = start(project_root, {k: v for k, v in PRODUCTION.items() if k != name} | {"VAR_DIR": str(tmp_path)})
    assert done.returncode != 0
    assert f"{name} must be set" in done.stderr


def test_production_starts_with_all_of_them(project_root: Path, tmp_path: Path) -> None:
    """A control of the test above."""
    done = start(project_root, PRODUCTION | {"VAR_DIR": str(tmp_path)})
    assert done.stdout == "started\n", done.stderr


def test_the_embedded_secret_is_made_once_and_private(project_root: Path, tmp_path: Path) -> None:
    """Two starts agree on it, and only the owner can read it."""
    environment = {"DJANGO_SETTINGS_MODULE": "healing_survey.settings.embedded", "VAR_DIR": str(tmp_path)}
    keys = []
    for _ in range(2):
        assert start(project_root, environment).returncode == 0
        keys.append((tmp_path / "secret_key").read_text())
    assert keys[0] == keys[1]
    assert len(keys[0]) >= 50
    assert (tmp_path / "secret_key").stat().st_mode & 0o077 == 0
