"""Cronbach's alpha behind its adapter."""

import doctest
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pingouin
import pytest

from analysis.adapters import pingouin_alpha
from analysis.adapters.pingouin_alpha import cronbach_alpha
from analysis.psychometrics.errors import AnalysisInputError
from analysis.psychometrics.reliability import coefficients as reliability

FloatArray = npt.NDArray[np.float64]
SCALES = {"visual": slice(0, 3), "textual": slice(3, 6), "speed": slice(6, 9), "all9": slice(0, 9)}


def twin(values: FloatArray) -> float:
    """Alpha from variances, without pingouin."""
    k = values.shape[1]
    return k / (k - 1) * (1 - values.var(axis=0, ddof=1).sum() / values.sum(axis=1).var(ddof=1))


@pytest.mark.parametrize("scale", list(SCALES))
def test_alpha_interval_and_alpha_if_deleted_match_psych(
    hs1939: FloatArray, r_figures: dict[str, Any], scale: str
) -> None:
    """psych's raw alpha, Feldt interval and alpha if deleted; 1e-9, nothing but the formula."""
    figures = r_figures["alpha"][scale]
    result = cronbach_alpha(hs1939[:, SCALES[scale]])
    assert result.alpha == pytest.approx(figures["raw_alpha"], abs=1e-9)
    assert result.lower == pytest.approx(figures["ci95_feldt"]["lower"], abs=1e-9)
    assert result.upper == pytest.approx(figures["ci95_feldt"]["upper"], abs=1e-9)
    np.testing.assert_allclose(result.alpha_if_deleted, list(figures["alpha_if_deleted"].values()), atol=1e-9)
    assert (result.n_used, result.n_dropped, result.confidence) == (301, 0, 0.95)
    assert result.notes == ()
    assert "pingouin" in result.method


def test_alpha_equals_its_twin_and_pingouins_rounded_interval(hs1939: FloatArray) -> None:
    """The formula from variances, and the interval that pingouin rounds to three decimals."""
    result = cronbach_alpha(hs1939, confidence=0.9)
    alpha, interval = pingouin.cronbach_alpha(data=pd.DataFrame(hs1939), ci=0.9)
    assert result.alpha == pytest.approx(twin(hs1939), abs=1e-12)
    assert result.alpha == alpha
    np.testing.assert_allclose([result.lower, result.upper], interval, atol=0.0005 + 1e-12)


def test_alpha_equals_the_packages_own(hs1939: FloatArray) -> None:
    """Two roads to one number: pingouin here, NumPy for the command line; with gaps, too (1e-12)."""
    holes = hs1939.copy()
    holes[::7, 2] = np.nan
    result, own = cronbach_alpha(holes, confidence=0.9), reliability.cronbach_alpha(holes, confidence=0.9)
    assert result.alpha == pytest.approx(own.alpha, abs=1e-12)
    assert (result.lower, result.upper) == pytest.approx((own.alpha_ci_lower, own.alpha_ci_upper), abs=1e-12)
    np.testing.assert_allclose(result.alpha_if_deleted, own.alpha_if_deleted, atol=1e-12)
    assert (result.n_used, result.n_dropped) == (own.n_used, own.n_dropped)


def test_incomplete_rows_are_dropped_before_pingouin_counts_them(hs1939: FloatArray) -> None:
    """The interval rests on the rows used. Control: pingouin's own listwise interval is too narrow."""
    holes = hs1939[:60, :3].copy()
    holes[:40, 0] = np.nan
    result = cronbach_alpha(holes)
    assert (result.n_used, result.n_dropped) == (20, 40)
    clean = cronbach_alpha(hs1939[40:60, :3])
    assert (result.lower, result.upper) == (clean.lower, clean.upper)
    _, (lower, upper) = pingouin.cronbach_alpha(data=pd.DataFrame(holes), nan_policy="listwise")
    assert upper - lower < 0.8 * (result.upper - result.lower)


def test_a_wider_confidence_gives_a_wider_interval_around_alpha(hs1939: FloatArray) -> None:
    """90, 95 and 99 % are nested and hold alpha."""
    results = [cronbach_alpha(hs1939[:, :3], confidence=confidence) for confidence in (0.9, 0.95, 0.99)]
    assert results[0].lower > results[1].lower > results[2].lower
    assert results[0].upper < results[1].upper < results[2].upper
    assert all(r.lower < r.alpha < r.upper for r in results)


def test_alpha_does_not_change_with_item_order_or_units_of_the_whole(hs1939: FloatArray) -> None:
    """Permuting items, adding to one, multiplying all: the same alpha."""
    base = cronbach_alpha(hs1939[:, :5]).alpha
    assert cronbach_alpha(hs1939[:, [3, 1, 4, 0, 2]]).alpha == pytest.approx(base, abs=1e-12)
    assert cronbach_alpha(25 * (hs1939[:, :5] - 1)).alpha == pytest.approx(base, abs=1e-12)


def test_an_item_keyed_the_wrong_way_gives_a_negative_alpha_with_a_note(hs1939: FloatArray) -> None:
    """The planted defect is reported as it is, not cut off at zero."""
    values = hs1939[:, 3:5].copy()
    values[:, 1] = -values[:, 1]
    result = cronbach_alpha(values)
    assert result.alpha < 0
    assert result.alpha == pytest.approx(twin(values), abs=1e-9)
    assert any("negative" in note for note in result.notes)


def test_two_items_point_to_spearman_brown(hs1939: FloatArray) -> None:
    """Alpha comes with the note, and there is no alpha without one of two items."""
    result = cronbach_alpha(hs1939[:, :2], item_codes=["VC1", "VC2"])
    assert result.alpha_if_deleted == ()
    assert result.item_codes == ("VC1", "VC2")
    assert "Spearman–Brown" in result.notes[0]


def test_what_cannot_be_computed_is_refused_in_words(hs1939: FloatArray) -> None:
    """One item, nobody complete, a constant item, items that cancel, an impossible confidence."""
    with pytest.raises(AnalysisInputError, match="at least 2 items; got 1"):
        cronbach_alpha(hs1939[:, :1])
    with pytest.raises(AnalysisInputError, match=r"at least 3 respondents .* got 0 of 301"):
        cronbach_alpha(np.full((301, 3), np.nan))
    with pytest.raises(AnalysisInputError, match="rows used: VN2"):
        cronbach_alpha(np.column_stack([hs1939[:, 0], np.full(301, 5.0)]), item_codes=["VN1", "VN2"])
    with pytest.raises(AnalysisInputError, match="cancel one another"):
        cronbach_alpha(np.column_stack([hs1939[:, 0], 6 - hs1939[:, 0]]))
    with pytest.raises(AnalysisInputError, match="confidence between 0 and 1; got 95"):
        cronbach_alpha(hs1939, confidence=95)


def test_a_rest_without_variance_has_no_alpha_if_deleted() -> None:
    """Two items that cancel leave NaN when the third is deleted."""
    rng = np.random.default_rng(2)
    first = rng.integers(1, 6, 50).astype(float)
    result = cronbach_alpha(np.column_stack([first, 6 - first, rng.integers(1, 6, 50)]))
    assert np.isnan(result.alpha_if_deleted[2])
    assert np.isfinite(result.alpha_if_deleted[:2]).all()


def test_the_input_is_not_changed(hs1939: FloatArray) -> None:
    """A read-only matrix with holes passes through untouched."""
    data = hs1939.copy()
    data[0, 0] = np.nan
    before = data.copy()
    data.setflags(write=False)
    cronbach_alpha(data)
    np.testing.assert_array_equal(data, before)


def test_docstring_examples_run() -> None:
    """The example prints what it says."""
    result = doctest.testmod(pingouin_alpha)
    assert result.attempted >= 2
    assert result.failed == 0
