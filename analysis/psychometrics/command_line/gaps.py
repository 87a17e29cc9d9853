"""`gaps`: clinician minus patient, how reliable, which single dyads' gaps are more than error, and the pitfalls."""

import argparse
import math
from typing import Any

import numpy as np

from analysis.psychometrics.command_line.options import add_seed, finite_number, split_names, whole_number
from analysis.psychometrics.command_line.report import Report, Section
from analysis.psychometrics.command_line.two_files import PairedFiles, add_two_files, read_two_files
from analysis.psychometrics.dyads.gaps import GapSummary, judge_gaps, summarise_gaps
from analysis.psychometrics.errors import AnalysisInputError

_FIGURES = (
    "sd_gap",
    "mean_absolute_gap",
    "absolute_gap_by_error",
    "correlation",
    "correlation_with_patient",
    "correlation_with_clinician",
    "reliability",
    "sem_patient",
    "sem_clinician",
    "se_gap",
    "threshold",
    "n_clinician_higher",
    "n_patient_higher",
    "share_reliable",
    "ceiling_share_patient",
    "ceiling_share_clinician",
    "n_used",
    "n_dropped",
)
_VERDICTS = {1: "clinician higher", -1: "patient higher"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Two data files, the scores' reliabilities and range."""
    add_two_files(parser)
    parser.add_argument("--reliability-patient", metavar="R,…", help="reliability of each column, patients (omega)")
    parser.add_argument("--reliability-clinician", metavar="R,…", help="the same, clinicians")
    parser.add_argument("--lowest", type=finite_number, default=0.0, help="lowest possible score (default 0)")
    parser.add_argument("--highest", type=finite_number, default=100.0, help="highest possible score (default 100)")
    parser.add_argument("--draws", type=whole_number(least=20), default=2000, help="resamples (default 2000)")
    add_seed(parser)


def run(arguments: argparse.Namespace) -> Report:
    """Summarise the gaps and list the dyads whose gap is reliable."""
    pairs = read_two_files(arguments)
    result = summarise_gaps(
        pairs.patient,
        pairs.clinician,
        reliability_patient=_reliabilities(arguments.reliability_patient, pairs, "--reliability-patient"),
        reliability_clinician=_reliabilities(arguments.reliability_clinician, pairs, "--reliability-clinician"),
        names=pairs.columns,
        lowest=arguments.lowest,
        highest=arguments.highest,
        clinicians=pairs.clusters,
        n_draws=arguments.draws,
        rng=None if pairs.clusters is None else np.random.default_rng(arguments.seed),
    )
    notes = [*pairs.notes, *result.notes]
    reliable = _reliable(result, pairs)
    return Report(
        data={
            "columns": {name: _column(result, i) for i, name in enumerate(result.names)},
            "reliable_gaps": reliable,
            "pitfalls": result.pitfalls,
            "n_clinicians": result.n_clinicians,
            "z": result.z,
            "n_used": len(pairs.patient),
            "n_dropped": pairs.n_dropped,
            "notes": notes,
        },
        sections=[*_sections(result, reliable)],
        notes=notes,
    )


def _reliabilities(value: str | None, pairs: PairedFiles, option: str) -> list[float] | None:
    if value is None:
        return None
    parts = [part.strip() for part in value.split(",") if part.strip()]
    try:
        numbers = [float(part) for part in parts]
    except ValueError:
        raise AnalysisInputError(f"{option} {value!r}: not numbers. Remedy: write {option} 0.85,0.80.") from None
    if len(numbers) != len(pairs.columns):
        raise AnalysisInputError(
            f"{option}: {len(numbers)} reliabilities for {len(pairs.columns)} column(s). Remedy: give one for each of "
            f"{', '.join(split_names(','.join(pairs.columns), option='--columns'))}."
        )
    return numbers


def _reliable(result: GapSummary, pairs: PairedFiles) -> list[dict[str, Any]]:
    """Return the dyads whose gap is reliable, with the gap and who is higher."""
    found = []
    for i, name in enumerate(result.names):
        if math.isnan(float(result.threshold[i])):
            continue
        gaps = pairs.clinician[:, i] - pairs.patient[:, i]
        verdicts = judge_gaps(
            gaps,
            mean_gap=float(result.mean_gap.estimate[i]),
            sem_patient=float(result.sem_patient[i]),
            sem_clinician=float(result.sem_clinician[i]),
            z=result.z,
        )
        for row in np.flatnonzero(verdicts).tolist():
            verdict = _VERDICTS[int(verdicts[row])]
            found.append({"dyad": pairs.keys[row], "column": name, "gap": float(gaps[row]), "verdict": verdict})
    return found


def _column(result: GapSummary, i: int) -> dict[str, Any]:
    figures: dict[str, Any] = {
        "mean_gap": result.mean_gap.estimate[i],
        "mean_gap_se": result.mean_gap.se[i],
        "mean_gap_ci_lower": result.mean_gap.ci_lower[i],
        "mean_gap_ci_upper": result.mean_gap.ci_upper[i],
    }
    return figures | {name: getattr(result, name)[i] for name in _FIGURES}


def _sections(result: GapSummary, reliable: list[dict[str, Any]]) -> list[Section]:
    columns = range(len(result.names))
    sections = [
        Section(
            title=f"Gaps: clinician minus patient (interval of the mean: {result.mean_gap.method})",
            columns=("column", "n", "mean", "from", "to", "sd", "mean absolute", "by error alone"),
            rows=[
                (
                    result.names[i],
                    int(result.n_used[i]),
                    float(result.mean_gap.estimate[i]),
                    float(result.mean_gap.ci_lower[i]),
                    float(result.mean_gap.ci_upper[i]),
                    float(result.sd_gap[i]),
                    float(result.mean_absolute_gap[i]),
                    float(result.absolute_gap_by_error[i]),
                )
                for i in columns
            ],
            decimals=2,
        ),
        Section(
            title=f"How far a single gap can be trusted (reliable: more than {result.z:g} SE from the mean gap)",
            columns=("column", "reliability", "SE of one gap", "threshold", "clinician higher", "patient higher"),
            rows=[
                (
                    result.names[i],
                    float(result.reliability[i]),
                    float(result.se_gap[i]),
                    float(result.threshold[i]),
                    int(result.n_clinician_higher[i]),
                    int(result.n_patient_higher[i]),
                )
                for i in columns
            ],
            decimals=2,
        ),
        Section(
            title="What the gap is made of: correlations, and shares at the highest score",
            columns=("column", "r roles", "r gap, patient", "r gap, clinician", "ceiling patient", "ceiling clinician"),
            rows=[
                (
                    result.names[i],
                    float(result.correlation[i]),
                    float(result.correlation_with_patient[i]),
                    float(result.correlation_with_clinician[i]),
                    float(result.ceiling_share_patient[i]),
                    float(result.ceiling_share_clinician[i]),
                )
                for i in columns
            ],
            decimals=2,
        ),
    ]
    if reliable:
        sections.append(
            Section(
                title="Reliable gaps",
                columns=("dyad", "column", "gap", "verdict"),
                rows=[(entry["dyad"], entry["column"], entry["gap"], entry["verdict"]) for entry in reliable],
                decimals=1,
            )
        )
    sections.append(
        Section(title="Before reading a gap", text="\n".join(f"- {pitfall.sentence}" for pitfall in result.pitfalls))
    )
    return sections
