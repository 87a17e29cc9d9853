"""Analyses: what was asked for, how far it is, and what came out."""

from typing import Self

from django.conf import settings
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from studies.leases import Leased, LeaseQuerySet
from studies.models import Study


class AnalysisRunQuerySet(LeaseQuerySet):
    """Runs by state."""

    def unfinished(self) -> Self:
        return self.filter(status__in=(AnalysisRun.Status.WAITING, AnalysisRun.Status.RUNNING))


class AnalysisRun(Leased):
    """One analysis of one form of a study, with everything needed to repeat it."""

    class Status(models.TextChoices):
        WAITING = "waiting", _("Waiting")
        RUNNING = "running", _("Running")
        DONE = "done", _("Done")
        FAILED = "failed", _("Failed")

    study = models.ForeignKey(Study, on_delete=models.CASCADE, related_name="analysis_runs")
    form = models.CharField(_("form"), max_length=20)
    n_factors = models.PositiveSmallIntegerField(_("number of factors"), null=True, blank=True)
    exclude_flagged = models.BooleanField(_("leave out flagged forms"), default=False)
    seed = models.PositiveIntegerField(_("seed"))
    requested_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+")
    requested_at = models.DateTimeField(default=timezone.now)
    status = models.CharField(max_length=10, choices=Status, default=Status.WAITING)
    progress = models.FloatField(default=0)  # share done, 0 to 1
    progress_note = models.CharField(max_length=200, blank=True, default="")
    data_digest = models.CharField(max_length=64, blank=True, default="")
    versions = models.JSONField(default=dict)
    result = models.JSONField(null=True)
    finished_at = models.DateTimeField(null=True)

    objects = AnalysisRunQuerySet.as_manager()

    class Meta:
        verbose_name = _("analysis")
        verbose_name_plural = _("analyses")
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"analysis {self.pk}"

    @property
    def is_finished(self) -> bool:
        return self.status in (self.Status.DONE, self.Status.FAILED)
