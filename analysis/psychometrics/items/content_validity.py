"""Do experts find the items relevant, and do they sort them where they belong?"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.special import gammaln, ndtri

from analysis.psychometrics.errors import AnalysisInputError
from analysis.psychometrics.response_matrix import as_item_codes, as_responses

#: Experts needed for a verdict on ratings, and on sortings.
MINIMUM_EXPERTS: Final = 3
MINIMUM_SORTERS: Final = 5
_FEW_EXPERTS: Final = 5
_ICVI_REQUIRED: Final = 0.78
_AVERAGE_REQUIRED: Final = 0.90
_UNIVERSAL_REQUIRED: Final = 0.80
_KAPPA_EXCELLENT: Final = 0.74
_SORTED_REQUIRED: Final = 0.70


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemContentValidity:
    """One item's share of experts who find it relevant, corrected for chance; verdicts None below 3 experts."""

    item: str
    n_experts: int
    n_relevant: int
    i_cvi: float
    p_chance: float
    kappa: float  # modified
    grade: str  # of kappa: excellent, good, fair, poor
    i_cvi_passes: bool | None  # .78, or 1.00 with five experts or fewer
    kappa_passes: bool | None  # above .74


@dataclass(frozen=True, slots=True, kw_only=True)
class ContentValidity:
    """The items, and the scale by the mean and by universal agreement."""

    items: tuple[ItemContentValidity, ...]
    s_cvi_ave: float
    s_cvi_ua: float
    s_cvi_ave_passes: bool | None
    s_cvi_ua_passes: bool | None
    n_experts: int
    n_items: int  # with at least one rating
    relevant_from: float
    notes: tuple[str, ...]


def content_validity(
    ratings: npt.ArrayLike,
    *,
    relevant_from: float = 3.0,
    lowest: float = 1.0,
    highest: float = 4.0,
    item_codes: Sequence[str] | None = None,
) -> ContentValidity:
    """Compute content validity indices and the modified kappa from experts' ratings of relevance.

    Parameters
    ----------
    ratings : array-like, shape (n_experts, n_items)
        One row an expert; NaN where an item was not rated.
    relevant_from : float
        Ratings from here on count as relevant.
    lowest, highest : float
        The ends of the rating scale; other values are refused.
    item_codes : sequence of str, optional
        One a column.

    Returns
    -------
    ContentValidity

    Raises
    ------
    AnalysisInputError
        Ratings outside the scale or between its points, no expert, no rating at all.

    Notes
    -----
    I-CVI = A/N; chance p_c = N!/(A!(N−A)!)·.5^N; k* = (I-CVI − p_c)/(1 − p_c), excellent above .74, good from .60, fair
    from .40 (Polit, Beck & Owen 2007, Res Nurs Health 30:459). S-CVI/Ave is the mean of the I-CVIs, S-CVI/UA the share
    of items that every expert finds relevant (Polit & Beck 2006, Res Nurs Health 29:489).

    Examples
    --------
    >>> result = content_validity([[4, 3], [4, 2], [3, 4], [4, 4], [3, 3], [4, 4]])
    >>> [round(item.i_cvi, 2) for item in result.items], round(result.items[1].kappa, 2), result.s_cvi_ua
    ([1.0, 0.83], 0.82, 0.5)
    """
    who = "content_validity"
    if not lowest < relevant_from <= highest:
        raise AnalysisInputError(
            f"{who} requires a scale from its lowest to its highest rating with the first relevant one between; got "
            f"{lowest:g} to {highest:g}, relevant from {relevant_from:g}. Remedy: on 1 to 4, relevant from 3."
        )
    values = as_responses(ratings, who=who)
    codes = as_item_codes(item_codes, values.shape[1], who=who)
    rated = ~np.isnan(values)
    if not rated.any():
        raise AnalysisInputError(f"{who} requires ratings; got none. Remedy: check the columns.")
    outside = rated & ((values < lowest) | (values > highest) | (values != np.round(values)))
    if outside.any():
        expert, item = np.argwhere(outside)[0]
        raise AnalysisInputError(
            f"{who} requires whole ratings from {lowest:g} to {highest:g}; {codes[item]} has another value in row "
            f"{expert + 1}. Remedy: recode it, or give the ends of the scale."
        )
    n = rated.sum(axis=0)
    relevant = (rated & (values >= relevant_from)).sum(axis=0)
    items = tuple(
        _item(code, int(count), int(agreeing)) for code, count, agreeing in zip(codes, n, relevant, strict=True)
    )
    known = [item.i_cvi for item in items if item.n_experts]
    n_experts = int(rated.any(axis=1).sum())
    notes = []
    empty = [item.item for item in items if not item.n_experts]
    if empty:
        notes.append(f"not rated by any expert, left out of the scale's indices: {', '.join(empty)}")
    if n_experts < MINIMUM_EXPERTS:
        notes.append(f"{n_experts} expert(s): {MINIMUM_EXPERTS} are needed for a verdict")
    elif (n[n > 0] < n_experts).any():
        notes.append("some items were not rated by every expert: each index rests on those who rated the item")
    average, universal = float(np.mean(known)), float(np.mean(np.array(known) == 1))
    enough = n_experts >= MINIMUM_EXPERTS
    return ContentValidity(
        items=items,
        s_cvi_ave=average,
        s_cvi_ua=universal,
        s_cvi_ave_passes=bool(average >= _AVERAGE_REQUIRED) if enough else None,
        s_cvi_ua_passes=bool(universal >= _UNIVERSAL_REQUIRED) if enough else None,
        n_experts=n_experts,
        n_items=len(known),
        relevant_from=relevant_from,
        notes=tuple(notes),
    )


def _item(code: str, n: int, relevant: int) -> ItemContentValidity:
    if n == 0:
        return ItemContentValidity(
            item=code,
            n_experts=0,
            n_relevant=0,
            i_cvi=np.nan,
            p_chance=np.nan,
            kappa=np.nan,
            grade="not rated",
            i_cvi_passes=None,
            kappa_passes=None,
        )
    share = relevant / n
    chance = float(np.exp(gammaln(n + 1) - gammaln(relevant + 1) - gammaln(n - relevant + 1) - n * np.log(2)))
    kappa = (share - chance) / (1 - chance)
    enough = n >= MINIMUM_EXPERTS
    required = 1.0 if n <= _FEW_EXPERTS else _ICVI_REQUIRED
    return ItemContentValidity(
        item=code,
        n_experts=n,
        n_relevant=relevant,
        i_cvi=share,
        p_chance=chance,
        kappa=kappa,
        grade=_grade(kappa),
        # Seven of nine is .777…, which the published rule counts as .78.
        i_cvi_passes=bool(round(share, 2) >= required) if enough else None,
        kappa_passes=bool(kappa > _KAPPA_EXCELLENT) if enough else None,
    )


def _grade(kappa: float) -> str:
    if kappa > _KAPPA_EXCELLENT:
        return "excellent"
    if kappa >= 0.60:
        return "good"
    return "fair" if kappa >= 0.40 else "poor"


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemSorting:
    """How many experts, not knowing where an item belongs, put it there."""

    item: str
    intended: str
    n_experts: int
    n_intended: int
    share: float
    ci_lower: float  # Wilson
    ci_upper: float
    substantive_validity: float  # (intended − most frequent other) / n
    most_frequent_other: str  # empty when there is none
    n_most_frequent_other: int
    passes: bool | None  # .70; None below 5 experts


def sort_items(
    placements: Sequence[Sequence[str]],
    intended: Sequence[str],
    *,
    item_codes: Sequence[str] | None = None,
    confidence: float = 0.95,
) -> tuple[ItemSorting, ...]:
    """Return each item's share of experts who sorted it into its intended component.

    Parameters
    ----------
    placements : sequence of sequences of str, shape (n_experts, n_items)
        The component into which each expert sorted each item; empty where an expert did not sort it.
    intended : sequence of str, shape (n_items,)
        The component to which each item belongs.
    item_codes : sequence of str, optional
        One a column.
    confidence : float
        Of the intervals.

    Returns
    -------
    tuple of ItemSorting

    Raises
    ------
    AnalysisInputError
        No expert, rows of another length than the intended components, an item without an intended component.

    Notes
    -----
    The share is Anderson & Gerbing's (1991, J Appl Psychol 76:732) proportion of substantive agreement, (n_c − n_o)/N
    their coefficient of substantive validity, n_o the largest number for any other component. Interval: Wilson (1927).

    Examples
    --------
    >>> rows = [["trust", "hope"], ["trust", "trust"], ["trust", "hope"], ["hope", "hope"], ["trust", "hope"]]
    >>> [(item.share, item.substantive_validity, item.passes) for item in sort_items(rows, ["trust", "hope"])]
    [(0.8, 0.6, True), (0.8, 0.6, True)]
    """
    who = "sort_items"
    codes = as_item_codes(item_codes, len(intended), who=who)
    if not placements:
        raise AnalysisInputError(f"{who} requires experts; got none. Remedy: collect sortings.")
    for row, placed in enumerate(placements):
        if len(placed) != len(intended):
            raise AnalysisInputError(
                f"{who} requires one placement per item; row {row + 1} has {len(placed)} for {len(intended)} items. "
                "Remedy: leave a placement empty where an expert did not sort the item."
            )
    missing = [code for code, component in zip(codes, intended, strict=True) if not component.strip()]
    if missing:
        raise AnalysisInputError(
            f"{who} requires an intended component per item; {', '.join(missing[:8])} has none. "
            "Remedy: name the component to which the item belongs."
        )
    if not 0 < confidence < 1:
        raise AnalysisInputError(f"{who} requires a confidence between 0 and 1; got {confidence}. Remedy: use 0.95.")
    z = float(ndtri((1 + confidence) / 2))
    results = []
    for position, (code, component) in enumerate(zip(codes, intended, strict=True)):
        counts = Counter(placed[position].strip() for placed in placements if placed[position].strip())
        n, right = sum(counts.values()), counts.get(component.strip(), 0)
        others = [(count, name) for name, count in counts.items() if name != component.strip()]
        # The largest count, and of several the first by name.
        other_count, other = min(others, key=lambda entry: (-entry[0], entry[1])) if others else (0, "")
        share = right / n if n else np.nan
        lower, upper = _wilson(right, n, z)
        results.append(
            ItemSorting(
                item=code,
                intended=component.strip(),
                n_experts=n,
                n_intended=right,
                share=share,
                ci_lower=lower,
                ci_upper=upper,
                substantive_validity=(right - other_count) / n if n else np.nan,
                most_frequent_other=other,
                n_most_frequent_other=other_count,
                passes=bool(share >= _SORTED_REQUIRED) if n >= MINIMUM_SORTERS else None,
            )
        )
    return tuple(results)


def _wilson(successes: int, n: int, z: float) -> tuple[float, float]:
    if n == 0:
        return np.nan, np.nan
    share = successes / n
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * float(np.sqrt(share * (1 - share) / n + z * z / (4 * n * n)))
    return max(middle - half, 0.0), min(middle + half, 1.0)
