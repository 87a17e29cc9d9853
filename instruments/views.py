"""The questionnaire pages of patients and clinicians.

The secret in the link is the only authority: there is neither login nor session, and all unknown links look alike.
Everything works without scripts; the JSON endpoint lets a script save each answer the moment it is given.
"""

import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import wraps
from typing import Any

from django.core import signing
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, JsonResponse
from django.template import loader
from django.urls import reverse
from django.utils import timezone, translation
from django.utils.html import escape
from django.views.decorators.csrf import csrf_exempt

from instruments import codes, services, tablets
from instruments.bundle import bundle_of, form_bundle, language_names
from instruments.consent import ConsentTextChanged, consent_text, decide_consent
from instruments.definitions import Absence, Answer, Role
from instruments.delivery import read_answer, read_delivery
from instruments.inbox import clinician_of, decline_rating, rate_after_all
from instruments.models import Administration
from instruments.opening import administration_with_token
from instruments.page_texts import PREFER_NOT, EntryText, FormText, form_text
from instruments.questionnaire import Page, Questionnaire
from instruments.services import (
    AnswerRefused,
    GivenAnswer,
    LinkExpired,
    QuestionnaireClosed,
    RatingDeclined,
    SequenceConflict,
)
from instruments.submission import MalformedSubmission, Submission, read_submission
from studies.plain_text import blocks

_HEADERS = {
    # The address holds the secret, and the page holds answers: nobody keeps either, nobody passes them on.
    "Cache-Control": "no-store, private",
    "Referrer-Policy": "no-referrer",
    "X-Robots-Tag": "noindex, nofollow, noarchive",
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self' data:; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
}


class PageNotFound(Exception):
    """This questionnaire has no such page."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Links:
    """The addresses of one questionnaire."""

    root: str

    def page(self, number: int) -> str:
        return f"{self.root}page/{number}/"

    @property
    def language(self) -> str:
        return f"{self.root}language/"

    @property
    def consent(self) -> str:
        return f"{self.root}consent/"

    @property
    def display(self) -> str:
        return f"{self.root}display/"

    @property
    def review(self) -> str:
        return f"{self.root}review/"

    @property
    def finish(self) -> str:
        return f"{self.root}finish/"

    @property
    def cannot(self) -> str:
        return f"{self.root}cannot/"

    @property
    def again(self) -> str:
        return f"{self.root}again/"

    @property
    def answers(self) -> str:
        return f"{self.root}answers/"

    @property
    def state(self) -> str:
        return f"{self.root}state/"

    @property
    def deliver(self) -> str:
        return f"{self.root}deliver/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A questionnaire that a link opened, as the views need it."""

    administration: Administration
    questionnaire: Questionnaire
    links: Links
    language: str
    now: datetime
    token: str

    @property
    def answers(self) -> dict[str, Answer]:
        answers: dict[str, Answer] = self.administration.answers
        return answers

    @property
    def text(self) -> FormText:
        return form_text(self.questionnaire, self.language)

    @property
    def is_completed(self) -> bool:
        return self.administration.is_completed

    @property
    def shows_nothing(self) -> bool:
        """Whether its questions are not to be seen: not begun, finished, or declined."""
        return not self.administration.language or self.is_completed or self.administration.is_declined


_View = Callable[..., HttpResponse]  # (request, opened, and what else the address holds)
_Refusal = Callable[[int, str, Opened | None], HttpResponse]


def _opened_by_token(
    *, refuse: _Refusal, even_declined: bool = False, shows: bool = True, **by_method: _View
) -> Callable[..., HttpResponse]:
    """One address: finds the questionnaire by its secret, speaks its language and answers every refusal kindly.

    `by_method` holds the view of each HTTP method; `refuse` makes the response where there is no page to show,
    `even_declined` says whether the page is there for a rating that the clinician has declined. What `shows` a
    questionnaire does so on a site's tablet only while it is the one that is open on it.
    """
    methods = sorted({*by_method, "HEAD"} if "GET" in by_method else by_method)

    # Exempt from the CSRF check: no cookie or session is consulted, so another site's page has no authority to borrow.
    # A delivery that was queued offline must still be accepted a day later.
    @csrf_exempt
    @wraps(next(iter(by_method.values())))
    def view(request: HttpRequest, token: str, **kwargs: Any) -> HttpResponse:
        response = _respond(request, token, kwargs)
        if shows and tablets.is_tablet(request):
            tablets.offer_return(response)
        for name, value in _HEADERS.items():
            response.headers[name] = value
        return response

    def _respond(request: HttpRequest, token: str, kwargs: dict[str, Any]) -> HttpResponse:
        handler = by_method.get("GET" if request.method == "HEAD" else request.method or "")
        if handler is None:
            return HttpResponseNotAllowed(methods)
        if shows and tablets.holds_another(request, token):
            if refuse is _refuse_with_json:
                return refuse(403, "Another questionnaire is open on this tablet.", None)
            return _see_other(reverse("tablet_open", args=[token]))
        try:
            administration = administration_with_token(token)
        except Administration.DoesNotExist:
            return refuse(404, "No questionnaire has this link.", None)
        opened = _open(request, administration, token)
        with translation.override(opened.language):
            try:
                if administration.is_expired(now=opened.now) and not opened.is_completed:
                    raise LinkExpired("The time for answering this questionnaire is over.")
                if administration.cannot_rate and not even_declined:
                    raise RatingDeclined("You said that you can't rate this patient. Take it up again first.")
                response = handler(request, opened, **kwargs)
            except AnswerRefused as error:
                response = refuse(error.status, str(error), opened)
            except MalformedSubmission as error:
                response = refuse(422, str(error), opened)
            except PageNotFound:
                response = refuse(404, "This questionnaire has no such page.", opened)
            except Administration.DoesNotExist:  # an import took its place since it was looked up
                return refuse(404, "No questionnaire has this link.", None)
        response.headers["Content-Language"] = opened.language
        if _DISPLAY_COOKIE in request.COOKIES:
            _show_as_wished(request, response)
        return response

    return view


def _open(request: HttpRequest, administration: Administration, token: str) -> Opened:
    languages = administration.languages
    # The pages before the first question are shown in the language asked for there; all others in the one chosen by
    # Start. Before that the browser's own counts.
    name = request.resolver_match.url_name if request.resolver_match else ""
    asked_for = request.GET.get("language", "") if name in ("questionnaire", "questionnaire_consent") else ""
    wishes = (asked_for, administration.language, translation.get_language() or "")
    return Opened(
        administration=administration,
        questionnaire=administration.questionnaire,
        links=Links(root=reverse("questionnaire", args=[token])),
        language=next((wish for wish in wishes if wish in languages), languages[0]),
        now=timezone.now(),
        token=token,
    )


# --- Pages -------------------------------------------------------------------------------------


def show_welcome(request: HttpRequest, opened: Opened) -> HttpResponse:
    """Greets, explains and starts; or continues; or thanks, when all is done."""
    if tablets.is_tablet(request) and (opened.is_completed or opened.administration.is_declined):
        return _see_other(reverse("tablet"))
    if opened.is_completed:
        return _page("thanks", opened, **_clinicians(opened))
    if opened.administration.is_declined:
        return _page("consent_declined", opened)
    resume = _resume_link(opened) if opened.administration.language else None
    return _page(
        "welcome",
        opened,
        resume=resume,
        awaits_consent=opened.administration.awaits_consent,
        # Saves the script a request where it has nothing to tell but where the pages are.
        state="" if opened.answers or opened.questionnaire.role != Role.PATIENT else json.dumps(_state(opened)),
        is_patient=opened.questionnaire.role == Role.PATIENT,
        instructions=opened.text.instructions,
        minutes=opened.text.minutes,
        n_questions=sum(opened.questionnaire.is_asked(code, opened.answers) for code in opened.questionnaire.entries),
        reference=_reference(opened),
    )


def start(request: HttpRequest, opened: Opened) -> HttpResponse:
    """Begin, or go on, in the chosen language; a patient who has to be asked first is asked."""
    language = request.POST.get("language", opened.language)
    if opened.administration.awaits_consent:
        return _see_other(_consent_page(opened, language))
    services.choose_language(administration_id=opened.administration.pk, language=language, now=opened.now)
    return _see_other(_resume_link(opened))


def show_consent(request: HttpRequest, opened: Opened) -> HttpResponse:
    """What it is about, who sees the answers, and whether the patient agrees."""
    if not opened.administration.awaits_consent:
        return _see_other(opened.links.root if opened.shows_nothing else _resume_link(opened))
    return _consent(opened)


def answer_consent(request: HttpRequest, opened: Opened) -> HttpResponse:
    """Agreed: on to the first question. Declined: thanks, and nothing is asked."""
    decision = request.POST.get("decision")
    if decision not in ("agree", "decline"):
        return _consent(opened, status=422) if opened.administration.awaits_consent else go_to_start(request, opened)
    try:
        administration = decide_consent(
            administration_id=opened.administration.pk,
            text_id=request.POST.get("text", ""),
            language=opened.language,
            is_given=decision == "agree",
            now=opened.now,
        )
    except ConsentTextChanged:
        return _consent(opened, notice=True, status=409)
    if not administration.is_declined:
        return _see_other(opened.links.root if opened.is_completed else _resume_link(opened))
    response = _see_other(opened.links.root)
    _forget_kept_pages(request, opened.links.root, response)
    return response


def _consent(opened: Opened, *, notice: bool = False, status: int = 200) -> HttpResponse:
    text = consent_text(opened.administration, opened.language)
    return _page(
        "consent",
        opened,
        status=status,
        text=text,
        blocks=blocks(text.text) if text else (),
        notice=notice,
        state=json.dumps(_state(opened)),
        return_to=_AT_CONSENT,
    )


_AT_CONSENT = "consent"


def _consent_page(opened: Opened, language: str) -> str:
    known = language if language in opened.administration.languages else opened.language
    return f"{opened.links.consent}?language={known}"


def show_page(request: HttpRequest, opened: Opened, number: int) -> HttpResponse:
    """One page with the answers given so far."""
    if opened.shows_nothing:
        return _see_other(opened.links.root)
    page = _page_numbered(opened.questionnaire, number)
    if not opened.questionnaire.asked_entries(page, opened.answers):
        following = opened.questionnaire.next_page(number, opened.answers)
        return _see_other(_page_or_review(opened, following))
    notice = "blank" if "blank" in request.GET else "more" if "more" in request.GET else ""
    return _question_page(request, opened, page, notice=notice)


def store_page(request: HttpRequest, opened: Opened, number: int) -> HttpResponse:
    """Stores what was chosen, then goes on, back, or (once, gently) asks about what was left blank."""
    if opened.administration.awaits_consent or opened.administration.is_declined:
        return _see_other(opened.links.root)
    questionnaire, stored = opened.questionnaire, opened.answers
    page = _page_numbered(questionnaire, number)
    submission = read_submission(request.POST, questionnaire=questionnaire, page=page, stored=stored)
    if submission.invalid:
        return _question_page(request, opened, page, notice="invalid", submission=submission, status=422)
    answers = dict(submission.answers)
    # Cleared on purpose: passed over. An entry that never had an answer is merely blank.
    answers |= {code: Absence.SKIPPED.value for code in submission.taken_back if code in stored}
    confirmed = submission.action == "skip" or (submission.action == "next" and "blank" in request.GET)
    if submission.action == "skip" and len(page.entries) == 1:
        answers = {page.codes[0]: Absence.SKIPPED.value}
    merged = {**stored, **answers}
    blank = [entry.code for entry in questionnaire.asked_entries(page, merged) if entry.code not in merged]
    # A question that this very submission opened has not been seen yet, so it cannot have been passed over.
    unseen = [code for code in blank if not questionnaire.is_asked(code, stored)]
    if confirmed:
        answers |= {code: Absence.SKIPPED.value for code in blank if code not in unseen}
    try:
        _store(opened, page, submission.sequence, answers)
    except SequenceConflict:
        opened.administration.refresh_from_db(fields=["answers", "last_sequence"])
        return _question_page(request, opened, page, notice="conflict", status=SequenceConflict.status)
    merged |= answers
    review = "review" in request.GET
    here = opened.links.page(number)
    if submission.action == "back":
        previous = questionnaire.previous_page(number, merged)
        return _see_other(opened.links.root if previous is None else opened.links.page(previous))
    if unseen:
        return _see_other(f"{here}?more=1{'&review=1' if review else ''}#q-{unseen[0]}")
    if blank and not confirmed:
        return _see_other(f"{here}?blank=1{'&review=1' if review else ''}")
    following = questionnaire.next_page(number, merged)
    # From the review one change leads back to it, unless the change opened a question that comes next.
    if review and (following is None or questionnaire.first_open_page(merged) != following):
        return _see_other(opened.links.review)
    return _see_other(_page_or_review(opened, following))


def choose_language(request: HttpRequest, opened: Opened) -> HttpResponse:
    """Show the same page in another language."""
    services.choose_language(
        administration_id=opened.administration.pk, language=request.POST.get("language", ""), now=opened.now
    )
    number = request.POST.get("return_to", "")
    if not (number.isascii() and number.isdigit() and len(number) <= 4):
        return _see_other(_resume_link(opened))
    return _see_other(_page_or_review(opened, int(number) if 1 <= int(number) <= len(opened.text.pages) else None))


def choose_display(request: HttpRequest, opened: Opened) -> HttpResponse:
    """Larger text or more contrast, and back again, for this questionnaire alone: the next patient starts anew."""
    size, contrast = _display(request)
    if request.POST.get("change") == "size":
        size = size % N_TEXT_SIZES + 1
    elif request.POST.get("change") == "contrast":
        contrast = not contrast
    number = request.POST.get("return_to", "")
    n_pages = len(opened.text.pages)
    known = number.isascii() and number.isdigit() and len(number) <= 4 and 1 <= int(number) <= n_pages + 1
    if known:
        shown = _page_or_review(opened, None if int(number) > n_pages else int(number))
    elif number == _AT_CONSENT:
        shown = _consent_page(opened, request.POST.get("shown_in", ""))
    else:
        shown = opened.links.root
    response = _see_other(shown)
    # Held to this questionnaire's own address. The page's script reads and sets it as well.
    response.set_cookie(
        _DISPLAY_COOKIE,
        f"{size}{'c' if contrast else ''}",
        max_age=4 * 60 * 60,
        path=opened.links.root,
        secure=request.is_secure(),
        samesite="Strict",
    )
    return response


N_TEXT_SIZES = 3
_DISPLAY_COOKIE = "display"


def _display(request: HttpRequest) -> tuple[int, bool]:
    """Text size from 1 to 3, and whether with high contrast."""
    wish = request.COOKIES.get(_DISPLAY_COOKIE, "")
    size = int(wish[0]) if wish[:1] in ("1", "2", "3") else 1
    return size, wish[1:] == "c"


def _show_as_wished(request: HttpRequest, response: HttpResponse) -> None:
    size, contrast = _display(request)
    classes = f"size-{size}{' contrast' if contrast else ''}"
    response.content = response.content.replace(b"<html ", f'<html class="{classes}" '.encode(), 1)


def show_review(request: HttpRequest, opened: Opened) -> HttpResponse:
    """Every sentence with the answer given, a way to change it, and the button that finishes."""
    if opened.shows_nothing:
        return _see_other(opened.links.root)
    answers = opened.answers
    rows = [
        {
            "text": entry.text,
            "answer": entry.answer_in_words(answers.get(entry.code)),
            "is_open": entry.code not in answers,
            "is_skipped": answers.get(entry.code) == Absence.SKIPPED,
            "change": f"{opened.links.page(page.number)}?review=1#q-{entry.code}",
        }
        for page in opened.text.pages
        for entry in page.entries
        if opened.questionnaire.is_asked(entry.code, answers)
    ]
    n_open = sum(1 for row in rows if row["is_open"] or row["is_skipped"])
    return _page(
        "review",
        opened,
        rows=rows,
        n_asked=len(rows),
        n_answered=len(rows) - n_open,
        n_open=n_open,
        return_to=len(opened.text.pages) + 1,
        reference=_reference(opened),
    )


def go_to_start(request: HttpRequest, opened: Opened) -> HttpResponse:
    """Somebody reloads the address of a form that was refused: an empty "not allowed" would help nobody."""
    return _see_other(opened.links.root)


def finish(request: HttpRequest, opened: Opened) -> HttpResponse:
    """Finish for good; finishing again changes nothing."""
    services.complete_administration(administration_id=opened.administration.pk, now=opened.now)
    response = _see_other(opened.links.root)
    _forget_kept_pages(request, opened.links.root, response)
    return response


def _forget_kept_pages(request: HttpRequest, root: str, response: HttpResponse) -> None:
    # Says nothing and is never read. Chromium keeps pages alive for Back, `no-store` or not, and would show the next
    # person these answers; it drops them when an HttpOnly cookie of theirs has changed meanwhile.
    response.set_cookie(
        "finished",
        secrets.token_urlsafe(6),
        max_age=60,
        path=root,
        secure=request.is_secure(),
        httponly=True,
        samesite="Strict",
    )


def ask_why_not(request: HttpRequest, opened: Opened) -> HttpResponse:
    """Why the clinician can't rate this patient: a list to choose from."""
    return _why_not_page(opened)


def store_why_not(request: HttpRequest, opened: Opened) -> HttpResponse:
    """End the rating with the reason."""
    reason = request.POST.get("reason", "")
    if reason not in Administration.CannotRate.values and opened.questionnaire.role == Role.CLINICIAN:
        return _why_not_page(opened, status=422)
    decline_rating(
        administration_id=opened.administration.pk,
        reason=reason,
        actor=clinician_of(opened.administration, opened.token),
        now=opened.now,
    )
    return _see_other(opened.links.root)


def _why_not_page(opened: Opened, *, status: int = 200) -> HttpResponse:
    if opened.questionnaire.role != Role.CLINICIAN:
        raise PageNotFound
    if opened.is_completed:
        return _see_other(opened.links.root)
    chosen = opened.administration.cannot_rate
    reasons = [(value, label, value == chosen) for value, label in Administration.CannotRate.choices]
    return _page("cannot", opened, status=status, reasons=reasons, is_invalid=status != 200, **_clinicians(opened))


def take_up_again(request: HttpRequest, opened: Opened) -> HttpResponse:
    """The clinician rates this patient after all."""
    rate_after_all(
        administration_id=opened.administration.pk,
        actor=clinician_of(opened.administration, opened.token),
        now=opened.now,
    )
    return _see_other(opened.links.root)


def _clinicians(opened: Opened) -> dict[str, Any]:
    """What only a clinician's pages show: the study code of the patient, and the way back to the inbox."""
    administration = opened.administration
    if opened.questionnaire.role != Role.CLINICIAN:
        return {}
    came_by_link = clinician_of(administration, opened.token) is None
    inbox = "" if came_by_link else reverse("patients_to_rate", args=[administration.visit.dyad.study.code])
    return {"reference": _reference(opened), "inbox": inbox}


def save_answer(request: HttpRequest, opened: Opened) -> HttpResponse:
    """Store one answer sent by a script."""
    given = read_answer(request)
    _ensure_started(opened)
    last_sequence = services.record_answers(administration_id=opened.administration.pk, given=[given], now=opened.now)
    return JsonResponse({"last_sequence": last_sequence})


def show_state(request: HttpRequest, opened: Opened) -> HttpResponse:
    """Where this questionnaire stands, for the script that shows its pages without asking the server for each."""
    return JsonResponse(_state(opened))


def _state(opened: Opened) -> dict[str, Any]:
    return {
        "status": opened.administration.status,
        "awaits_consent": opened.administration.awaits_consent,
        "language": opened.administration.language or opened.language,
        "last_sequence": opened.administration.last_sequence,
        "answers": {} if opened.is_completed else opened.answers,
        "bundles": {
            language: _bundle_address(opened.questionnaire, language) for language in opened.administration.languages
        },
    }


@csrf_exempt  # as all views by a link
def questionnaire_deliver(request: HttpRequest, token: str) -> HttpResponse:
    """Take what waited on a device. Authorised by the link alone: it may come a day later, without the page.

    By far the most frequent request. It shows nothing, so it is spared what a page needs, and the questionnaire is
    looked up once: where it is stored.
    """
    response = HttpResponseNotAllowed(["POST"]) if request.method != "POST" else _deliver(request, token)
    for name, value in _HEADERS.items():
        response.headers[name] = value
    return response


def _deliver(request: HttpRequest, token: str) -> HttpResponse:
    now = timezone.now()
    try:
        delivery = read_delivery(request, now=now)
        administration = services.receive_delivery(
            token=token, given=delivery.answers, language=delivery.language, finish=delivery.finish, now=now
        )
    except Administration.DoesNotExist:
        return _refuse_with_json(404, "No questionnaire has this link.", None)
    except SequenceConflict as conflict:
        last_sequence = administration_with_token(token).last_sequence
        return JsonResponse({"error": str(conflict), "last_sequence": last_sequence}, status=conflict.status)
    except AnswerRefused as error:
        return _refuse_with_json(error.status, str(error), None)
    response = JsonResponse({"last_sequence": administration.last_sequence, "status": administration.status})
    if administration.is_completed:
        _forget_kept_pages(request, reverse("questionnaire", args=[token]), response)
    return response


# --- What is the same for everybody ------------------------------------------------------------


def form_texts(request: HttpRequest, key: str, form: str, role: str, language: str, digest: str) -> HttpResponse:
    """All pages of one form in one language. It is public text and never changes under its address."""
    if request.method not in ("GET", "HEAD"):
        return HttpResponseNotAllowed(["GET", "HEAD"])
    bundle = bundle_of(key=key, form=form, role=role, language=language)
    if bundle is None:
        return JsonResponse({"error": "There is no such form."}, status=404)
    packed = "gzip" in request.headers.get("Accept-Encoding", "")
    response = HttpResponse(bundle.packed if packed else bundle.body, content_type="application/json")
    if packed:
        response.headers["Content-Encoding"] = "gzip"
    response.headers["Vary"] = "Accept-Encoding"
    lasting = bundle.digest == digest
    response.headers["Cache-Control"] = "public, max-age=31536000, immutable" if lasting else "no-store"
    return response


def service_worker(request: HttpRequest) -> HttpResponse:
    """The script that serves the pages while the server can't be reached, and sends what waits."""
    html = loader.get_template("questionnaire/service-worker.js").render()
    return HttpResponse(html, content_type="text/javascript", headers={"Cache-Control": "no-cache"})


def locked(request: HttpRequest) -> HttpResponse:
    """What an abandoned tablet shows: how to go on, and nothing about anybody."""
    if tablets.is_tablet(request):
        response = _see_other(reverse("tablet"))
        tablets.close_form(request, response)
        return response
    return HttpResponse(loader.get_template("questionnaire/locked.html").render(), headers=_HEADERS)


@csrf_exempt  # as on every page here, no cookie gives a right to anything: a foreign page could only type a code
def enter_code(request: HttpRequest) -> HttpResponse:
    """Eight characters in place of a link."""
    if request.method not in ("GET", "HEAD", "POST"):
        return HttpResponseNotAllowed(["GET", "HEAD", "POST"])
    problem, status = "", 200
    if request.method == "POST":
        browser = known_browser(request)
        try:
            token = codes.token_of_code(typed=request.POST.get("code", ""), browser=browser, now=timezone.now())
        except codes.UnknownCode:
            problem, status = "unknown", 422
        except codes.TooManyGuesses:
            problem, status = "slow", 429
        else:
            response = _see_other(reverse("questionnaire", args=[token]))
            remember_browser(request, response)
            if tablets.is_tablet(request):
                tablets.open_typed(request, response, token, now=timezone.now())
            return response
    html = loader.get_template("questionnaire/code.html").render({"problem": problem})
    return HttpResponse(html, status=status, headers=_HEADERS)


_KNOWN_BROWSER = "tablet"


def known_browser(request: HttpRequest) -> str:
    """The name of a browser that was let in before; empty for all others."""
    try:
        return str(signing.loads(request.COOKIES.get(_KNOWN_BROWSER, ""), salt="instruments.tablet"))[:40]
    except signing.BadSignature:
        return ""


def remember_browser(request: HttpRequest, response: HttpResponse) -> None:
    """Wrong codes of others no longer slow down this browser. The cookie names nobody and opens nothing."""
    if known_browser(request):
        return
    response.set_cookie(
        _KNOWN_BROWSER,
        signing.dumps(secrets.token_urlsafe(12), salt="instruments.tablet"),
        max_age=365 * 24 * 60 * 60,
        secure=request.is_secure(),
        httponly=True,
        samesite="Strict",
    )


def shell(request: HttpRequest) -> HttpResponse:
    """An empty page: what the service worker shows while the server can't be reached. It holds nobody's anything."""
    return HttpResponse(loader.get_template("questionnaire/shell.html").render(), headers=_HEADERS)


def _bundle_address(questionnaire: Questionnaire, language: str) -> str:
    with translation.override(language):
        bundle = form_bundle(questionnaire, language)
    return reverse("form_texts", args=[bundle.key, questionnaire.form, bundle.role, language, bundle.digest])


# --- Storing -----------------------------------------------------------------------------------


def _store(opened: Opened, page: Page, sequence: int, answers: Mapping[str, Answer]) -> None:
    """Hand the answers to the service; the k-th entry of the page takes `sequence + k`, so a repeat is recognised."""
    given = [
        GivenAnswer(item=code, value=answers[code], sequence=sequence + place)
        for place, code in enumerate(page.codes)
        # What already stands there was saved by the script or shown ticked by the page: giving it again is no answer.
        if code in answers and (opened.is_completed or opened.answers.get(code) != answers[code])
    ]
    if given:
        _ensure_started(opened)
        services.record_answers(administration_id=opened.administration.pk, given=given, now=opened.now)
    elif opened.is_completed:
        raise QuestionnaireClosed("This questionnaire is finished; its answers can no longer change.")


def _ensure_started(opened: Opened) -> None:
    """An answer is logged with the language in which it was asked, even if nobody pressed Start."""
    if not opened.administration.language and not opened.is_completed:
        services.choose_language(administration_id=opened.administration.pk, language=opened.language, now=opened.now)


# --- Showing -----------------------------------------------------------------------------------


def _question_page(
    request: HttpRequest,
    opened: Opened,
    page: Page,
    *,
    notice: str = "",
    submission: Submission | None = None,
    status: int = 200,
) -> HttpResponse:
    """The page with its stored answers, or with what was sent when that could not be stored."""
    text, answers = opened.text, opened.answers
    page_text = text.pages[page.number - 1]
    asked = tuple(entry.code for entry in opened.questionnaire.asked_entries(page, answers)) or page.codes
    is_fresh = request.method == "GET" and not request.GET and answers.keys().isdisjoint(asked)
    if is_fresh and submission is None and not notice:
        return HttpResponse(_unanswered_page(opened, page, asked))
    rows = [_row(entry, answers.get(entry.code), submission) for entry in page_text.entries if entry.code in asked]
    if notice == "blank":
        for row in rows:
            row["is_blank"] = row["entry"].code not in answers
    query = [name for name in ("blank", "review") if name in request.GET]
    html = _questions(
        opened,
        page,
        rows,
        action=opened.links.page(page.number) + ("?" + "&".join(f"{name}=1" for name in query) if query else ""),
        notice=notice,
        sequence=opened.administration.last_sequence + 1,
        reference=_reference(opened),
    )
    return HttpResponse(html, status=status)


# Characters of the private use area: they are in no text, and escaping leaves them as they are.
_ROOT, _SEQUENCE, _REFERENCE = "\ue000root\ue000", "\ue000sequence\ue000", "\ue000reference\ue000"
_UNANSWERED: dict[tuple[object, ...], str] = {}


def _unanswered_page(opened: Opened, page: Page, asked: tuple[str, ...]) -> str:
    """A page on which nothing was answered yet: the same for everybody but for the link, number and study code.

    Nearly every page is shown so, once. Kept as text it costs a tenth of filling in its template.
    """
    reference, is_synthetic = _reference(opened), opened.administration.visit.dyad.study.is_synthetic
    key = (opened.text.key, page.number, asked, _progress(opened, page), is_synthetic)
    if key not in _UNANSWERED:
        anybody = replace(opened, links=Links(root=_ROOT))
        entries = [entry for entry in opened.text.pages[page.number - 1].entries if entry.code in asked]
        _UNANSWERED[key] = _questions(
            anybody,
            page,
            [_row(entry, None, None) for entry in entries],
            action=anybody.links.page(page.number),
            notice="",
            sequence=_SEQUENCE,
            reference=_REFERENCE if reference else "",
        )
    sequence = str(opened.administration.last_sequence + 1)
    html = _UNANSWERED[key].replace(_ROOT, escape(opened.links.root)).replace(_SEQUENCE, sequence)
    return html.replace(_REFERENCE, escape(reference))


def _questions(
    opened: Opened,
    page: Page,
    rows: list[dict[str, Any]],
    *,
    action: str,
    notice: str,
    sequence: object,
    reference: str,
) -> str:
    text = opened.text
    position, total = _progress(opened, page)
    return _render(
        text.template,
        opened,
        action=action,
        page=text.pages[page.number - 1],
        opens_block=page.opens_block,
        rows=rows,
        row=rows[0],
        notice=notice,
        sequence=sequence,
        position=position,
        total=total,
        return_to=page.number,
        reference=reference,
    )


def _row(entry: EntryText, stored: Answer | None, submission: Submission | None) -> dict[str, Any]:
    """One entry with its choices ticked and its fields filled."""
    chosen: set[str]
    numbers = {"number": "", "years": "", "months": ""}
    is_invalid = False
    if submission is not None:
        code, raw = entry.code, submission.raw
        chosen = set(raw.get(code, []))
        numbers["number"] = "".join(one for one in raw.get(code, []) if one != PREFER_NOT)[:20]
        numbers["years"] = "".join(raw.get(f"{code}_years", []))[:20]
        numbers["months"] = "".join(raw.get(f"{code}_months", []))[:20]
        is_invalid = code in submission.invalid
        if not chosen and stored is not None and not entry.takes_number:
            chosen = _chosen(stored)
    else:
        chosen = _chosen(stored)
        if entry.takes_number and isinstance(stored, int | float):
            years, months = divmod(int(stored), 12)
            numbers = {"number": f"{stored:g}", "years": str(years), "months": str(months)}
    return {
        "entry": entry,
        "options": [(option, option.value in chosen) for option in entry.options],
        "is_blank": False,
        "is_invalid": is_invalid,
        **numbers,
    }


def _chosen(stored: Answer | None) -> set[str]:
    if stored is None:
        return set()
    if isinstance(stored, list):
        return set(stored)
    return {PREFER_NOT if stored == Absence.PREFER_NOT else str(stored)}


def _progress(opened: Opened, page: Page) -> tuple[int, int]:
    """Which page this is of how many, counting only what this respondent is asked."""
    left_out = [
        one.number for one in opened.text.conditional if not opened.questionnaire.asked_entries(one, opened.answers)
    ]
    return page.number - sum(number < page.number for number in left_out), len(opened.text.pages) - len(left_out)


def _reference(opened: Opened) -> str:
    """What a clinician recognises the patient by: the pseudonymous study code. A patient needs none."""
    return opened.administration.visit.dyad.code if opened.questionnaire.role == Role.CLINICIAN else ""


def _page_numbered(questionnaire: Questionnaire, number: int) -> Page:
    if not 1 <= number <= len(questionnaire.pages):
        raise PageNotFound
    return questionnaire.pages[number - 1]


def _resume_link(opened: Opened) -> str:
    return _page_or_review(opened, opened.questionnaire.first_open_page(opened.answers))


def _page_or_review(opened: Opened, number: int | None) -> str:
    return opened.links.review if number is None else opened.links.page(number)


def _see_other(address: str) -> HttpResponse:
    """303: the browser fetches the next page by GET, so reloading it sends nothing again."""
    return HttpResponse(status=303, headers={"Location": address})


def _page(template: str, opened: Opened, *, status: int = 200, **context: Any) -> HttpResponse:
    return HttpResponse(_render(template, opened, **context), status=status)


def _render(template: str, opened: Opened, **context: Any) -> str:
    # Rendered without the request: no context processor, session or user is looked at on these pages.
    context |= {
        "links": opened.links,
        "language": opened.language,
        "languages": language_names(opened.administration.languages),
        "role": opened.questionnaire.role.value,
        "is_completed": opened.is_completed,
        "is_synthetic": opened.administration.visit.dyad.study.is_synthetic,
    }
    return loader.get_template(f"questionnaire/{template}.html").render(context)


def _refuse_with_page(status: int, message: str, opened: Opened | None) -> HttpResponse:
    """A friendly page. An unknown link says the same to everybody, in every language; it reveals nothing."""
    if opened is None or status == LinkExpired.status:
        return HttpResponse(loader.get_template(f"questionnaire/link_{status}.html").render(), status=status)
    if opened.is_completed:
        return _page("thanks", opened, status=status, is_late=True, **_clinicians(opened))
    if opened.administration.is_declined:
        return _page("consent_declined", opened, status=status)
    if opened.administration.cannot_rate:
        why = opened.administration.get_cannot_rate_display()
        return _page(
            "declined",
            opened,
            status=200 if status == RatingDeclined.status else status,
            why=why,
            **_clinicians(opened),
        )
    return _page("refused", opened, status=status)


def _refuse_with_json(status: int, message: str, opened: Opened | None) -> HttpResponse:
    return JsonResponse({"error": message}, status=status)


questionnaire = _opened_by_token(refuse=_refuse_with_page, GET=show_welcome, POST=start)
questionnaire_page = _opened_by_token(refuse=_refuse_with_page, GET=show_page, POST=store_page)
questionnaire_consent = _opened_by_token(refuse=_refuse_with_page, GET=show_consent, POST=answer_consent)
questionnaire_language = _opened_by_token(refuse=_refuse_with_page, GET=go_to_start, POST=choose_language)
questionnaire_display = _opened_by_token(refuse=_refuse_with_page, GET=go_to_start, POST=choose_display)
questionnaire_review = _opened_by_token(refuse=_refuse_with_page, GET=show_review)
questionnaire_finish = _opened_by_token(refuse=_refuse_with_page, GET=go_to_start, POST=finish)
questionnaire_cannot = _opened_by_token(
    refuse=_refuse_with_page, even_declined=True, GET=ask_why_not, POST=store_why_not
)
questionnaire_again = _opened_by_token(
    refuse=_refuse_with_page, even_declined=True, GET=go_to_start, POST=take_up_again
)
questionnaire_answers = _opened_by_token(refuse=_refuse_with_json, shows=False, POST=save_answer)
questionnaire_state = _opened_by_token(refuse=_refuse_with_json, GET=show_state)
