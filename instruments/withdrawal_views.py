"""Pages about people who take part no more: find them, note the withdrawal, erase a person."""

from typing import Any

from crispy_forms.helper import FormHelper
from django import forms
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_GET, require_http_methods

from instruments.definitions import Role
from instruments.erasure import Person, erase, traces, withdraw_for_good
from instruments.withdrawal import Consequences, consequences, dyads_of_the_same_person, offered_answers
from studies.access import MANAGES_STUDY, MANAGES_VISITS, StudyAccess, signed_in, staff_page, study_for, whole_study_for
from studies.erasure_ledger import BadLedger
from studies.models import Clinician, Dyad, Patient, Study, Withdrawal

ROWS_PER_PAGE = 50
MOST_FOUND = 50


class WithdrawalForm(forms.Form):
    """Who withdraws from what, why, and what becomes of the answers."""

    role = forms.ChoiceField(
        label=gettext_lazy("Who withdraws"), choices=Withdrawal.Role.choices, widget=forms.RadioSelect
    )
    reach = forms.ChoiceField(
        label=gettext_lazy("From what"),
        choices=[
            ("dyad", gettext_lazy("from this dyad only")),
            ("all", gettext_lazy("from every dyad of this person in the study")),
        ],
        widget=forms.RadioSelect,
        initial="dyad",
    )
    reason = forms.ChoiceField(label=gettext_lazy("Reason"), choices=Withdrawal.Reason.choices)
    answers = forms.ChoiceField(label=gettext_lazy("What becomes of the answers so far"), widget=forms.RadioSelect)
    is_sure = forms.BooleanField(
        label=gettext_lazy("I have compared the study codes, and know that this cannot be taken back."),
        error_messages={"required": gettext_lazy("Tick this when you have compared the codes.")},
    )

    def __init__(self, *args: Any, study: Study, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        offered = [choice for choice in Withdrawal.Answers.choices if choice[0] in offered_answers(study)]
        self.fields["answers"].choices = offered  # type: ignore[attr-defined]
        if len(offered) == 1:
            self.initial["answers"] = offered[0][0]
            self.fields["answers"].help_text = _("The study's settings promise this.")
        self.helper = FormHelper()
        self.helper.form_tag = False


class EraseForm(forms.Form):
    """The person's study code, typed as a confirmation."""

    code = forms.CharField(
        label=gettext_lazy("Type the study code to confirm"),
        max_length=40,
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
    )

    def __init__(self, *args: Any, person: Person, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.person = person
        self.helper = FormHelper()
        self.helper.form_tag = False

    def clean_code(self) -> str:
        code: str = self.cleaned_data["code"].strip()
        if code != self.person.code:
            raise ValidationError(_("This is not the code of the person on this page. Nothing was erased."))
        return code


@staff_page
@require_GET
def withdrawals(request: HttpRequest, code: str) -> HttpResponse:
    """Who has withdrawn; and a search by study code for whoever does now."""
    access = study_for(request.user, code, *MANAGES_VISITS)
    asked = request.GET.get("patient", "").strip()[:40]
    dyads = access.within_sites(Dyad.objects.filter(study=access.study), "clinician__site")
    found = dyads.filter(patient__code=asked).select_related("patient", "clinician__site").order_by("code")
    rows = access.within_sites(Withdrawal.objects.filter(dyad__study=access.study), "dyad__clinician__site")
    page = Paginator(
        rows.select_related("dyad__patient", "dyad__clinician__site", "recorded_by"), ROWS_PER_PAGE
    ).get_page(request.GET.get("page"))
    context = _context(access) | {"asked": asked, "found": found[:MOST_FOUND] if asked else [], "page": page}
    return render(request, "instruments/withdrawals.html", context)


@staff_page
@require_http_methods(["GET", "POST"])
def withdrawal_new(request: HttpRequest, code: str, dyad_id: int) -> HttpResponse:
    """Note a withdrawal, on a page that says what follows from it."""
    access = study_for(request.user, code, *MANAGES_VISITS)
    dyads = Dyad.objects.filter(study=access.study).select_related("study", "patient", "clinician__site")
    dyad = get_object_or_404(access.within_sites(dyads, "clinician__site"), pk=dyad_id)
    form = WithdrawalForm(request.POST or None, study=access.study)
    problem = ""
    if form.is_valid():
        role = form.cleaned_data["role"]
        of_all = form.cleaned_data["reach"] == "all"
        chosen = dyads_of_the_same_person(dyad, role).select_related("study", "patient", "clinician__site")
        try:
            changed = withdraw_for_good(
                dyads=chosen if of_all else [dyad],
                role=role,
                reason=form.cleaned_data["reason"],
                answers=form.cleaned_data["answers"],
                actor=signed_in(request),
                now=timezone.now(),
            )
        except BadLedger as error:
            problem = str(error)
        else:
            done = _("The withdrawal was noted.") if changed else _("This was noted before; nothing was changed.")
            messages.success(request, done)
            return redirect("withdrawals", code)
    context = _context(access) | {"dyad": dyad, "form": form, "sides": _sides(dyad), "problem": problem}
    status = 503 if problem else 422 if form.is_bound else 200
    return render(request, "instruments/withdrawal_new.html", context, status=status)


@staff_page
@require_http_methods(["GET", "POST"])
def patient_erase(request: HttpRequest, code: str, patient_id: int) -> HttpResponse:
    """Erase a patient, after a page that says what goes and what stays."""
    access = whole_study_for(request.user, code, *MANAGES_STUDY)
    patients = Patient.objects.filter(site__study=access.study).select_related("site__study")
    return _erase_page(request, access, get_object_or_404(patients, pk=patient_id))


@staff_page
@require_http_methods(["GET", "POST"])
def clinician_erase(request: HttpRequest, code: str, clinician_id: int) -> HttpResponse:
    """Erase a clinician, after a page that says what goes and what stays."""
    access = whole_study_for(request.user, code, *MANAGES_STUDY)
    clinicians = Clinician.objects.filter(site__study=access.study).select_related("site__study")
    return _erase_page(request, access, get_object_or_404(clinicians, pk=clinician_id))


def _erase_page(request: HttpRequest, access: StudyAccess, person: Person) -> HttpResponse:
    form = EraseForm(request.POST or None, person=person)
    problem = ""
    if form.is_valid():
        try:
            erase(person=person, actor=signed_in(request), now=timezone.now())
        except BadLedger as error:
            problem = str(error)
        else:
            messages.success(request, _("%(code)s was erased.") % {"code": person.code})
            return redirect("withdrawals", access.study.code)
    context = _context(access) | {
        "person": person,
        "is_patient": isinstance(person, Patient),
        "traces": traces(person),
        "form": form,
        "problem": problem,
    }
    status = 503 if problem else 422 if form.is_bound else 200
    return render(request, "instruments/person_erase.html", context, status=status)


def _sides(dyad: Dyad) -> list[tuple[str, Consequences, int]]:
    """What would follow, for each side: (its name, in this dyad, in how many dyads the person is)."""
    return [
        (str(role.label), consequences([dyad], role.value), dyads_of_the_same_person(dyad, Role(role.value)).count())
        for role in Withdrawal.Role
    ]


def _context(access: StudyAccess) -> dict[str, Any]:
    return {"access": access, "study": access.study, "section": "visits"}
