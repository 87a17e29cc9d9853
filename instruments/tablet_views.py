"""The tablet's own pages: it waits, opens what was handed over to it, and is locked until the front desk's PIN.

The tablet holds no staff session: whoever was signed in on it is signed out when one of these pages opens.
"""

import json
from collections.abc import Callable
from datetime import datetime
from functools import wraps
from typing import Any

from django.contrib.auth import logout
from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone, translation
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from instruments import codes, devices, hand_over, tablets
from instruments.devices import MOST_REPORTED, OfferGone, PinMustWait, WrongPin
from instruments.models import HandOver
from instruments.views import known_browser, remember_browser
from studies.models import Device

_View = Callable[..., HttpResponse]


def _signed_out(view: _View) -> _View:
    @wraps(view)
    def page(request: HttpRequest, **kwargs: Any) -> HttpResponse:
        if request.user.is_authenticated:
            logout(request)
        return view(request, **kwargs)

    return page


@require_http_methods(["GET", "POST"])
@_signed_out
def tablet(request: HttpRequest) -> HttpResponse:
    """What this tablet is to show now: the waiting page, its next questionnaire, or the lock. POST gives it back."""
    now = timezone.now()
    secret = tablets.secret_of(request)
    device = devices.device_with_secret(secret)
    if device is None:
        response = render(request, "tablets/unknown.html")
        tablets.forget_tablet(response)
        return response
    if request.method == "POST":
        response = _see_other(reverse("tablet"))
        tablets.close_form(request, response)
        return response
    devices.seen(device, now=now)
    opened = hand_over.current(device)
    if opened is not None:
        return _with_patient(request, device, opened, secret, now=now)
    if device.revoked_at is not None:
        return _closed(request, render(request, "tablets/revoked.html", {"device": device}))
    token = hand_over.take(device=device, secret=secret, now=now)
    if token is None:
        response = render(request, "tablets/waiting.html", {"device": device})
        tablets.await_form(response)
    else:
        response = _questionnaire(request, token)
    tablets.make_tablet(request, response, secret)
    return response


def _with_patient(
    request: HttpRequest, device: Device, opened: HandOver, secret: str, *, now: datetime
) -> HttpResponse:
    """The patient is asked whether to stop; or has finished, paused or stopped, and the tablet is locked."""
    form = opened.administration
    is_over = form.is_completed or form.is_declined or form.is_expired(now=now)
    token = None if is_over else hand_over.token_again(opened, secret)
    if token is not None and tablets.shows_form(request, form.token_hash):
        with translation.override(form.language or translation.get_language()):
            return render(request, "tablets/stop.html", {"link": reverse("questionnaire", args=[token])})
    if token is not None and not tablets.was_closed(request) and hand_over.may_ask_again(opened, now=now):
        return _questionnaire(request, token)
    if device.revoked_at is not None:
        return _closed(request, render(request, "tablets/revoked.html", {"device": device}))
    return _locked(request, opened)


def _locked(request: HttpRequest, opened: HandOver, *, problem: str = "", status: int = 200) -> HttpResponse:
    form = opened.administration
    context = {"is_completed": form.is_completed, "is_declined": form.is_declined, "problem": problem}
    with translation.override(form.language or translation.get_language()):
        return _closed(request, render(request, "tablets/locked.html", context, status=status))


@require_POST
@_signed_out
def unlock(request: HttpRequest) -> HttpResponse:
    """The PIN: ready for the next patient, or on with the questionnaire that was paused."""
    now = timezone.now()
    secret = tablets.secret_of(request)
    device = devices.device_with_secret(secret)
    opened = None if device is None else hand_over.current(device)
    if device is None or opened is None or device.revoked_at is not None:
        return _see_other(reverse("tablet"))
    try:
        devices.check_pin(device=device, pin=request.POST.get("pin", ""), now=now)
    except WrongPin:
        return _locked(request, opened, problem="wrong", status=422)
    except PinMustWait:
        return _locked(request, opened, problem="slow", status=429)
    form = opened.administration
    token = None if form.is_completed or form.is_declined else hand_over.token_again(opened, secret)
    if request.POST.get("then") == "go on" and token is not None:
        hand_over.go_on(hand_over=opened, now=now)
        return _questionnaire(request, token)
    hand_over.end(hand_over=opened, now=now)
    return _see_other(reverse("tablet"))


@require_GET
@_signed_out
def open_link(request: HttpRequest, token: str) -> HttpResponse:
    """A questionnaire's link was opened on a tablet that has another one open, or none."""
    secret = tablets.secret_of(request)
    device = devices.device_with_secret(secret)
    if device is None:
        response = _see_other(reverse("questionnaire", args=[token]))
        tablets.forget_tablet(response)
        return response
    if hand_over.open_here(device=device, secret=secret, token=token, with_code=False, now=timezone.now()):
        return _questionnaire(request, token)
    return _see_other(reverse("tablet"))


@require_GET
def look(request: HttpRequest) -> JsonResponse:
    """For the waiting page's script: whether there is something else to show."""
    now = timezone.now()
    device = devices.device_with_secret(tablets.secret_of(request))
    if device is None or device.revoked_at is not None:
        return JsonResponse({"is_waiting": False})
    devices.seen(device, now=now)
    return JsonResponse(
        {"is_waiting": hand_over.current(device) is None and not hand_over.waiting_for(device, now=now)}
    )


@csrf_exempt  # it comes from the service worker, too; the cookie is not sent along with another site's post
@require_POST
def report(request: HttpRequest) -> JsonResponse:
    """What the tablet's script says of itself: how many answers wait on it, how many were ever refused."""
    device = devices.device_with_secret(tablets.secret_of(request))
    if device is None:
        return JsonResponse({"error": "This browser is no tablet of a site."}, status=404)
    counts = _counts(request)
    if counts is None:
        return JsonResponse({"error": "The body must be JSON with the counts unsent and refused."}, status=422)
    devices.report(device=device, n_unsent=counts[0], refused_counter=counts[1], now=timezone.now())
    return JsonResponse({"is_enrolled": device.is_enrolled})


def _counts(request: HttpRequest) -> tuple[int, int] | None:
    try:
        told = json.loads(request.body)
    except (ValueError, RecursionError, RequestDataTooBig):
        return None
    if not isinstance(told, dict):
        return None
    unsent, refused = _count(told.get("unsent")), _count(told.get("refused"))
    return None if unsent is None or refused is None else (unsent, refused)


def _count(value: object) -> int | None:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MOST_REPORTED:
        return value
    return None


# --- becoming a tablet ---


@require_http_methods(["GET", "POST"])
@_signed_out
def enrol(request: HttpRequest, token: str) -> HttpResponse:
    """The link of the staff's page, opened on the tablet: asks, then makes this browser the tablet."""
    now = timezone.now()
    try:
        device = devices.offered_device(token, now=now)
        if request.method == "POST":
            return _enrolled(request, device, now=now)
    except OfferGone:
        return render(request, "tablets/enrol_gone.html", status=410)
    return render(request, "tablets/enrol.html", {"device": device})


@require_POST
@_signed_out
def enrol_with_code(request: HttpRequest) -> HttpResponse:
    """The same with the eight characters that stand beside the link."""
    now = timezone.now()
    try:
        device = devices.device_of_code(typed=request.POST.get("code", ""), browser=known_browser(request), now=now)
        return _enrolled(request, device, now=now)
    except OfferGone:
        return render(request, "tablets/unknown.html", {"problem": "unknown"}, status=422)
    except codes.TooManyGuesses:
        return render(request, "tablets/unknown.html", {"problem": "slow"}, status=429)


def _enrolled(request: HttpRequest, device: Device, *, now: datetime) -> HttpResponse:
    before = devices.device_with_secret(tablets.secret_of(request))
    secret = devices.enrol(device=device, replaces=before, now=now)
    response = _closed(request, _see_other(reverse("tablet")))
    tablets.make_tablet(request, response, secret)
    remember_browser(request, response)
    return response


# --- parts ---


def _questionnaire(request: HttpRequest, token: str) -> HttpResponse:
    response = _see_other(reverse("questionnaire", args=[token]))
    tablets.open_form(request, response, token)
    return response


def _closed(request: HttpRequest, response: HttpResponse) -> HttpResponse:
    tablets.close_form(request, response)
    return response


def _see_other(address: str) -> HttpResponse:
    return HttpResponse(status=303, headers={"Location": address})
