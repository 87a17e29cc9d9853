"""Proportional-odds regression and DIF against MASS::polr, by slow twins, and on planted differences."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy.optimize import minimize
from scipy.special import expit

from analysis.psychometrics.errors import AnalysisInputError
from analysis.psychometrics.item_response.differential_item_functioning import COSMIN_DELTA_R2, ordinal_logistic_dif
from analysis.psychometrics.item_response.graded_response import fit_graded_response
from analysis.psychometrics.item_response.proportional_odds import fit_proportional_odds

FloatArray = npt.NDArray[np.float64]
REFERENCE = Path(__file__).resolve().parents[3] / "reference" / "irt"


@pytest.fixture(scope="module")
def agreeableness() -> tuple[FloatArray, list[str]]:
    """Five items (A1 turned round) and gender of 700 people, blanks kept."""
    with (REFERENCE / "bfi_agreeableness.csv").open(newline="") as file:
        rows = list(csv.reader(file))[1:]
    table = np.array([[float(cell) if cell else np.nan for cell in row] for row in rows])
    values = table[:, :5].copy()
    values[:, 0] = 7 - values[:, 0]
    return values, ["women" if code == 2 else "men" for code in table[:, 5]]


@pytest.fixture(scope="module")
def polr() -> list[dict[str, Any]]:
    """What tests/reference/irt/make.R computes with MASS::polr."""
    return json.loads((REFERENCE / "bfi_agreeableness.json").read_text())["dif"]


def planted(
    rng: np.random.Generator, n: int, *, shift: dict[int, float] | None = None, slope: dict[int, float] | None = None
) -> tuple[FloatArray, list[str]]:
    """Ten items of four categories; in group b, items are easier by `shift` or discriminate by `slope`; b is abler."""
    in_b = np.repeat([0.0, 1.0], n)
    trait = rng.standard_normal(2 * n) + 0.5 * in_b
    logit = 1.5 * np.repeat(trait[:, None], 10, axis=1)
    for item, amount in (shift or {}).items():
        logit[:, item] += amount * in_b
    for item, amount in (slope or {}).items():
        logit[:, item] += amount * in_b * trait
    return np.digitize(logit + rng.logistic(size=logit.shape), [-1.5, 0, 1.5]).astype(float), ["a"] * n + ["b"] * n


def test_regressions_and_tests_as_polr(agreeableness: tuple[FloatArray, list[str]], polr: list[dict[str, Any]]) -> None:
    """Log-likelihood-ratio statistics within 1e-6; polr's coefficients and errors stop at about 1e-4."""
    values, gender = agreeableness
    result = ordinal_logistic_dif(values, gender, item_codes=[entry["item"] for entry in polr])
    assert result.groups == ("women", "men")
    assert (result.n_used, result.n_dropped) == (678, 22)
    assert "22 with missing answers" in result.notes[0]
    for item, figures in zip(result.items, polr, strict=True):
        null, alone, uniform, full = figures["log_likelihoods"]
        assert item.chisq_uniform == pytest.approx(figures["chisq_uniform"], abs=1e-5)
        assert item.chisq_total == pytest.approx(figures["chisq_total"], abs=1e-5)
        assert item.chisq_nonuniform == pytest.approx(2 * (full - uniform), abs=1e-5)
        assert item.delta_r2_total == pytest.approx(figures["delta_r2_total"], abs=1e-8)
        assert item.delta_r2_uniform == pytest.approx((uniform - alone) / -null, abs=1e-8)
        assert item.delta_r2_nonuniform == pytest.approx((full - uniform) / -null, abs=1e-8)
        assert item.r2_matching == pytest.approx(1 - alone / null, abs=1e-8)
        np.testing.assert_allclose(item.log_odds, figures["coefficients"][1], atol=1e-4)
        np.testing.assert_allclose(item.log_odds_se, figures["se"][1], rtol=1e-3)
        assert (item.df_uniform, item.df_nonuniform, item.df_total) == (1, 1, 2)
        assert item.pvalue_total == pytest.approx(np.exp(-item.chisq_total / 2), rel=1e-10)


def test_thresholds_and_errors_as_polr(agreeableness: tuple[FloatArray, list[str]], polr: list[dict[str, Any]]) -> None:
    """Coefficients and thresholds have polr's signs and values (1e-4), so have their errors (1e-3 relative)."""
    values, gender = agreeableness
    complete = ~np.isnan(values).any(axis=1)
    total = values[complete].sum(axis=1)
    men = np.array([g == "men" for g in gender])[complete]
    design = np.column_stack([(total - total.mean()) / total.std(), men])
    for position, figures in enumerate(polr):
        model = fit_proportional_odds(values[complete, position], design)
        np.testing.assert_allclose(model.coefficients, figures["coefficients"], atol=1e-4)
        np.testing.assert_allclose(model.thresholds, figures["thresholds"], atol=1e-4)
        np.testing.assert_allclose([*model.coefficient_se, *model.threshold_se], figures["se"], rtol=1e-3)
        assert model.log_likelihood == pytest.approx(figures["log_likelihoods"][2], abs=1e-6)
        assert model.n_used == 678
        assert model.converged
        assert not model.separated


def test_newton_finds_what_a_plain_search_finds() -> None:
    """The slow twin: Nelder–Mead on the textbook formula; units and shifts of predictors do not matter."""
    rng = np.random.default_rng(2)
    x = rng.standard_normal((150, 2))
    y = np.digitize(x @ [0.9, -0.4] + rng.logistic(size=150), [-1.0, 0.8])

    def minus_log_likelihood(p: FloatArray) -> float:
        if p[3] <= p[2]:
            return 1e9
        above = np.column_stack([np.ones(150), expit((x @ p[:2])[:, None] - p[2:]), np.zeros(150)])
        return -float(np.log((above[:, :-1] - above[:, 1:])[np.arange(150), y]).sum())

    slow = minimize(
        minus_log_likelihood,
        [0, 0, -1, 1],
        method="Nelder-Mead",
        options={"xatol": 1e-9, "fatol": 1e-11, "maxiter": 9999},
    )
    model = fit_proportional_odds(y, x)
    np.testing.assert_allclose([*model.coefficients, *model.thresholds], slow.x, atol=1e-5)
    assert model.log_likelihood == pytest.approx(-slow.fun, abs=1e-9)
    assert model.categories == (0.0, 1.0, 2.0)
    scaled = fit_proportional_odds(y * 3 + 1, x * [10, 0.1] + [1000, -5])
    np.testing.assert_allclose(scaled.coefficients * [10, 0.1], model.coefficients, atol=1e-7)
    assert scaled.log_likelihood == pytest.approx(model.log_likelihood, abs=1e-8)
    # Without predictors the thresholds are the logits of the shares.
    alone = fit_proportional_odds(y)
    np.testing.assert_allclose(expit(alone.thresholds), [(y == 0).mean(), (y <= 1).mean()], atol=1e-10)


def test_perfect_prediction_is_called_so() -> None:
    """Separated outcomes have no finite coefficient: no error is given, and the likelihood is its supremum, zero."""
    x = np.arange(20.0)[:, None]
    model = fit_proportional_odds(x[:, 0] > 9, x)
    assert model.separated
    assert np.isnan(model.coefficient_se).all()
    assert model.log_likelihood == pytest.approx(0.0, abs=1e-6)
    for predictors, complaint in ((np.ones((20, 1)), "vary"), (np.hstack([x, 2 * x]), "combinations")):
        with pytest.raises(AnalysisInputError, match=complaint):
            fit_proportional_odds(x[:, 0] > 9, predictors)
    with pytest.raises(AnalysisInputError, match="at least two categories; got 1"):
        fit_proportional_odds(np.ones(20), x)
    with pytest.raises(AnalysisInputError, match="finite"):
        fit_proportional_odds(np.where(x[:, 0] > 9, np.nan, x[:, 0]), x)


@pytest.mark.parametrize("matching", ["total", "rest", "eap"])
def test_uniform_dif_is_found_although_the_groups_differ(matching: Any) -> None:
    """Half a standard deviation of ability is no DIF; an easier item is, with the right sign, however matched."""
    data, groups = planted(np.random.default_rng(3), 500, shift={4: 1.4})
    result = ordinal_logistic_dif(data, groups, matching=matching)
    assert [item.item_code for item in result.items if item.flagged] == ["item 5"]
    found = result.items[4]
    assert found.delta_r2_uniform > COSMIN_DELTA_R2 > found.delta_r2_nonuniform
    assert 1.0 < found.log_odds[0] < 1.8
    assert found.pvalue_uniform < 1e-10
    assert found.pvalue_nonuniform > 0.001
    assert (result.matching, result.n_per_group, result.purified, result.n_rounds) == (matching, (500, 500), False, 1)


def test_non_uniform_dif_is_found() -> None:
    """An item that hardly discriminates in one group crosses: the interaction says so."""
    data, groups = planted(np.random.default_rng(4), 1000, slope={2: -1.4})
    found = ordinal_logistic_dif(data, groups).items[2]
    assert found.pvalue_nonuniform < 1e-10
    assert found.delta_r2_nonuniform > COSMIN_DELTA_R2
    assert found.chisq_total == pytest.approx(found.chisq_uniform + found.chisq_nonuniform, abs=1e-9)


def test_without_dif_the_tests_keep_their_level() -> None:
    """300 tests of true hypotheses: between 2 and 9 % below .05, and at most three flagged by size."""
    rng = np.random.default_rng(5)
    p_values: list[float] = []
    n_flagged = 0
    for _ in range(30):
        data, groups = planted(rng, 150)
        result = ordinal_logistic_dif(data, groups)
        p_values += [item.pvalue_total for item in result.items]
        n_flagged += sum(item.flagged for item in result.items)
    assert n_flagged <= 3
    assert 0.02 < np.mean(np.array(p_values) < 0.05) < 0.09


def test_purifying_takes_the_false_alarms_away_and_reports_the_anchor() -> None:
    """Four items that favour one group bend the total; with a clean anchor only they remain, and the effect grows."""
    data, groups = planted(np.random.default_rng(6), 800, shift={0: 1.5, 1: 1.5, 2: 1.5, 3: 1.5})
    plain = ordinal_logistic_dif(data, groups)
    clean = ordinal_logistic_dif(data, groups, purify=True)
    assert [item.item_code for item in clean.items if item.flagged] == [f"item {i}" for i in range(1, 5)]
    assert clean.anchor_items == tuple(f"item {i}" for i in range(5, 11))
    assert plain.anchor_items == tuple(f"item {i}" for i in range(1, 11))
    assert clean.n_rounds > 1
    assert clean.purified
    assert min(i.pvalue_total for i in clean.items[4:]) > min(i.pvalue_total for i in plain.items[4:])
    assert clean.items[0].log_odds[0] > plain.items[0].log_odds[0]


def test_purifying_stops_before_the_anchor_is_empty() -> None:
    """Two of three items favour one group each: what is left could not match anybody, and the note says so."""
    data, groups = planted(np.random.default_rng(14), 400, shift={0: 3.0, 1: -3.0})
    result = ordinal_logistic_dif(data[:, :3], groups, purify=True)
    assert [item.flagged for item in result.items[:2]] == [True, True]
    assert result.anchor_items == ("item 1", "item 2", "item 3")
    assert "purification stopped: too few items would remain to match respondents on" in result.notes


def test_three_groups_give_two_effects_against_the_reference() -> None:
    """Degrees of freedom follow the groups; the reference may be chosen, the statistics do not depend on it."""
    rng = np.random.default_rng(7)
    data, groups = planted(rng, 300, shift={1: 1.0})
    three = [f"{group}{position % 2}" if group == "a" else group for position, group in enumerate(groups)]
    result = ordinal_logistic_dif(data, three)
    assert result.groups == ("b", "a0", "a1")
    assert (result.items[0].df_uniform, result.items[0].df_total) == (2, 4)
    assert (result.items[1].log_odds < -0.4).all()
    other = ordinal_logistic_dif(data, three, reference="a1")
    assert other.groups == ("a1", "a0", "b")
    assert other.items[1].chisq_total == pytest.approx(result.items[1].chisq_total, abs=1e-7)
    np.testing.assert_allclose(other.items[1].log_odds[1], -result.items[1].log_odds[1], atol=1e-6)


def test_eap_matching_uses_incomplete_rows() -> None:
    """The matching score is the graded model's EAP; nobody with an answer and a group is left out."""
    data, groups = planted(np.random.default_rng(8), 200)
    data[::3, 0] = np.nan
    groups[5] = ""
    result = ordinal_logistic_dif(data, groups, matching="eap")
    assert (result.n_used, result.n_dropped) == (399, 1)
    kept = np.array(groups) != ""
    theta = fit_graded_response(data[kept], standard_errors="none").eap
    alone = fit_proportional_odds(data[kept][:, 1], theta[:, None]).log_likelihood
    null = fit_proportional_odds(data[kept][:, 1]).log_likelihood
    assert result.items[1].r2_matching == pytest.approx(1 - alone / null, abs=1e-7)
    assert result.items[0].n_used == int((~np.isnan(data[kept][:, 0])).sum())


def test_each_matching_score_is_what_it_says() -> None:
    """R² of the score alone by hand: the total, the rest, and both of a purified anchor."""
    data, groups = planted(np.random.default_rng(15), 500, shift={3: 1.6})

    def r2(item: int, score: FloatArray) -> float:
        alone = fit_proportional_odds(data[:, item], score[:, None]).log_likelihood
        return 1 - alone / fit_proportional_odds(data[:, item]).log_likelihood

    everything, clean = data.sum(axis=1), data.sum(axis=1) - data[:, 3]
    for purify, total, rest in (
        (False, (everything, everything), (everything - data[:, 0], clean)),
        (True, (clean, everything), (clean - data[:, 0], clean)),
    ):
        by_total = ordinal_logistic_dif(data, groups, purify=purify)
        by_rest = ordinal_logistic_dif(data, groups, matching="rest", purify=purify)
        assert len(by_rest.anchor_items) == len(by_total.anchor_items) == (9 if purify else 10)
        for place, item in enumerate((0, 3)):
            assert by_total.items[item].r2_matching == pytest.approx(r2(item, total[place]), abs=1e-9)
            assert by_rest.items[item].r2_matching == pytest.approx(r2(item, rest[place]), abs=1e-9)


def test_items_of_two_categories_are_logistic_regressions() -> None:
    """A binary item is tested, too; rows without a group and with blanks are told apart in the note."""
    data, groups = planted(np.random.default_rng(16), 200)
    data[:, 0] = data[:, 0] > 1
    data[:4, 1] = np.nan
    groups[10] = groups[11] = ""
    result = ordinal_logistic_dif(data, groups)
    assert np.isfinite(result.items[0].chisq_total)
    assert result.notes[0].startswith("2 row(s) without a group and 4 with missing answers were left out (match on")
    by_eap = ordinal_logistic_dif(data, groups, matching="eap")
    assert by_eap.notes[0] == "2 row(s) without a group and 0 with missing answers were left out"


def test_order_of_rows_and_items_does_not_matter() -> None:
    """Shuffled rows and columns give the same statistics."""
    rng = np.random.default_rng(9)
    data, groups = planted(rng, 150, shift={3: 0.8})
    rows, items = rng.permutation(300), rng.permutation(10)
    plain = ordinal_logistic_dif(data, groups)
    shuffled = ordinal_logistic_dif(data[rows][:, items], [groups[row] for row in rows], reference=plain.groups[0])
    np.testing.assert_allclose(
        [item.chisq_total for item in shuffled.items],
        np.array([item.chisq_total for item in plain.items])[items],
        atol=1e-7,
    )


def test_false_discovery_rate_is_that_of_benjamini_and_hochberg() -> None:
    """p·m/rank, made monotone: by hand from the ten p values."""
    data, groups = planted(np.random.default_rng(10), 200, shift={0: 1.0, 5: 0.6})
    items = ordinal_logistic_dif(data, groups).items
    p = np.array([item.pvalue_total for item in items])
    ranked = np.sort(p)
    by_hand = [min(ranked[k] * 10 / (k + 1) for k in range(10) if ranked[k] >= value) for value in p]
    np.testing.assert_allclose([item.pvalue_total_adjusted for item in items], np.minimum(by_hand, 1), rtol=1e-12)


def test_absent_categories_small_groups_and_keying_leave_notes() -> None:
    """What a group never answers, a group below 100, and an item keyed the other way are said."""
    data, groups = planted(np.random.default_rng(11), 60)
    in_b = np.array(groups) == "b"
    data[in_b & (data[:, 0] == 3), 0] = 2
    data[:, 6] = 3 - data[:, 6]
    result = ordinal_logistic_dif(data, groups)
    assert "nobody in b answered 3" in result.items[0].notes
    assert "answers fall as the score rises: check the item's keying" in result.items[6].notes
    assert any("a (60), b (60)" in note for note in result.notes)
    assert np.isfinite([item.chisq_total for item in result.items]).all()


def test_an_item_that_only_one_group_varies_on_is_still_answered() -> None:
    """Everyone in b gives the same answer to item 1: separation is named, nothing is NaN without a note."""
    data, groups = planted(np.random.default_rng(12), 100)
    data[np.array(groups) == "b", 0] = 3
    item = ordinal_logistic_dif(data, groups).items[0]
    assert "nobody in b answered 0, 1, 2" in item.notes
    assert np.isfinite(item.chisq_total)
    assert item.flagged


def test_unusable_input_is_refused_with_names() -> None:
    """One group, a tiny group, a constant item, wrong lengths and options."""
    data, groups = planted(np.random.default_rng(13), 30)
    with pytest.raises(AnalysisInputError, match=r"at least two groups .* got 1"):
        ordinal_logistic_dif(data, ["a"] * 60)
    with pytest.raises(AnalysisInputError, match=r"ten respondents a group; got c \(3\)"):
        ordinal_logistic_dif(data, ["c"] * 3 + groups[3:])
    constant = data.copy()
    constant[:, 2] = 1
    with pytest.raises(AnalysisInputError, match="constant: item 3"):
        ordinal_logistic_dif(constant, groups)
    with pytest.raises(AnalysisInputError, match="one group per respondent; got 59 for 60"):
        ordinal_logistic_dif(data, groups[1:])
    with pytest.raises(AnalysisInputError, match="matching="):
        ordinal_logistic_dif(data, groups, matching="sum")  # type: ignore[arg-type]
    with pytest.raises(AnalysisInputError, match="got 'z' among a, b"):
        ordinal_logistic_dif(data, groups, reference="z")
    empty = data.copy()
    empty[:, 0] = np.nan
    with pytest.raises(AnalysisInputError, match=r"two groups .* got 0"):
        ordinal_logistic_dif(empty, groups)
