"""Exploratory factor analysis, KMO and Bartlett by factor-analyzer; the only place that knows that library.

What is kept away from it, and why (version 0.5.1):

- Rotation. After an oblique rotation `FactorAnalyzer` sorts the loadings but not `phi_`. So it only extracts, its
  `Rotator` rotates, and loadings, structure and factor correlations are signed and sorted here, together.
- Communalities, explained variance and the test of fit: its own ignore the factor correlations.
- Missing answers: its `impute_values` changes the caller's array. It is handed a correlation matrix, or complete rows.
- "principal": a principal component analysis, not offered here.
"""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar, get_args

import numpy as np
import numpy.typing as npt
from factor_analyzer import FactorAnalyzer, Rotator, calculate_bartlett_sphericity, calculate_kmo
from scipy.stats import chi2

from analysis.psychometrics.errors import AnalysisInputError
from analysis.psychometrics.response_matrix import (
    Correlations,
    FloatArray,
    IntArray,
    Missing,
    as_item_codes,
    as_responses,
    correlate,
    eigenvalues_of,
    read_only,
)

Extraction = Literal["minres", "ml"]
Rotation = Literal["oblimin", "promax", "varimax", "none"]

#: The library's lower bound for a uniqueness. A solution resting on it is a Heywood case.
_LOWEST_UNIQUENESS = 0.005
#: Same stop as GPArotation's, with room for more steps than the library's 500.
_ROTATION_TOLERANCE, _ROTATION_STEPS = 1e-5, 2000

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ExploratoryFactors:
    """A factor solution. Factors are sorted by their sums of squared loadings, and point where most items load."""

    item_codes: tuple[str, ...]
    loadings: FloatArray  # (n_items, n_factors): pattern
    structure: FloatArray  # (n_items, n_factors): correlations of items with factors
    phi: FloatArray  # (n_factors, n_factors): correlations between the factors, in the order of the loadings
    communalities: FloatArray  # (n_items,)
    uniquenesses: FloatArray  # (n_items,)
    variance: FloatArray  # (n_factors,): diag(Phi L'L)
    variance_share: FloatArray  # (n_factors,): of all items' variance
    eigenvalues: FloatArray  # (n_items,): of the correlation matrix, largest first
    display_order: IntArray  # (n_items,): items by their strongest factor, then by size of the loading
    rmsr: float
    chisq: float
    df: int
    pvalue: float
    n_factors: int
    extraction: Extraction
    rotation: Rotation
    missing: Missing
    n_used: int
    n_dropped: int
    converged: bool
    admissible: bool
    notes: tuple[str, ...]


def explore_factors(
    data: npt.ArrayLike,
    *,
    n_factors: int,
    extraction: Extraction = "minres",
    rotation: Rotation = "oblimin",
    item_codes: Sequence[str] | None = None,
    missing: Missing = "listwise",
) -> ExploratoryFactors:
    """Extract and rotate common factors from the Pearson correlations of the items.

    Parameters
    ----------
    data : array-like, shape (n_respondents, n_items)
        Answers with reversed items already turned round; NaN for missing. Not changed.
    n_factors : int
        At least 1, and few enough to leave degrees of freedom.
    extraction : {'minres', 'ml'}
        Least squares of the residual correlations, or maximum likelihood.
    rotation : {'oblimin', 'promax', 'varimax', 'none'}
        Direct oblimin (quartimin) and promax (power 4) let factors correlate. One factor is not rotated.
    item_codes : sequence of str, optional
        Names for messages and results.
    missing : {'listwise', 'pairwise'}
        See `analysis.psychometrics.response_matrix.correlate`.

    Returns
    -------
    ExploratoryFactors
        A Heywood case or a search that did not settle is reported (`admissible`, `converged`, `notes`), not hidden.

    Raises
    ------
    AnalysisInputError
        Too many factors for the items, or a matrix that cannot be correlated.

    Notes
    -----
    Communalities are diag(L Φ L'), explained variance diag(Φ L'L). χ² is Bartlett's corrected statistic of the residual
    correlations, (n − 1 − (2p + 5)/6 − 2m/3) times the ML discrepancy (Lawley & Maxwell 1971); five-point answers make
    it too large. R: `psych::fa(x, nfactors, fm = "minres", rotate = "oblimin")`.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(3)
    >>> factor = rng.standard_normal((500, 1))
    >>> solution = explore_factors(factor + rng.standard_normal((500, 4)), n_factors=1)
    >>> solution.loadings.shape, solution.admissible
    ((4, 1), True)
    """
    _check_choices(extraction, rotation)
    n_items = as_responses(data, who="explore_factors", minimum_items=3).shape[1]
    codes = as_item_codes(item_codes, n_items, who="explore_factors")
    _check_factor_count(n_factors, n_items)
    correlations = correlate(data, item_codes=codes, missing=missing, who="explore_factors")
    loadings, phi, messages = _extract_and_rotate(
        correlations.matrix, n_factors=n_factors, extraction=extraction, rotation=rotation
    )
    loadings, phi = _signed_and_sorted(loadings, phi)
    structure = loadings @ phi
    communalities = np.sum(structure * loadings, axis=1)
    variance = np.diag(phi @ loadings.T @ loadings).copy()
    implied = loadings @ phi @ loadings.T
    np.fill_diagonal(implied, 1.0)
    residual = (correlations.matrix - implied)[np.triu_indices(n_items, k=1)]
    chisq, df, pvalue = _fit(correlations, loadings @ phi @ loadings.T, n_factors=n_factors)
    notes = list(correlations.notes) + messages
    converged = not messages
    heywood = [code for code, h2 in zip(codes, communalities, strict=True) if 1 - h2 <= _LOWEST_UNIQUENESS * 1.05]
    if heywood:
        notes.append(
            f"Heywood case: next to no unique variance left in {', '.join(heywood)}; "
            "extract fewer factors or leave the item out"
        )
    empty = [str(number + 1) for number, total in enumerate(np.sum(np.abs(loadings) >= 0.3, axis=0)) if total < 2]
    if empty and n_factors > 1:
        notes.append(f"fewer than two items load .30 or more on factor {', '.join(empty)}")
    return ExploratoryFactors(
        item_codes=codes,
        loadings=read_only(loadings),
        structure=read_only(structure),
        phi=read_only(phi),
        communalities=read_only(communalities),
        uniquenesses=read_only(1 - communalities),
        variance=read_only(variance),
        variance_share=read_only(variance / n_items),
        eigenvalues=read_only(eigenvalues_of(correlations.matrix)),
        display_order=read_only(_display_order(loadings)),
        rmsr=float(np.sqrt(np.mean(residual**2))),
        chisq=chisq,
        df=df,
        pvalue=pvalue,
        n_factors=n_factors,
        extraction=extraction,
        rotation=rotation,
        missing=missing,
        n_used=correlations.n_used,
        n_dropped=correlations.n_dropped,
        converged=converged,
        admissible=converged and not heywood,
        notes=tuple(notes),
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SamplingAdequacy:
    """Kaiser–Meyer–Olkin measure of sampling adequacy, overall and per item (0 to 1)."""

    item_codes: tuple[str, ...]
    overall: float
    per_item: FloatArray  # (n_items,)
    missing: Missing
    n_used: int
    n_dropped: int
    notes: tuple[str, ...]


def sampling_adequacy(
    data: npt.ArrayLike, *, item_codes: Sequence[str] | None = None, missing: Missing = "listwise"
) -> SamplingAdequacy:
    """Return how much of the items' correlation is shared rather than partial (Kaiser 1974).

    Parameters
    ----------
    data : array-like, shape (n_respondents, n_items)
        Answers; NaN for missing. Reversal does not matter.
    missing : {'listwise', 'pairwise'}
        See `analysis.psychometrics.response_matrix.correlate`.

    Raises
    ------
    AnalysisInputError
        A matrix that cannot be correlated, or is singular.

    Notes
    -----
    Σr² / (Σr² + Σq²) over pairs of items, q the partial correlation given all other items. R: `psych::KMO`.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(3)
    >>> factor = rng.standard_normal((500, 1))
    >>> bool(sampling_adequacy(factor + rng.standard_normal((500, 6))).overall > 0.8)
    True
    """
    n_items = as_responses(data, who="sampling_adequacy", minimum_items=2).shape[1]
    codes = as_item_codes(item_codes, n_items, who="sampling_adequacy")
    correlations = correlate(data, item_codes=codes, missing=missing, who="sampling_adequacy")
    (per_item, overall), messages = _listening(lambda: calculate_kmo(_rows_with(correlations)))
    return SamplingAdequacy(
        item_codes=codes,
        overall=float(overall),
        per_item=read_only(np.asarray(per_item, dtype=np.float64)),
        missing=missing,
        n_used=correlations.n_used,
        n_dropped=correlations.n_dropped,
        notes=(*correlations.notes, *messages),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class BartlettSphericity:
    """Test of the hypothesis that the items are uncorrelated."""

    chisq: float
    df: int
    pvalue: float
    missing: Missing
    n_used: int
    n_dropped: int
    notes: tuple[str, ...]


def bartlett_sphericity(
    data: npt.ArrayLike, *, item_codes: Sequence[str] | None = None, missing: Missing = "listwise"
) -> BartlettSphericity:
    """Test whether the correlation matrix differs from the identity (Bartlett 1951).

    Parameters
    ----------
    data : array-like, shape (n_respondents, n_items)
        Answers; NaN for missing.
    missing : {'listwise', 'pairwise'}
        See `analysis.psychometrics.response_matrix.correlate`.

    Raises
    ------
    AnalysisInputError
        A matrix that cannot be correlated, or is singular.

    Notes
    -----
    χ² = −(n − 1 − (2p + 5)/6)·ln|R| with p(p − 1)/2 degrees of freedom. R: `psych::cortest.bartlett(R, n)`.

    Examples
    --------
    >>> import numpy as np
    >>> bartlett_sphericity(np.random.default_rng(3).standard_normal((500, 4))).df
    6
    """
    n_items = as_responses(data, who="bartlett_sphericity", minimum_items=2).shape[1]
    codes = as_item_codes(item_codes, n_items, who="bartlett_sphericity")
    correlations = correlate(data, item_codes=codes, missing=missing, who="bartlett_sphericity")
    (chisq, pvalue), messages = _listening(lambda: calculate_bartlett_sphericity(_rows_with(correlations)))
    return BartlettSphericity(
        chisq=float(chisq),
        df=n_items * (n_items - 1) // 2,
        pvalue=float(pvalue),
        missing=missing,
        n_used=correlations.n_used,
        n_dropped=correlations.n_dropped,
        notes=(*correlations.notes, *messages),
    )


def _check_choices(extraction: str, rotation: str) -> None:
    if extraction not in get_args(Extraction):
        raise AnalysisInputError(
            f"explore_factors requires extraction 'minres' or 'ml'; got {extraction!r}. Remedy: choose one of the two "
            "('principal' would be a component analysis, which assumes items without error)."
        )
    if rotation not in get_args(Rotation):
        raise AnalysisInputError(
            f"explore_factors requires rotation 'oblimin', 'promax', 'varimax' or 'none'; got {rotation!r}. "
            "Remedy: use 'oblimin' unless there is a reason against correlated factors."
        )


def _check_factor_count(n_factors: int, n_items: int) -> None:
    possible = max((m for m in range(1, n_items) if (n_items - m) ** 2 >= n_items + m), default=0)
    if not 1 <= n_factors <= possible:
        raise AnalysisInputError(
            f"explore_factors requires 1 to {possible} factors for {n_items} items (no degrees of freedom are left "
            f"beyond); got {n_factors}. Remedy: extract fewer factors or add items."
        )


def _extract_and_rotate(
    matrix: FloatArray, *, n_factors: int, extraction: Extraction, rotation: Rotation
) -> tuple[FloatArray, FloatArray, list[str]]:
    """Return loadings and factor correlations in one order, and what the library warned of."""
    # A copy, because the library writes the diagonal while it searches.
    analyzer = FactorAnalyzer(
        n_factors=n_factors, rotation=None, method=extraction, is_corr_matrix=True, bounds=(_LOWEST_UNIQUENESS, 1)
    )
    _, messages = _listening(lambda: analyzer.fit(matrix.copy()))
    loadings = np.asarray(analyzer.loadings_, dtype=np.float64)
    if rotation == "none" or n_factors == 1:
        return loadings, np.eye(n_factors), messages
    # Kaiser's normalisation for varimax and promax, as in R; oblimin in this library never normalises.
    rotator = Rotator(method=rotation, normalize=True, tol=_ROTATION_TOLERANCE, max_iter=_ROTATION_STEPS)
    rotated, more = _listening(lambda: np.asarray(rotator.fit_transform(loadings), dtype=np.float64))
    phi = np.eye(n_factors) if rotator.phi_ is None else np.asarray(rotator.phi_, dtype=np.float64)
    return rotated, phi, messages + more


def _signed_and_sorted(loadings: FloatArray, phi: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Turn factors so that their loadings sum above zero, and sort them by squared loadings; phi goes along."""
    signs = np.where(loadings.sum(axis=0) < 0, -1.0, 1.0)
    order = np.argsort(-np.sum(loadings**2, axis=0), kind="stable")
    turned_phi = phi * np.outer(signs, signs)
    return (loadings * signs)[:, order].copy(), turned_phi[np.ix_(order, order)].copy()


def _display_order(loadings: FloatArray) -> IntArray:
    size = np.abs(loadings)
    strongest = size.argmax(axis=1)
    return np.lexsort((-size.max(axis=1), strongest)).astype(np.int64)


def _fit(correlations: Correlations, common: FloatArray, *, n_factors: int) -> tuple[float, int, float]:
    """Return χ², degrees of freedom and p of the residual correlations (NaN where the model matrix is singular)."""
    observed = correlations.matrix
    n_items = len(observed)
    df = ((n_items - n_factors) ** 2 - n_items - n_factors) // 2
    implied = common.copy()
    np.fill_diagonal(implied, 1.0)
    sign, log_det = np.linalg.slogdet(implied)
    if sign <= 0 or not np.isfinite(log_det):
        return float("nan"), df, float("nan")
    _, log_det_observed = np.linalg.slogdet(observed)
    discrepancy = float(log_det - log_det_observed + np.trace(np.linalg.solve(implied, observed)) - n_items)
    chisq = (correlations.n_used - 1 - (2 * n_items + 5) / 6 - 2 * n_factors / 3) * max(discrepancy, 0.0)
    return float(chisq), df, float(chi2.sf(chisq, df)) if df else float("nan")


def _rows_with(correlations: Correlations) -> FloatArray:
    """Return as many rows as were used, with exactly these correlations.

    The library wants rows where only the correlations and their number matter. Cosines of increasing frequency are
    orthogonal and sum to zero; the Cholesky factor gives them the correlations.
    """
    n_rows, n_items = correlations.n_used, len(correlations.matrix)
    position = (np.arange(n_rows) + 0.5)[:, None]
    basis = np.sqrt(2) * np.cos(np.pi * position * np.arange(1, n_items + 1) / n_rows)
    rows: FloatArray = basis @ np.linalg.cholesky(correlations.matrix).T
    return rows


def _listening(call: Callable[[], Result]) -> tuple[Result, list[str]]:
    """Run a library call; return its result and the warnings that matter, as notes.

    Known and harmless: scikit-learn's notice of a renamed argument (the pinned release still has it), and the
    pseudo-inverse for small determinants (fifty items always have one; singular matrices were refused before).
    """
    harmless = ("'force_all_finite' was renamed", "Moore-Penrose")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = call()
    return result, [text for text in (str(w.message) for w in caught) if not any(known in text for known in harmless)]
