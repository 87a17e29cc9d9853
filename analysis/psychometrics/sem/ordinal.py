"""Models of ordinal items: diagonally weighted least squares on thresholds and polychoric correlations (WLSMV).

F = Σ_g ((n_g − 1)/N) ½ Σ_k w_k (s_k − σ_k(θ))² with w the reciprocals of the asymptotic variances; standard errors
and the mean- and variance-adjusted test from the full asymptotic covariance matrix Γ (Muthén, du Toit & Spisic 1997;
Asparouhov & Muthén 2010), as lavaan 0.6-14 computes them.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from analysis.psychometrics.response_matrix import FloatArray
from analysis.psychometrics.sem import fit_measures as measures
from analysis.psychometrics.sem.inference import Inference, inverse_in_basis, undefined_inference
from analysis.psychometrics.sem.matrices import IndexArray, inverse_and_logdet
from analysis.psychometrics.sem.model import (
    GroupLayout,
    GroupState,
    curvature,
    group_state,
    mean_jacobian,
    scale_indices,
    sigma_jacobian,
    threshold_indices,
)
from analysis.psychometrics.sem.sample_statistics import GroupSample, OrdinalPart, moment_places

#: lavaan's bound below which a polychoric matrix does not count as positive definite (√ of double precision).
_POSITIVE = 1.5e-8
_UNDEFINED = measures.RobustTest(
    chisq=math.nan,
    df=math.nan,
    factor=math.nan,
    chisq_scaled=math.nan,
    interval_factor=math.nan,
    baseline_chisq=math.nan,
    baseline_factor=math.nan,
)


class _Places:
    """Index arrays that lay out one group's moments."""

    def __init__(self, part: OrdinalPart) -> None:
        counts = part.counts()
        places = moment_places(part.ordered, counts)
        self.size = len(part.ordered)
        self.ordinal = np.array(part.ordered, dtype=bool)
        self.level_item = np.repeat(np.arange(self.size), [len(positions) for positions in places.levels])
        self.n_levels = self.level_item.size
        level_ordinal = self.ordinal[self.level_item]
        self.threshold_places = np.flatnonzero(level_ordinal)  # moments that are thresholds, in the order of thresholds
        self.measured = np.flatnonzero(~self.ordinal)
        self.first, self.second = np.triu_indices(self.size, 1)
        self.rows = np.concatenate([self.measured, self.second]).astype(np.intp)
        self.columns = np.concatenate([self.measured, self.first]).astype(np.intp)
        self.n_moments = self.n_levels + self.rows.size
        self.n_pairs = self.first.size


class DiagonallyWeightedLeastSquares:
    """The fitting function of all groups as a function of the free parameters."""

    def __init__(
        self, layouts: Sequence[GroupLayout], samples: Sequence[GroupSample], n_free: int, *, theta_scaled: bool
    ) -> None:
        self.layouts, self.samples, self.n_free, self.theta_scaled = layouts, samples, n_free, theta_scaled
        self.n_total = sum(sample.n for sample in samples)
        self.parts = [_part(sample) for sample in samples]
        self.places = [_Places(part) for part in self.parts]
        self.weights = [1.0 / np.diag(part.nacov) for part in self.parts]
        self.shares = [(sample.n - 1) / self.n_total for sample in samples]
        # a group's moments do not depend on the other groups' parameters: derivatives are kept by its own alone
        self.numbers = [layout.number for layout in layouts]
        self.own = [replace(layout, number=np.arange(layout.number.size)) for layout in layouts]
        self._states: tuple[bytes, list[GroupState] | None] = (b"", None)
        self._jacobians: tuple[bytes, list[FloatArray]] = (b"", [])

    def states(self, theta: FloatArray) -> list[GroupState] | None:
        """Return every group's matrices, None where they are not defined."""
        key = theta.tobytes()
        if self._states[0] != key:
            found = [group_state(layout, theta) for layout in self.layouts]
            complete = [state for state in found if state is not None]
            self._states = (key, complete if len(complete) == len(found) else None)
        return self._states[1]

    def scales(self, state: GroupState, places: _Places) -> FloatArray:
        """Return the scaling of each latent response: free or fixed (delta), or 1/σ*_i (theta)."""
        if not self.theta_scaled:
            return state.scales
        diagonal = np.diag(state.sigma)
        scaled: FloatArray = np.where(places.ordinal, 1.0 / np.sqrt(np.where(diagonal > 0, diagonal, np.nan)), 1.0)
        return scaled

    def implied(self, state: GroupState, places: _Places) -> FloatArray:
        """Return σ(θ) of one group in the order of the moments."""
        scales = self.scales(state, places)
        levels = -state.mu[places.level_item]
        levels[places.threshold_places] += state.thresholds
        levels = levels * scales[places.level_item]
        products = state.sigma[places.rows, places.columns] * scales[places.rows] * scales[places.columns]
        return np.concatenate([levels, products])

    def group_values(self, theta: FloatArray) -> list[float]:
        """Return ½ Σ w (s − σ)² of every group."""
        states = self.states(theta)
        if states is None:
            return [math.inf] * len(self.samples)
        values = []
        for state, part, places, weights in zip(states, self.parts, self.places, self.weights, strict=True):
            gap = part.moments - self.implied(state, places)
            value = 0.5 * float(weights @ gap**2)
            values.append(value if math.isfinite(value) else math.inf)
        return values

    def value(self, theta: FloatArray) -> float:
        """Return F(θ)."""
        return sum(share * value for share, value in zip(self.shares, self.group_values(theta), strict=True))

    def jacobians(self, theta: FloatArray) -> list[FloatArray]:
        """Return ∂σ/∂θ of every group, shape (n_moments, n_free)."""
        result = []
        for numbers, own in zip(self.numbers, self.own_jacobians(theta), strict=True):
            whole = np.zeros((own.shape[0], self.n_free))
            whole[:, numbers] = own
            result.append(whole)
        return result

    def own_jacobians(self, theta: FloatArray) -> list[FloatArray]:
        """Return the derivatives of every group's moments by its own parameters (`numbers`)."""
        key = theta.tobytes()
        if self._jacobians[0] != key:
            states = self.states(theta) or []
            self._jacobians = (
                key,
                [
                    self._jacobian(layout, state, places)
                    for layout, state, places in zip(self.own, states, self.places, strict=False)
                ],
            )
        return self._jacobians[1]

    def _jacobian(self, layout: GroupLayout, state: GroupState, places: _Places) -> FloatArray:
        scales = self.scales(state, places)
        result = np.zeros((places.n_moments, layout.number.size))
        levels, products = result[: places.n_levels], result[places.n_levels :]
        levels -= mean_jacobian(layout, state, layout.number.size)[places.level_item]
        numbers, positions = threshold_indices(layout)
        levels[places.threshold_places[positions], numbers] += 1.0
        levels *= scales[places.level_item][:, None]
        products += sigma_jacobian(layout, state, layout.number.size, places.rows, places.columns)
        both = scales[places.rows] * scales[places.columns]
        products *= both[:, None]
        slopes = self._scale_jacobian(layout, state, places, scales)
        if slopes is not None:
            plain = -state.mu[places.level_item]
            plain[places.threshold_places] += state.thresholds
            levels += plain[:, None] * slopes[places.level_item]
            sigma = state.sigma[places.rows, places.columns]
            products += (sigma * scales[places.columns])[:, None] * slopes[places.rows]
            products += (sigma * scales[places.rows])[:, None] * slopes[places.columns]
        return result

    def _scale_jacobian(
        self, layout: GroupLayout, state: GroupState, places: _Places, scales: FloatArray
    ) -> FloatArray | None:
        """Return ∂(scales)/∂θ, None when they are constants."""
        if self.theta_scaled:
            items = np.arange(places.size)
            by_variance = sigma_jacobian(layout, state, layout.number.size, items, items)
            slopes: FloatArray = np.where(places.ordinal, -0.5 * scales**3, 0.0)[:, None] * by_variance
            return slopes
        numbers, positions = scale_indices(layout)
        if not numbers.size:
            return None
        slopes = np.zeros((places.size, layout.number.size))
        slopes[positions, numbers] = 1.0
        return slopes

    def _gaps(self, theta: FloatArray) -> list[FloatArray]:
        states = self.states(theta) or []
        return [
            part.moments - self.implied(state, places)
            for state, part, places in zip(states, self.parts, self.places, strict=False)
        ]

    def gradient(self, theta: FloatArray) -> FloatArray:
        """Return ∂F/∂θ = −Σ share Jᵀ W (s − σ)."""
        result = np.zeros(self.n_free)
        for share, numbers, weights, jacobian, gap in zip(
            self.shares, self.numbers, self.weights, self.own_jacobians(theta), self._gaps(theta), strict=False
        ):
            result[numbers] -= share * (jacobian.T @ (weights * gap))
        return result

    def scoring_matrix(self, theta: FloatArray) -> FloatArray:
        """Return Σ share Jᵀ W J (Gauss–Newton)."""
        return self._products(theta, self.shares)

    def information(self, theta: FloatArray) -> FloatArray:
        """Return Σ (n_g/N) Jᵀ W J, what standard errors rest on."""
        return self._products(theta, [sample.n / self.n_total for sample in self.samples])

    def _products(self, theta: FloatArray, shares: Sequence[float]) -> FloatArray:
        result = np.zeros((self.n_free, self.n_free))
        for share, numbers, weights, jacobian in zip(
            shares, self.numbers, self.weights, self.own_jacobians(theta), strict=False
        ):
            rooted = jacobian * np.sqrt(share * weights)[:, None]
            result[np.ix_(numbers, numbers)] += rooted.T @ rooted
        return result

    def hessian(self, theta: FloatArray) -> FloatArray | None:
        """Return the exact second derivatives where all scales are constants, else None."""
        states = self.states(theta)
        if states is None or self.theta_scaled or any(scale_indices(layout)[0].size for layout in self.layouts):
            return None
        result = self.scoring_matrix(theta)
        for layout, numbers, state, places, weights, share, gap in zip(
            self.own, self.numbers, states, self.places, self.weights, self.shares, self._gaps(theta), strict=True
        ):
            pull = -weights * gap
            scales = state.scales
            by_sigma = np.zeros((places.size, places.size))
            products = pull[places.n_levels :] * scales[places.rows] * scales[places.columns]
            np.add.at(by_sigma, (places.rows, places.columns), products / 2)
            np.add.at(by_sigma, (places.columns, places.rows), products / 2)
            by_mu = np.zeros(places.size)
            np.add.at(by_mu, places.level_item, -pull[: places.n_levels] * scales[places.level_item])
            result[np.ix_(numbers, numbers)] += share * curvature(layout, state, numbers.size, by_sigma, by_mu)
        return result


def _part(sample: GroupSample) -> OrdinalPart:
    assert sample.ordinal is not None
    return sample.ordinal


def ordinal_inference(
    objective: DiagonallyWeightedLeastSquares, theta: FloatArray, basis: FloatArray, *, level_constraints: bool
) -> Inference:
    """Answer for ordinal data: robust standard errors, the scaled and shifted test, Savalei's robust indices.

    `level_constraints` says that thresholds or intercepts are constrained: lavaan then gives no robust indices.
    """
    samples, parts, places = objective.samples, objective.parts, objective.places
    n_total, n_groups = objective.n_total, len(samples)
    n_moments = sum(place.n_moments for place in places)
    df = n_moments - basis.shape[1]
    states = objective.states(theta)
    if states is None or not math.isfinite(objective.value(theta)):
        return undefined_inference(
            n_moments, basis.shape[1], "the implied moments are not defined where the estimation stopped"
        )
    by_group = tuple(
        2.0 * (sample.n - 1) * value for sample, value in zip(samples, objective.group_values(theta), strict=True)
    )
    test = measures.StandardTest(chisq=sum(by_group), df=df, by_group=by_group)
    inverse = inverse_in_basis(objective.information(theta), basis)
    baseline, baseline_scaled = _baseline(objective)
    covariance = scaled = robust = None
    if inverse is not None:
        pieces = sandwich_pieces(objective, theta)
        covariance = inverse @ pieces.meat @ inverse / (n_total - n_groups)
        turned = inverse @ pieces.meat
        trace = n_moments - float(np.trace(turned))
        square = pieces.squared_norm - 2.0 * float((inverse * pieces.double_meat).sum())
        square += float((turned * turned.T).sum())
        scaled = measures.scaled_and_shifted(test, trace=trace, trace_of_square=square)
        robust = _UNDEFINED if level_constraints else _robust_test(objective, theta, basis, inverse)
    residuals = []
    for sample, state, place, part in zip(samples, states, places, parts, strict=True):
        residuals.append(_residuals(objective, sample, state, place, part))
    return Inference(
        covariance=covariance,
        inverse_information=inverse,
        test=test,
        scaled=scaled,
        baseline=baseline,
        baseline_scaled=baseline_scaled,
        robust=robust,
        residuals=tuple(residuals),
        log_likelihood=math.nan,
        unrestricted_log_likelihood=math.nan,
        gfi=_goodness(objective, theta),
        n_moments=n_moments,
    )


class SandwichPieces:
    """Sums over groups that standard errors and the adjusted test share."""

    def __init__(self, n_free: int) -> None:
        self.meat = np.zeros((n_free, n_free))  # Σ f JᵀWΓWJ
        self.double_meat = np.zeros((n_free, n_free))  # Σ f JᵀWΓWΓWJ
        self.squared_norm = 0.0  # Σ ‖W^½ Γ W^½‖²


def sandwich_pieces(objective: DiagonallyWeightedLeastSquares, theta: FloatArray) -> SandwichPieces:
    """Collect what the robust covariance and tr(UΓ), tr(UΓUΓ) need, without forming U."""
    pieces = SandwichPieces(objective.n_free)
    for sample, part, numbers, weights, jacobian in zip(
        objective.samples,
        objective.parts,
        objective.numbers,
        objective.weights,
        objective.own_jacobians(theta),
        strict=True,
    ):
        share = sample.n / objective.n_total
        own = np.ix_(numbers, numbers)
        weighted = weights[:, None] * jacobian
        spread = part.nacov @ weighted
        pieces.meat[own] += share * (weighted.T @ spread)
        pieces.double_meat[own] += share * (spread.T @ (weights[:, None] * spread))
        pieces.squared_norm += float(weights @ (part.nacov**2) @ weights)
    return pieces


def _baseline(
    objective: DiagonallyWeightedLeastSquares,
) -> tuple[measures.StandardTest, measures.ScaledTest]:
    """Test the model of uncorrelated items; its U keeps the weights of the covariances alone."""
    by_group, df, square = [], 0, 0.0
    for sample, part, weights, place in zip(
        objective.samples, objective.parts, objective.weights, objective.places, strict=True
    ):
        pairs = slice(place.n_moments - place.n_pairs, None)
        by_group.append((sample.n - 1) * float(weights[pairs] @ part.moments[pairs] ** 2))
        df += place.n_pairs
        square += float(weights[pairs] @ (part.nacov[pairs, pairs] ** 2) @ weights[pairs])
    test = measures.StandardTest(chisq=sum(by_group), df=df, by_group=tuple(by_group))
    return test, measures.scaled_and_shifted(test, trace=float(df), trace_of_square=square)


def _residuals(
    objective: DiagonallyWeightedLeastSquares,
    sample: GroupSample,
    state: GroupState,
    places: _Places,
    part: OrdinalPart,
) -> measures.GroupResiduals:
    scales = objective.scales(state, places)
    implied = state.sigma * np.outer(scales, scales)
    implied[np.diag_indices_from(implied)] = np.where(places.ordinal, 1.0, np.diag(implied))
    gap = (part.moments - objective.implied(state, places))[: places.n_levels]
    return measures.GroupResiduals(
        n=sample.n,
        observed=sample.covariance,
        implied=implied,
        observed_mean=None,
        implied_mean=None,
        residual_thresholds=gap[places.threshold_places],
    )


def _goodness(objective: DiagonallyWeightedLeastSquares, theta: FloatArray) -> float:
    total = 0.0
    for sample, part, weights, value in zip(
        objective.samples, objective.parts, objective.weights, objective.group_values(theta), strict=True
    ):
        total += sample.n / objective.n_total * (1.0 - 2.0 * value / float(weights @ part.moments**2))
    return total


def _robust_test(
    objective: DiagonallyWeightedLeastSquares, theta: FloatArray, basis: FloatArray, inverse: FloatArray
) -> measures.RobustTest:
    """Return Savalei's (2021) ingredients: the normal-theory misfit of the polychoric matrix at the DWLS solution.

    Undefined (NaN) with measured variables in the model or with a polychoric matrix that is not positive definite, as
    in lavaan 0.6-14.
    """
    states = objective.states(theta)
    measured = any(place.measured.size for place in objective.places)
    if states is None or measured:
        return _UNDEFINED
    chisq = null = trace = null_trace = 0.0
    total = np.zeros((objective.n_free, objective.n_free))
    middle = np.zeros((objective.n_free, objective.n_free))
    for sample, state, place, part, numbers, weights, jacobian in zip(
        objective.samples,
        states,
        objective.places,
        objective.parts,
        objective.numbers,
        objective.weights,
        objective.own_jacobians(theta),
        strict=True,
    ):
        share = sample.n / objective.n_total
        correlations = sample.covariance
        if np.linalg.eigvalsh(correlations)[0] < _POSITIVE:
            return _UNDEFINED
        implied = _residuals(objective, sample, state, place, part).implied
        inverted = inverse_and_logdet(implied)
        if inverted is None:
            return _UNDEFINED
        precision, logdet = inverted
        own_logdet = float(np.linalg.slogdet(correlations)[1])
        chisq += sample.n * (logdet + float((precision * correlations).sum()) - own_logdet - place.size)
        null -= sample.n * own_logdet
        start = place.n_levels
        nacov, slopes = part.nacov[start:, start:], jacobian[start:]
        moving = np.flatnonzero(np.abs(slopes).max(axis=0, initial=0.0) > 0)  # thresholds do not move correlations
        slopes, numbers = slopes[:, moving], numbers[moving]
        own = np.ix_(numbers, numbers)
        weighted = weights[start:, None] * slopes
        turned = _information_times(precision, slopes, place.first, place.second)
        spread = nacov @ weighted
        trace += _information_trace(precision, nacov, place.first, place.second)
        trace -= 2.0 * share * float((inverse[own] * (spread.T @ turned)).sum())
        total[own] += share * (slopes.T @ turned)
        middle[own] += share * (weighted.T @ spread)
        null_trace += float(np.trace(nacov)) / share
    trace += float((total * (inverse @ middle @ inverse)).sum())
    df = _correlation_df(objective, basis)
    null_df = sum(place.n_pairs for place in objective.places)
    if df <= 0:
        return _UNDEFINED
    factor = trace / df
    return measures.RobustTest(
        chisq=chisq,
        df=float(df),
        factor=factor,
        chisq_scaled=chisq / factor,
        interval_factor=factor,
        baseline_chisq=null,
        baseline_factor=null_trace / null_df,
    )


def _correlation_df(objective: DiagonallyWeightedLeastSquares, basis: FloatArray) -> int:
    """Count correlations minus the free parameters that are left without thresholds and intercepts."""
    levels = np.zeros(basis.shape[0], dtype=bool)
    for layout in objective.layouts:
        levels[threshold_indices(layout)[0]] = True
        levels[layout.number[layout.kind == 2]] = True
    structural = basis[~levels]
    n_parameters = int(np.linalg.matrix_rank(structural)) if structural.size else 0
    return sum(place.n_pairs for place in objective.places) - n_parameters


def _information_times(precision: FloatArray, slopes: FloatArray, first: IndexArray, second: IndexArray) -> FloatArray:
    """Multiply the normal-theory information of correlations with a matrix, column by column: off-diagonal of P D P."""
    size = len(precision)
    blocks = np.zeros((slopes.shape[1], size, size))
    blocks[:, first, second] = slopes.T
    blocks += blocks.transpose(0, 2, 1)
    turned = precision @ blocks @ precision
    result: FloatArray = turned[:, first, second].T
    return result


def _information_trace(precision: FloatArray, nacov: FloatArray, first: IndexArray, second: IndexArray) -> float:
    """Return tr(V Γ) with V[(ij), (kl)] = P_ik P_jl + P_il P_jk."""
    total = 0.0
    for start in range(0, first.size, 256):
        rows = slice(start, start + 256)
        i, j = first[rows], second[rows]
        block = precision[np.ix_(i, first)] * precision[np.ix_(j, second)]
        block += precision[np.ix_(i, second)] * precision[np.ix_(j, first)]
        total += float((block * nacov[rows]).sum())
    return total
