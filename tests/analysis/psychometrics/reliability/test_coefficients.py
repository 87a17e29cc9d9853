"""Omega, Spearman–Brown and the standard error of measurement."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from analysis.psychometrics.errors import AnalysisInputError
from analysis.psychometrics.reliability.coefficients import (
    OneFactorExtraction,
    composite_omega,
    omega_total,
    spearman_brown,
    standard_error_of_measurement,
)

FloatArray = npt.NDArray[np.float64]
SCALES = {"visual": slice(0, 3), "textual": slice(3, 6), "speed": slice(6, 9)}


def congeneric(loadings: FloatArray, residuals: FloatArray) -> FloatArray:
    """The covariance matrix of a one-factor model."""
    return np.outer(loadings, loadings) + np.diag(residuals)


@pytest.mark.parametrize("scale", list(SCALES))
@pytest.mark.parametrize("extraction", ["ml", "minres"])
def test_omega_of_standardised_items_matches_psych(
    hs1939: FloatArray, r_figures: dict[str, Any], scale: str, extraction: OneFactorExtraction
) -> None:
    """psych's omega.tot with one factor; 1e-6, since psych stops its search about that early."""
    correlation = np.corrcoef(hs1939[:, SCALES[scale]], rowvar=False)
    result = omega_total(correlation, extraction=extraction)
    assert result.omega == pytest.approx(r_figures["omega_per_factor_nf1"][scale]["omega_total"], abs=1e-6)
    assert result.converged
    assert result.admissible
    assert result.notes == ()
    assert result.extraction == extraction


@pytest.mark.parametrize("scale", ["agree", "conscientious", "extraverted", "neurotic", "open"])
def test_five_items_match_psych_and_semtools_by_their_denominators(
    classical_columns: Callable[..., FloatArray], classical_figures: Callable[[str], Any], scale: str
) -> None:
    """Where one factor does not fit exactly, the programs differ by what they divide by; each matched to 1e-5."""
    alpha, figures = classical_figures("alpha"), classical_figures("omega")
    items = alpha["scales"][scale]
    rows = classical_columns("bfi", *items)
    turned = [item in alpha["reversed"] for item in items]
    rows[:, turned] = 7 - rows[:, turned]
    rows = rows[~np.isnan(rows).any(axis=1)]
    standardised = omega_total(np.corrcoef(rows, rowvar=False), extraction="minres")
    assert standardised.omega_from_residuals == pytest.approx(figures["bfi"][scale]["omega_total"], abs=1e-5)
    raw = omega_total(np.cov(rows, rowvar=False), extraction="ml")
    observed, implied = figures["one_factor_ml"][scale]
    assert raw.omega_observed == pytest.approx(observed, abs=1e-5)
    assert raw.omega == pytest.approx(implied, abs=1e-5)


def test_three_items_have_the_closed_form(hs1939: FloatArray) -> None:
    """λ₁² = c₁₂·c₁₃/c₂₃ for three items, in the items' own units; the search must find it (1e-6)."""
    covariance = np.cov(hs1939[:, 3:6], rowvar=False)
    c12, c13, c23 = covariance[0, 1], covariance[0, 2], covariance[1, 2]
    exact = np.sqrt([c12 * c13 / c23, c12 * c23 / c13, c13 * c23 / c12])
    result = omega_total(covariance)
    np.testing.assert_allclose(result.loadings, exact, atol=1e-6)
    np.testing.assert_allclose(result.uniquenesses, np.diag(covariance) - exact**2, atol=1e-6)
    assert result.omega == pytest.approx(exact.sum() ** 2 / covariance.sum(), abs=1e-6)


@pytest.mark.parametrize("extraction", ["ml", "minres"])
def test_a_planted_model_is_recovered(extraction: OneFactorExtraction) -> None:
    """From the exact covariances of a model come back its loadings and its omega (1e-6)."""
    loadings, residuals = np.array([2.0, 1.0, 0.5, 1.5, 0.8]), np.array([1.0, 1.5, 0.3, 2.0, 0.9])
    result = omega_total(congeneric(loadings, residuals), extraction=extraction)
    np.testing.assert_allclose(result.loadings, loadings, atol=1e-6)
    assert result.omega == pytest.approx(loadings.sum() ** 2 / (loadings.sum() ** 2 + residuals.sum()), abs=1e-7)


def test_equal_items_make_omega_equal_alpha() -> None:
    """With equal loadings and residuals omega, alpha and Spearman–Brown are one number (1e-7: the search's stop)."""
    matrix = congeneric(np.full(4, 0.7), np.full(4, 0.51))
    alpha = 4 / 3 * (1 - np.trace(matrix) / matrix.sum())
    assert omega_total(matrix).omega == pytest.approx(alpha, abs=1e-7)
    assert spearman_brown(0.49, n_items=4) == pytest.approx(alpha, abs=1e-12)


def test_omega_is_above_alpha_when_loadings_differ() -> None:
    """Alpha is a lower bound for congeneric items (Lord & Novick 1968)."""
    matrix = congeneric(np.array([0.9, 0.8, 0.4, 0.3]), np.array([0.19, 0.36, 0.84, 0.91]))
    alpha = 4 / 3 * (1 - np.trace(matrix) / matrix.sum())
    assert omega_total(matrix).omega > alpha + 0.02


def test_ml_omega_follows_the_units_of_the_sum(hs1939: FloatArray) -> None:
    """All items times ten leaves omega; one item times ten changes it (the sum is another score)."""
    covariance = np.cov(hs1939[:, :3], rowvar=False)
    scale = np.diag([10.0, 1.0, 1.0])
    assert omega_total(100 * covariance).omega == pytest.approx(omega_total(covariance).omega, abs=1e-7)
    assert abs(omega_total(scale @ covariance @ scale).omega - omega_total(covariance).omega) > 0.05


def test_composite_omega_from_lavaans_estimates_matches_semtools(hs1939: FloatArray, r_figures: dict[str, Any]) -> None:
    """compRelSEM from lavaan's loadings and the observed variance of the sum; 1e-6. lavaan divides by n."""
    estimates = {(p["lhs"], p["op"], p["rhs"]): p["est"] for p in r_figures["cfa_ml_parameters"]}
    for factor, columns in SCALES.items():
        items = [f"x{i + 1}" for i in range(columns.start, columns.stop)]
        spread = np.sqrt(estimates[factor, "~~", factor])
        loadings = [estimates[factor, "=~", item] * spread for item in items]
        residuals = [estimates[item, "~~", item] for item in items]
        observed = float(np.cov(hs1939[:, columns], rowvar=False, ddof=0).sum())
        omega = composite_omega(loadings, residuals, total_variance=observed)
        assert omega == pytest.approx(r_figures["compRelSEM"][factor], abs=1e-6)


def test_two_items_have_no_omega_and_say_what_to_use() -> None:
    """NaN with a note, not a number that the data cannot support."""
    result = omega_total(np.array([[1.0, 0.5], [0.5, 1.0]]))
    assert np.isnan([result.omega, result.omega_observed, result.omega_from_residuals]).all()
    assert np.isnan(result.loadings).all()
    assert not result.admissible
    assert "Spearman–Brown" in result.notes[0]


def test_a_heywood_case_is_reported() -> None:
    """Correlations that ask for a loading above one leave an inadmissible solution with the item's name."""
    matrix = np.array([[1.0, 0.9, 0.9], [0.9, 1.0, 0.3], [0.9, 0.3, 1.0]])
    # Not possible as a correlation matrix of a one-factor model: λ₁² = .9·.9/.3 = 2.7.
    result = omega_total(matrix, item_codes=["a", "b", "c"])
    assert not result.admissible
    assert any("Heywood" in note and "a" in note for note in result.notes)


def test_a_wrongly_keyed_item_is_named() -> None:
    """The planted defect: one negative loading, one note, and omega as low as the sum deserves: 1.7²/(1.7² + 1.87)."""
    loadings = np.array([0.8, 0.8, -0.6, 0.7])
    result = omega_total(congeneric(loadings, 1 - loadings**2), item_codes=["a", "b", "c", "d"])
    assert "negative loading, check the keying of c" in result.notes
    assert result.omega == pytest.approx(1.7**2 / (1.7**2 + 1.87), abs=1e-7)


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (np.ones((2, 3)), r"got shape \(2, 3\)"),
        (np.array([[1.0, 0.2, 0.1], [0.9, 1.0, 0.1], [0.1, 0.1, 1.0]]), "unequal entries"),
        (np.array([[1.0, np.nan], [np.nan, 1.0]]), "finite numbers"),
        (np.diag([1.0, 0.0, 1.0]), "without variance: item 2"),
        (1.5 * np.eye(3) - 0.5, "cancel one another"),
    ],
)
def test_what_is_no_covariance_matrix_is_refused(matrix: FloatArray, message: str) -> None:
    """Shape, symmetry, gaps and constant items each have a message."""
    with pytest.raises(AnalysisInputError, match=message):
        omega_total(matrix)


def test_an_unknown_extraction_is_refused() -> None:
    """Only ml and minres exist."""
    with pytest.raises(AnalysisInputError, match="got 'pca'"):
        omega_total(np.eye(3) + 0.2, extraction="pca")  # type: ignore[arg-type]


def test_spearman_brown_known_values() -> None:
    """r = .5 doubles to 2/3; perfect stays; none stays none; the plan's table: ICC .10, 21 patients → .70."""
    assert spearman_brown(0.5) == pytest.approx(2 / 3, abs=1e-15)
    assert spearman_brown(1.0) == 1.0
    assert spearman_brown(0.0) == 0.0
    assert spearman_brown(0.10, n_items=21) == pytest.approx(0.70, abs=5e-4)
    assert np.isnan(spearman_brown(-1.0))
    assert spearman_brown(-0.2) < 0
    with pytest.raises(AnalysisInputError, match="within -1 to 1"):
        spearman_brown(1.2)
    assert np.isnan(spearman_brown(float("nan")))


def test_spearman_brown_of_two_items_is_standardised_alpha(hs1939: FloatArray) -> None:
    """For two items it equals alpha of their correlation matrix."""
    r = float(np.corrcoef(hs1939[:, 0], hs1939[:, 2])[0, 1])
    assert spearman_brown(r) == pytest.approx(2 * (1 - 2 / (2 + 2 * r)), abs=1e-12)


def test_standard_error_of_measurement_known_values() -> None:
    """SD 20 with .70 is 10.954 (the plan's example: 11); no reliability leaves the SD; NaN stays NaN."""
    assert standard_error_of_measurement(20, 0.70) == pytest.approx(np.sqrt(120), abs=1e-12)
    assert standard_error_of_measurement(20, 1.0) == 0.0
    assert standard_error_of_measurement(20, -0.4) == 20.0
    assert np.isnan(standard_error_of_measurement(20, float("nan")))
    assert np.isnan(standard_error_of_measurement(float("nan"), 0.7))
    with pytest.raises(AnalysisInputError, match=r"at most 1; got 0\.7 and 20"):
        standard_error_of_measurement(0.7, 20)
