"""Agreement of two people about the same thing: ICCs, weighted kappa, Gwet's AC2, shares, Bland-Altman limits."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.special import fdtri, ndtri, stdtrit

from analysis.psychometrics.dyads.pairing import as_two_roles, reading_of
from analysis.psychometrics.errors import AnalysisInputError
from analysis.psychometrics.inference.few_clinicians import ClinicianGroups, group_by_clinician, rules_for
from analysis.psychometrics.inference.resampling import bootstrap_clinicians
from analysis.psychometrics.response_matrix import FloatArray, IntArray, as_item_codes, complete_rows, listed, read_only

#: More points than this are a measurement, not a response scale: kappa and AC2 are then undefined.
MAXIMUM_CATEGORIES: Final = 101
#: A variance below this share of the squared size of the scores counts as none (rounding leaves about 1e-32).
_NO_VARIANCE: Final = 1e-20

_ICC_FORMS: Final = ("ICC(1)", "ICC(A,1)", "ICC(C,1)", "ICC(1,k)", "ICC(A,k)", "ICC(C,k)")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Estimates:
    """One statistic for each column, with standard error and interval; NaN where a note says why."""

    estimate: FloatArray  # (n_columns,)
    se: FloatArray
    ci_lower: FloatArray
    ci_upper: FloatArray
    method: str  # of the interval


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class IntraclassCorrelations:
    """The six ICCs of a complete two-way table, with the mean squares that they are made of."""

    forms: tuple[str, ...]  # the order of the arrays below
    estimate: FloatArray  # (6,)
    ci_lower: FloatArray
    ci_upper: FloatArray
    f: FloatArray
    df1: FloatArray
    df2: FloatArray
    ms_rows: float
    ms_columns: float
    ms_error: float
    ms_within: float
    n_used: int
    n_dropped: int
    n_raters: int
    confidence: float
    notes: tuple[str, ...]


def intraclass_correlations(ratings: npt.ArrayLike, *, confidence: float = 0.95) -> IntraclassCorrelations:
    """Compute ICC(1), ICC(A,1), ICC(C,1) and those of the mean of k ratings, with F intervals.

    Parameters
    ----------
    ratings : array-like, shape (n_targets, k)
        One row a target, one column a rater (or role); rows with a missing rating are left out.
    confidence : float
        Of the intervals.

    Returns
    -------
    IntraclassCorrelations

    Raises
    ------
    AnalysisInputError
        Fewer than two raters or three complete targets.

    Notes
    -----
    With mean squares of rows R, columns C and error E: ICC(C,1) = (R − E)/(R + (k−1)E), ICC(A,1) = (R − E)/(R + (k−1)E
    + k(C − E)/n), ICC(1) = (R − W)/(R + (k−1)W) with W within rows. Not truncated at zero. McGraw & Wong (1996, Psychol
    Methods 1:30), tables 4 and 7 for the intervals. R: `irr::icc(x, "twoway", "agreement", "single")`,
    `psych::ICC(x, lmer = FALSE)`.

    Examples
    --------
    >>> import numpy as np
    >>> shrout_fleiss = np.array([[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]])
    >>> intraclass_correlations(shrout_fleiss).estimate.round(3)
    array([0.166, 0.29 , 0.715, 0.443, 0.62 , 0.909])
    """
    require_confidence(confidence, who="intraclass_correlations")
    rows = complete_rows(ratings, who="intraclass_correlations", minimum_items=2, minimum_respondents=3)
    n, k = rows.values.shape
    y = rows.values - rows.values.mean()
    row_means, column_means = y.mean(axis=1), y.mean(axis=0)
    residual = y - row_means[:, None] - column_means[None, :]
    squares = np.array([k * (row_means**2).sum(), n * (column_means**2).sum(), (residual**2).sum()])
    no_variance = squares.sum() <= _NO_VARIANCE * max(float((rows.values**2).sum()), 1e-300)
    ms_rows, ms_columns = squares[0] / (n - 1), squares[1] / (k - 1)
    ms_error = squares[2] / ((n - 1) * (k - 1))
    notes: tuple[str, ...] = ()
    if no_variance:
        notes = ("all ratings are the same: no variance, so no intraclass correlation",)
        ms_rows, ms_columns, ms_error = 0.0, 0.0, 0.0
    columns = _icc_forms(
        np.array([ms_rows]), np.array([ms_columns]), np.array([ms_error]), np.array([float(n)]), k, confidence
    )
    ms_within = ((k - 1) * ms_error * (n - 1) + (k - 1) * ms_columns) / (n * (k - 1))
    with np.errstate(divide="ignore", invalid="ignore"):
        f_error, f_within = np.float64(ms_rows) / ms_error, np.float64(ms_rows) / ms_within
    two_way = float((n - 1) * (k - 1))
    return IntraclassCorrelations(
        forms=_ICC_FORMS,
        estimate=read_only(np.array([columns[form][0][0] for form in _ICC_FORMS])),
        ci_lower=read_only(np.array([columns[form][1][0] for form in _ICC_FORMS])),
        ci_upper=read_only(np.array([columns[form][2][0] for form in _ICC_FORMS])),
        f=read_only(np.array([f_within, f_error, f_error] * 2)),
        df1=read_only(np.full(6, n - 1.0)),
        df2=read_only(np.array([float(n * (k - 1)), two_way, two_way] * 2)),
        ms_rows=float(ms_rows),
        ms_columns=float(ms_columns),
        ms_error=float(ms_error),
        ms_within=float(ms_within),
        n_used=rows.n_used,
        n_dropped=rows.n_dropped,
        n_raters=k,
        confidence=confidence,
        notes=notes,
    )


def _icc_forms(
    ms_rows: FloatArray, ms_columns: FloatArray, ms_error: FloatArray, n: FloatArray, k: int, confidence: float
) -> dict[str, tuple[FloatArray, FloatArray, FloatArray]]:
    """Return estimate, lower and upper limit of each form; arrays over columns."""
    high = 1 - (1 - confidence) / 2
    r, c, e = ms_rows, ms_columns, ms_error
    with np.errstate(divide="ignore", invalid="ignore"):
        within = ((n - 1) * e + c) / n
        forms: dict[str, tuple[FloatArray, FloatArray, FloatArray]] = {}
        for single, average, error, df2 in (
            ("ICC(1)", "ICC(1,k)", within, n * (k - 1)),
            ("ICC(C,1)", "ICC(C,k)", e, (n - 1) * (k - 1)),
        ):
            by_lower = error * fdtri(n - 1, df2, high)
            by_upper = error / fdtri(df2, n - 1, high)
            forms[single] = (_share(r, error, k), _share(r, by_lower, k), _share(r, by_upper, k))
            forms[average] = ((r - error) / r, (r - by_lower) / r, (r - by_upper) / r)
        estimate = (r - e) / (r + (k - 1) * e + k * (c - e) / n)
        # Satterthwaite's degrees of freedom, multiplied out so that an ICC of 1 does not divide by zero.
        a, b = k * estimate, n * (1 - estimate) + k * estimate * (n - 1)
        v = (a * c + b * e) ** 2 / ((a * c) ** 2 / (k - 1) + (b * e) ** 2 / ((n - 1) * (k - 1)))
        v = np.where(np.isfinite(v) & (v > 0), v, 1.0)
        f_lower, f_upper = fdtri(n - 1, v, high), fdtri(v, n - 1, high)
        rest = k * c + (k * n - k - n) * e
        lower = n * (r - f_lower * e) / (f_lower * rest + n * r)
        upper = n * (f_upper * r - e) / (rest + n * f_upper * r)
        forms["ICC(A,1)"] = (estimate, lower, upper)
        forms["ICC(A,k)"] = ((r - e) / (r + (c - e) / n), _stepped_up(lower, k), _stepped_up(upper, k))
    return forms


def _share(ms_rows: FloatArray, error: FloatArray, k: int) -> FloatArray:
    return (ms_rows - error) / (ms_rows + (k - 1) * error)


def _stepped_up(single: FloatArray, k: int) -> FloatArray:
    return k * single / (1 + (k - 1) * single)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Agreement:
    """How far the two roles agree on each column. Arrays have one entry a column.

    `reading` says what agreement means on that column: self-other agreement, or meta-accuracy where the clinician
    guessed the patient's answer. With clinicians given, every interval comes from resampling whole clinicians.
    """

    names: tuple[str, ...]
    reading: tuple[str, ...]
    n_used: IntArray  # dyads with both values
    n_dropped: IntArray
    n_clinicians: int | None
    icc_1: Estimates
    icc_a1: Estimates
    icc_c1: Estimates
    icc_ak: Estimates
    icc_ck: Estimates
    kappa_quadratic: Estimates
    ac2: Estimates
    exact: Estimates
    within_one: Estimates
    bias: Estimates  # clinician minus patient
    categories: tuple[float, ...]  # the response scale behind kappa and AC2; empty where there is none
    confidence: float
    notes: tuple[str, ...]


def agreement(
    patient: npt.ArrayLike,
    clinician: npt.ArrayLike,
    *,
    names: Sequence[str] | None = None,
    categories: Sequence[float] | None = None,
    perspective: Sequence[str | None] | None = None,
    clinicians: npt.ArrayLike | None = None,
    confidence: float = 0.95,
    n_draws: int = 2000,
    rng: np.random.Generator | None = None,
    progress: Callable[[float, str], None] | None = None,
) -> Agreement:
    """Compare two roles' scores of the same dyads, column by column.

    Parameters
    ----------
    patient, clinician : array-like, shape (n_dyads, n_columns) or (n_dyads,)
        The same dyads in the same order; NaN for missing. A dyad counts for a column where both values are there.
    names : sequence of str, optional
        One a column.
    categories : sequence of float, optional
        The points of the response scale, needed where some point was never used. By default the whole numbers from the
        lowest to the highest value of all columns, or the values that occur if there are few.
    perspective : sequence of {'self_report', 'meta_perception', None}, optional
        What the clinician's item asks for, one a column.
    clinicians : array-like, shape (n_dyads,), optional
        The clinician of each dyad. Intervals then resample whole clinicians (20 or more).
    confidence : float
        Of the intervals.
    n_draws : int
        Resamples of clinicians.
    rng : numpy.random.Generator, optional
        Required with `clinicians`.
    progress : callable, optional
        Called with the share done and a text.

    Returns
    -------
    Agreement
        A figure that does not exist (no variance, one category) is NaN with a note; the others stand.

    Raises
    ------
    AnalysisInputError
        Shapes that differ, a role that is missing altogether, values off the categories, unknown perspectives.

    Notes
    -----
    ICCs with McGraw–Wong F intervals (see `intraclass_correlations`). κ_w = 1 − Σ d_ab·o_ab / Σ d_ab·e_ab with
    d = (a − b)² (Cohen 1968), its asymptotic standard error by Fleiss, Cohen & Everitt (1969, Psychol Bull 72:323).
    AC2 = (p_a − p_e)/(1 − p_e), p_e = T_w/(q(q−1))·Σ π_k(1 − π_k) with quadratic weights (Gwet 2014, ch. 4–5), its
    interval by Student's t. `exact` and `within_one` are shares of dyads (Wilson intervals) whose values are the same,
    or at most one point of the scale apart. R: `irr::icc`, `vcd::Kappa(table, weights = "Fleiss-Cohen")`,
    `irrCAC::gwet.ac1.table(table, quadratic.weights(1:q))`. `psych::cohen.kappa` has another, too large standard error.

    Examples
    --------
    >>> import numpy as np
    >>> patient = np.array([5, 4, 4, 3, 5, 2, 4, 5])
    >>> clinician = np.array([4, 4, 3, 3, 5, 3, 4, 4])
    >>> result = agreement(patient, clinician)
    >>> round(float(result.icc_a1.estimate[0]), 3), round(float(result.kappa_quadratic.estimate[0]), 3)
    (0.696, 0.667)
    >>> float(result.exact.estimate[0]), float(result.within_one.estimate[0]), float(result.bias.estimate[0])
    (0.5, 1.0, -0.25)
    """
    who = "agreement"
    require_confidence(confidence, who=who)
    p, c = as_two_roles(patient, clinician, who=who)
    n_columns = p.shape[1]
    codes = as_item_codes(names, n_columns, who=who)
    readings = _readings(perspective, n_columns)
    groups = groups_to_resample(clinicians, len(p), rng, who=who)
    both = ~(np.isnan(p) | np.isnan(c))
    p, c = np.where(both, p, np.nan), np.where(both, c, np.nan)
    n = both.sum(axis=0)
    notes = _few_dyads(codes, n)
    scale, scale_note = _response_scale(p, c, categories)
    if scale_note:
        notes.append(scale_note)
    sums = _Sums.of(p, c, scale)
    point = _statistics(sums.totals(), scale)
    intervals = _iid_intervals(sums.totals(), point, scale, confidence)
    method = dict.fromkeys(_STATISTICS, "F") | {
        "kappa_quadratic": "normal",
        "ac2": "t",
        "exact": "Wilson",
        "within_one": "Wilson",
        "bias": "t",
    }
    if groups is not None and rng is not None:
        notes += rules_for(groups.n_clinicians).notes
        method = dict.fromkeys(_STATISTICS, "bootstrap of clinicians, percentile")
        resampled = _resampled(sums.by_group(groups), scale, n_columns, groups, n_draws, rng, confidence, progress)
        intervals = resampled
    notes += _undefined(codes, point, n, p, c)
    figures = {
        name: Estimates(
            estimate=read_only(np.where(n >= 3, point[name], np.nan)),
            se=read_only(np.where(n >= 3, intervals[name][0], np.nan)),
            ci_lower=read_only(np.where(n >= 3, intervals[name][1], np.nan)),
            ci_upper=read_only(np.where(n >= 3, intervals[name][2], np.nan)),
            method=method[name],
        )
        for name in _STATISTICS
    }
    return Agreement(
        names=codes,
        reading=readings,
        n_used=read_only(n.astype(np.int64)),
        n_dropped=read_only((len(p) - n).astype(np.int64)),
        n_clinicians=None if groups is None else groups.n_clinicians,
        categories=() if scale is None else tuple(float(point) for point in scale),
        confidence=confidence,
        notes=tuple(notes),
        **figures,
    )


_STATISTICS: Final = (
    "icc_1",
    "icc_a1",
    "icc_c1",
    "icc_ak",
    "icc_ck",
    "kappa_quadratic",
    "ac2",
    "exact",
    "within_one",
    "bias",
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Totals:
    """Sums over dyads; each (n_draws, n_columns), values about a centre common to both roles."""

    n: FloatArray
    p: FloatArray
    c: FloatArray
    pp: FloatArray
    cc: FloatArray
    pc: FloatArray
    exact: FloatArray
    within_one: FloatArray
    tables: FloatArray | None  # (n_draws, n_columns, q): both roles' uses of each category, or None
    cells: FloatArray | None  # (n_columns, q, q): the whole table, for standard errors; only of the data themselves
    size: FloatArray  # (n_columns,): squared size of the values, against which rounding is judged


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Sums:
    """What each dyad adds to the totals."""

    parts: FloatArray  # (8, n_dyads, n_columns)
    positions: tuple[IntArray, IntArray] | None  # category of the patient's and clinician's value, −1 where missing
    n_categories: int
    size: FloatArray

    @classmethod
    def of(cls, p: FloatArray, c: FloatArray, scale: FloatArray | None) -> "_Sums":
        both = ~np.isnan(p)
        present = both.astype(np.float64)
        n = np.maximum(present.sum(axis=0), 1.0)
        p0, c0 = np.where(both, p, 0.0), np.where(both, c, 0.0)
        centre = (p0.sum(axis=0) + c0.sum(axis=0)) / (2 * n)
        positions = None
        if scale is None:
            x, y = p0, c0
        else:
            at_p, at_c = np.searchsorted(scale, p0), np.searchsorted(scale, c0)
            at_p, at_c = np.minimum(at_p, len(scale) - 1), np.minimum(at_c, len(scale) - 1)
            positions = (np.where(both, at_p, -1), np.where(both, at_c, -1))
            x, y = at_p.astype(np.float64), at_c.astype(np.float64)
        distance = np.abs(x - y)
        p1, c1 = np.where(both, p0 - centre, 0.0), np.where(both, c0 - centre, 0.0)
        parts = np.stack(
            [present, p1, c1, p1 * p1, c1 * c1, p1 * c1, present * (distance == 0), present * (distance <= 1)]
        )
        size = (np.abs(p0).max(axis=0) + np.abs(c0).max(axis=0)) ** 2
        return cls(
            parts=parts,
            positions=positions,
            n_categories=0 if scale is None else len(scale),
            size=np.maximum(size, 1e-300),
        )

    def totals(self) -> _Totals:
        cells = None
        margins = None
        if self.positions is not None:
            q = self.n_categories
            columns = self.parts.shape[2]
            at_p, at_c = self.positions
            flat = np.where(at_p >= 0, (np.arange(columns) * q + at_p) * q + at_c, -1)
            cells = np.bincount(flat[flat >= 0], minlength=columns * q * q).reshape(columns, q, q).astype(np.float64)
            margins = (cells.sum(axis=1) + cells.sum(axis=2))[None]
        return _Totals(**self._named(self.parts.sum(axis=1)[:, None, :]), tables=margins, cells=cells, size=self.size)

    def _named(self, parts: FloatArray) -> dict[str, FloatArray]:
        return dict(zip(("n", "p", "c", "pp", "cc", "pc", "exact", "within_one"), parts, strict=True))

    def by_group(self, groups: ClinicianGroups) -> Callable[[FloatArray], _Totals]:
        """Return the totals as a function of how often each clinician was drawn, (n_draws, n_clinicians)."""
        k, columns = groups.n_clinicians, self.parts.shape[2]
        sums = np.add.reduceat(self.parts[:, groups.order], groups.starts, axis=1)  # (8, k, columns)
        margins = None
        if self.positions is not None:
            q = self.n_categories
            margins = np.zeros((k * columns * q,))
            for at in self.positions:
                flat = np.where(at >= 0, (groups.codes[:, None] * columns + np.arange(columns)) * q + at, -1)
                margins += np.bincount(flat[flat >= 0], minlength=k * columns * q)
            margins = margins.reshape(k, columns * q)

        def totals(counts: FloatArray) -> _Totals:
            drawn = np.stack([counts @ part for part in sums])
            tables = None if margins is None else (counts @ margins).reshape(len(counts), columns, -1)
            return _Totals(**self._named(drawn), tables=tables, cells=None, size=self.size)

        return totals


def _statistics(totals: _Totals, scale: FloatArray | None) -> dict[str, FloatArray]:
    """Return every statistic, (n_draws, n_columns) each; NaN where undefined. Drops the first axis if it is one."""
    t, n = totals, totals.n
    with np.errstate(divide="ignore", invalid="ignore"):
        d_sum, d_squares = t.c - t.p, t.pp + t.cc - 2 * t.pc
        s_sum, s_squares = t.c + t.p, t.pp + t.cc + 2 * t.pc
        ms_rows = np.maximum(s_squares - s_sum**2 / n, 0.0) / (2 * (n - 1))
        ms_error = np.maximum(d_squares - d_sum**2 / n, 0.0) / (2 * (n - 1))
        ms_columns = d_sum**2 / (2 * n)
        # Rounding leaves dust instead of zeros: of the sums of squares, and of the values before centring.
        dust = 1e-13 * (t.pp + t.cc) / n + _NO_VARIANCE * 1e-4 * t.size
        ms_rows, ms_error, ms_columns = (np.where(ms > dust, ms, 0.0) for ms in (ms_rows, ms_error, ms_columns))
        within = ((n - 1) * ms_error + ms_columns) / n
        result = {
            "icc_1": (ms_rows - within) / (ms_rows + within),
            "icc_a1": (ms_rows - ms_error) / (ms_rows + ms_error + 2 * (ms_columns - ms_error) / n),
            "icc_c1": (ms_rows - ms_error) / (ms_rows + ms_error),
            "icc_ak": (ms_rows - ms_error) / (ms_rows + (ms_columns - ms_error) / n),
            "icc_ck": (ms_rows - ms_error) / ms_rows,
            "exact": t.exact / n,
            "within_one": t.within_one / n,
            "bias": d_sum / n,
            "ms_rows": ms_rows,
            "ms_columns": ms_columns,
            "ms_error": ms_error,
        }
        result["icc_ck"] = np.where(ms_rows > 0, result["icc_ck"], np.nan)
        undefined = np.full_like(n, np.nan)
        result["kappa_quadratic"], result["ac2"] = undefined, undefined.copy()
        if scale is not None and t.tables is not None:
            by_chance = t.pp / n + t.cc / n - 2 * (t.p / n) * (t.c / n)
            result["kappa_quadratic"] = np.where(by_chance > dust, 1 - (d_squares / n) / by_chance, np.nan)
            width = (scale[-1] - scale[0]) ** 2
            weights = 1 - (scale[:, None] - scale[None, :]) ** 2 / width
            q = len(scale)
            share = t.tables / (2 * n[..., None])
            chance = weights.sum() / (q * (q - 1)) * (share * (1 - share)).sum(axis=-1)
            agreed = 1 - d_squares / n / width
            result["ac2"] = np.where(1 - chance > 1e-12, (agreed - chance) / (1 - chance), np.nan)
    if n.shape[0] == 1:
        return {name: values[0] for name, values in result.items()}
    return result


def _iid_intervals(
    totals: _Totals, point: dict[str, FloatArray], scale: FloatArray | None, confidence: float
) -> dict[str, tuple[FloatArray, FloatArray, FloatArray]]:
    """Return standard error and limits of each statistic, dyads taken as independent."""
    n = totals.n[0]
    none = np.full(len(n), np.nan)
    forms = _icc_forms(point["ms_rows"], point["ms_columns"], point["ms_error"], n, 2, confidence)
    named = {"icc_1": "ICC(1)", "icc_a1": "ICC(A,1)", "icc_c1": "ICC(C,1)", "icc_ak": "ICC(A,k)", "icc_ck": "ICC(C,k)"}
    intervals = {name: (none, forms[form][1], forms[form][2]) for name, form in named.items()}
    z = float(ndtri(1 - (1 - confidence) / 2))
    with np.errstate(divide="ignore", invalid="ignore"):
        t = stdtrit(np.maximum(n - 1, 1.0), 1 - (1 - confidence) / 2)
        for name in ("exact", "within_one"):
            share = point[name]
            middle = (share + z * z / (2 * n)) / (1 + z * z / n)
            half = z / (1 + z * z / n) * np.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
            intervals[name] = (np.sqrt(share * (1 - share) / n), middle - half, middle + half)
        se = np.sqrt(2 * point["ms_error"] / n)
        intervals["bias"] = (se, point["bias"] - t * se, point["bias"] + t * se)
        kappa_se, ac2_se = _chance_corrected_errors(totals, point, scale)
        kappa, ac2 = point["kappa_quadratic"], point["ac2"]
        intervals["kappa_quadratic"] = (kappa_se, kappa - z * kappa_se, np.minimum(kappa + z * kappa_se, 1.0))
        intervals["ac2"] = (ac2_se, ac2 - t * ac2_se, np.minimum(ac2 + t * ac2_se, 1.0))
    return intervals


def _chance_corrected_errors(
    totals: _Totals, point: dict[str, FloatArray], scale: FloatArray | None
) -> tuple[FloatArray, FloatArray]:
    """Return the asymptotic standard errors of weighted kappa and AC2."""
    n = totals.n[0]
    if scale is None or totals.cells is None:
        return np.full(len(n), np.nan), np.full(len(n), np.nan)
    q = len(scale)
    weights = 1 - (scale[:, None] - scale[None, :]) ** 2 / (scale[-1] - scale[0]) ** 2
    cells = totals.cells / n[:, None, None]
    of_patient, of_clinician = cells.sum(axis=2), cells.sum(axis=1)
    kappa, ac2 = point["kappa_quadratic"][:, None, None], point["ac2"][:, None, None]
    agreed = (cells * weights).sum(axis=(1, 2))
    chance = np.einsum("ma,ab,mb->m", of_patient, weights, of_clinician)
    mean_weights = (of_clinician @ weights)[:, :, None] + (of_patient @ weights)[:, None, :]
    first = (cells * (weights - mean_weights * (1 - kappa)) ** 2).sum(axis=(1, 2))
    second = (agreed - 2 * (1 - kappa[:, 0, 0]) * chance) ** 2
    kappa_se = np.sqrt(np.maximum(first - second, 0.0) / n) / (1 - chance)
    share = (of_patient + of_clinician) / 2
    factor = weights.sum() / (q * (q - 1))
    chance = factor * (share * (1 - share)).sum(axis=1)
    spread = 1 - (share[:, :, None] + share[:, None, :]) / 2
    first = (cells * (weights - 2 * (1 - ac2) * factor * spread) ** 2).sum(axis=(1, 2))
    second = (agreed - 2 * (1 - ac2[:, 0, 0]) * chance) ** 2
    ac2_se = np.sqrt(np.maximum(first - second, 0.0) / n) / (1 - chance)
    return kappa_se, ac2_se


def _resampled(
    totals: Callable[[FloatArray], _Totals],
    scale: FloatArray | None,
    n_columns: int,
    groups: ClinicianGroups,
    n_draws: int,
    rng: np.random.Generator,
    confidence: float,
    progress: Callable[[float, str], None] | None,
) -> dict[str, tuple[FloatArray, FloatArray, FloatArray]]:
    """Return standard error and percentile limits of each statistic over resamples of whole clinicians."""

    def statistic(counts: FloatArray) -> FloatArray:
        values = _statistics(totals(counts), scale)
        return np.concatenate([values[name].reshape(len(counts), n_columns) for name in _STATISTICS], axis=1)

    outcome = bootstrap_clinicians(
        statistic,
        n_clinicians=groups.n_clinicians,
        n_draws=n_draws,
        rng=rng,
        confidence=confidence,
        progress=progress,
    )
    shaped = [part.reshape(len(_STATISTICS), n_columns) for part in (outcome.se, outcome.ci_lower, outcome.ci_upper)]
    return {name: (shaped[0][i], shaped[1][i], shaped[2][i]) for i, name in enumerate(_STATISTICS)}


def _response_scale(
    p: FloatArray, c: FloatArray, categories: Sequence[float] | None
) -> tuple[FloatArray | None, str | None]:
    """Return the points of the response scale, or None and why there is none."""
    values = np.unique(np.concatenate([p[~np.isnan(p)], c[~np.isnan(c)]]))
    if categories is not None:
        scale = np.unique(np.asarray(categories, dtype=np.float64))
        if len(scale) < 2:
            raise AnalysisInputError(
                f"agreement requires a response scale of at least two points; got {len(scale)}. "
                "Remedy: pass every point of the scale."
            )
        off = np.setdiff1d(values, scale)
        if len(off):
            raise AnalysisInputError(
                f"agreement requires values on the {len(scale)}-point response scale; {len(off)} value(s) lie off it. "
                "Remedy: pass every point of the scale, or recode reasons for absence to missing."
            )
        return scale, None
    if len(values) == 0:
        return None, None
    whole = bool(np.all(values == np.round(values)))
    if whole and 1 <= values[-1] - values[0] < MAXIMUM_CATEGORIES:
        return np.arange(values[0], values[-1] + 1), (
            f"kappa and AC2 take the response scale to be {values[0]:g} to {values[-1]:g}, the range of all columns: "
            "give the categories where it is another"
        )
    if 2 <= len(values) <= 25:
        return values, f"kappa and AC2 take the response scale to be the {len(values)} values that occur in all columns"
    if len(values) == 1:
        return None, "all values are the same: kappa and AC2 need a scale of at least two points"
    return None, (
        "kappa and AC2 are not given: the values are no response scale (more than 25 different, not whole numbers); "
        "within_one is the share at most 1 apart"
    )


def _undefined(
    codes: Sequence[str], point: dict[str, FloatArray], n: IntArray, p: FloatArray, c: FloatArray
) -> list[str]:
    """Name the columns that lack a figure, with the reason."""
    notes = []
    usable = n >= 3
    flat = usable & np.isnan(point["icc_c1"])
    if flat.any():
        names = listed([code for code, is_flat in zip(codes, flat, strict=True) if is_flat])
        notes.append(f"no variance in either role, so no ICC, and no kappa where only one value occurs: {names}")
    for values, role in ((p, "patients"), (c, "clinicians")):
        with np.errstate(invalid="ignore"):
            low = np.where(np.isnan(values), np.inf, values).min(axis=0)
            high = np.where(np.isnan(values), -np.inf, values).max(axis=0)
        constant = [
            code for code, one, is_flat in zip(codes, usable & (low == high), flat, strict=True) if one and not is_flat
        ]
        if constant:
            notes.append(f"all {role} gave the same value, so agreement beyond chance cannot show: {listed(constant)}")
    return notes


def _few_dyads(codes: Sequence[str], n: IntArray) -> list[str]:
    few = [f"{code} ({count})" for code, count in zip(codes, n, strict=True) if count < 3]
    return [f"fewer than 3 dyads with both values, so nothing is given: {listed(few)}"] if few else []


def _readings(perspective: Sequence[str | None] | None, n_columns: int) -> tuple[str, ...]:
    kinds = [None] * n_columns if perspective is None else list(perspective)
    if len(kinds) != n_columns:
        raise AnalysisInputError(
            f"agreement requires one perspective a column; got {len(kinds)} for {n_columns} columns. "
            "Remedy: pass self_report or meta_perception for each column, None where it does not apply."
        )
    return tuple(reading_of(kind) for kind in kinds)


def groups_to_resample(
    clinicians: npt.ArrayLike | None, n_rows: int, rng: np.random.Generator | None, *, who: str
) -> ClinicianGroups | None:
    """Return the clinicians of the dyads, or None where none are given; a generator is then required."""
    if clinicians is None:
        return None
    if rng is None:
        raise AnalysisInputError(
            f"{who} requires a random generator to resample clinicians; got none. "
            "Remedy: pass rng=numpy.random.default_rng(seed)."
        )
    return group_by_clinician(clinicians, who=who, n_rows=n_rows)


def require_confidence(confidence: float, *, who: str) -> None:
    """Raise `AnalysisInputError` for a confidence that is not between 0 and 1."""
    if not 0 < confidence < 1:
        raise AnalysisInputError(f"{who} requires a confidence between 0 and 1; got {confidence}. Remedy: use 0.95.")
