"""`generalisability`: where the variance of patients' answers comes from, and how many patients and items it takes."""

import argparse
import math

from analysis.psychometrics.clinicians.generalisability import PATIENTS, Coefficients, generalisability
from analysis.psychometrics.command_line.keys import filled_keys
from analysis.psychometrics.command_line.options import add_data, add_items, chosen_items, split_names
from analysis.psychometrics.command_line.report import Report, Section
from analysis.psychometrics.command_line.table import read_table
from analysis.psychometrics.errors import AnalysisInputError

_PARTS = ("clinician", "patient", "item", "clinician_item", "residual")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Data file, the items of one scale, the clinician's key, what to plan for."""
    add_data(parser)
    add_items(parser)
    parser.add_argument("--cluster", required=True, metavar="COL", help="the clinician's key")
    default = ",".join(str(number) for number in PATIENTS)
    parser.add_argument("--patients", default=default, metavar="5,10,…", help=f"patients per clinician ({default})")
    parser.add_argument("--n-items", metavar="1,4,…", help="numbers of items to plan for (default: one and all)")


def run(arguments: argparse.Namespace) -> Report:
    """Fit the components and tabulate the decision study."""
    table = read_table(arguments.data)
    names = chosen_items(arguments, table, leave_out=(arguments.cluster,))
    result = generalisability(
        table.numeric(names),
        filled_keys(table, arguments.cluster),
        n_patients=_numbers(arguments.patients, "--patients"),
        n_items=_numbers(arguments.n_items, "--n-items") if arguments.n_items else None,
        item_codes=names,
    )
    variances = [getattr(result, name) for name in _PARTS]
    return Report(
        data={name: getattr(result, name) for name in result.__dataclass_fields__}
        | {"loglik": result.log_likelihood, "logl": result.log_likelihood, "admissible": min(variances) > 0},
        sections=[
            Section(
                title="Variance components (REML)",
                columns=("source", "variance", "share"),
                rows=[
                    (name.replace("_", " x "), value, value / math.fsum(variances))
                    for name, value in zip(_PARTS, variances, strict=True)
                ],
                decimals=4,
            ),
            Section(
                title="Generalisability in these data (harmonic mean of patients) and in others",
                columns=("patients", "items", "clinician, relative", "clinician, absolute", "dyad, relative"),
                rows=[_row(entry) for entry in (result.observed, *result.decision_study)],
            ),
            Section(
                title="Patients needed for a clinician's score",
                columns=("items", "reliability", "patients"),
                rows=[(entry.n_items, entry.reliability, entry.n_patients) for entry in result.patients_needed],
                decimals=2,
            ),
        ],
        notes=result.notes,
    )


def _row(entry: Coefficients) -> tuple[float, ...]:
    return (
        entry.n_patients,
        entry.n_items,
        entry.clinician_relative,
        entry.clinician_absolute,
        entry.dyad_relative,
    )


def _numbers(value: str, option: str) -> list[int]:
    try:
        return [int(number) for number in split_names(value, option=option)]
    except ValueError:
        raise AnalysisInputError(f"{option} {value!r}: not whole numbers. Remedy: write {option} 5,10,20.") from None
