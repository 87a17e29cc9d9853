"""The day's list: read, shown, confirmed; and who does not take part."""

from datetime import date
from typing import Any
from uuid import UUID, uuid4

from django.contrib import messages
from django.db import IntegrityError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from instruments.day_list import EnrolledVisit, ListRefused, enrol_day_list, plan_day_list
from instruments.definitions import Role
from instruments.links import questionnaire_link
from instruments.participation import note_non_participation, participation
from instruments.staff_forms import DayListForm, NonParticipationForm
from studies.access import MANAGES_VISITS, SEES_RECRUITMENT, StudyAccess, signed_in, staff_page, study_for
from studies.drafts import discard_draft, keep_draft, open_draft

ROWS_SHOWN = 500
#: Beyond this many no sheet is made: its links would be a file, not a sheet of paper for a day.
MOST_ON_A_SHEET = 300


@staff_page
@require_http_methods(["GET", "POST"])
def day_list(request: HttpRequest, code: str) -> HttpResponse:
    """Choose a file of appointments; its preview."""
    access = study_for(request.user, code, *MANAGES_VISITS)
    form = DayListForm(request.POST or None, request.FILES or None, initial={"day": timezone.localdate()})
    context: dict[str, Any] = _context(access) | {"form": form}
    if not form.is_valid():
        return render(request, "instruments/day_list.html", context, status=422 if form.is_bound else 200)
    data, day = form.cleaned_data["file"].read(), form.cleaned_data["day"]
    plan = plan_day_list(access=access, data=data, default_day=day)
    context |= {"plan": plan, "shown": plan.visits[:ROWS_SHOWN], "n_not_shown": max(0, len(plan.visits) - ROWS_SHOWN)}
    if not plan.is_sound:
        return render(request, "instruments/day_list.html", context, status=422)
    key = uuid4()
    keep_draft(key=key, study=access.study, user=signed_in(request), day=day, content=data, now=timezone.now())
    return render(request, "instruments/day_list_preview.html", context | {"key": key})


@staff_page
@require_POST
def day_list_confirm(request: HttpRequest, code: str, key: UUID) -> HttpResponse:
    """Enrol the list that was previewed; the answer is the sheet with the links, once."""
    access = study_for(request.user, code, *MANAGES_VISITS)
    draft = open_draft(key=key, study=access.study, user=signed_in(request))
    if draft is None:
        messages.info(request, _("This list was enrolled before, or is older than a day. Choose the file again."))
        return redirect("day_list", code)
    plan = plan_day_list(access=access, data=bytes(draft.content), default_day=draft.day)
    try:
        enrolled = enrol_day_list(access=access, plan=plan, actor=signed_in(request), now=timezone.now())
    except (IntegrityError, ListRefused):
        plan = plan_day_list(access=access, data=bytes(draft.content), default_day=draft.day)
        form = DayListForm(initial={"day": draft.day})
        context = _context(access) | {"form": form, "plan": plan}
        return render(request, "instruments/day_list.html", context, status=409)
    discard_draft(draft)
    days = sorted({one.created.visit.visit_date for one in enrolled}) or [draft.day]
    if len(enrolled) > MOST_ON_A_SHEET or not enrolled:
        messages.success(request, _("The list was enrolled."))
        return redirect(f"{reverse('visits', args=[code])}?date={days[0]:%Y-%m-%d}")
    return render(request, "instruments/day_sheet.html", _context(access) | _sheet(request, enrolled, days))


@staff_page
@require_GET
def participation_page(request: HttpRequest, code: str) -> HttpResponse:
    """Offered, declined, not eligible, started, finished: per clinician, with the reasons."""
    access = study_for(request.user, code, *SEES_RECRUITMENT)
    rows = participation(access)
    context = _context(access) | {"section": "overview", "rows": rows, "has_any": any(row.n_offered for row in rows)}
    return render(request, "instruments/participation.html", context)


@staff_page
@require_http_methods(["GET", "POST"])
def non_participation_new(request: HttpRequest, code: str) -> HttpResponse:
    """Note people who do not take part: how many, of which clinician, and why; nobody's name."""
    access = study_for(request.user, code, *MANAGES_VISITS)
    form = NonParticipationForm(request.POST or None, access=access, initial={"day": timezone.localdate()})
    if form.is_valid():
        note_non_participation(study=access.study, **form.cleaned_data, actor=signed_in(request), now=timezone.now())
        messages.success(request, _("It was noted."))
        return redirect("participation", code)
    context = _context(access) | {"form": form, "title": _("Somebody does not take part")}
    return render(request, "studies/form.html", context, status=422 if form.is_bound else 200)


def _sheet(request: HttpRequest, enrolled: list[EnrolledVisit], days: list[date]) -> dict[str, Any]:
    cards = []
    for one in sorted(enrolled, key=lambda one: (one.created.visit.visit_date, one.at, one.created.visit.pk)):
        visit = one.created.visit
        links = [questionnaire_link(request, Role.PATIENT, one.created.patient_token)]
        # A clinician without an account has no list of their own to find the form in.
        if visit.dyad.clinician.user_id is None:
            links.append(questionnaire_link(request, Role.CLINICIAN, one.created.clinician_token))
        cards.append({"visit": visit, "at": one.at, "links": links})
    return {"cards": cards, "day": days[0], "several_days": len(days) > 1}


def _context(access: StudyAccess) -> dict[str, Any]:
    return {"access": access, "study": access.study, "section": "visits"}
