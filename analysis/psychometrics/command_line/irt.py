"""`irt`: the graded response model, its items, information and scores."""

import argparse
from typing import Any

from analysis.psychometrics.command_line.options import add_data, add_items, chosen_items
from analysis.psychometrics.command_line.report import Report, Section
from analysis.psychometrics.command_line.table import read_table
from analysis.psychometrics.item_response.graded_response import (
    GradedResponseModel,
    fit_graded_response,
    score_graded_response,
)
from analysis.psychometrics.item_response.graded_response_fit import graded_item_fit, graded_residual_correlations


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Data, model, items, and what to compute beside the estimates."""
    add_data(parser)
    parser.add_argument("--model", choices=["graded"], default="graded", help="Samejima's graded response (default)")
    add_items(parser)
    parser.add_argument(
        "--group", metavar="COL", help="free mean and variance of the trait in each group of this column"
    )
    parser.add_argument(
        "--reference", metavar="GROUP", help="the group with mean 0 and variance 1 (default: the largest)"
    )
    parser.add_argument(
        "--se",
        choices=["observed", "crossproduct", "none"],
        default="observed",
        help="standard errors from the observed information (default), from the cross-product, or none",
    )
    parser.add_argument("--map", action="store_true", help="add the posterior's mode as a second score")
    parser.add_argument("--item-fit", action="store_true", help="add S-X² of every item")
    parser.add_argument("--q3", action="store_true", help="add the residual correlations of all pairs of items")


def run(arguments: argparse.Namespace) -> Report:
    """Fit, and print items for people, or items, scores and information for programs."""
    table = read_table(arguments.data)
    names = chosen_items(arguments, table, leave_out=[arguments.group])
    values = table.numeric(names)
    model = fit_graded_response(
        values,
        item_codes=names,
        groups=table.text(arguments.group) if arguments.group else None,
        reference=arguments.reference,
        standard_errors=arguments.se,
    )
    data = _as_data(model, arguments.model)
    sections = _sections(model)
    notes = list(model.notes)
    if arguments.map:
        scores = score_graded_response(model, values, method="map")
        data |= {"map": scores.theta, "map_se": scores.standard_error}
    if arguments.item_fit:
        fit = graded_item_fit(model, values)
        rows = list(
            zip(names, fit.s_x2.tolist(), fit.df.tolist(), fit.p_value.tolist(), fit.rmsea.tolist(), strict=True)
        )
        data["item_fit"] = {
            name: {"s_x2": s_x2, "df": df, "pvalue": p, "rmsea": rmsea} for name, s_x2, df, p, rmsea in rows
        }
        sections.append(Section(title="Item fit (S-X²)", columns=("item", "S-X²", "df", "p", "RMSEA"), rows=rows))
        notes += fit.notes
    if arguments.q3:
        residual = graded_residual_correlations(model, values)
        data["q3"] = {
            "items": names,
            "matrix": residual.q3,
            "largest": residual.largest,
            "largest_pair": residual.largest_pair,
            "mean": residual.mean,
        }
        sections.append(
            Section(
                title="Residual correlations (Q3)",
                columns=("item", *names),
                rows=[(name, *row) for name, row in zip(names, residual.q3.tolist(), strict=True)],
            )
        )
    data["notes"] = notes
    return Report(data=data, sections=sections, notes=notes)


def _as_data(model: GradedResponseModel, name: str) -> dict[str, Any]:
    return {
        "model": name,
        "items": {
            item.item_code: {
                "a": item.a,
                "a_se": item.a_se,
                "b": item.b,
                "b_se": item.b_se,
                "d": item.d,
                "d_se": item.d_se,
                "scale_points": item.scale_points,
                "n_answers": item.n_answers,
                "never_most_likely": item.never_most_likely,
                "categories_ordered": item.categories_ordered,
                "information": information,
            }
            for item, information in zip(model.items, model.item_information, strict=True)
        },
        "groups": {
            group.group: {
                "n": group.n_used,
                "mean": group.mean,
                "mean_se": group.mean_se,
                "variance": group.variance,
                "variance_se": group.variance_se,
            }
            for group in model.groups
        },
        "logl": model.log_likelihood,
        "npar": model.n_parameters,
        "aic": model.aic,
        "bic": model.bic,
        "eap": model.eap,
        "eap_se": model.eap_se,
        "reliability_empirical": model.reliability_empirical,
        "reliability_marginal": model.reliability_marginal,
        "theta": model.theta,
        "information": model.test_information,
        "standard_errors": model.standard_errors,
        "n_used": model.n_used,
        "n_dropped": model.n_dropped,
        "n_iterations": model.n_iterations,
        "converged": model.converged,
        "admissible": model.admissible,
    }


def _sections(model: GradedResponseModel) -> list[Section]:
    """What people read."""
    most = max(len(item.b) for item in model.items)
    blank: list[float | None] = [None] * most
    sections = [
        Section(
            title="Graded response model",
            text=(
                f"log-likelihood {model.log_likelihood:.3f}, {model.n_parameters} parameters, AIC {model.aic:.2f}, "
                f"BIC {model.bic:.2f}\n{model.n_used} respondents used, {model.n_dropped} without any answer; "
                f"{'converged' if model.converged else 'NOT CONVERGED'} in {model.n_iterations} iterations"
                f"{'' if model.admissible else '; NOT ADMISSIBLE, see the notes'}\n"
                f"reliability of the EAP score {model.reliability_empirical:.3f}, "
                f"marginal {model.reliability_marginal:.3f}"
            ),
        ),
        Section(
            title="Items: slope a and thresholds b, standard errors beside them",
            columns=("item", "a", "se", *(part for k in range(1, most + 1) for part in (f"b{k}", "se"))),
            rows=[
                (
                    item.item_code,
                    item.a,
                    item.a_se,
                    *(cell for pair in zip([*item.b, *blank], [*item.b_se, *blank], strict=False) for cell in pair),
                )[: 3 + 2 * most]
                for item in model.items
            ],
        ),
        Section(
            title="Test information",
            columns=("theta", "information", "standard error"),
            rows=[
                (float(theta), float(information), float(information) ** -0.5)
                for theta, information in zip(model.theta[10:71:10], model.test_information[10:71:10], strict=True)
            ],
        ),
    ]
    if model.groups:
        sections.append(
            Section(
                title="Groups: the trait's distribution, items the same",
                columns=("group", "n", "mean", "se", "variance", "se"),
                rows=[
                    (group.group, group.n_used, group.mean, group.mean_se, group.variance, group.variance_se)
                    for group in model.groups
                ],
            )
        )
    disordered = [item for item in model.items if not item.categories_ordered]
    if disordered:
        sections.append(
            Section(
                title="Categories that are nowhere the likeliest answer",
                columns=("item", "scale points"),
                rows=[
                    (item.item_code, ", ".join(f"{point:g}" for point in item.never_most_likely)) for item in disordered
                ],
            )
        )
    return sections
