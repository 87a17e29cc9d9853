"""`agreement` on files: pairing, flat JSON keys, and complaints in one line."""

import json
from pathlib import Path

import numpy as np
import pytest

from analysis.psychometrics.command_line.main import main
from analysis.psychometrics.dyads.agreement import agreement
from analysis.psychometrics.dyads.bland_altman import bland_altman


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str]:
    """The forms of 60 dyads of 20 clinicians, the clinicians' file in another order and with a dyad more."""
    rng = np.random.default_rng(2)
    patient = rng.integers(1, 6, size=(60, 2))
    clinician = np.clip(patient + rng.integers(-1, 2, size=(60, 2)), 1, 5)
    lines = [f"d{i},{p[0]},{p[1]}" for i, p in enumerate(patient)]
    (tmp_path / "patient.csv").write_text("dyad_id,x1,x2\n" + "\n".join(lines) + "\n")
    lines = [f"d{i},k{i % 20},{c[0]},{c[1]}" for i, c in enumerate(clinician)][::-1]
    (tmp_path / "clinician.csv").write_text("dyad_id,doctor,x1,x2\n" + "\n".join([*lines, "d99,k1,3,3"]) + "\n")
    return str(tmp_path / "patient.csv"), str(tmp_path / "clinician.csv")


def test_the_figures_are_those_of_the_functions(files: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    """Flat keys a column; the dyad without a patient's form is named and counted."""
    assert main(["agreement", *files, "--key", "dyad_id", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    patient, clinician = (np.genfromtxt(path, delimiter=",", skip_header=1)[:, -2:] for path in files)
    expected = agreement(patient, clinician[-2::-1])
    limits = bland_altman(patient, clinician[-2::-1])
    column = answer["columns"]["x2"]
    for name in ("icc_a1", "icc_c1", "kappa_quadratic", "ac2", "exact", "within_one", "bias"):
        assert column[name] == pytest.approx(getattr(expected, name).estimate[1])
        assert column[f"{name}_ci_lower"] == pytest.approx(getattr(expected, name).ci_lower[1])
    assert column["kappa_quadratic_se"] == pytest.approx(expected.kappa_quadratic.se[1])
    assert column["loa_lower"] == pytest.approx(limits.loa_lower.estimate[1])
    assert column["loa_upper_ci_upper"] == pytest.approx(limits.loa_upper.ci_upper[1])
    assert (answer["n_used"], answer["n_dropped"], answer["n_clinicians"]) == (60, 1, None)
    assert answer["notes"][0] == "1 dyad(s) without a patient's form left out: d99"


def test_clusters_perspective_and_text(files: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    """With --cluster the intervals resample clinicians, the same for the same seed; guesses are meta-accuracy."""
    options = ["--key", "dyad_id", "--columns", "x1,x2", "--cluster", "doctor", "--draws", "100"]
    options += ["--meta-perception", "x2", "--categories", "1,2,3,4,5"]
    assert main(["agreement", *files, *options]) == 0
    text = capsys.readouterr().out
    assert main(["agreement", *files, *options]) == 0
    assert capsys.readouterr().out == text
    assert "bootstrap of clinicians" in text
    assert "meta-accuracy" in text


def test_one_file_that_holds_both_roles(
    files: tuple[str, str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """With --prefixes the platform's export, given twice, answers as two files do."""
    patient, clinician = (Path(path).read_text().splitlines() for path in files)
    of_clinicians = dict(line.split(",", 1) for line in clinician[1:])
    lines = [f"{line},{of_clinicians[line.split(',')[0]]}" for line in patient[1:]]
    both = tmp_path / "dyads.csv"
    both.write_text("\n".join(["dyad_id,patient_x1,patient_x2,doctor,clinician_x1,clinician_x2", *lines]) + "\n")
    assert main(["agreement", *files, "--key", "dyad_id", "--json"]) == 0
    expected = json.loads(capsys.readouterr().out)["columns"]
    once = [str(both), str(both), "--key", "dyad_id", "--prefixes"]
    assert main(["agreement", *once, "patient_,clinician_", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)["columns"]
    assert list(answer) == ["x1", "x2"]
    for name, column in answer.items():
        assert column["n_dropped"] == 0
        assert {**column, "n_dropped": None} == {**expected[name], "n_dropped": None}
    assert main(["agreement", *once, "patient_"]) == 2
    assert "not two different prefixes" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--key", "visit"], "there is no column 'visit'"),
        (["--key", "dyad_id", "--columns", "x1,x9"], "there is no column 'x9'"),
        (["--key", "dyad_id", "--cluster", "nurse"], "there is no column 'nurse'"),
        (["--key", "dyad_id", "--categories", "low,high"], "not numbers"),
        (["--key", "dyad_id", "--categories", "1,2,3"], "3-point response scale"),
        (["--key", "dyad_id", "--columns", "x1", "--meta-perception", "x2"], "names 'x2', which is not compared"),
        (["--key", "x1"], "column 'x1' lists"),
    ],
)
def test_problems_are_one_line_and_status_two(
    files: tuple[str, str], capsys: pytest.CaptureFixture[str], options: list[str], named: str
) -> None:
    """The line names the column and the remedy; nothing is printed as a result."""
    assert main(["agreement", *files, *options]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert named in captured.err
    assert "Remedy" in captured.err
