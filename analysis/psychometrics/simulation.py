"""Synthetic dyads: patients nested in clinicians, two matched forms each, with every feature that real data will have.

For trying out the platform, for benchmarks, and for tests that plant a value and recover it. Nothing made here is
evidence about people; whoever shows it has to say so.
"""

import dataclasses
import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

from analysis.psychometrics.errors import AnalysisInputError
from analysis.psychometrics.response_matrix import FloatArray, IntArray, read_only

#: Codes in the item matrices. Scale points are 1 to 5.
SKIPPED: Final = 0
DOES_NOT_APPLY: Final = -1
PREFER_NOT: Final = -2
NOT_REACHED: Final = -3
NO_FORM: Final = -4

_N_POINTS: Final = 5

CodeMatrix = npt.NDArray[np.int8]
FloatMatrix = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SimulationStructure:
    """Which item belongs where, in the order in which the form asks them."""

    item_codes: tuple[str, ...]
    component_of_item: IntArray  # (n_items,): 0 … n_components − 1
    domain_of_component: IntArray  # (n_components,)
    reversed_item: BoolArray  # (n_items,)
    allow_does_not_apply: BoolArray  # (n_items,)

    def __post_init__(self) -> None:
        n_items, n_components = len(self.item_codes), len(self.domain_of_component)
        lengths = {len(self.component_of_item), len(self.reversed_item), len(self.allow_does_not_apply)}
        if n_items == 0 or lengths != {n_items}:
            raise AnalysisInputError(
                f"SimulationStructure requires one entry per item in every item array; got {n_items} item codes and "
                f"arrays of {sorted(lengths)}. Remedy: build all arrays from the same form."
            )
        used = np.unique(self.component_of_item)
        if used.min() < 0 or used.max() >= n_components:
            raise AnalysisInputError(
                f"SimulationStructure requires component numbers 0 to {n_components - 1}; got {used.min()} to "
                f"{used.max()}. Remedy: number the components in the order of domain_of_component."
            )

    @property
    def n_items(self) -> int:
        return len(self.item_codes)

    @property
    def n_components(self) -> int:
        return len(self.domain_of_component)


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulationDesign:
    """Every knob of the dyad simulator. Shares and rates lie between 0 and 1; latent scores have variance 1 per role.

    Who
        n_sites, n_clinicians : counts; clinicians are spread evenly over sites.
        patients_per_clinician : mean caseload. n_dyads : exact total instead, if given.
        caseload_variation : coefficient of variation of caseloads (0: as equal as possible). Nobody has none.
        spanish_share : patients who answer in Spanish.
        years_known_median (years), years_known_log_sd : log-normal time known, from a month to 50 years.

    Latent scores of the components
        within_domain_correlation, between_domain_correlation : among components, in each role, at both levels.
        patient_clinician_icc : share of the variance of patients' scores between clinicians (consensus).
        clinician_clinician_icc : the same of clinicians' scores, rating style included.
        rating_style_sd : SD of a clinician's constant shift over all components (leniency), in latent SDs.
        dyadic_reciprocity, generalised_reciprocity : correlation of the roles' scores within and between clinicians.

    Items
        loading : of an item on its component. reverse_method_loading : of reverse-keyed items on the answerer's
        inclination to mark such items alike. matched_residual_correlation : of the two roles' answers to one item,
        beyond the components. item_difficulty_sd : spread of item means, in latent SDs.
        patient_ceiling_share, clinician_ceiling_share : answers in the top category (before reversing back).
        lower_category_shares : how the rest divides over categories 1 to 4; sums to 1.

    What is missing
        clinician_form_missing_share : dyads whose clinician never opened the form.
        patient_unfinished_share, clinician_unfinished_share : forms broken off at a random item.
        skip_rate, prefer_not_rate : per item and person. does_not_apply_rate : on items that offer it.
        does_not_apply_agreement : how often the clinician's "does not apply" simply follows the patient's situation.

    How it was answered
        patient_seconds_per_item, clinician_seconds_per_item : medians; seconds_log_sd (between persons) and
        seconds_item_log_sd (within) of a log-normal.
        careless_share : patients who mark one point throughout or at random (half each), in careless_seconds_per_item.
    """

    n_sites: int = 4
    n_clinicians: int = 60
    patients_per_clinician: float = 10.0
    n_dyads: int | None = None
    caseload_variation: float = 0.25
    spanish_share: float = 0.25
    years_known_median: float = 4.0
    years_known_log_sd: float = 0.9

    within_domain_correlation: float = 0.75
    between_domain_correlation: float = 0.60
    patient_clinician_icc: float = 0.06
    clinician_clinician_icc: float = 0.50
    rating_style_sd: float = 0.40
    dyadic_reciprocity: float = 0.30
    generalised_reciprocity: float = 0.30

    loading: float = 0.75
    reverse_method_loading: float = 0.30
    matched_residual_correlation: float = 0.10
    item_difficulty_sd: float = 0.15
    patient_ceiling_share: float = 0.45
    clinician_ceiling_share: float = 0.30
    lower_category_shares: tuple[float, float, float, float] = (0.05, 0.11, 0.27, 0.57)

    clinician_form_missing_share: float = 0.10
    patient_unfinished_share: float = 0.04
    clinician_unfinished_share: float = 0.03
    skip_rate: float = 0.015
    prefer_not_rate: float = 0.004
    does_not_apply_rate: float = 0.15
    does_not_apply_agreement: float = 0.70

    patient_seconds_per_item: float = 8.0
    clinician_seconds_per_item: float = 4.5
    seconds_log_sd: float = 0.35
    seconds_item_log_sd: float = 0.45
    careless_share: float = 0.03
    careless_seconds_per_item: float = 1.2

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            if field.name.endswith(("_share", "_rate", "_icc", "_agreement")):
                _require_within(field.name, getattr(self, field.name), 0.0, 1.0)
            elif field.name.endswith(("_correlation", "_reciprocity")):
                _require_within(field.name, getattr(self, field.name), -1.0, 1.0)
        for name in ("patient_ceiling_share", "clinician_ceiling_share"):
            if not 0 < getattr(self, name) < 1:
                raise _refusal(f"{name} strictly between 0 and 1", getattr(self, name), "choose e.g. 0.45")
        for name in ("n_sites", "n_clinicians", "patients_per_clinician", "patient_seconds_per_item"):
            if not getattr(self, name) > 0:
                raise _refusal(f"{name} above 0", getattr(self, name), "choose a positive number")
        for name in ("clinician_seconds_per_item", "careless_seconds_per_item", "years_known_median"):
            if not getattr(self, name) > 0:
                raise _refusal(f"{name} above 0", getattr(self, name), "choose a positive number")
        for name in ("caseload_variation", "item_difficulty_sd", "seconds_log_sd", "seconds_item_log_sd"):
            if getattr(self, name) < 0:
                raise _refusal(f"{name} of at least 0", getattr(self, name), "choose 0 or more")
        if self.total_dyads < self.n_clinicians:
            raise _refusal(
                "a dyad for every clinician", f"{self.total_dyads} dyads for {self.n_clinicians}", "ask for more dyads"
            )
        if self.n_sites > self.n_clinicians:
            raise _refusal("a clinician at every site", f"{self.n_sites} sites for {self.n_clinicians}", "fewer sites")
        if self.loading**2 + self.reverse_method_loading**2 > 1:
            raise _refusal(
                "loading² + reverse_method_loading² of at most 1",
                f"{self.loading**2 + self.reverse_method_loading**2:.3f}",
                "lower one of the two",
            )
        lower = self.lower_category_shares
        if min(lower) <= 0 or not math.isclose(sum(lower), 1.0, abs_tol=1e-9):
            raise _refusal("positive lower_category_shares that sum to 1", lower, "e.g. (0.05, 0.11, 0.27, 0.57)")
        if self.skip_rate + self.prefer_not_rate + self.does_not_apply_rate > 1:
            raise _refusal("rates of absence that sum to at most 1", "more", "lower one of them")
        room = self.clinician_clinician_icc - self.rating_style_sd**2
        if room < 0:
            raise _refusal(
                "a rating style within the clinicians' ICC (rating_style_sd² ≤ clinician_clinician_icc)",
                f"{self.rating_style_sd**2:.3f} against {self.clinician_clinician_icc:.3f}",
                "lower rating_style_sd",
            )
        if abs(self.generalised_reciprocity) * math.sqrt(self.clinician_clinician_icc) > math.sqrt(room):
            raise _refusal(
                "a generalised reciprocity that the part of the clinicians' scores besides style can carry",
                f"{self.generalised_reciprocity}",
                "lower it or rating_style_sd",
            )

    @property
    def total_dyads(self) -> int:
        """Number of dyads that the design asks for."""
        return self.n_dyads if self.n_dyads is not None else round(self.n_clinicians * self.patients_per_clinician)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SimulatedDyads:
    """Synthetic dyads, one row each; not evidence about people.

    Item matrices hold 1 to 5 as marked on the form (reverse-keyed items not turned round), 0 skipped, −1 does not
    apply, −2 prefers not to answer, −3 not reached, −4 no form. Latent scores are before loading, thresholds and
    carelessness.
    """

    design: SimulationDesign
    clinician_index: IntArray  # (n_dyads,), ascending
    site_index: IntArray  # (n_dyads,)
    site_of_clinician: IntArray  # (n_clinicians,)
    patient_items: CodeMatrix  # (n_dyads, n_items)
    clinician_items: CodeMatrix  # (n_dyads, n_items)
    patient_latent: FloatMatrix  # (n_dyads, n_components)
    clinician_latent: FloatMatrix  # (n_dyads, n_components)
    patient_seconds: FloatMatrix  # (n_dyads, n_items)
    clinician_seconds: FloatMatrix  # (n_dyads, n_items)
    years_known: FloatArray  # (n_dyads,)
    is_spanish: BoolArray  # (n_dyads,): the patient's language
    is_careless: BoolArray  # (n_dyads,): the patient
    has_clinician_form: BoolArray  # (n_dyads,)
    patient_finished: BoolArray  # (n_dyads,)
    clinician_finished: BoolArray  # (n_dyads,): false without a form, too


def simulate_dyads(
    structure: SimulationStructure, design: SimulationDesign, rng: np.random.Generator
) -> SimulatedDyads:
    """Draw synthetic dyads from the reciprocal one-with-many model with graded answers.

    Parameters
    ----------
    structure : SimulationStructure
        Items, components and domains of one form.
    design : SimulationDesign
        All knobs.
    rng : numpy.random.Generator
        Source of randomness; the same seed, structure and design give the same data.

    Raises
    ------
    AnalysisInputError
        The component correlations asked for are not possible together.

    Notes
    -----
    Component scores: P_ij = √ICC_P·β_i + √(1−ICC_P)·γ_ij and C_ij = α_i + √(1−ICC_C)·δ_ij, with β, γ, δ of the
    component correlation matrix, α_i of variance ICC_C made of a rating style common to all components and a part that
    correlates with β so that corr(α, β) is the generalised reciprocity; corr(γ, δ) is the dyadic reciprocity (Kenny,
    Kashy & Cook 2006, ch. 10). Items: y* = λ·score + method + residual with variance 1, cut at normal thresholds.
    """
    clinician_index, site_of_clinician = _caseloads(design, rng)
    n_dyads = len(clinician_index)
    patient_latent, clinician_latent = _latent_scores(structure, design, clinician_index, rng)
    difficulty = (design.item_difficulty_sd * rng.standard_normal(structure.n_items)).astype(np.float32)
    shared = _noise(rng, n_dyads, structure.n_items)
    patient_items = _graded_answers(
        structure, design, patient_latent, shared, difficulty, ceiling=design.patient_ceiling_share, rng=rng
    )
    if design.matched_residual_correlation < 0:
        np.negative(shared, out=shared)
    clinician_items = _graded_answers(
        structure, design, clinician_latent, shared, difficulty, ceiling=design.clinician_ceiling_share, rng=rng
    )
    del shared
    is_careless = rng.random(n_dyads) < design.careless_share
    patient_items[is_careless] = _careless_answers(int(is_careless.sum()), structure.n_items, rng)
    patient_finished, clinician_finished, has_form = _blank(structure, design, patient_items, clinician_items, rng)
    years = design.years_known_median * np.exp(design.years_known_log_sd * rng.standard_normal(n_dyads))
    is_spanish = rng.random(n_dyads) < design.spanish_share
    patient_medians = np.where(is_careless, design.careless_seconds_per_item, design.patient_seconds_per_item)
    patient_seconds = _seconds(design, patient_medians, structure.n_items, rng)
    clinician_medians = np.full(n_dyads, design.clinician_seconds_per_item)
    clinician_seconds = _seconds(design, clinician_medians, structure.n_items, rng)
    for array in (clinician_index, site_of_clinician, patient_items, clinician_items, patient_latent, clinician_latent):
        array.setflags(write=False)
    return SimulatedDyads(
        design=design,
        clinician_index=clinician_index,
        site_index=read_only(site_of_clinician[clinician_index]),
        site_of_clinician=site_of_clinician,
        patient_items=patient_items,
        clinician_items=clinician_items,
        patient_latent=patient_latent,
        clinician_latent=clinician_latent,
        patient_seconds=patient_seconds,
        clinician_seconds=clinician_seconds,
        years_known=np.clip(years, 1 / 12, 50.0),
        is_spanish=is_spanish,
        is_careless=is_careless,
        has_clinician_form=has_form,
        patient_finished=patient_finished,
        clinician_finished=clinician_finished,
    )


def component_correlations(structure: SimulationStructure, design: SimulationDesign) -> FloatArray:
    """Return the correlation matrix of the components that the design asks for: (n_components, n_components).

    Raises
    ------
    AnalysisInputError
        No such matrix exists (not positive definite).
    """
    same = structure.domain_of_component[:, None] == structure.domain_of_component[None, :]
    matrix = np.where(same, design.within_domain_correlation, design.between_domain_correlation).astype(np.float64)
    np.fill_diagonal(matrix, 1.0)
    if np.linalg.eigvalsh(matrix)[0] <= 1e-9:
        raise _refusal(
            "component correlations that are possible together",
            f"{design.within_domain_correlation} within and {design.between_domain_correlation} between domains",
            "raise the first or lower the second",
        )
    return matrix


def _caseloads(design: SimulationDesign, rng: np.random.Generator) -> tuple[IntArray, IntArray]:
    """Return the clinician of every dyad and the site of every clinician."""
    n_clinicians, spare = design.n_clinicians, design.total_dyads - design.n_clinicians
    if design.caseload_variation > 0:
        shape = 1 / design.caseload_variation**2
        weights = rng.gamma(shape, size=n_clinicians)
        sizes = 1 + rng.multinomial(spare, weights / weights.sum())
    else:
        sizes = 1 + np.full(n_clinicians, spare // n_clinicians) + (np.arange(n_clinicians) < spare % n_clinicians)
    clinicians = np.arange(n_clinicians, dtype=np.int64)
    return np.repeat(clinicians, sizes), clinicians * design.n_sites // n_clinicians


def _latent_scores(
    structure: SimulationStructure, design: SimulationDesign, clinician_index: IntArray, rng: np.random.Generator
) -> tuple[FloatMatrix, FloatMatrix]:
    """Return the component scores of patients and clinicians, each with variance 1: two (n_dyads, n_components)."""
    factor = np.linalg.cholesky(component_correlations(structure, design)).astype(np.float32)

    def related(n_rows: int, correlation: float) -> tuple[FloatMatrix, FloatMatrix]:
        first = _noise(rng, n_rows, structure.n_components) @ factor.T
        second = _noise(rng, n_rows, structure.n_components) @ factor.T
        return first, np.float32(correlation) * first + np.float32(math.sqrt(1 - correlation**2)) * second

    icc_p, icc_c, style_sd = design.patient_clinician_icc, design.clinician_clinician_icc, design.rating_style_sd
    view_sd = math.sqrt(icc_c - style_sd**2)  # what differs between clinicians besides their style
    # Style is unrelated to how patients see the clinician, so the rest has to carry the whole reciprocity.
    carried = design.generalised_reciprocity * math.sqrt(icc_c) / view_sd if view_sd > 0 else 0.0
    partner, actor = related(design.n_clinicians, carried)
    style = _noise(rng, design.n_clinicians, 1)
    tendency = np.float32(view_sd) * actor + np.float32(style_sd) * style
    patient_part, clinician_part = related(len(clinician_index), design.dyadic_reciprocity)
    patient = np.float32(math.sqrt(icc_p)) * partner[clinician_index] + np.float32(math.sqrt(1 - icc_p)) * patient_part
    clinician = tendency[clinician_index] + np.float32(math.sqrt(1 - icc_c)) * clinician_part
    return patient, clinician


def _graded_answers(
    structure: SimulationStructure,
    design: SimulationDesign,
    latent: FloatMatrix,
    shared: FloatMatrix,
    difficulty: FloatMatrix,
    *,
    ceiling: float,
    rng: np.random.Generator,
) -> CodeMatrix:
    """Turn component scores into marks of 1 to 5, reverse-keyed items as they stand on the form."""
    n_dyads = len(latent)
    overlap = design.matched_residual_correlation
    # Each role's residual holds √|r| of a common part; the caller turned it round for one role if r is negative.
    residual = np.float32(math.sqrt(1 - abs(overlap))) * _noise(rng, n_dyads, structure.n_items)
    residual += np.float32(math.sqrt(abs(overlap))) * shared
    method = np.where(structure.reversed_item, design.reverse_method_loading, 0.0).astype(np.float32)
    unique = np.sqrt(1 - design.loading**2 - method**2).astype(np.float32)
    residual *= unique
    residual += np.float32(design.loading) * latent[:, structure.component_of_item]
    residual += _noise(rng, n_dyads, 1) * method
    residual += difficulty
    # Spread item means would move the average ceiling; widening the thresholds by the same factor keeps it in place.
    below = np.cumsum(np.asarray(design.lower_category_shares) * (1 - ceiling))
    thresholds = ndtri(below) * math.sqrt(1 + design.item_difficulty_sd**2)
    marks = np.ones(residual.shape, dtype=np.int8)
    for threshold in thresholds.astype(np.float32):
        marks += residual > threshold
    marks[:, structure.reversed_item] = _N_POINTS + 1 - marks[:, structure.reversed_item]
    return marks


def _careless_answers(n_careless: int, n_items: int, rng: np.random.Generator) -> CodeMatrix:
    """Return one mark throughout for about half of the careless patients, random marks for the others."""
    marks = rng.integers(1, _N_POINTS + 1, size=(n_careless, n_items), dtype=np.int8)
    straight = rng.random(n_careless) < 0.5
    marks[straight] = marks[straight, :1]
    return marks


def _blank(
    structure: SimulationStructure,
    design: SimulationDesign,
    patient_items: CodeMatrix,
    clinician_items: CodeMatrix,
    rng: np.random.Generator,
) -> tuple[BoolArray, BoolArray, BoolArray]:
    """Write the absences into both matrices; return who finished (patient, clinician) and who has a clinician form."""
    n_dyads = len(patient_items)
    offered = np.flatnonzero(structure.allow_does_not_apply)
    situation = rng.random((n_dyads, len(offered)), dtype=np.float32) < design.does_not_apply_rate
    own_view = rng.random((n_dyads, len(offered)), dtype=np.float32) < design.does_not_apply_rate
    follows = rng.random((n_dyads, len(offered)), dtype=np.float32) < design.does_not_apply_agreement
    for items, absent in ((patient_items, situation), (clinician_items, np.where(follows, situation, own_view))):
        chance = rng.random(items.shape, dtype=np.float32)
        items[chance < design.skip_rate + design.prefer_not_rate] = PREFER_NOT
        items[chance < design.skip_rate] = SKIPPED
        block = items[:, offered]
        block[absent] = DOES_NOT_APPLY
        items[:, offered] = block
    patient_finished = _break_off(patient_items, design.patient_unfinished_share, rng)
    clinician_finished = _break_off(clinician_items, design.clinician_unfinished_share, rng)
    has_form = rng.random(n_dyads) >= design.clinician_form_missing_share
    clinician_items[~has_form] = NO_FORM
    return patient_finished, clinician_finished & has_form, has_form


def _break_off(items: CodeMatrix, share: float, rng: np.random.Generator) -> BoolArray:
    """Mark the rest of some forms as not reached, from a random item on; return who finished."""
    n_rows, n_items = items.shape
    finished = np.asarray(rng.random(n_rows) >= share, dtype=np.bool_)
    stop = np.where(finished, n_items, rng.integers(0, n_items, size=n_rows))
    items[np.arange(n_items) >= stop[:, None]] = NOT_REACHED
    return finished


def _seconds(design: SimulationDesign, medians: FloatArray, n_items: int, rng: np.random.Generator) -> FloatMatrix:
    """Return log-normal seconds per item around each person's own pace: (n_dyads, n_items)."""
    pace = np.log(medians) + design.seconds_log_sd * rng.standard_normal(len(medians))
    seconds = np.float32(design.seconds_item_log_sd) * _noise(rng, len(medians), n_items)
    seconds += pace.astype(np.float32)[:, None]
    np.exp(seconds, out=seconds)
    return seconds


def _noise(rng: np.random.Generator, n_rows: int, n_columns: int) -> FloatMatrix:
    """Standard normal numbers in single precision: twice as fast, and far finer than five categories need."""
    return rng.standard_normal((n_rows, n_columns), dtype=np.float32)


def _require_within(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise _refusal(f"{name} from {low:g} to {high:g}", value, "choose a value in that range")


def _refusal(required: str, came: object, remedy: str) -> AnalysisInputError:
    return AnalysisInputError(f"SimulationDesign requires {required}; got {came}. Remedy: {remedy}.")
