"""`multilevel`: how much of each scale lies between clinicians, what that costs, and clinicians' shrunken means."""

import argparse
from typing import Any

import numpy as np

from analysis.psychometrics.clinicians.multilevel import (
    MINIMUM_PATIENTS,
    ClinicianMeans,
    ClinicianVariance,
    shrink_clinician_means,
    variance_between_clinicians,
)
from analysis.psychometrics.command_line.keys import filled_keys
from analysis.psychometrics.command_line.options import add_data, add_items, chosen_items, whole_number
from analysis.psychometrics.command_line.report import Report, Section
from analysis.psychometrics.command_line.table import read_table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Data file, scales, the clinician's key, how many patients a mean needs to be shown."""
    add_data(parser)
    add_items(parser)
    parser.add_argument("--cluster", required=True, metavar="COL", help="the clinician's key")
    parser.add_argument("--means", action="store_true", help="each clinician's mean, too")
    parser.add_argument(
        "--minimum-patients",
        type=whole_number(least=1),
        default=MINIMUM_PATIENTS,
        help=f"means of fewer patients are not shown (default {MINIMUM_PATIENTS})",
    )


def run(arguments: argparse.Namespace) -> Report:
    """Fit each scale's random intercept."""
    table = read_table(arguments.data)
    names = chosen_items(arguments, table, leave_out=(arguments.cluster,))
    values, clusters = table.numeric(names), filled_keys(table, arguments.cluster)
    result = variance_between_clinicians(values, clusters, names=names)
    scales: dict[str, Any] = {name: _figures(result, i) for i, name in enumerate(names)}
    sections = [
        Section(
            title="Variance between and within clinicians (REML)",
            columns=("scale", "n", "clinicians", "between", "within", "icc", "from", "to", "design effect"),
            rows=[
                (
                    name,
                    int(result.n_used[i]),
                    int(result.n_clinicians[i]),
                    float(result.between[i]),
                    float(result.within[i]),
                    float(result.icc.estimate[i]),
                    float(result.icc.ci_lower[i]),
                    float(result.icc.ci_upper[i]),
                    float(result.design_effect[i]),
                )
                for i, name in enumerate(names)
            ],
        ),
        Section(
            title="Reliability of a clinician's mean, and the patients it takes",
            columns=("scale", "patients (mean)", "reliability", "for .70", "for .80", "for .90"),
            rows=[
                (
                    name,
                    float(result.patients_per_clinician[i]),
                    float(result.reliability[i]),
                    *(float(number) for number in result.patients_needed[i]),
                )
                for i, name in enumerate(names)
            ],
            decimals=2,
        ),
    ]
    notes = list(result.notes)
    if arguments.means:
        for position, name in enumerate(names):
            means = shrink_clinician_means(values[:, position], clusters, minimum_patients=arguments.minimum_patients)
            scales[name]["clinician_means"] = means
            sections.append(_means_section(name, means))
            notes += [note for note in means.notes if note not in notes]
    n_used = int((~np.isnan(values).all(axis=1)).sum())
    data = {
        "scales": scales,
        "n_used": n_used,  # rows with a score on at least one scale
        "n_dropped": len(values) - n_used,
        "n_clinicians": len(set(clusters)),
        "converged": bool(np.isfinite(result.between).all()),
        "admissible": bool((result.between > 0).all()),
        "notes": notes,
    }
    return Report(data=data, sections=sections, notes=notes)


def _figures(result: ClinicianVariance, i: int) -> dict[str, Any]:
    return {
        "n_used": result.n_used[i],
        "n_dropped": result.n_dropped[i],
        "n_clinicians": result.n_clinicians[i],
        "patients_per_clinician": result.patients_per_clinician[i],
        "mean": result.mean[i],
        "mean_se": result.mean_se[i],
        "variance_between": result.between[i],
        "variance_within": result.within[i],
        "icc": result.icc.estimate[i],
        "icc_ci_lower": result.icc.ci_lower[i],
        "icc_ci_upper": result.icc.ci_upper[i],
        "design_effect": result.design_effect[i],
        "effective_n": result.effective_n[i],
        "reliability": result.reliability[i],
        "patients_needed_70": result.patients_needed[i, 0],
        "patients_needed_80": result.patients_needed[i, 1],
        "patients_needed_90": result.patients_needed[i, 2],
        "loglik": result.log_likelihood[i],
        "logl": result.log_likelihood[i],  # the name it has in the models' fit
        "converged": bool(np.isfinite(result.between[i])),
        "admissible": bool(result.between[i] > 0),  # not on the edge of what a variance can be
    }


def _means_section(name: str, means: ClinicianMeans) -> Section:
    return Section(
        title=f"{name}: means of clinicians with at least {means.minimum_patients} patients",
        columns=("clinician", "patients", "mean", "shrunken", "from", "to", "reliability", "exploratory"),
        rows=[
            (
                label,
                int(means.n_patients[i]),
                float(means.raw_mean[i]),
                float(means.shrunken_mean[i]),
                float(means.ci_lower[i]),
                float(means.ci_upper[i]),
                float(means.reliability[i]),
                bool(means.exploratory[i]),
            )
            for i, label in enumerate(means.labels)
            if means.shown[i]
        ],
    )
