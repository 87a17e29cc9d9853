"""How many clinicians, patients and items? Precision and power of a study's main figures by simulation.

Before a study: designs of different size are simulated from assumed values. While it runs: the values come from the
data so far, and the question is whether they are enough yet.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.special import stdtr

from analysis.psychometrics.dyads.bivariate_reml import clinician_moments, fit_bivariate
from analysis.psychometrics.dyads.one_with_many import one_with_many
from analysis.psychometrics.errors import AnalysisInputError
from analysis.psychometrics.inference.few_clinicians import (
    MINIMUM_FOR_GENERALISED_RECIPROCITY,
    group_by_clinician,
    rules_for,
)
from analysis.psychometrics.inference.resampling import DrawPart, Progress, plan_parts
from analysis.psychometrics.inference.robust_inference import regress_clustered
from analysis.psychometrics.response_matrix import FloatArray, IntArray

#: What each simulated study estimates, in this order.
FIGURES: Final = (
    "consensus",
    "assimilation",
    "dyadic_reciprocity",
    "generalised_reciprocity",
    "icc_a1",
    "alpha_patient",
    "alpha_clinician",
    "omega_patient",
    "omega_clinician",
)
#: What each simulated study tests.
TESTS: Final = ("dyadic_reciprocity", "partner_path")
_SIMULATIONS_PER_PART: Final = 50
_FACTOR_STEPS: Final = 60
_TOUCHES_ZERO: Final = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanningDesign:
    """A study's size and what is assumed about it. Scores have variance 1 in each role.

    `patients_per_clinician` : one number, or the number of each clinician (then `n_clinicians` follows from it).
    `consensus`, `assimilation` : shares of the patients' and clinicians' scores between clinicians.
    `dyadic_reciprocity`, `generalised_reciprocity` : correlation of the roles within and between clinicians.
    `mean_difference` : clinicians' minus patients' mean in SDs. `n_items`, `inter_item_correlation` : of the scale, in
    each role. `actor_path`, `partner_path` : standardised effects of the patient's and the clinician's score on a
    patient's outcome, of which `outcome_icc` of the unexplained part lies between clinicians; a partner path of None is
    not simulated.
    """

    n_clinicians: int
    patients_per_clinician: int | tuple[int, ...] = 10
    n_items: int = 3
    consensus: float = 0.06
    assimilation: float = 0.50
    dyadic_reciprocity: float = 0.30
    generalised_reciprocity: float = 0.30
    mean_difference: float = 0.0
    inter_item_correlation: float = 0.50
    actor_path: float = 0.40
    partner_path: float | None = 0.15
    outcome_icc: float = 0.05

    def __post_init__(self) -> None:
        sizes = self.sizes
        if self.n_clinicians < 3 or len(sizes) != self.n_clinicians or sizes.min() < 1 or sizes.max() < 2:
            raise AnalysisInputError(
                f"PlanningDesign requires three clinicians or more with a number of patients each, one of them two or "
                f"more; got {self.n_clinicians} clinicians and {self.patients_per_clinician}. Remedy: plan for 20 by 5 "
                "at least."
            )
        if self.n_items < 1:
            raise AnalysisInputError(f"PlanningDesign requires an item; got {self.n_items}. Remedy: plan for 3.")
        for name, low, high in (
            ("consensus", 0.0, 1.0),
            ("assimilation", 0.0, 1.0),
            ("dyadic_reciprocity", -1.0, 1.0),
            ("generalised_reciprocity", -1.0, 1.0),
            ("inter_item_correlation", 0.0, 1.0),
            ("outcome_icc", 0.0, 1.0),
        ):
            value = getattr(self, name)
            if not low <= value <= high or (value == 1.0 and high == 1.0 and low == 0.0):
                raise AnalysisInputError(
                    f"PlanningDesign requires {name} from {low:g} to {'below ' if low == 0 else ''}{high:g}; got "
                    f"{value}. Remedy: take a value from a pilot or from a similar instrument."
                )
        reliability = self.reliability
        shares = (self.consensus, self.assimilation)
        if max(shares) >= reliability:
            raise AnalysisInputError(
                f"PlanningDesign requires shares between clinicians below the scores' reliability {reliability:.2f}; "
                f"got {max(shares):.2f}. Remedy: more items, or items that correlate higher."
            )
        within = self.dyadic_reciprocity * np.sqrt((1 - shares[0]) * (1 - shares[1]))
        limit = np.sqrt((reliability - shares[0]) * (reliability - shares[1]))
        if abs(within) > limit:
            raise AnalysisInputError(
                f"PlanningDesign requires a dyadic reciprocity that scores of this reliability can show; got "
                f"{self.dyadic_reciprocity} where {limit / within * self.dyadic_reciprocity:.2f} is the limit. "
                "Remedy: more items, or a smaller reciprocity."
            )
        if self.partner_path is not None and self.unexplained <= 0:
            raise AnalysisInputError(
                "PlanningDesign requires paths that explain less than the whole outcome; got "
                f"{self.actor_path} and {self.partner_path}. Remedy: choose smaller ones."
            )

    @property
    def sizes(self) -> IntArray:
        """Patients of each clinician."""
        if isinstance(self.patients_per_clinician, tuple):
            return np.array(self.patients_per_clinician, dtype=np.int64)
        return np.full(max(self.n_clinicians, 0), self.patients_per_clinician, dtype=np.int64)

    @property
    def n_dyads(self) -> int:
        """Patients of all clinicians."""
        return int(self.sizes.sum())

    @property
    def reliability(self) -> float:
        """Alpha of the scale by the Spearman-Brown formula; 1 for a single score."""
        if self.n_items == 1:
            return 1.0
        r = self.inter_item_correlation
        return self.n_items * r / (1 + (self.n_items - 1) * r)

    @property
    def between(self) -> FloatArray:
        """Covariance matrix of the two roles' scores between clinicians."""
        covariance = self.generalised_reciprocity * np.sqrt(self.consensus * self.assimilation)
        return np.array([[self.consensus, covariance], [covariance, self.assimilation]])

    @property
    def within(self) -> FloatArray:
        """Covariance matrix of the two roles' scores within clinicians, error included."""
        p, c = 1 - self.consensus, 1 - self.assimilation
        covariance = self.dyadic_reciprocity * np.sqrt(p * c)
        return np.array([[p, covariance], [covariance, c]])

    @property
    def unexplained(self) -> float:
        """Variance of the outcome that neither path explains."""
        partner = self.partner_path or 0.0
        covariance = float(self.between[0, 1] + self.within[0, 1])
        return 1 - self.actor_path**2 - partner**2 - 2 * self.actor_path * partner * covariance

    def true_values(self) -> dict[str, float]:
        """Return what each figure would be in an endless study."""
        covariance = float(self.between[0, 1] + self.within[0, 1])
        alpha = self.reliability if self.n_items > 1 else np.nan
        omega = alpha if self.n_items > 2 else np.nan
        return {
            "consensus": self.consensus,
            "assimilation": self.assimilation,
            "dyadic_reciprocity": self.dyadic_reciprocity,
            "generalised_reciprocity": self.generalised_reciprocity,
            "icc_a1": covariance / (1 + self.mean_difference**2 / 2),
            "alpha_patient": alpha,
            "alpha_clinician": alpha,
            "omega_patient": omega,
            "omega_clinician": omega,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class FigurePrecision:
    """How much a figure varies from study to study; `half_width` is half of the range that holds 90 % of them."""

    name: str
    true_value: float
    mean: float
    sd: float
    p05: float
    p95: float
    half_width: float
    share_defined: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DesignPrecision:
    """Precision and power of one design."""

    design: PlanningDesign
    figures: tuple[FigurePrecision, ...]
    power: tuple[tuple[str, float], ...]  # test → share of studies with p < .05
    n_simulations: int
    notes: tuple[str, ...]

    def figure(self, name: str) -> FigurePrecision:
        """Return one figure by its name."""
        return next(figure for figure in self.figures if figure.name == name)


def plan_simulations(design: PlanningDesign, *, seed: int, n_simulations: int, number: int = 0) -> tuple[DrawPart, ...]:
    """Divide the simulations of a design into parts with seeds of their own; `number` tells designs of a run apart.

    Examples
    --------
    >>> [part.n_draws for part in plan_simulations(PlanningDesign(n_clinicians=20), seed=1, n_simulations=120)]
    [50, 50, 20]
    """
    own = int(np.random.SeedSequence([seed, number, design.n_clinicians]).generate_state(1, dtype=np.uint64)[0] >> 2)
    return plan_parts(seed=own, n_draws=n_simulations, draws_per_part=_SIMULATIONS_PER_PART)


def simulate_part(design: PlanningDesign, part: DrawPart) -> FloatArray:
    """Simulate the studies of one part and return their figures and p values.

    Parameters
    ----------
    design : PlanningDesign
        What is assumed.
    part : DrawPart
        From `plan_simulations`.

    Returns
    -------
    array, shape (n_studies, n_figures + n_tests)
        In the order of `FIGURES`, then the p values of `TESTS`; NaN where a study leaves a figure undefined.

    Examples
    --------
    >>> design = PlanningDesign(n_clinicians=20, patients_per_clinician=5)
    >>> simulate_part(design, plan_simulations(design, seed=1, n_simulations=3)[0]).shape
    (3, 11)
    """
    rng = part.rng()
    sizes = design.sizes
    codes = np.repeat(np.arange(len(sizes)), sizes)
    n, studies, m = len(codes), part.n_draws, design.n_items
    reliability = design.reliability
    between = rng.standard_normal((studies, len(sizes), 2)) @ _root(design.between).T
    true_within = design.within - (1 - reliability) * np.eye(2)
    true = between[:, codes] + rng.standard_normal((studies, n, 2)) @ _root(true_within).T
    # Items are the true score plus an error of m (1 - reliability), so that their mean has variance 1.
    error = rng.standard_normal((studies, n, 2, m)) * np.sqrt(m * (1 - reliability))
    scores = true + error.mean(axis=3)
    results = np.full((studies, len(FIGURES) + len(TESTS)), np.nan)
    results[:, :4] = _one_with_many(scores, codes.astype(np.int64), len(sizes))
    results[:, 4] = _icc_a1(scores + np.array([0.0, design.mean_difference]))
    if m > 1:
        for role in range(2):
            items = true[:, :, role, None] + error[:, :, role]
            results[:, 5 + role], results[:, 7 + role] = _alpha_and_omega(items)
    results[:, 9] = _within_correlation_pvalue(scores, codes, sizes)
    if design.partner_path is not None:
        results[:, 10] = _partner_pvalues(scores, codes, design, rng)
    return results


def summarise_simulations(design: PlanningDesign, results: FloatArray) -> DesignPrecision:
    """Turn the results of all parts, in any order, into precision and power."""
    truths = design.true_values()
    figures = []
    for k, name in enumerate(FIGURES):
        values = results[:, k]
        usable = values[np.isfinite(values)]
        share = len(usable) / len(values)
        # A figure that most studies cannot give has no precision worth the name.
        known = len(usable) >= max(0.5 * len(values), 2)
        p05, p95 = np.quantile(usable, [0.05, 0.95]) if known else (np.nan, np.nan)
        figures.append(
            FigurePrecision(
                name=name,
                true_value=truths[name],
                mean=float(usable.mean()) if known else np.nan,
                sd=float(usable.std(ddof=1)) if known else np.nan,
                p05=float(p05),
                p95=float(p95),
                half_width=float(p95 - p05) / 2,
                share_defined=share,
            )
        )
    power = []
    for k, name in enumerate(TESTS):
        pvalues = results[:, len(FIGURES) + k]
        power.append((name, float((pvalues < 0.05).mean()) if np.isfinite(pvalues).any() else np.nan))
    notes = list(rules_for(design.n_clinicians).notes)
    if design.n_clinicians < MINIMUM_FOR_GENERALISED_RECIPROCITY:
        notes.append(
            f"generalised reciprocity is not reported below {MINIMUM_FOR_GENERALISED_RECIPROCITY} clinicians; its "
            "range here shows why"
        )
    return DesignPrecision(
        design=design,
        figures=tuple(figures),
        power=tuple(power),
        n_simulations=len(results),
        notes=tuple(notes),
    )


def simulate_designs(
    designs: Sequence[PlanningDesign],
    *,
    n_simulations: int,
    rng: np.random.Generator,
    progress: Progress | None = None,
) -> tuple[DesignPrecision, ...]:
    """Simulate designs and return the precision of each figure and the power of each test.

    Parameters
    ----------
    designs : sequence of PlanningDesign
        What to compare.
    n_simulations : int
        Studies a design; 300 or more for planning, since a share of .80 then has a standard error of .023.
    rng : numpy.random.Generator
        Source of the run's seed.
    progress : callable, optional
        Called with the share done and a text.

    Returns
    -------
    tuple of DesignPrecision

    Raises
    ------
    AnalysisInputError
        No design, or fewer than 20 simulations.

    Notes
    -----
    Scores of both roles are normal with the assumed covariance matrices between and within clinicians; items are
    parallel. Each study is analysed as real data are: REML for the one-with-many figures, mean squares for ICC(A,1),
    one-factor principal axes for omega, the correlation within clinicians on N − K − 1 degrees of freedom and CR2
    errors for the tests. The rounding of real answers, ceilings and missing forms cost further precision.

    Examples
    --------
    >>> import numpy as np
    >>> designs = [PlanningDesign(n_clinicians=k, patients_per_clinician=6, partner_path=None) for k in (20, 80)]
    >>> few, many = simulate_designs(designs, n_simulations=40, rng=np.random.default_rng(1))
    >>> few.figure("dyadic_reciprocity").half_width > many.figure("dyadic_reciprocity").half_width
    True
    """
    if not designs:
        raise AnalysisInputError("simulate_designs requires a design; got none. Remedy: name numbers of clinicians.")
    if n_simulations < 20:
        raise AnalysisInputError(
            f"simulate_designs requires at least 20 simulations; got {n_simulations}. Remedy: use 300 or more."
        )
    seed = int(rng.integers(2**62))
    plans = [
        plan_simulations(design, seed=seed, n_simulations=n_simulations, number=number)
        for number, design in enumerate(designs)
    ]
    done, total = 0, sum(len(parts) for parts in plans)
    results = []
    for design, parts in zip(designs, plans, strict=True):
        pieces = []
        for part in parts:
            pieces.append(simulate_part(design, part))
            done += 1
            if progress is not None:
                progress(done / total, f"{design.n_clinicians} clinicians x {design.n_dyads} dyads")
        results.append(summarise_simulations(design, np.concatenate(pieces)))
    return tuple(results)


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetAnswer:
    """The smallest simulated design that meets a target, or None where none does."""

    target: str
    required: float
    n_clinicians: int | None
    n_dyads: int | None
    n_items: int | None
    reached: float  # by that design, or by the best one


def how_many(
    results: Sequence[DesignPrecision],
    *,
    half_widths: Mapping[str, float] | None = None,
    power: float | None = 0.80,
) -> tuple[TargetAnswer, ...]:
    """Find, for each target, the smallest of the simulated designs that meets it (fewest dyads, then fewest items).

    Parameters
    ----------
    results : sequence of DesignPrecision
        From `simulate_designs`.
    half_widths : mapping, optional
        Figure → largest half width of its 90 % range.
    power : float, optional
        Asked of every test that was simulated.

    Raises
    ------
    AnalysisInputError
        An unknown figure, or a target that is not positive.

    Examples
    --------
    >>> import numpy as np
    >>> designs = [PlanningDesign(n_clinicians=k, patients_per_clinician=6, partner_path=None) for k in (20, 80)]
    >>> results = simulate_designs(designs, n_simulations=40, rng=np.random.default_rng(1))
    >>> how_many(results, half_widths={"dyadic_reciprocity": 0.09}, power=None)[0].n_clinicians
    80
    """
    ordered = sorted(results, key=lambda result: (result.design.n_dyads, result.design.n_items))
    answers = []
    for name, required in (half_widths or {}).items():
        if name not in FIGURES or not required > 0:
            raise AnalysisInputError(
                f"how_many requires a half width above 0 for one of {', '.join(FIGURES)}; got {name} = {required}. "
                "Remedy: write for example dyadic_reciprocity = 0.10."
            )
        reached = [result.figure(name).half_width for result in ordered]
        answers.append(_answer(f"half width of {name}", required, ordered, reached, smaller_is_better=True))
    if power is not None:
        if not 0 < power < 1:
            raise AnalysisInputError(f"how_many requires a power between 0 and 1; got {power}. Remedy: use 0.80.")
        for name in TESTS:
            reached = [dict(result.power)[name] for result in ordered]
            if np.isfinite(reached).any():
                answers.append(_answer(f"power for {name}", power, ordered, reached, smaller_is_better=False))
    return tuple(answers)


def _answer(
    target: str,
    required: float,
    ordered: Sequence[DesignPrecision],
    reached: Sequence[float],
    *,
    smaller_is_better: bool,
) -> TargetAnswer:
    for result, value in zip(ordered, reached, strict=True):
        if np.isfinite(value) and (value <= required if smaller_is_better else value >= required):
            return TargetAnswer(
                target=target,
                required=required,
                n_clinicians=result.design.n_clinicians,
                n_dyads=result.design.n_dyads,
                n_items=result.design.n_items,
                reached=value,
            )
    known = [value for value in reached if np.isfinite(value)]
    best = (min(known) if smaller_is_better else max(known)) if known else np.nan
    return TargetAnswer(target=target, required=required, n_clinicians=None, n_dyads=None, n_items=None, reached=best)


@dataclass(frozen=True, slots=True, kw_only=True)
class EnoughYet:
    """Precision of the data so far and of larger studies like it, from the values that the data suggest."""

    results: tuple[DesignPrecision, ...]  # the first as large as the data
    answers: tuple[TargetAnswer, ...]
    enough: bool  # every target met by the data so far
    n_clinicians: int
    n_dyads: int
    notes: tuple[str, ...]


def judge_enough(
    patient: npt.ArrayLike,
    clinician: npt.ArrayLike,
    clinicians: npt.ArrayLike,
    *,
    half_widths: Mapping[str, float],
    n_simulations: int,
    rng: np.random.Generator,
    multiples: Sequence[float] = (1.0, 1.5, 2.0, 3.0, 5.0),
    progress: Progress | None = None,
) -> EnoughYet:
    """Ask of a running study whether its data suffice, and how many more clinicians would.

    Parameters
    ----------
    patient, clinician : array-like, shape (n_dyads,)
        Both roles' scores so far; NaN for a missing side. Dyads with both sides count.
    clinicians : array-like, shape (n_dyads,)
        The clinician's key of each dyad.
    half_widths : mapping
        Figure → largest half width of its 90 % range: consensus, assimilation, dyadic_reciprocity,
        generalised_reciprocity or icc_a1.
    n_simulations : int
        Studies of each size.
    rng : numpy.random.Generator
        Source of the run's seed.
    multiples : sequence of float
        Numbers of clinicians to try, as multiples of the present one; the first must be 1.
    progress : callable, optional
        Called with the share done and a text.

    Returns
    -------
    EnoughYet

    Raises
    ------
    AnalysisInputError
        Data from which the one-with-many model cannot be estimated, no target, or an unknown one.

    Notes
    -----
    The variances are estimates themselves; a share between clinicians of zero is replaced by .01, since a study planned
    on exactly zero would be planned on luck.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(3)
    >>> keys = np.repeat(np.arange(15), 6)
    >>> p, c = rng.standard_normal((2, 15))[:, keys] * 0.5 + rng.standard_normal((2, 90))
    >>> judge_enough(p, c, keys, half_widths={"dyadic_reciprocity": 0.05}, n_simulations=20, rng=rng).enough
    False
    """
    who = "judge_enough"
    if not half_widths:
        raise AnalysisInputError(f"{who} requires a target; got none. Remedy: for example dyadic_reciprocity = 0.10.")
    allowed = FIGURES[:5]
    unknown = [name for name in half_widths if name not in allowed]
    if unknown:
        raise AnalysisInputError(f"{who} can judge {', '.join(allowed)}; got {unknown[0]}. Remedy: choose among these.")
    if not multiples or multiples[0] != 1 or min(multiples) < 1:
        raise AnalysisInputError(
            f"{who} requires multiples of 1 or more, the first of them 1; got {list(multiples)}. Remedy: 1, 2, 3."
        )
    p, c = np.asarray(patient, dtype=np.float64), np.asarray(clinician, dtype=np.float64)
    fit = one_with_many(p, c, clinicians, n_draws=0)
    both = ~np.isnan(p) & ~np.isnan(c)
    sizes = group_by_clinician(np.asarray(clinicians)[both], who=who).sizes
    between, within = fit.between[0], fit.within[0]
    notes = []
    shares = np.diag(between) / (np.diag(between) + np.diag(within))
    if not (np.isfinite(shares).all() and fit.converged[0]):
        reasons = "; ".join(fit.notes) or "the estimation did not converge"
        raise AnalysisInputError(
            f"{who} requires data from which variances between and within clinicians can be estimated; got {reasons}. "
            "Remedy: check the two score columns, or collect more forms first."
        )
    if (shares < 0.01).any():
        notes.append("a share between clinicians is estimated as (nearly) zero; .01 is assumed instead")
    shares = np.clip(shares, 0.01, 0.98)
    dyadic = float(np.clip(within[0, 1] / np.sqrt(within[0, 0] * within[1, 1]), -0.98, 0.98))
    product = between[0, 0] * between[1, 1]
    generalised = float(np.clip(between[0, 1] / np.sqrt(product), -0.98, 0.98)) if product > 0 else 0.0
    totals = np.sqrt(np.diag(between) + np.diag(within))
    difference = float((fit.mean[0, 1] - fit.mean[0, 0]) / totals.mean())
    designs = []
    for multiple in multiples:
        n_clinicians = int(np.ceil(multiple * len(sizes)))
        repeated = tuple(int(size) for size in np.resize(sizes, n_clinicians))
        designs.append(
            PlanningDesign(
                n_clinicians=n_clinicians,
                patients_per_clinician=repeated,
                n_items=1,
                consensus=float(shares[0]),
                assimilation=float(shares[1]),
                dyadic_reciprocity=dyadic,
                generalised_reciprocity=generalised,
                mean_difference=difference,
                partner_path=None,
            )
        )
    results = simulate_designs(designs, n_simulations=n_simulations, rng=rng, progress=progress)
    answers = how_many(results, half_widths=half_widths, power=None)
    return EnoughYet(
        results=results,
        answers=answers,
        enough=all(answer.n_clinicians == len(sizes) for answer in answers),
        n_clinicians=len(sizes),
        n_dyads=int(sizes.sum()),
        notes=(*notes, *results[0].notes),
    )


def design_grid(
    base: PlanningDesign, *, n_clinicians: Sequence[int], patients: Sequence[int], n_items: Sequence[int]
) -> tuple[PlanningDesign, ...]:
    """Return every combination of sizes with the assumptions of one design."""
    return tuple(
        dataclasses.replace(base, n_clinicians=k, patients_per_clinician=n, n_items=m)
        for k in n_clinicians
        for n in patients
        for m in n_items
    )


def _root(covariance: FloatArray) -> FloatArray:
    """Return a matrix whose product with its transpose is the covariance; singular ones included."""
    values, vectors = np.linalg.eigh(covariance)
    root: FloatArray = vectors * np.sqrt(np.maximum(values, 0.0))
    return root


def _one_with_many(scores: FloatArray, codes: IntArray, n_clinicians: int) -> FloatArray:
    moments = [clinician_moments(study[:, 0], study[:, 1], codes, n_clinicians) for study in scores]
    fits = fit_bivariate(moments, np.ones((1, n_clinicians)))
    b11, b12, b22 = fits.between
    w11, w12, w22 = fits.within
    touches = (b11 <= _TOUCHES_ZERO * (b11 + w11)) | (b22 <= _TOUCHES_ZERO * (b22 + w22))
    product = np.where(touches, 1.0, b11 * b22)
    generalised = np.where(touches, np.nan, np.clip(b12 / np.sqrt(product), -1.0, 1.0))
    figures = np.column_stack([b11 / (b11 + w11), b22 / (b22 + w22), w12 / np.sqrt(w11 * w22), generalised])
    figures[~fits.converged] = np.nan
    return figures


def _icc_a1(scores: FloatArray) -> FloatArray:
    n = scores.shape[1]
    x, y = scores[:, :, 0], scores[:, :, 1]
    people, error = (x + y).var(axis=1, ddof=1) / 2, (x - y).var(axis=1, ddof=1) / 2
    roles = n * (x.mean(axis=1) - y.mean(axis=1)) ** 2 / 2
    return np.asarray((people - error) / (people + error + 2 * (roles - error) / n), dtype=np.float64)


def _alpha_and_omega(items: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return alpha, and omega from one-factor principal axes (three items or more), of each study's items."""
    m = items.shape[2]
    centred = items - items.mean(axis=1, keepdims=True)
    covariance = np.einsum("snj,snk->sjk", centred, centred) / (items.shape[1] - 1)
    trace, total = np.einsum("sjj->s", covariance), covariance.sum(axis=(1, 2))
    alpha = m / (m - 1) * (1 - trace / total)
    if m < 3:
        return alpha, np.full_like(alpha, np.nan)
    diagonal = np.arange(m)
    variances = covariance[:, diagonal, diagonal]
    reduced = covariance.copy()
    # Start from the mean covariance of each item with the others, the common part of parallel items.
    common = (covariance.sum(axis=2) - variances) / (m - 1)
    for _ in range(_FACTOR_STEPS):
        reduced[:, diagonal, diagonal] = common
        values, vectors = np.linalg.eigh(reduced)
        loadings = vectors[:, :, -1] * np.sqrt(np.maximum(values[:, -1:], 0.0))
        common = np.minimum(loadings**2, variances)
    return alpha, np.asarray(loadings.sum(axis=1) ** 2 / total, dtype=np.float64)


def _within_correlation_pvalue(scores: FloatArray, codes: npt.NDArray[np.int64], sizes: IntArray) -> FloatArray:
    indicator = (codes[:, None] == np.arange(len(sizes))).astype(np.float64)
    means = np.einsum("nk,snr->skr", indicator / sizes, scores)
    within = scores - means[:, codes]
    products = np.einsum("snr,snt->srt", within, within)
    r = products[:, 0, 1] / np.sqrt(products[:, 0, 0] * products[:, 1, 1])
    degrees = len(codes) - len(sizes) - 1
    if degrees < 1:
        return np.full(len(scores), np.nan)
    t = np.abs(r) * np.sqrt(degrees / np.maximum(1 - r**2, 1e-300))
    return np.asarray(2 * stdtr(degrees, -t), dtype=np.float64)


def _partner_pvalues(
    scores: FloatArray, codes: npt.NDArray[np.int64], design: PlanningDesign, rng: np.random.Generator
) -> FloatArray:
    studies, n, _ = scores.shape
    shared = np.sqrt(design.unexplained * design.outcome_icc) * rng.standard_normal((studies, design.n_clinicians))
    own = np.sqrt(design.unexplained * (1 - design.outcome_icc)) * rng.standard_normal((studies, n))
    partner = design.partner_path or 0.0
    outcome = scores @ np.array([design.actor_path, partner]) + shared[:, codes] + own
    return np.array(
        [regress_clustered(z, study, clinicians=codes).pvalue[2] for z, study in zip(outcome, scores, strict=True)]
    )
