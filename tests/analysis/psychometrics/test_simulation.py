"""The dyad simulator gives back what its design asks for. Seeds are fixed; tolerances are some four standard errors."""

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from analysis.psychometrics.errors import AnalysisInputError
from analysis.psychometrics.simulation import (
    DOES_NOT_APPLY,
    NO_FORM,
    NOT_REACHED,
    PREFER_NOT,
    SKIPPED,
    SimulatedDyads,
    SimulationDesign,
    SimulationStructure,
    component_correlations,
    simulate_dyads,
)

FloatArray = npt.NDArray[np.float64]

N_CLINICIANS, CASELOAD = 3000, 10


@pytest.fixture(scope="module")
def large(full_form: SimulationStructure) -> SimulatedDyads:
    """30,000 dyads of the default design, ten to a clinician."""
    design = SimulationDesign(n_clinicians=N_CLINICIANS, patients_per_clinician=CASELOAD, caseload_variation=0)
    return simulate_dyads(full_form, design, np.random.default_rng(20080701))


@pytest.fixture(scope="module")
def complete(full_form: SimulationStructure) -> SimulatedDyads:
    """The same without anything missing, careless or off the average difficulty."""
    design = SimulationDesign(
        n_clinicians=N_CLINICIANS,
        patients_per_clinician=CASELOAD,
        caseload_variation=0,
        item_difficulty_sd=0,
        clinician_form_missing_share=0,
        patient_unfinished_share=0,
        clinician_unfinished_share=0,
        skip_rate=0,
        prefer_not_rate=0,
        does_not_apply_rate=0,
        careless_share=0,
    )
    return simulate_dyads(full_form, design, np.random.default_rng(20080702))


def between_and_within(scores: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Unbiased between- and within-clinician covariances of balanced data, from mean squares (the slow obvious way)."""
    groups = scores.reshape(N_CLINICIANS, CASELOAD, -1)
    means = groups.mean(axis=1)
    deviations = (groups - means[:, None]).reshape(len(scores), -1)
    within = deviations.T @ deviations / (N_CLINICIANS * (CASELOAD - 1))
    between = np.cov(means, rowvar=False) - within / CASELOAD
    return between, within


def test_shapes_types_and_codes(large: SimulatedDyads, full_form: SimulationStructure) -> None:
    """One row a dyad, one column an item; only the documented codes occur; arrays are closed."""
    n_dyads = N_CLINICIANS * CASELOAD
    assert large.patient_items.shape == large.clinician_items.shape == (n_dyads, 50)
    assert large.patient_latent.shape == large.clinician_latent.shape == (n_dyads, full_form.n_components)
    assert large.patient_seconds.shape == large.clinician_seconds.shape == (n_dyads, 50)
    marks = {1, 2, 3, 4, 5}
    reasons = {SKIPPED, DOES_NOT_APPLY, PREFER_NOT, NOT_REACHED}
    assert set(np.unique(large.patient_items).tolist()) == marks | reasons
    assert set(np.unique(large.clinician_items).tolist()) == marks | reasons | {NO_FORM}
    assert not large.patient_items.flags.writeable
    for name in ("years_known", "is_spanish", "is_careless", "has_clinician_form", "site_index"):
        assert getattr(large, name).shape == (n_dyads,)
    assert large.design.n_clinicians == N_CLINICIANS


def test_the_same_seed_gives_the_same_data(full_form: SimulationStructure) -> None:
    """Every array repeats with the seed, and changes with it."""
    design = SimulationDesign(n_clinicians=5, n_dyads=40)
    first, again, other = (simulate_dyads(full_form, design, np.random.default_rng(seed)) for seed in (1, 1, 2))
    for field in dataclasses.fields(SimulatedDyads):
        if field.name != "design":
            np.testing.assert_array_equal(getattr(first, field.name), getattr(again, field.name))
    assert (first.patient_items != other.patient_items).any()


def test_clinicians_sites_and_caseloads(full_form: SimulationStructure) -> None:
    """Exactly the dyads asked for, a dyad for every clinician, clinicians evenly over sites, sites in step."""
    design = SimulationDesign(n_sites=3, n_clinicians=31, n_dyads=307, caseload_variation=0.5)
    dyads = simulate_dyads(full_form, design, np.random.default_rng(4))
    sizes = np.bincount(dyads.clinician_index, minlength=31)
    assert len(dyads.clinician_index) == design.total_dyads == 307
    assert sizes.min() >= 1
    assert sizes.std() > 1
    assert np.bincount(dyads.site_of_clinician).tolist() == [11, 10, 10]
    np.testing.assert_array_equal(dyads.site_index, dyads.site_of_clinician[dyads.clinician_index])
    even = simulate_dyads(full_form, dataclasses.replace(design, caseload_variation=0), np.random.default_rng(4))
    assert set(np.bincount(even.clinician_index).tolist()) == {9, 10}


def test_component_correlations_are_recovered(large: SimulatedDyads, full_form: SimulationStructure) -> None:
    """Patients' within-clinician correlations: .75 within, .60 between domains (SE of one ≈ .004 at 27,000)."""
    _, within = between_and_within(large.patient_latent.astype(float))
    sd = np.sqrt(np.diag(within))
    found = within / np.outer(sd, sd)
    wanted = component_correlations(full_form, large.design)
    assert wanted[0, 1] == 0.75
    assert wanted[0, 6] == 0.60
    np.testing.assert_allclose(found, wanted, atol=0.02)


def test_latent_scores_have_variance_one(large: SimulatedDyads) -> None:
    """Per role and component (SE ≈ .01 for patients, .02 for clinicians, whose scores cluster)."""
    np.testing.assert_allclose(large.patient_latent.var(axis=0), 1, atol=0.04)
    np.testing.assert_allclose(large.clinician_latent.var(axis=0), 1, atol=0.08)


def test_intraclass_correlations_are_recovered(large: SimulatedDyads) -> None:
    """ICC .06 of patients' scores, .50 of clinicians' (SE of one component ≈ .005 and .011; the mean has less)."""
    for scores, wanted, tolerance in ((large.patient_latent, 0.06, 0.015), (large.clinician_latent, 0.50, 0.03)):
        between, within = between_and_within(scores.astype(float))
        icc = np.diag(between) / (np.diag(between) + np.diag(within))
        assert icc.mean() == pytest.approx(wanted, abs=tolerance)


def test_both_reciprocities_are_recovered(large: SimulatedDyads) -> None:
    """Dyadic .30 (SE ≈ .006), generalised .30 (SE ≈ .03 with 3,000 clinicians and ICC .06)."""
    both = np.column_stack([large.patient_latent[:, 0], large.clinician_latent[:, 0]]).astype(float)
    between, within = between_and_within(both)
    assert within[0, 1] / np.sqrt(within[0, 0] * within[1, 1]) == pytest.approx(0.30, abs=0.03)
    assert between[0, 1] / np.sqrt(between[0, 0] * between[1, 1]) == pytest.approx(0.30, abs=0.13)


def test_rating_style_is_what_a_clinicians_scores_share(large: SimulatedDyads) -> None:
    """Between clinicians, components of different domains covary by .60 × .34 + .16 = .364 (SE ≈ .011)."""
    between, _ = between_and_within(large.clinician_latent.astype(float))
    assert between[0, 6] == pytest.approx(0.60 * (0.50 - 0.40**2) + 0.40**2, abs=0.045)


def test_ceilings_and_category_shares_are_recovered(complete: SimulatedDyads, full_form: SimulationStructure) -> None:
    """.45 and .30 in the top category, the rest as designed (SE ≈ .002 patients, .006 clinicians; clustered)."""
    for items, ceiling, tolerance in (
        (complete.patient_items, 0.45, 0.012),
        (complete.clinician_items, 0.30, 0.03),
    ):
        keyed = np.where(full_form.reversed_item, 6 - items, items)
        shares = np.array([(keyed == mark).mean() for mark in range(1, 6)])
        wanted = [*(np.array(complete.design.lower_category_shares) * (1 - ceiling)), ceiling]
        np.testing.assert_allclose(shares, wanted, atol=tolerance)


def test_item_difficulty_leaves_the_average_ceiling(full_form: SimulationStructure) -> None:
    """Items spread, their average stays: 20 draws of 50 items (SE of the mean ≈ .0025 + sampling)."""
    design = SimulationDesign(n_clinicians=50, n_dyads=400, item_difficulty_sd=0.4, careless_share=0, skip_rate=0)
    shares = []
    for seed in range(20):
        dyads = simulate_dyads(full_form, design, np.random.default_rng(seed))
        keyed = np.where(full_form.reversed_item, 6 - dyads.patient_items, dyads.patient_items)
        answered = dyads.patient_items >= 1
        shares.append([(keyed[:, i][answered[:, i]] == 5).mean() for i in range(50)])
    assert np.mean(shares) == pytest.approx(0.45, abs=0.015)
    assert np.std(shares[0]) > 0.08


def test_items_load_on_their_components(complete: SimulatedDyads, full_form: SimulationStructure) -> None:
    """Polytomised at normal thresholds, an item keeps about .92 of its loading of .75; across domains .60 of that."""
    keyed = np.where(full_form.reversed_item, 6 - complete.patient_items, complete.patient_items).astype(float)
    own = [
        np.corrcoef(keyed[:, i], complete.patient_latent[:, full_form.component_of_item[i]])[0, 1] for i in range(50)
    ]
    assert min(own) > 0.75 * 0.86
    assert max(own) < 0.75
    other = np.corrcoef(keyed[:, 0], complete.patient_latent[:, 6])[0, 1]
    assert other == pytest.approx(0.60 * own[0], abs=0.03)


def test_reverse_keyed_items_share_a_method_effect(complete: SimulatedDyads, full_form: SimulationStructure) -> None:
    """Two reverse items of one domain correlate more than a reverse with a straight one: .09 on the latent scale."""
    answers = complete.patient_items.astype(float)
    correlation = np.corrcoef(answers, rowvar=False)
    reversed_pair, straight_pair = correlation[2, 7], correlation[0, 5]
    assert full_form.reversed_item[[2, 7]].all()
    assert correlation[2, 0] < -0.3  # as marked on the form, it runs against its component
    assert reversed_pair > straight_pair + 0.04


def test_matched_items_share_residuals(full_form: SimulationStructure) -> None:
    """The roles' answers to the same item correlate more with the knob up, in its direction, and not otherwise."""
    found = []
    for overlap in (-0.5, 0.0, 0.5):
        design = SimulationDesign(n_clinicians=400, n_dyads=4000, matched_residual_correlation=overlap)
        dyads = simulate_dyads(full_form, design, np.random.default_rng(9))
        both = (dyads.patient_items[:, 0] >= 1) & (dyads.clinician_items[:, 0] >= 1)
        found.append(np.corrcoef(dyads.patient_items[both, 0], dyads.clinician_items[both, 0])[0, 1])
    assert found[0] < found[1] - 0.1 < found[2] - 0.2


def test_shares_of_what_is_missing_are_recovered(large: SimulatedDyads, full_form: SimulationStructure) -> None:
    """Each share within four standard errors of its binomial."""
    design, n = large.design, len(large.clinician_index)

    def near(found: float, wanted: float, trials: int) -> bool:
        return abs(found - wanted) < 4 * np.sqrt(wanted * (1 - wanted) / trials)

    assert near(1 - large.has_clinician_form.mean(), design.clinician_form_missing_share, n)
    assert near(1 - large.patient_finished.mean(), design.patient_unfinished_share, n)
    answered_form = large.has_clinician_form
    assert near(
        1 - large.clinician_finished[answered_form].mean(), design.clinician_unfinished_share, int(answered_form.sum())
    )
    assert (large.clinician_items[~answered_form] == NO_FORM).all()
    assert (large.clinician_items[answered_form] != NO_FORM).all()
    done = large.patient_items[large.patient_finished]
    assert (done != NOT_REACHED).all()
    plain = done[:, ~full_form.allow_does_not_apply]
    assert near((plain == SKIPPED).mean(), design.skip_rate, plain.size)
    assert near((plain == PREFER_NOT).mean(), design.prefer_not_rate, plain.size)
    assert (plain != DOES_NOT_APPLY).all()
    offered = done[:, full_form.allow_does_not_apply]
    assert near((offered == DOES_NOT_APPLY).mean(), design.does_not_apply_rate, offered.size)


def test_an_unfinished_form_ends_in_one_run_of_not_reached(large: SimulatedDyads) -> None:
    """Whoever broke off reached nothing after that."""
    unfinished = large.patient_items[~large.patient_finished] == NOT_REACHED
    assert (np.diff(unfinished.astype(int), axis=1) >= 0).all()
    assert unfinished[:, -1].all()


def test_does_not_apply_agrees_between_roles(large: SimulatedDyads, full_form: SimulationStructure) -> None:
    """P(clinician's | patient's) = agreement + (1 − agreement)·rate = .745 (SE ≈ .002)."""
    offered = full_form.allow_does_not_apply
    kept = large.patient_finished & large.clinician_finished
    patient = large.patient_items[kept][:, offered] == DOES_NOT_APPLY
    clinician = large.clinician_items[kept][:, offered] == DOES_NOT_APPLY
    assert clinician[patient].mean() == pytest.approx(0.70 + 0.30 * 0.15, abs=0.01)
    assert clinician.mean() == pytest.approx(0.15, abs=0.005)


def test_people_and_times(large: SimulatedDyads) -> None:
    """Language, years known, pace and carelessness as designed (four standard errors of shares and log medians)."""
    design = large.design
    assert large.is_spanish.mean() == pytest.approx(design.spanish_share, abs=0.01)
    assert np.median(large.years_known) == pytest.approx(design.years_known_median, rel=0.04)
    assert large.years_known.min() >= 1 / 12
    assert large.years_known.max() <= 50
    assert large.is_careless.mean() == pytest.approx(design.careless_share, abs=0.004)
    careful = np.median(large.patient_seconds[~large.is_careless], axis=1)
    assert np.median(careful) == pytest.approx(design.patient_seconds_per_item, rel=0.02)
    hasty = np.median(large.patient_seconds[large.is_careless], axis=1)
    assert np.median(hasty) == pytest.approx(design.careless_seconds_per_item, rel=0.08)
    assert np.median(large.clinician_seconds) == pytest.approx(design.clinician_seconds_per_item, rel=0.02)


def test_about_half_of_the_careless_mark_one_point_throughout(large: SimulatedDyads) -> None:
    """Also on the reverse-keyed items, which gives them away."""
    careless = large.patient_items[large.is_careless]
    answered = np.where(careless >= 1, careless, 0)
    low = np.where(careless >= 1, careless, 9).min(axis=1)
    straight = (answered.max(axis=1) == low).mean()
    assert straight == pytest.approx(0.5, abs=0.07)
    careful = large.patient_items[~large.is_careless & large.patient_finished][:2000]
    assert np.mean([len({v for v in row.tolist() if v >= 1}) == 1 for row in careful]) < 0.01


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"skip_rate": 1.2}, "skip_rate from 0 to 1; got 1.2"),
        ({"dyadic_reciprocity": -2}, "dyadic_reciprocity from -1 to 1"),
        ({"patient_ceiling_share": 1.0}, "patient_ceiling_share strictly between"),
        ({"n_clinicians": 10, "n_dyads": 5}, "a dyad for every clinician; got 5 dyads for 10"),
        ({"n_sites": 9, "n_clinicians": 3}, "a clinician at every site"),
        ({"n_sites": 0}, "n_sites above 0"),
        ({"patient_seconds_per_item": 0}, "patient_seconds_per_item above 0"),
        ({"years_known_median": 0}, "years_known_median above 0"),
        ({"seconds_log_sd": -1}, "seconds_log_sd of at least 0"),
        ({"loading": 0.98}, "loading² [+] reverse_method_loading²"),
        ({"lower_category_shares": (0.5, 0.5, 0.5, 0.5)}, "sum to 1"),
        ({"skip_rate": 0.5, "does_not_apply_rate": 0.6}, "rates of absence that sum"),
        ({"rating_style_sd": 0.9}, "rating style within the clinicians' ICC"),
        ({"rating_style_sd": 0.7, "generalised_reciprocity": 0.9}, "generalised reciprocity that"),
    ],
)
def test_impossible_designs_are_refused_by_knob(knobs: dict[str, Any], message: str) -> None:
    """The message names the knob, what it needs, what came, and a remedy."""
    with pytest.raises(AnalysisInputError, match=f"{message}.*Remedy"):
        SimulationDesign(**knobs)


def test_impossible_correlations_and_structures_are_refused(full_form: SimulationStructure) -> None:
    """A correlation matrix that cannot exist, and arrays that do not fit one another."""
    design = SimulationDesign(within_domain_correlation=0.3, between_domain_correlation=0.9, n_clinicians=4)
    with pytest.raises(AnalysisInputError, match="possible together"):
        simulate_dyads(full_form, design, np.random.default_rng(1))
    with pytest.raises(AnalysisInputError, match="one entry per item"):
        dataclasses.replace(full_form, item_codes=("a", "b"))
    with pytest.raises(AnalysisInputError, match="component numbers 0 to 3"):
        dataclasses.replace(full_form, domain_of_component=np.zeros(4, dtype=np.int64))
