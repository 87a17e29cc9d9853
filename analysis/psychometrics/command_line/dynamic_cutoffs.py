"""`dynamic-cutoffs`: fit index cut-offs simulated for this model, these loadings and this number of respondents."""

import argparse

import numpy as np

from analysis.psychometrics.command_line.cfa import (
    add_estimator,
    add_model,
    chosen_estimator,
    chosen_ordered,
    model_columns,
    read_model,
)
from analysis.psychometrics.command_line.options import add_data, add_seed, whole_number
from analysis.psychometrics.command_line.report import Cell, Report, Section
from analysis.psychometrics.command_line.table import read_table
from analysis.psychometrics.sem import fit_model
from analysis.psychometrics.structure.dynamic_cutoffs import INDICES, DynamicCutoffs, dynamic_cutoffs

_LABELS = {"srmr": "SRMR", "rmsea": "RMSEA", "cfi": "CFI"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Data, model and estimator; number of simulated data sets and seed."""
    add_data(parser)
    add_model(parser)
    add_estimator(parser)
    parser.add_argument(
        "--draws", type=whole_number(least=20), default=500, help="simulated data sets a level (default 500)"
    )
    add_seed(parser)


def run(arguments: argparse.Namespace) -> Report:
    """Fit, simulate, compare."""
    table = read_table(arguments.data)
    model = read_model(arguments.model)
    names = model_columns(model, table)
    fit = fit_model(
        model,
        table.numeric(names),
        item_codes=names,
        estimator=chosen_estimator(arguments),
        ordered=chosen_ordered(arguments),
        missing=arguments.missing,
    )
    result = dynamic_cutoffs(fit, rng=np.random.default_rng(arguments.seed), n_draws=arguments.draws)
    return Report(
        data={
            "levels": [
                {
                    "level": level.level,
                    "added": level.added,
                    "cutoff": level.cutoff,
                    "rule": level.rule,
                    "sensitivity": level.sensitivity,
                    "median": level.median,
                }
                for level in result.levels
            ],
            "level_0": result.level_0,
            "observed": result.observed,
            "better_than_level_1": result.better_than_level_1,
            "n_draws": result.n_draws,
            "n_failed": result.n_failed,
            "n_used": result.n_used,
            "n_simulated": result.n_simulated,
            "n_dropped": fit.n_dropped,
            "seed": arguments.seed,
            "converged": fit.converged,
            "admissible": fit.admissible,
            "notes": [*fit.notes, *result.notes],
        },
        sections=_sections(result),
        notes=[*fit.notes, *result.notes],
    )


def _sections(result: DynamicCutoffs) -> list[Section]:
    rows: list[tuple[Cell, ...]] = [
        ("this model", *(result.observed[index] for index in INDICES)),
        ("level 0: 95 % of right models reach", *(result.level_0[index] for index in INDICES)),
    ]
    for level in result.levels:
        rows.append((f"level {level.level}: cut-off", *(level.cutoff[index] for index in INDICES)))
        rows.append(("  rule", *(level.rule[index] for index in INDICES)))
        rows.append(("  share of wrong models beyond level 0", *(level.sensitivity[index] for index in INDICES)))
    verdicts = {True: "better than level 1", False: "not better than level 1", None: "no cut-off at level 1"}
    rows.append(("verdict", *(verdicts[result.better_than_level_1[index]] for index in INDICES)))
    return [
        Section(
            title=f"Cut-offs from {result.n_draws} data sets of {result.n_simulated} respondents a level",
            columns=("", *(_LABELS[index] for index in INDICES)),
            rows=rows,
        ),
        Section(
            title="What the wrong models lack (each level has the paths above it, too)",
            columns=("level", "path", "standardised"),
            rows=[
                (level.level, f"{path.lhs} {path.op} {path.rhs}", path.value)
                for before, level in zip(
                    (0, *(len(entry.added) for entry in result.levels)), result.levels, strict=False
                )
                for path in level.added[before:]
            ],
        ),
    ]
