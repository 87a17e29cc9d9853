"""The one door to the audit trail, and the way to check it."""

import secrets
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Model

from studies.audit_chain import GENESIS, Anchor, ChainLine, chain_problems, line_hash, line_text, line_time, note_digest
from studies.models import AuditEvent, AuditHead, AuditNote, Study

CHUNK = 2000


@transaction.atomic
def record(
    *,
    study: Study | None,
    actor: User | None,
    action: str,
    detail: Mapping[str, Any],
    now: datetime,
    old: Mapping[str, Any] | None = None,
    new: Mapping[str, Any] | None = None,
    why: str = "",
) -> AuditEvent:
    """Add one line to the chain, in the transaction of the change that it tells of.

    `detail`, `old` and `new` hold codes, settings and counts, never an answer or a name. `why` is free text that
    somebody typed; it is kept beside the chain, where it can be erased.
    """
    # Whoever holds the head's row is alone at the end of the chain until the transaction is over.
    head, _is_new = AuditHead.objects.select_for_update().get_or_create(pk=1, defaults={"sequence": 0, "hash": GENESIS})
    sequence = head.sequence + 1
    salt = secrets.token_hex(16)
    facts = {
        "sequence": sequence,
        "at": line_time(now),
        "study": None if study is None else study.pk,
        "actor": None if actor is None else actor.pk,
        "action": action,
        "detail": dict(detail),
        "old": None if old is None else dict(old),
        "new": None if new is None else dict(new),
        "why": note_digest(salt, why) if why else None,
    }
    text = line_text(facts)
    event = AuditEvent.objects.create(
        sequence=sequence,
        record=text,
        prev_hash=head.hash,
        hash=line_hash(head.hash, text),
        at=now,
        study=study,
        actor=actor,
        action=action,
    )
    if why:
        AuditNote.objects.create(event=event, salt=salt, text=why)
    AuditHead.objects.filter(pk=head.pk).update(sequence=sequence, hash=event.hash)
    return event


def stored_values(row: Model, fields: Iterable[str]) -> dict[str, Any]:
    """What the database holds of a row now, for the `old` of a change."""
    columns = {field: row._meta.get_field(field).attname for field in fields}  # type: ignore[union-attr]
    values = type(row)._base_manager.filter(pk=row.pk).values(*columns.values()).first() or {}
    return {field: values.get(column) for field, column in columns.items()}


def new_values(row: Model, fields: Iterable[str]) -> dict[str, Any]:
    """The same of the row in hand, for the `new` of a change."""
    return {field: getattr(row, row._meta.get_field(field).attname) for field in fields}  # type: ignore[union-attr]


def head() -> Anchor:
    """How long the trail is, and its last hash: what an anchor notes."""
    row = AuditHead.objects.filter(pk=1).first()
    return Anchor(sequence=0, hash=GENESIS) if row is None else Anchor(sequence=row.sequence, hash=row.hash)


def lines() -> Iterator[ChainLine]:
    """The whole trail in order, read in pieces."""
    events = AuditEvent.objects.order_by("sequence").select_related("note")
    for event in events.iterator(chunk_size=CHUNK):
        note = getattr(event, "note", None)
        yield ChainLine(
            sequence=event.sequence,
            record=event.record,
            prev_hash=event.prev_hash,
            hash=event.hash,
            at=event.at,
            study_id=event.study_id,
            actor_id=event.actor_id,
            action=event.action,
            note=None if note is None else note.text,
            note_salt=None if note is None else note.salt,
        )


def problems(anchors: Iterable[Anchor] = ()) -> Iterator[str]:
    """What is wrong with the stored trail; nothing when it is whole."""
    # The end first: lines that are added meanwhile come after it and are not missed by it.
    end = head()
    upto = (line for line in lines() if line.sequence <= end.sequence)
    return chain_problems(upto, head=end, anchors=list(anchors))
