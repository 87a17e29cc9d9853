"""One model fitted to many covariance matrices at once: for simulations that need fit indices, not standard errors."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt
from scipy.linalg import cholesky, solve_triangular

from analysis.psychometrics.response_matrix import FloatArray
from analysis.psychometrics.sem.estimation import ModelFit, fit_prepared
from analysis.psychometrics.sem.sample_statistics import Moments, from_moments

BoolArray = npt.NDArray[np.bool_]

#: Twice the distance of N·F from its minimum at which a fit is done: chi-square is then right to about this.
_DISTANCE = 1e-7
_MOST_STEPS = 100
_MEMORY = 6


class ManyFits:
    """Maximum likelihood of a fitted model's specification to simulated covariances around one truth.

    The solution at the truth is everybody's start. Its second derivatives give coordinates in which the discrepancy is
    almost a sphere for every sample, so that limited-memory quasi-Newton steps converge in a few rounds; all samples
    take their steps together. What has not converged after that is fitted by `fit_prepared`.
    """

    def __init__(self, fit: ModelFit, truth: FloatArray, n: int) -> None:
        self.n = n
        self.options = replace(fit.options, estimator="ML", missing="listwise", meanstructure=False)
        self.items = fit.layouts[0].observed
        exact = from_moments([Moments(covariance=truth * n / (n - 1), n=n)], list(self.items), ["1"])
        at_truth = fit_prepared(self.options, exact)
        self.df = float(at_truth.fit["df"])
        self.layout = at_truth.layouts[0]
        self.start = np.asarray(at_truth.theta, dtype=np.float64)
        self.is_path = np.array([row.op != "~~" for row in at_truth.table.rows if row.free])
        n_observed = len(self.items)
        latent_paths = self.layout.row[self.is_path] >= n_observed
        self.nested = bool(latent_paths.any() or self.layout.paths[n_observed:].any())
        basis = at_truth.basis
        curvature = at_truth.objective.hessian(self.start)
        matrix = None if curvature is None else basis.T @ curvature @ basis
        if matrix is None or np.linalg.eigvalsh(matrix)[0] <= 0:
            matrix = basis.T @ at_truth.objective.scoring_matrix(self.start) @ basis
        root = cholesky(matrix + 1e-10 * np.trace(matrix) / len(matrix) * np.eye(len(matrix)), lower=True)
        self.transform: FloatArray = solve_triangular(root, basis.T, lower=True)  # θ = θ₀ + x @ transform

    def indices(self, covariances: FloatArray) -> FloatArray:
        """Return SRMR, RMSEA and CFI (as lavaan's) of each sample, shape (n_samples, 3); NaN where no fit converged.

        Parameters
        ----------
        covariances : array, shape (n_samples, n_items, n_items)
            Covariances divided by n, in the order of the model's observed variables.
        """
        x, converged = self._minimise(covariances)
        value, _, sigma = self._evaluate(x, covariances)
        sd = np.sqrt(np.einsum("rii->ri", covariances))
        rows, columns = np.tril_indices(covariances.shape[1])
        residual = (covariances - sigma)[:, rows, columns] / (sd[:, rows] * sd[:, columns])
        srmr = np.sqrt((residual**2).mean(axis=1))
        chisq = 2 * self.n * value
        for sample in np.flatnonzero(~converged):
            chisq[sample], srmr[sample] = self._carefully(covariances[sample])
        size = covariances.shape[1]
        baseline = self.n * (2 * np.log(sd).sum(axis=1) - np.linalg.slogdet(covariances)[1])
        excess = np.maximum(chisq - self.df, 0.0)
        of_baseline = np.maximum(np.maximum(baseline - size * (size - 1) / 2, chisq - self.df), 0.0)
        cfi = 1 - np.divide(excess, of_baseline, out=np.zeros_like(excess), where=of_baseline > 0)
        return np.column_stack([srmr, np.sqrt(excess / (self.df * self.n)), np.where(np.isnan(chisq), np.nan, cfi)])

    def _carefully(self, covariance: FloatArray) -> tuple[float, float]:
        """Chi-square and SRMR of one sample by the ordinary fit."""
        moments = Moments(covariance=covariance * self.n / (self.n - 1), n=self.n)
        fit = fit_prepared(self.options, from_moments([moments], list(self.items), ["1"]))
        if not fit.converged:
            return float("nan"), float("nan")
        return float(fit.fit["chisq"]), float(fit.fit["srmr"])

    def _minimise(self, covariances: FloatArray) -> tuple[FloatArray, BoolArray]:
        """Return all samples' coordinates, and which of them are at a minimum."""
        n_samples = len(covariances)
        x = np.zeros((n_samples, len(self.transform)))
        value, slope, _ = self._evaluate(x, covariances)
        history: list[tuple[FloatArray, FloatArray, FloatArray]] = []  # change of x, change of slope, 1 / product
        stuck = np.zeros(n_samples, dtype=bool)
        for _ in range(_MOST_STEPS):
            active = (self.n * (slope**2).sum(axis=1) > _DISTANCE) & ~stuck
            if not active.any():
                break
            direction = -_quasi_newton(slope, history)
            fall = (direction * slope).sum(axis=1)
            uphill = fall >= 0
            direction[uphill] = -slope[uphill]
            fall = (direction * slope).sum(axis=1)
            new_x, new_value, new_slope = x.copy(), value.copy(), slope.copy()
            length = np.ones(n_samples)
            pending = np.flatnonzero(active)
            for _ in range(25):
                trial = x[pending] + length[pending, None] * direction[pending]
                there, slope_there, _ = self._evaluate(trial, covariances[pending])
                good = there <= value[pending] + 1e-4 * length[pending] * fall[pending] + 1e-13
                taken = pending[good]
                new_x[taken], new_value[taken], new_slope[taken] = trial[good], there[good], slope_there[good]
                pending = pending[~good]
                if not len(pending):
                    break
                length[pending] /= 2
            stuck[pending] = True
            change, turn = new_x - x, new_slope - slope
            product = (change * turn).sum(axis=1)
            useful = product > 1e-10 * np.sqrt((change**2).sum(axis=1) * (turn**2).sum(axis=1))
            inverse = np.divide(1.0, product, out=np.zeros(n_samples), where=useful)
            history.append((change, turn, inverse))
            del history[:-_MEMORY]
            x, value, slope = new_x, new_value, new_slope
        return x, np.asarray(self.n * (slope**2).sum(axis=1) <= _DISTANCE, dtype=np.bool_)

    def _evaluate(self, x: FloatArray, covariances: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return the discrepancy (infinite where Σ is not positive definite), its slope in x, and Σ of each sample."""
        layout, n_observed = self.layout, len(self.items)
        theta = self.start + x @ self.transform
        n_samples, n_variables = len(x), len(layout.variables)
        paths = np.repeat(layout.paths[None], n_samples, axis=0)
        moments = np.repeat(layout.covariances[None], n_samples, axis=0)
        row, column = layout.row, layout.column
        path, number = self.is_path, layout.number
        paths[:, row[path], column[path]] = theta[:, number[path]]
        moments[:, row[~path], column[~path]] = moments[:, column[~path], row[~path]] = theta[:, number[~path]]
        identity = np.eye(n_variables)
        effects = np.linalg.inv(identity - paths) if self.nested else identity + paths
        reached = effects[:, :n_observed]
        crossed = reached @ moments @ effects.transpose(0, 2, 1)  # covariances of observed with all variables
        sigma = crossed[:, :, :n_observed]
        sign, logdet = np.linalg.slogdet(sigma)
        definite = (sign > 0) & (np.linalg.eigvalsh(sigma)[:, 0] > 0)
        safe = np.where(definite[:, None, None], sigma, np.eye(n_observed))
        inverse = np.linalg.inv(safe)
        weighted = inverse @ covariances
        sample_logdet = np.linalg.slogdet(covariances)[1]
        value = 0.5 * (logdet + np.einsum("rii->r", weighted) - sample_logdet - n_observed)
        value[~definite] = np.inf
        by_sigma = 0.5 * (inverse - weighted @ inverse)
        pull = reached.transpose(0, 2, 1) @ by_sigma
        by_theta = np.zeros((n_samples, len(self.start)))
        by_path = pull @ crossed
        by_moment = pull @ reached
        by_theta[:, number[path]] = 2 * by_path[:, row[path], column[path]]
        twice = np.where(row[~path] == column[~path], 1.0, 2.0)
        by_theta[:, number[~path]] = twice * by_moment[:, row[~path], column[~path]]
        return value, by_theta @ self.transform.T, sigma


def _quasi_newton(slope: FloatArray, history: list[tuple[FloatArray, FloatArray, FloatArray]]) -> FloatArray:
    """The two-loop recursion of L-BFGS for all samples; a step of no use has a zero instead of its inverse product."""
    direction = slope.copy()
    remembered = []
    for change, turn, inverse in reversed(history):
        share = inverse * (change * direction).sum(axis=1)
        direction -= share[:, None] * turn
        remembered.append(share)
    for (change, turn, inverse), share in zip(history, reversed(remembered), strict=True):
        back = inverse * (turn * direction).sum(axis=1)
        direction += (share - back)[:, None] * change
    return direction
