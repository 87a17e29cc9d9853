"""Bias and limits of agreement, plain, nested in clinicians and depending on the level."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from analysis.psychometrics.dyads.bland_altman import bland_altman
from analysis.psychometrics.errors import AnalysisInputError

FloatArray = npt.NDArray[np.float64]
REFERENCE = Path(__file__).parents[3] / "reference" / "dyads"


@pytest.fixture(scope="module")
def from_r() -> dict[str, Any]:
    """What lm and lme4 compute from owm.csv."""
    figures: dict[str, Any] = json.loads((REFERENCE / "agreement.json").read_text())["bland_altman"]
    return figures


@pytest.fixture(scope="module")
def owm() -> FloatArray:
    """Clinician, patient's score, clinician's score."""
    table = np.genfromtxt(REFERENCE / "owm.csv", delimiter=",", skip_header=1, usecols=(0, 2, 3))
    return np.asarray(table, dtype=np.float64)


def test_plain_limits_and_lines_match_r(owm: FloatArray, from_r: dict[str, Any]) -> None:
    """Mean, SD and both regressions as R's mean, sd and lm (formulas only: 1e-8)."""
    result = bland_altman(owm[:, 1], owm[:, 2])
    assert result.bias.estimate[0] == pytest.approx(from_r["bias"], abs=1e-8)
    assert result.sd[0] == pytest.approx(from_r["sd"], abs=1e-8)
    assert result.loa_lower.estimate[0] == pytest.approx(from_r["bias"] - 1.96 * from_r["sd"], abs=1e-8)
    assert result.loa_upper.estimate[0] == pytest.approx(from_r["bias"] + 1.96 * from_r["sd"], abs=1e-8)
    level, spread = np.array(from_r["level"]), np.array(from_r["spread"])
    assert result.level_intercept[0] == pytest.approx(level[0, 0], abs=1e-8)
    assert result.spread_intercept[0] == pytest.approx(spread[0, 0], abs=1e-8)
    for slope, p_value, expected in (
        (result.level_slope, result.level_slope_pvalue, level[1]),
        (result.spread_slope, result.spread_slope_pvalue, spread[1]),
    ):
        assert slope.estimate[0] == pytest.approx(expected[0], abs=1e-8)
        assert slope.se[0] == pytest.approx(expected[1], abs=1e-8)
        assert p_value[0] == pytest.approx(expected[2], abs=1e-8)
    assert result.bias_depends_on_level[0]
    assert not result.spread_depends_on_level[0]
    assert result.n_clinicians is None
    assert np.isnan(result.sd_between[0])


def test_nested_variance_matches_lme4(owm: FloatArray, from_r: dict[str, Any]) -> None:
    """σ of the differences between and within clinicians as lmer's REML (its optimiser: 1e-5)."""
    result = bland_altman(
        owm[:, 1], owm[:, 2], clinicians=owm[:, 0].astype(int), rng=np.random.default_rng(2), n_draws=400
    )
    assert result.sd_between[0] == pytest.approx(from_r["between_sd"], abs=1e-5)
    assert result.sd_within[0] == pytest.approx(from_r["within_sd"], abs=1e-5)
    total = np.hypot(from_r["between_sd"], from_r["within_sd"])
    assert result.sd[0] == pytest.approx(total, abs=1e-5)
    assert result.loa_upper.estimate[0] == pytest.approx(from_r["bias"] + 1.96 * total, abs=1e-4)
    assert result.loa_upper.ci_lower[0] < result.loa_upper.estimate[0] < result.loa_upper.ci_upper[0]
    assert result.bias.method == "bootstrap of clinicians, percentile"
    assert result.n_clinicians == 40
    assert np.isnan(result.level_slope_pvalue[0])
    # Clinicians differ in bias, so its interval is wider than that of as many independent dyads.
    assert result.bias.se[0] > 1.2 * bland_altman(owm[:, 1], owm[:, 2]).bias.se[0]


def test_intervals_of_independent_limits_follow_the_formula() -> None:
    """SE of a limit = SD·√(1/N + 1.96²/(2(N−1))), Student's t with N − 1; 2.228139 is its .975 quantile at 10."""
    patient = np.arange(11.0)
    clinician = patient + np.array([1, -1, 2, 0, 0, 3, -2, 1, 0, 1, -1])
    result = bland_altman(patient, clinician)
    sd = (clinician - patient).std(ddof=1)
    assert result.bias.se[0] == pytest.approx(sd / 11**0.5)
    assert result.loa_lower.se[0] == pytest.approx(sd * (1 / 11 + 1.96**2 / 20) ** 0.5)
    assert result.loa_lower.ci_lower[0] == pytest.approx(
        result.loa_lower.estimate[0] - 2.2281388520 * result.loa_lower.se[0]
    )


def test_a_spread_that_grows_with_the_level_gives_limits_at_a_level() -> None:
    """Planted bias 0.2·m and SD 0.1·m are found again at every level (2000 dyads: within 6 %)."""
    rng = np.random.default_rng(11)
    level = rng.uniform(20, 100, 2000)
    difference = 0.2 * level + 0.1 * level * rng.normal(size=2000)
    result = bland_altman(level - difference / 2, level + difference / 2)
    assert result.bias_depends_on_level[0]
    assert result.spread_depends_on_level[0]
    for at in (30.0, 60.0, 90.0):
        bias, lower, upper = result.limits_at(at)
        assert bias[0] == pytest.approx(0.2 * at, rel=0.06)
        assert (upper - lower)[0] / (2 * 1.96) == pytest.approx(0.1 * at, rel=0.06)
    assert any("read the limits at a level" in note for note in result.notes)


def test_a_constant_spread_keeps_its_limits_parallel() -> None:
    """Where the spread does not depend on the level, the residual SD is used at every level."""
    rng = np.random.default_rng(13)
    patient = rng.normal(50, 10, 400)
    result = bland_altman(patient, patient + rng.normal(3, 5, 400))
    assert not result.spread_depends_on_level[0]
    _, lower, upper = result.limits_at(40.0)
    assert (upper - lower)[0] == pytest.approx(2 * 1.96 * result.residual_sd[0])
    assert result.multiplier == 1.96
    assert result.confidence == 0.95


def test_shifting_and_swapping_roles() -> None:
    """Adding a constant to the clinicians moves bias and limits by it; swapping the roles turns them round."""
    rng = np.random.default_rng(17)
    patient, clinician = rng.normal(size=(2, 80))
    first, moved, swapped = (
        bland_altman(patient, clinician),
        bland_altman(patient, clinician + 7),
        bland_altman(clinician, patient),
    )
    assert moved.bias.estimate[0] == pytest.approx(first.bias.estimate[0] + 7)
    assert moved.loa_lower.estimate[0] == pytest.approx(first.loa_lower.estimate[0] + 7)
    assert swapped.loa_lower.estimate[0] == pytest.approx(-first.loa_upper.estimate[0])
    assert swapped.level_slope.estimate[0] == pytest.approx(-first.level_slope.estimate[0])


def test_what_cannot_be_had_is_named() -> None:
    """One patient a clinician, too few dyads, no variance between clinicians: said; the rest stands."""
    rng = np.random.default_rng(19)
    patient, clinician = rng.normal(size=(2, 60, 3))
    clinician[:, 1] = patient[:, 1]
    patient[2:, 2] = np.nan
    singles = bland_altman(patient, clinician, names=["a", "b", "c"], clinicians=np.arange(60), rng=rng, n_draws=100)
    assert np.isnan(singles.sd_between).all()
    assert singles.sd[0] == pytest.approx((clinician[:, 0] - patient[:, 0]).std(ddof=1))
    assert singles.loa_upper.ci_lower[0] < singles.loa_upper.estimate[0] < singles.loa_upper.ci_upper[0]
    assert np.isnan(singles.bias.estimate[2])
    assert singles.bias.estimate[1] == 0
    assert any("one patient" in note for note in singles.notes)
    assert any("fewer than 3 dyads" in note and "c (2)" in note for note in singles.notes)
    # Within each clinician the differences cancel, so there is none between clinicians.
    cancelling = bland_altman(
        np.zeros(60), np.tile([1.0, -1.0], 30), clinicians=np.repeat(np.arange(30), 2), rng=rng, n_draws=100
    )
    assert cancelling.sd_between[0] == 0
    assert any("between clinicians beyond chance" in note for note in cancelling.notes)
    few = bland_altman(patient[:, 0], clinician[:, 0], clinicians=np.repeat(np.arange(6), 10), rng=rng)
    assert np.isnan(few.bias.ci_lower[0])
    assert not few.bias_depends_on_level[0]
    assert any("too few clinicians to say" in note for note in few.notes)


def test_missing_values_drop_their_dyad_only_from_their_column() -> None:
    """Each column is what it would be alone on its complete dyads."""
    rng = np.random.default_rng(23)
    patient, clinician = rng.normal(size=(2, 50, 2))
    patient[:10, 0] = np.nan
    result = bland_altman(patient, clinician)
    alone = bland_altman(patient[10:, 0], clinician[10:, 0])
    assert result.n_used.tolist() == [40, 50]
    assert result.n_dropped.tolist() == [10, 0]
    assert result.sd[0] == pytest.approx(alone.sd[0])
    assert result.level_slope.se[0] == pytest.approx(alone.level_slope.se[0])


def test_a_generator_is_required_with_clinicians() -> None:
    """Resampling without a seed is refused."""
    with pytest.raises(AnalysisInputError, match="random generator"):
        bland_altman(np.arange(5.0), np.arange(5.0), clinicians=[1, 1, 2, 2, 3])
