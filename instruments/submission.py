"""What one posted page says: which answers it holds, which were taken back, which cannot be stored.

Reads a form as a browser sends it and judges nothing itself: what an answer may be is `Questionnaire.check_answer`'s.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from django.http import QueryDict

from instruments.definitions import Absence, Answer, Question
from instruments.page_texts import PREFER_NOT
from instruments.questionnaire import InvalidAnswer, Page, Questionnaire

ACTIONS = ("next", "back", "skip")


class MalformedSubmission(ValueError):
    """The form holds a field that this page does not have, or lacks what every page sends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """One posted page, checked against what the page asks."""

    sequence: int  # the number of the page's first entry; the k-th takes sequence + k
    action: str
    answers: Mapping[str, Answer]  # code -> checked answer
    taken_back: frozenset[str]  # sent, but emptied: a cleared number, no box ticked any more
    invalid: frozenset[str]  # sent, and not an answer that the entry allows
    raw: Mapping[str, list[str]]  # field -> what was sent, to show it again


def read_submission(
    posted: QueryDict, *, questionnaire: Questionnaire, page: Page, stored: Mapping[str, Answer]
) -> Submission:
    """The answers in a posted page.

    Raises
    ------
    MalformedSubmission
        If a field does not belong to this page, or the sequence number or the button is none that the page sends.
    """
    raw = {name: posted.getlist(name) for name in posted}
    allowed = {"sequence", "action", "csrfmiddlewaretoken"}.union(
        *(_fields(questionnaire, code) for code in page.codes)
    )
    if not allowed.issuperset(raw):
        raise MalformedSubmission(f"Page {page.number} of the {questionnaire.form} form has no such field.")
    answers: dict[str, Answer] = {}
    taken_back: set[str] = set()
    invalid: set[str] = set()
    for code in page.codes:
        value = _value(questionnaire, code, raw, stored.get(code))
        if value is None:
            continue
        if value == "":
            taken_back.add(code)
            continue
        try:
            answers[code] = questionnaire.check_answer(code, value)
        except InvalidAnswer:
            invalid.add(code)
    return Submission(
        sequence=_sequence(raw),
        action=_action(raw),
        answers=answers,
        taken_back=frozenset(taken_back),
        invalid=frozenset(invalid),
        raw=raw,
    )


def _fields(questionnaire: Questionnaire, code: str) -> tuple[str, ...]:
    entry = questionnaire.entries[code]
    if isinstance(entry, Question) and entry.kind == "years_months":
        return code, f"{code}_years", f"{code}_months"
    return (code,)


def _value(
    questionnaire: Questionnaire, code: str, raw: Mapping[str, list[str]], stored: Answer | None
) -> str | list[str] | None:
    """What was sent for one entry: None when it was not sent at all, "" when it was sent empty."""
    entry = questionnaire.entries[code]
    sent = [raw[name] for name in _fields(questionnaire, code) if name in raw]
    if not sent:
        return None
    kind = entry.kind if isinstance(entry, Question) else "scale"
    if kind in ("scale", "choice"):
        return (sent[0][0] or None) if len(sent[0]) == 1 else sent[0]
    given = [one.strip() for values in sent for one in values if one.strip()]
    rest = [one for one in given if one not in (PREFER_NOT, Absence.PREFER_NOT)]
    if not given:
        return ""
    # A box ticked earlier comes along with a later answer, and the other way round: what is new was meant.
    if len(rest) < len(given) and (not rest or stored != Absence.PREFER_NOT):
        return Absence.PREFER_NOT.value
    if rest == [Absence.SKIPPED]:
        return Absence.SKIPPED.value
    match kind:
        case "multiple_choice":
            return rest
        case "years_months":
            return _months(raw.get(f"{code}_years"), raw.get(f"{code}_months"), direct=rest)
        case _:
            # Two numbers for one question are no answer; a comma is a decimal point to most of the world.
            return rest[0].replace(",", ".") if len(rest) == 1 else rest


def _months(years: list[str] | None, months: list[str] | None, *, direct: list[str]) -> str | list[str]:
    """Years and months as months; a single number under the question's own code is months already."""
    if years is None and months is None:
        return direct[0] if len(direct) == 1 else direct
    total = 0
    for values, factor in ((years, 12), (months, 1)):
        text = "".join(values or []).strip()
        if text and not (text.isascii() and text.isdigit() and len(text) <= 4 and len(values or []) == 1):
            return direct
        total += factor * int(text or 0)
    return str(total)


def _sequence(raw: Mapping[str, list[str]]) -> int:
    text = raw.get("sequence", [""])[-1]
    if not (text.isascii() and text.isdigit() and len(text) <= 10):
        raise MalformedSubmission("The field sequence must hold one whole number: take it from the page.")
    return int(text)


def _action(raw: Mapping[str, list[str]]) -> str:
    action = raw.get("action", ["next"])[-1]
    if action not in ACTIONS:
        raise MalformedSubmission(f"The field action must be one of {', '.join(ACTIONS)}.")
    return action
