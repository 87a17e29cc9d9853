"""Text as people type it into a field: headings, paragraphs and simple lists, and never HTML. Pure: no Django.

A line of its own that begins with "# " is a heading; lines that begin with "- " are a list; other lines that follow one
another are one paragraph, and a blank line ends it. Everything is shown as it was typed.
"""

import re
from dataclasses import dataclass
from typing import Literal

Kind = Literal["heading", "paragraph", "list"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One heading or paragraph (a single line), or one list (a line for each of its points)."""

    kind: Kind
    lines: tuple[str, ...]


def normalised(text: str) -> str:
    """The text as it is kept: one kind of line end, no blanks at the ends of lines, no blank lines at either end."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return "\n".join(line.rstrip() for line in lines).strip("\n")


def blocks(text: str) -> tuple[Block, ...]:
    """The text in the pieces in which it is shown."""
    found: list[tuple[Kind, list[str]]] = []
    is_open = False  # whether the next line can go on with the last piece
    for line in normalised(text).split("\n"):
        words = line.strip()
        if not words:
            is_open = False
            continue
        if words.startswith("# "):
            found.append(("heading", [words[2:].strip()]))
            is_open = False
            continue
        kind: Kind = "list" if words.startswith("- ") else "paragraph"
        if is_open and found[-1][0] == "list" and kind == "paragraph":
            found[-1][1][-1] += f" {words}"  # a point that goes on in the next line
        elif is_open and found[-1][0] == kind == "paragraph":
            found[-1][1][0] += f" {words}"
        elif is_open and found[-1][0] == kind:
            found[-1][1].append(words[2:].strip())
        else:
            found.append((kind, [words[2:].strip() if kind == "list" else words]))
        is_open = True
    return tuple(Block(kind=kind, lines=tuple(lines)) for kind, lines in found)


def unfilled(text: str) -> tuple[str, ...]:
    """The parts in square brackets: what a ready-made text leaves to be filled in."""
    return tuple(re.findall(r"\[[^\[\]\n]{1,200}\]", text))
