"""The released questionnaire is what its documentation says it is."""

import re
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from instruments.catalogue.reader import instrument_document, read_instrument
from instruments.definitions import Instrument, Role, RoleTexts

CATALOGUE = Path(__file__).parents[3] / "instruments" / "catalogue"

#: A released file is never edited: a hash here is added with its file and then stays.
RELEASED = {
    "healing-relationships-1.0.yaml": "edff6bad2d2ad28df2e56bcd198bba61da605e58d16d20e6d6e4b56a0da4581f",
    "healing-relationships-1.1.yaml": "90d1d685e2298120b5f42badd1da527450d3ad5d1933156fc3e603bf5023785e",
    "healing-relationships-1.2.yaml": "a153838c79df6a274eb820537bad8c03375284641768f2dbc96e202201dcba48",
}


@pytest.fixture(scope="module")
def instrument() -> Instrument:
    """The first released version."""
    return read_instrument(CATALOGUE / "healing-relationships-1.0.yaml")


def all_role_texts(instrument: Instrument) -> Iterator[tuple[str, RoleTexts]]:
    """Every text that somebody is shown while answering, with a name for messages."""
    yield "instructions", instrument.instructions
    yield "does_not_apply", instrument.does_not_apply
    for option in instrument.scale:
        yield f"scale/{option.value}", option.label
    for block in instrument.recall_blocks.values():
        yield block.id, block.introduction
    for item in instrument.items.values():
        yield item.code, item.text
    for question in instrument.questions.values():
        yield question.code, question.text
        for option in question.options:
            yield f"{question.code}/{option.value}", option.label


def test_every_released_file_is_unchanged() -> None:
    """The catalogue holds exactly the released files, each with the content it was released with."""
    hashes = {path.name: read_instrument(path).content_hash for path in CATALOGUE.glob("*.yaml")}
    assert hashes == RELEASED


def test_every_file_is_named_after_its_instrument_and_version() -> None:
    """A file's name tells what is in it."""
    for path in CATALOGUE.glob("*.yaml"):
        released = read_instrument(path)
        assert path.name == f"{released.code}-{released.version}.yaml"


def test_version_1_1_is_1_0_on_pages_of_five(instrument: Instrument) -> None:
    """The two differ in how patients are shown the form, and in nothing else: not a word, not a rule."""
    paged = read_instrument(CATALOGUE / "healing-relationships-1.1.yaml")
    assert dict(instrument.display) == {Role.PATIENT: 1, Role.CLINICIAN: "block"}
    assert dict(paged.display) == {Role.PATIENT: 5, Role.CLINICIAN: "block"}
    document = instrument_document(paged)
    assert document.pop("display") == {"patient": 5}
    assert document | {"version": "1.0"} == instrument_document(instrument)


def test_version_1_2_is_1_0_with_leave_to_shuffle(instrument: Instrument) -> None:
    """The two differ in what a study may choose, and in nothing else: not a word, not a rule."""
    shuffled = read_instrument(CATALOGUE / "healing-relationships-1.2.yaml")
    assert (instrument.may_shuffle, shuffled.may_shuffle) == (False, True)
    document = instrument_document(shuffled)
    assert document.pop("item_order") == "by lot within recall blocks"
    assert document | {"version": "1.0"} == instrument_document(instrument)


def test_identity_licence_and_status(instrument: Instrument) -> None:
    """The file says what it is, under which licence, and that its wording is untested."""
    assert (instrument.code, instrument.version) == ("healing-relationships", "1.0")
    assert instrument.languages == ("en", "es")
    assert instrument.licence == "CC-BY-4.0"
    assert "doi:10.1370/afm.860" in instrument.source
    assert instrument.status.startswith("untested draft")


def test_counts_of_items_and_forms(instrument: Instrument) -> None:
    """Sixty pairs, three for each of twenty components; fifty on the full form, twenty on the short one."""
    assert len(instrument.items) == 60
    assert Counter(item.component for item in instrument.items.values()) == dict.fromkeys(instrument.components, 3)
    assert len(instrument.components) == 20
    assert [len(instrument.form_items(form)) for form in ("full", "short")] == [50, 20]


def test_items_of_the_full_form_by_domain(instrument: Instrument) -> None:
    """The full form holds 14 valuing, 8 power, 10 abiding, 9 competence and 9 outcome items."""
    domains = Counter(instrument.components[item.component].domain for item in instrument.form_items("full"))
    assert domains == {"valuing": 14, "appreciating_power": 8, "abiding": 10, "competence": 9, "outcome": 9}


def test_ten_components_have_three_items_on_the_full_form(instrument: Instrument) -> None:
    """Ten components keep three items on the full form, the other ten two."""
    per_component = Counter(item.component for item in instrument.form_items("full"))
    assert {name for name, n in per_component.items() if n == 3} == {
        "nonjudgmental_stance", "presence", "partnering", "pushing", "caring_actions", "not_giving_up", "knowledge",
        "trust", "hope", "being_known",
    }  # fmt: skip
    assert sorted(per_component.values()) == [2] * 10 + [3] * 10


def test_short_form_has_one_positive_item_per_component(instrument: Instrument) -> None:
    """The short form is a subset of the full form: one item per component, none reversed."""
    short = instrument.form_items("short")
    assert {item.code for item in short} <= set(instrument.forms["full"].order)
    assert Counter(item.component for item in short) == dict.fromkeys(instrument.components, 1)
    assert not any(item.reverse for item in short)


@pytest.mark.parametrize("form", ["full", "short"])
def test_items_of_one_component_never_touch(instrument: Instrument, form: str) -> None:
    """Two items of one component never follow each other, so that an answer isn't simply repeated."""
    items = instrument.form_items(form)
    assert all(first.component != second.component for first, second in pairwise(items))


def test_reversed_items(instrument: Instrument) -> None:
    """Exactly three items are reversed, each in a component that keeps two others."""
    assert {item.code for item in instrument.items.values() if item.reverse} == {"VN3", "VP3", "AN3"}


def test_does_not_apply_is_offered_on_twelve_items(instrument: Instrument) -> None:
    """Only items on events that need not have happened offer 'does not apply': twelve in the bank, ten on the form."""
    offering = {item.code for item in instrument.items.values() if item.allow_does_not_apply}
    assert offering == {"VP2", "VI1", "VI3", "PU1", "PU2", "PU3", "AM1", "AM2", "AM3", "AA3", "CE1", "CK3"}
    assert len(offering & set(instrument.forms["full"].order)) == 10


def test_clinician_perspectives(instrument: Instrument) -> None:
    """Fifty-three clinician items report on the clinician; trust, hope and PE3 are guesses about the patient."""
    guesses = {item.code for item in instrument.items.values() if item.clinician_perspective == "meta_perception"}
    assert guesses == {"PE3", "OT1", "OT2", "OT3", "OH1", "OH2", "OH3"}
    assert len(instrument.items) - len(guesses) == 53


def test_model_of_the_paper(instrument: Instrument) -> None:
    """Domains, minimum numbers of components, nesting under presence and formative components follow the plan."""
    assert {
        domain.id: (len(domain.components), domain.minimum_components) for domain in instrument.domains.values()
    } == {
        "valuing": (6, 4),
        "appreciating_power": (3, 2),
        "abiding": (4, 3),
        "competence": (4, 3),
        "outcome": (3, 2),
    }
    nested = {"full_attention", "acceptance_of_illness_experience", "empathy"}
    assert {c.id for c in instrument.components.values() if c.parent == "presence"} == nested
    composite = instrument.composites["presence_composite"]
    assert set(composite.components) == nested | {"presence"}
    assert composite.minimum_components == 3
    formative = {c.id for c in instrument.components.values() if c.measurement == "formative_leaning"}
    assert formative == {"interpersonal_continuity", "major_health_crises", "caring_actions"}


def test_response_scale(instrument: Instrument) -> None:
    """Both roles answer on the same five labelled points."""
    assert instrument.scale_values == (1, 2, 3, 4, 5)
    assert [option.label[Role.PATIENT]["en"] for option in instrument.scale] == [
        "Not true at all", "A little true", "Somewhat true", "Mostly true", "Completely true",
    ]  # fmt: skip
    assert all(option.label[Role.PATIENT] == option.label[Role.CLINICIAN] for option in instrument.scale)


def test_recall_blocks_follow_each_other(instrument: Instrument) -> None:
    """The forms ask about six months, then the whole time, then today."""
    assert list(instrument.recall_blocks) == ["last_6_months", "since_met", "now"]
    sizes = Counter(item.recall for item in instrument.form_items("full"))
    assert sizes == {"last_6_months": 31, "since_met": 10, "now": 9}


def test_every_text_is_there_in_both_languages(instrument: Instrument) -> None:
    """Nobody meets a gap or a text of the other language."""
    for name, texts in all_role_texts(instrument):
        for role, by_language in texts.items():
            assert set(by_language) == {"en", "es"}, (name, role)
            assert all(text == text.strip() and text for text in by_language.values()), (name, role)
    for name, label in [
        *((c.id, c.label) for c in instrument.components.values()),
        *((d.id, d.label) for d in instrument.domains.values()),
        *((c.id, c.label) for c in instrument.composites.values()),
        *((f.id, f.label) for f in instrument.forms.values()),
        ("title", instrument.title),
    ]:
        assert set(label) == {"en", "es"}, name
        assert label["en"] != label["es"], name


def test_items_are_for_both_roles_and_all_differ(instrument: Instrument) -> None:
    """No statement stands twice within a role and language, and none was left untranslated."""
    for role in Role:
        for language in instrument.languages:
            texts = [item.text[role][language] for item in instrument.items.values()]
            assert len(set(texts)) == 60, (role, language)
    assert all(item.text[role]["en"] != item.text[role]["es"] for item in instrument.items.values() for role in Role)


def test_clinician_items_name_the_patient(instrument: Instrument) -> None:
    """Every clinician statement is about this one patient, in Spanish without a fixed gender."""
    for item in instrument.items.values():
        assert re.search(r"\b[Tt]his patient\b", item.text[Role.CLINICIAN]["en"]), item.code
        assert re.search(r"\b[Ee]ste\(a\) paciente\b", item.text[Role.CLINICIAN]["es"]), item.code


def test_clinicians_are_addressed_as_usted(instrument: Instrument) -> None:
    """No Spanish text addresses anybody as tú, or leaves the doctor's or the patient's gender fixed."""
    informal = re.compile(r"\b(tú|tu|tus|te|contigo|vos|vosotros|mi doctor|este paciente)\b(?!\()")
    for name, texts in all_role_texts(instrument):
        for by_language in texts.values():
            assert not informal.search(by_language["es"].lower()), name


def test_patient_statements_are_short(instrument: Instrument) -> None:
    """No English statement to the patient is longer than fourteen words."""
    for item in instrument.items.values():
        assert len(item.text[Role.PATIENT]["en"].split()) <= 14, item.code


def test_nothing_promises_health(instrument: Instrument) -> None:
    """Nobody who answers is told that answering or scoring improves health, or is called obedient."""
    banned = re.compile(r"complian|cumplimiento|will improve your health|mejorará su salud", re.IGNORECASE)
    for name, texts in all_role_texts(instrument):
        for by_language in texts.values():
            assert not any(banned.search(text) for text in by_language.values()), name


def test_patient_questions_in_order(instrument: Instrument) -> None:
    """A patient is asked about the relationship, the context and the person, and who helped comes last."""
    asked = [question.code for question in instrument.questions_for(Role.PATIENT, follow_up=False)]
    assert asked == [
        "rel_years", "rel_visits_12m", "rel_share_12m", "rel_choice", "X_NEED", "X_MISTAKE", "X_OWNED", "X_ROSY",
        "pt_age", "pt_sex", "pt_race_ethnicity", "pt_education", "pt_money", "pt_illness", "pt_language",
        "pt_interpreter", "X_HELPED",
    ]  # fmt: skip


def test_clinician_questions_in_order(instrument: Instrument) -> None:
    """With each form a clinician is asked about the relationship and the context only."""
    asked = [question.code for question in instrument.questions_for(Role.CLINICIAN, follow_up=False)]
    assert asked == ["rel_years", "X_NEED", "X_MISTAKE", "X_OWNED", "X_ROSY"]


@pytest.mark.parametrize("role", list(Role))
def test_change_is_asked_at_follow_up_only(instrument: Instrument, role: Role) -> None:
    """A follow-up adds the question about change, after the other questions of its section, and nothing else."""
    first = [question.code for question in instrument.questions_for(role, follow_up=False)]
    later = [question.code for question in instrument.questions_for(role, follow_up=True)]
    assert [code for code in later if code not in first] == ["X_CHANGE"]
    assert later[later.index("X_CHANGE") - 1] == "X_ROSY"


def test_clinician_characteristics(instrument: Instrument) -> None:
    """What concerns the clinician alone is asked apart from the forms."""
    assert [question.code for question in instrument.clinician_characteristics()] == [
        "clin_sex", "clin_role", "clin_practice_type", "clin_group_size", "clin_setting", "clin_population_ses",
        "clin_population_majority", "clin_years_current_practice", "clin_sampling",
    ]  # fmt: skip
    assert all(question.roles == (Role.CLINICIAN,) for question in instrument.clinician_characteristics())


def test_every_personal_question_can_be_declined(instrument: Instrument) -> None:
    """Every question about a person or the relationship offers 'prefer not to answer' as its last answer."""
    for question in instrument.questions.values():
        if question.section != "context":
            assert question.options[-1].value == "prefer_not", question.code


def test_conditions(instrument: Instrument) -> None:
    """Owning up is asked after a mistake, and the size of the group in a group practice."""
    conditions = {q.code: (q.ask_if.question, q.ask_if.values) for q in instrument.questions.values() if q.ask_if}
    assert conditions == {
        "X_OWNED": ("X_MISTAKE", ("yes",)),
        "clin_group_size": ("clin_practice_type", ("group_practice",)),
    }


def test_bounds_of_numeric_questions(instrument: Instrument) -> None:
    """Numbers are bounded as the plan says; a time together is stored in months."""
    bounds = {q.code: (q.kind, q.minimum, q.maximum) for q in instrument.questions.values() if q.minimum is not None}
    assert bounds == {
        "rel_years": ("years_months", 0, 960),
        "rel_visits_12m": ("integer", 0, 100),
        "pt_age": ("integer", 18, 110),
        "clin_group_size": ("integer", 2, 1000),
        "clin_years_current_practice": ("number", 0, 60),
    }


def test_abuse_is_never_asked(instrument: Instrument) -> None:
    """The paper lists a history of sexual abuse; the plan rules out asking it here."""
    for name, texts in all_role_texts(instrument):
        for by_language in texts.values():
            assert not re.search(r"abus", " ".join(by_language.values()), re.IGNORECASE), name


def test_scoring_rules(instrument: Instrument) -> None:
    """Every number of the published scoring rules."""
    rules = instrument.scoring
    assert rules.version == "1.0"
    assert (rules.component_answered_percent, rules.domain_answered_percent) == (50, 70)
    assert rules.straightline_items == rules.reverse_conflict_items == ("VN3", "VP3", "AN3")
    assert (rules.reverse_conflict_distance, rules.reverse_conflict_minimum) == (3.0, 2)
    assert (rules.fast_median_seconds, rules.missing_percent) == (2.0, 30)
    assert (rules.maximum_days_apart, rules.minimum_months_known, rules.minimum_visits) == (14, 3, 2)
    assert (rules.reliable_gap_z, rules.profile_minimum_components) == (1.96, 10)


def test_examples_hold_the_published_test_vector(instrument: Instrument) -> None:
    """5, 4 and 2 on nonjudgmental stance: reversed 4, mean 13/3, score 250/3."""
    example = next(example for example in instrument.examples if example.id == "test_vector")
    assert [example.answers[code] for code in ("VN1", "VN2", "VN3")] == [5, 4, 2]
    assert example.scores["nonjudgmental_stance"] == 250 / 3
    assert example.scores["presence"] == 175 / 3
    # Six components: 250/3, 175/3 and four times 75.
    assert example.scores["valuing"] == pytest.approx(
        (250 / 3 + 175 / 3 + 4 * 75) / 6, abs=1e-12
    )  # last-digit rounding
    assert (dict(example.unscored), example.flags) == ({}, ())


def test_examples_cover_every_reason_and_flag(instrument: Instrument) -> None:
    """Each reason for no score and each flag that answers alone can raise occurs in an example, and on both forms."""
    assert {reason for example in instrument.examples for reason in example.unscored.values()} == {
        "NOT_APPLICABLE", "TOO_FEW_ANSWERS", "TOO_FEW_COMPONENTS",
    }  # fmt: skip
    assert {flag for example in instrument.examples for flag in example.flags} == {
        "straightline", "reverse_conflict", "missing",
    }  # fmt: skip
    assert {example.form for example in instrument.examples} == {"full", "short"}


def test_examples_stand_on_both_sides_of_the_seventy_percent_rule(instrument: Instrument) -> None:
    """Seven answers of ten give abiding a score, six do not."""
    examples = {example.id: example for example in instrument.examples}
    abiding = [
        item.code for item in instrument.form_items("full") if instrument.components[item.component].domain == "abiding"
    ]
    met, missed = examples["seventy_percent_just_met"], examples["seventy_percent_just_missed"]
    assert [sum(isinstance(example.answers[code], int) for code in abiding) for example in (met, missed)] == [7, 6]
    assert met.scores["abiding"] == (100 + 50 + 87.5 + 75) / 4
    assert missed.unscored == {"abiding": "TOO_FEW_ANSWERS"}
