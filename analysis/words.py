"""What the rules' names mean, for readers."""

from collections.abc import Mapping

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from scoring.rules.reasons import Flag, Ineligibility, Note, Reason

REASONS: Mapping[str, Promise] = {
    Reason.NOT_APPLICABLE: _("no score: every sentence was answered with “does not apply”"),
    Reason.TOO_FEW_ANSWERS: _("no score: too few answers"),
    Reason.TOO_FEW_COMPONENTS: _("no score: too few components have one"),
    Reason.NOT_ON_FORM: _("no score: not asked on this form"),
    Reason.FORM_MISSING: _("no score: the form is not there"),
    Reason.NOT_ELIGIBLE: _("not compared: the two forms may not be"),
    Reason.NO_REFERENCE: _("no verdict: no analysis has set a reference yet"),
    Reason.FLAT_PROFILE: _("not defined: one value in every component"),
}
INELIGIBILITIES: Mapping[str, Promise] = {
    Ineligibility.PATIENT_FORM_MISSING: _("the patient's form is not finished"),
    Ineligibility.CLINICIAN_FORM_MISSING: _("the clinician's form is not finished"),
    Ineligibility.FORMS_DIFFER: _("the two forms have different lengths"),
    Ineligibility.TOO_FAR_APART: _("the two forms were finished more than 14 days apart"),
    Ineligibility.NOT_BLIND: _("one side had seen the other's answers"),
    Ineligibility.KNOWN_TOO_SHORT: _("they have known each other for less than 3 months and 2 visits"),
}
NOTES: Mapping[str, Promise] = {
    Note.ACQUAINTANCE_UNKNOWN: _("How long the two have known each other is not known."),
}
FLAGS: Mapping[str, Promise] = {
    Flag.STRAIGHTLINE: _("one and the same answer throughout, also to sentences that say the opposite"),
    Flag.REVERSE_CONFLICT: _("sentences that say the opposite were answered as if they did not"),
    Flag.FAST: _("answered faster than one can read: under 2 seconds per sentence"),
    Flag.MISSING: _("more than 30 % of the applicable sentences have no answer"),
}
MISSING: Mapping[str, Promise] = {
    "SKIPPED": _("skipped"),
    "PREFER_NOT": _("prefers not to answer"),
    "DNA": _("does not apply"),
    "NOT_REACHED": _("not reached"),
    "NOT_SHOWN": _("not shown"),
}
#: Names of an analysis's parts while it runs.
PARTS: Mapping[str, Promise] = {
    "data": _("reading the data"),
    "items": _("items"),
    "scales": _("reliability of components"),
    "domains": _("reliability of domains"),
    "structure": _("structure"),
    "retention": _("number of factors"),
    "factors": _("factors"),
    "gap_reference": _("reference for gaps"),
    "done": _("done"),
}
ROLES: Mapping[str, Promise] = {"patient": _("Patients"), "clinician": _("Clinicians")}


def progress_words(note: str) -> str:
    """A run's progress note ("patient: scales") in the reader's language."""
    role, _colon, part = note.rpartition(": ")
    words = str(PARTS.get(part, part))
    return f"{ROLES[role]}: {words}" if role in ROLES else words
