"""The standardised solution's own standard errors against lavaan, and where there are none."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis.psychometrics.command_line.main import main
from analysis.psychometrics.errors import AnalysisInputError
from analysis.psychometrics.sem import ModelFit, Moments, fit_model, standardised_solution


@pytest.fixture(scope="module")
def lavaan(project_root: Path) -> dict[str, Any]:
    """Figures of tests/reference/sem/make_standardised.R."""
    figures: dict[str, Any] = json.loads((project_root / "tests/reference/sem/standardised.json").read_text())
    return figures


def read(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file."""
    with path.open() as file:
        return list(csv.DictReader(file))


def assert_as_in_lavaan(fit: ModelFit, rows: list[dict[str, Any]]) -> None:
    """Estimates 1e-4; errors 1e-3 of their size, as lavaan differentiates numerically, too."""
    found = {(row.lhs, row.op, row.rhs, row.group): row for row in standardised_solution(fit)}
    assert len(found) == len(rows)
    for expected in rows:
        row = found[(expected["lhs"], expected["op"], expected["rhs"], int(expected.get("group", 1)))]
        assert row.est_std == pytest.approx(expected["est.std"], abs=1e-4)
        assert row.se == pytest.approx(expected["se"], rel=1e-3, abs=1e-6)
        if expected["z"] is not None:
            assert row.z == pytest.approx(expected["z"], rel=2e-3)
            assert row.pvalue == pytest.approx(expected["pvalue"], abs=1e-4)
            assert (row.ci_lower, row.ci_upper) == pytest.approx((expected["ci.lower"], expected["ci.upper"]), abs=2e-4)


def test_measured_items_match_lavaan(project_root: Path, lavaan: dict[str, Any]) -> None:
    """Holzinger–Swineford with a structural part, ML in one group and MLR in two."""
    rows = read(project_root / "tests/reference/hs1939.csv")
    codes = [f"x{i}" for i in range(1, 10)]
    values = np.array([[float(row[code]) for code in codes] for row in rows])
    model = lavaan["models"]["hs"]
    assert_as_in_lavaan(fit_model(model, values, item_codes=codes, auto="sem"), lavaan["hs_ml"])
    groups = [row["school"] for row in rows]
    two = fit_model(model, values, item_codes=codes, auto="sem", estimator="MLR", groups=groups)
    assert_as_in_lavaan(two, lavaan["hs_mlr_groups"])


def test_ordinal_items_match_lavaan(project_root: Path, lavaan: dict[str, Any]) -> None:
    """Ten items of the SAPA project, WLSMV: residual variances follow from the loadings and have errors, too."""
    rows = read(project_root / "tests/reference/invariance/bfi10.csv")
    codes = [code for code in rows[0] if code != "gender"]
    values = np.array([[float(row[code]) for code in codes] for row in rows])
    fit = fit_model(lavaan["models"]["bfi"], values, item_codes=codes, estimator="WLSMV")
    assert_as_in_lavaan(fit, lavaan["bfi_wlsmv"])


def test_the_way_the_factor_is_scaled_does_not_matter() -> None:
    """Marker item or unit variance: one solution in standard units, errors included (1e-6)."""
    matrix = np.array([[4.0, 1.2, 0.8, 0.9], [1.2, 2.0, 0.7, 0.6], [0.8, 0.7, 1.5, 0.5], [0.9, 0.6, 0.5, 1.0]])
    data = {"moments": Moments(covariance=matrix, n=400), "item_codes": ["a", "b", "c", "d"]}
    marker = standardised_solution(fit_model("f =~ a + b + c + d", **data))
    unit = standardised_solution(fit_model("f =~ a + b + c + d", std_lv=True, **data))
    for one, other in zip(marker, unit, strict=True):
        assert other.est_std == pytest.approx(one.est_std, abs=1e-6)
        assert other.se == pytest.approx(one.se, abs=1e-6)
    variance = next(row for row in marker if (row.lhs, row.op, row.rhs) == ("f", "~~", "f"))
    assert (variance.est_std, variance.se) == (pytest.approx(1.0), 0.0)
    assert np.isnan(variance.z)


def test_a_wider_confidence_gives_wider_intervals_and_nonsense_is_refused() -> None:
    """The interval is the estimate plus and minus its error times the normal quantile."""
    matrix = np.array([[1.0, 0.5, 0.4], [0.5, 1.0, 0.3], [0.4, 0.3, 1.0]])
    fit = fit_model("f =~ a + b + c", moments=Moments(covariance=matrix, n=200), item_codes=["a", "b", "c"])
    row = standardised_solution(fit, confidence=0.99)[0]
    assert row.ci_upper - row.est_std == pytest.approx(2.5758293 * row.se, rel=1e-6)
    with pytest.raises(AnalysisInputError, match="between 0 and 1"):
        standardised_solution(fit, confidence=95)


def test_the_command_prints_it(project_root: Path, lavaan: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    """`cfa --standardized`."""
    data = str(project_root / "tests/reference/hs1939.csv")
    assert main(["cfa", data, "--model", lavaan["models"]["hs"], "--auto", "sem", "--standardized", "--json"]) == 0
    first = json.loads(capsys.readouterr().out)["standardized"][0]
    assert first["se"] == pytest.approx(lavaan["hs_ml"][0]["se"], rel=1e-3)
