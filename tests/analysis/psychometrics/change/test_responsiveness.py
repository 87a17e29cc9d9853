"""The area under the curve of change, and the minimal important change."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from analysis.psychometrics.change.responsiveness import (
    MinimalImportantChange,
    minimal_important_change,
    responsiveness_auc,
)
from analysis.psychometrics.errors import AnalysisInputError

FloatArray = npt.NDArray[np.float64]
REFERENCE = Path(__file__).resolve().parents[3] / "reference" / "retest"


@pytest.fixture(scope="module")
def r_retest() -> dict[str, Any]:
    """What R computed; see tests/reference/retest/README.md."""
    return json.loads((REFERENCE / "retest.json").read_text())


@pytest.fixture(scope="module")
def people() -> tuple[FloatArray, FloatArray, npt.NDArray[np.str_]]:
    """Change, better (1) or same (0) or neither (NaN), clinician."""
    with (REFERENCE / "retest.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    first, second = (
        np.array([np.nan if row[name] == "NA" else float(row[name]) for row in rows]) for name in ("first", "second")
    )
    improved = np.array([{"better": 1.0, "same": 0.0}.get(row["change"], np.nan) for row in rows])
    return second - first, improved, np.array([row["cl"] for row in rows])


def mic(change: Any, improved: Any, **options: Any) -> MinimalImportantChange:
    """The minimal important change with few draws."""
    options = {"n_draws": 200, **options}
    return minimal_important_change(change, improved, rng=np.random.default_rng(1), **options)


def test_the_area_and_its_errors_as_in_r(people: tuple[Any, ...], r_retest: dict[str, Any]) -> None:
    """wilcox.test's statistic, DeLong's and Obuchowski's variance written out in R (1e-9)."""
    change, improved, clinicians = people
    plain = responsiveness_auc(change, improved)
    assert plain.estimate == pytest.approx(r_retest["auc"], abs=1e-9)
    assert plain.se == pytest.approx(r_retest["delong"], abs=1e-9)
    assert plain.ci_lower == pytest.approx(r_retest["auc"] - 1.959964 * r_retest["delong"], abs=1e-6)
    assert plain.ci_upper == pytest.approx(r_retest["auc"] + 1.959964 * r_retest["delong"], abs=1e-6)
    assert (plain.n_improved, plain.n_not_improved) == (r_retest["n_improved"], r_retest["n_same"])
    assert plain.n_dropped == len(change) - r_retest["n_improved"] - r_retest["n_same"]
    assert (plain.interval_method, plain.confidence, plain.notes) == ("DeLong", 0.95, ())
    clustered = responsiveness_auc(change, improved, clinicians=clinicians)
    assert clustered.estimate == plain.estimate
    assert clustered.se == pytest.approx(r_retest["obuchowski"], abs=1e-9)
    assert clustered.interval_method == "Obuchowski (clinicians)"


def test_the_area_is_the_share_of_pairs() -> None:
    """The slow obvious twin: every pair compared, ties count half; turned round it is one minus that."""
    rng = np.random.default_rng(4)
    change, improved = rng.integers(-3, 4, 60).astype(float), rng.integers(0, 2, 60)
    x, y = change[improved == 1], change[improved == 0]
    pairs = (x[:, None] > y) + 0.5 * (x[:, None] == y)
    result = responsiveness_auc(change, improved)
    assert result.estimate == pytest.approx(pairs.mean())
    expected = pairs.mean(axis=1).var(ddof=1) / len(x) + pairs.mean(axis=0).var(ddof=1) / len(y)
    assert result.se == pytest.approx(np.sqrt(expected))
    assert responsiveness_auc(-change, improved).estimate == pytest.approx(1 - pairs.mean())


def test_delong_covers_the_truth() -> None:
    """Normal changes one SD apart have an area of .7602; 95 % of 200 intervals hold it (4.5 %: three SE)."""
    rng = np.random.default_rng(6)
    improved = np.repeat([1.0, 0.0], 40)
    covered = 0
    for _ in range(200):
        result = responsiveness_auc(rng.standard_normal(80) + improved, improved)
        covered += result.ci_lower < 0.7602 < result.ci_upper
    assert covered / 200 == pytest.approx(0.95, abs=0.045)


def test_small_and_separate_groups_are_commented() -> None:
    """Under thirty a group; no overlap at all; one person; few clinicians."""
    separate = responsiveness_auc([1.0, 2, 3, 11, 12, 13], [0, 0, 0, 1, 1, 1])
    assert (separate.estimate, separate.se) == (1.0, 0.0)
    assert any("30 of each" in note for note in separate.notes)
    assert any("no width" in note for note in separate.notes)
    lone = responsiveness_auc([1.0, 2, 3], [0, 0, 1])
    assert np.isnan(lone.se)
    assert lone.interval_method == "none"
    few = responsiveness_auc([1.0, 2, 3, 4], [0, 1, 0, 1], clinicians=[1, 1, 2, 2])
    assert np.isnan([few.se, few.ci_lower, few.ci_upper]).all()
    assert "described" in few.notes[1]
    rng = np.random.default_rng(1)
    one_side = responsiveness_auc(rng.standard_normal(40), np.arange(40) < 4, clinicians=np.repeat(np.arange(10), 4))
    assert np.isnan(one_side.se)  # all who improved have one clinician


def test_minimal_important_change_as_in_r(people: tuple[Any, ...], r_retest: dict[str, Any]) -> None:
    """glm's coefficients, the predicted, adjusted and improved change (1e-8: Newton's method on both sides)."""
    change, improved, clinicians = people
    result = mic(change, improved, anchor_reliability=0.6)
    assert [result.intercept, result.slope] == pytest.approx(r_retest["b"], abs=1e-8)
    assert result.correlation == pytest.approx(r_retest["correlation"], abs=1e-10)
    assert result.predicted == pytest.approx(r_retest["mic_predicted"], abs=1e-8)
    assert result.adjusted == pytest.approx(r_retest["mic_adjusted"], abs=1e-8)
    assert result.improved_adjusted == pytest.approx(r_retest["mic_improved"], abs=1e-8)
    kept = np.isfinite(change) & np.isfinite(improved)
    assert result.sd_change == pytest.approx(change[kept].std(ddof=1))
    assert result.share_improved == pytest.approx(improved[kept].mean())
    assert (result.n_used, result.n_dropped) == (kept.sum(), (~kept).sum())
    assert (result.interval_method, result.n_draws, result.confidence) == ("resampling people", 200, 0.95)
    for name in ("predicted", "adjusted", "improved_adjusted"):
        assert getattr(result, f"{name}_ci_lower") < getattr(result, name) < getattr(result, f"{name}_ci_upper")
    clustered = mic(change, improved, clinicians=clinicians)
    assert clustered.adjusted == pytest.approx(result.adjusted)
    assert clustered.interval_method == "resampling clinicians"
    assert np.isnan(clustered.improved_adjusted)


def test_the_adjusted_change_is_near_the_threshold_that_made_the_answers() -> None:
    """People say better above 6 points of true change; 30 % do: predicted is too high, adjusted within 1."""
    rng = np.random.default_rng(15)
    true = 3 + 5 * rng.standard_normal(4000)
    improved = true + 2 * rng.standard_normal(4000) > 6
    change = true + 4 * rng.standard_normal(4000)
    result = mic(change, improved)
    assert result.adjusted == pytest.approx(6, abs=1)
    assert abs(result.adjusted - 6) < abs(result.predicted - 6)


def test_origin_and_units_move_the_change_with_them() -> None:
    """Change in tenths gives ten times the figure; the share improved and the correlation stay."""
    rng = np.random.default_rng(3)
    change = rng.standard_normal(200)
    improved = change + rng.standard_normal(200) > 0.3
    plain, scaled = mic(change, improved), mic(change * 10 + 5, improved)
    assert scaled.predicted == pytest.approx(10 * plain.predicted + 5)
    assert scaled.adjusted == pytest.approx(10 * plain.adjusted + 5)
    assert scaled.slope == pytest.approx(plain.slope / 10)
    assert scaled.correlation == pytest.approx(plain.correlation)


def test_resampled_regressions_agree_with_copied_rows(people: tuple[Any, ...]) -> None:
    """The slow twin of the weighted Newton steps: rows really copied, fitted one by one."""
    change, improved, clinicians = people
    kept = np.isfinite(change) & np.isfinite(improved)
    change, improved, clinicians = change[kept], improved[kept], clinicians[kept]
    result = mic(change, improved, clinicians=clinicians, n_draws=20)
    seed = int(np.random.default_rng(1).integers(2**62))
    labels = np.unique(clinicians)
    k = len(labels)
    counts = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(0,))).multinomial(
        k, np.full(k, 1 / k), size=20
    )
    slow = []
    for draw in counts:
        rows = np.concatenate(
            [np.tile(np.flatnonzero(clinicians == label), n) for label, n in zip(labels, draw, strict=True)]
        )
        slow.append(mic(change[rows], improved[rows], n_draws=20).adjusted)
    assert result.adjusted_ci_lower == pytest.approx(np.quantile(slow, 0.025), rel=1e-7)
    assert result.adjusted_ci_upper == pytest.approx(np.quantile(slow, 0.975), rel=1e-7)


def test_what_makes_the_figure_meaningless_is_said() -> None:
    """Complete separation, the wrong direction, few people, a share outside 20 to 80 %, few clinicians."""
    rng = np.random.default_rng(2)
    x = rng.standard_normal(120)
    separated = mic(x, x > 0)
    assert np.isnan([separated.predicted, separated.adjusted]).all()
    assert any("separates" in note for note in separated.notes)
    backwards = mic(x, -x + rng.standard_normal(120) > 0)
    assert any("no meaning" in note for note in backwards.notes)
    rare = mic(x, x + rng.standard_normal(120) > 2)
    assert any("20 % to 80 %" in note for note in rare.notes)
    small = mic(x[:15], x[:15] + rng.standard_normal(15) > 0)
    assert any("100 are needed" in note for note in small.notes)
    assert any("fewer than 20 people" in note for note in small.notes)
    few = mic(x, x + rng.standard_normal(120) > 0, clinicians=np.arange(120) % 12)
    assert few.interval_method == "none"
    assert any("12 clinicians" in note for note in few.notes)


X, ANCHOR = np.arange(6.0), np.array([0, 1, 0, 1, np.nan, 1])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: responsiveness_auc(["a"], [1]), "requires numbers as change and anchor"),
        (lambda: responsiveness_auc(X, ANCHOR[:2]), "one change and one anchor answer"),
        (lambda: responsiveness_auc(X, ANCHOR + 1), "1 \\(better\\), 0 \\(the same\\)"),
        (lambda: responsiveness_auc(X, np.ones(6)), "none says the same"),
        (lambda: responsiveness_auc(X, np.zeros(6)), "none says better"),
        (lambda: responsiveness_auc(X, ANCHOR, confidence=95), "confidence"),
        (lambda: responsiveness_auc(X, ANCHOR, clinicians=[1]), "got 1 keys for 6 rows"),
        (lambda: mic(X * 0, ANCHOR), "changes that vary"),
        (lambda: mic(X, ANCHOR, anchor_reliability=7), "reliability above 0 and at most 1"),
    ],
)
def test_unusable_input_is_named(call: Callable[[], object], message: str) -> None:
    """Each message says what is required and what came."""
    with pytest.raises(AnalysisInputError, match=message):
        call()
