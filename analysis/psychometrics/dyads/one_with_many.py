"""Reciprocal one-with-many analysis (Kenny): one clinician with many patients, each dyad seen from both sides."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from analysis.psychometrics.dyads.agreement import Estimates, require_confidence
from analysis.psychometrics.dyads.bivariate_reml import (
    BivariateFits,
    ClinicianMoments,
    clinician_moments,
    fit_bivariate,
)
from analysis.psychometrics.dyads.pairing import as_two_roles
from analysis.psychometrics.errors import AnalysisInputError
from analysis.psychometrics.inference.few_clinicians import (
    MINIMUM_FOR_BOOTSTRAP,
    MINIMUM_FOR_GENERALISED_RECIPROCITY,
    ClinicianGroups,
    ClinicianRules,
    group_by_clinician,
    rules_for,
)
from analysis.psychometrics.inference.resampling import ClusterBootstrap, bootstrap_clinicians
from analysis.psychometrics.response_matrix import FloatArray, IntArray, as_item_codes, listed, read_only

#: A variance between clinicians below this share of the whole counts as none.
_TOUCHES_ZERO: Final = 1e-6
#: A correlation this near to ±1 is the edge of what can be estimated.
_EDGE: Final = 1 - 1e-4
#: The least share of a score's variance that must lie within clinicians, and in its part that the other role lacks.
_NO_VARIANCE: Final = 1e-9
_STATISTICS: Final = ("consensus", "assimilation", "dyadic_reciprocity", "generalised_reciprocity")
_VARIANCES: Final = ("between_11", "between_12", "between_22", "within_11", "within_12", "within_22")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OneWithMany:
    """What the two 2×2 matrices say, one entry a scale; index 0 is the patient's side, 1 the clinician's.

    `consensus` : the share of the patients' scores that lies between clinicians. `assimilation` : the same of the
    clinicians' scores (a clinician's style). `dyadic_reciprocity` : the correlation within clinicians, agreement free
    of style. `generalised_reciprocity` : the correlation between clinicians; NaN where not estimable.
    """

    names: tuple[str, ...]
    n_clinicians: IntArray  # with any score
    n_complete: IntArray  # dyads with both sides
    n_patient_only: IntArray
    n_clinician_only: IntArray
    mean: FloatArray  # (n_scales, 2), generalised least squares
    mean_se: FloatArray  # (n_scales, 2)
    between: FloatArray  # (n_scales, 2, 2): B
    within: FloatArray  # (n_scales, 2, 2): W
    between_ci_lower: FloatArray
    between_ci_upper: FloatArray
    within_ci_lower: FloatArray
    within_ci_upper: FloatArray
    consensus: Estimates
    assimilation: Estimates
    dyadic_reciprocity: Estimates
    generalised_reciprocity: Estimates
    log_likelihood: FloatArray  # restricted
    converged: npt.NDArray[np.bool_]
    at_boundary: npt.NDArray[np.bool_]  # B is singular
    n_draws: int
    confidence: float
    notes: tuple[str, ...]


def one_with_many(
    patient: npt.ArrayLike,
    clinician: npt.ArrayLike,
    clinicians: npt.ArrayLike,
    *,
    names: Sequence[str] | None = None,
    confidence: float = 0.95,
    n_draws: int = 2000,
    rng: np.random.Generator | None = None,
    progress: Callable[[float, str], None] | None = None,
) -> OneWithMany:
    """Divide both roles' scores into what lies between clinicians and within them, and correlate the roles in each.

    Parameters
    ----------
    patient, clinician : array-like, shape (n_dyads, n_scales) or (n_dyads,)
        Both roles' scores about the same dyads; NaN for a missing side, which leaves the dyad's other side in.
    clinicians : array-like, shape (n_dyads,)
        The clinician of each dyad.
    names : sequence of str, optional
        One a scale.
    confidence : float
        Of the intervals.
    n_draws : int
        Resamples of whole clinicians; 0 for none.
    rng : numpy.random.Generator, optional
        Required unless `n_draws` is 0.
    progress : callable, optional
        Called with the share done and a text.

    Returns
    -------
    OneWithMany
        Intervals from 20 clinicians on. Generalised reciprocity is NaN, with a note, below 60 clinicians and where a
        variance between clinicians touches zero.

    Raises
    ------
    AnalysisInputError
        A role or the clinicians' keys missing, one clinician only, no clinician with two patients.

    Notes
    -----
    P_ij = μ_P + β_i + γ_ij, C_ij = μ_C + α_i + δ_ij; B = Cov(β, α), W = Cov(γ, δ), by REML for any numbers of patients
    (see `bivariate_reml`). Kenny, Kashy & Cook (2006, *Dyadic Data Analysis*, ch. 10); Kenny et al. (2010, Soc Sci Med
    70:763). R: `nlme::lme(y ~ 0 + role, random = ~ 0 + role | clinician, correlation = corSymm(form = ~ 1 |
    clinician/dyad), weights = varIdent(form = ~ 1 | role))`.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(7)
    >>> clinicians = np.repeat(np.arange(80), 10)
    >>> style = rng.normal(size=(80, 2))[clinicians]
    >>> relationship = rng.normal(size=800)
    >>> patient = 0.3 * style[:, 0] + 0.5 * relationship + rng.normal(size=800)
    >>> clinician = style[:, 1] + 0.5 * relationship + rng.normal(size=800)
    >>> result = one_with_many(patient, clinician, clinicians, n_draws=0)
    >>> result.assimilation.estimate.round(2), result.dyadic_reciprocity.estimate.round(2)
    (array([0.33]), array([0.18]))
    """
    who = "one_with_many"
    p, c, groups = _checked(patient, clinician, clinicians, n_draws, rng, confidence, who=who)
    codes = as_item_codes(names, p.shape[1], who=who)
    scales = _Scales.of(p, c, groups, codes)
    ones = np.ones((1, groups.n_clinicians))
    point = scales.fit(ones)
    n_scales = len(codes)
    rules = rules_for(groups.n_clinicians)
    figures, at_boundary = _figures(point, n_scales)
    notes = [*scales.notes, *rules.notes]
    notes += _boundary_notes(codes, figures, at_boundary[0], point, rules)
    reported = _STATISTICS if rules.generalised_reciprocity else _STATISTICS[:3]
    outcome = None
    if n_draws and rng is not None:

        def statistic(counts: FloatArray) -> FloatArray:
            values, _ = _figures(scales.fit(counts, near=point), n_scales)
            return np.concatenate([values[name] for name in (*reported, *_VARIANCES)], axis=1)

        labels = [f"{name} of {code}" for name in (*reported, *_VARIANCES) for code in codes]
        outcome = bootstrap_clinicians(
            statistic,
            n_clinicians=groups.n_clinicians,
            n_draws=n_draws,
            rng=rng,
            confidence=confidence,
            names=labels,
            progress=progress,
        )
        notes += [note for note in outcome.notes if note not in notes and not note.startswith(_VARIANCES)]
    spans = _spans(outcome, reported, n_scales)
    hidden = np.zeros(n_scales, dtype=bool)
    if not rules.generalised_reciprocity:
        hidden[:] = True
    else:
        hidden |= np.isnan(figures["generalised_reciprocity"][0]) | (
            np.abs(figures["generalised_reciprocity"][0]) > _EDGE
        )
    estimates = {}
    for name in _STATISTICS:
        gone = hidden if name == "generalised_reciprocity" else np.zeros(n_scales, dtype=bool)
        se, lower, upper = spans[name]
        estimates[name] = Estimates(
            estimate=read_only(np.where(gone, np.nan, figures[name][0])),
            se=read_only(np.where(gone, np.nan, se)),
            ci_lower=read_only(np.where(gone, np.nan, lower)),
            ci_upper=read_only(np.where(gone, np.nan, upper)),
            method="bootstrap of clinicians, percentile",
        )
    limits = [
        _matrix([spans[f"{level}_{place}"][k] for place in ("11", "12", "22")])
        for level in ("between", "within")
        for k in (1, 2)
    ]
    return OneWithMany(
        names=codes,
        n_clinicians=scales.n_clinicians,
        n_complete=scales.n_kinds[0],
        n_patient_only=scales.n_kinds[1],
        n_clinician_only=scales.n_kinds[2],
        mean=read_only(point.mean.T.copy()),
        mean_se=read_only(np.sqrt(point.mean_covariance[[0, 2]]).T.copy()),
        between=_matrix(list(point.between)),
        within=_matrix(list(point.within)),
        between_ci_lower=limits[0],
        between_ci_upper=limits[1],
        within_ci_lower=limits[2],
        within_ci_upper=limits[3],
        log_likelihood=read_only(scales.log_likelihood(point)),
        converged=read_only_flags(point.converged),
        at_boundary=read_only_flags(at_boundary[0]),
        n_draws=0 if outcome is None else outcome.n_draws,
        confidence=confidence,
        notes=tuple(notes),
        **estimates,
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RelationshipAndError:
    """One-with-many analysis of two halves of a scale: W divided into relationship and error.

    Index 0 is the patient's side, 1 the clinician's. Shares are of the variance of the mean of both halves.
    """

    between: FloatArray  # (2, 2): B
    relationship: FloatArray  # (2, 2): within clinicians, free of the error of the halves
    error: FloatArray  # (2,): variance of one half's error
    clinician_share: FloatArray  # (2,)
    relationship_share: FloatArray  # (2,)
    error_share: FloatArray  # (2,)
    relationship_reciprocity: float
    relationship_reciprocity_se: float
    relationship_reciprocity_ci_lower: float
    relationship_reciprocity_ci_upper: float
    dyadic_reciprocity: float  # with the error left in
    mean: FloatArray  # (2, 2): role, half
    log_likelihood: float
    converged: bool
    n_clinicians: int
    n_complete: int
    n_patient_only: int
    n_clinician_only: int
    n_dropped: int  # sides with one half only
    n_draws: int
    confidence: float
    notes: tuple[str, ...]


def separate_relationship_from_error(
    patient: npt.ArrayLike,
    clinician: npt.ArrayLike,
    clinicians: npt.ArrayLike,
    *,
    confidence: float = 0.95,
    n_draws: int = 2000,
    rng: np.random.Generator | None = None,
    progress: Callable[[float, str], None] | None = None,
) -> RelationshipAndError:
    """Use two halves of a scale to tell the relationship with a patient from error of measurement.

    Parameters
    ----------
    patient, clinician : array-like, shape (n_dyads, 2)
        Two halves of the same scale in one unit, of both roles. A side with one half only is left out.
    clinicians : array-like, shape (n_dyads,)
        The clinician of each dyad.
    confidence, n_draws, rng, progress
        As in `one_with_many`.

    Returns
    -------
    RelationshipAndError

    Raises
    ------
    AnalysisInputError
        As in `one_with_many`; or not two halves.

    Notes
    -----
    y_ijrh = μ_rh + u_ir + v_ijr + e_ijrh. With errors of one variance a role, the mean of the halves and their
    difference are independent, so REML of the whole is REML of the means (whose W is R + diag(σ²_e)/2) and the variance
    of the differences. Kenny, Kashy & Cook (2006, ch. 10). R: `nlme::lme(y ~ 0 + role:half, random = list(clinician =
    ~ 0 + role, dyad = ~ 0 + role), weights = varIdent(form = ~ 1 | role))`.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(3)
    >>> clinicians, true = np.repeat(np.arange(100), 8), rng.normal(size=(800, 1))
    >>> patient, clinician = (true + rng.normal(size=(800, 1)) + rng.normal(size=(800, 2)) for _ in range(2))
    >>> result = separate_relationship_from_error(patient, clinician, clinicians, n_draws=0)
    >>> round(result.relationship_reciprocity, 2), round(result.dyadic_reciprocity, 2)
    (0.51, 0.4)
    """
    who = "separate_relationship_from_error"
    p, c, groups = _checked(patient, clinician, clinicians, n_draws, rng, confidence, who=who)
    if p.shape[1] != 2:
        raise AnalysisInputError(
            f"{who} requires two halves of a scale a role; got {p.shape[1]} column(s). "
            "Remedy: pass the scores of the two halves, for instance of odd and even items."
        )
    half_missing = [int((np.isnan(side).sum(axis=1) == 1).sum()) for side in (p, c)]
    # A side with one half only has neither mean nor difference: NaN in both.
    means = [np.where(np.isnan(side).any(axis=1), np.nan, side.sum(axis=1) / 2)[:, None] for side in (p, c)]
    differences = [side[:, 0] - side[:, 1] for side in (p, c)]
    scales = _Scales.of(means[0], means[1], groups, ("the mean of the halves",))
    errors = _ErrorSums.of(differences, groups)
    ones = np.ones((1, groups.n_clinicians))
    point = scales.fit(ones)
    error = errors.variance(ones)[:, 0]
    rules = rules_for(groups.n_clinicians)
    notes = [*scales.notes, *rules.notes]
    if sum(half_missing):
        notes.append(f"{half_missing[0]} patients' and {half_missing[1]} clinicians' sides left out: one half missing")
    w11, w12, w22 = point.within[:, 0]
    relationship = np.array([[w11 - error[0] / 2, w12], [w12, w22 - error[1] / 2]])
    reciprocity = float(_relationship_reciprocity(point, errors.variance(ones))[0])
    if np.isnan(reciprocity) and not np.isnan(w11):
        notes.append(
            "the halves leave no variance of the relationship beyond error, so its reciprocity is undefined: the "
            "scale is too short or its halves measure different things"
        )
    elif abs(reciprocity) > 1:
        notes.append("relationship reciprocity is beyond ±1: error is overestimated, read it as ±1")
    outcome = None
    if n_draws and rng is not None:
        outcome = bootstrap_clinicians(
            lambda counts: _relationship_reciprocity(scales.fit(counts, near=point), errors.variance(counts))[:, None],
            n_clinicians=groups.n_clinicians,
            n_draws=n_draws,
            rng=rng,
            confidence=confidence,
            names=("relationship reciprocity",),
            progress=progress,
        )
        notes += [note for note in outcome.notes if note not in notes]
    se, lower, upper = (
        (np.nan, np.nan, np.nan)
        if outcome is None
        else (float(outcome.se[0]), float(outcome.ci_lower[0]), float(outcome.ci_upper[0]))
    )
    b = np.array([point.between[0, 0], point.between[2, 0]])
    whole = b + np.array([w11, w22])
    with np.errstate(invalid="ignore", divide="ignore"):
        shares = b / whole, np.diag(relationship) / whole, error / 2 / whole
        dyadic = float(w12 / np.sqrt(w11 * w22))
    difference_means = np.array([np.nanmean(d) if not np.isnan(d).all() else np.nan for d in differences])
    return RelationshipAndError(
        between=_matrix(list(point.between))[0],
        relationship=read_only(relationship),
        error=read_only(error),
        clinician_share=read_only(shares[0]),
        relationship_share=read_only(shares[1]),
        error_share=read_only(shares[2]),
        relationship_reciprocity=reciprocity,
        relationship_reciprocity_se=se,
        relationship_reciprocity_ci_lower=lower,
        relationship_reciprocity_ci_upper=upper,
        dyadic_reciprocity=dyadic,
        mean=read_only(np.stack([point.mean[:, 0] + difference_means / 2, point.mean[:, 0] - difference_means / 2], 1)),
        log_likelihood=float(scales.log_likelihood(point)[0] + errors.log_likelihood()),
        converged=bool(point.converged[0]),
        n_clinicians=int(scales.n_clinicians[0]),
        n_complete=int(scales.n_kinds[0][0]),
        n_patient_only=int(scales.n_kinds[1][0]),
        n_clinician_only=int(scales.n_kinds[2][0]),
        n_dropped=sum(half_missing),
        n_draws=0 if outcome is None else outcome.n_draws,
        confidence=confidence,
        notes=tuple(notes),
    )


def _checked(
    patient: npt.ArrayLike,
    clinician: npt.ArrayLike,
    clinicians: npt.ArrayLike,
    n_draws: int,
    rng: np.random.Generator | None,
    confidence: float,
    *,
    who: str,
) -> tuple[FloatArray, FloatArray, ClinicianGroups]:
    require_confidence(confidence, who=who)
    p, c = as_two_roles(patient, clinician, who=who)
    groups = group_by_clinician(clinicians, who=who, n_rows=len(p))
    if n_draws and rng is None:
        raise AnalysisInputError(
            f"{who} requires a random generator to resample clinicians; got none. "
            "Remedy: pass rng=numpy.random.default_rng(seed), or n_draws=0 for estimates without intervals."
        )
    if groups.n_clinicians < 2:
        raise AnalysisInputError(
            f"{who} requires at least two clinicians; got one. Remedy: pass the column that tells the clinicians apart."
        )
    if not (groups.sizes > 1).any():
        raise AnalysisInputError(
            f"{who} requires clinicians with several patients; each of the {groups.n_clinicians} has one. "
            "Remedy: check that the clinicians' key was passed and not the dyads'."
        )
    return p, c, groups


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Scales:
    """The scales' sums by clinician, standardised; scales that lack the same sides are fitted together."""

    moments: tuple[ClinicianMoments | None, ...]  # None where the scale cannot be fitted
    alike: tuple[tuple[int, ...], ...]  # positions of scales with the same counts
    centre: FloatArray  # (2, n_scales)
    size: FloatArray  # (2, n_scales)
    n_clinicians: IntArray
    n_kinds: tuple[IntArray, IntArray, IntArray]
    notes: tuple[str, ...]

    @classmethod
    def of(cls, p: FloatArray, c: FloatArray, groups: ClinicianGroups, names: Sequence[str]) -> "_Scales":
        k = groups.n_clinicians
        n_scales = p.shape[1]
        centre, size = np.zeros((2, n_scales)), np.ones((2, n_scales))
        moments: list[ClinicianMoments | None] = []
        notes: list[str] = []
        for position, name in enumerate(names):
            sides = []
            for role, values in enumerate((p[:, position], c[:, position])):
                present = values[~np.isnan(values)]
                if len(present):
                    centre[role, position] = present.mean()
                    spread = float(np.sqrt(((present - present.mean()) ** 2).mean()))
                    size[role, position] = spread if spread > 1e-12 * float(np.abs(present).max()) else 1.0
                sides.append((values - centre[role, position]) / size[role, position])
            moment = clinician_moments(sides[0], sides[1], groups.codes, k)
            problem = _unusable(moment, np.ones((1, k)))[0]
            if problem:
                notes.append(f"{name}: not estimable, {_PROBLEMS[int(problem)]}")
            moments.append(None if problem else moment)
        alone = [label for label, one in zip(groups.labels, groups.sizes == 1, strict=True) if one]
        if alone:
            notes.append(
                f"{len(alone)} clinician(s) with one patient tell about the sum of both levels only: {listed(alone)}"
            )
        kinds = tuple(
            np.array([_count(p[:, s], c[:, s], kind) for s in range(n_scales)], dtype=np.int64) for kind in range(3)
        )
        with_scores = [len(np.unique(groups.codes[~(np.isnan(p[:, s]) & np.isnan(c[:, s]))])) for s in range(n_scales)]
        return cls(
            moments=tuple(moments),
            alike=_alike(moments),
            centre=centre,
            size=size,
            n_clinicians=read_only(np.array(with_scores, dtype=np.int64)),
            n_kinds=(read_only(kinds[0]), read_only(kinds[1]), read_only(kinds[2])),
            notes=tuple(notes),
        )

    def fit(self, counts: FloatArray, *, near: BivariateFits | None = None) -> BivariateFits:
        """Fit every scale on every resample, in the scores' own units; the draws of the first scale first.

        `near` : the fits of the data themselves, from which those of resamples start.
        """
        n_draws, n_scales = len(counts), len(self.moments)
        between, within, covariance = (np.full((3, n_scales, n_draws), np.nan) for _ in range(3))
        mean = np.full((2, n_scales, n_draws), np.nan)
        deviance = np.full((n_scales, n_draws), np.nan)
        converged = np.zeros((n_scales, n_draws), dtype=bool)
        for positions in self.alike:
            together = [moment for moment in (self.moments[s] for s in positions) if moment is not None]
            start = None if near is None else self._standardised(near, positions)
            fits = fit_bivariate(together, _made_usable(together, counts), near=start)
            shape = (len(positions), n_draws)
            at = list(positions)
            # A resample can lack what the data have (a repeated clinician without variance): undefined there.
            bad = np.stack([_unusable(moment, counts) > 0 for moment in together])
            good = fits.converged.reshape(shape) & ~bad
            for target, packed in ((between, fits.between), (within, fits.within), (covariance, fits.mean_covariance)):
                target[:, at] = np.where(good, packed.reshape(3, *shape), np.nan)
            mean[:, at] = np.where(good, fits.mean.reshape(2, *shape), np.nan)
            deviance[at] = np.where(good, fits.deviance.reshape(shape), np.nan)
            converged[at] = good
        s1, s2 = self.size[0][:, None], self.size[1][:, None]
        unit = np.stack([s1 * s1, s1 * s2, s2 * s2])
        mean = mean * self.size[:, :, None] + self.centre[:, :, None]
        return BivariateFits(
            between=(between * unit).reshape(3, -1),
            within=(within * unit).reshape(3, -1),
            mean=mean.reshape(2, -1),
            mean_covariance=(covariance * unit).reshape(3, -1),
            deviance=deviance.reshape(-1),
            converged=converged.reshape(-1),
        )

    def _standardised(self, fits: BivariateFits, positions: tuple[int, ...]) -> BivariateFits | None:
        """Return the fits of some scales in standardised units; None if one of them did not converge."""
        at = list(positions)
        if not fits.converged[at].all():
            return None
        s1, s2 = self.size[0][at], self.size[1][at]
        unit = np.stack([s1 * s1, s1 * s2, s2 * s2])
        return replace(fits, between=fits.between[:, at] / unit, within=fits.within[:, at] / unit)

    def log_likelihood(self, point: BivariateFits) -> FloatArray:
        """Return the restricted log-likelihood in the scores' own units, with all its constants."""
        n_p, n_c = self.n_kinds[0] + self.n_kinds[1], self.n_kinds[0] + self.n_kinds[2]
        constant = (n_p + n_c - 2) * np.log(2 * np.pi)
        jacobian = 2 * ((n_p - 1) * np.log(self.size[0]) + (n_c - 1) * np.log(self.size[1]))
        return np.asarray(-0.5 * (point.deviance + constant + jacobian), dtype=np.float64)


_PROBLEMS: Final = {
    1: "fewer than three dyads with both sides, or too few clinicians with several of them",
    2: "the patients' scores do not vary within clinicians",
    3: "the clinicians' scores do not vary within clinicians",
    4: "both roles' scores are the same, or one follows from the other, within clinicians",
}


def _unusable(moment: ClinicianMoments, counts: FloatArray) -> IntArray:
    """Return, for each resample, 0 or which of `_PROBLEMS` keeps W from being estimated."""
    both = moment.counts[0]
    inside = np.where(both > 0, 1 / np.maximum(both, 1.0), 0.0)
    squares = np.stack(
        [
            moment.products[0] - moment.sums[0] ** 2 * inside,
            moment.products[1] - moment.sums[0] * moment.sums[1] * inside,
            moment.products[2] - moment.sums[1] ** 2 * inside,
        ]
    )
    s11, s12, s22 = (counts @ part for part in squares)
    degrees = counts @ np.maximum(both - 1, 0.0)
    total = np.maximum(counts @ both, 1.0)
    problem = np.zeros(len(counts), dtype=np.int64)
    singular = s11 * s22 - s12 * s12 <= _NO_VARIANCE * np.abs(s11 * s22)
    problem[singular] = 4
    problem[s22 <= _NO_VARIANCE * total] = 3
    problem[s11 <= _NO_VARIANCE * total] = 2
    problem[
        (degrees < 2) | (counts @ both < 3) | ((counts > 0).astype(np.float64) @ (both > 0).astype(np.float64) < 2)
    ] = 1
    return problem


def _made_usable(moments: Sequence[ClinicianMoments], counts: FloatArray) -> FloatArray:
    """Replace resamples on which some scale cannot be fitted by the data themselves; their results are not used."""
    bad = np.any([_unusable(moment, counts) > 0 for moment in moments], axis=0)
    return np.where(bad[:, None], 1.0, counts)


def _alike(moments: Sequence[ClinicianMoments | None]) -> tuple[tuple[int, ...], ...]:
    kinds: dict[bytes, list[int]] = {}
    for position, moment in enumerate(moments):
        if moment is not None:
            kinds.setdefault(moment.counts.tobytes(), []).append(position)
    return tuple(tuple(positions) for positions in kinds.values())


def _count(p: FloatArray, c: FloatArray, kind: int) -> int:
    has_p, has_c = ~np.isnan(p), ~np.isnan(c)
    return int(((has_p & has_c), (has_p & ~has_c), (has_c & ~has_p))[kind].sum())


def _figures(fits: BivariateFits, n_scales: int) -> tuple[dict[str, FloatArray], npt.NDArray[np.bool_]]:
    """Return each statistic as (n_draws, n_scales), and where B is singular."""

    def shaped(values: FloatArray) -> FloatArray:
        return np.ascontiguousarray(values.reshape(n_scales, -1).T)

    b11, b12, b22 = (shaped(part) for part in fits.between)
    w11, w12, w22 = (shaped(part) for part in fits.within)
    with np.errstate(divide="ignore", invalid="ignore"):
        touches = (b11 <= _TOUCHES_ZERO * (b11 + w11)) | (b22 <= _TOUCHES_ZERO * (b22 + w22))
        between = np.where(touches, np.nan, np.clip(b12 / np.sqrt(b11 * b22), -1.0, 1.0))
        figures = {
            "consensus": b11 / (b11 + w11),
            "assimilation": b22 / (b22 + w22),
            "dyadic_reciprocity": np.clip(w12 / np.sqrt(w11 * w22), -1.0, 1.0),
            "generalised_reciprocity": between,
        }
        singular = touches | (np.abs(between) > _EDGE)
    for name, part in zip(_VARIANCES, (b11, b12, b22, w11, w12, w22), strict=True):
        figures[name] = part
    return figures, singular


def _boundary_notes(
    names: Sequence[str],
    figures: dict[str, FloatArray],
    at_boundary: npt.NDArray[np.bool_],
    point: BivariateFits,
    rules: ClinicianRules,
) -> list[str]:
    notes = []
    if not rules.generalised_reciprocity:
        notes.append(
            f"generalised reciprocity is not estimable with {rules.n_clinicians} clinicians: it needs "
            f"{MINIMUM_FOR_GENERALISED_RECIPROCITY} at least, about 100 to be of use"
        )
    if not rules.cluster_bootstrap and rules.inference:
        notes.append(f"no intervals: resampling clinicians needs {MINIMUM_FOR_BOOTSTRAP}")
    for position, name in enumerate(names):
        if np.isnan(figures["consensus"][0, position]):
            continue
        zero = [
            side
            for side, share in (("consensus", figures["consensus"]), ("assimilation", figures["assimilation"]))
            if share[0, position] <= _TOUCHES_ZERO
        ]
        if zero:
            notes.append(
                f"{name}: no variance between clinicians ({' and '.join(zero)} at 0), so generalised reciprocity is "
                "not estimable"
            )
        elif at_boundary[position]:
            notes.append(f"{name}: the roles correlate at ±1 between clinicians, the edge: not estimable")
    missed = [
        name
        for name, settled, w in zip(names, point.converged, point.within[0], strict=True)
        if not settled and not np.isnan(w)
    ]
    if missed:
        notes.append(f"the fit did not converge: {listed(missed)}")
    return notes


def _spans(
    outcome: ClusterBootstrap | None, reported: Sequence[str], n_scales: int
) -> dict[str, tuple[FloatArray, FloatArray, FloatArray]]:
    none = np.full(n_scales, np.nan)
    spans = dict.fromkeys((*_STATISTICS, *_VARIANCES), (none, none, none))
    if outcome is not None:
        shaped = [x.reshape(-1, n_scales) for x in (outcome.se, outcome.ci_lower, outcome.ci_upper)]
        for i, name in enumerate((*reported, *_VARIANCES)):
            spans[name] = (shaped[0][i], shaped[1][i], shaped[2][i])
    return spans


def _matrix(packed: Sequence[FloatArray]) -> FloatArray:
    """Return (n_scales, 2, 2) of the three packed entries."""
    one, two, three = packed
    return read_only(np.stack([np.stack([one, two], axis=-1), np.stack([two, three], axis=-1)], axis=-2))


def read_only_flags(flags: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Close an array of flags to writing."""
    closed = flags.copy()
    closed.setflags(write=False)
    return closed


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _ErrorSums:
    """Per role and clinician: number, sum and squares of the differences between the halves."""

    n: FloatArray  # (2, n_clinicians)
    sums: FloatArray
    squares: FloatArray

    @classmethod
    def of(cls, differences: Sequence[FloatArray], groups: ClinicianGroups) -> "_ErrorSums":
        parts: list[list[FloatArray]] = [[], [], []]
        for difference in differences:
            present = ~np.isnan(difference)
            centred = np.where(present, difference - (difference[present].mean() if present.any() else 0.0), 0.0)
            for target, values in zip(parts, (present.astype(np.float64), centred, centred**2), strict=True):
                added = np.bincount(groups.codes, weights=values, minlength=groups.n_clinicians)
                target.append(added.astype(np.float64))
        return cls(n=np.stack(parts[0]), sums=np.stack(parts[1]), squares=np.stack(parts[2]))

    def variance(self, counts: FloatArray) -> FloatArray:
        """Return the error variance of one half, (2, n_draws)."""
        n, sums, squares = (part @ counts.T for part in (self.n, self.sums, self.squares))
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray((squares - sums**2 / n) / (n - 1) / 2, dtype=np.float64)

    def log_likelihood(self) -> float:
        """Return what the differences add to the restricted log-likelihood of the halves."""
        error = self.variance(np.ones((1, self.n.shape[1])))[:, 0]
        n = self.n.sum(axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            # ½·d has variance σ²/2, as the error of a mean; halves to mean and half difference has Jacobian 2 a dyad.
            parts = (n - 1) * (1 + np.log(2 * np.pi) + np.log(error / 2)) + np.log(n) + 2 * (n - 1) * np.log(2.0)
        return float(-0.5 * parts.sum())


def _relationship_reciprocity(fits: BivariateFits, error: FloatArray) -> FloatArray:
    w11, w12, w22 = fits.within
    r11, r22 = w11 - error[0] / 2, w22 - error[1] / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        defined = (r11 > _TOUCHES_ZERO * w11) & (r22 > _TOUCHES_ZERO * w22)
        return np.where(defined, w12 / np.sqrt(np.where(defined, r11 * r22, 1.0)), np.nan)
