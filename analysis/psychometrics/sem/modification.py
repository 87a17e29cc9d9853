"""Modification indices: how much χ² would fall if a fixed parameter were free, and to what it would change."""

import math
from dataclasses import dataclass, replace

import numpy as np

from analysis.psychometrics.errors import AnalysisInputError
from analysis.psychometrics.response_matrix import FloatArray
from analysis.psychometrics.sem.continuous import MaximumLikelihood
from analysis.psychometrics.sem.estimation import ModelFit, implied_variances
from analysis.psychometrics.sem.fiml import FullInformation, moment_jacobian
from analysis.psychometrics.sem.inference import inverse_in_basis
from analysis.psychometrics.sem.model import GroupLayout, group_layouts
from analysis.psychometrics.sem.ordinal import DiagonallyWeightedLeastSquares
from analysis.psychometrics.sem.parameter_table import ParameterRow, ParameterTable, VariableNames
from analysis.psychometrics.sem.solution import standardised

#: Information of a candidate that the free parameters leave: below this it would not be identified.
_NOTHING_LEFT = np.finfo(np.float64).eps ** (1 / 3)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModificationIndex:
    """A fixed parameter: the score test of freeing it and its expected change, plain and standardised."""

    lhs: str
    op: str
    rhs: str
    group: int
    mi: float
    epc: float
    sepc_lv: float
    sepc_all: float


def modification_indices(fit: ModelFit, *, minimum: float = 0.0) -> tuple[ModificationIndex, ...]:
    """Return modification indices of all parameters that could be freed, the largest first.

    Parameters
    ----------
    fit : ModelFit
        A converged, identified solution.
    minimum : float
        Leave out indices below this.

    Raises
    ------
    AnalysisInputError
        The solution did not converge or is not identified.

    Notes
    -----
    Sörbom (1989), Psychometrika 54:371: MI = N g²/V and EPC = −g/V with g the derivative of the fitting function and V
    the candidate's information given that of the free parameters (expected information). Equality constraints stay.
    R: `modindices(fit, sort. = TRUE)`.
    """
    if not fit.converged or not fit.identified:
        raise AnalysisInputError(
            "modification indices require a converged, identified solution; this one is not. Remedy: see its notes."
        )
    table, theta = _extended(fit)
    exogenous = [(group.covariance, group.mean) for group in fit.sample.groups]
    counts = [group.ordinal.counts() for group in fit.sample.groups if group.ordinal is not None]
    layouts = group_layouts(table, exogenous, counts)
    gradient, information, n_total = _score(fit, table, layouts, theta)
    n_free = fit.theta.size
    extra = np.arange(n_free, theta.size)
    inverse = inverse_in_basis(information[:n_free, :n_free], fit.basis)
    if inverse is None or not extra.size:
        return ()
    across = information[np.ix_(extra, np.arange(n_free))]
    left = np.diag(information)[extra] - np.einsum("ij,jk,ik->i", across, inverse, across)
    index = np.full(theta.size, np.nan)
    change = np.full(theta.size, np.nan)
    usable = left > _NOTHING_LEFT
    slope = gradient[extra]
    index[extra[usable]] = n_total * slope[usable] ** 2 / left[usable]
    change[extra[usable]] = -slope[usable] / left[usable]
    by_latent, by_all = _standardised_changes(fit, table, change)
    found = [
        ModificationIndex(
            lhs=row.lhs,
            op=row.op,
            rhs=row.rhs,
            group=row.group,
            mi=float(index[row.free - 1]),
            epc=float(change[row.free - 1]),
            sepc_lv=float(by_latent[position]),
            sepc_all=float(by_all[position]),
        )
        for position, row in enumerate(table.rows)
        if row.free > n_free and index[row.free - 1] >= minimum
    ]
    return tuple(sorted(found, key=lambda entry: -entry.mi))


def _extended(fit: ModelFit) -> tuple[ParameterTable, FloatArray]:
    """Free every fixed parameter and add those that the model leaves out, after the free ones."""
    rows: list[ParameterRow] = []
    values = list(fit.theta)
    known: set[tuple[str, str, str, int]] = set()
    for row, estimate in zip(fit.table.rows, fit.parameters, strict=False):
        known.add((row.lhs, row.op, row.rhs, row.group))
        if row.op == "~~":
            known.add((row.rhs, row.op, row.lhs, row.group))
        if row.free or row.exogenous or row.op in ("|", "~*~"):
            rows.append(row)
            continue
        values.append(estimate.est)
        rows.append(replace(row, free=len(values)))
    for group, names in enumerate(fit.table.names, start=1):
        for lhs, op, rhs in _candidates(fit.table, names, group):
            if (lhs, op, rhs, group) not in known:
                values.append(0.0)
                rows.append(
                    ParameterRow(
                        lhs=lhs,
                        op=op,
                        rhs=rhs,
                        group=group,
                        user=0,
                        free=len(values),
                        fixed_value=math.nan,
                        start=math.nan,
                        label="",
                        exogenous=False,
                    )
                )
    return replace(fit.table, rows=tuple(rows), n_free=len(values)), np.array(values)


def _candidates(table: ParameterTable, names: VariableNames, group: int) -> list[tuple[str, str, str]]:
    """List what lavaan offers: cross-loadings, covariances of indicators and of factors, further regressions."""
    own = [row for row in table.rows if row.group == group]
    indicators = {row.rhs for row in own if row.op == "=~"}
    measured = [name for name in names.observed if name not in names.exogenous]
    endpoints = list(
        dict.fromkeys([row.lhs for row in own if row.op == "~"] + [row.rhs for row in own if row.op == "~"])
    )
    result = [(factor, "=~", item) for factor in names.latent for item in measured if item not in endpoints]
    covaried = [item for item in measured if item in indicators]
    for variables in (covaried, list(names.latent)):
        result += [
            (left, "~~", right) for position, left in enumerate(variables) for right in variables[position + 1 :]
        ]
    for outcome in endpoints:
        if outcome in names.exogenous:
            continue
        result += [(outcome, "~", other) for other in endpoints if other != outcome]
    return result


def _score(
    fit: ModelFit, table: ParameterTable, layouts: tuple[GroupLayout, ...], theta: FloatArray
) -> tuple[FloatArray, FloatArray, float]:
    """Return gradient and expected information of the extended model, per respondent."""
    samples, objective = fit.sample.groups, fit.objective
    if isinstance(objective, DiagonallyWeightedLeastSquares):
        wide = DiagonallyWeightedLeastSquares(layouts, samples, table.n_free, theta_scaled=objective.theta_scaled)
        return wide.gradient(theta), wide.information(theta), float(fit.n_used)
    if isinstance(objective, FullInformation):
        incomplete = FullInformation(layouts, samples, table.n_free)
        information = np.zeros((table.n_free, table.n_free))
        pieces = incomplete.pieces(theta)
        assert pieces is not None
        for layout, (state, _), (_, expected) in zip(
            layouts, pieces, objective.information_of_moments(fit.theta), strict=True
        ):
            slopes = moment_jacobian(layout, state, table.n_free)
            information += slopes.T @ expected @ slopes
        return incomplete.gradient(theta), information, float(fit.n_used)
    complete = MaximumLikelihood(layouts, samples, table.n_free, meanstructure=table.meanstructure)
    return complete.gradient(theta), complete.scoring_matrix(theta), float(fit.n_used)


def _standardised_changes(fit: ModelFit, table: ParameterTable, change: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Put expected changes into standard units, the solution's own variances as units."""
    known = {(row.lhs, row.op, row.rhs, row.group): row.est for row in fit.parameters}
    sizes = np.full(len(table.rows), np.nan)
    signs = np.ones(len(table.rows))
    for position, row in enumerate(table.rows):
        if row.op == "~~" and row.lhs == row.rhs:
            sizes[position] = known.get((row.lhs, row.op, row.rhs, row.group), np.nan)
        elif row.free:
            sizes[position] = abs(change[row.free - 1])
            signs[position] = np.sign(change[row.free - 1])
    by_latent, by_all = standardised(table, sizes, implied_variances(fit))
    return signs * by_latent, signs * by_all
