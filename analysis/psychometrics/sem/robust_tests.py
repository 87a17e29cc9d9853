"""Baseline model and the Yuan–Bentler correction (the variant of Mplus) that lavaan's MLR uses, for complete data.

The saturated model's trace needs no (p(p+1)/2)² matrix: with P = S⁻¹ and D_i = (y_i − m)(y_i − m)ᵀ − S, the trace of
A₁⁻¹B₁ is the mean of ½ tr(P D_i P D_i) plus that of (y_i − m)ᵀ P (y_i − m).
"""

import math
from collections.abc import Sequence

import numpy as np

from analysis.psychometrics.response_matrix import FloatArray
from analysis.psychometrics.sem.fit_measures import StandardTest
from analysis.psychometrics.sem.matrices import IndexArray
from analysis.psychometrics.sem.sample_statistics import GroupSample, cluster_sums

_ROWS_AT_ONCE = 2000


def baseline_test(samples: Sequence[GroupSample], exogenous: Sequence[IndexArray]) -> StandardTest:
    """Test the model in which all variables but the exogenous ones are uncorrelated."""
    by_group, df = [], 0
    for sample, exo in zip(samples, exogenous, strict=True):
        endogenous = np.setdiff1d(np.arange(len(sample.mean)), exo)
        matrix = sample.covariance
        value = float(np.log(np.diag(matrix)[endogenous]).sum()) - float(np.linalg.slogdet(matrix)[1])
        if exo.size:
            value += float(np.linalg.slogdet(matrix[np.ix_(exo, exo)])[1])
        by_group.append(max(sample.n * value, 0.0))
        n_y = endogenous.size
        df += n_y * (n_y - 1) // 2 + n_y * int(exo.size)
    return StandardTest(chisq=sum(by_group), df=df, by_group=tuple(by_group))


def saturated_trace(sample: GroupSample, exo: IndexArray, *, meanstructure: bool) -> float:
    """Return tr(A₁⁻¹ B₁) of the unrestricted model (what a group contributes to the scaling factor)."""
    assert sample.data is not None
    inverse: FloatArray = np.linalg.inv(sample.covariance).astype(np.float64, copy=False)
    centred = sample.data - sample.mean
    if exo.size == 0 and sample.cluster is None:
        distances = np.einsum("ij,ij->i", centred @ inverse, centred)
        size = len(sample.mean)
        trace = 0.5 * (float((distances**2).mean()) - size)
        return trace + (size if meanstructure else 0.0)
    explained = _explained_by(centred, exo)
    endogenous = np.setdiff1d(np.arange(len(sample.mean)), exo)
    offset = (centred.T @ centred - explained.T @ explained) / sample.n
    total = _quadratic_sum(sample, centred, explained, offset, inverse)
    if meanstructure:
        residuals = cluster_sums(centred - explained, sample.cluster)[:, endogenous]
        total += float(np.einsum("ij,jk,ik->", residuals, inverse[np.ix_(endogenous, endogenous)], residuals))
    return total / sample.n


def _explained_by(centred: FloatArray, exo: IndexArray) -> FloatArray:
    """Return what the exogenous variables explain of every variable (themselves entirely; nothing without any)."""
    result = np.zeros_like(centred)
    if exo.size:
        slopes = np.linalg.lstsq(centred[:, exo], centred, rcond=None)[0]
        result = centred[:, exo] @ slopes
        result[:, exo] = centred[:, exo]
    return result


def _quadratic_sum(
    sample: GroupSample, centred: FloatArray, explained: FloatArray, offset: FloatArray, inverse: FloatArray
) -> float:
    """Sum ½ tr(P D P D) over respondents or clusters."""
    total = 0.0
    if sample.cluster is None:
        for first in range(0, sample.n, _ROWS_AT_ONCE):
            y, fitted = centred[first : first + _ROWS_AT_ONCE], explained[first : first + _ROWS_AT_ONCE]
            blocks = y[:, :, None] * y[:, None, :] - fitted[:, :, None] * fitted[:, None, :] - offset
            total += _half_traces(blocks, inverse)
        return total
    clusters = np.unique(sample.cluster)
    for cluster in clusters:
        members = sample.cluster == cluster
        y, fitted = centred[members], explained[members]
        block = y.T @ y - fitted.T @ fitted - members.sum() * offset
        total += _half_traces(block[None], inverse)
    return total * len(clusters) / (len(clusters) - 1) if len(clusters) > 1 else math.nan


def _half_traces(blocks: FloatArray, inverse: FloatArray) -> float:
    turned = inverse @ blocks
    return 0.5 * float(np.einsum("nij,nji->", turned, turned))


def baseline_trace(sample: GroupSample, exo: IndexArray, *, meanstructure: bool) -> float:
    """Return tr(I₀⁻¹ B₀) of the independence model: half the excess kurtosis terms of every endogenous variable."""
    assert sample.data is not None
    endogenous = np.setdiff1d(np.arange(len(sample.mean)), exo)
    centred = (sample.data - sample.mean)[:, endogenous]
    variances = np.diag(sample.covariance)[endogenous]
    scores = cluster_sums((centred**2 / variances - 1.0) / 2.0, sample.cluster)
    trace = float((scores**2).sum()) / sample.n / 0.5
    if meanstructure:
        trace += float((cluster_sums(centred, sample.cluster) ** 2 / variances).sum()) / sample.n
    return trace
