"""Reliability at each level of patients within clinicians: of what tells patients apart, and what tells clinicians."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.special import chdtrc

from analysis.psychometrics.errors import AnalysisInputError
from analysis.psychometrics.inference.few_clinicians import MINIMUM_FOR_BETWEEN_MODEL
from analysis.psychometrics.response_matrix import (
    FloatArray,
    IntArray,
    as_item_codes,
    as_responses,
    read_only,
    refuse_constant_items,
)


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
    Maximum likelihood of y_ij = μ + b_j + e_ij with free covariances of b and e and clusters of any size (McDonald &
    Goldstein 1989), over Cholesky factors of both, started from the moments of Muthén (1994). The likelihood is normal;
    covariances between may end on the edge (a dimension in which clusters do not differ), which is noted.
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
    cluster_means, apart = _cluster_means(rows, place, sizes)
    scatter = apart.T @ apart
    _refuse_no_spread(scatter, rows, codes, who=who)
    sample = _ClusterSample.of(cluster_means, sizes, scatter, n_rows)
    # Muthén's moment estimator as the start: pooled within, and what the cluster means vary beyond it.
    within = scatter / (n_rows - n_clusters)
    spread = (cluster_means - rows.mean(axis=0)) * np.sqrt(sizes)[:, None]
    typical = (n_rows - float(np.sum(sizes**2)) / n_rows) / (n_clusters - 1)
    between = _not_negative((spread.T @ spread / (n_clusters - 1) - within) / typical, floor=0.05 * within)
    fitted = _maximise_saturated(sample, within, between)
    within, between = fitted.within, fitted.between
    total = np.diag(within) + np.diag(between)
    notes = []
    if not fitted.converged:
        notes.append("the covariances between clusters did not settle")
    scale = np.sqrt(np.diag(within))
    if np.linalg.eigvalsh(between / np.outer(scale, scale))[0] < 1e-3:
        notes.append(
            "clusters hardly differ in some combination of the items: covariances between them are on the edge"
        )
    if n_clusters < MINIMUM_FOR_BETWEEN_MODEL:
        notes.append(f"{n_clusters} clusters: too few to rely on covariances between them (50 or more are wanted)")
    return TwoLevelCovariances(
        item_codes=codes,
        means=read_only(fitted.means),
        within=read_only(within),
        between=read_only(between),
        icc=read_only(np.diag(between) / total),
        log_likelihood=fitted.log_likelihood,
        n_used=n_rows,
        n_dropped=len(values) - n_rows,
        n_clusters=n_clusters,
        mean_cluster_size=n_rows / n_clusters,
        harmonic_cluster_size=float(1 / np.mean(1 / sizes)),
        converged=fitted.converged,
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
    residuals_within: FloatArray  # (n_items,)
    residuals_between: FloatArray  # (n_items,)
    chisq: float  # of the two-level model against free covariances at both levels
    df: int
    pvalue: float
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
        An item without unique variance between clusters is common, and noted.

    Raises
    ------
    AnalysisInputError
        Fewer than three items, or what `two_level_covariances` refuses.

    Notes
    -----
    ω = (Σλ)²/((Σλ)² + Σθ) at each level, Geldhof, Preacher & Zyphur (2014), Psychol Methods 19:72, from the maximum
    likelihood estimates of one factor at each level. ω of observed cluster means divides the true
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
    sample = _sample_of(data, clusters)
    model = _maximise_one_factor(sample, levels.within, levels.between)
    notes = list(levels.notes)
    if not model.converged:
        notes.append("the two-level one-factor model did not converge")
    for level, residuals in (("within", model.residuals_within), ("between", model.residuals_between)):
        none_left = [code for code, variance in zip(codes, residuals, strict=True) if variance <= 0]
        if none_left:
            notes.append(f"no unique variance left {level} clusters in {', '.join(none_left)}")
    against = [code for code, one in zip(codes, model.loadings_within, strict=True) if one < 0]
    if against:
        notes.append(f"negative loading within clusters, check the keying of {', '.join(against)}")
    within, between = float(levels.within.sum()), float(levels.between.sum())
    common_between = float(model.loadings_between.sum()) ** 2
    df = n_items * (n_items + 1) - 4 * n_items
    chisq = max(2 * (levels.log_likelihood - model.log_likelihood), 0.0)
    return LevelSpecificOmega(
        omega_within=_omega(model.loadings_within, model.residuals_within),
        omega_between=_omega(model.loadings_between, model.residuals_between),
        omega_cluster_mean=common_between / (between + within / levels.harmonic_cluster_size),
        icc_score=between / (between + within),
        loadings_within=read_only(model.loadings_within),
        loadings_between=read_only(model.loadings_between),
        residuals_within=read_only(model.residuals_within),
        residuals_between=read_only(model.residuals_between),
        chisq=chisq,
        df=df,
        pvalue=float(chdtrc(df, max(chisq, 0.0))) if df else float("nan"),
        covariances=levels,
        converged=levels.converged and model.converged,
        admissible=levels.converged and model.converged and bool((model.residuals_within > 0).all()),
        notes=tuple(notes),
    )


def _omega(loadings: FloatArray, residuals: FloatArray) -> float:
    common = float(loadings.sum()) ** 2
    whole = common + float(residuals.sum())
    return common / whole if whole > 0 else float("nan")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _ClusterSample:
    """What the likelihood of a two-level model needs: sums over clusters of the same size."""

    n_rows: int
    n_clusters: int
    scatter: FloatArray  # (n_items, n_items): of rows about their cluster's mean
    sizes: FloatArray  # (n_sizes,)
    counts: FloatArray  # (n_sizes,): clusters of that size
    sums: FloatArray  # (n_sizes, n_items): of cluster means
    squares: FloatArray  # (n_sizes, n_items, n_items): of their products

    @classmethod
    def of(cls, means: FloatArray, sizes: IntArray, scatter: FloatArray, n_rows: int) -> "_ClusterSample":
        kinds, kind = np.unique(sizes, return_inverse=True)
        groups = [means[kind == number] for number in range(len(kinds))]
        return cls(
            n_rows=n_rows,
            n_clusters=len(sizes),
            scatter=scatter,
            sizes=kinds.astype(np.float64),
            counts=np.array([float(len(group)) for group in groups]),
            sums=np.array([group.sum(axis=0) for group in groups]),
            squares=np.array([group.T @ group for group in groups]),
        )

    def deviance(self, within: FloatArray, between: FloatArray) -> tuple[float, FloatArray, FloatArray, FloatArray]:
        """Return half the deviance (without its constant), its slopes by both matrices, and the best means."""
        n_items = len(within)
        inverse = np.linalg.inv(within)
        _, log_det = np.linalg.slogdet(within)
        apart = self.n_rows - self.n_clusters
        of_means = between + within / self.sizes[:, None, None]  # covariance of the mean of a cluster of each size
        weights = np.linalg.inv(of_means)
        _, log_dets = np.linalg.slogdet(of_means)
        means = np.linalg.solve(
            np.einsum("s,sij->ij", self.counts, weights), np.einsum("sij,sj->i", weights, self.sums)
        )
        crossed = self.sums[:, :, None] * means
        spread = self.squares - crossed - crossed.transpose(0, 2, 1)
        spread = spread + self.counts[:, None, None] * np.outer(means, means)
        value = 0.5 * (apart * float(log_det) + float(np.sum(inverse * self.scatter)))
        value += 0.5 * float(self.counts @ (log_dets + n_items * np.log(self.sizes)) + np.sum(weights * spread))
        slopes = 0.5 * (self.counts[:, None, None] * weights - weights @ spread @ weights)
        by_within = 0.5 * (apart * inverse - inverse @ self.scatter @ inverse)
        by_within = by_within + np.einsum("sij,s->ij", slopes, 1 / self.sizes)
        return value, by_within, slopes.sum(axis=0), means

    def log_likelihood(self, half_deviance: float) -> float:
        return -half_deviance - 0.5 * self.n_rows * len(self.scatter) * math.log(2 * math.pi)


def _sample_of(data: npt.ArrayLike, clusters: npt.ArrayLike) -> _ClusterSample:
    """Return the sums of data that have been checked already."""
    values, labels = np.asarray(data, dtype=np.float64), np.asarray(clusters)
    keep = ~np.isnan(values).any(axis=1)
    rows = values[keep]
    _, place, sizes = np.unique(labels[keep], return_inverse=True, return_counts=True)
    means, apart = _cluster_means(rows, place, sizes)
    return _ClusterSample.of(means, sizes, apart.T @ apart, len(rows))


def _cluster_means(rows: FloatArray, place: IntArray, sizes: IntArray) -> tuple[FloatArray, FloatArray]:
    """Return the clusters' means, and the rows' distances from them."""
    sums = np.zeros((len(sizes), rows.shape[1]))
    np.add.at(sums, place, rows)
    means = sums / sizes[:, None]
    return means, rows - means[place]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Saturated:
    means: FloatArray
    within: FloatArray
    between: FloatArray
    log_likelihood: float
    converged: bool


def _maximise_saturated(sample: _ClusterSample, within: FloatArray, between: FloatArray) -> _Saturated:
    """Maximise over Cholesky factors of both matrices; a factor may lose rank, so the edge is no obstacle."""
    n_items = len(within)
    lower = np.tril_indices(n_items)
    half = len(lower[0])
    # In units of the items' own spread within, so that steps and stopping rules mean the same for every item.
    unit = np.sqrt(np.diag(within))
    units = np.outer(unit, unit)

    def factors(parameters: FloatArray) -> tuple[FloatArray, FloatArray]:
        pair = np.zeros((2, n_items, n_items))
        pair[0][lower], pair[1][lower] = parameters[:half], parameters[half:]
        return pair[0], pair[1]

    def loss(parameters: FloatArray) -> tuple[float, FloatArray]:
        one, other = factors(parameters)
        value, by_within, by_between, _ = sample.deviance(one @ one.T * units, other @ other.T * units)
        slopes = (2 * (by_within * units) @ one)[lower], (2 * (by_between * units) @ other)[lower]
        return value / sample.n_rows, np.concatenate(slopes) / sample.n_rows

    start = np.concatenate([np.linalg.cholesky(matrix / units)[lower] for matrix in (within, between)])
    parameters, settled = _search(loss, start, None)
    one, other = factors(parameters)
    within, between = one @ one.T * units, other @ other.T * units
    value, _, _, means = sample.deviance(within, between)
    return _Saturated(
        means=means,
        within=within,
        between=between,
        log_likelihood=sample.log_likelihood(value),
        converged=settled,
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _TwoLevelFactor:
    loadings_within: FloatArray
    residuals_within: FloatArray
    loadings_between: FloatArray
    residuals_between: FloatArray
    log_likelihood: float
    converged: bool


def _maximise_one_factor(sample: _ClusterSample, within: FloatArray, between: FloatArray) -> _TwoLevelFactor:
    """Maximise the likelihood of one factor at each level; residual variances may be zero, not negative."""
    n_items = len(within)
    unit = np.sqrt(np.diag(within))
    units = np.outer(unit, unit)

    def split(parameters: FloatArray) -> list[FloatArray]:
        return np.split(parameters, 4)

    def loss(parameters: FloatArray) -> tuple[float, FloatArray]:
        inside, rest_inside, outside, rest_outside = split(parameters)
        value, by_within, by_between, _ = sample.deviance(
            (np.outer(inside, inside) + np.diag(rest_inside)) * units,
            (np.outer(outside, outside) + np.diag(rest_outside)) * units,
        )
        by_within, by_between = by_within * units, by_between * units
        slopes = (2 * by_within @ inside, np.diag(by_within), 2 * by_between @ outside, np.diag(by_between))
        return value / sample.n_rows, np.concatenate(slopes) / sample.n_rows

    start = []
    for matrix in (within / units, between / units):
        values, vectors = np.linalg.eigh(matrix)
        direction = vectors[:, -1] * (1 if vectors[:, -1].sum() >= 0 else -1)
        loadings = direction * np.sqrt(0.7 * values[-1])
        start += [loadings, np.maximum(np.diag(matrix) - loadings**2, 0.1 * np.diag(matrix))]
    free, not_negative, positive = (None, None), (0.0, None), (1e-6, None)
    bounds = [kind for kind in (free, positive, free, not_negative) for _ in range(n_items)]
    parameters, settled = _search(loss, np.concatenate(start), bounds)
    inside, rest_inside, outside, rest_outside = split(parameters)
    value, _ = loss(parameters)
    return _TwoLevelFactor(
        loadings_within=inside * unit * (-1 if inside.sum() < 0 else 1),
        residuals_within=np.where(rest_inside <= 1e-6, 0.0, rest_inside) * unit**2,
        loadings_between=outside * unit * (-1 if outside.sum() < 0 else 1),
        residuals_between=rest_outside * unit**2,
        log_likelihood=sample.log_likelihood(value * sample.n_rows),
        converged=settled,
    )


def _search(
    loss: Callable[[FloatArray], tuple[float, FloatArray]],
    start: FloatArray,
    bounds: Sequence[tuple[float | None, float | None]] | None,
) -> tuple[FloatArray, bool]:
    """Minimise; started again where it stopped, because rounding can end a line search early."""
    parameters, settled = start, False
    for _ in range(3):
        outcome = minimize(
            loss,
            parameters,
            jac=True,
            method="L-BFGS-B",
            bounds=bounds,
            options={"maxiter": 5000, "maxfun": 10_000, "ftol": 1e-16, "gtol": 1e-9, "maxcor": 30},
        )
        parameters = np.asarray(outcome.x, dtype=np.float64)
        _, slope = loss(parameters)
        if bounds is not None:
            lowest = np.array([-np.inf if low is None else low for low, _ in bounds])
            slope = np.where((parameters <= lowest) & (slope > 0), 0.0, slope)
        settled = bool(np.abs(slope).max() < 1e-6)
        if settled:
            break
    return parameters, settled


def _not_negative(matrix: FloatArray, *, floor: FloatArray) -> FloatArray:
    """Return the matrix with its eigenvalues, relative to the floor, raised to one where they are lower."""
    root = np.linalg.cholesky(floor)
    inverse = np.linalg.inv(root)
    values, vectors = np.linalg.eigh(inverse @ matrix @ inverse.T)
    raised: FloatArray = root @ (vectors * np.maximum(values, 1.0)) @ vectors.T @ root.T
    return raised


def _refuse_no_spread(scatter: FloatArray, rows: FloatArray, codes: Sequence[str], *, who: str) -> None:
    spread = len(rows) * rows.var(axis=0)
    flat = [
        code for code, own, all_of_it in zip(codes, np.diag(scatter), spread, strict=True) if own <= 1e-12 * all_of_it
    ]
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
