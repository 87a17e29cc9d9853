"""A whole form as one JSON file: what a page's script needs to go from question to question without the server.

The pages are the very ones that the server shows without scripts, so both look and read the same. A bundle holds
nothing about anybody: it is the same for every respondent of a form, role and language, and is kept packed.
"""

import gzip
import hashlib
import json
import re
from dataclasses import dataclass
from typing import Any

from django.template import loader
from django.utils import translation
from django.utils.translation import get_language_info, gettext

from instruments.definitions import Instrument, Question, Role
from instruments.models import InstrumentVersion, instrument_with_hash, questionnaire_of
from instruments.page_texts import EntryText, FormText, PageText, form_text
from instruments.questionnaire import N_ORDERS, Questionnaire

#: What the script puts in where it shows a page.
POSITION, TOTAL = "{position}", "{total}"
_FOLLOW_UP = "-follow-up"
_ROLE = re.compile(rf"(?P<role>{'|'.join(Role)})(?P<follow_up>{_FOLLOW_UP})?(-order-(?P<order>[1-9][0-9]?))?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """One form, role and language, as it is sent."""

    key: str  # names the instrument version
    role: str  # with marks for follow-up waves and for the order of the items
    digest: str  # of the words: stored with each answer, so that it is known what was shown
    body: bytes
    packed: bytes


_BUNDLES: dict[tuple[str, str, Role, bool, int | None, str], Bundle] = {}
_KEY_LENGTH = 16
_INSTRUMENT_OF_KEY: dict[str, Instrument] = {}


def form_bundle(questionnaire: Questionnaire, language: str) -> Bundle:
    """The bundle of a form. Call it with the same language active."""
    text = form_text(questionnaire, language)
    if text.key not in _BUNDLES:
        _BUNDLES[text.key] = _make(questionnaire, text)
    return _BUNDLES[text.key]


def bundle_of(*, key: str, form: str, role: str, language: str) -> Bundle | None:
    """The bundle that an address names; None when there is none."""
    instrument = _instrument_with_key(key)
    asked = _ROLE.fullmatch(role)
    if instrument is None or form not in instrument.forms or asked is None or language not in instrument.languages:
        return None
    order_number = int(asked["order"]) if asked["order"] else None
    if order_number is not None and not (instrument.may_shuffle and order_number <= N_ORDERS):
        return None
    questionnaire = questionnaire_of(
        instrument, form, Role(asked["role"]), asked["follow_up"] is not None, order_number
    )
    with translation.override(language):
        return form_bundle(questionnaire, language)


def _instrument_with_key(key: str) -> Instrument | None:
    if key not in _INSTRUMENT_OF_KEY:
        if len(key) != _KEY_LENGTH or not all(letter in "0123456789abcdef" for letter in key):
            return None
        hashes = InstrumentVersion.objects.filter(content_hash__startswith=key).values_list("content_hash", flat=True)
        found = next(iter(hashes), None)
        if found is None:
            return None
        _INSTRUMENT_OF_KEY[key] = instrument_with_hash(found)
    return _INSTRUMENT_OF_KEY[key]


def _make(questionnaire: Questionnaire, text: FormText) -> Bundle:
    content = {
        "language": text.language,
        "pages": [
            {
                "number": page.number,
                "codes": [entry.code for entry in page.entries],
                "html": _page(text, page),
            }
            for page in text.pages
        ],
        "entries": {
            entry.code: _entry(questionnaire, entry, page.number) for page in text.pages for entry in page.entries
        },
        "review": _render("review_main", text, rows=[], n_answered="{answered}", n_asked="{asked}"),
        "review_row": _render("review_row", text, row={}),
        "waiting": _render("thanks_waiting", text),
        "tools": _render("tools", text, languages=language_names(questionnaire.instrument.languages)),
        "texts": _texts(text),
    }
    body = json.dumps(content, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode()
    return Bundle(
        key=questionnaire.instrument.content_hash[:_KEY_LENGTH],
        role=(
            questionnaire.role.value
            + (_FOLLOW_UP if questionnaire.follow_up else "")
            + (f"-order-{questionnaire.order_number}" if questionnaire.order_number else "")
        ),
        digest=hashlib.sha256(body).hexdigest()[:16],
        body=body,
        packed=gzip.compress(body, compresslevel=9, mtime=0),
    )


def _page(text: FormText, page: PageText) -> str:
    rows = [
        {
            "entry": entry,
            "options": [(option, False) for option in entry.options],
            "is_blank": False,
            "is_invalid": False,
            "number": "",
            "years": "",
            "months": "",
        }
        for entry in page.entries
    ]
    return _render(
        f"{text.template}_main",
        text,
        action="",
        page=page,
        opens_block=page.page.opens_block,
        rows=rows,
        row=rows[0],
        notice="",
        sequence=0,
        position=POSITION,
        total=TOTAL,
    )


def _entry(questionnaire: Questionnaire, entry: EntryText, page: int) -> dict[str, Any]:
    definition = questionnaire.entries[entry.code]
    found: dict[str, Any] = {
        "text": entry.text,
        "page": page,
        "control": entry.control,
        "words": dict(entry.words),
    }
    if isinstance(definition, Question):
        if definition.ask_if is not None:
            found["ask_if"] = {"question": definition.ask_if.question, "values": list(definition.ask_if.values)}
        if entry.takes_number:
            found |= {
                "minimum": definition.minimum if definition.minimum is not None else 0,
                "maximum": definition.maximum if definition.maximum is not None else 1500,
                "decimals": entry.decimals,
                "range_error": entry.range_error,
            }
    return found


def _texts(text: FormText) -> dict[str, str]:
    """The few words that the script itself says."""
    title = gettext("Question %(position)s of %(total)s" if text.one_per_page else "Part %(position)s of %(total)s")
    return {
        "page_title": title % {"position": POSITION, "total": TOTAL},
        "review_title": gettext("Your answers"),
        "thanks_title": gettext("Thank you"),
        "survey": gettext("Survey"),
        "stamp": gettext("Synthetic data: a demonstration, not evidence about people"),
        "blank": gettext("You have not chosen an answer yet. Choose one, or press Next again to skip."),
        "blanks": gettext(
            "Some are still blank; they are marked. Answer them, or press Next again to leave them blank."
        ),
        "blank_mark": gettext("still blank"),
        "saved_tablet": gettext("Saved on this tablet"),
        "saved_phone": gettext("Saved on this phone"),
        "sent": gettext("Sent"),
        "offline": gettext("No connection. Your answers are saved here and sent later."),
        "direct": gettext("This browser can’t keep answers. Each one goes straight to the study."),
        "refused": gettext("One answer could not be stored. Please tell the staff."),
        "saved": gettext("Saved on this device"),
        "still_blank": gettext("{count} still blank. Answer them, or press Finish again to leave them blank."),
        "progress": gettext("{position} of {total}"),
        "finish": gettext("Finish"),
        "next": gettext("Next"),
        "back": gettext("Back"),
        "not_answered": gettext("Not answered"),
        "answered": gettext("Answered and sent"),
        "answer": gettext("Answer"),
        "change": gettext("Change"),
        "idle_title": gettext("Are you still there?"),
        "idle": gettext("The survey pauses in {seconds} seconds. Your answers are kept."),
        "idle_stay": gettext("I am still here"),
        "stop_reading": gettext("Stop reading"),
        "read_aloud": gettext("Read aloud"),
        "give_back": gettext("Stop and give the tablet back"),
        "year": gettext("1 year"),
        "years": gettext("{count} years"),
        "month": gettext("1 month"),
        "months": gettext("{count} months"),
    }


def _render(template: str, text: FormText, **context: Any) -> str:
    context |= {
        "language": text.language,
        "role": text.role.value,
        "links": None,
        "return_to": 0,
        "is_completed": False,
    }
    return loader.get_template(f"questionnaire/{template}.html").render(context).strip()


_LANGUAGE_NAMES: dict[tuple[str, ...], tuple[tuple[str, str], ...]] = {}


def language_names(languages: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """Each language under its own name."""
    if languages not in _LANGUAGE_NAMES:
        _LANGUAGE_NAMES[languages] = tuple(
            (code, str(get_language_info(code)["name_local"]).capitalize()) for code in languages
        )
    return _LANGUAGE_NAMES[languages]
