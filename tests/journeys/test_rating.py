"""A clinician rates in a real browser: by the keyboard, on a phone, without a connection, from the inbox."""

import re
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, ViewportSize, expect

from instruments.catalogue.reader import read_instrument
from instruments.definitions import Role
from instruments.questionnaire import Questionnaire
from tests.factories import CATALOGUE_FILE
from tests.journeys.test_in_the_browser import sign_in
from tests.platform_processes import Platform, wait_until
from tests.questionnaire_page import form_of

DESK: ViewportSize = {"width": 1280, "height": 800}
PHONE: ViewportSize = {"width": 390, "height": 844}
INSTRUMENT = read_instrument(CATALOGUE_FILE)
SHORT = Questionnaire(instrument=INSTRUMENT, form="short", role=Role.CLINICIAN, follow_up=False)
ITEMS = [item.code for item in INSTRUMENT.form_items("short")]


@pytest.fixture
def visit(platform: Platform) -> dict[str, str]:
    """A visit of its own, with the short form."""
    (made,) = platform.create_visits(1, "--form", "short")
    return dict(made)


def begin(page: Page, visit: dict[str, str]) -> None:
    page.goto(visit["clinician_url"])
    expect(page.get_by_role("button", name="Start")).to_be_focused()
    page.keyboard.press("Enter")
    page.wait_for_selector("form.rating")


def stored(platform: Platform, visit: dict[str, str]) -> dict[str, Any]:
    answers: dict[str, Any] = form_of(platform, visit["dyad"], "clinician")["answers"]
    return answers


def test_twenty_items_by_the_keyboard(platform: Platform, browser: Browser, visit: dict[str, str]) -> None:
    """One key an item, nothing to scroll or click, and the page adds little to each; figures for docs/quality.md."""
    page = browser.new_page(viewport=DESK, locale="en-US")
    begin(page, visit)
    n_keys = 1
    page.evaluate(
        "window.pressed = []; document.addEventListener('keydown', () => { const t = performance.now();"
        " requestAnimationFrame(() => setTimeout(() => window.pressed.push(performance.now() - t))); }, true)"
    )
    for number in range(len(ITEMS)):
        page.keyboard.press(str(number % 5 + 1))
        n_keys += 1
    expect(page.locator("#progress")).to_have_text("20 of 24")
    assert page.evaluate("document.activeElement.getBoundingClientRect().bottom <= innerHeight")
    outline = page.evaluate("getComputedStyle(document.activeElement.closest('label, input')).outlineStyle")
    assert outline == "solid" or page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"
    for key in ("2", "Enter", "1", "2", "3"):  # two years; the months stay blank; three questions
        page.keyboard.press(key)
        n_keys += 1
    expect(page.locator("#progress")).to_have_text("24 of 24")
    page.keyboard.press("Enter")
    n_keys += 1
    expect(page.get_by_role("heading", name="Thank you")).to_be_visible()
    answers = stored(platform, visit)
    assert [answers[code] for code in ITEMS] == [number % 5 + 1 for number in range(len(ITEMS))]
    assert answers["rel_years"] == 24
    assert n_keys == 27


def test_the_arrows_move_and_nothing_is_answered_by_them(
    platform: Platform, browser: Browser, visit: dict[str, str]
) -> None:
    """Down, up, Enter: the current row moves; "does not apply" is 0; an answer can be changed."""
    page = browser.new_page(viewport=DESK, locale="en-US")
    begin(page, visit)
    current = page.locator("fieldset.current")
    for key, expected in (("ArrowDown", 1), ("ArrowDown", 2), ("ArrowUp", 1), ("Enter", 2), ("ArrowUp", 1)):
        page.keyboard.press(key)
        expect(current).to_have_attribute("data-code", ITEMS[expected])
    page.keyboard.press("0")  # this item offers no "does not apply"
    expect(page.locator("#progress")).to_have_text("0 of 24")
    page.keyboard.press("2")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("5")
    wait_until(lambda: stored(platform, visit) == {ITEMS[1]: 5}, seconds=15, what="storing the changed answer")


def test_without_a_connection_nothing_is_lost(platform: Platform, contexts: Any, visit: dict[str, str]) -> None:
    """Offline after the first answer: all the rest, the finish, and a reload; online again, all of it arrives."""
    page = contexts(viewport=DESK, locale="en-US")
    begin(page, visit)
    page.keyboard.press("3")
    wait_until(lambda: stored(platform, visit) == {ITEMS[0]: 3}, seconds=15, what="storing the first answer")
    page.wait_for_function("navigator.serviceWorker.getRegistration('/q/').then((one) => Boolean(one?.active))")
    page.context.set_offline(True)
    for _ in range(9):
        page.keyboard.press("4")
    expect(page.locator(".status")).to_have_text(re.compile("No connection|Saved on this device"))  # all ten of them
    page.reload()
    page.wait_for_selector("form.rating")
    expect(page.locator("#progress")).to_have_text("10 of 24")
    for _ in range(10):
        page.keyboard.press("5")
    page.locator(".finish-rating").click()
    expect(page.get_by_text("4 still blank")).to_be_visible()
    page.locator(".finish-rating").click()
    expect(page.get_by_text("no connection just now")).to_be_visible()
    assert form_of(platform, visit["dyad"], "clinician")["status"] == "started"
    page.context.set_offline(False)
    expect(page.get_by_role("heading", name="Thank you")).to_be_visible(timeout=20_000)
    wait_until(
        lambda: form_of(platform, visit["dyad"], "clinician")["status"] == "completed", seconds=20, what="the finish"
    )
    assert [stored(platform, visit)[code] for code in ITEMS] == [3, *[4] * 9, *[5] * 10]
    assert stored(platform, visit)["X_ROSY"] == "SKIPPED"


def test_one_item_after_the_other_on_a_phone(platform: Platform, browser: Browser, visit: dict[str, str]) -> None:
    """One row in sight, a tap goes on, Back goes back, a condition opens its question."""
    context = browser.new_context(viewport=PHONE, locale="es-MX", has_touch=True, is_mobile=True)
    page = context.new_page()
    page.goto(visit["clinician_url"])
    page.get_by_role("button", name="Empezar").tap()
    current = page.locator("fieldset.current")
    for number in range(len(ITEMS)):
        expect(page.locator("#progress")).to_have_text(f"{number + 1} de 24")
        expect(page.locator("fieldset[data-code]:visible")).to_have_count(1)
        expect(current).to_have_attribute("data-code", ITEMS[number])
        current.locator("label.option").nth(number % 5).tap()
    assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
    page.locator(".back-row").tap()
    expect(current).to_have_attribute("data-code", ITEMS[-1])
    page.locator(".next-row").tap()
    page.locator(".next-row").tap()
    current.locator("label.option").first.tap()
    expect(current).to_have_attribute("data-code", "X_MISTAKE")
    current.locator("label.option").first.tap()
    expect(current).to_have_attribute("data-code", "X_OWNED")
    wait_until(lambda: len(stored(platform, visit)) == 22, seconds=15, what="storing 22 answers")
    assert [stored(platform, visit)[code] for code in ITEMS] == [number % 5 + 1 for number in range(len(ITEMS))]
    context.close()


def test_from_the_inbox_and_back(platform: Platform, browser: Browser) -> None:
    """Sign in, rate one of one's own patients by its button, finish, and find the inbox again; the link still works."""
    clinician = platform.demo["visit"]["dyad"].split(".")[-1]
    (visit,) = platform.create_visits(1, "--form", "short", "--clinician", clinician)
    page = browser.new_page(viewport=DESK, locale="en-US")
    sign_in(page, platform, "clinician")
    page.goto(f"{platform.base_url}/studies/DEMO/rate/")
    code = visit["dyad"].split(".")[0]
    page.get_by_role("button", name=f"Rate {code}", exact=True).click()
    assert page.url != visit["clinician_url"]
    other = browser.new_page(locale="en-US")
    other.goto(visit["clinician_url"])
    expect(other.get_by_role("button", name="Start")).to_be_visible()
    page.get_by_role("button", name="Start").click()
    for _ in ITEMS:
        page.keyboard.press("4")
    page.locator(".finish-rating").click()
    page.locator(".finish-rating").click()
    page.get_by_role("link", name="Back to your patients").click()
    expect(page.get_by_role("heading", name="Patients to rate")).to_be_visible()
    expect(page.get_by_text(code, exact=True)).to_have_count(0)


def test_the_plain_pages_go_on_where_a_browser_keeps_nothing(
    platform: Platform, browser: Browser, visit: dict[str, str]
) -> None:
    """Without a store the pages of the form work as before: digits answer, each answer goes straight to the server."""
    page = browser.new_page(viewport=DESK, locale="en-US")
    page.add_init_script("Object.defineProperty(self, 'indexedDB', { get() { throw new Error('denied'); } });")
    page.goto(visit["clinician_url"])
    page.get_by_role("button", name="Start").click()
    page.wait_for_url("**/page/1/")
    page.locator("fieldset[data-code] input").first.focus()
    n_first = len(SHORT.pages[0].codes)
    for _ in range(n_first):
        page.keyboard.press("2")
    wait_until(lambda: len(stored(platform, visit)) == n_first, seconds=15, what="saving before Next")
    page.get_by_role("button", name="Next").click()
    page.wait_for_url("**/page/2/")
