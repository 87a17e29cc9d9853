"""Fitting a model: from syntax and data to estimates, standard errors, tests and indices."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr, ndtri

from analysis.psychometrics.errors import AnalysisInputError
from analysis.psychometrics.response_matrix import FloatArray, as_item_codes, as_responses, read_only
from analysis.psychometrics.sem import fit_measures as measures
from analysis.psychometrics.sem.continuous import MaximumLikelihood
from analysis.psychometrics.sem.fiml import FullInformation, full_information_inference
from analysis.psychometrics.sem.inference import Inference, complete_data_inference
from analysis.psychometrics.sem.matrices import IndexArray
from analysis.psychometrics.sem.model import GroupLayout, GroupState, fixed_value, group_layouts, group_state
from analysis.psychometrics.sem.optimisation import Minimum, Objective, coordinates, minimise
from analysis.psychometrics.sem.ordinal import DiagonallyWeightedLeastSquares, ordinal_inference
from analysis.psychometrics.sem.parameter_table import (
    Auto,
    Parameterization,
    ParameterTable,
    build_parameter_table,
    constraint_basis,
    describe,
    label_gradient,
    parameter_values,
    variable_names,
)
from analysis.psychometrics.sem.sample_statistics import (
    GroupSample,
    Missing,
    Moments,
    SampleStatistics,
    complete_group,
    from_moments,
    incomplete_group,
    ordinal_groups,
    split_rows,
)
from analysis.psychometrics.sem.solution import defined_values, explained_variances, standardised
from analysis.psychometrics.sem.start_values import STYLES, start_values
from analysis.psychometrics.sem.syntax import ModelSyntax, parse_syntax

Estimator = Literal["ML", "MLR", "WLSMV"]

_ESTIMATORS = ("ML", "MLR", "WLSMV")
#: What a solution that did not converge has no value of.
_MAIN_INDICES = ("chisq", "pvalue", "cfi", "tli", "rmsea", "rmsea_ci_lower", "rmsea_ci_upper", "rmsea_pvalue", "srmr")


@dataclass(frozen=True, slots=True, kw_only=True)
class ParameterEstimate:
    """One row of the solution; `se` is 0 for a fixed parameter, NaN where it could not be computed."""

    lhs: str
    op: str
    rhs: str
    group: int  # 1-based; 0 for definitions
    label: str
    free: bool
    est: float
    se: float
    z: float
    pvalue: float
    ci_lower: float
    ci_upper: float
    std_lv: float
    std_all: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ModelFit:
    """A fitted model: indices, estimates, and what further questions to it need (`solution`, `difference_tests`)."""

    fit: Mapping[str, float]  # lavaan's names with underscores
    parameters: tuple[ParameterEstimate, ...]
    r2: tuple[Mapping[str, float], ...]  # one mapping a group
    estimator: Estimator
    missing: Missing
    n_used: int
    n_dropped: int
    group_labels: tuple[str, ...]
    group_sizes: tuple[int, ...]
    converged: bool
    admissible: bool
    identified: bool
    n_iterations: int
    notes: tuple[str, ...]
    table: ParameterTable = field(repr=False)
    theta: FloatArray = field(repr=False)  # free parameters in the order of the table
    covariance: FloatArray | None = field(repr=False)  # of the free parameters
    basis: FloatArray = field(repr=False)  # directions that the constraints leave
    layouts: tuple[GroupLayout, ...] = field(repr=False)
    states: tuple[GroupState, ...] = field(repr=False)
    sample: SampleStatistics = field(repr=False)  # in the order of the model's variables
    inference: Inference = field(repr=False)
    objective: Objective = field(repr=False)
    options: "FitOptions" = field(repr=False)

    def parameter(self, lhs: str, op: str, rhs: str, group: int = 1) -> ParameterEstimate:
        """Return one parameter's row.

        Raises
        ------
        KeyError
            It is not in the model.
        """
        for row in self.parameters:
            ends = (row.lhs, row.rhs)
            same = ends == (lhs, rhs) or (op == "~~" and ends == (rhs, lhs))
            if row.op == op and same and row.group in (group, 0):
                return row
        raise KeyError(f"{lhs} {op} {rhs} (group {group})")

    def comparison_index(self, name: str) -> float:
        """Return an index in the form that comparisons rest on: scaled where the estimator scales its test."""
        return self.fit.get(f"{name}_scaled", self.fit[name])


@dataclass(frozen=True, slots=True, kw_only=True)
class FitOptions:
    """How the model was to be fitted; `fit_model`'s arguments, kept for refitting."""

    syntax: ModelSyntax
    estimator: Estimator
    missing: Missing
    ordered: tuple[str, ...]
    group_equal: tuple[str, ...]
    group_partial: tuple[str, ...]
    std_lv: bool
    orthogonal: bool
    auto: Auto
    meanstructure: bool | None
    fixed_x: bool
    parameterization: Parameterization


def fit_model(
    syntax: str,
    data: npt.ArrayLike | None = None,
    *,
    item_codes: Sequence[str] | None = None,
    moments: Moments | Sequence[Moments] | None = None,
    sample: SampleStatistics | None = None,
    estimator: Estimator = "ML",
    ordered: Sequence[str] | bool = (),
    missing: Missing | None = None,
    groups: Sequence[object] | None = None,
    group_equal: Sequence[str] = (),
    group_partial: Sequence[str] = (),
    cluster: Sequence[object] | None = None,
    std_lv: bool = False,
    orthogonal: bool = False,
    auto: Auto = "cfa",
    meanstructure: bool | None = None,
    fixed_x: bool = True,
    parameterization: Parameterization = "delta",
) -> ModelFit:
    """Fit a factor or structural equation model written in lavaan's syntax.

    Parameters
    ----------
    syntax : str
        The model (`?model.syntax` in lavaan; see `analysis.psychometrics.sem.syntax`).
    data : array-like, shape (n_respondents, n_columns), optional
        Answers, NaN for missing. Columns that the model does not name are ignored.
    item_codes : sequence of str
        Names of the columns.
    moments : Moments or sequence of Moments, optional
        Covariances instead of data (one entry a group).
    sample : SampleStatistics, optional
        From `prepare_sample`, instead of data: several models fitted to the same columns share what is costly.
    estimator : {'ML', 'MLR', 'WLSMV'}
        Maximum likelihood; the same with robust standard errors and the Yuan–Bentler test; diagonally weighted least
        squares on polychoric correlations with a mean- and variance-adjusted test.
    ordered : sequence of str, or True
        Ordinal items (True: all items of the model). WLSMV without it takes all items as ordinal.
    missing : {'listwise', 'fiml', 'pairwise'}, optional
        Default listwise; 'fiml' uses every answer (ML, MLR), 'pairwise' every pair (WLSMV).
    groups : sequence, length n_respondents, optional
        Group of each respondent; groups are numbered as they appear.
    group_equal, group_partial : sequence of str
        What is equal over groups (lavaan's `group.equal`: loadings, intercepts, thresholds, residuals …) and exceptions
        such as `"visual=~x2"`.
    cluster : sequence, length n_respondents, optional
        Cluster (clinician) of each respondent: standard errors and tests allow for dependence within clusters (MLR).
    std_lv : bool
        Fix factor variances at 1 instead of first loadings.
    orthogonal : bool
        Factors uncorrelated.
    auto : {'cfa', 'sem', 'growth', 'none'}
        Which defaults complete the model.
    meanstructure : bool, optional
        Intercepts in the model; default as in lavaan (with groups, with `~ 1`, with missing='fiml', with clusters).
    fixed_x : bool
        Exogenous observed variables stay at their sample moments.
    parameterization : {'delta', 'theta'}
        For ordinal items.

    Returns
    -------
    ModelFit
        A solution that did not converge or is not admissible is returned with `converged`/`admissible` False and notes
        that name the parameters.

    Raises
    ------
    AnalysisInputError
        Unreadable model, unknown column, constant or identical items, too few respondents or moments.

    Notes
    -----
    Conventions are lavaan 0.6-14's: covariances divided by N, χ² = N times the minimum of the fitting function,
    standard errors from expected information (ML), observed information (FIML, MLR). R: `lavaan::cfa(model, data, …)`,
    `fitMeasures()`, `parameterEstimates(standardized = TRUE)`.

    Examples
    --------
    >>> import numpy as np
    >>> covariance = np.array([[1.0, 0.56, 0.48], [0.56, 1.0, 0.42], [0.48, 0.42, 1.0]])
    >>> solution = fit_model(
    ...     "f =~ a + b + c", moments=Moments(covariance=covariance, n=500), item_codes=["a", "b", "c"], std_lv=True
    ... )
    >>> [round(row.std_all, 3) for row in solution.parameters if row.op == "=~"]
    [0.8, 0.7, 0.6]
    """
    options = _options(
        parse_syntax(syntax),
        estimator=estimator,
        missing=missing,
        ordered=ordered,
        group_equal=group_equal,
        group_partial=group_partial,
        std_lv=std_lv,
        orthogonal=orthogonal,
        auto=auto,
        meanstructure=meanstructure,
        fixed_x=fixed_x,
        parameterization=parameterization,
        clustered=cluster is not None,
    )
    columns = _model_columns(options)
    if sample is not None:
        statistics = _of_columns(sample, columns)
    elif moments is not None:
        entries = [moments] if isinstance(moments, Moments) else list(moments)
        if item_codes is None:
            raise AnalysisInputError("moments require item codes; got none. Remedy: name the rows of the matrix.")
        labels = [str(position + 1) for position in range(len(entries))]
        statistics = _of_columns(from_moments(entries, item_codes, labels), columns)
    elif data is not None:
        statistics = prepare_sample(
            data,
            item_codes=item_codes,
            columns=columns,
            missing=options.missing,
            ordered=options.ordered if options.estimator == "WLSMV" else (),
            complete=variable_names(options.syntax.terms, {}, fixed_x=options.fixed_x).exogenous,
            groups=groups,
            cluster=cluster,
        )
    else:
        raise AnalysisInputError("fit_model requires data, moments or a prepared sample; got none of them.")
    return fit_prepared(options, statistics)


def prepare_sample(
    data: npt.ArrayLike,
    *,
    item_codes: Sequence[str] | None = None,
    columns: Sequence[str] | None = None,
    missing: Missing = "listwise",
    ordered: Sequence[str] = (),
    complete: Sequence[str] = (),
    groups: Sequence[object] | None = None,
    cluster: Sequence[object] | None = None,
) -> SampleStatistics:
    """Summarise data once for several models; rows are deleted listwise over all the columns given.

    Parameters
    ----------
    data, item_codes, missing, groups, cluster
        As in `fit_model`.
    ordered : sequence of str
        Ordinal items (with any of them the sample is one for WLSMV).
    complete : sequence of str
        Columns that missing='fiml' needs complete rows of: observed predictors, whose distribution is not modelled.
    columns : sequence of str, optional
        The columns that the models use; default all.

    Returns
    -------
    SampleStatistics
    """
    if columns is None:
        columns = as_item_codes(item_codes, as_responses(data, who="prepare_sample").shape[1], who="prepare_sample")
    chosen = list(columns)
    parts, n_dropped = split_rows(data, item_codes, chosen, groups, cluster)
    samples: list[GroupSample] = []
    if ordered:
        samples, dropped, notes = ordinal_groups(parts, chosen, ordered, missing)
        return SampleStatistics(
            item_codes=tuple(chosen),
            groups=tuple(samples),
            missing=missing,
            with_means=True,
            n_dropped=n_dropped + dropped,
            notes=notes,
        )
    for label, values, clusters in parts:
        if missing == "fiml":
            group, dropped = incomplete_group(label, values, clusters, chosen, complete, several=len(parts) > 1)
        else:
            group, dropped = complete_group(label, values, clusters, chosen, several=len(parts) > 1)
        samples.append(group)
        n_dropped += dropped
    return SampleStatistics(
        item_codes=tuple(chosen), groups=tuple(samples), missing=missing, with_means=True, n_dropped=n_dropped
    )


def _options(
    syntax: ModelSyntax,
    *,
    estimator: Estimator,
    missing: Missing | None,
    ordered: Sequence[str] | bool,
    group_equal: Sequence[str],
    group_partial: Sequence[str],
    std_lv: bool,
    orthogonal: bool,
    auto: Auto,
    meanstructure: bool | None,
    fixed_x: bool,
    parameterization: Parameterization,
    clustered: bool,
) -> FitOptions:
    if estimator not in _ESTIMATORS:
        raise AnalysisInputError(
            f"estimator requires one of {', '.join(_ESTIMATORS)}; got {estimator!r}. Remedy: choose one of them."
        )
    if clustered and estimator == "ML":
        estimator = "MLR"
    chosen: Missing = missing or "listwise"
    if estimator != "WLSMV" and ordered:
        raise AnalysisInputError(
            f"estimator {estimator} requires measured items; got ordinal ones. Remedy: use WLSMV, or drop `ordered`."
        )
    allowed = ("listwise", "pairwise") if estimator == "WLSMV" else ("listwise", "fiml")
    if chosen not in allowed:
        raise AnalysisInputError(
            f"estimator {estimator} requires missing to be one of {', '.join(allowed)}; got {chosen}. "
            f"Remedy: choose {allowed[1]}."
        )
    if clustered and estimator == "WLSMV":
        raise AnalysisInputError(
            "cluster requires estimator MLR; got WLSMV. Remedy: use MLR, or bootstrap whole clusters."
        )
    if clustered and meanstructure is None:
        meanstructure = True
    return FitOptions(
        syntax=syntax,
        estimator=estimator,
        missing=chosen,
        ordered=_ordered_items(syntax, ordered if ordered or estimator != "WLSMV" else True),
        group_equal=tuple(group_equal),
        group_partial=tuple(group_partial),
        std_lv=std_lv,
        orthogonal=orthogonal,
        auto=auto,
        meanstructure=meanstructure,
        fixed_x=fixed_x,
        parameterization=parameterization,
    )


def _ordered_items(syntax: ModelSyntax, ordered: Sequence[str] | bool) -> tuple[str, ...]:
    """Return the ordinal items: those named, or (True) all observed variables that the model explains."""
    if not isinstance(ordered, bool):
        return tuple(ordered)
    names = variable_names(syntax.terms, {}, fixed_x=True)
    return tuple(name for name in names.observed if name not in names.exogenous) if ordered else ()


def _model_columns(options: FitOptions) -> tuple[str, ...]:
    """Return the observed variables that the model names, in lavaan's order."""
    return variable_names(options.syntax.terms, {}, fixed_x=options.fixed_x).observed


def _of_columns(sample: SampleStatistics, columns: Sequence[str]) -> SampleStatistics:
    unknown = [name for name in columns if name not in sample.item_codes]
    if unknown:
        raise AnalysisInputError(
            f"the model names variables that the data must have as columns; not found: {', '.join(unknown)}. "
            "Remedy: correct the names in the model."
        )
    places = np.array([sample.item_codes.index(name) for name in columns], dtype=np.intp)
    return SampleStatistics(
        item_codes=tuple(columns),
        groups=tuple(group.of_columns(places, columns) for group in sample.groups),
        missing=sample.missing,
        with_means=sample.with_means,
        n_dropped=sample.n_dropped,
        notes=sample.notes,
    )


def fit_prepared(options: FitOptions, sample: SampleStatistics) -> ModelFit:
    """Fit a model to a prepared sample whose columns are the model's variables in its order."""
    _check_sample(options, sample)
    n_groups = len(sample.groups)
    means = options.meanstructure
    if means is None:
        means = sample.with_means and n_groups > 1
    means = means or sample.missing == "fiml"
    table = build_parameter_table(
        options.syntax,
        n_groups=n_groups,
        group_labels=[group.label for group in sample.groups],
        n_thresholds=_threshold_counts(sample),
        auto=options.auto,
        meanstructure=means or bool({"intercepts", "means"} & set(options.group_equal)),
        std_lv=options.std_lv,
        orthogonal=options.orthogonal,
        fixed_x=options.fixed_x,
        group_equal=options.group_equal if n_groups > 1 else (),
        group_partial=options.group_partial,
        parameterization=options.parameterization,
    )
    if table.meanstructure and not sample.with_means:
        raise AnalysisInputError(
            "a model with intercepts requires means; the moments given have none. Remedy: give "
            "means, or take `~ 1` out."
        )
    exogenous = exogenous_places(table)
    basis, origin, nonlinear = constraint_basis(table)
    layouts = group_layouts(
        table,
        [(group.covariance, group.mean) for group in sample.groups],
        [group.ordinal.counts() for group in sample.groups if group.ordinal is not None],
    )
    objective: MaximumLikelihood | FullInformation | DiagonallyWeightedLeastSquares
    if sample.missing == "fiml":
        objective = FullInformation(layouts, sample.groups, table.n_free)
    elif table.categorical:
        theta_scaled = options.parameterization == "theta"
        objective = DiagonallyWeightedLeastSquares(layouts, sample.groups, table.n_free, theta_scaled=theta_scaled)
        _check_ordinal_model(table)
    else:
        objective = MaximumLikelihood(layouts, sample.groups, table.n_free, meanstructure=table.meanstructure)
    _check_degrees_of_freedom(table, sample, exogenous, basis, len(nonlinear))
    fixed = _fixed_values(table, sample.groups)
    restriction = _restriction(table, fixed) if nonlinear else None
    minimum, notes = _best_minimum(objective, table, sample, basis, origin, restriction)
    if restriction is not None:
        basis = _tangent(basis, restriction(minimum.theta)[1])
    identified, directions = find_unidentified(objective, minimum.theta, basis, table)
    if isinstance(objective, DiagonallyWeightedLeastSquares):
        inference = ordinal_inference(objective, minimum.theta, basis, level_constraints=_level_constraints(table))
    elif isinstance(objective, FullInformation):
        robust = options.estimator == "MLR"
        inference = full_information_inference(objective, minimum.theta, basis, exogenous, robust=robust)
    else:
        robust = options.estimator == "MLR"
        inference = complete_data_inference(objective, minimum.theta, basis, exogenous, robust=robust)
    return assemble_fit(
        options,
        sample,
        table,
        layouts,
        objective,
        minimum,
        basis,
        inference,
        fixed=fixed,
        identified=identified,
        notes=(*sample.notes, *notes, *directions),
    )


def _sample_thresholds(table: ParameterTable, sample: SampleStatistics) -> list[dict[str, FloatArray]]:
    return [
        dict(zip(names.observed, group.ordinal.thresholds, strict=True))
        for names, group in zip(table.names, sample.groups, strict=True)
        if group.ordinal is not None
    ]


def _threshold_counts(sample: SampleStatistics) -> dict[str, int]:
    first = sample.groups[0].ordinal
    if first is None:
        return {}
    return {code: count for code, count in zip(sample.item_codes, first.counts(), strict=True) if count}


def _check_ordinal_model(table: ParameterTable) -> None:
    """Refuse what the delta and theta scalings here do not cover."""
    for names in table.names:
        if names.exogenous:
            raise AnalysisInputError(
                f"WLSMV requires a model without observed predictors; got {', '.join(names.exogenous)}. "
                "Remedy: make each the single indicator of a factor (`age_f =~ age`), or use MLR."
            )
    for row in table.rows:
        ordinal = table.names[row.group - 1].ordinal
        if (row.op in ("~", "<~") and row.rhs in ordinal) or (row.op == "=~" and row.lhs in ordinal):
            raise AnalysisInputError(
                f"WLSMV requires ordinal items to be indicators or outcomes; got {row.lhs} {row.op} {row.rhs}, in "
                "which an ordinal item predicts. Remedy: make it the single indicator of a factor, "
                "or leave it out of `ordered`."
            )


def _check_degrees_of_freedom(
    table: ParameterTable,
    sample: SampleStatistics,
    exogenous: Sequence[IndexArray],
    basis: FloatArray,
    n_nonlinear: int,
) -> None:
    n_moments = 0
    for names, group, exo in zip(table.names, sample.groups, exogenous, strict=True):
        if group.ordinal is not None:
            n_moments += group.ordinal.moments.size
            continue
        size, n_x = len(names.observed), exo.size
        n_moments += size * (size + 1) // 2 - n_x * (n_x + 1) // 2
        n_moments += size - n_x if table.meanstructure else 0
    n_parameters = basis.shape[1] - n_nonlinear
    refuse_negative_df(n_moments, n_parameters)


def refuse_negative_df(n_moments: int, n_parameters: int) -> None:
    """Refuse a model with more free parameters than moments."""
    if n_parameters > n_moments:
        raise AnalysisInputError(
            f"the model is under-identified: it has {n_parameters} free parameters and the data give "
            f"{n_moments} moments "
            f"({n_moments - n_parameters} degrees of freedom). Remedy: fix or equate parameters (for instance "
            "`f =~ a*x1 + a*x2` with two indicators), or add indicators."
        )


def _fixed_values(table: ParameterTable, samples: Sequence[GroupSample]) -> FloatArray:
    values = np.zeros(len(table.rows))
    for position, row in enumerate(table.rows):
        sample = samples[row.group - 1]
        place = {name: index for index, name in enumerate(table.names[row.group - 1].observed)}
        values[position] = fixed_value(row, place, (sample.covariance, sample.mean))
    return values


def _restriction(table: ParameterTable, fixed: FloatArray) -> Callable[[FloatArray], tuple[FloatArray, FloatArray]]:
    """Return the nonlinear constraints as a function of θ: their values and derivatives."""
    nonlinear = constraint_basis(table)[2]

    def evaluate(theta: FloatArray) -> tuple[FloatArray, FloatArray]:
        values = parameter_values(table, theta, fixed)
        named = {key: complex(value) for key, value in values.items()}
        distances = np.array([item.difference.evaluate(named).real for item in nonlinear])
        slopes = np.stack([label_gradient(table, item.difference, values) for item in nonlinear])
        return distances, slopes

    return evaluate


def _tangent(basis: FloatArray, slopes: FloatArray) -> FloatArray:
    """Return the directions in which nonlinear constraints do not change."""
    reduced = slopes @ basis
    _, singular, right = np.linalg.svd(reduced)
    rank = int((singular > 1e-10).sum())
    result: FloatArray = basis @ right[rank:].T
    return result


def _best_minimum(
    objective: Objective,
    table: ParameterTable,
    sample: SampleStatistics,
    basis: FloatArray,
    origin: FloatArray,
    restriction: Callable[[FloatArray], tuple[FloatArray, FloatArray]] | None,
) -> tuple[Minimum, tuple[str, ...]]:
    """Minimise from informed starting values; should that fail, from plainer ones, and keep the lowest."""
    best: Minimum | None = None
    notes: tuple[str, ...] = ()
    for style in STYLES:
        start = start_values(
            table,
            [group.covariance for group in sample.groups],
            [group.mean for group in sample.groups],
            _sample_thresholds(table, sample),
            style=style,
        )
        start, found_notes = find_admissible_start(objective, start, basis, origin, table)
        found = minimise(
            objective,
            start,
            basis,
            origin,
            n_total=sample.n_used,
            nonlinear=restriction,
            cautious=style != "informed",
        )
        if best is None or (found.converged, -found.value) > (best.converged, -best.value):
            best, notes = found, found_notes
        if best.converged:
            break
    assert best is not None
    return best, notes


def find_admissible_start(
    objective: Objective, start: FloatArray, basis: FloatArray, origin: FloatArray, table: ParameterTable
) -> tuple[FloatArray, tuple[str, ...]]:
    """Move the starting values until the discrepancy is finite there: loadings and paths are drawn towards zero."""
    if not basis.size:
        return origin, ()
    shrinking = np.array([row.op in ("=~", "~") for row in table.rows if row.free])
    theta = start.copy()
    for _ in range(12):
        projected = origin + basis @ coordinates(basis, theta - origin)
        if math.isfinite(objective.value(projected)):
            return projected, ()
        theta = np.where(shrinking, 0.6 * theta, theta)
    return theta, ("no admissible starting values were found",)


def find_unidentified(
    objective: Objective, theta: FloatArray, basis: FloatArray, table: ParameterTable
) -> tuple[bool, tuple[str, ...]]:
    """Look for directions along which the model does not change: singular expected information names the parameters."""
    if not basis.size:
        return True, ()
    information = objective.scoring_matrix(theta)
    reduced = basis.T @ information @ basis
    if not np.isfinite(reduced).all():
        return False, ("the information matrix could not be computed at the solution",)
    diagonal = np.diag(reduced)
    scale = np.where(diagonal > 0, 1.0 / np.sqrt(np.maximum(diagonal, 1e-300)), 1.0)
    eigenvalues, vectors = np.linalg.eigh(reduced * np.outer(scale, scale))
    if eigenvalues[0] > 1e-9:
        return True, ()
    free = np.flatnonzero(eigenvalues <= 1e-9)
    direction = np.abs(basis @ (scale[:, None] * vectors[:, free])).max(axis=1)
    rows = [row for row in table.rows if row.free]
    involved = [
        describe(row, table.n_groups)
        for row, weight in zip(rows, direction, strict=True)
        if weight > 0.05 * direction.max()
    ]
    shown = ", ".join(involved[:12]) + (" …" if len(involved) > 12 else "")
    return False, (
        f"the model is not identified: {len(free)} combination(s) of {shown} can change without changing the fit; "
        "their estimates are arbitrary and no standard errors are given. Remedy: fix or equate one of them",
    )


def assemble_fit(
    options: FitOptions,
    sample: SampleStatistics,
    table: ParameterTable,
    layouts: tuple[GroupLayout, ...],
    objective: Objective,
    minimum: Minimum,
    basis: FloatArray,
    inference: Inference,
    *,
    fixed: FloatArray,
    identified: bool,
    notes: Sequence[str],
) -> ModelFit:
    """Put estimates, indices and judgements together."""
    states = tuple(_required_state(layout, minimum.theta) for layout in layouts)
    estimates = fixed.copy()
    for position, row in enumerate(table.rows):
        if row.free:
            estimates[position] = minimum.theta[row.free - 1]
    variances = complete_scales(table, states, layouts, estimates)
    by_latent, by_all = standardised(table, estimates, variances)
    covariance = inference.covariance if identified else None
    remarks = list(notes)
    if not minimum.converged:
        remarks.append(
            "the estimation did not converge: estimates, tests and standard errors are not to be used. "
            "Remedy: simplify the model, check its identification or give start() values"
        )
    elif covariance is None and identified:
        remarks.append("standard errors could not be computed: the information matrix is singular at the solution")
    problems = inadmissible(table, estimates, states, layouts)
    remarks += problems
    remarks += inference.notes
    explained = explained_variances(table, by_all)
    rows = _parameter_rows(table, estimates, by_latent, by_all, covariance)
    theta = read_only(minimum.theta.copy())
    return ModelFit(
        fit=_fit_indices(sample, table, minimum, basis, inference),
        parameters=tuple(rows),
        r2=tuple(
            {name: value for (group, name), value in explained.items() if group == number + 1}
            for number in range(table.n_groups)
        ),
        estimator=options.estimator,
        missing=sample.missing,
        n_used=sample.n_used,
        n_dropped=sample.n_dropped,
        group_labels=tuple(group.label for group in sample.groups),
        group_sizes=tuple(group.n for group in sample.groups),
        converged=minimum.converged,
        admissible=minimum.converged and identified and not problems,
        identified=identified,
        n_iterations=minimum.n_iterations,
        notes=tuple(remarks),
        table=table,
        theta=theta,
        covariance=covariance,
        basis=basis,
        layouts=layouts,
        states=states,
        sample=sample,
        inference=inference,
        objective=objective,
        options=options,
    )


def _required_state(layout: GroupLayout, theta: FloatArray) -> GroupState:
    state = group_state(layout, theta)
    if state is None:
        raise AnalysisInputError(
            "the model's paths form a loop without solution (I − B is singular). Remedy: remove one of the paths."
        )
    return state


def _check_sample(options: FitOptions, sample: SampleStatistics) -> None:
    """Refuse a sample that was not prepared for the estimator."""
    estimator = options.estimator
    ordinal = sample.groups[0].ordinal is not None
    if ordinal is not (estimator == "WLSMV"):
        raise AnalysisInputError(
            f"estimator {estimator} requires a sample of {'ordinal' if estimator == 'WLSMV' else 'measured'} items; "
            f"got {'polychoric correlations' if ordinal else 'covariances of measured items'}. Remedy: "
            f"{'name the ordinal items in `ordered`' if estimator == 'WLSMV' else 'leave `ordered` out'}."
        )
    first = sample.groups[0].ordinal
    if first is not None and not any(first.ordered):
        raise AnalysisInputError(
            f"WLSMV requires ordinal items in the model; got none ({', '.join(options.ordered)} are not in it). "
            "Remedy: name the model's ordinal items in `ordered`, or use ML."
        )
    if estimator == "MLR" and any(group.data is None for group in sample.groups):
        raise AnalysisInputError(
            "estimator MLR requires respondents' answers; got covariances alone. Remedy: pass the data, or use ML."
        )
    if estimator == "ML" and any(group.cluster is not None for group in sample.groups):
        raise AnalysisInputError(
            "a clustered sample requires estimator MLR; got ML, whose standard errors ignore clusters. Remedy: use MLR."
        )


def exogenous_places(table: ParameterTable) -> list[IndexArray]:
    """Return for every group the positions of the exogenous variables among the observed."""
    return [np.array([names.observed.index(name) for name in names.exogenous], dtype=np.intp) for names in table.names]


def implied_variances(fit: ModelFit) -> list[FloatArray]:
    """Return for every group the model-implied variances of all variables, observed then latent."""
    estimates = np.array([row.est for row in fit.parameters[: len(fit.table.rows)]])
    return complete_scales(fit.table, fit.states, fit.layouts, estimates)


def complete_scales(
    table: ParameterTable, states: Sequence[GroupState], layouts: Sequence[GroupLayout], estimates: FloatArray
) -> list[FloatArray]:
    """Complete the estimates by what follows for ordinal items, and return all variables' implied variances.

    Under the delta parameterisation an ordinal item's residual variance is 1/scale² minus what the factors explain;
    under theta its scale is one over its implied standard deviation.
    """
    variances = [np.diag(state.latent_moments).copy() for state in states]
    delta = table.parameterization == "delta"
    for number, (state, layout) in enumerate(zip(states, layouts, strict=True)):
        if delta:
            variances[number][layout.ordinal] = 1.0 / state.scales[layout.ordinal] ** 2
    for position, row in enumerate(table.rows):
        names = table.names[row.group - 1]
        if row.lhs not in names.ordinal or row.free:
            continue
        state, item = states[row.group - 1], names.observed.index(row.lhs)
        if delta and row.op == "~~" and row.lhs == row.rhs:
            explained = state.sigma[item, item] - state.covariances[item, item]
            estimates[position] = variances[row.group - 1][item] - explained
        elif not delta and row.op == "~*~":
            estimates[position] = 1.0 / math.sqrt(state.sigma[item, item]) if state.sigma[item, item] > 0 else math.nan
    return variances


def inadmissible(
    table: ParameterTable, estimates: FloatArray, states: Sequence[GroupState], layouts: Sequence[GroupLayout]
) -> list[str]:
    """Name what no population can have: negative variances, correlations beyond one."""
    problems: list[str] = []
    negative_groups: set[int] = set()
    for position, row in enumerate(table.rows):
        if row.op == "~~" and row.lhs == row.rhs and estimates[position] < 0:
            negative_groups.add(row.group)
            problems.append(
                f"inadmissible: negative variance, {describe(row, table.n_groups)} = "
                f"{estimates[position]:.3g} (Heywood case)"
            )
    for number, (state, layout) in enumerate(zip(states, layouts, strict=True)):
        n_observed = len(layout.observed)
        where = f" in group {number + 1}" if table.n_groups > 1 else ""
        if number + 1 in negative_groups:
            continue
        latent = state.latent_moments[n_observed:, n_observed:]
        continuous = np.setdiff1d(np.arange(n_observed), layout.ordinal)
        residual = state.covariances[np.ix_(continuous, continuous)]
        for matrix, names, what in (
            (latent, layout.variables[n_observed:], "latent variables"),
            (residual, tuple(layout.variables[index] for index in continuous), "residuals"),
        ):
            if matrix.size and np.linalg.eigvalsh(matrix)[0] < -1e-10 * max(1.0, float(np.trace(matrix))):
                problems.append(_not_positive_definite(matrix, names, what, where))
    return problems


def _not_positive_definite(matrix: FloatArray, names: Sequence[str], what: str, where: str) -> str:
    sd = np.sqrt(np.maximum(np.diag(matrix), 1e-300))
    correlations = matrix / np.outer(sd, sd)
    rows, columns = np.tril_indices(len(matrix), -1)
    beyond = [
        f"{names[column]} with {names[row]} = {correlations[row, column]:.3f}"
        for row, column in zip(rows.tolist(), columns.tolist(), strict=True)
        if abs(correlations[row, column]) > 1
    ]
    detail = f": correlation beyond one, {', '.join(beyond)}" if beyond else f" ({', '.join(names)})"
    return f"inadmissible: the covariance matrix of {what} is not positive definite{where}{detail}"


def _parameter_rows(
    table: ParameterTable,
    estimates: FloatArray,
    by_latent: FloatArray,
    by_all: FloatArray,
    covariance: FloatArray | None,
) -> list[ParameterEstimate]:
    rows = []
    for position, row in enumerate(table.rows):
        se = 0.0
        if row.free:
            variance = math.nan if covariance is None else float(covariance[row.free - 1, row.free - 1])
            se = math.sqrt(variance) if variance >= 0 else math.nan
        rows.append(
            _parameter_row(
                (row.lhs, row.op, row.rhs, row.group, row.label, bool(row.free)),
                float(estimates[position]),
                se,
                float(by_latent[position]),
                float(by_all[position]),
            )
        )
    if table.definitions:
        theta_of = {label: float(estimates[position]) for label, position in table.labels.items()}
        latent_of = {label: float(by_latent[position]) for label, position in table.labels.items()}
        all_of = {label: float(by_all[position]) for label, position in table.labels.items()}
        plain = defined_values(table, theta_of, covariance)
        latent = defined_values(table, latent_of, None)
        everything = defined_values(table, all_of, None)
        for definition, (value, se), (std_lv, _), (std_all, _) in zip(
            table.definitions, plain, latent, everything, strict=True
        ):
            text = "".join(definition.expression.text.split())
            rows.append(
                _parameter_row((definition.name, ":=", text, 0, definition.name, True), value, se, std_lv, std_all)
            )
    return rows


def _parameter_row(
    identity: tuple[str, str, str, int, str, bool], est: float, se: float, std_lv: float, std_all: float
) -> ParameterEstimate:
    lhs, op, rhs, group, label, free = identity
    z = est / se if free and se > 0 else math.nan
    half = float(ndtri(0.975)) * se
    return ParameterEstimate(
        lhs=lhs,
        op=op,
        rhs=rhs,
        group=group,
        label="" if label.startswith(".p") else label,
        free=free,
        est=est,
        se=se,
        z=z,
        pvalue=2 * float(ndtr(-abs(z))),
        ci_lower=est - half,
        ci_upper=est + half,
        std_lv=std_lv,
        std_all=std_all,
    )


def _fit_indices(
    sample: SampleStatistics, table: ParameterTable, minimum: Minimum, basis: FloatArray, inference: Inference
) -> dict[str, float]:
    n, n_groups, n_parameters = float(sample.n_used), table.n_groups, basis.shape[1]
    categorical = table.categorical
    # least squares multiplies by n - 1 in every group
    n_of_test = n - n_groups if categorical else n
    if not inference.residuals or not minimum.converged:
        undefined = dict.fromkeys(_MAIN_INDICES, math.nan)
        return {"npar": float(n_parameters), "df": float(inference.test.df), "ntotal": n} | undefined
    result = {"npar": float(n_parameters), "fmin": minimum.value}
    result |= measures.chisq_measures(inference.test, inference.scaled)
    result |= measures.incremental_measures(
        inference.test, inference.baseline, inference.scaled, inference.baseline_scaled, inference.robust
    )
    if not math.isnan(inference.log_likelihood):
        result |= measures.likelihood_measures(
            inference.log_likelihood, inference.unrestricted_log_likelihood, n_parameters, n
        )
        if inference.scaled is not None:
            result["scaling_factor_h1"] = inference.scaled.scaling_factor_h1
            result["scaling_factor_h0"] = inference.scaled.scaling_factor_h0
    else:
        result["ntotal"] = n
    result |= measures.rmsea_measures(
        inference.test, inference.scaled, inference.robust, n=n_of_test, n_groups=n_groups
    )
    result |= measures.residual_measures(list(inference.residuals), categorical=categorical)
    result |= measures.other_measures(
        inference.test,
        n=n_of_test,
        n_parameters=n_parameters,
        categorical=categorical,
        n_moments=_first_moments(sample, inference),
    )
    if not math.isnan(inference.gfi):
        result |= measures.goodness_of_fit(inference.gfi, inference.n_moments, inference.test.df)
    return result


def _level_constraints(table: ParameterTable) -> bool:
    """Say whether thresholds or intercepts are constrained, in which case lavaan gives no robust indices."""
    levels = {row.free for row in table.rows if row.free and row.op in ("|", "~1")}
    if any(first in levels or second in levels for first, second in table.equalities):
        return True
    named = {name for item in table.constraints for name in item.difference.names}
    return any(table.rows[table.labels[name]].free in levels for name in named)


def _first_moments(sample: SampleStatistics, inference: Inference) -> int:
    """Return the number of moments of the first group, on which lavaan's WRMR rests."""
    first = sample.groups[0].ordinal
    return inference.n_moments if first is None else first.moments.size
