"""Does an item mean the same in every group? Ordinal-logistic differential item functioning (DIF)."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.special import chdtrc

from analysis.psychometrics.errors import AnalysisInputError
from analysis.psychometrics.item_response.graded_response import fit_graded_response
from analysis.psychometrics.item_response.proportional_odds import ProportionalOdds, fit_proportional_odds
from analysis.psychometrics.response_matrix import FloatArray, as_item_codes, as_responses, listed, read_only

Matching = Literal["total", "rest", "eap"]

#: COSMIN's rule for good measurement invariance (Prinsen et al. 2018): McFadden's R² may rise by less than this.
COSMIN_DELTA_R2 = 0.02
_MOST_ROUNDS = 10


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ItemDif:
    """One item's tests: uniform (the item is easier for a group), non-uniform (it discriminates otherwise), and both.

    `log_odds` are the groups' effects in the uniform model, reference group left out: positive means higher answers
    than those of the reference group at the same matching score.
    """

    item_code: str
    n_used: int
    chisq_uniform: float
    df_uniform: int
    pvalue_uniform: float
    chisq_nonuniform: float
    df_nonuniform: int
    pvalue_nonuniform: float
    chisq_total: float
    df_total: int
    pvalue_total: float
    pvalue_total_adjusted: float  # Benjamini–Hochberg over the items
    r2_matching: float  # McFadden's R² of the matching score alone
    delta_r2_uniform: float
    delta_r2_nonuniform: float
    delta_r2_total: float
    log_odds: FloatArray  # (n_groups − 1,)
    log_odds_se: FloatArray
    flagged: bool
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DifResult:
    """Every item's DIF between groups, the score that respondents were matched on, and who took part."""

    items: tuple[ItemDif, ...]
    groups: tuple[str, ...]  # the first is the reference
    n_per_group: tuple[int, ...]
    matching: Matching
    purified: bool
    n_rounds: int  # of purification; 1 without it
    anchor_items: tuple[str, ...]  # what the matching score rests on in the end
    criterion: float
    n_used: int
    n_dropped: int
    notes: tuple[str, ...]


def ordinal_logistic_dif(
    data: npt.ArrayLike,
    groups: Sequence[str],
    *,
    item_codes: Sequence[str] | None = None,
    matching: Matching = "total",
    purify: bool = False,
    criterion: float = COSMIN_DELTA_R2,
    reference: str | None = None,
) -> DifResult:
    """Test every item for uniform and non-uniform DIF between groups by ordinal logistic regression.

    Parameters
    ----------
    data : array-like, shape (n_respondents, n_items)
        Ordered answers of one scale; NaN where there is none.
    groups : sequence of str
        Each respondent's group; an empty string where it is unknown (left out and counted).
    item_codes : sequence of str, optional
        Names for results and messages.
    matching : {'total', 'rest', 'eap'}
        What makes respondents comparable: the sum of the anchor items and the studied item, the sum of the anchor items
        without it (both from complete rows), or the EAP score of a graded response model of the anchor items (which
        takes missing answers).
    purify : bool
        Drop flagged items from the anchor and repeat until the same items are flagged (at most ten rounds). The result
        says which items remained; it decides nothing.
    criterion : float
        An item is flagged when McFadden's R² rises by this much from the score alone to score, group and interaction.
    reference : str, optional
        The group that others are compared to; the largest by default.

    Returns
    -------
    DifResult

    Raises
    ------
    AnalysisInputError
        Fewer than two groups, a group of fewer than ten respondents, fewer than two items, a constant item.

    Notes
    -----
    Proportional-odds models of the item on (1) the score, (2) score and group, (3) score, group and their product:
    uniform DIF is 2(ℓ₂ − ℓ₁), non-uniform 2(ℓ₃ − ℓ₂), total 2(ℓ₃ − ℓ₁); McFadden's R² is 1 − ℓ/ℓ₀ with ℓ₀ from the
    thresholds alone. Zumbo (1999); Crane et al. (2006), Med Care 44:S115; criterion of Prinsen et al. (2018), Qual Life
    Res 27:1147. R: `MASS::polr(ordered(item) ~ score * group)` and so on; `lordif::lordif` packages them.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(3)
    >>> group = np.repeat(["a", "b"], 400)
    >>> logit = rng.standard_normal((800, 1)) + np.outer(group == "b", [1.5, 0, 0, 0, 0, 0])
    >>> result = ordinal_logistic_dif(np.digitize(logit + rng.logistic(size=(800, 6)), [-1, 0, 1]), group)
    >>> [item.item_code for item in result.items if item.flagged]
    ['item 1']
    """
    who = "ordinal_logistic_dif"
    values = as_responses(data, who=who, minimum_items=3 if matching == "eap" else 2)
    codes = as_item_codes(item_codes, values.shape[1], who=who)
    if matching not in ("total", "rest", "eap"):
        raise AnalysisInputError(
            f"{who} requires matching='total', 'rest' or 'eap'; got {matching!r}. Remedy: choose one of the three."
        )
    label = np.array([str(group) for group in groups])
    if len(label) != len(values):
        raise AnalysisInputError(
            f"{who} requires one group per respondent; got {len(label)} for {len(values)} rows. "
            "Remedy: pass the group of every row, an empty string where it is unknown."
        )
    kept = (label != "") & ~(np.isnan(values).all(axis=1) if matching == "eap" else np.isnan(values).any(axis=1))
    notes: list[str] = []
    if not kept.all():
        notes.append(
            f"{int((label == '').sum())} row(s) without a group and {int(((label != '') & ~kept).sum())} with missing "
            f"answers were left out{'' if matching == 'eap' else ' (match on the EAP score to use incomplete rows)'}"
        )
    values, label = values[kept], label[kept]
    names = _ordered_groups(label, reference, who=who)
    n_per_group = tuple(int((label == name).sum()) for name in names)
    membership = np.column_stack([(label == name).astype(np.float64) for name in names[1:]])

    anchor = list(range(len(codes)))
    seen: list[frozenset[int]] = []
    n_rounds = 0
    while True:
        n_rounds += 1
        items = _test_items(values, membership, codes, label, names, matching, anchor, criterion, who=who)
        flagged = frozenset(position for position, item in enumerate(items) if item.flagged)
        if not purify or n_rounds == _MOST_ROUNDS or flagged in seen:
            break
        remaining = [position for position in range(len(codes)) if position not in flagged]
        if remaining == anchor:
            break
        if len(remaining) < (3 if matching == "eap" else 2):
            notes.append("purification stopped: too few items would remain to match respondents on")
            break
        seen.append(flagged)
        anchor = remaining
    if purify and n_rounds == _MOST_ROUNDS:
        notes.append(f"purification did not settle in {_MOST_ROUNDS} rounds")
    small = [f"{name} ({n})" for name, n in zip(names, n_per_group, strict=True) if n < 100]
    if small:
        notes.append(
            "fewer than 100 respondents leave DIF hard to see (COSMIN: 100 adequate, 200 very good): "
            f"{', '.join(small)}"
        )
    return DifResult(
        items=tuple(items),
        groups=names,
        n_per_group=n_per_group,
        matching=matching,
        purified=purify,
        n_rounds=n_rounds,
        anchor_items=tuple(codes[position] for position in anchor),
        criterion=criterion,
        n_used=len(values),
        n_dropped=len(kept) - len(values),
        notes=tuple(notes),
    )


def _ordered_groups(label: npt.NDArray[np.str_], reference: str | None, *, who: str) -> tuple[str, ...]:
    """The groups' names, reference first, the others in order."""
    names, counts = np.unique(label, return_counts=True)
    if len(names) < 2:
        raise AnalysisInputError(
            f"{who} requires at least two groups with usable answers; got {len(names)}. "
            "Remedy: check the group column, and how many rows are complete."
        )
    small = [f"{name} ({n})" for name, n in zip(names, counts, strict=True) if n < 10]
    if small:
        raise AnalysisInputError(
            f"{who} requires at least ten respondents a group; got {listed(small)}. "
            "Remedy: merge small groups, or leave them out."
        )
    if reference is not None and reference not in names:
        raise AnalysisInputError(
            f"{who} requires a reference group that occurs; got {reference!r} among {', '.join(names)}. "
            "Remedy: name one of these."
        )
    first = reference if reference is not None else str(names[counts.argmax()])
    return (first, *(str(name) for name in names if name != first))


def _test_items(
    values: FloatArray,
    membership: FloatArray,
    codes: Sequence[str],
    label: npt.NDArray[np.str_],
    names: Sequence[str],
    matching: Matching,
    anchor: Sequence[int],
    criterion: float,
    *,
    who: str,
) -> list[ItemDif]:
    constant = [
        code for code, column in zip(codes, values.T, strict=True) if len(np.unique(column[~np.isnan(column)])) < 2
    ]
    if constant:
        raise AnalysisInputError(
            f"{who} requires items that vary among the rows used; constant: {', '.join(constant)}. "
            "Remedy: leave these items out."
        )
    trait = fit_graded_response(values[:, list(anchor)], standard_errors="none").eap if matching == "eap" else None
    anchor_sum = values[:, list(anchor)].sum(axis=1)
    items: list[ItemDif] = []
    for position, code in enumerate(codes):
        if trait is not None:
            score = trait
        elif matching == "total":
            score = anchor_sum if position in anchor else anchor_sum + values[:, position]
        else:
            score = anchor_sum - values[:, position] if position in anchor else anchor_sum
        usable = ~np.isnan(values[:, position]) & ~np.isnan(score)
        items.append(
            _test_item(
                code, values[usable, position], score[usable], membership[usable], label[usable], names, criterion
            )
        )
    adjusted = _benjamini_hochberg(np.array([item.pvalue_total for item in items]))
    return [dataclasses.replace(item, pvalue_total_adjusted=float(p)) for item, p in zip(items, adjusted, strict=True)]


def _test_item(
    code: str,
    answers: FloatArray,
    score: FloatArray,
    membership: FloatArray,
    label: npt.NDArray[np.str_],
    names: Sequence[str],
    criterion: float,
) -> ItemDif:
    notes: list[str] = []
    categories = np.unique(answers)
    for name in names:
        own = np.unique(answers[label == name])
        absent = [f"{point:g}" for point in categories if (own != point).all()]
        if absent:
            notes.append(f"nobody in {name} answered {', '.join(absent)}")
    score = (score - score.mean()) / (score.std() or 1.0)
    models: list[ProportionalOdds] = []
    designs = (
        None,
        score[:, None],
        np.column_stack([score, membership]),
        np.column_stack([score, membership, membership * score[:, None]]),
    )
    try:
        models = [fit_proportional_odds(answers, design) for design in designs]
    except AnalysisInputError:
        notes.append("not tested: the score does not vary within every group, or an item's answers are constant")
        return _untested(code, len(answers), len(names) - 1, notes)
    if any(model.separated for model in models):
        notes.append("the score predicts some answers perfectly: effects have no finite estimate")
    elif not all(model.converged for model in models):
        notes.append("a regression did not converge")
    if models[1].coefficients[0] < 0:
        notes.append("answers fall as the score rises: check the item's keying")
    null, alone, uniform, full = (model.log_likelihood for model in models)
    df = len(names) - 1
    tests = [2 * (uniform - alone), 2 * (full - uniform), 2 * (full - alone)]
    statistics = [max(test, 0.0) for test in tests]
    total = (full - alone) / -null
    return ItemDif(
        item_code=code,
        n_used=len(answers),
        chisq_uniform=statistics[0],
        df_uniform=df,
        pvalue_uniform=float(chdtrc(df, max(statistics[0], 0.0))),
        chisq_nonuniform=statistics[1],
        df_nonuniform=df,
        pvalue_nonuniform=float(chdtrc(df, max(statistics[1], 0.0))),
        chisq_total=statistics[2],
        df_total=2 * df,
        pvalue_total=float(chdtrc(2 * df, max(statistics[2], 0.0))),
        pvalue_total_adjusted=float("nan"),
        r2_matching=1 - alone / null,
        delta_r2_uniform=(uniform - alone) / -null,
        delta_r2_nonuniform=(full - uniform) / -null,
        delta_r2_total=total,
        log_odds=read_only(models[2].coefficients[1:].copy()),
        log_odds_se=read_only(models[2].coefficient_se[1:].copy()),
        flagged=bool(total >= criterion),
        notes=tuple(notes),
    )


def _untested(code: str, n_used: int, df: int, notes: Sequence[str]) -> ItemDif:
    nan = float("nan")
    return ItemDif(
        item_code=code,
        n_used=n_used,
        chisq_uniform=nan,
        df_uniform=df,
        pvalue_uniform=nan,
        chisq_nonuniform=nan,
        df_nonuniform=df,
        pvalue_nonuniform=nan,
        chisq_total=nan,
        df_total=2 * df,
        pvalue_total=nan,
        pvalue_total_adjusted=nan,
        r2_matching=nan,
        delta_r2_uniform=nan,
        delta_r2_nonuniform=nan,
        delta_r2_total=nan,
        log_odds=read_only(np.full(df, np.nan)),
        log_odds_se=read_only(np.full(df, np.nan)),
        flagged=False,
        notes=tuple(notes),
    )


def _benjamini_hochberg(p_values: FloatArray) -> FloatArray:
    """Adjust p values for the false discovery rate (R: `p.adjust(p, "BH")`); NaN stays NaN and is not counted."""
    adjusted = np.full(len(p_values), np.nan)
    tested = np.flatnonzero(~np.isnan(p_values))
    order = tested[np.argsort(p_values[tested])[::-1]]
    rank = np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.minimum.accumulate(p_values[order] * len(order) / np.maximum(rank, 1)), 1.0)
    return adjusted
