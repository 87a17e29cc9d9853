"""Reciprocal one-with-many: against nlme, against the brute-force normal likelihood, and where it must say no."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from analysis.psychometrics.dyads.bivariate_reml import clinician_moments, fit_bivariate
from analysis.psychometrics.dyads.one_with_many import OneWithMany, one_with_many, separate_relationship_from_error
from analysis.psychometrics.errors import AnalysisInputError

FloatArray = npt.NDArray[np.float64]
REFERENCE = Path(__file__).parents[3] / "reference" / "dyads"
RATIOS = ("consensus", "assimilation", "dyadic_reciprocity", "generalised_reciprocity")


@pytest.fixture(scope="module")
def from_r() -> dict[str, Any]:
    """What nlme's lme finds."""
    figures: dict[str, Any] = json.loads((REFERENCE / "one_with_many.json").read_text())
    return figures


def data_set(name: str) -> FloatArray:
    """Clinician, patient's score, clinician's score of a reference data set."""
    if name == "math_achieve":
        return np.genfromtxt(REFERENCE / "math_achieve.csv", delimiter=",", skip_header=1)
    data = np.genfromtxt(REFERENCE / "owm.csv", delimiter=",", skip_header=1, usecols=(0, 2, 3))
    if name == "gaps":
        data[2::9, 1] = np.nan
        data[4::7, 2] = np.nan
        data[data[:, 0] == 11, 2] = np.nan
    return np.asarray(data, dtype=np.float64)


def simulated(
    between: npt.ArrayLike, within: npt.ArrayLike, *, seed: int = 1, clinicians: int = 80, patients: int = 10
) -> tuple[FloatArray, FloatArray, npt.NDArray[np.int64]]:
    """Dyads of the model itself."""
    rng = np.random.default_rng(seed)
    keys = np.repeat(np.arange(clinicians), patients)
    effects = rng.multivariate_normal([0, 0], np.asarray(between), clinicians)[keys]
    scores = effects + rng.multivariate_normal([0, 0], np.asarray(within), len(keys))
    return scores[:, 0], scores[:, 1], keys


def brute_force(p: FloatArray, c: FloatArray, keys: npt.ArrayLike, between: FloatArray, within: FloatArray) -> float:
    """The restricted log-likelihood from each clinician's whole covariance matrix."""
    information, moment = np.zeros((2, 2)), np.zeros(2)
    parts, log_determinants, n = [], 0.0, 0
    codes = np.asarray(keys)
    for key in np.unique(codes):
        entries = [
            (row, role) for row in np.flatnonzero(codes == key) for role in (0, 1) if not np.isnan((p, c)[role][row])
        ]
        y = np.array([(p, c)[role][row] for row, role in entries])
        design = np.array([[role == 0, role == 1] for _, role in entries], dtype=float)
        covariance = np.array(
            [[between[r, s] + (within[r, s] if i == j else 0) for j, s in entries] for i, r in entries]
        )
        inverse = np.linalg.inv(covariance)
        information += design.T @ inverse @ design
        moment += design.T @ inverse @ y
        log_determinants += np.linalg.slogdet(covariance)[1]
        parts.append((y, design, inverse))
        n += len(y)
    mean = np.linalg.solve(information, moment)
    squares = sum((y - x @ mean) @ v @ (y - x @ mean) for y, x, v in parts)
    return float(-0.5 * (log_determinants + np.linalg.slogdet(information)[1] + squares + (n - 2) * np.log(2 * np.pi)))


@pytest.mark.parametrize("name", ["owm", "gaps", "math_achieve"])
def test_reml_matches_nlme(from_r: dict[str, Any], name: str) -> None:
    """Log-likelihood to 1e-6 and at least as high; variances to 1e-5 of their size (where nlme's search stops)."""
    data, expected = data_set(name), from_r[name]
    result = one_with_many(data[:, 1], data[:, 2], data[:, 0], n_draws=0)
    assert result.log_likelihood[0] == pytest.approx(expected["log_likelihood"], abs=1e-6)
    assert result.log_likelihood[0] >= expected["log_likelihood"] - 1e-9
    np.testing.assert_allclose(result.between[0], expected["between"], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(result.within[0], expected["within"], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(result.mean[0], expected["mean"], atol=1e-6)
    np.testing.assert_allclose(result.mean_se[0], expected["mean_se"], rtol=1e-4)
    assert result.converged[0]
    assert not result.at_boundary[0]


def test_the_reference_log_likelihood_of_the_shared_data() -> None:
    """nlme's REML log-likelihood of owm.csv is -947.6159."""
    data = data_set("owm")
    result = one_with_many(data[:, 1], data[:, 2], data[:, 0], n_draws=0)
    assert result.log_likelihood[0] == pytest.approx(-947.6159, abs=5e-5)
    assert result.n_clinicians.tolist() == [40]
    assert (result.n_complete[0], result.n_patient_only[0], result.n_clinician_only[0]) == (368, 0, 0)


@pytest.mark.parametrize("name", ["owm", "gaps"])
def test_the_likelihood_is_the_brute_force_one_and_a_maximum(name: str) -> None:
    """The whole covariance matrices give the same number (1e-7), and moving any entry lowers it."""
    data = data_set(name)
    result = one_with_many(data[:, 1], data[:, 2], data[:, 0], n_draws=0)
    at_best = brute_force(data[:, 1], data[:, 2], data[:, 0], result.between[0], result.within[0])
    assert result.log_likelihood[0] == pytest.approx(at_best, abs=1e-7)
    for level in ("between", "within"):
        for i, j in ((0, 0), (0, 1), (1, 1)):
            for by in (-0.01, 0.01):
                moved = {part: getattr(result, part)[0].copy() for part in ("between", "within")}
                moved[level][i, j] += by
                moved[level][j, i] = moved[level][i, j]
                assert brute_force(data[:, 1], data[:, 2], data[:, 0], **moved) < at_best


def test_two_halves_match_nlme(from_r: dict[str, Any]) -> None:
    """Clinician, relationship and error variances as lme with nested random effects (its search: 1e-4)."""
    data, expected = np.genfromtxt(REFERENCE / "halves.csv", delimiter=",", skip_header=1), from_r["halves"]
    result = separate_relationship_from_error(data[:, 2:4], data[:, 4:6], data[:, 0], n_draws=0)
    assert result.log_likelihood == pytest.approx(expected["log_likelihood"], abs=1e-5)
    np.testing.assert_allclose(result.between, expected["between"], atol=1e-4)
    np.testing.assert_allclose(result.relationship, expected["relationship"], atol=1e-4)
    np.testing.assert_allclose(result.error, expected["error"], atol=1e-4)
    np.testing.assert_allclose(result.mean.ravel(), expected["mean"], atol=1e-4)
    r = np.array(expected["relationship"])
    assert result.relationship_reciprocity == pytest.approx(r[0, 1] / np.sqrt(r[0, 0] * r[1, 1]), abs=1e-4)
    np.testing.assert_allclose(result.clinician_share + result.relationship_share + result.error_share, 1.0)
    assert abs(result.dyadic_reciprocity) < abs(result.relationship_reciprocity)
    assert result.converged


def test_balanced_data_have_the_closed_form() -> None:
    """With equal numbers and B inside its limits, W = MSW and B = (MSB − MSW)/n (analysis of variance; 1e-6)."""
    p, c, keys = simulated([[0.3, 0.1], [0.1, 0.6]], [[1, 0.3], [0.3, 0.7]], clinicians=50, patients=6)
    y = np.stack([p, c], axis=1).reshape(50, 6, 2)
    means = y.mean(axis=1)
    inside = (y - means[:, None]).reshape(-1, 2)
    within = inside.T @ inside / (50 * 5)
    between = (6 * np.cov(means.T) - within) / 6
    result = one_with_many(p, c, keys, n_draws=0)
    np.testing.assert_allclose(result.within[0], within, atol=1e-6)
    np.testing.assert_allclose(result.between[0], between, atol=1e-6)
    assert result.consensus.estimate[0] == pytest.approx(between[0, 0] / (between[0, 0] + within[0, 0]), abs=1e-6)
    assert result.assimilation.estimate[0] == pytest.approx(between[1, 1] / (between[1, 1] + within[1, 1]), abs=1e-6)
    assert result.dyadic_reciprocity.estimate[0] == pytest.approx(np.corrcoef(inside.T)[0, 1], abs=1e-6)


def test_planted_matrices_are_recovered() -> None:
    """400 clinicians: every figure within .1 of the truth and 3.5 of its standard errors."""
    truth = {"consensus": 0.25, "assimilation": 0.5, "dyadic_reciprocity": 0.3, "generalised_reciprocity": 0.5}
    between = np.array([[0.25, 0.5 * np.sqrt(0.125)], [0.5 * np.sqrt(0.125), 0.5]])
    within = np.array([[0.75, 0.3 * np.sqrt(0.375)], [0.3 * np.sqrt(0.375), 0.5]])
    p, c, keys = simulated(between, within, seed=4, clinicians=400, patients=8)
    result = one_with_many(p, c, keys, n_draws=200, rng=np.random.default_rng(2))
    for name, value in truth.items():
        estimates = getattr(result, name)
        assert estimates.estimate[0] == pytest.approx(value, abs=0.1)
        assert abs(estimates.estimate[0] - value) < 3.5 * estimates.se[0]
        assert estimates.ci_lower[0] < estimates.estimate[0] < estimates.ci_upper[0]
        assert estimates.method == "bootstrap of clinicians, percentile"
    for level, matrix in (("between", between), ("within", within)):
        width = getattr(result, f"{level}_ci_upper")[0] - getattr(result, f"{level}_ci_lower")[0]
        assert (np.abs(getattr(result, level)[0] - matrix) < width).all()
        assert (width > 0).all()
    assert (result.n_draws, result.confidence) == (200, 0.95)


def test_units_order_and_swapped_roles() -> None:
    """Another unit scales the matrices only; row order does nothing; swapping roles swaps the sides."""
    data = data_set("gaps")
    first = one_with_many(data[:, 1], data[:, 2], data[:, 0], n_draws=0)
    order = np.random.default_rng(1).permutation(len(data))
    moved = one_with_many(50 + 20 * data[order, 1], 1e6 - 5 * data[order, 2], data[order, 0], n_draws=0)
    np.testing.assert_allclose(moved.between[0], first.between[0] * [[400, -100], [-100, 25]], rtol=1e-5)
    np.testing.assert_allclose(moved.within[0], first.within[0] * [[400, -100], [-100, 25]], rtol=1e-5)
    assert moved.dyadic_reciprocity.estimate[0] == pytest.approx(-first.dyadic_reciprocity.estimate[0], abs=1e-6)
    swapped = one_with_many(data[:, 2], data[:, 1], data[:, 0], n_draws=0)
    assert swapped.consensus.estimate[0] == pytest.approx(first.assimilation.estimate[0], abs=1e-6)
    assert swapped.log_likelihood[0] == pytest.approx(first.log_likelihood[0], abs=1e-7)
    assert swapped.n_patient_only.tolist() == first.n_clinician_only.tolist()


def test_scales_fitted_together_are_as_fitted_alone() -> None:
    """Scales of different gaps share one call and keep their own answers."""
    owm, gaps = data_set("owm"), data_set("gaps")
    together = one_with_many(
        np.stack([owm[:, 1], gaps[:, 1], owm[:, 2]], axis=1),
        np.stack([owm[:, 2], gaps[:, 2], owm[:, 1]], axis=1),
        owm[:, 0],
        names=["full", "gaps", "turned"],
        n_draws=0,
    )
    for position, data in ((0, owm), (1, gaps)):
        alone = one_with_many(data[:, 1], data[:, 2], data[:, 0], n_draws=0)
        np.testing.assert_allclose(together.between[position], alone.between[0], atol=1e-7)
        assert together.log_likelihood[position] == pytest.approx(alone.log_likelihood[0], abs=1e-8)
    assert together.names == ("full", "gaps", "turned")


def test_a_resample_is_a_fit_of_the_repeated_clinicians() -> None:
    """Counting a clinician twice equals listing the clinician again under another key."""
    p, c, keys = simulated([[0.3, 0.1], [0.1, 0.6]], [[1, 0.3], [0.3, 0.7]], clinicians=30, patients=5)
    counts = np.random.default_rng(3).multinomial(30, np.full(30, 1 / 30)).astype(float)
    fits = fit_bivariate([clinician_moments(p, c, keys, 30)], counts[None])
    rows, labels, label = [], [], 0
    for key in range(30):
        for _ in range(int(counts[key])):
            rows.append(np.flatnonzero(keys == key))
            labels.append(np.full(5, label))
            label += 1
    chosen = np.concatenate(rows)
    listed = one_with_many(p[chosen], c[chosen], np.concatenate(labels), n_draws=0)
    np.testing.assert_allclose(fits.between[:, 0], listed.between[0][[0, 0, 1], [0, 1, 1]], atol=1e-6)
    np.testing.assert_allclose(fits.within[:, 0], listed.within[0][[0, 0, 1], [0, 1, 1]], atol=1e-6)


def test_every_resample_converges_even_at_the_edge() -> None:
    """Hardly any variance of the patients between clinicians: B is often singular, and every fit still settles."""
    p, c, keys = simulated([[0.01, 0.0], [0.0, 0.5]], [[1, 0.3], [0.3, 0.5]], seed=9, clinicians=25, patients=6)
    p, c = p / p.std(), c / c.std()
    draws = np.random.default_rng(5).multinomial(25, np.full(25, 1 / 25), size=200).astype(float)
    fits = fit_bivariate([clinician_moments(p - p.mean(), c - c.mean(), keys, 25)], draws)
    assert fits.converged.all()
    determinant = fits.between[0] * fits.between[2] - fits.between[1] ** 2
    assert (determinant >= -1e-12).all()
    assert (determinant < 1e-9).any()


def clinicians_of(result: OneWithMany) -> str:
    return " | ".join(result.notes)


def test_generalised_reciprocity_is_not_given_where_it_cannot_be() -> None:
    """Below 60 clinicians, at no variance between clinicians and at ±1 it is NaN with its reason; the rest stands."""
    data = data_set("owm")
    forty = one_with_many(data[:, 1], data[:, 2], data[:, 0], n_draws=0)
    assert np.isnan(forty.generalised_reciprocity.estimate[0])
    assert "not estimable with 40 clinicians" in clinicians_of(forty)
    assert not np.isnan(forty.dyadic_reciprocity.estimate[0])
    p, c, keys = simulated([[0.0, 0.0], [0.0, 0.6]], [[1, 0.3], [0.3, 0.7]], clinicians=80)
    # Taking each clinician's mean away leaves less than chance between clinicians: the variance is estimated as zero.
    p = p - np.bincount(keys, p)[keys] / 10
    none = one_with_many(p, c, keys, names=["trust"], n_draws=0)
    assert none.consensus.estimate[0] == pytest.approx(0.0, abs=1e-6)
    assert np.isnan(none.generalised_reciprocity.estimate[0])
    assert none.at_boundary[0]
    assert "trust: no variance between clinicians (consensus at 0)" in clinicians_of(none)
    p, c, keys = simulated([[0.03, 0.0299], [0.0299, 0.03]], [[1, -0.6], [-0.6, 0.7]], seed=3, patients=5)
    edge = one_with_many(p, c, keys, n_draws=0)
    assert edge.at_boundary[0]
    assert np.isnan(edge.generalised_reciprocity.estimate[0])
    assert "at ±1 between clinicians" in clinicians_of(edge)


def test_few_clinicians_are_described_without_intervals() -> None:
    """Below 20 no interval; below 10 the note says that this describes only."""
    p, c, keys = simulated([[0.3, 0.1], [0.1, 0.6]], [[1, 0.3], [0.3, 0.7]], clinicians=15)
    fifteen = one_with_many(p, c, keys, n_draws=100, rng=np.random.default_rng(1))
    assert np.isnan(fifteen.dyadic_reciprocity.ci_lower[0])
    assert not np.isnan(fifteen.dyadic_reciprocity.estimate[0])
    assert "resampling clinicians needs 20" in clinicians_of(fifteen)
    eight = one_with_many(p[:80], c[:80], keys[:80], n_draws=100, rng=np.random.default_rng(1))
    assert "only 8 clinician(s): described" in clinicians_of(eight)


def test_scales_that_cannot_be_fitted_are_named_and_the_others_stand() -> None:
    """Flat within clinicians, the same scores twice, a role missing on one scale, too few pairs."""
    p, c, keys = simulated([[0.3, 0.1], [0.1, 0.6]], [[1, 0.3], [0.3, 0.7]], clinicians=25)
    gone = np.full(len(p), np.nan)
    patient = np.stack([p, p, p, p, keys.astype(float)], axis=1)
    clinician = np.stack([c, keys.astype(float), 2 * p + 1, gone, c], axis=1)
    names = ["fine", "style", "same", "absent", "flat"]
    result = one_with_many(patient, clinician, keys, names=names, n_draws=40, rng=np.random.default_rng(1))
    assert np.isnan(result.dyadic_reciprocity.estimate).tolist() == [False, True, True, True, True]
    assert not np.isnan(result.dyadic_reciprocity.ci_lower[0])
    notes = clinicians_of(result)
    assert "style: not estimable, the clinicians' scores do not vary within clinicians" in notes
    assert "same: not estimable, both roles' scores are the same" in notes
    assert "absent: not estimable, fewer than three dyads with both sides" in notes
    assert "flat: not estimable, the patients' scores do not vary within clinicians" in notes
    assert result.n_patient_only.tolist() == [0, 0, 0, 250, 0]
    assert result.converged.tolist() == [True, False, False, False, False]


def test_clinicians_with_one_patient_stay_in_and_are_named() -> None:
    """They tell about B + W, so the likelihood uses them; the note lists them."""
    data = data_set("owm")
    keep = (data[:, 0] != 7) | (np.cumsum(data[:, 0] == 7) == 1)
    result = one_with_many(data[keep, 1], data[keep, 2], data[keep, 0], n_draws=0)
    assert "1 clinician(s) with one patient" in clinicians_of(result)
    assert clinicians_of(result).count(": 7") == 1
    expected = brute_force(data[keep, 1], data[keep, 2], data[keep, 0], result.between[0], result.within[0])
    assert result.log_likelihood[0] == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"clinicians": np.zeros(60)}, "at least two clinicians"),
        ({"clinicians": np.arange(60)}, "each of the 60 has one"),
        ({"clinicians": np.arange(6)}, "6 keys for 60 rows"),
        ({"patient": np.full(60, np.nan)}, "patients' scores are all missing"),
        ({"rng": None}, "random generator"),
        ({"confidence": 0.0}, "confidence"),
    ],
)
def test_unusable_input_is_refused(change: dict[str, Any], message: str) -> None:
    """One clinician, one patient each, keys that don't match, a missing role, no generator."""
    p, c, keys = simulated([[0.3, 0.1], [0.1, 0.6]], [[1, 0.3], [0.3, 0.7]], clinicians=12, patients=5)
    given: dict[str, Any] = {"patient": p, "clinician": c, "clinicians": keys, "rng": np.random.default_rng(1)} | change
    with pytest.raises(AnalysisInputError, match=message):
        one_with_many(given.pop("patient"), given.pop("clinician"), given.pop("clinicians"), **given)


def test_halves_with_gaps_or_without_relationship() -> None:
    """A side with one half is left out and counted; error as large as all variance leaves no reciprocity."""
    data = np.genfromtxt(REFERENCE / "halves.csv", delimiter=",", skip_header=1)
    data[:5, 3] = np.nan
    data[7, 4:6] = np.nan
    result = separate_relationship_from_error(
        data[:, 2:4], data[:, 4:6], data[:, 0], n_draws=60, rng=np.random.default_rng(1)
    )
    assert result.n_dropped == 5
    assert (result.n_complete, result.n_patient_only, result.n_clinician_only) == (len(data) - 6, 1, 5)
    assert result.relationship_reciprocity_ci_lower < result.relationship_reciprocity
    assert result.relationship_reciprocity < result.relationship_reciprocity_ci_upper
    assert result.relationship_reciprocity_se > 0
    assert (result.n_clinicians, result.n_draws, result.confidence) == (45, 60, 0.95)
    rng = np.random.default_rng(6)
    noise = rng.normal(size=(300, 2))
    noise[:, 1] = -0.5 * noise[:, 0] + noise[:, 1]
    keys = np.repeat(np.arange(30), 10)
    empty = separate_relationship_from_error(noise, rng.normal(size=(300, 2)) + noise, keys, n_draws=0)
    assert np.isnan(empty.relationship_reciprocity)
    assert any("no variance of the relationship beyond error" in note for note in empty.notes)
    with pytest.raises(AnalysisInputError, match="two halves"):
        separate_relationship_from_error(noise[:, 0], noise[:, 1], keys, n_draws=0)
