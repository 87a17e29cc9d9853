"""Who patients are: find, show, add, change, delete. A name is only ever in an answer to a posted form."""

from dataclasses import asdict
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from studies.access import MAY_SEE_IDENTIFIERS, StudyAccess, signed_in, staff_page, study_for
from studies.identifier_forms import IdentifiersForm, LookUpForm, PurposeForm
from studies.identifier_keys import BadKeys, CannotOpen
from studies.identifiers import look, look_up, remove, store
from studies.models import Patient, PatientIdentifiers


@staff_page
@require_http_methods(["GET", "POST"])
def identifiers(request: HttpRequest, code: str) -> HttpResponse:
    """Find a patient by name, number or study code; the answer tells study codes only."""
    access = _access(request, code)
    form = LookUpForm(request.POST or None)
    context = _context(access) | {"form": form}
    if not form.is_valid():
        return render(request, "studies/identifiers.html", context, status=422 if form.is_bound else 200)
    by, value = form.cleaned_data["by"], form.cleaned_data["value"]
    if by == "code":
        patients = Patient.objects.filter(site__study=access.study, code=value.strip())
        found = list(patients.select_related("site", "identifiers").order_by("site__code"))
    else:
        try:
            found = look_up(study=access.study, field=by, value=value, actor=signed_in(request), now=timezone.now())
        except BadKeys as problem:
            return _no_key(request, access, problem)
    return render(request, "studies/identifiers.html", context | {"found": found, "was_asked": True})


@staff_page
@require_http_methods(["GET", "POST"])
def identifiers_show(request: HttpRequest, code: str, patient_id: int) -> HttpResponse:
    """Say what for, then see one patient's identifiers; the trail has the line before the page has the name."""
    access = _access(request, code)
    patient = _patient(access, patient_id)
    if not PatientIdentifiers.objects.filter(pk=patient.pk).exists():
        return redirect("identifiers_edit", code, patient.pk)
    form = PurposeForm(request.POST or None)
    context = _context(access) | {"patient": patient, "form": form}
    if not form.is_valid():
        return render(request, "studies/identifiers_show.html", context, status=422 if form.is_bound else 200)
    try:
        known = look(
            patient=patient, purpose=form.cleaned_data["purpose"], actor=signed_in(request), now=timezone.now()
        )
    except (BadKeys, CannotOpen) as problem:
        return _no_key(request, access, problem)
    except PatientIdentifiers.DoesNotExist:
        return redirect("identifiers", code)  # deleted a moment ago
    context |= {"known": known, "form": IdentifiersForm(initial=asdict(known))}
    return render(request, "studies/identifiers_shown.html", context)


@staff_page
@require_http_methods(["GET", "POST"])
def identifiers_edit(request: HttpRequest, code: str, patient_id: int) -> HttpResponse:
    """Add a patient's identifiers, or store changed ones; what is there is only filled in after a look."""
    access = _access(request, code)
    patient = _patient(access, patient_id)
    is_known = PatientIdentifiers.objects.filter(pk=patient.pk).exists()
    if is_known and request.method == "GET":
        return redirect("identifiers_show", code, patient.pk)
    if not access.study.keeps_identifiers:
        return redirect("identifiers", code)
    form = IdentifiersForm(request.POST or None)
    if form.is_valid():
        try:
            store(patient=patient, identifiers=form.identifiers(), actor=signed_in(request), now=timezone.now())
        except BadKeys as problem:
            return _no_key(request, access, problem)
        messages.success(request, _("Saved for patient %(code)s.") % {"code": patient.code})
        return redirect("identifiers", code)
    context = _context(access) | {"patient": patient, "form": form, "is_known": is_known}
    return render(request, "studies/identifiers_edit.html", context, status=422 if form.is_bound else 200)


@staff_page
@require_http_methods(["GET", "POST"])
def identifiers_delete(request: HttpRequest, code: str, patient_id: int) -> HttpResponse:
    """Delete a patient's identifiers, after a page that says what that means."""
    access = _access(request, code)
    patient = _patient(access, patient_id)
    if request.method == "POST":
        remove(patient=patient, actor=signed_in(request), now=timezone.now())
        messages.success(request, _("The name and contact details were deleted."))
        return redirect("identifiers", code)
    return render(request, "studies/identifiers_delete.html", _context(access) | {"patient": patient})


def _access(request: HttpRequest, code: str) -> StudyAccess:
    return study_for(request.user, code, *MAY_SEE_IDENTIFIERS, identifiers=True)


def _patient(access: StudyAccess, patient_id: int) -> Patient:
    patients = Patient.objects.filter(site__study=access.study).select_related("site__study")
    return get_object_or_404(access.within_sites(patients, "site"), pk=patient_id)


def _no_key(request: HttpRequest, access: StudyAccess, problem: Exception) -> HttpResponse:
    """For the person at the desk and whoever runs the site; the message names keys by their ids."""
    return render(request, "studies/identifiers_no_key.html", _context(access) | {"problem": str(problem)}, status=503)


def _context(access: StudyAccess) -> dict[str, Any]:
    return {"access": access, "study": access.study, "section": "identifiers"}
