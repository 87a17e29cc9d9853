"""Polynomial regression of an outcome on the patient's and the clinician's score, and the surface that it draws.

The question is what agreement, disagreement and its direction have to do with an outcome, without the confusions of a
difference score.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy.spatial import ConvexHull, QhullError
from scipy.special import chdtrc, stdtrit

from analysis.psychometrics.errors import AnalysisInputError
from analysis.psychometrics.inference.few_clinicians import ClinicianGroups, group_by_clinician, rules_for
from analysis.psychometrics.inference.resampling import (
    ClusterBootstrap,
    Progress,
    WeightedStatistic,
    bootstrap_clinicians,
)
from analysis.psychometrics.inference.robust_inference import (
    ClusteredRegression,
    ContrastTests,
    WaldTest,
    combine_coefficients,
    regress_clustered,
    wald_test,
    wild_bootstrap_test,
)
from analysis.psychometrics.response_matrix import FloatArray, read_only

#: b0 … b5 stand for intercept, patient, clinician, patient², patient × clinician, clinician².
_TERMS: Final = ("patient", "clinician", "patient²", "patient × clinician", "clinician²")
#: a1 … a5: slope and curvature along agreement, along disagreement, and how far the ridge is turned.
_SURFACE: Final = np.array(
    [
        [0.0, 1, 1, 0, 0, 0],
        [0.0, 0, 0, 1, 1, 1],
        [0.0, 1, -1, 0, 0, 0],
        [0.0, 0, 0, 1, -1, 1],
        [0.0, 0, 0, 1, 0, -1],
    ]
)
_GEOMETRY: Final = ("x0", "y0", "p10", "p11", "p20", "p21")
#: Constraints on b0 … b5 that turn the full model into each rival.
_RIVALS: Final[dict[str, list[list[float]]]] = {
    "additive": [[0, 0, 0, 1, 0, 0], [0, 0, 0, 0, 1, 0], [0, 0, 0, 0, 0, 1]],
    "patient only": [[0, 0, 1, 0, 0, 0], [0, 0, 0, 1, 0, 0], [0, 0, 0, 0, 1, 0], [0, 0, 0, 0, 0, 1]],
    "clinician only": [[0, 1, 0, 0, 0, 0], [0, 0, 0, 1, 0, 0], [0, 0, 0, 0, 1, 0], [0, 0, 0, 0, 0, 1]],
    "difference": [[0, 1, 1, 0, 0, 0], [0, 0, 0, 1, 0, 0], [0, 0, 0, 0, 1, 0], [0, 0, 0, 0, 0, 1]],
    "squared difference": [[0, 1, 0, 0, 0, 0], [0, 0, 1, 0, 0, 0], [0, 0, 0, 1, 0, -1], [0, 0, 0, 2, 1, 0]],
    "null": [[0, 1, 0, 0, 0, 0], [0, 0, 1, 0, 0, 0], [0, 0, 0, 1, 0, 0], [0, 0, 0, 0, 1, 0], [0, 0, 0, 0, 0, 1]],
}
#: A standardised discrepancy above this many SDs counts as one person rating higher (Shanock et al. 2010).
_DISCREPANT: Final = 0.5
_RARE_SIDE: Final = 0.10
#: Scores whose spreads differ by more than this are not on one scale.
_SCALE_RATIO: Final = 1000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SurfacePoint:
    """A figure of the surface's geometry with its delta-method error and an interval."""

    name: str
    estimate: float
    se: float
    ci_lower: float
    ci_upper: float
    interval_method: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RivalModel:
    """A simpler model beside the full one. Likelihoods take dyads as independent; the F test is with CR2."""

    name: str
    n_parameters: int  # with the residual variance, as R counts
    r_squared: float
    log_likelihood: float
    aic: float
    aic_weight: float
    chisq: float  # against the full model
    df: int
    pvalue: float
    robust_f: float
    robust_df: float
    robust_pvalue: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CongruenceCheck:
    """One condition of congruence; `holds` is None where it cannot be decided."""

    name: str
    required: str
    estimate: float
    ci_lower: float
    ci_upper: float
    holds: bool | None
    strict_only: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ConditionBasedRegression:
    """Does rating higher than the other go with the outcome, beyond both levels? (Humberg et al. 2018)"""

    c_clinician: float
    c_clinician_pvalue: float
    c_patient: float
    c_patient_pvalue: float
    opposite_signs: bool
    contrast: float  # |c1 − c2| − |c1 + c2|: above zero where the signs are opposite
    contrast_se: float
    contrast_df: float
    contrast_pvalue: float  # one-sided: contrast > 0
    supported: bool | None
    direction: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ResponseSurface:
    """The full second-degree regression, its surface, its rivals, and what they allow to be said."""

    regression: ClusteredRegression  # b0 … b5
    surface: ContrastTests  # a1 … a5
    surface_wild_pvalue: FloatArray  # (5,): wild cluster bootstrap, with 10 to 19 clinicians; NaN else
    geometry: tuple[SurfacePoint, ...]  # stationary point, first and second principal axis
    any_effect: WaldTest  # all five slopes at once
    rivals: tuple[RivalModel, ...]  # the full model first
    best_by_aic: str
    checks: tuple[CongruenceCheck, ...]
    congruence: str
    condition_based: ConditionBasedRegression
    n_clinician_higher: int
    n_alike: int
    n_patient_higher: int
    hull: FloatArray  # (n_corners, 2): corners of the data (patient, clinician), uncentred
    stationary_inside: bool | None
    midpoint: float
    n_used: int
    n_dropped: int
    n_clinicians: int
    notes: tuple[str, ...]


def fit_response_surface(
    patient: npt.ArrayLike,
    clinician: npt.ArrayLike,
    outcome: npt.ArrayLike,
    *,
    clinicians: npt.ArrayLike | None,
    rng: np.random.Generator,
    midpoint: float = 50.0,
    n_draws: int = 2000,
    confidence: float = 0.95,
    progress: Progress | None = None,
) -> ResponseSurface:
    """Fit the second-degree polynomial of both scores and test congruence with everything that it needs.

    Parameters
    ----------
    patient, clinician : array-like, shape (n_dyads,)
        Both persons' scores on the same scale; NaN for missing.
    outcome : array-like, shape (n_dyads,)
        From outside the pair of scores.
    clinicians : array-like, shape (n_dyads,), or None
        The clinician's key of each dyad; None takes dyads as independent.
    rng : numpy.random.Generator
        For the intervals of the principal axes.
    midpoint : float
        The scale's midpoint, where both scores are centred (50 on 0–100; not the mean).
    n_draws : int
        Resamples of clinicians.
    confidence : float
        Of every interval.
    progress : callable, optional
        Called with the share done and a text.

    Returns
    -------
    ResponseSurface

    Raises
    ------
    AnalysisInputError
        Lengths that do not match, seven complete dyads or fewer, scores that do not vary or determine one another,
        scores without any discrepancy.

    Notes
    -----
    Z = b0 + b1 X + b2 Y + b3 X² + b4 XY + b5 Y²; a1 = b1 + b2, a2 = b3 + b4 + b5, a3 = b1 − b2, a4 = b3 − b4 + b5,
    a5 = b3 − b5 by linear combination of the CR2 covariance; axes and stationary point by the delta method, and by
    resampling clinicians from 20. Congruence needs a4 < 0 and a first principal axis along X = Y (p10 = 0, p11 = 1);
    strictly also a1 = a2 = 0. Edwards & Parry (1993, Acad Manage J 36:1577); Humberg et al. (2019, Soc Psychol Personal
    Sci 10:409); condition-based regression: Humberg et al. (2018, Collabra 4:37). R: `lm`,
    `clubSandwich::vcovCR`, `AIC`.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(6)
    >>> p, c = 50 + 20 * rng.standard_normal((2, 400))
    >>> z = 60 - 0.01 * (p - c) ** 2 + 5 * rng.standard_normal(400)
    >>> fit_response_surface(p, c, z, clinicians=np.repeat(np.arange(40), 10), rng=rng, n_draws=200).best_by_aic
    'squared difference'
    """
    who = "fit_response_surface"
    scores = [
        _column(values, what, who)
        for values, what in ((patient, "patient"), (clinician, "clinician"), (outcome, "outcome"))
    ]
    lengths = [len(column) for column in scores]
    if len(set(lengths)) > 1:
        raise AnalysisInputError(
            f"{who} requires one value of each per dyad; got {lengths[0]} of patients, {lengths[1]} of clinicians and "
            f"{lengths[2]} outcomes. Remedy: take all three from the same table."
        )
    for column, what in zip(scores, ("patient's score", "clinician's score", "outcome"), strict=True):
        if np.isnan(column).all():
            raise AnalysisInputError(
                f"{who} requires both roles and an outcome; the {what} has no value at all. "
                "Remedy: check that the forms were imported and the column named."
            )
    keys = np.arange(lengths[0]) if clinicians is None else np.asarray(clinicians)
    all_groups = group_by_clinician(keys, who=who, n_rows=lengths[0])
    table = np.column_stack(scores)
    kept = np.asarray(np.isfinite(table).all(axis=1), dtype=np.bool_)
    if int(kept.sum()) < 8:
        raise AnalysisInputError(
            f"{who} requires at least 8 complete dyads for six coefficients; got {int(kept.sum())} of {len(kept)}. "
            "Remedy: collect more pairs of forms (200 for a small effect)."
        )
    p, c, z = table[kept].T
    x, y = p - midpoint, c - midpoint
    spread = max(float(x.std()), float(y.std()))
    if float((x - y).std()) <= 1e-9 * max(spread, 1e-300):
        raise AnalysisInputError(
            f"{who} requires dyads that differ in their discrepancy; patient and clinician differ by the same amount "
            f"in all {len(x)}. Remedy: check that the two columns are the two roles."
        )
    if min(float(x.std()), float(y.std())) * _SCALE_RATIO < spread and min(x.std(), y.std()) > 0:
        raise AnalysisInputError(
            f"{who} requires both scores on one scale; their standard deviations are {x.std():.3g} and {y.std():.3g}. "
            "Remedy: put both on 0 to 100."
        )
    labels = np.asarray(all_groups.labels)[all_groups.codes][kept]
    groups = group_by_clinician(labels, who=who)
    rules = rules_for(groups.n_clinicians)
    regression = regress_clustered(z, _terms(x, y), clinicians=labels, confidence=confidence, predictor_names=_TERMS)
    surface = combine_coefficients(regression, _SURFACE, names=("a1", "a2", "a3", "a4", "a5"))
    bootstrap = bootstrap_clinicians(
        _geometry_of_sums(x, y, z, groups),
        n_clinicians=groups.n_clinicians,
        n_draws=n_draws,
        rng=rng,
        confidence=confidence,
        names=_GEOMETRY,
        progress=progress,
    )
    wild = np.full(len(_SURFACE), np.nan)
    if rules.wild_bootstrap:
        tests = [wild_bootstrap_test(regression, row, rng=rng, n_draws=max(n_draws, 99)) for row in _SURFACE]
        wild = np.array([test.pvalue for test in tests])
    geometry = _geometry(regression, bootstrap)
    any_effect = wald_test(regression, np.eye(6)[1:])
    checks = _checks(surface, geometry)
    rivals = _rivals(x, y, z, regression, withhold=clinicians is not None and not rules.cluster_bootstrap)
    corners, inside = _hull(np.column_stack([p, c]), geometry, midpoint)
    standardised = [(column - column.mean()) / column.std(ddof=1) for column in (p, c)]
    gap = standardised[1] - standardised[0]
    n_higher, n_lower = int((gap > _DISCREPANT).sum()), int((gap < -_DISCREPANT).sum())
    notes = [*rules.notes, *(note for note in bootstrap.notes if note not in rules.notes)]
    if clinicians is None:
        notes.append("dyads are taken as independent: pass the clinician's key if a clinician has several patients")
    for count, words in ((n_higher, "the clinician rates higher"), (n_lower, "the patient rates higher")):
        if count < _RARE_SIDE * len(p):
            notes.append(
                f"only {count} of {len(p)} dyads in which {words} by half a standard deviation: do not read the "
                "surface on that side, nor beyond the hull of the data"
            )
    if len(p) < 200:
        notes.append(f"{len(p)} dyads: small effects of five slopes need about 200")
    if inside is False:
        notes.append("the stationary point lies outside the data: axes and their intercepts are extrapolations")
    notes.append("one parameter alone shows nothing, and congruence does not tell which direction of mismatch is worse")
    return ResponseSurface(
        regression=regression,
        surface=surface,
        surface_wild_pvalue=read_only(wild),
        geometry=geometry,
        any_effect=any_effect,
        rivals=rivals,
        best_by_aic=min(rivals, key=lambda rival: rival.aic).name,
        checks=checks,
        congruence=_verdict(checks, any_effect, 1 - confidence),
        condition_based=_condition_based(x, y, z, labels, confidence),
        n_clinician_higher=n_higher,
        n_alike=len(p) - n_higher - n_lower,
        n_patient_higher=n_lower,
        hull=read_only(corners),
        stationary_inside=inside,
        midpoint=midpoint,
        n_used=len(p),
        n_dropped=int((~kept).sum()),
        n_clinicians=groups.n_clinicians,
        notes=tuple(notes),
    )


def predict_surface(result: ResponseSurface, patient: npt.ArrayLike, clinician: npt.ArrayLike) -> FloatArray:
    """Return the predicted outcome at pairs of scores, NaN outside the hull of the data.

    Parameters
    ----------
    result : ResponseSurface
        From `fit_response_surface`.
    patient, clinician : array-like of the same shape
        Scores on the original scale.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(6)
    >>> p, c = 50 + 20 * rng.standard_normal((2, 100))
    >>> result = fit_response_surface(p, c, p + c, clinicians=None, rng=rng, n_draws=20)
    >>> bool(np.isnan(predict_surface(result, [50.0, 900.0], [50.0, 0.0])[1]))
    True
    """
    p, c = np.asarray(patient, dtype=np.float64), np.asarray(clinician, dtype=np.float64)
    x, y = p - result.midpoint, c - result.midpoint
    b = result.regression.estimate
    predicted = b[0] + b[1] * x + b[2] * y + b[3] * x**2 + b[4] * x * y + b[5] * y**2
    inside = _within(result.hull, np.column_stack([p.reshape(-1), c.reshape(-1)])).reshape(p.shape)
    return np.where(inside, predicted, np.nan)


def _column(values: npt.ArrayLike, what: str, who: str) -> FloatArray:
    try:
        column = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise AnalysisInputError(
            f"{who} requires numbers as {what}; got something that does not convert. "
            "Remedy: recode text to numbers and missing values to NaN."
        ) from None
    if column.ndim != 1:
        raise AnalysisInputError(
            f"{who} requires one column as {what}; got an array of shape {column.shape}. Remedy: choose one score."
        )
    return column


def _terms(x: FloatArray, y: FloatArray) -> FloatArray:
    return np.column_stack([x, y, x**2, x * y, y**2])


def _shape(b: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return x0, y0, p10, p11, p20, p21 of coefficients (…, 6); NaN where the surface has none."""
    b1, b2, b3, b4, b5 = (b[..., k] for k in range(1, 6))
    with np.errstate(divide="ignore", invalid="ignore"):
        determinant = 4 * b3 * b5 - b4**2
        x0 = (b2 * b4 - 2 * b1 * b5) / determinant
        y0 = (b1 * b4 - 2 * b2 * b3) / determinant
        root = np.sqrt((b3 - b5) ** 2 + b4**2)
        p11 = (b5 - b3 + root) / b4
        p21 = (b5 - b3 - root) / b4
        shape = np.stack([x0, y0, y0 - p11 * x0, p11, y0 - p21 * x0, p21], axis=-1)
    return np.where(np.isfinite(shape), shape, np.nan)


def _geometry_of_sums(x: FloatArray, y: FloatArray, z: FloatArray, groups: ClinicianGroups) -> WeightedStatistic:
    """Return the geometry as a function of how often each clinician was drawn."""
    scale = max(float(np.abs(x).max()), float(np.abs(y).max()), 1e-300)
    design = np.column_stack([np.ones(len(x)), _terms(x / scale, y / scale)])[groups.order]
    products = np.concatenate(
        [design[:, :, None] * design[:, None, :], (design * z[groups.order, None])[:, :, None]], axis=2
    )
    sums = np.add.reduceat(products, groups.starts, axis=0).reshape(groups.n_clinicians, -1)
    back = scale ** -np.array([0.0, 1, 1, 2, 2, 2])

    def geometry(counts: FloatArray) -> FloatArray:
        moments = (counts @ sums).reshape(len(counts), 6, 7)
        square = moments[:, :, :6].copy()
        singular = np.linalg.cond(square) > 1e13
        square[singular] = np.eye(6)
        coefficients = np.linalg.solve(square, moments[:, :, 6:])[:, :, 0] * back
        coefficients[singular] = np.nan
        return _shape(coefficients)

    return geometry


def _geometry(fit: ClusteredRegression, bootstrap: ClusterBootstrap) -> tuple[SurfacePoint, ...]:
    estimate = _shape(fit.estimate)
    # Complex steps differentiate the closed forms to rounding.
    step = 1e-20
    gradient = np.array([_shape(fit.estimate + 1j * step * unit).imag / step for unit in np.eye(6)])
    variance = np.einsum("ks,kl,ls->s", gradient, fit.covariance, gradient)
    inference = bool(np.isfinite(fit.se).any())
    points = []
    for k, name in enumerate(_GEOMETRY):
        se = float(np.sqrt(variance[k])) if inference and np.isfinite(variance[k]) else np.nan
        lower, upper = float(bootstrap.ci_lower[k]), float(bootstrap.ci_upper[k])
        method = "bootstrap of clinicians"
        if not np.isfinite(lower):
            half = float(stdtrit(float(np.nanmin(fit.df)), (1 + fit.confidence) / 2)) * se if inference else np.nan
            lower, upper, method = float(estimate[k] - half), float(estimate[k] + half), "delta method"
        points.append(
            SurfacePoint(
                name=name,
                estimate=float(estimate[k]),
                se=se,
                ci_lower=lower,
                ci_upper=upper,
                interval_method=method if np.isfinite(lower) else "none",
            )
        )
    return tuple(points)


def _checks(surface: ContrastTests, geometry: tuple[SurfacePoint, ...]) -> tuple[CongruenceCheck, ...]:
    points = {point.name: point for point in geometry}
    position = {name: k for k, name in enumerate(surface.names)}

    def of_surface(name: str, required: str, *, strict_only: bool = False) -> CongruenceCheck:
        k = position[name]
        lower, upper = float(surface.ci_lower[k]), float(surface.ci_upper[k])
        holds: bool | None = None
        if np.isfinite(lower):
            holds = upper < 0 if required == "below 0" else lower <= 0 <= upper
        return CongruenceCheck(
            name=name,
            required=required,
            estimate=float(surface.estimate[k]),
            ci_lower=lower,
            ci_upper=upper,
            holds=holds,
            strict_only=strict_only,
        )

    def of_axis(name: str, value: float) -> CongruenceCheck:
        point = points[name]
        return CongruenceCheck(
            name=name,
            required=f"not different from {value:.0f}",
            estimate=point.estimate,
            ci_lower=point.ci_lower,
            ci_upper=point.ci_upper,
            holds=point.ci_lower <= value <= point.ci_upper if np.isfinite(point.ci_lower) else None,
            strict_only=False,
        )

    return (
        of_surface("a4", "below 0"),
        of_axis("p10", 0.0),
        of_axis("p11", 1.0),
        of_surface("a3", "not different from 0"),
        of_surface("a5", "not different from 0"),
        of_surface("a1", "not different from 0", strict_only=True),
        of_surface("a2", "not different from 0", strict_only=True),
    )


def _verdict(checks: tuple[CongruenceCheck, ...], any_effect: WaldTest, level: float) -> str:
    needed = [check for check in checks if not check.strict_only]
    if any(check.holds is None for check in checks) or not np.isfinite(any_effect.pvalue):
        return "undecided: an interval or the test of any effect is missing"
    if not any_effect.pvalue < level:
        return "not supported: the two scores do not explain the outcome"
    failed = [check.name for check in needed if not check.holds]
    if failed:
        return f"not supported: {', '.join(failed)}"
    if all(check.holds for check in checks):
        return "supported, strictly"
    return "supported, broadly: the level of agreement matters as well (a1 or a2)"


def _rivals(
    x: FloatArray, y: FloatArray, z: FloatArray, fit: ClusteredRegression, *, withhold: bool
) -> tuple[RivalModel, ...]:
    n = len(z)
    # A rival is the full model under linear constraints; its residual sum follows by projection.
    bread = fit.sums.bread
    design = np.column_stack([np.ones(n), _terms(x, y)])
    full = float(((z - design @ fit.estimate) ** 2).sum())
    total = float(((z - z.mean()) ** 2).sum())
    fitted: list[tuple[str, int, float, WaldTest | None]] = [("full", 0, full, None)]
    for name, rows in _RIVALS.items():
        constraints = np.array(rows)
        off = constraints @ fit.estimate
        extra = float(off @ np.linalg.solve(constraints @ bread @ constraints.T, off))
        fitted.append((name, len(rows), full + extra, wald_test(fit, constraints)))
    likelihoods = [-n / 2 * (np.log(2 * np.pi * left / n) + 1) if left > 0 else np.nan for _, _, left, _ in fitted]
    aics = [2 * (7 - df) - 2 * value for (_, df, _, _), value in zip(fitted, likelihoods, strict=True)]
    relative = (
        np.exp(-(np.array(aics) - np.nanmin(aics)) / 2) if np.isfinite(aics).any() else np.full(len(aics), np.nan)
    )
    weights = relative / np.nansum(relative)
    rivals = []
    for k, (name, df, left, test) in enumerate(fitted):
        chisq = 2 * (likelihoods[0] - likelihoods[k])
        known = df > 0 and np.isfinite(chisq) and not withhold
        rivals.append(
            RivalModel(
                name=name,
                n_parameters=7 - df,
                r_squared=1 - left / total if total > 0 else np.nan,
                log_likelihood=float(likelihoods[k]),
                aic=float(aics[k]),
                aic_weight=float(weights[k]),
                chisq=float(chisq),
                df=df,
                pvalue=float(chdtrc(df, max(chisq, 0.0))) if known else np.nan,
                robust_f=test.statistic if test is not None else np.nan,
                robust_df=test.df_denominator if test is not None else np.nan,
                robust_pvalue=test.pvalue if test is not None else np.nan,
            )
        )
    return tuple(rivals)


def _condition_based(
    x: FloatArray, y: FloatArray, z: FloatArray, labels: npt.NDArray[np.str_], confidence: float
) -> ConditionBasedRegression:
    fit = regress_clustered(
        z, np.column_stack([y, x]), clinicians=labels, confidence=confidence, predictor_names=("clinician", "patient")
    )
    c1, c2 = float(fit.estimate[1]), float(fit.estimate[2])
    # |c1 − c2| − |c1 + c2| is linear while neither sum changes its sign: twice the smaller of the two, up to sign.
    along, across = np.sign(c1 - c2) or 1.0, np.sign(c1 + c2) or 1.0
    contrast = combine_coefficients(fit, [[0.0, along - across, -along - across]])
    opposite = c1 * c2 < 0
    two_sided = float(contrast.pvalue[0])
    above = float(contrast.estimate[0]) > 0
    pvalue = two_sided / 2 if above else 1 - two_sided / 2
    supported = None if not np.isfinite(pvalue) else bool(opposite and pvalue < 1 - confidence)
    direction = "none"
    if supported:
        direction = (
            "the outcome is higher where the clinician rates higher than the patient"
            if c1 > 0
            else "the outcome is lower where the clinician rates higher than the patient"
        )
    return ConditionBasedRegression(
        c_clinician=c1,
        c_clinician_pvalue=float(fit.pvalue[1]),
        c_patient=c2,
        c_patient_pvalue=float(fit.pvalue[2]),
        opposite_signs=opposite,
        contrast=float(contrast.estimate[0]),
        contrast_se=float(contrast.se[0]),
        contrast_df=float(contrast.df[0]),
        contrast_pvalue=pvalue,
        supported=supported,
        direction=direction,
    )


def _hull(points: FloatArray, geometry: tuple[SurfacePoint, ...], midpoint: float) -> tuple[FloatArray, bool | None]:
    """Return the corners of the data's convex hull, counter-clockwise, and whether the stationary point lies in it."""
    try:
        corners = points[ConvexHull(points).vertices]
    except QhullError:
        return np.empty((0, 2)), None
    stationary = np.array([[geometry[0].estimate + midpoint, geometry[1].estimate + midpoint]])
    if not np.isfinite(stationary).all():
        return corners, None
    return corners, bool(_within(corners, stationary)[0])


def _within(corners: FloatArray, points: FloatArray) -> npt.NDArray[np.bool_]:
    """Tell which points lie in a convex polygon given counter-clockwise, its edge included."""
    if len(corners) == 0:
        return np.zeros(len(points), dtype=np.bool_)
    edges = np.roll(corners, -1, axis=0) - corners
    towards = points[:, None, :] - corners[None]
    cross = edges[None, :, 0] * towards[:, :, 1] - edges[None, :, 1] * towards[:, :, 0]
    return np.asarray((cross >= -1e-9 * np.abs(edges).max()).all(axis=1), dtype=np.bool_)
