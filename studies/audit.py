"""The one door to the audit trail."""

from datetime import datetime
from typing import Any

from django.contrib.auth.models import User

from studies.models import AuditEvent, Study


def record(*, study: Study | None, actor: User | None, action: str, detail: dict[str, Any], now: datetime) -> None:
    """Add one line. `detail` holds codes and counts, never an answer or a name."""
    AuditEvent.objects.create(study=study, actor=actor, action=action, detail=detail, at=now)
