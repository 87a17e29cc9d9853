"""Lines that were written before the chain are chained in the order in which they were added."""

import hashlib
import json
from datetime import UTC

from django.apps.registry import Apps
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor


def chain(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    AuditEvent, AuditHead = apps.get_model("studies", "AuditEvent"), apps.get_model("studies", "AuditHead")
    before, sequence = "0" * 64, 0
    for event in AuditEvent.objects.order_by("pk").iterator():
        sequence += 1
        facts = {
            "sequence": sequence,
            "at": event.at.astimezone(UTC).isoformat(timespec="microseconds"),
            "study": event.study_id,
            "actor": event.actor_id,
            "action": event.action,
            "detail": event.detail,
            "old": None,
            "new": None,
            "why": None,
        }
        record = json.dumps(facts, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
        digest = hashlib.sha256(f"{before}\n{record}".encode()).hexdigest()
        AuditEvent.objects.filter(pk=event.pk).update(sequence=sequence, record=record, prev_hash=before, hash=digest)
        before = digest
    AuditHead.objects.update_or_create(pk=1, defaults={"sequence": sequence, "hash": before})


class Migration(migrations.Migration):
    dependencies = [("studies", "0002_audit_chain")]
    operations = [migrations.RunPython(chain, migrations.RunPython.noop)]
