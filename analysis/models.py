"""Analyses: what was asked for, how far it is, and what came out."""

from typing import Any, Self

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


class AnalysisPlan(models.Model):
    """One version of what a study means to test; the newest counts. Rows are only ever added (a trigger refuses more).

    `confirmatory` names the models that are tested; whatever else is looked at is exploratory.
    """

    study = models.ForeignKey(Study, on_delete=models.PROTECT, related_name="analysis_plans")
    number = models.PositiveIntegerField()
    text = models.TextField()
    confirmatory = models.JSONField(default=list)  # names, in the order written
    text_hash = models.CharField(max_length=64)  # SHA-256 of the text and the names
    why = models.CharField(max_length=500, blank=True)
    written_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+")
    written_at = models.DateTimeField()

    class Meta:
        verbose_name = _("analysis plan")
        verbose_name_plural = _("analysis plans")
        ordering = ["study_id", "-number"]
        constraints = [models.UniqueConstraint(fields=["study", "number"], name="analysis_plan_number_once")]

    def __str__(self) -> str:
        return f"analysis plan {self.number}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Add the row; there is no changing one."""
        kwargs["force_insert"] = True
        super().save(*args, **kwargs)
