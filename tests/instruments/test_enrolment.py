"""One form at the front desk makes one visit, however often and however quickly it is sent."""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError, connection
from django.http import HttpResponse
from django.test import Client
from django.urls import reverse

from instruments import enrolment
from instruments.enrolment import EnrolmentRefused, VisitMadeAlready, enrol_visit
from instruments.models import Administration
from instruments.services import CreatedVisit
from studies.models import AuditEvent, Dyad, Member, Patient, Visit
from tests.factories import NOW, StudyKit, make_member, make_study

N_CLICKS = 6


def enrol(kit: StudyKit, actor: User, *, request_key: UUID, patient_code: str = "") -> CreatedVisit:
    return enrol_visit(
        study=kit.study,
        clinician=kit.clinicians[0],
        wave=kit.wave,
        form="short",
        patient_code=patient_code,
        visit_date=NOW.date(),
        request_key=request_key,
        actor=actor,
        now=NOW,
    )


@pytest.mark.django_db(transaction=True)
def test_a_form_sent_six_times_at_once_makes_one_visit() -> None:
    """One answer shows the links, five lead to the day's list; nothing half-made is left."""
    kit = make_study("DESK")
    client = Client()
    client.force_login(make_member(kit, Member.Role.COORDINATOR))
    page = reverse("visit_new", args=["DESK"])
    form = client.get(page).context["form"]
    data = {
        "clinician": kit.clinicians[0].pk,
        "wave": kit.wave.pk,
        "form": "short",
        "visit_date": "2026-03-02",
        "request_key": form["request_key"].value(),
    }
    together = threading.Barrier(N_CLICKS)

    def click(_: int) -> HttpResponse:
        one = Client()
        one.cookies.update(client.cookies)
        together.wait(timeout=30)
        try:
            return one.post(page, data)
        finally:
            connection.close()

    with ThreadPoolExecutor(N_CLICKS) as pool:
        responses = list(pool.map(click, range(N_CLICKS)))
    assert sorted(response.status_code for response in responses) == [200] + [302] * (N_CLICKS - 1)
    assert {r.headers["Location"] for r in responses if r.status_code == 302} == {
        f"{reverse('visits', args=['DESK'])}?date=2026-03-02"
    }
    counts = [model.objects.count() for model in (Patient, Dyad, Visit, Administration, AuditEvent)]
    assert counts == [1, 1, 1, 2, 2]  # the trail has the sign-in, too


@pytest.mark.django_db
def test_each_page_has_its_own_key() -> None:
    """So two visits made one after the other are two."""
    kit = make_study("DESK")
    client = Client()
    client.force_login(make_member(kit, Member.Role.COORDINATOR))
    keys = {client.get(reverse("visit_new", args=["DESK"])).context["form"]["request_key"].value() for _ in range(3)}
    assert len(keys) == 3
    for key in keys:
        enrol(kit, User.objects.get(), request_key=key)
    assert Visit.objects.count() == 3


@pytest.mark.django_db
@pytest.mark.parametrize(("same_key", "refusal"), [(True, VisitMadeAlready), (False, EnrolmentRefused)])
def test_whoever_is_late_by_a_moment_is_told_what_is_there(
    monkeypatch: pytest.MonkeyPatch, same_key: bool, refusal: type[Exception]
) -> None:
    """Another's visit is stored between the checks and our own: the second look finds it."""
    kit = make_study("DESK")
    actor = make_member(kit, Member.Role.COORDINATOR)
    patient = Patient.objects.create(site=kit.sites[0], code="P1")
    dyad = Dyad.objects.create(study=kit.study, clinician=kit.clinicians[0], patient=patient, code="P1.C1")
    key = uuid4()
    enrol_once = enrolment._enrol

    def overtaken(**options: Any) -> CreatedVisit:
        monkeypatch.setattr(enrolment, "_enrol", enrol_once)
        theirs = key if same_key else uuid4()
        dyad.visits.create(wave=kit.wave, form="short", visit_date=NOW.date(), request_key=theirs)
        raise IntegrityError("as the database says when both are stored at once")

    monkeypatch.setattr(enrolment, "_enrol", overtaken)
    with pytest.raises(refusal):
        enrol(kit, actor, request_key=key, patient_code="P1")
    assert Visit.objects.count() == 1
