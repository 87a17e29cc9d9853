"""Forms of the study's people and places."""

from typing import Any

from crispy_forms.helper import FormHelper
from crispy_forms.layout import Submit
from django import forms
from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.forms import AuthenticationForm
from django.contrib.auth.models import User
from django.contrib.auth.password_validation import validate_password
from django.contrib.auth.validators import UnicodeUsernameValidator
from django.core.exceptions import ValidationError
from django.db import IntegrityError
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from studies import throttle
from studies.access import StudyAccess
from studies.models import Clinician, Member, Site, Wave


def crispy_helper(submit_label: str | Promise) -> FormHelper:
    """How every staff form looks: labels above, one submit button below."""
    helper = FormHelper()
    helper.form_show_labels = True
    # The browser's own bubbles vanish before slow readers are done, and hide the messages beside the fields.
    helper.attrs = {"novalidate": ""}
    helper.add_input(Submit("save", submit_label))
    return helper


class SignInForm(AuthenticationForm):
    """User name and password. After wrong ones a try has to wait, a right one, too: see `studies.throttle`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.helper = crispy_helper(gettext_lazy("Sign in"))
        self.account = ""
        self.browser = throttle.Browser()

    def clean(self) -> dict[str, Any]:
        cookies = self.request.COOKIES if self.request is not None else {}
        self.browser = throttle.read_browser(cookies.get(settings.KNOWN_BROWSER_COOKIE, ""))
        self.account = throttle.account_hash(self.cleaned_data.get("username") or "")
        waits = throttle.waits(account=self.account, browser=self.browser, now=timezone.now())
        if waits is not None:
            raise ValidationError(
                ngettext(
                    "Too many wrong passwords. Wait %(n)d minute, then try again.",
                    "Too many wrong passwords. Wait %(n)d minutes, then try again.",
                    n := 1 + int(waits.total_seconds() // 60),
                )
                % {"n": n}
            )
        try:
            return super().clean()
        except ValidationError:
            throttle.failed(account=self.account, browser=self.browser, now=timezone.now())
            raise


class LostSecondFactorForm(forms.Form):
    """Why somebody's second factor is taken away."""

    why = forms.CharField(
        label=gettext_lazy("Why it is taken away, and how you made sure who asks"),
        max_length=500,
        help_text=gettext_lazy("It stands in the audit trail. Never write a patient's name here."),
    )

    @property
    def helper(self) -> FormHelper:
        return crispy_helper(_("Take the second factor away"))


class CodeForm(forms.Form):
    """The code of the second factor."""

    code = forms.CharField(
        label=gettext_lazy("Code"),
        max_length=20,
        widget=forms.TextInput(attrs={"autocomplete": "one-time-code", "inputmode": "numeric", "autofocus": True}),
    )

    @property
    def helper(self) -> FormHelper:
        helper = crispy_helper(_("Go on"))
        helper.form_tag = False
        helper.inputs = []
        return helper


class EmailSignInForm(forms.Form):
    """The address to which a sign-in link goes."""

    email = forms.EmailField(
        label=gettext_lazy("E-mail address"),
        max_length=254,
        widget=forms.EmailInput(attrs={"autocomplete": "email", "autofocus": True}),
    )

    @property
    def helper(self) -> FormHelper:
        return crispy_helper(gettext_lazy("Send the link"))


class TakeUpForm(forms.Form):
    """A new account for the role that waits behind an invitation."""

    username = forms.CharField(
        label=gettext_lazy("User name"),
        max_length=150,
        validators=[UnicodeUsernameValidator()],
        widget=forms.TextInput(attrs={"autocomplete": "username"}),
    )
    new_password = forms.CharField(
        label=gettext_lazy("Password"),
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
        help_text=gettext_lazy("At least 12 characters; a few unrelated words are good."),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.helper = crispy_helper(gettext_lazy("Make the account"))

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        username = cleaned.get("username")
        if username and get_user_model().objects.filter(username=username).exists():
            self.add_error("username", _("This user name is taken. Choose another one."))
        if username and "new_password" in cleaned:
            try:
                validate_password(cleaned["new_password"], User(username=username))
            except ValidationError as error:
                self.add_error("new_password", error)
        return cleaned


class SiteForm(forms.ModelForm):  # type: ignore[type-arg]  # Django's own class takes no parameter
    """A practice or clinic."""

    class Meta:
        model = Site
        widgets = {"target_date": forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d")}
        fields = ["code", "name", "target_dyads", "target_date", "allows_private_labels"]

    def __init__(self, *args: Any, access: StudyAccess, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.instance.study = access.study
        self.fields["code"].help_text = _("Short, for example NORTH. New patients' study codes begin with it.")
        self.fields["target_dyads"].help_text = _("How many dyads this site is to bring; 0 if there is no target.")
        _fix_code(self)
        self.helper = crispy_helper(gettext_lazy("Save") if self.instance.pk else gettext_lazy("Add site"))

    def clean_code(self) -> str:
        others = self.instance.study.sites.exclude(pk=self.instance.pk)
        return _unused(self.cleaned_data["code"], others, _("This study has a site"))


class ClinicianForm(forms.ModelForm):  # type: ignore[type-arg]  # Django's own class takes no parameter
    """A clinician, known by a study code."""

    class Meta:
        model = Clinician
        fields = ["site", "code"]

    def __init__(self, *args: Any, access: StudyAccess, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["site"].queryset = access.sites  # type: ignore[attr-defined]
        self.fields["code"].help_text = _("A study code such as C07, never a name.")
        self.helper = crispy_helper(gettext_lazy("Add clinician"))

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        site, code = cleaned.get("site"), cleaned.get("code")
        if site and code and site.clinicians.filter(code=code).exists():
            self.add_error("code", _("This site has a clinician with this code already. Choose another code."))
        return cleaned


class WaveForm(forms.ModelForm):  # type: ignore[type-arg]  # Django's own class takes no parameter
    """A planned time of asking."""

    class Meta:
        model = Wave
        fields = ["code", "label", "position", "is_follow_up", "from_days", "to_days"]

    def __init__(self, *args: Any, access: StudyAccess, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.instance.study = access.study
        self.fields["code"].help_text = _("Short, for example retest. It stands in exports.")
        self.fields["position"].help_text = _("Waves are listed in this order; the first is the default.")
        self.fields["is_follow_up"].help_text = _("Asks what has changed since the last time.")
        _fix_code(self)
        if self.instance.pk and self.instance.visits.exists():
            self.fields["is_follow_up"].disabled = True  # what was asked rests on it
        self.helper = crispy_helper(gettext_lazy("Save") if self.instance.pk else gettext_lazy("Add wave"))

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        opens, closes = cleaned.get("from_days"), cleaned.get("to_days")
        if opens is not None and closes is not None and closes < opens:
            self.add_error("to_days", _("The window must not close before it opens."))
        return cleaned

    def clean_code(self) -> str:
        others = self.instance.study.waves.exclude(pk=self.instance.pk)
        return _unused(self.cleaned_data["code"], others, _("This study has a wave"))


class MemberForm(forms.Form):
    """A role for a person: an existing account, or a new one with a first password."""

    username = forms.CharField(label=gettext_lazy("User name"), max_length=150, validators=[UnicodeUsernameValidator()])
    new_password = forms.CharField(
        label=gettext_lazy("First password"),
        required=False,
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
        help_text=gettext_lazy("Only for a person without an account. Leave blank for an existing user name."),
    )
    role = forms.ChoiceField(label=gettext_lazy("Role"), choices=Member.Role.choices)
    site = forms.ModelChoiceField(
        label=gettext_lazy("Site"),
        queryset=Site.objects.none(),
        required=False,
        help_text=gettext_lazy("For a site coordinator: the one site whose visits the person manages."),
    )
    export = forms.ChoiceField(
        label=gettext_lazy("Downloads"),
        choices=Member.Export.choices,
        initial=Member.Export.DEIDENTIFIED,
        required=False,
        help_text=gettext_lazy(
            "For a researcher. De-identified: other codes in place of the study codes, and no dates."
        ),
    )
    clinician = forms.ModelChoiceField(
        label=gettext_lazy("Clinician"),
        queryset=Clinician.objects.none(),
        required=False,
        help_text=gettext_lazy("For a clinician: the study code under which the person rates patients."),
    )

    def __init__(self, *args: Any, access: StudyAccess, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.access = access
        self.fields["site"].queryset = access.sites  # type: ignore[attr-defined]
        self.fields["clinician"] = ClinicianChoiceField(
            label=self.fields["clinician"].label,
            queryset=access.clinicians.filter(user=None),
            required=False,
            help_text=self.fields["clinician"].help_text,
        )
        self.helper = crispy_helper(gettext_lazy("Add person"))

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        role = cleaned.get("role")
        if role != Member.Role.COORDINATOR:
            cleaned["site"] = None
        elif "site" in cleaned and cleaned["site"] is None:
            self.add_error("site", _("A site coordinator needs a site. Choose one, or add a site first."))
        if role != Member.Role.RESEARCHER:
            cleaned["export"] = Member.Export.NONE.value
        elif not cleaned.get("export"):
            cleaned["export"] = Member.Export.DEIDENTIFIED.value
        if role != Member.Role.CLINICIAN:
            cleaned["clinician"] = None
        elif "clinician" in cleaned and cleaned["clinician"] is None:
            self.add_error("clinician", _("Choose the clinician's study code, or add the clinician first."))
        self.check_account(cleaned)
        return cleaned

    def check_account(self, cleaned: dict[str, Any]) -> None:
        username, password = cleaned.get("username"), cleaned.get("new_password", "")
        if not username:
            return
        user = get_user_model().objects.filter(username=username).first()
        if user is None and not password:
            self.add_error(
                "new_password", _("There is no account with this user name. Set a first password to make one.")
            )
        elif user is None:
            try:
                validate_password(password, User(username=username))
            except ValidationError as error:
                self.add_error("new_password", error)
        elif password:
            self.add_error("new_password", _("This account exists already and keeps its password. Leave this blank."))
        elif self.access.study.members.filter(user=user, role=cleaned.get("role"), site=cleaned.get("site")).exists():
            self.add_error("username", _("This person has this role in the study already."))


class InvitationForm(MemberForm):
    """A role for somebody who chooses the account: only the e-mail address is known."""

    email = forms.EmailField(label=gettext_lazy("E-mail address"), max_length=254)
    field_order = ["email", "role", "site", "export", "clinician"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        del self.fields["username"], self.fields["new_password"]
        self.helper = crispy_helper(gettext_lazy("Send the invitation"))

    def check_account(self, cleaned: dict[str, Any]) -> None:
        """There is none yet."""


class ClinicianChoiceField(forms.ModelChoiceField):  # type: ignore[type-arg]  # as above
    """Clinicians by site and study code: a code alone may stand at several sites."""

    def label_from_instance(self, obj: Clinician) -> str:
        """Code first, since that is what people look for."""
        return f"{obj.code} · {obj.site.name}"


def refuse_what_is_there_by_now(form: forms.BaseForm, error: IntegrityError) -> None:
    """Check a form again whose row the database refused: sent twice, it finds what the first one stored a moment ago.

    Raises `error` again when the form finds nothing wrong with itself.
    """
    form.full_clean()
    if not form.errors:
        raise error


def _fix_code(form: Any) -> None:
    """A code stands in exports and on paper: once given it stays."""
    if form.instance.pk is not None:
        form.fields["code"].disabled = True


def _unused(code: str, taken: Any, what: str) -> str:
    if taken.filter(code=code).exists():
        raise ValidationError(_("%(what)s with this code already. Choose another code.") % {"what": what})
    return code
