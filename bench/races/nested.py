"""Patients nested in clinicians against clubSandwich, lm and lavaan: robust errors, resampling, invariance."""

from functools import partial
from typing import Any

import numpy as np

from analysis.psychometrics.dyads.actor_partner import fit_actor_partner
from analysis.psychometrics.inference.robust_inference import regress_clustered, wald_test
from analysis.psychometrics.structure.role_invariance import assess_role_invariance
from bench.races import FloatArray, Race

ITEMS = ("a", "b", "c", "d", "e", "f")


def nested_rows(n_clinicians: int, each: int, n_columns: int) -> FloatArray:
    """The clinician's number, then scores of which a quarter lies between clinicians; the first depends on the rest."""
    rng = np.random.default_rng(3)
    clinician = np.repeat(np.arange(n_clinicians), each)
    scores = 0.5 * rng.standard_normal((n_clinicians, n_columns))[clinician]
    scores += rng.standard_normal(scores.shape)
    scores[:, 0] += 0.3 * scores[:, 1:].sum(axis=1)
    return np.column_stack([clinician, scores])


def matched_answers(n_dyads: int) -> FloatArray:
    """Six items in five categories of two factors, of the patient and then of the clinician."""
    rng = np.random.default_rng(5)
    common = rng.standard_normal((n_dyads, 2))
    matched = 0.3 * rng.standard_normal((n_dyads, 6))
    sides = []
    for _ in range(2):
        factors = np.repeat(common + 0.8 * rng.standard_normal((n_dyads, 2)), 3, axis=1)
        sides.append(np.digitize(factors + matched + rng.standard_normal((n_dyads, 6)), [-2.0, -0.7, 0.7, 2.0]) + 1.0)
    return np.concatenate(sides, axis=1)


def robust_errors(data: FloatArray) -> Any:
    """Errors, degrees of freedom and tests of five slopes, and one test of all five."""
    fit = regress_clustered(data[:, 1], data[:, 2:], clinicians=data[:, 0])
    return wald_test(fit, np.eye(6)[1:])


def actor_partner(data: FloatArray) -> Any:
    """The whole model, 2,000 resamples included."""
    return fit_actor_partner(
        data[:, 3:5], data[:, 1:3], clinicians=data[:, 0], rng=np.random.default_rng(1), n_draws=2000
    )


def role_invariance(data: FloatArray) -> Any:
    """Five ordinal steps with their difference tests, each factor released in turn."""
    return assess_role_invariance(data[:, :6], data[:, 6:], {"F": ITEMS[:3], "G": ITEMS[3:]}, item_codes=ITEMS)


RACES = (
    Race(
        name="CR2, Satterthwaite and HTZ, 300 clinicians × 20, 5 slopes, clubSandwich",
        data=partial(nested_rows, 300, 20, 6),
        ours=robust_errors,
        r_code=(
            "f <- lm(x2 ~ x3 + x4 + x5 + x6 + x7, x); V <- vcovCR(f, cluster = x$x1, type = 'CR2');"
            " coef_test(f, vcov = V, test = 'Satterthwaite'); Wald_test(f, constraints = diag(6)[-1, ], vcov = V)"
        ),
        r_packages=("clubSandwich",),
    ),
    Race(
        name="actor-partner k ratios, 2,000 resamples of 60 clinicians × 10, lm",
        data=partial(nested_rows, 60, 10, 4),
        ours=actor_partner,
        # A hundred of the 2,000 resamples.
        r_code=(
            "rows <- split(seq_len(nrow(x)), x$x1); k <- replicate(100, { d <- x[unlist(rows[sample(60, 60, TRUE)]), ];"
            " b <- coef(lm(cbind(x2, x3) ~ x4 + x5, d)); c(b[3, 1] / b[2, 1], b[2, 2] / b[3, 2]) })"
        ),
        r_scale=20,
    ),
    Race(
        name="role invariance 2 × 6 ordinal items, 600 dyads, semTools and lavaan (four steps only)",
        data=partial(matched_answers, 600),
        ours=role_invariance,
        r_code=(
            "m <- 'Fp =~ x1 + x2 + x3\\n Gp =~ x4 + x5 + x6\\n Fc =~ x7 + x8 + x9\\n Gc =~ x10 + x11 + x12';"
            " n <- lapply(1:6, function(k) paste0('x', c(k, k + 6))); names(n) <- letters[1:6];"
            " e <- list('', 'thresholds', c('thresholds', 'loadings'), c('thresholds', 'loadings', 'intercepts'));"
            " f <- lapply(e, function(q) measEq.syntax(m, data = x, longFacNames = list(F = c('Fp', 'Fc'),"
            " G = c('Gp', 'Gc')), longIndNames = n, ID.fac = 'std.lv', auto = 'all', long.equal = q,"
            " return.fit = TRUE, ordered = names(x), ID.cat = 'Wu.Estabrook.2016', parameterization = 'delta',"
            " estimator = 'WLSMV')); do.call(lavTestLRT, c(list(f[[1]]), f[-1]))"
        ),
        r_packages=("lavaan", "semTools"),
        repeats=2,
    ),
)
