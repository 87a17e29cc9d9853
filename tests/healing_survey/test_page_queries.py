"""No staff page asks the database more than a dozen questions, however much there is to show."""

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from analysis.models import AnalysisRun
from instruments.definitions import Role
from instruments.devices import add_device
from studies import audit
from studies.identifiers import Identifiers, store
from studies.models import Clinician, Device, Member
from tests.factories import (
    NOW,
    StudyKit,
    administration_of,
    make_invitation,
    make_member,
    make_scored_visits,
    make_study,
    make_visit,
)

pytestmark = pytest.mark.django_db

MOST_QUERIES = 12


@pytest.fixture
def everybody() -> tuple[StudyKit, Client]:
    """A study with enough rows to fill its pages, and somebody who holds every role in it."""
    kit = make_study("MANY", n_sites=3, n_clinicians=4)
    user = make_member(kit, Member.Role.ADMIN, username="everybody")
    for role in (Member.Role.RESEARCHER, Member.Role.AUDITOR, Member.Role.CLINICIAN):
        Member.objects.create(study=kit.study, user=user, role=role)
    Member.objects.create(study=kit.study, user=user, role=Member.Role.COORDINATOR, site=kit.sites[0])
    Clinician.objects.filter(pk=kit.clinicians[0].pk).update(user=user)
    Member.objects.filter(user=user, role=Member.Role.ADMIN).update(sees_identifiers=True)
    make_scored_visits(kit, 70)
    for number in range(60):
        make_visit(kit, clinician=kit.clinicians[number % 12])
        audit.record(study=kit.study, actor=user, action="add visit", detail={"n": number}, why="x", now=NOW)
        AnalysisRun.objects.create(study=kit.study, form="full", seed=number, requested_by=user)
        member = User.objects.create(username=f"colleague {number}")
        Member.objects.create(study=kit.study, user=member, role=Member.Role.RESEARCHER)
        make_invitation(kit, user, email=f"{number}@example.org")
        add_device(site=kit.sites[number % 3], name=f"Tablet {number}", pin="2580", actor=user, now=NOW)
    client = Client()
    client.force_login(user)
    return kit, client


def test_every_staff_page_asks_little(everybody: tuple[StudyKit, Client]) -> None:
    """Lists, forms and details alike; sign-in, session and rights included."""
    kit, client = everybody
    score = kit.study.scores.exclude(visit__dyad__clinician=kit.clinicians[0]).select_related(
        "visit__dyad", "visit__wave"
    )[0]
    created = make_visit(kit, clinician=kit.clinicians[5], now=timezone.now())
    patient, user = created.visit.dyad.patient, User.objects.get(username="everybody")
    store(patient=patient, identifiers=Identifiers(name="Ana"), actor=user, now=NOW)
    arguments: dict[str, list[object]] = {
        "dyad": [score.visit.dyad.code, score.visit.wave.code],
        "analysis": [AnalysisRun.objects.latest("pk").pk],
        "link_reissue": [administration_of(created, Role.PATIENT).pk],
        "member_remove": [Member.objects.latest("pk").pk],
        "second_factor_remove": [Member.objects.latest("pk").pk],
        "site_edit": [kit.sites[0].pk],
        "wave_edit": [kit.wave.pk],
        **{name: [Device.objects.latest("pk").pk] for name in ("device_edit", "device_link", "device_revoke")},
        "hand_over": [administration_of(created, Role.PATIENT).pk],
        "clinician_edit": [kit.clinicians[0].pk],
        "member_identifiers": [Member.objects.get(user__username="everybody", role=Member.Role.ADMIN).pk],
        "withdrawal_new": [created.visit.dyad_id],
        "patient_erase": [patient.pk],
        "clinician_erase": [kit.clinicians[0].pk],
        "identifiers_show": [patient.pk],
        "identifiers_delete": [patient.pk],
        "visit_decline": [created.visit.pk],
    }
    names = [
        "study_overview", "participation", "day", "visits", "visit_new", "day_list", "non_participation_new", "dyads",
        "analyses", "analysis_new", "patients_to_rate", "study_settings", "study_open", "site_new",
        "clinician_new", "wave_new", "member_new", "member_invite", "import_responses", "audit_trail", "identifiers",
        "devices", "device_new", "withdrawals", "retention",
        *arguments,
    ]  # fmt: skip
    asked = {}
    for name in names:
        address = reverse(name, args=["MANY", *arguments.get(name, [])])
        for query in ("", "?show=owing", "?holds=visit") if name in ("visits", "audit_trail") else ("",):
            client.get(address + query)  # what is kept per process is kept now
            with CaptureQueriesContext(
                connection,
            ) as queries:
                assert client.get(address + query).status_code == 200, name
            asked[name + query] = len(queries)
    assert min(asked.values()) > 2
    assert {name: n for name, n in asked.items() if n > MOST_QUERIES} == {}
