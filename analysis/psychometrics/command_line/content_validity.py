"""`content-validity`: experts' ratings of relevance, and how they sort the items."""

import argparse
from typing import Any

from analysis.psychometrics.command_line.options import add_data, add_items, chosen_items, finite_number
from analysis.psychometrics.command_line.report import Report, Section
from analysis.psychometrics.command_line.table import read_table
from analysis.psychometrics.errors import AnalysisInputError
from analysis.psychometrics.items.content_validity import ContentValidity, ItemSorting, content_validity, sort_items


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Ratings with a row an expert (or a row an item), the scale, and optionally sortings."""
    add_data(parser)
    add_items(parser)
    parser.add_argument(
        "--rows", choices=("experts", "items"), default="experts", help="what a row is (default experts)"
    )
    parser.add_argument("--item", metavar="COL", help="with --rows items: the column that names the item")
    parser.add_argument(
        "--relevant-from", type=finite_number, default=3.0, help="ratings that count as relevant (default 3)"
    )
    parser.add_argument("--lowest", type=finite_number, default=1.0, help="lowest rating (default 1)")
    parser.add_argument("--highest", type=finite_number, default=4.0, help="highest rating (default 4)")
    parser.add_argument("--sorting", metavar="SORTING.csv", help="a row an expert, a column an item, components in it")
    parser.add_argument("--intended", metavar="KEY.csv", help="columns item and component: where each item belongs")


def run(arguments: argparse.Namespace) -> Report:
    """Indices of the ratings; with --sorting, shares of the intended component."""
    table = read_table(arguments.data)
    names = chosen_items(arguments, table, leave_out=(arguments.item,))
    ratings = table.numeric(names)
    codes = names
    if arguments.rows == "items":
        ratings = ratings.T
        codes = table.text(arguments.item) if arguments.item else [f"item {k + 1}" for k in range(ratings.shape[1])]
    elif arguments.item:
        raise AnalysisInputError("--item goes with --rows items. Remedy: leave it out, or say what a row is.")
    result = content_validity(
        ratings,
        relevant_from=arguments.relevant_from,
        lowest=arguments.lowest,
        highest=arguments.highest,
        item_codes=codes,
    )
    data: dict[str, Any] = {
        "items": {item.item: item for item in result.items},
        "s_cvi_ave": result.s_cvi_ave,
        "s_cvi_ua": result.s_cvi_ua,
        "s_cvi_ave_passes": result.s_cvi_ave_passes,
        "s_cvi_ua_passes": result.s_cvi_ua_passes,
        "n_experts": result.n_experts,
        "n_items": result.n_items,
        "n_used": result.n_experts,
        "n_dropped": len(ratings) - result.n_experts,
        "notes": result.notes,
    }
    sections = _sections(result)
    if arguments.sorting or arguments.intended:
        sorting = _sorting(arguments)
        data["sorting"] = {item.item: item for item in sorting}
        sections.append(_sorting_section(sorting))
    return Report(data=data, sections=sections, notes=result.notes)


def _sorting(arguments: argparse.Namespace) -> tuple[ItemSorting, ...]:
    if not (arguments.sorting and arguments.intended):
        raise AnalysisInputError("--sorting and --intended go together. Remedy: give both files.")
    key = read_table(arguments.intended)
    intended = dict(zip(key.text("item"), key.text("component"), strict=True))
    sorted_by = read_table(arguments.sorting)
    unknown = [name for name in intended if name not in sorted_by.names]
    if unknown:
        raise AnalysisInputError(
            f"{sorted_by.path}: there is no column {unknown[0]!r}, which {key.path} lists. "
            "Remedy: name the items alike in both files."
        )
    columns = [sorted_by.text(name) for name in intended]
    placements = [list(row) for row in zip(*columns, strict=True)]
    return sort_items(placements, list(intended.values()), item_codes=list(intended))


def _sections(result: ContentValidity) -> list[Section]:
    return [
        Section(
            title=f"Content validity by {result.n_experts} experts",
            columns=("item", "experts", "relevant", "i_cvi", "chance", "kappa", "grade", "i_cvi passes"),
            rows=[
                (i.item, i.n_experts, i.n_relevant, i.i_cvi, i.p_chance, i.kappa, i.grade, i.i_cvi_passes)
                for i in result.items
            ],
        ),
        Section(
            title="The scale",
            columns=("index", "value", "required", "passes"),
            rows=[
                ("S-CVI/Ave", result.s_cvi_ave, 0.90, result.s_cvi_ave_passes),
                ("S-CVI/UA", result.s_cvi_ua, 0.80, result.s_cvi_ua_passes),
            ],
        ),
    ]


def _sorting_section(sorting: tuple[ItemSorting, ...]) -> Section:
    return Section(
        title="Sorted into the intended component (.70 required)",
        columns=("item", "intended", "experts", "share", "from", "to", "substantive validity", "else", "passes"),
        rows=[
            (
                i.item,
                i.intended,
                i.n_experts,
                i.share,
                i.ci_lower,
                i.ci_upper,
                i.substantive_validity,
                i.most_frequent_other,
                i.passes,
            )
            for i in sorting
        ],
    )
