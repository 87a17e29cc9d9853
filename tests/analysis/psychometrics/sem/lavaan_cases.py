"""Reads the cases of tests/reference/sem and lavaan's figures for them."""

import csv
import functools
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from analysis.psychometrics.sem import ModelFit, fit_model

REFERENCE = Path(__file__).parents[3] / "reference"
_FILES = {
    "hs": REFERENCE / "hs1939.csv",
    **{name: REFERENCE / "sem" / f"{name}.csv" for name in ("political", "growth", "bfi", "clinic")},
}
_TEXT_COLUMNS = ("school", "site", "sex")
_ARGUMENTS = (
    "estimator",
    "std_lv",
    "orthogonal",
    "group_equal",
    "group_partial",
    "meanstructure",
    "missing",
    "parameterization",
    "ordered",
    "auto",
)


@functools.cache
def cases() -> dict[str, Any]:
    """The models, with the arguments that lavaan was given."""
    loaded: dict[str, Any] = json.loads((REFERENCE / "sem" / "cases.json").read_text(encoding="utf-8"))
    return loaded


@functools.cache
def reference() -> dict[str, Any]:
    """lavaan's fit measures and parameters by case."""
    together: dict[str, Any] = {}
    for name in ("continuous", "ordinal"):
        together |= json.loads((REFERENCE / "sem" / f"{name}.json").read_text(encoding="utf-8"))["cases"]
    return together


@functools.cache
def table(name: str) -> tuple[tuple[str, ...], npt.NDArray[np.float64], dict[str, list[str]]]:
    """A data set: names and values of the numeric columns, and every column as text."""
    with _FILES[name].open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    texts = {column: [row[column] for row in rows] for column in rows[0]}
    codes = tuple(column for column in texts if column not in _TEXT_COLUMNS)
    values = np.array([[_number(row[column]) for column in codes] for row in rows])
    return codes, values, texts


def _number(text: str) -> float:
    return math.nan if text in ("", "NA") else float(text)


@functools.cache
def fitted(name: str) -> ModelFit:
    """Fit a case with our engine."""
    return refitted(name)


def refitted(name: str, *, model: str | None = None, **changes: Any) -> ModelFit:
    """Fit a case with another model or other arguments."""
    case = cases()[name]
    codes, values, texts = table(case["data"])
    arguments = {key: case[key] for key in _ARGUMENTS if key in case}
    if "group" in case:
        arguments["groups"] = texts[case["group"]]
    if "cluster" in case:
        arguments["cluster"] = texts[case["cluster"]]
    return fit_model(model or case["model"], values, item_codes=codes, **(arguments | changes))


def check_against_lavaan(name: str, *, fit: float, estimates: float, errors: float) -> None:
    """Compare with lavaan: fit measures relative to their size, estimates absolutely, errors relative to theirs."""
    solution, theirs = fitted(name), reference()[name]
    for key, value in theirs["fit"].items():
        ours = solution.fit[key.replace(".", "_")]
        if value is None or value == "NA":
            assert math.isnan(ours), key
        else:
            assert abs(ours - value) <= fit * max(1.0, abs(value)), (key, ours, value)
    assert len(solution.parameters) == len(theirs["parameters"])
    for row, (lhs, op, rhs, group, _, est, se, _, std_lv, std_all) in zip(
        solution.parameters, theirs["parameters"], strict=True
    ):
        assert (row.lhs, row.op, row.rhs) == (lhs, op, rhs)
        assert row.op == ":=" or row.group == group
        for ours, value in ((row.est, est), (row.std_lv, std_lv), (row.std_all, std_all)):
            assert value is None or abs(ours - value) <= estimates * max(1.0, abs(value)), (row, value)
        assert se is None or abs(row.se - se) <= errors * max(abs(se), 1e-3), (row, se)
