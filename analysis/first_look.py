"""The first look at one role's answers: items, scales, structure, and what a gap between roles is measured against.

Pure: a matrix in, plain data out (what an analysis run stores). A part that cannot be computed says so in its place,
with the remedy, and the others go on.
"""

import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from analysis.adapters.factor_analyzer_efa import bartlett_sphericity, explore_factors, sampling_adequacy
from analysis.adapters.pingouin_alpha import cronbach_alpha
from analysis.psychometrics.errors import AnalysisInputError
from analysis.psychometrics.exploratory.retention import ParallelAnalysis, parallel_analysis
from analysis.psychometrics.items.item_statistics import describe_items, inter_item_correlations, item_rest_correlations
from analysis.psychometrics.plain_data import as_plain
from analysis.psychometrics.reliability.coefficients import omega_total, spearman_brown, standard_error_of_measurement
from analysis.psychometrics.response_matrix import (
    FloatArray,
    as_item_codes,
    as_responses,
    complete_rows,
    reverse_items,
)

Progress = Callable[[float, str], None]

#: The model has five domains: that many factors are extracted from a form long enough to show them.
MODEL_FACTORS = 5
LONG_FORM_ITEMS = 30

#: Below this many complete forms a reliability is too unsure to judge one dyad by (COSMIN's gate for reliability).
MINIMUM_FORMS_FOR_A_VERDICT = 100

FORMATIVE_NOTE = (
    "formative-leaning component: its items are causes rather than signs, so alpha is no verdict on it; "
    "judge it by retest and validity"
)
TWO_ITEM_LABEL = "two items"


def first_look(
    role_matrix: npt.ArrayLike,
    *,
    item_codes: Sequence[str],
    scales: Mapping[str, Sequence[str]],
    reverse: Collection[str],
    seed: int,
    progress: Progress,
    domains: Mapping[str, Sequence[str]] | None = None,
    gap_scales: Collection[str] = (),
    formative: Collection[str] = (),
    scale_values: Sequence[int] = (1, 2, 3, 4, 5),
    missing_by_reason: Mapping[str, Mapping[str, int]] | None = None,
    scores: Mapping[str, npt.ArrayLike] | None = None,
    n_factors: int | None = None,
    n_draws: int = 200,
) -> dict[str, Any]:
    """Compute the first look at the answers of one role on one form.

    Parameters
    ----------
    role_matrix : array-like, shape (n_forms, n_items)
        Answers as given on the response scale; NaN for missing. Reverse-keyed items are turned round inside.
    item_codes : sequence of str
        One per column.
    scales : mapping of scale id to item codes
        The components.
    reverse : collection of item codes
        Reverse-keyed items.
    seed : int
        For the random reference of the parallel analysis; the same seed gives the same result.
    progress : callable (share done from 0 to 1, name of the part)
        Told before each part and at the end.
    domains : mapping of domain id to scale ids, optional
        Each is examined as the scale of all its items, and as the score made of its components' scores.
    gap_scales : collection of scale ids
        Scales compared between roles on their own (trust, hope, being known).
    formative : collection of scale ids
        Components without a verdict on alpha.
    scale_values : sequence of int
        Points of the response scale, lowest first.
    missing_by_reason : mapping of item code to mapping of reason to count, optional
        Passed on to `describe_items`; rows without any answer have to be counted, too.
    scores : mapping of scale or domain id to array-like (n_forms,), optional
        Stored scores, 0–100, NaN for none. Without them scores are the means of what was answered: half of the items of
        a scale, two thirds of the components of a domain (rounded up).
    n_factors : int, optional
        Factors to extract. Default: five, the domains of the model, from 30 items on; below that as many as the
        parallel analysis finds, at least one and at most five.
    n_draws : int
        Random data sets of the parallel analysis.

    Returns
    -------
    dict
        Plain data for JSON; what is undefined is None. Keys: `n_forms`, `n_empty`, `n_items`, `seed`, `items`,
        `scales`, `domains`, `structure` (`sampling_adequacy`, `sphericity`, `retention`, `factors`), `gap_reference`.
        In the place of a part that cannot be computed: `{"error": message}`.

    Raises
    ------
    AnalysisInputError
        The matrix, codes, scales or domains do not fit one another.
    """
    given = as_responses(role_matrix, who="first_look")
    codes = as_item_codes(item_codes, given.shape[1], who="first_look")
    _check_names(codes, scales, domains or {}, reverse, gap_scales, formative)
    column = {code: position for position, code in enumerate(codes)}
    turned = reverse_items(
        given, columns=[column[code] for code in reverse], lowest=scale_values[0], highest=scale_values[-1]
    )
    # A form without a single answer is no respondent; dropping it keeps the counts about people who answered.
    empty = np.isnan(turned).all(axis=1)
    keyed = turned[~empty]
    stored = {name: np.asarray(values, dtype=np.float64)[~empty] for name, values in (scores or {}).items()}

    progress(0.0, "items")
    items = _part(lambda: _items(given, codes, reverse, scale_values, missing_by_reason))
    progress(0.1, "scales")
    scale_results = {
        name: _scale(keyed[:, [column[code] for code in members]], tuple(members), formative=name in formative)
        for name, members in scales.items()
    }
    progress(0.4, "domains")
    domain_items = {
        name: tuple(code for scale in members for code in scales[scale]) for name, members in (domains or {}).items()
    }
    domain_results = {
        name: _scale(keyed[:, [column[code] for code in members]], members, formative=False)
        for name, members in domain_items.items()
    }
    progress(0.6, "structure")
    structure = _structure(keyed, codes, seed=seed, n_draws=n_draws, n_factors=n_factors, progress=progress)
    progress(0.9, "gap_reference")
    points = _Points(lowest=float(scale_values[0]), highest=float(scale_values[-1]))
    scale_scores = {
        name: stored.get(name, _mean_of_answered(points.percent(keyed[:, [column[c] for c in members]]), 1, 2))
        for name, members in scales.items()
    }
    gap_reference: dict[str, Any] = {}
    for name, members in (domains or {}).items():
        gap_reference[name] = _part(partial(_domain_reference, name, members, scale_scores, stored))
    for name in gap_scales:
        indicators = points.percent(keyed[:, [column[code] for code in scales[name]]])
        gap_reference[name] = _part(partial(_reference, indicators, scales[name], scale_scores[name]))
    progress(1.0, "done")
    return {
        "n_forms": len(keyed),
        "n_empty": int(empty.sum()),
        "n_items": len(codes),
        "seed": seed,
        "items": items,
        "scales": scale_results,
        "domains": domain_results,
        "structure": structure,
        "gap_reference": gap_reference,
    }


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Points:
    """The response scale's ends, to show answers on 0–100."""

    lowest: float
    highest: float

    def percent(self, values: FloatArray) -> FloatArray:
        return (values - self.lowest) * (100 / (self.highest - self.lowest))


def _check_names(
    codes: Sequence[str],
    scales: Mapping[str, Sequence[str]],
    domains: Mapping[str, Sequence[str]],
    reverse: Collection[str],
    gap_scales: Collection[str],
    formative: Collection[str],
) -> None:
    """Refuse names that lead nowhere, before anything is computed."""
    known_items, known_scales = set(codes), set(scales)
    for what, wanted, known, remedy in (
        ("scales with items of the matrix", {i for m in scales.values() for i in m}, known_items, "select its column"),
        ("reverse-keyed items of the matrix", set(reverse), known_items, "name only items on this form"),
        ("domains made of the scales given", {s for m in domains.values() for s in m}, known_scales, "pass its scale"),
        ("gap scales among the scales", set(gap_scales), known_scales, "pass its scale"),
        ("formative components among the scales", set(formative), known_scales, "pass its scale"),
    ):
        if unknown := sorted(wanted - known):
            raise AnalysisInputError(f"first_look requires {what}; got {', '.join(unknown)}. Remedy: {remedy}.")


def _part(compute: Callable[[], Any]) -> Any:
    """Return the plain result of one part, or its error in its place."""
    try:
        return as_plain(compute())
    except AnalysisInputError as error:
        return {"error": str(error)}
    except np.linalg.LinAlgError:
        return {
            "error": "The matrix algebra broke down: some items are (nearly) combinations of others. "
            "Remedy: collect more forms, or analyse one domain at a time."
        }


def _items(
    given: FloatArray,
    codes: Sequence[str],
    reverse: Collection[str],
    scale_values: Sequence[int],
    missing_by_reason: Mapping[str, Mapping[str, int]] | None,
) -> list[dict[str, Any]]:
    described = describe_items(given, item_codes=codes, scale_values=scale_values, missing_by_reason=missing_by_reason)
    return [as_plain(item) | {"reverse_keyed": item.item in reverse} for item in described]


def _scale(values: FloatArray, codes: tuple[str, ...], *, formative: bool) -> dict[str, Any]:
    """Everything about one scale; each statistic stands or fails by itself."""
    result: dict[str, Any] = {"items": list(codes), "n_items": len(codes)}
    result["label"] = TWO_ITEM_LABEL if len(codes) == 2 else ""
    result["verdict"] = not formative
    result["notes"] = [FORMATIVE_NOTE] if formative else []
    if len(codes) < 2:
        return result | {
            "error": f"Internal consistency requires at least two items; got {len(codes)}. "
            "Remedy: use the full form, or judge this component by retest."
        }
    result["alpha"] = _part(lambda: cronbach_alpha(values, item_codes=codes))
    result["inter_item"] = _part(lambda: inter_item_correlations(values, item_codes=codes))
    result["item_rest"] = _part(lambda: item_rest_correlations(values, item_codes=codes))
    result["omega"] = _part(lambda: omega_total(_covariance(values, codes), item_codes=codes))
    if len(codes) == 2:
        result["spearman_brown"] = _part(
            lambda: spearman_brown(inter_item_correlations(values, item_codes=codes).average)
        )
    return result


def _covariance(values: FloatArray, names: Sequence[str]) -> FloatArray:
    # More rows than columns is what a covariance matrix needs to have full rank.
    rows = complete_rows(values, who="omega_total", minimum_items=2, minimum_respondents=len(names) + 2)
    return np.asarray(np.cov(rows.values, rowvar=False), dtype=np.float64)


def _structure(
    keyed: FloatArray,
    codes: Sequence[str],
    *,
    seed: int,
    n_draws: int,
    n_factors: int | None,
    progress: Progress,
) -> dict[str, Any]:
    """KMO, Bartlett, parallel analysis and the factors of all items together.

    Pairwise correlations: "does not apply" is missing by design, and with a dozen such items hardly anybody has
    answered every item (plan, section 4.8).
    """
    adequacy = _part(lambda: sampling_adequacy(keyed, item_codes=codes, missing="pairwise"))
    sphericity = _part(lambda: bartlett_sphericity(keyed, item_codes=codes, missing="pairwise"))
    progress(0.65, "retention")
    rng = np.random.default_rng(seed)
    retention: ParallelAnalysis | None = None

    def retained() -> ParallelAnalysis:
        nonlocal retention
        retention = parallel_analysis(keyed, n_draws=n_draws, rng=rng, missing="pairwise", item_codes=codes)
        return retention

    retention_result = _part(retained)
    progress(0.75, "factors")
    wanted = n_factors if n_factors is not None else _default_factors(len(codes), retention)
    factors = _part(
        lambda: explore_factors(
            keyed, n_factors=wanted, extraction="minres", rotation="oblimin", item_codes=codes, missing="pairwise"
        )
    )
    return {
        "sampling_adequacy": adequacy,
        "sphericity": sphericity,
        "retention": retention_result,
        "factors": factors,
    }


def _default_factors(n_items: int, retention: ParallelAnalysis | None) -> int:
    if n_items >= LONG_FORM_ITEMS or retention is None:
        return MODEL_FACTORS
    return max(1, min(MODEL_FACTORS, retention.n_factors))


def _mean_of_answered(values: FloatArray, numerator: int, denominator: int) -> FloatArray:
    """Return row means where at least numerator/denominator of the columns (rounded up) hold a value, else NaN."""
    answered = ~np.isnan(values)
    n_answered = answered.sum(axis=1)
    needed = max(1, -(-values.shape[1] * numerator // denominator))  # no items on this form: no score, not 0
    total = np.where(answered, values, 0.0).sum(axis=1)
    return np.where(n_answered >= needed, total / np.maximum(n_answered, 1), np.nan)


def _domain_reference(
    name: str,
    members: Sequence[str],
    scale_scores: Mapping[str, FloatArray],
    stored: Mapping[str, FloatArray],
) -> dict[str, Any]:
    indicators = np.column_stack([scale_scores[scale] for scale in members])
    score = stored[name] if name in stored else _mean_of_answered(indicators, 2, 3)
    return _reference(indicators, members, score)


def _reference(indicators: FloatArray, names: Sequence[str], score: FloatArray) -> dict[str, Any]:
    """SD, reliability and standard error of measurement of one score on 0–100, for the reliable-gap rule.

    Reliability comes from the indicators' complete rows: omega of their sum, or Spearman–Brown of two.
    """
    if len(names) < 2:
        raise AnalysisInputError(
            f"The reliability of a score requires at least two indicators; got {len(names)}. "
            "Remedy: use the full form; on the short form no gap of this score can be called reliable."
        )
    known = score[~np.isnan(score)]
    rows = complete_rows(indicators, who="gap reference", minimum_respondents=len(names) + 2)
    if rows.n_used < MINIMUM_FORMS_FOR_A_VERDICT:
        raise AnalysisInputError(
            f"A standard error that judges single gaps requires at least {MINIMUM_FORMS_FOR_A_VERDICT} complete forms; "
            f"got {rows.n_used}. Remedy: collect more forms."
        )
    notes: tuple[str, ...] = ()
    admissible = True
    if len(names) == 2:
        pair = inter_item_correlations(rows.values, item_codes=names)
        method, reliability, notes = "Spearman–Brown, two items", spearman_brown(pair.average), pair.notes
    else:
        omega = omega_total(_covariance(rows.values, names), item_codes=names)
        method, reliability, notes = "omega total, one factor, ML", omega.omega, omega.notes
        admissible = omega.converged and omega.admissible
    if not (admissible and 0 <= reliability < 1):
        raise AnalysisInputError(
            f"A standard error that judges single gaps requires an admissible reliability; the {method} solution of "
            f"{', '.join(names)} is not ({'; '.join(notes) or f'reliability {reliability:.3f}'}). "
            "Remedy: collect more forms, or look for indicators that do not belong together."
        )
    sd = float(known.std(ddof=1))
    return {
        "indicators": list(names),
        "sd": sd,
        "mean": float(known.mean()),
        "reliability": reliability,
        "method": method,
        "sem": standard_error_of_measurement(sd, reliability),
        "n_scored": len(known),
        "n_used": rows.n_used,
        "n_dropped": rows.n_dropped,
        "notes": list(notes),
    }
