"""Why there is no score, why a dyad is not compared, what was noted and what was flagged.

The names are stored with the scores and shown to researchers; they are part of the rules' version.
"""

from enum import StrEnum


class ScoringInputError(ValueError):
    """What was given cannot be scored. The message names the item or row and the remedy, never an answer."""


class Reason(StrEnum):
    """Why a number is missing."""

    NOT_APPLICABLE = "NOT_APPLICABLE"  # every item was answered with "does not apply"
    TOO_FEW_ANSWERS = "TOO_FEW_ANSWERS"
    TOO_FEW_COMPONENTS = "TOO_FEW_COMPONENTS"
    NOT_ON_FORM = "NOT_ON_FORM"  # the form asks none of the score's items
    FORM_MISSING = "FORM_MISSING"  # only in the arrays of a batch: the row has no form of this role
    NOT_ELIGIBLE = "NOT_ELIGIBLE"  # the dyad's two forms may not be compared
    NO_REFERENCE = "NO_REFERENCE"  # a gap, but no mean gap and standard errors to judge it by
    FLAT_PROFILE = "FLAT_PROFILE"  # one value in every component: correlation and shape are undefined


class Ineligibility(StrEnum):
    """Why the two forms of a dyad may not be compared. All that hold are listed, in this order."""

    PATIENT_FORM_MISSING = "PATIENT_FORM_MISSING"
    CLINICIAN_FORM_MISSING = "CLINICIAN_FORM_MISSING"
    FORMS_DIFFER = "FORMS_DIFFER"
    TOO_FAR_APART = "TOO_FAR_APART"
    NOT_BLIND = "NOT_BLIND"
    KNOWN_TOO_SHORT = "KNOWN_TOO_SHORT"


class Note(StrEnum):
    """What a reader of a dyad's scores should know although it changes nothing."""

    ACQUAINTANCE_UNKNOWN = "ACQUAINTANCE_UNKNOWN"


class Flag(StrEnum):
    """Signs of careless answering. A flag never deletes a record; analyses are rerun without flagged ones."""

    STRAIGHTLINE = "straightline"
    REVERSE_CONFLICT = "reverse_conflict"
    FAST = "fast"
    MISSING = "missing"


#: What the small integers in the arrays of `scoring.rules.batch` stand for; 0 is "nothing is missing".
REASON_BY_CODE: tuple[Reason | None, ...] = (None, *Reason)
CODE_BY_REASON: dict[Reason, int] = {reason: code for code, reason in enumerate(REASON_BY_CODE) if reason is not None}
#: Order of the columns of the Boolean matrices in `scoring.rules.batch`, and of every listing.
FLAGS: tuple[Flag, ...] = tuple(Flag)
INELIGIBILITIES: tuple[Ineligibility, ...] = tuple(Ineligibility)
