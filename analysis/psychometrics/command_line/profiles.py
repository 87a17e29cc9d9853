"""`profiles`: how alike both roles' profiles of components are, beyond what any two people would share."""

import argparse

import numpy as np

from analysis.psychometrics.command_line.options import add_seed, whole_number
from analysis.psychometrics.command_line.report import Report, Section
from analysis.psychometrics.command_line.two_files import add_two_files, read_two_files
from analysis.psychometrics.dyads.profile_similarity import (
    MINIMUM_COMPONENTS,
    compare_profiles,
    compare_with_chance,
)
from analysis.psychometrics.response_matrix import FloatArray

_PARTS = ("elevation", "scatter", "shape", "d_squared")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Two data files with a column a component, the clinician's key."""
    add_two_files(parser, cluster_required=True)
    parser.add_argument(
        "--minimum-components",
        type=whole_number(least=2),
        default=MINIMUM_COMPONENTS,
        help=f"dyads with fewer components on both sides are left out (default {MINIMUM_COMPONENTS})",
    )
    parser.add_argument("--draws", type=whole_number(least=20), default=2000, help="resamples (default 2000)")
    add_seed(parser)


def run(arguments: argparse.Namespace) -> Report:
    """Compare each dyad's profiles, and the mean similarity with both chance baselines."""
    pairs = read_two_files(arguments)
    minimum = arguments.minimum_components
    profiles = compare_profiles(pairs.patient, pairs.clinician, minimum_components=minimum)
    chance = compare_with_chance(
        pairs.patient,
        pairs.clinician,
        pairs.clusters or [],
        rng=np.random.default_rng(arguments.seed),
        minimum_components=minimum,
        n_draws=arguments.draws,
    )
    notes = list(dict.fromkeys([*pairs.notes, *chance.notes]))
    means = [_mean_of_known(getattr(profiles, part)) for part in _PARTS]
    n_used = int((profiles.n_components >= minimum).sum())
    return Report(
        data={
            "dyads": pairs.keys,
            "profiles": profiles,
            "chance": chance,
            "n_used": n_used,
            "n_dropped": len(pairs.patient) - n_used + pairs.n_dropped,
            "notes": notes,
        },
        sections=[
            Section(
                title="Mean squared distance of the two profiles and its parts",
                columns=_PARTS,
                rows=[means],
                decimals=1,
            ),
            Section(
                title="Mean similarity against chance: another clinician, the same clinician's other patients",
                columns=("measure", "real", "other clinician", "same clinician", "beyond same", "from", "to"),
                rows=[
                    (
                        measure.replace("_", " "),
                        float(chance.real[i]),
                        float(chance.other_clinician[i]),
                        float(chance.same_clinician[i]),
                        float(chance.beyond_same_clinician[i]),
                        float(chance.beyond_same_ci_lower[i]),
                        float(chance.beyond_same_ci_upper[i]),
                    )
                    for i, measure in enumerate(chance.measures)
                ],
            ),
            Section(
                title="Reading",
                text="Only similarity beyond the same clinician's other patients is knowledge of this patient.\n"
                f"The two roles' average profiles correlate at {profiles.normative_correlation:.2f}.",
            ),
        ],
        notes=notes,
    )


def _mean_of_known(values: FloatArray) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else float("nan")
