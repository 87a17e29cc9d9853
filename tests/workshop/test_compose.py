"""docker-compose.yml and Dockerfile, as far as they can be proved without a container engine."""

import copy
import importlib
import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from celery.bin.celery import celery as celery_command
from django.conf import settings
from django.core.management import get_commands
from django.urls import resolve
from jsonschema import Draft202012Validator

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
VARIABLE = re.compile(r"(?<!\$)\$\{(?P<name>\w+)(?P<rest>[^}]*)\}")


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    """The file with its anchors and merges resolved."""
    loaded = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    assert isinstance(loaded, dict)
    return loaded


@pytest.fixture(scope="module")
def validator() -> Draft202012Validator:
    """The Compose Specification's own schema."""
    return Draft202012Validator(json.loads((HERE / "compose_spec" / "compose-spec.json").read_text()))


def words(command: object) -> list[str]:
    """A command as a list of words, without the shell around it and with its escaped dollars undone."""
    listed = shlex.split(command) if isinstance(command, str) else list(command)  # type: ignore[call-overload]
    if listed[:2] == ["sh", "-c"]:
        listed = shlex.split(listed[2])
    return [str(word).replace("$$", "$") for word in listed]


def texts(node: object) -> Iterator[str]:
    """Every text value in the file."""
    if isinstance(node, dict):
        for value in node.values():
            yield from texts(value)
    elif isinstance(node, list):
        for value in node:
            yield from texts(value)
    elif isinstance(node, str):
        yield node


def test_it_follows_the_compose_specification(compose: dict[str, Any], validator: Draft202012Validator) -> None:
    """The file has no key or shape that the specification doesn't know."""
    assert [error.message for error in validator.iter_errors(compose)] == []


def test_the_schema_finds_a_planted_fault(compose: dict[str, Any], validator: Draft202012Validator) -> None:
    """A misspelt key in a service is found, so that the check above can fail."""
    faulty = copy.deepcopy(compose)
    faulty["services"]["web"]["helthcheck"] = {}
    assert any("helthcheck" in error.message for error in validator.iter_errors(faulty))


def test_everything_that_is_named_exists(compose: dict[str, Any]) -> None:
    """Services, networks and volumes that are referred to are defined, and a health condition has a health check."""
    services = compose["services"]
    for name, service in services.items():
        for other, needed in service.get("depends_on", {}).items():
            assert other in services, f"{name} depends on {other}"
            if needed["condition"] == "service_healthy":
                assert "healthcheck" in services[other], f"{name} waits for the health of {other}"
        assert set(service.get("networks", [])) <= set(compose["networks"]), name
        for mount in service.get("volumes", []):
            assert mount.split(":")[0] in compose["volumes"], f"{name} mounts {mount}"


def test_no_secret_and_no_floating_image(compose: dict[str, Any]) -> None:
    """Passwords and keys come from required variables, and foreign images are pinned to a full version."""
    for name, service in compose["services"].items():
        for variable, value in service.get("environment", {}).items():
            if re.search("PASSWORD|SECRET|KEY|DATABASE_URL", variable):
                assert re.search(r"\$\{\w+:\?.+\}", value), f"{name}: {variable} must come from a required variable"
        if "build" not in service:
            assert re.fullmatch(r"[a-z]+:\d+\.\d+(\.\d+)?-\w+", service["image"]), f"{name}: {service['image']}"


def test_every_variable_is_required_or_has_a_default(compose: dict[str, Any]) -> None:
    """No variable can be forgotten silently: each says what to set it to, or has a default."""
    found = [match for text in texts(compose) for match in VARIABLE.finditer(text)]
    assert {match["name"] for match in found} >= {"SECRET_KEY", "POSTGRES_PASSWORD", "ALLOWED_HOSTS", "BASE_URL"}
    for match in found:
        assert match["rest"].startswith((":?", ":-")), match[0]


def test_every_variable_is_read_by_the_settings(compose: dict[str, Any]) -> None:
    """Each variable handed to the platform's containers is one that its settings read."""
    settings = "".join(path.read_text() for path in sorted((ROOT / "healing_survey" / "settings").glob("*.py")))
    read = set(re.findall(r"env\.\w+\(\s*\"(\w+)\"", settings)) | {"DJANGO_SETTINGS_MODULE"}
    handed_over = set(compose["services"]["web"]["environment"])
    assert handed_over <= read, f"read by no setting: {handed_over - read}"
    production = (ROOT / "healing_survey" / "settings" / "production.py").read_text()
    required = set(re.findall(r"env\.(?:text|words)\(\"(\w+)\"\)", production))
    assert required <= handed_over, f"required in production, not handed over: {required - handed_over}"


def test_every_command_names_something_that_exists(compose: dict[str, Any]) -> None:
    """Management commands, files, modules and Celery's subcommands and options are all there."""
    commands = [words(service["command"]) for service in compose["services"].values() if service.get("build")]
    assert len(commands) == 5
    for command in commands:
        text = " ".join(command)
        for management_command in re.findall(r"manage\.py (\w+)", text):
            assert management_command in get_commands()
        if command[0] == "gunicorn":
            assert (ROOT / command[command.index("--config") + 1]).is_file()
            module, attribute = command[-1].split(":")
            assert callable(getattr(importlib.import_module(module), attribute))
        if command[0] == "celery":
            assert importlib.import_module(f"{command[command.index('-A') + 1]}.celery").app.main == "healing_survey"
            subcommand = celery_command.commands[command[3]]
            known = {option for parameter in subcommand.params for option in parameter.opts}
            assert {word for word in command if word.startswith("--")} <= known, text


def test_every_health_path_leads_to_a_view(compose: dict[str, Any]) -> None:
    """The path that the web server is asked for is in the URLs, as it is written, and deploy/health.py exists."""
    test = compose["services"]["web"]["healthcheck"]["test"]
    assert (ROOT / test[2]).is_file()
    assert resolve(test[3]).url_name == "health_ready"


def test_workers_serve_every_queue(compose: dict[str, Any]) -> None:
    """Each queue of the settings has a worker here and in the one-machine supervision, and health asks that worker."""
    queues = {queue.name for queue in settings.CELERY_TASK_QUEUES}
    served = set()
    for service in compose["services"].values():
        command = words(service.get("command", []))
        if "worker" in command:
            queue = command[command.index("--queues") + 1]
            served.add(queue)
            assert f"--destination {queue}@" in service["healthcheck"]["test"][1]
    assert served == queues
    supervised = (ROOT / "deploy" / "supervisord.conf").read_text()
    assert set(re.findall(r"--queues (\w+)", supervised)) == queues


def test_the_dockerfile_copies_only_what_is_there() -> None:
    """Files that the Dockerfile names exist and are not kept out by .dockerignore; the image doesn't run as root."""
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    copied = [name for line in lines if re.match(r"COPY requirements", line) for name in line.split()[1:-1]]
    assert copied == ["requirements-bootstrap.lock", "requirements.lock"]
    assert all((ROOT / name).is_file() and name not in ignored for name in copied)
    assert "USER 10001" in lines
    bases = [line.split()[1] for line in lines if line.startswith("FROM ")]
    assert len(set(bases)) == 1
    assert re.fullmatch(r"python:3\.11\.\d+-slim-\w+", bases[0])
