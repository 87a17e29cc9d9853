"""The list of commands, and how their answers and complaints leave the program."""

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from types import ModuleType

import numpy as np

from analysis.psychometrics.command_line.options import finite_number
from analysis.psychometrics.command_line.report import as_json, as_text
from analysis.psychometrics.errors import AnalysisInputError

#: What can be typed, in the order of the list that --help prints. Each has a module of its name, loaded when it is
#: called: a command should not wait for the libraries of all the others.
COMMANDS: Mapping[str, str] = {
    "describe": "each item's distribution, missing answers, floor and ceiling; multitrait scaling",
    "reliability": "alpha, omega (total, categorical, hierarchical, by level), and what each item does to them",
    "correlations": "Pearson or polychoric correlations of all pairs of columns, with thresholds",
    "retention": "how many factors: parallel analysis, minimum average partial correlation, scree",
    "efa": "exploratory factor analysis: loadings, factor correlations, KMO, Bartlett, fit",
    "cfa": "confirmatory factor analysis and structural equation models in lavaan's syntax",
    "dynamic-cutoffs": "fit index cut-offs simulated for one factor model and number of respondents",
    "invariance": "one factor model in several groups: thresholds, loadings, intercepts and residuals equal in turn",
    "rivals": "rival models of a structure, from one factor to bifactor and structural, fitted and compared",
    "agreement": "how far two roles agree about the same dyads: ICCs, kappa, AC2, shares, Bland-Altman",
    "gaps": "clinician minus patient: how large, how reliable, which dyads beyond error, and the pitfalls",
    "profiles": "similarity of both roles' profiles: elevation, scatter, shape, and against chance",
    "one-with-many": "reciprocal one-with-many (Kenny): consensus, assimilation, dyadic and generalised reciprocity",
    "role-invariance": "do both roles' forms measure alike (one model of both), and which gaps may be shown",
    "multilevel": "patients within clinicians: ICC by REML, design effect, patients needed, shrunken means",
    "generalisability": "(patients : clinicians) x items: variance components, generalisability, decision study",
    "apim": "the actor-partner model: each role's outcome by its own and by the other's predictor",
    "response-surface": "an outcome by both roles' scores: polynomial regression, surface, rivals, congruence",
    "retest": "two occasions: ICC, SEM, smallest detectable change; with a change question also AUC and MIC",
    "content-validity": "experts' ratings of relevance (I-CVI, kappa, S-CVI) and their sorting of items",
    "planning": "how many clinicians, patients and items (precision and power by simulation); with data: enough yet?",
    "irt": "graded response model: slopes, thresholds, information and scores",
    "dif": "differential item functioning between groups (ordinal logistic regression)",
}


class _Lines(argparse.RawDescriptionHelpFormatter):
    """Keeps the modules' own lines and lists; a number is N or X in the help, not the option's name again."""

    def _get_default_metavar_for_optional(self, action: argparse.Action) -> str:
        return "X" if action.type in (float, finite_number) else "N"


class _Parser(argparse.ArgumentParser):
    """Says what is wrong with the options in one line, without the whole usage before it."""

    def error(self, message: str) -> None:  # type: ignore[override]
        self.exit(2, f"{self.prog}: {message}. Remedy: see {self.prog} --help\n")


def build_parser(chosen: str | None) -> argparse.ArgumentParser:
    """Return the parser of all commands' names and of the chosen command's options."""
    parser = _Parser(
        prog="python -m analysis.psychometrics",
        description="Psychometrics of a CSV file. Needs nothing but NumPy and SciPy.",
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for name, line in COMMANDS.items():
        module = module_of(name) if name == chosen else None
        command = commands.add_parser(
            name,
            help=line,
            description=module.__doc__ if module else None,
            formatter_class=_Lines,
        )
        if module:
            module.add_arguments(command)
            command.add_argument("--json", action="store_true", help="print JSON for programs instead of tables")
            command.set_defaults(run=module.run, name=name)
    return parser


def module_of(name: str) -> ModuleType:
    """Load the module of a command."""
    return import_module(f"analysis.psychometrics.command_line.{name.replace('-', '_')}")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return 0, or 2 when there is a problem with the input (one line on standard error)."""
    given = sys.argv[1:] if argv is None else list(argv)
    arguments = build_parser(next((word for word in given if not word.startswith("-")), None)).parse_args(given)
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
