"""Pairing the two forms of a dyad, and what agreement is called."""

import numpy as np
import pytest

from analysis.psychometrics.dyads.pairing import as_two_roles, pair_dyads, reading_of
from analysis.psychometrics.errors import AnalysisInputError


def test_rows_are_paired_by_key_in_the_patients_order() -> None:
    """Numbers, number-like floats and text with blanks name the same dyad."""
    pairs = pair_dyads([3, 1, 2], [" 1", "3 ", "9"])
    assert pairs.keys == ("3", "1")
    assert pairs.patient_rows.tolist() == [0, 1]
    assert pairs.clinician_rows.tolist() == [1, 0]
    assert pair_dyads([1.0, 2.0], ["2", "1"]).clinician_rows.tolist() == [1, 0]


def test_dyads_with_one_form_are_named() -> None:
    """A form without its counterpart is left out and listed."""
    pairs = pair_dyads(["a", "b"], ["b", "c"])
    assert pairs.only_patient == ("a",)
    assert pairs.only_clinician == ("c",)
    assert pairs.notes == (
        "1 dyad(s) without a clinician's form left out: a",
        "1 dyad(s) without a patient's form left out: c",
    )


@pytest.mark.parametrize(
    ("patient", "clinician", "named"),
    [
        (["a", "a"], ["a"], "each dyad once"),
        (["a"], ["b", "a", "b"], "clinicians' table: b"),
        (["a", ""], ["a"], "row 2 of the patients' table"),
        (["a", float("nan")], ["a"], "row 2 of the patients' table"),
        (["a"], [None], "row 1 of the clinicians' table"),
        ([], ["a"], "has none"),
        (["P-1"], ["p1"], "none of 1 patient keys"),
    ],
)
def test_keys_that_cannot_pair_are_refused(patient: list[object], clinician: list[object], named: str) -> None:
    """A dyad twice, a missing key, an empty table and foreign keys are told apart."""
    with pytest.raises(AnalysisInputError, match=named):
        pair_dyads(patient, clinician)


def test_the_reading_follows_the_perspective() -> None:
    """A guess at the patient is meta-accuracy; the clinician's own view is self-other agreement."""
    assert reading_of("self_report") == "self-other agreement"
    assert reading_of("meta_perception") == "meta-accuracy"
    assert reading_of(None) == "agreement"
    with pytest.raises(AnalysisInputError, match="perspective"):
        reading_of("other")


def test_both_roles_must_be_there_in_one_shape() -> None:
    """A role missing altogether, other columns, too few dyads and text are refused by name."""
    scores = np.ones((4, 2))
    with pytest.raises(AnalysisInputError, match="the clinicians' scores are all missing"):
        as_two_roles(scores, np.full((4, 2), np.nan), who="test")
    with pytest.raises(AnalysisInputError, match="4 x 2 of patients and 4 x 1 of clinicians"):
        as_two_roles(scores, scores[:, 0], who="test")
    with pytest.raises(AnalysisInputError, match="at least 3 dyads; got 2"):
        as_two_roles(scores[:2], scores[:2], who="test")
    with pytest.raises(AnalysisInputError, match="patient's scores"):
        as_two_roles(np.array([["x"], ["y"], ["z"]]), scores[:3, 0], who="test")
