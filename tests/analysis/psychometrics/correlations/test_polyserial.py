"""Polyserial correlations and Pearson correlations with fixed margins."""

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import ndtr, ndtri

from analysis.psychometrics.correlations.ordinal_moments import correlation_standard_errors, ordinal_moments
from analysis.psychometrics.correlations.polyserial import pearson_rho, polyserial_rho


def test_it_is_the_maximum_of_the_likelihood() -> None:
    """The slow obvious twin: the log-likelihood written out, a scalar minimiser."""
    rng = np.random.default_rng(1)
    z = rng.standard_normal(400)
    z = (z - z.mean()) / z.std()
    category = np.searchsorted([-1.0, 0.0, 0.5], 0.6 * z + 0.8 * rng.standard_normal(400)) + 1
    thresholds = ndtri(np.cumsum(np.bincount(category)[1:-1]) / 400)
    borders = np.concatenate([[-30.0], thresholds, [30.0]])

    def minus_log_likelihood(rho: float) -> float:
        root = np.sqrt(1 - rho * rho)
        upper, lower = (borders[category] - rho * z) / root, (borders[category - 1] - rho * z) / root
        return -float(np.log(ndtr(upper) - ndtr(lower)).sum())

    slow = minimize_scalar(minus_log_likelihood, bounds=(-0.99, 0.99), method="bounded", options={"xatol": 1e-8}).x
    rho, converged = polyserial_rho(z, category[:, None].astype(np.uint8), thresholds[:, None])
    assert converged.all()
    # The flat top of the likelihood leaves a minimiser without derivatives about 1e-7.
    assert rho[0] == pytest.approx(slow, abs=1e-6)


@pytest.mark.parametrize("rho", [-0.9, -0.2, 0.5, 0.98])
def test_it_recovers_the_correlation_behind_the_categories(rho: float) -> None:
    """20,000 simulated pairs give it back within four standard errors; affine changes and reversal do their part."""
    rng = np.random.default_rng(2)
    z = rng.standard_normal(20_000)
    category = np.searchsorted([-1.5, 0.3, 1.0], rho * z + np.sqrt(1 - rho**2) * rng.standard_normal(20_000)) + 1.0
    data = np.column_stack([50 + 10 * z, category])
    result = ordinal_moments(data, ordered=[False, True])
    se = correlation_standard_errors(data, ordered=[False, True])[0, 1]
    assert result.correlation[0, 1] == pytest.approx(rho, abs=4 * se)
    assert 0 < se < 0.02
    turned = ordinal_moments(np.column_stack([-3 * data[:, 0], data[:, 1]]), ordered=[False, True])
    assert turned.correlation[0, 1] == pytest.approx(-result.correlation[0, 1], abs=1e-9)
    assert turned.covariance[0, 1] == pytest.approx(-3 * result.covariance[0, 1], rel=1e-9)
    assert turned.means[0] == pytest.approx(-3 * data[:, 0].mean())
    assert turned.variances[0] == pytest.approx(9 * data[:, 0].var())


def test_a_threshold_on_the_variable_itself_stands_at_the_limit() -> None:
    """A category that is a cut of the variable correlates with it by ±.995, the limit of lavaan's search."""
    z = np.linspace(-2, 2, 101)
    category = (z > 0.31).astype(float)
    result = ordinal_moments(np.column_stack([z, category]), ordered=[False, True], asymptotic="none")
    assert result.correlation[0, 1] == pytest.approx(0.995, abs=1e-9)
    assert ordinal_moments(np.column_stack([-z, category]), ordered=[False, True], asymptotic="none").correlation[
        0, 1
    ] == pytest.approx(-0.995, abs=1e-9)


def test_pearson_with_fixed_margins_is_the_maximum_of_its_likelihood() -> None:
    """Complete pairs give Pearson's r; with blanks, the best correlation given means and variances from all rows."""
    rng = np.random.default_rng(3)
    one = rng.standard_normal(200)
    two = 0.7 * one + 0.7 * rng.standard_normal(200)
    one, two = (one - one.mean()) / one.std(), (two - two.mean()) / two.std()
    assert pearson_rho(one, two) == pytest.approx(np.corrcoef(one, two)[0, 1], abs=1e-12)
    two[:60] = np.nan
    both_one, both_two = one[60:], two[60:]

    def minus_log_likelihood(rho: float) -> float:
        rest = 1 - rho * rho
        squares = both_one**2 - 2 * rho * both_one * both_two + both_two**2
        return float((np.log(rest) / 2 + squares / (2 * rest)).sum())

    slow = minimize_scalar(minus_log_likelihood, bounds=(-0.99, 0.99), method="bounded", options={"xatol": 1e-9}).x
    assert pearson_rho(one, two) == pytest.approx(slow, abs=1e-6)
    assert np.isnan(pearson_rho(np.array([1.0, np.nan]), np.array([np.nan, 1.0])))
    assert pearson_rho(np.array([2.0, -2.0, 0.1, np.nan]), np.array([2.0, -2.0, 0.1, 3.0])) == 0.999


def test_extreme_measurements_count_in_any_unit_and_lavaans_rule_is_said() -> None:
    """The correlation is the same in any unit; a note tells where lavaan leaves rows out."""
    rng = np.random.default_rng(4)
    z = rng.standard_normal(500)
    category = np.searchsorted([-1.0, 0.5], 0.5 * z + 0.9 * rng.standard_normal(500)) + 1.0
    z[0] = 7.0
    plain = ordinal_moments(np.column_stack([z, category]), ordered=[False, True], item_codes=["y", "x"])
    assert any(note.startswith("y has extreme values in up to 1 rows") for note in plain.notes)
    shrunk = ordinal_moments(np.column_stack([1e-8 * z, category]), ordered=[False, True])
    assert shrunk.correlation[0, 1] == pytest.approx(plain.correlation[0, 1], abs=1e-9)
    assert not any("extreme values" in note for note in shrunk.notes)
