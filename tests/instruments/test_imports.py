"""A wide file of answers comes in whole and checked, or not at all."""

import csv
import io

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from instruments.definitions import Role
from instruments.imports import ImportRefused, import_responses
from instruments.models import Administration, AnswerEvent
from scoring.models import ScoringRequest
from studies.models import AuditEvent, Dyad, Patient, Visit
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


def load(kit: StudyKit, data: bytes) -> tuple[int, int]:
    report = import_responses(study=kit.study, data=data, now=NOW, actor=None)
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
        (b'role,dyad\n"patient,P1\n', "CSV"),
        (b"role,dyad\n", "no row"),
        (b"role,role,dyad\npatient,patient,x\n", "twice"),
        (b"role,,dyad\npatient,1,x\n", "without a name"),
        (b"VN1,VN2\n3,4\n", "missing"),
        (b"role,dyad\npatient\n", "1 values"),
        (b"role,dyad\npatient," + b"x" * 5000 + b"\n", "longer"),
        (b"role,dyad\npatient," + b"x" * 200_000 + b"\n", "CSV"),
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
