"""Clinicians are the independent units: grouping rows by them, and what so many of them allow to be said.

Patients of one clinician resemble one another, so evidence about clinicians, and the precision of anything that varies
with them, grows with the number of clinicians and hardly with the number of patients.
"""

from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from analysis.psychometrics.errors import AnalysisInputError
from analysis.psychometrics.response_matrix import IntArray, read_only

#: Below this number of clinicians nothing is inferred, only described.
MINIMUM_FOR_INFERENCE: Final = 10
#: From here on whole clinicians can be resampled; below, slopes take CR2 with Satterthwaite or the wild bootstrap.
MINIMUM_FOR_BOOTSTRAP: Final = 20
#: From here on a model of differences between clinicians can be fitted by maximum likelihood.
MINIMUM_FOR_BETWEEN_MODEL: Final = 50
#: From here on factors between clinicians can be told apart.
MINIMUM_FOR_BETWEEN_FACTORS: Final = 100
#: From here on generalised reciprocity counts as estimable.
MINIMUM_FOR_GENERALISED_RECIPROCITY: Final = 60

Tier = Literal["describe only", "10 to 19", "20 to 49", "50 or more"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClinicianRules:
    """What a number of clinicians allows; every function that infers across clinicians asks here.

    `inference` : intervals and tests at all (10 or more). `cluster_bootstrap` : resampling whole clinicians (20 or
    more). `wild_bootstrap` : the wild cluster bootstrap is the method for slopes (10 to 19). `between_model` : a
    maximum likelihood model of differences between clinicians (50 or more). `between_factors` : factors between
    clinicians (100 or more). `generalised_reciprocity` : 60 or more. `notes` : what a reader has to be told.
    """

    n_clinicians: int
    tier: Tier
    inference: bool
    cluster_bootstrap: bool
    wild_bootstrap: bool
    between_model: bool
    between_factors: bool
    generalised_reciprocity: bool
    notes: tuple[str, ...]


def rules_for(n_clinicians: int) -> ClinicianRules:
    """Return what so many clinicians allow to be inferred.

    Parameters
    ----------
    n_clinicians : int
        Clinicians in the rows used, after deletion.

    Returns
    -------
    ClinicianRules

    Raises
    ------
    AnalysisInputError
        A negative number.

    Notes
    -----
    Below 10 clinicians describe only. 10 to 19: variances by REML with a note at the boundary, slopes with CR2 and
    Satterthwaite degrees of freedom or the wild cluster bootstrap, no model between clinicians. 20 to 49: REML, CR2,
    cluster bootstrap. 50 or more: two-level maximum likelihood; factors between clinicians from 100. McNeish and
    Stapleton (2016, Educ Psychol Rev 28:295); Cameron, Gelbach and Miller (2008, Rev Econ Stat 90:414); Pustejovsky and
    Tipton (2018, J Bus Econ Stat 36:672).

    Examples
    --------
    >>> rules_for(14).tier, rules_for(14).wild_bootstrap, rules_for(14).cluster_bootstrap
    ('10 to 19', True, False)
    >>> rules_for(8).inference
    False
    """
    if n_clinicians < 0:
        raise AnalysisInputError(
            f"rules_for requires a number of clinicians; got {n_clinicians}. Remedy: count the clinicians in the rows."
        )
    notes: tuple[str, ...] = ()
    if n_clinicians < MINIMUM_FOR_INFERENCE:
        tier: Tier = "describe only"
        notes = (
            f"only {n_clinicians} clinician(s): described, without intervals and tests (these need "
            f"{MINIMUM_FOR_INFERENCE} clinicians or more)",
        )
    elif n_clinicians < MINIMUM_FOR_BOOTSTRAP:
        tier = "10 to 19"
        notes = (
            f"{n_clinicians} clinicians: slopes rest on CR2 errors with Satterthwaite degrees of freedom or the wild "
            f"cluster bootstrap; resampling clinicians needs {MINIMUM_FOR_BOOTSTRAP}, a model between clinicians "
            f"{MINIMUM_FOR_BETWEEN_MODEL}",
        )
    elif n_clinicians < MINIMUM_FOR_BETWEEN_MODEL:
        tier = "20 to 49"
        notes = (
            f"{n_clinicians} clinicians: a model of differences between clinicians needs {MINIMUM_FOR_BETWEEN_MODEL}",
        )
    else:
        tier = "50 or more"
    return ClinicianRules(
        n_clinicians=n_clinicians,
        tier=tier,
        inference=n_clinicians >= MINIMUM_FOR_INFERENCE,
        cluster_bootstrap=n_clinicians >= MINIMUM_FOR_BOOTSTRAP,
        wild_bootstrap=MINIMUM_FOR_INFERENCE <= n_clinicians < MINIMUM_FOR_BOOTSTRAP,
        between_model=n_clinicians >= MINIMUM_FOR_BETWEEN_MODEL,
        between_factors=n_clinicians >= MINIMUM_FOR_BETWEEN_FACTORS,
        generalised_reciprocity=n_clinicians >= MINIMUM_FOR_GENERALISED_RECIPROCITY,
        notes=notes,
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ClinicianGroups:
    """Rows grouped by clinician, clinicians in the sorted order of their keys.

    `order` sorts the rows by clinician (stable); the rows of clinician g are `order[starts[g]:starts[g] + sizes[g]]`.
    """

    labels: tuple[str, ...]  # (n_clinicians,)
    codes: IntArray  # (n_rows,): 0 … n_clinicians − 1
    sizes: IntArray  # (n_clinicians,): rows of each
    order: IntArray  # (n_rows,)
    starts: IntArray  # (n_clinicians,)

    @property
    def n_clinicians(self) -> int:
        return len(self.labels)

    @property
    def n_with_one_patient(self) -> int:
        """Clinicians with a single row: they say nothing about differences among their patients."""
        return int((self.sizes == 1).sum())


def group_by_clinician(keys: npt.ArrayLike, *, who: str, n_rows: int | None = None) -> ClinicianGroups:
    """Group rows by the clinician's key, or say what is wrong with the keys.

    Parameters
    ----------
    keys : array-like, shape (n_rows,)
        One key per row: text or whole numbers. NaN, None and empty text count as missing.
    who : str
        The function that asks, for the message.
    n_rows : int, optional
        The number of rows that the keys belong to.

    Raises
    ------
    AnalysisInputError
        Not one key per row, no rows, or a missing key.

    Examples
    --------
    >>> group_by_clinician(["b", "a", "b"], who="example").sizes.tolist()
    [1, 2]
    """
    array = np.asarray(keys)
    if array.ndim != 1:
        raise AnalysisInputError(
            f"{who} requires one clinician key per row; got an array of {array.ndim} dimensions. "
            "Remedy: pass the single column that holds the clinician's code."
        )
    if n_rows is not None and len(array) != n_rows:
        raise AnalysisInputError(
            f"{who} requires one clinician key per row; got {len(array)} keys for {n_rows} rows. "
            "Remedy: take keys and scores from the same table."
        )
    if len(array) == 0:
        raise AnalysisInputError(f"{who} requires rows; got none. Remedy: collect forms or widen the selection.")
    missing = _missing_keys(array)
    if missing.any():
        raise AnalysisInputError(
            f"{who} requires a clinician key on every row; {int(missing.sum())} row(s) have none, the first is row "
            f"{int(np.flatnonzero(missing)[0]) + 1}. Remedy: fill the key in, or leave these rows out."
        )
    if array.dtype == object:
        array = np.array([str(key) for key in array.tolist()])
    values, codes = np.unique(array, return_inverse=True)
    codes = np.asarray(codes, dtype=np.int64).reshape(-1)
    sizes = np.bincount(codes, minlength=len(values)).astype(np.int64)
    return ClinicianGroups(
        labels=tuple(_label(value) for value in values.tolist()),
        codes=read_only(codes),
        sizes=read_only(sizes),
        order=read_only(np.argsort(codes, kind="stable").astype(np.int64)),
        starts=read_only(np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(sizes)[:-1]])),
    )


def _missing_keys(array: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    if array.dtype.kind in "iub":
        return np.zeros(len(array), dtype=np.bool_)
    if array.dtype.kind == "f":
        return np.asarray(np.isnan(array), dtype=np.bool_)
    if array.dtype.kind == "U":
        return np.asarray(np.char.str_len(np.char.strip(array)) == 0, dtype=np.bool_)
    return np.array([_is_missing(key) for key in array.tolist()])


def _is_missing(key: object) -> bool:
    return key is None or key != key or (isinstance(key, str) and not key.strip())


def _label(value: object) -> str:
    """Return a key as text; a whole number read as a float loses its '.0'."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
