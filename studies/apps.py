"""Application configuration."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class StudiesConfig(AppConfig):
    """Studies, sites, people and visits."""

    name = "studies"
    verbose_name = _("Studies")

    def ready(self) -> None:
        """Connect the audit trail to signing in and out."""
        from studies import audit_receivers, sessions  # noqa: F401  importing connects them
