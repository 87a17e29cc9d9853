"""`response-surface`: an outcome by both persons' scores: agreement, disagreement and its direction."""

import argparse
from typing import Any

import numpy as np

from analysis.psychometrics.command_line.coefficients import coefficient_rows, coefficient_table, wald_entry
from analysis.psychometrics.command_line.keys import filled_keys, refuse_repeated
from analysis.psychometrics.command_line.options import add_data, add_seed, finite_number, whole_number
from analysis.psychometrics.command_line.report import Report, Section
from analysis.psychometrics.command_line.table import read_table
from analysis.psychometrics.dyads.response_surface import ResponseSurface, fit_response_surface
from analysis.psychometrics.errors import AnalysisInputError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """One file with a row a dyad; both scores, the outcome, the clinician's key, the scale's midpoint."""
    add_data(parser)
    parser.add_argument("--patient", required=True, metavar="COL", help="the patient's score (X)")
    parser.add_argument("--clinician", required=True, metavar="COL", help="the clinician's score (Y)")
    parser.add_argument("--outcome", required=True, metavar="COL", help="the outcome (Z), from outside the pair")
    parser.add_argument("--cluster", metavar="COL", help="the clinician's key (default: dyads are independent)")
    parser.add_argument("--key", metavar="COL", help="the dyad's key, to refuse a dyad listed twice")
    parser.add_argument(
        "--midpoint", type=finite_number, default=50.0, help="of the scores' scale (default 50, for 0 to 100)"
    )
    parser.add_argument("--draws", type=whole_number(least=20), default=2000, help="resamples (default 2000)")
    add_seed(parser)


def run(arguments: argparse.Namespace) -> Report:
    """Fit the full polynomial and its rivals."""
    table = read_table(arguments.data)
    if arguments.outcome in (arguments.patient, arguments.clinician):
        raise AnalysisInputError(
            f"--outcome names {arguments.outcome!r}, one of the two scores: it predicts itself without error. "
            "Remedy: name an outcome from outside the pair."
        )
    if arguments.key:
        refuse_repeated(table, arguments.key)
    patient, clinician, outcome = table.numeric([arguments.patient, arguments.clinician, arguments.outcome]).T
    result = fit_response_surface(
        patient,
        clinician,
        outcome,
        clinicians=filled_keys(table, arguments.cluster) if arguments.cluster else None,
        rng=np.random.default_rng(arguments.seed),
        midpoint=arguments.midpoint,
        n_draws=arguments.draws,
    )
    return Report(data=_data(result), sections=_sections(result), notes=result.notes)


def _surface_rows(result: ResponseSurface) -> list[dict[str, Any]]:
    a = result.surface
    return [
        {
            "name": name,
            "est": a.estimate[i],
            "se": a.se[i],
            "t": a.statistic[i],
            "df": a.df[i],
            "pvalue": a.pvalue[i],
            "ci_lower": a.ci_lower[i],
            "ci_upper": a.ci_upper[i],
            "wild_pvalue": result.surface_wild_pvalue[i],
        }
        for i, name in enumerate(a.names)
    ]


def _data(result: ResponseSurface) -> dict[str, Any]:
    return {
        "coefficients": coefficient_rows(result.regression),
        "r2": result.regression.r_squared[0],
        "surface": {row.pop("name"): row for row in _surface_rows(result)},
        "geometry": {point.name: point for point in result.geometry},
        "any_effect": wald_entry(result.any_effect),
        "rivals": {rival.name: rival for rival in result.rivals},
        "best_by_aic": result.best_by_aic,
        "congruence": result.congruence,
        "checks": result.checks,
        "condition_based": result.condition_based,
        "n_clinician_higher": result.n_clinician_higher,
        "n_alike": result.n_alike,
        "n_patient_higher": result.n_patient_higher,
        "hull": result.hull,
        "stationary_inside": result.stationary_inside,
        "midpoint": result.midpoint,
        "n_used": result.n_used,
        "n_dropped": result.n_dropped,
        "n_clinicians": result.n_clinicians,
        "notes": result.notes,
    }


def _sections(result: ResponseSurface) -> list[Section]:
    condition = result.condition_based
    return [
        coefficient_table(
            f"Full polynomial, centred at {result.midpoint:g}, CR2 ({result.n_used} dyads, {result.n_clinicians} "
            "clinicians)",
            coefficient_rows(result.regression),
            decimals=5,
        ),
        coefficient_table(
            "Surface: along agreement a1 a2, along disagreement a3 a4, turn a5", _surface_rows(result), decimals=5
        ),
        Section(
            title="Stationary point and principal axes (centred scores)",
            columns=("name", "estimate", "se", "from", "to", "interval"),
            rows=[(p.name, p.estimate, p.se, p.ci_lower, p.ci_upper, p.interval_method) for p in result.geometry],
        ),
        Section(
            title=f"Rivals (smallest AIC: {result.best_by_aic})",
            columns=("model", "r2", "aic", "weight", "chisq", "df", "pvalue", "F (CR2)", "pvalue (CR2)"),
            rows=[
                (
                    rival.name,
                    rival.r_squared,
                    rival.aic,
                    rival.aic_weight,
                    rival.chisq,
                    rival.df,
                    rival.pvalue,
                    rival.robust_f,
                    rival.robust_pvalue,
                )
                for rival in result.rivals
            ],
        ),
        Section(
            title=f"Congruence: {result.congruence}",
            decimals=5,
            columns=("condition", "required", "estimate", "from", "to", "holds", "strict form only"),
            rows=[
                (
                    check.name,
                    check.required,
                    check.estimate,
                    check.ci_lower,
                    check.ci_upper,
                    check.holds,
                    check.strict_only,
                )
                for check in result.checks
            ],
        ),
        Section(
            title="Condition-based regression: does rating higher than the other go with the outcome?",
            columns=("clinician", "pvalue", "patient", "pvalue", "|c1-c2|-|c1+c2|", "se", "pvalue", "supported"),
            rows=[
                (
                    condition.c_clinician,
                    condition.c_clinician_pvalue,
                    condition.c_patient,
                    condition.c_patient_pvalue,
                    condition.contrast,
                    condition.contrast_se,
                    condition.contrast_pvalue,
                    condition.supported,
                )
            ],
        ),
        Section(
            title="Dyads by standardised discrepancy (half a standard deviation)",
            columns=("clinician higher", "alike", "patient higher"),
            rows=[(result.n_clinician_higher, result.n_alike, result.n_patient_higher)],
        ),
    ]
