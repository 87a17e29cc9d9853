"""Parallel analysis."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from analysis.psychometrics.errors import AnalysisInputError
from analysis.psychometrics.retention import parallel_analysis

FloatArray = npt.NDArray[np.float64]


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
    with pytest.raises(AnalysisInputError, match="got 'polychoric'"):
        parallel_analysis(hs1939, n_draws=50, rng=rng, kind="polychoric")  # type: ignore[arg-type]
    with pytest.raises(AnalysisInputError, match="more respondents than items"):
        parallel_analysis(hs1939[:8], n_draws=50, rng=rng)
