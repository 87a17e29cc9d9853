"""Two outcomes of each dyad, regressed on shared predictors, with two correlated random intercepts of the clinician.

REML by its closed form for patients nested in clinicians: the likelihood needs, per clinician, only the number of
dyads, the means, and one pooled matrix of products within clinicians.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.special import stdtr, stdtrit

from analysis.psychometrics.errors import AnalysisInputError
from analysis.psychometrics.inference.few_clinicians import group_by_clinician, rules_for
from analysis.psychometrics.response_matrix import FloatArray, read_only

#: The six numbers behind the two covariance matrices: Cholesky factors, the diagonal of W's as logarithms.
_N_PARAMETERS: Final = 6
#: A variance between clinicians below this share of that within counts as zero.
_BOUNDARY: Final = 1e-4
_COMPLEX_STEP: Final = 1e-30


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BivariateIntercepts:
    """Coefficients and the two covariance matrices; coefficients of the first outcome come first.

    `se`, `df`, `pvalue` and the interval are NaN below 10 clinicians or where the solution did not converge.
    """

    names: tuple[str, ...]  # (2 × n_coefficients,)
    estimate: FloatArray
    se: FloatArray
    statistic: FloatArray
    df: FloatArray  # Satterthwaite
    pvalue: FloatArray
    ci_lower: FloatArray
    ci_upper: FloatArray
    covariance: FloatArray
    between: FloatArray  # (2, 2): of the clinicians' intercepts
    within: FloatArray  # (2, 2): of the residuals of one dyad
    between_correlation: float
    within_correlation: float
    icc: FloatArray  # (2,): share of the unexplained variance that lies between clinicians
    log_likelihood: float  # restricted
    converged: bool
    boundary: bool  # a variance between clinicians is zero, or their correlation ±1
    n_used: int
    n_dropped: int
    n_clinicians: int
    confidence: float
    notes: tuple[str, ...]


def regress_with_bivariate_intercepts(
    outcomes: npt.ArrayLike,
    predictors: npt.ArrayLike | None = None,
    *,
    clinicians: npt.ArrayLike,
    confidence: float = 0.95,
    predictor_names: Sequence[str] | None = None,
    outcome_names: Sequence[str] = ("patient", "clinician"),
) -> BivariateIntercepts:
    """Regress two outcomes of each dyad with correlated random intercepts of the clinician, by REML.

    Parameters
    ----------
    outcomes : array-like, shape (n_dyads, 2)
        The patient's and the clinician's outcome; NaN for missing.
    predictors : array-like, shape (n_dyads, n_predictors), optional
        Shared by both outcomes, without the intercept. Without predictors this is the reciprocal one-with-many model.
    clinicians : array-like, shape (n_dyads,)
        The clinician's key of each dyad.
    confidence : float
        Of the intervals.
    predictor_names, outcome_names : sequence of str
        For the coefficients' names.

    Returns
    -------
    BivariateIntercepts

    Raises
    ------
    AnalysisInputError
        No clinician with two dyads, fewer than three clinicians, no more dyads than coefficients, an outcome without
        variation within clinicians, dependent predictors.

    Notes
    -----
    y_ij = B'x_ij + u_i + e_ij, Cov(u) and Cov(e) free. Within clinicians the precision is Cov(e)⁻¹, of a mean of n
    dyads n (Cov(e) + n Cov(u))⁻¹; REML adds −½ ln|X'V⁻¹X|. Degrees of freedom by Satterthwaite's method for
    mixed models (Fai & Cornelius 1996). R: `nlme::lme(y ~ 0 + role + role:x, random = ~ 0 + role | cl,
    correlation = corSymm(form = ~ 1 | cl/dyad), weights = varIdent(form = ~ 1 | role))`.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(3)
    >>> clinicians = np.repeat(np.arange(60), 8)
    >>> y = rng.standard_normal((60, 2))[clinicians] + rng.standard_normal((480, 2))
    >>> fit = regress_with_bivariate_intercepts(y, clinicians=clinicians)
    >>> fit.converged, bool(abs(fit.icc[0] - 0.5) < 0.15)
    (True, True)
    """
    who = "regress_with_bivariate_intercepts"
    y = np.asarray(outcomes, dtype=np.float64)
    if y.ndim != 2 or y.shape[1] != 2:
        raise AnalysisInputError(
            f"{who} requires two outcomes per dyad; got an array of shape {y.shape}. "
            "Remedy: pass the patient's and the clinician's score as two columns."
        )
    if not 0 < confidence < 1:
        raise AnalysisInputError(f"{who} requires a confidence between 0 and 1; got {confidence}. Remedy: use 0.95.")
    x = np.empty((len(y), 0)) if predictors is None else np.asarray(predictors, dtype=np.float64)
    if x.ndim != 2 or len(x) != len(y):
        raise AnalysisInputError(
            f"{who} requires one row of predictors per dyad; got shape {x.shape} for {len(y)} dyads. "
            "Remedy: take both from the same table."
        )
    names = tuple(predictor_names) if predictor_names is not None else tuple(f"x{k + 1}" for k in range(x.shape[1]))
    all_groups = group_by_clinician(clinicians, who=who, n_rows=len(y))
    kept = np.isfinite(y).all(axis=1) & np.isfinite(x).all(axis=1)
    if int(kept.sum()) <= x.shape[1] + 1:
        raise AnalysisInputError(
            f"{who} requires more complete dyads than coefficients; got {int(kept.sum())} of {len(y)}. "
            "Remedy: collect more forms of both roles."
        )
    y, x = y[kept], x[kept]
    groups = group_by_clinician(np.asarray(all_groups.labels)[all_groups.codes][kept], who=who)
    if groups.n_clinicians < 3 or groups.n_with_one_patient == groups.n_clinicians:
        raise AnalysisInputError(
            f"{who} requires three clinicians or more, one of them with two dyads; got {groups.n_clinicians} "
            f"clinicians, {groups.n_with_one_patient} of them with one dyad. Remedy: collect more dyads per clinician."
        )
    centre = x.mean(axis=0)
    spread = x.std(axis=0)
    if (spread <= 1e-12 * np.maximum(np.abs(centre), 1e-300)).any():
        constant = names[int(np.argmin(spread))]
        raise AnalysisInputError(f"{who} requires predictors that vary; {constant} is constant. Remedy: leave it out.")
    design = np.column_stack([np.ones(len(x)), (x - centre) / spread])
    if np.linalg.matrix_rank(design) < design.shape[1]:
        raise AnalysisInputError(
            f"{who} requires predictors that are not combinations of one another; got {x.shape[1]} of rank "
            f"{np.linalg.matrix_rank(design) - 1}. Remedy: leave the repeated ones out."
        )
    outcome_sd = y.std(axis=0)
    likelihood = _Likelihood(y / np.where(outcome_sd > 0, outcome_sd, 1.0), design, groups.codes, groups.sizes)
    start = likelihood.start()
    if start is None:
        raise AnalysisInputError(
            f"{who} requires outcomes that vary among the patients of a clinician, and not one as a copy of the other; "
            "got none of that variation. Remedy: check the two outcome columns."
        )
    solution = minimize(likelihood.value, start, jac=likelihood.gradient, method="BFGS", options={"gtol": 1e-7})
    # BFGS reports "precision loss" when it cannot improve any more; the gradient tells whether that is the optimum.
    converged = bool(np.abs(likelihood.gradient(solution.x)).max() < 1e-4)
    parameters = np.asarray(solution.x, dtype=np.float64)
    between, within = (np.real(part) for part in _matrices(parameters))
    coefficients, coefficient_covariance = likelihood.coefficients(parameters)
    # Back from standardised predictors and outcomes.
    n_coefficients = design.shape[1]
    back = np.diag(np.concatenate([[1.0], 1 / spread]))
    back[0, 1:] = -centre / spread
    transform = np.asarray(np.kron(np.diag(outcome_sd), back), dtype=np.float64)
    estimate = transform @ coefficients.T.reshape(-1)
    covariance = transform @ np.real(coefficient_covariance) @ transform.T
    scale = np.outer(outcome_sd, outcome_sd)
    rules = rules_for(groups.n_clinicians)
    notes = list(rules.notes)
    relative = np.diag(between) / np.diag(within)
    correlation = between[0, 1] / np.sqrt(between[0, 0] * between[1, 1]) if (relative > _BOUNDARY).all() else np.nan
    boundary = bool((relative <= _BOUNDARY).any() or abs(correlation) > 1 - 1e-4)
    if boundary:
        notes.append(
            "the variance between clinicians of an outcome is zero, or its correlation ±1: the solution lies on the "
            "boundary, so the correlation between clinicians is not estimable"
        )
    if not converged:
        notes.append("the optimiser did not reach the maximum: no standard errors")
    size = 2 * n_coefficients
    se, df = np.full(size, np.nan), np.full(size, np.nan)
    if rules.inference and converged:
        se = np.sqrt(np.diag(covariance))
        df = likelihood.satterthwaite(parameters, transform)
        if not np.isfinite(df).all():
            notes.append(
                "degrees of freedom undefined at the boundary: the normal distribution is used for these tests"
            )
    used_df = np.where(np.isfinite(df), df, np.inf)
    statistic = estimate / se
    with np.errstate(invalid="ignore"):
        quantile = np.asarray([_t_quantile(value, (1 + confidence) / 2) for value in used_df])
        pvalue = 2 * np.asarray([_t_tail(t, value) for t, value in zip(np.abs(statistic), used_df, strict=True)])
    n_singles = groups.n_with_one_patient
    if n_singles:
        notes.append(f"{n_singles} clinician(s) with one dyad say nothing about differences among their patients")
    constant_term = -(2 * len(y) - size) / 2 * np.log(2 * np.pi)
    # The likelihood was computed of y / sd and standardised x: back by the Jacobians of both.
    jacobian = -len(y) * np.log(outcome_sd).sum() + n_coefficients * np.log(outcome_sd).sum() - 2 * np.log(spread).sum()
    return BivariateIntercepts(
        names=tuple(f"{outcome}: {name}" for outcome in outcome_names for name in ("intercept", *names)),
        estimate=read_only(estimate),
        se=read_only(se),
        statistic=read_only(statistic),
        df=read_only(df),
        pvalue=read_only(pvalue),
        ci_lower=read_only(estimate - quantile * se),
        ci_upper=read_only(estimate + quantile * se),
        covariance=read_only(covariance),
        between=read_only(between * scale),
        within=read_only(within * scale),
        between_correlation=np.nan if boundary else float(correlation),
        within_correlation=float(within[0, 1] / np.sqrt(within[0, 0] * within[1, 1])),
        icc=read_only(np.diag(between) / (np.diag(between) + np.diag(within))),
        log_likelihood=float(-solution.fun + constant_term + jacobian),
        converged=converged,
        boundary=boundary,
        n_used=len(y),
        n_dropped=int((~kept).sum()),
        n_clinicians=groups.n_clinicians,
        confidence=confidence,
        notes=tuple(notes),
    )


def _t_quantile(df: float, probability: float) -> float:
    # The t distribution with very many degrees of freedom is the normal one.
    return float(stdtrit(min(df, 1e8), probability))


def _t_tail(statistic: float, df: float) -> float:
    return float(stdtr(min(df, 1e8), -statistic))


def _matrices(parameters: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Return the covariance matrices between and within from their Cholesky factors (complex steps pass through)."""
    b11, b21, b22, log_w11, w21, log_w22 = parameters
    w11, w22 = np.exp(log_w11), np.exp(log_w22)
    between = np.array([[b11 * b11, b11 * b21], [b11 * b21, b21 * b21 + b22 * b22]])
    within = np.array([[w11 * w11, w11 * w21], [w11 * w21, w21 * w21 + w22 * w22]])
    return between, within


class _Likelihood:
    """Minus the restricted log-likelihood, without constants; gradients by complex steps (exact to rounding)."""

    def __init__(self, y: FloatArray, design: FloatArray, codes: npt.NDArray[Any], sizes: npt.NDArray[Any]) -> None:
        n_clinicians, p = len(sizes), design.shape[1]
        self._n, self._p, self._sizes = len(y), p, sizes.astype(np.float64)
        self._x_means = np.column_stack(
            [np.bincount(codes, weights=design[:, k], minlength=n_clinicians) / sizes for k in range(p)]
        )
        self._y_means = np.column_stack(
            [np.bincount(codes, weights=y[:, k], minlength=n_clinicians) / sizes for k in range(2)]
        )
        x_within, y_within = design - self._x_means[codes], y - self._y_means[codes]
        self._xx, self._xy, self._yy = x_within.T @ x_within, x_within.T @ y_within, y_within.T @ y_within
        # Clinicians with the same number of dyads share their covariance.
        self._distinct, where = np.unique(self._sizes, return_inverse=True)
        self._counts = np.bincount(where).astype(np.float64)
        pieces = [(self._x_means[where == g], self._y_means[where == g], size) for g, size in enumerate(self._distinct)]
        self._bxx = np.array([size * x.T @ x for x, _, size in pieces])
        self._bxy = np.array([size * x.T @ m for x, m, size in pieces])
        self._byy = np.array([size * m.T @ m for _, m, size in pieces])

    def start(self) -> FloatArray | None:
        """Return moment estimates, or None where there is no variation within clinicians."""
        degrees = max(self._n - len(self._sizes), 1)
        slopes = np.linalg.pinv(self._xx) @ self._xy
        within = (self._yy - self._xy.T @ slopes) / degrees
        values = np.linalg.eigvalsh(within)
        if not values[0] > 1e-10 * max(values[1], 1e-300) or not values[1] > 1e-12:
            return None
        total_slopes, *_ = np.linalg.lstsq(
            self._bxx.sum(axis=0) + self._xx, self._bxy.sum(axis=0) + self._xy, rcond=None
        )
        total = (self._byy.sum(axis=0) + self._yy - total_slopes.T @ (self._bxy.sum(axis=0) + self._xy)) / self._n
        between = total - within
        roots, vectors = np.linalg.eigh((between + between.T) / 2)
        between = (vectors * np.maximum(roots, 0.02 * np.trace(within))) @ vectors.T
        b, w = np.linalg.cholesky(between), np.linalg.cholesky(within)
        return np.array([b[0, 0], b[1, 0], b[1, 1], np.log(w[0, 0]), w[1, 0], np.log(w[1, 1])])

    def _normal_equations(self, parameters: npt.NDArray[Any]) -> tuple[Any, ...]:
        between, within = _matrices(parameters)
        mean_covariance = within[None] + self._distinct[:, None, None] * between[None]
        precision_within = _inverse(within[None])[0]
        precision_mean = _inverse(mean_covariance)
        information = np.kron(precision_within, self._xx) + sum(
            np.kron(precision, xx) for precision, xx in zip(precision_mean, self._bxx, strict=True)
        )
        right = self._xy @ precision_within + np.einsum("gpa,gab->pb", self._bxy, precision_mean)
        squares = (precision_within * self._yy).sum() + (precision_mean * self._byy).sum()
        log_determinant = (self._n - len(self._sizes)) * np.log(_determinant(within[None])[0]) + (
            self._counts * np.log(_determinant(mean_covariance))
        ).sum()
        return information, right.T.reshape(-1), squares, log_determinant

    def _value(self, parameters: npt.NDArray[Any]) -> Any:
        information, right, squares, log_determinant = self._normal_equations(parameters)
        solved = np.linalg.solve(information, right)
        # det and not slogdet: its logarithm is analytic, which the complex step needs.
        scale = float(np.abs(np.diag(information)).max())
        log_information = np.log(np.linalg.det(information / scale)) + len(right) * np.log(scale)
        return 0.5 * (log_determinant + squares - right @ solved + log_information)

    def value(self, parameters: FloatArray) -> float:
        return float(self._value(parameters))

    def gradient(self, parameters: FloatArray) -> FloatArray:
        steps = parameters.astype(complex)[None] + 1j * _COMPLEX_STEP * np.eye(_N_PARAMETERS)
        return np.array([self._value(step).imag for step in steps]) / _COMPLEX_STEP

    def coefficients(self, parameters: npt.NDArray[Any]) -> tuple[FloatArray, npt.NDArray[Any]]:
        """Return the coefficients, (p, 2), and their covariance, outcome after outcome."""
        information, right, _, _ = self._normal_equations(parameters)
        covariance = np.linalg.inv(information)
        return np.real(covariance @ right).reshape(2, self._p).T, covariance

    def satterthwaite(self, parameters: FloatArray, transform: FloatArray) -> FloatArray:
        """Return degrees of freedom 2 v² / Var(v) of each coefficient's variance v; NaN at the boundary."""
        hessian = np.empty((_N_PARAMETERS, _N_PARAMETERS))
        step = 1e-5
        for k, unit in enumerate(np.eye(_N_PARAMETERS)):
            hessian[k] = (self.gradient(parameters + step * unit) - self.gradient(parameters - step * unit)) / (
                2 * step
            )
        hessian = (hessian + hessian.T) / 2
        roots = np.linalg.eigvalsh(hessian)
        size = len(transform)
        if not roots[0] > 1e-6 * roots[-1]:
            return np.full(size, np.nan)
        spread = np.linalg.inv(hessian)
        slopes = np.empty((_N_PARAMETERS, size))
        for k, unit in enumerate(np.eye(_N_PARAMETERS)):
            _, stepped = self.coefficients(parameters + 1j * _COMPLEX_STEP * unit)
            slopes[k] = np.diag(transform @ (stepped.imag / _COMPLEX_STEP) @ transform.T)
        _, covariance = self.coefficients(parameters)
        variances = np.diag(transform @ np.real(covariance) @ transform.T)
        return np.asarray(2 * variances**2 / np.einsum("ks,kl,ls->s", slopes, spread, slopes), dtype=np.float64)


def _determinant(matrices: npt.NDArray[Any]) -> npt.NDArray[Any]:
    product: npt.NDArray[Any] = matrices[:, 0, 0] * matrices[:, 1, 1] - matrices[:, 0, 1] * matrices[:, 1, 0]
    return product


def _inverse(matrices: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return inverses of 2×2 matrices."""
    swapped = np.empty_like(matrices)
    swapped[:, 0, 0], swapped[:, 1, 1] = matrices[:, 1, 1], matrices[:, 0, 0]
    swapped[:, 0, 1], swapped[:, 1, 0] = -matrices[:, 0, 1], -matrices[:, 1, 0]
    inverse: npt.NDArray[Any] = swapped / _determinant(matrices)[:, None, None]
    return inverse
