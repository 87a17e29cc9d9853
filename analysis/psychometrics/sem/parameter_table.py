"""The parameter table: what the syntax says plus what lavaan's `cfa`, `sem` and `growth` add by themselves.

The order of rows, the defaults, labels and equality constraints follow lavaan 0.6-14 (`lavaanify`,
`lav_partable_flat`), so that a table printed here can be laid beside lavaan's `parTable()`.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from analysis.psychometrics.errors import AnalysisInputError
from analysis.psychometrics.response_matrix import FloatArray
from analysis.psychometrics.sem.expressions import Expression
from analysis.psychometrics.sem.syntax import Constraint, Definition, ModelSyntax, Term

Auto = Literal["cfa", "sem", "growth", "none"]
Parameterization = Literal["delta", "theta"]

GROUP_EQUAL = (
    "loadings",
    "intercepts",
    "means",
    "composite.loadings",
    "regressions",
    "residuals",
    "residual.covariances",
    "thresholds",
    "lv.variances",
    "lv.covariances",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ParameterRow:
    """One row: a parameter of one group, free or fixed."""

    lhs: str
    op: str
    rhs: str
    group: int  # 1-based
    user: int  # 1 written by the user, 0 added by default
    free: int  # 1-based number among the free parameters, 0 when fixed
    fixed_value: float  # NaN when free, or when fixed at a sample value (exogenous)
    start: float  # NaN unless start() was given
    label: str
    exogenous: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class VariableNames:
    """The variables of one group's model in lavaan's order."""

    observed: tuple[str, ...]
    latent: tuple[str, ...]
    ordinal: tuple[str, ...]
    exogenous: tuple[str, ...]  # observed, fixed at their sample moments


@dataclass(frozen=True, slots=True, kw_only=True)
class ParameterTable:
    """All rows with the equality constraints on the free parameters and the definitions."""

    rows: tuple[ParameterRow, ...]
    names: tuple[VariableNames, ...]  # one a group
    n_groups: int
    n_free: int
    equalities: tuple[tuple[int, int], ...]  # pairs of free numbers (1-based) that are the same
    constraints: tuple[Constraint, ...]
    definitions: tuple[Definition, ...]
    labels: Mapping[str, int]  # label -> position of its first row
    meanstructure: bool
    categorical: bool
    parameterization: Parameterization

    def free_row(self, number: int) -> ParameterRow:
        """Return the row of a free parameter by its 1-based number."""
        return next(row for row in self.rows if row.free == number)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Flat:
    lhs: str
    op: str
    rhs: str
    user: int
    term: Term | None
    free: bool = True
    value: float = math.nan
    exogenous: bool = False


def describe(row: ParameterRow, n_groups: int = 1) -> str:
    """Return `lhs op rhs`, with the group where there is more than one."""
    text = f"{row.lhs} ~1" if row.op == "~1" else f"{row.lhs} {row.op} {row.rhs}"
    return f"{text} (group {row.group})" if n_groups > 1 else text


def build_parameter_table(
    syntax: ModelSyntax,
    *,
    n_groups: int = 1,
    group_labels: Sequence[str] = (),
    n_thresholds: Mapping[str, int] | None = None,
    auto: Auto = "cfa",
    meanstructure: bool = False,
    std_lv: bool = False,
    orthogonal: bool = False,
    fixed_x: bool = True,
    group_equal: Sequence[str] = (),
    group_partial: Sequence[str] = (),
    parameterization: Parameterization = "delta",
) -> ParameterTable:
    """Complete a model by the defaults and number its free parameters.

    Parameters
    ----------
    syntax : ModelSyntax
        From `parse_syntax`.
    n_groups : int
        Number of groups.
    group_labels : sequence of str
        Their names (for `group:` blocks).
    n_thresholds : mapping, optional
        Number of thresholds of each ordinal item.
    auto : {'cfa', 'sem', 'growth', 'none'}
        The defaults of lavaan's function of that name ('cfa' and 'sem' are the same; 'none' adds nothing but what is
        needed to list the model, like `lavaan()`).
    meanstructure, std_lv, orthogonal, fixed_x, group_equal, group_partial, parameterization
        As lavaan's arguments with dots for underscores.

    Returns
    -------
    ParameterTable

    Raises
    ------
    AnalysisInputError
        Unknown `group_equal`, a modifier with the wrong number of values, contradictory constraints.
    """
    thresholds = dict(n_thresholds or {})
    _check_group_equal(group_equal)
    _check_blocks(syntax, n_groups, group_labels)
    equal = _completed_group_equal(group_equal, categorical=bool(thresholds))
    categorical = bool(thresholds) or any(term.op == "|" for term in syntax.terms)
    means = meanstructure or categorical or auto == "growth" or any(term.op == "~1" for term in syntax.terms)
    rows: list[ParameterRow] = []
    names: list[VariableNames] = []
    for group in range(1, n_groups + 1):
        terms = _terms_of_group(syntax, group, n_groups)
        block_names = variable_names(terms, thresholds, fixed_x=fixed_x)
        names.append(block_names)
        flat = _flat_rows(
            terms,
            block_names,
            thresholds,
            auto=auto,
            meanstructure=means,
            std_lv=std_lv,
            orthogonal=orthogonal,
            later_group=group > 1,
            group_equal=equal,
            parameterization=parameterization,
        )
        rows.extend(_with_modifiers(flat, group, n_groups, blocks=bool(syntax.blocks)))
    return _numbered(
        rows,
        tuple(names),
        syntax,
        n_groups=n_groups,
        group_equal=equal,
        group_partial=group_partial,
        meanstructure=means,
        categorical=categorical,
        parameterization=parameterization,
    )


def variable_names(terms: Sequence[Term], thresholds: Mapping[str, int], *, fixed_x: bool) -> VariableNames:
    """Sort the variables of a model into observed, latent, ordinal and exogenous, in lavaan's order."""
    latent = list(dict.fromkeys(term.lhs for term in terms if term.op in ("=~", "<~")))
    dependent = list(dict.fromkeys(term.lhs for term in terms if term.op == "~"))
    predictors = list(dict.fromkeys(term.rhs for term in terms if term.op in ("~", "<~")))
    indicators = list(dict.fromkeys(term.rhs for term in terms if term.op == "=~"))
    observed_indicators = [name for name in indicators if name not in latent]
    observed_y = [name for name in dependent if name not in latent and name not in observed_indicators]
    observed_x = [name for name in predictors if name not in (*latent, *observed_indicators, *observed_y)]
    observed = [*observed_indicators, *observed_y, *observed_x]
    covaried = [name for term in terms if term.op == "~~" for name in (term.lhs,)]
    covaried += [name for term in terms if term.op == "~~" for name in (term.rhs,)]
    others = [*covaried, *(term.lhs for term in terms if term.op in ("~1", "|", "~*~"))]
    observed += [name for name in dict.fromkeys(others) if name not in latent and name not in observed]
    spoken_of = {name for term in terms if term.op in ("~~", "~1") for name in (term.lhs, term.rhs)}
    exogenous = [name for name in observed_x if name not in spoken_of]
    with_thresholds = {term.lhs for term in terms if term.op == "|"} | set(thresholds)
    ordinal = [name for name in observed if name in with_thresholds and name not in exogenous]
    return VariableNames(
        observed=tuple(observed),
        latent=tuple(latent),
        ordinal=tuple(ordinal),
        exogenous=tuple(exogenous) if fixed_x else (),
    )


def _check_group_equal(group_equal: Sequence[str]) -> None:
    unknown = [name for name in group_equal if name not in GROUP_EQUAL]
    if unknown:
        raise AnalysisInputError(
            f"group_equal requires names among {', '.join(GROUP_EQUAL)}; got {', '.join(unknown)}. "
            "Remedy: correct the spelling."
        )


def _check_blocks(syntax: ModelSyntax, n_groups: int, group_labels: Sequence[str]) -> None:
    if syntax.blocks and len(syntax.blocks) != n_groups:
        raise AnalysisInputError(
            f"a model with `group:` blocks requires one block a group; got {len(syntax.blocks)} blocks and {n_groups} "
            f"groups ({', '.join(group_labels)}). Remedy: write a block for every group, or no blocks."
        )


def _completed_group_equal(group_equal: Sequence[str], *, categorical: bool) -> tuple[str, ...]:
    """With ordinal items thresholds and intercepts go together, as in lavaan."""
    equal = list(dict.fromkeys(group_equal))
    if categorical and ("intercepts" in equal or "thresholds" in equal):
        equal += [name for name in ("thresholds", "intercepts") if name not in equal]
    return tuple(equal)


def _terms_of_group(syntax: ModelSyntax, group: int, n_groups: int) -> list[Term]:
    if not syntax.blocks or n_groups == 1:
        return list(syntax.terms)
    return [term for term in syntax.terms if term.block == group]


def _default_rows(
    terms: Sequence[Term],
    names: VariableNames,
    thresholds: Mapping[str, int],
    *,
    meanstructure: bool,
    covariances: bool,
) -> list[tuple[str, str, str]]:
    """List every parameter that the model has by default, in lavaan's order."""
    dependent = list(dict.fromkeys(term.lhs for term in terms if term.op == "~"))
    predictors = {term.rhs for term in terms if term.op in ("~", "<~")}
    indicators = {term.rhs for term in terms if term.op == "=~"}
    latent_x = [name for name in names.latent if name not in indicators and name not in dependent]
    latent_y = [
        name for name in names.latent if name in dependent and name not in indicators and name not in predictors
    ]
    pure_y = {name for name in dependent if name not in indicators | predictors and name not in names.latent}
    observed_y = [name for name in names.observed if name in pure_y]
    not_exogenous = [name for name in names.observed if name not in names.exogenous]
    default: list[tuple[str, str, str]] = []
    for name in names.ordinal:
        default += [(name, "|", f"t{position}") for position in range(1, thresholds.get(name, 0) + 1)]
    default += [(name, "~~", name) for name in (*not_exogenous, *names.latent)]
    if covariances:
        default += [(left, "~~", right) for left, right in itertools.combinations(latent_x, 2)]
        default += [(left, "~~", right) for left, right in itertools.combinations((*latent_y, *observed_y), 2)]
    exogenous = names.exogenous
    default += [
        (exogenous[column], "~~", exogenous[row])
        for column in range(len(exogenous))
        for row in range(column, len(exogenous))
    ]
    default += [(name, "~*~", name) for name in names.ordinal]
    if meanstructure:
        default += [(name, "~1", "") for name in (*names.observed, *names.latent)]
    return default


def _flat_rows(
    terms: list[Term],
    names: VariableNames,
    thresholds: Mapping[str, int],
    *,
    auto: Auto,
    meanstructure: bool,
    std_lv: bool,
    orthogonal: bool,
    later_group: bool,
    group_equal: Sequence[str],
    parameterization: Parameterization,
) -> list[_Flat]:
    """One group's rows with the defaults of `auto`, before the user's modifiers."""
    automatic = auto != "none"
    default = _default_rows(terms, names, thresholds, meanstructure=meanstructure, covariances=automatic)
    written = {(term.lhs, term.op, term.rhs) for term in terms}
    flat = [_Flat(lhs=term.lhs, op=term.op, rhs=term.rhs, user=1, term=term) for term in terms]
    flat += [
        _Flat(lhs=lhs, op=op, rhs=rhs, user=0, term=None)
        for lhs, op, rhs in default
        if (lhs, op, rhs) not in written and not (op == "~~" and (rhs, op, lhs) in written)
    ]
    defaults = _Defaults(
        terms=terms,
        names=names,
        auto=auto,
        std_lv=std_lv,
        orthogonal=orthogonal,
        later_group=later_group,
        group_equal=group_equal,
        parameterization=parameterization,
    )
    return [defaults.applied(row) for row in flat]


class _Defaults:
    """What lavaan fixes or frees when the user does not say."""

    def __init__(
        self,
        *,
        terms: list[Term],
        names: VariableNames,
        auto: Auto,
        std_lv: bool,
        orthogonal: bool,
        later_group: bool,
        group_equal: Sequence[str],
        parameterization: Parameterization,
    ) -> None:
        self.names, self.auto, self.std_lv, self.orthogonal = names, auto, std_lv, orthogonal
        self.later_group, self.group_equal, self.parameterization = later_group, group_equal, parameterization
        self.formative = {term.lhs for term in terms if term.op == "<~"}
        measurement = [term for term in terms if term.op == "=~"]
        self.first_loadings = {
            (lhs, next(term.rhs for term in measurement if term.lhs == lhs))
            for lhs in {term.lhs for term in measurement}
        }
        counts: dict[str, int] = {}
        times_indicator: dict[str, int] = {}
        for term in measurement:
            counts[term.lhs] = counts.get(term.lhs, 0) + 1
            times_indicator[term.rhs] = times_indicator.get(term.rhs, 0) + 1
        self.single_indicators = {
            term.rhs for term in measurement if counts[term.lhs] == 1 and times_indicator[term.rhs] == 1
        }

    def applied(self, row: _Flat) -> _Flat:
        names, automatic = self.names, self.auto != "none"
        variance = row.op == "~~" and row.lhs == row.rhs
        if row.op == "|" and not automatic and not row.user:
            return replace(row, free=False)
        if variance:
            row = self._variance(row)
        elif row.op == "~~" and self.orthogonal and not row.user and {row.lhs, row.rhs} <= set(names.latent):
            row = replace(row, free=False, value=0.0)
        elif row.op == "=~" and automatic and not self.std_lv and (row.lhs, row.rhs) in self.first_loadings:
            row = replace(row, free=False, value=1.0)
        elif row.op == "~1" and not row.user:
            row = self._intercept(row)
        elif row.op == "~*~" and not row.user:
            freed = (
                self.later_group and "thresholds" in self.group_equal and self.parameterization == "delta" and automatic
            )
            row = replace(row, free=True, value=math.nan) if freed else replace(row, free=False, value=1.0)
        if not row.user and row.lhs in names.exogenous and row.op in ("~~", "~1"):
            row = replace(row, free=False, value=math.nan, exogenous=True)
        return row

    def _variance(self, row: _Flat) -> _Flat:
        names, automatic = self.names, self.auto != "none"
        if not row.user:
            if not automatic or row.lhs in self.formative:
                row = replace(row, free=False, value=0.0)
            if automatic and row.lhs in self.single_indicators and row.lhs not in names.ordinal:
                row = replace(row, free=False, value=0.0)
        if self.std_lv and row.lhs in names.latent:
            row = replace(row, free=False, value=1.0)
            loose = self.later_group and "loadings" in self.group_equal and "lv.variances" not in self.group_equal
            if loose and not row.user:
                row = replace(row, free=True, value=math.nan)
        if row.lhs in names.ordinal and not row.user:
            freed = self.later_group and "thresholds" in self.group_equal and self.parameterization == "theta"
            row = replace(row, free=True, value=math.nan) if freed else replace(row, free=False, value=1.0)
        return row

    def _intercept(self, row: _Flat) -> _Flat:
        names = self.names
        if row.lhs in names.latent:
            equal = "intercepts" in self.group_equal or "thresholds" in self.group_equal
            free = self.auto == "growth" or (self.later_group and equal and "means" not in self.group_equal)
            return row if free else replace(row, free=False, value=0.0)
        if row.lhs in names.ordinal or self.auto in ("growth", "none"):
            return replace(row, free=False, value=0.0)
        return row


def _with_modifiers(flat: list[_Flat], group: int, n_groups: int, *, blocks: bool) -> list[ParameterRow]:
    """Apply fixed values, NA, start() and labels of this group."""
    rows = []
    for row in flat:
        free, value, start, label = row.free, row.value, math.nan, ""
        if row.term is not None:
            for kind, values in (("fixed", row.term.fixed), ("start", row.term.start), ("label", row.term.label)):
                if not values:
                    continue
                expected = (1,) if blocks else (1, n_groups)
                if len(values) not in expected:
                    raise AnalysisInputError(
                        f"a modifier requires one value, or one for each of {n_groups} group(s); got {len(values)} at "
                        f"{row.lhs} {row.op} {row.rhs}. Remedy: write c() with {n_groups} entries."
                    )
                chosen = values[0] if len(values) == 1 else values[group - 1]
                if kind == "fixed":
                    free = math.isnan(float(chosen))
                    value = float(chosen)
                elif kind == "start":
                    start = float(chosen)
                else:
                    label = str(chosen)
        if row.term is not None and row.term.start and not free and math.isnan(value):
            value = start
        rows.append(
            ParameterRow(
                lhs=row.lhs,
                op=row.op,
                rhs=row.rhs,
                group=group,
                user=row.user,
                free=1 if free else 0,
                fixed_value=math.nan if free else value,
                start=start,
                label=label,
                exogenous=row.exogenous,
            )
        )
    return rows


def _equality_labels(
    rows: Sequence[ParameterRow],
    names: tuple[VariableNames, ...],
    group_equal: Sequence[str],
    group_partial: Sequence[str],
) -> list[str]:
    """Give every row the label by which equality is judged: the user's, else `lhs op rhs` with the group."""
    plain = [f"{row.lhs}{row.op}{row.rhs}" for row in rows]
    partial = {entry.replace(" ", "") for entry in group_partial}
    labels = [text if row.group == 1 else f"{text}.g{row.group}" for text, row in zip(plain, rows, strict=True)]
    in_first = {text for text, row in zip(plain, rows, strict=True) if row.group == 1}
    if len(names) > 1 and group_equal:
        for position, (text, row) in enumerate(zip(plain, rows, strict=True)):
            if row.group > 1 and text in in_first and text not in partial and _is_equal(row, names[0], group_equal):
                labels[position] = text
    return [row.label or label for row, label in zip(rows, labels, strict=True)]


def _is_equal(row: ParameterRow, names: VariableNames, group_equal: Sequence[str]) -> bool:
    """Say whether `group_equal` holds this kind of parameter equal over groups."""
    observed = row.lhs in names.observed and row.lhs not in names.exogenous
    latent = row.lhs in names.latent
    kinds = {
        "loadings": row.op == "=~",
        "composite.loadings": row.op == "<~",
        "regressions": row.op == "~",
        "intercepts": row.op == "~1" and observed,
        "means": row.op == "~1" and latent,
        "thresholds": row.op == "|" and row.lhs in names.ordinal,
        "residuals": row.op == "~~" and observed and row.lhs == row.rhs,
        "residual.covariances": row.op == "~~" and observed and row.lhs != row.rhs,
        "lv.variances": row.op == "~~" and latent and row.lhs == row.rhs,
        "lv.covariances": row.op == "~~" and latent and row.lhs != row.rhs,
    }
    return any(kinds[kind] for kind in group_equal)


def _numbered(
    rows: list[ParameterRow],
    names: tuple[VariableNames, ...],
    syntax: ModelSyntax,
    *,
    n_groups: int,
    group_equal: Sequence[str],
    group_partial: Sequence[str],
    meanstructure: bool,
    categorical: bool,
    parameterization: Parameterization,
) -> ParameterTable:
    """Number the free rows and turn shared labels into equalities (a fixed partner fixes all)."""
    labels = _equality_labels(rows, names, group_equal, group_partial)
    together: dict[str, list[int]] = {}
    for position, label in enumerate(labels):
        together.setdefault(label, []).append(position)
    for members in together.values():
        fixed = [position for position in members if not rows[position].free and not rows[position].exogenous]
        if len(members) > 1 and fixed:
            value = rows[fixed[0]].fixed_value
            for position in members:
                rows[position] = replace(rows[position], free=0, fixed_value=value)
    number = 0
    for position, row in enumerate(rows):
        if row.free:
            number += 1
            rows[position] = replace(row, free=number)
    equalities: list[tuple[int, int]] = []
    for members in together.values():
        free = [position for position in members if rows[position].free]
        if len(members) > 1 and free:
            shared = rows[free[0]].label or f".p{free[0] + 1}."
            for position in free:
                if not rows[position].label:
                    rows[position] = replace(rows[position], label=shared)
            equalities += [(rows[free[0]].free, rows[position].free) for position in free[1:]]
    by_label = {label: members[0] for label, members in together.items()}
    for position in range(len(rows)):
        by_label.setdefault(f".p{position + 1}.", position)
    _check_known_labels(syntax, by_label)
    return ParameterTable(
        rows=tuple(rows),
        names=names,
        n_groups=n_groups,
        n_free=number,
        equalities=tuple(equalities),
        constraints=syntax.constraints,
        definitions=syntax.definitions,
        labels=by_label,
        meanstructure=meanstructure,
        categorical=categorical,
        parameterization=parameterization,
    )


def _check_known_labels(syntax: ModelSyntax, labels: Mapping[str, int]) -> None:
    known = set(labels)
    expressions: list[tuple[str, Expression]] = []
    expressions += [(f"{item.left} == {item.right}", item.difference) for item in syntax.constraints]
    for definition in syntax.definitions:
        expressions.append((f"{definition.name} := {definition.expression.text}", definition.expression))
    for text, expression in expressions:
        unknown = [name for name in expression.names if name not in known]
        if unknown:
            raise AnalysisInputError(
                f"the model requires labels that stand in it; got {', '.join(unknown)} in `{text}`. "
                "Remedy: label the parameter, for example `f =~ a*x1`."
            )
        if " := " in text:
            known.add(text.split(" := ", 1)[0])


def constraint_basis(table: ParameterTable) -> tuple[FloatArray, FloatArray, tuple[Constraint, ...]]:
    """Return K and θ₀ so that every θ = θ₀ + K x fulfils the linear equalities, and the other constraints.

    Equal parameters share a column of K; further linear constraints cut the rest down to an orthonormal basis of what
    they leave free.
    """
    n_free = table.n_free
    parent = list(range(n_free))

    def root(position: int) -> int:
        while parent[position] != position:
            position = parent[position]
        return position

    for first, second in table.equalities:
        left, right = sorted((root(first - 1), root(second - 1)))
        parent[right] = left
    roots = sorted({root(position) for position in range(n_free)})
    column = {position: index for index, position in enumerate(roots)}
    basis = np.zeros((n_free, len(roots)))
    for position in range(n_free):
        basis[position, column[root(position)]] = 1.0
    origin = np.zeros(n_free)
    linear, nonlinear = _linear_constraints(table)
    if linear:
        rows = np.stack([row for row, _ in linear]) @ basis
        targets = np.array([target for _, target in linear])
        left_vectors, singular, right_vectors = np.linalg.svd(rows)
        rank = int((singular > 1e-10 * max(1.0, singular.max(initial=0.0))).sum())
        solution = right_vectors[:rank].T @ ((left_vectors[:, :rank].T @ targets) / singular[:rank])
        if np.abs(rows @ solution - targets).max() > 1e-8:
            texts = "; ".join(f"{item.left} == {item.right}" for item in table.constraints)
            raise AnalysisInputError(
                f"the constraints contradict one another ({texts}): no value of the free parameters fulfils them. "
                "Remedy: remove or correct one of them."
            )
        origin = basis @ solution
        basis = basis @ right_vectors[rank:].T
    return basis, origin, nonlinear


def parameter_values(table: ParameterTable, theta: FloatArray, fixed: FloatArray) -> dict[str, float]:
    """Return the value behind every label (`fixed` holds each row's value where it is not free)."""
    values = {}
    for label, position in table.labels.items():
        row = table.rows[position]
        values[label] = float(theta[row.free - 1]) if row.free else float(fixed[position])
    return values


def label_gradient(table: ParameterTable, expression: Expression, values: Mapping[str, float]) -> FloatArray:
    """Return the derivative of an expression of labels by the free parameters."""
    gradient = np.zeros(table.n_free)
    for name, slope in expression.derivatives(values).items():
        position = table.labels.get(name)
        if position is not None and table.rows[position].free:
            gradient[table.rows[position].free - 1] += slope
    return gradient


def _linear_constraints(table: ParameterTable) -> tuple[list[tuple[FloatArray, float]], tuple[Constraint, ...]]:
    """Split the constraints into linear ones (row, target) and the rest, by derivatives at two points."""
    linear: list[tuple[FloatArray, float]] = []
    nonlinear: list[Constraint] = []
    rng = np.random.default_rng(0)
    fixed = np.array([0.0 if math.isnan(row.fixed_value) else row.fixed_value for row in table.rows])
    for item in table.constraints:
        points = [rng.uniform(0.5, 1.5, table.n_free) for _ in range(2)]
        gradients, targets = [], []
        for theta in points:
            values = parameter_values(table, theta, fixed)
            gradient = label_gradient(table, item.difference, values)
            named = {key: complex(value) for key, value in values.items()}
            gradients.append(gradient)
            targets.append(float(gradient @ theta) - item.difference.evaluate(named).real)
        if np.allclose(gradients[0], gradients[1], atol=1e-10) and abs(targets[0] - targets[1]) < 1e-8:
            linear.append((gradients[0], targets[0]))
        else:
            nonlinear.append(item)
    return linear, tuple(nonlinear)
