"""Omega hierarchical by Schmid–Leiman and from bifactor estimates: psych, semTools, planted models."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from analysis.psychometrics.errors import AnalysisInputError
from analysis.psychometrics.reliability.omega_hierarchical import (
    bifactor_reliability,
    omega_hierarchical,
    schmid_leiman,
)

FloatArray = npt.NDArray[np.float64]
Read = Callable[..., FloatArray]
Figures = Callable[[str], Any]
RUNS = [
    ("hs1939", "two"),
    ("hs1939", "three"),
    ("hs1939", "three_ml"),
    ("ability", "four"),
    ("ceiling", "three"),
    ("bfi", "five"),
]


def correlation_of(read: Read, name: str, hs1939: FloatArray) -> FloatArray:
    """Correlations of the complete rows of one data set; the reversed item of the simulated one turned round."""
    data = hs1939 if name == "hs1939" else read(name)
    if name == "ceiling":
        data = data[:, 1:]
        data[:, 4] = 6 - data[:, 4]
    correlation: FloatArray = np.corrcoef(data[~np.isnan(data).any(axis=1)], rowvar=False)
    return correlation


@pytest.mark.parametrize(("name", "run"), RUNS)
def test_every_coefficient_matches_psychs_omega(
    classical_columns: Read, classical_figures: Figures, hs1939: FloatArray, name: str, run: str
) -> None:
    """1e-4: oblimin stops where its gradient is 1e-5, which shows in the fifth decimal (loadings: fourth)."""
    figures = classical_figures("omega")[name][run]
    correlation = correlation_of(classical_columns, name, hs1939)
    result = omega_hierarchical(correlation, n_groups=figures["n_groups"], extraction=figures["fm"])
    assert result.omega_hierarchical == pytest.approx(figures["omega_h"], abs=1e-4)
    assert result.omega_total == pytest.approx(figures["omega_total"], abs=1e-4)
    assert result.omega_asymptotic == pytest.approx(figures["omega_lim"], abs=1e-4)
    assert result.ecv == pytest.approx(figures["ecv"], abs=1e-4)
    np.testing.assert_allclose(result.omega_group_total, figures["group_total"], atol=1e-4)
    np.testing.assert_allclose(result.omega_group_general, figures["group_general"], atol=1e-4)
    np.testing.assert_allclose(result.omega_group, figures["group"], atol=1e-4)
    table, n_groups = np.array(figures["sl"]), figures["n_groups"]
    np.testing.assert_allclose(result.general_loadings, table[:, 0], atol=3e-4)
    np.testing.assert_allclose(result.group_loadings, table[:, 1 : n_groups + 1], atol=3e-4)
    # psych keeps the signs of the group loadings of the unturned items, so its key tells which were turned.
    turned = [code in result.reversed_items for code in result.item_codes]
    assert turned == [sign < 0 for sign in figures["key"]]
    assert result.converged


def test_schmid_and_leiman_split_the_oblique_solution(classical_columns: Read, hs1939: FloatArray) -> None:
    """General and group loadings reproduce the correlations of the oblique factors' second-order model."""
    solution = schmid_leiman(correlation_of(classical_columns, "hs1939", hs1939))
    second = solution.second_order_loadings
    np.testing.assert_allclose(solution.general_loadings, solution.oblique_loadings @ second, atol=1e-12)
    implied = np.outer(second, second)
    np.fill_diagonal(implied, 1)
    common = np.outer(solution.general_loadings, solution.general_loadings)
    common += solution.group_loadings @ solution.group_loadings.T
    np.testing.assert_allclose(common, solution.oblique_loadings @ implied @ solution.oblique_loadings.T, atol=1e-9)
    np.testing.assert_allclose(implied, solution.phi, atol=1e-5)  # three correlations fit one factor exactly
    np.testing.assert_allclose(solution.communalities + solution.uniquenesses, 1, atol=1e-12)


def test_a_planted_second_order_model_is_recovered() -> None:
    """Group factors that correlate .49 through one general factor: every coefficient in closed form (1e-4)."""
    pattern = np.kron(np.eye(4), np.full((3, 1), 0.8))
    phi = np.full((4, 4), 0.49) + np.diag([0.51] * 4)
    correlation = pattern @ phi @ pattern.T
    np.fill_diagonal(correlation, 1)
    result = omega_hierarchical(correlation, n_groups=4)
    total = correlation.sum()
    assert result.omega_hierarchical == pytest.approx((12 * 0.56) ** 2 / total, abs=1e-4)
    assert result.omega_total == pytest.approx((total - 12 * 0.36) / total, abs=1e-6)
    group = 0.8 * np.sqrt(0.51)
    within = correlation[:3, :3].sum()
    np.testing.assert_allclose(result.omega_group, (3 * group) ** 2 / within, atol=1e-4)
    np.testing.assert_allclose(result.omega_group_general, (3 * 0.56) ** 2 / within, atol=1e-4)
    assert result.ecv == pytest.approx(0.49, abs=1e-4)
    np.testing.assert_allclose(result.ecv_item, 0.49, atol=1e-4)
    assert result.puc == pytest.approx(1 - 12 / 66, abs=1e-12)
    information = 12 * 0.56**2 / (1 - 0.56**2)
    assert result.construct_replicability == pytest.approx(information / (1 + information), abs=1e-4)
    assert np.bincount(result.group_of_item).tolist() == [3, 3, 3, 3]


def test_confirmatory_bifactor_matches_semtools(classical_figures: Figures) -> None:
    """lavaan's bifactor estimates give semTools' coefficients, with observed and with implied variances (1e-9)."""
    figures = classical_figures("omega")["bifactor"]
    loadings = np.array(figures["lambda"])
    for covariance, key in ((figures["cov"], "compRelSEM"), (None, "compRelSEM_model")):
        result = bifactor_reliability(loadings[:, 0], loadings[:, 1:], figures["theta"], covariance=covariance)
        expected = figures[key]
        assert result.omega_hierarchical == pytest.approx(expected["g"], abs=1e-9)
        assert result.omega_total == pytest.approx(expected["total"], abs=1e-9)
        np.testing.assert_allclose(result.omega_group, [expected[name] for name in "abc"], atol=1e-9)
        np.testing.assert_allclose(result.omega_group_total, result.omega_group + result.omega_group_general)
    assert result.group_of_item.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert result.puc == pytest.approx(48 / 66, abs=1e-12)


def test_ecv_and_h_follow_their_formulas() -> None:
    """Squares of loadings, in standardised units whatever the items' own."""
    general, group = np.array([0.7, 0.6, 0.5, 0.4]), np.array([[0.3, 0], [0.4, 0], [0, 0.5], [0, 0.2]])
    residual = 1 - general**2 - (group**2).sum(axis=1)
    units = np.array([1.0, 2.0, 3.0, 4.0])
    result = bifactor_reliability(general, group, residual)
    assert result.ecv == pytest.approx(1.26 / (1.26 + 0.54), abs=1e-12)
    np.testing.assert_allclose(result.ecv_item, general**2 / (general**2 + (group**2).sum(axis=1)))
    information = float(np.sum(general**2 / (1 - general**2)))
    assert result.construct_replicability == pytest.approx(information / (1 + information), abs=1e-12)
    raw = bifactor_reliability(general * units, group * units[:, None], residual * units**2)
    assert raw.construct_replicability == pytest.approx(result.construct_replicability, abs=1e-12)


def test_items_in_another_order_or_reversed_leave_the_coefficients(classical_columns: Read, hs1939: FloatArray) -> None:
    """A permutation, and an item turned round and back again (1e-4: the rotation's stop)."""
    correlation = correlation_of(classical_columns, "hs1939", hs1939)
    result = omega_hierarchical(correlation)
    order = np.random.default_rng(3).permutation(9)
    moved = omega_hierarchical(correlation[np.ix_(order, order)])
    sign = np.where(np.arange(9) == 4, -1.0, 1.0)
    reversed_item = omega_hierarchical(correlation * np.outer(sign, sign), item_codes=list("abcdefghi"))
    for other in (moved, reversed_item):
        assert other.omega_hierarchical == pytest.approx(result.omega_hierarchical, abs=1e-4)
        assert other.omega_total == pytest.approx(result.omega_total, abs=1e-6)
    assert reversed_item.reversed_items == ("e",)
    assert any("turned round" in note and "e" in note for note in reversed_item.notes)


def test_weak_spots_are_noted() -> None:
    """Two groups, negative variances and negative loadings are said."""
    rng = np.random.default_rng(1)
    rows = rng.standard_normal((300, 1)) + rng.standard_normal((300, 6))
    result = omega_hierarchical(np.corrcoef(rows, rowvar=False), n_groups=2)
    assert any("two groups" in note for note in result.notes)
    bad = bifactor_reliability([0.7, 0.6, -0.5], np.zeros((3, 1)), [0.5, -0.1, 0.6], item_codes=["a", "b", "c"])
    assert not bad.converged
    assert any("negative residual variance" in note and "b" in note for note in bad.notes)
    assert any("check the keying of c" in note for note in bad.notes)
    assert np.isnan(bad.omega_group).all()
    assert bad.group_of_item.tolist() == [-1, -1, -1]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda r: omega_hierarchical(r, n_groups=1), "at least two group factors"),
        (lambda r: omega_hierarchical(r, n_groups=4), "1 to 3 factors for 6 items"),
        (lambda r: omega_hierarchical(r[:, :3]), "square correlation matrix"),
        (lambda r: bifactor_reliability([0.5], [[0.1]], [0.5]), "one general loading"),
        (lambda r: bifactor_reliability([0.5, np.nan], [[0.1], [0.1]], [0.5, 0.5]), "finite estimates"),
        (lambda r: bifactor_reliability([0.5, 0.5], [[0.1], [0.1]], [0.5, 0.5], covariance=r), "same 2 items"),
        (lambda r: bifactor_reliability([0, 0], [[1.0], [-1.0]], [0.0, 0.0]), "cancel one another"),
    ],
)
def test_what_has_no_hierarchy_is_refused_in_words(call: Callable[[FloatArray], Any], message: str) -> None:
    """Too few or too many groups, and arguments that do not fit."""
    with pytest.raises(AnalysisInputError, match=message):
        call(np.full((6, 6), 0.4) + 0.6 * np.eye(6))
