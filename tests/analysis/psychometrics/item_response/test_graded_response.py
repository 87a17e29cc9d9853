"""The graded response model against published figures, R, a slow twin, and truth that was planted."""

import csv
import json
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy.optimize import minimize
from scipy.special import expit

from analysis.psychometrics.errors import AnalysisInputError
from analysis.psychometrics.item_response.graded_response import (
    GradedResponseModel,
    category_probabilities,
    fit_graded_response,
    score_graded_response,
)
from analysis.psychometrics.item_response.graded_response_fit import graded_item_fit, graded_residual_correlations
from analysis.psychometrics.item_response.graded_response_likelihood import (
    expect,
    gradient,
    information_matrices,
    lay_out,
    quadrature,
    tabulate,
)

FloatArray = npt.NDArray[np.float64]
REFERENCE = Path(__file__).resolve().parents[3] / "reference" / "irt"


def read_csv(name: str) -> FloatArray:
    """A reference table; empty cells are NaN."""
    with (REFERENCE / name).open(newline="") as file:
        rows = list(csv.reader(file))[1:]
    return np.array([[float(cell) if cell else np.nan for cell in row] for row in rows])


@pytest.fixture(scope="module")
def published() -> dict[str, Any]:
    """Figures that mirt and ltm publish."""
    return json.loads((REFERENCE / "published.json").read_text())


@pytest.fixture(scope="module")
def r_figures_irt() -> dict[str, Any]:
    """What tests/reference/irt/make.R computes."""
    return json.loads((REFERENCE / "bfi_agreeableness.json").read_text())


@pytest.fixture(scope="module")
def agreeableness() -> FloatArray:
    """700 respondents, five items of six categories, some blanks."""
    return read_csv("bfi_agreeableness.csv")[:, :5]


@pytest.fixture(scope="module")
def lsat7() -> FloatArray:
    """1000 respondents, five items right or wrong."""
    table = read_csv("lsat_patterns.csv")
    return np.repeat(table[:, :5], table[:, 6].astype(int), axis=0)


@pytest.fixture(scope="module")
def lsat7_model(lsat7: FloatArray) -> GradedResponseModel:
    """The two-parameter logistic model is the graded model of two categories."""
    return fit_graded_response(lsat7)


def simulate(
    rng: np.random.Generator, n: int, slopes: FloatArray, thresholds: list[FloatArray]
) -> tuple[FloatArray, FloatArray]:
    """Answers (0, 1, …) and the traits behind them."""
    trait = rng.standard_normal(n)
    answers = [
        (a * (trait[:, None] - b) + rng.logistic(size=(n, 1)) > 0).sum(axis=1)
        for a, b in zip(slopes, thresholds, strict=True)
    ]
    return np.column_stack(answers).astype(np.float64), trait


def test_lsat7_as_mirt_publishes_it(lsat7_model: GradedResponseModel, published: dict[str, Any]) -> None:
    """Within rounding (1e-4) of mirt's tight run, and .002 of its default, which stops earlier."""
    figures = published["lsat7_mirt"]
    a = np.array([item.a for item in lsat7_model.items])
    d = np.array([item.d[0] for item in lsat7_model.items])
    np.testing.assert_allclose(a, figures["a_tight"], atol=1e-4)
    np.testing.assert_allclose(d, figures["d_tight"], atol=1e-4)
    np.testing.assert_allclose(a, figures["a_default"], atol=2e-3)
    np.testing.assert_allclose(d, figures["d_default"], atol=2e-3)
    assert lsat7_model.log_likelihood == pytest.approx(figures["log_likelihood"], abs=5e-4)
    assert lsat7_model.aic == pytest.approx(figures["aic"], abs=5e-3)
    assert lsat7_model.bic == pytest.approx(figures["bic"], abs=5e-4)
    assert (lsat7_model.n_parameters, lsat7_model.n_used, lsat7_model.n_patterns) == (10, 1000, 32)
    assert lsat7_model.converged
    assert lsat7_model.admissible
    assert lsat7_model.notes == ()


def test_standard_errors_as_mirts_on_lsat7(lsat7_model: GradedResponseModel, published: dict[str, Any]) -> None:
    """1.5 % of mirt's Richardson errors, taken at its default estimates a thousandth away; condition number 1 %."""
    figures = published["lsat7_mirt"]
    for name in ("a", "d"):
        width = np.subtract(figures[f"{name}_ci_upper_richardson"], figures[f"{name}_ci_lower_richardson"])
        own = [item.a_se if name == "a" else item.d_se[0] for item in lsat7_model.items]
        np.testing.assert_allclose(own, width / 2 / 1.959964, rtol=0.015)
    eigenvalues = np.linalg.eigvalsh(lsat7_model.covariance)
    assert eigenvalues[-1] / eigenvalues[0] == pytest.approx(figures["condition_number_oakes"], rel=0.01)


def test_scores_as_mirts_on_lsat7(
    lsat7: FloatArray, lsat7_model: GradedResponseModel, published: dict[str, Any]
) -> None:
    """EAP of nothing and of everything right within 1e-3; MAP of the first six patterns within 1e-3."""
    figures = published["lsat7_mirt"]
    totals = lsat7.sum(axis=1)
    for total, which in ((0, "none"), (5, "all")):
        row = int(np.flatnonzero(totals == total)[0])
        assert lsat7_model.eap[row] == pytest.approx(figures[f"eap_{which}_right"], abs=1e-3)
        assert lsat7_model.eap_se[row] == pytest.approx(figures[f"eap_se_{which}_right"], abs=1e-3)
    patterns = np.array(list(product([0, 1], repeat=5)))[:6]
    modes = score_graded_response(lsat7_model, patterns, method="map")
    np.testing.assert_allclose(modes.theta, figures["map_first_patterns"], atol=1e-3)
    assert (modes.method, modes.n_used, modes.n_dropped) == ("map", 6, 0)
    again = score_graded_response(lsat7_model, lsat7)
    np.testing.assert_allclose(again.theta, lsat7_model.eap, atol=1e-12)
    np.testing.assert_allclose(again.standard_error, lsat7_model.eap_se, atol=1e-12)


def test_item_fit_as_mirts_on_lsat7(
    lsat7: FloatArray, lsat7_model: GradedResponseModel, published: dict[str, Any]
) -> None:
    """S-X² within .003: it moves by that between mirt's estimates and the tight ones."""
    fit = graded_item_fit(lsat7_model, lsat7)
    np.testing.assert_allclose(fit.s_x2, published["lsat7_mirt"]["s_x2"], atol=3e-3)
    np.testing.assert_array_equal(fit.df, published["lsat7_mirt"]["s_x2_df"])
    # p and RMSEA by hand: exp(−x/2) is the tail of a chi-square with two degrees of freedom.
    np.testing.assert_allclose(fit.p_value, np.exp(-fit.s_x2 / 2), rtol=1e-10)
    np.testing.assert_allclose(fit.rmsea, np.sqrt(np.maximum(fit.s_x2 / 2 - 1, 0) / 999), rtol=1e-10)
    assert (fit.n_used, fit.n_dropped, fit.notes) == (1000, 0, ())


def test_lsat6_as_ltm_publishes_it(published: dict[str, Any]) -> None:
    """ltm's estimates come from 21 Gauss–Hermite points: 1e-3 of a slope, .003 of a threshold, 1 % of an error."""
    table = read_csv("lsat_patterns.csv")
    model = fit_graded_response(np.repeat(table[:, :5], table[:, 5].astype(int), axis=0))
    figures = published["lsat6_ltm"]
    np.testing.assert_allclose([item.a for item in model.items], figures["a"], atol=1e-3)
    np.testing.assert_allclose([item.b[0] for item in model.items], figures["b"], atol=3e-3)
    np.testing.assert_allclose([item.a_se for item in model.items], figures["a_se"], rtol=0.01)
    np.testing.assert_allclose([item.b_se[0] for item in model.items], figures["b_se"], rtol=0.01)
    assert model.log_likelihood == pytest.approx(figures["log_likelihood"], abs=1e-3)
    assert model.aic == pytest.approx(figures["aic"], abs=1e-3)
    assert model.bic == pytest.approx(figures["bic"], abs=1e-3)


def test_six_categories_with_blanks_as_r(agreeableness: FloatArray, r_figures_irt: dict[str, Any]) -> None:
    """R's direct maximum (optim, then Newton with numDeriv): estimates 1e-5, errors 1e-5 relative, likelihood 1e-7."""
    model = fit_graded_response(agreeableness, item_codes=["A1", "A2", "A3", "A4", "A5"])
    figures = r_figures_irt["graded"]
    own = np.concatenate([[item.a, *item.d] for item in model.items])
    own_se = np.concatenate([[item.a_se, *item.d_se] for item in model.items])
    np.testing.assert_allclose(own, figures["parameters"], atol=1e-5)
    np.testing.assert_allclose(own_se, figures["se"], rtol=1e-5)
    assert model.log_likelihood == pytest.approx(figures["log_likelihood"], abs=1e-7)
    assert (model.n_used, model.n_dropped) == (figures["n"], 0)
    assert "negative slope, check the keying of A1" in model.notes
    assert model.largest_gradient < 1e-3


def test_categorical_factor_analysis_tells_the_same(agreeableness: FloatArray, r_figures_irt: dict[str, Any]) -> None:
    """lavaan's probit loadings, converted by 1.7 λ/√(1 − λ²): another link and estimator, so 15 %."""
    model = fit_graded_response(agreeableness[~np.isnan(agreeableness).any(axis=1)], standard_errors="none")
    loading = np.array(r_figures_irt["wlsmv"]["loadings"]) * -1
    np.testing.assert_allclose([item.a for item in model.items], 1.7 * loading / np.sqrt(1 - loading**2), rtol=0.15)


def test_direct_maximisation_finds_the_same_place() -> None:
    """The slow twin: scipy's BFGS on the plain formula, items of two, three and five categories, blanks."""
    rng = np.random.default_rng(5)
    thresholds = [np.array([0.3]), np.array([-1.0, 0.5]), np.array([-1.5, -0.5, 0.4, 1.2])]
    data, _ = simulate(rng, 300, np.array([1.2, 0.8, 1.8]), thresholds)
    data[rng.random(data.shape) < 0.1] = np.nan
    nodes = np.linspace(-6, 6, 61)
    weights = np.exp(-(nodes**2) / 2)
    weights /= weights.sum()
    sizes = [2, 3, 5]

    def minus_log_likelihood(parameters: FloatArray) -> float:
        likelihood = np.ones((len(data), len(nodes)))
        at = 0
        for item, size in enumerate(sizes):
            slope, intercepts = parameters[at], parameters[at + 1 : at + size]
            at += size
            if (np.diff(intercepts) >= 0).any():
                return 1e10
            cumulative = np.vstack([np.ones(61), expit(slope * nodes + intercepts[:, None]), np.zeros(61)])
            probability = cumulative[:-1] - cumulative[1:]
            present = ~np.isnan(data[:, item])
            likelihood[present] *= probability[data[present, item].astype(int)]
        return -float(np.log(likelihood @ weights).sum())

    start = np.array([1, 0, 1, 1, -1, 1, 2, 1, -1, -2.0])
    slow = minimize(minus_log_likelihood, start, method="BFGS", options={"gtol": 1e-4})
    model = fit_graded_response(data)
    own = np.concatenate([[item.a, *item.d] for item in model.items])
    # BFGS with numerical slopes stops within about 1e-4 of the top; ours has to be as high or higher.
    np.testing.assert_allclose(own, slow.x, atol=1e-3)
    assert model.log_likelihood >= -slow.fun - 1e-7


def test_derivatives_are_those_of_the_likelihood() -> None:
    """Differences of the log-likelihood give the gradient, those of the gradient Louis's information; two groups."""
    rng = np.random.default_rng(6)
    layout = lay_out(np.array([2, 4, 3]), n_groups=2)
    group = rng.integers(0, 2, 40)
    codes = np.column_stack([rng.integers(0, k, 40) for k in (2, 4, 3)])
    codes[rng.random(codes.shape) < 0.15] = -1
    patterns = tabulate(codes, layout, group)
    nodes, _ = quadrature()
    at = np.array([1.1, -0.7, 1.9, 0.2, 1.0, 0.1, -0.9, 0.8, -1.1, 0.4, -0.3])
    step = 1e-5 * np.eye(len(at))

    def gradient_at(parameters: FloatArray) -> FloatArray:
        return gradient(parameters, layout, expect(parameters, layout, patterns, nodes), nodes)

    def value_at(parameters: FloatArray) -> float:
        return expect(parameters, layout, patterns, nodes).log_likelihood

    numerical = [(value_at(at + e) - value_at(at - e)) / 2e-5 for e in step]
    np.testing.assert_allclose(gradient_at(at), numerical, atol=1e-6)
    observed, cross = information_matrices(at, layout, patterns, expect(at, layout, patterns, nodes), nodes)
    numerical_information = -np.array([(gradient_at(at + e) - gradient_at(at - e)) / 2e-5 for e in step])
    np.testing.assert_allclose(observed, numerical_information, atol=1e-5)
    # The cross-product: scores of one pattern at a time.
    by_pattern = np.zeros_like(cross)
    for pattern, number, frequency in zip(patterns.codes, patterns.group, patterns.frequencies, strict=True):
        alone = tabulate(pattern[None, :], layout, np.array([number]))
        score = gradient(at, layout, expect(at, layout, alone, nodes), nodes)
        by_pattern += frequency * np.outer(score, score)
    np.testing.assert_allclose(cross, by_pattern, atol=1e-10)


def test_groups_are_found_where_they_were_planted() -> None:
    """Mean −.6 and SD 1.4 in the smaller group, within three errors; items as without the difference."""
    rng = np.random.default_rng(20)
    slopes, thresholds = rng.uniform(0.9, 2.2, 12), [np.array([-1.2, 0.0, 1.0])] * 12
    traits = np.concatenate([rng.standard_normal(1500), -0.6 + 1.4 * rng.standard_normal(1000)])
    logit = np.array([a * (traits[:, None] - b) for a, b in zip(slopes, thresholds, strict=True)])
    data = (logit + rng.logistic(size=(12, 2500, 1)) > 0).sum(axis=2).T.astype(float)
    labels = ["large"] * 1500 + ["small"] * 1000
    model = fit_graded_response(data, groups=labels)
    reference, other = model.groups
    assert (reference.group, reference.n_used, reference.mean, reference.variance) == ("large", 1500, 0.0, 1.0)
    assert (reference.mean_se, reference.variance_se) == (0.0, 0.0)
    assert (other.group, other.n_used) == ("small", 1000)
    assert abs(other.mean + 0.6) < 3 * other.mean_se < 0.2
    assert abs(other.variance - 1.96) < 3 * other.variance_se < 0.6
    np.testing.assert_allclose([item.a for item in model.items], slopes, atol=0.25)
    assert model.n_parameters == 12 * 4 + 2
    # The other reference gives the same model on another scale: θ' = (θ − mean) / SD.
    turned = fit_graded_response(data, groups=labels, reference="small")
    assert turned.log_likelihood == pytest.approx(model.log_likelihood, abs=0.05)  # 61 points cover it differently
    assert turned.groups[1].variance == pytest.approx(1 / other.variance, rel=0.01)
    assert turned.groups[1].mean == pytest.approx(-other.mean / other.variance**0.5, abs=0.01)


def test_two_groups_as_direct_maximisation_finds_them() -> None:
    """The slow twin with a mean and a standard deviation more (1e-3, where BFGS stops)."""
    rng = np.random.default_rng(21)
    data, _ = simulate(rng, 400, np.array([1.2, 0.8, 1.8]), [np.array([-0.5]), np.array([0.3]), np.array([-0.4, 0.6])])
    group = np.arange(400) % 2
    data[group == 1] = np.minimum(data[group == 1] + (rng.random((200, 3)) < 0.2), [1, 1, 2])
    nodes = np.linspace(-6, 6, 61)

    def minus_log_likelihood(p: FloatArray) -> float:
        if p[5] <= p[6]:
            return 1e10
        total = 0.0
        for number, (mean, sd) in enumerate(((0.0, 1.0), (p[7], np.exp(p[8])))):
            weights = np.exp(-(((nodes - mean) / sd) ** 2) / 2)
            likelihood = np.ones((200, 61))
            for item, (slope, intercepts) in enumerate(((p[0], p[1:2]), (p[2], p[3:4]), (p[4], p[5:7]))):
                above = np.vstack([np.ones(61), expit(slope * nodes + intercepts[:, None]), np.zeros(61)])
                likelihood *= (above[:-1] - above[1:])[data[group == number, item].astype(int)]
            total -= float(np.log(likelihood @ weights / weights.sum()).sum())
        return total

    slow = minimize(minus_log_likelihood, [1, 0, 1, 0, 1, 1, -1, 0, 0], method="BFGS", options={"gtol": 1e-4})
    model = fit_graded_response(data, groups=[str(number) for number in group], reference="0")
    own = [value for item in model.items for value in (item.a, *item.d)]
    np.testing.assert_allclose([*own, model.groups[1].mean, np.log(model.groups[1].variance) / 2], slow.x, atol=1e-3)
    assert model.log_likelihood >= -slow.fun - 1e-7


def test_groups_that_cannot_be_used_are_refused() -> None:
    """One group, a tiny group, an unknown reference, another length; unknown groups are left out and counted."""
    rng = np.random.default_rng(22)
    data, _ = simulate(rng, 100, np.full(3, 1.5), [np.array([-1.0, 1.0])] * 3)
    halves = ["a", "b"] * 50
    for groups, reference, complaint in (
        (["a"] * 100, None, r"got a \(100\)"),
        (["b"] * 5 + ["a"] * 95, None, r"b \(5\)"),
        (halves, "c", "got 'c' among a, b"),
        (halves[:99], None, "got 99 for 100 rows"),
    ):
        with pytest.raises(AnalysisInputError, match=complaint):
            fit_graded_response(data, groups=groups, reference=reference)
    model = fit_graded_response(data, groups=["", *halves[1:]])
    assert (model.n_used, model.n_dropped) == (99, 1)
    assert np.isnan(model.eap[0])
    assert "1 respondent(s) without any answer to these items, or without a group, were left out" in model.notes


def test_planted_parameters_are_recovered_with_honest_errors() -> None:
    """Forty items, 3000 respondents: standardised errors of a and b have an RMS near 1 (.85 to 1.15)."""
    rng = np.random.default_rng(7)
    slopes = rng.uniform(0.8, 2.5, 40)
    thresholds = [np.sort(rng.uniform(-2, 1.5, k)) + 0.3 * np.arange(k) for k in rng.integers(1, 7, 40)]
    data, trait = simulate(rng, 3000, slopes, thresholds)
    model = fit_graded_response(data)
    a = np.array([(item.a - truth) / item.a_se for item, truth in zip(model.items, slopes, strict=True)])
    b = np.concatenate([(item.b - truth) / item.b_se for item, truth in zip(model.items, thresholds, strict=True)])
    assert 0.8 < np.sqrt((a**2).mean()) < 1.25
    assert 0.85 < np.sqrt((b**2).mean()) < 1.15
    scaled = (model.eap - trait) / model.eap_se
    assert 0.95 < np.sqrt((scaled**2).mean()) < 1.05
    assert model.reliability_empirical == pytest.approx(np.corrcoef(model.eap, trait)[0, 1] ** 2, abs=0.01)
    assert model.reliability_marginal == pytest.approx(model.reliability_empirical, abs=0.03)


def test_crossproduct_errors_agree_in_a_true_model_and_none_are_none() -> None:
    """Both information matrices estimate the same thing when the model holds (15 % at 2000 respondents)."""
    rng = np.random.default_rng(8)
    data, _ = simulate(rng, 2000, np.full(5, 1.5), [np.array([-1.0, 0.0, 1.0])] * 5)
    observed = fit_graded_response(data)
    cross = fit_graded_response(data, standard_errors="crossproduct")
    np.testing.assert_allclose([i.a_se for i in cross.items], [i.a_se for i in observed.items], rtol=0.15)
    none = fit_graded_response(data, standard_errors="none")
    assert np.isnan([item.a_se for item in none.items]).all()
    assert [observed.standard_errors, cross.standard_errors, none.standard_errors] == [
        "observed",
        "crossproduct",
        "none",
    ]
    assert none.admissible


def test_order_of_rows_and_items_labels_and_direction_do_not_matter() -> None:
    """Shuffling changes nothing, relabelling changes nothing, turning an item round turns its slope round."""
    rng = np.random.default_rng(9)
    data, _ = simulate(rng, 400, np.array([1.0, 1.5, 2.0, 0.7]), [np.array([-1.0, 0.2, 1.0])] * 4)
    model = fit_graded_response(data)
    rows, items = rng.permutation(400), np.array([2, 0, 3, 1])
    shuffled = fit_graded_response(data[rows][:, items])
    np.testing.assert_allclose([i.a for i in shuffled.items], np.array([i.a for i in model.items])[items], atol=1e-5)
    np.testing.assert_allclose(shuffled.eap, model.eap[rows], atol=1e-5)
    assert shuffled.log_likelihood == pytest.approx(model.log_likelihood, abs=1e-8)
    relabelled = fit_graded_response(data * 10 + 5)
    np.testing.assert_allclose(relabelled.parameters, model.parameters, atol=1e-12)
    assert relabelled.items[0].scale_points == (5.0, 15.0, 25.0, 35.0)
    turned = data.copy()
    turned[:, 1] = 3 - turned[:, 1]
    reversed_model = fit_graded_response(turned)
    assert reversed_model.items[1].a == pytest.approx(-model.items[1].a, abs=1e-5)
    np.testing.assert_allclose(reversed_model.items[1].b, model.items[1].b[::-1], atol=1e-5)
    np.testing.assert_allclose(reversed_model.eap, model.eap, atol=1e-5)
    assert "negative slope, check the keying of item 2" in reversed_model.notes


def test_information_is_the_curvature_of_the_likelihood() -> None:
    """Fisher's information by differences of the expected log-likelihood, on the grid that is asked for."""
    rng = np.random.default_rng(10)
    data, _ = simulate(rng, 300, np.array([1.0, 1.5, 2.0]), [np.array([0.0]), np.array([-1.0, 1.0]), np.array([0.5])])
    grid = np.array([-1.0, 0.0, 2.0])
    model = fit_graded_response(data, theta=grid)
    step = 1e-4
    for item in range(3):
        here = category_probabilities(model, grid)[item]
        up = np.log(category_probabilities(model, grid + step)[item])
        down = np.log(category_probabilities(model, grid - step)[item])
        expected = (here * ((up - down) / (2 * step)) ** 2).sum(axis=0)
        np.testing.assert_allclose(model.item_information[item], expected, rtol=1e-6)
        np.testing.assert_allclose(here.sum(axis=0), 1.0, atol=1e-12)
    np.testing.assert_allclose(model.test_information, model.item_information.sum(axis=0), rtol=1e-12)
    np.testing.assert_array_equal(model.theta, grid)
    # One item of two categories: a² P (1 − P).
    p = expit(model.items[0].a * (grid - model.items[0].b[0]))
    np.testing.assert_allclose(model.item_information[0], model.items[0].a ** 2 * p * (1 - p), rtol=1e-10)


def test_modes_are_where_the_posterior_peaks() -> None:
    """Against a fine grid (half a step of it), blanks included; a row without answers has no score."""
    rng = np.random.default_rng(11)
    data, _ = simulate(rng, 300, np.array([1.0, 1.5, 2.0]), [np.array([-1.0, 1.0])] * 3)
    model = fit_graded_response(data, standard_errors="none")
    new = np.array([[0, 1, 2], [2, np.nan, 2], [np.nan, np.nan, np.nan]])
    scores = score_graded_response(model, new, method="map")
    fine = np.linspace(-4, 4, 80001)
    curves = category_probabilities(model, fine)
    first = np.log(curves[0][0]) + np.log(curves[1][1]) + np.log(curves[2][2]) - fine**2 / 2
    second = np.log(curves[0][2]) + np.log(curves[2][2]) - fine**2 / 2
    np.testing.assert_allclose(scores.theta[:2], [fine[first.argmax()], fine[second.argmax()]], atol=1e-4)
    curvature = -np.gradient(np.gradient(first, fine), fine)[first.argmax()]
    assert scores.standard_error[0] == pytest.approx(curvature**-0.5, rel=1e-4)
    assert np.isnan(scores.theta[2])
    assert np.isnan(scores.standard_error[2])
    assert (scores.n_used, scores.n_dropped) == (2, 1)
    assert np.isnan(score_graded_response(model, new[2:]).theta).all()


def test_expected_tables_of_item_fit_by_enumeration() -> None:
    """The slow twin of S-X²: every pattern enumerated, tables large enough that no cell is merged."""
    rng = np.random.default_rng(12)
    data, _ = simulate(
        rng,
        4000,
        np.array([1.2, 0.9, 1.5, 1.1]),
        [np.array([-0.5]), np.array([0.0]), np.array([0.4]), np.array([-0.2])],
    )
    model = fit_graded_response(data, standard_errors="none")
    nodes, weights = quadrature()
    curves = category_probabilities(model, nodes)
    expected = np.zeros((4, 5, 2))
    for pattern in product(range(2), repeat=4):
        likelihood = np.prod([curves[i][k] for i, k in enumerate(pattern)], axis=0) @ weights
        for item, category in enumerate(pattern):
            expected[item, sum(pattern), category] += likelihood
    totals = data.sum(axis=1).astype(int)
    fit = graded_item_fit(model, data)
    for item in range(4):
        observed = np.zeros((5, 2))
        np.add.at(observed, (totals, data[:, item].astype(int)), 1)
        share = expected[item] / expected[item].sum(axis=1, keepdims=True)
        e = (share * observed.sum(axis=1, keepdims=True))[1:4]
        assert fit.s_x2[item] == pytest.approx((((observed[1:4] - e) ** 2) / e).sum(), rel=1e-9)
        assert fit.df[item] == 6 - 3 - 2


def merged_step_by_step(observed: list[list[float]], expected: list[list[float]]) -> list[tuple[float, float]]:
    """The merging rules one after the other on lists, as mirt states them; smallest cell 1."""
    reachable = [i for i, row in enumerate(expected) if not any(np.isnan(cell) for cell in row)]
    first, last = reachable[0], reachable[-1]

    def add(into: int, row: int) -> None:
        for table in (observed, expected):
            table[into] = [a + (0 if np.isnan(b) else b) for a, b in zip(table[into], table[row], strict=True)]

    for row in range(first):
        add(first, row)
    for row in range(last + 1, len(expected)):
        add(last, row)
    kept = [i for i in range(first, last + 1) if sum(observed[i]) > 0]
    observed, expected = [observed[i] for i in kept], [expected[i] for i in kept]
    marked = [any(cell < 1 for cell in row) for row in expected]
    gone = []
    for row in range(len(observed) - 1):
        if sum(observed[row]) == 1:
            add(row + 1, row)
            gone.append(row)
    observed = [row for i, row in enumerate(observed) if i not in gone]
    expected = [row for i, row in enumerate(expected) if i not in gone]
    if sum(observed[-1]) == 1:
        add(len(observed) - 2, len(observed) - 1)
        observed.pop(), expected.pop()
    width = len(expected[0])
    for row in range(len(expected)):
        if width > 2 and marked[row]:
            e, o = expected[row], observed[row]
            while len(e) > 2:
                place = len(e) - 1 - e[::-1].index(min(e))
                sides = [side for side in (place - 1, place + 1) if 0 <= side < len(e)]
                into = min(sides, key=lambda side, e=e: e[side])
                e[into], o[into] = e[into] + e[place], o[into] + o[place]
                e.pop(place), o.pop(place)
                if min(e) >= 1:
                    break
            e += [0.0] * (width - len(e))
            o += [0.0] * (width - len(o))
    while width > 2 and sum(row[-1] for row in expected) < np.ceil(len(expected) / 10):
        for table in (observed, expected):
            for cells in table:
                last = cells.pop()
                cells[-1] += last
        width -= 1
    for column in range(width - 1, 0, -1):
        if sum(row[column] > 0 for row in expected) / len(expected) < 0.05:
            for table in (observed, expected):
                for cells in table:
                    cells[column - 1] += cells.pop(column)
    while len(expected) > 1 and any(0 < cell < 1 for row in expected for cell in row):
        row = next(i for i, cells in enumerate(expected) if any(0 < cell < 1 for cell in cells))
        sides = [side for side in (row - 1, row + 1) if 0 <= side < len(expected)]
        into = min(sides, key=lambda side: sum(observed[side]))
        add(into, row)
        observed.pop(row), expected.pop(row)
    return [(o, e) for os, es in zip(observed, expected, strict=True) for o, e in zip(os, es, strict=True) if e > 0] + [
        (float(len(expected)), float("nan"))
    ]


def test_sparse_cells_are_merged_as_step_by_step() -> None:
    """Items of three to six categories in samples of 60 to 400: statistic and degrees of freedom by the slow twin."""
    rng = np.random.default_rng(23)
    for n in (60, 120, 400):
        thresholds = [np.sort(rng.uniform(-2, 2, size)) + 0.2 * np.arange(size) for size in (2, 3, 4, 5, 5, 4)]
        data, _ = simulate(rng, n, rng.uniform(0.8, 2.0, 6), thresholds)
        model = fit_graded_response(data, standard_errors="none")
        fit = graded_item_fit(model, data)
        nodes, weights = quadrature()
        curves = category_probabilities(model, nodes)
        coded = np.column_stack([np.searchsorted(np.unique(column), column) for column in data.T])
        totals = coded.sum(axis=1)
        for item, curve in enumerate(curves):
            rest = np.ones((1, 61))
            for other in range(6):
                if other != item:
                    longer = np.zeros((len(rest) + len(curves[other]) - 1, 61))
                    for category, probability in enumerate(curves[other]):
                        longer[category : category + len(rest)] += rest * probability
                    rest = longer
            size = len(rest) + len(curve) - 1
            observed = np.zeros((size, len(curve)))
            np.add.at(observed, (totals, coded[:, item]), 1)
            joint = np.full((size, len(curve)), np.nan)
            for category, probability in enumerate(curve):
                joint[category : category + len(rest), category] = (rest * probability) @ weights
            expected = joint / np.nansum(joint, axis=1, keepdims=True) * observed.sum(axis=1, keepdims=True)
            *cells, (n_rows, _) = merged_step_by_step(observed[1:-1].tolist(), expected[1:-1].tolist())
            df = len(cells) - int(n_rows) - len(curve)
            if df > 0:
                assert fit.df[item] == df, (n, item)
                assert fit.s_x2[item] == pytest.approx(sum((o - e) ** 2 / e for o, e in cells), rel=1e-9)
            else:
                assert fit.df[item] == 0


def test_item_fit_holds_its_level_with_many_categories_and_finds_a_misfit() -> None:
    """Mean p near one half under the model (.5 ± .1 over 100 items); an item that bends back is found."""
    rng = np.random.default_rng(13)
    p_values = []
    for _ in range(10):
        data, trait = simulate(rng, 800, rng.uniform(0.8, 2, 10), [np.array([-1.5, -0.5, 0.5, 1.5])] * 10)
        fit = graded_item_fit(fit_graded_response(data, standard_errors="none"), data)
        assert (fit.df > 20).all()
        p_values.extend(fit.p_value)
    assert 0.4 < np.mean(p_values) < 0.6
    assert np.mean(np.array(p_values) < 0.05) < 0.13
    data[:, 0] = np.clip(np.round(np.abs(trait) * 2), 0, 4)  # highest at both ends of the trait
    bent = graded_item_fit(fit_graded_response(data, standard_errors="none"), data)
    assert bent.p_value[0] < 1e-6


def test_item_fit_uses_complete_rows_and_says_so(lsat7: FloatArray) -> None:
    """A total score needs every item; none complete is refused, and a table too small has no test."""
    holes = lsat7.copy()
    holes[::10, 0] = np.nan
    model = fit_graded_response(holes)
    fit = graded_item_fit(model, holes)
    assert (fit.n_used, fit.n_dropped) == (900, 100)
    assert "900 complete rows" in fit.notes[0]
    gone = lsat7.copy()
    gone[::2, 0] = np.nan
    gone[1::2, 1] = np.nan
    with pytest.raises(AnalysisInputError, match="answered all 5 items; got none"):
        graded_item_fit(fit_graded_response(gone), gone)
    small = graded_item_fit(fit_graded_response(lsat7[:, :3]), lsat7[:, :3])
    assert (small.df == 0).all()
    assert np.isnan(small.s_x2).all()
    assert np.isnan(small.p_value).all()
    assert "no degrees of freedom left to test item 1, item 2, item 3" in small.notes


def test_q3_is_the_correlation_of_residuals_and_finds_a_doublet() -> None:
    """By hand on complete data; two items that share more than the trait stand out."""
    rng = np.random.default_rng(14)
    data, _ = simulate(rng, 800, np.full(8, 1.3), [np.array([-1.0, 0.0, 1.0])] * 8)
    shared = rng.standard_normal(800) * 1.5
    trait = rng.standard_normal(800)
    for item in (2, 5):
        data[:, item] = np.digitize(1.3 * trait + shared + rng.logistic(size=800), [-1, 0, 1])
    for item in (0, 1, 3, 4, 6, 7):
        data[:, item] = np.digitize(1.3 * trait + rng.logistic(size=800), [-1, 0, 1])
    model = fit_graded_response(data)
    result = graded_residual_correlations(model, data)
    residual = np.column_stack(
        [data[:, i] - np.arange(4) @ curve for i, curve in enumerate(category_probabilities(model, model.eap))]
    )
    np.testing.assert_allclose(result.q3, np.corrcoef(residual, rowvar=False), atol=1e-10)
    assert result.largest_pair == ("item 3", "item 6")
    assert result.largest == pytest.approx(result.q3[2, 5], abs=1e-12)
    assert result.largest > 0.2
    assert result.mean == pytest.approx(result.q3[np.triu_indices(8, 1)].mean(), abs=1e-12)
    assert (result.n_used, result.n_dropped) == (800, 0)


def test_categories_that_are_never_the_likeliest_are_named() -> None:
    """A middle category squeezed between close thresholds never leads; ordered ones all do."""
    rng = np.random.default_rng(15)
    data, _ = simulate(
        rng,
        3000,
        np.full(4, 1.5),
        [np.array([-1.5, 1.5]), np.array([-0.1, 0.1]), np.array([-1.0, 1.0]), np.array([-1.0, 0.5])],
    )
    model = fit_graded_response(data)
    assert [item.never_most_likely for item in model.items] == [(), (1.0,), (), ()]
    assert [item.categories_ordered for item in model.items] == [True, False, True, True]
    assert sum(model.items[0].n_answers) == 3000
    assert model.items[1].n_answers[1] == int((data[:, 1] == 1).sum())


def test_gaps_rare_categories_and_empty_rows_leave_a_note() -> None:
    """What nobody answered is closed up; what few answered is called uncertain; rows without answers are counted."""
    rng = np.random.default_rng(16)
    data, _ = simulate(rng, 300, np.full(4, 1.5), [np.array([-1.5, 0.0, 1.5])] * 4)
    data[data[:, 1] == 2, 1] = 3
    data[:3, 2] = 7
    data[10] = np.nan
    model = fit_graded_response(data, item_codes=["a", "b", "c", "d"])
    assert "b: nobody answered 2; fitted with the 3 categories in use" in model.notes
    assert any("fewer than 5 answers" in note and note.endswith("c") for note in model.notes)
    assert "1 respondent(s) without any answer to these items were left out" in model.notes
    assert (model.n_used, model.n_dropped) == (299, 1)
    assert np.isnan(model.eap[10])
    assert np.isnan(model.eap_se[10])
    assert len(model.items[1].b) == 2


def test_a_slope_without_bound_is_called_inadmissible() -> None:
    """An item that the others determine has no finite slope: said with its name, never shown as a good estimate."""
    rng = np.random.default_rng(17)
    data = (rng.standard_normal((200, 1)) + rng.logistic(size=(200, 3)) > 0).astype(float)
    nearly = data[:, 0].copy()
    nearly[:1] = 1 - nearly[:1]
    model = fit_graded_response(np.column_stack([data, nearly]))
    assert not model.admissible
    assert any("without bound for item" in note for note in model.notes)


def test_stopping_early_is_said() -> None:
    """Too few iterations give a result that calls itself not converged."""
    rng = np.random.default_rng(18)
    data, _ = simulate(rng, 300, np.full(4, 1.5), [np.array([-1.0, 1.0])] * 4)
    model = fit_graded_response(data, maximum_iterations=2)
    assert not model.converged
    assert not model.admissible
    assert model.n_iterations == 2
    assert any("did not converge in 2 iterations" in note for note in model.notes)


def test_unusable_data_are_refused_with_names() -> None:
    """Constant, empty, identical and continuous items, too few rows, unknown answers, bad options."""
    rng = np.random.default_rng(19)
    data, _ = simulate(rng, 100, np.full(3, 1.5), [np.array([-1.0, 1.0])] * 3)

    def with_column(column: FloatArray) -> FloatArray:
        return np.column_stack([data, column])

    with pytest.raises(AnalysisInputError, match="constant or empty: item 4"):
        fit_graded_response(with_column(np.ones(100)))
    with pytest.raises(AnalysisInputError, match="constant or empty: item 4"):
        fit_graded_response(with_column(np.full(100, np.nan)))
    with pytest.raises(AnalysisInputError, match="item 1 and item 4 are answered identically"):
        fit_graded_response(with_column(data[:, 0]))
    with pytest.raises(AnalysisInputError, match="item 4 has 100 distinct answers"):
        fit_graded_response(with_column(rng.standard_normal(100)))
    with pytest.raises(AnalysisInputError, match="more respondents than items; got 3"):
        fit_graded_response(np.array([[1, 1, 2], [2, 1, 1], [1, 2, 1]]))
    with pytest.raises(AnalysisInputError, match="at least 3 items; got 2"):
        fit_graded_response(data[:, :2])
    with pytest.raises(AnalysisInputError, match="standard_errors="):
        fit_graded_response(data, standard_errors="all")  # type: ignore[arg-type]
    model = fit_graded_response(data)
    with pytest.raises(AnalysisInputError, match="2 columns for 3 items"):
        score_graded_response(model, data[:, :2])
    with pytest.raises(AnalysisInputError, match="item 2 has others than 0, 1, 2"):
        score_graded_response(model, data + np.array([0, 5, 0]))


def test_results_are_closed_to_writing_and_name_their_items(lsat7_model: GradedResponseModel) -> None:
    """A frozen result stays what it was."""
    with pytest.raises(ValueError, match="read-only"):
        lsat7_model.eap[0] = 0.0
    with pytest.raises(ValueError, match="read-only"):
        lsat7_model.items[0].b[0] = 0.0
    assert lsat7_model.item_codes == tuple(f"item {i}" for i in range(1, 6))
    assert replace(lsat7_model, n_used=1).n_used == 1
