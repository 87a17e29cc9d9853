"""Messages of what needs a hand: gathered from real rows, for those who can act, on the pages where they begin."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.core.cache import cache
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from analysis.attention import gather_messages
from analysis.models import AnalysisRun
from instruments.definitions import Role
from instruments.models import Administration
from studies import heartbeats, tasks
from studies.models import Member, Study, Visit
from tests.factories import StudyKit, finish, make_member, make_study, make_visit

pytestmark = pytest.mark.django_db


@pytest.fixture
def kit() -> StudyKit:
    cache.clear()
    return make_study("CARE", n_sites=2)


def kinds(user: User, code: str | None = None) -> list[str]:
    return [one.kind for one in gather_messages(user, code=code, now=timezone.now())]


def test_a_study_without_worries_says_nothing(kit: StudyKit) -> None:
    """A new study, and visits that go as they should."""
    make_visit(kit, now=timezone.now())
    admin = make_member(kit, Member.Role.ADMIN)
    assert kinds(admin) == []
    assert "attention" not in signed_in(admin).get("/").content.decode()


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def test_each_is_told_to_who_can_act(kit: StudyKit) -> None:
    """The failed analysis to researchers, the worker to admins, the links to the site's desk; to others nothing."""
    Study.objects.filter(pk=kit.study.pk).update(created_at=timezone.now() - timedelta(days=30))
    AnalysisRun.objects.create(
        study=kit.study, form="full", seed=1, status=AnalysisRun.Status.FAILED, finished_at=timezone.now()
    )
    make_visit(kit, clinician=kit.clinicians[0], now=timezone.now())
    Administration.objects.update(expires_at=timezone.now() + timedelta(days=2))
    heartbeats.beat("analysis worker", now=timezone.now())
    heartbeats.beat("backup", now=timezone.now())
    heartbeats.beat("audit anchor", now=timezone.now())
    here = make_member(kit, Member.Role.COORDINATOR)
    there = make_member(kit, Member.Role.COORDINATOR, username="there", site=kit.sites[1])
    assert kinds(make_member(kit, Member.Role.ADMIN)) == ["worker silent", "analysis failed", "expiring"]
    assert kinds(make_member(kit, Member.Role.RESEARCHER)) == ["analysis failed"]
    assert kinds(here) == ["expiring"]
    assert kinds(there) == kinds(make_member(kit, Member.Role.AUDITOR)) == []
    tasks.note_alive("scoring worker")
    assert "worker silent" not in kinds(User.objects.get(username="care-admin"))


def test_fewer_patients_finish(kit: StudyKit) -> None:
    """Of this week's visits hardly any, after a month in which most did: the counts are the rows'."""
    now = timezone.now()
    for number in range(24):
        created = make_visit(kit, now=now - timedelta(days=14))
        if number < 20:
            finish(created, Role.PATIENT, now=now)
    for _ in range(8):
        make_visit(kit, now=now - timedelta(days=2))
    make_visit(kit, now=now)  # today is not over
    admin = make_member(kit, Member.Role.ADMIN)
    (message,) = [one for one in gather_messages(admin, now=now) if one.kind == "completions"]
    assert "0 of 8 visits" in message.text
    assert "20 of 24" in message.text
    Visit.objects.filter(visit_date=timezone.localdate(now) - timedelta(days=2)).update(
        visit_date=timezone.localdate(now)
    )
    assert "completions" not in kinds(admin)


def test_a_missing_backup_is_told(kit: StudyKit) -> None:
    """Never made, in a study that has run for a month; made, nothing more is said."""
    Study.objects.update(created_at=timezone.now() - timedelta(days=30))
    admin = make_member(kit, Member.Role.ADMIN)
    (message,) = [one for one in gather_messages(admin, now=timezone.now()) if one.kind == "backup overdue"]
    assert "Last one: never" in message.text
    heartbeats.beat("backup", now=timezone.now())
    assert "backup overdue" not in kinds(admin)


def test_messages_stand_where_people_begin_and_can_be_put_away(kit: StudyKit) -> None:
    """Home, overview and the day; put away, one is gone until it changes."""
    make_visit(kit, now=timezone.now())
    Administration.objects.update(expires_at=timezone.now() + timedelta(days=2))
    user = make_member(kit, Member.Role.ADMIN)
    client = signed_in(user)
    text = "The links of 2 open forms end within three days."
    pages = ("/", reverse("study_overview", args=["CARE"]), reverse("day", args=["CARE"]))
    assert all(text in client.get(page).content.decode() for page in pages)
    (message,) = gather_messages(user, now=timezone.now())
    away = client.post(reverse("message_put_away"), {"key": message.key, "next": pages[1]})
    assert away.headers["Location"] == pages[1]
    assert all(text not in client.get(page).content.decode() for page in pages)
    forged = client.post(reverse("message_put_away"), {"key": "x", "next": "https://evil.example/"})
    assert forged.headers["Location"] == "/"
    make_visit(kit, now=timezone.now())
    Administration.objects.update(expires_at=timezone.now() + timedelta(days=2))
    cache.clear()
    assert "The links of 4 open forms" in client.get("/").content.decode()
