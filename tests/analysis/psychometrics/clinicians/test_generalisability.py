"""(patients : clinicians) × items: against lme4, against mean squares, and the decision study by its formulas."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from analysis.psychometrics.clinicians.generalisability import coefficients, generalisability
from analysis.psychometrics.command_line.main import main
from analysis.psychometrics.errors import AnalysisInputError

FloatArray = npt.NDArray[np.float64]
REFERENCE = Path(__file__).parents[3] / "reference" / "dyads"
PARTS = ("clinician", "patient", "item", "clinician_item", "residual")


@pytest.fixture(scope="module")
def from_r() -> dict[str, Any]:
    """What lme4 finds."""
    figures: dict[str, Any] = json.loads((REFERENCE / "multilevel.json").read_text())["g_study"]
    return figures


def data_set(name: str) -> tuple[FloatArray, FloatArray]:
    """Answers and clinicians of a reference data set."""
    table = np.genfromtxt(REFERENCE / f"{name}.csv", delimiter=",", skip_header=1)
    return table[:, 2:], table[:, 0]


def simulated(seed: int, parts: tuple[float, ...], *, clinicians: int, patients: int, items: int) -> FloatArray:
    """Answers of the model itself, clinician after clinician, with these standard deviations."""
    rng = np.random.default_rng(seed)
    c, p, i, ci, e = parts
    shape = (clinicians, patients, items)
    table = c * rng.normal(size=(clinicians, 1, 1)) + p * rng.normal(size=(clinicians, patients, 1))
    table = table + i * rng.normal(size=(1, 1, items)) + ci * rng.normal(size=(clinicians, 1, items))
    return (table + e * rng.normal(size=shape)).reshape(-1, items)


@pytest.mark.parametrize("name", ["ratings", "ratings_flat"])
def test_components_match_lme4(from_r: dict[str, Any], name: str) -> None:
    """All five variances within 1e-6 and the log-likelihood within 1e-8, also where one is estimated as 0."""
    result = generalisability(*data_set(name))
    for part in PARTS:
        assert getattr(result, part) == pytest.approx(from_r[name][part], abs=1e-6)
    assert result.log_likelihood == pytest.approx(from_r[name]["log_likelihood"], abs=1e-8)
    assert result.converged
    if name == "ratings_flat":
        assert result.patient == 0
        assert any("estimated as 0" in note and "patient" in note for note in result.notes)


def test_balanced_components_are_those_of_mean_squares() -> None:
    """With equal numbers and no variance at 0, REML solves the expected mean squares (1e-7)."""
    k, n, m = 12, 5, 4
    answers = simulated(3, (0.8, 0.7, 0.5, 0.4, 0.9), clinicians=k, patients=n, items=m)
    x = answers.reshape(k, n, m)
    grand = x.mean()
    c, p, i, ci = x.mean(axis=(1, 2)), x.mean(axis=2), x.mean(axis=(0, 1)), x.mean(axis=1)
    ms_c = n * m * ((c - grand) ** 2).sum() / (k - 1)
    ms_p = m * ((p - c[:, None]) ** 2).sum() / (k * (n - 1))
    ms_i = k * n * ((i - grand) ** 2).sum() / (m - 1)
    ms_ci = n * ((ci - c[:, None] - i + grand) ** 2).sum() / ((k - 1) * (m - 1))
    ms_e = ((x - p[:, :, None] - ci[:, None, :] + c[:, None, None]) ** 2).sum() / (k * (n - 1) * (m - 1))
    result = generalisability(answers, np.repeat(np.arange(k), n))
    assert result.residual == pytest.approx(ms_e, abs=1e-7)
    assert result.clinician_item == pytest.approx((ms_ci - ms_e) / n, abs=1e-7)
    assert result.patient == pytest.approx((ms_p - ms_e) / m, abs=1e-7)
    assert result.item == pytest.approx((ms_i - ms_ci) / (k * n), abs=1e-7)
    assert result.clinician == pytest.approx((ms_c - ms_p - ms_ci + ms_e) / (n * m), abs=1e-7)
    # Among patients of one clinician this is coefficient alpha of the pooled covariances within clinicians.
    within = (x - ci[:, None, :]).reshape(-1, m)
    covariance = within.T @ within / (k * (n - 1))
    alpha = m / (m - 1) * (1 - np.trace(covariance) / covariance.sum())
    assert result.within_reliability == pytest.approx(alpha, abs=1e-7)


def test_a_variance_that_would_be_negative_is_found_jointly() -> None:
    """Patients' means alone would make σ²_c negative: the others are fitted with it at 0."""
    answers = simulated(21, (0.0, 0.6, 0.4, 0.6, 0.7), clinicians=15, patients=6, items=5)
    clinicians = np.repeat(np.arange(15), 6)
    mean_of = answers.reshape(15, 6, 5).mean(axis=(1, 2))
    answers = answers - np.repeat(mean_of, 6)[:, None]
    result = generalisability(answers, clinicians)
    assert result.clinician == 0
    assert result.converged
    assert min(result.patient, result.item, result.clinician_item, result.residual) > 0
    assert result.observed.clinician_relative == 0
    assert all(math.isinf(entry.n_patients) for entry in result.patients_needed)
    assert any("no number of patients per clinician reaches .70 with 1 item(s)" in note for note in result.notes)


def test_planted_components_are_recovered() -> None:
    """300 clinicians: within 30 %, two and a half times the sampling error of the least certain variance."""
    truth = (0.5, 0.8, 0.5, 0.3, 1.0)
    answers = simulated(5, truth, clinicians=300, patients=6, items=8)
    result = generalisability(answers, np.repeat(np.arange(300), 6))
    for part, sd in zip(PARTS, truth, strict=True):
        if part != "item":  # eight items tell little about the variance among items
            assert getattr(result, part) == pytest.approx(sd**2, rel=0.3)


def test_the_decision_study_follows_the_formulas() -> None:
    """Every entry from the components; the patients needed are the smallest number that reaches the reliability."""
    answers, clinicians = data_set("ratings")
    result = generalisability(answers, clinicians, n_patients=(5, 20), n_items=(2, 6))
    parts = {name: getattr(result, name) for name in PARTS}
    assert [(entry.n_items, entry.n_patients) for entry in result.decision_study] == [(2, 5), (2, 20), (6, 5), (6, 20)]
    for entry in result.decision_study:
        error = parts["patient"] / entry.n_patients + parts["clinician_item"] / entry.n_items
        error += parts["residual"] / (entry.n_patients * entry.n_items)
        assert entry.clinician_relative == pytest.approx(parts["clinician"] / (parts["clinician"] + error))
        absolute = error + parts["item"] / entry.n_items
        assert entry.clinician_absolute == pytest.approx(parts["clinician"] / (parts["clinician"] + absolute))
        own = parts["clinician"] + parts["patient"]
        noise = (parts["clinician_item"] + parts["residual"]) / entry.n_items
        assert entry.dyad_relative == pytest.approx(own / (own + noise))
    for needed in result.patients_needed:
        if math.isinf(needed.n_patients):
            assert coefficients(parts, n_patients=1e9, n_items=needed.n_items).clinician_relative < needed.reliability
        else:
            enough = coefficients(parts, n_patients=needed.n_patients, n_items=needed.n_items)
            fewer = coefficients(parts, n_patients=needed.n_patients - 1, n_items=needed.n_items)
            assert fewer.clinician_relative < needed.reliability <= enough.clinician_relative
    between = parts["clinician"] / (parts["clinician"] + parts["clinician_item"] / 6)
    assert result.between_reliability == pytest.approx(between)
    assert result.observed.n_patients == pytest.approx(34 / (1 / np.unique(clinicians, return_counts=True)[1]).sum())
    assert (result.n_used, result.n_dropped, result.n_clinicians, result.n_items) == (len(answers), 0, 34, 6)


def test_order_of_rows_and_items_and_unit_do_not_matter() -> None:
    """Shuffled rows and items and answers times ten give the same coefficients (1e-6)."""
    answers, clinicians = data_set("ratings")
    order = np.random.default_rng(1).permutation(len(answers))
    first = generalisability(answers, clinicians)
    second = generalisability(10 * answers[order][:, ::-1] - 3, clinicians[order])
    for part in PARTS:
        assert getattr(second, part) == pytest.approx(100 * getattr(first, part), rel=1e-5)
    assert second.observed.clinician_relative == pytest.approx(first.observed.clinician_relative, abs=1e-6)


def test_gaps_and_small_studies_are_said() -> None:
    """Incomplete patients are left out and counted; few clinicians or patients are no evidence."""
    answers, clinicians = data_set("ratings")
    answers = answers.copy()
    answers[3, 2] = np.nan
    result = generalisability(answers, clinicians)
    assert result.n_dropped == 1
    assert any("1 patient(s) with a missing answer" in note for note in result.notes)
    few = generalisability(answers[clinicians < 9], clinicians[clinicians < 9])
    notes = " | ".join(few.notes)
    assert "only 8 clinician(s)" in notes
    assert "no evidence below 20 clinicians with 5 patients" in notes


@pytest.mark.parametrize(
    ("answers", "clinicians", "options", "message"),
    [
        (np.ones((6, 3)), [1, 1, 2, 2, 3, 3], {}, "same answer to all items"),
        (np.arange(18.0).reshape(6, 3) % 5, [1, 2, 3, 4, 5, 6], {}, "several patients"),
        (np.arange(18.0).reshape(6, 3) % 5, [1] * 6, {}, "at least two clinicians"),
        (np.arange(6.0).reshape(6, 1), [1, 1, 2, 2, 3, 3], {}, "at least 2 items"),
        (np.arange(18.0).reshape(6, 3) % 5, [1, 1, 2, 2, 3, 3], {"n_patients": (0,)}, "at least one patient"),
        (np.arange(18.0).reshape(6, 3) % 5, [1, 1, 2], {}, "3 keys for 6 rows"),
    ],
)
def test_unusable_input_is_refused(
    answers: FloatArray, clinicians: list[int], options: dict[str, Any], message: str
) -> None:
    """No variance, one patient each, one clinician, one item, no plan, keys that don't match."""
    with pytest.raises(AnalysisInputError, match=message):
        generalisability(answers, clinicians, **options)


def test_command_on_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    """The components and the decision study as JSON and as text; an unreachable number of patients is null."""
    path = str(REFERENCE / "ratings.csv")
    command = ["generalisability", path, "--cluster", "cl", "--items", "q1,q2,q3,q4,q5,q6", "--n-items", "1,6"]
    assert main([*command, "--patients", "10,20", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["clinician"] == pytest.approx(0.0992195, abs=1e-6)
    assert answer["loglik"] == pytest.approx(-2004.65504, abs=1e-4)
    assert len(answer["decision_study"]) == 4
    assert answer["patients_needed"][0]["n_patients"] is None
    assert main(command) == 0
    text = capsys.readouterr().out
    assert "clinician x item" in text
    assert "Patients needed" in text
    assert main([*command, "--patients", "few"]) == 2
    assert "not whole numbers" in capsys.readouterr().err
