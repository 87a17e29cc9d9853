"""The people's ways through the platform, in a real browser, over real processes."""

import csv
import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from instruments.catalogue.reader import read_instrument
from instruments.definitions import Role
from tests.factories import CATALOGUE_FILE
from tests.platform_processes import Platform
from tests.questionnaire_page import begin, form_of

INSTRUMENT = read_instrument(CATALOGUE_FILE)
DESK = {"width": 1280, "height": 800}


def choose(page: Page, item: str, value: int | str) -> None:
    """Tap an answer where a finger would: on its card."""
    page.locator(f"label:has(input[name={item}][value='{value}'])").click()


def go(page: Page, action: str) -> None:
    page.locator(f"button[name=action][value={action}]").click()


def on_page(page: Page, number: int) -> None:
    expect(page).to_have_url(re.compile(rf"/page/{number}/"))


@pytest.mark.parametrize("javascript", [False, True], ids=["without scripts", "with scripts"])
def test_a_patient_answers_changes_skips_switches_language_and_finishes(
    platform: Platform, contexts: Any, javascript: bool
) -> None:
    """All of a short form on a tablet: Back and a change, a skip, does not apply, Spanish in the middle, review."""
    (visit,) = platform.create_visits(1, "--form", "short")
    items = INSTRUMENT.form_items("short")
    page = contexts(java_script_enabled=javascript, locale="en-US")
    begin(page, visit["patient_url"], scripts=javascript)
    assert page.get_by_text("Synthetic data").is_visible()
    expected: dict[str, int | str] = {}
    for number, item in enumerate(items, start=1):
        on_page(page, number)
        language = "es" if number > 10 else "en"
        expect(page.get_by_text(item.text[Role.PATIENT][language], exact=True)).to_be_visible()
        if number == 2:
            go(page, "next")  # nothing chosen: one gentle line, the same page
            on_page(page, number)
            expect(page.locator("#notice")).to_be_visible()
        if number == 3:
            go(page, "skip")
            expected[item.code] = "SKIPPED"
            continue
        value: int | str = "DNA" if item.allow_does_not_apply and number > 10 else number % 5 + 1
        choose(page, item.code, value)
        expected[item.code] = value
        go(page, "next")
        if number == 5:
            on_page(page, 6)
            go(page, "back")
            on_page(page, 5)
            expect(page.locator(f"input[name={item.code}][value='{value}']")).to_be_checked()
            choose(page, item.code, 1)
            expected[item.code] = 1
            go(page, "next")
        if number == 10:
            on_page(page, 11)
            page.get_by_role("button", name="Español").click()
            on_page(page, 11)
    while not page.url.endswith("/review/"):
        before = page.url
        go(page, "skip")
        expect(page).not_to_have_url(before)
    assert form_of(platform, visit["dyad"])["status"] == "started"
    expect(page.locator("html")).to_have_attribute("lang", "es")
    page.get_by_role("button", name="Terminar").first.click()
    expect(page.get_by_role("heading", name="Gracias")).to_be_visible()
    form = form_of(platform, visit["dyad"])
    assert (form["status"], form["language"]) == ("completed", "es")
    assert {item.code: form["answers"][item.code] for item in items} == expected
    page.goto(f"{visit['patient_url']}page/1/")
    assert page.locator("input[type=radio]").count() == 0  # a finished form shows nobody its answers


def sign_in(page: Page, platform: Platform, role: str) -> None:
    person = next(one for one in platform.demo["staff"] if one["role"] == role)
    page.goto(f"{platform.base_url}/login/")
    page.fill("input[name=username]", person["username"])
    page.fill("input[name=password]", person["password"])
    page.press("input[name=password]", "Enter")
    page.wait_for_url(lambda url: "/login/" not in url)


def test_a_researcher_reads_dyads_downloads_them_and_runs_an_analysis(
    platform: Platform, contexts: Any, tmp_path: Path
) -> None:
    """Overview, table, one dyad's picture, CSV, then an analysis with its progress, scree plot and loadings."""
    page = contexts(viewport=DESK, locale="en-US", accept_downloads=True)
    sign_in(page, platform, "researcher")
    page.goto(f"{platform.base_url}/studies/DEMO/")
    assert page.get_by_text("Synthetic data").is_visible()
    assert page.get_by_text("Northside Family Practice").first.is_visible()

    page.get_by_role("link", name="Dyads").first.click()
    with page.expect_download() as download:
        page.get_by_role("link", name="Download CSV").click()
    file = tmp_path / "dyads.csv"
    download.value.save_as(file)
    assert "synthetic" in download.value.suggested_filename.lower()
    rows = list(csv.DictReader(file.read_text(encoding="utf-8").splitlines()))
    assert len(rows) >= 158
    assert {row["synthetic"] for row in rows} == {"1"}

    page.locator("table tbody a").first.click()
    picture = page.locator("svg[role=img]").first
    expect(picture).to_be_visible()
    assert picture.locator("title").text_content()

    page.get_by_role("link", name="Analyses").first.click()
    page.get_by_role("link", name="Run analysis").first.click()
    page.locator("form:has(input[name=seed]) [type=submit]").click()
    expect(page.get_by_role("progressbar").first).to_be_visible()
    expect(page.get_by_role("heading", name="Reliability").first).to_be_visible(timeout=60_000)
    assert page.locator("svg[role=img]").count() >= 2
    assert (
        page.get_by_role("cell", name="Nonjudgmental stance").first.is_visible()
        or page.get_by_text("Nonjudgmental stance").first.is_visible()
    )
    assert page.get_by_text("KMO").first.is_visible()


def test_a_coordinator_makes_a_visit_and_hands_over_its_link(platform: Platform, contexts: Any) -> None:
    """The day list, a new visit, and a link that opens the patient's questionnaire in a browser without a session."""
    page = contexts(viewport=DESK, locale="en-US")
    sign_in(page, platform, "coordinator")
    page.goto(f"{platform.base_url}/studies/DEMO/visits/")
    page.get_by_role("link", name="New visit").first.click()
    page.locator("select[name=clinician]").select_option(index=1)
    page.locator("form:has(select[name=clinician]) [type=submit]").click()
    expect(page.locator("select[name=clinician]")).to_have_count(0)
    link = re.findall(rf"{platform.base_url}/q/[\w-]+/", page.content())[0]
    tablet = contexts(locale="es-MX")
    tablet.goto(link)
    expect(tablet.locator("html")).to_have_attribute("lang", "es")
    expect(tablet.get_by_role("button", name="Empezar")).to_be_visible()
