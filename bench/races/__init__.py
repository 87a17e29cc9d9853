"""Races of the statistics against R: one module a theme, each with a tuple `RACES`.

A race is a data set, our function and the R code that computes the same; `bench/psychometrics.py` runs both sides.
A new theme is a module here and a line in `THEMES` there.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Race:
    """One figure: our CPU seconds, R's, and the ratio that is aimed at.

    `r_code` is timed; it finds the data as data frame `x` (columns x1, x2 …) and the `r_packages` loaded. Where R would
    take too long it does a part of the work, and its time is multiplied by `r_scale`. Without `r_code` only our side is
    measured, against `most_seconds` of CPU time and `most_megabytes` of memory.
    """

    name: str
    data: Callable[[], FloatArray]
    ours: Callable[[FloatArray], Any]
    r_code: str = ""
    r_packages: tuple[str, ...] = ()
    r_scale: float = 1.0
    bar: float | None = None  # at least so many times faster than R
    most_seconds: float | None = None
    most_megabytes: float | None = None
    repeats: int = 5


def rated_items(n_rows: int, *, n_factors: int = 10, per_factor: int = 5, seed: int = 1) -> FloatArray:
    """Return ratings of five points near their ceiling, loadings .8 on uncorrelated factors. Synthetic."""
    rng = np.random.default_rng(seed)
    factors = np.repeat(rng.standard_normal((n_rows, n_factors)), per_factor, axis=1)
    latent = 0.8 * factors + 0.6 * rng.standard_normal(factors.shape)
    return np.asarray(np.searchsorted([-2.0, -1.3, -0.6, 0.2], latent) + 1.0, dtype=np.float64)
