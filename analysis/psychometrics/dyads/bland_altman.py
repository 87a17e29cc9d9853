"""Limits of agreement between two roles (Bland & Altman), for nested dyads and where they depend on the level."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.special import stdtr, stdtrit

from analysis.psychometrics.dyads.agreement import Estimates, groups_to_resample, require_confidence
from analysis.psychometrics.dyads.pairing import as_two_roles
from analysis.psychometrics.inference.few_clinicians import ClinicianGroups, rules_for
from analysis.psychometrics.inference.one_way import ClinicianSums, fit_one_way, sum_by_clinician
from analysis.psychometrics.inference.resampling import bootstrap_clinicians
from analysis.psychometrics.response_matrix import AnyArray, FloatArray, IntArray, as_item_codes, listed, read_only

#: Limits of agreement lie this many standard deviations from the bias.
LIMIT_MULTIPLIER: Final = 1.96
#: Numbers handled in one step of the bootstrap (an array of 8 MB).
_NUMBERS_PER_STEP: Final = 1_000_000
_STATISTICS: Final = ("bias", "loa_lower", "loa_upper", "level_slope", "spread_slope")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BlandAltman:
    """Bias and limits of agreement of the differences clinician minus patient. Arrays have one entry a column."""

    names: tuple[str, ...]
    n_used: IntArray
    n_dropped: IntArray
    n_clinicians: int | None
    bias: Estimates
    loa_lower: Estimates
    loa_upper: Estimates
    sd: FloatArray  # of the differences: √(between² + within²) where clinicians are given
    sd_between: FloatArray  # between clinicians; NaN without clinicians
    sd_within: FloatArray
    level_intercept: FloatArray
    level_slope: Estimates  # of the difference on the mean of both
    level_slope_pvalue: FloatArray  # NaN with clinicians: see the interval
    spread_intercept: FloatArray
    spread_slope: Estimates  # of the absolute residual on the mean of both
    spread_slope_pvalue: FloatArray
    residual_sd: FloatArray  # about the regression on the mean
    bias_depends_on_level: npt.NDArray[np.bool_]
    spread_depends_on_level: npt.NDArray[np.bool_]
    multiplier: float
    confidence: float
    notes: tuple[str, ...]

    def limits_at(self, level: float) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return bias, lower and upper limit of each column where the mean of both roles is `level`.

        Regression-based (Bland & Altman 1999, section 3.2): the bias is the regression of the difference on the mean;
        the standard deviation is √(π/2) times the regression of the absolute residuals where their spread depends on
        the level, else the residual standard deviation.
        """
        bias = self.level_intercept + self.level_slope.estimate * level
        spread = self.spread_intercept + self.spread_slope.estimate * level
        from_spread = math.sqrt(math.pi / 2) * np.maximum(spread, 0.0)
        sd = np.where(self.spread_depends_on_level, from_spread, self.residual_sd)
        return bias, bias - self.multiplier * sd, bias + self.multiplier * sd


def bland_altman(
    patient: npt.ArrayLike,
    clinician: npt.ArrayLike,
    *,
    names: Sequence[str] | None = None,
    clinicians: npt.ArrayLike | None = None,
    multiplier: float = LIMIT_MULTIPLIER,
    confidence: float = 0.95,
    n_draws: int = 2000,
    rng: np.random.Generator | None = None,
    progress: Callable[[float, str], None] | None = None,
) -> BlandAltman:
    """Return the bias and the limits within which 95 % of differences between the roles lie.

    Parameters
    ----------
    patient, clinician : array-like, shape (n_dyads, n_columns) or (n_dyads,)
        The same dyads in the same order, in one unit; NaN for missing.
    names : sequence of str, optional
        One a column.
    clinicians : array-like, shape (n_dyads,), optional
        The clinician of each dyad. The variance of the differences is then the sum of the variances between and within
        clinicians, and intervals resample whole clinicians (20 or more).
    multiplier : float
        Standard deviations from the bias to a limit.
    confidence : float
        Of the intervals; 1 − confidence is the level of the tests of the slopes.
    n_draws : int
        Resamples of clinicians.
    rng : numpy.random.Generator, optional
        Required with `clinicians`.
    progress : callable, optional
        Called with the share done and a text.

    Returns
    -------
    BlandAltman

    Raises
    ------
    AnalysisInputError
        Shapes that differ, or a role that is missing altogether.

    Notes
    -----
    D = C − P; limits D̄ ± 1.96·SD_D (Bland & Altman 1986, Lancet 327:307), the standard error of a limit of independent
    dyads SD_D·√(1/N + 1.96²/(2(N−1))), interval by Student's t. Nested: SD_D² = σ²_between + σ²_within by REML of a
    random intercept of the clinician (Bland & Altman 2007, J Biopharm Stat 17:571), D̄ the mean over dyads. Bounded
    scales make a diamond: D and |residual| are regressed on (P + C)/2. R: `lme4::lmer(d ~ 1 + (1 | clinician))`,
    `lm(d ~ m)`.

    Examples
    --------
    >>> import numpy as np
    >>> result = bland_altman(np.array([50.0, 60, 70, 80, 90]), np.array([55.0, 70, 65, 85, 95]))
    >>> [round(float(x.estimate[0]), 2) for x in (result.bias, result.loa_lower, result.loa_upper)]
    [4.0, -6.74, 14.74]
    """
    who = "bland_altman"
    require_confidence(confidence, who=who)
    p, c = as_two_roles(patient, clinician, who=who)
    codes = as_item_codes(names, p.shape[1], who=who)
    groups = groups_to_resample(clinicians, len(p), rng, who=who)
    difference, level = c - p, (c + p) / 2
    observed = ~np.isnan(difference)
    n = observed.sum(axis=0)
    usable = n >= 3
    notes = []
    if not usable.all():
        few = [f"{code} ({count})" for code, count in zip(codes, n, strict=True) if count < 3]
        notes.append(f"fewer than 3 dyads with both values, so nothing is given: {listed(few)}")
    lines = _Lines.of(difference, level, observed)
    high = 1 - (1 - confidence) / 2
    none = np.full(len(codes), np.nan)
    between, within, sd = none, none, lines.sd
    if groups is not None:
        fit = fit_one_way(sum_by_clinician(difference, groups.codes, groups.n_clinicians))
        between, within = np.sqrt(fit.between[0]), np.sqrt(fit.within[0])
        sd = np.where(np.isnan(between), lines.sd, np.hypot(between, within))
        unsplit = [code for code, x, one in zip(codes, between, usable, strict=True) if one and math.isnan(x)]
        if unsplit:
            notes.append(
                "the variance of differences could not be divided between and within clinicians (each clinician has "
                f"one patient, there is one clinician, or no difference varies); plain SD used: {listed(unsplit)}"
            )
        flat = [code for code, x in zip(codes, between, strict=True) if x == 0]
        if flat:
            notes.append(f"no variance of differences between clinicians beyond chance: {listed(flat)}")
    estimates = {
        "bias": lines.bias,
        "loa_lower": lines.bias - multiplier * sd,
        "loa_upper": lines.bias + multiplier * sd,
        "level_slope": lines.slope,
        "spread_slope": lines.spread_slope,
    }
    p_level, p_spread = none, none
    if groups is not None and rng is not None:
        method = "bootstrap of clinicians, percentile"
        rules = rules_for(groups.n_clinicians)
        notes += rules.notes
        statistic = _resampled_statistics(difference, level, lines, groups, multiplier)
        outcome = bootstrap_clinicians(
            statistic,
            n_clinicians=groups.n_clinicians,
            n_draws=n_draws,
            rng=rng,
            confidence=confidence,
            progress=progress,
        )
        shaped = [x.reshape(len(_STATISTICS), -1) for x in (outcome.se, outcome.ci_lower, outcome.ci_upper)]
        spans = {name: (shaped[0][i], shaped[1][i], shaped[2][i]) for i, name in enumerate(_STATISTICS)}
        depends = [(low > 0) | (upper < 0) for _, low, upper in (spans["level_slope"], spans["spread_slope"])]
        if not rules.cluster_bootstrap:
            notes.append("too few clinicians to say whether the limits depend on the level: constant limits are given")
    else:
        method = "t"
        with np.errstate(divide="ignore", invalid="ignore"):
            se_limit = sd * np.sqrt(1 / n + multiplier**2 / (2 * np.maximum(n - 1, 1)))
            errors = {
                "bias": (sd / np.sqrt(n), n - 1),
                "loa_lower": (se_limit, n - 1),
                "loa_upper": (se_limit, n - 1),
                "level_slope": (lines.slope_se, n - 2),
                "spread_slope": (lines.spread_slope_se, n - 2),
            }
            spans = {}
            for name, (se, degrees) in errors.items():
                half = stdtrit(np.maximum(degrees, 1.0), high) * se
                spans[name] = (se, estimates[name] - half, estimates[name] + half)
            p_level, p_spread = (
                np.where(
                    se > 0, 2 * stdtr(np.maximum(n - 2.0, 1.0), -np.abs(slope / np.where(se > 0, se, 1.0))), np.nan
                )
                for slope, se in ((lines.slope, lines.slope_se), (lines.spread_slope, lines.spread_slope_se))
            )
        depends = [p_value < 1 - confidence for p_value in (p_level, p_spread)]
    depending = [code for code, one in zip(codes, depends[0] | depends[1], strict=True) if one]
    if depending:
        notes.append(
            f"the difference or its spread depends on the level, read the limits at a level: {listed(depending)}"
        )
    figures = {
        name: Estimates(
            estimate=_where(usable, estimates[name]),
            se=_where(usable, spans[name][0]),
            ci_lower=_where(usable, spans[name][1]),
            ci_upper=_where(usable, spans[name][2]),
            method=method,
        )
        for name in _STATISTICS
    }
    return BlandAltman(
        names=codes,
        n_used=read_only(n.astype(np.int64)),
        n_dropped=read_only((len(p) - n).astype(np.int64)),
        n_clinicians=None if groups is None else groups.n_clinicians,
        sd=_where(usable, sd),
        sd_between=_where(usable, between),
        sd_within=_where(usable, within),
        level_intercept=_where(usable, lines.intercept),
        level_slope_pvalue=_where(usable, p_level),
        spread_intercept=_where(usable, lines.spread_intercept),
        spread_slope_pvalue=_where(usable, p_spread),
        residual_sd=_where(usable, lines.residual_sd),
        bias_depends_on_level=usable & depends[0],
        spread_depends_on_level=usable & depends[1],
        multiplier=multiplier,
        confidence=confidence,
        notes=tuple(notes),
        **figures,
    )


def _where(usable: npt.NDArray[np.bool_], values: FloatArray) -> FloatArray:
    return read_only(np.where(usable, values, np.nan))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Lines:
    """The straight lines of the difference, and of its absolute residual, on the mean of both roles."""

    bias: FloatArray
    sd: FloatArray
    intercept: FloatArray
    slope: FloatArray
    slope_se: FloatArray
    residual_sd: FloatArray
    spread: FloatArray  # (n_dyads, n_columns): absolute residuals, 0 where missing
    spread_intercept: FloatArray
    spread_slope: FloatArray
    spread_slope_se: FloatArray

    @classmethod
    def of(cls, difference: FloatArray, level: FloatArray, observed: npt.NDArray[np.bool_]) -> "_Lines":
        n = observed.sum(axis=0)
        d, m = np.where(observed, difference, 0.0), np.where(observed, level, 0.0)
        with np.errstate(divide="ignore", invalid="ignore"):
            bias = d.sum(axis=0) / n
            sd = np.sqrt((np.where(observed, d - bias, 0.0) ** 2).sum(axis=0) / (n - 1))
            first = _line(d, m, observed)
            residual = np.where(observed, d - first[0] - first[1] * m, 0.0)
            spread = np.abs(residual)
            second = _line(spread, m, observed)
        return cls(
            bias=bias,
            sd=sd,
            intercept=first[0],
            slope=first[1],
            slope_se=first[2],
            residual_sd=first[3],
            spread=spread,
            spread_intercept=second[0],
            spread_slope=second[1],
            spread_slope_se=second[2],
        )


def _line(
    y: FloatArray, x: FloatArray, observed: npt.NDArray[np.bool_]
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Return intercept, slope, its standard error and the residual SD of each column; no slope where x is constant."""
    n = observed.sum(axis=0)
    x_mean, y_mean = x.sum(axis=0) / n, y.sum(axis=0) / n
    dx, dy = np.where(observed, x - x_mean, 0.0), np.where(observed, y - y_mean, 0.0)
    squares = (dx**2).sum(axis=0)
    varies = squares > 1e-20 * np.maximum((x**2).sum(axis=0), 1e-300)
    slope = np.where(varies, (dx * dy).sum(axis=0) / np.where(varies, squares, 1.0), np.nan)
    residual = ((dy - dx * slope) ** 2).sum(axis=0) / (n - 2)
    slope_se = np.sqrt(residual / np.where(varies, squares, np.nan))
    return y_mean - slope * x_mean, slope, slope_se, np.sqrt(residual)


def _resampled_statistics(
    difference: FloatArray, level: FloatArray, lines: _Lines, groups: ClinicianGroups, multiplier: float
) -> Callable[[FloatArray], FloatArray]:
    """Return the statistics as a function of how often each clinician was drawn.

    The absolute residuals are those about the line of the data themselves.
    """
    sums = sum_by_clinician(difference, groups.codes, groups.n_clinicians)
    observed = ~np.isnan(difference)
    m = np.where(observed, level, 0.0)
    m = np.where(observed, m - m.sum(axis=0) / np.maximum(observed.sum(axis=0), 1), 0.0)
    d = np.where(observed, difference - lines.bias, 0.0)
    parts = np.stack([observed.astype(np.float64), d, m, m * m, m * d, lines.spread, m * lines.spread, d * d])
    totals = _add_by_group(parts, groups)
    n_columns = difference.shape[1]

    def statistic(counts: FloatArray) -> FloatArray:
        n, d_sum, m_sum, m_squares, products, spread, spread_products, squares_of_d = (counts @ part for part in totals)
        sd = np.empty_like(n)
        step = max(1, _NUMBERS_PER_STEP // counts.size)
        for start in range(0, n_columns, step):
            chosen = slice(start, start + step)
            part = ClinicianSums(n=sums.n[:, chosen], mean=sums.mean[:, chosen], squares=sums.squares[:, chosen])
            fit = fit_one_way(part, counts)
            sd[:, chosen] = np.sqrt(fit.between + fit.within)
        with np.errstate(divide="ignore", invalid="ignore"):
            bias = lines.bias + d_sum / n
            plain = np.sqrt(np.maximum(squares_of_d - d_sum**2 / n, 0.0) / (n - 1))
            sd = np.where(np.isnan(sd), plain, sd)
            squares = m_squares - m_sum**2 / n
            squares = np.where(squares > 1e-12 * m_squares, squares, np.nan)
            slope = (products - m_sum * d_sum / n) / squares
            spread_slope = (spread_products - m_sum * spread / n) / squares
        return np.concatenate([bias, bias - multiplier * sd, bias + multiplier * sd, slope, spread_slope], axis=1)

    return statistic


def _add_by_group(parts: AnyArray, groups: ClinicianGroups) -> AnyArray:
    """Add up (n_parts, n_rows, n_columns) over the rows of each clinician."""
    return np.add.reduceat(parts[:, groups.order], groups.starts, axis=1)
