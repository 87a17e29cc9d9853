"""The standardised solution with standard errors of its own."""

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr, ndtri

from analysis.psychometrics.errors import AnalysisInputError
from analysis.psychometrics.response_matrix import FloatArray
from analysis.psychometrics.sem.estimation import ModelFit, complete_scales
from analysis.psychometrics.sem.model import group_state
from analysis.psychometrics.sem.solution import standardised

#: Step of the central differences, relative to the parameter: their error is of its square, far below a printed digit.
_STEP = 1e-5


@dataclass(frozen=True, slots=True, kw_only=True)
class StandardisedEstimate:
    """One parameter in standard units (all variables standardised); NaN where it has no error (fixed by the units)."""

    lhs: str
    op: str
    rhs: str
    group: int
    est_std: float
    se: float
    z: float
    pvalue: float
    ci_lower: float
    ci_upper: float


def standardised_solution(fit: ModelFit, *, confidence: float = 0.95) -> tuple[StandardisedEstimate, ...]:
    """Return every parameter with all variables standardised, with its standard error by the delta method.

    Parameters
    ----------
    fit : ModelFit
        A fitted model.
    confidence : float
        Of the intervals.

    Returns
    -------
    tuple of StandardisedEstimate
        Without the definitions (`:=`). A value that standardising fixes (a factor's variance) has the error 0.

    Raises
    ------
    AnalysisInputError
        The confidence is not between 0 and 1.

    Notes
    -----
    Var(g(θ)) = J V Jᵀ with J the derivatives of the standardised estimates by the free parameters, taken by central
    differences, and V the covariance matrix of the estimates. A standardised estimate's error is not the estimate's
    error in other units: the variances that it is divided by are estimates, too.
    R: `lavaan::standardizedSolution(fit)`.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.psychometrics.sem import Moments, fit_model
    >>> covariance = np.array([[1.0, 0.56, 0.48], [0.56, 1.0, 0.42], [0.48, 0.42, 1.0]])
    >>> fit = fit_model("f =~ a + b + c", moments=Moments(covariance=covariance, n=500), item_codes=["a", "b", "c"])
    >>> [(row.rhs, round(row.est_std, 2), round(row.se, 3)) for row in standardised_solution(fit) if row.op == "=~"]
    [('a', 0.8, 0.037), ('b', 0.7, 0.037), ('c', 0.6, 0.038)]
    """
    if not 0 < confidence < 1:
        raise AnalysisInputError(
            f"standardised_solution requires a confidence between 0 and 1; got {confidence}. Remedy: use 0.95."
        )
    values = _in_standard_units(fit, fit.theta)
    errors = _errors(fit)
    width = float(ndtri(0.5 + confidence / 2))
    rows = []
    for row, value, error in zip(fit.table.rows, values.tolist(), errors.tolist(), strict=True):
        z = value / error if error > 0 else math.nan
        rows.append(
            StandardisedEstimate(
                lhs=row.lhs,
                op=row.op,
                rhs=row.rhs,
                group=row.group,
                est_std=value,
                se=error,
                z=z,
                pvalue=2 * float(ndtr(-abs(z))),
                ci_lower=value - width * error,
                ci_upper=value + width * error,
            )
        )
    return tuple(rows)


def _in_standard_units(fit: ModelFit, theta: FloatArray) -> FloatArray:
    """Return all rows' standardised values at some parameters; NaN where the model is not defined there."""
    table = fit.table
    estimates = np.array([row.est for row in fit.parameters[: len(table.rows)]])
    for position, row in enumerate(table.rows):
        if row.free:
            estimates[position] = theta[row.free - 1]
    states = [group_state(layout, theta) for layout in fit.layouts]
    complete = [state for state in states if state is not None]
    if len(complete) < len(states):
        return np.full(len(table.rows), np.nan)
    variances = complete_scales(table, complete, fit.layouts, estimates)
    return standardised(table, estimates, variances)[1]


def _errors(fit: ModelFit) -> FloatArray:
    if fit.covariance is None:
        return np.full(len(fit.table.rows), np.nan)
    slopes = np.empty((len(fit.table.rows), fit.theta.size))
    for number in range(fit.theta.size):
        step = np.zeros_like(fit.theta)
        step[number] = _STEP * max(1.0, abs(float(fit.theta[number])))
        upper, lower = _in_standard_units(fit, fit.theta + step), _in_standard_units(fit, fit.theta - step)
        slopes[:, number] = (upper - lower) / (2 * step[number])
    variances = np.einsum("ij,jk,ik->i", slopes, fit.covariance, slopes)
    errors: FloatArray = np.sqrt(np.where(variances > 0, variances, 0.0))
    # What cancels in exact arithmetic leaves rounding dust.
    return np.where(errors < 1e-8, 0.0, errors) + np.where(np.isnan(variances), np.nan, 0.0)
