"""Incomplete data (full-information maximum likelihood) against lavaan 0.6-14 and slow obvious twins."""

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from analysis.psychometrics.errors import AnalysisInputError
from analysis.psychometrics.sem import fit_model, prepare_sample
from analysis.psychometrics.sem.fiml import FullInformation
from tests.analysis.psychometrics.sem.lavaan_cases import cases, check_against_lavaan, fitted, table

_INCOMPLETE = [name for name, case in cases().items() if case.get("missing") == "fiml"]
_MODEL = "f =~ a1 + a2 + a3 + a4; g =~ b1 + b2 + b3 + b4"


@pytest.mark.parametrize("name", _INCOMPLETE)
def test_solution_agrees_with_lavaan(name: str) -> None:
    """Fit measures within 1e-5 of their size, estimates 1e-4, standard errors 1e-4 of theirs."""
    check_against_lavaan(name, fit=1e-5, estimates=1e-4, errors=1e-4)


def test_likelihood_is_that_of_each_row_alone() -> None:
    """The pattern-wise likelihood equals the sum over rows of the normal density of what each row holds."""
    solution = fitted("clinic_fiml")
    state, data = solution.states[0], solution.sample.groups[0].data
    assert data is not None
    total = 0.0
    for row in data:
        here = np.flatnonzero(~np.isnan(row))
        total += multivariate_normal.logpdf(row[here], state.mu[here], state.sigma[np.ix_(here, here)])
    assert solution.fit["logl"] == pytest.approx(total, rel=1e-10)


def test_derivatives_are_those_of_differences() -> None:
    """Gradient, observed information and case scores agree with central differences to their accuracy."""
    solution = fitted("clinic_fiml_groups")
    objective, theta = solution.objective, solution.theta + 0.02
    assert isinstance(objective, FullInformation)
    gradient, information = objective.gradient(theta), objective.observed_information(theta)
    scores = sum(group.sum(axis=0) for group in objective.case_scores(theta))
    assert -scores / objective.n_total == pytest.approx(gradient, abs=1e-10)
    for position in range(0, theta.size, 7):
        step = np.zeros(theta.size)
        step[position] = 1e-5
        slope = (objective.value(theta + step) - objective.value(theta - step)) / 2e-5
        assert gradient[position] == pytest.approx(slope, abs=1e-8)
        column = (objective.gradient(theta + step) - objective.gradient(theta - step)) / 2e-5
        assert information[:, position] == pytest.approx(column, abs=1e-7)


def test_complete_data_give_the_complete_solution() -> None:
    """Without missing answers FIML is ML with a mean structure and observed information."""
    codes, values, _ = table("hs")
    model = "visual =~ x1 + x2 + x3; textual =~ x4 + x5 + x6; speed =~ x7 + x8 + x9"
    full = fit_model(model, values, item_codes=codes, missing="fiml")
    plain = fitted("hs_ml")
    assert full.fit["chisq"] == pytest.approx(plain.fit["chisq"], abs=1e-6)
    assert full.parameter("visual", "=~", "x2").est == pytest.approx(
        plain.parameter("visual", "=~", "x2").est, abs=1e-6
    )


def test_empty_rows_and_rows_without_predictor_are_left_out_and_counted() -> None:
    """A row without any answer says nothing; a missing exogenous variable is not modelled."""
    codes, values, _ = table("clinic")
    holes = values.copy()
    holes[:3] = np.nan
    holes[3:8, codes.index("age")] = np.nan
    plain = fit_model(_MODEL, holes, item_codes=codes, missing="fiml")
    assert (plain.n_used, plain.n_dropped) == (477, 3)
    regression = fit_model(_MODEL + "; g ~ age", holes, item_codes=codes, missing="fiml")
    assert (regression.n_used, regression.n_dropped) == (472, 8)


def test_part_of_a_prepared_sample_is_summarised_anew() -> None:
    """A model of some columns of a prepared sample gives what these columns give."""
    codes, values, _ = table("clinic")
    sample = prepare_sample(values, item_codes=codes, columns=["b4", "a1", "a2", "a3", "a4"], missing="fiml")
    part = fit_model("f =~ a1 + a2 + a3 + a4", sample=sample)
    whole = fit_model("f =~ a1 + a2 + a3 + a4", values, item_codes=codes, missing="fiml")
    assert part.fit["chisq"] == pytest.approx(whole.fit["chisq"], abs=1e-6)


def test_truth_is_recovered_when_missingness_depends_on_what_is_seen() -> None:
    """Answers missing where another item is high bias listwise means but not FIML's (truth 0, standard error 0.02)."""
    rng = np.random.default_rng(9)
    factor = rng.normal(size=3000)
    data = factor[:, None] * 0.8 + rng.normal(size=(3000, 4)) * 0.6
    data[(data[:, 0] > 0) & (rng.random(3000) < 0.7), 1] = np.nan
    full = fit_model("f =~ a + b + c + d", data, item_codes=list("abcd"), missing="fiml")
    listwise = fit_model("f =~ a + b + c + d", data, item_codes=list("abcd"), meanstructure=True)
    assert abs(full.parameter("b", "~1", "").est) < 0.08
    assert listwise.parameter("b", "~1", "").est < -0.15


def test_items_never_answered_together_are_named() -> None:
    """Their covariance is nowhere in the data."""
    codes, values, _ = table("clinic")
    holes = values.copy()
    first, second = codes.index("a1"), codes.index("a2")
    holes[:240, first] = np.nan
    holes[240:, second] = np.nan
    with pytest.raises(AnalysisInputError, match="a1 and a2 were never answered together"):
        fit_model(_MODEL, holes, item_codes=codes, missing="fiml")


def test_identical_items_are_refused() -> None:
    """A singular covariance matrix is said, not inverted."""
    codes, values, _ = table("clinic")
    same = values.copy()
    same[:, codes.index("a2")] = same[:, codes.index("a1")]
    with pytest.raises(AnalysisInputError, match=r"singular|depend"):
        fit_model(_MODEL, same, item_codes=codes, missing="fiml")
