"""The list of commands, and how their answers and complaints leave the program."""

import argparse
import os
import sys
from collections.abc import Sequence
from types import ModuleType

import numpy as np

from analysis.psychometrics.command_line import (
    agreement,
    apim,
    correlations,
    describe,
    dif,
    irt,
    one_with_many,
    retention,
)
from analysis.psychometrics.command_line.report import as_json, as_text
from analysis.psychometrics.errors import AnalysisInputError

#: In the order of the list that --help prints.
COMMANDS: tuple[ModuleType, ...] = (
    describe,
    correlations,
    retention,
    agreement,
    one_with_many,
    apim,
    irt,
    dif,
)


class _Parser(argparse.ArgumentParser):
    """Says what is wrong with the options in one line, without the whole usage before it."""

    def error(self, message: str) -> None:  # type: ignore[override]
        self.exit(2, f"{self.prog}: {message}. Remedy: see {self.prog} --help\n")


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of every command."""
    parser = _Parser(
        prog="python -m analysis.psychometrics",
        description="Psychometrics of a CSV file. Needs nothing but NumPy and SciPy.",
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for module in COMMANDS:
        command = commands.add_parser(module.NAME, help=module.HELP, description=module.__doc__)
        module.add_arguments(command)
        command.add_argument("--json", action="store_true", help="print JSON for programs instead of tables")
        command.set_defaults(run=module.run, name=module.NAME)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return 0, or 2 when there is a problem with the input (one line on standard error)."""
    arguments = build_parser().parse_args(argv)
    try:
        report = arguments.run(arguments)
    except AnalysisInputError as error:
        print(" ".join(str(error).split()), file=sys.stderr)
        return 2
    except np.linalg.LinAlgError as error:
        print(
            f"{arguments.name}: the matrix algebra broke down ({error}): some columns are (nearly) combinations of "
            "others. Remedy: leave out doubled columns, or use more rows than columns.",
            file=sys.stderr,
        )
        return 2
    try:
        print(as_json(report) if arguments.json else as_text(report), flush=True)
    except BrokenPipeError:  # the reader (head, less) has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0
