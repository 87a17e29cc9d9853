"""Multitrait scaling: twins from rows, verdicts by the two-SE rule, refusals."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from analysis.psychometrics.errors import AnalysisInputError
from analysis.psychometrics.items.multitrait_scaling import multitrait_scaling

FloatArray = npt.NDArray[np.float64]
CODES = ["a1", "a2", "a3", "b1", "b2", "b3", "b4"]
SCALES = {"a": CODES[:3], "b": CODES[3:]}


@pytest.fixture
def answers() -> FloatArray:
    """Two related scales; b4 is planted to belong to a."""
    rng = np.random.default_rng(1)
    factors = rng.standard_normal((400, 2)) @ np.array([[1.0, 0.3], [0.0, 0.95]])
    return factors[:, [0, 0, 0, 1, 1, 1, 0]] + rng.standard_normal((400, 7))


def test_correlations_equal_those_of_rows(answers: FloatArray) -> None:
    """Each item with the sum of its scale without itself, and with the sum of the other scale."""
    result = multitrait_scaling(answers, scales=SCALES, item_codes=CODES)
    for item in range(7):
        for number, columns in enumerate([[0, 1, 2], [3, 4, 5, 6]]):
            rest = [column for column in columns if column != item]
            r = np.corrcoef(answers[:, item], answers[:, rest].sum(axis=1))[0, 1]
            assert result.r[item, number] == pytest.approx(r, abs=1e-12)
    between = np.corrcoef(answers[:, :3].sum(axis=1), answers[:, 3:].sum(axis=1))[0, 1]
    assert result.scale_correlations[0, 1] == pytest.approx(between, abs=1e-12)
    assert result.standard_error == 1 / 20


def test_a_misplaced_item_is_a_definite_error(answers: FloatArray) -> None:
    """The planted defect is found, the other items of both scales are successes."""
    result = multitrait_scaling(answers, scales=SCALES, item_codes=CODES)
    verdicts = {item.item: next(iter(item.verdicts.values())) for item in result.items}
    assert verdicts.pop("b4") == "definite error"
    assert set(verdicts.values()) <= {"definite success", "probable success"}
    first, second = result.scales
    assert (first.n_tests, first.n_definite_success + first.n_probable_success) == (3, 3)
    assert first.success_share == 1
    assert (second.n_definite_error, second.success_share) == (1, 0.75)
    assert second.own_r_lowest == min(item.own_r for item in result.items if item.scale == "b")
    assert second.other_r_highest == max(item.other_r["a"] for item in result.items if item.scale == "b")
    assert second.convergent_share == np.mean([item.own_r >= 0.4 for item in result.items if item.scale == "b"])


@pytest.mark.parametrize(
    ("difference", "verdict"),
    [(2.1, "definite success"), (1.9, "probable success"), (-1.9, "probable error"), (-2.1, "definite error")],
)
def test_two_standard_errors_divide_the_verdicts(difference: float, verdict: str) -> None:
    """Exact correlations, by construction: own .5, other .5 minus the difference in standard errors of .1."""
    other = 0.5 - difference * 0.1
    wanted = np.array([[1.0, 0.5, other], [0.5, 1.0, 0.3], [other, 0.3, 1.0]])
    rng = np.random.default_rng(2)
    basis = np.linalg.qr(np.column_stack([np.ones(100), rng.standard_normal((100, 3))]))[0][:, 1:]
    rows = basis @ np.linalg.cholesky(wanted).T
    result = multitrait_scaling(rows, scales={"own": ["x", "y"], "other": ["z"]}, item_codes=["x", "y", "z"])
    assert result.items[0].own_r == pytest.approx(0.5, abs=1e-12)
    assert result.items[0].verdicts == {"other": verdict}
    own = result.scales[0]
    counts = (own.n_definite_success, own.n_probable_success, own.n_probable_error, own.n_definite_error)
    # The second item, .5 with its own and .3 with the other scale, is exactly at two standard errors or just beside.
    assert sum(counts) == own.n_tests == 2
    assert own.success_share == (counts[0] + counts[1]) / 2
    assert own.definite_success_share == counts[0] / 2
    assert "one item only" in result.notes[0]
    assert np.isnan(result.items[2].own_r)
    assert result.items[2].verdicts == {}
    assert np.isnan(result.scales[1].success_share)


def test_missing_answers_listwise_and_pairwise(answers: FloatArray) -> None:
    """Columns outside the scales do not cost rows; pairwise uses all that was answered."""
    holes = np.column_stack([answers, np.full(400, np.nan)])
    holes[:50, 0] = np.nan
    codes = [*CODES, "unused"]
    listwise = multitrait_scaling(holes, scales=SCALES, item_codes=codes)
    pairwise = multitrait_scaling(holes, scales=SCALES, item_codes=codes, missing="pairwise")
    assert (listwise.n_used, listwise.n_dropped, pairwise.n_used) == (350, 50, 350)
    np.testing.assert_allclose(
        listwise.r, multitrait_scaling(answers[50:], scales=SCALES, item_codes=CODES).r, atol=1e-12
    )
    # Items of b among themselves lose nothing when a1 is missing.
    full = multitrait_scaling(answers, scales=SCALES, item_codes=CODES)
    np.testing.assert_allclose(pairwise.r[3:, 1], full.r[3:, 1], atol=1e-12)


def test_an_item_in_two_scales_is_taken_out_of_both_and_noted(answers: FloatArray) -> None:
    """Otherwise it would correlate with itself."""
    result = multitrait_scaling(answers, scales={"a": CODES[:3], "c": ["a3", "b1"]}, item_codes=CODES)
    r = np.corrcoef(answers[:, 2], answers[:, 3])[0, 1]
    assert result.r[2, 1] == pytest.approx(r, abs=1e-12)
    assert any("more than one scale" in note and "a3" in note for note in result.notes)


def test_few_respondents_are_noted(answers: FloatArray) -> None:
    """Two standard errors of 30 respondents are .37."""
    result = multitrait_scaling(answers[:30], scales=SCALES, item_codes=CODES)
    assert any("30 respondents" in note and "0.37" in note for note in result.notes)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"scales": {"a": CODES}}, "at least two scales"),
        ({"scales": {"a": ["a1", "zz"], "b": ["b1"]}}, "'a' has zz"),
        ({"scales": {"a": ["a1", "a1"], "b": ["b1"]}}, "each item once in a scale; 'a'"),
        ({"scales": {"a": [], "b": ["b1"]}}, "'a' has none"),
        ({"missing": "casewise"}, "got 'casewise'"),
    ],
)
def test_what_cannot_be_scaled_is_refused_in_words(
    answers: FloatArray, arguments: dict[str, Any], message: str
) -> None:
    """One scale, unknown and repeated items, an empty scale."""
    with pytest.raises(AnalysisInputError, match=message):
        multitrait_scaling(answers, **({"scales": SCALES, "item_codes": CODES} | arguments))


@pytest.mark.parametrize("missing", ["listwise", "pairwise"])
def test_constant_items_are_named(answers: FloatArray, missing: Any) -> None:
    """They correlate with nothing."""
    change: Callable[[FloatArray], FloatArray] = lambda x: np.where(np.arange(7) == 4, 2.0, x)  # noqa: E731
    with pytest.raises(AnalysisInputError, match="b2"):
        multitrait_scaling(change(answers), scales=SCALES, item_codes=CODES, missing=missing)


def test_a_pair_without_common_respondents_is_named(answers: FloatArray) -> None:
    """Pairwise covariances need somebody who answered both."""
    holes = answers.copy()
    holes[:200, 1] = np.nan
    holes[200:, 5] = np.nan
    with pytest.raises(AnalysisInputError, match="a2 and b3 have 0"):
        multitrait_scaling(holes, scales=SCALES, item_codes=CODES, missing="pairwise")
