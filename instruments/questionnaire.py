"""The order in which one form is asked: pages, conditions, progress and what an answer may be.

Pure. One state machine serves every way of showing a form (one item a screen, a block a page, with or without scripts),
so that going back, resuming and reviewing cannot differ between them.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby, pairwise

from instruments.definitions import Absence, Answer, Instrument, Item, PerPage, Question, RecallBlock, Role


class InvalidAnswer(ValueError):
    """An answer that the item or question does not allow; the message names the item, never the answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """What is asked together: items of one recall block, or unscored questions."""

    number: int  # 1-based
    entries: tuple[Item | Question, ...]
    block: RecallBlock | None
    opens_block: bool  # the first page of its recall block carries the introduction

    @property
    def codes(self) -> tuple[str, ...]:
        return tuple(entry.code for entry in self.entries)


#: How many orders of the items there are beside the form's own. Few enough that each one's pages are laid out once.
N_ORDERS = 24


def ordered_items(instrument: Instrument, form: str, order_number: int | None) -> tuple[Item, ...]:
    """The items of a form in the order with this number, from 1 to `N_ORDERS`; None: the form's own.

    Items move within their recall block only, so that a time window is introduced once and blocks stay in order. Each
    order follows from its number and the items' codes by SHA-256 alone: it is the same on every machine, for good.
    """
    items = instrument.form_items(form)
    if order_number is None:
        return items

    def place(item: Item) -> bytes:
        return hashlib.sha256(f"{order_number}:{item.code}".encode()).digest()

    stretches = groupby(items, lambda item: item.recall)
    return tuple(item for _recall, stretch in stretches for item in sorted(stretch, key=place))


@dataclass(frozen=True, kw_only=True)
class Questionnaire:
    """One form of one instrument version as one role is asked it."""

    instrument: Instrument
    form: str
    role: Role
    follow_up: bool
    order_number: int | None = None  # which order of the items (`ordered_items`)

    @cached_property
    def entries(self) -> Mapping[str, Item | Question]:
        """Everything that can be asked, by code, in order."""
        asked: list[Item | Question] = [*ordered_items(self.instrument, self.form, self.order_number)]
        asked += self.instrument.questions_for(self.role, follow_up=self.follow_up)
        return {entry.code: entry for entry in asked}

    @property
    def per_page(self) -> PerPage:
        """How many entries are on one page at most; `block`: a whole recall block."""
        return self.instrument.display[self.role]

    @cached_property
    def pages(self) -> tuple[Page, ...]:
        """The pages in order, numbered from 1."""
        pages: list[Page] = []
        for block, entries in self._groups():
            opens_block = block is not None and (not pages or pages[-1].block is not block)
            pages.append(Page(number=len(pages) + 1, entries=entries, block=block, opens_block=opens_block))
        return tuple(pages)

    def _groups(self) -> Iterator[tuple[RecallBlock | None, tuple[Item | Question, ...]]]:
        """Stretches of one recall block (or of questions without one), cut into pages of nearly the same length."""
        for recall, stretch in groupby(
            self.entries.values(), lambda one: one.recall if isinstance(one, Item) else None
        ):
            entries = tuple(stretch)
            per_page = len(entries) if self.per_page == "block" else self.per_page
            n_pages = -(-len(entries) // per_page)
            cuts = [-(-len(entries) * number // n_pages) for number in range(n_pages + 1)]
            for start, end in pairwise(cuts):
                yield None if recall is None else self.instrument.recall_blocks[recall], entries[start:end]

    @cached_property
    def page_of(self) -> Mapping[str, int]:
        """The number of the page on which each code is asked."""
        return {code: page.number for page in self.pages for code in page.codes}

    def is_asked(self, code: str, answers: Mapping[str, Answer]) -> bool:
        """Whether the condition of a question holds, given the answers so far; items are always asked."""
        entry = self.entries[code]
        if isinstance(entry, Item) or entry.ask_if is None:
            return True
        return answers.get(entry.ask_if.question) in entry.ask_if.values

    def asked_entries(self, page: Page, answers: Mapping[str, Answer]) -> tuple[Item | Question, ...]:
        """The entries of a page whose conditions hold."""
        return tuple(entry for entry in page.entries if self.is_asked(entry.code, answers))

    def next_page(self, number: int, answers: Mapping[str, Answer]) -> int | None:
        """The next page with something to ask after `number` (0 for the first); None when only the review is left."""
        return next((p.number for p in self.pages[number:] if self.asked_entries(p, answers)), None)

    def previous_page(self, number: int, answers: Mapping[str, Answer]) -> int | None:
        """The page before `number` with something to ask; None on the first."""
        before = reversed(self.pages[: number - 1])
        return next((p.number for p in before if self.asked_entries(p, answers)), None)

    def first_open_page(self, answers: Mapping[str, Answer]) -> int | None:
        """Where to resume: the first page with something asked and neither answered nor passed over."""
        for page in self.pages:
            if any(entry.code not in answers for entry in self.asked_entries(page, answers)):
                return page.number
        return None

    def check_answer(self, code: str, value: object) -> Answer:
        """The answer in its stored form.

        Raises
        ------
        InvalidAnswer
            If the code is not asked on this form, or the value is not one that it offers.
        """
        entry = self.entries.get(code)
        if entry is None:
            raise InvalidAnswer(f"{code!r:.40} is not asked on the {self.form} {self.role} form.")
        if value == Absence.SKIPPED:
            return Absence.SKIPPED.value
        if isinstance(entry, Item):
            return self._check_scale_point(code, value, does_not_apply=entry.allow_does_not_apply)
        if value == Absence.PREFER_NOT:
            return Absence.PREFER_NOT.value
        match entry.kind:
            case "scale":
                return self._check_scale_point(code, value, does_not_apply=False)
            case "choice":
                return _check_option(entry, value)
            case "multiple_choice":
                return _check_options(entry, value)
            case _:
                return _check_number(entry, value)

    def _check_scale_point(self, code: str, value: object, *, does_not_apply: bool) -> Answer:
        if does_not_apply and value == Absence.DOES_NOT_APPLY:
            return Absence.DOES_NOT_APPLY.value
        if isinstance(value, str) and len(value) == 1 and value.isascii() and value.isdigit():
            value = int(value)
        points = self.instrument.scale_values
        if isinstance(value, bool) or not isinstance(value, int) or value not in points:
            extra = ", DNA" if does_not_apply else ""
            raise InvalidAnswer(f"{code} takes a whole number from {points[0]} to {points[-1]}{extra} or SKIPPED.")
        return value

    def closed_answers(self, answers: Mapping[str, Answer]) -> dict[str, Answer]:
        """The answer map of a finished form: every code present, each absence with its reason."""
        closed: dict[str, Answer] = {}
        for code in self.entries:
            if not self.is_asked(code, answers):
                closed[code] = Absence.NOT_SHOWN.value
            else:
                closed[code] = answers.get(code, Absence.NOT_REACHED.value)
        return closed


def _check_option(question: Question, value: object) -> str:
    if isinstance(value, str) and any(option.value == value for option in question.options):
        return Absence.PREFER_NOT.value if value == "prefer_not" else value
    raise InvalidAnswer(f"{question.code} takes one of {_offered(question)}, PREFER_NOT or SKIPPED.")


def _check_options(question: Question, value: object) -> Answer:
    chosen = value if isinstance(value, list) else [value]
    offered = [option.value for option in question.options]
    if not chosen or any(not isinstance(one, str) or one not in offered for one in chosen):
        raise InvalidAnswer(f"{question.code} takes one or more of {_offered(question)}, PREFER_NOT or SKIPPED.")
    if "prefer_not" in chosen:
        return Absence.PREFER_NOT.value
    return [str(one) for one in offered if one in chosen]


def _offered(question: Question) -> str:
    return ", ".join(str(option.value) for option in question.options)


def _check_number(question: Question, value: object) -> int | float:
    whole = question.kind != "number"
    number: float | None = None
    if isinstance(value, int | float) and not isinstance(value, bool):
        number = value
    elif isinstance(value, str) and len(value) <= 12 and value.isascii():
        try:
            number = float(value.strip())
        except ValueError:
            number = None
    # NaN and the infinities fail every comparison or the bounds below; written so that NaN is refused.
    low = question.minimum if question.minimum is not None else 0
    high = question.maximum if question.maximum is not None else 1500
    if number is None or not low <= number <= high or (whole and number != int(number)):
        kind = "whole number" if whole else "number"
        raise InvalidAnswer(f"{question.code} takes a {kind} from {low:g} to {high:g}, PREFER_NOT or SKIPPED.")
    return int(number) if whole else number
