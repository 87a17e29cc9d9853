"""The command line's frame: reading tables, complaining in one line, printing for people and for programs."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from analysis.psychometrics.command_line.main import COMMANDS, main, module_of
from analysis.psychometrics.command_line.options import split_names, split_scales
from analysis.psychometrics.command_line.report import Report, Section, as_json, as_text
from analysis.psychometrics.command_line.table import read_table
from analysis.psychometrics.errors import AnalysisInputError

Write = Callable[..., str]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a file and return its path."""

    def written(text: str | bytes, name: str = "data.csv") -> str:
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return str(path)

    return written


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_table_keeps_names_values_and_gaps(write: Write, delimiter: str) -> None:
    """Comma, semicolon and tab are told apart; every usual mark of a missing value becomes NaN."""
    lines = ["id,x1,x2", "a,1,2.5", "b,NA,.", 'c,,"3"']
    table = read_table(write("\ufeff" + "\r\n".join(lines).replace(",", delimiter) + "\r\n"))
    assert table.names == ("id", "x1", "x2")
    assert table.text("id") == ["a", "b", "c"]
    np.testing.assert_array_equal(table.numeric(["x2", "x1"]), [[2.5, 1], [np.nan, np.nan], [3, np.nan]])
    assert table.numeric_names() == ("x1", "x2")


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ("x1,x2\n1,2\n3,many\n", ["x2", "line 3", "many"]),
        ("x1,x2\n1,2\n3\n", ["line 3", "1 cells", "2 columns"]),
        ("x1,x1\n1,2\n", ["x1", "twice"]),
        ("x1,\n1,2\n", ["column 2", "no name"]),
        ("x1,x2\n", ["no rows"]),
        ("", ["is empty"]),
        (b"x1,x2\n1,\xff\n", ["line 2", "UTF-8"]),
        ("x1;x2\n1;2\n3;4,5\n5;6\n", ["x2", "line 3", "decimal comma"]),
        ("x1,x2\n1,2\n3,inf\n", ["x2", "line 3", "inf"]),
    ],
)
def test_a_broken_file_is_named_with_its_place_and_a_remedy(
    write: Write, capsys: pytest.CaptureFixture[str], content: str | bytes, named: list[str]
) -> None:
    """One line on standard error: file, column or line, what came, what to do; status 2; nothing printed."""
    path = write(content)
    assert main(["describe", path]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    for word in [path, "Remedy", *named]:
        assert word in err


def test_a_quoted_line_break_keeps_later_line_numbers_right(write: Write) -> None:
    """Rows are numbered by the file's lines, also after a cell that holds a line break."""
    with pytest.raises(AnalysisInputError, match=r"line 4"):
        read_table(write('id,x\n"a\nb",1\nc,word\n')).numeric(["x"])


def test_an_unknown_column_suggests_a_near_one(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    """A slip of the finger is answered with the name that was meant."""
    assert main(["describe", write("visual_1,x2\n1,2\n2,1\n"), "--items", "visual1"]) == 2
    assert "did you mean 'visual_1'?" in capsys.readouterr().err


def test_a_missing_file_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    """No traceback for a wrong path."""
    assert main(["describe", "nowhere.csv"]) == 2
    assert capsys.readouterr().err == "nowhere.csv: no such file. Remedy: check the path.\n"


@pytest.mark.parametrize("argv", [[], ["describe"], ["no-such-command"], ["describe", "x.csv", "--no-such-option"]])
def test_wrong_options_are_one_line_and_status_2(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """The options' own errors look like all others."""
    with pytest.raises(SystemExit) as ended:
        main(argv)
    assert ended.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("value", ["", ",", "a,a", "a,b, a"])
def test_names_are_refused_when_empty_or_doubled(value: str) -> None:
    """A list of columns holds each once, and at least one."""
    with pytest.raises(AnalysisInputError, match="--items"):
        split_names(value, option="--items")


def test_scales_are_read_and_refused() -> None:
    """`name=items;name=items`, blanks allowed; anything else says how to write it."""
    assert split_scales(" v = x1, x2 ;t=x3;") == {"v": ["x1", "x2"], "t": ["x3"]}
    for wrong in ("", "x1,x2", "v=", "=x1", "v=x1;v=x2"):
        with pytest.raises(AnalysisInputError, match="Remedy"):
            split_scales(wrong)


def test_a_report_is_text_for_people_and_json_for_programs() -> None:
    """Undefined is a dash for people and null for programs; names stand left, numbers right."""
    report = Report(
        data={"alpha": float("nan"), "r": np.array([0.5]), "n": np.int64(3)},
        sections=[
            Section(title="Scales", columns=("scale", "n", "alpha"), rows=[("a", 3, float("nan")), ("bb", 10, 0.5)])
        ],
        notes=["something to know"],
    )
    assert json.loads(as_json(report)) == {"alpha": None, "r": [0.5], "n": 3}
    assert as_text(report).splitlines() == [
        "Scales",
        "  scale   n  alpha",
        "  a       3      –",
        "  bb     10  0.500",
        "",
        "Notes",
        "  - something to know",
    ]


@pytest.mark.parametrize("name", list(COMMANDS))
def test_every_command_has_a_module_and_a_line_of_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The list of commands is complete, and each explains its options."""
    assert COMMANDS[name]
    assert module_of(name).__doc__
    with pytest.raises(SystemExit) as ended:
        main([name, "--help"])
    assert ended.value.code == 0
    assert "--json" in capsys.readouterr().out


def test_describe_counts_what_the_file_holds(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    """Distribution, missing, floor and ceiling of a file small enough to count by hand."""
    assert main(["describe", write("a,b\n1,5\n2,5\n,4\n5,1\n"), "--json"]) == 0
    item = json.loads(capsys.readouterr().out)["items"]["b"]
    assert (item["n"], item["n_missing"], item["counts"], item["ceiling_share"]) == (4, 0, [1, 0, 1, 2], 0.5)


def test_the_package_runs_as_a_program(project_root: Path, write: Write) -> None:
    """`python -m analysis.psychometrics` in a process of its own, its reader gone early included."""
    command = [sys.executable, "-m", "analysis.psychometrics", "describe", write("a,b\n1,5\n2,4\n")]
    done = subprocess.run(command, cwd=project_root, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("Items (2 rows")
    piped = subprocess.run(
        f"{' '.join(command)} | true", shell=True, cwd=project_root, capture_output=True, text=True, check=True
    )
    assert piped.stderr == ""
