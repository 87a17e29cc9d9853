"""Two-level factor models of continuous scores: one model within clinicians, one between, fitted together.

y_ij = u_j + v_ij with u_j ~ N(μ, Σ_B), v_ij ~ N(0, Σ_W). For cluster j of n_j rows with mean m_j and scatter S_j

−2ℓ_j = (n_j − 1) ln|Σ_W| + tr(Σ_W⁻¹ S_j) + ln|Σ_W + n_j Σ_B| + n_j (m_j − μ)ᵀ (Σ_W + n_j Σ_B)⁻¹ (m_j − μ) + n_j p ln 2π

(McDonald & Goldstein 1989; Muthén 1994). Clusters of the same size are added up first.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from analysis.psychometrics.errors import AnalysisInputError
from analysis.psychometrics.inference.few_clinicians import MINIMUM_FOR_BETWEEN_FACTORS, MINIMUM_FOR_BETWEEN_MODEL
from analysis.psychometrics.reliability.level_specific import TwoLevelCovariances, two_level_covariances
from analysis.psychometrics.response_matrix import FloatArray, IntArray, as_item_codes, as_responses
from analysis.psychometrics.sem import fit_measures as measures
from analysis.psychometrics.sem.estimation import (
    Estimator,
    FitOptions,
    ModelFit,
    assemble_fit,
    find_admissible_start,
    find_unidentified,
    refuse_negative_df,
)
from analysis.psychometrics.sem.inference import Inference, inverse_in_basis, undefined_inference
from analysis.psychometrics.sem.matrices import inverse_and_logdet
from analysis.psychometrics.sem.model import (
    Directions,
    GroupLayout,
    GroupState,
    gradient,
    group_layouts,
    group_state,
    mean_jacobian,
    paired,
    sigma_directions,
)
from analysis.psychometrics.sem.optimisation import Minimum, minimise
from analysis.psychometrics.sem.parameter_table import (
    ParameterTable,
    build_parameter_table,
    constraint_basis,
    variable_names,
)
from analysis.psychometrics.sem.sample_statistics import GroupSample, SampleStatistics
from analysis.psychometrics.sem.start_values import start_values
from analysis.psychometrics.sem.syntax import parse_syntax

_LEVELS = {"1": "within", "within": "within", "2": "between", "between": "between"}
_LEVEL_LINE = r"^[ \t]*level[ \t]*:[ \t]*([\w.]+)[ \t]*;?[ \t]*$"
_WHO = "a two-level model"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ClusterMoments:
    """Complete rows by cluster, and the same added up for clusters of one size."""

    sizes: FloatArray  # (n_clusters,)
    means: FloatArray  # (n_clusters, p)
    scatters: FloatArray  # (n_clusters, p, p)
    kinds: FloatArray  # (n_sizes,): the sizes that occur
    of_kind: tuple[IntArray, ...]  # clusters of each size
    scatter: FloatArray  # (p, p): sum of all scatters
    n_rows: int

    @classmethod
    def of(cls, rows: FloatArray, clusters: npt.ArrayLike) -> "ClusterMoments":
        _, place, sizes = np.unique(np.asarray(clusters), return_inverse=True, return_counts=True)
        place = np.asarray(place).reshape(-1)
        n_clusters, p = len(sizes), rows.shape[1]
        means = np.zeros((n_clusters, p))
        np.add.at(means, place, rows)
        means /= sizes[:, None]
        apart = rows - means[place]
        scatters = np.zeros((n_clusters, p, p))
        np.add.at(scatters, place, apart[:, :, None] * apart[:, None, :])
        kinds = np.unique(sizes)
        return cls(
            sizes=sizes.astype(np.float64),
            means=means,
            scatters=scatters,
            kinds=kinds.astype(np.float64),
            of_kind=tuple(np.flatnonzero(sizes == kind).astype(np.int64) for kind in kinds),
            scatter=scatters.sum(axis=0),
            n_rows=len(rows),
        )


class TwoLevelLikelihood:
    """−ℓ/N of both levels as a function of the free parameters (`Objective` of the minimiser)."""

    def __init__(self, layouts: Sequence[GroupLayout], data: ClusterMoments, n_free: int) -> None:
        self.within, self.between = layouts
        self.data, self.n_free = data, n_free

    def states(self, theta: FloatArray) -> tuple[GroupState, GroupState] | None:
        """Return both levels' implied moments, None outside the admissible region."""
        within, between = group_state(self.within, theta), group_state(self.between, theta)
        return None if within is None or between is None else (within, between)

    def value(self, theta: FloatArray) -> float:
        """Return −ℓ(θ)/N."""
        states = self.states(theta)
        if states is None:
            return math.inf
        within, between = states
        first = inverse_and_logdet(within.sigma)
        if first is None:
            return math.inf
        d = self.data
        n_clusters, p = d.means.shape
        total = (d.n_rows - n_clusters) * first[1] + float((first[0] * d.scatter).sum())
        total += d.n_rows * p * math.log(2 * math.pi)
        deviations = d.means - between.mu
        for size, chosen in zip(d.kinds, d.of_kind, strict=True):
            inverted = inverse_and_logdet(within.sigma + size * between.sigma)
            if inverted is None:
                return math.inf
            own = deviations[chosen]
            # ln|Σ_W + nΣ_B| as of √n times the mean: its Jacobian is part of that of the rows.
            total += len(chosen) * inverted[1] + size * float(((own @ inverted[0]) * own).sum())
        return float(0.5 * total / d.n_rows)

    def _by_moments(self, within: GroupState, between: GroupState) -> tuple[FloatArray, FloatArray, FloatArray] | None:
        """Return the derivatives of −ℓ by Σ_W, Σ_B and μ."""
        first = inverse_and_logdet(within.sigma)
        if first is None:
            return None
        d = self.data
        inverse = first[0]
        by_within = (d.n_rows - len(d.means)) * inverse - inverse @ d.scatter @ inverse
        by_between = np.zeros_like(by_within)
        by_mean = np.zeros(len(inverse))
        deviations = d.means - between.mu
        for size, chosen in zip(d.kinds, d.of_kind, strict=True):
            inverted = inverse_and_logdet(within.sigma + size * between.sigma)
            if inverted is None:
                return None
            weighted = deviations[chosen] @ inverted[0]
            part = len(chosen) * inverted[0] - size * weighted.T @ weighted
            by_within += part
            by_between += size * part
            by_mean -= size * weighted.sum(axis=0)
        return 0.5 * by_within, 0.5 * by_between, by_mean

    def gradient(self, theta: FloatArray) -> FloatArray:
        """Return ∂(−ℓ/N)/∂θ; NaN outside the admissible region."""
        states = self.states(theta)
        moments = None if states is None else self._by_moments(*states)
        if states is None or moments is None:
            return np.full(self.n_free, np.nan)
        result = gradient(self.within, states[0], self.n_free, moments[0], None)
        result = result + gradient(self.between, states[1], self.n_free, moments[1], moments[2])
        return result / self.data.n_rows

    def scoring_matrix(self, theta: FloatArray) -> FloatArray:
        """Return the expected information per row."""
        states = self.states(theta)
        if states is None:
            return np.full((self.n_free, self.n_free), np.nan)
        within, between = states
        d = self.data
        inner, outer = sigma_directions(self.within), sigma_directions(self.between)
        z, y = within.columns, between.columns
        by_theta = mean_jacobian(self.between, between, self.n_free)
        result = np.zeros((self.n_free, self.n_free))

        def add(first: Directions, second: Directions, block: FloatArray) -> None:
            result[np.ix_(first.number, second.number)] += block

        first = inverse_and_logdet(within.sigma)
        if first is None:
            return np.full((self.n_free, self.n_free), np.nan)
        metric = z.T @ first[0] @ z
        add(inner, inner, 0.5 * (d.n_rows - len(d.means)) * paired(metric, metric, inner))
        for size, chosen in zip(d.kinds, d.of_kind, strict=True):
            inverted = inverse_and_logdet(within.sigma + size * between.sigma)
            if inverted is None:
                return np.full((self.n_free, self.n_free), np.nan)
            inverse, count = inverted[0], len(chosen)
            metric = z.T @ inverse @ z
            add(inner, inner, 0.5 * count * paired(metric, metric, inner))
            metric = y.T @ inverse @ y
            add(outer, outer, 0.5 * count * size**2 * paired(metric, metric, outer))
            cross = 0.5 * count * size * _crossed(z.T @ inverse @ y, inner, outer)
            add(inner, outer, cross)
            add(outer, inner, cross.T)
            result += count * size * by_theta.T @ inverse @ by_theta
        return result / d.n_rows

    def hessian(self, theta: FloatArray) -> FloatArray:
        """Return the observed information per row, by central differences of the gradient."""
        result = np.empty((self.n_free, self.n_free))
        for k in range(self.n_free):
            shift = 1e-5 * max(1.0, abs(float(theta[k])))
            up, down = theta.copy(), theta.copy()
            up[k], down[k] = theta[k] + shift, theta[k] - shift
            result[k] = (self.gradient(up) - self.gradient(down)) / (2 * shift)
        return (result + result.T) / 2

    def cluster_scores(self, theta: FloatArray) -> FloatArray:
        """Return ∂ℓ_j/∂θ of every cluster, shape (n_clusters, n_free)."""
        states = self.states(theta)
        assert states is not None
        within, between = states
        d = self.data
        inverse = np.linalg.inv(within.sigma)
        scores = np.zeros((len(d.means), self.n_free))
        deviations = d.means - between.mu
        for size, chosen in zip(d.kinds, d.of_kind, strict=True):
            whole = np.linalg.inv(within.sigma + size * between.sigma)
            for cluster in chosen:
                weighted = whole @ deviations[cluster]
                part = 0.5 * (whole - size * np.outer(weighted, weighted))
                by_within = part + 0.5 * ((size - 1) * inverse - inverse @ d.scatters[cluster] @ inverse)
                scores[cluster] = -gradient(self.within, within, self.n_free, by_within, None)
                scores[cluster] -= gradient(self.between, between, self.n_free, size * part, -size * weighted)
        return scores


def _crossed(metric: FloatArray, inner: Directions, outer: Directions) -> FloatArray:
    """Return tr(V⁻¹ dΣ_W V⁻¹ dΣ_B) for all pairs, from ZᵀV⁻¹Y."""
    block = metric[np.ix_(inner.first, outer.first)] * metric[np.ix_(inner.second, outer.second)]
    block = block + metric[np.ix_(inner.first, outer.second)] * metric[np.ix_(inner.second, outer.first)]
    result: FloatArray = 2.0 * block * np.outer(inner.weight, outer.weight)
    return result


def fit_two_level(
    syntax: str,
    data: npt.ArrayLike,
    clusters: npt.ArrayLike,
    *,
    item_codes: Sequence[str],
    estimator: Estimator = "MLR",
    std_lv: bool = False,
    orthogonal: bool = False,
    minimum_clusters: int = MINIMUM_FOR_BETWEEN_MODEL,
) -> ModelFit:
    """Fit a factor model within clinicians and one between clinicians to continuous scores.

    Parameters
    ----------
    syntax : str
        lavaan's syntax in two blocks, `level: 1` (within) and `level: 2` (between), about the same items. A label used
        in both makes the parameters equal.
    data : array-like, shape (n_respondents, n_columns)
        Scores; rows with a missing one are dropped.
    clusters : array-like, shape (n_respondents,)
        The clinician of each row.
    item_codes : sequence of str
        Names of the columns.
    estimator : {'ML', 'MLR'}
        Standard errors from observed information, or robust to non-normality with the Yuan–Bentler test.
    std_lv, orthogonal : bool
        As in `fit_model`.
    minimum_clusters : int
        Fewer clinicians are refused: factors between clinicians rest on the number of clinicians.

    Returns
    -------
    ModelFit
        Its groups are the levels, 1 within and 2 between. `srmr_within` and `srmr_between` judge each level.

    Raises
    ------
    AnalysisInputError
        No two blocks, items of one level only, ordinal estimation, too few clinicians, what `two_level_covariances`
        refuses.

    Notes
    -----
    The unrestricted model is fitted by EM, the baseline has variances and means only. R: `lavaan::cfa(model, data,
    cluster = "clinician", estimator = "MLR")`; lavaan stops its EM early unless told `em.h1.tol = 1e-10`.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(3)
    >>> clinician = np.repeat(np.arange(60), 8)
    >>> within, between = rng.normal(size=(480, 1)), rng.normal(size=(60, 1))[clinician]
    >>> scores = within + 0.5 * between + rng.normal(size=(480, 4)) + 0.3 * rng.normal(size=(60, 4))[clinician]
    >>> model = "level: 1\\n fw =~ a + b + c + d\\n level: 2\\n fb =~ a + b + c + d"
    >>> result = fit_two_level(model, scores, clinician, item_codes=["a", "b", "c", "d"])
    >>> result.converged, int(result.fit["df"])
    (True, 4)
    """
    if estimator not in ("ML", "MLR"):
        raise AnalysisInputError(
            f"{_WHO} requires continuous scores and estimator ML or MLR; got {estimator}. Remedy: use MLR; ordinal "
            "two-level models are not available here, as in lavaan."
        )
    text, items = _two_blocks(syntax)
    codes = as_item_codes(item_codes, as_responses(data, who=_WHO).shape[1], who=_WHO)
    unknown = [name for name in items if name not in codes]
    if unknown:
        raise AnalysisInputError(
            f"the model names variables that the data must have as columns; not found: {', '.join(unknown)}. "
            "Remedy: correct the names in the model."
        )
    values = as_responses(data, who=_WHO)[:, [codes.index(name) for name in items]]
    labels = np.asarray(clusters)
    levels = two_level_covariances(values, labels, item_codes=items)
    if levels.n_clusters < minimum_clusters:
        raise AnalysisInputError(
            f"{_WHO} requires at least {minimum_clusters} clinicians; got {levels.n_clusters}. Remedy: fit the model "
            "with robust errors (cluster=…) or to scores centred within clinicians, or collect forms of more of them."
        )
    keep = ~np.isnan(values).any(axis=1)
    moments = ClusterMoments.of(values[keep], labels[keep])
    parsed = parse_syntax(text)
    table = build_parameter_table(
        parsed, n_groups=2, group_labels=("within", "between"), meanstructure=True, std_lv=std_lv, orthogonal=orthogonal
    )
    sample = _sample_of(levels, items)
    basis, origin, nonlinear = constraint_basis(table)
    if nonlinear:
        raise AnalysisInputError(
            f"{_WHO} takes equalities as constraints; got a nonlinear one. Remedy: leave it out, or equate parameters "
            "by a label."
        )
    layouts = group_layouts(table, [None, None])
    objective = TwoLevelLikelihood(layouts, moments, table.n_free)
    p = len(items)
    refuse_negative_df(p * (p + 1) + p, basis.shape[1])
    start = start_values(table, [group.covariance for group in sample.groups], [group.mean for group in sample.groups])
    start, notes = find_admissible_start(objective, start, basis, origin, table)
    minimum = minimise(objective, start, basis, origin, n_total=moments.n_rows)
    identified, directions = find_unidentified(objective, minimum.theta, basis, table)
    inference = _inference(objective, minimum, basis, levels, robust=estimator == "MLR")
    remarks = list(levels.notes)
    if levels.n_clusters < MINIMUM_FOR_BETWEEN_FACTORS:
        remarks.append(
            f"{levels.n_clusters} clinicians: factors between clinicians are told apart from "
            f"{MINIMUM_FOR_BETWEEN_FACTORS} on"
        )
    options = FitOptions(
        syntax=parsed,
        estimator=estimator,
        missing="listwise",
        ordered=(),
        group_equal=(),
        group_partial=(),
        std_lv=std_lv,
        orthogonal=orthogonal,
        auto="cfa",
        meanstructure=True,
        fixed_x=True,
        parameterization="delta",
    )
    fixed = np.array([0.0 if math.isnan(row.fixed_value) else row.fixed_value for row in table.rows])
    fit = assemble_fit(
        options,
        sample,
        table,
        layouts,
        objective,
        minimum,
        basis,
        # Indices over groups would mistake the levels for two samples: they are put in below.
        replace(inference, residuals=()),
        fixed=fixed,
        identified=identified,
        notes=(*remarks, *notes, *directions),
    )
    return replace(fit, fit=_indices(fit, minimum, inference, levels), inference=inference)


def has_levels(syntax: str) -> bool:
    """Say whether a model is written in `level:` blocks."""
    return re.search(_LEVEL_LINE, syntax, flags=re.MULTILINE) is not None


def two_level_items(syntax: str) -> tuple[str, ...]:
    """Return the observed variables of a model in `level:` blocks."""
    return _two_blocks(syntax)[1]


def _two_blocks(syntax: str) -> tuple[str, tuple[str, ...]]:
    """Return the model with levels written as groups and the items' means fixed within, and the items."""
    parts = re.split(_LEVEL_LINE, syntax, flags=re.MULTILINE)
    blocks: dict[str, str] = {}
    for name, body in zip(parts[1::2], parts[2::2], strict=True):
        level = _LEVELS.get(name.lower())
        if level is None or level in blocks:
            raise AnalysisInputError(
                f"{_WHO} requires one block `level: 1` (within) and one `level: 2` (between); got `level: {name}`"
                f"{' twice' if level in blocks else ''}. Remedy: write each once."
            )
        blocks[level] = body
    if set(blocks) != {"within", "between"} or parts[0].strip():
        raise AnalysisInputError(
            f"{_WHO} requires a block `level: 1` (within) and a block `level: 2` (between) with nothing before them; "
            f"got {', '.join(sorted(blocks)) or 'none'}. Remedy: write `level: 1`, the model within clinicians, "
            "`level: 2`, the model between them."
        )
    names = {level: variable_names(parse_syntax(body).terms, {}, fixed_x=False) for level, body in blocks.items()}
    apart = set(names["within"].observed) ^ set(names["between"].observed)
    if apart:
        raise AnalysisInputError(
            f"{_WHO} requires the same items at both levels; {', '.join(sorted(apart))} stand(s) at one only. Remedy: "
            "give each item a loading or a variance (`item ~~ item`) at the other level, too."
        )
    items = names["within"].observed
    constants = "\n".join(f"{item} ~ 0*1" for item in items)
    return f"group: within\n{blocks['within']}\n{constants}\ngroup: between\n{blocks['between']}\n", items


def _sample_of(levels: TwoLevelCovariances, items: Sequence[str]) -> SampleStatistics:
    """Return both levels as groups: rows beyond one a cluster within, clusters between."""
    groups = (
        GroupSample(
            label="within",
            n=levels.n_used - levels.n_clusters,
            mean=np.zeros(len(items)),
            covariance=levels.within,
            data=None,
            cluster=None,
        ),
        GroupSample(
            label="between", n=levels.n_clusters, mean=levels.means, covariance=levels.between, data=None, cluster=None
        ),
    )
    return SampleStatistics(
        item_codes=tuple(items), groups=groups, missing="listwise", with_means=True, n_dropped=levels.n_dropped
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Traces:
    """tr(A⁻¹B) of a model: its scaling factor times its number of parameters."""

    deviance: float
    trace: float
    converged: bool


def _inference(
    objective: TwoLevelLikelihood, minimum: Minimum, basis: FloatArray, levels: TwoLevelCovariances, *, robust: bool
) -> Inference:
    """Return standard errors and tests; the tests against the unrestricted model of both levels."""
    data = objective.data
    n, p = data.n_rows, data.means.shape[1]
    n_moments = p * (p + 1) + p
    saturated = _simple_model(data, levels, correlated=True, robust=robust)
    independence = _simple_model(data, levels, correlated=False, robust=robust)
    if not math.isfinite(minimum.value):
        return undefined_inference(n_moments, basis.shape[1], "the likelihood is not defined at the end")
    deviance = 2 * n * minimum.value
    hessian = objective.hessian(minimum.theta)
    inverse = inverse_in_basis(hessian, basis)
    covariance = None if inverse is None else inverse / n
    test = measures.StandardTest(
        chisq=max(deviance - saturated.deviance, 0.0), df=n_moments - basis.shape[1], by_group=()
    )
    baseline = measures.StandardTest(
        chisq=max(independence.deviance - saturated.deviance, 0.0), df=p * (p - 1), by_group=()
    )
    scaled = baseline_scaled = corrected = None
    notes: tuple[str, ...] = ()
    if not (saturated.converged and independence.converged):
        notes = ("the unrestricted or the baseline model did not converge: tests and indices are not to be relied on",)
    if deviance < saturated.deviance - 0.01:
        notes += (
            "the test is void: with negative variances the model fits better than any covariances of two levels, so "
            "chi-square counts as 0",
        )
    if robust and inverse is not None:
        scores = objective.cluster_scores(minimum.theta)
        meat = scores.T @ scores / n
        covariance = inverse @ meat @ inverse / n
        own = float((meat * inverse).sum())
        scaled = measures.scaled_by(
            "yuan.bentler.mplus",
            test,
            trace=saturated.trace - own,
            h1=saturated.trace / n_moments,
            h0=own / objective.n_free if objective.n_free else math.nan,
        )
        baseline_scaled = measures.scaled_by("yuan.bentler.mplus", baseline, trace=saturated.trace - independence.trace)
        corrected = measures.RobustTest(
            chisq=test.chisq,
            df=float(test.df),
            factor=scaled.scaling_factor,
            chisq_scaled=scaled.chisq,
            interval_factor=scaled.scaling_factor,
            baseline_chisq=baseline.chisq,
            baseline_factor=baseline_scaled.scaling_factor,
        )
    states = objective.states(minimum.theta)
    assert states is not None
    residuals = tuple(
        measures.GroupResiduals(
            n=1,
            observed=observed,
            implied=state.sigma,
            observed_mean=mean,
            implied_mean=state.mu,
            residual_thresholds=None,
        )
        for observed, mean, state in zip(
            (levels.within, levels.between), (np.zeros(p), levels.means), states, strict=True
        )
    )
    return Inference(
        covariance=covariance,
        inverse_information=inverse,
        test=test,
        scaled=scaled,
        baseline=baseline,
        baseline_scaled=baseline_scaled,
        robust=corrected,
        residuals=residuals,
        log_likelihood=-deviance / 2,
        unrestricted_log_likelihood=-saturated.deviance / 2,
        gfi=math.nan,
        n_moments=n_moments,
        notes=notes,
    )


def _simple_model(data: ClusterMoments, levels: TwoLevelCovariances, *, correlated: bool, robust: bool) -> _Traces:
    """Fit free means and variances at both levels, with all covariances or none."""
    items = levels.item_codes
    names = [f"v{position}" for position in range(len(items))]
    block = "\n".join(
        f"{name} ~~ {' + '.join(names[position:] if correlated else [name])}" for position, name in enumerate(names)
    )
    zero = "\n".join(f"{name} ~ 0*1" for name in names)
    free = "\n".join(f"{name} ~ 1" for name in names)
    text = f"group: within\n{block}\n{zero}\ngroup: between\n{block}\n{free}\n"
    table = build_parameter_table(
        parse_syntax(text),
        n_groups=2,
        group_labels=("within", "between"),
        meanstructure=True,
        auto="none",
        fixed_x=False,
    )
    objective = TwoLevelLikelihood(group_layouts(table, [None, None]), data, table.n_free)
    start = _moments_as_parameters(table, levels, names)
    if correlated:
        # EM has found the maximum; a search for it would leave the covariance matrices where it lies on their edge.
        theta, value, converged = start, objective.value(start), levels.converged
    else:
        minimum = minimise(objective, start, np.eye(table.n_free), np.zeros(table.n_free), n_total=data.n_rows)
        theta, value, converged = minimum.theta, minimum.value, minimum.converged
    trace = math.nan
    if robust:
        inverse = inverse_in_basis(objective.hessian(theta), np.eye(table.n_free))
        if inverse is not None:
            scores = objective.cluster_scores(theta)
            trace = float(((scores.T @ scores / data.n_rows) * inverse).sum())
    return _Traces(deviance=2 * data.n_rows * value, trace=trace, converged=converged)


def _moments_as_parameters(table: ParameterTable, levels: TwoLevelCovariances, names: Sequence[str]) -> FloatArray:
    place = {name: position for position, name in enumerate(names)}
    theta = np.zeros(table.n_free)
    for row in table.rows:
        if not row.free:
            continue
        if row.op == "~1":
            theta[row.free - 1] = levels.means[place[row.lhs]]
        else:
            matrix = levels.within if row.group == 1 else levels.between
            theta[row.free - 1] = matrix[place[row.lhs], place[row.rhs]]
    return theta


def _indices(
    fit: ModelFit,
    minimum: Minimum,
    inference: Inference,
    levels: TwoLevelCovariances,
) -> dict[str, float]:
    """Return lavaan's fit measures: N rows in every index, SRMR of each level and their sum."""
    n, n_parameters = float(levels.n_used), fit.basis.shape[1]
    counts = {"npar": float(n_parameters), "df": float(inference.test.df), "ntotal": n}
    if not inference.residuals or not minimum.converged:
        return counts | dict.fromkeys(("chisq", "pvalue", "cfi", "tli", "rmsea", "srmr"), math.nan)
    n_items = len(levels.item_codes)
    # lavaan's fmin leaves the constant of the normal density out.
    result = {"npar": float(n_parameters), "fmin": minimum.value - n_items / 2 * math.log(2 * math.pi)}
    result |= measures.chisq_measures(inference.test, inference.scaled)
    result |= measures.incremental_measures(
        inference.test, inference.baseline, inference.scaled, inference.baseline_scaled, inference.robust
    )
    result |= measures.likelihood_measures(
        inference.log_likelihood, inference.unrestricted_log_likelihood, n_parameters, n
    )
    if inference.scaled is not None:
        result["scaling_factor_h1"] = inference.scaled.scaling_factor_h1
        result["scaling_factor_h0"] = inference.scaled.scaling_factor_h0
    result |= measures.rmsea_measures(inference.test, inference.scaled, inference.robust, n=n, n_groups=1)
    result["srmr_within"], result["srmr_between"] = (_srmr(part) for part in inference.residuals)
    result["srmr"] = result["srmr_within"] + result["srmr_between"]
    result["n_clusters"] = float(levels.n_clusters)
    return result


def _srmr(part: measures.GroupResiduals) -> float:
    """Return the root mean square difference of one level's correlations (diagonal counted), as lavaan does."""
    if not (np.diag(part.implied) > 0).all():
        return math.nan
    observed, implied = (
        matrix / np.sqrt(np.outer(np.diag(matrix), np.diag(matrix))) for matrix in (part.observed, part.implied)
    )
    lower = np.tril_indices(len(observed))
    return float(np.sqrt(((observed - implied)[lower] ** 2).mean()))
