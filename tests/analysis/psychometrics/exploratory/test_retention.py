"""Parallel analysis, minimum average partial correlation, scree."""

import csv
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy.optimize import minimize

from analysis.psychometrics.errors import AnalysisInputError
from analysis.psychometrics.exploratory.retention import (
    correlation_matrix,
    factor_eigenvalues,
    minimum_average_partial,
    parallel_analysis,
    scree,
)

FloatArray = npt.NDArray[np.float64]
REFERENCE = Path(__file__).parents[3] / "reference" / "correlations"


@pytest.fixture(scope="module")
def bfi() -> FloatArray:
    """400 people, 25 items of six categories, some blanks."""
    with (REFERENCE / "bfi.csv").open(newline="") as file:
        rows = [[float(cell or "nan") for cell in row[:25]] for row in list(csv.reader(file))[1:]]
    return np.array(rows)


@pytest.fixture(scope="module")
def r_retention() -> dict[str, Any]:
    """psych's figures on the items of `bfi`, pairwise Pearson correlations."""
    return json.loads((REFERENCE / "correlations.json").read_text())["retention"]


def ordinal_data(rng: np.random.Generator, n_rows: int = 500) -> FloatArray:
    """Two factors behind eight skewed items of three to five categories."""
    factors = np.repeat(rng.standard_normal((n_rows, 2)), 4, axis=1)
    latent = 0.8 * factors + 0.6 * rng.standard_normal((n_rows, 8))
    data = np.searchsorted([-2.0, -1.2, -0.5, 0.4], latent) + 1.0
    data[:, 0] = np.maximum(data[:, 0], 3)
    return data


def test_three_components_on_the_reference_data_as_in_r(hs1939: FloatArray, r_figures: dict[str, Any]) -> None:
    """psych retains three and its mean random eigenvalues lie within .005: 1000 draws each, SD of one about .04."""
    result = parallel_analysis(hs1939, n_draws=1000, rng=np.random.default_rng(1))
    assert result.n_factors == r_figures["parallel"]["ncomp"] == 3
    assert result.n_factors_mean == 3
    np.testing.assert_allclose(result.eigenvalues, r_figures["eigenvalues"], atol=1e-9)
    np.testing.assert_allclose(result.reference_mean, r_figures["parallel"]["pc_sim_mean"], atol=0.005)
    assert (result.n_used, result.n_dropped, result.n_draws, result.kind) == (301, 0, 1000, "pearson")


def test_direct_draws_agree_with_random_data_sets() -> None:
    """The slow obvious twin: eigenvalues of really simulated data (.01 for means, .02 for quantiles, 2000 draws)."""
    n_rows, n_items = 40, 6
    rng = np.random.default_rng(2)
    data = rng.standard_normal((n_rows, n_items))
    result = parallel_analysis(data, n_draws=4000, rng=rng)
    slow = np.array(
        [
            np.linalg.eigvalsh(np.corrcoef(rng.standard_normal((n_rows, n_items)), rowvar=False))[::-1]
            for _ in range(2000)
        ]
    )
    np.testing.assert_allclose(result.reference_mean, slow.mean(axis=0), atol=0.01)
    np.testing.assert_allclose(result.reference_p95, np.quantile(slow, 0.95, axis=0), atol=0.02)


def test_the_same_seed_gives_the_same_answer(hs1939: FloatArray) -> None:
    """Randomness comes from the generator alone."""
    first, second = (parallel_analysis(hs1939, n_draws=50, rng=np.random.default_rng(7)) for _ in range(2))
    np.testing.assert_array_equal(first.reference_p95, second.reference_p95)


def test_planted_factors_are_counted() -> None:
    """Two blocks of four items make two factors; noise makes none."""
    rng = np.random.default_rng(4)
    factors = np.repeat(rng.standard_normal((400, 2)), 4, axis=1)
    assert parallel_analysis(factors + rng.standard_normal((400, 8)), n_draws=200, rng=rng).n_factors == 2
    noise = rng.standard_normal((400, 8))
    assert parallel_analysis(noise, n_draws=200, rng=np.random.default_rng(0)).n_factors == 0


def test_random_eigenvalues_sum_to_the_number_of_items(hs1939: FloatArray) -> None:
    """A correlation matrix has trace p, so do the mean eigenvalues of the reference."""
    result = parallel_analysis(hs1939, n_draws=30, rng=np.random.default_rng(3))
    assert result.reference_mean.sum() == pytest.approx(9, abs=1e-10)
    assert (result.reference_p95 > result.reference_mean).all()


def test_rows_with_holes_are_dropped_and_counted(hs1939: FloatArray) -> None:
    """Listwise counts after deletion; pairwise counts the weakest pair."""
    holes = hs1939.copy()
    holes[:40, 0] = np.nan
    holes[100:120, 4] = np.nan
    listwise = parallel_analysis(holes, n_draws=30, rng=np.random.default_rng(3))
    assert (listwise.n_used, listwise.n_dropped) == (241, 60)
    pairwise = parallel_analysis(holes, n_draws=30, rng=np.random.default_rng(3), missing="pairwise")
    assert pairwise.n_used == 241
    assert "pairwise-complete" in pairwise.notes[0]


def test_bad_options_are_refused(hs1939: FloatArray) -> None:
    """Too few draws for a 95th percentile, and correlations that are not offered."""
    rng = np.random.default_rng(1)
    with pytest.raises(AnalysisInputError, match=r"at least 20 draws .* got 5"):
        parallel_analysis(hs1939, n_draws=5, rng=rng)
    with pytest.raises(AnalysisInputError, match="got 'spearman'"):
        parallel_analysis(hs1939, n_draws=50, rng=rng, kind="spearman")  # type: ignore[arg-type]
    with pytest.raises(AnalysisInputError, match="permuted data for polychoric"):
        parallel_analysis(hs1939, n_draws=50, rng=rng, kind="polychoric", random_data="normal")
    with pytest.raises(AnalysisInputError, match="got 'uniform'"):
        parallel_analysis(hs1939, n_draws=50, rng=rng, random_data="uniform")  # type: ignore[arg-type]
    with pytest.raises(AnalysisInputError, match="at most 30 categories"):
        parallel_analysis(hs1939, n_draws=50, rng=rng, kind="polychoric")
    with pytest.raises(AnalysisInputError, match="more respondents than items"):
        parallel_analysis(hs1939[:8], n_draws=50, rng=rng)


def test_components_and_factors_on_bfi_as_in_psych(bfi: FloatArray, r_retention: dict[str, Any]) -> None:
    """psych retains five components and five factors; its observed factor eigenvalues are ours."""
    result = parallel_analysis(bfi, n_draws=200, rng=np.random.default_rng(1), factors=True, missing="pairwise")
    assert result.n_factors == r_retention["parallel"]["n_components"] == 5
    assert result.n_common_factors == r_retention["parallel"]["n_factors"] == 5
    np.testing.assert_allclose(result.eigenvalues, r_retention["eigenvalues"], atol=1e-10)
    # psych's minres stops within about 1e-6 of the optimum.
    np.testing.assert_allclose(result.factor_eigenvalues, r_retention["factor_eigenvalues"], atol=1e-5)
    # SD of a quantile of 200 draws is about .005; psych draws 400 rows, we as many as the weakest pair has.
    for ours, theirs in (
        (result.reference_mean, "component_mean"),
        (result.reference_p95, "component_p95"),
        (result.factor_reference_mean, "factor_mean"),
        (result.factor_reference_p95, "factor_p95"),
    ):
        np.testing.assert_allclose(ours, r_retention["parallel"][theirs], atol=0.03)


def test_permuted_answers_vary_as_psychs_resampled_ones(bfi: FloatArray, r_retention: dict[str, Any]) -> None:
    """Mean eigenvalues of answers in random order lie within .02 of psych's resampled ones, blanks and all."""
    result = parallel_analysis(
        bfi, n_draws=100, rng=np.random.default_rng(1), random_data="permuted", missing="pairwise"
    )
    assert result.random_data == "permuted"
    assert result.n_factors == 5
    np.testing.assert_allclose(result.reference_mean, r_retention["parallel"]["component_mean_resampled"], atol=0.02)


def test_polychoric_reference_counts_planted_factors_and_not_noise() -> None:
    """Two factors behind ordinal items are found; answers in random order hold none."""
    rng = np.random.default_rng(5)
    data = ordinal_data(rng)
    result = parallel_analysis(data, n_draws=50, rng=np.random.default_rng(1), kind="polychoric", factors=True)
    assert (result.kind, result.random_data) == ("polychoric", "permuted")
    assert result.n_factors == result.n_common_factors == 2
    np.testing.assert_allclose(
        result.eigenvalues, np.linalg.eigvalsh(correlation_matrix(data, kind="polychoric").matrix)[::-1], atol=1e-12
    )
    noise = rng.permuted(data, axis=0)
    assert parallel_analysis(noise, n_draws=50, rng=np.random.default_rng(1), kind="polychoric").n_factors == 0


@pytest.mark.parametrize(("kind", "random_data"), [("pearson", None), ("pearson", "permuted"), ("polychoric", None)])
def test_workers_do_not_change_the_answer_and_progress_is_told(kind: Any, random_data: Any) -> None:
    """Parts drawn by two threads at once give the very numbers of one after the other; progress ends at 1."""
    data = ordinal_data(np.random.default_rng(6), n_rows=120)
    told: list[float] = []
    alone = parallel_analysis(
        data,
        n_draws=60,
        rng=np.random.default_rng(2),
        kind=kind,
        random_data=random_data,
        progress=lambda share, _: told.append(share),
    )
    with ThreadPoolExecutor(2) as pool:
        shared = parallel_analysis(
            data,
            n_draws=60,
            rng=np.random.default_rng(2),
            kind=kind,
            random_data=random_data,
            share_parts=pool.map,
        )
    np.testing.assert_array_equal(alone.reference_p95, shared.reference_p95)
    assert told == sorted(told)
    assert told[-1] == 1.0


def test_factor_eigenvalues_find_the_least_squares_of_one_factor(hs1939: FloatArray) -> None:
    """The slow obvious twin: minimising the squared residuals directly gives the same communalities."""
    matrix = np.corrcoef(hs1939, rowvar=False)
    ours = factor_eigenvalues(matrix[None])[0]

    def loss(loadings: FloatArray) -> float:
        residual = matrix - np.outer(loadings, loadings)
        return float((residual[np.triu_indices(9, k=1)] ** 2).sum())

    loadings = minimize(loss, np.full(9, 0.5), method="BFGS", options={"gtol": 1e-9}).x
    reduced = matrix.copy()
    np.fill_diagonal(reduced, loadings**2)
    # BFGS with numerical derivatives finds the minimum to about 1e-6.
    np.testing.assert_allclose(ours, np.linalg.eigvalsh(reduced)[::-1], atol=1e-5)


def test_factor_eigenvalues_bound_the_communality() -> None:
    """A correlation that no single factor explains without excess (Heywood) leaves a communality of .995."""
    matrix = np.array([[1.0, 0.9, 0.9], [0.9, 1.0, 0.5], [0.9, 0.5, 1.0]])
    eigenvalues = factor_eigenvalues(matrix[None])[0]
    assert 0.995 < eigenvalues.sum() < 3  # the trace is the sum of the communalities
    assert eigenvalues[0] == pytest.approx(2.5, abs=0.2)


def test_average_partials_on_bfi_are_psychs(bfi: FloatArray, r_retention: dict[str, Any]) -> None:
    """Velicer's averages after one to 24 components are those of psych::vss, and so is their minimum."""
    matrix = correlation_matrix(bfi, kind="pearson", missing="pairwise").matrix
    result = minimum_average_partial(matrix)
    theirs = np.array(r_retention["map"][:24], dtype=float)
    np.testing.assert_allclose(result.average_squared[1:], theirs, atol=1e-9)
    assert result.n_factors == int(np.argmin(theirs)) + 1
    off_diagonal = matrix[np.triu_indices(25, k=1)]
    assert result.average_squared[0] == pytest.approx((off_diagonal**2).mean())
    assert result.average_fourth[0] == pytest.approx((off_diagonal**4).mean())


def test_average_partials_are_those_of_regression_residuals() -> None:
    """The slow obvious twin: correlations of what is left after regressing items on their components."""
    rng = np.random.default_rng(8)
    data = ordinal_data(rng, 200)
    data = (data - data.mean(axis=0)) / data.std(axis=0)
    result = minimum_average_partial(np.corrcoef(data, rowvar=False))
    _, _, directions = np.linalg.svd(data, full_matrices=False)
    for n_components in range(1, 7):
        scores = data @ directions[:n_components].T
        residuals = data - scores @ np.linalg.lstsq(scores, data, rcond=None)[0]
        partial = np.corrcoef(residuals, rowvar=False)[np.triu_indices(8, k=1)]
        assert result.average_squared[n_components] == pytest.approx((partial**2).mean(), abs=1e-10)
        assert result.average_fourth[n_components] == pytest.approx((partial**4).mean(), abs=1e-10)
    assert result.n_factors == result.n_factors_revised == 2


def test_no_component_is_worth_retaining_from_unrelated_items() -> None:
    """If every partial correlation is larger than the correlation, the number is 0, with a note."""
    result = minimum_average_partial(np.eye(5) + 0.01 * (np.ones((5, 5)) - np.eye(5)))
    assert result.n_factors == 0
    assert result.notes


def test_scree_counts_and_bends(hs1939: FloatArray, r_figures: dict[str, Any]) -> None:
    """Eigenvalues are R's, shares add up to one, three lie above one."""
    result = scree(np.corrcoef(hs1939, rowvar=False))
    np.testing.assert_allclose(result.eigenvalues, r_figures["eigenvalues"], atol=1e-9)
    assert result.cumulative_share[-1] == pytest.approx(1)
    np.testing.assert_allclose(np.cumsum(result.share), result.cumulative_share)
    assert (result.n_above_one, result.n_before_elbow) == (3, 1)


@pytest.mark.parametrize("function", [minimum_average_partial, scree])
@pytest.mark.parametrize(
    "matrix", [np.ones((2, 2)), np.ones((3, 4)), np.full((3, 3), np.nan), np.diag([1.0, 2.0, 1.0]), "r"]
)
def test_what_is_no_correlation_matrix_is_refused(function: Any, matrix: Any) -> None:
    """Too small, not square, undefined, a covariance or a word: each is refused with a remedy."""
    with pytest.raises(AnalysisInputError, match="requires a correlation matrix of three or more items"):
        function(matrix)


def test_singular_matrices_have_no_partial_correlations() -> None:
    """Two identical items are refused by the partial correlations."""
    with pytest.raises(AnalysisInputError, match="positive definite"):
        minimum_average_partial(np.array([[1.0, 1.0, 0.2], [1.0, 1.0, 0.2], [0.2, 0.2, 1.0]]))


def test_polychoric_matrices_need_respondents_and_pairs() -> None:
    """Constant items, no more rows than items, and pairs that nobody answered are refused by name."""
    data = ordinal_data(np.random.default_rng(9), 60)
    constant = data.copy()
    constant[:, 2] = 4
    with pytest.raises(AnalysisInputError, match="item 3"):
        correlation_matrix(constant, kind="polychoric")
    with pytest.raises(AnalysisInputError, match="more respondents than items"):
        correlation_matrix(data[:8], kind="polychoric")
    apart = data.copy()
    apart[:30, 0] = np.nan
    apart[30:, 1] = np.nan
    with pytest.raises(AnalysisInputError, match="nobody answered item 1 and item 2"):
        correlation_matrix(apart, kind="polychoric", missing="pairwise")
