"""Who patients are: sealed apart, found blindly, seen only with the right, and never without a line in the trail."""

import json
from dataclasses import asdict
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse

from studies import audit
from studies.identifier_keys import BadKeys, CannotOpen, KeyRing, new_key, read_ring, ring_of, write_ring
from studies.identifiers import (
    Identifiers,
    Purpose,
    configured_ring,
    look,
    look_up,
    remove,
    rotate,
    rows_by_key,
    store,
)
from studies.models import AuditEvent, Member, Patient, PatientIdentifiers
from tests.factories import NOW, StudyKit, make_member, make_study, make_user

pytestmark = pytest.mark.django_db

KNOWN = Identifiers(
    name="José O'Neill-Pérez", email="Jose@Example.org", phone="+34 600 111 222", record_number="00-417 / b"
)


@pytest.fixture
def kit() -> StudyKit:
    kit = make_study("NAMES", n_sites=2)
    kit.study.keeps_identifiers = True
    kit.study.save()
    return kit


@pytest.fixture
def patient(kit: StudyKit) -> Patient:
    return Patient.objects.create(site=kit.sites[0], code="S1-AAAA")


def seer(kit: StudyKit, role: str = Member.Role.ADMIN, **where: Any) -> User:
    """Somebody with the right."""
    user = make_member(kit, role, **where)
    Member.objects.filter(user=user).update(sees_identifiers=True)
    return user


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def actions(kit: StudyKit) -> list[str]:
    return list(AuditEvent.objects.filter(study=kit.study).order_by("sequence").values_list("action", flat=True))


# --- keys ---


def test_a_box_opens_under_its_key_at_its_place_only() -> None:
    """Another key, another patient's row, a changed byte: none of them opens; the length tells nothing."""
    ring, other = KeyRing(keys=(new_key(),)), KeyRing(keys=(new_key(),))
    key_id, box = ring.seal("Ana", place="patient 1")
    _same, longer = ring.seal("Ana María de los Ángeles Fernández de Córdoba", place="patient 1")
    assert ring.open(key_id, box, place="patient 1") == "Ana"
    assert len(box) == len(longer)
    with pytest.raises(CannotOpen, match=key_id):
        other.open(key_id, box, place="patient 1")
    for wrong, place in ((box, "patient 2"), (box[:-1] + bytes([box[-1] ^ 1]), "patient 1")):
        with pytest.raises(CannotOpen, match="changed"):
            ring.open(key_id, wrong, place=place)


def test_the_blind_index_needs_its_own_key_and_differs_between_studies() -> None:
    """Neither the sealing key nor another study's index finds a value; writing it differently does no harm."""
    ring = KeyRing(keys=(new_key(),))
    mine = ring.index("name", "JOSE   o'neill perez", scope="study 1")
    assert mine == ring.index("name", "José O’Neill-Pérez", scope="study 1")
    assert mine != ring.index("name", "José O’Neill-Pérez", scope="study 2")
    assert mine != ring.index("email", "JOSE   o'neill perez", scope="study 1")
    assert ring.index("record_number", "00417B", scope="x") != ring.index("record_number", "417B", scope="x")
    assert ring.index("name", " - ", scope="study 1") == ""
    assert ring.indexes("name", " - ", scope="study 1") == []


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "holds no key"),
        ("a1 short short", "line 1: not a key"),
        ("# words here", "line 1: not a key"),
        (f"{new_key().line()}\n{new_key().line().split()[0]}", "line 2: not a key"),
    ],
)
def test_keys_that_cannot_be_read_are_named_by_their_line(text: str, problem: str) -> None:
    """The message says where and what to do, and holds nothing of the file."""
    with pytest.raises(BadKeys, match=problem) as error:
        read_ring(text, source="keys")
    assert "short" not in str(error.value)


def test_a_key_file_is_written_whole_and_read_again_when_it_changes(tmp_path: Path) -> None:
    """For its owner's eyes only; a running server sees a new key without a restart."""
    file = tmp_path / "keys" / "identifier-keys"
    first, second = new_key(), new_key()
    with pytest.raises(BadKeys, match="cannot be read"):
        ring_of(text="", file=file)
    with pytest.raises(BadKeys, match="configured"):
        ring_of(text="", file=None)
    write_ring(file, KeyRing(keys=(first,)))
    assert ring_of(text="", file=file).newest == first
    write_ring(file, KeyRing(keys=(second, first)))
    assert ring_of(text="", file=file).keys == (second, first)
    assert file.stat().st_mode & 0o777 == 0o600
    assert str(first) == str(second) or first.sealing.hex() not in repr(first)


# --- what is kept ---


def test_what_is_stored_comes_back_and_is_found_by_the_whole_value(kit: StudyKit, patient: Patient) -> None:
    """By name, e-mail and record number, written differently; by half of it nobody is found."""
    user = seer(kit)
    store(patient=patient, identifiers=KNOWN, actor=user, now=NOW)
    assert look(patient=patient, purpose=Purpose.CONTACT, actor=user, now=NOW) == KNOWN
    for field, value in (("name", "jose oneill perez"), ("email", " JOSE@example.org"), ("record_number", "00417B")):
        assert look_up(study=kit.study, field=field, value=value, actor=user, now=NOW) == [patient], field
    assert look_up(study=kit.study, field="name", value="jose oneill", actor=user, now=NOW) == []
    assert look_up(study=kit.study, field="name", value="-", actor=user, now=NOW) == []


def test_a_look_is_in_the_trail_before_the_box_is_opened(
    kit: StudyKit, patient: Patient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who, whom, what for; also when the box does not open. Where the line cannot be written nothing is opened."""
    user = seer(kit)
    store(patient=patient, identifiers=KNOWN, actor=user, now=NOW)
    look(patient=patient, purpose=Purpose.SAFETY, actor=user, now=NOW)
    line = AuditEvent.objects.order_by("-sequence")[0]
    assert (line.action, line.actor) == ("look at identifiers", user)
    assert line.detail == {"patient": "S1-AAAA", "site": "S1", "purpose": "safety"}
    opened = []
    really = KeyRing.open
    monkeypatch.setattr(KeyRing, "open", lambda self, *a, **k: opened.append(1) or really(self, *a, **k))
    monkeypatch.setattr(audit, "record", lambda **_: (_ for _ in ()).throw(RuntimeError("trail")))
    with pytest.raises(RuntimeError):
        look(patient=patient, purpose=Purpose.SAFETY, actor=user, now=NOW)
    assert opened == []


def test_a_look_that_fails_is_in_the_trail_too(kit: StudyKit, patient: Patient, settings: Any) -> None:
    """Without the key: somebody tried."""
    user = seer(kit)
    store(patient=patient, identifiers=KNOWN, actor=user, now=NOW)
    settings.IDENTIFIER_KEYS = new_key().line()
    with pytest.raises(CannotOpen):
        look(patient=patient, purpose=Purpose.CONTACT, actor=user, now=NOW)
    assert actions(kit) == ["add identifiers", "look at identifiers"]


def test_the_trail_says_which_fields_never_what_stands_in_them(kit: StudyKit, patient: Patient) -> None:
    """Adding, changing, looking, searching, deleting: codes and field names alone."""
    user = seer(kit)
    store(patient=patient, identifiers=KNOWN, actor=user, now=NOW)
    store(patient=patient, identifiers=Identifiers(name="Other Person"), actor=user, now=NOW)
    look(patient=patient, purpose=Purpose.REQUEST, actor=user, now=NOW)
    look_up(study=kit.study, field="name", value="Other Person", actor=user, now=NOW)
    assert remove(patient=patient, actor=user, now=NOW)
    assert not remove(patient=patient, actor=user, now=NOW)
    assert actions(kit) == [
        "add identifiers",
        "change identifiers",
        "look at identifiers",
        "look up identifiers",
        "delete identifiers",
    ]
    records = " ".join(AuditEvent.objects.values_list("record", flat=True))
    for value in [*asdict(KNOWN).values(), "Other"]:
        assert value not in records
    assert list(audit.problems()) == []


def test_identifiers_are_in_no_admin() -> None:
    """Django's own admin knows no model of a study at all."""
    assert PatientIdentifiers not in admin.site._registry
    assert not [model for model in admin.site._registry if model._meta.app_label == "studies"]


# --- pages ---


def test_from_adding_a_name_to_finding_and_seeing_it(kit: StudyKit, patient: Patient) -> None:
    """Find by code, add, find by name, say what for, see. The name stands in the last answer alone."""
    client = signed_in(seer(kit))
    home = reverse("identifiers", args=["NAMES"])
    found = client.post(home, {"by": "code", "value": "S1-AAAA"})
    edit = reverse("identifiers_edit", args=["NAMES", patient.pk])
    assert edit in found.content.decode()
    assert client.post(edit, asdict(KNOWN)).status_code == 302
    found = client.post(home, {"by": "name", "value": "jose oneill perez"})
    show = reverse("identifiers_show", args=["NAMES", patient.pk])
    assert show in found.content.decode()
    assert "Pérez" not in found.content.decode()
    asked = client.get(show)
    assert "Pérez" not in asked.content.decode()
    assert client.post(show, {"purpose": ""}).status_code == 422
    shown = client.post(show, {"purpose": "contact"})
    assert "José O&#x27;Neill-Pérez" in shown.content.decode()
    assert shown["Cache-Control"] == "no-store, private"
    assert client.get(edit).url == show  # type: ignore[attr-defined]


def test_bad_input_keeps_what_was_there(kit: StudyKit, patient: Patient) -> None:
    """An address without an @, nothing at all, a NUL: refused beside the field, nothing changed."""
    user = seer(kit)
    store(patient=patient, identifiers=KNOWN, actor=user, now=NOW)
    client = signed_in(user)
    edit = reverse("identifiers_edit", args=["NAMES", patient.pk])
    for data in ({"email": "no address"}, {"name": " "}, {"name": "a\0b"}, {"name": "x" * 201}):
        assert client.post(edit, data).status_code == 422, data
    assert look(patient=patient, purpose=Purpose.CONTACT, actor=user, now=NOW) == KNOWN


def test_no_role_brings_the_right(kit: StudyKit, patient: Patient) -> None:
    """Not an admin's, not a superuser's: without the right every page refuses, and the menu does not name them."""
    store(patient=patient, identifiers=KNOWN, actor=make_user("owner"), now=NOW)
    root = make_user("root", is_superuser=True)
    Member.objects.create(study=kit.study, user=root, role=Member.Role.ADMIN)
    for user in (root, *(make_member(kit, role) for role in Member.Role.values)):
        client = signed_in(user)
        addresses = [reverse("identifiers", args=["NAMES"])] + [
            reverse(name, args=["NAMES", patient.pk])
            for name in ("identifiers_show", "identifiers_edit", "identifiers_delete")
        ]
        for address in addresses:
            for answer in (client.get(address), client.post(address, {"purpose": "contact", "by": "name"})):
                assert answer.status_code == 403, (user, address)
    assert PatientIdentifiers.objects.filter(pk=patient.pk).exists()


def test_the_right_of_a_coordinator_ends_at_the_site(kit: StudyKit, patient: Patient) -> None:
    """Another site's patient is not found, not shown, not deleted: as if there were none."""
    owner = seer(kit)
    store(patient=patient, identifiers=KNOWN, actor=owner, now=NOW)
    client = signed_in(seer(kit, Member.Role.COORDINATOR, site=kit.sites[1]))
    for by, value in (("name", KNOWN.name), ("code", patient.code)):
        answer = client.post(reverse("identifiers", args=["NAMES"]), {"by": by, "value": value})
        assert patient.code not in answer.content.decode().replace('value="S1-AAAA"', "")
    for name in ("identifiers_show", "identifiers_edit", "identifiers_delete"):
        assert client.post(reverse(name, args=["NAMES", patient.pk]), {"purpose": "contact"}).status_code == 404
    assert PatientIdentifiers.objects.filter(pk=patient.pk).exists()


def test_the_right_is_given_and_taken_by_an_admin(kit: StudyKit) -> None:
    """To admins and coordinators, in the trail; other roles cannot be given it."""
    client = signed_in(make_member(kit, Member.Role.ADMIN))
    coordinator = Member.objects.get(user=make_member(kit, Member.Role.COORDINATOR))
    researcher = Member.objects.get(user=make_member(kit, Member.Role.RESEARCHER))
    page = reverse("member_identifiers", args=["NAMES", coordinator.pk])
    assert "Site 1" in client.get(page).content.decode()
    for gives in ("1", "0"):
        assert client.post(page, {"gives": gives}).status_code == 302
        coordinator.refresh_from_db()
        assert coordinator.sees_identifiers is (gives == "1")
    assert client.get(reverse("member_identifiers", args=["NAMES", researcher.pk])).status_code == 404
    assert actions(kit)[:2] == ["give right to identifiers", "take right to identifiers"]


def test_a_study_that_keeps_no_names_takes_none(kit: StudyKit, patient: Patient) -> None:
    """Off is the default; names kept before can still be seen and deleted."""
    user = seer(kit)
    kit.study.keeps_identifiers = False
    kit.study.save()
    client = signed_in(user)
    client.post(reverse("identifiers_edit", args=["NAMES", patient.pk]), asdict(KNOWN))
    assert not PatientIdentifiers.objects.exists()
    assert "keeps no names" in client.get(reverse("identifiers", args=["NAMES"])).content.decode()


def test_without_a_key_nothing_is_stored_and_the_page_says_so(kit: StudyKit, patient: Patient, settings: Any) -> None:
    """Neither stored in plain nor half: a page that names the remedy."""
    settings.IDENTIFIER_KEYS, settings.IDENTIFIER_KEY_FILE = "", None
    answer = signed_in(seer(kit)).post(reverse("identifiers_edit", args=["NAMES", patient.pk]), asdict(KNOWN))
    assert answer.status_code == 503
    assert "IDENTIFIER_KEY_FILE" in answer.content.decode()
    assert not PatientIdentifiers.objects.exists()
    with pytest.raises(BadKeys):
        configured_ring()


# --- other keys ---


@pytest.fixture
def key_file(tmp_path: Path, settings: Any) -> Path:
    """Keys in a file, as an installation has them."""
    settings.IDENTIFIER_KEYS, settings.IDENTIFIER_KEY_FILE = "", tmp_path / "identifier-keys"
    call_command("rotate_identifier_keys", "--make-key", stdout=StringIO())
    return tmp_path / "identifier-keys"


def rotate_keys(*options: str) -> dict[str, Any]:
    out = StringIO()
    call_command("rotate_identifier_keys", *options, stdout=out)
    told: dict[str, Any] = json.loads(out.getvalue())
    return told


def several(kit: StudyKit, n: int, user: User) -> list[Patient]:
    """Patients with names."""
    patients = Patient.objects.bulk_create(Patient(site=kit.sites[0], code=f"P{number}") for number in range(n))
    for number, one in enumerate(patients):
        store(patient=one, identifiers=Identifiers(name=f"Person {number}"), actor=user, now=NOW)
    return patients


def test_keys_are_changed_and_the_old_one_is_retired_last(kit: StudyKit, key_file: Path) -> None:
    """Both are in use meanwhile: everybody is found and seen before, between and after."""
    user = seer(kit)
    patients = several(kit, 5, user)
    old = configured_ring().newest.id

    def everybody_is_found() -> None:
        for number, one in enumerate(patients):
            name = f"Person {number}"
            assert look_up(study=kit.study, field="name", value=name, actor=user, now=NOW) == [one]
            assert look(patient=one, purpose=Purpose.CONTACT, actor=user, now=NOW).name == name

    rotate_keys("--make-key")
    everybody_is_found()
    with pytest.raises(CommandError, match=old):
        rotate_keys("--retire")
    assert rotate_keys()["rows"] == 5
    everybody_is_found()
    assert rotate_keys()["rows"] == 0
    assert rotate_keys("--retire")["retired"] == [old]
    everybody_is_found()
    assert old not in key_file.read_text()
    assert rows_by_key() == {configured_ring().newest.id: 5}
    assert list(audit.problems()) == []


def test_a_rotation_that_was_broken_off_goes_on(kit: StudyKit, key_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a chunk had done stays done; the rest is done by the next run."""
    monkeypatch.setattr("studies.identifiers.ROTATION_CHUNK", 2)
    several(kit, 5, seer(kit))
    rotate_keys("--make-key")

    def stop(n_done: int) -> None:
        if n_done >= 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        rotate(progress=stop)
    assert sorted(rows_by_key().values()) == [2, 3]
    assert rotate_keys()["rows"] == 3


def test_a_row_that_does_not_open_is_told_and_keeps_its_key(kit: StudyKit, key_file: Path) -> None:
    """It is neither lost nor written over; the others go on, and no key can be retired."""
    patients = several(kit, 3, seer(kit))
    broken = PatientIdentifiers.objects.get(pk=patients[1].pk)
    PatientIdentifiers.objects.filter(pk=broken.pk).update(box=bytes(broken.box)[:-1] + b"x")
    rotate_keys("--make-key")
    with pytest.raises(CommandError, match=f"1 rows do not open.*{broken.pk}"):
        rotate_keys()
    assert sorted(rows_by_key().values()) == [1, 2]
    with pytest.raises(CommandError, match="Still in use"):
        rotate_keys("--retire")
