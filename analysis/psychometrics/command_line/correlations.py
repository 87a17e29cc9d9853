"""`correlations`: Pearson, or polychoric with thresholds (polyserial where a measured column meets an ordinal one)."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analysis.psychometrics.command_line.options import add_data, add_items, chosen_items, split_names
from analysis.psychometrics.command_line.report import Report, Section
from analysis.psychometrics.command_line.table import read_table
from analysis.psychometrics.correlations.ordinal_moments import correlation_standard_errors, ordinal_moments
from analysis.psychometrics.correlations.polychoric import polychoric_correlations
from analysis.psychometrics.errors import AnalysisInputError
from analysis.psychometrics.items.item_statistics import inter_item_correlations
from analysis.psychometrics.response_matrix import FloatArray, IntArray, Missing


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Data file, items, the kind of correlation, what to do about missing answers."""
    add_data(parser)
    add_items(parser)
    add_kind(parser)
    add_missing(parser)
    parser.add_argument(
        "--continuous", metavar="A,B,…", help="with --kind polychoric: columns that are measurements, not categories"
    )


def add_kind(parser: argparse.ArgumentParser) -> None:
    """`--kind`: the correlation."""
    parser.add_argument(
        "--kind", choices=("pearson", "polychoric"), default="pearson", help="the correlation (default pearson)"
    )


def add_missing(parser: argparse.ArgumentParser) -> None:
    """`--missing`: which rows count."""
    parser.add_argument(
        "--missing",
        choices=("listwise", "pairwise"),
        default="listwise",
        help="complete rows (default), or for each pair of columns all rows that hold both",
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Answer:
    matrix: FloatArray
    se: FloatArray | None
    thresholds: dict[str, FloatArray]
    categories: dict[str, FloatArray]
    n_pairs: IntArray
    smoothed: bool
    n_used: int
    n_dropped: int
    notes: tuple[str, ...]


def run(arguments: argparse.Namespace) -> Report:
    """Correlate the columns."""
    table = read_table(arguments.data)
    names = chosen_items(arguments, table)
    values = table.numeric(names)
    continuous = split_names(arguments.continuous, option="--continuous") if arguments.continuous else []
    unknown = [name for name in continuous if name not in names]
    if unknown:
        raise AnalysisInputError(
            f"--continuous names {unknown[0]!r}, which is not correlated. Remedy: name it in --items, too."
        )
    if continuous and arguments.kind == "pearson":
        raise AnalysisInputError("--continuous goes with --kind polychoric. Remedy: leave it out, or choose that kind.")
    if arguments.kind == "pearson":
        answer = _pearson(values, names, arguments.missing)
    elif continuous:
        answer = _mixed(values, names, [name not in continuous for name in names], arguments.missing)
    else:
        answer = _polychoric(values, names, arguments.missing)
    return Report(
        data={
            "items": names,
            "kind": arguments.kind,
            "continuous": continuous,
            "missing": arguments.missing,
            "matrix": answer.matrix,
            "se": answer.se,
            "thresholds": answer.thresholds,
            "categories": answer.categories,
            "n_pairs": answer.n_pairs,
            "smoothed": answer.smoothed,
            "n_used": answer.n_used,
            "n_dropped": answer.n_dropped,
            "notes": answer.notes,
        },
        sections=_sections(arguments.kind, names, answer),
        notes=answer.notes,
    )


def _pearson(values: FloatArray, names: Sequence[str], missing: Missing) -> _Answer:
    result = inter_item_correlations(values, item_codes=names, missing=missing)
    return _Answer(
        matrix=result.matrix,
        se=None,
        thresholds={},
        categories={},
        n_pairs=result.n_pairs,
        smoothed=False,
        n_used=result.n_used,
        n_dropped=result.n_dropped,
        notes=result.notes,
    )


def _polychoric(values: FloatArray, names: Sequence[str], missing: Missing) -> _Answer:
    result = polychoric_correlations(values, item_codes=names, missing=missing)
    # Without a correlation, or at ±1, there is no standard error.
    usable = bool((np.abs(result.matrix[np.triu_indices(len(names), k=1)]) < 1).all())
    se = correlation_standard_errors(values, item_codes=names, missing=missing) if usable else None
    return _Answer(
        matrix=result.matrix,
        se=se,
        thresholds=dict(zip(names, result.thresholds, strict=True)),
        categories=dict(zip(names, result.categories, strict=True)),
        n_pairs=result.n_pairs,
        smoothed=result.smoothed,
        n_used=result.n_used,
        n_dropped=result.n_dropped,
        notes=result.notes,
    )


def _mixed(values: FloatArray, names: Sequence[str], ordered: Sequence[bool], missing: Missing) -> _Answer:
    result = ordinal_moments(values, item_codes=names, ordered=ordered, missing=missing, asymptotic="none")
    usable = bool((np.abs(result.correlation[np.triu_indices(len(names), k=1)]) < 1).all())
    se = correlation_standard_errors(values, item_codes=names, ordered=ordered, missing=missing) if usable else None
    n_used = int(result.n_pairs.min()) if missing == "pairwise" else result.n_used
    ordinal = [name for name, flag in zip(names, ordered, strict=True) if flag]
    return _Answer(
        matrix=result.correlation,
        se=se,
        thresholds={name: own for name, own in zip(names, result.thresholds, strict=True) if name in ordinal},
        categories={name: own for name, own in zip(names, result.categories, strict=True) if name in ordinal},
        n_pairs=result.n_pairs,
        smoothed=False,
        n_used=n_used,
        n_dropped=len(values) - n_used,
        notes=result.notes,
    )


def _sections(kind: str, names: Sequence[str], answer: _Answer) -> list[Section]:
    title = "Polychoric correlations" if kind == "polychoric" else "Pearson correlations"
    sections = [
        Section(
            title=f"{title} ({answer.n_used} rows used, {answer.n_dropped} left out)",
            columns=("", *names),
            rows=[(name, *(float(r) for r in row)) for name, row in zip(names, answer.matrix, strict=True)],
        )
    ]
    if answer.thresholds:
        most = max(len(own) for own in answer.thresholds.values())
        sections.append(
            Section(
                title="Thresholds",
                columns=("", *(f"t{number + 1}" for number in range(most))),
                rows=[
                    (name, *(float(value) for value in own), *(None for _ in range(most - len(own))))
                    for name, own in answer.thresholds.items()
                ],
            )
        )
    return sections
