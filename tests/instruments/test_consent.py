"""A patient is asked first: agreeing leads to the questions, declining ends it, and both are kept for good."""

import json
from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError, transaction
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from instruments.definitions import Role
from instruments.models import Administration, Consent
from instruments.participation import participation
from instruments.services import CreatedVisit
from studies.access import StudyAccess
from studies.consent_texts import write_text
from studies.models import AuditEvent, ConsentText, Member, Study
from tests.factories import (
    CONSENT,
    NOW,
    StudyKit,
    administration_of,
    ask_for_consent,
    make_member,
    make_study,
    make_visit,
    settings_as_they_are,
)

pytestmark = pytest.mark.django_db


@pytest.fixture
def kit() -> StudyKit:
    kit = make_study("ASK", form="short")
    ask_for_consent(kit)
    return kit


@pytest.fixture
def visit(kit: StudyKit) -> CreatedVisit:
    return make_visit(kit, now=timezone.now())


def root(visit: CreatedVisit) -> str:
    return reverse("questionnaire", args=[visit.patient_token])


def decide(client: Client, visit: CreatedVisit, decision: str, *, language: str = "en", text: int | None = None) -> Any:
    if text is None:
        text = ConsentText.objects.filter(language=language).latest("number").pk
    return client.post(f"{root(visit)}consent/?language={language}", {"decision": decision, "text": text})


def form(visit: CreatedVisit, role: Role = Role.PATIENT) -> Administration:
    return administration_of(visit, role)


def test_from_welcome_to_the_first_question_in_three_screens(client: Client, visit: CreatedVisit) -> None:
    """Welcome, consent, question; the text is shown as it was typed, and what was read is kept."""
    assert "Continue" in client.get(root(visit)).content.decode()
    to_consent = client.post(root(visit), {"language": "es"})
    assert (to_consent.status_code, to_consent.headers["Location"]) == (303, f"{root(visit)}consent/?language=es")
    page = client.get(to_consent.headers["Location"])
    assert page.headers["Content-Language"] == "es"
    assert "Usted puede decir que no." in page.content.decode()
    assert "<p>Usted puede decir que no.</p>" in page.content.decode()
    answer = decide(client, visit, "agree", language="es")
    assert (answer.status_code, answer.headers["Location"]) == (303, f"{root(visit)}page/1/")
    assert client.get(f"{root(visit)}page/1/").status_code == 200
    kept = Consent.objects.get()
    assert (kept.administration.pk, kept.is_given, kept.language) == (form(visit).pk, True, "es")
    assert (kept.text.number, kept.text_hash) == (1, kept.text.text_hash)
    assert (form(visit).status, form(visit).language) == ("started", "es")


def test_the_text_is_never_markup(client: Client, visit: CreatedVisit) -> None:
    """Headings and lists are made of it; what looks like a tag is shown as it stands."""
    page = client.get(f"{root(visit)}consent/").content.decode()
    assert "<h2>About</h2>" in page
    assert "<li>It is &lt;b&gt;yours&lt;/b&gt;.</li>" in page
    assert "<b>" not in page


@pytest.mark.parametrize(
    ("method", "path", "data"),
    [
        ("get", "page/1/", {}),
        ("post", "page/1/", {"action": "next", "sequence": "1", "VN1": "9"}),
        ("post", "page/1/", {"action": "next", "sequence": "1", "VN1": "4"}),
        ("get", "review/", {}),
        ("post", "language/", {"language": "es"}),
        ("post", "finish/", {}),
    ],
)
@pytest.mark.parametrize("declines", [False, True])
def test_no_question_is_shown_or_answered_without_consent(
    client: Client, visit: CreatedVisit, method: str, path: str, data: dict[str, str], declines: bool
) -> None:
    """Whatever is asked for, before and after a refusal; with consent the same page shows the question."""
    sentence = form(visit).instrument.form_items("short")[0].text[Role.PATIENT]["en"]
    if declines:
        decide(client, visit, "decline")
    got = getattr(client, method)(root(visit) + path, data)
    shown = client.get(got.headers["Location"]) if got.status_code == 303 else got
    assert shown.status_code in (200, 409)
    assert sentence not in shown.content.decode()
    assert (form(visit).answers, form(visit).started_at) == ({}, None)


def test_the_control_shows_the_question(client: Client, visit: CreatedVisit) -> None:
    """What the test above looks for is there once the patient has agreed."""
    decide(client, visit, "agree")
    sentence = form(visit).instrument.form_items("short")[0].text[Role.PATIENT]["en"]
    assert sentence in client.get(f"{root(visit)}page/1/").content.decode()


@pytest.mark.parametrize("declines", [False, True])
@pytest.mark.parametrize("path", ["answers/", "deliver/"])
def test_scripts_deliver_nothing_without_consent(
    client: Client, visit: CreatedVisit, path: str, declines: bool
) -> None:
    """Refused with 409; nothing is begun."""
    if declines:
        decide(client, visit, "decline")
    one = {"item": "VN1", "value": 4, "sequence": 1}
    body: Any = one if path == "answers/" else {"answers": [one], "language": "en", "finish": False}
    got = client.post(root(visit) + path, json.dumps(body), content_type="application/json")
    assert got.status_code == 409
    assert (form(visit).answers, form(visit).status) == ({}, "declined" if declines else "waiting")


def test_declining_ends_it_with_thanks(client: Client, kit: StudyKit, visit: CreatedVisit) -> None:
    """Kept with version and language, counted among those asked; the clinician is not asked about this visit."""
    rater = make_member(kit, Member.Role.CLINICIAN)
    desk = Client()
    desk.force_login(rater)
    waiting = reverse("patients_to_rate", args=["ASK"])
    assert len(desk.get(waiting).context["waiting"]) == 1
    answer = decide(client, visit, "decline", language="es")
    assert (answer.status_code, answer.headers["Location"]) == (303, root(visit))
    assert "finished" in answer.cookies
    thanks = client.get(root(visit)).content.decode()
    assert "Gracias por decirnos" in thanks
    kept = Consent.objects.get()
    assert (kept.is_given, kept.language, kept.text.language) == (False, "es", "es")
    assert form(visit).status == "declined"
    assert decide(client, visit, "agree", language="es").status_code == 409
    assert decide(client, visit, "decline", language="es").status_code == 303
    assert Consent.objects.count() == 1
    assert len(desk.get(waiting).context["waiting"]) == 0
    clinicians_link = client.get(reverse("questionnaire", args=[visit.clinician_token]))
    assert clinicians_link.status_code == 410
    event = AuditEvent.objects.get(action="consent declined")
    assert event.detail == {"dyad": visit.visit.dyad.code, "language": "es", "version": 1}
    make_visit(kit, now=timezone.now())
    (row,) = participation(StudyAccess(study=kit.study, roles=frozenset(), site_ids=None))
    assert (row.n_offered, row.n_declined, row.n_started, row.n_finished) == (2, 1, 0, 0)


def test_the_desk_sees_who_declined_and_can_ask_again(client: Client, kit: StudyKit, visit: CreatedVisit) -> None:
    """For a wrong tap: a new link begins with the question; the refusal stays on record."""
    desk = Client()
    desk.force_login(make_member(kit, Member.Role.COORDINATOR))
    decide(client, visit, "decline")
    page = desk.get(reverse("visits", args=["ASK"])).content.decode()
    assert "Declined" in page
    assert "Not asked for" in page
    assert "Hand over" not in page.partition("<tbody>")[2].partition("</tbody>")[0]
    assert desk.get(reverse("visits", args=["ASK"]) + "?show=owing").context["visits"] == []
    assert desk.post(reverse("link_reissue", args=["ASK", form(visit, Role.CLINICIAN).pk])).status_code == 409
    again = desk.post(reverse("link_reissue", args=["ASK", form(visit).pk]))
    (link,) = again.context["links"]
    assert form(visit).status == "waiting"
    assert form(visit, Role.CLINICIAN).expires_at > timezone.now() + timedelta(days=20)
    path = link.url.partition("testserver")[2]
    text = ConsentText.objects.get(language="en").pk
    assert client.post(f"{path}consent/", {"decision": "agree", "text": text}).status_code == 303
    assert [one.is_given for one in Consent.objects.order_by("pk")] == [False, True]


def test_a_text_that_has_changed_is_read_again(client: Client, kit: StudyKit, visit: CreatedVisit) -> None:
    """Nobody agrees to what they have not read: an older version, another language's or nothing at all."""
    old = ConsentText.objects.get(language="en").pk
    write_text(study=kit.study, site=None, language="en", text="New words.", why="asked", actor=None, now=NOW)
    other = ConsentText.objects.get(language="es").pk
    for text in (old, other, 10**9):
        answer = decide(client, visit, "agree", text=text)
        assert answer.status_code == 409
        assert "This text has just changed" in answer.content.decode()
        assert "New words." in answer.content.decode()
    assert client.post(f"{root(visit)}consent/", {"text": "x"}).status_code == 422
    assert not Consent.objects.exists()
    assert form(visit).status == "waiting"
    assert decide(client, visit, "agree").status_code == 303


def test_who_has_agreed_can_decline_until_the_first_answer(client: Client, visit: CreatedVisit) -> None:
    """By Back; with an answer there, stopping is by not going on."""
    decide(client, visit, "agree")
    decide(client, visit, "agree")
    assert Consent.objects.count() == 1
    decide(client, visit, "decline")
    assert [one.is_given for one in Consent.objects.order_by("pk")] == [True, False]
    assert (form(visit).status, form(visit).started_at) == ("declined", None)


def test_with_an_answer_there_is_no_declining(client: Client, visit: CreatedVisit) -> None:
    """Nothing changes, and the page says so."""
    decide(client, visit, "agree")
    client.post(f"{root(visit)}page/1/", {"action": "next", "sequence": "1", "VN1": "4"})
    assert form(visit).answers
    assert decide(client, visit, "decline").status_code == 409
    assert form(visit).status == "started"


def test_without_a_text_nothing_is_asked(client: Client, kit: StudyKit, visit: CreatedVisit) -> None:
    """A language whose text is missing: the patient tells the staff, and can take another language."""
    Study.objects.update(languages=[])
    extra = make_study("BARE")
    ask_for_consent(extra, languages=("en",))
    bare = make_visit(extra, now=timezone.now())
    page = client.get(f"{root(bare)}consent/?language=es").content.decode()
    assert "Por favor, avise al personal" in page
    assert 'value="agree"' not in page
    assert 'value="agree"' in client.get(f"{root(bare)}consent/?language=en").content.decode()


def test_a_consent_is_never_changed(client: Client, visit: CreatedVisit) -> None:
    """The database itself refuses."""
    decide(client, visit, "agree")
    with pytest.raises(IntegrityError, match="append-only"), transaction.atomic():
        Consent.objects.update(is_given=False)


def test_where_consent_is_taken_elsewhere_nothing_is_asked(client: Client) -> None:
    """The questions follow the welcome, as they always did; no consent is claimed."""
    kit = make_study("PAPER", form="short")
    visit = make_visit(kit, now=timezone.now())
    started = client.post(root(visit), {"language": "en"})
    assert started.headers["Location"] == f"{root(visit)}page/1/"
    consent = client.get(f"{root(visit)}consent/")
    assert (consent.status_code, consent.headers["Location"]) == (303, f"{root(visit)}page/1/")
    assert not Consent.objects.exists()


def test_a_study_asks_in_its_own_languages(client: Client, kit: StudyKit) -> None:
    """The welcome, the script's state and the choice know no other; a form begun in one that is given up goes on."""
    begun = make_visit(kit, now=timezone.now())
    decide(client, begun, "agree", language="es")
    Study.objects.update(languages=["en"])
    visit = make_visit(kit, now=timezone.now())
    page = client.get(root(visit) + "?language=es")
    assert page.headers["Content-Language"] == "en"
    assert "Español" not in page.content.decode()
    assert set(client.get(f"{root(visit)}state/").json()["bundles"]) == {"en"}
    decide(client, visit, "agree")
    assert client.post(f"{root(visit)}language/", {"language": "es"}).status_code == 422
    assert client.get(f"{root(begun)}page/1/").headers["Content-Language"] == "es"


# --- the admin's pages ---


@pytest.fixture
def admin(kit: StudyKit) -> Client:
    client = Client()
    client.force_login(make_member(kit, Member.Role.ADMIN))
    return client


def text_page(language: str = "en", *site: int) -> str:
    return reverse("consent_text_of_site" if site else "consent_text", args=["ASK", language, *site])


def test_a_text_is_written_previewed_and_kept(kit: StudyKit, admin: Client) -> None:
    """In an open study with a reason; the preview is the patient's page and stores nothing."""
    preview = admin.post(text_page(), {"text": "- point", "preview": "1"})
    assert (preview.status_code, "<li>point</li>" in preview.content.decode()) == (200, True)
    assert preview.content.decode().count("disabled") == 2
    assert admin.post(text_page(), {"text": "Better words."}).context["form"].errors.keys() == {"why"}
    assert ConsentText.objects.filter(language="en").count() == 1
    assert admin.post(text_page(), {"text": "Better words.", "why": "the board asked"}).status_code == 302
    page = admin.get(text_page()).content.decode()
    assert "the board asked" in page
    assert "You may say no." in page  # the old version
    assert "version 2" in admin.get(reverse("consent_texts", args=["ASK"])).content.decode()


@pytest.mark.parametrize("text", ["", "Call [name].", "<p>Words</p>", "x" * 8001])
def test_a_bad_text_is_refused(kit: StudyKit, admin: Client, text: str) -> None:
    """Nothing, a gap that patients would read, markup, too long."""
    refused = admin.post(text_page(), {"text": text, "why": "w"})
    assert refused.status_code == 422
    assert refused.context["form"].errors.keys() == {"text"}
    assert ConsentText.objects.filter(language="en").get().text == CONSENT["en"]


def test_a_language_or_site_that_is_not_there_is_not_found(kit: StudyKit, admin: Client) -> None:
    """As any page that does not exist."""
    assert admin.get(text_page("fr")).status_code == 404
    assert admin.get(text_page("en", 10**6)).status_code == 404


def test_a_site_s_own_text_begins_empty_and_can_be_ended(kit: StudyKit, admin: Client) -> None:
    """Written, it counts at that site; emptied, the study's counts again."""
    page = text_page("en", kit.sites[0].pk)
    assert admin.get(page).context["form"].initial["text"] == ""
    admin.post(page, {"text": "Ours.", "why": "w"})
    admin.post(page, {"text": "", "why": "w"})
    assert [one.text for one in ConsentText.objects.filter(site=kit.sites[0])] == ["Ours.", ""]


def test_the_check_list_names_what_is_missing(kit: StudyKit, admin: Client) -> None:
    """By site and language, and gaps that are still to be filled in; a click away from where it is mended."""
    Study.objects.update(status=Study.Status.DRAFT)
    fresh = make_study("NEW")
    Study.objects.filter(code="NEW").update(status=Study.Status.DRAFT, consent=Study.Consent.HERE)
    make_member(fresh, Member.Role.ADMIN, username="new-admin")
    client = Client()
    client.login(username="new-admin", password="a long enough password")

    def todo() -> str:
        steps = client.get(reverse("study_open", args=["NEW"])).context["steps"]
        (step,) = (step for step in steps if step.url_name == "consent_texts")
        return str(step.todo)

    assert todo() == "No consent text in English for Site 1. No consent text in Spanish for Site 1."
    for language in ("en", "es"):
        page = reverse("consent_text", args=["NEW", language])
        start = client.get(page).context["form"].initial["text"]
        assert client.post(page, {"text": start}).status_code == 302
    assert todo().startswith("The consent text in English still has to be filled in: [DRAFT")
    assert client.post(reverse("study_open", args=["NEW"])).status_code == 409
    for language in ("en", "es"):
        client.post(reverse("consent_text", args=["NEW", language]), {"text": "Filled in."})
    assert todo() == ""


def test_an_open_study_can_not_begin_to_ask_without_texts(admin: Client, kit: StudyKit) -> None:
    """The change is refused and says what is missing; with a text in each language it goes through."""
    other = make_study("LATER")
    make_member(other, Member.Role.ADMIN, username="later-admin")
    client = Client()
    client.login(username="later-admin", password="a long enough password")
    data = settings_as_they_are(client, "LATER") | {"languages": ["en"], "consent": "here", "why": "the board asked"}
    page = reverse("study_settings", args=["LATER"])
    refused = client.post(page, data)
    assert refused.context["form"].errors["consent"] == ["No consent text in English for Site 1."]
    client.post(reverse("consent_text", args=["LATER", "en"]), {"text": "Words.", "why": "w"})
    assert client.post(page, data).status_code == 302
    changed = Study.objects.get(code="LATER")
    assert (changed.consent, changed.languages, changed.n_amendments) == ("here", ["en"], 1)
