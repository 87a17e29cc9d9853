"""Maximum likelihood for complete continuous data against lavaan 0.6-14 (tests/reference/sem/make.R)."""

import math

import numpy as np
import pytest

from analysis.psychometrics.errors import AnalysisInputError
from analysis.psychometrics.sem import Moments, fit_model
from tests.analysis.psychometrics.sem.lavaan_cases import cases, check_against_lavaan, fitted, table

HS_MODEL = "visual =~ x1 + x2 + x3\ntextual =~ x4 + x5 + x6\nspeed =~ x7 + x8 + x9"
_CONTINUOUS = [name for name, case in cases().items() if case.get("estimator") != "WLSMV" and "fiml" not in name]


@pytest.mark.parametrize("name", _CONTINUOUS)
def test_solution_agrees_with_lavaan(name: str) -> None:
    """Fit measures within 1e-5 of their size, estimates and standardised values 1e-4, errors 1e-4 of theirs."""
    check_against_lavaan(name, fit=1e-5, estimates=1e-4, errors=1e-4)


def test_pvalues_and_intervals_follow_from_estimate_and_error() -> None:
    """z, p and the 95 % interval are those of the normal distribution."""
    row = fitted("hs_ml").parameter("visual", "=~", "x2")
    assert row.z == pytest.approx(row.est / row.se)
    assert row.pvalue == pytest.approx(math.erfc(abs(row.z) / math.sqrt(2)))
    assert (row.ci_lower, row.ci_upper) == pytest.approx((row.est - 1.959964 * row.se, row.est + 1.959964 * row.se))


def test_fixed_parameters_have_no_error() -> None:
    """A marker loading has standard error 0 and no test."""
    row = fitted("hs_ml").parameter("visual", "=~", "x1")
    assert (row.est, row.se, row.free) == (1.0, 0.0, False)
    assert math.isnan(row.z)
    assert math.isnan(row.pvalue)


def test_moments_give_what_the_rows_give() -> None:
    """A published covariance matrix is enough for maximum likelihood."""
    codes, values, _ = table("hs")
    items = [codes.index(f"x{item}") for item in range(1, 10)]
    matrix = np.cov(values[:, items], rowvar=False)
    solution = fit_model(
        HS_MODEL, moments=Moments(covariance=matrix, n=301), item_codes=[f"x{item}" for item in range(1, 10)]
    )
    whole = fitted("hs_ml")
    assert solution.fit["chisq"] == pytest.approx(whole.fit["chisq"], abs=1e-8)
    assert [row.est for row in solution.parameters] == pytest.approx([row.est for row in whole.parameters], abs=1e-6)


def test_order_of_rows_and_columns_does_not_matter() -> None:
    """Reversing rows and columns leaves estimates and indices as they are."""
    codes, values, _ = table("hs")
    turned = fit_model(HS_MODEL, values[::-1, ::-1], item_codes=codes[::-1], estimator="MLR")
    straight = fitted("hs_mlr")
    assert turned.fit["chisq_scaled"] == pytest.approx(straight.fit["chisq_scaled"], rel=1e-9)
    assert [row.se for row in turned.parameters] == pytest.approx([row.se for row in straight.parameters], rel=1e-6)


def test_standardised_solution_does_not_depend_on_units() -> None:
    """Stretching and shifting an item changes neither χ² nor standardised loadings."""
    codes, values, _ = table("hs")
    stretched = values.copy()
    stretched[:, codes.index("x2")] = 3 - 10 * stretched[:, codes.index("x2")]
    moved, whole = fit_model(HS_MODEL, stretched, item_codes=codes), fitted("hs_ml")
    assert moved.fit["chisq"] == pytest.approx(whole.fit["chisq"], abs=1e-7)
    assert moved.parameter("visual", "=~", "x2").std_all == pytest.approx(
        -whole.parameter("visual", "=~", "x2").std_all, abs=1e-7
    )


def test_clusters_of_one_change_nothing_but_the_small_sample_factor() -> None:
    """Every respondent a cluster: standard errors grow by √(n/(n − 1)) alone."""
    codes, values, _ = table("hs")
    clustered = fit_model(HS_MODEL, values, item_codes=codes, estimator="MLR", cluster=range(301))
    plain = fit_model(HS_MODEL, values, item_codes=codes, estimator="MLR", meanstructure=True)
    for ours, theirs in zip(clustered.parameters, plain.parameters, strict=True):
        assert ours.se == pytest.approx(theirs.se * math.sqrt(301 / 300), rel=1e-9)


def test_explained_variance_is_one_minus_the_standardised_residual() -> None:
    """R² of an item with one loading is its squared standardised loading."""
    solution = fitted("hs_ml")
    assert solution.r2[0]["x4"] == pytest.approx(solution.parameter("textual", "=~", "x4").std_all ** 2)
    assert "visual" not in solution.r2[0]


def test_truth_is_recovered() -> None:
    """With 20,000 simulated respondents loadings are within 0.03 (four standard errors) of the truth."""
    rng = np.random.default_rng(5)
    factors = rng.multivariate_normal([0, 0], [[1, 0.5], [0.5, 1]], size=20_000)
    truth = np.array([0.9, 0.7, 0.5, 0.8, 0.6, 0.7])
    data = factors[:, [0, 0, 0, 1, 1, 1]] * truth + rng.normal(size=(20_000, 6))
    solution = fit_model("f =~ a + b + c; g =~ d + e + h", data, item_codes=list("abcdeh"), std_lv=True)
    assert [row.est for row in solution.parameters if row.op == "=~"] == pytest.approx(truth, abs=0.03)
    assert solution.parameter("f", "~~", "g").est == pytest.approx(0.5, abs=0.03)
    assert solution.fit["rmsea"] < 0.02


def test_negative_variance_is_named() -> None:
    """A Heywood case is returned as inadmissible with the parameter at fault and its value."""
    matrix = np.array([[1, 0.8, 0.8, 0.4], [0.8, 1, 0.5, 0.2], [0.8, 0.5, 1, 0.2], [0.4, 0.2, 0.2, 1]])
    solution = fit_model("f =~ a + b + c + d", moments=Moments(covariance=matrix, n=200), item_codes=list("abcd"))
    assert solution.converged
    assert not solution.admissible
    assert any("a ~~ a = -" in note for note in solution.notes)


def test_correlation_beyond_one_is_named() -> None:
    """Two factors that the data cannot tell apart are inadmissible when their correlation exceeds one."""
    matrix = np.full((6, 6), 0.5)
    matrix[:3, :3] = matrix[3:, 3:] = 0.4
    np.fill_diagonal(matrix, 1.0)
    solution = fit_model(
        "f =~ a + b + c; g =~ d + e + h", moments=Moments(covariance=matrix, n=300), item_codes=list("abcdeh")
    )
    assert not solution.admissible
    assert any("f with g = 1.25" in note for note in solution.notes)


def test_unidentified_model_is_flagged_with_its_parameters() -> None:
    """No marker and free factor variances: the note names what can change, and there are no standard errors."""
    codes, values, _ = table("hs")
    model = "visual =~ NA*x1 + x2 + x3; textual =~ x4 + x5 + x6"
    solution = fit_model(model, values, item_codes=codes)
    assert not solution.identified
    assert not solution.admissible
    assert any("visual =~ x1" in note and "visual ~~ visual" in note for note in solution.notes)
    assert all(math.isnan(row.se) for row in solution.parameters if row.free)


def test_more_parameters_than_moments_are_refused() -> None:
    """Two indicators cannot carry a factor alone."""
    codes, values, _ = table("hs")
    with pytest.raises(AnalysisInputError, match=r"under-identified: it has 4 free parameters .* 3 moments"):
        fit_model("f =~ x1 + x2", values, item_codes=codes)


def test_failed_estimation_is_said_and_gives_no_indices() -> None:
    """A solution that did not converge has NaN indices and a note, but keeps its degrees of freedom."""
    codes, values, _ = table("hs")
    model = "f =~ x1 + x2 + x3; g =~ x1 + x2 + x3; x1 ~~ 0*x1; x2 ~~ 0*x2; x3 ~~ 0*x3; x4 ~~ x5"
    solution = fit_model(model, values, item_codes=codes)
    assert not solution.converged
    assert math.isnan(solution.fit["chisq"])
    assert any("did not converge" in note for note in solution.notes)


def test_a_bad_start_is_not_the_end() -> None:
    """An item keyed against the marker, fixed to load as it does: plainer starting values find lavaan's minimum."""
    codes, values, _ = table("bfi")
    model = 'A =~ A1 + equal("A=~A1")*A2 + A3 + A4 + A5; C =~ 1*C1 + 0.9?C2 + C3'
    solution = fit_model(model, values, item_codes=codes)
    assert solution.converged
    assert solution.parameter("A", "=~", "A2").est == 1.0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("constant", "x2 is constant"),
        ("identical", r"x2, x3 depend on one another"),
        ("empty", "nobody answered x2"),
        ("few", "got 5 complete of 5 for 9 items"),
    ],
)
def test_unusable_data_are_refused_by_name(change: str, words: str) -> None:
    """The message names the item."""
    codes, values, _ = table("hs")
    changed = values.copy()
    second = codes.index("x2")
    if change == "constant":
        changed[:, second] = 4.0
    elif change == "identical":
        changed[:, second] = changed[:, codes.index("x3")]
    elif change == "empty":
        changed[:, second] = np.nan
    else:
        changed = changed[:5]
    with pytest.raises(AnalysisInputError, match=words):
        fit_model(HS_MODEL, changed, item_codes=codes)


def test_unknown_column_is_named() -> None:
    """A model that names what the data do not have says which."""
    codes, values, _ = table("hs")
    with pytest.raises(AnalysisInputError, match="not found: x99"):
        fit_model("f =~ x1 + x2 + x99", values, item_codes=codes)


def test_incomplete_rows_are_deleted_and_counted() -> None:
    """n_used counts after deletion, over the model's columns alone."""
    codes, values, _ = table("hs")
    holes = values.copy()
    holes[:7, codes.index("x1")] = np.nan
    holes[:50, codes.index("agemo")] = np.nan
    solution = fit_model(HS_MODEL, holes, item_codes=codes)
    assert (solution.n_used, solution.n_dropped) == (294, 7)
