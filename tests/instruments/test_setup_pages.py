"""Preparing a study: the check list, opening it, amendments with their reason; editing sites, clinicians, waves."""

from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.test import Client
from django.urls import reverse

from studies.models import AuditEvent, Clinician, Member, Site, Study, Wave
from tests.factories import CLINICIAN_SETTINGS, StudyKit, make_member, make_study, make_user, make_visit

pytestmark = pytest.mark.django_db


@pytest.fixture
def kit() -> StudyKit:
    return make_study("PREP")


@pytest.fixture
def admin(kit: StudyKit) -> Client:
    client = Client()
    client.force_login(make_member(kit, Member.Role.ADMIN))
    return client


def page(name: str, *arguments: object, code: str = "PREP") -> str:
    return reverse(name, args=[code, *arguments])


def test_a_new_study_is_in_preparation_until_everything_is_there(kit: StudyKit) -> None:
    """The list says what is missing and leads there; opening is refused before, and fixed and traced after."""
    founder = make_user("founder")
    founder.user_permissions.add(Permission.objects.get(codename="add_study"))
    client = Client()
    client.force_login(founder)
    data = {"code": "NEXT", "title": "New", "instrument": "healing-relationships 1.0", "default_form": "short"}
    data |= {"languages": ["en", "es"], "consent": "outside", "withdrawn_answers": "ask"}
    assert client.post(reverse("study_new"), data | {"link_valid_days": "30", **CLINICIAN_SETTINGS}).status_code == 302
    study = Study.objects.get(code="NEXT")
    assert study.status == Study.Status.DRAFT

    def missing() -> set[str]:
        return {step.name for step in client.get(page("study_open", code="NEXT")).context["steps"] if not step.is_done}

    assert missing() == {"Sites", "Clinicians at every site"}
    assert "Before the study can open" in client.get(page("study_settings", code="NEXT")).content.decode()
    assert client.post(page("study_open", code="NEXT")).status_code == 409
    client.post(page("site_new", code="NEXT"), {"code": "EAST", "name": "East clinic", "target_dyads": "1"})
    assert "No clinician yet at: East clinic." in client.get(page("study_open", code="NEXT")).content.decode()
    site = Site.objects.get(code="EAST")
    client.post(page("clinician_new", code="NEXT"), {"site": site.pk, "code": "C1"})
    assert missing() == set()
    assert client.post(page("study_open", code="NEXT")).status_code == 302
    study.refresh_from_db()
    assert study.status == Study.Status.OPEN
    told = AuditEvent.objects.get(action="open study").detail
    assert (told["sites"], told["waves"], told["default_form"]) == (["EAST"], ["baseline"], "short")
    assert client.post(page("study_open", code="NEXT")).status_code == 409


def test_nobody_is_enrolled_in_a_study_in_preparation(kit: StudyKit, admin: Client) -> None:
    """Visits wait until it is open."""
    Study.objects.update(status=Study.Status.DRAFT)
    form = admin.get(page("visit_new")).context["form"]
    data = {
        "clinician": kit.clinicians[0].pk,
        "wave": kit.wave.pk,
        "form": "full",
        "visit_date": "2026-03-02",
        "request_key": form["request_key"].value(),
    }
    assert admin.post(page("visit_new"), data).status_code == 422


def settings_data(**changed: str) -> dict[str, str]:
    return {
        "title": "Study PREP",
        "instrument": "healing-relationships 1.0",
        "default_form": "full",
        "languages": ["en", "es"],
        "consent": "outside",
        "withdrawn_answers": "ask",
        "link_valid_days": "30",
        **CLINICIAN_SETTINGS,
        "status": "open",
        **changed,
    }


def test_an_opened_study_changes_with_a_reason_only(kit: StudyKit, admin: Client) -> None:
    """Each change is an amendment with its number; the questionnaire is fixed though there is no visit yet."""
    refused = admin.post(page("study_settings"), settings_data(title="Another"))
    assert refused.status_code == 422
    assert set(refused.context["form"].errors) == {"why"}
    for number, title in ((1, "Second title"), (2, "Third title")):
        data = settings_data(title=title, why=f"reason {number}", instrument="other 9.9")
        assert admin.post(page("study_settings"), data).status_code == 302
        study = Study.objects.get()
        assert (study.title, study.n_amendments, study.instrument_code) == (title, number, "healing-relationships")
    reasons = [event.note.text for event in AuditEvent.objects.filter(action="change study").order_by("sequence")]
    assert reasons == ["reason 1", "reason 2"]
    assert "draft" not in admin.get(page("study_settings")).content.decode()


def test_a_site_and_a_wave_can_be_changed_but_not_their_codes(kit: StudyKit, admin: Client) -> None:
    """Name, target and window; the trail holds what was and what is."""
    site, wave = kit.sites[0], kit.wave
    changed = admin.post(page("site_edit", site.pk), {"code": "X", "name": "New name", "target_dyads": "50"})
    assert changed.status_code == 302
    site.refresh_from_db()
    assert (site.code, site.name, site.target_dyads) == ("S1", "New name", 50)
    event = AuditEvent.objects.get(action="change site")
    assert event.facts["old"] == {"name": "Site 1", "target_dyads": 0}
    window = {"code": "X", "label": "Retest", "position": "2", "from_days": "14", "to_days": "28"}
    assert admin.post(page("wave_edit", wave.pk), window).status_code == 302
    wave = Wave.objects.get()
    assert (wave.code, wave.label, wave.from_days, wave.to_days) == ("baseline", "Retest", 14, 28)
    assert "day 14 to 28" in admin.get(page("study_settings")).content.decode()
    assert admin.post(page("wave_edit", wave.pk), window | {"to_days": "7"}).status_code == 422


def test_what_was_asked_fixes_a_wave(kit: StudyKit, admin: Client) -> None:
    """Whether it is a follow-up decides what is asked: with a visit it stays."""
    make_visit(kit)
    data = {"label": "Baseline", "position": "1", "is_follow_up": "on"}
    assert admin.post(page("wave_edit", kit.wave.pk), data).status_code == 302
    assert not Wave.objects.get().is_follow_up


def test_a_clinicians_characteristics_are_the_questionnaires_own(kit: StudyKit, admin: Client) -> None:
    """Options and bounds come from the released version; what is not asked of this clinician is not kept."""
    clinician = kit.clinicians[0]
    Clinician.objects.filter(pk=clinician.pk).update(characteristics={"old_code": "kept"})
    address = page("clinician_edit", clinician.pk)
    assert "What is your profession?" in admin.get(address).content.decode()
    given: dict[str, Any] = {
        "clin_role": "physician",
        "clin_practice_type": "solo",
        "clin_group_size": "4",
        "clin_years_current_practice": "7.5",
    }
    assert admin.post(address, given).status_code == 302
    clinician.refresh_from_db()
    assert clinician.characteristics == {
        "old_code": "kept",
        "clin_role": "physician",
        "clin_practice_type": "solo",
        "clin_years_current_practice": 7.5,
    }
    assert admin.post(address, given | {"clin_role": "wizard"}).status_code == 422
    assert AuditEvent.objects.filter(action="change clinician").count() == 1


def test_parts_of_another_study_are_not_found(kit: StudyKit, admin: Client) -> None:
    """Their numbers open nothing here."""
    other = make_study("OTHER")
    for name, part in (
        ("site_edit", other.sites[0]),
        ("wave_edit", other.wave),
        ("clinician_edit", other.clinicians[0]),
    ):
        assert admin.get(page(name, part.pk)).status_code == 404


def test_the_settings_say_what_marks_a_form(kit: StudyKit, admin: Client) -> None:
    """With the limits of the questionnaire's own version."""
    shown = admin.get(page("study_settings")).content.decode()
    rules = kit.instrument.scoring
    assert f"under {rules.fast_median_seconds:g} seconds" in shown
    assert f"more than {rules.missing_percent} % of the sentences" in shown
    assert f"at least {rules.reverse_conflict_minimum} reversed sentences lie" in shown
