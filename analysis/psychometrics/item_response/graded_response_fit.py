"""How well the graded response model fits its items: S-X² item by item, and Q3 residual correlations pair by pair."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import chdtrc

from analysis.psychometrics.errors import AnalysisInputError
from analysis.psychometrics.item_response.graded_response import (
    GradedResponseModel,
    category_codes,
    category_probabilities,
    score_graded_response,
)
from analysis.psychometrics.item_response.graded_response_likelihood import quadrature
from analysis.psychometrics.response_matrix import FloatArray, IntArray, pairwise_moments, read_only


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GradedItemFit:
    """S-X² of each item (NaN with zero degrees of freedom where the table is too small), from complete rows."""

    item_codes: tuple[str, ...]
    s_x2: FloatArray  # (n_items,)
    df: IntArray
    p_value: FloatArray
    rmsea: FloatArray
    n_used: int
    n_dropped: int
    notes: tuple[str, ...]


def graded_item_fit(
    model: GradedResponseModel, data: npt.ArrayLike, *, smallest_expected: float = 1.0
) -> GradedItemFit:
    """Test each item's fit by comparing observed and expected answers at every total score.

    Parameters
    ----------
    model : GradedResponseModel
        The fitted model.
    data : array-like, shape (n_respondents, n_items)
        The answers that it was fitted to. A total score needs all of them: rows with a blank are left out.
    smallest_expected : float
        Cells with fewer expected respondents are merged, first over categories, then over scores.

    Raises
    ------
    AnalysisInputError
        No complete row, or answers that the model does not know.

    Notes
    -----
    S-X² = Σ_s Σ_k (O_sk − E_sk)² / E_sk, with E_sk = n_s P(x = k | total = s) from the summed-score recursion of Lord &
    Wingersky (1984); Orlando & Thissen (2000) for two categories, Kang & Chen (2007) for more. df = cells − rows −
    parameters of the item. Cells are merged in the same order as mirt's `itemfit` merges them: rows that some category
    cannot reach into their neighbours, single respondents into the next score, sparse categories into a neighbour
    within their row, then sparse rows into a neighbouring row.
    R: `mirt::itemfit(fit)`.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.psychometrics.item_response.graded_response import fit_graded_response
    >>> rng = np.random.default_rng(1)
    >>> answers = np.digitize(rng.standard_normal((600, 1)) + rng.logistic(size=(600, 5)), [-1, 1])
    >>> fit = graded_item_fit(fit_graded_response(answers), answers)
    >>> bool((fit.p_value > 0.001).all())
    True
    """
    who = "graded_item_fit"
    coded = category_codes(model, data, who=who)
    complete = np.asarray((coded >= 0).all(axis=1), dtype=np.bool_)
    n_used = int(complete.sum())
    if n_used == 0:
        raise AnalysisInputError(
            f"{who} requires respondents who answered all {len(model.items)} items; got none. Remedy: leave out the "
            "items that most forms lack."
        )
    coded = coded[complete]
    totals = coded.sum(axis=1)
    nodes, weights = quadrature()
    curves = category_probabilities(model, nodes)
    rest = _distributions_without_each(curves)
    n_scores = sum(len(curve) - 1 for curve in curves) + 1
    s_x2 = np.full(len(curves), np.nan)
    df = np.zeros(len(curves), dtype=np.int64)
    for item, curve in enumerate(curves):
        n_categories = len(curve)
        joint = np.full((n_scores, n_categories), np.nan)  # stays NaN where the score is out of the category's reach
        for category in range(n_categories):
            reached = slice(category, category + len(rest[item]))
            joint[reached, category] = (rest[item] * curve[category]) @ weights
        expected = joint / np.nansum(joint, axis=1, keepdims=True)
        observed = np.zeros((n_scores, n_categories))
        np.add.at(observed, (totals, coded[:, item]), 1.0)
        expected *= observed.sum(axis=1, keepdims=True)
        observed, expected = _merge_cells(observed[1:-1], expected[1:-1], smallest_expected)
        cells = expected > 0
        degrees = int(cells.sum()) - len(expected) - n_categories
        if degrees > 0:
            df[item] = degrees
            s_x2[item] = float(((observed[cells] - expected[cells]) ** 2 / expected[cells]).sum())
    with np.errstate(invalid="ignore", divide="ignore"):
        rmsea = np.sqrt(np.maximum(s_x2 / df - 1, 0.0) / (n_used - 1))
    notes: list[str] = []
    if n_used < len(complete):
        notes.append(f"S-X² rests on the {n_used} complete rows: a total score needs every item")
    untested = [item.item_code for item, degrees in zip(model.items, df, strict=True) if degrees == 0]
    if untested:
        notes.append(f"no degrees of freedom left to test {', '.join(untested)}")
    return GradedItemFit(
        item_codes=model.item_codes,
        s_x2=read_only(s_x2),
        df=read_only(df),
        p_value=read_only(np.where(df > 0, chdtrc(np.maximum(df, 1), np.maximum(s_x2, 0.0)), np.nan)),
        rmsea=read_only(np.where(df > 0, rmsea, np.nan)),
        n_used=n_used,
        n_dropped=len(complete) - n_used,
        notes=tuple(notes),
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ResidualCorrelations:
    """Q3: correlations of the items' residuals once the trait is taken out; the diagonal is one."""

    item_codes: tuple[str, ...]
    q3: FloatArray  # (n_items, n_items)
    largest: float
    largest_pair: tuple[str, str]
    mean: float  # of the pairs; about −1/(n_items − 1) when the items are locally independent
    n_used: int  # the smallest number of respondents behind a pair
    n_dropped: int


def graded_residual_correlations(model: GradedResponseModel, data: npt.ArrayLike) -> ResidualCorrelations:
    """Correlate what the trait leaves unexplained, for every pair of items (Yen's Q3).

    Parameters
    ----------
    model : GradedResponseModel
        The fitted model.
    data : array-like, shape (n_respondents, n_items)
        The answers; a pair is correlated over the respondents who answered both.

    Notes
    -----
    Residual = category (0, 1, …) − its expectation at the respondent's EAP score; Yen (1984), Appl Psychol Meas 8:125.
    R: `mirt::residuals(fit, type = "Q3")`.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.psychometrics.item_response.graded_response import fit_graded_response
    >>> rng = np.random.default_rng(1)
    >>> answers = np.digitize(rng.standard_normal((600, 1)) + rng.logistic(size=(600, 5)), [-1, 1])
    >>> result = graded_residual_correlations(fit_graded_response(answers), answers)
    >>> result.q3.shape, bool(result.largest < 0.2)
    ((5, 5), True)
    """
    who = "graded_residual_correlations"
    coded = category_codes(model, data, who=who)
    theta = score_graded_response(model, data).theta
    answered = ~np.isnan(theta)
    residual = np.full(coded.shape, np.nan)
    for item, curve in enumerate(category_probabilities(model, theta[answered])):
        residual[answered, item] = coded[answered, item] - np.arange(len(curve)) @ curve
    residual[coded < 0] = np.nan
    _, q3, counts = pairwise_moments(residual)
    first, second = np.triu_indices(len(q3), 1)
    pairs = q3[first, second]
    strongest = int(np.nanargmax(np.abs(pairs))) if not np.isnan(pairs).all() else 0
    n_used = int(counts[first, second].min())
    return ResidualCorrelations(
        item_codes=model.item_codes,
        q3=read_only(q3),
        largest=float(pairs[strongest]),
        largest_pair=(model.item_codes[first[strongest]], model.item_codes[second[strongest]]),
        mean=float(np.nanmean(pairs)) if not np.isnan(pairs).all() else float("nan"),
        n_used=n_used,
        n_dropped=len(coded) - n_used,
    )


def _distributions_without_each(curves: Sequence[FloatArray]) -> list[FloatArray]:
    """For each item, the distribution of the other items' total at every node, (n_rest_scores, n_nodes).

    Lord & Wingersky's recursion, shared: the items are halved again and again, each half receiving the total of the
    other, which takes n log n instead of n² steps.
    """
    result: list[FloatArray] = [np.ones((1, 1))] * len(curves)

    def convolve(distribution: FloatArray, curve: FloatArray) -> FloatArray:
        total = np.zeros((len(distribution) + len(curve) - 1, curve.shape[1]))
        for category, probability in enumerate(curve):
            total[category : category + len(distribution)] += distribution * probability
        return total

    def descend(items: Sequence[int], others: FloatArray) -> None:
        if len(items) == 1:
            result[items[0]] = others
            return
        middle = len(items) // 2
        for own, other in ((items[:middle], items[middle:]), (items[middle:], items[:middle])):
            total = others
            for item in other:
                total = convolve(total, curves[item])
            descend(own, total)

    descend(range(len(curves)), np.ones((1, curves[0].shape[1])))
    return result


def _merge_cells(observed: FloatArray, expected: FloatArray, smallest: float) -> tuple[FloatArray, FloatArray]:
    """Merge sparse cells as mirt's `itemfit` does; an expected count of zero marks a cell that is gone.

    mirt marks sparse cells once, before it merges rows of a single respondent, and looks up the marks by row number
    afterwards. That is repeated here on purpose: another order gives other degrees of freedom.
    """
    unreachable = np.flatnonzero(np.isnan(expected).any(axis=1))
    expected = np.nan_to_num(expected)
    if len(unreachable):
        half = len(unreachable) // 2
        low, high = unreachable[:half], unreachable[half:]
        first, last = int(low.max()) + 1, int(high.min()) - 1
        if first > last:  # fewer scores than the item has categories: no table to test
            return observed[:0], expected[:0]
        for table in (observed, expected):
            table[first] += table[low].sum(axis=0)
            table[last] += table[high].sum(axis=0)
        observed, expected = observed[first : last + 1], expected[first : last + 1]
    seen = observed.sum(axis=1) > 0
    observed, expected = observed[seen], expected[seen]
    if len(observed) < 2:
        return observed[:0], expected[:0]
    sparse = np.asarray((expected < smallest).any(axis=1), dtype=np.bool_)

    kept = np.ones(len(observed), dtype=bool)
    for row in range(len(observed) - 1):
        if observed[row].sum() == 1:
            kept[row] = False
            observed[row + 1] += observed[row]
            expected[row + 1] += expected[row]
    observed, expected = observed[kept], expected[kept]
    if len(observed) > 1 and observed[-1].sum() == 1:
        observed, expected = _merge_row(observed, expected, len(observed) - 1, len(observed) - 2)

    n_columns = expected.shape[1]
    if n_columns > 2:
        for marked in np.flatnonzero(sparse[: len(expected)]):
            cells_expected, cells_observed = _merge_within_row(expected[marked], observed[marked], smallest)
            expected[marked] = observed[marked] = 0.0
            expected[marked, : len(cells_expected)] = cells_expected
            observed[marked, : len(cells_observed)] = cells_observed
    while expected.shape[1] > 2 and expected[:, -1].sum() < smallest * np.ceil(len(expected) * 0.1):
        observed, expected = _merge_column(observed, expected, expected.shape[1] - 1)
    for column in range(expected.shape[1] - 1, 0, -1):
        if (expected[:, column] > 0).mean() < 0.05:
            observed, expected = _merge_column(observed, expected, column)

    while len(expected) > 1:
        short = np.flatnonzero(((expected < smallest) & (expected != 0)).any(axis=1))
        if not len(short):
            break
        least = int(short[0])
        if least == 0:
            into = 1
        elif least == len(expected) - 1:
            into = least - 1
        else:
            into = least - 1 if observed[least - 1].sum() <= observed[least + 1].sum() else least + 1
        observed, expected = _merge_row(observed, expected, least, into)
    return observed, expected


def _merge_row(observed: FloatArray, expected: FloatArray, row: int, into: int) -> tuple[FloatArray, FloatArray]:
    for table in (observed, expected):
        table[into] += table[row]
    return np.delete(observed, row, axis=0), np.delete(expected, row, axis=0)


def _merge_column(observed: FloatArray, expected: FloatArray, column: int) -> tuple[FloatArray, FloatArray]:
    for table in (observed, expected):
        table[:, column - 1] += table[:, column]
    return np.delete(observed, column, axis=1), np.delete(expected, column, axis=1)


def _merge_within_row(expected: FloatArray, observed: FloatArray, smallest: float) -> tuple[list[float], list[float]]:
    """Merge the smallest cell into its smaller neighbour until all are large enough or two are left."""
    cells, seen = expected.tolist(), observed.tolist()
    while len(cells) > 2:
        least = max(position for position, cell in enumerate(cells) if cell == min(cells))
        if least == 0:
            into = 1
        elif least == len(cells) - 1:
            into = least - 1
        else:
            into = least - 1 if cells[least - 1] <= cells[least + 1] else least + 1
        cells[into] += cells[least]
        seen[into] += seen[least]
        del cells[least], seen[least]
        if min(cells) >= smallest:
            break
    return cells, seen
