"""Respondents' scores on the latent variables of a fitted model."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr

from analysis.psychometrics.errors import AnalysisInputError
from analysis.psychometrics.response_matrix import FloatArray, as_item_codes, as_responses, read_only
from analysis.psychometrics.sem.estimation import ModelFit
from analysis.psychometrics.sem.matrices import IndexArray
from analysis.psychometrics.sem.model import GroupLayout, GroupState

ScoreMethod = Literal["regression", "bartlett", "ebm"]

_NEWTON_STEPS = 50


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FactorScores:
    """Scores, one row for each row of the data given, NaN where there is nothing to score."""

    scores: FloatArray  # (n_respondents, n_latent)
    latent: tuple[str, ...]
    method: ScoreMethod
    notes: tuple[str, ...]


def factor_scores(
    fit: ModelFit,
    data: npt.ArrayLike,
    *,
    item_codes: list[str] | tuple[str, ...],
    groups: list[str] | None = None,
    method: ScoreMethod | None = None,
) -> FactorScores:
    """Score respondents on a model's latent variables.

    Parameters
    ----------
    fit : ModelFit
        The fitted model.
    data : array-like, shape (n_respondents, n_columns)
        Answers, NaN for missing. Rows with missing answers are scored from the others where the model was fitted so
        (missing='fiml' or WLSMV), else NaN.
    item_codes : sequence of str
        Names of the columns.
    groups : list of str, optional
        Group of each row, for a model of several groups.
    method : {'regression', 'bartlett', 'ebm'}, optional
        Thurstone's regression scores (default for measured items), Bartlett's, or the posterior mode (empirical Bayes
        modal; the only one for ordinal items).

    Raises
    ------
    AnalysisInputError
        A column or a group that the model does not know, a method that does not go with the items, correlated
        residuals with 'ebm'.

    Notes
    -----
    Regression: E(η) + V(η) Λᵀ Σ⁻¹ (y − μ). Bartlett: (Λᵀ Θ⁻¹ Λ)⁻¹ Λᵀ Θ⁻¹ (y − ν). EBM: the mode of prior times probit
    likelihood. R: `lavPredict(fit, method = "regression" | "Bartlett" | "EBM")`.
    """
    values = as_responses(data, who="factor_scores")
    codes = as_item_codes(item_codes, values.shape[1], who="factor_scores")
    absent = [code for code in fit.sample.item_codes if code not in codes]
    if absent:
        raise AnalysisInputError(
            f"factor_scores requires the model's columns; not found: {', '.join(absent)}. Remedy: pass them all."
        )
    ordinal = fit.table.categorical
    chosen: ScoreMethod = method or ("ebm" if ordinal else "regression")
    if ordinal is not (chosen == "ebm"):
        raise AnalysisInputError(
            f"factor_scores of {'ordinal' if ordinal else 'measured'} items requires method "
            f"{'ebm' if ordinal else 'regression or bartlett'}; got {chosen}. Remedy: leave `method` out."
        )
    rows = values[:, [codes.index(code) for code in fit.sample.item_codes]]
    numbers = _group_numbers(fit, len(rows), groups)
    result = np.full((len(rows), len(fit.table.names[0].latent)), np.nan)
    partial = fit.missing == "fiml" or ordinal
    for number, (layout, state) in enumerate(zip(fit.layouts, fit.states, strict=True)):
        here = np.flatnonzero(numbers == number)
        answered = ~np.isnan(rows[here])
        here = here[answered.any(axis=1) if partial else answered.all(axis=1)]
        if not here.size:
            continue
        if chosen == "ebm":
            result[here] = _posterior_modes(fit, number, layout, state, rows[here])
        else:
            centre = state.mu if fit.table.meanstructure else fit.sample.groups[number].mean
            result[here] = _linear_scores(layout, state, rows[here], centre, bartlett=chosen == "bartlett")
    n_without = int(np.isnan(result).all(axis=1).sum())
    notes = (f"{n_without} of {len(rows)} rows have no score",) if n_without else ()
    return FactorScores(scores=read_only(result), latent=fit.table.names[0].latent, method=chosen, notes=notes)


def _group_numbers(fit: ModelFit, n_rows: int, groups: list[str] | None) -> IndexArray:
    if len(fit.group_labels) == 1:
        return np.zeros(n_rows, dtype=np.intp)
    if groups is None or len(groups) != n_rows:
        raise AnalysisInputError(
            f"factor_scores of a model of {len(fit.group_labels)} groups requires the group of each of {n_rows} rows; "
            f"got {'none' if groups is None else len(groups)}. Remedy: pass `groups`."
        )
    place = {label: number for number, label in enumerate(fit.group_labels)}
    return np.array([place.get(str(label).strip(), -1) for label in groups], dtype=np.intp)


def _linear_scores(
    layout: GroupLayout, state: GroupState, rows: FloatArray, centre: FloatArray, *, bartlett: bool
) -> FloatArray:
    """Regression or Bartlett scores by pattern of missing answers."""
    n_observed = len(layout.observed)
    result = np.full((len(rows), len(layout.variables) - n_observed), np.nan)
    observed = ~np.isnan(rows)
    patterns, which = np.unique(observed, axis=0, return_inverse=True)
    for number, pattern in enumerate(patterns):
        members = np.flatnonzero(which.reshape(-1) == number)
        items = np.flatnonzero(pattern)
        if bartlett:
            result[members] = _bartlett(layout, state, rows[np.ix_(members, items)], centre[items], items)
        else:
            across = state.latent_moments[n_observed:, items]
            weights = np.linalg.solve(state.sigma[np.ix_(items, items)], across.T)
            result[members] = (rows[np.ix_(members, items)] - centre[items]) @ weights + state.all_means[n_observed:]
    return result


def _bartlett(
    layout: GroupLayout, state: GroupState, rows: FloatArray, centre: FloatArray, items: IndexArray
) -> FloatArray:
    n_observed = len(layout.observed)
    loadings = state.paths[items, n_observed:]
    residual = state.covariances[np.ix_(items, items)]
    measured = np.flatnonzero(np.abs(loadings).max(axis=0) > 0)
    result = np.full((len(rows), loadings.shape[1]), np.nan)
    try:
        weighted = np.linalg.solve(residual, loadings[:, measured])
        inner = loadings[:, measured].T @ weighted
        # what the latent means already explain of the observed means is not part of the intercepts
        intercepts = centre - loadings @ state.all_means[n_observed:]
        result[:, measured] = np.linalg.solve(inner, weighted.T @ (rows - intercepts).T).T
    except np.linalg.LinAlgError:
        return result
    return result


def _posterior_modes(
    fit: ModelFit, number: int, layout: GroupLayout, state: GroupState, rows: FloatArray
) -> FloatArray:
    """Newton's method on all respondents at once; the log posterior of a probit model is concave."""
    n_observed = len(layout.observed)
    loadings = state.paths[:n_observed, n_observed:]
    names = layout.observed
    residual = {
        row.lhs: row.est for row in fit.parameters if row.op == "~~" and row.lhs == row.rhs and row.group == number + 1
    }
    beside = [
        row for row in fit.parameters if row.op == "~~" and row.lhs != row.rhs and {row.lhs, row.rhs} <= set(names)
    ]
    if beside or np.abs(state.paths[:n_observed, :n_observed]).max(initial=0.0) > 0:
        raise AnalysisInputError(
            "posterior modes require items that depend on one another through the factors alone; the model has "
            "residual covariances or paths between items. Remedy: score a model without them."
        )
    spread = np.array([residual[name] for name in names])
    if (spread <= 0).any():
        raise AnalysisInputError(
            f"posterior modes require positive residual variances; {names[int(np.argmin(spread))]} has "
            f"{spread.min():.3g}. Remedy: score an admissible model."
        )
    limits = _limits(fit, number, layout, state, rows)
    mean = state.all_means[n_observed:]
    prior = np.linalg.pinv(state.latent_moments[n_observed:, n_observed:])
    intercepts = state.mu - loadings @ mean
    sd = np.sqrt(spread)
    scores = np.tile(mean, (len(rows), 1))
    for _ in range(_NEWTON_STEPS):
        slope, bend = _answer_derivatives(limits, rows, layout, intercepts + scores @ loadings.T, sd)
        gradient = slope @ loadings - (scores - mean) @ prior
        hessian = np.einsum("ni,ij,ik->njk", bend, loadings, loadings) + prior
        step = np.linalg.solve(hessian, gradient[:, :, None])[:, :, 0]
        step = np.clip(step, -2.0, 2.0)
        scores = scores + step
        if np.abs(step).max() < 1e-9:
            break
    return scores


def _limits(
    fit: ModelFit, number: int, layout: GroupLayout, state: GroupState, rows: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Return lower and upper threshold of every answer (infinite at the ends; NaN for measured items and blanks)."""
    lower, upper = np.full(rows.shape, np.nan), np.full(rows.shape, np.nan)
    categories = fit.sample.groups[number].categories
    for item in layout.ordinal.tolist():
        cuts = np.concatenate([[-np.inf], state.thresholds[layout.threshold_item == item], [np.inf]])
        here = ~np.isnan(rows[:, item])
        values = categories[item]
        unknown = ~np.isin(rows[here, item], values)
        if unknown.any():
            raise AnalysisInputError(
                f"factor_scores requires answers that occurred when the model was fitted; {layout.observed[item]} has "
                "others. Remedy: recode them."
            )
        category = np.searchsorted(values, rows[here, item])
        lower[here, item], upper[here, item] = cuts[category], cuts[category + 1]
    return lower, upper


def _answer_derivatives(
    limits: tuple[FloatArray, FloatArray], rows: FloatArray, layout: GroupLayout, centre: FloatArray, sd: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Return first derivative and minus the second of each answer's log-likelihood by its latent response."""
    slope, bend = np.zeros(rows.shape), np.zeros(rows.shape)
    ordinal = np.zeros(rows.shape[1], dtype=bool)
    ordinal[layout.ordinal] = True
    here = ~np.isnan(rows)
    measured = here & ~ordinal
    slope[measured] = ((rows - centre) / sd**2)[measured]
    bend[measured] = np.broadcast_to(1 / sd**2, rows.shape)[measured]
    answered = here & ordinal
    scale = np.broadcast_to(sd, rows.shape)[answered]
    low = (limits[0][answered] - centre[answered]) / scale
    high = (limits[1][answered] - centre[answered]) / scale
    # probabilities of the nearer tail keep their digits
    flip = low > 0
    low, high = np.where(flip, -high, low), np.where(flip, -low, high)
    probability = np.maximum(ndtr(high) - ndtr(low), 1e-300)
    height_low, height_high = _density(low), _density(high)
    first = -(height_high - height_low) / probability
    second = _times(high, height_high) - _times(low, height_low)
    bend[answered] = (second / probability + first**2) / scale**2
    slope[answered] = np.where(flip, -first, first) / scale
    return slope, bend


def _density(value: FloatArray) -> FloatArray:
    result: FloatArray = np.exp(-0.5 * np.minimum(value**2, 1400.0)) / np.sqrt(2 * np.pi)
    return np.where(np.isfinite(value), result, 0.0)


def _times(value: FloatArray, density: FloatArray) -> FloatArray:
    return np.where(np.isfinite(value), np.where(np.isfinite(value), value, 0.0) * density, 0.0)
