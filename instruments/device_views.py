"""Staff pages about a site's tablets, and handing a patient's questionnaire over to one."""

from dataclasses import dataclass

import segno
from django.contrib import messages
from django.contrib.auth import logout
from django.db import IntegrityError
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from instruments import devices, hand_over, tablets
from instruments.codes import in_groups
from instruments.definitions import Role
from instruments.device_forms import DeviceForm
from instruments.devices import DeviceState, Offer, State
from instruments.hand_over import DeviceNotReady
from instruments.models import Administration, HandOver
from instruments.services import AnswerRefused, QuestionnaireUnderWay
from instruments.staff_views import fresh_link
from instruments.views import remember_browser
from studies.access import MANAGES_VISITS, StudyAccess, signed_in, staff_page, study_for
from studies.forms import refuse_what_is_there_by_now
from studies.models import Device, Visit


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One tablet on the page that asks which one to hand over to. `refusal` says why it cannot be this one."""

    state: DeviceState
    refusal: str = ""


# --- the tablets of a site ---


@staff_page
@require_GET
def device_list(request: HttpRequest, code: str) -> HttpResponse:
    """Every tablet: what it is doing, when it was last heard, and what waits on it."""
    access = study_for(request.user, code, *MANAGES_VISITS)
    states = devices.device_states(access.study, now=timezone.now())
    context = _context(access) | {
        "states": states,
        "needy": [one for one in states if one.needs],
        "has_sites": access.sites.exists(),
        "several_sites": len({one.device.site_id for one in states}) > 1,
    }
    return render(request, "tablets/staff_list.html", context)


@staff_page
@require_http_methods(["GET", "POST"])
def device_new(request: HttpRequest, code: str) -> HttpResponse:
    """Add a tablet; the answer shows what enrols it, once."""
    access = study_for(request.user, code, *MANAGES_VISITS)
    form = DeviceForm(request.POST or None, access=access)
    if form.is_valid():
        try:
            offer = devices.add_device(**form.values(), actor=signed_in(request), now=timezone.now())
        except IntegrityError as error:
            refuse_what_is_there_by_now(form, error)
        else:
            return _offer_page(request, access, offer)
    context = _context(access) | {"form": form, "title": _("Add a tablet")}
    return render(request, "tablets/staff_form.html", context, status=422 if form.is_bound else 200)


@staff_page
@require_http_methods(["GET", "POST"])
def device_edit(request: HttpRequest, code: str, device_id: int) -> HttpResponse:
    """Another name or PIN."""
    access = study_for(request.user, code, *MANAGES_VISITS)
    device = _device(device_id)
    form = DeviceForm(request.POST or None, access=access, device=device)
    if form.is_valid():
        values = form.values()
        try:
            devices.change_device(
                device=device, name=values["name"], pin=values["pin"], actor=signed_in(request), now=timezone.now()
            )
        except IntegrityError as error:
            refuse_what_is_there_by_now(form, error)
        else:
            messages.success(request, _("The change was saved."))
            return redirect("devices", code)
    context = _context(access) | {"form": form, "title": _("Change a tablet"), "device": device}
    return render(request, "tablets/staff_form.html", context, status=422 if form.is_bound else 200)


@staff_page
@require_http_methods(["GET", "POST"])
def device_link(request: HttpRequest, code: str, device_id: int) -> HttpResponse:
    """A new link to enrol a tablet, for one that was not opened in time or whose browser has forgotten it."""
    access = study_for(request.user, code, *MANAGES_VISITS)
    device = _device(device_id)
    if request.method == "POST":
        offer = devices.offer_again(device=device, actor=signed_in(request), now=timezone.now())
        return _offer_page(request, access, offer)
    return render(request, "tablets/staff_link.html", _context(access) | {"device": device})


@staff_page
@require_http_methods(["GET", "POST"])
def device_revoke(request: HttpRequest, code: str, device_id: int) -> HttpResponse:
    """Take a tablet out of use, after a page that says what happens then."""
    access = study_for(request.user, code, *MANAGES_VISITS)
    device = _device(device_id)
    now = timezone.now()
    if request.method == "POST":
        devices.revoke(device=device, actor=signed_in(request), now=now)
        messages.success(request, _("“%(name)s” is no longer enrolled.") % {"name": device.name})
        return redirect("devices", code)
    states = {one.device.pk: one for one in devices.device_states(access.study, now=now)}
    context = _context(access) | {"device": device, "state": states.get(device.pk)}
    return render(request, "tablets/staff_revoke.html", context)


@staff_page
@require_POST
def device_noted(request: HttpRequest, code: str, device_id: int) -> HttpResponse:
    """Somebody has seen that the server would not take answers of this tablet."""
    study_for(request.user, code, *MANAGES_VISITS)
    device = get_object_or_404(Device.objects.select_related("site__study"), pk=device_id)
    devices.note_refused(device=device, actor=signed_in(request), now=timezone.now())
    return redirect("devices", code)


@staff_page
@require_POST
def take_back(request: HttpRequest, code: str, device_id: int) -> HttpResponse:
    """Take back what the tablet has not opened yet."""
    study_for(request.user, code, *MANAGES_VISITS)
    device = _device(device_id)
    waiting = HandOver.objects.filter(device=device, taken_at=None, ended_at=None).first()
    if waiting is not None and hand_over.cancel(hand_over=waiting, actor=signed_in(request), now=timezone.now()):
        messages.success(request, _("Taken back: the tablet opens nothing."))
    else:
        messages.info(request, _("There was nothing to take back: the tablet has opened it by now."))
    return redirect("devices", code)


# --- handing over ---


@staff_page
@require_http_methods(["GET", "POST"])
def hand_over_page(request: HttpRequest, code: str, administration_id: int) -> HttpResponse:
    """Choose the tablet that opens a patient's questionnaire: an enrolled one, or the device in hand.

    A form that the patient has begun goes on only where it was begun, or by its code: whoever gets a new link would
    see the answers.
    """
    access = study_for(request.user, code, *MANAGES_VISITS)
    questionnaires = Administration.objects.filter(visit__dyad__study=access.study, role=Role.PATIENT).select_related(
        "visit__dyad__patient", "visit__dyad__clinician__site", "visit__wave"
    )
    administration = get_object_or_404(
        access.within_sites(questionnaires, "visit__dyad__clinician__site"), pk=administration_id
    )
    visit = administration.visit
    is_today = visit.visit_date == timezone.localdate()
    context = _context(access) | {
        "administration": administration,
        "visit": visit,
        "section": "day" if is_today else "visits",
        "back": _day_of(code, visit),
    }
    if visit.dyad.clinician.user_id == signed_in(request).pk:
        return render(request, "instruments/staff_link_reissue.html", context | {"is_own": True}, status=403)
    if administration.is_completed or administration.is_expired(now=timezone.now()):
        messages.info(request, _("This questionnaire is finished, or its time is over."))
        return redirect(_day_of(code, visit))
    if request.method == "GET":
        choices = _choices(access, administration)
        return render(request, "tablets/staff_hand_over.html", context | {"choices": choices})
    chosen = request.POST.get("tablet", "")
    if not chosen:
        return _hand_over_here(request, access, administration)
    if not (chosen.isascii() and chosen.isdigit() and len(chosen) < 19):
        return _not_handed_over(request, code, administration)
    device = get_object_or_404(_devices_at(visit), pk=int(chosen))
    try:
        hand_over.ask(device=device, administration=administration, actor=signed_in(request), now=timezone.now())
    except (DeviceNotReady, AnswerRefused):
        return _not_handed_over(request, code, administration)
    messages.success(
        request,
        _("“%(tablet)s” opens the questionnaire of %(patient)s within seconds. Please bring it to the patient.")
        % {"tablet": device.name, "patient": visit.dyad.patient.code},
    )
    return redirect(_day_of(code, visit))


def _hand_over_here(request: HttpRequest, access: StudyAccess, administration: Administration) -> HttpResponse:
    """On the device in hand: signs out here and opens the questionnaire."""
    now = timezone.now()
    code = access.study.code
    device = devices.device_with_secret(tablets.secret_of(request))
    if device is not None and device.is_enrolled and device.site_id == administration.visit.dyad.clinician.site_id:
        opened = hand_over.current(device)
        if opened is not None:  # who holds the tablet is signed in: more than the PIN
            hand_over.end(hand_over=opened, now=now)
        try:
            hand_over.ask(device=device, administration=administration, actor=signed_in(request), now=now)
        except (DeviceNotReady, QuestionnaireUnderWay):
            return _not_handed_over(request, code, administration)
        logout(request)
        return redirect("tablet")
    if administration.is_under_way_with_patient:
        logout(request)
        response = redirect("questionnaire_code")
    else:
        link = fresh_link(request, access, administration, into_hand=True)
        if link is None:
            return _not_handed_over(request, code, administration)
        logout(request)
        response = redirect(link.url)
        remember_browser(request, response)
    if tablets.is_tablet(request):  # one that was revoked, or of another site: staff use it as any other device
        tablets.forget_tablet(response)
    return response


def _choices(access: StudyAccess, administration: Administration) -> list[Choice]:
    """The enrolled tablets of the visit's site. A begun questionnaire can go on where it was begun only."""
    site_id = administration.visit.dyad.clinician.site_id
    begun_on = None
    if administration.is_under_way_with_patient:
        begun_on = frozenset(hand_over.begun_on(administration).values_list("device_id", flat=True))
    choices = []
    for state in devices.device_states(access.study, now=timezone.now()):
        if state.device.site_id != site_id or state.state in (State.OFFERED, State.REVOKED):
            continue
        is_elsewhere = begun_on is not None and state.device.pk not in begun_on
        choices.append(Choice(state=state, refusal=_("The patient has begun it elsewhere.") if is_elsewhere else ""))
    return choices


def _not_handed_over(request: HttpRequest, code: str, administration: Administration) -> HttpResponse:
    messages.warning(request, _("Nothing was handed over: things have changed meanwhile. Please choose again."))
    return redirect("hand_over", code, administration.pk)


def _day_of(code: str, visit: Visit) -> str:
    """Where the desk goes on: today's page, or the list of that day."""
    if visit.visit_date == timezone.localdate():
        return reverse("day", args=[code])
    return f"{reverse('visits', args=[code])}?date={visit.visit_date:%Y-%m-%d}"


# --- parts ---


def _device(device_id: int) -> Device:
    """A tablet in reach that is not revoked."""
    return get_object_or_404(Device.objects.filter(revoked_at=None).select_related("site__study"), pk=device_id)


def _devices_at(visit: Visit) -> "QuerySet[Device]":
    return Device.objects.filter(site_id=visit.dyad.clinician.site_id).select_related("site__study")


def _offer_page(request: HttpRequest, access: StudyAccess, offer: Offer) -> HttpResponse:
    # Shown in the answer itself, not kept: loading the page again must not make another link.
    url = request.build_absolute_uri(reverse("tablet_enrol", args=[offer.token]))
    context = _context(access) | {
        "device": offer.device,
        "url": url,
        "qr_code": _qr_code(url),
        "code": in_groups(offer.code),
        "minutes": int(devices.OFFER_VALID.total_seconds() // 60),
    }
    return render(request, "tablets/staff_offer.html", context)


def _qr_code(url: str) -> SafeString:
    return mark_safe(segno.make(url, error="m").svg_inline(omitsize=True, border=2))  # noqa: S308  only paths


def _context(access: StudyAccess) -> dict[str, object]:
    return {"access": access, "study": access.study, "section": "devices"}
