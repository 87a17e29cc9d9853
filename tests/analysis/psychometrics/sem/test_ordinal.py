"""Ordinal items (WLSMV) against lavaan 0.6-14 (tests/reference/sem/make.R)."""

import math

import numpy as np
import pytest
from scipy.stats import norm

from analysis.psychometrics.errors import AnalysisInputError
from analysis.psychometrics.sem import Moments, fit_model, prepare_sample
from analysis.psychometrics.sem.ordinal import DiagonallyWeightedLeastSquares
from tests.analysis.psychometrics.sem.lavaan_cases import cases, check_against_lavaan, fitted, table

_ORDINAL = [name for name, case in cases().items() if case.get("estimator") == "WLSMV"]
_MODEL = "f =~ a1 + a2 + a3 + a4; g =~ b1 + b2 + b3 + b4"


@pytest.mark.parametrize("name", _ORDINAL)
def test_solution_agrees_with_lavaan(name: str) -> None:
    """Fit measures within 1e-5 of their size, estimates 1e-4, standard errors 1e-4 of theirs."""
    check_against_lavaan(name, fit=1e-5, estimates=1e-4, errors=1e-4)


@pytest.mark.parametrize("name", ["bfi_wlsmv_groups_equal", "bfi_wlsmv_theta", "bfi_wlsmv_mixed", "clinic_wlsmv"])
def test_derivatives_are_those_of_differences(name: str) -> None:
    """Jacobian, gradient and (where there is one) Hessian agree with central differences to their accuracy."""
    solution = fitted(name)
    objective, theta = solution.objective, solution.theta + 0.02
    assert isinstance(objective, DiagonallyWeightedLeastSquares)
    gradient, hessian = objective.gradient(theta), objective.hessian(theta)
    for position in range(0, theta.size, 7):
        step = np.zeros(theta.size)
        step[position] = 1e-5
        slope = (objective.value(theta + step) - objective.value(theta - step)) / 2e-5
        assert gradient[position] == pytest.approx(slope, abs=1e-7)
        if hessian is not None:
            column = (objective.gradient(theta + step) - objective.gradient(theta - step)) / 2e-5
            assert hessian[:, position] == pytest.approx(column, abs=1e-6)


def test_trace_of_the_adjusted_test_is_that_of_its_matrix() -> None:
    """tr(UΓ) and tr(UΓUΓ) without forming U agree with the matrices written out."""
    solution = fitted("clinic_wlsmv")
    objective = solution.objective
    assert isinstance(objective, DiagonallyWeightedLeastSquares)
    weight = np.diag(objective.weights[0])
    slopes, gamma = objective.jacobians(solution.theta)[0], objective.parts[0].nacov
    inner = np.linalg.inv(slopes.T @ weight @ slopes)
    product = (weight - weight @ slopes @ inner @ slopes.T @ weight) @ gamma
    scaled, df = solution.inference.scaled, solution.inference.test.df
    assert scaled is not None
    assert scaled.trace == pytest.approx(np.trace(product), rel=1e-9)
    assert scaled.scaling_factor == pytest.approx(math.sqrt(np.trace(product @ product) / df), rel=1e-9)


def test_prepared_sample_serves_several_models() -> None:
    """Polychorics computed once give what they give when computed for each model."""
    codes, values, _ = table("clinic")
    items = [f"{letter}{number}" for letter in "ba" for number in range(1, 5)]
    sample = prepare_sample(values, item_codes=codes, columns=items, ordered=items, missing="pairwise")
    again = fit_model(_MODEL, sample=sample, estimator="WLSMV", missing="pairwise")
    straight = fitted("clinic_wlsmv_pairwise")
    assert again.fit["chisq_scaled"] == pytest.approx(straight.fit["chisq_scaled"], rel=1e-8)
    part = fit_model("f =~ a1 + a3 + a4 + a2", sample=sample, estimator="WLSMV", missing="pairwise")
    assert part.fit["df"] == 2


def test_all_items_are_ordinal_unless_said_otherwise() -> None:
    """WLSMV without `ordered` takes every item as ordinal."""
    codes, values, _ = table("clinic")
    assert fit_model(_MODEL, values, item_codes=codes, estimator="WLSMV").fit["chisq"] == pytest.approx(
        fitted("clinic_wlsmv").fit["chisq"]
    )


def test_truth_is_recovered() -> None:
    """With 5,000 simulated respondents loadings and thresholds are within three standard errors of the truth."""
    rng = np.random.default_rng(11)
    factor = rng.normal(size=5000)
    truth = np.array([0.8, 0.7, 0.6, 0.5])
    latent = factor[:, None] * truth + rng.normal(size=(5000, 4)) * np.sqrt(1 - truth**2)
    cuts = norm.ppf([0.05, 0.2, 0.6])
    data = 1.0 + (latent[:, :, None] > cuts).sum(axis=2)
    solution = fit_model("f =~ a + b + c + d", data, item_codes=list("abcd"), estimator="WLSMV", std_lv=True)
    assert [row.est for row in solution.parameters if row.op == "=~"] == pytest.approx(truth, abs=0.05)
    thresholds = [row.est for row in solution.parameters if row.op == "|"]
    assert thresholds == pytest.approx(np.tile(cuts, 4), abs=0.08)


def test_heywood_case_of_an_ordinal_item_is_named() -> None:
    """A loading beyond one leaves a negative residual variance, which is said with its value."""
    rng = np.random.default_rng(3)
    factor = rng.normal(size=60)
    data = np.stack(
        [factor, factor + 0.3 * rng.normal(size=60), *(0.6 * factor + rng.normal(size=60) for _ in "cd")], 1
    )
    data = 1.0 + (data[:, :, None] > np.array([-0.8, 0.0, 0.8])).sum(axis=2)
    solution = fit_model("f =~ a + b + c + d", data, item_codes=list("abcd"), estimator="WLSMV")
    negative = [row for row in solution.parameters if row.op == "~~" and row.est < 0]
    assert negative
    assert not solution.admissible
    assert all(any(f"{row.lhs} ~~ {row.lhs}" in note for note in solution.notes) for row in negative)


def test_group_without_a_category_is_refused_by_name() -> None:
    """Groups share thresholds, so each needs every category; the message names the item and the group."""
    codes, values, texts = table("bfi")
    changed = values.copy()
    women = np.array([gender == "2" for gender in texts["gender"]])
    item = codes.index("A1")
    changed[women & (changed[:, item] == 6), item] = 5
    with pytest.raises(AnalysisInputError, match=r"group 2: .*A1 has none in 6"):
        fit_model("agree =~ A1 + A2 + A3 + A4", changed, item_codes=codes, estimator="WLSMV", groups=texts["gender"])


@pytest.mark.parametrize(
    ("model", "words"), [(_MODEL + "; g ~ age", "without observed predictors; got age"), (_MODEL + "; g ~ a1", "a1")]
)
def test_what_the_scalings_do_not_cover_is_refused(model: str, words: str) -> None:
    """Observed predictors and ordinal predictors are refused with a remedy, not estimated wrongly."""
    codes, values, _ = table("clinic")
    items = [f"{letter}{number}" for letter in "ab" for number in range(1, 5)]
    with pytest.raises(AnalysisInputError, match=words):
        fit_model(model, values, item_codes=codes, estimator="WLSMV", ordered=items)


def test_samples_and_estimators_that_do_not_go_together_are_refused() -> None:
    """Polychorics are no covariances for ML; covariances are no polychorics; robust errors need rows."""
    codes, values, texts = table("clinic")
    items = ["a1", "a2", "a3", "a4"]
    model = "f =~ a1 + a2 + a3 + a4"
    ordinal = prepare_sample(values, item_codes=codes, columns=items, ordered=items)
    with pytest.raises(AnalysisInputError, match="got polychoric correlations"):
        fit_model(model, sample=ordinal)
    measured = prepare_sample(values, item_codes=codes, columns=items)
    with pytest.raises(AnalysisInputError, match="got covariances of measured items"):
        fit_model(model, sample=measured, estimator="WLSMV")
    with pytest.raises(AnalysisInputError, match="WLSMV requires ordinal items in the model"):
        fit_model(model, values, item_codes=codes, estimator="WLSMV", ordered=["b1"])
    matrix = measured.groups[0].covariance
    with pytest.raises(AnalysisInputError, match="got covariances alone"):
        fit_model(model, moments=Moments(covariance=matrix, n=300), item_codes=items, estimator="MLR")
    clustered = prepare_sample(values, item_codes=codes, columns=items, cluster=texts["clinician"])
    with pytest.raises(AnalysisInputError, match="clustered sample requires estimator MLR"):
        fit_model(model, sample=clustered)
