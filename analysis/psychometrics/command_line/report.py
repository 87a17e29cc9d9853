"""What a command prints: one answer as JSON for programs and as titled text tables for people."""

import json
import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from analysis.psychometrics.plain_data import as_plain

Cell = str | float | int | bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One text table (or only text) below a title."""

    title: str
    columns: Sequence[str] = ()
    rows: Sequence[Sequence[Cell]] = ()
    text: str = ""
    decimals: int = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A command's answer. `data` is printed as JSON; `sections` and `notes` as text."""

    data: Mapping[str, Any]
    sections: Sequence[Section]
    notes: Sequence[str] = field(default=())


def as_json(report: Report) -> str:
    """Return the answer as JSON; what is undefined (NaN) is null."""
    return json.dumps(as_plain(report.data), ensure_ascii=False, allow_nan=False, indent=1)


def as_text(report: Report) -> str:
    """Return the answer as text tables: numbers to the right, names to the left, undefined as `–`."""
    parts = [_section(section) for section in report.sections]
    if report.notes:
        parts.append("Notes\n" + "\n".join(_note(note) for note in report.notes))
    return "\n\n".join(parts)


def _note(note: str) -> str:
    return textwrap.fill(note, width=110, initial_indent="  - ", subsequent_indent="    ", break_on_hyphens=False)


def _section(section: Section) -> str:
    lines = [section.title]
    if section.text:
        lines += [textwrap.indent(section.text, "  ")]
    if section.columns:
        lines += _table(section)
    return "\n".join(lines)


def _table(section: Section) -> list[str]:
    cells = [[_shown(cell, section.decimals) for cell in row] for row in section.rows]
    to_the_left = [
        any(isinstance(row[position], str) for row in section.rows) for position in range(len(section.columns))
    ]
    widths = [max([len(name), *(len(row[position]) for row in cells)]) for position, name in enumerate(section.columns)]

    def line(row: Sequence[str]) -> str:
        placed = [
            cell.ljust(width) if left else cell.rjust(width)
            for cell, width, left in zip(row, widths, to_the_left, strict=True)
        ]
        return ("  " + "  ".join(placed)).rstrip()

    return [line(section.columns), *(line(row) for row in cells)]


def _shown(cell: Cell, decimals: int) -> str:
    if cell is None:
        return "–"
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    if isinstance(cell, str):
        return cell
    if not math.isfinite(cell):
        return "–"
    if isinstance(cell, int) or hasattr(cell, "bit_length"):
        return str(int(cell))
    return f"{cell:.{decimals}f}"
