"""Exploratory factor analysis, KMO and Bartlett: psych's figures, twins, invariances, refusals."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy.stats import ncx2

from analysis.psychometrics.errors import AnalysisInputError
from analysis.psychometrics.exploratory.factor_analysis import (
    bartlett_sphericity,
    explore_factors,
    extract_factors,
    factor_correlations,
    kaiser_meyer_olkin,
)
from analysis.psychometrics.exploratory.rotation import Rotation, promax, sign_and_sort

FloatArray = npt.NDArray[np.float64]
Read = Callable[..., FloatArray]
Figures = Callable[[str], Any]
SETS = ["bfi", "ability", "sat_act", "ceiling"]
RUNS = [(fm, rotation) for fm in ("minres", "ml") for rotation in ("oblimin", "promax", "varimax", "none")]


def complete(read: Read, name: str) -> FloatArray:
    """Complete rows of a data set; the reversed item of the simulated one turned round."""
    data = read(name)
    if name == "ceiling":
        data = data[:, 1:]
        data[:, 4] = 6 - data[:, 4]
    kept: FloatArray = data[~np.isnan(data).any(axis=1)]
    return kept


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize(("extraction", "rotation"), RUNS)
def test_loadings_and_fit_match_psych(
    classical_columns: Read, classical_figures: Figures, name: str, extraction: Any, rotation: Rotation
) -> None:
    """Order, signs and values of `psych::fa` on four data sets; psych stops its search about 5e-5 from the optimum."""
    figures = classical_figures("factors")[name]["runs"][f"{extraction}_{rotation}"]
    result = explore_factors(
        complete(classical_columns, name), n_factors=figures["n_factors"], extraction=extraction, rotation=rotation
    )
    for ours, key in ((result.loadings, "loadings"), (result.phi, "phi"), (result.structure, "structure")):
        np.testing.assert_allclose(ours, np.array(figures[key]), atol=1e-4)
    np.testing.assert_allclose(result.communalities, figures["communality"], atol=1e-4)
    np.testing.assert_allclose(result.complexity, figures["complexity"], atol=1e-3)
    np.testing.assert_allclose([result.variance, result.variance_share], figures["vaccounted"], atol=1e-4)
    np.testing.assert_allclose(result.eigenvalues, figures["values"], atol=1e-9)
    # psych's minimum is a little above ours, which shows in chi-square as up to .001.
    assert result.chisq == pytest.approx(figures["chisq"], abs=2e-3)
    assert result.bic == pytest.approx(figures["bic"], abs=2e-3)
    assert result.df == figures["df"]
    assert result.pvalue == pytest.approx(figures["pvalue"], abs=1e-5)
    assert result.chisq_null == pytest.approx(figures["null_chisq"], abs=1e-8)
    assert result.rmsr == pytest.approx(figures["rms"], abs=1e-7)
    assert result.rmsr_corrected == pytest.approx(figures["crms"], abs=1e-7)
    np.testing.assert_allclose(
        [result.rmsea, result.rmsea_ci_lower, result.rmsea_ci_upper], figures["rmsea"][:3], atol=1e-5
    )
    assert result.tli == pytest.approx(figures["tli"], abs=1e-5)
    assert (result.converged, result.admissible) == (True, True)


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("extraction", ["minres", "ml"])
def test_promax_of_stats_matches_psychs_capital_letter(
    classical_columns: Read, classical_figures: Figures, name: str, extraction: Any
) -> None:
    """`psych::fa(rotate = "Promax")` is promax without normalising rows."""
    figures = classical_figures("factors")[name]["runs"][f"{extraction}_Promax"]
    correlation = np.corrcoef(complete(classical_columns, name), rowvar=False)
    extracted = extract_factors(correlation, n_factors=figures["n_factors"], extraction=extraction)
    rotated = promax(extracted.loadings, normalize=False)
    loadings, phi = sign_and_sort(rotated.loadings, rotated.phi)
    np.testing.assert_allclose(loadings, np.array(figures["loadings"]), atol=1e-4)
    np.testing.assert_allclose(phi, np.array(figures["phi"]), atol=1e-4)


@pytest.mark.parametrize("name", SETS)
def test_kmo_and_bartlett_match_psych(classical_columns: Read, classical_figures: Figures, name: str) -> None:
    """Nothing but formulas: 1e-9."""
    figures = classical_figures("factors")[name]
    rows = complete(classical_columns, name)
    correlation = np.corrcoef(rows, rowvar=False)
    adequacy = kaiser_meyer_olkin(correlation)
    assert adequacy.overall == pytest.approx(figures["kmo"], abs=1e-9)
    np.testing.assert_allclose(adequacy.per_item, figures["kmo_items"], atol=1e-9)
    sphericity = bartlett_sphericity(correlation, n_used=len(rows))
    assert sphericity.chisq == pytest.approx(figures["bartlett"]["chisq"], abs=1e-8)
    assert sphericity.df == figures["bartlett"]["df"]
    assert sphericity.pvalue == pytest.approx(figures["bartlett"]["pvalue"], abs=1e-12)


def test_partial_correlations_of_kmo_equal_their_twin(classical_columns: Read) -> None:
    """q is the correlation of the residuals of two items regressed on all others."""
    rows = complete(classical_columns, "ceiling")[:, :5]
    correlation = np.corrcoef(rows, rowvar=False)
    shared = unique = 0.0
    for i in range(5):
        for j in range(5):
            if i != j:
                others = np.column_stack([np.ones(len(rows)), np.delete(rows, [i, j], axis=1)])
                left = rows[:, i] - others @ np.linalg.lstsq(others, rows[:, i], rcond=None)[0]
                right = rows[:, j] - others @ np.linalg.lstsq(others, rows[:, j], rcond=None)[0]
                shared += correlation[i, j] ** 2
                unique += np.corrcoef(left, right)[0, 1] ** 2
    assert kaiser_meyer_olkin(correlation).overall == pytest.approx(shared / (shared + unique), abs=1e-10)


@pytest.mark.parametrize("extraction", ["minres", "ml"])
def test_a_planted_model_is_recovered(extraction: Any) -> None:
    """From the exact correlations of three correlated factors come back loadings, phi and a perfect fit (1e-4)."""
    pattern = np.kron(np.eye(3), np.array([[0.8], [0.7], [0.6], [0.5]])) * np.repeat([1, 0.9, 0.8], 4)[:, None]
    phi = np.array([[1, 0.4, 0.3], [0.4, 1, 0.2], [0.3, 0.2, 1]])
    correlation = pattern @ phi @ pattern.T
    np.fill_diagonal(correlation, 1)
    result = factor_correlations(correlation, n_used=400, n_factors=3, extraction=extraction)
    np.testing.assert_allclose(result.loadings, pattern, atol=1e-4)
    np.testing.assert_allclose(result.phi, phi, atol=1e-4)
    np.testing.assert_allclose(result.residuals, 0, atol=1e-6)
    assert result.chisq == pytest.approx(0, abs=1e-6)
    assert (result.rmsea, result.rmsea_ci_lower, result.rmsea_ci_upper) == (0, 0, 0)
    assert result.display_order.tolist() == list(range(12))


def test_the_interval_of_rmsea_inverts_the_noncentral_chi_square(classical_columns: Read) -> None:
    """At either limit the observed chi-square is the 95th or 5th percentile (scipy's ncx2 as a second opinion)."""
    result = explore_factors(complete(classical_columns, "bfi"), n_factors=5)
    for limit, tail in ((result.rmsea_ci_lower, 0.95), (result.rmsea_ci_upper, 0.05)):
        noncentrality = limit**2 * result.df * (result.n_used - 1)
        assert ncx2.cdf(result.chisq, result.df, noncentrality) == pytest.approx(tail, abs=1e-6)


def test_the_solution_follows_items_units_and_rows(classical_columns: Read) -> None:
    """Other units and another order of rows leave it; items in another order or reversed go along."""
    rows = complete(classical_columns, "ceiling")
    rng = np.random.default_rng(2)
    result = explore_factors(rows, n_factors=3)
    order = rng.permutation(12)
    moved = explore_factors((rows[rng.permutation(len(rows))] * 3 - 1)[:, order], n_factors=3)
    # 2e-4: the rotation stops at another point of its tolerance.
    np.testing.assert_allclose(moved.loadings, result.loadings[order], atol=2e-4)
    np.testing.assert_allclose(moved.communalities, result.communalities[order], atol=1e-5)
    reversed_first = rows.copy()
    reversed_first[:, 0] *= -1
    turned = explore_factors(reversed_first, n_factors=3)
    np.testing.assert_allclose(turned.loadings[1:], result.loadings[1:], atol=2e-4)
    np.testing.assert_allclose(turned.loadings[0], -result.loadings[0], atol=2e-4)


def test_a_heywood_case_is_reported_not_hidden() -> None:
    """Three correlations that no one-factor model can produce: 0.9·0.9/0.3 is above one."""
    correlation = np.array([[1.0, 0.9, 0.9], [0.9, 1.0, 0.65], [0.9, 0.65, 1.0]])
    result = factor_correlations(correlation, n_used=100, n_factors=1, item_codes=["a", "b", "c"])
    assert not result.admissible
    assert any("Heywood case" in note and " a;" in note for note in result.notes)
    assert any("no degrees of freedom" in note for note in result.notes)
    assert np.isnan([result.pvalue, result.rmsea, result.tli]).all()


def test_a_matrix_that_is_not_positive_definite_is_smoothed_and_said() -> None:
    """Pairwise or polychoric correlations can contradict each other."""
    correlation = np.array(
        [[1, 0.9, 0.1, 0.5], [0.9, 1, 0.8, 0.5], [0.1, 0.8, 1, 0.5], [0.5, 0.5, 0.5, 1.0]], dtype=np.float64
    )
    assert np.linalg.eigvalsh(correlation)[0] < 0
    result = factor_correlations(correlation, n_used=200, n_factors=1, kind="polychoric")
    assert any("smoothed" in note for note in result.notes)
    assert any("polychoric" in note for note in result.notes)


def test_missing_answers_are_dropped_or_used_pairwise(classical_columns: Read) -> None:
    """Counts after deletion, and a note for pairwise."""
    data = classical_columns("bfi")
    listwise = explore_factors(data, n_factors=5)
    pairwise = explore_factors(data, n_factors=5, missing="pairwise")
    assert (listwise.n_used, listwise.n_dropped) == (822, 112)
    assert 822 < pairwise.n_used < 934
    assert "pairwise-complete" in pairwise.notes[0]
    np.testing.assert_allclose(listwise.loadings, pairwise.loadings, atol=0.1)


def test_more_starts_need_an_rng_and_do_not_harm(classical_columns: Read) -> None:
    """Where there is one minimum, random starts find the same."""
    rows = complete(classical_columns, "ceiling")
    one = explore_factors(rows, n_factors=3)
    many = explore_factors(rows, n_factors=3, n_starts=5, rng=np.random.default_rng(1))
    np.testing.assert_allclose(many.loadings, one.loadings, atol=1e-3)
    with pytest.raises(AnalysisInputError, match="requires rng"):
        explore_factors(rows, n_factors=3, n_starts=5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: explore_factors(x, n_factors=4), "1 to 3 factors for 6 items"),
        (lambda x: explore_factors(x, n_factors=1, extraction="pca"), "got 'pca'"),
        (lambda x: explore_factors(x, n_factors=1, rotation="quartimax"), "got 'quartimax'"),
        (
            lambda x: explore_factors(np.column_stack([x, x[:, 0]]), n_factors=1),
            "item 1 and item 7 correlate perfectly",
        ),
        (lambda x: explore_factors(np.column_stack([x, x[:, 0] + x[:, 1]]), n_factors=1), "exact combinations"),
        (lambda x: explore_factors(x[:5], n_factors=1), "more respondents than items"),
        (lambda x: explore_factors(np.where(np.arange(6) == 2, 1.0, x), n_factors=1), "constant or empty .*item 3"),
        (lambda x: factor_correlations(np.eye(4), n_used=1, n_factors=1), "more respondents than items; got 1"),
        (lambda x: factor_correlations(np.cov(x.T) * 2, n_used=50, n_factors=1), "ones on the diagonal"),
        (lambda x: factor_correlations(x, n_used=50, n_factors=1), "square correlation matrix"),
        (lambda x: extract_factors(np.eye(3), n_factors=4), "1 to 3 factors"),
        (lambda x: kaiser_meyer_olkin(np.ones((3, 3))), "exact combinations"),
        (lambda x: kaiser_meyer_olkin(np.full((2, 2), np.nan)), "NaN or infinite"),
        (lambda x: bartlett_sphericity(2 * np.ones((2, 2)) - np.eye(2), n_used=9), "within -1 to 1"),
    ],
)
def test_what_cannot_be_factored_is_refused_in_words(call: Callable[[FloatArray], Any], message: str) -> None:
    """Too many factors, unknown names, copies, combinations, too few rows, no correlation matrix."""
    with pytest.raises(AnalysisInputError, match=message):
        call(np.random.default_rng(3).standard_normal((50, 6)))


def test_result_arrays_are_closed(classical_columns: Read) -> None:
    """A frozen result stays what it was."""
    result = explore_factors(complete(classical_columns, "sat_act"), n_factors=1)
    for name in ("loadings", "phi", "structure", "residuals", "communalities"):
        with pytest.raises(ValueError, match="read-only"):
            getattr(result, name)[0] = 0
