"""Does the form measure alike in patients and clinicians? One model of both roles' items, and which gaps follow.

Both forms of a dyad are answered about the same relationship, so the roles are not two independent groups: one
covariance matrix holds both, the residuals of matched items are correlated, and the roles' factors as well.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
from scipy.special import chdtrc

from analysis.psychometrics.dyads.pairing import as_two_roles
from analysis.psychometrics.errors import AnalysisInputError
from analysis.psychometrics.inference.few_clinicians import group_by_clinician
from analysis.psychometrics.inference.resampling import Progress, bootstrap_clinicians, from_rows
from analysis.psychometrics.response_matrix import FloatArray, as_item_codes, refuse_constant_items
from analysis.psychometrics.sem import ModelFit, fit_model, prepare_sample
from analysis.psychometrics.sem.difference_tests import ModelComparison, compare_models
from analysis.psychometrics.sem.sample_statistics import SampleStatistics

Estimator = Literal["WLSMV", "ML", "MLR"]

#: What is held equal, step by step; each step keeps what the steps before it hold.
ORDINAL_LEVELS: Final = ("configural", "thresholds", "loadings", "intercepts", "means")
LINEAR_LEVELS: Final = ("configural", "loadings", "intercepts", "residuals", "means")
#: Steps that a gap of factor means needs.
_NEEDED: Final = ("thresholds", "loadings", "intercepts")
#: Chen (2007): a step passes while CFI falls by no more than .010 and RMSEA rises by no more than .015.
_CFI_FALL: Final = -0.010
_RMSEA_RISE: Final = 0.015
_SRMR_RISE_LOADINGS: Final = 0.030
_SRMR_RISE: Final = 0.010
#: Differences shrink with WLSMV: a smaller fall is already an alert.
_CFI_ALERT: Final = -0.005
_LEVEL_OF_TESTS: Final = 0.01
_MINIMUM_ANCHORS: Final = 2
_DYADS_PER_ITEM: Final = 5
#: Beyond these the factors do not describe the answers well enough to compare roles on them.
_POOR_CFI: Final = 0.90
_POOR_RMSEA: Final = 0.10
#: Below this correlation the roles' factors look as if one form were scored the other way round.
_OPPOSITE: Final = -0.2
_NAME: Final = re.compile(r"^[\w.]+$")


@dataclass(frozen=True, slots=True, kw_only=True)
class FactorTest:
    """One factor at one step: does releasing its items improve the fit? `released` names the items set free."""

    factor: str
    chisq_diff: float
    df_diff: int
    pvalue: float
    pvalue_holm: float  # allowing for nesting (see `RoleDesignEffect`) and for the number of factors
    holds: bool | None
    released: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class InvarianceStep:
    """One step: its fit, what changed since the step before, and each factor's test."""

    level: str
    fit: Mapping[str, float]
    converged: bool
    admissible: bool
    delta_cfi: float
    delta_rmsea: float
    delta_srmr: float
    chisq_diff: float
    df_diff: int
    pvalue: float
    passes: bool | None  # by the changes of the indices
    passes_released: bool | None  # the same once the items that the factors' tests name are set free
    factors: tuple[FactorTest, ...]
    notes: tuple[str, ...]
    model: ModelFit | None = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class GapVerdict:
    """Whether clinician minus patient may be shown for a factor, on which items, and the gap of the factor means."""

    factor: str
    may_be_shown: bool | None
    verdict: str
    anchors: tuple[str, ...]
    failing: tuple[str, ...]
    mean_gap: float  # clinician minus patient, in SDs of the patients' factor
    mean_gap_se: float
    mean_gap_ci_lower: float
    mean_gap_ci_upper: float
    interval_method: Literal["standard error", "resampling clinicians", "none"]
    correlation: float  # of the two roles' factors


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleDesignEffect:
    """How much nesting in clinicians costs: of the mean score of a factor's items, and of the gap between the roles.

    Tests of measured items with MLR allow for nesting themselves. Those of ordinal items are divided by the design
    effect of the gap (the first-order correction of Rao & Scott 1984, Ann Stat 12:46): comparisons of the roles within
    a dyad vary as the gap does.
    """

    factor: str
    role: Literal["patient", "clinician", "gap"]
    icc: float
    design_effect: float
    effective_n: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RoleInvariance:
    """The steps, the verdicts about gaps, and what nesting does to the tests."""

    steps: tuple[InvarianceStep, ...]
    gaps: tuple[GapVerdict, ...]
    design_effects: tuple[RoleDesignEffect, ...]
    estimator: Estimator
    n_used: int
    n_dropped: int
    n_clinicians: int | None
    notes: tuple[str, ...]


def assess_role_invariance(
    patient: npt.ArrayLike,
    clinician: npt.ArrayLike,
    factors: Mapping[str, Sequence[str]],
    *,
    item_codes: Sequence[str],
    estimator: Estimator = "WLSMV",
    clinicians: npt.ArrayLike | None = None,
    n_draws: int = 0,
    rng: np.random.Generator | None = None,
    progress: Progress | None = None,
) -> RoleInvariance:
    """Test step by step whether both roles' forms measure alike, and say which gaps may be shown.

    Parameters
    ----------
    patient, clinician : array-like, shape (n_dyads, n_items)
        Answers of both roles to matched items, in one order of rows and columns; NaN for missing.
    factors : mapping
        Factor → codes of its items, the same in both roles; an item belongs to one factor.
    item_codes : sequence of str
        One a column.
    estimator : {'WLSMV', 'ML', 'MLR'}
        WLSMV takes answers as ordinal (three categories or more), pairwise where missing; ML and MLR as measured, by
        full information where missing.
    clinicians : array-like, shape (n_dyads,), optional
        The clinician's key: MLR tests then allow for nesting; design effects of both roles are reported.
    n_draws : int
        Resamples of whole clinicians for the intervals of the gaps (20 clinicians or more); 0 takes standard errors.
    rng : numpy.random.Generator, optional
        Required with `n_draws`.
    progress : callable, optional
        Called with the share done and a text.

    Returns
    -------
    RoleInvariance
        A step that cannot be fitted is NaN with its note; later steps are left out.

    Raises
    ------
    AnalysisInputError
        A role missing, shapes that differ, unknown or repeated items, a factor of one item, ordinal items with two
        categories, too few dyads for the model.

    Notes
    -----
    Ordinal: equal thresholds (clinicians' intercepts and scales free), then equal loadings (clinicians' factor
    variances free), then equal intercepts (factor means free), then equal means; patients' factors have mean 0 and
    variance 1. Wu & Estabrook (2016, Psychometrika 81:1014); Liu et al. (2017, Psychol Methods 22:486). A step passes
    while CFI falls by at most .010, RMSEA rises by at most .015 and SRMR by at most .030 (loadings) or .010, scaled
    indices (Chen 2007, Struct Equ Modeling 14:464). Since changes of indices hide the fault of one scale, each factor
    is tested by a scaled difference test against the model that releases it (Holm, .01), and its items one by one. R:
    `semTools::measEq.syntax(longFacNames = , longIndNames = , ID.cat = "Wu.Estabrook.2016", parameterization =
    "delta")`, `lavaan::lavTestLRT`.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(3)
    >>> trust = rng.standard_normal((400, 1))
    >>> p = trust + rng.standard_normal((400, 4))
    >>> c = 0.5 * trust + 0.8 * rng.standard_normal((400, 1)) + rng.standard_normal((400, 4)) + 0.4
    >>> codes = ["a", "b", "c", "d"]
    >>> result = assess_role_invariance(p, c, {"trust": codes}, item_codes=codes, estimator="ML")
    >>> result.gaps[0].verdict
    'the gap may be shown'
    """
    who = "assess_role_invariance"
    if estimator not in ("WLSMV", "ML", "MLR"):
        raise AnalysisInputError(f"{who} requires WLSMV, ML or MLR; got {estimator!r}. Remedy: use WLSMV.")
    p, c = as_two_roles(patient, clinician, who=who)
    codes = as_item_codes(item_codes, p.shape[1], who=who)
    chosen = _checked_factors(factors, codes, who)
    items = [item for members in chosen.values() for item in members]
    columns = [codes.index(item) for item in items]
    p, c = p[:, columns], c[:, columns]
    if n_draws and rng is None:
        raise AnalysisInputError(f"{who} requires a random generator for {n_draws} draws; got none. Remedy: pass rng.")
    _refuse_unusable_items(p, c, items, who)
    ordinal = estimator == "WLSMV"
    thresholds = _thresholds(p, c, items, who) if ordinal else {}
    names = [f"p.{item}" for item in items] + [f"c.{item}" for item in items]
    data = np.column_stack([p, c])
    keys = None if clinicians is None else np.asarray(clinicians)
    groups = None if keys is None else group_by_clinician(keys, who=who, n_rows=len(data))
    clustered = estimator == "MLR" and keys is not None
    incomplete = bool(np.isnan(data).any())
    sample = prepare_sample(
        data,
        item_codes=names,
        columns=names,
        missing=("pairwise" if ordinal else "fiml") if incomplete else "listwise",
        ordered=names if ordinal else (),
        cluster=None if not clustered or groups is None else [groups.labels[code] for code in groups.codes],
    )
    effects: tuple[RoleDesignEffect, ...] = ()
    if groups is not None:
        effects = _design_effects(p, c, chosen, items, groups.codes, groups.n_clinicians)
    divisors = {} if clustered else {effect.factor: effect.design_effect for effect in effects if effect.role == "gap"}
    search = _Search(chosen, thresholds, estimator, sample, divisors, progress)
    steps = search.run()
    n_used = sample.n_used
    notes = list(sample.notes)
    if n_used < _DYADS_PER_ITEM * len(items):
        notes.append(
            f"{n_used} dyads for {len(items)} items per role: {_DYADS_PER_ITEM * len(items)} are needed for a verdict"
        )
    if groups is None:
        notes.append("tests take dyads as independent: name the clinicians to see what nesting costs")
    elif not clustered:
        smallest = min((e for e in effects if e.role != "gap"), key=lambda effect: effect.effective_n)
        notes.append(
            f"clinicians' patients resemble one another: {smallest.factor} of the {smallest.role}s counts as about "
            f"{smallest.effective_n:.0f} of {n_used} forms. The tests of the factors allow for it to first order; the "
            "fit indices and the tests of whole steps do not"
        )
    if steps[0].model is not None and steps[0].converged and _fits_poorly(steps[0].model):
        cfi, rmsea = (_index(steps[0].model, name) for name in ("cfi", "rmsea"))
        notes.append(
            f"the factors themselves do not fit (CFI {cfi:.3f}, RMSEA {rmsea:.3f}): mend the model before comparing "
            "roles"
        )
    gaps = tuple(search.verdict(factor) for factor in chosen)
    notes += [
        f"{gap.factor}: the two roles' factors correlate {gap.correlation:.2f}; check whether one role's items are "
        "keyed the other way"
        for gap in gaps
        if gap.correlation < _OPPOSITE
    ]
    if n_draws and rng is not None and groups is not None:
        bootstrap = bootstrap_clinicians(
            from_rows(lambda rows: search.refit(data[rows], names), groups),
            n_clinicians=groups.n_clinicians,
            n_draws=n_draws,
            rng=rng,
            names=[f"gap of {factor}" for factor in chosen],
            progress=progress,
        )
        gaps = tuple(
            _with_interval(gap, bootstrap.se[k], bootstrap.ci_lower[k], bootstrap.ci_upper[k])
            for k, gap in enumerate(gaps)
        )
        shown = {f"gap of {gap.factor}" for gap in gaps if gap.may_be_shown}
        notes += [note for note in bootstrap.notes if note.split(":")[0] in shown or bootstrap.n_draws == 0]
    return RoleInvariance(
        steps=steps,
        gaps=gaps,
        design_effects=effects,
        estimator=estimator,
        n_used=n_used,
        n_dropped=len(data) - n_used,
        n_clinicians=None if groups is None else groups.n_clinicians,
        notes=tuple(dict.fromkeys(notes)),
    )


def _with_interval(gap: GapVerdict, se: float, lower: float, upper: float) -> GapVerdict:
    if not gap.may_be_shown:
        return gap
    known = bool(np.isfinite(lower))
    return replace(
        gap,
        mean_gap_se=float(se),
        mean_gap_ci_lower=float(lower),
        mean_gap_ci_upper=float(upper),
        interval_method="resampling clinicians" if known else "none",
    )


def write_role_model(
    factors: Mapping[str, Sequence[str]],
    *,
    level: str,
    thresholds: Mapping[str, int],
    released: Mapping[str, str] | None = None,
) -> str:
    """Return one step's model in lavaan's syntax.

    Parameters
    ----------
    factors : mapping
        Factor → codes of its items.
    level : str
        One of `ORDINAL_LEVELS` (with thresholds) or `LINEAR_LEVELS` (without).
    thresholds : mapping
        Item → number of thresholds; empty for measured items.
    released : mapping, optional
        Item → step from which on it is not held equal.

    Examples
    --------
    >>> print(write_role_model({"f": ["a", "b"]}, level="loadings", thresholds={}).splitlines()[0])
    p.f =~ NA*p.a + l.a*p.a + NA*p.b + l.b*p.b
    """
    levels = ORDINAL_LEVELS if thresholds else LINEAR_LEVELS
    reached = levels[: levels.index(level) + 1]
    free_from = released or {}
    held = {
        item: frozenset(reached[: levels.index(free_from[item])] if item in free_from else reached)
        for members in factors.values()
        for item in members
    }
    lines: list[str] = []
    for role in "pc":
        for factor, members in factors.items():
            parts = []
            for item in members:
                parts.append(f"NA*{role}.{item}")
                if "loadings" in held[item]:
                    parts.append(f"l.{item}*{role}.{item}")
            lines.append(f"{role}.{factor} =~ {' + '.join(parts)}")
            # Without an item held equal nothing else sets the scale and the origin of the clinicians' factor.
            free_variance = role == "c" and any("loadings" in held[item] for item in members)
            free_mean = role == "c" and "means" not in reached and any("intercepts" in held[item] for item in members)
            lines.append(f"{role}.{factor} ~~ {'NA' if free_variance else '1'}*{role}.{factor}")
            lines.append(f"{role}.{factor} ~ {'NA' if free_mean else '0'}*1")
    for members in factors.values():
        for item in members:
            for role in "pc":
                lines += _item_lines(role, item, thresholds.get(item, 0), held[item])
            lines.append(f"p.{item} ~~ c.{item}")
    return "\n".join(lines)


def _item_lines(role: str, item: str, n_thresholds: int, held: frozenset[str]) -> list[str]:
    name = f"{role}.{item}"
    if n_thresholds == 0:
        lines = [f"{name} ~ {f'n.{item}*1' if 'intercepts' in held else '1'}"]
        if "residuals" in held:
            lines.append(f"{name} ~~ e.{item}*{name}")
        return lines
    equal = "thresholds" in held
    lines = [f"{name} | {f't{k}.{item}*' if equal else ''}t{k}" for k in range(1, n_thresholds + 1)]
    free = role == "c" and equal
    lines.append(f"{name} ~ {'NA' if free and 'intercepts' not in held else '0'}*1")
    lines.append(f"{name} ~*~ {'NA' if free else '1'}*{name}")
    return lines


class _Search:
    """Fits the steps one after the other, and looks for the factors and items that a step does not suit."""

    def __init__(
        self,
        factors: Mapping[str, tuple[str, ...]],
        thresholds: Mapping[str, int],
        estimator: Estimator,
        sample: SampleStatistics,
        divisors: Mapping[str, float],
        progress: Progress | None,
    ) -> None:
        self._factors, self._thresholds, self._estimator = factors, thresholds, estimator
        self._sample, self._divisors, self._progress = sample, divisors, progress
        self._released: dict[str, str] = {}
        self._failed_at: dict[str, str] = {}
        self._complete = False
        self._poor = False
        self._doubtful: list[str] = []
        self._intercepts: ModelFit | None = None

    def _fit(self, level: str, released: Mapping[str, str]) -> ModelFit:
        syntax = write_role_model(self._factors, level=level, thresholds=self._thresholds, released=released)
        return fit_model(
            syntax,
            sample=self._sample,
            estimator=self._estimator,
            missing=self._sample.missing,
            ordered=list(self._sample.item_codes) if self._thresholds else (),
            meanstructure=True,
        )

    def run(self) -> tuple[InvarianceStep, ...]:
        levels = ORDINAL_LEVELS if self._thresholds else LINEAR_LEVELS
        steps: list[InvarianceStep] = []
        previous: ModelFit | None = None
        for number, level in enumerate(levels):
            if self._progress is not None:
                self._progress(number / len(levels), level)
            model = self._fit(level, self._released)
            before = previous
            tests: tuple[FactorTest, ...] = ()
            usable = model.converged
            if before is not None and usable and level not in ("means", "residuals"):
                tests = self._test_factors(level, model)
            step = _step(level, model, before, tests)
            if before is not None and any(test.released for test in tests):
                model = self._fit(level, self._released)
                again = _passes(level, compare_models(before, model), model) if model.converged else None
                step = replace(step, passes_released=again)
            steps.append(step)
            if level in _NEEDED and step.passes_released is False:
                self._doubtful.append(level)
            if level == "configural" and usable and _fits_poorly(model):
                self._poor = True
            if not model.converged:
                break
            if level == "intercepts":
                self._intercepts, self._complete = model, True
            previous = model
        if self._progress is not None:
            self._progress(1.0, "done")
        return tuple(steps)

    def _test_factors(self, level: str, model: ModelFit) -> tuple[FactorTest, ...]:
        held = {
            factor: tuple(item for item in members if item not in self._released)
            for factor, members in self._factors.items()
        }
        raw = []
        for factor, members in held.items():
            if not members:
                raw.append((factor, np.nan, 0, np.nan))
                continue
            raw.append((factor, *self._difference(level, model, members)))
        adjusted = _holm([self._allow_for_nesting(*test) for test in raw])
        tests = []
        for (factor, chisq, df, pvalue), holm in zip(raw, adjusted, strict=True):
            holds = None if not np.isfinite(holm) else bool(holm >= _LEVEL_OF_TESTS)
            released: tuple[str, ...] = ()
            if holds is False:
                released = self._release_items(level, factor, held[factor])
            tests.append(
                FactorTest(
                    factor=factor,
                    chisq_diff=chisq,
                    df_diff=df,
                    pvalue=pvalue,
                    pvalue_holm=holm,
                    holds=holds,
                    released=released,
                )
            )
        return tuple(tests)

    def _difference(self, level: str, model: ModelFit, items: Sequence[str]) -> tuple[float, int, float]:
        """Test the step's model against the one that does not hold these items equal from this step on."""
        freer = self._fit(level, self._released | dict.fromkeys(items, level))
        if not freer.converged:
            return np.nan, 0, np.nan
        comparison = compare_models(freer, model)
        return comparison.chisq_diff, comparison.df_diff, comparison.pvalue

    def _allow_for_nesting(self, factor: str, chisq: float, df: int, pvalue: float) -> float:
        divisor = self._divisors.get(factor, 1.0)
        if divisor <= 1 or not np.isfinite(chisq) or df < 1:
            return pvalue
        return float(chdtrc(df, max(chisq, 0.0) / divisor))

    def _release_items(self, level: str, factor: str, members: tuple[str, ...]) -> tuple[str, ...]:
        """Release the item that improves fit most, until the rest holds; all of them when too few anchors remain."""
        released: list[str] = []
        while len(members) - len(released) > _MINIMUM_ANCHORS:
            rest = [item for item in members if item not in released]
            model = self._fit(level, self._released | dict.fromkeys(released, level))
            gains = [(self._difference(level, model, [*released, item])[0], item) for item in rest]
            known = [(gain, item) for gain, item in gains if np.isfinite(gain)]
            if not known:
                break
            released.append(max(known)[1])
            model = self._fit(level, self._released | dict.fromkeys(released, level))
            pvalue = self._allow_for_nesting(factor, *self._difference(level, model, members))
            if not np.isfinite(pvalue) or pvalue >= _LEVEL_OF_TESTS:
                self._released |= dict.fromkeys(released, level)
                return tuple(released)
        self._failed_at.setdefault(factor, level)
        self._released |= dict.fromkeys(members, level)
        return members

    def refit(self, data: FloatArray, names: Sequence[str]) -> FloatArray:
        """Return each factor's mean gap of the last model with equal intercepts on other rows; NaN where it fails."""
        gaps = np.full(len(self._factors), np.nan)
        if not self._complete:
            return gaps
        syntax = write_role_model(
            self._factors, level="intercepts", thresholds=self._thresholds, released=self._released
        )
        try:
            model = fit_model(
                syntax,
                data,
                item_codes=names,
                estimator="ML" if self._estimator == "MLR" else self._estimator,
                missing=self._sample.missing,
                ordered=list(names) if self._thresholds else (),
                meanstructure=True,
            )
        except AnalysisInputError:  # a category or an item's variation that this resample lacks
            return gaps
        if model.converged:
            for k, factor in enumerate(self._factors):
                gaps[k] = model.parameter(f"c.{factor}", "~1", "").est
        return gaps

    def verdict(self, factor: str) -> GapVerdict:
        members = self._factors[factor]
        failing = tuple(item for item in members if item in self._released)
        anchors = tuple(item for item in members if item not in self._released)
        gap = (np.nan, np.nan, np.nan, np.nan)
        correlation = np.nan
        may: bool | None
        if not self._complete or self._intercepts is None:
            may, text, anchors = None, "undecided: a step that the gap needs could not be fitted", ()
        else:
            correlation = float(self._intercepts.parameter(f"p.{factor}", "~~", f"c.{factor}").std_all)
            if len(anchors) < _MINIMUM_ANCHORS:
                at = self._failed_at.get(factor, "intercepts")
                may, text, anchors = False, f"the gap may not be shown: the {at} differ between the roles", ()
            else:
                may, text = True, "the gap may be shown"
                if failing:
                    text = f"the gap may be shown on the anchors {', '.join(anchors)} only"
                if self._poor:
                    may, text = None, "undecided: the factors themselves do not fit the answers"
                elif not self._intercepts.admissible:
                    may, text = None, "undecided: the solution with equal intercepts is not admissible"
                elif self._doubtful:
                    may = None
                    text = (
                        f"undecided: at equal {', '.join(self._doubtful)} the fit indices fall, though no factor's "
                        "test says which"
                    )
                mean = self._intercepts.parameter(f"c.{factor}", "~1", "")
                gap = (mean.est, mean.se, mean.ci_lower, mean.ci_upper)
        return GapVerdict(
            factor=factor,
            may_be_shown=may,
            verdict=text,
            anchors=anchors,
            failing=failing,
            mean_gap=float(gap[0]),
            mean_gap_se=float(gap[1]),
            mean_gap_ci_lower=float(gap[2]),
            mean_gap_ci_upper=float(gap[3]),
            interval_method="standard error" if np.isfinite(gap[2]) else "none",
            correlation=correlation,
        )


def _step(level: str, model: ModelFit, before: ModelFit | None, tests: tuple[FactorTest, ...]) -> InvarianceStep:
    notes = list(model.notes)
    cfi = rmsea = srmr = chisq = pvalue = np.nan
    df = 0
    passes: bool | None = None
    if not model.converged:
        notes.append(f"{level}: not converged, so the later steps are left out")
    elif before is not None:
        comparison = compare_models(before, model)
        chisq, df, pvalue = comparison.chisq_diff, comparison.df_diff, comparison.pvalue
        cfi, rmsea, srmr = _changes(comparison, model)
        notes += comparison.notes
        passes = _passes(level, comparison, model)
        if passes and model.estimator == "WLSMV" and cfi < _CFI_ALERT:
            notes.append(f"{level}: CFI falls by {-cfi:.3f}; with WLSMV such differences shrink, so look at the tests")
    return InvarianceStep(
        level=level,
        fit=model.fit,
        converged=model.converged,
        admissible=model.admissible,
        delta_cfi=float(cfi),
        delta_rmsea=float(rmsea),
        delta_srmr=float(srmr),
        chisq_diff=float(chisq),
        df_diff=int(df),
        pvalue=float(pvalue),
        passes=passes,
        passes_released=passes,
        factors=tests,
        notes=tuple(dict.fromkeys(notes)),
        model=model,
    )


def _changes(comparison: ModelComparison, model: ModelFit) -> tuple[float, float, float]:
    """Return the changes of CFI, RMSEA (scaled where there are such) and SRMR."""
    suffix = "_scaled" if "cfi_scaled" in model.fit else ""
    return (
        comparison.changes["cfi" + suffix],
        comparison.changes["rmsea" + suffix],
        comparison.changes["srmr"],
    )


def _passes(level: str, comparison: ModelComparison, model: ModelFit) -> bool:
    cfi, rmsea, srmr = _changes(comparison, model)
    limit = _SRMR_RISE_LOADINGS if level == "loadings" else _SRMR_RISE
    return bool(cfi >= _CFI_FALL and rmsea <= _RMSEA_RISE and srmr <= limit)


def _index(model: ModelFit, name: str) -> float:
    return float(model.fit.get(f"{name}_scaled", model.fit.get(name, np.nan)))


def _fits_poorly(model: ModelFit) -> bool:
    return _index(model, "cfi") < _POOR_CFI or _index(model, "rmsea") > _POOR_RMSEA


def _holm(pvalues: Sequence[float]) -> list[float]:
    """Adjust p values by Holm's step-down method, leaving NaN out (R: `p.adjust(p, "holm")`)."""
    known = sorted((p, k) for k, p in enumerate(pvalues) if np.isfinite(p))
    adjusted = [float("nan")] * len(pvalues)
    running = 0.0
    for rank, (p, k) in enumerate(known):
        running = max(running, min(1.0, p * (len(known) - rank)))
        adjusted[k] = running
    return adjusted


def _design_effects(
    p: FloatArray,
    c: FloatArray,
    factors: Mapping[str, tuple[str, ...]],
    items: Sequence[str],
    codes: npt.NDArray[np.int64],
    n_clinicians: int,
) -> tuple[RoleDesignEffect, ...]:
    effects = []
    for factor, members in factors.items():
        columns = [items.index(item) for item in members]
        patient, clinician = _mean_score(p[:, columns]), _mean_score(c[:, columns])
        roles: tuple[tuple[Literal["patient", "clinician", "gap"], FloatArray], ...] = (
            ("patient", patient),
            ("clinician", clinician),
            ("gap", clinician - patient),
        )
        for role, score in roles:
            icc = _intraclass(score, codes, n_clinicians)
            usable = ~np.isnan(score)
            size = usable.sum() / max(len(np.unique(codes[usable])), 1)
            effect = 1 + (size - 1) * icc
            effects.append(
                RoleDesignEffect(
                    factor=factor,
                    role=role,
                    icc=icc,
                    design_effect=float(effect),
                    effective_n=float(usable.sum() / effect),
                )
            )
    return tuple(effects)


def _mean_score(answers: FloatArray) -> FloatArray:
    answered = ~np.isnan(answers)
    counts = answered.sum(axis=1)
    sums = np.where(answered, answers, 0.0).sum(axis=1)
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)


def _intraclass(score: FloatArray, codes: npt.NDArray[np.int64], n_clinicians: int) -> float:
    """Return the share between clinicians by the analysis of variance, cut at zero."""
    usable = ~np.isnan(score)
    y, g = score[usable], codes[usable]
    sizes = np.bincount(g, minlength=n_clinicians).astype(np.float64)
    present = sizes > 0
    k, n = int(present.sum()), len(y)
    if k < 2 or n <= k:
        return 0.0
    sums = np.bincount(g, weights=y, minlength=n_clinicians)
    means = np.where(present, sums / np.where(present, sizes, 1.0), 0.0)
    between = float((sizes * (means - y.mean()) ** 2).sum()) / (k - 1)
    within = float(((y - means[g]) ** 2).sum()) / (n - k)
    typical = (n - float((sizes**2).sum()) / n) / (k - 1)
    variance = max((between - within) / typical, 0.0)
    return variance / (variance + within) if variance + within > 0 else 0.0


def _checked_factors(
    factors: Mapping[str, Sequence[str]], codes: Sequence[str], who: str
) -> dict[str, tuple[str, ...]]:
    if not factors:
        raise AnalysisInputError(f"{who} requires a factor; got none. Remedy: name factors and their items.")
    seen: dict[str, str] = {}
    for factor, members in factors.items():
        for name in (factor, *members):
            if not _NAME.match(name):
                raise AnalysisInputError(
                    f"{who} requires names of letters, digits, dots and underscores; got {name!r}. Remedy: rename it."
                )
        if len(members) < _MINIMUM_ANCHORS:
            raise AnalysisInputError(
                f"{who} requires two items or more per factor; {factor} has {len(members)}. Remedy: leave it out."
            )
        for item in members:
            if item not in codes:
                raise AnalysisInputError(
                    f"{who} requires items among the columns; {item!r} of {factor} is not. Remedy: check its name."
                )
            if item in seen:
                raise AnalysisInputError(
                    f"{who} requires each item in one factor; {item} is in {seen[item]} and {factor}. "
                    "Remedy: leave it in one of them."
                )
            seen[item] = factor
    return {factor: tuple(members) for factor, members in factors.items()}


def _refuse_unusable_items(p: FloatArray, c: FloatArray, items: Sequence[str], who: str) -> None:
    for role, values in (("patients", p), ("clinicians", c)):
        empty = [item for k, item in enumerate(items) if np.isnan(values[:, k]).all()]
        if empty:
            raise AnalysisInputError(
                f"{who} requires answers of both roles to every item; the {role} gave none to {', '.join(empty[:8])}. "
                "Remedy: check the column, or leave the item out."
            )
        refuse_constant_items(values, [f"{item} ({role})" for item in items], who=who)
        for first in range(len(items)):
            for second in range(first):
                both = ~np.isnan(values[:, first]) & ~np.isnan(values[:, second])
                if both.sum() > 1 and (values[both, first] == values[both, second]).all():
                    raise AnalysisInputError(
                        f"{who} requires items that differ; the {role}' {items[second]} and {items[first]} are "
                        "answered alike throughout. Remedy: leave one out, and check that no column was entered twice."
                    )


def _thresholds(p: FloatArray, c: FloatArray, items: Sequence[str], who: str) -> dict[str, int]:
    thresholds = {}
    for k, item in enumerate(items):
        seen = [np.unique(values[~np.isnan(values[:, k]), k]) for values in (p, c)]
        if len(seen[0]) != len(seen[1]) or (seen[0] != seen[1]).any():
            lists = [", ".join(f"{value:g}" for value in values) for values in seen]
            raise AnalysisInputError(
                f"{who} requires that both roles use the same categories; of {item} patients use {lists[0]} and "
                f"clinicians {lists[1]}. Remedy: merge neighbouring categories in both roles, or use MLR."
            )
        if len(seen[0]) < 3:
            raise AnalysisInputError(
                f"{who} requires ordinal items with three categories or more; {item} has {len(seen[0])}: thresholds, "
                "loadings and intercepts of two categories cannot be told apart. Remedy: leave it out, or use MLR."
            )
        thresholds[item] = len(seen[0]) - 1
    return thresholds
