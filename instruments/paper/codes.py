"""The codes of a paper form: what stands beside each answer to be ticked, and what the person who types it writes.

Pure. A scale point is typed as its number, a choice as the number of the option; D, S and P say that it does not apply,
was passed over or was not to be answered. The stored words (DNA, SKIPPED, PREFER_NOT) are taken as well.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from instruments.definitions import Absence, Answer, Item, Question
from instruments.questionnaire import InvalidAnswer, Questionnaire

PREFER_NOT = "prefer_not"  # the option's value in the catalogue

#: Letter to type -> what is stored.
LETTERS = {"D": Absence.DOES_NOT_APPLY, "S": Absence.SKIPPED, "P": Absence.PREFER_NOT}
_WORDS = {word: absence for letter, absence in LETTERS.items() for word in (letter, absence.value)}


@dataclass(frozen=True, slots=True, kw_only=True)
class TypedForm:
    """What was read of a typed form: the answers, and what is wrong with the rest, by code."""

    answers: Mapping[str, Answer]
    problems: Mapping[str, str]  # code -> what may be typed there, in codes


def numbered(question: Question) -> tuple[tuple[str, str], ...]:
    """(number, option's value) of each option but "prefer not to answer", which is P."""
    values = [str(option.value) for option in question.options if option.value != PREFER_NOT]
    return tuple((str(number), value) for number, value in enumerate(values, start=1))


def offers_prefer_not(entry: Item | Question) -> bool:
    return isinstance(entry, Question) and any(option.value == PREFER_NOT for option in entry.options)


def offered(questionnaire: Questionnaire, code: str) -> str:
    """What may be typed for an entry, as codes: "1–5 D S"."""
    entry = questionnaire.entries[code]
    points = questionnaire.instrument.scale_values
    letters = f"{' P' if offers_prefer_not(entry) else ''} S"
    if isinstance(entry, Item):
        return f"{points[0]}–{points[-1]}{' D' if entry.allow_does_not_apply else ''} S"
    match entry.kind:
        case "scale":
            return f"{points[0]}–{points[-1]}{letters}"
        case "choice" | "multiple_choice":
            return f"1–{len(numbered(entry))}{letters}"
        case "years_months":
            return f"0–{int(entry.maximum or 0) // 12}{letters}"
        case _:
            return f"{entry.minimum or 0:g}–{entry.maximum or 0:g}{letters}"


def read_typed(questionnaire: Questionnaire, typed: Mapping[str, str]) -> TypedForm:
    """The answers of a typed form. Whatever is asked must be there: an answer that was left out is a problem, too."""
    answers: dict[str, Answer] = {}
    problems: dict[str, str] = {}
    for code in questionnaire.entries:
        text, months = typed.get(code, "").strip(), typed.get(f"{code}_months", "").strip()
        if not text and not months:
            continue
        try:
            answers[code] = _answer(questionnaire, code, text, months)
        except InvalidAnswer:
            problems[code] = offered(questionnaire, code)
    return TypedForm(answers=answers, problems=problems | incomplete(questionnaire, answers, ignore=set(problems)))


def incomplete(
    questionnaire: Questionnaire, answers: Mapping[str, Answer], *, ignore: set[str] | frozenset[str] = frozenset()
) -> dict[str, str]:
    """What is asked and has no answer, or has one and is not asked: code -> what may be typed ("" for nothing)."""
    problems = {}
    for code, entry in questionnaire.entries.items():
        condition = entry.ask_if if isinstance(entry, Question) else None
        if code in ignore or (condition is not None and condition.question in ignore):
            continue
        is_asked = questionnaire.is_asked(code, answers)
        if is_asked and code not in answers:
            problems[code] = offered(questionnaire, code)
        elif not is_asked and answers.get(code, Absence.SKIPPED.value) != Absence.SKIPPED.value:
            problems[code] = ""
    return problems


def typed_code(questionnaire: Questionnaire, code: str, answer: Answer | None) -> str:
    """The code that an answer is typed as; for a span of time, "years/months"; "" for none."""
    if answer is None:
        return ""
    letters = {absence.value: letter for letter, absence in LETTERS.items()}
    if isinstance(answer, str) and answer in letters:
        return letters[answer]
    entry = questionnaire.entries[code]
    if isinstance(entry, Question):
        numbers = {value: number for number, value in numbered(entry)}
        if isinstance(answer, list):
            return " ".join(numbers[one] for one in answer)
        if entry.kind == "choice":
            return numbers[str(answer)]
        if entry.kind == "years_months":
            return "/".join(str(part) for part in divmod(int(answer), 12))
    return f"{answer:g}" if isinstance(answer, float) else str(answer)


def _answer(questionnaire: Questionnaire, code: str, text: str, months: str) -> Answer:
    entry = questionnaire.entries[code]
    absence = _WORDS.get(text.upper())
    if absence == Absence.PREFER_NOT and not offers_prefer_not(entry):
        raise InvalidAnswer(code)
    if absence is not None:
        if months:
            raise InvalidAnswer(code)
        return questionnaire.check_answer(code, absence.value)
    if isinstance(entry, Item) or entry.kind == "scale":
        return questionnaire.check_answer(code, text)
    match entry.kind:
        case "choice":
            return questionnaire.check_answer(code, dict(numbered(entry)).get(text, "?"))
        case "multiple_choice":
            values = dict(numbered(entry))
            return questionnaire.check_answer(code, [values.get(one, "?") for one in text.replace(",", " ").split()])
        case "years_months":
            return questionnaire.check_answer(code, _months(code, text, months))
        case _:
            return questionnaire.check_answer(code, text.replace(",", "."))


def _months(code: str, years: str, months: str) -> int:
    for part in (years, months):
        if part and not (part.isascii() and part.isdigit() and len(part) <= 4):
            raise InvalidAnswer(code)
    return 12 * int(years or 0) + int(months or 0)
