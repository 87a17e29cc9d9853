"""Staff pages about paper forms: printing them, typing them in twice, deciding where the two entries differ."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import get_language
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from instruments.definitions import Answer, Question, Role
from instruments.models import Administration, InstrumentVersion, PaperEntry, study_languages
from instruments.page_texts import EntryText, form_text
from instruments.paper.codes import TypedForm, offered, read_typed, typed_code
from instruments.paper.entry import (
    COMPLETED_ON,
    EARLIEST_DAY,
    LANGUAGE,
    AnsweredElectronically,
    PaperContent,
    PaperRefused,
    administration_of_code,
    content_of,
    decide_paper_form,
    differences,
    discard_paper_entry,
    enter_paper_form,
    entry_code,
    is_answered_electronically,
)
from instruments.paper.sheets import SHEETS, VisitLabels, paper_form
from instruments.questionnaire import Questionnaire
from instruments.services import study_instrument_version
from instruments.staff_forms import form_choices
from studies.access import MANAGES_VISITS, StudyAccess, signed_in, staff_page, study_for

FORMS_PER_PAGE = 50
OTHER = "other"  # the choice of an answer that neither entry has


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One field of the page on which a form is typed in."""

    code: str
    text: str
    codes: str  # what may be typed
    value: str
    months: str | None  # None where no second field is needed
    problem: str
    numbers: str  # what the numbers mean, for choices
    is_single: bool  # one key is a whole answer
    opens: str  # the block that begins here


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One line on which two entries differ."""

    code: str
    text: str
    codes: str
    first: str
    second: str
    chosen: str
    other: str
    problem: str


# --- printing ---


@staff_page
@require_GET
def paper_forms(request: HttpRequest, code: str) -> HttpResponse:
    """The blank forms, a field for the code of a filled-in one, and the forms that still need a step."""
    access = study_for(request.user, code, *MANAGES_VISITS)
    typed = request.GET.get("entry_code", "").strip()
    found = _of_code(access, typed) if typed else None
    if found is not None:
        return redirect("paper_entry", code, found)
    version = _version(access)
    if version is None:
        return render(request, "instruments/staff_no_instrument.html", _context(access), status=409)
    page = Paginator(_under_way(access), FORMS_PER_PAGE).get_page(request.GET.get("page"))
    context = _context(access) | {
        "typed": typed,
        "page": page,
        "rows": [_row(access, administration) for administration in page],
        "forms": form_choices([version.instrument]),
        "default_form": access.study.default_form,
        "languages": study_languages(access.study, version.instrument),
        "waves": access.study.waves.all(),
        "version": version,
    }
    return render(request, "instruments/paper_forms.html", context, status=404 if typed else 200)


@staff_page
@require_GET
def paper_blank(request: HttpRequest, code: str) -> HttpResponse:
    """A form without a visit, with lines for the codes; what is not said is the study's own."""
    access = study_for(request.user, code, *MANAGES_VISITS)
    version = _version(access)
    if version is None:
        return render(request, "instruments/staff_no_instrument.html", _context(access), status=409)
    wanted = request.GET
    form = wanted.get("form", "")
    role = Role.CLINICIAN if wanted.get("role") == Role.CLINICIAN else Role.PATIENT
    questionnaire = Questionnaire(
        instrument=version.instrument,
        form=form if form in version.instrument.forms else access.study.default_form,
        role=role,
        follow_up=access.study.waves.filter(code=wanted.get("wave", ""), is_follow_up=True).exists(),
    )
    languages = study_languages(access.study, version.instrument)
    name = f"{access.study.code}-{role}-{questionnaire.form}"
    return _pdf(request, questionnaire, version, languages, labels=None, name=name)


@staff_page
@require_GET
def paper_print(request: HttpRequest, code: str, administration_id: int) -> HttpResponse:
    """The form of one questionnaire, with its visit's codes."""
    access = study_for(request.user, code, *MANAGES_VISITS)
    administration = _administration(access, administration_id)
    visit = administration.visit
    labels = VisitLabels(
        study=access.study.code,
        patient=visit.dyad.patient.code,
        clinician=visit.dyad.clinician.code,
        dyad=visit.dyad.code,
        wave=visit.wave.label,
        visit_date=visit.visit_date.isoformat(),
        entry_code=entry_code(administration.pk),
        entry_address=request.build_absolute_uri(reverse("paper_entry", args=[code, administration.pk])),
    )
    version = administration.instrument_version
    languages = study_languages(access.study, version.instrument)
    return _pdf(request, administration.questionnaire, version, languages, labels=labels, name=labels.entry_code)


def _pdf(
    request: HttpRequest,
    questionnaire: Questionnaire,
    version: InstrumentVersion,
    languages: tuple[str, ...],
    *,
    labels: VisitLabels | None,
    name: str,
) -> HttpResponse:
    language = _language(languages, request.GET.get("language", ""))
    sheet = request.GET.get("sheet", "a4")
    content = paper_form(
        questionnaire,
        language=language,
        version=str(version),
        labels=labels,
        sheet=sheet if sheet in SHEETS else "a4",
    )
    headers = {"Content-Disposition": f'inline; filename="{name}-{language}.pdf"'}
    return HttpResponse(content, content_type="application/pdf", headers=headers)


# --- typing in ---


@staff_page
@require_http_methods(["GET", "POST"])
def paper_entry(request: HttpRequest, code: str, administration_id: int) -> HttpResponse:
    """Type in one paper form, by code; the second entry by another person completes it or shows what differs."""
    access = study_for(request.user, code, *MANAGES_VISITS)
    administration = _readable(request, access, administration_id)
    if request.method == "GET":
        return _entry_page(request, access, administration, {}, None)
    questionnaire = administration.questionnaire
    typed = {name: value for name, value in request.POST.items() if isinstance(value, str)}
    read = read_typed(questionnaire, typed)
    completed_on = _day(typed.get(COMPLETED_ON, ""))
    language = typed.get(LANGUAGE, "")
    problems = dict(read.problems)
    if completed_on is None:
        problems[COMPLETED_ON] = ""
    if language not in questionnaire.instrument.languages:
        problems[LANGUAGE] = ""
    if problems or completed_on is None:
        read = TypedForm(answers=read.answers, problems=problems)
        return _entry_page(request, access, administration, typed, read, status=422)
    content = PaperContent(language=language, completed_on=completed_on, answers=read.answers)
    try:
        differing = enter_paper_form(
            administration_id=administration.pk, content=content, actor=signed_in(request), now=timezone.now()
        )
    except PaperRefused as refusal:
        messages.error(request, refusal_words(refusal))
        administration.refresh_from_db()
        return _entry_page(request, access, administration, typed, read, status=409)
    if differing is None:
        messages.success(request, _("Stored. Another person types the same form now; until then nothing counts."))
        return redirect("paper_forms", code)
    if differing:
        messages.warning(request, _("The two entries differ. Look at the paper and decide."))
        return redirect("paper_compare", code, administration.pk)
    messages.success(request, _("Both entries say the same: the questionnaire is complete and is scored."))
    return redirect("paper_forms", code)


@staff_page
@require_http_methods(["GET", "POST"])
def paper_compare(request: HttpRequest, code: str, administration_id: int) -> HttpResponse:
    """Only what differs between two entries, each line to be decided with the paper in hand."""
    access = study_for(request.user, code, *MANAGES_VISITS)
    administration = _readable(request, access, administration_id)
    entries = list(administration.paper_entries.select_related("entered_by"))
    if len(entries) != 2 or is_answered_electronically(administration):
        if is_answered_electronically(administration) and administration.mode != Administration.Mode.PAPER:
            messages.error(request, refusal_words(_electronic(administration)))
        return redirect("paper_entry", code, administration.pk)
    if not (access.manages_study or signed_in(request).pk in {entry.entered_by_id for entry in entries}):
        raise PermissionDenied(_("Whoever typed one of the two entries decides, or a study admin."))
    questionnaire = administration.questionnaire
    contents = [content_of(entry) for entry in entries]
    differing = differences(questionnaire, *contents)
    decisions, problems = (
        _decisions(questionnaire, request.POST, contents, differing) if request.method == "POST" else ({}, {})
    )
    if request.method == "POST" and not problems:
        try:
            decide_paper_form(
                administration_id=administration.pk,
                decisions=decisions,
                actor=signed_in(request),
                now=timezone.now(),
                may_decide_all=access.manages_study,
            )
        except PaperRefused as refusal:
            if isinstance(refusal, AnsweredElectronically):
                messages.error(request, refusal_words(refusal))
                return redirect("paper_entry", code, administration.pk)
            problems = dict.fromkeys(refusal.codes, _("Decide this one, too."))
            messages.error(request, refusal_words(refusal))
        else:
            messages.success(request, _("Decided: the questionnaire is complete and is scored."))
            return redirect("paper_forms", code)
    context = _context(access) | {
        "administration": administration,
        "visit": administration.visit,
        "entry_code": entry_code(administration.pk),
        "entries": entries,
        "differences": _difference_rows(questionnaire, contents, differing, request.POST, problems),
        "n_problems": len(problems),
    }
    return render(request, "instruments/paper_compare.html", context, status=422 if request.method == "POST" else 200)


@staff_page
@require_POST
def paper_discard(request: HttpRequest, code: str, administration_id: int) -> HttpResponse:
    """Throw away what was typed, when it was the wrong form: one's own entry, or for an admin all of it."""
    access = study_for(request.user, code, *MANAGES_VISITS)
    administration = _readable(request, access, administration_id)
    try:
        discard_paper_entry(
            administration_id=administration.pk,
            actor=signed_in(request),
            now=timezone.now(),
            may_discard_all=access.manages_study,
        )
    except PaperRefused as refusal:
        messages.error(request, refusal_words(refusal))
    else:
        messages.success(request, _("What was typed has been thrown away. The form can be typed in anew."))
    return redirect("paper_entry", code, administration.pk)


def refusal_words(refusal: PaperRefused) -> str:
    """Why nothing was stored, and what to do now."""
    if isinstance(refusal, AnsweredElectronically):
        if refusal.reason == "finished":
            return _(
                "This questionnaire has been completed in the meantime. Its answers stay as they are; what was typed "
                "from paper is kept beside them and counts for nothing."
            )
        return _(
            "This questionnaire has been begun electronically: it holds answers already, and they are never replaced. "
            "Let it be finished there. What was typed from paper so far is kept."
        )
    words = {
        "same person": _("You have typed this form already. The second entry has to come from somebody else."),
        "both entered": _("Two people have typed this form already."),
        "not two": _("This form has not been typed in twice."),
        "not yours": _("Only who typed an entry may do this, or a study admin."),
        "completed": _("This questionnaire is complete; nothing of it can be thrown away."),
        "date": _("The day has to lie between 2000 and today."),
        "undecided": _("Some lines still need a decision."),
    }
    return words.get(refusal.reason, _("Something on this form can't be stored as it is."))


# --- parts ---


def _administration(access: StudyAccess, administration_id: int) -> Administration:
    rows = Administration.objects.filter(visit__dyad__study=access.study).select_related(
        "instrument_version",
        "visit__wave",
        "visit__dyad__study",
        "visit__dyad__patient",
        "visit__dyad__clinician__site",
    )
    found: Administration = get_object_or_404(
        access.within_sites(rows, "visit__dyad__clinician__site"), pk=administration_id
    )
    return found


def _readable(request: HttpRequest, access: StudyAccess, administration_id: int) -> Administration:
    """The questionnaire, unless its answers are the partner's of whoever asks."""
    administration = _administration(access, administration_id)
    if administration.role == Role.PATIENT and administration.visit.dyad.clinician.user_id == signed_in(request).pk:
        raise PermissionDenied(_("This is the form of your own patient. Somebody else has to type it in."))
    return administration


def _under_way(access: StudyAccess) -> Any:
    """The questionnaires of which something was typed and that are not complete."""
    rows = Administration.objects.filter(
        visit__dyad__study=access.study, pk__in=PaperEntry.objects.values("administration")
    ).exclude(status=Administration.Status.COMPLETED)
    rows = rows.select_related(
        "instrument_version", "visit__wave", "visit__dyad__patient", "visit__dyad__clinician__site"
    ).prefetch_related("paper_entries__entered_by")
    return access.within_sites(rows, "visit__dyad__clinician__site").order_by("visit__visit_date", "pk")


def _row(access: StudyAccess, administration: Administration) -> dict[str, Any]:
    entries = list(administration.paper_entries.all())
    people = {entry.entered_by_id for entry in entries}
    return {
        "administration": administration,
        "visit": administration.visit,
        "entry_code": entry_code(administration.pk),
        "entries": entries,
        "is_electronic": is_answered_electronically(administration),
        "is_mine": access.user_id in people,
        "may_decide": len(entries) == 2 and (access.manages_study or access.user_id in people),
        "is_own_patient": administration.role == Role.PATIENT
        and administration.visit.dyad.clinician.user_id == access.user_id,
    }


def _entry_page(
    request: HttpRequest,
    access: StudyAccess,
    administration: Administration,
    typed: Mapping[str, str],
    read: TypedForm | None,
    *,
    status: int = 200,
) -> HttpResponse:
    questionnaire = administration.questionnaire
    entries = list(administration.paper_entries.select_related("entered_by"))
    is_mine = any(entry.entered_by_id == access.user_id for entry in entries)
    is_electronic = is_answered_electronically(administration)
    problems = read.problems if read else {}
    context = (
        _context(access)
        | {
            "administration": administration,
            "visit": administration.visit,
            "entry_code": entry_code(administration.pk),
            "entries": entries,
            "is_mine": is_mine,
            "may_discard": not administration.is_completed and bool(entries) and (is_mine or access.manages_study),
            "may_decide": len(entries) == 2 and not is_electronic and (is_mine or access.manages_study),
            "is_electronic": is_electronic and administration.mode != Administration.Mode.PAPER,
            "is_complete": administration.is_completed and administration.mode == Administration.Mode.PAPER,
            "may_type": not is_mine and not is_electronic and len(entries) < 2,
            "lines": _lines(questionnaire, typed, problems),
            "languages": questionnaire.instrument.languages,  # a form may have been printed before one was given up
            "print_languages": study_languages(access.study, questionnaire.instrument),
            "language": typed.get(LANGUAGE, ""),
            "completed_on": typed.get(COMPLETED_ON, "")[:10],
            "problems": problems,
            "today": timezone.localdate(),
            "earliest": EARLIEST_DAY,
        }
    )
    return render(request, "instruments/paper_entry.html", context, status=status)


def _lines(questionnaire: Questionnaire, typed: Mapping[str, str], problems: Mapping[str, str]) -> list[Line]:
    texts = form_text(questionnaire, _language(questionnaire.instrument.languages, ""))
    lines = []
    heading = None
    for page in texts.pages:
        for entry in page.entries:
            question = questionnaire.entries[entry.code]
            kind = question.kind if isinstance(question, Question) else "scale"
            lines.append(
                Line(
                    code=entry.code,
                    text=entry.text,
                    codes=offered(questionnaire, entry.code),
                    value=typed.get(entry.code, "")[:40],
                    months=typed.get(f"{entry.code}_months", "")[:4] if kind == "years_months" else None,
                    problem=_problem_words(problems[entry.code]) if entry.code in problems else "",
                    numbers=_numbers(questionnaire, entry),
                    is_single=kind == "scale" or (kind == "choice" and len(entry.options) < 10),
                    opens=page.heading if page.heading and page.heading != heading else "",
                )
            )
        heading = page.heading
    return lines


def _numbers(questionnaire: Questionnaire, entry: EntryText) -> str:
    question = questionnaire.entries[entry.code]
    if not isinstance(question, Question) or question.kind not in ("choice", "multiple_choice"):
        return ""
    pairs = ((typed_code(questionnaire, entry.code, _stored(question, one.value)), one.label) for one in entry.options)
    return " · ".join(f"{number} {label}" for number, label in pairs)


def _stored(question: Question, value: str) -> Answer:
    if value == "prefer_not":
        return "PREFER_NOT"
    return [value] if question.kind == "multiple_choice" else value


def _problem_words(codes: str) -> str:
    if not codes:
        return _("Not asked after the answer before: leave this empty, or correct that one.")
    return _("Type one of: %(codes)s.") % {"codes": codes}


def _decisions(
    questionnaire: Questionnaire, posted: Mapping[str, str], contents: list[PaperContent], differing: list[str]
) -> tuple[dict[str, Answer], dict[str, str]]:
    """What was decided for each code, and what is wrong with the rest."""
    decisions: dict[str, Answer] = {}
    problems: dict[str, str] = {}
    for code in differing:
        choice = posted.get(f"choice_{code}", "")
        other = posted.get(f"other_{code}", "").strip()
        if choice in ("1", "2"):
            value = contents[int(choice) - 1].value(code)
            if value is not None:
                decisions[code] = value
        elif choice == OTHER and code == COMPLETED_ON:
            day = _day(other)
            if day is None:
                problems[code] = _("The day has to lie between 2000 and today.")
            else:
                decisions[code] = day.isoformat()
        elif choice == OTHER and code in questionnaire.entries:
            years, _slash, months = other.partition("/")
            read = read_typed(questionnaire, {code: years, f"{code}_months": months})
            if code in read.answers:
                decisions[code] = read.answers[code]
            else:
                problems[code] = _problem_words(offered(questionnaire, code))
        else:
            problems[code] = _("Decide this one, too.")
    return decisions, problems


def _difference_rows(
    questionnaire: Questionnaire,
    contents: list[PaperContent],
    differing: list[str],
    posted: Mapping[str, str],
    problems: Mapping[str, str],
) -> list[Difference]:
    texts = form_text(questionnaire, _language(questionnaire.instrument.languages, ""))
    by_code = {entry.code: entry for page in texts.pages for entry in page.entries}
    own = {LANGUAGE: _("Language of the paper form"), COMPLETED_ON: _("Filled in on")}
    return [
        Difference(
            code=code,
            text=own.get(code) or by_code[code].text,
            codes="" if code == LANGUAGE else _("YYYY-MM-DD") if code in own else offered(questionnaire, code),
            first=_in_words(questionnaire, by_code, code, contents[0]),
            second=_in_words(questionnaire, by_code, code, contents[1]),
            chosen=posted.get(f"choice_{code}", ""),
            other=posted.get(f"other_{code}", "")[:40],
            problem=problems.get(code, ""),
        )
        for code in [*differing, *(code for code in problems if code not in differing)]
    ]


def _in_words(questionnaire: Questionnaire, by_code: Mapping[str, EntryText], code: str, content: PaperContent) -> str:
    """An answer as it was typed, and what that means."""
    value = content.value(code)
    if code not in by_code:
        return str(value)
    if value is None or not questionnaire.is_asked(code, content.answers):
        return _("left empty")
    typed, words = typed_code(questionnaire, code, value), by_code[code].answer_in_words(value)
    return typed if typed == words else f"{typed} · {words}"


def _electronic(administration: Administration) -> AnsweredElectronically:
    return AnsweredElectronically("finished" if administration.is_completed else "begun")


def _of_code(access: StudyAccess, typed: str) -> int | None:
    """The questionnaire with this code, if it is one that this person may find."""
    pk = administration_of_code(typed)
    if pk is None or pk > 2**62:
        return None
    rows = Administration.objects.filter(visit__dyad__study=access.study, pk=pk)
    return access.within_sites(rows, "visit__dyad__clinician__site").values_list("pk", flat=True).first()


def _language(languages: tuple[str, ...], wanted: str) -> str:
    """The wanted language, or else the page's, or else the first."""
    for language in (wanted, (get_language() or "").split("-")[0]):
        if language in languages:
            return language
    return languages[0]


def _day(written: str) -> date | None:
    try:
        day = date.fromisoformat(written.strip()) if len(written.strip()) == 10 else None
    except ValueError:
        return None
    return day if day is not None and EARLIEST_DAY <= day <= timezone.localdate() else None


def _version(access: StudyAccess) -> InstrumentVersion | None:
    try:
        return study_instrument_version(access.study)
    except ValueError:  # it was never loaded; the page says what to do
        return None


def _context(access: StudyAccess) -> dict[str, Any]:
    return {"access": access, "study": access.study, "section": "visits"}
