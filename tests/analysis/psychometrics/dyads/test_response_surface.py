"""Polynomial regression and the response surface, as functions and on the command line."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from analysis.psychometrics.command_line.main import main
from analysis.psychometrics.dyads.response_surface import ResponseSurface, fit_response_surface, predict_surface
from analysis.psychometrics.errors import AnalysisInputError

FloatArray = npt.NDArray[np.float64]
REFERENCE = Path(__file__).resolve().parents[3] / "reference" / "rsa"


@pytest.fixture(scope="module")
def r_surface() -> dict[str, Any]:
    """What lm, clubSandwich and the delta method gave in R; see tests/reference/rsa/README.md."""
    return json.loads((REFERENCE / "surface.json").read_text())


@pytest.fixture(scope="module")
def dyads() -> tuple[FloatArray, FloatArray, FloatArray, npt.NDArray[np.str_]]:
    """Patient, clinician, outcome, clinician's key."""
    with (REFERENCE / "surface.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    p, c, z = (np.array([float(row[name]) for row in rows]) for name in ("patient", "clinician", "trust"))
    return p, c, z, np.array([row["cl"] for row in rows])


def fit(p: FloatArray, c: FloatArray, z: FloatArray, clinicians: Any, **options: Any) -> ResponseSurface:
    """The surface with few draws."""
    options = {"n_draws": 400, **options}
    return fit_response_surface(p, c, z, clinicians=clinicians, rng=np.random.default_rng(1), **options)


@pytest.fixture(scope="module")
def surface(dyads: tuple[FloatArray, FloatArray, FloatArray, npt.NDArray[np.str_]]) -> ResponseSurface:
    """The surface of the reference dyads."""
    return fit(*dyads)


def test_coefficients_surface_and_geometry_as_in_r(surface: ResponseSurface, r_surface: dict[str, Any]) -> None:
    """b, CR2 errors, a1 to a5, stationary point and axes with delta errors: closed forms (1e-8, relative)."""
    np.testing.assert_allclose(surface.regression.estimate, r_surface["b"], rtol=1e-8)
    np.testing.assert_allclose(surface.regression.se, r_surface["se"], rtol=1e-8)
    for k, name in enumerate(surface.surface.names):
        assert surface.surface.estimate[k] == pytest.approx(r_surface["delta"][name]["est"], rel=1e-7, abs=1e-12)
        assert surface.surface.se[k] == pytest.approx(r_surface["delta"][name]["se"], rel=1e-8)
    assert [point.name for point in surface.geometry] == ["x0", "y0", "p10", "p11", "p20", "p21"]
    for point in surface.geometry:
        assert point.estimate == pytest.approx(r_surface["delta"][point.name]["est"], rel=1e-7)
        assert point.se == pytest.approx(r_surface["delta"][point.name]["se"], rel=1e-6)
        assert point.ci_lower < point.estimate < point.ci_upper
        assert point.interval_method == "bootstrap of clinicians"
    assert (surface.n_used, surface.n_dropped, surface.n_clinicians, surface.midpoint) == (328, 0, 35, 50.0)


def test_rivals_as_in_r(surface: ResponseSurface, r_surface: dict[str, Any]) -> None:
    """AIC, log-likelihood, R² and likelihood ratio of each lm; the CR2 F tests of two of them (1e-7)."""
    assert surface.best_by_aic == "full"
    for rival in surface.rivals:
        expected = r_surface["rivals"][rival.name]
        assert rival.aic == pytest.approx(expected["aic"], abs=1e-7)
        assert rival.log_likelihood == pytest.approx(expected["loglik"], abs=1e-7)
        assert rival.r_squared == pytest.approx(expected["r2"], abs=1e-9)
        assert rival.chisq == pytest.approx(expected["chisq"], abs=1e-7)
        assert rival.df == expected["df"]
        assert rival.n_parameters == 7 - rival.df
    named = {rival.name: rival for rival in surface.rivals}
    for name, key in (("additive", "additive_HTZ"), ("squared difference", "squared_HTZ")):
        assert named[name].robust_f == pytest.approx(r_surface[key]["F"], abs=1e-6)
        assert named[name].robust_df == pytest.approx(r_surface[key]["df"], abs=1e-6)
        assert named[name].robust_pvalue == pytest.approx(r_surface[key]["p"], abs=1e-8)
        assert named[name].pvalue < 1e-6
    assert sum(rival.aic_weight for rival in surface.rivals) == pytest.approx(1)


def test_condition_based_regression_and_counts_as_in_r(surface: ResponseSurface, r_surface: dict[str, Any]) -> None:
    """The contrast of absolute values with its CR2 error; dyads on either side by half a standard deviation."""
    condition, expected = surface.condition_based, r_surface["condition"]
    assert condition.c_clinician == pytest.approx(expected["c_clinician"], rel=1e-8)
    assert condition.c_patient == pytest.approx(expected["c_patient"], rel=1e-8)
    assert condition.contrast == pytest.approx(expected["abs"], rel=1e-8)
    assert condition.contrast_se == pytest.approx(expected["se"], rel=1e-8)
    assert condition.contrast_df > 4
    assert condition.contrast_pvalue > 0.5
    assert 0 < condition.c_patient_pvalue < condition.c_clinician_pvalue < 1
    assert (condition.opposite_signs, condition.supported, condition.direction) == (False, False, "none")
    counts = (surface.n_clinician_higher, surface.n_alike, surface.n_patient_higher)
    assert counts == tuple(r_surface["counts"][name] for name in ("clinician_higher", "alike", "patient_higher"))


def test_the_checklist_finds_broad_congruence(surface: ResponseSurface) -> None:
    """Planted: a ridge along agreement, rising with the level; a1 is not zero, so not the strict form."""
    assert surface.congruence.startswith("supported, broadly")
    checks = {check.name: check for check in surface.checks}
    assert [name for name, check in checks.items() if not check.holds] == ["a1"]
    assert checks["a1"].strict_only
    assert checks["a4"].ci_upper < 0
    assert checks["p11"].required == "not different from 1"
    assert checks["p11"].ci_lower < checks["p11"].estimate < checks["p11"].ci_upper
    assert surface.any_effect.pvalue < 0.001
    assert surface.stationary_inside is False


def simulate(n_clinicians: int, each: int, coefficients: list[float], *, seed: int = 2) -> tuple[Any, ...]:
    """Both scores about 50 with SD 18, the outcome by b0 … b5 plus clinician and residual variation."""
    rng = np.random.default_rng(seed)
    clinicians = np.repeat(np.arange(n_clinicians), each)
    x, y = 18 * rng.standard_normal((2, len(clinicians)))
    b = coefficients
    z = b[0] + b[1] * x + b[2] * y + b[3] * x**2 + b[4] * x * y + b[5] * y**2
    z = z + 2 * rng.standard_normal(n_clinicians)[clinicians] + 5 * rng.standard_normal(len(clinicians))
    return x + 50, y + 50, z, clinicians


def test_strict_congruence_is_recovered() -> None:
    """A squared difference: the strict form holds, its rival wins, the stationary line passes the middle."""
    result = fit(*simulate(60, 8, [60, 0, 0, -0.01, 0.02, -0.01]))
    assert result.congruence == "supported, strictly"
    assert result.best_by_aic == "squared difference"
    assert all(check.holds for check in result.checks)
    p11 = {point.name: point for point in result.geometry}["p11"]
    assert p11.estimate == pytest.approx(1, abs=0.2)  # three standard errors


def test_linear_effects_are_not_taken_for_congruence() -> None:
    """Outcome rises with both scores, or with neither: not supported, and the reason is named."""
    both = fit(*simulate(40, 8, [60, 0.3, 0.3, 0, 0, 0]))
    assert both.congruence.startswith("not supported: a4")
    assert both.best_by_aic == "additive"
    neither = fit(*simulate(40, 8, [60, 0, 0, 0, 0, 0], seed=4))
    assert neither.congruence == "not supported: the two scores do not explain the outcome"


@pytest.mark.parametrize(("sign", "word"), [(1, "higher"), (-1, "lower")])
def test_overestimation_is_recovered_with_its_direction(sign: int, word: str) -> None:
    """Opposite slopes of .3: the contrast is twice the smaller slope, and the direction is said."""
    result = fit(*simulate(40, 8, [60, -0.3 * sign, 0.3 * sign, 0, 0, 0])).condition_based
    assert result.supported
    assert result.opposite_signs
    assert f"outcome is {word}" in result.direction
    assert result.contrast == pytest.approx(2 * min(abs(result.c_clinician), abs(result.c_patient)))
    assert result.contrast_pvalue < 0.001


def test_the_surface_is_not_drawn_beyond_the_data(surface: ResponseSurface, dyads: tuple[Any, ...]) -> None:
    """Inside the hull the polynomial, outside NaN; every dyad lies inside."""
    p, c = dyads[0], dyads[1]
    predicted = predict_surface(surface, p, c)
    assert np.isfinite(predicted).all()
    x, y = p - 50, c - 50
    b = surface.regression.estimate
    np.testing.assert_allclose(predicted, b[0] + b[1] * x + b[2] * y + b[3] * x**2 + b[4] * x * y + b[5] * y**2)
    grid = predict_surface(surface, [[0.0, 60.0]], [[-40.0, 60.0]])
    assert grid.shape == (1, 2)
    assert np.isnan(grid[0, 0])
    assert len(surface.hull) >= 3


def test_row_order_and_midpoint(dyads: tuple[Any, ...], surface: ResponseSurface) -> None:
    """Shuffled rows change nothing; another midpoint moves b1 and b2, not the curvatures or the fit."""
    p, c, z, cl = dyads
    order = np.random.default_rng(3).permutation(len(p))
    again = fit(p[order], c[order], z[order], cl[order])
    np.testing.assert_allclose(again.surface.estimate, surface.surface.estimate, rtol=1e-7, atol=1e-10)
    moved = fit(p, c, z, cl, midpoint=40.0)
    np.testing.assert_allclose(moved.surface.estimate[[1, 3, 4]], surface.surface.estimate[[1, 3, 4]], rtol=1e-6)
    assert moved.rivals[0].aic == pytest.approx(surface.rivals[0].aic, abs=1e-6)


def test_one_sided_samples_and_small_ones_are_commented() -> None:
    """Hardly any dyad on one side: do not read that side; few dyads, few clinicians: said as well."""
    rng = np.random.default_rng(3)
    p = 50 + 15 * rng.standard_normal(100)
    # One dyad far below the others shifts hardly any standardised discrepancy to that side.
    c = p + np.where(np.arange(100) < 4, -60.0, 5.0) + rng.standard_normal(100)
    result = fit(p, c, p + rng.standard_normal(100), np.repeat(np.arange(25), 4))
    assert any("the clinician rates higher" in note or "the patient rates higher" in note for note in result.notes)
    assert any("need about 200" in note for note in result.notes)
    independent = fit(p, c, p + rng.standard_normal(100), None)
    assert any("independent" in note for note in independent.notes)


def test_few_clinicians_withhold_what_they_cannot_carry() -> None:
    """14: delta intervals, no likelihood ratio p; 8: estimates only and no verdict."""
    fourteen = fit(*simulate(14, 15, [60, 0, 0, -0.01, 0.02, -0.01]))
    assert {point.interval_method for point in fourteen.geometry} == {"delta method"}
    assert np.isnan([rival.pvalue for rival in fourteen.rivals]).all()
    assert np.isfinite([rival.aic for rival in fourteen.rivals]).all()
    assert (fourteen.surface_wild_pvalue > 0).all()
    assert fourteen.surface_wild_pvalue[3] < 0.05
    eight = fit(*simulate(8, 15, [60, 0, 0, -0.01, 0.02, -0.01]))
    assert np.isnan(eight.surface.pvalue).all()
    assert np.isnan(eight.surface_wild_pvalue).all()
    assert eight.congruence.startswith("undecided")
    assert eight.condition_based.supported is None
    assert {point.interval_method for point in eight.geometry} == {"none"}
    assert np.isfinite(eight.surface.estimate).all()


def test_gaps_are_left_out_and_counted(dyads: tuple[Any, ...]) -> None:
    """A missing value costs its dyad only, and the caller's arrays stay as they were."""
    p, c, z, cl = dyads
    holes = c.copy()
    holes[2] = np.nan
    result = fit(p, holes, z, cl)
    assert (result.n_used, result.n_dropped) == (len(p) - 1, 1)
    assert np.isnan(holes[2])


P, C, Z, CL = simulate(20, 4, [60, 0, 0, -0.01, 0.02, -0.01])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: fit(P, C[:3], Z, CL), "one value of each per dyad"),
        (lambda: fit(["a"], C, Z, CL), "requires numbers as patient"),  # type: ignore[arg-type]
        (lambda: fit(P[:, None], C, Z, CL), "one column as patient"),
        (lambda: fit(P, C * np.nan, Z, CL), "the clinician's score has no value at all"),
        (lambda: fit(P[:7], C[:7], Z[:7], CL[:7]), "at least 8 complete dyads"),
        (lambda: fit(P, P + 3, Z, CL), "by the same amount"),
        (lambda: fit(P, C * 0, Z, CL), "clinician is constant"),
        (lambda: fit(P, C * 1e6, Z, CL), "both scores on one scale"),
        (lambda: fit(np.where(P > 50, 60.0, 40.0), C, Z, CL), "patient² can be computed|patient² is constant"),
    ],
)
def test_unusable_input_is_named(call: Callable[[], object], message: str) -> None:
    """Each message says what is required and what came."""
    with pytest.raises(AnalysisInputError, match=message):
        call()


def test_the_command_prints_the_surface(capsys: pytest.CaptureFixture[str], r_surface: dict[str, Any]) -> None:
    """`response-surface` on the reference file: figures in the JSON, verdicts in the text."""
    call = ["response-surface", str(REFERENCE / "surface.csv"), "--patient", "patient", "--clinician", "clinician"]
    call += ["--outcome", "trust", "--cluster", "cl", "--draws", "100"]
    assert main([*call, "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["surface"]["a4"]["est"] == pytest.approx(r_surface["delta"]["a4"]["est"], rel=1e-7)
    assert data["surface"]["a4"]["se"] == pytest.approx(r_surface["delta"]["a4"]["se"], rel=1e-7)
    assert data["geometry"]["p11"]["estimate"] == pytest.approx(r_surface["delta"]["p11"]["est"], rel=1e-7)
    assert data["rivals"]["difference"]["aic"] == pytest.approx(r_surface["rivals"]["difference"]["aic"])
    assert data["coefficients"][1]["name"] == "patient"
    assert data["best_by_aic"] == "full"
    assert len(data["checks"]) == 7
    assert data["any_effect"]["df1"] == 5
    assert main(call) == 0
    text = capsys.readouterr().out
    for words in ("Congruence: supported, broadly", "Rivals", "Condition-based", "principal axes"):
        assert words in text
