"""Gaps: reliability by Edwards, standard error and verdict of a single one, and what is printed beside them."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from analysis.psychometrics.dyads.gaps import (
    PITFALLS,
    judge_gaps,
    reliability_of_difference,
    standard_error_of_gap,
    summarise_gaps,
)
from analysis.psychometrics.errors import AnalysisInputError

FloatArray = npt.NDArray[np.float64]


def simulated(seed: int = 2, n: int = 200, n_scores: int = 2) -> tuple[FloatArray, FloatArray]:
    """Scores of 0 to 100 of two roles that share something."""
    rng = np.random.default_rng(seed)
    shared = rng.normal(size=(n, n_scores))
    patient = np.clip(60 + 12 * (shared + rng.normal(size=(n, n_scores))), 0, 100)
    clinician = np.clip(64 + 12 * (shared + rng.normal(size=(n, n_scores))), 0, 100)
    return patient, clinician


@pytest.mark.parametrize(
    ("reliability", "correlation", "expected"), [(0.75, 0.50, 0.50), (0.85, 0.20, 0.81), (0.70, 0.20, 0.63)]
)
def test_reliability_of_a_difference(reliability: float, correlation: float, expected: float) -> None:
    """Equal variances: worked values to two digits."""
    result = reliability_of_difference(
        sd_patient=20,
        sd_clinician=20,
        reliability_patient=reliability,
        reliability_clinician=reliability,
        correlation=correlation,
    )
    assert result == pytest.approx(expected, abs=0.0051)


def test_reliability_of_a_difference_recovers_the_true_share() -> None:
    """From simulated true and observed scores: variance of true over that of observed gaps (n 200 000: .01)."""
    rng = np.random.default_rng(1)
    shared = rng.normal(size=200_000)
    true_p, true_c = 3 * shared + rng.normal(size=200_000), 2 * shared + 2 * rng.normal(size=200_000)
    observed_p, observed_c = true_p + 1.5 * rng.normal(size=200_000), true_c + rng.normal(size=200_000)
    result = reliability_of_difference(
        sd_patient=observed_p.std(),
        sd_clinician=observed_c.std(),
        reliability_patient=true_p.var() / observed_p.var(),
        reliability_clinician=true_c.var() / observed_c.var(),
        correlation=float(np.corrcoef(observed_p, observed_c)[0, 1]),
    )
    assert result == pytest.approx((true_c - true_p).var() / (observed_c - observed_p).var(), abs=0.01)


def test_edges_of_the_reliability_of_a_difference() -> None:
    """No variance of the gap or an unknown figure gives NaN; impossible figures are refused."""
    given = {"sd_patient": 1.0, "sd_clinician": 1.0, "reliability_patient": 0.8, "reliability_clinician": 0.8}
    assert math.isnan(reliability_of_difference(**given, correlation=1.0))
    assert math.isnan(reliability_of_difference(**{**given, "reliability_patient": math.nan}, correlation=0.2))
    assert reliability_of_difference(**given, correlation=0.9) < 0
    with pytest.raises(AnalysisInputError, match="within -1 to 1"):
        reliability_of_difference(**given, correlation=1.2)


def test_error_and_threshold_of_one_gap() -> None:
    """SD 20 and omega .70 in both roles: SEM 11, SE 15.5, threshold 30 points."""
    sem = 20 * math.sqrt(0.3)
    assert standard_error_of_gap(sem, sem) == pytest.approx(15.5, abs=0.05)
    assert 1.96 * standard_error_of_gap(sem, sem) == pytest.approx(30, abs=0.4)
    with pytest.raises(AnalysisInputError, match="at least 0"):
        standard_error_of_gap(-1, 2)


def test_verdicts_on_single_gaps() -> None:
    """Beyond the threshold from the mean gap on either side, strictly; an unknown gap is no reliable gap."""
    threshold = 1.96 * 5.0
    gaps = [4 + threshold + 1e-9, 4 + threshold, 4 - threshold - 1e-9, 0.0, math.nan]
    assert judge_gaps(gaps, mean_gap=4, sem_patient=3, sem_clinician=4).tolist() == [1, 0, -1, 0, 0]
    assert judge_gaps([12.0], mean_gap=4, sem_patient=3, sem_clinician=4, z=1).tolist() == [1]
    with pytest.raises(AnalysisInputError, match="known mean gap"):
        judge_gaps([1.0], mean_gap=math.nan, sem_patient=1, sem_clinician=1)


def test_the_summary_is_what_counting_gives() -> None:
    """Every figure of each score against its formula on the dyads that have both values."""
    patient, clinician = simulated()
    patient[::9, 0], clinician[4::13, 1] = np.nan, np.nan
    result = summarise_gaps(
        patient, clinician, reliability_patient=[0.8, 0.9], reliability_clinician=[0.7, 0.85], names=["trust", "hope"]
    )
    for s, (r_p, r_c) in enumerate([(0.8, 0.7), (0.9, 0.85)]):
        keep = ~(np.isnan(patient[:, s]) | np.isnan(clinician[:, s]))
        p, c = patient[keep, s], clinician[keep, s]
        gap = c - p
        assert result.n_used[s] == keep.sum()
        assert result.n_dropped[s] == 200 - keep.sum()
        assert result.mean_gap.estimate[s] == pytest.approx(gap.mean())
        assert result.mean_gap.se[s] == pytest.approx(gap.std(ddof=1) / len(gap) ** 0.5)
        assert result.mean_gap.ci_lower[s] < gap.mean() < result.mean_gap.ci_upper[s]
        assert result.sd_gap[s] == pytest.approx(gap.std(ddof=1))
        assert result.mean_absolute_gap[s] == pytest.approx(np.abs(gap).mean())
        assert result.correlation[s] == pytest.approx(np.corrcoef(p, c)[0, 1])
        assert result.correlation_with_patient[s] == pytest.approx(np.corrcoef(gap, p)[0, 1])
        assert result.correlation_with_clinician[s] == pytest.approx(np.corrcoef(gap, c)[0, 1])
        sem_p, sem_c = p.std(ddof=1) * (1 - r_p) ** 0.5, c.std(ddof=1) * (1 - r_c) ** 0.5
        assert result.sem_patient[s] == pytest.approx(sem_p)
        assert result.sem_clinician[s] == pytest.approx(sem_c)
        error = math.hypot(sem_p, sem_c)
        assert result.se_gap[s] == pytest.approx(error)
        assert result.threshold[s] == pytest.approx(1.96 * error)
        assert result.absolute_gap_by_error[s] == pytest.approx(error * math.sqrt(2 / math.pi))
        # Errors are independent, so what is not error in the gap is its reliability.
        assert result.reliability[s] == pytest.approx(1 - error**2 / gap.var(ddof=1))
        verdicts = judge_gaps(gap, mean_gap=gap.mean(), sem_patient=sem_p, sem_clinician=sem_c)
        assert result.n_clinician_higher[s] == (verdicts == 1).sum()
        assert result.n_patient_higher[s] == (verdicts == -1).sum()
        assert result.share_reliable[s] == pytest.approx((verdicts != 0).mean())
        assert result.ceiling_share_patient[s] == pytest.approx((p == 100).mean())
        assert result.ceiling_share_clinician[s] == pytest.approx((c == 100).mean())
    assert result.mean_gap.method == "t"
    assert result.may_be_shown == (None, None)
    assert (result.z, result.confidence, result.n_clinicians) == (1.96, 0.95, None)


def test_pitfalls_stand_beside_every_summary() -> None:
    """All of them, each with a code and one sentence."""
    result = summarise_gaps(*simulated())
    assert result.pitfalls == PITFALLS
    codes = [pitfall.code for pitfall in PITFALLS]
    assert codes[:6] == ["two_levels", "own_parts", "folded", "ceiling", "invariance", "rating_style"]
    assert len(set(codes)) == len(codes)
    assert all(pitfall.sentence.endswith(".") for pitfall in PITFALLS)


def test_an_absolute_gap_without_a_true_gap_is_what_error_makes() -> None:
    """Two error-laden measures of one true score: mean |D| is SE·√(2/π) (n 50 000: 1 %)."""
    rng = np.random.default_rng(3)
    true = rng.normal(50, 8, 50_000)
    patient, clinician = true + rng.normal(0, 4, 50_000), true + rng.normal(0, 4, 50_000)
    reliability = [64 / 80]
    result = summarise_gaps(patient, clinician, reliability_patient=reliability, reliability_clinician=reliability)
    assert result.mean_absolute_gap[0] == pytest.approx(result.absolute_gap_by_error[0], rel=0.01)
    assert result.reliability[0] == pytest.approx(0, abs=0.03)
    assert result.share_reliable[0] == pytest.approx(0.05, abs=0.005)


def test_what_weakens_a_gap_is_noted() -> None:
    """No reliability, gaps all alike, a clinician who rates all alike, weak gaps, roles on two scales, few dyads."""
    rng = np.random.default_rng(5)
    base = rng.normal(50, 10, 80)
    patient = np.stack([base, base, base, base, np.where(np.arange(80) < 2, base, np.nan)], axis=1)
    clinician = np.stack(
        [base + 5, 50 + 0.5 * rng.normal(size=80), base + rng.normal(0, 6, 80), base + 20, base], axis=1
    )
    clinician[:, 3] = 50 + rng.normal(0, 10, 80)
    known = [0.9, 0.9, 0.8, np.nan, 0.9]
    result = summarise_gaps(
        patient,
        clinician,
        reliability_patient=known,
        reliability_clinician=known,
        names=["shifted", "style", "weak", "unknown", "rare"],
        scalar_invariant=[True, None, False, None, None],
    )
    notes = " | ".join(result.notes)
    assert "no reliability given for both roles, so single gaps are not judged: unknown" in notes
    assert "all gaps are the same, so they have no reliability: shifted" in notes
    assert "mostly the patient's score turned round (r below -.90): style" in notes
    assert "not to be read one by one: weak" in notes
    assert "not to be shown: weak" in notes
    assert "fewer than 3 dyads with both scores, so nothing is given: rare (2)" in notes
    assert np.isnan(result.reliability[[0, 3, 4]]).all()
    assert result.n_clinician_higher[3] == 0
    assert np.isnan(result.share_reliable[3])
    assert result.may_be_shown == (True, None, False, None, None)


def test_a_negative_reliability_of_gaps_is_noted() -> None:
    """Roles that correlate at .95 with reliabilities of .8 leave less than nothing to the gap."""
    rng = np.random.default_rng(6)
    patient = rng.normal(50, 10, 300)
    result = summarise_gaps(
        patient, patient + rng.normal(0, 3, 300), reliability_patient=[0.8], reliability_clinician=[0.8]
    )
    assert result.reliability[0] < 0
    assert any("more than their reliabilities allow" in note for note in result.notes)


def test_clinicians_are_the_units_of_the_mean_gap() -> None:
    """Where clinicians differ in their gaps, resampling them widens its interval; below 20 there is none."""
    rng = np.random.default_rng(7)
    clinicians = np.repeat(np.arange(25), 8)
    patient = rng.uniform(30, 70, 200)
    clinician = patient + np.repeat(rng.normal(0, 8, 25), 8) + rng.normal(0, 2, 200)
    plain = summarise_gaps(patient, clinician)
    nested = summarise_gaps(patient, clinician, clinicians=clinicians, rng=rng, n_draws=300)
    assert nested.mean_gap.se[0] > 2 * plain.mean_gap.se[0]
    assert nested.mean_gap.estimate[0] == plain.mean_gap.estimate[0]
    assert nested.n_clinicians == 25
    few = summarise_gaps(patient[:64], clinician[:64], clinicians=clinicians[:64], rng=rng)
    assert np.isnan(few.mean_gap.ci_lower[0])
    assert any("only 8 clinician(s)" in note for note in few.notes)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"highest": 50.0}, "of the patients' lie beyond"),
        ({"reliability_patient": [0.8]}, "one patient reliability a score; got 1 for 2"),
        ({"reliability_clinician": [0.8, 4.0]}, "at most 1; got 4.0"),
        ({"scalar_invariant": [True]}, "one statement about invariance"),
        ({"clinicians": np.arange(200)}, "random generator"),
        ({"confidence": 2.0}, "confidence"),
    ],
)
def test_unusable_input_is_refused(options: dict[str, Any], message: str) -> None:
    """Scores off their range, reliabilities that don't fit, no generator."""
    with pytest.raises(AnalysisInputError, match=message):
        summarise_gaps(*simulated(), **options)
