"""The patient's pages for eyes, fingers and ears: sizes, contrast, reading aloud, idle tablets, nothing left."""

import os
import re
from contextlib import suppress
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Error as PlaywrightError
from playwright.sync_api import Page, Playwright, expect

from instruments.catalogue.reader import read_instrument
from instruments.definitions import Role
from tests.factories import CATALOGUE_FILE
from tests.platform_processes import Platform
from tests.questionnaire_page import begin, press_start, ready

INSTRUMENT = read_instrument(CATALOGUE_FILE)
DOSE = int(os.environ.get("TEST_DOSE", "1"))
TABLETS = ({"width": 800, "height": 1280}, {"width": 768, "height": 1024})
PHONE = {"width": 390, "height": 844}
AXE = {
    "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
    "rules": {"color-contrast-enhanced": {"enabled": True}, "target-size": {"enabled": True}},
    "resultTypes": ["violations"],
}
#: Numbers of pages that look different: a recall block opening, "does not apply", numbers, choices, boxes.
PAGES = (1, 6, 12, 28, 51, 52, 53, 54, 58, 61, 64)


def faults(page: Page) -> list[str]:
    """What axe finds, targets that are too small, and sideways scrolling."""
    found = [
        f"{violation['id']}: {violation['nodes'][0]['html'][:120]}"
        for violation in Axe().run(page, options=AXE).response["violations"]
    ]
    found += page.evaluate(
        """() => [...document.querySelectorAll("button, a, label.option, input[type=text]")]
            .filter((one) => one.checkVisibility({visibilityProperty: true}) && one.getClientRects().length)
            .filter((one) => one.getBoundingClientRect().height < (one.matches(".option") ? 64 : 47.9))
            .map((one) => "too small: " + one.outerHTML.slice(0, 80))"""
    )
    if page.evaluate("document.documentElement.scrollWidth > window.innerWidth"):
        found.append("scrolls sideways")
    return found


def set_display(page: Page, *, size: int, contrast: bool) -> None:
    """Tap until the page looks like this."""
    for _ in range(3):
        if page.locator("html").get_attribute("class") and f"size-{size}" in str(
            page.locator("html").get_attribute("class")
        ):
            break
        page.locator(".comfort button[value=size]").click()
    if ("contrast" in str(page.locator("html").get_attribute("class"))) != contrast:
        page.locator(".comfort button[value=contrast]").click()


@pytest.mark.parametrize("language", ["en", "es"])
def test_no_page_state_has_a_fault(platform: Platform, contexts: Any, language: str) -> None:
    """axe with enhanced contrast and target size over sizes, themes and kinds of page; 0 violations."""
    (visit,) = platform.create_visits(1)
    page = contexts(locale=language)
    begin(page, visit["patient_url"])
    found: dict[str, list[str]] = {}
    n_states = 0

    def look(state: str) -> None:
        nonlocal n_states
        n_states += 1
        if wrong := faults(page):
            found[state] = wrong

    looks = [(size, contrast) for size in (1, 2, 3) for contrast in (False, True)]
    for size, contrast in looks if DOSE > 1 else ((1, False), (3, True)):
        page.goto(f"{visit['patient_url']}page/1/")
        ready(page)
        set_display(page, size=size, contrast=contrast)
        for number in PAGES if DOSE > 1 else PAGES[::3]:
            page.goto(f"{visit['patient_url']}page/{number}/")
            ready(page)
            look(f"page {number}, size {size}, contrast {contrast}")
            if number in (1, 52):
                page.locator("button[value=next]").click()
                expect(page.locator("#notice")).to_be_visible()
                look(f"page {number} with a notice, size {size}, contrast {contrast}")
        page.goto(f"{visit['patient_url']}review/")
        ready(page)
        look(f"review, size {size}, contrast {contrast}")
        for name, path in (("welcome", visit["patient_url"]), ("paused", f"{platform.base_url}/q/locked/")):
            page.goto(path)
            look(f"{name}, size {size}, contrast {contrast}")
    print(f"{n_states} states")
    assert found == {}


def test_the_check_catches_planted_faults(platform: Platform, contexts: Any) -> None:
    """The control: faint text, a small answer, an unnamed button, a wide box and a lost language are all found."""
    (visit,) = platform.create_visits(1, "--form", "short")
    page = contexts()
    begin(page, visit["patient_url"])
    assert faults(page) == []
    for fault, plant in {
        "color-contrast": "document.querySelector('.statement').style.color = '#8a8a8a'",
        "too small": "document.querySelector('label.option').style.cssText = 'min-height:0;height:50px'",
        "button-name": "document.querySelector('.actions button').textContent = ''",
        "scrolls sideways": "document.querySelector('main').style.minWidth = '3000px'",
        "html-has-lang": "document.documentElement.removeAttribute('lang')",
    }.items():
        page.reload()
        ready(page)
        page.evaluate(plant)
        assert any(fault in one for one in faults(page)), fault


def test_question_answers_and_next_fit_both_tablets(platform: Platform, contexts: Any) -> None:
    """Every item in both languages: statement, answers (≥ 64 px, ≥ 90 % of the column) and Next without scrolling.

    And nothing to scroll sideways where the page is 320 px wide.
    """
    (visit,) = platform.create_visits(1)
    n_items = len(INSTRUMENT.form_items("full"))
    for language in ("en", "es"):
        page = contexts(java_script_enabled=True)
        page.goto(f"{visit['patient_url']}?language={language}")
        ready(page)
        press_start(page)
        for number in range(1, n_items + 1, 1 if DOSE > 1 else 7):
            page.goto(f"{visit['patient_url']}page/{number}/")
            if page.locator("html").get_attribute("lang") != language:
                page.locator(f".languages button[value={language}]").click()
                expect(page.locator("html")).to_have_attribute("lang", language)
            for tablet in TABLETS:
                page.set_viewport_size(tablet)  # type: ignore[arg-type]
                sizes = page.evaluate(
                    """() => [...document.querySelectorAll("label.option, button[value=next]")].map((one) => {
                        const box = one.getBoundingClientRect();
                        return [box.height, box.bottom, box.width / document.querySelector("main form").clientWidth];
                    })"""
                )
                for height, bottom, width in sizes:
                    assert height >= 64, number
                    assert width >= 0.9, number
                    assert bottom <= tablet["height"], (number, language, tablet)
            page.set_viewport_size({"width": 320, "height": 640})
            assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), number


@pytest.mark.parametrize("javascript", [True, False], ids=["with scripts", "without scripts"])
def test_larger_text_and_contrast_end_with_the_questionnaire(
    platform: Platform, contexts: Any, javascript: bool
) -> None:
    """20 px by default, 32 px at the largest; the next patient's link starts as it was."""
    first, second = platform.create_visits(2, "--form", "short")
    page = contexts(java_script_enabled=javascript)
    page.goto(first["patient_url"])
    if javascript:
        ready(page)
    assert _text_pixels(page) == 20
    for size, expected in ((2, 26), (3, 32)):
        page.locator(".comfort button[value=size]").click()
        expect(page.locator("html")).to_have_class(re.compile(f"size-{size}"))
        assert _text_pixels(page) == expected
    page.locator(".comfort button[value=contrast]").click()
    press_start(page)
    assert _text_pixels(page) == 32
    expect(page.locator("html")).to_have_class(re.compile("contrast"))
    page.goto(second["patient_url"])
    assert _text_pixels(page) == 20
    expect(page.locator("html")).not_to_have_class(re.compile("contrast"))


def _text_pixels(page: Page) -> float:
    return float(page.locator("html").evaluate("html => parseFloat(getComputedStyle(html).fontSize)"))


FAKE_VOICE = """
window.spoken = [];
const voice = {
  getVoices: () => [{lang: "es-US", localService: true, name: "Ana"}, {lang: "en-US", localService: true, name: "Al"}],
  speak: (utterance) => window.spoken.push([utterance.lang, utterance.text, utterance.voice?.name]),
  cancel: () => window.spoken.push(["cancel"]),
};
Object.defineProperty(window, "speechSynthesis", {value: voice});
window.SpeechSynthesisUtterance = class { constructor(text) { this.text = text; } };
"""


def test_reading_aloud_on_a_tap_only(platform: Platform, contexts: Any) -> None:
    """The statement, every answer and every button, in the language shown, offline too; never by itself."""
    (visit,) = platform.create_visits(1, "--form", "short")
    page = contexts()
    page.add_init_script(FAKE_VOICE)
    begin(page, visit["patient_url"])
    page.wait_for_timeout(300)
    assert [one for one in page.evaluate("window.spoken") if one != ["cancel"]] == []
    page.context.set_offline(True)
    item = INSTRUMENT.form_items("short")[0]
    for language, name, last in (("en", "Al", "I’d rather skip"), ("es", "Ana", "Prefiero saltarla")):
        page.locator(f".languages button[value={language}]").click()
        expect(page.locator("html")).to_have_attribute("lang", language)
        page.evaluate("window.spoken.length = 0")
        page.locator(".aloud").click()
        spoken = page.evaluate("window.spoken")
        words = [one[1] for one in spoken]
        assert item.text[Role.PATIENT][language] in words
        assert [option.label[Role.PATIENT][language] for option in INSTRUMENT.scale] == words[-8:-3]
        assert words[-1] == last
        assert {(one[0][:2], one[2]) for one in spoken} == {(language, name)}
        page.locator(".aloud").click()
        assert page.evaluate("window.spoken").pop() == ["cancel"]
    page.context.set_offline(False)


def test_an_abandoned_tablet_asks_hides_and_pauses(platform: Platform, contexts: Any) -> None:
    """A minute's warning with the answers hidden; staying goes on; later only the link brings the same item back."""
    (visit,) = platform.create_visits(1, "--form", "short")
    page = contexts()
    page.clock.install()
    begin(page, visit["patient_url"])
    page.locator("label.option").first.click()
    page.clock.fast_forward(185_000)
    dialog = page.get_by_role("dialog", name="Are you still there?")
    expect(dialog).to_be_visible()
    expect(dialog).to_contain_text(re.compile(r"in \d\d seconds"))
    assert page.locator("main").evaluate("one => getComputedStyle(one).visibility") == "hidden"
    assert faults(page) == []
    page.get_by_role("button", name="I am still here").click()
    expect(dialog).to_have_count(0)
    page.locator("button[value=next]").click()
    expect(page.locator("#progress")).to_contain_text("Question 2 of")
    page.clock.fast_forward(185_000)
    expect(dialog).to_be_visible()
    page.clock.fast_forward(61_000)
    expect(page.get_by_role("heading", name="This survey is paused")).to_be_visible()
    token = visit["patient_url"].rstrip("/").rpartition("/")[2]
    assert token not in page.url
    page.go_back()
    assert page.locator("form.question").count() == 0
    page.goto(visit["patient_url"])
    page.get_by_role("button", name="Continue").click()
    expect(page.locator("#progress")).to_contain_text("Question 2 of")


def test_back_forward_and_storages_show_the_next_patient_nothing(
    platform: Platform, playwright: Playwright, browser_path: str
) -> None:
    """The browser keeps pages for Back; after the finish its steps, a reload and all storages show nothing."""
    (visit,) = platform.create_visits(1, "--form", "short")
    browser = playwright.chromium.launch(
        executable_path=browser_path,
        args=["--no-sandbox"] if os.geteuid() == 0 else [],
        ignore_default_args=["--disable-back-forward-cache"],
    )
    context = browser.new_context(viewport=TABLETS[0], locale="en-US")  # type: ignore[arg-type]
    page = context.new_page()
    page.goto(f"{platform.base_url}/login/")
    begin(page, visit["patient_url"])
    for _ in range(4):
        before = page.url
        page.locator("label.option").nth(4).click()
        page.locator("button[value=next]").click()
        expect(page).not_to_have_url(before)
    page.goto(f"{visit['patient_url']}review/")
    ready(page)
    page.get_by_role("button", name="Finish").first.click()
    expect(page.get_by_text("Your answers are stored")).to_be_visible()
    item = INSTRUMENT.form_items("short")[0].text[Role.PATIENT]["en"]
    seen = []
    for step in range(60 if DOSE > 1 else 20):
        with suppress(PlaywrightError):  # the page is just being left
            page.evaluate("history.back()" if step % 4 else "history.forward()")
        page.wait_for_timeout(50)
        seen.append(content(page))
    page.reload()
    seen.append(content(page))
    for html in seen:
        assert "checked" not in html
        assert item not in html
    page.goto(f"{platform.base_url}/q/locked/")
    storages = page.evaluate(
        """async () => {
            const rows = await new Promise((resolve) => {
                const opening = indexedDB.open("waiting-answers", 1);
                opening.onsuccess = () => {
                    const all = opening.result.transaction(["answers", "forms"]).objectStore("forms").getAll();
                    all.onsuccess = () => resolve(all.result.length);
                };
            });
            const cached = [];
            for (const name of await caches.keys())
                for (const request of await (await caches.open(name)).keys()) cached.push(request.url);
            return {rows, cached, local: Object.keys(localStorage), session: Object.keys(sessionStorage)};
        }"""
    )
    assert storages["rows"] == 0
    assert storages["local"] == storages["session"] == []
    token = visit["patient_url"].rstrip("/").rpartition("/")[2]
    assert not any(token in address for address in storages["cached"])
    browser.close()


def content(page: Page) -> str:
    """What the page holds, as soon as it stands still."""
    for _ in range(100):
        try:
            return page.content()
        except PlaywrightError:
            page.wait_for_timeout(50)
    raise AssertionError("The page never stands still.")


def test_the_first_page_is_light(platform: Platform, contexts: Any) -> None:
    """Cold: at most 45 KB and 6 requests until the first question can be answered, all from this host, no web font."""
    (visit,) = platform.create_visits(1)
    page = contexts()
    cdp = page.context.new_cdp_session(page)
    cdp.send("Network.enable")
    sizes: dict[str, float] = {}
    addresses: dict[str, str] = {}
    cdp.on("Network.requestWillBeSent", lambda e: addresses.__setitem__(e["requestId"], e["request"]["url"]))
    cdp.on("Network.loadingFinished", lambda e: sizes.__setitem__(e["requestId"], e["encodedDataLength"]))
    page.goto(visit["patient_url"])
    ready(page)
    first = {request: size for request, size in sizes.items() if not addresses[request].startswith("data:")}
    assert all(addresses[request].startswith(platform.base_url) for request in first)
    # The other language and the service worker's files come afterwards, when there is time.
    needed = [request for request in first if "/es/" not in addresses[request]]
    print(f"{len(needed)} requests, {sum(first[request] for request in needed) / 1024:.1f} KB")
    assert len(needed) <= 6
    assert sum(first[request] for request in needed) <= 45 * 1024


def test_the_next_question_is_painted_at_once(platform: Platform, contexts: Any) -> None:
    """On a tablet six times slower than this machine, offline too: 95 % of taps on Next paint within 100 ms; CLS 0."""
    (visit,) = platform.create_visits(1)
    page = contexts()
    cdp = page.context.new_cdp_session(page)
    begin(page, visit["patient_url"])
    page.wait_for_function("() => navigator.serviceWorker.ready.then(() => true)")
    cdp.send("Emulation.setCPUThrottlingRate", {"rate": 6})
    page.evaluate(
        """() => {
            window.shift = 0;
            const add = (one) => { if (!one.hadRecentInput) window.shift += one.value; };
            const watch = new PerformanceObserver((list) => list.getEntries().forEach(add));
            watch.observe({type: "layout-shift", buffered: true});
        }"""
    )
    waits = []
    n_taps = 30 if DOSE > 1 else 10
    for number in range(n_taps):
        if number == n_taps // 2:
            page.context.set_offline(True)
        page.locator("label.option").nth(number % 5).click()
        page.wait_for_timeout(250)
        waits.append(
            page.evaluate(
                """() => new Promise((resolve) => {
                    const before = document.querySelector("form.question fieldset").dataset.code;
                    const start = performance.now();
                    new MutationObserver((_, observer) => {
                        if (document.querySelector("form.question fieldset")?.dataset.code === before) return;
                        observer.disconnect();
                        requestAnimationFrame(() => setTimeout(() => resolve(performance.now() - start), 0));
                    }).observe(document.querySelector("main"), {childList: true});
                    document.querySelector("button[value=next]").click();
                })"""
            )
        )
    page.context.set_offline(False)
    waits.sort()
    p95 = waits[int(0.95 * len(waits))]
    print(f"Next to the next question: median {waits[len(waits) // 2]:.0f} ms, 95 % {p95:.0f} ms")
    assert page.evaluate("window.shift") == 0
    # On a machine that other tests share a time says nothing: the bar is held by `make test-long`.
    assert DOSE == 1 or p95 <= 100
