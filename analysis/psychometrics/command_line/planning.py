"""`planning`: how many clinicians, patients and items, before a study; enough yet, while it runs."""

import argparse
from typing import Any

import numpy as np

from analysis.psychometrics.clinicians.planning import (
    FIGURES,
    DesignPrecision,
    PlanningDesign,
    TargetAnswer,
    design_grid,
    how_many,
    judge_enough,
    simulate_designs,
)
from analysis.psychometrics.command_line.options import add_seed, finite_number, split_names, whole_number
from analysis.psychometrics.command_line.report import Cell, Report, Section
from analysis.psychometrics.command_line.table import read_table
from analysis.psychometrics.errors import AnalysisInputError

#: Half widths asked for when none are given: a reciprocity to about .1 either way.
_DEFAULT_TARGET = "dyadic_reciprocity=0.10"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Sizes to compare and what is assumed; or a file with the data so far."""
    parser.add_argument("data", nargs="?", metavar="DATA.csv", help="the data so far: asks whether they are enough")
    parser.add_argument("--patient", metavar="COL", help="with data: the patient's score")
    parser.add_argument("--clinician", metavar="COL", help="with data: the clinician's score")
    parser.add_argument("--cluster", metavar="COL", help="with data: the clinician's key")
    parser.add_argument("--clinicians", default="20,40,60", metavar="K,…", help="numbers of clinicians (20,40,60)")
    parser.add_argument("--patients", default="10", metavar="N,…", help="patients per clinician (10)")
    parser.add_argument("--items", default="3", metavar="M,…", help="items of the scale (3)")
    parser.add_argument(
        "--consensus", type=finite_number, default=0.06, help="share of patients' scores between clinicians"
    )
    parser.add_argument(
        "--assimilation", type=finite_number, default=0.50, help="share of clinicians' scores between them"
    )
    parser.add_argument("--dyadic-reciprocity", type=finite_number, default=0.30, help="correlation within clinicians")
    parser.add_argument(
        "--generalised-reciprocity", type=finite_number, default=0.30, help="correlation between clinicians"
    )
    parser.add_argument("--mean-difference", type=finite_number, default=0.0, help="clinicians minus patients, in SDs")
    parser.add_argument("--inter-item-correlation", type=finite_number, default=0.50, help="of the scale's items")
    parser.add_argument(
        "--actor-path", type=finite_number, default=0.40, help="standardised effect of the patient's score"
    )
    parser.add_argument(
        "--partner-path", type=finite_number, default=0.15, help="of the clinician's score on the patient"
    )
    parser.add_argument(
        "--outcome-icc", type=finite_number, default=0.05, help="share of the outcome's rest between clinicians"
    )
    parser.add_argument(
        "--target", default=_DEFAULT_TARGET, metavar="FIGURE=W,…", help=f"half widths to reach ({_DEFAULT_TARGET})"
    )
    parser.add_argument("--power", type=finite_number, default=0.80, help="power to reach (0.80)")
    parser.add_argument("--simulations", type=whole_number(least=20), default=300, help="studies a design (300)")
    add_seed(parser)


def run(arguments: argparse.Namespace) -> Report:
    """Simulate the designs, or studies like the data so far."""
    targets = _targets(arguments.target)
    rng = np.random.default_rng(arguments.seed)
    if arguments.data:
        return _enough(arguments, targets, rng)
    sizes = {name: _numbers(getattr(arguments, name), f"--{name}") for name in ("clinicians", "patients", "items")}
    base = PlanningDesign(
        n_clinicians=sizes["clinicians"][0],
        patients_per_clinician=sizes["patients"][0],
        n_items=sizes["items"][0],
        consensus=arguments.consensus,
        assimilation=arguments.assimilation,
        dyadic_reciprocity=arguments.dyadic_reciprocity,
        generalised_reciprocity=arguments.generalised_reciprocity,
        mean_difference=arguments.mean_difference,
        inter_item_correlation=arguments.inter_item_correlation,
        actor_path=arguments.actor_path,
        partner_path=arguments.partner_path,
        outcome_icc=arguments.outcome_icc,
    )
    designs = design_grid(base, n_clinicians=sizes["clinicians"], patients=sizes["patients"], n_items=sizes["items"])
    results = simulate_designs(designs, n_simulations=arguments.simulations, rng=rng)
    answers = how_many(results, half_widths=targets, power=arguments.power)
    notes = list(dict.fromkeys(note for result in results for note in result.notes))
    return Report(
        data={
            "designs": [_entry(result) for result in results],
            "how_many": answers,
            "n_simulations": arguments.simulations,
            "seed": arguments.seed,
            "notes": notes,
        },
        sections=[_table(results), _answers("How many?", answers)],
        notes=notes,
    )


def _enough(arguments: argparse.Namespace, targets: dict[str, float], rng: np.random.Generator) -> Report:
    missing = [name for name in ("patient", "clinician", "cluster") if not getattr(arguments, name)]
    if missing:
        raise AnalysisInputError(
            f"planning with data needs --{missing[0]}. Remedy: name the columns of both scores and the clinician's key."
        )
    table = read_table(arguments.data)
    patient, clinician = table.numeric([arguments.patient, arguments.clinician]).T
    verdict = judge_enough(
        patient,
        clinician,
        np.array(table.text(arguments.cluster)),
        half_widths=targets,
        n_simulations=arguments.simulations,
        rng=rng,
    )
    words = "enough for every target" if verdict.enough else "not enough yet"
    return Report(
        data={
            "enough": verdict.enough,
            "n_clinicians": verdict.n_clinicians,
            "n_dyads": verdict.n_dyads,
            "designs": [_entry(result) for result in verdict.results],
            "how_many": verdict.answers,
            "n_simulations": arguments.simulations,
            "seed": arguments.seed,
            "notes": verdict.notes,
        },
        sections=[
            Section(
                title="Enough yet?",
                text=f"{verdict.n_clinicians} clinicians, {verdict.n_dyads} dyads so far: {words}.",
            ),
            _answers("What each target needs", verdict.answers),
            _table(verdict.results),
        ],
        notes=verdict.notes,
    )


def _numbers(value: str, option: str) -> list[int]:
    try:
        numbers = [int(name) for name in split_names(value, option=option)]
    except ValueError:
        raise AnalysisInputError(f"{option} {value!r}: not whole numbers. Remedy: write {option} 20,40,60.") from None
    if min(numbers) < 1:
        raise AnalysisInputError(f"{option} {value!r}: below 1. Remedy: write {option} 20,40,60.")
    return numbers


def _targets(value: str) -> dict[str, float]:
    targets: dict[str, float] = {}
    for part in split_names(value, option="--target"):
        name, _, width = part.partition("=")
        try:
            targets[name.strip()] = float(width)
        except ValueError:
            raise AnalysisInputError(
                f"--target: {part!r} is not a figure and a half width. Remedy: write --target {_DEFAULT_TARGET}; the "
                f"figures are {', '.join(FIGURES)}."
            ) from None
    return targets


def _entry(result: DesignPrecision) -> dict[str, Any]:
    design = result.design
    return {
        "n_clinicians": design.n_clinicians,
        "patients_per_clinician": design.n_dyads / design.n_clinicians,
        "n_dyads": design.n_dyads,
        "n_items": design.n_items,
        "figures": {figure.name: figure for figure in result.figures},
        "power": dict(result.power),
        "notes": result.notes,
    }


def _table(results: tuple[DesignPrecision, ...]) -> Section:
    rows: list[tuple[Cell, ...]] = []
    for result in results:
        design = result.design
        size = f"{design.n_clinicians} x {design.n_dyads / design.n_clinicians:g} x {design.n_items}"
        for figure in result.figures:
            if np.isfinite(figure.true_value):
                rows.append(
                    (size, figure.name, figure.true_value, figure.mean, figure.sd, figure.p05, figure.p95, None)
                )
        rows += [(size, f"test of {name}", None, None, None, None, None, value) for name, value in result.power]
    return Section(
        title="Precision and power (clinicians x patients x items; 5 % to 95 % of simulated studies)",
        columns=("design", "figure", "true", "mean", "sd", "p05", "p95", "power"),
        rows=rows,
    )


def _answers(title: str, answers: tuple[TargetAnswer, ...]) -> Section:
    return Section(
        title=title,
        columns=("target", "required", "clinicians", "dyads", "items", "reached"),
        rows=[(a.target, a.required, a.n_clinicians, a.n_dyads, a.n_items, a.reached) for a in answers],
    )
