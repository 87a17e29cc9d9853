"""The analysis plan: versions that never change, shown wherever something is analysed or taken away."""

from datetime import timedelta

import pytest
from django.db import IntegrityError, transaction
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from analysis.exports import codebook_csv
from analysis.models import AnalysisPlan, AnalysisRun
from analysis.plans import newest_plan, plan_at, write_plan
from studies.models import AuditEvent, Member, Study
from tests.factories import NOW, StudyKit, make_member, make_study

pytestmark = pytest.mark.django_db


@pytest.fixture
def kit() -> StudyKit:
    return make_study("PLAN")


@pytest.fixture
def admin(kit: StudyKit) -> Client:
    client = Client()
    client.force_login(make_member(kit, Member.Role.ADMIN))
    return client


def page(name: str) -> str:
    return reverse(name, args=["PLAN"])


def test_a_plan_is_versioned_and_never_changed(kit: StudyKit, admin: Client) -> None:
    """In an open study with a reason; the same words add nothing; the database refuses an update."""
    assert "No plan yet" in admin.get(page("analysis_plan")).content.decode()
    data = {"text": "# Trust\n\nHigher with years.", "confirmatory": "  CFA   20 components \n\nOne-with-many\n"}
    assert admin.post(page("analysis_plan_edit"), data).context["form"].errors.keys() == {"why"}
    for text in (data["text"], data["text"], "Other words."):
        sent = admin.post(page("analysis_plan_edit"), data | {"text": text, "why": "the board asked"})
        assert sent.status_code == 302
    first, second = AnalysisPlan.objects.order_by("number")
    assert first.confirmatory == ["CFA 20 components", "One-with-many"]
    assert (second.number, second.text) == (2, "Other words.")
    shown = admin.get(page("analysis_plan")).content.decode()
    assert "<h2>Trust</h2>" in shown
    assert "Other words." in shown
    assert AuditEvent.objects.filter(action="write analysis plan").count() == 2
    with pytest.raises(IntegrityError, match="never changed"), transaction.atomic():
        AnalysisPlan.objects.filter(pk=first.pk).update(text="x")


def test_before_opening_no_reason_is_needed(kit: StudyKit, admin: Client) -> None:
    """As with every other setting."""
    Study.objects.update(status=Study.Status.DRAFT)
    assert admin.post(page("analysis_plan_edit"), {"text": "Words."}).status_code == 302
    plan = newest_plan(kit.study)
    assert plan is not None
    assert plan.confirmatory == []


def test_analyses_codebook_and_exports_tell_of_the_plan(kit: StudyKit, admin: Client) -> None:
    """Which version counts, what it calls confirmatory; an analysis, which one counted when it was asked for."""
    assert "No analysis plan is on record" in admin.get(page("analyses")).content.decode()
    assert "study code; analysis plan: none on record: all analyses are exploratory" in list(codebook_csv(kit.study))[1]
    run = AnalysisRun.objects.create(study=kit.study, form="full", seed=1, requested_at=NOW, status="done", result={})
    plan = write_plan(study=kit.study, text="T", confirmatory=["CFA"], why="", actor=None, now=NOW + timedelta(hours=1))
    assert plan is not None
    listed = admin.get(page("analyses")).content.decode()
    assert "version 1 of 2026-03-02" in listed
    assert "Confirmatory: CFA." in listed
    told = list(codebook_csv(kit.study))[1]
    assert f"version 1 of 2026-03-02, SHA-256 {plan.text_hash}; confirmatory models: CFA;" in told
    assert plan_at(kit.study, run.requested_at) is None
    assert plan_at(kit.study, timezone.now()) == plan
    b"".join(admin.get(page("codebook_download")).streaming_content)  # type: ignore[arg-type]
    assert AuditEvent.objects.get(action="export codebook").detail["analysis_plan"] == 1
