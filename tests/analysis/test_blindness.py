"""Whoever rates a relationship never sees the partner's side of it, whatever other roles the same account holds."""

import csv
import io
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client
from django.urls import reverse

from instruments.definitions import Role
from scoring.models import DyadScore
from scoring.services import score_due
from studies.models import AuditEvent, Member
from tests.factories import NOW, StudyKit, finish, make_member, make_study, make_user, make_visit

pytestmark = pytest.mark.django_db

NOTE = "Your own patients are left out"


@pytest.fixture
def kit() -> StudyKit:
    """Two clinicians, each with one scored dyad."""
    kit = make_study("BLIND", n_clinicians=2)
    for clinician in kit.clinicians:
        created = make_visit(kit, clinician=clinician)
        for role in Role:
            finish(created, role)
    score_due(owner="test", clock=lambda: NOW)
    return kit


def rating_researcher(kit: StudyKit, role: str = Member.Role.RESEARCHER) -> User:
    """The first clinician, who holds another role as well."""
    user = make_member(kit, Member.Role.CLINICIAN)
    Member.objects.create(study=kit.study, user=user, role=role)
    return user


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def score_of(kit: StudyKit, number: int) -> DyadScore:
    return DyadScore.objects.select_related("visit__dyad").get(visit__dyad__clinician=kit.clinicians[number])


def seen(client: Client, kit: StudyKit) -> dict[str, set[str]]:
    """The dyads that each way of looking shows, by the clinician's code."""
    table = {row.visit.dyad.clinician.code for row in client.get(reverse("dyads", args=["BLIND"])).context["page"]}
    opened = {
        kit.clinicians[number].code
        for number in (0, 1)
        if client.get(reverse("dyad", args=["BLIND", score_of(kit, number).visit.dyad.code, "baseline"])).status_code
        == 200
    }
    download = client.get(f"{reverse('dyads_download', args=['BLIND'])}?incomplete=1")
    lines = io.StringIO(b"".join(download.streaming_content).decode())
    return {"table": table, "page": opened, "file": {row["clinician"] for row in csv.DictReader(lines)}}


@pytest.mark.parametrize("role", [Member.Role.RESEARCHER, Member.Role.ADMIN])
def test_ones_own_patients_are_left_out_everywhere(kit: StudyKit, role: str) -> None:
    """Table, page and file show the colleague's dyad alone, the page says so, and the trail notes it."""
    client = signed_in(rating_researcher(kit, role))
    assert seen(client, kit) == {"table": {"C2"}, "page": {"C2"}, "file": {"C2"}}
    assert NOTE in client.get(reverse("dyads", args=["BLIND"])).content.decode()
    assert AuditEvent.objects.get(action="export dyads").detail["own_left_out"] is True


def test_who_rates_nobody_sees_all(kit: StudyKit) -> None:
    """A researcher, a superuser, and the command, which nobody's account runs; the page says nothing."""
    rating_researcher(kit)
    everyone = {"C1", "C2"}
    for user in (make_member(kit, Member.Role.RESEARCHER), make_user("root", is_superuser=True)):
        client = signed_in(user)
        assert seen(client, kit) == {"table": everyone, "page": everyone, "file": everyone}
        assert NOTE not in client.get(reverse("dyads", args=["BLIND"])).content.decode()


def test_the_command_exports_all(kit: StudyKit, tmp_path: Path) -> None:
    """It runs on the server, for no account."""
    rating_researcher(kit)
    file = tmp_path / "all.csv"
    call_command("export_dyads", study="BLIND", output=file, stdout=io.StringIO())
    with file.open(encoding="utf-8") as lines:
        assert {row["clinician"] for row in csv.DictReader(lines)} == {"C1", "C2"}


def test_a_superuser_who_rates_is_blind_too(kit: StudyKit) -> None:
    """A right over everything does not undo it; and a clinician without an account hides nothing."""
    kit.clinicians[0].user = make_user("root", is_superuser=True)
    kit.clinicians[0].save()
    assert seen(signed_in(User.objects.get()), kit)["file"] == {"C2"}


def test_a_researcher_takes_away_what_the_role_says() -> None:
    """Everything, or the same rows under other codes and without dates, or no file; admins take everything."""
    kit = make_study("FILES")
    created = make_visit(kit)
    for role in Role:
        finish(created, role)
    score_due(owner="test", clock=lambda: NOW)
    address = reverse("dyads_download", args=["FILES"])
    rows = {}
    for export in Member.Export.values:
        user = make_member(kit, Member.Role.RESEARCHER, username=export)
        Member.objects.filter(user=user).update(export=export)
        client = Client()
        client.force_login(user)
        response = client.get(address)
        listed = client.get(reverse("dyads", args=["FILES"])).content.decode()
        assert (address in listed) == (export != "none")
        if export == "none":
            assert response.status_code == 403
        else:
            text = b"".join(response.streaming_content).decode()  # type: ignore[attr-defined]
            (rows[export],) = csv.DictReader(io.StringIO(text))
            told = [created.visit.dyad.code, created.visit.dyad.patient.code, "2026-03-02"]
            assert [word in text for word in told] == [export == "identified"] * 3
    whole, without = rows["identified"], rows["deidentified"]
    differing = {name for name in whole if whole[name] != without[name]}
    codes, dates = {"dyad", "site", "clinician", "patient"}, {"visit_date"}
    assert differing == codes | dates | {"patient_completed_at", "clinician_completed_at"}
    assert all(len(without[name]) == 13 for name in codes)
