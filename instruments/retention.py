"""How long things are kept: rules, a preview of what would go when, and deleting exactly what was confirmed there.

A rule deletes nothing by itself. Somebody sees the preview and confirms it; the order holds the day, how many rows and
the highest id. On that day a worker deletes them; if there are more rows than confirmed, it deletes none and says so.
"""

import calendar
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Max, QuerySet
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from instruments.models import Administration, AnswerEvent, HandOver, PaperEntry
from studies import audit
from studies.erasure_ledger import Entry, append
from studies.models import PatientIdentifiers, RetentionOrder, RetentionRules, Study

LABELS: Mapping[str, str | Promise] = {
    "identifiers": _("Names and contact details"),
    "paper": _("What was typed of finished paper forms"),
    "log": _("Answer logs of finished forms, with times and devices"),
    "tablets": _("Which form was on which tablet"),
}
FIELDS = ("ends_on", "identifiers_months", "paper_months", "log_months", "tablets_months")


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviewLine:
    """What one rule would delete, and when. `order` is what was confirmed and waits for its day."""

    rule: str
    due_on: date
    n_rows: int
    last_id: int
    order: RetentionOrder | None = None

    @property
    def label(self) -> str:
        return str(LABELS[self.rule])

    @property
    def is_confirmed(self) -> bool:
        """Whether what is there now is covered by what was confirmed."""
        order = self.order
        return order is not None and order.due_on == self.due_on and self.n_rows <= order.n_rows


def months_after(day: date, months: int) -> date:
    """The same day some months later, or the month's last.

    >>> months_after(date(2026, 1, 31), 1)
    datetime.date(2026, 2, 28)
    """
    year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    return date(year, month + 1, min(day.day, calendar.monthrange(year, month + 1)[1]))


def preview(study: Study) -> list[PreviewLine]:
    """What each rule of the study would delete, by the day on which it would."""
    rules = RetentionRules.objects.filter(pk=study.pk).first()
    if rules is None:
        return []
    orders = {order.rule: order for order in study.retention_orders.filter(applied_at=None)}
    lines = []
    for rule in LABELS:
        months = getattr(rules, f"{rule}_months")
        if months is None:
            continue
        rows = _rows(study, rule)
        lines.append(
            PreviewLine(
                rule=rule,
                due_on=months_after(rules.ends_on, months),
                n_rows=rows.count(),
                last_id=rows.aggregate(last=Max("pk"))["last"] or 0,
                order=orders.get(rule),
            )
        )
    return sorted(lines, key=lambda line: line.due_on)


@transaction.atomic
def change_rules(*, rules: RetentionRules, actor: User, now: datetime) -> None:
    """Store a study's rules. What was confirmed under other rules is confirmed no more."""
    before = RetentionRules.objects.filter(pk=rules.pk).first()
    old = {} if before is None else audit.new_values(before, FIELDS)
    new = audit.new_values(rules, FIELDS)
    rules.save()
    RetentionOrder.objects.filter(study=rules.study, applied_at=None).delete()
    changed = [name for name in FIELDS if old.get(name) != new[name]]
    audit.record(
        study=rules.study,
        actor=actor,
        action="change retention",
        detail={"fields": changed},
        old={name: str(old[name]) for name in changed if old.get(name) is not None},
        new={name: str(new[name]) for name in changed if new[name] is not None},
        now=now,
    )


@transaction.atomic
def confirm(*, study: Study, seen: Mapping[str, int], actor: User | None, now: datetime) -> bool:
    """Order what the preview showed; False, and nothing ordered, when it would show more by now.

    `seen`: rule -> the number of rows that the person saw.
    """
    lines = preview(study)
    if {line.rule: line.n_rows for line in lines} != dict(seen):
        return False
    RetentionOrder.objects.filter(study=study, applied_at=None).delete()
    for line in lines:
        RetentionOrder.objects.create(
            study=study,
            rule=line.rule,
            due_on=line.due_on,
            n_rows=line.n_rows,
            last_id=line.last_id,
            confirmed_by=actor,
            confirmed_at=now,
        )
        detail = {"rule": line.rule, "due_on": line.due_on.isoformat(), "rows": line.n_rows}
        audit.record(study=study, actor=actor, action="order retention", detail=detail, now=now)
    return True


def apply_orders(*, now: datetime, study: Study | None = None) -> list[dict[str, Any]]:
    """Delete what was confirmed and is due: (study, rule, confirmed, deleted) of each order that was looked at."""
    due = RetentionOrder.objects.filter(applied_at=None, due_on__lte=timezone.localdate(now)).order_by("pk")
    if study is not None:
        due = due.filter(study=study)
    return [_apply(pk, now=now) for pk in list(due.values_list("pk", flat=True))]


@transaction.atomic
def _apply(order_id: int, *, now: datetime) -> dict[str, Any]:
    order = RetentionOrder.objects.select_for_update(of=("self",)).select_related("study").get(pk=order_id)
    told = {"study": order.study.code, "rule": order.rule, "confirmed": order.n_rows, "deleted": 0}
    rows = _rows(order.study, order.rule).filter(pk__lte=order.last_id)
    n_rows = rows.count()
    if order.applied_at is not None:
        return told
    detail = {"rule": order.rule, "confirmed": order.n_rows, "rows": n_rows}
    if n_rows > order.n_rows:
        order.delete()
        audit.record(study=order.study, actor=None, action="hold back retention", detail=detail, now=now)
        return told
    if order.rule == "identifiers":
        whose = rows.values_list("patient__site__code", "patient__code")
        append(
            *(Entry(kind="identifiers", study=order.study.code, site=site, patient=code) for site, code in whose),
            now=now,
        )
    rows.delete()
    order.applied_at = now
    order.save(update_fields=["applied_at"])
    audit.record(study=order.study, actor=None, action="apply retention", detail=detail, now=now)
    return told | {"deleted": n_rows}


def _rows(study: Study, rule: str) -> "QuerySet[Any]":
    done = Administration.Status.COMPLETED
    rows: dict[str, QuerySet[Any]] = {
        "identifiers": PatientIdentifiers.objects.filter(patient__site__study=study),
        "paper": PaperEntry.objects.filter(administration__visit__dyad__study=study, administration__status=done),
        "log": AnswerEvent.objects.filter(administration__visit__dyad__study=study, administration__status=done),
        "tablets": HandOver.objects.filter(device__site__study=study, ended_at__isnull=False),
    }
    return rows[rule].order_by()
