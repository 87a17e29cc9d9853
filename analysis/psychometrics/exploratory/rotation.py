"""Rotation of factor loadings to simple structure: oblimin, promax, varimax, each as R computes it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from analysis.psychometrics.errors import AnalysisInputError
from analysis.psychometrics.response_matrix import FloatArray, read_only

Rotation = Literal["oblimin", "promax", "varimax", "none"]

#: Step halvings before a step of the gradient projection is taken as it is (GPArotation's number).
_HALVINGS = 11


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RotatedLoadings:
    """Rotated loadings (pattern) with the correlations between the factors, in the order of the columns given."""

    loadings: FloatArray  # (n_items, n_factors)
    phi: FloatArray  # (n_factors, n_factors)
    criterion: float  # what the rotation made small (oblimin) or large (varimax); NaN for promax and none
    converged: bool
    n_iterations: int


def rotate(loadings: npt.ArrayLike, *, rotation: Rotation) -> RotatedLoadings:
    """Rotate unrotated loadings by one of the four rotations, with the settings of `psych::fa`.

    Parameters
    ----------
    loadings : array-like, shape (n_items, n_factors)
        Loadings on uncorrelated factors.
    rotation : {'oblimin', 'promax', 'varimax', 'none'}
        Oblimin (quartimin) and promax let the factors correlate. One factor is not rotated.

    Returns
    -------
    RotatedLoadings
        Columns stay in their places; signs may change.

    Raises
    ------
    AnalysisInputError
        An unknown rotation, or something that is no matrix of finite loadings.

    Notes
    -----
    See `oblimin`, `promax` and `varimax`. R: `psych::fa(x, 3, rotate = "oblimin")`, `"promax"`, `"varimax"`, `"none"`.

    Examples
    --------
    >>> import numpy as np
    >>> unrotated = np.array([[0.7, -0.3], [0.6, -0.3], [0.6, 0.4], [0.5, 0.4]])
    >>> rotate(unrotated, rotation="varimax").loadings.round(2)
    array([[0.73, 0.2 ],
           [0.66, 0.14],
           [0.22, 0.69],
           [0.14, 0.62]])
    """
    if rotation not in get_args(Rotation):
        raise AnalysisInputError(
            f"rotate requires rotation 'oblimin', 'promax', 'varimax' or 'none'; got {rotation!r}. "
            "Remedy: use 'oblimin' unless there is a reason against correlated factors."
        )
    pattern = _as_loadings(loadings, who="rotate")
    if rotation == "none" or pattern.shape[1] == 1:
        return _unrotated(pattern)
    if rotation == "oblimin":
        return oblimin(pattern)
    return promax(pattern) if rotation == "promax" else varimax(pattern)


def varimax(
    loadings: npt.ArrayLike, *, normalize: bool = True, tolerance: float = 1e-5, max_iterations: int = 1000
) -> RotatedLoadings:
    """Rotate orthogonally so that each factor's squared loadings vary as much as they can.

    Parameters
    ----------
    loadings : array-like, shape (n_items, n_factors)
        Loadings on uncorrelated factors.
    normalize : bool
        Kaiser's normalisation: items count alike, whatever their communality.
    tolerance : float
        Stop when the criterion grows by a smaller share.
    max_iterations : int
        The most steps.

    Raises
    ------
    AnalysisInputError
        Something that is no matrix of finite loadings.

    Notes
    -----
    Kaiser (1958), Psychometrika 23:187; by singular value decompositions as R's `stats::varimax`, whose default
    tolerance this keeps: it stops early, now and then in the third decimal of a loading. Tighten it for the maximum.

    Examples
    --------
    >>> import numpy as np
    >>> bool(np.allclose(varimax(np.eye(4)[:, :2]).loadings, np.eye(4)[:, :2]))
    True
    """
    pattern = _as_loadings(loadings, who="varimax")
    n_items, n_factors = pattern.shape
    if n_factors == 1:
        return _unrotated(pattern)
    size = _row_lengths(pattern) if normalize else np.ones(n_items)
    rows = pattern / size[:, None]
    turn = np.eye(n_factors)
    criterion, converged, steps = 0.0, False, 0
    while not converged and steps < max_iterations:
        steps += 1
        rotated = rows @ turn
        gradient = rows.T @ (rotated**3 - rotated * (np.sum(rotated**2, axis=0) / n_items))
        left, singular, right = np.linalg.svd(gradient)
        turn = left @ right
        before, criterion = criterion, float(singular.sum())
        converged = criterion < before * (1 + tolerance) or criterion == 0.0
    return RotatedLoadings(
        loadings=read_only(pattern @ turn),
        phi=read_only(np.eye(n_factors)),
        criterion=criterion,
        converged=converged,
        n_iterations=steps,
    )


def promax(loadings: npt.ArrayLike, *, power: float = 4, normalize: bool = True) -> RotatedLoadings:
    """Rotate varimax loadings obliquely towards a power of themselves, so that small loadings come near to zero.

    Parameters
    ----------
    loadings : array-like, shape (n_items, n_factors)
        Loadings on uncorrelated factors.
    power : float
        The power of the target; 4 is R's.
    normalize : bool
        Fit the target to rows of length one, as `psych::fa(rotate = "promax")` and SPSS do. Without, as
        `stats::promax` and `psych::fa(rotate = "Promax")` do. The two differ in the second decimal.

    Raises
    ------
    AnalysisInputError
        Something that is no matrix of finite loadings.

    Notes
    -----
    Hendrickson & White (1964), Br J Stat Psychol 17:65. With V the varimax loadings and Q = V·|V|^(power − 1) the
    transformation is U = (V'V)⁻¹V'Q with columns scaled to give the factors unit variance; Φ = (U'U)⁻¹.

    Examples
    --------
    >>> import numpy as np
    >>> unrotated = np.array([[0.7, -0.3], [0.6, -0.3], [0.6, 0.4], [0.5, 0.4]])
    >>> promax(unrotated).phi.round(2)
    array([[1.  , 0.48],
           [0.48, 1.  ]])
    """
    pattern = _as_loadings(loadings, who="promax")
    n_items, n_factors = pattern.shape
    if n_factors == 1:
        return _unrotated(pattern)
    size = _row_lengths(pattern) if normalize else np.ones(n_items)
    start = varimax(pattern / size[:, None])
    target = start.loadings * np.abs(start.loadings) ** (power - 1)
    transform, *_ = np.linalg.lstsq(start.loadings, target, rcond=None)
    # A factor without loadings would leave a singular matrix; its own direction keeps it a factor.
    moments = transform.T @ transform + 1e-14 * np.eye(n_factors)
    transform = transform * np.sqrt(np.diag(np.linalg.inv(moments)))
    inverse = np.linalg.inv(transform)
    return RotatedLoadings(
        loadings=read_only((start.loadings @ transform) * size[:, None]),
        phi=read_only(_unit_diagonal(inverse @ inverse.T)),
        criterion=float("nan"),
        converged=start.converged,
        n_iterations=start.n_iterations,
    )


def oblimin(
    loadings: npt.ArrayLike,
    *,
    gamma: float = 0.0,
    normalize: bool = False,
    tolerance: float = 1e-5,
    max_iterations: int = 1000,
    n_starts: int = 1,
    rng: np.random.Generator | None = None,
) -> RotatedLoadings:
    """Rotate obliquely by direct oblimin: small products of squared loadings across factors.

    Parameters
    ----------
    loadings : array-like, shape (n_items, n_factors)
        Loadings on uncorrelated factors.
    gamma : float
        0 is direct quartimin, the customary choice.
    normalize : bool
        Kaiser's normalisation; off in `psych::fa` and GPArotation.
    tolerance : float
        Stop when the projected gradient is shorter.
    max_iterations : int
        The most steps.
    n_starts : int
        Starts: the first is the position given (as in R), the others are random; the smallest criterion wins.
        Worth its time when many items load on several factors.
    rng : numpy.random.Generator, optional
        Required for more than one start.

    Raises
    ------
    AnalysisInputError
        Something that is no matrix of finite loadings, or random starts without `rng`.

    Notes
    -----
    Jennrich (2002), Psychometrika 67:7, the gradient projection algorithm as in R's `GPArotation::oblimin`: same start,
    steps and tolerance, so the same figures to about 1e-6. f = Σ_{j≠k} Σ_i λ²_ij λ²_ik / 4 for gamma 0.

    Examples
    --------
    >>> import numpy as np
    >>> unrotated = np.array([[0.7, -0.3], [0.6, -0.3], [0.6, 0.4], [0.5, 0.4]])
    >>> oblimin(unrotated).loadings.round(2)
    array([[ 0.75,  0.02],
           [ 0.68, -0.03],
           [ 0.03,  0.71],
           [-0.04,  0.66]])
    """
    pattern = _as_loadings(loadings, who="oblimin")
    n_items, n_factors = pattern.shape
    if n_factors == 1:
        return _unrotated(pattern)
    if n_starts > 1 and rng is None:
        raise AnalysisInputError(
            f"oblimin requires rng for {n_starts} starts; got none. Remedy: pass numpy.random.default_rng(seed)."
        )
    size = _row_lengths(pattern) if normalize else np.ones(n_items)
    rows = pattern / size[:, None]
    others = 1.0 - np.eye(n_factors)

    def quality(rotated: FloatArray) -> tuple[float, FloatArray]:
        squares = rotated**2
        crossed = squares @ others
        if gamma != 0:
            crossed = crossed - gamma * crossed.mean(axis=0)
        return float(np.sum(squares * crossed) / 4), rotated * crossed

    best = _project_gradient(rows, np.eye(n_factors), quality, tolerance, max_iterations)
    for _ in range(n_starts - 1):
        assert rng is not None  # checked above; for the type checker
        start = np.linalg.qr(rng.standard_normal((n_factors, n_factors)))[0]
        found = _project_gradient(rows, start, quality, tolerance, max_iterations)
        # Rounding decides between two equal minima: the start of R keeps its place.
        if found.criterion < best.criterion - 1e-8 * max(best.criterion, 1.0):
            best = found
    return RotatedLoadings(
        loadings=read_only(best.loadings * size[:, None]),
        phi=best.phi,
        criterion=best.criterion,
        converged=best.converged,
        n_iterations=best.n_iterations,
    )


def sign_and_sort(loadings: FloatArray, phi: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Turn factors so that their loadings sum above zero, and put the one that explains most first; phi goes along.

    Notes
    -----
    As `psych::fa`: factors are ordered by diag(Φ Λ'Λ).
    """
    signs = np.where(loadings.sum(axis=0) < 0, -1.0, 1.0)
    pattern, correlations = loadings * signs, phi * np.outer(signs, signs)
    explained = np.diag(correlations @ pattern.T @ pattern)
    order = np.argsort(-explained, kind="stable")
    return pattern[:, order].copy(), correlations[np.ix_(order, order)].copy()


def _project_gradient(
    rows: FloatArray,
    start: FloatArray,
    quality: Callable[[FloatArray], tuple[float, FloatArray]],
    tolerance: float,
    max_iterations: int,
) -> RotatedLoadings:
    """Search the oblique rotation (columns of length one) with the smallest criterion, from one start."""
    turn, step = start, 1.0
    inverse = np.linalg.inv(turn)
    rotated = rows @ inverse.T
    criterion, slope = quality(rotated)
    gradient = -(rotated.T @ slope @ inverse).T
    converged, steps = False, 0
    while steps <= max_iterations:
        projected = gradient - turn * np.sum(turn * gradient, axis=0)
        length = float(np.sqrt(np.sum(projected**2)))
        if length < tolerance:
            converged = True
            break
        steps += 1
        step *= 2
        for _ in range(_HALVINGS):
            moved = turn - step * projected
            moved = moved / np.sqrt(np.sum(moved**2, axis=0))
            inverse = np.linalg.inv(moved)
            rotated = rows @ inverse.T
            tried, slope = quality(rotated)
            if criterion - tried > 0.5 * length**2 * step:
                break
            step /= 2
        turn, criterion = moved, tried
        gradient = -(rotated.T @ slope @ inverse).T
    return RotatedLoadings(
        loadings=read_only(rotated),
        phi=read_only(_unit_diagonal(turn.T @ turn)),
        criterion=criterion,
        converged=converged,
        n_iterations=steps,
    )


def _unrotated(pattern: FloatArray) -> RotatedLoadings:
    return RotatedLoadings(
        loadings=read_only(pattern.copy()),
        phi=read_only(np.eye(pattern.shape[1])),
        criterion=float("nan"),
        converged=True,
        n_iterations=0,
    )


def _as_loadings(loadings: npt.ArrayLike, *, who: str) -> FloatArray:
    pattern = np.asarray(loadings, dtype=np.float64)
    if pattern.ndim != 2 or pattern.size == 0 or not np.isfinite(pattern).all():
        raise AnalysisInputError(
            f"{who} requires a matrix of finite loadings (rows items, columns factors); got shape {pattern.shape}"
            f"{' with NaN or infinite entries' if pattern.ndim == 2 and pattern.size else ''}. "
            "Remedy: pass the loadings of an extraction that worked."
        )
    if pattern.shape[1] > pattern.shape[0]:
        raise AnalysisInputError(
            f"{who} requires at least as many items as factors; got {pattern.shape[0]} and {pattern.shape[1]}. "
            "Remedy: pass items as rows and factors as columns."
        )
    return pattern


def _row_lengths(pattern: FloatArray) -> FloatArray:
    """Square roots of the communalities; 1 for an item without any, which no normalisation can help."""
    lengths = np.sqrt(np.sum(pattern**2, axis=1))
    return np.where(lengths > 1e-12, lengths, 1.0)


def _unit_diagonal(phi: FloatArray) -> FloatArray:
    """Take rounding off a correlation matrix."""
    symmetric = (phi + phi.T) / 2
    np.fill_diagonal(symmetric, 1.0)
    return symmetric
