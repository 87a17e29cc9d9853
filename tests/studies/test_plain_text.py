"""Plain text in pieces."""

import pytest

from studies.plain_text import blocks, normalised, unfilled


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("One\nline\n\nTwo", [("paragraph", ("One line",)), ("paragraph", ("Two",))]),
        ("# Title\nText", [("heading", ("Title",)), ("paragraph", ("Text",))]),
        ("#no heading", [("paragraph", ("#no heading",))]),
        ("- a\n- b goes\n  on\n\n- c", [("list", ("a", "b goes on")), ("list", ("c",))]),
        ("Who:\n- a\r\n- b\rText", [("paragraph", ("Who:",)), ("list", ("a", "b Text"))]),
        ("<b>x</b> & y", [("paragraph", ("<b>x</b> & y",))]),
    ],
)
def test_text_is_cut_into_headings_paragraphs_and_lists(text: str, expected: list[tuple[str, tuple[str, ...]]]) -> None:
    """What was typed is kept as it is; only the line breaks are read."""
    assert [(block.kind, block.lines) for block in blocks(text)] == expected


def test_kept_text_has_one_kind_of_line_end() -> None:
    """The same words typed on another system have the same hash."""
    assert normalised("\r\na \r\n\r\nb\r\n") == normalised("a\n\nb") == "a\n\nb"


def test_what_is_still_to_be_filled_in_is_found() -> None:
    """Square brackets within one line; an empty pair is none."""
    assert unfilled("Call [name]. [] [two\nlines] [DRAFT: x]") == ("[name]", "[DRAFT: x]")
