"""Who may see what: every staff URL, every role, own, foreign and missing studies."""

import re
from dataclasses import dataclass
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.db import connection
from django.http import Http404
from django.test import Client
from django.urls import get_resolver, reverse
from django.utils import timezone

from analysis import urls as analysis_urls
from analysis.models import AnalysisRun
from instruments import staff_urls
from instruments.definitions import Role
from instruments.devices import add_device
from studies import urls as studies_urls
from studies.access import accesses_of, study_for, whole_study_for
from studies.identifiers import Identifiers, store
from studies.models import Member, Patient, Study
from tests.factories import (
    NOW,
    StudyKit,
    administration_of,
    finish,
    make_invitation,
    make_member,
    make_scored_visits,
    make_study,
    make_user,
    make_visit,
)

pytestmark = pytest.mark.django_db

ADMIN, COORDINATOR, CLINICIAN, RESEARCHER, AUDITOR = Member.Role.values
EVERYONE = {ADMIN, COORDINATOR, CLINICIAN, RESEARCHER, AUDITOR}
#: URL name -> (method, roles that may). A staff URL that is not here fails `test_every_staff_url_has_a_policy`.
POLICY: dict[str, tuple[str, set[str]]] = {
    "study_overview": ("get", {ADMIN, RESEARCHER, COORDINATOR, AUDITOR}),
    "audit_trail": ("get", {ADMIN, AUDITOR}),
    "audit_download": ("get", {ADMIN, AUDITOR}),
    "dyads": ("get", {ADMIN, RESEARCHER}),
    "dyads_download": ("get", {ADMIN, RESEARCHER}),
    "codebook_download": ("get", {ADMIN, RESEARCHER}),
    "dyad": ("get", {ADMIN, RESEARCHER}),
    "analyses": ("get", {ADMIN, RESEARCHER}),
    "analysis_new": ("get", {ADMIN, RESEARCHER}),
    "analysis": ("get", {ADMIN, RESEARCHER}),
    "analysis_progress": ("get", {ADMIN, RESEARCHER}),
    "study_settings": ("get", {ADMIN}),
    "visits": ("get", {ADMIN, COORDINATOR}),
    "visit_new": ("get", {ADMIN, COORDINATOR}),
    "link_reissue": ("get", {ADMIN, COORDINATOR}),
    "patients_to_rate": ("get", {CLINICIAN}),
    "rate_patient": ("post", {CLINICIAN}),
    "rating_label": ("post", {CLINICIAN}),
    "import_responses": ("get", {ADMIN}),
    "site_new": ("get", {ADMIN}),
    "consent_texts": ("get", {ADMIN}),
    "analysis_plan": ("get", {ADMIN, RESEARCHER}),
    "analysis_plan_edit": ("get", {ADMIN}),
    "consent_text": ("get", {ADMIN}),
    "consent_text_of_site": ("get", {ADMIN}),
    "site_edit": ("get", {ADMIN}),
    "wave_edit": ("get", {ADMIN}),
    "clinician_edit": ("get", {ADMIN}),
    "study_open": ("get", {ADMIN}),
    "clinician_new": ("get", {ADMIN}),
    "wave_new": ("get", {ADMIN}),
    "member_new": ("get", {ADMIN}),
    "member_remove": ("get", {ADMIN}),
    "member_invite": ("get", {ADMIN}),
    "second_factor_remove": ("get", {ADMIN}),
    "invitation_withdraw": ("post", {ADMIN}),
    "day_list": ("get", {ADMIN, COORDINATOR}),
    "hand_over": ("get", {ADMIN, COORDINATOR}),
    "devices": ("get", {ADMIN, COORDINATOR}),
    "device_new": ("get", {ADMIN, COORDINATOR}),
    "device_edit": ("get", {ADMIN, COORDINATOR}),
    "device_link": ("get", {ADMIN, COORDINATOR}),
    "device_revoke": ("get", {ADMIN, COORDINATOR}),
    "device_noted": ("post", {ADMIN, COORDINATOR}),
    "hand_over_take_back": ("post", {ADMIN, COORDINATOR}),
    "day": ("get", {ADMIN, COORDINATOR}),
    "visit_decline": ("get", {ADMIN, COORDINATOR}),
    "visit_take_part": ("post", {ADMIN, COORDINATOR}),
    "day_list_confirm": ("post", {ADMIN, COORDINATOR}),
    "paper_forms": ("get", {ADMIN, COORDINATOR}),
    "paper_blank": ("get", {ADMIN, COORDINATOR}),
    "paper_print": ("get", {ADMIN, COORDINATOR}),
    "paper_entry": ("get", {ADMIN, COORDINATOR}),
    "paper_compare": ("post", {ADMIN, COORDINATOR}),  # sends on to the entry when there is nothing to compare
    "paper_discard": ("post", {ADMIN, COORDINATOR}),
    "participation": ("get", {ADMIN, RESEARCHER, COORDINATOR, AUDITOR}),
    "non_participation_new": ("get", {ADMIN, COORDINATOR}),
    "retention": ("get", {ADMIN}),
    "retention_confirm": ("post", {ADMIN}),
    "withdrawals": ("get", {ADMIN, COORDINATOR}),
    "withdrawal_new": ("get", {ADMIN, COORDINATOR}),
    "patient_erase": ("get", {ADMIN}),
    "clinician_erase": ("get", {ADMIN}),
    # for those of them who were given the right
    "identifiers": ("get", {ADMIN, COORDINATOR}),
    "identifiers_show": ("get", {ADMIN, COORDINATOR}),
    "identifiers_edit": ("get", {ADMIN, COORDINATOR}),
    "identifiers_delete": ("get", {ADMIN, COORDINATOR}),
    "member_identifiers": ("get", {ADMIN}),
}
#: Pages of no study: for everyone, or by a permission of its own.
NO_STUDY = {
    "home", "login", "logout", "study_new", "second_factor", "second_factor_setup", "invitation_take_up",
    "email_sign_in", "email_sign_in_use",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A study with one of everything that a URL can name."""

    kit: StudyKit
    users: dict[str, User]
    arguments: dict[str, list[object]]

    def url(self, name: str, code: str | None = None) -> str:
        return reverse(name, args=[code or self.kit.study.code, *self.arguments.get(name, [])])


def make_place(code: str) -> Place:
    kit = make_study(code, n_sites=2, n_clinicians=1)
    users = {role: make_member(kit, role) for role in EVERYONE}
    visit = make_visit(kit, now=timezone.now())
    make_scored_visits(kit, 3)
    run = AnalysisRun.objects.create(study=kit.study, form="full", seed=1)
    member = Member.objects.filter(study=kit.study, role=RESEARCHER).get()
    Member.objects.filter(study=kit.study, role__in=(ADMIN, COORDINATOR)).update(sees_identifiers=True)
    Study.objects.filter(pk=kit.study.pk).update(keeps_identifiers=True)
    named, nameless = visit.visit.dyad.patient, Patient.objects.create(site=kit.sites[0], code="NAMELESS")
    store(patient=named, identifiers=Identifiers(name="Ana"), actor=users[ADMIN], now=NOW)
    tablet = add_device(site=kit.sites[0], name="Desk", pin="2580", actor=users[ADMIN], now=NOW).device
    return Place(
        kit=kit,
        users=users,
        arguments={
            "dyad": [visit.visit.dyad.code, visit.visit.wave.code],
            "analysis": [run.pk],
            "analysis_progress": [run.pk],
            "link_reissue": [administration_of(visit, Role.PATIENT).pk],
            **{
                name: [administration_of(visit, Role.PATIENT).pk]
                for name in ("paper_print", "paper_entry", "paper_compare", "paper_discard")
            },
            "rate_patient": [administration_of(visit, Role.CLINICIAN).pk],
            "rating_label": [administration_of(visit, Role.CLINICIAN).pk],
            "member_remove": [member.pk],
            "second_factor_remove": [member.pk],
            "member_identifiers": [Member.objects.get(study=kit.study, role=COORDINATOR).pk],
            "withdrawal_new": [visit.visit.dyad_id],
            "patient_erase": [named.pk],
            "clinician_erase": [kit.clinicians[0].pk],
            "identifiers_show": [named.pk],
            "identifiers_edit": [nameless.pk],
            "identifiers_delete": [named.pk],
            "consent_text": ["es"],
            "consent_text_of_site": ["es", kit.sites[0].pk],
            "site_edit": [kit.sites[0].pk],
            "wave_edit": [kit.wave.pk],
            "clinician_edit": [kit.clinicians[0].pk],
            "day_list_confirm": [uuid4()],
            "hand_over": [administration_of(visit, Role.PATIENT).pk],
            **{
                name: [tablet.pk]
                for name in ("device_edit", "device_link", "device_revoke", "device_noted", "hand_over_take_back")
            },
            "visit_decline": [visit.visit.pk],
            "visit_take_part": [visit.visit.pk],
            "invitation_withdraw": [make_invitation(kit, users[ADMIN]).pk],
        },
    )


@pytest.fixture
def place() -> Place:
    return make_place("OWN")


def ask(client: Client, method: str, url: str) -> tuple[int, str]:
    response = getattr(client, method)(url)
    body = b"".join(response.streaming_content) if response.streaming else response.content
    text = body.decode(errors="replace")  # a PDF is none
    return response.status_code, re.sub(r'name="csrfmiddlewaretoken" value="[^"]+"', "", text)


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def test_every_staff_url_has_a_policy() -> None:
    """A URL that somebody adds without saying who may see it fails here."""
    names = {pattern.name for urls in (studies_urls, staff_urls, analysis_urls) for pattern in urls.urlpatterns}
    assert names == set(POLICY) | NO_STUDY
    assert names <= set(get_resolver().reverse_dict)


@pytest.mark.parametrize("name", POLICY)
def test_each_role_sees_its_pages_and_no_others(name: str, place: Place) -> None:
    """Every role on every staff URL of its own study."""
    method, allowed = POLICY[name]
    statuses = {role: ask(signed_in(user), method, place.url(name))[0] for role, user in place.users.items()}
    expected = 302 if method == "post" else 200
    assert statuses == {role: expected if role in allowed else 403 for role in EVERYONE}


@pytest.mark.parametrize("name", POLICY)
def test_a_foreign_study_looks_like_a_missing_one(name: str, place: Place) -> None:
    """The answer about another study is, byte for byte, the answer about no study."""
    method, _ = POLICY[name]
    other = make_place("OTHER")
    for user in other.users.values():
        client = signed_in(user)
        foreign = ask(client, method, place.url(name))
        missing = ask(client, method, place.url(name, "NOWHERE"))
        assert foreign == missing
        assert foreign[0] == 404
        assert "OWN" not in foreign[1]


@pytest.mark.parametrize("name", POLICY)
def test_nobody_gets_in_without_signing_in(name: str, place: Place, client: Client) -> None:
    """Anonymous requests are sent to the sign-in, whether the study exists or not."""
    method, _ = POLICY[name]
    for code in (None, "NOWHERE"):
        response = getattr(client, method)(place.url(name, code))
        assert response.status_code == 302
        assert response.headers["Location"].startswith(reverse("login"))


@pytest.mark.parametrize(
    "name", ["dyad", "analysis", "analysis_progress", "link_reissue", "rate_patient", "member_remove"]
)
def test_ids_of_another_study_are_not_found_in_ones_own(name: str, place: Place) -> None:
    """A right in one's own study opens nothing of another by its number."""
    method, allowed = POLICY[name]
    other = make_place("OTHER")
    foreign = reverse(name, args=["OTHER", *place.arguments[name]])
    # Codes of dyads may be the same in two studies; numbers are not.
    if name != "dyad":
        for role in allowed:
            assert ask(signed_in(other.users[role]), method, foreign)[0] == 404


@pytest.mark.parametrize("name", [name for name in POLICY if name not in {"dyads", "dyad"}])
def test_a_refused_post_changes_nothing(name: str, place: Place) -> None:
    """Roles without the right, foreign staff and strangers can send what they like: no row changes."""
    _, allowed = POLICY[name]
    other = make_place("OTHER")
    url = place.url(name)
    refused = [user for role, user in place.users.items() if role not in allowed] + list(other.users.values())
    before = row_counts()
    for user in refused:
        assert signed_in(user).post(url, {"code": "X", "name": "X"}).status_code in {403, 404, 405}
    assert Client().post(url, {"code": "X"}).status_code == 302
    assert row_counts() == before


def row_counts() -> dict[str, int]:
    """Rows of every table but the sessions, which a request may touch, and the trail, which tells of refusals."""
    with connection.cursor() as cursor:
        counts = {}
        for table in connection.introspection.table_names(cursor):
            if "session" not in table and "audit" not in table:
                cursor.execute(f"SELECT COUNT(*) FROM {connection.ops.quote_name(table)}")
                counts[table] = cursor.fetchone()[0]
        return counts


def test_a_coordinator_sees_one_site_only(place: Place) -> None:
    """Neither lists nor numbers nor links of the other site reach a coordinator; an admin sees both."""
    far = make_visit(place.kit, clinician=place.kit.clinicians[1])
    near = make_visit(place.kit, clinician=place.kit.clinicians[0])
    coordinator, admin = signed_in(place.users[COORDINATOR]), signed_in(place.users[ADMIN])
    far_code, near_code = far.visit.dyad.patient.code, near.visit.dyad.patient.code
    visits = f"{place.url('visits')}?show=owing"
    assert near_code in ask(coordinator, "get", visits)[1]
    assert far_code not in ask(coordinator, "get", visits)[1]
    assert far_code in ask(admin, "get", visits)[1]
    assert "Site 2" not in ask(coordinator, "get", place.url("study_overview"))[1]
    assert "Site 2" in ask(admin, "get", place.url("study_overview"))[1]
    assert "Site 2" not in ask(coordinator, "get", place.url("visit_new"))[1]
    link = reverse("link_reissue", args=["OWN", administration_of(far, Role.PATIENT).pk])
    assert ask(coordinator, "get", link)[0] == 404
    assert ask(coordinator, "post", link)[0] == 404
    assert ask(admin, "get", link)[0] == 200


def test_a_coordinator_cannot_enrol_at_another_site(place: Place) -> None:
    """The other site's clinician is no choice, even when its number is sent."""
    page = place.url("visit_new")
    response = signed_in(place.users[COORDINATOR]).post(
        page,
        {
            "clinician": place.kit.clinicians[1].pk,
            "wave": place.kit.wave.pk,
            "form": "full",
            "visit_date": "2026-03-02",
            "request_key": str(uuid4()),
        },
    )
    assert response.status_code == 422
    assert not place.kit.clinicians[1].dyads.filter(code__startswith="S2-").exists()


def test_no_page_shows_a_clinician_a_patients_answer_or_score(place: Place) -> None:
    """Of a finished patient form nothing but the study code and the date reaches the clinician."""
    created = make_visit(place.kit)
    finish(created, Role.PATIENT, value=5, rel_years=947, now=NOW)
    client = signed_in(place.users[CLINICIAN])
    for name in ("study_overview", "dyads", "dyad", "analyses", "visits", "dyads_download"):
        status, body = ask(client, "get", place.url(name))
        assert status == 403
        assert created.visit.dyad.code not in body
    list_page = ask(client, "get", place.url("patients_to_rate"))[1]
    assert "947" not in list_page
    assert "ompleted" not in list_page


def test_a_clinician_rates_only_own_patients(place: Place) -> None:
    """A colleague's patient is not found."""
    theirs = administration_of(make_visit(place.kit, clinician=place.kit.clinicians[1]), Role.CLINICIAN)
    client = signed_in(place.users[CLINICIAN])
    assert client.post(reverse("rate_patient", args=["OWN", theirs.pk])).status_code == 404
    patients_form = administration_of(make_visit(place.kit), Role.PATIENT)
    assert client.post(reverse("rate_patient", args=["OWN", patients_form.pk])).status_code == 404


def test_roles_add_up_and_sites_count_per_right(place: Place) -> None:
    """A site's coordinator who is a researcher, too, sees one site's visits and every site's scores."""
    user = place.users[COORDINATOR]
    Member.objects.create(study=place.kit.study, user=user, role=RESEARCHER)
    assert study_for(user, "OWN", COORDINATOR).site_ids == {place.kit.sites[0].pk}
    assert study_for(user, "OWN", RESEARCHER).site_ids is None
    assert study_for(user, "OWN", COORDINATOR).roles == {COORDINATOR, RESEARCHER}


def test_a_right_to_one_site_is_no_right_to_the_whole_study(place: Place) -> None:
    """What can't be cut down to a site is refused to whoever is held to one."""
    user = make_user("narrow")
    Member.objects.create(study=place.kit.study, user=user, role=RESEARCHER, site=place.kit.sites[0])
    with pytest.raises(PermissionDenied, match="one site"):
        whole_study_for(user, "OWN", RESEARCHER)
    client = signed_in(user)
    assert ask(client, "get", place.url("dyads"))[0] == 200
    assert ask(client, "get", place.url("dyads_download"))[0] == 403
    assert ask(client, "get", place.url("analyses"))[0] == 403


def test_a_superuser_sees_every_study(place: Place) -> None:
    """But gets 404 for a study that doesn't exist."""
    root = make_user("root", is_superuser=True)
    assert study_for(root, "OWN", ADMIN).site_ids is None
    with pytest.raises(Http404):
        study_for(root, "NOWHERE", ADMIN)
    assert [access.study.code for access in accesses_of(root)] == ["OWN"]


def test_the_list_of_studies_gives_no_right_to_rows(place: Place) -> None:
    """An access made for the home page shows no site and no clinician."""
    (access,) = accesses_of(place.users[ADMIN])
    assert not access.sites.exists()
    assert not access.clinicians.exists()
