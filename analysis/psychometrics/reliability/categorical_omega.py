"""Reliability of a sum of ordinal items as it is scored: categorical omega (Green & Yang 2009)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import least_squares
from scipy.special import ndtr

from analysis.psychometrics.correlations.bivariate_normal import bivariate_normal_cdf
from analysis.psychometrics.correlations.ordinal_moments import ordinal_moments
from analysis.psychometrics.errors import AnalysisInputError
from analysis.psychometrics.exploratory.factor_analysis import extract_factors
from analysis.psychometrics.response_matrix import (
    FloatArray,
    Missing,
    as_item_codes,
    read_only,
    smooth_to_positive_definite,
)

#: A loading this near to one leaves an item nothing of its own.
_LARGEST_LOADING = 1 - 1e-8


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CategoricalOmega:
    """Categorical omega of one scale with the one-factor solution of the latent responses behind it."""

    item_codes: tuple[str, ...]
    omega: float
    loadings: FloatArray  # (n_items,): standardised, of the latent responses
    thresholds: tuple[FloatArray, ...]
    categories: tuple[FloatArray, ...]
    missing: Missing
    n_used: int
    n_dropped: int
    converged: bool
    admissible: bool
    notes: tuple[str, ...]


def categorical_omega(
    data: npt.ArrayLike, *, item_codes: Sequence[str] | None = None, missing: Missing = "listwise"
) -> CategoricalOmega:
    """Estimate the reliability of the sum of ordinal items from one factor behind their latent responses.

    Parameters
    ----------
    data : array-like, shape (n_respondents, n_items)
        Answers with reversed items already turned round; NaN for missing. At least three items; few categories each.
    item_codes : sequence of str, optional
        Names for messages and results.
    missing : {'listwise', 'pairwise'}
        See `analysis.psychometrics.correlations.ordinal_moments.ordinal_moments`.

    Returns
    -------
    CategoricalOmega
        NaN with a note when a loading reaches one.

    Raises
    ------
    AnalysisInputError
        Fewer than three items, an item with one category, items that agree perfectly.

    Notes
    -----
    Green & Yang (2009), Psychometrika 74:155, eq. 21; Flora (2020). The factor is fitted to the polychoric correlations
    by diagonally weighted least squares with the inverse of their asymptotic variances (the estimates of WLSMV). Unlike
    "ordinal alpha" this is the reliability of the score in use. Answers count by their values; where an item does not
    use a category its neighbours lie two points apart.
    R: `semTools::compRelSEM(lavaan::cfa(model, x, ordered = TRUE), ord.scale = TRUE)`.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(1)
    >>> latent = rng.standard_normal((500, 1)) + rng.standard_normal((500, 4))
    >>> answers = np.digitize(latent, [-1.5, -0.5, 0.5, 1.5])
    >>> 0.7 < categorical_omega(answers).omega < 0.8
    True
    """
    who = "categorical_omega"
    moments = ordinal_moments(data, item_codes=item_codes, missing=missing, asymptotic="diagonal")
    codes = moments.item_codes
    n_items = len(codes)
    if n_items < 3:
        raise AnalysisInputError(
            f"{who} requires at least three items; got {n_items}. Remedy: report the Spearman–Brown coefficient of two."
        )
    pairs = np.triu_indices(n_items, k=1)
    assert moments.nacov_diagonal is not None  # asked for above; for the type checker
    weights = 1 / np.sqrt(moments.nacov_diagonal[-len(pairs[0]) :])
    loadings, converged = _weighted_factor(moments.correlation, weights)
    notes = list(moments.notes)
    too_large = [code for code, loading in zip(codes, loadings, strict=True) if abs(loading) >= _LARGEST_LOADING]
    if too_large:
        notes.append(f"Heywood case: the loading of {', '.join(too_large)} is one or more; no categorical omega")
    if not converged:
        notes.append("the one-factor fit to the polychoric correlations did not converge")
    against = [code for code, loading in zip(codes, loadings, strict=True) if loading < 0]
    if against:
        notes.append(f"negative loading, check the keying of {', '.join(against)}")
    omega = float("nan")
    if not too_large:
        omega = categorical_omega_of_model(
            moments.thresholds,
            np.outer(loadings, loadings),
            correlation=moments.correlation,
            steps=[np.diff(found) for found in moments.categories],
            item_codes=codes,
        )
    return CategoricalOmega(
        item_codes=codes,
        omega=omega,
        loadings=read_only(loadings),
        thresholds=moments.thresholds,
        categories=moments.categories,
        missing=missing,
        n_used=moments.n_used,
        n_dropped=moments.n_dropped,
        converged=converged,
        admissible=converged and not too_large,
        notes=tuple(notes),
    )


def categorical_omega_of_model(
    thresholds: Sequence[npt.ArrayLike],
    common: npt.ArrayLike,
    *,
    correlation: npt.ArrayLike,
    steps: Sequence[npt.ArrayLike] | None = None,
    item_codes: Sequence[str] | None = None,
) -> float:
    """Return the share of a sum score's variance that common factors of the latent responses explain.

    Parameters
    ----------
    thresholds : sequence of array-like, one per item
        In units of latent responses of variance one, ascending.
    common : array-like, shape (n_items, n_items)
        Λ Φ Λ' of the factors that count as true, standardised; its diagonal holds communalities.
    correlation : array-like, shape (n_items, n_items)
        Correlations of the latent responses: the polychoric ones (semTools' default), or the model's.
    steps : sequence of array-like, optional
        For each item the distances between neighbouring scores; one, if absent.
    item_codes : sequence of str, optional
        Names for messages.

    Raises
    ------
    AnalysisInputError
        Shapes that do not fit, correlations beyond one, or a score without variance.

    Notes
    -----
    Σ_jk [ΣΣ d_ja d_kb Φ₂(τ_ja, τ_kb; c_jk) − Σ d_ja Φ(τ_ja)·Σ d_kb Φ(τ_kb)] with c the common part, over the same with
    the correlations; Green & Yang (2009). R: `semTools:::omegaCat`.

    Examples
    --------
    >>> import numpy as np
    >>> common = np.full((4, 4), 0.49)
    >>> correlation = common + np.diag([0.51] * 4)
    >>> round(categorical_omega_of_model([[0.0]] * 4, common, correlation=correlation), 3)  # right or wrong
    0.659
    """
    who = "categorical_omega_of_model"
    cuts = [np.asarray(cut, dtype=np.float64) for cut in thresholds]
    shared, observed = (np.asarray(matrix, dtype=np.float64) for matrix in (common, correlation))
    codes = as_item_codes(item_codes, len(cuts), who=who)
    expected = (len(cuts), len(cuts))
    if shared.shape != expected or observed.shape != expected or any(cut.ndim != 1 or cut.size == 0 for cut in cuts):
        raise AnalysisInputError(
            f"{who} requires thresholds of every item and two matrices of the same items; got {len(cuts)} items and "
            f"shapes {shared.shape} and {observed.shape}. Remedy: pass all in the order of the items."
        )
    distances = (
        [np.ones(len(cut)) for cut in cuts] if steps is None else [np.asarray(s, dtype=np.float64) for s in steps]
    )
    if [len(step) for step in distances] != [len(cut) for cut in cuts]:
        raise AnalysisInputError(
            f"{who} requires one distance per threshold of each item. Remedy: pass numpy.diff of its scores."
        )
    full = observed.copy()
    np.fill_diagonal(full, 1.0)  # by definition; what stands there is not looked at
    if not (np.abs(shared).max() <= 1 + 1e-12 and np.abs(full).max() <= 1 + 1e-12):
        raise AnalysisInputError(
            f"{who} requires an admissible solution, with communalities and correlations of at most 1. "
            "Remedy: look for the item with a loading above one."
        )
    item = np.repeat(np.arange(len(cuts)), [len(cut) for cut in cuts])
    tau, step = np.concatenate(cuts), np.concatenate(distances)
    marginal = np.bincount(item, weights=step * ndtr(tau), minlength=len(cuts))
    baseline = float(marginal.sum()) ** 2
    weight = np.outer(step, step)

    def expected_product(matrix: FloatArray) -> float:
        rho = np.clip(matrix, -1.0, 1.0)[np.ix_(item, item)]
        return float(np.sum(weight * bivariate_normal_cdf(tau[:, None], tau[None, :], rho))) - baseline

    variance = expected_product(full)
    if not variance > 1e-12 * float(step.max()) ** 2:
        raise AnalysisInputError(
            f"{who} requires a sum score that varies; the items ({', '.join(codes[:8])}) cancel one another. "
            "Remedy: check which items have to be reversed."
        )
    return expected_product(shared) / variance


def _weighted_factor(correlation: FloatArray, weights: FloatArray) -> tuple[FloatArray, bool]:
    """Fit one factor to correlations by weighted least squares; return loadings that sum above zero."""
    n_items = len(correlation)
    first, second = np.triu_indices(n_items, k=1)
    target = correlation[first, second]
    rows = np.arange(len(first))

    def residuals(loadings: FloatArray) -> FloatArray:
        return weights * (loadings[first] * loadings[second] - target)

    def slopes(loadings: FloatArray) -> FloatArray:
        matrix = np.zeros((len(first), n_items))
        matrix[rows, first] = weights * loadings[second]
        matrix[rows, second] = weights * loadings[first]
        return matrix

    definite = smooth_to_positive_definite(correlation) if np.linalg.eigvalsh(correlation)[0] < 1e-8 else correlation
    start = np.clip(extract_factors(definite, n_factors=1).loadings[:, 0], -0.98, 0.98)
    start = np.where(np.abs(start) < 0.05, 0.05, start)
    # Scaled weights, so that the stopping rules do not depend on the number of respondents.
    outcome = least_squares(
        residuals, start, jac=slopes, method="lm", xtol=1e-12, ftol=1e-14, gtol=1e-12, max_nfev=2000
    )
    loadings = np.asarray(outcome.x, dtype=np.float64)
    return loadings * (-1 if loadings.sum() < 0 else 1), bool(outcome.success)
