"""Reliability of a composite: omega, Spearman–Brown for two items, and the standard error of measurement.

Cronbach's alpha comes from pingouin, behind `analysis.adapters.pingouin_alpha`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

from analysis.psychometrics.errors import AnalysisInputError
from analysis.psychometrics.response_matrix import FloatArray, as_item_codes, read_only

OneFactorExtraction = Literal["ml", "minres"]

#: The smallest uniqueness (share of an item's variance) that the fit allows; a fit resting on it is a Heywood case.
_LOWEST_UNIQUENESS = 0.005


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OmegaTotal:
    """Omega of a unidimensional composite with the one-factor solution behind it (in the items' own units)."""

    omega: float
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
    correlations with uniquenesses as free parameters (Jöreskog 1967), loadings taken back to the items' units.
    R: `psych::omega(R, nfactors = 1)$omega.tot` agrees for the sum of standardised items.

    Examples
    --------
    >>> import numpy as np
    >>> loadings = np.array([0.8, 0.7, 0.6])
    >>> model = np.outer(loadings, loadings) + np.diag(1 - loadings**2)
    >>> round(omega_total(model).omega, 3)
    0.745
    """
    matrix, codes = _as_covariance(covariance, item_codes)
    n_items = len(codes)
    if n_items == 2:
        unknown = np.full(2, np.nan)
        return OmegaTotal(
            omega=float("nan"),
            loadings=read_only(unknown),
            uniquenesses=read_only(unknown.copy()),
            extraction=extraction,
            converged=False,
            admissible=False,
            notes=("two items do not identify their loadings: use the Spearman–Brown coefficient",),
        )
    sd = np.sqrt(np.diag(matrix))
    correlation = matrix / np.outer(sd, sd)
    loadings, uniquenesses, converged = _one_factor(correlation, extraction)
    notes: list[str] = []
    heywood = [code for code, share in zip(codes, uniquenesses, strict=True) if share <= _LOWEST_UNIQUENESS * 1.001]
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


def _as_covariance(covariance: npt.ArrayLike, item_codes: Sequence[str] | None) -> tuple[FloatArray, tuple[str, ...]]:
    matrix = np.asarray(covariance, dtype=np.float64)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or matrix.shape[0] < 2:
        raise AnalysisInputError(
            f"omega_total requires a square covariance matrix of at least two items; got shape {matrix.shape}. "
            "Remedy: compute it with numpy.cov(rows, rowvar=False)."
        )
    codes = as_item_codes(item_codes, len(matrix), who="omega_total")
    if not np.isfinite(matrix).all() or not np.allclose(matrix, matrix.T, atol=1e-10 * float(np.abs(matrix).max())):
        raise AnalysisInputError(
            "omega_total requires a symmetric matrix of finite numbers; got NaN, infinite or unequal entries. "
            "Remedy: leave out the rows with missing answers before computing covariances."
        )
    constant = [code for code, variance in zip(codes, np.diag(matrix), strict=True) if not variance > 1e-12]
    if constant:
        raise AnalysisInputError(
            f"omega_total requires items that vary; without variance: {', '.join(constant)}. Remedy: leave them out."
        )
    return matrix, codes


def _one_factor(correlation: FloatArray, extraction: OneFactorExtraction) -> tuple[FloatArray, FloatArray, bool]:
    """Fit one factor to a correlation matrix; return loadings, uniquenesses and whether the search settled."""
    if extraction not in ("ml", "minres"):
        raise AnalysisInputError(
            f"omega_total requires extraction='ml' or 'minres'; got {extraction!r}. Remedy: choose one of the two."
        )
    n_items = len(correlation)

    def loadings_for(uniquenesses: FloatArray) -> FloatArray:
        if extraction == "ml":
            scale = 1 / np.sqrt(uniquenesses)
            values, vectors = np.linalg.eigh(correlation * np.outer(scale, scale))
            size, direction = values[-1] - 1, vectors[:, -1] / scale
        else:
            values, vectors = np.linalg.eigh(correlation - np.diag(uniquenesses))
            size, direction = values[-1], vectors[:, -1]
        return np.asarray(math.sqrt(max(float(size), 0.0)) * direction, dtype=np.float64)

    def likelihood(uniquenesses: FloatArray) -> tuple[float, FloatArray]:
        scale = 1 / np.sqrt(uniquenesses)
        values = np.linalg.eigvalsh(correlation * np.outer(scale, scale))[:-1]
        values = np.maximum(values, 1e-12)
        loss = float(np.sum(values - np.log(values)) - (n_items - 1))
        loadings = loadings_for(uniquenesses)
        gradient = (loadings**2 + uniquenesses - 1) / uniquenesses**2
        return loss, gradient

    def least_squares(uniquenesses: FloatArray) -> tuple[float, FloatArray]:
        loadings = loadings_for(uniquenesses)
        residual = correlation - np.diag(uniquenesses) - np.outer(loadings, loadings)
        return float(np.sum(residual**2)), -2 * np.diag(residual)

    # Squared multiple correlations are the customary start; a ridge keeps a singular matrix invertible.
    inverse = np.linalg.inv(correlation + 1e-6 * np.eye(n_items))
    start = np.clip(1 / np.diag(inverse), 0.05, 0.95)
    outcome = minimize(
        likelihood if extraction == "ml" else least_squares,
        start,
        jac=True,
        method="L-BFGS-B",
        bounds=[(_LOWEST_UNIQUENESS, 1.0)] * n_items,
        options={"maxiter": 2000, "ftol": 1e-15, "gtol": 1e-9},
    )
    loadings = loadings_for(outcome.x)
    if loadings.sum() < 0:
        loadings = -loadings
    # L-BFGS-B reports an abnormal line search when no digit is left to gain: judge by the gradient instead.
    _, gradient = (likelihood if extraction == "ml" else least_squares)(outcome.x)
    inside = (outcome.x > _LOWEST_UNIQUENESS * 1.001) & (outcome.x < 1 - 1e-9)
    settled = bool(outcome.success) or bool(np.all(np.abs(gradient[inside]) < 1e-5))
    return loadings, np.asarray(outcome.x, dtype=np.float64), settled


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
