"""Application configuration."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class InstrumentsConfig(AppConfig):
    """Instruments, questionnaires and answers."""

    name = "instruments"
    verbose_name = _("Instruments and answers")

    def ready(self) -> None:
        """What is counted of a clinician's patients, and what changes the counts."""
        from instruments.participation import count_patient_forms
        from studies import tallies

        tallies.register("patients' forms", count_patient_forms)
        tallies.watch(
            "instruments_administration",
            clinicians="SELECT dyad.clinician_id FROM studies_visit visit "
            "JOIN studies_dyad dyad ON dyad.id = visit.dyad_id WHERE visit.id = {row}.visit_id",
            columns=["visit_id", "role", "status", "started_at", "completed_at", "withdrawn_at"],
        )
