"""The instrument's own structure: every model of the plan can be written from the full form, and its file is read."""

from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from analysis.model_structure import model_structure
from analysis.psychometrics.command_line.rivals import read_structure
from analysis.psychometrics.model_ladder import build_ladder
from instruments.catalogue_reader import read_instrument
from tests.factories import CATALOGUE_FILE, make_study


@pytest.fixture(scope="module")
def ladder() -> dict[str, str]:
    """The syntax of each model of the full form."""
    structure = model_structure(read_instrument(CATALOGUE_FILE), form="full")
    return {model.id: model.syntax for model in build_ladder(structure)}


def test_the_full_form_carries_every_model_of_the_plan(ladder: dict[str, str]) -> None:
    """M1 to M9 all have a syntax; the method factor of the three reverse-keyed items, too."""
    for name in ("M1", "M2", "M3", "M3b", "M4", "M5", "M6", "M7", "M8", "M9", "M9f"):
        assert ladder[name], name
    structure = model_structure(read_instrument(CATALOGUE_FILE), form="full")
    assert all(model.syntax for model in build_ladder(structure, method_factor=True))
    assert set(structure.reverse_keyed) == {"VN3", "VP3", "AN3"}


def test_components_alone_are_the_reflective_ones_with_three_items(ladder: dict[str, str]) -> None:
    """Caring actions has three items but is formative-leaning."""
    alone = {name.removeprefix("M0.") for name in ladder if name.startswith("M0.")}
    assert alone == {
        *("nonjudgmental_stance", "presence", "partnering", "pushing", "not_giving_up", "knowledge"),
        *("trust", "hope", "being_known"),
    }


def test_the_structural_model_has_only_the_papers_paths(ladder: dict[str, str]) -> None:
    """Trust and being known come from valuing and abiding (R3-R6); power leads to neither."""
    lines = ladder["M9"].splitlines()
    assert "trust ~ valuing + abiding" in lines
    assert "being_known ~ valuing + abiding" in lines
    assert "hope ~ valuing + appreciating_power + abiding" in lines
    assert [line for line in lines if line.endswith(" ~ competence")] == [
        f"{process} ~ competence" for process in ("valuing", "appreciating_power", "abiding")
    ]
    assert "presence_wide =~ presence + full_attention + acceptance_of_illness_experience + empathy" in ladder["M3b"]


def test_the_short_form_carries_the_models_of_domains() -> None:
    """One item a component: no model of components, but one factor, five domains and the bifactor model."""
    structure = model_structure(read_instrument(CATALOGUE_FILE), form="short")
    available = {model.id for model in build_ladder(structure) if model.available}
    assert {"M1", "M2", "M5", "M8"} <= available
    assert not {"M3", "M7", "M9"} & available


@pytest.mark.django_db
def test_the_command_prints_what_the_statistics_read(tmp_path: Path) -> None:
    """`manage.py model_structure` writes the file of `rivals --structure`."""
    kit = make_study()
    out = StringIO()
    call_command("model_structure", study=kit.study.code, form="full", stdout=out)
    path = tmp_path / "structure.json"
    path.write_text(out.getvalue())
    assert build_ladder(read_structure(str(path))) == build_ladder(model_structure(kit.instrument, form="full"))
    for arguments in ({"study": "NOPE"}, {"study": kit.study.code, "form": "long"}):
        with pytest.raises(CommandError, match="There is no"):
            call_command("model_structure", **arguments)
