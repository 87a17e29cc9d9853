"""Home, sign-in, and the people and places of a study."""

from typing import Any

from django.contrib import messages
from django.contrib.auth.views import LogoutView
from django.db import IntegrityError
from django.db.models import Model
from django.forms import BaseForm
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_http_methods

from studies import setup
from studies.access import (
    MANAGES_STUDY,
    MAY_SEE_IDENTIFIERS,
    StudyAccess,
    accesses_of,
    signed_in,
    staff_page,
    whole_study_for,
)
from studies.forms import ClinicianForm, MemberForm, SiteForm, WaveForm, refuse_what_is_there_by_now
from studies.models import Member, Study

sign_out = LogoutView.as_view()


@require_GET
def home(request: HttpRequest) -> HttpResponse:
    """What this is; for a signed-in person, the studies and what they can do there."""
    if not request.user.is_authenticated:
        return render(request, "studies/welcome.html")
    context = {"accesses": accesses_of(request.user), "may_add_study": request.user.has_perm("studies.add_study")}
    return render(request, "studies/home.html", context)


@staff_page
@require_http_methods(["GET", "POST"])
def site_new(request: HttpRequest, code: str) -> HttpResponse:
    """Add a site."""
    access = whole_study_for(request.user, code, *MANAGES_STUDY)
    form = SiteForm(request.POST or None, access=access)
    return _add_part(request, access, form, title=_("Add a site"), added=_("The site was added."))


@staff_page
@require_http_methods(["GET", "POST"])
def clinician_new(request: HttpRequest, code: str) -> HttpResponse:
    """Add a clinician."""
    access = whole_study_for(request.user, code, *MANAGES_STUDY)
    form = ClinicianForm(request.POST or None, access=access)
    return _add_part(request, access, form, title=_("Add a clinician"), added=_("The clinician was added."))


@staff_page
@require_http_methods(["GET", "POST"])
def wave_new(request: HttpRequest, code: str) -> HttpResponse:
    """Add a wave."""
    access = whole_study_for(request.user, code, *MANAGES_STUDY)
    form = WaveForm(request.POST or None, access=access)
    return _add_part(request, access, form, title=_("Add a wave"), added=_("The wave was added."))


@staff_page
@require_http_methods(["GET", "POST"])
def site_edit(request: HttpRequest, code: str, site_id: int) -> HttpResponse:
    """Change a site's name and target."""
    access = whole_study_for(request.user, code, *MANAGES_STUDY)
    site = get_object_or_404(access.study.sites.all(), pk=site_id)
    form = SiteForm(request.POST or None, access=access, instance=site)
    return _change_part(request, access, form, title=_("Change a site"))


@staff_page
@require_http_methods(["GET", "POST"])
def wave_edit(request: HttpRequest, code: str, wave_id: int) -> HttpResponse:
    """Change a wave's name, place and window."""
    access = whole_study_for(request.user, code, *MANAGES_STUDY)
    wave = get_object_or_404(access.study.waves.all(), pk=wave_id)
    form = WaveForm(request.POST or None, access=access, instance=wave)
    return _change_part(request, access, form, title=_("Change a wave"))


@staff_page
@require_http_methods(["GET", "POST"])
def member_new(request: HttpRequest, code: str) -> HttpResponse:
    """Give a person a role in the study."""
    access = whole_study_for(request.user, code, *MANAGES_STUDY)
    form = MemberForm(request.POST or None, access=access)
    if form.is_valid():
        try:
            setup.add_member(study=access.study, **form.cleaned_data, actor=signed_in(request), now=timezone.now())
        except IntegrityError as error:
            refuse_what_is_there_by_now(form, error)
        else:
            messages.success(request, _("The person was added."))
            return redirect("study_settings", code)
    return _form_page(request, access, form, title=_("Add a person"))


@staff_page
@require_http_methods(["GET", "POST"])
def member_remove(request: HttpRequest, code: str, member_id: int) -> HttpResponse:
    """Take a role away, after a page that says what that means."""
    access = whole_study_for(request.user, code, *MANAGES_STUDY)
    members = access.study.members.select_related("user", "site", "study")
    member: Member = get_object_or_404(members, pk=member_id)
    is_last_admin = (
        member.role == Member.Role.ADMIN and access.study.members.filter(role=Member.Role.ADMIN).count() == 1
    )
    if request.method == "POST" and not is_last_admin:
        setup.remove_member(member=member, actor=signed_in(request), now=timezone.now())
        messages.success(request, _("The role was taken away."))
        return redirect("study_settings", code)
    context = _context(access) | {"member": member, "is_last_admin": is_last_admin}
    return render(request, "studies/member_remove.html", context, status=409 if request.method == "POST" else 200)


@staff_page
@require_http_methods(["GET", "POST"])
def member_identifiers(request: HttpRequest, code: str, member_id: int) -> HttpResponse:
    """Give a member the right to see patients' names, or take it away, after a page that says what that means."""
    access = whole_study_for(request.user, code, *MANAGES_STUDY)
    members = access.study.members.filter(role__in=MAY_SEE_IDENTIFIERS).select_related("user", "site", "study")
    member: Member = get_object_or_404(members, pk=member_id)
    if request.method == "POST":
        gives = request.POST.get("gives") == "1"
        setup.give_identifier_right(member=member, gives=gives, actor=signed_in(request), now=timezone.now())
        messages.success(request, _("The right was given.") if gives else _("The right was taken away."))
        return redirect("study_settings", code)
    return render(request, "studies/member_identifiers.html", _context(access) | {"member": member})


def _add_part(request: HttpRequest, access: StudyAccess, form: Any, *, title: str, added: str) -> HttpResponse:
    if form.is_valid():
        part: Any = form.save(commit=False)
        try:
            setup.add_part(study=access.study, part=part, actor=signed_in(request), now=timezone.now())
        except IntegrityError as error:
            refuse_what_is_there_by_now(form, error)
        else:
            messages.success(request, added)
            return redirect("study_settings", access.study.code)
    return _form_page(request, access, form, title=title)


def _change_part(request: HttpRequest, access: StudyAccess, form: Any, *, title: str) -> HttpResponse:
    if form.is_valid():
        part: Any = form.save(commit=False)
        setup.change_part(study=access.study, part=part, actor=signed_in(request), now=timezone.now())
        messages.success(request, _("The change was saved."))
        return redirect("study_settings", access.study.code)
    return _form_page(request, access, form, title=title)


def _form_page(request: HttpRequest, access: StudyAccess, form: BaseForm, *, title: str) -> HttpResponse:
    context = _context(access) | {"form": form, "title": title}
    return render(request, "studies/form.html", context, status=422 if form.is_bound else 200)


def _context(access: StudyAccess) -> dict[str, StudyAccess | Study | Model | str]:
    return {"access": access, "study": access.study, "section": "settings"}
