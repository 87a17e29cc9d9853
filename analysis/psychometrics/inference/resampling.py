"""Resampling whole clinicians: seeded parts that give the same answer however they are divided among workers.

A statistic is a function of how often each clinician was drawn, so that functions which work from sums per clinician
compute thousands of draws in one matrix product.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr, ndtri

from analysis.psychometrics.errors import AnalysisInputError
from analysis.psychometrics.inference.few_clinicians import ClinicianGroups, rules_for
from analysis.psychometrics.response_matrix import FloatArray, IntArray, read_only

#: Takes (n_draws, n_clinicians) counts of how often each clinician was drawn, returns (n_draws, n_statistics).
WeightedStatistic = Callable[[FloatArray], FloatArray]
#: Takes the row numbers of one resample, returns (n_statistics,).
RowStatistic = Callable[[IntArray], npt.ArrayLike]
Progress = Callable[[float, str], None]
IntervalMethod = Literal["percentile", "bca"]

#: Draws per part. Fixed, so that the random numbers do not depend on how many workers share the parts.
DRAWS_PER_PART: Final = 250
#: The share of draws in which a statistic must be defined for its interval to be given.
_DEFINED_SHARE: Final = 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawPart:
    """One part of a resampling run: plain numbers, so that it can travel to a worker."""

    seed: int
    number: int
    n_draws: int

    def rng(self) -> np.random.Generator:
        """Return this part's own generator: child `number` of the run's seed."""
        return np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(self.number,)))


def plan_parts(*, seed: int, n_draws: int, draws_per_part: int = DRAWS_PER_PART) -> tuple[DrawPart, ...]:
    """Divide a number of draws into parts with seeds of their own.

    Examples
    --------
    >>> [part.n_draws for part in plan_parts(seed=7, n_draws=600)]
    [250, 250, 100]
    """
    if n_draws < 1 or draws_per_part < 1:
        raise AnalysisInputError(
            f"plan_parts requires at least one draw; got {n_draws} in parts of {draws_per_part}. Remedy: ask for 2000."
        )
    firsts = range(0, n_draws, draws_per_part)
    return tuple(
        DrawPart(seed=seed, number=number, n_draws=min(draws_per_part, n_draws - first))
        for number, first in enumerate(firsts)
    )


def draw_clinician_counts(part: DrawPart, n_clinicians: int) -> FloatArray:
    """Return how often each clinician is drawn, with replacement, in each draw of the part: (n_draws, n_clinicians)."""
    counts = part.rng().multinomial(n_clinicians, np.full(n_clinicians, 1 / n_clinicians), size=part.n_draws)
    return counts.astype(np.float64)


def draw_part(statistic: WeightedStatistic, part: DrawPart, *, n_clinicians: int) -> FloatArray:
    """Return the statistics of one part's draws: (n_draws, n_statistics)."""
    return np.asarray(statistic(draw_clinician_counts(part, n_clinicians)), dtype=np.float64)


def from_rows(statistic: RowStatistic, groups: ClinicianGroups) -> WeightedStatistic:
    """Turn a function of the rows drawn into a function of the clinicians' counts (one call a draw: slow, general)."""
    rows = [groups.order[start : start + size] for start, size in zip(groups.starts, groups.sizes, strict=True)]

    def weighted(counts: FloatArray) -> FloatArray:
        drawn = []
        for row in counts.astype(np.int64):
            chosen = np.concatenate([np.tile(rows[g], row[g]) for g in np.flatnonzero(row)])
            drawn.append(np.atleast_1d(np.asarray(statistic(chosen), dtype=np.float64)))
        return np.array(drawn)

    return weighted


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ClusterBootstrap:
    """Estimates with intervals from resampling whole clinicians; NaN where a note says why."""

    estimate: FloatArray  # (n_statistics,)
    se: FloatArray  # SD of the draws
    ci_lower: FloatArray
    ci_upper: FloatArray
    n_defined: IntArray  # draws in which the statistic was defined
    n_draws: int
    n_clinicians: int
    method: IntervalMethod
    confidence: float
    notes: tuple[str, ...]


def bootstrap_clinicians(
    statistic: WeightedStatistic,
    *,
    n_clinicians: int,
    n_draws: int,
    rng: np.random.Generator,
    method: IntervalMethod = "percentile",
    confidence: float = 0.95,
    names: Sequence[str] | None = None,
    progress: Progress | None = None,
) -> ClusterBootstrap:
    """Resample whole clinicians, keeping all their patients, and return intervals.

    Parameters
    ----------
    statistic : callable
        From counts (n_draws, n_clinicians) to statistics (n_draws, n_statistics); all ones gives the estimate. See
        `from_rows` for one that works on rows.
    n_clinicians : int
        Clinicians in the data.
    n_draws : int
        Resamples; 2000 or more for an interval that is reported.
    rng : numpy.random.Generator
        Source of the run's seed.
    method : {'percentile', 'bca'}
        BCa corrects for bias and skewness, with the acceleration from leaving out one clinician at a time.
    confidence : float
        Between 0 and 1.
    names : sequence of str, optional
        Names of the statistics, for notes.
    progress : callable, optional
        Called with the share done and a text.

    Returns
    -------
    ClusterBootstrap
        Intervals are NaN below 20 clinicians, and for a statistic that is undefined in a tenth of the draws or more.

    Raises
    ------
    AnalysisInputError
        Fewer than 20 draws, or a confidence outside 0 to 1.

    Notes
    -----
    Field & Welsh (2007, J R Stat Soc B 69:369); BCa: Efron (1987, JASA 82:171). Quantiles as R's type 7. R:
    `boot::boot` on the list of clinicians, `boot::boot.ci(type = c("perc", "bca"))`.

    Examples
    --------
    >>> import numpy as np
    >>> totals, sizes = np.arange(30.0), np.ones(30)
    >>> mean = lambda counts: ((counts @ totals) / (counts @ sizes))[:, None]
    >>> result = bootstrap_clinicians(mean, n_clinicians=30, n_draws=500, rng=np.random.default_rng(1))
    >>> float(result.estimate[0])
    14.5
    """
    _require_draws(n_draws, confidence, who="bootstrap_clinicians")
    estimate = np.asarray(statistic(np.ones((1, n_clinicians))), dtype=np.float64)[0]
    empty = np.full(len(estimate), np.nan)
    rules = rules_for(n_clinicians)
    if not rules.cluster_bootstrap:
        return ClusterBootstrap(
            estimate=read_only(estimate),
            se=read_only(empty.copy()),
            ci_lower=read_only(empty.copy()),
            ci_upper=read_only(empty.copy()),
            n_defined=read_only(np.zeros(len(estimate), dtype=np.int64)),
            n_draws=0,
            n_clinicians=n_clinicians,
            method=method,
            confidence=confidence,
            notes=rules.notes,
        )
    parts = plan_parts(seed=int(rng.integers(2**62)), n_draws=n_draws)
    drawn = []
    for part in parts:
        drawn.append(draw_part(statistic, part, n_clinicians=n_clinicians))
        if progress is not None:
            progress((part.number + 1) / len(parts), "resampling clinicians")
    jackknife = None
    if method == "bca":
        jackknife = np.asarray(statistic(1.0 - np.eye(n_clinicians)), dtype=np.float64)
    return summarise_draws(
        np.concatenate(drawn),
        estimate=estimate,
        n_clinicians=n_clinicians,
        method=method,
        confidence=confidence,
        jackknife=jackknife,
        names=names,
    )


def summarise_draws(
    draws: npt.ArrayLike,
    *,
    estimate: npt.ArrayLike,
    n_clinicians: int,
    method: IntervalMethod = "percentile",
    confidence: float = 0.95,
    jackknife: npt.ArrayLike | None = None,
    names: Sequence[str] | None = None,
) -> ClusterBootstrap:
    """Turn the draws of all parts, in any order, into intervals; see `bootstrap_clinicians`.

    Raises
    ------
    AnalysisInputError
        Fewer than 20 draws, or BCa without the leave-one-out statistics.
    """
    values = np.asarray(draws, dtype=np.float64)
    point = np.asarray(estimate, dtype=np.float64)
    _require_draws(len(values), confidence, who="summarise_draws")
    if method == "bca" and jackknife is None:
        raise AnalysisInputError(
            "summarise_draws requires the statistics without each clinician in turn for BCa; got none. "
            "Remedy: pass jackknife=statistic(1 - np.eye(n_clinicians)), or choose method='percentile'."
        )
    leave_one_out = None if jackknife is None else np.asarray(jackknife, dtype=np.float64)
    n_statistics = len(point)
    lower, upper, se = (np.full(n_statistics, np.nan) for _ in range(3))
    defined = np.isfinite(values)
    n_defined = defined.sum(axis=0)
    notes: list[str] = []
    labels = tuple(names) if names is not None else tuple(f"statistic {k + 1}" for k in range(n_statistics))
    tail = (1 - confidence) / 2
    for k in range(n_statistics):
        if n_defined[k] < _DEFINED_SHARE * len(values) or not np.isfinite(point[k]):
            notes.append(
                f"{labels[k]}: no interval, defined in {int(n_defined[k])} of {len(values)} resamples of clinicians"
            )
            continue
        usable = values[defined[:, k], k]
        if n_defined[k] < len(values):
            notes.append(f"{labels[k]}: interval from the {len(usable)} of {len(values)} resamples that define it")
        se[k] = usable.std(ddof=1)
        probabilities = np.array([tail, 1 - tail])
        if method == "bca" and leave_one_out is not None:
            adjusted = _bca_probabilities(usable, point[k], leave_one_out[:, k], probabilities)
            if adjusted is None:
                notes.append(
                    f"{labels[k]}: BCa undefined (all resamples on one side of the estimate); percentile given"
                )
            else:
                probabilities = adjusted
        lower[k], upper[k] = np.quantile(usable, probabilities)
    return ClusterBootstrap(
        estimate=read_only(point.copy()),
        se=read_only(se),
        ci_lower=read_only(lower),
        ci_upper=read_only(upper),
        n_defined=read_only(n_defined.astype(np.int64)),
        n_draws=len(values),
        n_clinicians=n_clinicians,
        method=method,
        confidence=confidence,
        notes=tuple(notes),
    )


def _bca_probabilities(
    draws: FloatArray, estimate: float, leave_one_out: FloatArray, probabilities: FloatArray
) -> FloatArray | None:
    """Return the percentiles that Efron's bias and acceleration corrections choose, or None where undefined."""
    below = float((draws < estimate).mean() + 0.5 * (draws == estimate).mean())
    spread = leave_one_out[np.isfinite(leave_one_out)]
    if not 0 < below < 1 or len(spread) < 3:
        return None
    influence = spread.mean() - spread
    squares = float((influence**2).sum())
    acceleration = float((influence**3).sum()) / (6 * squares**1.5) if squares > 0 else 0.0
    bias = ndtri(below)
    shifted = bias + ndtri(probabilities)
    return np.asarray(ndtr(bias + shifted / (1 - acceleration * shifted)), dtype=np.float64)


def _require_draws(n_draws: int, confidence: float, *, who: str) -> None:
    if n_draws < 20:
        raise AnalysisInputError(
            f"{who} requires at least 20 draws for an interval; got {n_draws}. Remedy: use 2000 or more."
        )
    if not 0 < confidence < 1:
        raise AnalysisInputError(f"{who} requires a confidence between 0 and 1; got {confidence}. Remedy: use 0.95.")
