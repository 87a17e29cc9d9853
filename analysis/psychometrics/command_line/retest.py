"""`retest`: agreement of two occasions, responsiveness to change, and the change that matters."""

import argparse
from typing import Any

import numpy as np
import numpy.typing as npt

from analysis.psychometrics.change.responsiveness import (
    AreaUnderCurve,
    MinimalImportantChange,
    minimal_important_change,
    responsiveness_auc,
)
from analysis.psychometrics.change.retest import Retest, assess_retest
from analysis.psychometrics.command_line.keys import filled_keys, refuse_repeated
from analysis.psychometrics.command_line.options import add_data, add_seed, finite_number, split_names, whole_number
from analysis.psychometrics.command_line.report import Report, Section
from analysis.psychometrics.command_line.table import Table, read_table
from analysis.psychometrics.errors import AnalysisInputError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """One file with a row a person; the scores of both occasions, and optionally the answer to a change question."""
    add_data(parser)
    parser.add_argument("--first", required=True, metavar="A,B,…", help="the scores of the first occasion")
    parser.add_argument("--second", required=True, metavar="A,B,…", help="the same scores of the second occasion")
    parser.add_argument("--anchor", metavar="COL", help="the column that says whether the person changed")
    parser.add_argument("--stable", metavar="X,Y", help="answers of the anchor that mean unchanged (retest uses these)")
    parser.add_argument("--improved", metavar="X,Y", help="answers that mean better (responsiveness: these v. stable)")
    parser.add_argument(
        "--anchor-reliability", type=finite_number, metavar="R", help="reliability of the change question"
    )
    parser.add_argument("--cluster", metavar="COL", help="the clinician's key: intervals then resample clinicians")
    parser.add_argument("--key", metavar="COL", help="the person's key, to refuse a person listed twice")
    parser.add_argument("--draws", type=whole_number(least=20), default=2000, help="resamples (default 2000)")
    add_seed(parser)


def run(arguments: argparse.Namespace) -> Report:
    """Retest figures of the stable people; with an anchor, also responsiveness and minimal important change."""
    table = read_table(arguments.data)
    if arguments.key:
        refuse_repeated(table, arguments.key)
    names = split_names(arguments.first, option="--first")
    second_names = split_names(arguments.second, option="--second")
    if len(names) != len(second_names):
        raise AnalysisInputError(
            f"--first names {len(names)} columns and --second {len(second_names)}. "
            "Remedy: name the same scores, in the same order, of both occasions."
        )
    first, second = table.numeric(names), table.numeric(second_names)
    clinicians = np.array(filled_keys(table, arguments.cluster)) if arguments.cluster else None
    stable, improved = _anchor(arguments, table)
    results = assess_retest(
        first[stable],
        second[stable],
        rng=np.random.default_rng(arguments.seed),
        clinicians=None if clinicians is None else clinicians[stable],
        names=names,
        n_draws=arguments.draws,
    )
    with_both = ~np.isnan(first[stable] + second[stable])
    n_used = int(with_both.any(axis=1).sum())
    data: dict[str, Any] = {
        "retest": {result.name: result for result in results},
        "n_used": n_used,  # people with both occasions of at least one score; with an anchor, of the unchanged
        "n_dropped": len(with_both) - n_used,
    }
    sections = _retest_sections(results)
    notes = [f"{result.name}: {note}" for result in results for note in result.notes]
    if improved is not None:
        areas: dict[str, AreaUnderCurve] = {}
        changes: dict[str, MinimalImportantChange] = {}
        for position, name in enumerate(names):
            change = second[:, position] - first[:, position]
            areas[name] = responsiveness_auc(change, improved, clinicians=clinicians)
            changes[name] = minimal_important_change(
                change,
                improved,
                rng=np.random.default_rng(arguments.seed),
                clinicians=clinicians,
                anchor_reliability=arguments.anchor_reliability,
                n_draws=arguments.draws,
            )
        data |= {"responsiveness": areas, "mic": changes}
        data["sdc_below_mic"] = {
            result.name: None
            if not (np.isfinite(result.sdc) and np.isfinite(changes[result.name].adjusted))
            else bool(result.sdc < changes[result.name].adjusted)
            for result in results
        }
        sections += _change_sections(areas, changes, data["sdc_below_mic"])
        notes += [f"{name}: {note}" for name in names for note in (*areas[name].notes, *changes[name].notes)]
    notes = list(dict.fromkeys(notes))
    return Report(data={**data, "notes": notes}, sections=sections, notes=notes)


def _anchor(
    arguments: argparse.Namespace, table: Table
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.float64] | None]:
    """Return who is stable, and 1, 0 or NaN for better, stable, anything else (None without an anchor)."""
    if not arguments.anchor:
        if arguments.stable or arguments.improved:
            raise AnalysisInputError(
                "--stable and --improved need --anchor. Remedy: name the change question's column."
            )
        return np.ones(table.n_rows, dtype=np.bool_), None
    if not arguments.stable:
        raise AnalysisInputError(
            "--anchor needs --stable. Remedy: write --stable with the answers that mean unchanged, for example same."
        )
    answers = np.array(table.text(arguments.anchor))
    stable = np.isin(answers, _known(split_names(arguments.stable, option="--stable"), answers, "--stable", arguments))
    if not arguments.improved:
        return np.asarray(stable, dtype=np.bool_), None
    better = np.isin(
        answers, _known(split_names(arguments.improved, option="--improved"), answers, "--improved", arguments)
    )
    if (stable & better).any():
        raise AnalysisInputError("--stable and --improved share an answer. Remedy: give each answer one meaning.")
    return np.asarray(stable, dtype=np.bool_), np.where(better, 1.0, np.where(stable, 0.0, np.nan))


def _known(values: list[str], answers: npt.NDArray[np.str_], option: str, arguments: argparse.Namespace) -> list[str]:
    present = sorted({str(answer) for answer in answers if answer})
    for value in values:
        if value not in present:
            raise AnalysisInputError(
                f"{arguments.data}: column {arguments.anchor!r} never holds {value!r} ({option}). "
                f"Remedy: choose among {', '.join(present[:12])}."
            )
    return values


def _retest_sections(results: tuple[Retest, ...]) -> list[Section]:
    return [
        Section(
            title=f"Retest (intervals: {results[0].interval_method})",
            columns=("score", "n", "icc_a1", "from", "to", "icc_c1", "sem", "from", "to", "sdc", "sdc of group"),
            rows=[
                (
                    r.name,
                    r.n_used,
                    r.icc_a1,
                    r.icc_a1_ci_lower,
                    r.icc_a1_ci_upper,
                    r.icc_c1,
                    r.sem_agreement,
                    r.sem_agreement_ci_lower,
                    r.sem_agreement_ci_upper,
                    r.sdc,
                    r.sdc_group,
                )
                for r in results
            ],
        ),
        Section(
            title="Second minus first: mean difference and limits of agreement",
            columns=("score", "mean", "from", "to", "sd", "loa_lower", "loa_upper"),
            rows=[
                (
                    r.name,
                    r.mean_difference,
                    r.mean_difference_ci_lower,
                    r.mean_difference_ci_upper,
                    r.sd_difference,
                    r.loa_lower,
                    r.loa_upper,
                )
                for r in results
            ],
        ),
    ]


def _change_sections(
    areas: dict[str, AreaUnderCurve], changes: dict[str, MinimalImportantChange], below: dict[str, bool | None]
) -> list[Section]:
    return [
        Section(
            title="Responsiveness: area under the curve of change, better against stable",
            columns=("score", "better", "stable", "auc", "from", "to", "interval"),
            rows=[
                (name, a.n_improved, a.n_not_improved, a.estimate, a.ci_lower, a.ci_upper, a.interval_method)
                for name, a in areas.items()
            ],
        ),
        Section(
            title="Minimal important change",
            columns=("score", "n", "share better", "predicted", "from", "to", "adjusted", "from", "to", "sdc below it"),
            rows=[
                (
                    name,
                    c.n_used,
                    c.share_improved,
                    c.predicted,
                    c.predicted_ci_lower,
                    c.predicted_ci_upper,
                    c.adjusted,
                    c.adjusted_ci_lower,
                    c.adjusted_ci_upper,
                    below[name],
                )
                for name, c in changes.items()
            ],
        ),
    ]
