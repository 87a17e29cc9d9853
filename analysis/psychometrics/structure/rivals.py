"""Rival models of the same answers, compared: the verdict on a structure rests on what it beats, not on cut-offs."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from analysis.psychometrics.correlations.polychoric import polychoric_correlations
from analysis.psychometrics.errors import AnalysisInputError
from analysis.psychometrics.response_matrix import as_item_codes, as_responses, listed, pairwise_moments
from analysis.psychometrics.sem import ModelFit, SampleStatistics, fit_model, prepare_sample
from analysis.psychometrics.sem.difference_tests import ModelComparison, compare_models
from analysis.psychometrics.sem.estimation import Estimator
from analysis.psychometrics.structure.discriminant_validity import HeterotraitMonotrait, heterotrait_monotrait
from analysis.psychometrics.structure.model_ladder import LadderModel

Progress = Callable[[float, str], None]

#: The general model is supported against the restricted one when CFI rises by this much and the test rejects (ST3).
SMALLEST_CFI_RISE = 0.010
LARGEST_P = 0.01


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RivalFit:
    """One rung of the ladder: its solution, or why there is none."""

    model: LadderModel
    fit: ModelFit | None
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RivalComparison:
    """A model against a simpler one nested in it. Deltas are general minus restricted."""

    general: str
    restricted: str
    delta_cfi: float
    delta_rmsea: float
    delta_srmr: float
    difference: ModelComparison | None
    supported: bool | None  # None where it cannot be judged
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FactorCorrelation:
    """Two factors of one model: their correlation and whether its interval stays below one."""

    model: str
    first: str
    second: str
    r: float
    ci_lower: float
    ci_upper: float
    distinct: bool | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rivals:
    """Every model, every comparison of nested ones, and whether the factors of each differ."""

    fits: tuple[RivalFit, ...]
    comparisons: tuple[RivalComparison, ...]
    factor_correlations: tuple[FactorCorrelation, ...]
    htmt: HeterotraitMonotrait | None
    cfi_kind: Literal["plain", "scaled"]
    estimator: Estimator
    notes: tuple[str, ...]


def fit_rivals(
    data: npt.ArrayLike,
    *,
    item_codes: Sequence[str],
    models: Sequence[LadderModel],
    estimator: Estimator = "WLSMV",
    missing: Literal["listwise", "fiml", "pairwise"] = "listwise",
    scales: Mapping[str, Sequence[str]] | None = None,
    progress: Progress | None = None,
) -> Rivals:
    """Fit rival models to the same answers and compare each with the simpler ones nested in it.

    Parameters
    ----------
    data : array-like, shape (n_respondents, n_columns)
        Answers, reversed items turned round, NaN for missing.
    item_codes : sequence of str
        Names of the columns.
    models : sequence of LadderModel
        From `build_ladder`, or written by hand; `simpler` names the models nested in each.
    estimator : {'ML', 'MLR', 'WLSMV'}
    missing : {'listwise', 'fiml', 'pairwise'}
        Models of the same items are fitted to the same rows, so that they can be compared.
    scales : mapping of scale to items, optional
        For the heterotrait–monotrait ratios.
    progress : callable (share done from 0 to 1, what comes next), optional

    Returns
    -------
    Rivals
        A model that cannot be fitted says why and leaves the others alone.

    Notes
    -----
    Factors have variance one, so that their covariances are correlations with intervals of their own. Support for the
    general model: CFI higher by .010 or more and a (scaled) difference test with p < .01; fixed cut-offs on one model
    alone confirm nothing (ordinal models of the wrong structure pass them).

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.psychometrics.structure.model_ladder import ModelStructure, build_ladder
    >>> rng = np.random.default_rng(1)
    >>> factors = rng.multivariate_normal([0, 0], [[1, 0.3], [0.3, 1]], size=400)
    >>> answers = np.repeat(factors, 3, axis=1) + rng.standard_normal((400, 6))
    >>> codes = ["a1", "a2", "a3", "b1", "b2", "b3"]
    >>> structure = ModelStructure(components={"a": codes[:3], "b": codes[3:]}, domains={"A": ["a"], "B": ["b"]})
    >>> ladder = [model for model in build_ladder(structure) if model.id in ("M1", "M5")]
    >>> result = fit_rivals(answers, item_codes=codes, models=ladder, estimator="ML")
    >>> [(c.general, c.restricted, c.supported) for c in result.comparisons]
    [('M5', 'M1', True)]
    """
    codes = as_item_codes(item_codes, as_responses(data, who="fit_rivals").shape[1], who="fit_rivals")
    _check_models(models, codes)
    tell = progress or (lambda share, what: None)
    samples: dict[frozenset[str], SampleStatistics | str] = {}
    fits: list[RivalFit] = []
    for position, model in enumerate(models):
        tell(position / len(models), model.id)
        fits.append(_fit(model, data, codes, samples, estimator=estimator, missing=missing))
    tell(1.0, "done")
    by_id = {entry.model.id: entry for entry in fits}
    comparisons = [
        _compare(by_id[entry.model.id], by_id[simpler])
        for entry in fits
        for simpler in entry.model.simpler
        if simpler in by_id
    ]
    htmt, without = _htmt(data, codes, scales, ordinal=estimator == "WLSMV") if scales else (None, "")
    notes = [f"{entry.model.id}: {entry.reason}" for entry in fits if entry.reason]
    return Rivals(
        fits=tuple(fits),
        comparisons=tuple(comparisons),
        factor_correlations=tuple(row for entry in fits for row in _factor_correlations(entry)),
        htmt=htmt,
        cfi_kind="scaled" if estimator in ("MLR", "WLSMV") else "plain",
        estimator=estimator,
        notes=(*notes, without) if without else tuple(notes),
    )


def _check_models(models: Sequence[LadderModel], codes: Sequence[str]) -> None:
    unknown = sorted({item for model in models for item in model.items} - set(codes))
    if unknown or not models:
        problem = f"there is no {', '.join(unknown)}" if unknown else "got no model"
        raise AnalysisInputError(
            f"fit_rivals requires models of items in the data; {problem}. "
            "Remedy: build the ladder from the items on this form."
        )


def _fit(
    model: LadderModel,
    data: npt.ArrayLike,
    codes: Sequence[str],
    samples: dict[frozenset[str], SampleStatistics | str],
    *,
    estimator: Estimator,
    missing: Literal["listwise", "fiml", "pairwise"],
) -> RivalFit:
    if not model.available:
        return RivalFit(model=model, fit=None, reason=model.note)
    key = frozenset(model.items)
    if key not in samples:
        try:
            samples[key] = prepare_sample(
                data,
                item_codes=codes,
                columns=list(model.items),
                missing=missing,
                ordered=list(model.items) if estimator == "WLSMV" else (),
            )
        except AnalysisInputError as error:
            samples[key] = str(error)
    sample = samples[key]
    if isinstance(sample, str):
        return RivalFit(model=model, fit=None, reason=sample)
    try:
        fit = fit_model(model.syntax, sample=sample, estimator=estimator, missing=missing, std_lv=True)
    except AnalysisInputError as error:
        return RivalFit(model=model, fit=None, reason=str(error))
    problem = "" if fit.converged and fit.admissible else "; ".join(fit.notes)
    return RivalFit(model=model, fit=fit, reason=problem)


def _compare(general: RivalFit, restricted: RivalFit) -> RivalComparison:
    unknown = float("nan")
    if general.fit is None or restricted.fit is None:
        missing = ", ".join(entry.model.id for entry in (general, restricted) if entry.fit is None)
        return RivalComparison(
            general=general.model.id,
            restricted=restricted.model.id,
            delta_cfi=unknown,
            delta_rmsea=unknown,
            delta_srmr=unknown,
            difference=None,
            supported=None,
            note=f"not fitted: {missing}",
        )
    first, second = general.fit, restricted.fit
    deltas = [first.comparison_index(name) - second.comparison_index(name) for name in ("cfi", "rmsea", "srmr")]
    test = compare_models(second, first)
    judged = first.converged and second.converged and np.isfinite([deltas[0], test.pvalue]).all()
    doubtful = [entry.model.id for entry, fit in ((general, first), (restricted, second)) if not fit.admissible]
    return RivalComparison(
        general=general.model.id,
        restricted=restricted.model.id,
        delta_cfi=deltas[0],
        delta_rmsea=deltas[1],
        delta_srmr=deltas[2],
        difference=test,
        supported=bool(deltas[0] >= SMALLEST_CFI_RISE and test.pvalue < LARGEST_P) if judged else None,
        note=f"rests on an inadmissible solution: {', '.join(doubtful)}" if doubtful else "",
    )


def _factor_correlations(entry: RivalFit) -> list[FactorCorrelation]:
    if entry.fit is None:
        return []
    latent = {row.lhs for row in entry.fit.parameters if row.op == "=~"}
    endogenous = {row.lhs for row in entry.fit.parameters if row.op == "~"} | {
        row.rhs for row in entry.fit.parameters if row.op == "=~"
    }
    return [
        FactorCorrelation(
            model=entry.model.id,
            first=row.lhs,
            second=row.rhs,
            r=row.est,
            ci_lower=row.ci_lower,
            ci_upper=row.ci_upper,
            distinct=bool(row.ci_upper < 1) if np.isfinite(row.ci_upper) else None,
        )
        for row in entry.fit.parameters
        if row.op == "~~" and row.free and row.lhs != row.rhs and {row.lhs, row.rhs} <= latent - endogenous
    ]


def _htmt(
    data: npt.ArrayLike, codes: Sequence[str], scales: Mapping[str, Sequence[str]], *, ordinal: bool
) -> tuple[HeterotraitMonotrait | None, str]:
    """Return the ratios, or None and the reason."""
    named = [item for members in scales.values() for item in members]
    columns = [list(codes).index(item) for item in named]
    values = np.asarray(data, dtype=np.float64)[:, columns]
    try:
        matrix = (
            polychoric_correlations(values, item_codes=named, missing="pairwise").matrix
            if ordinal
            else pairwise_moments(values)[1]
        )
    except AnalysisInputError as error:
        return None, f"no heterotrait-monotrait ratios: {error}"
    alone = [item for item, own in zip(named, np.diag(matrix), strict=True) if not np.isfinite(own)]
    if alone:
        return None, f"no heterotrait-monotrait ratios: the answers do not vary in {listed(alone)}"
    return heterotrait_monotrait(matrix, item_codes=named, scales=scales), ""
