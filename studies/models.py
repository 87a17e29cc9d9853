"""Who and where: studies, sites, the people in them, and the visits at which a dyad is asked."""

import json
import secrets
from typing import Any

from django.conf import settings
from django.core.validators import RegexValidator
from django.db import models
from django.utils import timezone
from django.utils.functional import cached_property
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from studies.scope import ScopedManager

code_validator = RegexValidator(
    r"^[A-Za-z0-9][A-Za-z0-9_-]*\Z",
    _("Use letters, digits, hyphens and underscores, beginning with a letter or digit."),
)


def new_seed() -> int:
    """A seed for a study's lots: kept, so that they can be cast again."""
    return secrets.randbits(62)


class Study(models.Model):
    """One research project: its instrument, its languages and how long its links stay open."""

    class Status(models.TextChoices):
        DRAFT = "draft", _("In preparation")
        OPEN = "open", _("Open")
        CLOSED = "closed", _("Closed")

    class Consent(models.TextChoices):
        HERE = "here", _("Asked here, before the first question")
        OUTSIDE = "outside", _("Taken outside this platform, for example on paper")

    class ClinicianForm(models.TextChoices):
        SAME = "same", _("The patient's form")
        SHORT = "short", _("The short form")
        SOME = "some", _("The short form; the patient's form about some patients, drawn at random")

    code = models.CharField(_("code"), max_length=30, unique=True, validators=[code_validator])
    title = models.CharField(_("title"), max_length=200)
    is_synthetic = models.BooleanField(
        _("synthetic data"), default=False, help_text=_("Marks every page and every export: not evidence about people.")
    )
    instrument_code = models.CharField(_("instrument"), max_length=60, default="healing-relationships")
    instrument_version = models.CharField(_("instrument version"), max_length=20, default="1.0")
    default_form = models.CharField(_("form"), max_length=20, default="full")
    drawn_form = models.CharField(
        _("form of a random sub-sample of patients"),
        max_length=20,
        blank=True,
        default="",
        help_text=_("Some patients, drawn by lot, get it instead; a patient keeps the form at every wave."),
    )
    drawn_percent = models.PositiveSmallIntegerField(_("share of patients drawn, per cent"), default=25)
    shuffles_items = models.BooleanField(
        _("sentences in random order"),
        default=False,
        help_text=_("Drawn for each patient, within the parts of the questionnaire; only where its version allows it."),
    )
    draw_seed = models.PositiveBigIntegerField(default=new_seed, editable=False)
    link_valid_days = models.PositiveSmallIntegerField(
        _("days a link stays open"), default=30, help_text=_("A questionnaire can be answered until then.")
    )
    status = models.CharField(_("status"), max_length=10, choices=Status, default=Status.OPEN)
    clinician_form = models.CharField(
        _("clinicians answer"), max_length=10, choices=ClinicianForm, default=ClinicianForm.SAME
    )
    n_full_form_patients = models.PositiveSmallIntegerField(
        _("patients drawn for each clinician"),
        default=3,
        help_text=_("About them the clinician answers the long form."),
    )
    n_planned_patients = models.PositiveSmallIntegerField(
        _("patients planned for each clinician"),
        default=20,
        help_text=_(
            "The draw is among that many; later patients get the short form. Fixed at a clinician's first visit."
        ),
    )
    first_reminder_days = models.PositiveSmallIntegerField(
        _("first reminder to the clinician, days after the visit was made"),
        null=True,
        blank=True,
        default=3,
        help_text=_("By e-mail, with a count and no patient's data. Blank: none."),
    )
    second_reminder_days = models.PositiveSmallIntegerField(
        _("second reminder, days after the visit was made"), null=True, blank=True, default=7
    )
    keeps_identifiers = models.BooleanField(
        _("keep names and contact details"),
        default=False,
        help_text=_("Encrypted and apart, for those with the right to see them. Without it patients are codes only."),
    )
    #: In which of its questionnaire's languages the study asks; empty: in all of them.
    languages = models.JSONField(_("languages"), default=list, blank=True)
    consent = models.CharField(_("patients' consent"), max_length=10, choices=Consent, default=Consent.OUTSIDE)

    withdrawn_answers = models.CharField(
        _("answers of people who withdraw"),
        max_length=10,
        choices=[
            ("ask", _("as the person wishes")),
            ("keep", _("are kept and used")),
            ("exclude", _("are kept apart, out of every analysis")),
            ("erase", _("are erased")),
        ],
        default="ask",
        help_text=_("As the consent text promises. It is what the page of a withdrawal offers."),
    )
    #: How often the settings were changed after the study had opened; each change has its reason in the audit trail.
    n_amendments = models.PositiveIntegerField(default=0, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        verbose_name = _("study")
        verbose_name_plural = _("studies")
        ordering = ["code"]

    def __str__(self) -> str:
        return self.title


class SiteManager(ScopedManager["Site"]):
    study_path, site_path = "study", "pk"


class Site(models.Model):
    """A practice or clinic of a study."""

    study = models.ForeignKey(Study, on_delete=models.PROTECT, related_name="sites")
    code = models.CharField(_("code"), max_length=20, validators=[code_validator])
    name = models.CharField(_("name"), max_length=200)
    target_dyads = models.PositiveIntegerField(_("target number of dyads"), default=0)
    target_date = models.DateField(
        _("to be reached by"), null=True, blank=True, help_text=_("Blank: the overview shows no expected number.")
    )
    allows_private_labels = models.BooleanField(
        _("private labels"),
        default=False,
        help_text=_("Clinicians may give each of their patients a label that only they see. It is kept encrypted."),
    )

    objects = SiteManager()

    class Meta:
        verbose_name = _("site")
        verbose_name_plural = _("sites")
        ordering = ["code"]
        constraints = [models.UniqueConstraint(fields=["study", "code"], name="site_code_unique_in_study")]

    def __str__(self) -> str:
        return self.name


class ConsentText(models.Model):
    """One version of what a patient reads before agreeing, in one language: the study's, or one site's own.

    The newest version of a place and language counts. A site's version without text ends its own: the study's counts
    again. Rows are only ever added; the database's trigger refuses to change one.
    """

    study = models.ForeignKey(Study, on_delete=models.PROTECT, related_name="consent_texts")
    site = models.ForeignKey(Site, on_delete=models.PROTECT, null=True, related_name="consent_texts")
    language = models.CharField(max_length=8)
    number = models.PositiveIntegerField()
    text = models.TextField(blank=True)
    text_hash = models.CharField(max_length=64)  # SHA-256 of the text in UTF-8
    why = models.CharField(max_length=500, blank=True)
    written_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+")
    written_at = models.DateTimeField()

    class Meta:
        verbose_name = _("consent text")
        verbose_name_plural = _("consent texts")
        ordering = ["study_id", "site_id", "language", "number"]
        constraints = [
            models.UniqueConstraint(
                fields=["study", "language", "number"], condition=models.Q(site=None), name="consent_text_number_once"
            ),
            models.UniqueConstraint(fields=["site", "language", "number"], name="consent_text_number_once_at_site"),
            models.CheckConstraint(
                condition=~models.Q(text="") | models.Q(site__isnull=False), name="study_consent_text_not_blank"
            ),
        ]

    def __str__(self) -> str:
        return f"consent text {self.language} {self.number}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Add the row; there is no changing one."""
        kwargs["force_insert"] = True
        super().save(*args, **kwargs)


class Member(models.Model):
    """What a signed-in person may do in a study; a coordinator's right can be held to one site."""

    class Role(models.TextChoices):
        ADMIN = "admin", _("Study admin")
        COORDINATOR = "coordinator", _("Site coordinator")
        CLINICIAN = "clinician", _("Clinician")
        RESEARCHER = "researcher", _("Researcher")
        AUDITOR = "auditor", _("Auditor")

    class Export(models.TextChoices):
        IDENTIFIED = "identified", _("with study codes and dates")
        DEIDENTIFIED = "deidentified", _("de-identified")
        NONE = "none", _("none")

    study = models.ForeignKey(Study, on_delete=models.CASCADE, related_name="members")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(_("role"), max_length=20, choices=Role)
    site = models.ForeignKey(Site, on_delete=models.CASCADE, null=True, blank=True, related_name="members")
    #: What a researcher may take away as a file; an admin may take everything, other roles nothing.
    export = models.CharField(_("downloads"), max_length=15, choices=Export, default=Export.IDENTIFIED)
    #: Whether this person may look up and see patients' names and contact details; no role brings it.
    sees_identifiers = models.BooleanField(_("sees names and contact details"), default=False)

    class Meta:
        verbose_name = _("member")
        verbose_name_plural = _("members")
        constraints = [
            models.UniqueConstraint(
                fields=["study", "user", "role"], condition=models.Q(site=None), name="member_role_once_in_study"
            ),
            models.UniqueConstraint(fields=["study", "user", "role", "site"], name="member_role_once_at_site"),
            models.CheckConstraint(
                condition=~models.Q(role="coordinator") | models.Q(site__isnull=False), name="coordinator_has_a_site"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.user} ({self.get_role_display()})"


class Invitation(models.Model):
    """A role that waits for somebody to take it up, by a link in an e-mail. Only the link's hash is kept."""

    study = models.ForeignKey(Study, on_delete=models.CASCADE, related_name="invitations")
    email = models.EmailField(_("e-mail address"))
    role = models.CharField(_("role"), max_length=20, choices=Member.Role)
    export = models.CharField(_("downloads"), max_length=15, choices=Member.Export, default=Member.Export.NONE)
    site = models.ForeignKey(Site, on_delete=models.CASCADE, null=True, blank=True, related_name="+")
    clinician = models.ForeignKey("Clinician", on_delete=models.CASCADE, null=True, blank=True, related_name="+")
    token_hash = models.CharField(max_length=64, unique=True)
    invited_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    invited_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    taken_at = models.DateTimeField(null=True)

    class Meta:
        verbose_name = _("invitation")
        verbose_name_plural = _("invitations")
        ordering = ["-pk"]

    def __str__(self) -> str:
        return f"{self.get_role_display()} ({self.study_id})"


class SecondFactor(models.Model):
    """An account's second factor: the secret of its app (sealed), and the recovery codes that are left (hashed)."""

    user = models.OneToOneField(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, primary_key=True, related_name="second_factor"
    )
    secret = models.TextField()
    recovery_hashes = models.JSONField(default=list)
    confirmed_at = models.DateTimeField(null=True)
    last_step = models.BigIntegerField(default=-1)  # of the code used last: none opens twice
    failures = models.PositiveIntegerField(default=0)
    blocked_until = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"second factor of {self.user_id}"


class EmailSignIn(models.Model):
    """A link that signs a clinician in once, asked for on the sign-in page and sent by a worker.

    The row is the queue: a worker mints the link's secret when it claims the row, and only the hash is kept.
    """

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    language = models.CharField(max_length=8)  # of the page on which it was asked for
    asked_at = models.DateTimeField()
    token_hash = models.CharField(max_length=64, null=True, unique=True)
    expires_at = models.DateTimeField(null=True)
    used_at = models.DateTimeField(null=True)

    class Meta:
        verbose_name = _("sign-in link")
        verbose_name_plural = _("sign-in links")
        indexes = [models.Index(fields=["user", "asked_at"], name="sign_in_links_of_user")]

    def __str__(self) -> str:
        return f"sign-in link of {self.user_id}"


class SignInFailures(models.Model):
    """Wrong passwords in a row for one account: in one browser that it knows, or (blank) in all others together."""

    account = models.CharField(max_length=64)
    browser = models.CharField(max_length=32, blank=True)
    failures = models.PositiveIntegerField(default=0)
    last_at = models.DateTimeField()
    blocked_until = models.DateTimeField(null=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["account", "browser"], name="sign_in_failures_once")]

    def __str__(self) -> str:
        return f"{self.failures} failures"


class ClinicianManager(ScopedManager["Clinician"]):
    study_path, site_path = "site__study", "site"


class Clinician(models.Model):
    """A clinician who is rated and who rates; `user` is set when the clinician can sign in."""

    site = models.ForeignKey(Site, on_delete=models.PROTECT, related_name="clinicians")
    code = models.CharField(_("study code"), max_length=20, validators=[code_validator])
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="clinicians"
    )
    characteristics = models.JSONField(default=dict, blank=True)

    objects = ClinicianManager()

    class Meta:
        verbose_name = _("clinician")
        verbose_name_plural = _("clinicians")
        ordering = ["code"]
        constraints = [models.UniqueConstraint(fields=["site", "code"], name="clinician_code_unique_in_site")]

    def __str__(self) -> str:
        return self.code


class TallyManager(ScopedManager["Tally"]):
    study_path, site_path = "clinician__site__study", "clinician__site"


class Tally(models.Model):
    """What a query counted over all visits of a clinician, kept until something changes (`studies.tallies`)."""

    clinician = models.ForeignKey(Clinician, on_delete=models.CASCADE, related_name="tallies")
    kind = models.CharField(max_length=40)
    figures = models.JSONField()

    objects = TallyManager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["clinician", "kind"], name="tally_once")]

    def __str__(self) -> str:
        return f"{self.kind} of {self.clinician_id}"


class TallyMark(models.Model):
    """Something changed of this clinician's since it was counted. Written by triggers, in the change's transaction."""

    clinician_id = models.BigIntegerField(db_index=True)

    def __str__(self) -> str:
        return f"{self.clinician_id} changed"


class PatientManager(ScopedManager["Patient"]):
    study_path, site_path = "site__study", "site"


class Patient(models.Model):
    """A patient, known here by a study code only."""

    site = models.ForeignKey(Site, on_delete=models.PROTECT, related_name="patients")
    code = models.CharField(_("study code"), max_length=40, validators=[code_validator])

    objects = PatientManager()

    class Meta:
        verbose_name = _("patient")
        verbose_name_plural = _("patients")
        ordering = ["code"]
        constraints = [models.UniqueConstraint(fields=["site", "code"], name="patient_code_unique_in_site")]

    def __str__(self) -> str:
        return self.code


class DeviceManager(ScopedManager["Device"]):
    study_path, site_path = "site__study", "site"


class Device(models.Model):
    """A site's tablet that patients answer on. It opens what is handed over to it, and holds no staff session.

    Its secrets are kept as hashes: the one in its cookie, and until that is made, the link and code that enrol it.
    """

    site = models.ForeignKey(Site, on_delete=models.PROTECT, related_name="devices")
    name = models.CharField(_("name"), max_length=40)
    #: What the front desk types to get the tablet back from a patient; wrong ones are slowed down on this tablet alone.
    pin_hash = models.CharField(max_length=128)
    pin_failures = models.PositiveIntegerField(default=0)
    pin_blocked_until = models.DateTimeField(null=True)
    added_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    added_at = models.DateTimeField()
    enrol_hash = models.CharField(max_length=64, null=True, unique=True)
    enrol_code_hash = models.CharField(max_length=64, null=True, unique=True)
    enrol_until = models.DateTimeField(null=True)
    token_hash = models.CharField(max_length=64, null=True, unique=True)
    enrolled_at = models.DateTimeField(null=True)
    last_seen_at = models.DateTimeField(null=True)
    revoked_at = models.DateTimeField(null=True)
    #: As the tablet last reported: answers that wait on it, and those that the server would not take.
    n_unsent = models.PositiveIntegerField(default=0)
    unsent_since = models.DateTimeField(null=True)
    n_refused = models.PositiveIntegerField(default=0)  # since somebody noted them
    refused_counter = models.PositiveIntegerField(default=0)  # the tablet's own count, which only grows
    reported_at = models.DateTimeField(null=True)

    objects = DeviceManager()

    class Meta:
        verbose_name = _("tablet")
        verbose_name_plural = _("tablets")
        ordering = ["site__code", "name"]
        constraints = [
            models.UniqueConstraint(
                fields=["site", "name"], condition=models.Q(revoked_at=None), name="device_name_once_at_site"
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def is_enrolled(self) -> bool:
        """Whether questionnaires can be handed over to it."""
        return self.enrolled_at is not None and self.revoked_at is None


class PatientIdentifiersManager(ScopedManager["PatientIdentifiers"]):
    study_path, site_path = "patient__site__study", "patient__site"


class PatientIdentifiers(models.Model):
    """Who a patient is, sealed: see `studies.identifiers`. The columns beside the box find an exact value, blindly."""

    patient = models.OneToOneField(Patient, on_delete=models.PROTECT, primary_key=True, related_name="identifiers")
    key_id = models.CharField(max_length=16, db_index=True)
    box = models.BinaryField()
    name_index = models.CharField(max_length=64, blank=True, db_index=True)
    email_index = models.CharField(max_length=64, blank=True, db_index=True)
    record_number_index = models.CharField(max_length=64, blank=True, db_index=True)

    objects = PatientIdentifiersManager()

    class Meta:
        verbose_name = _("patient's identifiers")
        verbose_name_plural = _("patients' identifiers")

    def __str__(self) -> str:
        return f"sealed identifiers of {self.patient_id}"


class DyadManager(ScopedManager["Dyad"]):
    study_path, site_path = "study", "clinician__site"


class Dyad(models.Model):
    """One patient with one clinician: the relationship that both are asked about."""

    study = models.ForeignKey(Study, on_delete=models.PROTECT, related_name="dyads")
    clinician = models.ForeignKey(Clinician, on_delete=models.PROTECT, related_name="dyads")
    patient = models.ForeignKey(Patient, on_delete=models.PROTECT, related_name="dyads")
    code = models.CharField(_("dyad"), max_length=80)

    objects = DyadManager()

    class Meta:
        verbose_name = _("dyad")
        verbose_name_plural = _("dyads")
        ordering = ["code"]
        constraints = [
            models.UniqueConstraint(fields=["clinician", "patient"], name="dyad_once"),
            models.UniqueConstraint(fields=["study", "code"], name="dyad_code_unique_in_study"),
        ]

    def __str__(self) -> str:
        return self.code


class DyadLabelManager(ScopedManager["DyadLabel"]):
    study_path, site_path = "dyad__study", "dyad__clinician__site"


class DyadLabel(models.Model):
    """What one clinician calls one patient in the own list: sealed, shown to nobody else, in no export."""

    dyad = models.ForeignKey(Dyad, on_delete=models.CASCADE, related_name="labels")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    sealed_text = models.TextField()

    objects = DyadLabelManager()

    class Meta:
        verbose_name = _("private label")
        verbose_name_plural = _("private labels")
        constraints = [models.UniqueConstraint(fields=["dyad", "user"], name="dyad_label_once")]

    def __str__(self) -> str:
        return f"label of dyad {self.dyad_id}"


#: Names that the platform itself gives to waves; shown in the page's language.
OWN_WAVE_NAMES = {"Baseline": _("Baseline"), "Follow-up": pgettext_lazy("wave", "Follow-up")}


class Wave(models.Model):
    """A planned time of asking: baseline, retest, follow-up."""

    study = models.ForeignKey(Study, on_delete=models.PROTECT, related_name="waves")
    code = models.CharField(_("code"), max_length=20, validators=[code_validator])
    label = models.CharField(_("name"), max_length=100)
    position = models.PositiveSmallIntegerField(_("position"), default=0)
    is_follow_up = models.BooleanField(_("follow-up"), default=False)
    from_days = models.PositiveSmallIntegerField(
        _("window opens, days after the first visit"), null=True, blank=True, help_text=_("Blank: no window.")
    )
    to_days = models.PositiveSmallIntegerField(_("window closes, days after the first visit"), null=True, blank=True)

    class Meta:
        verbose_name = _("wave")
        verbose_name_plural = _("waves")
        ordering = ["position", "code"]
        constraints = [models.UniqueConstraint(fields=["study", "code"], name="wave_code_unique_in_study")]

    def __str__(self) -> str:
        return self.name

    @property
    def name(self) -> str:
        """The label, in the page's language where it is one of the platform's own."""
        return str(OWN_WAVE_NAMES.get(self.label, self.label))

    @property
    def has_window(self) -> bool:
        return self.from_days is not None or self.to_days is not None

    def takes(self, days: int) -> bool:
        """Whether a visit so many days after the dyad's first one is within the window; any day where there is none."""
        return (self.from_days or 0) <= days and (self.to_days is None or days <= self.to_days)


class VisitManager(ScopedManager["Visit"]):
    study_path, site_path = "dyad__study", "dyad__clinician__site"


class Visit(models.Model):
    """One dyad at one wave: what the two matched questionnaires belong to."""

    dyad = models.ForeignKey(Dyad, on_delete=models.PROTECT, related_name="visits")
    wave = models.ForeignKey(Wave, on_delete=models.PROTECT, related_name="visits")
    form = models.CharField(_("form"), max_length=20)
    visit_date = models.DateField(_("visit date"))
    visit_time = models.TimeField(_("time"), null=True, blank=True)  # of the appointment, where the day's list says it
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    #: Which page's form asked for it: sent twice, it makes one visit.
    request_key = models.UUIDField(null=True, unique=True, editable=False)

    objects = VisitManager()

    class Meta:
        verbose_name = _("visit")
        verbose_name_plural = _("visits")
        ordering = ["-visit_date", "-id"]
        constraints = [models.UniqueConstraint(fields=["dyad", "wave"], name="visit_once_per_wave")]
        indexes = [models.Index(fields=["visit_date", "dyad"], name="visit_by_day")]

    def __str__(self) -> str:
        return f"{self.dyad_id}/{self.wave_id}"


class WithdrawalManager(ScopedManager["Withdrawal"]):
    study_path, site_path = "dyad__study", "dyad__clinician__site"


class Withdrawal(models.Model):
    """One side of a dyad that takes part no more: nothing new is asked, and what became of the answers so far."""

    class Role(models.TextChoices):
        PATIENT = "patient", _("the patient")
        CLINICIAN = "clinician", _("the clinician")

    class Answers(models.TextChoices):
        KEEP = "keep", _("keep and use what was answered until now")
        EXCLUDE = "exclude", _("keep it apart, out of every analysis and export")
        ERASE = "erase", _("erase it")

    class Reason(models.TextChoices):
        WISH = "wish", _("the person's own wish")
        ILLNESS = "illness", _("illness")
        LEFT = "left", _("left the practice or moved away")
        DEATH = "death", _("death")
        INELIGIBLE = "ineligible", _("found not eligible afterwards")
        OTHER = "other", _("another reason")

    dyad = models.ForeignKey(Dyad, on_delete=models.PROTECT, related_name="withdrawals")
    role = models.CharField(max_length=10, choices=Role)
    reason = models.CharField(_("reason"), max_length=12, choices=Reason)
    answers = models.CharField(max_length=10, choices=Answers)
    withdrawn_at = models.DateTimeField()
    recorded_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+")

    objects = WithdrawalManager()

    class Meta:
        verbose_name = _("withdrawal")
        verbose_name_plural = _("withdrawals")
        ordering = ["-withdrawn_at", "-pk"]
        constraints = [models.UniqueConstraint(fields=["dyad", "role"], name="withdrawn_once")]

    def __str__(self) -> str:
        return f"{self.role} of dyad {self.dyad_id}"


class RetentionRules(models.Model):
    """How long after a study's end what is kept of it: months, or for ever (None)."""

    study = models.OneToOneField(Study, on_delete=models.CASCADE, primary_key=True, related_name="retention")
    ends_on = models.DateField(_("end of the study"), help_text=_("The months below count from this day."))
    identifiers_months = models.PositiveSmallIntegerField(
        _("names and contact details, months"), null=True, blank=True, help_text=_("Blank: they are kept.")
    )
    paper_months = models.PositiveSmallIntegerField(
        _("what was typed of finished paper forms, months"),
        null=True,
        blank=True,
        help_text=_("The two entries; the answers that they agreed on stay. Blank: they are kept."),
    )
    log_months = models.PositiveSmallIntegerField(
        _("answer logs with their times and devices, months"),
        null=True,
        blank=True,
        help_text=_("Of finished forms; the answers themselves stay. Blank: they are kept."),
    )
    tablets_months = models.PositiveSmallIntegerField(
        _("which form was on which tablet, months"), null=True, blank=True, help_text=_("Blank: it is kept.")
    )

    class Meta:
        verbose_name = _("retention rules")
        verbose_name_plural = _("retention rules")

    def __str__(self) -> str:
        return f"retention of {self.study_id}"


class RetentionOrder(models.Model):
    """What somebody saw in the preview and confirmed: so many rows up to this id, on that day. No more ever goes."""

    study = models.ForeignKey(Study, on_delete=models.CASCADE, related_name="retention_orders")
    rule = models.CharField(max_length=20)
    due_on = models.DateField()
    n_rows = models.PositiveIntegerField()
    last_id = models.BigIntegerField()
    confirmed_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+")
    confirmed_at = models.DateTimeField()
    applied_at = models.DateTimeField(null=True)

    class Meta:
        verbose_name = _("retention order")
        verbose_name_plural = _("retention orders")
        constraints = [
            models.UniqueConstraint(
                fields=["study", "rule"], condition=models.Q(applied_at=None), name="one_open_order_per_rule"
            )
        ]

    def __str__(self) -> str:
        return f"{self.rule} of study {self.study_id}"


class NonParticipationManager(ScopedManager["NonParticipation"]):
    study_path, site_path = "clinician__site__study", "clinician__site"


class NonParticipation(models.Model):
    """Somebody who was asked, or considered, and does not take part: for the denominator, by study code at most."""

    class Outcome(models.TextChoices):
        DECLINED = "declined", _("Declined")
        INELIGIBLE = "ineligible", _("Not eligible")

    class Reason(models.TextChoices):
        NO_TIME = "no_time", _("no time")
        NOT_INTERESTED = "not_interested", _("not interested")
        PRIVACY = "privacy", _("privacy")
        UNWELL = "unwell", _("too unwell")
        AGE = "age", _("too young")
        LANGUAGE = "language", _("language not offered")
        CAPACITY = "capacity", _("cannot consent")
        TAKES_PART_ALREADY = "takes_part_already", _("takes part already")
        OTHER = "other", _("another reason")

    clinician = models.ForeignKey(Clinician, on_delete=models.PROTECT, related_name="non_participations")
    #: Set when a visit had been made: its links are closed then, and it counts here in place of among the visits.
    visit = models.OneToOneField(
        Visit, on_delete=models.PROTECT, null=True, editable=False, related_name="non_participation"
    )
    day = models.DateField(_("day"))
    outcome = models.CharField(_("outcome"), max_length=12, choices=Outcome)
    reason = models.CharField(_("reason"), max_length=20, choices=Reason, blank=True)
    recorded_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    recorded_at = models.DateTimeField()

    objects = NonParticipationManager()

    class Meta:
        verbose_name = _("person who does not take part")
        verbose_name_plural = _("people who do not take part")
        ordering = ["-day", "-pk"]

    def __str__(self) -> str:
        return f"{self.outcome} {self.day}"


class EnrolmentDraft(models.Model):
    """A list that was read and waits to be confirmed; gone when it is, or after a day."""

    key = models.UUIDField(unique=True)
    study = models.ForeignKey(Study, on_delete=models.CASCADE, related_name="+")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    day = models.DateField()
    content = models.BinaryField()
    made_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"list of {self.day}"


class AuditEvent(models.Model):
    """Who did what when: one line of the audit trail, chained to the line before. Rows are only ever added.

    `record` is the line (see `studies.audit_chain`); the columns beside it are there to search by.
    """

    sequence = models.PositiveBigIntegerField(unique=True)
    record = models.TextField()
    prev_hash = models.CharField(max_length=64, unique=True)  # two lines cannot follow the same one
    hash = models.CharField(max_length=64)
    at = models.DateTimeField(editable=False, db_index=True)
    study = models.ForeignKey(Study, on_delete=models.PROTECT, null=True, related_name="audit_events")
    actor = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+")
    action = models.CharField(max_length=60)

    class Meta:
        verbose_name = _("audit event")
        verbose_name_plural = _("audit events")
        ordering = ["-sequence"]
        indexes = [models.Index(fields=["study", "-sequence"], name="audit_newest_of_study")]

    def __str__(self) -> str:
        return f"{self.at:%Y-%m-%d %H:%M} {self.action}"

    @cached_property
    def facts(self) -> dict[str, Any]:
        """The line, read."""
        read: dict[str, Any] = json.loads(self.record)
        return read

    @property
    def detail(self) -> dict[str, Any]:
        """What it was done to: codes and counts."""
        found: dict[str, Any] = self.facts["detail"]
        return found


class Heartbeat(models.Model):
    """When a part of the installation was last heard of: a worker, the beat, a backup."""

    name = models.CharField(max_length=40, primary_key=True)
    at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.name} {self.at:%Y-%m-%d %H:%M}"


class AuditHead(models.Model):
    """The end of the audit trail: one row, locked by whoever adds a line."""

    sequence = models.PositiveBigIntegerField()
    hash = models.CharField(max_length=64)

    def __str__(self) -> str:
        return f"line {self.sequence}"


class AuditNote(models.Model):
    """Why something was done, as somebody typed it: outside the chain, because it may have to be erased."""

    event = models.OneToOneField(AuditEvent, on_delete=models.PROTECT, related_name="note", primary_key=True)
    salt = models.CharField(max_length=32)
    text = models.TextField()

    def __str__(self) -> str:
        return f"note on {self.event_id}"
