"""A wide file of answers comes in whole and checked, or not at all."""

import csv
import io
from datetime import UTC, date, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.db import IntegrityError
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from instruments import imports
from instruments.definitions import Role
from instruments.imports import ImportRefused, import_responses
from instruments.models import Administration, AnswerEvent
from instruments.services import FinishedForm, FormsTaken, dyad_between, store_finished_forms
from scoring.models import ScoringRequest
from studies.models import AuditEvent, Clinician, Dyad, Patient, Site, Study, Visit
from tests.factories import NOW, StudyKit, administration_of, answer, make_study, make_visit

pytestmark = pytest.mark.django_db


@pytest.fixture
def kit() -> StudyKit:
    return make_study(n_sites=2, n_clinicians=2)


def wide(kit: StudyKit, *rows: dict[str, object], drop: tuple[str, ...] = ()) -> bytes:
    """A CSV file with all item columns; each row is a sound patient form but for what it overrides."""
    items = kit.instrument.forms["full"].order
    sound: dict[str, object] = {"role": "patient", "site": "S1", "clinician": "C1", "patient": "P1"}
    sound |= dict.fromkeys(items, 4)
    names = [name for name in dict.fromkeys([*sound, *(key for row in rows for key in row)]) if name not in drop]
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=names, extrasaction="ignore")
    writer.writeheader()
    for row in rows:
        writer.writerow(sound | row)
    return text.getvalue().encode()


def load(kit: StudyKit, data: bytes, *, now: datetime = NOW) -> tuple[int, int]:
    report = import_responses(study=kit.study, data=data, now=now, actor=None)
    return report.n_forms, report.n_dyads


def refused(kit: StudyKit, data: bytes) -> list[tuple[int | None, str]]:
    """The places of the problems; and that nothing at all was stored."""
    before = tuple(model.objects.count() for model in (Visit, Administration, AnswerEvent, Dyad, Patient, AuditEvent))
    with pytest.raises(ImportRefused) as refusal:
        import_responses(study=kit.study, data=data, now=NOW, actor=None)
    after = tuple(model.objects.count() for model in (Visit, Administration, AnswerEvent, Dyad, Patient, AuditEvent))
    assert after == before
    assert all(problem.kind and problem.remedy for problem in refusal.value.problems)
    return [(problem.line, problem.column) for problem in refusal.value.problems]


def test_both_forms_of_a_new_dyad_become_administrations_and_ask_for_scoring(kit: StudyKit) -> None:
    """Two rows, one dyad, one visit, two finished forms with their log."""
    data = wide(kit, {"VN1": 5, "VI1": "DNA", "VC1": ""}, {"role": "clinician", "VN1": "2"})
    assert load(kit, data) == (2, 1)
    visit = Visit.objects.get()
    assert visit.dyad.code == "P1.C1"
    patient = Administration.objects.get(visit=visit, role=Role.PATIENT)
    assert (patient.status, patient.mode) == ("completed", "imported")
    assert (patient.answers["VN1"], patient.answers["VI1"], patient.answers["VC1"]) == (5, "DNA", "SKIPPED")
    assert patient.answers["pt_age"] == "NOT_REACHED"
    assert patient.events.count() == len(patient.answers)
    assert Administration.objects.get(visit=visit, role=Role.CLINICIAN).answers["VN1"] == 2
    assert ScoringRequest.objects.unfinished().filter(pk=visit.pk).exists()


def test_a_patient_alone_leaves_the_clinician_s_form_open(kit: StudyKit) -> None:
    """The partner can still answer on the web; a later file can bring the partner's form as well."""
    load(kit, wide(kit, {}))
    assert Administration.objects.get(role=Role.CLINICIAN).status == "waiting"
    load(kit, wide(kit, {"role": "clinician"}))
    assert Administration.objects.get(role=Role.CLINICIAN).status == "completed"
    assert Visit.objects.count() == 1


def test_a_dyad_code_says_whose_form_it_is(kit: StudyKit) -> None:
    """The dyad of a visit made earlier takes the form; its unanswered web form is replaced."""
    created = make_visit(kit)
    rows = {"dyad": created.visit.dyad.code, "clinician": "", "patient": "", "site": ""}
    assert load(kit, wide(kit, rows)) == (1, 0)
    assert administration_of(created, Role.PATIENT).is_completed


def test_language_date_wave_and_questions_are_taken_over(kit: StudyKit) -> None:
    """Optional columns land in their places, several options joined by a bar."""
    row = {"language": "es", "completed_on": "2026-02-01", "wave": "baseline", "pt_illness": "diabetes|cancer"}
    load(kit, wide(kit, row | {"pt_age": 64, "X_MISTAKE": "no"}))
    form = Administration.objects.get(role=Role.PATIENT)
    assert (form.language, form.completed_at and form.completed_at.date().isoformat()) == ("es", "2026-02-01")
    assert form.answers["pt_illness"] == ["diabetes", "cancer"]
    assert (form.answers["pt_age"], form.answers["X_OWNED"]) == (64, "NOT_SHOWN")


@pytest.mark.parametrize(
    ("row", "place"),
    [
        ({"VN1": 6}, (2, "VN1")),
        ({"VN1": "4.5"}, (2, "VN1")),
        ({"VN1": "DNA"}, (2, "VN1")),
        ({"VN1": "four"}, (2, "VN1")),
        ({"role": "doctor"}, (2, "role")),
        ({"clinician": "C9"}, (2, "clinician")),
        ({"site": ""}, (2, "clinician")),  # C1 stands at both sites
        ({"patient": ""}, (2, "patient")),
        ({"patient": "=1+1"}, (2, "patient")),
        ({"wave": "retest"}, (2, "wave")),
        ({"form": "long"}, (2, "form")),
        ({"form": "short"}, (2, "VC1")),  # an item that the short form does not ask
        ({"language": "fr"}, (2, "language")),
        ({"completed_on": "01/02/2026"}, (2, "completed_on")),
        ({"completed_on": "2031-01-01"}, (2, "completed_on")),
        ({"dyad": "X.Y", "clinician": ""}, (2, "dyad")),
        ({"pt_age": 7}, (2, "pt_age")),
        ({"clin_sex": "female"}, (2, "clin_sex")),
        ({"VC9": 3}, (1, "VC9")),
        ({"VN1": "NOT_SHOWN"}, (2, "VN1")),
        ({"pt_age": "NOT_SHOWN"}, (2, "pt_age")),
        ({"X_MISTAKE": "yes", "X_OWNED": "NOT_SHOWN"}, (2, "X_OWNED")),
        ({"X_MISTAKE": "no", "X_OWNED": "partly"}, (2, "X_OWNED")),
        ({"X_MISTAKE": "", "X_OWNED": "PREFER_NOT"}, (2, "X_OWNED")),
        ({"X_OWNED": "partly"}, (2, "X_OWNED")),  # no column says whether it was asked
        ({"completed_on": "2026-03-03"}, (2, "completed_on")),  # tomorrow
    ],
)
def test_a_bad_cell_is_named_by_line_and_column_and_nothing_comes_in(
    kit: StudyKit, row: dict[str, object], place: tuple[int, str]
) -> None:
    """The sound second row is not imported either."""
    assert place in refused(kit, wide(kit, row, {"patient": "P2"}))


def test_every_bad_line_is_reported(kit: StudyKit) -> None:
    """Not only the first."""
    places = refused(kit, wide(kit, {"VN1": 9}, {"patient": "P2"}, {"patient": "P3", "VC1": -1, "role": "x"}))
    assert places == [(2, "VN1"), (4, "role")] or places == [(2, "VN1"), (4, "role"), (4, "VC1")]


def test_the_value_itself_is_never_repeated(kit: StudyKit) -> None:
    """A message must not carry what somebody wrote into a cell."""
    with pytest.raises(ImportRefused) as refusal:
        load(kit, wide(kit, {"VN1": "my private words"}))
    assert "private" not in str(refusal.value)


def test_the_same_form_twice_in_a_file_or_a_study_is_refused(kit: StudyKit) -> None:
    """Stored answers are never replaced by an import."""
    assert refused(kit, wide(kit, {}, {})) == [(3, "role")]
    load(kit, wide(kit, {}))
    assert refused(kit, wide(kit, {}, {"patient": "P2"})) == [(2, "role")]


def test_a_form_that_somebody_is_answering_is_not_replaced(kit: StudyKit) -> None:
    """Started on the web means it is theirs."""
    created = make_visit(kit)
    answer(administration_of(created, Role.PATIENT), {"VN1": 2})
    row = {"dyad": created.visit.dyad.code, "clinician": "", "patient": "", "site": ""}
    assert refused(kit, wide(kit, row)) == [(2, "role")]


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"", "empty"),
        (b"  \n", "empty"),
        (b"PK\x03\x04 a spreadsheet", "spreadsheet"),
        (b"role,dyad\x00\n", "NUL"),
        ("role,dyad\npatient,ñ\n".encode("latin-1"), "UTF-8"),
        ("role,dyad\n".encode("utf-16"), "NUL"),
        (b"role;dyad;VN1\npatient;P1;3\n", "semicolons"),
        (b"role\tdyad\npatient\tP1\n", "tabs"),
        (b'role,dyad,VN1\n"patient,P1,3\n', "CSV"),
        (b"role,dyad,VN1\n", "no row"),
        (b"role,role,dyad\npatient,patient,x\n", "twice"),
        (b"role,,dyad\npatient,1,x\n", "without a name"),
        (b"VN1,VN2\n3,4\n", "missing"),
        (b"role,clinician,patient,site\npatient,C1,P1,S1\n", "no column of answers"),
        (b"role,dyad,VN1\npatient\n", "1 values"),
        (b"role,dyad,VN1\npatient," + b"x" * 5000 + b",3\n", "longer"),
        (b"role,dyad,VN1\npatient," + b"x" * 200_000 + b",3\n", "CSV"),
    ],
)
def test_a_file_that_is_no_such_csv_gets_one_clear_error(kit: StudyKit, data: bytes, kind: str) -> None:
    """What the file is, and what to do."""
    with pytest.raises(ImportRefused, match=kind):
        load(kit, data)
    assert not Administration.objects.exists()


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.one_of(st.binary(max_size=400), st.text(max_size=400).map(lambda text: text.encode("utf-8", "replace"))))
def test_no_bytes_whatever_bring_anything_but_a_refusal(kit: StudyKit, data: bytes) -> None:
    """Random bytes and texts are refused, never stored and never an unexpected error."""
    with pytest.raises(ImportRefused):
        load(kit, data)
    with pytest.raises(ImportRefused):
        load(kit, b"role,dyad,VN1\n" + data)


def test_problems_beyond_two_hundred_are_counted(kit: StudyKit) -> None:
    """A file that is wrong throughout doesn't fill the page."""
    rows = [{"patient": f"P{n}", "VN1": 9} for n in range(250)]
    with pytest.raises(ImportRefused) as refusal:
        load(kit, wide(kit, *rows))
    assert (len(refusal.value.problems), refusal.value.n_more) == (200, 50)
    assert "and 50 more" in str(refusal.value)


def test_an_import_is_in_the_audit_trail(kit: StudyKit) -> None:
    """With counts, not with answers."""
    import_responses(study=kit.study, data=wide(kit, {}), now=NOW, actor=None, file_name="paper.csv")
    event = AuditEvent.objects.get()
    assert (event.action, event.detail) == ("import responses", {"file": "paper.csv", "forms": 1, "new_dyads": 1})


@pytest.mark.parametrize(("column", "code"), [("clinician", "C2"), ("patient", "P2"), ("site", "S2")])
def test_cells_that_contradict_the_dyad_are_refused(kit: StudyKit, column: str, code: str) -> None:
    """Whose form it is must be beyond doubt; the dyad's own codes may stand beside it."""
    load(kit, wide(kit, {}))
    row = {"role": "clinician", "dyad": "P1.C1"}
    assert refused(kit, wide(kit, row | {column: code})) == [(2, column)]
    assert load(kit, wide(kit, row)) == (1, 0)


def test_a_line_without_any_answer_is_refused(kit: StudyKit) -> None:
    """It would finish a form for good with nothing in it; what only the other role is asked doesn't count."""
    blank = dict.fromkeys(kit.instrument.forms["full"].order, "")
    assert refused(kit, wide(kit, {}, {"patient": "P2"} | blank)) == [(3, "")]
    not_shown = {"role": "clinician", "pt_age": "NOT_SHOWN"}
    assert refused(kit, wide(kit, {}, not_shown | dict.fromkeys(blank, "NOT_SHOWN"))) == [(3, "")]
    assert load(kit, wide(kit, {"patient": "P3"} | blank | {"VN1": "SKIPPED"})) == (1, 1)


def test_what_a_form_does_not_ask_may_be_blank_or_not_shown(kit: StudyKit) -> None:
    """Items of the other form, questions of the other role or of a later wave, conditions that fail."""
    short = kit.instrument.forms["short"].order
    row: dict[str, object] = {code: "NOT_SHOWN" for code in kit.instrument.forms["full"].order if code not in short}
    row |= {"form": "short", "X_CHANGE": "NOT_SHOWN", "X_MISTAKE": "no"}
    load(kit, wide(kit, row | {"X_OWNED": "NOT_SHOWN"}, row | {"patient": "P2", "X_OWNED": ""}))
    load(kit, wide(kit, {"role": "clinician", "form": "short", "pt_age": "NOT_SHOWN"} | dict.fromkeys(row, "") | row))
    for form in Administration.objects.filter(role=Role.PATIENT):
        assert form.answers["X_OWNED"] == "NOT_SHOWN"
        assert not {"X_CHANGE", "VN2"} & form.answers.keys()


def test_one_bad_cell_is_one_problem(kit: StudyKit) -> None:
    """A question that hangs on it is not judged before it is mended."""
    assert refused(kit, wide(kit, {"X_MISTAKE": "perhaps", "X_OWNED": "partly"})) == [(2, "X_MISTAKE")]


def test_a_closed_study_takes_neither_import_nor_visits(kit: StudyKit) -> None:
    """Each with an error that says so."""
    kit.study.status = Study.Status.CLOSED
    kit.study.save()
    assert refused(kit, wide(kit, {})) == [(None, "")]
    with pytest.raises(ImportRefused, match="study is closed"):
        load(kit, wide(kit, {}))
    with pytest.raises(ValueError, match="Study PILOT is closed"):
        make_visit(kit)
    assert not Patient.objects.exists()


def test_a_study_closed_while_the_file_is_read_takes_no_import(kit: StudyKit) -> None:
    """What counts is the study as it stands when the forms are stored."""
    Study.objects.update(status=Study.Status.CLOSED)
    assert kit.study.status == Study.Status.OPEN
    assert refused(kit, wide(kit, {})) == [(None, "")]


EVENING = datetime(2026, 3, 2, 20, tzinfo=UTC)  # in Auckland it is the 3rd, nine in the morning


def test_dates_are_those_of_the_place(kit: StudyKit) -> None:
    """Today, the day of a new visit and the day of completion are local, and nothing is completed in the future."""
    with timezone.override(ZoneInfo("Pacific/Auckland")):
        rows = [{"patient": f"P{n}", "completed_on": day} for n, day in enumerate(("2026-02-01", "2026-03-03", ""))]
        load(kit, wide(kit, *rows), now=EVENING)
        days = [date(2026, 2, 1), date(2026, 3, 3), date(2026, 3, 3)]
        assert [visit.visit_date for visit in Visit.objects.order_by("dyad__code")] == days
        forms = Administration.objects.filter(status="completed").order_by("visit__dyad__code")
        completed = [form.completed_at for form in forms if form.completed_at]
        assert [timezone.localdate(at) for at in completed] == days
        assert max(completed) <= EVENING
        with pytest.raises(ImportRefused, match="completed_on"):
            load(kit, wide(kit, {"patient": "P9", "completed_on": "2026-03-04"}), now=EVENING)
        assert make_visit(kit, now=EVENING).visit.visit_date == date(2026, 3, 3)
    with timezone.override(ZoneInfo("America/Los_Angeles")), pytest.raises(ImportRefused, match="completed_on"):
        load(kit, wide(kit, {"patient": "P9", "completed_on": "2026-03-02"}), now=datetime(2026, 3, 2, 5, tzinfo=UTC))


def test_two_sites_may_use_the_same_codes(kit: StudyKit) -> None:
    """The second dyad's code begins with its site; the export's code leads back to it."""
    assert load(kit, wide(kit, {}, {"site": "S2"})) == (2, 2)
    assert set(Dyad.objects.values_list("code", flat=True)) == {"P1.C1", "S2.P1.C1"}
    assert load(kit, wide(kit, {"role": "clinician", "dyad": "S2.P1.C1", "site": "S2"})) == (1, 0)


def test_new_visits_find_a_free_dyad_code(kit: StudyKit, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when somebody chose a dyad's code by hand."""
    monkeypatch.setattr("instruments.services.new_patient_code", lambda clinician: "N1")
    codes = [
        make_visit(kit, clinician=clinician).visit.dyad.code for clinician in (kit.clinicians[0], kit.clinicians[2])
    ]
    assert codes == ["N1.C1", "S2.N1.C1"]


def test_a_dyad_code_fits_its_column() -> None:
    """Where the longest codes leave no room for the site, a number tells the dyads apart."""
    kit = make_study("LONG")
    site = Site.objects.create(study=kit.study, code="S" * 20, name="Long")
    clinician = Clinician.objects.create(site=site, code="C" * 20)
    Dyad.objects.create(
        study=kit.study,
        clinician=kit.clinicians[0],
        patient=Patient.objects.create(site=kit.sites[0], code="P1"),
        code=f"{'P' * 40}.{'C' * 20}",
    )
    dyad, is_new = dyad_between(study=kit.study, clinician=clinician, patient_code="P" * 40)
    assert (dyad.code, is_new) == (f"{'P' * 40}.{'C' * 20}.2", True)
    assert dyad_between(study=kit.study, clinician=clinician, patient_code="P" * 40) == (dyad, False)


def test_a_new_patient_never_gets_a_code_that_is_there(kit: StudyKit, monkeypatch: pytest.MonkeyPatch) -> None:
    """Chance alone must not make two people one."""
    letters = iter("A" * 8 + "A" * 8 + "B" * 8)
    monkeypatch.setattr("instruments.services.secrets.choice", lambda alphabet: next(letters))
    codes = [make_visit(kit).visit.dyad.patient.code for _ in range(2)]
    assert codes == ["S1-AAAAAAAA", "S1-BBBBBBBB"]


def test_the_same_import_at_the_same_moment_is_refused(kit: StudyKit, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the database's constraints refuse is no failure of the platform: the file can be loaded again."""

    def overtaken(**options: Any) -> None:
        store_finished_forms(**options)
        Patient.objects.create(site=kit.sites[0], code="P1")

    monkeypatch.setattr(imports, "store_finished_forms", overtaken)
    with pytest.raises(ImportRefused, match="at the same moment") as refusal:
        load(kit, wide(kit, {}))
    assert isinstance(refusal.value.__cause__, IntegrityError)
    assert not Patient.objects.exists()


def test_a_form_started_after_the_check_is_not_replaced(kit: StudyKit, monkeypatch: pytest.MonkeyPatch) -> None:
    """The line is named, and the sound other line isn't stored either."""
    created = make_visit(kit)

    def overtaken(**options: Any) -> None:
        answer(administration_of(created, Role.PATIENT), {"VN1": 2})
        store_finished_forms(**options)

    monkeypatch.setattr(imports, "store_finished_forms", overtaken)
    row = {"dyad": created.visit.dyad.code, "clinician": "", "patient": "", "site": ""}
    assert refused(kit, wide(kit, {}, row)) == [(3, "role")]


def finished_form(kit: StudyKit, visit: Visit, role: Role) -> FinishedForm:
    return FinishedForm(
        dyad=visit.dyad, wave=kit.wave, role=role, form="full", language="en", answers={"VN1": 5}, completed_at=NOW
    )


def test_storing_finished_forms_leaves_started_ones_alone(kit: StudyKit) -> None:
    """All or nothing: the partner's waiting form isn't taken over either."""
    created = make_visit(kit)
    patient = administration_of(created, Role.PATIENT)
    answer(patient, {"VN1": 2})
    forms = [finished_form(kit, created.visit, role) for role in Role]
    with pytest.raises(FormsTaken) as refusal:
        store_finished_forms(
            study=kit.study, instrument_version=kit.version, forms=forms, mode=Administration.Mode.IMPORTED, now=NOW
        )
    assert refusal.value.forms == forms[:1]
    patient.refresh_from_db()
    assert (patient.status, patient.answers) == ("started", {"VN1": 2})
    assert administration_of(created, Role.CLINICIAN).status == "waiting"


def test_a_waiting_form_is_taken_over_in_its_row(kit: StudyKit) -> None:
    """Whoever was about to start it finds a finished form, not a missing one; the old link opens nothing."""
    created = make_visit(kit)
    before = administration_of(created, Role.PATIENT)
    store_finished_forms(
        study=kit.study,
        instrument_version=kit.version,
        forms=[finished_form(kit, created.visit, Role.PATIENT)],
        mode=Administration.Mode.IMPORTED,
        now=NOW,
    )
    after = administration_of(created, Role.PATIENT)
    assert (after.pk, after.status, after.mode, after.answers) == (before.pk, "completed", "imported", {"VN1": 5})
    assert after.events.count() == 1
    assert not Administration.objects.with_token(created.patient_token).exists()
