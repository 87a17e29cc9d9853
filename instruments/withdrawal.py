"""One side of a dyad takes part no more: nothing new is asked, and the answers so far are kept, set apart or erased."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Q, QuerySet

from instruments.definitions import Role
from instruments.models import Administration, AnswerEvent, Consent, HandOver, PaperEntry
from instruments.services import answers_taken_away
from studies import audit
from studies.models import Dyad, DyadLabel, Study, Withdrawal

Answers = Withdrawal.Answers
#: From the mildest to the strictest: a later withdrawal can only become stricter.
_STRICTNESS = [Answers.KEEP.value, Answers.EXCLUDE.value, Answers.ERASE.value]


@dataclass(frozen=True, slots=True, kw_only=True)
class Consequences:
    """What a withdrawal of one side would touch, in counts of questionnaires."""

    n_dyads: int
    n_finished: int  # of the person's own
    n_open: int  # that would be asked no more, the partner's where it is the patient who withdraws


def offered_answers(study: Study) -> list[str]:
    """What may become of the answers: all of it, or the one thing that the study's consent text promises."""
    return list(Answers.values) if study.withdrawn_answers == "ask" else [study.withdrawn_answers]


def dyads_of_the_same_person(dyad: Dyad, role: str) -> "QuerySet[Dyad]":
    """Every dyad, in reach of the request, of the dyad's patient or clinician in the study, this one included."""
    same = Q(patient=dyad.patient_id) if role == Role.PATIENT else Q(clinician=dyad.clinician_id)
    return Dyad.objects.filter(same, study=dyad.study_id).order_by("pk")


def consequences(dyads: Sequence[Dyad], role: str) -> Consequences:
    """What `withdraw` would touch."""
    forms = Administration.objects.filter(visit__dyad__in=dyads)
    done = Administration.Status.COMPLETED
    return Consequences(
        n_dyads=len(dyads),
        n_finished=forms.filter(role=role, status=done).count(),
        n_open=forms.filter(role__in=_stopped(role), status__in=Administration.UNFINISHED).count(),
    )


@transaction.atomic
def withdraw(
    *, dyads: Sequence[Dyad], role: str, reason: str, answers: str, actor: User | None, now: datetime
) -> list[Withdrawal]:
    """Stop asking, and do with the answers so far what `answers` says. Returns what was new or became stricter.

    When a patient withdraws the clinician is asked about the patient no more; when a clinician does, the patient may
    finish what is open. What the partner has finished is kept, without a pair where this side's answers are gone.
    """
    changed = []
    for dyad in dyads:
        withdrawal, is_new = Withdrawal.objects.select_for_update().get_or_create(
            dyad=dyad,
            role=role,
            defaults={"reason": reason, "answers": answers, "withdrawn_at": now, "recorded_by": actor},
        )
        if not is_new and _STRICTNESS.index(withdrawal.answers) >= _STRICTNESS.index(answers):
            continue
        withdrawal.answers = answers
        withdrawal.save(update_fields=["answers"])
        n_forms = _stop_and_take_away(dyad, role, answers, now=now)
        detail = {"dyad": dyad.code, "role": role, "reason": withdrawal.reason, "answers": answers, "forms": n_forms}
        audit.record(
            study=dyad.study,
            actor=actor,
            action="withdraw",
            detail=detail,
            now=now,
        )
        # Whatever became of the answers: what is left is scored again, and says who withdrew.
        answers_taken_away.send(sender=Withdrawal, visit_ids=list(dyad.visits.values_list("pk", flat=True)))
        changed.append(withdrawal)
    return changed


def _stopped(role: str) -> list[str]:
    return [Role.PATIENT.value, Role.CLINICIAN.value] if role == Role.PATIENT else [role]


def _stop_and_take_away(dyad: Dyad, role: str, answers: str, *, now: datetime) -> int:
    """Nothing is asked any more, and this side's answers go out of use or away; how many questionnaires were."""
    forms = Administration.with_withdrawn.select_for_update(of=("self",)).filter(visit__dyad=dyad)
    done = Administration.Status.COMPLETED
    open_forms = forms.filter(role__in=_stopped(role), withdrawn_at=None).exclude(status=done)
    HandOver.objects.filter(administration__in=open_forms.values("pk"), taken_at=None, ended_at=None).update(
        ended_at=now
    )
    open_forms.update(withdrawn_at=now)
    if role == Role.PATIENT:
        DyadLabel.objects.filter(dyad=dyad).delete()
    own = forms.filter(role=role)
    if answers == Answers.KEEP:
        return 0
    if answers == Answers.EXCLUDE:
        return int(own.filter(withdrawn_at=None).update(withdrawn_at=now))
    return delete_forms(own)


def delete_forms(forms: "QuerySet[Administration]") -> int:
    """Delete questionnaires with their answers, answer logs, consents and paper entries; how many."""
    ids = list(forms.values_list("pk", flat=True))
    AnswerEvent.objects.filter(administration__in=ids).delete()
    Consent.objects.filter(administration__in=ids).delete()
    PaperEntry.objects.filter(administration__in=ids).delete()
    Administration.with_withdrawn.filter(pk__in=ids).delete()
    return len(ids)
