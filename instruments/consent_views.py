"""Staff pages about what patients read before they agree."""

from django.contrib import messages
from django.db import IntegrityError
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.template import loader
from django.utils import timezone, translation
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_http_methods

from instruments.models import study_languages
from instruments.readiness import consent_problems, language_name
from instruments.services import study_instrument_version
from instruments.staff_forms import ConsentTextForm
from studies.access import MANAGES_STUDY, StudyAccess, signed_in, staff_page, whole_study_for
from studies.consent_texts import counting_text, newest_texts, starting_text, write_text
from studies.models import ConsentText, Site, Study
from studies.plain_text import blocks


@staff_page
@require_GET
def consent_texts(request: HttpRequest, code: str) -> HttpResponse:
    """Which text patients read at each site in each language, and what is missing."""
    access = whole_study_for(request.user, code, *MANAGES_STUDY)
    try:
        instrument = study_instrument_version(access.study).instrument
    except ValueError:  # it was never loaded; the page says what to do
        return render(request, "instruments/staff_no_instrument.html", _context(access), status=409)
    languages = study_languages(access.study, instrument)
    newest = newest_texts(access.study)
    places: list[Site | None] = [None, *access.sites]
    rows = [
        {
            "site": site,
            "texts": [
                {
                    "language": language,
                    "name": language_name(language),
                    "own": own if (own := newest.get((site.pk if site else None, language))) and own.text else None,
                    "counts": counting_text(newest, site_id=site.pk if site else None, language=language),
                }
                for language in languages
            ],
        }
        for site in places
    ]
    context = _context(access) | {
        "rows": rows,
        "languages": [language_name(language) for language in languages],
        "problems": consent_problems(access.study, instrument),
        "is_asked": access.study.consent == Study.Consent.HERE,
    }
    return render(request, "instruments/consent_texts.html", context)


@staff_page
@require_http_methods(["GET", "POST"])
def consent_text(request: HttpRequest, code: str, language: str, site_id: int | None = None) -> HttpResponse:
    """Write the text of one language, the study's or a site's own; see it as patients do; see its versions."""
    access = whole_study_for(request.user, code, *MANAGES_STUDY)
    try:
        languages = study_instrument_version(access.study).instrument.languages
    except ValueError:
        return render(request, "instruments/staff_no_instrument.html", _context(access), status=409)
    if language not in languages:
        raise Http404
    site = get_object_or_404(access.sites, pk=site_id) if site_id is not None else None
    versions = list(
        ConsentText.objects.filter(study=access.study, site=site, language=language)
        .select_related("written_by")
        .order_by("-number")
    )
    if request.method == "POST" and "preview" in request.POST:
        return _preview(access.study, language, request.POST.get("text", ""))
    form = ConsentTextForm(
        request.POST or None,
        study=access.study,
        is_own=site is not None,
        initial={"text": versions[0].text if versions else "" if site else starting_text(language)},
    )
    if form.is_valid():
        try:
            version = write_text(
                study=access.study,
                site=site,
                language=language,
                text=form.cleaned_data["text"],
                why=form.cleaned_data.get("why", ""),
                actor=signed_in(request),
                now=timezone.now(),
            )
        except IntegrityError:
            form.add_error(None, _("Somebody else has saved a version just now. Look at it before you save yours."))
        else:
            if version is None:
                messages.info(request, _("The text is the same as before; no version was added."))
            else:
                messages.success(request, _("Version %(number)d was saved.") % {"number": version.number})
            return redirect("consent_texts", code)
    context = _context(access) | {
        "form": form,
        "site": site,
        "language_name": language_name(language),
        "versions": versions,
        "is_new": not versions and site is None,
    }
    return render(request, "instruments/consent_text.html", context, status=422 if form.is_bound else 200)


def _preview(study: Study, language: str, text: str) -> HttpResponse:
    """The patient's own page with this text; its buttons do nothing."""
    with translation.override(language):
        context = {
            "language": language,
            "role": "patient",
            "blocks": blocks(text),
            "text": text,
            "is_preview": True,
            "is_synthetic": study.is_synthetic,
        }
        return HttpResponse(loader.get_template("questionnaire/consent.html").render(context))


def _context(access: StudyAccess) -> dict[str, object]:
    return {"access": access, "study": access.study, "section": "settings"}
