"""The first look at one role's answers."""

import json
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from analysis.adapters.factor_analyzer_efa import explore_factors, sampling_adequacy
from analysis.adapters.pingouin_alpha import cronbach_alpha
from analysis.first_look import FORMATIVE_NOTE, _reference, first_look
from analysis.psychometrics.errors import AnalysisInputError
from analysis.psychometrics.reliability.coefficients import omega_total
from analysis.psychometrics.simulation import SimulationDesign, SimulationStructure, simulate_dyads

FloatArray = npt.NDArray[np.float64]

COMPONENTS = [f"C{position + 1}" for position in range(20)]


def silent(share: float, part: str) -> None:
    """A listener that does not mind."""


@pytest.fixture(scope="module")
def answers(full_form: SimulationStructure) -> FloatArray:
    """Patients' answers on the full form: 600 synthetic forms, as given, NaN for missing."""
    dyads = simulate_dyads(full_form, SimulationDesign(), np.random.default_rng(15))
    values = dyads.patient_items.astype(np.float64)
    values[dyads.patient_items < 1] = np.nan
    values.setflags(write=False)
    return values


@pytest.fixture(scope="module")
def layout(full_form: SimulationStructure) -> dict[str, Any]:
    """The arguments that describe the full form."""
    codes = full_form.item_codes
    return {
        "item_codes": codes,
        "scales": {
            name: [codes[i] for i in np.flatnonzero(full_form.component_of_item == number)]
            for number, name in enumerate(COMPONENTS)
        },
        "domains": {
            f"D{domain + 1}": [COMPONENTS[i] for i in np.flatnonzero(full_form.domain_of_component == domain)]
            for domain in range(5)
        },
        "reverse": [codes[i] for i in np.flatnonzero(full_form.reversed_item)],
        "gap_scales": COMPONENTS[17:],
        "formative": COMPONENTS[9:12],
        "seed": 11,
        "progress": silent,
        "n_draws": 40,
    }


@pytest.fixture(scope="module")
def part(answers: FloatArray) -> FloatArray:
    """The first two domains of 300 forms: 22 items, quicker to look at."""
    return answers[:300, :22]


@pytest.fixture(scope="module")
def part_layout(layout: dict[str, Any]) -> dict[str, Any]:
    """The arguments that describe the first two domains."""
    return {
        **layout,
        "item_codes": layout["item_codes"][:22],
        "scales": {name: layout["scales"][name] for name in COMPONENTS[:9]},
        "domains": {name: layout["domains"][name] for name in ("D1", "D2")},
        "reverse": layout["reverse"][:2],
        "gap_scales": ["C1"],
        "formative": [],
        "n_factors": 2,
    }


@pytest.fixture(scope="module")
def part_look(part: FloatArray, part_layout: dict[str, Any]) -> dict[str, Any]:
    """The first look at the first two domains."""
    return first_look(part, **part_layout)


@pytest.fixture(scope="module")
def look(answers: FloatArray, layout: dict[str, Any]) -> dict[str, Any]:
    """The first look at all of it."""
    return first_look(answers, **layout)


def keyed(answers: FloatArray, structure: SimulationStructure) -> FloatArray:
    """Answers with the reverse-keyed items turned round."""
    return np.where(structure.reversed_item, 6 - answers, answers)


def test_the_result_is_plain_json(look: dict[str, Any]) -> None:
    """No NaN, no array, nothing that JSON does not know; it survives a round trip."""
    assert json.loads(json.dumps(look, allow_nan=False)) == look
    assert list(look) == [
        "n_forms",
        "n_empty",
        "n_items",
        "seed",
        "items",
        "scales",
        "domains",
        "structure",
        "gap_reference",
    ]
    assert (look["n_items"], look["seed"]) == (50, 11)
    assert look["n_forms"] + look["n_empty"] == 600
    assert '"error"' not in json.dumps(look)


def test_the_same_seed_gives_the_same_result(
    part: FloatArray, part_layout: dict[str, Any], part_look: dict[str, Any]
) -> None:
    """Randomness is the seed's alone, and it is used."""
    assert first_look(part, **part_layout) == part_look
    other = first_look(part, **{**part_layout, "seed": 12})
    found, kept = (result["structure"]["retention"]["reference_mean"] for result in (other, part_look))
    assert found != kept


def test_progress_goes_from_none_to_all(part: FloatArray, part_layout: dict[str, Any]) -> None:
    """Shares never fall, begin at 0 and end at 1; every part is announced."""
    told: list[tuple[float, str]] = []
    first_look(part, **{**part_layout, "progress": lambda share, name: told.append((share, name))})
    shares = [share for share, _ in told]
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0.0, 1.0)
    assert [name for _, name in told] == [
        "items",
        "scales",
        "domains",
        "structure",
        "retention",
        "factors",
        "gap_reference",
        "done",
    ]


def test_scales_hold_what_the_functions_compute(
    look: dict[str, Any], answers: FloatArray, full_form: SimulationStructure
) -> None:
    """Alpha with interval, item-rest and omega of a component with a reversed item, and of a domain."""
    turned = keyed(answers, full_form)
    for entry, columns in (
        (look["scales"]["C1"], full_form.component_of_item == 0),
        (look["domains"]["D2"], np.isin(full_form.component_of_item, [6, 7, 8])),
    ):
        direct = cronbach_alpha(turned[:, columns])
        assert entry["alpha"]["alpha"] == pytest.approx(direct.alpha, abs=1e-12)
        assert (entry["alpha"]["lower"], entry["alpha"]["upper"]) == pytest.approx((direct.lower, direct.upper))
        assert (entry["alpha"]["n_used"], entry["alpha"]["n_dropped"]) == (
            direct.n_used,
            look["n_forms"] - direct.n_used,
        )
        assert len(entry["alpha"]["alpha_if_deleted"]) == entry["n_items"] == columns.sum()
        assert min(entry["item_rest"]["r"]) > 0.3
        assert 0.3 < entry["inter_item"]["average"] < 0.7
        assert entry["omega"]["omega"] == pytest.approx(direct.alpha, abs=0.02)
        assert entry["verdict"] is True


def test_two_item_scales_are_labelled_and_formative_ones_not_judged(look: dict[str, Any]) -> None:
    """Spearman–Brown for two items; alpha without a verdict, with the reason, for formative-leaning components."""
    pair = look["scales"]["C2"]
    assert pair["label"] == "two items"
    r = pair["inter_item"]["average"]
    assert pair["spearman_brown"] == pytest.approx(2 * r / (1 + r), abs=1e-12)
    assert pair["omega"]["omega"] is None
    assert "spearman_brown" not in look["scales"]["C1"]
    crises = look["scales"]["C11"]
    assert crises["verdict"] is False
    assert crises["notes"] == [FORMATIVE_NOTE]
    assert crises["alpha"]["alpha"] > 0


def test_reversed_items_are_turned_round_inside(
    part: FloatArray, full_form: SimulationStructure, part_layout: dict[str, Any], part_look: dict[str, Any]
) -> None:
    """Turned round by the caller and named as straight, everything but the item table is the same."""
    before = part.copy()
    turned = np.where(full_form.reversed_item[:22], 6 - part, part)
    other = first_look(turned, **{**part_layout, "reverse": []})
    np.testing.assert_array_equal(part, before)
    for name in ("scales", "domains", "structure", "gap_reference"):
        assert other[name] == part_look[name]
    assert part_look["items"][2]["reverse_keyed"] is True
    assert other["items"][2]["reverse_keyed"] is False
    assert part_look["items"][2]["counts"] == other["items"][2]["counts"][::-1]
    assert part_look["items"][2]["floor_share"] > part_look["items"][2]["ceiling_share"]


def test_structure_uses_pairwise_correlations_and_five_factors(
    look: dict[str, Any], answers: FloatArray, full_form: SimulationStructure
) -> None:
    """KMO, Bartlett, parallel analysis and factors of all items, as the functions give them."""
    turned = keyed(answers, full_form)
    turned = turned[~np.isnan(turned).all(axis=1)]
    structure = look["structure"]
    direct = explore_factors(turned, n_factors=5, missing="pairwise", item_codes=full_form.item_codes)
    np.testing.assert_allclose(structure["factors"]["loadings"], direct.loadings, atol=1e-12)
    assert (structure["factors"]["n_factors"], structure["factors"]["rotation"]) == (5, "oblimin")
    assert structure["factors"]["n_used"] == direct.n_used < look["n_forms"]
    assert structure["sampling_adequacy"]["overall"] == pytest.approx(
        sampling_adequacy(turned, missing="pairwise").overall, abs=1e-12
    )
    assert structure["sphericity"]["pvalue"] < 1e-6
    assert structure["retention"]["n_factors"] >= 1
    assert len(structure["retention"]["eigenvalues"]) == 50


def test_a_domains_gap_reference_rests_on_its_component_scores(
    look: dict[str, Any], answers: FloatArray, full_form: SimulationStructure
) -> None:
    """SD, omega and SEM of the power domain, recomputed the slow way: half of the items, two of three components."""
    turned = (keyed(answers, full_form) - 1) * 25
    components = np.full((len(turned), 3), np.nan)
    for place, number in enumerate((6, 7, 8)):
        columns = turned[:, full_form.component_of_item == number]
        for row, cells in enumerate(columns):
            known = cells[~np.isnan(cells)]
            if len(known) >= len(cells) / 2:
                components[row, place] = known.mean()
    scored = (~np.isnan(components)).sum(axis=1) >= 2
    score = np.array([row[~np.isnan(row)].mean() for row in components[scored]])
    complete = components[~np.isnan(components).any(axis=1)]
    omega = omega_total(np.cov(complete, rowvar=False)).omega
    reference = look["gap_reference"]["D2"]
    assert reference["indicators"] == COMPONENTS[6:9]
    assert reference["sd"] == pytest.approx(score.std(ddof=1), abs=1e-9)
    assert reference["mean"] == pytest.approx(score.mean(), abs=1e-9)
    assert reference["reliability"] == pytest.approx(omega, abs=1e-7)
    assert reference["sem"] == pytest.approx(score.std(ddof=1) * np.sqrt(1 - omega), abs=1e-5)
    assert (reference["n_scored"], reference["n_used"]) == (len(score), len(complete))
    assert reference["method"].startswith("omega total")


def test_an_outcomes_gap_reference_rests_on_its_items(look: dict[str, Any]) -> None:
    """Trust, hope and being known have their items as indicators; they are in the table beside the domains."""
    assert list(look["gap_reference"]) == ["D1", "D2", "D3", "D4", "D5", *COMPONENTS[17:]]
    trust, scale = look["gap_reference"]["C18"], look["scales"]["C18"]
    assert trust["indicators"] == scale["items"]
    assert trust["reliability"] == pytest.approx(scale["omega"]["omega"], abs=1e-6)
    assert 5 < trust["sem"] < trust["sd"] < 40


def test_stored_scores_take_the_place_of_recomputed_ones(
    part: FloatArray, part_layout: dict[str, Any], part_look: dict[str, Any]
) -> None:
    """The SD is that of the scores handed in; the reliability, from the components, stays."""
    stored = np.random.default_rng(2).uniform(20, 80, size=len(part))
    found = first_look(part, **part_layout, scores={"D1": stored})["gap_reference"]
    kept = part_look["gap_reference"]
    empty = np.isnan(part).all(axis=1)
    assert found["D1"]["sd"] == pytest.approx(stored[~empty].std(ddof=1), abs=1e-9)
    assert found["D1"]["sd"] != pytest.approx(kept["D1"]["sd"], abs=0.1)
    assert found["D1"]["reliability"] == kept["D1"]["reliability"]
    assert found["D2"] == kept["D2"]


def test_a_constant_item_stops_its_own_parts_only(part: FloatArray, part_layout: dict[str, Any]) -> None:
    """The planted defect: its scale's alpha and the structure say what to do; everything else is computed."""
    data = part.copy()
    data[:, 0] = 5.0
    result = first_look(data, **part_layout)
    assert "vary" in result["scales"]["C1"]["alpha"]["error"]
    assert "I1" in result["structure"]["factors"]["error"]
    assert "Remedy" in result["structure"]["sampling_adequacy"]["error"]
    assert result["scales"]["C1"]["inter_item"]["average"] is None
    assert result["scales"]["C4"]["alpha"]["alpha"] > 0.4
    assert result["items"][0]["sd"] == 0.0
    json.dumps(result, allow_nan=False)


def test_the_short_form_has_domains_but_no_component_reliability(
    answers: FloatArray, layout: dict[str, Any], full_form: SimulationStructure
) -> None:
    """One item a component: no alpha there, with the reason; domains work; factors follow the parallel analysis."""
    first = np.unique(full_form.component_of_item, return_index=True)[1]
    codes = [full_form.item_codes[i] for i in first]
    short = {
        **layout,
        "item_codes": codes,
        "scales": {name: [code] for name, code in zip(COMPONENTS, codes, strict=True)},
        "reverse": [],
    }
    result = first_look(answers[:, first], **short)
    assert "at least two items; got 1" in result["scales"]["C1"]["error"]
    assert result["domains"]["D1"]["alpha"]["alpha"] > 0.6
    assert result["structure"]["factors"]["n_factors"] == max(1, min(5, result["structure"]["retention"]["n_factors"]))
    assert "at least two indicators; got 1" in result["gap_reference"]["C18"]["error"]
    assert result["gap_reference"]["D1"]["reliability"] > 0.6
    asked = first_look(answers[:, first], **short, n_factors=3)
    assert asked["structure"]["factors"]["n_factors"] == 3


def test_a_handful_of_forms_says_what_is_missing(part: FloatArray, part_layout: dict[str, Any]) -> None:
    """Twenty complete forms: item table and scales, but no structure of 22 items; counts and remedies, no crash."""
    complete = part[~np.isnan(part).any(axis=1)][:20]
    result = first_look(complete, **part_layout)
    assert len(result["items"]) == 22
    assert result["scales"]["C1"]["alpha"]["n_used"] == 20
    for name in ("sampling_adequacy", "sphericity", "retention", "factors"):
        assert "more respondents than items; got 20 usable for 22 items" in result["structure"][name]["error"]
    assert first_look(part[:1], **part_layout)["scales"]["C1"]["alpha"]["error"]


def test_forms_without_an_answer_are_counted_apart(
    part: FloatArray, part_layout: dict[str, Any], part_look: dict[str, Any]
) -> None:
    """Empty forms change a count and the item table's missing answers, nothing else; all empty is told, not crashed."""
    padded = first_look(np.vstack([part, np.full((7, 22), np.nan)]), **part_layout)
    assert padded["n_empty"] == part_look["n_empty"] + 7
    assert padded["items"][0]["n_missing"] == part_look["items"][0]["n_missing"] + 7
    for name in ("scales", "domains", "structure", "gap_reference"):
        assert padded[name] == part_look[name]
    nothing = first_look(np.full((5, 22), np.nan), **part_layout)
    assert nothing["n_forms"] == 0
    assert "got none" in nothing["structure"]["factors"]["error"]
    assert nothing["items"][0]["mean"] is None


def test_a_component_without_items_on_the_form_has_no_score(
    part: FloatArray, part_layout: dict[str, Any], part_look: dict[str, Any]
) -> None:
    """It says so, and its domain's score rests on the other components: an empty column is never 0."""
    scales = {**part_layout["scales"], "C10": []}
    domains = {**part_layout["domains"], "D2": [*part_layout["domains"]["D2"], "C10"]}
    result = first_look(part, **{**part_layout, "scales": scales, "domains": domains})
    assert "at least two items; got 0" in result["scales"]["C10"]["error"]
    assert "got 0 of" in result["gap_reference"]["D2"]["error"]
    assert result["gap_reference"]["D1"] == part_look["gap_reference"]["D1"]


def test_reasons_for_absence_reach_the_item_table(
    part: FloatArray, part_layout: dict[str, Any], part_look: dict[str, Any]
) -> None:
    """Counts per reason stand beside the item; counts that do not add up are an error in that part only."""
    n_missing = int(np.isnan(part[:, 0]).sum())
    told = first_look(part, **part_layout, missing_by_reason={"I1": {"SKIPPED": n_missing}})
    assert told["items"][0]["missing_by_reason"] == {"SKIPPED": n_missing}
    wrong = first_look(part, **part_layout, missing_by_reason={"I1": {"SKIPPED": n_missing + 1}})
    assert "add up" in wrong["items"]["error"]
    assert wrong["scales"] == told["scales"] == part_look["scales"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scales": {"C1": ["I1", "I99"]}, "domains": {}, "gap_scales": [], "formative": []}, "matrix; got I99"),
        ({"reverse": ["I99"]}, "reverse-keyed items of the matrix; got I99"),
        ({"domains": {"D1": ["C99"]}}, "made of the scales given; got C99"),
        ({"gap_scales": ["C99"]}, "gap scales among the scales; got C99"),
        ({"formative": ["C99"]}, "formative components among the scales; got C99"),
        ({"item_codes": ["I1"]}, "1 codes for 50 columns"),
    ],
)
def test_names_that_lead_nowhere_are_refused_at_once(
    answers: FloatArray, layout: dict[str, Any], change: dict[str, Any], message: str
) -> None:
    """A misspelt code is an error of the call, not of one part."""
    with pytest.raises(AnalysisInputError, match=f"{message}.*Remedy"):
        first_look(answers, **{**layout, **change})


def test_an_inadmissible_reliability_judges_nobody() -> None:
    """A Heywood case gives no standard error, however high its omega looks; the error says why."""
    correlation = np.array([[1, 0.8, 0.8], [0.8, 1, 0.5], [0.8, 0.5, 1]])  # needs a loading of 1.13
    drawn = np.random.default_rng(3).standard_normal((150, 3))
    exact = np.linalg.inv(np.linalg.cholesky(np.cov(drawn, rowvar=False))) @ (drawn - drawn.mean(axis=0)).T
    indicators = 50 + 20 * (np.linalg.cholesky(correlation) @ exact).T
    with pytest.raises(AnalysisInputError, match="admissible reliability"):
        _reference(indicators, ("a", "b", "c"), indicators.mean(axis=1))


def test_fewer_than_a_hundred_complete_forms_judge_nobody() -> None:
    """The gate of the plan for reliabilities; one form more opens it."""
    rng = np.random.default_rng(4)
    indicators = 50 + 10 * (rng.standard_normal((100, 1)) + 0.8 * rng.standard_normal((100, 3)))
    score = indicators.mean(axis=1)
    with pytest.raises(AnalysisInputError, match="at least 100 complete forms; got 99"):
        _reference(indicators[:99], ("a", "b", "c"), score[:99])
    assert 0.5 < _reference(indicators, ("a", "b", "c"), score)["reliability"] < 1
