"""Paper forms typed in twice: two people each type what the paper says, and where they differ somebody decides.

Each function is one transaction. Nothing of an entry reaches the questionnaire before both agree, and answers that were
given electronically meanwhile are never replaced.
"""

import hmac
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, time
from typing import Any

from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone
from django.utils.crypto import salted_hmac

from instruments.codes import ALPHABET, read_code
from instruments.definitions import Answer
from instruments.models import Administration, AnswerEvent, PaperEntry
from instruments.opening import locked_administration
from instruments.paper.codes import incomplete
from instruments.questionnaire import Questionnaire
from instruments.services import administration_completed
from studies import audit

#: What is compared beside the answers: the language of the paper, and the day on which it was filled in.
LANGUAGE, COMPLETED_ON = "language", "completed_on"
EARLIEST_DAY = date(2000, 1, 1)
_NUMBER_LETTERS, _CHECK_LETTERS = 4, 3


class PaperRefused(Exception):
    """Nothing was stored. `reason` says why, for the page's words."""

    def __init__(self, reason: str, codes: Iterable[str] = ()) -> None:
        super().__init__(reason)
        self.reason = reason
        self.codes = tuple(codes)


class AnsweredElectronically(PaperRefused):
    """The questionnaire has answers that did not come from paper; they are never replaced."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PaperContent:
    """What stands on a paper form."""

    language: str
    completed_on: date
    answers: Mapping[str, Answer]

    def value(self, code: str) -> Answer | None:
        """The answer to a question, or the language or day of the form."""
        if code == LANGUAGE:
            return self.language
        return self.completed_on.isoformat() if code == COMPLETED_ON else self.answers.get(code)


def entry_code(administration_id: int) -> str:
    """The short code on a form: which it is, and three letters that a slip of the pen does not keep."""
    number, letters = administration_id, ""
    while number or len(letters) < _NUMBER_LETTERS:
        number, rest = divmod(number, 32)
        letters = ALPHABET[rest] + letters
    return f"{letters}-{_check_letters(administration_id)}"


def administration_of_code(typed: str) -> int | None:
    """The questionnaire's id that a typed entry code names; None when it is no such code."""
    letters = read_code(typed)
    if not _NUMBER_LETTERS + _CHECK_LETTERS <= len(letters) <= 16:
        return None
    number = 0
    for letter in letters[:-_CHECK_LETTERS]:
        number = 32 * number + ALPHABET.index(letter)
    return number if number and hmac.compare_digest(letters[-_CHECK_LETTERS:], _check_letters(number)) else None


def _check_letters(administration_id: int) -> str:
    keyed = salted_hmac("instruments.paper_entry", str(administration_id), algorithm="sha256").digest()
    return "".join(ALPHABET[byte & 31] for byte in keyed[:_CHECK_LETTERS])


def content_of(entry: PaperEntry) -> PaperContent:
    return PaperContent(language=entry.language, completed_on=entry.completed_on, answers=entry.answers)


def differences(questionnaire: Questionnaire, first: PaperContent, second: PaperContent) -> list[str]:
    """The codes on which two entries differ, in the order of the form; language and day first."""
    return [
        code
        for code in (LANGUAGE, COMPLETED_ON, *questionnaire.entries)
        if _asked_value(questionnaire, first, code) != _asked_value(questionnaire, second, code)
    ]


def _asked_value(questionnaire: Questionnaire, content: PaperContent, code: str) -> Answer | None:
    """What was typed; nothing for a question that this entry's own answers leave out, typed as skipped or not."""
    if code in questionnaire.entries and not questionnaire.is_asked(code, content.answers):
        return None
    return content.value(code)


@transaction.atomic
def enter_paper_form(*, administration_id: int, content: PaperContent, actor: User, now: datetime) -> list[str] | None:
    """Store what one person typed. The second entry, if it says the same, completes the questionnaire.

    Returns
    -------
    None after a first entry; after a second one the codes that differ: none of them, and the questionnaire is complete.

    Raises
    ------
    AnsweredElectronically
        If the questionnaire was answered or finished in another way.
    PaperRefused
        `same person` if this person has typed it, `both entered` if two others have, `incomplete` if an answer is
        missing, `date` for a day that can't be, `language` for one that the questionnaire is not offered in.
    """
    administration = locked_administration(administration_id)
    _require_unanswered(administration)
    questionnaire = administration.questionnaire
    _require_sound(questionnaire, content, now=now)
    entries = list(administration.paper_entries.all())
    if any(entry.entered_by_id == actor.pk for entry in entries):
        raise PaperRefused("same person")
    if len(entries) == 2:
        raise PaperRefused("both entered")
    entry = PaperEntry.objects.create(
        administration=administration,
        place=len(entries) + 1,
        entered_by=actor,
        entered_at=now,
        language=content.language,
        completed_on=content.completed_on,
        answers=dict(content.answers),
    )
    differing = differences(questionnaire, content_of(entries[0]), content) if entries else None
    _tell(administration, actor, "enter paper form", now, entry=entry.place, differences=len(differing or []))
    if differing == []:
        _complete(administration, content, entered_by=[entries[0].entered_by_id, actor.pk], decided={}, now=now)
        _tell(administration, actor, "complete paper form", now, entered_by=[entries[0].entered_by_id, actor.pk])
    return differing


@transaction.atomic
def decide_paper_form(
    *, administration_id: int, decisions: Mapping[str, Answer], actor: User, now: datetime, may_decide_all: bool = False
) -> None:
    """Complete a form of which two entries differ: `decisions` holds the answer for each code that differs.

    Raises
    ------
    AnsweredElectronically
        If the questionnaire was answered or finished in another way.
    PaperRefused
        `not two` before both entries are there, `not yours` for somebody who typed neither and is no admin,
        `undecided` with the codes that still have no answer, `incomplete` and others as `enter_paper_form`.
    """
    administration = locked_administration(administration_id)
    _require_unanswered(administration)
    entries = list(administration.paper_entries.all())
    if len(entries) != 2:
        raise PaperRefused("not two")
    people = [entry.entered_by_id for entry in entries]
    if actor.pk not in people and not may_decide_all:
        raise PaperRefused("not yours")
    questionnaire = administration.questionnaire
    first = content_of(entries[0])
    differing = differences(questionnaire, first, content_of(entries[1]))
    content = merged(questionnaire, first, differing, decisions)
    missing = [code for code in incomplete(questionnaire, content.answers) if code in questionnaire.entries]
    undecided = [code for code in (LANGUAGE, COMPLETED_ON) if code in differing and code not in decisions]
    if missing or undecided:
        raise PaperRefused("undecided", [*undecided, *missing])
    _require_sound(questionnaire, content, now=now)
    _complete(administration, content, entered_by=people, decided=dict.fromkeys(differing, actor.pk), now=now)
    _tell(administration, actor, "decide paper form", now, decided=differing, entered_by=people)


def merged(
    questionnaire: Questionnaire, first: PaperContent, differing: Iterable[str], decisions: Mapping[str, Answer]
) -> PaperContent:
    """The form as it is after the decisions: where the entries differ only the decision counts."""
    differing = set(differing)
    answers = {code: answer for code, answer in first.answers.items() if code not in differing}
    answers |= {code: decisions[code] for code in questionnaire.entries if code in differing and code in decisions}
    # What a decision made unasked has no answer any more.
    answers = {code: answer for code, answer in answers.items() if questionnaire.is_asked(code, answers)}
    content = replace(first, answers=answers)
    if LANGUAGE in decisions and LANGUAGE in differing:
        content = replace(content, language=str(decisions[LANGUAGE]))
    if COMPLETED_ON in decisions and COMPLETED_ON in differing:
        content = replace(content, completed_on=date.fromisoformat(str(decisions[COMPLETED_ON])))
    return content


@transaction.atomic
def discard_paper_entry(
    *, administration_id: int, actor: User, now: datetime, may_discard_all: bool = False
) -> list[int]:
    """Throw away what was typed of an uncompleted form: one's own entry, or for an admin both. Returns the places.

    Raises
    ------
    PaperRefused
        `completed` when the questionnaire is complete, `not yours` when there is nothing that this person may discard.
    """
    administration = locked_administration(administration_id)
    if administration.is_completed:
        raise PaperRefused("completed")
    entries = list(administration.paper_entries.all())
    mine = [entry for entry in entries if may_discard_all or entry.entered_by_id == actor.pk]
    if not mine:
        raise PaperRefused("not yours")
    places = [entry.place for entry in mine]
    administration.paper_entries.filter(pk__in=[entry.pk for entry in mine]).delete()
    if places == [1] and len(entries) == 2:
        administration.paper_entries.update(place=1)
    _tell(administration, actor, "discard paper entry", now, entries=places)
    return places


def is_answered_electronically(administration: Administration) -> bool:
    """Whether it holds answers that no paper entry gave, or a refusal. One that was merely opened holds none."""
    return bool(administration.last_sequence) or administration.is_completed or administration.is_declined


def _require_unanswered(administration: Administration) -> None:
    if is_answered_electronically(administration):
        raise AnsweredElectronically("finished" if administration.is_completed else "begun")


def _require_sound(questionnaire: Questionnaire, content: PaperContent, *, now: datetime) -> None:
    if content.language not in questionnaire.instrument.languages:
        raise PaperRefused("language")
    if not EARLIEST_DAY <= content.completed_on <= timezone.localdate(now):
        raise PaperRefused("date")
    for code, answer in content.answers.items():
        questionnaire.check_answer(code, answer)
    missing = incomplete(questionnaire, content.answers)
    if missing:
        raise PaperRefused("incomplete", missing)


def _complete(
    administration: Administration,
    content: PaperContent,
    *,
    entered_by: list[int],
    decided: Mapping[str, int],
    now: datetime,
) -> None:
    """Make the answers those of an ordinary finished questionnaire. Its time for answering may be over: paper waits."""
    noon = datetime.combine(content.completed_on, time(12), tzinfo=timezone.get_current_timezone())
    questionnaire = administration.questionnaire
    administration.mode = Administration.Mode.PAPER
    administration.language = content.language
    administration.status = Administration.Status.COMPLETED
    administration.started_at = administration.completed_at = min(noon, now)
    administration.answers = questionnaire.closed_answers(
        {code: answer for code, answer in content.answers.items() if questionnaire.is_asked(code, content.answers)}
    )
    administration.last_sequence = len(administration.answers)
    administration.median_item_seconds = None  # nobody timed it
    administration.save(
        update_fields=[
            "mode",
            "language",
            "status",
            "started_at",
            "completed_at",
            "answers",
            "last_sequence",
            "median_item_seconds",
        ]
    )
    AnswerEvent.objects.bulk_create(
        AnswerEvent(
            administration=administration,
            sequence=sequence,
            item=code,
            value=answer,
            language=content.language,
            received_at=now,
            paradata={"paper": {"entered_by": entered_by} | ({"decided_by": decided[code]} if code in decided else {})},
        )
        for sequence, (code, answer) in enumerate(administration.answers.items(), start=1)
    )
    administration_completed.send(sender=Administration, visit_ids=[administration.visit_id])


def _tell(administration: Administration, actor: User, action: str, now: datetime, **detail: Any) -> None:
    dyad = administration.visit.dyad
    facts = {"dyad": dyad.code, "wave": administration.visit.wave.code, "role": administration.role, **detail}
    audit.record(study=dyad.study, actor=actor, action=action, detail=facts, now=now)
