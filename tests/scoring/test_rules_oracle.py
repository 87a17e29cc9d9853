"""The rules against a slow twin in exact fractions, written from the item bank's prose, and their own symmetries."""

import math
from decimal import Decimal, localcontext
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from instruments.catalogue.reader import read_instrument
from scoring.rules.dyad import DyadScoring, RatedForm, score_dyad
from scoring.rules.form import score_form
from scoring.rules.layout import form_layouts

CATALOGUE = Path(__file__).parents[2] / "instruments" / "catalogue" / "healing-relationships-1.0.yaml"
LAYOUTS = form_layouts(read_instrument(CATALOGUE))
#: The oracle reads the file itself and takes no threshold from it: those stand in the prose of the item bank.
FILE: dict[str, Any] = yaml.safe_load(CATALOGUE.read_text(encoding="utf-8"))
COMPONENT_OF = {item["code"]: item["component"] for item in FILE["items"]}
COMPONENTS = [component["id"] for component in FILE["components"]]
ORDER = {form["id"]: form["order"] for form in FILE["forms"]}
GROUPS = {group["id"]: group["components"] for group in [*FILE["domains"], *FILE["composites"]]}
REVERSE_KEYED = ("VN3", "VP3", "AN3")

#: 1e-12 on scores of up to 100: a few units in the last place of a float near 100 (1.4e-14 each).
SCORE_TOLERANCE = 1e-12

Answers = dict[str, int | str]
FORMS = st.sampled_from(["full", "short"])
MOSTLY = (1, 2, 3, 4, 5) * 4 + ("DNA", "SKIPPED", "PREFER_NOT")


def answers_on(form: str, *, values: tuple[int | str, ...] = MOSTLY) -> st.SearchStrategy[Answers]:
    """Answers to every item of the form."""
    items = ORDER[form]
    return st.tuples(*[st.sampled_from(values)] * len(items)).map(lambda row: dict(zip(items, row, strict=True)))


def pairs(*, values: tuple[int | str, ...] = MOSTLY) -> st.SearchStrategy[tuple[str, Answers, Answers]]:
    """A form's name and two sets of answers on it."""
    return FORMS.flatmap(
        lambda form: st.tuples(st.just(form), answers_on(form, values=values), answers_on(form, values=values))
    )


def mean(values: list[Fraction]) -> Fraction:
    """The exact mean."""
    return sum(values, Fraction(0)) / len(values)


def oracle(form: str, answers: Answers) -> dict[str, Fraction | str]:
    """Scores by the item bank's prose, one sentence of it after the other; a reason where there is no score."""
    on_form = {c: [item for item in ORDER[form] if COMPONENT_OF[item] == c] for c in COMPONENTS}
    results: dict[str, Fraction | str] = {}
    for component, items in on_form.items():
        # x' = 6 - x for items keyed '-'
        keyed = [
            Fraction(6 - answers[item] if item in REVERSE_KEYED else answers[item])
            for item in items
            if isinstance(answers[item], int)
        ]
        if all(answers[item] == "DNA" for item in items):
            results[component] = "NOT_APPLICABLE"
        elif len(keyed) < math.ceil(Fraction(len(items), 2)):  # answered >= ceil(k/2)
            results[component] = "TOO_FEW_ANSWERS"
        else:
            results[component] = (mean(keyed) - 1) * 25
    for group, components in GROUPS.items():
        items = [item for component in components for item in on_form[component]]
        applicable = [item for item in items if answers[item] != "DNA"]
        answered = [item for item in applicable if isinstance(answers[item], int)]
        available = [score for score in (results[component] for component in components) if isinstance(score, Fraction)]
        if not applicable:
            results[group] = "NOT_APPLICABLE"
        elif Fraction(len(answered), len(applicable)) < Fraction(70, 100):
            results[group] = "TOO_FEW_ANSWERS"
        elif len(available) < math.ceil(Fraction(2, 3) * len(components)):  # 2/3 of its components, rounded up
            results[group] = "TOO_FEW_COMPONENTS"
        else:
            results[group] = mean(available)
    return results


def oracle_flags(form: str, answers: Answers) -> set[str]:
    """The flags by the item bank's prose, apart from the time."""
    flags = set()
    answered = {item: value for item, value in answers.items() if isinstance(value, int)}
    if form == "full" and set(REVERSE_KEYED) <= set(answered) and len(set(answered.values())) == 1:
        flags.add("straightline")
    conflicts = 0
    for item in set(REVERSE_KEYED) & set(answered):
        others = [Fraction(v) for o, v in answered.items() if COMPONENT_OF[o] == COMPONENT_OF[item] and o != item]
        conflicts += bool(others) and abs(6 - answered[item] - mean(others)) >= 3
    if conflicts >= 2:
        flags.add("reverse_conflict")
    applicable = [value for value in answers.values() if value != "DNA"]
    if applicable and Fraction(len(applicable) - len(answered), len(applicable)) > Fraction(30, 100):
        flags.add("missing")
    return flags


def pairwise(patient: Answers, clinician: Answers) -> tuple[Answers, Answers]:
    """Both sides with the items that both answered; an item that does not apply to one applies to neither."""
    left: Answers = {}
    right: Answers = {}
    for item in patient:
        both = isinstance(patient[item], int) and isinstance(clinician[item], int)
        gone = "DNA" if "DNA" in (patient[item], clinician[item]) else "SKIPPED"
        left[item] = patient[item] if both else gone
        right[item] = clinician[item] if both else gone
    return left, right


def compared(form: str, patient: Answers, clinician: Answers) -> DyadScoring:
    """The rules' result for an eligible dyad."""
    return score_dyad(
        LAYOUTS,
        patient=RatedForm(form=form, answers=patient, blind=True),
        clinician=RatedForm(form=form, answers=clinician, blind=True),
        days_apart=0,
        months_known=12,
        visits=3,
    )


@settings(max_examples=150, deadline=None)
@given(drawn=FORMS.flatmap(lambda form: st.tuples(st.just(form), answers_on(form))))
def test_form_scores_are_the_nearest_floats(drawn: tuple[str, Answers]) -> None:
    """Every score is the exact fraction rounded once, every reason and flag is the oracle's."""
    form, answers = drawn
    result = score_form(LAYOUTS[form], answers)
    for name, exact in oracle(form, answers).items():
        score = result.scores[name]
        if isinstance(exact, Fraction):
            assert score.value == float(exact), name  # stricter than SCORE_TOLERANCE: the last bit
        else:
            assert (score.value, score.reason) == (None, exact), name
    assert set(result.flags) == oracle_flags(form, answers)


@settings(max_examples=80, deadline=None)
@given(
    answers=answers_on("full", values=(1, 2, 3, 5, 5, 5, 5, 5, "SKIPPED", "DNA")), line=st.sampled_from([None, 1, 3, 5])
)
def test_flags_agree_with_the_oracle_where_they_occur(answers: Answers, line: int | None) -> None:
    """Among many fives and straight lines, where flags are frequent, they are the oracle's."""
    if line:
        answers = {item: line if isinstance(value, int) else value for item, value in answers.items()}
    assert set(score_form(LAYOUTS["full"], answers).flags) == oracle_flags("full", answers)


@settings(max_examples=100, deadline=None)
@given(drawn=pairs())
def test_gaps_agree_with_the_oracle(drawn: tuple[str, Answers, Answers]) -> None:
    """Gaps are the exact differences on the items that both answered, or the oracle's reason."""
    form, patient, clinician = drawn
    left, right = (oracle(form, side) for side in pairwise(patient, clinician))
    for name, gap in compared(form, patient, clinician).gaps.items():
        if isinstance(left[name], Fraction):
            assert gap.value == pytest.approx(float(right[name] - left[name]), abs=SCORE_TOLERANCE)
            assert gap.absolute == abs(gap.value)
        else:
            assert (gap.value, gap.reason) == (None, left[name]) == (None, right[name])


@settings(max_examples=100, deadline=None)
@given(drawn=st.one_of(pairs(), pairs(values=(3, 4, 5, 5, 5)), pairs(values=(4, 5) * 8 + ("SKIPPED",))))
def test_profile_agrees_with_exact_arithmetic(drawn: tuple[str, Answers, Answers]) -> None:
    """Distances, correlation and double-entry ICC equal their definitions in exact fractions and 60 digits."""
    form, patient, clinician = drawn
    left, right = (oracle(form, side) for side in pairwise(patient, clinician))
    shared = [name for name in COMPONENTS if isinstance(left[name], Fraction)]
    profile = compared(form, patient, clinician).profile
    assert profile.n_components == len(shared)
    if len(shared) < 10:
        assert profile.reason == "TOO_FEW_COMPONENTS"
        return
    p, c = [Fraction(left[name]) for name in shared], [Fraction(right[name]) for name in shared]
    m, mean_p, mean_c = len(shared), mean(p), mean(c)
    variance_p, variance_c = mean([(x - mean_p) ** 2 for x in p]), mean([(x - mean_c) ** 2 for x in c])
    covariance = mean([(x - mean_p) * (y - mean_c) for x, y in zip(p, c, strict=True)])
    with localcontext(prec=60):
        sd_p, sd_c = _decimal(variance_p).sqrt(), _decimal(variance_c).sqrt()
        scatter = float(m * (sd_c - sd_p) ** 2)
        shape = float(2 * m * (sd_c * sd_p - _decimal(covariance)))
        correlation = float(_decimal(covariance) / (sd_c * sd_p)) if sd_c and sd_p else None
    # Squared points reach 200,000, where a float's last place is 3e-11; a sum of twenty terms stays under 1e-9.
    assert profile.d_squared == pytest.approx(float(sum((y - x) ** 2 for x, y in zip(p, c, strict=True))), abs=1e-9)
    assert profile.elevation == pytest.approx(float(m * (mean_c - mean_p) ** 2), abs=1e-9)
    assert profile.scatter == pytest.approx(scatter, abs=1e-9)
    if correlation is None:
        assert (profile.reason, profile.correlation, profile.shape) == ("FLAT_PROFILE", None, None)
    else:
        assert profile.reason is None
        assert profile.shape == pytest.approx(shape, abs=1e-9)
        # Nearly flat profiles (one component a third of a step off) lose digits to the mean: 1e-12 with reserve.
        assert profile.correlation == pytest.approx(correlation, abs=1e-11)
    # Double entry by its definition: every pair twice, once each way round.
    both_ways = [*zip(p, c, strict=True), *zip(c, p, strict=True)]
    middle = mean([x for x, _ in both_ways])
    variance = mean([(x - middle) ** 2 for x, _ in both_ways])
    if variance_p or variance_c:
        exact = mean([(x - middle) * (y - middle) for x, y in both_ways]) / variance
        assert profile.double_entry_icc == pytest.approx(float(exact), abs=1e-11)
    else:
        assert profile.double_entry_icc is None


def _decimal(number: Fraction) -> Decimal:
    return Decimal(number.numerator) / Decimal(number.denominator)


@settings(max_examples=100, deadline=None)
@given(drawn=pairs(values=(1, 2, 3, 4, 5)))
def test_parts_add_up_to_the_distance(drawn: tuple[str, Answers, Answers]) -> None:
    """Elevation, scatter and shape add up to D squared (Cronbach & Gleser 1953)."""
    profile = compared(*drawn).profile
    parts = (profile.elevation, profile.scatter, profile.shape or 0.0)
    assert math.fsum(part for part in parts if part is not None) == pytest.approx(profile.d_squared, abs=1e-9)
    assert all(part is not None and part >= 0 for part in parts)


@settings(max_examples=60, deadline=None)
@given(drawn=pairs())
def test_swapping_the_roles(drawn: tuple[str, Answers, Answers]) -> None:
    """With the roles swapped every gap changes its sign and the profile stays the same, to the last bit."""
    form, patient, clinician = drawn
    straight, swapped = compared(form, patient, clinician), compared(form, clinician, patient)
    for name, gap in straight.gaps.items():
        other = swapped.gaps[name]
        assert (other.reason, other.absolute, other.n_items) == (gap.reason, gap.absolute, gap.n_items)
        assert other.value == (None if gap.value is None else -gap.value)
    assert swapped.profile == straight.profile


@settings(max_examples=80, deadline=None)
@given(drawn=FORMS.flatmap(lambda form: st.tuples(st.just(form), answers_on(form))), data=st.data())
def test_raising_an_answer(drawn: tuple[str, Answers], data: st.DataObject) -> None:
    """Raising a positively keyed answer lowers no score; raising a reversed one raises none."""
    form, answers = drawn
    raisable = [item for item, value in answers.items() if isinstance(value, int) and value < 5]
    if not raisable:
        return
    item = data.draw(st.sampled_from(raisable))
    before = score_form(LAYOUTS[form], answers).scores
    after = score_form(LAYOUTS[form], answers | {item: answers[item] + 1}).scores
    low, high = (after, before) if item in REVERSE_KEYED else (before, after)
    for name, score in low.items():
        raised = high[name]
        assert (raised.reason, raised.n_answered) == (score.reason, score.n_answered)
        if score.value is not None:
            assert raised.value is not None
            assert raised.value >= score.value
    own, above = low[COMPONENT_OF[item]].value, high[COMPONENT_OF[item]].value
    assert own is None or (above is not None and above > own)


@settings(max_examples=60, deadline=None)
@given(drawn=FORMS.flatmap(lambda form: st.tuples(st.just(form), answers_on(form))))
def test_bounds_and_counts(drawn: tuple[str, Answers]) -> None:
    """Scores lie within 0 to 100, each has a value or a reason, and the counts add up to the form."""
    form, answers = drawn
    result = score_form(LAYOUTS[form], answers)
    for score in result.scores.values():
        assert (score.value is None) is (score.reason is not None)
        assert score.value is None or 0 <= score.value <= 100
        assert 0 <= score.n_answered <= score.n_applicable
    assert result.n_answered + result.n_does_not_apply + result.n_unanswered == len(ORDER[form])


@pytest.mark.parametrize("form", ["full", "short"])
@pytest.mark.parametrize(("best", "expected"), [(True, 100.0), (False, 0.0)])
def test_extremes(form: str, best: bool, expected: float) -> None:
    """The best answers throughout give exactly 100 everywhere, the worst exactly 0."""
    answers: Answers = {item: 5 if best is (item not in REVERSE_KEYED) else 1 for item in ORDER[form]}
    result = score_form(LAYOUTS[form], answers)
    assert {score.value for score in result.scores.values()} == {expected}


def test_order_of_answers_does_not_matter() -> None:
    """The order in which the answers were given is not part of the score."""
    rng = np.random.default_rng(1)
    answers: Answers = {item: int(rng.integers(1, 6)) for item in ORDER["full"]}
    shuffled = {item: answers[item] for item in rng.permutation(ORDER["full"]).tolist()}
    assert score_form(LAYOUTS["full"], shuffled) == score_form(LAYOUTS["full"], answers)
