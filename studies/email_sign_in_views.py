"""Asking for a sign-in link by e-mail, and using it."""

from functools import partial

from django.contrib.auth import login
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import get_language
from django.views.decorators.http import require_http_methods

from studies import email_sign_in as links
from studies.access import accesses_of
from studies.forms import EmailSignInForm
from studies.sessions import limit_to_inbox
from studies.tasks import send_sign_in_links

BACKEND = "django.contrib.auth.backends.ModelBackend"


@require_http_methods(["GET", "POST"])
def email_sign_in(request: HttpRequest) -> HttpResponse:
    """Ask for a link. The answer is the same whether or not somebody has this address."""
    form = EmailSignInForm(request.POST or None)
    if form.is_valid():
        with transaction.atomic():
            links.ask(email=form.cleaned_data["email"], language=get_language() or "en", now=timezone.now())
            # Robust: with the broker away the row is there, and the sweep sends the link.
            transaction.on_commit(partial(send_sign_in_links.delay), robust=True)
        return redirect(f"{reverse('email_sign_in')}?asked=1")
    context = {"form": form, "is_asked": "asked" in request.GET, "minutes": links.VALID.seconds // 60}
    return render(request, "studies/email_sign_in.html", context, status=422 if form.is_bound else 200)


@require_http_methods(["GET", "HEAD", "POST"])
def email_sign_in_use(request: HttpRequest, token: str) -> HttpResponse:
    """A button that signs in, once. Opening the page changes nothing, because mail scanners open it, too."""
    now = timezone.now()
    user = links.use(token, now=now) if request.method == "POST" else None
    if user is not None:
        login(request, user, backend=BACKEND)
        limit_to_inbox(request)
        studies = [access.study for access in accesses_of(user) if access.rates_patients]
        return redirect("patients_to_rate", studies[0].code) if len(studies) == 1 else redirect("home")
    is_open = request.method != "POST" and links.is_open(token, now=now)
    response = render(request, "studies/email_sign_in_use.html", {"is_open": is_open}, status=200 if is_open else 410)
    response.headers["Referrer-Policy"] = "no-referrer"
    return response
