"""The clinician's inbox: who waits, the way in, labels of one's own, and "I can't rate this patient"."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from instruments.definitions import Role
from instruments.inbox import clinician_of, decline_rating, pass_for, rate_after_all
from instruments.models import Administration, RatingPass, hash_token
from instruments.opening import administration_with_token
from instruments.services import AnswerRefused, CreatedVisit, QuestionnaireClosed, RatingDeclined
from studies.models import AuditEvent, DyadLabel, Member, Site
from tests.factories import NOW, StudyKit, administration_of, answer, finish, make_member, make_study, make_visit

pytestmark = pytest.mark.django_db

LABEL = "tall man, blue folder"


@pytest.fixture
def kit() -> StudyKit:
    return make_study("DESK", n_clinicians=2, form="short")


@pytest.fixture
def clinician(kit: StudyKit) -> Client:
    """The first clinician, signed in."""
    return signed_in(make_member(kit, Member.Role.CLINICIAN))


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def url(name: str, *arguments: object) -> str:
    return reverse(name, args=["DESK", *arguments])


def form_of(created: CreatedVisit) -> Administration:
    return administration_of(created, Role.CLINICIAN)


# --- the list ---


def test_a_clinician_finds_the_patients_who_wait(kit: StudyKit, clinician: Client) -> None:
    """Unfinished and in time, oldest visit first; one button opens the form."""
    now = timezone.now()
    first, second = make_visit(kit, now=now - timedelta(days=3)), make_visit(kit, now=now)
    finish(make_visit(kit, now=now), Role.CLINICIAN, now=now)
    make_visit(kit, now=now - timedelta(days=60))  # its time is over
    make_visit(kit, clinician=kit.clinicians[1], now=now)  # a colleague's
    page = clinician.get(url("patients_to_rate"))
    assert [row.form.visit_id for row in page.context["waiting"]] == [first.visit.pk, second.visit.pk]
    assert page.context["inbox"].n_done == 1
    opened = clinician.post(url("rate_patient", form_of(first).pk))
    assert opened.status_code == 302
    assert first.visit.dyad.code in clinician.get(opened.headers["Location"]).content.decode()


def test_the_days_left_stand_out_when_they_are_few(kit: StudyKit, clinician: Client) -> None:
    """Whole days; the last ones are marked, and the very last says so."""
    now = timezone.now()
    for age in (1, 26, 29.5):
        make_visit(kit, now=now - timedelta(days=age, minutes=-1))
    page = clinician.get(url("patients_to_rate"))
    assert [(row.days_left, row.is_near) for row in page.context["waiting"]] == [(0, True), (4, True), (29, False)]
    text = page.content.decode()
    assert "ends within a day" in text
    assert "4 days left" in text
    assert text.count("tag attention") == 2


def test_an_empty_list_says_when_it_fills(kit: StudyKit, clinician: Client) -> None:
    """Nobody waits: a sentence about what comes next."""
    assert "No patient waits for your rating" in clinician.get(url("patients_to_rate")).content.decode()


# --- the way in ---


def test_opening_from_the_inbox_leaves_an_emailed_link_alone(kit: StudyKit, clinician: Client) -> None:
    """Both open the same form; the way in is the same each time, and the database holds its hash alone."""
    created = make_visit(kit, now=timezone.now())
    ways = {clinician.post(url("rate_patient", form_of(created).pk)).headers["Location"] for _ in range(3)}
    (way,) = ways
    link = reverse("questionnaire", args=[created.clinician_token])
    assert way != link
    for address in (way, link):
        assert Client().get(address).status_code == 200
    token = way.strip("/").split("/")[1]
    assert len(token) == 22  # 128 bits
    assert RatingPass.objects.get().token_hash == hash_token(token)
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM instruments_ratingpass")
        assert token not in str(cursor.fetchall())


def test_what_waits_on_a_device_is_delivered_through_the_pass(kit: StudyKit, clinician: Client) -> None:
    """Without a session, as a device's queue sends it a day later; a secret of nobody's delivers nothing."""
    created = make_visit(kit, now=timezone.now())
    way = clinician.post(url("rate_patient", form_of(created).pk)).headers["Location"]
    body = '{"language": "en", "answers": [{"item": "VN1", "value": 3, "sequence": 1}]}'
    assert Client().post(f"{way}deliver/", body, content_type="application/json").status_code == 200
    assert form_of(created).answers == {"VN1": 3}
    other = f"/q/{'x' * 22}/deliver/"
    assert Client().post(other, body, content_type="application/json").status_code == 404


def test_a_new_link_from_the_desk_ends_the_old_link_and_not_the_way_in(kit: StudyKit, clinician: Client) -> None:
    """The desk's new link replaces the desk's old one."""
    created = make_visit(kit, now=timezone.now())
    way = clinician.post(url("rate_patient", form_of(created).pk)).headers["Location"]
    desk = signed_in(make_member(kit, Member.Role.COORDINATOR))
    assert desk.post(url("link_reissue", form_of(created).pk)).status_code == 200
    assert Client().get(way).status_code == 200
    assert Client().get(reverse("questionnaire", args=[created.clinician_token])).status_code == 404


def test_a_pass_ends_with_the_account_s_part(kit: StudyKit, clinician: Client) -> None:
    """Untied from the clinician, or switched off: the address opens nothing, like one that never was."""
    created = make_visit(kit, now=timezone.now())
    user = User.objects.get(clinicians=kit.clinicians[0])
    token = pass_for(administration=form_of(created), user=user, now=NOW)
    assert clinician_of(administration_with_token(token), token) == user
    User.objects.update(is_active=False)
    with pytest.raises(Administration.DoesNotExist):
        administration_with_token(token)
    User.objects.update(is_active=True)
    kit.clinicians[0].user = None
    kit.clinicians[0].save()
    with pytest.raises(Administration.DoesNotExist):
        administration_with_token(token)


def test_a_finished_or_expired_form_does_not_open(kit: StudyKit, clinician: Client) -> None:
    """The list says so; no way in is made."""
    now = timezone.now()
    done, late = make_visit(kit, now=now), make_visit(kit, now=now - timedelta(days=60))
    finish(done, Role.CLINICIAN, now=now)
    for created in (done, late):
        response = clinician.post(url("rate_patient", form_of(created).pk), follow=True)
        assert response.redirect_chain == [(url("patients_to_rate"), 302)]
        assert "is finished, or its time is over" in response.content.decode()
    assert not RatingPass.objects.exists()


def test_after_the_last_answer_the_way_leads_back_to_the_inbox(kit: StudyKit, clinician: Client) -> None:
    """Only for whoever came from there: a link by e-mail knows of no inbox."""
    created = make_visit(kit, now=timezone.now())
    way = clinician.post(url("rate_patient", form_of(created).pk)).headers["Location"]
    finish(created, Role.CLINICIAN, now=timezone.now())
    assert f'href="{url("patients_to_rate")}"' in Client().get(way).content.decode()
    by_link = Client().get(reverse("questionnaire", args=[created.clinician_token])).content.decode()
    assert url("patients_to_rate") not in by_link


# --- "I can't rate this patient" ---


def test_a_clinician_says_why_not_and_takes_it_back(kit: StudyKit, clinician: Client) -> None:
    """From the inbox: the reason ends the rating, staff see it, and until the end it can be taken up again."""
    now = timezone.now()
    created = make_visit(kit, now=now)
    answer(form_of(created), {"VN1": 2}, now=now)
    cannot = clinician.post(url("rate_patient", form_of(created).pk), {"wish": "cannot"}).headers["Location"]
    assert cannot.endswith("/cannot/")
    assert "not my patient" in clinician.get(cannot).content.decode()
    refused = clinician.post(cannot, {"reason": "bored"})
    assert refused.status_code == 422
    assert 'role="alert"' in refused.content.decode()
    assert form_of(created).status == "started"
    assert clinician.post(cannot, {"reason": "wrong_patient"}).status_code == 303
    page = clinician.get(url("patients_to_rate"))
    assert page.context["waiting"] == []
    assert "This is not my patient" in page.content.decode()
    desk = signed_in(make_member(kit, Member.Role.COORDINATOR))
    assert "Declined: This is not my patient" in desk.get(url("visits")).content.decode()
    assert clinician.post(url("rate_patient", form_of(created).pk), {"wish": "again"}).status_code == 302
    again = form_of(created)
    assert (again.status, again.cannot_rate, again.answers) == ("started", None, {"VN1": 2})
    told = [(event.action, event.actor, event.detail.get("reason")) for event in AuditEvent.objects.exclude(study=None)]
    user = User.objects.get(clinicians=kit.clinicians[0])
    assert told == [("rate after all", user, None), ("cannot rate", user, "wrong_patient")]


def test_a_declined_form_takes_no_answer(kit: StudyKit) -> None:
    """By its link, too: each page says what was said and offers to take it back; every way of storing refuses."""
    created = make_visit(kit, now=timezone.now())
    root = reverse("questionnaire", args=[created.clinician_token])
    client = Client()
    assert client.post(f"{root}cannot/", {"reason": "left"}).status_code == 303
    for page in (root, f"{root}page/1/", f"{root}review/"):
        response = client.get(page)
        assert (response.status_code, "after all" in response.content.decode()) == (200, True), page
    body = '{"item": "VN1", "value": 3, "sequence": 1}'
    assert client.post(f"{root}answers/", body, content_type="application/json").status_code == 409
    delivery = '{"language": "en", "answers": [{"item": "VN1", "value": 3, "sequence": 1}]}'
    assert client.post(f"{root}deliver/", delivery, content_type="application/json").status_code == 409
    with pytest.raises(RatingDeclined):
        answer(form_of(created), {"VN1": 3}, now=timezone.now())
    assert form_of(created).answers == {}
    assert client.post(f"{root}again/").status_code == 303
    assert form_of(created).status == "waiting"
    answer(form_of(created), {"VN1": 3}, now=timezone.now())
    assert form_of(created).answers == {"VN1": 3}


def test_only_an_open_rating_can_be_declined(kit: StudyKit) -> None:
    """A patient's form, a finished one and one whose time is over stay as they are."""
    created, late = make_visit(kit), make_visit(kit)
    finish(created, Role.CLINICIAN)
    for administration, now in (
        (administration_of(created, Role.PATIENT), NOW),
        (form_of(created), NOW),
        (form_of(late), NOW + timedelta(days=31)),
    ):
        for change in (
            lambda pk, now: decline_rating(administration_id=pk, reason="other", actor=None, now=now),
            lambda pk, now: rate_after_all(administration_id=pk, actor=None, now=now),
        ):
            with pytest.raises(AnswerRefused):
                change(administration.pk, now)
    assert not Administration.objects.filter(status="declined").exists()
    root = reverse("questionnaire", args=[created.patient_token])
    assert Client().get(f"{root}cannot/").status_code in (404, 410)
    with pytest.raises(QuestionnaireClosed):
        decline_rating(administration_id=form_of(created).pk, reason="other", actor=None, now=NOW)


# --- labels ---


def test_a_label_is_the_clinician_s_own(kit: StudyKit, clinician: Client) -> None:
    """Shown in the inbox, sealed in the database, in nobody's page, and its text is in no line of the trail."""
    created = make_visit(kit, now=timezone.now())
    address = url("rating_label", form_of(created).pk)
    clinician.post(address, {"label": LABEL})
    assert not DyadLabel.objects.exists()  # the site does not allow it
    Site.objects.update(allows_private_labels=True)
    clinician.post(address, {"label": f"  {LABEL}\n"})
    assert LABEL in clinician.get(url("patients_to_rate")).content.decode()
    assert LABEL not in DyadLabel.objects.get().sealed_text
    assert all(LABEL not in event.record for event in AuditEvent.objects.all())
    colleague = make_member(kit, Member.Role.CLINICIAN, username="colleague", clinician=kit.clinicians[1])
    assert signed_in(colleague).post(address, {"label": "mine"}).status_code == 404
    desk = signed_in(make_member(kit, Member.Role.ADMIN))
    for name in ("visits", "dyads", "audit_trail"):
        assert LABEL not in desk.get(url(name)).content.decode()
    clinician.post(address, {"label": " "})
    assert not DyadLabel.objects.exists()
    Site.objects.update(allows_private_labels=False)
    assert "Label that only you see" not in clinician.get(url("patients_to_rate")).content.decode()


def test_many_patients_with_labels_take_few_queries(kit: StudyKit, clinician: Client) -> None:
    """The same number for two as for twelve."""
    Site.objects.update(allows_private_labels=True)
    counts = []
    for n in (2, 10):
        for _ in range(n):
            created = make_visit(kit, now=timezone.now())
            clinician.post(url("rating_label", form_of(created).pk), {"label": LABEL})
        with CaptureQueriesContext(connection) as queries:
            clinician.get(url("patients_to_rate"))
        counts.append(len(queries))
    assert counts[0] == counts[1] <= 12
