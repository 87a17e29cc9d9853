"""Windows of waves: which wave a day belongs to, and which visits stand outside."""

from datetime import date, timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from instruments.day_list import plan_day_list
from studies.access import StudyAccess
from studies.models import Member, Visit, Wave
from studies.windows import VisitMade, days_after_first, days_outside, proposed_wave
from tests.factories import StudyKit, make_member, make_study, make_visit

FIRST = date(2026, 3, 2)


def wave(pk: int, start: int | None = None, end: int | None = None) -> Wave:
    return Wave(pk=pk, code=f"w{pk}", from_days=start, to_days=end)


BASELINE, RETEST, LATER = wave(1), wave(2, 14, 28), wave(3, 90, None)


@pytest.mark.parametrize(
    ("day", "taken", "expected"),
    [
        (0, [], 1),
        (13, [1], 2),  # too early: the next one, outside its window
        (14, [1], 2),
        (28, [1], 2),
        (29, [1], 2),  # too late for the retest, too early for the last
        (90, [1], 3),
        (400, [1, 2], 3),
        (20, [1, 2], 3),
        (500, [1, 2, 3], 1),  # asked at every wave: the visit is refused there
    ],
)
def test_the_wave_whose_window_holds_the_day_is_proposed(day: int, taken: list[int], expected: int) -> None:
    """Never one that the dyad was asked at, while another is left; the first for a first visit."""
    made = [VisitMade(wave_id=pk, day=FIRST) for pk in taken]
    found = proposed_wave([BASELINE, RETEST, LATER], day=FIRST + timedelta(days=day), made=made)
    assert found is not None
    assert found.pk == expected


def test_without_windows_the_first_wave_is_proposed() -> None:
    """As before there were any."""
    made = [VisitMade(wave_id=1, day=FIRST)]
    assert proposed_wave([wave(1), wave(2)], day=FIRST, made=made) == wave(1)
    assert proposed_wave([], day=FIRST, made=[]) is None
    assert days_after_first(FIRST, []) == 0


@pytest.fixture
def kit() -> StudyKit:
    kit = make_study("WINDOW")
    Wave.objects.create(study=kit.study, code="retest", label="Retest", position=2, from_days=14, to_days=28)
    return kit


@pytest.mark.django_db
def test_the_day_s_list_proposes_and_flags(kit: StudyKit) -> None:
    """A known patient's line without a wave goes into the one that is due; what is outside is said, not refused."""
    code = make_visit(kit).visit.dyad.patient.code
    access = StudyAccess(study=kit.study, roles=frozenset(), site_ids=None)

    def plan(day: int, wave: str = "") -> tuple[str, int | None]:
        data = f"clinician,patient,wave\nC1,{code},{wave}\n".encode()
        found = plan_day_list(access=access, data=data, default_day=FIRST + timedelta(days=day))
        assert found.problems == []
        (visit,) = found.visits
        return visit.wave.code, visit.outside_window_days

    assert plan(20) == ("retest", None)
    assert plan(40) == ("retest", 40)
    assert plan(40, "retest") == ("retest", 40)
    new = plan_day_list(access=access, data=b"clinician\nC1\n", default_day=FIRST)
    assert [one.wave.code for one in new.visits] == ["baseline"]


@pytest.mark.django_db
@pytest.mark.parametrize(("day", "is_outside"), [(20, False), (40, True)])
def test_a_visit_outside_its_window_is_made_and_marked(kit: StudyKit, day: int, is_outside: bool) -> None:
    """On the page of its links and in the list of visits."""
    first = make_visit(kit).visit
    desk = Client()
    desk.force_login(make_member(kit, Member.Role.COORDINATOR))
    page = desk.get(reverse("visit_new", args=["WINDOW"]))
    data: dict[str, Any] = {
        "clinician": kit.clinicians[0].pk,
        "patient_code": first.dyad.patient.code,
        "wave": "",
        "form": "full",
        "visit_date": (FIRST + timedelta(days=day)).isoformat(),
        "request_key": page.context["form"]["request_key"].value(),
    }
    made = desk.post(reverse("visit_new", args=["WINDOW"]), data)
    assert made.status_code == 200
    assert ("outside the window of “Retest”" in made.content.decode()) is is_outside
    visit = Visit.objects.get(wave__code="retest")
    assert days_outside(visit) == (day if is_outside else None)
    rows = desk.get(reverse("visits", args=["WINDOW"]) + f"?date={data['visit_date']}").content.decode()
    assert ("outside its window: day 40" in rows) is is_outside
