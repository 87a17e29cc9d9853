"""The commands `correlations` and `retention`: keys for programs, tables for people, complaints in one line."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis.psychometrics.command_line.main import main

REFERENCE = Path(__file__).parents[3] / "reference" / "correlations"
FIGURES: dict[str, Any] = json.loads((REFERENCE / "correlations.json").read_text())
ORDINAL = "five1,five2,three,two1,two2,seven"


def answer(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    """Run a command with --json and return what it printed."""
    assert main([*arguments, "--json"]) == 0
    answered: dict[str, Any] = json.loads(capsys.readouterr().out)
    return answered


@pytest.mark.parametrize("missing", ["listwise", "pairwise"])
def test_polychoric_correlations_with_thresholds_are_lavaans(capsys: pytest.CaptureFixture[str], missing: str) -> None:
    """Matrix, thresholds and standard errors of items with two to seven categories."""
    figures = FIGURES[f"skewed_{missing}"]
    data = str(REFERENCE / "skewed.csv")
    result = answer(capsys, "correlations", data, "--items", ORDINAL, "--kind", "polychoric", "--missing", missing)
    # lavaan's optimiser stops within about 1e-7 of the maximum.
    np.testing.assert_allclose(result["matrix"], figures["correlation"], atol=1e-6)
    thresholds = [value for item in ORDINAL.split(",") for value in result["thresholds"][item]]
    np.testing.assert_allclose(thresholds, figures["moments"][: len(thresholds)], atol=1e-6)
    se = np.array(result["se"])[np.triu_indices(6, k=1)]
    expected = np.sqrt(np.array(figures["gamma_diagonal"])[len(thresholds) :] / figures["n"])
    np.testing.assert_allclose(se, expected, rtol=1e-4)
    assert result["categories"]["three"] == [5, 6, 7]
    assert result["n_used"] == np.min(result["n_pairs"])
    assert any("empty cells" in note for note in result["notes"])


def test_measured_columns_have_polyserial_and_pearson_correlations(capsys: pytest.CaptureFixture[str]) -> None:
    """--continuous turns pairs with those columns into lavaan's polyserial and Pearson correlations."""
    figures = FIGURES["skewed_mixed_listwise"]
    items = ",".join(figures["items"])
    data = str(REFERENCE / "skewed.csv")
    options = ["--items", items, "--kind", "polychoric", "--continuous", "height,weight"]
    result = answer(capsys, "correlations", data, *options)
    np.testing.assert_allclose(result["matrix"], figures["correlation"], atol=1e-6)
    assert set(result["thresholds"]) == set(ORDINAL.split(","))
    place = figures["items"].index("height")
    r = result["matrix"][place][place + 1]
    # The asymptotic standard error of a correlation of normal variables is (1 − r²)/√n; 10 % for real data's kurtosis.
    assert result["se"][place][place + 1] == pytest.approx((1 - r**2) / np.sqrt(result["n_used"]), rel=0.1)


def test_pearson_correlations_and_their_undefined_ones(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Pearson is numpy's; a constant column has null and a note, and no thresholds."""
    path = tmp_path / "data.csv"
    path.write_text("a,b,c\n1,2,3\n2,1,3\n3,5,3\n4,4,3\n")
    result = answer(capsys, "correlations", str(path))
    assert result["matrix"][0][1] == pytest.approx(np.corrcoef([1, 2, 3, 4], [2, 1, 5, 4])[0, 1])
    assert result["matrix"][0][2] is None
    assert result["thresholds"] == {}
    assert "no variance, so no correlation: c" in result["notes"]
    assert main(["correlations", str(path)]) == 0
    printed = capsys.readouterr().out
    assert "Pearson correlations (4 rows used, 0 left out)" in printed
    assert "no variance" in printed


def test_a_constant_item_has_no_polychoric_correlation_but_the_others_do(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """One category gives null with a note and no standard errors; text shows thresholds of the others."""
    path = tmp_path / "data.csv"
    path.write_text("a,b,c\n" + "1,1,3\n2,2,3\n1,2,3\n2,1,3\n1,1,3\n2,2,3\n" * 3)
    result = answer(capsys, "correlations", str(path), "--kind", "polychoric")
    assert result["matrix"][0][1] is not None
    assert result["matrix"][2] == [None, None, None]
    assert result["se"] is None
    assert result["thresholds"]["c"] == []
    assert "fewer than two categories, so no polychoric correlation: c" in result["notes"]
    assert main(["correlations", str(path), "--kind", "polychoric"]) == 0
    assert "Thresholds" in capsys.readouterr().out


def test_retention_counts_as_psych_does(capsys: pytest.CaptureFixture[str]) -> None:
    """Five components, factors and partial components on bfi; map begins with one component."""
    figures = FIGURES["retention"]
    names = ",".join(FIGURES["bfi_pairwise"]["items"])
    data = str(REFERENCE / "bfi.csv")
    options = ["--items", names, "--draws", "100", "--seed", "3", "--missing", "pairwise"]
    result = answer(capsys, "retention", data, *options)
    assert result["n_factors_parallel"] == result["n_factors_parallel_common"] == result["n_factors_map"] == 5
    np.testing.assert_allclose(result["eigenvalues"], figures["eigenvalues"], atol=1e-9)
    np.testing.assert_allclose(result["map"], np.array(figures["map"][:24], dtype=float), atol=1e-6)
    # SD of a quantile of 100 draws is about .01.
    np.testing.assert_allclose(result["eigenvalues_reference"], figures["parallel"]["component_p95"], atol=0.05)
    again = answer(capsys, "retention", data, *options)
    assert again == result
    assert main(["retention", data, *options]) == 0
    printed = capsys.readouterr().out
    assert "parallel analysis, components above the 95th percentile" in printed


def test_retention_on_polychoric_correlations(capsys: pytest.CaptureFixture[str]) -> None:
    """Polychoric eigenvalues are compared with those of permuted answers."""
    data = str(REFERENCE / "skewed.csv")
    result = answer(capsys, "retention", data, "--items", ORDINAL, "--kind", "polychoric", "--draws", "25")
    assert (result["random_data"], result["n_draws"]) == ("permuted", 25)
    assert result["n_factors_parallel"] >= 1


@pytest.mark.parametrize("command", [["correlations"], ["correlations", "--kind", "polychoric"], ["retention"]])
def test_a_column_nobody_answered_is_named(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, command: list[str]
) -> None:
    """An empty column leaves no complete row: the message says which."""
    path = tmp_path / "data.csv"
    path.write_text("a,b,c\n" + "1,2,\n2,2,\n3,1,\n" * 5)
    assert main([command[0], str(path), *command[1:]]) == 2
    assert "leave out what nobody answered (c)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["correlations", "--items", "five1,five2", "--continuous", "weight"], "--continuous names 'weight'"),
        (["correlations", "--continuous", "weight"], "--continuous goes with --kind polychoric"),
        (["correlations", "--kind", "polychoric"], "weight has"),
        (["retention", "--items", "two1,two2"], "at least 3 items; got 2"),
    ],
)
def test_complaints_are_one_line(capsys: pytest.CaptureFixture[str], options: list[str], complaint: str) -> None:
    """Options that do not go together, measurements among ratings and too few items: one line and status 2."""
    assert main([options[0], str(REFERENCE / "skewed.csv"), *options[1:]]) == 2
    error = capsys.readouterr().err
    assert complaint in error
    assert "Remedy: " in error
    assert error.count("\n") == 1
