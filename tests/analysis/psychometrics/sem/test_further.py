"""Modification indices, difference tests, factor scores, residuals against lavaan (reference/sem/make_further.R)."""

import json
import math
from typing import Any

import numpy as np
import pytest

from analysis.psychometrics.errors import AnalysisInputError
from analysis.psychometrics.sem import (
    ModelFit,
    compare_models,
    factor_scores,
    modification_indices,
    residual_correlations,
)
from tests.analysis.psychometrics.sem.lavaan_cases import REFERENCE, cases, fitted, refitted, table

FURTHER: dict[str, Any] = json.loads((REFERENCE / "sem" / "further.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", list(FURTHER["modification_indices"]))
def test_modification_indices_agree_with_lavaan(name: str) -> None:
    """The twelve largest, with expected changes and their standardised forms, within 1e-4 of their size."""
    ours = {(entry.lhs, entry.op, entry.rhs, entry.group): entry for entry in modification_indices(fitted(name))}
    for lhs, op, rhs, group, mi, epc, sepc_lv, sepc_all in FURTHER["modification_indices"][name]:
        entry = ours.get((lhs, op, rhs, group)) or ours[(rhs, op, lhs, group)]
        assert entry.mi == pytest.approx(mi, rel=1e-4)
        assert (entry.epc, entry.sepc_lv, entry.sepc_all) == pytest.approx((epc, sepc_lv, sepc_all), abs=1e-4)


def test_modification_index_foretells_what_freeing_gives() -> None:
    """Freeing the parameter with the largest index lowers χ² about as much as it said (score and ratio test differ)."""
    best = modification_indices(fitted("hs_ml"))[0]
    freed = refitted("hs_ml", model=f"{cases()['hs_ml']['model']}\n{best.lhs} {best.op} {best.rhs}")
    assert fitted("hs_ml").fit["chisq"] - freed.fit["chisq"] == pytest.approx(best.mi, rel=0.15)
    assert freed.parameter(best.lhs, best.op, best.rhs).est == pytest.approx(best.epc, rel=0.35)
    assert all(entry.mi >= 10 for entry in modification_indices(fitted("hs_ml"), minimum=10))


def _compared(name: str) -> tuple[ModelFit, ModelFit, str | None]:
    """The two models behind a comparison of make_further.R, and its method when it is not the default."""
    pairs: dict[str, tuple[ModelFit, ModelFit, str | None]] = {
        "hs_ml_orthogonal": (fitted("hs_ml"), refitted("hs_ml", orthogonal=True), None),
        "hs_groups_metric": (fitted("hs_groups_metric"), fitted("hs_groups"), None),
        "hs_mlr_2001": (fitted("hs_mlr"), refitted("hs_mlr", orthogonal=True), None),
        "hs_mlr_2010": (fitted("hs_mlr"), refitted("hs_mlr", orthogonal=True), "satorra.bentler.2010"),
        "hs_groups_mlr_2001": (refitted("hs_groups_mlr", group_equal=["loadings"]), fitted("hs_groups_mlr"), None),
        "clinic_fiml_mlr_2001": (fitted("clinic_fiml_mlr"), refitted("clinic_fiml_mlr", orthogonal=True), None),
        "bfi_wlsmv_pairwise": (
            fitted("bfi_wlsmv_pairwise"),
            refitted("bfi_wlsmv_pairwise", orthogonal=True),
            None,
        ),
        "bfi_wlsmv_groups": (fitted("bfi_wlsmv_groups"), fitted("bfi_wlsmv_groups_equal"), None),
        "clinic_wlsmv_bifactor": (fitted("clinic_wlsmv"), fitted("clinic_wlsmv_bifactor"), None),
    }
    return pairs[name]


@pytest.mark.parametrize("name", list(FURTHER["comparisons"]))
def test_difference_tests_agree_with_lavaan(name: str) -> None:
    """Scaled or not, in either order of the models: χ² within 1e-5 of its size (lavaan's scaling has that noise)."""
    first, second, method = _compared(name)
    result, reference = compare_models(first, second, method=method), FURTHER["comparisons"][name]  # type: ignore[arg-type]
    assert result.df_diff == reference["df_diff"]
    assert result.chisq_diff == pytest.approx(reference["chisq_diff"], rel=1e-5)
    assert result.pvalue == pytest.approx(reference["pvalue"], rel=1e-3, abs=1e-12)


def test_comparison_reports_changes_of_indices() -> None:
    """Δ is restricted minus free, for plain, scaled and robust indices."""
    free, restricted = fitted("hs_mlr"), refitted("hs_mlr", orthogonal=True)
    changes = compare_models(free, restricted).changes
    assert changes["cfi_robust"] == pytest.approx(restricted.fit["cfi_robust"] - free.fit["cfi_robust"])
    assert changes["cfi"] < 0 < changes["rmsea"]


def test_models_of_the_same_size_have_no_test() -> None:
    """NaN with a note, not a division by zero."""
    result = compare_models(fitted("hs_ml"), fitted("hs_second_order"))
    assert math.isnan(result.pvalue)
    assert any("same degrees of freedom" in note for note in result.notes)


@pytest.mark.parametrize(
    ("first", "second", "method", "words"),
    [
        ("hs_ml", "hs_mlr", None, "one estimator"),
        ("hs_ml", "political_sem", None, "same variables and respondents"),
        ("hs_ml", "hs_means", "satorra.2000", "requires method standard"),
    ],
)
def test_incomparable_models_are_refused(first: str, second: str, method: Any, words: str) -> None:
    """The message says what differs."""
    with pytest.raises(AnalysisInputError, match=words):
        compare_models(fitted(first), fitted(second), method=method)


@pytest.mark.parametrize("name", list(FURTHER["scores"]))
def test_factor_scores_agree_with_lavaan(name: str) -> None:
    """Regression and Bartlett scores and posterior modes within 1e-4 (lavaan's modes come from a general optimiser)."""
    case_name, method = name.rsplit("_", 1)
    case, fit = cases()[case_name], fitted(case_name)
    codes, values, texts = table(case["data"])
    groups = texts[case["group"]] if "group" in case else None
    result = factor_scores(fit, values, item_codes=codes, method=method, groups=groups)  # type: ignore[arg-type]
    scores = result.scores
    if groups is not None:
        scores = scores[np.array(groups) == groups[0]]
    elif case.get("missing") != "fiml":
        items = [codes.index(code) for code in fit.sample.item_codes]
        scores = scores[~np.isnan(values[:, items]).any(axis=1)]  # lavaan deleted these
    expected = np.array(FURTHER["scores"][name])
    assert scores[: len(expected)] == pytest.approx(expected, abs=1e-4)


def test_scores_need_what_the_model_needs() -> None:
    """Missing columns, groups and unfitting methods are refused; rows without answers are NaN and counted."""
    codes, values, texts = table("hs")
    grouped = fitted("hs_groups_scalar")
    with pytest.raises(AnalysisInputError, match="not found: x2"):
        factor_scores(grouped, values[:, [codes.index("x1")]], item_codes=["x1"])
    with pytest.raises(AnalysisInputError, match="requires the group"):
        factor_scores(grouped, values, item_codes=codes)
    with pytest.raises(AnalysisInputError, match="requires method regression"):
        factor_scores(fitted("hs_ml"), values, item_codes=codes, method="ebm")
    holes = values.copy()
    holes[0, codes.index("x1")] = np.nan
    result = factor_scores(grouped, holes, item_codes=codes, groups=texts["school"])
    assert np.isnan(result.scores[0]).all()
    assert result.notes == ("1 of 301 rows have no score",)


@pytest.mark.parametrize("name", list(FURTHER["residuals"]))
def test_residual_correlations_agree_with_lavaan(name: str) -> None:
    """Within 1e-5; symmetric with a zero diagonal."""
    matrix = residual_correlations(fitted(name))[0]
    expected = np.array(FURTHER["residuals"][name])
    off = ~np.eye(len(matrix), dtype=bool)
    assert matrix[off] == pytest.approx(expected[off], abs=1e-5)
    assert np.diag(matrix) == pytest.approx(0, abs=1e-12)
