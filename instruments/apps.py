"""Application configuration."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class InstrumentsConfig(AppConfig):
    """Instruments, questionnaires and answers."""

    name = "instruments"
    verbose_name = _("Instruments and answers")
