"""From stored answers to labelled matrices: the one door through which statistics get their data."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from instruments.definitions import Absence, Instrument, Role
from instruments.models import Administration
from studies.models import Study, Wave

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FormMatrix:
    """The finished forms of one role: rows are respondents, columns are items as answered, missing is NaN."""

    role: Role
    item_codes: tuple[str, ...]
    values: Floats  # (n_forms, n_items), read-only
    missing_by_reason: Mapping[str, Mapping[str, int]]  # item -> reason -> count
    scores: Mapping[str, Floats]  # score id -> (n_forms,), NaN where there is no score
    visit_ids: tuple[int, ...]


def baseline_wave(study: Study) -> Wave | None:
    """The wave that first looks are taken at: repeated askings of one dyad are not independent."""
    return study.waves.filter(is_follow_up=False).first()


def form_matrix(
    *, study: Study, wave: Wave, form: str, role: Role, instrument: Instrument, exclude_flagged: bool
) -> FormMatrix:
    """The answers of one role on one form at one wave, in the order of the visits.

    Parameters
    ----------
    study, wave, form, role : whose answers.
    instrument : the version in use; forms of other versions are left out.
    exclude_flagged : leave out forms with a quality flag.
    """
    codes = instrument.forms[form].order
    administrations = (
        Administration.objects.filter(
            visit__dyad__study=study,
            visit__wave=wave,
            form=form,
            role=role,
            status=Administration.Status.COMPLETED,
            instrument_version__content_hash=instrument.content_hash,
        )
        .order_by("visit_id")
        .values_list("visit_id", "answers", f"visit__score__{role.value}")
    )
    rows: list[list[float]] = []
    visit_ids: list[int] = []
    records = []
    missing: dict[str, Counter[str]] = {code: Counter() for code in codes}
    for visit_id, answers, record in administrations:
        if exclude_flagged and record is not None and record["flags"]:
            continue
        given = [answers.get(code, Absence.NOT_REACHED.value) for code in codes]
        for code, answer in zip(codes, given, strict=True):
            if isinstance(answer, str):
                missing[code][answer] += 1
        rows.append([np.nan if isinstance(answer, str) else float(answer) for answer in given])
        visit_ids.append(visit_id)
        records.append(record)
    values = np.array(rows, dtype=np.float64).reshape(len(rows), len(codes))
    values.setflags(write=False)
    score_ids = [*instrument.components, *instrument.domains]
    return FormMatrix(
        role=role,
        item_codes=codes,
        values=values,
        missing_by_reason={code: dict(counts) for code, counts in missing.items()},
        scores={score: _score_column(score, records) for score in score_ids},
        visit_ids=tuple(visit_ids),
    )


def _score_column(score: str, records: Iterable[Mapping[str, Mapping[str, float | None]] | None]) -> Floats:
    values = [None if record is None else record["values"].get(score) for record in records]
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)


def digest(matrices: Iterable[FormMatrix]) -> str:
    """SHA-256 (hex) of exactly the data that an analysis saw: roles, items, visits and answers."""
    hasher = hashlib.sha256()
    for matrix in matrices:
        hasher.update(f"{matrix.role}|{','.join(matrix.item_codes)}|{matrix.values.shape}|".encode())
        hasher.update(np.array(matrix.visit_ids, dtype="<i8").tobytes())
        hasher.update(np.nan_to_num(matrix.values, nan=-1.0).astype("<f8").tobytes())
    return hasher.hexdigest()
