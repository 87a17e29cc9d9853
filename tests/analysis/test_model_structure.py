"""The instrument's own structure: every model of the plan can be written from the full form, and its file is read."""

import json
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from django.core.management import CommandError, call_command

from analysis.exports import dyads_csv
from analysis.model_structure import model_structure
from analysis.psychometrics.command_line.rivals import read_structure
from analysis.psychometrics.command_line.table import REASONS, read_table
from analysis.psychometrics.structure.model_ladder import build_ladder
from instruments.catalogue.reader import read_instrument
from instruments.definitions import Absence, Role
from scoring.services import score_due
from tests.factories import CATALOGUE_FILE, NOW, finish, make_study, make_visit


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


def test_the_statistics_read_the_reasons_that_the_platform_writes() -> None:
    """Every reason for an absent answer counts as missing in the statistics' own list of them."""
    assert set(REASONS) == {reason.value for reason in Absence}


@pytest.mark.django_db
def test_the_structure_names_the_columns_of_the_export(tmp_path: Path) -> None:
    """An exported file goes into the statistics as it is: reasons are missing answers, columns carry the role."""
    kit = make_study()
    for value in (2, 3, 4, 5):
        created = make_visit(kit)
        finish(created, Role.PATIENT, value=value, VI1="DNA" if value == 2 else value)
        finish(created, Role.CLINICIAN, value=value)
    score_due(owner="test", clock=lambda: NOW)
    path = tmp_path / "dyads.csv"
    path.write_text("".join(dyads_csv(kit.study)))
    out = StringIO()
    call_command("model_structure", study=kit.study.code, form="full", role="patient", stdout=out)
    structure = json.loads(out.getvalue())
    items = [item for members in structure["components"].values() for item in members]
    table = read_table(path)
    values = table.numeric(items)
    assert values.shape == (4, 50)
    assert np.isnan(values).sum() == 1
    assert table.absences(["patient_VI1"]) == {"patient_VI1": {"DNA": 1}}
    assert set(structure["reverse_keyed"]) == {"patient_VN3", "patient_VP3", "patient_AN3"}


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
