"""The bivariate normal distribution function."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.special import ndtr
from scipy.stats import multivariate_normal

from analysis.psychometrics.correlations.bivariate_normal import (
    bivariate_normal_cdf,
    bivariate_normal_density,
    bivariate_normal_grid,
)

LIMITS = st.floats(-6, 6)
CORRELATIONS = st.floats(-1, 1)


@pytest.mark.parametrize("rho", [-0.999, -0.93, -0.6, 0.0, 0.29, 0.31, 0.7499, 0.7501, 0.9249, 0.9251, 0.99, 0.9999])
def test_it_is_the_integral_of_the_conditional_distribution(rho: float) -> None:
    """The slow obvious twin on both sides of every change of method: ∫ φ(u) Φ((y − ρu)/√(1 − ρ²)) du up to x."""
    rng = np.random.default_rng(1)
    root = np.sqrt(1 - rho * rho)
    for x, y in rng.uniform(-3, 3, (8, 2)):
        bend = y / rho if rho else 0.0

        def integrand(u: float, y: float = y) -> float:
            return float(np.exp(-u * u / 2) / np.sqrt(2 * np.pi) * ndtr((y - rho * u) / root))

        edges = sorted(edge for edge in (-9.0, bend - 6 * root, bend, bend + 6 * root, x) if -9 <= edge <= x)
        slow = sum(quad(integrand, a, b, epsabs=1e-14, epsrel=1e-12)[0] for a, b in itertools.pairwise(edges))
        # The quadrature's own error is below 1e-12.
        assert float(bivariate_normal_cdf(x, y, rho)) == pytest.approx(slow, abs=1e-12)


def test_it_agrees_with_scipy() -> None:
    """scipy's multivariate normal (accurate to 1e-5 or so in its general routine, 1e-8 here) says the same."""
    for x, y, rho in [(0.3, -0.7, 0.5), (1.2, 0.4, -0.8), (-1.0, -1.5, 0.95)]:
        expected = multivariate_normal([0, 0], [[1, rho], [rho, 1]]).cdf([x, y])
        assert float(bivariate_normal_cdf(x, y, rho)) == pytest.approx(expected, abs=1e-6)


def test_the_quadrant_has_its_closed_form() -> None:
    """P(X ≤ 0, Y ≤ 0) = 1/4 + asin(ρ)/2π (Sheppard), at the ends too."""
    rho = np.array([-1.0, -0.95, -0.5, 0.0, 0.2, 0.8, 0.93, 0.999, 1.0])
    np.testing.assert_allclose(bivariate_normal_cdf(0.0, 0.0, rho), 0.25 + np.arcsin(rho) / (2 * np.pi), atol=1e-15)


@given(x=LIMITS, y=LIMITS, rho=CORRELATIONS)
def test_symmetries_and_bounds(x: float, y: float, rho: float) -> None:
    """Exchange, reflection and the Fréchet bounds hold for any limits and correlation."""
    value, exchanged, reflected = bivariate_normal_cdf([x, y, x], [y, x, -y], [rho, rho, -rho])
    # Absolute error below 1e-13 each.
    assert value == pytest.approx(exchanged, abs=2e-13)
    assert value + reflected == pytest.approx(ndtr(x), abs=2e-13)
    assert max(0.0, ndtr(x) + ndtr(y) - 1) - 1e-13 <= value <= min(ndtr(x), ndtr(y)) + 1e-13


def test_infinite_limits_leave_the_margins() -> None:
    """An upper limit of ∞ drops the variable; one of −∞ leaves nothing."""
    np.testing.assert_allclose(
        bivariate_normal_cdf([np.inf, 0.4, -np.inf, np.inf], [0.4, np.inf, 0.4, np.inf], 0.6),
        [ndtr(0.4), ndtr(0.4), 0.0, 1.0],
        atol=1e-15,
    )


def test_a_grid_holds_every_combination_of_limits() -> None:
    """The grid of many pairs is what single calls give, whatever mixture of correlations they have."""
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(3, 7)), rng.normal(size=(4, 7))
    rho = np.array([-0.98, -0.8, -0.1, 0.0, 0.5, 0.9, 0.96])
    grid = bivariate_normal_grid(x, y, rho)
    assert grid.shape == (3, 4, 7)
    np.testing.assert_allclose(grid, bivariate_normal_cdf(x[:, None, :], y[None, :, :], rho), atol=1e-15)


def test_the_density_is_the_slope_along_the_correlation() -> None:
    """∂Φ₂/∂ρ = φ₂ (Plackett), by central differences, which are good to 1e-8."""
    x, y, rho = np.array([0.5, -1.0]), np.array([-0.3, -0.8]), np.array([0.4, -0.7])
    slope = (bivariate_normal_cdf(x, y, rho + 1e-5) - bivariate_normal_cdf(x, y, rho - 1e-5)) / 2e-5
    np.testing.assert_allclose(bivariate_normal_density(x, y, rho), slope, atol=1e-8)
