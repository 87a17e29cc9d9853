"""The day's list: appointments from a CSV or calendar (ICS) file become visits, all of them or none.

The file is read and checked first, against the study as it stands; every bad line is told with its column and remedy.
What is shown as a preview is read again when it is confirmed.
"""

import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from itertools import count as counted_from
from itertools import islice
from typing import TypeVar

from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from instruments.clinician_form import clinician_forms
from instruments.codes import link_fields
from instruments.definitions import Instrument, Role
from instruments.models import Administration, hash_token, new_token
from instruments.patient_form import form_by_lot, order_fields
from instruments.services import CreatedVisit, fresh_patient_code, study_instrument_version
from studies import audit
from studies.access import StudyAccess
from studies.models import Clinician, Dyad, NonParticipation, Patient, Study, Visit, Wave, Withdrawal, code_validator
from studies.scope import beyond_sites
from studies.windows import VisitMade, days_after_first, proposed_wave

Value = TypeVar("Value")

MAXIMUM_PROBLEMS = 200
CHUNK = 500
COLUMNS = ("clinician", "patient", "site", "date", "time", "wave", "form", "outcome", "reason")
MONTHS = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec|ene|abr|ago|dic)"
#: What a spreadsheet makes of a code such as 1E5 or MAR2.
MANGLED = re.compile(rf"\d+([.,]\d+)?E[+-]?\d+|\d{{1,2}}-{MONTHS}|{MONTHS}-\d{{2}}|#[A-Z/0!?]+|=.*", re.IGNORECASE)
OUTCOMES = {"": "invited", "invited": "invited", **{value: value for value in NonParticipation.Outcome.values}}


@dataclass(frozen=True, slots=True, kw_only=True)
class ListProblem:
    """One thing that is wrong: where, what stands there (never a person's name), and what to do."""

    line: int | None
    column: str
    kind: str
    remedy: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedVisit:
    """One sound line: who comes to whom; a blank patient code asks for a new study code."""

    line: int
    clinician: Clinician
    patient_code: str
    is_new_patient: bool
    wave: Wave
    form: str  # blank: by lot
    day: date
    at: str  # the appointment's time, "09:30" or blank
    is_wave_said: bool = True  # by the list, and not proposed
    outside_window_days: int | None = None  # days after the first visit, where the wave's window does not hold them


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedNonParticipation:
    """One line that tells of somebody who does not take part."""

    clinician: Clinician
    day: date
    outcome: str
    reason: str


@dataclass(slots=True, kw_only=True)
class DayPlan:
    """What a file says. It can be carried out as long as there is no problem."""

    visits: list[PlannedVisit] = field(default_factory=list)
    non_participations: list[PlannedNonParticipation] = field(default_factory=list)
    problems: list[ListProblem] = field(default_factory=list)
    n_more_problems: int = 0

    @property
    def is_sound(self) -> bool:
        return not self.problems and bool(self.visits or self.non_participations)

    def problem(self, line: int | None, column: str, kind: str, remedy: str) -> None:
        """Note a problem; those beyond the first 200 are counted."""
        if len(self.problems) < MAXIMUM_PROBLEMS:
            self.problems.append(ListProblem(line=line, column=column, kind=kind, remedy=remedy))
        else:
            self.n_more_problems += 1


@dataclass(frozen=True, slots=True, kw_only=True)
class EnrolledVisit:
    """A visit that was made, with the secrets of its links, and when the patient comes."""

    created: CreatedVisit
    at: str


class ListRefused(Exception):
    """The list cannot be carried out any more: the study has changed since the preview."""


def plan_day_list(*, access: StudyAccess, data: bytes, default_day: date) -> DayPlan:
    """Read and check a file; nothing is stored. Lines without a date are for `default_day`."""
    plan = DayPlan()
    if access.study.status != Study.Status.OPEN:
        plan.problem(None, "", _("the study is closed"), _("Its admin can open it again."))
        return plan
    try:
        instrument = study_instrument_version(access.study).instrument
    except ValueError:
        plan.problem(None, "", _("the study's questionnaire is not loaded"), _("Ask whoever runs this site."))
        return plan
    text = _decoded(data, plan)
    if text is not None:
        lines = _calendar_lines(text, plan) if text.lstrip().startswith("BEGIN:VCALENDAR") else _csv_lines(text, plan)
        _Checker(access=access, instrument=instrument, default_day=default_day, plan=plan).check(lines)
    if not plan.problems and not plan.is_sound:
        plan.problem(None, "", _("no appointment in the file"), _("Add one line for each appointment."))
    return plan


@transaction.atomic
def enrol_day_list(*, access: StudyAccess, plan: DayPlan, actor: User, now: datetime) -> list[EnrolledVisit]:
    """Make every visit of a sound plan, in a handful of statements however long it is.

    Raises
    ------
    ListRefused
        If the plan is not sound.
    IntegrityError
        If somebody made one of the visits a moment ago; nothing is stored then.
    """
    if not plan.is_sound:
        raise ListRefused
    study = access.study
    version = study_instrument_version(study)
    codes = [one.patient_code or fresh_patient_code(one.clinician) for one in plan.visits]
    patients = _patients(plan.visits, codes)
    dyads = _dyads(study, plan.visits, codes, patients)
    visits = Visit.objects.bulk_create(
        [
            Visit(
                dyad=dyad,
                wave=one.wave,
                form=one.form or form_by_lot(study, dyad.patient_id),
                visit_date=one.day,
                visit_time=time.fromisoformat(one.at) if one.at else None,
                created_at=now,
            )
            for one, dyad in zip(plan.visits, dyads, strict=True)
        ],
        batch_size=CHUNK,
    )
    forms = clinician_forms(
        study=study,
        instrument=version.instrument,
        visits=[(dyad, visit.form) for dyad, visit in zip(dyads, visits, strict=True)],
        now=now,
    )
    tokens = [{role: new_token() for role in Role} for _ in visits]
    expires_at = now + timedelta(days=study.link_valid_days)
    Administration.objects.bulk_create(
        [
            Administration(
                visit=visit,
                role=role,
                instrument_version=version,
                form=forms[visit.dyad_id] if role == Role.CLINICIAN else visit.form,
                **order_fields(study, version.instrument, visit, role),
                token_hash=hash_token(token),
                **link_fields(token),
                expires_at=expires_at,
            )
            for visit, both in zip(visits, tokens, strict=True)
            for role, token in both.items()
        ],
        batch_size=CHUNK,
    )
    NonParticipation.objects.bulk_create(
        [
            NonParticipation(
                clinician=one.clinician,
                day=one.day,
                outcome=one.outcome,
                reason=one.reason,
                recorded_by=actor,
                recorded_at=now,
            )
            for one in plan.non_participations
        ],
        batch_size=CHUNK,
    )
    detail = {"visits": len(visits), "not_taking_part": len(plan.non_participations)}
    detail["new_patients"] = sum(one.is_new_patient for one in plan.visits)
    audit.record(study=study, actor=actor, action="enrol list", detail=detail, now=now)
    return [
        EnrolledVisit(
            created=CreatedVisit(visit=visit, patient_token=both[Role.PATIENT], clinician_token=both[Role.CLINICIAN]),
            at=one.at,
        )
        for one, visit, both in zip(plan.visits, visits, tokens, strict=True)
    ]


def _patients(planned: Sequence[PlannedVisit], codes: Sequence[str]) -> dict[tuple[int, str], Patient]:
    wanted = {(one.clinician.site_id, code) for one, code in zip(planned, codes, strict=True)}
    found = _stored_patients(wanted)
    new = [Patient(site_id=site_id, code=code) for site_id, code in sorted(wanted - found.keys())]
    for patient in Patient.objects.bulk_create(new, batch_size=CHUNK):
        found[patient.site_id, patient.code] = patient
    return found


def _stored_patients(wanted: Iterable[tuple[int, str]]) -> dict[tuple[int, str], Patient]:
    found: dict[tuple[int, str], Patient] = {}
    for codes in _chunks(sorted({code for _site, code in wanted})):
        for patient in Patient.objects.filter(code__in=codes):
            found[patient.site_id, patient.code] = patient
    return found


def _dyads(
    study: Study,
    planned: Sequence[PlannedVisit],
    codes: Sequence[str],
    patients: Mapping[tuple[int, str], Patient],
) -> list[Dyad]:
    pairs = [(one.clinician, patients[one.clinician.site_id, code]) for one, code in zip(planned, codes, strict=True)]
    found: dict[tuple[int, int], Dyad] = {}
    for ids in _chunks(sorted({patient.pk for _clinician, patient in pairs})):
        for dyad in Dyad.objects.filter(patient__in=ids):
            found[dyad.clinician_id, dyad.patient_id] = dyad
    first_choices = [f"{patient.code}.{clinician.code}" for clinician, patient in pairs]
    taken: set[str] = set()
    with beyond_sites():  # a dyad's code is its own in the whole study
        for some in _chunks(sorted(set(first_choices))):
            taken |= set(Dyad.objects.filter(study=study, code__in=some).values_list("code", flat=True))
    new: dict[tuple[int, int], Dyad] = {}
    for (clinician, patient), first in zip(pairs, first_choices, strict=True):
        if (clinician.pk, patient.pk) in found or (clinician.pk, patient.pk) in new:
            continue
        tries = (first, f"{clinician.site.code}.{first}", *(f"{clinician.site.code}.{first}.{n}" for n in range(2, 99)))
        code = next(one for one in tries if one not in taken)
        taken.add(code)
        new[clinician.pk, patient.pk] = Dyad(study=study, clinician=clinician, patient=patient, code=code)
    Dyad.objects.bulk_create(list(new.values()), batch_size=CHUNK)
    found |= new
    return [found[clinician.pk, patient.pk] for clinician, patient in pairs]


# --- reading ---


@dataclass(frozen=True, slots=True, kw_only=True)
class _Line:
    number: int
    values: Mapping[str, str]


def _decoded(data: bytes, plan: DayPlan) -> str | None:
    try:
        text = data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        plan.problem(line, "", _("letters that are not UTF-8"), _("Save the file again as “CSV UTF-8”."))
        return None
    if "\0" in text:
        plan.problem(
            None, "", _("this is not a text file"), _("Save the list as CSV or export it as a calendar (ICS).")
        )
        return None
    return text


def _csv_lines(text: str, plan: DayPlan) -> Iterator[_Line]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = [name.strip().lower() for name in next(reader, [])]
        if not _header_is_sound(header, plan):
            return
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) != len(header):
                kind = _("%(n)d values under %(columns)d headings") % {"n": len(cells), "columns": len(header)}
                plan.problem(reader.line_num, "", kind, _("Give each column a value, or leave it blank."))
                continue
            values = {name: cell.strip() for name, cell in zip(header, cells, strict=True)}
            yield _Line(number=reader.line_num, values=values)
    except csv.Error:
        plan.problem(reader.line_num, "", _("not readable as CSV"), _("Check the quotation marks on this line."))


def _header_is_sound(header: list[str], plan: DayPlan) -> bool:
    if len(header) == 1:
        for delimiter, name in ((";", _("semicolons")), ("\t", _("tabs")), ("|", _("vertical bars"))):
            if delimiter in header[0]:
                kind = _("columns separated by %(what)s") % {"what": name}
                plan.problem(1, "", kind, _("Save the file comma-separated."))
                return False
    for name in sorted({name for name in header if header.count(name) > 1}):
        plan.problem(1, name[:40], _("a column that stands twice"), _("Delete one of the two."))
    for name in header:
        if name not in COLUMNS:
            remedy = _("Use these columns only: %(columns)s.") % {"columns": ", ".join(COLUMNS)}
            plan.problem(1, name[:40], _("an unknown column"), remedy)
    if "clinician" not in header:
        plan.problem(
            1, "clinician", _("the column is missing"), _("Add it, with a clinician's study code on each line.")
        )
    return not plan.problems


def _calendar_lines(text: str, plan: DayPlan) -> Iterator[_Line]:
    """One line for each VEVENT: its start; SUMMARY holds the clinician's code and the patient's, or the first alone."""
    event: dict[str, str] | None = None
    began = 0
    for number, line in _unfolded(text):
        name, _colon, value = line.partition(":")
        name = name.split(";")[0].upper()
        if line == "BEGIN:VEVENT":
            event, began = {}, number
        elif line == "END:VEVENT" and event is not None:
            if event.get("STATUS") != "CANCELLED":
                yield _Line(number=began, values=_appointment(event, began, plan))
            event = None
        elif event is not None:
            event[name] = value.strip()


def _unfolded(text: str) -> Iterator[tuple[int, str]]:
    before: tuple[int, str] | None = None
    for number, line in enumerate(text.splitlines(), start=1):
        if line[:1] in (" ", "\t") and before is not None:
            before = (before[0], before[1] + line[1:])
        else:
            if before is not None:
                yield before
            before = (number, line.strip())
    if before is not None:
        yield before


def _appointment(event: Mapping[str, str], number: int, plan: DayPlan) -> dict[str, str]:
    words = event.get("SUMMARY", "").replace("\\,", " ").split()
    if len(words) > 2:
        remedy = _("Write the clinician's code and the patient's study code into the title, and nothing else.")
        plan.problem(number, "SUMMARY", _("more than two words in the title of the appointment"), remedy)
        words = []
    values = {"clinician": words[0] if words else "", "patient": words[1] if len(words) > 1 else ""}
    start = re.fullmatch(r"(\d{4})(\d\d)(\d\d)(?:T(\d\d)(\d\d)\d\d(Z?))?", event.get("DTSTART", ""))
    if start is None:
        plan.problem(number, "DTSTART", _("no start that can be read"), _("Export the calendar again as ICS."))
        return values | {"date": ""}
    year, month, day, hour, minute, is_utc = start.groups()
    if hour is None:
        return values | {"date": f"{year}-{month}-{day}"}
    if not is_utc:
        return values | {"date": f"{year}-{month}-{day}", "time": f"{hour}:{minute}"}
    try:
        moment = datetime(int(year), int(month), int(day), int(hour), int(minute), tzinfo=UTC)
    except ValueError:
        return values | {"date": f"{year}-{month}-{day}"}
    local = timezone.localtime(moment)
    return values | {"date": f"{local:%Y-%m-%d}", "time": f"{local:%H:%M}"}


# --- checking ---


class _Checker:
    """Turns lines into a plan, noting every problem on the way."""

    def __init__(self, *, access: StudyAccess, instrument: Instrument, default_day: date, plan: DayPlan) -> None:
        self.study = access.study
        self.instrument = instrument
        self.default_day = default_day
        self.plan = plan
        self.waves = {wave.code: wave for wave in access.study.waves.all()}
        self.clinicians: dict[str, list[Clinician]] = {}
        for clinician in access.clinicians:
            self.clinicians.setdefault(clinician.code, []).append(clinician)

    def check(self, lines: Iterable[_Line]) -> None:
        read = [visit for line in lines if (visit := self._line(line)) is not None]
        made = self._visits_made(read)
        planned: list[PlannedVisit] = []
        first_line: dict[tuple[int, str, int], int] = {}
        for one in read:
            visit = self._in_wave(one, made.get((one.clinician.pk, one.patient_code), []))
            key = (visit.clinician.pk, visit.patient_code, visit.wave.pk)
            if visit.patient_code and key in first_line:
                kind = _("the same patient with the same clinician as on line %(n)d") % {"n": first_line[key]}
                self.plan.problem(visit.line, "patient", kind, _("Delete one of the two lines."))
                continue
            first_line[key] = visit.line
            planned.append(visit)
        stored = _stored_patients((one.clinician.site_id, one.patient_code) for one in planned)
        withdrawn = self._withdrawn(planned)
        for one in planned:
            if (one.clinician.pk, one.patient_code) in withdrawn:
                kind = _("the patient or the clinician has withdrawn from this dyad")
                self.plan.problem(one.line, "patient", kind, _("Delete the line: nothing more is asked of them."))
            visits = made.get((one.clinician.pk, one.patient_code), [])
            if any(visit.wave_id == one.wave.pk for visit in visits):
                kind = _("this patient has a visit with this clinician at this wave already")
                self.plan.problem(one.line, "patient", kind, _("Delete the line, or choose another wave."))
            is_new = (one.clinician.site_id, one.patient_code) not in stored
            self.plan.visits.append(replace(one, is_new_patient=is_new))

    def _in_wave(self, visit: PlannedVisit, made: Sequence[VisitMade]) -> PlannedVisit:
        """The visit in the wave that the list names, or that the windows propose; and whether it is within it."""
        wave = visit.wave
        if not visit.is_wave_said:
            wave = proposed_wave(list(self.waves.values()), day=visit.day, made=made) or wave
        days = days_after_first(visit.day, made)
        return replace(visit, wave=wave, outside_window_days=None if wave.takes(days) else days)

    def _visits_made(self, planned: Sequence[PlannedVisit]) -> dict[tuple[int, str], list[VisitMade]]:
        """The visits that are there already of each clinician (id) and patient (code)."""
        made: dict[tuple[int, str], list[VisitMade]] = {}
        for codes in _chunks(sorted({one.patient_code for one in planned if one.patient_code})):
            rows = Visit.objects.filter(dyad__study=self.study, dyad__patient__code__in=codes).order_by()
            for clinician, code, wave, day in rows.values_list(
                "dyad__clinician", "dyad__patient__code", "wave", "visit_date"
            ):
                made.setdefault((clinician, code), []).append(VisitMade(wave_id=wave, day=day))
        return made

    def _withdrawn(self, planned: Sequence[PlannedVisit]) -> set[tuple[int, str]]:
        found: set[tuple[int, str]] = set()
        for codes in _chunks(sorted({one.patient_code for one in planned if one.patient_code})):
            rows = Withdrawal.objects.filter(dyad__study=self.study, dyad__patient__code__in=codes)
            found |= set(rows.order_by().values_list("dyad__clinician", "dyad__patient__code"))
        return found

    def _line(self, line: _Line) -> PlannedVisit | None:
        values, before = line.values, len(self.plan.problems) + self.plan.n_more_problems
        clinician = self._clinician(line)
        patient_code = self._patient(line)
        day = self._day(line)
        wave = self._wave(line)
        form = self._form(line)
        at = self._time(line)
        outcome = OUTCOMES.get(values.get("outcome", "").lower())
        if outcome is None:
            choices = ", ".join(sorted(set(OUTCOMES) - {""}))
            self.plan.problem(line.number, "outcome", _("an unknown outcome"), _("Write one of: %s.") % choices)
        reason = values.get("reason", "").lower()
        if reason and reason not in NonParticipation.Reason.values:
            choices = ", ".join(NonParticipation.Reason.values)
            self.plan.problem(line.number, "reason", _("an unknown reason"), _("Write one of: %s.") % choices)
        if len(self.plan.problems) + self.plan.n_more_problems > before:
            return None
        if clinician is None or day is None or wave is None or outcome is None:
            return None
        if outcome != "invited":
            self.plan.non_participations.append(
                PlannedNonParticipation(clinician=clinician, day=day, outcome=outcome, reason=reason)
            )
            return None
        return PlannedVisit(
            line=line.number,
            clinician=clinician,
            patient_code=patient_code,
            is_new_patient=False,
            wave=wave,
            form=form,
            day=day,
            at=at,
            is_wave_said=bool(values.get("wave")),
        )

    def _clinician(self, line: _Line) -> Clinician | None:
        code, site = line.values.get("clinician", ""), line.values.get("site", "")
        if not code:
            self.plan.problem(line.number, "clinician", _("blank"), _("Write the clinician's study code."))
            return None
        if self._is_mangled(line, "clinician", code):
            return None
        found = [one for one in self.clinicians.get(code, []) if not site or one.site.code == site]
        if len(found) == 1:
            return found[0]
        if found:
            kind = _("a code that stands at several sites")
            self.plan.problem(line.number, "clinician", kind, _("Add the column site with the site's code."))
        else:
            kind = _("a clinician who is not in this study, or not at your site")
            self.plan.problem(line.number, "clinician", kind, _("Check the code, or let the admin add the clinician."))
        return None

    def _patient(self, line: _Line) -> str:
        code = line.values.get("patient", "")
        if not code or self._is_mangled(line, "patient", code):
            return ""
        if len(code) > 40 or code_validator.regex.match(code) is None:  # type: ignore[union-attr]
            kind = _("not a study code; is it a name?")
            remedy = _("Write a study code of letters, digits and hyphens, or leave it blank for a new patient.")
            self.plan.problem(line.number, "patient", kind, remedy)
            return ""
        return code

    def _is_mangled(self, line: _Line, column: str, code: str) -> bool:
        if MANGLED.fullmatch(code) is None:
            return False
        kind = _("what a spreadsheet made of a code (such as 1E+05, 2-Mar or #NAME?)")
        remedy = _("Format the column as text in the spreadsheet, type the code again, and save the file again.")
        self.plan.problem(line.number, column, kind, remedy)
        return True

    def _day(self, line: _Line) -> date | None:
        written = line.values.get("date", "")
        if not written:
            return self.default_day
        if re.fullmatch(r"\d{4}-\d\d-\d\d", written):
            try:
                return date.fromisoformat(written)
            except ValueError:
                pass
        if re.fullmatch(r"\d{5}", written):
            kind = _("a spreadsheet's number in place of a date")
        elif re.fullmatch(r"\d{1,2}[/.-]\d{1,2}[/.-]\d{2,4}", written):
            kind = _("a date in which day and month could be mistaken")
        else:
            kind = _("not a date")
        self.plan.problem(line.number, "date", kind, _("Write it like 2026-03-31."))
        return None

    def _time(self, line: _Line) -> str:
        written = line.values.get("time", "")
        if not written:
            return ""
        match = re.fullmatch(r"(\d{1,2}):(\d\d)(?::\d\d)?", written)
        if match is None or int(match[1]) > 23 or int(match[2]) > 59:
            self.plan.problem(line.number, "time", _("not a time of day"), _("Write it like 14:30."))
            return ""
        return f"{time(int(match[1]), int(match[2])):%H:%M}"

    def _wave(self, line: _Line) -> Wave | None:
        code = line.values.get("wave", "")
        wave = self.waves.get(code) if code else next(iter(self.waves.values()), None)
        if wave is None:
            choices = ", ".join(self.waves) or "–"
            self.plan.problem(line.number, "wave", _("an unknown wave"), _("Write one of: %s.") % choices)
        return wave

    def _form(self, line: _Line) -> str:
        form = line.values.get("form", "") or ("" if self.study.drawn_form else self.study.default_form)
        if form and form not in self.instrument.forms:
            choices = ", ".join(self.instrument.forms)
            self.plan.problem(line.number, "form", _("an unknown form"), _("Write one of: %s.") % choices)
        return form


def _chunks(values: Sequence[Value]) -> Iterator[list[Value]]:
    rest = iter(values)
    for _number in counted_from():
        chunk = list(islice(rest, CHUNK))
        if not chunk:
            return
        yield chunk
