"""A site's tablet in a real browser: enrolled from the desk, handed over, stopped, finished offline, given back."""

import os
import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Playwright, expect
from playwright.sync_api import Error as PlaywrightError

from tests.journeys.test_staff_accessibility import sign_in
from tests.journeys.test_tablet_comfort import content, faults
from tests.platform_processes import Platform
from tests.questionnaire_page import TABLET, code_of, form_of, press_start, ready

PIN = "2580"
PHONE = {"width": 390, "height": 844}


@pytest.fixture
def with_back_forward_cache(playwright: Playwright, browser_path: str) -> Iterator[Browser]:
    """Chromium as people have it: it keeps pages for Back."""
    browser = playwright.chromium.launch(
        executable_path=browser_path,
        args=["--no-sandbox"] if os.geteuid() == 0 else [],
        ignore_default_args=["--disable-back-forward-cache"],
    )
    yield browser
    browser.close()


def new_visit(desk: Page, platform: Platform) -> tuple[str, str]:
    """A visit of its own at the coordinator's site; the patient's study code and the dyad's."""
    desk.goto(f"{platform.base_url}/studies/DEMO/visits/new/")
    desk.locator("select[name=clinician]").select_option(index=1)
    desk.locator("select[name=form]").select_option("short")
    desk.locator("input[name=save]").click()
    desk.get_by_text("Shown only now").wait_for()
    patient, _, clinician = str(desk.locator("h1").text_content()).split(" ")
    return patient, f"{patient}.{clinician}"


def enrol(desk: Page, tablet: Page, platform: Platform, *, name: str) -> None:
    """Add a tablet at the desk and open its link on the tablet."""
    desk.goto(f"{platform.base_url}/studies/DEMO/tablets/new/")
    desk.fill("input[name=name]", name)
    desk.fill("input[name=pin]", PIN)
    desk.locator("input[name=save]").click()
    link = desk.get_by_role("link", name="Enrol this device").get_attribute("href")
    assert link is not None
    tablet.goto(link)
    tablet.get_by_role("button", name="Yes, this tablet").click()
    expect(tablet.get_by_role("heading", name="This tablet is ready")).to_be_visible()


def give(desk: Page, platform: Platform, patient: str, *, name: str) -> None:
    """Hand the patient's questionnaire over to the tablet with this name."""
    desk.goto(f"{platform.base_url}/studies/DEMO/visits/")
    desk.get_by_role("row", name=re.compile(re.escape(patient))).get_by_role("link", name="Hand over").click()
    desk.get_by_role("button", name=f"Hand over {name}").click()
    expect(desk.get_by_text("Please bring it to the patient")).to_be_visible()


def looked_at(page: Page) -> None:
    """Nothing that axe finds, no small target, nothing to scroll sideways; on a phone, where there is least room."""
    page.set_viewport_size(PHONE)  # type: ignore[arg-type]
    assert faults(page) == []
    page.set_viewport_size(TABLET)  # type: ignore[arg-type]


def nothing_is_shown(page: Page, statement: str) -> None:
    """Back, Forward and reload, again and again: neither a question nor a ticked answer."""
    for step in range(20):
        with suppress(PlaywrightError):  # the page is just being left
            page.evaluate("history.back()" if step % 4 else "history.forward()")
        page.wait_for_timeout(50)
        html = content(page)
        assert statement not in html
        assert "checked" not in html
    page.reload()
    assert statement not in content(page)


def statement_on(page: Page) -> str:
    return str(page.locator(".statement").text_content()).strip()


def test_from_the_desk_to_the_patient_and_back(
    platform: Platform, contexts: Any, with_back_forward_cache: Browser
) -> None:
    """Opens by itself, stops and goes on, finishes offline and is delivered, is locked; then nothing of it is left."""
    desk = contexts(viewport={"width": 1280, "height": 800})
    sign_in(desk, platform, "coordinator")
    tablet = with_back_forward_cache.new_context(viewport=TABLET, locale="en-US").new_page()  # type: ignore[arg-type]
    tablet.set_default_timeout(20_000)
    tablet.goto(f"{platform.base_url}/tablet/")
    looked_at(tablet)
    enrol(desk, tablet, platform, name="Front desk A")
    looked_at(tablet)
    patient, dyad = new_visit(desk, platform)
    give(desk, platform, patient, name="Front desk A")
    tablet.wait_for_url(re.compile(r"/q/[^/]{22}/$"))  # without a tap
    ready(tablet)
    press_start(tablet)
    first = statement_on(tablet)
    tablet.locator("label.option").nth(4).click()
    tablet.locator("button[value=next]").click()
    expect(tablet.locator("#progress")).to_contain_text("Question 2 of")
    looked_at(tablet)
    tablet.get_by_role("link", name="Stop and give the tablet back").click()
    looked_at(tablet)
    tablet.get_by_role("link", name="No, go on with the survey").click()
    ready(tablet)
    tablet.get_by_role("button", name="Continue").click()
    expect(tablet.locator("#progress")).to_contain_text("Question 2 of")
    tablet.get_by_role("link", name="Stop and give the tablet back").click()
    tablet.get_by_role("button", name="Yes, stop and give the tablet back").click()
    expect(tablet.get_by_role("heading", name="This survey is paused")).to_be_visible()
    looked_at(tablet)
    nothing_is_shown(tablet, first)
    tablet.goto(f"{platform.base_url}/q/tablet/")
    tablet.fill("#pin", "9999")
    tablet.get_by_role("button", name="Ready for the next patient").click()
    expect(tablet.get_by_role("alert")).to_contain_text("This PIN is wrong")
    looked_at(tablet)
    tablet.fill("#pin", PIN)
    tablet.get_by_role("button", name=re.compile("Go on with this survey")).click()
    ready(tablet)
    tablet.get_by_role("button", name="Continue").click()
    expect(tablet.locator("#progress")).to_contain_text("Question 2 of")
    second = code_of(tablet)
    tablet.wait_for_function("() => navigator.serviceWorker.ready.then(() => true)")
    tablet.context.set_offline(True)
    tablet.locator("label.option").nth(2).click()
    expect(tablet.locator(".status")).not_to_have_attribute("data-state", "writing")
    tablet.goto(f"{'/'.join(tablet.url.split('/')[:5])}/review/")
    tablet.get_by_role("button", name="Finish").first.click()
    expect(tablet.get_by_text("your answers wait here")).to_be_visible()
    assert tablet.locator(".give-back").count() == 0
    tablet.context.set_offline(False)
    expect(tablet.get_by_role("heading", name="Thank you")).to_be_visible()
    expect(tablet.get_by_text("Please give the tablet back to the front desk.")).to_be_visible()
    assert tablet.url == f"{platform.base_url}/q/tablet/"
    looked_at(tablet)
    tablet.fill("#pin", PIN)
    tablet.get_by_role("button", name="Ready for the next patient").click()
    expect(tablet.get_by_role("heading", name="This tablet is ready")).to_be_visible()
    nothing_is_shown(tablet, first)
    form = form_of(platform, dyad)
    assert (form["status"], form["answers"][second]) == ("completed", 3)
    tablet.goto(f"{platform.base_url}/q/tablet/")
    assert forms_kept(tablet) == 0
    desk.goto(f"{platform.base_url}/studies/DEMO/tablets/")
    row = desk.get_by_role("row", name=re.compile("Front desk A"))
    expect(row).to_contain_text("Ready")


def forms_kept(page: Page) -> int:
    """How many questionnaires the tablet's storage still knows."""
    return int(
        page.evaluate(
            """() => new Promise((resolve) => {
                const opening = indexedDB.open("waiting-answers", 1);
                opening.onsuccess = () => {
                    const all = opening.result.transaction(["forms"]).objectStore("forms").getAllKeys();
                    all.onsuccess = () => resolve(all.result.length);
                };
            })"""
        )
    )


def test_without_scripts_the_last_patient_is_not_shown_either(
    platform: Platform, contexts: Any, with_back_forward_cache: Browser
) -> None:
    """Plain pages stay in the history, and the browser keeps them for Back: each leads to the tablet's own page."""
    desk = contexts(viewport={"width": 1280, "height": 800})
    sign_in(desk, platform, "coordinator")
    plain = with_back_forward_cache.new_context(
        viewport=TABLET,  # type: ignore[arg-type]
        locale="en-US",
        java_script_enabled=False,
    )
    tablet = plain.new_page()
    enrol(desk, tablet, platform, name="Front desk B")
    patient, _dyad = new_visit(desk, platform)
    give(desk, platform, patient, name="Front desk B")
    tablet.get_by_role("link", name=re.compile("Look now")).click()
    press_start_plainly(tablet)
    shown = []
    for _ in range(3):
        shown.append(statement_on(tablet))
        tablet.locator("label.option").nth(4).click()
        tablet.locator("button[value=next]").click()
    tablet.get_by_role("link", name="Stop and give the tablet back").click()
    tablet.get_by_role("button", name="Yes, stop and give the tablet back").click()
    expect(tablet.get_by_role("heading", name="This survey is paused")).to_be_visible()
    for unlocked in (False, True):
        if unlocked:
            tablet.goto(f"{platform.base_url}/q/tablet/")
            tablet.fill("#pin", PIN)
            tablet.get_by_role("button", name="Ready for the next patient").click()
            expect(tablet.get_by_role("heading", name="This tablet is ready")).to_be_visible()
        for _ in range(12):
            tablet.go_back(wait_until="commit")
            html = content(tablet)
            assert not any(one in html for one in shown)
            assert tablet.locator("form.question").count() == 0


def press_start_plainly(page: Page) -> None:
    for _ in range(4):
        if page.locator("form.question").count():
            return
        page.locator("main form button.primary").first.click()


def test_what_waits_on_a_tablet_is_told_and_then_delivered(platform: Platform, contexts: Any) -> None:
    """The web server is away when the patient answers; back again, the desk reads that nothing waits any more."""
    desk = contexts(viewport={"width": 1280, "height": 800})
    sign_in(desk, platform, "coordinator")
    tablet = contexts(service_workers="block")  # so that each delivery passes the routes below
    enrol(desk, tablet, platform, name="Front desk C")
    patient, _dyad = new_visit(desk, platform)
    give(desk, platform, patient, name="Front desk C")
    tablet.wait_for_url(re.compile(r"/q/[^/]{22}/$"))
    ready(tablet)
    press_start(tablet)
    # Deliveries get lost, reports go through: what the desk then sees of the tablet.
    tablet.context.route("**/deliver/", lambda route: route.abort())
    tablet.locator("label.option").nth(3).click()
    until(tablet, lambda: unsent(platform, "Front desk C") >= 1, what="the report of an answer that waits")
    tablet.context.unroute("**/deliver/")
    until(tablet, lambda: unsent(platform, "Front desk C") == 0, what="the delivery and its report")
    # The server takes it for one that never can be stored: it is dropped, and the desk told.
    tablet.context.route(
        "**/deliver/",
        lambda route: route.fulfill(status=422, content_type="application/json", body='{"error": "no"}'),
    )
    tablet.locator("button[value=next]").click()
    tablet.locator("label.option").nth(3).click()
    until(tablet, lambda: refused(platform, "Front desk C") == 1, what="the report of a refused answer")
    desk.goto(f"{platform.base_url}/studies/DEMO/tablets/")
    expect(desk.get_by_text("The server would not take 1 answer")).to_be_visible()
    desk.get_by_role("button", name="I have seen this Front desk C").click()
    expect(desk.get_by_text("The server would not take 1 answer")).to_have_count(0)


def until(page: Page, condition: Callable[[], bool], *, what: str) -> None:
    """Wait for a condition while the page and the routes of this test go on."""
    for _ in range(300):
        if condition():
            return
        page.wait_for_timeout(200)
    raise AssertionError(f"{what} did not happen")


def device(platform: Platform, name: str) -> dict[str, Any]:
    with sqlite3.connect(f"file:{platform.folder}/healing_survey.sqlite3?mode=ro", uri=True) as database:
        row = database.execute("SELECT n_unsent, n_refused FROM studies_device WHERE name = ?", [name]).fetchone()
    return {"n_unsent": row[0], "n_refused": row[1]}


def unsent(platform: Platform, name: str) -> int:
    return int(device(platform, name)["n_unsent"])


def refused(platform: Platform, name: str) -> int:
    return int(device(platform, name)["n_refused"])
