"""Bootstrap intervals of reliability coefficients, over respondents or over whole clinicians."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from analysis.psychometrics.errors import AnalysisInputError
from analysis.psychometrics.exploratory.factor_analysis import extract_factors
from analysis.psychometrics.inference.few_clinicians import MINIMUM_FOR_BOOTSTRAP
from analysis.psychometrics.inference.resampling import (
    IntervalMethod,
    Progress,
    WeightedStatistic,
    draw_part,
    plan_parts,
    summarise_draws,
)
from analysis.psychometrics.response_matrix import (
    FloatArray,
    as_item_codes,
    as_responses,
    complete_rows,
    read_only,
    refuse_constant_items,
)

ReliabilityCoefficient = Literal["alpha", "alpha_std", "omega_total"]
#: Products of items are summed for each unit once when they take no more numbers than this; else at every draw.
_MOST_NUMBERS = 20_000_000


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ReliabilityIntervals:
    """Coefficients with bootstrap intervals; NaN where a note says why."""

    coefficients: tuple[ReliabilityCoefficient, ...]
    estimate: FloatArray  # (n_coefficients,)
    se: FloatArray  # SD of the draws
    ci_lower: FloatArray
    ci_upper: FloatArray
    confidence: float
    method: IntervalMethod
    unit: Literal["respondents", "clusters"]
    n_units: int
    n_draws: int
    n_used: int
    n_dropped: int
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReliabilityResampling:
    """What a worker needs for its part of the draws: `draw_part(statistic, part, n_clinicians=n_units)`."""

    statistic: WeightedStatistic
    n_units: int
    n_used: int
    n_dropped: int


def reliability_resampling(
    data: npt.ArrayLike,
    *,
    clusters: npt.ArrayLike | None = None,
    coefficients: Sequence[ReliabilityCoefficient] = ("alpha",),
    item_codes: Sequence[str] | None = None,
) -> ReliabilityResampling:
    """Prepare coefficients as a function of how often each respondent or cluster was drawn.

    Parameters
    ----------
    data : array-like, shape (n_respondents, n_items)
        Answers with reversed items already turned round; NaN for missing (incomplete rows are dropped).
    clusters : array-like, shape (n_respondents,), optional
        The cluster of each row, any labels; without it respondents are resampled.
    coefficients : sequence of {'alpha', 'alpha_std', 'omega_total'}
        `omega_total` is that of one minres factor of the correlations, as `psych::omega(nfactors = 1)`.
    item_codes : sequence of str, optional
        Names for messages.

    Raises
    ------
    AnalysisInputError
        An unknown coefficient, a constant item, too few rows, or omega of fewer than three items.

    Examples
    --------
    >>> import numpy as np
    >>> rows = np.array([[1.0, 2.0], [2.0, 2.0], [3.0, 5.0], [4.0, 4.0]])
    >>> prepared = reliability_resampling(rows)
    >>> prepared.statistic(np.ones((1, prepared.n_units))).round(4)  # everybody once: alpha itself
    array([[0.8675]])
    """
    who = "reliability_resampling"
    unknown = [name for name in coefficients if name not in get_args(ReliabilityCoefficient)]
    if unknown or not coefficients:
        raise AnalysisInputError(
            f"{who} requires coefficients among alpha, alpha_std and omega_total; got {', '.join(unknown) or 'none'}. "
            "Remedy: choose among the three."
        )
    values = as_responses(data, who=who, minimum_items=3 if "omega_total" in coefficients else 2)
    complete = complete_rows(values, who=who, minimum_respondents=3, item_codes=item_codes)
    codes = as_item_codes(item_codes, values.shape[1], who=who)
    refuse_constant_items(complete.values, codes, who=who)
    if clusters is None:
        place, n_units = np.arange(complete.n_used), complete.n_used
    else:
        labels = np.asarray(clusters)
        if labels.shape != (len(values),):
            raise AnalysisInputError(
                f"{who} requires one cluster for each row; got {labels.shape} for {len(values)} rows. "
                "Remedy: pass the column that names the clinician."
            )
        found, place = np.unique(labels[~np.isnan(values).any(axis=1)], return_inverse=True)
        n_units = len(found)
    # Covariances do not mind a common shift; centred, the sums of products keep their digits.
    rows = complete.values - complete.values.mean(axis=0)
    covariances = _covariances(rows, place, n_units)
    names = tuple(coefficients)

    def statistic(counts: FloatArray) -> FloatArray:
        drawn = covariances(counts)
        return np.column_stack([_coefficient(name, drawn) for name in names])

    return ReliabilityResampling(
        statistic=statistic, n_units=n_units, n_used=complete.n_used, n_dropped=complete.n_dropped
    )


def bootstrap_reliability(
    data: npt.ArrayLike,
    *,
    rng: np.random.Generator,
    n_draws: int = 2000,
    clusters: npt.ArrayLike | None = None,
    coefficients: Sequence[ReliabilityCoefficient] = ("alpha",),
    method: IntervalMethod = "percentile",
    confidence: float = 0.95,
    item_codes: Sequence[str] | None = None,
    progress: Progress | None = None,
) -> ReliabilityIntervals:
    """Resample respondents, or whole clusters with all their respondents, and return intervals of coefficients.

    Parameters
    ----------
    data, clusters, coefficients, item_codes
        See `reliability_resampling`.
    rng : numpy.random.Generator
        Source of the run's seed. The draws come in parts with seeds of their own (`resampling.plan_parts`), so workers
        that share them give the same intervals.
    n_draws : int
        Resamples; 2000 or more for an interval that is reported.
    method : {'percentile', 'bca'}
        BCa corrects for bias and skewness, with the acceleration from leaving out one unit at a time.
    confidence : float
        Between 0 and 1.
    progress : callable, optional
        Called with the share done and a text.

    Returns
    -------
    ReliabilityIntervals
        With clusters, NaN intervals below 20 of them: fewer cannot be resampled honestly.

    Raises
    ------
    AnalysisInputError
        See `reliability_resampling`; fewer than 20 draws, or a confidence that is none.

    Notes
    -----
    Efron & Tibshirani (1993); clusters: Field & Welsh (2007). Patients of one clinician resemble one another, so
    intervals from respondents are too narrow for them. R: `psych::alpha(x, n.iter = 2000)$boot.ci` for respondents.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(1)
    >>> answers = rng.standard_normal((200, 1)) + rng.standard_normal((200, 4))
    >>> result = bootstrap_reliability(answers, rng=rng, n_draws=200)
    >>> bool(result.ci_lower[0] < 0.8 < result.ci_upper[0])
    True
    """
    prepared = reliability_resampling(data, clusters=clusters, coefficients=coefficients, item_codes=item_codes)
    names = tuple(coefficients)
    everybody = np.ones((1, prepared.n_units))
    estimate = prepared.statistic(everybody)[0]
    unit: Literal["respondents", "clusters"] = "respondents" if clusters is None else "clusters"
    unknown = np.full(len(names), np.nan)
    if clusters is not None and prepared.n_units < MINIMUM_FOR_BOOTSTRAP:
        return ReliabilityIntervals(
            coefficients=names,
            estimate=read_only(estimate),
            se=read_only(unknown.copy()),
            ci_lower=read_only(unknown.copy()),
            ci_upper=read_only(unknown.copy()),
            confidence=confidence,
            method=method,
            unit=unit,
            n_units=prepared.n_units,
            n_draws=0,
            n_used=prepared.n_used,
            n_dropped=prepared.n_dropped,
            notes=(f"{prepared.n_units} clusters: fewer than {MINIMUM_FOR_BOOTSTRAP} are not resampled, no intervals",),
        )
    parts = plan_parts(seed=int(rng.integers(2**62)), n_draws=n_draws)
    drawn = []
    for part in parts:
        drawn.append(draw_part(prepared.statistic, part, n_clinicians=prepared.n_units))
        if progress is not None:
            progress((part.number + 1) / len(parts), f"resampling {unit}")
    jackknife = None
    if method == "bca":
        # A row at a time: everybody but one, for as many as there are.
        jackknife = np.concatenate(
            [
                prepared.statistic(everybody - np.eye(1, prepared.n_units, position))
                for position in range(prepared.n_units)
            ]
        )
    summary = summarise_draws(
        np.concatenate(drawn),
        estimate=estimate,
        n_clinicians=prepared.n_units,
        method=method,
        confidence=confidence,
        jackknife=jackknife,
        names=names,
    )
    return ReliabilityIntervals(
        coefficients=names,
        estimate=summary.estimate,
        se=summary.se,
        ci_lower=summary.ci_lower,
        ci_upper=summary.ci_upper,
        confidence=confidence,
        method=method,
        unit=unit,
        n_units=prepared.n_units,
        n_draws=summary.n_draws,
        n_used=prepared.n_used,
        n_dropped=prepared.n_dropped,
        notes=tuple(note.replace("resamples of clinicians", f"resamples of {unit}") for note in summary.notes),
    )


def _covariances(rows: FloatArray, place: npt.NDArray[np.intp], n_units: int) -> WeightedStatistic:
    """Return a function from counts (n_draws, n_units) to covariance matrices (n_draws, n_items, n_items)."""
    n_items = rows.shape[1]
    sizes = np.bincount(place, minlength=n_units).astype(np.float64)
    sums = np.zeros((n_units, n_items))
    np.add.at(sums, place, rows)
    products = None
    if n_units * n_items**2 <= _MOST_NUMBERS:
        products = np.zeros((n_units, n_items, n_items))
        np.add.at(products, place, rows[:, :, None] * rows[:, None, :])

    def drawn(counts: FloatArray) -> FloatArray:
        n_rows, totals = counts @ sizes, counts @ sums
        if products is not None:
            squares = (counts @ products.reshape(n_units, -1)).reshape(len(counts), n_items, n_items)
        else:
            squares = np.stack([(rows * weights[place, None]).T @ rows for weights in counts])
        centred = squares - totals[:, :, None] * totals[:, None, :] / n_rows[:, None, None]
        covariance: FloatArray = centred / (n_rows - 1)[:, None, None]
        return covariance

    return drawn


def _coefficient(name: ReliabilityCoefficient, covariance: FloatArray) -> FloatArray:
    """Return one coefficient of each covariance matrix; NaN where an item or the sum does not vary."""
    n_items = covariance.shape[1]
    own = np.diagonal(covariance, axis1=1, axis2=2)
    # Rounding leaves dust where an item is constant in a resample.
    defined = (own > 1e-12 * own.max(axis=1, keepdims=True)).all(axis=1)
    if name != "alpha":
        sd = np.sqrt(np.where(defined[:, None], own, 1.0))
        covariance = covariance / (sd[:, :, None] * sd[:, None, :])
        own = np.diagonal(covariance, axis1=1, axis2=2)
    total, trace = covariance.sum(axis=(1, 2)), own.sum(axis=1)
    defined &= total > 1e-12 * trace
    if name == "omega_total":
        return np.array(
            [
                _one_factor_omega(matrix) if usable else np.nan
                for matrix, usable in zip(covariance, defined, strict=True)
            ]
        )
    alpha: FloatArray = n_items / (n_items - 1) * (1 - trace / np.where(defined, total, np.nan))
    return alpha


def _one_factor_omega(correlation: FloatArray) -> float:
    exact = (correlation + correlation.T) / 2
    np.fill_diagonal(exact, 1.0)
    loadings = extract_factors(exact, n_factors=1).loadings[:, 0]
    return 1 - float(np.sum(1 - loadings**2)) / float(exact.sum())
