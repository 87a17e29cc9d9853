"""Columns that hold keys (of dyads, of clinicians): filled on every row, and no dyad twice."""

from analysis.psychometrics.command_line.table import Table
from analysis.psychometrics.errors import AnalysisInputError


def filled_keys(table: Table, column: str) -> list[str]:
    """Return a column of keys.

    Raises
    ------
    AnalysisInputError
        A row without a key; names its line.
    """
    keys = table.text(column)
    if "" in keys:
        line = table.lines[keys.index("")]
        raise AnalysisInputError(
            f"{table.path}: column {column!r}, line {line}: no key ({keys.count('')} row(s) have none). "
            "Remedy: fill it in, or leave the row out."
        )
    return keys


def refuse_repeated(table: Table, column: str) -> None:
    """Refuse a table that lists a key twice.

    Raises
    ------
    AnalysisInputError
        Names the key and its lines.
    """
    seen: dict[str, int] = {}
    for key, line in zip(table.text(column), table.lines, strict=True):
        if key and key in seen:
            raise AnalysisInputError(
                f"{table.path}: column {column!r} lists {key!r} twice (lines {seen[key]} and {line}). "
                "Remedy: keep one row per dyad, or analyse one wave at a time."
            )
        seen[key] = line
