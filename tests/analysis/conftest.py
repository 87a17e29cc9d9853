"""The Holzinger–Swineford data and R's figures on them; shared by the pure tests and those of the adapters."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from analysis.psychometrics.simulation import SimulationStructure

FloatArray = npt.NDArray[np.float64]
REFERENCE = Path(__file__).resolve().parents[1] / "reference"


@pytest.fixture(scope="session")
def hs1939() -> FloatArray:
    """301 respondents, nine items x1 … x9."""
    with (REFERENCE / "hs1939.csv").open(newline="") as file:
        rows = [[float(row[f"x{item}"]) for item in range(1, 10)] for row in csv.DictReader(file)]
    values = np.array(rows)
    values.setflags(write=False)
    return values


@pytest.fixture(scope="session")
def r_figures() -> dict[str, Any]:
    """What R computed; see tests/reference/README.md."""
    return json.loads((REFERENCE / "hs1939.json").read_text())


@pytest.fixture(scope="session")
def full_form() -> SimulationStructure:
    """The shape of the full form: 50 items, 20 components, 5 domains, 3 reverse-keyed items, 12 that may not apply."""
    items_per_component = [3, 2, 3, 2, 2, 2, 3, 2, 3, 2, 2, 3, 3, 2, 2, 2, 3, 3, 3, 3]
    component = np.repeat(np.arange(20), items_per_component)
    n_items = len(component)
    reversed_item = np.zeros(n_items, dtype=bool)
    reversed_item[[2, 7, 32]] = True
    may_not_apply = np.zeros(n_items, dtype=bool)
    may_not_apply[[8, 9, 10, 19, 20, 21, 24, 25, 26, 27, 28, 29]] = True
    return SimulationStructure(
        item_codes=tuple(f"I{position + 1}" for position in range(n_items)),
        component_of_item=component,
        domain_of_component=np.repeat(np.arange(5), [6, 3, 4, 4, 3]),
        reversed_item=reversed_item,
        allow_does_not_apply=may_not_apply,
    )
