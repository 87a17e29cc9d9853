"""`role-invariance`: do both roles' forms measure alike, and which gaps may be shown."""

import argparse
from typing import Any

import numpy as np

from analysis.psychometrics.command_line.options import add_seed, split_scales, whole_number
from analysis.psychometrics.command_line.report import Report, Section
from analysis.psychometrics.command_line.table import read_table
from analysis.psychometrics.command_line.two_files import add_prefixes, chosen_prefixes
from analysis.psychometrics.dyads.pairing import pair_dyads
from analysis.psychometrics.structure.role_invariance import InvarianceStep, RoleInvariance, assess_role_invariance


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Two data files, the dyad's key, the factors, the estimator, the clinician's key."""
    parser.add_argument("patient", metavar="PATIENT.csv", help="the patients' forms, one row a dyad")
    parser.add_argument("clinician", metavar="CLINICIAN.csv", help="the clinicians' forms, one row a dyad")
    parser.add_argument("--key", required=True, metavar="COL", help="the column of either file that names the dyad")
    add_prefixes(parser)
    parser.add_argument("--scales", required=True, metavar="F=a,b,c;…", help="factors and their items, in both files")
    parser.add_argument("--estimator", choices=("WLSMV", "ML", "MLR"), default="WLSMV", help="default WLSMV (ordinal)")
    parser.add_argument("--cluster", metavar="COL", help="the clinician's key, in either file")
    parser.add_argument(
        "--draws", type=whole_number(least=0), default=0, help="resamples of clinicians for the gaps (default 0: none)"
    )
    add_seed(parser)


def run(arguments: argparse.Namespace) -> Report:
    """Pair the files by the key and test the steps."""
    patients, clinicians = read_table(arguments.patient), read_table(arguments.clinician)
    factors = split_scales(arguments.scales)
    items = list(dict.fromkeys(item for members in factors.values() for item in members))
    of_patient, of_clinician = chosen_prefixes(arguments)
    pairs = pair_dyads(patients.text(arguments.key), clinicians.text(arguments.key))
    keys = None
    if arguments.cluster:
        table, rows = (
            (clinicians, pairs.clinician_rows)
            if arguments.cluster in clinicians.names
            else (patients, pairs.patient_rows)
        )
        column = table.text(arguments.cluster)
        keys = [column[row] for row in rows.tolist()]
    result = assess_role_invariance(
        patients.numeric([of_patient + item for item in items])[pairs.patient_rows],
        clinicians.numeric([of_clinician + item for item in items])[pairs.clinician_rows],
        factors,
        item_codes=items,
        estimator=arguments.estimator,
        clinicians=keys,
        n_draws=arguments.draws,
        rng=np.random.default_rng(arguments.seed),
    )
    notes = list(dict.fromkeys([*pairs.notes, *result.notes, *(note for step in result.steps for note in step.notes)]))
    return Report(
        data={
            "levels": {step.level: _entry(step) for step in result.steps},
            "gaps": {gap.factor: gap for gap in result.gaps},
            "design_effects": result.design_effects,
            "estimator": result.estimator,
            "n_used": result.n_used,
            "n_dropped": result.n_dropped + len(pairs.only_patient) + len(pairs.only_clinician),
            "n_clinicians": result.n_clinicians,
            "converged": all(step.converged for step in result.steps),
            "admissible": all(step.admissible for step in result.steps),
            "notes": notes,
        },
        sections=_sections(result),
        notes=notes,
    )


def _entry(step: InvarianceStep) -> dict[str, Any]:
    return {
        "fit": step.fit,
        "delta_cfi": step.delta_cfi,
        "delta_rmsea": step.delta_rmsea,
        "delta_srmr": step.delta_srmr,
        "chisq_diff": step.chisq_diff,
        "df_diff": step.df_diff,
        "pvalue": step.pvalue,
        "passes": step.passes,
        "passes_released": step.passes_released,
        "factors": step.factors,
        "converged": step.converged,
        "admissible": step.admissible,
        "notes": step.notes,
    }


def _sections(result: RoleInvariance) -> list[Section]:
    def index(step: InvarianceStep, name: str) -> float:
        return float(step.fit.get(f"{name}_scaled", step.fit.get(name, float("nan"))))

    sections = [
        Section(
            title=f"What is equal in both roles, step by step ({result.estimator}, {result.n_used} dyads)",
            columns=("level", "chisq", "df", "cfi", "rmsea", "srmr", "d cfi", "d rmsea", "diff", "df", "p", "passes"),
            rows=[
                (
                    step.level,
                    index(step, "chisq"),
                    int(step.fit.get("df", 0)),
                    index(step, "cfi"),
                    index(step, "rmsea"),
                    float(step.fit.get("srmr", float("nan"))),
                    step.delta_cfi,
                    step.delta_rmsea,
                    step.chisq_diff,
                    step.df_diff or None,
                    step.pvalue,
                    step.passes,
                )
                for step in result.steps
            ],
        ),
        Section(
            title="Each factor released in turn (p by Holm, allowing for nesting)",
            columns=("level", "factor", "chisq diff", "df", "p", "holds", "items set free"),
            rows=[
                (
                    step.level,
                    test.factor,
                    test.chisq_diff,
                    test.df_diff,
                    test.pvalue_holm,
                    test.holds,
                    ", ".join(test.released),
                )
                for step in result.steps
                for test in step.factors
            ],
        ),
        Section(
            title="Which gaps may be shown (clinician minus patient, in SDs of the patients' factor)",
            columns=("factor", "gap", "from", "to", "interval", "roles' correlation", "verdict"),
            rows=[
                (
                    g.factor,
                    g.mean_gap,
                    g.mean_gap_ci_lower,
                    g.mean_gap_ci_upper,
                    g.interval_method,
                    g.correlation,
                    g.verdict,
                )
                for g in result.gaps
            ],
        ),
    ]
    if result.design_effects:
        sections.append(
            Section(
                title="What nesting in clinicians costs",
                columns=("factor", "of", "icc", "design effect", "effective n"),
                rows=[(e.factor, e.role, e.icc, e.design_effect, e.effective_n) for e in result.design_effects],
            )
        )
    return sections
