"""What every page carries, and what no request may hold."""

from collections.abc import Callable, Iterator
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.http import HttpResponse
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, reverse
from django.utils import timezone

from analysis.models import AnalysisRun
from instruments.definitions import Role
from scoring.services import score_due
from studies.models import Member
from tests.factories import NOW, PASSWORD, StudyKit, administration_of, finish, make_member, make_study, make_visit

pytestmark = pytest.mark.django_db

NUL = "a\0b"


@pytest.fixture
def kit() -> StudyKit:
    return make_study("OWN", n_clinicians=2)


@pytest.fixture
def root(kit: StudyKit) -> Client:
    """Somebody who may open every page: superuser, staff of Django's admin and clinician."""
    user = make_member(kit, Member.Role.CLINICIAN, username="root")
    User.objects.filter(pk=user.pk).update(is_superuser=True, is_staff=True)
    client = Client()
    client.force_login(User.objects.get())
    return client


def patterns(resolver: URLResolver, prefix: str = "") -> Iterator[str]:
    """The name of every URL, with its namespace."""
    for one in resolver.url_patterns:
        if isinstance(one, URLResolver):
            yield from patterns(one, f"{prefix}{one.namespace}:" if one.namespace else prefix)
        elif isinstance(one, URLPattern) and one.name:
            yield f"{prefix}{one.name}"


def addresses(kit: StudyKit) -> dict[str, str]:
    """An address for every named URL of the site."""
    created = make_visit(kit, clinician=kit.clinicians[1])  # one's own patients are left out
    finish(created, Role.PATIENT)
    score_due(owner="test", clock=lambda: NOW)
    visit = make_visit(kit, now=timezone.now())
    run = AnalysisRun.objects.create(study=kit.study, form="full", seed=1)
    given: dict[str, list[object]] = {
        "dyad": ["OWN", created.visit.dyad.code, "baseline"],
        "analysis": ["OWN", run.pk],
        "analysis_progress": ["OWN", run.pk],
        "link_reissue": ["OWN", administration_of(visit, Role.PATIENT).pk],
        "rate_patient": ["OWN", administration_of(visit, Role.CLINICIAN).pk],
        "member_remove": ["OWN", Member.objects.get().pk],
        "day_list_confirm": ["OWN", uuid4()],
        "questionnaire_page": [visit.patient_token, 1],
        "admin:app_list": ["auth"],
        "admin:view_on_site": [1, 1],
        "admin:auth_user_password_change": [1],
    }
    found = {}
    for name in patterns(get_resolver()):
        arguments = given.get(name)
        if arguments is None:
            takes = next(iter(get_resolver_arguments(name)))
            arguments = [{"code": "OWN", "token": visit.patient_token}.get(one, 1) for one in takes]
        found[name] = reverse(name, args=arguments)
    return found


def get_resolver_arguments(name: str) -> Iterator[list[str]]:
    """The names of what an address of this URL takes."""
    resolver = get_resolver()
    for namespace in name.split(":")[:-1]:
        resolver = resolver.namespace_dict[namespace][1]
    for possibilities, *_ in resolver.reverse_dict.getlist(name.rsplit(":", 1)[-1]):
        for _, parameters in possibilities:
            yield list(parameters)


def assert_guarded(response: HttpResponse, name: str) -> None:
    headers = response.headers
    policy = dict(part.strip().split(" ", 1) for part in headers["Content-Security-Policy"].split(";"))
    assert policy["default-src"] in ("'self'", "'none'"), name
    assert (policy["base-uri"], policy["frame-ancestors"], policy["form-action"]) == ("'none'", "'none'", "'self'"), (
        name
    )
    assert "unsafe" not in headers["Content-Security-Policy"], name
    assert headers["X-Content-Type-Options"] == "nosniff", name
    assert headers["X-Frame-Options"] == "DENY", name
    assert headers["Referrer-Policy"] in ("same-origin", "no-referrer"), name
    # The service worker is the same for everybody; a browser keeps it and asks whether it is still the same.
    assert ("no-cache" if name.startswith("service_worker") else "no-store") in headers["Cache-Control"], name


def test_every_page_is_guarded(kit: StudyKit, root: Client) -> None:
    """Every URL of the site, Django's admin too, signed in and out: policy, no sniffing, frame, referrer or cache."""
    found = addresses(kit)
    assert {"home", "login", "dyad", "questionnaire", "health_live", "admin:index", "set_language"} <= set(found)
    opened = set()
    person = User.objects.get(username="root")
    for name, address in found.items():
        if name != "admin:logout":
            root.force_login(person)  # a tablet's pages sign staff out
            response = root.get(address)
            assert response.status_code < 500, name
            assert_guarded(response, name)
            if response.status_code == 200:
                opened.add(name)
        assert_guarded(Client().get(address), f"{name}, signed out")
    assert {"dyad", "dyads_download", "analysis", "questionnaire", "admin:index", "admin:auth_user_add"} <= opened


@pytest.mark.parametrize("address", ["/nothing/", "/a%00b/", "/login/?next=%00", "/q/nope/", "/static/nothing.css"])
def test_what_is_refused_is_guarded_too(client: Client, address: str) -> None:
    """404 and 400, also where another middleware refuses."""
    assert_guarded(client.get(address), address)


# --- NUL: PostgreSQL fails on it in a query's values ---


@pytest.mark.parametrize(
    "address",
    [
        "/%00/",
        "/studies/%00/",
        "/studies/OWN/dyads/%00/baseline/",
        "/studies/OWN/dyads/x/%00/",
        "/studies/%00/dyads.csv",
        "/admin/auth/user/%00/change/",
        "/static/%00",
        "/q/%00/",
    ],
)
def test_a_nul_in_a_path_is_not_found(root: Client, address: str) -> None:
    """404, as for any other address that leads nowhere."""
    assert root.get(address).status_code == 404


@pytest.mark.parametrize(
    "address",
    [
        "/studies/OWN/dyads/?search=%00",
        "/studies/OWN/dyads/?site=%00&sort=%00&page=%00",
        "/studies/OWN/visits/?date=%00",
        "/admin/auth/user/?q=%00",
        "/admin/auth/user/?username=%00",
        "/login/?next=%00",
    ],
)
def test_a_nul_in_a_query_is_refused(root: Client, address: str) -> None:
    """400, before it is looked at."""
    assert root.get(address).status_code == 400


def test_a_nul_in_a_cookie_is_refused(kit: StudyKit) -> None:
    """A quoted cookie may hold any character; the session's key goes into a query."""
    assert Client(headers={"cookie": r'sessionid="abcdefgh\000abcdefgh"'}).get("/").status_code == 400


POSTS: dict[str, Callable[[StudyKit], dict[str, object]]] = {
    "site_new": lambda kit: {"code": "N", "name": "N", "target_dyads": "1"},
    "clinician_new": lambda kit: {"site": kit.sites[0].pk, "code": "N"},
    "wave_new": lambda kit: {"code": "N", "label": "N", "position": "1"},
    "member_new": lambda kit: {
        "username": "new",
        "new_password": PASSWORD,
        "role": "coordinator",
        "site": kit.sites[0].pk,
    },
    "study_new": lambda kit: {
        "code": "N",
        "title": "N",
        "instrument": "healing-relationships 1.0",
        "default_form": "full",
        "languages": ["en", "es"],
        "consent": "outside",
        "link_valid_days": "30",
    },
    "study_settings": lambda kit: {
        "title": "N",
        "default_form": "full",
        "languages": ["en", "es"],
        "consent": "outside",
        "link_valid_days": "30",
        "status": "open",
        "why": "N",
    },
    "member_invite": lambda kit: {"email": "n@example.org", "role": "coordinator", "site": kit.sites[0].pk},
    "non_participation_new": lambda kit: {
        "clinician": kit.clinicians[0].pk,
        "outcome": "declined",
        "reason": "no_time",
        "n_people": "1",
        "day": "2026-03-02",
    },
    "visit_new": lambda kit: {
        "clinician": kit.clinicians[0].pk,
        "patient_code": "",
        "wave": kit.wave.pk,
        "form": "short",
        "visit_date": "2026-03-02",
        "request_key": "6f0d3ca2-0001-4a5e-9d0a-000000000001",
    },
    "analysis_new": lambda kit: {"form": "full", "n_factors": "", "seed": "1"},
    "import_responses": lambda kit: {"file": ""},
}


@pytest.mark.parametrize("name", POSTS)
def test_a_nul_in_a_form_is_refused_beside_its_field(kit: StudyKit, root: Client, name: str) -> None:
    """Each field of each staff form in turn: 422 with that field's error, on SQLite and PostgreSQL alike."""
    address = reverse(name, args=[] if name == "study_new" else ["OWN"])
    data = POSTS[name](kit)
    for field in data:
        response = root.post(address, data | {field: f"{data[field]}\0"})
        assert response.status_code == 422, field
        assert field in response.context["form"].errors


@pytest.mark.parametrize("field", ["username", "password"])
def test_a_nul_at_the_sign_in_is_refused_beside_its_field(kit: StudyKit, field: str) -> None:
    """The page again, with the error."""
    response = Client().post("/login/", {"username": "root", "password": PASSWORD} | {field: NUL})
    assert response.status_code == 200
    assert field in response.context["form"].errors


@pytest.mark.parametrize(
    ("path", "data"),
    [
        ("", {"language": NUL}),
        ("page/1/", {"VN1": NUL, "sequence": "1", "action": "next"}),
        ("page/1/", {"VN1": "4", "sequence": NUL, "action": NUL}),
        ("language/", {"language": NUL, "return_to": NUL}),
        ("answers/", {"item": NUL, "value": 1, "sequence": 1}),
        ("answers/", {"item": "VN1", "value": NUL, "sequence": 1}),
    ],
)
def test_a_nul_in_an_answer_is_refused(kit: StudyKit, path: str, data: dict[str, object]) -> None:
    """Nothing is stored."""
    created = make_visit(kit, now=timezone.now())
    as_json = {"content_type": "application/json"} if path == "answers/" else {}
    response = Client().post(f"/q/{created.patient_token}/{path}", data, **as_json)
    assert response.status_code < 500
    assert administration_of(created, Role.PATIENT).answers == {}
