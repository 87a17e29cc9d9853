"""What people type stays text: every free text holds a script, every page is opened in a browser, and none runs.

The browser tells of more than what ran: a script that only the content security policy stopped, and an element that
only stood there. The installation is this file's own, so that no other journey sees the texts.
"""

import html
import json
import os
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.apps import apps
from django.db import models
from django.urls import reverse
from playwright.sync_api import Browser, BrowserContext, Dialog, Page

from healing_survey.policy import POLICY, Gate
from tests.healing_survey.test_policy import POST_ONLY, every_url
from tests.platform_processes import Platform, prepared_once

#: Ends an attribute and a tag; fits the shortest free text, a tablet's name.
SHORT = "\"><img src=x onerror=__ran=1>'"
SCRIPT = "\"><img src=x onerror=__ran=1><script>__ran=1</script>'"
#: An address that Django takes for valid.
ADDRESS = '"<script>__ran=1</script>{}"@example.org'

#: Free text -> what is planted. What is typed into a box that no model's text field keeps has a name of its own.
PLANTED = {
    "auth.User.first_name": SCRIPT + "first",
    "auth.User.last_name": SCRIPT + "last",
    "auth.User.email": ADDRESS.format("user"),
    "studies.Study.title": SCRIPT + "title",
    "studies.Site.name": SCRIPT + "site",
    "studies.ConsentText.text": SCRIPT + "consent",
    "studies.ConsentText.why": SCRIPT + "consentwhy",
    "studies.Invitation.email": ADDRESS.format("invited"),
    "studies.Clinician.characteristics": SCRIPT + "trait",
    "studies.Device.name": SHORT + "tablet",
    "studies.Wave.label": SCRIPT + "wave",
    "studies.AuditNote.text": SCRIPT + "note",
    "analysis.AnalysisPlan.text": SCRIPT + "plan",
    "analysis.AnalysisPlan.why": SCRIPT + "planwhy",
    "scoring.GapReference.source": SCRIPT + "source",
    "analysis.AnalysisRun.error": SCRIPT + "fault",
    "audit line": SCRIPT + "line",
    "heading of a consent text": SCRIPT + "heading",
    "point of a consent text": SCRIPT + "point",
    "patient's name": SCRIPT + "name",
    "patient's e-mail": ADDRESS.format("patient"),
    "patient's telephone": SCRIPT + "phone",
    "patient's record number": SCRIPT + "no",
    "private label": SHORT + "label",
}
#: Planted, and shown on no page: a reference's source is in the export, and of a fault a page tells only that it was.
NOT_SHOWN = {"scoring.GapReference.source", "analysis.AnalysisRun.error"}
#: Kept by the models and typed by nobody into a box of free text: codes and user names, which their validators keep to
#: letters and digits; choices of lists and forms; what is sealed, hashed or written by the platform.
NOT_FREE = {
    "auth.User": "password username",
    "studies.Study": "code instrument_code instrument_version default_form drawn_form status clinician_form languages "
    "consent withdrawn_answers",
    "studies.Site": "code",
    "studies.ConsentText": "language text_hash",
    "studies.Member": "role export",
    "studies.Invitation": "role export token_hash",
    "studies.SecondFactor": "secret recovery_hashes",
    "studies.EmailSignIn": "language token_hash",
    "studies.SignInFailures": "account browser",
    "studies.Clinician": "code",
    "studies.Tally": "kind figures",
    "studies.Patient": "code",
    "studies.Device": "pin_hash enrol_hash enrol_code_hash token_hash",
    "studies.PatientIdentifiers": "key_id name_index email_index record_number_index",
    "studies.Dyad": "code",
    "studies.DyadLabel": "sealed_text",
    "studies.Wave": "code",
    "studies.Visit": "form",
    "studies.Withdrawal": "role reason answers",
    "studies.RetentionOrder": "rule",
    "studies.NonParticipation": "outcome reason",
    "studies.AuditEvent": "record prev_hash hash action",
    "studies.Heartbeat": "name",
    "studies.AuditHead": "hash",
    "studies.AuditNote": "salt",
    "instruments.InstrumentVersion": "code version content content_hash",
    "instruments.Administration": "role form language mode status token_hash answers item_order cannot_rate code_hash "
    "token_box",
    "instruments.AnswerEvent": "item value language paradata",
    "instruments.RatingPass": "token_hash",
    "instruments.Consent": "text_hash language",
    "instruments.FormDraw": "places",
    "instruments.ReminderMail": "lease_owner error",
    "instruments.PaperEntry": "language answers",
    "instruments.HandOver": "token_box token_hash",
    "instruments.CodeGuess": "browser",
    "scoring.ScoringRequest": "lease_owner error",
    "scoring.GapReference": "form parameters",
    "scoring.DyadScore": "dyad_code form patient clinician dyad rules_version",
    "analysis.AnalysisRun": "lease_owner form status progress_note data_digest versions result",
    "analysis.AnalysisPlan": "confirmatory text_hash",
}

#: Answered with a file or with data, or with nothing to look at: no page that a browser would run a script of. The
#: shell is the same for everybody, holds no row's text, and its script leads on at once.
NO_PAGES = {
    "questionnaire_shell",
    "health_live", "health_ready", "metrics", "set_language", "logout", "message_put_away", "admin_login",
    "service_worker", "form_texts", "tablet_unlock", "tablet_next", "tablet_report", "tablet_open",
    "tablet_enrol_with_code", "questionnaire_code", "questionnaire_language", "questionnaire_display",
    "questionnaire_finish", "questionnaire_cannot", "questionnaire_again", "questionnaire_answers",
    "questionnaire_state", "questionnaire_deliver", "dyads_download", "codebook_download", "audit_download",
    "paper_blank", "paper_print", "analysis_progress", "admin:*",
}  # fmt: skip
#: Lead everybody on: to the page of a new second factor, and to the tablet's own.
LED_ON = {"second_factor", "tablet_short"}
DJANGO_ADMIN = ("admin:index", "admin:auth_user_changelist", "admin:auth_group_changelist")

PLANT = """
import json, os
from datetime import timedelta
from django.conf import settings
from django.contrib.auth.models import User
from django.test import Client as Browser
from django.utils import timezone
from analysis.models import AnalysisRun
from analysis.plans import write_plan
from instruments.devices import add_device, enrol
from instruments.inbox import set_label
from instruments.models import Administration, PaperEntry
from instruments.services import create_visits_with_new_patients
from scoring.models import GapReference
from studies import audit
from studies.consent_texts import write_text
from studies.identifiers import Identifiers, store
from studies.invitations import _hash
from studies.models import Clinician, Invitation, Member, Site, Study, Wave

planted = json.loads(os.environ["PLANTED"])
now = timezone.now()
study = Study.objects.get(code="DEMO")
Study.objects.update(title=planted["studies.Study.title"], consent="here")
Site.objects.update(name=planted["studies.Site.name"], allows_private_labels=True)
Wave.objects.update(label=planted["studies.Wave.label"])
study.refresh_from_db()
root = User.objects.create_user("root", is_superuser=True, is_staff=True)
User.objects.update(
    first_name=planted["auth.User.first_name"],
    last_name=planted["auth.User.last_name"],
    email=planted["auth.User.email"],
)
Member.objects.filter(role="admin").update(sees_identifiers=True)
users = {member.role: member.user for member in Member.objects.select_related("user").order_by("-pk")}
admin, rater = users["admin"], users["clinician"]
clinician = Clinician.objects.get(user=rater)
site, wave = clinician.site, Wave.objects.get(code="baseline")
known = clinician.characteristics
assert known
Clinician.objects.update(characteristics=dict.fromkeys(known, planted["studies.Clinician.characteristics"]))
consent = (
    "# " + planted["heading of a consent text"] + "\\n\\n" + planted["studies.ConsentText.text"] + "\\n\\n- "
    + planted["point of a consent text"]
)
for place in (None, site):
    for language in ("en", "es"):
        why = planted["studies.ConsentText.why"]
        write_text(study=study, site=place, language=language, text=consent, why=why, actor=admin, now=now)
for words in ("first", "second"):
    write_plan(
        study=study, text=planted["analysis.AnalysisPlan.text"] + "\\n\\n" + words, confirmatory=[],
        why=planted["analysis.AnalysisPlan.why"], actor=admin, now=now,
    )
GapReference.objects.update(source=planted["scoring.GapReference.source"])
done = AnalysisRun.objects.latest("pk")
AnalysisRun.objects.create(
    study=study, form="short", seed=1, status="failed", error=planted["analysis.AnalysisRun.error"], requested_by=admin
)
line = planted["audit line"]
audit.record(
    study=study, actor=admin, action="change settings", detail={"name": line}, old={"title": line},
    new={"title": line + " "}, why=planted["studies.AuditNote.text"], now=now,
)
visits = create_visits_with_new_patients(
    study=study, clinicians=[clinician], wave=wave, form="short", count=4, now=now
)
asked, begun, spare, typed = visits
Administration.objects.filter(visit=begun.visit, role="patient").update(
    status="started", started_at=now, language="en"
)
paper = Administration.objects.get(visit=typed.visit, role="patient")
for place, role in enumerate(("admin", "coordinator"), start=1):
    PaperEntry.objects.create(
        administration=paper, place=place, entered_by=users[role], entered_at=now, language="en",
        completed_on=now.date(), answers={"VN1": place},
    )
person = Identifiers(
    name=planted["patient's name"], email=planted["patient's e-mail"], phone=planted["patient's telephone"],
    record_number=planted["patient's record number"],
)
for visit in (asked, begun):
    store(patient=visit.visit.dyad.patient, identifiers=person, actor=admin, now=now)
for visit in visits:
    set_label(dyad=visit.visit.dyad, user=rater, text=planted["private label"], now=now)
offer = add_device(site=site, name=planted["studies.Device.name"], pin="2580", actor=admin, now=now)
secret = enrol(device=offer.device, replaces=None, now=now)
waiting = add_device(site=site, name=planted["studies.Device.name"] + "2", pin="2580", actor=admin, now=now)
invitation = Invitation.objects.create(
    study=study, email=planted["studies.Invitation.email"], role="auditor", token_hash=_hash("invited"),
    invited_by=admin, invited_at=now, expires_at=now + timedelta(days=1),
)
sessions = {}
for role, user in {**users, "root": root}.items():
    browser = Browser()
    browser.force_login(user)
    sessions[role] = browser.cookies[settings.SESSION_COOKIE_NAME].value
dyad = study.scores.order_by("pk").first().visit.dyad
form = Administration.objects.get(visit=spare.visit, role="patient")
print("WORLD" + json.dumps({
    "sessions": sessions,
    "session_cookie": settings.SESSION_COOKIE_NAME,
    "device_cookie": settings.DEVICE_COOKIE,
    "secret": secret,
    "tokens": {
        "asked": asked.patient_token, "begun": begun.patient_token, "clinician": begun.clinician_token,
        "invitation_take_up": "invited", "tablet_enrol": waiting.token, "email_sign_in_use": "nothing",
    },
    "arguments": {
        "code": "DEMO", "dyad_code": dyad.code, "wave_code": "baseline", "run_id": done.pk, "language": "en",
        "site_id": site.pk, "wave_id": wave.pk, "clinician_id": clinician.pk, "device_id": offer.device.pk,
        "administration_id": form.pk, "visit_id": spare.visit.pk, "dyad_id": spare.visit.dyad_id,
        "patient_id": begun.visit.dyad.patient_id, "invitation_id": invitation.pk,
        "member_id": Member.objects.get(user=users["coordinator"]).pk,
        "typed_form": paper.pk, "without_identifiers": spare.visit.dyad.patient_id,
    },
}))
"""

WATCH = """
window.__violations = [];
addEventListener("securitypolicyviolation", (event) => __violations.push(`${event.violatedDirective} ${event.sample}`));
"""
FOUND = """() => [
    ...(window.__ran === undefined ? [] : ["ran"]),
    ...(document.querySelector('img[src="x"]') ? ["an element"] : []),
    ...[...document.scripts].filter((one) => one.textContent.includes("__ran=1")).map(() => "a script"),
    ...window.__violations.map((one) => `stopped: ${one}`),
]"""


class Watcher:
    """One person's browser: opens pages, and keeps what went wrong on them and which texts were seen there."""

    def __init__(self, context: BrowserContext) -> None:
        context.add_init_script(WATCH)
        self.context = context
        self.page: Page = context.new_page()
        self.wrong: list[str] = []
        self._here: list[str] = []  # what went wrong on the page that is open
        self.reached: set[str] = set()  # that did not lead on to another page
        self.seen: set[str] = set()
        self.n_opened = 0

    def open(self, name: str, address: str, *, expected: tuple[int, ...] = (200,)) -> None:
        # A tab of its own: the script of the page before may just be leading on, and would end this navigation.
        before, self.page = self.page, self.context.new_page()
        before.close()
        self.page.on("dialog", self._dismiss)
        self.page.on("pageerror", lambda error: self._here.append(f"script error: {error}"))
        self.page.on("console", lambda message: self._heard(message.type, message.text))
        response = self.page.goto(address)
        assert response is not None
        self.n_opened += 1
        if response.status not in expected:
            self._here.append(f"answered {response.status}")
        if urlsplit(self.page.url).path == urlsplit(address).path:
            self.reached.add(name.rpartition(" ")[2])
        self.look(name)

    def look(self, name: str) -> None:
        """At the page as it stands."""
        self._here += self.page.evaluate(FOUND)
        text = html.unescape(self.page.content())
        self.seen |= {what for what, planted in PLANTED.items() if planted in text}
        self.wrong += [f"{name}: {one}" for one in self._here]
        self._here.clear()

    def _heard(self, kind: str, text: str) -> None:
        # That a resource's answer was an error says nothing of scripts; the page's own status is looked at.
        if kind == "error" and not text.startswith("Failed to load resource"):
            self._here.append(f"console: {text[:200]}")

    def _dismiss(self, dialog: Dialog) -> None:
        self._here.append("a dialog")
        dialog.dismiss()


@pytest.fixture(scope="module")
def poisoned(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Platform, dict[str, Any]]]:
    """A web server on a copy of the demonstration, with a script in every free text; and what is where."""
    own = tmp_path_factory.getbasetemp()
    shared = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own
    running = Platform(tmp_path_factory.mktemp("poisoned"))
    running.copy(prepared_once(shared))
    running.environment["PLANTED"] = json.dumps(PLANTED)
    world = json.loads(running.manage("shell", "-v0", "--no-imports", "-c", PLANT).partition("WORLD")[2])
    try:
        running.start_web()
        yield running, world
    finally:
        running.stop()


def addresses(world: dict[str, Any], gates: set[Gate], role: str = "") -> dict[str, str]:
    """Name -> address of the pages behind these gates; behind `ROLE` those of the role."""
    found = {}
    for name, route in every_url():
        rule = POLICY.get(name)
        if rule is None or rule.gate not in gates or name in NO_PAGES or name in POST_ONLY:
            continue
        if rule.gate is Gate.ROLE and role not in rule.roles:
            continue
        if name.startswith("questionnaire") and "token" in route:
            continue  # opened as the people who answer
        arguments = world["arguments"] | {"token": world["tokens"].get(name)}
        if name == "identifiers_edit":
            arguments["patient_id"] = arguments["without_identifiers"]
        if name == "paper_compare":
            arguments["administration_id"] = arguments["typed_form"]
        found[name] = reverse(name, args=[arguments[one] for one in re.findall(r"<\w+:(\w+)>", route)])
    return found


def test_every_text_of_the_models_is_sorted() -> None:
    """A text field that somebody adds is planted with a script, or said to be no free text."""
    kinds = (models.CharField, models.TextField, models.JSONField)
    kept = {
        f"{model._meta.label}.{field.name}"
        for model in apps.get_models()
        if model._meta.app_label in ("studies", "instruments", "scoring", "analysis")
        or model._meta.label == "auth.User"
        for field in model._meta.get_fields()
        if isinstance(field, kinds)
    }
    not_free = {f"{model}.{field}" for model, fields in NOT_FREE.items() for field in fields.split()}
    assert kept == not_free | {name for name in PLANTED if name[0].islower() and name.count(".") == 2}


def test_no_typed_script_runs_on_any_page(poisoned: tuple[Platform, dict[str, Any]], browser: Browser) -> None:
    """Every role, every page that it may open: nothing ran, nothing had to be stopped, and every text was seen."""
    platform, world = poisoned
    wrong: list[str] = []
    seen: set[str] = set()
    opened: set[str] = set()
    reached: set[str] = set()
    n_opened = 0

    def finish(watcher: Watcher) -> None:
        nonlocal n_opened
        wrong.extend(watcher.wrong)
        seen.update(watcher.seen)
        reached.update(watcher.reached)
        n_opened += watcher.n_opened
        watcher.context.close()

    def watch(**cookies: str) -> Watcher:
        context = browser.new_context(viewport={"width": 1280, "height": 800}, locale="en-US")
        context.set_default_timeout(20_000)
        context.add_cookies(
            [{"name": name, "value": value, "url": platform.base_url} for name, value in cookies.items()]
        )
        return Watcher(context)

    # who is not signed in, and a tablet
    for cookies in ({}, {world["device_cookie"]: world["secret"]}):
        watcher = watch(**cookies)
        for name, path in addresses(world, {Gate.ANYBODY, Gate.LINK}).items():
            if cookies and not name.startswith("tablet"):
                continue
            watcher.open(name, platform.base_url + path, expected=(200, 403, 404, 410))
            opened.add(name)
        finish(watcher)

    # staff
    for role in ("admin", "researcher", "coordinator", "clinician", "auditor"):
        watcher = watch(**{world["session_cookie"]: world["sessions"][role]})
        gates = {Gate.ROLE, Gate.SIGNED_IN} if role == "admin" else {Gate.ROLE}
        for name, path in {"home": "/", **addresses(world, gates, role)}.items():
            watcher.open(f"{role} {name}", platform.base_url + path)
            opened.add(name)
            if name == "identifiers_show":
                watcher.page.locator("select[name=purpose]").select_option("contact")
                watcher.page.locator("input[name=save]").click()
                watcher.page.wait_for_load_state()
                watcher.look("identifiers shown")
        finish(watcher)
    watcher = watch(**{world["session_cookie"]: world["sessions"]["root"]})
    for name in DJANGO_ADMIN:
        watcher.open(name, platform.base_url + reverse(name))
    finish(watcher)

    # who answers, each in a browser of their own
    for who, token in world["tokens"].items():
        if who not in ("asked", "begun", "clinician"):
            continue
        watcher = watch()
        for name in ("questionnaire", "questionnaire_consent", "questionnaire_page", "questionnaire_review"):
            number = [1] if name == "questionnaire_page" else []
            watcher.open(f"{who} {name}", platform.base_url + reverse(name, args=[token, *number]))
            opened.add(name)
        finish(watcher)

    print(f"{n_opened} pages were opened; planted and not seen: {sorted(set(PLANTED) - seen)}")
    assert wrong == []
    assert opened - reached == LED_ON
    assert set(PLANTED) - seen == NOT_SHOWN
    assert set(POLICY) - opened == NO_PAGES | set(POST_ONLY)


@pytest.mark.parametrize("policy", ["", "script-src 'self'"], ids=["without a policy", "stopped by the policy"])
@pytest.mark.parametrize("planted", [SHORT, SCRIPT, ADDRESS], ids=["short", "script", "address"])
def test_an_unescaped_text_is_caught(browser: Browser, policy: str, planted: str) -> None:
    """The control: a page that puts a text in as it is, whether a policy stops the script or not."""
    context = browser.new_context()
    watcher = Watcher(context)
    headers = {"Content-Type": "text/html", **({"Content-Security-Policy": policy} if policy else {})}
    context.route(
        "http://leaky.test/*",
        lambda route: route.fulfill(headers=headers, body=f'<!doctype html><input value="x"><p>{planted}</p>'),
    )
    watcher.open("leaky", "http://leaky.test/page")
    context.close()
    assert any("stopped" in one if policy else "ran" in one for one in watcher.wrong)
