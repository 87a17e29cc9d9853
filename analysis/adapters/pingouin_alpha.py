"""Cronbach's alpha with its interval, by pingouin; the only place that knows pingouin."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
import pingouin
from scipy.stats import f

from analysis.psychometrics.errors import AnalysisInputError
from analysis.psychometrics.response_matrix import FloatArray, as_item_codes, complete_rows, refuse_constant_items


@dataclass(frozen=True, slots=True, kw_only=True)
class AlphaEstimate:
    """Cronbach's alpha of one scale, from the respondents who answered all of its items."""

    alpha: float
    lower: float
    upper: float
    confidence: float
    alpha_if_deleted: tuple[float, ...]  # one per item; empty for a scale of two
    item_codes: tuple[str, ...]
    n_used: int
    n_dropped: int
    method: str
    notes: tuple[str, ...]


def cronbach_alpha(
    data: npt.ArrayLike, *, item_codes: Sequence[str] | None = None, confidence: float = 0.95
) -> AlphaEstimate:
    """Estimate Cronbach's alpha with Feldt's interval, and alpha without each item.

    Parameters
    ----------
    data : array-like, shape (n_respondents, n_items)
        Answers with reversed items already turned round; NaN for missing.
    item_codes : sequence of str, optional
        Names for messages.
    confidence : float
        Coverage of the interval, between 0 and 1.

    Returns
    -------
    AlphaEstimate
        A negative alpha is returned as it is, with a note: usually an item is keyed the wrong way.

    Raises
    ------
    AnalysisInputError
        Fewer than two items, fewer than three complete respondents, an item without variation, or items that cancel.

    Notes
    -----
    α = k/(k−1)·(1 − Σσ²_i/σ²_total), Cronbach (1951); interval by Feldt, Woodruff & Salih (1987). Incomplete rows are
    dropped before pingouin sees them: version 0.7.0 computes its interval with the number of rows from before deletion.
    It also rounds the interval to three decimals, so the limits are computed here by its formula, unrounded.
    R: `psych::alpha(x)$total$raw_alpha`, `psych::alpha(x)$feldt`.

    Examples
    --------
    >>> import numpy as np
    >>> scale = np.array([[1.0, 1.0, 2.0], [2.0, 3.0, 2.0], [4.0, 3.0, 5.0], [5.0, 5.0, 4.0]])
    >>> round(cronbach_alpha(scale).alpha, 4)
    0.9084
    """
    if not 0 < confidence < 1:
        raise AnalysisInputError(
            f"cronbach_alpha requires a confidence between 0 and 1; got {confidence}. Remedy: use 0.95."
        )
    complete = complete_rows(data, who="cronbach_alpha", minimum_items=2, minimum_respondents=3)
    codes = as_item_codes(item_codes, complete.values.shape[1], who="cronbach_alpha")
    refuse_constant_items(complete.values, codes, who="cronbach_alpha")
    if not complete.values.sum(axis=1).var() > 1e-12:
        raise AnalysisInputError(
            f"cronbach_alpha requires a sum score that varies; the {len(codes)} items cancel one another. "
            "Remedy: check which items have to be reversed."
        )
    alpha = _pingouin_alpha(complete.values)
    lower, upper = _feldt_interval(alpha, n=complete.n_used, n_items=len(codes), confidence=confidence)
    notes = []
    if len(codes) == 2:
        notes.append("two items: read the Spearman–Brown coefficient instead")
    if alpha < 0:
        notes.append("alpha is negative: the items do not go together; check which have to be reversed")
    return AlphaEstimate(
        alpha=alpha,
        lower=lower,
        upper=upper,
        confidence=confidence,
        alpha_if_deleted=_alpha_if_deleted(complete.values),
        item_codes=codes,
        n_used=complete.n_used,
        n_dropped=complete.n_dropped,
        method="Cronbach's alpha (pingouin), Feldt interval, listwise",
        notes=tuple(notes),
    )


def _pingouin_alpha(values: FloatArray) -> float:
    with warnings.catch_warnings(), np.errstate(divide="ignore", invalid="ignore"):
        # The interval is computed elsewhere; pingouin's own may be undefined for tiny samples.
        warnings.simplefilter("ignore", RuntimeWarning)
        alpha, _ = pingouin.cronbach_alpha(data=pd.DataFrame(values))
    return float(alpha)


def _feldt_interval(alpha: float, *, n: int, n_items: int, confidence: float) -> tuple[float, float]:
    tail = (1 - confidence) / 2
    between, within = n - 1, (n - 1) * (n_items - 1)
    return (
        float(1 - (1 - alpha) * f.isf(tail, between, within)),
        float(1 - (1 - alpha) * f.isf(1 - tail, between, within)),
    )


def _alpha_if_deleted(values: FloatArray) -> tuple[float, ...]:
    n_items = values.shape[1]
    if n_items < 3:
        return ()
    estimates = []
    for item in range(n_items):
        rest = np.delete(values, item, axis=1)
        varies = rest.sum(axis=1).var() > 1e-12
        estimates.append(_pingouin_alpha(rest) if varies else float("nan"))
    return tuple(estimates)
