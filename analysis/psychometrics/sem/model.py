"""Implied moments of a model and their derivatives, in McArdle's reticular action form.

All variables of a group, observed first and latent after them, stand in one vector v with v = A v + u, cov(u) = S,
E(u) = M. With E = (I − A)⁻¹, B the observed rows of E and V = E S Eᵀ, the observed variables have Σ = B S Bᵀ and μ =
B M.

Every free parameter moves Σ along a matrix of rank two: dΣ = w (z_f z_sᵀ + z_s z_fᵀ) with columns z of Z = [B, C], C
= rows of V that belong to observed variables (a path a ← b moves it along b_a c_bᵀ, a covariance along b_a b_bᵀ).
Gradients, expected and observed information therefore need only products Zᵀ Q Z picked at index pairs; no
(p(p+1)/2)-sized matrix appears.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from analysis.psychometrics.errors import AnalysisInputError
from analysis.psychometrics.response_matrix import FloatArray
from analysis.psychometrics.sem.matrices import IndexArray
from analysis.psychometrics.sem.parameter_table import ParameterRow, ParameterTable

_PATH, _COVARIANCE, _MEAN, _THRESHOLD, _SCALE = range(5)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GroupLayout:
    """Where each row of the parameter table stands in one group's matrices."""

    observed: tuple[str, ...]
    variables: tuple[str, ...]  # observed, then latent
    ordinal: IndexArray  # positions of ordinal items among the observed
    threshold_item: IndexArray  # per threshold: position of its item among the observed, in the order of the moments
    paths: FloatArray  # fixed values in A
    covariances: FloatArray  # fixed values in S
    means: FloatArray  # fixed values in M
    thresholds: FloatArray  # fixed values
    scales: FloatArray  # fixed values, one per observed variable
    kind: IndexArray  # of each free parameter of this group
    number: IndexArray  # its position in θ
    row: IndexArray  # first index: `to` of a path, one end of a covariance, variable of a mean, threshold or scale
    column: IndexArray  # second index: `from` of a path, the other end of a covariance


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GroupState:
    """One group's matrices at given parameter values."""

    sigma: FloatArray  # implied covariances of the observed (latent response) variables
    mu: FloatArray
    latent_moments: FloatArray  # V = E S Eᵀ of all variables
    all_means: FloatArray  # E M
    effects: FloatArray  # E
    columns: FloatArray  # Z = [B, C]
    paths: FloatArray
    covariances: FloatArray
    means: FloatArray
    thresholds: FloatArray
    scales: FloatArray


def group_layouts(
    table: ParameterTable,
    exogenous_moments: Sequence[tuple[FloatArray, FloatArray] | None],
    threshold_counts: Sequence[Sequence[int]] = (),
) -> tuple[GroupLayout, ...]:
    """Translate the parameter table into index arrays.

    Parameters
    ----------
    table : ParameterTable
        The model.
    exogenous_moments : sequence
        One entry a group: sample covariances and means of the observed variables (model order), used for rows that are
        fixed at sample values; None where there are no such rows.
    threshold_counts : sequence of sequence of int
        For each group, the number of thresholds of every observed variable (0 for continuous ones).
    """
    return tuple(
        _layout(table, group, exogenous_moments[group], threshold_counts[group] if threshold_counts else ())
        for group in range(table.n_groups)
    )


def _layout(
    table: ParameterTable, group: int, exogenous: tuple[FloatArray, FloatArray] | None, counts: Sequence[int]
) -> GroupLayout:
    names = table.names[group]
    variables = (*names.observed, *names.latent)
    place = {name: position for position, name in enumerate(variables)}
    n_variables, n_observed = len(variables), len(names.observed)
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(int) if counts else np.zeros(n_observed + 1, dtype=int)
    threshold_item = np.repeat(np.arange(n_observed), counts) if counts else np.zeros(0, dtype=int)
    paths = np.zeros((n_variables, n_variables))
    covariances = np.zeros((n_variables, n_variables))
    means = np.zeros(n_variables)
    thresholds = np.zeros(int(offsets[-1]))
    scales = np.ones(n_observed)
    entries: list[tuple[int, int, int, int]] = []
    for row in table.rows:
        if row.group != group + 1:
            continue
        kind, first, second = _location(row, place, offsets, n_observed)
        if row.free:
            entries.append((kind, row.free - 1, first, second))
            continue
        value = fixed_value(row, place, exogenous)
        if kind == _PATH:
            paths[first, second] = value
        elif kind == _COVARIANCE:
            covariances[first, second] = covariances[second, first] = value
        elif kind == _MEAN:
            means[first] = value
        elif kind == _THRESHOLD:
            thresholds[first] = value
        else:
            scales[first] = value
    table_of_entries = np.array(entries, dtype=np.intp).reshape(-1, 4)
    return GroupLayout(
        observed=names.observed,
        variables=variables,
        ordinal=np.array([place[name] for name in names.ordinal], dtype=np.intp),
        threshold_item=threshold_item.astype(np.intp),
        paths=paths,
        covariances=covariances,
        means=means,
        thresholds=thresholds,
        scales=scales,
        kind=table_of_entries[:, 0],
        number=table_of_entries[:, 1],
        row=table_of_entries[:, 2],
        column=table_of_entries[:, 3],
    )


def fixed_value(row: ParameterRow, place: dict[str, int], exogenous: tuple[FloatArray, FloatArray] | None) -> float:
    """Return a fixed row's value: what was written, or the sample moment of an exogenous variable."""
    if not row.exogenous:
        return 0.0 if math.isnan(row.fixed_value) else row.fixed_value
    if exogenous is None:
        return 0.0
    covariances, means = exogenous
    if row.op == "~1":
        return float(means[place[row.lhs]])
    return float(covariances[place[row.lhs], place[row.rhs]])


def _location(
    row: ParameterRow, place: dict[str, int], offsets: npt.NDArray[np.int_], n_observed: int
) -> tuple[int, int, int]:
    if row.op == "=~":
        return _PATH, place[row.rhs], place[row.lhs]
    if row.op in ("~", "<~"):
        return _PATH, place[row.lhs], place[row.rhs]
    if row.op == "~~":
        return _COVARIANCE, place[row.lhs], place[row.rhs]
    if row.op == "~1":
        return _MEAN, place[row.lhs], 0
    item = place[row.lhs]
    if item >= n_observed:
        raise AnalysisInputError(
            f"thresholds and scales belong to observed items; got {row.lhs} {row.op} {row.rhs} for a latent variable. "
            "Remedy: remove it from the model."
        )
    if row.op == "~*~":
        return _SCALE, item, 0
    position = int(row.rhs[1:]) - 1
    if position >= offsets[item + 1] - offsets[item]:
        raise AnalysisInputError(
            f"the model names the threshold {row.lhs} | {row.rhs}; {row.lhs} has "
            f"{offsets[item + 1] - offsets[item]} thresholds in the data. Remedy: declare it ordinal, "
            "or remove the threshold."
        )
    return _THRESHOLD, int(offsets[item]) + position, 0


def group_state(layout: GroupLayout, theta: FloatArray) -> GroupState | None:
    """Evaluate one group's matrices; None where I − A cannot be inverted."""
    values = theta[layout.number]
    paths, covariances = layout.paths.copy(), layout.covariances.copy()
    means, thresholds, scales = layout.means.copy(), layout.thresholds.copy(), layout.scales.copy()
    for kind, target in ((_MEAN, means), (_THRESHOLD, thresholds), (_SCALE, scales)):
        chosen = layout.kind == kind
        target[layout.row[chosen]] = values[chosen]
    chosen = layout.kind == _PATH
    paths[layout.row[chosen], layout.column[chosen]] = values[chosen]
    chosen = layout.kind == _COVARIANCE
    covariances[layout.row[chosen], layout.column[chosen]] = values[chosen]
    covariances[layout.column[chosen], layout.row[chosen]] = values[chosen]
    n_observed, n_variables = len(layout.observed), len(layout.variables)
    try:
        effects: FloatArray = np.linalg.inv(np.eye(n_variables) - paths).astype(np.float64, copy=False)
    except np.linalg.LinAlgError:
        return None
    moments = effects @ covariances @ effects.T
    all_means = effects @ means
    return GroupState(
        sigma=moments[:n_observed, :n_observed],
        mu=all_means[:n_observed],
        latent_moments=moments,
        all_means=all_means,
        effects=effects,
        columns=np.hstack([effects[:n_observed], moments[:n_observed]]),
        paths=paths,
        covariances=covariances,
        means=means,
        thresholds=thresholds,
        scales=scales,
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Directions:
    """How one group's free parameters move Σ (first, second, weight) and μ."""

    number: IndexArray  # positions in θ of the parameters that move Σ
    first: IndexArray
    second: IndexArray
    weight: FloatArray


def sigma_directions(layout: GroupLayout) -> Directions:
    """Return for paths and covariances the two columns of Z and the weight along which Σ moves."""
    moving = (layout.kind == _PATH) | (layout.kind == _COVARIANCE)
    kind, row, column = layout.kind[moving], layout.row[moving], layout.column[moving]
    n_variables = len(layout.variables)
    return Directions(
        number=layout.number[moving],
        first=row,
        second=np.where(kind == _PATH, column + n_variables, column),
        weight=np.where((kind == _COVARIANCE) & (row == column), 0.5, 1.0),
    )


def mean_jacobian(layout: GroupLayout, state: GroupState, n_free: int) -> FloatArray:
    """Return ∂μ/∂θ, shape (n_observed, n_free)."""
    n_observed = len(layout.observed)
    jacobian = np.zeros((n_observed, n_free))
    reached = state.effects[:n_observed]
    chosen = layout.kind == _PATH
    jacobian[:, layout.number[chosen]] = reached[:, layout.row[chosen]] * state.all_means[layout.column[chosen]]
    chosen = layout.kind == _MEAN
    jacobian[:, layout.number[chosen]] = reached[:, layout.row[chosen]]
    return jacobian


def sigma_jacobian(
    layout: GroupLayout, state: GroupState, n_free: int, rows: IndexArray, columns: IndexArray
) -> FloatArray:
    """Return ∂σ/∂θ for the elements (rows, columns) of Σ, shape (n_elements, n_free)."""
    moves = sigma_directions(layout)
    z = state.columns
    first, second = z[:, moves.first], z[:, moves.second]
    values = first[rows] * second[columns]
    values += first[columns] * second[rows]
    values *= moves.weight
    jacobian = np.zeros((rows.size, n_free))
    jacobian[:, moves.number] = values
    return jacobian


def gradient(
    layout: GroupLayout, state: GroupState, n_free: int, by_sigma: FloatArray, by_mu: FloatArray | None
) -> FloatArray:
    """Chain ∂F/∂Σ (symmetric, each element counted once a side) and ∂F/∂μ through to ∂F/∂θ."""
    moves = sigma_directions(layout)
    z = state.columns
    result = np.zeros(n_free)
    picked = (z.T @ by_sigma @ z)[moves.first, moves.second]
    result[moves.number] = 2.0 * moves.weight * picked
    if by_mu is not None:
        result += by_mu @ mean_jacobian(layout, state, n_free)
    return result


def paired(metric_first: FloatArray, metric_second: FloatArray, moves: Directions) -> FloatArray:
    """Return tr(P dΣ_j Q dΣ_k) for all pairs, from ZᵀPZ and ZᵀQZ (symmetrised over j and k)."""
    first, second = moves.first, moves.second
    result = metric_first[np.ix_(first, first)] * metric_second[np.ix_(second, second)]
    cross = metric_first[np.ix_(first, second)] * metric_second[np.ix_(second, first)]
    result = result + cross
    if metric_first is not metric_second:
        result += metric_first[np.ix_(second, second)] * metric_second[np.ix_(first, first)]
        result += metric_first[np.ix_(second, first)] * metric_second[np.ix_(first, second)]
    else:
        result *= 2.0
    result *= np.outer(moves.weight, moves.weight)
    return result


def curvature(
    layout: GroupLayout, state: GroupState, n_free: int, by_sigma: FloatArray, by_mu: FloatArray | None
) -> FloatArray:
    """Return Σ (∂F/∂σ_ij) ∂²σ_ij/∂θ∂θᵀ + Σ (∂F/∂μ_i) ∂²μ_i/∂θ∂θᵀ: moments are not linear in θ."""
    n_variables = len(layout.variables)
    reached, moments, effects = state.columns[:, :n_variables], state.latent_moments, state.effects
    pull = reached.T @ by_sigma
    inner = pull @ reached  # BᵀGB
    crossed = pull @ state.columns[:, n_variables:]  # BᵀGC
    path, covariance = layout.kind == _PATH, layout.kind == _COVARIANCE
    a, b, path_number = layout.row[path], layout.column[path], layout.number[path]
    c, d, covariance_number = layout.row[covariance], layout.column[covariance], layout.number[covariance]
    halved = np.where(c == d, 0.5, 1.0)
    result = np.zeros((n_free, n_free))
    # paths (a ← b) against paths: how Z and C themselves move
    back = effects[np.ix_(b, a)]  # [j, k] = E[b_j, a_k]
    across = crossed[np.ix_(a, b)]  # [j, k] = (BᵀGC)[a_j, b_k]
    block = 2.0 * (back.T * across.T + inner[np.ix_(a, a)] * moments[np.ix_(b, b)] + across * back)
    if by_mu is not None:
        height = reached.T @ by_mu
        # g'·d²μ for two paths: E[b_k, a_j] height[a_k] u[b_j] + height[a_j] E[b_j, a_k] u[b_k]
        block += back.T * np.outer(state.all_means[b], height[a]) + back * np.outer(height[a], state.all_means[b])
    result[np.ix_(path_number, path_number)] += block
    block = 2.0 * halved * (inner[np.ix_(a, c)] * effects[np.ix_(b, d)] + inner[np.ix_(a, d)] * effects[np.ix_(b, c)])
    result[np.ix_(path_number, covariance_number)] += block
    result[np.ix_(covariance_number, path_number)] += block.T
    if by_mu is not None:
        mean = layout.kind == _MEAN
        e, mean_number = layout.row[mean], layout.number[mean]
        block = (reached.T @ by_mu)[a][:, None] * effects[np.ix_(b, e)]
        result[np.ix_(path_number, mean_number)] += block
        result[np.ix_(mean_number, path_number)] += block.T
    return result


def threshold_indices(layout: GroupLayout) -> tuple[IndexArray, IndexArray]:
    """Return positions in θ and places of the free thresholds."""
    chosen = layout.kind == _THRESHOLD
    return layout.number[chosen], layout.row[chosen]


def scale_indices(layout: GroupLayout) -> tuple[IndexArray, IndexArray]:
    """Return positions in θ and items of the free scales."""
    chosen = layout.kind == _SCALE
    return layout.number[chosen], layout.row[chosen]
