"""`rivals`: the ladder of rival models of a structure, fitted to the same answers and compared."""

import argparse
import dataclasses
import json
from pathlib import Path
from typing import Any

from analysis.psychometrics.command_line.cfa import add_estimator, chosen_estimator
from analysis.psychometrics.command_line.options import add_data, split_names
from analysis.psychometrics.command_line.report import Cell, Report, Section
from analysis.psychometrics.command_line.scale_items import read_range
from analysis.psychometrics.command_line.table import read_table
from analysis.psychometrics.errors import AnalysisInputError
from analysis.psychometrics.response_matrix import reverse_items
from analysis.psychometrics.structure.model_ladder import LadderModel, ModelStructure, build_ladder
from analysis.psychometrics.structure.rivals import RivalFit, Rivals, fit_rivals

_EXAMPLE = '{"components": {"trust": ["TR1", "TR2"], …}, "domains": {"outcome": ["trust", …], …}}'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Data file, structure, estimator, and which models."""
    add_data(parser)
    parser.add_argument("--structure", required=True, metavar="FILE.json", help=f"items and domains: {_EXAMPLE}")
    parser.add_argument("--models", metavar="M1,M5,…", help="only these models (default: all that the items allow)")
    parser.add_argument("--method-factor", action="store_true", help="add a factor of the reverse-keyed items to each")
    parser.add_argument("--range", metavar="LOW,HIGH", help="ends of the scale, to turn reverse-keyed items round")
    add_estimator(parser)


def run(arguments: argparse.Namespace) -> Report:
    """Fit and compare."""
    table = read_table(arguments.data)
    structure = read_structure(arguments.structure)
    ladder = list(build_ladder(structure))
    if arguments.method_factor:
        ladder += build_ladder(structure, method_factor=True)
    chosen = _chosen(ladder, arguments.models)
    items = list(dict.fromkeys(item for members in structure.components.values() for item in members))
    values = table.numeric(items)
    ends = read_range(arguments.range)
    if ends and structure.reverse_keyed:
        lowest, highest = ends
        columns = [items.index(item) for item in structure.reverse_keyed]
        values = reverse_items(values, columns=columns, lowest=lowest, highest=highest, who="rivals")
    result = fit_rivals(
        values,
        item_codes=items,
        models=chosen,
        estimator=chosen_estimator(arguments) if arguments.estimator or arguments.ordered else "WLSMV",
        missing=arguments.missing,
        scales={name: members for name, members in structure.components.items() if len(members) > 1} or None,
    )
    return Report(data=_data(result), sections=_sections(result), notes=result.notes)


def read_structure(path: str) -> ModelStructure:
    """Read a structure from JSON.

    Raises
    ------
    AnalysisInputError
        No such file, no JSON, or keys that a structure does not have.
    """
    try:
        content: Any = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError:
        raise AnalysisInputError(f"{path}: no such file. Remedy: check the path.") from None
    except ValueError as error:
        raise AnalysisInputError(f"{path}: is not JSON ({error}). Remedy: write {_EXAMPLE}") from None
    known = {field.name for field in dataclasses.fields(ModelStructure)}
    given = set(content) if isinstance(content, dict) else set()
    if not {"components", "domains"} <= given or given - known:
        raise AnalysisInputError(
            f"{path}: requires components and domains, and may have {', '.join(sorted(known))}; "
            f"got {', '.join(sorted(given)) or 'nothing of it'}. Remedy: write {_EXAMPLE}"
        )
    return ModelStructure(**content)


def _chosen(ladder: list[LadderModel], names: str | None) -> list[LadderModel]:
    if names is None:
        return ladder
    wanted = split_names(names, option="--models")
    unknown = [name for name in wanted if name not in {model.id for model in ladder}]
    if unknown:
        raise AnalysisInputError(
            f"--models: there is no {', '.join(unknown)}. Remedy: choose among {', '.join(m.id for m in ladder)}."
        )
    return [model for model in ladder if model.id in wanted]


def _data(result: Rivals) -> dict[str, object]:
    fits = [entry.fit for entry in result.fits if entry.fit]
    fewest = min(fits, key=lambda fit: fit.n_used) if fits else None
    return {
        "models": {entry.model.id: _entry(entry) for entry in result.fits},
        "comparisons": result.comparisons,
        "factor_correlations": result.factor_correlations,
        "htmt": result.htmt,
        "estimator": result.estimator,
        "cfi_kind": result.cfi_kind,
        "n_used": fewest.n_used if fewest else 0,  # of the model with the most items; the entries have their own
        "n_dropped": fewest.n_dropped if fewest else 0,
        "converged": len(fits) == len(result.fits) and all(fit.converged for fit in fits),
        "admissible": len(fits) == len(result.fits) and all(fit.admissible for fit in fits),
        "notes": result.notes,
    }


def _entry(entry: RivalFit) -> dict[str, object]:
    fit = entry.fit
    return {
        "title": entry.model.title,
        "syntax": entry.model.syntax,
        "fit": fit.fit if fit else None,
        "parameters": fit.parameters if fit else [],
        "n_used": fit.n_used if fit else 0,
        "n_dropped": fit.n_dropped if fit else 0,
        "converged": fit.converged if fit else False,
        "admissible": fit.admissible if fit else False,
        "reason": entry.reason,
    }


def _sections(result: Rivals) -> list[Section]:
    kind = "scaled" if result.cfi_kind == "scaled" else "plain"
    sections = [
        Section(
            title=f"Rival models ({result.estimator}; chi-square, CFI and RMSEA {kind})",
            columns=("model", "what it says", "rows", "chi-square", "df", "CFI", "RMSEA", "SRMR", "admissible"),
            rows=[_row(entry) for entry in result.fits],
        ),
        Section(
            title="Each against the simpler ones nested in it",
            columns=("model", "against", "ΔCFI", "ΔRMSEA", "ΔSRMR", "χ² diff", "df", "p", "supported"),
            rows=[
                (
                    row.general,
                    row.restricted,
                    row.delta_cfi,
                    row.delta_rmsea,
                    row.delta_srmr,
                    row.difference.chisq_diff if row.difference else None,
                    int(row.difference.df_diff) if row.difference else None,
                    row.difference.pvalue if row.difference else None,
                    row.supported,
                )
                for row in result.comparisons
            ],
        ),
        Section(
            title="Correlations of factors (95 % intervals; not distinct where the interval reaches 1)",
            columns=("model", "factor", "with", "r", "lower", "upper", "distinct"),
            rows=[
                (row.model, row.first, row.second, row.r, row.ci_lower, row.ci_upper, row.distinct)
                for row in result.factor_correlations
            ],
        ),
    ]
    if result.htmt is not None:
        scales = result.htmt.scales
        sections.append(
            Section(
                title="Heterotrait-monotrait ratios (strict bound .85, lenient .90)",
                columns=("scale", *(str(number) for number in range(1, len(scales)))),
                decimals=2,
                rows=[
                    (
                        f"{row + 1} {scales[row]}",
                        *(float(result.htmt.htmt[row, j]) if j < row else "" for j in range(len(scales) - 1)),
                    )
                    for row in range(len(scales))
                ],
            )
        )
    return sections


def _row(entry: RivalFit) -> tuple[Cell, ...]:
    if entry.fit is None:
        return (entry.model.id, entry.model.title, *[None] * 7)
    fit = entry.fit
    return (
        entry.model.id,
        entry.model.title,
        fit.n_used,
        fit.fit.get("chisq_scaled", fit.fit["chisq"]),
        int(fit.fit["df"]),
        fit.comparison_index("cfi"),
        fit.comparison_index("rmsea"),
        fit.fit["srmr"],
        fit.admissible,
    )
