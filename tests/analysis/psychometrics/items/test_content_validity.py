"""Content validity indices and sortings, as functions and on the command line."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from analysis.psychometrics.command_line.main import main
from analysis.psychometrics.errors import AnalysisInputError
from analysis.psychometrics.items.content_validity import content_validity, sort_items

#: Twelve items by six experts, as published in Table 4 of PMC7253559 (S-CVI/Ave .97, S-CVI/UA .83).
PUBLISHED = [
    [4, 4, 4, 4, 4, 4],
    [4, 3, 4, 4, 3, 4],
    [4, 4, 4, 4, 4, 4],
    [4, 4, 4, 4, 4, 4],
    [3, 4, 4, 4, 4, 4],
    [2, 3, 4, 3, 3, 4],
    [4, 4, 4, 4, 4, 4],
    [4, 4, 4, 4, 4, 4],
    [3, 3, 4, 2, 3, 4],
    [4, 4, 4, 3, 4, 4],
    [4, 4, 4, 3, 4, 4],
    [4, 4, 4, 3, 4, 4],
]


def ratings_of(n_relevant: list[int], n_experts: int) -> np.ndarray:
    """Ratings in which so many experts find each item relevant."""
    return np.where(np.arange(n_experts)[:, None] < np.array(n_relevant)[None], 4.0, 2.0)


def test_a_published_table_of_twelve_items() -> None:
    """I-CVI 1.00 but for two items with .83; S-CVI/Ave .97, S-CVI/UA .83."""
    result = content_validity(np.array(PUBLISHED).T)
    assert [round(item.i_cvi, 2) for item in result.items] == [1, 1, 1, 1, 1, 0.83, 1, 1, 0.83, 1, 1, 1]
    assert (round(result.s_cvi_ave, 2), round(result.s_cvi_ua, 2)) == (0.97, 0.83)
    assert (result.s_cvi_ave_passes, result.s_cvi_ua_passes) == (True, True)
    assert (result.n_experts, result.n_items, result.relevant_from, result.notes) == (6, 12, 3.0, ())
    sixth = result.items[5]
    assert (sixth.item, sixth.n_experts, sixth.n_relevant, sixth.i_cvi_passes) == ("item 6", 6, 5, True)


@pytest.mark.parametrize(
    ("n_experts", "n_relevant", "i_cvi", "p_chance", "kappa", "grade"),
    [
        # Table 10 of PMC5557472 (relevance, meaningfulness, completeness).
        (10, 10, 1.00, 0.001, 1.00, "excellent"),
        (10, 9, 0.90, 0.010, 0.90, "excellent"),
        (10, 8, 0.80, 0.044, 0.79, "excellent"),
        (10, 7, 0.70, 0.117, 0.66, "good"),
        (9, 8, 0.89, 0.018, 0.89, "excellent"),
        (9, 7, 0.78, 0.070, 0.76, "excellent"),
        (9, 6, 0.67, 0.164, 0.60, "good"),
        # The evaluation table of Polit, Beck & Owen (2007).
        (3, 3, 1.00, 0.125, 1.00, "excellent"),
        (3, 2, 0.67, 0.375, 0.47, "fair"),
        (4, 3, 0.75, 0.250, 0.67, "good"),
        (5, 4, 0.80, 0.156, 0.76, "excellent"),
        (6, 5, 0.83, 0.094, 0.81, "excellent"),
        (6, 4, 0.67, 0.234, 0.57, "fair"),
        (7, 6, 0.86, 0.055, 0.85, "excellent"),
        (7, 5, 0.71, 0.164, 0.65, "good"),
        (8, 7, 0.88, 0.031, 0.88, "excellent"),
        (8, 6, 0.75, 0.109, 0.72, "good"),
    ],
)
def test_chance_and_kappa_as_published(
    n_experts: int, n_relevant: int, i_cvi: float, p_chance: float, kappa: float, grade: str
) -> None:
    """Published to two decimals, there from rounded shares: .01 allowed for kappa, .0006 for chance."""
    (item,) = content_validity(ratings_of([n_relevant], n_experts)).items
    assert item.i_cvi == pytest.approx(i_cvi, abs=0.006)
    assert item.p_chance == pytest.approx(p_chance, abs=0.0006)
    assert item.kappa == pytest.approx(kappa, abs=0.01)
    assert item.grade == grade


def test_the_pass_mark_depends_on_the_number_of_experts() -> None:
    """Up to five all must agree; from six .78, and seven of nine passes as published."""
    passes = {
        (n, a): content_validity(ratings_of([a], n)).items[0].i_cvi_passes
        for n, a in [(5, 4), (5, 5), (6, 5), (6, 4), (9, 7), (2, 2)]
    }
    assert passes == {(5, 4): False, (5, 5): True, (6, 5): True, (6, 4): False, (9, 7): True, (2, 2): None}
    assert content_validity(ratings_of([4], 5)).items[0].kappa_passes is True
    assert content_validity(ratings_of([3], 6)).items[0].grade == "poor"


def test_missing_ratings_and_too_few_experts_are_said() -> None:
    """An index rests on who rated; an item without ratings is NaN and the others stand; two experts give no verdict."""
    ratings = ratings_of([4, 3, 4], 4)
    ratings[0, 0] = np.nan
    ratings[:, 2] = np.nan
    result = content_validity(ratings, item_codes=["a", "b", "c"])
    a, b, c = result.items
    assert (a.n_experts, a.i_cvi, b.i_cvi) == (3, 1.0, 0.75)
    assert np.isnan([c.i_cvi, c.kappa, c.p_chance]).all()
    assert (c.grade, result.n_items, result.s_cvi_ave, result.s_cvi_ua) == ("not rated", 2, 0.875, 0.5)
    assert any("not rated by any expert" in note and "c" in note for note in result.notes)
    assert any("not rated by every expert" in note for note in result.notes)
    two = content_validity(ratings_of([2, 1], 2))
    assert (two.s_cvi_ave_passes, two.s_cvi_ua_passes) == (None, None)
    assert any("3 are needed" in note for note in two.notes)


def test_the_order_of_experts_does_not_matter() -> None:
    """Experts are exchangeable."""
    ratings = np.array(PUBLISHED).T
    assert content_validity(ratings[::-1]) == content_validity(ratings)


def test_sorting_counts_the_intended_component() -> None:
    """Ten experts, counted by hand; Wilson's interval of 7 of 10 is .397 to .892."""
    rows = [["valuing", "power", "hope"]] * 7 + [
        ["power", "power", "trust"],
        ["abiding", "power", ""],
        ["power", "", ""],
    ]
    first, second, third = sort_items(rows, ["valuing", "power", "trust"], item_codes=["VN1", "PP1", "TR1"])
    assert (first.item, first.intended, first.n_experts, first.n_intended) == ("VN1", "valuing", 10, 7)
    assert (first.share, first.substantive_validity, first.passes) == (0.7, 0.5, True)
    assert (first.most_frequent_other, first.n_most_frequent_other) == ("power", 2)
    assert (first.ci_lower, first.ci_upper) == pytest.approx((0.3968, 0.8922), abs=1e-4)
    assert (second.n_experts, second.share, second.most_frequent_other, second.passes) == (9, 1.0, "", True)
    assert (third.share, third.substantive_validity, third.passes) == (0.125, -0.75, False)
    (few,) = sort_items([["a"]] * 4, ["a"])
    assert few.passes is None
    (none,) = sort_items([[""]] * 6, ["a"])
    assert np.isnan([none.share, none.ci_lower, none.ci_upper, none.substantive_validity]).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: content_validity([[5.0]]), "whole ratings from 1 to 4; item 1 has another value in row 1"),
        (lambda: content_validity([[2.5]]), "whole ratings"),
        (lambda: content_validity([[np.nan]]), "requires ratings"),
        (lambda: sort_items([], ["a"]), "requires experts"),
        (lambda: sort_items([["a", "b"]], ["a"]), "row 1 has 2 for 1 items"),
        (lambda: sort_items([["a"]], [" "]), "intended component"),
        (lambda: sort_items([["a"]], ["a"], confidence=2), "confidence"),
    ],
)
def test_unusable_input_is_named(call: Callable[[], object], message: str) -> None:
    """Each message says what is required and what came."""
    with pytest.raises(AnalysisInputError, match=message):
        call()


def test_the_command_reads_either_way_round(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A row an expert or a row an item; with sortings and their key."""
    by_item = tmp_path / "items.csv"
    lines = ["item,e1,e2,e3,e4,e5,e6"] + [f"Q{k + 1}," + ",".join(map(str, row)) for k, row in enumerate(PUBLISHED)]
    by_item.write_text("\n".join(lines))
    assert main(["content-validity", str(by_item), "--rows", "items", "--item", "item", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert (round(data["s_cvi_ave"], 2), round(data["s_cvi_ua"], 2)) == (0.97, 0.83)
    assert data["items"]["Q6"]["n_relevant"] == 5
    by_expert = tmp_path / "experts.csv"
    columns = [",".join(f"Q{k + 1}" for k in range(12))]
    by_expert.write_text("\n".join(columns + [",".join(map(str, row)) for row in zip(*PUBLISHED, strict=True)]))
    (tmp_path / "sorting.csv").write_text("Q1,Q2\n" + "trust,hope\n" * 6)
    (tmp_path / "key.csv").write_text("item,component\nQ1,trust\nQ2,trust\n")
    sorting = ["--sorting", str(tmp_path / "sorting.csv"), "--intended", str(tmp_path / "key.csv")]
    assert main(["content-validity", str(by_expert), *sorting]) == 0
    text = capsys.readouterr().out
    for words in ("Content validity by 6 experts", "S-CVI/UA", "Sorted into the intended component"):
        assert words in text
    for options, message in (
        (["--item", "item"], "--item goes with --rows items"),
        (sorting[:2], "go together"),
    ):
        assert main(["content-validity", str(by_expert), *options]) == 2
        assert message in capsys.readouterr().err
    (tmp_path / "key.csv").write_text("item,component\nQ9,trust\n")
    assert main(["content-validity", str(by_expert), *sorting]) == 2
    assert "no column 'Q9'" in capsys.readouterr().err
