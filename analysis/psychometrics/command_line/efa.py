"""`efa`: factors extracted and rotated as `psych::fa` does, with KMO and Bartlett's test before and fit after.

Rows of `loadings`, `structure`, `communalities`, `uniquenesses` and `kmo_items` follow `items`; columns follow
`factors`, which are sorted by the variance they explain. `variance` holds the sums of squared loadings.
"""

import argparse

import numpy as np

from analysis.psychometrics.command_line.correlations import add_kind, add_missing
from analysis.psychometrics.command_line.options import add_data, add_items, add_seed, chosen_items, whole_number
from analysis.psychometrics.command_line.report import Cell, Report, Section
from analysis.psychometrics.command_line.table import read_table
from analysis.psychometrics.correlations.polychoric import polychoric_correlations
from analysis.psychometrics.errors import AnalysisInputError
from analysis.psychometrics.exploratory.factor_analysis import (
    BartlettSphericity,
    FactorSolution,
    KaiserMeyerOlkin,
    bartlett_sphericity,
    explore_factors,
    factor_correlations,
    kaiser_meyer_olkin,
    with_notes,
)
from analysis.psychometrics.response_matrix import FloatArray, correlate


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Data file, items, how many factors, how to extract and rotate them."""
    add_data(parser)
    add_items(parser)
    parser.add_argument("--factors", type=whole_number(least=1), required=True, help="how many factors to extract")
    parser.add_argument(
        "--extraction",
        choices=("minres", "ml"),
        default="minres",
        help="least squares of residual correlations (default) or maximum likelihood",
    )
    parser.add_argument(
        "--rotation",
        choices=("oblimin", "promax", "varimax", "none"),
        default="oblimin",
        help="default oblimin; promax as psych::fa, with Kaiser's normalisation",
    )
    add_kind(parser)
    add_missing(parser)
    parser.add_argument(
        "--starts",
        type=whole_number(least=1),
        default=1,
        help="starts of oblimin: R's own and others at random, the best is kept (default 1: R's)",
    )
    add_seed(parser)


def run(arguments: argparse.Namespace) -> Report:
    """Extract, rotate, judge."""
    table = read_table(arguments.data)
    names = chosen_items(arguments, table)
    if len(names) < 3:
        raise AnalysisInputError(
            f"efa requires at least 3 items; got {len(names)}. Remedy: name more columns with --items."
        )
    if arguments.starts > 1 and arguments.rotation != "oblimin":
        raise AnalysisInputError("--starts goes with --rotation oblimin. Remedy: leave it out, or choose oblimin.")
    values = table.numeric(names)
    matrix, solution = _solve(values, names, arguments)
    # The matrix factored is positive definite (smoothed where it was not), so these exist whenever the solution does.
    adequacy = kaiser_meyer_olkin(matrix, item_codes=names)
    sphericity = bartlett_sphericity(matrix, n_used=solution.n_used, item_codes=names)
    factors = [f"F{number + 1}" for number in range(solution.n_factors)]
    return Report(
        data={
            "items": names,
            "factors": factors,
            "n_factors": solution.n_factors,
            "extraction": solution.extraction,
            "rotation": solution.rotation,
            "kind": solution.kind,
            "missing": arguments.missing,
            "loadings": solution.loadings,
            "structure": solution.structure,
            "phi": solution.phi,
            "communalities": solution.communalities,
            "uniquenesses": solution.uniquenesses,
            "complexity": solution.complexity,
            "variance": solution.variance,
            "variance_share": solution.variance_share,
            "eigenvalues": solution.eigenvalues,
            "kmo": adequacy.overall,
            "kmo_items": adequacy.per_item,
            "bartlett_chisq": sphericity.chisq,
            "bartlett_df": sphericity.df,
            "bartlett_pvalue": sphericity.pvalue,
            "chisq": solution.chisq,
            "df": solution.df,
            "pvalue": solution.pvalue,
            "chisq_null": solution.chisq_null,
            "df_null": solution.df_null,
            "rmsea": solution.rmsea,
            "rmsea_ci_lower": solution.rmsea_ci_lower,
            "rmsea_ci_upper": solution.rmsea_ci_upper,
            "tli": solution.tli,
            "bic": solution.bic,
            "rmsr": solution.rmsr,
            "rmsr_corrected": solution.rmsr_corrected,
            "n_used": solution.n_used,
            "n_dropped": solution.n_dropped,
            "converged": solution.converged,
            "admissible": solution.admissible,
            "notes": solution.notes,
        },
        sections=_sections(names, factors, solution, adequacy, sphericity),
        notes=solution.notes,
    )


def _solve(values: FloatArray, names: list[str], arguments: argparse.Namespace) -> tuple[FloatArray, FactorSolution]:
    """Return the matrix factored and the solution."""
    rng = np.random.default_rng(arguments.seed)
    if arguments.kind == "pearson":
        solution = explore_factors(
            values,
            n_factors=arguments.factors,
            extraction=arguments.extraction,
            rotation=arguments.rotation,
            item_codes=names,
            missing=arguments.missing,
            n_starts=arguments.starts,
            rng=rng,
        )
        matrix = correlate(values, item_codes=names, missing=arguments.missing, who="efa").matrix
        return matrix, solution
    polychoric = polychoric_correlations(values, item_codes=names, missing=arguments.missing)
    if np.isnan(polychoric.matrix).any():
        raise AnalysisInputError(
            f"efa requires a correlation of every pair; {polychoric.notes[0]}. Remedy: leave it out."
        )
    solution = factor_correlations(
        polychoric.matrix,
        n_used=polychoric.n_used,
        n_dropped=polychoric.n_dropped,
        n_factors=arguments.factors,
        extraction=arguments.extraction,
        rotation=arguments.rotation,
        item_codes=names,
        kind="polychoric",
        n_starts=arguments.starts,
        rng=rng,
    )
    return polychoric.matrix, with_notes(solution, polychoric.notes)


def _sections(
    names: list[str],
    factors: list[str],
    solution: FactorSolution,
    adequacy: KaiserMeyerOlkin,
    sphericity: BartlettSphericity,
) -> list[Section]:
    order = solution.display_order
    correlated = solution.rotation in ("oblimin", "promax") and len(factors) > 1
    correlations: list[tuple[Cell, ...]] = [
        (f"correlation with {name}", *(float(value) for value in row))
        for name, row in zip(factors, solution.phi if correlated else (), strict=correlated)
    ]
    return [
        Section(
            title=f"Loadings: {solution.extraction}, {solution.rotation}, {solution.kind} correlations "
            f"({solution.n_used} rows used, {solution.n_dropped} left out)",
            columns=("item", *factors, "communality", "uniqueness", "complexity", "KMO"),
            rows=[
                (
                    names[i],
                    *(float(loading) for loading in solution.loadings[i]),
                    float(solution.communalities[i]),
                    float(solution.uniquenesses[i]),
                    float(solution.complexity[i]),
                    float(adequacy.per_item[i]),
                )
                for i in order
            ],
        ),
        Section(
            title="Factors",
            columns=("", *factors),
            rows=[
                ("sum of squared loadings", *(float(value) for value in solution.variance)),
                ("share of variance", *(float(value) for value in solution.variance_share)),
                *correlations,
            ],
        ),
        Section(
            title="Before and after",
            columns=("figure", "value"),
            rows=[
                ("KMO, overall", adequacy.overall),
                ("Bartlett's chi-square", sphericity.chisq),
                ("  degrees of freedom", sphericity.df),
                ("  p", sphericity.pvalue),
                ("chi-square of the solution", solution.chisq),
                ("  degrees of freedom", solution.df),
                ("  p", solution.pvalue),
                ("RMSEA", solution.rmsea),
                ("  90 % interval, lower", solution.rmsea_ci_lower),
                ("  90 % interval, upper", solution.rmsea_ci_upper),
                ("TLI", solution.tli),
                ("BIC", solution.bic),
                ("RMSR", solution.rmsr),
                ("converged", solution.converged),
                ("admissible", solution.admissible),
            ],
        ),
    ]
