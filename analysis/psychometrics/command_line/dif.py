"""`dif`: differential item functioning between groups, by ordinal logistic regression."""

import argparse

from analysis.psychometrics.command_line.options import add_data, add_items, chosen_items, finite_number
from analysis.psychometrics.command_line.report import Report, Section
from analysis.psychometrics.command_line.scale_items import add_reverse, check_reverse, keyed_values, read_range
from analysis.psychometrics.command_line.table import read_table
from analysis.psychometrics.errors import AnalysisInputError
from analysis.psychometrics.item_response.differential_item_functioning import COSMIN_DELTA_R2, ordinal_logistic_dif

_MATCHED = {"total": "the total score", "rest": "the score of the other items", "eap": "the EAP score"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Data, items, groups, and how respondents are matched."""
    add_data(parser)
    add_items(parser)
    parser.add_argument("--group", metavar="COL", required=True, help="the column that names each row's group")
    parser.add_argument("--reference", metavar="GROUP", help="the group others are compared to (default: the largest)")
    parser.add_argument(
        "--matching",
        choices=["total", "rest", "eap"],
        default="total",
        help="score that makes respondents comparable: total (default), without the item, or the EAP of a graded model",
    )
    parser.add_argument(
        "--purify", action="store_true", help="leave flagged items out of the matching score, repeatedly"
    )
    parser.add_argument(
        "--criterion",
        type=finite_number,
        default=COSMIN_DELTA_R2,
        help="flag an item from this rise of McFadden's R² (default 0.02, COSMIN)",
    )
    add_reverse(parser)


def run(arguments: argparse.Namespace) -> Report:
    """Test every item."""
    table = read_table(arguments.data)
    names = chosen_items(arguments, table, leave_out=[arguments.group])
    if arguments.group in names:
        raise AnalysisInputError(
            f"{table.path}: column {arguments.group!r} is the group and an item. Remedy: leave it out of --items."
        )
    values = keyed_values(table, names, check_reverse(arguments.reverse, names), read_range(arguments.range))
    result = ordinal_logistic_dif(
        values,
        table.text(arguments.group),
        item_codes=names,
        matching=arguments.matching,
        purify=arguments.purify,
        criterion=arguments.criterion,
        reference=arguments.reference,
    )
    notes = [*result.notes, *(f"{item.item_code}: {note}" for item in result.items for note in item.notes)]
    others = result.groups[1:]
    return Report(
        data={
            "items": {item.item_code: item for item in result.items},
            "groups": dict(zip(result.groups, result.n_per_group, strict=True)),
            "reference": result.groups[0],
            "matching": result.matching,
            "purified": result.purified,
            "n_rounds": result.n_rounds,
            "anchor_items": result.anchor_items,
            "criterion": result.criterion,
            "n_used": result.n_used,
            "n_dropped": result.n_dropped,
            "notes": notes,
        },
        sections=[
            Section(
                title="Groups",
                columns=("group", "n"),
                rows=list(zip(result.groups, result.n_per_group, strict=True)),
            ),
            Section(
                title=f"Tests, matched on {_MATCHED[result.matching]}",
                columns=("item", "uniform χ²", "df", "p", "non-uniform χ²", "df", "p", "total χ²", "df", "p", "p (BH)"),
                rows=[
                    (
                        item.item_code,
                        item.chisq_uniform,
                        item.df_uniform,
                        item.pvalue_uniform,
                        item.chisq_nonuniform,
                        item.df_nonuniform,
                        item.pvalue_nonuniform,
                        item.chisq_total,
                        item.df_total,
                        item.pvalue_total,
                        item.pvalue_total_adjusted,
                    )
                    for item in result.items
                ],
            ),
            Section(
                title=f"Size: McFadden's R² and effects against {result.groups[0]}",
                columns=(
                    "item",
                    "R² score",
                    "ΔR² uniform",
                    "ΔR² non-uniform",
                    "ΔR² total",
                    f"≥ {result.criterion:g}",
                    *(part for name in others for part in (f"log odds {name}", "se")),
                ),
                rows=[
                    (
                        item.item_code,
                        item.r2_matching,
                        item.delta_r2_uniform,
                        item.delta_r2_nonuniform,
                        item.delta_r2_total,
                        item.flagged,
                        *(cell for pair in zip(item.log_odds, item.log_odds_se, strict=True) for cell in pair),
                    )
                    for item in result.items
                ],
                decimals=4,
            ),
        ],
        notes=notes,
    )
