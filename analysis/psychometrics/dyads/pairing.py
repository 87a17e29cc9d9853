"""Pairing the two forms of each dyad by its key, and naming what does not pair."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from analysis.psychometrics.errors import AnalysisInputError
from analysis.psychometrics.response_matrix import FloatArray, IntArray, as_responses, listed, read_only

#: What the clinician's item asks for: the clinician's own view, or a guess at the patient's.
Perspective = Literal["self_report", "meta_perception"]

#: What agreement on such items is called.
READING_OF: dict[Perspective, str] = {"self_report": "self-other agreement", "meta_perception": "meta-accuracy"}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DyadPairs:
    """Rows of two tables that belong to the same dyad, in the order of the patients' table."""

    keys: tuple[str, ...]
    patient_rows: IntArray
    clinician_rows: IntArray
    only_patient: tuple[str, ...]  # dyads without a clinician's form
    only_clinician: tuple[str, ...]  # dyads without a patient's form
    notes: tuple[str, ...]


def pair_dyads(patient_keys: Sequence[object], clinician_keys: Sequence[object]) -> DyadPairs:
    """Match the patients' rows with the clinicians' rows by the dyad's key.

    Parameters
    ----------
    patient_keys, clinician_keys : sequences of str or int
        The dyad's key on each row of either table.

    Returns
    -------
    DyadPairs
        Dyads with one form only are named in the notes and left out of the pairs.

    Raises
    ------
    AnalysisInputError
        A dyad listed twice in one table, a missing key, an empty table, or no key in common.

    Examples
    --------
    >>> pairs = pair_dyads(["a", "b", "c"], ["c", "a", "d"])
    >>> pairs.keys, pairs.clinician_rows.tolist(), pairs.only_patient
    (('a', 'c'), [1, 0], ('b',))
    """
    patient = _keys(patient_keys, role="patient")
    clinician = _keys(clinician_keys, role="clinician")
    where = {key: row for row, key in enumerate(clinician)}
    pairs = [(key, row, where[key]) for row, key in enumerate(patient) if key in where]
    if not pairs:
        raise AnalysisInputError(
            f"pair_dyads requires dyads with a form of each role; none of {len(patient)} patient keys (first: "
            f"{patient[0]}) is among {len(clinician)} clinician keys (first: {clinician[0]}). Remedy: name the column "
            "that holds the dyad's key in both tables, written alike."
        )
    known = {key for key, _, _ in pairs}
    only_patient = tuple(key for key in patient if key not in known)
    only_clinician = tuple(key for key in clinician if key not in known)
    notes = [
        f"{len(alone)} dyad(s) without a {role}'s form left out: {listed(alone)}"
        for alone, role in ((only_patient, "clinician"), (only_clinician, "patient"))
        if alone
    ]
    return DyadPairs(
        keys=tuple(key for key, _, _ in pairs),
        patient_rows=read_only(np.array([row for _, row, _ in pairs], dtype=np.int64)),
        clinician_rows=read_only(np.array([row for _, _, row in pairs], dtype=np.int64)),
        only_patient=only_patient,
        only_clinician=only_clinician,
        notes=tuple(notes),
    )


def as_two_roles(
    patient: npt.ArrayLike, clinician: npt.ArrayLike, *, who: str, minimum_dyads: int = 3
) -> tuple[FloatArray, FloatArray]:
    """Return both roles' scores as matrices of one shape, or say what does not fit.

    A single column may be given as a one-dimensional array. A role without a single value is refused.
    """
    first, second = (
        as_responses(_as_columns(values), who=f"{who} ({role}'s scores)")
        for values, role in ((patient, "patient"), (clinician, "clinician"))
    )
    if first.shape != second.shape:
        raise AnalysisInputError(
            f"{who} requires the same dyads and columns of both roles; got {first.shape[0]} x {first.shape[1]} of "
            f"patients and {second.shape[0]} x {second.shape[1]} of clinicians. Remedy: pair the rows by the dyad's "
            "key and choose the same columns."
        )
    for values, role in ((first, "patient"), (second, "clinician")):
        if np.isnan(values).all():
            raise AnalysisInputError(
                f"{who} requires both roles; the {role}s' scores are all missing. Remedy: check that the {role}s' "
                "forms were imported and their columns named."
            )
    if len(first) < minimum_dyads:
        raise AnalysisInputError(
            f"{who} requires at least {minimum_dyads} dyads; got {len(first)}. Remedy: collect more pairs of forms."
        )
    return first, second


def reading_of(perspective: str | None) -> str:
    """Return what agreement on items of that perspective is called."""
    if perspective is None:
        return "agreement"
    if perspective == "self_report":
        return READING_OF["self_report"]
    if perspective == "meta_perception":
        return READING_OF["meta_perception"]
    raise AnalysisInputError(
        f"A clinician's perspective must be self_report or meta_perception; got {perspective!r}. Remedy: say whether "
        "the clinician's item reports the clinician's own view or guesses the patient's."
    )


def _as_columns(values: npt.ArrayLike) -> npt.ArrayLike:
    array = np.asarray(values)
    return array[:, None] if array.ndim == 1 else array


def _keys(keys: Sequence[object], *, role: str) -> list[str]:
    if len(keys) == 0:
        raise AnalysisInputError(f"pair_dyads requires rows; the {role}s' table has none. Remedy: collect forms.")
    texts = []
    for row, key in enumerate(keys):
        if key is None or key != key or not str(key).strip():
            raise AnalysisInputError(
                f"pair_dyads requires a dyad key on every row; row {row + 1} of the {role}s' table has none. "
                "Remedy: fill it in, or leave the row out."
            )
        whole = isinstance(key, float) and key.is_integer()
        texts.append(str(int(key)) if whole and isinstance(key, float) else str(key).strip())
    counts: dict[str, int] = {}
    for text in texts:
        counts[text] = counts.get(text, 0) + 1
    twice = [key for key, count in counts.items() if count > 1]
    if twice:
        raise AnalysisInputError(
            f"pair_dyads requires each dyad once a table; listed twice or more in the {role}s' table: "
            f"{listed(twice)}. Remedy: keep one form a dyad (one wave), or make the key name the wave too."
        )
    return texts
