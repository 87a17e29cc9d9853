"""The day's list: read from CSV or ICS, shown, confirmed as a whole; and who does not take part."""

import time
from datetime import date
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse

from instruments.day_list import DayPlan, enrol_day_list, plan_day_list
from instruments.models import Administration
from instruments.participation import participation
from studies.access import StudyAccess, study_for
from studies.models import (
    AuditEvent,
    Clinician,
    Dyad,
    EnrolmentDraft,
    Member,
    NonParticipation,
    Patient,
    Study,
    Visit,
    Wave,
)
from tests.factories import NOW, StudyKit, make_member, make_study, make_visit

pytestmark = pytest.mark.django_db

DAY = date(2026, 3, 2)


@pytest.fixture
def kit() -> StudyKit:
    """Two sites with two clinicians each: S1 has C1 and C2, S2 has C1 (the same code) and C9."""
    made = make_study("DESK", n_sites=2, n_clinicians=2)
    Clinician.objects.filter(pk=made.clinicians[3].pk).update(code="C9")
    return made


@pytest.fixture
def user(kit: StudyKit) -> User:
    return make_member(kit, Member.Role.COORDINATOR)


@pytest.fixture
def access(user: User) -> StudyAccess:
    return study_for(user, "DESK", Member.Role.COORDINATOR)


@pytest.fixture
def admin_access(kit: StudyKit) -> StudyAccess:
    return study_for(make_member(kit, Member.Role.ADMIN), "DESK", Member.Role.ADMIN)


def plan(access: StudyAccess, text: str | bytes) -> DayPlan:
    data = text if isinstance(text, bytes) else text.encode()
    return plan_day_list(access=access, data=data, default_day=DAY)


def problems(made: DayPlan) -> list[tuple[int | None, str]]:
    assert all(one.kind and one.remedy for one in made.problems)
    return [(one.line, one.column) for one in made.problems]


def test_a_csv_list_becomes_visits(kit: StudyKit, access: StudyAccess, user: User) -> None:
    """Known and new patients, own and default dates, waves and forms; each visit with both questionnaires."""
    Wave.objects.create(study=kit.study, code="retest", label="Retest", position=2)
    known = make_visit(kit).visit.dyad.patient
    made = plan(
        access,
        "clinician,patient,date,time,wave,form\n"
        f"C1,{known.code},2026-03-05,9:30,retest,short\nC2,,,,,\nC2,NEW-7,,14:05:00,,\n",
    )
    assert made.problems == []
    assert [(one.is_new_patient, one.at, str(one.day)) for one in made.visits] == [
        (False, "09:30", "2026-03-05"),
        (True, "", "2026-03-02"),
        (True, "14:05", "2026-03-02"),
    ]
    assert Visit.objects.count() == 1
    enrolled = enrol_day_list(access=access, plan=made, actor=user, now=NOW)
    visits = [one.created.visit for one in enrolled]
    assert [(visit.wave.code, visit.form) for visit in visits] == [
        ("retest", "short"),
        ("baseline", "full"),
        ("baseline", "full"),
    ]
    assert visits[0].dyad.patient == known
    assert visits[2].dyad.code == "NEW-7.C2"
    for one in enrolled:
        for token, role in ((one.created.patient_token, "patient"), (one.created.clinician_token, "clinician")):
            assert Administration.objects.with_token(token).get().role == role
    event = AuditEvent.objects.get(action="enrol list")
    assert event.detail == {"visits": 3, "not_taking_part": 0, "new_patients": 2}


ICS = """BEGIN:VCALENDAR\r
VERSION:2.0\r
BEGIN:VEVENT\r
UID:1\r
DTSTART;TZID=Europe/Madrid:20260302T093000\r
SUMMARY:C1\r
  P-1\r
END:VEVENT\r
BEGIN:VEVENT\r
DTSTART:20260302T140000Z\r
SUMMARY:C2\r
END:VEVENT\r
BEGIN:VEVENT\r
DTSTART;VALUE=DATE:20260303\r
SUMMARY:C1\r
STATUS:CANCELLED\r
END:VEVENT\r
END:VCALENDAR\r
"""


def test_a_calendar_becomes_visits(access: StudyAccess) -> None:
    """Folded lines are joined, times read, cancelled appointments left out."""
    made = plan(access, ICS)
    assert made.problems == []
    assert [(one.clinician.code, one.patient_code, one.at) for one in made.visits] == [
        ("C1", "P-1", "09:30"),
        ("C2", "", "14:00"),
    ]


def test_a_calendar_with_names_is_refused(access: StudyAccess) -> None:
    """Titles of more than two words, and starts that cannot be read, each at its appointment."""
    made = plan(access, ICS.replace("SUMMARY:C2", "SUMMARY:C2 Maria Lopez").replace("20260302T093000", "soon"))
    assert set(problems(made)) >= {(3, "DTSTART"), (9, "SUMMARY")}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("clinician;patient\nC1;P1\n", [(1, "")]),
        ("clinician\tpatient\nC1\tP1\n", [(1, "")]),
        ("patient\nP1\n", [(1, "clinician")]),
        ("clinician,name\nC1,x\n", [(1, "name")]),
        ("clinician,clinician\nC1,C1\n", [(1, "clinician")]),
        ("clinician,patient\nC1,P1\nC1,P1\n", [(3, "patient")]),
        ("clinician\nC7\n", [(2, "clinician")]),
        ("clinician\nC9\n", [(2, "clinician")]),
        ("clinician,patient\n,P1\n", [(2, "clinician")]),
        ("clinician,date\nC1,31/03/2026\n", [(2, "date")]),
        ("clinician,date\nC1,46112\n", [(2, "date")]),
        ("clinician,date\nC1,2026-02-30\n", [(2, "date")]),
        ("clinician,date\nC1,mañana\n", [(2, "date")]),
        ("clinician,patient\nC1,1E+05\n", [(2, "patient")]),
        ("clinician,patient\nC1,2-Mar\n", [(2, "patient")]),
        ("clinician,patient\nC1,#NAME?\n", [(2, "patient")]),
        ('clinician,patient\nC1,"=""P1"""\n', [(2, "patient")]),
        ("clinician,patient\nC1,Maria Lopez\n", [(2, "patient")]),
        (f"clinician,patient\nC1,{'P' * 41}\n", [(2, "patient")]),
        ("clinician,time\nC1,25:00\n", [(2, "time")]),
        ("clinician,wave\nC1,later\n", [(2, "wave")]),
        ("clinician,form\nC1,middle\n", [(2, "form")]),
        ("clinician,outcome\nC1,maybe\n", [(2, "outcome")]),
        ("clinician,outcome,reason\nC1,declined,weather\n", [(2, "reason")]),
        ("clinician,patient\nC1\n", [(2, "")]),
        ('clinician,patient\nC1,"P1\n', [(2, "")]),
        ("", [(1, "clinician")]),
        ("clinician\n", [(None, "")]),
        (b"clinician,patient\nC1,\xf1\n", [(2, "")]),
        (b"clinician\nC\x001\n", [(None, "")]),
        ("BEGIN:VCALENDAR\nEND:VCALENDAR\n", [(None, "")]),
    ],
)
def test_bad_lists_say_where_and_what_to_do(
    access: StudyAccess, text: str | bytes, expected: list[tuple[int | None, str]]
) -> None:
    """Line, column and remedy; nothing is planned that could be stored."""
    made = plan(access, text)
    assert [one for one in problems(made) if one in expected] == expected
    assert not made.is_sound


def test_a_code_at_two_sites_needs_the_site(admin_access: StudyAccess) -> None:
    """With the column it is clear; a coordinator knows only the own one."""
    assert problems(plan(admin_access, "clinician\nC1\n")) == [(2, "clinician")]
    made = plan(admin_access, "clinician,site\nC1,S2\n")
    assert [one.clinician.site.code for one in made.visits] == ["S2"]


def test_a_visit_that_is_there_is_refused_before_and_after_the_preview(
    kit: StudyKit, access: StudyAccess, user: User
) -> None:
    """The list says so; a visit made between preview and confirmation leaves nothing of the list."""
    visit = make_visit(kit).visit
    assert problems(plan(access, f"clinician,patient\nC1,{visit.dyad.patient.code}\n")) == [(2, "patient")]
    client = Client()
    client.force_login(user)
    preview = upload(client, b"clinician,patient\nC1,P-A\nC2,P-B\n")
    made = plan(access, "clinician,patient\nC2,P-B\n")
    enrol_day_list(access=access, plan=made, actor=user, now=NOW)
    before = Visit.objects.count()
    response = client.post(confirm_address(preview))
    assert response.status_code == 409
    assert Visit.objects.count() == before
    assert not Patient.objects.filter(code="P-A").exists()


def test_two_sites_may_hold_the_same_codes(admin_access: StudyAccess, user: User) -> None:
    """A dyad's code is its own in the study: the second gets the site before it."""
    made = plan(admin_access, "clinician,site,patient\nC1,S1,P1\nC1,S2,P1\n")
    enrol_day_list(access=admin_access, plan=made, actor=user, now=NOW)
    assert sorted(Dyad.objects.values_list("code", flat=True)) == ["P1.C1", "S2.P1.C1"]


def test_a_closed_study_enrols_nobody(kit: StudyKit, access: StudyAccess) -> None:
    """And says who can open it."""
    access.study.status = Study.Status.CLOSED
    assert problems(plan(access, "clinician\nC1\n")) == [(None, "")]


def test_a_hundred_thousand_lines_are_checked_in_seconds_and_bounded(access: StudyAccess) -> None:
    """Every line wrong: 200 are told, the others counted. Every line right: all are planned."""
    start = time.monotonic()
    wrong = plan(access, "clinician,date\n" + "C1,31/03/2026\n" * 100_000)
    assert (len(wrong.problems), wrong.n_more_problems) == (200, 99_800)
    right = plan(access, "clinician,patient\n" + "".join(f"C1,P{number}\n" for number in range(100_000)))
    assert (len(right.visits), right.problems) == (100_000, [])
    # A few seconds on an idle machine; the bound is for a busy one.
    assert time.monotonic() - start < 120


def test_forty_appointments_take_a_handful_of_statements(
    access: StudyAccess, user: User, django_assert_max_num_queries: Any
) -> None:
    """Checked and enrolled: far within the minute that a coordinator has."""
    text = "clinician,patient\n" + "".join(f"C{1 + number % 2},P{number}\n" for number in range(40))
    start = time.monotonic()
    with django_assert_max_num_queries(40):
        enrolled = enrol_day_list(access=access, plan=plan(access, text), actor=user, now=NOW)
    assert len(enrolled) == 40
    assert time.monotonic() - start < 20


# --- the pages ---


def upload(client: Client, content: bytes) -> Any:
    file = SimpleUploadedFile("list.csv", content)
    return client.post(reverse("day_list", args=["DESK"]), {"file": file, "day": "2026-03-02"})


def confirm_address(preview: Any) -> str:
    assert preview.status_code == 200
    return reverse("day_list_confirm", args=["DESK", preview.context["key"]])


def test_from_the_file_to_the_sheet(kit: StudyKit, user: User) -> None:
    """Nothing is stored by the preview; confirming makes the visits and shows their QR codes, once."""
    client = Client()
    client.force_login(user)
    preview = upload(client, b"clinician,patient,time,outcome,reason\nC1,P-A,10:00,,\nC2,,,declined,no_time\n")
    assert "Is this right?" in preview.content.decode()
    assert not Visit.objects.exists()
    address = confirm_address(preview)
    sheet = client.post(address)
    body = sheet.content.decode()
    assert body.count('class="qrline"') == 2  # the patient's, and the clinician's, who has no account
    assert "10:00" in body
    assert Visit.objects.count() == 1
    assert NonParticipation.objects.get().reason == "no_time"
    assert client.post(address).headers["Location"] == reverse("day_list", args=["DESK"])
    assert Visit.objects.count() == 1
    assert not EnrolmentDraft.objects.exists()


def test_a_bad_file_is_shown_line_by_line(user: User) -> None:
    """422 with line, column and remedy; no draft is kept."""
    client = Client()
    client.force_login(user)
    response = upload(client, b"clinician,date\nC7,31/03/2026\n")
    assert response.status_code == 422
    assert "Write it like 2026-03-31." in response.content.decode()
    assert not EnrolmentDraft.objects.exists()


def test_nobody_confirms_anothers_list(kit: StudyKit, user: User) -> None:
    """Nor a list of another study: as if it were not there."""
    client, other = Client(), Client()
    client.force_login(user)
    other.force_login(make_member(kit, Member.Role.ADMIN))
    address = confirm_address(upload(client, b"clinician\nC1\n"))
    assert other.post(address).status_code == 302
    assert not Visit.objects.exists()


def test_the_denominator_counts_who_was_asked(kit: StudyKit, user: User, access: StudyAccess) -> None:
    """Offered are those with a visit and who declined; who was not eligible stands apart."""
    client = Client()
    client.force_login(user)
    make_visit(kit)
    for outcome, reason, n in (("declined", "no_time", 2), ("declined", "", 1), ("ineligible", "language", 3)):
        data = {
            "clinician": kit.clinicians[0].pk,
            "outcome": outcome,
            "reason": reason,
            "n_people": n,
            "day": "2026-03-02",
        }
        assert client.post(reverse("non_participation_new", args=["DESK"]), data).status_code == 302
    row = next(one for one in participation(access) if one.clinician == kit.clinicians[0])
    assert (row.n_offered, row.n_declined, row.n_ineligible, row.n_started) == (4, 3, 3, 0)
    assert row.reasons == {"no time": 2, "language not offered": 3}
    assert row.share_started == 0
    page = client.get(reverse("participation", args=["DESK"])).content.decode()
    assert "language not offered 3" in page
    assert "Site 2" not in page
    assert AuditEvent.objects.filter(action="not taking part").count() == 3
