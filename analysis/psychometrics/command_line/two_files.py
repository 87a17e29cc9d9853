"""The patients' and the clinicians' forms from two files, paired by the dyad's key."""

import argparse
from dataclasses import dataclass

from analysis.psychometrics.command_line.keys import filled_keys, refuse_repeated
from analysis.psychometrics.command_line.options import split_names
from analysis.psychometrics.command_line.table import Table, read_table
from analysis.psychometrics.dyads.pairing import pair_dyads
from analysis.psychometrics.errors import AnalysisInputError
from analysis.psychometrics.response_matrix import FloatArray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PairedFiles:
    """The same dyads of both files in the same order."""

    columns: list[str]
    keys: tuple[str, ...]
    patient: FloatArray  # (n_dyads, n_columns)
    clinician: FloatArray
    clusters: list[str] | None
    n_dropped: int  # dyads with one form only
    notes: tuple[str, ...]


def add_two_files(parser: argparse.ArgumentParser, *, cluster_required: bool = False) -> None:
    """Two data files, the dyad's key, the columns to compare, the clinician's key."""
    parser.add_argument("patient", metavar="PATIENT.csv", help="the patients' forms, one row a dyad")
    parser.add_argument("clinician", metavar="CLINICIAN.csv", help="the clinicians' forms, one row a dyad")
    parser.add_argument("--key", required=True, metavar="COL", help="the column of either file that names the dyad")
    add_prefixes(parser)
    parser.add_argument("--columns", metavar="A,B,…", help="the columns to compare (default: numbers in both files)")
    parser.add_argument(
        "--cluster",
        required=cluster_required,
        metavar="COL",
        help="the clinician's key (in either file): intervals then resample clinicians",
    )


def add_prefixes(parser: argparse.ArgumentParser) -> None:
    """`--prefixes`: one file that holds both roles, such as the platform's export, is given twice."""
    parser.add_argument(
        "--prefixes",
        metavar="P,C",
        help="what stands before a column's name for either role, as patient_,clinician_ in the platform's export; "
        "one file that holds both roles is given twice",
    )


def chosen_prefixes(arguments: argparse.Namespace) -> tuple[str, str]:
    """Return what stands before the patients' and before the clinicians' column names (nothing, unless named).

    Raises
    ------
    AnalysisInputError
        Not two different prefixes.
    """
    if not arguments.prefixes:
        return "", ""
    patient, comma, clinician = (part.strip() for part in arguments.prefixes.partition(","))
    if not comma or patient == clinician or "," in clinician:
        raise AnalysisInputError(
            f"--prefixes {arguments.prefixes!r}: not two different prefixes. "
            "Remedy: write --prefixes patient_,clinician_."
        )
    return patient, clinician


def read_two_files(arguments: argparse.Namespace) -> PairedFiles:
    """Read both files and pair their rows.

    Raises
    ------
    AnalysisInputError
        A dyad listed twice, a row without a key, no dyad or no column in common.
    """
    patients, clinicians = read_table(arguments.patient), read_table(arguments.clinician)
    keys = []
    for table in (patients, clinicians):
        refuse_repeated(table, arguments.key)
        keys.append(filled_keys(table, arguments.key))
    prefixes = chosen_prefixes(arguments)
    columns = _columns(arguments, patients, clinicians, prefixes)
    try:
        pairs = pair_dyads(*keys)
    except AnalysisInputError as error:
        raise AnalysisInputError(f"{patients.path} and {clinicians.path}: {error}") from None
    clusters = None
    if arguments.cluster:
        table, rows = (
            (clinicians, pairs.clinician_rows)
            if arguments.cluster in clinicians.names
            else (patients, pairs.patient_rows)
        )
        column = filled_keys(table, arguments.cluster)
        clusters = [column[row] for row in rows.tolist()]
    return PairedFiles(
        columns=columns,
        keys=pairs.keys,
        patient=patients.numeric([prefixes[0] + name for name in columns])[pairs.patient_rows],
        clinician=clinicians.numeric([prefixes[1] + name for name in columns])[pairs.clinician_rows],
        clusters=clusters,
        n_dropped=len(pairs.only_patient) + len(pairs.only_clinician),
        notes=pairs.notes,
    )


def _columns(arguments: argparse.Namespace, patients: Table, clinicians: Table, prefixes: tuple[str, str]) -> list[str]:
    if arguments.columns:
        return split_names(arguments.columns, option="--columns")
    left_out = (arguments.key, arguments.cluster)
    of_patients, of_clinicians = (
        [name.removeprefix(prefix) for name in table.numeric_names(left_out) if name.startswith(prefix)]
        for table, prefix in zip((patients, clinicians), prefixes, strict=True)
    )
    columns = [name for name in of_patients if name in set(of_clinicians)]
    if not columns:
        raise AnalysisInputError(
            f"{patients.path} and {clinicians.path}: have no column of numbers in common. Remedy: give the columns "
            "the same names in both files, name them with --columns, or say with --prefixes what stands before them."
        )
    return columns
