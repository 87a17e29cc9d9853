"""`reliability`: alpha, omega and the standard error of measurement of each scale, and what each item does to it.

Everything is about the sum of a scale's items, reversed ones turned round.

- `omega_total`: of the standardised items under one factor, as `psych::omega(nfactors = 1)`, which turns items round
  that load negatively; `omega_total_raw`: of the items as they are, as `semTools::compRelSEM` of a one-factor model;
- `omega_categorical`: `compRelSEM(ord.scale = TRUE)`, for items of at most ten categories;
- `omega_hierarchical`: `psych::omega` with --groups group factors (Schmid–Leiman; details under `schmid_leiman`);
- `sem`: the standard error of measurement from alpha, `sem_omega`: from omega_total_raw;
- `total`: the items of all scales together;
- `model`: with --model, omega and AVE of each factor from the fitted model (`semTools::compRelSEM`, `AVE`), and for a
  bifactor model what the general and the group factors explain.

Rows with a missing answer in the scale are left out unless --missing pairwise is given, which is what `psych::alpha`
does by default.
"""

import argparse
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from analysis.psychometrics.command_line.cfa import model_columns, read_model
from analysis.psychometrics.command_line.correlations import add_missing
from analysis.psychometrics.command_line.options import (
    add_data,
    add_items,
    add_seed,
    chosen_items,
    finite_number,
    split_scales,
    whole_number,
)
from analysis.psychometrics.command_line.report import Cell, Report, Section
from analysis.psychometrics.command_line.scale_items import (
    add_reverse,
    add_scales,
    check_reverse,
    distinct_items,
    keyed_values,
    read_range,
)
from analysis.psychometrics.command_line.table import read_table
from analysis.psychometrics.errors import AnalysisInputError
from analysis.psychometrics.reliability.categorical_omega import categorical_omega
from analysis.psychometrics.reliability.coefficients import (
    CronbachAlpha,
    OmegaTotal,
    cronbach_alpha,
    omega_total,
    spearman_brown,
    standard_error_of_measurement,
)
from analysis.psychometrics.reliability.intervals import ReliabilityCoefficient, bootstrap_reliability
from analysis.psychometrics.reliability.level_specific import level_specific_omega
from analysis.psychometrics.reliability.omega_hierarchical import omega_hierarchical
from analysis.psychometrics.response_matrix import (
    FloatArray,
    Missing,
    complete_rows,
    pairwise_moments,
    smooth_to_positive_definite,
)
from analysis.psychometrics.sem import fit_model
from analysis.psychometrics.structure.model_reliability import ModelReliability, model_reliability

#: An item with more different answers than this is a measurement, not categories.
_MOST_CATEGORIES = 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Data file, scales and their direction, group factors, clusters, bootstrap."""
    add_data(parser)
    add_items(parser)
    add_scales(parser, meaning="the scales (default: one, of all items)")
    parser.add_argument(
        "--model",
        metavar="FILE|TEXT",
        help="a factor model in lavaan's syntax: omega and AVE of its factors too, bifactor coefficients",
    )
    parser.add_argument("--ordered", action="store_true", help="with --model: its items are ordinal (WLSMV)")
    add_reverse(parser)
    add_missing(parser)
    parser.add_argument(
        "--groups",
        type=whole_number(least=2),
        default=3,
        help="group factors under omega hierarchical (default 3, as psych::omega)",
    )
    parser.add_argument("--cluster", metavar="COL", help="the column that names the clinician: omega at each level")
    parser.add_argument(
        "--bootstrap",
        metavar="DRAWS",
        type=whole_number(least=20),
        help="bootstrap intervals of alpha and omega from so many resamples (of whole clusters with --cluster)",
    )
    parser.add_argument(
        "--confidence", type=finite_number, default=0.95, help="coverage of the intervals (default 0.95)"
    )
    add_seed(parser)


def run(arguments: argparse.Namespace) -> Report:
    """Judge every scale, and their items together when there are several."""
    table = read_table(arguments.data)
    if arguments.ordered and not arguments.model:
        raise AnalysisInputError("--ordered goes with --model. Remedy: leave it out, or give the model.")
    model = read_model(arguments.model) if arguments.model else None
    if arguments.scales:
        if arguments.items:
            raise AnalysisInputError("--items and --scales both name items. Remedy: give one of them.")
        scales = split_scales(arguments.scales)
    else:
        scales = {"all": chosen_items(arguments, table, leave_out=[arguments.cluster])}
    members = distinct_items(scales)
    columns = model_columns(model, table) if model else []
    turned = check_reverse(arguments.reverse, [*members, *columns])
    ends = read_range(arguments.range)
    clusters = np.array(table.text(arguments.cluster)) if arguments.cluster else None
    data: dict[str, Any] = {
        "scales": {},
        "reversed": turned,
        "missing": arguments.missing,
        "seed": arguments.seed,
        "n_rows": table.n_rows,
    }
    judged = {
        name: _judge(keyed_values(table, items, turned, ends), items, name, arguments, clusters)
        for name, items in scales.items()
    }
    data["scales"] = judged
    data["total"] = None
    if len(scales) > 1:
        whole = keyed_values(table, members, turned, ends)
        data["total"] = _judge(whole, members, "all scales together", arguments, clusters)
        judged = judged | {"all together": data["total"]}
    notes = [f"{name}: {note}" for name, scale in judged.items() for note in scale["notes"]]
    sections = _sections(judged, arguments)
    data["model"] = None
    whole_answer = data["total"] or next(iter(judged.values()))
    data |= {"n_used": whole_answer["n_used"], "n_dropped": whole_answer["n_dropped"]}
    data |= {state: all(scale[state] for scale in judged.values()) for state in ("converged", "admissible")}
    if model:
        fit = fit_model(
            model,
            keyed_values(table, columns, turned, ends),
            item_codes=columns,
            estimator="WLSMV" if arguments.ordered else "ML",
            ordered=arguments.ordered,
        )
        found = model_reliability(fit)
        notes += [f"model: {note}" for note in (*fit.notes, *found.notes)]
        data["model"] = _model_data(found) | {"converged": fit.converged, "admissible": fit.admissible}
        sections.append(_model_section(found))
        data |= {state: data[state] and data["model"][state] for state in ("converged", "admissible")}
    return Report(data=data | {"notes": notes}, sections=sections, notes=notes)


def _model_data(found: ModelReliability) -> dict[str, Any]:
    """What a program reads about the model."""
    return {
        "factors": {
            factor.factor: {
                "items": factor.items,
                "omega": factor.omega,
                "omega_model": factor.omega_model,
                "ave": factor.ave,
                "categorical": factor.categorical,
                "notes": factor.notes,
            }
            for factor in found.factors
        },
        "bifactor": found.bifactor[0] if found.bifactor else None,
        "notes": found.notes,
    }


def _model_section(found: ModelReliability) -> Section:
    rows: list[tuple[Cell, ...]] = [
        (one.factor, len(one.items), one.omega, one.omega_model, one.ave) for one in found.factors
    ]
    for hierarchy in found.bifactor:
        rows.append(("total score, all factors", len(hierarchy.item_codes), hierarchy.omega_total, None, None))
    return Section(
        title="Factors of the model",
        columns=("factor", "items", "omega", "over the model's variance", "AVE"),
        rows=rows,
    )


def _judge(
    values: FloatArray,
    items: Sequence[str],
    name: str,
    arguments: argparse.Namespace,
    clusters: np.ndarray | None,
) -> dict[str, Any]:
    """Everything about one scale; what cannot be computed is null with a note."""
    if len(items) < 2:
        raise AnalysisInputError(
            f"reliability requires at least two items in a scale; {name!r} has {len(items)}. "
            "Remedy: add an item, or judge a single item by retest."
        )
    missing: Missing = arguments.missing
    try:
        alpha = cronbach_alpha(values, item_codes=items, confidence=arguments.confidence, missing=missing)
    except AnalysisInputError as error:
        raise AnalysisInputError(f"scale {name!r}: {error}") from None
    notes = list(alpha.notes)

    def part(compute: Callable[[], Any]) -> Any:
        """Return one part of the answer, or null with its reason among the notes."""
        try:
            return compute()
        except AnalysisInputError as error:
            notes.append(str(error))
        except np.linalg.LinAlgError:
            notes.append("the matrix algebra broke down: some items are (nearly) combinations of others")
        return None

    covariance = _covariance(values, missing, notes)
    sd = np.sqrt(np.diag(covariance))
    correlation = covariance / np.outer(sd, sd)
    np.fill_diagonal(correlation, 1.0)
    proper = bool(np.linalg.eigvalsh(correlation)[0] > 1e-10)
    if not proper:
        notes.append(
            "the items' correlations are singular (copies, combinations, or no more respondents than items): "
            "don't rely on omega"
        )
    standardised = part(lambda: _standardised_omega(correlation, items, notes))
    raw = part(lambda: omega_total(covariance, extraction="ml", item_codes=items))
    for solution in (standardised, raw):
        notes += _new_notes(solution.notes if solution else (), notes)
    answer: dict[str, Any] = {
        "items": {
            item: {
                "alpha_if_deleted": alpha.alpha_if_deleted[position],
                "alpha_std_if_deleted": alpha.alpha_std_if_deleted[position],
                "item_rest_r": alpha.item_rest_r[position],
                "mean": alpha.item_means[position],
                "sd": alpha.item_sds[position],
            }
            for position, item in enumerate(items)
        },
        "n_items": len(items),
        "alpha": alpha.alpha,
        "alpha_ci_lower": alpha.alpha_ci_lower,
        "alpha_ci_upper": alpha.alpha_ci_upper,
        "alpha_std": alpha.alpha_std,
        "average_r": alpha.average_r,
        "median_r": alpha.median_r,
        "lambda2": alpha.lambda2,
        "lambda6": alpha.lambda6,
        "spearman_brown": spearman_brown(alpha.average_r) if len(items) == 2 else None,
        "omega_total": standardised.omega_from_residuals if standardised else None,
        "omega_total_raw": raw.omega_observed if raw else None,
        "omega_total_raw_model": raw.omega if raw else None,
    }
    answer |= _categorical(values, items, missing, notes)
    answer |= _hierarchical(correlation, items, arguments.groups, notes, part)
    answer |= {
        "score_sd": alpha.score_sd,
        "sem": standard_error_of_measurement(alpha.score_sd, alpha.alpha),
        "sem_omega": _sem_from(raw.omega_observed if raw else float("nan"), alpha),
        "confidence": alpha.confidence,
        "level_specific": _by_level(values, items, clusters, notes, part),
        "bootstrap": _bootstrap(values, items, arguments, clusters, notes, part),
        "n_used": alpha.n_used,
        "n_dropped": alpha.n_dropped,
        "converged": len(items) == 2 or all(bool(one and one.converged) for one in (standardised, raw)),
        "admissible": len(items) == 2 or (proper and all(bool(one and one.admissible) for one in (standardised, raw))),
        "notes": notes,
    }
    return answer


def _covariance(values: FloatArray, missing: Missing, notes: list[str]) -> FloatArray:
    if missing == "listwise":
        rows = complete_rows(values, who="reliability", minimum_items=2, minimum_respondents=3).values
        return np.asarray(np.cov(rows, rowvar=False), dtype=np.float64)
    covariance, _, _ = pairwise_moments(values)
    sd = np.sqrt(np.diag(covariance))
    correlation = covariance / np.outer(sd, sd)
    if np.linalg.eigvalsh(correlation)[0] < 1e-10:
        notes.append("pairwise covariances were not positive definite; for omega they were smoothed")
        covariance = smooth_to_positive_definite(correlation) * np.outer(sd, sd)
    return covariance


def _standardised_omega(correlation: FloatArray, items: Sequence[str], notes: list[str]) -> OmegaTotal:
    """Omega of the standardised items, those that load negatively turned round, as psych does."""
    solution = omega_total(correlation, extraction="minres", item_codes=items)
    sign = np.where(solution.loadings < 0, -1.0, 1.0)
    if (sign > 0).all():
        return solution
    turned = ", ".join(item for item, s in zip(items, sign, strict=True) if s < 0)
    notes.append(
        f"for omega_total, as psych::omega does, turned round: {turned}; the other coefficients take them as given"
    )
    return omega_total(correlation * np.outer(sign, sign), extraction="minres", item_codes=items)


def _new_notes(found: Sequence[str], known: Sequence[str]) -> list[str]:
    """Leave out what has been said, and the keying of items once something has been said about it.

    Empty cells are the rule with categories near a ceiling; they are no news about a scale.
    """
    told = any("reversed" in note or "turned round" in note for note in known)
    return [
        note
        for note in found
        if note not in known
        and not note.startswith("empty cells")
        and not (told and note.startswith("negative loading"))
    ]


def _sem_from(reliability: float, alpha: CronbachAlpha) -> float:
    return standard_error_of_measurement(alpha.score_sd, min(reliability, 1.0))


def _categorical(values: FloatArray, items: Sequence[str], missing: Missing, notes: list[str]) -> dict[str, Any]:
    """Green and Yang's omega where the items are categories."""
    if len(items) < 3:
        return {"omega_categorical": None}
    different = [len(np.unique(column[~np.isnan(column)])) for column in values.T]
    if max(different) > _MOST_CATEGORIES:
        widest = items[int(np.argmax(different))]
        notes.append(f"no categorical omega: {widest} has {max(different)} different values, so it is no category")
        return {"omega_categorical": None}
    try:
        result = categorical_omega(values, item_codes=items, missing=missing)
    except AnalysisInputError as error:
        notes.append(f"no categorical omega: {error}")
        return {"omega_categorical": None}
    notes += _new_notes(result.notes, notes)
    return {"omega_categorical": result.omega}


def _hierarchical(
    correlation: FloatArray,
    items: Sequence[str],
    n_groups: int,
    notes: list[str],
    part: Callable[[Callable[[], Any]], Any],
) -> dict[str, Any]:
    """Omega hierarchical where the items leave degrees of freedom for the group factors."""
    possible = max((m for m in range(1, len(items)) if (len(items) - m) ** 2 >= len(items) + m), default=0)
    if n_groups > possible:
        notes.append(
            f"no omega hierarchical: {n_groups} group factors need more than {len(items)} items"
            + (f"; --groups {possible} is possible" if possible > 1 else "")
        )
        return {"omega_hierarchical": None, "schmid_leiman": None}
    result = part(lambda: omega_hierarchical(correlation, n_groups=n_groups, item_codes=items))
    if result is None:
        return {"omega_hierarchical": None, "schmid_leiman": None}
    notes += [f"omega hierarchical: {note}" for note in result.notes]
    return {
        "omega_hierarchical": result.omega_hierarchical,
        "schmid_leiman": {
            "n_groups": n_groups,
            "omega_total": result.omega_total,
            "omega_hierarchical": result.omega_hierarchical,
            "omega_asymptotic": result.omega_asymptotic,
            "omega_group_total": result.omega_group_total,
            "omega_group_general": result.omega_group_general,
            "omega_group": result.omega_group,
            "group_of_item": dict(zip(items, (result.group_of_item + 1).tolist(), strict=True)),
            "ecv": result.ecv,
            "puc": result.puc,
            "construct_replicability": result.construct_replicability,
            "general_loadings": result.general_loadings,
            "group_loadings": result.group_loadings,
            "reversed_items": result.reversed_items,
            "converged": result.converged,
        },
    }


def _by_level(
    values: FloatArray,
    items: Sequence[str],
    clusters: np.ndarray | None,
    notes: list[str],
    part: Callable[[Callable[[], Any]], Any],
) -> dict[str, Any] | None:
    if clusters is None:
        return None
    owned = clusters != ""
    if not owned.all():
        notes.append(f"omega by level: {int((~owned).sum())} rows without a cluster are left out")
    result = part(lambda: level_specific_omega(values[owned], clusters[owned], item_codes=items))
    if result is None:
        return None
    notes += [f"omega by level: {note}" for note in _new_notes(result.notes, notes)]
    return {
        "omega_within": result.omega_within,
        "omega_between": result.omega_between,
        "omega_cluster_mean": result.omega_cluster_mean,
        "icc_score": result.icc_score,
        "icc_items": dict(zip(items, result.covariances.icc.tolist(), strict=True)),
        "n_clusters": result.covariances.n_clusters,
        "mean_cluster_size": result.covariances.mean_cluster_size,
        "converged": result.converged,
        "admissible": result.admissible,
    }


def _bootstrap(
    values: FloatArray,
    items: Sequence[str],
    arguments: argparse.Namespace,
    clusters: np.ndarray | None,
    notes: list[str],
    part: Callable[[Callable[[], Any]], Any],
) -> dict[str, Any] | None:
    if arguments.bootstrap is None:
        return None
    coefficients: tuple[ReliabilityCoefficient, ...] = ("alpha", "alpha_std", "omega_total")
    owned = np.ones(len(values), dtype=bool) if clusters is None else clusters != ""
    result = part(
        lambda: bootstrap_reliability(
            values[owned],
            rng=np.random.default_rng(arguments.seed),
            n_draws=arguments.bootstrap,
            clusters=None if clusters is None else clusters[owned],
            coefficients=coefficients if len(items) > 2 else coefficients[:2],
            confidence=arguments.confidence,
            item_codes=items,
        )
    )
    if result is None:
        return None
    notes += [f"bootstrap: {note}" for note in result.notes]
    if arguments.missing == "pairwise" and result.n_dropped:
        notes.append("bootstrap: of the complete rows")
    return {
        "unit": result.unit,
        "n_units": result.n_units,
        "n_draws": result.n_draws,
        "method": result.method,
        "n_used": result.n_used,
    } | {
        name: {
            "estimate": result.estimate[number],
            "se": result.se[number],
            "ci_lower": result.ci_lower[number],
            "ci_upper": result.ci_upper[number],
        }
        for number, name in enumerate(result.coefficients)
    }


def _sections(judged: dict[str, dict[str, Any]], arguments: argparse.Namespace) -> list[Section]:
    share = f"{arguments.confidence:.0%}"
    sections = [
        Section(
            title="Scales",
            columns=(
                "scale",
                "items",
                "n",
                "alpha",
                f"{share} lower",
                "upper",
                "alpha std",
                "omega total",
                "omega raw",
                "omega cat",
                "omega h",
                "SD of sum",
                "SEM",
            ),
            rows=[
                (
                    name,
                    scale["n_items"],
                    scale["n_used"],
                    scale["alpha"],
                    scale["alpha_ci_lower"],
                    scale["alpha_ci_upper"],
                    scale["alpha_std"],
                    scale["omega_total"],
                    scale["omega_total_raw"],
                    scale["omega_categorical"],
                    scale["omega_hierarchical"],
                    scale["score_sd"],
                    scale["sem"],
                )
                for name, scale in judged.items()
            ],
        ),
        Section(
            title="Items",
            columns=("scale", "item", "mean", "sd", "with the rest", "alpha without"),
            rows=[
                (name, item, of["mean"], of["sd"], of["item_rest_r"], of["alpha_if_deleted"])
                for name, scale in judged.items()
                for item, of in scale["items"].items()
                if name in (*judged,) and name != "all together"
            ],
        ),
    ]
    levels = [(name, scale["level_specific"]) for name, scale in judged.items() if scale["level_specific"]]
    if levels:
        keys = ("omega_within", "omega_between", "omega_cluster_mean", "icc_score", "n_clusters", "mean_cluster_size")
        sections.append(
            Section(
                title=f"By level: within and between {arguments.cluster}",
                columns=("scale", "within", "between", "of observed means", "ICC of the sum", "clusters", "mean size"),
                rows=[(name, *(level[key] for key in keys)) for name, level in levels],
            )
        )
    drawn = [(name, scale["bootstrap"]) for name, scale in judged.items() if scale["bootstrap"]]
    if drawn:
        sections.append(
            Section(
                title=f"Bootstrap of {drawn[0][1]['unit']}, {drawn[0][1]['n_draws']} draws",
                columns=("scale", "coefficient", "estimate", "se", f"{share} lower", "upper"),
                rows=[
                    (name, coefficient, *(of[coefficient][key] for key in ("estimate", "se", "ci_lower", "ci_upper")))
                    for name, of in drawn
                    for coefficient in ("alpha", "alpha_std", "omega_total")
                    if coefficient in of
                ],
            )
        )
    return sections
