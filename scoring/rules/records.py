"""Scores as plain dictionaries for storage as JSON: from the one-by-one results, or straight from a batch.

Both ways give equal records. Numbers stay unrounded; a missing number is null and has its reason beside it.

A form: `{"form", "rules", "values": {score: number | null}, "reasons": {score: reason, where there is no value},
"thin": [score], "flags": [flag], "n_answered", "n_does_not_apply", "n_unanswered"}`.

A dyad: `{"rules", "eligible", "ineligible": [reason], "notes": [note], "patient": form | null,
"clinician": form | null, "gaps": {"values", "reasons", "thin", "reliable": {score: bool, where there is a
verdict}}, "profile": {"n_components", "reason", "d_squared", "elevation", "scatter", "shape", "correlation",
"double_entry_icc"}}`. A gap without a verdict and without a reason of its own had no reference.
"""

from typing import Any

import numpy as np

from scoring.rules.batch import PROFILE_FIELDS, Bools, DyadScoringBatch, Floats, FormScoreBatch, ReasonCodes
from scoring.rules.dyad import DyadScoring, Gap, Profile
from scoring.rules.form import FormScore
from scoring.rules.reasons import FLAGS, INELIGIBILITIES, REASON_BY_CODE, Note

Record = dict[str, Any]


def form_record(score: FormScore) -> Record:
    """One form's scores as a JSON-able dictionary."""
    return {
        "form": score.form,
        "rules": score.rules_version,
        "values": {name: one.value for name, one in score.scores.items()},
        "reasons": {name: one.reason.value for name, one in score.scores.items() if one.reason is not None},
        "thin": [name for name, one in score.scores.items() if one.thin],
        "flags": [flag.value for flag in score.flags],
        "n_answered": score.n_answered,
        "n_does_not_apply": score.n_does_not_apply,
        "n_unanswered": score.n_unanswered,
    }


def dyad_record(scoring: DyadScoring) -> Record:
    """One dyad's results as a JSON-able dictionary."""
    return {
        "rules": scoring.rules_version,
        "eligible": scoring.eligible,
        "ineligible": [why.value for why in scoring.ineligible],
        "notes": [note.value for note in scoring.notes],
        "patient": None if scoring.patient is None else form_record(scoring.patient),
        "clinician": None if scoring.clinician is None else form_record(scoring.clinician),
        "gaps": _gaps_record(dict(scoring.gaps)),
        "profile": _profile_record(scoring.profile),
    }


def form_records(batch: FormScoreBatch) -> list[Record | None]:
    """Every row's `form_record`, None where the row has no form. Linear in the rows."""
    score_ids = batch.layout.score_ids
    values, reasons = _values_and_reasons(score_ids, batch.values, batch.reasons)
    thin = _listed(score_ids, batch.thin)
    flags = _listed([flag.value for flag in FLAGS], batch.flags)
    counts = zip(
        batch.form_n_answered.tolist(),
        batch.form_n_does_not_apply.tolist(),
        batch.form_n_unanswered.tolist(),
        strict=True,
    )
    return [
        {
            "form": batch.layout.form,
            "rules": batch.layout.rules.version,
            "values": row_values,
            "reasons": row_reasons,
            "thin": row_thin,
            "flags": row_flags,
            "n_answered": n_answered,
            "n_does_not_apply": n_does_not_apply,
            "n_unanswered": n_unanswered,
        }
        if present
        else None
        for present, row_values, row_reasons, row_thin, row_flags, (n_answered, n_does_not_apply, n_unanswered) in zip(
            batch.present.tolist(), values, reasons, thin, flags, counts, strict=True
        )
    ]


def dyad_records(batch: DyadScoringBatch) -> list[Record]:
    """Every row's `dyad_record`. Linear in the rows."""
    gap_values, gap_reasons = _values_and_reasons(batch.layout.score_ids, batch.gaps.values, batch.gaps.reasons)
    gap_thin = _listed(batch.layout.score_ids, batch.gaps.thin)
    ineligible = _listed([why.value for why in INELIGIBILITIES], batch.ineligible)
    unknown = batch.acquaintance_unknown.tolist()
    return [
        {
            "rules": batch.layout.rules.version,
            "eligible": not row_ineligible,
            "ineligible": row_ineligible,
            "notes": [Note.ACQUAINTANCE_UNKNOWN.value] if row_unknown else [],
            "patient": patient,
            "clinician": clinician,
            "gaps": {"values": values, "reasons": reasons, "thin": thin, "reliable": reliable},
            "profile": profile,
        }
        for row_ineligible, row_unknown, patient, clinician, values, reasons, thin, reliable, profile in zip(
            ineligible,
            unknown,
            form_records(batch.patient),
            form_records(batch.clinician),
            gap_values,
            gap_reasons,
            gap_thin,
            _verdicts(batch),
            _profile_records(batch),
            strict=True,
        )
    ]


def _gaps_record(gaps: dict[str, Gap]) -> Record:
    return {
        "values": {name: gap.value for name, gap in gaps.items()},
        "reasons": {name: gap.reason.value for name, gap in gaps.items() if gap.reason is not None},
        "thin": [name for name, gap in gaps.items() if gap.thin],
        "reliable": {name: gap.reliable for name, gap in gaps.items() if gap.reliable is not None},
    }


def _profile_record(profile: Profile) -> Record:
    return {
        "n_components": profile.n_components,
        "reason": None if profile.reason is None else profile.reason.value,
        "d_squared": profile.d_squared,
        "elevation": profile.elevation,
        "scatter": profile.scatter,
        "shape": profile.shape,
        "correlation": profile.correlation,
        "double_entry_icc": profile.double_entry_icc,
    }


def _profile_records(batch: DyadScoringBatch) -> list[Record]:
    names = _reason_names()
    records: list[Record] = [
        {"n_components": n_components, "reason": names[reason], **dict(zip(PROFILE_FIELDS, numbers, strict=True))}
        for n_components, reason, numbers in zip(
            batch.profile.n_components.tolist(),
            batch.profile.reasons.tolist(),
            batch.profile.values.tolist(),
            strict=True,
        )
    ]
    for row, column in np.argwhere(np.isnan(batch.profile.values)).tolist():
        records[row][PROFILE_FIELDS[column]] = None
    return records


def _values_and_reasons(
    score_ids: tuple[str, ...], values: Floats, reasons: ReasonCodes
) -> tuple[list[dict[str, float | None]], list[dict[str, str]]]:
    """Per row, the values by score and the reasons of those without. Only the missing cells are visited one by one."""
    row_values: list[dict[str, float | None]] = [dict(zip(score_ids, row, strict=True)) for row in values.tolist()]
    row_reasons: list[dict[str, str]] = [{} for _ in row_values]
    names = _reason_names()
    rows, columns = np.nonzero(reasons)
    for row, column, code in zip(rows.tolist(), columns.tolist(), reasons[rows, columns].tolist(), strict=True):
        score = score_ids[column]
        row_values[row][score] = None
        row_reasons[row][score] = names[code] or ""
    return row_values, row_reasons


def _reason_names() -> list[str | None]:
    # The text, not the enum member: that is what comes back from storage.
    return [None if reason is None else reason.value for reason in REASON_BY_CODE]


def _listed(names: tuple[str, ...] | list[str], holds: Bools) -> list[list[str]]:
    """Per row, the names of the columns that hold."""
    listed: list[list[str]] = [[] for _ in range(len(holds))]
    for row, column in np.argwhere(holds).tolist():
        listed[row].append(names[column])
    return listed


def _verdicts(batch: DyadScoringBatch) -> list[dict[str, bool]]:
    """Per row, whether the gap is reliable, for the scores with a verdict."""
    verdicts: list[dict[str, bool]] = [{} for _ in range(len(batch))]
    reliable = batch.gaps.reliable
    rows, columns = np.nonzero(reliable >= 0)
    for row, column, verdict in zip(rows.tolist(), columns.tolist(), reliable[rows, columns].tolist(), strict=True):
        verdicts[row][batch.layout.score_ids[column]] = verdict == 1
    return verdicts
