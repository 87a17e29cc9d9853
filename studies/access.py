"""Who may see what: the one door from a signed-in person to a study.

Every staff page begins with `study_for`. A study that is not the person's looks exactly like one that does not exist.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import TypeVar

from django.contrib.auth.decorators import login_required
from django.contrib.auth.models import AnonymousUser, User
from django.core.exceptions import PermissionDenied
from django.db.models import Model, QuerySet
from django.http import Http404, HttpRequest, HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.translation import gettext as _

from studies import scope
from studies.models import Clinician, Member, Site, Study

Role = Member.Role
Row = TypeVar("Row", bound=Model)
View = Callable[..., HttpResponseBase]

SEES_RECRUITMENT = (Role.ADMIN, Role.RESEARCHER, Role.COORDINATOR, Role.AUDITOR)
SEES_SCORES = (Role.ADMIN, Role.RESEARCHER)
MANAGES_VISITS = (Role.ADMIN, Role.COORDINATOR)
MANAGES_STUDY = (Role.ADMIN,)
RATES_PATIENTS = (Role.CLINICIAN,)
SEES_AUDIT = (Role.ADMIN, Role.AUDITOR)
#: Roles that can be given the right to see names and contact details; none of them brings it.
MAY_SEE_IDENTIFIERS = (Role.ADMIN, Role.COORDINATOR)


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyAccess:
    """A study together with the right to it. `site_ids` is None for every site, else the only sites that count."""

    study: Study
    roles: frozenset[str]  # every role of this person in the study
    site_ids: frozenset[int] | None
    user_id: int | None = None  # whose right it is
    export: str = Member.Export.NONE  # what this person may take away as a file
    sees_identifiers: bool = False  # at some site of the study

    @property
    def sees_recruitment(self) -> bool:
        return not self.roles.isdisjoint(SEES_RECRUITMENT)

    @property
    def sees_scores(self) -> bool:
        return not self.roles.isdisjoint(SEES_SCORES)

    @property
    def manages_visits(self) -> bool:
        return not self.roles.isdisjoint(MANAGES_VISITS)

    @property
    def manages_study(self) -> bool:
        return not self.roles.isdisjoint(MANAGES_STUDY)

    @property
    def rates_patients(self) -> bool:
        return not self.roles.isdisjoint(RATES_PATIENTS)

    @property
    def sees_audit(self) -> bool:
        return not self.roles.isdisjoint(SEES_AUDIT)

    @property
    def role_labels(self) -> list[str]:
        """The person's roles in words, in the order in which they are declared."""
        return [str(role.label) for role in Role if role in self.roles]

    def within_sites(self, rows: "QuerySet[Row]", site_path: str) -> "QuerySet[Row]":
        """Only the rows whose site, found along `site_path`, this person may see."""
        return rows if self.site_ids is None else rows.filter(**{f"{site_path}__in": self.site_ids})

    def without_own_patients(self, rows: "QuerySet[Row]", clinician_path: str) -> "QuerySet[Row]":
        """Only the rows of other clinicians' patients: who rates a relationship never sees the partner's side of it."""
        return rows if self.user_id is None else rows.exclude(**{f"{clinician_path}__user": self.user_id})

    @property
    def own_clinicians(self) -> "QuerySet[Clinician]":
        """Which clinicians of the study this person is: none, as a rule, or one."""
        return Clinician.objects.filter(site__study=self.study, user__isnull=False, user=self.user_id).order_by()

    @property
    def has_own_patients(self) -> bool:
        """Whether this person is also a clinician of the study."""
        return self.own_clinicians.exists()

    @property
    def sites(self) -> "QuerySet[Site]":
        """The sites that this person may see."""
        return self.within_sites(self.study.sites.all(), "pk")

    @property
    def clinicians(self) -> "QuerySet[Clinician]":
        """The clinicians of those sites, with their sites."""
        clinicians = Clinician.objects.filter(site__study=self.study).select_related("site")
        return self.within_sites(clinicians.order_by("site__code", "code"), "site")


def study_for(user: User | AnonymousUser, code: str, *roles: str, identifiers: bool = False) -> StudyAccess:
    """The study with this code, if the person holds one of these roles in it; inside a request it opens its rows.

    Sites count over the roles that were asked for: someone who coordinates one site and is a researcher of the whole
    study sees one site's visits and every site's scores. A superuser counts as everything but a clinician. With
    `identifiers` the role must have been given the right to see patients' names, a superuser's as well.

    Raises
    ------
    Http404
        If there is no such study, or the person has no part in it: the two cannot be told apart.
    PermissionDenied
        If the person belongs to the study but none of the roles is theirs.
    """
    if user.pk is None:
        raise Http404
    if user.is_superuser and not identifiers:
        study = Study.objects.filter(code=code).first()
        if study is None:
            raise Http404
        everything = frozenset(role.value for role in Role if role is not Role.CLINICIAN)
        scope.reach(study.pk, None)
        return StudyAccess(
            study=study, roles=everything, site_ids=None, user_id=user.pk, export=Member.Export.IDENTIFIED
        )
    memberships = _memberships(user.pk, code)
    if not memberships:
        raise Http404
    granting = [one for one in memberships if one.role in roles and (one.sees_identifiers or not identifiers)]
    if not granting:
        raise PermissionDenied(_("Your role in this study does not include this page."))
    everywhere = any(membership.site_id is None for membership in granting)
    site_ids = None if everywhere else frozenset(m.site_id for m in granting if m.site_id is not None)
    study = memberships[0].study
    scope.reach(study.pk, site_ids)
    return StudyAccess(
        study=study,
        roles=frozenset(membership.role for membership in memberships),
        site_ids=site_ids,
        user_id=user.pk,
        export=_export_right(memberships),
        sees_identifiers=any(one.sees_identifiers and one.role in MAY_SEE_IDENTIFIERS for one in memberships),
    )


def _export_right(memberships: list[Member]) -> str:
    """The widest that any of the roles brings: an admin's is everything, a researcher's what the role says."""
    rights = {Member.Export.IDENTIFIED.value for one in memberships if one.role == Role.ADMIN}
    rights |= {one.export for one in memberships if one.role == Role.RESEARCHER}
    return next((right for right in Member.Export.values if right in rights), Member.Export.NONE.value)


def _memberships(user_id: int, code: str) -> list[Member]:
    """The person's roles in the study with this code; looked up once in a request."""
    current = scope.current()
    if current is not None and (user_id, code) in current.memberships:
        return current.memberships[user_id, code]
    memberships = list(Member.objects.filter(study__code=code, user_id=user_id).select_related("study"))
    if current is not None:
        current.memberships[user_id, code] = memberships
    return memberships


def whole_study_for(user: User | AnonymousUser, code: str, *roles: str) -> StudyAccess:
    """`study_for`, for what cannot be cut down to a site: analyses, exports, the study's settings.

    Raises `PermissionDenied` also when the right is held to one site.
    """
    access = study_for(user, code, *roles)
    if access.site_ids is not None:
        raise PermissionDenied(_("This page covers every site of the study; your role covers one site."))
    return access


def accesses_of(user: User | AnonymousUser) -> list[StudyAccess]:
    """Every study that the person has a part in, by code; what the home page lists."""
    if user.pk is None:
        return []
    if user.is_superuser:
        everything = frozenset(role.value for role in Role if role is not Role.CLINICIAN)
        return [
            StudyAccess(study=study, roles=everything, site_ids=None, user_id=user.pk) for study in Study.objects.all()
        ]
    found: dict[int, tuple[Study, set[str]]] = {}
    for membership in Member.objects.filter(user_id=user.pk).select_related("study").order_by("study__code"):
        found.setdefault(membership.study_id, (membership.study, set()))[1].add(membership.role)
    return [
        # Fails closed: a list of studies is no right to any row in them.
        StudyAccess(study=study, roles=frozenset(roles), site_ids=frozenset(), user_id=user.pk)
        for study, roles in found.values()
    ]


def landing_address(user: User | AnonymousUser) -> str:
    """Where signing in leads: whose only work is one study's front desk, to its day; everybody else home."""
    accesses = accesses_of(user)
    if len(accesses) == 1 and accesses[0].roles == {Role.COORDINATOR}:
        return reverse("day", args=[accesses[0].study.code])
    return reverse("home")


def signed_in(request: HttpRequest) -> User:
    """Who sent this request; only behind `staff_page`, which lets nobody else through."""
    if not isinstance(request.user, User):
        raise PermissionDenied
    return request.user


def staff_page(view: View) -> View:
    """Sign-in needed. Whoever signs in from here comes back to the page, unless the request was to change something."""
    guarded = login_required(view)

    @wraps(view)
    def page(request: HttpRequest, *args: object, **kwargs: object) -> HttpResponseBase:
        if request.method == "POST" and not request.user.is_authenticated:
            return redirect("login")
        return guarded(request, *args, **kwargs)

    return page
