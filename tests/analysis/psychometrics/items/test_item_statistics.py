"""Item distributions, floor, ceiling, absences, and item-rest correlations."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from analysis.psychometrics.errors import AnalysisInputError
from analysis.psychometrics.items.item_statistics import describe_items, inter_item_correlations, item_rest_correlations

FloatArray = npt.NDArray[np.float64]
SCALES = {"visual": slice(0, 3), "textual": slice(3, 6), "speed": slice(6, 9), "all9": slice(0, 9)}


def test_counts_shares_mean_and_sd_of_a_small_column() -> None:
    """Worked by hand: answers 1 3 3 5 with one skipped."""
    (item,) = describe_items(
        np.array([[1.0], [3.0], [3.0], [5.0], [np.nan]]),
        item_codes=["VN1"],
        missing_by_reason={"VN1": {"SKIPPED": 1}},
    )
    assert item.item == "VN1"
    assert (item.n, item.n_missing) == (4, 1)
    assert item.counts == (1, 0, 2, 0, 1)
    assert item.shares == (0.25, 0.0, 0.5, 0.0, 0.25)
    assert item.mean == 3.0
    assert item.sd == pytest.approx(np.sqrt(8 / 3), abs=1e-15)
    assert (item.floor_share, item.ceiling_share) == (0.25, 0.25)
    assert dict(item.missing_by_reason) == {"SKIPPED": 1}
    assert item.notes == ()


def test_reversing_an_item_mirrors_its_distribution() -> None:
    """x' = 6 − x swaps floor and ceiling and keeps the SD."""
    rng = np.random.default_rng(1)
    answers = rng.integers(1, 6, size=(200, 1)).astype(float)
    (given,), (turned,) = (describe_items(values, item_codes=["i"]) for values in (answers, 6 - answers))
    assert turned.counts == given.counts[::-1]
    assert turned.floor_share == given.ceiling_share
    assert turned.mean == pytest.approx(6 - given.mean, abs=1e-12)
    assert turned.sd == pytest.approx(given.sd, abs=1e-12)


def test_what_does_not_exist_is_nan_with_a_note() -> None:
    """No answers: no mean, SD or shares; one answer: no SD. Never 0."""
    empty, single = describe_items(np.array([[np.nan, 4.0], [np.nan, np.nan]]), item_codes=["a", "b"])
    assert np.isnan([empty.mean, empty.sd, empty.floor_share, empty.ceiling_share]).all()
    assert "no answers" in empty.notes[0]
    assert single.mean == 4.0
    assert np.isnan(single.sd)
    assert "one answer" in single.notes[0]


def test_answers_off_the_scale_are_refused_without_being_shown() -> None:
    """The message names item and number of answers; the answers themselves stay out of it."""
    with pytest.raises(AnalysisInputError, match="item VN1 has 2 off it") as caught:
        describe_items(np.array([[77.0], [2.5], [3.0]]), item_codes=["VN1"])
    assert "77" not in str(caught.value)


def test_reasons_that_do_not_add_up_are_refused() -> None:
    """Each missing answer has exactly one reason; reasons of unknown items are refused, too."""
    data = np.array([[np.nan], [1.0]])
    with pytest.raises(AnalysisInputError, match="a has 1 missing answers and 2 reasons"):
        describe_items(data, item_codes=["a"], missing_by_reason={"a": {"SKIPPED": 1, "DNA": 1}})
    with pytest.raises(AnalysisInputError, match="got reasons for z"):
        describe_items(data, item_codes=["a"], missing_by_reason={"z": {"SKIPPED": 1}})


@pytest.mark.parametrize("scale", list(SCALES))
def test_item_rest_and_average_correlations_match_psych(
    hs1939: FloatArray, r_figures: dict[str, Any], scale: str
) -> None:
    """psych's `r.drop` and `average_r`; 1e-9, the same formula."""
    figures = r_figures["alpha"][scale]
    values = hs1939[:, SCALES[scale]]
    rest = item_rest_correlations(values)
    np.testing.assert_allclose(rest.r, list(figures["item_rest_r"].values()), atol=1e-9)
    assert rest.n.tolist() == [301] * values.shape[1]
    assert inter_item_correlations(values).average == pytest.approx(figures["average_r"], abs=1e-9)


def test_item_rest_is_the_plain_correlation_with_the_sum_of_the_others(hs1939: FloatArray) -> None:
    """The slow obvious twin."""
    result = item_rest_correlations(hs1939)
    for item in range(9):
        rest = np.delete(hs1939, item, axis=1).sum(axis=1)
        assert result.r[item] == pytest.approx(np.corrcoef(hs1939[:, item], rest)[0, 1], abs=1e-12)


def test_listwise_and_pairwise_are_stated_and_differ_only_with_holes(hs1939: FloatArray) -> None:
    """Without holes equal; with holes each says what it used."""
    np.testing.assert_allclose(
        item_rest_correlations(hs1939, missing="pairwise").r, item_rest_correlations(hs1939).r, atol=1e-12
    )
    holes = hs1939.copy()
    holes[:50, 0] = np.nan
    holes[40:60, 1] = np.nan
    listwise, pairwise = (inter_item_correlations(holes, missing=how) for how in ("listwise", "pairwise"))
    assert (listwise.missing, listwise.n_used, listwise.n_dropped) == ("listwise", 241, 60)
    assert (pairwise.missing, pairwise.n_used, pairwise.n_dropped) == ("pairwise", 241, 60)
    assert pairwise.n_pairs[0, 2] == 251
    assert pairwise.n_pairs[2, 3] == 301
    assert pairwise.matrix[2, 3] == pytest.approx(np.corrcoef(hs1939[:, 2], hs1939[:, 3])[0, 1], abs=1e-12)
    assert listwise.matrix[2, 3] != pairwise.matrix[2, 3]
    rest = item_rest_correlations(holes, missing="pairwise")
    assert rest.n.tolist()[:3] == [241, 241, 251]
    assert rest.n_dropped == 60


def test_a_constant_item_has_no_correlation_and_is_named() -> None:
    """NaN with a note for the constant item, and for the average it belongs to."""
    data = np.array([[3.0, 1.0, 2.0], [3.0, 2.0, 3.0], [3.0, 3.0, 5.0]])
    together = inter_item_correlations(data, item_codes=["same", "b", "c"])
    assert np.isnan(together.average)
    assert together.notes == ("no variance, so no correlation: same",)
    rest = item_rest_correlations(data, item_codes=["same", "b", "c"])
    assert np.isnan(rest.r[0])
    assert rest.r[1] == pytest.approx(np.corrcoef(data[:, 1], data[:, 2])[0, 1], abs=1e-12)
    assert any("item-rest correlation undefined" in note and "same" in note for note in rest.notes)


def test_a_wrongly_keyed_item_shows_as_negative_item_rest(hs1939: FloatArray) -> None:
    """The planted defect: of nine items the one turned round has the lowest item-rest correlation, below zero."""
    values = hs1939.copy()
    values[:, 4] = -values[:, 4]
    r = item_rest_correlations(values).r
    assert r.argmin() == 4
    assert r[4] < -0.3
    assert item_rest_correlations(hs1939).r.min() > 0


def test_the_input_is_not_changed(hs1939: FloatArray) -> None:
    """A copy of the input before equals the input after."""
    data = np.round(np.clip(hs1939, 1, 5))
    data[3, 2] = np.nan
    before = data.copy()
    describe_items(data, item_codes=[f"x{i}" for i in range(9)])
    item_rest_correlations(data, missing="pairwise")
    inter_item_correlations(data)
    np.testing.assert_array_equal(data, before)


@pytest.mark.parametrize("function", [item_rest_correlations, inter_item_correlations])
def test_an_unknown_treatment_of_missing_answers_is_refused(function: Any, hs1939: FloatArray) -> None:
    """Only the two named treatments exist."""
    with pytest.raises(AnalysisInputError, match="got 'impute'"):
        function(hs1939, missing="impute")


@pytest.mark.parametrize("name", ["bfi", "ceiling"])
def test_moments_match_psychs_describe(
    classical_columns: Callable[..., FloatArray], classical_figures: Callable[[str], Any], name: str
) -> None:
    """n, mean, SD, skewness and kurtosis (psych's type 3) of six categories and of items at their ceiling; 1e-9."""
    data = classical_columns(name)
    data = data[:, 1:] if name == "ceiling" else data
    items = describe_items(data, item_codes=[f"i{k}" for k in range(data.shape[1])], scale_values=None)
    figures = classical_figures("alpha")["describe"][name]
    for ours, key in (("n", "n"), ("mean", "mean"), ("sd", "sd"), ("skewness", "skew"), ("kurtosis", "kurtosis")):
        np.testing.assert_allclose([getattr(item, ours) for item in items], figures[key], atol=1e-9)
    assert items[0].points == tuple(range(1, 7 if name == "bfi" else 6))


def test_without_a_declared_scale_the_values_found_in_any_item_are_its_points() -> None:
    """An item that lacks a category still has its count of zero; the ends are those of all items."""
    two, three = describe_items(np.array([[1.0, 1.0], [2.0, 3.0], [2.0, 2.0]]), item_codes="ab", scale_values=None)
    assert (two.points, two.counts, two.ceiling_share) == ((1.0, 2.0, 3.0), (1, 2, 0), 0.0)
    assert (three.counts, three.ceiling_share) == ((1, 1, 1), pytest.approx(1 / 3))


def test_a_point_that_occurs_late_is_found() -> None:
    """The search for points looks at all answers, not only at the first few hundred."""
    answers = np.tile([1.0, 2.0], 400)[:, None]
    answers[-1, 0] = 5.0
    (item,) = describe_items(answers, item_codes="a", scale_values=None)
    assert (item.points, item.counts) == ((1.0, 2.0, 5.0), (400, 399, 1))


def test_a_measurement_has_no_points_and_its_own_ends() -> None:
    """More than twenty values: no distribution; floor and ceiling are the item's extremes."""
    values = np.linspace(0, 1, 50)[:, None]
    (item,) = describe_items(values, item_codes="a", scale_values=None)
    assert (item.points, item.counts, item.shares) == ((), (), ())
    assert (item.floor_share, item.ceiling_share, item.lowest, item.highest) == (0.02, 0.02, 0.0, 1.0)


def test_an_item_without_spread_has_no_shape() -> None:
    """SD 0; skewness and kurtosis are undefined, with a note."""
    (item,) = describe_items(np.full((5, 1), 3.0), item_codes="a")
    assert item.sd == 0
    assert np.isnan([item.skewness, item.kurtosis]).all()
    assert "skewness and kurtosis are undefined" in item.notes[0]
