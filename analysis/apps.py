"""Application configuration."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class AnalysisConfig(AppConfig):
    """Analyses, exports and the pages of researchers."""

    name = "analysis"
    verbose_name = _("Analysis")
