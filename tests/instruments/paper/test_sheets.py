"""The printed form: every sentence and code of a version, role and language stands on it."""

import hashlib
import re
from io import BytesIO
from pathlib import Path

import pytest
from pypdf import PdfReader

from instruments.catalogue.reader import read_instrument
from instruments.definitions import Item, Role
from instruments.paper.codes import read_typed, typed_code
from instruments.paper.sheets import FONTS, VisitLabels, paper_form
from instruments.questionnaire import Questionnaire
from tests.factories import CATALOGUE_FILE

INSTRUMENT = read_instrument(Path(CATALOGUE_FILE))
LABELS = VisitLabels(
    study="PILOT",
    patient="S1-ABCD2345",
    clinician="C1",
    dyad="S1-ABCD2345.C1",
    wave="Łódź <1>",
    visit_date="2026-03-02",
    entry_code="0001-ABC",
    entry_address="http://testserver/studies/PILOT/paper/1/",
)


def questionnaire(role: Role, *, form: str = "full", follow_up: bool = True) -> Questionnaire:
    return Questionnaire(instrument=INSTRUMENT, form=form, role=role, follow_up=follow_up)


def pages_of(content: bytes) -> list[str]:
    """The words of each page, with single spaces."""
    return [re.sub(r"\s+", " ", page.extract_text()) for page in PdfReader(BytesIO(content)).pages]


@pytest.mark.parametrize("language", INSTRUMENT.languages)
@pytest.mark.parametrize("role", Role)
def test_a_form_says_all_that_the_questionnaire_asks(role: Role, language: str) -> None:
    """Each sentence, code, option, introduction and identification of each role and language, and numbered pages."""
    asked = questionnaire(role)
    pages = pages_of(paper_form(asked, language=language, version="healing-relationships 1.0", labels=LABELS))
    text = " ".join(pages)
    squeezed = text.replace(" ", "")
    for code, entry in asked.entries.items():
        assert code in text
        assert entry.text[role][language].replace(" ", "") in squeezed
    for block in INSTRUMENT.recall_blocks.values():
        assert block.introduction[role][language].replace(" ", "") in squeezed
    for option in INSTRUMENT.scale:
        assert option.label[role][language].replace(" ", "") in squeezed
    assert INSTRUMENT.instructions[role][language].replace(" ", "") in squeezed
    for label in (LABELS.study, LABELS.patient, LABELS.clinician, LABELS.wave, LABELS.visit_date):
        assert label.replace(" ", "") in squeezed
    word = {"en": "Page {} of {}", "es": "Página {} de {}"}[language]
    for number, page in enumerate(pages, start=1):
        assert word.format(number, len(pages)) in page
        assert LABELS.entry_code in page
        assert "healing-relationships 1.0" in page


def test_each_item_has_its_answer_codes_and_dna_only_where_it_may() -> None:
    """As many DNA boxes as items allow it, and a SKIPPED box on every item."""
    asked = questionnaire(Role.PATIENT, form="short", follow_up=False)
    text = " ".join(pages_of(paper_form(asked, language="en", version="v", labels=None)))
    items = [entry for entry in asked.entries.values() if isinstance(entry, Item)]
    office = 1  # the line for the staff names each once
    assert len(re.findall(r"\bSKIPPED\b", text)) == len(items) + office
    assert len(re.findall(r"\bDNA\b", text)) == sum(item.allow_does_not_apply for item in items) + office


def test_a_blank_form_has_no_codes_of_anybody() -> None:
    """It has the lines for them, and no entry code."""
    text = " ".join(pages_of(paper_form(questionnaire(Role.PATIENT), language="en", version="v", labels=None)))
    assert "Study" in text
    assert "Entry code" not in text
    assert LABELS.patient not in text


def test_the_same_form_is_the_same_file_on_either_sheet() -> None:
    """Byte for byte; A4 and US Letter have their sizes, and the font is inside."""
    asked = questionnaire(Role.CLINICIAN, form="short")
    first, second = (paper_form(asked, language="es", version="v", labels=LABELS) for _ in range(2))
    assert first == second
    letter = PdfReader(BytesIO(paper_form(asked, language="es", version="v", labels=LABELS, sheet="letter")))
    assert [float(side) for side in letter.pages[0].mediabox[2:]] == [612, 792]
    fonts = letter.pages[0]["/Resources"]["/Font"].values()
    assert any("DejaVuSansCondensed" in font.get_object()["/BaseFont"] for font in fonts)


def test_the_fonts_are_the_vendored_ones() -> None:
    """Each file in the folder is listed with its checksum."""
    listed = dict(re.findall(r"^\| `([^`]+)` .*`([0-9a-f]{64})` \|$", (FONTS / "VENDORED.md").read_text(), re.M))
    present = {path.name for path in FONTS.iterdir()} - {"VENDORED.md"}
    assert set(listed) == present
    for name, digest in listed.items():
        assert hashlib.sha256((FONTS / name).read_bytes()).hexdigest() == digest, name


# --- the codes that are typed ---


def complete(asked: Questionnaire, **changes: str) -> dict[str, str]:
    """Codes for a whole form: 4 for each item, S for each question, but what is given."""
    typed = {code: "4" if isinstance(entry, Item) else "S" for code, entry in asked.entries.items()}
    del typed["X_OWNED"]  # asked only after a mistake
    return {code: value for code, value in {**typed, **changes}.items() if value != ""}


def test_typed_codes_become_answers() -> None:
    """Numbers, letters in either size, stored words, several options, spans and decimals."""
    asked = questionnaire(Role.PATIENT)
    read = read_typed(
        asked,
        complete(
            asked,
            VN1="1",
            VN2="s",
            AA3="DNA",
            X_HELPED="2",
            pt_illness="3 11",
            pt_age="p",
            rel_years="3",
            rel_years_months="6",
            X_MISTAKE="1",
            X_OWNED="2",
        ),
    )
    assert read.problems == {}
    expected = {
        "VN1": 1,
        "VN2": "SKIPPED",
        "AA3": "DNA",
        "X_HELPED": "yes_family",
        "pt_illness": ["diabetes", "other_long_term"],
        "pt_age": "PREFER_NOT",
        "rel_years": 42,
        "X_OWNED": "partly",
    }
    assert {code: read.answers[code] for code in expected} == expected
    typed = {code: typed_code(asked, code, read.answers[code]) for code in expected}
    assert typed == {
        "VN1": "1",
        "VN2": "S",
        "AA3": "D",
        "X_HELPED": "2",
        "pt_illness": "3 11",
        "pt_age": "P",
        "rel_years": "3/6",
        "X_OWNED": "2",
    }


@pytest.mark.parametrize(
    ("code", "value", "may"),
    [
        ("VN1", "6", "1–5 S"),
        ("VN1", "D", "1–5 S"),
        ("VN1", "P", "1–5 S"),
        ("VN1", "\0", "1–5 S"),
        ("VN1", "", "1–5 S"),
        ("AA3", "X", "1–5 D S"),
        ("X_HELPED", "6", "1–5 S"),
        ("X_HELPED", "P", "1–5 S"),
        ("pt_age", "17", "18–110 P S"),
        ("pt_age", "12.5", "18–110 P S"),
        ("pt_illness", "1 99", "1–11 P S"),
        ("rel_years", "3.5", "0–80 P S"),
        ("rel_years", "81", "0–80 P S"),
        ("X_OWNED", "1", ""),
    ],
)
def test_a_bad_code_is_named_with_what_may_be_typed(code: str, value: str, may: str) -> None:
    """One line, its code, and its codes; the other lines are read."""
    asked = questionnaire(Role.PATIENT)
    read = read_typed(asked, complete(asked, **{code: value}))
    assert read.problems == {code: may}
    assert len(read.answers) >= len(asked.entries) - 2
