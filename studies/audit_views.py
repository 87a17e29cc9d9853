"""The audit trail of a study: to search, and to take away."""

import csv
from collections.abc import Iterator
from datetime import datetime, time, timedelta
from typing import Any

from crispy_forms.bootstrap import StrictButton
from crispy_forms.helper import FormHelper
from crispy_forms.layout import Div, Layout
from django import forms
from django.contrib.auth import get_user_model
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_GET

from studies import audit
from studies.access import SEES_AUDIT, StudyAccess, signed_in, staff_page, whole_study_for
from studies.audit_words import ACTIONS, action_words, facts_words
from studies.models import AuditEvent

EVENTS_PER_PAGE = 50
COLUMNS = ("sequence", "at", "user_id", "action", "record", "why", "prev_hash", "hash")


class AuditFilterForm(forms.Form):
    """Which lines to list. A condition that cannot be read is left out and said so beside its field."""

    person = forms.ModelChoiceField(
        label=_("Person"), queryset=get_user_model().objects.none(), required=False, empty_label=_("any")
    )
    action = forms.ChoiceField(label=_("What happened"), required=False)
    holds = forms.CharField(
        label=_("Line holds"), required=False, max_length=80, widget=forms.TextInput(attrs={"type": "search"})
    )
    since = forms.DateField(label=_("From"), required=False, widget=forms.DateInput(attrs={"type": "date"}))
    until = forms.DateField(label=_("To"), required=False, widget=forms.DateInput(attrs={"type": "date"}))

    def __init__(self, *args: Any, access: StudyAccess, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        people = get_user_model().objects.filter(pk__in=access.study.audit_events.values("actor"))
        self.fields["person"].queryset = people.order_by("username")  # type: ignore[attr-defined]
        known = sorted((str(words), action) for action, words in ACTIONS.items())
        self.fields["action"].choices = [("", _("any")), *((action, words) for words, action in known)]  # type: ignore[attr-defined]
        self.helper = FormHelper()
        self.helper.form_method = "get"
        self.helper.disable_csrf = True
        self.helper.attrs = {"novalidate": ""}
        self.helper.layout = Layout(
            Div("person", "action", "holds", "since", "until", css_class="filters"),
            StrictButton(_("Show"), type="submit", css_class="btn-outline-primary btn-sm"),
        )

    def lines(self, access: StudyAccess) -> "QuerySet[AuditEvent]":
        """The study's lines that meet the conditions, newest first."""
        self.is_valid()
        cleaned = self.cleaned_data
        rows = access.study.audit_events.select_related("actor", "note")
        if cleaned.get("person"):
            rows = rows.filter(actor=cleaned["person"])
        if cleaned.get("action"):
            rows = rows.filter(action=cleaned["action"])
        if cleaned.get("holds"):
            rows = rows.filter(record__icontains=cleaned["holds"])
        if cleaned.get("since"):
            rows = rows.filter(at__gte=_midnight(cleaned["since"]))
        if cleaned.get("until"):
            rows = rows.filter(at__lt=_midnight(cleaned["until"] + timedelta(days=1)))
        return rows.order_by("-sequence")


@staff_page
@require_GET
def audit_trail(request: HttpRequest, code: str) -> HttpResponse:
    """Who did what when, newest first; filtered."""
    access = whole_study_for(request.user, code, *SEES_AUDIT)
    form = AuditFilterForm(request.GET, access=access)
    page = Paginator(form.lines(access), EVENTS_PER_PAGE).get_page(request.GET.get("page"))
    conditions = request.GET.copy()
    conditions.pop("page", None)
    for name in [name for name, value in conditions.items() if not value]:
        conditions.pop(name)
    context = {
        "access": access,
        "study": access.study,
        "section": "audit",
        "form": form,
        "page": page,
        "events": [(event, action_words(event.action), facts_words(event.facts)) for event in page],
        "is_filtered": bool(conditions),
        "query": conditions.urlencode(),
        "end": audit.head(),
    }
    return render(request, "studies/audit_trail.html", context)


@staff_page
@require_GET
def audit_download(request: HttpRequest, code: str) -> StreamingHttpResponse:
    """The study's lines as CSV, each with its hashes, so that they can be checked elsewhere."""
    access = whole_study_for(request.user, code, *SEES_AUDIT)
    now = timezone.now()
    name = f"{access.study.code}-audit-{now:%Y%m%d}.csv"
    audit.record(
        study=access.study, actor=signed_in(request), action="export audit trail", detail={"file": name}, now=now
    )
    return StreamingHttpResponse(
        _csv_lines(access),
        content_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


class _Line:
    def write(self, line: str) -> str:
        return line


def _csv_lines(access: StudyAccess) -> Iterator[str]:
    writer = csv.writer(_Line(), lineterminator="\n")
    yield writer.writerow(COLUMNS)
    for event in access.study.audit_events.select_related("note").order_by("sequence").iterator(chunk_size=1000):
        note = getattr(event, "note", None)
        why = "" if note is None else note.text
        # Typed by people: a spreadsheet must not take it for a formula.
        guarded = f"'{why}" if why[:1] in ("=", "+", "-", "@", "\t", "\r") else why
        yield writer.writerow(
            (
                event.sequence, event.at.isoformat(), event.actor_id, event.action,
                event.record, guarded, event.prev_hash, event.hash,
            )
        )  # fmt: skip


def _midnight(day: Any) -> datetime:
    return timezone.make_aware(datetime.combine(day, time()))
