"""`describe`: each item's distribution, absences, floor and ceiling; with --scales also multitrait scaling.

The points of the response scale are the values that occur in any of the items (or the whole numbers of --range); with
more than 20 different values an item is a measurement, and floor and ceiling are the shares at its own extremes.
"""

import argparse

import numpy as np

from analysis.psychometrics.command_line.correlations import add_missing
from analysis.psychometrics.command_line.options import add_data, add_items, chosen_items, split_scales
from analysis.psychometrics.command_line.report import Cell, Report, Section
from analysis.psychometrics.command_line.scale_items import (
    add_reverse,
    add_scales,
    check_reverse,
    distinct_items,
    keyed_values,
    read_range,
)
from analysis.psychometrics.command_line.table import NO_REASON, REASONS, read_table
from analysis.psychometrics.errors import AnalysisInputError
from analysis.psychometrics.items.item_statistics import ItemStatistics, describe_items
from analysis.psychometrics.items.multitrait_scaling import MultitraitScaling, multitrait_scaling
from analysis.psychometrics.response_matrix import FloatArray


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Data file, items, and scales to compare their items with."""
    add_data(parser)
    add_items(parser)
    add_scales(parser, meaning="compare every item with its own and every other scale (multitrait scaling)")
    add_reverse(parser)
    add_missing(parser)


def run(arguments: argparse.Namespace) -> Report:
    """Describe the items as they were answered; correlate them with scales once they are turned round."""
    table = read_table(arguments.data)
    scales = split_scales(arguments.scales) if arguments.scales else {}
    names = distinct_items(scales) if scales and not arguments.items else chosen_items(arguments, table)
    ends = read_range(arguments.range)
    values = keyed_values(table, names, [], ends)
    absences = table.absences(names)
    items = describe_items(values, item_codes=names, scale_values=_points(values, ends), missing_by_reason=absences)
    points = next((item.points for item in items if item.points), ())
    notes = [f"{item.item}: {note}" for item in items for note in item.notes]
    n_used = int((~np.isnan(values).all(axis=1)).sum())
    data = {
        "items": {item.item: item for item in items},
        "scale_values": points,
        "n_rows": len(values),
        "n_used": n_used,  # rows with an answer to at least one item: each item is described by all its answers
        "n_dropped": len(values) - n_used,
        "n_complete": int((~np.isnan(values).any(axis=1)).sum()),
    }
    sections = [
        Section(
            title=f"Items ({len(values)} rows, {data['n_complete']} without a missing answer)",
            columns=("item", "n", "missing", "mean", "sd", "skew", "kurtosis", "floor", "ceiling"),
            rows=[_row(item) for item in items],
        )
    ]
    if points:
        sections.append(
            Section(
                title="Shares of the answers",
                columns=("item", *(f"{point:g}" for point in points)),
                rows=[(item.item, *item.shares) for item in items],
            )
        )
    reasons = [reason for reason in (*REASONS, NO_REASON) if any(reason in found for found in absences.values())]
    if reasons and reasons != [NO_REASON]:
        sections.append(
            Section(
                title="Why answers are missing",
                columns=("item", *reasons),
                rows=[(name, *(absences[name].get(reason, 0) for reason in reasons)) for name in names],
            )
        )
    if scales:
        members = distinct_items(scales)
        turned = check_reverse(arguments.reverse, members)
        scaling = multitrait_scaling(
            keyed_values(table, members, turned, ends),
            scales=scales,
            item_codes=members,
            missing=arguments.missing,
        )
        notes += scaling.notes
        data["scaling"] = scaling
        sections += _scaling_sections(scaling)
    elif arguments.reverse:
        raise AnalysisInputError(
            "--reverse goes with --scales: items are described as they were answered. Remedy: leave it out."
        )
    return Report(data=data | {"notes": notes}, sections=sections, notes=notes)


def _points(values: FloatArray, ends: tuple[float, float] | None) -> list[float] | None:
    """Return every whole number between declared ends when all answers are whole; otherwise the values found decide."""
    if ends is None or ends[1] - ends[0] > 20 or not all(float(end).is_integer() for end in ends):
        return None
    answered = values[~np.isnan(values)]
    if not (answered == np.rint(answered)).all():
        return None
    return [float(point) for point in range(int(ends[0]), int(ends[1]) + 1)]


def _row(item: ItemStatistics) -> tuple[str | float | int, ...]:
    return (
        item.item,
        item.n,
        item.n_missing,
        item.mean,
        item.sd,
        item.skewness,
        item.kurtosis,
        item.floor_share,
        item.ceiling_share,
    )


def _scaling_sections(scaling: MultitraitScaling) -> list[Section]:
    def worst(verdicts: list[str]) -> str:
        order = ("definite error", "probable error", "probable success", "definite success")
        return next((verdict for verdict in order if verdict in verdicts), "")

    rows: list[tuple[Cell, ...]] = [
        (
            item.item,
            item.scale,
            *(item.own_r if name == item.scale else item.other_r[name] for name in scaling.scale_names),
            worst(list(item.verdicts.values())),
        )
        for item in scaling.items
    ]
    return [
        Section(
            title=f"Items with scales, the item taken out of its own ({scaling.n_used} rows used, "
            f"{scaling.n_dropped} left out; two standard errors are {2 * scaling.standard_error:.3f})",
            columns=("item", "own scale", *scaling.scale_names, "worst verdict"),
            rows=rows,
        ),
        Section(
            title="Scaling successes",
            columns=(
                "scale",
                "items",
                "own r, lowest",
                "highest",
                f"{scaling.convergent_standard:.2f} reached",
                "tests",
                "definite success",
                "probable success",
                "probable error",
                "definite error",
            ),
            rows=[
                (
                    scale.scale,
                    scale.n_items,
                    scale.own_r_lowest,
                    scale.own_r_highest,
                    scale.convergent_share,
                    scale.n_tests,
                    scale.n_definite_success,
                    scale.n_probable_success,
                    scale.n_probable_error,
                    scale.n_definite_error,
                )
                for scale in scaling.scales
            ],
        ),
    ]
