"""Indices of symmetric matrices and the inverse of a positive definite one."""

import numpy as np
import numpy.typing as npt
from scipy.linalg import cho_factor, cho_solve

from analysis.psychometrics.response_matrix import FloatArray

IndexArray = npt.NDArray[np.intp]


def vech_indices(size: int, *, diagonal: bool = True) -> tuple[IndexArray, IndexArray]:
    """Return rows and columns of the lower triangle, column by column (lavaan's `vech`)."""
    columns, rows = np.triu_indices(size, k=0 if diagonal else 1)
    return rows, columns


def inverse_and_logdet(matrix: FloatArray) -> tuple[FloatArray, float] | None:
    """Invert a positive definite matrix; None when it is not."""
    try:
        factor = cho_factor(matrix, lower=True, check_finite=False)
    except np.linalg.LinAlgError:
        return None
    diagonal = np.diag(factor[0])
    inverse: FloatArray = cho_solve(factor, np.eye(len(matrix)), check_finite=False)
    return (inverse + inverse.T) / 2, 2.0 * float(np.log(diagonal).sum())
