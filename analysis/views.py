"""The researcher's pages: recruitment and completeness, scored dyads, one dyad, analyses, downloads."""

import secrets
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_http_methods

from analysis import dyad_page, result_page
from analysis.exports import codebook_csv, dyads_csv
from analysis.forms import LARGEST_SEED, AnalysisForm, DyadFilterForm
from analysis.models import AnalysisRun
from analysis.overview import (
    DOMAIN_COLUMNS,
    ROLES,
    Completeness,
    SiteCompleteness,
    completeness,
    for_listing,
    known_sort,
    role_norms,
    scored_dyads,
)
from analysis.plans import newest_plan, plan_at
from analysis.recruitment import Recruitment, recruitment
from analysis.services import request_analysis
from analysis.words import progress_words, statistics_words
from instruments.definitions import Instrument
from instruments.models import InstrumentVersion
from instruments.services import study_instrument_version
from instruments.staff_forms import in_language
from scoring.models import DyadScore
from scoring.services import DOMAINS
from studies import audit
from studies.access import SEES_RECRUITMENT, SEES_SCORES, StudyAccess, signed_in, staff_page, study_for, whole_study_for
from studies.models import Member, Study, Visit
from studies.paging import page_of

DYADS_PER_PAGE = 50
ANALYSES_PER_PAGE = 25


@staff_page
@require_GET
def study_overview(request: HttpRequest, code: str) -> HttpResponse:
    """Recruitment and completeness, per site and clinician."""
    access = study_for(request.user, code, *SEES_RECRUITMENT)
    sites = completeness(access)
    context = _context(access, "overview") | {
        "sites": sites,
        "total": sum((site.counts for site in sites), Completeness()),
        "recruitment": [(site.site, way) for site in sites if (way := _recruitment(access.study, site)) is not None],
        "target": sum(site.site.target_dyads for site in sites),
    }
    return render(request, "analysis/overview.html", context)


def _recruitment(study: Study, site: SiteCompleteness) -> Recruitment | None:
    return recruitment(
        n_done=site.counts.n_both_done,
        target=site.site.target_dyads,
        start=timezone.localdate(study.created_at),
        until=site.site.target_date,
        today=timezone.localdate(),
    )


@staff_page
@require_GET
def dyads(request: HttpRequest, code: str) -> HttpResponse:
    """The table of scored dyads: filtered, sorted, page by page."""
    access = study_for(request.user, code, *SEES_SCORES)
    form = DyadFilterForm(request.GET, access=access)
    sort = known_sort(request.GET.get("sort", ""))
    page = page_of(
        scored_dyads(access, sort=sort, **form.conditions()),
        for_listing,
        number=request.GET.get("page"),
        per_page=DYADS_PER_PAGE,
    )
    headings = _domain_headings(_instrument(access.study))
    conditions = request.GET.copy()
    for name in ("page", "sort", ""):
        conditions.pop(name, None)
    for name in [name for name, value in conditions.items() if not value]:
        conditions.pop(name)
    context = _context(access, "dyads") | {
        "form": form,
        "page": page,
        "rows": [
            (
                score,
                [
                    (heading, getattr(score, f"patient_{domain}"), getattr(score, f"clinician_{domain}"))
                    for domain, heading in headings.items()
                ],
            )
            for score in page
        ],
        "columns": _columns(sort, query=conditions.urlencode()),
        "domains": _domain_columns(sort, headings, query=conditions.urlencode()),
        "is_filtered": bool(conditions),
        "query": f"{conditions.urlencode()}&sort={sort}" if conditions else f"sort={sort}",
        "may_download": access.site_ids is None and access.export != Member.Export.NONE,
        "own_left_out": access.has_own_patients,
    }
    return render(request, "analysis/dyads.html", context)


@staff_page
@require_GET
def dyad(request: HttpRequest, code: str, dyad_code: str, wave_code: str) -> HttpResponse:
    """One dyad at one wave: profile, scores or the reasons for none, quality, and what may be said of the gap."""
    access = study_for(request.user, code, *SEES_SCORES)
    visits = access.within_sites(
        Visit.objects.filter(dyad__study=access.study), "dyad__clinician__site"
    ).select_related("dyad__clinician__site", "dyad__patient", "wave")
    visits = access.without_own_patients(visits, "dyad__clinician")
    visit = get_object_or_404(visits, dyad__code=dyad_code, wave__code=wave_code)
    score = DyadScore.objects.filter(pk=visit.pk).first()
    context = _context(access, "dyads") | {"visit": visit, "score": score}
    instrument = _visit_instrument(visit)
    if score is not None and instrument is not None:
        norms, n_norms = role_norms(access.study, form=score.form)
        context |= {
            "picture": dyad_page.profile_picture(score, instrument),
            "groups": dyad_page.score_rows(score, instrument, norms),
            "flags": dyad_page.quality_words(score),
            "ineligible": dyad_page.eligibility_words(score),
            "notes": dyad_page.note_words(score),
            "profile_reason": dyad_page.profile_reason(score),
            "has_norms": bool(norms),
            "n_norms": n_norms,
            "instrument": instrument,
        }
    return render(request, "analysis/dyad.html", context)


@staff_page
@require_GET
def dyads_download(request: HttpRequest, code: str) -> StreamingHttpResponse:
    """The scored dyads but the person's own patients as CSV; `?incomplete=1` adds visits with one finished form."""
    access = whole_study_for(request.user, code, *SEES_SCORES)
    if access.export == Member.Export.NONE:
        raise PermissionDenied(_("Your role in this study includes no downloads."))
    deidentify = access.export == Member.Export.DEIDENTIFIED
    include_incomplete = request.GET.get("incomplete") == "1"
    lines = partial(
        dyads_csv, include_incomplete=include_incomplete, blind_user_id=access.user_id, deidentify=deidentify
    )
    detail = {
        "include_incomplete": include_incomplete,
        "own_left_out": access.has_own_patients,
        "deidentified": deidentify,
    }
    return _download(request, access, "dyads", lines, detail=detail)


@staff_page
@require_GET
def codebook_download(request: HttpRequest, code: str) -> StreamingHttpResponse:
    """What the columns of the download mean."""
    access = whole_study_for(request.user, code, *SEES_SCORES)
    return _download(request, access, "codebook", codebook_csv, detail={})


@staff_page
@require_GET
def analyses(request: HttpRequest, code: str) -> HttpResponse:
    """The study's analyses, newest first."""
    access = whole_study_for(request.user, code, *SEES_SCORES)
    runs = access.study.analysis_runs.select_related("requested_by").defer("result")
    page = Paginator(runs, ANALYSES_PER_PAGE).get_page(request.GET.get("page"))
    context = _context(access, "analyses") | {
        "page": page,
        "form_labels": _form_labels(_instrument(access.study)),
        "plan": newest_plan(access.study),
    }
    return render(request, "analysis/analyses.html", context)


@staff_page
@require_http_methods(["GET", "POST"])
def analysis_new(request: HttpRequest, code: str) -> HttpResponse:
    """Ask for an analysis; a worker computes it."""
    access = whole_study_for(request.user, code, *SEES_SCORES)
    instrument = _instrument(access.study)
    if instrument is None:
        return render(request, "instruments/staff_no_instrument.html", _context(access, "analyses"), status=409)
    initial = {"form": access.study.default_form, "seed": secrets.randbelow(LARGEST_SEED)}
    form = AnalysisForm(request.POST or None, instrument=instrument, initial=initial)
    if form.is_valid():
        run = request_analysis(study=access.study, **form.cleaned_data, user=signed_in(request), now=timezone.now())
        return redirect("analysis", code, run.pk)
    context = _context(access, "analyses") | {"form": form}
    return render(request, "analysis/analysis_new.html", context, status=422 if form.is_bound else 200)


@staff_page
@require_GET
def analysis(request: HttpRequest, code: str, run_id: int) -> HttpResponse:
    """One analysis: how far it is, why it failed, or what came out."""
    access = whole_study_for(request.user, code, *SEES_SCORES)
    run = get_object_or_404(access.study.analysis_runs.select_related("requested_by"), pk=run_id)
    instrument = _instrument(access.study)
    context = _context(access, "analyses") | {
        "run": run,
        "percent": round(100 * run.progress),
        "progress_words": progress_words(run.progress_note),
        "error": statistics_words(run.error),
        "form_label": _form_labels(instrument).get(run.form, run.form),
        "plan": plan_at(access.study, run.requested_at),
    }
    if run.status == AnalysisRun.Status.DONE and run.result is not None and instrument is not None:
        context["parts"] = result_page.role_parts(run.result, instrument)
    return render(request, "analysis/analysis.html", context)


@staff_page
@require_GET
def analysis_progress(request: HttpRequest, code: str, run_id: int) -> JsonResponse:
    """How far a run is, for the page's script."""
    access = whole_study_for(request.user, code, *SEES_SCORES)
    run = get_object_or_404(access.study.analysis_runs.defer("result"), pk=run_id)
    return JsonResponse(
        {
            "finished": run.is_finished,
            "percent": round(100 * run.progress),
            "words": progress_words(run.progress_note) or str(run.get_status_display()),
        }
    )


# --- parts ---


def _download(
    request: HttpRequest,
    access: StudyAccess,
    what: str,
    lines: Callable[[Study], Iterator[str]],
    *,
    detail: dict[str, Any],
) -> StreamingHttpResponse:
    now = timezone.now()
    stamp = "-SYNTHETIC" if access.study.is_synthetic else ""
    name = f"{access.study.code}-{what}{stamp}-{now:%Y%m%d}.csv"
    plan = newest_plan(access.study)
    detail = {"file": name, "analysis_plan": plan.number if plan else None, **detail}
    audit.record(study=access.study, actor=signed_in(request), action=f"export {what}", detail=detail, now=now)
    return StreamingHttpResponse(
        lines(access.study),
        content_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


def _sorting(sort: str, key: str, *, query: str) -> dict[str, str]:
    """The link that sorts by this key, and how it is sorted by it now."""
    # Figures are first wanted from the top, codes from A.
    first, second = (f"-{key}", key) if key == "date" or key in DOMAIN_COLUMNS else (key, f"-{key}")
    wanted = second if sort == first else first
    return {
        "href": f"?{query}&sort={wanted}" if query else f"?sort={wanted}",
        "aria": {key: "ascending", f"-{key}": "descending"}.get(sort, ""),
    }


def _columns(sort: str, *, query: str) -> list[dict[str, str]]:
    """What stands before the scores: heading, link and order of each column."""
    headings = {"dyad": _("Dyad"), "date": _("Date"), "clinician": _("Clinician")}
    return [{"heading": heading, **_sorting(sort, key, query=query)} for key, heading in headings.items()]


def _domain_columns(sort: str, headings: Mapping[str, str], *, query: str) -> list[dict[str, Any]]:
    """Per domain: its heading, and each side's link and order."""
    words = {"patient": _("sort by %(domain)s, patient"), "clinician": _("sort by %(domain)s, clinician")}
    columns = []
    for domain, heading in headings.items():
        sides = [
            {"role": role, "words": words[role] % {"domain": heading}} | _sorting(sort, f"{role}_{domain}", query=query)
            for role in ROLES
        ]
        columns.append({"heading": heading, "sides": sides, "aria": "".join(side["aria"] for side in sides)})
    return columns


def _domain_headings(instrument: Instrument | None) -> dict[str, str]:
    labels = {} if instrument is None else {name: in_language(d.label) for name, d in instrument.domains.items()}
    return {domain: labels.get(domain, domain) for domain in DOMAINS}


def _instrument(study: Study) -> Instrument | None:
    """The study's questionnaire; None when it was never loaded."""
    try:
        return study_instrument_version(study).instrument
    except ValueError:
        return None


def _visit_instrument(visit: Visit) -> Instrument | None:
    """The version that this visit was asked with, which need not be the study's current one."""
    version = InstrumentVersion.objects.filter(pk__in=visit.administrations.values("instrument_version")).defer(
        "content"
    )
    found = version.first()
    return None if found is None else found.instrument


def _form_labels(instrument: Instrument | None) -> dict[str, str]:
    return {} if instrument is None else {form.id: in_language(form.label) for form in instrument.forms.values()}


def _context(access: StudyAccess, section: str) -> dict[str, Any]:
    return {"access": access, "study": access.study, "section": section}
