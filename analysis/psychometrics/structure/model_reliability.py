"""Reliability of sum scores from a fitted factor model: omega and AVE of each factor's items, bifactor coefficients."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analysis.psychometrics.reliability.categorical_omega import categorical_omega_of_model
from analysis.psychometrics.reliability.omega_hierarchical import BifactorReliability, bifactor_reliability
from analysis.psychometrics.response_matrix import FloatArray
from analysis.psychometrics.sem import ModelFit

#: Factor covariances below this (against their variances) count as none.
_UNCORRELATED = 1e-8


@dataclass(frozen=True, slots=True, kw_only=True)
class FactorReliability:
    """The sum of one factor's items in one group: how much of its variance is the factor's."""

    factor: str
    group: str
    items: tuple[str, ...]
    omega: float  # over the observed variance of the sum; categorical omega for ordinal items
    omega_model: float  # over the variance that the model implies
    ave: float  # average variance extracted; NaN where an item loads on another factor, too
    categorical: bool
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ModelReliability:
    """What a fitted model says about the reliability of its sum scores."""

    factors: tuple[FactorReliability, ...]
    bifactor: tuple[BifactorReliability, ...]  # one a group, for a model with a general factor; else none
    notes: tuple[str, ...]


def model_reliability(fit: ModelFit) -> ModelReliability:
    """Return omega and average variance extracted of every factor with observed items, group by group.

    Parameters
    ----------
    fit : ModelFit
        A fitted factor model. Factors of factors are passed over, with a note.

    Notes
    -----
    ω = Σ(λφλ')/ΣS over a factor's items, S their observed covariances (or the model's); for ordinal items Green & Yang
    (2009) on the latent responses' polychoric correlations. AVE = Σλ²φ/Σs_ii, Fornell & Larcker (1981). When one factor
    holds all items, the others divide them and none correlate, the bifactor coefficients follow, too
    (`omega_hierarchical.bifactor_reliability`). R: `semTools::compRelSEM(fit)`, `semTools::AVE(fit)`.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.psychometrics.sem import fit_model
    >>> rng = np.random.default_rng(1)
    >>> answers = rng.normal(size=(400, 1)) + rng.normal(size=(400, 4))
    >>> fit = fit_model("trust =~ a + b + c + d", answers, item_codes=["a", "b", "c", "d"])
    >>> (trust,) = model_reliability(fit).factors
    >>> round(trust.omega, 1), round(trust.ave, 1)
    (0.8, 0.5)
    """
    notes: list[str] = []
    if not (fit.converged and fit.admissible):
        notes.append("the solution did not converge or is not admissible: don't rely on these coefficients")
    loads = _loadings(fit)
    results: list[FactorReliability] = []
    hierarchies: list[BifactorReliability] = []
    for number, label in enumerate(fit.group_labels or ("",)):
        layout, state, sample = fit.layouts[number], fit.states[number], fit.sample.groups[number]
        place = {name: position for position, name in enumerate(layout.variables)}
        higher = [factor for factor, items in loads.items() if not set(items) <= set(layout.observed)]
        if higher and number == 0:
            notes.append(f"measured by other factors, so passed over: {', '.join(higher)}")
        plain = {factor: items for factor, items in loads.items() if factor not in higher}
        for factor, items in plain.items():
            positions = [place[item] for item in items]
            loading = state.paths[positions, place[factor]]
            variance = float(state.latent_moments[place[factor], place[factor]])
            results.append(
                _of_factor(
                    fit,
                    number,
                    label,
                    factor,
                    items,
                    common=variance * np.outer(loading, loading),
                    alone=not any(set(items) & set(others) for name, others in loads.items() if name != factor),
                )
            )
        general = _general_factor(plain, layout.observed)
        if general and not higher and not len(layout.ordinal):
            order = [general, *(factor for factor in plain if factor != general)]
            columns = [place[factor] for factor in order]
            moments = state.latent_moments[columns][:, columns]
            spread = np.sqrt(np.diag(moments))
            if np.abs(moments / np.outer(spread, spread) - np.eye(len(order))).max() < _UNCORRELATED:
                rows = np.arange(len(layout.observed))
                loadings = state.paths[rows][:, columns] * spread
                hierarchies.append(
                    bifactor_reliability(
                        loadings[:, 0],
                        loadings[:, 1:],
                        np.diag(state.covariances)[rows],
                        covariance=sample.covariance,
                        item_codes=layout.observed,
                    )
                )
    return ModelReliability(factors=tuple(results), bifactor=tuple(hierarchies), notes=tuple(notes))


def _loadings(fit: ModelFit) -> dict[str, tuple[str, ...]]:
    """Return the indicators of each factor, in the order of the model."""
    found: dict[str, dict[str, None]] = {}
    for row in fit.parameters:
        if row.op == "=~":
            found.setdefault(row.lhs, {})[row.rhs] = None
    return {factor: tuple(items) for factor, items in found.items()}


def _of_factor(
    fit: ModelFit,
    number: int,
    label: str,
    factor: str,
    items: Sequence[str],
    *,
    common: FloatArray,
    alone: bool,
) -> FactorReliability:
    layout, state, sample = fit.layouts[number], fit.states[number], fit.sample.groups[number]
    positions = [layout.observed.index(item) for item in items]
    square = np.ix_(positions, positions)
    observed, implied = sample.covariance[square], state.sigma[square]
    ordinal = [position in layout.ordinal for position in positions]
    notes: list[str] = []
    nan = float("nan")
    if any(ordinal) and not all(ordinal):
        notes.append("ordinal and measured items together: no omega of their sum")
        omega = omega_model = nan
    elif all(ordinal):
        scale = state.scales[positions]
        shared = common * np.outer(scale, scale)
        thresholds = [
            (state.thresholds[layout.threshold_item == position] - state.mu[position]) * state.scales[position]
            for position in positions
        ]
        if np.diag(shared).max() > 1:
            notes.append("a loading above one: no categorical omega")
            omega = omega_model = nan
        else:
            # Of latent responses the model implies covariances only; `scales` brings their variances to one.
            spread = np.sqrt(np.diag(observed))
            implied = implied * np.outer(scale, scale)
            omega, omega_model = (
                categorical_omega_of_model(thresholds, shared, correlation=matrix, item_codes=items)
                for matrix in (observed / np.outer(spread, spread), implied)
            )
    else:
        omega = float(common.sum() / observed.sum())
        omega_model = float(common.sum() / implied.sum())
    return FactorReliability(
        factor=factor,
        group=label,
        items=tuple(items),
        omega=omega,
        omega_model=omega_model,
        ave=float(np.trace(common) / np.trace(observed)) if alone else nan,
        categorical=all(ordinal),
        notes=tuple(notes),
    )


def _general_factor(loads: dict[str, tuple[str, ...]], observed: Sequence[str]) -> str | None:
    """Return the factor that holds every item while the others share none, if there is one."""
    for general, items in loads.items():
        others = [set(own) for factor, own in loads.items() if factor != general]
        apart = sum(len(own) for own in others) == len(set().union(*others)) if others else False
        if set(items) == set(observed) and apart:
            return general
    return None
