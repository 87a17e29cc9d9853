"""Exploratory factors, KMO and Bartlett behind their adapter."""

import doctest
import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from factor_analyzer import FactorAnalyzer
from scipy.stats import chi2

from analysis.adapters import factor_analyzer_efa
from analysis.adapters.factor_analyzer_efa import (
    Extraction,
    Rotation,
    bartlett_sphericity,
    explore_factors,
    sampling_adequacy,
)
from analysis.psychometrics.errors import AnalysisInputError
from analysis.psychometrics.exploratory import factor_analysis
from analysis.psychometrics.simulation import SimulationDesign, SimulationStructure, simulate_dyads

FloatArray = npt.NDArray[np.float64]
R_RUNS: list[tuple[str, Extraction, Rotation]] = [
    ("fa_minres3_oblimin", "minres", "oblimin"),
    ("fa_minres3_varimax", "minres", "varimax"),
    ("fa_ml3_oblimin", "ml", "oblimin"),
]
ROTATIONS: list[Rotation] = ["oblimin", "promax", "varimax", "none"]


def table(rows: dict[str, dict[str, float]]) -> FloatArray:
    """A named table of R's as an array."""
    return np.array([list(row.values()) for row in rows.values()], dtype=np.float64)


@pytest.mark.parametrize(("key", "extraction", "rotation"), R_RUNS)
def test_three_factors_match_psych(
    hs1939: FloatArray, r_figures: dict[str, Any], key: str, extraction: Extraction, rotation: Rotation
) -> None:
    """Order, signs and values of psych's `fa`; 1e-4, its search and rotation stop about there."""
    figures = r_figures[key]
    result = explore_factors(hs1939, n_factors=3, extraction=extraction, rotation=rotation)
    np.testing.assert_allclose(result.loadings, table(figures["loadings"]), atol=1e-4)
    phi = np.eye(3) if figures["Phi"] is None else table(figures["Phi"])
    np.testing.assert_allclose(result.phi, phi, atol=1e-4)
    np.testing.assert_allclose(result.communalities, list(figures["communality"].values()), atol=1e-4)
    np.testing.assert_allclose(result.uniquenesses, list(figures["uniqueness"].values()), atol=1e-4)
    np.testing.assert_allclose(result.variance, list(figures["ss_loadings"].values()), atol=1e-4)
    np.testing.assert_allclose(result.variance_share, result.variance / 9, atol=1e-15)
    np.testing.assert_allclose(result.eigenvalues, r_figures["eigenvalues"], atol=1e-9)
    assert result.rmsr == pytest.approx(figures["rms"], abs=1e-6)
    assert result.chisq == pytest.approx(figures["statistic"], abs=1e-3)
    assert result.df == figures["dof"]
    assert result.pvalue == pytest.approx(figures["pvalue"], abs=1e-5)
    assert (result.n_factors, result.extraction, result.rotation) == (3, extraction, rotation)
    assert (result.n_used, result.n_dropped, result.missing) == (301, 0, "listwise")
    assert result.converged
    assert result.admissible
    assert result.notes == ()


@pytest.mark.parametrize("extraction", ["minres", "ml"])
@pytest.mark.parametrize("rotation", ["oblimin", "promax", "varimax", "none"])
def test_the_solution_equals_the_packages_own(hs1939: FloatArray, extraction: Extraction, rotation: Rotation) -> None:
    """Two roads to one solution, the library's and the package's (1e-4: where their searches stop)."""
    result = explore_factors(hs1939, n_factors=3, extraction=extraction, rotation=rotation)
    own = factor_analysis.explore_factors(hs1939, n_factors=3, extraction=extraction, rotation=rotation)
    order = [int(np.argmax(np.abs(own.loadings.T @ column))) for column in result.loadings.T]
    assert sorted(order) == [0, 1, 2]  # factors that explain nearly as much may stand in either order
    np.testing.assert_allclose(result.loadings, own.loadings[:, order], atol=1e-4)
    np.testing.assert_allclose(result.phi, own.phi[np.ix_(order, order)], atol=1e-4)
    np.testing.assert_allclose(result.communalities, own.communalities, atol=1e-4)
    assert (result.chisq, result.rmsr) == pytest.approx((own.chisq, own.rmsr), abs=1e-3)
    matrix = np.corrcoef(hs1939, rowvar=False)
    adequacy, own_adequacy = sampling_adequacy(hs1939), factor_analysis.kaiser_meyer_olkin(matrix)
    np.testing.assert_allclose(adequacy.per_item, own_adequacy.per_item, atol=1e-9)
    own_test = factor_analysis.bartlett_sphericity(matrix, n_used=301)
    assert bartlett_sphericity(hs1939).chisq == pytest.approx(own_test.chisq, abs=1e-7)


def test_the_librarys_own_factor_correlations_are_out_of_order(hs1939: FloatArray, r_figures: dict[str, Any]) -> None:
    """Control: what the adapter is for. .213 stands where R has .323; ours is right."""
    with pytest.warns(FutureWarning, match="force_all_finite"):
        library = FactorAnalyzer(n_factors=3, rotation="oblimin", method="minres").fit(hs1939.copy())
    wanted = table(r_figures["fa_minres3_oblimin"]["Phi"])
    assert library.phi_[0, 1] == pytest.approx(0.213, abs=0.001)
    assert wanted[0, 1] == pytest.approx(0.323, abs=0.001)
    assert explore_factors(hs1939, n_factors=3).phi[0, 1] == pytest.approx(wanted[0, 1], abs=1e-4)


@pytest.mark.parametrize("rotation", ROTATIONS)
def test_every_rotation_reproduces_the_same_correlations(hs1939: FloatArray, rotation: Rotation) -> None:
    """L Φ L' does not depend on the rotation; structure, communalities and variance follow from L and Φ."""
    plain = explore_factors(hs1939, n_factors=3, rotation="none")
    turned = explore_factors(hs1939, n_factors=3, rotation=rotation)
    np.testing.assert_allclose(
        turned.loadings @ turned.phi @ turned.loadings.T, plain.loadings @ plain.loadings.T, atol=1e-9
    )
    np.testing.assert_allclose(np.diag(turned.phi), 1, atol=1e-9)
    np.testing.assert_allclose(turned.structure, turned.loadings @ turned.phi, atol=1e-12)
    np.testing.assert_allclose(
        turned.communalities, np.diag(turned.loadings @ turned.phi @ turned.loadings.T), atol=1e-12
    )
    np.testing.assert_allclose(turned.communalities, plain.communalities, atol=1e-9)
    assert turned.variance.sum() == pytest.approx(turned.communalities.sum(), abs=1e-9)
    assert turned.rmsr == pytest.approx(plain.rmsr, abs=1e-9)
    squares = (turned.loadings**2).sum(axis=0)
    assert (np.diff(squares) <= 0).all()
    assert (turned.loadings.sum(axis=0) >= 0).all()


def test_promax_equals_its_twin(hs1939: FloatArray) -> None:
    """Hendrickson & White (1964) from the varimax loadings, Kaiser-normalised, power 4 (1e-5: varimax's stop)."""
    varimax = explore_factors(hs1939, n_factors=3, rotation="varimax")
    size = np.sqrt(varimax.communalities)[:, None]
    unit = varimax.loadings / size
    turn = np.linalg.lstsq(unit, unit * np.abs(unit) ** 3, rcond=None)[0]
    turn = turn * np.sqrt(np.diag(np.linalg.inv(turn.T @ turn)))
    result = explore_factors(hs1939, n_factors=3, rotation="promax")
    pattern, back = unit @ turn * size, np.linalg.inv(turn)
    order = np.argsort(-(pattern**2).sum(axis=0))  # promax reorders two nearly equal factors
    np.testing.assert_allclose(result.loadings, pattern[:, order], atol=1e-5)
    np.testing.assert_allclose(result.phi, (back @ back.T)[np.ix_(order, order)], atol=1e-5)


def test_the_solution_follows_the_items(hs1939: FloatArray) -> None:
    """Other units leave it, a permutation permutes it, a reversed item changes the sign of its row."""
    base = explore_factors(hs1939, n_factors=3)
    np.testing.assert_allclose(explore_factors(25 * (hs1939 - 1), n_factors=3).loadings, base.loadings, atol=1e-4)
    order = np.array([8, 0, 5, 2, 7, 1, 4, 3, 6])
    np.testing.assert_allclose(explore_factors(hs1939[:, order], n_factors=3).loadings, base.loadings[order], atol=1e-4)
    turned = hs1939.copy()
    turned[:, 4] = 10 - turned[:, 4]
    signs = np.where(np.arange(9) == 4, -1.0, 1.0)[:, None]
    np.testing.assert_allclose(explore_factors(turned, n_factors=3).loadings, signs * base.loadings, atol=1e-4)


def test_planted_simple_structure_is_found() -> None:
    """Three correlated factors (.3), four items each, loading .8: pattern and Phi come back (n = 20,000, SE ≈ .01)."""
    rng = np.random.default_rng(12)
    phi = np.full((3, 3), 0.3) + 0.7 * np.eye(3)
    factors = rng.multivariate_normal(np.zeros(3), phi, size=20_000)
    data = 0.8 * np.repeat(factors, 4, axis=1) + 0.6 * rng.standard_normal((20_000, 12))
    result = explore_factors(data, n_factors=3)
    np.testing.assert_allclose(np.abs(result.loadings).max(axis=1), 0.8, atol=0.03)
    assert np.sort(np.abs(result.loadings), axis=1)[:, :2].max() < 0.04
    np.testing.assert_allclose(result.phi[np.triu_indices(3, k=1)], 0.3, atol=0.03)
    own = np.abs(result.loadings).argmax(axis=1)
    assert (np.diff(own[result.display_order]) >= 0).all()
    strength = np.abs(result.loadings).max(axis=1)[result.display_order]
    assert (np.diff(strength)[np.diff(own[result.display_order]) == 0] <= 0).all()


def test_one_factor_is_not_rotated(hs1939: FloatArray) -> None:
    """The same with every rotation, Phi is 1, no complaint."""
    solutions = [explore_factors(hs1939[:, 3:6], n_factors=1, rotation=rotation) for rotation in ("none", "oblimin")]
    np.testing.assert_array_equal(solutions[0].loadings, solutions[1].loadings)
    assert solutions[0].phi.tolist() == [[1.0]]
    assert solutions[0].df == 0
    assert np.isnan(solutions[0].pvalue)
    assert solutions[0].chisq == pytest.approx(0, abs=1e-4)


def test_missing_answers_are_dropped_or_used_pairwise_and_counted(hs1939: FloatArray) -> None:
    """Listwise equals the complete rows alone; pairwise keeps more and says so; the input stays as it was."""
    holes = hs1939.copy()
    holes[:30, 0] = np.nan
    holes[25:50, 4] = np.nan
    before = holes.copy()
    listwise = explore_factors(holes, n_factors=3)
    np.testing.assert_array_equal(holes, before)
    assert (listwise.n_used, listwise.n_dropped) == (251, 50)
    np.testing.assert_array_equal(listwise.loadings, explore_factors(hs1939[50:], n_factors=3).loadings)
    pairwise = explore_factors(holes, n_factors=3, missing="pairwise")
    assert pairwise.n_used == 251
    assert "pairwise-complete" in pairwise.notes[0]
    assert np.abs(pairwise.loadings - listwise.loadings).max() > 1e-3
    np.testing.assert_array_equal(holes, before)


def test_a_heywood_case_is_reported_not_hidden() -> None:
    """Correlations that ask for more than all of an item's variance: inadmissible, with the item's code."""
    rng = np.random.default_rng(3)
    wanted = np.array([[1, 0.8, 0.8, 0.1], [0.8, 1, 0.4, 0.1], [0.8, 0.4, 1, 0.1], [0.1, 0.1, 0.1, 1]])
    rows = rng.standard_normal((300, 4)) @ np.linalg.cholesky(wanted).T
    result = explore_factors(rows, n_factors=1, item_codes=["AC1", "AC2", "AM1", "AM3"])
    assert result.uniquenesses.min() < 0.006
    assert not result.admissible
    assert any("Heywood" in note and "AC1" in note for note in result.notes)


def test_a_factor_without_items_is_noted() -> None:
    """Four factors asked of noise and one real factor leave factors that fewer than two items mark."""
    rng = np.random.default_rng(5)
    data = rng.standard_normal((400, 1)) * [1, 1, 1, 1, 1, 1, 0, 0, 0] + rng.standard_normal((400, 9))
    result = explore_factors(data, n_factors=4)
    assert any("fewer than two items" in note for note in result.notes)


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (lambda x: x, {"n_factors": 6}, "1 to 5 factors for 9 items .* got 6"),
        (lambda x: x, {"n_factors": 0}, "got 0"),
        (lambda x: x[:, :2], {"n_factors": 1}, "at least 3 items; got 2"),
        (lambda x: x, {"n_factors": 2, "extraction": "principal"}, "got 'principal'"),
        (lambda x: x, {"n_factors": 2, "rotation": "quartimax"}, "got 'quartimax'"),
        (lambda x: x[:9], {"n_factors": 2}, "got 9 usable for 9 items"),
        (lambda x: x * np.nan, {"n_factors": 2}, "got 0 of 301"),
        (lambda x: np.column_stack([x, x[:, 0]]), {"n_factors": 2}, "item 1 and item 10 correlate perfectly"),
        (lambda x: np.column_stack([x, x.mean(axis=1)]), {"n_factors": 2}, "item 10 can be computed"),
        (lambda x: np.column_stack([x, np.ones(301)]), {"n_factors": 2}, "rows used: item 10"),
    ],
)
def test_what_cannot_be_factored_is_refused_in_words(
    hs1939: FloatArray, change: Any, options: dict[str, Any], message: str
) -> None:
    """Never a LinAlgError: each case names what is wrong and a remedy."""
    with pytest.raises(AnalysisInputError, match=f"{message}.*Remedy"):
        explore_factors(change(hs1939), **options)


def test_kmo_matches_psych(hs1939: FloatArray, r_figures: dict[str, Any]) -> None:
    """psych's MSA overall and per item; 1e-6, nothing but the formula."""
    result = sampling_adequacy(hs1939, item_codes=list(r_figures["kmo"]["MSAi"]))
    assert result.overall == pytest.approx(r_figures["kmo"]["MSA"], abs=1e-6)
    np.testing.assert_allclose(result.per_item, list(r_figures["kmo"]["MSAi"].values()), atol=1e-6)
    assert result.item_codes[0] == "x1"
    assert (result.n_used, result.n_dropped, result.missing, result.notes) == (301, 0, "listwise", ())


def test_bartlett_matches_psych(hs1939: FloatArray, r_figures: dict[str, Any]) -> None:
    """psych's chi-square, degrees of freedom and p; 1e-6."""
    result = bartlett_sphericity(hs1939)
    assert result.chisq == pytest.approx(r_figures["bartlett"]["chisq"], abs=1e-6)
    assert result.df == r_figures["bartlett"]["df"]
    assert result.pvalue == pytest.approx(r_figures["bartlett"]["p_value"], rel=1e-6)
    assert (result.n_used, result.n_dropped, result.missing, result.notes) == (301, 0, "listwise", ())


def test_pairwise_kmo_and_bartlett_equal_their_twins(hs1939: FloatArray) -> None:
    """Both from the pairwise matrix and the smallest number of a pair, by formula (1e-8: an inverse apart)."""
    holes = hs1939.copy()
    holes[np.random.default_rng(1).random(holes.shape) < 0.1] = np.nan
    adequacy = sampling_adequacy(holes, missing="pairwise")
    sphericity = bartlett_sphericity(holes, missing="pairwise")
    matrix = np.eye(9)
    counts = []
    for i in range(9):
        for j in range(i):
            both = ~np.isnan(holes[:, [i, j]]).any(axis=1)
            matrix[i, j] = matrix[j, i] = np.corrcoef(holes[both][:, [i, j]], rowvar=False)[0, 1]
            counts.append(int(both.sum()))
    inverse = np.linalg.inv(matrix)
    partial = inverse / np.sqrt(np.outer(np.diag(inverse), np.diag(inverse)))
    r2, q2 = matrix**2 - np.eye(9), partial**2 - np.eye(9)
    assert adequacy.overall == pytest.approx(r2.sum() / (r2.sum() + q2.sum()), abs=1e-8)
    np.testing.assert_allclose(adequacy.per_item, r2.sum(axis=0) / (r2.sum(axis=0) + q2.sum(axis=0)), atol=1e-8)
    n = min(counts)
    statistic = -(n - 1 - 23 / 6) * np.linalg.slogdet(matrix)[1]
    assert sphericity.chisq == pytest.approx(statistic, abs=1e-8)
    assert sphericity.pvalue == pytest.approx(chi2.sf(statistic, 36), rel=1e-6)
    assert (adequacy.n_used, sphericity.n_used) == (n, n)
    assert "pairwise-complete" in sphericity.notes[0]


def test_unrelated_items_are_not_adequate() -> None:
    """Noise: KMO near .5, and Bartlett's p is not small (seed fixed)."""
    noise = np.random.default_rng(21).standard_normal((400, 8))
    assert sampling_adequacy(noise).overall == pytest.approx(0.5, abs=0.06)
    assert bartlett_sphericity(noise).pvalue > 0.05


def test_fifty_items_work_without_a_warning(full_form: SimulationStructure) -> None:
    """The full form's determinant is tiny: no pseudo-inverse note, five factors in about a second."""
    dyads = simulate_dyads(full_form, SimulationDesign(careless_share=0), np.random.default_rng(6))
    answers = np.where(full_form.reversed_item, 6.0 - dyads.patient_items, dyads.patient_items)
    answers[dyads.patient_items < 1] = np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        adequacy = sampling_adequacy(answers, missing="pairwise")
        result = explore_factors(answers, n_factors=5, missing="pairwise")
    assert adequacy.overall > 0.9
    assert len(adequacy.notes) == 1
    assert result.loadings.shape == (50, 5)
    assert result.converged


def test_a_library_warning_becomes_a_note_unless_it_is_known_to_be_harmless() -> None:
    """What the library says is neither lost nor raised; the two known notices are left out."""

    def talkative() -> int:
        warnings.warn("Failed to converge: precision", stacklevel=2)
        warnings.warn("'force_all_finite' was renamed to 'ensure_all_finite'", FutureWarning, stacklevel=2)
        return 7

    assert factor_analyzer_efa._listening(talkative) == (7, ["Failed to converge: precision"])


def test_result_arrays_are_closed(hs1939: FloatArray) -> None:
    """A frozen result cannot be written through its arrays."""
    result = explore_factors(hs1939, n_factors=2)
    for array in (result.loadings, result.phi, result.structure, result.communalities, result.display_order):
        assert not array.flags.writeable


def test_docstring_examples_run() -> None:
    """The examples print what they say."""
    result = doctest.testmod(factor_analyzer_efa)
    assert result.attempted >= 8
    assert result.failed == 0
