"""From two links to a scored dyad, without scripts or cookies, with a worker killed in between."""

import csv
import io
import random
import sqlite3
from typing import Any

import pytest

from instruments.catalogue.reader import read_instrument
from instruments.definitions import Instrument, Role
from tests.factories import CATALOGUE_FILE
from tests.form_client import FormClient, fill
from tests.platform_processes import Platform, wait_until

INSTRUMENT = read_instrument(CATALOGUE_FILE)


def random_answers(instrument: Instrument, form: str, rng: random.Random) -> dict[str, str]:
    """Answers to a form's items with skips and "does not apply", and how long the two have known each other."""
    answers = {"rel_years_years": "6", "rel_years_months": "2", "pt_age": "71", "X_MISTAKE": "no"}
    for item in instrument.form_items(form):
        value = rng.choice([1, 2, 3, 4, 4, 5, 5, "DNA" if item.allow_does_not_apply else 5, None])
        if value is not None:
            answers[item.code] = str(value)
    return answers


def exported(platform: Platform, dyad: str) -> dict[str, str]:
    return next((row for row in csv.DictReader(io.StringIO(platform.export())) if row["dyad"] == dyad), {})


def recomputed(instrument: Instrument, form: str, answers: dict[str, str]) -> dict[str, float | None]:
    """Component and domain scores by the item bank's prose, in the plainest way; shares no code with the platform."""
    scores: dict[str, float | None] = {}
    for component in instrument.components.values():
        items = [i for i in instrument.form_items(form) if i.component == component.id]
        points = [
            6 - int(answers[i.code]) if i.reverse else int(answers[i.code])
            for i in items
            if answers.get(i.code, "DNA") != "DNA"
        ]
        enough = len(points) >= (len(items) + 1) // 2
        scores[component.id] = (sum(points) / len(points) - 1) * 25 if points and enough else None
    needed = {"valuing": 4, "appreciating_power": 2, "abiding": 3, "competence": 3, "outcome": 2}
    for domain in instrument.domains.values():
        items = [i for i in instrument.form_items(form) if instrument.components[i.component].domain == domain.id]
        applicable = [i for i in items if answers.get(i.code) != "DNA"]
        answered = [i for i in applicable if i.code in answers]
        found = [scores[c] for c in domain.components if scores[c] is not None]
        sound = len(answered) >= 0.7 * len(applicable) - 1e-9 and len(found) >= needed[domain.id]
        scores[domain.id] = sum(s for s in found if s is not None) / len(found) if sound and found else None
    return scores


@pytest.mark.parametrize(("form", "language"), [("full", "en"), ("short", "es")])
def test_a_dyad_is_scored_within_five_seconds_of_its_second_form(platform: Platform, form: str, language: str) -> None:
    """Both forms by a plain HTTP client; the exported scores agree with an independent recomputation to 1e-9."""
    (visit,) = platform.create_visits(1, "--form", form)
    rng = random.Random(f"{form} {language}")
    answers = {role: random_answers(INSTRUMENT, form, rng) for role in Role}
    for role in Role:
        with FormClient(platform.base_url) as client:
            page = fill(client, visit[f"{role}_url"], answers[role], language=language)
        assert page.status == 200
        assert not page.url.endswith("/finish/")
    seconds = wait_until(
        lambda: score_is_complete(platform, visit["dyad"]), seconds=5, what="the dyad's score after the second form"
    )
    assert seconds <= 5
    row = exported(platform, visit["dyad"])
    assert row["synthetic"] == "1"
    assert row["patient_language"] == language
    for role in Role:
        for score, expected in recomputed(INSTRUMENT, form, answers[role]).items():
            cell = row[f"{role}_{score}"]
            assert (float(cell) if cell else None) == pytest.approx(expected, abs=1e-9), (role, score)
        for item in INSTRUMENT.form_items(form):
            assert row[f"{role}_{item.code}"] == answers[role].get(item.code, "SKIPPED")


def score_is_complete(platform: Platform, dyad: str) -> bool:
    """Asked of the running platform's own database, by a process of its own."""
    return query(platform, dyad)["is_complete"] == 1


def query(platform: Platform, dyad: str) -> dict[str, Any]:
    with sqlite3.connect(f"file:{platform.folder}/healing_survey.sqlite3?mode=ro", uri=True) as database:
        database.row_factory = sqlite3.Row
        row = database.execute(
            """SELECT score.is_complete, request.attempts, request.scored = request.requested AS is_answered
               FROM studies_dyad dyad JOIN studies_visit visit ON visit.dyad_id = dyad.id
               LEFT JOIN scoring_dyadscore score ON score.visit_id = visit.id
               LEFT JOIN scoring_scoringrequest request ON request.visit_id = visit.id
               WHERE dyad.code = ?""",
            [dyad],
        ).fetchone()
    return dict(row)


def test_a_killed_worker_s_dyads_are_scored_after_restart_and_none_twice(platform: Platform) -> None:
    """SIGKILL while forms keep coming in: the messages are lost, the rows are not."""
    visits = platform.create_visits(6, "--form", "short")
    platform.kill("scoring")
    rng = random.Random(3)
    with FormClient(platform.base_url) as client:
        for visit in visits:
            for role in Role:
                fill(client, visit[f"{role}_url"], random_answers(INSTRUMENT, "short", rng))
    assert not any(score_is_complete(platform, visit["dyad"]) for visit in visits)
    # The worker comes back and is killed again in the middle of the backlog, as soon as the first dyad is scored.
    platform.start_worker(queues="scoring", name="scoring")
    wait_until(lambda: any(score_is_complete(platform, v["dyad"]) for v in visits), seconds=40, what="a first score")
    platform.kill("scoring")
    platform.start_worker(queues="scoring", name="scoring")
    wait_until(
        lambda: all(score_is_complete(platform, v["dyad"]) for v in visits), seconds=60, what="the scores of all dyads"
    )
    rows = list(csv.DictReader(io.StringIO(platform.export())))
    for visit in visits:
        assert [row["dyad"] for row in rows].count(visit["dyad"]) == 1
        assert query(platform, visit["dyad"])["is_answered"] == 1
    assert platform.processes["scoring"].poll() is None
