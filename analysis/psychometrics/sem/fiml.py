"""Full-information maximum likelihood: models for rows with missing answers.

F = Σ_g (n_g/N) ½ [mean deviance of the model − that of the saturated model]; standard errors from the observed
information. The information of the moments (means and vech Σ) is computed once at a place and chained to the
parameters.
"""

import math
from collections.abc import Sequence

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from analysis.psychometrics.response_matrix import FloatArray, IntArray
from analysis.psychometrics.sem import fit_measures as measures
from analysis.psychometrics.sem.inference import (
    Inference,
    count_moments,
    inverse_in_basis,
    undefined_inference,
)
from analysis.psychometrics.sem.matrices import IndexArray, vech_indices
from analysis.psychometrics.sem.missing_data import (
    IncompleteLikelihood,
    IncompleteRows,
    available_moments,
    likelihood,
    moment_gradients,
    moment_information,
    moment_scores,
    score_products,
    univariate_moments,
)
from analysis.psychometrics.sem.model import (
    GroupLayout,
    GroupState,
    curvature,
    gradient,
    group_state,
    mean_jacobian,
    paired,
    sigma_directions,
    sigma_jacobian,
)
from analysis.psychometrics.sem.sample_statistics import GroupSample, cluster_sums

#: Newton decrement times N from which on exact second derivatives are worth their cost.
_NEAR = 5.0


class FullInformation:
    """The discrepancy of all groups as a function of the free parameters."""

    def __init__(self, layouts: Sequence[GroupLayout], samples: Sequence[GroupSample], n_free: int) -> None:
        self.layouts, self.samples, self.n_free = layouts, samples, n_free
        self.rows = [_rows(sample) for sample in samples]
        self.n_total = sum(sample.n for sample in samples)
        saturated = [
            likelihood(rows, sample.covariance, sample.mean) for rows, sample in zip(self.rows, samples, strict=True)
        ]
        self.saturated = [found for found in saturated if found is not None]
        self._last: tuple[bytes, list[tuple[GroupState, IncompleteLikelihood]] | None] = (b"", None)
        self._information: tuple[bytes, list[tuple[FloatArray, FloatArray]]] = (b"", [])

    def pieces(self, theta: FloatArray) -> list[tuple[GroupState, IncompleteLikelihood]] | None:
        """Return matrices and likelihood of every group (kept for the next call at the same place)."""
        key = theta.tobytes()
        if self._last[0] == key:
            return self._last[1]
        result: list[tuple[GroupState, IncompleteLikelihood]] | None = []
        for layout, rows in zip(self.layouts, self.rows, strict=True):
            state = group_state(layout, theta)
            found = None if state is None else likelihood(rows, state.sigma, state.mu)
            if state is None or found is None:
                result = None
                break
            assert result is not None
            result.append((state, found))
        self._last = (key, result)
        return result

    def group_values(self, theta: FloatArray) -> list[float]:
        """Return each group's contribution to F (infinite outside the admissible region)."""
        pieces = self.pieces(theta)
        if pieces is None:
            return [math.inf] * len(self.samples)
        return [
            0.5 * (found.deviance - saturated.deviance) / self.n_total
            for (_, found), saturated in zip(pieces, self.saturated, strict=True)
        ]

    def value(self, theta: FloatArray) -> float:
        """Return F(θ)."""
        return sum(self.group_values(theta))

    def gradient(self, theta: FloatArray) -> FloatArray:
        """Return ∂F/∂θ."""
        result = np.zeros(self.n_free)
        for layout, rows, (state, found) in zip(self.layouts, self.rows, self.pieces(theta) or [], strict=False):
            by_sigma, by_mu = moment_gradients(rows, found)
            result += gradient(layout, state, self.n_free, by_sigma / self.n_total, by_mu / self.n_total)
        return result

    def scoring_matrix(self, theta: FloatArray) -> FloatArray:
        """Return the information that complete rows would have: positive definite and cheap, though too large."""
        result = np.zeros((self.n_free, self.n_free))
        for layout, rows, (state, found) in zip(self.layouts, self.rows, self.pieces(theta) or [], strict=False):
            moves = sigma_directions(layout)
            metric = state.columns.T @ found.precision @ state.columns
            share = rows.n / self.n_total
            result[np.ix_(moves.number, moves.number)] += 0.5 * share * paired(metric, metric, moves)
            by_theta = mean_jacobian(layout, state, self.n_free)
            result += share * by_theta.T @ found.precision @ by_theta
        return result

    def information_of_moments(self, theta: FloatArray) -> list[tuple[FloatArray, FloatArray]]:
        """Return observed and expected information of every group's implied moments, per respondent of all groups."""
        key = theta.tobytes()
        if self._information[0] != key:
            found = [
                moment_information(rows, piece[1])
                for rows, piece in zip(self.rows, self.pieces(theta) or [], strict=False)
            ]
            self._information = (
                key,
                [(entry.observed / self.n_total, entry.expected / self.n_total) for entry in found],
            )
        return self._information[1]

    def hessian(self, theta: FloatArray) -> FloatArray | None:
        """Return the observed information per respondent, but only near the solution, where it repays its cost."""
        direction = self.gradient(theta)
        matrix = self.scoring_matrix(theta)
        matrix[np.diag_indices_from(matrix)] += 1e-10 * np.trace(matrix)
        if float(direction @ np.linalg.solve(matrix, direction)) * self.n_total > _NEAR:
            return None
        return self.observed_information(theta)

    def observed_information(self, theta: FloatArray) -> FloatArray:
        """Return ∂²F/∂θ∂θᵀ."""
        result = np.zeros((self.n_free, self.n_free))
        for layout, rows, (state, found), (observed, _) in zip(
            self.layouts, self.rows, self.pieces(theta) or [], self.information_of_moments(theta), strict=False
        ):
            slopes = moment_jacobian(layout, state, self.n_free)
            result += slopes.T @ observed @ slopes
            by_sigma, by_mu = moment_gradients(rows, found)
            result += curvature(layout, state, self.n_free, by_sigma / self.n_total, by_mu / self.n_total)
        return result

    def case_scores(self, theta: FloatArray) -> list[FloatArray]:
        """Return ∂ log-likelihood/∂θ of every row (in the order of the sample), one array a group."""
        result = []
        for layout, rows, (state, found) in zip(self.layouts, self.rows, self.pieces(theta) or [], strict=False):
            slopes = moment_jacobian(layout, state, self.n_free)
            scores = np.empty((rows.n, self.n_free))
            for members, part in moment_scores(rows, found):
                scores[members] = part @ slopes
            result.append(scores)
        return result


def _rows(sample: GroupSample) -> IncompleteRows:
    assert sample.incomplete is not None
    return sample.incomplete


def moment_jacobian(layout: GroupLayout, state: GroupState, n_free: int) -> FloatArray:
    """Return ∂(μ, vech Σ)/∂θ."""
    row, column = vech_indices(len(layout.observed))
    return np.vstack([mean_jacobian(layout, state, n_free), sigma_jacobian(layout, state, n_free, row, column)])


def full_information_inference(
    objective: FullInformation,
    theta: FloatArray,
    basis: FloatArray,
    exogenous: Sequence[IndexArray],
    *,
    robust: bool,
) -> Inference:
    """Answer for incomplete data: observed information or sandwich, Yuan–Bentler, Zhang & Savalei's robust indices."""
    samples = objective.samples
    sizes = [len(sample.mean) for sample in samples]
    n_exogenous = [exo.size for exo in exogenous]
    n_moments = count_moments(sizes, n_exogenous, meanstructure=True)
    pieces = objective.pieces(theta)
    if pieces is None:
        note = "the implied covariance matrix is not positive definite where the estimation stopped"
        return undefined_inference(n_moments, basis.shape[1], note)
    n_total = objective.n_total
    by_group = tuple(max(2 * n_total * value, 0.0) for value in objective.group_values(theta))
    test = measures.StandardTest(chisq=sum(by_group), df=n_moments - basis.shape[1], by_group=by_group)
    baseline = _baseline(objective, exogenous)
    unrestricted = sum(
        _log_likelihood(rows, saturated) - _exogenous_log_likelihood(sample, exo)
        for rows, saturated, sample, exo in zip(objective.rows, objective.saturated, samples, exogenous, strict=True)
    )
    inverse = inverse_in_basis(objective.observed_information(theta), basis)
    saturated_pieces = [
        _SaturatedGroup(rows, found, sample, exo)
        for rows, found, sample, exo in zip(objective.rows, objective.saturated, samples, exogenous, strict=True)
    ]
    covariance = scaled = baseline_scaled = None
    if robust and inverse is not None:
        meat = sum_of_products(objective.case_scores(theta), samples)
        covariance = inverse @ meat @ inverse / n_total
        scaled, baseline_scaled = _yuan_bentler(
            objective, saturated_pieces, exogenous, test, baseline, float((meat * inverse).sum())
        )
    elif inverse is not None:
        covariance = inverse / n_total
    corrected = None
    if test.df > 0:
        corrected = _corrected_test(objective, theta, basis, exogenous, saturated_pieces, test, baseline, robust=robust)
    return Inference(
        covariance=covariance,
        inverse_information=inverse,
        test=test,
        scaled=scaled,
        baseline=baseline,
        baseline_scaled=baseline_scaled,
        robust=corrected,
        residuals=tuple(
            measures.GroupResiduals(
                n=sample.n,
                observed=sample.covariance,
                implied=state.sigma,
                observed_mean=sample.mean,
                implied_mean=state.mu,
                residual_thresholds=None,
            )
            for sample, (state, _) in zip(samples, pieces, strict=True)
        ),
        log_likelihood=unrestricted - sum(by_group) / 2,
        unrestricted_log_likelihood=unrestricted,
        gfi=_goodness(objective, theta, exogenous),
        n_moments=count_moments(sizes, [0] * len(sizes), meanstructure=True),
    )


def sum_of_products(scores: Sequence[FloatArray], samples: Sequence[GroupSample]) -> FloatArray:
    """Return the products of scores, summed over respondents or clusters, divided by N."""
    n_total = sum(sample.n for sample in samples)
    total = np.zeros((scores[0].shape[1],) * 2)
    for group, sample in zip(scores, samples, strict=True):
        sums = cluster_sums(group, sample.cluster)
        total += sums.T @ sums
    return total / n_total


def _log_likelihood(rows: IncompleteRows, found: IncompleteLikelihood) -> float:
    return -0.5 * (found.deviance + float(rows.observed.sum()) * math.log(2 * math.pi))


def _exogenous_log_likelihood(sample: GroupSample, exo: IndexArray) -> float:
    """Return the log-likelihood of the exogenous variables at their sample moments (they are always complete)."""
    if not exo.size:
        return 0.0
    matrix = sample.covariance[np.ix_(exo, exo)]
    logdet = float(np.linalg.slogdet(matrix)[1])
    return -sample.n / 2 * (exo.size * math.log(2 * math.pi) + logdet + exo.size)


def _baseline(objective: FullInformation, exogenous: Sequence[IndexArray]) -> measures.StandardTest:
    """Test the model of uncorrelated items: each item's own mean and variance from its own answers."""
    by_group, df = [], 0
    for rows, saturated, sample, exo in zip(
        objective.rows, objective.saturated, objective.samples, exogenous, strict=True
    ):
        _, variances, counts = univariate_moments(rows)
        endogenous = np.setdiff1d(np.arange(len(variances)), exo)
        deviance = float((counts[endogenous] * (np.log(variances[endogenous]) + 1.0)).sum())
        if exo.size:
            deviance += sample.n * (float(np.linalg.slogdet(sample.covariance[np.ix_(exo, exo)])[1]) + exo.size)
        by_group.append(max(deviance - saturated.deviance, 0.0))
        n_y = endogenous.size
        df += n_y * (n_y - 1) // 2 + n_y * int(exo.size)
    return measures.StandardTest(chisq=sum(by_group), df=df, by_group=tuple(by_group))


class _SaturatedGroup:
    """Information and score products of a group's saturated moments (not of exogenous ones), per respondent."""

    def __init__(self, rows: IncompleteRows, found: IncompleteLikelihood, sample: GroupSample, exo: IndexArray) -> None:
        size = len(sample.mean)
        row, column = vech_indices(size)
        given = np.zeros(size, dtype=bool)
        given[exo] = True
        self.kept = np.flatnonzero(np.concatenate([~given, ~(given[row] & given[column])]))
        keep = np.ix_(self.kept, self.kept)
        self.information: FloatArray = (moment_information(rows, found).observed / sample.n)[keep]
        self.products: FloatArray = score_products(rows, found, sample.cluster, self.kept) / sample.n
        precision = np.linalg.inv(sample.covariance)
        times = np.where(row == column, 1.0, 2.0)
        complete = np.zeros((size + row.size,) * 2)
        complete[:size, :size] = precision
        block = precision[np.ix_(row, row)] * precision[np.ix_(column, column)]
        block += precision[np.ix_(row, column)] * precision[np.ix_(column, row)]
        complete[size:, size:] = np.outer(times, times) / 4 * block
        self.complete: FloatArray = complete[keep]  # information of complete rows at the same moments
        factor = cho_factor(self.information, lower=True, check_finite=False)
        self.solved_products: FloatArray = cho_solve(factor, self.products, check_finite=False)
        self.solved_complete: FloatArray = cho_solve(factor, self.complete, check_finite=False)

    @property
    def trace(self) -> float:
        """tr(A₁⁻¹ B₁)."""
        return float(np.trace(self.solved_products))


def _yuan_bentler(
    objective: FullInformation,
    saturated: Sequence[_SaturatedGroup],
    exogenous: Sequence[IndexArray],
    test: measures.StandardTest,
    baseline: measures.StandardTest,
    own: float,
) -> tuple[measures.ScaledTest, measures.ScaledTest]:
    whole = sum(group.trace for group in saturated)
    n_saturated = sum(group.kept.size for group in saturated)
    scaled = measures.scaled_by(
        "yuan.bentler.mplus",
        test,
        trace=whole - own,
        h1=whole / n_saturated,
        h0=own / objective.n_free if objective.n_free else math.nan,
    )
    independence = sum(
        _independence_trace(rows, sample.cluster, exo)
        for rows, sample, exo in zip(objective.rows, objective.samples, exogenous, strict=True)
    )
    return scaled, measures.scaled_by("yuan.bentler.mplus", baseline, trace=whole - independence)


def _independence_trace(rows: IncompleteRows, cluster: IntArray | None, exo: IndexArray) -> float:
    """Return tr(I₀⁻¹ B₀) of the independence model from every item's own answers."""
    means, variances, counts = univariate_moments(rows)
    endogenous = np.setdiff1d(np.arange(len(means)), exo)
    centred = np.where(rows.observed, rows.values - means, 0.0)[:, endogenous]
    squares = np.where(rows.observed[:, endogenous], centred**2 / variances[endogenous] - 1.0, 0.0) / 2
    sorted_cluster = None if cluster is None else cluster[rows.order]
    level = cluster_sums(centred, sorted_cluster)
    spread = cluster_sums(squares, sorted_cluster)
    trace = ((level**2).sum(axis=0) / variances[endogenous] + 2 * (spread**2).sum(axis=0)) / counts[endogenous]
    return float(trace.sum())


def _corrected_test(
    objective: FullInformation,
    theta: FloatArray,
    basis: FloatArray,
    exogenous: Sequence[IndexArray],
    saturated: Sequence[_SaturatedGroup],
    test: measures.StandardTest,
    baseline: measures.StandardTest,
    *,
    robust: bool,
) -> measures.RobustTest | None:
    """Return what Zhang & Savalei's (2023) corrected indices rest on: version V3 (robust) or V6 (normal)."""
    pieces = objective.pieces(theta)
    assert pieces is not None
    slopes = [
        moment_jacobian(layout, state, objective.n_free)[group.kept] @ basis
        for layout, (state, _), group in zip(objective.layouts, pieces, saturated, strict=True)
    ]
    shares = [sample.n / objective.n_total for sample in objective.samples]
    chisq = sum(
        _complete_misfit(sample, state.sigma, state.mu)
        for sample, (state, _) in zip(objective.samples, pieces, strict=True)
    )
    trace = _corrected_trace(saturated, shares, slopes, robust=robust)
    null, null_slopes = 0.0, []
    for number, (rows, sample, exo, group) in enumerate(
        zip(objective.rows, objective.samples, exogenous, saturated, strict=True)
    ):
        means, variances, _ = univariate_moments(rows)
        sigma = np.diag(variances)
        if exo.size:
            sigma[np.ix_(exo, exo)] = sample.covariance[np.ix_(exo, exo)]
            means = means.copy()
            means[exo] = sample.mean[exo]
        null += _complete_misfit(sample, sigma, means)
        null_slopes.append((number, _independence_slopes(len(means), exo)[group.kept]))
    widths = [matrix.shape[1] for _, matrix in null_slopes]
    blocks = []
    for number, matrix in null_slopes:
        wide = np.zeros((matrix.shape[0], sum(widths)))
        wide[:, sum(widths[:number]) : sum(widths[: number + 1])] = matrix
        blocks.append(wide)
    null_trace = _corrected_trace(saturated, shares, blocks, robust=robust)
    if trace is None or null_trace is None:
        return None
    factor = trace / test.df
    return measures.RobustTest(
        chisq=chisq,
        df=float(test.df),
        factor=factor,
        chisq_scaled=chisq / factor,
        interval_factor=factor,
        baseline_chisq=null,
        baseline_factor=null_trace / baseline.df,
    )


def _independence_slopes(size: int, exo: IndexArray) -> FloatArray:
    row, column = vech_indices(size)
    endogenous = np.setdiff1d(np.arange(size), exo)
    matrix = np.zeros((size + row.size, 2 * endogenous.size))
    matrix[endogenous, np.arange(endogenous.size)] = 1.0
    diagonal = np.flatnonzero(row == column)[endogenous]
    matrix[size + diagonal, endogenous.size + np.arange(endogenous.size)] = 1.0
    return matrix


def _complete_misfit(sample: GroupSample, sigma: FloatArray, mu: FloatArray) -> float:
    """Return the normal-theory χ² of the estimated saturated moments as if all rows were complete."""
    precision = np.linalg.inv(sigma)
    gap = sample.mean - mu
    logdets = float(np.linalg.slogdet(sigma)[1]) - float(np.linalg.slogdet(sample.covariance)[1])
    distance = float((precision * sample.covariance).sum()) + float(gap @ precision @ gap)
    return sample.n * (logdets + distance - len(mu))


def _corrected_trace(
    saturated: Sequence[_SaturatedGroup], shares: Sequence[float], slopes: Sequence[FloatArray], *, robust: bool
) -> float | None:
    """Return tr(N Wc Nᵀ C) without forming N = I − Δ E⁻¹ Δᵀ Wm: C is the robust (V3) or normal (V6) covariance."""
    width = slopes[0].shape[1]
    information = np.zeros((width, width))
    complete = np.zeros((width, width))
    cross = np.zeros((width, width))
    products = np.zeros((width, width))
    trace = 0.0
    for group, share, slope in zip(saturated, shares, slopes, strict=True):
        information += share * slope.T @ group.information @ slope
        complete += share * slope.T @ group.complete @ slope
        if robust:
            # tr(Wc Wm⁻¹ Jm Wm⁻¹), Δᵀ Jm Wm⁻¹ Wc Δ and Δᵀ Jm Δ
            trace += float((group.solved_complete * group.solved_products.T).sum())
            cross += share * (slope.T @ group.products) @ (group.solved_complete @ slope)
            products += share * slope.T @ group.products @ slope
        else:
            trace += float(np.trace(group.solved_complete))
    try:
        inverse = np.linalg.inv(information)
    except np.linalg.LinAlgError:
        return None
    if not robust:
        return trace - float((inverse * complete.T).sum())
    trace -= 2.0 * float((inverse * cross.T).sum())
    return trace + float(np.trace(inverse @ complete @ inverse @ products))


def _goodness(objective: FullInformation, theta: FloatArray, exogenous: Sequence[IndexArray]) -> float:
    """Return GFI as lavaan does: available-case moments, weighted by the expected information of the rows."""
    pieces = objective.pieces(theta)
    assert pieces is not None
    total = 0.0
    for sample, rows, exo, (state, _), (_, expected) in zip(
        objective.samples, objective.rows, exogenous, pieces, objective.information_of_moments(theta), strict=True
    ):
        size = len(sample.mean)
        row, column = vech_indices(size)
        given = np.zeros(size, dtype=bool)
        given[exo] = True
        dropped = np.concatenate([given, given[row] & given[column]])
        mean, covariance = available_moments(rows)
        observed = np.concatenate([mean, covariance[row, column]])
        gap = observed - np.concatenate([state.mu, state.sigma[row, column]])
        observed[dropped] = gap[dropped] = 0.0
        misfit = float(gap @ expected @ gap) / float(observed @ expected @ observed)
        total += sample.n / objective.n_total * (1.0 - misfit)
    return total
