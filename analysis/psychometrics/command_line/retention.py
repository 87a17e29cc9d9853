"""`retention`: how many factors, by parallel analysis, minimum average partial correlation and scree.

`eigenvalues_reference` holds the 95th percentiles of random data that decide; their means stand beside them. `map`
begins with one component, as psych's does; `map_zero` is the value without any.
"""

import argparse

import numpy as np

from analysis.psychometrics.command_line.correlations import add_kind, add_missing
from analysis.psychometrics.command_line.options import add_data, add_items, add_seed, chosen_items, whole_number
from analysis.psychometrics.command_line.report import Report, Section
from analysis.psychometrics.command_line.table import read_table
from analysis.psychometrics.errors import AnalysisInputError
from analysis.psychometrics.exploratory.retention import (
    correlation_matrix,
    minimum_average_partial,
    parallel_analysis,
    scree,
)

_DRAWS = {"pearson": 500, "polychoric": 100}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Data file, items, the kind of correlation, random data sets and their seed."""
    add_data(parser)
    add_items(parser)
    add_kind(parser)
    add_missing(parser)
    parser.add_argument(
        "--draws",
        type=whole_number(least=20),
        help="random data sets (default 500 for Pearson, 100 for polychoric correlations)",
    )
    parser.add_argument(
        "--permuted",
        action="store_true",
        help="compare with the answers in random order (always so for polychoric) instead of normal data",
    )
    add_seed(parser)


def run(arguments: argparse.Namespace) -> Report:
    """Count the factors."""
    table = read_table(arguments.data)
    names = chosen_items(arguments, table)
    if len(names) < 3:
        raise AnalysisInputError(
            f"retention requires at least 3 items; got {len(names)}. Remedy: name more columns with --items."
        )
    values = table.numeric(names)
    n_draws = arguments.draws or _DRAWS[arguments.kind]
    parallel = parallel_analysis(
        values,
        n_draws=n_draws,
        rng=np.random.default_rng(arguments.seed),
        kind=arguments.kind,
        random_data="permuted" if arguments.permuted else None,
        factors=True,
        missing=arguments.missing,
        item_codes=names,
    )
    matrix = correlation_matrix(
        values, kind=arguments.kind, missing=arguments.missing, item_codes=names, who="retention"
    ).matrix
    partial, curve = minimum_average_partial(matrix), scree(matrix)
    notes = (*parallel.notes, *partial.notes)
    return Report(
        data={
            "items": names,
            "kind": parallel.kind,
            "n_factors_parallel": parallel.n_factors,
            "n_factors_parallel_mean": parallel.n_factors_mean,
            "n_factors_parallel_common": parallel.n_common_factors,
            "eigenvalues": parallel.eigenvalues,
            "eigenvalues_reference": parallel.reference_p95,
            "eigenvalues_reference_mean": parallel.reference_mean,
            "factor_eigenvalues": parallel.factor_eigenvalues,
            "factor_eigenvalues_reference": parallel.factor_reference_p95,
            "factor_eigenvalues_reference_mean": parallel.factor_reference_mean,
            "map": partial.average_squared[1:],
            "map_zero": float(partial.average_squared[0]),
            "map_revised": partial.average_fourth[1:],
            "n_factors_map": partial.n_factors,
            "n_factors_map_revised": partial.n_factors_revised,
            "n_factors_above_one": curve.n_above_one,
            "share_of_variance": curve.share,
            "random_data": parallel.random_data,
            "n_draws": parallel.n_draws,
            "seed": arguments.seed,
            "missing": arguments.missing,
            "n_used": parallel.n_used,
            "n_dropped": parallel.n_dropped,
            "notes": notes,
        },
        sections=[
            Section(
                title=f"Number of factors ({parallel.n_used} rows used, {parallel.n_dropped} left out)",
                columns=("method", "number"),
                rows=[
                    ("parallel analysis, components above the 95th percentile", parallel.n_factors),
                    ("parallel analysis, factors above the 95th percentile", parallel.n_common_factors),
                    ("minimum average partial correlation, squared", partial.n_factors),
                    ("minimum average partial correlation, fourth power", partial.n_factors_revised),
                    ("eigenvalues above one (retains too many)", curve.n_above_one),
                ],
            ),
            Section(
                title=f"Eigenvalues beside those of {parallel.n_draws} random data sets ({parallel.random_data})",
                columns=("number", "component", "mean", "p95", "factor", "mean of factors", "p95 of factors", "map"),
                rows=[
                    (
                        number + 1,
                        float(parallel.eigenvalues[number]),
                        float(parallel.reference_mean[number]),
                        float(parallel.reference_p95[number]),
                        *(
                            None if column is None else float(column[number])
                            for column in (
                                parallel.factor_eigenvalues,
                                parallel.factor_reference_mean,
                                parallel.factor_reference_p95,
                            )
                        ),
                        float(partial.average_squared[number + 1]) if number + 1 < len(names) else None,
                    )
                    for number in range(len(names))
                ],
            ),
        ],
        notes=notes,
    )
