"""Reliability within and between clinicians: lavaan's two-level solution, recovery, refusals."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy.stats import multivariate_normal

from analysis.psychometrics.errors import AnalysisInputError
from analysis.psychometrics.reliability.level_specific import level_specific_omega, two_level_covariances

FloatArray = npt.NDArray[np.float64]
Read = Callable[..., FloatArray]
Figures = Callable[[str], Any]


@pytest.mark.parametrize(("run", "n_items"), [("three", 3), ("five", 5)])
def test_both_covariance_matrices_match_lavaans(
    classical_columns: Read, classical_figures: Figures, run: str, n_items: int
) -> None:
    """lavaan's saturated two-level model; its EM stops a little earlier: 1e-3, and our likelihood is no smaller."""
    figures = classical_figures("levels")[run]
    data = classical_columns("levels")
    result = two_level_covariances(data[:, 1 : n_items + 1], data[:, 0])
    np.testing.assert_allclose(result.within, figures["within"], atol=1e-3)
    np.testing.assert_allclose(result.between, figures["between"], atol=1e-3)
    np.testing.assert_allclose(result.means, figures["means"], atol=1e-3)
    np.testing.assert_allclose(result.icc, figures["icc"], atol=1e-3)
    assert -1e-6 <= result.log_likelihood - figures["logl_h1"] < 1e-3
    assert (result.n_used, result.n_clusters, result.converged, result.notes) == (860, 80, True, ())
    assert result.mean_cluster_size == 860 / 80
    assert result.harmonic_cluster_size == pytest.approx(4 / (1 / 4 + 1 / 7 + 1 / 12 + 1 / 20), abs=1e-12)


@pytest.mark.parametrize(("run", "n_items"), [("three", 3), ("five", 5)])
def test_omega_at_each_level_matches_lavaan_and_semtools(
    classical_columns: Read, classical_figures: Figures, run: str, n_items: int
) -> None:
    """lavaan's two-level maximum likelihood estimates and the coefficients from them: 1e-5 and 1e-4."""
    figures = classical_figures("levels")[run]
    data = classical_columns("levels")
    result = level_specific_omega(data[:, 1 : n_items + 1], data[:, 0])
    for ours, level in ((result.omega_within, "w"), (result.omega_between, "b")):
        common = np.sum(figures[f"lambda_{level}"]) ** 2
        assert ours == pytest.approx(common / (common + np.sum(figures[f"theta_{level}"])), abs=1e-5)
    np.testing.assert_allclose(result.loadings_within, figures["lambda_w"], atol=1e-4)
    np.testing.assert_allclose(result.loadings_between, figures["lambda_b"], atol=1e-4)
    np.testing.assert_allclose(result.residuals_within, figures["theta_w"], atol=1e-4)
    np.testing.assert_allclose(result.residuals_between, figures["theta_b"], atol=1e-4)
    assert result.chisq == pytest.approx(figures["chisq"], abs=2e-3)  # lavaan's saturated likelihood is a little low
    assert result.df == figures["df"]
    assert result.pvalue == pytest.approx(figures["pvalue"], abs=1e-3) if result.df else np.isnan(result.pvalue)
    # semTools divides by its own saturated matrices (see above).
    omega_b, rater_share = figures["compRelSEM"]["shared"]["fb"]
    assert result.omega_cluster_mean == pytest.approx(omega_b, abs=1e-3)
    within, between = result.covariances.within.sum(), result.covariances.between.sum()
    share = between / (between + within / result.covariances.harmonic_cluster_size)
    assert share == pytest.approx(rater_share, abs=1e-3)
    assert result.icc_score == pytest.approx(between / (between + within), abs=1e-12)
    assert (result.converged, result.admissible, result.notes) == (True, True, ())


def test_the_likelihood_is_that_of_whole_clusters() -> None:
    """A twin by brute force: each cluster's rows as one normal vector with covariance I⊗W + 11'⊗B."""
    rng = np.random.default_rng(3)
    clusters = np.repeat(np.arange(30), rng.integers(1, 6, 30))
    data = rng.standard_normal((30, 2))[clusters] + rng.standard_normal((len(clusters), 2))
    result = two_level_covariances(data, clusters)
    total = 0.0
    for cluster in range(30):
        rows = data[clusters == cluster]
        size = len(rows)
        covariance = np.kron(np.eye(size), result.within) + np.kron(np.ones((size, size)), result.between)
        total += multivariate_normal.logpdf(rows.ravel(), np.tile(result.means, size), covariance)
    assert result.log_likelihood == pytest.approx(total, abs=1e-8)


def test_equal_clusters_have_the_closed_form() -> None:
    """Balanced data: within is the pooled matrix, between what cluster means vary beyond it (divisor J)."""
    rng = np.random.default_rng(4)
    clusters = np.repeat(np.arange(40), 6)
    data = rng.standard_normal((40, 3))[clusters] + rng.standard_normal((240, 3))
    means = data.reshape(40, 6, 3).mean(axis=1)
    pooled = sum(np.cov(data[clusters == c].T) for c in range(40)) / 40
    result = two_level_covariances(data, clusters)
    np.testing.assert_allclose(result.within, pooled, atol=1e-6)
    np.testing.assert_allclose(result.between, np.cov(means.T, ddof=0) - pooled / 6, atol=1e-6)


def test_planted_reliabilities_come_back() -> None:
    """One factor at each level, 300 clinicians of 20 patients: omegas within .03 of the truth."""
    rng = np.random.default_rng(5)
    clusters = np.repeat(np.arange(300), 20)
    between = rng.standard_normal((300, 1)) * [0.8, 0.7, 0.6, 0.5] + 0.3 * rng.standard_normal((300, 4))
    within = rng.standard_normal((6000, 1)) * [1.0, 0.9, 0.8, 0.7] + rng.standard_normal((6000, 4))
    result = level_specific_omega(between[clusters] + within, clusters)
    assert result.omega_within == pytest.approx(3.4**2 / (3.4**2 + 4), abs=0.03)
    assert result.omega_between == pytest.approx(2.6**2 / (2.6**2 + 0.36), abs=0.03)
    assert result.omega_cluster_mean < result.omega_between


def test_labels_order_and_missing_rows_do_not_matter(classical_columns: Read) -> None:
    """Clusters by any name, rows in any order; incomplete rows are dropped and counted."""
    data = classical_columns("levels")
    rng = np.random.default_rng(6)
    order = rng.permutation(len(data))
    plain = level_specific_omega(data[:, 1:4], data[:, 0])
    named = level_specific_omega(data[order, 1:4], [f"dr {int(c)}" for c in data[order, 0]])
    assert named.omega_between == pytest.approx(plain.omega_between, abs=1e-6)
    holes = data.copy()
    holes[:7, 2] = np.nan
    assert level_specific_omega(holes[:, 1:4], holes[:, 0]).covariances.n_dropped == 7


def test_no_difference_between_clinicians_is_said() -> None:
    """Patients dealt to clinicians at random: covariances between them on the edge, with a note."""
    rng = np.random.default_rng(7)
    data = rng.standard_normal((400, 1)) + rng.standard_normal((400, 3))
    result = two_level_covariances(data, np.repeat(np.arange(40), 10))
    assert any("hardly differ" in note for note in result.notes)
    assert any("40 clusters: too few" in note for note in result.notes)
    assert result.icc.max() < 0.1


def test_items_without_unique_variance_between_clinicians_are_noted(classical_columns: Read) -> None:
    """Near a ceiling and with 40 clinicians a residual between is often zero: said, and the fit still converges."""
    data = classical_columns("ceiling")
    result = level_specific_omega(data[:, 1:5], data[:, 0], item_codes=["q1", "q2", "q3", "q4"])
    assert result.converged
    assert any("no unique variance left between clusters in q4" in note for note in result.notes)
    assert result.residuals_between[3] == 0
    turned = data.copy()
    turned[:, 2] = 6 - turned[:, 2]
    again = level_specific_omega(turned[:, 1:5], data[:, 0], item_codes=["q1", "q2", "q3", "q4"])
    assert any("check the keying of q2" in note for note in again.notes)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x, c: (x, c[:-1]), "one cluster for each row"),
        (lambda x, c: (x[:, :2], c), "at least 3 items"),
        (lambda x, c: (x, np.arange(60)), "more further rows than items"),
        (lambda x, c: (x, c // 8), "more clusters than items"),
        (lambda x, c: (np.column_stack([x, c.astype(float)]), c), "constant within each: item 4"),
        (lambda x, c: (np.column_stack([x, x[:, 0] - x[:, 1]]), c), "combinations of one another"),
        (lambda x, c: (x * np.nan, c), "answered all 3 items; got 0"),
    ],
)
def test_what_has_no_two_levels_is_refused_in_words(change: Callable[..., Any], message: str) -> None:
    """Labels that do not fit, one row a cluster, too few clusters, items that do not vary within them."""
    rng = np.random.default_rng(8)
    data, clusters = change(rng.standard_normal((60, 3)), np.repeat(np.arange(20), 3))
    with pytest.raises(AnalysisInputError, match=message):
        level_specific_omega(data, clusters)
