"""What workers do for the studies."""

import logging

from celery import shared_task
from django.conf import settings
from django.utils import timezone

from studies import audit, email_sign_in, heartbeats, tallies
from studies.audit_anchors import write_anchor

logger = logging.getLogger(__name__)


@shared_task
def anchor_audit() -> None:
    """Note the end of the audit trail in its file, and in the log, which is often kept elsewhere."""
    logger.info("audit anchor %s", write_anchor(settings.AUDIT_ANCHOR_FILE, audit.head(), now=timezone.now()))
    heartbeats.beat("audit anchor", now=timezone.now())


@shared_task
def note_alive(name: str) -> None:
    """A worker of this queue lives, and so does the beat that asks it."""
    heartbeats.beat(name, now=timezone.now())


@shared_task
def refresh_tallies() -> None:
    """Count again what has changed; what does not fit into two seconds waits for the next time."""
    tallies.refresh(clock=timezone.now, seconds=2)


@shared_task
def send_sign_in_links() -> None:
    """Send the sign-in links that were asked for."""
    email_sign_in.send_asked(clock=timezone.now)
