"""`gaps` and `profiles` on two files: figures of the functions, pitfalls beside them, complaints in one line."""

import json
from pathlib import Path

import numpy as np
import pytest

from analysis.psychometrics.command_line.main import main
from analysis.psychometrics.dyads.gaps import PITFALLS, summarise_gaps
from analysis.psychometrics.dyads.profile_similarity import compare_with_chance

COLUMNS = [f"k{number}" for number in range(1, 13)]


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str]:
    """Twelve component scores of 100 dyads of 25 clinicians; two dyads have one form only."""
    rng = np.random.default_rng(3)
    patient = rng.uniform(20, 80, (100, 12)).round(1)
    clinician = np.clip(patient + rng.normal(5, 15, (100, 12)), 0, 100).round(1)
    for role, scores, left_out in (("patient", patient, 3), ("clinician", clinician, 8)):
        lines = [
            f"d{row},k{row % 25}," + ",".join(str(value) for value in scores[row])
            for row in range(100)
            if row != left_out
        ]
        (tmp_path / f"{role}.csv").write_text("dyad,doctor," + ",".join(COLUMNS) + "\n" + "\n".join(lines) + "\n")
    return str(tmp_path / "patient.csv"), str(tmp_path / "clinician.csv")


def scores_of(files: tuple[str, str]) -> list[np.ndarray]:
    """The 98 paired dyads' scores."""
    tables = []
    for path in files:
        rows = [line.split(",") for line in Path(path).read_text().splitlines()[1:]]
        tables.append(np.array([[float(x) for x in row[2:]] for row in rows if row[0] not in ("d3", "d8")]))
    return tables


def test_gaps(files: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    """The functions' figures, the reliable gaps by dyad, and the pitfalls in JSON and in text."""
    command = ["gaps", *files, "--key", "dyad", "--columns", "k1,k2"]
    command += ["--reliability-patient", "0.8,0.9", "--reliability-clinician", "0.7,0.85"]
    assert main([*command, "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    patient, clinician = scores_of(files)
    expected = summarise_gaps(
        patient[:, :2], clinician[:, :2], reliability_patient=[0.8, 0.9], reliability_clinician=[0.7, 0.85]
    )
    column = answer["columns"]["k2"]
    assert column["mean_gap"] == pytest.approx(expected.mean_gap.estimate[1])
    assert column["threshold"] == pytest.approx(expected.threshold[1])
    assert column["n_used"] == 98
    listed = [entry for entry in answer["reliable_gaps"] if entry["column"] == "k2"]
    assert sum(entry["verdict"] == "clinician higher" for entry in listed) == column["n_clinician_higher"]
    assert [pitfall["code"] for pitfall in answer["pitfalls"]] == [pitfall.code for pitfall in PITFALLS]
    assert main(command) == 0
    text = capsys.readouterr().out
    assert "Before reading a gap" in text
    assert PITFALLS[0].sentence in text
    assert main([*command, "--cluster", "doctor", "--draws", "50"]) == 0
    assert "bootstrap of clinicians" in capsys.readouterr().out


def test_profiles(files: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    """The functions' figures; every dyad's profile under its key."""
    command = ["profiles", *files, "--key", "dyad", "--cluster", "doctor", "--draws", "40"]
    assert main([*command, "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    patient, clinician = scores_of(files)
    clinicians = [row % 25 for row in range(100) if row not in (3, 8)]
    expected = compare_with_chance(patient, clinician, clinicians, rng=np.random.default_rng(1), n_draws=40)
    np.testing.assert_allclose(answer["chance"]["same_clinician"], expected.same_clinician)
    np.testing.assert_allclose(answer["chance"]["real"], expected.real)
    assert len(answer["dyads"]) == len(answer["profiles"]["correlation"]) == 98
    assert main(command) == 0
    text = capsys.readouterr().out
    assert "beyond same" in text
    assert "distinctive correlation" in text


@pytest.mark.parametrize(
    ("command", "options", "named"),
    [
        ("gaps", ["--key", "dyad", "--highest", "50"], "lie beyond"),
        ("gaps", ["--key", "dyad", "--columns", "k1", "--reliability-patient", "high"], "not numbers"),
        ("gaps", ["--key", "dyad", "--columns", "k1", "--reliability-patient", "0.8,0.9"], "2 reliabilities for 1"),
        ("gaps", ["--key", "doctor"], "column 'doctor' lists 'k0' twice (lines 2 and 26)"),
        ("profiles", ["--key", "dyad", "--cluster", "doctor", "--columns", "k1,k2"], "at least 10 components"),
        ("profiles", ["--key", "dyad", "--cluster", "nurse"], "there is no column 'nurse'"),
    ],
)
def test_problems_are_one_line_and_status_two(
    files: tuple[str, str], capsys: pytest.CaptureFixture[str], command: str, options: list[str], named: str
) -> None:
    """The line names what is wrong and the remedy."""
    assert main([command, *files, *options]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert named in captured.err
    assert "Remedy" in captured.err


def test_a_missing_key_names_its_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """File, column and line of the first row without a key."""
    (tmp_path / "p.csv").write_text("dyad,x\n1,2\n,3\n3,4\n")
    (tmp_path / "c.csv").write_text("dyad,x\n1,2\n2,3\n3,4\n")
    assert main(["agreement", str(tmp_path / "p.csv"), str(tmp_path / "c.csv"), "--key", "dyad"]) == 2
    assert "p.csv: column 'dyad', line 3: no key (1 row(s) have none)" in capsys.readouterr().err
