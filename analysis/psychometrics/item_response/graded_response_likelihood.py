"""The graded response model's curves, its marginal likelihood, and the derivatives that estimation rests on.

Everything is kept in the slope–intercept form: with boundaries `k = 1 … K − 1` of an item with K categories,
P(x ≥ k | θ) = σ(aθ + d_k) and d_1 > d_2 > … . One flat vector holds the slopes of all items, then all intercepts; items
of different numbers of categories need no padding. A category's log-probability is then

    log P_k = log σ(z_k) + log σ(−z_{k+1}) + log(1 − exp(d_{k+1} − d_k)),    z_k = aθ + d_k,

which never subtracts two nearly equal probabilities, is concave in (a, d) and in θ, and has derivatives that are sums.
With several groups the vector ends with the mean and the log standard deviation of θ in each group but the reference.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.linalg.blas import dsyrk
from scipy.special import expit

from analysis.psychometrics.response_matrix import FloatArray, IntArray

#: mirt's rectangular quadrature for one dimension.
N_NODES = 61
LARGEST_NODE = 6.0
#: Beyond this distance between two intercepts the exponential overflows; nothing changes there any more.
_WIDEST_SPREAD = 500.0
#: Posterior weights below this share nothing with the information matrix in double precision.
_NEGLIGIBLE_WEIGHT = 1e-14
#: Patterns whose scores are held in memory together.
_ROWS_AT_A_TIME = 4096


def quadrature() -> tuple[FloatArray, FloatArray]:
    """Return 61 equidistant points on −6 … 6 and standard normal weights that sum to one (as mirt)."""
    nodes = np.linspace(-LARGEST_NODE, LARGEST_NODE, N_NODES)
    weights = np.exp(-0.5 * nodes**2)
    return nodes, weights / weights.sum()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TraitDistributions:
    """Each group's normal distribution of θ on the nodes, with what its parameters do to it."""

    means: FloatArray  # (n_groups,)
    sds: FloatArray
    log_weights: FloatArray  # (n_groups, n_nodes)
    scores: FloatArray  # (n_groups, n_nodes, 2): derivatives of the log-weights in mean and log SD
    bends: FloatArray  # (n_groups, 2, 2, n_nodes): second derivatives, before the weights are made to sum to one


def trait_distributions(parameters: FloatArray, layout: "Layout", nodes: FloatArray) -> TraitDistributions:
    """Return the groups' distributions; the first, the reference, is standard normal."""
    free = parameters[layout.n_item_parameters :].reshape(-1, 2)
    means = np.concatenate([[0.0], free[:, 0]])
    sds = np.concatenate([[1.0], np.exp(free[:, 1])])
    z = (nodes - means[:, None]) / sds[:, None]
    log_weights = -0.5 * z**2
    log_weights -= np.log(np.exp(log_weights).sum(axis=1, keepdims=True))
    raw = np.stack([z / sds[:, None], z**2], axis=2)
    centre = (np.exp(log_weights)[:, :, None] * raw).sum(axis=1, keepdims=True)
    crossed = -2 * z / sds[:, None]
    bends = np.stack(
        [
            np.stack([np.broadcast_to(-1 / sds[:, None] ** 2, z.shape), crossed], axis=1),
            np.stack([crossed, -2 * z**2], axis=1),
        ],
        axis=1,
    )
    return TraitDistributions(means=means, sds=sds, log_weights=log_weights, scores=raw - centre, bends=bends)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Layout:
    """Where the slopes, intercepts and categories of every item stand in flat vectors."""

    n_categories: IntArray  # (n_items,)
    first_category: IntArray  # (n_items,): position of the item's lowest category among all categories
    item_of_category: IntArray  # (C,)
    item_of_boundary: IntArray  # (B,)
    above: IntArray  # (B,): the category just above each boundary
    below: IntArray  # (B,): the category just below
    inner: IntArray  # categories with a boundary on both sides
    inner_lower: IntArray  # their lower boundary
    inner_upper: IntArray  # their upper boundary
    n_groups: int

    @property
    def n_items(self) -> int:
        """The number of items."""
        return len(self.n_categories)

    @property
    def n_item_parameters(self) -> int:
        """One slope an item and one intercept a boundary."""
        return self.n_items + len(self.item_of_boundary)

    @property
    def n_parameters(self) -> int:
        """The items' parameters, then mean and log SD of every group but the reference."""
        return self.n_item_parameters + 2 * (self.n_groups - 1)

    def slopes(self, parameters: FloatArray) -> FloatArray:
        """Return the items' slopes."""
        return parameters[: self.n_items]

    def intercepts(self, parameters: FloatArray) -> FloatArray:
        """Return the intercepts of all boundaries."""
        return parameters[self.n_items : self.n_item_parameters]


def lay_out(n_categories: IntArray, *, n_groups: int = 1) -> Layout:
    """Return the layout of items with these numbers of categories (each at least two)."""
    n_items = len(n_categories)
    first_category = np.concatenate([[0], np.cumsum(n_categories)[:-1]]).astype(np.int64)
    item_of_category = np.repeat(np.arange(n_items), n_categories)
    item_of_boundary = np.repeat(np.arange(n_items), n_categories - 1)
    is_lowest = np.zeros(len(item_of_category), dtype=bool)
    is_lowest[first_category] = True
    is_highest = np.roll(is_lowest, -1)
    above = np.flatnonzero(~is_lowest)
    below = np.flatnonzero(~is_highest)
    inner = np.flatnonzero(~is_lowest & ~is_highest)
    return Layout(
        n_categories=n_categories,
        first_category=first_category,
        item_of_category=item_of_category,
        item_of_boundary=item_of_boundary,
        above=above,
        below=below,
        inner=inner,
        inner_lower=np.searchsorted(above, inner),
        inner_upper=np.searchsorted(below, inner),
        n_groups=n_groups,
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Patterns:
    """Distinct response patterns (within groups) with their frequencies."""

    codes: IntArray  # (n_patterns, n_items): category from 0, −1 for missing
    group: IntArray  # (n_patterns,)
    frequencies: FloatArray  # (n_patterns,)
    pattern_of_row: IntArray  # (n_rows,)
    indicators: FloatArray  # (n_patterns, C): one where the pattern holds the category


def tabulate(codes: IntArray, layout: Layout, group: IntArray | None = None) -> Patterns:
    """Return the distinct rows of a matrix of category codes (−1 missing), and their indicators.

    `group` numbers each row's group from 0, the reference.
    """
    number = np.zeros(len(codes), dtype=np.int64) if group is None else group
    packed = np.ascontiguousarray(np.column_stack([codes, number]).astype(np.int8))
    as_bytes = packed.view(np.dtype((np.void, packed.shape[1]))).ravel()
    _, first, pattern_of_row, counts = np.unique(as_bytes, return_index=True, return_inverse=True, return_counts=True)
    distinct = codes[first]
    indicators = np.zeros((len(distinct), len(layout.item_of_category)))
    row, item = np.nonzero(distinct >= 0)
    indicators[row, layout.first_category[item] + distinct[row, item]] = 1.0
    return Patterns(
        codes=distinct,
        group=number[first],
        frequencies=counts.astype(np.float64),
        pattern_of_row=pattern_of_row.astype(np.int64),
        indicators=indicators,
    )


def boundary_probabilities(parameters: FloatArray, layout: Layout, theta: FloatArray) -> FloatArray:
    """Return P(at or above each boundary | θ), shape (B, n_theta)."""
    slope, intercept = layout.slopes(parameters), layout.intercepts(parameters)
    probability: FloatArray = expit(slope[layout.item_of_boundary, None] * theta + intercept[:, None])
    return probability


def spreads(parameters: FloatArray, layout: Layout) -> FloatArray:
    """Return d_k − d_{k+1} of every inner category: all positive, or the parameters are out of order."""
    intercept = layout.intercepts(parameters)
    difference: FloatArray = intercept[layout.inner_lower] - intercept[layout.inner_upper]
    return np.minimum(difference, _WIDEST_SPREAD)


def log_category_probabilities(parameters: FloatArray, layout: Layout, theta: FloatArray) -> FloatArray:
    """Return log P(category | θ), shape (C, n_theta)."""
    slope, intercept = layout.slopes(parameters), layout.intercepts(parameters)
    z = slope[layout.item_of_boundary, None] * theta + intercept[:, None]
    log_at_or_above = -np.logaddexp(0.0, -z)
    result = np.zeros((len(layout.item_of_category), len(theta)))
    result[layout.above] += log_at_or_above
    result[layout.below] += log_at_or_above - z
    result[layout.inner] += np.log(-np.expm1(-spreads(parameters, layout)))[:, None]
    return result


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Expectation:
    """What the E-step gives: log-likelihood, posterior weights and expected counts."""

    log_likelihood: float
    pattern_log_likelihood: FloatArray  # (n_patterns,)
    posterior: FloatArray  # (n_patterns, n_nodes), rows sum to one
    counts: FloatArray  # (C, n_nodes): expected respondents in the category at the node
    node_counts: FloatArray  # (n_groups, n_nodes): expected respondents of the group at the node


def expect(parameters: FloatArray, layout: Layout, patterns: Patterns, nodes: FloatArray) -> Expectation:
    """Return the marginal log-likelihood and the posterior of θ for every response pattern."""
    posterior = patterns.indicators @ log_category_probabilities(parameters, layout, nodes)
    posterior += trait_distributions(parameters, layout, nodes).log_weights[patterns.group]
    largest = posterior.max(axis=1, keepdims=True)
    posterior -= largest
    np.exp(posterior, out=posterior)
    total = posterior.sum(axis=1, keepdims=True)
    posterior /= total
    pattern_log_likelihood = (largest + np.log(total))[:, 0]
    weighted = posterior * patterns.frequencies[:, None]
    members = (patterns.group == np.arange(layout.n_groups)[:, None]).astype(np.float64)
    return Expectation(
        log_likelihood=float(patterns.frequencies @ pattern_log_likelihood),
        pattern_log_likelihood=pattern_log_likelihood,
        posterior=posterior,
        counts=patterns.indicators.T @ weighted,
        node_counts=members @ weighted,
    )


def gradient(parameters: FloatArray, layout: Layout, expectation: Expectation, nodes: FloatArray) -> FloatArray:
    """Return the derivative of the marginal log-likelihood (Fisher's identity: the expected complete-data score)."""
    at_or_above = boundary_probabilities(parameters, layout, nodes)
    counts = expectation.counts
    by_boundary = counts[layout.above] * (1 - at_or_above) - counts[layout.below] * at_or_above
    result = np.empty(layout.n_parameters)
    result[: layout.n_items] = np.bincount(
        layout.item_of_boundary, weights=by_boundary @ nodes, minlength=layout.n_items
    )
    squeeze = 1 / np.expm1(spreads(parameters, layout)) * counts[layout.inner].sum(axis=1)
    by_intercept = by_boundary.sum(axis=1)
    by_intercept[layout.inner_lower] += squeeze
    by_intercept[layout.inner_upper] -= squeeze
    result[layout.n_items : layout.n_item_parameters] = by_intercept
    scores = trait_distributions(parameters, layout, nodes).scores[1:]
    result[layout.n_item_parameters :] = (expectation.node_counts[1:, :, None] * scores).sum(axis=1).ravel()
    return result


def complete_information(
    parameters: FloatArray, layout: Layout, expectation: Expectation, nodes: FloatArray
) -> npt.NDArray[np.float64]:
    """Return each item's block of the expected complete-data information, padded to the largest with identity.

    Shape (n_items, K_max, K_max), slope first; positive definite, because the model is log-concave.
    """
    at_or_above = boundary_probabilities(parameters, layout, nodes)
    counts = expectation.counts
    weight = at_or_above * (1 - at_or_above) * (counts[layout.above] + counts[layout.below])
    size = int(layout.n_categories.max())
    blocks = np.zeros((layout.n_items, size, size))
    item = layout.item_of_boundary
    place = position_in_item(layout)
    blocks[:, 0, 0] = np.bincount(item, weights=weight @ nodes**2, minlength=layout.n_items)
    blocks[item, 0, place] = blocks[item, place, 0] = weight @ nodes
    blocks[item, place, place] = weight.sum(axis=1)
    squeeze = 1 / np.expm1(spreads(parameters, layout))
    pull = squeeze * (1 + squeeze) * counts[layout.inner].sum(axis=1)
    owner = layout.item_of_category[layout.inner]
    lower, upper = place[layout.inner_lower], place[layout.inner_upper]
    blocks[owner, lower, lower] += pull
    blocks[owner, upper, upper] += pull
    blocks[owner, lower, upper] -= pull
    blocks[owner, upper, lower] -= pull
    unused = np.arange(size)[None, :] >= layout.n_categories[:, None]
    rows, columns = np.nonzero(unused)
    blocks[rows, columns, columns] = 1.0
    return blocks


def position_in_item(layout: Layout) -> IntArray:
    """Return where each boundary's intercept stands in its item's block: 1, 2, … (0 is the slope)."""
    first_boundary = layout.first_category - np.arange(layout.n_items)
    position: IntArray = np.arange(len(layout.item_of_boundary)) - first_boundary[layout.item_of_boundary] + 1
    return position


def solve_complete(
    parameters: FloatArray, layout: Layout, expectation: Expectation, nodes: FloatArray, vector: FloatArray
) -> FloatArray:
    """Return the complete-data information's inverse times a vector (the groups' part by its expectation)."""
    size = int(layout.n_categories.max())
    blocks = np.zeros((layout.n_items, size))
    place = position_in_item(layout)
    blocks[:, 0] = layout.slopes(vector)
    blocks[layout.item_of_boundary, place] = layout.intercepts(vector)
    information = complete_information(parameters, layout, expectation, nodes)
    solved = np.linalg.solve(information, blocks[:, :, None])[:, :, 0]
    result = np.empty(len(vector))
    result[: layout.n_items] = solved[:, 0]
    result[layout.n_items : layout.n_item_parameters] = solved[layout.item_of_boundary, place]
    traits = trait_distributions(parameters, layout, nodes)
    for number in range(1, layout.n_groups):
        own = slice(layout.n_item_parameters + 2 * (number - 1), layout.n_item_parameters + 2 * number)
        weighted = traits.scores[number] * np.exp(traits.log_weights[number])[:, None]
        spread = expectation.node_counts[number].sum() * (weighted.T @ traits.scores[number])
        result[own] = np.linalg.solve(spread, vector[own])
    return result


def information_matrices(
    parameters: FloatArray, layout: Layout, patterns: Patterns, expectation: Expectation, nodes: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Return the observed information (Louis 1982) and the cross-product information, both (P, P).

    Louis: the complete-data information, minus what is lost because θ is not seen, which is the posterior variance of
    the complete-data score summed over respondents. Exact; no numerical differentiation.
    """
    n_items = layout.n_items
    size = layout.n_parameters
    at_or_above = boundary_probabilities(parameters, layout, nodes)
    traits = trait_distributions(parameters, layout, nodes)
    n_free = layout.n_item_parameters
    of_trait = np.zeros((layout.n_groups, len(nodes), size - n_free))
    for number in range(1, layout.n_groups):
        of_trait[number, :, 2 * (number - 1) : 2 * number] = traits.scores[number]
    squeeze = np.zeros(len(layout.item_of_category))
    squeeze[layout.inner] = 1 / np.expm1(spreads(parameters, layout))
    first_boundary = layout.first_category - np.arange(n_items)
    lost = np.zeros((size, size), order="F")
    cross = np.zeros((size, size), order="F")
    for first in range(0, len(patterns.frequencies), _ROWS_AT_A_TIME):
        rows = slice(first, first + _ROWS_AT_A_TIME)
        indicators_above = patterns.indicators[rows, layout.above]
        indicators_below = patterns.indicators[rows, layout.below]
        frequencies, posterior = patterns.frequencies[rows], expectation.posterior[rows]
        group = patterns.group[rows]
        mean_score = np.zeros((len(frequencies), size))
        for node, theta in enumerate(nodes):
            weight = posterior[:, node]
            kept = np.flatnonzero(weight > _NEGLIGIBLE_WEIGHT)
            if not len(kept):
                continue
            up, down = indicators_above[kept], indicators_below[kept]
            plain = up - (up + down) * at_or_above[:, node]
            score = np.empty((len(kept), size))
            np.add.reduceat(plain, first_boundary, axis=1, out=score[:, :n_items])
            score[:, :n_items] *= theta
            score[:, n_items:n_free] = plain + up * squeeze[layout.above] - down * squeeze[layout.below]
            score[:, n_free:] = of_trait[group[kept], node]
            mean_score[kept] += weight[kept, None] * score
            score *= np.sqrt(weight[kept] * frequencies[kept])[:, None]
            lost = dsyrk(1.0, score.T, beta=1.0, c=lost, overwrite_c=True)
        mean_score *= np.sqrt(frequencies)[:, None]
        cross = dsyrk(1.0, mean_score.T, beta=1.0, c=cross, overwrite_c=True)
    for triangle in (lost, cross):
        lower = np.tril_indices(size, -1)
        triangle[lower] = triangle.T[lower]
    observed = cross - lost
    blocks = complete_information(parameters, layout, expectation, nodes)
    place = np.concatenate([np.zeros(n_items, dtype=np.int64), position_in_item(layout)])
    owner = np.concatenate([np.arange(n_items), layout.item_of_boundary])
    same_item = owner[:, None] == owner[None, :]
    row, column = np.nonzero(same_item)
    observed[row, column] += blocks[owner[row], place[row], place[column]]
    for number in range(1, layout.n_groups):
        own = slice(n_free + 2 * (number - 1), n_free + 2 * number)
        weights, count = np.exp(traits.log_weights[number]), expectation.node_counts[number]
        spread = (traits.scores[number] * weights[:, None]).T @ traits.scores[number]
        observed[own, own] += count.sum() * (spread + traits.bends[number] @ weights) - traits.bends[number] @ count
    return observed, np.ascontiguousarray(cross)
