"""Forms for staff: a study's settings, a new visit, an import."""

import re
from collections.abc import Iterable, Mapping
from typing import Any
from uuid import uuid4

from crispy_forms.helper import FormHelper
from crispy_forms.layout import Fieldset, Layout, Submit
from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import get_language, gettext_lazy
from django.utils.translation import gettext as _

from instruments.definitions import Instrument, Question, Role
from instruments.models import InstrumentVersion
from instruments.readiness import consent_problems, language_name
from studies.access import StudyAccess
from studies.consent_texts import MAXIMUM_LENGTH
from studies.forms import ClinicianChoiceField, crispy_helper
from studies.identifier_keys import BadKeys
from studies.identifiers import configured_ring
from studies.models import Clinician, NonParticipation, Study, Visit, Wave
from studies.plain_text import normalised, unfilled


def in_language(texts: Mapping[str, str]) -> str:
    """An instrument's text in the language of the page; English, the first, where it has none."""
    language = (get_language() or "en").split("-")[0]
    return texts.get(language) or next(iter(texts.values()))


def form_choices(instruments: Iterable[Instrument]) -> list[tuple[str, str]]:
    """The forms that these instruments offer, each once, with their names."""
    choices: dict[str, str] = {}
    for instrument in instruments:
        for form in instrument.forms.values():
            choices.setdefault(form.id, in_language(form.label))
    return list(choices.items())


#: What data rest on: fixed once a study is open, or has a visit.
FIXED_BY_OPENING = ("code", "instrument", "is_synthetic", "drawn_form", "drawn_percent", "shuffles_items")


SECTIONS: tuple[tuple[Any, tuple[str, ...]], ...] = (
    (gettext_lazy("The study"), ("code", "title", "status", "is_synthetic")),
    (
        gettext_lazy("What patients are asked"),
        ("instrument", "default_form", "drawn_form", "drawn_percent", "shuffles_items", "languages"),
    ),
    (gettext_lazy("Consent and personal data"), ("consent", "keeps_identifiers", "withdrawn_answers")),
    (
        gettext_lazy("What clinicians are asked"),
        (
            "clinician_form",
            "n_full_form_patients",
            "n_planned_patients",
            "first_reminder_days",
            "second_reminder_days",
        ),
    ),
    (gettext_lazy("How long"), ("link_valid_days",)),
)


class StudyForm(forms.ModelForm):  # type: ignore[type-arg]  # Django's own class takes no parameter
    """What a study asks, of whom it tells, and how long its links stay open.

    Once a visit exists, the code, the questionnaire and the synthetic mark are fixed: data rest on them.
    """

    instrument = forms.ChoiceField(label=gettext_lazy("Questionnaire"))
    why = forms.CharField(
        label=gettext_lazy("Why it is changed"),
        max_length=500,
        required=False,
        help_text=gettext_lazy("The study has opened: each change is kept with its reason. Never write a name here."),
    )

    class Meta:
        model = Study
        fields = [
            "code",
            "title",
            "instrument",
            "default_form",
            "drawn_form",
            "drawn_percent",
            "shuffles_items",
            "languages",
            "consent",
            "clinician_form",
            "n_full_form_patients",
            "n_planned_patients",
            "link_valid_days",
            "first_reminder_days",
            "second_reminder_days",
            "status",
            "keeps_identifiers",
            "withdrawn_answers",
            "is_synthetic",
        ]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        versions = list(InstrumentVersion.objects.defer("content"))
        self.versions = {f"{version.code} {version.version}": version for version in versions}
        self.fields["instrument"] = forms.ChoiceField(
            label=self.fields["instrument"].label,
            choices=[(name, _version_label(version)) for name, version in self.versions.items()],
        )
        self.fields["default_form"] = forms.ChoiceField(
            label=gettext_lazy("Form"),
            choices=form_choices(version.instrument for version in versions),
            help_text=gettext_lazy("New visits use it unless another form is chosen there."),
        )
        self.fields["drawn_form"] = forms.ChoiceField(
            label=self.fields["drawn_form"].label,
            choices=[("", gettext_lazy("no sub-sample")), *form_choices(version.instrument for version in versions)],
            required=False,
            help_text=self.fields["drawn_form"].help_text,
        )
        self.fields["drawn_percent"].required = False
        languages = dict.fromkeys(one for version in versions for one in version.instrument.languages)
        self.fields["languages"] = forms.MultipleChoiceField(
            label=self.fields["languages"].label,
            choices=[(one, language_name(one).capitalize()) for one in languages],
            widget=forms.CheckboxSelectMultiple,
            help_text=gettext_lazy("Patients choose among these; paper forms are printed in them."),
        )
        self.fields["consent"] = forms.ChoiceField(
            label=self.fields["consent"].label,
            choices=Study.Consent.choices,
            widget=forms.RadioSelect,
            help_text=gettext_lazy("Asked here, it needs a text for every site and language; see “Consent texts”."),
        )
        self.fields["code"].help_text = _("Short, for example HEAL26. It stands in addresses and file names.")
        self.fields["link_valid_days"].min_value = 1  # type: ignore[attr-defined]
        if self.instance.pk is None:
            self.initial["clinician_form"] = Study.ClinicianForm.SOME
        is_new = self.instance.pk is None
        if is_new:
            self.initial["languages"] = list(languages)
            self.initial["consent"] = ""
        else:
            self.initial["instrument"] = f"{self.instance.instrument_code} {self.instance.instrument_version}"
            self.initial["languages"] = self.instance.languages or list(languages)
            is_draft = self.instance.status == Study.Status.DRAFT
            has_visits = Visit.objects.filter(dyad__study=self.instance).exists()
            for name in FIXED_BY_OPENING if has_visits or not is_draft else ("code",):
                self.fields[name].disabled = True
            # A study in preparation opens by its own page; an opened one never goes back to preparation.
            self.fields["status"].choices = [  # type: ignore[attr-defined]
                choice for choice in Study.Status.choices if choice[0] != Study.Status.DRAFT
            ]
        if is_new or is_draft:
            del self.fields["status"], self.fields["why"]
        self.helper = crispy_helper(gettext_lazy("Create study") if is_new else gettext_lazy("Save"))
        self.helper.layout = Layout(*self._sections())

    def _sections(self) -> list[Fieldset]:
        """The fields under headings, in the order in which a study is thought through; the rest stands last."""
        placed = {name for _heading, names in SECTIONS for name in names}
        rest = [name for name in self.fields if name not in placed]
        sections = [(heading, [name for name in names if name in self.fields]) for heading, names in SECTIONS]
        return [Fieldset(heading, *names) for heading, names in (*sections, ("", rest)) if names]

    def clean_code(self) -> str:
        code: str = self.cleaned_data["code"]
        if code.lower() == "new":
            raise ValidationError(_("“new” is the address of this page. Choose another code."))
        return code

    def clean_languages(self) -> list[str]:
        chosen: list[str] = self.cleaned_data["languages"]
        # A study of before there was a choice asks in all of them, and goes on without a change of its own.
        is_same = self.instance.pk is not None and "languages" not in self.changed_data
        return self.instance.languages if is_same else chosen

    def clean_why(self) -> str:
        why: str = self.cleaned_data["why"].strip()
        if not why and set(self.changed_data) - {"why"}:
            raise ValidationError(_("Say why: the reason is kept with the change."))
        return why

    def clean_keeps_identifiers(self) -> bool:
        keeps: bool = self.cleaned_data["keeps_identifiers"]
        if keeps and not self.instance.keeps_identifiers:
            try:
                configured_ring()
            except BadKeys as problem:
                raise ValidationError(
                    _("Names cannot be kept before this server has a key for them: %(problem)s") % {"problem": problem}
                ) from problem
        return keeps

    def clean_drawn_percent(self) -> int:
        given: int | None = self.cleaned_data["drawn_percent"]
        percent: int = self.instance.drawn_percent if given is None else given
        if not 1 <= percent <= 99:
            raise ValidationError(_("Draw from 1 to 99 per cent of the patients."))
        return percent

    def clean_link_valid_days(self) -> int:
        days: int = self.cleaned_data["link_valid_days"]
        if not 1 <= days <= 365:
            raise ValidationError(_("A link stays open for 1 to 365 days."))
        return days

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        n_long, n_planned = cleaned.get("n_full_form_patients"), cleaned.get("n_planned_patients")
        if n_long is not None and n_planned is not None and not 1 <= n_long <= n_planned:
            self.add_error("n_full_form_patients", _("Draw at least one patient, and at most as many as are planned."))
        first, second = cleaned.get("first_reminder_days"), cleaned.get("second_reminder_days")
        if first is not None and second is not None and second <= first:
            self.add_error("second_reminder_days", _("The second reminder comes after the first. Write more days."))
        version = self.versions.get(cleaned.get("instrument", ""))
        if version is not None:
            self.instance.instrument_code, self.instance.instrument_version = version.code, version.version
            form = cleaned.get("default_form")
            if form and form not in version.instrument.forms:
                self.add_error("default_form", _("This questionnaire has no such form. Choose another one."))
            drawn_form = cleaned.get("drawn_form")
            if drawn_form and drawn_form not in version.instrument.forms:
                self.add_error("drawn_form", _("This questionnaire has no such form. Choose another one."))
            elif drawn_form and drawn_form == form:
                self.add_error("drawn_form", _("Everybody gets this form already. Choose another one for those drawn."))
            if cleaned.get("shuffles_items") and not version.instrument.may_shuffle:
                self.add_error(
                    "shuffles_items", _("This version of the questionnaire keeps one order. Choose another.")
                )
            if not set(cleaned.get("languages", [])) <= set(version.instrument.languages):
                self.add_error("languages", _("This questionnaire is not there in all of these languages."))
            elif not self.errors and self.instance.status != Study.Status.DRAFT:
                self._check_consent(version.instrument, cleaned)
        return cleaned

    def _check_consent(self, instrument: Instrument, cleaned: Mapping[str, Any]) -> None:
        """Patients of an open study are asked at once: the texts have to be there."""
        asked = Study(pk=self.instance.pk, consent=cleaned["consent"], languages=cleaned["languages"])
        for problem in consent_problems(asked, instrument):
            self.add_error("consent", problem)


class ConsentTextForm(forms.Form):
    """One text in one language, plain: paragraphs, lists, headings."""

    text = forms.CharField(
        label=gettext_lazy("Text"),
        required=False,
        max_length=MAXIMUM_LENGTH,
        strip=False,
        widget=forms.Textarea(attrs={"rows": 24, "spellcheck": "true"}),
    )
    why = forms.CharField(
        label=gettext_lazy("Why it is changed"),
        max_length=500,
        required=False,
        help_text=gettext_lazy("The study has opened: each version is kept with its reason. Never write a name here."),
    )

    def __init__(self, *args: Any, study: Study, is_own: bool, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.is_own = is_own  # a site's
        is_open = study.status != Study.Status.DRAFT
        self.is_read = is_open and study.consent == Study.Consent.HERE
        if not is_open:
            del self.fields["why"]
        help_text = _(
            "Plain text. A blank line ends a paragraph, a line that begins with “- ” is a point of a list, one that "
            "begins with “# ” a heading."
        )
        if is_own:
            help_text += " " + _("Empty: the study's text counts at this site.")
        self.fields["text"].help_text = help_text
        self.helper = crispy_helper(gettext_lazy("Save as a new version"))
        preview = Submit("preview", _("Preview in a new tab"), formtarget="_blank")
        preview.field_classes = "btn btn-outline-primary"
        self.helper.add_input(preview)

    def clean_text(self) -> str:
        text = normalised(self.cleaned_data["text"])
        if not text and not self.is_own:
            raise ValidationError(_("Write the text that patients read before they agree."))
        if tag := re.search(r"</?[A-Za-z][^<>\n]*>", text):
            raise ValidationError(_("“%(tag)s” would be shown as it stands: write plain text.") % {"tag": tag[0]})
        if self.is_read and (gaps := unfilled(text)):
            raise ValidationError(_("Patients would read this at once. Fill it in: %(part)s.") % {"part": gaps[0]})
        return text

    def clean_why(self) -> str:
        why: str = self.cleaned_data["why"].strip()
        if not why:
            raise ValidationError(_("Say why: the reason is kept with the change."))
        return why


def _version_label(version: InstrumentVersion) -> str:
    per_page = version.instrument.display[Role.PATIENT]
    if per_page == 1:
        shown = _("patients see one sentence at a time")
    elif per_page == "block":
        shown = _("patients see a block of sentences a page")
    else:
        shown = _("patients see up to %(count)d sentences a page") % {"count": per_page}
    return f"{in_language(version.instrument.title)} ({version.version}: {shown})"


class CharacteristicsForm(forms.Form):
    """The questions about a clinician as a person, from the questionnaire. Each may be left blank."""

    def __init__(self, *args: Any, clinician: Clinician, instrument: Instrument, **kwargs: Any) -> None:
        known = clinician.characteristics
        super().__init__(*args, **kwargs | {"initial": known})
        self.known = dict(known)
        self.questions = instrument.clinician_characteristics()
        for question in self.questions:
            self.fields[question.code] = _characteristic_field(question)
        self.helper = crispy_helper(gettext_lazy("Save"))

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        for question in self.questions:
            condition = question.ask_if
            if condition is not None and cleaned.get(condition.question) not in condition.values:
                cleaned[question.code] = None  # it is not asked of this clinician
        return cleaned

    def characteristics(self) -> dict[str, Any]:
        """What is known now; codes of other versions of the questionnaire stay as they are."""
        asked = {question.code for question in self.questions}
        kept = {code: value for code, value in self.known.items() if code not in asked}
        given = {code: value for code, value in self.cleaned_data.items() if value not in (None, "", [])}
        return kept | given


def _characteristic_field(question: Question) -> forms.Field:
    label = in_language(question.text[Role.CLINICIAN])
    options = [(str(one.value), in_language(one.label[Role.CLINICIAN])) for one in question.options]
    if question.kind in ("integer", "number"):
        field = forms.IntegerField if question.kind == "integer" else forms.FloatField
        return field(
            label=label,
            required=False,
            min_value=question.minimum,  # type: ignore[arg-type]  # of a whole number's question it is whole
            max_value=question.maximum,  # type: ignore[arg-type]
        )
    return forms.ChoiceField(label=label, required=False, choices=[("", gettext_lazy("not known")), *options])


class VisitForm(forms.Form):
    """Who is coming: a clinician and a patient, at a wave, on a day."""

    clinician = ClinicianChoiceField(label=gettext_lazy("Clinician"), queryset=Clinician.objects.none())
    patient_code = forms.CharField(
        label=gettext_lazy("Patient's study code"),
        required=False,
        max_length=40,
        help_text=gettext_lazy("Leave blank for a new patient: a study code is made. Never write a name here."),
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )
    wave = forms.ModelChoiceField(label=gettext_lazy("Wave"), queryset=Wave.objects.none(), empty_label=None)
    form = forms.ChoiceField(label=gettext_lazy("Form"))
    visit_date = forms.DateField(
        label=gettext_lazy("Visit date"), widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d")
    )
    request_key = forms.UUIDField(widget=forms.HiddenInput, initial=uuid4)

    def __init__(self, *args: Any, access: StudyAccess, instrument: Instrument, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["clinician"].queryset = access.clinicians  # type: ignore[attr-defined]
        waves = access.study.waves.all()
        self.fields["wave"].queryset = waves  # type: ignore[attr-defined]
        if any(wave.has_window for wave in waves):
            self.fields["wave"].required = False
            self.fields["wave"].empty_label = _("the one whose window the day is in")  # type: ignore[attr-defined]
        forms_to_choose = form_choices([instrument])
        if access.study.drawn_form:
            forms_to_choose.insert(0, ("", _("by lot, as the study draws")))
            self.fields["form"].required = False
        self.fields["form"].choices = forms_to_choose  # type: ignore[attr-defined]
        self.helper = crispy_helper(gettext_lazy("Create the visit"))


class DayListForm(forms.Form):
    """A file of appointments: CSV, or a calendar."""

    file = forms.FileField(
        label=gettext_lazy("File of appointments (CSV or ICS)"),
        allow_empty_file=True,  # the list's own check says what is wrong with it, in one place
        widget=forms.ClearableFileInput(attrs={"accept": ".csv,.ics,text/csv,text/calendar"}),
    )
    day = forms.DateField(
        label=gettext_lazy("Day"),
        help_text=gettext_lazy("For lines without a date of their own."),
        widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d"),
    )

    @property
    def helper(self) -> FormHelper:
        helper = FormHelper()
        helper.attrs = {"novalidate": ""}
        helper.add_input(Submit("save", _("Check the list")))
        return helper


class NonParticipationForm(forms.Form):
    """People who do not take part."""

    clinician = ClinicianChoiceField(label=gettext_lazy("Clinician"), queryset=Clinician.objects.none())
    outcome = forms.ChoiceField(label=gettext_lazy("What happened"), choices=NonParticipation.Outcome.choices)
    reason = forms.ChoiceField(
        label=gettext_lazy("Reason"),
        required=False,
        choices=[("", gettext_lazy("not said")), *NonParticipation.Reason.choices],
    )
    n_people = forms.IntegerField(label=gettext_lazy("Number of people"), min_value=1, max_value=200, initial=1)
    day = forms.DateField(label=gettext_lazy("Day"), widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d"))

    def __init__(self, *args: Any, access: StudyAccess, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["clinician"].queryset = access.clinicians  # type: ignore[attr-defined]
        self.helper = crispy_helper(gettext_lazy("Note it"))


class DeclineForm(forms.Form):
    """Why the patient of a visit does not take part."""

    outcome = forms.ChoiceField(
        label=gettext_lazy("What happened"), choices=NonParticipation.Outcome.choices, widget=forms.RadioSelect
    )
    reason = forms.ChoiceField(
        label=gettext_lazy("Reason"),
        required=False,
        choices=[("", gettext_lazy("not said")), *NonParticipation.Reason.choices],
    )

    @property
    def helper(self) -> FormHelper:
        return crispy_helper(_("Note it"))


class ImportForm(forms.Form):
    """A CSV file with answers that were collected elsewhere."""

    file = forms.FileField(
        label=gettext_lazy("CSV file"),
        allow_empty_file=True,  # the import itself says what is wrong with it, in one place
        widget=forms.ClearableFileInput(attrs={"accept": ".csv,text/csv"}),
    )

    @property
    def helper(self) -> FormHelper:
        helper = FormHelper()
        helper.attrs = {"novalidate": ""}
        helper.add_input(Submit("save", _("Check and import")))
        return helper
