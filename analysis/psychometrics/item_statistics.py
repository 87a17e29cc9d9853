"""What each item did: distribution, floor and ceiling, absences, and how it goes with its scale."""

from collections.abc import Mapping, Sequence
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


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemStatistics:
    """One item's answers. Shares are of the answered; a mean or SD that does not exist is NaN with a note."""

    item: str
    n: int
    n_missing: int
    missing_by_reason: Mapping[str, int]
    counts: tuple[int, ...]  # one per scale point, lowest first
    shares: tuple[float, ...]
    mean: float
    sd: float
    floor_share: float
    ceiling_share: float
    notes: tuple[str, ...]


def describe_items(
    data: npt.ArrayLike,
    *,
    item_codes: Sequence[str],
    scale_values: Sequence[float] = (1, 2, 3, 4, 5),
    missing_by_reason: Mapping[str, Mapping[str, int]] | None = None,
) -> tuple[ItemStatistics, ...]:
    """Describe the answers to each item, in the order of the columns.

    Parameters
    ----------
    data : array-like, shape (n_respondents, n_items)
        Answers on the response scale, as given (not reversed); NaN for missing.
    item_codes : sequence of str
        One per column.
    scale_values : sequence of float
        The points of the response scale, lowest first.
    missing_by_reason : mapping of item code to mapping of reason to count, optional
        Why the missing answers are missing. For each item named the counts must add up to the NaN in its column.

    Returns
    -------
    tuple of ItemStatistics
        SD has the divisor n − 1.

    Raises
    ------
    AnalysisInputError
        Answers off the scale, or reasons that do not add up.

    Examples
    --------
    >>> import numpy as np
    >>> (item,) = describe_items(np.array([[1.0], [5.0], [5.0], [np.nan]]), item_codes=["VN1"])
    >>> item.counts, item.n, round(item.ceiling_share, 3)
    ((1, 0, 0, 0, 2), 3, 0.667)
    """
    values = as_responses(data, who="describe_items")
    codes = as_item_codes(item_codes, values.shape[1], who="describe_items")
    points = np.asarray(scale_values, dtype=np.float64)
    reasons = missing_by_reason or {}
    _refuse_unknown(reasons, codes)
    return tuple(
        _describe_item(values[:, position], code=code, points=points, reasons=reasons.get(code))
        for position, code in enumerate(codes)
    )


def _refuse_unknown(reasons: Mapping[str, Mapping[str, int]], codes: Sequence[str]) -> None:
    unknown = sorted(set(reasons) - set(codes))
    if unknown:
        raise AnalysisInputError(
            f"describe_items requires reasons for items of the matrix; got reasons for {', '.join(unknown)}. "
            "Remedy: pass the item codes of both in step."
        )


def _describe_item(
    column: FloatArray, *, code: str, points: FloatArray, reasons: Mapping[str, int] | None
) -> ItemStatistics:
    answered = column[~np.isnan(column)]
    n, n_missing = len(answered), len(column) - len(answered)
    counts = (answered[:, None] == points).sum(axis=0)
    off_scale = n - int(counts.sum())
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
    notes: list[str] = []
    if n == 0:
        notes.append("no answers: mean, SD and shares are undefined")
    elif n == 1:
        notes.append("one answer: SD is undefined")
    shares = counts / n if n else np.full(len(points), np.nan)
    return ItemStatistics(
        item=code,
        n=n,
        n_missing=n_missing,
        missing_by_reason=MappingProxyType(dict(reasons) if reasons is not None else {}),
        counts=tuple(int(count) for count in counts),
        shares=tuple(float(share) for share in shares),
        mean=float(answered.mean()) if n else float("nan"),
        sd=float(answered.std(ddof=1)) if n > 1 else float("nan"),
        floor_share=float(shares[0]),
        ceiling_share=float(shares[-1]),
        notes=tuple(notes),
    )


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
        complete = complete_rows(data, who=who, minimum_items=2, minimum_respondents=3)
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
