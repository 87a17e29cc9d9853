"""Invariance across the roles of a dyad, as functions and on the command line."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from analysis.psychometrics.command_line.main import main
from analysis.psychometrics.errors import AnalysisInputError
from analysis.psychometrics.structure.role_invariance import (
    LINEAR_LEVELS,
    ORDINAL_LEVELS,
    RoleInvariance,
    assess_role_invariance,
    write_role_model,
)

FloatArray = npt.NDArray[np.float64]
REFERENCE = Path(__file__).resolve().parents[3] / "reference" / "role_invariance"
ITEMS = [f"x{k}" for k in range(1, 7)]
FACTORS = {"F": ITEMS[:3], "G": ITEMS[3:]}


@pytest.fixture(scope="module")
def r_roles() -> dict[str, Any]:
    """What lavaan computed of semTools' models; see tests/reference/role_invariance/README.md."""
    return json.loads((REFERENCE / "roles.json").read_text())


@pytest.fixture(scope="module")
def dyads() -> tuple[FloatArray, FloatArray, list[str]]:
    """Answers of patients and clinicians, and the clinician of each dyad."""
    with (REFERENCE / "roles.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    p, c = (np.array([[float(row[f"{role}_{item}"]) for item in ITEMS] for row in rows]) for role in "pc")
    return p, c, [row["cl"] for row in rows]


@pytest.fixture(scope="module")
def ordinal(dyads: tuple[FloatArray, FloatArray, list[str]]) -> RoleInvariance:
    """The reference dyads with WLSMV."""
    return assess_role_invariance(dyads[0], dyads[1], FACTORS, item_codes=ITEMS)


@pytest.fixture(scope="module")
def linear(dyads: tuple[FloatArray, FloatArray, list[str]]) -> RoleInvariance:
    """The reference dyads with MLR."""
    return assess_role_invariance(dyads[0], dyads[1], FACTORS, item_codes=ITEMS, estimator="MLR")


def compare_with_r(result: RoleInvariance, expected: dict[str, Any], levels: tuple[str, ...]) -> None:
    """Compare fit and difference tests of the steps before anything was released."""
    steps = {step.level: step for step in result.steps}
    for level in levels:
        step, row = steps[level], expected[level]
        assert step.converged
        assert step.fit["df"] == row["df"]
        assert step.fit["chisq"] == pytest.approx(row["chisq"], rel=1e-4, abs=1e-3)
        assert step.fit["chisq_scaled"] == pytest.approx(row["chisq.scaled"], rel=1e-4, abs=1e-3)
        assert step.fit["cfi_scaled"] == pytest.approx(row["cfi.scaled"], abs=1e-4)
        assert step.fit["rmsea_scaled"] == pytest.approx(row["rmsea.scaled"], abs=1e-4)
        assert step.fit["srmr"] == pytest.approx(row["srmr"], abs=1e-4)
        if "diff" in row:
            assert step.df_diff == row["diff"]["df"]
            assert step.chisq_diff == pytest.approx(row["diff"]["chisq"], rel=1e-3, abs=1e-3)
            assert step.pvalue == pytest.approx(row["diff"]["p"], rel=1e-2, abs=1e-4)


def test_ordinal_steps_as_in_r(ordinal: RoleInvariance, r_roles: dict[str, Any]) -> None:
    """semTools' Wu-Estabrook identification with WLSMV: chi-squares to 1e-4 of their size (both sides iterate)."""
    compare_with_r(ordinal, r_roles["ordinal"], ("configural", "thresholds", "loadings", "intercepts"))
    assert tuple(step.level for step in ordinal.steps) == ORDINAL_LEVELS
    assert (ordinal.estimator, ordinal.n_used, ordinal.n_dropped, ordinal.n_clinicians) == ("WLSMV", 400, 0, None)


def test_measured_steps_as_in_r(linear: RoleInvariance, r_roles: dict[str, Any]) -> None:
    """The same with MLR, and its scaled difference tests."""
    compare_with_r(linear, r_roles["linear"], ("configural", "loadings", "intercepts"))
    assert tuple(step.level for step in linear.steps) == LINEAR_LEVELS


def test_clustered_steps_as_in_r(dyads: tuple[FloatArray, FloatArray, list[str]], r_roles: dict[str, Any]) -> None:
    """MLR with the clinician's key: the cluster-robust test statistics of lavaan."""
    result = assess_role_invariance(dyads[0], dyads[1], FACTORS, item_codes=ITEMS, estimator="MLR", clinicians=dyads[2])
    compare_with_r(result, r_roles["clustered"], ("configural", "loadings", "intercepts"))
    assert result.n_clinicians == 50
    assert {effect.role for effect in result.design_effects} == {"patient", "clinician", "gap"}


@pytest.mark.parametrize("which", ["ordinal", "linear"])
def test_the_planted_item_is_found_and_the_gaps_follow(which: str, request: pytest.FixtureRequest) -> None:
    """Item x2 has another intercept: its factor fails there, x2 is released, both gaps may be shown, F on anchors."""
    result: RoleInvariance = request.getfixturevalue(which)
    tests = {(step.level, test.factor): test for step in result.steps for test in step.factors}
    assert tests["intercepts", "F"].released == ("x2",)
    assert tests["intercepts", "F"].holds is False
    assert tests["intercepts", "F"].pvalue < 1e-6
    assert tests["intercepts", "F"].df_diff == 2
    others = [test for test in tests.values() if (test.released or not test.holds)]
    assert len(others) == 1
    first, second = result.gaps
    assert (first.factor, first.may_be_shown, first.anchors, first.failing) == ("F", True, ("x1", "x3"), ("x2",))
    assert first.verdict == "the gap may be shown on the anchors x1, x3 only"
    assert (second.may_be_shown, second.failing, second.verdict) == (True, (), "the gap may be shown")
    # Planted: means .3 and .1 times 1.2, correlation of the roles' factors .45 (three standard errors).
    assert first.mean_gap == pytest.approx(0.36, abs=3 * first.mean_gap_se)
    assert second.mean_gap == pytest.approx(0.12, abs=3 * second.mean_gap_se)
    assert first.mean_gap_ci_lower < first.mean_gap < first.mean_gap_ci_upper
    assert first.correlation == pytest.approx(0.45, abs=0.12)
    steps = {step.level: step for step in result.steps}
    assert steps["loadings"].passes
    assert steps["intercepts"].passes is False
    assert steps["intercepts"].passes_released is True
    assert steps["intercepts"].delta_cfi < -0.01
    assert steps["intercepts"].delta_rmsea > 0.015
    assert np.isfinite(steps["intercepts"].delta_srmr)
    assert steps["configural"].passes is None
    assert all(step.admissible for step in result.steps)


def test_a_factor_without_two_anchors_shows_no_gap() -> None:
    """Two of three items have another intercept: no gap for that factor, the other factor stands."""
    rng = np.random.default_rng(2)
    common = rng.standard_normal((500, 2))
    p, c = (
        np.repeat(common + 0.6 * rng.standard_normal((500, 2)), [3, 3], axis=1) + 0.7 * rng.standard_normal((500, 6))
        for _ in range(2)
    )
    c = c + np.array([1.0, -1.0, 0, 0.2, 0.2, 0.2])
    result = assess_role_invariance(p, c, FACTORS, item_codes=ITEMS, estimator="ML")
    first, second = result.gaps
    assert first.may_be_shown is False
    assert first.verdict == "the gap may not be shown: the intercepts differ between the roles"
    assert (first.anchors, first.failing) == ((), ("x1", "x2", "x3"))
    assert np.isnan(first.mean_gap)
    assert second.may_be_shown is True
    assert second.mean_gap > 0


def test_factors_that_do_not_fit_leave_the_gap_undecided() -> None:
    """Two factors taken for one: no verdict about the gap, whatever the steps say."""
    rng = np.random.default_rng(6)
    common = np.repeat(rng.standard_normal((400, 2)), 2, axis=1)
    p, c = (common + 0.6 * rng.standard_normal((400, 4)) for _ in range(2))
    result = assess_role_invariance(p, c, {"F": ITEMS[:4]}, item_codes=ITEMS[:4], estimator="ML")
    assert result.gaps[0].may_be_shown is None
    assert "do not fit" in result.gaps[0].verdict
    assert any("mend the model" in note for note in result.notes)


def test_a_form_keyed_the_other_way_is_pointed_out(dyads: tuple[FloatArray, FloatArray, list[str]]) -> None:
    """Clinicians' answers turned round: the roles' factors correlate negatively, and a note says so."""
    p, c, _ = dyads
    result = assess_role_invariance(p[:, 3:], 6 - c[:, 3:], {"G": ITEMS[3:]}, item_codes=ITEMS[3:], estimator="ML")
    assert result.gaps[0].correlation < -0.3
    assert any("keyed" in note for note in result.notes)


def test_roles_that_measure_alike_pass_every_step() -> None:
    """Four-point answers of one law, some missing: every step passes, no item is released."""
    rng = np.random.default_rng(9)
    common = rng.standard_normal((450, 1))
    p, c = (
        np.digitize(
            common + 0.8 * rng.standard_normal((450, 1)) + rng.standard_normal((450, 3)) + shift, [-1.5, 0.0, 1.5]
        ).astype(float)
        for shift in (0.0, 0.3)
    )
    p[:20, 0], c[10:40, 2] = np.nan, np.nan
    result = assess_role_invariance(p, c, {"F": ITEMS[:3]}, item_codes=ITEMS[:3])
    assert all(step.passes in (None, True) for step in result.steps if step.level != "means")
    assert not any(test.released for step in result.steps for test in step.factors)
    assert result.gaps[0].may_be_shown is True
    assert result.n_used == 450


def test_nesting_is_measured_and_allowed_for(dyads: tuple[FloatArray, FloatArray, list[str]]) -> None:
    """Clinicians with a style of their own: their forms count for fewer, and the factor's test is weaker for it."""
    p, c, keys = dyads
    _, codes = np.unique(keys, return_inverse=True)
    rng = np.random.default_rng(4)
    styled = np.clip(np.round(c + rng.standard_normal(50)[codes, None]), 1, 5)
    p, styled, factors = p[:, :3], styled[:, :3], {"F": ITEMS[:3]}
    alone = assess_role_invariance(p, styled, factors, item_codes=ITEMS[:3])
    nested = assess_role_invariance(p, styled, factors, item_codes=ITEMS[:3], clinicians=keys)
    effect = {(e.factor, e.role): e for e in nested.design_effects}
    assert effect["F", "clinician"].icc > 0.3
    assert effect["F", "clinician"].design_effect == pytest.approx(1 + 7 * effect["F", "clinician"].icc)
    assert effect["F", "clinician"].effective_n == pytest.approx(400 / effect["F", "clinician"].design_effect)
    assert effect["F", "patient"].icc < 0.1
    plain, allowed = ({t.factor: t for t in r.steps[1].factors}["F"] for r in (alone, nested))
    assert allowed.chisq_diff == pytest.approx(plain.chisq_diff)
    assert allowed.pvalue_holm > plain.pvalue_holm
    assert any("count" in note for note in nested.notes)
    assert any("independent" in note for note in alone.notes)


def test_gaps_take_intervals_from_resampled_clinicians(dyads: tuple[FloatArray, FloatArray, list[str]]) -> None:
    """A style of the clinicians widens the interval; the same seed gives the same; few clinicians give none."""
    p, c, keys = dyads
    _, codes = np.unique(keys, return_inverse=True)
    styled = c + 1.5 * np.random.default_rng(4).standard_normal(50)[codes, None]

    def run(clinicians: Any) -> RoleInvariance:
        return assess_role_invariance(
            p[:, 3:],
            styled[:, 3:],
            {"G": ITEMS[3:]},
            item_codes=ITEMS[3:],
            estimator="ML",
            clinicians=clinicians,
            n_draws=25,
            rng=np.random.default_rng(1),
        )

    first, again = run(keys).gaps[0], run(keys).gaps[0]
    assert first == again
    alone = assess_role_invariance(
        p[:, 3:], styled[:, 3:], {"G": ITEMS[3:]}, item_codes=ITEMS[3:], estimator="ML"
    ).gaps[0]
    assert (first.interval_method, alone.interval_method) == ("resampling clinicians", "standard error")
    assert first.mean_gap == pytest.approx(alone.mean_gap)
    assert first.mean_gap_se > 1.5 * alone.mean_gap_se
    assert first.mean_gap_ci_lower < first.mean_gap < first.mean_gap_ci_upper
    few = run([int(code) % 15 for code in codes])
    assert np.isnan([few.gaps[0].mean_gap_se, few.gaps[0].mean_gap_ci_lower]).all()
    assert few.gaps[0].interval_method == "none"
    assert any("15 clinicians" in note for note in few.notes)


def test_the_model_of_each_step_is_written_out() -> None:
    """The clinicians' intercept, scale, variance and mean are freed in the order of Wu and Estabrook."""
    thresholds = {"a": 3, "b": 3}
    loads = write_role_model({"f": ["a", "b"]}, level="loadings", thresholds=thresholds).splitlines()
    for line in ("c.f =~ NA*c.a + l.a*c.a + NA*c.b + l.b*c.b", "c.f ~~ NA*c.f", "c.f ~ 0*1", "c.a ~ NA*1"):
        assert line in loads
    assert "c.a ~*~ NA*c.a" in loads
    assert "p.a ~*~ 1*p.a" in loads
    assert "p.a ~~ c.a" in loads
    partly = write_role_model(
        {"f": ["a", "b"]}, level="intercepts", thresholds=thresholds, released={"a": "thresholds", "b": "intercepts"}
    ).splitlines()
    for line in ("c.f ~ 0*1", "c.a | t1", "c.a ~*~ 1*c.a", "c.b | t1.b*t1", "c.b ~ NA*1"):
        assert line in partly
    means = write_role_model({"f": ["a", "b"]}, level="means", thresholds={}).splitlines()
    for line in ("c.f ~ 0*1", "p.a ~ n.a*1", "c.a ~ n.a*1", "c.a ~~ e.a*c.a"):
        assert line in means


RNG = np.random.default_rng(0)
FIVE = RNG.integers(1, 6, (60, 3)).astype(float)
A = ["a", "b", "c"]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: assess_role_invariance(FIVE, FIVE, {}, item_codes=A), "requires a factor"),
        (lambda: assess_role_invariance(FIVE, FIVE, {"f": ["a"]}, item_codes=A), "f has 1"),
        (lambda: assess_role_invariance(FIVE, FIVE, {"f": ["a", "z"]}, item_codes=A), "'z' of f is not"),
        (
            lambda: assess_role_invariance(FIVE, FIVE, {"f": ["a", "b"], "g": ["b", "c"]}, item_codes=A),
            "b is in f and g",
        ),
        (lambda: assess_role_invariance(FIVE, FIVE, {"f g": ["a", "b"]}, item_codes=A), "got 'f g'"),
        (lambda: assess_role_invariance(FIVE, FIVE[:5], {"f": A}, item_codes=A), "same dyads and columns"),
        (lambda: assess_role_invariance(FIVE, FIVE * np.nan, {"f": A}, item_codes=A), "requires both roles"),
        (lambda: assess_role_invariance(FIVE, np.minimum(FIVE, 4), {"f": A}, item_codes=A), "same categories"),
        (
            lambda: assess_role_invariance(FIVE > 3, FIVE > 3, {"f": A}, item_codes=A),
            "three categories or more; a has 2",
        ),
        (
            lambda: assess_role_invariance(FIVE, FIVE, {"f": A}, item_codes=A, estimator="DWLS"),  # type: ignore[arg-type]
            "WLSMV, ML or MLR",
        ),
        (lambda: assess_role_invariance(FIVE, FIVE, {"f": A}, item_codes=A, n_draws=50), "random generator"),
        (
            lambda: assess_role_invariance(FIVE, FIVE * [1, np.nan, 1], {"f": A}, item_codes=A),
            "the clinicians gave none to b",
        ),
        (
            lambda: assess_role_invariance(FIVE * [1, 0, 1], FIVE, {"f": A}, item_codes=A),
            r"constant .*: b \(patients\)",
        ),
        (
            lambda: assess_role_invariance(FIVE[:, [0, 0, 2]], FIVE, {"f": A}, item_codes=A),
            "patients' a and b are answered alike",
        ),
    ],
)
def test_unusable_input_is_named(call: Callable[[], object], message: str) -> None:
    """Each message says what is required and what came."""
    with pytest.raises(AnalysisInputError, match=message):
        call()


def test_the_command_pairs_two_files(
    dyads: tuple[FloatArray, FloatArray, list[str]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    r_roles: dict[str, Any],
) -> None:
    """`role-invariance` on two files in different orders: steps, verdicts, and what nesting costs."""
    p, c, keys = dyads
    for name, values, order in (("p.csv", p, range(400)), ("c.csv", c, range(399, -1, -1))):
        lines = ["dyad,cl," + ",".join(ITEMS)]
        lines += [f"D{k},{keys[k]}," + ",".join(f"{value:g}" for value in values[k]) for k in order]
        (tmp_path / name).write_text("\n".join(lines))
    call = ["role-invariance", str(tmp_path / "p.csv"), str(tmp_path / "c.csv"), "--key", "dyad"]
    call += ["--scales", "F=x1,x2,x3;G=x4,x5,x6", "--estimator", "MLR"]
    assert main([*call, "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    expected = r_roles["linear"]["configural"]["chisq.scaled"]
    assert data["levels"]["configural"]["fit"]["chisq_scaled"] == pytest.approx(expected, rel=1e-4)
    assert data["gaps"]["F"]["failing"] == ["x2"]
    assert (data["n_used"], data["converged"], data["admissible"]) == (400, True, True)
    assert main([*call, "--cluster", "cl"]) == 0
    text = capsys.readouterr().out
    for words in ("step by step (MLR, 400 dyads)", "Which gaps may be shown", "What nesting in clinicians costs", "x2"):
        assert words in text
