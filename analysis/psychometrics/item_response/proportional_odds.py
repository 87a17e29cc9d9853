"""Proportional-odds (ordinal logistic) regression by Newton's method with the analytic Hessian."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from analysis.psychometrics.errors import AnalysisInputError
from analysis.psychometrics.response_matrix import FloatArray, read_only

#: A variance of a standardised coefficient beyond this means that outcomes are predicted perfectly.
_SEPARATED = 1e6


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ProportionalOdds:
    """A fitted proportional-odds model: logit P(y > category k) = x·coefficients − threshold k."""

    coefficients: FloatArray  # (n_predictors,), in the predictors' own units
    coefficient_se: FloatArray
    thresholds: FloatArray  # (K − 1,)
    threshold_se: FloatArray
    log_likelihood: float
    n_used: int
    categories: tuple[float, ...]
    converged: bool
    separated: bool


def fit_proportional_odds(outcome: npt.ArrayLike, predictors: npt.ArrayLike | None = None) -> ProportionalOdds:
    """Regress an ordered outcome on predictors.

    Parameters
    ----------
    outcome : array-like, shape (n,)
        Ordered categories, without missing values.
    predictors : array-like, shape (n, n_predictors), optional
        Without an intercept; none gives the model of thresholds alone.

    Returns
    -------
    ProportionalOdds
        `separated` says that some outcome is predicted perfectly: coefficients then have no finite estimate, but the
        log-likelihood is still its supremum to within the precision of the fit.

    Raises
    ------
    AnalysisInputError
        One category, missing values, or predictors that are constant or combinations of one another.

    Notes
    -----
    McCullagh (1980), J R Stat Soc B 42:109. The log-likelihood is concave, so that Newton's method with step-halving
    finds the maximum. R: `MASS::polr(ordered(y) ~ x, Hess = TRUE)`, with the same signs.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> x = rng.standard_normal(2000)
    >>> model = fit_proportional_odds(np.digitize(0.8 * x + rng.logistic(size=2000), [-1, 1]), x[:, None])
    >>> bool(abs(model.coefficients[0] - 0.8) < 0.15)
    True
    """
    who = "fit_proportional_odds"
    y = np.asarray(outcome, dtype=np.float64).ravel()
    x = np.zeros((len(y), 0)) if predictors is None else np.asarray(predictors, dtype=np.float64)
    if x.ndim != 2 or len(x) != len(y) or not (np.isfinite(y).all() and np.isfinite(x).all()):
        raise AnalysisInputError(
            f"{who} requires finite outcomes and one row of finite predictors for each; got {len(y)} outcomes and "
            f"predictors of shape {x.shape}. Remedy: leave out rows with missing values first."
        )
    categories, code = np.unique(y, return_inverse=True)
    if len(categories) < 2:
        raise AnalysisInputError(
            f"{who} requires an outcome with at least two categories; got {len(categories)}. "
            "Remedy: leave this item out, or wait for more forms."
        )
    centre = x.mean(axis=0)
    scale = x.std(axis=0)
    if x.shape[1] and (
        (scale <= 1e-12 * np.maximum(np.abs(centre), 1.0)).any()
        or np.linalg.eigvalsh(np.atleast_2d(np.corrcoef(x, rowvar=False)))[0] < 1e-12
    ):
        raise AnalysisInputError(
            f"{who} requires predictors that vary and are no combinations of one another. "
            "Remedy: leave one of them out."
        )
    standard = (x - centre) / scale
    n_predictors, n_thresholds = x.shape[1], len(categories) - 1
    counts = np.bincount(code)
    above = counts[::-1].cumsum()[::-1][1:] / len(y)
    parameters = np.concatenate([np.zeros(n_predictors), np.log((1 - above) / above)])
    value, slope, hessian = _derivatives(parameters, standard, code, n_predictors)
    converged = False
    for _ in range(60):
        step = np.linalg.solve(-hessian, slope)
        if float(slope @ step) < 1e-12:  # what the step would add to the log-likelihood, twice
            converged = True
            break
        length = 1.0
        while length > 1e-8:
            candidate = parameters + length * step
            if (np.diff(candidate[n_predictors:]) > 0).all():
                there = _derivatives(candidate, standard, code, n_predictors)
                if there[0] >= value - 1e-12 * abs(value):
                    break
            length /= 2
        else:
            break
        parameters, (value, slope, hessian) = candidate, there
    covariance = np.linalg.inv(-hessian)
    separated = bool((np.diag(covariance) > _SEPARATED).any())
    # Back to the predictors' units: x·β − ζ = standard·(β·scale) − (ζ − centre·β).
    transform = np.zeros((len(parameters), len(parameters)))
    transform[np.arange(n_predictors), np.arange(n_predictors)] = 1 / scale
    transform[n_predictors:, :n_predictors] = centre / scale
    transform[n_predictors + np.arange(n_thresholds), n_predictors + np.arange(n_thresholds)] = 1.0
    natural = transform @ parameters
    errors = np.full(len(parameters), np.nan)
    if not separated:
        errors = np.sqrt(np.diag(transform @ covariance @ transform.T))
    return ProportionalOdds(
        coefficients=read_only(natural[:n_predictors].copy()),
        coefficient_se=read_only(errors[:n_predictors].copy()),
        thresholds=read_only(natural[n_predictors:].copy()),
        threshold_se=read_only(errors[n_predictors:].copy()),
        log_likelihood=value,
        n_used=len(y),
        categories=tuple(float(category) for category in categories),
        converged=converged,
        separated=separated,
    )


def _derivatives(
    parameters: FloatArray, x: FloatArray, code: npt.NDArray[np.int64], n_predictors: int
) -> tuple[float, FloatArray, FloatArray]:
    """Log-likelihood, gradient and Hessian in (coefficients, thresholds).

    As in the graded response model, log P_k = log σ(η − ζ_k) + log σ(ζ_{k+1} − η) + log(1 − exp(ζ_k − ζ_{k+1})): no
    difference of nearly equal probabilities is ever taken.
    """
    thresholds = parameters[n_predictors:]
    n_thresholds = len(thresholds)
    eta = x @ parameters[:n_predictors]
    has_lower, has_upper = code > 0, code < n_thresholds
    lower = np.where(has_lower, eta - thresholds[np.maximum(code - 1, 0)], np.inf)
    upper = np.where(has_upper, eta - thresholds[np.minimum(code, n_thresholds - 1)], -np.inf)
    above, over = expit(lower), expit(upper)
    gap = np.diff(thresholds)
    inner = np.bincount(code, minlength=n_thresholds + 1)[1:-1]
    value = -float(np.logaddexp(0, -lower).sum() + np.logaddexp(0, upper).sum() - inner @ np.log(-np.expm1(-gap)))
    pull = 1 - above - over  # derivative of log P in η
    slope = np.empty(len(parameters))
    slope[:n_predictors] = x.T @ pull
    slope[n_predictors:] = np.bincount(code[has_upper], weights=over[has_upper], minlength=n_thresholds)[
        :n_thresholds
    ] - np.bincount(code[has_lower] - 1, weights=(1 - above)[has_lower], minlength=n_thresholds)
    squeeze = 1 / np.expm1(np.minimum(gap, 500.0))
    slope[n_predictors + 1 :] += inner * squeeze
    slope[n_predictors : len(parameters) - 1] -= inner * squeeze
    weight_lower, weight_upper = above * (1 - above), over * (1 - over)
    hessian = np.zeros((len(parameters), len(parameters)))
    hessian[:n_predictors, :n_predictors] = -(x.T * (weight_lower + weight_upper)) @ x
    at_threshold = np.zeros((n_thresholds, len(code)))
    row = np.arange(len(code))
    at_threshold[code[has_lower] - 1, row[has_lower]] += weight_lower[has_lower]
    at_threshold[code[has_upper], row[has_upper]] += weight_upper[has_upper]
    cross = at_threshold @ x
    hessian[n_predictors:, :n_predictors] = cross
    hessian[:n_predictors, n_predictors:] = cross.T
    place = n_predictors + np.arange(n_thresholds)
    hessian[place, place] = -at_threshold.sum(axis=1)
    curve = inner * squeeze * (1 + squeeze)
    hessian[place[1:], place[1:]] -= curve
    hessian[place[:-1], place[:-1]] -= curve
    hessian[place[1:], place[:-1]] += curve
    hessian[place[:-1], place[1:]] += curve
    return value, slope, hessian
