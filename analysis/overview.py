"""What the researcher's pages ask of the database: completeness per clinician, lists of scored dyads, study norms."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any

from django.db.models import Count, F, FilteredRelation, IntegerField, Max, Q, QuerySet, Sum
from django.db.models.fields.json import KeyTextTransform
from django.db.models.functions import Cast

from instruments.models import Administration
from scoring.models import DyadScore
from scoring.services import DOMAINS
from studies import tallies
from studies.access import StudyAccess
from studies.models import Clinician, Site, Study, Visit
from studies.scope import beyond_sites

ROLES = ("patient", "clinician")
DOMAIN_COLUMNS = tuple(f"{role}_{domain}" for role in ROLES for domain in DOMAINS)
#: Below this many dyads a standard deviation says too little to standardise by.
MINIMUM_FOR_NORMS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Completeness:
    """How far visits have come. All fields are counts; `last_activity` is the latest finished form."""

    n_visits: int = 0
    n_patient_done: int = 0
    n_clinician_done: int = 0
    n_both_done: int = 0
    n_scored: int = 0  # visits with a score of at least one side
    n_eligible: int = 0
    n_flagged: int = 0
    n_answered: int = 0  # items, over all scored forms
    n_unanswered: int = 0  # applicable items without an answer
    last_activity: datetime | None = None

    @property
    def missing_share(self) -> float | None:
        """Unanswered of the applicable items, 0 to 1; None before any form is scored."""
        n_applicable = self.n_answered + self.n_unanswered
        return self.n_unanswered / n_applicable if n_applicable else None

    def __add__(self, other: "Completeness") -> "Completeness":
        times = [time for time in (self.last_activity, other.last_activity) if time is not None]
        counts = {name: getattr(self, name) + getattr(other, name) for name in _COUNTS}
        return Completeness(**counts, last_activity=max(times, default=None))


_COUNTS = tuple(name for name in Completeness.__dataclass_fields__ if name.startswith("n_"))


@dataclass(frozen=True, slots=True, kw_only=True)
class ClinicianCompleteness:
    """One clinician's row."""

    code: str
    counts: Completeness


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteCompleteness:
    """One site: its clinicians and their sum."""

    site: Site
    clinicians: Sequence[ClinicianCompleteness]
    counts: Completeness


def completeness(access: StudyAccess) -> list[SiteCompleteness]:
    """Every site that this person may see, with its clinicians; four queries whatever the size of the study."""
    clinicians = list(access.clinicians)
    by_clinician = tallies.figures("completeness", [clinician.pk for clinician in clinicians])
    of_site = {
        site_id: [ClinicianCompleteness(code=one.code, counts=_completeness(by_clinician[one.pk])) for one in members]
        for site_id, members in groupby(clinicians, key=lambda clinician: clinician.site_id)
    }
    return [
        SiteCompleteness(site=site, clinicians=rows, counts=sum((row.counts for row in rows), Completeness()))
        for site in access.sites
        for rows in [of_site.get(site.pk, [])]
    ]


def _completeness(figures: Mapping[str, Any]) -> Completeness:
    last = figures["last_activity"]
    return Completeness(**{**figures, "last_activity": None if last is None else datetime.fromisoformat(last)})


def count_completeness(clinician_ids: Sequence[int]) -> dict[int, dict[str, Any]]:
    """The fields of `Completeness` over each clinician's visits, but for forms of people who withdrew; one query."""
    in_use = Q(administrations__withdrawn_at=None)
    patient_done = Q(patient_form__status=Administration.Status.COMPLETED)
    clinician_done = Q(clinician_form__status=Administration.Status.COMPLETED)
    rows = (
        Visit.objects.filter(dyad__clinician__in=clinician_ids)
        .annotate(
            # Each joins at most one row to a visit, so that counting visits stays right.
            patient_form=FilteredRelation("administrations", condition=in_use & Q(administrations__role="patient")),
            clinician_form=FilteredRelation("administrations", condition=in_use & Q(administrations__role="clinician")),
        )
        .order_by()
        .values("dyad__clinician")
        .annotate(
            n_visits=Count("pk"),
            n_patient_done=Count("pk", filter=patient_done),
            n_clinician_done=Count("pk", filter=clinician_done),
            n_both_done=Count("pk", filter=patient_done & clinician_done),
            n_scored=Count("score"),
            n_eligible=Count("score", filter=Q(score__is_eligible=True)),
            n_flagged=Count("score", filter=Q(score__is_flagged=True)),
            patient_answered=_items("patient", "n_answered"),
            patient_unanswered=_items("patient", "n_unanswered"),
            clinician_answered=_items("clinician", "n_answered"),
            clinician_unanswered=_items("clinician", "n_unanswered"),
            last_patient=Max("patient_form__completed_at"),
            last_clinician=Max("clinician_form__completed_at"),
        )
    )
    counted = {pk: dict.fromkeys(_COUNTS, 0) | {"last_activity": None} for pk in clinician_ids}
    for row in rows:
        counted[row["dyad__clinician"]] = _counted(row)
    return counted


def _items(role: str, count: str) -> Sum:
    return Sum(Cast(KeyTextTransform(count, f"score__{role}"), IntegerField()))


def _counted(row: Mapping[str, Any]) -> dict[str, Any]:
    counted = ("n_visits", "n_patient_done", "n_clinician_done", "n_both_done", "n_scored", "n_eligible", "n_flagged")
    times = [time for time in (row["last_patient"], row["last_clinician"]) if time is not None]
    return {
        **{name: row[name] for name in counted},
        "n_answered": (row["patient_answered"] or 0) + (row["clinician_answered"] or 0),
        "n_unanswered": (row["patient_unanswered"] or 0) + (row["clinician_unanswered"] or 0),
        "last_activity": max(times).isoformat() if times else None,
    }


# --- scored dyads ---

#: What the table can be sorted by: the key in the address -> fields. Nothing else reaches the database.
SORTS: Mapping[str, tuple[str, ...]] = {
    "date": ("visit_date",),
    "dyad": ("dyad_code",),
    "clinician": ("dyad_clinician__site__code", "dyad_clinician__code"),
    **{column: (column,) for column in DOMAIN_COLUMNS},
}
DEFAULT_SORT = "-date"


def known_sort(written: str) -> str:
    """The sort key if there is such a one, with its leading minus for "descending"; else newest first."""
    return written if written.removeprefix("-") in SORTS else DEFAULT_SORT


def scored_dyads(
    access: StudyAccess,
    *,
    sort: str,
    site: int | None = None,
    clinician: int | None = None,
    wave: int | None = None,
    eligible: bool | None = None,
    flagged: bool | None = None,
    complete: bool | None = None,
    search: str = "",
) -> "QuerySet[DyadScore]":
    """Scored visits that meet all conditions, in order; rows without the figure sorted by come last both ways.

    The person's own patients are left out: a clinician is blind to the partner's side.
    `sort` is a key of `SORTS`, with a leading minus for descending; any other sorts newest first.
    """
    rows = access.within_sites(DyadScore.objects.filter(study=access.study), "dyad_clinician__site")
    rows = rows.exclude(dyad_clinician__in=access.own_clinicians.values("pk"))
    conditions = {
        "dyad_clinician__site": site,
        "dyad_clinician": clinician,
        "wave": wave,
        "is_eligible": eligible,
        "is_flagged": flagged,
        "is_complete": complete,
        "dyad_code__icontains": search or None,
    }
    rows = rows.filter(**{name: value for name, value in conditions.items() if value is not None})
    key = known_sort(sort)
    fields = [F(name) for name in SORTS[key.removeprefix("-")]]
    if key.startswith("-"):
        order = [field.desc(nulls_last=True) for field in fields]
    else:
        order = [field.asc(nulls_last=True) for field in fields]
    return rows.order_by(*order, "-pk" if key.startswith("-") else "pk")


def for_listing(scores: "QuerySet[DyadScore]") -> "QuerySet[DyadScore]":
    """With all that a row of the table shows, and without the long records."""
    return scores.select_related("visit__dyad__clinician__site", "visit__wave").defer("patient", "clinician", "dyad")


@dataclass(frozen=True, slots=True, kw_only=True)
class Norm:
    """Mean and standard deviation (n - 1) of one role's domain score, in points of 0 to 100."""

    mean: float
    sd: float

    def z(self, value: float) -> float:
        return (value - self.mean) / self.sd


def role_norms(study: Study, *, form: str) -> tuple[dict[str, Norm], int]:
    """Per domain column the norm within the study and role, and the number of dyads behind them; four queries.

    Over dyads whose forms may be compared, of one form length, each once (no follow-up waves). A column without spread,
    or fewer than `MINIMUM_FOR_NORMS` dyads, gives no norm: a standardised gap would be noise.
    """
    with beyond_sites():  # the study's norm, also for who sees one site
        clinicians = list(Clinician.objects.filter(site__study=study).values_list("pk", flat=True))
        sums = tallies.figures("score sums", clinicians)
    waves = {str(pk) for pk in study.waves.filter(is_follow_up=False).values_list("pk", flat=True)}
    parts = [part for one in sums.values() for wave, part in one.get(form, {}).items() if wave in waves]
    norms = {}
    for column in DOMAIN_COLUMNS:
        of_column = [part["columns"][column] for part in parts]
        n = sum(one["n"] for one in of_column)
        if n >= MINIMUM_FOR_NORMS:
            norms[column] = _norm(
                n, math.fsum(one["sum"] for one in of_column), math.fsum(one["squares"] for one in of_column)
            )
    # What is left of a column without spread is rounding.
    return {column: norm for column, norm in norms.items() if norm.sd > 1e-6}, sum(part["n"] for part in parts)


def _norm(n: int, total: float, squares: float) -> Norm:
    mean = total / n
    return Norm(mean=mean + 50, sd=math.sqrt(max(0.0, squares - n * mean * mean) / (n - 1)))


def sum_scores(clinician_ids: Sequence[int]) -> dict[int, dict[str, dict[str, Any]]]:
    """Of each clinician's comparable dyads, by form and wave: their number, and of each domain column n, sum, squares.

    Values are taken about the middle of the scale, because squares of small numbers keep more of their digits; `fsum`
    makes the sums the same in whatever order the rows come. One query.
    """
    rows = DyadScore.objects.filter(visit__dyad__clinician__in=clinician_ids, is_eligible=True).values_list(
        "visit__dyad__clinician", "form", "visit__wave", *DOMAIN_COLUMNS
    )
    groups: dict[tuple[int, str, int], list[tuple[float | None, ...]]] = {}
    for clinician, form, wave, *values in rows:
        groups.setdefault((clinician, form, wave), []).append(tuple(values))
    summed: dict[int, dict[str, dict[str, Any]]] = {pk: {} for pk in clinician_ids}
    for (clinician, form, wave), scores in groups.items():
        columns = {}
        for column, values in zip(DOMAIN_COLUMNS, zip(*scores, strict=True), strict=True):
            known = [value - 50 for value in values if value is not None]
            columns[column] = {
                "n": len(known),
                "sum": math.fsum(known),
                "squares": math.fsum(value * value for value in known),
            }
        summed[clinician].setdefault(form, {})[str(wave)] = {"n": len(scores), "columns": columns}
    return summed
