"""Who patients are: names and contact details, sealed, found blindly, and never seen without a line in the trail.

Nothing here is part of a score, an export, an address, a task or a log; lines of the audit trail name the patient's
study code, the fields and the purpose, never what stands in them.
"""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.db import connection, models, transaction
from django.db.models import Count
from django.utils.translation import gettext_lazy as _

from studies import audit
from studies.erasure_ledger import Entry, append
from studies.identifier_keys import CannotOpen, IdentifierKey, KeyRing, ring_of
from studies.models import Patient, PatientIdentifiers, Study

#: Fields by which a patient is found, when the whole value is known.
LOOKED_UP_BY = ("record_number", "email", "name")
#: Rows sealed anew in one transaction.
ROTATION_CHUNK = 1000


class Purpose(models.TextChoices):
    """Why somebody looks."""

    CONTACT = "contact", _("to reach the patient about a visit")
    REQUEST = "request", _("the patient asks about the study")
    WITHDRAWAL = "withdrawal", _("the patient withdraws, or asks for erasure")
    CORRECTION = "correction", _("to correct what stands there")
    SAFETY = "safety", _("somebody's safety")
    OVERSIGHT = "oversight", _("a check by monitors or an authority")


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Identifiers:
    """What is known of one patient; blank where it is not."""

    name: str = ""
    email: str = ""
    phone: str = ""
    record_number: str = ""

    @property
    def fields_given(self) -> list[str]:
        return [name for name, value in asdict(self).items() if value]


def configured_ring() -> KeyRing:
    """The keys of this installation.

    Raises `studies.identifier_keys.BadKeys`.
    """
    return ring_of(text=settings.IDENTIFIER_KEYS, file=settings.IDENTIFIER_KEY_FILE)


@transaction.atomic
def store(*, patient: Patient, identifiers: Identifiers, actor: User, now: datetime) -> None:
    """Keep a patient's identifiers, in the place of any that were there.

    Raises `studies.identifier_keys.BadKeys` when there is no key to seal with.
    """
    row = sealed_row(patient.pk, patient.site.study_id, identifiers, configured_ring())
    is_new = not PatientIdentifiers.objects.filter(pk=patient.pk).exists()
    row.save(force_insert=is_new, force_update=not is_new)
    action = "add identifiers" if is_new else "change identifiers"
    detail = _whose(patient) | {"fields": identifiers.fields_given}
    audit.record(study=patient.site.study, actor=actor, action=action, detail=detail, now=now)


def remove(*, patient: Patient, actor: User | None, now: datetime) -> bool:
    """Delete a patient's identifiers for good, in restored backups as well; whether there were any."""
    study = patient.site.study.code
    append(Entry(kind="identifiers", study=study, site=patient.site.code, patient=patient.code), now=now)
    return forget(patient=patient, actor=actor, now=now)


@transaction.atomic
def forget(*, patient: Patient, actor: User | None, now: datetime) -> bool:
    """Delete a patient's identifiers, which the ledger knows of; whether there were any."""
    n_deleted, _each = PatientIdentifiers.objects.filter(pk=patient.pk).delete()
    if n_deleted:
        audit.record(
            study=patient.site.study, actor=actor, action="delete identifiers", detail=_whose(patient), now=now
        )
    return bool(n_deleted)


def look(*, patient: Patient, purpose: str, actor: User, now: datetime) -> Identifiers:
    """What is known of a patient. The line in the trail is written, and committed, before the box is opened.

    Raises
    ------
    PatientIdentifiers.DoesNotExist
        If nothing is kept of this patient; nothing was looked at, so no line is written.
    studies.identifier_keys.CannotOpen, studies.identifier_keys.BadKeys
        If the key is missing; the line says that somebody tried.
    """
    row = PatientIdentifiers.objects.get(pk=patient.pk)
    detail = _whose(patient) | {"purpose": purpose}
    audit.record(study=patient.site.study, actor=actor, action="look at identifiers", detail=detail, now=now)
    return unsealed_row(row, configured_ring())


def look_up(*, study: Study, field: str, value: str, actor: User, now: datetime) -> list[Patient]:
    """The patients, in the reach of this request, who have exactly this value; the trail says that one was looked for.

    `field` is one of `LOOKED_UP_BY`. Case, accents and spaces don't count. What was typed is kept nowhere.
    """
    indexes = configured_ring().indexes(field, value, scope=_scope(study.pk))
    rows = PatientIdentifiers.objects.filter(patient__site__study=study, **{f"{field}_index__in": indexes})
    found = [row.patient for row in rows.select_related("patient__site", "patient__identifiers").order_by("pk")]
    detail = {"by": field, "found": [f"{patient.site.code}/{patient.code}" for patient in found]}
    audit.record(study=study, actor=actor, action="look up identifiers", detail=detail, now=now)
    return found


# --- other keys ---


def rows_by_key() -> dict[str, int]:
    """How many rows are sealed under each key."""
    counts = PatientIdentifiers.objects.order_by().values("key_id").annotate(n=Count("pk"))
    return {row["key_id"]: row["n"] for row in counts}


def rotate(*, progress: Callable[[int], None] = lambda n_done: None) -> tuple[int, list[int]]:
    """Seal everything that stands under an older key under the newest one; (rows done, patients whose box won't open).

    In chunks, each one transaction: broken off, it goes on where it was. Each new box is opened again and compared
    before its chunk is committed. A row that does not open stays as it is and is told.
    """
    ring = configured_ring()
    n_done, last_pk = 0, 0
    failed: list[int] = []
    while True:
        with transaction.atomic():
            rows = list(
                PatientIdentifiers.objects.select_for_update(of=("self",))
                .exclude(key_id=ring.newest.id)
                .filter(pk__gt=last_pk)
                .select_related("patient__site")
                .order_by("pk")[:ROTATION_CHUNK]
            )
            if not rows:
                return n_done, failed
            last_pk = rows[-1].pk
            renewed = []
            for row in rows:
                try:
                    identifiers = unsealed_row(row, ring)
                    new = sealed_row(row.pk, row.patient.site.study_id, identifiers, ring)
                    if unsealed_row(new, ring) != identifiers:
                        raise CannotOpen("the new box holds something else")
                except (CannotOpen, ValueError, TypeError):
                    failed.append(row.pk)
                else:
                    renewed.append(new)
            _replace(renewed)
        n_done += len(renewed)
        progress(n_done)


def _replace(rows: list[PatientIdentifiers]) -> None:
    """Write the rows by one prepared statement; `bulk_update` lays out a CASE of all values, far slower."""
    columns = ("key_id", "box", *(f"{field}_index" for field in LOOKED_UP_BY))
    quote = connection.ops.quote_name
    changes = ", ".join(f"{quote(column)} = %s" for column in columns)
    statement = f"UPDATE {quote(PatientIdentifiers._meta.db_table)} SET {changes} WHERE patient_id = %s"
    with connection.cursor() as cursor:
        cursor.executemany(statement, [[*(getattr(row, column) for column in columns), row.pk] for row in rows])


def sealed_row(patient_id: int, study_id: int, identifiers: Identifiers, ring: KeyRing) -> PatientIdentifiers:
    """A patient's row under the newest key; not stored yet."""
    key_id, box = ring.seal(json.dumps(asdict(identifiers), ensure_ascii=False), place=_place(patient_id))
    newest: IdentifierKey = ring.newest
    indexes = {
        f"{field}_index": ring.index(field, getattr(identifiers, field), scope=_scope(study_id), key=newest)
        for field in LOOKED_UP_BY
    }
    return PatientIdentifiers(patient_id=patient_id, key_id=key_id, box=box, **indexes)


def unsealed_row(row: PatientIdentifiers, ring: KeyRing) -> Identifiers:
    """What stands in a row.

    Raises `studies.identifier_keys.CannotOpen`.
    """
    return Identifiers(**json.loads(ring.open(row.key_id, bytes(row.box), place=_place(row.pk))))


def _place(patient_id: int) -> str:
    return f"patient {patient_id}"


def _scope(study_id: int) -> str:
    return f"study {study_id}"


def _whose(patient: Patient) -> dict[str, Any]:
    return {"patient": patient.code, "site": patient.site.code}
