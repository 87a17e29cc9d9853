"""Samejima's graded response model, by marginal maximum likelihood, with scores, information and item fit beside it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from analysis.psychometrics.errors import AnalysisInputError
from analysis.psychometrics.item_response.graded_response_likelihood import (
    Expectation,
    Layout,
    Patterns,
    expect,
    gradient,
    information_matrices,
    lay_out,
    log_category_probabilities,
    position_in_item,
    quadrature,
    solve_complete,
    spreads,
    tabulate,
    trait_distributions,
)
from analysis.psychometrics.response_matrix import FloatArray, IntArray, as_item_codes, as_responses, listed, read_only

StandardErrors = Literal["observed", "crossproduct", "none"]

#: More distinct answers than this are no ordered categories.
_MOST_CATEGORIES = 20
#: A slope beyond this is on its way to infinity (mirt's own examples stay below 5).
_LARGEST_SLOPE = 25.0
#: Answers in a category below which its threshold is hardly known.
_FEW_ANSWERS = 5
_MEMORY_OF_STEPS = 12


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GradedItem:
    """One item: slope, thresholds, their standard errors, and whether its categories work in order.

    `never_most_likely` lists the scale points that are nowhere on θ the likeliest answer: the graded model's
    counterpart of a disordered threshold (the thresholds themselves are ordered by construction).
    """

    item_code: str
    scale_points: tuple[float, ...]  # the observed ones, K of them
    n_answers: tuple[int, ...]  # respondents in each
    a: float
    a_se: float
    b: FloatArray  # (K − 1,)
    b_se: FloatArray
    d: FloatArray  # (K − 1,): intercepts, b = −d/a
    d_se: FloatArray
    never_most_likely: tuple[float, ...]

    @property
    def categories_ordered(self) -> bool:
        """Whether every scale point is somewhere the likeliest answer, in the order of the scale."""
        return not self.never_most_likely


@dataclass(frozen=True, slots=True, kw_only=True)
class TraitGroup:
    """One group's distribution of θ; the reference has mean 0 and variance 1 by definition (standard error 0)."""

    group: str
    n_used: int
    mean: float
    mean_se: float
    variance: float
    variance_se: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GradedResponseModel:
    """A fitted graded response model; θ is standard normal (in the reference group), logits without the factor 1.7.

    `groups` is empty for a model of one group. `eap` and `eap_se` have one value a row of the data, NaN for a row
    without any answer. `covariance` belongs to `parameters` (all slopes, all intercepts item by item, then mean and log
    SD of every group but the reference). `reliability_empirical` is var(EAP) / (var(EAP) + mean(SE²));
    `reliability_marginal` averages I/(I + 1) over a standard normal θ.
    """

    items: tuple[GradedItem, ...]
    groups: tuple[TraitGroup, ...]
    parameters: FloatArray  # (P,)
    covariance: FloatArray  # (P, P), NaN without standard errors
    log_likelihood: float
    n_parameters: int
    aic: float
    bic: float
    eap: FloatArray
    eap_se: FloatArray
    reliability_empirical: float
    reliability_marginal: float
    theta: FloatArray  # (n_theta,): where the information stands
    item_information: FloatArray  # (n_items, n_theta)
    test_information: FloatArray  # (n_theta,)
    standard_errors: StandardErrors
    n_used: int
    n_dropped: int
    n_patterns: int
    n_iterations: int
    largest_gradient: float
    converged: bool
    admissible: bool
    notes: tuple[str, ...]

    @property
    def item_codes(self) -> tuple[str, ...]:
        """The items in the order of the columns."""
        return tuple(item.item_code for item in self.items)


def fit_graded_response(
    data: npt.ArrayLike,
    *,
    item_codes: Sequence[str] | None = None,
    groups: Sequence[str] | None = None,
    reference: str | None = None,
    standard_errors: StandardErrors = "observed",
    theta: npt.ArrayLike | None = None,
    maximum_iterations: int = 500,
) -> GradedResponseModel:
    """Fit the unidimensional graded response model by marginal maximum likelihood.

    Parameters
    ----------
    data : array-like, shape (n_respondents, n_items)
        Ordered answers; NaN where there is none. A respondent's missing items are skipped (ignorable missingness).
        Items may differ in their numbers of categories; a category that nobody chose is closed up, with a note.
    item_codes : sequence of str, optional
        Names for results and messages.
    groups : sequence of str, optional
        Each respondent's group (an empty string where it is unknown: left out). All items keep their parameters over
        groups; means and variances of θ are free in all groups but the reference.
    reference : str, optional
        The group whose θ is standard normal; the largest by default.
    standard_errors : {'observed', 'crossproduct', 'none'}
        From the observed information (Louis's identity, exact; mirt's `SE.type = "Oakes"` or `"Louis"`), from the
        cross-product of individual scores (`"crossprod"`), or not at all.
    theta : array-like, optional
        Where to give item and test information; −4 to 4 in steps of 0.1 by default.
    maximum_iterations : int
        After which the fit stops and says that it has not converged.

    Returns
    -------
    GradedResponseModel

    Raises
    ------
    AnalysisInputError
        Fewer than three items, an item without variation, more than 20 distinct answers, two identical items, too few
        respondents.

    Notes
    -----
    P(x ≥ k | θ) = 1 / (1 + exp(−a(θ − b_k))), θ ~ N(0, 1) (Samejima 1969, Psychometrika Monograph 17). The marginal
    likelihood is Bock & Aitkin's (1981), on mirt's 61 points between −6 and 6. It is maximised by EM steps
    accelerated by a quasi-Newton update whose starting metric is the complete-data information (Lange 1995;
    Jamshidian & Jennrich 1997), until no parameter would move by 1e-6; mirt's default stops earlier, which can leave
    its slopes a few thousandths away. Standard errors by Louis (1982), those of b by the delta method.
    R: `mirt(x, 1, "graded", SE = TRUE)`, `coef(fit, IRTpars = TRUE)`, `fscores(fit, full.scores.SE = TRUE)`; with
    groups `multipleGroup(x, 1, group, invariance = c("slopes", "intercepts", "free_means", "free_var"))`.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(1)
    >>> trait = rng.standard_normal((400, 1))
    >>> answers = np.digitize(1.5 * trait + rng.logistic(size=(400, 5)), [-1, 1])
    >>> model = fit_graded_response(answers)
    >>> bool(abs(model.items[0].a - 1.5) < 0.5), model.n_parameters, model.converged
    (True, 15, True)
    """
    who = "fit_graded_response"
    values = as_responses(data, who=who, minimum_items=3)  # two would leave their slopes undetermined
    codes = as_item_codes(item_codes, values.shape[1], who=who)
    if standard_errors not in ("observed", "crossproduct", "none"):
        raise AnalysisInputError(
            f"{who} requires standard_errors='observed', 'crossproduct' or 'none'; got {standard_errors!r}. "
            "Remedy: choose one of the three."
        )
    answered = np.asarray(~np.isnan(values).all(axis=1), dtype=np.bool_)
    names, number = _numbered_groups(groups, reference, answered, who=who)
    answered &= number >= 0
    coded, scale_points, notes = categorise(values[answered], codes, who=who)
    layout = lay_out(np.array([len(points) for points in scale_points], dtype=np.int64), n_groups=len(names))
    n_used = int(answered.sum())
    if n_used <= values.shape[1]:
        raise AnalysisInputError(
            f"{who} requires more respondents than items; got {n_used} with answers for {len(codes)} items. "
            "Remedy: collect more forms, or analyse fewer items at a time (one domain)."
        )
    patterns = tabulate(coded, layout, number[answered])
    nodes, weights = quadrature()
    parameters, expectation, n_iterations, largest_step, converged = _maximise(
        _starting_values(values[answered], coded, layout), layout, patterns, nodes, maximum_iterations
    )
    if parameters[: layout.n_items].sum() < 0:  # the sign of θ is free: most items point upwards
        parameters, expectation = _turn_round(parameters, layout, patterns, nodes)

    problems = _problems(codes, layout.slopes(parameters), n_iterations, largest_step, converged=converged)
    notes += problems
    covariance = np.full((layout.n_parameters, layout.n_parameters), np.nan)
    if standard_errors != "none":
        observed, cross = information_matrices(parameters, layout, patterns, expectation, nodes)
        inverse = _inverse_if_positive(observed if standard_errors == "observed" else cross)
        if inverse is None:
            problems.append("the information matrix is not positive definite: no maximum, and no standard errors")
            notes.append(problems[-1])
        else:
            covariance = inverse
    against = [code for code, a in zip(codes, layout.slopes(parameters), strict=True) if a < 0]
    if against:
        notes.append(f"negative slope, check the keying of {', '.join(against)}")
    if not answered.all():
        notes.append(
            f"{int((~answered).sum())} respondent(s) without any answer to these items"
            f"{'' if groups is None else ', or without a group,'} were left out"
        )
    n_answers = np.split(
        (patterns.indicators * patterns.frequencies[:, None]).sum(axis=0).astype(np.int64),
        np.cumsum(layout.n_categories)[:-1],
    )
    _note_rare_categories(n_answers, codes, notes)

    eap = np.full(len(values), np.nan)
    eap_se = np.full(len(values), np.nan)
    mean = expectation.posterior @ nodes
    spread = np.sqrt(np.maximum(expectation.posterior @ nodes**2 - mean**2, 0.0))
    eap[answered] = mean[patterns.pattern_of_row]
    eap_se[answered] = spread[patterns.pattern_of_row]
    variance = float(np.var(eap[answered], ddof=1))
    grid = np.linspace(-4.0, 4.0, 81) if theta is None else np.array(theta, dtype=np.float64).ravel()
    information = _item_information(parameters, layout, grid)
    at_nodes = _item_information(parameters, layout, nodes).sum(axis=0)
    return GradedResponseModel(
        items=_graded_items(codes, scale_points, n_answers, parameters, covariance, layout),
        groups=_trait_groups(names, patterns, parameters, covariance, layout, nodes) if groups is not None else (),
        parameters=read_only(parameters),
        covariance=read_only(covariance),
        log_likelihood=expectation.log_likelihood,
        n_parameters=layout.n_parameters,
        aic=2 * layout.n_parameters - 2 * expectation.log_likelihood,
        bic=float(np.log(n_used)) * layout.n_parameters - 2 * expectation.log_likelihood,
        eap=read_only(eap),
        eap_se=read_only(eap_se),
        reliability_empirical=variance / (variance + float(np.mean(eap_se[answered] ** 2))),
        reliability_marginal=float(weights @ (at_nodes / (at_nodes + 1))),
        theta=read_only(grid),
        item_information=read_only(information),
        test_information=read_only(information.sum(axis=0)),
        standard_errors=standard_errors,
        n_used=n_used,
        n_dropped=len(values) - n_used,
        n_patterns=len(patterns.frequencies),
        n_iterations=n_iterations,
        largest_gradient=float(np.abs(gradient(parameters, layout, expectation, nodes)).max()),
        converged=converged,
        admissible=not problems,
        notes=tuple(notes),
    )


def _problems(
    codes: Sequence[str], slopes: FloatArray, n_iterations: int, largest_step: float, *, converged: bool
) -> list[str]:
    """What forbids the use of the estimates, in words."""
    runaway = [code for code, a in zip(codes, slopes, strict=True) if abs(a) > _LARGEST_SLOPE]
    if runaway:
        return [
            f"the slope grows without bound for {', '.join(runaway)}: the item is (nearly) determined by the trait or "
            "by another item; leave it or its twin out"
        ]
    if not converged:
        return [
            f"the fit did not converge in {n_iterations} iterations (a parameter would still move by "
            f"{largest_step:.2g}); look at items with slopes far from the others"
        ]
    return []


def _graded_items(
    codes: Sequence[str],
    scale_points: Sequence[Sequence[float]],
    n_answers: Sequence[IntArray],
    parameters: FloatArray,
    covariance: FloatArray,
    layout: Layout,
) -> tuple[GradedItem, ...]:
    a_se, b_se, d_se = _standard_errors_by_item(parameters, covariance, layout)
    slopes = layout.slopes(parameters)
    intercepts = np.split(layout.intercepts(parameters), np.cumsum(layout.n_categories - 1)[:-1])
    never = _never_most_likely(parameters, layout)
    return tuple(
        GradedItem(
            item_code=code,
            scale_points=tuple(scale_points[item]),
            n_answers=tuple(int(count) for count in n_answers[item]),
            a=float(slopes[item]),
            a_se=float(a_se[item]),
            b=read_only(-intercepts[item] / slopes[item]),
            b_se=read_only(b_se[item]),
            d=read_only(intercepts[item].copy()),
            d_se=read_only(d_se[item]),
            never_most_likely=tuple(
                point for point, absent in zip(scale_points[item], never[item], strict=True) if absent
            ),
        )
        for item, code in enumerate(codes)
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TraitScores:
    """Estimated θ of each row of the data, with its standard error; NaN for a row without any answer."""

    theta: FloatArray
    standard_error: FloatArray
    method: Literal["eap", "map"]
    n_used: int
    n_dropped: int


def score_graded_response(
    model: GradedResponseModel, data: npt.ArrayLike, *, method: Literal["eap", "map"] = "eap"
) -> TraitScores:
    """Estimate the trait of respondents, new ones too, from a fitted graded response model.

    Parameters
    ----------
    model : GradedResponseModel
        The fitted model; the columns of `data` are its items in its order.
    data : array-like, shape (n_respondents, n_items)
        Answers on the same scale points; NaN where there is none.
    method : {'eap', 'map'}
        Mean of the posterior (Bock & Mislevy 1982) with its standard deviation, or its mode with the inverse root of
        the curvature there (Samejima 1969).

    Raises
    ------
    AnalysisInputError
        Another number of columns, or an answer that the model has not seen.

    Notes
    -----
    R: `mirt::fscores(fit, method = "EAP" or "MAP", full.scores.SE = TRUE)`.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(1)
    >>> answers = np.digitize(rng.standard_normal((300, 1)) + rng.logistic(size=(300, 4)), [-1, 1])
    >>> model = fit_graded_response(answers, standard_errors="none")
    >>> bool(np.allclose(score_graded_response(model, answers).theta, model.eap))
    True
    """
    who = "score_graded_response"
    coded = category_codes(model, data, who=who)
    layout = lay_out(np.array([len(item.scale_points) for item in model.items], dtype=np.int64))
    answered = (coded >= 0).any(axis=1)
    theta = np.full(len(coded), np.nan)
    standard_error = np.full(len(coded), np.nan)
    if answered.any():
        if method == "eap":
            nodes, _ = quadrature()
            patterns = tabulate(coded[answered], layout)
            items_alone = model.parameters[: layout.n_item_parameters]
            posterior = expect(items_alone, layout, patterns, nodes).posterior
            mean = posterior @ nodes
            theta[answered] = mean[patterns.pattern_of_row]
            spread = np.sqrt(np.maximum(posterior @ nodes**2 - mean**2, 0.0))
            standard_error[answered] = spread[patterns.pattern_of_row]
        else:
            theta[answered], standard_error[answered] = _posterior_modes(model.parameters, layout, coded[answered])
    n_used = int(answered.sum())
    return TraitScores(
        theta=read_only(theta),
        standard_error=read_only(standard_error),
        method=method,
        n_used=n_used,
        n_dropped=len(coded) - n_used,
    )


def category_codes(model: GradedResponseModel, data: npt.ArrayLike, *, who: str) -> IntArray:
    """Return the answers as positions among each item's scale points, −1 for missing.

    Raises
    ------
    AnalysisInputError
        Another number of columns than the model has items, or an answer that it does not know.
    """
    values = as_responses(data, who=who)
    if values.shape[1] != len(model.items):
        raise AnalysisInputError(
            f"{who} requires one column per item of the model; got {values.shape[1]} columns for {len(model.items)} "
            "items. Remedy: pass the items that the model was fitted to, in their order."
        )
    coded = np.full(values.shape, -1, dtype=np.int64)
    for column, item in enumerate(model.items):
        for category, point in enumerate(item.scale_points):
            coded[values[:, column] == point, column] = category
    unknown = (coded < 0) & ~np.isnan(values)
    if unknown.any():
        item = model.items[int(np.flatnonzero(unknown.any(axis=0))[0])]
        raise AnalysisInputError(
            f"{who} requires answers that the model knows; {item.item_code} has others than "
            f"{', '.join(f'{point:g}' for point in item.scale_points)}. "
            "Remedy: recode them, or fit the model with them."
        )
    return coded


def category_probabilities(model: GradedResponseModel, theta: npt.ArrayLike) -> tuple[FloatArray, ...]:
    """Return P(scale point | θ) of each item, shape (K, n_theta): the category characteristic curves."""
    layout = lay_out(np.array([len(item.scale_points) for item in model.items], dtype=np.int64))
    grid = np.asarray(theta, dtype=np.float64).ravel()
    probabilities = np.exp(log_category_probabilities(model.parameters, layout, grid))
    return tuple(np.split(probabilities, np.cumsum(layout.n_categories)[:-1]))


def _numbered_groups(
    groups: Sequence[str] | None, reference: str | None, answered: npt.NDArray[np.bool_], *, who: str
) -> tuple[tuple[str, ...], IntArray]:
    """The groups' names, reference first, and each row's number among them (−1 without a group)."""
    if groups is None:
        return ("",), np.zeros(len(answered), dtype=np.int64)
    label = np.array([str(group) for group in groups])
    if len(label) != len(answered):
        raise AnalysisInputError(
            f"{who} requires one group per respondent; got {len(label)} for {len(answered)} rows. "
            "Remedy: pass the group of every row, an empty string where it is unknown."
        )
    found, counts = np.unique(label[answered & (label != "")], return_counts=True)
    if len(found) < 2 or counts.min() < 10:
        sizes = listed([f"{name} ({count})" for name, count in zip(found, counts, strict=True)]) or "none"
        raise AnalysisInputError(
            f"{who} requires at least two groups of ten or more respondents with answers; got {sizes}. "
            "Remedy: check the group column, merge small groups, or leave groups out."
        )
    if reference is not None and reference not in found:
        raise AnalysisInputError(
            f"{who} requires a reference group that occurs; got {reference!r} among {', '.join(found)}. "
            "Remedy: name one of these."
        )
    first = reference if reference is not None else str(found[counts.argmax()])
    names = (first, *(str(name) for name in found if name != first))
    number = np.full(len(label), -1, dtype=np.int64)
    for position, name in enumerate(names):
        number[label == name] = position
    return names, number


def _trait_groups(
    names: Sequence[str],
    patterns: Patterns,
    parameters: FloatArray,
    covariance: FloatArray,
    layout: Layout,
    nodes: FloatArray,
) -> tuple[TraitGroup, ...]:
    traits = trait_distributions(parameters, layout, nodes)
    errors = np.concatenate([[0.0, 0.0], np.sqrt(np.diag(covariance)[layout.n_item_parameters :])]).reshape(-1, 2)
    return tuple(
        TraitGroup(
            group=name,
            n_used=int(patterns.frequencies[patterns.group == position].sum()),
            mean=float(traits.means[position]),
            mean_se=float(errors[position, 0]),
            variance=float(traits.sds[position] ** 2),
            variance_se=float(2 * traits.sds[position] ** 2 * errors[position, 1]),
        )
        for position, name in enumerate(names)
    )


def categorise(
    values: FloatArray, codes: Sequence[str], *, who: str
) -> tuple[IntArray, tuple[tuple[float, ...], ...], list[str]]:
    """Return category codes from 0 (−1 missing), the scale points behind them, and notes; refuse what is no rating.

    Raises
    ------
    AnalysisInputError
        An item without answers or variation, with more than 20 distinct answers, or identical to another.
    """
    coded = np.full(values.shape, -1, dtype=np.int64)
    scale_points: list[tuple[float, ...]] = []
    notes: list[str] = []
    constant: list[str] = []
    for column, code in enumerate(codes):
        present = ~np.isnan(values[:, column])
        points, place = np.unique(values[present, column], return_inverse=True)
        coded[present, column] = place
        scale_points.append(tuple(float(point) for point in points))
        if len(points) < 2:
            constant.append(code)
        elif len(points) > _MOST_CATEGORIES:
            raise AnalysisInputError(
                f"{who} requires ordered categories; {code} has {len(points)} distinct answers. "
                f"Remedy: pass ratings with at most {_MOST_CATEGORIES} points, or group the values."
            )
        else:
            whole = np.arange(points[0], points[-1] + 1)
            gaps = [f"{point:g}" for point in whole if (point != points).all()]
            if (points == np.round(points)).all() and gaps:
                notes.append(
                    f"{code}: nobody answered {', '.join(gaps)}; fitted with the {len(points)} categories in use"
                )
    if constant:
        raise AnalysisInputError(
            f"{who} requires items that vary between respondents; constant or empty: {', '.join(constant)}. "
            "Remedy: leave these items out, or wait for more forms."
        )
    seen: dict[bytes, str] = {}
    for column, code in enumerate(codes):
        twin = seen.setdefault(np.ascontiguousarray(coded[:, column]).tobytes(), code)
        if twin != code:
            raise AnalysisInputError(
                f"{who} requires items that differ; {twin} and {code} are answered identically by everyone, which "
                "sends their slopes to infinity. Remedy: leave one out, and check that no column was entered twice."
            )
    return coded, tuple(scale_points), notes


def _note_rare_categories(n_answers: Sequence[IntArray], codes: Sequence[str], notes: list[str]) -> None:
    rare = [code for code, counts in zip(codes, n_answers, strict=True) if counts.min() < _FEW_ANSWERS]
    if rare:
        shown = ", ".join(rare[:8]) + (f" and {len(rare) - 8} more" if len(rare) > 8 else "")
        notes.append(f"a category with fewer than {_FEW_ANSWERS} answers leaves its threshold uncertain: {shown}")


def _starting_values(values: FloatArray, coded: IntArray, layout: Layout) -> FloatArray:
    """Slopes from correlations with the rest score, intercepts from the category shares."""
    present = coded >= 0
    n_present = present.sum(axis=0)
    centred = np.where(present, coded - np.where(present, coded, 0).sum(axis=0) / n_present, 0.0)
    scaled = centred / np.sqrt((centred**2).sum(axis=0) / n_present)
    correlation = scaled.T @ scaled / np.maximum(present.T.astype(np.float64) @ present, 1.0)
    leading = np.linalg.eigh(correlation)[1][:, -1]
    sign = np.where(leading * np.sign(leading.sum() or 1.0) < 0, -1.0, 1.0)
    score = (scaled * sign).sum(axis=1) / np.maximum(present.sum(axis=1), 1)
    rest = (score[:, None] * present.sum(axis=1, keepdims=True) - scaled * sign) / np.maximum(
        present.sum(axis=1, keepdims=True) - 1, 1
    )
    rest = np.where(present, rest, 0.0)
    rest -= np.where(present, rest.sum(axis=0) / n_present, 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        with_rest = (rest * scaled).sum(axis=0) / np.sqrt((rest**2).sum(axis=0) * (scaled**2).sum(axis=0))
    loading = np.clip(np.nan_to_num(np.abs(with_rest)) ** 0.8, 0.3, 0.9)
    slope = 1.7 * loading / np.sqrt(1 - loading**2) * sign
    intercepts = []
    for item, n_categories in enumerate(layout.n_categories):
        counts = np.bincount(coded[present[:, item], item], minlength=n_categories)
        at_or_above = counts[::-1].cumsum()[::-1][1:] / counts.sum()
        intercepts.append(np.log(at_or_above / (1 - at_or_above)) * np.sqrt(1 + slope[item] ** 2 / 1.7**2))
    return np.concatenate([slope, *intercepts, np.zeros(2 * (layout.n_groups - 1))])


def _turn_round(
    parameters: FloatArray, layout: Layout, patterns: Patterns, nodes: FloatArray
) -> tuple[FloatArray, Expectation]:
    turned = parameters.copy()
    turned[: layout.n_items] *= -1
    turned[layout.n_item_parameters :: 2] *= -1  # the groups' means
    return turned, expect(turned, layout, patterns, nodes)


def _maximise(
    start: FloatArray,
    layout: Layout,
    patterns: Patterns,
    nodes: FloatArray,
    maximum_iterations: int,
) -> tuple[FloatArray, Expectation, int, float, bool]:
    """Climb the marginal likelihood: EM-gradient steps, bent by the curvature that past steps have shown (L-BFGS).

    The first step is one Newton step of the M-step (Lange's EM gradient). Afterwards the inverse of the complete-data
    information is the starting metric of the two-loop recursion, which learns the missing information from the
    differences of successive gradients. Every step raises the likelihood; intercepts stay ordered.
    """
    parameters = start
    expectation = expect(parameters, layout, patterns, nodes)
    slope = gradient(parameters, layout, expectation, nodes)
    steps: list[tuple[FloatArray, FloatArray, float]] = []  # (change of parameters, change of −gradient, 1 / product)
    largest = np.inf
    for iteration in range(1, maximum_iterations + 1):
        direction = slope.copy()
        remembered = []
        for change, turn, inverse in reversed(steps):
            share = inverse * float(change @ direction)
            direction -= share * turn
            remembered.append(share)
        direction = solve_complete(parameters, layout, expectation, nodes, direction)
        for (change, turn, inverse), share in zip(steps, reversed(remembered), strict=True):
            direction += (share - inverse * float(turn @ direction)) * change
        rise = float(slope @ direction)
        largest = float(np.abs(direction).max())
        if largest < 1e-6:
            return parameters, expectation, iteration, largest, True
        length = min(1.0, 2.0 / largest)
        accepted = False
        for _ in range(40):
            candidate = parameters + length * direction
            if len(layout.inner) == 0 or spreads(candidate, layout).min() > 0:
                there = expect(candidate, layout, patterns, nodes)
                # Near the top the gain drowns in rounding: allow for it.
                slack = 1e-12 * abs(expectation.log_likelihood)
                if there.log_likelihood >= expectation.log_likelihood + 1e-4 * length * rise - slack:
                    accepted = True
                    break
            length /= 2
        if not accepted:
            if not steps:
                return parameters, expectation, iteration, largest, largest < 1e-4
            steps.clear()
            continue
        new_slope = gradient(candidate, layout, there, nodes)
        change, turn = candidate - parameters, slope - new_slope
        product = float(change @ turn)
        if product > 1e-10 * float(np.sqrt((change @ change) * (turn @ turn))):
            steps.append((change, turn, 1 / product))
            del steps[:-_MEMORY_OF_STEPS]
        parameters, expectation, slope = candidate, there, new_slope
        if np.abs(parameters[: layout.n_items]).max() > 2 * _LARGEST_SLOPE:
            break
    return parameters, expectation, iteration, largest, False


def _inverse_if_positive(information: FloatArray) -> FloatArray | None:
    scale = np.sqrt(np.abs(np.diag(information)))
    if not (np.isfinite(information).all() and (np.diag(information) > 0).all()):
        return None
    scaled = information / np.outer(scale, scale)
    values, vectors = np.linalg.eigh(scaled)
    if values[0] < 1e-10:
        return None
    inverse: FloatArray = (vectors / values) @ vectors.T / np.outer(scale, scale)
    return inverse


def _standard_errors_by_item(
    parameters: FloatArray, covariance: FloatArray, layout: Layout
) -> tuple[FloatArray, list[FloatArray], list[FloatArray]]:
    """Standard errors of a, of b = −d/a by the delta method, and of d."""
    n_items = layout.n_items
    variance = np.diag(covariance)
    item = layout.item_of_boundary
    boundary = np.arange(len(item)) + n_items
    slope, intercept = layout.slopes(parameters)[item], layout.intercepts(parameters)
    b_variance = (
        variance[item] * (intercept / slope**2) ** 2
        + variance[boundary] / slope**2
        - 2 * covariance[item, boundary] * intercept / slope**3
    )
    cuts = np.cumsum(layout.n_categories - 1)[:-1]
    # Rounding may leave a variance a hair below zero where a and d are almost perfectly correlated.
    b_se = np.sqrt(np.maximum(b_variance, 0.0))
    return np.sqrt(variance[:n_items]), np.split(b_se, cuts), np.split(np.sqrt(variance[boundary]), cuts)


def _item_information(parameters: FloatArray, layout: Layout, theta: FloatArray) -> FloatArray:
    """Fisher's information of each item about θ: a² Σ_k P_k (1 − P(≥k) − P(≥k+1))²."""
    slope, intercept = layout.slopes(parameters), layout.intercepts(parameters)
    at_or_above = expit(slope[layout.item_of_boundary, None] * theta + intercept[:, None])
    probability = np.exp(log_category_probabilities(parameters, layout, theta))
    centre = np.ones((len(layout.item_of_category), len(theta)))
    lowest = np.ones(len(centre), dtype=bool)
    lowest[layout.above] = False
    centre[layout.above] -= at_or_above
    centre[lowest] -= 1.0  # P(at or above the lowest) = 1
    centre[layout.below] -= at_or_above
    summed: FloatArray = np.add.reduceat(probability * centre**2, layout.first_category, axis=0)
    return slope[:, None] ** 2 * summed


def _never_most_likely(parameters: FloatArray, layout: Layout) -> list[npt.NDArray[np.bool_]]:
    """Which categories are nowhere the likeliest answer to their item.

    Looked up on a grid of z = aθ + d so that steep and flat items are treated alike.
    """
    intercept = layout.intercepts(parameters)
    result = []
    for item in range(layout.n_items):
        own = intercept[layout.item_of_boundary == item]
        z = np.linspace(-own.max() - 12, -own.min() + 12, 4001)
        alone = lay_out(np.array([len(own) + 1], dtype=np.int64))
        curves = log_category_probabilities(np.concatenate([[1.0], own]), alone, z)
        likeliest = np.zeros(len(own) + 1, dtype=bool)
        likeliest[np.unique(curves.argmax(axis=0))] = True
        result.append(~likeliest)
    return result


def _posterior_modes(parameters: FloatArray, layout: Layout, coded: IntArray) -> tuple[FloatArray, FloatArray]:
    """Newton's method on the log-posterior, which is strictly concave."""
    slope = parameters[: layout.n_items]
    place = position_in_item(layout)
    size = int(layout.n_categories.max())
    # Edge of each category: +∞ below the lowest, −∞ above the highest.
    edges = np.full((layout.n_items, size + 1), -np.inf)
    edges[:, 0] = np.inf
    edges[layout.item_of_boundary, place] = layout.intercepts(parameters)
    item = np.arange(layout.n_items)
    lower, upper = edges[item, coded], edges[item, coded + 1]
    present = coded >= 0
    theta = np.zeros(len(coded))
    for _ in range(100):
        z = slope * theta[:, None]
        above, over = expit(z + lower), expit(z + upper)
        first = np.where(present, slope * (1 - above - over), 0.0).sum(axis=1) - theta
        second = np.where(present, slope**2 * (above * (1 - above) + over * (1 - over)), 0.0).sum(axis=1) + 1
        step = np.clip(first / second, -1.0, 1.0)
        theta = theta + step
        if np.abs(step).max() < 1e-10:
            break
    return theta, 1 / np.sqrt(second)
