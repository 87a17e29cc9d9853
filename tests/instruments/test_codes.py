"""Eight characters in place of a link, guesses that lead nowhere, and the tablet that is handed over."""

from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from instruments import codes
from instruments.definitions import Role
from instruments.models import Administration, CodeGuess
from instruments.services import CreatedVisit, reissue_link
from studies.models import Member
from tests.factories import StudyKit, administration_of, answer, make_member, make_study, make_visit

pytestmark = pytest.mark.django_db


@pytest.fixture
def kit() -> StudyKit:
    """A study with two sites."""
    return make_study(form="short", n_sites=2)


@pytest.fixture
def visit(kit: StudyKit) -> CreatedVisit:
    """A visit whose links are open now."""
    return make_visit(kit, now=timezone.now())


def test_a_code_opens_the_questionnaire_at_the_same_item(visit: CreatedVisit) -> None:
    """Typed as people type: small letters, spaces, O for 0; begun forms go on where they were."""
    answer(administration_of(visit, Role.PATIENT), {"VN1": 4}, now=timezone.now())
    Administration.objects.filter(visit=visit.visit).update(language="en")
    code = codes.code_of(visit.patient_token)
    client = Client(enforce_csrf_checks=True)
    for typed in (code, codes.in_groups(code), code.lower().replace("0", "o"), f" {code[:2]} {code[2:]} "):
        response = client.post("/q/code/", {"code": typed})
        assert (response.status_code, response["Location"]) == (303, f"/q/{visit.patient_token}/")
    root = f"/q/{visit.patient_token}/"
    assert client.post(root, {"language": "en"})["Location"] == f"{root}page/2/"


def test_codes_have_forty_bits_and_are_stored_hashed(visit: CreatedVisit) -> None:
    """Nothing that the database holds is the code or the link; the alphabet has no look-alikes."""
    assert len(codes.ALPHABET) ** codes.LENGTH >= 2**40
    assert not set("OILU") & set(codes.ALPHABET)
    code = codes.code_of(visit.patient_token)
    assert len(code) == codes.LENGTH
    row = Administration.objects.filter(visit=visit.visit, role=Role.PATIENT).values().get()
    assert code not in str(row)
    assert visit.patient_token not in str(row)
    assert code != codes.code_of(visit.clinician_token)


def test_a_new_link_ends_the_old_code(visit: CreatedVisit) -> None:
    """The old code leads nowhere, the new one to the new link."""
    form = administration_of(visit, Role.PATIENT)
    token = reissue_link(administration_id=form.pk, now=timezone.now())
    client = Client()
    assert client.post("/q/code/", {"code": codes.code_of(visit.patient_token)}).status_code == 422
    assert client.post("/q/code/", {"code": codes.code_of(token)})["Location"] == f"/q/{token}/"


def test_guessing_is_slowed_down_without_locking_out_known_tablets(visit: CreatedVisit) -> None:
    """Strangers share one allowance, whatever address they claim; a tablet that was let in before keeps its own."""
    tablet = Client()
    assert tablet.post("/q/code/", {"code": codes.code_of(visit.patient_token)}).status_code == 303
    statuses = []
    for number in range(codes.GUESSES_OF_ALL_OTHERS + 40):
        wrong = f"{number:08d}"
        response = Client().post("/q/code/", {"code": wrong}, headers={"x-forwarded-for": f"10.0.0.{number}"})
        statuses.append(response.status_code)
    assert statuses == [422] * codes.GUESSES_OF_ALL_OTHERS + [429] * 40
    right = codes.code_of(visit.clinician_token)
    assert Client().post("/q/code/", {"code": right}).status_code == 429  # not even looked up
    forged = Client()
    forged.cookies["tablet"] = "made-up:1:signature"
    assert forged.post("/q/code/", {"code": right}).status_code == 429
    assert tablet.post("/q/code/", {"code": "00000000"}).status_code == 422
    assert tablet.post("/q/code/", {"code": right}).status_code == 303
    CodeGuess.objects.update(at=timezone.now() - codes.GUESS_WINDOW - timedelta(seconds=1))
    assert Client().post("/q/code/", {"code": right}).status_code == 303


@pytest.mark.parametrize("typed", ["", "A", "\0", "é" * 8, "A" * 5000, "𝟘" * 8, "' OR 1=1 --"])
def test_nonsense_is_an_unknown_code(visit: CreatedVisit, typed: str) -> None:
    """Whatever is typed: the same page with a friendly line, in both languages, and it names nothing."""
    response = Client().post("/q/code/", {"code": typed})
    assert response.status_code == 422
    html = response.content.decode()
    assert "No survey has this code" in html
    assert "Ninguna encuesta tiene este código" in html
    assert "no-store" in response["Cache-Control"]
    assert Client().get("/q/code/").status_code == 200


def test_handing_over_signs_the_coordinator_out(kit: StudyKit, visit: CreatedVisit) -> None:
    """The tablet shows the patient's welcome page and holds no staff session any more."""
    client = Client()
    client.force_login(make_member(kit, Member.Role.COORDINATOR))
    form = administration_of(visit, Role.PATIENT)
    page = client.get(f"/studies/PILOT/visits/?date={visit.visit.visit_date:%Y-%m-%d}")
    assert f"/hand-over/{form.pk}/" in page.content.decode()
    response = client.post(f"/studies/PILOT/hand-over/{form.pk}/")
    assert response.status_code == 302
    assert "/q/" in response["Location"]
    assert client.get(response["Location"]).status_code == 200
    assert client.get("/studies/PILOT/visits/")["Location"].startswith("/login/")
    assert client.cookies["sessionid"].value == ""
    assert Client().get(f"/q/{visit.patient_token}/").status_code == 404  # the link made before is replaced


def test_a_begun_form_is_handed_over_by_its_code_alone(kit: StudyKit, visit: CreatedVisit) -> None:
    """The coordinator never gets a link that would show the answers; the patient's own link goes on working."""
    form = administration_of(visit, Role.PATIENT)
    answer(form, {"VN1": 4}, now=timezone.now())
    client = Client()
    client.force_login(make_member(kit, Member.Role.COORDINATOR))
    assert client.post(f"/studies/PILOT/hand-over/{form.pk}/")["Location"] == "/q/code/"
    assert client.get("/studies/PILOT/visits/").status_code == 302
    assert Client().get(f"/q/{visit.patient_token}/").status_code == 200


def test_nobody_hands_over_what_is_not_theirs(kit: StudyKit, visit: CreatedVisit) -> None:
    """Another site's form looks like none; a clinician's form, a finished form and an own patient's are refused."""
    other_site = make_member(kit, Member.Role.COORDINATOR, username="elsewhere", site=kit.sites[1])
    own = make_member(kit, Member.Role.COORDINATOR)
    patient, clinician = (administration_of(visit, role) for role in (Role.PATIENT, Role.CLINICIAN))
    client = Client()
    client.force_login(other_site)
    assert client.post(f"/studies/PILOT/hand-over/{patient.pk}/").status_code == 404
    client.force_login(own)
    assert client.post(f"/studies/PILOT/hand-over/{clinician.pk}/").status_code == 404
    kit.clinicians[0].user = own
    kit.clinicians[0].save()
    assert client.post(f"/studies/PILOT/hand-over/{patient.pk}/").status_code == 403
    assert Client().post(f"/studies/PILOT/hand-over/{patient.pk}/").status_code == 302  # to the sign-in


def test_the_links_page_shows_the_code(kit: StudyKit) -> None:
    """Whoever gets a link gets the code with it."""
    client = Client()
    client.force_login(make_member(kit, Member.Role.COORDINATOR))
    form = administration_of(make_visit(kit, now=timezone.now()), Role.PATIENT)
    html = client.post(f"/studies/PILOT/links/{form.pk}/").content.decode()
    token = html.split("/q/")[1].split("/")[0]
    assert codes.in_groups(codes.code_of(token)) in html
