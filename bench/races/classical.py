"""Reliability and exploratory factor analysis against psych and semTools."""

from functools import partial
from typing import Any

import numpy as np

from analysis.psychometrics.exploratory.factor_analysis import explore_factors
from analysis.psychometrics.items.item_statistics import describe_items
from analysis.psychometrics.reliability.categorical_omega import categorical_omega
from analysis.psychometrics.reliability.coefficients import cronbach_alpha
from analysis.psychometrics.reliability.omega_hierarchical import omega_hierarchical
from bench.races import FloatArray, Race, rated_items

CODES = tuple(f"x{number + 1}" for number in range(50))


def alpha_with_items(data: FloatArray) -> Any:
    """What `psych::alpha` returns: alpha, alpha without each item, item-rest r, means, SDs, response frequencies."""
    return cronbach_alpha(data, item_codes=CODES), describe_items(data, item_codes=CODES)


def omega_of_rows(data: FloatArray) -> Any:
    """Omega hierarchical with ten group factors."""
    return omega_hierarchical(np.corrcoef(data, rowvar=False), n_groups=10)


RACES = (
    Race(
        name="alpha with item statistics 50 × 100,000, psych",
        data=partial(rated_items, 100_000),
        ours=alpha_with_items,
        r_code="alpha(x, warnings = FALSE)",
        r_packages=("psych",),
        bar=20,
    ),
    Race(
        name="minres and oblimin 50 × 2,000, 10 factors, psych",
        data=partial(rated_items, 2000),
        ours=partial(explore_factors, n_factors=10),
        r_code="fa(x, 10)",
        r_packages=("psych", "GPArotation"),
    ),
    Race(
        name="omega hierarchical 50 × 2,000, 10 groups, psych",
        data=partial(rated_items, 2000),
        ours=omega_of_rows,
        r_code="omega(x, 10, plot = FALSE)",
        r_packages=("psych", "GPArotation"),
    ),
    Race(
        name="categorical omega 10 × 2,000, one factor, semTools",
        data=partial(rated_items, 2000, n_factors=1, per_factor=10),
        ours=categorical_omega,
        r_code=(
            "compRelSEM(cfa(paste('f =~', paste(names(x), collapse = ' + ')), x, ordered = TRUE, std.lv = TRUE),"
            " ord.scale = TRUE)"
        ),
        r_packages=("lavaan", "semTools"),
    ),
)
