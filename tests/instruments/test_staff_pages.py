"""Visits, links, the clinician's list and imports, as the people at the desk use them."""

import re
from datetime import date, datetime
from uuid import uuid4

import pytest
from django.conf import LazySettings
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.http import HttpResponse
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from instruments import staff_views
from instruments.definitions import Role
from instruments.models import Administration, InstrumentVersion
from instruments.services import reissue_link
from studies.models import AuditEvent, Dyad, Member, Patient, Study, Visit, Wave
from tests.factories import (
    CLINICIAN_SETTINGS,
    StudyKit,
    administration_of,
    answer,
    finish,
    make_member,
    make_study,
    make_visit,
)

pytestmark = pytest.mark.django_db


@pytest.fixture
def kit() -> StudyKit:
    return make_study("DESK", n_sites=2)


@pytest.fixture
def coordinator(kit: StudyKit) -> Client:
    return signed_in(make_member(kit, Member.Role.COORDINATOR))


@pytest.fixture
def clinician(kit: StudyKit) -> Client:
    return signed_in(make_member(kit, Member.Role.CLINICIAN))


@pytest.fixture
def admin(kit: StudyKit) -> Client:
    return signed_in(make_member(kit, Member.Role.ADMIN))


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def url(name: str, *arguments: object) -> str:
    return reverse(name, args=["DESK", *arguments])


def links_on(response: HttpResponse) -> list[str]:
    """The addresses that the page shows as text."""
    return re.findall(r">(http://[^<]+/q/[^<]+/)</a>", response.content.decode())


def visit_data(kit: StudyKit, **changes: object) -> dict[str, object]:
    return {
        "clinician": kit.clinicians[0].pk,
        "patient_code": "",
        "wave": kit.wave.pk,
        "form": "short",
        "visit_date": "2026-03-02",
        "request_key": "6f0d3ca2-0001-4a5e-9d0a-000000000001",
    } | changes


# --- visits ---


def test_a_new_visit_shows_both_links_once(kit: StudyKit, coordinator: Client) -> None:
    """Both links open their questionnaires, each has its QR code, and no other page repeats them."""
    assert coordinator.get(url("visit_new")).status_code == 200
    response = coordinator.post(url("visit_new"), visit_data(kit))
    assert response.status_code == 200
    visit = Visit.objects.get()
    assert (visit.form, visit.visit_date, visit.dyad.clinician) == ("short", date(2026, 3, 2), kit.clinicians[0])
    links = links_on(response)
    roles = [Administration.objects.with_token(link.rstrip("/").rsplit("/", 1)[1]).get().role for link in links]
    assert roles == [Role.PATIENT, Role.CLINICIAN]
    assert all(Client().get(link).status_code == 200 for link in links)
    assert response.content.decode().count('class="qrline"') == 2
    day = coordinator.get(f"{url('visits')}?date=2026-03-02")
    assert visit.dyad.patient.code in day.content.decode()
    assert not links_on(day)
    event = AuditEvent.objects.exclude(study=None).get()
    assert (event.action, event.detail) == ("add visit", {"dyad": visit.dyad.code, "wave": "baseline"})


def test_sending_the_form_again_makes_no_second_visit(kit: StudyKit, coordinator: Client) -> None:
    """Loading the page of the links again is harmless; another form makes another visit."""
    coordinator.post(url("visit_new"), visit_data(kit))
    again = coordinator.post(url("visit_new"), visit_data(kit))
    assert again.headers["Location"] == f"{url('visits')}?date=2026-03-02"
    assert "This visit was created before" in coordinator.get(again.headers["Location"]).content.decode()
    assert Visit.objects.count() == 1
    coordinator.post(url("visit_new"), visit_data(kit, request_key=str(uuid4())))
    assert Visit.objects.count() == 2


def test_a_known_patient_comes_again(kit: StudyKit, coordinator: Client) -> None:
    """The study code leads to the same patient and dyad at the next wave; at the same wave it is refused."""
    coordinator.post(url("visit_new"), visit_data(kit))
    patient = Patient.objects.get()
    twice = coordinator.post(url("visit_new"), visit_data(kit, patient_code=patient.code, request_key=str(uuid4())))
    assert twice.status_code == 422
    assert "already" in str(twice.context["form"].errors["patient_code"])
    retest = Wave.objects.create(study=kit.study, code="retest", label="Retest", position=2)
    data = visit_data(kit, patient_code=patient.code, wave=retest.pk, request_key=str(uuid4()))
    assert coordinator.post(url("visit_new"), data).status_code == 200
    assert (Patient.objects.count(), Dyad.objects.count(), Visit.objects.count()) == (1, 1, 2)


def test_an_unknown_study_code_is_refused(kit: StudyKit, coordinator: Client) -> None:
    """Also a code of the other site; nothing is made."""
    elsewhere = make_visit(kit, clinician=kit.clinicians[1]).visit.dyad.patient.code
    before = Visit.objects.count()
    for code in ("NOBODY", elsewhere, "x" * 41):
        response = coordinator.post(url("visit_new"), visit_data(kit, patient_code=code))
        assert response.status_code == 422
        assert "patient_code" in response.context["form"].errors
    assert Visit.objects.count() == before


@pytest.mark.parametrize(
    ("field", "value"),
    [("clinician", "0"), ("wave", ""), ("form", "middle"), ("visit_date", "02/31/2026"), ("visit_date", "")],
)
def test_a_bad_visit_is_refused_beside_its_field(kit: StudyKit, coordinator: Client, field: str, value: str) -> None:
    """And makes nothing."""
    response = coordinator.post(url("visit_new"), visit_data(kit, **{field: value}))
    assert response.status_code == 422
    assert response.context["form"].errors.keys() == {field}
    assert not Patient.objects.exists()


def test_a_closed_study_takes_no_visit(kit: StudyKit, coordinator: Client) -> None:
    """The form says who can open it again."""
    Study.objects.update(status=Study.Status.CLOSED)
    response = coordinator.post(url("visit_new"), visit_data(kit))
    assert response.status_code == 422
    assert "closed" in response.content.decode()
    assert not Visit.objects.exists()


def test_a_study_without_parts_or_questionnaire_says_what_is_missing(kit: StudyKit, admin: Client) -> None:
    """Instead of a form that can't be filled in."""
    kit.clinicians[0].delete()
    kit.clinicians[1].delete()
    page = admin.get(url("visit_new")).content.decode()
    assert "a clinician" in page
    assert url("study_settings") in page
    InstrumentVersion.objects.all().delete()
    response = admin.get(url("visit_new"))
    assert response.status_code == 409
    assert "load_instruments" in response.content.decode()


def test_the_days_list_and_those_who_owe_a_form(kit: StudyKit, coordinator: Client) -> None:
    """A day shows its visits; "owing" shows every visit with an unfinished form, and only those."""
    done, open_one = make_visit(kit), make_visit(kit)
    other_day = make_visit(kit)
    Visit.objects.filter(pk=other_day.visit.pk).update(visit_date=date(2026, 3, 5))
    finish(done, Role.PATIENT)
    finish(done, Role.CLINICIAN)
    finish(open_one, Role.PATIENT)

    def listed(query: str) -> set[int]:
        return {row["visit"].pk for row in coordinator.get(f"{url('visits')}?{query}").context["visits"]}

    assert listed("date=2026-03-02") == {done.visit.pk, open_one.visit.pk}
    assert listed("date=2026-03-05") == {other_day.visit.pk}
    assert listed("show=owing") == {open_one.visit.pk, other_day.visit.pk}
    assert listed("date=2026-03-01") == set()


@pytest.mark.parametrize(
    "written", ["", "yesterday", "2026-13-01", "9999-12-31", "0001-01-01", "2026-3-2", "٢٠٢٦-٠٣-٠٢"]
)
def test_a_date_that_is_none_shows_today(kit: StudyKit, coordinator: Client, written: str) -> None:
    """No error for a mistyped address."""
    response = coordinator.get(url("visits"), {"date": written})
    assert response.status_code == 200
    assert response.context["day"] == timezone.localdate()


# --- links ---


def test_a_new_link_replaces_the_old_one(kit: StudyKit, coordinator: Client) -> None:
    """After the page that warns, a POST makes it; the old one is dead, the answers stay."""
    created = make_visit(kit, now=timezone.now())
    administration = administration_of(created, Role.PATIENT)
    page = url("link_reissue", administration.pk)
    assert "stop working at once" in coordinator.get(page).content.decode()
    assert Client().get(reverse("questionnaire", args=[created.patient_token])).status_code == 200
    (link,) = links_on(coordinator.post(page))
    assert Client().get(link).status_code == 200
    assert Client().get(reverse("questionnaire", args=[created.patient_token])).status_code == 404
    assert AuditEvent.objects.exclude(study=None).get().action == "new link"


def test_a_finished_form_gets_no_link(kit: StudyKit, coordinator: Client) -> None:
    """The page says why; a POST is refused and changes nothing."""
    created = make_visit(kit)
    finish(created, Role.PATIENT)
    administration = administration_of(created, Role.PATIENT)
    page = url("link_reissue", administration.pk)
    assert "Its answers are final" in coordinator.get(page).content.decode()
    assert coordinator.post(page).status_code == 409
    assert administration_of(created, Role.PATIENT).token_hash == administration.token_hash


def test_a_form_that_a_patient_has_begun_gets_no_link(kit: StudyKit, coordinator: Client) -> None:
    """The page says why; a POST is refused, and the patient's link still opens it. A clinician's form gets one."""
    created = make_visit(kit, now=timezone.now())
    for role in Role:
        answer(administration_of(created, role), {"VN1": 2}, now=timezone.now())
    page = url("link_reissue", administration_of(created, Role.PATIENT).pk)
    assert "continued with the link that the patient has" in coordinator.get(page).content.decode()
    refused = coordinator.post(page)
    assert refused.status_code == 409
    assert "continued with the link that the patient has" in refused.content.decode()
    assert Client().get(reverse("questionnaire", args=[created.patient_token])).status_code == 200
    assert not AuditEvent.objects.exclude(study=None).exists()
    (link,) = links_on(coordinator.post(url("link_reissue", administration_of(created, Role.CLINICIAN).pk)))
    assert Client().get(link).status_code == 200


def test_nobody_makes_a_link_of_their_own_patient(kit: StudyKit) -> None:
    """A clinician who also runs the desk leaves that to a colleague; the clinician's own form is theirs."""
    user = make_member(kit, Member.Role.CLINICIAN)
    Member.objects.create(study=kit.study, user=user, role=Member.Role.ADMIN)
    client = signed_in(user)
    own = make_visit(kit, now=timezone.now())
    page = url("link_reissue", administration_of(own, Role.PATIENT).pk)
    for response in (client.get(page), client.post(page)):
        assert response.status_code == 403
        assert "Ask a colleague" in response.content.decode()
    assert Client().get(reverse("questionnaire", args=[own.patient_token])).status_code == 200
    others = make_visit(kit, clinician=kit.clinicians[1], now=timezone.now())
    assert client.post(url("link_reissue", administration_of(others, Role.PATIENT).pk)).status_code == 200
    assert client.post(url("link_reissue", administration_of(own, Role.CLINICIAN).pk)).status_code == 200


def test_a_form_that_vanishes_meanwhile_is_not_found(kit: StudyKit, monkeypatch: pytest.MonkeyPatch) -> None:
    """An import took its place between the look-up and the lock: 404."""
    administration = administration_of(make_visit(kit, now=timezone.now()), Role.PATIENT)
    user = make_member(kit, Member.Role.COORDINATOR)

    def too_late(*, administration_id: int, now: datetime, into_hand: bool) -> str:
        Administration.objects.get(pk=administration_id).delete()
        return reissue_link(administration_id=administration_id, now=now, into_hand=into_hand)

    monkeypatch.setattr(staff_views, "reissue_link", too_late)
    assert signed_in(user).post(url("link_reissue", administration.pk)).status_code == 404


# --- settings ---


def test_settings_are_saved_and_traced(kit: StudyKit, admin: Client) -> None:
    """The trail names the changed fields."""
    data = {
        "code": "DESK",
        "title": "Renamed",
        "instrument": "healing-relationships 1.0",
        "default_form": "short",
        "languages": ["en", "es"],
        "consent": "outside",
        "withdrawn_answers": "ask",
        "link_valid_days": "10",
        **CLINICIAN_SETTINGS,
        "status": "closed",
        "why": "the study is over",
    }
    assert admin.post(url("study_settings"), data).status_code == 302
    study = Study.objects.get()
    assert (study.title, study.default_form, study.link_valid_days, study.status) == ("Renamed", "short", 10, "closed")
    event = AuditEvent.objects.exclude(study=None).get()
    assert event.action == "change study"
    assert set(event.detail["fields"]) == {"title", "default_form", "link_valid_days", "status"}


@pytest.mark.parametrize(
    ("field", "value"),
    [("title", ""), ("link_valid_days", "0"), ("link_valid_days", "400"), ("default_form", "middle")],
)
def test_bad_settings_are_refused(kit: StudyKit, admin: Client, field: str, value: str) -> None:
    """Nothing is stored, and the page's head keeps the stored title."""
    data = {
        "title": "Renamed",
        "instrument": "healing-relationships 1.0",
        "default_form": "full",
        "languages": ["en", "es"],
        "consent": "outside",
        "withdrawn_answers": "ask",
        "link_valid_days": "30",
        **CLINICIAN_SETTINGS,
        "status": "open",
        "why": "asked for by the ethics board",
    } | {field: value}
    response = admin.post(url("study_settings"), data)
    assert response.status_code == 422
    assert response.context["form"].errors.keys() == {field}
    assert Study.objects.get().title == "Study DESK"
    assert "<title>Settings · Study DESK ·" in response.content.decode()


def test_what_data_rest_on_is_fixed_once_there_is_a_visit(kit: StudyKit, admin: Client) -> None:
    """Code, questionnaire and the synthetic mark can't be changed any more, whatever is sent."""
    make_visit(kit)
    data = {
        "code": "OTHER",
        "title": "T",
        "instrument": "another 2.0",
        "default_form": "full",
        "languages": ["en", "es"],
        "consent": "outside",
        "withdrawn_answers": "ask",
        "link_valid_days": "30",
        **CLINICIAN_SETTINGS,
        "status": "open",
        "why": "asked for by the ethics board",
        "is_synthetic": "on",
    }
    assert admin.post(url("study_settings"), data).status_code == 302
    study = Study.objects.get()
    assert (study.code, study.instrument_code, study.is_synthetic) == ("DESK", "healing-relationships", False)


# --- import ---


HEADER = "role,clinician,site,patient,VN1,VC1\n"


def upload(client: Client, data: bytes, name: str = "answers.csv") -> HttpResponse:
    return client.post(url("import_responses"), {"file": SimpleUploadedFile(name, data, content_type="text/csv")})


def test_an_import_stores_the_forms_and_says_so(kit: StudyKit, admin: Client) -> None:
    """Two lines make one dyad with two finished forms."""
    lines = "patient,C1,S1,P1,4,5\nclinician,C1,S1,P1,3,3\n"
    response = upload(admin, (HEADER + lines).encode())
    assert response.headers["Location"] == url("import_responses")
    assert "2 forms were imported, with 1 new dyads" in admin.get(url("import_responses")).content.decode()
    assert Administration.objects.filter(status="completed").count() == 2


def test_every_problem_is_listed_and_nothing_imported(kit: StudyKit, admin: Client) -> None:
    """Line, column, kind and remedy of each; the bad value itself is never shown."""
    lines = "patient,C1,S1,P1,4,5\npatient,C1,S1,P2,secretvalue,9\nnurse,C1,S1,P3,1,1\n"
    response = upload(admin, (HEADER + lines).encode())
    assert response.status_code == 422
    page = response.content.decode()
    places = [(problem.line, problem.column) for problem in response.context["refusal"].problems]
    assert places == [(3, "VN1"), (3, "VC1"), (4, "role")]
    assert "secretvalue" not in page
    assert "Write patient or clinician." in page
    assert not Visit.objects.exists()


@pytest.mark.parametrize(
    "data",
    [b"", b"PK\x03\x04rest", b"role\x00,dyad", "role,dyad\nniño,x".encode("latin-1"), b"just some words", b"\n\n"],
)
def test_what_is_no_csv_gives_one_clear_error(kit: StudyKit, admin: Client, data: bytes) -> None:
    """Empty, a spreadsheet, NUL bytes, another encoding, no table: one line that says so."""
    response = upload(admin, data)
    assert response.status_code == 422
    assert response.context["refusal"].problems
    assert "Nothing was imported" in response.content.decode()


@pytest.mark.parametrize("n_bytes", [2_000, 200_000])
@pytest.mark.parametrize("with_token", [True, False])
def test_a_file_that_is_too_large_gives_one_clear_error(
    kit: StudyKit, settings: LazySettings, n_bytes: int, with_token: bool
) -> None:
    """Refused by its announced length or while it comes in, with and without the token that then may not arrive."""
    settings.MAXIMUM_IMPORT_BYTES = 1_000
    client = Client(enforce_csrf_checks=True)
    client.force_login(make_member(kit, Member.Role.ADMIN))
    token = re.search(r'csrfmiddlewaretoken" value="([^"]+)"', client.get(url("import_responses")).content.decode())
    assert token is not None
    data: dict[str, object] = {"file": SimpleUploadedFile("a.csv", b"x" * n_bytes)}
    if with_token:
        data = {"csrfmiddlewaretoken": token.group(1)} | data
    response = client.post(url("import_responses"), data)
    assert response.status_code == 413
    assert "too large" in response.content.decode()


def test_an_import_needs_its_token(kit: StudyKit) -> None:
    """The page looks at the size first, but imports nothing without the CSRF token."""
    client = Client(enforce_csrf_checks=True)
    client.force_login(make_member(kit, Member.Role.ADMIN))
    response = upload(client, (HEADER + "patient,C1,S1,P1,4,5\n").encode())
    assert response.status_code == 403
    assert not Visit.objects.exists()


def test_sending_no_file_asks_for_one(kit: StudyKit, admin: Client) -> None:
    """Beside the field."""
    response = admin.post(url("import_responses"), {"save": "x"})
    assert response.status_code == 422
    assert "file" in response.context["form"].errors
