"""The examples in the docstrings of the pure statistics run and print what they say."""

import doctest
import importlib
import pkgutil
from pathlib import Path
from types import ModuleType

import pytest

import analysis.psychometrics


def modules_with_examples() -> list[ModuleType]:
    """Every module of the package whose source shows an example."""
    found = pkgutil.walk_packages(analysis.psychometrics.__path__, prefix="analysis.psychometrics.")
    modules = [importlib.import_module(entry.name) for entry in found if not entry.name.endswith("__main__")]
    return [module for module in modules if module.__file__ and ">>> " in Path(module.__file__).read_text()]


@pytest.mark.parametrize("module", modules_with_examples(), ids=lambda module: module.__name__)
def test_docstring_examples_run(module: ModuleType) -> None:
    """The module's examples are found, and none of them fails."""
    result = doctest.testmod(module)
    assert result.attempted >= 1
    assert result.failed == 0


def test_examples_are_looked_for_in_the_right_place() -> None:
    """The search finds the modules that have had examples from the beginning."""
    names = {module.__name__.rpartition(".")[2] for module in modules_with_examples()}
    assert {"item_statistics", "coefficients", "retention"} <= names
