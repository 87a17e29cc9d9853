"""The front desk's page of the day, and the patient who does not take part after all."""

from collections import Counter

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_http_methods, require_POST
from django.views.decorators.vary import vary_on_headers

from instruments.day import MOST_VISITS, day_rows, owing
from instruments.devices import devices_needing_a_hand
from instruments.participation import VisitUnderWay, note_visit_declined, take_part_after_all
from instruments.staff_forms import DeclineForm
from studies.access import MANAGES_VISITS, StudyAccess, signed_in, staff_page, study_for
from studies.models import Visit
from studies.sessions import is_in_background


@staff_page
@vary_on_headers("X-Background")
@require_GET
def day(request: HttpRequest, code: str) -> HttpResponse:
    """Who comes today, how far each patient is, and who still owes a form; asked by itself, only what may change."""
    access = study_for(request.user, code, *MANAGES_VISITS)
    now = timezone.now()
    today = timezone.localdate(now)
    rows = day_rows(access, day=today, now=now)
    counts = Counter(row.progress.name for row in rows)
    context = _context(access) | {
        "today": today,
        "now": now,
        "rows": rows,
        "counts": counts,
        "counts_version": sorted(counts.items()),
        "is_cut": len(rows) == MOST_VISITS,
        "tablets": devices_needing_a_hand(access.study, now=now),
        "owing": owing(access, day=today, now=now),
    }
    return render(
        request, "instruments/day_parts.html" if is_in_background(request) else "instruments/day.html", context
    )


@staff_page
@require_http_methods(["GET", "POST"])
def visit_decline(request: HttpRequest, code: str, visit_id: int) -> HttpResponse:
    """Note that the patient of a visit does not take part, after saying what that ends."""
    access = study_for(request.user, code, *MANAGES_VISITS)
    visit = _visit(access, visit_id)
    form = DeclineForm(request.POST or None)
    status = 422 if form.is_bound else 200
    if form.is_valid():
        try:
            note_visit_declined(
                study=access.study,
                visit_id=visit.pk,
                **form.cleaned_data,
                actor=signed_in(request),
                now=timezone.now(),
            )
        except VisitUnderWay:
            form.add_error(None, _("This patient has begun the questionnaire. What was answered stays."))
            status = 409
        else:
            messages.success(request, _("It was noted. Both links of this visit are closed."))
            return redirect("day", code)
    return render(
        request, "instruments/visit_decline.html", _context(access) | {"form": form, "visit": visit}, status=status
    )


@staff_page
@require_POST
def visit_take_part(request: HttpRequest, code: str, visit_id: int) -> HttpResponse:
    """Take back that the patient does not take part."""
    access = study_for(request.user, code, *MANAGES_VISITS)
    visit = _visit(access, visit_id)
    if take_part_after_all(study=access.study, visit_id=visit.pk, actor=signed_in(request), now=timezone.now()):
        messages.success(request, _("The patient takes part. The links of this visit open again."))
    return redirect("day", code)


def _visit(access: StudyAccess, visit_id: int) -> Visit:
    visits = Visit.objects.filter(dyad__study=access.study).select_related(
        "dyad__patient", "dyad__clinician__site", "wave"
    )
    return get_object_or_404(access.within_sites(visits, "dyad__clinician__site"), pk=visit_id)


def _context(access: StudyAccess) -> dict[str, object]:
    return {"access": access, "study": access.study, "section": "day"}
