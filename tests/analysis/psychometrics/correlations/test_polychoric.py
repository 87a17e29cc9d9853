"""Polychoric correlations: lavaan's figures, a slow twin, invariances, empty cells and other hard tables."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.special import ndtri
from scipy.stats import multivariate_normal

from analysis.psychometrics.correlations.polychoric import polychoric_correlations
from analysis.psychometrics.errors import AnalysisInputError

FloatArray = npt.NDArray[np.float64]
TABLES: dict[str, Any] = json.loads(
    (Path(__file__).parents[3] / "reference" / "correlations" / "correlations.json").read_text()
)["tables"]


def as_rows(table: Any) -> FloatArray:
    """Return two columns of answers with this contingency table."""
    counts = np.asarray(table)
    cells = np.argwhere(counts >= 0) + 1.0
    return np.repeat(cells, counts.ravel(), axis=0)


def rated(rng: np.random.Generator, n_rows: int, rho: float, cuts: list[list[float]]) -> FloatArray:
    """Cut a bivariate normal sample into categories."""
    first = rng.standard_normal(n_rows)
    second = rho * first + np.sqrt(1 - rho * rho) * rng.standard_normal(n_rows)
    return np.column_stack([np.searchsorted(cuts[0], first), np.searchsorted(cuts[1], second)]) + 1.0


def r_of(data: FloatArray, **options: Any) -> float:
    """Return the correlation of two columns."""
    return float(polychoric_correlations(data, **options).matrix[0, 1])


@pytest.mark.parametrize("name", sorted(TABLES))
def test_tables_with_empty_cells_are_lavaans(name: str) -> None:
    """Half an answer in one empty cell of four, nothing elsewhere; closed forms where lavaan has them."""
    # lavaan's optimiser stops within about 1e-7 of the maximum; 2 × 2 tables are fitted exactly.
    assert r_of(as_rows(TABLES[name]["table"])) == pytest.approx(TABLES[name]["rho"], abs=1e-6)


def test_it_is_the_maximum_of_scipys_likelihood() -> None:
    """The slow obvious twin: rectangles by scipy's distribution, a scalar minimiser."""
    data = rated(np.random.default_rng(1), 300, 0.6, [[-1.0, 0.2], [-0.5, 0.5, 1.2]])
    result = polychoric_correlations(data)
    limits = [np.concatenate([[-9.0], own, [9.0]]) for own in result.thresholds]
    table = np.array([[np.sum((data == (a, b)).all(axis=1)) for b in range(1, 5)] for a in range(1, 4)])

    def minus_log_likelihood(rho: float) -> float:
        normal = multivariate_normal([0, 0], [[1, rho], [rho, 1]])
        corners = np.array([[normal.cdf([x, y]) for y in limits[1]] for x in limits[0]])
        return -float((table * np.log(np.diff(np.diff(corners, axis=0), axis=1))).sum())

    slow = minimize_scalar(minus_log_likelihood, bounds=(-0.99, 0.99), method="bounded", options={"xatol": 1e-7}).x
    # The flat top of the likelihood leaves a minimiser without derivatives about 1e-6.
    assert result.matrix[0, 1] == pytest.approx(slow, abs=1e-5)
    shares = np.bincount(data[:, 0].astype(int))[1:] / 300
    np.testing.assert_allclose(result.thresholds[0], ndtri(np.cumsum(shares)[:-1]), atol=1e-12)


@pytest.mark.parametrize("rho", [-0.97, -0.4, 0.0, 0.7, 0.98])
def test_it_recovers_the_correlation_behind_the_categories(rho: float) -> None:
    """40,000 simulated answers with seven and three skewed categories give it back within four standard errors."""
    data = rated(np.random.default_rng(2), 40_000, rho, [[-2, -1.5, -1, -0.5, 0, 0.7], [-1.2, 0.3]])
    assert r_of(data) == pytest.approx(rho, abs=4 * 1.6 * (1 - rho * rho) / 200 + 1e-3)


def test_rows_items_codes_and_reversal() -> None:
    """Order of rows and items does not matter, nor what the categories are called; reversal turns the sign."""
    rng = np.random.default_rng(3)
    data = np.column_stack([rated(rng, 400, 0.5, [[-1, 0, 1], [-0.5, 0.8]]), rated(rng, 400, -0.3, [[0.2], [-1, 1]])])
    result = polychoric_correlations(data)
    np.testing.assert_allclose(polychoric_correlations(rng.permutation(data)).matrix, result.matrix, atol=1e-9)
    np.testing.assert_allclose(polychoric_correlations(data[:, ::-1]).matrix, result.matrix[::-1, ::-1], atol=1e-9)
    renamed = data.copy()
    renamed[:, 0] = np.exp(data[:, 0]) - 7
    renamed[:, 1] = data[:, 1] * 1000
    again = polychoric_correlations(renamed)
    np.testing.assert_allclose(again.matrix, result.matrix, atol=1e-12)
    np.testing.assert_allclose(again.categories[1], [1000, 2000, 3000])
    reversed_item = data.copy()
    reversed_item[:, 0] = 5 - data[:, 0]
    turned = polychoric_correlations(reversed_item)
    np.testing.assert_allclose(turned.matrix[0, 1:], -result.matrix[0, 1:], atol=1e-9)
    np.testing.assert_allclose(turned.thresholds[0], -result.thresholds[0][::-1], atol=1e-12)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(2, 7).flatmap(
        lambda rows: st.integers(2, 7).flatmap(
            lambda columns: st.lists(
                st.lists(st.integers(0, 30), min_size=columns, max_size=columns), min_size=rows, max_size=rows
            )
        )
    )
)
def test_any_table_has_an_answer_at_a_maximum(table: list[list[int]]) -> None:
    """Within ±.999, or ±1 for two categories, or NaN with a note; turning one item round turns the sign."""
    counts = np.array(table)
    if counts.sum() < 2:
        return
    data = as_rows(counts)
    result = polychoric_correlations(data, smooth=False)
    r = float(result.matrix[0, 1])
    if (counts.sum(axis=0) > 0).sum() < 2 or (counts.sum(axis=1) > 0).sum() < 2:
        assert np.isnan(r)
        assert "fewer than two categories" in result.notes[0]
        return
    assert abs(r) <= 0.999 or abs(r) == 1
    if abs(r) >= 0.999:
        assert any("perfect correlation" in note for note in result.notes)
    turned = data.copy()
    turned[:, 1] = -turned[:, 1]
    # Where the likelihood is flat to double precision near a bound the two searches may stop 1e-5 apart.
    assert r_of(turned, smooth=False) == pytest.approx(-r, abs=1e-5)
    assert not any("did not settle" in note for note in result.notes)


def test_identical_items_stand_at_the_limit_with_a_note() -> None:
    """Two copies of an item of five categories correlate .999, of two categories 1; both are said."""
    item = np.repeat([1.0, 2.0, 3.0, 4.0, 5.0], [3, 9, 20, 40, 60])
    other = np.random.default_rng(4).permutation(item)
    result = polychoric_correlations(np.column_stack([item, item, other]), item_codes=["a", "b", "c"])
    assert result.matrix[0, 1] == 0.999
    assert "the answers fit a perfect correlation best" in result.notes[0]
    assert "a with b" in result.notes[0]
    binary = np.repeat([0.0, 1.0], [30, 10])
    for second, expected in ((binary, 1.0), (1 - binary, -1.0)):
        pair = polychoric_correlations(np.column_stack([binary, second]), smooth=False)
        assert pair.matrix[0, 1] == expected
        assert "perfect correlation" in pair.notes[0]


def test_what_is_not_positive_definite_is_smoothed_and_said() -> None:
    """Pairs from different respondents can contradict one another; smoothing repairs that and reports the change."""
    rng = np.random.default_rng(5)
    blocks = []
    for missing, rho in ((2, 0.95), (1, 0.95), (0, -0.95)):
        pair = rated(rng, 200, rho, [[-1, 0, 1], [-1, 0, 1]])
        block = np.full((200, 3), np.nan)
        block[:, [column for column in range(3) if column != missing]] = pair
        blocks.append(block)
    data = np.vstack(blocks)
    raw = polychoric_correlations(data, missing="pairwise", smooth=False)
    assert np.linalg.eigvalsh(raw.matrix)[0] < 0
    assert not raw.smoothed
    result = polychoric_correlations(data, missing="pairwise")
    assert result.smoothed
    assert np.linalg.eigvalsh(result.matrix)[0] > 0
    np.testing.assert_allclose(np.diag(result.matrix), 1.0)
    change = np.abs(result.matrix - raw.matrix).max()
    assert any(f"largest change of a correlation is {change:.3g}" in note for note in result.notes)
    assert (result.n_used, result.n_dropped) == (200, 400)
    np.testing.assert_array_equal(result.n_pairs, [[400, 200, 200], [200, 400, 200], [200, 200, 400]])


def test_listwise_and_pairwise_use_the_rows_they_say() -> None:
    """Listwise equals complete rows; pairwise takes thresholds from all who answered an item."""
    rng = np.random.default_rng(6)
    data = rated(rng, 300, 0.6, [[-1, 0, 1], [-0.5, 0.8]])
    data[:50, 0] = np.nan
    listwise = polychoric_correlations(data)
    np.testing.assert_array_equal(listwise.matrix, polychoric_correlations(data[50:]).matrix)
    assert (listwise.n_used, listwise.n_dropped) == (250, 50)
    pairwise = polychoric_correlations(data, missing="pairwise")
    np.testing.assert_array_equal(pairwise.thresholds[1], polychoric_correlations(data[:, [1, 1]]).thresholds[0])
    np.testing.assert_array_equal(pairwise.thresholds[0], listwise.thresholds[0])


def test_items_or_pairs_without_a_correlation_are_nan_with_a_note() -> None:
    """One category, and a pair nobody answered both of."""
    data = np.array([[1, 1, np.nan, 3], [2, 1, np.nan, 3], [1, 2, 1, 3], [np.nan, 2, 2, 3], [np.nan, 1, 1, 3]])
    result = polychoric_correlations(data, item_codes=["a", "b", "c", "d"], missing="pairwise")
    assert np.isnan(result.matrix[3]).all()
    assert "fewer than two categories, so no polychoric correlation: d" in result.notes
    assert len(result.thresholds[3]) == 0
    apart = np.array([[1, np.nan], [2, np.nan], [np.nan, 1], [np.nan, 2]])
    pair = polychoric_correlations(apart, item_codes=["a", "b"], missing="pairwise")
    assert np.isnan(pair.matrix[0, 1])
    assert "no respondent answered both items, so no correlation: a with b" in pair.notes


@pytest.mark.parametrize(
    ("data", "options", "complaint"),
    [
        ([[1.0, 2.0]], {}, "at least 2 respondents"),
        ([[1.0, 2.0]], {"missing": "pairwise"}, "at least 2 respondents; got 1"),
        ([[1.0], [2.0]], {}, "at least 2 items"),
        ([[1.0, 2.0], [2.0, 1.0]], {"missing": "fiml"}, "missing='listwise' or 'pairwise'; got 'fiml'"),
        ([[1.0, np.inf], [2.0, 1.0]], {}, "finite"),
        ([["a", "b"], ["c", "d"]], {}, "matrix of numbers"),
        (np.column_stack([np.arange(40.0), np.arange(40.0) % 2]), {}, "at most 30 categories; item 1 has 40"),
    ],
)
def test_unusable_input_is_refused(data: Any, options: dict[str, Any], complaint: str) -> None:
    """Too little, not numeric, infinite, or measurements instead of categories: each says what to do."""
    with pytest.raises(AnalysisInputError, match=complaint):
        polychoric_correlations(data, **options)


def test_the_input_is_not_changed_and_the_result_is_closed() -> None:
    """The caller's array stays as it was; the arrays of the result are read-only."""
    data = as_rows([[5, 3], [0, 7]])
    before = data.copy()
    result = polychoric_correlations(data)
    np.testing.assert_array_equal(data, before)
    assert not result.matrix.flags.writeable
    assert not result.thresholds[0].flags.writeable
