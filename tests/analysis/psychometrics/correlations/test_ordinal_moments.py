"""Polychoric, polyserial and Pearson moments and their asymptotic covariance against lavaan's."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis.psychometrics.correlations.ordinal_moments import OrdinalMoments, ordinal_moments
from analysis.psychometrics.errors import AnalysisInputError

REFERENCE = Path(__file__).parents[3] / "reference" / "correlations"
FIGURES: dict[str, Any] = json.loads((REFERENCE / "correlations.json").read_text())
CASES = [
    ("bfi_pairwise", "bfi"),
    ("bfi_listwise", "bfi"),
    ("bfi_mixed", "bfi"),
    ("skewed_pairwise", "skewed"),
    ("skewed_listwise", "skewed"),
    ("skewed_mixed_pairwise", "skewed"),
    ("skewed_mixed_listwise", "skewed"),
]


def read_columns(name: str, columns: list[str]) -> np.ndarray:
    """Return columns of a reference data set, blanks as NaN."""
    with (REFERENCE / f"{name}.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return np.array([[float(row[column] or "nan") for column in columns] for row in rows])


def moments_of(case: str, data: str, **options: Any) -> tuple[OrdinalMoments, dict[str, Any]]:
    """Return our moments of a reference case and lavaan's figures for it."""
    figures = FIGURES[case]
    items = figures["items"]
    result = ordinal_moments(
        read_columns(data, items),
        item_codes=items,
        ordered=[item in figures["ordered"] for item in items],
        missing=figures["missing"],
        **options,
    )
    return result, figures


@pytest.mark.parametrize(("case", "data"), CASES)
def test_moments_are_lavaans(case: str, data: str) -> None:
    """Thresholds, means, variances, correlations and their order are those of lavaan's `wls.obs` and `lavCor`."""
    result, figures = moments_of(case, data, asymptotic="none")
    assert result.n_used == figures["n"]
    # lavaan's optimiser stops within about 1e-7 of the maximum.
    np.testing.assert_allclose(result.correlation, np.array(figures["correlation"]), atol=1e-6)
    np.testing.assert_allclose(result.moments, figures["moments"], rtol=1e-6, atol=1e-6)
    assert len(result.moment_names) == len(result.moments)
    assert result.nacov is None
    assert result.nacov_diagonal is None


@pytest.mark.parametrize(("case", "data"), CASES)
def test_asymptotic_covariance_is_lavaans(case: str, data: str) -> None:
    """The asymptotic covariance matrix is lavaan's `gamma`, and its diagonal and factor say the same."""
    result, figures = moments_of(case, data, keep_influence=True)
    assert result.nacov is not None
    assert result.influence is not None
    diagonal = np.array(figures["gamma_diagonal"])
    # Derivatives at correlations that differ by lavaan's stopping error.
    np.testing.assert_allclose(result.nacov_diagonal, diagonal, rtol=1e-5)
    if "gamma" in figures:
        scale = np.sqrt(np.outer(diagonal, diagonal))
        np.testing.assert_allclose(result.nacov / scale, np.array(figures["gamma"]) / scale, atol=1e-5)
    np.testing.assert_allclose(result.influence.T @ result.influence / result.n_used, result.nacov, rtol=1e-12)
    alone = moments_of(case, data, asymptotic="diagonal")[0]
    assert alone.nacov is None
    np.testing.assert_allclose(alone.nacov_diagonal, result.nacov_diagonal, rtol=1e-9)


def test_order_of_rows_does_not_matter_and_order_of_items_only_reorders() -> None:
    """Shuffled rows give the same moments; reversed columns give the same numbers under the same names."""
    result, figures = moments_of("skewed_mixed_pairwise", "skewed")
    items = figures["items"]
    data = read_columns("skewed", items)
    ordered = [item in figures["ordered"] for item in items]
    shuffled = ordinal_moments(
        np.random.default_rng(1).permutation(data), item_codes=items, ordered=ordered, missing="pairwise"
    )
    np.testing.assert_allclose(shuffled.nacov, result.nacov, rtol=1e-7, atol=1e-7)
    turned = ordinal_moments(data[:, ::-1], item_codes=items[::-1], ordered=ordered[::-1], missing="pairwise")
    where = {"~~".join(sorted(name.split("~~"))): place for place, name in enumerate(turned.moment_names)}
    places = [where["~~".join(sorted(name.split("~~")))] for name in result.moment_names]
    np.testing.assert_allclose(turned.moments[places], result.moments, rtol=1e-8, atol=1e-8)
    assert turned.nacov is not None
    np.testing.assert_allclose(turned.nacov[np.ix_(places, places)], result.nacov, rtol=1e-6, atol=1e-6)


def test_levels_shared_by_groups_have_to_occur() -> None:
    """A category that a group lacks is named, with the remedy."""
    data = np.array([[1.0, 1.0], [2.0, 2.0], [1.0, 2.0], [2.0, 1.0], [1.0, 1.0]])
    with pytest.raises(AnalysisInputError, match="b has none in 3"):
        ordinal_moments(data, item_codes=["a", "b"], levels=[[1, 2], [1, 2, 3]])
    with pytest.raises(AnalysisInputError, match="a has others: 2"):
        ordinal_moments(data, item_codes=["a", "b"], levels=[[1], [1, 2]])
    with pytest.raises(AnalysisInputError, match="levels for each column"):
        ordinal_moments(data, item_codes=["a", "b"], levels=[[1, 2]])


def test_unusable_input_is_refused_by_name() -> None:
    """Constant and duplicated items, items nobody answered together and wrong options each get their message."""
    rng = np.random.default_rng(2)
    data = rng.integers(1, 4, (40, 3)).astype(float)
    constant = data.copy()
    constant[:, 1] = 2
    with pytest.raises(AnalysisInputError, match="constant or empty among the rows used: item 2"):
        ordinal_moments(constant)
    with pytest.raises(AnalysisInputError, match="constant or empty among the rows used: item 2"):
        ordinal_moments(constant, ordered=[True, False, True])
    apart = data.copy()
    apart[:20, 0] = np.nan
    apart[20:, 1] = np.nan
    with pytest.raises(AnalysisInputError, match="item 1 and item 2 share 0"):
        ordinal_moments(apart, missing="pairwise")
    binary = np.repeat(np.array([[0.0, 0.0], [1.0, 1.0]]), 10, axis=0)
    with pytest.raises(AnalysisInputError, match="agree perfectly"):
        ordinal_moments(binary)
    assert ordinal_moments(binary, asymptotic="none").correlation[0, 1] == 1.0
    with pytest.raises(AnalysisInputError, match="one flag per column"):
        ordinal_moments(data, ordered=[True])
    with pytest.raises(AnalysisInputError, match="asymptotic="):
        ordinal_moments(data, asymptotic="some")  # type: ignore[arg-type]
    with pytest.raises(AnalysisInputError, match="at most 30 categories; item 1 has 40"):
        ordinal_moments(np.column_stack([np.arange(40.0), data]))


def test_too_little_to_say_how_uncertain_is_refused() -> None:
    """A flat likelihood names its pair, a vanishing variance its moment; the estimates alone are still to be had."""
    even = np.array([[2.0, 2.0, 3.0], [1.0, 2.0, 1.0], [2.0, 3.0, 2.0]])
    with pytest.raises(AnalysisInputError, match="from 3 rows the sampling variance of item 2~~item 3"):
        ordinal_moments(even)
    assert ordinal_moments(even, asymptotic="none").correlation[1, 2] == pytest.approx(0, abs=1e-12)


def test_nearly_perfect_pairs_have_lavaans_uncertainty() -> None:
    """At the limit of the search the asymptotic variance is still lavaan's (muthen1984 on a diagonal 3 × 3 table)."""
    item = np.repeat([1.0, 2.0, 3.0], [4, 5, 7])
    result = ordinal_moments(np.column_stack([item, item]))
    # WLS.W × n as printed by R to ten digits.
    expected = [1.856767469, 1.584994599, 1.856767469, 1.584994599, 0.004161639]
    np.testing.assert_allclose(result.nacov_diagonal, expected, rtol=1e-6)


def test_correlations_that_contradict_one_another_are_said() -> None:
    """Pairs from different respondents need not go together: a note gives the smallest eigenvalue."""
    rng = np.random.default_rng(5)
    blocks = []
    for blank, sign in ((2, 1), (1, 1), (0, -1)):
        latent = rng.standard_normal(300)
        block = np.column_stack([latent, latent, latent]) + 0.2 * rng.standard_normal((300, 3))
        block[:, 2] *= sign
        block = np.searchsorted([-1.0, 0.0, 1.0], block).astype(float)
        block[:, blank] = np.nan
        blocks.append(block)
    result = ordinal_moments(np.vstack(blocks), missing="pairwise", asymptotic="none")
    smallest = np.linalg.eigvalsh(result.correlation)[0]
    assert smallest < 0
    assert any(f"not positive definite (smallest eigenvalue {smallest:.3g})" in note for note in result.notes)
