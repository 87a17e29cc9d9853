"""Precision and power by simulation, as functions and on the command line."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis.psychometrics.clinicians.planning import (
    FIGURES,
    TESTS,
    DesignPrecision,
    PlanningDesign,
    design_grid,
    how_many,
    judge_enough,
    plan_simulations,
    simulate_designs,
    simulate_part,
    summarise_simulations,
)
from analysis.psychometrics.command_line.main import main
from analysis.psychometrics.errors import AnalysisInputError


@pytest.fixture(scope="module")
def sixty_by_twelve() -> DesignPrecision:
    """The study plan's main study, 300 times, without the slow test of the partner path."""
    design = PlanningDesign(n_clinicians=60, patients_per_clinician=12, partner_path=None)
    return simulate_designs([design], n_simulations=300, rng=np.random.default_rng(1))[0]


def test_precision_of_a_published_design(sixty_by_twelve: DesignPrecision) -> None:
    """60 x 12, consensus .06, assimilation .50, reciprocities .30: the ranges known from 300 independent simulations.

    Each end of a 90 % range from 300 draws has a standard error of about a tenth of the range's width.
    """
    for name, low, high, tolerance in (
        ("consensus", 0.017, 0.10, 0.02),
        ("dyadic_reciprocity", 0.25, 0.36, 0.02),
        ("generalised_reciprocity", -0.06, 0.67, 0.12),
    ):
        figure = sixty_by_twelve.figure(name)
        assert figure.p05 == pytest.approx(low, abs=tolerance)
        assert figure.p95 == pytest.approx(high, abs=tolerance)
        assert figure.half_width == pytest.approx((figure.p95 - figure.p05) / 2)
        assert figure.share_defined > 0.95


def test_every_figure_is_centred_on_its_true_value(sixty_by_twelve: DesignPrecision) -> None:
    """Means of 300 studies lie within .01 (.03 for the correlation of sixty clinicians) of the planted values."""
    truths = sixty_by_twelve.design.true_values()
    for figure in sixty_by_twelve.figures:
        tolerance = 0.03 if figure.name == "generalised_reciprocity" else 0.01
        assert figure.mean == pytest.approx(truths[figure.name], abs=tolerance), figure.name
        assert figure.true_value == truths[figure.name]
        assert figure.sd > 0
    assert dict(sixty_by_twelve.power)["dyadic_reciprocity"] == 1.0
    assert np.isnan(dict(sixty_by_twelve.power)["partner_path"])
    assert sixty_by_twelve.n_simulations == 300
    assert sixty_by_twelve.notes == ()


def test_true_values_follow_from_the_assumptions() -> None:
    """Spearman-Brown for alpha; ICC(A,1) is the covariance over the mean variance plus half the squared gap."""
    design = PlanningDesign(n_clinicians=20, n_items=4, inter_item_correlation=0.4, mean_difference=0.5)
    truths = design.true_values()
    assert truths["alpha_patient"] == pytest.approx(4 * 0.4 / (1 + 3 * 0.4))
    covariance = 0.3 * np.sqrt(0.06 * 0.5) + 0.3 * np.sqrt(0.94 * 0.5)
    assert truths["icc_a1"] == pytest.approx(covariance / (1 + 0.125))
    assert np.isnan(dataclasses.replace(design, n_items=1).true_values()["alpha_patient"])
    two = dataclasses.replace(design, n_items=2, inter_item_correlation=0.6)
    assert np.isnan(two.true_values()["omega_patient"])
    assert two.n_dyads == 200
    np.testing.assert_allclose(np.diag(design.between + design.within), 1.0)


def test_parts_give_the_same_answer_however_they_are_divided() -> None:
    """Workers take the parts in any order; the summary is that of the single run."""
    design = PlanningDesign(n_clinicians=20, patients_per_clinician=4, partner_path=None)
    (whole,) = simulate_designs([design], n_simulations=70, rng=np.random.default_rng(5))
    seed = int(np.random.default_rng(5).integers(2**62))
    parts = plan_simulations(design, seed=seed, n_simulations=70)
    assert [part.n_draws for part in parts] == [50, 20]
    split = summarise_simulations(design, np.concatenate([simulate_part(design, part) for part in reversed(parts)]))
    for one, other in zip(whole.figures, split.figures, strict=True):
        assert one.p95 == pytest.approx(other.p95, rel=1e-12, nan_ok=True)
        assert one.mean == pytest.approx(other.mean, rel=1e-12, nan_ok=True)
    assert whole.power[0] == split.power[0]


def test_power_grows_and_is_the_level_where_there_is_no_effect() -> None:
    """A partner path of zero is found in about 5 % of 100 studies (up to 12: 3 SE); one of .25 far more often."""
    none = PlanningDesign(n_clinicians=20, patients_per_clinician=5, partner_path=0.0, dyadic_reciprocity=0.0)
    some = dataclasses.replace(none, partner_path=0.25, dyadic_reciprocity=0.4)
    absent, present = simulate_designs([none, some], n_simulations=100, rng=np.random.default_rng(2))
    for name in TESTS:
        assert dict(absent.power)[name] <= 0.12
        assert dict(present.power)[name] > 0.5


def test_uneven_numbers_of_patients_cost_precision() -> None:
    """The same number of dyads in uneven portions tells less about differences between clinicians."""
    even = PlanningDesign(n_clinicians=40, patients_per_clinician=6, consensus=0.2, partner_path=None)
    uneven = dataclasses.replace(even, patients_per_clinician=(1, 1, 1, 1, 1, 1, 1, 1, 26, 26) * 4)
    first, second = simulate_designs([even, uneven], n_simulations=100, rng=np.random.default_rng(3))
    assert first.design.n_dyads == second.design.n_dyads == 240
    assert second.figure("consensus").sd > 1.2 * first.figure("consensus").sd


def test_how_many_finds_the_smallest_design_or_none() -> None:
    """Of a grid the smallest that is precise enough; None where none is, with the best that was reached."""
    base = PlanningDesign(n_clinicians=20, partner_path=None)
    designs = design_grid(base, n_clinicians=[60, 20], patients=[5, 10], n_items=[3])
    assert [(d.n_clinicians, d.n_dyads) for d in designs] == [(60, 300), (60, 600), (20, 100), (20, 200)]
    heard: list[float] = []
    results = simulate_designs(
        designs, n_simulations=40, rng=np.random.default_rng(4), progress=lambda share, _text: heard.append(share)
    )
    assert heard[-1] == 1.0
    met, unmet, power = how_many(
        results, half_widths={"dyadic_reciprocity": 0.15, "generalised_reciprocity": 0.05}, power=0.8
    )
    assert met.n_clinicians is not None
    assert met.n_dyads is not None
    assert 100 <= met.n_dyads <= 300
    assert met.reached <= met.required == 0.15
    assert met.n_items == 3
    assert (unmet.n_clinicians, unmet.n_dyads, unmet.n_items) == (None, None, None)
    assert unmet.reached > 0.05
    assert power.target == "power for dyadic_reciprocity"
    assert power.n_dyads == 100
    few = next(result for result in results if result.design.n_clinicians == 20)
    assert any("generalised reciprocity" in note for note in few.notes)


def data_so_far(n_clinicians: int, each: int) -> tuple[Any, Any, Any]:
    """Scores with an assimilation of a third and a dyadic reciprocity of .4."""
    rng = np.random.default_rng(7)
    keys = np.repeat(np.arange(n_clinicians), each)
    shared = rng.standard_normal(len(keys))
    p = (
        0.3 * rng.standard_normal(n_clinicians)[keys]
        + np.sqrt(0.4) * shared
        + np.sqrt(0.6) * rng.standard_normal(len(keys))
    )
    c = (
        0.7 * rng.standard_normal(n_clinicians)[keys]
        + np.sqrt(0.4) * shared
        + np.sqrt(0.6) * rng.standard_normal(len(keys))
    )
    return 50 + 10 * p, 60 + 10 * c, keys


def test_a_running_study_learns_whether_it_is_enough() -> None:
    """A loose target is met by 25 x 6, a tight one needs more clinicians; dyads with one side do not count."""
    p, c, keys = data_so_far(25, 6)
    loose = judge_enough(
        p, c, keys, half_widths={"dyadic_reciprocity": 0.2}, n_simulations=40, rng=np.random.default_rng(1)
    )
    assert loose.enough
    assert (loose.n_clinicians, loose.n_dyads) == (25, 150)
    assert loose.results[0].design.dyadic_reciprocity == pytest.approx(0.4, abs=0.15)
    assert loose.results[0].design.mean_difference == pytest.approx(0.85, abs=0.3)
    c[0] = np.nan
    tight = judge_enough(
        p, c, keys, half_widths={"dyadic_reciprocity": 0.07}, n_simulations=40, rng=np.random.default_rng(1)
    )
    assert not tight.enough
    assert tight.n_dyads == 149
    (answer,) = tight.answers
    assert answer.n_clinicians is not None
    assert answer.n_clinicians > 25


def test_a_share_of_zero_is_not_planned_with() -> None:
    """Clinicians who do not differ in the data so far are assumed to differ a little."""
    rng = np.random.default_rng(8)
    scores = rng.standard_normal((12, 6, 2))
    scores -= scores.mean(axis=1, keepdims=True)
    result = judge_enough(
        scores[:, :, 0].reshape(-1),
        scores[:, :, 1].reshape(-1),
        np.repeat(np.arange(12), 6),
        half_widths={"consensus": 0.5},
        n_simulations=20,
        rng=rng,
        multiples=[1],
    )
    assert any(".01 is assumed" in note for note in result.notes)
    assert result.results[0].design.consensus == 0.01


P, C, KEYS = data_so_far(10, 4)
RESULTS = simulate_designs(
    [PlanningDesign(n_clinicians=10, patients_per_clinician=3, partner_path=None)],
    n_simulations=20,
    rng=np.random.default_rng(1),
)


def enough(**options: Any) -> object:
    """Ask with one thing wrong."""
    given = {"half_widths": {"consensus": 0.1}, "n_simulations": 20, "rng": np.random.default_rng(1), **options}
    return judge_enough(P, C, KEYS, **given)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: PlanningDesign(n_clinicians=2), "three clinicians or more"),
        (lambda: PlanningDesign(n_clinicians=3, patients_per_clinician=(1, 1, 1)), "one of them two"),
        (lambda: PlanningDesign(n_clinicians=20, n_items=0), "requires an item"),
        (lambda: PlanningDesign(n_clinicians=20, consensus=1.2), "consensus from 0 to below 1"),
        (lambda: PlanningDesign(n_clinicians=20, assimilation=0.8), "below the scores' reliability 0.75"),
        (lambda: PlanningDesign(n_clinicians=20, dyadic_reciprocity=0.9), "is the limit"),
        (lambda: PlanningDesign(n_clinicians=20, actor_path=1.0), "less than the whole outcome"),
        (lambda: simulate_designs([], n_simulations=20, rng=np.random.default_rng(1)), "requires a design"),
        (
            lambda: simulate_designs([RESULTS[0].design], n_simulations=5, rng=np.random.default_rng(1)),
            "at least 20 simulations",
        ),
        (lambda: how_many(RESULTS, half_widths={"trust": 0.1}), "half width above 0 for one of"),
        (lambda: how_many(RESULTS, power=80), "power between 0 and 1"),
        (lambda: enough(half_widths={}), "requires a target"),
        (
            lambda: judge_enough(
                P, P, KEYS, half_widths={"consensus": 0.1}, n_simulations=20, rng=np.random.default_rng(1)
            ),
            "variances between and within clinicians can be estimated",
        ),
        (lambda: enough(half_widths={"alpha_patient": 0.1}), "can judge"),
        (lambda: enough(multiples=[2]), "the first of them 1"),
    ],
)
def test_unusable_input_is_named(call: Callable[[], object], message: str) -> None:
    """Each message says what is required and what came."""
    with pytest.raises(AnalysisInputError, match=message):
        call()


def test_the_command_answers_both_questions(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """`planning` with sizes answers how many, with data whether they are enough; the same seed, the same answer."""
    call = ["planning", "--clinicians", "10,20", "--patients", "4", "--simulations", "20", "--seed", "3"]
    assert main([*call, "--json"]) == 0
    first = json.loads(capsys.readouterr().out)
    assert main([*call, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == first
    assert [design["n_dyads"] for design in first["designs"]] == [40, 80]
    assert set(first["designs"][0]["figures"]) == set(FIGURES)
    assert set(first["designs"][0]["power"]) == set(TESTS)
    assert first["how_many"][0]["target"] == "half width of dyadic_reciprocity"
    path = tmp_path / "data.csv"
    path.write_text("cl,p,c\n" + "\n".join(f"K{k},{a},{b}" for k, a, b in zip(KEYS, P, C, strict=True)))
    assert (
        main(["planning", str(path), "--patient", "p", "--clinician", "c", "--cluster", "cl", "--simulations", "20"])
        == 0
    )
    text = capsys.readouterr().out
    for words in ("Enough yet?", "not enough yet", "10 clinicians, 40 dyads"):
        assert words in text
    for options, message in (
        ([str(path), "--patient", "p"], "needs --clinician"),
        (["--clinicians", "many"], "not whole numbers"),
        (["--clinicians", "0"], "below 1"),
        (["--target", "consensus"], "not a figure and a half width"),
    ):
        assert main(["planning", *options]) == 2
        assert message in capsys.readouterr().err
