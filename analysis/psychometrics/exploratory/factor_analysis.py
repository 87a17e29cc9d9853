"""Exploratory factor analysis of a correlation matrix, with KMO and Bartlett's test before it and its fit after.

Everything works on a correlation matrix and the number of respondents behind it, so Pearson and polychoric correlations
go the same way.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq, minimize
from scipy.special import chdtrc, chndtr

from analysis.psychometrics.errors import AnalysisInputError
from analysis.psychometrics.exploratory.rotation import Rotation, oblimin, rotate, sign_and_sort
from analysis.psychometrics.response_matrix import (
    FloatArray,
    IntArray,
    Missing,
    as_item_codes,
    as_responses,
    correlate,
    eigenvalues_of,
    read_only,
    smooth_to_positive_definite,
)

FactorExtraction = Literal["minres", "ml"]
CorrelationKind = Literal["pearson", "polychoric"]

#: The smallest uniqueness that the search allows (psych's and factanal's bound); a solution on it is a Heywood case.
LOWEST_UNIQUENESS = 0.005
#: Coverage of the interval of RMSEA, by custom.
_RMSEA_CONFIDENCE = 0.90
#: Eigenvalues below this share of the number of items count as zero.
_SINGULAR = 1e-10


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ExtractedFactors:
    """Unrotated loadings, largest factor first, and how the search ended."""

    loadings: FloatArray  # (n_items, n_factors), each column summing above zero
    uniquenesses: FloatArray  # (n_items,): where the search ended; on its lower bound in a Heywood case
    discrepancy: float  # what was minimised: the ML discrepancy, or the sum of squared residual correlations
    at_bound: tuple[int, ...]  # items whose uniqueness rests on the lower bound
    converged: bool


def extract_factors(
    correlation: npt.ArrayLike, *, n_factors: int, extraction: FactorExtraction = "minres"
) -> ExtractedFactors:
    """Extract common factors from a positive definite correlation matrix.

    Parameters
    ----------
    correlation : array-like, shape (n_items, n_items)
        Correlations of the items.
    n_factors : int
        At least one, at most as many as items.
    extraction : {'minres', 'ml'}
        Least squares of the residual correlations, or maximum likelihood.

    Raises
    ------
    AnalysisInputError
        An unknown extraction, or no correlation matrix.

    Notes
    -----
    The uniquenesses are the free parameters, the loadings follow from the eigenvectors: Harman & Jones (1966) for
    minres, Jöreskog (1967) for maximum likelihood. Uniquenesses are kept within .005 and 1 as in R:
    `psych::fa(R, 3, fm = "minres", rotate = "none")`, `fm = "ml"`.

    Examples
    --------
    >>> import numpy as np
    >>> loadings = np.array([0.8, 0.7, 0.6, 0.5])
    >>> model = np.outer(loadings, loadings) + np.diag(1 - loadings**2)
    >>> extract_factors(model, n_factors=1).loadings.ravel().round(4)
    array([0.8, 0.7, 0.6, 0.5])
    """
    matrix = _as_correlation(correlation, who="extract_factors")
    n_items = len(matrix)
    _check_extraction(extraction, who="extract_factors")
    if not 1 <= n_factors <= n_items:
        raise AnalysisInputError(
            f"extract_factors requires 1 to {n_items} factors for {n_items} items; got {n_factors}. "
            "Remedy: extract fewer factors."
        )

    def spectrum(uniquenesses: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return eigenvalues, smallest first, and the loadings that they give, largest factor first."""
        if extraction == "ml":
            scale = 1 / np.sqrt(uniquenesses)
            values, vectors = np.linalg.eigh(matrix * np.outer(scale, scale))
            size, direction = values[-n_factors:] - 1, vectors[:, -n_factors:] / scale[:, None]
        else:
            values, vectors = np.linalg.eigh(matrix - np.diag(uniquenesses))
            size, direction = values[-n_factors:], vectors[:, -n_factors:]
        return values, (direction * np.sqrt(np.maximum(size, 0.0)))[:, ::-1]

    def likelihood(uniquenesses: FloatArray) -> tuple[float, FloatArray]:
        values, loadings = spectrum(uniquenesses)
        rest = np.maximum(values[:-n_factors], 1e-12)
        loss = float(np.sum(rest - np.log(rest)) - len(rest))
        return loss, (np.sum(loadings**2, axis=1) + uniquenesses - 1) / uniquenesses**2

    def least_squares(uniquenesses: FloatArray) -> tuple[float, FloatArray]:
        _, loadings = spectrum(uniquenesses)
        residual = matrix - np.diag(uniquenesses) - loadings @ loadings.T
        return float(np.sum(residual**2)) / 2, -np.diag(residual)

    loss = likelihood if extraction == "ml" else least_squares
    # One minus squared multiple correlations is the customary start; a ridge keeps a singular matrix invertible.
    start = np.clip(1 / np.diag(np.linalg.inv(matrix + 1e-6 * np.eye(n_items))), LOWEST_UNIQUENESS, 0.995)
    outcome = minimize(
        loss,
        start,
        jac=True,
        method="L-BFGS-B",
        bounds=[(LOWEST_UNIQUENESS, 1.0)] * n_items,
        options={"maxiter": 2000, "maxfun": 4000, "ftol": 1e-15, "gtol": 1e-9, "maxcor": 20},
    )
    uniquenesses = np.asarray(outcome.x, dtype=np.float64)
    _, loadings = spectrum(uniquenesses)
    loadings = loadings * np.where(loadings.sum(axis=0) < 0, -1.0, 1.0)
    # L-BFGS-B reports an abnormal line search when no digit is left to gain: judge by the gradient instead.
    _, gradient = loss(uniquenesses)
    inside = (uniquenesses > LOWEST_UNIQUENESS * 1.001) & (uniquenesses < 1 - 1e-9)
    settled = bool(outcome.success) or bool(np.all(np.abs(gradient[inside]) < 1e-5))
    return ExtractedFactors(
        loadings=read_only(loadings),
        uniquenesses=read_only(uniquenesses),
        discrepancy=float(outcome.fun),
        at_bound=tuple(int(item) for item in np.flatnonzero(uniquenesses <= LOWEST_UNIQUENESS * 1.001)),
        converged=settled,
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FactorSolution:
    """A rotated factor solution with its fit. Factors are sorted by what they explain, and point where items load."""

    item_codes: tuple[str, ...]
    loadings: FloatArray  # (n_items, n_factors): pattern
    structure: FloatArray  # (n_items, n_factors): correlations of items with factors, loadings @ phi
    phi: FloatArray  # (n_factors, n_factors): correlations between the factors, in the order of the loadings
    communalities: FloatArray  # (n_items,): diag(loadings @ phi @ loadings')
    uniquenesses: FloatArray  # (n_items,): 1 - communalities
    complexity: FloatArray  # (n_items,): Hofmann's index; 1 for an item on one factor
    variance: FloatArray  # (n_factors,): diag(phi @ loadings' @ loadings)
    variance_share: FloatArray  # (n_factors,): of all items' variance
    eigenvalues: FloatArray  # (n_items,): of the correlation matrix, largest first
    display_order: IntArray  # (n_items,): items by their strongest factor, then by size of the loading
    residuals: FloatArray  # (n_items, n_items): observed minus implied correlations, zero diagonal
    rmsr: float  # root mean square of the residual correlations
    rmsr_corrected: float  # the same per degree of freedom
    chisq: float
    df: int
    pvalue: float
    chisq_null: float  # of no factors at all
    df_null: int
    rmsea: float
    rmsea_ci_lower: float  # of the 90 % interval
    rmsea_ci_upper: float
    tli: float
    bic: float
    n_factors: int
    extraction: FactorExtraction
    rotation: Rotation
    kind: CorrelationKind
    n_used: int
    n_dropped: int
    converged: bool
    admissible: bool
    notes: tuple[str, ...]


def factor_correlations(
    correlation: npt.ArrayLike,
    *,
    n_used: int,
    n_factors: int,
    extraction: FactorExtraction = "minres",
    rotation: Rotation = "oblimin",
    item_codes: Sequence[str] | None = None,
    kind: CorrelationKind = "pearson",
    n_dropped: int = 0,
    n_starts: int = 1,
    rng: np.random.Generator | None = None,
) -> FactorSolution:
    """Extract and rotate common factors from a correlation matrix of any kind, and judge the fit.

    Parameters
    ----------
    correlation : array-like, shape (n_items, n_items)
        Pearson or polychoric correlations. One that is not positive definite is smoothed, with a note.
    n_used : int
        Respondents behind the matrix; chi-square, RMSEA, TLI and BIC rest on it.
    n_factors : int
        At least 1, and few enough to leave no negative degrees of freedom.
    extraction : {'minres', 'ml'}
        Least squares of the residual correlations, or maximum likelihood.
    rotation : {'oblimin', 'promax', 'varimax', 'none'}
        See `analysis.psychometrics.exploratory.rotation`. One factor is not rotated.
    item_codes : sequence of str, optional
        Names for messages and results.
    kind : {'pearson', 'polychoric'}
        What the correlations are; chi-square of polychoric ones is noted as no test.
    n_dropped : int
        Respondents left out before, for the record.
    n_starts : int
        Starts of oblimin, the first at R's place, the others at random.
    rng : numpy.random.Generator, optional
        Required for more than one start.

    Returns
    -------
    FactorSolution
        A Heywood case or a search that did not settle is reported (`admissible`, `converged`, `notes`), not hidden.

    Raises
    ------
    AnalysisInputError
        Too many factors for the items, or no correlation matrix.

    Notes
    -----
    With F the ML discrepancy of the implied matrix (whatever the extraction), as `psych::fa` computes it:
    χ² = (n − 1 − (2p + 5)/6 − 2m/3)·F (Bartlett's correction, Lawley & Maxwell 1971); RMSEA = √(χ²/(df·n) − 1/(n − 1));
    TLI from F/df of model and null model; BIC = χ² − df·ln n, which compares numbers of factors.
    R: `psych::fa(R, nfactors = 3, n.obs = 301, fm = "minres", rotate = "oblimin")`.

    Examples
    --------
    >>> import numpy as np
    >>> loadings = np.array([0.8, 0.7, 0.6, 0.5])
    >>> model = np.outer(loadings, loadings) + np.diag(1 - loadings**2)
    >>> solution = factor_correlations(model, n_used=200, n_factors=1)
    >>> solution.communalities.round(2), solution.df, solution.rmsea
    (array([0.64, 0.49, 0.36, 0.25]), 2, 0.0)
    """
    who = "factor_correlations"
    matrix = _as_correlation(correlation, who=who)
    codes = as_item_codes(item_codes, len(matrix), who=who)
    _check_extraction(extraction, who=who)
    _check_choice_of_rotation(rotation, who=who)
    _check_factor_count(n_factors, len(matrix), who=who)
    if n_used <= len(matrix):
        raise AnalysisInputError(
            f"{who} requires more respondents than items; got {n_used} for {len(matrix)} items. "
            "Remedy: collect more forms, or analyse fewer items at a time (one domain)."
        )
    notes: list[str] = []
    if np.linalg.eigvalsh(matrix)[0] <= _SINGULAR:
        matrix = smooth_to_positive_definite(matrix)
        notes.append("the correlation matrix was not positive definite and was smoothed (negative eigenvalues raised)")
    extracted = extract_factors(matrix, n_factors=n_factors, extraction=extraction)
    if rotation == "oblimin":
        rotated = oblimin(extracted.loadings, n_starts=n_starts, rng=rng)
    else:
        rotated = rotate(extracted.loadings, rotation=rotation)
    return _solution(
        matrix,
        *sign_and_sort(rotated.loadings, rotated.phi),
        extracted=extracted,
        rotation_converged=rotated.converged,
        codes=codes,
        extraction=extraction,
        rotation=rotation,
        kind=kind,
        n_used=n_used,
        n_dropped=n_dropped,
        notes=notes,
    )


def explore_factors(
    data: npt.ArrayLike,
    *,
    n_factors: int,
    extraction: FactorExtraction = "minres",
    rotation: Rotation = "oblimin",
    item_codes: Sequence[str] | None = None,
    missing: Missing = "listwise",
    n_starts: int = 1,
    rng: np.random.Generator | None = None,
) -> FactorSolution:
    """Extract and rotate common factors from the Pearson correlations of the items.

    Parameters
    ----------
    data : array-like, shape (n_respondents, n_items)
        Answers with reversed items already turned round; NaN for missing. Not changed.
    n_factors, extraction, rotation, item_codes, n_starts, rng
        See `factor_correlations`.
    missing : {'listwise', 'pairwise'}
        Complete rows, or all rows that hold both items of a pair. Pairwise, the fit rests on the smallest number behind
        any pair; `psych::fa` takes the number of rows, which makes chi-square larger.

    Returns
    -------
    FactorSolution
        See `factor_correlations`, also for the notes on R.

    Raises
    ------
    AnalysisInputError
        Too many factors for the items, or a matrix that cannot be correlated (constant, identical, dependent items,
        fewer respondents than items).

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(3)
    >>> factor = rng.standard_normal((500, 1))
    >>> solution = explore_factors(factor + rng.standard_normal((500, 4)), n_factors=1)
    >>> solution.loadings.shape, solution.admissible
    ((4, 1), True)
    """
    n_items = as_responses(data, who="explore_factors", minimum_items=3).shape[1]
    codes = as_item_codes(item_codes, n_items, who="explore_factors")
    _check_factor_count(n_factors, n_items, who="explore_factors")
    correlations = correlate(data, item_codes=codes, missing=missing, who="explore_factors")
    solution = factor_correlations(
        correlations.matrix,
        n_used=correlations.n_used,
        n_factors=n_factors,
        extraction=extraction,
        rotation=rotation,
        item_codes=codes,
        n_dropped=correlations.n_dropped,
        n_starts=n_starts,
        rng=rng,
    )
    return with_notes(solution, correlations.notes)


def with_notes(solution: FactorSolution, notes: Sequence[str]) -> FactorSolution:
    """Return the solution with what has to be said about its correlations put first."""
    return replace(solution, notes=(*notes, *solution.notes))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class KaiserMeyerOlkin:
    """Measure of sampling adequacy, overall and per item (0 to 1)."""

    item_codes: tuple[str, ...]
    overall: float
    per_item: FloatArray  # (n_items,)


def kaiser_meyer_olkin(correlation: npt.ArrayLike, *, item_codes: Sequence[str] | None = None) -> KaiserMeyerOlkin:
    """Return how much of the items' correlation is shared rather than partial (Kaiser 1974).

    Parameters
    ----------
    correlation : array-like, shape (n_items, n_items)
        Correlations of at least two items, positive definite.
    item_codes : sequence of str, optional
        Names for messages and results.

    Raises
    ------
    AnalysisInputError
        No correlation matrix, or a singular one.

    Notes
    -----
    Σr² / (Σr² + Σq²) over pairs of items, q the partial correlation given all other items. R: `psych::KMO`. Items that
    correlate with none have NaN.

    Examples
    --------
    >>> import numpy as np
    >>> round(kaiser_meyer_olkin(np.full((4, 4), 0.5) + np.eye(4) / 2).overall, 3)
    0.8
    """
    matrix = _as_correlation(correlation, who="kaiser_meyer_olkin")
    codes = as_item_codes(item_codes, len(matrix), who="kaiser_meyer_olkin")
    _refuse_singular(matrix, codes, who="kaiser_meyer_olkin")
    inverse = np.linalg.inv(matrix)
    scale = 1 / np.sqrt(np.diag(inverse))
    partial = inverse * np.outer(scale, scale)
    apart = ~np.eye(len(matrix), dtype=bool)
    shared, unique = np.sum(matrix**2, axis=0, where=apart), np.sum(partial**2, axis=0, where=apart)
    total = shared + unique
    per_item = np.where(total > 0, shared / np.where(total > 0, total, 1.0), np.nan)
    overall = float(shared.sum() / total.sum()) if total.sum() > 0 else float("nan")
    return KaiserMeyerOlkin(item_codes=codes, overall=overall, per_item=read_only(per_item))


@dataclass(frozen=True, slots=True, kw_only=True)
class BartlettSphericity:
    """Test of the hypothesis that the items are uncorrelated."""

    chisq: float
    df: int
    pvalue: float


def bartlett_sphericity(
    correlation: npt.ArrayLike, *, n_used: int, item_codes: Sequence[str] | None = None
) -> BartlettSphericity:
    """Test whether the correlation matrix differs from the identity (Bartlett 1951).

    Parameters
    ----------
    correlation : array-like, shape (n_items, n_items)
        Correlations of at least two items, positive definite.
    n_used : int
        Respondents behind the matrix.
    item_codes : sequence of str, optional
        Names for messages.

    Raises
    ------
    AnalysisInputError
        No correlation matrix, or a singular one.

    Notes
    -----
    χ² = −(n − 1 − (2p + 5)/6)·ln|R| with p(p − 1)/2 degrees of freedom. R: `psych::cortest.bartlett(R, n)`.

    Examples
    --------
    >>> import numpy as np
    >>> test = bartlett_sphericity(np.full((3, 3), 0.5) + np.eye(3) / 2, n_used=101)
    >>> round(test.chisq, 3), test.df
    (68.044, 3)
    """
    matrix = _as_correlation(correlation, who="bartlett_sphericity")
    codes = as_item_codes(item_codes, len(matrix), who="bartlett_sphericity")
    _refuse_singular(matrix, codes, who="bartlett_sphericity")
    n_items = len(matrix)
    df = n_items * (n_items - 1) // 2
    chisq = max(-(n_used - 1 - (2 * n_items + 5) / 6) * float(np.linalg.slogdet(matrix)[1]), 0.0)
    return BartlettSphericity(chisq=chisq, df=df, pvalue=float(chdtrc(df, max(chisq, 0.0))))


def _solution(
    matrix: FloatArray,
    loadings: FloatArray,
    phi: FloatArray,
    *,
    extracted: ExtractedFactors,
    rotation_converged: bool,
    codes: tuple[str, ...],
    extraction: FactorExtraction,
    rotation: Rotation,
    kind: CorrelationKind,
    n_used: int,
    n_dropped: int,
    notes: list[str],
) -> FactorSolution:
    n_items, n_factors = loadings.shape
    structure = loadings @ phi
    communalities = np.sum(structure * loadings, axis=1)
    variance = np.diag(phi @ loadings.T @ loadings).copy()
    squares = np.sum(loadings**2, axis=1)
    fourths = np.sum(loadings**4, axis=1)
    common = structure @ loadings.T
    residuals = matrix - common
    np.fill_diagonal(residuals, 0.0)
    fit = _fit(matrix, common, n_factors=n_factors, n_used=n_used)
    if kind == "polychoric":
        notes.append("chi-square, RMSEA, TLI and BIC treat polychoric correlations as if of normal scores: no test")
    if not extracted.converged:
        notes.append(f"the {extraction} extraction did not converge")
    if not rotation_converged:
        notes.append(f"the {rotation} rotation did not converge")
    heywood = [codes[item] for item in extracted.at_bound]
    if heywood:
        notes.append(
            f"Heywood case: next to no unique variance left in {', '.join(heywood)}; "
            "extract fewer factors or leave the item out"
        )
    if not math.isfinite(fit.chisq):
        notes.append("the implied correlation matrix is singular: no chi-square, RMSEA, TLI and BIC")
    elif fit.df == 0:
        notes.append("no degrees of freedom are left: p, RMSEA and TLI are undefined")
    empty = [str(number + 1) for number, total in enumerate(np.sum(np.abs(loadings) >= 0.3, axis=0)) if total < 2]
    if empty and n_factors > 1:
        notes.append(f"fewer than two items load .30 or more on factor {', '.join(empty)}")
    sum_of_squares = float(np.sum(residuals**2))
    return FactorSolution(
        item_codes=codes,
        loadings=read_only(loadings),
        structure=read_only(structure),
        phi=read_only(phi),
        communalities=read_only(communalities),
        uniquenesses=read_only(1 - communalities),
        complexity=read_only(np.where(fourths > 0, squares**2 / np.where(fourths > 0, fourths, 1.0), np.nan)),
        variance=read_only(variance),
        variance_share=read_only(variance / n_items),
        eigenvalues=read_only(eigenvalues_of(matrix)),
        display_order=read_only(_display_order(loadings)),
        residuals=read_only(residuals),
        rmsr=math.sqrt(sum_of_squares / (n_items * (n_items - 1))),
        rmsr_corrected=math.sqrt(sum_of_squares / (2 * fit.df)) if fit.df else float("nan"),
        chisq=fit.chisq,
        df=fit.df,
        pvalue=fit.pvalue,
        chisq_null=fit.chisq_null,
        df_null=n_items * (n_items - 1) // 2,
        rmsea=fit.rmsea,
        rmsea_ci_lower=fit.rmsea_ci_lower,
        rmsea_ci_upper=fit.rmsea_ci_upper,
        tli=fit.tli,
        bic=fit.bic,
        n_factors=n_factors,
        extraction=extraction,
        rotation=rotation,
        kind=kind,
        n_used=n_used,
        n_dropped=n_dropped,
        converged=extracted.converged and rotation_converged,
        admissible=extracted.converged and rotation_converged and not heywood,
        notes=tuple(notes),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fit:
    chisq: float
    df: int
    pvalue: float
    chisq_null: float
    rmsea: float
    rmsea_ci_lower: float
    rmsea_ci_upper: float
    tli: float
    bic: float


def _fit(matrix: FloatArray, common: FloatArray, *, n_factors: int, n_used: int) -> _Fit:
    n_items = len(matrix)
    df = ((n_items - n_factors) ** 2 - n_items - n_factors) // 2
    df_null = n_items * (n_items - 1) // 2
    log_det_observed = float(np.linalg.slogdet(matrix)[1])
    null_discrepancy = -log_det_observed
    null_factor = n_used - 1 - (2 * n_items + 5) / 6
    factor = null_factor - 2 * n_factors / 3
    nan = float("nan")
    implied = common.copy()
    np.fill_diagonal(implied, 1.0)
    sign, log_det = np.linalg.slogdet(implied)
    if sign <= 0 or not math.isfinite(log_det):
        return _Fit(
            chisq=nan,
            df=df,
            pvalue=nan,
            chisq_null=null_factor * null_discrepancy,
            rmsea=nan,
            rmsea_ci_lower=nan,
            rmsea_ci_upper=nan,
            tli=nan,
            bic=nan,
        )
    discrepancy = float(log_det - log_det_observed + np.trace(np.linalg.solve(implied, matrix)) - n_items)
    chisq = max(factor * discrepancy, 0.0)
    tli = rmsea = lower = upper = nan
    if df:
        null_ratio = null_discrepancy / df_null
        if factor > 0 and null_ratio != 1 / factor:
            tli = (null_ratio - discrepancy / df) / (null_ratio - 1 / factor)
        rmsea = math.sqrt(max(chisq / (df * n_used) - 1 / (n_used - 1), 0.0))
        lower, upper = _rmsea_interval(chisq, df, n_used)
    return _Fit(
        chisq=chisq,
        df=df,
        pvalue=float(chdtrc(df, max(chisq, 0.0))) if df else nan,
        chisq_null=null_factor * null_discrepancy,
        rmsea=rmsea,
        rmsea_ci_lower=lower,
        rmsea_ci_upper=upper,
        tli=tli,
        bic=chisq - df * math.log(n_used),
    )


def _rmsea_interval(chisq: float, df: int, n_used: int) -> tuple[float, float]:
    """Return the 90 % interval by inverting the noncentral chi-square distribution (Steiger & Lind 1980)."""
    tail = (1 - _RMSEA_CONFIDENCE) / 2

    def limit(probability: float) -> float:
        if chndtr(chisq, df, 0.0) <= probability:
            return 0.0
        highest = max(n_used, chisq) + 2 * n_used
        while chndtr(chisq, df, highest) > probability:
            highest *= 2
        noncentrality = brentq(lambda value: chndtr(chisq, df, value) - probability, 0.0, highest, xtol=1e-10)
        return math.sqrt(float(noncentrality) / (n_used - 1) / df)

    return limit(1 - tail), limit(tail)


def _display_order(loadings: FloatArray) -> IntArray:
    size = np.abs(loadings)
    return np.lexsort((-size.max(axis=1), size.argmax(axis=1))).astype(np.int64)


def _as_correlation(correlation: npt.ArrayLike, *, who: str) -> FloatArray:
    matrix = np.asarray(correlation, dtype=np.float64)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or len(matrix) < 2:
        raise AnalysisInputError(
            f"{who} requires a square correlation matrix of at least two items; got shape {matrix.shape}. "
            "Remedy: compute it with correlate or correlate_polychoric."
        )
    if not np.isfinite(matrix).all():
        raise AnalysisInputError(
            f"{who} requires a correlation for every pair of items; got NaN or infinite entries. "
            "Remedy: leave out the items that do not vary or are never answered together."
        )
    if not np.allclose(matrix, matrix.T, atol=1e-8) or not np.allclose(np.diag(matrix), 1.0, atol=1e-8):
        raise AnalysisInputError(
            f"{who} requires a symmetric matrix with ones on the diagonal; got another. "
            "Remedy: divide covariances by the standard deviations."
        )
    if np.abs(matrix).max() > 1 + 1e-8:
        raise AnalysisInputError(
            f"{who} requires correlations within -1 to 1; got {np.abs(matrix).max():.3f}. Remedy: check the matrix."
        )
    symmetric: FloatArray = (matrix + matrix.T) / 2
    return symmetric


def _refuse_singular(matrix: FloatArray, codes: Sequence[str], *, who: str) -> None:
    values, vectors = np.linalg.eigh(matrix)
    if values[0] <= _SINGULAR * len(matrix):
        raise AnalysisInputError(
            f"{who} requires items that are not exact combinations of one another; "
            f"{codes[int(np.argmax(np.abs(vectors[:, 0])))]} can be computed from the others. "
            "Remedy: leave that item out."
        )


def _check_extraction(extraction: str, *, who: str) -> None:
    if extraction not in get_args(FactorExtraction):
        raise AnalysisInputError(
            f"{who} requires extraction 'minres' or 'ml'; got {extraction!r}. Remedy: choose one of the two "
            "('principal' would be a component analysis, which assumes items without error)."
        )


def _check_choice_of_rotation(rotation: str, *, who: str) -> None:
    if rotation not in get_args(Rotation):
        raise AnalysisInputError(
            f"{who} requires rotation 'oblimin', 'promax', 'varimax' or 'none'; got {rotation!r}. "
            "Remedy: use 'oblimin' unless there is a reason against correlated factors."
        )


def _check_factor_count(n_factors: int, n_items: int, *, who: str) -> None:
    possible = max((m for m in range(1, n_items) if (n_items - m) ** 2 >= n_items + m), default=0)
    if not 1 <= n_factors <= possible:
        raise AnalysisInputError(
            f"{who} requires 1 to {possible} factors for {n_items} items (no degrees of freedom are left "
            f"beyond); got {n_factors}. Remedy: extract fewer factors or add items."
        )
