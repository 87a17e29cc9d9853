"""One dyad as its page shows it: stored records and study norms into rows of words, figures and a picture."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.utils.functional import Promise
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext as _

from analysis.overview import ROLES, Norm
from analysis.pictures import ProfileLabels, ProfileRow, profile_plot
from analysis.words import FLAGS, INELIGIBILITIES, NOTES, REASONS
from instruments.definitions import Instrument
from instruments.staff_forms import in_language
from scoring.models import DyadScore


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One role's score, or the words for why there is none."""

    value: float | None
    reason: Promise | str
    thin: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreRow:
    """One component, domain or composite. The standardised gap is in standard deviations of the study's role."""

    label: str
    is_group: bool
    patient: Side
    clinician: Side
    standardised_gap: float | None
    reliable: bool | None  # None: no verdict


def score_rows(score: DyadScore, instrument: Instrument, norms: Mapping[str, Norm]) -> list[list[ScoreRow]]:
    """The table's rows, one list per domain: the domain first, then its components; composites come last."""
    groups = [(domain, [*domain.components]) for domain in instrument.domains.values()]
    tables = []
    for domain, components in groups:
        rows = [_row(score, domain.id, in_language(domain.label), norms, is_group=True)]
        rows += [
            _row(score, component, in_language(instrument.components[component].label), norms)
            for component in components
        ]
        tables.append(rows)
    composites = [
        _row(score, composite.id, in_language(composite.label), norms) for composite in instrument.composites.values()
    ]
    return [*tables, composites] if composites else tables


def _row(score: DyadScore, name: str, label: str, norms: Mapping[str, Norm], *, is_group: bool = False) -> ScoreRow:
    patient, clinician = (_side(getattr(score, role), name, role) for role in ROLES)
    gap = None
    # No figure where the sentences that both answered give none, however many each answered alone.
    is_compared = score.dyad["gaps"]["values"].get(name) is not None
    if is_compared and patient.value is not None and clinician.value is not None:
        sides = [
            (norms.get(f"{role}_{name}"), side.value) for role, side in zip(ROLES, (patient, clinician), strict=True)
        ]
        z = [norm.z(value) for norm, value in sides if norm is not None and value is not None]
        gap = z[1] - z[0] if len(z) == len(ROLES) else None
    return ScoreRow(
        label=label,
        is_group=is_group,
        patient=patient,
        clinician=clinician,
        standardised_gap=gap,
        reliable=score.dyad["gaps"]["reliable"].get(name),
    )


def _side(record: Mapping[str, Any] | None, name: str, role: str) -> Side:
    if record is None:
        return Side(value=None, reason=_("form not finished"), thin=False)
    reason = record["reasons"].get(name)
    return Side(value=record["values"].get(name), reason=REASONS.get(reason, reason or ""), thin=name in record["thin"])


def profile_picture(score: DyadScore, instrument: Instrument) -> SafeString:
    """Both sides' component scores as an inline SVG with its text alternative."""
    rows = [
        ProfileRow(
            label=in_language(instrument.components[component].label),
            domain=in_language(domain.label),
            patient=None if score.patient is None else score.patient["values"].get(component),
            clinician=None if score.clinician is None else score.clinician["values"].get(component),
        )
        for domain in instrument.domains.values()
        for component in domain.components
    ]
    labels = ProfileLabels(
        title=_("Profile of the dyad"),
        description=_("Component scores from 0 to 100."),
        patient=_("Patient"),
        clinician=_("Clinician"),
        no_score=_("no score"),
    )
    return mark_safe(profile_plot(rows, labels))  # noqa: S308  pictures escape every text


def quality_words(score: DyadScore) -> list[tuple[str, Promise | str]]:
    """(whose form, what was flagged), in words."""
    whose = {"patient": _("Patient's form"), "clinician": _("Clinician's form")}
    return [
        (whose[role], FLAGS.get(flag, flag))
        for role in ROLES
        for flag in (getattr(score, role) or {"flags": []})["flags"]
    ]


def eligibility_words(score: DyadScore) -> list[Promise | str]:
    """Why the two forms may not be compared; empty when they may."""
    return [INELIGIBILITIES.get(why, why) for why in score.dyad["ineligible"]]


def note_words(score: DyadScore) -> list[Promise | str]:
    """What a reader should know although it changes nothing."""
    return [NOTES.get(note, note) for note in score.dyad["notes"]]


def profile_reason(score: DyadScore) -> Promise | str:
    """Why a figure of profile similarity is missing, in words."""
    reason = score.dyad["profile"]["reason"]
    return REASONS.get(reason, reason or "")
