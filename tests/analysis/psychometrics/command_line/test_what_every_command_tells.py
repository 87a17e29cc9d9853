"""What every command's JSON says about its rows and its state; impossible numbers and single clusters refused."""

import contextlib
import json
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

from analysis.psychometrics.clinicians.generalisability import generalisability
from analysis.psychometrics.command_line.main import main
from analysis.psychometrics.errors import AnalysisInputError

ITEMS = "x1,x2,x3,x4"
COMMANDS: dict[str, tuple[list[str], frozenset[str]]] = {
    "describe": (["describe", "D", "--items", ITEMS], frozenset()),
    "reliability": (["reliability", "D", "--scales", "a=x1,x2;b=x3,x4"], frozenset({"converged", "admissible"})),
    "correlations": (["correlations", "D", "--items", ITEMS], frozenset()),
    "agreement": (["agreement", "D", "D", "--key", "id", "--columns", "x1"], frozenset()),
    "gaps": (["gaps", "D", "D", "--key", "id", "--columns", "x1"], frozenset()),
    "profiles": (
        ["profiles", "D", "D", "--key", "id", "--columns", ITEMS, "--cluster", "k", "--minimum-components", "3"],
        frozenset(),
    ),
    "one-with-many": (
        ["one-with-many", "D", "--patient", "x1,x2", "--clinician", "x3,x4", "--cluster", "k", "--draws", "0"],
        frozenset({"converged", "admissible"}),
    ),
    "one-with-many of halves": (
        ["one-with-many", "D", "--patient", "x1,x2", "--clinician", "x3,x4", "--cluster", "k", "--draws=0", "--halves"],
        frozenset({"converged", "admissible"}),
    ),
    "dif": (["dif", "D", "--items", ITEMS, "--group", "half", "--reverse", "x2", "--range", "1,5"], frozenset()),
    "multilevel": (["multilevel", "D", "--items", ITEMS, "--cluster", "k"], frozenset({"converged", "admissible"})),
    "generalisability": (
        ["generalisability", "D", "--items", ITEMS, "--cluster", "k"],
        frozenset({"converged", "admissible"}),
    ),
    "retest": (["retest", "D", "--first", "x1,x2", "--second", "x3,x4", "--draws", "20"], frozenset()),
    "content-validity": (["content-validity", "D", "--items", ITEMS, "--highest", "5"], frozenset()),
}


def write(folder: Path, name: str, **changed: list[object]) -> str:
    """Write 60 rows of four related items, a clinician's key and a row's key, with columns replaced."""
    rng = np.random.default_rng(4)
    latent = rng.normal(size=(60, 1)) + 0.7 * np.repeat(rng.normal(size=(12, 1)), 5, axis=0)
    answers = np.clip(np.rint(3 + latent + 0.7 * rng.normal(size=(60, 4))), 1, 5).astype(int)
    columns: dict[str, list[object]] = {f"x{j + 1}": answers[:, j].tolist() for j in range(4)}
    columns |= {"k": [f"c{row // 5}" for row in range(60)], "id": list(range(60))}
    columns["half"] = ["a", "b"] * 30
    columns |= changed
    lines = [",".join(columns), *(",".join(map(str, row)) for row in zip(*columns.values(), strict=True))]
    path = folder / name
    path.write_text("\n".join(lines))
    return str(path)


def answer(capsys: pytest.CaptureFixture[str], path: str, words: list[str]) -> tuple[int, str, str]:
    """Run a command on a file."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        status = main([*(path if word == "D" else word for word in words), "--json"])
    out, err = capsys.readouterr()
    return status, out, err


@pytest.mark.parametrize("name", COMMANDS)
def test_rows_used_and_dropped_state_and_notes_stand_at_the_top(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every command counts its rows and lists its notes where a program looks first; a fit also says how it ended."""
    words, state = COMMANDS[name]
    status, out, err = answer(capsys, write(tmp_path, "d.csv"), words)
    data = json.loads(out)
    assert (status, err) == (0, "")
    assert isinstance(data["notes"], list)
    assert data["n_used"] + data["n_dropped"] == 60
    assert all(isinstance(data[key], bool) for key in state)


def test_a_dyad_without_any_score_is_counted_as_dropped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of sixty dyads one has neither side of the first scale and one has nothing at all."""
    blank_first = [["", 3][row > 1] for row in range(60)]
    blank_second = [["", 2][row > 0] for row in range(60)]
    noisy = [str(row % 5 + row % 3) for row in range(60)]
    varied = {
        "x1": [v and noisy[i] for i, v in enumerate(blank_first)],
        "x3": [v and noisy[-i - 1] for i, v in enumerate(blank_first)],
        "x2": [v and noisy[(i * 7) % 60] for i, v in enumerate(blank_second)],
        "x4": [v and noisy[(i * 11) % 60] for i, v in enumerate(blank_second)],
    }
    _, out, _ = answer(capsys, write(tmp_path, "d.csv", **varied), COMMANDS["one-with-many"][0])
    data = json.loads(out)
    assert (data["n_used"], data["n_dropped"]) == (59, 1)
    assert (data["scales"]["x1"]["n_used"], data["scales"]["x1"]["n_dropped"]) == (58, 2)


@pytest.mark.parametrize("number", ["1e200", "-1e61", "1e-200"])
def test_a_number_whose_square_leaves_double_precision_is_refused_with_its_place(
    number: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One slip of the keyboard must neither overflow into warnings nor become a silent NaN."""
    path = write(tmp_path, "d.csv", x2=[1, 2, number, *([3, 4, 5] * 19)])
    for words, _ in COMMANDS.values():
        if not any("x2" in word for word in words):
            continue
        status, out, err = answer(capsys, path, words)
        assert (status, out) == (2, "")
        assert "column 'x2', line 4" in err
        assert "Remedy" in err


def test_a_matrix_with_such_a_number_is_refused() -> None:
    """The functions refuse what the reader of files refuses."""
    data = np.ones((9, 3))
    data[2, 1] = 1e100
    with pytest.raises(AnalysisInputError, match=r"at most 1e\+60; got larger or infinite values in column\(s\) 1"):
        generalisability(data, np.arange(9))


@pytest.mark.parametrize("name", ["reliability", "generalisability"])
def test_an_item_that_nobody_answered_is_named_as_in_the_file(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """'item 2' would make the reader count columns."""
    status, _, err = answer(capsys, write(tmp_path, "d.csv", x2=[""] * 60), COMMANDS[name][0])
    assert status == 2
    assert "nobody answered (x2)" in err


def test_profiles_that_are_all_flat_are_undefined_with_a_note(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without any shape there is no mean of shapes, and no warning of NumPy's either."""
    flat = {f"x{j}": [3] * 60 for j in range(1, 5)}
    status, out, err = answer(capsys, write(tmp_path, "d.csv", **flat), COMMANDS["profiles"][0])
    assert (status, err) == (0, "")
    assert any("60 dyad(s) with a flat profile" in note for note in json.loads(out)["notes"])


def test_one_cluster_is_refused_by_the_cluster_robust_fit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Errors robust to dependence within clusters need clusters to compare."""
    words = ["cfa", "D", "--model", "f =~ x1 + x2 + x3 + x4", "--cluster", "k"]
    status, _, err = answer(capsys, write(tmp_path, "d.csv", k=["one"] * 60), words)
    assert status == 2
    assert "two clusters or more; every row belongs to 'one'" in err


def test_no_module_waits_for_scipy_stats() -> None:
    """`scipy.stats` takes a second to load: every command would begin with it."""
    program = (
        "import pkgutil, importlib, sys, analysis.psychometrics as p\n"
        "for m in pkgutil.walk_packages(p.__path__, 'analysis.psychometrics.'):\n"
        "    m.name.endswith('__main__') or importlib.import_module(m.name)\n"
        "print('scipy.stats' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "False"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["dif", "D", "--group", "k", "--criterion", "nan"], "'nan' is not a finite number"),
        (["content-validity", "D", "--items", ITEMS, "--highest", "inf"], "'inf' is not a finite number"),
        (["content-validity", "D", "--items", ITEMS, "--highest", "5", "--relevant-from", "6"], "relevant from 6"),
        (["apim", "D", "--predictor", "x1,x2", "--outcome", "x1,x4"], "'x1', which --predictor names, too"),
        (["response-surface", "D", "--patient", "x1", "--clinician", "x2", "--outcome", "x2"], "one of the two scores"),
    ],
)
def test_options_that_would_answer_another_question_are_refused(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A NaN decides no comparison, a threshold beyond the scale is never reached, a score predicts itself."""
    path = write(tmp_path, "d.csv")
    with pytest.raises(SystemExit) if "finite" in message else contextlib.nullcontext() as left:
        status = main([path if word == "D" else word for word in words])
    err = capsys.readouterr().err
    assert (left.value.code if left else status) == 2
    assert message in err
    assert err.count("\n") == 1
    assert "Remedy" in err


@pytest.mark.parametrize(
    "words",
    [
        ["apim", "D", "--predictor", "x1,x2", "--outcome", "x3,x4", "--cluster", "k"],
        ["response-surface", "D", "--patient", "x1", "--clinician", "x2", "--outcome", "x3", "--cluster", "k"],
        ["retest", "D", "--first", "x1", "--second", "x2", "--cluster", "k"],
        ["multilevel", "D", "--items", "x1", "--cluster", "k"],
    ],
)
def test_a_row_without_a_clinician_is_named_by_file_column_and_line(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Row 4 of the data stands in line 5 of the file."""
    path = write(tmp_path, "d.csv", k=["a", "a", "b", "", *["c"] * 56])
    status, _, err = answer(capsys, path, words)
    assert status == 2
    assert f"{path}: column 'k', line 5: no key" in err


def test_a_solution_that_is_not_estimable_is_neither_converged_nor_admissible(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same column for both roles leaves nothing to divide."""
    words = ["one-with-many", "D", "--patient", "x1", "--clinician", "x1", "--cluster", "k", "--draws", "0"]
    _, out, _ = answer(capsys, write(tmp_path, "d.csv"), words)
    data = json.loads(out)
    assert (data["converged"], data["admissible"]) == (False, False)
    assert data["notes"]


def test_rivals_count_rows_and_tell_whether_every_model_settled(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The structure comes from a file of its own; a range that is none is refused as in the other commands."""
    structure = tmp_path / "structure.json"
    structure.write_text(
        json.dumps({"components": {"a": ["x1", "x2"], "b": ["x3", "x4"]}, "domains": {"all": ["a", "b"]}})
    )
    path = write(tmp_path, "d.csv")
    words = ["rivals", "D", "--structure", str(structure), "--estimator", "ML", "--models", "M1"]
    _, out, _ = answer(capsys, path, words)
    data = json.loads(out)
    assert (data["n_used"], data["n_dropped"]) == (60, 0)
    assert data["converged"] == all(model["converged"] for model in data["models"].values())
    assert data["admissible"] == all(model["admissible"] for model in data["models"].values())
    status, _, err = answer(capsys, path, [*words, "--range", "5,1"])
    assert status == 2
    assert "the lower one first" in err


def test_log_likelihoods_have_one_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`logl`, as in lavaan's fit measures, beside the older `loglik`."""
    path = write(tmp_path, "d.csv")
    _, out, _ = answer(capsys, path, COMMANDS["multilevel"][0])
    for scale in json.loads(out)["scales"].values():
        assert scale["logl"] == scale["loglik"]
    for name in ("generalisability", "one-with-many of halves"):
        _, out, _ = answer(capsys, path, COMMANDS[name][0])
        data = json.loads(out)
        assert data["logl"] == data["loglik"]


@pytest.mark.parametrize("estimator", ["ML", "WLSMV"])
@pytest.mark.parametrize("cell", ["3", ""])
def test_rivals_name_an_item_that_tells_nothing(
    estimator: str, cell: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A constant or empty item leaves its models and the ratios between scales out, each with its reason."""
    structure = tmp_path / "structure.json"
    structure.write_text(
        json.dumps({"components": {"a": ["x1", "x2"], "b": ["x3", "x4"]}, "domains": {"all": ["a", "b"]}})
    )
    path = write(tmp_path, "d.csv", x2=[cell] * 60)
    status, out, err = answer(capsys, path, ["rivals", "D", "--structure", str(structure), "--estimator", estimator])
    assert (status, err) == (0, "")
    data = json.loads(out)
    assert data["htmt"] is None
    assert not data["converged"]
    assert all("x2" in note for note in data["notes"] if note.startswith(("M1:", "no heterotrait")))
    assert any(note.startswith("no heterotrait") for note in data["notes"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x;y;z\n1,5;2;3\n2,5;3;1\n3;5;2\n", "column 'x', line 2: '1,5' is not a number (a decimal comma?)"),
        ('x,y\n1,"2\n3,4\n4,1\n', "check its quotes"),
    ],
)
def test_a_file_read_otherwise_than_meant_is_refused(
    text: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A column with decimal commas is not passed over, and an open quote does not swallow the rows below it."""
    path = tmp_path / "d.csv"
    path.write_text(text)
    status, out, err = answer(capsys, str(path), ["correlations", "D"])
    assert (status, out) == (2, "")
    assert message in err
