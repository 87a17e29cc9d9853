"""What an estimator has to say about a solution, in one form for all; the complete-data likelihood's answers."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analysis.psychometrics.response_matrix import FloatArray
from analysis.psychometrics.sem import fit_measures as measures
from analysis.psychometrics.sem.continuous import MaximumLikelihood
from analysis.psychometrics.sem.matrices import IndexArray
from analysis.psychometrics.sem.model import GroupLayout
from analysis.psychometrics.sem.robust_tests import baseline_test, baseline_trace, saturated_trace
from analysis.psychometrics.sem.sample_statistics import GroupSample, cluster_sums


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Inference:
    """Covariance matrix of the estimates, tests of the model and of the baseline, and what fit indices need."""

    covariance: FloatArray | None  # of the free parameters; None when the information is singular
    inverse_information: FloatArray | None  # N times the unadjusted covariance
    test: measures.StandardTest
    scaled: measures.ScaledTest | None
    baseline: measures.StandardTest
    baseline_scaled: measures.ScaledTest | None
    robust: measures.RobustTest | None
    residuals: tuple[measures.GroupResiduals, ...]
    log_likelihood: float  # NaN where there is none
    unrestricted_log_likelihood: float
    gfi: float
    n_moments: int  # all sample moments, those of exogenous variables included (lavaan's `nel`)
    notes: tuple[str, ...] = ()


def undefined_inference(n_moments: int, n_parameters: int, note: str) -> Inference:
    """Return what can be said of a model whose fitting function is not defined where the minimiser stopped: nothing."""
    test = measures.StandardTest(chisq=math.nan, df=n_moments - n_parameters, by_group=())
    return Inference(
        covariance=None,
        inverse_information=None,
        test=test,
        scaled=None,
        baseline=measures.StandardTest(chisq=math.nan, df=0, by_group=()),
        baseline_scaled=None,
        robust=None,
        residuals=(),
        log_likelihood=math.nan,
        unrestricted_log_likelihood=math.nan,
        gfi=math.nan,
        n_moments=n_moments,
        notes=(note,),
    )


def inverse_in_basis(information: FloatArray, basis: FloatArray) -> FloatArray | None:
    """Return K (Kᵀ I K)⁻¹ Kᵀ, or None when the information is singular in the directions that the constraints leave."""
    reduced = basis.T @ information @ basis
    if not reduced.size:
        return np.zeros_like(information)
    diagonal = np.diag(reduced)
    if not np.isfinite(reduced).all() or (diagonal <= 0).any():
        return None
    scale = 1.0 / np.sqrt(diagonal)
    scaled = reduced * np.outer(scale, scale)
    if np.linalg.eigvalsh(scaled)[0] < 1e-9:
        return None
    inverse = np.linalg.inv(scaled) * np.outer(scale, scale)
    return basis @ ((inverse + inverse.T) / 2) @ basis.T


def count_moments(sizes: Sequence[int], n_exogenous: Sequence[int], *, meanstructure: bool) -> int:
    """Count the sample moments of continuous data, those among exogenous variables left out."""
    total = 0
    for size, n_x in zip(sizes, n_exogenous, strict=True):
        total += size * (size + 1) // 2 - n_x * (n_x + 1) // 2
        if meanstructure:
            total += size - n_x
    return total


def complete_data_inference(
    objective: MaximumLikelihood,
    theta: FloatArray,
    basis: FloatArray,
    exogenous: Sequence[IndexArray],
    *,
    robust: bool,
) -> Inference:
    """Complete-data likelihood: standard errors from expected information, or robust (sandwich, Yuan–Bentler)."""
    samples, layouts = objective.samples, objective.layouts
    n_total, means = objective.n_total, objective.meanstructure
    sizes = [len(sample.mean) for sample in samples]
    n_moments = count_moments(sizes, [exo.size for exo in exogenous], meanstructure=means)
    if objective.pieces(theta) is None:
        note = "the implied covariance matrix is not positive definite where the estimation stopped"
        return undefined_inference(n_moments, basis.shape[1], note)
    values = objective.group_values(theta)
    by_group = tuple(max(2 * sample.n * value, 0.0) for sample, value in zip(samples, values, strict=True))
    test = measures.StandardTest(chisq=sum(by_group), df=n_moments - basis.shape[1], by_group=by_group)
    baseline = baseline_test(samples, exogenous)
    unrestricted = sum(_normal_log_likelihood(sample, exo) for sample, exo in zip(samples, exogenous, strict=True))
    scaled = baseline_scaled = corrected = None
    if robust:
        inverse = inverse_in_basis(objective.hessian(theta), basis)
        meat = score_products(objective.case_scores(theta), samples)
        covariance = None if inverse is None else inverse @ meat @ inverse / n_total
        if inverse is not None:
            scaled, baseline_scaled = _yuan_bentler(
                samples, exogenous, test, baseline, meat, inverse, objective.n_free, meanstructure=means
            )
            corrected = measures.RobustTest(
                chisq=test.chisq,
                df=float(test.df),
                factor=scaled.scaling_factor,
                chisq_scaled=scaled.chisq,
                interval_factor=scaled.scaling_factor,
                baseline_chisq=baseline.chisq,
                baseline_factor=baseline_scaled.scaling_factor,
            )
    else:
        inverse = inverse_in_basis(objective.scoring_matrix(theta), basis)
        covariance = None if inverse is None else inverse / n_total
    return Inference(
        covariance=covariance,
        inverse_information=inverse,
        test=test,
        scaled=scaled,
        baseline=baseline,
        baseline_scaled=baseline_scaled,
        robust=corrected,
        residuals=_residuals(objective, theta, layouts, samples),
        log_likelihood=unrestricted - sum(by_group) / 2,
        unrestricted_log_likelihood=unrestricted,
        gfi=_goodness(objective, theta, exogenous),
        n_moments=count_moments(sizes, [0] * len(sizes), meanstructure=means),
    )


def score_products(scores: Sequence[FloatArray], samples: Sequence[GroupSample]) -> FloatArray:
    """Return the sum of score products over respondents (or clusters) divided by N: the meat of the sandwich."""
    n_total = sum(sample.n for sample in samples)
    n_free = scores[0].shape[1]
    total = np.zeros((n_free, n_free))
    for group, sample in zip(scores, samples, strict=True):
        sums = cluster_sums(group, sample.cluster)
        total += sums.T @ sums
    return total / n_total


def _yuan_bentler(
    samples: Sequence[GroupSample],
    exogenous: Sequence[IndexArray],
    test: measures.StandardTest,
    baseline: measures.StandardTest,
    meat: FloatArray,
    inverse: FloatArray,
    n_free: int,
    *,
    meanstructure: bool,
) -> tuple[measures.ScaledTest, measures.ScaledTest]:
    saturated = sum(
        saturated_trace(sample, exo, meanstructure=meanstructure)
        for sample, exo in zip(samples, exogenous, strict=True)
    )
    own = float((meat * inverse).sum())
    n_saturated = count_moments(
        [len(sample.mean) for sample in samples], [exo.size for exo in exogenous], meanstructure=meanstructure
    )
    scaled = measures.scaled_by(
        "yuan.bentler.mplus",
        test,
        trace=saturated - own,
        h1=saturated / n_saturated,
        h0=own / n_free if n_free else math.nan,
    )
    independence = sum(
        baseline_trace(sample, exo, meanstructure=meanstructure) for sample, exo in zip(samples, exogenous, strict=True)
    )
    return scaled, measures.scaled_by("yuan.bentler.mplus", baseline, trace=saturated - independence)


def _normal_log_likelihood(sample: GroupSample, exo: IndexArray) -> float:
    """Return the log-likelihood at the sample moments, given the exogenous variables."""

    def at_own_moments(matrix: FloatArray) -> float:
        size = len(matrix)
        return -sample.n / 2 * (size * math.log(2 * math.pi) + float(np.linalg.slogdet(matrix)[1]) + size)

    value = at_own_moments(sample.covariance)
    return value - at_own_moments(sample.covariance[np.ix_(exo, exo)]) if exo.size else value


def _residuals(
    objective: MaximumLikelihood, theta: FloatArray, layouts: Sequence[GroupLayout], samples: Sequence[GroupSample]
) -> tuple[measures.GroupResiduals, ...]:
    pieces = objective.pieces(theta)
    assert pieces is not None
    assert len(layouts) == len(pieces)
    return tuple(
        measures.GroupResiduals(
            n=sample.n,
            observed=sample.covariance,
            implied=piece[0].sigma,
            observed_mean=sample.mean if objective.meanstructure else None,
            implied_mean=piece[0].mu if objective.meanstructure else None,
            residual_thresholds=None,
        )
        for sample, piece in zip(samples, pieces, strict=True)
    )


def _goodness(objective: MaximumLikelihood, theta: FloatArray, exogenous: Sequence[IndexArray]) -> float:
    """Return GFI: one minus weighted squared residuals over weighted squared moments, weights from the model."""
    pieces = objective.pieces(theta)
    assert pieces is not None
    total = 0.0
    for sample, share, exo, piece in zip(objective.samples, objective.shares, exogenous, pieces, strict=True):
        state, inverse, _, difference = piece
        moments, mean = sample.covariance.copy(), sample.mean.copy()
        moments[np.ix_(exo, exo)] = 0.0  # what is given counts neither as explained nor as to be explained
        mean[exo] = 0.0
        relative, gap = inverse @ moments, inverse @ (sample.covariance - state.sigma)
        above = 0.5 * float((gap * gap.T).sum())
        below = 0.5 * float((relative * relative.T).sum())
        if objective.meanstructure:
            above += float(difference @ inverse @ difference)
            below += float(mean @ inverse @ mean)
        total += share * (1.0 - above / below)
    return total
