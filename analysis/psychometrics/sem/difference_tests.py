"""Tests of nested models against one another, scaled as the models' own tests are."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy.special import chdtrc

from analysis.psychometrics.errors import AnalysisInputError
from analysis.psychometrics.response_matrix import FloatArray
from analysis.psychometrics.sem.continuous import MaximumLikelihood
from analysis.psychometrics.sem.estimation import ModelFit, exogenous_places
from analysis.psychometrics.sem.fiml import FullInformation, full_information_inference
from analysis.psychometrics.sem.inference import complete_data_inference
from analysis.psychometrics.sem.ordinal import DiagonallyWeightedLeastSquares, sandwich_pieces

Method = Literal["standard", "satorra.bentler.2001", "satorra.bentler.2010", "satorra.2000"]

_COMPARED = ("cfi", "tli", "rmsea", "srmr", "aic", "bic")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelComparison:
    """The restricted model against the freer one; `changes` are its indices minus those of the freer model."""

    chisq_diff: float
    df_diff: int
    pvalue: float
    method: Method
    scaling_factor: float  # NaN where there is none
    shift: float
    changes: Mapping[str, float]  # `cfi`, `cfi_scaled`, `cfi_robust`, …
    notes: tuple[str, ...]


def compare_models(first: ModelFit, second: ModelFit, *, method: Method | None = None) -> ModelComparison:
    """Test whether restrictions make a model fit worse.

    Parameters
    ----------
    first, second : ModelFit
        Two models of the same data and estimator, one nested in the other; the order does not matter.
    method : str, optional
        Default 'standard' for ML, 'satorra.bentler.2001' for MLR, 'satorra.2000' for WLSMV. 'satorra.bentler.2010'
        (MLR) cannot become negative.

    Returns
    -------
    ModelComparison
        NaN with a note when the models have the same degrees of freedom.

    Raises
    ------
    AnalysisInputError
        Different respondents, variables or estimators, or a method that does not go with the estimator.

    Notes
    -----
    Satorra & Bentler (2001), Psychometrika 66:507: the difference of the plain statistics divided by
    c = (d₀c₀ − d₁c₁)/(d₀ − d₁). Satorra & Bentler (2010), Psychometrika 75:243: c₁ from the freer model at the
    restricted estimates. Satorra (2000), mean- and variance-adjusted (scaled and shifted) for WLSMV, restrictions
    taken from the derivatives of the moments. R: `lavTestLRT(fit1, fit0, method = …)`.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.psychometrics.sem import Moments, fit_model
    >>> matrix = np.array([[1, 0.5, 0.4, 0.3], [0.5, 1, 0.4, 0.3], [0.4, 0.4, 1, 0.3], [0.3, 0.3, 0.3, 1]])
    >>> data = {"moments": Moments(covariance=matrix, n=300), "item_codes": ["a", "b", "c", "d"]}
    >>> equal = fit_model("f =~ x*a + x*b + x*c + x*d", std_lv=True, **data)
    >>> result = compare_models(fit_model("f =~ a + b + c + d", **data), equal)
    >>> result.df_diff, round(result.chisq_diff, 2)
    (3, 10.97)
    """
    free, restricted = sorted((first, second), key=lambda fit: fit.inference.test.df)
    _check_comparable(free, restricted)
    chosen = method or _default_method(free)
    _check_method(chosen, free)
    df_diff = restricted.inference.test.df - free.inference.test.df
    plain = restricted.inference.test.chisq - free.inference.test.chisq
    notes: list[str] = []
    if not (free.converged and restricted.converged):
        notes.append("at least one of the models did not converge")
    if plain < -1e-5:
        notes.append("the restricted model fits better: the models are not nested, or one stopped at a local minimum")
    statistic, factor, shift = plain, math.nan, 0.0
    if df_diff == 0:
        notes.append("the models have the same degrees of freedom: there is no test")
        statistic = math.nan
    elif chosen == "satorra.bentler.2001":
        factor = _factor_2001(free, restricted, df_diff, _scaling_factor(free))
        statistic = plain / factor
    elif chosen == "satorra.bentler.2010":
        factor = _factor_2001(free, restricted, df_diff, _factor_at(free, restricted))
        statistic = plain / factor
    elif chosen == "satorra.2000":
        slope, shift = _shifted(free, restricted, df_diff)
        factor = 1.0 / slope
        statistic = slope * plain + shift
        if math.isnan(slope):
            notes.append("the freer model is hardly identified: its restrictions have no covariance to test by")
    if factor < 0:
        notes.append("the scaling factor is negative: use method 'satorra.bentler.2010'")
        statistic = math.nan
    return ModelComparison(
        chisq_diff=statistic,
        df_diff=df_diff,
        pvalue=float(chdtrc(df_diff, max(statistic, 0.0))) if df_diff > 0 and math.isfinite(statistic) else math.nan,
        method=chosen,
        scaling_factor=factor,
        shift=shift,
        changes=_changes(free, restricted),
        notes=tuple(notes),
    )


def _changes(free: ModelFit, restricted: ModelFit) -> dict[str, float]:
    result = {}
    for name in _COMPARED:
        for suffix in ("", "_scaled", "_robust"):
            key = name + suffix
            if key in free.fit and key in restricted.fit:
                result[key] = restricted.fit[key] - free.fit[key]
    return result


def _check_comparable(free: ModelFit, restricted: ModelFit) -> None:
    if free.estimator != restricted.estimator or free.missing != restricted.missing:
        raise AnalysisInputError(
            f"compare_models requires one estimator; got {free.estimator}/{free.missing} and "
            f"{restricted.estimator}/{restricted.missing}. Remedy: fit both models alike."
        )
    same = set(free.sample.item_codes) == set(restricted.sample.item_codes)
    if not same or free.group_sizes != restricted.group_sizes:
        raise AnalysisInputError(
            f"compare_models requires the same variables and respondents; got {free.n_used} and {restricted.n_used} "
            f"respondents, {len(free.sample.item_codes)} and {len(restricted.sample.item_codes)} variables. "
            "Remedy: fit both models to the same data."
        )


def _default_method(fit: ModelFit) -> Method:
    methods: dict[str, Method] = {"ML": "standard", "MLR": "satorra.bentler.2001", "WLSMV": "satorra.2000"}
    return methods[fit.estimator]


def _check_method(method: Method, fit: ModelFit) -> None:
    fitting = {
        "ML": ("standard",),
        "MLR": ("satorra.bentler.2001", "satorra.bentler.2010"),
        "WLSMV": ("satorra.2000",),
    }[fit.estimator]
    if method not in fitting:
        raise AnalysisInputError(
            f"a comparison of {fit.estimator} models requires method {' or '.join(fitting)}; got {method}. "
            "Remedy: leave `method` out."
        )


def _scaling_factor(fit: ModelFit) -> float:
    if fit.inference.test.df == 0:
        return 1.0
    return fit.inference.scaled.scaling_factor if fit.inference.scaled is not None else math.nan


def _factor_2001(free: ModelFit, restricted: ModelFit, df_diff: int, of_free: float) -> float:
    df0, df1 = restricted.inference.test.df, free.inference.test.df
    return (df0 * _scaling_factor(restricted) - df1 * of_free) / df_diff


def _factor_at(free: ModelFit, restricted: ModelFit) -> float:
    """Return the freer model's scaling factor at the restricted estimates."""
    if free.inference.test.df == 0:
        return 1.0
    known = {(row.lhs, row.op, row.rhs, row.group): row.est for row in restricted.parameters}
    known |= {(row.rhs, row.op, row.lhs, row.group): row.est for row in restricted.parameters if row.op == "~~"}
    theta = np.zeros(free.theta.size)
    for row in free.table.rows:
        if row.free:
            theta[row.free - 1] = known.get((row.lhs, row.op, row.rhs, row.group), 0.0)
    exogenous = exogenous_places(free.table)
    if isinstance(free.objective, FullInformation):
        found = full_information_inference(free.objective, theta, free.basis, exogenous, robust=True)
    else:
        assert isinstance(free.objective, MaximumLikelihood)
        found = complete_data_inference(free.objective, theta, free.basis, exogenous, robust=True)
    return found.scaled.scaling_factor if found.scaled is not None else math.nan


def _shifted(free: ModelFit, restricted: ModelFit, df_diff: int) -> tuple[float, float]:
    """Return a and b of the statistic aT + b (Satorra 2000 with the restrictions from derivatives of the moments)."""
    objective = free.objective
    assert isinstance(objective, DiagonallyWeightedLeastSquares)
    restricted_slopes = _stacked_slopes(restricted, free.sample.item_codes)
    slopes = np.vstack(objective.jacobians(free.theta)) @ free.basis
    orthogonal, triangle = np.linalg.qr(slopes)
    within = np.linalg.solve(triangle, orthogonal.T @ restricted_slopes)
    restrictions = _orthogonal_complement(within).T
    information = free.basis.T @ objective.information(free.theta) @ free.basis
    try:
        inverse = np.linalg.inv(information)
    except np.linalg.LinAlgError:
        return math.nan, math.nan
    turned = restrictions @ inverse
    middle = turned.T @ np.linalg.pinv(restrictions @ inverse @ restrictions.T) @ turned
    meat = free.basis.T @ sandwich_pieces(objective, free.theta).meat @ free.basis
    product = middle @ meat
    trace, square = float(np.trace(product)), float((product * product.T).sum())
    if not square > 0:  # rounding alone is left where the freer model is hardly identified
        return math.nan, math.nan
    slope = math.sqrt(df_diff / square)
    return slope, df_diff - slope * trace


def _stacked_slopes(fit: ModelFit, codes: tuple[str, ...]) -> FloatArray:
    """Return the derivatives of the moments in the order of another model's variables."""
    objective = fit.objective
    assert isinstance(objective, DiagonallyWeightedLeastSquares)
    slopes = objective.jacobians(fit.theta)
    if fit.sample.item_codes != codes:
        columns = np.array([fit.sample.item_codes.index(code) for code in codes], dtype=np.intp)
        turned = []
        for part, matrix in zip(objective.parts, slopes, strict=True):
            numbered = replace(part, moments=np.arange(part.moments.size, dtype=np.float64))
            turned.append(matrix[numbered.of_columns(columns).moments.astype(np.intp)])
        slopes = turned
    stacked: FloatArray = np.vstack(slopes) @ fit.basis
    return stacked


def _orthogonal_complement(matrix: npt.NDArray[np.floating[Any]]) -> FloatArray:
    left, singular, _ = np.linalg.svd(matrix)
    rank = int((singular > 1e-10 * max(1.0, float(singular.max(initial=0.0)))).sum())
    complement: FloatArray = left[:, rank:].astype(np.float64, copy=False)
    return complement
