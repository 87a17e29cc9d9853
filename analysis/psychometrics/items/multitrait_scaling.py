"""Multitrait scaling: does each item go with its own scale, and more so than with every other?"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from analysis.psychometrics.errors import AnalysisInputError
from analysis.psychometrics.response_matrix import (
    FloatArray,
    Missing,
    as_item_codes,
    as_responses,
    complete_rows,
    pairwise_moments,
    read_only,
    refuse_constant_items,
)

ScalingVerdict = Literal["definite success", "probable success", "probable error", "definite error"]
#: Standard errors between two correlations for a definite verdict.
_CLEAR_STEP = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemScaling:
    """One item against its own and every other scale."""

    item: str
    scale: str
    own_r: float  # with its own scale without itself
    other_r: Mapping[str, float]  # with each other scale
    verdicts: Mapping[str, ScalingVerdict]  # against each other scale; none where a correlation is undefined
    convergent: bool  # own_r reaches the standard


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaleScaling:
    """The tests of one scale's items counted."""

    scale: str
    n_items: int
    own_r_lowest: float
    own_r_highest: float
    other_r_lowest: float
    other_r_highest: float
    convergent_share: float  # items that reach the standard with their own scale
    n_tests: int  # items times other scales
    n_definite_success: int
    n_probable_success: int
    n_probable_error: int
    n_definite_error: int
    success_share: float  # definite and probable successes
    definite_success_share: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MultitraitScaling:
    """Correlations of every item with every scale, and the verdicts on them."""

    item_codes: tuple[str, ...]  # of the items in scales, in the order of the scales
    scale_names: tuple[str, ...]
    r: FloatArray  # (n_items, n_scales): the item's own scale without the item
    items: tuple[ItemScaling, ...]
    scales: tuple[ScaleScaling, ...]
    scale_correlations: FloatArray  # (n_scales, n_scales)
    standard_error: float  # of a correlation, 1/√n
    convergent_standard: float
    missing: Missing
    n_used: int
    n_dropped: int
    notes: tuple[str, ...]


def multitrait_scaling(
    data: npt.ArrayLike,
    *,
    scales: Mapping[str, Sequence[str]],
    item_codes: Sequence[str],
    convergent_standard: float = 0.40,
    missing: Missing = "listwise",
) -> MultitraitScaling:
    """Correlate every item with every scale and count scaling successes and errors.

    Parameters
    ----------
    data : array-like, shape (n_respondents, n_items)
        Answers with reversed items already turned round; NaN for missing.
    scales : mapping of scale to item codes
        At least two scales; a scale of one item has no correlation of the item with the rest.
    item_codes : sequence of str
        One per column.
    convergent_standard : float
        What an item's correlation with the rest of its own scale has to reach.
    missing : {'listwise', 'pairwise'}
        Respondents who answered every item of every scale, or sums built from pairwise covariances.

    Raises
    ------
    AnalysisInputError
        Fewer than two scales, an item that is not a column, or a constant item.

    Notes
    -----
    Hays & Hayashi (1990), Behav Res Methods 22:167; Ware & Gandek (1998), J Clin Epidemiol 51:945. With SE = 1/√n an
    item is a definite success against another scale when its correlation with its own scale (without the item) is
    higher by two SE or more, a probable success when it is higher, a probable error when it is lower, and a definite
    error when it is lower by two SE or more. R: `psych::scoreItems(keys, x)$item.corrected` corrects otherwise (for
    unreliability); `cor(x$item, rowSums(x[others]))` is this.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(1)
    >>> factors = rng.standard_normal((300, 2))
    >>> answers = factors[:, [0, 0, 0, 1, 1, 1]] + rng.standard_normal((300, 6))
    >>> codes = ["a1", "a2", "a3", "b1", "b2", "b3"]
    >>> result = multitrait_scaling(answers, scales={"a": codes[:3], "b": codes[3:]}, item_codes=codes)
    >>> [scale.n_definite_success for scale in result.scales]
    [3, 3]
    """
    who = "multitrait_scaling"
    codes = as_item_codes(item_codes, as_responses(data, who=who, minimum_items=2).shape[1], who=who)
    _check_scales(scales, codes, who=who)
    members = list(dict.fromkeys(code for items in scales.values() for code in items))
    chosen = np.asarray(data, dtype=np.float64)[:, [codes.index(code) for code in members]]
    if missing == "listwise":
        complete = complete_rows(chosen, who=who, minimum_items=2, minimum_respondents=3, item_codes=members)
        n_used, n_dropped = complete.n_used, complete.n_dropped
        refuse_constant_items(complete.values, members, who=who)
        covariance = np.cov(complete.values, rowvar=False)
    elif missing == "pairwise":
        refuse_constant_items(chosen, members, who=who)
        covariance, _, counts = pairwise_moments(chosen)
        n_used = int(counts.min())
        n_dropped = len(chosen) - n_used
        if n_used < 3:
            first, second = np.argwhere(counts == n_used)[0]
            raise AnalysisInputError(
                f"{who} requires at least 3 respondents who answered both items of every pair; {members[first]} and "
                f"{members[second]} have {n_used}. Remedy: leave one of them out."
            )
    else:
        raise AnalysisInputError(
            f"{who} requires missing='listwise' or 'pairwise'; got {missing!r}. Remedy: choose one of the two."
        )
    names = tuple(scales)
    belongs = np.array([[code in scales[name] for name in names] for code in members], dtype=np.float64)
    r = _item_scale_correlations(covariance, belongs)
    error = 1 / math.sqrt(n_used)
    items = _verdicts(r, belongs, members, names, error, convergent_standard)
    between = belongs.T @ covariance @ belongs
    with np.errstate(invalid="ignore", divide="ignore"):
        spread = np.sqrt(np.diag(between))
        scale_correlations = between / np.outer(spread, spread)
    notes = []
    alone = [name for name in names if len(scales[name]) == 1]
    if alone:
        notes.append(f"one item only, so no correlation with the rest of its scale: {', '.join(alone)}")
    shared = [code for code, row in zip(members, belongs, strict=True) if row.sum() > 1]
    if shared:
        notes.append(f"in more than one scale, and taken out of each it is in: {', '.join(shared)}")
    if n_used < 100:
        notes.append(f"{n_used} respondents: two standard errors are {2 * error:.2f}, too wide to tell scales apart")
    return MultitraitScaling(
        item_codes=tuple(members),
        scale_names=names,
        r=read_only(r),
        items=items,
        scales=tuple(_count(name, [item for item in items if item.scale == name]) for name in names),
        scale_correlations=read_only(scale_correlations),
        standard_error=error,
        convergent_standard=convergent_standard,
        missing=missing,
        n_used=n_used,
        n_dropped=n_dropped,
        notes=tuple(notes),
    )


def _check_scales(scales: Mapping[str, Sequence[str]], codes: Sequence[str], *, who: str) -> None:
    if len(scales) < 2:
        raise AnalysisInputError(
            f"{who} requires at least two scales to compare; got {len(scales)}. Remedy: name the items of another."
        )
    for name, items in scales.items():
        unknown = sorted(set(items) - set(codes))
        if unknown or not items:
            raise AnalysisInputError(
                f"{who} requires items of the matrix in every scale; {name!r} has {', '.join(unknown) or 'none'}. "
                "Remedy: pass the item codes of both in step."
            )
        if len(set(items)) != len(items):
            raise AnalysisInputError(
                f"{who} requires each item once in a scale; {name!r} repeats one. Remedy: drop it."
            )


def _item_scale_correlations(covariance: FloatArray, belongs: FloatArray) -> FloatArray:
    """Return correlations of items with scale sums, each item taken out of the scales it belongs to."""
    own = np.diag(covariance)
    with_scale = covariance @ belongs
    variance = np.einsum("is,is->s", belongs, with_scale)
    rest = with_scale - belongs * own[:, None]
    rest_variance = variance - belongs * (2 * with_scale - own[:, None])
    defined = rest_variance > 1e-12 * own.sum()
    scale = np.sqrt(np.where(defined, own[:, None] * rest_variance, 1.0))
    return np.where(defined, np.clip(rest / scale, -1.0, 1.0), np.nan)


def _verdicts(
    r: FloatArray,
    belongs: FloatArray,
    members: Sequence[str],
    names: Sequence[str],
    error: float,
    standard: float,
) -> tuple[ItemScaling, ...]:
    found = []
    for own_place, own_name in enumerate(names):
        for place in np.flatnonzero(belongs[:, own_place]):
            own_r = float(r[place, own_place])
            others = {name: float(r[place, k]) for k, name in enumerate(names) if k != own_place}
            found.append(
                ItemScaling(
                    item=members[int(place)],
                    scale=own_name,
                    own_r=own_r,
                    other_r=others,
                    verdicts={
                        name: _verdict((own_r - other) / error)
                        for name, other in others.items()
                        if not math.isnan(own_r - other)
                    },
                    convergent=own_r >= standard,
                )
            )
    return tuple(found)


def _verdict(steps: float) -> ScalingVerdict:
    if steps >= _CLEAR_STEP:
        return "definite success"
    if steps > 0:
        return "probable success"
    return "probable error" if steps > -_CLEAR_STEP else "definite error"


def _count(name: str, items: Sequence[ItemScaling]) -> ScaleScaling:
    verdicts = [verdict for item in items for verdict in item.verdicts.values()]
    own = [item.own_r for item in items if not math.isnan(item.own_r)]
    other = [r for item in items for r in item.other_r.values() if not math.isnan(r)]
    nan = float("nan")
    n_tests = len(verdicts)
    definite, probable = verdicts.count("definite success"), verdicts.count("probable success")
    return ScaleScaling(
        scale=name,
        n_items=len(items),
        own_r_lowest=min(own, default=nan),
        own_r_highest=max(own, default=nan),
        other_r_lowest=min(other, default=nan),
        other_r_highest=max(other, default=nan),
        convergent_share=sum(item.convergent for item in items) / len(items) if own else nan,
        n_tests=n_tests,
        n_definite_success=definite,
        n_probable_success=probable,
        n_probable_error=verdicts.count("probable error"),
        n_definite_error=verdicts.count("definite error"),
        success_share=(definite + probable) / n_tests if n_tests else nan,
        definite_success_share=definite / n_tests if n_tests else nan,
    )
