"""`cfa` on files: lavaan's names in JSON, tables for people, complaints in one line."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis.psychometrics.command_line.main import main

REFERENCE = Path(__file__).parents[3] / "reference"
HS = str(REFERENCE / "hs1939.csv")
CLINIC = str(REFERENCE / "sem" / "clinic.csv")
MODEL = "visual =~ x1 + x2 + x3; textual =~ x4 + x5 + x6; speed =~ x7 + x8 + x9"


def answer(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    """Run `cfa … --json` and read what it prints."""
    assert main(["cfa", *arguments, "--json"]) == 0
    printed: dict[str, Any] = json.loads(capsys.readouterr().out)
    return printed


def test_json_carries_lavaans_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Fit and parameters as `fitMeasures` and `parameterEstimates` call them; the model may stand in a file."""
    path = tmp_path / "model.lav"
    path.write_text("# three factors\n" + MODEL.replace(";", "\n"))
    printed = answer(capsys, HS, "--model", str(path))
    assert printed["fit"]["chisq"] == pytest.approx(85.30552, abs=1e-4)
    assert printed["fit"]["df"] == 24
    assert printed["fit"]["rmsea_ci_lower"] == pytest.approx(0.0714185, abs=1e-6)
    second = printed["parameters"][1]
    assert (second["lhs"], second["op"], second["rhs"], second["group"]) == ("visual", "=~", "x2", 1)
    assert (second["est"], second["se"]) == pytest.approx((0.5535003, 0.09966512), abs=1e-6)
    assert second["std_all"] == pytest.approx(0.423601, abs=1e-5)
    assert printed["parameters"][0]["z"] is None
    assert printed["r2"]["x1"] == pytest.approx(0.5957994, abs=1e-5)
    assert (printed["n_used"], printed["n_dropped"], printed["converged"], printed["admissible"]) == (
        301,
        0,
        True,
        True,
    )


def test_a_written_new_line_is_one(capsys: pytest.CaptureFixture[str]) -> None:
    """Shells pass `\\n` on as two characters."""
    printed = answer(capsys, HS, "--model", MODEL.replace("; ", "\\n"))
    assert printed["fit"]["df"] == 24


def test_robust_ordinal_grouped_and_clustered_fits(capsys: pytest.CaptureFixture[str]) -> None:
    """Each option reaches the estimator (figures: tests/reference/sem)."""
    reference = {
        name: json.loads((REFERENCE / "sem" / f"{name}.json").read_text(encoding="utf-8"))["cases"]
        for name in ("continuous", "ordinal")
    }
    clinic = "f =~ a1 + a2 + a3 + a4; g =~ b1 + b2 + b3 + b4"
    scalar = ["--group", "school", "--group-equal", "loadings,intercepts", "--group-partial", "visual=~x2,x7~1"]
    for part, name, arguments in (
        ("continuous", "hs_mlr", [HS, "--model", MODEL, "--estimator", "mlr"]),
        ("continuous", "hs_groups_scalar", [HS, "--model", MODEL, *scalar]),
        ("continuous", "clinic_mlr_cluster", [CLINIC, "--model", clinic, "--cluster", "clinician"]),
        ("ordinal", "clinic_wlsmv_pairwise", [CLINIC, "--model", clinic, "--ordered", "--missing", "pairwise"]),
    ):
        printed = answer(capsys, *arguments)
        for key in ("chisq", "cfi", "rmsea", "srmr", "chisq_scaled", "cfi_robust"):
            value = reference[part][name]["fit"].get(key.replace("_", "."))
            if value is not None:
                assert printed["fit"][key] == pytest.approx(value, abs=1e-4), (name, key)


def test_further_questions_are_answered_on_demand(capsys: pytest.CaptureFixture[str]) -> None:
    """Modification indices, residual correlations and scores come when asked for, in JSON and as tables."""
    arguments = [HS, "--model", MODEL, "--modindices", "8", "--residuals", "--scores"]
    printed = answer(capsys, *arguments)
    first = printed["modification_indices"][0]
    assert (first["lhs"], first["op"], first["rhs"]) == ("visual", "=~", "x9")
    assert first["mi"] == pytest.approx(36.41103, abs=1e-3)
    assert all(entry["mi"] >= 8 for entry in printed["modification_indices"])
    assert printed["residual_correlations"]["x1"]["x2"] == pytest.approx(-0.0296, abs=1e-3)
    assert len(printed["scores"]["values"]) == 301
    assert main(["cfa", *arguments]) == 0
    text = capsys.readouterr().out
    assert all(
        title in text for title in ("Modification indices of at least 8", "Residual correlations", "Factor scores")
    )


def test_text_tables_name_groups_and_measures(capsys: pytest.CaptureFixture[str]) -> None:
    """People read labels of groups, plain and scaled measures side by side, and notes."""
    assert main(["cfa", HS, "--model", MODEL, "--group", "school", "--estimator", "MLR"]) == 0
    printed = capsys.readouterr().out
    assert "Loadings, group Pasteur" in printed
    assert "Explained variance, group Grant-White" in printed
    assert "scaling factor" in printed


def test_inadmissible_solution_is_in_the_title_and_the_notes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Never hidden: a negative variance is named with its value (a sample with exactly these covariances)."""
    matrix = np.array([[1, 0.8, 0.8, 0.4], [0.8, 1, 0.5, 0.2], [0.8, 0.5, 1, 0.2], [0.4, 0.2, 0.2, 1]])
    noise = np.random.default_rng(1).normal(size=(200, 4))
    noise -= noise.mean(axis=0)
    sample = noise @ np.linalg.inv(np.linalg.cholesky(np.cov(noise.T))).T @ np.linalg.cholesky(matrix).T
    path = tmp_path / "data.csv"
    np.savetxt(path, sample, delimiter=",", header="a,b,c,d", comments="")
    printed = answer(capsys, str(path), "--model", "f =~ a + b + c + d")
    assert (printed["converged"], printed["admissible"]) == (True, False)
    assert any("a ~~ a = -" in note for note in printed["notes"])
    assert main(["cfa", str(path), "--model", "f =~ a + b + c + d"]) == 0
    assert "NOT ADMISSIBLE" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--model", "no such file"], "neither a file nor a model"),
        (["--model", "f =~ x1 + x2 + x99"], "no column 'x99'"),
        (["--model", "f =~ x1 + x2 + school"], "'Pasteur' is not a number"),
        (["--model", "f =~ x1 + x2"], "under-identified"),
        (["--model", "f =~ x1 x2 + x3"], "lacks an operator"),
        (["--model", MODEL, "--group", "class"], "no column 'class'"),
        (["--model", MODEL, "--ordered", "x1,x77"], "--ordered names x77"),
        (["--model", MODEL, "--missing", "pairwise"], "requires missing to be one of listwise, fiml"),
        (["--model", MODEL, "--group", "school", "--group-equal", "loading"], "group_equal requires names among"),
    ],
)
def test_problems_are_one_line_and_status_two(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is wrong, where, and what to do."""
    assert main(["cfa", HS, *arguments]) == 2
    printed = capsys.readouterr()
    assert words in printed.err
    assert "Remedy" in printed.err
    assert len(printed.err.strip().splitlines()) == 1
    assert printed.out == ""
