"""Bootstrap intervals of reliability: parts, twins, coverage of clusters, refusals."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from analysis.psychometrics.errors import AnalysisInputError
from analysis.psychometrics.inference.resampling import draw_part, plan_parts
from analysis.psychometrics.reliability import intervals as reliability_intervals
from analysis.psychometrics.reliability.coefficients import cronbach_alpha, omega_total
from analysis.psychometrics.reliability.intervals import bootstrap_reliability, reliability_resampling

FloatArray = npt.NDArray[np.float64]
ALL = ("alpha", "alpha_std", "omega_total")


@pytest.fixture
def answers() -> FloatArray:
    """150 respondents, five items of unlike spread."""
    rng = np.random.default_rng(1)
    return (rng.standard_normal((150, 1)) + rng.standard_normal((150, 5))) * [1, 2, 1, 0.5, 1] + 100


def test_the_estimates_are_those_of_the_functions(answers: FloatArray) -> None:
    """Everybody once gives alpha, standardised alpha and psych's omega."""
    result = bootstrap_reliability(answers, rng=np.random.default_rng(1), n_draws=20, coefficients=ALL)
    alpha = cronbach_alpha(answers)
    omega = omega_total(np.corrcoef(answers, rowvar=False), extraction="minres").omega_from_residuals
    np.testing.assert_allclose(result.estimate, [alpha.alpha, alpha.alpha_std, omega], atol=1e-9)
    assert (result.coefficients, result.unit, result.n_units, result.n_draws) == (ALL, "respondents", 150, 20)


@pytest.mark.parametrize("with_clusters", [False, True])
def test_every_draw_equals_its_rows(answers: FloatArray, with_clusters: bool) -> None:
    """A twin: the rows of the units drawn, repeated as often, through the function itself."""
    clusters = np.repeat(np.arange(50), 3) if with_clusters else None
    prepared = reliability_resampling(answers, clusters=clusters, coefficients=("alpha", "alpha_std"))
    counts = np.random.default_rng(2).multinomial(prepared.n_units, np.full(prepared.n_units, 1 / prepared.n_units), 5)
    drawn = prepared.statistic(counts.astype(np.float64))
    for row, values in zip(counts, drawn, strict=True):
        weights = np.repeat(row, 3) if with_clusters else row
        resample = cronbach_alpha(np.repeat(answers, weights, axis=0))
        np.testing.assert_allclose(values, [resample.alpha, resample.alpha_std], atol=1e-9)


def test_parts_shared_among_workers_give_the_same_draws(answers: FloatArray) -> None:
    """In any order, and however they are divided."""
    prepared = reliability_resampling(answers)
    parts = plan_parts(seed=5, n_draws=600)
    forwards = [draw_part(prepared.statistic, part, n_clinicians=prepared.n_units) for part in parts]
    backwards = [draw_part(prepared.statistic, part, n_clinicians=prepared.n_units) for part in reversed(parts)]
    np.testing.assert_array_equal(np.concatenate(forwards), np.concatenate(backwards[::-1]))
    one, other = (bootstrap_reliability(answers, rng=np.random.default_rng(3), n_draws=300) for _ in range(2))
    np.testing.assert_array_equal([one.ci_lower, one.ci_upper], [other.ci_lower, other.ci_upper])


def test_large_data_take_the_other_way_to_the_same_answer(answers: FloatArray, monkeypatch: pytest.MonkeyPatch) -> None:
    """Above a number of products they are summed at every draw."""
    before = bootstrap_reliability(answers, rng=np.random.default_rng(3), n_draws=50, coefficients=ALL)
    monkeypatch.setattr(reliability_intervals, "_MOST_NUMBERS", 10)
    after = bootstrap_reliability(answers, rng=np.random.default_rng(3), n_draws=50, coefficients=ALL)
    np.testing.assert_allclose(after.ci_lower, before.ci_lower, atol=1e-9)
    np.testing.assert_allclose(after.se, before.se, atol=1e-9)


def test_normal_data_give_about_feldts_interval() -> None:
    """The two roads agree where Feldt's assumptions hold (n 500, 2000 draws: ±.01); BCa is close by."""
    rng = np.random.default_rng(4)
    rows = rng.standard_normal((500, 1)) + rng.standard_normal((500, 4))
    alpha = cronbach_alpha(rows)
    for method in ("percentile", "bca"):
        result = bootstrap_reliability(rows, rng=np.random.default_rng(1), n_draws=2000, method=method)
        assert result.ci_lower[0] == pytest.approx(alpha.alpha_ci_lower, abs=0.01)
        assert result.ci_upper[0] == pytest.approx(alpha.alpha_ci_upper, abs=0.01)
        assert result.se[0] == pytest.approx((alpha.alpha_ci_upper - alpha.alpha_ci_lower) / 3.92, rel=0.1)


def test_whole_clusters_widen_the_interval_where_patients_resemble_one_another() -> None:
    """Each respondent repeated five times as a cluster: resampling rows halves the true SE and more (1/√5 = .45)."""
    rng = np.random.default_rng(5)
    rows = np.repeat(rng.standard_normal((100, 1)) + rng.standard_normal((100, 4)), 5, axis=0)
    clusters = np.repeat([f"dr {k}" for k in range(100)], 5)
    honest = bootstrap_reliability(rows, rng=np.random.default_rng(1), n_draws=1000, clusters=clusters)
    naive = bootstrap_reliability(rows, rng=np.random.default_rng(1), n_draws=1000)
    assert naive.se[0] / honest.se[0] == pytest.approx(0.447, abs=0.05)
    assert (honest.unit, honest.n_units) == ("clusters", 100)


def test_few_clusters_have_no_interval(answers: FloatArray) -> None:
    """Nineteen are not resampled; the note says so, the estimate stays."""
    result = bootstrap_reliability(answers, rng=np.random.default_rng(1), clusters=np.arange(150) % 19)
    assert np.isnan([result.ci_lower[0], result.ci_upper[0], result.se[0]]).all()
    assert result.estimate[0] == pytest.approx(cronbach_alpha(answers).alpha, abs=1e-9)
    assert "19 clusters" in result.notes[0]


def test_missing_rows_and_progress(answers: FloatArray) -> None:
    """Incomplete rows are dropped and counted; progress ends at one."""
    holes = answers.copy()
    holes[:20, 1] = np.nan
    told: list[float] = []
    result = bootstrap_reliability(
        holes, rng=np.random.default_rng(1), n_draws=600, progress=lambda share, _: told.append(share)
    )
    assert (result.n_used, result.n_dropped, result.n_units) == (130, 20, 130)
    assert told == pytest.approx([1 / 3, 2 / 3, 1])


def test_resamples_without_an_answer_to_compute_are_noted() -> None:
    """An item that two of thirty answered differently is constant in an eighth of the resamples."""
    rng = np.random.default_rng(6)
    rows = rng.standard_normal((30, 1)) + rng.standard_normal((30, 3))
    rows[:, 0] = 0.0
    rows[:2, 0] = 1.0
    result = bootstrap_reliability(rows, rng=rng, n_draws=500)
    assert np.isnan(result.ci_lower[0])
    assert "resamples of respondents" in result.notes[0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"coefficients": ("beta",)}, "got beta"),
        ({"coefficients": ()}, "got none"),
        ({"clusters": np.arange(3)}, "one cluster for each row"),
        ({"n_draws": 5}, "at least 20 draws"),
        ({"confidence": 95}, "confidence"),
    ],
)
def test_what_cannot_be_resampled_is_refused_in_words(
    answers: FloatArray, arguments: dict[str, Any], message: str
) -> None:
    """Unknown coefficients, labels that do not fit, too few draws."""
    with pytest.raises(AnalysisInputError, match=message):
        bootstrap_reliability(answers, **({"rng": np.random.default_rng(1)} | arguments))


def test_omega_of_two_items_and_constant_items_are_refused(answers: FloatArray) -> None:
    """Two items do not identify one factor; a constant item is named."""
    with pytest.raises(AnalysisInputError, match="at least 3 items"):
        reliability_resampling(answers[:, :2], coefficients=("omega_total",))
    change: Callable[[FloatArray], FloatArray] = lambda x: np.where(np.arange(5) == 2, 1.0, x)  # noqa: E731
    with pytest.raises(AnalysisInputError, match="item 3"):
        reliability_resampling(change(answers))
