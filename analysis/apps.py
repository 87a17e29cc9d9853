"""Application configuration."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class AnalysisConfig(AppConfig):
    """Analyses, exports and the pages of researchers."""

    name = "analysis"
    verbose_name = _("Analysis")

    def ready(self) -> None:
        """What is counted of a clinician's visits and scores, and what changes the counts."""
        from analysis.overview import count_completeness, sum_scores
        from studies import tallies

        tallies.register("completeness", count_completeness)
        tallies.register("score sums", sum_scores)
        tallies.watch(
            "scoring_dyadscore",
            clinicians="SELECT dyad.clinician_id FROM studies_visit visit "
            "JOIN studies_dyad dyad ON dyad.id = visit.dyad_id WHERE visit.id = {row}.visit_id",
        )
