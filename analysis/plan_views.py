"""Pages of a study's analysis plan."""

from django.contrib import messages
from django.db import IntegrityError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_http_methods

from analysis.forms import AnalysisPlanForm
from analysis.plans import newest_plan, write_plan
from studies.access import MANAGES_STUDY, SEES_SCORES, StudyAccess, signed_in, staff_page, whole_study_for
from studies.plain_text import blocks


@staff_page
@require_GET
def analysis_plan(request: HttpRequest, code: str) -> HttpResponse:
    """The plan that counts, and its versions."""
    access = whole_study_for(request.user, code, *SEES_SCORES)
    versions = [
        {"plan": plan, "blocks": blocks(plan.text)}
        for plan in access.study.analysis_plans.select_related("written_by").order_by("-number")
    ]
    return render(request, "analysis/plan.html", _context(access) | {"versions": versions})


@staff_page
@require_http_methods(["GET", "POST"])
def analysis_plan_edit(request: HttpRequest, code: str) -> HttpResponse:
    """Write a new version."""
    access = whole_study_for(request.user, code, *MANAGES_STUDY)
    before = newest_plan(access.study)
    initial = {"text": before.text, "confirmatory": "\n".join(before.confirmatory)} if before else {}
    form = AnalysisPlanForm(request.POST or None, study=access.study, initial=initial)
    if form.is_valid():
        try:
            plan = write_plan(study=access.study, **form.cleaned_data, actor=signed_in(request), now=timezone.now())
        except IntegrityError:
            form.add_error(None, _("Somebody else has saved a version just now. Look at it before you save yours."))
        else:
            if plan is None:
                messages.info(request, _("The text is the same as before; no version was added."))
            else:
                messages.success(request, _("Version %(number)d was saved.") % {"number": plan.number})
            return redirect("analysis_plan", code)
    context = _context(access) | {"form": form}
    return render(request, "analysis/plan_edit.html", context, status=422 if form.is_bound else 200)


def _context(access: StudyAccess) -> dict[str, object]:
    return {"access": access, "study": access.study, "section": "analyses"}
