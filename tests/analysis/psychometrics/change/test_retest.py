"""Retest agreement and the error of measurement, as functions and on the command line."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from analysis.psychometrics.change.retest import assess_retest
from analysis.psychometrics.command_line.main import main
from analysis.psychometrics.errors import AnalysisInputError

FloatArray = npt.NDArray[np.float64]
REFERENCE = Path(__file__).resolve().parents[3] / "reference" / "retest"


@pytest.fixture(scope="module")
def r_retest() -> dict[str, Any]:
    """What R computed; see tests/reference/retest/README.md."""
    return json.loads((REFERENCE / "retest.json").read_text())


@pytest.fixture(scope="module")
def stable() -> tuple[FloatArray, FloatArray, npt.NDArray[np.str_]]:
    """Both occasions and the clinician of those who said "same"."""
    with (REFERENCE / "retest.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["change"] == "same"]
    first, second = (
        np.array([np.nan if row[name] == "NA" else float(row[name]) for row in rows]) for name in ("first", "second")
    )
    return first, second, np.array([row["cl"] for row in rows])


def rng() -> np.random.Generator:
    """A fresh generator."""
    return np.random.default_rng(1)


def test_agreement_and_error_as_in_r(stable: tuple[Any, ...], r_retest: dict[str, Any]) -> None:
    """psych's ICC2 with its F interval, SEM from the analysis of variance, SDC and limits (1e-8)."""
    first, second, _ = stable
    (result,) = assess_retest(first, second, rng=rng(), names=["trust"], n_draws=400)
    for name, key in (
        ("icc_a1", "icc_a1"),
        ("icc_a1_ci_lower", "icc_lower"),
        ("icc_a1_ci_upper", "icc_upper"),
        ("icc_c1", "icc_c1"),
        ("sem_agreement", "sem_agreement"),
        ("sem_consistency", "sem_consistency"),
        ("sdc", "sdc"),
        ("mean_difference", "mean_difference"),
        ("sd_difference", "sd_difference"),
    ):
        assert getattr(result, name) == pytest.approx(r_retest[key], abs=1e-8), name
    n, sd, mean = r_retest["n_stable"], r_retest["sd_difference"], r_retest["mean_difference"]
    assert (result.name, result.n_used, result.n_dropped, result.n_clinicians) == ("trust", n, 0, None)
    assert result.sdc_group == pytest.approx(r_retest["sdc"] / np.sqrt(n))
    assert result.loa_lower == pytest.approx(mean - 1.96 * sd)
    assert result.loa_upper == pytest.approx(mean + 1.96 * sd)
    # t(89) at .975 is 1.98698; the error of a limit as Bland and Altman give it.
    half = 1.98698 * sd * np.sqrt(1 / n + 1.96**2 / (2 * (n - 1)))
    assert result.loa_upper_ci_upper - result.loa_upper == pytest.approx(half, rel=1e-5)
    assert result.loa_lower - result.loa_lower_ci_lower == pytest.approx(half, rel=1e-5)
    assert result.loa_lower_ci_upper - result.loa_lower == pytest.approx(half, rel=1e-5)
    assert result.loa_upper - result.loa_upper_ci_lower == pytest.approx(half, rel=1e-5)
    assert result.mean_difference_ci_upper - mean == pytest.approx(1.98698 * sd / np.sqrt(n), rel=1e-5)
    assert mean - result.mean_difference_ci_lower == pytest.approx(1.98698 * sd / np.sqrt(n), rel=1e-5)
    assert result.sem_agreement_ci_lower < result.sem_agreement < result.sem_agreement_ci_upper
    assert result.sdc_ci_lower == pytest.approx(1.96 * np.sqrt(2) * result.sem_agreement_ci_lower)
    assert result.sdc_ci_upper == pytest.approx(1.96 * np.sqrt(2) * result.sem_agreement_ci_upper)
    assert "F for the ICC" in result.interval_method
    assert result.confidence == 0.95


def test_shrout_and_fleiss_by_two_of_their_judges() -> None:
    """Six targets and two judges of the published table, by the mean squares of sums and differences."""
    first, second = [9, 6, 8, 7, 10, 6], [8, 2, 8, 6, 9, 7]
    (result,) = assess_retest(first, second, rng=rng(), n_draws=20)
    a, b = np.array(first, float), np.array(second, float)
    people, error, occasions = np.var(a + b, ddof=1) / 2, np.var(a - b, ddof=1) / 2, (a - b).sum() ** 2 / 12
    assert result.icc_a1 == pytest.approx((people - error) / (people + error + (occasions - error) / 3))
    assert result.sem_agreement == pytest.approx(np.sqrt(max((occasions - error) / 6, 0) + error))
    assert any("50 are adequate" in note for note in result.notes)
    assert any("fewer than 20 people" in note for note in result.notes)
    assert np.isnan(result.sdc_ci_lower)


def test_clinicians_are_resampled_whole(stable: tuple[Any, ...]) -> None:
    """With keys the intervals come from clinicians; one resample is refitted from copied rows (slow twin)."""
    first, second, clinicians = stable
    (result,) = assess_retest(first, second, rng=rng(), clinicians=clinicians, n_draws=20)
    assert (result.n_clinicians, result.interval_method) == (29, "resampling clinicians")
    column_seed = int(rng().integers(2**62))
    seed = int(np.random.default_rng(column_seed).integers(2**62))
    counts = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(0,))).multinomial(
        29, np.full(29, 1 / 29), size=20
    )
    labels = np.unique(clinicians)
    slow = []
    for draw in counts:
        rows = np.concatenate(
            [np.tile(np.flatnonzero(clinicians == label), k) for label, k in zip(labels, draw, strict=True)]
        )
        (again,) = assess_retest(first[rows], second[rows], rng=rng(), n_draws=20)
        slow.append([again.icc_a1, again.sem_agreement])
    lower, upper = np.quantile(slow, [0.025, 0.975], axis=0)
    assert [result.icc_a1_ci_lower, result.sem_agreement_ci_lower] == pytest.approx(lower.tolist())
    assert [result.icc_a1_ci_upper, result.sem_agreement_ci_upper] == pytest.approx(upper.tolist())


def test_planted_error_is_recovered_and_a_practice_effect_counts() -> None:
    """Error SD 5 and a gain of 3: the SEM of agreement is √(5² + 3²/2), that of consistency 5 (10 %)."""
    source = np.random.default_rng(3)
    true = 70 + 15 * source.standard_normal(2000)
    first, second = true + 5 * source.standard_normal((2, 2000)) + np.array([[0.0], [3.0]])
    (result,) = assess_retest(first, second, rng=rng(), n_draws=100)
    assert result.sem_consistency == pytest.approx(5, rel=0.1)
    assert result.sem_agreement == pytest.approx(np.sqrt(25 + 4.5), rel=0.1)
    assert result.icc_a1 < result.icc_c1


def test_units_and_order_do_not_matter(stable: tuple[Any, ...]) -> None:
    """Other units scale SEM and SDC and leave the ICC; people in another order change nothing."""
    first, second, _ = stable
    order = np.random.default_rng(2).permutation(len(first))
    (plain,) = assess_retest(first, second, rng=rng(), n_draws=20)
    (scaled,) = assess_retest(first[order] / 10 + 3, second[order] / 10 + 3, rng=rng(), n_draws=20)
    assert scaled.icc_a1 == pytest.approx(plain.icc_a1)
    assert scaled.sdc == pytest.approx(plain.sdc / 10)


def test_what_cannot_be_had_is_nan_and_the_others_stand() -> None:
    """A flat score, a score with two people, and a good one side by side; each with its own note."""
    source = np.random.default_rng(5)
    good = 70 + 10 * source.standard_normal(60)
    first = np.column_stack([np.full(60, 3.0), np.where(np.arange(60) < 2, good, np.nan), good])
    second = np.column_stack([np.full(60, 3.0), good, good + source.standard_normal(60)])
    flat, few, fine = assess_retest(first, second, rng=rng(), n_draws=40, names=["flat", "few", "fine"])
    assert np.isnan([flat.icc_a1, flat.sem_agreement, flat.sdc, flat.sem_consistency, flat.sdc_ci_lower]).all()
    assert any("do not vary" in note for note in flat.notes)
    assert np.isnan([few.icc_a1, few.loa_upper, few.mean_difference]).all()
    assert (few.n_used, few.n_dropped) == (2, 58)
    assert "3 are needed" in few.notes[0]
    assert fine.icc_a1 > 0.9
    assert fine.notes == ()
    (half,) = assess_retest(good, np.full(60, 70.0), rng=rng(), n_draws=40)
    assert any("one occasion does not vary" in note for note in half.notes)


def test_few_clinicians_have_no_intervals(stable: tuple[Any, ...]) -> None:
    """Nine clinicians: described only; one clinician: no error of the mean at all."""
    first, second, _ = stable
    for n_clinicians in (9, 1):
        keys = np.arange(len(first)) % n_clinicians
        (result,) = assess_retest(first, second, rng=rng(), clinicians=keys, n_draws=40)
        assert np.isnan([result.icc_a1_ci_lower, result.sdc_ci_upper, result.mean_difference_ci_lower]).all()
        assert np.isfinite([result.icc_a1, result.sdc]).all()
        assert result.interval_method == "none"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: assess_retest([1, 2], [1, 2, 3], rng=rng()), "same people and scores on both occasions"),
        (lambda: assess_retest([1, 2, 3], [np.nan] * 3, rng=rng()), "the second has no value"),
        (lambda: assess_retest([1, 2, 3], [1, 2, 3], rng=rng(), clinicians=["a"]), "got 1 keys for 3 rows"),
        (lambda: assess_retest([1, 2, 3], [1, 2, 3], rng=rng(), confidence=2), "confidence"),
    ],
)
def test_unusable_input_is_named(call: Callable[[], object], message: str) -> None:
    """Each message says what is required and what came."""
    with pytest.raises(AnalysisInputError, match=message):
        call()


def test_progress_is_told_score_by_score() -> None:
    """A caller who shows a bar hears after each score."""
    heard: list[float] = []
    scores = np.random.default_rng(1).standard_normal((30, 2))
    assess_retest(scores, scores + 1, rng=rng(), n_draws=20, progress=lambda share, _text: heard.append(share))
    assert heard == [0.5, 1.0]


def test_the_command_prints_retest_and_change(capsys: pytest.CaptureFixture[str], r_retest: dict[str, Any]) -> None:
    """`retest` on the reference file: the stable people, the curve, the minimal important change."""
    call = ["retest", str(REFERENCE / "retest.csv"), "--first", "first", "--second", "second", "--anchor", "change"]
    call += ["--stable", "same", "--improved", "better", "--draws", "100"]
    assert main([*call, "--anchor-reliability", "0.6", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["retest"]["first"]["icc_a1"] == pytest.approx(r_retest["icc_a1"])
    assert data["responsiveness"]["first"]["estimate"] == pytest.approx(r_retest["auc"])
    assert data["responsiveness"]["first"]["se"] == pytest.approx(r_retest["delong"])
    assert data["mic"]["first"]["adjusted"] == pytest.approx(r_retest["mic_adjusted"])
    assert data["mic"]["first"]["improved_adjusted"] == pytest.approx(r_retest["mic_improved"])
    assert data["sdc_below_mic"] == {"first": False}
    assert main([*call, "--cluster", "cl"]) == 0
    text = capsys.readouterr().out
    for words in ("Retest (intervals: resampling clinicians)", "Responsiveness", "Minimal important change"):
        assert words in text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--first", "first,x", "--second", "second"], "--first names 2 columns and --second 1"),
        (["--first", "first", "--second", "second", "--stable", "same"], "need --anchor"),
        (["--first", "first", "--second", "second", "--anchor", "change"], "--anchor needs --stable"),
        (
            ["--first", "first", "--second", "second", "--anchor", "change", "--stable", "sam"],
            "never holds 'sam'",
        ),
        (
            ["--first", "first", "--second", "second", "--anchor", "change", "--stable", "same", "--improved", "same"],
            "share an answer",
        ),
        (["--first", "first", "--second", "second", "--key", "cl"], "lists 'C01' twice"),
    ],
)
def test_the_command_names_what_it_cannot_use(
    options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line on standard error, status 2."""
    assert main(["retest", str(REFERENCE / "retest.csv"), *options]) == 2
    assert message in capsys.readouterr().err
