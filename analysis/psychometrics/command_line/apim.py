"""`apim`: the actor-partner model of patient and clinician."""

import argparse
from typing import Any

import numpy as np

from analysis.psychometrics.command_line.coefficients import coefficient_rows, coefficient_table, wald_entry
from analysis.psychometrics.command_line.keys import filled_keys, refuse_repeated
from analysis.psychometrics.command_line.options import add_data, add_seed, split_names, whole_number
from analysis.psychometrics.command_line.report import Report, Section
from analysis.psychometrics.command_line.table import read_table
from analysis.psychometrics.dyads.actor_partner import ActorPartnerModel, fit_actor_partner
from analysis.psychometrics.dyads.bivariate_intercepts import BivariateIntercepts
from analysis.psychometrics.errors import AnalysisInputError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """One file with a row a dyad; the two predictors, the two outcomes, the clinician's key."""
    add_data(parser)
    parser.add_argument("--predictor", required=True, metavar="PATIENT_COL,CLINICIAN_COL", help="the two predictors")
    parser.add_argument("--outcome", required=True, metavar="PATIENT_COL,CLINICIAN_COL", help="the two outcomes")
    parser.add_argument("--cluster", metavar="COL", help="the clinician's key (default: dyads are independent)")
    parser.add_argument("--key", metavar="COL", help="the dyad's key, to refuse a dyad listed twice")
    parser.add_argument("--draws", type=whole_number(least=20), default=2000, help="resamples (default 2000)")
    parser.add_argument(
        "--interval", choices=("percentile", "bca"), default="percentile", help="kind of bootstrap interval"
    )
    add_seed(parser)


def run(arguments: argparse.Namespace) -> Report:
    """Fit the model by maximum likelihood, with CR2 errors, and with random intercepts of the clinician."""
    table = read_table(arguments.data)
    predictors = _two(arguments.predictor, "--predictor")
    outcomes = _two(arguments.outcome, "--outcome")
    twice = [name for name in outcomes if name in predictors]
    if twice:
        raise AnalysisInputError(
            f"--outcome names {twice[0]!r}, which --predictor names, too: it predicts itself without error. "
            "Remedy: name other outcomes."
        )
    if arguments.key:
        refuse_repeated(table, arguments.key)
    model = fit_actor_partner(
        table.numeric(predictors),
        table.numeric(outcomes),
        clinicians=filled_keys(table, arguments.cluster) if arguments.cluster else None,
        rng=np.random.default_rng(arguments.seed),
        n_draws=arguments.draws,
        interval=arguments.interval,
        names=(*predictors, *outcomes),
    )
    return Report(data=_data(model), sections=_sections(model), notes=[*model.reading, *model.notes])


def _two(value: str, option: str) -> list[str]:
    names = split_names(value, option=option)
    if len(names) != 2:
        raise AnalysisInputError(
            f"{option} requires two columns, the patient's and the clinician's; got {len(names)}. "
            f"Remedy: write {option} PATIENT_COL,CLINICIAN_COL."
        )
    return names


def _data(model: ActorPartnerModel) -> dict[str, Any]:
    split = model.split
    return {
        "parameters": model.parameters,
        "fit": {
            "chisq": 0.0,
            "df": 0,
            "npar": len(model.parameters),
            "logl": model.log_likelihood,
            "aic": model.aic,
            "bic": model.bic,
        },
        "r2": {"patient": model.r_squared[0], "clinician": model.r_squared[1]},
        "k": {k.role: k for k in model.k_ratios},
        "paths_bootstrap": [
            {"name": name, "est": est, "ci_lower": lower, "ci_upper": upper}
            for name, est, lower, upper in zip(
                model.path_names, model.path_estimate, model.path_ci_lower, model.path_ci_upper, strict=True
            )
        ],
        "cr2": coefficient_rows(model.robust),
        "wild_bootstrap": model.wild,
        "random_intercepts": None if model.random_intercepts is None else mixed_entry(model.random_intercepts),
        "within_between": None
        if split is None
        else {
            "coefficients": coefficient_rows(split.regression),
            "partner_within": split.partner_within,
            "partner_between": split.partner_between,
            "difference": split.difference,
            "difference_pvalue": split.difference_pvalue,
        },
        "distinguishability": model.distinguishability,
        "distinguishability_cr2": wald_entry(model.distinguishability_robust),
        "equal_paths_cr2": wald_entry(model.equal_paths_robust),
        "n_used": model.n_used,
        "n_dropped": model.n_dropped,
        "n_clinicians": model.n_clinicians,
        "n_draws": model.n_draws,
        "converged": model.random_intercepts is None or model.random_intercepts.converged,
        "admissible": model.random_intercepts is None or not model.random_intercepts.boundary,
        "reading": model.reading,
        "notes": model.notes,
    }


def mixed_entry(fit: BivariateIntercepts) -> dict[str, Any]:
    """Return the random-intercept model's coefficients, its two covariance matrices and its state."""
    return {
        "coefficients": coefficient_rows(fit),
        "between": fit.between,
        "within": fit.within,
        "between_correlation": fit.between_correlation,
        "within_correlation": fit.within_correlation,
        "icc": fit.icc,
        "logl": fit.log_likelihood,
        "converged": fit.converged,
        "boundary": fit.boundary,
        "notes": fit.notes,
    }


def _sections(model: ActorPartnerModel) -> list[Section]:
    sections = [
        Section(
            title=f"Actor-partner model by maximum likelihood, {model.n_used} dyads, {model.n_clinicians} clinicians",
            columns=("lhs", "op", "rhs", "est", "se", "z", "pvalue", "std_all"),
            rows=[(p.lhs, p.op, p.rhs, p.est, p.se, p.z, p.pvalue, p.std_all) for p in model.parameters],
        ),
        coefficient_table(
            "The same paths with CR2 errors (patients nested in clinicians)", coefficient_rows(model.robust)
        ),
        Section(
            title="k = partner / actor (1 couple, 0 actor only, -1 contrast)",
            columns=("outcome of the", "k", "from", "to", "interval", "pattern"),
            rows=[(k.role, k.estimate, k.ci_lower, k.ci_upper, k.interval_method, k.pattern) for k in model.k_ratios],
        ),
    ]
    if model.wild:
        sections.append(
            Section(
                title="The same paths by the wild cluster bootstrap (Webb weights, null imposed)",
                columns=("path", "pvalue", "from", "to"),
                rows=[(path.name, path.pvalue, path.ci_lower, path.ci_upper) for path in model.wild],
            )
        )
    if model.random_intercepts is not None:
        mixed = model.random_intercepts
        entry = mixed_entry(mixed)
        sections += [
            coefficient_table("With random intercepts of the clinician (REML)", entry["coefficients"]),
            Section(
                title="Unexplained variance (REML)",
                columns=("part", "patient", "clinician", "covariance", "correlation"),
                rows=[
                    ("between clinicians", *_matrix(mixed.between), mixed.between_correlation),
                    ("within", *_matrix(mixed.within), mixed.within_correlation),
                ],
            ),
        ]
    if model.split is not None:
        sections.append(
            coefficient_table(
                "The clinician's predictor within clinician and as the clinician's mean (CR2)",
                coefficient_rows(model.split.regression),
            )
        )
    f = model.distinguishability_robust
    sections.append(
        Section(
            title="Can the roles be told apart? (likelihood ratios take dyads as independent)",
            columns=("hypothesis", "chisq or F", "df", "df2", "pvalue"),
            rows=[
                *((t.name, t.chisq, t.df, None, t.pvalue) for t in model.distinguishability),
                ("the same six equalities with CR2 (F)", f.statistic, f.df_numerator, f.df_denominator, f.pvalue),
            ],
        )
    )
    return sections


def _matrix(matrix: Any) -> tuple[float, float, float]:
    return float(matrix[0, 0]), float(matrix[1, 1]), float(matrix[0, 1])
