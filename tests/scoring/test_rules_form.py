"""One form to its scores: the published examples, the borders of every rule, every reason and every flag."""

import dataclasses
from pathlib import Path

import pytest

from instruments.catalogue.reader import read_instrument
from instruments.definitions import Absence, Form, Instrument, Option, ScoringExample
from scoring.rules.form import FormScore, Score, score_form
from scoring.rules.layout import form_layout, form_layouts
from scoring.rules.reasons import Flag, Reason, ScoringInputError
from scoring.rules.records import form_record

INSTRUMENT = read_instrument(Path(__file__).parents[2] / "instruments" / "catalogue" / "healing-relationships-1.0.yaml")
LAYOUTS = form_layouts(INSTRUMENT)
FULL = LAYOUTS["full"]
POWER = ("PP1", "PP2", "PP3", "PE1", "PE2", "PU1", "PU2", "PU3")
CONNECTING = ("VC1", "VC2")
EMPATHY = ("VE1", "VE3")
REVERSED = ("VN3", "VP3", "AN3")


def full(others: int | str = 4, **answers: int | str) -> dict[str, int | str]:
    """A full form: `others` everywhere, its opposite (2 for 4) on the reversed items, and the named answers."""
    opposite = 6 - others if isinstance(others, int) else others
    return {item: opposite if item in REVERSED else others for item in FULL.items} | answers


def scored(answers: dict[str, int | str], *, median_seconds: float | None = None) -> FormScore:
    """The scores of a full form."""
    return score_form(FULL, answers, median_seconds=median_seconds)


def found(value: float, n_answered: int, n_applicable: int, *, thin: bool = False) -> Score:
    """A score."""
    return Score(value=value, reason=None, n_answered=n_answered, n_applicable=n_applicable, thin=thin)


def missing(reason: Reason, n_answered: int, n_applicable: int) -> Score:
    """No score."""
    return Score(value=None, reason=reason, n_answered=n_answered, n_applicable=n_applicable, thin=False)


@pytest.mark.parametrize("example", INSTRUMENT.examples, ids=lambda example: example.id)
def test_catalogue_example(example: ScoringExample) -> None:
    """Every scoring example of the released catalogue gives exactly its scores, reasons and flags."""
    result = score_form(LAYOUTS[example.form], example.answers)
    assert {name: score.value for name, score in result.scores.items() if score.value is not None} == example.scores
    assert {name: score.reason for name, score in result.scores.items() if score.reason} == example.unscored
    assert result.flags == example.flags


def test_published_vector() -> None:
    """The item bank's vector, VN1 = 5, VN2 = 4, VN3 = 2, gives 83.333... as the nearest float and nothing else."""
    result = score_form(FULL, {"VN1": 5, "VN2": 4, "VN3": 2})
    assert result.scores["nonjudgmental_stance"] == Score(
        value=83.33333333333333, reason=None, n_answered=3, n_applicable=3, thin=False
    )
    assert (result.n_answered, result.n_does_not_apply, result.n_unanswered) == (3, 0, 47)


def test_plan_cases() -> None:
    """The plan's further cases: one of three is no score, crises may not apply, power needs two components."""
    stance = scored(full(VN1=5, VN2="SKIPPED", VN3="SKIPPED")).scores["nonjudgmental_stance"]
    assert (stance.value, stance.reason) == (None, Reason.TOO_FEW_ANSWERS)
    crises = scored(full(AM1="DNA", AM3="DNA")).scores
    assert crises["major_health_crises"].reason is Reason.NOT_APPLICABLE
    assert (crises["abiding"].value, crises["abiding"].n_applicable) == (75.0, 8)
    only_partnering = scored(full(PU1="DNA", PU2="DNA", PU3="DNA", PE1="SKIPPED", PE2="SKIPPED")).scores
    assert only_partnering["appreciating_power"].value is None


def test_order_and_rules_version() -> None:
    """Scores come in the order components, domains, composites, and carry the rules' version and the form."""
    result = scored(full())
    assert tuple(result.scores) == (*INSTRUMENT.components, *INSTRUMENT.domains, *INSTRUMENT.composites)
    assert (result.rules_version, result.form) == (INSTRUMENT.scoring.version, "full")


@pytest.mark.parametrize(
    ("score", "changes", "expected"),
    [
        ("nonjudgmental_stance", {"VN1": "SKIPPED"}, found(75.0, 2, 3)),
        ("nonjudgmental_stance", {"VN1": "SKIPPED", "VN3": "PREFER_NOT"}, missing(Reason.TOO_FEW_ANSWERS, 1, 3)),
        ("connecting", {"VC1": "NOT_REACHED", "VC2": 5}, found(100.0, 1, 2, thin=True)),
        ("connecting", {"VC1": "NOT_SHOWN", "VC2": "SKIPPED"}, missing(Reason.TOO_FEW_ANSWERS, 0, 2)),
        ("connecting", {"VC1": "DNA", "VC2": 1}, found(0.0, 1, 1, thin=True)),
        ("pushing", {"PU1": "DNA", "PU2": "DNA", "PU3": 5}, missing(Reason.TOO_FEW_ANSWERS, 1, 1)),
        ("pushing", {"PU1": "DNA", "PU2": "DNA", "PU3": "SKIPPED"}, missing(Reason.TOO_FEW_ANSWERS, 0, 1)),
        ("pushing", {"PU1": "DNA", "PU2": "DNA", "PU3": "DNA"}, missing(Reason.NOT_APPLICABLE, 0, 0)),
        ("presence", {"VP1": 5, "VP2": 5, "VP3": 1}, found(100.0, 3, 3)),
        ("presence", {"VP1": 1, "VP2": 1, "VP3": 5}, found(0.0, 3, 3)),
        # Abiding: 7 of 10 is exactly 70 per cent, 6 of 10 is not; each keeps all four components scored.
        ("abiding", {"AC1": "SKIPPED", "AM1": "SKIPPED", "AA1": "SKIPPED"}, found(75.0, 7, 10)),
        ("abiding", dict.fromkeys(("AC1", "AM1", "AA1", "AN1"), "SKIPPED"), missing(Reason.TOO_FEW_ANSWERS, 6, 10)),
        # Valuing: 10 of 14 is 71 per cent, 4 components of 6 are enough, 3 are not although answers are.
        ("valuing", dict.fromkeys((*CONNECTING, *EMPATHY), "SKIPPED"), found(75.0, 10, 14)),
        (
            "valuing",
            dict.fromkeys((*CONNECTING, *EMPATHY, "VI1", "VI2"), "DNA"),
            missing(Reason.TOO_FEW_COMPONENTS, 8, 8),
        ),
        # Both thresholds missed: the share of answers is named.
        (
            "appreciating_power",
            dict.fromkeys(POWER[3:7], "SKIPPED"),
            missing(Reason.TOO_FEW_ANSWERS, 4, 8),
        ),
        ("appreciating_power", dict.fromkeys(POWER, "DNA"), missing(Reason.NOT_APPLICABLE, 0, 0)),
        ("presence_composite", {"VA1": 5, "VA2": 5, "VE1": 1, "VE3": 1}, found(62.5, 9, 9)),
    ],
)
def test_borders_and_reasons(score: str, changes: dict[str, int | str], expected: Score) -> None:
    """Each threshold holds at its border and not below it, and every missing score says why."""
    assert scored(full(**changes)).scores[score] == expected


def test_domain_is_mean_of_components_not_of_items() -> None:
    """A component of three items weighs no more in its domain than one of two."""
    result = scored(full(4, **dict.fromkeys(("PP1", "PP2", "PP3"), 1))).scores
    assert result["appreciating_power"].value == 50.0  # (0 + 75 + 75) / 3; the items' mean would be 46.875


@pytest.mark.parametrize("absence", list(Absence))
def test_absences(absence: Absence) -> None:
    """Only "does not apply" leaves the denominator; every other reason, and an item that is not there, stays in it."""
    as_member, as_text = scored(full(VA1=absence)), scored(full(VA1=absence.value))
    assert as_member == as_text
    applies = absence is not Absence.DOES_NOT_APPLY
    assert as_text.scores["full_attention"].n_applicable == 1 + applies
    assert (as_text.n_answered, as_text.n_does_not_apply, as_text.n_unanswered) == (49, int(not applies), int(applies))
    if applies:
        answers = full()
        del answers["VA1"]
        assert scored(answers) == as_text


def test_keys_beyond_the_form_are_ignored() -> None:
    """Answers to unscored questions and to items of other forms change nothing, whatever they are."""
    short = LAYOUTS["short"]
    answers: dict[str, object] = dict.fromkeys(short.items, 3)
    beyond = {"X_MISTAKE": "yes", "rel_years": 14.5, "pt_illness": ["diabetes"], "VN3": 5}
    assert score_form(short, answers | beyond) == score_form(short, answers)


def test_score_that_the_form_does_not_ask() -> None:
    """A form without a component's items says NOT_ON_FORM, for its domain too if the whole domain is left out."""
    trust_only = Form(id="trust_only", label={"en": "Trust"}, order=("OT1", "OT2"))
    instrument = dataclasses.replace(INSTRUMENT, forms={"trust_only": trust_only})
    result = score_form(form_layout(instrument, "trust_only"), {"OT1": 5, "OT2": 5})
    assert result.scores["trust"].value == 100.0
    assert result.scores["hope"] == Score(
        value=None, reason=Reason.NOT_ON_FORM, n_answered=0, n_applicable=0, thin=False
    )
    assert result.scores["abiding"].reason is Reason.NOT_ON_FORM
    assert result.scores["outcome"].reason is Reason.TOO_FEW_COMPONENTS


@pytest.mark.parametrize(
    ("answers", "flags"),
    [
        (dict.fromkeys(FULL.items, 3), (Flag.STRAIGHTLINE,)),
        (dict.fromkeys(FULL.items, 1), (Flag.STRAIGHTLINE, Flag.REVERSE_CONFLICT)),
        (full(), ()),
        # One other value anywhere, or one reversed item unanswered: no straight line. Gaps elsewhere don't save it.
        (dict.fromkeys(FULL.items, 3) | {"OK3": 4}, ()),
        (dict.fromkeys(FULL.items, 3) | {"VN3": "SKIPPED"}, ()),
        (dict.fromkeys(FULL.items, 3) | {"OK3": "SKIPPED", "PU1": "DNA"}, (Flag.STRAIGHTLINE,)),
        # 4 turned round is 2: three points from a mean of 5. Two such items are a conflict, one is not.
        (full(VN1=5, VN2=5, VN3=4, VP1=5, VP2=5, VP3=4), (Flag.REVERSE_CONFLICT,)),
        (full(VN1=5, VN2=5, VN3=4), ()),
        # Just under three points: mean of 5 and 4.
        (full(VN1=5, VN2=4, VN3=4, VP1=5, VP2=5, VP3=4), ()),
        # In the other direction: everything low, and "not judged", "not rushed".
        (full(VN1=1, VN2=1, VN3=2, VP1=1, VP2=1, VP3=1), (Flag.REVERSE_CONFLICT,)),
        # Only the answered others count; with none answered there is nothing to contradict.
        (full(VN1=5, VN2="SKIPPED", VN3=4, VP1="DNA", VP2=5, VP3=4), (Flag.REVERSE_CONFLICT,)),
        (full(VN1="SKIPPED", VN2="DNA", VN3=5, VP1=5, VP2=5, VP3=5), ()),
        (full(VN1=5, VN2=5, VN3="SKIPPED", VP1=5, VP2=5, VP3=5), ()),
    ],
)
def test_straightline_and_reverse_conflict(answers: dict[str, int | str], flags: tuple[Flag, ...]) -> None:
    """Straight lines and contradictions are flagged at their exact borders."""
    assert scored(answers).flags == flags


def test_short_form_has_no_reverse_checks() -> None:
    """The short form holds no reversed item, so a straight line there is no sign of carelessness."""
    assert score_form(LAYOUTS["short"], dict.fromkeys(LAYOUTS["short"].items, 5)).flags == ()


@pytest.mark.parametrize(
    ("n_unanswered", "n_does_not_apply", "flagged"),
    [(15, 0, False), (16, 0, True), (12, 10, False), (13, 10, True), (0, 50, False), (1, 49, True)],
)
def test_missing_flag(n_unanswered: int, n_does_not_apply: int, flagged: bool) -> None:
    """Exactly 30 per cent of the applicable items unanswered is no flag; one item more is."""
    absences = ["SKIPPED"] * n_unanswered + ["DNA"] * n_does_not_apply
    result = scored(full() | dict(zip(FULL.items, absences, strict=False)))
    assert (Flag.MISSING in result.flags) is flagged


@pytest.mark.parametrize(("seconds", "flagged"), [(1.99, True), (2.0, False), (0.0, True), (None, False)])
def test_fast_flag(seconds: float | None, flagged: bool) -> None:
    """A median under two seconds an item is flagged, two seconds are not, and no time is no flag."""
    assert (scored(full(), median_seconds=seconds).flags == (Flag.FAST,)) is flagged


@pytest.mark.parametrize("answer", [0, 6, 77, -1, True, 3.0, None, "agree4711", "5", "", ["x"]])
def test_unusable_answer(answer: object) -> None:
    """An answer off the scale or an unknown text names the item and what is allowed, never the answer itself."""
    with pytest.raises(
        ScoringInputError, match=r"^Item PU2 on form full: .*from 1 to 5 or one of SKIPPED, .*DNA"
    ) as error:
        score_form(FULL, {"PU2": answer})
    assert "77" not in str(error.value)
    assert "4711" not in str(error.value)


@pytest.mark.parametrize("seconds", [-0.1, float("nan"), float("inf")])
def test_unusable_time(seconds: float) -> None:
    """A time that is no number of seconds is refused with the form's name."""
    with pytest.raises(ScoringInputError, match="Form full: the median time per item"):
        scored(full(), median_seconds=seconds)


def test_layout_of_unknown_form() -> None:
    """An unknown form is refused with the forms that there are."""
    with pytest.raises(ScoringInputError, match="one of full, short; 'bank' came"):
        form_layout(INSTRUMENT, "bank")


def _with_scale(*values: int) -> Instrument:
    return dataclasses.replace(INSTRUMENT, scale=tuple(Option(value=value, label={}) for value in values))


@pytest.mark.parametrize("values", [(0, 1, 2), (1, 2, 4), (1,), (60, 61)])
def test_layout_of_unusable_scale(values: tuple[int, ...]) -> None:
    """Scoring refuses a response scale with gaps, from 0, of one point, or beyond what a byte can hold."""
    with pytest.raises(ScoringInputError, match="response scale"):
        form_layout(_with_scale(*values), "full")


def test_other_scale() -> None:
    """Reversal and rescaling follow the instrument's own scale: on 2 to 8 a reversed 3 is a 7."""
    layout = form_layout(_with_scale(*range(2, 9)), "full")
    result = score_form(layout, {"VN1": 8, "VN2": 8, "VN3": 3, "VC1": 2, "VC2": 5})
    assert result.scores["nonjudgmental_stance"].value == pytest.approx(100 * (23 / 3 - 2) / 6, rel=1e-15)
    assert result.scores["connecting"].value == 25.0


def test_layout_with_equal_ids() -> None:
    """Two scores of one name would overwrite each other, so the layout is refused."""
    twin = {"valuing": dataclasses.replace(INSTRUMENT.composites["presence_composite"], id="valuing")}
    with pytest.raises(ScoringInputError, match="; valuing came twice"):
        form_layout(dataclasses.replace(INSTRUMENT, composites=twin), "full")


def test_layout_with_endless_component() -> None:
    """A component of so many items that its mean is no exact count of parts is refused."""
    items = {code: dataclasses.replace(item, component="trust") for code, item in INSTRUMENT.items.items()}
    with pytest.raises(ScoringInputError, match="too many items for exact scores"):
        form_layout(dataclasses.replace(INSTRUMENT, items=items), "full")


def test_form_record() -> None:
    """The stored record holds each value or its reason, the thin scores, the flags and the counts."""
    record = form_record(scored(full(VN1="SKIPPED", VN2="SKIPPED", VC1="DNA", VC2=5), median_seconds=1))
    assert record["form"] == "full"
    assert record["rules"] == INSTRUMENT.scoring.version
    assert record["values"]["nonjudgmental_stance"] is None
    assert record["values"]["connecting"] == 100.0
    assert record["reasons"] == {"nonjudgmental_stance": "TOO_FEW_ANSWERS"}
    assert record["thin"] == ["connecting"]
    assert record["flags"] == ["fast"]
    assert (record["n_answered"], record["n_does_not_apply"], record["n_unanswered"]) == (47, 1, 2)
    assert list(record["values"]) == list(FULL.score_ids)
