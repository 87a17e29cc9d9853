"""Sentences in an order drawn for each patient: shown so, stored by code, the same ever after."""

from collections import Counter
from itertools import groupby

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from instruments.catalogue.reader import read_instrument
from instruments.definitions import Role
from instruments.models import Administration, AnswerEvent
from instruments.questionnaire import N_ORDERS, Questionnaire, ordered_items
from instruments.services import release_instrument
from studies.models import Member, Study
from tests.factories import (
    CATALOGUE_FILE,
    NOW,
    StudyKit,
    administration_of,
    make_member,
    make_study,
    make_visit,
    settings_as_they_are,
)

SHUFFLED = CATALOGUE_FILE.with_name("healing-relationships-1.2.yaml")
INSTRUMENT = read_instrument(SHUFFLED)


def codes(number: int | None, form: str = "full") -> list[str]:
    return [item.code for item in ordered_items(INSTRUMENT, form, number)]


def test_orders_move_items_within_their_recall_block_only() -> None:
    """Every order holds every item once, blocks as they were; all 24 differ from each other and from the form's own."""
    own = codes(None)
    blocks = [recall for recall, _ in groupby(ordered_items(INSTRUMENT, "full", None), lambda item: item.recall)]
    for number in range(1, N_ORDERS + 1):
        assert sorted(codes(number)) == sorted(own)
        shown = ordered_items(INSTRUMENT, "full", number)
        assert [recall for recall, _ in groupby(shown, lambda item: item.recall)] == blocks
    assert len({tuple(codes(number)) for number in (None, *range(1, N_ORDERS + 1))}) == N_ORDERS + 1


def test_an_order_is_the_same_for_good() -> None:
    """By its number alone; written down here so that no release changes it."""
    assert codes(7, "short")[:6] == ["CM2", "PE2", "VE1", "PP1", "VI2", "VN1"]
    asked = Questionnaire(instrument=INSTRUMENT, form="short", role=Role.PATIENT, follow_up=False, order_number=7)
    assert [code for page in asked.pages for code in page.codes][:20] == codes(7, "short")


def test_early_places_are_shared_out() -> None:
    """No sentence always comes first: over the orders each block's first place is held by several."""
    firsts = Counter(codes(number)[0] for number in range(1, N_ORDERS + 1))
    assert len(firsts) >= 5
    assert max(firsts.values()) <= N_ORDERS // 3


@pytest.fixture
def kit() -> StudyKit:
    release_instrument(SHUFFLED, now=NOW)
    kit = make_study("ORDER", form="short")
    Study.objects.update(instrument_version="1.2", shuffles_items=True, draw_seed=11)
    kit.study.refresh_from_db()
    return kit


@pytest.mark.django_db
def test_a_patient_s_pages_and_file_follow_the_order_drawn(kit: StudyKit, client: Client) -> None:
    """Page, script's file and stored order agree; answers go under codes; the clinician's keeps its own."""
    visit = make_visit(kit, now=timezone.now())
    form = administration_of(visit, Role.PATIENT)
    number = form.order_number
    assert number in range(1, N_ORDERS + 1)
    assert form.item_order == codes(number, "short")
    assert administration_of(visit, Role.CLINICIAN).order_number is None
    root = reverse("questionnaire", args=[visit.patient_token])
    client.post(root, {"language": "en"})
    first = form.item_order[0]
    assert f'data-code="{first}"' in client.get(f"{root}page/1/").content.decode()
    address = client.get(f"{root}state/").json()["bundles"]["es"]
    assert f"patient-order-{number}/es/" in address
    pages = client.get(address).json()["pages"]
    assert [code for page in pages for code in page["codes"]][:20] == form.item_order
    client.post(f"{root}page/1/", {"action": "next", "sequence": "1", first: "4"})
    assert AnswerEvent.objects.get().item == first
    assert administration_of(visit, Role.PATIENT).answers == {first: 4}


@pytest.mark.django_db
def test_patients_get_different_orders(kit: StudyKit) -> None:
    """Thirty patients do not see one order."""
    for _ in range(30):
        make_visit(kit)
    numbers = Administration.objects.filter(role=Role.PATIENT).values_list("order_number", flat=True)
    assert len(set(numbers)) >= 10


@pytest.mark.django_db
def test_files_of_orders_that_are_not_there_are_not_found(kit: StudyKit, client: Client) -> None:
    """A number too high, and a version that keeps one order."""
    visit = make_visit(kit, now=timezone.now())
    root = reverse("questionnaire", args=[visit.patient_token])
    address = client.get(f"{root}state/").json()["bundles"]["en"]
    number = administration_of(visit, Role.PATIENT).order_number
    assert client.get(address.replace(f"-order-{number}/", f"-order-{N_ORDERS + 1}/")).status_code == 404
    assert client.get(address.replace(f"-order-{number}/", "-order-0/")).status_code == 404
    assert client.get(address.replace(INSTRUMENT.content_hash[:16], kit.version.content_hash[:16])).status_code == 404


@pytest.mark.django_db
def test_a_version_that_keeps_one_order_refuses(kit: StudyKit) -> None:
    """The setting says so; a study that had it all the same shows the form's own order."""
    Study.objects.update(instrument_version="1.0", shuffles_items=False, status=Study.Status.DRAFT)
    admin = Client()
    admin.force_login(make_member(kit, Member.Role.ADMIN))
    data = settings_as_they_are(admin, "ORDER") | {"shuffles_items": "on"}
    refused = admin.post(reverse("study_settings", args=["ORDER"]), data)
    assert refused.context["form"].errors.keys() == {"shuffles_items"}
    data["instrument"] = "healing-relationships 1.2"
    assert admin.post(reverse("study_settings", args=["ORDER"]), data).status_code == 302
    assert Study.objects.get().shuffles_items
