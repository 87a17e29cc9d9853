"""Scores of dyads, the work of making them, and the study-wide figures that the reliable gap rests on."""

import uuid
from collections.abc import Sequence
from typing import Any, Self

from django.db import connections, models
from django.db.models import F
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from studies.leases import Leased, LeaseQuerySet
from studies.models import Clinician, Study, Visit, Wave
from studies.scope import ScopedManager

#: The stamp of a request that was never answered.
NEVER = uuid.UUID(int=0)


class ScoringRequestQuerySet(LeaseQuerySet):
    """Visits whose answers have changed since they were scored."""

    def unfinished(self) -> Self:
        return self.exclude(scored=F("requested"))


class ScoringRequest(Leased):
    """One visit that needs scoring. Each request is a new stamp; `scored` is the stamp of the last one answered.

    Stamps, not counters: an upsert can only set a value, and two questionnaires finished in the same moment must both
    leave the row unanswered.
    """

    visit = models.OneToOneField(Visit, on_delete=models.CASCADE, primary_key=True, related_name="scoring_request")
    requested = models.UUIDField(default=uuid.uuid4)
    scored = models.UUIDField(default=NEVER)
    requested_at = models.DateTimeField(default=timezone.now)

    objects = ScoringRequestQuerySet.as_manager()

    class Meta:
        verbose_name = _("scoring request")
        verbose_name_plural = _("scoring requests")
        indexes = [
            models.Index(fields=["lease_expires_at"], name="scoring_due", condition=~models.Q(scored=F("requested"))),
        ]

    def __str__(self) -> str:
        return f"visit {self.visit_id}"


class GapReference(models.Model):
    """What a study's gaps are held against: mean gap and standard errors of measurement, per form and score.

    `parameters` maps a score id to mean_gap, sem_patient and sem_clinician (in points, 0 to 100) with n, SD and omega
    that they were made from. An analysis run sets it.
    """

    study = models.ForeignKey(Study, on_delete=models.CASCADE, related_name="gap_references")
    form = models.CharField(max_length=20)
    parameters = models.JSONField()
    source = models.CharField(max_length=100)
    set_at = models.DateTimeField(default=timezone.now)

    class Meta:
        verbose_name = _("gap reference")
        verbose_name_plural = _("gap references")
        constraints = [models.UniqueConstraint(fields=["study", "form"], name="gap_reference_once")]

    def __str__(self) -> str:
        return f"{self.study_id} {self.form}"


class DyadScoreQuerySet(models.QuerySet["DyadScore"]):
    """Scores of dyads."""

    def store(self, scores: Sequence["DyadScore"]) -> None:
        """Insert the scores, or replace those that are there, by one prepared statement for all of them.

        `bulk_create(update_conflicts=True)` does the same with a fresh statement for every few dozen rows, and takes
        twice as long for a whole study.
        """
        database = connections[self.db]
        fields = self.model._meta.concrete_fields
        quote = database.ops.quote_name
        names = {field.attname: quote(field.get_attname_column()[1] or field.attname) for field in fields}
        key = names["visit_id"]
        replaced = ", ".join(f"{name} = EXCLUDED.{name}" for name in names.values() if name != key)
        statement = (
            f"INSERT INTO {quote(self.model._meta.db_table)} ({', '.join(names.values())}) "
            f"VALUES ({', '.join(['%s'] * len(names))}) ON CONFLICT ({key}) DO UPDATE SET {replaced}"
        )

        def prepared(field: Any, value: Any) -> Any:
            # What Django's own `get_db_prep_save` does for these fields, at a fifth of its cost.
            if isinstance(field, models.JSONField) and value is not None:
                return database.ops.adapt_json_value(value, None)
            if isinstance(field, models.DateTimeField):
                return database.ops.adapt_datetimefield_value(value)
            return value

        rows = [[prepared(field, getattr(score, field.attname)) for field in fields] for score in scores]
        with database.cursor() as cursor:
            cursor.executemany(statement, rows)


class DyadScoreManager(ScopedManager.from_queryset(DyadScoreQuerySet)):  # type: ignore[misc]
    study_path, site_path = "study", "dyad_clinician__site"


class DyadScore(models.Model):
    """The scores of one visit: both roles' forms and, where the dyad is eligible, what lies between them.

    `patient`, `clinician` and `dyad` hold what `scoring.rules.records` makes; null where that form is not finished.
    The model's five domains stand beside them as columns, so that tables sort and filter without opening records; and
    so does what a table is sorted and filtered by of the visit, which does not change. All of that is in one index: the
    records are long, and reading past those of a hundred thousand dyads takes a second.
    """

    visit = models.OneToOneField(Visit, on_delete=models.CASCADE, primary_key=True, related_name="score")
    study = models.ForeignKey(Study, on_delete=models.CASCADE, related_name="scores")
    dyad_clinician = models.ForeignKey(Clinician, on_delete=models.CASCADE, related_name="+", db_index=False)
    wave = models.ForeignKey(Wave, on_delete=models.CASCADE, related_name="+", db_index=False)
    visit_date = models.DateField()
    dyad_code = models.CharField(max_length=80)
    form = models.CharField(max_length=20)
    is_complete = models.BooleanField()  # both forms finished
    is_eligible = models.BooleanField()
    is_flagged = models.BooleanField()  # a quality flag on either form
    patient = models.JSONField(null=True)
    clinician = models.JSONField(null=True)
    dyad = models.JSONField()
    patient_valuing = models.FloatField(null=True)
    patient_appreciating_power = models.FloatField(null=True)
    patient_abiding = models.FloatField(null=True)
    patient_competence = models.FloatField(null=True)
    patient_outcome = models.FloatField(null=True)
    clinician_valuing = models.FloatField(null=True)
    clinician_appreciating_power = models.FloatField(null=True)
    clinician_abiding = models.FloatField(null=True)
    clinician_competence = models.FloatField(null=True)
    clinician_outcome = models.FloatField(null=True)
    rules_version = models.CharField(max_length=20)
    scored_at = models.DateTimeField()

    objects = DyadScoreManager()

    class Meta:
        verbose_name = _("dyad score")
        verbose_name_plural = _("dyad scores")
        indexes = [
            models.Index(fields=["study", "is_complete"], name="score_by_study"),
            models.Index(
                fields=[
                    "study", "visit_date", "visit", "dyad_code", "dyad_clinician", "wave", "is_complete", "is_eligible",
                    "is_flagged", "patient_valuing", "patient_appreciating_power", "patient_abiding",
                    "patient_competence", "patient_outcome", "clinician_valuing", "clinician_appreciating_power",
                    "clinician_abiding", "clinician_competence", "clinician_outcome",
                ],
                name="score_listing",
            ),
        ]  # fmt: skip

    def __str__(self) -> str:
        return f"visit {self.visit_id}"
