"""The rival models as text: which there are, what they say, and why one is missing."""

import dataclasses

import pytest

from analysis.psychometrics.errors import AnalysisInputError
from analysis.psychometrics.structure.model_ladder import LadderModel, ModelStructure, build_ladder

FULL = ModelStructure(
    components={
        "stance": ["s1", "s2", "s3"],
        "presence": ["p1", "p2"],
        "attention": ["a1", "a2"],
        "partnering": ["r1", "r2", "r3"],
        "crises": ["c1", "c2", "c3"],
        "teaching": ["e1", "e2"],
        "staying": ["y1", "y2"],
        "mindfulness": ["m1", "m2"],
        "knowledge": ["k1", "k2"],
        "confidence": ["f1", "f2"],
        "trust": ["t1", "t2"],
        "hope": ["h1", "h2"],
    },
    domains={
        "valuing": ["stance", "presence", "attention"],
        "power": ["partnering", "teaching"],
        "abiding": ["crises", "staying"],
        "competence": ["mindfulness", "knowledge", "confidence"],
        "outcome": ["trust", "hope"],
    },
    parents={"attention": "presence"},
    formative=["crises"],
    reverse_keyed=["s3", "p2", "c3"],
    processes=["valuing", "power", "abiding"],
    competence="competence",
    outcome="outcome",
    paths={"trust": ["valuing", "abiding"]},
)
#: One item a component.
SHORT = dataclasses.replace(
    FULL, components={name: items[:1] for name, items in FULL.components.items()}, reverse_keyed=[]
)


def rungs(structure: ModelStructure, *, method_factor: bool = False) -> dict[str, LadderModel]:
    """The ladder by id."""
    return {model.id: model for model in build_ladder(structure, method_factor=method_factor)}


def test_every_model_of_the_plan_is_there_once() -> None:
    """M0 for reflective components of three items, then M1 to M9."""
    ids = [model.id for model in build_ladder(FULL)]
    assert len(ids) == len(set(ids))
    assert {i for i in ids if i.startswith("M0")} == {"M0.stance", "M0.partnering"}  # crises is formative-leaning
    assert {"M1", "M2", "M2.1", "M3", "M3b", "M4", "M4.1", "M4.2", "M5", "M6", "M7", "M8", "M9", "M9f"} <= set(ids)


def test_first_and_second_order_models_read_as_the_plan_says() -> None:
    """Components under domains; a facet under its parent in M3b only."""
    ladder = rungs(FULL)
    assert "valuing =~ stance + presence + attention" in ladder["M3"].syntax
    nested = ladder["M3b"].syntax.splitlines()
    assert "presence_wide =~ presence + attention" in nested
    assert "valuing =~ stance + presence_wide" in nested
    assert ladder["M2"].syntax.splitlines()[0] == "valuing =~ s1 + s2 + s3 + p1 + p2 + a1 + a2"
    assert ladder["M4.2"].syntax.splitlines()[-1] == "competence =~ mindfulness + knowledge + confidence"


def test_the_structural_model_frees_only_the_stated_paths() -> None:
    """Competence leads to processes; trust has its two stated causes, hope all processes; M9f frees the rest."""
    stated, free = rungs(FULL)["M9"].syntax.splitlines(), rungs(FULL)["M9f"].syntax.splitlines()
    assert "valuing ~ competence" in stated
    assert "trust ~ valuing + abiding" in stated
    assert "hope ~ valuing + power + abiding" in stated
    assert "trust ~ valuing + power + abiding + competence" in free
    for shared in ("valuing ~~ power", "power ~~ abiding", "trust ~~ hope"):
        assert shared in stated
        assert shared in free


def test_the_bifactor_model_is_orthogonal_throughout() -> None:
    """Six factors, fifteen covariances fixed to zero."""
    syntax = rungs(FULL)["M8"].syntax
    assert syntax.count("~~ 0*") == 15
    assert "general =~ s1 + s2" in syntax
    assert "power_own =~ r1 + r2 + r3 + e1 + e2" in syntax


def test_every_model_names_rungs_of_the_ladder_as_simpler_and_holds_the_same_items() -> None:
    """A comparison of nested models needs the same items on both sides."""
    ladder = rungs(FULL)
    for model in ladder.values():
        for simpler in model.simpler:
            assert set(ladder[simpler].items) == set(model.items)


def test_a_short_form_says_which_models_it_cannot_carry() -> None:
    """With one item a component there are no component factors; domains and one factor remain."""
    ladder = rungs(SHORT)
    for missing in ("M3", "M3b", "M4", "M4.2", "M6", "M7", "M9"):
        assert not ladder[missing].available
        assert "two items or more" in ladder[missing].note
    assert ladder["M1"].available
    assert ladder["M5"].available


def test_a_domain_of_one_item_has_no_factor() -> None:
    """The models with a factor per domain say which domain is too thin."""
    ladder = rungs(dataclasses.replace(SHORT, domains={**FULL.domains, "power": ["partnering"]}))
    for missing in ("M5", "M8"):
        assert not ladder[missing].available
        assert ladder[missing].note.endswith(": power")


def test_a_domain_of_one_component_has_no_second_order_factor() -> None:
    """One first-order factor does not identify the factor above it."""
    ladder = rungs(dataclasses.replace(FULL, domains={**FULL.domains, "abiding": ["crises"]}))
    for missing in ("M3", "M3b"):
        assert not ladder[missing].available
        assert "two components or more; fewer: abiding" in ladder[missing].note
    assert ladder["M2"].available


def test_the_method_factor_stands_apart_from_every_exogenous_factor() -> None:
    """The sensitivity run adds one orthogonal factor of the reverse-keyed items to each model of all items."""
    ladder = rungs(FULL, method_factor=True)
    assert set(ladder) == {"M1r", "M5r", "M6r", "M7r", "M8r", "M9r", "M9fr"}
    five = ladder["M5r"].syntax.splitlines()
    assert "reverse_keyed =~ s3 + p2 + c3" in five
    assert [line for line in five if line.startswith("reverse_keyed ~~")] == [
        f"reverse_keyed ~~ 0*{domain}" for domain in FULL.domains
    ]
    # An outcome's disturbance is what is left of it: only what nothing leads to can covary with the method.
    assert [line for line in ladder["M9r"].syntax.splitlines() if line.startswith("reverse_keyed ~~")] == [
        "reverse_keyed ~~ 0*competence"
    ]
    assert ladder["M5r"].simpler == ("M5",)


def test_too_few_reverse_keyed_items_make_no_method_factor() -> None:
    """Two items do not identify a factor that correlates with nothing."""
    ladder = rungs(dataclasses.replace(FULL, reverse_keyed=["s3", "p2"]), method_factor=True)
    assert not any(model.available for model in ladder.values())
    assert "has 2" in ladder["M5r"].note


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"components": {**FULL.components, "hope": ["h1", "t1"]}}, "t1"),
        ({"domains": {**FULL.domains, "outcome": ["trust", "joy"]}}, "joy"),
        ({"parents": {"attention": "love"}}, "love"),
        ({"formative": ["luck"]}, "luck"),
        ({"reverse_keyed": ["z9"]}, "z9"),
        ({"processes": ["valuing", "giving"]}, "giving"),
        ({"competence": "skill"}, "skill"),
        ({"paths": {"stance": ["valuing"]}}, "stance"),
        ({"paths": {"trust": ["nothing"]}}, "nothing"),
    ],
)
def test_names_that_lead_nowhere_are_refused(change: dict[str, object], named: str) -> None:
    """A slip in the structure is named before anything is fitted."""
    with pytest.raises(AnalysisInputError, match=named):
        build_ladder(dataclasses.replace(FULL, **change))
