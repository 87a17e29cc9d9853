"""How alike the two roles' profiles of components are, beyond what any two people would share."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from analysis.psychometrics.dyads.agreement import require_confidence
from analysis.psychometrics.dyads.pairing import as_two_roles
from analysis.psychometrics.errors import AnalysisInputError
from analysis.psychometrics.inference.few_clinicians import ClinicianGroups, group_by_clinician, rules_for
from analysis.psychometrics.inference.resampling import bootstrap_clinicians
from analysis.psychometrics.response_matrix import FloatArray, IntArray, read_only

#: Profiles of fewer components are not compared.
MINIMUM_COMPONENTS: Final = 10
#: Up to so many dyads every pair of a patient with another clinician enters the baseline.
EXACT_UP_TO: Final = 2000
#: Beyond, so many pairs drawn for each patient.
PARTNERS: Final = 200
#: Pairs handled in one step.
_PAIRS_PER_STEP: Final = 2_000_000
#: A profile whose variance is below this share of the components' spread is flat (rounding leaves about 1e-30).
_FLAT: Final = 1e-20

#: The measures that are compared with chance, in the order of `ChanceComparison`'s arrays.
MEASURES: Final = (
    "correlation",
    "double_entry_icc",
    "distinctive_correlation",
    "distinctive_double_entry_icc",
    "d_squared",
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ProfileSimilarity:
    """Similarity of the two profiles of each dyad. Arrays have one entry a dyad; NaN where undefined.

    `d_squared` = `elevation` + `scatter` + `shape` exactly. A flat profile has neither correlation nor shape.
    """

    n_components: IntArray  # scored on both sides
    d_squared: FloatArray
    elevation: FloatArray
    scatter: FloatArray
    shape: FloatArray
    correlation: FloatArray
    double_entry_icc: FloatArray
    distinctive_correlation: FloatArray  # each role's mean profile removed
    distinctive_double_entry_icc: FloatArray
    normative_correlation: float  # between the two roles' mean profiles
    n_flat: int  # dyads with a flat profile on either side
    n_too_short: int  # dyads with too few components
    minimum_components: int
    notes: tuple[str, ...]


def compare_profiles(
    patient: npt.ArrayLike, clinician: npt.ArrayLike, *, minimum_components: int = MINIMUM_COMPONENTS
) -> ProfileSimilarity:
    """Divide the distance of each dyad's two profiles into elevation, scatter and shape, and correlate them.

    Parameters
    ----------
    patient, clinician : array-like, shape (n_dyads, n_components)
        Component scores in one unit; NaN where not scored. A component counts where both sides have it.
    minimum_components : int
        Dyads with fewer are NaN.

    Returns
    -------
    ProfileSimilarity

    Raises
    ------
    AnalysisInputError
        Shapes that differ, a role missing, fewer than two components asked for, or fewer columns than the minimum.

    Notes
    -----
    D² = Σ(C − P)² = m(C̄ − P̄)² + m(s_C − s_P)² + 2·m·s_C·s_P(1 − r), SDs with divisor m (Cronbach & Gleser 1953, Psychol
    Bull 50:456). Double-entry ICC: the correlation of the 2m pairs (P, C) and (C, P). Distinctive similarity: each
    role's mean of each component is subtracted first, because two people who both answer like the average look alike
    (Furr 2008, J Pers 76:1267; Wood & Furr 2016); a profile that is flat as given stays undefined.

    Examples
    --------
    >>> import numpy as np
    >>> patient = np.array([[80.0, 60, 70, 90], [50, 55, 70, 60], [40, 60, 80, 75]])
    >>> clinician = np.array([[85.0, 50, 75, 80], [60, 65, 80, 70], [70, 70, 70, 70]])
    >>> result = compare_profiles(patient, clinician, minimum_components=4)
    >>> result.d_squared, result.elevation, result.correlation.round(3)
    (array([ 250.,  400., 1125.]), array([ 25.  , 400.  , 156.25]), array([0.83, 1.  ,  nan]))
    """
    who = "compare_profiles"
    p, c = _profiles(patient, clinician, minimum_components, who=who)
    both = ~(np.isnan(p) | np.isnan(c))
    raw = _similarity(_Sums.of_dyads(p, c, both), _spread(p, c), minimum_components)
    p_own, c_own = p - _component_means(p, both), c - _component_means(c, both)
    own = _similarity(_Sums.of_dyads(p_own, c_own, both), _spread(p, c), minimum_components)
    flat = raw.flat_patient | raw.flat_clinician
    n = both.sum(axis=1)
    short = n < minimum_components
    notes = []
    if short.any():
        notes.append(f"{int(short.sum())} dyad(s) with fewer than {minimum_components} components are not compared")
    n_flat = int((flat & ~short).sum())
    if n_flat:
        notes.append(f"{n_flat} dyad(s) with a flat profile have no correlation and no shape")
    with_both = both.any(axis=0)
    means = np.stack([_component_means(side, both)[with_both] for side in (p, c)])
    varies = (means.std(axis=1) > 1e-12 * max(1.0, float(np.abs(means).max()))).all() and means.shape[1] > 1
    return ProfileSimilarity(
        n_components=read_only(n.astype(np.int64)),
        d_squared=read_only(raw.d_squared),
        elevation=read_only(raw.elevation),
        scatter=read_only(raw.scatter),
        shape=read_only(raw.shape),
        correlation=read_only(raw.correlation),
        double_entry_icc=read_only(raw.double_entry_icc),
        distinctive_correlation=read_only(np.where(flat, np.nan, own.correlation)),
        distinctive_double_entry_icc=read_only(np.where(flat, np.nan, own.double_entry_icc)),
        normative_correlation=float(np.asarray(np.corrcoef(means))[0, 1]) if varies else float("nan"),
        n_flat=n_flat,
        n_too_short=int(short.sum()),
        minimum_components=minimum_components,
        notes=tuple(notes),
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ChanceComparison:
    """Mean similarity against two chance baselines. Arrays have one entry for each of `measures`.

    `real` : the dyads themselves. `other_clinician` : the patient with another clinician's account of another patient.
    `same_clinician` : the patient with the own clinician's account of another patient. Only `beyond_same_clinician`
    says that clinicians see *this* patient.
    """

    measures: tuple[str, ...]
    real: FloatArray
    other_clinician: FloatArray
    same_clinician: FloatArray
    beyond_other_clinician: FloatArray  # means of the differences, over dyads that have both
    beyond_other_se: FloatArray
    beyond_other_ci_lower: FloatArray
    beyond_other_ci_upper: FloatArray
    beyond_same_clinician: FloatArray
    beyond_same_se: FloatArray
    beyond_same_ci_lower: FloatArray
    beyond_same_ci_upper: FloatArray
    n_used: IntArray  # dyads behind `real`
    n_with_same: IntArray  # dyads whose clinician has another patient
    n_clinicians: int
    exact: bool  # whether every pair entered the baseline of other clinicians
    n_draws: int
    confidence: float
    notes: tuple[str, ...]


def compare_with_chance(
    patient: npt.ArrayLike,
    clinician: npt.ArrayLike,
    clinicians: npt.ArrayLike,
    *,
    rng: np.random.Generator,
    minimum_components: int = MINIMUM_COMPONENTS,
    exact_up_to: int = EXACT_UP_TO,
    partners: int = PARTNERS,
    confidence: float = 0.95,
    n_draws: int = 2000,
    progress: Callable[[float, str], None] | None = None,
) -> ChanceComparison:
    """Compare the dyads' profile similarity with that of patients and clinicians who do not belong together.

    Parameters
    ----------
    patient, clinician : array-like, shape (n_dyads, n_components)
        As in `compare_profiles`.
    clinicians : array-like, shape (n_dyads,)
        The clinician of each dyad.
    rng : numpy.random.Generator
        For resampling clinicians, and for drawing pairs where there are too many.
    minimum_components : int
        Pairs with fewer components on both sides are left out.
    exact_up_to : int
        Up to so many dyads every pair with another clinician enters the baseline.
    partners : int
        Beyond, so many pairs are drawn for each patient.
    confidence : float
        Of the intervals.
    n_draws : int
        Resamples of whole clinicians; intervals need 20 clinicians.
    progress : callable, optional
        Called with the share done and a text.

    Returns
    -------
    ChanceComparison

    Raises
    ------
    AnalysisInputError
        As in `compare_profiles`; one clinician only.

    Notes
    -----
    Baselines are means over all pairs of one patient, then over patients. In a resample the pairs' means of each
    patient stay as they are. Only similarity beyond the same clinician's other patients is knowledge of this patient:
    the rest is the average profile and the clinician's style (Kenny, Kashy & Cook 2006, ch. 12; Furr 2008).

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(4)
    >>> clinicians = np.repeat(np.arange(25), 6)
    >>> usual, style, own = rng.normal(size=12), rng.normal(size=(25, 12))[clinicians], rng.normal(size=(150, 12))
    >>> patient, clinician = usual + own + rng.normal(size=(150, 12)), usual + style + 0.5 * own
    >>> result = compare_with_chance(patient, clinician, clinicians, rng=rng, n_draws=200)
    >>> result.measures[2], bool(result.beyond_same_ci_lower[2] > 0)
    ('distinctive_correlation', True)
    """
    who = "compare_with_chance"
    require_confidence(confidence, who=who)
    p, c = _profiles(patient, clinician, minimum_components, who=who)
    groups = group_by_clinician(clinicians, who=who, n_rows=len(p))
    if groups.n_clinicians < 2:
        raise AnalysisInputError(
            f"{who} requires at least two clinicians; got one. Remedy: pass the column that tells the clinicians apart."
        )
    own = compare_profiles(p, c, minimum_components=minimum_components)
    real = np.stack([getattr(own, measure) for measure in MEASURES])
    both = ~(np.isnan(p) | np.isnan(c))
    pairs = _Pairs(
        raw=(p, c),
        own=(p - _component_means(p, both), c - _component_means(c, both)),
        spread=_spread(p, c),
        minimum=minimum_components,
    )
    same = _same_clinician(pairs, groups)
    exact = len(p) <= exact_up_to
    other = _every_other(pairs, groups) if exact else _drawn_others(pairs, groups, partners, rng)
    rules = rules_for(groups.n_clinicians)
    notes = [*own.notes, *rules.notes]
    if not exact:
        notes.append(f"baseline of other clinicians from {partners} pairs drawn for each patient")
    alone = int((groups.sizes == 1).sum())
    if alone:
        notes.append(f"{alone} clinician(s) with one patient have no other patient to compare with")
    differences = np.concatenate([real - other, real - same])  # (2·measures, n_dyads)
    present = ~np.isnan(differences)
    by_clinician = [
        np.add.reduceat(part[:, groups.order], groups.starts, axis=1)
        for part in (np.where(present, differences, 0.0), present.astype(np.float64))
    ]

    def statistic(counts: FloatArray) -> FloatArray:
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray((counts @ by_clinician[0].T) / (counts @ by_clinician[1].T), dtype=np.float64)

    outcome = bootstrap_clinicians(
        statistic,
        n_clinicians=groups.n_clinicians,
        n_draws=n_draws,
        rng=rng,
        confidence=confidence,
        names=[
            f"{measure} beyond {what}" for what in ("other clinicians", "the same clinician") for measure in MEASURES
        ],
        progress=progress,
    )
    notes += [note for note in outcome.notes if note not in notes]
    k = len(MEASURES)
    return ChanceComparison(
        measures=MEASURES,
        real=_mean(real),
        other_clinician=_mean(other),
        same_clinician=_mean(same),
        beyond_other_clinician=read_only(outcome.estimate[:k].copy()),
        beyond_other_se=read_only(outcome.se[:k].copy()),
        beyond_other_ci_lower=read_only(outcome.ci_lower[:k].copy()),
        beyond_other_ci_upper=read_only(outcome.ci_upper[:k].copy()),
        beyond_same_clinician=read_only(outcome.estimate[k:].copy()),
        beyond_same_se=read_only(outcome.se[k:].copy()),
        beyond_same_ci_lower=read_only(outcome.ci_lower[k:].copy()),
        beyond_same_ci_upper=read_only(outcome.ci_upper[k:].copy()),
        n_used=read_only((~np.isnan(real)).sum(axis=1).astype(np.int64)),
        n_with_same=read_only((~np.isnan(real - same)).sum(axis=1).astype(np.int64)),
        n_clinicians=groups.n_clinicians,
        exact=exact,
        n_draws=outcome.n_draws,
        confidence=confidence,
        notes=tuple(notes),
    )


def _profiles(
    patient: npt.ArrayLike, clinician: npt.ArrayLike, minimum_components: int, *, who: str
) -> tuple[FloatArray, FloatArray]:
    p, c = as_two_roles(patient, clinician, who=who)
    if minimum_components < 2:
        raise AnalysisInputError(
            f"{who} requires profiles of at least two components; got a minimum of {minimum_components}. "
            f"Remedy: use {MINIMUM_COMPONENTS}."
        )
    if p.shape[1] < minimum_components:
        raise AnalysisInputError(
            f"{who} requires at least {minimum_components} components; got {p.shape[1]}. Remedy: compare profiles over "
            "all components, or lower minimum_components knowing that short profiles are unstable."
        )
    return p, c


def _component_means(values: FloatArray, both: npt.NDArray[np.bool_]) -> FloatArray:
    """Return each component's mean over the dyads that have it on both sides; 0 where none has."""
    return np.asarray(np.where(both, values, 0.0).sum(axis=0) / np.maximum(both.sum(axis=0), 1), dtype=np.float64)


def _spread(p: FloatArray, c: FloatArray) -> float:
    """Return the squared size of the scores, against which a variance is judged."""
    return max(float(np.nanmax(np.abs(p))), float(np.nanmax(np.abs(c))), 1e-150) ** 2


def _mean(values: FloatArray) -> FloatArray:
    present = ~np.isnan(values)
    counts = present.sum(axis=1)
    sums = np.where(present, values, 0.0).sum(axis=1)
    return read_only(np.where(counts > 0, sums / np.maximum(counts, 1), np.nan))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Sums:
    """Number of components and central moments of pairs of profiles, any shape."""

    n: FloatArray
    shift: FloatArray  # mean of C minus mean of P
    pp: FloatArray  # variances with divisor n
    cc: FloatArray
    pc: FloatArray

    @classmethod
    def of_dyads(cls, p: FloatArray, c: FloatArray, both: npt.NDArray[np.bool_]) -> "_Sums":
        n = np.maximum(both.sum(axis=1), 1).astype(np.float64)
        p_mean, c_mean = (np.where(both, x, 0.0).sum(axis=1) / n for x in (p, c))
        dp, dc = (np.where(both, x - mean[:, None], 0.0) for x, mean in ((p, p_mean), (c, c_mean)))
        return cls(
            n=both.sum(axis=1).astype(np.float64),
            shift=c_mean - p_mean,
            pp=(dp * dp).sum(axis=1) / n,
            cc=(dc * dc).sum(axis=1) / n,
            pc=(dp * dc).sum(axis=1) / n,
        )

    @classmethod
    def of_pairs(cls, p: FloatArray, c: FloatArray) -> "_Sums":
        """Every row of p with every row of c: (n_p, n_c)."""
        # One centre for both keeps the sums of squares free from cancellation; no measure depends on it.
        centre = float(np.nanmean(c)) if not np.isnan(c).all() else 0.0
        mp, mc = (~np.isnan(p)).astype(np.float64), (~np.isnan(c)).astype(np.float64)
        p0, c0 = np.where(mp > 0, p - centre, 0.0), np.where(mc > 0, c - centre, 0.0)
        count = mp @ mc.T
        n = np.maximum(count, 1.0)
        p_mean, c_mean = p0 @ mc.T / n, mp @ c0.T / n
        return cls(
            n=count,
            shift=c_mean - p_mean,
            pp=(p0 * p0) @ mc.T / n - p_mean**2,
            cc=mp @ (c0 * c0).T / n - c_mean**2,
            pc=p0 @ c0.T / n - p_mean * c_mean,
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Similarity:
    d_squared: FloatArray
    elevation: FloatArray
    scatter: FloatArray
    shape: FloatArray
    correlation: FloatArray
    double_entry_icc: FloatArray
    flat_patient: npt.NDArray[np.bool_]
    flat_clinician: npt.NDArray[np.bool_]


def _similarity(sums: _Sums, spread: float, minimum: int, *, dust: float = _FLAT) -> _Similarity:
    """Return every measure of pairs of profiles; NaN where too short, or flat."""
    long_enough = sums.n >= minimum
    flat_p, flat_c = sums.pp <= dust * spread, sums.cc <= dust * spread
    pp, cc = np.where(flat_p, 0.0, sums.pp), np.where(flat_c, 0.0, sums.cc)
    pc = np.where(flat_p | flat_c, 0.0, sums.pc)
    sd_p, sd_c = np.sqrt(pp), np.sqrt(cc)
    product = sd_p * sd_c
    curved = product > 0
    correlation = np.clip(pc / np.where(curved, product, 1.0), -1.0, 1.0)
    quarter = sums.shift**2 / 4
    whole = (pp + cc) / 2 + quarter
    n = sums.n
    flat = flat_p | flat_c

    def given(values: FloatArray, *, unless: npt.NDArray[np.bool_] | None = None) -> FloatArray:
        hidden = ~long_enough if unless is None else ~long_enough | unless
        return np.where(hidden, np.nan, values)

    return _Similarity(
        d_squared=given(n * (sums.shift**2 + pp + cc - 2 * pc)),
        elevation=given(n * sums.shift**2),
        scatter=given(n * (sd_c - sd_p) ** 2),
        shape=given(2 * n * (product - pc), unless=flat),
        correlation=given(correlation, unless=flat),
        double_entry_icc=given((pc - quarter) / np.where(whole > 0, whole, 1.0), unless=flat_p & flat_c),
        flat_patient=flat_p,
        flat_clinician=flat_c,
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Pairs:
    """Both roles' profiles, as given and with the roles' means removed."""

    raw: tuple[FloatArray, FloatArray]
    own: tuple[FloatArray, FloatArray]
    spread: float
    minimum: int

    def measures(self, rows: IntArray, columns: IntArray) -> FloatArray:
        """Return the measures of all pairs of patients and clinicians' accounts: (measures, n_rows, n_columns)."""
        # Differences of sums leave more dust than the centred sums of a dyad do.
        raw = _similarity(
            _Sums.of_pairs(self.raw[0][rows], self.raw[1][columns]), self.spread, self.minimum, dust=1e-13
        )
        own = _similarity(
            _Sums.of_pairs(self.own[0][rows], self.own[1][columns]), self.spread, self.minimum, dust=1e-13
        )
        flat = raw.flat_patient | raw.flat_clinician
        return np.stack(
            [
                raw.correlation,
                raw.double_entry_icc,
                np.where(flat, np.nan, own.correlation),
                np.where(flat, np.nan, own.double_entry_icc),
                raw.d_squared,
            ]
        )


def _same_clinician(pairs: _Pairs, groups: ClinicianGroups) -> FloatArray:
    """Return, for each patient, the means over the clinician's accounts of the other patients: (measures, n_dyads)."""
    means = np.full((len(MEASURES), len(groups.codes)), np.nan)
    for start, size in zip(groups.starts.tolist(), groups.sizes.tolist(), strict=True):
        if size > 1:
            rows = groups.order[start : start + size]
            values = pairs.measures(rows, rows)
            values[:, np.arange(size), np.arange(size)] = np.nan
            means[:, rows] = _mean_over_last(values)
    return means


def _every_other(pairs: _Pairs, groups: ClinicianGroups) -> FloatArray:
    """Return, for each patient, the means over all accounts by other clinicians: (measures, n_dyads)."""
    n = len(groups.codes)
    everyone = np.arange(n, dtype=np.int64)
    means = np.full((len(MEASURES), n), np.nan)
    step = max(1, _PAIRS_PER_STEP // n)
    for start in range(0, n, step):
        rows = everyone[start : start + step]
        values = pairs.measures(rows, everyone)
        values[:, groups.codes[rows][:, None] == groups.codes[None, :]] = np.nan
        means[:, rows] = _mean_over_last(values)
    return means


def _drawn_others(pairs: _Pairs, groups: ClinicianGroups, partners: int, rng: np.random.Generator) -> FloatArray:
    """Return the same from drawn accounts: blocks of patients share their draw of accounts."""
    n = len(groups.codes)
    means = np.full((len(MEASURES), n), np.nan)
    shuffled = rng.permutation(n).astype(np.int64)
    for start in range(0, n, partners):
        rows = shuffled[start : start + partners]
        columns = rng.choice(n, size=min(n, partners), replace=False).astype(np.int64)
        values = pairs.measures(rows, columns)
        values[:, groups.codes[rows][:, None] == groups.codes[columns][None, :]] = np.nan
        means[:, rows] = _mean_over_last(values)
    return means


def _mean_over_last(values: FloatArray) -> FloatArray:
    present = ~np.isnan(values)
    counts = present.sum(axis=-1)
    return np.where(counts > 0, np.where(present, values, 0.0).sum(axis=-1) / np.maximum(counts, 1), np.nan)
