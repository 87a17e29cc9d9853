"""A delimited text file as named columns, with errors that say file, column, row and remedy."""

import csv
import difflib
import io
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from analysis.psychometrics.errors import AnalysisInputError
from analysis.psychometrics.response_matrix import LARGEST, FloatArray, listed

#: What files write where there is no value (R, SPSS, Stata, pandas, spreadsheets).
MISSING = frozenset({"", "na", "nan", "n/a", "null", "none", ".", "#n/a", "#null!"})
#: What this platform's own export writes in the place of an answer: why there is none.
REASONS = ("SKIPPED", "PREFER_NOT", "DNA", "NOT_REACHED", "NOT_SHOWN")
NO_REASON = "NO_REASON"
DELIMITERS = (",", ";", "\t")


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A file's columns as text. Rows are numbered as in the file: the first row of data stands in line 2."""

    path: str
    columns: dict[str, list[str]]
    lines: list[int]  # the line of the file in which each row begins

    @property
    def names(self) -> tuple[str, ...]:
        """The columns in the order of the file."""
        return tuple(self.columns)

    @property
    def n_rows(self) -> int:
        """Rows of data."""
        return len(self.lines)

    def text(self, name: str) -> list[str]:
        """Return one column as it stands (blanks round it removed), the empty string where it is missing."""
        self._require((name,))
        return ["" if _is_missing(cell) else cell for cell in self.columns[name]]

    def numeric(self, names: Sequence[str]) -> FloatArray:
        """Return columns as numbers, (n_rows, n_columns); missing is NaN.

        Raises
        ------
        AnalysisInputError
            A column that is not in the file, or a cell that is no finite number (with its column, line and content).
        """
        self._require(names)
        values = np.empty((self.n_rows, len(names)))
        for position, name in enumerate(names):
            # Answers repeat: each different cell is read once, the first of its kind with its line.
            read: dict[str, float] = {}
            for cell, line in zip(self.columns[name], self.lines, strict=True):
                if cell not in read:
                    read[cell] = self._number(name, cell, line)
            values[:, position] = [read[cell] for cell in self.columns[name]]
        return values

    def absences(self, names: Sequence[str]) -> dict[str, dict[str, int]]:
        """Count each column's missing values by the reason that stands in their place (or `NO_REASON`)."""
        self._require(names)
        return {
            name: dict(
                Counter(cell if cell in REASONS else NO_REASON for cell in self.columns[name] if _is_missing(cell))
            )
            for name in names
        }

    def numeric_names(self, leave_out: Iterable[str | None] = ()) -> tuple[str, ...]:
        """Return the columns meant as numbers, but those left out.

        Meant as numbers is a column in which at least half of the values are, also with decimal commas: a stray word
        or a comma is then an error of `numeric` that names the cell, not a column that goes missing without a word. So
        is a column without any value.
        """
        skipped = set(leave_out)
        return tuple(name for name in self.names if name not in skipped and self._is_numeric(name))

    def _is_numeric(self, name: str) -> bool:
        cells = {cell: n for cell, n in Counter(self.columns[name]).items() if not _is_missing(cell)}
        meant = sum(n for cell, n in cells.items() if _parse(cell) is not None or _has_decimal_comma(cell))
        return 2 * meant >= sum(cells.values())

    def _number(self, name: str, cell: str, line: int) -> float:
        if _is_missing(cell):
            return float("nan")
        value = _parse(cell)
        if value is None:
            hint = " (a decimal comma?)" if _has_decimal_comma(cell) else ""
            raise AnalysisInputError(
                f"{self.path}: column {name!r}, line {line}: {cell[:40]!r} is not a number{hint}. "
                "Remedy: recode it, leave it empty if it is missing, or leave the column out."
            )
        if abs(value) > LARGEST or 0 < abs(value) < 1 / LARGEST:
            raise AnalysisInputError(
                f"{self.path}: column {name!r}, line {line}: {cell[:40]!r} is no measurement: its square cannot be "
                f"told from {'infinity' if abs(value) > 1 else 'zero'}. Remedy: correct it, or leave it empty."
            )
        return value

    def _require(self, names: Sequence[str]) -> None:
        for name in names:
            if name not in self.columns:
                near = difflib.get_close_matches(name, self.names, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"the file has {listed(self.names, limit=12)}."
                raise AnalysisInputError(f"{self.path}: there is no column {name!r}. Remedy: {hint}")


def read_table(path: str | Path) -> Table:
    """Read a CSV file with a header line; comma, semicolon and tab are told apart by the header.

    Raises
    ------
    AnalysisInputError
        The file is not there, is not UTF-8 text, is empty, names a column twice or not at all, or has a line of another
        length.
    """
    shown = str(path)
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        raise AnalysisInputError(f"{shown}: no such file. Remedy: check the path.") from None
    except PermissionError:
        raise AnalysisInputError(f"{shown}: may not be read. Remedy: check the file's permissions.") from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise AnalysisInputError(
            f"{shown}: line {line} is not UTF-8 text. Remedy: save the file as CSV in UTF-8 encoding."
        ) from None
    header_line = text.split("\n", 1)[0]
    delimiter = max(DELIMITERS, key=header_line.count)
    try:
        return _as_table(shown, text, delimiter)
    except csv.Error as error:
        raise AnalysisInputError(f"{shown}: can't be read as CSV ({error}). Remedy: check its quotes.") from None


def _as_table(shown: str, text: str, delimiter: str) -> Table:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    header = [name.strip() for name in next(reader, [])]
    if not any(header):
        raise AnalysisInputError(f"{shown}: is empty. Remedy: the first line names the columns, the others hold data.")
    for position, name in enumerate(header, start=1):
        if not name:
            raise AnalysisInputError(f"{shown}: column {position} has no name. Remedy: name it in the first line.")
        if header.index(name) != position - 1:
            raise AnalysisInputError(f"{shown}: column {name!r} stands twice. Remedy: rename or remove one of them.")
    rows: list[list[str]] = []
    lines: list[int] = []
    line = reader.line_num + 1
    for row in reader:
        if any(cell.strip() for cell in row) or (len(header) == 1 and row):
            if len(row) != len(header):
                raise AnalysisInputError(
                    f"{shown}: line {line} has {len(row)} cells where the header names {len(header)} columns. "
                    "Remedy: check its delimiters and quotes."
                )
            rows.append([cell.strip() for cell in row])
            lines.append(line)
        line = reader.line_num + 1
    if not rows:
        raise AnalysisInputError(f"{shown}: has no rows below its header. Remedy: add the data.")
    return Table(
        path=shown,
        columns={name: list(cells) for name, cells in zip(header, zip(*rows, strict=True), strict=True)},
        lines=lines,
    )


def _is_missing(cell: str) -> bool:
    return cell in REASONS or cell.lower() in MISSING


def _parse(cell: str) -> float | None:
    """Return the number that a cell holds, or None; Python's own extras (1_000, inf) are no numbers of a data file."""
    if "_" in cell:
        return None
    try:
        value = float(cell)
    except ValueError:
        return None
    return value if np.isfinite(value) else None


def _has_decimal_comma(cell: str) -> bool:
    return _parse(cell) is None and _parse(cell.replace(",", ".", 1)) is not None
