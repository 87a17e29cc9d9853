"""Normal likelihoods of incomplete rows: by pattern of missing answers, without inverting a matrix for each.

For a pattern with missing items m, the inverse of the observed part of Σ (with zeros for the missing) is P − P_·m
P_mm⁻¹ P_m· with P = Σ⁻¹, and its log-determinant ln|Σ| + ln|P_mm|: the cost is that of the few missing items, not of
the many observed.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from analysis.psychometrics.errors import AnalysisInputError
from analysis.psychometrics.response_matrix import FloatArray, IntArray
from analysis.psychometrics.sem.matrices import IndexArray, inverse_and_logdet, vech_indices

#: EM stops when no moment moves more than this (in standard units).
_EM_TOLERANCE = 1e-7
_EM_ITERATIONS = 2000
_PATTERNS_AT_ONCE = 1024
_ROWS_AT_ONCE = 4096


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PatternBlock:
    """Patterns with the same number of missing items."""

    patterns: IndexArray  # (n_block,) numbers of patterns
    missing: IndexArray  # (n_block, k) missing items of each
    counts: FloatArray  # (n_block,) rows with the pattern
    rows: IndexArray  # rows (in sorted order) of these patterns
    row_pattern: IndexArray  # for each of them the position of its pattern in the block


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class IncompleteRows:
    """One group's rows sorted by pattern of missing answers."""

    values: FloatArray  # (n, p), 0 where missing
    observed: npt.NDArray[np.bool_]  # (n, p)
    pattern: IndexArray  # (n,) number of each row's pattern, increasing
    n_patterns: int
    blocks: tuple[PatternBlock, ...]
    order: IndexArray  # position of each sorted row among the given rows

    @property
    def n(self) -> int:
        """Rows with at least one answer."""
        return len(self.values)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PatternSolution:
    """What a block of patterns adds to the inverse and log-determinant of the complete matrix."""

    border: FloatArray  # (n_block, k, p): rows of P of the missing items
    inner: FloatArray  # (n_block, k, k): P_mm⁻¹
    logdet: FloatArray  # (n_block,): ln|P_mm|


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class IncompleteLikelihood:
    """Log-likelihood and its pieces at given moments."""

    precision: FloatArray
    solutions: tuple[PatternSolution, ...]
    deviance: float  # Σ ln|Σ_oo| + dᵀ Σ_oo⁻¹ d over rows, without the constant
    weighted: FloatArray  # (n, p): z = Σ_oo⁻¹ d with zeros where missing


def incomplete_rows(values: FloatArray, columns: tuple[str, ...]) -> IncompleteRows:
    """Sort rows by pattern; rows without any answer have to be left out before.

    Raises
    ------
    AnalysisInputError
        Two items that nobody answered both of: their covariance cannot be estimated.
    """
    observed = ~np.isnan(values)
    together = observed.astype(np.float64).T @ observed.astype(np.float64)
    if (together == 0).any():
        first, second = (int(axis[0]) for axis in np.nonzero(together == 0))
        raise AnalysisInputError(
            f"missing='fiml' requires respondents who answered both of any two items; {columns[first]} and "
            f"{columns[second]} were never answered together. Remedy: take one of them out of the model."
        )
    keys = np.packbits(observed, axis=1)
    _, pattern = np.unique(keys, axis=0, return_inverse=True)
    pattern = pattern.reshape(-1)
    order = np.argsort(pattern, kind="stable")
    pattern, observed = pattern[order], observed[order]
    starts = np.flatnonzero(np.r_[True, np.diff(pattern) > 0])
    counts = np.diff(np.r_[starts, len(pattern)])
    masks = observed[starts]
    n_missing = (~masks).sum(axis=1)
    blocks = []
    for size in np.unique(n_missing).tolist():
        chosen = np.flatnonzero(n_missing == size)
        position = np.full(len(starts), -1)
        position[chosen] = np.arange(chosen.size)
        rows = np.flatnonzero(position[pattern] >= 0)
        blocks.append(
            PatternBlock(
                patterns=chosen.astype(np.intp),
                missing=np.nonzero(~masks[chosen])[1].reshape(chosen.size, size).astype(np.intp),
                counts=counts[chosen].astype(np.float64),
                rows=rows.astype(np.intp),
                row_pattern=position[pattern[rows]].astype(np.intp),
            )
        )
    return IncompleteRows(
        values=np.where(observed, np.nan_to_num(values[order]), 0.0),
        observed=observed,
        pattern=pattern.astype(np.intp),
        n_patterns=len(starts),
        blocks=tuple(blocks),
        order=order.astype(np.intp),
    )


def likelihood(rows: IncompleteRows, sigma: FloatArray, mu: FloatArray) -> IncompleteLikelihood | None:
    """Evaluate the likelihood of incomplete rows; None when Σ is not positive definite."""
    inverted = inverse_and_logdet(sigma)
    if inverted is None:
        return None
    precision, logdet = inverted
    differences = np.where(rows.observed, rows.values - mu, 0.0)
    weighted = differences @ precision
    deviance = rows.n * logdet
    solutions = []
    for block in rows.blocks:
        solution = _solve_block(precision, block)
        solutions.append(solution)
        if block.missing.shape[1] == 0:
            continue
        deviance += float(block.counts @ solution.logdet)
        at_missing = np.take_along_axis(weighted[block.rows], block.missing[block.row_pattern], axis=1)
        pulled = np.einsum("nij,nj->ni", solution.inner[block.row_pattern], at_missing)
        weighted[block.rows] -= np.einsum("nk,nkp->np", pulled, solution.border[block.row_pattern])
    weighted = np.where(rows.observed, weighted, 0.0)
    deviance += float((weighted * differences).sum())
    return IncompleteLikelihood(precision=precision, solutions=tuple(solutions), deviance=deviance, weighted=weighted)


def _solve_block(precision: FloatArray, block: PatternBlock) -> PatternSolution:
    border = precision[block.missing]
    inner = precision[block.missing[:, :, None], block.missing[:, None, :]]
    if block.missing.shape[1] == 0:
        return PatternSolution(border=border, inner=inner, logdet=np.zeros(len(block.counts)))
    inverse: FloatArray = np.linalg.inv(inner).astype(np.float64, copy=False)
    return PatternSolution(border=border, inner=inverse, logdet=np.linalg.slogdet(inner)[1])


def sum_of_precisions(rows: IncompleteRows, found: IncompleteLikelihood) -> FloatArray:
    """Return Σ_rows Σ_oo⁻¹ (with zeros for missing items)."""
    total = rows.n * found.precision
    size = len(total)
    for block, solution in zip(rows.blocks, found.solutions, strict=True):
        if block.missing.shape[1]:
            left = (block.counts[:, None, None] * (solution.inner @ solution.border)).reshape(-1, size)
            total = total - solution.border.reshape(-1, size).T @ left
    return (total + total.T) / 2


def moment_gradients(rows: IncompleteRows, found: IncompleteLikelihood) -> tuple[FloatArray, FloatArray]:
    """Return the derivatives of half the deviance by Σ (symmetric) and μ."""
    by_sigma = 0.5 * (sum_of_precisions(rows, found) - found.weighted.T @ found.weighted)
    return by_sigma, -found.weighted.sum(axis=0)


def estimate_moments(rows: IncompleteRows, columns: tuple[str, ...]) -> tuple[FloatArray, FloatArray]:
    """Estimate mean and covariance of all items by maximum likelihood (EM), divisor n.

    Raises
    ------
    AnalysisInputError
        The covariance matrix becomes singular: too few answers for so many items.
    """
    n_answers = rows.observed.sum(axis=0)
    mu = rows.values.sum(axis=0) / n_answers
    variances = np.where(rows.observed, (rows.values - mu) ** 2, 0.0).sum(axis=0) / n_answers
    constant = [name for name, variance in zip(columns, variances, strict=True) if not variance > 1e-14]
    if constant:
        raise AnalysisInputError(
            f"fit_model requires items that vary; {', '.join(constant)} is constant. Remedy: take it out of the model."
        )
    scale = np.sqrt(variances)
    sigma = np.diag(variances)
    for _ in range(_EM_ITERATIONS):
        found = likelihood(rows, sigma, mu)
        if found is None:
            break
        filled, spread = _expected(rows, found, mu)
        new_mu = filled.mean(axis=0)
        new_sigma = (filled.T @ filled + spread) / rows.n - np.outer(new_mu, new_mu)
        moved = max(
            float(np.abs((new_mu - mu) / scale).max()),
            float(np.abs((new_sigma - sigma) / np.outer(scale, scale)).max()),
        )
        mu, sigma = new_mu, (new_sigma + new_sigma.T) / 2
        if moved < _EM_TOLERANCE:
            break
    smallest = np.linalg.eigvalsh(sigma / np.outer(scale, scale))[0]
    if smallest < 1e-8:
        raise AnalysisInputError(
            "missing='fiml' requires enough answers for a covariance matrix of full rank; the one estimated from "
            f"{rows.n} rows of {len(columns)} items is singular. Remedy: fewer items, or take out identical ones."
        )
    return mu, sigma


def _expected(rows: IncompleteRows, found: IncompleteLikelihood, mu: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Fill in the expected missing answers, and sum their conditional covariances."""
    filled = rows.values.copy()
    differences = np.where(rows.observed, rows.values - mu, 0.0)
    projected = differences @ found.precision
    spread = np.zeros_like(found.precision)
    for block, solution in zip(rows.blocks, found.solutions, strict=True):
        if not block.missing.shape[1]:
            continue
        items = block.missing[block.row_pattern]
        at_missing = np.take_along_axis(projected[block.rows], items, axis=1)
        guess = mu[items] - np.einsum("nij,nj->ni", solution.inner[block.row_pattern], at_missing)
        filled[block.rows[:, None], items] = guess
        np.add.at(
            spread,
            (block.missing[:, :, None], block.missing[:, None, :]),
            block.counts[:, None, None] * solution.inner,
        )
    return filled, spread


def pattern_precisions(
    rows: IncompleteRows, found: IncompleteLikelihood
) -> Iterator[tuple[PatternBlock, slice, FloatArray]]:
    """Yield the inverses Σ_oo⁻¹ of patterns, some at a time: block, patterns of the block, (n_patterns, p, p)."""
    for block, solution in zip(rows.blocks, found.solutions, strict=True):
        for start in range(0, len(block.counts), _PATTERNS_AT_ONCE):
            part = slice(start, start + _PATTERNS_AT_ONCE)
            border = solution.border[part]
            inverse = found.precision - border.transpose(0, 2, 1) @ (solution.inner[part] @ border)
            if block.missing.shape[1]:
                # what is zero in exact arithmetic is made so
                missing = block.missing[part]
                number = np.arange(len(missing))[:, None]
                inverse[number, missing, :] = 0.0
                inverse[number, :, missing] = 0.0
            yield block, part, inverse


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MomentInformation:
    """Information of means and covariances (vech, columnwise), summed over rows."""

    observed: FloatArray  # (p + p(p+1)/2) squared
    expected: FloatArray


def moment_information(rows: IncompleteRows, found: IncompleteLikelihood) -> MomentInformation:
    """Return observed and expected information of the moments, from two matrix products over all patterns.

    Every element of Σ_r n_r (A_r ⊗ A_r) and of Σ_r A_r ⊗ Σ_{i∈r} z_i z_iᵀ is an inner product over patterns of
    elements of the symmetric A_r and of the sums of z zᵀ.
    """
    size = rows.values.shape[1]
    row, column = vech_indices(size)
    products = np.zeros((row.size, row.size))
    crossed = np.zeros((row.size, row.size))
    with_sums = np.zeros((row.size, size))
    for block, part, inverse in pattern_precisions(rows, found):
        flat = inverse[:, row, column]
        squares, sums = np.zeros_like(flat), np.zeros((len(flat), size))
        for members, number in _members(block, part, len(flat)):
            z = found.weighted[members]
            starts = np.flatnonzero(np.r_[True, np.diff(number) > 0])
            squares[number[starts]] += np.add.reduceat(z[:, row] * z[:, column], starts, axis=0)
            sums[number[starts]] += np.add.reduceat(z, starts, axis=0)
        counted = block.counts[part, None] * flat
        products += flat.T @ counted
        crossed += flat.T @ squares
        with_sums += flat.T @ sums
    precisions = sum_of_precisions(rows, found)
    place = np.zeros((size, size), dtype=np.intp)
    place[row, column] = place[column, row] = np.arange(row.size)
    times = np.where(row == column, 1.0, 2.0)
    weight = np.outer(times, times)
    ik, jl, il, jk = (place[np.ix_(a, b)] for a, b in ((row, row), (column, column), (row, column), (column, row)))
    expected = weight / 4 * (products[ik, jl] + products[il, jk])
    mixed = weight / 4 * (crossed[ik, jl] + crossed[jl, ik] + crossed[il, jk] + crossed[jk, il])
    between = np.zeros((size, row.size))
    every = np.arange(size)
    for left, right in ((row, column), (column, row)):
        between += with_sums[place[np.ix_(every, left)], right]
    between *= times / 2
    n_all = size + row.size
    observed_information = np.zeros((n_all, n_all))
    observed_information[:size, :size] = precisions
    observed_information[:size, size:] = between
    observed_information[size:, :size] = between.T
    observed_information[size:, size:] = mixed - expected
    expected_information = np.zeros((n_all, n_all))
    expected_information[:size, :size] = precisions
    expected_information[size:, size:] = expected
    return MomentInformation(observed=observed_information, expected=expected_information)


def _members(block: PatternBlock, part: slice, n_patterns: int) -> Iterator[tuple[IndexArray, IndexArray]]:
    """Yield rows of some patterns of a block, and each row's pattern among them, some rows at a time."""
    chosen = np.flatnonzero((block.row_pattern >= part.start) & (block.row_pattern < part.start + n_patterns))
    for first in range(0, chosen.size, _ROWS_AT_ONCE):
        here = chosen[first : first + _ROWS_AT_ONCE]
        yield block.rows[here], block.row_pattern[here] - part.start


def moment_scores(rows: IncompleteRows, found: IncompleteLikelihood) -> Iterator[tuple[IndexArray, FloatArray]]:
    """Yield derivatives of log-likelihoods by means and covariances (vech): rows as given, (n_rows, n_moments)."""
    size = rows.values.shape[1]
    row, column = vech_indices(size)
    times = np.where(row == column, 0.5, 1.0)
    for block, part, inverse in pattern_precisions(rows, found):
        flat = inverse[:, row, column]
        for members, number in _members(block, part, len(flat)):
            z = found.weighted[members]
            scores = np.empty((members.size, size + row.size))
            scores[:, :size] = z
            by_sigma = scores[:, size:]
            np.multiply(z[:, row], z[:, column], out=by_sigma)
            by_sigma -= flat[number]
            by_sigma *= times
            yield rows.order[members], scores


def score_products(
    rows: IncompleteRows, found: IncompleteLikelihood, cluster: IntArray | None, kept: IndexArray
) -> FloatArray:
    """Sum the products of the kept moments' scores over rows, or of their sums over clusters (times C/(C − 1))."""
    if cluster is None:
        total = np.zeros((kept.size, kept.size))
        for _, scores in moment_scores(rows, found):
            chosen = scores[:, kept]
            total += chosen.T @ chosen
        return total
    number = np.unique(cluster, return_inverse=True)[1].reshape(-1)
    n_clusters = int(number.max()) + 1
    sums = np.zeros((n_clusters, kept.size))
    for members, scores in moment_scores(rows, found):
        np.add.at(sums, number[members], scores[:, kept])
    factor = n_clusters / (n_clusters - 1) if n_clusters > 1 else 1.0
    result: FloatArray = factor * (sums.T @ sums)
    return result


def univariate_moments(rows: IncompleteRows) -> tuple[FloatArray, FloatArray, IntArray]:
    """Return each item's mean, variance (divisor: its answers) and number of answers."""
    counts = rows.observed.sum(axis=0)
    means = rows.values.sum(axis=0) / counts
    variances = np.where(rows.observed, (rows.values - means) ** 2, 0.0).sum(axis=0) / counts
    return means, variances, counts.astype(np.int64)


def available_moments(rows: IncompleteRows) -> tuple[FloatArray, FloatArray]:
    """Return means of available answers and covariances of available pairs (divisor pairs − 1, times (n − 1)/n)."""
    here = rows.observed.astype(np.float64)
    centre = rows.values.sum(axis=0) / here.sum(axis=0)
    centred = np.where(rows.observed, rows.values - centre, 0.0)
    pairs = here.T @ here
    sums = centred.T @ here  # Σ x_i over rows that hold both i and j
    covariance = (centred.T @ centred - sums * sums.T / pairs) / np.maximum(pairs - 1, 1)
    return centre, covariance * (rows.n - 1) / rows.n
