"""Generalisability of patients' ratings of clinicians, (patients : clinicians) × items, and the decision study."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

from analysis.psychometrics.clinicians.multilevel import RELIABILITIES
from analysis.psychometrics.errors import AnalysisInputError
from analysis.psychometrics.inference.few_clinicians import group_by_clinician, rules_for
from analysis.psychometrics.inference.one_way import sum_by_clinician
from analysis.psychometrics.response_matrix import FloatArray, IntArray, as_responses, complete_rows

#: Numbers of patients per clinician of the decision study.
PATIENTS: Final = (5, 10, 20, 30, 50, 100)
#: Below these a clinician-level coefficient is not to be reported as evidence (clinicians, patients of each).
_GATE: Final = (20, 5)
_PARTS: Final = ("clinician", "patient", "item", "clinician_item", "residual")


@dataclass(frozen=True, slots=True, kw_only=True)
class Coefficients:
    """Generalisability for so many patients a clinician and so many items."""

    n_patients: float
    n_items: float
    clinician_relative: float  # Eρ² of a clinician's score: comparing clinicians
    clinician_absolute: float  # Φ: the level itself
    dyad_relative: float  # Eρ² of one patient's score


@dataclass(frozen=True, slots=True, kw_only=True)
class PatientsNeeded:
    """How many patients a clinician's score needs with so many items; ∞ where no number is enough."""

    n_items: int
    reliability: float
    n_patients: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Generalisability:
    """Variance components by REML, reliabilities of either level, and what other numbers would give."""

    clinician: float
    patient: float  # patients within clinicians: patient, relationship and occasion in one
    item: float
    clinician_item: float
    residual: float  # patients' × items interaction and error
    log_likelihood: float  # restricted
    observed: Coefficients  # for the items and the harmonic mean number of patients in the data
    within_reliability: float  # of patients' means of the items, among patients of one clinician
    between_reliability: float  # of clinicians' true means over items: takes the patients as all there are
    decision_study: tuple[Coefficients, ...]
    patients_needed: tuple[PatientsNeeded, ...]
    n_used: int
    n_dropped: int
    n_clinicians: int
    n_items: int
    converged: bool
    notes: tuple[str, ...]


def generalisability(
    items: npt.ArrayLike,
    clinicians: npt.ArrayLike,
    *,
    n_patients: Sequence[int] = PATIENTS,
    n_items: Sequence[int] | None = None,
    item_codes: Sequence[str] | None = None,
) -> Generalisability:
    """Estimate where the variance of patients' answers comes from, and plan how many patients and items are needed.

    Parameters
    ----------
    items : array-like, shape (n_dyads, n_items)
        Patients' answers to the items of one scale, reversed items turned round; patients with a gap are left out.
    clinicians : array-like, shape (n_dyads,)
        The clinician of each patient.
    n_patients : sequence of int
        Patients per clinician to plan for.
    n_items : sequence of int, optional
        Numbers of items to plan for; one and all by default.
    item_codes : sequence of str, optional
        Names of the items, for messages.

    Returns
    -------
    Generalisability

    Raises
    ------
    AnalysisInputError
        Fewer than two items, clinicians or patients of some clinician; answers without variance.

    Notes
    -----
    x = μ + c + p:c + i + ci + (pi:c, e), all random. Relative error of a clinician's score σ²_{p:c}/n_p + σ²_{ci}/n_i +
    σ²_{pi:c,e}/(n_p·n_i), absolute adds σ²_i/n_i (Brennan 2001, *Generalizability Theory*, ch. 5). One dyad is seen
    once, so p:c mixes patient, relationship and occasion. The likelihood is that of the patients' means times that of
    contrasts between items, maximised together. R:
    `lme4::lmer(y ~ 1 + (1 | clinician) + (1 | clinician:patient) + (1 | item) + (1 | clinician:item))`.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(5)
    >>> clinicians = np.repeat(np.arange(40), 8)
    >>> patients = 0.4 * rng.normal(size=40)[clinicians] + 0.8 * rng.normal(size=320)
    >>> answers = 3 + patients[:, None] + rng.normal(size=(320, 5))
    >>> result = generalisability(answers, clinicians)
    >>> round(result.observed.clinician_relative, 2), round(result.observed.dyad_relative, 2)
    (0.62, 0.79)
    """
    who = "generalisability"
    values = as_responses(items, who=who, minimum_items=2)
    keys = group_by_clinician(clinicians, who=who, n_rows=len(values))
    rows = complete_rows(values, who=who, minimum_items=2, minimum_respondents=3, item_codes=item_codes)
    kept = ~np.isnan(values).any(axis=1)
    groups = group_by_clinician(keys.codes[kept], who=who)
    if groups.n_clinicians < 2 or not (groups.sizes > 1).any():
        raise AnalysisInputError(
            f"{who} requires at least two clinicians, one of them with several patients; got {len(rows.values)} "
            f"complete patients of {groups.n_clinicians} clinician(s). Remedy: pass the column that tells the "
            "clinicians apart, or collect more forms."
        )
    moments = _Moments.of(rows.values, groups.codes, groups.n_clinicians, who=who)
    parts, converged = _fit(moments)
    components = dict(zip(_PARTS, parts.tolist(), strict=True))
    rules = rules_for(groups.n_clinicians)
    notes = list(rules.notes)
    harmonic = groups.n_clinicians / float((1 / groups.sizes).sum())
    if groups.n_clinicians < _GATE[0] or harmonic < _GATE[1]:
        notes.append(
            f"{groups.n_clinicians} clinicians with {harmonic:.1f} patients (harmonic mean): coefficients of "
            f"clinicians' scores are no evidence below {_GATE[0]} clinicians with {_GATE[1]} patients each"
        )
    zero = [name for name in _PARTS if components[name] <= 1e-9 * float(parts.sum())]
    if zero:
        notes.append(f"estimated as 0, at the edge of what variances can be: {', '.join(zero)}")
    if rows.n_dropped:
        notes.append(f"{rows.n_dropped} patient(s) with a missing answer left out")
    if not converged:
        notes.append("the fit did not converge")
    count = rows.values.shape[1]
    wanted = tuple(n_items) if n_items is not None else (1, count)
    _require_plans(n_patients, wanted, who=who)
    needed = tuple(
        PatientsNeeded(n_items=number, reliability=target, n_patients=_patients_needed(components, number, target))
        for number in wanted
        for target in RELIABILITIES
    )
    out_of_reach = [
        f".{entry.reliability * 100:.0f} with {entry.n_items} item(s)"
        for entry in needed
        if math.isinf(entry.n_patients)
    ]
    if out_of_reach:
        notes.append(f"no number of patients per clinician reaches {', '.join(out_of_reach)}")
    at_items = components["patient"] + components["residual"] / count
    between = components["clinician"] + components["clinician_item"] / count
    return Generalisability(
        **components,
        log_likelihood=moments.log_likelihood(parts),
        observed=coefficients(components, n_patients=harmonic, n_items=count),
        within_reliability=components["patient"] / at_items if at_items > 0 else math.nan,
        between_reliability=components["clinician"] / between if between > 0 else math.nan,
        decision_study=tuple(
            coefficients(components, n_patients=patients, n_items=number)
            for number in wanted
            for patients in n_patients
        ),
        patients_needed=needed,
        n_used=rows.n_used,
        n_dropped=rows.n_dropped,
        n_clinicians=groups.n_clinicians,
        n_items=count,
        converged=converged,
        notes=tuple(notes),
    )


def coefficients(components: dict[str, float], *, n_patients: float, n_items: float) -> Coefficients:
    """Return the coefficients of the design with so many patients a clinician and so many items.

    Parameters
    ----------
    components : dict of str to float
        Variances of `clinician`, `patient`, `item`, `clinician_item` and `residual`.
    n_patients, n_items : float
        Of the design.

    Examples
    --------
    >>> parts = {"clinician": 0.05, "patient": 0.5, "item": 0.1, "clinician_item": 0.01, "residual": 0.4}
    >>> result = coefficients(parts, n_patients=20, n_items=4)
    >>> round(result.clinician_relative, 3), round(result.clinician_absolute, 3), round(result.dyad_relative, 3)
    (0.606, 0.465, 0.843)
    """
    c, p, i, ci, e = (components[name] for name in _PARTS)
    relative = p / n_patients + ci / n_items + e / (n_patients * n_items)
    absolute = relative + i / n_items
    of_dyad = c + p + (ci + e) / n_items
    return Coefficients(
        n_patients=n_patients,
        n_items=n_items,
        clinician_relative=c / (c + relative) if c + relative > 0 else math.nan,
        clinician_absolute=c / (c + absolute) if c + absolute > 0 else math.nan,
        dyad_relative=(c + p) / of_dyad if of_dyad > 0 else math.nan,
    )


def _patients_needed(components: dict[str, float], n_items: int, reliability: float) -> float:
    """Return the smallest number of patients for a relative coefficient; ∞ where the items alone keep it below."""
    c, p, _, ci, e = (components[name] for name in _PARTS)
    room = c * (1 - reliability) / reliability - ci / n_items
    if c <= 0 or room <= 0:
        return math.inf
    return float(max(1, math.ceil((p + e / n_items) / room - 1e-9)))


def _require_plans(n_patients: Sequence[int], n_items: Sequence[int], *, who: str) -> None:
    if any(number < 1 for number in (*n_patients, *n_items)):
        raise AnalysisInputError(
            f"{who} requires plans of at least one patient and one item; got {list(n_patients)} and {list(n_items)}. "
            "Remedy: leave the smaller numbers out."
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Moments:
    """Sufficient statistics of patients' means and of orthonormal contrasts between items, by clinician."""

    sizes: FloatArray  # (n_clinicians,)
    means: FloatArray  # (n_clinicians,): of patients' means, about the grand mean
    squares: float  # of patients' means within clinicians
    contrasts: FloatArray  # (n_clinicians, n_items − 1): means
    contrast_squares: float  # within clinicians, over all contrasts
    n_items: int
    unit: float  # variance by which all is divided

    @classmethod
    def of(cls, values: FloatArray, codes: IntArray, n_clinicians: int, *, who: str) -> "_Moments":
        count = values.shape[1]
        centred = values - values.mean()
        unit = float((centred**2).mean())
        inside = values - values.mean(axis=1, keepdims=True)
        if unit <= 1e-20 * max(float((values**2).mean()), 1e-300) or float((inside**2).sum()) <= 1e-20 * unit:
            raise AnalysisInputError(
                f"{who} requires answers that differ between and within patients; all patients gave the same answer to "
                "all items. Remedy: check the import, or choose items that vary."
            )
        centred = centred / math.sqrt(unit)
        sums = sum_by_clinician(centred @ _contrasts(count), codes, n_clinicians)
        return cls(
            sizes=sums.n[:, 0],
            means=sums.mean[:, 0] / math.sqrt(count),
            squares=float(sums.squares[:, 0].sum()) / count,
            contrasts=sums.mean[:, 1:],
            contrast_squares=float(sums.squares[:, 1:].sum()),
            n_items=count,
            unit=unit,
        )

    def deviance(self, parts: FloatArray) -> tuple[float, FloatArray]:
        """Return −2 restricted log-likelihood (without its constant, in units of `unit`) and its gradient."""
        c, p, i, ci, e = parts
        k, n = self.n_items, self.sizes
        total, groups = float(n.sum()), len(n)
        # Patients' means: between s_b, within s_w
        s_b, s_w = c + ci / k, p + e / k
        v = s_w + n * s_b
        weight = n / v
        q = float(weight.sum())
        y = self.means - float((weight * self.means).sum()) / q
        spread = weight * y * y
        value = (total - groups) * math.log(s_w) + float(np.log(v).sum()) + self.squares / s_w
        value += float(spread.sum()) + math.log(q)
        d_b = q - float((spread * n / v).sum()) - float((weight * n / v).sum()) / q
        d_w = (total - groups) / s_w + float((1 / v).sum()) - self.squares / s_w**2
        d_w += -float((spread / v).sum()) - float((weight / v).sum()) / q
        # Contrasts: a random mean (items) of each, clinicians, residual
        v = e + n * ci
        weight = n / v
        q = float(weight.sum())
        h = weight @ self.contrasts
        t = 1 + i * q
        quadratic = float((weight[:, None] * self.contrasts**2).sum())
        value += (k - 1) * ((total - groups) * math.log(e) + float(np.log(v).sum()) + math.log(t))
        value += self.contrast_squares / e + quadratic - i * float((h * h).sum()) / t
        d_i = (k - 1) * q / t - float((h * h).sum()) / t**2
        # Through v: residual of each contrast from its predicted mean i·h/t
        residual = (weight[:, None] * (self.contrasts - i * h / t)) ** 2
        d_v = (k - 1) * (1 / v - i * weight / v / t) - residual.sum(axis=1) / n
        d_ci = float((n * d_v).sum())
        d_e = (k - 1) * (total - groups) / e - self.contrast_squares / e**2 + float(d_v.sum())
        gradient = np.array([d_b, d_w, d_i, d_ci + d_b / k, d_e + d_w / k])
        return value, gradient

    def log_likelihood(self, parts: FloatArray) -> float:
        """Return the restricted log-likelihood of components in the data's own units, with its constants."""
        total = float(self.sizes.sum()) * self.n_items
        value, _ = self.deviance(parts / self.unit)
        patients = float(self.sizes.sum())
        # The component along the items' sum is √k times the patients' mean.
        value += (patients - 1) * math.log(self.n_items) + math.log(self.n_items)
        value += (total - 1) * (math.log(2 * math.pi) + math.log(self.unit))
        return float(-0.5 * value)


def _contrasts(count: int) -> FloatArray:
    """Return an orthonormal basis whose first column is constant (Helmert)."""
    basis = np.zeros((count, count))
    basis[:, 0] = 1 / math.sqrt(count)
    for column in range(1, count):
        basis[:column, column] = 1.0
        basis[column, column] = -column
        basis[:, column] /= math.sqrt(column * (column + 1))
    return basis


def _fit(moments: _Moments) -> tuple[FloatArray, bool]:
    """Return the five variances in the data's own units, and whether the search settled."""
    start = np.array([0.1, 0.3, 0.1, 0.05, 0.4])
    bounds = [(0.0, None)] * 4 + [(1e-10, None)]
    # p + e/k must stay positive for the likelihood to exist; the bound of e alone sees to that.
    outcome = minimize(
        moments.deviance,
        start,
        jac=True,
        method="L-BFGS-B",
        bounds=bounds,
        options={"maxiter": 5000, "ftol": 1e-15, "gtol": 1e-8},
    )
    parts = _polished(moments.deviance, np.asarray(outcome.x, dtype=np.float64))
    value, gradient = moments.deviance(parts)
    free = (parts > 1e-9) | (gradient < 0)
    settled = bool(np.all(np.abs(gradient[free] * np.maximum(parts[free], 1e-3)) < 1e-5 * max(1.0, abs(value))))
    return parts * moments.unit, settled


def _polished(deviance: Callable[[FloatArray], tuple[float, FloatArray]], parts: FloatArray) -> FloatArray:
    """Take Newton steps among the variances that are not at zero: the first search stops at about six digits."""
    best = parts.copy()
    value, gradient = deviance(best)
    for _ in range(20):
        best = np.where((best < 1e-8) & (gradient > 0), 0.0, best)
        best[4] = max(best[4], 1e-10)
        value, gradient = deviance(best)
        free = np.flatnonzero(best > 0)
        hessian = np.empty((len(free), len(free)))
        for row, k in enumerate(free):
            shift = 1e-5 * best[k]
            up, down = best.copy(), best.copy()
            up[k], down[k] = best[k] + shift, best[k] - shift
            hessian[row] = (deviance(up)[1] - deviance(down)[1])[free] / (2 * shift)
        eigenvalues, vectors = np.linalg.eigh((hessian + hessian.T) / 2)
        size = np.maximum(np.abs(eigenvalues), 1e-10 * float(np.abs(eigenvalues).max()) + 1e-300)
        step = -vectors @ ((vectors.T @ gradient[free]) / size)
        moved = best.copy()
        moved[free] = np.maximum(best[free] + step, 0.0)
        moved[4] = max(moved[4], 1e-10)
        new_value, new_gradient = deviance(moved)
        if not new_value <= value + 1e-12 * max(1.0, abs(value)):
            break
        change = float(np.abs(moved - best).max())
        best, value, gradient = moved, new_value, new_gradient
        if change < 1e-12:
            break
    return best
