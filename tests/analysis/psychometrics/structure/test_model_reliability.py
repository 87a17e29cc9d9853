"""Omega, AVE and bifactor coefficients from fitted models: semTools' figures."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from analysis.psychometrics.sem import fit_model
from analysis.psychometrics.structure.model_reliability import model_reliability

FloatArray = npt.NDArray[np.float64]
Read = Callable[..., FloatArray]
Figures = Callable[[str], Any]
TESTS = [f"x{number}" for number in range(1, 10)]
QUESTIONS = [f"q{number}" for number in range(1, 13)]
GROUPS = "a =~ q1 + q2 + q3 + q4\nb =~ q5 + q6 + q7 + q8\nc =~ q9 + q10 + q11 + q12"
#: semTools 0.5-6: AVE(fit) of the three-factor model of Holzinger–Swineford.
AVE = {"visual": 0.37055887263, "textual": 0.72101628283, "speed": 0.42448829259}


@pytest.fixture
def survey(classical_columns: Read) -> FloatArray:
    """Twelve items near their ceiling, the reversed one turned round."""
    data = classical_columns("ceiling")[:, 1:]
    data[:, 4] = 6 - data[:, 4]
    return data


def test_measured_items_match_semtools(hs1939: FloatArray, r_figures: dict[str, Any]) -> None:
    """compRelSEM and AVE of three correlated factors; 1e-5, where lavaan's search stops."""
    model = "visual =~ x1 + x2 + x3\ntextual =~ x4 + x5 + x6\nspeed =~ x7 + x8 + x9"
    result = model_reliability(fit_model(model, hs1939, item_codes=TESTS))
    for factor in result.factors:
        assert factor.omega == pytest.approx(r_figures["compRelSEM"][factor.factor], abs=1e-5)
        assert factor.ave == pytest.approx(AVE[factor.factor], abs=1e-5)
        assert not factor.categorical
    assert [factor.items for factor in result.factors] == [tuple(TESTS[k : k + 3]) for k in (0, 3, 6)]
    assert result.bifactor == ()
    assert result.notes == ()


def test_ordinal_items_match_semtools(survey: FloatArray, classical_figures: Figures) -> None:
    """compRelSEM(ord.scale = TRUE) with polychoric correlations and with the model's (1e-5)."""
    figures = classical_figures("categorical_omega")["ceiling_three"]
    fit = fit_model(GROUPS, survey, item_codes=QUESTIONS, ordered=True, estimator="WLSMV")
    for factor in model_reliability(fit).factors:
        assert factor.omega == pytest.approx(figures["omega"][factor.factor], abs=1e-5)
        assert factor.omega_model == pytest.approx(figures["model_implied"][factor.factor], abs=1e-5)
        assert factor.categorical


def test_a_bifactor_model_gives_the_hierarchy(survey: FloatArray, classical_figures: Figures) -> None:
    """Found by its shape; semTools' coefficients of the general and the group factors (1e-5)."""
    figures = classical_figures("omega")["bifactor"]["compRelSEM"]
    model = f"g =~ {' + '.join(QUESTIONS)}\n{GROUPS}"
    result = model_reliability(fit_model(model, survey, item_codes=QUESTIONS, orthogonal=True, std_lv=True))
    (hierarchy,) = result.bifactor
    assert hierarchy.omega_hierarchical == pytest.approx(figures["g"], abs=1e-5)
    assert hierarchy.omega_total == pytest.approx(figures["total"], abs=1e-5)
    np.testing.assert_allclose(hierarchy.omega_group, [figures[name] for name in "abc"], atol=1e-5)
    assert hierarchy.puc == pytest.approx(48 / 66, abs=1e-12)
    assert all(np.isnan(factor.ave) for factor in result.factors)


def test_correlated_group_factors_are_no_hierarchy(survey: FloatArray) -> None:
    """One free covariance between group factors, and the general factor is not all that they share."""
    apart = "g ~~ 0*a + 0*b + 0*c\na ~~ b + 0*c\nb ~~ 0*c"
    model = f"g =~ {' + '.join(QUESTIONS)}\n{GROUPS}\n{apart}"
    result = model_reliability(fit_model(model, survey, item_codes=QUESTIONS, std_lv=True))
    assert result.bifactor == ()
    assert [factor.factor for factor in result.factors] == ["g", "a", "b", "c"]


def test_groups_are_judged_one_by_one(survey: FloatArray) -> None:
    """Each group's coefficients are those of a fit to its rows alone (free parameters; 1e-5)."""
    rows = survey[~np.isnan(survey).any(axis=1)][:, :4]
    groups = np.where(np.arange(len(rows)) % 2, "odd", "even")
    together = model_reliability(fit_model("a =~ q1 + q2 + q3 + q4", rows, item_codes=QUESTIONS[:4], groups=groups))
    assert sorted(factor.group for factor in together.factors) == ["even", "odd"]
    for factor in together.factors:
        alone = fit_model("a =~ q1 + q2 + q3 + q4", rows[groups == factor.group], item_codes=QUESTIONS[:4])
        (own,) = model_reliability(alone).factors
        assert factor.omega == pytest.approx(own.omega, abs=1e-5)


def test_factors_of_factors_and_mixed_items_are_passed_over_with_a_note(survey: FloatArray) -> None:
    """What has no sum of observed items, or no common unit, is said."""
    second = fit_model(f"{GROUPS}\nall =~ a + b + c", survey, item_codes=QUESTIONS)
    result = model_reliability(second)
    assert [factor.factor for factor in result.factors] == ["a", "b", "c"]
    assert result.notes == ("measured by other factors, so passed over: all",)
    mixed = fit_model("a =~ q1 + q2 + q3 + q4", survey, item_codes=QUESTIONS, ordered=["q1", "q2"], estimator="WLSMV")
    (factor,) = model_reliability(mixed).factors
    assert np.isnan([factor.omega, factor.omega_model]).all()
    assert "ordinal and measured items together" in factor.notes[0]
