"""Erasing a person: answers, logs, scores, names and what was typed about them; and doing so again after a restore.

The audit trail stays whole: its lines hold study codes, and what people typed stands beside it. What goes is first
noted in the ledger (`studies.erasure_ledger`).
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from django.contrib.auth.models import User
from django.db import connection, transaction
from django.db.models import QuerySet

from instruments.definitions import Role
from instruments.models import Administration
from instruments.services import answers_taken_away
from instruments.withdrawal import Answers, delete_forms, withdraw
from studies import audit
from studies.erasure_ledger import Entry, append, entries
from studies.identifiers import forget
from studies.models import AuditNote, Clinician, Dyad, EnrolmentDraft, Patient, PatientIdentifiers, Study, Withdrawal

Person = Patient | Clinician


@dataclass(frozen=True, slots=True, kw_only=True)
class Traces:
    """What there is of a person, in counts."""

    n_dyads: int
    n_forms: int
    n_identifiers: int
    n_notes: int

    @property
    def has_any(self) -> bool:
        return bool(self.n_forms or self.n_identifiers or self.n_notes)


def traces(person: Person) -> Traces:
    """What erasing this person would take away."""
    dyads = _dyads(person)
    return Traces(
        n_dyads=dyads.count(),
        n_forms=_forms(person).exclude(status=Administration.Status.WAITING).count(),
        n_identifiers=PatientIdentifiers.objects.filter(pk=person.pk).count() if isinstance(person, Patient) else 0,
        n_notes=len(_notes(person, list(dyads.values_list("code", flat=True)))),
    )


def erase(*, person: Person, actor: User, now: datetime) -> Traces:
    """Erase a person for good, in restored backups as well; what there was.

    Raises `studies.erasure_ledger.BadLedger` when that cannot be noted; nothing is erased then.
    """
    study = person.site.study
    key = "patient" if isinstance(person, Patient) else "clinician"
    append(Entry(kind="erase", study=study.code, site=person.site.code, **{key: person.code}), now=now)
    return _erase(person, actor=actor, action="erase", now=now)


def withdraw_for_good(
    *, dyads: Iterable[Dyad], role: str, reason: str, answers: str, actor: User, now: datetime
) -> list[Withdrawal]:
    """`instruments.withdrawal.withdraw`, in restored backups as well.

    Raises `studies.erasure_ledger.BadLedger` when that cannot be noted; nothing is changed then.
    """
    dyads = list(dyads)
    for dyad in dyads:
        append(
            Entry(
                kind="withdraw",
                study=dyad.study.code,
                site=dyad.clinician.site.code,
                patient=dyad.patient.code,
                clinician=dyad.clinician.code,
                role=role,
                reason=reason,
                answers=answers,
            ),
            now=now,
        )
    return withdraw(dyads=dyads, role=role, reason=reason, answers=answers, actor=actor, now=now)


def apply_ledger(path: Path, *, clock: Callable[[], datetime]) -> dict[str, int]:
    """Do again what the ledger says, wherever it is not done: after a restore, or when an erasure was broken off.

    Returns counts: `entries`, `done_again`, `unknown` (of people whom this database does not have).
    Raises `studies.erasure_ledger.BadLedger`; what came before the bad line is done.
    """
    counts = {"entries": 0, "done_again": 0, "unknown": 0}
    for entry in entries(path):
        counts["entries"] += 1
        outcome = _apply(entry, now=clock())
        if outcome != "done":
            counts[outcome] += 1
    return counts


def shred_free_space() -> None:
    """Let nothing of deleted rows stay in the database's own files: pages that are free, and the write-ahead log.

    SQLite: the file is written anew, which holds up whoever writes meanwhile. PostgreSQL: every table is.
    """
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute("VACUUM")
            cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        else:
            for table in connection.introspection.table_names(cursor):
                cursor.execute(f"VACUUM (FULL) {connection.ops.quote_name(table)}")


@transaction.atomic
def _erase(person: Person, *, actor: User | None, action: str, now: datetime) -> Traces:
    found = traces(person)
    dyads = list(_dyads(person).select_related("study"))
    role = Role.PATIENT if isinstance(person, Patient) else Role.CLINICIAN
    withdraw(
        dyads=dyads,
        role=role,
        reason=Withdrawal.Reason.WISH,
        answers=Answers.ERASE,
        actor=actor,
        now=now,
    )
    visit_ids = list(_forms(person).values_list("visit", flat=True))
    if visit_ids:  # of a withdrawal that a restored database knows, with forms that it should not have
        delete_forms(_forms(person))
        answers_taken_away.send(sender=Withdrawal, visit_ids=visit_ids)
    AuditNote.objects.filter(pk__in=_notes(person, [dyad.code for dyad in dyads])).delete()
    # Lists that wait to be confirmed hold what the front desk's file held, for a day at most.
    EnrolmentDraft.objects.filter(study=person.site.study_id).delete()
    if isinstance(person, Patient):
        forget(patient=person, actor=actor, now=now)
    else:
        Clinician.objects.filter(pk=person.pk).update(characteristics={}, user=None)
    if action == "erase" or found.has_any:
        detail = {
            role.value: person.code,
            "site": person.site.code,
            "dyads": found.n_dyads,
            "forms": found.n_forms,
            "notes": found.n_notes,
        }
        audit.record(study=person.site.study, actor=actor, action=action, detail=detail, now=now)
    return found


def _apply(entry: Entry, *, now: datetime) -> str:
    study = Study.objects.filter(code=entry.study).first()
    if study is None:
        return "unknown"
    if entry.kind == "withdraw":
        dyad = Dyad.objects.filter(
            study=study,
            clinician__site__code=entry.site,
            clinician__code=entry.clinician,
            patient__code=entry.patient,
        ).first()
        if dyad is None:
            return "unknown"
        changed = withdraw(
            dyads=[dyad], role=entry.role, reason=entry.reason, answers=entry.answers, actor=None, now=now
        )
        return "done_again" if changed else "done"
    kind: type[Person] = Patient if entry.patient else Clinician
    person = (
        kind.objects.filter(site__study=study, site__code=entry.site, code=entry.patient or entry.clinician)
        .select_related("site__study")
        .first()
    )
    if person is None:
        return "unknown"
    if entry.kind == "identifiers":
        return "done_again" if forget(patient=person, actor=None, now=now) else "done"  # type: ignore[arg-type]
    return "done_again" if _erase(person, actor=None, action="erase again", now=now).has_any else "done"


def _dyads(person: Person) -> "QuerySet[Dyad]":
    if isinstance(person, Patient):
        return Dyad.objects.filter(patient=person)
    return Dyad.objects.filter(clinician=person)


def _forms(person: Person) -> "QuerySet[Administration]":
    role = Role.PATIENT if isinstance(person, Patient) else Role.CLINICIAN
    forms: QuerySet[Administration] = Administration.with_withdrawn.filter(visit__dyad__in=_dyads(person), role=role)
    return forms


def _notes(person: Person, dyad_codes: list[str]) -> list[int]:
    """The notes of the trail's lines that name this person or one of their dyads."""
    own = {person.code, f"{person.site.code}/{person.code}", *dyad_codes}
    key = "patient" if isinstance(person, Patient) else "clinician"
    notes = AuditNote.objects.filter(event__study=person.site.study_id).select_related("event")
    return [note.pk for note in notes.iterator(chunk_size=500) if _names(note.event.detail, own, key)]


def _names(detail: dict[str, Any], own: set[str], key: str) -> bool:
    named = [detail.get(key), detail.get("dyad"), *(found if isinstance(found := detail.get("found"), list) else ())]
    return any(isinstance(one, str) and one in own for one in named)
