"""A tablet that is left alone pauses; the same question comes back by the code or the QR code on the staff's page."""

import io
from typing import Any

import zxingcpp
from PIL import Image
from playwright.sync_api import Page, expect

from tests.journeys.test_staff_accessibility import sign_in
from tests.platform_processes import Platform, wait_until
from tests.questionnaire_page import begin, code_of, form_of, go_on, press_start, ready

DESK = {"width": 1280, "height": 800}


def handed_out(platform: Platform, page: Page) -> dict[str, str]:
    """A new visit by the coordinator: its dyad, what a camera reads off the QR code, and the code to type."""
    sign_in(page, platform, "coordinator")
    page.goto(f"{platform.base_url}/studies/DEMO/visits/new/")
    page.locator("select[name=clinician]").select_option(index=1)
    page.locator("form:has(select[name=clinician]) [type=submit]").click()
    card = page.locator(".link-card").first
    picture = Image.open(io.BytesIO(card.locator("[role=img]").screenshot()))
    (read,) = zxingcpp.read_barcodes(picture)
    patient, _, clinician = page.locator("h1").inner_text().partition(" with ")
    return {
        "dyad": f"{patient}.{clinician}",
        "url": read.text,
        "code": card.locator("strong.address").inner_text(),
        "address": card.locator("a").get_attribute("href") or "",
    }


def leave_alone(page: Page) -> None:
    """Nobody touches the tablet: a minute's warning with the answers hidden, then the pause."""
    dialog = page.get_by_role("dialog", name="Are you still there?")
    page.clock.fast_forward(185_000)
    expect(dialog).to_be_visible()
    assert page.locator("main").evaluate("one => getComputedStyle(one).visibility") == "hidden"
    page.clock.fast_forward(61_000)
    expect(page.locator("form.question")).to_have_count(0)


def test_the_same_item_comes_back_by_code_and_by_qr(platform: Platform, contexts: Any) -> None:
    """Paused twice: once gone on by the eight characters, once by what a camera reads; nothing is lost."""
    staff = contexts(viewport=DESK)
    link = handed_out(platform, staff)
    assert link["url"] == link["address"]
    page = contexts()
    page.clock.install()
    begin(page, link["url"])
    given: dict[str, Any] = {}
    for value in (1, 2, 3):
        given[code_of(page)] = value
        page.locator(f"label.option:has(input[value='{value}'])").click()
        go_on(page, "next")
    here = code_of(page)
    page.locator("label.option:has(input[value='4'])").click()  # chosen, but not gone on
    given[here] = 4
    wait_until(lambda: form_of(platform, link["dyad"])["answers"] == given, seconds=60, what="delivery")
    leave_alone(page)
    expect(page.get_by_role("heading", name="This survey is paused")).to_be_visible()
    page.get_by_role("link", name="I have a code").click()
    page.get_by_label("8 letters and numbers").fill(link["code"].lower().replace("-", " "))
    page.get_by_role("button", name="Go on").click()
    resume(page)
    previous = code_of(page)
    assert previous != here  # answered already: it goes on behind it
    assert form_of(platform, link["dyad"])["answers"] == given
    go_on(page, "back")
    assert code_of(page) == here
    expect(page.locator("form.question input:checked")).to_have_attribute("value", "4")
    go_on(page, "next")
    leave_alone(page)
    page.goto(link["url"])
    resume(page)
    assert code_of(page) == previous
    assert form_of(platform, link["dyad"])["answers"] == given


def resume(page: Page) -> None:
    """Whatever stands before the question."""
    expect(page.locator("body")).to_have_attribute("data-keeping", "here")
    if page.locator("form.question").count() == 0:
        press_start(page)


def test_answers_that_wait_when_the_tablet_pauses_are_sent(platform: Platform, contexts: Any) -> None:
    """Paused without a connection: nobody sees an answer, and they go out when there is one, without a tap."""
    (visit,) = platform.create_visits(1, "--form", "short")
    page = contexts()
    page.clock.install()
    begin(page, visit["patient_url"])
    page.wait_for_function("navigator.serviceWorker.ready.then(() => true)")
    page.context.set_offline(True)
    given: dict[str, Any] = {}
    for value in (5, 4, 3):
        given[code_of(page)] = value
        page.locator(f"label.option:has(input[value='{value}'])").click()
        go_on(page, "next")
    here = code_of(page)
    leave_alone(page)
    expect(page.get_by_text("No connection")).to_be_visible()
    assert page.locator("input").count() == 0
    assert form_of(platform, visit["dyad"])["log"] == []
    page.context.set_offline(False)
    wait_until(lambda: form_of(platform, visit["dyad"])["answers"] == given, seconds=60, what="delivery without a tap")
    page.goto(visit["patient_url"])
    ready(page)
    resume(page)
    assert code_of(page) == here
