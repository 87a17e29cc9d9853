"""Application configuration."""

from django.apps import AppConfig
from django.db.models.signals import post_migrate
from django.utils.translation import gettext_lazy as _


class StudiesConfig(AppConfig):
    """Studies, sites, people and visits."""

    name = "studies"
    verbose_name = _("Studies")

    def ready(self) -> None:
        """Connect the audit trail to signing in and out, and say what changes the counts over visits."""
        from studies import audit_receivers, sessions, tallies  # noqa: F401  importing connects them

        tallies.watch("studies_dyad", clinicians="SELECT {row}.clinician_id", columns=["clinician_id"])
        tallies.watch(
            "studies_visit",
            clinicians="SELECT clinician_id FROM studies_dyad WHERE id = {row}.dyad_id",
            columns=["dyad_id", "wave_id", "form"],
        )
        post_migrate.connect(tallies.prepare, sender=self)
