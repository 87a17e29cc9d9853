"""Rotations: twins by brute force, invariances, and what they may not do. R's figures: test_factor_analysis.py."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy.optimize import minimize

from analysis.psychometrics.errors import AnalysisInputError
from analysis.psychometrics.exploratory.rotation import Rotation, oblimin, promax, rotate, sign_and_sort, varimax

FloatArray = npt.NDArray[np.float64]
ROTATIONS: list[Rotation] = ["oblimin", "promax", "varimax", "none"]


@pytest.fixture
def unrotated() -> FloatArray:
    """Two planted factors of five items each, turned away from simple structure by 40 degrees."""
    pattern = np.zeros((10, 2))
    pattern[:5, 0] = [0.8, 0.7, 0.6, 0.75, 0.5]
    pattern[5:, 1] = [0.7, 0.65, 0.8, 0.55, 0.6]
    pattern[2, 1], pattern[7, 0] = 0.15, -0.1
    angle = np.deg2rad(40)
    return pattern @ np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def test_varimax_finds_the_best_angle(unrotated: FloatArray) -> None:
    """Of 100,000 angles none gives the Kaiser-normalised loadings a larger criterion; R stops before it."""
    size = np.sqrt((unrotated**2).sum(axis=1))[:, None]
    angles = np.linspace(0, np.pi, 100_000)
    unit = unrotated / size
    first = np.outer(np.cos(angles), unit[:, 0]) + np.outer(np.sin(angles), unit[:, 1])
    second = -np.outer(np.sin(angles), unit[:, 0]) + np.outer(np.cos(angles), unit[:, 1])
    best = float(((first**2).var(axis=1) + (second**2).var(axis=1)).max())
    result = varimax(unrotated, tolerance=1e-13)
    assert ((result.loadings / size) ** 2).var(axis=0).sum() == pytest.approx(best, abs=1e-8)
    assert ((varimax(unrotated).loadings / size) ** 2).var(axis=0).sum() == pytest.approx(best, abs=2e-4)
    assert result.converged
    np.testing.assert_allclose(result.loadings @ result.loadings.T, unrotated @ unrotated.T, atol=1e-12)


def test_oblimin_finds_the_best_pair_of_angles(unrotated: FloatArray) -> None:
    """A general optimiser over the two directions of the factors finds no smaller quartimin criterion (1e-9)."""

    def criterion(angles: FloatArray) -> float:
        turn = np.array([np.cos(angles), np.sin(angles)])
        rotated = unrotated @ np.linalg.inv(turn).T
        return float(np.sum(rotated[:, 0] ** 2 * rotated[:, 1] ** 2) / 2)

    result = oblimin(unrotated, tolerance=1e-9)
    starts = [np.array([a, a + 1.2]) for a in np.linspace(0, np.pi, 4)]
    best = min(minimize(criterion, start, tol=1e-12).fun for start in starts)
    assert result.criterion == pytest.approx(best, abs=1e-9)
    assert result.criterion == pytest.approx(
        float(np.sum(result.loadings[:, 0] ** 2 * result.loadings[:, 1] ** 2) / 2), abs=1e-12
    )


@pytest.mark.parametrize("rotation", ROTATIONS)
def test_no_rotation_changes_what_the_factors_reproduce(unrotated: FloatArray, rotation: Rotation) -> None:
    """Λ Φ Λ' stays, factors have unit variance, items in another order give rows in that order."""
    result = rotate(unrotated, rotation=rotation)
    np.testing.assert_allclose(result.loadings @ result.phi @ result.loadings.T, unrotated @ unrotated.T, atol=1e-10)
    np.testing.assert_allclose(np.diag(result.phi), 1, atol=1e-12)
    order = np.random.default_rng(1).permutation(10)
    np.testing.assert_allclose(rotate(unrotated[order], rotation=rotation).loadings, result.loadings[order], atol=1e-4)
    assert not result.loadings.flags.writeable


@pytest.mark.parametrize("rotation", ["oblimin", "promax"])
def test_planted_simple_structure_comes_back(rotation: Any) -> None:
    """Perfect simple structure with correlated factors: oblimin recovers it exactly, promax nearly (its target)."""
    pattern = np.kron(np.eye(3), np.array([[0.8], [0.7], [0.6], [0.5]]))
    phi = np.array([[1, 0.4, 0.3], [0.4, 1, 0.2], [0.3, 0.2, 1]])
    start = pattern @ np.linalg.cholesky(phi)
    loadings, correlations = sign_and_sort(*[getattr(rotate(start, rotation=rotation), a) for a in ("loadings", "phi")])
    strongest = np.abs(loadings).argmax(axis=1)
    np.testing.assert_allclose(
        np.abs(loadings).max(axis=1), pattern.sum(axis=1), atol=1e-4 if rotation == "oblimin" else 0.05
    )
    assert len(set(strongest[::4])) == 3
    np.testing.assert_allclose(
        np.sort(correlations[np.triu_indices(3, 1)]), [0.2, 0.3, 0.4], atol=1e-4 if rotation == "oblimin" else 0.08
    )


def test_the_normalisation_of_promax_is_what_sets_the_two_of_psych_apart(unrotated: FloatArray) -> None:
    """Without it the target is fitted to loadings as they are; both follow their formula from varimax loadings."""
    for normalize in (True, False):
        size = np.sqrt((unrotated**2).sum(axis=1))[:, None] if normalize else 1.0
        start = varimax(unrotated / size).loadings
        turn = np.linalg.solve(start.T @ start, start.T @ (start * np.abs(start) ** 3))
        turn = turn * np.sqrt(np.diag(np.linalg.inv(turn.T @ turn)))
        result = promax(unrotated, normalize=normalize)
        np.testing.assert_allclose(result.loadings, start @ turn * size, atol=1e-9)
        np.testing.assert_allclose(result.phi, np.linalg.inv(turn.T @ turn), atol=1e-9)
    assert np.abs(promax(unrotated).loadings - promax(unrotated, normalize=False).loadings).max() > 1e-3


def test_gamma_and_kaiser_weights_change_oblimin_as_they_should(unrotated: FloatArray) -> None:
    """A negative gamma makes factors less correlated; with normalisation rows are weighted alike."""
    freely, tightly = oblimin(unrotated).phi[0, 1], oblimin(unrotated, gamma=-4).phi[0, 1]
    assert abs(tightly) < abs(freely)
    size = np.sqrt((unrotated**2).sum(axis=1))[:, None]
    np.testing.assert_allclose(
        oblimin(unrotated, normalize=True).loadings, oblimin(unrotated / size).loadings * size, atol=1e-12
    )


def test_another_gamma_matches_gparotation() -> None:
    """R: `GPArotation::oblimin(L, gam = -0.5)` of five items on two factors; 1e-6, the same steps."""
    loadings = np.array([[0.7, -0.3], [0.6, -0.3], [0.6, 0.4], [0.5, 0.4], [0.4, 0.1]])
    result = oblimin(loadings, gamma=-0.5)
    expected = [
        [0.736036716179, 0.058259282098],
        [0.667437476816, 0.008220136696],
        [0.070472715333, 0.689587853365],
        [0.001873475969, 0.639548707963],
        [0.189116277242, 0.297494826846],
    ]
    np.testing.assert_allclose(result.loadings, expected, atol=1e-6)
    assert result.phi[0, 1] == pytest.approx(0.4064251337, abs=1e-6)


def test_random_starts_escape_a_local_minimum_and_never_do_worse() -> None:
    """Four starts reach at most the criterion of R's single start; the same seed gives the same answer."""
    rng = np.random.default_rng(4)
    complex_structure = np.abs(rng.standard_normal((10, 4))) * 0.4

    def turned(turn: np.random.Generator) -> FloatArray:
        return np.asarray(np.linalg.qr(turn.standard_normal((4, 4)))[0])

    # From this position (found by trying ten) the single start ends in the worse of two minima.
    loadings = complex_structure @ turned(rng) @ turned(np.random.default_rng(4))
    one = oblimin(loadings)
    many = oblimin(loadings, n_starts=4, rng=np.random.default_rng(1))
    again = oblimin(loadings, n_starts=4, rng=np.random.default_rng(1))
    assert many.criterion < one.criterion - 1e-3
    np.testing.assert_array_equal(many.loadings, again.loadings)
    with pytest.raises(AnalysisInputError, match="requires rng for 3 starts"):
        oblimin(loadings, n_starts=3)


def test_a_search_cut_short_says_so(unrotated: FloatArray) -> None:
    """One step is too few; the result admits it."""
    assert not oblimin(unrotated, max_iterations=1).converged
    assert not varimax(unrotated, max_iterations=1).converged


def test_items_without_communality_and_single_factors_pass() -> None:
    """A row of zeros stays one under Kaiser's normalisation; one factor is left as it is."""
    loadings = np.array([[0.7, 0.2], [0.0, 0.0], [0.3, 0.6]])
    for rotation in ROTATIONS:
        np.testing.assert_allclose(rotate(loadings, rotation=rotation).loadings[1], 0, atol=1e-12)
        np.testing.assert_array_equal(rotate(loadings[:, :1], rotation=rotation).loadings, loadings[:, :1])


def test_factors_are_signed_and_sorted_together() -> None:
    """Columns sum above zero, the one that explains most stands first, and phi goes along."""
    loadings = np.array([[0.1, -0.8], [0.2, -0.7], [0.5, 0.1]])
    phi = np.array([[1.0, -0.3], [-0.3, 1.0]])
    turned, correlations = sign_and_sort(loadings, phi)
    np.testing.assert_allclose(turned, [[0.8, 0.1], [0.7, 0.2], [-0.1, 0.5]])
    np.testing.assert_allclose(correlations, [[1.0, 0.3], [0.3, 1.0]])


@pytest.mark.parametrize(
    ("loadings", "message"),
    [
        (np.ones(3), r"got shape \(3,\)"),
        (np.array([[0.5, np.nan], [0.1, 0.2]]), "NaN or infinite"),
        (np.ones((2, 3)), "at least as many items as factors"),
    ],
)
def test_what_is_no_matrix_of_loadings_is_refused(loadings: FloatArray, message: str) -> None:
    """Shape, gaps and too many factors."""
    with pytest.raises(AnalysisInputError, match=message):
        rotate(loadings, rotation="oblimin")


def test_an_unknown_rotation_is_refused() -> None:
    """Only four exist."""
    with pytest.raises(AnalysisInputError, match="got 'quartimax'"):
        rotate(np.eye(3)[:, :2], rotation="quartimax")  # type: ignore[arg-type]
