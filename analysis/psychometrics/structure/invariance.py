"""Measurement invariance over groups: configural, then equal thresholds, loadings, intercepts and residuals in turn.

Continuous items take lavaan's `group.equal` levels. Ordinal items take the order and the identification of Wu &
Estabrook (2016): thresholds first, because only equal thresholds give intercepts and residual variances a common scale.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from analysis.psychometrics.errors import AnalysisInputError
from analysis.psychometrics.sem import ModelFit, SampleStatistics, fit_model, prepare_sample
from analysis.psychometrics.sem.difference_tests import ModelComparison, compare_models
from analysis.psychometrics.sem.estimation import Estimator
from analysis.psychometrics.sem.syntax import ModelSyntax, parse_syntax

Level = Literal["configural", "thresholds", "metric", "scalar", "strict"]
Progress = Callable[[float, str], None]

LEVELS: tuple[Level, ...] = ("configural", "metric", "scalar", "strict")
ORDINAL_LEVELS: tuple[Level, ...] = ("configural", "thresholds", "metric", "scalar", "strict")

#: What each level adds, in lavaan's words.
GROUP_EQUAL: Mapping[Level, str] = {
    "thresholds": "thresholds",
    "metric": "loadings",
    "scalar": "intercepts",
    "strict": "residuals",
}

#: A level holds while none of these is exceeded (Chen 2007; SRMR by .030 for loadings, .010 after).
LARGEST_CFI_FALL = 0.010
LARGEST_RMSEA_RISE = 0.015
LARGEST_SRMR_RISE: Mapping[Level, float] = {"thresholds": 0.030, "metric": 0.030, "scalar": 0.010, "strict": 0.010}

#: Items that have to stay equal in each factor for its means or variances to be comparable.
FEWEST_ANCHORS = 2


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class InvarianceLevel:
    """One level with the change from the level before (NaN at the first, or where a level could not be fitted)."""

    level: Level
    fit: ModelFit | None
    error: str  # why there is no fit
    delta_cfi: float
    delta_rmsea: float
    delta_srmr: float
    difference: ModelComparison | None
    holds: bool | None  # by Chen's criteria; None at the first level, or where it cannot be judged


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleasedItem:
    """What happens to a level when one item is let free: a suggestion, not a decision."""

    level: Level
    item: str
    cfi: float
    delta_cfi: float  # from the level before, the item being free
    chisq_fall: float  # of the (unscaled) chi-square against the level with every item equal
    holds: bool


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Invariance:
    """All levels. `cfi_kind` names the CFI and RMSEA that the changes rest on ('scaled' for robust estimators)."""

    levels: tuple[InvarianceLevel, ...]
    released: tuple[ReleasedItem, ...]
    cfi_kind: Literal["plain", "scaled"]
    estimator: Estimator
    group_labels: tuple[str, ...]
    group_sizes: tuple[int, ...]
    n_used: int
    n_dropped: int
    notes: tuple[str, ...]


def assess_invariance(
    syntax: str,
    data: npt.ArrayLike,
    *,
    item_codes: Sequence[str],
    groups: Sequence[object],
    estimator: Estimator = "MLR",
    ordered: Sequence[str] | bool = (),
    missing: Literal["listwise", "fiml", "pairwise"] = "listwise",
    search_partial: bool = False,
    progress: Progress | None = None,
) -> Invariance:
    """Fit a factor model with more and more of it equal over groups, and compare level by level.

    Parameters
    ----------
    syntax : str
        A factor model in lavaan's syntax. With ordinal items: first-order factors and covariances, without modifiers.
    data : array-like, shape (n_respondents, n_columns)
        Answers, NaN for missing.
    item_codes : sequence of str
        Names of the columns.
    groups : sequence, length n_respondents
        Group of each respondent.
    estimator : {'ML', 'MLR', 'WLSMV'}
        WLSMV for ordinal items (all of the model's unless `ordered` names them).
    search_partial : bool
        At each level that does not hold, let one item after the other free and report what that changes. Each factor
        keeps at least two equal items. Nothing is decided: the levels themselves stay as they are.
    progress : callable (share done from 0 to 1, what comes next), optional

    Returns
    -------
    Invariance
        Changes of CFI and RMSEA are those of the scaled indices under MLR and WLSMV: lavaan has no robust CFI once
        thresholds are constrained.

    Raises
    ------
    AnalysisInputError
        Fewer than two groups, an unusable group, or an ordinal model that is not first-order.

    Notes
    -----
    Chen (2007), Struct Equ Modeling 14:464; Wu & Estabrook (2016), Psychometrika 81:1014. With five categories and a
    WLSMV estimator a fall of CFI by .005 already deserves a look: such indices shrink (Meade et al. 2008).
    R: `lavaan::cfa(…, group.equal = )` for continuous items, `semTools::measEq.syntax(ID.fac = "std.lv",
    ID.cat = "Wu.Estabrook.2016", parameterization = "theta")` for ordinal ones; `lavTestLRT` for the tests.
    """
    model = parse_syntax(syntax)
    if len(set(groups)) < 2:
        raise AnalysisInputError(
            f"assess_invariance requires two groups or more; got {len(set(groups))}. "
            "Remedy: name a column that tells the groups apart."
        )
    columns = _observed(model)
    ordinal = _ordinal_items(columns, estimator, ordered)
    if ordinal:
        _check_first_order(model)
    fitter = _Fitter(
        syntax=syntax,
        model=model,
        sample=prepare_sample(
            data, item_codes=item_codes, columns=columns, missing=missing, ordered=ordinal, groups=groups
        ),
        estimator=estimator,
        ordered=ordinal,
        missing=missing,
    )
    tell = progress or (lambda share, what: None)
    names = ORDINAL_LEVELS if fitter.ordinal else LEVELS
    levels: list[InvarianceLevel] = []
    released: list[ReleasedItem] = []
    for position, level in enumerate(names):
        tell(position / len(names), level)
        levels.append(_level(fitter, level, names[: position + 1], levels[-1] if levels else None))
        if search_partial and levels[-1].holds is False:
            released += _search(fitter, names[: position + 1], levels[-2], levels[-1], tell, position / len(names))
    tell(1.0, "done")
    first = next((entry.fit for entry in levels if entry.fit is not None), None)
    return Invariance(
        levels=tuple(levels),
        released=tuple(released),
        cfi_kind="scaled" if estimator in ("MLR", "WLSMV") else "plain",
        estimator=estimator,
        group_labels=first.group_labels if first else (),
        group_sizes=first.group_sizes if first else (),
        n_used=first.n_used if first else 0,
        n_dropped=first.n_dropped if first else 0,
        notes=_notes(levels),
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Fitter:
    """The model with its sample, fitted at any level with any items let free."""

    syntax: str
    model: ModelSyntax
    sample: SampleStatistics
    estimator: Estimator
    ordered: Sequence[str]
    missing: Literal["listwise", "fiml", "pairwise"]

    @property
    def ordinal(self) -> bool:
        return bool(self.ordered)

    @property
    def n_thresholds(self) -> dict[str, int]:
        part = self.sample.groups[0].ordinal
        return dict(zip(self.sample.item_codes, part.counts(), strict=True)) if part else {}

    def fit(self, levels: Sequence[Level], released: Sequence[str] = ()) -> ModelFit:
        """Fit with everything equal that `levels` say, but for the items released at the last of them."""
        if self.ordinal:
            return self._run(
                ordinal_syntax(
                    self.model,
                    levels=levels,
                    n_thresholds=self.n_thresholds,
                    n_groups=len(self.sample.groups),
                    released=dict.fromkeys(released, levels[-1]),
                ),
                std_lv=True,
                parameterization="theta",
            )
        equal = [GROUP_EQUAL[level] for level in levels if level in GROUP_EQUAL]
        return self._run(
            self.syntax,
            group_equal=equal,
            group_partial=[entry for item in released for entry in _partial(self.model, levels[-1], item)],
        )

    def _run(
        self,
        syntax: str,
        *,
        std_lv: bool = False,
        parameterization: Literal["delta", "theta"] = "delta",
        group_equal: Sequence[str] = (),
        group_partial: Sequence[str] = (),
    ) -> ModelFit:
        return fit_model(
            syntax,
            sample=self.sample,
            estimator=self.estimator,
            ordered=self.ordered,
            missing=self.missing,
            meanstructure=True,
            std_lv=std_lv,
            parameterization=parameterization,
            group_equal=group_equal,
            group_partial=group_partial,
        )


def ordinal_syntax(
    model: ModelSyntax,
    *,
    levels: Sequence[Level],
    n_thresholds: Mapping[str, int],
    n_groups: int,
    released: Mapping[str, Level] | None = None,
) -> str:
    """Write a first-order model of ordinal items with what `levels` make equal (Wu & Estabrook 2016, theta).

    Parameters
    ----------
    model : ModelSyntax
        Factors of observed items, and covariances.
    levels : sequence of Level
        The levels in force, e.g. `("configural", "thresholds", "metric")`.
    n_thresholds : mapping of item to its number of thresholds
    n_groups : int
    released : mapping of item to level
        Items that are not made equal at that level.

    Notes
    -----
    Configural: factor means 0 and variances 1, intercepts 0 and residual variances 1 in every group. Equal thresholds
    free intercepts and residual variances of the later groups (for an item with one threshold the intercept only);
    equal loadings free their factor variances; equal intercepts their factor means, and the residual variance of
    items with one threshold; equal residuals fix those at 1 again.

    Examples
    --------
    >>> model = parse_syntax("f =~ a + b + c")
    >>> print(ordinal_syntax(model, levels=("configural",), n_thresholds={"a": 1, "b": 1, "c": 2}, n_groups=2))
    f =~ a + b + c
    """
    free_at = dict(released or {})
    in_force = set(levels)

    def equal(item: str, level: Level) -> bool:
        return level in in_force and free_at.get(item) != level

    def later(first: str, others: str) -> str:
        return f"c({', '.join([first, *[others] * (n_groups - 1)])})"

    def same(label: str) -> str:
        return f"c({', '.join([label] * n_groups)})"

    loadings = [term for term in model.terms if term.op == "=~"]
    factors = list(dict.fromkeys(term.lhs for term in loadings))
    items = list(dict.fromkeys(term.rhs for term in loadings))
    lines: list[str] = []
    for factor in factors:
        parts = [
            f"{same(f'loading_{factor}_{term.rhs}')}*{term.rhs}" if equal(term.rhs, "metric") else term.rhs
            for term in loadings
            if term.lhs == factor
        ]
        lines.append(f"{factor} =~ {' + '.join(parts)}")
    for item in items:
        if not equal(item, "thresholds"):
            continue
        steps = range(1, n_thresholds[item] + 1)
        lines.append(f"{item} | " + " + ".join(f"{same(f'threshold_{item}_{step}')}*t{step}" for step in steps))
        if not equal(item, "scalar"):
            lines.append(f"{item} ~ {later('0', 'NA')}*1")
        scaled = n_thresholds[item] > 1 or "scalar" in in_force
        if scaled and not equal(item, "strict"):
            lines.append(f"{item} ~~ {later('1', 'NA')}*{item}")
    if "metric" in in_force:
        lines += [f"{factor} ~~ {later('1', 'NA')}*{factor}" for factor in factors]
    if "scalar" in in_force:
        lines += [f"{factor} ~ {later('0', 'NA')}*1" for factor in factors]
    lines += [
        f"{term.lhs} ~~ {f'{term.fixed[0]:g}*' if term.fixed else ''}{term.rhs}"
        for term in model.terms
        if term.op == "~~"
    ]
    return "\n".join(lines)


def _level(fitter: _Fitter, level: Level, levels: Sequence[Level], before: InvarianceLevel | None) -> InvarianceLevel:
    unknown = float("nan")
    try:
        fit = fitter.fit(levels)
    except AnalysisInputError as error:
        if before is None:
            raise
        return InvarianceLevel(
            level=level,
            fit=None,
            error=str(error),
            delta_cfi=unknown,
            delta_rmsea=unknown,
            delta_srmr=unknown,
            difference=None,
            holds=None,
        )
    if before is None or before.fit is None:
        return InvarianceLevel(
            level=level,
            fit=fit,
            error="",
            delta_cfi=unknown,
            delta_rmsea=unknown,
            delta_srmr=unknown,
            difference=None,
            holds=None,
        )
    cfi, rmsea, srmr = (_change(before.fit, fit, name) for name in ("cfi", "rmsea", "srmr"))
    return InvarianceLevel(
        level=level,
        fit=fit,
        error="",
        delta_cfi=cfi,
        delta_rmsea=rmsea,
        delta_srmr=srmr,
        difference=compare_models(fit, before.fit),
        holds=_holds(level, cfi, rmsea, srmr) if before.fit.converged and fit.converged else None,
    )


def _change(before: ModelFit, after: ModelFit, name: str) -> float:
    return after.comparison_index(name) - before.comparison_index(name)


def _holds(level: Level, delta_cfi: float, delta_rmsea: float, delta_srmr: float) -> bool | None:
    if not np.isfinite([delta_cfi, delta_rmsea, delta_srmr]).all():
        return None
    return (
        delta_cfi >= -LARGEST_CFI_FALL and delta_rmsea <= LARGEST_RMSEA_RISE and delta_srmr <= LARGEST_SRMR_RISE[level]
    )


def _search(
    fitter: _Fitter,
    levels: Sequence[Level],
    before: InvarianceLevel,
    failing: InvarianceLevel,
    tell: Progress,
    share: float,
) -> list[ReleasedItem]:
    """Let each item free that leaves its factors two equal ones; the largest fall of chi-square comes first."""
    level = failing.level
    if before.fit is None or failing.fit is None:
        return []
    found: list[ReleasedItem] = []
    for item in _releasable(fitter.model):
        tell(share, f"{level} without {item}")
        try:
            fit = fitter.fit(levels, released=(item,))
        except AnalysisInputError:
            continue  # the model without this constraint is not identified: nothing to suggest
        if not fit.converged:
            continue
        changes = [_change(before.fit, fit, name) for name in ("cfi", "rmsea", "srmr")]
        found.append(
            ReleasedItem(
                level=level,
                item=item,
                cfi=fit.comparison_index("cfi"),
                delta_cfi=changes[0],
                chisq_fall=failing.fit.fit["chisq"] - fit.fit["chisq"],
                holds=bool(_holds(level, changes[0], changes[1], changes[2])),
            )
        )
    return sorted(found, key=lambda entry: -entry.chisq_fall)


def _releasable(model: ModelSyntax) -> list[str]:
    loadings = [(term.lhs, term.rhs) for term in model.terms if term.op == "=~"]
    factors = {factor for factor, _ in loadings}
    size = {factor: sum(lhs == factor for lhs, _ in loadings) for factor in factors}
    return [
        item
        for item in dict.fromkeys(rhs for _, rhs in loadings)
        if item not in factors and all(size[lhs] > FEWEST_ANCHORS for lhs, rhs in loadings if rhs == item)
    ]


def _partial(model: ModelSyntax, level: Level, item: str) -> list[str]:
    """Name what `group_partial` sets free for one item."""
    if level == "metric":
        return [f"{term.lhs}=~{item}" for term in model.terms if term.op == "=~" and term.rhs == item]
    return [f"{item}~1"] if level == "scalar" else [f"{item}~~{item}"]


def _observed(model: ModelSyntax) -> list[str]:
    latent = {term.lhs for term in model.terms if term.op == "=~"}
    named = [name for term in model.terms for name in (term.lhs, term.rhs) if term.op in ("=~", "~", "~~")]
    return [name for name in dict.fromkeys(named) if name not in latent]


def _ordinal_items(columns: Sequence[str], estimator: Estimator, ordered: Sequence[str] | bool) -> list[str]:
    """Return the model's ordinal items: those named, or all of them for WLSMV."""
    named = [] if isinstance(ordered, bool) else [code for code in columns if code in set(ordered)]
    chosen = list(columns) if ordered is True or (estimator == "WLSMV" and not named) else named
    if chosen and len(chosen) < len(columns):
        measured = [code for code in columns if code not in chosen]
        raise AnalysisInputError(
            f"invariance requires items of one kind; not ordinal are {', '.join(measured)}. "
            "Remedy: name all items of the model as ordinal, or none."
        )
    return chosen


def _check_first_order(model: ModelSyntax) -> None:
    factors = {term.lhs for term in model.terms if term.op == "=~"}
    for term in model.terms:
        text = f"{term.lhs} {term.op} {term.rhs}"
        if term.op not in ("=~", "~~") or (term.op == "=~" and term.rhs in factors):
            raise AnalysisInputError(
                f"invariance of ordinal items requires first-order factors and covariances; got {text!r}. "
                "Remedy: test the measurement model alone, or treat the items as continuous (estimator MLR)."
            )
        if term.label or term.start or (term.op == "=~" and term.fixed) or len(set(term.fixed)) > 1:
            raise AnalysisInputError(
                f"invariance of ordinal items sets its own labels and fixed values; {text!r} brings some. "
                "Remedy: write the model without modifiers (covariances may be fixed, as in f ~~ 0*g)."
            )


def _notes(levels: Sequence[InvarianceLevel]) -> tuple[str, ...]:
    """Say what is wrong with a level, and once what all levels share (they rest on the same sample)."""
    notes: dict[str, None] = {}
    for entry in levels:
        if entry.fit is None:
            notes[f"{entry.level}: {entry.error}"] = None
            continue
        if not entry.fit.converged:
            notes[f"{entry.level}: the solution did not converge"] = None
        if entry.fit.admissible:
            notes |= dict.fromkeys(entry.fit.notes)
        else:
            notes |= dict.fromkeys(f"{entry.level}: {note}" for note in entry.fit.notes)
    return tuple(notes)
