"""Signing in, the second factor, and invitations."""

from typing import Any

import segno
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.views import LoginView
from django.core.mail import BadHeaderError
from django.db import IntegrityError
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.safestring import mark_safe
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST

from studies import invitations, second_factor, throttle
from studies.access import MANAGES_STUDY, landing_address, signed_in, staff_page, whole_study_for
from studies.forms import (
    CodeForm,
    InvitationForm,
    LostSecondFactorForm,
    SignInForm,
    TakeUpForm,
    refuse_what_is_there_by_now,
)
from studies.models import SecondFactor
from studies.sessions import SECOND_FACTOR_SHOWN


class SignInView(LoginView):
    """User name and password; wrong ones make the next try wait, per account and browser."""

    authentication_form = SignInForm
    redirect_authenticated_user = True

    def get_default_redirect_url(self) -> str:
        """Where nothing else was asked for."""
        return landing_address(self.request.user)

    def form_valid(self, form: Any) -> HttpResponse:
        """Sign in, and let the browser's cookie say that this account works here."""
        response = super().form_valid(form)
        browser = throttle.succeeded(account=form.account, browser=form.browser)
        response.set_cookie(
            settings.KNOWN_BROWSER_COOKIE,
            browser.as_cookie(),
            max_age=365 * 24 * 60 * 60,
            secure=settings.SESSION_COOKIE_SECURE,
            httponly=True,
            samesite="Lax",
        )
        return response


sign_in = SignInView.as_view()


# --- the second factor ---


@staff_page
@require_http_methods(["GET", "POST"])
def second_factor_show(request: HttpRequest) -> HttpResponse:
    """Ask for the code of the app; on the way to the page that was asked for."""
    user = signed_in(request)
    if not second_factor.has_one(user):
        return redirect("second_factor_setup")
    form = CodeForm(request.POST or None)
    if form.is_valid():
        if second_factor.verify(user=user, code=form.cleaned_data["code"], now=timezone.now()):
            request.session[SECOND_FACTOR_SHOWN] = True
            request.session.cycle_key()
            return redirect(_next(request))
        form.add_error("code", _("This code is wrong, or was used before, or came too soon after wrong ones."))
    context = {"form": form, "next": _next(request)}
    return render(request, "studies/second_factor.html", context, status=422 if form.is_bound else 200)


@staff_page
@require_http_methods(["GET", "POST"])
def second_factor_setup(request: HttpRequest) -> HttpResponse:
    """Show the QR code for the app, and take the second factor into use with its first code."""
    user = signed_in(request)
    form = CodeForm(request.POST or None)
    if form.is_valid():
        codes = second_factor.confirm(user=user, code=form.cleaned_data["code"], now=timezone.now())
        if codes is not None:
            request.session[SECOND_FACTOR_SHOWN] = True
            request.session.cycle_key()
            return render(request, "studies/recovery_codes.html", {"codes": codes, "next": _next(request)})
        form.add_error("code", _("This code is not the app's code of now. Is the clock of the device right?"))
    try:
        enrolment = second_factor.begin(user=user)
    except SecondFactor.DoesNotExist:
        return render(
            request, "studies/second_factor_setup.html", {"is_there": True}, status=409 if form.is_bound else 200
        )
    qr_code = mark_safe(segno.make(enrolment.uri, error="m").svg_inline(omitsize=True, border=2))  # noqa: S308  only paths
    context = {"form": form, "qr_code": qr_code, "secret": enrolment.secret, "next": _next(request)}
    return render(request, "studies/second_factor_setup.html", context, status=422 if form.is_bound else 200)


@staff_page
@require_http_methods(["GET", "POST"])
def second_factor_remove(request: HttpRequest, code: str, member_id: int) -> HttpResponse:
    """Take away a member's second factor that is lost, after a page that says what that means; never one's own."""
    access = whole_study_for(request.user, code, *MANAGES_STUDY)
    actor = signed_in(request)
    member = get_object_or_404(access.study.members.select_related("user"), pk=member_id)
    person = member.user
    refusal = ""
    if person.pk == actor.pk:
        refusal = _("This is your own. Ask another admin: nobody takes away their own second factor.")
    elif person.is_superuser and not actor.is_superuser:
        refusal = _("This person looks after the whole installation. Only another superuser can do this.")
    elif not second_factor.has_one(person):
        refusal = _("This person has no second factor: there is nothing to take away.")
    form = LostSecondFactorForm(request.POST or None)
    if not refusal and form.is_valid():
        second_factor.remove(
            user=person, study=access.study, actor=actor, why=form.cleaned_data["why"], now=timezone.now()
        )
        messages.success(request, _("The second factor was taken away. At the next sign-in another one is set up."))
        return redirect("study_settings", code)
    context = {"access": access, "study": access.study, "section": "settings"}
    context |= {"form": form, "person": person, "refusal": refusal}
    status = 200 if request.method == "GET" else 409 if refusal else 422
    return render(request, "studies/second_factor_remove.html", context, status=status)


# --- invitations ---


@staff_page
@require_http_methods(["GET", "POST"])
def member_invite(request: HttpRequest, code: str) -> HttpResponse:
    """Send somebody a link behind which a role in the study waits."""
    access = whole_study_for(request.user, code, *MANAGES_STUDY)
    form = InvitationForm(request.POST or None, access=access)
    if form.is_valid():
        try:
            invitations.invite(study=access.study, **form.cleaned_data, actor=signed_in(request), now=timezone.now())
        except (OSError, BadHeaderError):
            form.add_error(None, _("The e-mail could not be sent, and nobody was invited. Try again later."))
        else:
            messages.success(request, _("The invitation was sent."))
            return redirect("study_settings", code)
    context = {"access": access, "study": access.study, "section": "settings"}
    context |= {"form": form, "title": _("Invite a person by e-mail")}
    return render(request, "studies/form.html", context, status=422 if form.is_bound else 200)


@staff_page
@require_POST
def invitation_withdraw(request: HttpRequest, code: str, invitation_id: int) -> HttpResponse:
    """Make an invitation's link open no more."""
    access = whole_study_for(request.user, code, *MANAGES_STUDY)
    invitation = get_object_or_404(access.study.invitations.filter(taken_at=None), pk=invitation_id)
    invitations.withdraw(invitation=invitation, actor=signed_in(request), now=timezone.now())
    messages.success(request, _("The invitation was withdrawn."))
    return redirect("study_settings", code)


@require_http_methods(["GET", "POST"])
def invitation_take_up(request: HttpRequest, token: str) -> HttpResponse:
    """Choose a user name and a password for the role that waits here."""
    invitation = invitations.open_invitation(token, now=timezone.now())
    if invitation is None:
        raise Http404
    form = TakeUpForm(request.POST or None)
    if form.is_valid():
        try:
            invitations.take_up(invitation=invitation, **form.cleaned_data, now=timezone.now())
        except invitations.InvitationGone as gone:
            raise Http404 from gone
        except IntegrityError as error:
            refuse_what_is_there_by_now(form, error)
        else:
            messages.success(request, _("Your account is ready. Sign in with it."))
            return redirect("login")
    context = {"form": form, "invitation": invitation}
    return render(request, "studies/invitation_take_up.html", context, status=422 if form.is_bound else 200)


def _next(request: HttpRequest) -> str:
    wanted = request.POST.get("next") or request.GET.get("next") or ""
    is_ours = url_has_allowed_host_and_scheme(wanted, {request.get_host()}, require_https=request.is_secure())
    return wanted if is_ours else landing_address(request.user)
