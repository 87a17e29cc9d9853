"""Dynamic cut-offs against a script on lavaan, the authors' published example, and the ordinary fit."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from analysis.psychometrics.command_line.main import main
from analysis.psychometrics.errors import AnalysisInputError
from analysis.psychometrics.sem import ModelFit, Moments, fit_model
from analysis.psychometrics.sem.many_fits import ManyFits
from analysis.psychometrics.structure.dynamic_cutoffs import (
    combine_cutoffs,
    dynamic_cutoffs,
    measurement_structure,
    misspecification_levels,
    plan_cutoffs,
    simulate_cutoff_part,
)

FloatArray = npt.NDArray[np.float64]
REFERENCE = Path(__file__).resolve().parents[3] / "reference"
THREE_FACTORS = "visual =~ x1 + x2 + x3\ntextual =~ x4 + x5 + x6\nspeed =~ x7 + x8 + x9"
NINE = [f"x{item}" for item in range(1, 10)]
SIX_LOADINGS = np.array([0.602, 0.805, 0.857, 0.631, 0.345, 0.646])
SIX = [f"Y{item}" for item in range(1, 7)]


@pytest.fixture(scope="module")
def lavaan_script() -> dict[str, Any]:
    """What tests/reference/dynamic_cutoffs/make.R simulates."""
    return json.loads((REFERENCE / "dynamic_cutoffs" / "dynamic_cutoffs.json").read_text())


@pytest.fixture(scope="module")
def three_factors(hs1939: FloatArray) -> ModelFit:
    """Holzinger and Swineford's nine tests."""
    return fit_model(THREE_FACTORS, hs1939, item_codes=NINE)


def one_factor(loadings: Sequence[float] | FloatArray, n: int = 500, model: str | None = None) -> ModelFit:
    """A one-factor model that fits perfectly."""
    weights = np.asarray(loadings)
    covariance = np.outer(weights, weights)
    np.fill_diagonal(covariance, 1.0)
    names = [f"Y{item + 1}" for item in range(len(weights))]
    return fit_model(
        model or f"F =~ {' + '.join(names)}", moments=Moments(covariance=covariance, n=n), item_codes=names
    )


def test_cross_loadings_as_by_hand_in_r(three_factors: ModelFit, lavaan_script: dict[str, Any]) -> None:
    """The weakest items of visual and speed load on textual, the most reliable factor; sizes and truth within 1e-5."""
    structure = measurement_structure(three_factors)
    levels = misspecification_levels(structure)
    assert [(path.lhs, path.op, path.rhs) for path in levels[1]] == [("textual", "=~", "x2"), ("textual", "=~", "x7")]
    assert levels[0] == levels[1][:1]
    np.testing.assert_allclose([path.value for path in levels[1]], lavaan_script["three"]["cross_loadings"], atol=1e-5)
    design, _ = plan_cutoffs(three_factors, n_draws=20, seed=1)
    np.testing.assert_allclose(design.truths[2], lavaan_script["three"]["implied_level2"], atol=1e-5)
    np.testing.assert_allclose(design.truths[0], three_factors_implied(three_factors), atol=1e-10)
    assert (design.n, len(design.truths)) == (301, 3)


def three_factors_implied(fit: ModelFit) -> FloatArray:
    """The implied correlations by way of the fitted covariances."""
    sigma = fit.states[0].sigma
    spread = np.sqrt(np.diag(sigma))
    return np.asarray(sigma / np.outer(spread, spread))


def assert_quantiles(draws: FloatArray, figures: dict[str, list[float]], *, slack: float) -> None:
    """Five quantiles of each index lie within `slack` standard deviations of the index (both sides are simulated)."""
    for place, index in enumerate(("srmr", "rmsea", "cfi")):
        own = np.quantile(draws[:, place], [0.05, 0.10, 0.5, 0.90, 0.95])
        np.testing.assert_allclose(own, figures[index], atol=slack * draws[:, place].std(), err_msg=index)


def test_three_factors_as_simulated_by_lavaan(three_factors: ModelFit, lavaan_script: dict[str, Any]) -> None:
    """500 data sets on both sides: a difference of 5 % quantiles has a standard error of .13 SD; allow .45."""
    result = dynamic_cutoffs(three_factors, rng=np.random.default_rng(1), n_draws=500)
    for level in range(3):
        assert_quantiles(result.draws[level], lavaan_script["three"][f"level{level}"], slack=0.45)
    assert result.observed["srmr"] == pytest.approx(three_factors.fit["srmr"], abs=1e-12)
    assert result.observed["rmsea"] == pytest.approx(three_factors.fit["rmsea"], abs=1e-12)
    assert result.better_than_level_1 == {"srmr": False, "rmsea": False, "cfi": False}
    assert (result.n_draws, result.n_failed, result.n_used, result.n_simulated) == (500, 0, 301, 301)
    # The authors' own page on these data: SRMR .040, RMSEA .044, CFI .984 (to their three decimals and 500 draws).
    assert result.levels[0].cutoff["srmr"] == pytest.approx(0.040, abs=0.002)
    assert result.levels[0].cutoff["rmsea"] == pytest.approx(0.044, abs=0.004)
    assert result.levels[0].cutoff["cfi"] == pytest.approx(0.984, abs=0.003)
    assert result.levels[1].rule == {"srmr": "95/5", "rmsea": "95/5", "cfi": "95/5"}


def test_one_factor_as_simulated_by_lavaan(lavaan_script: dict[str, Any]) -> None:
    """Residual correlations of .3 between neighbours by loading, for one, two and three pairs."""
    fit = one_factor(SIX_LOADINGS)
    pairs = [{path.lhs, path.rhs} for path in misspecification_levels(measurement_structure(fit))[2]]
    assert pairs == [{f"Y{first}", f"Y{second}"} for first, second in lavaan_script["one"]["pairs"]]
    result = dynamic_cutoffs(fit, rng=np.random.default_rng(2), n_draws=500)
    assert [len(level.added) for level in result.levels] == [1, 2, 3]
    assert all(path.value == 0.3 for path in result.levels[2].added)
    for level in range(4):
        assert_quantiles(result.draws[level], lavaan_script["one"][f"level{level}"], slack=0.45)
    assert result.better_than_level_1 == {"srmr": True, "rmsea": True, "cfi": True}


def test_ordinal_items_as_simulated_by_lavaan(lavaan_script: dict[str, Any]) -> None:
    """WLSMV on cut items, scaled indices: 40 draws against 300 give a median within .35 SD (its error is .2)."""
    figures = lavaan_script["ordinal"]
    rng = np.random.default_rng(3)
    truth = np.outer(SIX_LOADINGS, SIX_LOADINGS)
    np.fill_diagonal(truth, 1.0)
    latent = rng.standard_normal((400, 6)) @ np.linalg.cholesky(truth).T
    answers = np.column_stack(
        [np.searchsorted(figures["cuts"][name], column) for name, column in zip(SIX, latent.T, strict=True)]
    )
    fit = fit_model(f"F =~ {' + '.join(SIX)}", answers, item_codes=SIX, estimator="WLSMV", ordered=True)
    design, parts = plan_cutoffs(fit, n_draws=40, seed=5)
    # The truth of the script instead of this sample's estimate of it, two levels only.
    cuts = tuple(np.array(figures["cuts"][name]) for name in SIX)
    exact = plan_cutoffs(one_factor(SIX_LOADINGS, 400), n_draws=40, seed=5)[0]
    short = replace(design, truths=exact.truths[:2], levels=exact.levels[:2], cuts=cuts)
    draws = np.concatenate([simulate_cutoff_part(short, part) for part in parts], axis=1)
    for level in range(2):
        for place, index in enumerate(("srmr", "rmsea", "cfi")):
            spread = draws[level, :, place].std()
            expected = figures[f"level{level}"][index][2]
            assert np.median(draws[level, :, place]) == pytest.approx(expected, abs=0.45 * spread), (level, index)
    result = combine_cutoffs(short, [draws])
    assert result.observed["cfi"] == pytest.approx(fit.fit["cfi_scaled"], abs=1e-12)
    assert result.observed["rmsea"] == pytest.approx(fit.fit["rmsea_scaled"], abs=1e-12)


@pytest.mark.parametrize(
    "model",
    [
        "f =~ a + b + c + d\ng =~ e + h + i + j\na ~~ b",
        "f =~ a + b + c\ng =~ d + e + h\nk =~ i + j + l\nG =~ f + g + k",
        "f =~ a + w*b + w*c + d + e",
    ],
    ids=["residual correlation", "second order", "equal loadings"],
)
def test_many_fits_are_what_single_fits_are(model: str) -> None:
    """The slow twin: `fit_model` on each covariance matrix, for samples that do not fit well (1e-5)."""
    rng = np.random.default_rng(4)
    names = [letter for letter in "abcdehijl" if letter in model.replace("=~", "")]
    size = len(names)
    loadings = rng.uniform(0.5, 0.8, size)
    truth = np.outer(loadings, loadings)
    np.fill_diagonal(truth, 1.0)
    strained = truth + 0.15 * (np.eye(size, k=1) + np.eye(size, k=-1))
    fit = fit_model(model, moments=Moments(covariance=truth, n=300), item_codes=names)
    order = [names.index(item) for item in fit.layouts[0].observed]
    samples = np.array(
        [np.cov(rng.multivariate_normal(np.zeros(size), strained, size=150), rowvar=False) for _ in range(12)]
    )
    own = ManyFits(fit, truth[np.ix_(order, order)], 150).indices(samples[:, order][:, :, order] * 149 / 150)
    for sample, indices in zip(samples, own, strict=True):
        single = fit_model(model, moments=Moments(covariance=sample, n=150), item_codes=names)
        np.testing.assert_allclose(indices, [single.fit[key] for key in ("srmr", "rmsea", "cfi")], atol=1e-5)


def test_a_sample_that_resists_is_fitted_carefully_or_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without quasi-Newton steps every sample goes to the ordinary fit, with the same indices."""
    fit = one_factor(SIX_LOADINGS, 200)
    rng = np.random.default_rng(5)
    truth = three_factors_implied(fit)
    samples = np.array([np.cov(rng.multivariate_normal(np.zeros(6), truth, size=200), rowvar=False, bias=True)] * 2)
    quick = ManyFits(fit, truth, 200).indices(samples)
    monkeypatch.setattr("analysis.psychometrics.sem.many_fits._MOST_STEPS", 0)
    np.testing.assert_allclose(ManyFits(fit, truth, 200).indices(samples), quick, atol=1e-5)


def test_parts_give_the_same_answer_however_they_are_shared(three_factors: ModelFit) -> None:
    """Parts simulated in any order, put together in theirs, are the whole run; the seed decides everything."""
    whole = dynamic_cutoffs(three_factors, rng=np.random.default_rng(6), n_draws=120)
    seed = int(np.random.default_rng(6).integers(2**63))
    design, parts = plan_cutoffs(three_factors, n_draws=120, seed=seed)
    assert len(parts) > 1
    backwards = [simulate_cutoff_part(design, part) for part in reversed(parts)]
    np.testing.assert_array_equal(combine_cutoffs(design, backwards[::-1]).draws, whole.draws)
    other = dynamic_cutoffs(three_factors, rng=np.random.default_rng(7), n_draws=120)
    assert not np.array_equal(other.draws, whole.draws)


def test_progress_is_reported() -> None:
    """Shares rise from nothing to one."""
    shares: list[float] = []
    dynamic_cutoffs(
        one_factor(SIX_LOADINGS),
        rng=np.random.default_rng(8),
        n_draws=120,
        progress=lambda share, text: shares.append(share) if text else None,
    )
    assert shares[0] == 0.0
    assert shares[-1] == 1.0
    assert shares == sorted(shares)


def test_rules_and_sensitivity_follow_the_quantiles() -> None:
    """Draws made by hand: clear separation, separation at 90/10 only, and none."""
    design, _ = plan_cutoffs(one_factor([0.7, 0.6, 0.8, 0.7]), n_draws=20, seed=1)
    right, wrong = np.zeros((200, 3)), np.zeros((200, 3))
    steps = np.linspace(0, 1, 200)
    right[:, 0], wrong[:, 0] = 0.02 + 0.01 * steps, 0.05 + 0.01 * steps  # apart
    right[:, 1], wrong[:, 1] = 0.05 * steps, 0.041 + 0.05 * steps  # .0475 > .0435, but .045 < .046
    right[:, 2], wrong[:, 2] = 0.95 + 0.05 * steps, 0.94 + 0.05 * steps  # overlapping
    result = combine_cutoffs(design, [np.stack([right, wrong])])
    level = result.levels[0]
    assert level.rule == {"srmr": "95/5", "rmsea": "90/10", "cfi": "none"}
    assert level.cutoff["srmr"] == pytest.approx(0.0505, abs=1e-12)
    assert level.cutoff["rmsea"] == pytest.approx(0.046, abs=1e-12)
    assert np.isnan(level.cutoff["cfi"])
    assert level.sensitivity["srmr"] == 1.0
    assert level.sensitivity["rmsea"] == pytest.approx((wrong[:, 1] >= 0.0475).mean())
    assert level.sensitivity["cfi"] == pytest.approx((wrong[:, 2] <= 0.9525).mean())
    assert level.median["cfi"] == pytest.approx(0.965)
    assert result.level_0 == pytest.approx({"srmr": 0.0295, "rmsea": 0.0475, "cfi": 0.9525})
    assert result.better_than_level_1 == {"srmr": True, "rmsea": True, "cfi": None}


def test_failed_fits_are_counted_and_said() -> None:
    """NaN draws are left out of the quantiles; more than a tenth at a level is a warning."""
    design, _ = plan_cutoffs(one_factor([0.7, 0.6, 0.8, 0.7]), n_draws=20, seed=1)
    draws = np.tile(np.linspace(0.01, 0.02, 100)[:, None], (2, 1, 3))
    draws[1, :15] = np.nan
    result = combine_cutoffs(design, [draws])
    assert result.n_failed == 15
    assert "15 of 200 simulated data sets could not be fitted" in result.notes[0]
    assert any("not to be trusted" in note for note in result.notes)


def test_robust_indices_are_compared_after_mlr(hs1939: FloatArray) -> None:
    """Simulated data are normal: the robust indices are the ones that stand for such data."""
    fit = fit_model(THREE_FACTORS, hs1939, item_codes=NINE, estimator="MLR")
    result = dynamic_cutoffs(fit, rng=np.random.default_rng(11), n_draws=20)
    assert result.observed["cfi"] == pytest.approx(fit.fit["cfi_robust"], abs=1e-12)
    assert result.observed["rmsea"] == pytest.approx(fit.fit["rmsea_robust"], abs=1e-12)
    assert result.observed["srmr"] == pytest.approx(fit.fit["srmr_bentler_nomean"], abs=1e-12)
    assert "robust RMSEA and CFI" in result.notes[0]


def test_large_samples_are_simulated_at_two_thousand() -> None:
    """As the method's authors do; said in a note."""
    result = dynamic_cutoffs(one_factor([0.7, 0.6, 0.8, 0.7], 9000), rng=np.random.default_rng(9), n_draws=20)
    assert (result.n_used, result.n_simulated) == (9000, 2000)
    assert any("of 9000" in note for note in result.notes)


def test_number_of_levels_follows_the_number_of_items() -> None:
    """Four items make one level, five two, six and more three of a third, two thirds and all pairs."""
    for n_items, counts in {4: [1], 5: [1, 2], 6: [1, 2, 3], 7: [1, 2, 3], 11: [1, 3, 5]}.items():
        structure = measurement_structure(one_factor(np.linspace(0.5, 0.8, n_items)))
        assert [len(level) for level in misspecification_levels(structure)] == counts


def test_second_order_factors_count_by_the_correlations_they_imply() -> None:
    """A second-order model with three first-order factors has the levels of the correlated one that it implies."""
    model = "a =~ x1 + x2 + x3\nb =~ x4 + x5 + x6\nc =~ x7 + x8 + x9"
    loadings = np.zeros((9, 3))
    for factor in range(3):
        loadings[3 * factor : 3 * factor + 3, factor] = [0.8, 0.7, 0.6 - 0.05 * factor]
    phi = np.array([[1, 0.56, 0.48], [0.56, 1, 0.42], [0.48, 0.42, 1]])
    covariance = loadings @ phi @ loadings.T
    np.fill_diagonal(covariance, 1.0)
    moments = Moments(covariance=covariance, n=400)
    correlated = measurement_structure(fit_model(model, moments=moments, item_codes=NINE))
    higher = measurement_structure(fit_model(f"{model}\nG =~ a + b + c", moments=moments, item_codes=NINE))
    assert higher.factors == ("a", "b", "c")
    np.testing.assert_allclose(higher.factor_correlations, correlated.factor_correlations, atol=1e-5)
    assert [p.rhs for p in misspecification_levels(higher)[1]] == [
        p.rhs for p in misspecification_levels(correlated)[1]
    ]


def test_models_without_levels_are_refused(hs1939: FloatArray, three_factors: ModelFit) -> None:
    """Saturated, short, bifactor, several groups, regressions, inadmissible, too few draws."""
    rng = np.random.default_rng(10)
    with pytest.raises(AnalysisInputError, match="degrees of freedom"):
        dynamic_cutoffs(one_factor([0.7, 0.6, 0.8]), rng=rng)
    with pytest.raises(AnalysisInputError, match=r"at least 20 draws .* got 10"):
        dynamic_cutoffs(one_factor(SIX_LOADINGS), rng=rng, n_draws=10)
    paired = one_factor([0.7, 0.6, 0.8, 0.7], model="F =~ Y1 + Y2 + Y3 + Y4\nY1 ~~ Y2")
    with pytest.raises(AnalysisInputError, match="at least four items without residual correlations; got 2"):
        dynamic_cutoffs(paired, rng=rng)
    school = ["a"] * 156 + ["b"] * 145
    with pytest.raises(AnalysisInputError, match="one group; got 2"):
        dynamic_cutoffs(fit_model(THREE_FACTORS, hs1939, item_codes=NINE, groups=school), rng=rng)
    with pytest.raises(AnalysisInputError, match="got regressions"):
        dynamic_cutoffs(fit_model(f"{THREE_FACTORS}\ntextual ~ visual", hs1939, item_codes=NINE, auto="sem"), rng=rng)
    with pytest.raises(AnalysisInputError, match="loads on its factor alone"):
        misspecification_levels(replace(measurement_structure(three_factors), loadings=np.full((9, 3), 0.4)))
    heywood = np.array([[1, 0.9, 0.8, 0.3], [0.9, 1, 0.6, 0.3], [0.8, 0.6, 1, 0.3], [0.3, 0.3, 0.3, 1.0]])
    broken = fit_model("F =~ Y1 + Y2 + Y3 + Y4", moments=Moments(covariance=heywood, n=200), item_codes=SIX[:4])
    assert not broken.admissible
    with pytest.raises(AnalysisInputError, match="admissible solution"):
        dynamic_cutoffs(broken, rng=rng)


def test_the_command_prints_keys_and_tables(capsys: pytest.CaptureFixture[str]) -> None:
    """Levels, observed indices and verdicts for programs; a table for people; the same seed, the same answer."""
    command = ["dynamic-cutoffs", str(REFERENCE / "hs1939.csv"), "--model", THREE_FACTORS, "--draws", "60"]
    assert main([*command, "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert [level["level"] for level in answer["levels"]] == [1, 2]
    assert answer["levels"][0]["added"][0]["rhs"] == "x2"
    assert set(answer["observed"]) == {"srmr", "rmsea", "cfi"}
    assert answer["observed"]["cfi"] == pytest.approx(0.931, abs=5e-4)
    assert (answer["n_draws"], answer["n_simulated"], answer["seed"], answer["converged"]) == (60, 301, 1, True)
    assert main([*command, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == answer
    assert main(command) == 0
    out = capsys.readouterr().out
    for part in ("level 2: cut-off", "textual =~ x7", "not better than level 1"):
        assert part in out
