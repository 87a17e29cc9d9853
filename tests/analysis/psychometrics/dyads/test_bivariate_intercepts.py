"""Two outcomes with two correlated random intercepts of the clinician, by REML."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy.stats import multivariate_normal
from scipy.stats import t as t_distribution

from analysis.psychometrics.dyads.bivariate_intercepts import BivariateIntercepts, regress_with_bivariate_intercepts
from analysis.psychometrics.errors import AnalysisInputError

FloatArray = npt.NDArray[np.float64]
REFERENCE = Path(__file__).resolve().parents[3] / "reference" / "apim"


@pytest.fixture(scope="module")
def r_apim() -> dict[str, Any]:
    """What lavaan and nlme computed; see tests/reference/apim/README.md."""
    return json.loads((REFERENCE / "apim.json").read_text())


@pytest.fixture(scope="module")
def dyads() -> dict[str, Any]:
    """The reference dyads by column."""
    with (REFERENCE / "apim.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    columns: dict[str, Any] = {name: np.array([float(row[name]) for row in rows]) for name in ("AP", "AC", "BP", "BC")}
    columns["cl"] = np.array([row["cl"] for row in rows])
    return columns


def simulate(
    n_clinicians: int, *, between: FloatArray, seed: int = 1, sizes: tuple[int, int] = (2, 10)
) -> tuple[FloatArray, FloatArray, npt.NDArray[np.int64]]:
    """Outcomes on one predictor with slopes .5 and −.2, residual covariance [[1, .3], [.3, .8]]."""
    rng = np.random.default_rng(seed)
    clinicians = np.repeat(np.arange(n_clinicians), rng.integers(*sizes, n_clinicians))
    x = rng.standard_normal((len(clinicians), 1)) + 3
    residual = rng.multivariate_normal([0, 0], [[1, 0.3], [0.3, 0.8]], len(clinicians))
    random = rng.multivariate_normal([0, 0], between, n_clinicians)[clinicians]
    return x @ [[0.5, -0.2]] + random + residual, x, clinicians


@pytest.mark.parametrize("model", ["mixed", "split"])
def test_estimates_errors_and_likelihood_as_in_nlme(model: str, dyads: dict[str, Any], r_apim: dict[str, Any]) -> None:
    """nlme::lme by REML; nlme stops within 2e-5 of the optimum, its likelihood is flat there (1e-6)."""
    _, codes = np.unique(dyads["cl"], return_inverse=True)
    mean = (np.bincount(codes, weights=dyads["AC"]) / np.bincount(codes))[codes]
    columns = [dyads["AP"], dyads["AC"]] if model == "mixed" else [dyads["AP"], dyads["AC"] - mean, mean]
    fit = regress_with_bivariate_intercepts(
        np.column_stack([dyads["BP"], dyads["BC"]]), np.column_stack(columns), clinicians=dyads["cl"]
    )
    expected = r_apim[model]
    terms = ["", ":AP", ":AC"] if model == "mixed" else ["", ":AP", ":wAC", ":mAC"]
    names = [f"role{role}{term}" for role in "PC" for term in terms]
    np.testing.assert_allclose(fit.estimate, [expected["fixed"][name] for name in names], rtol=2e-5, atol=1e-5)
    np.testing.assert_allclose(fit.se, [expected["se"][name] for name in names], rtol=2e-5)
    np.testing.assert_allclose(fit.between, expected["B"], rtol=1e-4, atol=2e-4)
    np.testing.assert_allclose(fit.within, expected["W"], rtol=1e-5)
    assert fit.log_likelihood == pytest.approx(expected["logLik"], abs=1e-6)
    assert fit.log_likelihood >= expected["logLik"] - 1e-9
    assert fit.converged
    assert not fit.boundary
    assert (fit.n_used, fit.n_dropped, fit.n_clinicians, fit.confidence) == (366, 0, 40, 0.95)
    np.testing.assert_allclose(np.sqrt(np.diag(fit.covariance)), fit.se, rtol=1e-12)
    np.testing.assert_allclose(fit.statistic, fit.estimate / fit.se, rtol=1e-12)
    np.testing.assert_allclose((fit.ci_lower + fit.ci_upper) / 2, fit.estimate, rtol=1e-9)
    between, within = fit.between, fit.within
    np.testing.assert_allclose(fit.icc, np.diag(between) / np.diag(between + within), rtol=1e-12)
    assert fit.between_correlation == pytest.approx(between[0, 1] / np.sqrt(between[0, 0] * between[1, 1]))
    assert fit.within_correlation == pytest.approx(within[0, 1] / np.sqrt(within[0, 0] * within[1, 1]))
    # Two intercepts vary with 39 clinicians, so no coefficient has fewer degrees of freedom than about that.
    assert (fit.df > 35).all()
    assert (fit.pvalue[[1, 2 + len(terms)]] < 1e-6).all()


def test_the_likelihood_is_that_of_the_multivariate_normal() -> None:
    """The slow obvious twin: the full covariance matrix of all rows, restricted by error contrasts (1e-6)."""
    y, x, clinicians = simulate(6, between=np.array([[0.5, 0.2], [0.2, 0.9]]))
    fit = regress_with_bivariate_intercepts(y, x, clinicians=clinicians)
    same = (clinicians[:, None] == clinicians[None, :]).astype(float)
    covariance = np.kron(same, fit.between) + np.kron(np.eye(len(y)), fit.within)
    design = np.kron(np.column_stack([np.ones(len(x)), x]), np.eye(2))
    inverse = np.linalg.inv(covariance)
    information = design.T @ inverse @ design
    beta = np.linalg.solve(information, design.T @ inverse @ y.reshape(-1))
    np.testing.assert_allclose(beta.reshape(2, 2).T.reshape(-1), fit.estimate, rtol=1e-7)
    full = multivariate_normal(design @ beta, covariance).logpdf(y.reshape(-1))
    restricted = full + 4 / 2 * np.log(2 * np.pi) - np.linalg.slogdet(information)[1] / 2
    assert fit.log_likelihood == pytest.approx(restricted, abs=1e-6)


def test_balanced_intercepts_have_the_degrees_of_freedom_of_the_clinicians() -> None:
    """Equal numbers, no predictor: the mean is tested on K − 1 degrees of freedom (1e-3: numeric Hessian)."""
    rng = np.random.default_rng(5)
    clinicians = np.repeat(np.arange(25), 6)
    y = rng.standard_normal((25, 2))[clinicians] + rng.standard_normal((150, 2))
    fit = regress_with_bivariate_intercepts(y, clinicians=clinicians)
    np.testing.assert_allclose(fit.df, 24, rtol=1e-3)
    means = y.reshape(25, 6, 2).mean(axis=1)
    np.testing.assert_allclose(fit.se, means.std(axis=0, ddof=1) / 5, rtol=1e-5)
    assert fit.names == ("patient: intercept", "clinician: intercept")


def test_planted_variances_and_slopes_are_recovered() -> None:
    """300 clinicians: slopes within .05, variances within .15 (about three of their standard errors)."""
    planted = np.array([[0.6, 0.3], [0.3, 0.9]])
    y, x, clinicians = simulate(300, between=planted, seed=3)
    fit = regress_with_bivariate_intercepts(y, x, clinicians=clinicians)
    np.testing.assert_allclose(fit.estimate[[1, 3]], [0.5, -0.2], atol=0.05)
    np.testing.assert_allclose(fit.between, planted, atol=0.2)
    np.testing.assert_allclose(fit.within, [[1, 0.3], [0.3, 0.8]], atol=0.1)


def test_units_and_row_order_do_not_matter() -> None:
    """Outcomes and predictors in other units scale what they should, the likelihood moves by the Jacobian (1e-5)."""
    y, x, clinicians = simulate(30, between=np.array([[0.6, 0.3], [0.3, 0.9]]))
    fit = regress_with_bivariate_intercepts(y, x, clinicians=clinicians)
    mixed = np.random.default_rng(0).permutation(len(y))
    again = regress_with_bivariate_intercepts(y[mixed] * [100, 1], x[mixed] * 10 + 4, clinicians=clinicians[mixed])
    np.testing.assert_allclose(again.between, fit.between * [[1e4, 1e2], [1e2, 1]], rtol=1e-4)
    np.testing.assert_allclose(again.estimate[[1, 3]], fit.estimate[[1, 3]] * [10, 0.1], rtol=1e-5)
    np.testing.assert_allclose(again.statistic[[1, 3]], fit.statistic[[1, 3]], rtol=1e-5)


def test_without_differences_between_clinicians_the_boundary_is_said() -> None:
    """Clinicians more alike than chance: variance zero, correlation undefined, the coefficients stand."""
    rng = np.random.default_rng(8)
    clinicians = np.repeat(np.arange(20), 6)
    y = rng.standard_normal((20, 6, 2))
    y[:, :, 0] -= y[:, :, 0].mean(axis=1, keepdims=True)
    fit = regress_with_bivariate_intercepts(y.reshape(120, 2), clinicians=clinicians)
    assert fit.boundary
    assert np.isnan(fit.between_correlation)
    assert fit.between[0, 0] < 1e-3
    assert any("boundary" in note for note in fit.notes)
    assert np.isfinite(fit.se).all()


def test_few_clinicians_are_described_only() -> None:
    """Eight clinicians: variances and coefficients, no errors."""
    y, x, clinicians = simulate(8, between=np.eye(2), sizes=(4, 9))
    fit = regress_with_bivariate_intercepts(y, x, clinicians=clinicians)
    assert np.isfinite(fit.estimate).all()
    assert np.isnan([fit.se, fit.pvalue, fit.df, fit.ci_lower, fit.ci_upper]).all()
    assert "described" in fit.notes[0]


def test_missing_rows_and_single_dyads_are_counted() -> None:
    """A row that lacks an outcome or predictor is left out; clinicians with one dyad are mentioned."""
    y, x, clinicians = simulate(20, between=np.eye(2))
    y[0, 1], x[5, 0] = np.nan, np.nan
    keys = np.append(clinicians, 99)
    fit = regress_with_bivariate_intercepts(np.vstack([y, [[1, 2]]]), np.vstack([x, [[3]]]), clinicians=keys)
    assert (fit.n_used, fit.n_dropped, fit.n_clinicians) == (len(y) - 1, 2, 21)
    assert any("one dyad" in note for note in fit.notes)


def test_without_any_clinician_variance_every_dyad_counts() -> None:
    """Clinicians' means all equal: the mean is tested as in one sample of N dyads (1e-3: the variance nears zero)."""
    rng = np.random.default_rng(8)
    y = rng.standard_normal((20, 6, 2))
    y = (y - y.mean(axis=1, keepdims=True)).reshape(120, 2) + np.array([1, 0.1])
    fit = regress_with_bivariate_intercepts(y, clinicians=np.repeat(np.arange(20), 6))
    np.testing.assert_allclose(fit.df, 119, rtol=1e-3)
    np.testing.assert_allclose(fit.se, y.std(axis=0, ddof=1) / np.sqrt(120), rtol=1e-3)
    np.testing.assert_allclose(fit.pvalue, 2 * t_distribution.sf(fit.statistic, 119), rtol=1e-2)


Y, X, CL = simulate(20, between=np.eye(2))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: regress_with_bivariate_intercepts(Y[:, 0], clinicians=CL), "two outcomes per dyad"),
        (lambda: regress_with_bivariate_intercepts(Y, X[:3], clinicians=CL), "one row of predictors per dyad"),
        (lambda: regress_with_bivariate_intercepts(Y, X, clinicians=CL, confidence=0), "confidence"),
        (lambda: regress_with_bivariate_intercepts(Y, X * 0, clinicians=CL), "x1 is constant"),
        (lambda: regress_with_bivariate_intercepts(Y, X[:, [0, 0]], clinicians=CL), "of rank 1"),
        (lambda: regress_with_bivariate_intercepts(Y, X, clinicians=np.arange(len(Y))), "one of them with two dyads"),
        (lambda: regress_with_bivariate_intercepts(Y * np.nan, X, clinicians=CL), "more complete dyads"),
        (lambda: regress_with_bivariate_intercepts(Y[:, [0, 0]], X, clinicians=CL), "not one as a copy"),
        (lambda: regress_with_bivariate_intercepts(Y * [1, 0], X, clinicians=CL), "vary among the patients"),
    ],
)
def test_unusable_input_is_named(call: Callable[[], BivariateIntercepts], message: str) -> None:
    """Each message says what is required and what came."""
    with pytest.raises(AnalysisInputError, match=message):
        call()
