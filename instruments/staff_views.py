"""Staff pages about questionnaires: a study's settings, the day's visits, links, ratings to give, imports."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, cast

import segno
from django.contrib import messages
from django.contrib.auth.decorators import permission_required
from django.db import IntegrityError
from django.db.models import OuterRef, Q, QuerySet, Subquery
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext as _
from django.views.decorators.csrf import csrf_exempt, csrf_protect
from django.views.decorators.http import require_GET, require_http_methods

from instruments.codes import code_of, in_groups
from instruments.definitions import Instrument, Role
from instruments.enrolment import EnrolmentRefused, VisitMadeAlready, enrol_visit
from instruments.imports import ImportRefused, import_responses
from instruments.models import Administration
from instruments.readiness import opening_steps, quality_rules
from instruments.services import (
    CreatedVisit,
    QuestionnaireClosed,
    QuestionnaireUnderWay,
    reissue_link,
    study_instrument_version,
)
from instruments.staff_forms import CharacteristicsForm, ImportForm, StudyForm, VisitForm
from studies import audit, setup
from studies.access import (
    MANAGES_STUDY,
    MANAGES_VISITS,
    StudyAccess,
    signed_in,
    staff_page,
    study_for,
    whole_study_for,
)
from studies.forms import refuse_what_is_there_by_now
from studies.models import Study, Visit, Wave
from studies.paging import page_of
from studies.scope import lifted
from studies.windows import days_outside

VISITS_PER_PAGE = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionnaireLink:
    """An address that opens one questionnaire, and its QR code."""

    role: Role
    url: str
    expires_at: datetime
    code: str = ""  # the eight characters that open it as well

    @property
    def qr_code(self) -> SafeString:
        """Inline SVG without a size of its own; the page's style sets it."""
        return mark_safe(segno.make(self.url, error="m").svg_inline(omitsize=True, border=2))  # noqa: S308  only paths


# --- the study's settings ---


@staff_page
@permission_required("studies.add_study", raise_exception=True)
@require_http_methods(["GET", "POST"])
def study_new(request: HttpRequest) -> HttpResponse:
    """Set up a study."""
    form = StudyForm(request.POST or None)
    if form.is_valid():
        try:
            setup.create_study(study=form.save(commit=False), actor=signed_in(request), now=timezone.now())
        except IntegrityError as error:
            refuse_what_is_there_by_now(form, error)
        else:
            messages.success(request, _("The study was created. Add its sites, clinicians and people next."))
            return redirect("study_settings", form.instance.code)
    context = {"form": form, "has_instrument": bool(form.versions)}
    return render(request, "instruments/staff_study_new.html", context, status=422 if form.is_bound else 200)


@staff_page
@require_http_methods(["GET", "POST"])
def study_settings(request: HttpRequest, code: str) -> HttpResponse:
    """The study's settings, and its sites, clinicians, waves and people."""
    access = whole_study_for(request.user, code, *MANAGES_STUDY)
    title = access.study.title  # the form's checks write on the study, and the page's head must not change with them
    form = StudyForm(request.POST or None, instance=access.study)
    if form.is_valid():
        changed = [name for name in form.changed_data if name != "why"]
        setup.change_study(
            study=form.instance,
            changed=changed,
            why=form.cleaned_data.get("why", ""),
            actor=signed_in(request),
            now=timezone.now(),
        )
        messages.success(request, _("The settings were saved."))
        return redirect("study_settings", code)
    access.study.title = title
    context = _context(access, "settings") | {
        "form": form,
        "steps": opening_steps(access.study) if access.study.status == Study.Status.DRAFT else [],
        "quality_rules": quality_rules(instrument) if (instrument := _instrument(access.study)) else [],
        "sites": access.sites,
        "clinicians": access.clinicians.select_related("site", "user"),
        "waves": access.study.waves.all(),
        "invitations": access.study.invitations.filter(taken_at=None, expires_at__gt=timezone.now()).select_related(
            "site"
        ),
        "members": access.study.members.select_related("user__second_factor", "site").order_by(
            "role", "user__username"
        ),
    }
    return render(request, "instruments/staff_settings.html", context, status=422 if form.is_bound else 200)


@staff_page
@require_http_methods(["GET", "POST"])
def study_open(request: HttpRequest, code: str) -> HttpResponse:
    """Open a prepared study, after a page that says what is fixed from then on."""
    access = whole_study_for(request.user, code, *MANAGES_STUDY)
    steps = opening_steps(access.study)
    is_draft = access.study.status == Study.Status.DRAFT
    is_ready = is_draft and all(step.is_done for step in steps)
    if request.method == "POST" and is_ready:
        setup.open_study(study=access.study, actor=signed_in(request), now=timezone.now())
        messages.success(request, _("The study is open. Visits can be made now."))
        return redirect("study_settings", code)
    context = _context(access, "settings") | {"steps": steps, "is_draft": is_draft, "is_ready": is_ready}
    return render(request, "instruments/study_open.html", context, status=409 if request.method == "POST" else 200)


@staff_page
@require_http_methods(["GET", "POST"])
def clinician_edit(request: HttpRequest, code: str, clinician_id: int) -> HttpResponse:
    """What is known of a clinician: the characteristics that the questionnaire's table of clinicians asks for."""
    access = whole_study_for(request.user, code, *MANAGES_STUDY)
    clinician = get_object_or_404(access.clinicians, pk=clinician_id)
    instrument = _instrument(access.study)
    if instrument is None:
        return render(request, "instruments/staff_no_instrument.html", _context(access, "settings"), status=409)
    form = CharacteristicsForm(request.POST or None, clinician=clinician, instrument=instrument)
    if form.is_valid():
        clinician.characteristics = form.characteristics()
        setup.change_part(study=access.study, part=clinician, actor=signed_in(request), now=timezone.now())
        messages.success(request, _("The change was saved."))
        return redirect("study_settings", code)
    title = _("Clinician %(code)s, %(site)s") % {"code": clinician.code, "site": clinician.site.name}
    context = _context(access, "settings") | {"form": form, "title": title}
    return render(request, "studies/form.html", context, status=422 if form.is_bound else 200)


# --- visits ---


@staff_page
@require_GET
def visits(request: HttpRequest, code: str) -> HttpResponse:
    """The visits of a day, or every visit that still owes a form."""
    access = study_for(request.user, code, *MANAGES_VISITS)
    today = timezone.localdate()
    day = _day(request.GET.get("date", ""), default=today)
    owing = request.GET.get("show") == "owing"
    rows = visits_of(access)
    page = page_of(
        rows.filter(_owes_a_form()) if owing else rows.filter(visit_date=day),
        with_what_a_list_shows,
        number=request.GET.get("page"),
        per_page=VISITS_PER_PAGE,
    )
    context = _context(access, "visits") | {
        "page": page,
        "visits": [_visit_row(visit) for visit in page],
        "day": day,
        "previous_day": day - timedelta(days=1),
        "next_day": day + timedelta(days=1),
        "today": today,
        "owing": owing,
        "query": "show=owing" if owing else f"date={day:%Y-%m-%d}",
    }
    return render(request, "instruments/staff_visits.html", context)


@staff_page
@require_http_methods(["GET", "POST"])
def visit_new(request: HttpRequest, code: str) -> HttpResponse:
    """Create a visit; the answer shows both links, once."""
    access = study_for(request.user, code, *MANAGES_VISITS)
    instrument = _instrument(access.study)
    if instrument is None:
        return render(request, "instruments/staff_no_instrument.html", _context(access, "visits"), status=409)
    form = VisitForm(
        request.POST or None,
        access=access,
        instrument=instrument,
        initial={
            "visit_date": timezone.localdate(),
            "form": "" if access.study.drawn_form else access.study.default_form,
        },
    )
    if form.is_valid():
        try:
            created = enrol_visit(study=access.study, **form.cleaned_data, actor=signed_in(request), now=timezone.now())
        except EnrolmentRefused as refusal:
            form.add_error(refusal.field, str(refusal))
        except VisitMadeAlready as repeated:
            messages.info(request, _("This visit was created before. Make a new link if the first one was lost."))
            return redirect(f"{reverse('visits', args=[code])}?date={repeated.visit.visit_date:%Y-%m-%d}")
        else:
            # The links are shown in the answer itself, not kept: loading the page again must not make a second visit.
            return _links_page(request, access, created)
    context = _context(access, "visits") | {
        "form": form,
        "missing": _missing_parts(access),
    }
    return render(request, "instruments/staff_visit_new.html", context, status=422 if form.is_bound else 200)


@staff_page
@require_http_methods(["GET", "POST"])
def link_reissue(request: HttpRequest, code: str, administration_id: int) -> HttpResponse:
    """Make a new link for an unfinished questionnaire, after a page that says what happens to the old one."""
    access = study_for(request.user, code, *MANAGES_VISITS)
    questionnaires = Administration.objects.filter(visit__dyad__study=access.study).select_related(
        "visit__dyad__patient", "visit__dyad__clinician__site", "visit__wave", "visit__non_participation"
    )
    administration = get_object_or_404(
        access.within_sites(questionnaires, "visit__dyad__clinician__site"), pk=administration_id
    )
    visit = administration.visit
    is_own = administration.role == Role.PATIENT and visit.dyad.clinician.user_id == signed_in(request).pk
    context = _context(access, "visits") | {"administration": administration, "visit": visit, "is_own": is_own}
    if is_own:  # who rates a relationship must not be able to open the partner's form
        return render(request, "instruments/staff_link_reissue.html", context, status=403)
    if request.method == "GET":
        return render(request, "instruments/staff_link_reissue.html", context)
    link = fresh_link(request, access, administration)
    if link is None:
        administration.refresh_from_db(fields=["status"])
        return render(request, "instruments/staff_link_reissue.html", context, status=409)
    return render(request, "instruments/staff_links.html", context | {"links": [link]})


# --- import ---


@csrf_exempt
@staff_page
@require_http_methods(["GET", "POST"])
def import_page(request: HttpRequest, code: str) -> HttpResponseBase:
    """Import answers that were collected elsewhere, all or nothing.

    A file beyond the bound stops being received, and with it the form's CSRF token may be missing: so this is
    looked at before the token is checked. Nothing is changed by then.
    """
    access = whole_study_for(request.user, code, *MANAGES_STUDY)
    if request.method == "POST" and request.POST is not None and getattr(request, "upload_too_large", False):
        form = ImportForm()
        context = _context(access, "import") | {"form": form, "too_large": True}
        return render(request, "instruments/staff_import.html", context, status=413)
    return cast(HttpResponseBase, _import(request, access))


@csrf_protect
def _import(request: HttpRequest, access: StudyAccess) -> HttpResponse:
    form = ImportForm(request.POST or None, request.FILES or None)
    context: dict[str, Any] = _context(access, "import") | {"form": form}
    if not form.is_valid():
        return render(request, "instruments/staff_import.html", context, status=422 if form.is_bound else 200)
    upload = form.cleaned_data["file"]
    try:
        report = import_responses(
            study=access.study, data=upload.read(), now=timezone.now(), actor=signed_in(request), file_name=upload.name
        )
    except ImportRefused as refusal:
        context |= {"refusal": refusal, "form": ImportForm()}
        return render(request, "instruments/staff_import.html", context, status=422)
    messages.success(
        request,
        _("%(forms)d forms were imported, with %(dyads)d new dyads. They are scored within seconds.")
        % {"forms": report.n_forms, "dyads": report.n_dyads},
    )
    return redirect("import_responses", access.study.code)


# --- queries and parts ---


def visits_of(access: StudyAccess) -> "QuerySet[Visit]":
    """The study's visits at the sites that this person may see."""
    return access.within_sites(Visit.objects.filter(dyad__study=access.study), "dyad__clinician__site")


def with_what_a_list_shows(visits: "QuerySet[Visit]") -> "QuerySet[Visit]":
    """With patient, clinician, site, wave and both questionnaires."""
    firsts = Visit.objects.filter(dyad=OuterRef("dyad")).order_by("visit_date").values("visit_date")[:1]
    rows = visits.select_related("dyad__patient", "dyad__clinician__site", "wave", "non_participation")
    return rows.annotate(first_day=Subquery(firsts)).prefetch_related("administrations")


def _owes_a_form() -> Q:
    """A condition on visits: one of its forms is not finished, and the patient takes part."""
    with lifted():  # the visits that it narrows are those of the request's sites, whosever forms are looked through
        unfinished = Administration.objects.filter(status__in=Administration.UNFINISHED).values("visit")
    return Q(pk__in=unfinished, non_participation=None)


def _visit_row(visit: Visit) -> dict[str, Any]:
    by_role = {administration.role: administration for administration in visit.administrations.all()}
    now = timezone.now()
    days = (visit.visit_date - visit.first_day).days  # type: ignore[attr-defined]  # annotated by the list's query
    return {
        "visit": visit,
        "outside_window_days": None if visit.wave.takes(days) else days,
        "is_declined": any(one.is_declined for one in by_role.values()),
        "questionnaires": [(by_role.get(role), role in by_role and by_role[role].is_expired(now=now)) for role in Role],
    }


def _links_page(request: HttpRequest, access: StudyAccess, created: CreatedVisit) -> HttpResponse:
    expires = {one.role: one.expires_at for one in created.visit.administrations.all()}
    tokens = ((Role.PATIENT, created.patient_token), (Role.CLINICIAN, created.clinician_token))
    links = [_link(request, role, token, expires[role]) for role, token in tokens]
    context = _context(access, "visits") | {"links": links, "visit": created.visit, "is_new": True}
    context["outside_window_days"] = days_outside(created.visit)
    return render(request, "instruments/staff_links.html", context)


def fresh_link(
    request: HttpRequest, access: StudyAccess, administration: Administration, *, into_hand: bool = False
) -> QuestionnaireLink | None:
    """A new link in place of the old one; None when the questionnaire is finished, or a patient is answering it."""
    now = timezone.now()
    try:
        token = reissue_link(administration_id=administration.pk, now=now, into_hand=into_hand)
    except (QuestionnaireClosed, QuestionnaireUnderWay):
        return None
    except Administration.DoesNotExist:  # an import took its place since it was looked up
        raise Http404 from None
    visit = administration.visit
    audit.record(
        study=access.study,
        actor=signed_in(request),
        action="new link",
        detail={"dyad": visit.dyad.code, "wave": visit.wave.code, "role": administration.role},
        now=now,
    )
    expires_at = now + timedelta(days=access.study.link_valid_days)
    return _link(request, Role(administration.role), token, expires_at)


def _link(request: HttpRequest, role: Role, token: str, expires_at: datetime) -> QuestionnaireLink:
    url = request.build_absolute_uri(reverse("questionnaire", args=[token]))
    return QuestionnaireLink(role=role, url=url, expires_at=expires_at, code=in_groups(code_of(token)))


def _instrument(study: Study) -> Instrument | None:
    try:
        return study_instrument_version(study).instrument
    except ValueError:  # it was never loaded; the page says what to do
        return None


def _missing_parts(access: StudyAccess) -> list[str]:
    """What has to be there before a visit can be made."""
    missing = []
    if not access.clinicians.exists():
        missing.append(_("a clinician"))
    if not Wave.objects.filter(study=access.study).exists():
        missing.append(_("a wave"))
    return missing


def _day(written: str, *, default: date) -> date:
    try:
        return date.fromisoformat(written) if len(written) == 10 and "1900" < written < "2200" else default
    except ValueError:
        return default


def _context(access: StudyAccess, section: str) -> dict[str, Any]:
    return {"access": access, "study": access.study, "section": section}
