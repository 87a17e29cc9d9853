"""Options that several commands share, and how their values are read."""

import argparse
import math
from collections.abc import Callable, Sequence

from analysis.psychometrics.command_line.table import Table
from analysis.psychometrics.errors import AnalysisInputError


def add_data(parser: argparse.ArgumentParser) -> None:
    """One data file: a CSV whose first line names the columns."""
    parser.add_argument("data", metavar="DATA.csv", help="a CSV file; its first line names the columns")


def add_items(parser: argparse.ArgumentParser) -> None:
    """`--items`: the columns to use."""
    parser.add_argument("--items", metavar="A,B,…", help="the columns to use (default: every column of numbers)")


def add_seed(parser: argparse.ArgumentParser) -> None:
    """`--seed`: what random numbers start from."""
    parser.add_argument("--seed", type=whole_number(least=0), default=1, help="seed of the random numbers (default 1)")


def chosen_items(arguments: argparse.Namespace, table: Table, *, leave_out: Sequence[str | None] = ()) -> list[str]:
    """Return the columns named by `--items`, or every column of numbers but those left out (a group, a key).

    Raises
    ------
    AnalysisInputError
        No column is left.
    """
    if arguments.items:
        return split_names(arguments.items, option="--items")
    names = list(table.numeric_names(leave_out))
    if not names:
        raise AnalysisInputError(f"{table.path}: has no column of numbers. Remedy: name the columns with --items.")
    return names


def split_names(value: str, *, option: str) -> list[str]:
    """Return the names in `a,b,c`, each once.

    Raises
    ------
    AnalysisInputError
        No name, or one twice.
    """
    names = [name.strip() for name in value.split(",") if name.strip()]
    if not names:
        raise AnalysisInputError(f"{option} names no column. Remedy: write {option} a,b,c.")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise AnalysisInputError(f"{option} names {', '.join(twice)} more than once. Remedy: name each column once.")
    return names


def split_scales(value: str, *, option: str = "--scales") -> dict[str, list[str]]:
    """Return the scales in `visual=x1,x2,x3;textual=x4,x5,x6`.

    Raises
    ------
    AnalysisInputError
        A part without a name or items, or a name twice.
    """
    scales: dict[str, list[str]] = {}
    for part in (part.strip() for part in value.split(";")):
        if not part:
            continue
        name, equals, items = part.partition("=")
        name = name.strip()
        if not (name and equals and items.strip()):
            raise AnalysisInputError(
                f'{option}: {part!r} is not a scale. Remedy: write {option} "visual=x1,x2,x3;textual=x4,x5".'
            )
        if name in scales:
            raise AnalysisInputError(f"{option} names the scale {name!r} twice. Remedy: give each its own name.")
        scales[name] = split_names(items, option=f"{option} {name}")
    if not scales:
        raise AnalysisInputError(f'{option} names no scale. Remedy: write {option} "visual=x1,x2,x3".')
    return scales


def whole_number(*, least: int) -> Callable[[str], int]:
    """Return an argparse type: a whole number of at least `least`."""

    def read(value: str) -> int:
        try:
            number = int(value)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{value!r} is not a whole number") from None
        if number < least:
            raise argparse.ArgumentTypeError(f"{number} is too small: it must be at least {least}")
        return number

    return read


def finite_number(value: str) -> float:
    """Read a number as an argparse type: neither infinite nor NaN, which would decide comparisons without a word."""
    try:
        number = float(value)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{value!r} is not a number") from None
    if not math.isfinite(number):
        raise argparse.ArgumentTypeError(f"{value!r} is not a finite number")
    return number
