"""The examples in the docstrings of the pure statistics run and print what they say."""

import doctest
from types import ModuleType

import pytest

from analysis.psychometrics import item_statistics, reliability, retention


@pytest.mark.parametrize("module", [item_statistics, reliability, retention], ids=lambda module: module.__name__)
def test_docstring_examples_run(module: ModuleType) -> None:
    """At least one example a module, none of which fails."""
    result = doctest.testmod(module)
    assert result.attempted >= 2
    assert result.failed == 0
