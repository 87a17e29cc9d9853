"""The scored dyads as a file: one row each, columns named by stable codes, and the codebook that explains them."""

import csv
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from django.utils.crypto import salted_hmac

from analysis.plans import newest_plan, plan_in_words
from instruments.definitions import Absence, Answer, Instrument, Role
from instruments.models import Administration
from instruments.services import study_instrument_version
from scoring.models import DyadScore
from scoring.rules.layout import form_layouts
from scoring.services import gap_references
from studies.models import Study

CHUNK = 500
PROFILE = ("n_components", "d_squared", "elevation", "scatter", "shape", "correlation", "double_entry_icc")


class _Line:
    """A file-like object whose `write` hands the line back, so that rows can be streamed."""

    def write(self, line: str) -> str:
        return line


def dyads_csv(
    study: Study, *, include_incomplete: bool = False, blind_user_id: int | None = None, deidentify: bool = False
) -> Iterator[str]:
    """Lines of the CSV file, header first: scores unrounded, then the answers that they rest on.

    Parameters
    ----------
    study : whose dyads.
    include_incomplete : also visits with only one finished form; those columns are then blank, with a reason.
    blind_user_id : leaves out the patients of the clinician who signs in as this user, who must not see their answers.
    deidentify : other codes in place of the study's, the same in every file of this installation, and no dates.
    """
    instrument = study_instrument_version(study).instrument
    columns = [name for name, _ in _columns(study, instrument)]
    writer = csv.DictWriter(_Line(), fieldnames=columns, lineterminator="\n")
    yield writer.writerow(dict(zip(columns, columns, strict=True)))
    for row in _rows(study, instrument, include_incomplete=include_incomplete, blind_user_id=blind_user_id):
        yield writer.writerow(_deidentified(study, row) if deidentify else row)


def _deidentified(study: Study, row: dict[str, Any]) -> dict[str, Any]:
    """The row with codes that lead nowhere without this installation's secret key, and without dates."""
    row = dict(row)
    for name, letter in (("dyad", "D"), ("site", "S"), ("clinician", "C"), ("patient", "P")):
        # A clinician's code stands for one at one site, a patient's too.
        whose = f"{study.pk} {row['site'] if name != 'dyad' else ''} {name} {row[name]}"
        row[f"new {name}"] = letter + salted_hmac("de-identified export", whose, algorithm="sha256").hexdigest()[:12]
    for name in ("dyad", "site", "clinician", "patient"):
        row[name] = row.pop(f"new {name}")
    for name in ("visit_date", "patient_completed_at", "clinician_completed_at"):
        row[name] = None
    return row


def codebook_csv(study: Study) -> Iterator[str]:
    """Lines of the codebook: every column of `dyads_csv` with what it holds."""
    writer = csv.writer(_Line(), lineterminator="\n")
    yield writer.writerow(["column", "meaning"])
    for name, meaning in _columns(study, study_instrument_version(study).instrument):
        # What a reader of the data has to know of the study stands with its code: a line of its own would be no column.
        note = f"; analysis plan: {plan_in_words(newest_plan(study))}" if name == "study" else ""
        yield writer.writerow([name, meaning + note])


def _columns(study: Study, instrument: Instrument) -> list[tuple[str, str]]:
    """Column names and meanings, in order."""
    synthetic = "1: synthetic data, not evidence about people; 0: collected from people"
    columns = [
        ("study", "study code"),
        ("synthetic", synthetic),
        ("dyad", "dyad code"),
        ("site", "site code"),
        ("clinician", "clinician's study code"),
        ("patient", "patient's study code"),
        ("wave", "wave code"),
        ("form", f"form length: {', '.join(instrument.forms)}"),
        ("instrument", "instrument and version"),
        ("rules_version", "version of the scoring rules"),
        ("visit_date", "date of the visit, YYYY-MM-DD"),
    ]
    for role in Role:
        columns += [
            (f"{role}_completed_at", f"when the {role} form was finished, ISO 8601"),
            (f"{role}_language", f"language of the {role} form when it was finished"),
            (f"{role}_mode", f"how the {role} form was filled in"),
            (f"{role}_flags", f"quality flags of the {role} form, joined by |; they never delete a record"),
            (f"{role}_n_answered", "items answered"),
            (f"{role}_n_does_not_apply", "items answered with 'does not apply'"),
            (f"{role}_n_unanswered", "applicable items without an answer"),
            (f"{role}_median_item_seconds", "median seconds per item (web only)"),
        ]
    columns += [
        ("eligible", "1: the two forms may be compared; 0: they may not"),
        (
            "ineligible_reasons",
            "why not, joined by |; PATIENT_WITHDREW, CLINICIAN_WITHDREW: takes part no more",
        ),
        ("notes", "what to know about the dyad, joined by |"),
    ]
    score_ids = _score_ids(instrument)
    for role in Role:
        for score in score_ids:
            columns += [
                (f"{role}_{score}", f"{_label(instrument, score)}, {role} form, 0 to 100, unrounded"),
                (f"{role}_{score}_reason", "why there is no score"),
                (f"{role}_{score}_thin", "1: a component score that rests on one item of several"),
            ]
    references = {form: gap_references(study.pk, form, instrument=instrument) for form in instrument.forms}
    z = instrument.scoring.reliable_gap_z
    for score in score_ids:
        judged = "; ".join(
            f"{form} form: mean gap {one[score].mean_gap!r}, threshold {one[score].threshold(z)!r} points"
            for form, one in references.items()
            if score in one
        )
        columns += [
            (f"gap_{score}", f"{_label(instrument, score)}: clinician minus patient, over items both answered, points"),
            (f"abs_gap_{score}", "absolute gap, points; measurement error alone makes it positive"),
            (f"gap_{score}_reason", "why there is no gap"),
            (
                f"reliable_gap_{score}",
                "1: the gap differs from the mean gap by more than measurement error; 0: it does not; blank: not judged"
                + (f" ({judged})" if judged else " (no analysis has set a reference yet)"),
            ),
        ]
    columns += [(f"profile_{name}", f"profile similarity over components: {name}") for name in PROFILE]
    columns.append(("profile_reason", "why a figure of the profile is blank"))
    absences = ", ".join(Absence)
    for role in Role:
        for code in _answer_codes(instrument, role):
            columns.append((f"{role}_{code}", f"answer as given (before reversal), or the reason for none: {absences}"))
    return columns


def _score_ids(instrument: Instrument) -> tuple[str, ...]:
    return next(iter(form_layouts(instrument).values())).score_ids


def _label(instrument: Instrument, score: str) -> str:
    groups: tuple[Mapping[str, Any], ...] = (instrument.components, instrument.domains, instrument.composites)
    label: str = next(group[score].label["en"] for group in groups if score in group)
    return label


def _answer_codes(instrument: Instrument, role: Role) -> list[str]:
    """Items of any form, in catalogue order, then the role's questions."""
    on_forms = {code for form in instrument.forms.values() for code in form.order}
    items = [code for code in instrument.items if code in on_forms]
    return items + [question.code for question in instrument.questions_for(role, follow_up=True)]


def _rows(
    study: Study, instrument: Instrument, *, include_incomplete: bool, blind_user_id: int | None
) -> Iterator[dict[str, Any]]:
    scores = (
        DyadScore.objects.filter(study=study)
        .select_related("visit__wave", "visit__dyad__clinician__site", "visit__dyad__patient")
        .order_by("visit__dyad__code", "visit__wave__position", "pk")
    )
    if not include_incomplete:
        scores = scores.filter(is_complete=True)
    if blind_user_id is not None:
        scores = scores.exclude(visit__dyad__clinician__user=blind_user_id)
    stream = scores.iterator(chunk_size=CHUNK)
    while chunk := list(islice(stream, CHUNK)):
        administrations: dict[int, dict[str, Administration]] = {}
        finished = Administration.objects.filter(
            visit__in=[score.pk for score in chunk], status=Administration.Status.COMPLETED
        ).select_related("instrument_version")
        for one in finished.defer("instrument_version__content"):
            administrations.setdefault(one.visit_id, {})[one.role] = one
        for score in chunk:
            yield _row(study, instrument, score, administrations.get(score.pk, {}))


def _row(study: Study, instrument: Instrument, score: DyadScore, forms: Mapping[str, Administration]) -> dict[str, Any]:
    dyad = score.visit.dyad
    version = next(iter(forms.values())).instrument_version if forms else None
    row: dict[str, Any] = {
        "study": study.code,
        "synthetic": int(study.is_synthetic),
        "dyad": dyad.code,
        "site": dyad.clinician.site.code,
        "clinician": dyad.clinician.code,
        "patient": dyad.patient.code,
        "wave": score.visit.wave.code,
        "form": score.form,
        "instrument": "" if version is None else str(version),
        "rules_version": score.rules_version,
        "visit_date": score.visit.visit_date.isoformat(),
        "eligible": int(score.is_eligible),
        "ineligible_reasons": "|".join(score.dyad["ineligible"]),
        "notes": "|".join(score.dyad["notes"]),
        "profile_reason": score.dyad["profile"]["reason"],
    }
    for name in PROFILE:
        row[f"profile_{name}"] = _number(score.dyad["profile"][name])
    for role, record in ((Role.PATIENT, score.patient), (Role.CLINICIAN, score.clinician)):
        if record is not None:
            row |= _form_cells(role, record)
        if role in forms:
            row |= _answer_cells(instrument, role, forms[role])
    gaps = score.dyad["gaps"]
    for name, value in gaps["values"].items():
        row[f"gap_{name}"] = _number(value)
        row[f"abs_gap_{name}"] = _number(None if value is None else abs(value))
        row[f"gap_{name}_reason"] = gaps["reasons"].get(name)
        verdict = gaps["reliable"].get(name)
        row[f"reliable_gap_{name}"] = None if verdict is None else int(verdict)
    return row


def _form_cells(role: Role, record: Mapping[str, Any]) -> dict[str, Any]:
    cells: dict[str, Any] = {
        f"{role}_flags": "|".join(record["flags"]),
        f"{role}_n_answered": record["n_answered"],
        f"{role}_n_does_not_apply": record["n_does_not_apply"],
        f"{role}_n_unanswered": record["n_unanswered"],
    }
    for name, value in record["values"].items():
        cells[f"{role}_{name}"] = _number(value)
        cells[f"{role}_{name}_reason"] = record["reasons"].get(name)
        cells[f"{role}_{name}_thin"] = int(name in record["thin"])
    return cells


def _answer_cells(instrument: Instrument, role: Role, form: Administration) -> dict[str, Any]:
    cells: dict[str, Any] = {
        f"{role}_completed_at": form.completed_at.isoformat() if form.completed_at else None,
        f"{role}_language": form.language,
        f"{role}_mode": form.mode,
        f"{role}_median_item_seconds": _number(form.median_item_seconds),
    }
    for code in _answer_codes(instrument, role):
        cells[f"{role}_{code}"] = _cell(form.answers.get(code, Absence.NOT_SHOWN.value))
    return cells


def _cell(answer: Answer) -> str | int | float:
    return "|".join(answer) if isinstance(answer, list) else answer


def _number(value: float | None) -> str | None:
    """The shortest text that reads back as exactly this number."""
    return None if value is None else repr(value)
