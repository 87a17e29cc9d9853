"""Pictures of the running demonstration for the README and the guides: .venv/bin/python scripts/screenshots.py

Reads var/demo.json (or that of VAR_DIR), so `make demo` has to be running; needs the browser of `make browser`. Starts
the fresh visit's questionnaires; the next start of the demonstration makes another. The pictures show synthetic data
and say so.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, ViewportSize, sync_playwright

ROOT = Path(__file__).resolve().parents[1]
IMAGES = ROOT / "docs" / "images"
TABLET: ViewportSize = {"width": 800, "height": 960}
DESK: ViewportSize = {"width": 1280, "height": 800}


def main() -> None:
    demo = json.loads((Path(os.environ.get("VAR_DIR", ROOT / "var")) / "demo.json").read_text(encoding="utf-8"))
    browser_path = (Path(sys.prefix) / "browser-path").read_text(encoding="utf-8").strip()
    IMAGES.mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=browser_path, args=arguments)
        picture_questionnaires(browser, demo)
        picture_researcher(browser, demo)
        picture_day(browser, demo)
        picture_office(browser, demo)
        picture_tablets(browser, demo)
        browser.close()


def picture_questionnaires(browser: Browser, demo: dict[str, dict[str, str]]) -> None:
    """A patient's item on a tablet, and a clinician's block at a desk."""
    for role, viewport, name in (
        ("patient", TABLET, "patient"),
        ("clinician", DESK, "clinician"),
    ):
        page = browser.new_page(viewport=viewport, locale="en-US")
        page.goto(demo["visit"][f"{role}_url"])
        page.locator("main form button").click()
        if role == "patient":
            page.locator("button[value=agree]").wait_for()
            page.screenshot(path=IMAGES / "consent.png", full_page=True)
            page.locator("button[value=agree]").click()
        page.wait_for_url("**/page/**")
        page.locator("fieldset label.option").nth(3).click()
        page.screenshot(path=IMAGES / f"{name}.png")
        page.close()


def picture_day(browser: Browser, demo: dict[str, Any]) -> None:
    """The front desk's day after its list was enrolled, with one patient who has no time."""
    study = f"{demo['base_url']}/studies/{demo['study']}"
    page = browser.new_page(viewport=DESK, locale="en-US")
    person = next(one for one in demo["staff"] if one["role"] == "coordinator")
    page.goto(f"{demo['base_url']}/login/")
    page.fill("input[name=username]", person["username"])
    page.fill("input[name=password]", person["password"])
    page.press("input[name=password]", "Enter")
    page.wait_for_url("**/day/")
    lines = [f"C{1 + number % 4:02},{8 + number // 3:02}:{20 * (number % 3):02}" for number in range(6)]
    content = "\n".join(["clinician,time", *lines]).encode()
    page.goto(f"{study}/visits/list/")
    page.set_input_files("input[name=file]", {"name": "day.csv", "mimeType": "text/csv", "buffer": content})
    page.locator("input[name=save]").click()
    page.get_by_role("button", name="Enrol").click()
    page.goto(f"{study}/day/")
    page.get_by_role("link", name="Does not take part").first.click()
    page.locator("input[name=outcome][value=declined]").check()
    page.locator("select[name=reason]").select_option("no_time")
    page.locator("input[name=save]").click()
    page.wait_for_url("**/day/")
    page.get_by_role("status").wait_for()
    page.goto(f"{study}/day/")
    page.screenshot(path=IMAGES / "day.png")
    page.close()


def picture_office(browser: Browser, demo: dict[str, Any]) -> None:
    """What clinicians, coordinators, admins and auditors work with."""
    for role, pages in (
        ("clinician", {"inbox": "rate/"}),
        ("coordinator", {"day-list": "visits/list/", "participation": "participation/"}),
        ("admin", {"settings": "settings/", "consent-texts": "consent/"}),
        ("auditor", {"audit": "audit/"}),
    ):
        page = browser.new_page(viewport=DESK, locale="en-US")
        person = next(one for one in demo["staff"] if one["role"] == role)
        page.goto(f"{demo['base_url']}/login/")
        page.fill("input[name=username]", person["username"])
        page.fill("input[name=password]", person["password"])
        page.press("input[name=password]", "Enter")
        page.wait_for_url(lambda url: "/login/" not in url)
        for name, path in pages.items():
            page.goto(f"{demo['base_url']}/studies/{demo['study']}/{path}")
            page.screenshot(path=IMAGES / f"{name}.png")
        page.close()


def picture_tablets(browser: Browser, demo: dict[str, Any]) -> None:
    """A tablet that is enrolled, handed over to and locked; the visit of the day is made for it."""
    study = f"{demo['base_url']}/studies/{demo['study']}"
    desk = browser.new_page(viewport=DESK, locale="en-US")
    person = next(one for one in demo["staff"] if one["role"] == "coordinator")
    desk.goto(f"{demo['base_url']}/login/")
    desk.fill("input[name=username]", person["username"])
    desk.fill("input[name=password]", person["password"])
    desk.press("input[name=password]", "Enter")
    desk.wait_for_url(lambda url: "/login/" not in url)
    desk.goto(f"{study}/tablets/")
    n_there = desk.locator("tbody tr").count()
    tablets = []
    for number in (n_there + 1, n_there + 2):
        desk.goto(f"{study}/tablets/new/")
        desk.fill("input[name=name]", f"Front desk {number}")
        desk.fill("input[name=pin]", "2580")
        desk.locator("input[name=save]").click()
        tablet = browser.new_page(viewport=TABLET, locale="en-US")
        tablet.goto(str(desk.locator(".link-card a").get_attribute("href")))
        tablet.locator("button.primary").click()
        tablet.locator("body[data-tablet=waiting]").wait_for()
        tablets.append(tablet)
    desk.goto(f"{study}/visits/new/")
    desk.locator("select[name=clinician]").select_option(index=1)
    desk.locator("input[name=save]").click()
    patient = str(desk.locator("h1").text_content()).split(" ")[0]
    desk.goto(f"{study}/visits/")
    desk.locator("tr", has_text=patient).get_by_role("link", name="Hand over").click()
    desk.locator("button[name=tablet]").first.wait_for()
    desk.screenshot(path=IMAGES / "hand-over.png")
    desk.get_by_role("button", name=f"Hand over Front desk {n_there + 1}").click()
    tablets[0].wait_for_url(lambda url: "/q/tablet/" not in url)
    take(desk, f"{study}/tablets/", "tablets")
    take(tablets[0], f"{demo['base_url']}/q/locked/", "tablet-locked")


def picture_researcher(browser: Browser, demo: dict[str, list[dict[str, str]]]) -> None:
    """The overview, one dyad's profile and an analysis."""
    page = browser.new_page(viewport=DESK, locale="en-US")
    person = next(one for one in demo["staff"] if one["role"] == "researcher")
    page.goto(f"{demo['base_url']}/login/")
    page.fill("input[name=username]", person["username"])
    page.fill("input[name=password]", person["password"])
    page.press("input[name=password]", "Enter")
    page.wait_for_url(lambda url: "/login/" not in url)
    study = f"{demo['base_url']}/studies/{demo['study']}"
    take(page, f"{study}/", "overview")
    page.goto(f"{study}/dyads/?sort=dyad")
    page.locator("table tbody a").first.click()
    page.set_viewport_size({"width": 1280, "height": 1640})
    page.locator("svg[role=img]").first.wait_for()
    page.screenshot(path=IMAGES / "dyad.png")
    page.goto(f"{study}/analyses/")
    page.locator("table tbody a").last.click()
    page.locator("svg[role=img]").first.wait_for()
    page.screenshot(path=IMAGES / "analysis.png")


def take(page: Page, address: str, name: str) -> None:
    page.goto(address)
    page.screenshot(path=IMAGES / f"{name}.png", full_page=True)


if __name__ == "__main__":
    main()
