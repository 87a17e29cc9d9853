"""Statistical pictures as SVG: numbers and translated labels in, one string out.

Made to stand inline in a page and, the same, in a PDF: no style attributes (a strict content security policy forbids
them), no fonts from elsewhere, readable 320 px wide because the drawing is laid out for a phone and only grows. Every
picture says everything in words, too: `<title>` and `<desc>` hold the text alternative.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from itertools import groupby

import numpy as np
import numpy.typing as npt

from analysis.psychometrics.errors import AnalysisInputError
from analysis.psychometrics.response_matrix import as_responses

PATIENT = "#0b6e6e"  # 6.0:1 on white
CLINICIAN = "#b3541e"  # 5.2:1
TEXT = "#1f2933"  # 14.7:1
MUTED = "#52606d"  # 6.5:1, for secondary text
LINE = "#7b8794"  # 3.7:1, for lines that carry meaning
GRID = "#e4e7eb"
BAND = "#f5f7fa"
PAPER = "#ffffff"
#: Scale points from lowest to highest; light to dark teal, told apart by the white gaps and the numbers, too.
STEPS = ("#d5e8e6", "#a3cdca", "#67a9a6", "#2f8784", "#0b5d5d")

_FONT = 'font-family="system-ui, -apple-system, Segoe UI, Roboto, Helvetica, Arial, sans-serif"'
_WIDTH = 360  # a phone's width in CSS pixels, so that text is never smaller there than its size here


@dataclass(frozen=True, slots=True, kw_only=True)
class ScreeLabels:
    """Words of a scree plot, translated by the caller."""

    title: str
    description: str
    factor_axis: str
    eigenvalue_axis: str
    observed: str
    reference_mean: str
    reference_p95: str


def scree_plot(
    eigenvalues: npt.ArrayLike, reference_mean: npt.ArrayLike, reference_p95: npt.ArrayLike, labels: ScreeLabels
) -> str:
    """Draw the eigenvalues, largest first, over the mean and 95th percentile of those of random data.

    Parameters
    ----------
    eigenvalues, reference_mean, reference_p95 : array-like, shape (n_items,)
        As in `ParallelAnalysis`.

    Raises
    ------
    AnalysisInputError
        The three differ in length, hold fewer than two values, or values that are not finite.
    """
    observed, mean, p95 = (_finite(values, "scree_plot") for values in (eigenvalues, reference_mean, reference_p95))
    if len({len(observed), len(mean), len(p95)}) != 1 or len(observed) < 2:
        raise AnalysisInputError(
            f"scree_plot requires three series of the same length, at least 2; got {len(observed)}, {len(mean)} and "
            f"{len(p95)} values. Remedy: pass the arrays of one parallel analysis."
        )
    # Beyond a dozen or so the plot is a flat tail; the words still hold every value above the reference.
    shown = min(len(observed), max(12, 2 + _leading_above(observed, p95)))
    height, left, right, top, bottom = 288, 40, 14, 86, 44
    step = _nice_step(max(observed[0], p95[0]) / 4)
    ceiling = step * math.ceil(max(observed[0], p95[0]) / step + 1e-9)

    def x(position: int) -> float:
        return left + 10 + (_WIDTH - left - right - 20) * position / (shown - 1)

    def y(value: float) -> float:
        return height - bottom - (height - top - bottom) * max(value, 0.0) / ceiling

    parts = [_scree_legend(labels)]
    for tick in range(round(ceiling / step) + 1):
        value = tick * step
        parts.append(
            f'<line x1="{left}" x2="{_WIDTH - right}" y1="{y(value):.1f}" y2="{y(value):.1f}" '
            f'stroke="{GRID if tick else LINE}"/>'
        )
        parts.append(_text(left - 7, y(value) + 4, f"{value:g}", size=11, fill=MUTED, anchor="end"))
    every = 1 if shown <= 15 else math.ceil(shown / 12)
    for position in range(0, shown, every):
        parts.append(_text(x(position), height - bottom + 16, str(position + 1), size=11, fill=MUTED, anchor="middle"))
    parts.append(_text(left - 32, top - 14, labels.eigenvalue_axis, size=11, fill=MUTED))
    parts.append(
        _text(left + (_WIDTH - left - right) / 2, height - 8, labels.factor_axis, size=11, fill=MUTED, anchor="middle")
    )

    def path(values: Sequence[float]) -> str:
        return " ".join(f"{x(i):.1f},{y(values[i]):.1f}" for i in range(shown))

    parts.append(f'<polyline points="{path(mean)}" fill="none" stroke="{LINE}" stroke-width="1.5"/>')
    parts.append(
        f'<polyline points="{path(p95)}" fill="none" stroke="{CLINICIAN}" stroke-width="1.75" stroke-dasharray="5 4"/>'
    )
    parts.append(f'<polyline points="{path(observed)}" fill="none" stroke="{PATIENT}" stroke-width="2"/>')
    for position in range(shown):
        above = observed[position] > p95[position]
        parts.append(
            f'<circle cx="{x(position):.1f}" cy="{y(observed[position]):.1f}" r="4" stroke="{PATIENT}" '
            f'stroke-width="1.75" fill="{PATIENT if above else PAPER}"/>'
        )
    listed = "; ".join(
        f"{i + 1}: {labels.observed} {observed[i]:.2f}, {labels.reference_mean} {mean[i]:.2f}, "
        f"{labels.reference_p95} {p95[i]:.2f}"
        for i in range(shown)
    )
    return _svg(height=height, title=labels.title, description=f"{labels.description} {listed}.", parts=parts)


def _leading_above(observed: Sequence[float], reference: Sequence[float]) -> int:
    count = 0
    for value, limit in zip(observed, reference, strict=True):
        if value <= limit:
            break
        count += 1
    return count


def _scree_legend(labels: ScreeLabels) -> str:
    """Three entries, one under the other, so that long translations fit a phone."""
    rows = (
        (labels.observed, f'stroke="{PATIENT}" stroke-width="2"', True),
        (labels.reference_p95, f'stroke="{CLINICIAN}" stroke-width="1.75" stroke-dasharray="5 4"', False),
        (labels.reference_mean, f'stroke="{LINE}" stroke-width="1.5"', False),
    )
    left, parts = 40, []
    for number, (label, stroke, with_mark) in enumerate(rows):
        y = 12 + 17 * number
        parts.append(f'<line x1="{left}" x2="{left + 26}" y1="{y}" y2="{y}" {stroke}/>')
        if with_mark:
            parts.append(f'<circle cx="{left + 13}" cy="{y}" r="4" fill="{PATIENT}"/>')
        parts.append(_text(left + 33, y + 4, label, size=12))
    return "".join(parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileRow:
    """One component of one dyad (or of a group mean): both scores on 0–100, None where there is no score."""

    label: str
    domain: str
    patient: float | None
    clinician: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileLabels:
    """Words of a profile, translated by the caller."""

    title: str
    description: str
    patient: str
    clinician: str
    no_score: str


def profile_plot(rows: Sequence[ProfileRow], labels: ProfileLabels) -> str:
    """Draw patient and clinician side by side: one row per component, grouped by domain in the order given.

    The patient's mark is a filled circle, the clinician's an open diamond; a thin line joins them. Where a side has no
    score the row says so in words, and its mark is absent.

    Raises
    ------
    AnalysisInputError
        No rows, or a score outside 0 to 100.
    """
    if not rows:
        raise AnalysisInputError("profile_plot requires at least one component; got none. Remedy: pass the scores.")
    for row in rows:
        for score in (row.patient, row.clinician):
            if score is not None and not 0 <= score <= 100:
                raise AnalysisInputError(
                    f"profile_plot requires scores from 0 to 100; {row.label} has one outside. "
                    "Remedy: pass scores, not item means; None for no score."
                )
    parts, top, y = [_profile_legend(labels), *_scale_ticks(24)], 52.0, 52.0
    for domain, members in groupby(rows, key=lambda row: row.domain):
        group = list(members)
        parts.append(f'<rect x="0" y="{y:.0f}" width="{_WIDTH}" height="24" fill="{BAND}"/>')
        parts.append(_text(8, y + 16.5, domain, size=13, weight="600"))
        y += 24
        for row in group:
            lines = _wrapped(row.label, 19)
            row_height = 28 if len(lines) == 1 else 38
            parts.append(_profile_row(row, lines, labels, top=y, height=row_height))
            y += row_height
        y += 8
    words = "; ".join(
        f"{row.domain}, {row.label}: {labels.patient} {_spoken(row.patient, labels)}, "
        f"{labels.clinician} {_spoken(row.clinician, labels)}"
        for row in rows
    )
    parts.extend(_scale_ticks(y - 12))
    height = math.ceil(max(y + 10, top + 24))
    return _svg(height=height, title=labels.title, description=f"{labels.description} {words}.", parts=parts)


_PLOT_LEFT, _PLOT_RIGHT = 156.0, 346.0


def _at(score: float) -> float:
    return _PLOT_LEFT + (_PLOT_RIGHT - _PLOT_LEFT) * score / 100


def _profile_legend(labels: ProfileLabels) -> str:
    return "".join(
        (
            _circle(14, 14),
            _text(26, 18.5, labels.patient, size=13),
            _diamond(14, 36),
            _text(26, 40.5, labels.clinician, size=13),
        )
    )


def _scale_ticks(y: float) -> list[str]:
    return [_text(_at(v), y + 16, str(v), size=11, fill=MUTED, anchor="middle") for v in (0, 50, 100)]


def _profile_row(row: ProfileRow, lines: Sequence[str], labels: ProfileLabels, *, top: float, height: float) -> str:
    middle = top + height / 2
    first = middle + 4.5 - 7.5 * (len(lines) - 1)
    parts = [_text(8, first + 15 * number, line, size=13) for number, line in enumerate(lines)]
    for tick in (0, 25, 50, 75, 100):
        parts.append(
            f'<line x1="{_at(tick):.1f}" x2="{_at(tick):.1f}" y1="{top:.1f}" y2="{top + height:.1f}" stroke="{GRID}"/>'
        )
    patient, clinician = row.patient, row.clinician
    if patient is not None and clinician is not None:
        parts.append(
            f'<line x1="{_at(patient):.1f}" x2="{_at(clinician):.1f}" y1="{middle:.1f}" y2="{middle:.1f}" '
            f'stroke="{MUTED}" stroke-width="1.5"/>'
        )
    parts.append(_no_score(row, labels, middle))
    if clinician is not None:
        parts.append(_diamond(_at(clinician), middle))
    if patient is not None:
        # Equal scores would hide one mark: the circle is small enough to sit within the open diamond.
        parts.append(_circle(_at(patient), middle))
    return "".join(parts)


def _no_score(row: ProfileRow, labels: ProfileLabels, middle: float) -> str:
    """Say in the row that a side has no score: the one whose mark is not there."""
    if row.patient is not None and row.clinician is not None:
        return ""
    known = row.patient if row.patient is not None else row.clinician
    if known is None:
        return _text(_at(50), middle + 4, labels.no_score, size=11, fill=MUTED, anchor="middle", paper=True)
    # Words only, in the half that the other mark leaves free: the missing side's mark would be read as a score.
    left = _PLOT_LEFT + 6 if known >= 50 else _at(50) + 12
    return _text(left, middle + 4, labels.no_score, size=11, fill=MUTED, paper=True)


def _spoken(score: float | None, labels: ProfileLabels) -> str:
    return labels.no_score if score is None else f"{score:.0f}"


def _circle(x: float, y: float) -> str:
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.5" fill="{PATIENT}"/>'


def _diamond(x: float, y: float) -> str:
    r = 7.5
    corners = f"{x:.1f},{y - r:.1f} {x + r:.1f},{y:.1f} {x:.1f},{y + r:.1f} {x - r:.1f},{y:.1f}"
    return f'<polygon points="{corners}" fill="{PAPER}" stroke="{CLINICIAN}" stroke-width="2"/>'


@dataclass(frozen=True, slots=True, kw_only=True)
class DistributionLabels:
    """Words of an item's distribution, translated by the caller: one category per count, lowest first."""

    title: str
    categories: tuple[str, ...]
    no_answers: str


def distribution_bars(counts: Sequence[int], labels: DistributionLabels) -> str:
    """Draw one item's answers as a stacked bar, lowest category on the left, light to dark, shares of 12 % up in print.

    Raises
    ------
    AnalysisInputError
        Not one label per count, a negative count, or more than five categories.
    """
    if len(counts) != len(labels.categories) or not 2 <= len(counts) <= len(STEPS):
        raise AnalysisInputError(
            f"distribution_bars requires 2 to {len(STEPS)} counts and one label for each; got {len(counts)} counts and "
            f"{len(labels.categories)} labels. Remedy: pass the labels of the response scale."
        )
    if min(counts) < 0:
        raise AnalysisInputError("distribution_bars requires counts of at least 0. Remedy: pass counts, not codes.")
    total, height, width = sum(counts), 22, 220
    if total == 0:
        parts = [
            f'<rect x="0.5" y="0.5" width="{width - 1}" height="{height - 1}" fill="{PAPER}" stroke="{LINE}"/>',
            _text(width / 2, 15, labels.no_answers, size=11, fill=MUTED, anchor="middle"),
        ]
        return _svg(height=height, width=width, title=labels.title, description=labels.no_answers, parts=parts)
    # The darkest steps go to the top categories whatever their number, so that bars of short scales read alike.
    steps = [STEPS[round(i * (len(STEPS) - 1) / (len(counts) - 1))] for i in range(len(counts))]
    parts, start = [], 0.0
    for count, step in zip(counts, steps, strict=True):
        share = count / total
        if not count:
            continue
        # A sliver of 1 unit keeps rare categories visible; the gap of 1 parts neighbours without relying on colour.
        parts.append(
            f'<rect x="{start:.2f}" y="0" width="{max(share * width - 1, 1):.2f}" height="{height}" fill="{step}"/>'
        )
        if share >= 0.12:
            ink = PAPER if step in STEPS[3:] else TEXT
            parts.append(_text(start + share * width / 2, 15.5, f"{share:.0%}", size=11, fill=ink, anchor="middle"))
        start += share * width
    # The outline shows the whole even where its lightest part is next to white.
    parts.append(f'<rect x="0.5" y="0.5" width="{width - 1}" height="{height - 1}" fill="none" stroke="{LINE}"/>')
    words = "; ".join(
        f"{category}: {count} ({count / total:.0%})" for category, count in zip(labels.categories, counts, strict=True)
    )
    return _svg(height=height, width=width, title=labels.title, description=f"{words}.", parts=parts)


def _finite(values: npt.ArrayLike, who: str) -> list[float]:
    array = as_responses(np.atleast_2d(np.asarray(values)), who=who)[0]
    if np.isnan(array).any():
        raise AnalysisInputError(f"{who} requires numbers without gaps; got NaN. Remedy: leave the picture out.")
    return [float(value) for value in array]


def _nice_step(rough: float) -> float:
    """Return the smallest of 1, 2, 5 × a power of ten that is not below `rough`."""
    power = 10.0 ** math.floor(math.log10(rough))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9))


def _wrapped(label: str, room: int) -> list[str]:
    """Break a label at a space into two lines at most of about `room` letters; what is longer ends in an ellipsis."""
    if len(label) <= room:
        return [label]
    lines = [""]
    for word in label.split():
        longer = f"{lines[-1]} {word}".strip()
        if len(longer) <= room or not lines[-1] or len(lines) == 2:
            lines[-1] = longer
        else:
            lines.append(word)
    return [line if len(line) <= room + 1 else f"{line[:room].rstrip()}…" for line in lines]


def _text(
    x: float,
    y: float,
    words: str,
    *,
    size: int,
    fill: str = TEXT,
    anchor: str = "start",
    weight: str = "400",
    paper: bool = False,
) -> str:
    # A paper-coloured rim keeps words legible where they cross a grid line.
    rim = f' stroke="{PAPER}" stroke-width="4" paint-order="stroke"' if paper else ""
    heavy = f' font-weight="{weight}"' if weight != "400" else ""
    placed = f' text-anchor="{anchor}"' if anchor != "start" else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{fill}"{placed}{heavy}{rim}>{escape(words)}</text>'


def _svg(*, height: float, title: str, description: str, parts: Sequence[str], width: float = _WIDTH) -> str:
    # A child <title> names the picture and <desc> describes it without ids, which would clash on a page of many.
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" role="img" width="100%" {_FONT}>'
        f"<title>{escape(title)}</title><desc>{escape(description)}</desc>{''.join(parts)}</svg>"
    )
