"""Grouping by clinician, and the rules about few clinicians."""

import numpy as np
import pytest

from analysis.psychometrics.errors import AnalysisInputError
from analysis.psychometrics.inference.few_clinicians import group_by_clinician, rules_for


@pytest.mark.parametrize(
    ("n", "tier", "inference", "bootstrap", "wild", "between", "factors", "generalised", "n_notes"),
    [
        (0, "describe only", False, False, False, False, False, False, 1),
        (9, "describe only", False, False, False, False, False, False, 1),
        (10, "10 to 19", True, False, True, False, False, False, 1),
        (19, "10 to 19", True, False, True, False, False, False, 1),
        (20, "20 to 49", True, True, False, False, False, False, 1),
        (49, "20 to 49", True, True, False, False, False, False, 1),
        (50, "50 or more", True, True, False, True, False, False, 0),
        (60, "50 or more", True, True, False, True, False, True, 0),
        (100, "50 or more", True, True, False, True, True, True, 0),
    ],
)
def test_each_number_of_clinicians_has_its_rules(
    n: int,
    tier: str,
    inference: bool,
    bootstrap: bool,
    wild: bool,
    between: bool,
    factors: bool,
    generalised: bool,
    n_notes: int,
) -> None:
    """The borders are 10, 20, 50, 60 and 100; fewer than 50 are commented."""
    rules = rules_for(n)
    assert (rules.n_clinicians, rules.tier, rules.inference) == (n, tier, inference)
    assert (rules.cluster_bootstrap, rules.wild_bootstrap) == (bootstrap, wild)
    assert (rules.between_model, rules.between_factors) == (between, factors)
    assert rules.generalised_reciprocity is generalised
    assert len(rules.notes) == n_notes


def test_a_negative_number_of_clinicians_is_refused() -> None:
    """A count cannot be negative."""
    with pytest.raises(AnalysisInputError, match="got -1"):
        rules_for(-1)


def test_rows_are_found_again_by_clinician() -> None:
    """Codes, sizes, order and starts describe one grouping, clinicians sorted by key."""
    groups = group_by_clinician(["b", "a", "b", "c", "a", "b"], who="test")
    assert groups.labels == ("a", "b", "c")
    assert groups.codes.tolist() == [1, 0, 1, 2, 0, 1]
    assert groups.sizes.tolist() == [2, 3, 1]
    assert groups.starts.tolist() == [0, 2, 5]
    assert groups.order.tolist() == [1, 4, 0, 2, 5, 3]
    assert (groups.n_clinicians, groups.n_with_one_patient) == (3, 1)


def test_numbers_read_as_floats_keep_whole_labels() -> None:
    """A key column read from a table as 1.0, 2.0 is clinician 1 and clinician 2; mixed objects become text."""
    assert group_by_clinician([2.0, 1.0], who="test").labels == ("1", "2")
    assert group_by_clinician(np.array(["x", 3], dtype=object), who="test").labels == ("3", "x")


@pytest.mark.parametrize(
    ("keys", "n_rows", "message"),
    [
        ([[1, 2], [3, 4]], None, "one clinician key per row; got an array of 2 dimensions"),
        ([1, 2], 3, "got 2 keys for 3 rows"),
        ([], None, "requires rows"),
        ([1.0, np.nan], None, "1 row\\(s\\) have none, the first is row 2"),
        (np.array(["a", None, " "], dtype=object), None, "2 row\\(s\\) have none, the first is row 2"),
    ],
)
def test_keys_that_do_not_fit_are_named(keys: object, n_rows: int | None, message: str) -> None:
    """Missing, too many or too few keys are named with their row."""
    with pytest.raises(AnalysisInputError, match=message):
        group_by_clinician(keys, who="test", n_rows=n_rows)
