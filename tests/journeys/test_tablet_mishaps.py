"""What goes wrong on a tablet: its clock, its store, the network's sign-in page, the link's end. No answer is lost."""

import json
import sqlite3
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.flaky_proxy import FlakyProxy
from tests.platform_processes import Platform, wait_until
from tests.questionnaire_page import begin, code_of, completed, finish, form_of, go_on, ready

DAY = 86_400


def give(page: Page, given: dict[str, Any], *values: int) -> None:
    """Answer with these values, one question after another."""
    for value in values:
        given[code_of(page)] = value
        page.locator(f"label.option:has(input[value='{value}'])").click()
        go_on(page, "next")


def arrives(platform: Platform, dyad: str, given: dict[str, Any]) -> None:
    """All of it comes to the server without a tap, each answer once."""
    wait_until(lambda: form_of(platform, dyad)["answers"] == given, seconds=60, what="delivery")
    assert sorted(item for _, item, _ in form_of(platform, dyad)["log"]) == sorted(given)


def offline_at_work(page: Page) -> None:
    """No connection from here on; what shows the page without one is in place."""
    page.wait_for_function("navigator.serviceWorker.ready.then(() => true)")
    page.context.set_offline(True)


@pytest.mark.parametrize("days", [-365, -1, 1, 365])
def test_a_clock_that_is_off_costs_no_answer_and_is_noted(platform: Platform, contexts: Any, days: int) -> None:
    """A day or a year, either way: accepted at once, and how far the clock is off stands with each answer."""
    (visit,) = platform.create_visits(1, "--form", "short")
    # Without a service worker, which could deliver too, and whose clock the test can't set.
    page, given = contexts(service_workers="block"), dict[str, Any]()
    page.clock.install(time=datetime.now(UTC) + timedelta(days=days))
    begin(page, visit["patient_url"])
    give(page, given, 1, 2, 3)
    arrives(platform, visit["dyad"], given)
    for skew in skews(platform, visit["dyad"]):
        assert skew == pytest.approx(-days * DAY, abs=120)


def skews(platform: Platform, dyad: str) -> list[float]:
    """How far the device's clock was behind, by answer."""
    with sqlite3.connect(f"file:{platform.folder}/healing_survey.sqlite3?mode=ro", uri=True) as database:
        rows = database.execute(
            """SELECT event.paradata FROM instruments_answerevent event
               JOIN instruments_administration form ON form.id = event.administration_id
               JOIN studies_visit visit ON visit.id = form.visit_id JOIN studies_dyad dyad ON dyad.id = visit.dyad_id
               WHERE dyad.code = ? AND form.role = 'patient'""",
            [dyad],
        ).fetchall()
    return [json.loads(paradata)["skew"] for (paradata,) in rows]


def test_a_clock_that_is_put_right_meanwhile_costs_no_answer(platform: Platform, contexts: Any) -> None:
    """A year behind while there is no connection; the tablet starts anew with both, and what waited looks old."""
    (visit,) = platform.create_visits(1, "--form", "short")
    page, given = contexts(), dict[str, Any]()
    page.clock.install(time=datetime.now(UTC) - timedelta(days=365))
    begin(page, visit["patient_url"])
    offline_at_work(page)
    give(page, given, 5, 4, 3)
    page.close()
    page.context.set_offline(False)
    page.context.new_page().goto(visit["patient_url"])  # by the right clock
    arrives(platform, visit["dyad"], given)


KEPT_CONNECTION = """
const open = IDBFactory.prototype.open;
IDBFactory.prototype.open = function (...what) {
    const request = open.apply(this, what);
    request.addEventListener("success", () => { window.connection = request.result; });
    return request;
};
"""


def test_a_store_that_the_browser_closes_is_opened_again(platform: Platform, contexts: Any) -> None:
    """The connection ends in the middle of a form, offline: the next answer is kept as those before."""
    (visit,) = platform.create_visits(1, "--form", "short")
    page, given = contexts(), dict[str, Any]()
    page.add_init_script(KEPT_CONNECTION)
    begin(page, visit["patient_url"])
    offline_at_work(page)
    give(page, given, 1, 2)
    for value in (3, 4):
        page.evaluate("window.connection.close()")
        give(page, given, value)
        expect(page.locator(".status")).to_have_attribute("data-state", "offline")
    code = code_of(page)
    page.reload()
    ready(page)
    assert code_of(page) == code
    page.context.set_offline(False)
    arrives(platform, visit["dyad"], given)


def test_a_store_that_is_deleted_takes_the_next_answers(platform: Platform, contexts: Any) -> None:
    """The browser clears everything in the middle of a form: what is given afterwards survives a reload, offline."""
    (visit,) = platform.create_visits(1, "--form", "short")
    page, given = contexts(), dict[str, Any]()
    begin(page, visit["patient_url"])
    give(page, given, 1, 2)
    arrives(platform, visit["dyad"], given)
    offline_at_work(page)
    page.evaluate(
        """() => new Promise((resolve, reject) => {
            const request = indexedDB.deleteDatabase("waiting-answers");
            request.onsuccess = resolve;
            request.onerror = request.onblocked = reject;
        })"""
    )
    give(page, given, 3, 4, 5)
    code = code_of(page)
    page.reload()
    ready(page)
    assert code_of(page) == code
    page.context.set_offline(False)
    arrives(platform, visit["dyad"], given)


@pytest.mark.parametrize("says", ["<html>Please sign in to the clinic's Wi-Fi</html>", '{"status": "sign in"}'])
def test_a_network_that_answers_in_the_servers_place_is_not_believed(
    platform: Platform, contexts: Any, says: str
) -> None:
    """Its sign-in page comes with 200, as HTML or as JSON: nothing counts as sent until the server has it."""
    (visit,) = platform.create_visits(1, "--form", "short")
    proxy = FlakyProxy(platform.port, lost_requests=0, lost_answers=0, seed=1)
    try:
        page, given = contexts(), dict[str, Any]()
        begin(page, visit["patient_url"].replace(platform.base_url, proxy.base_url))
        give(page, given, 1)
        arrives(platform, visit["dyad"], given)
        proxy.says_itself = says
        give(page, given, 2, 3, 4)
        wait_until(lambda: proxy.n_told >= 2, seconds=60, what="two tries")
        expect(page.locator(".status")).to_have_attribute("data-state", "offline", timeout=30_000)
        proxy.says_itself = ""
        arrives(platform, visit["dyad"], given)
    finally:
        proxy.stop()


def test_a_sign_in_page_in_place_of_the_words_is_not_kept(platform: Platform, contexts: Any) -> None:
    """The other language's questions did not come through; later they do."""
    (visit,) = platform.create_visits(1, "--form", "short")
    page = contexts()
    page.route("**/es/*.json", lambda route: route.fulfill(status=200, content_type="text/html", body="<html>"))
    with page.expect_response("**/es/*.json"):
        begin(page, visit["patient_url"])
    page.unroute("**/es/*.json")
    page.wait_for_function("navigator.serviceWorker.ready.then(() => true)")  # comes after the words
    page.get_by_role("button", name="Español").click()
    expect(page.locator("html")).to_have_attribute("lang", "es")
    give(page, {}, 1)


def test_a_link_that_ends_in_the_middle_keeps_what_was_begun(platform: Platform, contexts: Any) -> None:
    """The patient goes on to the end; it is stored and finished. Whoever opens the link later is told kindly."""
    (visit,) = platform.create_visits(1, "--form", "short")
    page, given = contexts(), dict[str, Any]()
    begin(page, visit["patient_url"])
    give(page, given, 1, 2)
    arrives(platform, visit["dyad"], given)
    end_link(platform, visit["dyad"])
    give(page, given, 3, 4)
    arrives(platform, visit["dyad"], given)
    while page.locator("form.question").count():
        go_on(page, "skip")
    finish(page)
    wait_until(lambda: completed(platform, visit["dyad"]), seconds=60, what="the finish")
    answers = form_of(platform, visit["dyad"])["answers"]
    assert {code: answers[code] for code in given} == given


def test_a_link_that_ends_under_plain_forms_says_so(platform: Platform, contexts: Any) -> None:
    """Without scripts there is nothing that waits: what was stored stays, the next page says that the time is over."""
    (visit,) = platform.create_visits(1, "--form", "short")
    page = contexts(java_script_enabled=False)
    page.goto(visit["patient_url"])
    page.locator("main form button.primary").click()
    page.locator("label.option").nth(2).click()
    page.locator("button[value=next]").click()
    expect(page.locator("#progress")).to_contain_text("Question 2 of")
    end_link(platform, visit["dyad"])
    page.locator("label.option").nth(2).click()
    page.locator("button[value=next]").click()
    expect(page.locator("form.question")).to_have_count(0)
    assert list(form_of(platform, visit["dyad"])["answers"].values()) == [3]


def end_link(platform: Platform, dyad: str) -> None:
    """The link's last day was yesterday."""
    yesterday = (datetime.now(UTC) - timedelta(days=1)).strftime("%Y-%m-%d %H:%M:%S")
    with sqlite3.connect(platform.folder / "healing_survey.sqlite3", timeout=20) as database:
        database.execute(
            """UPDATE instruments_administration SET expires_at = ? WHERE visit_id IN (
               SELECT visit.id FROM studies_visit visit JOIN studies_dyad dyad ON dyad.id = visit.dyad_id
               WHERE dyad.code = ?)""",
            [yesterday, dyad],
        )
