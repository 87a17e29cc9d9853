"""A share of patients gets another form, by lot: even, repeatable, the same at every wave."""

from datetime import date

import pytest
from django.test import Client
from django.urls import reverse

from instruments.day_list import enrol_day_list, plan_day_list
from instruments.patient_form import form_by_lot, lot
from instruments.services import create_visits_with_new_patients
from studies.access import StudyAccess
from studies.models import Member, Study, Visit
from tests.factories import NOW, StudyKit, make_member, make_study, settings_as_they_are

pytestmark = pytest.mark.django_db


@pytest.fixture
def kit() -> StudyKit:
    kit = make_study("LOT", form="short")
    Study.objects.update(drawn_form="full", drawn_percent=25, draw_seed=7)
    kit.study.refresh_from_db()
    return kit


def test_the_lot_is_even_and_repeatable() -> None:
    """Of 20,000 patients a quarter is below .25, within four standard errors (.0122); another seed draws others."""
    first = [lot(seed=7, of=pk) < 0.25 for pk in range(20_000)]
    assert abs(sum(first) / len(first) - 0.25) < 0.0122
    assert first == [lot(seed=7, of=pk) < 0.25 for pk in range(20_000)]
    other = [lot(seed=8, of=pk) < 0.25 for pk in range(20_000)]
    both = sum(a and b for a, b in zip(first, other, strict=True)) / len(first)
    assert abs(both - 0.0625) < 0.0069  # independent: a sixteenth, within four standard errors


def test_visits_are_made_with_the_form_of_the_lot(kit: StudyKit) -> None:
    """By command, desk and list alike; a form that somebody names is taken instead."""
    create_visits_with_new_patients(
        study=kit.study, clinicians=kit.clinicians, wave=kit.wave, form="", count=40, now=NOW
    )
    for visit in Visit.objects.select_related("dyad"):
        assert visit.form == form_by_lot(kit.study, visit.dyad.patient_id)
    assert set(Visit.objects.values_list("form", flat=True)) == {"short", "full"}
    access = StudyAccess(study=kit.study, roles=frozenset(), site_ids=None)
    lines = b"clinician,patient,form\n" + b"".join(
        b"C1,NEW%d,%s\n" % (n, b"full" if n == 9 else b"") for n in range(10)
    )
    plan = plan_day_list(access=access, data=lines, default_day=date(2026, 3, 2))
    assert [one.form for one in plan.visits] == [""] * 9 + ["full"]
    enrol_day_list(access=access, plan=plan, actor=make_member(kit, Member.Role.COORDINATOR), now=NOW)
    for visit in Visit.objects.filter(dyad__patient__code__startswith="NEW").select_related("dyad__patient"):
        named = visit.dyad.patient.code == "NEW9"
        assert visit.form == ("full" if named else form_by_lot(kit.study, visit.dyad.patient_id))


def test_the_desk_need_not_choose(kit: StudyKit) -> None:
    """The form for a new visit offers the lot first."""
    desk = Client()
    desk.force_login(make_member(kit, Member.Role.COORDINATOR))
    page = desk.get(reverse("visit_new", args=["LOT"])).context["form"]
    data = {"clinician": kit.clinicians[0].pk, "wave": kit.wave.pk, "form": "", "visit_date": "2026-03-02"}
    data["request_key"] = page["request_key"].value()
    assert page.initial["form"] == ""
    assert desk.post(reverse("visit_new", args=["LOT"]), data).status_code == 200
    visit = Visit.objects.get()
    assert visit.form == form_by_lot(kit.study, visit.dyad.patient_id)


@pytest.mark.parametrize(
    "changed", [{"drawn_form": "short"}, {"drawn_form": "none such"}, {"drawn_percent": "0"}, {"drawn_percent": "100"}]
)
def test_a_lot_that_draws_nothing_is_refused(kit: StudyKit, changed: dict[str, object]) -> None:
    """Everybody's own form, a form that is not there, nobody, everybody."""
    Study.objects.update(status=Study.Status.DRAFT)
    admin = Client()
    admin.force_login(make_member(kit, Member.Role.ADMIN))
    refused = admin.post(reverse("study_settings", args=["LOT"]), settings_as_they_are(admin, "LOT") | changed)
    assert refused.context["form"].errors.keys() == changed.keys()


def test_opening_fixes_the_lot(kit: StudyKit) -> None:
    """What is sent later is not taken."""
    admin = Client()
    admin.force_login(make_member(kit, Member.Role.ADMIN))
    data = settings_as_they_are(admin, "LOT") | {"why": "w", "title": "T", "drawn_form": "", "drawn_percent": "60"}
    assert admin.post(reverse("study_settings", args=["LOT"]), data).status_code == 302
    study = Study.objects.get()
    assert (study.drawn_form, study.drawn_percent, study.draw_seed) == ("full", 25, 7)
