"""How long things are kept: the rules, the preview of what they would delete, and its confirmation."""

from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_http_methods, require_POST

from instruments.retention import FIELDS, LABELS, change_rules, confirm, preview
from studies.access import MANAGES_STUDY, signed_in, staff_page, whole_study_for
from studies.forms import crispy_helper
from studies.models import RetentionRules


class RetentionForm(forms.ModelForm):  # type: ignore[type-arg]  # Django's own class takes no parameter
    """The rules of a study."""

    class Meta:
        model = RetentionRules
        fields = FIELDS
        widgets = {"ends_on": forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d")}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in FIELDS[1:]:
            self.fields[name].max_value = 600  # type: ignore[attr-defined]
        self.helper = crispy_helper(gettext_lazy("Save the rules"))

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        for name in FIELDS[1:]:
            if (cleaned.get(name) or 0) > 600:
                self.add_error(name, _("At most 600 months."))
        return cleaned


@staff_page
@require_http_methods(["GET", "POST"])
def retention(request: HttpRequest, code: str) -> HttpResponse:
    """The rules, and what would go when."""
    access = whole_study_for(request.user, code, *MANAGES_STUDY)
    rules = RetentionRules.objects.filter(pk=access.study.pk).first() or RetentionRules(study=access.study)
    has_rules = rules.ends_on is not None
    form = RetentionForm(request.POST or None, instance=rules)
    if form.is_valid():
        change_rules(rules=form.instance, actor=signed_in(request), now=timezone.now())
        messages.success(request, _("The rules were saved. Look at what they would delete, and confirm it."))
        return redirect("retention", code)
    lines = preview(access.study) if has_rules else []
    context: dict[str, Any] = {
        "access": access,
        "study": access.study,
        "section": "settings",
        "form": form,
        "lines": lines,
        "is_confirmed": bool(lines) and all(line.is_confirmed for line in lines),
        "applied": access.study.retention_orders.filter(applied_at__isnull=False).order_by("-applied_at")[:20],
    }
    return render(request, "instruments/retention.html", context, status=422 if form.is_bound else 200)


@staff_page
@require_POST
def retention_confirm(request: HttpRequest, code: str) -> HttpResponse:
    """Confirm what the preview showed, and no more."""
    access = whole_study_for(request.user, code, *MANAGES_STUDY)
    shown = {rule: request.POST.get(rule, "") for rule in LABELS}
    seen = {rule: int(n) for rule, n in shown.items() if n.isdecimal() and len(n) < 12}
    if confirm(study=access.study, seen=seen, actor=signed_in(request), now=timezone.now()):
        messages.success(request, _("Confirmed. Each line is deleted in the night of its day."))
    else:
        messages.error(request, _("Meanwhile there is something else to delete. Look again: nothing was confirmed."))
    return redirect("retention", code)
