"""`describe`, `reliability` and `efa` on files: the figures that programs read, the tables, the complaints."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis.psychometrics.command_line.main import main

REFERENCE = Path(__file__).resolve().parents[3] / "reference"
HS1939 = str(REFERENCE / "hs1939.csv")
BFI, CEILING = (str(REFERENCE / "classical" / f"{name}.csv") for name in ("bfi", "ceiling"))
TESTS = ",".join(f"x{number}" for number in range(1, 10))
SCALES = "visual=x1,x2,x3;textual=x4,x5,x6;speed=x7,x8,x9"
CEILING_SCALES = "a=q1,q2,q3,q4;b=q5,q6,q7,q8;c=q9,q10,q11,q12"

Ask = Callable[..., Any]


@pytest.fixture
def ask(capsys: pytest.CaptureFixture[str]) -> Ask:
    """Run a command with --json and return what it says."""

    def asked(*argv: str) -> Any:
        assert main([*argv, "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    return asked


@pytest.fixture
def complain(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run a command that has to fail; return its one line."""

    def complained(*argv: str) -> str:
        assert main(list(argv)) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert err.count("\n") == 1
        return err

    return complained


def test_reliability_of_three_scales_matches_psych(ask: Ask, r_figures: dict[str, Any]) -> None:
    """Per scale and per item, under the names that programs read."""
    answer = ask("reliability", HS1939, "--scales", SCALES)
    for name, items in (("visual", "123"), ("textual", "456"), ("speed", "789")):
        scale, figures = answer["scales"][name], r_figures["alpha"][name]
        assert scale["alpha"] == pytest.approx(figures["raw_alpha"], abs=1e-9)
        assert scale["alpha_ci_lower"] == pytest.approx(figures["ci95_feldt"]["lower"], abs=1e-9)
        assert scale["alpha_ci_upper"] == pytest.approx(figures["ci95_feldt"]["upper"], abs=1e-9)
        omega = r_figures["omega_per_factor_nf1"][name]["omega_total"]
        assert scale["omega_total"] == pytest.approx(omega, abs=1e-6)
        assert list(scale["items"]) == [f"x{number}" for number in items]
        for item, of in scale["items"].items():
            assert of["alpha_if_deleted"] == pytest.approx(figures["alpha_if_deleted"][item], abs=1e-9)
            assert of["item_rest_r"] == pytest.approx(figures["item_rest_r"][item], abs=1e-9)
        assert scale["sem"] == pytest.approx(scale["score_sd"] * np.sqrt(1 - scale["alpha"]), abs=1e-12)
        assert scale["sem_omega"] == pytest.approx(scale["score_sd"] * np.sqrt(1 - scale["omega_total_raw"]))
        assert (scale["n_used"], scale["n_dropped"], scale["admissible"]) == (301, 0, True)
        assert scale["omega_categorical"] is None
        assert any("different values" in note for note in scale["notes"])
        assert scale["omega_hierarchical"] is None


def test_all_items_together_have_psychs_omega_hierarchical(ask: Ask, classical_figures: Callable[[str], Any]) -> None:
    """One scale without --scales; with them the entry `total`. Three group factors by default, --groups for others."""
    figures = classical_figures("omega")["hs1939"]["three"]
    alone = ask("reliability", HS1939, "--items", TESTS)["scales"]["all"]
    together = ask("reliability", HS1939, "--scales", SCALES)["total"]
    for answer in (alone, together):
        assert answer["omega_hierarchical"] == pytest.approx(figures["omega_h"], abs=1e-4)
        details = answer["schmid_leiman"]
        assert details["omega_total"] == pytest.approx(figures["omega_total"], abs=1e-4)
        np.testing.assert_allclose(details["omega_group"], figures["group"], atol=1e-4)
        assert details["group_of_item"]["x4"] == 1
    two = ask("reliability", HS1939, "--items", TESTS, "--groups", "2")["scales"]["all"]
    assert two["omega_hierarchical"] == pytest.approx(classical_figures("omega")["hs1939"]["two"]["omega_h"], abs=1e-4)


def test_reversed_items_and_categories_match_psych_and_semtools(
    ask: Ask, classical_figures: Callable[[str], Any]
) -> None:
    """The bfi's scales: reversal by the range of the answers, listwise and pairwise, categorical omega."""
    alpha, categorical = classical_figures("alpha"), classical_figures("categorical_omega")
    scales = ";".join(f"{name}={','.join(items)}" for name, items in alpha["scales"].items())
    command = ("reliability", BFI, "--scales", scales, "--reverse", ",".join(alpha["reversed"]))
    for missing in ("listwise", "pairwise"):
        answer = ask(*command, "--missing", missing)
        for name in alpha["scales"]:
            scale, figures = answer["scales"][name], alpha["alpha"][f"bfi_{missing}"][name]
            assert scale["alpha"] == pytest.approx(figures["raw_alpha"], abs=1e-9)
            np.testing.assert_allclose([of["mean"] for of in scale["items"].values()], figures["mean"], atol=1e-9)
            if missing == "listwise":
                assert scale["omega_categorical"] == pytest.approx(categorical[name]["omega"]["f"], abs=1e-6)
    assert answer["reversed"] == alpha["reversed"]
    ranged = ask(*command, "--range", "0,6")
    assert ranged["scales"]["agree"]["alpha"] == pytest.approx(alpha["alpha"]["bfi_listwise"]["agree"]["raw_alpha"])
    assert ranged["scales"]["agree"]["items"]["A1"]["mean"] < answer["scales"]["agree"]["items"]["A1"]["mean"]


def test_clusters_give_omega_by_level_and_their_bootstrap(ask: Ask, classical_figures: Callable[[str], Any]) -> None:
    """--cluster splits the levels and is what --bootstrap resamples; the same seed gives the same intervals."""
    path = str(REFERENCE / "classical" / "levels.csv")
    command = ("reliability", path, "--items", "y1,y2,y3", "--cluster", "clinician", "--bootstrap", "40")
    scale = ask(*command)["scales"]["all"]
    figures = classical_figures("levels")["three"]
    level = scale["level_specific"]
    assert level["omega_cluster_mean"] == pytest.approx(figures["compRelSEM"]["shared"]["fb"][0], abs=1e-3)
    common = np.sum(figures["lambda_w"]) ** 2
    assert level["omega_within"] == pytest.approx(common / (common + np.sum(figures["theta_w"])), abs=1e-4)
    assert (level["n_clusters"], scale["bootstrap"]["unit"], scale["bootstrap"]["n_units"]) == (80, "clusters", 80)
    for name in ("alpha", "omega_total"):
        interval = scale["bootstrap"][name]
        assert interval["ci_lower"] < scale[name] < interval["ci_upper"]
    assert ask(*command)["scales"]["all"]["bootstrap"] == scale["bootstrap"]
    assert ask(*command, "--seed", "2")["scales"]["all"]["bootstrap"] != scale["bootstrap"]


def test_a_model_gives_semtools_coefficients(
    ask: Ask, r_figures: dict[str, Any], classical_figures: Callable[[str], Any]
) -> None:
    """compRelSEM of correlated factors, of ordinal items, and the hierarchy of a bifactor model."""
    three = "visual =~ x1 + x2 + x3; textual =~ x4 + x5 + x6; speed =~ x7 + x8 + x9"
    factors = ask("reliability", HS1939, "--items", TESTS, "--model", three)["model"]["factors"]
    for name, of in factors.items():
        assert of["omega"] == pytest.approx(r_figures["compRelSEM"][name], abs=1e-5)
    groups = "a =~ q1 + q2 + q3 + q4; b =~ q5 + q6 + q7 + q8; c =~ q9 + q10 + q11 + q12"
    command = ("reliability", CEILING, "--scales", CEILING_SCALES, "--reverse", "q5", "--model")
    ordinal = ask(*command, groups, "--ordered")["model"]
    for name, omega in classical_figures("categorical_omega")["ceiling_three"]["omega"].items():
        assert ordinal["factors"][name]["omega"] == pytest.approx(omega, abs=1e-5)
    assert ordinal["bifactor"] is None
    items = " + ".join(f"q{number}" for number in range(1, 13))
    apart = "g ~~ 0*a + 0*b + 0*c; a ~~ 0*b + 0*c; b ~~ 0*c"
    bifactor = ask(*command, f"g =~ {items}; {groups}; {apart}")["model"]["bifactor"]
    expected = classical_figures("omega")["bifactor"]["compRelSEM"]["g"]
    assert bifactor["omega_hierarchical"] == pytest.approx(expected, abs=1e-5)


def test_items_keyed_the_other_way_are_named_once(ask: Ask, r_figures: dict[str, Any], tmp_path: Path) -> None:
    """x4 turned round and not declared: omega_total is psych's, the rest is of the sum as it is, and a note says so."""
    with Path(HS1939).open(newline="") as file:
        rows = [[10 - float(row["x4"]), row["x5"], row["x6"]] for row in csv.DictReader(file)]
    path = tmp_path / "turned.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["x4", "x5", "x6"], *rows])
    scale = ask("reliability", str(path))["scales"]["all"]
    omega = r_figures["omega_per_factor_nf1"]["textual"]["omega_total"]
    assert scale["omega_total"] == pytest.approx(omega, abs=1e-6)
    assert scale["omega_total_raw"] < 0.6
    assert scale["alpha"] < 0
    assert sum("x4" in note for note in scale["notes"]) == 1
    declared = ask("reliability", str(path), "--reverse", "x4")["scales"]["all"]
    assert declared["alpha"] == pytest.approx(r_figures["alpha"]["textual"]["raw_alpha"], abs=1e-9)
    assert declared["omega_total"] == pytest.approx(omega, abs=1e-6)


def test_two_items_have_spearman_brown_instead(ask: Ask) -> None:
    """What two items cannot give is null, with a note."""
    scale = ask("reliability", HS1939, "--scales", "two=x1,x2")["scales"]["two"]
    assert scale["spearman_brown"] == pytest.approx(scale["alpha_std"], abs=1e-12)
    assert scale["omega_total"] is scale["omega_total_raw"] is scale["omega_categorical"] is None
    assert scale["items"]["x1"]["alpha_if_deleted"] is None
    assert any("Spearman–Brown" in note for note in scale["notes"])


def test_efa_matches_psych(ask: Ask, classical_figures: Callable[[str], Any]) -> None:
    """Loadings to fit indices, by both extractions and every rotation."""
    figures = classical_figures("factors")["bfi"]
    for extraction, rotation in (("minres", "oblimin"), ("ml", "promax"), ("minres", "varimax"), ("ml", "none")):
        expected = figures["runs"][f"{extraction}_{rotation}"]
        answer = ask("efa", BFI, "--factors", "5", "--extraction", extraction, "--rotation", rotation)
        for key, theirs in (("loadings", "loadings"), ("structure", "structure"), ("phi", "phi")):
            np.testing.assert_allclose(answer[key], expected[theirs], atol=1e-4)
        np.testing.assert_allclose(answer["communalities"], expected["communality"], atol=1e-4)
        np.testing.assert_allclose(1 - np.array(answer["uniquenesses"]), answer["communalities"], atol=1e-12)
        np.testing.assert_allclose([answer["variance"], answer["variance_share"]], expected["vaccounted"], atol=1e-4)
        assert answer["chisq"] == pytest.approx(expected["chisq"], abs=2e-3)
        assert (answer["df"], answer["n_used"], answer["n_dropped"]) == (expected["df"], 822, 112)
        assert answer["rmsea"] == pytest.approx(expected["rmsea"][0], abs=1e-5)
        assert answer["tli"] == pytest.approx(expected["tli"], abs=1e-5)
        assert answer["bic"] == pytest.approx(expected["bic"], abs=2e-3)
        assert answer["rmsr"] == pytest.approx(expected["rms"], abs=1e-6)
    assert answer["kmo"] == pytest.approx(figures["kmo"], abs=1e-9)
    np.testing.assert_allclose(answer["kmo_items"], figures["kmo_items"], atol=1e-9)
    assert answer["bartlett_chisq"] == pytest.approx(figures["bartlett"]["chisq"], abs=1e-8)
    assert answer["bartlett_df"] == figures["bartlett"]["df"]
    assert answer["items"][0] == "A1"


def test_efa_of_polychoric_correlations(ask: Ask) -> None:
    """The same path on latent responses: larger loadings near a ceiling, and chi-square is no test."""
    items = ("--items", ",".join(f"q{number}" for number in range(1, 13)), "--factors", "3")
    pearson = ask("efa", CEILING, *items)
    polychoric = ask("efa", CEILING, *items, "--kind", "polychoric")
    assert polychoric["kind"] == "polychoric"
    assert sum(polychoric["communalities"]) > sum(pearson["communalities"]) + 1
    assert any("no test" in note for note in polychoric["notes"])
    several = ask("efa", CEILING, *items, "--starts", "4")
    np.testing.assert_allclose(several["loadings"], pearson["loadings"], atol=1e-3)


def test_describe_compares_items_with_scales(ask: Ask) -> None:
    """Distribution as answered, correlations with reversed items turned round, the successes counted."""
    answer = ask("describe", CEILING, "--scales", CEILING_SCALES, "--reverse", "q5")
    assert answer["items"]["q5"]["mean"] < 2
    assert answer["scale_values"] == [1, 2, 3, 4, 5]
    assert answer["items"]["q2"]["counts"][0] == 0
    assert (answer["n_rows"], answer["n_complete"]) == (600, 440)
    assert [scale["n_definite_success"] for scale in answer["scaling"]["scales"]] == [8, 8, 8]
    assert "scaling" not in ask("describe", CEILING)


def test_a_declared_range_gives_points_that_nobody_used(ask: Ask, tmp_path: Path) -> None:
    """Nobody chose 1 or 5: they are points all the same, and the floor is empty."""
    path = tmp_path / "small.csv"
    path.write_text("a,b\n2,3\n3,4\n4,2\n")
    item = ask("describe", str(path), "--range", "1,5")["items"]["a"]
    assert (item["points"], item["counts"], item["floor_share"]) == ([1, 2, 3, 4, 5], [0, 1, 1, 1, 0], 0)


def test_tables_for_people_hold_the_same_figures(capsys: pytest.CaptureFixture[str]) -> None:
    """Every command prints titled tables, notes below."""
    for argv, words in (
        (["reliability", HS1939, "--scales", SCALES], ["Scales", "0.626", "all together", "Notes"]),
        (["efa", HS1939, "--items", TESTS, "--factors", "3"], ["Loadings: minres, oblimin", "KMO, overall", "0.752"]),
        (["describe", CEILING, "--scales", CEILING_SCALES], ["Shares of the answers", "Scaling successes"]),
        (
            ["reliability", CEILING, "--scales", "a=q1,q2,q3", "--cluster", "clinician", "--bootstrap", "20"],
            ["By level: within and between clinician", "Bootstrap of clusters"],
        ),
    ):
        assert main(argv) == 0
        text = capsys.readouterr().out
        for word in words:
            assert word in text


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (("reliability", "--scales", "v=x1,x99"), ["no column 'x99'", "Remedy"]),
        (("reliability", "--scales", "v=x1"), ["at least two items", "'v' has 1"]),
        (("reliability", "--scales", "v=x1,x2", "--reverse", "x9"), ["--reverse names x9"]),
        (("reliability", "--scales", "v=x1,x2", "--items", "x1"), ["--items and --scales"]),
        (("reliability", "--scales", "v=x1,x2", "--range", "5,1"), ["--range", "lower one first"]),
        (("reliability", "--scales", "v=x1,x2", "--range", "1,2"), ["beyond the ends 1 and 2", "x1"]),
        (("reliability", "--scales", "v=x1,x2", "--cluster", "doctor"), ["no column 'doctor'"]),
        (("reliability", "--items", "x1,x2", "--confidence", "95"), ["confidence"]),
        (("reliability", "--items", "x1,x2", "--ordered"), ["--ordered goes with --model"]),
        (("reliability", "--items", "x1,x2", "--model", "nothing"), ["neither a file nor a model"]),
        (("efa", "--items", "x1,x2", "--factors", "1"), ["at least 3 items"]),
        (("efa", "--items", TESTS, "--factors", "6"), ["1 to 5 factors for 9 items"]),
        (("efa", "--items", TESTS, "--factors", "2", "--rotation", "varimax", "--starts", "3"), ["--starts"]),
        (("describe", "--items", "x1", "--reverse", "x1"), ["--reverse goes with --scales"]),
        (("describe", "--scales", "v=x1,x2"), ["at least two scales"]),
    ],
)
def test_complaints_are_one_line_with_a_remedy(
    complain: Callable[..., str], argv: tuple[str, ...], words: list[str]
) -> None:
    """Unknown columns, scales of one, wrong ends, too many factors."""
    line = complain(argv[0], HS1939, *argv[1:])
    for word in words:
        assert word in line


def test_singular_correlations_are_not_passed_off_as_a_solution(ask: Ask, tmp_path: Path) -> None:
    """No more respondents than items, or an item twice: alpha stands, omega is marked and noted."""
    rng = np.random.default_rng(2)
    rows = np.clip(np.rint(3 + rng.standard_normal((40, 1)) + rng.standard_normal((40, 8))), 1, 5)
    for name, data in (("few", rows[:6]), ("twice", np.column_stack([rows, rows[:, 0]]))):
        path = tmp_path / f"{name}.csv"
        header = ",".join(f"i{number}" for number in range(data.shape[1]))
        np.savetxt(path, data, delimiter=",", header=header, comments="", fmt="%g")
        scale = ask("reliability", str(path))["scales"]["all"]
        assert scale["alpha"] is not None
        assert scale["admissible"] is False
        assert any("singular" in note for note in scale["notes"])


def test_units_do_not_matter(ask: Ask, tmp_path: Path) -> None:
    """Answers in billionths give the same coefficients: nothing is compared with a fixed small number."""
    answers = np.genfromtxt(CEILING, delimiter=",", skip_header=1)[:, 1:5]
    found = []
    for name, factor in (("plain", 1.0), ("tiny", 1e-9)):
        path = tmp_path / f"{name}.csv"
        rows = answers[~np.isnan(answers).any(axis=1)] * factor
        np.savetxt(path, rows, delimiter=",", header="a,b,c,d", comments="", fmt="%.17g")
        scale = ask("reliability", str(path))["scales"]["all"]
        found.append([scale[key] for key in ("alpha", "omega_total", "omega_total_raw", "omega_categorical")])
        assert ask("efa", str(path), "--factors", "1")["admissible"]
    np.testing.assert_allclose(found[1], found[0], atol=1e-6)


def test_constant_copied_and_empty_columns_are_named(complain: Callable[..., str], tmp_path: Path) -> None:
    """The defects that real files have, each by the name of its column."""
    path = tmp_path / "bad.csv"
    rows = np.random.default_rng(1).integers(1, 6, (30, 3))
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["a", "b", "c", "same", "copy", "empty"])
        writer.writerows([*row, 3, row[0], ""] for row in rows.tolist())
    assert "same" in complain("reliability", str(path), "--items", "a,b,same")
    assert "got 0" in complain("reliability", str(path), "--items", "a,b,empty")
    assert "a and copy correlate perfectly" in complain("efa", str(path), "--items", "a,b,c,copy", "--factors", "1")
    assert "same" in complain("efa", str(path), "--items", "a,b,c,same", "--factors", "1")
    polychoric = ("efa", str(path), "--items", "a,b,c,same", "--factors", "1", "--kind", "polychoric")
    assert "same" in complain(*polychoric)
