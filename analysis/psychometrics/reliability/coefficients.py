"""Reliability of a sum score: alpha, omega of one factor, Spearman–Brown for two items, standard error of measurement.

Alpha stands here in NumPy so that the package needs nothing else; `analysis.adapters.pingouin_alpha` is the second
opinion that the platform's own pages take, and the tests hold the two together.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import fdtri

from analysis.psychometrics.errors import AnalysisInputError
from analysis.psychometrics.exploratory.factor_analysis import FactorExtraction, extract_factors
from analysis.psychometrics.response_matrix import (
    FloatArray,
    Missing,
    as_item_codes,
    as_responses,
    complete_rows,
    pairwise_moments,
    read_only,
    refuse_constant_items,
)

OneFactorExtraction = FactorExtraction

#: Two items whose correlation is this near to ±1 are one item asked twice.
_DUPLICATE_R = 1 - 1e-10


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CronbachAlpha:
    """Alpha of one scale with its interval, and what each item does to it."""

    item_codes: tuple[str, ...]
    alpha: float
    alpha_ci_lower: float  # Feldt
    alpha_ci_upper: float
    confidence: float
    alpha_std: float  # of the sum of standardised items
    average_r: float
    median_r: float
    lambda2: float  # Guttman's, never below alpha
    lambda6: float  # Guttman's, from squared multiple correlations; NaN where they do not exist
    alpha_if_deleted: FloatArray  # (n_items,); NaN for a scale of two
    alpha_std_if_deleted: FloatArray  # (n_items,); NaN for a scale of two
    item_rest_r: FloatArray  # (n_items,): with the sum of the other items
    item_means: FloatArray  # (n_items,)
    item_sds: FloatArray  # (n_items,), divisor n - 1
    score_sd: float  # of the sum of the items
    missing: Missing
    n_used: int  # complete rows, or the smallest number behind a pair
    n_dropped: int
    notes: tuple[str, ...]


def cronbach_alpha(
    data: npt.ArrayLike,
    *,
    item_codes: Sequence[str] | None = None,
    confidence: float = 0.95,
    missing: Missing = "listwise",
) -> CronbachAlpha:
    """Estimate Cronbach's alpha with Feldt's interval, and what each item does to it.

    Parameters
    ----------
    data : array-like, shape (n_respondents, n_items)
        Answers with reversed items already turned round; NaN for missing. Not changed.
    item_codes : sequence of str, optional
        Names for messages and results.
    confidence : float
        Coverage of the interval, between 0 and 1.
    missing : {'listwise', 'pairwise'}
        Respondents who answered every item, or covariances of all who answered both items of a pair (what
        `psych::alpha` does unless told otherwise). Pairwise, the interval counts the smallest number behind any pair.

    Returns
    -------
    CronbachAlpha
        A negative alpha is returned as it is, with a note: usually an item is keyed the wrong way.

    Raises
    ------
    AnalysisInputError
        Fewer than two items, fewer than three respondents to go by, an item without variation, or items that cancel.

    Notes
    -----
    α = k/(k−1)·(1 − Σc_ii/Σc_ij) with covariances c, Cronbach (1951); standardised with correlations. Interval:
    1 − (1 − α)·F with n − 1 and (n − 1)(k − 1) degrees of freedom, Feldt, Woodruff & Salih (1987). λ2 and λ6: Guttman
    (1945). R: `psych::alpha(x, use = "complete")`; its G6 is λ6 of the standardised items.

    Examples
    --------
    >>> import numpy as np
    >>> scale = np.array([[1.0, 1.0, 2.0], [2.0, 3.0, 2.0], [4.0, 3.0, 5.0], [5.0, 5.0, 4.0]])
    >>> result = cronbach_alpha(scale)
    >>> round(result.alpha, 4), result.alpha_if_deleted.round(3)
    (0.9084, array([0.703, 0.911, 0.941]))
    """
    who = "cronbach_alpha"
    if not 0 < confidence < 1:
        raise AnalysisInputError(f"{who} requires a confidence between 0 and 1; got {confidence}. Remedy: use 0.95.")
    if missing == "listwise":
        complete = complete_rows(data, who=who, minimum_items=2, minimum_respondents=3, item_codes=item_codes)
        values, n_used, n_dropped = complete.values, complete.n_used, complete.n_dropped
        codes = as_item_codes(item_codes, values.shape[1], who=who)
        refuse_constant_items(values, codes, who=who)
        means = values.mean(axis=0)
        centred = values - means
        covariance = centred.T @ centred / (n_used - 1)
        sd = np.sqrt(np.diag(covariance))
        correlation = covariance / np.outer(sd, sd)
    elif missing == "pairwise":
        values = as_responses(data, who=who, minimum_items=2)
        codes = as_item_codes(item_codes, values.shape[1], who=who)
        refuse_constant_items(values, codes, who=who)
        covariance, _, counts = pairwise_moments(values)
        n_used = int(counts.min())
        n_dropped = len(values) - n_used
        if n_used < 3:
            first, second = np.argwhere(counts == n_used)[0]
            raise AnalysisInputError(
                f"{who} requires at least 3 respondents who answered both items of every pair; {codes[first]} and "
                f"{codes[second]} have {n_used}. Remedy: leave one of them out."
            )
        means = np.nanmean(values, axis=0)
        # Each item's variance is that of all its answers, as R's cov(use = "pairwise").
        sd = np.sqrt(np.diag(covariance))
        correlation = covariance / np.outer(sd, sd)
    else:
        raise AnalysisInputError(
            f"{who} requires missing='listwise' or 'pairwise'; got {missing!r}. Remedy: choose one of the two."
        )
    total = float(covariance.sum())
    if not total > 1e-12 * float(np.trace(covariance)):
        raise AnalysisInputError(
            f"{who} requires a sum score that varies; the {len(codes)} items cancel one another. "
            "Remedy: check which items have to be reversed."
        )
    n_items = len(codes)
    alpha = _alpha_of(covariance)
    lower, upper = feldt_interval(alpha, n_used=n_used, n_items=n_items, confidence=confidence)
    off_diagonal = correlation[np.triu_indices(n_items, k=1)]
    rest_r, cancelled = _item_rest(covariance)
    notes = _alpha_notes(alpha, covariance, correlation, codes)
    if cancelled:
        notes.append(
            "the other items cancel one another, so there is no item-rest correlation of "
            + ", ".join(codes[item] for item in cancelled)
        )
    return CronbachAlpha(
        item_codes=codes,
        alpha=alpha,
        alpha_ci_lower=lower,
        alpha_ci_upper=upper,
        confidence=confidence,
        alpha_std=_alpha_of(correlation),
        average_r=float(off_diagonal.mean()),
        median_r=float(np.median(off_diagonal)),
        lambda2=_lambda2(covariance),
        lambda6=_lambda6(covariance, correlation),
        alpha_if_deleted=read_only(_alpha_if_deleted(covariance)),
        alpha_std_if_deleted=read_only(_alpha_if_deleted(correlation)),
        item_rest_r=read_only(rest_r),
        item_means=read_only(means),
        item_sds=read_only(sd),
        score_sd=math.sqrt(total),
        missing=missing,
        n_used=n_used,
        n_dropped=n_dropped,
        notes=tuple(notes),
    )


def alpha_of_covariance(covariance: npt.ArrayLike) -> float:
    """Return alpha of the sum of items with these covariances (of standardised items, with correlations).

    Raises
    ------
    AnalysisInputError
        Not a covariance matrix of at least two varying items.

    Examples
    --------
    >>> round(alpha_of_covariance([[1.0, 0.5], [0.5, 1.0]]), 4)
    0.6667
    """
    matrix, _ = _as_covariance(covariance, None, who="alpha_of_covariance")
    return _alpha_of(matrix)


def feldt_interval(alpha: float, *, n_used: int, n_items: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return Feldt's interval of an alpha from normally distributed items with equal true scores.

    Notes
    -----
    1 − (1 − α)·F, F the quantiles with n − 1 and (n − 1)(k − 1) degrees of freedom; Feldt, Woodruff & Salih (1987).
    R: `psych::alpha.ci(alpha, n.obs, n.var)`.

    Raises
    ------
    AnalysisInputError
        Fewer than two respondents or items, or a confidence that is none.

    Examples
    --------
    >>> tuple(round(limit, 3) for limit in feldt_interval(0.8, n_used=100, n_items=5))
    (0.731, 0.856)
    """
    if n_used < 2 or n_items < 2 or not 0 < confidence < 1:
        raise AnalysisInputError(
            f"feldt_interval requires at least two respondents and items and a confidence between 0 and 1; "
            f"got {n_used}, {n_items} and {confidence}. Remedy: check the arguments."
        )
    tail = (1 - confidence) / 2
    between, within = n_used - 1, (n_used - 1) * (n_items - 1)
    return (
        float(1 - (1 - alpha) * fdtri(between, within, 1 - tail)),
        float(1 - (1 - alpha) * fdtri(between, within, tail)),
    )


def _alpha_of(covariance: FloatArray) -> float:
    n_items, total = len(covariance), float(covariance.sum())
    if not total > 1e-12 * float(np.trace(covariance)):
        return float("nan")
    return n_items / (n_items - 1) * (1 - float(np.trace(covariance)) / total)


def _alpha_if_deleted(covariance: FloatArray) -> FloatArray:
    n_items = len(covariance)
    if n_items < 3:
        return np.full(n_items, np.nan)
    own = np.diag(covariance)
    rest = covariance.sum() - 2 * covariance.sum(axis=1) + own
    remaining = own.sum() - own
    defined = rest > 1e-12 * remaining
    return np.where(defined, (n_items - 1) / (n_items - 2) * (1 - remaining / np.where(defined, rest, 1.0)), np.nan)


def _item_rest(covariance: FloatArray) -> tuple[FloatArray, list[int]]:
    """Return item-rest correlations, and the items whose rest does not vary."""
    own = np.diag(covariance)
    with_others = covariance.sum(axis=1) - own
    rest = covariance.sum() - own - 2 * with_others
    defined = rest > 1e-12 * own.sum()
    r = np.where(defined, with_others / np.sqrt(np.where(defined, own * rest, 1.0)), np.nan)
    return np.clip(r, -1.0, 1.0), [int(item) for item in np.flatnonzero(~defined)]


def _lambda2(covariance: FloatArray) -> float:
    n_items, total = len(covariance), float(covariance.sum())
    between = covariance - np.diag(np.diag(covariance))
    return (float(between.sum()) + math.sqrt(n_items / (n_items - 1) * float(np.sum(between**2)))) / total


def _lambda6(covariance: FloatArray, correlation: FloatArray) -> float:
    smallest = float(np.linalg.eigvalsh(correlation)[0])
    if smallest <= 1e-12:
        return float("nan")
    unique = np.diag(covariance) / np.diag(np.linalg.inv(correlation))
    return 1 - float(unique.sum()) / float(covariance.sum())


def _alpha_notes(alpha: float, covariance: FloatArray, correlation: FloatArray, codes: Sequence[str]) -> list[str]:
    notes = []
    if len(codes) == 2:
        notes.append("two items: read the Spearman–Brown coefficient instead; alpha if deleted is undefined")
    if alpha < 0:
        notes.append("alpha is negative: the items do not go together; check which have to be reversed")
    else:
        # Against the first principal component, as psych's check.keys: an item-rest correlation misses a half reversed.
        direction = np.linalg.eigh(correlation)[1][:, -1]
        direction = direction * (1 if direction.sum() >= 0 else -1)
        against = [code for code, weight in zip(codes, direction, strict=True) if weight < -1e-8]
        if against:
            notes.append(f"goes against the others, check whether it has to be reversed: {', '.join(against)}")
    pairs = np.argwhere(np.abs(np.triu(correlation, k=1)) > _DUPLICATE_R)
    for first, second in pairs[:3]:
        notes.append(f"{codes[first]} and {codes[second]} correlate perfectly: is one a copy of the other?")
    return notes


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OmegaTotal:
    """Omega of a unidimensional composite with the one-factor solution behind it (in the items' own units)."""

    omega: float  # over the variance that the model implies
    omega_observed: float  # over the observed variance of the sum, as semTools' compRelSEM
    omega_from_residuals: float  # 1 - residual over observed variance, as psych's omega.tot
    loadings: FloatArray  # (n_items,)
    uniquenesses: FloatArray  # (n_items,): residual variances
    extraction: OneFactorExtraction
    converged: bool
    admissible: bool
    notes: tuple[str, ...]


def omega_total(
    covariance: npt.ArrayLike, *, extraction: OneFactorExtraction = "ml", item_codes: Sequence[str] | None = None
) -> OmegaTotal:
    """Estimate the reliability of the unit-weighted sum of congeneric items.

    Parameters
    ----------
    covariance : array-like, shape (n_items, n_items)
        Covariances of the items (a correlation matrix gives omega of the sum of standardised items).
    extraction : {'ml', 'minres'}
        Maximum likelihood, or least squares on the correlations.
    item_codes : sequence of str, optional
        Names for notes.

    Returns
    -------
    OmegaTotal
        NaN with a note for two items, which do not identify their loadings (see `spearman_brown`).

    Raises
    ------
    AnalysisInputError
        Not a covariance matrix of at least two varying items.

    Notes
    -----
    ω = (Σλ)² / ((Σλ)² + Σθ), McDonald (1999, eq. 6.20); Flora (2020), AMPPS 3:484. The factor model is fitted to the
    correlations with uniquenesses as free parameters (Jöreskog 1967), loadings taken back to the items' units. The
    denominator is the model's variance of the sum or the observed one; the three agree where the model fits.
    R: `psych::omega(R, nfactors = 1)$omega.tot` is `omega_from_residuals` of a correlation matrix with minres;
    `semTools::compRelSEM(fit)` is `omega_observed` with ml, with `obs.var = FALSE` it is `omega`.

    Examples
    --------
    >>> import numpy as np
    >>> loadings = np.array([0.8, 0.7, 0.6])
    >>> model = np.outer(loadings, loadings) + np.diag(1 - loadings**2)
    >>> round(omega_total(model).omega, 3)
    0.745
    """
    matrix, codes = _as_covariance(covariance, item_codes, who="omega_total")
    n_items = len(codes)
    if n_items == 2:
        unknown = np.full(2, np.nan)
        return OmegaTotal(
            omega=float("nan"),
            omega_observed=float("nan"),
            omega_from_residuals=float("nan"),
            loadings=read_only(unknown),
            uniquenesses=read_only(unknown.copy()),
            extraction=extraction,
            converged=False,
            admissible=False,
            notes=("two items do not identify their loadings: use the Spearman–Brown coefficient",),
        )
    sd = np.sqrt(np.diag(matrix))
    correlation = matrix / np.outer(sd, sd)
    total = float(matrix.sum())
    if not total > 1e-12 * float(np.trace(matrix)):
        raise AnalysisInputError(
            f"omega_total requires a sum score that varies; the {n_items} items cancel one another. "
            "Remedy: check which items have to be reversed."
        )
    if extraction not in ("ml", "minres"):
        raise AnalysisInputError(
            f"omega_total requires extraction='ml' or 'minres'; got {extraction!r}. Remedy: choose one of the two."
        )
    factor = extract_factors(correlation, n_factors=1, extraction=extraction)
    loadings, uniquenesses, converged = factor.loadings[:, 0], factor.uniquenesses, factor.converged
    notes: list[str] = []
    heywood = [codes[item] for item in factor.at_bound]
    if heywood:
        notes.append(f"Heywood case: uniqueness at its lower bound for {', '.join(heywood)}")
    if not converged:
        notes.append("the one-factor fit did not converge")
    mixed = bool((loadings < 0).any())
    if mixed:
        against = [code for code, loading in zip(codes, loadings, strict=True) if loading < 0]
        notes.append(f"negative loading, check the keying of {', '.join(against)}")
    return OmegaTotal(
        omega=composite_omega(loadings * sd, uniquenesses * sd**2),
        omega_observed=composite_omega(loadings * sd, uniquenesses * sd**2, total_variance=total),
        # psych takes residuals as what the loadings leave, which differs from the search's only in a Heywood case.
        omega_from_residuals=1 - float(np.sum((1 - loadings**2) * sd**2)) / total,
        loadings=read_only(loadings * sd),
        uniquenesses=read_only(uniquenesses * sd**2),
        extraction=extraction,
        converged=converged,
        admissible=converged and not heywood,
        notes=tuple(notes),
    )


def composite_omega(
    loadings: npt.ArrayLike, residual_variances: npt.ArrayLike, *, total_variance: float | None = None
) -> float:
    """Return (Σλ)² over the variance of the sum: the model's own, or the observed one when `total_variance` is given.

    semTools' `compRelSEM` uses the observed variance. Both agree when the model fits exactly.
    """
    common = float(np.sum(np.asarray(loadings, dtype=np.float64))) ** 2
    implied = common + float(np.sum(np.asarray(residual_variances, dtype=np.float64)))
    return common / (implied if total_variance is None else total_variance)


def _as_covariance(
    covariance: npt.ArrayLike, item_codes: Sequence[str] | None, *, who: str
) -> tuple[FloatArray, tuple[str, ...]]:
    matrix = np.asarray(covariance, dtype=np.float64)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or matrix.shape[0] < 2:
        raise AnalysisInputError(
            f"{who} requires a square covariance matrix of at least two items; got shape {matrix.shape}. "
            "Remedy: compute it with numpy.cov(rows, rowvar=False)."
        )
    codes = as_item_codes(item_codes, len(matrix), who=who)
    if not np.isfinite(matrix).all() or not np.allclose(matrix, matrix.T, atol=1e-10 * float(np.abs(matrix).max())):
        raise AnalysisInputError(
            f"{who} requires a symmetric matrix of finite numbers; got NaN, infinite or unequal entries. "
            "Remedy: leave out the rows with missing answers before computing covariances."
        )
    # Items may be in very unlike units; what rounding leaves of a constant one is smaller still.
    dust = 1e-24 * float(np.diag(matrix).max())
    constant = [code for code, variance in zip(codes, np.diag(matrix), strict=True) if not variance > dust]
    if constant:
        raise AnalysisInputError(
            f"{who} requires items that vary; without variance: {', '.join(constant)}. Remedy: leave them out."
        )
    return matrix, codes


def spearman_brown(r: float, *, n_items: int = 2) -> float:
    """Return the reliability of the mean of `n_items` parallel items that correlate at `r`.

    Notes
    -----
    n·r / (1 + (n − 1)·r), Spearman (1910) and Brown (1910). For a scale of two items this is the coefficient to report
    (Eisinga, te Grotenhuis & Pelzer 2013). A negative `r` gives a negative coefficient: check the keying. NaN in gives
    NaN out.

    Raises
    ------
    AnalysisInputError
        `r` is not within −1 to 1, or the number of items is below one.

    Examples
    --------
    >>> round(spearman_brown(0.5), 4)
    0.6667
    """
    if math.isnan(r):
        return float("nan")
    if not -1 <= r <= 1 or n_items < 1:
        raise AnalysisInputError(
            f"spearman_brown requires a correlation within -1 to 1 and at least one item; got r = {r} and {n_items}. "
            "Remedy: pass the Pearson correlation of the two items."
        )
    denominator = 1 + (n_items - 1) * r
    return float("nan") if denominator == 0 else n_items * r / denominator


def standard_error_of_measurement(sd: float, reliability: float) -> float:
    """Return SD·√(1 − reliability), in the units of the score.

    A reliability below zero says that the score holds nothing but error, so the error cannot exceed the SD: it counts
    as zero. NaN in gives NaN out.

    Raises
    ------
    AnalysisInputError
        A negative SD, or a reliability above one.

    Examples
    --------
    >>> round(standard_error_of_measurement(20, 0.70), 2)
    10.95
    """
    if sd < 0 or reliability > 1:
        raise AnalysisInputError(
            f"standard_error_of_measurement requires an SD of at least 0 and a reliability of at most 1; got {sd} and "
            f"{reliability}. Remedy: check the order of the two arguments."
        )
    if math.isnan(reliability) or math.isnan(sd):
        return float("nan")
    return sd * math.sqrt(1 - max(reliability, 0.0))
