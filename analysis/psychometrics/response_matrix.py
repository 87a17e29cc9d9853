"""Response matrices: what every statistic here requires of its input, checked in one place.

Rows are respondents, columns are items, a missing answer is NaN. No function changes the array it is given.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np
import numpy.typing as npt

from analysis.psychometrics.errors import AnalysisInputError

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
Missing = Literal["listwise", "pairwise"]
AnyArray = TypeVar("AnyArray", FloatArray, IntArray)

#: Two items whose correlation is this near to ±1 carry the same information.
_DUPLICATE_R = 1 - 1e-10
#: Beyond this an answer's powers and their sums leave double precision; no measurement is that large.
LARGEST = 1e60
#: Eigenvalues below this share of the number of items count as zero (double precision leaves about 1e-14).
_SINGULAR = 1e-10


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CompleteRows:
    """The respondents without a missing answer, and how many were left out for one."""

    values: FloatArray
    n_used: int
    n_dropped: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Correlations:
    """A correlation matrix that is positive definite, with the number of respondents that it rests on.

    `n_used` is the number of complete respondents (listwise) or the smallest number behind any one pair (pairwise);
    `n_dropped` counts the rows that did not contribute to that number.
    """

    matrix: FloatArray
    n_used: int
    n_dropped: int
    missing: Missing
    notes: tuple[str, ...]


def read_only(array: AnyArray) -> AnyArray:
    """Close an array of ours to writing, so that a frozen result stays what it was."""
    array.setflags(write=False)
    return array


def as_responses(data: npt.ArrayLike, *, who: str, minimum_items: int = 1) -> FloatArray:
    """Return the data as a two-dimensional float array, or say what is wrong with it.

    Parameters
    ----------
    data : array-like, shape (n_respondents, n_items)
        Answers; NaN where there is none.
    who : str
        The function that asks, for the message.
    minimum_items : int
        The smallest number of columns that it can work with.

    Raises
    ------
    AnalysisInputError
        Not numeric, not two-dimensional, too few columns, no rows, or a value that is infinite or beyond 1e60.
    """
    try:
        values = np.asarray(data, dtype=np.float64)
    except (TypeError, ValueError):
        raise AnalysisInputError(
            f"{who} requires a matrix of numbers (rows respondents, columns items, NaN for missing); got something "
            "that does not convert to numbers. Remedy: recode answers to scale points and reasons for absence to NaN."
        ) from None
    if values.ndim != 2:
        raise AnalysisInputError(
            f"{who} requires a two-dimensional matrix (rows respondents, columns items); got {values.ndim} "
            "dimension(s). Remedy: pass one column per item."
        )
    n_rows, n_items = values.shape
    if n_items < minimum_items:
        raise AnalysisInputError(
            f"{who} requires at least {minimum_items} items; got {n_items}. Remedy: choose more items of the scale."
        )
    if n_rows == 0:
        raise AnalysisInputError(f"{who} requires respondents; got none. Remedy: collect forms or widen the selection.")
    beyond = np.abs(values) > LARGEST  # NaN is not
    if beyond.any():
        raise AnalysisInputError(
            f"{who} requires finite answers of at most {LARGEST:g}; got larger or infinite values in column(s) "
            f"{listed([str(i) for i in np.flatnonzero(beyond.any(axis=0))])}. Remedy: recode them to NaN."
        )
    return values


def as_item_codes(item_codes: Sequence[str] | None, n_items: int, *, who: str) -> tuple[str, ...]:
    """Return one code per column (`item 1`, `item 2` … when none are given), or say what does not fit."""
    if item_codes is None:
        return tuple(f"item {position + 1}" for position in range(n_items))
    codes = tuple(item_codes)
    if len(codes) != n_items:
        raise AnalysisInputError(
            f"{who} requires one item code per column; got {len(codes)} codes for {n_items} columns. "
            "Remedy: pass the codes in the order of the columns."
        )
    if len(set(codes)) != len(codes):
        repeated = sorted({code for code in codes if codes.count(code) > 1})
        raise AnalysisInputError(
            f"{who} requires each item once; got {listed(repeated)} repeatedly. Remedy: drop the repeated columns."
        )
    return codes


def complete_rows(
    data: npt.ArrayLike,
    *,
    who: str,
    minimum_items: int = 1,
    minimum_respondents: int = 2,
    item_codes: Sequence[str] | None = None,
) -> CompleteRows:
    """Keep the respondents who answered every item (listwise deletion), and count after deleting.

    `item_codes` are for the message, which names the items that nobody answered.

    Raises
    ------
    AnalysisInputError
        Fewer complete respondents than `minimum_respondents`, or an unusable matrix (see `as_responses`).
    """
    values = as_responses(data, who=who, minimum_items=minimum_items)
    kept = values[~np.isnan(values).any(axis=1)]
    if len(kept) < minimum_respondents:
        blank = np.flatnonzero(np.isnan(values).all(axis=0))
        if len(blank):
            codes = as_item_codes(item_codes, values.shape[1], who=who)
            remedy = f"leave out what nobody answered ({listed([codes[position] for position in blank])})."
        else:
            remedy = "collect more forms, or leave out the items that most forms lack."
        raise AnalysisInputError(
            f"{who} requires at least {minimum_respondents} respondents who answered all {values.shape[1]} items; "
            f"got {len(kept)} of {len(values)}. Remedy: {remedy}"
        )
    return CompleteRows(values=kept, n_used=len(kept), n_dropped=len(values) - len(kept))


def refuse_constant_items(values: FloatArray, codes: Sequence[str], *, who: str) -> None:
    """Raise `AnalysisInputError` naming the items without any variation: they correlate with nothing."""
    low, high = values.min(axis=0), values.max(axis=0)
    if np.isnan(low).any():
        observed = ~np.isnan(values)
        low = np.where(observed, values, np.inf).min(axis=0)
        high = np.where(observed, values, -np.inf).max(axis=0)
    constant = [code for code, lowest, highest in zip(codes, low, high, strict=True) if not highest > lowest]
    if constant:
        raise AnalysisInputError(
            f"{who} requires items that vary between respondents; constant or empty among the rows used: "
            f"{listed(constant)}. Remedy: leave these items out, or wait for more forms."
        )


def reverse_items(
    data: npt.ArrayLike, *, columns: Sequence[int], lowest: float, highest: float, who: str = "reverse_items"
) -> FloatArray:
    """Return a copy in which the given columns are turned round: x' = lowest + highest − x; NaN stays NaN."""
    values = as_responses(data, who=who).copy()
    chosen = list(columns)
    values[:, chosen] = lowest + highest - values[:, chosen]
    return values


def pairwise_moments(values: FloatArray) -> tuple[FloatArray, FloatArray, IntArray]:
    """Return covariances, correlations and counts of every pair of columns, each from the rows that hold both.

    Means and variances are those of the pair's own rows (as in R's `use = "pairwise.complete.obs"`); NaN where a pair
    has fewer than two rows, or where an item is constant (correlation only).
    """
    observed = ~np.isnan(values)
    present = observed.astype(np.float64)
    # Centring on the column's own mean first keeps the sums of products free from cancellation.
    counts_per_item = np.maximum(present.sum(axis=0), 1.0)
    centre = np.where(observed, values, 0.0).sum(axis=0) / counts_per_item
    centred = np.where(observed, values - centre, 0.0)
    n = present.T @ present
    sums = centred.T @ present  # [i, j]: sum of i over the rows that hold both
    squares = (centred**2).T @ present
    products = centred.T @ centred
    with np.errstate(divide="ignore", invalid="ignore"):
        covariance = (products - sums * sums.T / n) / (n - 1)
        variance = (squares - sums**2 / n) / (n - 1)
        scale = np.sqrt(variance * variance.T)
        # A constant column leaves rounding dust instead of a zero variance; how much depends on its units.
        dust = (1e-12 * np.where(observed, np.abs(values), 0.0).max(axis=0, initial=0.0)) ** 2
        defined = scale > np.sqrt(np.outer(dust, dust))
        correlation = np.where(defined, covariance / np.where(defined, scale, 1.0), np.nan)
    covariance[n < 2] = np.nan
    correlation[n < 2] = np.nan
    correlation = np.clip(correlation, -1.0, 1.0)
    diagonal = np.arange(len(correlation))
    correlation[diagonal, diagonal] = np.where(np.isnan(correlation[diagonal, diagonal]), np.nan, 1.0)
    return covariance, correlation, n.astype(np.int64)


def correlate(
    data: npt.ArrayLike,
    *,
    item_codes: Sequence[str] | None = None,
    missing: Missing = "listwise",
    who: str = "correlate",
    minimum_items: int = 2,
) -> Correlations:
    """Return a positive definite Pearson correlation matrix of the items, for factor analysis.

    Parameters
    ----------
    data : array-like, shape (n_respondents, n_items)
        Answers; NaN for missing.
    item_codes : sequence of str, optional
        Names for messages.
    missing : {'listwise', 'pairwise'}
        Listwise uses complete respondents. Pairwise uses all rows that hold both items of a pair, takes the smallest of
        these numbers as `n_used`, and smooths a matrix that is not positive definite (with a note): right when answers
        are missing by design ("does not apply").

    Raises
    ------
    AnalysisInputError
        Constant items, no more respondents than items, duplicated or linearly dependent items.
    """
    notes: list[str] = []
    if missing == "listwise":
        complete = complete_rows(data, who=who, minimum_items=minimum_items, item_codes=item_codes)
        values, n_used, n_dropped = complete.values, complete.n_used, complete.n_dropped
    elif missing == "pairwise":
        values = as_responses(data, who=who, minimum_items=minimum_items)
    else:
        raise AnalysisInputError(
            f"{who} requires missing='listwise' or 'pairwise'; got {missing!r}. Remedy: choose one of the two."
        )
    codes = as_item_codes(item_codes, values.shape[1], who=who)
    refuse_constant_items(values, codes, who=who)
    _, matrix, counts = pairwise_moments(values)
    if missing == "pairwise":
        n_used = int(counts.min())
        n_dropped = len(values) - n_used
    n_items = len(codes)
    if n_used <= n_items:
        raise AnalysisInputError(
            f"{who} requires more respondents than items; got {n_used} usable for {n_items} items"
            f"{' (smallest number behind a pair)' if missing == 'pairwise' else ' (complete rows)'}. "
            "Remedy: collect more forms, or analyse fewer items at a time (one domain)."
        )
    if np.isnan(matrix).any():
        first, second = np.argwhere(np.isnan(matrix))[0]
        raise AnalysisInputError(
            f"{who} requires every pair of items to vary together; {codes[first]} and {codes[second]} do not among the "
            "respondents who answered both. Remedy: leave one of them out."
        )
    _refuse_duplicates(matrix, codes, who=who)
    smallest = float(np.linalg.eigvalsh(matrix)[0])
    if smallest < _SINGULAR * n_items:
        if np.isnan(values).any():
            matrix = smooth_to_positive_definite(matrix)
            notes.append(
                "pairwise correlations were not positive definite and were smoothed (negative eigenvalues raised)"
            )
        else:
            raise AnalysisInputError(
                f"{who} requires items that are not exact combinations of one another; {_dependent(matrix, codes)} can "
                "be computed from the others. Remedy: leave that item out."
            )
    if missing == "pairwise" and np.isnan(values).any():
        notes.append(
            "pairwise-complete correlations; the number of respondents is the smallest number behind any pair of items"
        )
    return Correlations(
        matrix=read_only(matrix), n_used=n_used, n_dropped=n_dropped, missing=missing, notes=tuple(notes)
    )


def eigenvalues_of(matrix: FloatArray) -> FloatArray:
    """Return the eigenvalues of a symmetric matrix (or of each in a stack), largest first."""
    return np.asarray(np.linalg.eigvalsh(matrix)[..., ::-1], dtype=np.float64).copy()


def _refuse_duplicates(matrix: FloatArray, codes: Sequence[str], *, who: str) -> None:
    off_diagonal = np.abs(np.triu(matrix, k=1))
    if (off_diagonal > _DUPLICATE_R).any():
        first, second = np.argwhere(off_diagonal > _DUPLICATE_R)[0]
        raise AnalysisInputError(
            f"{who} requires items that differ; {codes[first]} and {codes[second]} correlate perfectly. "
            "Remedy: leave one of them out, and check that no column was entered twice."
        )


def _dependent(matrix: FloatArray, codes: Sequence[str]) -> str:
    """Name the item with the largest weight in the combination of items that has no variance."""
    _, vectors = np.linalg.eigh(matrix)
    return codes[int(np.argmax(np.abs(vectors[:, 0])))]


def smooth_to_positive_definite(matrix: FloatArray) -> FloatArray:
    """Raise eigenvalues below a small positive floor and restore the unit diagonal (as psych's `cor.smooth`)."""
    values, vectors = np.linalg.eigh(matrix)
    raised = (vectors * np.maximum(values, 1e-4)) @ vectors.T
    scale = 1 / np.sqrt(np.diag(raised))
    smoothed = raised * np.outer(scale, scale)
    np.fill_diagonal(smoothed, 1.0)
    symmetric: FloatArray = (smoothed + smoothed.T) / 2
    return symmetric


def listed(names: Sequence[str], limit: int = 8) -> str:
    """Join names for a message; a long list is cut with its length."""
    if len(names) <= limit:
        return ", ".join(names)
    return f"{', '.join(names[:limit])} and {len(names) - limit} more"
