"""A patient's questionnaire as the journeys use it: open the link, come to the first question, answer, look it up."""

import json
import random
import sqlite3
from typing import Any

from playwright.sync_api import Page, expect

from instruments.definitions import Absence
from tests.platform_processes import Platform

TABLET = {"width": 800, "height": 1280}


def begin(page: Page, url: str, *, scripts: bool = True) -> None:
    """Open the link and come to the first question that is open; with scripts, when they have taken over."""
    page.goto(url)
    if scripts:
        ready(page)
    press_start(page)


def ready(page: Page) -> None:
    """The script keeps the answers from here on."""
    expect(page.locator("body")).to_have_attribute("data-keeping", "here")


def press_start(page: Page) -> None:
    """From the welcome page to a question, by the main button of whatever stands in between."""
    for _ in range(4):
        heading = page.locator("h1").first.text_content()
        page.locator("main form button.primary").first.click()
        page.wait_for_function(
            """before => document.querySelector("form.question")
                || (document.querySelector("h1")?.textContent ?? before) !== before""",
            arg=heading,
        )
        if page.locator("form.question").count():
            return
    raise AssertionError(f"There are more than four screens before the first question; this is {page.url}")


def code_of(page: Page) -> str:
    """What is asked on the screen."""
    code = page.locator("form.question fieldset").get_attribute("data-code")
    assert code is not None
    return code


def answer_one(page: Page, rng: random.Random) -> tuple[str, Any]:
    """Give some answer to the question on the screen and go on; what the server has to hold of it."""
    code = code_of(page)
    values: list[str] = page.locator("form.question label.option input[type=radio]").evaluate_all(
        "inputs => inputs.map(input => input.value)"
    )
    value: Any
    if values and rng.random() < 0.9:
        chosen = rng.randrange(len(values))
        page.locator("form.question label.option").nth(chosen).click()
        button, value = "next", as_stored(values[chosen])
    else:
        button, value = "skip", Absence.SKIPPED.value
    go_on(page, button)
    return code, value


def go_on(page: Page, button: str) -> None:
    """Press Next, Back or Skip and wait until another question (or the review) stands there."""
    code = code_of(page)
    page.locator(f"button[name=action][value={button}]").click()
    page.wait_for_function("code => document.querySelector('form.question fieldset')?.dataset.code !== code", arg=code)


def as_stored(raw: str) -> int | str:
    """What the server keeps of a radio button's value."""
    return Absence.PREFER_NOT.value if raw == "prefer_not" else int(raw) if raw.isdigit() else raw


def answer_all(page: Page, rng: random.Random, given: dict[str, Any], *, until: int = 1000) -> None:
    """Answer until the review, or until so many are given."""
    while len(given) < until and page.locator("form.question").count():
        code, value = answer_one(page, rng)
        given[code] = value


def finish(page: Page) -> None:
    """Press Finish on the review."""
    page.get_by_role("button", name="Finish").first.click()


def form_of(platform: Platform, dyad: str, role: str = "patient") -> dict[str, Any]:
    """What the database holds of a form: status, language, answers and log."""
    with sqlite3.connect(f"file:{platform.folder}/healing_survey.sqlite3?mode=ro", uri=True) as database:
        pk, status, language, answers = database.execute(
            """SELECT form.id, form.status, form.language, form.answers FROM instruments_administration form
               JOIN studies_visit visit ON visit.id = form.visit_id JOIN studies_dyad dyad ON dyad.id = visit.dyad_id
               WHERE dyad.code = ? AND form.role = ?""",
            [dyad, role],
        ).fetchone()
        log = database.execute(
            "SELECT sequence, item, value FROM instruments_answerevent WHERE administration_id = ? ORDER BY sequence",
            [pk],
        ).fetchall()
    return {"status": status, "language": language, "answers": json.loads(answers), "log": log}


def stored_answers(platform: Platform, dyad: str) -> dict[str, Any]:
    """The answers and skips that the server holds; not what nobody was asked or came to."""
    return {
        code: value
        for code, value in form_of(platform, dyad)["answers"].items()
        if value not in (Absence.NOT_SHOWN, Absence.NOT_REACHED)
    }


def completed(platform: Platform, dyad: str) -> bool:
    """Whether the patient's form is finished on the server."""
    return bool(form_of(platform, dyad)["status"] == "completed")
