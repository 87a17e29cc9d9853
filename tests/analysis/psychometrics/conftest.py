"""Public data sets and R's figures on them (tests/reference/classical) for the tests of classical statistics."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

FloatArray = npt.NDArray[np.float64]
CLASSICAL = Path(__file__).resolve().parents[2] / "reference" / "classical"


@pytest.fixture(scope="session")
def classical_columns() -> Callable[..., FloatArray]:
    """Reads columns of tests/reference/classical/NAME.csv (all without names); empty cells are NaN."""

    def read(name: str, *columns: str) -> FloatArray:
        with (CLASSICAL / f"{name}.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        wanted = columns or tuple(rows[0])
        return np.array([[float(row[column]) if row[column] else np.nan for column in wanted] for row in rows])

    return read


@pytest.fixture(scope="session")
def classical_figures() -> Callable[[str], Any]:
    """Reads tests/reference/classical/NAME.json."""
    return lambda name: json.loads((CLASSICAL / f"{name}.json").read_text())
