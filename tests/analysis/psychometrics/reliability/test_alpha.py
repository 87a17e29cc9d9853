"""Cronbach's alpha in NumPy: psych's figures, twins, invariances and refusals."""

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from analysis.psychometrics.errors import AnalysisInputError
from analysis.psychometrics.reliability.coefficients import alpha_of_covariance, cronbach_alpha, feldt_interval

FloatArray = npt.NDArray[np.float64]
Read = Callable[..., FloatArray]
Figures = Callable[[str], Any]


def bfi_scale(read: Read, figures: Any, scale: str) -> FloatArray:
    """One scale of the bfi with its reversed items (1–6) turned round."""
    items = figures["scales"][scale]
    values = read("bfi", *items)
    turned = [item in figures["reversed"] for item in items]
    values[:, turned] = 7 - values[:, turned]
    return values


def assert_as_psych(result: Any, figures: dict[str, Any]) -> None:
    """What depends on nothing but the formula: 1e-9."""
    assert result.alpha == pytest.approx(figures["raw_alpha"], abs=1e-9)
    assert result.alpha_std == pytest.approx(figures["std_alpha"], abs=1e-9)
    assert result.average_r == pytest.approx(figures["average_r"], abs=1e-9)
    assert result.median_r == pytest.approx(figures["median_r"], abs=1e-9)
    np.testing.assert_allclose(result.alpha_if_deleted, figures["drop_alpha"], atol=1e-9)
    np.testing.assert_allclose(result.alpha_std_if_deleted, figures["drop_std"], atol=1e-9)
    np.testing.assert_allclose(result.item_rest_r, figures["r_drop"], atol=1e-9)
    np.testing.assert_allclose(result.item_means, figures["mean"], atol=1e-9)
    np.testing.assert_allclose(result.item_sds, figures["sd"], atol=1e-9)


@pytest.mark.parametrize("scale", ["agree", "conscientious", "extraverted", "neurotic", "open"])
@pytest.mark.parametrize("missing", ["listwise", "pairwise"])
def test_the_scales_of_the_bfi_match_psych(
    classical_columns: Read, classical_figures: Figures, scale: str, missing: Any
) -> None:
    """Raw and standardised alpha, alpha if deleted, item-rest r, means and SDs, with either way of deleting."""
    figures = classical_figures("alpha")
    result = cronbach_alpha(bfi_scale(classical_columns, figures, scale), missing=missing)
    expected = figures["alpha"][f"bfi_{missing}"][scale]
    assert_as_psych(result, expected)
    if missing == "listwise":
        np.testing.assert_allclose([result.alpha_ci_lower, result.alpha_ci_upper], expected["feldt"], atol=1e-9)
        assert (result.n_used, result.n_dropped) == (expected["n"], 934 - expected["n"])


@pytest.mark.parametrize(
    ("name", "columns", "key"),
    [
        ("ability", (), "ability_listwise.all"),
        ("sat_act", ("ACT", "SATV", "SATQ"), "sat_act_listwise.sat"),
        ("ceiling", tuple(f"q{item}" for item in range(1, 5)), "ceiling_listwise.first"),
        ("ceiling", tuple(f"q{item}" for item in range(1, 13)), "ceiling_listwise.all"),
    ],
)
def test_right_or_wrong_unequal_units_and_ceilings_match_psych(
    classical_columns: Read, classical_figures: Figures, name: str, columns: tuple[str, ...], key: str
) -> None:
    """Binary items, items of very different spread, and items at their ceiling are nothing special; 1e-9."""
    data = classical_columns(name, *columns)
    if len(columns) == 12:
        data[:, 4] = 6 - data[:, 4]
    result = cronbach_alpha(data)
    group, scale = key.split(".")
    figures = classical_figures("alpha")["alpha"][group][scale]
    assert_as_psych(result, figures)
    np.testing.assert_allclose([result.alpha_ci_lower, result.alpha_ci_upper], figures["feldt"], atol=1e-9)


def test_guttmans_coefficients_match_psych_on_standardised_items(
    classical_columns: Read, classical_figures: Figures
) -> None:
    """psych computes λ2 and λ6 from correlations, ours follow the items' units: standardised they are psych's."""
    rows = bfi_scale(classical_columns, classical_figures("alpha"), "agree")
    rows = rows[~np.isnan(rows).any(axis=1)]
    result = cronbach_alpha((rows - rows.mean(axis=0)) / rows.std(axis=0, ddof=1))
    figures = classical_figures("alpha")["alpha"]["bfi_listwise"]["agree"]
    assert result.lambda2 == pytest.approx(figures["lambda2"], abs=1e-9)
    assert result.lambda6 == pytest.approx(figures["G6"], abs=1e-9)
    assert result.alpha == pytest.approx(result.alpha_std, abs=1e-12)
    assert result.lambda2 >= result.alpha


def test_alpha_is_the_mean_of_all_split_halves() -> None:
    """Cronbach's own definition, by every split of six items into halves (Flanagan–Rulon)."""
    rng = np.random.default_rng(5)
    values = rng.standard_normal((40, 1)) + rng.standard_normal((40, 6))
    total = values.sum(axis=1).var(ddof=1)
    halves = []
    for chosen in itertools.combinations(range(6), 3):
        one = values[:, list(chosen)].sum(axis=1)
        other = values.sum(axis=1) - one
        halves.append(4 * np.cov(one, other)[0, 1] / total)
    assert cronbach_alpha(values).alpha == pytest.approx(float(np.mean(halves)), abs=1e-12)


def test_alpha_if_deleted_and_item_rest_equal_their_twins() -> None:
    """Each item really left out, and really correlated with the sum of the rest."""
    rng = np.random.default_rng(6)
    values = rng.standard_normal((50, 1)) * [1, 2, 0.5, 1] + rng.standard_normal((50, 4))
    result = cronbach_alpha(values)
    for item in range(4):
        rest = np.delete(values, item, axis=1)
        assert result.alpha_if_deleted[item] == pytest.approx(cronbach_alpha(rest).alpha, abs=1e-12)
        assert result.alpha_std_if_deleted[item] == pytest.approx(cronbach_alpha(rest).alpha_std, abs=1e-12)
        r = np.corrcoef(values[:, item], rest.sum(axis=1))[0, 1]
        assert result.item_rest_r[item] == pytest.approx(r, abs=1e-12)
    assert result.score_sd == pytest.approx(values.sum(axis=1).std(ddof=1), abs=1e-12)
    assert alpha_of_covariance(np.cov(values, rowvar=False)) == pytest.approx(result.alpha, abs=1e-12)


def test_alpha_does_not_mind_order_units_or_reversal_of_all() -> None:
    """Rows and items in any order, shifts, one common unit, and all items reversed leave alpha as it is."""
    rng = np.random.default_rng(7)
    values = rng.standard_normal((60, 1)) + rng.standard_normal((60, 5))
    alpha = cronbach_alpha(values).alpha
    order = [3, 1, 4, 0, 2]
    assert cronbach_alpha(values[rng.permutation(60)]).alpha == pytest.approx(alpha, abs=1e-12)
    assert cronbach_alpha(values[:, order]).alpha == pytest.approx(alpha, abs=1e-12)
    assert cronbach_alpha(7 - 3 * values + np.arange(5)).alpha == pytest.approx(alpha, abs=1e-12)
    before = values.copy()
    np.testing.assert_array_equal(before, values)


def test_pairwise_equals_listwise_without_gaps_and_counts_the_smallest_pair() -> None:
    """The same numbers when nothing is missing; with gaps n is that of the weakest pair."""
    rng = np.random.default_rng(8)
    values = rng.standard_normal((40, 1)) + rng.standard_normal((40, 3))
    assert cronbach_alpha(values, missing="pairwise").alpha == pytest.approx(cronbach_alpha(values).alpha, abs=1e-12)
    values[:10, 0] = np.nan
    values[5:20, 2] = np.nan
    result = cronbach_alpha(values, missing="pairwise")
    assert (result.n_used, result.n_dropped, result.missing) == (20, 20, "pairwise")
    interval = feldt_interval(result.alpha, n_used=20, n_items=3)
    assert (result.alpha_ci_lower, result.alpha_ci_upper) == pytest.approx(interval, abs=1e-15)


def test_feldts_interval_covers_the_truth() -> None:
    """300 samples of parallel normal items: the 90 % interval holds alpha .8 in 90 % of them (±5 % is three SE)."""
    rng = np.random.default_rng(9)
    inside = 0
    for _ in range(300):
        values = rng.standard_normal((50, 1)) + rng.standard_normal((50, 4))
        result = cronbach_alpha(values, confidence=0.9)
        inside += result.alpha_ci_lower <= 0.8 <= result.alpha_ci_upper
    assert 0.85 <= inside / 300 <= 0.95


def test_two_items_say_what_to_read() -> None:
    """No alpha if deleted, and a pointer to Spearman–Brown."""
    rng = np.random.default_rng(10)
    values = rng.standard_normal((40, 1)) + rng.standard_normal((40, 2))
    result = cronbach_alpha(values)
    assert np.isnan(result.alpha_if_deleted).all()
    assert any("Spearman–Brown" in note for note in result.notes)
    assert result.item_rest_r[0] == pytest.approx(np.corrcoef(values.T)[0, 1], abs=1e-12)


def test_a_wrongly_keyed_item_and_a_copy_are_named() -> None:
    """Signs that no number shows: one item against the others, one item twice, a negative alpha."""
    rng = np.random.default_rng(11)
    values = rng.standard_normal((100, 1)) + rng.standard_normal((100, 4))
    values[:, 2] *= -1
    result = cronbach_alpha(values, item_codes=["a", "b", "c", "d"])
    assert result.notes == ("goes against the others, check whether it has to be reversed: c",)
    doubled = np.column_stack([values[:, :2], values[:, 1]])
    result = cronbach_alpha(doubled, item_codes=["a", "b", "c"])
    assert result.notes == ("b and c correlate perfectly: is one a copy of the other?",)
    assert np.isnan(result.lambda6)
    opposed = cronbach_alpha(np.column_stack([values[:, 0], -values[:, 1]]))
    assert opposed.alpha < 0
    assert any("negative" in note for note in opposed.notes)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: x[:, :1], "at least 2 items; got 1"),
        (lambda x: np.where(np.arange(4) == 1, 3.0, x), "constant or empty among the rows used: item 2"),
        (lambda x: np.where(np.arange(4) == 3, np.nan, x), "respondents who answered all 4 items; got 0"),
        (lambda x: np.column_stack([x[:, 0], -x[:, 0]]), "cancel one another"),
        (lambda x: x[:2], "at least 3 respondents"),
    ],
)
def test_what_has_no_alpha_is_refused_in_words(change: Callable[[FloatArray], FloatArray], message: str) -> None:
    """One item, a constant item, an empty item, cancelling items, two respondents."""
    values = np.random.default_rng(12).standard_normal((20, 4))
    with pytest.raises(AnalysisInputError, match=message):
        cronbach_alpha(change(values))


def test_a_pair_without_common_respondents_is_named() -> None:
    """Pairwise deletion needs both items of every pair from somebody."""
    values = np.random.default_rng(13).standard_normal((20, 3))
    values[:10, 0] = np.nan
    values[10:, 2] = np.nan
    with pytest.raises(AnalysisInputError, match="item 1 and item 3 have 0"):
        cronbach_alpha(values, missing="pairwise")
    with pytest.raises(AnalysisInputError, match="got 'casewise'"):
        cronbach_alpha(values, missing="casewise")  # type: ignore[arg-type]
    with pytest.raises(AnalysisInputError, match="confidence"):
        cronbach_alpha(values, confidence=95)
    with pytest.raises(AnalysisInputError, match="at least two respondents"):
        feldt_interval(0.5, n_used=1, n_items=3)
