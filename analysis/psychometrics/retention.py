"""How many factors: the eigenvalues against those of random data (parallel analysis)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from analysis.psychometrics.errors import AnalysisInputError
from analysis.psychometrics.response_matrix import FloatArray, Missing, correlate, eigenvalues_of, read_only


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ParallelAnalysis:
    """Observed eigenvalues (largest first) beside the mean and the 95th percentile of those of unrelated items."""

    eigenvalues: FloatArray  # (n_items,)
    reference_mean: FloatArray  # (n_items,)
    reference_p95: FloatArray  # (n_items,)
    n_factors: int  # leading eigenvalues above the 95th percentile
    n_factors_mean: int  # leading eigenvalues above the mean
    n_draws: int
    kind: Literal["pearson"]
    n_used: int
    n_dropped: int
    notes: tuple[str, ...]


def parallel_analysis(
    data: npt.ArrayLike,
    *,
    n_draws: int,
    rng: np.random.Generator,
    kind: Literal["pearson"] = "pearson",
    missing: Missing = "listwise",
    item_codes: Sequence[str] | None = None,
) -> ParallelAnalysis:
    """Compare the eigenvalues of the correlation matrix with those of uncorrelated normal items.

    Parameters
    ----------
    data : array-like, shape (n_respondents, n_items)
        Answers; NaN for missing.
    n_draws : int
        Random data sets; 100 or more.
    rng : numpy.random.Generator
        Source of randomness; the same seed gives the same answer.
    kind : 'pearson'
        The correlation used.
    missing : {'listwise', 'pairwise'}
        See `analysis.psychometrics.response_matrix.correlate`.

    Raises
    ------
    AnalysisInputError
        Fewer than 20 draws (no 95th percentile), an unknown kind, or a matrix that cannot be correlated.

    Notes
    -----
    Horn (1965), with the 95th percentile after Glorfeld (1995); eigenvalues of the unreduced matrix. The random
    correlation matrices are drawn directly from their distribution, Wishart with n − 1 degrees of freedom by Bartlett's
    decomposition, so that the cost does not depend on the number of respondents. R: `psych::fa.parallel(x, fa = "pc")`.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(1)
    >>> factor = rng.standard_normal((300, 1))
    >>> parallel_analysis(factor + rng.standard_normal((300, 6)), n_draws=100, rng=rng).n_factors
    1
    """
    if n_draws < 20:
        raise AnalysisInputError(
            f"parallel_analysis requires at least 20 draws for a 95th percentile; got {n_draws}. "
            "Remedy: use 100 or more."
        )
    if kind != "pearson":
        raise AnalysisInputError(
            f"parallel_analysis requires kind='pearson'; got {kind!r}. Remedy: leave the argument out."
        )
    correlations = correlate(data, item_codes=item_codes, missing=missing, who="parallel_analysis")
    eigenvalues = eigenvalues_of(correlations.matrix)
    drawn = _random_eigenvalues(n_respondents=correlations.n_used, n_items=len(eigenvalues), n_draws=n_draws, rng=rng)
    mean, p95 = drawn.mean(axis=0), np.quantile(drawn, 0.95, axis=0)
    return ParallelAnalysis(
        eigenvalues=read_only(eigenvalues),
        reference_mean=read_only(mean),
        reference_p95=read_only(p95),
        n_factors=_leading(eigenvalues > p95),
        n_factors_mean=_leading(eigenvalues > mean),
        n_draws=n_draws,
        kind=kind,
        n_used=correlations.n_used,
        n_dropped=correlations.n_dropped,
        notes=correlations.notes,
    )


def _random_eigenvalues(*, n_respondents: int, n_items: int, n_draws: int, rng: np.random.Generator) -> FloatArray:
    """Return eigenvalues, largest first, of correlation matrices of independent normal items: (n_draws, n_items)."""
    degrees = n_respondents - 1 - np.arange(n_items)
    factor = np.tril(rng.standard_normal((n_draws, n_items, n_items)), k=-1)
    diagonal = np.arange(n_items)
    factor[:, diagonal, diagonal] = np.sqrt(rng.chisquare(degrees, size=(n_draws, n_items)))
    # Scaling the factor's rows to length one scales the Wishart matrix to a correlation matrix.
    factor /= np.linalg.norm(factor, axis=2, keepdims=True)
    return eigenvalues_of(factor @ factor.transpose(0, 2, 1))


def _leading(above: npt.NDArray[np.bool_]) -> int:
    """Count the true values before the first false one."""
    return int(np.argmin(above)) if not above.all() else len(above)
