"""A patient is asked first, on a real tablet: few screens, readable, with and without scripts."""

import json
from collections.abc import Iterator

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from tests.journeys.test_tablet_comfort import AXE
from tests.platform_processes import Platform
from tests.questionnaire_page import form_of

MAKE_STUDY = """
from django.utils import timezone
from studies.consent_texts import starting_text, write_text
from studies.models import Clinician, Site, Study, Wave
study = Study.objects.create(code="CONSENT", title="Consent", is_synthetic=True, consent="here")
site = Site.objects.create(study=study, code="S", name="Site")
Clinician.objects.create(site=site, code="C1")
Wave.objects.create(study=study, code="baseline", label="Baseline")
for language in ("en", "es"):
    text = starting_text(language)
    write_text(study=study, site=None, language=language, text=text, why="", actor=None, now=timezone.now())
"""


@pytest.fixture(scope="module")
def links(platform: Platform) -> Iterator[dict[str, str]]:
    """Links of patients who have to be asked: one visit each time."""
    platform.manage("shell", "-c", MAKE_STUDY)
    printed = platform.manage("create_visits", "--study", "CONSENT", "--form", "short", "--count", "4")
    return iter([json.loads(line) for line in printed.splitlines()])


def first_question(page: Page) -> None:
    expect(page.locator("form.question fieldset")).to_have_attribute("data-code", "VN1")


@pytest.mark.parametrize("scripts", [False, True], ids=["without scripts", "with scripts"])
def test_three_screens_lead_to_the_first_question(
    platform: Platform, browser: Browser, links: Iterator[dict[str, str]], scripts: bool
) -> None:
    """Welcome, consent, question, in the language chosen on the first; with scripts the connection may go then."""
    visit = next(links)
    context = browser.new_context(viewport={"width": 800, "height": 1280}, locale="en-US", java_script_enabled=scripts)
    page = context.new_page()
    screens = []
    page.on("framenavigated", lambda frame: screens.append(frame.url))
    page.goto(visit["patient_url"])
    page.get_by_role("link", name="Español").click()
    page.get_by_role("button", name="Continuar").click()
    expect(page.get_by_text("Usted decide")).to_be_visible()
    page.locator("button[value=contrast]").click()  # the page stays, in its language
    expect(page.get_by_text("Usted decide")).to_be_visible()
    page.get_by_role("button", name="Sí, acepto").click()
    first_question(page)
    assert page.locator("html").get_attribute("lang") == "es"
    assert len({url.partition("?")[0] for url in screens}) == 3
    if scripts:
        expect(page.locator("body")).to_have_attribute("data-keeping", "here")
        page.wait_for_function("navigator.serviceWorker.ready.then(() => true)")
        context.set_offline(True)
    page.locator("label.option").nth(2).click()
    page.get_by_role("button", name="Siguiente").click()
    expect(page.locator("form.question fieldset")).not_to_have_attribute("data-code", "VN1")
    context.set_offline(False)
    context.close()


def test_the_question_for_consent_has_no_faults_in_any_size(
    platform: Platform, browser: Browser, links: Iterator[dict[str, str]]
) -> None:
    """Both languages, smallest and largest text, phone and tablet: axe, touch targets, no sideways scroll."""
    visit = next(links)
    context = browser.new_context(locale="en-US")
    page = context.new_page()
    found = {}
    for language in ("en", "es"):
        page.goto(f"{visit['patient_url']}consent/?language={language}")
        for width, classes in ((320, "size-1"), (800, "size-3 contrast")):
            page.set_viewport_size({"width": width, "height": 1200})
            page.evaluate("classes => { document.documentElement.className = classes; }", classes)
            wrong = [
                f"{one['id']}: {one['nodes'][0]['html'][:100]}"
                for one in Axe().run(page, options=AXE).response["violations"]
            ]
            wrong += page.evaluate(
                """() => [...document.querySelectorAll("main button")].filter((one) => one.offsetHeight < 64)
                    .map((one) => "too small: " + one.textContent)"""
            )
            if page.evaluate("document.documentElement.scrollWidth > innerWidth"):
                wrong.append("scrolls sideways")
            if wrong:
                found[language, width] = wrong
    context.close()
    assert found == {}


def test_who_declines_is_thanked_and_asked_nothing(
    platform: Platform, browser: Browser, links: Iterator[dict[str, str]]
) -> None:
    """Neither Back nor the link brings a question."""
    visit = next(links)
    context = browser.new_context(viewport={"width": 800, "height": 1280}, locale="en-US")
    page = context.new_page()
    page.goto(visit["patient_url"])
    page.get_by_role("button", name="Continue").click()
    page.get_by_role("button", name="I’d rather not").click()
    expect(page.get_by_text("Thank you for telling us")).to_be_visible()
    page.go_back()
    page.goto(visit["patient_url"] + "page/1/")
    expect(page.get_by_text("Thank you for telling us")).to_be_visible()
    assert form_of(platform, visit["dyad"])["status"] == "declined"
    context.close()
