"""`one-with-many` on files: wide and long, halves, and complaints in one line."""

import json
from pathlib import Path

import numpy as np
import pytest

from analysis.psychometrics.command_line.main import main

REFERENCE = Path(__file__).parents[3] / "reference" / "dyads"
OWM = str(REFERENCE / "owm.csv")
WIDE = ["--patient", "P", "--clinician", "C", "--cluster", "cl"]


@pytest.fixture
def long_file(tmp_path: Path) -> str:
    """owm.csv with a row a person, the last dyad's clinician missing."""
    lines = (REFERENCE / "owm.csv").read_text().splitlines()[1:]
    rows = ["clinic,pair,who,score"]
    for line in lines:
        clinician, dyad, p, c = line.replace('"', "").split(",")
        rows += [f"{clinician},{dyad},patient,{p}", f"{clinician},{dyad},doctor,{c}"]
    path = tmp_path / "long.csv"
    path.write_text("\n".join(rows[:-1]) + "\n")
    return str(path)


def test_wide_file(capsys: pytest.CaptureFixture[str]) -> None:
    """One scale's figures stand at the top, too; 40 clinicians give no generalised reciprocity."""
    assert main(["one-with-many", OWM, *WIDE, "--dyad", "dy", "--draws", "60", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["loglik"] == pytest.approx(-947.6159, abs=5e-5)
    assert answer["scales"]["P"]["consensus"] == answer["consensus"]
    assert answer["dyadic_reciprocity_ci_lower"] < answer["dyadic_reciprocity"] < answer["dyadic_reciprocity_ci_upper"]
    assert answer["generalised_reciprocity"] is None
    assert answer["between"][0][1] == pytest.approx(0.0604387, abs=1e-5)
    assert (answer["n_clinicians"], answer["n_used"], answer["converged"]) == (40, 368, True)
    assert any("not estimable with 40" in note for note in answer["notes"])


def test_long_file(long_file: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A row a person: the roles are values; the dyad with one side stays in."""
    options = ["--patient", "patient", "--clinician", "doctor", "--role", "who", "--dyad", "pair", "--columns", "score"]
    assert main(["one-with-many", long_file, *options, "--cluster", "clinic", "--draws", "0", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["n_complete"], answer["n_patient_only"], answer["n_clinician_only"]) == (367, 1, 0)
    assert answer["consensus"] == pytest.approx(0.0791, abs=0.002)
    assert main(["one-with-many", long_file, *options, "--cluster", "clinic", "--draws", "0"]) == 0
    text = capsys.readouterr().out
    assert "dyadic reciprocity" in text
    assert "patient only" in text


def test_halves(capsys: pytest.CaptureFixture[str]) -> None:
    """Two halves a role separate relationship from error."""
    options = ["--patient", "P1,P2", "--clinician", "C1,C2", "--cluster", "cl", "--halves", "--draws", "40"]
    assert main(["one-with-many", str(REFERENCE / "halves.csv"), *options, "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["relationship_reciprocity"] == pytest.approx(0.3433, abs=1e-3)
    assert np.sum([answer[f"{part}_share"][0] for part in ("clinician", "relationship", "error")]) == pytest.approx(1)
    assert main(["one-with-many", str(REFERENCE / "halves.csv"), *options]) == 0
    assert "free of error" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--patient", "P,C", "--clinician", "C", "--cluster", "cl"], "names 2 column(s) and --clinician 1"),
        (["--patient", "Q", "--clinician", "C", "--cluster", "cl"], "there is no column 'Q'"),
        ([*WIDE, "--dyad", "cl"], "column 'cl' lists '1' twice (lines 2 and 3)"),
        ([*WIDE, "--draws", "3"], "too few for an interval"),
        ([*WIDE, "--role", "P"], "name the dyad's key with --dyad"),
        ([*WIDE, "--columns", "P"], "--columns belongs to --role"),
        ([*WIDE, "--role", "cl", "--dyad", "dy", "--columns", "P"], "has no row 'P'"),
        (["--patient", "P", "--clinician", "C", "--cluster", "dy"], "has one"),
    ],
)
def test_problems_are_one_line_and_status_two(
    capsys: pytest.CaptureFixture[str], options: list[str], named: str
) -> None:
    """The line names what is wrong and the remedy."""
    assert main(["one-with-many", OWM, *options]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert named in captured.err


def test_a_dyad_of_two_clinicians_is_named(long_file: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Both rows of a dyad must name the same clinician; a person listed twice is named, too."""
    path = Path(long_file)
    options = ["--patient", "patient", "--clinician", "doctor", "--role", "who", "--dyad", "pair", "--columns", "score"]
    command = ["one-with-many", long_file, *options, "--cluster", "clinic", "--draws", "0"]
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:2], "9" + lines[2][1:], *lines[3:]]) + "\n")
    assert main(command) == 2
    assert "another 'clinic'" in capsys.readouterr().err
    path.write_text("\n".join([*lines, lines[1]]) + "\n")
    assert main(command) == 2
    assert "each dyad once" in capsys.readouterr().err
