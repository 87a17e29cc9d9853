"""`describe`: each item's distribution, absences, floor and ceiling."""

import argparse

import numpy as np

from analysis.psychometrics.command_line.options import add_data, add_items, chosen_items
from analysis.psychometrics.command_line.report import Report, Section
from analysis.psychometrics.command_line.table import read_table
from analysis.psychometrics.item_statistics import describe_items


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Data file and items."""
    add_data(parser)
    add_items(parser)


def run(arguments: argparse.Namespace) -> Report:
    """Describe the items; the points of the scale are the values that occur."""
    table = read_table(arguments.data)
    names = chosen_items(arguments, table)
    values = table.numeric(names)
    points = np.unique(values[~np.isnan(values)])
    items = describe_items(values, item_codes=names, scale_values=points.tolist())
    return Report(
        data={"items": {item.item: item for item in items}, "scale_values": points, "n_rows": len(values)},
        sections=[
            Section(
                title="Items",
                columns=("item", "n", "missing", "mean", "sd", "floor", "ceiling"),
                rows=[(i.item, i.n, i.n_missing, i.mean, i.sd, i.floor_share, i.ceiling_share) for i in items],
            )
        ],
        notes=[f"{item.item}: {note}" for item in items for note in item.notes],
    )
