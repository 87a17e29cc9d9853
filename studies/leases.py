"""Work that must happen is a row with a lease: who has claimed it, and until when.

A message to a worker carries only the row's id and is a nudge; losing it, sending it twice or out of order changes
nothing, because a claim is one conditional UPDATE and a finished claim counts only for the worker that still holds it.
A periodic sweep sends whatever is due again.
"""

from datetime import datetime, timedelta
from typing import Any, Self

from django.db import models
from django.db.models import F, Q


class LeaseQuerySet(models.QuerySet[Any]):
    """Rows of work. A subclass says in `unfinished` which rows still need doing."""

    def unfinished(self) -> Self:
        """Rows whose work is not done, claimed or not."""
        raise TypeError(f"{type(self).__name__} must say which of its rows are unfinished.")

    def due(self, *, now: datetime) -> Self:
        """Rows that need doing and that nobody holds."""
        return self.unfinished().filter(Q(lease_expires_at=None) | Q(lease_expires_at__lte=now))

    def claim(self, *, pk: int, owner: str, now: datetime, seconds: int) -> bool:
        """Take the row if it is due; True for exactly one of any number of simultaneous callers."""
        return (
            self.due(now=now)
            .filter(pk=pk)
            .update(lease_owner=owner, lease_expires_at=now + timedelta(seconds=seconds), attempts=F("attempts") + 1)
            == 1
        )

    def held(self, *, pk: int, owner: str) -> Self:
        """The row, if this owner's claim is still the latest one."""
        return self.unfinished().filter(pk=pk, lease_owner=owner)


class Leased(models.Model):
    """The columns of a lease."""

    lease_owner = models.CharField(max_length=200, blank=True, default="")
    lease_expires_at = models.DateTimeField(null=True, blank=True)
    attempts = models.PositiveIntegerField(default=0)
    error = models.TextField(blank=True, default="")

    class Meta:
        abstract = True
