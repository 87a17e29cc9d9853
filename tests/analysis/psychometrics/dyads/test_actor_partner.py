"""The actor-partner model of patient and clinician, as functions and on the command line."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from analysis.psychometrics.command_line.main import main
from analysis.psychometrics.dyads.actor_partner import ActorPartnerModel, fit_actor_partner
from analysis.psychometrics.errors import AnalysisInputError

FloatArray = npt.NDArray[np.float64]
REFERENCE = Path(__file__).resolve().parents[3] / "reference" / "apim"
NAMES = ("AP", "AC", "BP", "BC")


@pytest.fixture(scope="module")
def r_apim() -> dict[str, Any]:
    """What lavaan and nlme computed; see tests/reference/apim/README.md."""
    return json.loads((REFERENCE / "apim.json").read_text())


@pytest.fixture(scope="module")
def dyads() -> dict[str, Any]:
    """The reference dyads: predictors, outcomes, clinicians."""
    with (REFERENCE / "apim.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    scores = np.array([[float(row[name]) for name in NAMES] for row in rows])
    return {"x": scores[:, :2], "y": scores[:, 2:], "cl": np.array([row["cl"] for row in rows])}


@pytest.fixture(scope="module")
def model(dyads: dict[str, Any]) -> ActorPartnerModel:
    """The model of the reference dyads."""
    return fit(dyads["x"], dyads["y"], dyads["cl"], names=NAMES)


def fit(x: FloatArray, y: FloatArray, clinicians: Any, *, seed: int = 1, **options: Any) -> ActorPartnerModel:
    """The model with few draws."""
    options = {"n_draws": 400, **options}
    return fit_actor_partner(x, y, clinicians=clinicians, rng=np.random.default_rng(seed), **options)


def test_paths_covariances_and_intercepts_as_in_lavaan(model: ActorPartnerModel, r_apim: dict[str, Any]) -> None:
    """sem() with saturated means; lavaan stops within 1e-7 of the closed form, except variances (2e-6 of 57)."""
    assert len(model.parameters) == 9
    for parameter in model.parameters:
        (expected,) = [
            row
            for row in r_apim["ml"]
            if (row["lhs"], row["op"], row["rhs"]) == (parameter.lhs, parameter.op, parameter.rhs)
        ]
        for ours, theirs in (
            ("est", "est"),
            ("se", "se"),
            ("z", "z"),
            ("pvalue", "pvalue"),
            ("ci_lower", "ci.lower"),
            ("ci_upper", "ci.upper"),
            ("std_all", "std.all"),
        ):
            assert getattr(parameter, ours) == pytest.approx(expected[theirs], abs=3e-6), (parameter.label, ours)
    assert model.log_likelihood == pytest.approx(r_apim["logl"], abs=1e-8)
    assert model.aic == pytest.approx(r_apim["aic"], abs=1e-6)
    assert model.bic == pytest.approx(r_apim["bic"], abs=1e-6)
    labels = [parameter.label for parameter in model.parameters]
    assert labels[:4] == ["actor_patient", "partner_patient", "actor_clinician", "partner_clinician"]
    assert (model.n_used, model.n_dropped, model.n_clinicians, model.n_draws) == (366, 0, 40, 400)
    variances = [parameter.std_all for parameter in model.parameters if parameter.label == "residual_variance"]
    np.testing.assert_allclose(model.r_squared, 1 - np.array(variances), rtol=1e-12)


def test_k_ratios_as_in_lavaan_with_intervals_from_clinicians(model: ActorPartnerModel, r_apim: dict[str, Any]) -> None:
    """`k := partner / actor` with its delta error; the bootstrap interval holds the estimate."""
    for ratio, name in zip(model.k_ratios, ("kP", "kC"), strict=True):
        (expected,) = [row for row in r_apim["ml"] if row["lhs"] == name]
        assert ratio.estimate == pytest.approx(expected["est"], abs=1e-7)
        assert ratio.se == pytest.approx(expected["se"], abs=1e-7)
        assert ratio.ci_lower < ratio.estimate < ratio.ci_upper
        assert ratio.interval_method == "bootstrap percentile"
        assert ratio.pattern == "actor only"
    assert (model.path_ci_lower < model.path_estimate).all()
    assert (model.path_estimate < model.path_ci_upper).all()
    assert model.path_names[1] == "partner of the patient"
    assert model.wild == ()


def test_distinguishability_as_in_lavaan(model: ActorPartnerModel, r_apim: dict[str, Any]) -> None:
    """Constrained models against the saturated one: chi-square within 1e-5 of lavaan's optimiser."""
    expected = [r_apim["equal"][name] for name in ("actor", "partner", "both")] + [r_apim["isat"]]
    for test, row in zip(model.distinguishability, expected, strict=True):
        assert test.chisq == pytest.approx(row["chisq"], abs=1e-5), test.name
        assert test.df == row["df"]
        assert test.pvalue == pytest.approx(row.get("p", row.get("pvalue")), abs=1e-7)
    assert model.distinguishability_robust.pvalue < 0.001
    assert model.distinguishability_robust.df_numerator == 6
    assert model.equal_paths_robust.df_numerator == 2
    assert model.equal_paths_robust.pvalue > 0.05


def test_cr2_and_random_intercepts_carry_the_same_paths(model: ActorPartnerModel, r_apim: dict[str, Any]) -> None:
    """The CR2 paths are the ML ones; the random-intercept paths are nlme's (2e-5: nlme's stopping)."""
    np.testing.assert_allclose(model.robust.estimate[[1, 2, 5, 4]], model.path_estimate, rtol=1e-9)
    assert model.robust.kind == "CR2"
    mixed = model.random_intercepts
    assert mixed is not None
    expected = r_apim["mixed"]["fixed"]
    np.testing.assert_allclose(
        mixed.estimate[[1, 2, 4, 5]],
        [expected[name] for name in ("roleP:AP", "roleP:AC", "roleC:AP", "roleC:AC")],
        atol=2e-5,
    )


def test_the_split_tells_style_from_discernment() -> None:
    """A path planted between clinicians only: found between, absent within, and the difference is significant."""
    rng = np.random.default_rng(12)
    clinicians = np.repeat(np.arange(60), 8)
    style = rng.standard_normal(60)[clinicians]
    x = np.column_stack([rng.standard_normal(480), style + rng.standard_normal(480)])
    y = np.column_stack([0.5 * x[:, 0] + 0.6 * style, x[:, 1]]) + rng.standard_normal((480, 2))
    split = fit(x, y, clinicians).split
    assert split is not None
    assert split.partner_within == pytest.approx(0, abs=0.15)  # three standard errors of .05
    assert split.partner_between > 0.3
    assert split.difference == pytest.approx(split.partner_between - split.partner_within)
    assert split.difference_pvalue < 0.01
    assert split.regression.names[2] == "B_P: A_C within clinician"
    assert split.notes == ()


def test_the_bootstrap_refits_resampled_clinicians(dyads: dict[str, Any]) -> None:
    """The slow obvious twin of the sums: one resample refitted from its rows gives the same paths and ratios."""
    heard: list[float] = []
    first = fit(dyads["x"], dyads["y"], dyads["cl"], n_draws=20, progress=lambda share, _text: heard.append(share))
    assert heard[-1] == 1.0
    rng = np.random.default_rng(1)
    seed = int(rng.integers(2**62))
    part_rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(0,)))
    counts = part_rng.multinomial(40, np.full(40, 1 / 40), size=20)
    labels, codes = np.unique(dyads["cl"], return_inverse=True)
    assert len(labels) == 40
    slow = []
    for draw in counts:
        rows = np.concatenate([np.tile(np.flatnonzero(codes == g), draw[g]) for g in range(40)])
        design = np.column_stack([np.ones(len(rows)), dyads["x"][rows]])
        slopes = np.linalg.lstsq(design, dyads["y"][rows], rcond=None)[0]
        slow.append([slopes[2, 0] / slopes[1, 0], slopes[1, 1] / slopes[2, 1]])
    lower, upper = np.quantile(slow, [0.025, 0.975], axis=0)
    np.testing.assert_allclose([k.ci_lower for k in first.k_ratios], lower, rtol=1e-8)
    np.testing.assert_allclose([k.ci_upper for k in first.k_ratios], upper, rtol=1e-8)


def test_roles_that_are_alike_in_law_cannot_be_told_apart() -> None:
    """Members drawn from one law: about one p in twenty below .05 in 40 studies (up to 6 allowed: 3 SE)."""
    rng = np.random.default_rng(30)
    rejected = np.zeros(2)
    for _ in range(40):
        x = rng.multivariate_normal([0, 0], [[1, 0.3], [0.3, 1]], 100)
        y = x @ [[0.5, 0.2], [0.2, 0.5]] + rng.multivariate_normal([0, 0], [[1, 0.2], [0.2, 1]], 100)
        result = fit(x, y, None, n_draws=20)
        rejected += [result.distinguishability[3].pvalue < 0.05, result.distinguishability_robust.pvalue < 0.05]
    assert (rejected <= 6).all()


def test_between_ten_and_nineteen_clinicians_fieller_replaces_the_bootstrap() -> None:
    """No resampling, no maximum likelihood z tests; CR2 and an interval of k from it remain."""
    rng = np.random.default_rng(5)
    clinicians = np.repeat(np.arange(14), 12)
    x = rng.standard_normal((168, 2))
    y = x @ [[0.6, 0.1], [0.3, 0.5]] + rng.standard_normal((14, 2))[clinicians] + rng.standard_normal((168, 2))
    model = fit(x, y, clinicians)
    assert model.n_draws == 0
    assert np.isnan([parameter.pvalue for parameter in model.parameters]).all()
    assert np.isnan([test.pvalue for test in model.distinguishability]).all()
    assert np.isfinite([parameter.est for parameter in model.parameters]).all()
    assert np.isfinite(model.robust.pvalue).all()
    assert [k.interval_method for k in model.k_ratios] == ["Fieller with CR2"] * 2
    k = model.k_ratios[0]
    assert k.ci_lower < k.estimate < k.ci_upper
    assert any("withheld" in note for note in model.notes)
    assert [path.name for path in model.wild] == list(model.path_names)
    for path, estimate in zip(model.wild, model.path_estimate, strict=True):
        assert 0 < path.pvalue <= 1
        assert path.ci_lower < estimate < path.ci_upper
    assert model.wild[0].pvalue < 0.05


def test_below_ten_clinicians_only_estimates_stand() -> None:
    """Paths, ratios and chi-squares without errors, intervals and p values."""
    rng = np.random.default_rng(5)
    clinicians = np.repeat(np.arange(6), 12)
    x = rng.standard_normal((72, 2))
    model = fit(x, x + rng.standard_normal((72, 2)), clinicians)
    assert np.isnan([parameter.se for parameter in model.parameters]).all()
    assert np.isnan(model.robust.pvalue).all()
    assert np.isnan([model.equal_paths_robust.pvalue, model.distinguishability_robust.pvalue]).all()
    assert [k.interval_method for k in model.k_ratios] == ["none", "none"]
    assert model.k_ratios[0].pattern == "undecided: no interval"
    assert np.isfinite(model.k_ratios[0].estimate)


def test_a_weak_actor_path_is_pointed_out() -> None:
    """k divides by nearly nothing: the estimate comes with that note."""
    rng = np.random.default_rng(9)
    x = rng.standard_normal((300, 2))
    y = np.column_stack([0.5 * x[:, 1], x[:, 1]]) + rng.standard_normal((300, 2))
    model = fit(x, y, np.repeat(np.arange(30), 10))
    assert any("divides by nearly nothing" in note for note in model.k_ratios[0].notes)


def test_one_patient_per_clinician_and_constant_style_are_explained(dyads: dict[str, Any]) -> None:
    """No split and no random intercepts where the data hold none; the rest stands."""
    x, y = dyads["x"][:60], dyads["y"][:60]
    independent = fit(x, y, None)
    assert independent.random_intercepts is None
    assert independent.split is None
    assert any("independent" in note for note in independent.notes)
    keys = np.repeat(np.arange(20), 3)
    style = x.copy()
    style[:, 1] = np.repeat(x[:20, 1], 3)
    constant = fit(style, y, keys)
    assert constant.split is None
    assert any("does not vary within clinicians" in note for note in constant.notes)
    single = fit(x, y, np.append(keys[:-1], 99))
    assert any("1 clinician(s) have one dyad" in note for note in single.notes)


def test_rows_with_a_gap_are_left_out_and_counted(dyads: dict[str, Any]) -> None:
    """A dyad that lacks one of the four scores is dropped, as if it had not been there; row order is free."""
    y = dyads["y"].copy()
    y[4, 1] = np.nan
    order = np.random.default_rng(2).permutation(len(y))
    gap = fit(dyads["x"][order], y[order], dyads["cl"][order])
    kept = np.arange(len(y)) != 4
    without = fit(dyads["x"][kept], y[kept], dyads["cl"][kept])
    assert (gap.n_used, gap.n_dropped) == (365, 1)
    np.testing.assert_allclose(gap.path_estimate, without.path_estimate, rtol=1e-9)
    np.testing.assert_allclose(gap.path_ci_upper, without.path_ci_upper, rtol=1e-9)


RNG = np.random.default_rng(1)
X, Y = RNG.standard_normal((40, 2)), RNG.standard_normal((40, 2))
HALF = np.column_stack([X[:, 0], np.full(40, np.nan)])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: fit(X[:, 0], Y, None), "two columns, the patient's and the clinician's"),
        (lambda: fit(np.array([["a", "b"]]), Y, None), "requires numbers as predictors"),
        (lambda: fit(X, Y[:9], None), "one row per dyad"),
        (lambda: fit(X, Y, None, names=("a", "b")), "four names"),
        (lambda: fit(X, HALF, None, names=NAMES), "BC has no value at all"),
        (lambda: fit(X[:8], Y[:8], None), "at least 10 dyads"),
        (lambda: fit(X * [0, 1], Y, None, names=NAMES), "AP is the same for all 40 dyads"),
        (lambda: fit(X[:, [0, 0]], Y, None, names=NAMES), "two different predictors; AP and AC correlate perfectly"),
        (lambda: fit(X, Y[:, [0, 0]], None, names=NAMES), "two different outcomes; BP and BC correlate perfectly"),
        (lambda: fit(X, Y, np.arange(7)), "got 7 keys for 40 rows"),
    ],
)
def test_unusable_input_is_named(call: Callable[[], object], message: str) -> None:
    """Each message says what is required and what came."""
    with pytest.raises(AnalysisInputError, match=message):
        call()


def test_the_command_prints_the_model(capsys: pytest.CaptureFixture[str], r_apim: dict[str, Any]) -> None:
    """`apim` on the reference file: lavaan's words in the JSON, tables for people."""
    call = ["apim", str(REFERENCE / "apim.csv"), "--predictor", "AP,AC", "--outcome", "BP,BC", "--cluster", "cl"]
    assert main([*call, "--key", "dy", "--draws", "100", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    first = data["parameters"][0]
    assert (first["lhs"], first["op"], first["rhs"]) == ("BP", "~", "AP")
    assert first["est"] == pytest.approx(r_apim["ml"][0]["est"], abs=1e-6)
    assert data["fit"]["logl"] == pytest.approx(r_apim["logl"])
    assert (data["fit"]["npar"], data["fit"]["df"], first["group"]) == (9, 0, 1)
    assert data["k"]["patient"]["estimate"] == pytest.approx(0.12792, abs=1e-5)
    assert data["random_intercepts"]["logl"] == pytest.approx(r_apim["mixed"]["logLik"], abs=1e-6)
    assert data["distinguishability"][3]["chisq"] == pytest.approx(r_apim["isat"]["chisq"], abs=1e-5)
    assert {row["name"] for row in data["cr2"]} >= {"BP: AP", "BC: AC"}
    assert data["within_between"]["partner_within"] == pytest.approx(0.0397, abs=1e-4)
    assert (data["n_used"], data["n_dropped"], data["converged"], data["admissible"]) == (366, 0, True, True)
    assert data["distinguishability_cr2"]["df1"] == 6
    assert main(call) == 0
    text = capsys.readouterr().out
    for words in ("maximum likelihood", "CR2", "Can the roles be told apart", "evidence of interest", "REML"):
        assert words in text


def test_the_command_names_what_it_cannot_use(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A dyad listed twice, one column too few, an unknown column: one line each, status 2."""
    path = tmp_path / "twice.csv"
    path.write_text("dy,AP,AC,BP,BC\nD1,1,2,3,4\nD1,2,3,4,5\n")
    call = ["apim", str(path), "--predictor", "AP,AC", "--outcome", "BP,BC"]
    assert main([*call, "--key", "dy"]) == 2
    assert "lists 'D1' twice (lines 2 and 3)" in capsys.readouterr().err
    assert main(["apim", str(path), "--predictor", "AP", "--outcome", "BP,BC"]) == 2
    assert "--predictor requires two columns" in capsys.readouterr().err
    assert main(["apim", str(path), "--predictor", "AP,AX", "--outcome", "BP,BC"]) == 2
    assert "no column 'AX'" in capsys.readouterr().err
