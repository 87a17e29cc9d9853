"""The front desk's day: who comes today and how far each patient is, and who still owes a form."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum

from django.db.models import Count, F, Min, QuerySet

from instruments.definitions import Role
from instruments.models import Administration
from studies.access import StudyAccess
from studies.models import Clinician, NonParticipation, Visit

#: A front desk sees far fewer in a day; whoever sees every site of a study looks on in the list of visits.
MOST_VISITS = 200
MOST_OWING = 20


class Progress(StrEnum):
    """How far a patient's form is."""

    NOT_YET = "not yet"
    HANDED_OVER = "handed over"
    ANSWERING = "answering"
    FINISHED = "finished"
    DECLINED = "declined"
    TIME_OVER = "time over"


def progress_of(
    administration: Administration, non_participation: NonParticipation | None, *, now: datetime
) -> Progress:
    """What the front desk needs to know of a patient's form; nothing of its answers."""
    match administration.status:
        case Administration.Status.COMPLETED:
            return Progress.FINISHED
        case _ if non_participation is not None or administration.status == Administration.Status.DECLINED:
            return Progress.DECLINED
        case _ if administration.is_expired(now=now):
            return Progress.TIME_OVER
        case Administration.Status.STARTED:
            return Progress.ANSWERING
    return Progress.NOT_YET if administration.handed_over_at is None else Progress.HANDED_OVER


@dataclass(frozen=True, slots=True, kw_only=True)
class DayRow:
    """One visit of the day."""

    visit: Visit
    administration: Administration  # the patient's
    progress: Progress
    since: datetime | None  # when that began
    non_participation: NonParticipation | None
    is_own: bool  # the person at the desk is this patient's clinician, and must not open the form

    @property
    def version(self) -> str:
        """Changes whenever the row on the page has to change."""
        return f"{self.progress} {self.since and self.since.timestamp()} {self.visit.visit_time}"


@dataclass(frozen=True, slots=True, kw_only=True)
class OwingClinician:
    """A clinician with forms that can still be filled in."""

    clinician: Clinician
    n_forms: int
    oldest: date  # visit
    first_end: datetime  # when the first of the links ends


@dataclass(frozen=True, slots=True, kw_only=True)
class Owing:
    """Who still owes a form, oldest visit first: patients of earlier days, and clinicians."""

    patients: Sequence[Administration]
    n_patients: int
    clinicians: Sequence[OwingClinician]


def day_rows(access: StudyAccess, *, day: date, now: datetime) -> list[DayRow]:
    """The visits of a day in the order of their times; those without a time come last. One query."""
    forms = (
        _patient_forms(access)
        .filter(visit__visit_date=day)
        .order_by(F("visit__visit_time").asc(nulls_last=True), "visit__dyad__clinician__code", "visit")
    )
    rows = []
    for administration in forms[:MOST_VISITS]:
        visit = administration.visit
        non_participation = getattr(visit, "non_participation", None)
        progress = progress_of(administration, non_participation, now=now)
        since = {
            Progress.HANDED_OVER: administration.handed_over_at,
            Progress.ANSWERING: administration.started_at,
            Progress.FINISHED: administration.completed_at,
        }.get(progress)
        user_id = visit.dyad.clinician.user_id
        rows.append(
            DayRow(
                visit=visit,
                administration=administration,
                progress=progress,
                since=since,
                non_participation=non_participation,
                is_own=user_id is not None and user_id == access.user_id,
            )
        )
    return rows


def owing(access: StudyAccess, *, day: date, now: datetime) -> Owing:
    """The forms that are open, of people who take part: patients' of days before this one, clinicians' up to it."""
    patients = _open(_patient_forms(access), now=now).filter(visit__visit_date__lt=day)
    clinicians = (
        _open(_forms(access, Role.CLINICIAN), now=now)
        .filter(visit__visit_date__lte=day)
        .order_by()
        .values("visit__dyad__clinician")
        .annotate(n=Count("pk"), oldest=Min("visit__visit_date"), first_end=Min("expires_at"))
        .order_by("oldest", "first_end")
    )
    counted = {row["visit__dyad__clinician"]: row for row in clinicians}
    of_id = access.clinicians.in_bulk(list(counted))
    return Owing(
        patients=list(patients.order_by("visit__visit_date", "expires_at", "pk")[:MOST_OWING]),
        n_patients=patients.count(),
        clinicians=[
            OwingClinician(clinician=of_id[pk], n_forms=row["n"], oldest=row["oldest"], first_end=row["first_end"])
            for pk, row in counted.items()
        ],
    )


def _forms(access: StudyAccess, role: Role) -> "QuerySet[Administration]":
    forms = Administration.objects.filter(visit__dyad__study=access.study, role=role)
    return access.within_sites(forms, "visit__dyad__clinician__site")


def _patient_forms(access: StudyAccess) -> "QuerySet[Administration]":
    return (
        _forms(access, Role.PATIENT)
        .select_related(
            "visit__dyad__patient", "visit__dyad__clinician__site", "visit__wave", "visit__non_participation"
        )
        .defer("answers")
    )


def _open(forms: "QuerySet[Administration]", *, now: datetime) -> "QuerySet[Administration]":
    unfinished = (Administration.Status.WAITING, Administration.Status.STARTED)
    return forms.filter(status__in=unfinished, expires_at__gt=now, visit__non_participation=None)
