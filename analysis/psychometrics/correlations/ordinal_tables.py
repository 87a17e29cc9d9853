"""Ordinal items as category numbers, and the contingency tables of all pairs of them at once."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

from analysis.psychometrics.errors import AnalysisInputError
from analysis.psychometrics.response_matrix import FloatArray, IntArray

#: More different values than this are a measurement, not a rating; tables of all pairs would grow with their square.
MOST_CATEGORIES = 30
#: A limit that no normal variable reaches; stands for the thresholds that an item with fewer categories lacks.
BEYOND = 50.0
_ROWS_AT_A_TIME = 8192


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OrdinalCodes:
    """Answers as category numbers: 0 missing, 1 the lowest category that occurs, and so on."""

    numbers: npt.NDArray[np.uint8]  # (n_rows, n_items)
    categories: tuple[FloatArray, ...]  # for each item the values behind 1, 2 …
    counts: tuple[IntArray, ...]  # for each item the rows in each category

    @property
    def n_categories(self) -> IntArray:
        """Return the number of categories of each item."""
        return np.array([len(values) for values in self.categories], dtype=np.int64)


def encode_ordinal(
    values: FloatArray, codes: Sequence[str], *, who: str, levels: Sequence[Sequence[float]] | None = None
) -> OrdinalCodes:
    """Number the categories of each item in ascending order of their values, whatever those are.

    Parameters
    ----------
    values : array, shape (n_rows, n_items)
        Answers, NaN for missing.
    codes : sequence of str
        Names for messages.
    who : str
        The function that asks, for messages.
    levels : sequence of sequences of float, optional
        For each item the values that have to occur (those of all groups together); the values found, if absent.

    Raises
    ------
    AnalysisInputError
        An item with more than 30 different values, or a level without answers, or an answer that is no level.
    """
    numbers = np.zeros(values.shape, dtype=np.uint8)
    categories, counts = [], []
    for position, code in enumerate(codes):
        column = values[:, position]
        observed = ~np.isnan(column)
        answers = column[observed]
        found, inverse, count = _unique(answers)
        if len(found) > MOST_CATEGORIES:
            raise AnalysisInputError(
                f"{who} requires ordinal items with at most {MOST_CATEGORIES} categories; {code} has {len(found)} "
                "different values. Remedy: declare it as continuous, or use Pearson correlations."
            )
        if levels is not None:
            _refuse_other_levels(found, np.asarray(levels[position], dtype=np.float64), code, who=who)
        numbers[observed, position] = inverse + 1
        categories.append(found)
        counts.append(count)
    return OrdinalCodes(numbers=numbers, categories=tuple(categories), counts=tuple(counts))


def _unique(answers: FloatArray) -> tuple[FloatArray, IntArray, IntArray]:
    """Return the different values in order, each answer's place among them, and how often each occurs."""
    if len(answers):
        lowest = answers.min()
        shifted = answers - lowest
        # Whole numbers close together are counted without sorting.
        if shifted.max() <= 10 * MOST_CATEGORIES and not (shifted % 1).any():
            steps = shifted.astype(np.int64)
            count = np.bincount(steps)
            present = np.flatnonzero(count)
            place = np.zeros(len(count), dtype=np.int64)
            place[present] = np.arange(len(present))
            return present + lowest, place[steps], count[present].astype(np.int64)
    found, inverse, count = np.unique(answers, return_inverse=True, return_counts=True)
    return found, inverse.astype(np.int64), count.astype(np.int64)


def _refuse_other_levels(found: FloatArray, wanted: FloatArray, code: str, *, who: str) -> None:
    absent, foreign = np.setdiff1d(wanted, found), np.setdiff1d(found, wanted)
    if len(absent):
        raise AnalysisInputError(
            f"{who} requires answers in every category of an item; {code} has none in "
            f"{', '.join(f'{value:g}' for value in absent)}. Remedy: join that category with its neighbour in all "
            "groups, or leave the item out."
        )
    if len(foreign):
        raise AnalysisInputError(
            f"{who} requires answers among the levels given; {code} has others: "
            f"{', '.join(f'{value:g}' for value in foreign)}. Remedy: complete the levels or recode the answers."
        )


def tabulate_pairs(encoded: OrdinalCodes) -> tuple[FloatArray, IntArray, IntArray]:
    """Count the answers to every pair of items.

    Returns
    -------
    tables : array, shape (n_categories, n_categories, n_pairs)
        `tables[a, b, p]` rows answered category a + 1 of the pair's first item and b + 1 of its second; as many
        categories as the item with the most, empty ones for the others.
    first, second : arrays, shape (n_pairs,)
        The items of each pair, first < second, in the order (0, 1), (0, 2) … (1, 2) …

    Notes
    -----
    One matrix product of the indicator matrix with itself holds every table, so that all that follows does not depend
    on the number of respondents.
    """
    n_categories = encoded.n_categories
    n_items, most = len(n_categories), int(n_categories.max())
    ends = np.cumsum(n_categories)
    starts = ends - n_categories
    width = int(ends[-1])
    products = np.zeros((width + 1, width + 1))  # the last row and column stay empty, for categories an item lacks
    for begin in range(0, len(encoded.numbers), _ROWS_AT_A_TIME):
        numbers = encoded.numbers[begin : begin + _ROWS_AT_A_TIME]
        # Single precision counts exactly up to 2**24, far above the rows of one part.
        indicators = np.zeros((len(numbers), width + 1), dtype=np.float32)
        columns = np.where(numbers > 0, starts + numbers - 1, width)
        indicators[np.arange(len(numbers))[:, None], columns] = 1.0
        products[:width, :width] += indicators[:, :width].T @ indicators[:, :width]
    places = np.where(np.arange(most) < n_categories[:, None], starts[:, None] + np.arange(most), width)
    first, second = np.triu_indices(n_items, k=1)
    tables = products[places[first].T[:, None, :], places[second].T[None, :, :]]
    return tables, first, second


def thresholds_of(encoded: OrdinalCodes) -> FloatArray:
    """Return normal quantiles of the cumulative shares: (most categories − 1, n_items); `BEYOND` for none."""
    most = int(encoded.n_categories.max())
    thresholds = np.full((max(most - 1, 0), len(encoded.counts)), BEYOND)
    for position, count in enumerate(encoded.counts):
        if len(count) > 1:
            thresholds[: len(count) - 1, position] = ndtri(np.cumsum(count[:-1]) / count.sum())
    return thresholds
