"""The same rules for a whole study at once: arrays in, arrays out, equal to the one-by-one results to the last bit.

Rows are dyads (or forms), columns follow `FormLayout.items` or `FormLayout.score_ids`. Loops run over items and
components, never over rows. Scores are quotients of whole numbers, exact on both sides until the one division.
Profiles add floats, in the same fixed order as `scoring.rules.dyad` (NumPy's own sums pair the terms differently).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from operator import itemgetter
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from scoring.rules.dyad import (
    DyadScoring,
    Gap,
    GapReference,
    Profile,
    check_references,
)
from scoring.rules.form import ABSENCE_CODES, FormScore, Score, component_parts, component_reason, read_answers
from scoring.rules.layout import DOES_NOT_APPLY, UNANSWERED, FormLayout
from scoring.rules.reasons import (
    CODE_BY_REASON,
    FLAGS,
    INELIGIBILITIES,
    REASON_BY_CODE,
    Flag,
    Ineligibility,
    Note,
    Reason,
    ScoringInputError,
)

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Codes = npt.NDArray[np.int8]
Counts = npt.NDArray[np.int16]
ReasonCodes = npt.NDArray[np.uint8]

_Array = TypeVar("_Array", bound=npt.NDArray[Any])

#: Rows worked on at a time: large enough to hide the interpreter, small enough to stay in the processor's cache.
CHUNK_ROWS = 4096

#: Columns of `ProfileBatch.values`.
PROFILE_FIELDS = ("d_squared", "elevation", "scatter", "shape", "correlation", "double_entry_icc")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FormBatch:
    """Completed forms of one role, one row a dyad; the many-rows twin of `RatedForm`."""

    answers: Codes  # (n, items): scale point, 0 unanswered, -1 does not apply; see `encode_answers`
    present: Bools  # (n,): the dyad has this role's form; other rows of `answers` are not read
    blind: Bools  # (n,): answered without sight of the other role's answers; not read where not present
    median_seconds: Floats  # (n,): median seconds per item, NaN where it was not taken


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FormScoreBatch:
    """Scores of many forms. Matrices are (n, scores) in the order of `layout.score_ids`, and read-only."""

    layout: FormLayout
    present: Bools  # (n,)
    values: Floats  # NaN where there is no score
    reasons: ReasonCodes  # index into REASON_BY_CODE, 0 where there is a score
    n_answered: Counts
    n_applicable: Counts
    thin: Bools
    form_n_answered: Counts  # (n,) items of the whole form
    form_n_does_not_apply: Counts  # (n,)
    form_n_unanswered: Counts  # (n,)
    flags: Bools  # (n, 4) in the order of FLAGS

    def __len__(self) -> int:
        return len(self.present)

    def row(self, index: int) -> FormScore | None:
        """The result of one row as `score_form` gives it, or None where there is no form."""
        if not self.present[index]:
            return None
        scores = {
            score: Score(
                value=None if reason else value,
                reason=REASON_BY_CODE[reason],
                n_answered=n_answered,
                n_applicable=n_applicable,
                thin=thin,
            )
            for score, value, reason, n_answered, n_applicable, thin in zip(
                self.layout.score_ids,
                self.values[index].tolist(),
                self.reasons[index].tolist(),
                self.n_answered[index].tolist(),
                self.n_applicable[index].tolist(),
                self.thin[index].tolist(),
                strict=True,
            )
        }
        return FormScore(
            form=self.layout.form,
            rules_version=self.layout.rules.version,
            scores=scores,
            n_answered=int(self.form_n_answered[index]),
            n_does_not_apply=int(self.form_n_does_not_apply[index]),
            n_unanswered=int(self.form_n_unanswered[index]),
            flags=tuple(flag for flag, holds in zip(FLAGS, self.flags[index].tolist(), strict=True) if holds),
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GapBatch:
    """Gaps of many dyads, clinician minus patient. Matrices are (n, scores) and read-only."""

    values: Floats  # NaN where there is no gap
    reasons: ReasonCodes
    thin: Bools
    n_items: Counts
    reliable: npt.NDArray[np.int8]  # 1 yes, 0 no, -1 no verdict
    reliable_reasons: ReasonCodes


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ProfileBatch:
    """Profile similarity of many dyads, read-only."""

    n_components: Counts  # (n,)
    reasons: ReasonCodes  # (n,)
    values: Floats  # (n, 6) in the order of PROFILE_FIELDS, NaN where undefined


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DyadScoringBatch:
    """All results of many dyads on one form; `row` turns one of them back into a `DyadScoring`."""

    layout: FormLayout
    patient: FormScoreBatch
    clinician: FormScoreBatch
    ineligible: Bools  # (n, 6) in the order of INELIGIBILITIES; no True in a row: the forms may be compared
    acquaintance_unknown: Bools  # (n,)
    gaps: GapBatch
    profile: ProfileBatch

    def __len__(self) -> int:
        return len(self.acquaintance_unknown)

    @property
    def eligible(self) -> Bools:
        """(n,): the two forms may be compared."""
        return ~_any_in_row(self.ineligible)

    def row(self, index: int) -> DyadScoring:
        """The result of one row as `score_dyad` gives it."""
        gaps = {
            score: Gap(
                value=None if reason else value,
                reason=REASON_BY_CODE[reason],
                thin=thin,
                n_items=n_items,
                reliable=None if reliable < 0 else bool(reliable),
                reliable_reason=REASON_BY_CODE[reliable_reason],
            )
            for score, value, reason, thin, n_items, reliable, reliable_reason in zip(
                self.layout.score_ids,
                self.gaps.values[index].tolist(),
                self.gaps.reasons[index].tolist(),
                self.gaps.thin[index].tolist(),
                self.gaps.n_items[index].tolist(),
                self.gaps.reliable[index].tolist(),
                self.gaps.reliable_reasons[index].tolist(),
                strict=True,
            )
        }
        numbers = (None if value != value else value for value in self.profile.values[index].tolist())
        return DyadScoring(
            rules_version=self.layout.rules.version,
            patient=self.patient.row(index),
            clinician=self.clinician.row(index),
            ineligible=tuple(
                why for why, holds in zip(INELIGIBILITIES, self.ineligible[index].tolist(), strict=True) if holds
            ),
            notes=(Note.ACQUAINTANCE_UNKNOWN,) if self.acquaintance_unknown[index] else (),
            gaps=gaps,
            profile=Profile(
                n_components=int(self.profile.n_components[index]),
                reason=REASON_BY_CODE[int(self.profile.reasons[index])],
                **dict(zip(PROFILE_FIELDS, numbers, strict=True)),
            ),
        )


def encode_answers(layout: FormLayout, answer_maps: Sequence[Mapping[str, object]]) -> Codes:
    """Answer maps, one a row, as the matrix that the batch functions read.

    Parameters
    ----------
    layout : the form's plan.
    answer_maps : n maps of item code -> scale point or reason for absence, as `score_form` takes them. For a row
        without a form pass an empty map.

    Returns
    -------
    (n, items) int8 : the scale point, 0 for unanswered, -1 for "does not apply".

    Raises
    ------
    ScoringInputError : naming the row (from 0) and the item that holds something else.
    """
    table: dict[object, int] = {point: point for point in range(layout.scale_minimum, layout.scale_maximum + 1)}
    table.update(ABSENCE_CODES)
    n_items = len(layout.items)
    encoded = np.empty((len(answer_maps), n_items), dtype=np.int8)
    for start in range(0, len(answer_maps), CHUNK_ROWS):
        chunk = answer_maps[start : start + CHUNK_ROWS]
        flat = list(chain.from_iterable(_picked(layout, chunk)))
        # True and 1.0 equal 1 in the table, so the types are looked at as well.
        if all(kind is int or issubclass(kind, str) for kind in set(map(type, flat))):
            try:
                codes = np.fromiter(map(table.__getitem__, flat), dtype=np.int8, count=len(flat))
            except KeyError:
                pass
            else:
                encoded[start : start + len(chunk)] = codes.reshape(len(chunk), n_items)
                continue
        for offset, answers in enumerate(chunk):
            try:
                encoded[start + offset] = read_answers(layout, answers)
            except ScoringInputError as error:
                raise ScoringInputError(f"Row {start + offset}: {error}") from None
    return encoded


def _picked(layout: FormLayout, answer_maps: Sequence[Mapping[str, object]]) -> Iterator[Sequence[object]]:
    """The form's answers of each map in order; items that are not there as not reached."""
    absent = "NOT_REACHED"
    if len(layout.items) < 2:  # itemgetter of one key gives no tuple
        for answers in answer_maps:
            yield [answers.get(code, absent) for code in layout.items]
        return
    whole = itemgetter(*layout.items)
    for answers in answer_maps:
        try:
            yield whole(answers)
        except KeyError:
            get = answers.get
            yield [get(code, absent) for code in layout.items]


def score_forms(
    layout: FormLayout,
    answers: Codes,
    *,
    present: Bools | None = None,
    median_seconds: Floats | None = None,
    chunk_rows: int = CHUNK_ROWS,
) -> FormScoreBatch:
    """Score many forms of one layout.

    Parameters
    ----------
    layout : the form's plan.
    answers : (n, items) whole numbers from `encode_answers`.
    present : (n,) False where a row has no form; default: every row has one.
    median_seconds : (n,) median seconds per item, NaN where not taken; default: none taken.
    chunk_rows : rows worked on at a time; changes the speed only.

    Raises
    ------
    ScoringInputError : a shape, type or code that does not fit, naming the row and item.
    """
    n = len(answers)
    batch = FormBatch(
        answers=answers,
        present=np.ones(n, dtype=np.bool_) if present is None else present,
        blind=np.ones(n, dtype=np.bool_),
        median_seconds=np.full(n, np.nan) if median_seconds is None else median_seconds,
    )
    _check_forms("forms", layout, batch)
    plan = _plan(layout)
    out = _FormColumns.empty(layout, n)
    for rows in _chunks(n, chunk_rows):
        _score_side(plan, _read_side(plan, batch, rows), batch, rows, out)
    return out.finish(layout, batch.present)


def score_dyads(
    layout: FormLayout,
    *,
    patient: FormBatch,
    clinician: FormBatch,
    days_apart: Floats,
    months_known: Floats,
    visits: Floats,
    references: Mapping[str, GapReference] | None = None,
    chunk_rows: int = CHUNK_ROWS,
) -> DyadScoringBatch:
    """Score many dyads of one form length; `score_dyad` for each row, in linear time.

    Parameters
    ----------
    layout : the plan of the form that both roles answered. A dyad whose two forms differ in length has no place
        here: it is never compared; use `score_dyad`.
    patient, clinician : both roles' forms, n rows each.
    days_apart : (n,) days between the two completions, NaN only where a form is missing.
    months_known, visits : (n,) NaN where unknown.
    references : per score id, what its gap is judged by.
    chunk_rows : rows worked on at a time; changes the speed only.

    Raises
    ------
    ScoringInputError : a shape, type, code or number that does not fit, naming the row.
    """
    n = len(patient.answers)
    check_references(layout.score_ids, references)
    _check_forms("patient", layout, patient)
    _check_forms("clinician", layout, clinician)
    _check_length("clinician", clinician.present, n)
    for name, numbers in (("days_apart", days_apart), ("months_known", months_known), ("visits", visits)):
        _check_length(name, numbers, n)
        _check_numbers(name, numbers)
    undated = patient.present & clinician.present & np.isnan(days_apart)
    if undated.any():
        raise ScoringInputError(
            f"Row {int(undated.argmax())}: days_apart must be the days between the two completions where both "
            "forms are there; none came. Pass the distance of the two completion dates."
        )
    ineligible, acquaintance_unknown = _eligibility(layout, patient, clinician, days_apart, months_known, visits)
    plan = _plan(layout)
    patient_out, clinician_out = _FormColumns.empty(layout, n), _FormColumns.empty(layout, n)
    gaps = _GapColumns.empty(layout, n)
    profile = _ProfileColumns.empty(n)
    judged = _thresholds(layout, references)
    excluded = _any_in_row(ineligible)
    for rows in _chunks(n, chunk_rows):
        patient_side = _read_side(plan, patient, rows)
        clinician_side = _read_side(plan, clinician, rows)
        _score_side(plan, patient_side, patient, rows, patient_out)
        _score_side(plan, clinician_side, clinician, rows, clinician_out)
        _compare(plan, patient_side, clinician_side, excluded[rows], rows, judged, gaps, profile)
    for array in (ineligible, acquaintance_unknown):
        array.setflags(write=False)
    return DyadScoringBatch(
        layout=layout,
        patient=patient_out.finish(layout, patient.present),
        clinician=clinician_out.finish(layout, clinician.present),
        ineligible=ineligible,
        acquaintance_unknown=acquaintance_unknown,
        gaps=gaps.finish(),
        profile=profile.finish(),
    )


# ---- The plan: a layout with its items sorted by component, and the tables ------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _ComponentPlan:
    """One component: its rows in the sorted answers and, by number answered and points, its height."""

    rows: slice
    n_items: int
    stride: int  # points run from 0 to stride - 1
    parts: Floats  # index n_answered * stride + points; whole numbers, 0 where there is no score
    reasons: ReasonCodes  # index n_answered * (n_items + 1) + n_does_not_apply
    thin: Bools  # index n_answered


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Plan:
    layout: FormLayout
    order: npt.NDArray[np.intp]  # the form's items sorted by component
    place: Mapping[int, int]  # position on the form -> row in the sorted answers
    reverse: Bools  # of the sorted items
    components: tuple[_ComponentPlan, ...]


def _plan(layout: FormLayout) -> _Plan:
    order = np.array([index for component in layout.components for index in component.items], dtype=np.intp)
    plans = []
    start = 0
    for component in layout.components:
        n_items = len(component.items)
        stride = n_items * (layout.scale_maximum - layout.scale_minimum) + 1
        parts = np.zeros((n_items + 1, stride))
        reasons = np.zeros((n_items + 1, n_items + 1), dtype=np.uint8)
        thin = np.zeros(n_items + 1, dtype=np.bool_)
        for n_answered in range(n_items + 1):
            for n_does_not_apply in range(n_items + 1 - n_answered):
                reason = component_reason(component, n_answered=n_answered, n_does_not_apply=n_does_not_apply)
                reasons[n_answered, n_does_not_apply] = CODE_BY_REASON[reason] if reason else 0
            if n_answered >= component.needs:
                thin[n_answered] = n_answered == 1 and n_items > 1
                for points in range(stride):
                    parts[n_answered, points] = component_parts(layout, points=points, n_answered=n_answered)
        plans.append(
            _ComponentPlan(
                rows=slice(start, start + n_items),
                n_items=n_items,
                stride=stride,
                parts=parts.ravel(),
                reasons=reasons.ravel(),
                thin=thin,
            )
        )
        start += n_items
    return _Plan(
        layout=layout,
        order=order,
        place={int(index): row for row, index in enumerate(order)},
        reverse=np.array([layout.reverse[index] for index in order], dtype=np.bool_),
        components=tuple(plans),
    )


def _chunks(n: int, chunk_rows: int) -> Iterator[slice]:
    if chunk_rows < 1:
        raise ScoringInputError(f"chunk_rows must be at least 1; {chunk_rows} came. Leave it out for the default.")
    for start in range(0, n, chunk_rows):
        yield slice(start, min(start + chunk_rows, n))


# ---- One role's forms ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Side:
    """A chunk of one role's answers, items as rows, sorted by component."""

    raw: Codes
    answered: Bools
    does_not_apply: Bools
    points: Codes  # distance to the scale's minimum after reversal; 0 where unanswered


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Pattern:
    """What follows from which items are answered, whatever the answers are. Matrices are (scores, rows)."""

    n_answered: Counts
    n_applicable: Counts
    reasons: ReasonCodes
    thin: Bools
    n_scored: list[Floats]  # per group: its components with a score, at least 1 so that it can divide


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _FormColumns:
    """Results under construction, one contiguous line a score."""

    values: Floats
    reasons: ReasonCodes
    n_answered: Counts
    n_applicable: Counts
    thin: Bools
    form_n_answered: Counts
    form_n_does_not_apply: Counts
    form_n_unanswered: Counts
    flags: Bools

    @classmethod
    def empty(cls, layout: FormLayout, n: int) -> "_FormColumns":
        shape = (len(layout.score_ids), n)
        return cls(
            values=np.empty(shape),
            reasons=np.empty(shape, dtype=np.uint8),
            n_answered=np.empty(shape, dtype=np.int16),
            n_applicable=np.empty(shape, dtype=np.int16),
            thin=np.empty(shape, dtype=np.bool_),
            form_n_answered=np.empty(n, dtype=np.int16),
            form_n_does_not_apply=np.empty(n, dtype=np.int16),
            form_n_unanswered=np.empty(n, dtype=np.int16),
            flags=np.empty((len(FLAGS), n), dtype=np.bool_),
        )

    def finish(self, layout: FormLayout, present: Bools) -> FormScoreBatch:
        return FormScoreBatch(
            layout=layout,
            present=_frozen(present.copy()),
            values=_frozen(self.values.T),
            reasons=_frozen(self.reasons.T),
            n_answered=_frozen(self.n_answered.T),
            n_applicable=_frozen(self.n_applicable.T),
            thin=_frozen(self.thin.T),
            form_n_answered=_frozen(self.form_n_answered),
            form_n_does_not_apply=_frozen(self.form_n_does_not_apply),
            form_n_unanswered=_frozen(self.form_n_unanswered),
            flags=_frozen(self.flags.T),
        )


def _frozen(array: _Array) -> _Array:
    array.setflags(write=False)
    return array


def _read_side(plan: _Plan, batch: FormBatch, rows: slice) -> _Side:
    raw = np.ascontiguousarray(batch.answers[rows].T[plan.order], dtype=np.int8)
    raw *= batch.present[rows]
    answered = raw > UNANSWERED
    low, high = plan.layout.scale_minimum, plan.layout.scale_maximum
    points = raw - np.int8(low)
    points[plan.reverse] = np.int8(high) - raw[plan.reverse]
    points *= answered
    return _Side(raw=raw, answered=answered, does_not_apply=raw == DOES_NOT_APPLY, points=points)


def _score_side(plan: _Plan, side: _Side, batch: FormBatch, rows: slice, out: _FormColumns) -> None:
    pattern = _pattern(plan, side.answered, side.does_not_apply)
    absent = ~batch.present[rows]
    out.values[:, rows] = _values(plan, pattern, side.points)
    out.reasons[:, rows] = pattern.reasons
    out.n_answered[:, rows] = pattern.n_answered
    out.n_applicable[:, rows] = pattern.n_applicable
    out.thin[:, rows] = pattern.thin
    out.form_n_answered[rows] = side.answered.sum(axis=0, dtype=np.int16)
    out.form_n_does_not_apply[rows] = side.does_not_apply.sum(axis=0, dtype=np.int16)
    out.form_n_unanswered[rows] = len(side.raw) - out.form_n_answered[rows] - out.form_n_does_not_apply[rows]
    out.flags[:, rows] = _flags(plan, side, batch.median_seconds[rows], out.form_n_unanswered[rows])
    if absent.any():
        out.values[:, rows][:, absent] = np.nan
        out.reasons[:, rows][:, absent] = CODE_BY_REASON[Reason.FORM_MISSING]
        out.flags[:, rows][:, absent] = False
        for counts in (out.n_answered, out.n_applicable):
            counts[:, rows][:, absent] = 0
        out.form_n_unanswered[rows][absent] = 0


def _pattern(plan: _Plan, answered: Bools, does_not_apply: Bools) -> _Pattern:
    layout, n_rows = plan.layout, answered.shape[1]
    n_components = len(layout.components)
    shape = (len(layout.score_ids), n_rows)
    n_answered = np.empty(shape, dtype=np.int16)
    n_applicable = np.empty(shape, dtype=np.int16)
    reasons = np.empty(shape, dtype=np.uint8)
    thin = np.zeros(shape, dtype=np.bool_)
    for line, part in enumerate(plan.components):
        n_answered[line] = _count(answered[part.rows])
        n_does_not_apply = _count(does_not_apply[part.rows])
        np.subtract(part.n_items, n_does_not_apply, out=n_applicable[line])
        reasons[line] = part.reasons.take(n_answered[line] * np.intp(part.n_items + 1) + n_does_not_apply)
        thin[line] = part.thin.take(n_answered[line])
    scored = reasons[:n_components] == 0
    scored_per_group = []
    for line, group in enumerate(layout.groups, start=n_components):
        members = list(group.components)
        n_answered[line] = n_answered[members].sum(axis=0, dtype=np.int16)
        n_applicable[line] = n_applicable[members].sum(axis=0, dtype=np.int16)
        n_scored = scored[members].sum(axis=0, dtype=np.int16)
        # Later lines overrule earlier ones: the order of the questions in `form._score_group`, backwards.
        reason = np.zeros(n_rows, dtype=np.uint8)
        reason[n_scored < group.minimum_components] = CODE_BY_REASON[Reason.TOO_FEW_COMPONENTS]
        percent = np.int32(layout.rules.domain_answered_percent)
        few = n_answered[line] * np.int32(100) < percent * n_applicable[line]
        reason[few] = CODE_BY_REASON[Reason.TOO_FEW_ANSWERS]
        reason[n_applicable[line] == 0] = CODE_BY_REASON[Reason.NOT_APPLICABLE]
        if not group.n_items:
            reason[:] = CODE_BY_REASON[Reason.NOT_ON_FORM]
        reasons[line] = reason
        scored_per_group.append(np.maximum(n_scored, 1).astype(np.float64))
    return _Pattern(
        n_answered=n_answered, n_applicable=n_applicable, reasons=reasons, thin=thin, n_scored=scored_per_group
    )


def _any_in_row(holds: Bools) -> Bools:
    found: Bools = np.any(holds, axis=1)
    return found


def _count(holds: Bools) -> Counts:
    counts: Counts = holds.sum(axis=0, dtype=np.int16)
    return counts


def _values(plan: _Plan, pattern: _Pattern, points: Codes) -> Floats:
    """Scores of one side, (scores, rows); NaN where the pattern gives a reason."""
    layout, n_components = plan.layout, len(plan.components)
    values = np.empty(pattern.reasons.shape)
    for line, part in enumerate(plan.components):
        summed = points[part.rows].sum(axis=0, dtype=np.int16)
        # Whole numbers; 0 where there is no score, so that it adds nothing to the sums of its groups.
        part.parts.take(pattern.n_answered[line] * np.intp(part.stride) + summed, out=values[line], mode="clip")
    for line, group in enumerate(layout.groups, start=n_components):
        values[line] = values[list(group.components)].sum(axis=0)
    # The expression of `form.rescaled`: exact until the division.
    values *= 100.0
    whole = float(layout.parts * (layout.scale_maximum - layout.scale_minimum))
    values[:n_components] /= whole
    for line, n_scored in enumerate(pattern.n_scored, start=n_components):
        values[line] /= whole * n_scored
    values[pattern.reasons != 0] = np.nan
    return values


def _flags(plan: _Plan, side: _Side, median_seconds: Floats, n_unanswered: Counts) -> Bools:
    layout, rules = plan.layout, plan.layout.rules
    flags = np.zeros((len(FLAGS), side.raw.shape[1]), dtype=np.bool_)
    if layout.straightline_items:
        checks = [plan.place[index] for index in layout.straightline_items]
        lowest = np.where(side.answered, side.raw, np.int8(127)).min(axis=0)
        flags[FLAGS.index(Flag.STRAIGHTLINE)] = side.answered[checks].all(axis=0) & (lowest == side.raw.max(axis=0))
    conflicts = np.zeros(side.raw.shape[1], dtype=np.int16)
    for check in layout.reverse_checks:
        item = plan.place[check.item]
        others = [plan.place[index] for index in check.others]
        n_others = _count(side.answered[others])
        # The distance to the minimum serves as well as the value: the minimum cancels out of the difference.
        away = np.abs(n_others * side.points[item] - side.points[others].sum(axis=0, dtype=np.int16))
        conflicts += side.answered[item] & (n_others > 0) & (away >= rules.reverse_conflict_distance * n_others)
    flags[FLAGS.index(Flag.REVERSE_CONFLICT)] = conflicts >= rules.reverse_conflict_minimum
    flags[FLAGS.index(Flag.FAST)] = median_seconds < rules.fast_median_seconds
    n_applicable = len(side.raw) - _count(side.does_not_apply)
    flags[FLAGS.index(Flag.MISSING)] = n_unanswered * np.int32(100) > np.int32(rules.missing_percent) * n_applicable
    return flags


# ---- Both roles' forms --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _GapColumns:
    values: Floats
    reasons: ReasonCodes
    thin: Bools
    n_items: Counts
    reliable: npt.NDArray[np.int8]
    reliable_reasons: ReasonCodes

    @classmethod
    def empty(cls, layout: FormLayout, n: int) -> "_GapColumns":
        shape = (len(layout.score_ids), n)
        return cls(
            values=np.empty(shape),
            reasons=np.empty(shape, dtype=np.uint8),
            thin=np.empty(shape, dtype=np.bool_),
            n_items=np.empty(shape, dtype=np.int16),
            reliable=np.full(shape, -1, dtype=np.int8),
            reliable_reasons=np.empty(shape, dtype=np.uint8),
        )

    def finish(self) -> GapBatch:
        return GapBatch(
            values=_frozen(self.values.T),
            reasons=_frozen(self.reasons.T),
            thin=_frozen(self.thin.T),
            n_items=_frozen(self.n_items.T),
            reliable=_frozen(self.reliable.T),
            reliable_reasons=_frozen(self.reliable_reasons.T),
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _ProfileColumns:
    n_components: Counts
    reasons: ReasonCodes
    values: Floats

    @classmethod
    def empty(cls, n: int) -> "_ProfileColumns":
        return cls(
            n_components=np.empty(n, dtype=np.int16),
            reasons=np.empty(n, dtype=np.uint8),
            values=np.empty((len(PROFILE_FIELDS), n)),
        )

    def finish(self) -> ProfileBatch:
        return ProfileBatch(
            n_components=_frozen(self.n_components), reasons=_frozen(self.reasons), values=_frozen(self.values.T)
        )


def _thresholds(layout: FormLayout, references: Mapping[str, GapReference] | None) -> dict[int, tuple[float, float]]:
    """Line of a score -> its mean gap and how far from it a gap is reliable."""
    return {
        line: (references[score].mean_gap, references[score].threshold(layout.rules.reliable_gap_z))
        for line, score in enumerate(layout.score_ids)
        if references and score in references
    }


def _eligibility(
    layout: FormLayout,
    patient: FormBatch,
    clinician: FormBatch,
    days_apart: Floats,
    months_known: Floats,
    visits: Floats,
) -> tuple[Bools, Bools]:
    """Which reasons exclude each dyad, (n, 6), and whose acquaintance is unknown, (n,). NaN reaches no minimum."""
    rules = layout.rules
    enough = (months_known >= rules.minimum_months_known) | (visits >= rules.minimum_visits)
    short = (months_known < rules.minimum_months_known) & (visits < rules.minimum_visits)
    both = patient.present & clinician.present
    holds = {
        Ineligibility.PATIENT_FORM_MISSING: ~patient.present,
        Ineligibility.CLINICIAN_FORM_MISSING: ~clinician.present,
        Ineligibility.FORMS_DIFFER: np.zeros_like(both),  # one layout for both roles
        Ineligibility.TOO_FAR_APART: both & (days_apart > rules.maximum_days_apart),
        Ineligibility.NOT_BLIND: (patient.present & ~patient.blind) | (clinician.present & ~clinician.blind),
        Ineligibility.KNOWN_TOO_SHORT: short,
    }
    return np.column_stack([holds[why] for why in INELIGIBILITIES]), ~enough & ~short


def _compare(
    plan: _Plan,
    patient: _Side,
    clinician: _Side,
    excluded: Bools,
    rows: slice,
    judged: Mapping[int, tuple[float, float]],
    gaps: _GapColumns,
    profile: _ProfileColumns,
) -> None:
    """Gaps and profile of a chunk over the items that both answered."""
    both = patient.answered & clinician.answered
    pattern = _pattern(plan, both, patient.does_not_apply | clinician.does_not_apply)
    patient_values = _values(plan, pattern, patient.points * both)
    clinician_values = _values(plan, pattern, clinician.points * both)
    values, reasons = gaps.values[:, rows], gaps.reasons[:, rows]
    np.subtract(clinician_values, patient_values, out=values)
    reasons[:] = pattern.reasons
    gaps.thin[:, rows] = pattern.thin
    gaps.n_items[:, rows] = pattern.n_answered
    why_no_verdict = gaps.reliable_reasons[:, rows]
    why_no_verdict[:] = pattern.reasons
    why_no_verdict[pattern.reasons == 0] = CODE_BY_REASON[Reason.NO_REFERENCE]
    for line, (mean_gap, threshold) in judged.items():
        has_gap = (pattern.reasons[line] == 0) & ~excluded
        reliable = np.abs(values[line] - mean_gap) > threshold
        gaps.reliable[line, rows] = np.where(has_gap, reliable, np.int8(-1))
        why_no_verdict[line, has_gap] = 0
    _profiles(plan, patient_values, clinician_values, rows, profile)
    if excluded.any():
        not_eligible = CODE_BY_REASON[Reason.NOT_ELIGIBLE]
        values[:, excluded] = np.nan
        reasons[:, excluded] = not_eligible
        why_no_verdict[:, excluded] = not_eligible
        gaps.thin[:, rows][:, excluded] = False
        gaps.n_items[:, rows][:, excluded] = 0
        profile.n_components[rows][excluded] = 0
        profile.reasons[rows][excluded] = not_eligible
        profile.values[:, rows][:, excluded] = np.nan


def _profiles(plan: _Plan, patient_values: Floats, clinician_values: Floats, rows: slice, out: _ProfileColumns) -> None:
    """`dyad._profile` for a chunk: the same terms, added in the same order."""
    n_components = len(plan.components)
    p, c = patient_values[:n_components], clinician_values[:n_components]
    scored = ~np.isnan(p)
    weight = scored.astype(np.float64)
    p, c = np.where(scored, p, 0.0), np.where(scored, c, 0.0)
    n_scored = scored.sum(axis=0, dtype=np.int16)
    m = np.maximum(n_scored, 1).astype(np.float64)
    shift_each = c - p
    d_squared = _added(shift_each * shift_each)
    mean_p, mean_c = _added(p) / m, _added(c) / m
    from_p, from_c = (p - mean_p) * weight, (c - mean_c) * weight
    flat_p, flat_c = _flat(p, scored), _flat(c, scored)
    variance_p = np.where(flat_p, 0.0, _added(from_p * from_p) / m)
    variance_c = np.where(flat_c, 0.0, _added(from_c * from_c) / m)
    flat, both_flat = flat_p | flat_c, flat_p & flat_c
    covariance = np.where(flat, 0.0, _added(from_p * from_c) / m)
    sd_p, sd_c = np.sqrt(variance_p), np.sqrt(variance_c)
    shift, spread = mean_c - mean_p, sd_c - sd_p
    quarter = 0.25 * (shift * shift)
    shape = np.maximum(0.0, 2.0 * m * (sd_c * sd_p - covariance))
    # Denominators of undefined results are set to 1: those results are dropped below.
    correlation = covariance / np.where(flat, 1.0, sd_c * sd_p)
    icc = (covariance - quarter) / np.where(both_flat, 1.0, 0.5 * (variance_p + variance_c) + quarter)
    numbers = {
        "d_squared": d_squared,
        "elevation": m * (shift * shift),
        "scatter": m * (spread * spread),
        "shape": np.where(flat, np.nan, shape),
        "correlation": np.where(flat, np.nan, np.minimum(1.0, np.maximum(-1.0, correlation))),
        "double_entry_icc": np.where(both_flat, np.nan, np.minimum(1.0, np.maximum(-1.0, icc))),
    }
    for line, field in enumerate(PROFILE_FIELDS):
        out.values[line, rows] = numbers[field]
    few = n_scored < max(1, plan.layout.rules.profile_minimum_components)
    out.values[:, rows][:, few] = np.nan
    reasons = np.where(flat, np.uint8(CODE_BY_REASON[Reason.FLAT_PROFILE]), np.uint8(0))
    reasons[few] = CODE_BY_REASON[Reason.TOO_FEW_COMPONENTS]
    out.reasons[rows] = reasons
    out.n_components[rows] = n_scored


def _added(terms: Floats) -> Floats:
    """The lines added one after the other, as the one-by-one loop does; `np.sum` may pair them differently."""
    total = np.zeros(terms.shape[1])
    for line in terms:
        total += line
    return total


def _flat(values: Floats, scored: Bools) -> Bools:
    """Whether all scored values of a column are equal (also where none is)."""
    lowest = np.where(scored, values, np.inf).min(axis=0)
    highest = np.where(scored, values, -np.inf).max(axis=0)
    flat: Bools = lowest >= highest
    return flat


# ---- What came in -------------------------------------------------------------------------------------------


def _check_forms(who: str, layout: FormLayout, batch: FormBatch) -> None:
    n, n_items = len(batch.present), len(layout.items)
    if batch.answers.shape != (n, n_items) or not np.issubdtype(batch.answers.dtype, np.integer):
        raise ScoringInputError(
            f"The {who} answers must be a matrix of whole numbers with {n} rows and {n_items} columns (form "
            f"{layout.form}); {batch.answers.dtype} of shape {batch.answers.shape} came. Use encode_answers(...)."
        )
    for name, array in (("present", batch.present), ("blind", batch.blind)):
        _check_length(f"{who} {name}", array, n)
        if array.dtype != np.bool_:
            raise ScoringInputError(f"The {who} {name} must be Boolean; {array.dtype} came. Convert it first.")
    _check_length(f"{who} median_seconds", batch.median_seconds, n)
    _check_numbers(f"{who} median_seconds", np.where(batch.present, batch.median_seconds, np.nan))
    answers = batch.answers
    lawful = (answers >= layout.scale_minimum) & (answers <= layout.scale_maximum)
    lawful |= (answers == UNANSWERED) | (answers == DOES_NOT_APPLY)
    wrong = ~lawful.all(axis=1) & batch.present
    if wrong.any():
        row = int(wrong.argmax())
        raise ScoringInputError(
            f"Row {row} of the {who} answers, item {layout.items[int((~lawful[row]).argmax())]}: the code must be "
            f"{layout.scale_minimum} to {layout.scale_maximum}, {UNANSWERED} for unanswered or {DOES_NOT_APPLY} for "
            "does not apply; another number came. Use encode_answers(...)."
        )


def _check_length(name: str, array: npt.NDArray[Any], n: int) -> None:
    if array.shape != (n,):
        raise ScoringInputError(
            f"{name} must have one value for each of the {n} rows; an array of shape {array.shape} came. "
            "Take all arrays from the same rows."
        )


def _check_numbers(name: str, numbers: Floats) -> None:
    wrong = np.isinf(numbers) | (numbers < 0)
    if wrong.any():
        raise ScoringInputError(
            f"Row {int(wrong.argmax())}: {name} must be a finite number, 0 or more, or NaN where unknown; "
            "a negative or infinite number came. Correct it in the visit's record."
        )
