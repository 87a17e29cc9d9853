"""Options about scales and the direction of their items, and the matrices they lead to."""

import argparse
from collections.abc import Mapping, Sequence

import numpy as np

from analysis.psychometrics.command_line.options import split_names
from analysis.psychometrics.command_line.table import Table
from analysis.psychometrics.errors import AnalysisInputError
from analysis.psychometrics.response_matrix import FloatArray, reverse_items


def add_scales(parser: argparse.ArgumentParser, *, meaning: str) -> None:
    """`--scales`: named lists of columns."""
    parser.add_argument("--scales", metavar='"A=x1,x2;B=x3,x4"', help=meaning)


def add_reverse(parser: argparse.ArgumentParser) -> None:
    """`--reverse` and `--range`: which items are keyed the other way, and between which ends they are turned."""
    parser.add_argument("--reverse", metavar="A,B,…", help="items keyed the other way; x becomes lowest + highest - x")
    parser.add_argument(
        "--range",
        metavar="LOW,HIGH",
        help="the ends of the response scale (default: the lowest and highest answer to any item of the scale)",
    )


def read_range(value: str | None) -> tuple[float, float] | None:
    """Return the two ends written after `--range`.

    Raises
    ------
    AnalysisInputError
        Not two numbers, the lower one first.
    """
    if value is None:
        return None
    try:
        low, high = (float(part) for part in value.split(","))
    except ValueError:
        low, high = 0.0, 0.0
    if not (np.isfinite([low, high]).all() and low < high):
        raise AnalysisInputError(
            f"--range: {value!r} is not two numbers, the lower one first. Remedy: write --range 1,5."
        )
    return low, high


def check_reverse(value: str | None, items: Sequence[str]) -> list[str]:
    """Return the items to turn round.

    Raises
    ------
    AnalysisInputError
        One that is in no scale.
    """
    if not value:
        return []
    turned = split_names(value, option="--reverse")
    strangers = [name for name in turned if name not in items]
    if strangers:
        raise AnalysisInputError(
            f"--reverse names {', '.join(strangers)}, not among the items analysed. Remedy: name items of the scales."
        )
    return turned


def keyed_values(
    table: Table, items: Sequence[str], turned: Sequence[str], ends: tuple[float, float] | None
) -> FloatArray:
    """Return the columns of one scale with its reversed items turned round.

    Raises
    ------
    AnalysisInputError
        An answer beyond the declared ends.
    """
    values = table.numeric(items)
    columns = [position for position, name in enumerate(items) if name in turned]
    if ends is not None:
        beyond = [
            name
            for name, column in zip(items, values.T, strict=True)
            if ((column < ends[0]) | (column > ends[1])).any()
        ]
        if beyond:
            raise AnalysisInputError(
                f"{table.path}: {', '.join(beyond[:8])} has answers beyond the ends {ends[0]:g} and {ends[1]:g}. "
                "Remedy: correct --range, or recode what is no answer to an empty cell."
            )
    if not columns or np.isnan(values).all():
        return values
    low, high = ends if ends is not None else (float(np.nanmin(values)), float(np.nanmax(values)))
    return reverse_items(values, columns=columns, lowest=low, highest=high)


def distinct_items(scales: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the items of all scales, each once, in the order of the scales."""
    return list(dict.fromkeys(item for items in scales.values() for item in items))
