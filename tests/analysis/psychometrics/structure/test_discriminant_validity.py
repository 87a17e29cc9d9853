"""The heterotrait–monotrait ratio against semTools, a slow twin, and what must not change it."""

import json
from itertools import combinations, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis.psychometrics.errors import AnalysisInputError
from analysis.psychometrics.response_matrix import FloatArray
from analysis.psychometrics.structure.discriminant_validity import heterotrait_monotrait

SCALES = {"visual": ["x1", "x2", "x3"], "textual": ["x4", "x5", "x6"], "speed": ["x7", "x8", "x9"]}
NINE = [f"x{i}" for i in range(1, 10)]


@pytest.fixture(scope="module")
def semtools(project_root: Path) -> dict[str, Any]:
    """Figures of semTools::htmt (tests/reference/structure/make.R)."""
    figures: dict[str, Any] = json.loads((project_root / "tests/reference/structure/htmt.json").read_text())
    return figures


@pytest.mark.parametrize("geometric", [False, True])
def test_holzinger_swineford_matches_semtools(hs1939: FloatArray, semtools: dict[str, Any], geometric: bool) -> None:
    """Nothing but the formula is in it: 1e-9."""
    result = heterotrait_monotrait(
        np.corrcoef(hs1939, rowvar=False), item_codes=NINE, scales=SCALES, geometric=geometric
    )
    expected = semtools["hs1939"]["geometric" if geometric else "arithmetic"]
    np.testing.assert_allclose(result.htmt, expected, atol=1e-9)
    assert (result.scales, result.geometric, result.notes) == (("visual", "textual", "speed"), geometric, ())


@pytest.mark.parametrize("geometric", [False, True])
def test_items_of_both_signs_match_semtools(semtools: dict[str, Any], geometric: bool) -> None:
    """Items keyed against their scale count by the size of their correlations, as in semTools (1e-9)."""
    figures = semtools["bfi"]
    items = figures["items"]
    scales = {letter: [item for item in items if item[0] == letter] for letter in "ACENO"}
    result = heterotrait_monotrait(figures["correlations"], item_codes=items, scales=scales, geometric=geometric)
    np.testing.assert_allclose(result.htmt, figures["geometric" if geometric else "arithmetic"], atol=1e-9)


def test_the_slow_twin_agrees(hs1939: FloatArray) -> None:
    """Pair by pair, as the definition reads (1e-12)."""
    r = np.abs(np.corrcoef(hs1939, rowvar=False))
    place = {item: position for position, item in enumerate(NINE)}
    result = heterotrait_monotrait(r, item_codes=NINE, scales=SCALES)

    def within(scale: str) -> float:
        return float(np.mean([r[place[a], place[b]] for a, b in combinations(SCALES[scale], 2)]))

    for i, j in combinations(range(3), 2):
        first, second = result.scales[i], result.scales[j]
        between = np.mean([r[place[a], place[b]] for a, b in product(SCALES[first], SCALES[second])])
        assert result.htmt[i, j] == pytest.approx(between / np.sqrt(within(first) * within(second)), abs=1e-12)


def test_the_order_and_direction_of_items_do_not_matter(hs1939: FloatArray) -> None:
    """Shuffled columns and one reversed item give the same ratios (1e-12)."""
    order = [4, 0, 8, 3, 7, 1, 6, 2, 5]
    turned = hs1939[:, order].copy()
    turned[:, 2] *= -1
    plain = heterotrait_monotrait(np.corrcoef(hs1939, rowvar=False), item_codes=NINE, scales=SCALES)
    shuffled = heterotrait_monotrait(
        np.corrcoef(turned, rowvar=False), item_codes=[NINE[i] for i in order], scales=SCALES
    )
    np.testing.assert_allclose(shuffled.htmt, plain.htmt, atol=1e-12)


def test_a_scale_of_one_item_is_undefined_and_named(hs1939: FloatArray) -> None:
    """There is nothing within it to compare with; the other ratios stand."""
    result = heterotrait_monotrait(
        np.corrcoef(hs1939, rowvar=False), item_codes=NINE, scales={**SCALES, "speed": ["x7"]}
    )
    assert np.isnan(result.htmt[2]).all()
    assert np.isnan(result.htmt[:, 2]).all()
    assert not np.isnan(result.htmt[:2, :2]).any()
    assert result.notes == ("undefined for scales of one item: speed",)


@pytest.mark.parametrize(
    ("scales", "matrix", "named"),
    [
        ({"a": ["x1", "x2"], "b": ["x3", "nope"]}, np.eye(9), "nope"),
        ({"a": ["x1", "x2"]}, np.eye(9), "1 scales"),
        (SCALES, 2 * np.eye(9), "ones on the diagonal"),
    ],
)
def test_what_does_not_fit_is_named(scales: dict[str, list[str]], matrix: FloatArray, named: str) -> None:
    """Unknown items, too few scales and covariances are refused."""
    with pytest.raises(AnalysisInputError, match=named):
        heterotrait_monotrait(matrix, item_codes=NINE, scales=scales)
