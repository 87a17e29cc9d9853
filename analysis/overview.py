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
from studies.access import StudyAccess
from studies.models import Site, Study, Visit
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
    """One site: its clinicians, their sum, and how near the target it is."""

    site: Site
    clinicians: Sequence[ClinicianCompleteness]
    counts: Completeness

    @property
    def target_share(self) -> float | None:
        """Dyads with both forms of the target, 0 to 1 and no more; None without a target."""
        target = self.site.target_dyads
        return min(1.0, self.counts.n_both_done / target) if target else None


def completeness(access: StudyAccess) -> list[SiteCompleteness]:
    """Every site that this person may see, with its clinicians; three queries whatever the size of the study."""
    by_clinician = _completeness_by_clinician(access)
    clinicians = groupby(access.clinicians, key=lambda clinician: clinician.site_id)
    of_site = {site_id: list(members) for site_id, members in clinicians}
    sites = []
    for site in access.sites:
        rows = [
            ClinicianCompleteness(code=one.code, counts=by_clinician.get(one.pk, Completeness()))
            for one in of_site.get(site.pk, [])
        ]
        sites.append(
            SiteCompleteness(site=site, clinicians=rows, counts=sum((row.counts for row in rows), Completeness()))
        )
    return sites


def _completeness_by_clinician(access: StudyAccess) -> dict[int, Completeness]:
    visits = access.within_sites(Visit.objects.filter(dyad__study=access.study), "dyad__clinician__site")
    patient_done = Q(patient_form__status=Administration.Status.COMPLETED)
    clinician_done = Q(clinician_form__status=Administration.Status.COMPLETED)
    rows = (
        visits.annotate(
            # Each joins at most one row to a visit, so that counting visits stays right.
            patient_form=FilteredRelation("administrations", condition=Q(administrations__role="patient")),
            clinician_form=FilteredRelation("administrations", condition=Q(administrations__role="clinician")),
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
    return {row["dyad__clinician"]: _completeness(row) for row in rows}


def _items(role: str, count: str) -> Sum:
    return Sum(Cast(KeyTextTransform(count, f"score__{role}"), IntegerField()))


def _completeness(row: Mapping[str, Any]) -> Completeness:
    counted = ("n_visits", "n_patient_done", "n_clinician_done", "n_both_done", "n_scored", "n_eligible", "n_flagged")
    times = [time for time in (row["last_patient"], row["last_clinician"]) if time is not None]
    return Completeness(
        **{name: row[name] for name in counted},
        n_answered=(row["patient_answered"] or 0) + (row["clinician_answered"] or 0),
        n_unanswered=(row["patient_unanswered"] or 0) + (row["clinician_unanswered"] or 0),
        last_activity=max(times, default=None),
    )


# --- scored dyads ---

#: What the table can be sorted by: the key in the address -> fields. Nothing else reaches the database.
SORTS: Mapping[str, tuple[str, ...]] = {
    "date": ("visit__visit_date",),
    "dyad": ("visit__dyad__code",),
    "clinician": ("visit__dyad__clinician__site__code", "visit__dyad__clinician__code"),
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
    rows = access.within_sites(DyadScore.objects.filter(study=access.study), "visit__dyad__clinician__site")
    rows = access.without_own_patients(rows, "visit__dyad__clinician")
    conditions = {
        "visit__dyad__clinician__site": site,
        "visit__dyad__clinician": clinician,
        "visit__wave": wave,
        "is_eligible": eligible,
        "is_flagged": flagged,
        "is_complete": complete,
        "visit__dyad__code__icontains": search or None,
    }
    rows = rows.filter(**{name: value for name, value in conditions.items() if value is not None})
    key = known_sort(sort)
    fields = [F(name) for name in SORTS[key.removeprefix("-")]]
    if key.startswith("-"):
        order = [field.desc(nulls_last=True) for field in fields]
    else:
        order = [field.asc(nulls_last=True) for field in fields]
    return (
        rows.select_related("visit__dyad__clinician__site", "visit__wave")
        .defer("patient", "clinician", "dyad")
        .order_by(*order, "-pk" if key.startswith("-") else "pk")
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Norm:
    """Mean and standard deviation (n - 1) of one role's domain score, in points of 0 to 100."""

    mean: float
    sd: float

    def z(self, value: float) -> float:
        return (value - self.mean) / self.sd


def role_norms(study: Study, *, form: str) -> tuple[dict[str, Norm], int]:
    """Per domain column the norm within the study and role, and the number of dyads behind them; one query.

    Over dyads whose forms may be compared, of one form length, each once (no follow-up waves). A column without spread,
    or fewer than `MINIMUM_FOR_NORMS` dyads, gives no norm: a standardised gap would be noise.
    """
    figures: dict[str, Any] = {"n": Count("pk")}
    for column in DOMAIN_COLUMNS:
        # Sums, because SQLite's standard deviation (Django's own, in Python) fails on a missing score; about the middle
        # of the scale, because squares of small numbers keep more of their digits.
        off_middle = F(column) - 50.0
        figures |= {
            f"n_{column}": Count(column),
            f"sum_{column}": Sum(off_middle),
            f"squares_{column}": Sum(off_middle * off_middle),
        }
    with beyond_sites():  # the study's norm, also for who sees one site
        row = DyadScore.objects.filter(
            study=study, form=form, is_eligible=True, visit__wave__is_follow_up=False
        ).aggregate(**figures)
    n = int(row["n"])
    norms = {
        column: _norm(row[f"n_{column}"], row[f"sum_{column}"], row[f"squares_{column}"])
        for column in DOMAIN_COLUMNS
        if row[f"n_{column}"] >= MINIMUM_FOR_NORMS
    }
    # What is left of a column without spread is rounding.
    return {column: norm for column, norm in norms.items() if norm.sd > 1e-6}, n


def _norm(n: int, total: float, squares: float) -> Norm:
    mean = total / n
    return Norm(mean=mean + 50, sd=math.sqrt(max(0.0, squares - n * mean * mean) / (n - 1)))
