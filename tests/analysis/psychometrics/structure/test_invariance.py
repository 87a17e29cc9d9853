"""Invariance over groups against lavaan and semTools, level by level, and what must not change it."""

import csv
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis.psychometrics.command_line.main import main
from analysis.psychometrics.errors import AnalysisInputError
from analysis.psychometrics.response_matrix import FloatArray
from analysis.psychometrics.sem.estimation import Estimator
from analysis.psychometrics.sem.syntax import parse_syntax
from analysis.psychometrics.structure.invariance import Invariance, assess_invariance, ordinal_syntax

ITEMS = [*(f"A{i}" for i in range(1, 6)), *(f"E{i}" for i in range(1, 6))]
MODEL = "A =~ A1 + A2 + A3 + A4 + A5\nE =~ E1 + E2 + E3 + E4 + E5"
HS_MODEL = "visual =~ x1 + x2 + x3\ntextual =~ x4 + x5 + x6\nspeed =~ x7 + x8 + x9"
NINE = [f"x{i}" for i in range(1, 10)]


@pytest.fixture(scope="module")
def folder(project_root: Path) -> Path:
    """Data and figures of tests/reference/invariance/make.R."""
    return project_root / "tests/reference/invariance"


@pytest.fixture(scope="module")
def lavaan(folder: Path) -> dict[str, Any]:
    """lavaan's and semTools' figures."""
    figures: dict[str, Any] = json.loads((folder / "invariance.json").read_text())
    return figures


def read(path: Path, columns: list[str], group: str) -> tuple[FloatArray, list[str]]:
    """The columns as numbers, and the group of each row."""
    with path.open() as file:
        rows = list(csv.DictReader(file))
    return np.array([[float(row[name]) for name in columns] for row in rows]), [row[group] for row in rows]


def assert_as_in_r(result: Invariance, figures: dict[str, Any]) -> None:
    """Every level's indices, and the tests between them.

    The same optimum by two optimisers: 1e-4 (chi-squares 2e-3), half a percent of a scaled difference of WLSMV, whose
    two estimators' Jacobians lavaan takes at slightly different places.
    """
    for level in result.levels:
        assert level.fit is not None, level.error
        expected = figures["levels"][level.level]
        for name in ("chisq", "df", "cfi", "tli", "rmsea", "srmr", "chisq.scaled", "cfi.scaled", "rmsea.scaled"):
            if name in expected:
                tolerance = 2e-3 if name.startswith("chisq") else 1e-4
                assert level.fit.fit[name.replace(".", "_")] == pytest.approx(expected[name], abs=tolerance), name
    for level, test in zip(result.levels[1:], figures["tests"], strict=True):
        assert level.difference is not None
        assert level.difference.df_diff == test["df_diff"]
        assert level.difference.chisq_diff == pytest.approx(test["chisq_diff"], rel=5e-3)
        assert level.difference.pvalue == pytest.approx(test["pvalue"], abs=2e-3)


@pytest.mark.parametrize("estimator", ["ML", "MLR"])
def test_schools_match_lavaan(project_root: Path, lavaan: dict[str, Any], estimator: Estimator) -> None:
    """Holzinger–Swineford by school: `group.equal` step by step; the intercepts are known not to be equal."""
    values, groups = read(project_root / "tests/reference/hs1939.csv", NINE, "school")
    result = assess_invariance(HS_MODEL, values, item_codes=NINE, groups=groups, estimator=estimator)
    assert_as_in_r(result, lavaan[f"hs_{estimator.lower()}"])
    assert [level.holds for level in result.levels] == [None, True, False, True]
    assert result.cfi_kind == ("plain" if estimator == "ML" else "scaled")
    assert (result.n_used, result.n_dropped, dict(zip(result.group_labels, result.group_sizes, strict=True))) == (
        301,
        0,
        {"Pasteur": 156, "Grant-White": 145},
    )


def test_ten_items_match_lavaan_with_robust_errors(folder: Path, lavaan: dict[str, Any]) -> None:
    """Six-category items of the SAPA project treated as continuous, by gender."""
    values, groups = read(folder / "bfi10.csv", ITEMS, "gender")
    assert_as_in_r(assess_invariance(MODEL, values, item_codes=ITEMS, groups=groups), lavaan["bfi_mlr"])


@pytest.mark.parametrize("name", ["bfi10", "bfi10_collapsed"])
def test_ordinal_items_match_semtools(folder: Path, lavaan: dict[str, Any], name: str) -> None:
    """Wu & Estabrook's order; in the second file items have two, three and six categories, which free other things."""
    values, groups = read(folder / f"{name}.csv", ITEMS, "gender")
    figures = lavaan["bfi_wlsmv" if name == "bfi10" else "collapsed_wlsmv"]
    result = assess_invariance(MODEL, values, item_codes=ITEMS, groups=groups, estimator="WLSMV")
    assert [level.level for level in result.levels] == ["configural", "thresholds", "metric", "scalar", "strict"]
    assert_as_in_r(result, figures)
    scalar = result.levels[3].fit
    assert scalar is not None
    for row in figures["latent"]:  # means and variances of the second group once intercepts are equal
        estimate = scalar.parameter(row["lhs"], row["op"], row["rhs"], group=2)
        assert estimate.est == pytest.approx(row["est"], abs=1e-3)
        assert estimate.se == pytest.approx(row["se"], rel=1e-2)


def test_changes_are_those_between_neighbouring_levels(folder: Path) -> None:
    """Each delta is the level's index minus the one before, of the scaled index."""
    values, groups = read(folder / "bfi10.csv", ITEMS, "gender")
    levels = assess_invariance(MODEL, values, item_codes=ITEMS, groups=groups).levels
    for before, after in pairwise(levels):
        assert before.fit is not None
        assert after.fit is not None
        assert after.delta_cfi == pytest.approx(after.fit.fit["cfi_scaled"] - before.fit.fit["cfi_scaled"], abs=1e-12)
        assert after.delta_rmsea == pytest.approx(
            after.fit.fit["rmsea_scaled"] - before.fit.fit["rmsea_scaled"], abs=1e-12
        )
        assert after.delta_srmr == pytest.approx(after.fit.fit["srmr"] - before.fit.fit["srmr"], abs=1e-12)


def test_a_planted_intercept_is_the_first_suggestion() -> None:
    """One item shifted in one group: the scalar level fails and letting that item free mends it."""
    rng = np.random.default_rng(20)
    n, groups = 1500, ["a"] * 750 + ["b"] * 750
    factor = rng.standard_normal((n, 2)) @ np.linalg.cholesky([[1.0, 0.4], [0.4, 1.0]]).T
    values = np.repeat(factor, 4, axis=1) * 0.8 + 0.6 * rng.standard_normal((n, 8))
    values[750:, 5] += 0.5
    codes = [f"y{i}" for i in range(8)]
    model = "f =~ y0 + y1 + y2 + y3\ng =~ y4 + y5 + y6 + y7"
    told: list[float] = []
    result = assess_invariance(
        model,
        values,
        item_codes=codes,
        groups=groups,
        estimator="ML",
        search_partial=True,
        progress=lambda share, what: told.append(share),
    )
    assert [level.holds for level in result.levels[:3]] == [None, True, False]
    first = result.released[0]
    assert (first.level, first.item, first.holds) == ("scalar", "y5", True)
    assert first.chisq_fall > 50
    assert not any(entry.holds for entry in result.released[1:] if entry.level == "scalar")
    assert told == sorted(told)
    assert told[-1] == 1.0


def test_a_planted_ordinal_shift_is_found_too() -> None:
    """The same with five ordered categories: the intercept behind one item differs."""
    rng = np.random.default_rng(21)
    n, groups = 2000, ["a"] * 1000 + ["b"] * 1000
    factor = rng.standard_normal(n)
    latent = 0.8 * factor[:, None] + 0.6 * rng.standard_normal((n, 6))
    latent[1000:, 2] -= 0.6
    values = np.digitize(latent, [-1.2, -0.5, 0.2, 1.0]) + 1.0
    codes = [f"y{i}" for i in range(6)]
    result = assess_invariance(
        "f =~ y0 + y1 + y2 + y3 + y4 + y5",
        values,
        item_codes=codes,
        groups=groups,
        estimator="WLSMV",
        search_partial=True,
    )
    holds = {level.level: level.holds for level in result.levels}
    assert holds["thresholds"]
    assert holds["metric"]
    assert holds["scalar"] is False
    assert (result.released[0].level, result.released[0].item, result.released[0].holds) == ("scalar", "y2", True)


def test_rows_and_columns_in_another_order_change_nothing(folder: Path) -> None:
    """Shuffled respondents and items give the same indices (1e-6: the search ends elsewhere in the last digits)."""
    values, groups = read(folder / "bfi10.csv", ITEMS, "gender")
    rng = np.random.default_rng(3)
    rows, columns = rng.permutation(len(values)), rng.permutation(len(ITEMS))
    plain = assess_invariance(MODEL, values, item_codes=ITEMS, groups=groups, estimator="WLSMV")
    shuffled = assess_invariance(
        MODEL,
        values[rows][:, columns],
        item_codes=[ITEMS[i] for i in columns],
        groups=[groups[i] for i in rows],
        estimator="WLSMV",
    )
    for one, other in zip(plain.levels, shuffled.levels, strict=True):
        assert one.fit is not None
        assert other.fit is not None
        for name in ("chisq", "cfi_scaled", "srmr"):
            assert other.fit.fit[name] == pytest.approx(one.fit.fit[name], rel=1e-6)


def test_released_items_are_named_in_the_syntax_only_where_they_are_free() -> None:
    """An item let free at a level keeps what earlier levels made equal."""
    model = parse_syntax("f =~ a + b + c\ng =~ d + e + h\nf ~~ 0*g")
    text = ordinal_syntax(
        model,
        levels=("configural", "thresholds", "metric", "scalar"),
        n_thresholds=dict.fromkeys("abcdeh", 4),
        n_groups=3,
        released={"b": "scalar"},
    ).splitlines()
    assert "b ~ c(0, NA, NA)*1" in text
    assert not any(line.startswith("a ~ ") for line in text)
    assert "f ~ c(0, NA, NA)*1" in text
    assert "f =~ c(loading_f_a, loading_f_a, loading_f_a)*a + c(loading_f_b, loading_f_b, loading_f_b)*b" in text[0]
    assert "f ~~ 0*g" in text


@pytest.mark.parametrize(
    ("model", "named"),
    [
        ("f =~ A1 + A2 + A3\ng =~ E1 + E2 + E3\nh =~ f + g", "h =~ f"),
        ("f =~ A1 + A2 + A3\ng =~ E1 + E2 + E3\ng ~ f", "g ~ f"),
        ("f =~ A1 + 1*A2 + A3", "f =~ A2"),
        ("f =~ A1 + l*A2 + A3", "f =~ A2"),
    ],
)
def test_ordinal_models_beyond_first_order_factors_are_refused(folder: Path, model: str, named: str) -> None:
    """What the ordinal steps cannot set up is named with a way out."""
    values, groups = read(folder / "bfi10.csv", ITEMS, "gender")
    with pytest.raises(AnalysisInputError, match=named):
        assess_invariance(model, values, item_codes=ITEMS, groups=groups, estimator="WLSMV")


def test_one_group_is_refused(folder: Path) -> None:
    """There is nothing to compare."""
    values, groups = read(folder / "bfi10.csv", ITEMS, "gender")
    with pytest.raises(AnalysisInputError, match="two groups"):
        assess_invariance(MODEL, values, item_codes=ITEMS, groups=["1"] * len(groups))


def test_items_of_both_kinds_are_refused(folder: Path) -> None:
    """Thresholds of some items and intercepts of others have no common order of steps."""
    values, groups = read(folder / "bfi10.csv", ITEMS, "gender")
    with pytest.raises(AnalysisInputError, match="one kind"):
        assess_invariance(MODEL, values, item_codes=ITEMS, groups=groups, estimator="WLSMV", ordered=["A1", "A2"])


def test_a_category_absent_in_one_group_is_named(folder: Path) -> None:
    """Equal thresholds need the same categories in both groups: the message names item, group and remedy."""
    values, groups = read(folder / "bfi10.csv", ITEMS, "gender")
    changed = values.copy()
    changed[(np.array(groups) == "1") & (changed[:, 0] == 6), 0] = 5
    with pytest.raises(AnalysisInputError, match=r"A1.*Remedy"):
        assess_invariance(MODEL, changed, item_codes=ITEMS, groups=groups, estimator="WLSMV")


def test_the_command_prints_an_entry_for_each_level(
    folder: Path, lavaan: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    """`invariance --json`: level names as keys, indices beside changes and tests."""
    arguments = ["invariance", str(folder / "bfi10.csv"), "--model", MODEL, "--group", "gender", "--estimator", "WLSMV"]
    assert main([*arguments, "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["levels"] == ["configural", "thresholds", "metric", "scalar", "strict"]
    expected = lavaan["bfi_wlsmv"]
    for name in printed["levels"]:
        assert printed[name]["cfi_scaled"] == pytest.approx(expected["levels"][name]["cfi.scaled"], abs=1e-4)
    assert printed["scalar"]["chisq_diff"] == pytest.approx(expected["tests"][2]["chisq_diff"], rel=5e-3)
    assert (printed["converged"], printed["admissible"], printed["n_used"]) == (True, True, 2637)
    assert main(arguments) == 0
    assert "scalar" in capsys.readouterr().out
