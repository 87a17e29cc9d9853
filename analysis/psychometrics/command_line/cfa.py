"""`cfa`: a factor or structural equation model in lavaan's syntax, fitted and judged."""

import argparse
from pathlib import Path

from analysis.psychometrics.command_line.options import add_data, finite_number, split_names
from analysis.psychometrics.command_line.report import Cell, Report, Section
from analysis.psychometrics.command_line.table import Table, read_table
from analysis.psychometrics.errors import AnalysisInputError
from analysis.psychometrics.sem import (
    ModelFit,
    factor_scores,
    fit_model,
    modification_indices,
    residual_correlations,
    standardised_solution,
)
from analysis.psychometrics.sem.estimation import Estimator
from analysis.psychometrics.sem.parameter_table import GROUP_EQUAL
from analysis.psychometrics.sem.syntax import parse_syntax
from analysis.psychometrics.sem.two_level import fit_two_level, has_levels, two_level_items

#: Counts, printed without decimals.
_COUNTS = ("npar", "df", "df_scaled", "baseline_df", "baseline_df_scaled", "ntotal")
_OPERATORS = {
    "=~": "Loadings",
    "<~": "Composites",
    "~": "Regressions",
    "~~": "Variances and covariances",
    "~1": "Intercepts",
    "|": "Thresholds",
    "~*~": "Scales",
    ":=": "Defined parameters",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Data file, model, estimator, and what depends on them."""
    add_data(parser)
    add_model(parser)
    add_estimator(parser)
    parser.add_argument("--group", metavar="COL", help="fit the model in each group of this column")
    parser.add_argument(
        "--group-equal", metavar="A,B,…", help=f"what is equal over groups: {', '.join(GROUP_EQUAL)}", default=""
    )
    parser.add_argument("--group-partial", metavar="A,B,…", help="exceptions, such as visual=~x2", default="")
    parser.add_argument("--cluster", metavar="COL", help="standard errors that allow for clusters of this column (MLR)")
    parser.add_argument("--std-lv", action="store_true", help="fix factor variances at 1 instead of first loadings")
    parser.add_argument("--orthogonal", action="store_true", help="factors uncorrelated")
    parser.add_argument("--meanstructure", action="store_true", help="intercepts in the model")
    parser.add_argument(
        "--auto", choices=("cfa", "sem", "growth"), default="cfa", help="defaults that complete the model"
    )
    parser.add_argument(
        "--modindices",
        nargs="?",
        type=finite_number,
        const=3.84,
        metavar="LEAST",
        help="modification indices of at least this",
    )
    parser.add_argument(
        "--standardized", action="store_true", help="the standardised solution with standard errors of its own"
    )
    parser.add_argument("--residuals", action="store_true", help="observed minus implied correlations")
    parser.add_argument("--scores", action="store_true", help="factor scores of every row")
    parser.add_argument("--parameterization", choices=("delta", "theta"), default="delta", help="of ordinal items")


def add_model(parser: argparse.ArgumentParser) -> None:
    """`--model`: a file, or the model itself."""
    parser.add_argument(
        "--model", required=True, metavar="FILE|TEXT", help='a file with the model, or the model ("f =~ x1 + x2 + x3")'
    )


def add_estimator(parser: argparse.ArgumentParser) -> None:
    """`--estimator`, `--ordered`, `--missing`."""
    parser.add_argument(
        "--estimator", choices=("ML", "MLR", "WLSMV"), type=str.upper, help="default ML, with --ordered WLSMV"
    )
    parser.add_argument(
        "--ordered", nargs="?", const=True, default=False, metavar="A,B,…", help="ordinal items (all, if none is named)"
    )
    parser.add_argument(
        "--missing",
        choices=("listwise", "fiml", "pairwise"),
        default="listwise",
        help="what to do with missing answers",
    )


def read_model(value: str) -> str:
    r"""Return the model that a file holds, or that was written on the command line (`\n` is a new line).

    Raises
    ------
    AnalysisInputError
        Neither a file nor a model.
    """
    path = Path(value)
    try:
        if len(value) < 1000 and path.is_file():
            return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise AnalysisInputError(f"{value}: cannot be read ({error}). Remedy: check the file.") from None
    if "~" not in value:
        raise AnalysisInputError(
            f"--model: {value[:60]!r} is neither a file nor a model. Remedy: check the path, or write factor =~ items."
        )
    return value.replace("\\n", "\n")


def model_columns(model: str, table: Table) -> list[str]:
    """Return the columns of the file that the model names, refusing names that are neither columns nor its own."""
    syntax = parse_syntax(model)
    latent = {term.lhs for term in syntax.terms if term.op in ("=~", "<~")}
    named: dict[str, None] = {}
    for term in syntax.terms:
        sides = (term.lhs,) if term.op in ("~1", "|", "~*~") else (term.lhs, term.rhs)
        named |= dict.fromkeys(name for name in sides if name and name not in latent)
    names = list(named)
    table.numeric(names)  # names a column that is not there, or a cell that is no number
    return names


def chosen_estimator(arguments: argparse.Namespace) -> Estimator:
    """Return the estimator asked for, or the one that fits the items."""
    if arguments.estimator is None:
        return "WLSMV" if arguments.ordered else "ML"
    estimator: Estimator = arguments.estimator
    return estimator


def chosen_ordered(arguments: argparse.Namespace) -> list[str] | bool:
    """Return the ordinal items named, or whether all are."""
    if isinstance(arguments.ordered, bool):
        return arguments.ordered
    return split_names(arguments.ordered, option="--ordered")


def run(arguments: argparse.Namespace) -> Report:
    """Fit the model."""
    table = read_table(arguments.data)
    model = read_model(arguments.model)
    if has_levels(model):
        return _two_level(arguments, table, model)
    names = model_columns(model, table)
    ordered = chosen_ordered(arguments)
    absent = [] if isinstance(ordered, bool) else [name for name in ordered if name not in names]
    if absent:
        raise AnalysisInputError(
            f"--ordered names {', '.join(absent)}, which the model does not. "
            "Remedy: name items of the model, or none for all of them."
        )
    fit = fit_model(
        model,
        table.numeric(names),
        item_codes=names,
        estimator=chosen_estimator(arguments),
        ordered=ordered,
        missing=arguments.missing,
        groups=table.text(arguments.group) if arguments.group else None,
        group_equal=split_names(arguments.group_equal, option="--group-equal") if arguments.group_equal else (),
        group_partial=split_names(arguments.group_partial, option="--group-partial") if arguments.group_partial else (),
        cluster=table.text(arguments.cluster) if arguments.cluster else None,
        std_lv=arguments.std_lv,
        orthogonal=arguments.orthogonal,
        auto=arguments.auto,
        meanstructure=True if arguments.meanstructure else None,
        parameterization=arguments.parameterization,
    )
    data, sections = as_data(fit), as_sections(fit)
    if arguments.modindices is not None:
        _add_modification_indices(fit, arguments.modindices, data, sections)
    if arguments.standardized:
        _add_standardised(fit, data, sections)
    if arguments.residuals:
        _add_residuals(fit, data, sections)
    if arguments.scores:
        groups = table.text(arguments.group) if arguments.group else None
        scores = factor_scores(fit, table.numeric(names), item_codes=names, groups=groups)
        data["scores"] = {"latent": scores.latent, "method": scores.method, "values": scores.scores}
        rows = [(line, *row) for line, row in zip(table.lines, scores.scores.tolist(), strict=True)]
        title = f"Factor scores ({scores.method})"
        sections.append(Section(title=title, columns=("line", *scores.latent), rows=rows))
    return Report(data=data, sections=sections, notes=fit.notes)


def _add_modification_indices(fit: ModelFit, least: float, data: dict[str, object], sections: list[Section]) -> None:
    """Modification indices where the solution allows them."""
    found = modification_indices(fit, minimum=least) if fit.converged and fit.identified else ()
    data["modification_indices"] = found
    sections.append(
        Section(
            title=f"Modification indices of at least {least:g}",
            columns=("parameter", "group", "mi", "epc", "sepc.lv", "sepc.all"),
            rows=[
                (f"{entry.lhs} {entry.op} {entry.rhs}", entry.group, entry.mi, entry.epc, entry.sepc_lv, entry.sepc_all)
                for entry in found
            ],
        )
    )


def _add_standardised(fit: ModelFit, data: dict[str, object], sections: list[Section]) -> None:
    """The standardised solution, standard errors by the delta method."""
    found = standardised_solution(fit)
    data["standardized"] = found
    sections.append(
        Section(
            title="Standardised solution (all variables)",
            columns=("parameter", "group", "est.std", "se", "z", "p", "lower", "upper"),
            rows=[
                (
                    f"{row.lhs} {row.op} {row.rhs}".strip(),
                    row.group,
                    row.est_std,
                    row.se,
                    row.z,
                    row.pvalue,
                    row.ci_lower,
                    row.ci_upper,
                )
                for row in found
            ],
        )
    )


def _add_residuals(fit: ModelFit, data: dict[str, object], sections: list[Section]) -> None:
    """Residual correlations by group."""
    matrices = residual_correlations(fit)
    codes = fit.sample.item_codes
    named = [
        {code: dict(zip(codes, row, strict=True)) for code, row in zip(codes, matrix.tolist(), strict=True)}
        for matrix in matrices
    ]
    data["residual_correlations"] = named[0] if len(named) == 1 else named
    for label, matrix in zip(fit.group_labels, matrices, strict=False):
        where = f", group {label}" if len(fit.group_labels) > 1 else ""
        rows = [(code, *row) for code, row in zip(codes, matrix.tolist(), strict=True)]
        sections.append(Section(title=f"Residual correlations{where}", columns=("item", *codes), rows=rows))


def _two_level(arguments: argparse.Namespace, table: Table, model: str) -> Report:
    """Fit a model in `level:` blocks; its groups are the levels, 1 within and 2 between clusters."""
    other = [
        option
        for option, given in (
            ("--group", arguments.group),
            ("--group-equal", arguments.group_equal),
            ("--ordered", arguments.ordered),
            ("--missing", arguments.missing != "listwise"),
        )
        if given
    ]
    if not arguments.cluster or other:
        what = f"{other[0]} does not go with it" if other else "it needs --cluster"
        raise AnalysisInputError(
            f"--model is written in `level:` blocks: {what}. Remedy: name the clusters' column, and leave groups, "
            "ordinal items and other treatments of missing answers out."
        )
    names = list(two_level_items(model))
    fit = fit_two_level(
        model,
        table.numeric(names),
        table.text(arguments.cluster),
        item_codes=names,
        estimator=chosen_estimator(arguments),
        std_lv=arguments.std_lv,
        orthogonal=arguments.orthogonal,
    )
    return Report(data=as_data(fit), sections=as_sections(fit), notes=fit.notes)


def as_data(fit: ModelFit) -> dict[str, object]:
    """Return a fitted model for programs."""
    return {
        "fit": {key: int(value) if key in _COUNTS and value == value else value for key, value in fit.fit.items()},
        "parameters": fit.parameters,
        "r2": fit.r2[0] if len(fit.r2) == 1 else list(fit.r2),
        "estimator": fit.estimator,
        "missing": fit.missing,
        "group_labels": fit.group_labels if len(fit.group_labels) > 1 else (),
        "group_sizes": fit.group_sizes,
        "n_used": fit.n_used,
        "n_dropped": fit.n_dropped,
        "converged": fit.converged,
        "admissible": fit.admissible,
        "identified": fit.identified,
        "n_iterations": fit.n_iterations,
        "notes": fit.notes,
    }


def as_sections(fit: ModelFit) -> list[Section]:
    """Return a fitted model for people."""
    judgement = "converged" if fit.converged else "NOT CONVERGED"
    if fit.converged and not fit.admissible:
        judgement = "converged, NOT ADMISSIBLE (see notes)"
    sections = [
        Section(
            title=f"Fit ({fit.estimator}, {fit.missing}; {fit.n_used} rows used, {fit.n_dropped} dropped; {judgement})",
            columns=("measure", "value", "scaled", "robust"),
            rows=_fit_rows(fit),
        )
    ]
    several = len(fit.group_labels) > 1
    for group in (*range(1, len(fit.group_labels) + 1), 0):
        for op, title in _OPERATORS.items():
            rows = [row for row in fit.parameters if row.op == op and row.group == group]
            if not rows:
                continue
            where = f", group {fit.group_labels[group - 1]}" if several and group else ""
            sections.append(
                Section(
                    title=f"{title}{where}",
                    columns=("parameter", "label", "est", "se", "z", "p", "lower", "upper", "std.lv", "std.all"),
                    rows=[
                        (
                            f"{row.lhs} {row.op} {row.rhs}".strip(),
                            row.label,
                            row.est,
                            row.se if row.free else None,
                            row.z,
                            row.pvalue,
                            row.ci_lower if row.free else None,
                            row.ci_upper if row.free else None,
                            row.std_lv,
                            row.std_all,
                        )
                        for row in rows
                    ],
                )
            )
    for position, shares in enumerate(fit.r2):
        where = f", group {fit.group_labels[position]}" if several else ""
        sections.append(
            Section(title=f"Explained variance{where}", columns=("variable", "R²"), rows=list(shares.items()))
        )
    return sections


def _fit_rows(fit: ModelFit) -> list[tuple[Cell, ...]]:
    """Put plain, scaled and robust measures side by side."""
    labels = {
        "chisq": "chi-square",
        "df": "degrees of freedom",
        "pvalue": "p",
        "baseline_chisq": "baseline chi-square",
        "cfi": "CFI",
        "tli": "TLI",
        "rmsea": "RMSEA",
        "rmsea_ci_lower": "  90 % interval, lower",
        "rmsea_ci_upper": "  90 % interval, upper",
        "rmsea_pvalue": "  p (RMSEA ≤ .05)",
        "srmr": "SRMR",
        "srmr_within": "  within clusters",
        "srmr_between": "  between clusters",
        "logl": "log-likelihood",
        "aic": "AIC",
        "bic": "BIC",
        "npar": "free parameters",
    }
    rows: list[tuple[Cell, ...]] = []
    for key, label in labels.items():
        if key not in fit.fit:
            continue
        values: list[Cell] = [fit.fit[key], fit.fit.get(f"{key}_scaled"), fit.fit.get(f"{key}_robust")]
        if key in _COUNTS:
            values = [None if value is None else int(value) for value in values if not isinstance(value, str)]
        rows.append((label, *values))
    if "chisq_scaling_factor" in fit.fit:
        rows.append(("scaling factor", None, fit.fit["chisq_scaling_factor"], None))
    return rows
