"""`one-with-many`: what lies between clinicians and within them, and how the two roles correspond in each."""

import argparse
from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis.psychometrics.command_line.keys import filled_keys, refuse_repeated
from analysis.psychometrics.command_line.options import add_data, add_seed, split_names, whole_number
from analysis.psychometrics.command_line.report import Report, Section
from analysis.psychometrics.command_line.table import Table, read_table
from analysis.psychometrics.dyads.one_with_many import (
    OneWithMany,
    RelationshipAndError,
    one_with_many,
    separate_relationship_from_error,
)
from analysis.psychometrics.dyads.pairing import pair_dyads
from analysis.psychometrics.errors import AnalysisInputError
from analysis.psychometrics.response_matrix import FloatArray, listed

_CORRELATIONS = ("consensus", "assimilation", "dyadic_reciprocity", "generalised_reciprocity")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """One file with a row a dyad, or with a row a person (then `--role` and `--columns`)."""
    add_data(parser)
    parser.add_argument("--patient", required=True, metavar="COL", help="the patient's score, or several: A,B")
    parser.add_argument("--clinician", required=True, metavar="COL", help="the clinician's, in the same order")
    parser.add_argument("--cluster", required=True, metavar="COL", help="the clinician's key")
    parser.add_argument("--dyad", metavar="COL", help="the dyad's key; each dyad must then stand once (a role)")
    parser.add_argument(
        "--role",
        metavar="COL",
        help="for a file with a row a person: the column of the role; --patient and --clinician are then its values",
    )
    parser.add_argument("--columns", metavar="A,B", help="with --role: the columns that hold the scores")
    parser.add_argument(
        "--halves", action="store_true", help="two columns a role are two halves of one scale: separate error, too"
    )
    parser.add_argument("--draws", type=whole_number(least=0), default=2000, help="resamples (default 2000; 0: none)")
    add_seed(parser)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Dyads:
    names: list[str]
    patient: FloatArray
    clinician: FloatArray
    clusters: list[str]


def run(arguments: argparse.Namespace) -> Report:
    """Read the dyads in either shape and fit."""
    table = read_table(arguments.data)
    dyads = _long(arguments, table) if arguments.role else _wide(arguments, table)
    if 0 < arguments.draws < 20:
        raise AnalysisInputError(f"--draws {arguments.draws}: too few for an interval. Remedy: 2000, or 0 for none.")
    if arguments.halves:
        return _halves_report(
            separate_relationship_from_error(
                dyads.patient,
                dyads.clinician,
                dyads.clusters,
                n_draws=arguments.draws,
                rng=np.random.default_rng(arguments.seed),
            )
        )
    result = one_with_many(
        dyads.patient,
        dyads.clinician,
        dyads.clusters,
        names=dyads.names,
        n_draws=arguments.draws,
        rng=np.random.default_rng(arguments.seed),
    )
    return _report(result, dyads)


def _wide(arguments: argparse.Namespace, table: Table) -> _Dyads:
    patient = split_names(arguments.patient, option="--patient")
    clinician = split_names(arguments.clinician, option="--clinician")
    if len(patient) != len(clinician):
        raise AnalysisInputError(
            f"--patient names {len(patient)} column(s) and --clinician {len(clinician)}. Remedy: name them in pairs."
        )
    if arguments.columns:
        raise AnalysisInputError("--columns belongs to --role. Remedy: name the columns with --patient, --clinician.")
    if arguments.dyad:
        filled_keys(table, arguments.dyad)
        refuse_repeated(table, arguments.dyad)
    return _Dyads(
        names=patient,
        patient=table.numeric(patient),
        clinician=table.numeric(clinician),
        clusters=filled_keys(table, arguments.cluster),
    )


def _long(arguments: argparse.Namespace, table: Table) -> _Dyads:
    if not (arguments.dyad and arguments.columns):
        raise AnalysisInputError(
            "--role says that each person has a row. Remedy: name the dyad's key with --dyad and the scores with "
            "--columns."
        )
    columns = split_names(arguments.columns, option="--columns")
    roles, keys, clusters = (filled_keys(table, name) for name in (arguments.role, arguments.dyad, arguments.cluster))
    rows = {
        role: [row for row, value in enumerate(roles) if value == role]
        for role in (arguments.patient, arguments.clinician)
    }
    for option, role in (("--patient", arguments.patient), ("--clinician", arguments.clinician)):
        if not rows[role]:
            raise AnalysisInputError(
                f"{table.path}: column {arguments.role!r} has no row {role!r} ({option}); it has "
                f"{listed(sorted(set(roles)))}. Remedy: give {option} one of these values."
            )
    p_rows, c_rows = rows[arguments.patient], rows[arguments.clinician]
    # Pairing names a dyad that stands twice or without a key; dyads with one side stay in as they are.
    pair_dyads([keys[row] for row in p_rows], [keys[row] for row in c_rows])
    order = list(dict.fromkeys(keys[row].strip() for row in (*p_rows, *c_rows)))
    place = {key: position for position, key in enumerate(order)}
    values = table.numeric(columns)
    sides = []
    cluster_of = [""] * len(order)
    for own in (p_rows, c_rows):
        side = np.full((len(order), len(columns)), np.nan)
        for row in own:
            position = place[keys[row].strip()]
            side[position] = values[row]
            if cluster_of[position] and clusters[row] and cluster_of[position] != clusters[row]:
                raise AnalysisInputError(
                    f"{table.path}: line {table.lines[row]}: dyad {keys[row]!r} has another {arguments.cluster!r} than "
                    "its other row. Remedy: a dyad belongs to one clinician."
                )
            cluster_of[position] = cluster_of[position] or clusters[row]
        sides.append(side)
    return _Dyads(names=columns, patient=sides[0], clinician=sides[1], clusters=cluster_of)


def _report(result: OneWithMany, dyads: _Dyads) -> Report:
    scales = {name: _figures(result, i, len(dyads.patient)) for i, name in enumerate(result.names)}
    n_used = int((~np.isnan(np.hstack([dyads.patient, dyads.clinician]))).any(axis=1).sum())
    shared = {
        "n_used": n_used,  # dyads with a score of either side on at least one scale
        "n_dropped": len(dyads.patient) - n_used,
        "converged": bool(result.converged.all()),
        "admissible": bool((result.converged & ~result.at_boundary).all()),
        "confidence": result.confidence,
        "n_draws": result.n_draws,
        "notes": result.notes,
    }
    alone = next(iter(scales.values())) if len(scales) == 1 else {}
    return Report(
        data={**alone, "scales": scales, **shared},
        sections=[
            Section(
                title=f"Shares between clinicians and reciprocities ({result.confidence:.0%} intervals: "
                f"{result.consensus.method})",
                columns=("scale", "what", "estimate", "from", "to"),
                rows=[
                    (name, what.replace("_", " "), *_triple(getattr(result, what), i))
                    for i, name in enumerate(result.names)
                    for what in _CORRELATIONS
                ],
            ),
            Section(
                title="Variances and covariances between (B) and within (W) clinicians",
                columns=("scale", "level", "patient", "covariance", "clinician"),
                rows=[
                    (name, level, float(m[i, 0, 0]), float(m[i, 0, 1]), float(m[i, 1, 1]))
                    for i, name in enumerate(result.names)
                    for level, m in (("between", result.between), ("within", result.within))
                ],
                decimals=4,
            ),
            Section(
                title="Means and numbers",
                columns=("scale", "patient", "clinician", "clinicians", "dyads", "patient only", "clinician only"),
                rows=[
                    (
                        name,
                        float(result.mean[i, 0]),
                        float(result.mean[i, 1]),
                        int(result.n_clinicians[i]),
                        int(result.n_complete[i]),
                        int(result.n_patient_only[i]),
                        int(result.n_clinician_only[i]),
                    )
                    for i, name in enumerate(result.names)
                ],
            ),
        ],
        notes=result.notes,
    )


def _triple(estimates: Any, i: int) -> tuple[float, float, float]:
    return float(estimates.estimate[i]), float(estimates.ci_lower[i]), float(estimates.ci_upper[i])


def _figures(result: OneWithMany, i: int, n_dyads: int) -> dict[str, Any]:
    """Return one scale's figures under flat names."""
    n_used = int(result.n_complete[i] + result.n_patient_only[i] + result.n_clinician_only[i])
    figures: dict[str, Any] = {}
    for name in _CORRELATIONS:
        estimates = getattr(result, name)
        figures[name], figures[f"{name}_ci_lower"], figures[f"{name}_ci_upper"] = _triple(estimates, i)
        figures[f"{name}_se"] = estimates.se[i]
    for name in ("between", "within", "between_ci_lower", "between_ci_upper", "within_ci_lower", "within_ci_upper"):
        figures[name] = getattr(result, name)[i]
    return {
        **figures,
        "mean_patient": result.mean[i, 0],
        "mean_clinician": result.mean[i, 1],
        "mean_patient_se": result.mean_se[i, 0],
        "mean_clinician_se": result.mean_se[i, 1],
        "loglik": result.log_likelihood[i],
        "logl": result.log_likelihood[i],  # the name it has in the models' fit
        "n_clinicians": result.n_clinicians[i],
        "n_used": n_used,
        "n_dropped": n_dyads - n_used,  # dyads without a score of either side
        "n_complete": result.n_complete[i],
        "n_patient_only": result.n_patient_only[i],
        "n_clinician_only": result.n_clinician_only[i],
        "converged": bool(result.converged[i]),
        "admissible": bool(result.converged[i]) and not bool(result.at_boundary[i]),
    }


def _halves_report(result: RelationshipAndError) -> Report:
    sides = ("patient", "clinician")
    return Report(
        data={name: getattr(result, name) for name in result.__dataclass_fields__}
        | {
            "n_used": result.n_complete + result.n_patient_only + result.n_clinician_only,
            "loglik": result.log_likelihood,
            "logl": result.log_likelihood,
            "admissible": abs(result.relationship_reciprocity) <= 1 and min(np.diag(result.relationship)) > 0,
        },
        sections=[
            Section(
                title="Shares of the variance of the mean of both halves",
                columns=("side", "clinician", "relationship", "error"),
                rows=[
                    (
                        side,
                        float(result.clinician_share[i]),
                        float(result.relationship_share[i]),
                        float(result.error_share[i]),
                    )
                    for i, side in enumerate(sides)
                ],
            ),
            Section(
                title=f"Reciprocity within clinicians ({result.confidence:.0%} interval: bootstrap of clinicians)",
                columns=("what", "estimate", "from", "to"),
                rows=[
                    (
                        "relationship, free of error",
                        result.relationship_reciprocity,
                        result.relationship_reciprocity_ci_lower,
                        result.relationship_reciprocity_ci_upper,
                    ),
                    ("dyadic, error left in", result.dyadic_reciprocity, None, None),
                ],
            ),
        ],
        notes=result.notes,
    )
