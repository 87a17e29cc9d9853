"""Reliability at each level of patients within clinicians: of what tells patients apart, and what tells clinicians."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from analysis.psychometrics.errors import AnalysisInputError
from analysis.psychometrics.factor_analysis import ExtractedFactors, extract_factors
from analysis.psychometrics.few_clinicians import MINIMUM_FOR_BETWEEN_MODEL
from analysis.psychometrics.response_matrix import (
    FloatArray,
    IntArray,
    as_item_codes,
    as_responses,
    read_only,
    refuse_constant_items,
)

_MOST_STEPS = 20_000
_TOLERANCE = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TwoLevelCovariances:
    """Covariances within and between clusters, by maximum likelihood, with intraclass correlations of the items."""

    item_codes: tuple[str, ...]
    means: FloatArray  # (n_items,)
    within: FloatArray  # (n_items, n_items)
    between: FloatArray  # (n_items, n_items)
    icc: FloatArray  # (n_items,): between / (within + between)
    log_likelihood: float
    n_used: int
    n_dropped: int
    n_clusters: int
    mean_cluster_size: float
    harmonic_cluster_size: float
    n_iterations: int
    converged: bool
    notes: tuple[str, ...]


def two_level_covariances(
    data: npt.ArrayLike, clusters: npt.ArrayLike, *, item_codes: Sequence[str] | None = None
) -> TwoLevelCovariances:
    """Split the covariances of items into those within and those between clusters.

    Parameters
    ----------
    data : array-like, shape (n_respondents, n_items)
        Answers; NaN for missing (incomplete rows are dropped).
    clusters : array-like, shape (n_respondents,)
        The cluster (clinician) of each row, any labels.
    item_codes : sequence of str, optional
        Names for messages and results.

    Raises
    ------
    AnalysisInputError
        Too few clusters or rows for the items, an item constant, or no cluster with two rows.

    Notes
    -----
    Maximum likelihood of y_ij = μ + b_j + e_ij with free covariances of b and e, clusters of any size, by the EM
    algorithm (Raudenbush 1995; McDonald & Goldstein 1989), started from the moments of Muthén (1994). The likelihood is
    normal; between covariances may end on the edge (a dimension in which clusters do not differ), which is noted.
    R: `lavInspect(fit, "h1")` of a two-level `lavaan::cfa(…, cluster = "cl")`.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(2)
    >>> clinician = np.repeat(np.arange(60), 8)
    >>> answers = rng.standard_normal((60, 1))[clinician] + rng.standard_normal((480, 3))
    >>> two_level_covariances(answers, clinician).icc.round(1)
    array([0.5, 0.5, 0.5])
    """
    who = "two_level_covariances"
    values = as_responses(data, who=who, minimum_items=2)
    codes = as_item_codes(item_codes, values.shape[1], who=who)
    labels = np.asarray(clusters)
    if labels.shape != (len(values),):
        raise AnalysisInputError(
            f"{who} requires one cluster for each row; got {labels.shape} for {len(values)} rows. "
            "Remedy: pass the column that names the clinician."
        )
    keep = ~np.isnan(values).any(axis=1)
    rows, owner = values[keep], labels[keep]
    n_items = len(codes)
    if len(rows) < 3:
        raise AnalysisInputError(
            f"{who} requires respondents who answered all {n_items} items; got {len(rows)}. Remedy: collect more forms."
        )
    refuse_constant_items(rows, codes, who=who)
    _, place, sizes = np.unique(owner, return_inverse=True, return_counts=True)
    n_rows, n_clusters = len(rows), len(sizes)
    if n_clusters <= n_items or n_rows - n_clusters <= n_items:
        raise AnalysisInputError(
            f"{who} requires more clusters than items, and more further rows than items; got {n_clusters} clusters and "
            f"{n_rows} rows for {n_items} items. Remedy: collect forms of more clinicians, or take fewer items."
        )
    sums = np.zeros((n_clusters, n_items))
    np.add.at(sums, place, rows)
    cluster_means = sums / sizes[:, None]
    apart = rows - cluster_means[place]
    scatter = apart.T @ apart
    _refuse_no_spread(scatter, codes, who=who)
    # Muthén's moment estimator as the start: pooled within, and what the cluster means vary beyond it.
    within = scatter / (n_rows - n_clusters)
    grand = rows.mean(axis=0)
    spread = (cluster_means - grand) * np.sqrt(sizes)[:, None]
    typical = (n_rows - float(np.sum(sizes**2)) / n_rows) / (n_clusters - 1)
    between = _not_negative((spread.T @ spread / (n_clusters - 1) - within) / typical, floor=0.01 * within)
    means, log_likelihood, converged, steps = grand, -math.inf, False, 0
    kinds, kind = np.unique(sizes, return_inverse=True)
    while steps < _MOST_STEPS and not converged:
        steps += 1
        before = log_likelihood
        means, within, between, log_likelihood = _expect_and_maximise(
            cluster_means, scatter, sizes, kinds, kind, means, within, between
        )
        converged = abs(log_likelihood - before) < _TOLERANCE * (1 + abs(log_likelihood)) * 1e-3
    total = np.diag(within) + np.diag(between)
    notes = []
    if not converged:
        notes.append(f"the covariances between clusters did not settle within {_MOST_STEPS} steps")
    scale = np.sqrt(np.diag(within))
    if np.linalg.eigvalsh(between / np.outer(scale, scale))[0] < 1e-3:
        notes.append(
            "clusters hardly differ in some combination of the items: covariances between them are on the edge"
        )
    if n_clusters < MINIMUM_FOR_BETWEEN_MODEL:
        notes.append(f"{n_clusters} clusters: too few to rely on covariances between them (50 or more are wanted)")
    return TwoLevelCovariances(
        item_codes=codes,
        means=read_only(means),
        within=read_only(within),
        between=read_only(between),
        icc=read_only(np.diag(between) / total),
        log_likelihood=log_likelihood,
        n_used=n_rows,
        n_dropped=len(values) - n_rows,
        n_clusters=n_clusters,
        mean_cluster_size=n_rows / n_clusters,
        harmonic_cluster_size=float(1 / np.mean(1 / sizes)),
        n_iterations=steps,
        converged=converged,
        notes=tuple(notes),
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LevelSpecificOmega:
    """Omega of the sum of items within clusters, between clusters, and of observed cluster means."""

    omega_within: float
    omega_between: float  # of the clusters' true means (Geldhof et al.): ignores that patients are a sample
    omega_cluster_mean: float  # of the observed cluster means at this cluster size (Lai)
    icc_score: float  # share of the sum's variance between clusters
    loadings_within: FloatArray  # (n_items,)
    loadings_between: FloatArray  # (n_items,)
    covariances: TwoLevelCovariances
    converged: bool
    admissible: bool
    notes: tuple[str, ...]


def level_specific_omega(
    data: npt.ArrayLike, clusters: npt.ArrayLike, *, item_codes: Sequence[str] | None = None
) -> LevelSpecificOmega:
    """Estimate the reliability of a scale within and between clinicians, one factor at each level.

    Parameters
    ----------
    data : array-like, shape (n_respondents, n_items)
        Answers with reversed items already turned round; NaN for missing (incomplete rows are dropped).
    clusters : array-like, shape (n_respondents,)
        The clinician of each row.
    item_codes : sequence of str, optional
        Names for messages and results.

    Returns
    -------
    LevelSpecificOmega
        A coefficient is NaN with a note where its level has too little variance for a factor.

    Raises
    ------
    AnalysisInputError
        Fewer than three items, or what `two_level_covariances` refuses.

    Notes
    -----
    ω = (Σλ)²/((Σλ)² + Σθ) at each level, Geldhof, Preacher & Zyphur (2014), Psychol Methods 19:72. Estimated in two
    stages: maximum likelihood covariances of both levels, then one factor by maximum likelihood in each; for three
    items this is the two-level maximum likelihood solution itself. ω of observed cluster means divides the true
    variance between by Σ_B + Σ_W/ñ, ñ the harmonic mean of the cluster sizes, Lai (2021), Psychol Methods 26:90. R:
    a two-level `lavaan::cfa`; `semTools::compRelSEM(fit, shared = "fb")` gives the last.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(2)
    >>> clinician = np.repeat(np.arange(100), 8)
    >>> true = rng.standard_normal((100, 1))[clinician] + rng.standard_normal((800, 1))
    >>> result = level_specific_omega(true + rng.standard_normal((800, 3)), clinician)
    >>> round(result.omega_within, 1), result.omega_between > 0.9
    (0.8, True)
    """
    n_items = as_responses(data, who="level_specific_omega", minimum_items=3).shape[1]
    codes = as_item_codes(item_codes, n_items, who="level_specific_omega")
    levels = two_level_covariances(data, clusters, item_codes=codes)
    notes = list(levels.notes)
    inside, loadings_within, common_within = _one_factor(levels.within, "within", codes, notes)
    outside, loadings_between, common_between = _one_factor(levels.between, "between", codes, notes)
    within, between = float(levels.within.sum()), float(levels.between.sum())
    nan = float("nan")

    def omega(factor: ExtractedFactors | None, covariance: FloatArray, common: float) -> float:
        if factor is None:
            return nan
        return common / (common + float(np.sum(factor.uniquenesses * np.diag(covariance))))

    found = [factor for factor in (inside, outside) if factor is not None]
    return LevelSpecificOmega(
        omega_within=omega(inside, levels.within, common_within),
        omega_between=omega(outside, levels.between, common_between),
        omega_cluster_mean=common_between / (between + within / levels.harmonic_cluster_size) if outside else nan,
        icc_score=between / (between + within),
        loadings_within=read_only(loadings_within),
        loadings_between=read_only(loadings_between),
        covariances=levels,
        converged=levels.converged and all(factor.converged for factor in found),
        admissible=len(found) == 2 and not any(factor.at_bound for factor in found),
        notes=tuple(notes),
    )


def _expect_and_maximise(
    cluster_means: FloatArray,
    scatter: FloatArray,
    sizes: IntArray,
    kinds: IntArray,
    kind: IntArray,
    means: FloatArray,
    within: FloatArray,
    between: FloatArray,
) -> tuple[FloatArray, FloatArray, FloatArray, float]:
    """One EM step; the log-likelihood is that of the parameters given."""
    n_clusters, n_items = cluster_means.shape
    n_rows = int(sizes.sum())
    deviations = cluster_means - means
    _, log_det_within = np.linalg.slogdet(within)
    log_likelihood = -0.5 * (
        n_rows * n_items * math.log(2 * math.pi)
        + (n_rows - n_clusters) * float(log_det_within)
        + float(np.sum(np.linalg.inv(within) * scatter))
    )
    effects = np.empty_like(deviations)
    uncertain_sum, uncertain_rows = np.zeros_like(within), np.zeros_like(within)
    for number, size in enumerate(kinds):
        chosen = kind == number
        n_chosen = int(chosen.sum())
        of_mean = between + within / size  # covariance of a cluster's mean
        gain = np.linalg.solve(of_mean, between).T
        effects[chosen] = deviations[chosen] @ gain.T
        uncertain = between - gain @ between
        uncertain_sum += n_chosen * uncertain
        uncertain_rows += n_chosen * size * uncertain
        _, log_det = np.linalg.slogdet(of_mean)
        quadratic = float(np.sum(deviations[chosen] @ np.linalg.inv(of_mean) * deviations[chosen]))
        log_likelihood -= 0.5 * (n_chosen * (float(log_det) + n_items * math.log(size)) + quadratic)
    new_means = means + np.average(deviations - effects, axis=0, weights=sizes)
    # The effects are centred on the model's mean: what they share moves there (parameter expansion speeds EM up).
    new_between = (effects.T @ effects + uncertain_sum) / n_clusters
    rest = cluster_means - new_means - effects
    new_within = (scatter + (rest * sizes[:, None]).T @ rest + uncertain_rows) / n_rows
    return new_means, (new_within + new_within.T) / 2, (new_between + new_between.T) / 2, log_likelihood


def _one_factor(
    covariance: FloatArray, level: str, codes: Sequence[str], notes: list[str]
) -> tuple[ExtractedFactors | None, FloatArray, float]:
    """Fit one factor to one level's covariances; return it with loadings in the items' units and (Σλ)²."""
    sd = np.sqrt(np.diag(covariance))
    correlation = covariance / np.outer(sd, sd)
    np.fill_diagonal(correlation, 1.0)
    if np.linalg.eigvalsh(correlation)[0] < 1e-6:
        notes.append(f"no factor {level} clusters: the covariances there are singular")
        return None, np.full(len(codes), np.nan), float("nan")
    factor = extract_factors(correlation, n_factors=1, extraction="ml")
    if factor.at_bound:
        named = ", ".join(codes[item] for item in factor.at_bound)
        notes.append(f"Heywood case {level} clusters: no unique variance left in {named}")
    if not factor.converged:
        notes.append(f"the one-factor fit {level} clusters did not converge")
    loadings = factor.loadings[:, 0] * sd
    return factor, loadings, float(loadings.sum()) ** 2


def _not_negative(matrix: FloatArray, *, floor: FloatArray) -> FloatArray:
    """Return the matrix with its eigenvalues, relative to the floor, raised to one where they are lower."""
    root = np.linalg.cholesky(floor)
    inverse = np.linalg.inv(root)
    values, vectors = np.linalg.eigh(inverse @ matrix @ inverse.T)
    raised: FloatArray = root @ (vectors * np.maximum(values, 1.0)) @ vectors.T @ root.T
    return raised


def _refuse_no_spread(scatter: FloatArray, codes: Sequence[str], *, who: str) -> None:
    flat = [code for code, own in zip(codes, np.diag(scatter), strict=True) if not own > 1e-12]
    if flat:
        raise AnalysisInputError(
            f"{who} requires items that vary within clusters; constant within each: {', '.join(flat[:8])}. "
            "Remedy: leave these items out; they describe clinicians, not patients."
        )
    sd = np.sqrt(np.diag(scatter))
    values, vectors = np.linalg.eigh(scatter / np.outer(sd, sd))
    if values[0] < 1e-10 * len(codes):
        raise AnalysisInputError(
            f"{who} requires items that are not combinations of one another within clusters; "
            f"{codes[int(np.argmax(np.abs(vectors[:, 0])))]} is. Remedy: leave that item out."
        )
