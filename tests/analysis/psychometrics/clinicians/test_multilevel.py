"""Patients within clinicians: against lme4, exact intervals, suppression, and what few clinicians allow."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from analysis.psychometrics.clinicians.multilevel import (
    patients_needed,
    reliability_of_mean,
    shrink_clinician_means,
    variance_between_clinicians,
)
from analysis.psychometrics.command_line.main import main
from analysis.psychometrics.dyads.agreement import intraclass_correlations
from analysis.psychometrics.errors import AnalysisInputError
from analysis.psychometrics.inference.one_way import fit_one_way, sum_by_clinician

FloatArray = npt.NDArray[np.float64]
REFERENCE = Path(__file__).parents[3] / "reference" / "dyads"
SETS = ("dyestuff", "dyestuff2", "sleepstudy", "math_achieve", "owm_patient", "owm_clinician")


@pytest.fixture(scope="module")
def from_r() -> dict[str, Any]:
    """What lme4 finds."""
    figures: dict[str, Any] = json.loads((REFERENCE / "multilevel.json").read_text())["one_way"]
    return figures


def data_set(name: str, from_r: dict[str, Any]) -> tuple[FloatArray, npt.NDArray[np.int64]]:
    """Scores and clinicians of a reference data set."""
    if "y" in from_r[name]:
        return np.array(from_r[name]["y"], dtype=float), np.array(from_r[name]["g"])
    if name == "math_achieve":
        table = np.genfromtxt(REFERENCE / "math_achieve.csv", delimiter=",", skip_header=1)
        return table[:, 2], table[:, 0].astype(np.int64)
    table = np.genfromtxt(REFERENCE / "owm.csv", delimiter=",", skip_header=1, usecols=(0, 2, 3))
    return table[:, 1 if name == "owm_patient" else 2], table[:, 0].astype(np.int64)


@pytest.mark.parametrize("name", SETS)
def test_components_and_likelihood_match_lme4(from_r: dict[str, Any], name: str) -> None:
    """Variances within 1e-6 of their sum (where lme4's search stops), log-likelihood 1e-8, at least as high."""
    scores, clinicians = data_set(name, from_r)
    expected, result = from_r[name], variance_between_clinicians(scores, clinicians)
    total = expected["between"] + expected["within"]
    assert result.between[0] == pytest.approx(expected["between"], abs=1e-6 * total)
    assert result.within[0] == pytest.approx(expected["within"], abs=1e-6 * total)
    assert result.log_likelihood[0] == pytest.approx(expected["log_likelihood"], abs=1e-8)
    assert result.mean[0] == pytest.approx(expected["mean"], abs=1e-6 * total**0.5)
    assert result.mean_se[0] == pytest.approx(expected["mean_se"], rel=1e-5)
    assert result.icc.estimate[0] == pytest.approx(expected["between"] / total, abs=1e-6)


@pytest.mark.parametrize("name", ["sleepstudy", "math_achieve", "owm_clinician"])
def test_shrunken_means_match_lme4(from_r: dict[str, Any], name: str) -> None:
    """coef(lmer) for each clinician; the prediction variance exceeds lme4's conditional one by that of the mean."""
    scores, clinicians = data_set(name, from_r)
    expected, result = from_r[name], shrink_clinician_means(scores, clinicians, minimum_patients=1)
    at = {label: position for position, label in enumerate(result.labels)}
    order = [at[str(label)] for label in expected["labels"]]
    scale = np.sqrt(expected["between"] + expected["within"])
    np.testing.assert_allclose(result.shrunken_mean[order], expected["shrunken"], atol=2e-6 * scale)
    extra = (1 - result.reliability[order]) ** 2 * expected["mean_se"] ** 2
    np.testing.assert_allclose(result.se[order] ** 2 - extra, np.square(expected["conditional_sd"]), rtol=1e-4)
    np.testing.assert_allclose(result.ci_upper - result.shrunken_mean, 1.959963984540054 * result.se, rtol=1e-10)
    np.testing.assert_allclose(result.ci_lower + result.ci_upper, 2 * result.shrunken_mean, rtol=1e-10)


def test_equal_numbers_have_mcgraw_and_wongs_interval() -> None:
    """With the same number of patients for each, estimate and interval are those of ICC(1) (1e-8)."""
    rng = np.random.default_rng(3)
    table = rng.normal(size=(15, 1)) + rng.normal(size=(15, 6))
    expected = intraclass_correlations(table)
    result = variance_between_clinicians(table.ravel(), np.repeat(np.arange(15), 6))
    assert result.icc.estimate[0] == pytest.approx(expected.estimate[0], abs=1e-8)
    assert result.icc.ci_lower[0] == pytest.approx(expected.ci_lower[0], abs=1e-8)
    assert result.icc.ci_upper[0] == pytest.approx(expected.ci_upper[0], abs=1e-8)
    assert result.icc.method == "exact F (Wald)"


def test_the_exact_interval_covers_with_unequal_numbers() -> None:
    """Of 400 simulated sets about 95 % of intervals hold the true ICC of .2 (binomial: .92 to .98)."""
    rng = np.random.default_rng(12)
    clinicians = np.repeat(np.arange(25), rng.integers(2, 15, 25))
    scores = 0.5 * rng.normal(size=(25, 400))[clinicians] + rng.normal(size=(len(clinicians), 400))
    result = variance_between_clinicians(scores, clinicians)
    inside = (result.icc.ci_lower <= 0.2) & (result.icc.ci_upper >= 0.2)
    assert 0.92 < inside.mean() < 0.98
    assert result.icc.estimate.mean() == pytest.approx(0.2, abs=0.02)


def test_the_fit_is_the_brute_force_maximum() -> None:
    """The restricted likelihood from each clinician's whole matrix equals the fit's, and is lower next to it."""
    rng = np.random.default_rng(8)
    clinicians = np.repeat(np.arange(9), rng.integers(1, 7, 9))
    scores = rng.normal(size=9)[clinicians] + rng.normal(size=len(clinicians))

    def likelihood(between: float, within: float) -> float:
        information = moment = determinant = 0.0
        parts = []
        for key in range(9):
            y = scores[clinicians == key]
            covariance = between + within * np.eye(len(y))
            inverse = np.linalg.inv(covariance)
            information += inverse.sum()
            moment += float(inverse.sum(axis=0) @ y)
            determinant += float(np.linalg.slogdet(covariance)[1])
            parts.append((y, inverse))
        mean = moment / information
        squares = sum(float((y - mean) @ v @ (y - mean)) for y, v in parts)
        constant = (len(scores) - 1) * np.log(2 * np.pi)
        return -0.5 * float(determinant + np.log(information) + squares + constant)

    result = variance_between_clinicians(scores, clinicians)
    best = likelihood(float(result.between[0]), float(result.within[0]))
    assert result.log_likelihood[0] == pytest.approx(best, abs=1e-9)
    for d_between, d_within in ((0.02, 0), (-0.02, 0), (0, 0.02), (0, -0.02)):
        assert likelihood(float(result.between[0]) + d_between, float(result.within[0]) + d_within) < best


def test_resamples_and_columns_are_fitted_together_as_alone() -> None:
    """Counting a clinician twice equals listing the clinician's patients twice under two keys."""
    rng = np.random.default_rng(6)
    clinicians = np.repeat(np.arange(12), rng.integers(2, 6, 12))
    scores = rng.normal(size=(12, 3))[clinicians] + rng.normal(size=(len(clinicians), 3))
    scores[::5, 1] = np.nan
    counts = rng.multinomial(12, np.full(12, 1 / 12), size=2).astype(float)
    fit = fit_one_way(sum_by_clinician(scores, clinicians, 12), counts)
    for draw in range(2):
        rows, labels = [], []
        for key in range(12):
            for _ in range(int(counts[draw, key])):
                rows.append(np.flatnonzero(clinicians == key))
                labels.append(np.full(len(rows[-1]), len(labels)))
        again = variance_between_clinicians(scores[np.concatenate(rows)], np.concatenate(labels))
        np.testing.assert_allclose(fit.between[draw], again.between, atol=1e-9)
        np.testing.assert_allclose(fit.within[draw], again.within, atol=1e-9)


def test_what_follows_from_the_icc() -> None:
    """Design effect, effective number, reliability and patients needed follow from the ICC by their formulas."""
    rng = np.random.default_rng(2)
    clinicians = np.repeat(np.arange(40), 10)
    scores = 0.4 * rng.normal(size=40)[clinicians] + rng.normal(size=400)
    result = variance_between_clinicians(scores, clinicians, names=["trust"])
    icc = float(result.icc.estimate[0])
    assert result.names == ("trust",)
    assert result.patients_per_clinician[0] == 10
    assert result.design_effect[0] == pytest.approx(1 + 9 * icc)
    assert result.effective_n[0] == pytest.approx(400 / (1 + 9 * icc))
    assert result.reliability[0] == pytest.approx(10 * icc / (1 + 9 * icc))
    assert result.patients_needed[0].tolist() == [patients_needed(icc, r) for r in (0.7, 0.8, 0.9)]
    assert (result.n_used[0], result.n_dropped[0], result.n_clinicians[0], result.n_single[0]) == (400, 0, 40, 0)
    assert result.confidence == 0.95


@pytest.mark.parametrize(
    ("icc", "needed", "at_ten", "effect"),
    [
        (0.01, (231, 397, 892), 0.09, 1.09),
        (0.03, (76, 130, 292), 0.24, 1.27),
        (0.05, (45, 77, 171), 0.34, 1.45),
        (0.10, (21, 37, 82), 0.53, 1.90),
        (0.20, (10, 17, 37), 0.71, 2.80),
    ],
)
def test_planning_table(icc: float, needed: tuple[int, int, int], at_ten: float, effect: float) -> None:
    """The table of raters per clinician; it rounds to the nearest patient where this rounds up."""
    for reliability, number in zip((0.7, 0.8, 0.9), needed, strict=True):
        assert patients_needed(icc, reliability) in (number - 1, number, number + 1)
        assert reliability_of_mean(icc, patients_needed(icc, reliability)) >= reliability - 1e-12
        assert reliability_of_mean(icc, patients_needed(icc, reliability) - 1) < reliability
    assert reliability_of_mean(icc, 10) == pytest.approx(at_ten, abs=0.006)
    assert 1 + 9 * icc == pytest.approx(effect)


def test_edges_of_planning() -> None:
    """No variance between clinicians: no number is enough; unknown stays unknown; nonsense is refused."""
    assert patients_needed(0.0, 0.8) == math.inf
    assert patients_needed(1.0, 0.8) == 1.0
    assert math.isnan(patients_needed(math.nan, 0.8))
    assert math.isnan(reliability_of_mean(math.nan, 5))
    assert reliability_of_mean(-0.1, 5) == 0.0
    assert reliability_of_mean(0.3, 0) == 0.0
    with pytest.raises(AnalysisInputError, match="between 0 and 1"):
        patients_needed(0.1, 1.0)
    with pytest.raises(AnalysisInputError, match="at most 1"):
        reliability_of_mean(1.2, 5)


def test_what_cannot_be_told_apart_is_named_and_the_others_stand() -> None:
    """One patient each, one clinician, no variance within, none between."""
    rng = np.random.default_rng(4)
    clinicians = np.repeat(np.arange(12), 4)
    fine = rng.normal(size=48)
    flat = clinicians.astype(float)
    first_only = np.where(np.arange(48) % 4 == 0, fine, np.nan)
    one = np.where(clinicians == 3, fine, np.nan)
    even = np.tile([1.0, 2.0, 3.0, 4.0], 12)
    result = variance_between_clinicians(
        np.stack([fine, flat, first_only, one, even], axis=1),
        clinicians,
        names=["fine", "flat", "single", "one", "even"],
    )
    assert np.isnan(result.icc.estimate).tolist() == [False, True, True, True, False]
    assert result.icc.estimate[4] == 0
    assert np.isnan(result.patients_needed[1]).all()
    assert np.isinf(result.patients_needed[4]).all()
    notes = " | ".join(result.notes)
    assert "flat: variances between and within clinicians cannot be told apart, the scores do not vary" in notes
    assert "single: variances between and within clinicians cannot be told apart, each clinician has one" in notes
    assert "one: variances between and within clinicians cannot be told apart, scores of 1 clinician" in notes
    assert "even: no variance between clinicians beyond chance" in notes
    assert "clinician(s) with one patient" in notes


def test_fewer_than_ten_clinicians_are_described(from_r: dict[str, Any]) -> None:
    """Six batches of dyestuff: variances, but no interval, and no shrunken means."""
    scores, batches = data_set("dyestuff", from_r)
    result = variance_between_clinicians(scores, batches)
    assert not np.isnan(result.icc.estimate[0])
    assert np.isnan(result.icc.ci_lower[0])
    assert "only 6 clinician(s): described" in " ".join(result.notes)
    means = shrink_clinician_means(scores, batches)
    assert np.isnan(means.shrunken_mean).all()
    assert not np.isnan(means.raw_mean).any()


def test_small_numbers_are_suppressed_and_unreliable_means_called_exploratory() -> None:
    """Fewer than five patients: no mean at all. Reliability below .70: exploratory."""
    rng = np.random.default_rng(9)
    sizes = [4, 5, 60, *([8] * 12)]
    clinicians = np.repeat(np.arange(15), sizes)
    scores = 70 + 4 * rng.normal(size=15)[clinicians] + 12 * rng.normal(size=len(clinicians))
    scores[-1] = np.nan
    result = shrink_clinician_means(scores, clinicians)
    assert result.shown.tolist() == [False] + [True] * 14
    assert np.isnan(result.raw_mean[0])
    assert np.isnan(result.shrunken_mean[0])
    assert result.n_patients[-1] == 7
    assert (result.n_used, result.n_dropped, result.minimum_patients) == (len(scores) - 1, 1, 5)
    np.testing.assert_array_equal(result.exploratory[1:], result.reliability[1:] < 0.70)
    between, within = result.between, result.within
    assert result.reliability[2] == pytest.approx(60 * between / (60 * between + within))
    expected = result.grand_mean + result.reliability * (result.raw_mean - result.grand_mean)
    np.testing.assert_allclose(result.shrunken_mean[1:], expected[1:])
    notes = " | ".join(result.notes)
    assert "1 clinician(s) with fewer than 5 patients not shown: 0" in notes
    assert "ranking clinicians is not a supported use" in notes
    assert result.confidence == 0.95


def test_unusable_input_is_refused() -> None:
    """Keys that don't match, several scales where one is asked for, text."""
    with pytest.raises(AnalysisInputError, match="3 keys for 4 rows"):
        variance_between_clinicians(np.arange(4.0), [1, 1, 2])
    with pytest.raises(AnalysisInputError, match="requires one scale"):
        shrink_clinician_means(np.ones((4, 2)), [1, 1, 2, 2])
    with pytest.raises(AnalysisInputError, match="numbers"):
        variance_between_clinicians(np.array(["a", "b"]), [1, 1])


def test_command_on_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    """Flat keys a scale; means on request, small clinicians left out of the text table."""
    path = str(REFERENCE / "owm.csv")
    assert main(["multilevel", path, "--cluster", "cl", "--items", "P,C", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["scales"]["C"]["variance_between"] == pytest.approx(0.350670, abs=1e-5)
    assert answer["scales"]["P"]["loglik"] == pytest.approx(-536.3006, abs=1e-4)
    command = ["multilevel", path, "--cluster", "cl", "--items", "C", "--means", "--minimum-patients", "7"]
    assert main([*command, "--json"]) == 0
    means = json.loads(capsys.readouterr().out)["scales"]["C"]["clinician_means"]
    assert min(n for n, shown in zip(means["n_patients"], means["shown"], strict=True) if shown) == 7
    assert means["raw_mean"][means["shown"].index(False)] is None
    assert main(command) == 0
    text = capsys.readouterr().out
    assert "design effect" in text
    assert "with at least 7 patients" in text
