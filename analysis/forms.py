"""Forms of the researcher's pages."""

from typing import Any

from crispy_forms.bootstrap import StrictButton
from crispy_forms.helper import FormHelper
from crispy_forms.layout import Div, Layout
from django import forms
from django.utils.translation import gettext_lazy as _

from analysis.plans import MAXIMUM_LENGTH
from instruments.definitions import Instrument
from instruments.staff_forms import form_choices
from studies.access import StudyAccess
from studies.forms import ClinicianChoiceField, crispy_helper
from studies.models import Clinician, Site, Study, Wave

LARGEST_SEED = 2**31 - 1


def _yes_no(label: Any) -> forms.TypedChoiceField:
    choices = [("", _("any")), ("yes", _("yes")), ("no", _("no"))]
    return forms.TypedChoiceField(
        label=label, required=False, choices=choices, coerce=lambda written: written == "yes", empty_value=None
    )


class DyadFilterForm(forms.Form):
    """Which scored dyads to list. A condition that cannot be read is left out and said so beside its field."""

    search = forms.CharField(
        label=_("Dyad code holds"), required=False, max_length=80, widget=forms.TextInput(attrs={"type": "search"})
    )
    site = forms.ModelChoiceField(label=_("Site"), queryset=Site.objects.none(), required=False, empty_label=_("any"))
    clinician = ClinicianChoiceField(
        label=_("Clinician"), queryset=Clinician.objects.none(), required=False, empty_label=_("any")
    )
    wave = forms.ModelChoiceField(label=_("Wave"), queryset=Wave.objects.none(), required=False, empty_label=_("any"))
    complete = _yes_no(_("Both forms"))
    eligible = _yes_no(_("May be compared"))
    flagged = _yes_no(_("Quality flag"))
    sort = forms.CharField(required=False, widget=forms.HiddenInput, max_length=50)

    def __init__(self, *args: Any, access: StudyAccess, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["site"].queryset = access.sites  # type: ignore[attr-defined]
        self.fields["clinician"].queryset = access.clinicians  # type: ignore[attr-defined]
        self.fields["wave"].queryset = access.study.waves.all()  # type: ignore[attr-defined]
        self.helper = FormHelper()
        self.helper.form_method = "get"
        self.helper.disable_csrf = True
        self.helper.attrs = {"novalidate": ""}
        names = ("search", "site", "clinician", "wave", "complete", "eligible", "flagged")
        self.helper.layout = Layout(
            "sort",
            Div(*names, css_class="filters"),
            StrictButton(_("Show"), type="submit", css_class="btn-outline-primary btn-sm"),
        )

    def conditions(self) -> dict[str, Any]:
        """What `analysis.overview.scored_dyads` takes."""
        self.is_valid()
        cleaned = self.cleaned_data
        return {
            "search": cleaned.get("search", ""),
            **{name: getattr(cleaned.get(name), "pk", None) for name in ("site", "clinician", "wave")},
            **{name: cleaned.get(name) for name in ("eligible", "flagged", "complete")},
        }


class AnalysisForm(forms.Form):
    """What an analysis looks at."""

    form = forms.ChoiceField(label=_("Form"))
    n_factors = forms.IntegerField(
        label=_("Number of factors"),
        required=False,
        min_value=1,
        max_value=15,
        help_text=_("Leave blank for the default: five, the domains of the model; fewer on the short form."),
    )
    exclude_flagged = forms.BooleanField(
        label=_("Leave out forms with a quality flag"),
        required=False,
        help_text=_("Run it with and without them: a finding should stand in both."),
    )
    seed = forms.IntegerField(
        label=_("Seed"),
        min_value=0,
        max_value=LARGEST_SEED,
        help_text=_("For the random reference of the scree plot. The same seed and data give the same result."),
    )

    def __init__(self, *args: Any, instrument: Instrument, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["form"].choices = form_choices([instrument])  # type: ignore[attr-defined]
        self.helper = crispy_helper(_("Run analysis"))


class AnalysisPlanForm(forms.Form):
    """What is tested, and how; which models are confirmatory."""

    text = forms.CharField(
        label=_("Plan"),
        max_length=MAXIMUM_LENGTH,
        strip=False,
        widget=forms.Textarea(attrs={"rows": 18}),
        help_text=_("Plain text: hypotheses, models, who is left out, how many dyads, what counts as support."),
    )
    confirmatory = forms.CharField(
        label=_("Confirmatory models, one a line"),
        required=False,
        max_length=2000,
        widget=forms.Textarea(attrs={"rows": 4}),
        help_text=_(
            "What is not named here is exploratory. The names stand on the pages of analyses and in the codebook."
        ),
    )
    why = forms.CharField(
        label=_("Why it is changed"),
        max_length=500,
        required=False,
        help_text=_("The study has opened: each version is kept with its reason. Never write a name here."),
    )

    def __init__(self, *args: Any, study: Study, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.is_open = study.status != Study.Status.DRAFT
        if not self.is_open:
            self.fields["why"].widget = forms.HiddenInput()
        self.helper = crispy_helper(_("Save as a new version"))

    def clean_confirmatory(self) -> list[str]:
        written: str = self.cleaned_data["confirmatory"]
        return [name for line in written.splitlines() if (name := " ".join(line.split()))]

    def clean_why(self) -> str:
        why: str = self.cleaned_data["why"].strip()
        if self.is_open and not why:
            raise forms.ValidationError(_("Say why: the reason is kept with the change."))
        return why
