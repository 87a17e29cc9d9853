"""Answers given on a tablet are never lost and never stored twice: flaky Wi-Fi, kills, two tabs, full disks."""

import os
import random
import re
import signal
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Error as PlaywrightError
from playwright.sync_api import Page, Playwright, expect

from instruments.catalogue.reader import read_instrument
from tests.factories import CATALOGUE_FILE
from tests.flaky_proxy import FlakyProxy
from tests.platform_processes import Platform, wait_until
from tests.questionnaire_page import (
    TABLET,
    answer_all,
    as_stored,
    begin,
    code_of,
    completed,
    finish,
    form_of,
    press_start,
    ready,
    stored_answers,
)

INSTRUMENT = read_instrument(CATALOGUE_FILE)
#: How many forms, kills and replays: a small dose in `make test`, a large one in `make test-long`.
DOSE = int(os.environ.get("TEST_DOSE", "1"))


def test_offline_from_the_first_item_to_the_finish_and_a_reload(platform: Platform, contexts: Any) -> None:
    """Online again, everything is delivered within 15 seconds without a tap."""
    (visit,) = platform.create_visits(1)
    page, rng, given = contexts(), random.Random(10), dict[str, Any]()
    begin(page, visit["patient_url"])
    page.wait_for_function("navigator.serviceWorker.ready.then(() => true)")
    answer_all(page, rng, given, until=1)
    expect(page.locator(".status")).to_have_text("Sent")
    page.context.set_offline(True)
    answer_all(page, rng, given)
    assert len(form_of(platform, visit["dyad"])["log"]) <= 1
    finish(page)
    expect(page.get_by_text("your answers wait here")).to_be_visible()
    page.reload()
    expect(page.get_by_text("your answers wait here")).to_be_visible()
    assert page.get_by_text("Synthetic data").is_visible()
    page.context.set_offline(False)
    seconds = wait_until(lambda: completed(platform, visit["dyad"]), seconds=15, what="delivery without a tap")
    assert seconds <= 15
    assert len(given) >= 50
    assert stored_answers(platform, visit["dyad"]) == given
    expect(page.get_by_text("Your answers are stored")).to_be_visible()
    assert left_behind(page) == {"answers": 0, "forms": 0}


def left_behind(page: Page) -> dict[str, int]:
    """How many records the browser still keeps."""
    counts: dict[str, int] = page.evaluate(
        """() => new Promise((resolve, reject) => {
            const opening = indexedDB.open("waiting-answers", 1);
            opening.onerror = () => reject(opening.error);
            opening.onsuccess = async () => {
                const count = (name) => new Promise((done) => {
                    const request = opening.result.transaction(name).objectStore(name).count();
                    request.onsuccess = () => done(request.result);
                });
                resolve({answers: await count("answers"), forms: await count("forms")});
                opening.result.close();
            };
        })"""
    )
    return counts


def test_a_reload_in_the_middle_goes_on_at_the_same_item(platform: Platform, contexts: Any) -> None:
    """Offline or online, with answers waiting: nothing lost, the same question, what was chosen is ticked again."""
    (visit,) = platform.create_visits(1, "--form", "short")
    page, rng, given = contexts(), random.Random(11), dict[str, Any]()
    begin(page, visit["patient_url"])
    page.wait_for_function("navigator.serviceWorker.ready.then(() => true)")
    answer_all(page, rng, given, until=3)
    page.context.set_offline(True)
    answer_all(page, rng, given, until=8)
    code = code_of(page)
    page.reload()
    expect(page.locator("form.question fieldset")).to_have_attribute("data-code", code)
    page.locator("button[value=back]").click()
    before = list(given)[-1]
    expect(page.locator("form.question fieldset")).to_have_attribute("data-code", before)
    if given[before] != "SKIPPED":
        assert page.locator("form.question input:checked").get_attribute("value") == str(given[before])
    page.context.set_offline(False)
    wait_until(lambda: stored_answers(platform, visit["dyad"]) == given, seconds=60, what="delivery")
    page.reload()
    ready(page)
    expect(page.locator("form.question fieldset")).to_have_attribute("data-code", before)


def test_flaky_wifi_loses_and_doubles_nothing(platform: Platform, contexts: Any) -> None:
    """30 % of requests and 10 % of acknowledgements vanish, with outages; every answer is stored right, once."""
    visits = platform.create_visits(2 if DOSE == 1 else 3 * DOSE, "--form", "full" if DOSE > 1 else "short")
    proxy = FlakyProxy(platform.port, lost_requests=0.3, lost_answers=0.1, seed=9)
    n_answers = 0
    try:
        for number, visit in enumerate(visits):
            page, rng, given = contexts(), random.Random(number), dict[str, Any]()
            open_through(page, visit["patient_url"].replace(platform.base_url, proxy.base_url))
            press_start(page)
            answer_all(page, rng, given, until=10)
            proxy.is_down = True
            answer_all(page, rng, given, until=15)
            proxy.is_down = False
            answer_all(page, rng, given)
            finish(page)
            wait_until(lambda dyad=visit["dyad"]: completed(platform, dyad), seconds=120, what="delivery")  # type: ignore[misc]
            assert differences(platform, visit["dyad"], given) == []
            n_answers += len(given)
            page.context.close()
    finally:
        proxy.stop()
    assert proxy.n_dropped > len(visits) * 5
    print(f"{n_answers} answers right, {proxy.n_dropped} requests or acknowledgements lost")


def differences(platform: Platform, dyad: str, given: dict[str, Any]) -> list[str]:
    """What was given and is stored otherwise or not at all; what was delivered under two numbers."""
    stored = stored_answers(platform, dyad)
    logged = Counter(item for _, item, _ in form_of(platform, dyad)["log"])
    found = [f"lost {code}" for code in given if code not in stored]
    found += [f"changed {code}" for code in given if code in stored and stored[code] != given[code]]
    return found + [f"doubled {code}" for code, n in logged.items() if n > 1]


@pytest.mark.parametrize(("fault", "finding"), [("acknowledges_unstored", "lost"), ("numbers_anew", "doubled")])
def test_the_comparison_finds_a_careless_server(platform: Platform, contexts: Any, fault: str, finding: str) -> None:
    """The control: one that acknowledges before it has stored loses answers, one that knows no numbers doubles them."""
    (visit,) = platform.create_visits(1, "--form", "short")
    proxy = FlakyProxy(platform.port, lost_requests=0.3, lost_answers=0.3, seed=9)
    setattr(proxy, fault, True)
    try:
        page, rng, given = contexts(), random.Random(1), dict[str, Any]()
        open_through(page, visit["patient_url"].replace(platform.base_url, proxy.base_url))
        press_start(page)
        answer_all(page, rng, given, until=20)
        expect(page.locator(".status")).to_have_attribute("data-state", "sent", timeout=60_000)
        assert finding in {one.split()[0] for one in differences(platform, visit["dyad"], given)}
    finally:
        proxy.stop()


def open_through(page: Page, url: str) -> None:
    """Keep trying, as a person would, until the page and its scripts are there."""
    for _ in range(60):
        try:
            page.goto(url)
            expect(page.locator("body")).to_have_attribute("data-keeping", "here", timeout=3000)
        except (PlaywrightError, AssertionError):  # a lost page, script or style: reload
            time.sleep(0.1)
        else:
            return
    raise AssertionError("The page never came through.")


def test_a_killed_browser_loses_nothing_that_was_called_saved(
    platform: Platform, playwright: Playwright, browser_path: str, tmp_path: Path
) -> None:
    """SIGKILL in the middle, offline; the next start of the browser delivers all that the page had called saved."""
    n_kills, n_forms = (2, 1) if DOSE == 1 else (10, -(-DOSE // 5))
    n_answers = 0
    for number, visit in enumerate(platform.create_visits(n_forms, "--form", "short" if DOSE == 1 else "full")):
        browser = Browser(playwright, browser_path, tmp_path / f"profile {number}")
        given = answer_between_kills(browser, visit["patient_url"], n_kills=n_kills, rng=random.Random(number))
        page = browser.start()
        page.goto(visit["patient_url"])
        wait_until(
            lambda dyad=visit["dyad"], given=given: differences(platform, dyad, given) == [],  # type: ignore[misc]
            seconds=60,
            what="delivery after the kills",
        )
        page.context.close()
        n_answers += len(given)
    print(f"{n_forms * n_kills} kills, {n_answers} answers, none lost")


def test_the_kill_finds_a_queue_in_memory(
    platform: Platform, playwright: Playwright, browser_path: str, tmp_path: Path
) -> None:
    """The control: where the page calls saved what is not on the disk, the kill loses it, and that is seen."""
    (visit,) = platform.create_visits(1, "--form", "short")
    browser = Browser(playwright, browser_path, tmp_path / "profile", script=IN_MEMORY)
    given = answer_between_kills(browser, visit["patient_url"], n_kills=1, rng=random.Random(1))
    page = Browser(playwright, browser_path, tmp_path / "profile").start()
    begin(page, visit["patient_url"])
    code = code_of(page)
    page.locator("form.question label.option").first.click()
    wait_until(lambda: code in stored_answers(platform, visit["dyad"]), seconds=60, what="the next delivery")
    page.context.close()
    assert any(one.startswith("lost") for one in differences(platform, visit["dyad"], given))


#: Answers are "stored", in a list of the page.
IN_MEMORY = """
const add = IDBObjectStore.prototype.add;
window.memory = [];
IDBObjectStore.prototype.add = function (value) {
    if (this.name !== "answers") return add.call(this, value);
    window.memory.push(value);
    return this.count();
};
"""


@dataclass(frozen=True, slots=True)
class Browser:
    """A browser that keeps its profile over its end, however that comes."""

    playwright: Playwright
    path: str
    profile: Path
    script: str = ""  # runs before those of each page

    def start(self) -> Page:
        context = self.playwright.chromium.launch_persistent_context(
            self.profile,
            executable_path=self.path,
            args=["--no-sandbox"] if os.geteuid() == 0 else [],
            viewport=TABLET,  # type: ignore[arg-type]
            locale="en-US",
        )
        if self.script:
            context.add_init_script(self.script)
        return context.pages[0]


def answer_between_kills(browser: Browser, url: str, *, n_kills: int, rng: random.Random) -> dict[str, Any]:
    """Answer offline, kill, start again, and so on; everything that the page called saved before it was killed."""
    given: dict[str, Any] = {}
    for _ in range(n_kills):
        page = browser.start()
        page.goto(url)
        ready(page)
        if page.locator("form.question").count() == 0:
            press_start(page)
        page.wait_for_function("navigator.serviceWorker.ready.then(() => true)")
        page.context.set_offline(True)
        answer_all(page, rng, given, until=len(given) + 4)
        code = code_of(page)
        page.locator("form.question label.option").first.click()
        expect(page.locator(".status")).to_have_attribute("data-state", re.compile("saved|offline|sent"))
        given[code] = as_stored(page.locator("form.question input:checked").get_attribute("value") or "")
        kill_browser(browser.profile)
    return given


def kill_browser(profile: Path) -> None:
    """SIGKILL to the browser of this profile, all of its processes."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if str(profile).encode() in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
        except OSError:
            continue
    assert found
    for pid in found:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    lock = profile / "SingletonLock"
    lock.unlink(missing_ok=True)


def test_two_tabs_with_the_same_link_lose_nothing(platform: Platform, contexts: Any) -> None:
    """Both answer; every answer of both is in the log, the later one of an item counts, and nobody is stuck."""
    (visit,) = platform.create_visits(1, "--form", "short")
    first = contexts()
    second = first.context.new_page()
    third = contexts()  # another tablet
    begin(first, visit["patient_url"])
    for page in (second, third):
        begin(page, visit["patient_url"])
    for value, page in ((1, first), (2, second), (3, third)):
        for number in (1, 2, 3):
            expect(page.locator("#progress")).to_contain_text(f"Question {number} of")
            page.locator(f"label.option:has(input[value='{value}'])").click()
            page.locator("button[value=next]").click()
            expect(page.locator("#progress")).to_contain_text(f"Question {number + 1} of")
        wait_until(
            lambda n=value: len(form_of(platform, visit["dyad"])["log"]) == 3 * n,  # type: ignore[misc]
            seconds=60,
            what=f"delivery of the answers of tab {value}",
        )
    items = [item.code for item in INSTRUMENT.form_items("short")[:3]]
    assert [form_of(platform, visit["dyad"])["answers"][code] for code in items] == [3, 3, 3]


@pytest.mark.parametrize(
    "broken",
    [
        "Object.defineProperty(window, 'indexedDB', {get() { throw new Error('denied'); }});",
        "IDBFactory.prototype.open = () => { throw new DOMException('denied', 'SecurityError'); };",
        "Object.defineProperty(crypto, 'subtle', {value: undefined});",
    ],
    ids=["no store", "store denied", "no cryptography"],
)
def test_without_a_store_each_answer_goes_straight_to_the_server(
    platform: Platform, contexts: Any, broken: str
) -> None:
    """Storage denied: the plain forms do all the work, and the page says so."""
    (visit,) = platform.create_visits(1, "--form", "short")
    page = contexts()
    page.add_init_script(broken)
    page.goto(visit["patient_url"])
    expect(page.locator("body")).to_have_attribute("data-keeping", "denied")
    press_start(page)
    expect(page.locator(".status")).to_have_text(
        "This browser can’t keep answers. Each one goes straight to the study."
    )
    for number in (1, 2):
        page.locator("label.option").nth(number).click()
        wait_until(
            lambda n=number: len(form_of(platform, visit["dyad"])["log"]) == n,  # type: ignore[misc]
            seconds=10,
            what="storing at once",
        )
        page.locator("button[value=next]").click()
        page.wait_for_url(f"**/page/{number + 1}/")


def test_a_store_that_fails_in_the_middle_hands_over_to_the_plain_forms(platform: Platform, contexts: Any) -> None:
    """The disk fills up after three answers: the rest goes by the buttons, and nothing is missing."""
    (visit,) = platform.create_visits(1, "--form", "short")
    page, rng, given = contexts(), random.Random(13), dict[str, Any]()
    begin(page, visit["patient_url"])
    answer_all(page, rng, given, until=3)
    page.evaluate(
        """() => { IDBObjectStore.prototype.add = () => { throw new DOMException("full", "QuotaExceededError"); }; }"""
    )
    page.locator("label.option").nth(1).click()
    expect(page.locator(".status")).to_have_attribute("data-state", "direct")
    code = code_of(page)
    page.locator("button[value=next]").click()
    expect(page.locator("form.question fieldset")).not_to_have_attribute("data-code", code)
    wait_until(
        lambda: stored_answers(platform, visit["dyad"]) == {**given, code: 2}, seconds=10, what="storing by the form"
    )


def test_a_double_tap_passes_nothing_unseen_and_changes_no_answer(platform: Platform, contexts: Any) -> None:
    """Double clicks and double taps on Start, answers, Next and Skip: one step each, the answer that was meant."""
    n_taps = 0
    while n_taps < (15 if DOSE == 1 else 20 * DOSE):
        (visit,) = platform.create_visits(1, "--form", "short" if DOSE == 1 else "full")
        n_taps += double_taps_through(platform, contexts(has_touch=True), visit)
    print(f"{n_taps} double taps")


def double_taps_through(platform: Platform, page: Page, visit: dict[str, str]) -> int:
    """Some items of a form by double taps and double clicks; how many there were."""
    page.goto(visit["patient_url"])
    ready(page)
    page.locator("main form button.primary").dblclick()
    n_taps, expected = 1, dict[str, Any]()
    for number, item in enumerate(INSTRUMENT.form_items(visit["form"])[: 10 if DOSE == 1 else 50], start=1):
        expect(page.locator("#progress")).to_contain_text(f"Question {number} of")
        assert page.locator("form.question input:checked").count() == 0
        # A person reads first: a tap that comes sooner at the same place is taken for the second of a double tap.
        page.wait_for_timeout(450)
        doubled = _double_tap if number % 2 else _double_click
        if number % 3 == 0:
            doubled(page, "button[value=skip]")
            expected[item.code] = "SKIPPED"
            n_taps += 1
            continue
        value = number % 5 + 1
        doubled(page, f"label.option:has(input[value='{value}'])")
        doubled(page, "button[value=next]")
        expected[item.code] = value
        n_taps += 2
    expect(page.locator("#progress")).to_contain_text(f"Question {len(expected) + 1} of")
    expect(page.locator("#notice")).to_have_count(0)
    wait_until(lambda: stored_answers(platform, visit["dyad"]) == expected, seconds=60, what="delivery")
    page.context.close()
    return n_taps


def _double_tap(page: Page, target: str) -> None:
    box = page.locator(target).bounding_box()
    assert box is not None
    for _ in range(2):
        page.touchscreen.tap(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        page.wait_for_timeout(60)


def _double_click(page: Page, target: str) -> None:
    box = page.locator(target).bounding_box()
    assert box is not None
    page.mouse.dblclick(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2, delay=20)
