"""The denominator: who was offered to take part, who declined or could not, who started and who finished."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Count, FilteredRelation, Q

from instruments.definitions import Role
from instruments.models import Administration
from studies import audit, tallies
from studies.access import StudyAccess
from studies.models import Clinician, NonParticipation, Study, Visit, Withdrawal


@dataclass(frozen=True, slots=True, kw_only=True)
class Participation:
    """One clinician's patients, in counts. Offered are those with a visit and those whom the staff noted as declining.

    Declined: those noted, and those who declined themselves when their visit's questionnaire asked for consent.
    """

    clinician: Clinician
    n_offered: int = 0
    n_started: int = 0
    n_finished: int = 0
    n_declined: int = 0
    n_ineligible: int = 0
    n_withdrawn: int = 0  # patients, of those with a visit
    reasons: Mapping[str, int] = field(default_factory=dict)  # reason in words -> people

    @property
    def share_started(self) -> float | None:
        """Of those who were offered to take part, 0 to 1."""
        return self.n_started / self.n_offered if self.n_offered else None


def participation(access: StudyAccess) -> list[Participation]:
    """Every clinician whom this person may see; five queries whatever the size of the study."""
    clinicians = list(access.clinicians)
    counts = tallies.figures("patients' forms", [clinician.pk for clinician in clinicians])
    refusals: dict[int, Counter[tuple[str, str]]] = {}
    rows = access.within_sites(NonParticipation.objects.filter(clinician__site__study=access.study), "clinician__site")
    by_reason = rows.order_by().values("clinician", "outcome", "reason")
    for row in by_reason.annotate(n=Count("pk"), n_visits=Count("visit")):
        refusals.setdefault(row["clinician"], Counter())[row["outcome"], row["reason"]] += row["n"]
        # A visit that was made and then declined counts once, and not among the visits.
        counts[row["clinician"]]["n_visits"] -= row["n_visits"]
    left = access.within_sites(
        Withdrawal.objects.filter(dyad__study=access.study, role=Withdrawal.Role.PATIENT), "dyad__clinician__site"
    )
    n_withdrawn = Counter(left.order_by().values_list("dyad__clinician", flat=True))
    words = dict(NonParticipation.Reason.choices)
    found = []
    for clinician in clinicians:
        count = counts[clinician.pk]
        refused: Counter[tuple[str, str]] = refusals.get(clinician.pk, Counter())
        by_outcome: Counter[str] = Counter()
        reasons: Counter[str] = Counter()
        for (outcome, reason), n in refused.items():
            by_outcome[outcome] += n
            if reason:
                reasons[str(words.get(reason, reason))] += n
        found.append(
            Participation(
                clinician=clinician,
                n_offered=count["n_visits"] + by_outcome[NonParticipation.Outcome.DECLINED],
                n_started=count["n_started"],
                n_finished=count["n_finished"],
                n_declined=count["n_declined"] + by_outcome[NonParticipation.Outcome.DECLINED],
                n_withdrawn=n_withdrawn[clinician.pk],
                n_ineligible=by_outcome[NonParticipation.Outcome.INELIGIBLE],
                reasons=dict(reasons.most_common()),
            )
        )
    return found


def count_patient_forms(clinician_ids: Sequence[int]) -> dict[int, dict[str, int]]:
    """Of each clinician's patients: n_visits, n_started, n_finished, n_declined. One query."""
    done = Administration.Status.COMPLETED
    rows = (
        Visit.objects.filter(dyad__clinician__in=clinician_ids)
        .annotate(
            # Joins at most one row to a visit, so that counting visits stays right.
            patient_form=FilteredRelation("administrations", condition=Q(administrations__role="patient"))
        )
        .order_by()
        .values("dyad__clinician")
        .annotate(
            n_visits=Count("pk"),
            n_started=Count("pk", filter=Q(patient_form__started_at__isnull=False) | Q(patient_form__status=done)),
            n_finished=Count("pk", filter=Q(patient_form__status=done)),
            n_declined=Count("pk", filter=Q(patient_form__status=Administration.Status.DECLINED)),
        )
    )
    counted = {pk: {"n_visits": 0, "n_started": 0, "n_finished": 0, "n_declined": 0} for pk in clinician_ids}
    for row in rows:
        counted[row["dyad__clinician"]] = {
            "n_visits": row["n_visits"],
            "n_started": row["n_started"],
            "n_finished": row["n_finished"],
            "n_declined": row["n_declined"],
        }
    return counted


@transaction.atomic
def note_non_participation(
    *,
    study: Study,
    clinician: Clinician,
    day: date,
    outcome: str,
    reason: str,
    n_people: int,
    actor: User,
    now: datetime,
) -> None:
    """Keep that so many people do not take part, and why."""
    NonParticipation.objects.bulk_create(
        NonParticipation(
            clinician=clinician, day=day, outcome=outcome, reason=reason, recorded_by=actor, recorded_at=now
        )
        for _ in range(n_people)
    )
    detail = {"clinician": clinician.code, "site": clinician.site.code, "outcome": outcome, "reason": reason}
    audit.record(study=study, actor=actor, action="not taking part", detail=detail | {"people": n_people}, now=now)


class VisitUnderWay(Exception):
    """The patient has begun or finished: what was answered stays, so nothing was noted."""


@transaction.atomic
def note_visit_declined(
    *, study: Study, visit_id: int, outcome: str, reason: str, actor: User, now: datetime
) -> NonParticipation:
    """Keep that the patient of this visit does not take part; both its forms are closed until that is taken back.

    Saying it again says it anew. Raises `VisitUnderWay` when the patient has begun the form.
    """
    forms = _locked_forms(visit_id)
    patient_form = next(one for one in forms if one.role == Role.PATIENT)
    if patient_form.status != Administration.Status.WAITING:
        raise VisitUnderWay
    visit = Visit.objects.select_related("dyad__clinician__site", "wave").get(pk=visit_id)
    noted, _is_new = NonParticipation.objects.update_or_create(
        visit=visit,
        defaults={
            "clinician": visit.dyad.clinician,
            "day": visit.visit_date,
            "outcome": outcome,
            "reason": reason,
            "recorded_by": actor,
            "recorded_at": now,
        },
    )
    _open_until(forms, now)
    detail = {"dyad": visit.dyad.code, "wave": visit.wave.code, "outcome": outcome, "reason": reason}
    audit.record(study=study, actor=actor, action="not taking part", detail=detail, now=now)
    return noted


@transaction.atomic
def take_part_after_all(*, study: Study, visit_id: int, actor: User, now: datetime) -> bool:
    """Take back that the patient does not take part: the same links open again. Whether there was anything."""
    forms = _locked_forms(visit_id)
    noted = NonParticipation.objects.filter(visit=visit_id).select_related("visit__dyad", "visit__wave").first()
    if noted is None or noted.visit is None:
        return False
    detail = {"dyad": noted.visit.dyad.code, "wave": noted.visit.wave.code}
    noted.delete()
    _open_until(forms, now + timedelta(days=study.link_valid_days))
    audit.record(study=study, actor=actor, action="taking part after all", detail=detail, now=now)
    return True


def _locked_forms(visit_id: int) -> list[Administration]:
    return list(Administration.objects.select_for_update().filter(visit=visit_id).order_by("pk"))


def _open_until(forms: list[Administration], moment: datetime) -> None:
    """Finished forms are left as they are."""
    for form in forms:
        if not form.is_completed:
            form.expires_at = moment
            form.save(update_fields=["expires_at"])
