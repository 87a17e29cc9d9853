"""`agreement`: how far patients and clinicians agree about the same dyads."""

import argparse
from typing import Any

import numpy as np

from analysis.psychometrics.command_line.options import add_seed, split_names, whole_number
from analysis.psychometrics.command_line.report import Report, Section
from analysis.psychometrics.command_line.two_files import add_two_files, read_two_files
from analysis.psychometrics.dyads.agreement import Agreement, Estimates, agreement
from analysis.psychometrics.dyads.bland_altman import BlandAltman, bland_altman
from analysis.psychometrics.errors import AnalysisInputError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Two data files, the response scale, and which columns are guesses at the patient."""
    add_two_files(parser)
    parser.add_argument("--categories", metavar="1,2,…", help="the points of the response scale, if not all were used")
    parser.add_argument("--meta-perception", metavar="A,B,…", help="columns in which the clinician guessed the patient")
    parser.add_argument("--draws", type=whole_number(least=20), default=2000, help="resamples (default 2000)")
    add_seed(parser)


def run(arguments: argparse.Namespace) -> Report:
    """Pair the two files by the key and compare the columns."""
    pairs = read_two_files(arguments)
    rng = None if pairs.clusters is None else np.random.default_rng(arguments.seed)
    meta = split_names(arguments.meta_perception, option="--meta-perception") if arguments.meta_perception else []
    unknown = [name for name in meta if name not in pairs.columns]
    if unknown:
        raise AnalysisInputError(
            f"--meta-perception names {unknown[0]!r}, which is not compared. Remedy: name it in --columns, too."
        )
    perspective = ["meta_perception" if name in meta else None for name in pairs.columns]
    result = agreement(
        pairs.patient,
        pairs.clinician,
        names=pairs.columns,
        categories=_categories(arguments.categories),
        perspective=perspective if meta else None,
        clinicians=pairs.clusters,
        n_draws=arguments.draws,
        rng=rng,
    )
    limits = bland_altman(
        pairs.patient,
        pairs.clinician,
        names=pairs.columns,
        clinicians=pairs.clusters,
        n_draws=arguments.draws,
        rng=None if pairs.clusters is None else np.random.default_rng(arguments.seed),
    )
    notes = list(dict.fromkeys([*pairs.notes, *result.notes, *limits.notes]))
    return Report(
        data={
            "columns": {name: _column(result, limits, i) for i, name in enumerate(pairs.columns)},
            "n_used": len(pairs.patient),
            "n_dropped": pairs.n_dropped,
            "n_clinicians": result.n_clinicians,
            "categories": result.categories,
            "notes": notes,
        },
        sections=_sections(result, limits),
        notes=notes,
    )


def _categories(value: str | None) -> list[float] | None:
    if value is None:
        return None
    try:
        return [float(point) for point in split_names(value, option="--categories")]
    except ValueError:
        raise AnalysisInputError(
            f"--categories {value!r}: not numbers. Remedy: write --categories 1,2,3,4,5."
        ) from None


def _column(result: Agreement, limits: BlandAltman, i: int) -> dict[str, Any]:
    """Return one column's figures under flat names."""
    figures: dict[str, Any] = {
        "reading": result.reading[i],
        "n_used": result.n_used[i],
        "n_dropped": result.n_dropped[i],
    }
    for name in ("icc_a1", "icc_c1", "icc_1", "icc_ak", "icc_ck", "kappa_quadratic", "ac2", "exact", "within_one"):
        _spread_out(figures, name, getattr(result, name), i)
    for name in ("bias", "loa_lower", "loa_upper", "level_slope", "spread_slope"):
        _spread_out(figures, name, getattr(limits, name), i)
    for name in (
        "sd",
        "sd_between",
        "sd_within",
        "level_intercept",
        "level_slope_pvalue",
        "spread_intercept",
        "spread_slope_pvalue",
        "residual_sd",
        "bias_depends_on_level",
        "spread_depends_on_level",
    ):
        figures[name] = getattr(limits, name)[i]
    return figures


def _spread_out(figures: dict[str, Any], name: str, estimates: Estimates, i: int) -> None:
    figures[name] = estimates.estimate[i]
    figures[f"{name}_ci_lower"] = estimates.ci_lower[i]
    figures[f"{name}_ci_upper"] = estimates.ci_upper[i]
    figures[f"{name}_se"] = estimates.se[i]


def _sections(result: Agreement, limits: BlandAltman) -> list[Section]:
    columns = range(len(result.names))
    interval = f"{result.icc_a1.method}, {result.confidence:.0%}"
    readings = [(result.names[i], result.reading[i]) for i in columns if result.reading[i] != "agreement"]
    sections = [
        Section(
            title=f"Agreement (intervals of the ICCs: {interval})",
            columns=("column", "n", "ICC(A,1)", "from", "to", "ICC(C,1)", "from", "to"),
            rows=[
                (
                    result.names[i],
                    int(result.n_used[i]),
                    *(
                        float(x[i])
                        for e in (result.icc_a1, result.icc_c1)
                        for x in (e.estimate, e.ci_lower, e.ci_upper)
                    ),
                )
                for i in columns
            ],
        ),
        Section(
            title="Agreement on the response scale, beyond chance and raw",
            columns=("column", "kappa, quadratic", "se", "AC2", "se", "same answer", "at most one apart"),
            rows=[
                (
                    result.names[i],
                    *(float(x[i]) for e in (result.kappa_quadratic, result.ac2) for x in (e.estimate, e.se)),
                    float(result.exact.estimate[i]),
                    float(result.within_one.estimate[i]),
                )
                for i in columns
            ],
        ),
        Section(
            title=f"Clinician minus patient: bias and limits of agreement (intervals: {limits.bias.method})",
            columns=("column", "bias", "from", "to", "sd", "limit, lower", "upper", "slope on level", "spread slope"),
            rows=[
                (
                    result.names[i],
                    float(limits.bias.estimate[i]),
                    float(limits.bias.ci_lower[i]),
                    float(limits.bias.ci_upper[i]),
                    float(limits.sd[i]),
                    float(limits.loa_lower.estimate[i]),
                    float(limits.loa_upper.estimate[i]),
                    float(limits.level_slope.estimate[i]),
                    float(limits.spread_slope.estimate[i]),
                )
                for i in columns
            ],
        ),
    ]
    if readings:
        sections.append(Section(title="What agreement means", columns=("column", "reading"), rows=readings))
    return sections
