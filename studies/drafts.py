"""Lists that were read and wait to be confirmed by the person who chose them."""

from datetime import date, datetime, timedelta
from uuid import UUID

from django.contrib.auth.models import User

from studies.models import EnrolmentDraft, Study

KEPT = timedelta(days=1)


def keep_draft(*, key: UUID, study: Study, user: User, day: date, content: bytes, now: datetime) -> None:
    """Keep the file under its key; drafts older than a day go."""
    EnrolmentDraft.objects.filter(made_at__lt=now - KEPT).delete()
    EnrolmentDraft.objects.create(key=key, study=study, user=user, day=day, content=content, made_at=now)


def open_draft(*, key: UUID, study: Study, user: User) -> EnrolmentDraft | None:
    """The draft, if this person made it in this study and has not confirmed it yet."""
    return EnrolmentDraft.objects.filter(key=key, study=study, user_id=user.pk).first()


def discard_draft(draft: EnrolmentDraft) -> None:
    """It was confirmed."""
    draft.delete()
