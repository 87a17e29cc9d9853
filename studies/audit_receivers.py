"""Signing in and out, and what superusers change in Django's admin, go into the audit trail as well."""

from typing import Any

from django.contrib.admin.models import LogEntry
from django.contrib.auth import get_user_model
from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.db.models.signals import post_save
from django.dispatch import receiver
from django.utils import timezone

from studies import audit


@receiver(user_logged_in)
def tell_sign_in(sender: Any, user: Any, **kwargs: Any) -> None:
    audit.record(study=None, actor=user, action="sign in", detail={}, now=timezone.now())


@receiver(user_logged_out)
def tell_sign_out(sender: Any, user: Any, **kwargs: Any) -> None:
    if user is not None:
        audit.record(study=None, actor=user, action="sign out", detail={}, now=timezone.now())


@receiver(user_login_failed)
def tell_failed_sign_in(sender: Any, credentials: dict[str, Any], **kwargs: Any) -> None:
    """What was typed is not kept: people type their password into the wrong field."""
    account = get_user_model().objects.filter(username=str(credentials.get("username", ""))[:150]).first()
    detail = {"account": None if account is None else account.pk}
    audit.record(study=None, actor=None, action="sign in failed", detail=detail, now=timezone.now())


@receiver(post_save, sender=LogEntry)
def tell_admin_change(sender: Any, instance: LogEntry, **kwargs: Any) -> None:
    kind = instance.content_type
    audit.record(
        study=None,
        actor=instance.user,
        action="change in Django's admin",
        detail={
            "what": {1: "added", 2: "changed", 3: "deleted"}.get(instance.action_flag, "other"),
            "table": "" if kind is None else f"{kind.app_label}.{kind.model}",
            "id": instance.object_id,
        },
        now=timezone.now(),
    )
