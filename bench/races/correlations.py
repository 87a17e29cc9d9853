"""Polychoric correlations, their asymptotic covariance, and parallel analysis: 50 items of five points."""

from functools import partial

import numpy as np

from analysis.psychometrics.correlations.ordinal_moments import ordinal_moments
from analysis.psychometrics.correlations.polychoric import polychoric_correlations
from analysis.psychometrics.exploratory.retention import parallel_analysis
from bench.races import FloatArray, Race, rated_items


def parallel(data: FloatArray, *, kind: str, factors: bool) -> object:
    """100 random data sets."""
    return parallel_analysis(
        data,
        n_draws=100,
        rng=np.random.default_rng(1),
        kind=kind,  # type: ignore[arg-type]
        factors=factors,
    )


RACES = (
    Race(
        name="polychoric 50 × 2,000, psych",
        data=partial(rated_items, 2000),
        ours=polychoric_correlations,
        r_code="polychoric(x)",
        r_packages=("psych",),
        bar=50,
    ),
    Race(
        name="polychoric 50 × 2,000, lavaan",
        data=partial(rated_items, 2000),
        ours=polychoric_correlations,
        r_code="lavCor(x, ordered = names(x))",
        r_packages=("lavaan",),
        bar=10,
    ),
    Race(
        name="polychoric with asymptotic covariance 50 × 2,000, lavaan",
        data=partial(rated_items, 2000),
        ours=ordinal_moments,
        r_code=(
            "lavaan:::muthen1984(Data = data.matrix(x), ov.names = names(x), ov.types = rep('ordered', 50),"
            " ov.levels = rep(5L, 50))"
        ),
        r_packages=("lavaan",),
        bar=10,
    ),
    Race(
        name="polychoric 50 × 100,000",
        data=partial(rated_items, 100_000),
        ours=polychoric_correlations,
        most_seconds=3,
        most_megabytes=1000,
        repeats=3,
    ),
    Race(
        name="parallel analysis 50 × 2,000, Pearson, components and factors, psych",
        data=partial(rated_items, 2000),
        ours=partial(parallel, kind="pearson", factors=True),
        r_code="fa.parallel(x, n.iter = 100, plot = FALSE)",
        r_packages=("psych",),
        bar=20,
    ),
    Race(
        name="parallel analysis 50 × 2,000, Pearson, components, psych",
        data=partial(rated_items, 2000),
        ours=partial(parallel, kind="pearson", factors=False),
        r_code="fa.parallel(x, n.iter = 100, fa = 'pc', plot = FALSE)",
        r_packages=("psych",),
        bar=20,
    ),
    Race(
        name="parallel analysis 50 × 2,000, polychoric, components and factors, psych",
        data=partial(rated_items, 2000),
        ours=partial(parallel, kind="polychoric", factors=True),
        # Two of the hundred random data sets; those and the observed one take the same time each.
        r_code="fa.parallel(x, n.iter = 2, cor = 'poly', plot = FALSE)",
        r_packages=("psych",),
        r_scale=101 / 3,
        bar=50,
        repeats=3,
    ),
)
