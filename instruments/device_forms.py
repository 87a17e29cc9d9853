"""The form of a site's tablet."""

from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from instruments.devices import pin_problem
from studies.access import StudyAccess
from studies.forms import crispy_helper
from studies.models import Device, Site


class DeviceForm(forms.Form):
    """A tablet's site, name and PIN; of one that is there, the name and, if wanted, a new PIN."""

    site = forms.ModelChoiceField(label=gettext_lazy("Site"), queryset=Site.objects.none(), empty_label=None)
    name = forms.CharField(
        label=gettext_lazy("Name"),
        max_length=40,
        help_text=gettext_lazy("What you call it, and what stands on its sticker; for example Front desk 1."),
    )
    pin = forms.CharField(
        label=gettext_lazy("PIN"),
        max_length=20,
        widget=forms.TextInput(attrs={"inputmode": "numeric", "autocomplete": "off"}),
        help_text=gettext_lazy("4 to 8 digits. You type it on the tablet when a patient gives it back."),
    )

    def __init__(self, *args: Any, access: StudyAccess, device: Device | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.device = device
        self.sites = list(access.sites)
        if device is not None or len(self.sites) == 1:
            del self.fields["site"]
        else:
            self.fields["site"].queryset = access.sites  # type: ignore[attr-defined]
        if device is not None:
            self.initial["name"] = device.name
            self.fields["pin"].required = False
            self.fields["pin"].label = _("New PIN")
            self.fields["pin"].help_text = _(
                "Leave blank to keep the PIN. A new one also ends the waiting after wrong ones."
            )
        self.helper = crispy_helper(gettext_lazy("Add the tablet") if device is None else gettext_lazy("Save"))

    def clean_pin(self) -> str:
        pin: str = self.cleaned_data["pin"].strip()
        problem = pin_problem(pin) if pin or self.device is None else ""
        if problem == "form":
            raise ValidationError(_("Use 4 to 8 digits."))
        if problem == "easy":
            raise ValidationError(_("Anybody would try this one first. Choose another PIN."))
        return pin

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        site = self._site(cleaned)
        name = cleaned.get("name")
        if site is not None and name:
            others = Device.objects.filter(site=site, name=name, revoked_at=None)
            if (others if self.device is None else others.exclude(pk=self.device.pk)).exists():
                self.add_error("name", _("This site has a tablet with this name already. Choose another name."))
        elif site is None and not self.errors:
            raise ValidationError(_("A tablet belongs to a site. Add a site first."))
        return cleaned

    def values(self) -> dict[str, Any]:
        """Site, name and PIN of a valid form."""
        return {
            "site": self._site(self.cleaned_data),
            "name": self.cleaned_data["name"],
            "pin": self.cleaned_data["pin"],
        }

    def _site(self, cleaned: dict[str, Any]) -> Site | None:
        if self.device is not None:
            return self.device.site
        return self.sites[0] if len(self.sites) == 1 else cleaned.get("site")
