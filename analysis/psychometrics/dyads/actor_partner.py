"""The actor-partner interdependence model of distinguishable members: patient and clinician of one dyad.

Each role's outcome is explained by its own predictor (actor path) and by the other's (partner path).
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
from scipy.special import chdtrc, ndtr, ndtri, stdtrit

from analysis.psychometrics.dyads.bivariate_intercepts import BivariateIntercepts, regress_with_bivariate_intercepts
from analysis.psychometrics.errors import AnalysisInputError
from analysis.psychometrics.inference.few_clinicians import ClinicianGroups, group_by_clinician, rules_for
from analysis.psychometrics.inference.resampling import (
    ClusterBootstrap,
    IntervalMethod,
    Progress,
    WeightedStatistic,
    bootstrap_clinicians,
)
from analysis.psychometrics.inference.robust_inference import (
    ClusteredRegression,
    WaldTest,
    combine_coefficients,
    regress_clustered,
    wald_test,
    wild_bootstrap_test,
)
from analysis.psychometrics.response_matrix import FloatArray, read_only

Role = Literal["patient", "clinician"]

#: A k ratio divides by the actor path; below this standardised size it says nothing (Kenny & Ledermann 2010).
_SMALL_ACTOR: Final = 0.10
_ITERATIONS: Final = 500
#: Residuals of the two outcomes that correlate beyond this are one and the same.
_SINGULAR: Final = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class PathEstimate:
    """One parameter in lavaan's words: `~` regression, `~~` residual (co)variance, `~1` intercept."""

    label: str
    lhs: str
    op: Literal["~", "~~", "~1"]
    rhs: str
    group: int  # always 1, as lavaan numbers a single group
    est: float
    se: float
    z: float
    pvalue: float
    ci_lower: float
    ci_upper: float
    std_all: float


@dataclass(frozen=True, slots=True, kw_only=True)
class KRatio:
    """Partner path divided by actor path: 1 couple, 0 actor only, −1 contrast."""

    role: Role  # whose outcome
    estimate: float
    se: float  # delta method, dyads taken as independent (as lavaan's `:=`)
    ci_lower: float
    ci_upper: float
    interval_method: Literal["bootstrap percentile", "bootstrap bca", "Fieller with CR2", "none"]
    pattern: str
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelTest:
    """A likelihood ratio against the saturated model, which takes dyads as independent."""

    name: str
    chisq: float
    df: int
    pvalue: float


@dataclass(frozen=True, slots=True, kw_only=True)
class WildPath:
    """One path tested by the wild cluster bootstrap, the method for 10 to 19 clinicians."""

    name: str
    pvalue: float
    ci_lower: float
    ci_upper: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WithinBetweenSplit:
    """The clinician's predictor split into its deviation from, and its level at, the clinician's own mean."""

    regression: ClusteredRegression
    partner_within: float  # does the patient do better with whom the clinician rates higher?
    partner_between: float  # do patients of clinicians who rate higher in general do better?
    difference: float  # between minus within
    difference_pvalue: float
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ActorPartnerModel:
    """The model by maximum likelihood, with errors for patients nested in clinicians beside it."""

    parameters: tuple[PathEstimate, ...]
    log_likelihood: float
    aic: float
    bic: float
    r_squared: FloatArray  # (2,): of the patient's and of the clinician's outcome
    k_ratios: tuple[KRatio, ...]
    path_names: tuple[str, ...]  # actor patient, partner patient, actor clinician, partner clinician
    path_estimate: FloatArray  # (4,)
    path_ci_lower: FloatArray  # (4,): resampling clinicians; NaN where a note says why
    path_ci_upper: FloatArray
    robust: ClusteredRegression  # CR2
    wild: tuple[WildPath, ...]  # with 10 to 19 clinicians
    random_intercepts: BivariateIntercepts | None
    split: WithinBetweenSplit | None
    distinguishability: tuple[ModelTest, ...]
    distinguishability_robust: WaldTest  # means, variances and covariances at once, with CR2
    equal_paths_robust: WaldTest  # both actor and both partner paths, with CR2
    n_draws: int
    n_used: int
    n_dropped: int
    n_clinicians: int
    confidence: float
    reading: tuple[str, ...]
    notes: tuple[str, ...]


def fit_actor_partner(
    predictors: npt.ArrayLike,
    outcomes: npt.ArrayLike,
    *,
    clinicians: npt.ArrayLike | None,
    rng: np.random.Generator,
    n_draws: int = 2000,
    interval: IntervalMethod = "percentile",
    confidence: float = 0.95,
    names: Sequence[str] = ("A_P", "A_C", "B_P", "B_C"),
    progress: Progress | None = None,
) -> ActorPartnerModel:
    """Fit the actor-partner model of patient and clinician, with k ratios and the test of distinguishability.

    Parameters
    ----------
    predictors, outcomes : array-like, shape (n_dyads, 2)
        The patient's and the clinician's score; NaN for missing. Dyads that lack one of the four are left out.
    clinicians : array-like, shape (n_dyads,), or None
        The clinician's key of each dyad. None takes dyads as independent (each clinician has one patient).
    rng : numpy.random.Generator
        For the bootstrap.
    n_draws : int
        Resamples of clinicians.
    interval : {'percentile', 'bca'}
        Kind of bootstrap interval.
    confidence : float
        Of every interval.
    names : sequence of four str
        Names of the two predictors and the two outcomes.
    progress : callable, optional
        Called with the share done and a text.

    Returns
    -------
    ActorPartnerModel

    Raises
    ------
    AnalysisInputError
        Shapes that do not match, a role that is missing altogether, a score without variation, both roles' predictors
        alike, fewer than ten complete dyads.

    Notes
    -----
    B_P = i_P + a_P A_P + p_CP A_C + e_P, B_C = i_C + a_C A_C + p_PC A_P + e_C, Cov(e_P, e_C) free. Both equations share
    their predictors, so maximum likelihood equals two regressions; the residual covariance is Σ(e e')/N and the errors
    come from it and (X'X)⁻¹. Kenny, Kashy & Cook (2006, Dyadic Data Analysis, ch. 7); k: Kenny & Ledermann (2010, J Fam
    Psychol 24:359); distinguishability: the saturated model for indistinguishable members (Olsen & Kenny 2006, Psychol
    Methods 11:127), six constraints. R: `lavaan::sem("BP ~ a1*AP + p1*AC; BC ~ a2*AC + p2*AP; BP ~~ BC",
    meanstructure = TRUE)`, `clubSandwich::vcovCR(lm(cbind(BP, BC) ~ AP + AC), cluster = cl, type = "CR2")`.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(5)
    >>> clinicians = np.repeat(np.arange(30), 8)
    >>> a = rng.standard_normal((240, 2))
    >>> b = a @ [[0.6, 0.1], [0.3, 0.5]] + rng.standard_normal((240, 2))
    >>> model = fit_actor_partner(a, b, clinicians=clinicians, rng=rng, n_draws=200)
    >>> [k.role for k in model.k_ratios], bool(0 < model.k_ratios[0].estimate < 1)
    (['patient', 'clinician'], True)
    """
    who = "fit_actor_partner"
    x, y = _pair(predictors, "predictors", who), _pair(outcomes, "outcomes", who)
    if len(x) != len(y):
        raise AnalysisInputError(
            f"{who} requires one row per dyad; got {len(x)} rows of predictors and {len(y)} of outcomes. "
            "Remedy: take both from the same table."
        )
    if len(names) != 4:
        raise AnalysisInputError(f"{who} requires four names; got {len(names)}. Remedy: name A_P, A_C, B_P, B_C.")
    scores = np.column_stack([x, y])
    for column, name in enumerate(names):
        if np.isnan(scores[:, column]).all():
            raise AnalysisInputError(
                f"{who} requires both roles; {name} has no value at all. Remedy: check that the forms of this role "
                "were imported and the column named."
            )
    keys = np.arange(len(x)) if clinicians is None else np.asarray(clinicians)
    all_groups = group_by_clinician(keys, who=who, n_rows=len(x))
    kept = np.asarray(np.isfinite(scores).all(axis=1), dtype=np.bool_)
    if int(kept.sum()) < 10:
        raise AnalysisInputError(
            f"{who} requires at least 10 dyads with all four scores; got {int(kept.sum())} of {len(kept)}. "
            "Remedy: collect more pairs of forms."
        )
    scores = scores[kept]
    for column, name in enumerate(names):
        if scores[:, column].std() <= 1e-12 * max(float(np.abs(scores[:, column]).max()), 1e-300):
            raise AnalysisInputError(
                f"{who} requires scores that vary; {name} is the same for all {len(scores)} dyads used. "
                "Remedy: choose another score."
            )
    x, y = scores[:, :2], scores[:, 2:]
    for pair, what, columns in ((x, "predictors", names[:2]), (y, "outcomes", names[2:])):
        if abs(_correlation(pair[:, 0], pair[:, 1])) > 1 - 1e-10:
            raise AnalysisInputError(
                f"{who} requires two different {what}; {columns[0]} and {columns[1]} correlate perfectly. "
                "Remedy: check that they are columns of the two roles."
            )
    labels = np.asarray(all_groups.labels)[all_groups.codes][kept]
    groups = group_by_clinician(labels, who=who)
    rules = rules_for(groups.n_clinicians)
    fit = _maximum_likelihood(x, y, tuple(names), confidence)
    tests = _distinguishability(x, y, fit)
    parameters = fit.parameters
    robust = regress_clustered(
        y, x, clinicians=labels, confidence=confidence, predictor_names=names[:2], outcome_names=names[2:]
    )
    notes = [*rules.notes]
    n_singles = groups.n_with_one_patient
    if clinicians is None:
        notes.append("dyads are taken as independent: pass the clinician's key if a clinician has several patients")
    else:
        if n_singles:
            notes.append(f"{n_singles} clinician(s) have one dyad")
        if rules.cluster_bootstrap:
            notes.append(
                "maximum likelihood errors and likelihood ratios take dyads as independent: where they differ from "
                "CR2, CR2 holds"
            )
        else:
            parameters = tuple(_without_test(parameter) for parameter in parameters)
            tests = tuple(dataclasses.replace(test, pvalue=np.nan) for test in tests)
            notes.append("maximum likelihood errors and tests are withheld: with so few clinicians they are too small")
    bootstrap = bootstrap_clinicians(
        _paths_of_sums(x, y, groups),
        n_clinicians=groups.n_clinicians,
        n_draws=n_draws,
        rng=rng,
        method=interval,
        confidence=confidence,
        names=(*_PATHS, "k of the patient", "k of the clinician"),
        progress=progress,
    )
    notes += [note for note in bootstrap.notes if note not in notes]
    random_intercepts: BivariateIntercepts | None = None
    split: WithinBetweenSplit | None = None
    if clinicians is not None and groups.n_clinicians >= 3 and n_singles < groups.n_clinicians:
        try:
            random_intercepts = regress_with_bivariate_intercepts(
                y,
                x,
                clinicians=labels,
                confidence=confidence,
                predictor_names=names[:2],
                outcome_names=(names[2], names[3]),
            )
        except AnalysisInputError as error:
            notes.append(f"random intercepts left out: {error}")
        split, split_notes = _split(x, y, groups, labels, confidence, tuple(names))
        notes += split_notes
    return ActorPartnerModel(
        parameters=parameters,
        log_likelihood=fit.log_likelihood,
        aic=2 * len(parameters) - 2 * fit.log_likelihood,
        bic=float(np.log(len(scores))) * len(parameters) - 2 * fit.log_likelihood,
        r_squared=read_only(fit.r_squared),
        k_ratios=tuple(
            _k_ratio(role, position, fit, robust, bootstrap, interval)
            for position, role in enumerate(("patient", "clinician"))
        ),
        path_names=_PATHS,
        path_estimate=read_only(fit.paths.copy()),
        path_ci_lower=read_only(bootstrap.ci_lower[:4].copy()),
        path_ci_upper=read_only(bootstrap.ci_upper[:4].copy()),
        robust=robust,
        wild=_wild_paths(x, y, labels, rng, n_draws, confidence) if rules.wild_bootstrap else (),
        random_intercepts=random_intercepts,
        split=split,
        distinguishability=tests,
        distinguishability_robust=_distinguishability_robust(x, y, labels, confidence),
        equal_paths_robust=wald_test(robust, [[0, 1, 0, 0, 0, -1], [0, 0, 1, 0, -1, 0]]),
        n_draws=bootstrap.n_draws,
        n_used=len(scores),
        n_dropped=int((~kept).sum()),
        n_clinicians=groups.n_clinicians,
        confidence=confidence,
        reading=_reading(tuple(names), split is not None),
        notes=tuple(notes),
    )


_PATHS: Final = ("actor of the patient", "partner of the patient", "actor of the clinician", "partner of the clinician")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _MaximumLikelihood:
    parameters: tuple[PathEstimate, ...]
    paths: FloatArray  # (4,)
    coefficients: FloatArray  # (3, 2)
    covariance: FloatArray  # (6, 6): patient's intercept, A_P, A_C; clinician's
    residual: FloatArray  # (2, 2)
    standardised: FloatArray  # (4,)
    r_squared: FloatArray
    log_likelihood: float


def _maximum_likelihood(x: FloatArray, y: FloatArray, names: tuple[str, ...], confidence: float) -> _MaximumLikelihood:
    n = len(x)
    design = np.column_stack([np.ones(n), x])
    q, r = np.linalg.qr(design)
    coefficients = np.linalg.solve(r, q.T @ y)
    inverse = np.linalg.inv(r)
    errors = y - design @ coefficients
    residual = errors.T @ errors / n
    covariance = np.kron(residual, inverse @ inverse.T)
    se = np.sqrt(np.diag(covariance))
    x_sd, y_sd = x.std(axis=0), y.std(axis=0)
    half_width = ndtri((1 + confidence) / 2)
    parameters: list[PathEstimate] = []

    def add(label: str, lhs: str, op: Literal["~", "~~", "~1"], rhs: str, est: float, error: float, std: float) -> None:
        z = est / error if error > 0 else np.nan
        parameters.append(
            PathEstimate(
                label=label,
                lhs=lhs,
                op=op,
                rhs=rhs,
                group=1,
                est=float(est),
                se=float(error) if error > 0 else np.nan,
                z=float(z),
                pvalue=float(2 * ndtr(-abs(z))),
                ci_lower=float(est - half_width * error),
                ci_upper=float(est + half_width * error),
                std_all=float(std),
            )
        )

    # In the order patient: actor, partner; clinician: actor, partner.
    for role, outcome in enumerate(names[2:]):
        for predictor, label in ((role, "actor"), (1 - role, "partner")):
            value = coefficients[1 + predictor, role]
            add(
                f"{label}_{('patient', 'clinician')[role]}",
                outcome,
                "~",
                names[predictor],
                value,
                se[3 * role + 1 + predictor],
                value * x_sd[predictor] / y_sd[role],
            )
    correlation = residual[0, 1] / np.sqrt(residual[0, 0] * residual[1, 1]) if (np.diag(residual) > 0).all() else np.nan
    products = residual[0, 0] * residual[1, 1] + residual[0, 1] ** 2
    add("residual_covariance", names[2], "~~", names[3], residual[0, 1], np.sqrt(products / n), correlation)
    for role, outcome in enumerate(names[2:]):
        variance = residual[role, role]
        add(
            "residual_variance", outcome, "~~", outcome, variance, variance * np.sqrt(2 / n), variance / y_sd[role] ** 2
        )
    for role, outcome in enumerate(names[2:]):
        value = coefficients[0, role]
        add("intercept", outcome, "~1", "", value, se[3 * role], value / y_sd[role])
    determinant = float(np.linalg.det(residual))
    return _MaximumLikelihood(
        parameters=tuple(parameters),
        paths=np.array([parameter.est for parameter in parameters[:4]]),
        coefficients=coefficients,
        covariance=covariance,
        residual=residual,
        standardised=np.array([parameter.std_all for parameter in parameters[:4]]),
        r_squared=1 - np.diag(residual) / y_sd**2,
        log_likelihood=-n / 2 * (2 * np.log(2 * np.pi) + 2 + np.log(determinant)) if determinant > 0 else np.nan,
    )


def _correlation(first: FloatArray, second: FloatArray) -> float:
    a, b = first - first.mean(), second - second.mean()
    return float(a @ b / np.sqrt((a @ a) * (b @ b)))


def _without_test(parameter: PathEstimate) -> PathEstimate:
    """Keep the estimate only."""
    return dataclasses.replace(parameter, se=np.nan, z=np.nan, pvalue=np.nan, ci_lower=np.nan, ci_upper=np.nan)


def _paths_of_sums(x: FloatArray, y: FloatArray, groups: ClinicianGroups) -> WeightedStatistic:
    """Return the four paths and two k ratios as a function of how often each clinician was drawn."""
    centre, scale = x.mean(axis=0), x.std(axis=0)
    design = np.column_stack([np.ones(len(x)), (x - centre) / scale])[groups.order]
    outcome = (y - y.mean(axis=0))[groups.order]
    products = np.concatenate(
        [design[:, :, None] * design[:, None, :], design[:, :, None] * outcome[:, None, :]], axis=2
    )
    sums = np.add.reduceat(products, groups.starts, axis=0).reshape(groups.n_clinicians, -1)

    def paths(counts: FloatArray) -> FloatArray:
        moments = (counts @ sums).reshape(len(counts), 3, 5)
        square, right = moments[:, :, :3].copy(), moments[:, :, 3:]
        singular = np.linalg.det(square) <= 1e-12 * square[:, 0, 0] ** 3
        square[singular] = np.eye(3)
        slopes = np.linalg.solve(square, right)[:, 1:] / scale[:, None]
        slopes[singular] = np.nan
        four = np.column_stack([slopes[:, 0, 0], slopes[:, 1, 0], slopes[:, 1, 1], slopes[:, 0, 1]])
        actors = np.where(four[:, ::2] != 0, four[:, ::2], np.nan)
        return np.column_stack([four, four[:, 1::2] / actors])

    return paths


def _wild_paths(
    x: FloatArray,
    y: FloatArray,
    labels: npt.NDArray[np.str_],
    rng: np.random.Generator,
    n_draws: int,
    confidence: float,
) -> tuple[WildPath, ...]:
    paths = []
    for role in range(2):
        fit = regress_clustered(y[:, role], x, clinicians=labels, confidence=confidence)
        for predictor in (role, 1 - role):
            contrast = np.zeros(3)
            contrast[1 + predictor] = 1.0
            test = wild_bootstrap_test(fit, contrast, rng=rng, n_draws=max(n_draws, 99))
            name = _PATHS[2 * role + (predictor != role)]
            paths.append(WildPath(name=name, pvalue=test.pvalue, ci_lower=test.ci_lower, ci_upper=test.ci_upper))
    return tuple(paths)


def _k_ratio(
    role: str,
    position: int,
    fit: _MaximumLikelihood,
    robust: ClusteredRegression,
    bootstrap: ClusterBootstrap,
    interval: IntervalMethod,
) -> KRatio:
    actor, partner = fit.paths[2 * position], fit.paths[2 * position + 1]
    at_actor, at_partner = 3 * position + 1 + position, 3 * position + 2 - position
    k = float(partner / actor) if actor != 0 else np.nan
    gradient = np.zeros(6)
    notes: list[str] = []
    se = np.nan
    if actor != 0:
        gradient[[at_actor, at_partner]] = -partner / actor**2, 1 / actor
        se = float(np.sqrt(gradient @ fit.covariance @ gradient))
    lower = float(bootstrap.ci_lower[4 + position])
    upper = float(bootstrap.ci_upper[4 + position])
    method: Literal["bootstrap percentile", "bootstrap bca", "Fieller with CR2", "none"] = (
        "bootstrap bca" if interval == "bca" else "bootstrap percentile"
    )
    if not np.isfinite(lower):
        lower, upper = _fieller(robust, at_actor, at_partner)
        method = "Fieller with CR2" if np.isfinite(lower) else "none"
        if method == "none":
            notes.append("no interval: the actor path cannot be told from zero, or there are too few clinicians")
    if abs(fit.standardised[2 * position]) < _SMALL_ACTOR:
        notes.append(f"the standardised actor path is below {_SMALL_ACTOR:.2f}: k divides by nearly nothing")
    return KRatio(
        role="patient" if role == "patient" else "clinician",
        estimate=k,
        se=se,
        ci_lower=lower,
        ci_upper=upper,
        interval_method=method,
        pattern=_pattern(lower, upper),
        notes=tuple(notes),
    )


def _pattern(lower: float, upper: float) -> str:
    """Name the patterns (Kenny & Ledermann 2010) that an interval of k contains."""
    if not np.isfinite(lower):
        return "undecided: no interval"
    inside = [
        name for value, name in ((-1.0, "contrast"), (0.0, "actor only"), (1.0, "couple")) if lower <= value <= upper
    ]
    if len(inside) == 1:
        return inside[0]
    if inside:
        return f"undecided between {' and '.join(inside)}"
    return "between the patterns"


def _fieller(robust: ClusteredRegression, at_actor: int, at_partner: int) -> tuple[float, float]:
    """Return Fieller's interval of partner / actor from the CR2 covariance; NaN where it is not bounded."""
    actor, partner = robust.estimate[at_actor], robust.estimate[at_partner]
    contrast = np.zeros((1, len(robust.estimate)))
    contrast[0, at_partner], contrast[0, at_actor] = 1.0, -partner / actor if actor != 0 else 0.0
    df = float(combine_coefficients(robust, contrast).df[0])
    if not np.isfinite(df):
        return np.nan, np.nan
    t2 = float(stdtrit(df, (1 + robust.confidence) / 2)) ** 2
    v = robust.covariance
    a = actor**2 - t2 * v[at_actor, at_actor]
    b = -2 * (actor * partner - t2 * v[at_actor, at_partner])
    c = partner**2 - t2 * v[at_partner, at_partner]
    discriminant = b * b - 4 * a * c
    if a <= 0 or discriminant < 0:
        return np.nan, np.nan
    root = np.sqrt(discriminant)
    return float((-b - root) / (2 * a)), float((-b + root) / (2 * a))


def _split(
    x: FloatArray,
    y: FloatArray,
    groups: ClinicianGroups,
    labels: npt.NDArray[np.str_],
    confidence: float,
    names: tuple[str, ...],
) -> tuple[WithinBetweenSplit | None, list[str]]:
    mean = (np.bincount(groups.codes, weights=x[:, 1]) / groups.sizes)[groups.codes]
    deviation = x[:, 1] - mean
    scale = x[:, 1].std()
    if deviation.std() <= 1e-9 * scale or mean.std() <= 1e-9 * scale:
        what = "within" if deviation.std() <= 1e-9 * scale else "between"
        return None, [f"{names[1]} does not vary {what} clinicians: no split into within and between"]
    try:
        regression = regress_clustered(
            y,
            np.column_stack([x[:, 0], deviation, mean]),
            clinicians=labels,
            confidence=confidence,
            predictor_names=(names[0], f"{names[1]} within clinician", f"{names[1]} clinician mean"),
            outcome_names=names[2:],
        )
    except AnalysisInputError as error:
        return None, [f"no split into within and between: {error}"]
    contrast = combine_coefficients(regression, [[0, 0, -1, 1, 0, 0, 0, 0]])
    return (
        WithinBetweenSplit(
            regression=regression,
            partner_within=float(regression.estimate[2]),
            partner_between=float(regression.estimate[3]),
            difference=float(contrast.estimate[0]),
            difference_pvalue=float(contrast.pvalue[0]),
            notes=regression.notes,
        ),
        [],
    )


def _distinguishability(x: FloatArray, y: FloatArray, fit: _MaximumLikelihood) -> tuple[ModelTest, ...]:
    """Return likelihood ratios of equal actor, equal partner, both, and of full indistinguishability (I-SAT)."""
    tests = []
    # Rows over (intercept, A_P, A_C) of the patient, then of the clinician.
    actor, partner = [0.0, 1, 0, 0, 0, -1], [0.0, 0, 1, 0, -1, 0]
    for name, constraints in (
        ("equal actor paths", [actor]),
        ("equal partner paths", [partner]),
        ("equal actor and partner paths", [actor, partner]),
    ):
        chisq = _constrained_chisq(x, y, fit, np.array(constraints))
        tests.append(
            ModelTest(name=name, chisq=chisq, df=len(constraints), pvalue=float(chdtrc(len(constraints), chisq)))
        )
    scores = np.column_stack([x, y])
    n = len(scores)
    mean = scores.mean(axis=0)
    swap = [1, 0, 3, 2]
    alike = (mean + mean[swap]) / 2
    covariance = (scores - mean).T @ (scores - mean) / n
    shifted = covariance + np.outer(mean - alike, mean - alike)
    constrained = (shifted + shifted[np.ix_(swap, swap)]) / 2
    free, held = (np.linalg.slogdet(matrix) for matrix in (covariance, constrained))
    chisq = float(n * (held[1] - free[1])) if free[0] > 0 and np.isfinite(free[1]) else np.nan
    tests.append(
        ModelTest(
            name="indistinguishable (equal means, variances and covariances)",
            chisq=chisq,
            df=6,
            pvalue=float(chdtrc(6, max(chisq, 0.0))) if np.isfinite(chisq) else np.nan,
        )
    )
    return tuple(tests)


def _constrained_chisq(x: FloatArray, y: FloatArray, fit: _MaximumLikelihood, constraints: FloatArray) -> float:
    """Maximise the likelihood under linear constraints across the equations; return n ln(|constrained| / |free|)."""
    n = len(x)
    design = np.column_stack([np.ones(n), x])
    inverse = np.linalg.inv(design.T @ design)
    free = fit.coefficients.T.reshape(-1)
    residual = fit.residual
    last = np.inf
    if not np.linalg.det(fit.residual) > _SINGULAR * fit.residual[0, 0] * fit.residual[1, 1]:
        return np.nan
    # Given the residual covariance the constrained coefficients are a projection; given these, it is Σ(e e')/n.
    for _ in range(_ITERATIONS):
        covariance = np.kron(residual, inverse)
        middle = constraints @ covariance @ constraints.T
        held = free - covariance @ constraints.T @ np.linalg.solve(middle, constraints @ free)
        errors = y - design @ held.reshape(2, 3).T
        residual = errors.T @ errors / n
        chisq = n * float(np.log(np.linalg.det(residual) / np.linalg.det(fit.residual)))
        if abs(chisq - last) < 1e-11 * max(1.0, chisq):
            break
        last = chisq
    return max(chisq, 0.0)


def _distinguishability_robust(
    x: FloatArray, y: FloatArray, labels: npt.NDArray[np.str_], confidence: float
) -> WaldTest:
    """Test the same six equalities as means of differences per dyad, with CR2 errors."""
    a, b = x - x.mean(axis=0), y - y.mean(axis=0)
    differences = np.column_stack(
        [
            x[:, 0] - x[:, 1],
            y[:, 0] - y[:, 1],
            a[:, 0] ** 2 - a[:, 1] ** 2,
            b[:, 0] ** 2 - b[:, 1] ** 2,
            a[:, 0] * b[:, 0] - a[:, 1] * b[:, 1],
            a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0],
        ]
    )
    spread = differences.std(axis=0)
    # Two equalities of the same scores differ by rounding only if the roles are copies of each other.
    if (spread <= 1e-12 * max(float(np.abs(x).max()), 1e-300)).any():
        return WaldTest(
            statistic=np.nan,
            df_numerator=6,
            df_denominator=np.nan,
            pvalue=np.nan,
            method="HTZ",
            notes=("both roles give the same scores: no test of their difference",),
        )
    means = regress_clustered(differences / spread, np.empty((len(x), 0)), clinicians=labels, confidence=confidence)
    return wald_test(means, np.eye(6))


def _reading(names: tuple[str, ...], has_split: bool) -> tuple[str, ...]:
    a_p, a_c, b_p, b_c = names
    lines = [
        f"{a_p} → {b_p} (actor, patient): both come from one person, whose mood and style inflate it",
        f"{a_c} → {b_p} (partner): the evidence of interest, the clinician's account against the patient's outcome",
        f"{a_c} → {b_c} (actor, clinician): partly projection where the outcome is a guess about the patient",
        f"{a_p} → {b_c} (partner): what the patient reports against what the clinician sees",
        "cross-sectional paths can refute a model, they do not prove the direction of the arrows",
    ]
    if has_split:
        lines.append(
            f"a clinician's general style can pass for a partner path: read {a_c} within clinician, not overall"
        )
    return tuple(lines)


def _pair(data: npt.ArrayLike, what: str, who: str) -> FloatArray:
    try:
        values = np.asarray(data, dtype=np.float64)
    except (TypeError, ValueError):
        raise AnalysisInputError(
            f"{who} requires numbers as {what}; got something that does not convert. "
            "Remedy: recode text to numbers and missing values to NaN."
        ) from None
    if values.ndim != 2 or values.shape[1] != 2:
        raise AnalysisInputError(
            f"{who} requires {what} as two columns, the patient's and the clinician's; got shape {values.shape}. "
            "Remedy: pass one column per role."
        )
    return values
