"""Normal-theory maximum likelihood for complete data: discrepancy, derivatives, information and scores.

F = Σ_g (n_g/N) ½ [ln|Σ_g| + tr(S_g Σ_g⁻¹) − ln|S_g| − p + (m_g − μ_g)ᵀ Σ_g⁻¹ (m_g − μ_g)] with S_g divided by n_g; χ²
= 2 N F (Jöreskog 1969; lavaan's `likelihood = "normal"`).
"""

import math
from collections.abc import Sequence

import numpy as np

from analysis.psychometrics.response_matrix import FloatArray
from analysis.psychometrics.sem.matrices import inverse_and_logdet
from analysis.psychometrics.sem.model import (
    GroupLayout,
    GroupState,
    curvature,
    gradient,
    group_state,
    mean_jacobian,
    paired,
    sigma_directions,
)
from analysis.psychometrics.sem.sample_statistics import GroupSample


class MaximumLikelihood:
    """The discrepancy of all groups as a function of the free parameters."""

    def __init__(
        self, layouts: Sequence[GroupLayout], samples: Sequence[GroupSample], n_free: int, *, meanstructure: bool
    ) -> None:
        self.layouts, self.samples, self.n_free, self.meanstructure = layouts, samples, n_free, meanstructure
        self.n_total = sum(sample.n for sample in samples)
        self.shares = [sample.n / self.n_total for sample in samples]
        self.logdets = [float(np.linalg.slogdet(sample.covariance)[1]) for sample in samples]
        self._last: tuple[bytes, list[tuple[GroupState, FloatArray, float, FloatArray]] | None] = (b"", None)

    def pieces(self, theta: FloatArray) -> list[tuple[GroupState, FloatArray, float, FloatArray]] | None:
        """Return state, Σ⁻¹, ln|Σ| and m − μ of every group (kept for the next call at the same place)."""
        key = theta.tobytes()
        if self._last[0] == key:
            return self._last[1]
        result: list[tuple[GroupState, FloatArray, float, FloatArray]] | None = []
        for layout, sample in zip(self.layouts, self.samples, strict=True):
            state = group_state(layout, theta)
            inverted = None if state is None else inverse_and_logdet(state.sigma)
            if state is None or inverted is None:
                result = None
                break
            difference = sample.mean - state.mu if self.meanstructure else np.zeros_like(sample.mean)
            assert result is not None
            result.append((state, inverted[0], inverted[1], difference))
        self._last = (key, result)
        return result

    def group_values(self, theta: FloatArray) -> list[float]:
        """Return each group's discrepancy (infinite outside the admissible region)."""
        pieces = self.pieces(theta)
        if pieces is None:
            return [math.inf] * len(self.samples)
        values = []
        for (_, inverse, logdet, difference), sample, sample_logdet in zip(
            pieces, self.samples, self.logdets, strict=True
        ):
            distance = float((sample.covariance * inverse).sum()) + float(difference @ inverse @ difference)
            values.append(0.5 * (logdet + distance - sample_logdet - len(sample.mean)))
        return values

    def value(self, theta: FloatArray) -> float:
        """Return F(θ)."""
        return sum(share * value for share, value in zip(self.shares, self.group_values(theta), strict=True))

    def _by_moments(
        self, sample: GroupSample, inverse: FloatArray, difference: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        total = sample.covariance + np.outer(difference, difference)
        return 0.5 * (inverse - inverse @ total @ inverse), -inverse @ difference

    def gradient(self, theta: FloatArray) -> FloatArray:
        """Return ∂F/∂θ."""
        result = np.zeros(self.n_free)
        for layout, sample, share, piece in zip(
            self.layouts, self.samples, self.shares, self.pieces(theta) or [], strict=False
        ):
            state, inverse, _, difference = piece
            by_sigma, by_mu = self._by_moments(sample, inverse, difference)
            result += share * gradient(layout, state, self.n_free, by_sigma, by_mu if self.meanstructure else None)
        return result

    def scoring_matrix(self, theta: FloatArray) -> FloatArray:
        """Return the expected information per respondent: ½ tr(Σ⁻¹ dΣ Σ⁻¹ dΣ) + dμᵀ Σ⁻¹ dμ."""
        result = np.zeros((self.n_free, self.n_free))
        for layout, share, piece in zip(self.layouts, self.shares, self.pieces(theta) or [], strict=False):
            state, inverse, _, _ = piece
            moves = sigma_directions(layout)
            metric = state.columns.T @ inverse @ state.columns
            result[np.ix_(moves.number, moves.number)] += 0.5 * share * paired(metric, metric, moves)
            if self.meanstructure:
                by_theta = mean_jacobian(layout, state, self.n_free)
                result += share * by_theta.T @ inverse @ by_theta
        return result

    def hessian(self, theta: FloatArray) -> FloatArray:
        """Return ∂²F/∂θ∂θᵀ: the observed information per respondent."""
        result = np.zeros((self.n_free, self.n_free))
        for layout, sample, share, piece in zip(
            self.layouts, self.samples, self.shares, self.pieces(theta) or [], strict=False
        ):
            state, inverse, _, difference = piece
            by_sigma, by_mu = self._by_moments(sample, inverse, difference)
            moves = sigma_directions(layout)
            z = state.columns
            weighted = inverse @ z
            plain = z.T @ weighted
            doubled = inverse - 2.0 * by_sigma  # Σ⁻¹ (S + ddᵀ) Σ⁻¹
            metric = z.T @ doubled @ z
            block = paired(plain, metric, moves) - 0.5 * paired(plain, plain, moves)
            result[np.ix_(moves.number, moves.number)] += share * block
            if self.meanstructure:
                by_theta = mean_jacobian(layout, state, self.n_free)
                result += share * by_theta.T @ inverse @ by_theta
                left, right = by_theta.T @ weighted, weighted.T @ difference
                cross = moves.weight * (
                    left[:, moves.first] * right[moves.second] + left[:, moves.second] * right[moves.first]
                )
                result[:, moves.number] += share * cross
                result[moves.number, :] += share * cross.T
            result += share * curvature(layout, state, self.n_free, by_sigma, by_mu if self.meanstructure else None)
        return result

    def case_scores(self, theta: FloatArray) -> list[FloatArray]:
        """Return ∂ log-likelihood/∂θ of every respondent, one array a group, shape (n_g, n_free)."""
        return [
            case_scores(layout, piece[0], piece[1], sample, self.n_free, meanstructure=self.meanstructure)
            for layout, sample, piece in zip(self.layouts, self.samples, self.pieces(theta) or [], strict=False)
        ]


def case_scores(
    layout: GroupLayout,
    state: GroupState,
    inverse: FloatArray,
    sample: GroupSample,
    n_free: int,
    *,
    meanstructure: bool,
) -> FloatArray:
    """Return one group's scores: ½ (eᵀ dΣ e − tr(Σ⁻¹ dΣ)) + eᵀ dμ with e = Σ⁻¹ (y − μ)."""
    assert sample.data is not None
    centre = state.mu if meanstructure else sample.mean
    weighted = (sample.data - centre) @ inverse
    moves = sigma_directions(layout)
    z = state.columns
    projected = weighted @ z
    trace = (z.T @ inverse @ z)[moves.first, moves.second]
    scores = np.zeros((sample.n, n_free))
    scores[:, moves.number] = moves.weight * (projected[:, moves.first] * projected[:, moves.second] - trace)
    if meanstructure:
        scores += weighted @ mean_jacobian(layout, state, n_free)
    return scores
