"""A whole study at once gives what one by one gives, to the last bit, in any order and any size of chunk."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from instruments.catalogue.reader import read_instrument
from scoring.rules.batch import (
    PROFILE_FIELDS,
    Codes,
    DyadScoringBatch,
    FormBatch,
    encode_answers,
    score_dyads,
    score_forms,
)
from scoring.rules.dyad import DyadScoring, GapReference, RatedForm, score_dyad
from scoring.rules.form import score_form
from scoring.rules.layout import form_layouts
from scoring.rules.reasons import (
    CODE_BY_REASON,
    FLAGS,
    INELIGIBILITIES,
    REASON_BY_CODE,
    Flag,
    Ineligibility,
    Reason,
    ScoringInputError,
)
from scoring.rules.records import dyad_record, dyad_records, form_record, form_records

INSTRUMENT = read_instrument(Path(__file__).parents[2] / "instruments" / "catalogue" / "healing-relationships-1.0.yaml")
LAYOUTS = form_layouts(INSTRUMENT)
FULL = LAYOUTS["full"]
REFERENCES = {
    "valuing": GapReference(mean_gap=-3.7, sem_patient=5.1, sem_clinician=6.3),
    "trust": GapReference(mean_gap=0, sem_patient=0, sem_clinician=0),
    "knowledge": GapReference(mean_gap=12.5, sem_patient=20.0, sem_clinician=0.1),
}
ANSWERS: tuple[int | str, ...] = (1, 2, 3, 4, 5, "DNA", "SKIPPED", "PREFER_NOT", "NOT_REACHED", "NOT_SHOWN")

Answers = dict[str, int | str]


def answers_on(form: str) -> st.SearchStrategy[Answers]:
    """Answer maps: complete, nearly complete, full of gaps, one value throughout; items may be absent."""
    items = LAYOUTS[form].items
    points = st.sampled_from(ANSWERS[:5])
    nearly = st.one_of(*[points] * 9, st.sampled_from(ANSWERS))
    return st.one_of(
        st.tuples(*[points] * len(items)).map(lambda row: dict(zip(items, row, strict=True))),
        st.tuples(*[nearly] * len(items)).map(lambda row: dict(zip(items, row, strict=True))),
        st.tuples(*[st.sampled_from(ANSWERS)] * len(items)).map(lambda row: dict(zip(items, row, strict=True))),
        st.sampled_from(ANSWERS).map(lambda one: dict.fromkeys(items, one)),
        st.dictionaries(st.sampled_from(items), st.sampled_from(ANSWERS)),
    )


def rated_on(form: str) -> st.SearchStrategy[RatedForm | None]:
    """Forms as they come: mostly there, blind and timed, but not always."""
    mostly = st.sampled_from([True] * 9 + [False])
    seconds = st.none() | st.just(2.0) | st.floats(0, 10)
    there = st.builds(RatedForm, form=st.just(form), answers=answers_on(form), blind=mostly, median_seconds=seconds)
    return st.one_of(*[there] * 9, st.none())


Case = tuple[RatedForm | None, RatedForm | None, int, float | None, int | None]


def cases(form: str) -> st.SearchStrategy[list[Case]]:
    """Rows of a study: patient form, clinician form, days apart, months known, visits."""
    unknown_or = st.none() | st.integers(0, 6)
    row = st.tuples(rated_on(form), rated_on(form), st.integers(12, 16) | st.just(0), unknown_or, unknown_or)
    return st.lists(row, min_size=1, max_size=5)


def one_by_one(cases_: list[Case]) -> list[DyadScoring]:
    """The rows through `score_dyad`."""
    return [
        score_dyad(
            LAYOUTS,
            patient=patient,
            clinician=clinician,
            days_apart=days,
            months_known=months,
            visits=visits,
            references=REFERENCES,
        )
        for patient, clinician, days, months, visits in cases_
    ]


def form_batch(form: str, forms: list[RatedForm | None]) -> FormBatch:
    """One role's forms as arrays."""
    nan = math.nan
    return FormBatch(
        answers=encode_answers(LAYOUTS[form], [{} if one is None else one.answers for one in forms]),
        present=np.array([one is not None for one in forms], dtype=np.bool_),
        blind=np.array([one is not None and one.blind for one in forms], dtype=np.bool_),
        median_seconds=np.array(
            [nan if one is None or one.median_seconds is None else one.median_seconds for one in forms],
            dtype=np.float64,
        ),
    )


def at_once(form: str, cases_: list[Case], *, chunk_rows: int = 4096) -> DyadScoringBatch:
    """The rows through `score_dyads`."""
    return score_dyads(
        LAYOUTS[form],
        patient=form_batch(form, [case[0] for case in cases_]),
        clinician=form_batch(form, [case[1] for case in cases_]),
        days_apart=np.array([math.nan if None in case[:2] else case[2] for case in cases_], dtype=np.float64),
        months_known=np.array([math.nan if case[3] is None else case[3] for case in cases_], dtype=np.float64),
        visits=np.array([math.nan if case[4] is None else case[4] for case in cases_], dtype=np.float64),
        references=REFERENCES,
        chunk_rows=chunk_rows,
    )


def random_cases(form: str, *, n: int, seed: int) -> list[Case]:
    """Synthetic rows from a fixed seed, with every kind of absence in changing amounts."""
    rng = np.random.default_rng(seed)
    items = LAYOUTS[form].items

    def rated() -> RatedForm | None:
        if rng.random() < 0.04:
            return None
        gaps = rng.choice([0, 0.02, 0.15, 0.4])
        points = (
            [int(rng.integers(1, 6))] * len(items) if rng.random() < 0.1 else rng.integers(1, 6, len(items)).tolist()
        )
        absences = rng.choice(ANSWERS[5:], len(items)).tolist()
        absent = (rng.random(len(items)) < gaps).tolist()
        answers: Answers = {
            item: absence if gone else point
            for item, point, absence, gone in zip(items, points, absences, absent, strict=True)
        }
        seconds = None if rng.random() < 0.3 else float(rng.random() * 6)
        return RatedForm(form=form, answers=answers, blind=bool(rng.random() > 0.04), median_seconds=seconds)

    def unknown_or(high: int) -> int | None:
        return None if rng.random() < 0.2 else int(rng.integers(0, high))

    return [(rated(), rated(), int(rng.integers(0, 16)), unknown_or(20), unknown_or(8)) for _ in range(n)]


@settings(max_examples=120, deadline=None)
@given(rows=st.sampled_from(["full", "short"]).flatmap(lambda form: st.tuples(st.just(form), cases(form))))
def test_twins_agree_to_the_last_bit(rows: tuple[str, list[Case]]) -> None:
    """Whatever the answers, each row of the batch equals the one-by-one result: values, reasons, flags, records."""
    form, cases_ = rows
    expected = one_by_one(cases_)
    batch = at_once(form, cases_)
    assert [batch.row(index) for index in range(len(batch))] == expected
    assert dyad_records(batch) == [dyad_record(one) for one in expected]
    assert batch.eligible.tolist() == [one.eligible for one in expected]


@pytest.mark.parametrize("form", ["full", "short"])
def test_twins_agree_on_a_study(form: str) -> None:
    """Six hundred random dyads, in chunks that don't divide them, equal the one-by-one results exactly."""
    cases_ = random_cases(form, n=600, seed=2008)
    expected = one_by_one(cases_)
    batch = at_once(form, cases_, chunk_rows=128)
    assert [batch.row(index) for index in range(len(batch))] == expected
    # The comparison is worth something only if the rare results occur.
    reasons = {gap.reason for one in expected for gap in one.gaps.values()}
    assert reasons >= {None, Reason.NOT_ELIGIBLE, Reason.TOO_FEW_ANSWERS}
    assert {one.profile.reason for one in expected} >= {None, Reason.TOO_FEW_COMPONENTS, Reason.FLAT_PROFILE}
    assert {gap.reliable for one in expected for gap in one.gaps.values()} == {None, True, False}
    wanted = set(Ineligibility) - {Ineligibility.FORMS_DIFFER}
    assert {why for one in expected for why in one.ineligible} == wanted
    assert any(one.notes for one in expected)


def _bytes(batch: DyadScoringBatch) -> list[bytes]:
    arrays = [
        array
        for side in (batch.patient, batch.clinician)
        for array in (side.values, side.reasons, side.n_answered, side.n_applicable, side.thin, side.flags)
    ]
    arrays += [batch.gaps.values, batch.gaps.reasons, batch.gaps.reliable, batch.gaps.reliable_reasons]
    arrays += [batch.gaps.thin, batch.gaps.n_items, batch.profile.values, batch.profile.reasons]
    return [np.ascontiguousarray(array).tobytes() for array in arrays]


@pytest.mark.parametrize("chunk_rows", [1, 7, 299, 10_000])
def test_chunks_change_nothing(chunk_rows: int) -> None:
    """The size of the chunks changes no bit of any result."""
    cases_ = random_cases("full", n=300, seed=7)
    assert _bytes(at_once("full", cases_, chunk_rows=chunk_rows)) == _bytes(at_once("full", cases_))


def test_equal_profiles_never_correlate_beyond_one() -> None:
    """Rounding lifts no coefficient of two equal profiles above 1, and takes none visibly below."""
    cases_: list[Case] = [(case[0], case[0], 0, 12, 3) for case in random_cases("full", n=300, seed=13)]
    batch = at_once("full", cases_)
    assert [batch.row(index) for index in range(len(batch))] == one_by_one(cases_)
    for field in ("correlation", "double_entry_icc"):
        coefficients = batch.profile.values[:, PROFILE_FIELDS.index(field)]
        coefficients = coefficients[~np.isnan(coefficients)]
        assert len(coefficients) > 100
        assert coefficients.max() <= 1
        assert coefficients.min() > 1 - 1e-12


def test_row_order_changes_nothing() -> None:
    """A dyad's results do not depend on its neighbours: shuffled rows give shuffled results."""
    cases_ = random_cases("full", n=200, seed=11)
    order = np.random.default_rng(3).permutation(len(cases_)).tolist()
    straight, shuffled = at_once("full", cases_), at_once("full", [cases_[index] for index in order])
    assert [shuffled.row(place) for place in range(len(order))] == [straight.row(index) for index in order]


def test_published_vector_in_a_batch() -> None:
    """The published vector gives 83.333... in the arrays too, and what is missing has its reason's code."""
    batch = score_forms(FULL, encode_answers(FULL, [{"VN1": 5, "VN2": 4, "VN3": 2}, {}]))
    column = FULL.score_ids.index("nonjudgmental_stance")
    assert batch.values[0, column] == 83.33333333333333
    assert math.isnan(batch.values[1, column])
    assert REASON_BY_CODE[batch.reasons[1, column]] is Reason.TOO_FEW_ANSWERS
    assert batch.reasons[0, column] == 0
    assert (batch.n_answered[0, column], batch.n_applicable[0, column]) == (3, 3)
    assert (batch.form_n_answered.tolist(), batch.form_n_unanswered.tolist()) == ([3, 0], [47, 50])
    assert batch.values.shape == (2, len(FULL.score_ids))
    assert len(batch) == 2


@pytest.mark.parametrize("form", ["full", "short"])
def test_catalogue_examples_in_a_batch(form: str) -> None:
    """The catalogue's examples, which stand on the borders of the rules, give the same in a batch as one by one."""
    examples = [example for example in INSTRUMENT.examples if example.form == form]
    batch = score_forms(LAYOUTS[form], encode_answers(LAYOUTS[form], [example.answers for example in examples]))
    assert examples
    for index, example in enumerate(examples):
        row = batch.row(index)
        assert row == score_form(LAYOUTS[form], example.answers)
        assert row is not None
        assert row.flags == example.flags


@pytest.mark.parametrize(("seconds", "flagged"), [(1.99, True), (2.0, False)])
def test_fast_flag_in_a_batch(seconds: float, flagged: bool) -> None:
    """Two seconds an item are not flagged as fast, less is."""
    answers = encode_answers(FULL, [{"VN1": 3}])
    batch = score_forms(FULL, answers, median_seconds=np.array([seconds]))
    assert batch.flags[0, FLAGS.index(Flag.FAST)] == flagged


def test_forms_without_partner() -> None:
    """Forms of one role alone equal `score_form`, records included; a row without a form says so and stays empty."""
    cases_ = random_cases("full", n=80, seed=5)
    forms = [case[0] for case in cases_]
    given_ = form_batch("full", forms)
    batch = score_forms(FULL, given_.answers, present=given_.present, median_seconds=given_.median_seconds)
    expected = [
        None if one is None else score_form(FULL, one.answers, median_seconds=one.median_seconds) for one in forms
    ]
    assert [batch.row(index) for index in range(len(batch))] == expected
    assert form_records(batch) == [None if one is None else form_record(one) for one in expected]
    absent = expected.index(None)
    assert set(batch.reasons[absent].tolist()) == {CODE_BY_REASON[Reason.FORM_MISSING]}
    assert np.isnan(batch.values[absent]).all()
    assert not batch.flags[absent].any()
    assert batch.n_applicable[absent].sum() == batch.form_n_unanswered[absent] == 0
    untimed = score_forms(FULL, given_.answers)
    assert not untimed.flags[:, FLAGS.index(Flag.FAST)].any()
    assert untimed.present.all()


def test_answers_of_an_absent_form_are_not_read() -> None:
    """What stands in the matrix of a row without a form reaches no result, not even as an input error."""
    rubbish = encode_answers(FULL, [dict.fromkeys(FULL.items, 3)] * 2)
    rubbish[1] = 99
    batch = score_forms(FULL, rubbish, present=np.array([True, False]), median_seconds=np.array([1.0, -5.0]))
    assert batch.row(1) is None
    assert batch.row(0) == score_form(FULL, dict.fromkeys(FULL.items, 3), median_seconds=1.0)


def test_no_rows() -> None:
    """A study without dyads gives empty results."""
    batch = at_once("full", [])
    assert len(batch) == 0
    assert dyad_records(batch) == []
    assert batch.profile.values.shape == (0, len(PROFILE_FIELDS))
    assert batch.ineligible.shape == (0, len(INELIGIBILITIES))


def test_results_are_read_only_and_inputs_unchanged() -> None:
    """Results cannot be altered by accident, and scoring leaves what it was given as it was."""
    answers = encode_answers(FULL, [dict.fromkeys(FULL.items, 4)])
    before = answers.copy()
    present = np.array([True])
    batch = score_forms(FULL, answers, present=present)
    with pytest.raises(ValueError, match="read-only"):
        batch.values[0, 0] = 1
    assert (answers == before).all()
    assert answers.flags.writeable
    present[0] = False
    assert batch.row(0) is not None


def test_records_are_json() -> None:
    """The records survive a round trip through strict JSON unchanged: no NaN, no enum, no NumPy number."""
    records = dyad_records(at_once("full", random_cases("full", n=40, seed=9)))
    assert json.loads(json.dumps(records, allow_nan=False)) == records


def test_encoding() -> None:
    """Scale points stay, "does not apply" is -1, every other absence and an absent item are 0."""
    whole: Answers = dict(zip(FULL.items, (ANSWERS * 5)[:50], strict=True))
    part: Answers = {"VN1": 5, "VC1": "DNA", "VP1": "SKIPPED", "X_MISTAKE": "yes"}
    encoded = encode_answers(FULL, [whole, part, {}])
    assert encoded.dtype == np.int8
    assert encoded[0, :10].tolist() == [1, 2, 3, 4, 5, -1, 0, 0, 0, 0]
    assert encoded[1, :4].tolist() == [5, -1, 0, 0]
    assert not encoded[2].any()
    assert encode_answers(FULL, []).shape == (0, 50)


def test_encoding_of_many_rows() -> None:
    """Rows beyond the first chunk are read like the first."""
    maps: list[Answers] = [
        {item: 1 + (row + place) % 5 for place, item in enumerate(FULL.items)} for row in range(5000)
    ]
    encoded = encode_answers(FULL, maps)
    assert (encoded == (1 + (np.arange(5000)[:, None] + np.arange(50)) % 5)).all()


@pytest.mark.parametrize("answer", [0, 6, True, 3.0, None, "secret4711", ["x"]])
def test_encoding_of_an_unusable_answer(answer: object) -> None:
    """The row and the item of an unusable answer are named, the answer is not."""
    maps: list[dict[str, object]] = [{"PU2": 3} for _ in range(4500)]
    maps[4321]["PU2"] = answer
    with pytest.raises(ScoringInputError, match=r"^Row 4321: Item PU2 on form full:") as error:
        encode_answers(FULL, maps)
    assert "4711" not in str(error.value)


def _study(**changes: object) -> Callable[[], object]:
    answers = encode_answers(FULL, [dict.fromkeys(FULL.items, 3)] * 3)
    yes, numbers = np.ones(3, dtype=np.bool_), np.ones(3)
    patient = {"answers": answers, "present": yes, "blind": yes, "median_seconds": numbers}
    dyads: dict[str, object] = {"days_apart": numbers, "months_known": numbers, "visits": numbers, "references": None}
    chunk_rows = changes.pop("chunk_rows", 4096)
    dyads |= {name: changes.pop(name) for name in list(changes) if name in dyads}
    clinician = FormBatch(**patient)
    batch = FormBatch(**(patient | changes))
    return lambda: score_dyads(FULL, patient=batch, clinician=clinician, chunk_rows=chunk_rows, **dyads)


def _with(value: float) -> np.ndarray:
    return np.array([1.0, value, 1.0])


def _answers_with(code: int) -> Codes:
    answers = encode_answers(FULL, [dict.fromkeys(FULL.items, 3)] * 3)
    answers[2, 4] = code
    return answers


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"answers": np.ones((3, 20), dtype=np.int8)}, r"patient answers .*3 rows and 50 columns .*\(3, 20\) came"),
        ({"answers": np.ones((2, 50), dtype=np.int8)}, "patient answers must be a matrix"),
        ({"answers": np.ones((3, 50))}, "float64"),
        ({"answers": _answers_with(6)}, "Row 2 of the patient answers, item VI1: .*another number came"),
        ({"answers": _answers_with(-2)}, "Row 2 of the patient answers, item VI1"),
        ({"present": np.ones(3)}, "patient present must be Boolean"),
        ({"blind": np.ones(2, dtype=np.bool_)}, r"patient blind must have one value for each of the 3 rows.*\(2,\)"),
        ({"median_seconds": _with(-1)}, "Row 1: patient median_seconds"),
        ({"median_seconds": np.ones(4)}, "patient median_seconds must have one value"),
        ({"days_apart": _with(math.nan)}, "Row 1: days_apart must be the days between"),
        ({"days_apart": _with(-1)}, "Row 1: days_apart must be a finite number"),
        ({"months_known": _with(math.inf)}, "Row 1: months_known must be a finite number"),
        ({"visits": _with(-2)}, "Row 1: visits must be a finite number"),
        ({"visits": np.ones(2)}, "visits must have one value for each"),
        ({"references": {"total": GapReference(mean_gap=0, sem_patient=1, sem_clinician=1)}}, "total came"),
        ({"chunk_rows": 0}, "chunk_rows must be at least 1; 0 came"),
    ],
)
def test_unusable_arrays(changes: dict[str, object], message: str) -> None:
    """Arrays that don't fit are refused, naming the array, the row and what is required."""
    with pytest.raises(ScoringInputError, match=message):
        _study(**changes)()


def test_roles_of_different_studies() -> None:
    """Two roles with different numbers of rows cannot be dyads."""
    with pytest.raises(ScoringInputError, match=r"clinician must have one value for each of the 1 rows"):
        score_dyads(
            FULL,
            patient=form_batch("full", [None]),
            clinician=form_batch("full", [None, None]),
            days_apart=np.ones(1),
            months_known=np.ones(1),
            visits=np.ones(1),
        )


def test_codes_of_reasons() -> None:
    """The small integers of the arrays lead to the reasons and back; 0 is no reason."""
    assert REASON_BY_CODE[0] is None
    assert {REASON_BY_CODE[code] for code in CODE_BY_REASON.values()} == set(Reason)
    assert all(REASON_BY_CODE[code] is reason for reason, code in CODE_BY_REASON.items())
