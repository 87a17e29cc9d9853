"""One minimiser for all estimators: damped scoring that turns into Newton's method, under equality constraints."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from analysis.psychometrics.response_matrix import FloatArray


class Objective(Protocol):
    """What the minimiser needs to know of an estimator; functions of the free parameters θ."""

    def value(self, theta: FloatArray) -> float:
        """Return F(θ), infinity where it is not defined."""

    def gradient(self, theta: FloatArray) -> FloatArray:
        """Return ∂F/∂θ."""

    def scoring_matrix(self, theta: FloatArray) -> FloatArray:
        """Return the expected second derivatives, positive semidefinite."""

    def hessian(self, theta: FloatArray) -> FloatArray | None:
        """Return the second derivatives where they are cheap, else None."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Minimum:
    """Where the minimiser stopped."""

    theta: FloatArray
    value: float
    converged: bool
    n_iterations: int


#: Newton decrement times N below which nothing that is printed can still move (estimates move less than 1e-5 se).
_DECREMENT = 1e-11
_MAX_ITERATIONS = 150


def coordinates(basis: FloatArray, point: FloatArray) -> FloatArray:
    """Return x with K x nearest to a point; the columns of K are independent and well scaled."""
    solution: FloatArray = cho_solve(cho_factor(basis.T @ basis, lower=True, check_finite=False), basis.T @ point)
    return solution


def minimise(
    objective: Objective,
    start: FloatArray,
    basis: FloatArray,
    origin: FloatArray,
    *,
    n_total: float,
    nonlinear: Callable[[FloatArray], tuple[FloatArray, FloatArray]] | None = None,
    max_iterations: int = _MAX_ITERATIONS,
    cautious: bool = False,
) -> Minimum:
    """Minimise F(θ₀ + K x).

    Scoring steps with Levenberg's damping where a step does not go down, the exact second derivatives as soon as they
    are positive definite. Nonlinear equality constraints enter through their linearisation (sequential quadratic
    programming with an ℓ₁ merit function). `cautious` begins with short steps, which stay in the valley of the start.
    """
    x: FloatArray = np.zeros(basis.shape[1])
    if basis.size:
        x = coordinates(basis, start - origin)
    if nonlinear is not None:
        return _constrained(objective, x, basis, origin, nonlinear, n_total=n_total, max_iterations=max_iterations)
    theta = origin + basis @ x
    value = objective.value(theta)
    damping, newton = (1.0 if cautious else 0.0), False
    if not math.isfinite(value):
        return Minimum(theta=theta, value=value, converged=False, n_iterations=0)
    if basis.shape[1] == 0:
        return Minimum(theta=theta, value=value, converged=math.isfinite(value), n_iterations=0)
    stalled = 0
    for iteration in range(1, max_iterations + 1):
        gradient = basis.T @ objective.gradient(theta)
        step, decrement, newton = _step(objective, theta, basis, gradient, damping, newton=newton or damping == 0.0)
        if step is None:
            damping = max(1e-4, damping * 10)
            if damping > 1e8:
                return Minimum(theta=theta, value=value, converged=False, n_iterations=iteration)
            continue
        length, accepted = 1.0, False
        for _ in range(8):
            trial = origin + basis @ (x + length * step)
            trial_value = objective.value(trial)
            if trial_value <= value + 1e-14 * max(1.0, abs(value)):
                accepted = True
                break
            length *= 0.5
        if accepted:
            x, theta = x + length * step, trial
            gain, value = value - trial_value, trial_value
            damping = 0.0 if length == 1.0 and damping < 1e-6 else damping * (0.5 if cautious else 0.1)
            if decrement * n_total < _DECREMENT and length == 1.0:
                return Minimum(theta=theta, value=value, converged=True, n_iterations=iteration)
            stalled = stalled + 1 if gain < 1e-15 * max(1.0, abs(value)) else 0
            if stalled >= 3:
                small = decrement * n_total < 1e-6
                return Minimum(theta=theta, value=value, converged=small, n_iterations=iteration)
        else:
            if decrement * n_total < 1e-7:
                return Minimum(theta=theta, value=value, converged=True, n_iterations=iteration)
            damping = max(1e-4, damping * 10)
            newton = False
            if damping > 1e8:
                return Minimum(theta=theta, value=value, converged=False, n_iterations=iteration)
    return Minimum(theta=theta, value=value, converged=False, n_iterations=max_iterations)


def _step(
    objective: Objective, theta: FloatArray, basis: FloatArray, gradient: FloatArray, damping: float, *, newton: bool
) -> tuple[FloatArray | None, float, bool]:
    """Solve for a step; exact second derivatives when they are positive definite, else the scoring matrix."""
    if newton:
        hessian = objective.hessian(theta)
        if hessian is not None:
            step = _solved(basis.T @ hessian @ basis, gradient, damping)
            if step is not None:
                return step, float(-gradient @ step), True
    matrix = basis.T @ objective.scoring_matrix(theta) @ basis
    step = _solved(matrix, gradient, damping)
    if step is None:
        return None, math.inf, False
    return step, float(-gradient @ step), False


def _solved(matrix: FloatArray, gradient: FloatArray, damping: float) -> FloatArray | None:
    diagonal = np.diag(matrix)
    if not np.isfinite(matrix).all() or (diagonal <= 0).any():
        if not np.isfinite(matrix).all() or damping == 0.0:
            return None
        diagonal = np.maximum(np.abs(diagonal), 1e-8)
    scale = 1.0 / np.sqrt(diagonal)
    scaled = matrix * np.outer(scale, scale)
    scaled[np.diag_indices_from(scaled)] += damping
    try:
        factor = cho_factor(scaled, lower=True, check_finite=False)
    except np.linalg.LinAlgError:
        return None
    # a pivot this small means a direction along which the data say nothing: damp instead of leaping along it
    if damping == 0.0 and np.diag(factor[0]).min() < 1e-7:
        return None
    solution: FloatArray = -scale * cho_solve(factor, scale * gradient, check_finite=False)
    return solution if np.isfinite(solution).all() else None


def _constrained(
    objective: Objective,
    x: FloatArray,
    basis: FloatArray,
    origin: FloatArray,
    nonlinear: Callable[[FloatArray], tuple[FloatArray, FloatArray]],
    *,
    n_total: float,
    max_iterations: int,
) -> Minimum:
    """Sequential quadratic programming: Newton steps in the tangent space plus a step back onto the constraints."""
    theta = origin + basis @ x
    weight = 10.0

    def merit(at: FloatArray) -> float:
        return objective.value(at) + weight * float(np.abs(nonlinear(at)[0]).sum())

    current = merit(theta)
    for iteration in range(1, max_iterations + 1):
        distance, slopes = nonlinear(theta)
        reduced = slopes @ basis
        gradient = basis.T @ objective.gradient(theta)
        matrix = basis.T @ objective.scoring_matrix(theta) @ basis
        matrix[np.diag_indices_from(matrix)] += 1e-10 * np.trace(matrix) / len(matrix)
        n_constraints = len(distance)
        system = np.block([[matrix, reduced.T], [reduced, np.zeros((n_constraints, n_constraints))]])
        solution = np.linalg.lstsq(system, -np.concatenate([gradient, distance]), rcond=None)[0]
        step = solution[: len(x)]
        weight = max(weight, 2.0 * float(np.abs(solution[len(x) :]).max(initial=0.0)))
        current = merit(theta)
        length = 1.0
        while length > 1e-6 and not merit(origin + basis @ (x + length * step)) <= current + 1e-14 * abs(current):
            length *= 0.5
        x = x + length * step
        theta = origin + basis @ x
        small = float(step @ matrix @ step) * n_total < 1e-9
        if small and float(np.abs(nonlinear(theta)[0]).max(initial=0.0)) < 1e-8:
            return Minimum(theta=theta, value=objective.value(theta), converged=True, n_iterations=iteration)
    return Minimum(theta=theta, value=objective.value(theta), converged=False, n_iterations=max_iterations)
