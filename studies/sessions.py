"""How long a sign-in lasts, and that it counts only with its second factor where one is needed."""

from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.contrib.auth import logout
from django.contrib.auth.models import User
from django.contrib.auth.signals import user_logged_in
from django.dispatch import receiver
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import Resolver404, resolve, reverse
from django.utils import timezone
from django.utils.http import urlencode
from django.utils.translation import gettext as _

from studies import audit
from studies.models import Member, SecondFactor

SIGNED_IN_AT, SEEN_AT = "signed_in_at", "seen_at"
SECOND_FACTOR_NEEDED, SECOND_FACTOR_SHOWN = "second_factor_needed", "second_factor_shown"
SIGNED_IN_BY_EMAIL = "signed_in_by_email"
#: All that a sign-in by an e-mailed link opens, whatever other roles the account holds: the clinician's inbox.
OPENED_BY_EMAIL = frozenset({
    "home", "logout", "login", "set_language", "patients_to_rate", "rate_patient", "rating_label",
    "email_sign_in", "email_sign_in_use", "form_texts", "service_worker",
})  # fmt: skip
#: How old the note of the last sign of life may get before it is written again, in seconds.
NOTE_EVERY = 60
#: What can be opened before the second factor was shown.
BEFORE_SECOND_FACTOR = frozenset({
    "second_factor", "second_factor_setup", "logout", "login", "set_language", "health_live", "health_ready", "metrics",
})  # fmt: skip


#: Who must have a second factor where the installation asks for it.
ROLES_THAT_NEED_IT = (Member.Role.ADMIN, Member.Role.RESEARCHER, Member.Role.CLINICIAN)


def needs_second_factor(user: User) -> bool:
    """Whether this person must show one: who has one always, others where the installation asks for it."""
    if SecondFactor.objects.filter(user=user, confirmed_at__isnull=False).exists():
        return True
    if not settings.SECOND_FACTOR_REQUIRED:
        return False
    return user.is_superuser or Member.objects.filter(user=user, role__in=ROLES_THAT_NEED_IT).exists()


@receiver(user_logged_in)
def begin_session(sender: Any, request: HttpRequest, user: User, **kwargs: Any) -> None:
    """Note when it began, and whether it needs a second factor."""
    if hasattr(request, "session"):
        now = int(timezone.now().timestamp())
        request.session[SIGNED_IN_AT] = request.session[SEEN_AT] = now
        request.session[SECOND_FACTOR_NEEDED] = needs_second_factor(user)
        request.session.pop(SIGNED_IN_BY_EMAIL, None)


def limit_to_inbox(request: HttpRequest) -> None:
    """Hold the sign-in that has just begun to the inbox: it was by an e-mailed link, without a second factor."""
    request.session[SECOND_FACTOR_NEEDED] = False
    request.session[SIGNED_IN_BY_EMAIL] = True


def is_beyond_sign_in(request: HttpRequest, url_name: str) -> bool:
    """Whether this page needs more than the e-mailed link by which the person signed in."""
    return bool(request.session.get(SIGNED_IN_BY_EMAIL)) and not (
        url_name in OPENED_BY_EMAIL or _needs_no_sign_in(url_name)
    )


def _needs_no_sign_in(url_name: str) -> bool:
    return url_name.startswith(("questionnaire", "tablet", "health", "metrics"))


class GuardSessions:
    """Ends sessions that were idle or lasted too long, and sends on to the second factor."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        name = _url_name(request)
        if _needs_no_sign_in(name) or not isinstance(request.user, User):
            return self.get_response(request)
        now = int(timezone.now().timestamp())
        session = request.session
        began, seen = session.get(SIGNED_IN_AT, 0), session.get(SEEN_AT, 0)
        if now - began > settings.SESSION_ABSOLUTE_SECONDS or now - seen > settings.SESSION_IDLE_SECONDS:
            return _end(request, "idle" if now - seen > settings.SESSION_IDLE_SECONDS else "too long")
        # A page that looks for news by itself is no sign of life: a desk that somebody left is still signed out.
        if now - seen >= NOTE_EVERY and not is_in_background(request):
            session[SEEN_AT] = now
        if (
            session.get(SECOND_FACTOR_NEEDED)
            and not session.get(SECOND_FACTOR_SHOWN)
            and name not in BEFORE_SECOND_FACTOR
        ):
            target = reverse("second_factor")
            return redirect(
                f"{target}?{urlencode({'next': request.get_full_path()})}" if request.method == "GET" else target
            )
        return self.get_response(request)


def is_in_background(request: HttpRequest) -> bool:
    """Whether a page asks by itself, without anybody having done something."""
    return "X-Background" in request.headers


def _end(request: HttpRequest, why: str) -> HttpResponse:
    user = request.user
    assert isinstance(user, User)
    audit.record(study=None, actor=user, action="session ended", detail={"because": why}, now=timezone.now())
    logout(request)
    messages.info(request, _("You were signed out because nobody used this page for a while. Sign in to go on."))
    way_back = f"?{urlencode({'next': request.get_full_path()})}" if request.method == "GET" else ""
    return redirect(reverse("login") + way_back)


def _url_name(request: HttpRequest) -> str:
    try:
        return resolve(request.path_info).url_name or ""
    except Resolver404:
        return ""
