"""What was asked and what was answered: released instrument versions, administrations and the answer log."""

import hashlib
import secrets
from datetime import datetime
from typing import Any, Self

from django.conf import settings
from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from instruments.definitions import Instrument, Role
from instruments.questionnaire import Questionnaire
from instruments.released import released_instrument
from studies.leases import Leased, LeaseQuerySet
from studies.models import Clinician, ConsentText, Device, Dyad, Study, Visit
from studies.scope import ScopedManager


def new_token() -> str:
    """A fresh secret for one questionnaire's link: 128 random bits."""
    return secrets.token_urlsafe(16)


def hash_token(token: str) -> str:
    """What the database keeps of a token: enough to recognise it, not enough to use it."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


class InstrumentVersion(models.Model):
    """A released version: its text as released, frozen by the hash of its content."""

    code = models.CharField(max_length=60)
    version = models.CharField(max_length=20)
    content = models.TextField()
    content_hash = models.CharField(max_length=64)
    released_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        verbose_name = _("instrument version")
        verbose_name_plural = _("instrument versions")
        ordering = ["code", "version"]
        constraints = [models.UniqueConstraint(fields=["code", "version"], name="instrument_version_once")]

    def __str__(self) -> str:
        return f"{self.code} {self.version}"

    @property
    def instrument(self) -> Instrument:
        """The definition, read once per process (a released version never changes)."""
        return released_instrument(self.content_hash, lambda: self.content)


def instrument_with_hash(content_hash: str) -> Instrument:
    """The released definition with this content hash (it covers code and version, so there is one)."""
    return released_instrument(
        content_hash,
        lambda: InstrumentVersion.objects.values_list("content", flat=True).get(content_hash=content_hash),
    )


class AdministrationQuerySet(models.QuerySet["Administration"]):
    """Which questionnaires."""

    def with_token(self, token: str) -> Self:
        """The questionnaire that a link's secret opens."""
        return self.filter(token_hash=hash_token(token))

    def for_answering(self) -> Self:
        """With all that a questionnaire page shows, in one query."""
        return self.select_related("instrument_version", "visit__wave", "visit__dyad__study").defer(
            "instrument_version__content"
        )


class AllAdministrationsManager(ScopedManager.from_queryset(AdministrationQuerySet)):  # type: ignore[misc]
    study_path, site_path = "visit__dyad__study", "visit__dyad__clinician__site"


class AdministrationManager(AllAdministrationsManager):
    """Without those of people who withdrew: no list, score, export or link comes upon them by forgetting a filter."""

    def get_queryset(self) -> AdministrationQuerySet:
        rows: AdministrationQuerySet = super().get_queryset().filter(withdrawn_at=None)
        return rows


class Administration(models.Model):
    """One questionnaire given to one person: the current answers, compact.

    `answers` maps an item or question code to a value or to the reason for its absence
    (`instruments.definitions.Absence`). How they came to be is in the answer log.
    """

    class Status(models.TextChoices):
        WAITING = "waiting", _("Not started")
        STARTED = "started", _("Started")
        COMPLETED = "completed", _("Completed")
        DECLINED = "declined", pgettext_lazy("status of a form", "Declined")

    class CannotRate(models.TextChoices):
        """Why a clinician does not rate a patient: a fixed list, so that nobody types a name."""

        UNKNOWN = "unknown", _("I do not know this patient well enough")
        WRONG_PATIENT = "wrong_patient", _("This is not my patient")
        LEFT = "left", _("The patient has left the practice")
        OTHER = "other", _("Another reason")

    UNFINISHED = (Status.WAITING, Status.STARTED)

    class Mode(models.TextChoices):
        WEB = "web", _("Web")
        IMPORTED = "imported", _("Imported")
        PAPER = "paper", _("Paper")

    visit = models.ForeignKey(Visit, on_delete=models.PROTECT, related_name="administrations")
    role = models.CharField(max_length=10, choices=[(role.value, role.value) for role in Role])
    instrument_version = models.ForeignKey(InstrumentVersion, on_delete=models.PROTECT, related_name="+")
    form = models.CharField(max_length=20)
    language = models.CharField(max_length=8, blank=True, default="")
    mode = models.CharField(max_length=10, choices=Mode, default=Mode.WEB)
    status = models.CharField(max_length=10, choices=Status, default=Status.WAITING)
    token_hash = models.CharField(max_length=64, unique=True)
    expires_at = models.DateTimeField()
    #: When the front desk last gave a tablet with this questionnaire into the patient's hand.
    handed_over_at = models.DateTimeField(null=True, blank=True)
    started_at = models.DateTimeField(null=True, blank=True)
    completed_at = models.DateTimeField(null=True, blank=True)
    answers = models.JSONField(default=dict)
    last_sequence = models.PositiveIntegerField(default=0)
    median_item_seconds = models.FloatField(null=True, blank=True)
    #: Which order of the items is shown (`instruments.questionnaire.ordered_items`), and that order, code by code; None
    #: where it is the form's own. Answers are kept by code all the same.
    order_number = models.PositiveSmallIntegerField(null=True, editable=False)
    item_order = models.JSONField(null=True, editable=False)
    #: Why a clinician declined to rate; None everywhere else.
    cannot_rate = models.CharField(max_length=20, choices=CannotRate, null=True, editable=False)
    #: The eight characters that open it as well (`instruments.codes`): how they are recognised, and the link they open.
    code_hash = models.CharField(max_length=64, null=True, blank=True, editable=False, db_index=True)
    token_box = models.CharField(max_length=64, null=True, blank=True, editable=False)

    #: Since when it is out of use, because its side of the dyad withdrew (`instruments.withdrawal`).
    withdrawn_at = models.DateTimeField(null=True, editable=False)

    objects = AdministrationManager()
    with_withdrawn = AllAdministrationsManager()

    class Meta:
        verbose_name = _("administration")
        verbose_name_plural = _("administrations")
        constraints = [
            models.UniqueConstraint(fields=["visit", "role"], name="one_administration_per_role"),
            models.CheckConstraint(
                condition=models.Q(status="completed", completed_at__isnull=False)
                | (~models.Q(status="completed") & models.Q(completed_at=None)),
                name="completed_has_a_time",
            ),
        ]
        #: Who owes a form is a small part of all.
        indexes = [models.Index(fields=["status", "visit"], name="form_by_status")]

    def __str__(self) -> str:
        return f"{self.role} form of visit {self.visit_id}"

    @property
    def instrument(self) -> Instrument:
        return self.instrument_version.instrument

    @property
    def questionnaire(self) -> Questionnaire:
        """The order of asking; needs `visit__wave` loaded to know whether this is a follow-up."""
        follow_up = self.visit.wave.is_follow_up
        return questionnaire_of(self.instrument, self.form, Role(self.role), follow_up, self.order_number)

    @property
    def is_completed(self) -> bool:
        return self.status == self.Status.COMPLETED

    @property
    def is_declined(self) -> bool:
        """Whether the patient, asked for consent, would rather not take part."""
        return self.role == Role.PATIENT and self.status == self.Status.DECLINED

    @property
    def awaits_consent(self) -> bool:
        """Whether the patient has to be asked first; needs `visit__dyad__study` loaded."""
        return (
            self.role == Role.PATIENT
            and self.status == self.Status.WAITING
            and self.visit.dyad.study.consent == Study.Consent.HERE
        )

    @property
    def languages(self) -> tuple[str, ...]:
        """In which it is offered: the study's choice of the instrument's, and the one in which it was begun."""
        return study_languages(self.visit.dyad.study, self.instrument, begun_in=self.language)

    @property
    def is_under_way_with_patient(self) -> bool:
        """Whether a patient has given answers that are not final yet: only the patient's own link may show them."""
        return self.role == Role.PATIENT and self.status == self.Status.STARTED

    def is_expired(self, *, now: datetime) -> bool:
        return now >= self.expires_at


def study_languages(study: Study, instrument: Instrument, *, begun_in: str = "") -> tuple[str, ...]:
    """The languages in which a study asks, in the instrument's order; `begun_in` stays among them."""
    chosen = study.languages
    offered = instrument.languages
    return tuple(one for one in offered if not chosen or one in chosen or one == begun_in) or offered


_QUESTIONNAIRES: dict[tuple[str, str, Role, bool, int | None], Questionnaire] = {}


def questionnaire_of(
    instrument: Instrument, form: str, role: Role, follow_up: bool, order_number: int | None = None
) -> Questionnaire:
    """Kept per process: laying out the pages costs more than serving one."""
    key = (instrument.content_hash, form, role, follow_up, order_number)
    if key not in _QUESTIONNAIRES:
        _QUESTIONNAIRES[key] = Questionnaire(
            instrument=instrument, form=form, role=role, follow_up=follow_up, order_number=order_number
        )
    return _QUESTIONNAIRES[key]


class AnswerEvent(models.Model):
    """One line of the answer log: every answer and change in the order of giving. Rows are never changed.

    The unique pair (administration, sequence) makes a repeated delivery harmless.
    """

    administration = models.ForeignKey(Administration, on_delete=models.PROTECT, related_name="events")
    sequence = models.PositiveIntegerField()
    item = models.CharField(max_length=40)
    value = models.JSONField(encoder=DjangoJSONEncoder)
    language = models.CharField(max_length=8)
    client_time = models.DateTimeField(null=True, blank=True)
    received_at = models.DateTimeField()
    #: How the answer was given, as the page's script saw it (`instruments.delivery.read_paradata`); None without one.
    paradata = models.JSONField(null=True, blank=True)

    class Meta:
        verbose_name = _("answer event")
        verbose_name_plural = _("answer events")
        ordering = ["administration_id", "sequence"]
        constraints = [models.UniqueConstraint(fields=["administration", "sequence"], name="answer_sequence_once")]

    def __str__(self) -> str:
        return f"{self.administration_id}#{self.sequence} {self.item}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Add the row; the database's trigger refuses to change one."""
        kwargs["force_insert"] = True
        super().save(*args, **kwargs)


class RatingPassQuerySet(models.QuerySet["RatingPass"]):
    """Which passes."""

    def in_use(self) -> Self:
        """Those of people who are the dyad's clinician still."""
        return self.filter(administration__visit__dyad__clinician__user=models.F("user"), user__is_active=True)


class RatingPassManager(ScopedManager.from_queryset(RatingPassQuerySet)):  # type: ignore[misc]
    study_path, site_path = "administration__visit__dyad__study", "administration__visit__dyad__clinician__site"


class RatingPass(models.Model):
    """A second way into a clinician's questionnaire, for the clinician who is signed in: a link given by e-mail stays.

    It opens nothing any more once the account is not the dyad's clinician's.
    """

    administration = models.ForeignKey(Administration, on_delete=models.CASCADE, related_name="passes")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    token_hash = models.CharField(max_length=64, unique=True)
    made_at = models.DateTimeField()

    objects = RatingPassManager()

    class Meta:
        verbose_name = _("pass of a clinician")
        verbose_name_plural = _("passes of clinicians")

    def __str__(self) -> str:
        return f"pass to {self.administration_id}"


class ConsentManager(ScopedManager["Consent"]):
    study_path, site_path = "administration__visit__dyad__study", "administration__visit__dyad__clinician__site"


class Consent(models.Model):
    """One answer to the question whether to take part: which text was read, in which language, and what was said.

    Rows are only ever added; the database's trigger refuses to change one. The newest row of a questionnaire counts.
    """

    administration = models.ForeignKey(Administration, on_delete=models.PROTECT, related_name="consents")
    text = models.ForeignKey(ConsentText, on_delete=models.PROTECT, related_name="consents")
    text_hash = models.CharField(max_length=64)  # as it was read, whatever becomes of the other row
    language = models.CharField(max_length=8)
    is_given = models.BooleanField()
    decided_at = models.DateTimeField()

    objects = ConsentManager()

    class Meta:
        verbose_name = _("consent")
        verbose_name_plural = _("consents")
        ordering = ["administration_id", "pk"]

    def __str__(self) -> str:
        return f"{self.administration_id} {'agreed' if self.is_given else 'declined'}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Add the row; there is no changing one."""
        kwargs["force_insert"] = True
        super().save(*args, **kwargs)


class FormDrawManager(ScopedManager["FormDraw"]):
    study_path, site_path = "clinician__site__study", "clinician__site"


class FormDraw(models.Model):
    """Which of a clinician's patients get the long form from the clinician: drawn once, before the first visit.

    `places` are the numbers, counted from 1 in the order in which patients come, that were drawn of `n_planned`.
    """

    clinician = models.OneToOneField(Clinician, on_delete=models.CASCADE, related_name="form_draw")
    seed = models.BigIntegerField()
    n_planned = models.PositiveSmallIntegerField()
    places = models.JSONField()
    n_taken = models.PositiveIntegerField(default=0)
    drawn_at = models.DateTimeField()

    objects = FormDrawManager()

    class Meta:
        verbose_name = _("draw of long forms")
        verbose_name_plural = _("draws of long forms")

    def __str__(self) -> str:
        return f"draw of clinician {self.clinician_id}"


class DrawnFormManager(ScopedManager["DrawnForm"]):
    study_path, site_path = "dyad__study", "dyad__clinician__site"


class DrawnForm(models.Model):
    """What the draw gave one dyad, at its first visit and for good."""

    dyad = models.OneToOneField(Dyad, on_delete=models.CASCADE, related_name="drawn_form")
    draw = models.ForeignKey(FormDraw, on_delete=models.CASCADE, related_name="drawn")
    place = models.PositiveIntegerField()
    is_long = models.BooleanField()

    objects = DrawnFormManager()

    class Meta:
        verbose_name = _("drawn form")
        verbose_name_plural = _("drawn forms")
        constraints = [models.UniqueConstraint(fields=["draw", "place"], name="place_in_draw_once")]

    def __str__(self) -> str:
        return f"place {self.place} of draw {self.draw_id}"


class ReminderMailQuerySet(LeaseQuerySet):
    """Mails to send."""

    def unfinished(self) -> Self:
        """Those that no mail server was asked to take: what was handed over may have arrived, and never goes again."""
        return self.filter(sending_at=None)


class ReminderMail(Leased):
    """One clinician's mail of one day: the row is claimed before anything is sent, so there is one a day at most."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    day = models.DateField()
    made_at = models.DateTimeField()
    sending_at = models.DateTimeField(null=True)
    sent_at = models.DateTimeField(null=True)

    objects = models.Manager.from_queryset(ReminderMailQuerySet)()

    class Meta:
        verbose_name = _("reminder by e-mail")
        verbose_name_plural = _("reminders by e-mail")
        constraints = [models.UniqueConstraint(fields=["user", "day"], name="one_reminder_mail_a_day")]

    def __str__(self) -> str:
        return f"reminder to {self.user_id} on {self.day}"


class ReminderManager(ScopedManager["Reminder"]):
    study_path, site_path = "administration__visit__dyad__study", "administration__visit__dyad__clinician__site"


class Reminder(models.Model):
    """The first or second reminder of one questionnaire, and the mail that carries it."""

    administration = models.ForeignKey(Administration, on_delete=models.CASCADE, related_name="reminders")
    number = models.PositiveSmallIntegerField()
    mail = models.ForeignKey(ReminderMail, on_delete=models.CASCADE, related_name="reminders")

    objects = ReminderManager()

    class Meta:
        verbose_name = _("reminder")
        verbose_name_plural = _("reminders")
        constraints = [
            models.UniqueConstraint(fields=["administration", "number"], name="each_reminder_once"),
            models.CheckConstraint(condition=models.Q(number__in=[1, 2]), name="first_or_second_reminder"),
        ]

    def __str__(self) -> str:
        return f"reminder {self.number} of {self.administration_id}"


class PaperEntryManager(ScopedManager["PaperEntry"]):
    study_path, site_path = "administration__visit__dyad__study", "administration__visit__dyad__clinician__site"


class PaperEntry(models.Model):
    """What one person typed of a paper form. Two by different people make the questionnaire's answers."""

    administration = models.ForeignKey(Administration, on_delete=models.PROTECT, related_name="paper_entries")
    place = models.PositiveSmallIntegerField()  # 1 or 2, in the order of typing
    entered_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    entered_at = models.DateTimeField()
    language = models.CharField(max_length=8)
    completed_on = models.DateField()
    answers = models.JSONField(default=dict)

    objects = PaperEntryManager()

    class Meta:
        verbose_name = _("paper entry")
        verbose_name_plural = _("paper entries")
        ordering = ["administration_id", "place"]
        constraints = [
            models.UniqueConstraint(fields=["administration", "place"], name="paper_entry_place_once"),
            models.UniqueConstraint(fields=["administration", "entered_by"], name="paper_entry_person_once"),
            models.CheckConstraint(condition=models.Q(place__in=[1, 2]), name="paper_entry_first_or_second"),
        ]

    def __str__(self) -> str:
        return f"{self.administration_id} typed {self.place}"


class HandOverManager(ScopedManager["HandOver"]):
    study_path, site_path = "device__site__study", "device__site"


class HandOver(models.Model):
    """One patient's questionnaire on one tablet: the front desk asks, the tablet takes it once, the PIN ends it.

    While it is taken and not ended, the tablet opens this questionnaire and no other page of a patient.
    """

    device = models.ForeignKey(Device, on_delete=models.PROTECT, related_name="hand_overs")
    administration = models.ForeignKey(Administration, on_delete=models.CASCADE, related_name="hand_overs")
    #: None when the patient typed a code or opened a link on the tablet.
    asked_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+")
    asked_at = models.DateTimeField()
    taken_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)
    #: The questionnaire's secret, sealed with the tablet's own: only that tablet can open it again.
    token_box = models.TextField(blank=True)
    token_hash = models.CharField(max_length=64, blank=True)  # of the same: a link that was replaced leads nowhere

    objects = HandOverManager()

    class Meta:
        verbose_name = _("hand-over")
        verbose_name_plural = _("hand-overs")
        ordering = ["-pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["device"], condition=models.Q(taken_at=None, ended_at=None), name="one_asked_per_device"
            ),
            models.UniqueConstraint(
                fields=["device"],
                condition=models.Q(taken_at__isnull=False, ended_at=None),
                name="one_taken_per_device",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.administration_id} on device {self.device_id}"


class CodeGuess(models.Model):
    """One wrong code, by the browser that it came from: what slows down whoever tries them all."""

    browser = models.CharField(max_length=40, db_index=True)  # "" for all that were never let in
    at = models.DateTimeField()

    class Meta:
        verbose_name = _("wrong code")
        verbose_name_plural = _("wrong codes")

    def __str__(self) -> str:
        return f"{self.at:%Y-%m-%d %H:%M}"
