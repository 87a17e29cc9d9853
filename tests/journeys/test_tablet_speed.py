"""How soon a page stands there, how few taps it takes, and the same machine on pages of five sentences."""

import json
import os
import sqlite3
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from instruments.definitions import Absence
from tests.platform_processes import Platform, wait_until
from tests.questionnaire_page import begin, completed, form_of, ready, stored_answers

DOSE = int(os.environ.get("TEST_DOSE", "1"))
#: A slow tablet: six times slower than this machine, 1.6 Mbit/s, 150 ms.
SLOW_LINE = {"offline": False, "latency": 150, "downloadThroughput": 200_000, "uploadThroughput": 93_750}

VISIT_ON_PAGES_OF_FIVE = """
import json
from django.utils import timezone
from instruments.services import create_visits_with_new_patients
from studies.models import Clinician, Site, Study, Wave
study, _ = Study.objects.get_or_create(
    code="FIVE", defaults={"title": "Pages of five", "is_synthetic": True, "instrument_version": "1.1"}
)
site, _ = Site.objects.get_or_create(study=study, code="F", defaults={"name": "Five"})
clinician, _ = Clinician.objects.get_or_create(site=site, code="C1")
wave, _ = Wave.objects.get_or_create(study=study, code="t0", defaults={"label": "Baseline"})
(created,) = create_visits_with_new_patients(
    study=study, clinicians=[clinician], wave=wave, form="short", count=1, now=timezone.now()
)
print(json.dumps({"dyad": created.visit.dyad.code, "token": created.patient_token}))
"""


@pytest.fixture
def paged(platform: Platform) -> dict[str, str]:
    """A visit whose patient sees five sentences a page: its dyad and link."""
    created = json.loads(platform.manage("shell", "--verbosity=0", "-c", VISIT_ON_PAGES_OF_FIVE).splitlines()[-1])
    return {"dyad": created["dyad"], "url": f"{platform.base_url}/q/{created['token']}/"}


def row(page: Page, code: str) -> Any:
    return page.locator(f"#q-{code}")


def codes(page: Page) -> list[str]:
    """What the page asks now."""
    found: list[str] = page.locator("fieldset[data-code]:visible").evaluate_all(
        "rows => rows.map(row => row.dataset.code)"
    )
    return found


def choose(page: Page, code: str, value: object) -> None:
    row(page, code).locator(f"label.option:has(input[value='{value}'])").click()


def press(page: Page, button: str) -> None:
    page.locator(f"button[name=action][value={button}]").click()


def test_pages_of_five_by_the_script(platform: Platform, contexts: Any, paged: dict[str, str]) -> None:
    """Blanks are marked once; Back, a reload without a connection, the review and conditions work as one by one."""
    page = contexts()
    begin(page, paged["url"])
    page.wait_for_function("navigator.serviceWorker.ready.then(() => true)")
    first = codes(page)
    assert len(first) == 5
    for place, code in enumerate(first[:3]):
        choose(page, code, place + 1)
    press(page, "next")
    expect(page.locator("#notice")).to_contain_text("Some are still blank")
    expect(page.locator(".mark")).to_have_count(2)
    choose(page, first[3], 4)
    expect(page.locator(".mark")).to_have_count(1)
    press(page, "next")
    expect(row(page, first[0])).to_have_count(0)
    given: dict[str, Any] = {code: place + 1 for place, code in enumerate(first[:4])}
    given[first[4]] = Absence.SKIPPED.value
    press(page, "back")
    expect(row(page, first[2]).locator("input:checked")).to_have_value("3")
    press(page, "next")
    expect(row(page, first[0])).to_have_count(0)
    wait_until(lambda: stored_answers(platform, paged["dyad"]) == given, seconds=20, what="delivery by itself")

    page.context.set_offline(True)
    second = codes(page)
    for code in second[:2]:
        choose(page, code, 5)
    expect(page.locator(".status")).not_to_have_attribute("data-state", "writing")
    page.reload()
    expect(row(page, second[1]).locator("input:checked")).to_have_value("5")
    assert codes(page) == second
    given |= dict.fromkeys(second[:2], 5)
    given |= dict.fromkeys(second[2:], Absence.SKIPPED.value)
    while page.locator("form.question").count():
        shown = codes(page)
        if "X_MISTAKE" in shown:
            assert "X_OWNED" not in shown
            choose(page, "X_MISTAKE", "yes")
            expect(row(page, "X_OWNED")).to_be_visible()
            shown = codes(page)
            given["X_MISTAKE"] = "yes"
        given = dict.fromkeys(shown, Absence.SKIPPED.value) | given
        press(page, "skip")
        page.wait_for_function("code => !document.getElementById(`q-${code}`)", arg=shown[0])
    # What the server has acknowledged is no longer kept here; what waits can be seen and changed.
    page.locator(f".review a[data-code={second[1]}]").click()
    expect(row(page, second[1]).locator("input:checked")).to_have_value("5")
    choose(page, second[1], 3)
    given[second[1]] = 3
    press(page, "next")
    expect(page.get_by_role("heading", name="Your answers")).to_be_visible()
    page.context.set_offline(False)
    page.get_by_role("button", name="Finish").first.click()
    wait_until(lambda: completed(platform, paged["dyad"]), seconds=30, what="the finish")
    assert stored_answers(platform, paged["dyad"]) == given
    log = form_of(platform, paged["dyad"])["log"]
    assert len(log) == len(given) + 1  # one answer was changed, none was stored twice
    with sqlite3.connect(f"file:{platform.folder}/healing_survey.sqlite3?mode=ro", uri=True) as database:
        paradata = [
            json.loads(one)
            for (one,) in database.execute(
                """SELECT paradata FROM instruments_answerevent event
                   JOIN instruments_administration form ON form.id = event.administration_id
                   JOIN studies_visit visit ON visit.id = form.visit_id
                   JOIN studies_dyad dyad ON dyad.id = visit.dyad_id WHERE dyad.code = ?""",
                [paged["dyad"]],
            )
        ]
    assert len(paradata) == len(log)
    assert all({"ms", "shown", "changed", "text"} <= one.keys() for one in paradata)


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_four_screens_and_two_taps(platform: Platform, contexts: Any, paged: dict[str, str], version: str) -> None:
    """At most four screens from the link to the first item; one tap answers an item, and at most one more goes on."""
    url = paged["url"] if version == "1.1" else platform.create_visits(1, "--form", "short")[0]["patient_url"]
    page = contexts(has_touch=True)
    page.goto(url)
    ready(page)
    n_screens = 0
    while not page.locator("form.question").count():
        n_screens += 1
        assert n_screens <= 4
        heading = page.locator("h1").first.text_content()
        page.locator("main form button.primary").first.tap()
        page.wait_for_function(
            "before => document.querySelector('form.question') || document.querySelector('h1')?.textContent !== before",
            arg=heading,
        )
    n_taps = n_items = 0
    while n_items < 6:
        shown = codes(page)
        for code in shown:
            row(page, code).locator("label.option").nth(3).tap()
            n_taps += 1
        n_items += len(shown)
        page.wait_for_timeout(450)  # a tap this soon after another is taken for the second of a double tap
        page.locator("button[value=next]").tap()
        n_taps += 1
        page.wait_for_function("code => !document.getElementById(`q-${code}`)", arg=shown[0])
    print(f"{version}: {n_screens} screens before the first item, {n_taps / n_items:.1f} taps an item")
    assert n_taps <= 2 * n_items


def test_the_app_adds_little_to_fifty_items(platform: Platform, contexts: Any) -> None:
    """From the tap on Next until the next item is painted, on a slow tablet: together at most 10 s over 50 items."""
    (visit,) = platform.create_visits(1)
    page = contexts()
    begin(page, visit["patient_url"])
    page.context.new_cdp_session(page).send("Emulation.setCPUThrottlingRate", {"rate": 6})
    page.evaluate(
        """() => {
            window.waits = [];
            let since = null;
            const note = ({ target, timeStamp }) => { if (target.value === "next") since = timeStamp; };
            addEventListener("click", note, true);
            new MutationObserver(() => {
                if (since === null || !document.querySelector("form.question")) return;
                const from = since;
                since = null;
                requestAnimationFrame(() => setTimeout(() => waits.push(performance.now() - from)));
            }).observe(document.querySelector("main"), { childList: true });
        }"""
    )
    n_items = 49 if DOSE > 1 else 8
    for number in range(n_items):
        (code,) = codes(page)
        page.locator("label.option").nth(number % 5).click()
        press(page, "next")
        page.wait_for_function("code => !document.getElementById(`q-${code}`)", arg=code)
    page.wait_for_function("n => waits.length === n", arg=n_items)
    seconds = 50 / n_items * sum(page.evaluate("waits")) / 1000
    print(f"The app adds {seconds:.1f} s to 50 items")
    assert seconds <= 10


def test_the_first_page_is_painted_soon_and_stays(platform: Platform, contexts: Any) -> None:
    """Cold, on a slow tablet and line: its largest part within 1.2 s (in the median of several), and nothing moves."""
    (visit,) = platform.create_visits(1)
    paints, shifts = [], []
    for _ in range(9 if DOSE > 1 else 1):
        page = contexts()
        cdp = page.context.new_cdp_session(page)
        cdp.send("Network.enable")
        cdp.send("Network.emulateNetworkConditions", SLOW_LINE)
        cdp.send("Emulation.setCPUThrottlingRate", {"rate": 6})
        page.goto(visit["patient_url"])
        ready(page)
        paint, shift = page.evaluate(
            """() => Promise.all(["largest-contentful-paint", "layout-shift"].map((type) => new Promise((resolve) => {
                const entries = [];
                new PerformanceObserver((list) => entries.push(...list.getEntries())).observe({ type, buffered: true });
                setTimeout(() => resolve(entries), 500);
            }))).then(([paints, shifts]) => [
                paints.at(-1).startTime, shifts.reduce((sum, one) => sum + one.value, 0),
            ])"""
        )
        paints.append(paint)
        shifts.append(shift)
    median = sorted(paints)[len(paints) // 2]
    print(f"Largest contentful paint: median {median:.0f} ms, from {min(paints):.0f} to {max(paints):.0f} ms")
    assert shifts == [0] * len(shifts)
    # On a machine that other tests share a time says nothing: the bar is held by `make test-long`.
    assert DOSE == 1 or median <= 1200
