"""The questionnaire pages, as a browser without scripts meets them."""

import json
import re
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import polib
import pytest
from django.conf import settings
from django.db import IntegrityError, connection, transaction
from django.http import HttpResponse
from django.test import Client
from django.urls import resolve
from django.utils import timezone
from django.utils.translation.template import templatize
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from instruments import services
from instruments.answer_log import append_events, save_answers
from instruments.catalogue.reader import read_instrument
from instruments.definitions import Absence, Role
from instruments.models import Administration, AnswerEvent
from instruments.opening import administration_with_token, locked_administration, locked_administration_with_token
from instruments.services import CreatedVisit, create_visit, release_instrument
from instruments.views import Links
from studies.models import Clinician, Dyad, Patient, Site, Study, Wave

CATALOGUE = Path(settings.BASE_DIR) / "instruments" / "catalogue" / "healing-relationships-1.0.yaml"
PAGES_OF_FIVE = CATALOGUE.with_name("healing-relationships-1.1.yaml")

pytestmark = pytest.mark.django_db


@dataclass
class Form:
    """One form of a page: where it goes and what a browser would send."""

    action: str
    fields: dict[str, list[str]] = field(default_factory=dict)
    offered: dict[str, list[str]] = field(default_factory=dict)  # radio and checkbox values
    texts: list[str] = field(default_factory=list)  # names of text fields
    buttons: list[tuple[str, str]] = field(default_factory=list)


class PageReader(HTMLParser):
    """The parts of a page that the tests look at."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.forms: list[Form] = []
        self.language = ""
        self.links: list[str] = []
        self.text = ""
        self.title = ""
        self._in_title = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collect forms, their fields, links and the language."""
        given = {name: value or "" for name, value in attrs}
        name, value = given.get("name", ""), given.get("value", "")
        match tag:
            case "html":
                self.language = given["lang"]
            case "title":
                self._in_title = True
            case "form":
                self.forms.append(Form(action=given["action"]))
            case "a":
                self.links.append(given["href"])
            case "button" if name:
                self.forms[-1].buttons.append((name, value))
            case "input" if given["type"] in ("radio", "checkbox"):
                self.forms[-1].offered.setdefault(name, []).append(value)
                if "checked" in given:
                    self.forms[-1].fields.setdefault(name, []).append(value)
            case "input":
                self.forms[-1].fields.setdefault(name, []).append(value)
                if given["type"] == "text":
                    self.forms[-1].texts.append(name)

    def handle_endtag(self, tag: str) -> None:
        """Leave the title."""
        if tag == "title":
            self._in_title = False

    def handle_data(self, data: str) -> None:
        """Collect the words."""
        self.text += data
        if self._in_title:
            self.title += data

    @property
    def question(self) -> Form:
        """The form with the questions."""
        return next(form for form in self.forms if "sequence" in form.fields)


def read(response: HttpResponse) -> PageReader:
    """The page of a response."""
    return PageReader(response.content.decode())


@pytest.fixture
def study() -> Study:
    """A study with the released instrument loaded."""
    release_instrument(CATALOGUE, now=timezone.now())
    return Study.objects.create(code="T", title="Test study", is_synthetic=True)


def new_visit(
    study: Study, *, form: str = "short", follow_up: bool = False, catalogue: Path = CATALOGUE
) -> CreatedVisit:
    """A visit of a new patient, open for answering."""
    number = Patient.objects.count() + 1
    site, _ = Site.objects.get_or_create(study=study, code="N", defaults={"name": "North"})
    clinician, _ = Clinician.objects.get_or_create(site=site, code="C1")
    patient = Patient.objects.create(site=site, code=f"P{number}")
    dyad = Dyad.objects.create(study=study, clinician=clinician, patient=patient, code=f"P{number}.C1")
    wave, _ = Wave.objects.get_or_create(
        study=study, code=f"w{follow_up:d}", defaults={"label": "Wave", "is_follow_up": follow_up}
    )
    version, _ = release_instrument(catalogue, now=timezone.now())
    return create_visit(
        dyad=dyad,
        wave=wave,
        form=form,
        instrument_version=version,
        visit_date=date(2026, 1, 31),
        now=timezone.now(),
        link_valid_days=30,
    )


@pytest.fixture
def visit(study: Study) -> CreatedVisit:
    """A visit with the short form."""
    return new_visit(study)


@pytest.fixture
def client() -> Client:
    """A browser that checks CSRF, as the real server does, and keeps cookies if it were given any."""
    return Client(enforce_csrf_checks=True)


def administration_of(visit: CreatedVisit, role: Role = Role.PATIENT) -> Administration:
    """The row as it stands now."""
    return Administration.objects.for_answering().get(visit=visit.visit, role=role)


def token_of(visit: CreatedVisit, role: Role) -> str:
    """The secret of a role's link."""
    return visit.patient_token if role is Role.PATIENT else visit.clinician_token


def begin(client: Client, token: str, language: str = "en") -> str:
    """Open the link, choose the language, press Start; the address of the first page."""
    root = f"/q/{token}/"
    form = read(client.get(root, {"language": language})).forms[-1]
    response = client.post(form.action, form.fields)
    assert response.status_code == 303
    return response["Location"]


def fill(form: Form) -> dict[str, list[str]]:
    """What a browser sends after something was chosen everywhere: the last full answer, 7 in every text field."""
    chosen = dict(form.fields)
    for name, values in form.offered.items():
        if name in form.texts or any(text.startswith(f"{name}_") for text in form.texts):
            continue  # the box beside a number stays unticked
        chosen[name] = [[value for value in values if value not in ("DNA", "prefer_not")][-1]]
    for name in form.texts:
        chosen[name] = ["40" if name == "pt_age" else "7"]
    return chosen


def post(client: Client, page: str, **fields: Any) -> HttpResponse:
    """Send the form of a page with these fields set."""
    form = read(client.get(page)).question
    return client.post(form.action, {**form.fields, "action": "next", **fields})


def go_through(client: Client, page: str, *, choose: dict[str, str] | None = None) -> str:
    """Answer every page until the review; its address."""
    for _ in range(120):
        if page.endswith("/review/"):
            return page
        response = client.get(page)
        assert response.status_code == 200, page
        form = read(response).question
        fields = {**fill(form), **{code: [value] for code, value in (choose or {}).items() if code in form.offered}}
        response = client.post(form.action, {**fields, "action": "next"})
        assert response.status_code == 303
        page = response["Location"].split("#")[0]
    raise AssertionError("The form never ends.")


def finish(client: Client, review: str) -> HttpResponse:
    """Press Finish on the review page."""
    form = read(client.get(review)).forms[-1]
    return client.post(form.action, form.fields)


@pytest.mark.parametrize("language", ["en", "es"])
@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize("form", ["short", "full"])
def test_whole_form_without_scripts(study: Study, client: Client, language: str, role: Role, form: str) -> None:
    """Each role fills in each form in each language; every answer is stored once, in that language."""
    visit = new_visit(study, form=form)
    review = go_through(client, begin(client, token_of(visit, role), language))
    page = read(client.get(review))
    assert page.language == language
    response = finish(client, review)
    assert (response.status_code, response["Location"]) == (303, f"/q/{token_of(visit, role)}/")
    administration = administration_of(visit, role)
    assert administration.is_completed
    codes = set(administration.questionnaire.entries)
    assert {code for code, value in administration.answers.items() if value == Absence.NOT_SHOWN} <= {"X_OWNED"}
    asked = codes - {code for code, value in administration.answers.items() if value == Absence.NOT_SHOWN}
    assert set(administration.answers) == codes
    assert not {Absence.NOT_REACHED, Absence.SKIPPED} & {str(value) for value in administration.answers.values()}
    events = AnswerEvent.objects.filter(administration=administration)
    assert sorted(events.values_list("item", flat=True)) == sorted(asked)
    assert set(events.values_list("language", flat=True)) == {language}
    assert administration.answers["VN1"] == 5
    assert administration.answers["rel_years"] == 7 * 12 + 7
    if role is Role.PATIENT:
        assert administration.answers["pt_age"] == 40
        assert administration.answers["pt_illness"] == ["other_long_term"]
    assert set(client.cookies) == {"finished"}


@pytest.mark.parametrize("language", ["en", "es"])
def test_a_whole_form_on_pages_of_five(study: Study, client: Client, language: str) -> None:
    """The same form, five sentences a page: the same answers are stored, in the same order, by the same machine."""
    one, five = new_visit(study, form="full"), new_visit(study, form="full", catalogue=PAGES_OF_FIVE)
    for visit in (one, five):
        finish(client, go_through(client, begin(client, visit.patient_token, language)))
    by_one, by_five = administration_of(one), administration_of(five)
    assert by_five.is_completed
    assert by_five.answers == by_one.answers
    items = [
        AnswerEvent.objects.filter(administration=form).values_list("item", flat=True) for form in (by_one, by_five)
    ]
    assert list(items[0]) == list(items[1])
    assert [len(page.entries) for page in by_five.questionnaire.pages] == [
        5, 4, 5, 4, 5, 4, 4, 5, 5, 5, 4, 5, 4, 4, 4,
    ]  # fmt: skip
    for page in by_five.questionnaire.pages:
        assert len({getattr(entry, "recall", None) for entry in page.entries}) == 1


def test_a_page_of_five_asks_once_goes_back_and_resumes(study: Study, client: Client) -> None:
    """What is blank is marked once; Back keeps what was given; the link resumes at the page with something open."""
    visit = new_visit(study, catalogue=PAGES_OF_FIVE)
    first, *others = administration_of(visit).questionnaire.pages[0].codes
    page = begin(client, visit.patient_token)
    response = post(client, page, **{first: "4"})
    assert response["Location"] == f"{page}?blank=1"
    words = read(client.get(response["Location"])).text
    assert "Some are still blank" in words
    assert words.count("still blank") == 1 + len(others)
    assert begin(client, visit.patient_token) == page
    response = post(client, f"{page}?blank=1", **{others[0]: "2"})
    second = response["Location"]
    assert second.endswith("/page/2/")
    stored = administration_of(visit).answers
    assert stored == {first: 4, others[0]: 2} | dict.fromkeys(others[1:], Absence.SKIPPED.value)
    code = administration_of(visit).questionnaire.pages[1].codes[0]
    assert post(client, second, action="back", **{code: "1"})["Location"] == page
    assert administration_of(visit).answers[code] == 1
    assert read(client.get(page)).question.fields[first] == ["4"]
    assert begin(client, visit.patient_token) == second
    assert post(client, second, action="skip")["Location"].endswith("/page/3/")
    review = read(client.get(f"/q/{visit.patient_token}/review/"))
    assert f"/q/{visit.patient_token}/page/2/?review=1#q-{code}" in review.links


def test_each_page_shows_the_texts_of_role_and_language(visit: CreatedVisit, client: Client) -> None:
    """The first statement and the answers stand on the page as the instrument words them."""
    instrument = read_instrument(CATALOGUE)
    for role in Role:
        for language in ("en", "es"):
            page = begin(client, token_of(visit, role), language)
            words = read(client.get(page.replace("/review/", "/page/1/"))).text
            first = instrument.form_items("short")[0]
            assert first.text[role][language] in words
            assert all(option.label[role][language] in words for option in instrument.scale)


def test_posting_starts_only_in_an_offered_language(visit: CreatedVisit, client: Client) -> None:
    """An unknown language is refused and nothing has begun."""
    assert client.post(f"/q/{visit.patient_token}/", {"language": "xx"}).status_code == 422
    assert administration_of(visit).status == Administration.Status.WAITING


def test_pages_before_the_start_lead_to_the_welcome(visit: CreatedVisit, client: Client) -> None:
    """Without a chosen language there is no question to show."""
    root = f"/q/{visit.patient_token}/"
    assert client.get(f"{root}page/3/")["Location"] == root
    assert client.get(f"{root}review/")["Location"] == root


def test_the_link_resumes_at_the_first_open_page(visit: CreatedVisit, client: Client) -> None:
    """Coming back with the link leads to where the respondent stopped."""
    page = begin(client, visit.patient_token)
    page = post(client, page, VN1="4")["Location"]
    root = f"/q/{visit.patient_token}/"
    form = read(client.get(root)).forms[-1]
    assert client.post(form.action, form.fields)["Location"] == page == f"{root}page/2/"


def test_repeated_post_changes_nothing_and_answers_the_same(visit: CreatedVisit, client: Client) -> None:
    """A double click or a retry stores the answer once."""
    page = begin(client, visit.patient_token)
    fields = {"sequence": "1", "VN1": "4", "action": "next"}
    first, second = (client.post(page, fields) for _ in range(2))
    assert (first.status_code, first["Location"]) == (second.status_code, second["Location"])
    assert AnswerEvent.objects.count() == 1


def test_replay_with_another_answer_shows_the_stored_one(visit: CreatedVisit, client: Client) -> None:
    """The same sequence number with other content is refused with 409 and the page as it is stored."""
    page = begin(client, visit.patient_token)
    client.post(page, {"sequence": "1", "VN1": "4", "action": "next"})
    response = client.post(page, {"sequence": "1", "VN1": "2", "action": "next"})
    assert response.status_code == 409
    form = read(response).question
    assert form.fields["VN1"] == ["4"]
    assert form.fields["sequence"] == ["2"]
    assert "sent twice" in read(response).text
    assert administration_of(visit).answers == {"VN1": 4}


def test_an_older_tab_does_not_overwrite_a_newer_answer(visit: CreatedVisit, client: Client) -> None:
    """Two open tabs of one page: the second to send is told, and nothing is lost."""
    page = begin(client, visit.patient_token)
    client.post(page, {"sequence": "1", "VN1": "4", "action": "next"})
    client.post(page, {"sequence": "2", "VN1": "5", "action": "next"})
    assert client.post(page, {"sequence": "2", "VN1": "1", "action": "next"}).status_code == 409
    assert administration_of(visit).answers == {"VN1": 5}


def test_next_without_an_answer_asks_once_then_skips(visit: CreatedVisit, client: Client) -> None:
    """A blank is pointed out gently, never blocks, and passing it over is recorded as skipped."""
    page = begin(client, visit.patient_token)
    response = post(client, page)
    assert (response.status_code, response["Location"]) == (303, f"{page}?blank=1")
    assert administration_of(visit).answers == {}
    notice = client.get(response["Location"])
    assert "press Next again to skip" in read(notice).text
    response = post(client, response["Location"])
    assert response["Location"] == f"/q/{visit.patient_token}/page/2/"
    assert administration_of(visit).answers == {"VN1": Absence.SKIPPED}
    response = post(client, page)
    assert response["Location"] == f"/q/{visit.patient_token}/page/2/"


def test_skip_wins_over_what_is_ticked(visit: CreatedVisit, client: Client) -> None:
    """Who presses "I'd rather skip" takes an answer back, also one given earlier."""
    page = begin(client, visit.patient_token)
    post(client, page, VN1="3")
    response = post(client, page, action="skip")
    assert response.status_code == 303
    assert administration_of(visit).answers == {"VN1": Absence.SKIPPED}
    assert list(AnswerEvent.objects.values_list("value", flat=True)) == [3, "SKIPPED"]


def test_does_not_apply_only_where_it_is_offered(visit: CreatedVisit, client: Client) -> None:
    """The sixth answer stands beside the items that allow it, and is refused elsewhere."""
    begin(client, visit.patient_token)
    root = f"/q/{visit.patient_token}/"
    questionnaire = administration_of(visit).questionnaire
    for item in questionnaire.instrument.form_items("short"):
        page = f"{root}page/{questionnaire.page_of[item.code]}/"
        offered = read(client.get(page)).question.offered[item.code]
        assert ("DNA" in offered) == item.allow_does_not_apply
        status = post(client, page, **{item.code: "DNA"}).status_code
        assert status == (303 if item.allow_does_not_apply else 422)
        assert (administration_of(visit).answers.get(item.code) == "DNA") == item.allow_does_not_apply


def test_back_keeps_what_was_chosen(visit: CreatedVisit, client: Client) -> None:
    """Back stores a choice, asks nothing about a blank, and ends at the welcome page."""
    root = f"/q/{visit.patient_token}/"
    page = begin(client, visit.patient_token)
    page = post(client, page, VN1="2")["Location"]
    code = administration_of(visit).questionnaire.pages[1].codes[0]
    assert post(client, page, action="back", **{code: "5"})["Location"] == f"{root}page/1/"
    assert administration_of(visit).answers == {"VN1": 2, code: 5}
    assert read(client.get(f"{root}page/1/")).question.fields["VN1"] == ["2"]
    assert post(client, f"{root}page/3/", action="back")["Location"] == f"{root}page/2/"
    assert post(client, f"{root}page/1/", action="back")["Location"] == root
    assert AnswerEvent.objects.count() == 2


def test_language_switch_midway_keeps_page_and_answers(visit: CreatedVisit, client: Client) -> None:
    """Switching shows the same page in the other language; each answer is logged with the language it was asked in."""
    page = begin(client, visit.patient_token, "en")
    page = post(client, page, VN1="2")["Location"]
    switch = next(form for form in read(client.get(page)).forms if form.action.endswith("/language/"))
    assert ("language", "es") in switch.buttons
    response = client.post(switch.action, {**switch.fields, "language": "es"})
    assert (response.status_code, response["Location"]) == (303, page)
    shown = client.get(page)
    assert read(shown).language == shown["Content-Language"] == "es"
    assert "Siguiente" in read(shown).text
    code = administration_of(visit).questionnaire.pages[1].codes[0]
    post(client, page, **{code: "1"})
    assert list(AnswerEvent.objects.values_list("language", flat=True)) == ["en", "es"]


@pytest.mark.parametrize("target", ["https://evil.example/", "//evil.example", "-1", "٣", "9" * 30, ""])
def test_language_switch_never_leaves_the_questionnaire(visit: CreatedVisit, client: Client, target: str) -> None:
    """Where to return to is a page number; anything else leads back into the form."""
    begin(client, visit.patient_token)
    root = f"/q/{visit.patient_token}/"
    response = client.post(f"{root}language/", {"language": "es", "return_to": target})
    assert (response.status_code, response["Location"]) == (303, f"{root}page/1/")
    assert client.post(f"{root}language/", {"language": "es", "return_to": "99"})["Location"] == f"{root}review/"
    assert client.post(f"{root}language/", {"language": "xx", "return_to": "1"}).status_code == 422


def test_review_shows_answers_in_words_and_leads_to_a_change(visit: CreatedVisit, client: Client) -> None:
    """The review names what was answered, skipped and left open; a change comes straight back to it."""
    root = f"/q/{visit.patient_token}/"
    page = begin(client, visit.patient_token)
    page = post(client, page, VN1="5")["Location"]
    post(client, page, action="skip")
    review = read(client.get(f"{root}review/"))
    assert "Completely true" in review.text
    assert "Skipped" in review.text
    assert "Not answered" in review.text
    asked = len(administration_of(visit).questionnaire.entries) - 1  # one question hangs on a condition
    assert f"You answered 1 of {asked}." in review.text
    assert len(review.links) == asked
    change = review.links[0].split("#")[0]
    response = post(client, change, VN1="1")
    assert (response.status_code, response["Location"]) == (303, f"{root}review/")
    assert administration_of(visit).answers["VN1"] == 1


def test_finished_form_is_closed_and_reveals_nothing(visit: CreatedVisit, client: Client) -> None:
    """After Finish no page shows an answer, every way to write is refused, finishing again is harmless."""
    root = f"/q/{visit.patient_token}/"
    page = begin(client, visit.patient_token)
    post(client, page, VN1="5")
    replay = {"sequence": "1", "VN1": "5", "action": "next"}
    finished = finish(client, f"{root}review/")
    # The cookie has no meaning but makes Chromium drop the pages that it keeps for Back.
    assert finished.cookies["finished"]["httponly"]
    assert finished.cookies["finished"]["path"] == root
    before = administration_of(visit).answers
    assert before["VN1"] == 5
    assert before["VC2"] == Absence.NOT_REACHED
    for path in ("page/1/", "review/"):
        response = client.get(root + path)
        assert (response.status_code, response["Location"]) == (303, root)
    thanks = read(client.get(root))
    assert "Thank you" in thanks.text
    assert "Completely true" not in thanks.text
    assert thanks.forms == []
    assert client.post(page, replay).status_code == 303
    for fields in ({"sequence": "2", "VN1": "4"}, {"sequence": "2", "VN1": "5"}, {"sequence": "2"}):
        response = client.post(page, {**fields, "action": "next"})
        assert response.status_code == 409
        assert "Thank you" in read(response).text
    body = {"item": "VN1", "value": 4, "sequence": 9}
    assert client.post(f"{root}answers/", body, content_type="application/json").status_code == 409
    assert client.post(f"{root}language/", {"language": "es", "return_to": "1"}).status_code == 409
    assert client.post(root, {"language": "es"}).status_code == 409
    assert client.post(f"{root}finish/").status_code == 303
    assert administration_of(visit).answers == before
    assert AnswerEvent.objects.count() == 1


@pytest.mark.parametrize("path", ["", "page/1/", "review/"])
def test_unknown_links_look_all_alike(visit: CreatedVisit, client: Client, path: str) -> None:
    """No guess learns anything: the same friendly page in both languages for every unknown secret."""
    guesses = ("nope", visit.patient_token[:-1], visit.patient_token.swapcase(), "%00", "%ED%A0%80", "a" * 500)
    responses = [client.get(f"/q/{guess}/{path}") for guess in guesses]
    assert {response.status_code for response in responses} == {404}
    assert len({response.content for response in responses}) == 1
    page = read(responses[0])
    assert "This link does not work" in page.text
    assert "Este enlace no funciona" in page.text


@pytest.mark.parametrize(
    ("path", "data"),
    [
        ("", {"language": "en"}),
        ("page/1/", {"VN1": "4", "sequence": "1", "action": "next"}),
        ("language/", {"language": "es"}),
        ("finish/", {}),
        ("answers/", {"item": "VN1", "value": 1, "sequence": 1}),
    ],
)
def test_a_questionnaire_that_vanishes_meanwhile_is_an_unknown_link(
    visit: CreatedVisit, client: Client, monkeypatch: pytest.MonkeyPatch, path: str, data: dict[str, Any]
) -> None:
    """An import took its place between the look-up and the lock: the same answer as to any unknown link."""

    def too_late(administration_id: int) -> Administration:
        Administration.objects.get(pk=administration_id).delete()
        return locked_administration(administration_id)

    as_json = {"content_type": "application/json"} if path == "answers/" else {}
    unknown = client.post(f"/q/nope/{path}", data, **as_json)
    monkeypatch.setattr(services, "locked_administration", too_late)
    response = client.post(f"/q/{visit.patient_token}/{path}", data, **as_json)
    assert (response.status_code, response.content) == (404, unknown.content)


def test_a_questionnaire_that_nobody_opened_is_not_finished(visit: CreatedVisit, client: Client) -> None:
    """409 with the way to the survey; nothing was changed."""
    response = client.post(f"/q/{visit.patient_token}/finish/")
    assert response.status_code == 409
    assert "Nothing was changed" in response.content.decode()
    assert (administration_of(visit).status, administration_of(visit).answers) == ("waiting", {})


def test_unknown_link_refuses_answers_as_json(visit: CreatedVisit, client: Client) -> None:
    """The endpoint for scripts answers in its own format."""
    response = client.post("/q/nope/answers/", {"item": "VN1", "value": 1, "sequence": 1}, "application/json")
    assert response.status_code == 404
    assert set(response.json()) == {"error"}


def test_expired_link_is_gone_and_stores_nothing(visit: CreatedVisit, client: Client) -> None:
    """After the last day every address says so, in both languages."""
    page = begin(client, visit.patient_token)
    Administration.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    root = f"/q/{visit.patient_token}/"
    responses = [
        client.get(root),
        client.get(page),
        client.get(f"{root}review/"),
        client.post(page, {"sequence": "1", "VN1": "4", "action": "next"}),
        client.post(f"{root}finish/"),
        client.post(f"{root}answers/", {"item": "VN1", "value": 4, "sequence": 1}, "application/json"),
    ]
    assert {response.status_code for response in responses} == {410}
    assert "Este enlace ya no está abierto" in read(responses[0]).text
    assert administration_of(visit).answers == {}


@pytest.mark.parametrize(
    "fields",
    [
        {"VC2": "4"},  # an item of another page
        {"VN1": "4", "VC2": "4"},
        {"nonsense": "1"},
        {"VN1": "6"},
        {"VN1": "0"},
        {"VN1": "-1"},
        {"VN1": "4.0"},
        {"VN1": "٤"},
        {"VN1": "1\x00"},
        {"VN1": "DNA"},
        {"VN1": "PREFER_NOT"},
        {"VN1": ["3", "4"]},
        {"VN1": "9" * 5000},
        {"VN1": "4", "sequence": "x"},
        {"VN1": "4", "sequence": ""},
        {"VN1": "4", "sequence": "0"},
        {"VN1": "4", "sequence": "-3"},
        {"VN1": "4", "sequence": "9" * 400},
        {"VN1": "4", "action": "finish"},
    ],
)
def test_what_the_page_does_not_offer_is_refused(
    visit: CreatedVisit, client: Client, fields: dict[str, str | list[str]]
) -> None:
    """Foreign items, unknown fields and values outside the scale: 422 and nothing is stored."""
    page = begin(client, visit.patient_token)
    response = client.post(page, {"sequence": "1", "action": "next", **fields})
    assert response.status_code == 422
    administration = administration_of(visit)
    assert (administration.answers, administration.last_sequence) == ({}, 0)
    assert AnswerEvent.objects.count() == 0


def test_a_huge_sequence_number_does_not_spoil_the_form(visit: CreatedVisit, client: Client) -> None:
    """A number far ahead of the log is refused, or no page could be stored after it."""
    begin(client, visit.patient_token)
    root = f"/q/{visit.patient_token}/"
    body = {"item": "VN1", "value": 4, "sequence": 1_000_000}
    assert client.post(f"{root}answers/", body, content_type="application/json").status_code == 422
    assert post(client, f"{root}page/1/", VN1="3").status_code == 303
    assert administration_of(visit).answers == {"VN1": 3}


@pytest.mark.parametrize("number", ["0", "999", "9" * 200])
def test_pages_that_do_not_exist(visit: CreatedVisit, client: Client, number: str) -> None:
    """A page number out of range is a 404 for reading and for writing."""
    begin(client, visit.patient_token)
    page = f"/q/{visit.patient_token}/page/{number}/"
    assert client.get(page).status_code == 404
    assert client.post(page, {"sequence": "1", "VN1": "4", "action": "next"}).status_code == 404
    assert administration_of(visit).answers == {}


def page_of(visit: CreatedVisit, code: str, role: Role = Role.PATIENT) -> str:
    """The address of the page that asks a code."""
    number = administration_of(visit, role).questionnaire.page_of[code]
    return f"/q/{token_of(visit, role)}/page/{number}/"


def test_a_question_that_is_not_asked_refuses_nonsense(visit: CreatedVisit, client: Client) -> None:
    """Also a page that is passed over answers a bad value with 422, and a replay with 409."""
    begin(client, visit.patient_token)
    page = page_of(visit, "X_OWNED")
    assert client.post(page, {"sequence": "1", "X_OWNED": "perhaps"}).status_code == 422
    assert client.post(page, {"sequence": "1", "X_OWNED": "no"}).status_code == 303
    assert client.post(page, {"sequence": "1", "X_OWNED": "yes"}).status_code == 409


def test_pages_kept_for_everybody_hold_nobodys_link(study: Study, client: Client) -> None:
    """The text of an unanswered page is kept and shared: each respondent sees the own link, number and study code."""
    for role in Role:
        shown = []
        for visit in (new_visit(study), new_visit(study)):
            first = begin(client, token_of(visit, role))
            second = post(client, first, VN1="3", action="skip")["Location"]
            html = client.get(second).content.decode()
            sequence = administration_of(visit, role).last_sequence + 1
            assert read(client.get(second)).question.fields["sequence"] == [str(sequence)]
            assert "\ue000" not in html
            shown.append((html, token_of(visit, role), visit.visit.dyad.code))
        (one, own, code), (other, foreign, foreign_code) = shown
        assert own in one
        assert foreign not in one
        assert (code in one) == (role is Role.CLINICIAN)
        assert one.replace(own, foreign).replace(code, foreign_code) == other


def test_number_out_of_range_is_shown_again_with_its_bounds(visit: CreatedVisit, client: Client) -> None:
    """A slip of the finger keeps what was typed and says what fits."""
    begin(client, visit.patient_token)
    for wrong in ("17", "111", "4o", "40.5", "nan", "1e999", "-40"):
        response = post(client, page_of(visit, "pt_age"), pt_age=wrong)
        assert response.status_code == 422
        assert "Please write a whole number from 18 to 110." in read(response).text
        assert read(response).question.fields["pt_age"] == [wrong]
    assert administration_of(visit).answers == {}


@pytest.mark.parametrize(
    ("years", "months", "stored"),
    [("2", "3", 27), ("0", "5", 5), ("3", "", 36), ("", "14", 14), (" 2 ", "0", 24), ("0", "0", 0)],
)
def test_years_and_months_are_stored_in_months(
    visit: CreatedVisit, client: Client, years: str, months: str, stored: int
) -> None:
    """Either field may stay empty; the page and the review show the span again as years and months."""
    begin(client, visit.patient_token)
    page = page_of(visit, "rel_years")
    assert post(client, page, rel_years_years=years, rel_years_months=months).status_code == 303
    assert administration_of(visit).answers["rel_years"] == stored
    form = read(client.get(page)).question
    assert int(form.fields["rel_years_years"][0]) * 12 + int(form.fields["rel_years_months"][0]) == stored


@pytest.mark.parametrize(("years", "months"), [("x", "1"), ("-1", "0"), ("1.5", "0"), ("81", "0"), ("1" * 9, "0")])
def test_impossible_spans_are_refused(visit: CreatedVisit, client: Client, years: str, months: str) -> None:
    """Spans that are no whole numbers or longer than a life are refused, nothing is stored."""
    begin(client, visit.patient_token)
    response = post(client, page_of(visit, "rel_years"), rel_years_years=years, rel_years_months=months)
    assert response.status_code == 422
    assert administration_of(visit).answers == {}


def test_emptied_number_is_passed_over(visit: CreatedVisit, client: Client) -> None:
    """Clearing a field takes the answer back; a field that was always empty is merely blank."""
    begin(client, visit.patient_token)
    page = page_of(visit, "pt_age")
    assert post(client, page)["Location"] == f"{page}?blank=1"
    post(client, page, pt_age="40")
    assert post(client, page, pt_age="").status_code == 303
    assert administration_of(visit).answers["pt_age"] == Absence.SKIPPED


def test_prefer_not_beside_a_number(visit: CreatedVisit, client: Client) -> None:
    """The box ticked now wins over the number given before, and a number typed now over the box ticked before."""
    begin(client, visit.patient_token)
    page = page_of(visit, "pt_age")
    post(client, page, pt_age="40")
    post(client, page, pt_age=["40", "prefer_not"])
    assert administration_of(visit).answers["pt_age"] == Absence.PREFER_NOT
    assert "prefer_not" in read(client.get(page)).question.fields["pt_age"]
    post(client, page, pt_age=["41", "prefer_not"])
    assert administration_of(visit).answers["pt_age"] == 41


def test_several_answers_can_be_chosen_and_taken_back(visit: CreatedVisit, client: Client) -> None:
    """Boxes come as a repeated field, are stored in the order offered, and can all be unticked again."""
    begin(client, visit.patient_token)
    page = page_of(visit, "pt_illness")
    post(client, page, pt_illness=["", "cancer", "diabetes"])
    assert administration_of(visit).answers["pt_illness"] == ["diabetes", "cancer"]
    assert set(read(client.get(page)).question.fields["pt_illness"]) == {"", "diabetes", "cancer"}
    assert "Diabetes, Cancer" in read(client.get(f"/q/{visit.patient_token}/review/")).text
    post(client, page, pt_illness=[""])
    assert administration_of(visit).answers["pt_illness"] == Absence.SKIPPED


def test_conditional_question_of_the_patient(visit: CreatedVisit, client: Client) -> None:
    """The question about owning up comes only after a mistake was seen."""
    begin(client, visit.patient_token)
    mistake, owned, after = (page_of(visit, code) for code in ("X_MISTAKE", "X_OWNED", "X_ROSY"))
    assert client.get(owned)["Location"] == after
    total = int(re.search(r"of (\d+)", read(client.get(mistake)).text)[1])  # type: ignore[index]
    assert post(client, mistake, X_MISTAKE="no")["Location"] == after
    assert post(client, mistake, X_MISTAKE="yes")["Location"] == owned
    assert f"of {total + 1}" in read(client.get(mistake)).text
    assert post(client, owned, X_OWNED="partly")["Location"] == after
    assert post(client, after, action="back")["Location"] == owned
    post(client, mistake, X_MISTAKE="no")
    finish(client, f"/q/{visit.patient_token}/review/")
    assert administration_of(visit).answers["X_OWNED"] == Absence.NOT_SHOWN


def test_conditional_question_of_the_clinician(visit: CreatedVisit, client: Client) -> None:
    """On a page with several questions the opened one is shown before going on, and never passed over unseen."""
    begin(client, visit.clinician_token)
    page = page_of(visit, "X_MISTAKE", Role.CLINICIAN)
    assert "X_OWNED" not in read(client.get(page)).question.offered
    response = post(client, page, X_MISTAKE="yes", action="skip")
    assert response["Location"].startswith(f"{page}?more=1")
    answers = administration_of(visit, Role.CLINICIAN).answers
    assert answers["X_NEED"] == Absence.SKIPPED
    assert "X_OWNED" not in answers
    assert "opens one more question" in read(client.get(response["Location"].split("#")[0])).text
    assert post(client, page, X_OWNED="no")["Location"].endswith("/review/")
    assert administration_of(visit, Role.CLINICIAN).answers["X_OWNED"] == "no"


def test_clinician_page_keeps_answers_and_marks_the_blanks(visit: CreatedVisit, client: Client) -> None:
    """A block with gaps is stored as far as it goes; the gaps can be left."""
    page = begin(client, visit.clinician_token)
    codes = administration_of(visit, Role.CLINICIAN).questionnaire.pages[0].codes
    response = post(client, page, **{codes[0]: "5", codes[2]: "1"})
    assert response["Location"] == f"{page}?blank=1"
    assert administration_of(visit, Role.CLINICIAN).answers == {codes[0]: 5, codes[2]: 1}
    assert list(AnswerEvent.objects.values_list("sequence", flat=True)) == [1, 3]
    notice = read(client.get(response["Location"]))
    assert notice.text.count("still blank") - 1 == len(codes) - 2  # once more in the notice itself
    assert ("action", "skip") in notice.question.buttons
    response = post(client, response["Location"], action="skip")
    assert response["Location"] == page.replace("/1/", "/2/")
    answers = administration_of(visit, Role.CLINICIAN).answers
    assert [answers[code] for code in codes] == [5, Absence.SKIPPED, 1, *[Absence.SKIPPED] * (len(codes) - 3)]


def test_answers_saved_by_the_script_are_not_logged_twice(visit: CreatedVisit, client: Client) -> None:
    """After saving by script a row that isn't sent is not blank, and one that is sent again is not stored again."""
    page = begin(client, visit.clinician_token)
    root = f"/q/{visit.clinician_token}/"
    codes = administration_of(visit, Role.CLINICIAN).questionnaire.pages[0].codes
    for place, code in enumerate(codes, start=1):
        body = {"item": code, "value": "4", "sequence": place, "client_time": "2026-01-31T09:30:00.123Z"}
        response = client.post(f"{root}answers/", body, content_type="application/json")
        assert (response.status_code, response.json()) == (200, {"last_sequence": place})
    fields = {"sequence": str(len(codes) + 1), "action": "next", codes[0]: "4"}
    assert client.post(page, fields)["Location"] == f"{root}page/2/"
    assert AnswerEvent.objects.count() == len(codes)
    event = AnswerEvent.objects.first()
    assert event is not None
    assert event.client_time is not None
    assert event.client_time.isoformat() == "2026-01-31T09:30:00.123000+00:00"


def test_an_answer_before_the_start_is_logged_with_a_language(visit: CreatedVisit, client: Client) -> None:
    """A script that never saw the welcome page still leaves a complete log."""
    body = {"item": "VN1", "value": 4, "sequence": 1}
    client.post(
        f"/q/{visit.patient_token}/answers/", body, "application/json", headers={"accept-language": "es-MX,es;q=0.9"}
    )
    assert AnswerEvent.objects.get().language == administration_of(visit).language == "es"


def test_follow_up_asks_about_change(study: Study, client: Client) -> None:
    """The question about change belongs to follow-up waves alone."""
    for follow_up in (False, True):
        visit = new_visit(study, follow_up=follow_up)
        begin(client, visit.patient_token)
        assert ("X_CHANGE" in administration_of(visit).questionnaire.entries) == follow_up
        assert ("has your relationship" in read(client.get(f"/q/{visit.patient_token}/review/")).text) == follow_up


BAD_BODIES = [
    b"",
    b"null",
    b"[]",
    b"{",
    b"\xff\xfe",
    b'"' + b"x" * 20_000 + b'"',
    b"[" * 9_000,
    b'{"item": "VN1", "value": NaN, "sequence": 1}',
    b'{"item": "VN1", "value": Infinity, "sequence": 1}',
    b'{"item": "VN1", "value": 1' + b"0" * 30 + b', "sequence": 1}',
    b'{"item": "VN1", "value": 1' + b"0" * 6_000 + b', "sequence": 1}',
    b'{"item": "VN1", "value": 4, "sequence": 1' + b"0" * 30 + b"}",
    b'{"item": "VN1", "value": 4, "sequence": 1.0}',
    b'{"item": "VN1", "value": 4, "sequence": true}',
    b'{"item": "VN1", "value": true, "sequence": 1}',
    b'{"item": "VN1", "value": 4, "value": 5, "sequence": 1}',
    b'{"item": "VN1", "value": 4}',
    b'{"item": "VN1", "value": 4, "sequence": 1, "more": 1}',
    b'{"item": "VN1\\u0000", "value": 4, "sequence": 1}',
    b'{"item": "\\ud800", "value": 4, "sequence": 1}',
    b'{"item": "VN1", "value": "\\ud800", "sequence": 1}',
    b'{"item": ["VN1"], "value": 4, "sequence": 1}',
    b'{"item": "VN1", "value": {"a": [[[]]]}, "sequence": 1}',
    b'{"item": "pt_illness", "value": [["diabetes"]], "sequence": 1}',
    b'{"item": "pt_illness", "value": [], "sequence": 1}',
    b'{"item": "pt_age", "value": 1e400, "sequence": 1}',
    b'{"item": "pt_age", "value": "\\u0663\\u0663", "sequence": 1}',
    b'{"item": "pt_money", "value": 1, "sequence": 1}',
    b'{"item": "clin_role", "value": "physician", "sequence": 1}',
    b'{"item": "VN1", "value": 4, "sequence": 1, "client_time": "0001-01-01T00:00:00+14:00"}',
    b'{"item": "VN1", "value": 4, "sequence": 1, "client_time": "2026-01-31T09:30:00"}',
    b'{"item": "VN1", "value": 4, "sequence": 1, "client_time": "2026-13-31T09:30:00Z"}',
    b'{"item": "VN1", "value": 4, "sequence": 1, "client_time": 5}',
]


@pytest.mark.parametrize("body", BAD_BODIES, ids=range(len(BAD_BODIES)))
def test_malformed_answers_are_refused(visit: CreatedVisit, client: Client, body: bytes) -> None:
    """Every body that is no proper answer: a 4xx with a reason, and nothing has changed."""
    begin(client, visit.patient_token)
    response = client.post(f"/q/{visit.patient_token}/answers/", body, content_type="application/json")
    assert 400 <= response.status_code < 500
    assert response.json()["error"]
    assert administration_of(visit).answers == {}
    assert AnswerEvent.objects.count() == 0


def test_a_body_of_two_megabytes_is_refused(visit: CreatedVisit, client: Client) -> None:
    """Nobody can make the server chew on a huge answer."""
    response = client.post(f"/q/{visit.patient_token}/answers/", b"x" * 2_000_000, content_type="application/json")
    assert response.status_code == 413


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["VN1", "pt_age", "DNA", 7]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@hypothesis_settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True
)
@given(
    item=st.sampled_from(["VN1", "pt_age", "pt_illness", "rel_years", "X_OWNED"]) | _JSON,
    value=_JSON,
    sequence=st.integers() | _JSON,
    client_time=st.none() | st.text() | st.datetimes().map(str),
)
def test_no_answer_breaks_the_server(
    visit: CreatedVisit, item: object, value: object, sequence: object, client_time: object
) -> None:
    """Whatever is sent, the reply is a success with a logged event or a refusal that changes nothing."""
    before = administration_of(visit).answers
    n_events = AnswerEvent.objects.count()
    body = json.dumps({"item": item, "value": value, "sequence": sequence, "client_time": client_time})
    response = Client().post(f"/q/{visit.patient_token}/answers/", body, content_type="application/json")
    if response.status_code == 200:
        code = str(item)
        assert (
            administration_of(visit).questionnaire.check_answer(code, value)
            == AnswerEvent.objects.get(administration__visit=visit.visit, sequence=sequence).value
        )
    else:
        assert 400 <= response.status_code < 500
        assert administration_of(visit).answers == before
        assert AnswerEvent.objects.count() == n_events


@hypothesis_settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True
)
@given(
    fields=st.dictionaries(
        st.sampled_from(["rel_years", "rel_years_years", "rel_years_months", "sequence", "action", "blank", "x"])
        | st.text(),
        st.lists(st.text() | st.sampled_from(["1", "12", "next", "skip", "prefer_not", "SKIPPED"]), max_size=3),
        max_size=5,
    )
)
def test_no_form_breaks_the_server(visit: CreatedVisit, fields: dict[str, list[str]]) -> None:
    """Whatever a form sends to a page with text fields, the reply is a redirect or a refusal."""
    page = page_of(visit, "rel_years")
    safe = {name: [text.encode("utf-8", "replace").decode() for text in texts] for name, texts in fields.items()}
    names = {name.encode("utf-8", "replace").decode(): texts for name, texts in safe.items()}
    assert Client().post(page, {"sequence": "1", **names}).status_code in (303, 409, 422)
    assert set(administration_of(visit).answers) <= {"rel_years"}


def test_headers_and_titles(visit: CreatedVisit, client: Client) -> None:
    """No page is cached, indexed, framed or named in a referrer; titles, addresses and headers hold no answer."""
    root = f"/q/{visit.patient_token}/"
    page = begin(client, visit.patient_token)
    post(client, page, VN1="5")
    pages = [client.get(root), client.get(page), client.get(f"{root}review/"), client.get("/q/nope/")]
    pages += [post(client, page, VN1="9"), post(client, page, VN1="4"), client.get(f"{root}page/999/")]
    pages += [client.put(page), client.post(f"{root}answers/", b"x", content_type="application/json")]
    for response in pages:
        assert "no-store" in response["Cache-Control"]
        assert response["Referrer-Policy"] == "no-referrer"
        assert response["X-Robots-Tag"].startswith("noindex")
        assert response["X-Frame-Options"] == "DENY"
        assert "default-src 'none'" in response["Content-Security-Policy"]
        assert "Set-Cookie" not in response
        assert "VN1" not in response.get("Location", "")
    titles = {read(response).title for response in pages[:4]}
    total = len(administration_of(visit).questionnaire.pages) - 1
    assert titles == {"Survey", f"Question 1 of {total} · Survey", "Your answers · Survey", "Survey · Encuesta"}
    assert 'autocomplete="off"' in pages[1].content.decode()


def test_only_the_methods_that_mean_something(visit: CreatedVisit, client: Client) -> None:
    """Reading never changes anything; who reloads the address of a refused form is led back to the start."""
    root = f"/q/{visit.patient_token}/"
    for path, allowed in (
        ("", "GET, HEAD, POST"),
        ("review/", "GET, HEAD"),
        ("finish/", "GET, HEAD, POST"),
        ("answers/", "POST"),
    ):
        response = client.delete(root + path)
        assert (response.status_code, response["Allow"]) == (405, allowed)
    for path in ("finish/", "language/"):
        response = client.get(root + path)
        assert (response.status_code, response["Location"]) == (303, root)
    assert client.head(root).status_code == 200
    assert administration_of(visit).status == Administration.Status.WAITING


def test_synthetic_studies_say_so_on_every_page(study: Study, visit: CreatedVisit, client: Client) -> None:
    """Demonstration data can't be mistaken for evidence; a real study carries no such line."""
    root = f"/q/{visit.patient_token}/"
    page = begin(client, visit.patient_token)
    for is_synthetic in (True, False):
        study.is_synthetic = is_synthetic
        study.save()
        for address in (root, page, f"{root}review/"):
            assert ("Synthetic data" in read(client.get(address)).text) == is_synthetic


def test_the_patient_is_named_only_to_the_clinician(visit: CreatedVisit, client: Client) -> None:
    """The clinician has to know whom to rate, by study code; a patient's page names nobody."""
    assert "P1.C1" in read(client.get(f"/q/{visit.clinician_token}/")).text
    assert "P1.C1" in read(client.get(begin(client, visit.clinician_token))).text
    assert "P1" not in client.get(f"/q/{visit.patient_token}/").content.decode()


def test_links_are_the_addresses_of_the_url_table() -> None:
    """The addresses that pages print are put together by hand for speed; they resolve to their views."""
    links = Links(root="/q/secret/")
    names = {
        links.root: "questionnaire",
        links.page(3): "questionnaire_page",
        links.language: "questionnaire_language",
        links.review: "questionnaire_review",
        links.finish: "questionnaire_finish",
        links.answers: "questionnaire_answers",
        links.state: "questionnaire_state",
        links.deliver: "questionnaire_deliver",
        links.display: "questionnaire_display",
    }
    assert {address: resolve(address).url_name for address in names} == names


def test_a_page_costs_one_query(visit: CreatedVisit, client: Client, django_assert_num_queries: Any) -> None:
    """Waiting rooms are slow enough: showing a question reads one row."""
    page = begin(client, visit.patient_token)
    client.get(page)
    with django_assert_num_queries(1):
        client.get(page)


def test_every_interface_text_is_translated() -> None:
    """Each text in templates and views stands in the Spanish catalogue, and the compiled catalogue is the same."""
    base = Path(settings.BASE_DIR)
    folder = base / "instruments" / "locale" / "es" / "LC_MESSAGES"
    catalogue = {entry.msgid: entry for entry in polib.pofile(str(folder / "django.po"))}
    compiled = {entry.msgid: entry for entry in polib.mofile(str(folder / "django.mo"))}
    sources = [templatize(path.read_text()) for path in (base / "templates" / "questionnaire").glob("*.html")]
    sources += [(base / "instruments" / name).read_text() for name in ("views.py", "page_texts.py", "bundle.py")]
    call = re.compile(r"""\bn?gettext\(\s*u?(?:"((?:[^"\\]|\\.)*)"|'((?:[^'\\]|\\.)*)')""")
    texts = {double or single for source in sources for double, single in call.findall(source)}
    assert len(texts) > 40
    assert texts - set(catalogue) == set()
    assert [entry.msgid for entry in catalogue.values() if not entry.translated() or entry.fuzzy] == []
    assert {name: (one.msgstr, one.msgstr_plural) for name, one in compiled.items()} == {
        name: (one.msgstr, one.msgstr_plural) for name, one in catalogue.items()
    }


def test_the_quick_statement_reads_what_the_models_say(visit: CreatedVisit, client: Client) -> None:
    """The hand-written statement of every request gives the same questionnaire as Django's own, locked or not."""
    post(client, begin(client, visit.patient_token), VN1="4")
    slow = administration_of(visit)
    with transaction.atomic():
        quick = [
            administration_with_token(visit.patient_token),
            locked_administration(slow.pk),
            locked_administration_with_token(visit.patient_token),
        ]
    for one in quick:
        for name in [column.attname for column in Administration._meta.concrete_fields]:
            assert getattr(one, name) == getattr(slow, name), name
        assert one.questionnaire is slow.questionnaire
        assert one.visit.dyad.code == slow.visit.dyad.code
        assert one.visit.wave.is_follow_up is slow.visit.wave.is_follow_up
        assert one.visit.dyad.study.is_synthetic is slow.visit.dyad.study.is_synthetic
    for wrong in (
        lambda: administration_with_token("nope"),
        lambda: locked_administration(0),
        lambda: locked_administration_with_token("nope"),
    ):
        with pytest.raises(Administration.DoesNotExist):
            wrong()


def test_the_quick_statements_write_what_the_models_would(visit: CreatedVisit) -> None:
    """A line in the log and the questionnaire's row are, column by column, what Django's own statements write."""
    form = administration_of(visit)
    now = datetime.now(UTC)
    values: list[Any] = [4, "SKIPPED", 12.5, ["a", "b"]]
    lines = [
        AnswerEvent(
            administration=form, item="VN1", value=value, language="es", received_at=now, sequence=number,
            client_time=now if number % 2 else None, paradata={"ms": 3} if number % 2 else None,
        )
        for number, value in enumerate(values, start=1)
    ]  # fmt: skip
    append_events(lines[:1])
    append_events(lines[1:])
    AnswerEvent.objects.bulk_create([replace_sequence(line, line.sequence + 10) for line in lines])
    columns = "item, value, language, client_time, received_at, paradata"
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {columns} FROM instruments_answerevent ORDER BY sequence")
        rows = cursor.fetchall()
    assert rows[:4] == rows[4:]
    with pytest.raises(IntegrityError), transaction.atomic():
        append_events(lines[:1])
    form.answers, form.last_sequence, form.status, form.started_at, form.language = {"VN1": 4}, 1, "started", now, "es"
    save_answers(form)
    stored = administration_of(visit)
    for name in [column.attname for column in Administration._meta.concrete_fields]:
        assert getattr(stored, name) == getattr(form, name), name


def replace_sequence(line: AnswerEvent, sequence: int) -> AnswerEvent:
    """The same line under another number."""
    fields = {field.attname: getattr(line, field.attname) for field in AnswerEvent._meta.concrete_fields}
    return AnswerEvent(**fields | {"id": None, "sequence": sequence})
