"""What is required of a response matrix, and correlations from it."""

import numpy as np
import numpy.typing as npt
import pytest

from analysis.psychometrics.errors import AnalysisInputError
from analysis.psychometrics.response_matrix import (
    as_item_codes,
    as_responses,
    complete_rows,
    correlate,
    eigenvalues_of,
    pairwise_moments,
    read_only,
    refuse_constant_items,
    reverse_items,
)

FloatArray = npt.NDArray[np.float64]


def holey(seed: int, n_rows: int = 80, n_items: int = 4, share: float = 0.2) -> FloatArray:
    """Correlated items with holes."""
    rng = np.random.default_rng(seed)
    values = rng.standard_normal((n_rows, 1)) + rng.standard_normal((n_rows, n_items))
    values[rng.random(values.shape) < share] = np.nan
    return values


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (np.array([["a"]]), "does not convert|that does not convert to numbers"),
        (np.zeros(3), "two-dimensional matrix .* got 1 dimension"),
        (np.zeros((0, 2)), "requires respondents; got none"),
        (np.zeros((3, 1)), "at least 2 items; got 1"),
        (np.array([[1.0, np.inf]]), r"infinite values in column\(s\) 1"),
    ],
)
def test_an_unusable_matrix_is_refused_with_the_reason(data: npt.NDArray[np.generic], message: str) -> None:
    """Each way a matrix can be wrong has its own message."""
    with pytest.raises(AnalysisInputError, match=message):
        as_responses(data, who="describe_items", minimum_items=2)


def test_messages_end_with_a_remedy_and_name_who_asks() -> None:
    """A reader learns which function asked and what to do."""
    with pytest.raises(AnalysisInputError, match=r"^omega requires .* Remedy: "):
        as_responses(np.zeros(3), who="omega")


def test_item_codes_are_numbered_when_missing_and_refused_when_wrong() -> None:
    """One code per column, each once."""
    assert as_item_codes(None, 2, who="f") == ("item 1", "item 2")
    with pytest.raises(AnalysisInputError, match="1 codes for 2 columns"):
        as_item_codes(["a"], 2, who="f")
    with pytest.raises(AnalysisInputError, match="got a repeatedly"):
        as_item_codes(["a", "a"], 2, who="f")


def test_complete_rows_counts_after_deletion_and_copies() -> None:
    """The number used is that of the rows kept; writing into them leaves the caller's array alone."""
    data = np.array([[1.0, 2.0], [np.nan, 3.0], [4.0, 5.0], [6.0, np.nan]])
    result = complete_rows(data, who="f")
    assert (result.n_used, result.n_dropped) == (2, 2)
    result.values[0, 0] = 99
    assert data[0, 0] == 1.0


def test_too_few_complete_rows_say_how_many_there_were() -> None:
    """All missing is an error with counts, not a crash."""
    with pytest.raises(AnalysisInputError, match="at least 2 respondents who answered all 2 items; got 0 of 5"):
        complete_rows(np.full((5, 2), np.nan), who="f")


def test_constant_and_empty_items_are_named() -> None:
    """Both a constant item and one without answers are listed by code."""
    data = np.array([[3.0, 1.0, np.nan], [3.0, 2.0, np.nan]])
    with pytest.raises(AnalysisInputError, match="rows used: same, empty"):
        refuse_constant_items(data, ["same", "varied", "empty"], who="f")


def test_reversing_twice_gives_the_original_and_leaves_the_input() -> None:
    """x' = 6 − x on a five-point scale, NaN stays, the input is not written."""
    data = np.array([[1.0, 5.0], [np.nan, 2.0]])
    turned = reverse_items(data, columns=[0], lowest=1, highest=5)
    np.testing.assert_array_equal(turned, [[5.0, 5.0], [np.nan, 2.0]])
    np.testing.assert_array_equal(reverse_items(turned, columns=[0], lowest=1, highest=5), data)
    assert data[0, 0] == 1.0


def test_pairwise_moments_equal_the_slow_obvious_computation() -> None:
    """Covariance, correlation and count of each pair, from the rows that hold both (1e-12: the same formula)."""
    data = holey(5)
    covariance, correlation, counts = pairwise_moments(data)
    for i in range(4):
        for j in range(4):
            both = data[~np.isnan(data[:, [i, j]]).any(axis=1)]
            twin = np.cov(both[:, i], both[:, j])
            assert counts[i, j] == len(both)
            assert covariance[i, j] == pytest.approx(twin[0, 1], abs=1e-12)
            assert correlation[i, j] == pytest.approx(twin[0, 1] / np.sqrt(twin[0, 0] * twin[1, 1]), abs=1e-12)


def test_pairwise_moments_leave_what_is_undefined_undefined() -> None:
    """A pair that nobody answered together and a constant item have NaN, never 0."""
    data = np.array([[1.0, np.nan, 3.0], [2.0, np.nan, 3.0], [np.nan, 1.0, 3.0], [np.nan, 2.0, 3.0]])
    covariance, correlation, counts = pairwise_moments(data)
    assert counts[0, 1] == 0
    assert np.isnan(covariance[0, 1])
    assert np.isnan(correlation[0, 1])
    assert np.isnan(correlation[2, 2])
    assert covariance[2, 2] == 0


def test_correlations_match_r(hs1939: FloatArray, r_figures: dict[str, dict[str, list[list[float]]]]) -> None:
    """Listwise correlations equal R's `cor` (R's file keeps eight decimals)."""
    result = correlate(hs1939)
    np.testing.assert_allclose(result.matrix, r_figures["correlations"]["values"], atol=6e-9)
    assert (result.n_used, result.n_dropped, result.missing, result.notes) == (301, 0, "listwise", ())
    assert not result.matrix.flags.writeable


def test_eigenvalues_match_r(hs1939: FloatArray, r_figures: dict[str, list[float]]) -> None:
    """Largest first, as R's `eigen` gives them (1e-9: printed digits)."""
    np.testing.assert_allclose(eigenvalues_of(correlate(hs1939).matrix), r_figures["eigenvalues"], atol=1e-9)


def test_pairwise_counts_the_weakest_pair_and_says_so() -> None:
    """`n_used` is the smallest number behind any pair, with a note."""
    data = holey(6)
    result = correlate(data, missing="pairwise")
    _, correlation, counts = pairwise_moments(data)
    assert result.n_used == counts.min()
    assert result.n_dropped == len(data) - counts.min()
    np.testing.assert_array_equal(result.matrix, correlation)
    assert "pairwise-complete" in result.notes[0]


def test_pairwise_equals_listwise_without_holes(hs1939: FloatArray) -> None:
    """With complete data both ways are the same matrix."""
    np.testing.assert_array_equal(correlate(hs1939, missing="pairwise").matrix, correlate(hs1939).matrix)


def test_an_impossible_pairwise_matrix_is_smoothed_and_noted() -> None:
    """Three pairs from different people with r = .9, .9, −.9 cannot hold together; the result is positive definite."""
    rng = np.random.default_rng(8)
    blocks = []
    for first, second, sign in ((0, 1, 1), (1, 2, 1), (0, 2, -1)):
        block = np.full((60, 3), np.nan)
        block[:, first] = rng.standard_normal(60)
        block[:, second] = sign * block[:, first] + 0.3 * rng.standard_normal(60)
        blocks.append(block)
    data = np.vstack(blocks)
    assert np.linalg.eigvalsh(pairwise_moments(data)[1])[0] < -0.1
    result = correlate(data, missing="pairwise")
    assert np.linalg.eigvalsh(result.matrix)[0] > 0
    np.testing.assert_allclose(np.diag(result.matrix), 1)
    assert "smoothed" in result.notes[0]


def test_degenerate_matrices_are_refused_by_name() -> None:
    """A duplicate, a sum of others, too few rows, a pair nobody shares: each has its message."""
    rng = np.random.default_rng(9)
    base = rng.standard_normal((50, 3))
    with pytest.raises(AnalysisInputError, match="a and d correlate perfectly"):
        correlate(np.column_stack([base, 2 * base[:, 0] + 1]), item_codes=list("abcd"))
    with pytest.raises(AnalysisInputError, match="d can be computed from the others"):
        correlate(np.column_stack([base, base.sum(axis=1)]), item_codes=list("abcd"))
    with pytest.raises(AnalysisInputError, match="more respondents than items; got 3 usable for 3 items"):
        correlate(base[:3])
    apart = np.full((40, 3), np.nan)
    apart[:20, 0] = base[:20, 0]
    apart[20:, 1] = base[20:40, 1]
    apart[:, 2] = base[:40, 2]
    with pytest.raises(AnalysisInputError, match="more respondents than items; got 0 usable"):
        correlate(apart, missing="pairwise")
    with pytest.raises(AnalysisInputError, match="missing='listwise' or 'pairwise'; got 'mean'"):
        correlate(base, missing="mean")  # type: ignore[arg-type]


def test_read_only_closes_the_array() -> None:
    """A frozen result's array cannot be written."""
    array = read_only(np.zeros(2))
    with pytest.raises(ValueError, match="read-only"):
        array[0] = 1
