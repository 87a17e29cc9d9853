"""Home, sign-in, people and places, and the pages for when something is wrong."""

import re

import pytest
from django.contrib.auth.models import Permission, User
from django.template.loader import render_to_string
from django.test import Client
from django.urls import reverse
from django.utils import translation

from studies import setup
from studies.models import AuditEvent, Clinician, Member, Site, Study, Wave
from studies.templatetags.staff import coefficient, figure, p_value, percent
from tests.factories import CLINICIAN_SETTINGS, PASSWORD, StudyKit, make_member, make_study, make_user

pytestmark = pytest.mark.django_db


@pytest.fixture
def kit() -> StudyKit:
    return make_study("OWN", n_sites=2)


@pytest.fixture
def admin(kit: StudyKit) -> Client:
    return signed_in(make_member(kit, Member.Role.ADMIN))


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def url(name: str, *arguments: object) -> str:
    return reverse(name, args=["OWN", *arguments])


def test_a_stranger_sees_what_this_is_and_no_study(kit: StudyKit, client: Client) -> None:
    """The start page explains, offers the sign-in, and names no study."""
    page = client.get("/").content.decode()
    assert "Have a link or a QR code?" in page
    assert reverse("login") in page
    assert kit.study.title not in page


def test_signing_in_and_out(kit: StudyKit, client: Client) -> None:
    """The right password opens the page that was asked for; signing out needs a POST."""
    make_member(kit, Member.Role.RESEARCHER, username="rosa")
    wanted = url("dyads")
    sign_in = client.get(wanted).headers["Location"]
    wrong = client.post(sign_in, {"username": "rosa", "password": "wrong"})
    assert wrong.status_code == 200
    assert "_auth_user_id" not in client.session
    right = client.post(sign_in, {"username": "rosa", "password": PASSWORD})
    assert right.headers["Location"] == wanted
    assert client.get(reverse("logout")).status_code == 405
    assert client.post(reverse("logout")).status_code == 302
    assert client.get(wanted).status_code == 302


def test_signing_in_never_leads_to_another_site(kit: StudyKit, client: Client) -> None:
    """A forged address to go on to is ignored."""
    make_member(kit, Member.Role.RESEARCHER, username="rosa")
    response = client.post(f"{reverse('login')}?next=https://evil.example/", {"username": "rosa", "password": PASSWORD})
    assert response.headers["Location"] == "/"


def test_home_lists_what_each_role_can_do(kit: StudyKit) -> None:
    """Links to exactly the pages that the role may open."""
    make_study("FOREIGN")
    links = {
        Member.Role.ADMIN: {"study_overview", "visits", "dyads", "analyses", "import_responses", "study_settings"},
        Member.Role.RESEARCHER: {"study_overview", "dyads", "analyses"},
        Member.Role.COORDINATOR: {"study_overview", "visits"},
        Member.Role.CLINICIAN: {"patients_to_rate"},
    }
    everything = set.union(*links.values())
    for role, names in links.items():
        client = signed_in(make_member(kit, role))
        page = client.get("/").content.decode()
        assert {name for name in everything if f'href="{url(name)}"' in page} == names
        assert "FOREIGN" not in page
        for name in names:
            assert client.get(url(name)).status_code == 200


def test_somebody_without_a_study_is_told_whom_to_ask(client: Client) -> None:
    """An account alone shows nothing but the way on."""
    client.force_login(make_user("new"))
    page = client.get("/").content.decode()
    assert "Ask a study admin to add you" in page
    assert reverse("study_new") not in page


def test_setting_up_a_study_from_nothing(kit: StudyKit) -> None:
    """Study, site, clinician, wave and people by the pages alone; each leaves its line in the audit trail."""
    user = make_user("founder")
    user.user_permissions.add(Permission.objects.get(codename="add_study"))
    client = signed_in(user)
    study = {
        "code": "NEW26",
        "title": "A new study",
        "instrument": f"{kit.version.code} {kit.version.version}",
        "default_form": "short",
        "languages": ["en", "es"],
        "consent": "outside",
        "withdrawn_answers": "ask",
        "link_valid_days": "14",
        **CLINICIAN_SETTINGS,
        "status": "open",
    }
    created = client.post(reverse("study_new"), study)
    assert created.headers["Location"] == reverse("study_settings", args=["NEW26"])
    new = Study.objects.get(code="NEW26")
    assert (new.instrument_version, new.default_form, new.link_valid_days) == ("1.0", "short", 14)
    steps = [
        ("site_new", {"code": "EAST", "name": "East", "target_dyads": "40"}),
        ("clinician_new", {"site": "", "code": "C01"}),
        ("wave_new", {"code": "retest", "label": "Retest", "position": "1", "is_follow_up": "on"}),
    ]
    for name, data in steps:
        if "site" in data:
            data["site"] = str(new.sites.get().pk)
        assert client.post(reverse(name, args=["NEW26"]), data).status_code == 302
    member = {"username": "cora", "new_password": PASSWORD, "role": "coordinator", "site": new.sites.get().pk}
    assert client.post(reverse("member_new", args=["NEW26"]), member).status_code == 302
    assert Client().login(username="cora", password=PASSWORD)
    settings_page = client.get(reverse("study_settings", args=["NEW26"])).content.decode()
    for text in ("EAST", "C01", "Retest", "cora", "Site coordinator"):
        assert text in settings_page
    actions = list(AuditEvent.objects.filter(study=new).order_by("pk").values_list("action", flat=True))
    assert actions == ["create study", "add site", "add clinician", "add wave", "add member"]


def test_a_study_cannot_be_called_new_or_share_a_code(kit: StudyKit) -> None:
    """The code stands in addresses: it must not be taken, nor be a page's own."""
    client = signed_in(make_user("root", is_superuser=True))
    data = {
        "title": "T",
        "instrument": "healing-relationships 1.0",
        "default_form": "full",
        "withdrawn_answers": "ask",
        "link_valid_days": "30",
        "languages": ["en", "es"],
        "consent": "outside",
        **CLINICIAN_SETTINGS,
    }
    for code in ("new", "OWN", "a/b", "", "x" * 31):
        response = client.post(reverse("study_new"), data | {"code": code, "status": "open"})
        assert response.status_code == 422
        assert response.context["form"].errors.keys() == {"code"}
    assert Study.objects.count() == 1


def test_making_a_study_needs_the_permission(admin: Client) -> None:
    """The admin of one study can't make others."""
    assert admin.get(reverse("study_new")).status_code == 403


@pytest.mark.parametrize(
    ("name", "data", "field"),
    [
        ("site_new", {"code": "S1", "name": "Again", "target_dyads": "0"}, "code"),
        ("site_new", {"code": "no spaces", "name": "N", "target_dyads": "0"}, "code"),
        ("site_new", {"code": "S9", "name": "N", "target_dyads": "-1"}, "target_dyads"),
        ("wave_new", {"code": "baseline", "label": "Again", "position": "1"}, "code"),
        ("wave_new", {"code": "w", "label": "", "position": "1"}, "label"),
        ("member_new", {"username": "own-admin", "role": "admin", "new_password": ""}, "username"),
        ("member_new", {"username": "own-admin", "role": "researcher", "new_password": "x" * 12}, "new_password"),
        ("member_new", {"username": "nobody", "role": "researcher", "new_password": ""}, "new_password"),
        ("member_new", {"username": "nobody", "role": "researcher", "new_password": "short"}, "new_password"),
        ("member_new", {"username": "nobody", "role": "coordinator", "new_password": PASSWORD}, "site"),
        ("member_new", {"username": "nobody", "role": "clinician", "new_password": PASSWORD}, "clinician"),
        ("member_new", {"username": "nobody", "role": "owner", "new_password": PASSWORD}, "role"),
    ],
)
def test_a_bad_entry_is_refused_beside_its_field(
    kit: StudyKit, admin: Client, name: str, data: dict[str, str], field: str
) -> None:
    """With a message there, and nothing stored."""
    before = (Site.objects.count(), Wave.objects.count(), Member.objects.count(), User.objects.count())
    response = admin.post(url(name), data)
    assert response.status_code == 422
    assert field in response.context["form"].errors
    assert before == (Site.objects.count(), Wave.objects.count(), Member.objects.count(), User.objects.count())


@pytest.mark.parametrize(
    ("name", "service", "data", "field"),
    [
        ("site_new", "add_part", {"code": "N", "name": "N", "target_dyads": "0"}, "code"),
        ("clinician_new", "add_part", {"code": "N"}, "code"),
        ("wave_new", "add_part", {"code": "N", "label": "N", "position": "2"}, "code"),
        (
            "member_new",
            "add_member",
            {"username": "new", "new_password": PASSWORD, "role": "researcher"},
            "new_password",
        ),
        ("member_new", "add_member", {"username": "own-clinician", "role": "researcher"}, "username"),
        (
            "study_new",
            "create_study",
            {
                "code": "N",
                "title": "N",
                "instrument": "healing-relationships 1.0",
                "default_form": "full",
                "languages": ["en", "es"],
                "consent": "outside",
                "withdrawn_answers": "ask",
                "link_valid_days": "30",
                **CLINICIAN_SETTINGS,
                "status": "open",
            },
            "code",
        ),
    ],
)
def test_a_button_pressed_twice_stores_once(
    kit: StudyKit, monkeypatch: pytest.MonkeyPatch, name: str, service: str, data: dict[str, str], field: str
) -> None:
    """The second request passed the form's checks before the first was stored: 422 beside the field, no error."""
    make_member(kit, Member.Role.CLINICIAN)
    client = signed_in(make_user("root", is_superuser=True))
    address = reverse("study_new") if name == "study_new" else url(name)
    if name == "clinician_new":
        data = data | {"site": str(kit.sites[0].pk)}
    store = getattr(setup, service)

    def overtaken(**options: object) -> None:
        monkeypatch.setattr(setup, service, store)
        assert client.post(address, data).status_code == 302
        counts.append(row_counts())
        store(**options)

    counts: list[list[int]] = []
    monkeypatch.setattr(setup, service, overtaken)
    response = client.post(address, data)
    assert response.status_code == 422
    assert field in response.context["form"].errors
    assert [row_counts()] == counts


def row_counts() -> list[int]:
    return [model._base_manager.count() for model in (Study, Site, Clinician, Wave, Member, User, AuditEvent)]


def test_another_studys_site_is_no_choice(kit: StudyKit, admin: Client) -> None:
    """Neither for a clinician nor for a coordinator."""
    foreign = make_study("OTHER").sites[0]
    assert admin.post(url("clinician_new"), {"site": foreign.pk, "code": "C99"}).status_code == 422
    data = {"username": "cora", "new_password": PASSWORD, "role": "coordinator", "site": foreign.pk}
    assert admin.post(url("member_new"), data).status_code == 422
    assert not Clinician.objects.filter(code="C99").exists()
    assert not User.objects.filter(username="cora").exists()


def test_a_code_may_stand_at_two_sites_but_not_twice_at_one(kit: StudyKit, admin: Client) -> None:
    """Clinicians' codes are unique within their site."""
    site = kit.sites[0]
    assert admin.post(url("clinician_new"), {"site": site.pk, "code": "C1"}).status_code == 422
    assert admin.post(url("clinician_new"), {"site": site.pk, "code": "C7"}).status_code == 302
    assert admin.post(url("clinician_new"), {"site": kit.sites[1].pk, "code": "C7"}).status_code == 302


def test_a_role_for_all_sites_keeps_no_site(kit: StudyKit, admin: Client) -> None:
    """A site sent along with the role of researcher is left out."""
    data = {"username": "rosa", "new_password": PASSWORD, "role": "researcher", "site": kit.sites[0].pk}
    admin.post(url("member_new"), data)
    assert Member.objects.get(user__username="rosa").site is None


def test_a_clinicians_account_is_tied_and_untied(kit: StudyKit, admin: Client) -> None:
    """Adding ties the account to the study code, taking the role away unties it; the list opens and closes."""
    clinician = kit.clinicians[0]
    data = {"username": "doc", "new_password": PASSWORD, "role": "clinician", "clinician": clinician.pk}
    assert admin.post(url("member_new"), data).status_code == 302
    clinician.refresh_from_db()
    assert clinician.user == User.objects.get(username="doc")
    doctor = signed_in(User.objects.get(username="doc"))
    assert doctor.get(url("patients_to_rate")).status_code == 200
    member = Member.objects.get(user__username="doc")
    assert admin.get(url("member_remove", member.pk)).status_code == 200
    assert admin.post(url("member_remove", member.pk)).status_code == 302
    clinician.refresh_from_db()
    assert clinician.user is None
    assert doctor.get(url("patients_to_rate")).status_code == 404


def test_the_last_admin_stays(kit: StudyKit, admin: Client) -> None:
    """A study is never left without an admin."""
    member = Member.objects.get(role="admin")
    assert admin.post(url("member_remove", member.pk)).status_code == 409
    assert Member.objects.filter(pk=member.pk).exists()


# --- when something is wrong ---


def test_a_missing_page_is_friendly(client: Client) -> None:
    """404 with the way home, in the reader's language."""
    response = client.get("/nothing/here/", headers={"accept-language": "es"})
    assert response.status_code == 404
    assert '<html lang="es">' in response.content.decode()
    assert "No existe esta página" in response.content.decode()


def test_a_form_without_its_token_is_refused_with_the_way_on(kit: StudyKit) -> None:
    """The page of a failed CSRF check says what to do, and nothing is changed."""
    client = Client(enforce_csrf_checks=True)
    client.force_login(make_member(kit, Member.Role.ADMIN))
    response = client.post(url("site_new"), {"code": "X", "name": "X", "target_dyads": "0"})
    assert response.status_code == 403
    assert "load the page again" in response.content.decode()
    assert not Site.objects.filter(code="X").exists()


@pytest.mark.parametrize("template", ["400.html", "500.html", "403_csrf.html"])
def test_error_pages_stand_alone(template: str) -> None:
    """They are drawn without a request, and load nothing from elsewhere."""
    page = render_to_string(template)
    assert "<h1>" in page
    assert not re.search(r'(href|src)="(https?:)?//', page)


def test_the_language_is_chosen_in_the_head(client: Client) -> None:
    """A POST sets it; the page comes back in Spanish with its language named."""
    response = client.post(reverse("set_language"), {"language": "es", "next": "/"}, follow=True)
    page = response.content.decode()
    assert '<html lang="es">' in page
    assert "¿Tiene un enlace o un código QR?" in page


# --- figures ---


def test_figures_are_written_for_reading() -> None:
    """Fixed decimals, a true minus sign, a dash for nothing, no negative zero."""
    with translation.override("en"):
        assert [figure(12.345), figure(-0.04), figure(None), figure(float("nan"))] == ["12.3", "0.0", "–", "–"]
        assert figure(-3.25, 1) == "\N{MINUS SIGN}3.2"
        assert [coefficient(0.456), coefficient(-0.456), coefficient(1.0), coefficient(None)] == [
            ".46",
            "\N{MINUS SIGN}.46",
            "1.00",
            "–",
        ]
        assert coefficient(10.5) == "10.50"
        assert [percent(0.123, 1), percent(None)] == ["12.3 %", "–"]
        assert [p_value(0.0001), p_value(0.0421), p_value(1.0), p_value(None)] == ["< .001", ".042", "1.000", "–"]

    with translation.override("es"):
        assert [figure(12.345), coefficient(-0.456), p_value(0.0001)] == ["12,3", "\N{MINUS SIGN}0,46", "< 0,001"]
