"""Fit indices from test statistics, as lavaan's `fitMeasures` defines and names them (dots become underscores)."""

import math
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.special import chdtrc, chdtri, chndtr

from analysis.psychometrics.response_matrix import FloatArray

_NAN = math.nan
#: lavaan's close-fit and not-close-fit hypotheses and the level of the RMSEA interval.
_CLOSE, _NOT_CLOSE, _RMSEA_LEVEL = 0.05, 0.08, 0.90


@dataclass(frozen=True, slots=True, kw_only=True)
class StandardTest:
    """χ² of a model with its degrees of freedom."""

    chisq: float
    df: int
    by_group: tuple[float, ...]

    @property
    def pvalue(self) -> float:
        """P(χ²_df > chisq), undefined without degrees of freedom."""
        return float(chdtrc(self.df, max(self.chisq, 0.0))) if self.df > 0 and math.isfinite(self.chisq) else _NAN


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaledTest:
    """A test corrected for non-normality; `shift` is 0 for mean-adjusted tests."""

    kind: str  # 'yuan.bentler.mplus', 'satorra.bentler' or 'scaled.shifted'
    chisq: float
    df: int
    scaling_factor: float
    shift: float
    trace: float  # tr(UΓ)
    scaling_factor_h1: float = _NAN
    scaling_factor_h0: float = _NAN

    @property
    def pvalue(self) -> float:
        """P(χ²_df > chisq)."""
        return float(chdtrc(self.df, max(self.chisq, 0.0))) if self.df > 0 and math.isfinite(self.chisq) else _NAN


@dataclass(frozen=True, slots=True, kw_only=True)
class RobustTest:
    """What robust CFI, TLI and RMSEA rest on (Brosseau-Liard & Savalei 2014; Savalei 2021 for ordinal items)."""

    chisq: float
    df: float
    factor: float
    chisq_scaled: float
    interval_factor: float
    baseline_chisq: float
    baseline_factor: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GroupResiduals:
    """Observed and implied moments of one group; means and thresholds where the model has them."""

    n: int
    observed: FloatArray
    implied: FloatArray
    observed_mean: FloatArray | None
    implied_mean: FloatArray | None
    residual_thresholds: FloatArray | None  # ordinal models


def scaled_by(kind: str, test: StandardTest, *, trace: float, h1: float = _NAN, h0: float = _NAN) -> ScaledTest:
    """Divide a test by tr(UΓ)/df."""
    factor = trace / test.df if test.df > 0 else _NAN
    if factor < 0:
        factor = _NAN
    return ScaledTest(
        kind=kind,
        chisq=test.chisq / factor if test.df > 0 else test.chisq,
        df=test.df,
        scaling_factor=factor,
        shift=0.0,
        trace=trace,
        scaling_factor_h1=h1,
        scaling_factor_h0=h0,
    )


def scaled_and_shifted(test: StandardTest, *, trace: float, trace_of_square: float) -> ScaledTest:
    """Return aT + b with the mean and variance of χ²_df (Asparouhov & Muthén 2010)."""
    if test.df <= 0:
        return ScaledTest(
            kind="scaled.shifted", chisq=test.chisq, df=test.df, scaling_factor=_NAN, shift=_NAN, trace=trace
        )
    factor = math.sqrt(test.df / trace_of_square)
    shift = test.df - factor * trace
    return ScaledTest(
        kind="scaled.shifted",
        chisq=test.chisq * factor + shift,
        df=test.df,
        scaling_factor=1.0 / factor,
        shift=shift,
        trace=trace,
    )


def comparative_fit(
    chisq: float, df: float, null: float, null_df: float, *, factor: float = 1.0, null_factor: float = 1.0
) -> float:
    """Return Bentler's CFI; with the scaling factors of both models the robust CFI."""
    if any(math.isnan(value) for value in (chisq, df, null, null_df, factor, null_factor)):
        return _NAN
    if not (df > 0 and factor != 1 and null_factor != 1):
        factor = null_factor = 1.0
    misfit = max(chisq - factor * df, 0.0)
    most = max(chisq - factor * df, null - null_factor * null_df, 0.0)
    if most < 1.5e-8:
        return 1.0
    return 1.0 - misfit / most


def tucker_lewis(
    chisq: float, df: float, null: float, null_df: float, *, factor: float = 1.0, null_factor: float = 1.0
) -> float:
    """Return the Tucker–Lewis index (non-normed)."""
    if any(math.isnan(value) for value in (chisq, df, null, null_df, factor, null_factor)):
        return _NAN
    if not (df > 0 and factor != 1 and null_factor != 1):
        factor = null_factor = 1.0
    above = (chisq - factor * df) * null_df
    below = (null - null_factor * null_df) * df
    return 1.0 - above / below if df > 0 and abs(below) > 0 else 1.0


def rmsea(chisq: float, df: float, n: float, n_groups: int, *, factor: float = 1.0) -> float:
    """Return Steiger's RMSEA, times √G as in lavaan."""
    if math.isnan(chisq) or math.isnan(df) or math.isnan(factor):
        return _NAN
    if df <= 0:
        return 0.0
    return math.sqrt(max(chisq / n / df - factor / n, 0.0)) * math.sqrt(n_groups)


def _noncentral_cdf(value: float, df: float, ncp: float) -> float:
    return float(chndtr(value, df, ncp))


def rmsea_interval(
    chisq: float, df: float, n: float, n_groups: int, *, factor: float = 1.0, level: float = _RMSEA_LEVEL
) -> tuple[float, float]:
    """Return the confidence interval of the RMSEA by inverting the noncentral χ²."""
    if not (math.isfinite(chisq) and math.isfinite(df) and math.isfinite(factor)):
        return _NAN, _NAN
    upper_share, lower_share = 1 - (1 - level) / 2, (1 - level) / 2
    scale = math.sqrt(factor * n_groups / (n * df)) if df >= 1 and factor > 0 else 0.0
    lower = upper = 0.0
    if df >= 1 and _noncentral_cdf(chisq, df, 0.0) >= upper_share:
        lower = scale * math.sqrt(brentq(lambda ncp: _noncentral_cdf(chisq, df, ncp) - upper_share, 0.0, chisq))
    most = max(n, chisq * 4)
    if df >= 1 and _noncentral_cdf(chisq, df, 0.0) >= lower_share and _noncentral_cdf(chisq, df, most) <= lower_share:
        upper = scale * math.sqrt(brentq(lambda ncp: _noncentral_cdf(chisq, df, ncp) - lower_share, 0.0, most))
    return lower, upper


def rmsea_pvalue(chisq: float, df: float, n: float, n_groups: int, *, factor: float = 1.0, h0: float = _CLOSE) -> float:
    """Return the p-value of the hypothesis RMSEA ≤ h0."""
    if not (math.isfinite(chisq) and math.isfinite(df) and math.isfinite(factor)) or df <= 0:
        return _NAN
    return 1.0 - _noncentral_cdf(chisq, df, n * df / factor * h0**2 / n_groups)


def chisq_measures(test: StandardTest, scaled: ScaledTest | None) -> dict[str, float]:
    """χ² with its degrees of freedom and p-value, plain and scaled."""
    result = {"chisq": test.chisq, "df": float(test.df), "pvalue": test.pvalue}
    if scaled is not None:
        result |= {
            "chisq_scaled": scaled.chisq,
            "df_scaled": float(scaled.df),
            "pvalue_scaled": scaled.pvalue,
            "chisq_scaling_factor": scaled.scaling_factor,
        }
    return result


def incremental_measures(
    test: StandardTest,
    baseline: StandardTest,
    scaled: ScaledTest | None,
    baseline_scaled: ScaledTest | None,
    robust: RobustTest | None,
) -> dict[str, float]:
    """Baseline test, CFI, TLI and their relatives."""
    result = {"baseline_chisq": baseline.chisq, "baseline_df": float(baseline.df), "baseline_pvalue": baseline.pvalue}
    if baseline_scaled is not None:
        result |= {
            "baseline_chisq_scaled": baseline_scaled.chisq,
            "baseline_df_scaled": float(baseline_scaled.df),
            "baseline_pvalue_scaled": baseline_scaled.pvalue,
            "baseline_chisq_scaling_factor": baseline_scaled.scaling_factor,
        }
    variants = [("", test.chisq, test.df, baseline.chisq, baseline.df)]
    if scaled is not None and baseline_scaled is not None:
        variants.append(("_scaled", scaled.chisq, scaled.df, baseline_scaled.chisq, baseline_scaled.df))
    for suffix, chisq, df, null, null_df in variants:
        result["cfi" + suffix] = comparative_fit(chisq, df, null, null_df)
        result["tli" + suffix] = tucker_lewis(chisq, df, null, null_df)
    if robust is not None:
        arguments = (robust.chisq, test.df, robust.baseline_chisq, baseline.df)
        factors = {"factor": robust.factor, "null_factor": robust.baseline_factor}
        result["cfi_robust"] = comparative_fit(*arguments, **factors)
        result["tli_robust"] = tucker_lewis(*arguments, **factors)
    for suffix, chisq, df, null, null_df in variants:
        result["nnfi" + suffix] = tucker_lewis(chisq, df, null, null_df)
        result |= {name + suffix: value for name, value in _older_indices(chisq, df, null, null_df).items()}
    if robust is not None:
        result["nnfi_robust"] = result["tli_robust"]
        below = robust.baseline_chisq - robust.baseline_factor * baseline.df
        above = robust.chisq - robust.factor * test.df
        result["rni_robust"] = 1.0 - above / below if below != 0 else _NAN
    return result


def _older_indices(chisq: float, df: float, null: float, null_df: float) -> dict[str, float]:
    """RFI, NFI, PNFI, IFI and RNI with lavaan's conventions where they are not defined."""
    if df > null_df:
        rfi = nfi = _NAN
    else:
        rfi = 1.0
        if df > 0 and null_df > 0 and null > 0:
            relative = null / null_df - chisq / df
            rfi = 1.0 if relative < 0 else relative / (null / null_df)
        nfi = _NAN if null < 1.5e-8 else (1.0 - chisq / null if df > 0 else 1.0)
    pnfi = df / null_df * (1.0 - chisq / null) if null_df > 0 and null > 0 else _NAN
    below = null - df
    ifi = 1.0 if below < 0 else (_NAN if below < 1.5e-8 else (null - chisq) / below)
    below = null - null_df
    rni = _NAN if abs(below) < 1.5e-8 else 1.0 - (chisq - df) / below
    return {"rfi": rfi, "nfi": nfi, "pnfi": pnfi, "ifi": ifi, "rni": rni}


def rmsea_measures(
    test: StandardTest, scaled: ScaledTest | None, robust: RobustTest | None, *, n: float, n_groups: int
) -> dict[str, float]:
    """RMSEA with its interval and close-fit tests, plain, scaled and robust."""
    result: dict[str, float] = {}

    def add(suffix: str, point: float, arguments: tuple[float, float, float, int], factor: float) -> None:
        lower, upper = rmsea_interval(*arguments, factor=factor)
        result["rmsea" + suffix] = point
        result["rmsea_ci_lower" + suffix] = lower
        result["rmsea_ci_upper" + suffix] = upper
        if not suffix:
            result["rmsea_ci_level"] = _RMSEA_LEVEL
        result["rmsea_pvalue" + suffix] = rmsea_pvalue(*arguments, factor=factor, h0=_CLOSE)
        if not suffix:
            result["rmsea_close_h0"] = _CLOSE
        not_close = rmsea_pvalue(*arguments, factor=factor, h0=_NOT_CLOSE)
        result["rmsea_notclose_pvalue" + suffix] = 1.0 - not_close if not math.isnan(not_close) else _NAN
        if not suffix:
            result["rmsea_notclose_h0"] = _NOT_CLOSE

    plain = (test.chisq, float(test.df), n, n_groups)
    add("", rmsea(*plain), plain, 1.0)
    if scaled is not None:
        shifted = scaled.kind == "scaled.shifted"
        df = float(test.df) if shifted else (scaled.trace if scaled.trace != 0 else _NAN)
        chisq = scaled.chisq if shifted else test.chisq
        arguments = (chisq, df, n, n_groups)
        add("_scaled", rmsea(*arguments), arguments, 1.0)
    if robust is not None:
        point = rmsea(robust.chisq, robust.df, n, n_groups, factor=robust.factor)
        add("_robust", point, (robust.chisq_scaled, robust.df, n, n_groups), robust.interval_factor)
    return result


def residual_measures(groups: list[GroupResiduals], *, categorical: bool) -> dict[str, float]:
    """RMR, SRMR (Bentler's, Mplus's) and CRMR (Bollen's), with and without means, groups weighted by size."""
    total = sum(group.n for group in groups)
    sums: dict[str, float] = {}
    for group in groups:
        for key, value in _group_residual_measures(group, categorical=categorical).items():
            sums[key] = sums.get(key, 0.0) + group.n / total * value
    result = {"srmr": sums["srmr_bentler_nomean"] if categorical else sums["srmr_bentler"]}
    return result | {key: sums[key] for key in sorted(sums)}


def _group_residual_measures(group: GroupResiduals, *, categorical: bool) -> dict[str, float]:
    observed, implied = group.observed, group.implied
    size = len(observed)
    rows, columns = np.tril_indices(size, -1 if categorical else 0)
    n_moments = rows.size + size if categorical else rows.size
    sd, implied_sd = np.sqrt(np.diag(observed)), np.sqrt(np.diag(implied))
    difference = observed - implied
    raw = difference[rows, columns]
    bentler = (difference / np.outer(sd, sd))[rows, columns]
    bollen = (observed / np.outer(sd, sd) - implied / np.outer(implied_sd, implied_sd))[rows, columns]
    result = {
        "rmr_nomean": math.sqrt((raw @ raw) / n_moments),
        "srmr_bentler_nomean": math.sqrt((bentler @ bentler) / n_moments),
        "crmr_nomean": math.sqrt((bollen @ bollen) / (n_moments - size)) if n_moments > size else _NAN,
    }
    extra: tuple[FloatArray, FloatArray, FloatArray] | None = None
    if categorical and group.residual_thresholds is not None:
        extra = (group.residual_thresholds,) * 3
    elif group.observed_mean is not None and group.implied_mean is not None:
        gap = group.observed_mean - group.implied_mean
        extra = (gap, gap / sd, group.observed_mean / sd - group.implied_mean / sd)
    if extra is None:
        result |= {name: result[f"{name}_nomean"] for name in ("rmr", "srmr_bentler", "crmr")}
    else:
        more = len(extra[0])
        for name, moments, addition in (
            ("rmr", raw, extra[0]),
            ("srmr_bentler", bentler, extra[1]),
            ("crmr", bollen, extra[2]),
        ):
            count = n_moments + more - (size if name == "crmr" else 0)
            result[name] = math.sqrt((moments @ moments + addition @ addition) / count)
    if categorical:
        result |= {"srmr_mplus": _NAN, "srmr_mplus_nomean": _NAN}
    else:
        result |= _mplus_srmr(group, sd, implied_sd)
    return result


def _mplus_srmr(group: GroupResiduals, sd: FloatArray, implied_sd: FloatArray) -> dict[str, float]:
    observed, implied = group.observed, group.implied
    size = len(observed)
    rows, columns = np.tril_indices(size, -1)
    correlations = (observed / np.outer(sd, sd) - implied / np.outer(implied_sd, implied_sd))[rows, columns]
    variances = (np.diag(observed) - np.diag(implied)) / np.diag(observed)
    total = correlations @ correlations + variances @ variances
    n_moments = size * (size + 1) / 2
    without = math.sqrt(total / n_moments)
    if group.observed_mean is None or group.implied_mean is None:
        return {"srmr_mplus": without, "srmr_mplus_nomean": without}
    means = group.observed_mean / sd - group.implied_mean / implied_sd
    return {"srmr_mplus": math.sqrt((total + means @ means) / (n_moments + size)), "srmr_mplus_nomean": without}


def likelihood_measures(logl: float, unrestricted: float, n_parameters: int, n: float) -> dict[str, float]:
    """Log-likelihoods and information criteria."""
    return {
        "logl": logl,
        "unrestricted_logl": unrestricted,
        "aic": -2 * logl + 2 * n_parameters,
        "bic": -2 * logl + n_parameters * math.log(n),
        "ntotal": float(n),
        "bic2": -2 * logl + n_parameters * math.log((n + 2) / 24),
    }


def other_measures(
    test: StandardTest, *, n: float, n_parameters: int, categorical: bool, n_moments: int
) -> dict[str, float]:
    """Hoelter's critical N, McDonald's index, ECVI (continuous) and WRMR (ordinal)."""
    result: dict[str, float] = {}
    for name, alpha in (("cn_05", 0.05), ("cn_01", 0.01)):
        defined = test.df > 0 and test.chisq > 0
        result[name] = float(chdtri(test.df, alpha)) / (test.chisq / n) + 1 if defined else _NAN
    result["mfi"] = math.exp(-0.5 * (test.chisq - test.df) / n)
    if categorical:
        result["wrmr"] = math.sqrt(test.chisq / n_moments) if n_moments else _NAN
    else:
        result["ecvi"] = test.chisq / n + 2 * n_parameters / n
    return result


def goodness_of_fit(gfi: float, n_moments: int, df: int) -> dict[str, float]:
    """GFI with its adjusted and parsimony variants."""
    if df <= 0:
        adjusted = 1.0
    else:
        adjusted = 1.0 - (n_moments / df) * (1.0 - gfi)
    return {"gfi": gfi, "agfi": adjusted, "pgfi": df / n_moments * gfi}
