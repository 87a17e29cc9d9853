"""Two-level factor models: against lavaan, against the brute-force normal likelihood, and what is refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from analysis.psychometrics.command_line.main import main
from analysis.psychometrics.errors import AnalysisInputError
from analysis.psychometrics.sem import ModelFit
from analysis.psychometrics.sem.two_level import TwoLevelLikelihood, fit_two_level

FloatArray = npt.NDArray[np.float64]
REFERENCE = Path(__file__).parents[3] / "reference" / "dyads"
MODELS = ("two_and_one", "one_and_one", "equal_loadings")
#: What has to agree, and within what: log-likelihoods and tests as lavaan's stopping rules allow (its EM for the
#: unrestricted model leaves 0.0016 of log-likelihood, so .01 of a test and .5 of the baseline's scaled one).
FIT = {
    "npar": 0,
    "df": 0,
    "logl": 1e-5,
    "unrestricted_logl": 0.002,
    "chisq": 0.01,
    "baseline_chisq": 0.01,
    "baseline_df": 0,
    "cfi": 1e-4,
    "tli": 1e-4,
    "rmsea": 1e-4,
    "aic": 1e-4,
    "bic": 1e-4,
    "fmin": 1e-5,
    "srmr": 1e-3,
    "srmr_within": 1e-3,
    "srmr_between": 1e-3,
}
ROBUST = {
    "chisq_scaled": 0.2,
    "chisq_scaling_factor": 2e-3,
    "baseline_chisq_scaled": 0.5,
    "cfi_scaled": 2e-4,
    "cfi_robust": 1e-4,
    "rmsea_scaled": 2e-4,
    "rmsea_robust": 1e-4,
    "scaling_factor_h1": 1e-3,
    "scaling_factor_h0": 1e-4,
}


@pytest.fixture(scope="module")
def from_r() -> dict[str, Any]:
    """What lavaan finds."""
    figures: dict[str, Any] = json.loads((REFERENCE / "two_level.json").read_text())
    return figures


def data_set(name: str) -> tuple[FloatArray, FloatArray, list[str]]:
    """Scores, clinicians and item names of a reference file."""
    path = REFERENCE / name
    names = path.read_text().split("\n", 1)[0].strip().split(",")
    table = np.genfromtxt(path, delimiter=",", skip_header=1)
    return table[:, 1:], table[:, 0], names[1:]


def fitted(entry: dict[str, Any], estimator: Any) -> ModelFit:
    """Fit one of the reference models."""
    scores, clinicians, names = data_set(entry["data"])
    return fit_two_level(entry["model"], scores, clinicians, item_codes=names, estimator=estimator)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("estimator", ["ML", "MLR"])
def test_estimates_errors_and_fit_match_lavaan(from_r: dict[str, Any], name: str, estimator: str) -> None:
    """Estimates and standard errors within 1e-4, standardised ones within 2e-4, indices as the table above allows."""
    expected, result = from_r[name][estimator], fitted(from_r[name], estimator)
    assert result.converged
    assert result.admissible
    for lhs, op, rhs, level, est, se, std_all in expected["parameters"]:
        row = result.parameter(lhs, op, rhs, level)
        assert row.est == pytest.approx(est, abs=1e-4), (lhs, op, rhs, level)
        assert row.se == pytest.approx(se, abs=1e-4), (lhs, op, rhs, level)
        if std_all is not None:
            assert row.std_all == pytest.approx(std_all, abs=2e-4), (lhs, op, rhs, level)
    for key, tolerance in (FIT | ROBUST if estimator == "MLR" else FIT).items():
        assert result.fit[key] == pytest.approx(expected["fit"][key], abs=tolerance), key
    assert result.fit["unrestricted_logl"] >= expected["fit"]["unrestricted_logl"] - 1e-9
    assert result.group_labels == ("within", "between")


def test_the_likelihood_is_the_brute_force_one(from_r: dict[str, Any]) -> None:
    """Each cluster's whole covariance matrix gives the same log-likelihood (1e-8)."""
    result = fitted(from_r["two_and_one"], "ML")
    scores, clinicians, _ = data_set("clinics.csv")
    within, between = result.states
    total = 0.0
    for clinician in np.unique(clinicians):
        y = scores[clinicians == clinician]
        n = len(y)
        covariance = np.kron(np.eye(n), within.sigma) + np.kron(np.ones((n, n)), between.sigma)
        deviation = (y - between.mu).ravel()
        quadratic = deviation @ np.linalg.solve(covariance, deviation)
        total -= 0.5 * (np.linalg.slogdet(covariance)[1] + quadratic + y.size * np.log(2 * np.pi))
    assert result.fit["logl"] == pytest.approx(total, abs=1e-8)


def test_derivatives_are_those_of_differences(from_r: dict[str, Any]) -> None:
    """Gradient and sum of the clusters' scores against differences; expected information against its definition."""
    result = fitted(from_r["two_and_one"], "ML")
    objective = result.objective
    assert isinstance(objective, TwoLevelLikelihood)
    theta = result.theta + 0.02 * np.cos(np.arange(len(result.theta)))
    gradient = objective.gradient(theta)
    for k in range(len(theta)):
        step = np.zeros(len(theta))
        step[k] = 1e-5
        difference = (objective.value(theta + step) - objective.value(theta - step)) / 2e-5
        assert gradient[k] == pytest.approx(difference, abs=1e-7)
    scores = objective.cluster_scores(theta)
    np.testing.assert_allclose(scores.sum(axis=0) / objective.data.n_rows, -gradient, atol=1e-12)
    # At the truth of simulated data both informations agree; here they only have to be alike and positive definite.
    expected, observed = objective.scoring_matrix(result.theta), objective.hessian(result.theta)
    assert np.linalg.eigvalsh(expected)[0] > 0
    assert np.linalg.eigvalsh(observed)[0] > 0
    assert np.abs(np.diag(expected) / np.diag(observed) - 1).max() < 0.35


def test_planted_loadings_are_recovered() -> None:
    """300 clinicians: loadings at both levels within .1 of the truth, and means within three standard errors."""
    rng = np.random.default_rng(8)
    clinicians = np.repeat(np.arange(300), rng.integers(4, 9, 300))
    n = len(clinicians)
    inner, outer = np.array([1.0, 0.8, 0.6, 0.9]), np.array([1.0, 1.2, 0.7, 0.5])
    scores = np.array([1.0, 2.0, 3.0, 4.0]) + np.outer(rng.normal(size=n), inner) + 0.6 * rng.normal(size=(n, 4))
    scores += (0.7 * np.outer(rng.normal(size=300), outer) + 0.2 * rng.normal(size=(300, 4)))[clinicians]
    model = "level: within\n fw =~ a + b + c + d\nlevel: between\n fb =~ a + b + c + d"
    result = fit_two_level(model, scores, clinicians, item_codes=list("abcd"))
    for position, item in enumerate("abcd"):
        assert result.parameter("fw", "=~", item, 1).est == pytest.approx(inner[position], abs=0.1)
        assert result.parameter("fb", "=~", item, 2).est == pytest.approx(outer[position], abs=0.1)
        mean = result.parameter(item, "~1", "", 2)
        assert abs(mean.est - (position + 1)) < 3 * mean.se
    assert result.fit["pvalue"] > 0.001
    assert result.n_used == n


def test_row_order_and_unit_do_not_matter(from_r: dict[str, Any]) -> None:
    """Shuffled rows, other keys and scores times ten give the same test and standardised loadings (1e-5)."""
    scores, clinicians, names = data_set("clinics.csv")
    model = from_r["two_and_one"]["model"]
    order = np.random.default_rng(1).permutation(len(scores))
    first = fit_two_level(model, scores, clinicians, item_codes=names, estimator="ML")
    keys = [f"k{key:.0f}" for key in clinicians[order]]
    second = fit_two_level(model, 10 * scores[order] + 5, keys, item_codes=names, estimator="ML")
    assert second.fit["chisq"] == pytest.approx(first.fit["chisq"], abs=1e-4)
    for before, after in zip(first.parameters, second.parameters, strict=True):
        if before.op == "=~":
            assert after.std_all == pytest.approx(before.std_all, abs=1e-5)


def test_incomplete_rows_are_dropped_and_counted(from_r: dict[str, Any]) -> None:
    """A row with a missing score is left out."""
    scores, clinicians, names = data_set("clinics.csv")
    scores[[0, 9], [1, 2]] = np.nan
    result = fit_two_level(from_r["one_and_one"]["model"], scores, clinicians, item_codes=names, estimator="ML")
    assert (result.n_dropped, result.n_used) == (2, len(scores) - 2)


ONE = "level: 1\n fw =~ y1 + y2 + y3\nlevel: 2\n fb =~ y1 + y2 + y3"


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        ("fw =~ y1 + y2 + y3", {}, "a block `level: 1`"),
        ("level: 1\n fw =~ y1 + y2 + y3", {}, "got within"),
        ("level: 1\n fw =~ y1 + y2 + y3\nlevel: 3\n fb =~ y1 + y2 + y3", {}, "got `level: 3`"),
        ("level: 1\n fw =~ y1 + y2 + y3\nlevel: 2\n fb =~ y1 + y2 + y4", {}, r"y3, y4 stand\(s\) at one only"),
        ("level: 1\n fw =~ y1 + y2 + z\nlevel: 2\n fb =~ y1 + y2 + z", {}, "not found: z"),
        (ONE, {"estimator": "WLSMV"}, "continuous scores"),
        (ONE, {"minimum_clusters": 71}, "at least 71 clinicians; got 70"),
        ("level: 1\n fw =~ y1 + y2\nlevel: 2\n fb =~ y1 + y2", {}, "under-identified"),
    ],
)
def test_models_that_cannot_be_fitted_are_refused(model: str, options: dict[str, Any], message: str) -> None:
    """Missing or strange blocks, items at one level only, ordinal items, too few clinicians or moments."""
    scores, clinicians, names = data_set("clinics.csv")
    with pytest.raises(AnalysisInputError, match=message):
        fit_two_level(model, scores, clinicians, item_codes=names, **options)


def test_fewer_than_fifty_clinicians_are_refused_by_default() -> None:
    """Factors between clinicians rest on their number."""
    scores, clinicians, names = data_set("clinics.csv")
    chosen = clinicians < 50
    with pytest.raises(AnalysisInputError, match="at least 50 clinicians; got 49"):
        fit_two_level(ONE, scores[chosen], clinicians[chosen], item_codes=names)


@pytest.mark.parametrize("size", [0.05, 0.3])
def test_hardly_any_variance_between_clinicians_is_not_hidden(size: float) -> None:
    """Residual variances between clinicians that are not there come out negative: inadmissible, by name, no warning."""
    rng = np.random.default_rng(2)
    clinicians = np.repeat(np.arange(60), 8)
    scores = rng.normal(size=(480, 1)) + rng.normal(size=(480, 4)) + size * rng.normal(size=(60, 1))[clinicians]
    model = "level: 1\n f =~ a + b + c + d\nlevel: 2\n g =~ a + b + c + d"
    result = fit_two_level(model, scores, clinicians, item_codes=list("abcd"))
    assert not result.admissible
    assert any("negative variance" in note and "(group 2)" in note for note in result.notes)
    assert any("clusters hardly differ" in note for note in result.notes)
    assert any("the test is void" in note for note in result.notes)
    assert result.fit["chisq"] == 0


def test_command(from_r: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    """`cfa` with `level:` blocks and --cluster; each level's SRMR in the table; options that don't go with it."""
    path, model = str(REFERENCE / "demo_two_level.csv"), from_r["equal_loadings"]["model"]
    command = ["cfa", path, "--model", model, "--cluster", "cl"]
    assert main([*command, "--estimator", "MLR", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["fit"]["chisq_scaling_factor"] == pytest.approx(1.0287, abs=2e-3)
    assert answer["group_labels"] == ["within", "between"]
    assert main(command) == 0
    text = capsys.readouterr().out
    assert "between clusters" in text
    assert "Loadings, group within" in text
    assert main(command[:-2]) == 2
    assert "it needs --cluster" in capsys.readouterr().err
    assert main([*command, "--group", "cl"]) == 2
    assert "--group does not go with it" in capsys.readouterr().err
