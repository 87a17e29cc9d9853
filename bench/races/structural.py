"""Structural equation models: ten correlated factors of five items each, 2,000 respondents."""

import itertools
from functools import partial

import numpy as np

from analysis.psychometrics.sem import compare_models, fit_model, prepare_sample
from bench.races import FloatArray, Race, rated_items

CODES = [f"x{item + 1}" for item in range(50)]
MODEL = "\n".join(f"f{factor} =~ " + " + ".join(CODES[5 * factor : 5 * factor + 5]) for factor in range(10))
R_FACTORS = "sapply(0:9, function(f) paste0('f', f, '=~', paste0('x', 5 * f + 1:5, collapse = '+')))"
R_MODEL = f"m <- paste({R_FACTORS}, collapse = '\\n')"


def with_blanks(data: FloatArray, share: float = 0.03) -> FloatArray:
    """Return the data with scattered blanks."""
    holes = data.copy()
    holes[np.random.default_rng(7).random(data.shape) < share] = np.nan
    return holes


def blank_items() -> FloatArray:
    """3 % scattered blanks: nearly every incomplete row has its own pattern."""
    return with_blanks(rated_items(2000))


def invariance_levels(data: FloatArray) -> object:
    """Two groups: configural, thresholds, thresholds and loadings, each with its fit measures, and their tests."""
    groups = ["a", "b"] * (len(data) // 2)
    sample = prepare_sample(data, item_codes=CODES, ordered=CODES, groups=groups)
    levels: tuple[tuple[str, ...], ...] = ((), ("thresholds",), ("thresholds", "loadings"))
    fits = [fit_model(MODEL, sample=sample, estimator="WLSMV", group_equal=level) for level in levels]
    return [compare_models(free, restricted) for free, restricted in itertools.pairwise(fits)]


RACES = (
    Race(
        name="ML 10 factors × 5 items × 2,000 with fit measures, lavaan",
        data=partial(rated_items, 2000),
        ours=partial(fit_model, MODEL, item_codes=CODES),
        r_code=f"{R_MODEL}; f <- cfa(m, x); fitMeasures(f); parameterEstimates(f, standardized = TRUE)",
        r_packages=("lavaan",),
        bar=10,
    ),
    Race(
        name="MLR 10 factors × 5 items × 2,000 with fit measures, lavaan",
        data=partial(rated_items, 2000),
        ours=partial(fit_model, MODEL, item_codes=CODES, estimator="MLR"),
        r_code=f"{R_MODEL}; f <- cfa(m, x, estimator = 'MLR'); fitMeasures(f)",
        r_packages=("lavaan",),
        bar=10,
    ),
    Race(
        name="WLSMV 10 factors × 5 items × 2,000 with fit measures, lavaan",
        data=partial(rated_items, 2000),
        ours=partial(fit_model, MODEL, item_codes=CODES, estimator="WLSMV"),
        r_code=f"{R_MODEL}; f <- cfa(m, x, ordered = TRUE); fitMeasures(f); parameterEstimates(f, standardized = TRUE)",
        r_packages=("lavaan",),
        bar=10,
    ),
    Race(
        name="FIML 10 factors × 5 items × 2,000, 3 % blanks, with fit measures",
        data=blank_items,
        ours=partial(fit_model, MODEL, item_codes=CODES, missing="fiml", estimator="MLR"),
        most_seconds=60,
        repeats=1,
    ),
    Race(
        name="WLSMV in two groups, three levels of invariance with tests",
        data=partial(rated_items, 2000),
        ours=invariance_levels,
        most_seconds=30,
        repeats=1,
    ),
    Race(
        name="ML 10 factors × 5 items × 100,000",
        data=partial(rated_items, 100_000),
        ours=partial(fit_model, MODEL, item_codes=CODES, estimator="MLR"),
        repeats=1,
    ),
)
