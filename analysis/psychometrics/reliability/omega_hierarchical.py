"""How much of a total score is one general factor: omega hierarchical, total and per group, ECV and PUC.

Two ways to the bifactor loadings: Schmid–Leiman from an exploratory solution (as `psych::omega`), or the estimates of a
confirmatory bifactor model.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from analysis.psychometrics.errors import AnalysisInputError
from analysis.psychometrics.exploratory.factor_analysis import FactorExtraction, extract_factors, factor_correlations
from analysis.psychometrics.exploratory.rotation import oblimin, sign_and_sort, varimax
from analysis.psychometrics.response_matrix import FloatArray, IntArray, as_item_codes, read_only


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SchmidLeiman:
    """Loadings on a general and on group factors that are all uncorrelated, and the oblique solution behind them."""

    item_codes: tuple[str, ...]
    general_loadings: FloatArray  # (n_items,)
    group_loadings: FloatArray  # (n_items, n_groups)
    communalities: FloatArray  # (n_items,): of the exploratory solution
    uniquenesses: FloatArray  # (n_items,)
    oblique_loadings: FloatArray  # (n_items, n_groups)
    phi: FloatArray  # (n_groups, n_groups)
    second_order_loadings: FloatArray  # (n_groups,): of the oblique factors on the general one
    converged: bool
    notes: tuple[str, ...]


def schmid_leiman(
    correlation: npt.ArrayLike,
    *,
    n_groups: int = 3,
    extraction: FactorExtraction = "minres",
    item_codes: Sequence[str] | None = None,
) -> SchmidLeiman:
    """Turn an oblique factor solution into a general factor and group factors orthogonal to it.

    Parameters
    ----------
    correlation : array-like, shape (n_items, n_items)
        Correlations of the items.
    n_groups : int
        Oblique factors to extract; 3 is psych's default. With two the general factor is identified only by giving both
        the same loading on it, with a note.
    extraction : {'minres', 'ml'}
        Least squares of the residual correlations, or maximum likelihood.
    item_codes : sequence of str, optional
        Names for messages and results.

    Raises
    ------
    AnalysisInputError
        One group, too many groups for the items, or no correlation matrix.

    Notes
    -----
    Schmid & Leiman (1957), Psychometrika 22:53. With oblique loadings Λ (oblimin from varimax) and loadings γ of their
    factors on one second-order factor: general Λγ, group Λ_ik·√(1 − γ²_k). R: `psych::schmid(R, 3)`. Proportional by
    construction: when items load on the general factor beyond their group's share, a confirmatory bifactor model is the
    better basis.

    Examples
    --------
    >>> import numpy as np
    >>> pattern = np.kron(np.eye(3), np.full((3, 1), 0.8))
    >>> phi = np.full((3, 3), 0.49) + np.diag([0.51] * 3)
    >>> correlation = pattern @ phi @ pattern.T
    >>> np.fill_diagonal(correlation, 1)
    >>> schmid_leiman(correlation).general_loadings.round(2)[:3]
    array([0.56, 0.56, 0.56])
    """
    who = "schmid_leiman"
    if n_groups < 2:
        raise AnalysisInputError(
            f"{who} requires at least two group factors; got {n_groups}. Remedy: use omega_total for one factor."
        )
    # Checks the matrix, the number of factors and smooths where needed; its rotation is not used.
    plain = factor_correlations(
        correlation,
        n_used=10**6,
        n_factors=n_groups,
        extraction=extraction,
        rotation="none",
        item_codes=item_codes,
    )
    start = varimax(plain.loadings)
    rotated = oblimin(start.loadings)
    loadings, phi = sign_and_sort(rotated.loadings, rotated.phi)
    notes = [note for note in plain.notes if "smoothed" in note or "Heywood" in note or "extraction" in note]
    converged = plain.converged and rotated.converged
    if not rotated.converged:
        notes.append("the oblimin rotation did not converge")
    if n_groups == 2:
        size = math.sqrt(abs(float(phi[0, 1])))
        second_order = np.array([size, math.copysign(size, float(phi[0, 1]))])
        notes.append("two groups do not identify a general factor: both are given the same loading on it")
    else:
        factor = extract_factors(phi, n_factors=1, extraction=extraction)
        second_order = factor.loadings[:, 0].copy()
        converged = converged and factor.converged
        if factor.at_bound:
            notes.append(
                "the general factor takes a group factor over completely (group "
                f"{', '.join(str(group + 1) for group in factor.at_bound)}): extract fewer groups"
            )
        if not factor.converged:
            notes.append("the second-order extraction did not converge")
    group = loadings * np.sqrt(np.maximum(1 - second_order**2, 0.0))
    return SchmidLeiman(
        item_codes=plain.item_codes,
        general_loadings=read_only(loadings @ second_order),
        group_loadings=read_only(group),
        communalities=read_only(plain.communalities.copy()),
        uniquenesses=read_only(plain.uniquenesses.copy()),
        oblique_loadings=read_only(loadings),
        phi=read_only(phi),
        second_order_loadings=read_only(second_order),
        converged=converged,
        notes=tuple(notes),
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BifactorReliability:
    """What a total score and group scores measure, from loadings on a general and on group factors."""

    item_codes: tuple[str, ...]
    omega_total: float  # all common factors
    omega_hierarchical: float  # the general factor alone
    omega_asymptotic: float  # the general factor's share of what is common: the limit for endless such items
    omega_group_total: FloatArray  # (n_groups,): all common variance in the sum of a group's items
    omega_group_general: FloatArray  # (n_groups,): the general factor in it
    omega_group: FloatArray  # (n_groups,): the group factor in it, with the general factor out (omega_hs)
    group_of_item: IntArray  # (n_items,)
    ecv: float  # explained common variance of the general factor
    ecv_item: FloatArray  # (n_items,)
    puc: float  # share of correlations that only the general factor can explain
    construct_replicability: float  # H of the general factor (Hancock & Mueller)
    general_loadings: FloatArray  # (n_items,), after turning items round
    group_loadings: FloatArray  # (n_items, n_groups)
    reversed_items: tuple[str, ...]  # turned round because they load negatively on the general factor
    converged: bool
    notes: tuple[str, ...]


def omega_hierarchical(
    correlation: npt.ArrayLike,
    *,
    n_groups: int = 3,
    extraction: FactorExtraction = "minres",
    item_codes: Sequence[str] | None = None,
) -> BifactorReliability:
    """Estimate omega hierarchical, total and per group by Schmid–Leiman, as `psych::omega`.

    Parameters
    ----------
    correlation : array-like, shape (n_items, n_items)
        Correlations of the items. Polychoric ones describe latent responses, not the sum score in use.
    n_groups, extraction, item_codes
        See `schmid_leiman`.

    Returns
    -------
    BifactorReliability
        Items that load negatively on the general factor are turned round first, and named. An item belongs to the group
        on whose factor it loads most.

    Raises
    ------
    AnalysisInputError
        See `schmid_leiman`.

    Notes
    -----
    ω_h = (Σλ_g)²/V, ω_t = (V − Σu²)/V, V the sum of the observed correlations; Zinbarg, Revelle, Yovel & Li (2005),
    Psychometrika 70:123. For the sum of standardised items. R: `psych::omega(R, nfactors = 3)`: omega_h, omega.tot,
    omega.lim, ECV, and the columns total, general and group of omega.group.

    Examples
    --------
    >>> import numpy as np
    >>> pattern = np.kron(np.eye(3), np.full((3, 1), 0.8))
    >>> phi = np.full((3, 3), 0.49) + np.diag([0.51] * 3)
    >>> correlation = pattern @ phi @ pattern.T
    >>> np.fill_diagonal(correlation, 1)
    >>> result = omega_hierarchical(correlation)
    >>> round(result.omega_hierarchical, 2), round(result.omega_total, 2), round(result.puc, 2)
    (0.68, 0.91, 0.75)
    """
    solution = schmid_leiman(correlation, n_groups=n_groups, extraction=extraction, item_codes=item_codes)
    matrix = np.asarray(correlation, dtype=np.float64)
    sign = np.where(solution.general_loadings < 0, -1.0, 1.0)
    keyed = matrix * np.outer(sign, sign)
    groups = np.abs(solution.group_loadings).argmax(axis=1)
    notes = list(solution.notes)
    turned = tuple(code for code, s in zip(solution.item_codes, sign, strict=True) if s < 0)
    if turned:
        notes.append(f"turned round, because they load negatively on the general factor: {', '.join(turned)}")
    return _bifactor(
        solution.general_loadings * sign,
        solution.group_loadings * sign[:, None],
        solution.uniquenesses,
        keyed,
        groups=groups,
        codes=solution.item_codes,
        turned=turned,
        converged=solution.converged,
        notes=notes,
    )


def bifactor_reliability(
    general_loadings: npt.ArrayLike,
    group_loadings: npt.ArrayLike,
    residual_variances: npt.ArrayLike,
    *,
    covariance: npt.ArrayLike | None = None,
    item_codes: Sequence[str] | None = None,
) -> BifactorReliability:
    """Return omega hierarchical, total and per group from the estimates of a confirmatory bifactor model.

    Parameters
    ----------
    general_loadings : array-like, shape (n_items,)
        Loadings on the general factor of variance one, in the items' units (or standardised).
    group_loadings : array-like, shape (n_items, n_groups)
        Loadings on the group factors of variance one; zero where an item is not in the group. All factors are
        uncorrelated.
    residual_variances : array-like, shape (n_items,)
        In the same units.
    covariance : array-like, shape (n_items, n_items), optional
        Observed covariances, for V; without it the variance that the model implies.
    item_codes : sequence of str, optional
        Names for messages and results.

    Raises
    ------
    AnalysisInputError
        Shapes that do not fit, or a total without variance.

    Notes
    -----
    As `omega_hierarchical`, with V from the model unless `covariance` is given; Reise, Bonifay & Haviland (2013), J
    Pers Assess 95:129. ECV and PUC: the same; H: Hancock & Mueller (2001). R: `psych::omegaSem`, or
    `semTools::compRelSEM(fit)` for ω_h (its factor `g` with `obs.var = FALSE` where V is the model's).

    Examples
    --------
    >>> import numpy as np
    >>> group = np.kron(np.eye(2), np.full((3, 1), 0.4))
    >>> result = bifactor_reliability(np.full(6, 0.6), group, np.full(6, 0.48))
    >>> round(result.omega_hierarchical, 3), round(result.ecv, 3), round(result.puc, 3)
    (0.692, 0.692, 0.6)
    """
    who = "bifactor_reliability"
    general = np.asarray(general_loadings, dtype=np.float64)
    group = np.asarray(group_loadings, dtype=np.float64)
    residual = np.asarray(residual_variances, dtype=np.float64)
    n_items = general.shape[0] if general.ndim == 1 else 0
    if n_items < 2 or group.ndim != 2 or len(group) != n_items or residual.shape != (n_items,):
        raise AnalysisInputError(
            f"{who} requires one general loading, one row of group loadings and one residual variance per item; got "
            f"shapes {general.shape}, {group.shape} and {residual.shape}. Remedy: pass them in the order of the items."
        )
    if not (np.isfinite(general).all() and np.isfinite(group).all() and np.isfinite(residual).all()):
        raise AnalysisInputError(
            f"{who} requires finite estimates; got NaN or infinite values. Remedy: pass a solution that converged."
        )
    codes = as_item_codes(item_codes, n_items, who=who)
    notes = []
    negative = [code for code, variance in zip(codes, residual, strict=True) if variance < 0]
    if negative:
        notes.append(f"negative residual variance, so nothing here is admissible: {', '.join(negative)}")
    against = [code for code, loading in zip(codes, general, strict=True) if loading < 0]
    if against:
        notes.append(f"negative loading on the general factor, check the keying of {', '.join(against)}")
    if covariance is None:
        total = np.outer(general, general) + group @ group.T + np.diag(residual)
    else:
        total = np.asarray(covariance, dtype=np.float64)
        if total.shape != (n_items, n_items):
            raise AnalysisInputError(
                f"{who} requires covariances of the same {n_items} items; got shape {total.shape}. "
                "Remedy: leave out the covariances of other variables."
            )
    groups = np.where(np.any(group != 0, axis=1), np.abs(group).argmax(axis=1), -1)
    return _bifactor(
        general,
        group,
        residual,
        total,
        groups=groups,
        codes=codes,
        turned=(),
        converged=not negative,
        notes=notes,
        common_from_loadings=True,
    )


def _bifactor(
    general: FloatArray,
    group: FloatArray,
    uniquenesses: FloatArray,
    total: FloatArray,
    *,
    groups: IntArray,
    codes: tuple[str, ...],
    turned: tuple[str, ...],
    converged: bool,
    notes: list[str],
    common_from_loadings: bool = False,
) -> BifactorReliability:
    """Compute every coefficient. psych takes what is common as V − Σu²; from a model it is the loadings' own."""
    n_items, n_groups = group.shape
    variance = float(total.sum())
    if not variance > 1e-12 * float(np.trace(total)):
        raise AnalysisInputError(
            "omega hierarchical requires a sum score that varies; the items cancel one another. "
            "Remedy: check which items have to be reversed."
        )
    from_general = float(general.sum()) ** 2
    if common_from_loadings:
        common = from_general + float(np.sum(group.sum(axis=0) ** 2))
    else:
        common = variance - float(uniquenesses.sum())
    of_group = np.full((3, n_groups), np.nan)
    for number in range(n_groups):
        members = np.flatnonzero(groups == number)
        if len(members) == 0:
            notes.append(f"no item loads most on group factor {number + 1}")
            continue
        group_variance = float(total[np.ix_(members, members)].sum())
        by_general = float(general[members].sum()) ** 2 / group_variance
        by_group = float(group[members, number].sum()) ** 2 / group_variance
        of_group[:, number] = by_general + by_group, by_general, by_group
    squares_general, squares_group = general**2, np.sum(group**2, axis=1)
    squares = squares_general + squares_group
    n_pairs = n_items * (n_items - 1) / 2
    sizes = np.bincount(groups[groups >= 0], minlength=n_groups)
    within = float(np.sum(sizes * (sizes - 1) / 2))
    item_variances = np.diag(total)
    standardised = np.clip(squares_general / item_variances, 0.0, 1 - 1e-12)
    information = float(np.sum(standardised / (1 - standardised)))
    return BifactorReliability(
        item_codes=codes,
        omega_total=common / variance,
        omega_hierarchical=from_general / variance,
        omega_asymptotic=from_general / common if common > 0 else float("nan"),
        omega_group_total=read_only(of_group[0].copy()),
        omega_group_general=read_only(of_group[1].copy()),
        omega_group=read_only(of_group[2].copy()),
        group_of_item=read_only(groups.astype(np.int64)),
        ecv=float(squares_general.sum() / squares.sum()) if squares.sum() > 0 else float("nan"),
        ecv_item=read_only(np.where(squares > 0, squares_general / np.where(squares > 0, squares, 1.0), np.nan)),
        puc=(n_pairs - within) / n_pairs,
        construct_replicability=information / (1 + information),
        general_loadings=read_only(general.copy()),
        group_loadings=read_only(group.copy()),
        reversed_items=turned,
        converged=converged,
        notes=tuple(notes),
    )
