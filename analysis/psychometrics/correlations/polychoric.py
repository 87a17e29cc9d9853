"""Polychoric correlations of ordinal items: Pearson's, had the normal variables behind them been observed."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr

from analysis.psychometrics.correlations.bivariate_normal import bivariate_normal_grid
from analysis.psychometrics.correlations.ordinal_tables import (
    OrdinalCodes,
    encode_ordinal,
    tabulate_pairs,
    thresholds_of,
)
from analysis.psychometrics.errors import AnalysisInputError
from analysis.psychometrics.response_matrix import (
    FloatArray,
    IntArray,
    Missing,
    as_item_codes,
    as_responses,
    complete_rows,
    read_only,
    smooth_to_positive_definite,
)

BoolArray = npt.NDArray[np.bool_]

#: Correlations are sought between ±.999, as lavaan does: at ±1 two items are one.
LARGEST_RHO = 0.999
#: A cell this improbable adds nothing that double precision could tell (lavaan's limit, too).
TINY_PROBABILITY = float(np.sqrt(np.finfo(np.float64).eps))
_NEWTON_STEPS = 20  # an ordinary pair needs three to six; after these the interval is halved
_MOST_STEPS = 70
_FLAT = 1e-9  # a slope per respondent that double precision can't tell from none
_LAST_STEP = 1e-7  # Newton's next error is of the order of its square
#: Eigenvalues below this share of the number of items count as not positive.
_SINGULAR = 1e-10


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PairFit:
    """The maximum of each pair's likelihood, and how it was reached."""

    rho: FloatArray  # (n_pairs,); NaN without an answer to both items, or for an item with one category
    converged: BoolArray
    empty_cells: BoolArray  # some combination of categories did not occur
    at_limit: BoolArray  # the two items agree (or disagree) perfectly or nearly so


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PolychoricCorrelations:
    """Polychoric correlations with the thresholds that they rest on."""

    item_codes: tuple[str, ...]
    matrix: FloatArray  # (n_items, n_items)
    thresholds: tuple[FloatArray, ...]  # for each item one fewer than categories
    categories: tuple[FloatArray, ...]  # for each item the values found, lowest first
    n_pairs: IntArray  # (n_items, n_items): respondents behind each correlation
    smoothed: bool
    missing: Missing
    n_used: int  # complete rows, or the smallest number behind a pair
    n_dropped: int
    notes: tuple[str, ...]


def polychoric_correlations(
    data: npt.ArrayLike,
    *,
    item_codes: Sequence[str] | None = None,
    missing: Missing = "listwise",
    smooth: bool = True,
) -> PolychoricCorrelations:
    """Correlate the normal variables behind ordinal items, all pairs at once.

    Parameters
    ----------
    data : array-like, shape (n_respondents, n_items)
        Answers, NaN for missing. Any numbers in ascending order of the categories will do; items may differ in their
        number of categories, up to 30.
    item_codes : sequence of str, optional
        Names for messages.
    missing : {'listwise', 'pairwise'}
        Complete respondents; or thresholds from all who answered an item and each correlation from all who answered
        both items, as in lavaan.
    smooth : bool
        Make a matrix that is not positive definite so, with a note.

    Returns
    -------
    PolychoricCorrelations
        An item with one category, or a pair that nobody answered both of, has NaN and a note. Two items that agree
        perfectly correlate ±.999, the limit of the search (±1 for two categories), with a note.

    Raises
    ------
    AnalysisInputError
        Fewer than two usable rows, or an item with more than 30 different values.

    Notes
    -----
    Two-step maximum likelihood (Olsson 1979): thresholds τ are normal quantiles of the cumulative shares; then for each
    pair Σ n_ab log π_ab(ρ) is maximised, π_ab being the bivariate normal probability of the rectangle between the
    thresholds, by Newton's method on all pairs at once. In a 2 × 2 table one empty cell is given half an answer from
    its neighbours so that the margins stay (lavaan's `zero.add = c(0.5, 0)`, `zero.keep.margins = TRUE`); other empty
    cells are left alone. R: `lavaan::lavCor(x, ordered = names(x))`, with `missing = "pairwise"` for pairwise.

    Examples
    --------
    >>> import numpy as np
    >>> table = np.array([[40, 10], [20, 30]])
    >>> rows = np.repeat([[1.0, 1.0], [1.0, 2.0], [2.0, 1.0], [2.0, 2.0]], table.ravel(), axis=0)
    >>> polychoric_correlations(rows).matrix.round(4)
    array([[1.    , 0.6071],
           [0.6071, 1.    ]])
    """
    who = "polychoric_correlations"
    values, n_rows = usable_rows(data, missing, who=who, item_codes=item_codes)
    codes = as_item_codes(item_codes, values.shape[1], who=who)
    encoded = encode_ordinal(values, codes, who=who)
    thresholds = thresholds_of(encoded)
    tables, first, second = tabulate_pairs(encoded)
    fit = fit_pairs(tables, thresholds, first, second, encoded.n_categories)
    matrix = symmetric(fit.rho, len(codes))
    counts = pair_counts(tables, encoded)
    notes = list(pair_notes(fit, codes, first, second, encoded.n_categories, counts))
    constant = np.array([len(found) < 2 for found in encoded.categories])
    matrix[constant, constant] = np.nan
    smoothed = False
    if smooth and not np.isnan(matrix).any():
        smallest = float(np.linalg.eigvalsh(matrix)[0])
        if smallest < _SINGULAR * len(codes):
            original, matrix = matrix, smooth_to_positive_definite(matrix)
            smoothed = True
            notes.append(
                f"polychoric correlations were not positive definite (smallest eigenvalue {smallest:.3g}) and were "
                f"smoothed; the largest change of a correlation is {float(np.abs(matrix - original).max()):.3g}"
            )
    n_used = int(counts.min()) if missing == "pairwise" else len(values)
    return PolychoricCorrelations(
        item_codes=codes,
        matrix=read_only(matrix),
        thresholds=tuple(
            read_only(thresholds[: max(len(found) - 1, 0), position].copy())
            for position, found in enumerate(encoded.categories)
        ),
        categories=tuple(read_only(found) for found in encoded.categories),
        n_pairs=read_only(counts),
        smoothed=smoothed,
        missing=missing,
        n_used=n_used,
        n_dropped=n_rows - n_used,
        notes=tuple(notes),
    )


def usable_rows(
    data: npt.ArrayLike, missing: Missing, *, who: str, item_codes: Sequence[str] | None = None
) -> tuple[FloatArray, int]:
    """Return the rows that the kind of deletion keeps, and how many there were before."""
    if missing == "listwise":
        complete = complete_rows(data, who=who, minimum_items=2, item_codes=item_codes)
        return complete.values, complete.n_used + complete.n_dropped
    if missing == "pairwise":
        values = as_responses(data, who=who, minimum_items=2)
        if len(values) < 2:
            raise AnalysisInputError(
                f"{who} requires at least 2 respondents; got {len(values)}. Remedy: collect more forms."
            )
        return values, len(values)
    raise AnalysisInputError(
        f"{who} requires missing='listwise' or 'pairwise'; got {missing!r}. Remedy: choose one of the two."
    )


def symmetric(below: FloatArray, n_items: int) -> FloatArray:
    """Return the matrix with a unit diagonal whose pairs (0, 1), (0, 2) … (1, 2) … are given."""
    matrix = np.eye(n_items)
    first, second = np.triu_indices(n_items, k=1)
    matrix[first, second] = matrix[second, first] = below
    return matrix


def pair_counts(tables: FloatArray, encoded: OrdinalCodes) -> IntArray:
    """Return how many rows answered both items of each pair, and each item on the diagonal."""
    counts = symmetric(tables.sum(axis=(0, 1)), len(encoded.counts))
    np.fill_diagonal(counts, [count.sum() for count in encoded.counts])
    return np.rint(counts).astype(np.int64)


def fit_pairs(
    tables: FloatArray, thresholds: FloatArray, first: IntArray, second: IntArray, n_categories: IntArray
) -> PairFit:
    """Maximise the likelihood of each pair's correlation, its thresholds given.

    Parameters
    ----------
    tables : array, shape (n_categories, n_categories, n_pairs)
        See `ordinal_tables.tabulate_pairs`.
    thresholds : array, shape (n_categories − 1, n_items)
        See `ordinal_tables.thresholds_of`.
    first, second : arrays, shape (n_pairs,)
        The items of each pair.
    n_categories : array, shape (n_items,)
    """
    n_pairs = len(first)
    possible = (n_categories[first] > 1) & (n_categories[second] > 1) & (tables.sum(axis=(0, 1)) > 0)
    cells = n_categories[first] * n_categories[second]
    empty = (tables > 0).sum(axis=(0, 1)) < cells
    rho = np.full(n_pairs, np.nan)
    converged = possible.copy()
    tables, known = _settle_two_by_two(tables, thresholds, first, second, n_categories)
    settled = possible & ~np.isnan(known)
    rho[settled] = known[settled]
    sought = np.flatnonzero(possible & np.isnan(known))
    if len(sought):
        found, reached = _maximise(tables[:, :, sought], thresholds[:, first[sought]], thresholds[:, second[sought]])
        rho[sought], converged[sought] = found, reached
    with np.errstate(invalid="ignore"):
        at_limit = np.abs(rho) >= LARGEST_RHO - 1e-6
    return PairFit(rho=rho, converged=converged, empty_cells=empty & possible, at_limit=at_limit)


def _settle_two_by_two(
    tables: FloatArray, thresholds: FloatArray, first: IntArray, second: IntArray, n_categories: IntArray
) -> tuple[FloatArray, FloatArray]:
    """Return tables without single empty cells in 2 × 2 tables, and the correlations that need no search (else NaN)."""
    known = np.full(len(first), np.nan)
    small = np.flatnonzero((n_categories[first] == 2) & (n_categories[second] == 2))
    if not len(small):
        return tables, known
    tables = tables.copy()
    squares = tables[:2, :2, small]
    n_empty = (squares == 0).sum(axis=(0, 1))
    diagonal_empty = (squares[0, 0] == 0) | (squares[1, 1] == 0)
    # Half an answer moves into the one empty cell and its opposite, out of the other two: the margins stay.
    half = np.where(n_empty == 1, np.where(diagonal_empty, 0.5, -0.5), 0.0)
    squares[0, 0] += half
    squares[1, 1] += half
    squares[0, 1] -= half
    squares[1, 0] -= half
    tables[:2, :2, small] = squares
    same = squares[0, 0] * squares[1, 1]
    other = squares[0, 1] * squares[1, 0]
    halves = (thresholds[0, first[small]] == 0) & (thresholds[0, second[small]] == 0)
    # With both items split in half the maximum has a closed form (Sheppard 1899).
    share = squares[0, 0] / np.maximum(squares.sum(axis=(0, 1)), 1.0)
    settled = np.where(halves, -np.cos(2 * np.pi * share), np.nan)
    settled = np.where(same == other, 0.0, settled)
    settled = np.where(n_empty == 2, np.where(same > other, 1.0, -1.0), settled)
    # Rows that hold both items may all fall into one category of either: then only the search gives an answer.
    settled = np.where((same == 0) & (other == 0), np.nan, settled)
    known[small] = settled
    return tables, known


def _maximise(tables: FloatArray, lower_items: FloatArray, upper_items: FloatArray) -> tuple[FloatArray, BoolArray]:
    """Climb each pair's likelihood by Newton steps, kept between points known to lie on either side of its top."""
    n_pairs = tables.shape[2]
    rho = _starting_values(tables)
    converged = np.zeros(n_pairs, dtype=np.bool_)
    low, high = np.full(n_pairs, -LARGEST_RHO), np.full(n_pairs, LARGEST_RHO)
    active = np.arange(n_pairs)
    total = tables.sum(axis=(0, 1))
    for step in range(_MOST_STEPS):
        current = rho[active]
        gradient, curvature, observed = _slopes(tables, lower_items, upper_items, current)
        low = np.where(gradient > 0, current, low)
        high = np.where(gradient > 0, high, current)
        target = current + gradient / curvature
        halving = (target <= low) | (target >= high) | (step >= _NEWTON_STEPS)
        target = np.where(halving, (low + high) / 2, target)
        # Where nothing contradicts a perfect correlation, the likelihood levels out towards it.
        flat = (np.abs(current) > 0.9) & (np.abs(gradient) < _FLAT * total) & (observed < 1e-3 * total)
        target = np.where(flat, np.sign(current) * LARGEST_RHO, np.where(gradient == 0, current, target))
        done = flat | (np.abs(target - current) < _LAST_STEP)
        rho[active] = target
        converged[active[done]] = True
        if done.all():
            break
        going = ~done
        active, low, high, total = active[going], low[going], high[going], total[going]
        tables, lower_items, upper_items = tables[:, :, going], lower_items[:, going], upper_items[:, going]
    near_limit = np.abs(rho) > LARGEST_RHO - 1e-6
    return np.where(near_limit, np.sign(rho) * LARGEST_RHO, rho), converged


def _starting_values(tables: FloatArray) -> FloatArray:
    """Return Pearson correlations of the category numbers, a little enlarged because categories weaken them."""
    scores = np.arange(len(tables), dtype=np.float64)
    total = tables.sum(axis=(0, 1))
    rows, columns = tables.sum(axis=1), tables.sum(axis=0)
    mean_row, mean_column = scores @ rows / total, scores @ columns / total
    variance_row = scores**2 @ rows / total - mean_row**2
    variance_column = scores**2 @ columns / total - mean_column**2
    product = np.einsum("a,abp,b->p", scores, tables, scores) / total
    scale = np.sqrt(np.maximum(variance_row * variance_column, 0.0))
    r = np.where(scale > 1e-12, (product - mean_row * mean_column) / np.where(scale > 1e-12, scale, 1.0), 0.0)
    return np.clip(1.15 * r, -0.9, 0.9)


def cell_probabilities(lower_items: FloatArray, upper_items: FloatArray, rho: FloatArray) -> FloatArray:
    """Return the probability of each combination of categories: (n_categories, n_categories, n_pairs)."""
    n_limits, n_pairs = lower_items.shape
    corners = np.zeros((n_limits + 2, n_limits + 2, n_pairs))
    corners[1:-1, 1:-1] = bivariate_normal_grid(lower_items, upper_items, rho)
    corners[-1, 1:-1] = ndtr(upper_items)
    corners[1:-1, -1] = ndtr(lower_items)
    corners[-1, -1] = 1.0
    return cell_differences(corners)


def cell_differences(corners: FloatArray) -> FloatArray:
    """Return what lies in each cell, from a function's values at its four corners."""
    strips = corners[1:] - corners[:-1]
    return np.asarray(strips[:, 1:] - strips[:, :-1], dtype=np.float64)


def corner_densities(
    lower_items: FloatArray, upper_items: FloatArray, rho: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Return the density at every crossing of thresholds with a border of zeros, and its derivative by rho."""
    n_limits, n_pairs = lower_items.shape
    x, y = lower_items[:, None, :], upper_items[None, :, :]
    rest = 1 - rho * rho
    product = x * y
    squares = x * x + y * y - 2 * rho * product
    density = np.zeros((n_limits + 2, n_limits + 2, n_pairs))
    density[1:-1, 1:-1] = np.exp(squares / (-2 * rest)) / (2 * np.pi * np.sqrt(rest))
    change = np.zeros_like(density)
    change[1:-1, 1:-1] = density[1:-1, 1:-1] * ((product + rho) * rest - rho * squares) / rest**2
    return density, change


def _slopes(
    tables: FloatArray, lower_items: FloatArray, upper_items: FloatArray, rho: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return each log-likelihood's slope, a positive curvature for Newton's step, and minus its second derivative."""
    probability = cell_probabilities(lower_items, upper_items, rho)
    density, change = corner_densities(lower_items, upper_items, rho)
    usable = probability > TINY_PROBABILITY
    inverse = 1 / np.where(usable, probability, np.inf)
    score = cell_differences(density) * inverse
    weighted = tables * score
    gradient = weighted.sum(axis=(0, 1))
    bend = (tables * cell_differences(change) * inverse).sum(axis=(0, 1))
    observed = (weighted * score).sum(axis=(0, 1)) - bend
    expected = tables.sum(axis=(0, 1)) * (score**2 * probability).sum(axis=(0, 1))
    return gradient, np.where(observed > 0.1 * expected, observed, np.maximum(expected, 1e-300)), observed


def pair_notes(
    fit: PairFit,
    codes: Sequence[str],
    first: IntArray,
    second: IntArray,
    n_categories: IntArray,
    counts: IntArray,
) -> tuple[str, ...]:
    """Say which items and pairs have no correlation, or one that deserves distrust."""
    notes = []
    constant = [code for code, number in zip(codes, n_categories, strict=True) if number < 2]
    if constant:
        notes.append(f"fewer than two categories, so no polychoric correlation: {', '.join(constant)}")
    varied = (n_categories[first] > 1) & (n_categories[second] > 1)
    for label, chosen in (
        ("no respondent answered both items, so no correlation", varied & (counts[first, second] == 0)),
        (
            "the answers fit a perfect correlation best, so it stands at the limit of the search",
            fit.at_limit,
        ),
        ("the search for the correlation did not settle", varied & (counts[first, second] > 0) & ~fit.converged),
    ):
        if chosen.any():
            notes.append(f"{label}: {_listed_pairs(np.flatnonzero(chosen), codes, first, second)}")
    if fit.empty_cells.any():
        notes.append(
            f"empty cells in the tables of {int(fit.empty_cells.sum())} of {len(first)} pairs of items: "
            "their correlations rest on fewer combinations of categories"
        )
    return tuple(notes)


def _listed_pairs(chosen: IntArray, codes: Sequence[str], first: IntArray, second: IntArray, limit: int = 5) -> str:
    names = [f"{codes[first[pair]]} with {codes[second[pair]]}" for pair in chosen[:limit]]
    more = f" and {len(chosen) - limit} more" if len(chosen) > limit else ""
    return "; ".join(names) + more
