"""Forms about who patients are."""

from typing import Any

from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from studies.forms import crispy_helper
from studies.identifiers import Identifiers, Purpose

_UNKEPT = {"autocomplete": "off", "spellcheck": "false"}


class LookUpForm(forms.Form):
    """One exact value, to find a patient by."""

    by = forms.ChoiceField(
        label=gettext_lazy("Find by"),
        choices=[
            ("record_number", gettext_lazy("Record number")),
            ("code", gettext_lazy("Study code")),
            ("name", gettext_lazy("Full name")),
            ("email", gettext_lazy("E-mail address")),
        ],
    )
    value = forms.CharField(
        label=gettext_lazy("Value"),
        max_length=254,
        help_text=gettext_lazy("The whole of it. Capitals, accents and spaces make no difference."),
        widget=forms.TextInput(attrs=_UNKEPT),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.helper = crispy_helper(gettext_lazy("Find"))


class PurposeForm(forms.Form):
    """Why somebody wants to see a patient's name."""

    purpose = forms.ChoiceField(
        label=gettext_lazy("What for"), choices=[("", gettext_lazy("choose…")), *Purpose.choices]
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.helper = crispy_helper(gettext_lazy("Show"))


class IdentifiersForm(forms.Form):
    """What is known of one patient."""

    name = forms.CharField(
        label=gettext_lazy("Full name"), max_length=200, required=False, widget=forms.TextInput(attrs=_UNKEPT)
    )
    record_number = forms.CharField(
        label=gettext_lazy("Record number"), max_length=60, required=False, widget=forms.TextInput(attrs=_UNKEPT)
    )
    phone = forms.CharField(
        label=gettext_lazy("Telephone"), max_length=60, required=False, widget=forms.TextInput(attrs=_UNKEPT)
    )
    email = forms.EmailField(
        label=gettext_lazy("E-mail address"), max_length=254, required=False, widget=forms.EmailInput(attrs=_UNKEPT)
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.helper = crispy_helper(gettext_lazy("Save"))

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if not self.errors and not any(cleaned.values()):
            self.add_error(None, _("Fill in at least one field. To keep nothing any more, delete the identifiers."))
        return cleaned

    def identifiers(self) -> Identifiers:
        """What was typed."""
        return Identifiers(**self.cleaned_data)
