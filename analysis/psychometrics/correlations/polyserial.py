"""Correlations of a measured variable with ordinal items (polyserial), and of measured variables with one another.

Rows are respondents; a missing value is NaN among measurements and category 0 among ordinal answers.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr

from analysis.psychometrics.correlations.ordinal_tables import BEYOND
from analysis.psychometrics.response_matrix import FloatArray

BoolArray = npt.NDArray[np.bool_]
Categories = npt.NDArray[np.uint8]

#: lavaan's bounds of the search for a polyserial correlation.
LARGEST_POLYSERIAL = 0.995
_LEAST_PROBABILITY = float(np.finfo(np.float64).eps)
_LAVAAN_LEAST = float(np.sqrt(np.finfo(np.float64).eps))
_MOST_STEPS = 60
_LAST_STEP = 1e-7
_MOST_NUMBERS = 2_000_000  # rows × items worked on at once, to bound memory


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PolyserialScores:
    """Derivatives of each row's log-likelihood; zero where the row lacks one of the two answers."""

    rho: FloatArray  # (n_rows, n_ordinal)
    mean: FloatArray  # (n_rows, n_ordinal)
    variance: FloatArray  # (n_rows, n_ordinal)
    upper: FloatArray  # (n_rows, n_ordinal): by the threshold above the row's category
    lower: FloatArray  # (n_rows, n_ordinal): by the threshold below it, sign as of the rectangle's lower side


def polyserial_rho(measured: FloatArray, ordinal: Categories, thresholds: FloatArray) -> tuple[FloatArray, BoolArray]:
    """Maximise the likelihood of each ordinal item's correlation with one standardised variable.

    Parameters
    ----------
    measured : array, shape (n_rows,)
        The variable less its mean, divided by its standard deviation (divisor n); NaN for missing.
    ordinal : array, shape (n_rows, n_ordinal)
        Category numbers, 0 for missing.
    thresholds : array, shape (n_categories − 1, n_ordinal)
        `BEYOND` for the thresholds that an item lacks.

    Returns
    -------
    rho : array, shape (n_ordinal,)
        NaN where no row has both.
    converged : array of bool, shape (n_ordinal,)

    Notes
    -----
    Two-step maximum likelihood (Olsson, Drasgow & Dorans 1982): Σ log[Φ((τ_y − ρz)/√(1 − ρ²)) − Φ((τ_{y−1} − ρz)/
    √(1 − ρ²))] with mean, variance and thresholds fixed at their margins. R: `lavaan::lavCor`.
    """
    n_ordinal = ordinal.shape[1]
    at_once = max(1, _MOST_NUMBERS // max(len(measured), 1))
    parts = [
        _maximise(measured, ordinal[:, begin : begin + at_once], thresholds[:, begin : begin + at_once])
        for begin in range(0, n_ordinal, at_once)
    ]
    if not parts:
        return np.zeros(0), np.zeros(0, dtype=np.bool_)
    return np.concatenate([rho for rho, _ in parts]), np.concatenate([reached for _, reached in parts])


def _maximise(measured: FloatArray, ordinal: Categories, thresholds: FloatArray) -> tuple[FloatArray, BoolArray]:
    z, upper, lower, both = _limits(measured, ordinal, thresholds)
    n_ordinal = ordinal.shape[1]
    rho = _starting_values(z, ordinal, both)
    low, high = np.full(n_ordinal, -LARGEST_POLYSERIAL), np.full(n_ordinal, LARGEST_POLYSERIAL)
    converged = np.zeros(n_ordinal, dtype=np.bool_)
    active = np.arange(n_ordinal)
    for _ in range(_MOST_STEPS):
        current = rho[active]
        gradient, curvature = _slopes(z, upper, lower, both, current)
        low = np.where(gradient > 0, current, low)
        high = np.where(gradient > 0, high, current)
        target = current + gradient / curvature
        target = np.where((target > low) & (target < high), target, (low + high) / 2)
        done = (np.abs(target - current) < _LAST_STEP) | (gradient == 0)
        rho[active] = np.where(gradient == 0, current, target)
        converged[active[done]] = True
        if done.all():
            break
        going = ~done
        active, low, high = active[going], low[going], high[going]
        z, upper, lower, both = z[:, going], upper[:, going], lower[:, going], both[:, going]
    rho = np.where(np.abs(rho) > LARGEST_POLYSERIAL - 1e-6, np.sign(rho) * LARGEST_POLYSERIAL, rho)
    answered = (measured == measured).any() & (both_counts(measured, ordinal) > 0)
    return np.where(answered, rho, np.nan), converged | ~answered


def both_counts(measured: FloatArray, ordinal: Categories) -> npt.NDArray[np.int64]:
    """Return for each ordinal item the number of rows that have it and the measured variable."""
    return np.asarray(((ordinal > 0) & ~np.isnan(measured)[:, None]).sum(axis=0), dtype=np.int64)


def _limits(
    measured: FloatArray, ordinal: Categories, thresholds: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray, BoolArray]:
    """Return for each row the variable, and the thresholds above and below its category (0 where one is missing)."""
    n_ordinal = ordinal.shape[1]
    both = (ordinal > 0) & ~np.isnan(measured)[:, None]
    borders = np.concatenate([np.full((1, n_ordinal), -BEYOND), thresholds, np.full((1, n_ordinal), BEYOND)])
    items = np.arange(n_ordinal)
    category = np.where(both, ordinal, 1)
    upper = np.where(both, borders[category, items], 0.0)
    lower = np.where(both, borders[category - 1, items], 0.0)
    z = np.where(both, measured[:, None], 0.0)
    return z, upper, lower, both


def _starting_values(z: FloatArray, ordinal: Categories, both: BoolArray) -> FloatArray:
    count = np.maximum(both.sum(axis=0), 1)
    number = np.where(both, ordinal, 0.0)
    mean_z, mean_number = z.sum(axis=0) / count, number.sum(axis=0) / count
    product = (z * number).sum(axis=0) / count - mean_z * mean_number
    variance = ((z**2).sum(axis=0) / count - mean_z**2) * ((number**2).sum(axis=0) / count - mean_number**2)
    scale = np.sqrt(np.maximum(variance, 0.0))
    r = np.where(scale > 1e-12, product / np.where(scale > 1e-12, scale, 1.0), 0.0)
    return np.clip(1.1 * r, -0.9, 0.9)


def _slopes(
    z: FloatArray, upper: FloatArray, lower: FloatArray, both: BoolArray, rho: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Return the first derivative of each log-likelihood, and minus the second (or the sum of squared scores)."""
    root = np.sqrt(1 - rho * rho)
    up, down = (upper - rho * z) / root, (lower - rho * z) / root
    probability = np.maximum(ndtr(up) - ndtr(down), _LEAST_PROBABILITY)
    density_up, density_down = _density(up), _density(down)
    up_1, down_1 = (rho * upper - z) / root**3, (rho * lower - z) / root**3
    up_2 = upper / root**3 + 3 * rho * up_1 / root**2
    down_2 = lower / root**3 + 3 * rho * down_1 / root**2
    score = np.where(both, (density_up * up_1 - density_down * down_1) / probability, 0.0)
    bend = density_up * (up_2 - up * up_1**2) - density_down * (down_2 - down * down_1**2)
    squares = (score**2).sum(axis=0)
    observed = squares - np.where(both, bend / probability, 0.0).sum(axis=0)
    return score.sum(axis=0), np.where(observed > 0.1 * squares, observed, np.maximum(squares, 1e-300))


def _density(x: FloatArray) -> FloatArray:
    return np.asarray(np.exp(-x * x / 2) / np.sqrt(2 * np.pi), dtype=np.float64)


def polyserial_scores(
    measured: FloatArray, sd: float, ordinal: Categories, thresholds: FloatArray, rho: FloatArray
) -> PolyserialScores:
    """Return the derivatives of each row's log-likelihood by rho, mean, variance and thresholds.

    Parameters
    ----------
    measured, ordinal, thresholds
        As in `polyserial_rho`.
    sd : float
        Standard deviation of the variable before it was standardised.
    rho : array, shape (n_ordinal,)
    """
    z, upper, lower, both = _limits(measured, ordinal, thresholds)
    root = np.sqrt(1 - rho * rho)
    up, down = (upper - rho * z) / root, (lower - rho * z) / root
    inverse = np.where(both, 1 / np.maximum(ndtr(up) - ndtr(down), _LEAST_PROBABILITY), 0.0)
    density_up, density_down = _density(up), _density(down)
    difference = (density_up - density_down) * inverse
    return PolyserialScores(
        rho=inverse * (density_up * (upper * rho - z) - density_down * (lower * rho - z)) / root**3,
        mean=(z + rho / root * difference) / sd,
        variance=np.where(both, z * z - 1 + rho / root * z * difference, 0.0) / (2 * sd * sd),
        upper=density_up * inverse / root,
        lower=-density_down * inverse / root,
    )


def improbable_rows(
    measured: FloatArray, sd: float, ordinal: Categories, thresholds: FloatArray, rho: FloatArray
) -> npt.NDArray[np.int64]:
    """Count for each ordinal item the rows whose likelihood lies below 1.5e-8 in the variable's own unit.

    lavaan leaves such rows out of the polyserial correlation, so that its answer depends on the unit.
    """
    z, upper, lower, both = _limits(measured, ordinal, thresholds)
    root = np.sqrt(1 - rho * rho)
    probability = np.maximum(ndtr((upper - rho * z) / root) - ndtr((lower - rho * z) / root), _LEAST_PROBABILITY)
    return np.asarray((both & (_density(z) / sd * probability < _LAVAAN_LEAST)).sum(axis=0), dtype=np.int64)


def pearson_rho(first: FloatArray, second: FloatArray) -> float:
    """Maximise the bivariate normal likelihood of the correlation, means and variances being fixed.

    Parameters
    ----------
    first, second : arrays, shape (n_rows,)
        Variables standardised by their own means and standard deviations (divisor n); NaN for missing.

    Returns
    -------
    float
        Pearson's correlation where no row lacks either; else the root between −1 and 1 of
        ρ(1 − ρ²) + s₁₂(1 + ρ²) − ρ(s₁₁ + s₂₂) = 0 with the mean squares and products s of the rows that have both.
        NaN if there are none.
    """
    both = ~np.isnan(first) & ~np.isnan(second)
    if not both.any():
        return float("nan")
    one, two = first[both], second[both]
    product = float(np.mean(one * two))
    squares = float(np.mean(one * one) + np.mean(two * two))
    if both.all():
        return float(np.clip(product, -1.0, 1.0))
    roots = np.roots([-1.0, product, 1.0 - squares, product])
    real = roots[np.abs(roots.imag) < 1e-9].real
    inside = np.clip(real[np.abs(real) < 1], -0.999, 0.999)
    if not len(inside):
        return float(np.sign(product) * 0.999)
    rest = 1 - inside**2
    log_likelihood = -0.5 * np.log(rest) - (squares - 2 * inside * product) / (2 * rest)
    return float(inside[np.argmax(log_likelihood)])
