"""Graded response model and differential item functioning: 50 items of five points.

mirt is not in Debian: its CPU seconds on these dimensions (1.1 without standard errors, 10.3 with them, OpenBLAS)
were measured elsewhere and stand behind `most_seconds`.
"""

from functools import partial

import numpy as np

from analysis.psychometrics.item_response.differential_item_functioning import ordinal_logistic_dif
from analysis.psychometrics.item_response.graded_response import fit_graded_response
from analysis.psychometrics.item_response.graded_response_fit import graded_item_fit
from analysis.psychometrics.sem import fit_model
from analysis.psychometrics.structure.dynamic_cutoffs import dynamic_cutoffs
from bench.races import FloatArray, Race, rated_items


def graded_items(n_rows: int, *, n_items: int = 50, seed: int = 1) -> FloatArray:
    """Return ratings of five points near their ceiling that one trait governs. Synthetic."""
    rng = np.random.default_rng(seed)
    trait = rng.standard_normal((n_rows, 1))
    slopes = rng.uniform(0.8, 2.5, n_items)
    latent = slopes * trait + rng.logistic(size=(n_rows, n_items))
    return np.asarray(np.searchsorted([-4.0, -2.6, -1.2, 0.4], latent) + 1.0, dtype=np.float64)


def item_fit(data: FloatArray) -> object:
    """Fit without errors, then S-X² of every item."""
    return graded_item_fit(fit_graded_response(data, standard_errors="none"), data)


def dif_of_halves(data: FloatArray) -> object:
    """Two groups as they come: three regressions an item."""
    return ordinal_logistic_dif(data, ["a", "b"] * (len(data) // 2))


def cutoffs(data: FloatArray) -> object:
    """500 data sets at each of five levels: ten factors would only add levels."""
    model = "\n".join(
        f"f{factor} =~ " + " + ".join(f"x{5 * factor + item + 1}" for item in range(5)) for factor in range(5)
    )
    fit = fit_model(model, data[:, :25], item_codes=[f"x{item + 1}" for item in range(25)])
    return dynamic_cutoffs(fit, rng=np.random.default_rng(1), n_draws=500)


RACES = (
    Race(
        name="graded response 50 × 2,000, no standard errors",
        data=partial(graded_items, 2000),
        ours=partial(fit_graded_response, standard_errors="none"),
        most_seconds=1.1,
    ),
    Race(
        name="graded response 50 × 2,000, standard errors",
        data=partial(graded_items, 2000),
        ours=fit_graded_response,
        most_seconds=10.3 / 3,
    ),
    Race(
        name="graded response 50 × 2,000, item fit",
        data=partial(graded_items, 2000),
        ours=item_fit,
    ),
    Race(
        name="graded response 50 × 20,000, standard errors",
        data=partial(graded_items, 20_000),
        ours=fit_graded_response,
        repeats=1,
    ),
    Race(
        name="ordinal-logistic DIF 50 × 2,000, MASS",
        data=partial(graded_items, 2000),
        ours=dif_of_halves,
        r_code=(
            "s <- rowSums(x); g <- rep(0:1, nrow(x) / 2);"
            " for (i in names(x)) { z <- ordered(x[[i]]); polr(z ~ 1); polr(z ~ s); polr(z ~ s + g); polr(z ~ s * g) }"
        ),
        r_packages=("MASS",),
    ),
    Race(
        name="dynamic cut-offs, 5 factors × 5 items × 2,000, 500 data sets a level, lavaan",
        data=partial(rated_items, 2000),
        ours=cutoffs,
        r_code=(
            "m <- paste(sapply(0:4, function(f) paste0('f', f, '=~', paste0('x', 5 * f + 1:5, collapse = '+'))),"
            " collapse = '\\n'); for (draw in 1:10) fitMeasures(cfa(m, x), c('srmr', 'rmsea', 'cfi'))"
        ),
        r_packages=("lavaan",),
        r_scale=250.0,
        repeats=1,
    ),
)
