"""Category numbers and the tables of all pairs."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ndtri

from analysis.psychometrics.correlations.ordinal_tables import BEYOND, encode_ordinal, tabulate_pairs, thresholds_of

ANSWERS = st.sampled_from([float("nan"), -2.0, 0.0, 0.5, 1.0, 7.0, 1e6])


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(ANSWERS, min_size=4, max_size=4), min_size=1, max_size=30))
def test_tables_are_those_counted_one_by_one(rows: list[list[float]]) -> None:
    """The slow obvious twin: every pair, every combination of categories, counted by comparing answers."""
    data = np.array(rows)
    encoded = encode_ordinal(data, list("abcd"), who="test")
    if int(encoded.n_categories.max()) == 0:
        return
    tables, first, second = tabulate_pairs(encoded)
    assert list(zip(first.tolist(), second.tolist(), strict=True)) == [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]
    for pair, (i, j) in enumerate(zip(first, second, strict=True)):
        expected = np.zeros(tables.shape[:2])
        for a, value in enumerate(encoded.categories[i]):
            for b, other in enumerate(encoded.categories[j]):
                expected[a, b] = np.sum((data[:, i] == value) & (data[:, j] == other))
        np.testing.assert_array_equal(tables[:, :, pair], expected)
    for column, (values, counts) in enumerate(zip(encoded.categories, encoded.counts, strict=True)):
        answered = data[~np.isnan(data[:, column]), column]
        np.testing.assert_array_equal(values, np.unique(answered))
        np.testing.assert_array_equal(counts, [np.sum(answered == value) for value in values])


def test_large_tables_are_counted_in_parts() -> None:
    """Twenty thousand rows give the same tables as their halves together."""
    data = np.random.default_rng(1).integers(1, 6, (20_000, 3)).astype(float)
    whole = tabulate_pairs(encode_ordinal(data, list("abc"), who="test"))[0]
    halves = [tabulate_pairs(encode_ordinal(data[part::2], list("abc"), who="test"))[0] for part in (0, 1)]
    np.testing.assert_array_equal(whole, halves[0] + halves[1])
    assert whole.sum() == 3 * 20_000


def test_thresholds_are_quantiles_of_cumulative_shares() -> None:
    """Items with fewer categories have the stand-in beyond their last threshold."""
    data = np.array([[1.0, 0.0], [2.0, 0.0], [3.0, 1.0], [3.0, np.nan]])
    thresholds = thresholds_of(encode_ordinal(data, ["a", "b"], who="test"))
    np.testing.assert_allclose(thresholds[:, 0], ndtri([0.25, 0.5]))
    np.testing.assert_allclose(thresholds[:, 1], [ndtri(2 / 3), BEYOND])
    assert pytest.approx(50.0) == BEYOND
