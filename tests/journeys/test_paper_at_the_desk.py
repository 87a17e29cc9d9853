"""A paper form in a real browser: two people type it with the keyboard alone, and what differs is decided."""

import re
from pathlib import Path

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page

from tests.journeys.test_staff_accessibility import sign_in
from tests.platform_processes import Platform

SIZES = ({"width": 1280, "height": 800}, {"width": 1024, "height": 768}, {"width": 390, "height": 844})


def look(page: Page, name: str, pictures: Path) -> None:
    """No fault that axe can find, nothing to scroll sideways and a picture, at each size."""
    for size in SIZES:
        page.set_viewport_size(size)  # type: ignore[arg-type]
        wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        page.screenshot(path=pictures / f"{name}-{size['width']}.png")
        assert wide <= 0, (name, size)
        faults = [(one["id"], one["nodes"][0]["target"]) for one in Axe().run(page).response["violations"]]
        assert faults == [], (name, size)
    page.set_viewport_size(SIZES[0])  # type: ignore[arg-type]


def type_form(page: Page, *, first_item: str) -> None:
    """From the language to the button without touching the mouse: one key an answer, Enter where there are more."""
    page.locator("#id_language").select_option("en")
    page.locator("#id_completed_on").fill("2026-01-15")
    page.locator("#id_completed_on").press("Enter")
    keys = page.locator("table input")
    n_fields = keys.count()
    single = keys.evaluate_all("fields => fields.map(field => field.dataset.single !== undefined)")
    conditional = keys.evaluate_all("fields => fields.map(field => field.name)").index("X_OWNED")
    for place in range(n_fields):
        name = page.evaluate("document.activeElement.name")
        assert name == keys.nth(place).get_attribute("name")
        if place == conditional or name.endswith("_months"):
            page.keyboard.press("Enter")
        elif single[place]:
            page.keyboard.press(first_item if place == 0 else "S" if "_" in name else "4")
        else:
            page.keyboard.type("s")
            page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.type") == "submit"
    page.keyboard.press("Enter")


def test_two_people_type_a_paper_form_with_the_keyboard(browser: Browser, platform: Platform, tmp_path: Path) -> None:
    """Print it, type it, type it again with another first answer, decide: the questionnaire is complete."""
    dyad = platform.create_visits(1)[0]["dyad"]  # its own: other journeys answer the demonstration's open visits
    addresses = []
    for role, first_item in (("coordinator", "2"), ("admin", "3")):
        context = browser.new_context(locale="en-US")
        page = context.new_page()
        sign_in(page, platform, role)
        if not addresses:
            page.goto(f"{platform.base_url}/studies/DEMO/visits/?show=owing")
            look(page, "visits", tmp_path)
            page.get_by_role("link", name=f"Paper {dyad}", exact=True).first.click()
            addresses.append(page.url)
            printed = context.request.get(f"{page.url}form/?language=es")
            assert printed.body().startswith(b"%PDF")
        page.goto(addresses[0])
        look(page, f"entry-{role}", tmp_path)
        page.locator(
            "form#paper-entry button"
        ).click()  # nothing typed: the browser or the server names what is missing
        type_form(page, first_item=first_item)
        page.wait_for_url(re.compile(r"/paper/$|/compare/$"))
        look(page, f"after-{role}", tmp_path)
        if role == "admin":
            page.locator("fieldset").get_by_role("radio").nth(1).check()
            page.get_by_role("button", name="Decide and complete the questionnaire").click()
            page.get_by_text("Decided: the questionnaire is complete and is scored.").wait_for()
            page.goto(addresses[0])
            look(page, "complete", tmp_path)
            assert "Complete: typed in by" in page.content()
        context.close()
