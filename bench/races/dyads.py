"""Two people, many patients per clinician: agreement, one-with-many, two-level models."""

import numpy as np

from analysis.psychometrics.clinicians.multilevel import variance_between_clinicians
from analysis.psychometrics.dyads.agreement import agreement
from analysis.psychometrics.dyads.one_with_many import one_with_many
from analysis.psychometrics.sem.two_level import fit_two_level
from bench.races import FloatArray, Race, rated_items

_CLINICIANS, _PATIENTS, _SCALES = 60, 10, 10
_TWO_LEVEL = (
    "level: 1\nf1 =~ x2 + x3 + x4\nf2 =~ x5 + x6 + x7\nlevel: 2\nfb =~ x2 + x3 + x4 + x5 + x6 + x7"  # x1: the cluster
)


def _both_roles() -> FloatArray:
    """Return 50 items of 10,000 dyads: the patients' columns, then the clinicians'. Synthetic."""
    rng = np.random.default_rng(3)
    patient = rated_items(10_000)
    return np.hstack([patient, np.clip(patient + rng.integers(-1, 2, patient.shape), 1, 5)])


def _one_with_many() -> FloatArray:
    """Return the clinician, ten scales of patients and ten of clinicians: 60 clinicians, 10 patients each."""
    rng = np.random.default_rng(5)
    keys = np.repeat(np.arange(_CLINICIANS), _PATIENTS)
    sides = []
    for _ in range(_SCALES):
        between = rng.multivariate_normal([0, 0], [[0.06, 0.05], [0.05, 0.5]], _CLINICIANS)[keys]
        sides.append(between + rng.multivariate_normal([0, 0], [[0.94, 0.2], [0.2, 0.5]], len(keys)))
    scores = np.stack(sides, axis=2)
    return np.hstack([keys[:, None], scores[:, 0], scores[:, 1]])


def _two_level() -> FloatArray:
    """Return the clinician and six scores of two factors within and one between: 100 clinicians, 12 patients each."""
    rng = np.random.default_rng(7)
    keys = np.repeat(np.arange(100), 12)
    within = np.repeat(rng.multivariate_normal([0, 0], [[1, 0.5], [0.5, 1]], 1200), 3, axis=1)
    between = 0.6 * rng.standard_normal((100, 1)) + 0.3 * rng.standard_normal((100, 6))
    return np.hstack([keys[:, None], within + between[keys] + 0.8 * rng.standard_normal((1200, 6))])


RACES = (
    Race(
        # psych's ICC takes minutes for one item of as many dyads.
        name="all agreement statistics, 50 items x 10,000 dyads",
        data=_both_roles,
        ours=lambda x: agreement(x[:, :50], x[:, 50:]),
        most_seconds=2.0,
    ),
    Race(
        name="one-with-many with 2,000 resamples, 60 clinicians x 10 patients x 10 scales",
        data=_one_with_many,
        ours=lambda x: one_with_many(x[:, 1:11], x[:, 11:], x[:, 0], rng=np.random.default_rng(1)),
        r_code=(
            "n <- nrow(x); d <- data.frame(cl = rep(x$x1, each = 2), dy = rep(1:n, each = 2), "
            "role = factor(rep(1:2, n)), y = as.vector(rbind(x$x2, x$x12))); "
            "lme(y ~ 0 + role, random = ~ 0 + role | cl, d, correlation = corSymm(form = ~ 1 | cl / dy), "
            "weights = varIdent(form = ~ 1 | role))"
        ),
        r_packages=("nlme",),
        r_scale=20_000.0,  # one fit of one scale
        most_seconds=20.0,
        repeats=1,
    ),
    Race(
        name="random intercepts by REML, 20 scales of 60 clinicians x 10 patients",
        data=_one_with_many,
        ours=lambda x: variance_between_clinicians(x[:, 1:], x[:, 0]),
        r_code="for (i in 2:21) lmer(y ~ 1 + (1 | g), data.frame(y = x[, i], g = x$x1))",
        r_packages=("lme4",),
        bar=10,
    ),
    Race(
        name="two-level factor model, MLR, 100 clinicians x 12 patients x 6 scores",
        data=_two_level,
        ours=lambda x: fit_two_level(_TWO_LEVEL, x, x[:, 0], item_codes=[f"x{i}" for i in range(1, 8)]),
        r_code=f"cfa('{_TWO_LEVEL}', x, cluster = 'x1', estimator = 'MLR')",
        r_packages=("lavaan",),
        bar=2,
        repeats=2,
    ),
)
