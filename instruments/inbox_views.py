"""The clinician's pages: the inbox, the way from it to a questionnaire, and private labels."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_POST

from instruments.inbox import MAXIMUM_LABEL, inbox_of, pass_for, rate_after_all, ratings_of, set_label
from instruments.models import Administration
from instruments.services import AnswerRefused
from studies.access import RATES_PATIENTS, signed_in, staff_page, study_for


@staff_page
@require_GET
def patients_to_rate(request: HttpRequest, code: str) -> HttpResponse:
    """The clinician's own patients who wait for a rating. Nothing of the patients' answers is ever read here."""
    access = study_for(request.user, code, *RATES_PATIENTS)
    inbox = inbox_of(signed_in(request), access, now=timezone.now())
    context = {"access": access, "study": access.study, "section": "rate"}
    context |= {"inbox": inbox, "waiting": inbox.waiting, "maximum_label": MAXIMUM_LABEL}
    return render(request, "instruments/staff_to_rate.html", context)


@staff_page
@require_POST
def rate_patient(request: HttpRequest, code: str, administration_id: int) -> HttpResponse:
    """Open the clinician's questionnaire about one patient; links that were given before go on working."""
    access = study_for(request.user, code, *RATES_PATIENTS)
    user, now = signed_in(request), timezone.now()
    administration = get_object_or_404(ratings_of(user, access), pk=administration_id)
    if administration.is_completed or administration.is_expired(now=now):
        messages.info(request, _("This questionnaire is finished, or its time is over."))
        return redirect("patients_to_rate", code)
    wish = request.POST.get("wish", "")
    try:
        if administration.status == Administration.Status.DECLINED and wish == "again":
            rate_after_all(administration_id=administration.pk, actor=user, now=now)
    except AnswerRefused:  # finished a moment ago, in another window: its page says so
        pass
    token = pass_for(administration=administration, user=user, now=now)
    return redirect("questionnaire_cannot" if wish == "cannot" else "questionnaire", token)


@staff_page
@require_POST
def rating_label(request: HttpRequest, code: str, administration_id: int) -> HttpResponse:
    """Keep the label that only this clinician sees, where the site allows one."""
    access = study_for(request.user, code, *RATES_PATIENTS)
    user = signed_in(request)
    administration = get_object_or_404(ratings_of(user, access), pk=administration_id)
    dyad = administration.visit.dyad
    if not dyad.clinician.site.allows_private_labels:
        messages.error(request, _("This site does not allow private labels. Its study admin can change that."))
    else:
        set_label(dyad=dyad, user=user, text=request.POST.get("label", "").replace("\0", ""), now=timezone.now())
    return redirect(f"{reverse('patients_to_rate', args=[code])}#patient-{administration.pk}")
