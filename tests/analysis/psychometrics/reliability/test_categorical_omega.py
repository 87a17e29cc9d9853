"""Categorical omega: semTools' figures, a simulated twin, invariances, refusals."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from analysis.psychometrics.errors import AnalysisInputError
from analysis.psychometrics.reliability.categorical_omega import categorical_omega, categorical_omega_of_model

FloatArray = npt.NDArray[np.float64]
Read = Callable[..., FloatArray]
Figures = Callable[[str], Any]
RUNS = ["agree", "conscientious", "extraverted", "neurotic", "open", "ability_reason", "ceiling_first", "ceiling_all"]


def scale_of(read: Read, figures: Figures, run: str) -> FloatArray:
    """The answers behind one of R's runs, reversed items turned round."""
    if run == "ability_reason":
        return read("ability")[:, :4]
    if run.startswith("ceiling"):
        data = read("ceiling")[:, 1:]
        data[:, 4] = 6 - data[:, 4]
        return data[:, :4] if run == "ceiling_first" else data
    alpha = figures("alpha")
    items = alpha["scales"][run]
    values = read("bfi", *items)
    turned = [item in alpha["reversed"] for item in items]
    values[:, turned] = 7 - values[:, turned]
    return values


@pytest.mark.parametrize("run", RUNS)
def test_one_factor_matches_semtools(classical_columns: Read, classical_figures: Figures, run: str) -> None:
    """compRelSEM(ord.scale = TRUE) of lavaan's WLSMV fit: omega, loadings and thresholds within 1e-6."""
    figures = classical_figures("categorical_omega")[run]
    result = categorical_omega(scale_of(classical_columns, classical_figures, run))
    assert result.omega == pytest.approx(figures["omega"]["f"], abs=1e-6)
    np.testing.assert_allclose(result.loadings, np.array(figures["lambda"]).ravel(), atol=1e-5)
    np.testing.assert_allclose(np.concatenate(result.thresholds), figures["tau"], atol=1e-8)
    assert result.n_used == figures["n"]
    assert (result.converged, result.admissible) == (True, True)


def test_scales_of_a_larger_model_match_semtools(classical_columns: Read, classical_figures: Figures) -> None:
    """From lavaan's three-factor solution and the polychoric correlations: each factor's items (1e-6)."""
    figures = classical_figures("categorical_omega")["ceiling_three"]
    thresholds = categorical_omega(scale_of(classical_columns, classical_figures, "ceiling_all")).thresholds
    loadings, correlation = np.array(figures["lambda"]), np.array(figures["correlation"])
    for number, name in enumerate("abc"):
        items = slice(4 * number, 4 * number + 4)
        own = loadings[items, number]
        omega = categorical_omega_of_model(thresholds[items], np.outer(own, own), correlation=correlation[items, items])
        assert omega == pytest.approx(figures["omega"][name], abs=1e-6)


def test_it_is_the_correlation_of_parallel_sum_scores() -> None:
    """Two simulated administrations with the same factor score: their sums correlate at omega (n 400,000: ±.002)."""
    rng = np.random.default_rng(1)
    loadings = np.array([0.8, 0.7, 0.6, 0.5])
    cuts = [np.array([-2.0, -1.5, -0.8]), np.array([-1.0, 0.5]), np.array([-0.5]), np.array([-1.5, -1.0, 0.0, 1.0])]
    factor = rng.standard_normal((400_000, 1))

    def administer() -> FloatArray:
        latent = factor * loadings + rng.standard_normal((400_000, 4)) * np.sqrt(1 - loadings**2)
        return np.column_stack([np.digitize(latent[:, i], cuts[i]) for i in range(4)]).sum(axis=1)

    common = np.outer(loadings, loadings)
    correlation = common.copy()
    np.fill_diagonal(correlation, 1)
    expected = np.corrcoef(administer(), administer())[0, 1]
    assert categorical_omega_of_model(cuts, common, correlation=correlation) == pytest.approx(expected, abs=0.002)


def test_unequal_steps_weigh_their_thresholds() -> None:
    """Scores 0, 1, 5 are a step of 1 and one of 4; a common factor of steps changes nothing."""
    rng = np.random.default_rng(2)
    loadings = np.array([0.8, 0.7, 0.6])
    cuts = [np.array([-0.5, 1.0])] * 3
    common = np.outer(loadings, loadings)
    correlation = common + np.diag(1 - loadings**2)
    steps = [np.array([1.0, 4.0])] * 3
    factor = rng.standard_normal((300_000, 1))

    def administer() -> FloatArray:
        latent = factor * loadings + rng.standard_normal((300_000, 3)) * np.sqrt(1 - loadings**2)
        return np.asarray(np.array([0.0, 1.0, 5.0])[np.digitize(latent, cuts[0])].sum(axis=1))

    omega = categorical_omega_of_model(cuts, common, correlation=correlation, steps=steps)
    assert omega == pytest.approx(np.corrcoef(administer(), administer())[0, 1], abs=0.003)
    even = categorical_omega_of_model(cuts, common, correlation=correlation)
    assert abs(omega - even) > 0.005
    tenfold = categorical_omega_of_model(cuts, common, correlation=correlation, steps=[np.full(2, 10.0)] * 3)
    assert tenfold == pytest.approx(even, abs=1e-12)


def test_it_follows_the_items_and_all_of_them_reversed(classical_columns: Read, classical_figures: Figures) -> None:
    """Another order of rows and items, another origin, and all items turned round leave it (1e-8: the fit's stop)."""
    rows = scale_of(classical_columns, classical_figures, "agree")
    rng = np.random.default_rng(4)
    omega = categorical_omega(rows).omega
    moved = categorical_omega(rows[rng.permutation(len(rows))][:, [3, 1, 4, 0, 2]] * 2 + 1).omega
    assert moved == pytest.approx(omega, abs=1e-8)
    assert categorical_omega(7 - rows).omega == pytest.approx(omega, abs=1e-8)


def test_missing_answers_and_weak_spots_are_said(classical_columns: Read, classical_figures: Figures) -> None:
    """Pairwise keeps everybody; a wrongly keyed item is named; a copy is named; a perfect item has no omega."""
    rows = scale_of(classical_columns, classical_figures, "agree")
    pairwise = categorical_omega(rows, missing="pairwise")
    assert pairwise.n_used > categorical_omega(rows).n_used
    assert pairwise.omega == pytest.approx(categorical_omega(rows).omega, abs=0.02)
    turned = rows.copy()
    turned[:, 2] = 7 - turned[:, 2]
    assert "negative loading, check the keying of item 3" in categorical_omega(turned).notes
    copied = categorical_omega(np.column_stack([rows, rows[:, 0]]))
    assert any("item 1 with item 6" in note for note in copied.notes)
    latent = np.random.default_rng(5).standard_normal((400, 2))
    # One item the sum of two unrelated ones: the factor would need a loading above one.
    heywood = np.digitize(np.column_stack([latent.sum(axis=1), latent]), [-0.7, 0.0, 0.7])
    result = categorical_omega(heywood, item_codes=["sum", "one", "two"])
    assert np.isnan(result.omega)
    assert not result.admissible
    assert any("Heywood case: the loading of sum" in note for note in result.notes)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: categorical_omega(x[:, :2]), "at least three items"),
        (lambda x: categorical_omega(np.where(np.arange(4) == 1, 2.0, x)), "item 2"),
        (lambda x: categorical_omega_of_model([[0.0]] * 3, np.eye(2), correlation=np.eye(3)), "two matrices"),
        (lambda x: categorical_omega_of_model([[0.0]] * 2, np.eye(2) * 1.2, correlation=np.eye(2)), "admissible"),
        (
            lambda x: categorical_omega_of_model([[0.0]] * 2, np.eye(2), correlation=np.eye(2), steps=[[1, 1]] * 2),
            "one distance",
        ),
        (
            lambda x: categorical_omega_of_model([[0.0]] * 2, np.eye(2), correlation=2 * np.eye(2) - 1),
            "cancel one another",
        ),
    ],
)
def test_what_has_no_categorical_omega_is_refused_in_words(call: Callable[[FloatArray], Any], message: str) -> None:
    """Two items, one category, and arguments that do not fit."""
    rng = np.random.default_rng(6)
    answers = np.digitize(rng.standard_normal((200, 1)) + rng.standard_normal((200, 4)), [-1, 0, 1]).astype(np.float64)
    with pytest.raises(AnalysisInputError, match=message):
        call(answers)
