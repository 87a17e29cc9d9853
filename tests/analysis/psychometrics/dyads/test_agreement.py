"""Agreement of two roles: against psych, vcd and published values, and against slow obvious twins."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from analysis.psychometrics.dyads.agreement import agreement, intraclass_correlations
from analysis.psychometrics.errors import AnalysisInputError

FloatArray = npt.NDArray[np.float64]
REFERENCE = Path(__file__).parents[3] / "reference" / "dyads"
#: R prints ten to twelve digits; formulas alone stand between the two.
EXACT = 1e-8


@pytest.fixture(scope="module")
def from_r() -> dict[str, Any]:
    """What psych, vcd and lme4 compute."""
    figures: dict[str, Any] = json.loads((REFERENCE / "agreement.json").read_text())
    return figures


def ratings_of(table: npt.ArrayLike, first: int = 1) -> tuple[FloatArray, FloatArray]:
    """Turn a square table of counts back into pairs of ratings."""
    counts = np.asarray(table, dtype=int)
    rows, columns = (index.ravel() + first for index in np.indices(counts.shape))
    return np.repeat(rows, counts.ravel()).astype(float), np.repeat(columns, counts.ravel()).astype(float)


def simulated_dyads(seed: int = 5, n: int = 300, n_columns: int = 4) -> tuple[FloatArray, FloatArray]:
    """Five-point answers of two roles that share something."""
    rng = np.random.default_rng(seed)
    shared = rng.normal(size=(n, n_columns))
    patient, clinician = (np.clip(np.round(3.4 + shared + rng.normal(size=(n, n_columns))), 1, 5) for _ in range(2))
    return patient, clinician


@pytest.mark.parametrize("data", ["shrout_fleiss", "sleepstudy_days_0_1", "sleepstudy_all"])
def test_icc_and_intervals_match_psych(from_r: dict[str, Any], data: str) -> None:
    """All six forms, F tests and McGraw-Wong intervals as psych::ICC(lmer = FALSE)."""
    expected = from_r["icc"][data]
    result = intraclass_correlations(np.array(expected["ratings"]))
    assert result.forms == ("ICC(1)", "ICC(A,1)", "ICC(C,1)", "ICC(1,k)", "ICC(A,k)", "ICC(C,k)")
    for name, key in (("estimate", "icc"), ("f", "f"), ("df1", "df1"), ("df2", "df2"), ("ci_lower", "lower")):
        np.testing.assert_allclose(getattr(result, name), expected[key], atol=EXACT, err_msg=name)
    np.testing.assert_allclose(result.ci_upper, expected["upper"], atol=EXACT)
    assert result.notes == ()


def test_icc_of_shrout_and_fleiss_as_published() -> None:
    """Shrout & Fleiss (1979), table 4, to two digits, and the mean squares of their table 3."""
    table = np.array([[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]])
    result = intraclass_correlations(table)
    np.testing.assert_allclose(result.estimate, [0.17, 0.29, 0.71, 0.44, 0.62, 0.91], atol=0.0051)
    assert result.ms_rows == pytest.approx(11.24, abs=0.005)
    assert result.ms_columns == pytest.approx(32.49, abs=0.005)
    assert result.ms_error == pytest.approx(1.02, abs=0.005)
    assert result.ms_within == pytest.approx(6.26, abs=0.005)
    assert (result.n_used, result.n_dropped, result.n_raters, result.confidence) == (6, 0, 4, 0.95)


def test_two_roles_are_the_two_rater_case(from_r: dict[str, Any]) -> None:
    """The vectorised figures of two roles equal the general ones and psych's, on continuous scores."""
    data = np.genfromtxt(REFERENCE / "owm.csv", delimiter=",", skip_header=1, usecols=(2, 3))
    result = agreement(data[:, 0], data[:, 1])
    general = intraclass_correlations(data)
    order = ("icc_1", "icc_a1", "icc_c1", "icc_ak", "icc_ck")
    positions = [0, 1, 2, 4, 5]
    expected = from_r["icc"]["owm"]
    for name, position in zip(order, positions, strict=True):
        estimates = getattr(result, name)
        assert estimates.method == "F"
        assert estimates.estimate[0] == pytest.approx(general.estimate[position], abs=1e-12)
        assert estimates.estimate[0] == pytest.approx(expected["icc"][position], abs=EXACT)
        assert estimates.ci_lower[0] == pytest.approx(expected["lower"][position], abs=EXACT)
        assert estimates.ci_upper[0] == pytest.approx(expected["upper"][position], abs=EXACT)
    assert result.categories == ()
    assert np.isnan(result.kappa_quadratic.estimate[0])
    assert "no response scale" in result.notes[0]


@pytest.mark.parametrize("data", ["sexual_fun", "ms_winnipeg", "ms_new_orleans"])
def test_weighted_kappa_and_ac2_match_r(from_r: dict[str, Any], data: str) -> None:
    """Kappa and its standard error as vcd::Kappa("Fleiss-Cohen"); AC2 as from its definition, cell by cell."""
    table = from_r["kappa"][data]
    result = agreement(*ratings_of(table["table"]))
    assert result.kappa_quadratic.estimate[0] == pytest.approx(table["value"], abs=EXACT)
    assert result.kappa_quadratic.se[0] == pytest.approx(table["ase"], abs=EXACT)
    assert result.ac2.estimate[0] == pytest.approx(from_r["ac2"][data]["value"], abs=EXACT)
    assert result.ac2.se[0] == pytest.approx(from_r["ac2"][data]["se"], abs=EXACT)
    half = 1.959963984540054 * table["ase"]
    assert result.kappa_quadratic.ci_lower[0] == pytest.approx(table["value"] - half, abs=EXACT)
    assert result.kappa_quadratic.ci_upper[0] == pytest.approx(table["value"] + half, abs=EXACT)


def test_ac2_of_two_categories_is_the_published_ac1() -> None:
    """Gwet (2002): of 125 subjects 118, 5, 2 and 0 in the four cells give AC1 .9408 where kappa is -.0234."""
    result = agreement(*ratings_of([[118, 5], [2, 0]]))
    assert result.ac2.estimate[0] == pytest.approx(0.9408, abs=0.00005)
    assert result.kappa_quadratic.estimate[0] == pytest.approx(-0.0234, abs=0.00005)


def test_quadratic_kappa_is_nearly_the_icc() -> None:
    """Fleiss & Cohen (1973): the two differ by terms of order 1/n only."""
    result = agreement(*simulated_dyads())
    np.testing.assert_allclose(result.kappa_quadratic.estimate, result.icc_a1.estimate, atol=2 / 300)


def test_shares_and_bias_are_what_counting_gives() -> None:
    """Exact, within one and bias against a loop over dyads, with missing answers left out pair by pair."""
    patient, clinician = simulated_dyads(seed=8, n=60)
    patient[::7, 0], clinician[3::11, 1] = np.nan, np.nan
    result = agreement(patient, clinician, names=["a", "b", "c", "d"])
    for column in range(4):
        pairs = [
            (p, c)
            for p, c in zip(patient[:, column], clinician[:, column], strict=True)
            if not (np.isnan(p) or np.isnan(c))
        ]
        assert result.n_used[column] == len(pairs)
        assert result.n_dropped[column] == 60 - len(pairs)
        assert result.exact.estimate[column] == pytest.approx(sum(p == c for p, c in pairs) / len(pairs))
        assert result.within_one.estimate[column] == pytest.approx(sum(abs(p - c) <= 1 for p, c in pairs) / len(pairs))
        assert result.bias.estimate[column] == pytest.approx(np.mean([c - p for p, c in pairs]))
        assert result.bias.se[column] == pytest.approx(np.std([c - p for p, c in pairs], ddof=1) / len(pairs) ** 0.5)
    assert (result.exact.ci_lower < result.exact.estimate).all()
    assert (result.within_one.ci_upper > result.within_one.estimate).all()


def test_an_asymptotic_error_is_what_the_bootstrap_finds() -> None:
    """Kappa's and AC2's standard errors agree with resampled dyads within 8 % (2000 draws leave about 2 %)."""
    patient, clinician = simulated_dyads(n_columns=1)
    analytic = agreement(patient, clinician)
    each_alone = agreement(patient, clinician, clinicians=np.arange(300), rng=np.random.default_rng(3), n_draws=2000)
    for name in ("kappa_quadratic", "ac2"):
        assert getattr(each_alone, name).se[0] == pytest.approx(getattr(analytic, name).se[0], rel=0.08)


def test_scale_and_order_do_not_matter() -> None:
    """Rows in another order, another unit and another origin leave every coefficient as it was."""
    patient, clinician = simulated_dyads()
    order = np.random.default_rng(1).permutation(len(patient))
    first = agreement(patient, clinician)
    second = agreement(
        100 * patient[order] - 1000, 100 * clinician[order] - 1000, categories=100 * np.arange(1, 6) - 1000.0
    )
    for name in ("icc_1", "icc_a1", "icc_c1", "icc_ak", "icc_ck", "kappa_quadratic", "ac2", "exact"):
        for part in ("estimate", "ci_lower", "ci_upper"):
            np.testing.assert_allclose(
                getattr(getattr(first, name), part), getattr(getattr(second, name), part), atol=1e-10
            )


def test_a_level_difference_parts_absolute_agreement_from_consistency() -> None:
    """Clinicians two points higher throughout: ICC(C,1) stays, ICC(A,1) falls, the bias says by how much."""
    patient, _ = simulated_dyads(n_columns=1)
    result = agreement(patient, patient + 2)
    assert result.icc_c1.estimate[0] == pytest.approx(1.0)
    assert result.icc_a1.estimate[0] < 0.6
    assert result.bias.estimate[0] == pytest.approx(2.0)


def test_perfect_agreement_is_one_with_a_closed_interval() -> None:
    """Identical ratings: every coefficient is 1, no division by the error of zero."""
    patient, _ = simulated_dyads(n_columns=1)
    result = agreement(patient, patient)
    for name in ("icc_1", "icc_a1", "icc_c1", "icc_ak", "icc_ck"):
        estimates = getattr(result, name)
        assert (estimates.estimate[0], estimates.ci_lower[0], estimates.ci_upper[0]) == (1.0, 1.0, 1.0)
    for name in ("kappa_quadratic", "ac2", "exact", "within_one"):
        assert getattr(result, name).estimate[0] == pytest.approx(1.0)
    assert result.kappa_quadratic.se[0] == pytest.approx(0.0, abs=1e-9)


def test_columns_without_variance_or_dyads_are_named_and_the_others_stand() -> None:
    """All the same value: no ICC, no kappa. One role constant: zero beyond chance. Two dyads: nothing."""
    patient, clinician = simulated_dyads(n=40)
    usual = agreement(patient[:, 0], clinician[:, 0])
    patient[:, 1], clinician[:, 1] = 5, 5
    clinician[:, 2] = 4
    patient[2:, 3] = np.nan
    result = agreement(patient, clinician, names=["fine", "ceiling", "style", "rare"])
    assert np.isnan(result.icc_a1.estimate[[1, 3]]).all()
    assert np.isnan(result.kappa_quadratic.estimate[[1, 3]]).all()
    assert np.isnan(result.exact.estimate[3])
    assert result.exact.estimate[1] == 1.0
    assert result.kappa_quadratic.estimate[2] == pytest.approx(0.0, abs=1e-12)
    assert result.icc_a1.estimate[0] == pytest.approx(usual.icc_a1.estimate[0], abs=1e-12)
    assert any("no variance in either role" in note and "ceiling" in note for note in result.notes)
    assert any("all clinicians gave the same value" in note and "style" in note for note in result.notes)
    assert any("fewer than 3 dyads" in note and "rare (2)" in note for note in result.notes)


def test_a_column_without_any_pair_is_nan() -> None:
    """A column that one role never answered gives NaN throughout and no warning."""
    patient, clinician = simulated_dyads(n=30, n_columns=2)
    clinician[:, 1] = np.nan
    result = agreement(patient, clinician)
    assert result.n_used.tolist() == [30, 0]
    for name in ("icc_a1", "kappa_quadratic", "ac2", "exact", "bias"):
        estimates = getattr(result, name)
        assert np.isnan([estimates.estimate[1], estimates.se[1], estimates.ci_lower[1]]).all()
        assert not np.isnan(estimates.estimate[0])


def test_unused_points_of_the_scale_count_for_ac2() -> None:
    """Kappa does not see points that nobody used; AC2's chance agreement does, so the scale may be given."""
    patient, clinician = ratings_of([[20, 5], [4, 30]], first=4)
    seen = agreement(patient, clinician)
    known = agreement(patient, clinician, categories=[1, 2, 3, 4, 5])
    assert seen.categories == (4.0, 5.0)
    assert seen.notes == (
        "kappa and AC2 take the response scale to be 4 to 5, the range of all columns: give the categories where it is "
        "another",
    )
    assert known.notes == ()
    halves = agreement(patient / 2, clinician / 2 + 0.25)
    assert halves.categories == (2.0, 2.25, 2.5, 2.75)
    assert "the 4 values that occur" in halves.notes[0]
    assert known.categories == (1.0, 2.0, 3.0, 4.0, 5.0)
    assert known.kappa_quadratic.estimate[0] == pytest.approx(seen.kappa_quadratic.estimate[0], abs=1e-12)
    assert known.kappa_quadratic.se[0] == pytest.approx(seen.kappa_quadratic.se[0], abs=1e-12)
    assert known.ac2.estimate[0] > seen.ac2.estimate[0]


def test_clinicians_make_the_intervals_wider() -> None:
    """Where bias differs between clinicians, resampling them widens its interval; below 20 there is none."""
    rng = np.random.default_rng(4)
    clinicians = np.repeat(np.arange(30), 10)
    patient = rng.normal(size=300)
    clinician = patient + np.repeat(rng.normal(size=30), 10) + 0.3 * rng.normal(size=300)
    plain = agreement(patient, clinician)
    nested = agreement(patient, clinician, clinicians=clinicians, rng=rng, n_draws=500)
    assert nested.n_clinicians == 30
    assert nested.bias.method == "bootstrap of clinicians, percentile"
    assert nested.bias.estimate[0] == plain.bias.estimate[0]
    assert nested.bias.se[0] > 2 * plain.bias.se[0]
    few = agreement(patient[:90], clinician[:90], clinicians=clinicians[:90], rng=rng)
    assert np.isnan(few.icc_a1.ci_lower[0])
    assert not np.isnan(few.icc_a1.estimate[0])
    assert any("only 9 clinician(s)" in note for note in few.notes)


def test_perspectives_name_the_reading() -> None:
    """One entry a column: self-other agreement, meta-accuracy, or plain agreement."""
    patient, clinician = simulated_dyads(n_columns=3)
    result = agreement(patient, clinician, perspective=["self_report", "meta_perception", None])
    assert result.reading == ("self-other agreement", "meta-accuracy", "agreement")
    assert result.confidence == 0.95
    with pytest.raises(AnalysisInputError, match="one perspective a column"):
        agreement(patient, clinician, perspective=["self_report"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"categories": [1, 2, 3]}, "3-point response scale"),
        ({"categories": [3]}, "at least two points"),
        ({"confidence": 1.0}, "confidence between 0 and 1"),
        ({"clinicians": np.arange(300)}, "random generator"),
        ({"clinicians": np.arange(5), "rng": np.random.default_rng(1)}, "5 keys for 300 rows"),
        ({"names": ["a"]}, "one item code per column"),
    ],
)
def test_unusable_options_are_refused(options: dict[str, Any], message: str) -> None:
    """Each message says what is required."""
    with pytest.raises(AnalysisInputError, match=message):
        agreement(*simulated_dyads(), **options)


def test_constant_and_incomplete_tables_of_raters() -> None:
    """A constant table has no ICC, said in a note; rows with a gap are left out; two rows are too few."""
    constant = intraclass_correlations(np.full((5, 3), 4.0))
    assert np.isnan(constant.estimate).all()
    assert "no variance" in constant.notes[0]
    gap = np.array([[1.0, 2], [2, 2], [3, np.nan], [4, 5], [2, 1]])
    assert intraclass_correlations(gap).n_dropped == 1
    with pytest.raises(AnalysisInputError, match="at least 3 respondents"):
        intraclass_correlations(gap[:2])


def test_inputs_are_not_changed_and_results_are_closed() -> None:
    """The caller's arrays stay as they were; the result's arrays cannot be written to."""
    patient, clinician = simulated_dyads(n_columns=1)
    before = patient.copy(), clinician.copy()
    result = agreement(patient, clinician)
    np.testing.assert_array_equal(patient, before[0])
    np.testing.assert_array_equal(clinician, before[1])
    with pytest.raises(ValueError, match="read-only"):
        result.icc_a1.estimate[0] = 0
