"""Answers collected elsewhere, from a wide CSV file: one row per respondent, one column per item.

The whole file is read and checked first; every bad line is reported with its column and the remedy; then everything
is stored in one transaction, or nothing is.
"""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from datetime import date, datetime, time

from django.contrib.auth.models import User
from django.db import IntegrityError, transaction
from django.utils import timezone

from instruments.definitions import Absence, Answer, Condition, Instrument, Question, Role
from instruments.models import Administration, InstrumentVersion
from instruments.questionnaire import InvalidAnswer, Questionnaire
from instruments.services import (
    FinishedForm,
    FormsTaken,
    dyad_between,
    store_finished_forms,
    study_instrument_version,
)
from studies import audit
from studies.models import Clinician, Dyad, Study, Visit, Wave, Withdrawal

MAXIMUM_PROBLEMS = 200
MAXIMUM_FIELD_CHARACTERS = 1000

#: What may stand at a question that was not asked: NOT_SHOWN takes its place and nothing is lost.
NOTHING_SAID = (Absence.SKIPPED, Absence.NOT_REACHED, Absence.NOT_SHOWN)

#: Column, kind and remedy of a line whose form can't be stored because answers stand there.
FORM_IS_THERE = (
    "role",
    "a form that is already there for this dyad and wave, or stands twice in the file",
    "Delete the line; stored answers are never replaced.",
)

#: Columns that say whose answers a row holds. All others must be codes of items or questions.
IDENTITY_COLUMNS = ("role", "dyad", "site", "clinician", "patient", "wave", "form", "language", "completed_on")


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportProblem:
    """One thing that is wrong: where, what kind of value stands there (never the value), and what to do."""

    line: int | None  # in the file, the header being 1; None for the file as a whole
    column: str
    kind: str
    remedy: str

    def __str__(self) -> str:
        place = "file" if self.line is None else f"line {self.line}"
        where = f"{place}, column {self.column}" if self.column else place
        return f"{where}: {self.kind}. {self.remedy}"


class ImportRefused(Exception):
    """Nothing was imported. `problems` says why; `n_more` counts those beyond the first 200."""

    def __init__(self, problems: Sequence[ImportProblem], *, n_more: int = 0) -> None:
        self.problems = list(problems)
        self.n_more = n_more
        lines = [str(problem) for problem in self.problems]
        if n_more:
            lines.append(f"… and {n_more} more.")
        super().__init__("\n".join(lines))


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportReport:
    """What an import stored."""

    n_forms: int
    n_dyads: int  # dyads that had not been in the study


@dataclass(slots=True, kw_only=True)
class _Problems:
    found: list[ImportProblem] = field(default_factory=list)
    n_more: int = 0

    def add(self, line: int | None, column: str, kind: str, remedy: str) -> None:
        if len(self.found) < MAXIMUM_PROBLEMS:
            self.found.append(ImportProblem(line=line, column=column, kind=kind, remedy=remedy))
        else:
            self.n_more += 1

    def refuse_if_any(self) -> None:
        if self.found:
            raise ImportRefused(self.found, n_more=self.n_more)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """One respondent's form, checked; the dyad is looked up or made when all rows are sound."""

    line: int
    role: Role
    clinician: Clinician
    patient_code: str
    wave: Wave
    form: str
    language: str
    completed_at: datetime
    answers: Mapping[str, Answer]


def import_responses(
    *, study: Study, data: bytes, now: datetime, actor: User | None, file_name: str = ""
) -> ImportReport:
    """Store the forms of a wide CSV file as finished administrations, all or nothing.

    Parameters
    ----------
    study : where the answers belong.
    data : the file: UTF-8 (a byte order mark is fine), comma-separated, a header line. `role` is patient or clinician.
        Whose form: `dyad` (a dyad code of this study), or `clinician` and `patient` (study codes; a new patient code
        becomes a new patient of the clinician's site; `site` where a clinician code stands at several sites).
        Optional: `wave`, `form`, `language`, `completed_on` (YYYY-MM-DD). All other columns: item and question codes.
        A blank cell means skipped; DNA, SKIPPED, PREFER_NOT and NOT_REACHED say why there is no value, NOT_SHOWN that
        the form does not ask this; several options are joined by `|`.
    now : the time of the import; also the completion time of rows without `completed_on`.
    actor : who imports, for the audit trail.

    Raises
    ------
    ImportRefused
        With every problem found, up to 200, each with line, column, kind of value and remedy; also when the study is
        closed, or when somebody else stored the same forms at the same moment.
    """
    _refuse_closed(study)
    version = study_instrument_version(study)
    problems = _Problems()
    reader = _Reader(study=study, version=version, now=now, problems=problems)
    rows = list(reader.rows(_decoded(data)))
    problems.refuse_if_any()
    if not rows:
        raise ImportRefused(
            [ImportProblem(line=None, column="", kind="no row of answers", remedy="Add one line per respondent.")]
        )
    try:
        return _store(study=study, version=version, rows=rows, now=now, actor=actor, file_name=file_name)
    except IntegrityError as error:
        raise ImportRefused(
            [
                ImportProblem(
                    line=None,
                    column="",
                    kind="somebody else stored forms of these dyads at the same moment",
                    remedy="Load the file again to see which lines.",
                )
            ]
        ) from error


@transaction.atomic
def _store(
    *, study: Study, version: InstrumentVersion, rows: Sequence[_Row], now: datetime, actor: User | None, file_name: str
) -> ImportReport:
    # One import at a time in a study: the second of two sees what the first has stored, and names the lines.
    _refuse_closed(Study.objects.select_for_update(no_key=True).get(pk=study.pk))
    problems = _Problems()
    forms, n_dyads = _finished_forms(study, rows, problems)
    problems.refuse_if_any()
    try:
        store_finished_forms(
            study=study, instrument_version=version, forms=forms, mode=Administration.Mode.IMPORTED, now=now
        )
    except FormsTaken as taken:
        for row, form in zip(rows, forms, strict=True):
            if any(form is one for one in taken.forms):
                problems.add(row.line, *FORM_IS_THERE)
        raise ImportRefused(problems.found, n_more=problems.n_more) from taken
    audit.record(
        study=study,
        actor=actor,
        action="import responses",
        detail={"file": file_name[:200], "forms": len(forms), "new_dyads": n_dyads},
        now=now,
    )
    return ImportReport(n_forms=len(forms), n_dyads=n_dyads)


def _refuse_closed(study: Study) -> None:
    if study.status != Study.Status.OPEN:
        _refuse_file("this study is closed and takes no more answers", "Its admin can open it again under Settings.")


def _decoded(data: bytes) -> str:
    """The file's text, or one clear error about the file as a whole."""
    if not data.strip():
        _refuse_file("the file is empty", "Choose a CSV file with a header line and one line per respondent.")
    if data.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0")):
        _refuse_file("the file is a spreadsheet, not CSV", 'In the spreadsheet program choose "Save as: CSV UTF-8".')
    if b"\x00" in data:
        _refuse_file(
            "the file holds NUL bytes: it is no text file or has the encoding UTF-16",
            'Save it again as "CSV UTF-8 (comma delimited)".',
        )
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ImportRefused(
            [
                ImportProblem(
                    line=line,
                    column="",
                    kind="a character that is not UTF-8",
                    remedy='Save the file again as "CSV UTF-8 (comma delimited)".',
                )
            ]
        ) from None


def _refuse_file(kind: str, remedy: str) -> None:
    raise ImportRefused([ImportProblem(line=None, column="", kind=kind, remedy=remedy)])


class _Reader:
    """Reads lines into checked rows, noting every problem on the way."""

    def __init__(self, *, study: Study, version: InstrumentVersion, now: datetime, problems: _Problems) -> None:
        self.study = study
        self.instrument: Instrument = version.instrument
        self.now = now
        self.problems = problems
        self.waves = {wave.code: wave for wave in study.waves.all()}
        self.clinicians: dict[str, list[Clinician]] = {}
        for clinician in Clinician.objects.filter(site__study=study).select_related("site"):
            self.clinicians.setdefault(clinician.code, []).append(clinician)
        self.dyads: dict[str, Dyad] = {
            dyad.code: dyad for dyad in study.dyads.select_related("clinician__site", "patient")
        }
        self.questionnaires: dict[tuple[str, Role, bool], Questionnaire] = {}

    def rows(self, text: str) -> Iterator[_Row]:
        lines = csv.reader(io.StringIO(text, newline=""), strict=True)
        try:
            header = [name.strip() for name in next(lines, [])]
            if not self._header_is_sound(header):
                return
            for cells in lines:
                if any(cell.strip() for cell in cells):
                    row = self._row(lines.line_num, header, cells)
                    if row is not None:
                        yield row
        except csv.Error as error:
            self.problems.add(
                lines.line_num, "", f"not readable as CSV ({error})", "Check the quotation marks on this line."
            )

    def _header_is_sound(self, header: list[str]) -> bool:
        before = len(self.problems.found)
        if len(header) == 1:
            for delimiter, name in ((";", "semicolons"), ("\t", "tabs"), ("|", "vertical bars")):
                if delimiter in header[0]:
                    self.problems.add(1, "", f"columns separated by {name}", "Save the file comma-separated.")
                    return False
        known = set(IDENTITY_COLUMNS) | set(self.instrument.items) | set(self.instrument.questions)
        seen: set[str] = set()
        for position, name in enumerate(header, start=1):
            if not name:
                self.problems.add(1, str(position), "a column without a name", "Name it or delete the column.")
            elif name in seen:
                self.problems.add(1, name[:40], "a column that stands twice", "Delete one of the two.")
            elif name not in known:
                self.problems.add(
                    1,
                    name[:40],
                    "a column that is no item, question or identifier",
                    "Use the item codes of the printed form (VN1, VC1, …) or delete the column.",
                )
            seen.add(name)
        if "role" not in seen:
            self.problems.add(1, "role", "the column is missing", "Add it with patient or clinician on each line.")
        if "dyad" not in seen and not {"clinician", "patient"} <= seen:
            self.problems.add(
                1, "dyad", "the column is missing", "Add dyad, or add clinician and patient, to say whose form it is."
            )
        if not seen - set(IDENTITY_COLUMNS):
            self.problems.add(
                1, "", "no column of answers", "Add a column for each item, named by its code (VN1, VC1, …)."
            )
        return len(self.problems.found) == before

    def _row(self, line: int, header: list[str], cells: list[str]) -> _Row | None:
        before = len(self.problems.found) + self.problems.n_more
        if len(cells) != len(header):
            self.problems.add(
                line,
                "",
                f"{len(cells)} values where the header has {len(header)} columns",
                "Give each column a value or leave it blank; put values with commas into quotation marks.",
            )
            return None
        values = {name: cell.strip() for name, cell in zip(header, cells, strict=True)}
        for name, value in values.items():
            if len(value) > MAXIMUM_FIELD_CHARACTERS:
                self.problems.add(line, name, "a text longer than 1,000 characters", "Check the quotation marks.")
                return None
        role = self._role(line, values)
        clinician, patient_code = self._whose(line, values)
        wave = self._wave(line, values)
        form = self._form(line, values)
        language = self._language(line, values)
        completed_at = self._completed_at(line, values)
        if role is None or wave is None or form is None:
            return None
        answers = self._answers(line, self._questionnaire(form, role, wave.is_follow_up), values)
        if clinician is None or len(self.problems.found) + self.problems.n_more > before:
            return None
        return _Row(
            line=line,
            role=role,
            clinician=clinician,
            patient_code=patient_code,
            wave=wave,
            form=form,
            language=language,
            completed_at=completed_at,
            answers=answers,
        )

    def _role(self, line: int, values: Mapping[str, str]) -> Role | None:
        if values["role"] in set(Role):
            return Role(values["role"])
        self.problems.add(line, "role", _kind(values["role"]), "Write patient or clinician.")
        return None

    def _whose(self, line: int, values: Mapping[str, str]) -> tuple[Clinician | None, str]:
        dyad_code = values.get("dyad", "")
        if dyad_code:
            dyad = self.dyads.get(dyad_code)
            if dyad is not None:
                return self._whose_known(line, dyad, values)
            if not values.get("clinician"):
                self.problems.add(
                    line,
                    "dyad",
                    "a dyad that this study does not have",
                    "Check the code, or give clinician and patient instead to add the dyad.",
                )
                return None, ""
        clinician = self._clinician(line, values)
        patient_code = values.get("patient", "")
        if not patient_code or len(patient_code) > 40 or not _is_code(patient_code):
            self.problems.add(
                line,
                "patient",
                _kind(patient_code),
                "Give the patient's study code: up to 40 letters, digits, hyphens and underscores.",
            )
            return None, ""
        return clinician, patient_code

    def _whose_known(self, line: int, dyad: Dyad, values: Mapping[str, str]) -> tuple[Clinician | None, str]:
        """The dyad's two, unless a cell beside the dyad's code names somebody else."""
        clinician, patient = dyad.clinician, dyad.patient
        is_sound = True
        for column, code in (("clinician", clinician.code), ("patient", patient.code), ("site", clinician.site.code)):
            if values.get(column, "") not in ("", code):
                self.problems.add(
                    line,
                    column,
                    f"another {column} than this dyad's",
                    "Correct it or the dyad, or leave the cell blank.",
                )
                is_sound = False
        return (clinician, patient.code) if is_sound else (None, "")

    def _clinician(self, line: int, values: Mapping[str, str]) -> Clinician | None:
        found = self.clinicians.get(values.get("clinician", ""), [])
        if values.get("site"):
            found = [clinician for clinician in found if clinician.site.code == values["site"]]
        if len(found) == 1:
            return found[0]
        if found:
            self.problems.add(line, "clinician", "a code that stands at several sites", "Say which in the column site.")
        else:
            self.problems.add(
                line,
                "clinician",
                _kind(values.get("clinician", ""), known="a code that this study does not have"),
                "Check the code, or add the clinician to the study first.",
            )
        return None

    def _wave(self, line: int, values: Mapping[str, str]) -> Wave | None:
        code = values.get("wave", "")
        wave = self.waves.get(code) if code else next(iter(self.waves.values()), None)
        if wave is None:
            offered = ", ".join(self.waves) or "none yet: add one to the study first"
            self.problems.add(line, "wave", "a wave that this study does not have", f"Its waves are: {offered}.")
        return wave

    def _form(self, line: int, values: Mapping[str, str]) -> str | None:
        form = values.get("form", "") or self.study.default_form
        if form in self.instrument.forms:
            return form
        self.problems.add(line, "form", _kind(form), f"Write one of {', '.join(self.instrument.forms)}.")
        return None

    def _language(self, line: int, values: Mapping[str, str]) -> str:
        language = values.get("language", "") or self.instrument.languages[0]
        if language not in self.instrument.languages:
            self.problems.add(
                line, "language", _kind(language), f"Write one of {', '.join(self.instrument.languages)}."
            )
        return language

    def _completed_at(self, line: int, values: Mapping[str, str]) -> datetime:
        written = values.get("completed_on", "")
        if not written:
            return self.now
        try:
            completed_on = date.fromisoformat(written) if len(written) == 10 else None
        except ValueError:
            completed_on = None
        if completed_on is None or not date(2000, 1, 1) <= completed_on <= timezone.localdate(self.now):
            self.problems.add(
                line,
                "completed_on",
                _kind(written, known="no date since 2000 and up to today"),
                "Write the date as YYYY-MM-DD, for example 2026-03-31.",
            )
            return self.now
        noon = datetime.combine(completed_on, time(12), tzinfo=timezone.get_current_timezone())
        return min(noon, self.now)

    def _questionnaire(self, form: str, role: Role, follow_up: bool) -> Questionnaire:
        key = (form, role, follow_up)
        if key not in self.questionnaires:
            self.questionnaires[key] = Questionnaire(
                instrument=self.instrument, form=form, role=role, follow_up=follow_up
            )
        return self.questionnaires[key]

    def _answers(self, line: int, questionnaire: Questionnaire, values: Mapping[str, str]) -> Mapping[str, Answer]:
        answers: dict[str, Answer] = {}
        unsound: set[str] = set()
        for column, value in values.items():
            if column in IDENTITY_COLUMNS:
                continue
            if column not in questionnaire.entries:
                if value not in ("", Absence.NOT_SHOWN):
                    self.problems.add(
                        line,
                        column,
                        f"a value for what the {questionnaire.form} {questionnaire.role} form does not ask",
                        "Leave the cell blank, or correct role or form on this line.",
                    )
                continue
            try:
                answers[column] = _answer(questionnaire, column, value)
            except InvalidAnswer as error:
                self.problems.add(line, column, _kind(value), str(error))
                unsound.add(column)
        if not unsound and all(values[code] in ("", Absence.NOT_SHOWN) for code in answers):
            self.problems.add(
                line, "", "no answer on this line", "Delete the line; a finished form can't be filled in afterwards."
            )
        else:
            self._check_conditions(line, questionnaire, answers, unsound)
        return questionnaire.closed_answers(answers)

    def _check_conditions(
        self, line: int, questionnaire: Questionnaire, answers: Mapping[str, Answer], unsound: Set[str]
    ) -> None:
        """Notes values for what was not asked, and NOT_SHOWN for what was."""
        for code, answer in answers.items():
            condition = _condition(questionnaire, code)
            if condition is not None and condition.question in unsound:
                continue  # whether this was asked is known when that cell is mended
            is_asked = questionnaire.is_asked(code, answers)
            if is_asked and answer == Absence.NOT_SHOWN:
                self.problems.add(
                    line,
                    code,
                    "NOT_SHOWN for what this form asks",
                    "Give the answer, or SKIPPED or NOT_REACHED, or leave the cell blank.",
                )
            elif condition is not None and not is_asked and answer not in NOTHING_SAID:
                self.problems.add(
                    line,
                    code,
                    f"a value for a question that is not asked after what this line has in {condition.question}",
                    f"Leave the cell blank, or correct {condition.question}: {code} follows only on "
                    f"{' or '.join(condition.values)}.",
                )


def _condition(questionnaire: Questionnaire, code: str) -> Condition | None:
    entry = questionnaire.entries[code]
    return entry.ask_if if isinstance(entry, Question) else None


def _answer(questionnaire: Questionnaire, code: str, value: str) -> Answer:
    if value in ("", Absence.SKIPPED):
        return Absence.SKIPPED.value
    if value in (Absence.NOT_REACHED, Absence.NOT_SHOWN):
        return value
    if "|" in value:
        return questionnaire.check_answer(code, [part.strip() for part in value.split("|")])
    return questionnaire.check_answer(code, value)


def _is_code(text: str) -> bool:
    return text.isascii() and text[0].isalnum() and all(c.isalnum() or c in "-_" for c in text)


def _kind(value: str, *, known: str = "a text that is not offered") -> str:
    """What kind of value stands in a cell, without repeating it: cells may hold what a respondent wrote."""
    if not value:
        return "blank"
    if value.lstrip("+-").isdigit():
        return "a whole number that is not offered" if known == "a text that is not offered" else known
    try:
        float(value)
    except ValueError:
        return known
    return "a decimal number"


def _finished_forms(study: Study, rows: Sequence[_Row], problems: _Problems) -> tuple[list[FinishedForm], int]:
    """Rows with their dyads, made where new; notes rows whose questionnaire is already there."""
    dyads = {
        (dyad.clinician_id, dyad.patient.code): dyad for dyad in study.dyads.select_related("clinician", "patient")
    }
    taken: dict[tuple[int, int, str], str] = {
        (visit.dyad_id, visit.wave_id, administration.role): administration.status
        for visit in Visit.objects.filter(dyad__study=study).prefetch_related("administrations")
        for administration in visit.administrations.all()
    }
    forms = {
        (dyad, wave): form
        for dyad, wave, form in Visit.objects.filter(dyad__study=study).values_list("dyad_id", "wave_id", "form")
    }
    withdrawn = set(Withdrawal.objects.filter(dyad__study=study).values_list("dyad", flat=True))
    n_new = 0
    finished = []
    for row in rows:
        key = (row.clinician.pk, row.patient_code)
        if key not in dyads:
            dyads[key], is_new = dyad_between(study=study, clinician=row.clinician, patient_code=row.patient_code)
            n_new += is_new
        dyad = dyads[key]
        place_in_wave = (dyad.pk, row.wave.pk, row.role.value)
        if dyad.pk in withdrawn:
            problems.add(
                row.line, "patient", "a dyad that the patient or the clinician has withdrawn from", "Delete it."
            )
        elif taken.get(place_in_wave, Administration.Status.WAITING) != Administration.Status.WAITING:
            problems.add(row.line, *FORM_IS_THERE)
        elif forms.setdefault((dyad.pk, row.wave.pk), row.form) != row.form:
            problems.add(
                row.line,
                "form",
                "another form than the one planned for this dyad and wave",
                f"Write {forms[dyad.pk, row.wave.pk]}.",
            )
        taken[place_in_wave] = Administration.Status.COMPLETED
        finished.append(
            FinishedForm(
                dyad=dyad,
                wave=row.wave,
                role=row.role,
                form=row.form,
                language=row.language,
                answers=row.answers,
                completed_at=row.completed_at,
            )
        )
    return finished, n_new
