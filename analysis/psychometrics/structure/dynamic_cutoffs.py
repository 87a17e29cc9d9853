"""Dynamic fit index cut-offs: how large SRMR and RMSEA, and how small CFI, get for *this* model when it is a bit wrong.

Fixed cut-offs were found for one model. Here the fitted model's own standardised solution is taken for the truth, wrong
versions of it are made in steps ("levels"), data of the same size are simulated from each, the model is fitted to them,
and the distributions of the indices say where right and wrong models part (McNeish & Wolf 2021, 2023).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.linalg import cholesky

from analysis.psychometrics.errors import AnalysisInputError
from analysis.psychometrics.inference.resampling import DrawPart, Progress, plan_parts
from analysis.psychometrics.response_matrix import FloatArray, IntArray, read_only
from analysis.psychometrics.sem import ModelFit, prepare_sample
from analysis.psychometrics.sem.estimation import fit_prepared
from analysis.psychometrics.sem.many_fits import ManyFits

Rule = Literal["95/5", "90/10", "none"]

INDICES = ("srmr", "rmsea", "cfi")
#: Larger samples are simulated at this size, as the authors of the method do: indices hardly change beyond.
LARGEST_N = 2000
#: Draws per part. Fixed, so that the random numbers do not depend on how many workers share the parts.
_DRAWS_PER_PART = 100
_RESIDUAL_CORRELATION = 0.3
_SHARE_OF_LARGEST = 0.95
_FEWEST_DRAWS = 20


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MeasurementStructure:
    """A standardised measurement model: what the levels of misspecification start from."""

    items: tuple[str, ...]
    factors: tuple[str, ...]
    loadings: FloatArray  # (n_items, n_factors)
    factor_correlations: FloatArray
    residual_correlations: FloatArray  # (n_items, n_items), ones on the diagonal

    def implied(self) -> FloatArray:
        """Return the correlation matrix of the items.

        Raises
        ------
        AnalysisInputError
            The loadings explain more than an item's whole variance.
        """
        common = self.loadings @ self.factor_correlations @ self.loadings.T
        unique = 1 - np.diag(common)
        if (unique < 0).any():
            beyond = [item for item, share in zip(self.items, unique, strict=True) if share < 0]
            raise AnalysisInputError(
                "dynamic cut-offs require an admissible solution; the factors explain more than the whole variance of "
                f"{', '.join(beyond)}. Remedy: fit a model without negative residual variances."
            )
        spread = np.sqrt(unique)
        implied: FloatArray = common + self.residual_correlations * np.outer(spread, spread)
        return implied


@dataclass(frozen=True, slots=True, kw_only=True)
class Misspecification:
    """One path that the truth has and the model lacks: a cross-loading (`=~`) or a residual correlation (`~~`)."""

    lhs: str
    op: Literal["=~", "~~"]
    rhs: str
    value: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CutoffDesign:
    """Everything that a worker needs to simulate its part: the model, and the truth at every level."""

    fit: ModelFit
    n: int
    levels: tuple[tuple[Misspecification, ...], ...]  # level 0 is empty
    truths: tuple[FloatArray, ...]  # correlation matrices
    cuts: tuple[FloatArray, ...]  # thresholds of ordinal items; empty when the items are continuous


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CutoffLevel:
    """The cut-offs of one level, by index; NaN with rule 'none' where right and wrong models overlap too much.

    `sensitivity` is the share of wrong models beyond the 95 % of right models that fit best (level 0's cut-off).
    """

    level: int
    added: tuple[Misspecification, ...]
    cutoff: dict[str, float]
    rule: dict[str, Rule]
    sensitivity: dict[str, float]
    median: dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DynamicCutoffs:
    """Cut-offs for the fitted model, its own indices, and whether they are better than those of the mildest misfit."""

    levels: tuple[CutoffLevel, ...]
    level_0: dict[str, float]  # what 95 % of right models reach
    observed: dict[str, float]
    better_than_level_1: dict[str, bool | None]  # None where there is no cut-off
    draws: FloatArray  # (n_levels + 1, n_draws, 3): srmr, rmsea, cfi; NaN where a fit failed
    n_draws: int
    n_failed: int
    n_used: int  # respondents of the fit
    n_simulated: int  # respondents of each simulated data set
    notes: tuple[str, ...]


def dynamic_cutoffs(
    fit: ModelFit, *, rng: np.random.Generator, n_draws: int = 500, progress: Progress | None = None
) -> DynamicCutoffs:
    """Simulate fit index cut-offs for a fitted factor model.

    Parameters
    ----------
    fit : ModelFit
        A confirmatory factor model of one group, fitted by ML, MLR or WLSMV (all items ordinal).
    rng : numpy.random.Generator
        Source of the run's seed. `plan_cutoffs`, `simulate_cutoff_part` and `combine_cutoffs` give the same answer when
        workers share the parts.
    n_draws : int
        Data sets per level.
    progress : callable, optional
        Called with the share done and a text.

    Returns
    -------
    DynamicCutoffs

    Raises
    ------
    AnalysisInputError
        Several groups, regressions, an inadmissible or saturated solution, no item that could be misspecified, fewer
        than 20 draws.

    Notes
    -----
    *Several factors:* level k adds the first k cross-loadings, one for each factor but one. The weakest item of a
    factor (that loads on it alone and has no residual correlation) loads also on the most reliable other factor
    (coefficient H), each pair of factors once; its size is its own loading, or 95 % of the largest that leaves the
    item's variance below one. *One factor:* residual correlations of .3 between neighbouring items in the order of
    their loadings, for a third, two thirds and all of the pairs.
    A cut-off is the 5 % quantile of the wrong models' SRMR and RMSEA (95 % of CFI) if 95 % of the right models are
    better than it, else the 10 % quantile against 90 %, else there is none. McNeish & Wolf (2021),
    10.1037/met0000425; (2023), 10.3758/s13428-021-01847-y. Samples above 2000 are simulated at 2000. Ordinal items are
    cut at the fitted thresholds and refitted by WLSMV; scaled RMSEA and CFI are then used. An MLR fit's robust RMSEA
    and CFI are compared with cut-offs from normal data.
    R: `dynamic::cfaHB(fit)`, `cfaOne(fit)`, `catHB(fit)`, `catOne(fit)`.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.psychometrics.sem import Moments, fit_model
    >>> loadings = np.array([0.7, 0.8, 0.6, 0.7, 0.5, 0.6])
    >>> covariance = np.outer(loadings, loadings) + np.diag(1 - loadings**2)
    >>> names = ["a", "b", "c", "d", "e", "g"]
    >>> fit = fit_model("f =~ a + b + c + d + e + g", moments=Moments(covariance=covariance, n=400), item_codes=names)
    >>> result = dynamic_cutoffs(fit, rng=np.random.default_rng(1), n_draws=40)
    >>> [level.added[-1].value for level in result.levels], bool(0.9 < result.levels[2].cutoff["cfi"] < 1)
    ([0.3, 0.3, 0.3], True)
    """
    design, parts = plan_cutoffs(fit, n_draws=n_draws, seed=int(rng.integers(2**63)))
    results = []
    for position, part in enumerate(parts):
        if progress is not None:
            progress(position / len(parts), f"data sets {position * _DRAWS_PER_PART + 1} and following of {n_draws}")
        results.append(simulate_cutoff_part(design, part))
    if progress is not None:
        progress(1.0, "done")
    return combine_cutoffs(design, results)


def plan_cutoffs(fit: ModelFit, *, n_draws: int, seed: int) -> tuple[CutoffDesign, tuple[DrawPart, ...]]:
    """Return the design and the seeded parts that workers may share."""
    if n_draws < _FEWEST_DRAWS:
        raise AnalysisInputError(
            f"dynamic cut-offs require at least {_FEWEST_DRAWS} draws for a 5 % quantile; got {n_draws}. "
            "Remedy: ask for 500."
        )
    structure = measurement_structure(fit)
    if fit.fit["df"] < 1:
        raise AnalysisInputError(
            "dynamic cut-offs require a model with degrees of freedom; got a saturated one, which fits "
            "whatever is true. Remedy: use at least four items for one factor."
        )
    levels = ((), *misspecification_levels(structure))
    n = min(fit.n_used, LARGEST_N)
    cuts: tuple[FloatArray, ...] = ()
    if fit.table.categorical:
        cuts = tuple(
            np.array([row.std_all for row in fit.parameters if row.op == "|" and row.lhs == item])
            for item in structure.items
        )
        if not all(len(cut) for cut in cuts):
            raise AnalysisInputError(
                "dynamic cut-offs require items that are all ordinal or all continuous; got both. "
                "Remedy: fit the ordinal items alone, or all items by MLR."
            )
    design = CutoffDesign(
        fit=fit,
        n=n,
        levels=levels,
        truths=tuple(_misspecified(structure, added).implied() for added in levels),
        cuts=cuts,
    )
    return design, plan_parts(seed=seed, n_draws=n_draws, draws_per_part=_DRAWS_PER_PART)


def simulate_cutoff_part(design: CutoffDesign, part: DrawPart) -> FloatArray:
    """Return SRMR, RMSEA and CFI of one part's draws: (n_levels + 1, n_draws, 3), NaN where a fit failed."""
    result = np.full((len(design.truths), part.n_draws, len(INDICES)), np.nan)
    for level, truth in enumerate(design.truths):
        rng = np.random.default_rng(np.random.SeedSequence(part.seed, spawn_key=(part.number, level)))
        if design.cuts:
            result[level] = _simulate_ordinal(design, truth, part.n_draws, rng)
        else:
            result[level] = _simulate_continuous(design, truth, part.n_draws, rng)
    return result


def combine_cutoffs(design: CutoffDesign, results: Sequence[FloatArray]) -> DynamicCutoffs:
    """Turn all parts' draws, in the order of the parts, into cut-offs."""
    draws = np.concatenate(results, axis=1)
    failed = np.asarray(np.isnan(draws).any(axis=2), dtype=np.bool_)
    notes: list[str] = []
    if failed.any():
        notes.append(f"{int(failed.sum())} of {failed.size} simulated data sets could not be fitted and were left out")
    if failed.mean(axis=1).max() > 0.1:
        notes.append("more than a tenth of the fits failed at one level: its cut-offs are not to be trusted")
    if design.fit.n_used > design.n:
        notes.append(f"data sets of {design.n} respondents were simulated (of {design.fit.n_used} in the data)")
    if design.fit.estimator == "MLR":
        notes.append("the model's robust RMSEA and CFI are compared with cut-offs from normal data")
    right = draws[0][~failed[0]]
    levels = tuple(
        _cutoff_level(number, design.levels[number], right, draws[number][~failed[number]])
        for number in range(1, len(design.levels))
    )
    observed = _observed(design)
    better: dict[str, bool | None] = {}
    for index in INDICES:
        cutoff = levels[0].cutoff[index]
        sign = -1.0 if index == "cfi" else 1.0
        better[index] = None if np.isnan(cutoff) else bool(sign * observed[index] < sign * cutoff)
    return DynamicCutoffs(
        levels=levels,
        level_0=dict(zip(INDICES, _quantiles(right, 0.95).tolist(), strict=True)),
        observed=observed,
        better_than_level_1=better,
        draws=read_only(draws),
        n_draws=draws.shape[1],
        n_failed=int(failed.sum()),
        n_used=design.fit.n_used,
        n_simulated=design.n,
        notes=tuple(notes),
    )


def measurement_structure(fit: ModelFit) -> MeasurementStructure:
    """Return the standardised loadings and correlations of a fitted factor model.

    Factors that other factors explain (second order) count by the correlations that follow.

    Raises
    ------
    AnalysisInputError
        Several groups, regressions or observed predictors, or a solution that is not converged and admissible.
    """
    if len(fit.layouts) != 1:
        raise AnalysisInputError(
            f"dynamic cut-offs require one group; got {len(fit.layouts)}. Remedy: fit each group by itself."
        )
    if any(row.op in ("~", "<~") for row in fit.parameters):
        raise AnalysisInputError(
            "dynamic cut-offs require a measurement model; got regressions. Remedy: leave `~` out of the model."
        )
    if not (fit.converged and fit.admissible):
        raise AnalysisInputError(
            "dynamic cut-offs require a converged, admissible solution, which is taken for the truth; this one is not "
            f"({'; '.join(fit.notes) or 'see its notes'}). Remedy: repair the model first."
        )
    layout, state = fit.layouts[0], fit.states[0]
    items = layout.observed
    latent = layout.variables[len(items) :]
    factors = tuple(
        name for name in latent if any(r.op == "=~" and r.lhs == name and r.rhs in items for r in fit.parameters)
    )
    place = {name: position for position, name in enumerate(items)}
    of_factor = {name: position for position, name in enumerate(factors)}
    loadings = np.zeros((len(items), len(factors)))
    residual = np.eye(len(items))
    for row in fit.parameters:
        if row.op == "=~" and row.rhs in place:
            loadings[place[row.rhs], of_factor[row.lhs]] = row.std_all
        elif row.op == "~~" and row.lhs in place and row.rhs in place and row.lhs != row.rhs:
            residual[place[row.lhs], place[row.rhs]] = residual[place[row.rhs], place[row.lhs]] = row.std_all
    chosen = [len(items) + latent.index(name) for name in factors]
    moments = state.latent_moments[np.ix_(chosen, chosen)]
    spread = np.sqrt(np.diag(moments))
    return MeasurementStructure(
        items=items,
        factors=factors,
        loadings=loadings,
        factor_correlations=moments / np.outer(spread, spread),
        residual_correlations=residual,
    )


def misspecification_levels(structure: MeasurementStructure) -> tuple[tuple[Misspecification, ...], ...]:
    """Return what is added to the truth at levels 1, 2 … (each level holds those before it).

    Raises
    ------
    AnalysisInputError
        Too few items that load on one factor alone and have no residual correlation.
    """
    alone = (np.count_nonzero(structure.loadings, axis=1) == 1) & (
        np.count_nonzero(structure.residual_correlations, axis=1) == 1
    )
    if len(structure.factors) == 1:
        return _levels_of_one_factor(structure, np.flatnonzero(alone))
    return _levels_of_several_factors(structure, alone)


def _levels_of_one_factor(structure: MeasurementStructure, alone: IntArray) -> tuple[tuple[Misspecification, ...], ...]:
    """Neighbours in the order of their loadings, in pairs: a third, two thirds, all of them (McNeish & Wolf 2023)."""
    if len(alone) < 4:
        raise AnalysisInputError(
            "dynamic cut-offs of a one-factor model require at least four items without residual correlations; got "
            f"{len(alone)}. Remedy: use a longer scale."
        )
    order = alone[np.argsort(np.abs(structure.loadings[alone, 0]), kind="stable")]
    n_pairs = {4: 1, 5: 2}.get(len(order), len(order) // 2)
    counts = {4: (1,), 5: (1, 2)}.get(len(order), (n_pairs // 3, 2 * n_pairs // 3, n_pairs))
    pairs = tuple(
        Misspecification(
            lhs=structure.items[order[2 * pair + 1]],
            op="~~",
            rhs=structure.items[order[2 * pair]],
            value=_RESIDUAL_CORRELATION,
        )
        for pair in range(n_pairs)
    )
    return tuple(pairs[:count] for count in counts)


def _levels_of_several_factors(
    structure: MeasurementStructure, alone: npt.NDArray[np.bool_]
) -> tuple[tuple[Misspecification, ...], ...]:
    """One cross-loading for every factor but one, weakest items first (McNeish & Wolf 2021)."""
    loadings, phi = structure.loadings, structure.factor_correlations
    n_factors = len(structure.factors)
    weakest: list[tuple[bool, float, int, int]] = []  # factor of two items, |loading|, item, factor
    for factor in range(n_factors):
        own = np.flatnonzero(alone & (loadings[:, factor] != 0))
        if len(own):
            item = int(own[np.abs(loadings[own, factor]).argmin()])
            few = int(np.count_nonzero(loadings[:, factor])) <= 2
            weakest.append((few, float(abs(loadings[item, factor])), item, factor))
    if len(weakest) < n_factors - 1:
        raise AnalysisInputError(
            f"dynamic cut-offs of a model with {n_factors} factors require an item that loads on its factor alone, "
            f"without residual correlations, in at least {n_factors - 1} of them; got {len(weakest)}. "
            "Remedy: drop cross-loadings (bifactor models have no such levels), or compare the model with its rivals."
        )
    chosen = sorted(weakest)[: n_factors - 1]
    with np.errstate(divide="ignore"):
        signal = np.where(loadings != 0, loadings**2 / np.maximum(1 - loadings**2, 1e-12), 0.0).sum(axis=0)
    reliability = signal / (1 + signal)  # coefficient H
    used: set[frozenset[int]] = set()
    added: list[tuple[bool, float, float, Misspecification]] = []
    for few, _, item, source in sorted(chosen, key=lambda entry: entry[1]):
        targets = [other for other in range(n_factors) if other != source and frozenset((source, other)) not in used]
        if not targets:
            continue
        target = max(targets, key=lambda other: float(reliability[other]))
        used.add(frozenset((source, target)))
        weight, correlation = float(loadings[item, source]), float(phi[source, target])
        largest = _SHARE_OF_LARGEST * (np.sqrt(weight**2 * correlation**2 + 1 - weight**2) - weight * correlation)
        added.append(
            (
                few,
                weight,
                -float(reliability[target]),
                Misspecification(
                    lhs=structure.factors[target], op="=~", rhs=structure.items[item], value=float(min(weight, largest))
                ),
            )
        )
    ordered = tuple(entry[3] for entry in sorted(added, key=lambda entry: entry[:3]))
    return tuple(ordered[: count + 1] for count in range(len(ordered)))


def _misspecified(structure: MeasurementStructure, added: Sequence[Misspecification]) -> MeasurementStructure:
    loadings, residual = structure.loadings.copy(), structure.residual_correlations.copy()
    for path in added:
        item = structure.items.index(path.rhs)
        if path.op == "=~":
            loadings[item, structure.factors.index(path.lhs)] = path.value
        else:
            other = structure.items.index(path.lhs)
            residual[item, other] = residual[other, item] = path.value
    return replace(structure, loadings=loadings, residual_correlations=residual)


def _cutoff_level(
    number: int, added: tuple[Misspecification, ...], right: FloatArray, wrong: FloatArray
) -> CutoffLevel:
    cutoff: dict[str, float] = {}
    rule: dict[str, Rule] = {}
    sensitivity: dict[str, float] = {}
    for place, index in enumerate(INDICES):
        sign = -1.0 if index == "cfi" else 1.0
        cutoff[index], rule[index], sensitivity[index] = float("nan"), "none", float("nan")
        if not (len(right) and len(wrong)):
            continue
        of_right, of_wrong = sign * right[:, place], sign * wrong[:, place]
        sensitivity[index] = float((of_wrong >= np.quantile(of_right, 0.95)).mean())
        for name, share in (("95/5", 0.05), ("90/10", 0.10)):
            if np.quantile(of_right, 1 - share) < np.quantile(of_wrong, share):
                cutoff[index] = sign * float(np.quantile(of_wrong, share))
                rule[index] = "95/5" if name == "95/5" else "90/10"
                break
    return CutoffLevel(
        level=number,
        added=added,
        cutoff=cutoff,
        rule=rule,
        sensitivity=sensitivity,
        median=dict(zip(INDICES, _quantiles(wrong, 0.5).tolist(), strict=True)),
    )


def _quantiles(draws: FloatArray, share: float) -> FloatArray:
    """The share's quantile of misfit: upper for SRMR and RMSEA, lower for CFI."""
    if not len(draws):
        return np.full(len(INDICES), np.nan)
    return np.array(
        [np.quantile(draws[:, 0], share), np.quantile(draws[:, 1], share), np.quantile(draws[:, 2], 1 - share)]
    )


def _observed(design: CutoffDesign) -> dict[str, float]:
    """The fitted model's own indices, of the kinds that are simulated."""
    fit = design.fit.fit
    # Robust indices estimate what normal data would have shown, and normal data are what is simulated.
    suffix = "_scaled" if design.cuts else "_robust" if design.fit.estimator == "MLR" else ""
    # A mean structure that fits perfectly dilutes the SRMR; the simulated fits have none.
    return {
        "srmr": float(fit["srmr_bentler_nomean"]),
        "rmsea": float(fit[f"rmsea{suffix}"]),
        "cfi": float(fit[f"cfi{suffix}"]),
    }


def _simulate_continuous(design: CutoffDesign, truth: FloatArray, n_draws: int, rng: np.random.Generator) -> FloatArray:
    """Draw sample covariances of normal data directly (Wishart, by Bartlett's decomposition) and fit them."""
    size = len(truth)
    rows, columns = np.tril_indices(size, -1)
    diagonal = np.arange(size)
    factor = np.zeros((n_draws, size, size))
    factor[:, rows, columns] = rng.standard_normal((n_draws, len(rows)))
    factor[:, diagonal, diagonal] = np.sqrt(rng.chisquare(design.n - 1 - diagonal, size=(n_draws, size)))
    scaled = cholesky(truth, lower=True) @ factor
    return ManyFits(design.fit, truth, design.n).indices(scaled @ scaled.transpose(0, 2, 1) / design.n)


def _simulate_ordinal(design: CutoffDesign, truth: FloatArray, n_draws: int, rng: np.random.Generator) -> FloatArray:
    """Draw normal data, cut them at the fitted thresholds, and fit by WLSMV."""
    root = cholesky(truth, lower=True)
    items = design.fit.layouts[0].observed
    result = np.full((n_draws, len(INDICES)), np.nan)
    options = replace(design.fit.options, missing="listwise")
    for draw in range(n_draws):
        latent = rng.standard_normal((design.n, len(truth))) @ root.T
        answers = np.column_stack(
            [np.searchsorted(cut, column) for cut, column in zip(design.cuts, latent.T, strict=True)]
        )
        try:
            sample = prepare_sample(answers, item_codes=items, columns=items, ordered=items)
            fit = fit_prepared(options, sample)
        except AnalysisInputError:  # an item without variation in this draw
            continue
        if fit.converged:
            result[draw] = [fit.fit["srmr"], fit.fit["rmsea_scaled"], fit.fit["cfi_scaled"]]
    return result
