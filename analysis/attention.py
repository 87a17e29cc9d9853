"""What needs a hand in a person's studies, in words, with where to go: gathered from the rows when it is asked for."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.contrib.auth.models import AnonymousUser, User
from django.core.cache import cache
from django.db.models import Count, FilteredRelation, Q
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import get_language, ngettext
from django.utils.translation import gettext as _

from analysis.models import AnalysisRun
from analysis.needs import Completions, Kind, Need, Signs, needs_of
from instruments.devices import devices_needing_a_hand
from instruments.models import Administration, ReminderMail
from studies import heartbeats, scope
from studies.access import MANAGES_STUDY, MANAGES_VISITS, SEES_SCORES, StudyAccess, accesses_of, study_for
from studies.models import Study, Visit

#: Pages that show messages are opened often; what they tell may be so old.
KEPT_SECONDS = 60
EXPIRES_WITHIN = timedelta(days=3)
#: Nobody has more studies than this on their start page with messages; each one is asked.
MOST_STUDIES = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One line for somebody who can act: what is the matter, what to do, and where."""

    key: str
    kind: str
    study: str  # its code
    text: str
    remedy: str
    address: str  # blank where it is not done on a page
    is_urgent: bool


def messages_for(user: User | AnonymousUser, *, code: str | None = None) -> list[Message]:
    """The messages about one study, or about all of the person's open studies; kept for a minute in this process."""
    if user.pk is None:
        return []
    key = f"attention.{user.pk}.{code}.{get_language()}"
    kept: list[Message] | None = cache.get(key)
    if kept is None:
        kept = gather_messages(user, code=code, now=timezone.now())
        cache.set(key, kept, KEPT_SECONDS)
    return kept


def gather_messages(user: User | AnonymousUser, *, code: str | None = None, now: datetime) -> list[Message]:
    """The same, looked up now."""
    found = []
    mine = [one for one in accesses_of(user) if one.study.status == Study.Status.OPEN]
    for access in mine[:MOST_STUDIES] if code is None else [one for one in mine if one.study.code == code]:
        signs = _signs(user, access, now=now)
        found += [_in_words(need, access.study.code) for need in needs_of(signs, now=now)]
    return found


def _signs(user: User | AnonymousUser, access: StudyAccess, *, now: datetime) -> Signs:
    tablets: Sequence[str] = ()
    completions, n_expiring, n_failed, n_unsent, heard = None, 0, 0, 0, None
    code = access.study.code
    if access.manages_visits:
        with scope.within(scope.Scope()):  # what is looked up here opens nothing for the page around it
            reach = study_for(user, code, *MANAGES_VISITS)
            tablets = [one.device.name for one in devices_needing_a_hand(access.study, now=now)]
            completions = _completions(reach, now=now)
            n_expiring = _n_expiring(reach, now=now)
    if not access.roles.isdisjoint(SEES_SCORES):
        failed = AnalysisRun.objects.filter(study=access.study, status=AnalysisRun.Status.FAILED)
        n_failed = failed.filter(finished_at__gte=now - timedelta(days=7)).count()
    if not access.roles.isdisjoint(MANAGES_STUDY):
        n_unsent = _n_unsent_reminders(access.study, now=now)
    if not access.roles.isdisjoint(MANAGES_STUDY) and not access.study.is_synthetic:
        heard = heartbeats.last_beats()
    return Signs(
        tablets=tablets,
        completions=completions,
        n_expiring=n_expiring,
        n_failed_analyses=n_failed,
        n_unsent_reminders=n_unsent,
        heard=heard,
        installed_at=access.study.created_at,
    )


def _completions(access: StudyAccess, *, now: datetime) -> Completions:
    today = timezone.localdate(now)
    week, before = today - timedelta(days=7), today - timedelta(days=35)
    visits = access.within_sites(Visit.objects.filter(dyad__study=access.study), "dyad__clinician__site")
    finished = Q(patient_form__status=Administration.Status.COMPLETED)
    of_week = Q(visit_date__gte=week)
    return Completions(
        **visits.filter(visit_date__gte=before, visit_date__lt=today, non_participation=None)
        .annotate(patient_form=FilteredRelation("administrations", condition=Q(administrations__role="patient")))
        .aggregate(
            n_week=Count("pk", filter=of_week),
            n_week_finished=Count("pk", filter=of_week & finished),
            n_before=Count("pk", filter=~of_week),
            n_before_finished=Count("pk", filter=~of_week & finished),
        )
    )


def _n_expiring(access: StudyAccess, *, now: datetime) -> int:
    forms = Administration.objects.filter(
        visit__dyad__study=access.study,
        status__in=Administration.UNFINISHED,
        expires_at__gt=now,
        expires_at__lte=now + EXPIRES_WITHIN,
        visit__non_participation=None,
    )
    return access.within_sites(forms, "visit__dyad__clinician__site").count()


def _n_unsent_reminders(study: Study, *, now: datetime) -> int:
    failed = ReminderMail.objects.filter(sent_at=None, made_at__gt=now - timedelta(days=3)).exclude(error="")
    return failed.filter(user__clinicians__site__study=study).distinct().count()


def _in_words(need: Need, code: str) -> Message:
    since = "" if need.since is None else timezone.localtime(need.since).strftime("%Y-%m-%d %H:%M")
    address, is_urgent = "", False
    match need.kind:
        case Kind.TABLETS:
            text = ngettext(
                "%(n)d tablet needs a hand: %(names)s.", "%(n)d tablets need a hand: %(names)s.", need.n
            ) % {"n": need.n, "names": ", ".join(need.names)}
            remedy, address, is_urgent = _("See what each one needs."), reverse("devices", args=[code]), True
        case Kind.COMPLETIONS:
            assert need.completions is not None
            counts = need.completions
            text = _(
                "Fewer patients finish: %(k)d of %(n)d visits in the last seven days, "
                "%(k_before)d of %(n_before)d in the four weeks before."
            ) % {
                "k": counts.n_week_finished,
                "n": counts.n_week,
                "k_before": counts.n_before_finished,
                "n_before": counts.n_before,
            }
            remedy = _("Look at what has changed at the front desk: tablets, Wi-Fi, staff, or who hands over.")
            address = reverse("participation", args=[code])
        case Kind.EXPIRING:
            text = ngettext(
                "The link of %(n)d open form ends within three days.",
                "The links of %(n)d open forms end within three days.",
                need.n,
            ) % {"n": need.n}
            remedy, address = _("Remind the people who owe it, or make a new link."), reverse("day", args=[code])
        case Kind.ANALYSIS_FAILED:
            text = ngettext(
                "%(n)d analysis failed in the last seven days.", "%(n)d analyses failed in the last seven days.", need.n
            ) % {"n": need.n}
            remedy, address = _("Each one says why."), reverse("analyses", args=[code])
        case Kind.REMINDERS_FAIL:
            text = ngettext(
                "%(n)d reminder to a clinician could not be sent.",
                "%(n)d reminders to clinicians could not be sent.",
                need.n,
            ) % {"n": need.n}
            remedy = _("Check the clinician's e-mail address; whoever runs the server checks the mail settings.")
        case Kind.WORKER_SILENT:
            is_scoring = need.names == ("scoring worker",)
            who = _("Scoring stands still") if is_scoring else _("Analyses stand still")
            text = _("%(who)s: nothing is heard of the worker. Last sign of life: %(since)s.") % {
                "who": who,
                "since": since or _("never"),
            }
            remedy = _("Whoever runs the server starts worker and beat again. No answer is lost meanwhile.")
            is_urgent = True
        case Kind.ANCHOR_OVERDUE:
            text = _("The end of the audit trail was not noted for more than half a day. Last time: %(since)s.") % {
                "since": since or _("never")
            }
            remedy = _("Whoever runs the server looks at beat, or runs manage.py anchor_audit.")
        case Kind.BACKUP_OVERDUE:
            text = _("No backup was made for more than a week. Last one: %(since)s.") % {"since": since or _("never")}
            remedy = _("Whoever runs the server runs manage.py backup.")
            is_urgent = True
    return Message(
        key=f"{code}|{need.key}",
        kind=need.kind.value,
        study=code,
        text=text,
        remedy=remedy,
        address=address,
        is_urgent=is_urgent,
    )
