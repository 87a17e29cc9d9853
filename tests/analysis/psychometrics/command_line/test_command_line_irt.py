"""The commands `irt` and `dif` on a file: keys for programs, tables for people, complaints in one line."""

import json
from pathlib import Path

import numpy as np
import pytest

from analysis.psychometrics.command_line.main import main
from analysis.psychometrics.item_response.graded_response import fit_graded_response

DATA = str(Path(__file__).resolve().parents[3] / "reference" / "irt" / "bfi_agreeableness.csv")
ITEMS = "A1,A2,A3,A4,A5"


def test_irt_prints_every_key_with_the_functions_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    """a, b, eap, eap_se and information are what `fit_graded_response` returns on the same columns."""
    command = ["irt", DATA, "--model", "graded", "--items", ITEMS, "--map", "--item-fit", "--q3", "--json"]
    assert main(command) == 0
    answer = json.loads(capsys.readouterr().out)
    rows = [line.split(",")[:5] for line in Path(DATA).read_text().splitlines()[1:]]
    values = np.array([[float(cell) if cell else np.nan for cell in row] for row in rows])
    model = fit_graded_response(values)
    assert list(answer["items"]) == ITEMS.split(",")
    for item in model.items:
        entry = answer["items"][f"A{item.item_code[-1]}"]
        assert entry["a"] == pytest.approx(item.a)
        assert entry["a_se"] == pytest.approx(item.a_se)
        np.testing.assert_allclose(entry["b"], item.b)
        np.testing.assert_allclose(entry["b_se"], item.b_se)
        np.testing.assert_allclose(entry["d"], item.d)
    np.testing.assert_allclose(answer["eap"], model.eap)
    np.testing.assert_allclose(answer["eap_se"], model.eap_se)
    np.testing.assert_allclose(answer["information"], model.test_information)
    np.testing.assert_allclose(answer["theta"], model.theta)
    assert answer["logl"] == pytest.approx(model.log_likelihood)
    assert (answer["n_used"], answer["n_dropped"], answer["converged"], answer["admissible"]) == (700, 0, True, True)
    assert set(answer["item_fit"]["A3"]) == {"s_x2", "df", "pvalue", "rmsea"}
    assert np.array(answer["q3"]["matrix"]).shape == (5, 5)
    assert len(answer["map"]) == len(answer["map_se"]) == 700
    assert "negative slope, check the keying of A1" in answer["notes"]


def test_irt_prints_tables_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    """Slopes, thresholds, information and notes stand under their titles."""
    assert main(["irt", DATA, "--items", ITEMS, "--item-fit", "--q3"]) == 0
    out = capsys.readouterr().out
    for part in (
        "log-likelihood -4785.360",
        "slope a and thresholds b",
        "Test information",
        "S-X²",
        "(Q3)",
        "keying of A1",
    ):
        assert part in out


def test_irt_without_standard_errors_prints_null(capsys: pytest.CaptureFixture[str]) -> None:
    """What was not computed is null, not zero."""
    assert main(["irt", DATA, "--items", "A1,A2,A3", "--se", "none", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["items"]["A1"]["a_se"] is None


def test_irt_with_groups_gives_their_distributions(capsys: pytest.CaptureFixture[str]) -> None:
    """The larger group is the reference; the other has a mean and a variance with errors."""
    assert main(["irt", DATA, "--items", ITEMS, "--group", "gender", "--json"]) == 0
    groups = json.loads(capsys.readouterr().out)["groups"]
    assert groups["2"]["mean"] == 0
    assert groups["1"]["mean_se"] > 0
    assert groups["1"]["n"] + groups["2"]["n"] == 700
    assert main(["irt", DATA, "--items", ITEMS, "--group", "gender", "--reference", "1"]) == 0
    assert "the trait's distribution" in capsys.readouterr().out


def test_dif_prints_every_test(capsys: pytest.CaptureFixture[str]) -> None:
    """Men and women of the reference data answer alike; the reversed item is turned round first."""
    assert main(["dif", DATA, "--items", ITEMS, "--group", "gender", "--reverse", "A1", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["groups"] == {"2": 462, "1": 216}
    assert answer["reference"] == "2"
    assert answer["items"]["A4"]["chisq_uniform"] == pytest.approx(3.310, abs=5e-4)
    assert not any(item["flagged"] for item in answer["items"].values())
    assert (answer["n_used"], answer["n_dropped"]) == (678, 22)
    assert main(["dif", DATA, "--group", "gender", "--matching", "eap", "--purify", "--reference", "1"]) == 0
    out = capsys.readouterr().out
    assert "matched on the EAP score" in out
    assert "log odds 2" in out


@pytest.mark.parametrize(
    ("command", "complaint"),
    [
        (["irt", DATA, "--items", "A1"], "at least 3 items"),
        (["irt", DATA, "--items", "A1,B1"], "there is no column 'B1'"),
        (["dif", DATA, "--group", "sex"], "there is no column 'sex'"),
        (["dif", DATA, "--items", "A1,A2,gender", "--group", "gender"], "is the group and an item"),
        (["dif", DATA, "--items", "A1,A2", "--reverse", "A9", "--group", "gender"], "A9"),
    ],
)
def test_a_problem_is_one_line_and_status_2(
    capsys: pytest.CaptureFixture[str], command: list[str], complaint: str
) -> None:
    """The message names what is wrong and the remedy."""
    assert main(command) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert complaint in captured.err
    assert "Remedy" in captured.err
