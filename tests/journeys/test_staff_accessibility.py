"""Every staff page: no fault that axe can find, and nothing to scroll sideways, on a desk and on a phone."""

import re
from collections.abc import Callable, Iterator

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page

from tests.platform_processes import Platform

OpenPage = Callable[[str | None, str], Page]

SIZES = {"desk": {"width": 1280, "height": 800}, "phone": {"width": 390, "height": 844}}
#: Pages whose tables fit every screen. (A matrix of loadings may be pushed sideways inside its frame.)
FITTING = {
    "auditor": ["/studies/DEMO/", "/studies/DEMO/audit/"],
    "coordinator": ["/studies/DEMO/participation/"],
    "researcher": ["/studies/DEMO/dyads/", "/studies/DEMO/dyads/?sort=-clinician_competence"],
}
#: Role (None: signed out) -> the pages that it sees.
PAGES: dict[str | None, list[str]] = {
    None: ["/", "/login/", "/nothing/here/"],
    "admin": [
        "/",
        "/studies/DEMO/",
        "/studies/DEMO/settings/",
        "/studies/DEMO/consent/",
        "/studies/DEMO/consent/en/",
        "/studies/DEMO/plan/",
        "/studies/DEMO/plan/edit/",
        "/studies/DEMO/sites/new/",
        "/studies/DEMO/clinicians/new/",
        "/studies/DEMO/waves/new/",
        "/studies/DEMO/members/new/",
        "/studies/DEMO/invitations/new/",
        "/studies/DEMO/open/",
        "/studies/DEMO/sites/1/",
        "/studies/DEMO/clinicians/1/",
        "/studies/DEMO/waves/1/",
        "/studies/DEMO/import/",
    ],
    "coordinator": [
        "/studies/DEMO/day/",
        "/studies/DEMO/visits/",
        "/studies/DEMO/visits/?show=owing",
        "/studies/DEMO/visits/new/",
        "/studies/DEMO/visits/list/",
        "/studies/DEMO/tablets/",
        "/studies/DEMO/tablets/new/",
        "/studies/DEMO/participation/",
        "/studies/DEMO/participation/new/",
        "/studies/DEMO/paper/",
        "/second-factor/setup/",
    ],
    "clinician": ["/studies/DEMO/rate/", "/studies/DEMO/"],
    "auditor": ["/studies/DEMO/", "/studies/DEMO/audit/", "/studies/DEMO/audit/?holds=nothing"],
    "researcher": [
        "/studies/DEMO/dyads/",
        "/studies/DEMO/dyads/?flagged=yes&sort=-patient_valuing",
        "/studies/DEMO/dyads/?search=nobody",
        "/studies/DEMO/analyses/",
        "/studies/DEMO/analyses/new/",
        "/studies/DEMO/analyses/1/",
    ],
}


def sign_in(page: Page, platform: Platform, role: str) -> None:
    person = next(one for one in platform.demo["staff"] if one["role"] == role)
    page.goto(f"{platform.base_url}/login/")
    page.fill("input[name=username]", person["username"])
    page.fill("input[name=password]", person["password"])
    page.press("input[name=password]", "Enter")
    page.wait_for_url(lambda url: "/login/" not in url)


@pytest.fixture
def page_of(browser: Browser, platform: Platform) -> Iterator[OpenPage]:
    """Opens a page as somebody, in a language."""
    contexts = []

    def open_page(role: str | None, language: str) -> Page:
        context = browser.new_context(locale=language)
        contexts.append(context)
        page = context.new_page()
        if role is not None:
            sign_in(page, platform, role)
        context.add_cookies([{"name": "django_language", "value": language, "url": platform.base_url}])
        return page

    yield open_page
    for context in contexts:
        context.close()


def faults(page: Page) -> list[str]:
    """What axe finds, and sideways scrolling."""
    found = [
        f"{violation['id']}: {violation['nodes'][0]['html'][:120]}"
        for violation in Axe().run(page).response["violations"]
    ]
    return found + sideways(page)


def sideways(page: Page) -> list[str]:
    return ["scrolls sideways"] if page.evaluate("document.documentElement.scrollWidth > window.innerWidth") else []


@pytest.mark.parametrize("language", ["en", "es"])
@pytest.mark.parametrize("role", PAGES, ids=str)
def test_staff_pages_have_no_faults(platform: Platform, page_of: OpenPage, role: str | None, language: str) -> None:
    """Each page of each role, both languages, both sizes."""
    page = page_of(role, language)
    found = {}
    for path in PAGES[role]:
        page.goto(platform.base_url + path)
        assert page.locator("html").get_attribute("lang") == language
        for size, viewport in SIZES.items():
            page.set_viewport_size(viewport)
            # What axe finds depends on the words only where they have little room.
            wrong = faults(page) if (size, language) != ("desk", "es") else sideways(page)
            if wrong:
                found[f"{path} on a {size}"] = wrong
    assert found == {}


@pytest.mark.parametrize("role", FITTING)
def test_tables_fit_their_screen(platform: Platform, page_of: OpenPage, role: str) -> None:
    """Nothing is pushed sideways, neither the page nor a table in it, in Spanish, whose words are longer."""
    page = page_of(role, "es")
    too_wide = "[...document.querySelectorAll('.table-scroll')].some(table => table.scrollWidth > table.clientWidth)"
    found = []
    for path in FITTING[role]:
        page.goto(platform.base_url + path)
        for width in (1280, 1024, 390):
            page.set_viewport_size({"width": width, "height": 800})
            if sideways(page) or page.evaluate(too_wide):
                found.append(f"{path} at {width}")
    assert found == []
    page.set_viewport_size({"width": 700, "height": 800})
    # Through the object model: the page's policy refuses a style that is written into it.
    page.evaluate("for (const cell of document.querySelectorAll('.table-scroll td')) cell.style.minWidth = '60rem'")
    assert page.evaluate(too_wide)  # the control


def test_one_dyads_page_and_the_links_of_a_visit_have_no_faults(platform: Platform, page_of: OpenPage) -> None:
    """The pages whose address is only known on the way: a dyad, links, a tablet, and what confirms."""
    researcher = page_of("researcher", "en")
    researcher.goto(f"{platform.base_url}/studies/DEMO/dyads/?complete=yes")
    researcher.locator("table tbody a").first.click()
    researcher.wait_for_url(re.compile(r"/dyads/.+/baseline/"))
    coordinator = page_of("coordinator", "en")
    coordinator.goto(f"{platform.base_url}/studies/DEMO/visits/new/")
    coordinator.locator("select[name=clinician]").select_option(index=1)
    coordinator.locator("input[name=save]").click()
    coordinator.get_by_text("Shown only now").wait_for()
    links = faults(coordinator)
    coordinator.goto(f"{platform.base_url}/studies/DEMO/visits/?show=owing")
    coordinator.get_by_role("link", name="New link").first.click()
    confirm = faults(coordinator)
    coordinator.goto(f"{platform.base_url}/studies/DEMO/tablets/new/")
    coordinator.fill("input[name=name]", "Tablet to look at")
    coordinator.fill("input[name=pin]", "2580")
    coordinator.locator("input[name=save]").click()
    coordinator.get_by_role("link", name="Enrol this device").wait_for()
    offer = faults(coordinator)
    coordinator.get_by_role("link", name="Back to the tablets").click()
    coordinator.get_by_role("link", name="Take out of use Tablet to look at").click()
    revoke = faults(coordinator)
    coordinator.goto(f"{platform.base_url}/studies/DEMO/visits/?show=owing")
    coordinator.get_by_role("link", name="Hand over").first.click()
    found = {
        "dyad": faults(researcher),
        "links": links,
        "confirm": confirm,
        "offer": offer,
        "revoke": revoke,
        "hand over": faults(coordinator),
    }
    assert {name: wrong for name, wrong in found.items() if wrong} == {}


def test_the_check_finds_planted_faults(platform: Platform, page_of: OpenPage) -> None:
    """A picture without words, a field without a label and a page too wide are caught: the control."""
    page = page_of(None, "en")
    page.goto(f"{platform.base_url}/login/")
    page.evaluate(
        """document.querySelector("main").insertAdjacentHTML(
        "beforeend", '<img src="/x.png" width="3000" height="9"><input type="text">')"""
    )
    names = {fault.split(":")[0] for fault in faults(page)}
    assert {"image-alt", "label", "scrolls sideways"} <= names
