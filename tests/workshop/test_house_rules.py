"""Rules of the house that no linter knows."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def test_every_test_says_what_it_proves() -> None:
    """Each test has a docstring: the list of them is the specification."""
    silent = []
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            is_test = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
            if is_test and not ast.get_docstring(node):
                silent.append(f"{path.relative_to(ROOT)}:{node.lineno} {node.name}")
    assert silent == []


def test_no_test_is_switched_off() -> None:
    """Nothing is skipped or expected to fail: a missing browser or server is an error."""
    off = []
    for path in sorted((ROOT / "tests").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            name = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
            if name in {"skip", "skipif", "skipTest", "xfail", "importorskip"}:
                off.append(f"{path.relative_to(ROOT)}:{node.lineno} {name}")
    assert off == []


@pytest.mark.parametrize("name", ["requirements-bootstrap", "requirements", "requirements-dev", "requirements-pure"])
def test_locks_pin_every_requirement_by_hash(name: str) -> None:
    """A lock has an exact version and a hash for each package, all that its .in file asks for, and no address."""
    lock = (ROOT / f"{name}.lock").read_text()
    entries = re.split(r"\n(?=\S)", lock.strip())
    pinned = {}
    for entry in entries:
        head = re.match(r"([a-z0-9-]+)==(\S+)(?: ; [^\\]+)? \\\n", entry)
        assert head, f"{name}.lock: not an exact version: {entry.splitlines()[0]}"
        assert "--hash=sha256:" in entry, f"{name}.lock: {head[1]} has no hash"
        pinned[head[1]] = head[2]
    asked = re.findall(r"^([A-Za-z][A-Za-z0-9-]*)", (ROOT / f"{name}.in").read_text(), re.MULTILINE)
    assert {package.lower() for package in asked} <= set(pinned), "run: make lock"
    assert "://" not in lock


def test_the_locks_agree() -> None:
    """A package has one version in every lock, so that what is tested is what runs."""
    versions: dict[str, set[str]] = {}
    for path in ROOT.glob("requirements*.lock"):
        for package, version in re.findall(r"^([a-z0-9-]+)==(\S+)", path.read_text(), re.MULTILINE):
            versions.setdefault(package, set()).add(version)
    assert {package: found for package, found in versions.items() if len(found) > 1} == {}
