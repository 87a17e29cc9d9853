"""What the data contribute to a fit, group by group, computed once and shared by models of the same columns."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from analysis.psychometrics.correlations.ordinal_moments import ordinal_moments
from analysis.psychometrics.errors import AnalysisInputError
from analysis.psychometrics.response_matrix import FloatArray, IntArray, as_item_codes, as_responses
from analysis.psychometrics.sem.matrices import IndexArray
from analysis.psychometrics.sem.missing_data import IncompleteRows, estimate_moments, incomplete_rows

Missing = Literal["listwise", "fiml", "pairwise"]

_WHO = "fit_model"
#: Eigenvalues of a correlation matrix below this count as zero.
_SINGULAR = 1e-10


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Moments:
    """One group's covariances (divisor n − 1, as programs print them), means and number of respondents."""

    covariance: npt.ArrayLike
    n: int
    mean: npt.ArrayLike | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OrdinalPart:
    """One group's thresholds and correlations with their asymptotic covariance, in lavaan's order of moments.

    For every variable in turn its thresholds (ordinal) or minus its mean; then variances of measured variables; then
    covariances of the pairs (0, 1), (0, 2) … (1, 2) ….
    """

    ordered: tuple[bool, ...]
    thresholds: tuple[FloatArray, ...]
    moments: FloatArray
    nacov: FloatArray  # n times the sampling covariance of the moments

    def counts(self) -> list[int]:
        """Number of thresholds of every variable, 0 for measured ones."""
        return [len(item) if ordinal else 0 for ordinal, item in zip(self.ordered, self.thresholds, strict=True)]

    def of_columns(self, columns: IndexArray) -> "OrdinalPart":
        """Return the moments of some variables in another order."""
        size = len(self.ordered)
        if columns.size == size and (columns == np.arange(size)).all():
            return self
        places = moment_places(self.ordered, self.counts())
        chosen: list[int] = []
        for column in columns.tolist():
            chosen += places.levels[column]
        chosen += [places.variances[column] for column in columns.tolist() if not self.ordered[column]]
        for first in range(columns.size):
            for second in range(first + 1, columns.size):
                pair = sorted((int(columns[first]), int(columns[second])))
                chosen.append(places.pairs[pair[0], pair[1]])
        index = np.array(chosen, dtype=np.intp)
        return OrdinalPart(
            ordered=tuple(self.ordered[column] for column in columns.tolist()),
            thresholds=tuple(self.thresholds[column] for column in columns.tolist()),
            moments=self.moments[index],
            nacov=self.nacov[np.ix_(index, index)],
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MomentPlaces:
    """Where each moment of ordinal data stands."""

    levels: list[list[int]]  # of each variable: its thresholds, or its mean
    variances: dict[int, int]  # measured variables
    pairs: IndexArray  # (n_variables, n_variables), filled above the diagonal


def moment_places(ordered: Sequence[bool], counts: Sequence[int]) -> MomentPlaces:
    """Number the moments of ordinal and measured variables in lavaan's order."""
    position = 0
    levels: list[list[int]] = []
    for ordinal, count in zip(ordered, counts, strict=True):
        width = count if ordinal else 1
        levels.append(list(range(position, position + width)))
        position += width
    variances: dict[int, int] = {}
    for variable, ordinal in enumerate(ordered):
        if not ordinal:
            variances[variable] = position
            position += 1
    size = len(ordered)
    pairs = np.full((size, size), -1, dtype=np.intp)
    first, second = np.triu_indices(size, 1)
    pairs[first, second] = position + np.arange(first.size)
    return MomentPlaces(levels=levels, variances=variances, pairs=pairs)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GroupSample:
    """One group's sample: moments of the columns, and the rows when there are any."""

    label: str
    n: int
    mean: FloatArray
    covariance: FloatArray  # divisor n, as maximum likelihood has it
    data: FloatArray | None  # (n, n_items); None when only moments were given
    cluster: IntArray | None  # cluster number of each row
    incomplete: IncompleteRows | None = None  # missing='fiml'; moments are then those of EM
    categories: tuple[FloatArray, ...] = ()  # values of the ordinal items; empty for measured ones
    ordinal: OrdinalPart | None = None  # when items are ordinal; `covariance` then holds polychoric correlations

    def of_columns(self, columns: IndexArray, codes: Sequence[str]) -> "GroupSample":
        """Return the sample of some columns in another order; incomplete rows are summarised anew."""
        if self.incomplete is not None and self.data is not None:
            if columns.size == self.mean.size and (columns == np.arange(columns.size)).all():
                return self
            rows = self.data[:, columns]
            chosen, _ = incomplete_group(self.label, rows, self.cluster, codes, (), several=False)
            return chosen
        return replace(
            self,
            mean=self.mean[columns],
            covariance=self.covariance[np.ix_(columns, columns)],
            data=None if self.data is None else self.data[:, columns],
            categories=tuple(self.categories[column] for column in columns.tolist()) if self.categories else (),
            ordinal=None if self.ordinal is None else self.ordinal.of_columns(columns),
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SampleStatistics:
    """All groups' samples with the names of the columns and what was left out."""

    item_codes: tuple[str, ...]
    groups: tuple[GroupSample, ...]
    missing: Missing
    with_means: bool
    n_dropped: int
    notes: tuple[str, ...] = ()

    @property
    def n_used(self) -> int:
        """Respondents in all groups."""
        return sum(group.n for group in self.groups)


def split_rows(
    data: npt.ArrayLike,
    item_codes: Sequence[str] | None,
    columns: Sequence[str],
    groups: Sequence[object] | None,
    cluster: Sequence[object] | None,
) -> tuple[list[tuple[str, FloatArray, IntArray | None]], int]:
    """Pick the model's columns and divide the rows by group, in the order in which groups appear.

    Returns
    -------
    list of (label, values, cluster), and the number of rows without a group or a cluster.

    Raises
    ------
    AnalysisInputError
        A column that is not there, no rows, groups or clusters of another length.
    """
    values = as_responses(data, who=_WHO)
    codes = as_item_codes(item_codes, values.shape[1], who=_WHO)
    unknown = [name for name in columns if name not in codes]
    if unknown:
        raise AnalysisInputError(
            f"the model names variables that the data must have as columns; not found: {', '.join(unknown)} "
            f"(columns are {', '.join(codes[:30])}{' …' if len(codes) > 30 else ''}). Remedy: correct "
            "the names in the model."
        )
    values = values[:, [codes.index(name) for name in columns]]
    n_rows = values.shape[0]
    for name, given in (("groups", groups), ("cluster", cluster)):
        if given is not None and len(given) != n_rows:
            raise AnalysisInputError(
                f"{name} requires one entry for each of {n_rows} rows; got {len(given)}. Remedy: pass the whole column."
            )
    labels = np.array(["" if groups is None else _as_label(groups[row]) for row in range(n_rows)], dtype=object)
    clusters = None
    present = np.ones(n_rows, dtype=bool)
    if groups is not None:
        present &= labels != ""
    if cluster is not None:
        texts = np.array([_as_label(entry) for entry in cluster], dtype=object)
        present &= texts != ""
        if len(set(texts[present].tolist())) == 1:
            raise AnalysisInputError(
                f"{_WHO} requires two clusters or more; every row belongs to {texts[present][0]!r}. "
                "Remedy: pass the column that tells the clusters apart, or leave the cluster out."
            )
        clusters = np.unique(texts.astype(str), return_inverse=True)[1].astype(np.int64)
    parts: list[tuple[str, FloatArray, IntArray | None]] = []
    for label in dict.fromkeys(labels[present].tolist()):
        chosen = present & (labels == label)
        parts.append((str(label), values[chosen], None if clusters is None else clusters[chosen]))
    if not parts:
        raise AnalysisInputError(f"{_WHO} requires respondents; got none. Remedy: check the group column.")
    return parts, int((~present).sum())


def _as_label(entry: object) -> str:
    if entry is None or (isinstance(entry, float | np.floating) and np.isnan(entry)):
        return ""
    if isinstance(entry, float | np.floating) and float(entry).is_integer():
        return str(int(entry))
    return str(entry).strip()


def complete_group(
    label: str, values: FloatArray, cluster: IntArray | None, columns: Sequence[str], *, several: bool
) -> tuple[GroupSample, int]:
    """Delete incomplete rows and summarise the rest; also return how many went."""
    complete = ~np.isnan(values).any(axis=1)
    rows = values[complete]
    check_enough_rows(rows, values, columns, label if several else "")
    mean = rows.mean(axis=0)
    centred = rows - mean
    covariance = centred.T @ centred / len(rows)
    check_covariance(covariance, columns, label if several else "")
    sample = GroupSample(
        label=label,
        n=len(rows),
        mean=mean,
        covariance=covariance,
        data=rows,
        cluster=None if cluster is None else cluster[complete],
    )
    return sample, int((~complete).sum())


def incomplete_group(
    label: str,
    values: FloatArray,
    cluster: IntArray | None,
    columns: Sequence[str],
    complete: Sequence[str],
    *,
    several: bool,
) -> tuple[GroupSample, int]:
    """Keep rows with any answer (and all of `complete`) and estimate their moments; also return how many went."""
    where = f"group {label}: " if several else ""
    needed = [list(columns).index(name) for name in complete]
    kept = ~np.isnan(values).all(axis=1) & ~np.isnan(values[:, needed]).any(axis=1)
    rows = values[kept]
    empty = [name for name, column in zip(columns, rows.T, strict=True) if np.isnan(column).all()]
    if empty or not len(rows):
        raise AnalysisInputError(
            f"{where}{_WHO} requires answers to every item; nobody answered {', '.join(empty or columns)}. "
            "Remedy: take it out of the model."
        )
    try:
        sorted_rows = incomplete_rows(rows, tuple(columns))
        mean, covariance = estimate_moments(sorted_rows, tuple(columns))
    except AnalysisInputError as error:
        raise AnalysisInputError(f"{where}{error}") from None
    sample = GroupSample(
        label=label,
        n=len(rows),
        mean=mean,
        covariance=covariance,
        data=rows,
        cluster=None if cluster is None else cluster[kept],
        incomplete=sorted_rows,
    )
    return sample, int((~kept).sum())


def ordinal_groups(
    parts: Sequence[tuple[str, FloatArray, IntArray | None]],
    columns: Sequence[str],
    ordered: Sequence[str],
    missing: Missing,
) -> tuple[list[GroupSample], int, tuple[str, ...]]:
    """Estimate thresholds and polychoric correlations of every group; also return rows dropped and notes.

    Raises
    ------
    AnalysisInputError
        A category that a group lacks, a constant item, a pair without common answers.
    """
    flags = [name in ordered for name in columns]
    everything = np.concatenate([values for _, values, _ in parts])
    if missing == "listwise":
        everything = everything[~np.isnan(everything).any(axis=1)]
    levels = [np.unique(column[~np.isnan(column)]).tolist() for column in everything.T]
    samples, dropped, notes = [], 0, []
    for label, values, _ in parts:
        where = f" in group {label}" if len(parts) > 1 else ""
        try:
            found = ordinal_moments(
                values,
                item_codes=columns,
                ordered=flags,
                missing="pairwise" if missing == "pairwise" else "listwise",
                levels=levels if len(parts) > 1 else None,
            )
        except AnalysisInputError as error:
            raise AnalysisInputError(f"group {label}: {error}" if where else str(error)) from None
        assert found.nacov is not None
        samples.append(
            GroupSample(
                label=label,
                n=found.n_used,
                mean=found.means,
                covariance=found.covariance,
                data=None,
                cluster=None,
                categories=found.categories,
                ordinal=OrdinalPart(
                    ordered=found.ordered, thresholds=found.thresholds, moments=found.moments, nacov=found.nacov
                ),
            )
        )
        dropped += found.n_dropped
        notes += [f"{note}{where}" for note in found.notes]
    return samples, dropped, tuple(notes)


def check_enough_rows(rows: FloatArray, values: FloatArray, columns: Sequence[str], label: str) -> None:
    """Refuse fewer rows than a covariance matrix of full rank needs, naming a column that is empty."""
    where = f" in group {label}" if label else ""
    empty = [name for name, column in zip(columns, values.T, strict=True) if np.isnan(column).all()]
    if empty:
        raise AnalysisInputError(
            f"{_WHO} requires answers to every item; nobody answered {', '.join(empty)}{where}. Remedy: take "
            "it out of the model."
        )
    if len(rows) <= len(columns):
        raise AnalysisInputError(
            f"{_WHO} requires more complete respondents than items; got {len(rows)} complete of {len(values)} for "
            f"{len(columns)} items{where}. Remedy: fewer items, more respondents, or missing='fiml'."
        )


def check_covariance(covariance: FloatArray, columns: Sequence[str], label: str) -> None:
    """Refuse constant items and items that determine one another, by name."""
    where = f" in group {label}" if label else ""
    variances = np.diag(covariance)
    constant = [name for name, variance in zip(columns, variances, strict=True) if not variance > 1e-14]
    if constant:
        raise AnalysisInputError(
            f"{_WHO} requires items that vary; {', '.join(constant)} is constant{where}. Remedy: take "
            "it out of the model."
        )
    scale = 1.0 / np.sqrt(variances)
    eigenvalues, vectors = np.linalg.eigh(covariance * np.outer(scale, scale))
    if eigenvalues[0] < _SINGULAR * len(columns):
        weights = np.abs(vectors[:, 0])
        involved = [name for name, weight in zip(columns, weights, strict=True) if weight > 0.1 * weights.max()]
        raise AnalysisInputError(
            f"{_WHO} requires items of which none is determined by the others; {', '.join(involved)} depend on one "
            f"another exactly{where} (identical or summed items). Remedy: take one of them out of the model."
        )


def from_moments(moments: Sequence[Moments], item_codes: Sequence[str], labels: Sequence[str]) -> SampleStatistics:
    """Take covariances from a publication instead of rows."""
    samples = []
    with_means = all(entry.mean is not None for entry in moments)
    for entry, label in zip(moments, labels, strict=True):
        matrix = np.array(entry.covariance, dtype=np.float64)
        if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or matrix.shape[0] != len(item_codes):
            raise AnalysisInputError(
                f"moments require a square covariance matrix with one row for each of "
                f"{len(item_codes)} item codes; got "
                f"shape {matrix.shape}. Remedy: give the codes in the order of the matrix."
            )
        if not np.isfinite(matrix).all() or np.abs(matrix - matrix.T).max() > 1e-8 * np.abs(matrix).max():
            raise AnalysisInputError(
                "moments require a symmetric covariance matrix of finite numbers; got another. "
                "Remedy: check the matrix."
            )
        mean = np.zeros(len(matrix)) if entry.mean is None else np.array(entry.mean, dtype=np.float64)
        matrix = (matrix + matrix.T) / 2 * (entry.n - 1) / entry.n
        check_covariance(matrix, item_codes, label if len(labels) > 1 else "")
        samples.append(GroupSample(label=label, n=entry.n, mean=mean, covariance=matrix, data=None, cluster=None))
    return SampleStatistics(
        item_codes=tuple(item_codes), groups=tuple(samples), missing="listwise", with_means=with_means, n_dropped=0
    )


def cluster_sums(scores: FloatArray, cluster: IntArray | None) -> FloatArray:
    """Sum scores within clusters and scale by √(C/(C−1)), as lavaan does; without clusters return them unchanged."""
    if cluster is None:
        return scores
    _, positions = np.unique(cluster, return_inverse=True)
    n_clusters = int(positions.max()) + 1
    sums = np.zeros((n_clusters, *scores.shape[1:]))
    np.add.at(sums, positions, scores)
    return sums * np.sqrt(n_clusters / (n_clusters - 1)) if n_clusters > 1 else sums
