"""A whole questionnaire with the keyboard alone, with and without scripts; and random ways through it, told apart."""

import os
import random
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from instruments.catalogue.reader import read_instrument
from instruments.definitions import Absence, Answer, Role
from instruments.questionnaire import Questionnaire
from tests.factories import CATALOGUE_FILE
from tests.platform_processes import Platform, wait_until
from tests.questionnaire_page import answer_all, begin, code_of, completed, finish, form_of, ready

INSTRUMENT = read_instrument(CATALOGUE_FILE)
DOSE = int(os.environ.get("TEST_DOSE", "1"))
FORM = "full" if DOSE > 1 else "short"


def tab_to(page: Page, target: str) -> None:
    """Press Tab until this has the focus; a person without a mouse has no other way."""
    for _ in range(80):
        if page.evaluate("target => document.activeElement.matches(target)", target):
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"Tab never comes to {target} on {page.url}")


#: What is on the screen: the question's code, or the heading.
HERE = "(document.querySelector('form.question fieldset')?.dataset.code ?? document.querySelector('h1')?.textContent)"


def press(page: Page, target: str) -> None:
    """Tab to a button or link, press Enter, and wait until something else is on the screen."""
    before = page.evaluate(HERE)
    tab_to(page, target)
    page.keyboard.press("Enter")
    page.wait_for_function(f"before => document.readyState === 'complete' && {HERE} !== before", arg=before)


def answer_by_keys(page: Page, place: int) -> Answer:
    """Answer what is asked, in whatever way it is asked; what has to be stored of it."""
    row = page.locator("form.question fieldset")
    control = row.get_attribute("data-control")
    if control in ("number", "years_months"):
        tab_to(page, "form.question input[type=text]")
        page.keyboard.type("40" if control == "number" else "7")
        return 40 if control == "number" else 84
    values: list[str] = row.locator("input:is([type=radio], [type=checkbox])").evaluate_all(
        "inputs => inputs.map(input => input.value)"
    )
    place %= len(values) - (values[-1] == "prefer_not")
    tab_to(page, "form.question input:is([type=radio], [type=checkbox])")
    if control == "multiple_choice":
        for _ in range(place):
            page.keyboard.press("Tab")
        page.keyboard.press("Space")
        return [values[place]]
    for _ in range(place):
        page.keyboard.press("ArrowDown")
    if place == 0:
        page.keyboard.press("Space")
    return int(values[place]) if values[place].isdigit() else values[place]


#: With scripts or without, and the language; all four in `make test-long`.
WAYS = [(True, "en"), (False, "es")] + ([(True, "es"), (False, "en")] if DOSE > 1 else [])


@pytest.mark.parametrize(("javascript", "language"), WAYS)
def test_a_whole_form_with_the_keyboard_alone(
    platform: Platform, contexts: Any, javascript: bool, language: str
) -> None:
    """Every question answered or skipped, one changed by Back, one from the review, finish: all is stored as meant."""
    (visit,) = platform.create_visits(1, "--form", FORM)
    page = contexts()
    if not javascript:
        without_scripts(page)
    page.goto(visit["patient_url"])
    if javascript:
        ready(page)
    if language == "es":
        press(page, ".languages [lang=es]")
        if javascript:
            ready(page)
    expect(page.locator("html")).to_have_attribute("lang", language)
    while page.locator("form.question").count() == 0:
        press(page, "main form button.primary")
    expected: dict[str, Answer] = {}
    number = 0
    while page.locator("form.question").count():
        number += 1
        code = code_of(page)
        assert code not in expected
        if number % 7 == 3:
            press(page, "button[value=skip]")
            expected[code] = Absence.SKIPPED.value
        else:
            expected[code] = answer_by_keys(page, number % 5)
            press(page, "button[value=next]")
        if number == 5:  # Back, another answer, and on
            press(page, "button[value=back]")
            assert code_of(page) == code
            tab_to(page, "form.question input:checked")
            page.keyboard.press("ArrowDown")
            expected[code] = number % 5 + 2
            press(page, "button[value=next]")
    skipped = next(code for code, value in expected.items() if value == Absence.SKIPPED)
    press(page, f".review li:nth-child({list(expected).index(skipped) + 1}) a")
    assert code_of(page) == skipped
    expected[skipped] = answer_by_keys(page, 3)
    press(page, "button[value=next]")
    expect(page.locator(".review")).to_be_visible()
    press(page, ".finish button")
    wait_until(lambda: completed(platform, visit["dyad"]), seconds=30, what="the finish")
    form = form_of(platform, visit["dyad"])
    assert form["language"] == language
    assert {code: value for code, value in form["answers"].items() if value != Absence.NOT_SHOWN} == expected
    assert len([code for code in expected if code in INSTRUMENT.items]) == len(INSTRUMENT.form_items(FORM))


def without_scripts(page: Page) -> None:
    """The page's own scripts never come; the test's questions about the page still work."""
    page.context.route("**/*.js", lambda route: route.abort())


def test_what_is_missing_is_told_apart_after_random_ways(platform: Platform, contexts: Any) -> None:
    """Answer and skip at random, stop somewhere, finish from the review: each gap is stored with its own reason."""
    questionnaire = Questionnaire(instrument=INSTRUMENT, form="short", role=Role.PATIENT, follow_up=False)
    for seed in range(12 if DOSE > 1 else 1):
        (visit,) = platform.create_visits(1, "--form", "short")
        page, rng, given = contexts(), random.Random(seed), dict[str, Any]()
        begin(page, visit["patient_url"])
        answer_all(page, rng, given, until=rng.randrange(1, 36))
        page.goto(f"{visit['patient_url']}review/")
        ready(page)
        finish(page)
        wait_until(lambda dyad=visit["dyad"]: completed(platform, dyad), seconds=30, what="the finish")  # type: ignore[misc]
        expected = {
            code: given.get(code, Absence.NOT_REACHED.value)
            if questionnaire.is_asked(code, given)
            else Absence.NOT_SHOWN.value
            for code in questionnaire.entries
        }
        assert form_of(platform, visit["dyad"])["answers"] == expected, seed
        page.context.close()
