"""Whether factors that are meant to differ do: the heterotrait–monotrait ratio of correlations (HTMT)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from analysis.psychometrics.errors import AnalysisInputError
from analysis.psychometrics.response_matrix import FloatArray, as_item_codes, read_only


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HeterotraitMonotrait:
    """HTMT of every pair of scales. Strict bound .85, lenient .90 (Henseler, Ringle & Sarstedt 2015)."""

    scales: tuple[str, ...]
    htmt: FloatArray  # (n_scales, n_scales), 1 on the diagonal
    geometric: bool
    notes: tuple[str, ...]


def heterotrait_monotrait(
    correlation: npt.ArrayLike,
    *,
    item_codes: Sequence[str],
    scales: Mapping[str, Sequence[str]],
    geometric: bool = False,
) -> HeterotraitMonotrait:
    """Compute how strongly items of two scales correlate, relative to the items within each.

    Parameters
    ----------
    correlation : array-like, shape (n_items, n_items)
        Correlations of the items (Pearson or polychoric), reversed items turned round.
    item_codes : sequence of str
        Names of rows and columns.
    scales : mapping of scale to item codes
        Two items or more each.
    geometric : bool
        Geometric instead of arithmetic means (HTMT2), which drops the assumption of equal loadings.

    Returns
    -------
    HeterotraitMonotrait
        Of absolute correlations, as semTools does. A scale of one item has NaN with a note.

    Raises
    ------
    AnalysisInputError
        An item that is not in the matrix, fewer than two scales, or not a correlation matrix.

    Notes
    -----
    HTMT_ij = mean|r between i and j| / √(mean|r within i| · mean|r within j|), Henseler, Ringle & Sarstedt (2015),
    J Acad Mark Sci 43:115; HTMT2 by Roemer, Schuberth & Henseler (2021). R: `semTools::htmt(model, sample.cov = R,
    htmt2 = FALSE)`.

    Examples
    --------
    >>> import numpy as np
    >>> r = np.array([[1, 0.6, 0.3, 0.3], [0.6, 1, 0.3, 0.3], [0.3, 0.3, 1, 0.6], [0.3, 0.3, 0.6, 1]])
    >>> result = heterotrait_monotrait(r, item_codes=list("abcd"), scales={"x": ["a", "b"], "y": ["c", "d"]})
    >>> round(float(result.htmt[0, 1]), 3)
    0.5
    """
    matrix = np.asarray(correlation, dtype=np.float64)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not np.allclose(np.diag(matrix), 1.0, atol=1e-8):
        raise AnalysisInputError(
            f"heterotrait_monotrait requires a correlation matrix with ones on the diagonal; got shape {matrix.shape}. "
            "Remedy: pass correlations, not covariances."
        )
    codes = as_item_codes(item_codes, len(matrix), who="heterotrait_monotrait")
    unknown = sorted({item for members in scales.values() for item in members} - set(codes))
    if unknown or len(scales) < 2:
        raise AnalysisInputError(
            f"heterotrait_monotrait requires two scales or more, made of items of the matrix; got {len(scales)} scales"
            f"{' and unknown items: ' + ', '.join(unknown) if unknown else ''}. Remedy: mend the scales."
        )
    place = {code: position for position, code in enumerate(codes)}
    members = [np.array([place[item] for item in items], dtype=np.intp) for items in scales.values()]
    size = np.abs(matrix)
    means = np.array(
        [[_mean_of_block(size, rows, columns, geometric=geometric) for columns in members] for rows in members]
    )
    within = np.diag(means)
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = means / np.sqrt(np.outer(within, within))
    np.fill_diagonal(ratio, 1.0)
    single = [name for name, rows in zip(scales, members, strict=True) if len(rows) < 2]
    for name in single:
        position = list(scales).index(name)
        ratio[position, :] = ratio[:, position] = np.nan
    notes = (f"undefined for scales of one item: {', '.join(single)}",) if single else ()
    return HeterotraitMonotrait(scales=tuple(scales), htmt=read_only(ratio), geometric=geometric, notes=notes)


def _mean_of_block(
    size: FloatArray, rows: npt.NDArray[np.intp], columns: npt.NDArray[np.intp], *, geometric: bool
) -> float:
    block = size[np.ix_(rows, columns)]
    values = block[np.triu_indices(len(rows), k=1)] if rows is columns else block.ravel()
    if not len(values):
        return float("nan")
    if geometric:
        return float(np.exp(np.mean(np.log(np.maximum(values, np.finfo(np.float64).tiny)))))
    return float(values.mean())
