"""Who gets what: every URL of the resolver × every role and site × methods × own, foreign and missing ids.

Every row of two studies carries a canary, and the bodies are searched for them, not only the status codes.
"""

import re
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.test import Client, RequestFactory
from django.urls import URLPattern, URLResolver, get_resolver, path, resolve, reverse

from analysis.models import AnalysisRun
from healing_survey.policy import POLICY, EnforcePolicy, Gate, rule_for
from instruments.definitions import Role
from instruments.devices import add_device
from instruments.services import create_visit
from scoring.services import score_due
from studies import audit
from studies.access import MAY_SEE_IDENTIFIERS, StudyAccess
from studies.identifiers import Identifiers, store
from studies.models import Clinician, Dyad, Member, Patient, Site, Study, Visit
from studies.scope import Scope, ScopedManager, beyond_sites, within
from tests.factories import NOW, StudyKit, administration_of, finish, make_invitation, make_study, make_user

pytestmark = pytest.mark.django_db

MISSING = 987654321
NO_DRAFT = UUID(int=7)
POST_ONLY = (
    "retention_confirm",
    "visit_take_part", "device_noted", "hand_over_take_back", "paper_discard",
    "rate_patient", "rating_label", "invitation_withdraw",
    "day_list_confirm",
)  # fmt: skip
SAFE_AND_UNSAFE = ("get", "post")
OTHER_METHODS = ("head", "options", "put", "patch", "delete")


# --- a world full of canaries ---


@dataclass(slots=True, kw_only=True)
class Place:
    """One clinician with a scored visit; everything in it carries `canary`."""

    canary: str
    arguments: dict[str, Any]


@dataclass(slots=True, kw_only=True)
class World:
    """Two studies, A and B: A1 has two clinicians (A1x, A1y), A2 and B1 have one."""

    places: dict[str, Place] = field(default_factory=dict)
    users: dict[str, User | None] = field(default_factory=dict)
    #: Per user the canaries that may reach it.
    mine: dict[str, set[str]] = field(default_factory=dict)


def canary(name: str) -> str:
    return f"zz{name}zz"


def make_place(kit: StudyKit, site: Site, name: str) -> Place:
    word = canary(name)
    clinician = Clinician.objects.create(site=site, code=f"{word}-c", user=make_user(f"{word}-rates"))
    Member.objects.create(study=kit.study, user=clinician.user, role=Member.Role.CLINICIAN)
    visits = []
    for number in range(2):
        patient = Patient.objects.create(site=site, code=f"{word}-p{number}")
        dyad = Dyad.objects.create(study=kit.study, clinician=clinician, patient=patient, code=f"{word}-d{number}")
        visits.append(
            create_visit(
                dyad=dyad,
                wave=kit.wave,
                form="short",
                instrument_version=kit.version,
                visit_date=NOW.date(),
                now=NOW,
                link_valid_days=30,
            )
        )
    finish(visits[0], Role.PATIENT)
    member = Member.objects.create(
        study=kit.study, user=make_user(f"{word}-colleague"), role=Member.Role.COORDINATOR, site=site
    )
    identifiers = Identifiers(name=f"{word} {word}", email=f"{word}@example.org", record_number=word)
    store(patient=patient, identifiers=identifiers, actor=member.user, now=NOW)
    run = AnalysisRun.objects.create(study=kit.study, form="short", seed=1)
    return Place(
        canary=word,
        arguments={
            "dyad_code": visits[0].visit.dyad.code,
            "wave_code": "baseline",
            "run_id": run.pk,
            "key": NO_DRAFT,
            "invitation_id": make_invitation(kit, clinician.user, email=f"{word}@example.org").pk,
            "member_id": member.pk,
            "patient_id": patient.pk,
            "dyad_id": dyad.pk,
            "site_id": site.pk,
            "language": "es",
            "wave_id": kit.wave.pk,
            "device_id": add_device(site=site, name=word, pin="2580", actor=clinician.user, now=NOW).device.pk,
            "clinician_id": clinician.pk,
            "administration_id": administration_of(visits[1], Role.PATIENT).pk,
            "rating": administration_of(visits[1], Role.CLINICIAN).pk,
            "visit_id": visits[1].visit.pk,
            "token": visits[1].patient_token,
        },
    )


@pytest.fixture
def world() -> World:
    made = World()
    for letter, names in (("A", {"A1x": 0, "A1y": 0, "A2": 1}), ("B", {"B1": 0})):
        kit = make_study(letter * 2, n_sites=len(set(names.values())))
        Study.objects.filter(pk=kit.study.pk).update(title=f"Study {canary(letter)}")
        kit.study.refresh_from_db()
        for site in kit.sites:
            site.name = canary(f"{letter}{site.code[1]}")
            site.save()
        for name, number in names.items():
            made.places[name] = make_place(kit, kit.sites[number], name)
        audit.record(study=kit.study, actor=None, action="add site", detail={"code": canary(letter)}, now=NOW)
        if letter == "A":
            sites = {site.code: site for site in kit.sites}
            everything = {"A", "A1", "A1x", "A1y", "A2"}
            one, two = {"A", "A1", "A1x", "A1y"}, {"A", "A2"}
            for label, role, site, mine in (
                ("admin", Member.Role.ADMIN, None, everything),
                ("researcher", Member.Role.RESEARCHER, None, everything),
                ("auditor", Member.Role.AUDITOR, None, everything),
                ("coordinator of A1", Member.Role.COORDINATOR, sites["S1"], one),
                ("coordinator of A2", Member.Role.COORDINATOR, sites["S2"], two),
                ("researcher of A1", Member.Role.RESEARCHER, sites["S1"], one),
            ):
                user = make_user(label.replace(" ", "-"))
                sees = role in MAY_SEE_IDENTIFIERS
                Member.objects.create(study=kit.study, user=user, role=role, site=site, sees_identifiers=sees)
                made.users[label], made.mine[label] = user, {canary(name) for name in mine}
            rater = User.objects.get(username=f"{canary('A1x')}-rates")
            made.users["clinician of A1x"] = rater
            made.mine["clinician of A1x"] = {canary("A"), canary("A1x")}
        else:
            user = make_user("foreign-admin")
            Member.objects.create(study=kit.study, user=user, role=Member.Role.ADMIN)
            made.users["admin of B"], made.mine["admin of B"] = user, {canary("B"), canary("B1")}
    made.users["nobody"], made.mine["nobody"] = make_user("nobody"), set()
    made.users["stranger"], made.mine["stranger"] = None, set()
    score_due(owner="test", clock=lambda: NOW)
    return made


# --- every URL ---


def every_url(resolver: URLResolver | None = None, route: str = "") -> Iterator[tuple[str, str]]:
    """(name with namespace, route) of each URL of the site."""
    for one in (resolver or get_resolver()).url_patterns:
        if isinstance(one, URLResolver):
            namespace = f"{one.namespace}:" if one.namespace else ""
            for name, inner in every_url(one, route + str(one.pattern)):
                yield namespace + name, inner
        elif isinstance(one, URLPattern):
            yield one.name or "", route + str(one.pattern)


def study_urls() -> dict[str, list[str]]:
    """Name -> the parameters after `code`, for the URLs that the table gives to roles."""
    found = {}
    for name, route in every_url():
        if (rule := POLICY.get(name)) is not None and rule.gate is Gate.ROLE:
            found[name] = [parameter for parameter in re.findall(r"<\w+:(\w+)>", route) if parameter != "code"]
    return found


def test_every_url_of_the_resolver_is_in_the_table() -> None:
    """A page that somebody adds without saying who may open it fails here, and is refused when it runs."""
    absent = {name for name, _ in every_url() if (f"{name.split(':')[0]}:*" if ":" in name else name) not in POLICY}
    assert absent == set(), "say in healing_survey/policy.py who may open these"


def test_a_url_that_is_not_in_the_table_is_refused(rf: RequestFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """At run time, too, whoever asks."""
    request = rf.get("/")
    request.resolver_match = resolve("/")
    enforcer = EnforcePolicy(lambda request: HttpResponse())
    request.scope, request.user = Scope(), User(is_superuser=True)  # type: ignore[attr-defined]
    request.session = {}  # type: ignore[assignment]  # as that of somebody who has just signed in
    enforcer.process_view(request, None, (), {})
    monkeypatch.delitem(POLICY, "home")
    with pytest.raises(PermissionDenied):
        enforcer.process_view(request, None, (), {})
    assert rule_for(resolve("/admin/")) is POLICY["admin:*"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What one request got."""

    status: int
    body: str


def ask(client: Client, method: str, address: str) -> Asked:
    """One request, whose changes are taken back; no message of the one before is told in it."""
    client.cookies.pop("messages", None)
    cookies = deepcopy(client.cookies)  # handing a tablet over signs out
    with transaction.atomic():
        response = getattr(client, method)(address)
        raw = b"".join(response.streaming_content) if response.streaming else response.content
        transaction.set_rollback(True)
    client.cookies = cookies
    body = re.sub(r'name="csrfmiddlewaretoken" value="[^"]+"', "", raw.decode(errors="replace"))
    return Asked(status=response.status_code, body=body + str(response.headers.get("Location", "")))


def arguments_of(parameters: list[str], place: Place | None, name: str) -> list[Any]:
    """What stands in the address: a place's own ids, or ids that nothing has."""
    if place is None:
        missing = {"key": NO_DRAFT, "language": "es"}  # a language is the same for everybody
        return [missing.get(one, MISSING if one.endswith("_id") else "nothing") for one in parameters]
    return [
        place.arguments["rating" if name in ("rate_patient", "rating_label") else parameter] for parameter in parameters
    ]


def leaks(world: World, *, only: set[str] | None = None) -> list[str]:
    """Everything that reached somebody who must not have it, over all URLs, users, ids and methods."""
    found = []
    every_canary = {canary(name) for name in ("A", "A1", "A1x", "A1y", "A2", "B", "B1")}
    for label, user in world.users.items():
        client = Client()
        if user is not None:
            client.force_login(user)
        mine, theirs = world.mine[label], every_canary - world.mine[label]
        is_in_a = canary("A") in mine
        for name, parameters in study_urls().items():
            if only is not None and name not in only:
                continue
            answers = {}
            variants: dict[str, tuple[str, Place | None]] = {
                "own": ("AA", world.places["A1x"]),
                "own, missing": ("AA", None),
                "other clinician": ("AA", world.places["A1y"]),
                "other site": ("AA", world.places["A2"]),
                "foreign ids": ("AA", world.places["B1"]),
                "foreign": ("BB", world.places["B1"]),
                "missing": ("NOWHERE", world.places["B1"]),
            }
            for variant, (code, place) in variants.items():
                if not parameters and variant in ("own, missing", "other clinician", "other site", "foreign ids"):
                    continue
                address = reverse(name, args=[code, *arguments_of(parameters, place, name)])
                for method in (*SAFE_AND_UNSAFE, *(OTHER_METHODS if variant in ("own", "other site") else ())):
                    got = answers[variant, method] = ask(client, method, address)
                    where = f"{label}: {method} {variant} {name}"
                    # The address that was asked for may stand in the answer (a sign-in's way back): it told nothing.
                    seen = got.body.replace(address, "")
                    found += [f"{where}: {word}" for word in theirs if word in seen]
                    if got.status >= 500:
                        found.append(f"{where}: {got.status}")
            for method in SAFE_AND_UNSAFE:
                if (
                    user is not None
                    and label != "admin of B"
                    and answers["foreign", method] != answers["missing", method]
                ):
                    found.append(f"{label}: {method} {name} tells a foreign study from a missing one")
                if user is not None and is_in_a and parameters:
                    missing, foreign = answers["own, missing", method], answers["foreign ids", method]
                    if foreign != missing:
                        found.append(f"{label}: {method} {name} tells a foreign id from a missing one")
    return found


def test_nothing_reaches_anybody_who_must_not_have_it(world: World) -> None:
    """Every study URL, user, id and method: no canary of another site, clinician or study; foreign is as missing."""
    assert leaks(world) == []


def test_the_search_finds_the_leaks_of_a_site_without_its_filters(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: views without their filter leak nothing, because the managers hold; without both, canaries fly."""
    some = {"study_overview", "dyad"}
    monkeypatch.setattr(StudyAccess, "within_sites", lambda self, rows, site_path: rows)
    assert leaks(world, only=some) == []
    monkeypatch.setattr(ScopedManager, "get_queryset", lambda self: super(ScopedManager, self).get_queryset())
    found = leaks(world, only=some)
    assert any("coordinator of A1: get own study_overview" in leak for leak in found)
    assert any("get other site dyad" in leak for leak in found)


def expected(label: str, name: str) -> set[int]:
    """The status that somebody of `world` may get from a study URL about A1x."""
    role = label.split(" ")[0]
    if label == "stranger":
        return {302}
    if label in ("nobody", "admin of B"):
        return {404}
    if role not in POLICY[name].roles:
        return {403}
    if label == "coordinator of A2" or name.startswith(("analys", "dyads_", "codebook")):
        return {200, 302, 403, 404}
    return {200, 302}


def test_the_table_says_what_happens(world: World) -> None:
    """Whoever has the role is let in, another member of the study is refused, everybody else finds nothing."""
    wrong = []
    for label, user in world.users.items():
        client = Client()
        if user is not None:
            client.force_login(user)
        for name, parameters in study_urls().items():
            address = reverse(name, args=["AA", *arguments_of(parameters, world.places["A1x"], name)])
            got = ask(client, "post" if name in POST_ONLY else "get", address)
            if got.status not in expected(label, name) or (user is None and "/login/" not in got.body):
                wrong.append((label, name, got.status))
    assert wrong == []


def test_djangos_own_admin_is_for_superusers(world: World) -> None:
    """Everybody else is sent to the sign-in; a superuser gets in."""
    for label, user in world.users.items():
        client = Client()
        if user is not None:
            client.force_login(user)
        for name in ("admin:index", "admin:auth_user_changelist", "admin:auth_user_add"):
            got = ask(client, "get", reverse(name))
            assert got.status == 302, (label, name)
            assert "zz" not in got.body
    root = make_user("root", is_superuser=True)
    User.objects.filter(pk=root.pk).update(is_staff=True)
    client = Client()
    client.force_login(root)
    assert ask(client, "get", reverse("admin:index")).status == 200


# --- managers that fail closed ---


def test_inside_a_request_managers_give_nothing_before_a_right_was_found(world: World) -> None:
    """And then the sites of that right; outside a request, in workers, everything."""
    site = Site.objects.get(name=canary("A2"))
    n_all = Visit.objects.count()
    with within(Scope()):
        for model in (Site, Clinician, Patient, Dyad, Visit):
            assert not model.objects.exists()
        assert not site.clinicians.exists()
    with within(Scope(study_id=site.study_id, site_ids=frozenset([site.pk]))):
        assert {dyad.code[:6] for dyad in Dyad.objects.all()} == {canary("A2")}
        assert Study.objects.get(code="AA").dyads.count() == 2
        assert Study.objects.get(code="BB").dyads.count() == 0
        with beyond_sites():
            assert Dyad.objects.count() == 6
        assert Dyad.objects.count() == 2
    assert Visit.objects.count() == n_all == 8


def test_a_download_is_made_in_the_scope_of_its_request(world: World) -> None:
    """It is made while it is sent, after the request; were it outside, it would not be held to anything."""
    client = Client()
    user = world.users["researcher"]
    assert user is not None
    client.force_login(user)
    response = client.get(reverse("dyads_download", args=["AA"]) + "?incomplete=1")
    body = b"".join(response.streaming_content).decode()  # type: ignore[attr-defined]
    assert canary("A2") in body
    assert canary("B1") not in body


def test_an_added_url_is_noticed(settings: Any, rf: RequestFactory) -> None:
    """The control of the table's test: one more URL is one more name."""

    class Urls:
        urlpatterns = [path("new/", lambda request: HttpResponse(), name="brand_new")]

    names = {name for name, _ in every_url(URLResolver(get_resolver().pattern, Urls))}
    assert names == {"brand_new"}
    assert not names <= set(POLICY)
    assert isinstance(rf.get("/"), HttpRequest)
