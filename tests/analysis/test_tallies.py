"""Counts that are kept per clinician are those of a slow and obvious recount, whatever happened in whatever order."""

import random
import statistics
from collections import defaultdict
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone

from analysis.overview import DOMAIN_COLUMNS, Completeness, completeness, role_norms
from instruments.models import Administration
from instruments.participation import participation
from instruments.services import complete_administration
from scoring.models import DyadScore, ScoringRequest
from scoring.services import rescore_study, score_due
from studies import tallies
from studies.access import StudyAccess
from studies.models import Dyad, Member, Tally, TallyMark, Visit
from tests.factories import NOW, StudyKit, answer, make_study, make_visit

pytestmark = pytest.mark.django_db

EVENTS = (
    "visit",
    "visit",
    "start",
    "start",
    "finish",
    "finish",
    "finish",
    "score",
    "rescore",
    "delete",
    "move",
    "work",
)


def recount(kit: StudyKit) -> dict[str, Any]:
    """Everything that the pages say, counted row by row in plain Python."""
    by_clinician: dict[int, dict[str, Any]] = {
        one.pk: dict.fromkeys(Completeness.__dataclass_fields__, 0) | {"last_activity": None, "n_started": 0}
        for one in kit.clinicians
    }
    values = defaultdict(list)
    n_comparable = 0
    for visit in Visit.objects.select_related("dyad", "wave"):
        counts = by_clinician[visit.dyad.clinician_id]
        forms = {form.role: form for form in visit.administrations.all()}
        done = {role for role, form in forms.items() if form.status == "completed"}
        counts["n_visits"] += 1
        counts["n_patient_done"] += "patient" in done
        counts["n_clinician_done"] += "clinician" in done
        counts["n_both_done"] += len(done) == 2
        counts["n_started"] += forms["patient"].status != "waiting"
        times = [form.completed_at for form in forms.values() if form.completed_at]
        counts["last_activity"] = max([*times, *filter(None, [counts["last_activity"]])], default=None)
        score = DyadScore.objects.filter(pk=visit.pk).first()
        if score is None:
            continue
        counts["n_scored"] += 1
        counts["n_eligible"] += score.is_eligible
        counts["n_flagged"] += score.is_flagged
        for record in filter(None, (score.patient, score.clinician)):
            counts["n_answered"] += record["n_answered"]
            counts["n_unanswered"] += record["n_unanswered"]
        if score.is_eligible and not visit.wave.is_follow_up:
            n_comparable += 1
            for column in DOMAIN_COLUMNS:
                values[column].append(getattr(score, column))
    means = {
        column: (statistics.fmean(known), statistics.stdev(known))
        for column, found in values.items()
        if len(known := [value for value in found if value is not None]) >= 10 and statistics.stdev(known) > 1e-6
    }
    return {"clinicians": by_clinician, "norms": means, "n_comparable": n_comparable}


def told(kit: StudyKit, access: StudyAccess) -> dict[str, Any]:
    """The same as the pages tell it."""
    counts = [one.counts for site in completeness(access) for one in site.clinicians]
    started = {one.clinician.pk: one.n_started for one in participation(access)}
    by_clinician = {
        clinician.pk: {
            **{name: getattr(one, name) for name in Completeness.__dataclass_fields__},
            "n_started": started[clinician.pk],
        }
        for clinician, one in zip(access.clinicians, counts, strict=True)
    }
    norms, n = role_norms(kit.study, form="full")
    return {
        "clinicians": by_clinician,
        "norms": {column: (norm.mean, norm.sd) for column, norm in norms.items()},
        "n_comparable": n,
    }


class Desk:
    """Somebody who does at random what happens in a study."""

    def __init__(self, kit: StudyKit, seed: int) -> None:
        self.kit, self.random, self.now = kit, random.Random(seed), NOW

    def do(self, event: str) -> None:
        self.now += timedelta(minutes=7)
        getattr(self, event)()

    def visit(self) -> None:
        make_visit(self.kit, clinician=self.random.choice(self.kit.clinicians), now=self.now)

    def start(self) -> None:
        form = self._one(Administration.objects.filter(status="waiting"))
        if form is not None:
            answer(form, dict.fromkeys(form.instrument.forms["full"].order[:5], 3), now=self.now)

    def finish(self) -> None:
        form = self._one(Administration.objects.exclude(status="completed"))
        if form is not None:
            codes = form.instrument.forms["full"].order
            answer(form, {code: self.random.choice([1, 2, 3, 4, 5, "SKIPPED"]) for code in codes}, now=self.now)
            complete_administration(administration_id=form.pk, now=self.now)

    def score(self) -> None:
        score_due(owner="desk", clock=lambda: self.now)

    def rescore(self) -> None:
        rescore_study(study=self.kit.study, clock=lambda: self.now)

    def delete(self) -> None:
        """A visit goes away altogether, as when it is erased."""
        visit = self._one(Visit.objects.all())
        if visit is not None and self.random.random() < 0.3:
            DyadScore.objects.filter(pk=visit.pk).delete()
            ScoringRequest.objects.filter(pk=visit.pk).delete()
            for form in visit.administrations.all():
                form.events.all().delete()
            visit.administrations.all().delete()
            visit.delete()

    def move(self) -> None:
        """A dyad turns out to be another clinician's: nothing does this but a superuser."""
        dyad = self._one(Dyad.objects.all())
        if dyad is not None:
            Dyad.objects.filter(pk=dyad.pk).update(clinician=self.random.choice(self.kit.clinicians))

    def work(self) -> None:
        tallies.refresh(clock=timezone.now)

    def _one(self, rows: Any) -> Any:
        found = list(rows.order_by("pk"))
        return self.random.choice(found) if found else None


@pytest.fixture
def kit() -> StudyKit:
    return make_study("TALLY", n_sites=2, n_clinicians=2)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_pages_tell_what_a_recount_finds(kit: StudyKit, seed: int) -> None:
    """After every tenth of random events, kept, marked or half and half; and after the worker has counted all."""
    access = StudyAccess(study=kit.study, roles=frozenset({Member.Role.ADMIN}), site_ids=None)
    desk = Desk(kit, seed)
    for number in range(120):
        desk.do(desk.random.choice(EVENTS))
        if number % 10 == 9:
            expected, found = recount(kit), told(kit, access)
            assert found["clinicians"] == expected["clinicians"]
            assert found["n_comparable"] == expected["n_comparable"]
            assert found["norms"].keys() == expected["norms"].keys()
            for column, numbers in expected["norms"].items():
                assert found["norms"][column] == pytest.approx(numbers, rel=1e-12)
    desk.work()
    assert not TallyMark.objects.exists()
    assert list(tallies.wrong_tallies()) == []
    assert told(kit, access)["clinicians"] == recount(kit)["clinicians"]


def test_a_change_without_its_mark_would_be_found(kit: StudyKit) -> None:
    """The control: with the triggers dropped the pages would be wrong, and the check says whose and what."""
    make_visit(kit)
    tallies.refresh(clock=timezone.now)
    assert list(tallies.wrong_tallies()) == []
    with connection.cursor() as cursor:
        for name in tallies._present():
            drop = "DROP TRIGGER {}" if connection.vendor == "sqlite" else "DROP FUNCTION {} CASCADE"
            cursor.execute(drop.format(name))
    make_visit(kit)
    kinds = {kind for pk, kind in tallies.wrong_tallies() if pk == kit.clinicians[0].pk}
    assert kinds == {"patients' forms", "completeness"}
    tallies.prepare()  # as every migration does: the triggers are back, and everything is counted again
    tallies.refresh(clock=timezone.now)
    assert list(tallies.wrong_tallies()) == []
    make_visit(kit)
    assert TallyMark.objects.exists()


def test_a_page_reads_what_was_kept(kit: StudyKit) -> None:
    """A kept tally is not counted again: of a clinician without a mark the page tells what stands in the row."""
    access = StudyAccess(study=kit.study, roles=frozenset({Member.Role.ADMIN}), site_ids=None)
    make_visit(kit)
    tallies.refresh(clock=timezone.now)
    kept = Tally.objects.get(clinician=kit.clinicians[0], kind="patients' forms")
    kept.figures["n_visits"] = 77
    kept.save()
    assert participation(access)[0].n_offered == 77
    make_visit(kit)
    assert participation(access)[0].n_offered == 2


def test_answers_alone_leave_no_mark(kit: StudyKit) -> None:
    """Fifty answers change no count: only the first leaves a mark, because it starts the form."""
    form = make_visit(kit).visit.administrations.get(role="patient")
    first, *others = form.instrument.forms["full"].order
    answer(form, {first: 4}, now=NOW)
    assert TallyMark.objects.exists()
    TallyMark.objects.all().delete()
    for code in others:
        answer(form, {code: 4}, now=NOW)
    assert not TallyMark.objects.exists()


def test_a_new_way_of_counting_counts_everything_anew(kit: StudyKit, monkeypatch: pytest.MonkeyPatch) -> None:
    """After an upgrade that registers another kind, the next migration leaves a mark for every clinician."""
    tallies.mark_all()
    tallies.refresh(clock=timezone.now)
    tallies.prepare()
    assert not TallyMark.objects.exists()
    monkeypatch.setitem(tallies._COUNTERS, "new", lambda ids: dict.fromkeys(ids, 1))
    tallies.prepare()
    assert set(TallyMark.objects.values_list("clinician_id", flat=True)) == {one.pk for one in kit.clinicians}
    tallies.refresh(clock=timezone.now)
    assert tallies.figures("new", [kit.clinicians[0].pk]) == {kit.clinicians[0].pk: 1}


def test_the_command_says_whether_the_tallies_are_right(kit: StudyKit) -> None:
    """`check_tallies`: quiet when they are; names whose are not, lets those be counted again, and fails."""
    tallies.mark_all()
    tallies.refresh(clock=timezone.now)
    out = StringIO()
    call_command("check_tallies", stdout=out)
    assert out.getvalue() == "All 12 tallies are what a fresh count finds.\n"
    Tally.objects.filter(clinician=kit.clinicians[0], kind="patients' forms").update(figures={"n_visits": 7})
    with pytest.raises(CommandError, match=r"1 of 12 tallies .* S1/C1: patients' forms"):
        call_command("check_tallies")
    tallies.refresh(clock=timezone.now)
    call_command("check_tallies", stdout=StringIO())
