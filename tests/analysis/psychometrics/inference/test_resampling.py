"""Resampling whole clinicians."""

import numpy as np
import numpy.typing as npt
import pytest
from scipy.stats import norm

from analysis.psychometrics.errors import AnalysisInputError
from analysis.psychometrics.inference import resampling
from analysis.psychometrics.inference.few_clinicians import group_by_clinician
from analysis.psychometrics.inference.resampling import (
    bootstrap_clinicians,
    draw_clinician_counts,
    draw_part,
    from_rows,
    plan_parts,
    summarise_draws,
)

FloatArray = npt.NDArray[np.float64]


def clustered_scores(n_clinicians: int, *, seed: int = 3) -> tuple[FloatArray, npt.NDArray[np.int64]]:
    """Scores with a clinician share of a third, two to nine patients each, in a mixed order."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(2, 10, n_clinicians)
    cluster = np.repeat(np.arange(n_clinicians), sizes)
    scores = rng.standard_normal(n_clinicians)[cluster] + np.sqrt(2) * rng.standard_normal(len(cluster))
    mixed = rng.permutation(len(cluster))
    return scores[mixed], cluster[mixed]


def weighted_mean(scores: FloatArray, cluster: npt.NDArray[np.int64]) -> resampling.WeightedStatistic:
    """The mean over rows, from sums and sizes per clinician."""
    groups = group_by_clinician(cluster, who="test")
    totals = np.bincount(groups.codes, weights=scores)
    return lambda counts: ((counts @ totals) / (counts @ groups.sizes))[:, None]


def test_parts_give_the_same_draws_in_any_order() -> None:
    """Workers may take parts in any order: each part has its own seed, and the whole equals the single run."""
    statistic = weighted_mean(*clustered_scores(25))
    whole = bootstrap_clinicians(statistic, n_clinicians=25, n_draws=600, rng=np.random.default_rng(11))
    seed = int(np.random.default_rng(11).integers(2**62))
    parts = plan_parts(seed=seed, n_draws=600)
    assert [(part.seed, part.number, part.n_draws) for part in parts] == [
        (seed, 0, 250),
        (seed, 1, 250),
        (seed, 2, 100),
    ]
    drawn = np.concatenate([draw_part(statistic, part, n_clinicians=25) for part in reversed(parts)])
    split = summarise_draws(drawn, estimate=whole.estimate, n_clinicians=25)
    np.testing.assert_array_equal(split.ci_lower, whole.ci_lower)
    np.testing.assert_array_equal(split.ci_upper, whole.ci_upper)
    assert split.se == pytest.approx(whole.se, rel=1e-12)  # the order of summation differs
    assert (whole.n_draws, whole.n_clinicians, whole.method, whole.confidence) == (600, 25, "percentile", 0.95)
    assert whole.n_defined.tolist() == [600]


def test_counts_agree_with_copying_rows() -> None:
    """The slow obvious twin: the rows of each clinician drawn, copied as often as drawn."""
    scores, cluster = clustered_scores(22)
    groups = group_by_clinician(cluster, who="test")
    slow = from_rows(lambda rows: [scores[rows].mean(), scores[rows].std()], groups)
    counts = draw_clinician_counts(plan_parts(seed=5, n_draws=30)[0], 22)
    assert (counts.sum(axis=1) == 22).all()
    fast = weighted_mean(scores, cluster)(counts)
    np.testing.assert_allclose(slow(counts)[:, :1], fast, rtol=1e-12)


def test_the_interval_of_a_mean_has_the_right_width() -> None:
    """For equal sizes the bootstrap SE of the mean is that of the clinicians' means (5 %: 4000 draws, SD 1.1 %)."""
    rng = np.random.default_rng(8)
    means = rng.standard_normal(60)
    result = bootstrap_clinicians(
        lambda counts: (counts @ means / 60)[:, None], n_clinicians=60, n_draws=4000, rng=rng, method="percentile"
    )
    expected = means.std() / np.sqrt(60)
    assert result.se[0] == pytest.approx(expected, rel=0.05)
    half_width = (result.ci_upper[0] - result.ci_lower[0]) / 2
    assert half_width == pytest.approx(1.96 * expected, rel=0.06)


def test_bca_moves_towards_the_tail_of_a_skewed_statistic() -> None:
    """The published correction: BCa of a variance lies above the percentile interval at both ends."""
    rng = np.random.default_rng(21)
    values = rng.exponential(size=40)

    def variance(counts: FloatArray) -> FloatArray:
        n = counts.sum(axis=1)
        mean = counts @ values / n
        return (counts @ values**2 / n - mean**2)[:, None]

    by_method = {
        method: bootstrap_clinicians(
            variance, n_clinicians=40, n_draws=3000, rng=np.random.default_rng(2), method=method
        )
        for method in ("percentile", "bca")
    }
    bca, percentile = by_method["bca"], by_method["percentile"]
    assert bca.method == "bca"
    assert bca.ci_lower[0] > percentile.ci_lower[0]
    assert bca.ci_upper[0] > percentile.ci_upper[0]
    # By hand: bias and acceleration as in Efron (1987), quantiles of the same draws.
    seed = int(np.random.default_rng(2).integers(2**62))
    draws = np.concatenate([draw_part(variance, p, n_clinicians=40) for p in plan_parts(seed=seed, n_draws=3000)])[:, 0]
    estimate = values.var()
    z0 = norm.ppf((draws < estimate).mean())
    left_out = np.array([np.delete(values, i).var() for i in range(40)])
    influence = left_out.mean() - left_out
    a = (influence**3).sum() / (6 * (influence**2).sum() ** 1.5)
    levels = norm.cdf(z0 + (z0 + norm.ppf([0.025, 0.975])) / (1 - a * (z0 + norm.ppf([0.025, 0.975]))))
    np.testing.assert_allclose([bca.ci_lower[0], bca.ci_upper[0]], np.quantile(draws, levels), rtol=1e-9)


def test_below_twenty_clinicians_there_is_no_interval() -> None:
    """Resampling so few clinicians is too narrow; the estimate stands, and the note says what to use."""
    result = bootstrap_clinicians(
        weighted_mean(*clustered_scores(14)), n_clinicians=14, n_draws=100, rng=np.random.default_rng(1)
    )
    assert np.isfinite(result.estimate).all()
    assert np.isnan([result.ci_lower, result.ci_upper, result.se]).all()
    assert result.n_draws == 0
    assert "wild cluster bootstrap" in result.notes[0]


def test_a_statistic_that_is_often_undefined_has_no_interval() -> None:
    """One figure undefined in a fifth of the draws loses its interval; the other keeps it."""

    def statistic(counts: FloatArray) -> FloatArray:
        mean = counts.mean(axis=1) + counts[:, 0]
        return np.column_stack([np.where(counts[:, 0] == 0, np.nan, mean), mean])

    result = bootstrap_clinicians(
        statistic, n_clinicians=30, n_draws=200, rng=np.random.default_rng(1), names=["slope", "mean"]
    )
    assert np.isnan(result.ci_lower[0])
    assert np.isfinite(result.ci_lower[1])
    assert any(note.startswith("slope: no interval") for note in result.notes)
    assert result.n_defined[0] < 200


def test_progress_ends_at_one() -> None:
    """A caller who shows a bar hears about every part."""
    heard: list[float] = []
    bootstrap_clinicians(
        weighted_mean(*clustered_scores(25)),
        n_clinicians=25,
        n_draws=500,
        rng=np.random.default_rng(1),
        progress=lambda share, _text: heard.append(share),
    )
    assert heard == [0.5, 1.0]


def test_bca_of_a_constant_falls_back_with_a_note() -> None:
    """All draws equal: no bias can be corrected, the interval is the constant itself."""
    draws = np.ones((50, 1))
    result = summarise_draws(draws * 2, estimate=[1.0], n_clinicians=30, method="bca", jackknife=np.ones((30, 1)))
    assert (result.ci_lower[0], result.ci_upper[0]) == (2.0, 2.0)
    assert "BCa undefined" in result.notes[0]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: plan_parts(seed=1, n_draws=0), "at least one draw"),
        (lambda: summarise_draws(np.ones((5, 1)), estimate=[1.0], n_clinicians=30), "at least 20 draws"),
        (
            lambda: summarise_draws(np.ones((50, 1)), estimate=[1.0], n_clinicians=30, method="bca"),
            "without each clinician",
        ),
        (
            lambda: summarise_draws(np.ones((50, 1)), estimate=[1.0], n_clinicians=30, confidence=95),
            "confidence between 0 and 1",
        ),
    ],
)
def test_requests_that_make_no_sense_are_named(call: object, message: str) -> None:
    """Too few draws, a missing argument, a confidence in per cent."""
    with pytest.raises(AnalysisInputError, match=message):
        call()  # type: ignore[operator]
