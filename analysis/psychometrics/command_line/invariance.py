"""`invariance`: one factor model in several groups, with more and more of it equal."""

import argparse

from analysis.psychometrics.command_line.cfa import (
    add_estimator,
    add_model,
    chosen_estimator,
    chosen_ordered,
    model_columns,
    read_model,
)
from analysis.psychometrics.command_line.options import add_data
from analysis.psychometrics.command_line.report import Cell, Report, Section
from analysis.psychometrics.command_line.table import read_table
from analysis.psychometrics.structure.invariance import (
    LARGEST_CFI_FALL,
    LARGEST_RMSEA_RISE,
    LARGEST_SRMR_RISE,
    Invariance,
    InvarianceLevel,
    assess_invariance,
)

_COLUMNS = (
    *("level", "chi-square", "df", "CFI", "RMSEA", "SRMR"),
    *("ΔCFI", "ΔRMSEA", "ΔSRMR", "χ² diff", "df", "p", "holds"),
)
_CRITERIA = (
    f"a level holds while, beside the level before, CFI falls by no more than {LARGEST_CFI_FALL:.3f}, RMSEA rises by "
    f"no more than {LARGEST_RMSEA_RISE:.3f} and SRMR by no more than {LARGEST_SRMR_RISE['metric']:.3f} (thresholds, "
    f"loadings) or {LARGEST_SRMR_RISE['scalar']:.3f} (later levels; Chen 2007); chi-square does not decide"
)
_HOLDS = {True: "yes", False: "no", None: "–"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Data file, model, group, estimator, and whether to look for items to let free."""
    add_data(parser)
    add_model(parser)
    parser.add_argument("--group", required=True, metavar="COL", help="the column that tells the groups apart")
    add_estimator(parser)
    parser.add_argument(
        "--partial", action="store_true", help="where a level fails, report what letting each single item free changes"
    )


def run(arguments: argparse.Namespace) -> Report:
    """Fit the levels."""
    table = read_table(arguments.data)
    model = read_model(arguments.model)
    names = model_columns(model, table)
    result = assess_invariance(
        model,
        table.numeric(names),
        item_codes=names,
        groups=table.text(arguments.group),
        estimator=chosen_estimator(arguments),
        ordered=chosen_ordered(arguments),
        missing=arguments.missing,
        search_partial=arguments.partial,
    )
    return Report(data=_data(result), sections=_sections(result, arguments.group), notes=(_CRITERIA, *result.notes))


def _data(result: Invariance) -> dict[str, object]:
    entries: dict[str, object] = {level.level: _entry(level) for level in result.levels}
    return {
        **entries,
        "levels": [level.level for level in result.levels],
        "released": result.released,
        "estimator": result.estimator,
        "cfi_kind": result.cfi_kind,
        "group_labels": result.group_labels,
        "group_sizes": result.group_sizes,
        "n_used": result.n_used,
        "n_dropped": result.n_dropped,
        "converged": all(level.fit is not None and level.fit.converged for level in result.levels),
        "admissible": all(level.fit is not None and level.fit.admissible for level in result.levels),
        "notes": result.notes,
    }


def _entry(level: InvarianceLevel) -> dict[str, object]:
    """One level for programs: every index of the fit, then the changes from the level before."""
    test = level.difference
    return {
        **(level.fit.fit if level.fit else {}),
        "delta_cfi": level.delta_cfi,
        "delta_rmsea": level.delta_rmsea,
        "delta_srmr": level.delta_srmr,
        "chisq_diff": test.chisq_diff if test else None,
        "df_diff": test.df_diff if test else None,
        "pvalue_diff": test.pvalue if test else None,
        "holds": level.holds,
        "converged": level.fit.converged if level.fit else False,
        "admissible": level.fit.admissible if level.fit else False,
        "notes": level.fit.notes if level.fit else (level.error,),
    }


def _sections(result: Invariance, group: str) -> list[Section]:
    groups = ", ".join(
        f"{size} with {label}" for label, size in zip(result.group_labels, result.group_sizes, strict=True)
    )
    kind = "scaled CFI and RMSEA" if result.cfi_kind == "scaled" else "CFI and RMSEA"
    sections = [
        Section(
            title=f"Invariance over {group} ({result.estimator}; {kind}; rows: {groups})",
            columns=_COLUMNS,
            rows=[_row(level) for level in result.levels],
        )
    ]
    if result.released:
        sections.append(
            Section(
                title="What letting one item free would change (a report, not a decision)",
                columns=("level", "item", "CFI", "ΔCFI", "chi-square falls by", "holds then"),
                rows=[(r.level, r.item, r.cfi, r.delta_cfi, r.chisq_fall, r.holds) for r in result.released],
            )
        )
    return sections


def _row(level: InvarianceLevel) -> tuple[Cell, ...]:
    if level.fit is None:
        return (level.level, *[None] * 11, "not fitted")
    fit, test = level.fit, level.difference
    return (
        level.level,
        fit.fit.get("chisq_scaled", fit.fit["chisq"]),
        int(fit.fit["df"]),
        fit.comparison_index("cfi"),
        fit.comparison_index("rmsea"),
        fit.fit["srmr"],
        level.delta_cfi,
        level.delta_rmsea,
        level.delta_srmr,
        test.chisq_diff if test else None,
        int(test.df_diff) if test else None,
        test.pvalue if test else None,
        _HOLDS[level.holds],
    )
