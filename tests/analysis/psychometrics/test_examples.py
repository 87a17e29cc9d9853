"""The examples in the docstrings of the pure statistics run and print what they say."""

import doctest
from types import ModuleType

import pytest

from analysis.psychometrics import factor_analysis, item_statistics, reliability, retention, rotation


@pytest.mark.parametrize(
    "module", [factor_analysis, item_statistics, reliability, retention, rotation], ids=lambda module: module.__name__
)
def test_docstring_examples_run(module: ModuleType) -> None:
    """At least one example a module, none of which fails."""
    result = doctest.testmod(module)
    assert result.attempted >= 2
    assert result.failed == 0
