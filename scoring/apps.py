"""Application configuration."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class ScoringConfig(AppConfig):
    """From answers to scores."""

    name = "scoring"
    verbose_name = _("Scoring")

    def ready(self) -> None:
        """Listen for completed questionnaires."""
        from scoring import receivers  # noqa: F401  connects on import; only possible once the apps are ready
