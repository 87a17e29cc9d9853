"""Cluster-robust regression and the wild cluster bootstrap."""

import csv
import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy.stats import f as f_distribution

from analysis.psychometrics.errors import AnalysisInputError
from analysis.psychometrics.inference.robust_inference import (
    CovarianceKind,
    combine_coefficients,
    f_tail,
    regress_clustered,
    wald_test,
    wild_bootstrap_test,
)

FloatArray = npt.NDArray[np.float64]
REFERENCE = Path(__file__).resolve().parents[3] / "reference" / "robust"


@pytest.fixture(scope="module")
def r_robust() -> dict[str, Any]:
    """What clubSandwich computed; see tests/reference/README.md."""
    return json.loads((REFERENCE / "robust.json").read_text())


def load(name: str) -> tuple[npt.NDArray[np.str_], dict[str, FloatArray]]:
    """The clinician's key and the numeric columns of a reference table."""
    with (REFERENCE / f"{name}.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return np.array([row["cl"] for row in rows]), {
        column: np.array([float(row[column]) for row in rows]) for column in ("x", "z", "y", "v", "w")
    }


def two_predictors(columns: dict[str, FloatArray]) -> FloatArray:
    """The design of the reference fits, without its intercept."""
    return np.column_stack([columns["x"], columns["z"]])


@pytest.mark.parametrize("kind", ["CR0", "CR1", "CR1S", "CR2"])
@pytest.mark.parametrize("name", ["many", "many_weighted", "few", "few_weighted"])
def test_coefficients_errors_and_degrees_of_freedom_as_in_r(
    name: str, kind: CovarianceKind, r_robust: dict[str, Any]
) -> None:
    """lm with clubSandwich's vcovCR, coef_test and conf_int; both sides are closed forms (1e-8)."""
    clinicians, columns = load(name.removesuffix("_weighted"))
    weights = columns["w"] if name.endswith("weighted") else None
    fit = regress_clustered(columns["y"], two_predictors(columns), clinicians=clinicians, weights=weights, kind=kind)
    expected = r_robust[name]
    np.testing.assert_allclose(fit.estimate, expected["coefficients"], atol=1e-8)
    np.testing.assert_allclose(fit.covariance, expected[kind]["vcov"], atol=1e-8)
    np.testing.assert_allclose(fit.se, expected[kind]["se"], atol=1e-8)
    np.testing.assert_allclose(fit.statistic, fit.estimate / fit.se, rtol=1e-12)
    np.testing.assert_allclose(fit.df, expected[kind]["df"], atol=1e-7)
    np.testing.assert_allclose(fit.pvalue, expected[kind]["p"], atol=1e-8)
    np.testing.assert_allclose(fit.ci_lower, expected[kind]["lower"], atol=1e-7)
    np.testing.assert_allclose(fit.ci_upper, expected[kind]["upper"], atol=1e-7)
    assert fit.residual_sd[0] == pytest.approx(expected["sigma"], abs=1e-8)
    assert fit.r_squared[0] == pytest.approx(expected["r_squared"], abs=1e-8)
    assert (fit.n_used, fit.n_dropped, fit.n_clinicians) == (len(clinicians), 0, len(set(clinicians)))
    assert (fit.kind, fit.confidence, fit.n_outcomes) == (kind, 0.95, 1)


@pytest.mark.parametrize("name", ["many", "many_weighted", "few", "few_weighted"])
def test_joint_tests_and_sums_of_coefficients_as_in_r(name: str, r_robust: dict[str, Any]) -> None:
    """Wald_test(test = "HTZ"), and b_x + b_z with its Satterthwaite degrees of freedom (1e-7: closed forms)."""
    clinicians, columns = load(name.removesuffix("_weighted"))
    weights = columns["w"] if name.endswith("weighted") else None
    fit = regress_clustered(columns["y"], two_predictors(columns), clinicians=clinicians, weights=weights)
    test, expected = wald_test(fit, [[0, 1, 0], [0, 0, 1]]), r_robust[name]["HTZ"]
    assert test.statistic == pytest.approx(expected["F"], abs=1e-7)
    assert (test.df_numerator, test.method, test.notes) == (2, "HTZ", ())
    assert test.df_denominator == pytest.approx(expected["df_denom"], abs=1e-7)
    assert test.pvalue == pytest.approx(expected["p"], abs=1e-8)
    total, expected = combine_coefficients(fit, [[0, 1, 1]], names=["sum"]), r_robust[name]["contrast"]
    assert total.names == ("sum",)
    assert total.estimate[0] == pytest.approx(expected["est"], abs=1e-8)
    assert total.se[0] == pytest.approx(expected["se"], abs=1e-8)
    assert total.df[0] == pytest.approx(expected["df"], abs=1e-7)
    assert total.covariance[0, 0] == pytest.approx(expected["se"] ** 2, abs=1e-8)
    assert (total.ci_lower[0] + total.ci_upper[0]) / 2 == pytest.approx(expected["est"], abs=1e-8)
    assert total.statistic[0] == pytest.approx(expected["est"] / expected["se"], abs=1e-6)
    assert 0 < total.pvalue[0] < 1


def test_two_outcomes_share_one_covariance_as_in_r(r_robust: dict[str, Any]) -> None:
    """clubSandwich on lm(cbind(y, v) ~ x + z): coefficients compared across outcomes (1e-8)."""
    clinicians, columns = load("many")
    fit = regress_clustered(
        np.column_stack([columns["y"], columns["v"]]),
        two_predictors(columns),
        clinicians=clinicians,
        predictor_names=["x", "z"],
        outcome_names=["y", "v"],
    )
    expected = r_robust["joint"]
    np.testing.assert_allclose(fit.estimate, expected["coefficients"], atol=1e-8)
    np.testing.assert_allclose(fit.covariance, expected["vcov"], atol=1e-8)
    test = wald_test(fit, [[0, 1, 0, 0, -1, 0], [0, 0, 1, 0, 0, -1]])
    assert test.statistic == pytest.approx(expected["F"], abs=1e-7)
    assert test.df_denominator == pytest.approx(expected["df_denom"], abs=1e-7)
    assert test.pvalue == pytest.approx(expected["p"], abs=1e-8)
    assert fit.names == ("y: intercept", "y: x", "y: z", "v: intercept", "v: x", "v: z")


def test_cr2_agrees_with_its_textbook_form() -> None:
    """The slow obvious twin: full matrices, the definition word by word, unequal weights."""
    rng = np.random.default_rng(4)
    clinicians = np.repeat(np.arange(12), rng.integers(1, 9, 12))
    n = len(clinicians)
    x, y, w = rng.standard_normal((n, 2)), rng.standard_normal(n), rng.uniform(0.5, 2, n)
    fit = regress_clustered(y, x, clinicians=clinicians, weights=w)
    design = np.column_stack([np.ones(n), x])
    bread = np.linalg.inv(design.T @ (design * w[:, None]))
    left = np.eye(n) - design @ bread @ (design * w[:, None]).T
    residual, covariance = left @ y, np.zeros((3, 3))
    g = []
    for clinician in range(12):
        rows = clinicians == clinician
        values, vectors = np.linalg.eigh((left @ left.T)[np.ix_(rows, rows)])
        powers = np.array([value**-0.5 if value > 1e-12 else 0.0 for value in values])
        adjustment = (vectors * powers) @ vectors.T
        influence = bread @ (design[rows] * w[rows, None]).T @ adjustment
        covariance += influence @ np.outer(residual[rows], residual[rows]) @ influence.T
        g.append(influence @ left[rows])
    np.testing.assert_allclose(fit.covariance, covariance, rtol=1e-9)
    for coefficient in range(3):
        products = np.array([[a[coefficient] @ b[coefficient] for b in g] for a in g])
        df = np.trace(products) ** 2 / (products**2).sum()
        assert fit.df[coefficient] == pytest.approx(df, rel=1e-8)


def test_exact_wild_bootstrap_as_in_r(r_robust: dict[str, Any]) -> None:
    """All 1024 patterns of signs on ten clinicians: no randomness is left, so the p value is the same fraction."""
    clinicians, columns = load("few")
    fit = regress_clustered(columns["y"], two_predictors(columns), clinicians=clinicians)
    test = wild_bootstrap_test(fit, [0, 1, 0], rng=np.random.default_rng(1), weights="rademacher")
    assert test.enumerated
    assert (test.n_draws, test.weights, test.n_clinicians, test.confidence) == (1024, "rademacher", 10, 0.95)
    assert test.statistic == pytest.approx(r_robust["wild"]["t"], abs=1e-8)
    assert test.pvalue == pytest.approx(r_robust["wild"]["p"], abs=1e-12)
    assert test.estimate == pytest.approx(fit.estimate[1])
    # By inversion: values inside the interval are not rejected, values outside are.
    for value, rejected in (
        (test.ci_lower + 0.01, False),
        (test.ci_lower - 0.01, True),
        (test.ci_upper - 0.01, False),
        (test.ci_upper + 0.01, True),
    ):
        again = wild_bootstrap_test(fit, [0, 1, 0], values=[value], rng=np.random.default_rng(1), weights="rademacher")
        assert (again.pvalue <= 0.05) is rejected


def test_wild_bootstrap_of_two_constraints_agrees_with_refitting() -> None:
    """The slow obvious twin: build each data set, fit it, and compute Q/q with CR1."""
    rng = np.random.default_rng(9)
    clinicians = np.repeat(np.arange(10), rng.integers(3, 8, 10))
    n = len(clinicians)
    x = rng.standard_normal((n, 2))
    y = 0.3 * x[:, 0] + rng.standard_normal(10)[clinicians] + rng.standard_normal(n)
    fit = regress_clustered(y, x, clinicians=clinicians)
    test = wild_bootstrap_test(
        fit, [[0, 1, 0], [0, 0, 1]], rng=np.random.default_rng(1), weights="rademacher", n_draws=1024
    )
    design = np.column_stack([np.ones(n), x])
    indicator = (clinicians[:, None] == np.arange(10)).astype(float)

    def statistic(outcome: FloatArray) -> float:
        bread = np.linalg.inv(design.T @ design)
        beta = bread @ design.T @ outcome
        scores = indicator.T @ (design * (outcome - design @ beta)[:, None])
        covariance = (10 / 9 * bread @ scores.T @ scores @ bread)[1:, 1:]
        return float(beta[1:] @ np.linalg.solve(covariance, beta[1:])) / 2

    residual = y - y.mean()
    reference = np.array(
        [statistic(y.mean() + indicator @ np.array(s) * residual) for s in itertools.product([-1, 1], repeat=10)]
    )
    observed = statistic(y)
    assert test.statistic == pytest.approx(observed, rel=1e-9)
    assert test.pvalue == pytest.approx((reference >= observed * (1 - 1e-10)).mean(), abs=1e-12)
    assert np.isnan([test.estimate, test.ci_lower, test.ci_upper]).all()


def test_webb_weights_reach_close_to_the_exact_p_value(r_robust: dict[str, Any]) -> None:
    """Another weighting of the same data: about the same p (.05: sampling error .008, different weights)."""
    clinicians, columns = load("few")
    fit = regress_clustered(columns["y"], two_predictors(columns), clinicians=clinicians)
    heard: list[float] = []
    first, second = (
        wild_bootstrap_test(
            fit, [0, 1, 0], rng=np.random.default_rng(3), progress=lambda share, _text: heard.append(share)
        )
        for _ in range(2)
    )
    assert first == second
    assert not first.enumerated
    assert (first.weights, first.n_draws, heard[-1]) == ("webb", 1999, 1.0)
    assert first.pvalue == pytest.approx(r_robust["wild"]["p"], abs=0.05)


def test_row_order_units_and_origin_do_not_matter() -> None:
    """Shuffled rows give the same numbers; a predictor in other units scales its coefficient only."""
    clinicians, columns = load("many")
    x = two_predictors(columns)
    fit = regress_clustered(columns["y"], x, clinicians=clinicians)
    mixed = np.random.default_rng(1).permutation(len(clinicians))
    again = regress_clustered(columns["y"][mixed], x[mixed], clinicians=clinicians[mixed])
    np.testing.assert_allclose(again.covariance, fit.covariance, rtol=1e-9)
    np.testing.assert_allclose(again.df, fit.df, rtol=1e-9)
    scaled = regress_clustered(columns["y"] * 3, x * [100, 1] + [7, 0], clinicians=clinicians)
    np.testing.assert_allclose(scaled.estimate[1:], fit.estimate[1:] * 3 / [100, 1], rtol=1e-9)
    np.testing.assert_allclose(scaled.statistic[1:], fit.statistic[1:], rtol=1e-9)
    np.testing.assert_allclose(scaled.df[1:], fit.df[1:], rtol=1e-9)


def test_intervals_cover_the_truth_with_twelve_clinicians() -> None:
    """A predictor of clinicians, planted 0, in 300 studies: about 95 % cover it (4 %: twice the simulation's SE)."""
    rng = np.random.default_rng(77)
    clinicians = np.repeat(np.arange(12), [4, 9, 3, 12, 6, 5, 8, 10, 4, 7, 11, 6])
    covered = 0
    for _ in range(300):
        x = rng.standard_normal(12)[clinicians]
        y = rng.standard_normal(12)[clinicians] + rng.standard_normal(len(clinicians))
        fit = regress_clustered(y, x[:, None], clinicians=clinicians)
        covered += bool(fit.ci_lower[1] < 0 < fit.ci_upper[1])
    assert covered / 300 == pytest.approx(0.95, abs=0.04)


def test_below_ten_clinicians_only_the_description_stands() -> None:
    """Estimates yes, errors and tests no, in each of the four functions; the note says why."""
    rng = np.random.default_rng(2)
    x, y = rng.standard_normal((36, 2)), rng.standard_normal(36)
    fit = regress_clustered(y, x, clinicians=np.repeat(np.arange(9), 4))
    assert np.isfinite(fit.estimate).all()
    assert np.isfinite(fit.covariance).all()
    for values in (fit.se, fit.statistic, fit.df, fit.pvalue, fit.ci_lower, fit.ci_upper):
        assert np.isnan(values).all()
    assert "described" in fit.notes[0]
    combined = combine_coefficients(fit, [[0, 1, -1]])
    assert np.isfinite(combined.estimate[0])
    assert np.isnan([combined.se[0], combined.pvalue[0]]).all()
    joint = wald_test(fit, [[0, 1, 0]])
    assert np.isnan([joint.statistic, joint.pvalue]).all()
    assert "described" in joint.notes[0]
    wild = wild_bootstrap_test(fit, [0, 1, 0], rng=rng)
    assert np.isnan([wild.pvalue, wild.ci_lower, wild.statistic]).all()
    assert "described" in wild.notes[0]


def test_notes_say_what_weakens_the_result() -> None:
    """Few degrees of freedom, uncorrected errors, one patient each, a flat outcome."""
    rng = np.random.default_rng(3)
    clinicians = np.repeat(np.arange(12), 5)
    lone = (clinicians < 2).astype(float)
    fit = regress_clustered(rng.standard_normal(60), lone[:, None], clinicians=clinicians, predictor_names=["lone"])
    assert any("degrees of freedom for lone" in note for note in fit.notes)
    x = rng.standard_normal((60, 1))
    assert any("use CR2" in note for note in regress_clustered(x, x**2, clinicians=clinicians, kind="CR1").notes)
    assert any("one patient" in note for note in regress_clustered(x, x**2, clinicians=np.arange(60)).notes)
    flat = regress_clustered(np.ones(60), x, clinicians=clinicians)
    assert any("does not vary" in note for note in flat.notes)
    assert np.isnan(flat.r_squared[0])
    assert np.isnan(flat.se[1])
    assert np.isnan(wild_bootstrap_test(flat, [0, 1], rng=rng).pvalue)


def test_rows_with_a_missing_value_are_left_out_and_counted() -> None:
    """A NaN anywhere in a row costs that row, nothing else, and the caller's arrays stay as they were."""
    clinicians, columns = load("many")
    x, y = two_predictors(columns), columns["y"].copy()
    y[3], x[7, 1] = np.nan, np.nan
    before = x.copy()
    fit = regress_clustered(y, x, clinicians=clinicians)
    kept = np.setdiff1d(np.arange(len(y)), [3, 7])
    again = regress_clustered(y[kept], x[kept], clinicians=clinicians[kept])
    assert (fit.n_used, fit.n_dropped) == (len(y) - 2, 2)
    np.testing.assert_array_equal(fit.estimate, again.estimate)
    np.testing.assert_array_equal(x, before)


def test_joint_tests_that_cannot_be_had_say_so() -> None:
    """More constraints than the clinicians can carry: NaN with a reason, not a number."""
    rng = np.random.default_rng(6)
    clinicians = np.repeat(np.arange(10), 4)
    x = rng.standard_normal((10, 6))[clinicians]
    fit = regress_clustered(rng.standard_normal(40), x, clinicians=clinicians)
    joint = wald_test(fit, np.eye(7)[1:])
    assert np.isnan(joint.pvalue)
    assert len(joint.notes) == 1


def test_the_tail_of_f_is_that_of_the_distribution() -> None:
    """Against scipy's own distribution, fractional degrees of freedom included."""
    assert f_tail(3.2, 2, 11.7) == pytest.approx(f_distribution.sf(3.2, 2, 11.7), rel=1e-12)


X, Y, CL = np.random.default_rng(1).standard_normal((40, 2)), np.arange(40.0), np.repeat(np.arange(10), 4)
FIT = regress_clustered(Y, X, clinicians=CL)
PAIR = regress_clustered(np.column_stack([Y, Y**2]), X, clinicians=CL)
RNG = np.random.default_rng(1)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: regress_clustered(Y, X, clinicians=CL, kind="HC3"), "kind CR0, CR1, CR1S or CR2; got 'HC3'"),  # type: ignore[arg-type]
        (lambda: regress_clustered(Y, X, clinicians=CL, confidence=95), "confidence between 0 and 1"),
        (lambda: regress_clustered(Y[:5], X, clinicians=CL), "as many rows of predictors"),
        (lambda: regress_clustered(["a"] * 40, X, clinicians=CL), "requires numbers as outcome"),
        (lambda: regress_clustered(np.empty((40, 0)), X, clinicians=CL), "one or more columns"),
        (lambda: regress_clustered(Y, X, clinicians=CL, weights=np.zeros(40)), "positive weight"),
        (lambda: regress_clustered(Y, X, clinicians=CL[:7]), "got 7 keys for 40 rows"),
        (lambda: regress_clustered(Y, X, clinicians=np.zeros(40)), "at least two clinicians"),
        (lambda: regress_clustered(Y[:3], X[:3], clinicians=CL[:3]), "more complete rows than coefficients"),
        (lambda: regress_clustered(Y, np.ones((40, 1)), clinicians=CL, predictor_names=["x"]), "x is constant"),
        (lambda: regress_clustered(Y, X[:, [0, 1, 0]], clinicians=CL), "predictor 3 can be computed"),
        (lambda: regress_clustered(Y, X, clinicians=CL, predictor_names=["x"]), "one name per predictor"),
        (lambda: combine_coefficients(FIT, [[1, 0]]), "rows of 3 weights"),
        (lambda: wald_test(FIT, [[0, 1, 0]], values=[1, 2]), "one value per constraint"),
        (lambda: wald_test(FIT, [[0, 1, 0], [0, 2, 0]]), "of rank 1"),
        (lambda: wild_bootstrap_test(FIT, [[0, 1, 0], [0, 2, 0]], rng=RNG), "of rank 1"),
        (lambda: wild_bootstrap_test(FIT, [0, 1, 0], rng=RNG, n_draws=9), "at least 99 draws"),
        (lambda: wild_bootstrap_test(FIT, [0, 1, 0], rng=RNG, weights="mammen"), "'webb' or 'rademacher'"),  # type: ignore[arg-type]
        (lambda: wild_bootstrap_test(PAIR, np.eye(6)[:1], rng=RNG), "regression of one outcome"),
    ],
)
def test_unusable_input_is_named(call: Callable[[], object], message: str) -> None:
    """Each message says what is required and what came."""
    with pytest.raises(AnalysisInputError, match=message):
        call()
