"""What is read off a solution: standardised estimates, explained variance, residuals."""

import math
from collections.abc import Callable, Sequence

import numpy as np

from analysis.psychometrics.response_matrix import FloatArray
from analysis.psychometrics.sem.parameter_table import ParameterRow, ParameterTable, label_gradient


def standardised(
    table: ParameterTable, estimates: FloatArray, variances: Sequence[FloatArray]
) -> tuple[FloatArray, FloatArray]:
    """Return every row's estimate with latent variables standardised, and with all variables standardised.

    Parameters
    ----------
    table : ParameterTable
        The model.
    estimates : array, shape (n_rows,)
        Estimates and fixed values.
    variances : sequence of array
        Model-implied variances of all variables (observed, then latent) of each group.

    Notes
    -----
    As lavaan's `standardizedSolution`: covariances of residuals become correlations of residuals, variances of
    residuals shares of the total variance.
    """
    by_latent = np.array(estimates, dtype=np.float64)
    by_all = np.array(estimates, dtype=np.float64)
    residual = _residual_variances(table, estimates)
    for position, row in enumerate(table.rows):
        names = table.names[row.group - 1]
        order = {name: place for place, name in enumerate((*names.observed, *names.latent))}
        spread = variances[row.group - 1]

        def sd(name: str, order: dict[str, int] = order, spread: FloatArray = spread) -> float:
            variance = spread[order[name]]
            return math.sqrt(variance) if variance > 0 else math.nan

        latent = set(names.latent)
        lhs_latent, rhs_latent = row.lhs in latent, row.rhs in latent
        by_latent[position] *= _factor(row, sd, residual, left=lhs_latent, right=rhs_latent)
        by_all[position] *= _factor(row, sd, residual, left=True, right=True)
        if row.op == "~*~":
            by_all[position] = 1.0
    return by_latent, by_all


def _residual_variances(table: ParameterTable, estimates: FloatArray) -> dict[tuple[int, str], float]:
    return {
        (row.group, row.lhs): abs(float(estimates[position]))
        for position, row in enumerate(table.rows)
        if row.op == "~~" and row.lhs == row.rhs
    }


def _factor(
    row: ParameterRow,
    sd: Callable[[str], float],
    residual: dict[tuple[int, str], float],
    *,
    left: bool,
    right: bool,
) -> float:
    """Return what to multiply an estimate with when the left and the right variable are put into standard units."""
    if row.op == "=~":
        return (sd(row.lhs) if left else 1.0) / (sd(row.rhs) if right else 1.0)
    if row.op in ("~", "<~"):
        return (sd(row.rhs) if right else 1.0) / (sd(row.lhs) if left else 1.0)
    if row.op == "~~" and row.lhs == row.rhs:
        return 1.0 / sd(row.lhs) ** 2 if left else 1.0
    if row.op == "~~":
        scale = math.sqrt(residual.get((row.group, row.lhs), math.nan)) if left else 1.0
        scale *= math.sqrt(residual.get((row.group, row.rhs), math.nan)) if right else 1.0
        return 1.0 / scale if scale > 0 else math.nan
    if row.op in ("~1", "|"):
        return 1.0 / sd(row.lhs) if left else 1.0
    return 1.0


def explained_variances(table: ParameterTable, by_all: FloatArray) -> dict[tuple[int, str], float]:
    """Return R² = 1 − standardised residual variance of every explained variable; NaN where that is negative."""
    result: dict[tuple[int, str], float] = {}
    explained = {(row.group, row.rhs) for row in table.rows if row.op == "=~"}
    explained |= {(row.group, row.lhs) for row in table.rows if row.op == "~"}
    for position, row in enumerate(table.rows):
        if row.op == "~~" and row.lhs == row.rhs and (row.group, row.lhs) in explained:
            share = 1.0 - float(by_all[position])
            result[(row.group, row.lhs)] = math.nan if share > 1 else share
    return result


def defined_values(
    table: ParameterTable, values: dict[str, float], covariance: FloatArray | None
) -> list[tuple[float, float]]:
    """Evaluate `:=` definitions in order, each with its delta-method standard error (NaN without covariance)."""
    known = dict(values)
    gradients: dict[str, FloatArray] = {}
    result = []
    for definition in table.definitions:
        named = {key: complex(value) for key, value in known.items()}
        value = definition.expression.evaluate(named).real
        gradient = label_gradient(table, definition.expression, known)
        for name, slope in definition.expression.derivatives(known).items():
            if name in gradients:
                gradient = gradient + slope * gradients[name]
        se = math.nan
        if covariance is not None:
            variance = float(gradient @ covariance @ gradient)
            se = math.sqrt(variance) if variance >= 0 else math.nan
        known[definition.name] = value
        gradients[definition.name] = gradient
        result.append((value, se))
    return result
