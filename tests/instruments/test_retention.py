"""What is kept how long: a preview says what would go and when, and nothing beyond what was confirmed ever goes."""

from datetime import date, timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client
from django.urls import reverse

from instruments.definitions import Role
from instruments.models import Administration, AnswerEvent
from instruments.retention import apply_orders, change_rules, confirm, months_after, preview
from studies import audit
from studies.erasure_ledger import entries
from studies.identifiers import Identifiers, store
from studies.models import AuditEvent, Member, Patient, PatientIdentifiers, RetentionOrder, RetentionRules
from tests.factories import NOW, StudyKit, finish, make_member, make_study, make_visit

pytestmark = pytest.mark.django_db

LATER = NOW + timedelta(days=400)


@pytest.fixture(autouse=True)
def ledger(settings: Any, tmp_path: Path) -> Path:
    settings.ERASURE_LEDGER_FILE = tmp_path / "erasures.jsonl"
    return tmp_path / "erasures.jsonl"


@pytest.fixture
def kit() -> StudyKit:
    return make_study("KEEP", form="short")


@pytest.fixture
def admin(kit: StudyKit) -> User:
    return make_member(kit, Member.Role.ADMIN)


def name(kit: StudyKit, code: str, admin: User) -> Patient:
    patient = Patient.objects.create(site=kit.sites[0], code=code)
    store(patient=patient, identifiers=Identifiers(name=code), actor=admin, now=NOW)
    return patient


@pytest.fixture
def ruled(kit: StudyKit, admin: User) -> StudyKit:
    """Two names and a finished form with its log; names go 6 months after the end, logs after 12."""
    finish(make_visit(kit), Role.PATIENT)
    for code in ("A", "B"):
        name(kit, code, admin)
    rules = RetentionRules(study=kit.study, ends_on=NOW.date(), identifiers_months=6, log_months=12)
    change_rules(rules=rules, actor=admin, now=NOW)
    return kit


def seen(kit: StudyKit) -> dict[str, int]:
    return {line.rule: line.n_rows for line in preview(kit.study)}


def test_months_end_with_the_month() -> None:
    """The same day, or the last one."""
    assert months_after(date(2026, 1, 31), 1) == date(2026, 2, 28)
    assert months_after(date(2026, 12, 15), 13) == date(2028, 1, 15)
    assert months_after(date(2026, 5, 1), 0) == date(2026, 5, 1)


def test_the_preview_says_what_when_and_how_many(ruled: StudyKit) -> None:
    """By day; a rule without months is not there, and other studies' rows are not counted."""
    other = make_study("OTHER")
    finish(make_visit(other), Role.PATIENT)
    n_log = AnswerEvent.objects.filter(administration__visit__dyad__study=ruled.study).count()
    lines = [(line.rule, line.due_on, line.n_rows) for line in preview(ruled.study)]
    assert lines == [("identifiers", date(2026, 9, 2), 2), ("log", date(2027, 3, 2), n_log)]
    assert n_log < AnswerEvent.objects.count()
    assert preview(other.study) == []


def test_nothing_goes_unless_it_was_confirmed_and_is_due(ruled: StudyKit, admin: User) -> None:
    """Not without a confirmation, not a day early; then exactly what was confirmed, once, in the trail."""
    assert apply_orders(now=LATER) == []
    assert confirm(study=ruled.study, seen=seen(ruled), actor=admin, now=NOW)
    assert all(line.is_confirmed for line in preview(ruled.study))
    assert apply_orders(now=NOW + timedelta(days=183)) == []
    assert PatientIdentifiers.objects.count() == 2
    applied = apply_orders(now=NOW + timedelta(days=184))
    assert applied == [{"study": "KEEP", "rule": "identifiers", "confirmed": 2, "deleted": 2}]
    assert not PatientIdentifiers.objects.exists()
    answers = Administration.objects.get(role="patient").answers
    assert [one["rule"] for one in apply_orders(now=LATER)] == ["log"]
    assert not AnswerEvent.objects.exists()
    assert Administration.objects.get(role="patient").answers == answers
    assert apply_orders(now=LATER) == []
    assert AuditEvent.objects.filter(action="apply retention").count() == 2
    assert list(audit.problems()) == []


def test_more_than_was_confirmed_is_held_back(ruled: StudyKit, admin: User) -> None:
    """Rows that came later stay; where there are more up to the confirmed id, none goes, and the trail says so."""
    confirm(study=ruled.study, seen=seen(ruled), actor=admin, now=NOW)
    name(ruled, "C", admin)
    assert not preview(ruled.study)[0].is_confirmed
    assert apply_orders(now=NOW + timedelta(days=184))[0]["deleted"] == 2
    assert list(PatientIdentifiers.objects.values_list("patient__code", flat=True)) == ["C"]
    confirm(study=ruled.study, seen=seen(ruled), actor=admin, now=NOW)
    store(patient=Patient.objects.get(code="A"), identifiers=Identifiers(name="A"), actor=admin, now=NOW)
    assert apply_orders(now=NOW + timedelta(days=184))[0]["deleted"] == 0
    assert PatientIdentifiers.objects.count() == 2
    assert AuditEvent.objects.filter(action="hold back retention").count() == 1


def test_names_that_went_stay_away_from_restored_backups(ruled: StudyKit, admin: User, ledger: Path) -> None:
    """Each is noted in the ledger."""
    confirm(study=ruled.study, seen=seen(ruled), actor=admin, now=NOW)
    apply_orders(now=NOW + timedelta(days=184))
    assert [(one.kind, one.patient) for one in entries(ledger)] == [("identifiers", "A"), ("identifiers", "B")]


def test_other_rules_take_the_confirmation_back(ruled: StudyKit, admin: User) -> None:
    """And what somebody saw an hour ago is not confirmed when there is more now."""
    before = seen(ruled)
    confirm(study=ruled.study, seen=before, actor=admin, now=NOW)
    rules = RetentionRules.objects.get()
    rules.identifiers_months = 1
    change_rules(rules=rules, actor=admin, now=NOW)
    assert not RetentionOrder.objects.exists()
    name(ruled, "C", admin)
    assert not confirm(study=ruled.study, seen=before, actor=admin, now=NOW)
    assert not RetentionOrder.objects.exists()


def test_from_the_rules_to_the_confirmed_deletion(kit: StudyKit, admin: User) -> None:
    """By an admin on one page; the command then shows and does the same."""
    name(kit, "A", admin)
    client = Client()
    client.force_login(admin)
    page, sends = reverse("retention", args=["KEEP"]), reverse("retention_confirm", args=["KEEP"])
    assert "everything is kept" in client.get(page).content.decode()
    assert client.post(page, {"ends_on": "soon"}).status_code == 422
    assert client.post(page, {"ends_on": "2026-01-01", "identifiers_months": "601"}).status_code == 422
    assert client.post(page, {"ends_on": "2026-01-01", "identifiers_months": "0"}).status_code == 302
    assert "2026-01-01" in client.get(page).content.decode()
    client.post(sends, {"identifiers": "7"})
    assert not RetentionOrder.objects.exists()
    client.post(sends, {"identifiers": "1"})
    out = StringIO()
    call_command("apply_retention", "--preview", stdout=out)
    assert '"confirmed": true' in out.getvalue()
    assert PatientIdentifiers.objects.exists()
    call_command("apply_retention", "--study", "KEEP", stdout=out)
    assert not PatientIdentifiers.objects.exists()
