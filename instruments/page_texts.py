"""What a questionnaire page says, laid out once per form, role and language and then kept.

A page is served tens of thousands of times and its words never change (a released version is frozen), so everything
that does not depend on the respondent is worked out here and not while somebody waits.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from django.utils.translation import gettext, ngettext

from instruments.definitions import Absence, Answer, Item, Option, Question, Role, RoleTexts
from instruments.questionnaire import Page, Questionnaire

PREFER_NOT = "prefer_not"  # the option's value in the catalogue; stored as Absence.PREFER_NOT

Control = Literal["scale", "choice", "multiple_choice", "number", "years_months"]


@dataclass(frozen=True, slots=True, kw_only=True)
class OptionText:
    """One answer to choose: the value that the form sends, its words, and whether it stands apart from the others."""

    value: str
    label: str
    apart: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryText:
    """One item or question in one language."""

    code: str
    text: str
    control: Control
    options: tuple[OptionText, ...]
    box: Literal["radio", "checkbox"]  # how the options are ticked
    decimals: bool
    range_error: str  # what to say when a number does not fit; empty for choices
    decides: bool  # whether another question is asked or not because of this answer
    words: Mapping[str, str]  # stored value -> the words for it

    @property
    def takes_number(self) -> bool:
        return self.control in ("number", "years_months")

    def answer_in_words(self, answer: Answer | None) -> str:
        """The answer as the respondent would say it; empty when there is none."""
        if answer is None:
            return ""
        if isinstance(answer, list):
            return ", ".join(self.words.get(one, one) for one in answer)
        if self.control == "years_months" and isinstance(answer, int):
            return span_in_words(answer)
        return self.words.get(str(answer), str(answer))


@dataclass(frozen=True, slots=True, kw_only=True)
class PageText:
    """One page in one language."""

    page: Page
    heading: str  # the introduction of the recall block, or what the questions are about
    entries: tuple[EntryText, ...]
    scale: tuple[OptionText, ...]  # column heads of a block page
    offers_apart: bool  # whether any row of a block page has the answer that stands apart

    @property
    def number(self) -> int:
        return self.page.number


@dataclass(frozen=True, slots=True, kw_only=True)
class FormText:
    """A whole form of one role in one language."""

    key: tuple[str, str, Role, bool, int | None, str]  # content hash, form, role, follow-up, language
    language: str
    role: Role
    title: str
    instructions: str
    one_per_page: bool
    template: Literal["question", "sentences", "block"]
    pages: tuple[PageText, ...]
    conditional: tuple[Page, ...]  # pages that are not asked of everybody
    minutes: int


_FORM_TEXTS: dict[tuple[str, str, Role, bool, int | None, str], FormText] = {}


def form_text(questionnaire: Questionnaire, language: str) -> FormText:
    """The words of a form. Call it with the same language active: a few of them are the interface's own."""
    key = (
        questionnaire.instrument.content_hash,
        questionnaire.form,
        questionnaire.role,
        questionnaire.follow_up,
        questionnaire.order_number,
        language,
    )
    if key not in _FORM_TEXTS:
        _FORM_TEXTS[key] = _lay_out(questionnaire, language, key)
    return _FORM_TEXTS[key]


def span_in_words(months: int) -> str:
    """A span of months as years and months."""
    years, rest = divmod(months, 12)
    parts = []
    if years:
        parts.append(ngettext("%(count)d year", "%(count)d years", years) % {"count": years})
    if rest or not years:
        parts.append(ngettext("%(count)d month", "%(count)d months", rest) % {"count": rest})
    return ", ".join(parts)


def _lay_out(
    questionnaire: Questionnaire, language: str, key: tuple[str, str, Role, bool, int | None, str]
) -> FormText:
    instrument, role = questionnaire.instrument, questionnaire.role
    scale = tuple(_option(option, role, language, apart=False) for option in instrument.scale)
    conditions = [entry.ask_if for entry in questionnaire.entries.values() if isinstance(entry, Question)]
    deciding = {condition.question for condition in conditions if condition is not None}
    pages = tuple(
        _page(questionnaire, page, scale=scale, deciding=deciding, language=language) for page in questionnaire.pages
    )
    # Seconds of reading and choosing, rounded up to five minutes for patients: a promise that is kept.
    is_patient, one_per_page = role == Role.PATIENT, questionnaire.per_page == 1
    seconds = len(questionnaire.entries) * (10 if is_patient else 4)
    return FormText(
        key=key,
        language=language,
        role=role,
        title=instrument.title[language],
        instructions=instrument.instructions[role][language],
        one_per_page=one_per_page,
        template="question" if one_per_page else "sentences" if is_patient else "block",
        pages=pages,
        conditional=tuple(page for page in questionnaire.pages if not questionnaire.asked_entries(page, {})),
        minutes=max(1, -(-seconds // 300) * 5 if is_patient else -(-seconds // 60)),
    )


def _page(
    questionnaire: Questionnaire, page: Page, *, scale: tuple[OptionText, ...], deciding: set[str], language: str
) -> PageText:
    entries = tuple(
        _entry(questionnaire, entry, scale=scale, decides=entry.code in deciding, language=language)
        for entry in page.entries
    )
    return PageText(
        page=page,
        heading=page.block.introduction[questionnaire.role][language] if page.block else "",
        entries=entries,
        scale=scale if page.block else (),
        offers_apart=page.block is not None and any(entry.options[-1].apart for entry in entries),
    )


def _entry(
    questionnaire: Questionnaire,
    entry: Item | Question,
    *,
    scale: tuple[OptionText, ...],
    decides: bool,
    language: str,
) -> EntryText:
    role = questionnaire.role
    options: tuple[OptionText, ...]
    control: Control
    decimals, range_error = False, ""
    if isinstance(entry, Item):
        control, options = "scale", scale
        if entry.allow_does_not_apply:
            label = _text(questionnaire.instrument.does_not_apply, role, language)
            options = (*scale, OptionText(value=Absence.DOES_NOT_APPLY.value, label=label, apart=True))
    else:
        control = "number" if entry.kind == "integer" else entry.kind
        options = tuple(_option(option, role, language, apart=option.value == PREFER_NOT) for option in entry.options)
        if control == "scale":
            options = (*scale, *options)
        decimals = entry.kind == "number"
        range_error = _range_error(entry)
    words = {option.value: option.label for option in options}
    words[Absence.PREFER_NOT] = words.get(PREFER_NOT, gettext("Prefer not to answer"))
    words[Absence.SKIPPED] = gettext("Skipped")
    return EntryText(
        code=entry.code,
        text=entry.text[role][language],
        control=control,
        options=options,
        box="radio" if control in ("scale", "choice") else "checkbox",
        decimals=decimals,
        range_error=range_error,
        decides=decides,
        words=words,
    )


def _range_error(question: Question) -> str:
    if question.kind == "years_months":
        return gettext("Please write whole numbers for years and months, up to %(years)d years.") % {
            "years": int(question.maximum or 0) // 12
        }
    if question.kind not in ("integer", "number"):
        return ""
    numbers = {"low": f"{question.minimum or 0:g}", "high": f"{question.maximum or 0:g}"}
    if question.kind == "number":
        return gettext("Please write a number from %(low)s to %(high)s.") % numbers
    return gettext("Please write a whole number from %(low)s to %(high)s.") % numbers


def _option(option: Option, role: Role, language: str, *, apart: bool) -> OptionText:
    return OptionText(value=str(option.value), label=_text(option.label, role, language), apart=apart)


def _text(texts: RoleTexts, role: Role, language: str) -> str:
    return texts[role][language]
