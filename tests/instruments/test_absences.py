"""Answered, skipped, does not apply, prefer not to answer, not shown and not reached: told apart in every session.

Random sessions, by the page's script and by plain forms, are compared in the database and in the export with what the
session itself says was done.
"""

import csv
import io
import os
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest
from django.test import Client

from analysis import exports
from analysis.exports import dyads_csv
from instruments.definitions import Absence, Answer, Item, Question, Role
from instruments.questionnaire import Questionnaire
from instruments.services import CreatedVisit
from scoring.services import score_due
from tests.factories import StudyKit, administration_of, make_study, make_visit

pytestmark = pytest.mark.django_db

#: 500 in `make test-long`.
N_SESSIONS = 500 if int(os.environ.get("TEST_DOSE", "1")) > 1 else 60


@dataclass(slots=True)
class Session:
    """What one patient does: each answer in the order of giving, and what the form has to hold when it is finished."""

    given: list[tuple[str, Answer]] = field(default_factory=list)
    expected: dict[str, Answer] = field(default_factory=dict)


def random_session(questionnaire: Questionnaire, rng: random.Random) -> Session:
    """Goes on until somewhere, finishes there; what is left was not reached, or would not have been asked."""
    session = Session()
    stop = rng.randrange(len(questionnaire.pages) + 1) if rng.random() < 0.6 else len(questionnaire.pages)
    for page in questionnaire.pages[:stop]:
        for entry in page.entries:
            condition = None if isinstance(entry, Item) else entry.ask_if
            if condition is not None and session.expected.get(condition.question) not in condition.values:
                continue
            value = random_answer(entry, rng)
            session.given.append((entry.code, value))
            session.expected[entry.code] = value
    for code, entry in questionnaire.entries.items():
        condition = None if isinstance(entry, Item) else entry.ask_if
        if condition is not None and session.expected.get(condition.question) not in condition.values:
            session.expected[code] = Absence.NOT_SHOWN.value
        else:
            session.expected.setdefault(code, Absence.NOT_REACHED.value)
    return session


def random_answer(entry: Item | Question, rng: random.Random) -> Answer:
    """Something that this entry offers."""
    if rng.random() < 0.2:
        return Absence.SKIPPED.value
    if isinstance(entry, Item):
        does_not_apply = entry.allow_does_not_apply and rng.random() < 0.4
        return Absence.DOES_NOT_APPLY.value if does_not_apply else rng.randint(1, 5)
    if entry.kind == "scale":
        return rng.randint(1, 5)
    if rng.random() < 0.2 and (not entry.options or any(option.value == "prefer_not" for option in entry.options)):
        return Absence.PREFER_NOT.value
    offered = [option.value for option in entry.options if option.value != "prefer_not"]
    if entry.kind == "choice":
        return rng.choice(offered)
    if entry.kind == "multiple_choice":
        chosen = rng.sample(offered, rng.randint(1, 2))
        return [str(value) for value in offered if value in chosen]
    assert entry.minimum is not None
    assert entry.maximum is not None
    return rng.randint(int(entry.minimum), int(entry.maximum))


def play_by_script(visit: CreatedVisit, session: Session) -> None:
    """All that was given, and the finish, in one delivery."""
    answers = [
        {"item": code, "value": value, "sequence": number}
        for number, (code, value) in enumerate(session.given, start=1)
    ]
    body = {"language": "en", "answers": answers, "finish": True}
    response = Client().post(f"/q/{visit.patient_token}/deliver/", body, content_type="application/json")
    assert response.status_code == 200, response.content


def play_by_forms(visit: CreatedVisit, session: Session, questionnaire: Questionnaire) -> None:
    """Page by page, as a browser without scripts sends them; then the review's button."""
    client, root = Client(), f"/q/{visit.patient_token}/"
    assert client.post(root, {"language": "en"}).status_code == 303
    for sequence, (code, value) in enumerate(session.given, start=1):
        fields = {"sequence": sequence, "action": "skip"} if value == Absence.SKIPPED else as_typed(code, value)
        number = questionnaire.page_of[code]
        response = client.post(f"{root}page/{number}/", {"action": "next", **fields, "sequence": sequence})
        assert response.status_code == 303, (code, response.content)
    assert client.post(f"{root}finish/").status_code == 303


def as_typed(code: str, value: Answer) -> dict[str, object]:
    """The fields of a form that say this."""
    if value == Absence.PREFER_NOT:
        return {code: "prefer_not"}
    if code == "rel_years":
        assert isinstance(value, int)
        return {f"{code}_years": value // 12, f"{code}_months": value % 12}
    return {code: value}


def wrong_sessions(kit: StudyKit, n: int) -> tuple[list[str], Counter[str]]:
    """Plays `n` sessions; those that the database or the export tell otherwise, and how often each absence was."""
    sessions: dict[str, Session] = {}
    wrong: list[str] = []
    for seed in range(n):
        rng = random.Random(seed)
        visit = make_visit(kit, form=rng.choice(["short", "full"]) if seed % 4 else "short", now=datetime.now(UTC))
        questionnaire = administration_of(visit, Role.PATIENT).questionnaire
        session = random_session(questionnaire, rng)
        if seed % 4 and session.given:
            play_by_script(visit, session)
        else:
            play_by_forms(visit, session, questionnaire)
        sessions[visit.visit.dyad.code] = session
        form = administration_of(visit, Role.PATIENT)
        if not form.is_completed or form.answers != session.expected:
            wrong.append(f"database, seed {seed}")
    score_due(owner="test", clock=lambda: datetime.now(UTC))
    exported = "".join(dyads_csv(kit.study, include_incomplete=True))
    rows = {row["dyad"]: row for row in csv.DictReader(io.StringIO(exported))}
    for code, session in sessions.items():
        cells = {item: rows[code][f"patient_{item}"] for item in session.expected}
        if cells != {item: in_a_cell(value) for item, value in session.expected.items()}:
            wrong.append(f"export, {code}")
    reasons = list(Absence)
    counted = Counter(str(value) for one in sessions.values() for value in one.expected.values() if value in reasons)
    return wrong, counted


def in_a_cell(value: Answer) -> str:
    return "|".join(value) if isinstance(value, list) else str(value)


def test_every_session_tells_why_a_value_is_missing() -> None:
    """Each random session reads back as it was, in the database and in the export; every reason has come up often."""
    wrong, counted = wrong_sessions(make_study(form="short"), N_SESSIONS)
    assert wrong == []
    assert set(counted) == {str(reason) for reason in Absence}
    assert min(counted.values()) >= N_SESSIONS // 4, counted
    print(f"{N_SESSIONS} sessions right: {dict(counted)}")


def test_the_comparison_finds_a_platform_that_mixes_reasons_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: "not reached" stored as skipped, and "does not apply" exported as skipped, are both found."""
    kit = make_study(form="short")
    with monkeypatch.context() as patch:
        patch.setattr(Questionnaire, "closed_answers", _without_reasons(Questionnaire.closed_answers))
        wrong, _ = wrong_sessions(kit, 6)
        assert any(one.startswith("database") for one in wrong)
    monkeypatch.setattr(
        exports, "_cell", lambda answer: in_a_cell("SKIPPED" if answer == Absence.DOES_NOT_APPLY else answer)
    )
    wrong, _ = wrong_sessions(kit, 6)
    assert wrong
    assert all(one.startswith("export") for one in wrong)


def _without_reasons(closed_answers: Callable[..., dict[str, Answer]]) -> Callable[..., dict[str, Answer]]:
    """As a platform would that fills every gap alike."""

    def filled(self: Questionnaire, answers: dict[str, Answer]) -> dict[str, Answer]:
        gaps = (Absence.NOT_REACHED, Absence.NOT_SHOWN)
        return {
            code: Absence.SKIPPED.value if value in gaps else value
            for code, value in closed_answers(self, answers).items()
        }

    return filled
