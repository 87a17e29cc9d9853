"""How many factors: eigenvalues against those of random data, minimum average partial correlation, scree."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeVar

import numpy as np
import numpy.typing as npt

from analysis.psychometrics.correlations.ordinal_tables import (
    OrdinalCodes,
    encode_ordinal,
    tabulate_pairs,
    thresholds_of,
)
from analysis.psychometrics.correlations.polychoric import fit_pairs, polychoric_correlations, symmetric, usable_rows
from analysis.psychometrics.errors import AnalysisInputError
from analysis.psychometrics.inference.resampling import DrawPart, plan_parts
from analysis.psychometrics.response_matrix import (
    FloatArray,
    Missing,
    as_item_codes,
    correlate,
    eigenvalues_of,
    pairwise_moments,
    read_only,
    refuse_constant_items,
)

Kind = Literal["pearson", "polychoric"]
RandomData = Literal["normal", "permuted"]
Answers = TypeVar("Answers", FloatArray, npt.NDArray[np.uint8])
Progress = Callable[[float, str], None]
#: Applies a function to each part, in order: the built-in `map`, or that of a pool of workers.
ShareParts = Callable[[Callable[[DrawPart], "DrawnEigenvalues"], Iterable[DrawPart]], Iterable["DrawnEigenvalues"]]

#: Draws per part. Fixed, so that the random numbers do not depend on how many workers share the parts.
_DRAWS_PER_PART: Final[dict[RandomData, int]] = {"normal": 100, "permuted": 25}
#: The largest communality of a one-factor solution (psych's uniquenesses stay above .005).
_MOST_LOADING: Final = 0.995**0.5
_MOST_SWEEPS: Final = 300
#: A sweep that moves no loading further ends the search; random data sets need no more than their quantiles show.
_STILL: Final = 1e-7
_STILL_RANDOM: Final = 1e-4


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DrawnEigenvalues:
    """Eigenvalues of the random data sets of one part, largest first: (n_draws, n_items)."""

    components: FloatArray
    factors: FloatArray  # no rows where factor eigenvalues were not asked for


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ParallelAnalysis:
    """Observed eigenvalues (largest first) beside the mean and the 95th percentile of those of unrelated items.

    `eigenvalues` are those of the correlation matrix (components). The `factor_` figures, if asked for, are those of
    the matrix with the communalities of a one-factor solution on its diagonal, as psych computes them.
    """

    item_codes: tuple[str, ...]
    eigenvalues: FloatArray  # (n_items,)
    reference_mean: FloatArray  # (n_items,)
    reference_p95: FloatArray  # (n_items,)
    n_factors: int  # leading eigenvalues above the 95th percentile
    n_factors_mean: int  # leading eigenvalues above the mean
    factor_eigenvalues: FloatArray | None  # (n_items,)
    factor_reference_mean: FloatArray | None  # (n_items,)
    factor_reference_p95: FloatArray | None  # (n_items,)
    n_common_factors: int | None  # leading factor eigenvalues above their 95th percentile
    n_draws: int
    kind: Kind
    random_data: RandomData
    n_used: int
    n_dropped: int
    notes: tuple[str, ...]


def parallel_analysis(
    data: npt.ArrayLike,
    *,
    n_draws: int,
    rng: np.random.Generator,
    kind: Kind = "pearson",
    random_data: RandomData | None = None,
    factors: bool = False,
    missing: Missing = "listwise",
    item_codes: Sequence[str] | None = None,
    progress: Progress | None = None,
    share_parts: ShareParts = map,
) -> ParallelAnalysis:
    """Compare the eigenvalues of the correlation matrix with those of unrelated items.

    Parameters
    ----------
    data : array-like, shape (n_respondents, n_items)
        Answers; NaN for missing.
    n_draws : int
        Random data sets; 100 or more.
    rng : numpy.random.Generator
        Source of the run's seed; the same seed gives the same answer.
    kind : {'pearson', 'polychoric'}
        The correlation used, on the answers and on the random data alike.
    random_data : {'normal', 'permuted'}, optional
        Uncorrelated normal items (the default for Pearson), or each item's own answers in random order: random ordinal
        data with exactly the margins observed (the default, and the only choice, for polychoric).
    factors : bool
        Also compare factor eigenvalues (those of psych's `fa = "fa"`).
    missing : {'listwise', 'pairwise'}
        Complete respondents, or all who answered both items of a pair. Blanks stay where they are in permuted data.
    item_codes : sequence of str, optional
        Names for messages.
    progress : callable, optional
        Called with the share done and a text.
    share_parts : callable
        `map`, or that of a pool of workers. The random numbers belong to the parts, so the answer is the same.

    Raises
    ------
    AnalysisInputError
        Fewer than 20 draws (no 95th percentile), an unknown option, or a matrix that cannot be correlated.

    Notes
    -----
    Horn (1965), with the 95th percentile after Glorfeld (1995). Normal items with Pearson correlations: the random
    matrices are drawn directly from their distribution, Wishart with n − 1 degrees of freedom by Bartlett's
    decomposition, so that the cost does not depend on the number of respondents. Comparing polychoric eigenvalues with
    those of normal data, as `fa.parallel` does by default, retains too many factors, because polychoric correlations
    vary more. R: `psych::fa.parallel(x, fa = "pc")`; `fa = "both"` for factors; its `pc.simr` for permuted data.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(1)
    >>> factor = rng.standard_normal((300, 1))
    >>> parallel_analysis(factor + rng.standard_normal((300, 6)), n_draws=100, rng=rng).n_factors
    1
    """
    who = "parallel_analysis"
    if n_draws < 20:
        raise AnalysisInputError(
            f"{who} requires at least 20 draws for a 95th percentile; got {n_draws}. Remedy: use 100 or more."
        )
    chosen_data = _check_options(kind, random_data, who=who)
    observed = correlation_matrix(data, kind=kind, missing=missing, item_codes=item_codes, who=who)
    eigenvalues = eigenvalues_of(observed.matrix)
    job = _as_job(data, observed, kind=kind, random_data=chosen_data, missing=missing, factors=factors, who=who)
    seed = int(rng.integers(2**62))
    parts = plan_parts(seed=seed, n_draws=n_draws, draws_per_part=_DRAWS_PER_PART[chosen_data])
    drawn: list[DrawnEigenvalues] = []
    for part, result in zip(parts, share_parts(job, parts), strict=True):
        drawn.append(result)
        if progress is not None:
            done = sum(earlier.n_draws for earlier in parts[: part.number + 1])
            progress(done / n_draws, f"random data set {done} of {n_draws}")
    random_eigenvalues = np.concatenate([part.components for part in drawn])
    mean, p95 = random_eigenvalues.mean(axis=0), np.quantile(random_eigenvalues, 0.95, axis=0)
    own, own_mean, own_p95 = None, None, None
    if factors:
        of_factors = np.concatenate([part.factors for part in drawn])
        own = read_only(factor_eigenvalues(observed.matrix[None])[0])
        own_mean = read_only(of_factors.mean(axis=0))
        own_p95 = read_only(np.quantile(of_factors, 0.95, axis=0))
    return ParallelAnalysis(
        item_codes=observed.item_codes,
        eigenvalues=read_only(eigenvalues),
        reference_mean=read_only(mean),
        reference_p95=read_only(p95),
        n_factors=_leading(eigenvalues > p95),
        n_factors_mean=_leading(eigenvalues > mean),
        factor_eigenvalues=own,
        factor_reference_mean=own_mean,
        factor_reference_p95=own_p95,
        n_common_factors=None if own is None or own_p95 is None else _leading(own > own_p95),
        n_draws=n_draws,
        kind=kind,
        random_data=chosen_data,
        n_used=observed.n_used,
        n_dropped=observed.n_dropped,
        notes=observed.notes,
    )


def _check_options(kind: str, random_data: str | None, *, who: str) -> RandomData:
    if kind not in ("pearson", "polychoric"):
        raise AnalysisInputError(
            f"{who} requires kind='pearson' or 'polychoric'; got {kind!r}. Remedy: choose one of the two."
        )
    if random_data not in (None, "normal", "permuted"):
        raise AnalysisInputError(
            f"{who} requires random_data='normal' or 'permuted'; got {random_data!r}. Remedy: choose one of the two."
        )
    if kind == "polychoric" and random_data == "normal":
        raise AnalysisInputError(
            f"{who} requires permuted data for polychoric correlations; got random_data='normal'. Remedy: leave the "
            "option out: normal data have no categories."
        )
    return "permuted" if kind == "polychoric" or random_data == "permuted" else "normal"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CorrelationMatrix:
    """A positive definite correlation matrix of either kind."""

    item_codes: tuple[str, ...]
    matrix: FloatArray
    kind: Kind
    n_used: int
    n_dropped: int
    notes: tuple[str, ...]


def correlation_matrix(
    data: npt.ArrayLike,
    *,
    kind: Kind,
    missing: Missing = "listwise",
    item_codes: Sequence[str] | None = None,
    who: str = "correlation_matrix",
) -> CorrelationMatrix:
    """Return a positive definite correlation matrix of the items, Pearson or polychoric.

    Raises
    ------
    AnalysisInputError
        Constant items, no more respondents than items, a pair without respondents, duplicated items.
    """
    if kind == "pearson":
        pearson = correlate(data, item_codes=item_codes, missing=missing, who=who)
        return CorrelationMatrix(
            item_codes=as_item_codes(item_codes, len(pearson.matrix), who=who),
            matrix=pearson.matrix,
            kind=kind,
            n_used=pearson.n_used,
            n_dropped=pearson.n_dropped,
            notes=pearson.notes,
        )
    values, _ = usable_rows(data, missing, who=who, item_codes=item_codes)
    codes = as_item_codes(item_codes, values.shape[1], who=who)
    refuse_constant_items(values, codes, who=who)
    result = polychoric_correlations(data, item_codes=item_codes, missing=missing)
    if np.isnan(result.matrix).any():
        first, second = np.argwhere(np.isnan(result.matrix))[0]
        raise AnalysisInputError(
            f"{who} requires respondents who answered both items of every pair; nobody answered {codes[first]} and "
            f"{codes[second]}. Remedy: leave one of them out."
        )
    if result.n_used <= len(codes):
        raise AnalysisInputError(
            f"{who} requires more respondents than items; got {result.n_used} usable for {len(codes)} items. "
            "Remedy: collect more forms, or analyse fewer items at a time (one domain)."
        )
    return CorrelationMatrix(
        item_codes=codes,
        matrix=result.matrix,
        kind=kind,
        n_used=result.n_used,
        n_dropped=result.n_dropped,
        notes=result.notes,
    )


def _as_job(
    data: npt.ArrayLike,
    observed: CorrelationMatrix,
    *,
    kind: Kind,
    random_data: RandomData,
    missing: Missing,
    factors: bool,
    who: str,
) -> "Callable[[DrawPart], DrawnEigenvalues]":
    """Return what draws one part: an object of plain arrays, so that it can travel to a worker."""
    if random_data == "normal":
        return _NormalItems(n_respondents=observed.n_used, n_items=len(observed.item_codes), factors=factors)
    values, _ = usable_rows(data, missing, who=who)
    if kind == "pearson":
        return _PermutedPearson(values=values, factors=factors)
    encoded = encode_ordinal(values, observed.item_codes, who=who)
    return _PermutedPolychoric(encoded=encoded, thresholds=thresholds_of(encoded), factors=factors)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _NormalItems:
    """Correlation matrices of independent normal items, drawn directly from their distribution."""

    n_respondents: int
    n_items: int
    factors: bool

    def __call__(self, part: DrawPart) -> DrawnEigenvalues:
        rng = part.rng()
        degrees = self.n_respondents - 1 - np.arange(self.n_items)
        factor = np.tril(rng.standard_normal((part.n_draws, self.n_items, self.n_items)), k=-1)
        diagonal = np.arange(self.n_items)
        factor[:, diagonal, diagonal] = np.sqrt(rng.chisquare(degrees, size=(part.n_draws, self.n_items)))
        # Scaling the factor's rows to length one scales the Wishart matrix to a correlation matrix.
        factor /= np.linalg.norm(factor, axis=2, keepdims=True)
        return _drawn(factor @ factor.transpose(0, 2, 1), self.factors)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _PermutedPearson:
    """Pearson correlations of the answers with each item's put in a random order of its own."""

    values: FloatArray
    factors: bool

    def __call__(self, part: DrawPart) -> DrawnEigenvalues:
        rng = part.rng()
        matrices: list[FloatArray] = []
        for _ in range(part.n_draws):
            shuffled = _shuffled(self.values, ~np.isnan(self.values), rng)
            if np.isnan(shuffled).any():
                matrices.append(pairwise_moments(shuffled)[1])
            else:
                matrices.append(np.asarray(np.corrcoef(shuffled, rowvar=False), dtype=np.float64))
        return _drawn(np.array(matrices), self.factors)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _PermutedPolychoric:
    """Polychoric correlations of the answers with each item's put in a random order; its thresholds stay."""

    encoded: OrdinalCodes
    thresholds: FloatArray
    factors: bool

    def __call__(self, part: DrawPart) -> DrawnEigenvalues:
        rng = part.rng()
        numbers = self.encoded.numbers
        matrices: list[FloatArray] = []
        for _ in range(part.n_draws):
            shuffled = OrdinalCodes(
                numbers=_shuffled(numbers, numbers > 0, rng),
                categories=self.encoded.categories,
                counts=self.encoded.counts,
            )
            tables, first, second = tabulate_pairs(shuffled)
            fit = fit_pairs(tables, self.thresholds, first, second, self.encoded.n_categories)
            matrices.append(symmetric(fit.rho, numbers.shape[1]))
        return _drawn(np.array(matrices), self.factors)


def _shuffled(values: Answers, present: npt.NDArray[np.bool_], rng: np.random.Generator) -> Answers:
    """Return the columns each in a random order of its own, blanks staying where they are."""
    if present.all():
        return rng.permuted(values, axis=0)
    shuffled = values.copy()
    for column in range(values.shape[1]):
        answered = present[:, column]
        shuffled[answered, column] = rng.permutation(values[answered, column])
    return shuffled


def _drawn(matrices: FloatArray, factors: bool) -> DrawnEigenvalues:
    n_items = matrices.shape[1]
    # The few rows that share two items may hold one of them constant: then they show no relation.
    matrices = np.nan_to_num(matrices, nan=0.0)
    return DrawnEigenvalues(
        components=eigenvalues_of(matrices),
        factors=factor_eigenvalues(matrices, still=_STILL_RANDOM) if factors else np.zeros((0, n_items)),
    )


def factor_eigenvalues(matrices: FloatArray, *, still: float = _STILL) -> FloatArray:
    """Return the eigenvalues of correlation matrices with the communalities of one factor on their diagonals.

    Parameters
    ----------
    matrices : array, shape (n_matrices, n_items, n_items)
    still : float
        The change of a loading below which the search ends.

    Returns
    -------
    array, shape (n_matrices, n_items)
        Largest first.

    Notes
    -----
    The factor minimises the squared off-diagonal residuals (minres; Harman & Jones 1966): each loading in turn takes
    its best value given the others, then all take a Newton step together, no communality above .995; for all matrices
    at once. R: `psych::fa(r, 1)$values`.

    Examples
    --------
    >>> import numpy as np
    >>> loadings = np.array([0.9, 0.8, 0.7, 0.6])
    >>> r = np.outer(loadings, loadings) + np.diag(1 - loadings**2)
    >>> np.abs(factor_eigenvalues(r[None]).round(4)).tolist()
    [[2.3, 0.0, 0.0, 0.0]]
    """
    off_diagonal = matrices.copy()
    diagonal = np.arange(matrices.shape[1])
    off_diagonal[:, diagonal, diagonal] = 0.0
    loadings = _leading_direction(matrices)
    active = np.arange(len(matrices))
    for _ in range(_MOST_SWEEPS):
        rows, before = off_diagonal[active], loadings[active]
        swept = _sweep(rows, before)
        loadings[active] = _newton_step(rows, swept)
        # The sweep alone tells whether the minimum is reached: it moves unless every loading is best as it is.
        active = active[np.abs(swept - before).max(axis=1) > still]
        if not len(active):
            break
    off_diagonal[:, diagonal, diagonal] = loadings**2
    return eigenvalues_of(off_diagonal)


def _sweep(off_diagonal: FloatArray, loadings: FloatArray) -> FloatArray:
    """Give each loading in turn its best value given the others."""
    current = loadings.copy()
    squares = (current**2).sum(axis=1)
    for item in range(current.shape[1]):
        others = np.maximum(squares - current[:, item] ** 2, 1e-12)
        best = np.einsum("mi,mi->m", off_diagonal[:, item, :], current) / others
        best = np.minimum(np.maximum(best, -_MOST_LOADING), _MOST_LOADING)
        squares = others + best**2
        current[:, item] = best
    return current


def _newton_step(off_diagonal: FloatArray, loadings: FloatArray) -> FloatArray:
    """Move all loadings at once towards where the slopes vanish, wherever that lowers the squared residuals."""
    diagonal = np.arange(loadings.shape[1])
    others = (loadings**2).sum(axis=1, keepdims=True) - loadings**2
    slope = loadings * others - _times(off_diagonal, loadings)
    curvature = 2 * loadings[:, :, None] * loadings[:, None, :] - off_diagonal
    # A loading at its bound that would go beyond stays there, and the others move as if it were fixed.
    free = ~((np.abs(loadings) >= _MOST_LOADING) & (slope * loadings < 0))
    curvature *= free[:, :, None] & free[:, None, :]
    curvature[:, diagonal, diagonal] = np.where(free, np.maximum(others, 1e-6), 1.0)
    try:
        step = np.linalg.solve(curvature, (slope * free)[:, :, None])[:, :, 0]
    except np.linalg.LinAlgError:
        return loadings
    moved = np.clip(loadings - step, -_MOST_LOADING, _MOST_LOADING)
    better = _squared_residuals(off_diagonal, moved) <= _squared_residuals(off_diagonal, loadings)
    return np.where(better[:, None], moved, loadings)


def _squared_residuals(off_diagonal: FloatArray, loadings: FloatArray) -> FloatArray:
    """Return the sum of squares that depends on the loadings."""
    fitted = (loadings * _times(off_diagonal, loadings)).sum(axis=1)
    squares = (loadings**2).sum(axis=1) ** 2 - (loadings**4).sum(axis=1)
    return np.asarray(squares - 2 * fitted, dtype=np.float64)


def _times(matrices: FloatArray, vectors: FloatArray) -> FloatArray:
    return np.asarray((matrices @ vectors[:, :, None])[:, :, 0], dtype=np.float64)


def _leading_direction(matrices: FloatArray) -> FloatArray:
    """Return the loadings of the first principal component, to a few digits: (n_matrices, n_items)."""
    _, vectors = np.linalg.eigh(matrices)
    first = vectors[:, :, -1]
    value = np.einsum("mi,mij,mj->m", first, matrices, first)
    return np.asarray(np.clip(first * np.sqrt(value)[:, None], -_MOST_LOADING, _MOST_LOADING), dtype=np.float64)


def _leading(above: npt.NDArray[np.bool_]) -> int:
    """Count the true values before the first false one."""
    return int(np.argmin(above)) if not above.all() else len(above)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MinimumAveragePartial:
    """Velicer's averages after 0, 1, 2 … components are partialled out, and the numbers of components they choose."""

    average_squared: FloatArray  # (n_items,): entry m after m components
    average_fourth: FloatArray  # (n_items,): with fourth powers (the revised test)
    n_factors: int  # where the average of squares is least
    n_factors_revised: int  # where that of fourth powers is
    notes: tuple[str, ...]


def minimum_average_partial(correlation: npt.ArrayLike) -> MinimumAveragePartial:
    """Find how many components leave the least average squared partial correlation.

    Parameters
    ----------
    correlation : array-like, shape (n_items, n_items)
        A positive definite correlation matrix of at least three items.

    Returns
    -------
    MinimumAveragePartial
        Entry 0 is the average squared correlation itself: if that is least, no component is worth retaining. After all
        components but one every partial correlation is ±1.

    Raises
    ------
    AnalysisInputError
        Not a correlation matrix, fewer than three items, or singular.

    Notes
    -----
    Velicer (1976); fourth powers: Velicer, Eaton & Fava (2000). R: `psych::vss(r, n = ncol(r))$map`, which begins with
    one component.

    Examples
    --------
    >>> import numpy as np
    >>> r = np.array([[1.0, 0.6, 0.5, 0.55], [0.6, 1.0, 0.5, 0.6], [0.5, 0.5, 1.0, 0.5], [0.55, 0.6, 0.5, 1.0]])
    >>> result = minimum_average_partial(r)
    >>> result.n_factors, result.average_squared.round(4).tolist()
    (1, [0.2954, 0.1126, 0.3717, 1.0])
    """
    who = "minimum_average_partial"
    matrix = _as_correlation(correlation, who=who)
    n_items = len(matrix)
    values, vectors = np.linalg.eigh(matrix)
    if values[0] <= 1e-10:
        raise AnalysisInputError(
            f"{who} requires a positive definite matrix; its smallest eigenvalue is {values[0]:.3g}. Remedy: leave out "
            "items that are combinations of others, or smooth the matrix."
        )
    components = (vectors * np.sqrt(values))[:, ::-1]
    squared, fourth = np.empty(n_items), np.empty(n_items)
    residual = matrix.copy()
    for n_components in range(n_items):
        scale = np.sqrt(np.maximum(np.diag(residual), 0.0))
        partial = residual / np.where(scale > 0, scale, np.inf) / np.where(scale > 0, scale, np.inf)[:, None]
        np.fill_diagonal(partial, 0.0)
        squared[n_components] = (partial**2).sum() / (n_items * (n_items - 1))
        fourth[n_components] = (partial**4).sum() / (n_items * (n_items - 1))
        residual -= np.outer(components[:, n_components], components[:, n_components])
    notes = ("no component lowers the average squared partial correlation",) if np.argmin(squared) == 0 else ()
    return MinimumAveragePartial(
        average_squared=read_only(squared),
        average_fourth=read_only(fourth),
        n_factors=int(np.argmin(squared)),
        n_factors_revised=int(np.argmin(fourth)),
        notes=notes,
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scree:
    """Eigenvalues, largest first, with their shares of the total variance."""

    eigenvalues: FloatArray  # (n_items,)
    share: FloatArray  # (n_items,)
    cumulative_share: FloatArray  # (n_items,)
    n_above_one: int  # Kaiser's rule, which retains too many
    n_before_elbow: int  # components before the sharpest bend (acceleration factor)


def scree(correlation: npt.ArrayLike) -> Scree:
    """Return the eigenvalues of a correlation matrix with their shares, and where the curve bends most.

    Parameters
    ----------
    correlation : array-like, shape (n_items, n_items)

    Raises
    ------
    AnalysisInputError
        Not a correlation matrix, or fewer than three items.

    Notes
    -----
    Cattell (1966). The elbow is the largest second difference of the eigenvalues (Raîche et al. 2013's acceleration
    factor, `nFactors::nScree`); components before it are counted.

    Examples
    --------
    >>> import numpy as np
    >>> r = np.full((4, 4), 0.5) + 0.5 * np.eye(4)
    >>> result = scree(r)
    >>> result.eigenvalues.round(3).tolist(), result.n_above_one, result.n_before_elbow
    ([2.5, 0.5, 0.5, 0.5], 1, 1)
    """
    matrix = _as_correlation(correlation, who="scree")
    eigenvalues = eigenvalues_of(matrix)
    share = eigenvalues / eigenvalues.sum()
    bends = eigenvalues[2:] - 2 * eigenvalues[1:-1] + eigenvalues[:-2]
    return Scree(
        eigenvalues=read_only(eigenvalues),
        share=read_only(share),
        cumulative_share=read_only(np.cumsum(share)),
        n_above_one=int((eigenvalues > 1).sum()),
        n_before_elbow=int(np.argmax(bends)) + 1,
    )


def _as_correlation(correlation: npt.ArrayLike, *, who: str) -> FloatArray:
    try:
        matrix = np.array(correlation, dtype=np.float64)
    except (TypeError, ValueError):
        matrix = np.zeros((0, 0))
    if (
        matrix.ndim != 2
        or matrix.shape[0] != matrix.shape[1]
        or len(matrix) < 3
        or not np.isfinite(matrix).all()
        or not np.allclose(matrix, matrix.T, atol=1e-8)
        or not np.allclose(np.diag(matrix), 1.0, atol=1e-8)
    ):
        raise AnalysisInputError(
            f"{who} requires a correlation matrix of three or more items: square, symmetric, finite, ones on its "
            f"diagonal; got shape {matrix.shape}. Remedy: compute it with correlation_matrix()."
        )
    return matrix
