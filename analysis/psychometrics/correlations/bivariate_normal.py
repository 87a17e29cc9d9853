"""The standard bivariate normal distribution, for many correlations at once."""

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr

from analysis.psychometrics.response_matrix import FloatArray

#: Gauss–Legendre points by the largest |rho| they serve: enough for 1e-15 (Genz 2004, table of `BVND`).
_BANDS = ((0.3, 6), (0.75, 12), (0.925, 20))
#: Points for the expansion about |rho| = 1.
_POINTS_NEAR_ONE = 20
#: exp(-100) is far below what double precision can add to a probability that matters.
_NEGLIGIBLE = -100.0


def bivariate_normal_cdf(x: npt.ArrayLike, y: npt.ArrayLike, rho: npt.ArrayLike) -> FloatArray:
    """Return P(X ≤ x, Y ≤ y) for standard normal X and Y that correlate rho.

    Parameters
    ----------
    x, y : array-like
        Upper limits; infinite ones are allowed.
    rho : array-like
        Correlations from −1 to 1. The three arguments are broadcast against one another.

    Returns
    -------
    array of the broadcast shape
        Absolute error below 1e-13.

    Notes
    -----
    Drezner & Wesolowsky (1990) as improved by Genz (2004): Φ₂(x, y; ρ) = Φ(x)Φ(y) + (1/2π) ∫₀^{asin ρ}
    exp(−(x² − 2xy sin θ + y²) / (2 cos² θ)) dθ by Gauss–Legendre quadrature, and an expansion about |ρ| = 1 from
    |ρ| = .925. R: `pbivnorm::pbivnorm(x, y, rho)`.

    Examples
    --------
    >>> float(bivariate_normal_cdf(0.0, 0.0, 0.5).round(12))
    0.333333333333
    """
    first, second, correlation = np.broadcast_arrays(
        np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64), np.asarray(rho, dtype=np.float64)
    )
    limits = [np.clip(limit.reshape(1, -1), -50.0, 50.0) for limit in (first, second)]  # beyond, nothing changes
    flat = bivariate_normal_grid(limits[0], limits[1], correlation.ravel())[0, 0]
    return np.asarray(flat.reshape(first.shape), dtype=np.float64)


def bivariate_normal_grid(x: FloatArray, y: FloatArray, rho: FloatArray) -> FloatArray:
    """Return P(X ≤ x_a, Y ≤ y_b) on the grid of limits of each of many pairs of variables.

    Parameters
    ----------
    x : array, shape (n_x, n_pairs)
    y : array, shape (n_y, n_pairs)
        Finite upper limits, a column for each pair.
    rho : array, shape (n_pairs,)
        Correlations from −1 to 1.

    Returns
    -------
    array, shape (n_x, n_y, n_pairs)
        The pairs run along the last axis, so that every step is one long vector operation.
    """
    size = np.abs(rho)
    result = np.empty((len(x), len(y), len(rho)))
    lower = -1.0
    for upper, n_points in _BANDS:
        chosen = np.flatnonzero((size >= max(lower, 0.0)) & (size < upper))
        if len(chosen) == len(rho):
            return _by_quadrature(x, y, rho, n_points)
        if len(chosen):
            result[:, :, chosen] = _by_quadrature(x[:, chosen], y[:, chosen], rho[chosen], n_points)
        lower = upper
    chosen = np.flatnonzero(size >= lower)
    if len(chosen):
        result[:, :, chosen] = _near_one(x[:, chosen], y[:, chosen], rho[chosen])
    return result


def bivariate_normal_density(x: FloatArray, y: FloatArray, rho: FloatArray) -> FloatArray:
    """Return the density at (x, y), |rho| < 1, the arguments broadcast; it is also the derivative of Φ₂ by rho."""
    rest = 1 - rho * rho
    exponent = -(x * x - 2 * rho * x * y + y * y) / (2 * rest)
    return np.asarray(np.exp(exponent) / (2 * np.pi * np.sqrt(rest)), dtype=np.float64)


def _by_quadrature(x: FloatArray, y: FloatArray, rho: FloatArray, n_points: int) -> FloatArray:
    """Integrate the density along the correlation, from 0 to rho."""
    nodes, weights = np.polynomial.legendre.leggauss(n_points)
    half_angle = np.arcsin(rho) / 2
    product = x[:, None, :] * y[None, :, :]
    half_squares = (x * x / 2)[:, None, :] + (y * y / 2)[None, :, :]
    total = np.zeros_like(product)
    buffer = np.empty_like(product)
    for node, weight in zip(nodes, weights, strict=True):
        sine = np.sin(half_angle * (1 + node))
        np.multiply(product, sine, out=buffer)
        buffer -= half_squares
        buffer /= 1 - sine * sine
        np.exp(buffer, out=buffer)
        buffer *= weight
        total += buffer
    total *= half_angle / (2 * np.pi)
    total += ndtr(x)[:, None, :] * ndtr(y)[None, :, :]
    return total


def _near_one(x: FloatArray, y: FloatArray, rho: FloatArray) -> FloatArray:
    """Expand about rho = ±1 (Genz 2004), where the integrand of the quadrature is too steep."""
    sign = np.where(rho < 0, -1.0, 1.0)
    first = np.broadcast_to(-x[:, None, :], (len(x), len(y), len(rho)))
    second = np.broadcast_to(-y[None, :, :], first.shape) * sign
    product = first * second
    gap_squared = (first - second) ** 2
    gap = np.sqrt(gap_squared)
    rest_squared = (1 - rho) * (1 + rho)
    rest = np.sqrt(rest_squared)
    c = (4 - product) / 8
    d = (12 - product) / 16
    inside = rest > 0
    # A vanishing rest (|rho| = 1) leaves only the limit below.
    safe_rest, safe_squared = np.where(inside, rest, 1.0), np.where(inside, rest_squared, 1.0)
    exponent = -(gap_squared / safe_squared + product) / 2
    total = np.where(
        exponent > _NEGLIGIBLE,
        rest
        * np.exp(np.maximum(exponent, _NEGLIGIBLE))
        * (1 - c * (gap_squared - rest_squared) * (1 - d * gap_squared / 5) / 3 + c * d * rest_squared**2 / 5),
        0.0,
    )
    total -= np.where(
        (product > _NEGLIGIBLE) & inside,
        np.exp(-np.maximum(product, _NEGLIGIBLE) / 2)
        * np.sqrt(2 * np.pi)
        * ndtr(-gap / safe_rest)
        * gap
        * (1 - c * gap_squared * (1 - d * gap_squared / 5) / 3),
        0.0,
    )
    nodes, weights = np.polynomial.legendre.leggauss(_POINTS_NEAR_ONE)
    half = rest / 2
    for node, weight in zip(nodes, weights, strict=True):
        square = (half * (1 + node)) ** 2
        root = np.sqrt(1 - square)
        exponent = -(gap_squared / np.where(inside, square, 1.0) + product) / 2
        term = np.exp(np.maximum(exponent, _NEGLIGIBLE)) * (
            np.exp(-product * (1 - root) / (2 * (1 + root))) / root - (1 + c * square * (1 + d * square))
        )
        total += np.where(exponent > _NEGLIGIBLE, half * weight * term, 0.0)
    total *= -1 / (2 * np.pi)
    at_one = ndtr(-np.maximum(first, second))
    at_minus_one = np.maximum(ndtr(-first) - ndtr(-second), 0.0)
    return np.asarray(np.where(rho > 0, at_one + total, at_minus_one - total), dtype=np.float64)
