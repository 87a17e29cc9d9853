"""The front desk's day: order, how far each patient is, who still owes a form, and who does not take part."""

from datetime import UTC, datetime, time, timedelta

import pytest
from django.conf import LazySettings
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from instruments.day import Progress, day_rows, owing, progress_of
from instruments.definitions import Role
from instruments.models import Administration
from instruments.participation import participation
from instruments.services import CreatedVisit
from studies.access import StudyAccess
from studies.models import AuditEvent, Member, NonParticipation, Visit
from tests.factories import PASSWORD, StudyKit, administration_of, answer, finish, make_member, make_study, make_visit

pytestmark = pytest.mark.django_db


@pytest.fixture
def kit() -> StudyKit:
    return make_study("DAY", n_sites=2)


@pytest.fixture
def coordinator(kit: StudyKit) -> Client:
    return signed_in(make_member(kit, Member.Role.COORDINATOR))


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def url(name: str, *arguments: object) -> str:
    return reverse(name, args=["DAY", *arguments])


def visit_at(kit: StudyKit, at: time | None, *, days_ago: int = 0, clinician: int = 0) -> CreatedVisit:
    """A visit of today, or so many days before, whose appointment is at this time."""
    created = make_visit(kit, clinician=kit.clinicians[clinician], now=timezone.now() - timedelta(days=days_ago))
    Visit.objects.filter(pk=created.visit.pk).update(visit_time=at)
    return created


def progress_on(client: Client) -> dict[int, str]:
    return {row.visit.pk: row.progress for row in client.get(url("day")).context["rows"]}


@pytest.mark.parametrize(
    ("changes", "declined", "expected"),
    [
        ({}, False, Progress.NOT_YET),
        ({"handed_over_at": datetime(2026, 3, 2, 9, tzinfo=UTC)}, False, Progress.HANDED_OVER),
        ({"handed_over_at": datetime(2026, 3, 2, 9, tzinfo=UTC), "status": "started"}, False, Progress.ANSWERING),
        ({"status": "started", "expires_at": datetime(2026, 3, 1, tzinfo=UTC)}, False, Progress.TIME_OVER),
        ({"expires_at": datetime(2026, 3, 2, 10, tzinfo=UTC)}, False, Progress.TIME_OVER),
        ({"expires_at": datetime(2026, 3, 1, tzinfo=UTC)}, True, Progress.DECLINED),
        ({"status": "completed", "expires_at": datetime(2026, 3, 1, tzinfo=UTC)}, True, Progress.FINISHED),
    ],
)
def test_how_far_a_form_is(changes: dict[str, object], declined: bool, expected: Progress) -> None:
    """Finished stays finished; who does not take part is told from a link whose time is over."""
    form = Administration(expires_at=datetime(2026, 4, 1, tzinfo=UTC), role=Role.PATIENT)
    for name, value in changes.items():
        setattr(form, name, value)
    noted = NonParticipation() if declined else None
    assert progress_of(form, noted, now=datetime(2026, 3, 2, 10, tzinfo=UTC)) == expected


def test_the_day_goes_by_the_clock(kit: StudyKit, coordinator: Client) -> None:
    """Today's visits of the own site in the order of their times, those without one last; no other day's."""
    no_time, late, early = (visit_at(kit, at) for at in (None, time(15, 30), time(8, 5)))
    visit_at(kit, time(7), days_ago=1)
    visit_at(kit, time(7), clinician=1)
    assert list(progress_on(coordinator)) == [one.visit.pk for one in (early, late, no_time)]
    page = coordinator.get(url("day")).content.decode()
    assert page.index("08:05") < page.index("15:30") < page.index("no time")


def test_the_row_follows_the_form(kit: StudyKit, coordinator: Client) -> None:
    """Not yet, handed over, answering, finished; each row's version changes with it, and only then."""
    created = visit_at(kit, time(9))
    form = administration_of(created, Role.PATIENT)
    seen: list[tuple[str, str]] = []

    def look() -> None:
        (row,) = coordinator.get(url("day")).context["rows"]
        (again,) = coordinator.get(url("day")).context["rows"]
        assert row.version == again.version
        seen.append((row.progress, row.version))

    look()
    tablet = Client()
    tablet.force_login(User.objects.get(username="day-coordinator"))
    handed = tablet.post(url("hand_over", form.pk))
    assert handed.headers["Location"].startswith("http://testserver/q/")
    assert "_auth_user_id" not in tablet.session
    look()
    answer(administration_of(created, Role.PATIENT), {"VN1": 3}, now=timezone.now())
    look()
    finish(created, Role.PATIENT, now=timezone.now())
    look()
    assert [progress for progress, _version in seen] == ["not yet", "handed over", "answering", "finished"]
    assert len({version for _progress, version in seen}) == 4


def test_who_owes_a_form(kit: StudyKit) -> None:
    """Patients of earlier days, oldest first; clinicians with their count; nobody who declined or is out of time."""
    now = timezone.now()
    older, old = visit_at(kit, None, days_ago=5), visit_at(kit, None, days_ago=2)
    today, done, declined = visit_at(kit, None), visit_at(kit, None, days_ago=3), visit_at(kit, None, days_ago=4)
    visit_at(kit, None, days_ago=90)
    for role in Role:
        finish(done, role, now=now)
    client = signed_in(make_member(kit, Member.Role.COORDINATOR))
    client.post(url("visit_decline", declined.visit.pk), {"outcome": "declined", "reason": "no_time"})
    access = StudyAccess(
        study=kit.study, roles=frozenset({Member.Role.COORDINATOR}), site_ids=frozenset({kit.sites[0].pk})
    )
    found = owing(access, day=timezone.localdate(now), now=now)
    assert [form.visit_id for form in found.patients] == [older.visit.pk, old.visit.pk]
    assert found.n_patients == 2
    (clinician,) = found.clinicians
    assert (clinician.clinician, clinician.n_forms) == (kit.clinicians[0], 3)
    assert clinician.oldest == older.visit.visit_date
    assert clinician.first_end == administration_of(older, Role.CLINICIAN).expires_at
    assert [row.visit.pk for row in day_rows(access, day=timezone.localdate(now), now=now)] == [today.visit.pk]


def test_a_patient_who_does_not_take_part(kit: StudyKit, coordinator: Client) -> None:
    """Closes both links, counts once in the denominator, gets no new link; taken back, the same links open again."""
    created = visit_at(kit, time(9))
    links = [reverse("questionnaire", args=[token]) for token in (created.patient_token, created.clinician_token)]
    page = url("visit_decline", created.visit.pk)
    assert "Both its links close at once" in coordinator.get(page).content.decode()
    assert coordinator.post(page, {"reason": "no_time"}).status_code == 422
    assert coordinator.post(page, {"outcome": "declined", "reason": "no_time"}).headers["Location"] == url("day")
    assert [Client().get(link).status_code for link in links] == [410, 410]
    assert progress_on(coordinator) == {created.visit.pk: "declined"}
    access = StudyAccess(study=kit.study, roles=frozenset({Member.Role.ADMIN}), site_ids=None)
    (row, _other) = participation(access)
    assert (row.n_declined, row.n_offered, dict(row.reasons)) == (1, 1, {"no time": 1})
    form = administration_of(created, Role.PATIENT)
    for name in ("link_reissue", "hand_over"):
        coordinator.post(url(name, form.pk))
    assert administration_of(created, Role.PATIENT).token_hash == form.token_hash
    coordinator = signed_in(User.objects.get(username="day-coordinator"))
    coordinator.post(page, {"outcome": "ineligible", "reason": "age"})
    assert NonParticipation.objects.get().outcome == "ineligible"
    coordinator.post(url("visit_take_part", created.visit.pk))
    assert [Client().get(link).status_code for link in links] == [200, 200]
    assert not NonParticipation.objects.exists()
    coordinator.post(url("visit_take_part", created.visit.pk))
    actions = list(AuditEvent.objects.exclude(study=None).order_by("sequence").values_list("action", flat=True))
    assert actions == ["not taking part", "not taking part", "taking part after all"]


def test_who_has_begun_takes_part(kit: StudyKit, coordinator: Client) -> None:
    """A form with answers is not declined at the desk: nothing is noted, the link stays."""
    created = visit_at(kit, time(9))
    answer(administration_of(created, Role.PATIENT), {"VN1": 3}, now=timezone.now())
    refused = coordinator.post(url("visit_decline", created.visit.pk), {"outcome": "declined"})
    assert refused.status_code == 409
    assert not NonParticipation.objects.exists()
    assert progress_on(coordinator) == {created.visit.pk: "answering"}


def test_an_empty_day_says_what_to_do(kit: StudyKit, coordinator: Client) -> None:
    """With the way to the list and to a new visit."""
    page = coordinator.get(url("day")).content.decode()
    assert "Nobody is expected today" in page
    assert url("day_list") in page


def test_ones_own_patient_is_handed_over_by_a_colleague(kit: StudyKit) -> None:
    """No button, and the reason."""
    user = make_member(kit, Member.Role.CLINICIAN)
    Member.objects.create(study=kit.study, user=user, role=Member.Role.ADMIN)
    visit_at(kit, time(9))
    page = signed_in(user).get(url("day")).content.decode()
    assert "a colleague hands over" in page
    assert "hand-over/" not in page


def test_signing_in_leads_the_front_desk_to_its_day(kit: StudyKit, client: Client) -> None:
    """Whose only work is one study's desk; everybody else begins at home."""
    Member.objects.create(
        study=make_study("OTHER").study, user=make_member(kit, Member.Role.ADMIN, username="ada"), role="researcher"
    )
    make_member(kit, Member.Role.COORDINATOR, username="cora")
    for username, target in (("cora", url("day")), ("ada", reverse("home"))):
        answered = Client().post(reverse("login"), {"username": username, "password": PASSWORD})
        assert answered.headers["Location"] == target


def test_a_page_that_looks_for_news_keeps_nobody_signed_in(
    kit: StudyKit, coordinator: Client, settings: LazySettings
) -> None:
    """The page's own questions are no use of it; somebody's are: the control."""
    settings.SESSION_IDLE_SECONDS = 300

    def idle_for(seconds: int) -> None:
        session = coordinator.session
        session["seen_at"] = int(timezone.now().timestamp()) - seconds
        session.save()

    idle_for(200)
    parts = coordinator.get(url("day"), headers={"X-Background": "yes"})
    assert parts.status_code == 200
    assert "<html" not in parts.content.decode()
    assert int(timezone.now().timestamp()) - coordinator.session["seen_at"] >= 200
    coordinator.get(url("day"))
    assert int(timezone.now().timestamp()) - coordinator.session["seen_at"] < 60
    idle_for(400)
    assert coordinator.get(url("day"), headers={"X-Background": "yes"}).status_code == 302
