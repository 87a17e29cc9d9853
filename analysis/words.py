"""What the rules' names mean, for readers."""

import re
from collections.abc import Mapping
from functools import cache

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _
from django.utils.translation import override

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
    "PATIENT_WITHDREW": _("the patient has withdrawn"),
    "CLINICIAN_WITHDREW": _("the clinician has withdrawn"),
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


#: What the statistics write into a stored result, as far as their sentences are known. They know no languages, so the
#: page recognises the English sentence and takes its figures and item codes over into the reader's.
STATISTICS: tuple[Promise, ...] = (
    _("%(who)s requires at least %(minimum)s items; got %(n)s. Remedy: choose more items of the scale."),
    _("%(who)s requires respondents; got none. Remedy: collect forms or widen the selection."),
    _(
        "%(who)s requires at least %(minimum)s respondents who answered all %(items)s items; got %(kept)s of %(n)s. "
        "Remedy: collect more forms, or leave out the items that most forms lack."
    ),
    _(
        "%(who)s requires items that vary between respondents; constant or empty among the rows used: %(items)s. "
        "Remedy: leave these items out, or wait for more forms."
    ),
    _(
        "%(who)s requires more respondents than items; got %(n)s usable for %(items)s items (smallest number behind a "
        "pair). Remedy: collect more forms, or analyse fewer items at a time (one domain)."
    ),
    _(
        "%(who)s requires more respondents than items; got %(n)s usable for %(items)s items (complete rows). "
        "Remedy: collect more forms, or analyse fewer items at a time (one domain)."
    ),
    _(
        "%(who)s requires every pair of items to vary together; %(first)s and %(second)s do not among the respondents "
        "who answered both. Remedy: leave one of them out."
    ),
    _(
        "%(who)s requires items that differ; %(first)s and %(second)s correlate perfectly. Remedy: leave one of them "
        "out, and check that no column was entered twice."
    ),
    _(
        "%(who)s requires items that are not exact combinations of one another; %(item)s can be computed from the "
        "others. Remedy: leave that item out."
    ),
    _(
        "%(who)s requires a sum score that varies; the %(n)s items cancel one another. Remedy: check which items have "
        "to be reversed."
    ),
    _(
        "%(who)s requires 1 to %(most)s factors for %(items)s items (no degrees of freedom are left beyond); got "
        "%(n)s. Remedy: extract fewer factors or add items."
    ),
    _(
        "Internal consistency requires at least two items; got %(n)s. Remedy: use the full form, or judge this "
        "component by retest."
    ),
    _(
        "The matrix algebra broke down: some items are (nearly) combinations of others. Remedy: collect more forms, or "
        "analyse one domain at a time."
    ),
    _(
        "There is no finished %(form)s form at wave %(wave)s yet. Remedy: collect answers first, or choose the other "
        "form."
    ),
    _(
        "A worker was stopped %(n)s times while it was at this analysis, perhaps for want of memory. Remedy: look into "
        "the worker's log, then run the analysis again."
    ),
    _("pairwise-complete correlations; the number of respondents is the smallest number behind any pair of items"),
    _("pairwise correlations were not positive definite and were smoothed (negative eigenvalues raised)"),
    _("Heywood case: next to no unique variance left in %(items)s; extract fewer factors or leave the item out"),
    _("fewer than two items load .30 or more on factor %(factors)s"),
)


@cache
def _statistics_patterns() -> tuple[tuple[re.Pattern[str], Promise], ...]:
    """Each sentence with what recognises it."""
    with override("en"):
        sentences = [str(sentence) for sentence in STATISTICS]
    # Figures and codes hold no line breaks, and the words between them tell the sentences apart.
    patterns = [re.compile(re.sub(r"%\\\((\w+)\\\)s", r"(?P<\1>.+?)", re.escape(one))) for one in sentences]
    return tuple(zip(patterns, STATISTICS, strict=True))


def statistics_words(text: str) -> str:
    """A note or an error of the statistics in the reader's language; as it stands if its sentence isn't known."""
    for pattern, sentence in _statistics_patterns():
        if found := pattern.fullmatch(text):
            return str(sentence) % found.groupdict()
    return text
