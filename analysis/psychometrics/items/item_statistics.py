"""What each item did: distribution, floor and ceiling, absences, and how it goes with its scale."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from analysis.psychometrics.errors import AnalysisInputError
from analysis.psychometrics.response_matrix import (
    FloatArray,
    IntArray,
    Missing,
    as_item_codes,
    as_responses,
    complete_rows,
    pairwise_moments,
    read_only,
)

#: With more different values than this an item counts as a measurement, not as points of a response scale.
_MOST_POINTS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemStatistics:
    """One item's answers. Shares are of the answered; a mean or SD that does not exist is NaN with a note."""

    item: str
    n: int
    n_missing: int
    missing_by_reason: Mapping[str, int]
    points: tuple[float, ...]  # of the response scale, lowest first; empty for a measurement without points
    counts: tuple[int, ...]  # one per scale point
    shares: tuple[float, ...]
    mean: float
    sd: float
    skewness: float
    kurtosis: float  # in excess of the normal distribution's
    lowest: float  # observed
    highest: float
    floor_share: float  # at the lowest point of the scale, or at the lowest value observed where there are no points
    ceiling_share: float
    notes: tuple[str, ...]


def describe_items(
    data: npt.ArrayLike,
    *,
    item_codes: Sequence[str],
    scale_values: Sequence[float] | None = (1, 2, 3, 4, 5),
    missing_by_reason: Mapping[str, Mapping[str, int]] | None = None,
) -> tuple[ItemStatistics, ...]:
    """Describe the answers to each item, in the order of the columns.

    Parameters
    ----------
    data : array-like, shape (n_respondents, n_items)
        Answers on the response scale, as given (not reversed); NaN for missing.
    item_codes : sequence of str
        One per column.
    scale_values : sequence of float or None
        The points of the response scale, lowest first. None takes the values that occur in any of the items as the
        points, or, when there are more than 20, has no points: floor and ceiling are then each item's own extremes.
    missing_by_reason : mapping of item code to mapping of reason to count, optional
        Why the missing answers are missing. For each item named the counts must add up to the NaN in its column.

    Returns
    -------
    tuple of ItemStatistics
        SD has the divisor n − 1; skewness Σd³/(n·SD³) and kurtosis Σd⁴/(n·SD⁴) − 3 use it, too.

    Raises
    ------
    AnalysisInputError
        Answers off the scale, or reasons that do not add up.

    Notes
    -----
    R: `psych::describe(x)` (skew and kurtosis of type 3) and `psych::response.frequencies(x)`.

    Examples
    --------
    >>> import numpy as np
    >>> (item,) = describe_items(np.array([[1.0], [5.0], [5.0], [np.nan]]), item_codes=["VN1"])
    >>> item.counts, item.n, round(item.ceiling_share, 3)
    ((1, 0, 0, 0, 2), 3, 0.667)
    """
    values = as_responses(data, who="describe_items")
    codes = as_item_codes(item_codes, values.shape[1], who="describe_items")
    reasons = missing_by_reason or {}
    _refuse_unknown(reasons, codes)
    # One item after the other in memory: half a dozen passes over a column then stay in the processor's cache.
    columns = np.ascontiguousarray(values.T)
    answered = [column[~missing] if missing.any() else column for column, missing in _with_gaps(columns)]
    if scale_values is None:
        points = _points_found(answered)
    else:
        points = np.asarray(scale_values, dtype=np.float64)
    return tuple(
        _describe_item(answers, n_rows=len(values), code=code, points=points, reasons=reasons.get(code))
        for code, answers in zip(codes, answered, strict=True)
    )


def _refuse_unknown(reasons: Mapping[str, Mapping[str, int]], codes: Sequence[str]) -> None:
    unknown = sorted(set(reasons) - set(codes))
    if unknown:
        raise AnalysisInputError(
            f"describe_items requires reasons for items of the matrix; got reasons for {', '.join(unknown)}. "
            "Remedy: pass the item codes of both in step."
        )


def _with_gaps(columns: FloatArray) -> Iterator[tuple[FloatArray, npt.NDArray[np.bool_]]]:
    return ((column, np.isnan(column)) for column in columns)


def _points_found(answered: Sequence[FloatArray]) -> FloatArray:
    """Return the values that occur in any item, or none when there are too many for a response scale."""
    found: set[float] = set()
    for answers in answered:
        # A few hundred answers show most of the points; sorting all of them would take most of the time.
        found.update(np.unique(answers[:500]).tolist())
        if len(found) > _MOST_POINTS:
            return np.zeros(0)
        new = np.ones(len(answers), dtype=np.bool_)
        for point in found:
            new &= answers != point
        found.update(np.unique(answers[new]).tolist())
    return np.array(sorted(found)) if len(found) <= _MOST_POINTS else np.zeros(0)


def _describe_item(
    answers: FloatArray, *, n_rows: int, code: str, points: FloatArray, reasons: Mapping[str, int] | None
) -> ItemStatistics:
    n, n_missing = len(answers), n_rows - len(answers)
    counts = [int(np.count_nonzero(answers == point)) for point in points]
    off_scale = n - sum(counts) if len(points) else 0
    if off_scale:
        raise AnalysisInputError(
            f"describe_items requires answers on the {len(points)}-point scale; item {code} has {off_scale} off it. "
            "Remedy: recode reasons for absence to NaN and check the import."
        )
    if reasons is not None and sum(reasons.values()) != n_missing:
        raise AnalysisInputError(
            f"describe_items requires reasons that add up; item {code} has {n_missing} missing answers and "
            f"{sum(reasons.values())} reasons. Remedy: count both from the same rows."
        )
    nan = float("nan")
    notes: list[str] = []
    mean = sd = skewness = kurtosis = lowest = highest = floor = ceiling = nan
    if n == 0:
        notes.append("no answers: mean, SD and shares are undefined")
    else:
        lowest, highest, mean = float(answers.min()), float(answers.max()), float(answers.mean())
        low, high = (points[0], points[-1]) if len(points) else (lowest, highest)
        floor, ceiling = (float(np.count_nonzero(answers == end)) / n for end in (low, high))
    if n == 1:
        notes.append("one answer: SD is undefined")
    elif n > 1 and lowest == highest:
        sd = 0.0
        notes.append("every answer is the same: skewness and kurtosis are undefined")
    elif n > 1:
        sd, skewness, kurtosis = _shape(answers, mean)
    return ItemStatistics(
        item=code,
        n=n,
        n_missing=n_missing,
        missing_by_reason=MappingProxyType(dict(reasons) if reasons is not None else {}),
        points=tuple(float(point) for point in points),
        counts=tuple(counts),
        shares=tuple(count / n if n else nan for count in counts),
        mean=mean,
        sd=sd,
        skewness=skewness,
        kurtosis=kurtosis,
        lowest=lowest,
        highest=highest,
        floor_share=floor,
        ceiling_share=ceiling,
        notes=tuple(notes),
    )


def _shape(answers: FloatArray, mean: float) -> tuple[float, float, float]:
    """Return SD, skewness and excess kurtosis of answers that differ."""
    deviation = answers - mean
    squares = deviation * deviation
    n, total = len(answers), float(squares.sum())
    sd = math.sqrt(total / (n - 1))
    return sd, float(squares @ deviation) / (n * sd**3), float(squares @ squares) / (n * sd**4) - 3


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class InterItemCorrelations:
    """Pearson correlations between the items of a scale, and their unweighted mean."""

    item_codes: tuple[str, ...]
    matrix: FloatArray  # (n_items, n_items)
    n_pairs: IntArray  # (n_items, n_items): respondents behind each correlation
    average: float
    missing: Missing
    n_used: int  # complete rows, or the smallest number behind a pair
    n_dropped: int
    notes: tuple[str, ...]


def inter_item_correlations(
    data: npt.ArrayLike, *, item_codes: Sequence[str] | None = None, missing: Missing = "listwise"
) -> InterItemCorrelations:
    """Correlate the items of a scale with one another and average the correlations above the diagonal.

    Parameters
    ----------
    data : array-like, shape (n_respondents, n_items)
        Answers with reversed items already turned round; NaN for missing.
    missing : {'listwise', 'pairwise'}
        Respondents who answered all items, or for each pair those who answered both.

    Returns
    -------
    InterItemCorrelations
        A constant item's correlations are NaN; the average is then NaN too, with a note.

    Notes
    -----
    Clark & Watson (1995) advise an average of .15–.50 by the breadth of the construct.
    R: `psych::alpha(x)$total$average_r`.

    Examples
    --------
    >>> import numpy as np
    >>> result = inter_item_correlations(np.array([[1.0, 2.0], [2.0, 3.0], [3.0, 5.0]]))
    >>> round(result.average, 4)
    0.982
    """
    values, n_used, n_dropped, codes = _scale_rows(data, item_codes, missing, who="inter_item_correlations")
    _, matrix, counts = pairwise_moments(values)
    upper = matrix[np.triu_indices(len(codes), k=1)]
    notes = _constant_notes(matrix, codes)
    return InterItemCorrelations(
        item_codes=codes,
        matrix=read_only(matrix),
        n_pairs=read_only(counts),
        average=float(upper.mean()),
        missing=missing,
        n_used=int(counts.min()) if missing == "pairwise" else n_used,
        n_dropped=len(values) - int(counts.min()) if missing == "pairwise" else n_dropped,
        notes=notes,
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ItemRestCorrelations:
    """Correlation of each item with the sum of the other items of its scale (corrected item-total)."""

    item_codes: tuple[str, ...]
    r: FloatArray  # (n_items,)
    n: IntArray  # (n_items,): complete rows, or the smallest number behind a pair with the item
    missing: Missing
    n_dropped: int
    notes: tuple[str, ...]


def item_rest_correlations(
    data: npt.ArrayLike, *, item_codes: Sequence[str] | None = None, missing: Missing = "listwise"
) -> ItemRestCorrelations:
    """Correlate each item with the sum of the other items of the scale.

    Parameters
    ----------
    data : array-like, shape (n_respondents, n_items)
        Answers with reversed items already turned round; NaN for missing.
    missing : {'listwise', 'pairwise'}
        Listwise uses complete respondents. Pairwise builds the correlation from pairwise-complete covariances.

    Notes
    -----
    r_i = Σ_{j≠i} c_ij / √(c_ii · Σ_{j,k≠i} c_jk) with covariances c (Nunnally & Bernstein 1994, ch. 8).
    R: `psych::alpha(x)$item.stats$r.drop`. An item without variance has NaN and a note.

    Examples
    --------
    >>> import numpy as np
    >>> scale = np.array([[1.0, 1.0, 2.0], [2.0, 3.0, 2.0], [4.0, 3.0, 5.0], [5.0, 5.0, 4.0]])
    >>> item_rest_correlations(scale).r.round(3)
    array([0.994, 0.765, 0.726])
    """
    values, n_used, n_dropped, codes = _scale_rows(data, item_codes, missing, who="item_rest_correlations")
    covariance, correlation, counts = pairwise_moments(values)
    own = np.diag(covariance)
    with_others = covariance.sum(axis=1) - own
    rest = covariance.sum() - own - 2 * with_others
    defined = (own > 1e-12) & (rest > 1e-12)
    scale = np.sqrt(np.where(defined, own * rest, 1.0))
    r = np.where(defined, np.clip(with_others / scale, -1.0, 1.0), np.nan)
    notes = list(_constant_notes(correlation, codes))
    undefined = [code for code, known in zip(codes, defined, strict=True) if not known]
    if undefined:
        notes.append(f"item-rest correlation undefined (no variance in the item or the rest): {', '.join(undefined)}")
    return ItemRestCorrelations(
        item_codes=codes,
        r=read_only(r),
        n=read_only(counts.min(axis=1) if missing == "pairwise" else np.full(len(codes), n_used, dtype=np.int64)),
        missing=missing,
        n_dropped=len(values) - int(counts.min()) if missing == "pairwise" else n_dropped,
        notes=tuple(notes),
    )


def _scale_rows(
    data: npt.ArrayLike, item_codes: Sequence[str] | None, missing: Missing, *, who: str
) -> tuple[FloatArray, int, int, tuple[str, ...]]:
    """Return the rows to use, how many, how many were dropped, and the item codes."""
    if missing == "listwise":
        complete = complete_rows(data, who=who, minimum_items=2, minimum_respondents=3, item_codes=item_codes)
        return (
            complete.values,
            complete.n_used,
            complete.n_dropped,
            as_item_codes(item_codes, complete.values.shape[1], who=who),
        )
    if missing == "pairwise":
        values = as_responses(data, who=who, minimum_items=2)
        return values, len(values), 0, as_item_codes(item_codes, values.shape[1], who=who)
    raise AnalysisInputError(
        f"{who} requires missing='listwise' or 'pairwise'; got {missing!r}. Remedy: choose one of the two."
    )


def _constant_notes(correlation: FloatArray, codes: Sequence[str]) -> tuple[str, ...]:
    constant = [code for code, own in zip(codes, np.diag(correlation), strict=True) if np.isnan(own)]
    return (f"no variance, so no correlation: {', '.join(constant)}",) if constant else ()
