"""Where the minimiser starts: loadings by FABIN from each factor's indicators, the rest by simple rules."""

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np

from analysis.psychometrics.response_matrix import FloatArray
from analysis.psychometrics.sem.parameter_table import ParameterTable

Style = Literal["informed", "small", "plain"]
#: In the order in which they are tried.
STYLES: tuple[Style, ...] = ("informed", "small", "plain")


def start_values(
    table: ParameterTable,
    covariances: Sequence[FloatArray],
    means: Sequence[FloatArray],
    thresholds: Sequence[dict[str, FloatArray]] = (),
    *,
    style: Style = "informed",
) -> FloatArray:
    """Return starting values of the free parameters.

    Parameters
    ----------
    table : ParameterTable
        The model.
    covariances, means : sequence of array
        Sample moments of each group's observed variables (polychoric correlations for ordinal ones).
    thresholds : sequence of dict
        For each group, the sample thresholds of every ordinal item.
    style : {'informed', 'small', 'plain'}
        FABIN's loadings and factor variances; its loadings with factor variances of 0.05 (lavaan's start); all loadings
        alike with small factor variances.
    """
    theta = np.zeros(table.n_free)
    for group in range(table.n_groups):
        names = table.names[group]
        place = {name: position for position, name in enumerate(names.observed)}
        one_factor = _one_factor_solutions(table, group, covariances[group], place) if style != "plain" else {}
        if style == "small":
            one_factor = {key: value for key, value in one_factor.items() if key[1]}
        factor_variance = 0.5 if table.categorical and style == "informed" else 0.05
        for row in table.rows:
            if row.group != group + 1 or not row.free:
                continue
            value = 0.0
            if row.op == "=~":
                value = one_factor.get((row.lhs, row.rhs), 0.7 if table.categorical else 1.0)
            elif row.op == "~~" and row.lhs == row.rhs and row.lhs in place:
                share = 1.0 if row.lhs in names.ordinal else 0.5 * covariances[group][place[row.lhs], place[row.lhs]]
                value = float(share)
            elif row.op == "~~" and row.lhs == row.rhs:
                value = one_factor.get((row.lhs, ""), factor_variance)
            elif row.op == "~1" and row.lhs in place:
                value = float(means[group][place[row.lhs]])
            elif row.op == "|" and thresholds:
                value = float(thresholds[group][row.lhs][int(row.rhs[1:]) - 1])
            elif row.op == "~*~":
                value = 1.0
            theta[row.free - 1] = value if math.isnan(row.start) else row.start
    return theta


def _one_factor_solutions(
    table: ParameterTable, group: int, covariance: FloatArray, place: dict[str, int]
) -> dict[tuple[str, str], float]:
    """Return {(factor, item): loading} and {(factor, ''): variance} of factors with observed indicators."""
    result: dict[tuple[str, str], float] = {}
    fixed_to_one = {
        row.lhs
        for row in table.rows
        if row.group == group + 1 and row.op == "~~" and row.lhs == row.rhs and not row.free and row.fixed_value == 1
    }
    for factor in table.names[group].latent:
        items = [row.rhs for row in table.rows if row.group == group + 1 and row.op == "=~" and row.lhs == factor]
        if not items or any(item not in place for item in items):
            continue
        chosen = np.array([place[item] for item in items])
        loadings, variance = fabin(covariance[np.ix_(chosen, chosen)])
        if factor in fixed_to_one:
            loadings = loadings * math.copysign(math.sqrt(abs(variance)), variance)
        result |= {(factor, item): float(loading) for item, loading in zip(items, loadings, strict=True)}
        result[(factor, "")] = max(variance, 0.05 * float(covariance[chosen[0], chosen[0]]))
    return result


def fabin(covariance: FloatArray) -> tuple[FloatArray, float]:
    """Estimate one factor's loadings (first fixed at 1) and its variance without iterating (FABIN 3, Hägglund 1982)."""
    size = len(covariance)
    first = float(covariance[0, 0])
    if size < 3:
        return np.ones(size), 0.5 * first
    bounds = np.sqrt(np.diag(covariance) / (0.1 * first))
    loadings = np.ones(size)
    if size == 3:
        s21, s31, s32 = covariance[1, 0], covariance[2, 0], covariance[2, 1]
        if min(abs(s21), abs(s31), abs(s32)) < 1e-8 * first or s21 * s31 * s32 < 0:
            return loadings, 0.5 * first
        loadings[1:] = s32 / s31, s32 / s21
        variance = float(s21 * s31 / s32)
    else:
        for item in range(1, size):
            others = [position for position in range(1, size) if position != item]
            with_first, with_item = covariance[others, 0], covariance[item, others]
            try:
                weights = np.linalg.solve(covariance[np.ix_(others, others)], with_first)
            except np.linalg.LinAlgError:
                weights = with_first
            below = float(with_first @ weights)
            loadings[item] = float(with_item @ weights) / below if abs(below) > 1e-12 else 1.0
        products = np.outer(loadings, loadings)
        off_diagonal = ~np.eye(size, dtype=bool)
        below = float((products[off_diagonal] ** 2).sum())
        variance = float((products * covariance)[off_diagonal].sum() / below) if below > 0 else 0.5 * first
    loadings = np.clip(loadings, -bounds, bounds)
    loadings[0] = 1.0
    return loadings, min(max(variance, 0.1 * first), first)
