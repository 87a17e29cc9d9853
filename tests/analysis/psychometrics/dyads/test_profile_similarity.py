"""Profiles of two roles: the exact division of their distance, flat profiles, and similarity beyond chance."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from analysis.psychometrics.dyads.profile_similarity import MEASURES, compare_profiles, compare_with_chance
from analysis.psychometrics.errors import AnalysisInputError

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


def simulated(
    seed: int = 3, clinicians: int = 24, patients: int = 5, components: int = 12, known: float = 0.6
) -> tuple[FloatArray, FloatArray, IntArray]:
    """Profiles that share an average, a clinician's style, and (by `known`) this patient's own profile."""
    rng = np.random.default_rng(seed)
    keys = np.repeat(np.arange(clinicians), patients)
    n = len(keys)
    usual = 5 * rng.normal(size=components)
    style, own = 8 * rng.normal(size=(clinicians, components))[keys], 10 * rng.normal(size=(n, components))
    patient = 60 + usual + 0.3 * style + own + 5 * rng.normal(size=(n, components))
    clinician = 65 + usual + style + known * own + 5 * rng.normal(size=(n, components))
    return patient, clinician, keys


def slow_measures(p: FloatArray, c: FloatArray, minimum: int, p_mean: FloatArray, c_mean: FloatArray) -> FloatArray:
    """The measures of one pair of profiles, by their definitions."""
    keep = ~(np.isnan(p) | np.isnan(c))
    if keep.sum() < minimum:
        return np.full(len(MEASURES), np.nan)
    p, c, p_mean, c_mean = p[keep], c[keep], p_mean[keep], c_mean[keep]
    values = []
    for x, y in ((p, c), (p - p_mean, c - c_mean)):
        values += [np.corrcoef(x, y)[0, 1], np.corrcoef(np.concatenate([x, y]), np.concatenate([y, x]))[0, 1]]
    return np.array([*values, ((p - c) ** 2).sum()])


def test_the_distance_is_the_sum_of_its_parts() -> None:
    """Elevation + scatter + shape = Σ(C − P)² for every dyad, also with components missing (1e-9)."""
    patient, clinician, _ = simulated()
    patient[::4, 3], clinician[1::5, 7] = np.nan, np.nan
    result = compare_profiles(patient, clinician)
    np.testing.assert_allclose(result.elevation + result.scatter + result.shape, result.d_squared, rtol=1e-9)
    np.testing.assert_allclose(result.d_squared, np.nansum((clinician - patient) ** 2, axis=1), rtol=1e-9)
    m = result.n_components
    with_both = ~(np.isnan(patient) | np.isnan(clinician))
    p, c = np.where(with_both, patient, np.nan), np.where(with_both, clinician, np.nan)
    np.testing.assert_array_equal(m, with_both.sum(axis=1))
    np.testing.assert_allclose(result.elevation, m * (np.nanmean(c, axis=1) - np.nanmean(p, axis=1)) ** 2)
    np.testing.assert_allclose(result.scatter, m * (np.nanstd(c, axis=1) - np.nanstd(p, axis=1)) ** 2, atol=1e-9)
    assert result.minimum_components == 10


def test_correlations_are_those_of_the_definitions() -> None:
    """Correlation, double entry and their distinctive forms of each dyad against NumPy's corrcoef."""
    patient, clinician, _ = simulated()
    result = compare_profiles(patient, clinician)
    p_mean, c_mean = patient.mean(axis=0), clinician.mean(axis=0)
    for dyad in range(0, len(patient), 7):
        expected = slow_measures(patient[dyad], clinician[dyad], 10, p_mean, c_mean)
        got = [getattr(result, measure)[dyad] for measure in MEASURES]
        np.testing.assert_allclose(got, expected, rtol=1e-9)
    assert result.normative_correlation == pytest.approx(np.corrcoef(p_mean, c_mean)[0, 1])


def test_flat_and_short_profiles_are_undefined_not_zero_or_one() -> None:
    """One flat side: no correlation and no shape. Both flat: no double entry either. Too short: nothing."""
    patient, clinician, _ = simulated()
    patient[0] = 80.0
    patient[1], clinician[1] = 80.0, 70.0
    clinician[2, :3] = np.nan
    result = compare_profiles(patient, clinician)
    assert np.isnan(result.correlation[:3]).all()
    assert np.isnan(result.shape[:3]).all()
    assert np.isnan(result.distinctive_correlation[:3]).all()
    assert np.isnan(result.double_entry_icc[:3]).tolist() == [False, True, True]
    assert np.isnan(result.d_squared[:3]).tolist() == [False, False, True]
    assert result.elevation[1] == pytest.approx(12 * 100)
    assert (result.n_flat, result.n_too_short) == (2, 1)
    assert "1 dyad(s) with fewer than 10 components" in result.notes[0]
    assert "2 dyad(s) with a flat profile" in result.notes[1]
    assert not np.isnan(result.correlation[3:]).any()


def test_identical_and_mirrored_profiles() -> None:
    """The same profile: 1 and no distance. Turned round about its mean: -1."""
    patient, _, _ = simulated()
    same = compare_profiles(patient, patient)
    np.testing.assert_allclose(same.correlation, 1.0)
    np.testing.assert_allclose(same.double_entry_icc, 1.0)
    np.testing.assert_allclose(same.d_squared, 0.0, atol=1e-9)
    mirrored = compare_profiles(patient, 2 * patient.mean(axis=1, keepdims=True) - patient)
    np.testing.assert_allclose(mirrored.correlation, -1.0)


def test_units_and_order_do_not_matter() -> None:
    """Correlations keep in another unit; the order of components and the swap of roles change nothing."""
    patient, clinician, _ = simulated()
    first = compare_profiles(patient, clinician)
    second = compare_profiles(1e4 + 0.1 * clinician[:, ::-1], 1e4 + 0.1 * patient[:, ::-1])
    for measure in MEASURES[:4]:
        np.testing.assert_allclose(getattr(second, measure), getattr(first, measure), atol=1e-8)
    np.testing.assert_allclose(100 * second.d_squared, first.d_squared, rtol=1e-8)


def test_baselines_are_means_over_all_pairs() -> None:
    """Both baselines against two nested loops, with missing components and a flat profile."""
    patient, clinician, keys = simulated(clinicians=6, patients=3)
    patient[::4, 2] = np.nan
    clinician[5] = 75.0
    result = compare_with_chance(patient, clinician, keys, rng=np.random.default_rng(1), n_draws=50)
    both = ~(np.isnan(patient) | np.isnan(clinician))
    p_mean, c_mean = (np.nanmean(np.where(both, side, np.nan), axis=0) for side in (patient, clinician))
    same, other = np.full((2, len(MEASURES), len(keys)), np.nan)
    for i in range(len(keys)):
        for target, partners in (
            (same, [j for j in range(len(keys)) if keys[j] == keys[i] and j != i]),
            (other, [j for j in range(len(keys)) if keys[j] != keys[i]]),
        ):
            rows = []
            for j in partners:
                if j == 5:  # flat: only distance and double entry exist
                    kept = ~np.isnan(patient[i])
                    x, y = patient[i][kept], clinician[j][kept]
                    double = np.corrcoef(np.concatenate([x, y]), np.concatenate([y, x]))[0, 1]
                    rows.append([np.nan, double, np.nan, np.nan, ((x - y) ** 2).sum()])
                else:
                    rows.append(slow_measures(patient[i], clinician[j], 10, p_mean, c_mean).tolist())
            target[:, i] = np.nanmean(np.array(rows), axis=0)
    np.testing.assert_allclose(result.same_clinician, np.nanmean(same, axis=1), rtol=1e-8)
    np.testing.assert_allclose(result.other_clinician, np.nanmean(other, axis=1), rtol=1e-8)
    assert result.exact
    assert result.measures == MEASURES
    assert result.n_used.tolist() == [17, 18, 17, 17, 18]
    assert result.n_clinicians == 6


def test_knowledge_of_the_patient_shows_only_beyond_the_same_clinician() -> None:
    """With knowledge the interval beyond the same clinician's other patients is above 0; without it holds 0."""
    for known, above in ((0.6, True), (0.0, False)):
        patient, clinician, keys = simulated(clinicians=40, patients=6, known=known)
        result = compare_with_chance(patient, clinician, keys, rng=np.random.default_rng(2), n_draws=300)
        at = MEASURES.index("distinctive_correlation")
        assert (result.beyond_same_ci_lower[at] > 0) is np.bool_(above)
        assert result.beyond_same_ci_upper[at] > 0
        # Style alone is enough to be more alike than with other clinicians.
        assert result.beyond_other_ci_lower[at] > 0
        # The average profile alone makes strangers alike.
        assert result.other_clinician[0] > 0.05
        assert abs(result.other_clinician[at]) < 0.02
        difference = result.real[at] - result.same_clinician[at]
        assert result.beyond_same_clinician[at] == pytest.approx(difference)
        assert (result.beyond_same_se > 0).all()
        assert (result.beyond_other_se > 0).all()
        assert result.beyond_other_clinician[at] < result.beyond_other_ci_upper[at]
    assert (result.n_draws, result.confidence) == (300, 0.95)


def test_drawn_pairs_come_close_to_all_pairs() -> None:
    """With more dyads than allowed for all pairs, 60 drawn partners each give the baseline within .02."""
    patient, clinician, keys = simulated(clinicians=30, patients=8)
    options: dict[str, Any] = {"n_draws": 20, "partners": 60}
    exact = compare_with_chance(patient, clinician, keys, rng=np.random.default_rng(1), **options)
    drawn = compare_with_chance(patient, clinician, keys, rng=np.random.default_rng(1), exact_up_to=50, **options)
    assert not drawn.exact
    assert any("60 pairs drawn" in note for note in drawn.notes)
    np.testing.assert_allclose(drawn.other_clinician[:4], exact.other_clinician[:4], atol=0.02)
    np.testing.assert_array_equal(drawn.same_clinician, exact.same_clinician)


def test_few_clinicians_and_single_patients_are_said() -> None:
    """Below 20 clinicians no interval; a clinician's only patient has no other patient to compare with."""
    patient, clinician, keys = simulated(clinicians=8, patients=4)
    keys = keys.copy()
    keys[-1] = 99
    result = compare_with_chance(patient, clinician, keys, rng=np.random.default_rng(1))
    assert np.isnan(result.beyond_same_ci_lower).all()
    assert not np.isnan(result.beyond_same_clinician).any()
    assert result.n_with_same.tolist() == [31] * 5
    assert any("1 clinician(s) with one patient" in note for note in result.notes)
    assert any("only 9 clinician(s)" in note for note in result.notes)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"minimum_components": 20}, "at least 20 components; got 12"),
        ({"minimum_components": 1}, "at least two components"),
        ({"clinicians": np.zeros(20)}, "at least two clinicians"),
        ({"clinicians": np.arange(3)}, "3 keys for 20 rows"),
        ({"confidence": 0}, "confidence"),
    ],
)
def test_unusable_input_is_refused(change: dict[str, Any], message: str) -> None:
    """Too few components, one clinician, keys that don't match."""
    patient, clinician, keys = simulated(clinicians=5, patients=4)
    given = {"clinicians": keys, "rng": np.random.default_rng(1), **change}
    with pytest.raises(AnalysisInputError, match=message):
        compare_with_chance(patient, clinician, **given)
