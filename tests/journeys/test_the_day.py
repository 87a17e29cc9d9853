"""The front desk's day in a real browser: it follows the tablets by itself and takes nobody's place away."""

from playwright.sync_api import Browser, expect

from tests.journeys.test_staff_accessibility import sign_in
from tests.platform_processes import Platform, wait_until

LOOK_NOW = "document.dispatchEvent(new Event('visibilitychange'))"  # what coming back to the page does


def test_the_day_follows_the_tablets_and_keeps_the_focus(browser: Browser, platform: Platform) -> None:
    """A patient starts on another device: that row changes, and what has the focus keeps it, in whichever row it is."""
    starts, waits = platform.create_visits(2)
    desk = browser.new_context(locale="en-US").new_page()
    sign_in(desk, platform, "admin")
    desk.goto(f"{platform.base_url}/studies/DEMO/day/")
    own, other = (desk.locator("li.day-row", has_text=one["dyad"]) for one in (starts, waits))
    expect(own.locator(".tag")).to_have_text("not yet")
    button = other.get_by_role("link", name="Hand over")
    button.focus()
    desk.evaluate("document.activeElement.dataset.same = 'yes'")

    tablet = browser.new_context(locale="en-US").new_page()
    tablet.goto(starts["patient_url"])
    tablet.locator("main form button").click()
    tablet.wait_for_url("**/page/**")

    def has_begun() -> bool:  # the tablet's script tells the server in its own time
        desk.evaluate(LOOK_NOW)
        return own.locator(".tag").inner_text() == "answering"

    wait_until(has_begun, seconds=30, what="the row that follows the tablet")
    expect(button).to_be_focused()
    assert desk.evaluate("document.activeElement.dataset.same") == "yes"  # not even made anew

    own.get_by_role("link", name="Hand over").focus()
    tablet.goto(starts["patient_url"])
    desk.evaluate("document.activeElement.closest('li').dataset.version = 'older'")
    desk.evaluate(LOOK_NOW)
    expect(own).not_to_have_attribute("data-version", "older")
    expect(own.get_by_role("link", name="Hand over")).to_be_focused()
    for page in (desk, tablet):
        page.context.close()
