"""What a model of ordinal items is fitted to: thresholds, correlations, and how uncertain they are together.

The order of the moments is lavaan's: for every variable in turn its thresholds (ordinal) or minus its mean (measured);
then the variances of the measured variables; then the covariances of the pairs (0, 1), (0, 2) … (1, 2) …, which are
polychoric correlations where both are ordinal and polyserial ones times the standard deviation where one is measured.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr

from analysis.psychometrics.correlations.ordinal_tables import (
    BEYOND,
    OrdinalCodes,
    encode_ordinal,
    tabulate_pairs,
    thresholds_of,
)
from analysis.psychometrics.correlations.polychoric import (
    TINY_PROBABILITY,
    cell_differences,
    cell_probabilities,
    corner_densities,
    fit_pairs,
    pair_counts,
    pair_notes,
    symmetric,
    usable_rows,
)
from analysis.psychometrics.correlations.polyserial import (
    PolyserialScores,
    improbable_rows,
    pearson_rho,
    polyserial_rho,
    polyserial_scores,
)
from analysis.psychometrics.errors import AnalysisInputError
from analysis.psychometrics.response_matrix import FloatArray, IntArray, Missing, as_item_codes, read_only

Asymptotic = Literal["full", "diagonal", "none"]
_NUMBERS_AT_ONCE = 4_000_000  # influence values worked on at once, to bound memory


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OrdinalMoments:
    """Thresholds, means, covariances and their asymptotic covariance matrix, of one group of respondents.

    `moments` holds what a model has to reproduce, in lavaan's order (see the module); `nacov` is n_used times its
    sampling covariance (lavaan's `gamma`), `nacov_diagonal` its diagonal, whose reciprocals are the DWLS weights.
    `influence`, if kept, has a row for each respondent so that `nacov = influence.T @ influence / n_used`.
    """

    item_codes: tuple[str, ...]
    ordered: tuple[bool, ...]
    categories: tuple[FloatArray, ...]  # of the ordinal items, the values found; empty for measured variables
    thresholds: tuple[FloatArray, ...]  # of the ordinal items; empty for measured variables
    means: FloatArray  # (n_items,): 0 for ordinal items
    variances: FloatArray  # (n_items,): 1 for ordinal items; divisor n
    correlation: FloatArray  # (n_items, n_items)
    covariance: FloatArray  # (n_items, n_items)
    moments: FloatArray  # (n_moments,)
    moment_names: tuple[str, ...]  # `x1|t1`, `y~1`, `y~~y`, `x1~~x2`
    threshold_items: IntArray  # (thresholds and means,): the variable that each belongs to, by position
    nacov: FloatArray | None  # (n_moments, n_moments)
    nacov_diagonal: FloatArray | None  # (n_moments,)
    influence: FloatArray | None  # (n_used, n_moments)
    n_pairs: IntArray  # (n_items, n_items): rows behind each pair
    n_used: int  # complete rows; all rows with any answer (pairwise)
    n_dropped: int
    missing: Missing
    notes: tuple[str, ...]


def ordinal_moments(
    data: npt.ArrayLike,
    *,
    item_codes: Sequence[str] | None = None,
    ordered: Sequence[bool] | None = None,
    missing: Missing = "listwise",
    levels: Sequence[Sequence[float]] | None = None,
    asymptotic: Asymptotic = "full",
    keep_influence: bool = False,
) -> OrdinalMoments:
    """Estimate thresholds, polychoric and polyserial correlations and their asymptotic covariance matrix.

    Parameters
    ----------
    data : array-like, shape (n_respondents, n_items)
        Answers of one group; NaN for missing. For several groups call once for each, with `levels`.
    item_codes : sequence of str, optional
        Names for messages and moments.
    ordered : sequence of bool, optional
        For each column whether it is ordinal; all of them, if absent.
    missing : {'listwise', 'pairwise'}
        Complete respondents; or each statistic from all rows that hold what it needs, as in lavaan.
    levels : sequence of sequences of float, optional
        For each column the values that have to occur (ignored for measured variables), so that groups share thresholds.
    asymptotic : {'full', 'diagonal', 'none'}
        How much of the asymptotic covariance matrix to compute.
    keep_influence : bool
        Keep the respondents' rows of influence (n_used × n_moments numbers).

    Raises
    ------
    AnalysisInputError
        An item with one category, a level without answers, a pair nobody answered both of, a measured variable without
        variance, fewer than two rows, or a correlation of ±1 when uncertainty is asked for.

    Notes
    -----
    Muthén (1984), as lavaan 0.6-14 computes it. With SC the scores of the univariate and bivariate likelihoods,
    B = [[A₁₁, 0], [A₂₁, A₂₂]] the sums of their products (A₁₁ within variables, A₂₂ diagonal), the covariance matrix is
    B⁻¹ (SC'SC) B⁻ᵀ. Unlike lavaan, every row counts for a polyserial correlation, however extreme its measurement:
    lavaan leaves out rows whose likelihood is below 1.5e-8, which depends on the unit; a note says where that would
    make a difference. For ordinal items a row's influence on a correlation depends only on its pair of categories, so
    that the tables of all pairs give every sum except those between different pairs. R: `lavInspect(fit, "gamma")` and
    `lavInspect(fit, "wls.obs")` of `lavaan::cfa(…, ordered = TRUE)`.

    Examples
    --------
    >>> import numpy as np
    >>> table = np.array([[40, 10], [20, 30]])
    >>> rows = np.repeat([[1.0, 1.0], [1.0, 2.0], [2.0, 1.0], [2.0, 2.0]], table.ravel(), axis=0)
    >>> result = ordinal_moments(rows, item_codes=["x1", "x2"])
    >>> dict(zip(result.moment_names, result.moments.round(3).tolist(), strict=True))
    {'x1|t1': 0.0, 'x2|t1': 0.253, 'x1~~x2': 0.607}
    >>> np.sqrt(np.diag(result.nacov) / result.n_used).round(3).tolist()  # standard errors
    [0.125, 0.127, 0.115]
    """
    who = "ordinal_moments"
    values, n_rows = usable_rows(data, missing, who=who, item_codes=item_codes)
    if missing == "pairwise":
        values = values[~np.isnan(values).all(axis=1)]
    codes = as_item_codes(item_codes, values.shape[1], who=who)
    is_ordinal = _as_ordered(ordered, len(codes), who=who)
    if asymptotic not in ("full", "diagonal", "none"):
        raise AnalysisInputError(
            f"{who} requires asymptotic='full', 'diagonal' or 'none'; got {asymptotic!r}. Remedy: choose one of these."
        )
    estimates = _estimate(values, codes, is_ordinal, levels, who=who)
    nacov, diagonal, influence = None, None, None
    if asymptotic != "none" or keep_influence:
        estimates.refuse_perfect_pairs(who=who)
        nacov, diagonal, influence = _uncertainty(estimates, asymptotic, keep_influence)
        _refuse_certainty(diagonal, estimates, who=who)
    return OrdinalMoments(
        item_codes=codes,
        ordered=tuple(bool(flag) for flag in is_ordinal),
        categories=estimates.categories(),
        thresholds=estimates.thresholds_by_item(),
        means=read_only(estimates.means),
        variances=read_only(estimates.variances),
        correlation=read_only(estimates.correlation),
        covariance=read_only(estimates.covariance),
        moments=read_only(estimates.moments()),
        moment_names=estimates.moment_names(),
        threshold_items=read_only(estimates.threshold_items()),
        nacov=nacov if nacov is None else read_only(nacov),
        nacov_diagonal=diagonal if diagonal is None else read_only(diagonal),
        influence=influence if influence is None else read_only(influence),
        n_pairs=read_only(estimates.counts),
        n_used=len(values),
        n_dropped=n_rows - len(values),
        missing=missing,
        notes=estimates.notes,
    )


def correlation_standard_errors(
    data: npt.ArrayLike,
    *,
    item_codes: Sequence[str] | None = None,
    ordered: Sequence[bool] | None = None,
    missing: Missing = "listwise",
) -> FloatArray:
    """Return the standard errors of the polychoric, polyserial and Pearson correlations, zero on the diagonal.

    Parameters and errors as of `ordinal_moments`. For a measured variable the standard error of the covariance is
    turned into that of the correlation by the delta method, its estimated variance being taken into account.

    Examples
    --------
    >>> import numpy as np
    >>> table = np.array([[40, 10], [20, 30]])
    >>> rows = np.repeat([[1.0, 1.0], [1.0, 2.0], [2.0, 1.0], [2.0, 2.0]], table.ravel(), axis=0)
    >>> float(correlation_standard_errors(rows)[0, 1].round(3))
    0.115
    """
    n_items = np.shape(data)[-1] if np.ndim(data) else 0
    all_ordinal = ordered is None or all(ordered)
    result = ordinal_moments(
        data,
        item_codes=item_codes,
        ordered=ordered,
        missing=missing,
        asymptotic="diagonal" if all_ordinal else "full",
    )
    first, second = np.triu_indices(n_items, k=1)
    errors = np.zeros((n_items, n_items))
    if result.nacov is None:
        variances = np.zeros(len(first)) if result.nacov_diagonal is None else result.nacov_diagonal[-len(first) :]
    else:
        gradient = np.zeros((len(first), len(result.moments)))
        pairs = np.arange(len(first))
        sd = np.sqrt(result.variances)
        gradient[pairs, len(result.moments) - len(first) + pairs] = 1 / (sd[first] * sd[second])
        column = len(result.threshold_items)
        for item in np.flatnonzero(~np.array(result.ordered)):
            involved = (first == item) | (second == item)
            rho = result.correlation[first[involved], second[involved]]
            gradient[pairs[involved], column] = -rho / (2 * result.variances[item])
            column += 1
        variances = np.einsum("pm,mk,pk->p", gradient, result.nacov, gradient, optimize=True)
    errors[first, second] = errors[second, first] = np.sqrt(variances / result.n_used)
    return read_only(errors)


def _as_ordered(ordered: Sequence[bool] | None, n_items: int, *, who: str) -> npt.NDArray[np.bool_]:
    if ordered is None:
        return np.ones(n_items, dtype=np.bool_)
    flags = np.asarray(ordered, dtype=np.bool_)
    if flags.shape != (n_items,):
        raise AnalysisInputError(
            f"{who} requires one flag per column in `ordered`; got {flags.size} for {n_items} columns. "
            "Remedy: say of each column whether it is ordinal."
        )
    return flags


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Estimates:
    """Everything estimated from the rows, by position of the item."""

    codes: tuple[str, ...]
    ordinal: IntArray  # positions of the ordinal items
    measured: IntArray  # positions of the others
    encoded: OrdinalCodes  # of the ordinal items only
    tables: FloatArray  # of the pairs of ordinal items
    thresholds: FloatArray  # (most categories − 1, n_ordinal)
    standardised: FloatArray  # (n_rows, n_measured)
    means: FloatArray
    variances: FloatArray
    correlation: FloatArray
    covariance: FloatArray
    counts: IntArray
    notes: tuple[str, ...]

    @property
    def n_rows(self) -> int:
        return len(self.standardised)

    @property
    def n_items(self) -> int:
        return len(self.codes)

    def sizes(self) -> IntArray:
        """Return how many entries each item has in the first block of the moments."""
        sizes = np.ones(self.n_items, dtype=np.int64)
        sizes[self.ordinal] = self.encoded.n_categories - 1 if len(self.ordinal) else 0
        return sizes

    def threshold_items(self) -> IntArray:
        return np.repeat(np.arange(self.n_items), self.sizes())

    def categories(self) -> tuple[FloatArray, ...]:
        found: list[FloatArray] = [read_only(np.zeros(0)) for _ in self.codes]
        for place, position in enumerate(self.ordinal):
            found[position] = read_only(self.encoded.categories[place])
        return tuple(found)

    def thresholds_by_item(self) -> tuple[FloatArray, ...]:
        found: list[FloatArray] = [read_only(np.zeros(0)) for _ in self.codes]
        for place, position in enumerate(self.ordinal):
            n_thresholds = len(self.encoded.categories[place]) - 1
            found[position] = read_only(self.thresholds[:n_thresholds, place].copy())
        return tuple(found)

    def moments(self) -> FloatArray:
        measured = set(self.measured.tolist())
        first_block = [
            np.array([-self.means[position]]) if position in measured else own
            for position, own in enumerate(self.thresholds_by_item())
        ]
        pairs = np.triu_indices(self.n_items, k=1)
        return np.concatenate([*first_block, self.variances[self.measured], self.covariance[pairs]])

    def moment_names(self) -> tuple[str, ...]:
        names: list[str] = []
        measured = set(self.measured.tolist())
        for position, own in enumerate(self.thresholds_by_item()):
            code = self.codes[position]
            names += [f"{code}~1"] if position in measured else [f"{code}|t{t + 1}" for t in range(len(own))]
        names += [f"{self.codes[position]}~~{self.codes[position]}" for position in self.measured]
        first, second = np.triu_indices(self.n_items, k=1)
        names += [f"{self.codes[one]}~~{self.codes[two]}" for one, two in zip(first, second, strict=True)]
        return tuple(names)

    def refuse_perfect_pairs(self, *, who: str) -> None:
        first, second = np.triu_indices(self.n_items, k=1)
        perfect = np.flatnonzero(np.abs(self.correlation[first, second]) >= 1)
        if len(perfect):
            one, two = first[perfect[0]], second[perfect[0]]
            raise AnalysisInputError(
                f"{who} requires items that differ; {self.codes[one]} and {self.codes[two]} agree perfectly, so that "
                "their correlation has no standard error. Remedy: leave one of them out, and check that no column was "
                "entered twice."
            )


def _estimate(
    values: FloatArray,
    codes: tuple[str, ...],
    is_ordinal: npt.NDArray[np.bool_],
    levels: Sequence[Sequence[float]] | None,
    *,
    who: str,
) -> _Estimates:
    ordinal, measured = np.flatnonzero(is_ordinal), np.flatnonzero(~is_ordinal)
    if levels is not None and len(levels) != len(codes):
        raise AnalysisInputError(
            f"{who} requires levels for each column; got {len(levels)} for {len(codes)} columns. "
            "Remedy: pass one sequence per column, an empty one for a measured variable."
        )
    encoded = encode_ordinal(
        values[:, ordinal],
        [codes[position] for position in ordinal],
        who=who,
        levels=None if levels is None else [levels[int(position)] for position in ordinal],
    )
    _refuse_constant(values, codes, encoded, ordinal, measured, who=who)
    n_items = len(codes)
    means, variances = np.zeros(n_items), np.ones(n_items)
    notes: list[str] = []
    correlation = np.eye(n_items)
    counts = _counts(values)
    thresholds, tables = np.zeros((0, len(ordinal))), np.zeros((0, 0, 0))
    if len(ordinal):
        thresholds = thresholds_of(encoded)
        tables, first, second = tabulate_pairs(encoded)
        _refuse_empty_pairs(counts, codes, who=who)
        fit = fit_pairs(tables, thresholds, first, second, encoded.n_categories)
        correlation[np.ix_(ordinal, ordinal)] = symmetric(fit.rho, len(ordinal))
        notes += pair_notes(
            fit, [codes[i] for i in ordinal], first, second, encoded.n_categories, pair_counts(tables, encoded)
        )
    standardised = values[:, measured].copy()
    if len(measured):
        _refuse_empty_pairs(counts, codes, who=who)
        means[measured] = np.nanmean(standardised, axis=0)
        standardised -= means[measured]
        variances[measured] = np.nanmean(standardised**2, axis=0)
        standardised /= np.sqrt(variances[measured])
    for place, position in enumerate(measured):
        z = standardised[:, place]
        rho, converged = polyserial_rho(z, encoded.numbers, thresholds)
        correlation[position, ordinal] = correlation[ordinal, position] = rho
        improbable = improbable_rows(z, float(np.sqrt(variances[position])), encoded.numbers, thresholds, rho)
        if improbable.any():
            notes.append(
                f"{codes[position]} has extreme values in up to {int(improbable.max())} rows that lavaan leaves out of "
                "its polyserial correlations, by a rule that depends on the unit of measurement; here every row counts"
            )
        if not converged.all():
            unsettled = ", ".join(codes[i] for i in ordinal[~converged])
            notes.append(f"the search for the correlation did not settle: {codes[position]} with {unsettled}")
        for other in range(place + 1, len(measured)):
            r = pearson_rho(z, standardised[:, other])
            correlation[position, measured[other]] = correlation[measured[other], position] = r
    smallest = float(np.linalg.eigvalsh(correlation)[0])
    if smallest <= 0:
        notes.append(
            f"the correlation matrix is not positive definite (smallest eigenvalue {smallest:.3g}): correlations "
            "that are estimated pair by pair can contradict one another"
        )
    sd = np.sqrt(variances)
    covariance = correlation * np.outer(sd, sd)
    np.fill_diagonal(covariance, variances)
    return _Estimates(
        codes=codes,
        ordinal=ordinal,
        measured=measured,
        encoded=encoded,
        tables=tables,
        thresholds=thresholds,
        standardised=standardised,
        means=means,
        variances=variances,
        correlation=correlation,
        covariance=covariance,
        counts=counts,
        notes=tuple(notes),
    )


def _counts(values: FloatArray) -> IntArray:
    present = (~np.isnan(values)).astype(np.float32)
    if len(values) < 2**24:
        return np.asarray(np.rint(present.T @ present), dtype=np.int64)
    wide = present.astype(np.float64)
    return np.asarray(np.rint(wide.T @ wide), dtype=np.int64)


def _refuse_constant(
    values: FloatArray,
    codes: tuple[str, ...],
    encoded: OrdinalCodes,
    ordinal: IntArray,
    measured: IntArray,
    *,
    who: str,
) -> None:
    constant = [codes[position] for position, found in zip(ordinal, encoded.categories, strict=True) if len(found) < 2]
    for position in measured:
        column = values[:, position]
        answers = column[~np.isnan(column)]
        # Rounding dust is not variance.
        if not len(answers) or np.ptp(answers) <= 1e-12 * max(1.0, float(np.abs(answers).max())):
            constant.append(codes[position])
    if constant:
        raise AnalysisInputError(
            f"{who} requires items that vary between respondents; constant or empty among the rows used: "
            f"{', '.join(constant)}. Remedy: leave these items out, or wait for more forms."
        )


def _refuse_empty_pairs(counts: IntArray, codes: tuple[str, ...], *, who: str) -> None:
    empty = np.argwhere(np.triu(counts < 2, k=1))
    if len(empty):
        one, two = empty[0]
        raise AnalysisInputError(
            f"{who} requires respondents who answered both items of every pair; {codes[one]} and {codes[two]} share "
            f"{int(counts[one, two])}. Remedy: leave one of them out, or wait for more forms."
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _InfluenceTables:
    """What a row's influence is looked up in, by its categories (0 missing), scaled by the number of rows."""

    thresholds: tuple[FloatArray, ...]  # for each ordinal item (categories + 1, thresholds)
    pairs: FloatArray  # (n_ordinal pairs, most categories + 1, most categories + 1)


def _uncertainty(
    estimates: _Estimates, asymptotic: Asymptotic, keep_influence: bool
) -> tuple[FloatArray | None, FloatArray | None, FloatArray | None]:
    """Return the asymptotic covariance matrix, its diagonal and the rows of influence, as far as wanted."""
    influences = _Influences(estimates)
    n_rows, n_moments = estimates.n_rows, influences.n_moments
    nacov: FloatArray | None = None
    diagonal: FloatArray | None = None
    influence: FloatArray | None = None
    if asymptotic == "diagonal" and not keep_influence and not len(estimates.measured):
        return None, influences.diagonal_from_tables(), None
    if asymptotic == "full":
        nacov = np.zeros((n_moments, n_moments))
    squares = np.zeros(n_moments)
    if keep_influence:
        influence = np.empty((n_rows, n_moments))
    at_once = max(1, _NUMBERS_AT_ONCE // n_moments)
    for begin in range(0, n_rows, at_once):
        end = min(begin + at_once, n_rows)
        rows = influences.rows(begin, end)
        if influence is not None:
            influence[begin:end] = rows
        if nacov is not None:
            nacov += rows.T @ rows
        else:
            squares += np.einsum("rm,rm->m", rows, rows)
    if nacov is not None:
        nacov /= n_rows
        diagonal = np.diag(nacov).copy()
    elif asymptotic == "diagonal":
        diagonal = squares / n_rows
    return nacov, diagonal, influence


class _Influences:
    """The influence of each row on each moment: how much n times the estimate moves with it, to first order."""

    def __init__(self, estimates: _Estimates) -> None:
        self._of = estimates
        n_items = estimates.n_items
        sizes = estimates.sizes()
        self._ends = np.cumsum(sizes)
        self._starts = self._ends - sizes
        self._n_first = int(self._ends[-1])
        self._n_variances = len(estimates.measured)
        self.n_moments = self._n_first + self._n_variances + n_items * (n_items - 1) // 2
        self._pair_column = np.zeros((n_items, n_items), dtype=np.int64)
        first, second = np.triu_indices(n_items, k=1)
        self._pair_column[first, second] = self._pair_column[second, first] = (
            self._n_first + self._n_variances + np.arange(len(first))
        )
        self._threshold_tables = _threshold_influence(estimates)
        self._pair_tables = _pair_influence(estimates, self._threshold_tables)
        self._scale = self._measured_scale()
        self._mixed = self._mixed_sums()

    def diagonal_from_tables(self) -> FloatArray:
        """Return the diagonal of the asymptotic covariance matrix of ordinal items, without going through rows."""
        of = self._of
        parts = [
            np.concatenate([[of.n_rows - count.sum()], count]) @ table**2
            for table, count in zip(self._threshold_tables, of.encoded.counts, strict=True)
        ]
        n_pairs = of.tables.shape[2]
        if n_pairs:
            parts.append(np.einsum("abp,pab->p", _tables_with_missing(of), self._pair_tables**2))
        return np.concatenate(parts) / of.n_rows

    def rows(self, begin: int, end: int) -> FloatArray:
        """Return the influence of rows begin to end: (end − begin, n_moments)."""
        of = self._of
        result = np.empty((end - begin, self.n_moments))
        numbers = of.encoded.numbers[begin:end].astype(np.int64)
        for place, position in enumerate(of.ordinal):
            result[:, self._starts[position] : self._ends[position]] = self._threshold_tables[place][numbers[:, place]]
        self._fill_ordinal_pairs(result, numbers)
        if len(of.measured):
            self._fill_measured(result, begin, end)
        return result

    def _fill_ordinal_pairs(self, result: FloatArray, numbers: IntArray) -> None:
        of = self._of
        n_ordinal = len(of.ordinal)
        if n_ordinal < 2:
            return
        width = self._pair_tables.shape[1]
        flat = self._pair_tables.reshape(-1)
        begin = 0
        for place in range(n_ordinal - 1):
            n_after = n_ordinal - place - 1
            offsets = (begin + np.arange(n_after)) * width * width
            index = numbers[:, place + 1 :] + numbers[:, place, None] * width + offsets
            columns = self._pair_column[of.ordinal[place], of.ordinal[place + 1 :]]
            if len(of.measured):
                result[:, columns] = flat[index]
            else:
                np.take(flat, index, out=result[:, columns[0] : columns[-1] + 1], mode="clip")
            begin += n_after

    def _measured_scale(self) -> tuple[FloatArray, ...]:
        """Return for each measured variable the matrix that turns scores of (mean, variance) into influence."""
        of = self._of
        scales: list[FloatArray] = []
        for place, position in enumerate(of.measured):
            scores = _moment_scores(of.standardised[:, place], float(np.sqrt(of.variances[position])))
            scales.append(np.asarray(of.n_rows * np.linalg.inv(scores.T @ scores), dtype=np.float64))
        return tuple(scales)

    def _mean_and_variance(self, begin: int, end: int) -> list[FloatArray]:
        of = self._of
        return [
            _moment_scores(of.standardised[begin:end, place], float(np.sqrt(of.variances[position])))
            @ self._scale[place]
            for place, position in enumerate(of.measured)
        ]

    def _polyserial(self, place: int, begin: int, end: int) -> PolyserialScores:
        of = self._of
        position = of.measured[place]
        return polyserial_scores(
            of.standardised[begin:end, place],
            float(np.sqrt(of.variances[position])),
            of.encoded.numbers[begin:end],
            of.thresholds,
            of.correlation[position, of.ordinal],
        )

    def _mixed_sums(self) -> "_MixedSums":
        """Return the sums of products of scores for every pair with a measured variable."""
        of = self._of
        n_measured, n_ordinal = len(of.measured), len(of.ordinal)
        width = self._pair_tables.shape[1] if n_ordinal > 1 else int(of.encoded.n_categories.max(initial=0)) + 1
        sums = _MixedSums(
            own=np.zeros((n_measured, n_ordinal)),
            mean=np.zeros((n_measured, n_ordinal)),
            variance=np.zeros((n_measured, n_ordinal)),
            upper=np.zeros((n_measured, n_ordinal, width)),
            lower=np.zeros((n_measured, n_ordinal, width)),
            pearson=np.zeros((n_measured, n_measured, 5)),
        )
        if not n_measured:
            return sums
        at_once = max(1, _NUMBERS_AT_ONCE // max(n_ordinal, 1))
        for begin in range(0, of.n_rows, at_once):
            end = min(begin + at_once, of.n_rows)
            numbers = of.encoded.numbers[begin:end]
            for place in range(n_measured):
                scores = self._polyserial(place, begin, end)
                sums.own[place] += np.einsum("ro,ro->o", scores.rho, scores.rho)
                sums.mean[place] += np.einsum("ro,ro->o", scores.rho, scores.mean)
                sums.variance[place] += np.einsum("ro,ro->o", scores.rho, scores.variance)
                for item in range(n_ordinal):
                    for target, score in ((sums.upper, scores.upper), (sums.lower, scores.lower)):
                        target[place, item] += np.bincount(
                            numbers[:, item], weights=scores.rho[:, item] * score[:, item], minlength=width
                        )
                for other in range(place + 1, n_measured):
                    sums.pearson[place, other] += self._pearson_products(place, other, begin, end)
        return sums

    def _pearson_scores(self, place: int, other: int, begin: int, end: int) -> FloatArray:
        """Return derivatives by rho, both means and both variances of two measured variables' likelihood: (rows, 5)."""
        of = self._of
        one, two = of.standardised[begin:end, place], of.standardised[begin:end, other]
        rho = of.correlation[of.measured[place], of.measured[other]]
        sd_one, sd_two = np.sqrt(of.variances[of.measured[place]]), np.sqrt(of.variances[of.measured[other]])
        rest = 1 - rho * rho
        both = ~np.isnan(one) & ~np.isnan(two)
        one, two = np.where(both, one, 0.0), np.where(both, two, 0.0)
        product = one * two
        squares = one**2 - 2 * rho * product + two**2
        scores = np.column_stack(
            [
                rho / rest + product / rest - squares * rho / rest**2,
                (one - rho * two) / (sd_one * rest),
                (two - rho * one) / (sd_two * rest),
                ((one**2 - rho * product) / rest - 1) / (2 * sd_one**2),
                ((two**2 - rho * product) / rest - 1) / (2 * sd_two**2),
            ]
        )
        scores[~both] = 0.0
        return scores

    def _pearson_products(self, place: int, other: int, begin: int, end: int) -> FloatArray:
        scores = self._pearson_scores(place, other, begin, end)
        return np.asarray(scores[:, 0] @ scores, dtype=np.float64)

    def _fill_measured(self, result: FloatArray, begin: int, end: int) -> None:
        of, sums = self._of, self._mixed
        first_block = self._mean_and_variance(begin, end)
        for place, position in enumerate(of.measured):
            result[:, self._starts[position]] = -first_block[place][:, 0]  # the moment is minus the mean
            result[:, self._n_first + place] = first_block[place][:, 1]
            sd = float(np.sqrt(of.variances[position]))
            if len(of.ordinal):
                scores = self._polyserial(place, begin, end)
            for item, ordinal_position in enumerate(of.ordinal):
                own = sums.own[place, item]
                rho = of.correlation[position, ordinal_position]
                n_thresholds = len(of.encoded.categories[item]) - 1
                by_threshold = (
                    sums.upper[place, item, 1 : n_thresholds + 1] + sums.lower[place, item, 2 : n_thresholds + 2]
                )
                thresholds = result[:, self._starts[ordinal_position] : self._ends[ordinal_position]]
                of_rho = (
                    of.n_rows * scores.rho[:, item]
                    - sums.mean[place, item] * first_block[place][:, 0]
                    - sums.variance[place, item] * first_block[place][:, 1]
                    - thresholds @ by_threshold
                ) / own
                result[:, self._pair_column[position, ordinal_position]] = (
                    sd * of_rho + rho / (2 * sd) * first_block[place][:, 1]
                )
            for other in range(place + 1, len(of.measured)):
                self._fill_pearson(result, first_block, place, other, begin, end)

    def _fill_pearson(
        self, result: FloatArray, first_block: list[FloatArray], place: int, other: int, begin: int, end: int
    ) -> None:
        of = self._of
        own, mean_one, mean_two, variance_one, variance_two = self._mixed.pearson[place, other]
        position, other_position = of.measured[place], of.measured[other]
        rho = of.correlation[position, other_position]
        sd_one, sd_two = np.sqrt(of.variances[position]), np.sqrt(of.variances[other_position])
        of_rho = (
            of.n_rows * self._pearson_scores(place, other, begin, end)[:, 0]
            - first_block[place] @ np.array([mean_one, variance_one])
            - first_block[other] @ np.array([mean_two, variance_two])
        ) / own
        result[:, self._pair_column[position, other_position]] = (
            sd_one * sd_two * of_rho
            + rho * sd_two / (2 * sd_one) * first_block[place][:, 1]
            + rho * sd_one / (2 * sd_two) * first_block[other][:, 1]
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _MixedSums:
    """Sums over rows of each pair's correlation score times its other scores."""

    own: FloatArray  # (n_measured, n_ordinal)
    mean: FloatArray
    variance: FloatArray
    upper: FloatArray  # (n_measured, n_ordinal, categories + 1): by the row's category
    lower: FloatArray
    pearson: FloatArray  # (n_measured, n_measured, 5): rho, two means, two variances


def _moment_scores(standardised: FloatArray, sd: float) -> FloatArray:
    """Return the derivatives of a measured variable's normal log-likelihood by mean and variance; 0 where missing."""
    scores = np.column_stack([standardised / sd, (standardised**2 - 1) / (2 * sd * sd)])
    return np.where(np.isnan(scores), 0.0, scores)


def _threshold_influence(estimates: _Estimates) -> tuple[FloatArray, ...]:
    """Return for each ordinal item n/nᵢ · (1{category ≤ t} − F(τ_t)) / φ(τ_t), a row for each category and 0."""
    tables = []
    for place, count in enumerate(estimates.encoded.counts):
        thresholds = estimates.thresholds[: len(count) - 1, place]
        density = np.exp(-(thresholds**2) / 2) / np.sqrt(2 * np.pi)
        at_most = np.arange(1, len(count) + 1)[:, None] <= np.arange(1, len(count))
        table = np.zeros((len(count) + 1, len(count) - 1))
        table[1:] = (at_most - ndtr(thresholds)) / density * (estimates.n_rows / count.sum())
        tables.append(table)
    return tuple(tables)


def _pair_influence(estimates: _Estimates, threshold_tables: tuple[FloatArray, ...]) -> FloatArray:
    """Return the influence on each polychoric correlation by the two categories: (n_pairs, categories + 1, ditto)."""
    n_ordinal = len(estimates.ordinal)
    if n_ordinal < 2:
        return np.zeros((0, 0, 0))
    first, second = np.triu_indices(n_ordinal, k=1)
    rho = estimates.correlation[estimates.ordinal[first], estimates.ordinal[second]]
    lower_items, upper_items = estimates.thresholds[:, first], estimates.thresholds[:, second]
    tables = estimates.tables
    most = len(tables)
    probability = cell_probabilities(lower_items, upper_items, rho)
    density, _ = corner_densities(lower_items, upper_items, rho)
    inverse = 1 / np.where(probability > TINY_PROBABILITY, probability, np.inf)
    score = cell_differences(density) * inverse
    information = (tables * score**2).sum(axis=(0, 1))
    _refuse_uninformative(information, estimates, first, second)
    weight = tables * score * inverse
    by_first = _threshold_products(weight, lower_items, upper_items, rho)
    by_second = _threshold_products(weight.transpose(1, 0, 2), upper_items, lower_items, rho)
    # Influence of every category on every threshold, padded to the most categories.
    padded = np.zeros((n_ordinal, most + 1, most - 1))
    for place, table in enumerate(threshold_tables):
        padded[place, : table.shape[0], : table.shape[1]] = table
    result = np.zeros((len(first), most + 1, most + 1))
    result[:, 1:, 1:] = estimates.n_rows * score.transpose(2, 0, 1)
    result -= np.einsum("pct,tp->pc", padded[first], by_first)[:, :, None]
    result -= np.einsum("pct,tp->pc", padded[second], by_second)[:, None, :]
    result /= information[:, None, None]
    return result


def _refuse_certainty(diagonal: FloatArray | None, estimates: _Estimates, *, who: str) -> None:
    # A handful of answers can lie so evenly that the first-order variance vanishes; its reciprocal is a weight.
    if diagonal is None:
        return
    variances = estimates.variances
    first, second = np.triu_indices(estimates.n_items, k=1)
    unit = np.concatenate(
        [
            variances[estimates.threshold_items()],
            variances[estimates.measured] ** 2,
            variances[first] * variances[second],
        ]
    )
    certain = np.flatnonzero(~(diagonal > 1e-14 * unit))
    if len(certain):
        raise AnalysisInputError(
            f"{who} requires more respondents: from {estimates.n_rows} rows the sampling variance of "
            f"{estimates.moment_names()[certain[0]]} cannot be estimated (it would be 0). Remedy: collect more forms."
        )


def _refuse_uninformative(information: FloatArray, estimates: _Estimates, first: IntArray, second: IntArray) -> None:
    # A likelihood that is flat even to double precision has no curvature to divide by.
    flat = np.flatnonzero(~(information > 1e-250))
    if len(flat):
        one, two = (estimates.codes[estimates.ordinal[items[flat[0]]]] for items in (first, second))
        raise AnalysisInputError(
            f"ordinal_moments requires answers that tell something about every correlation; {one} and {two} have too "
            "few combinations of categories for that. Remedy: join rare categories, or leave one of the two out."
        )


def _threshold_products(weight: FloatArray, own: FloatArray, others: FloatArray, rho: FloatArray) -> FloatArray:
    """Return the sums of the correlation's score times that of each threshold of one item: (thresholds, pairs)."""
    n_limits, n_pairs = own.shape
    root = np.sqrt(1 - rho * rho)
    # Probability that the other item lies below each of its thresholds, this one being exactly on its own.
    below = np.zeros((n_limits, n_limits + 2, n_pairs))
    below[:, 1:-1] = ndtr((others[None, :, :] - rho * own[:, None, :]) / root)
    below[:, -1] = 1.0
    density = np.where(own < BEYOND, np.exp(-own * own / 2) / np.sqrt(2 * np.pi), 0.0)
    edge = density[:, None, :] * (below[:, 1:] - below[:, :-1])
    return np.asarray((edge * (weight[:-1] - weight[1:])).sum(axis=1), dtype=np.float64)


def _tables_with_missing(estimates: _Estimates) -> FloatArray:
    """Return the tables of all pairs with a first row and column for rows that lack one of the two."""
    tables = estimates.tables
    most, n_pairs = len(tables), tables.shape[2]
    first, second = np.triu_indices(len(estimates.ordinal), k=1)
    margins = np.zeros((most, len(estimates.ordinal)))
    for place, count in enumerate(estimates.encoded.counts):
        margins[: len(count), place] = count
    whole = np.zeros((most + 1, most + 1, n_pairs))
    whole[1:, 1:] = tables
    whole[1:, 0] = margins[:, first] - tables.sum(axis=1)
    whole[0, 1:] = margins[:, second] - tables.sum(axis=0)
    return whole
