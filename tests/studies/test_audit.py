"""The audit trail: complete, chained, and a chain that shows every tamper."""

import ast
import csv
import io
import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import IntegrityError, connection, transaction
from django.test import Client
from django.urls import reverse
from django.utils.translation import override

from studies import audit
from studies.audit_chain import GENESIS, Anchor, ChainLine, chain_problems, line_hash
from studies.audit_words import FACTS, facts_words
from studies.models import AuditEvent, AuditHead, AuditNote, Member, Site
from tests.factories import CLINICIAN_SETTINGS, NOW, PASSWORD, StudyKit, make_member, make_study, make_user

pytestmark = pytest.mark.django_db

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("studies", "instruments", "scoring", "analysis", "healing_survey")


@pytest.fixture
def kit() -> StudyKit:
    return make_study("OWN", n_sites=2)


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def write(kit: StudyKit, n: int) -> list[ChainLine]:
    """A trail of n lines with everything that a line can hold; as the database gives it back."""
    user = make_user("writer")
    for number in range(n):
        audit.record(
            study=kit.study if number % 3 else None,
            actor=user if number % 4 else None,
            action=f"act {number % 5}",
            detail={"number": number, "text": "Ñandú “quoted” \0 \u2028 😀", "share": 0.1 * number, "none": None},
            old={"b": 1, "a": "x"} if number % 2 else None,
            new={"a": 1e300, "b": [1, 2]} if number % 2 else None,
            why="because = 1" if number % 6 == 0 else "",
            now=NOW + timedelta(microseconds=number),
        )
    return list(audit.lines())


def found(lines: Sequence[ChainLine], head: Anchor | None = None, anchors: Sequence[Anchor] = ()) -> list[str]:
    return list(chain_problems(lines, head=head, anchors=anchors))


def test_a_trail_as_it_was_written_is_whole(kit: StudyKit) -> None:
    """Also with texts and numbers that databases like to change; each line follows the one before."""
    lines = write(kit, 30)
    assert [line.sequence for line in lines] == list(range(1, 31))
    assert [line.prev_hash for line in lines] == [GENESIS, *(line.hash for line in lines[:-1])]
    assert list(audit.problems()) == []
    assert audit.head() == Anchor(sequence=30, hash=lines[-1].hash)


def tampers(lines: list[ChainLine], rng: random.Random) -> Iterator[tuple[str, list[ChainLine]]]:
    """One random tamper of each kind, for ever; those that write everything anew leave only the anchor to show them."""
    while True:
        at = rng.randrange(len(lines))
        line = lines[at]
        text = line.record
        place = rng.randrange(len(text))
        other = text[:place] + chr((ord(text[place]) + 1 + rng.randrange(90)) % 127) + text[place + 1 :]
        yield "one byte", [*lines[:at], replace(line, record=other), *lines[at + 1 :]]
        yield (
            "one byte, with its hash",
            [*lines[:at], replace(line, record=other, hash=line_hash(line.prev_hash, other)), *lines[at + 1 :]],
        )
        yield "a line taken out", [*lines[:at], *lines[at + 1 :]]
        yield "a line twice", [*lines[:at], line, *lines[at:]]
        if at + 1 < len(lines):
            yield "two lines changed about", [*lines[:at], lines[at + 1], line, *lines[at + 2 :]]
        yield "another time", [*lines[:at], replace(line, at=line.at + timedelta(seconds=1)), *lines[at + 1 :]]
        yield "another person", [*lines[:at], replace(line, actor_id=(line.actor_id or 0) + 1), *lines[at + 1 :]]
        yield "another study", [*lines[:at], replace(line, study_id=(line.study_id or 0) + 1), *lines[at + 1 :]]
        yield "another action", [*lines[:at], replace(line, action=line.action + " "), *lines[at + 1 :]]
        with_note = rng.choice([number for number, one in enumerate(lines) if one.note is not None])
        noted = replace(lines[with_note], note=f"{lines[with_note].note}.")
        yield "another reason", [*lines[:with_note], noted, *lines[with_note + 1 :]]
        yield "the end cut off", lines[: at or 1][: len(lines) - 1]
        yield "all written anew", _chained_again([*lines[:at], *lines[at + 1 :]])
        # Before the anchored end: what is added after it by who holds the database is a line like any other.
        yield "a line put in, all written anew", _chained_again([lines[0], *lines[:at], *lines[at:]])


def _chained_again(lines: list[ChainLine]) -> list[ChainLine]:
    """What somebody with the whole database and this program could make: a sound chain of other lines."""
    again: list[ChainLine] = []
    before = GENESIS
    for number, line in enumerate(lines, start=1):
        facts = json.loads(line.record) | {"sequence": number}
        record = json.dumps(facts, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
        again.append(replace(line, sequence=number, record=record, prev_hash=before, hash=line_hash(before, record)))
        before = again[-1].hash
    return again


def test_a_thousand_tampers_of_a_thousand_are_found(kit: StudyKit) -> None:
    """Bytes, columns, order, gaps, ends and whole chains written anew, against one anchor at the end."""
    lines = write(kit, 40)
    anchor = audit.head()
    missed = []
    kinds = set()
    forger = tampers(lines, random.Random(7))
    for _ in range(1000):
        kind, tampered = next(forger)
        kinds.add(kind)
        if not found(tampered, anchors=[anchor]):
            missed.append(kind)
    assert missed == []
    assert len(kinds) == 13


def test_without_the_hash_the_tampers_are_missed(kit: StudyKit, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: with a hash that sees nothing, and no anchor, changed bytes and cut ends go unnoticed."""
    lines = write(kit, 12)
    at = 5
    monkeypatch.setattr("studies.audit_chain.line_hash", lambda prev_hash, record: lines[at].hash)
    text = lines[at].record.replace('"number":5', '"number":6')
    assert text != lines[at].record
    changed = [*lines[:at], replace(lines[at], record=text), *lines[at + 1 :]]
    assert not any(problem.startswith("line 6 was changed") for problem in found(changed))
    monkeypatch.undo()
    assert any(problem.startswith("line 6 was changed") for problem in found(changed))
    assert found(lines[:7]) == []
    assert found(lines[:7], anchors=[Anchor(sequence=12, hash=lines[-1].hash)]) != []


def test_the_command_finds_what_was_changed_in_the_database(kit: StudyKit, tmp_path: Path) -> None:
    """A byte, a column, a deleted line, a cut end with the head set back: exit with an error each time."""
    write(kit, 8)
    anchors = tmp_path / "anchors.jsonl"
    call_command("anchor_audit", file=anchors)
    whole = io.StringIO()
    call_command("verify_audit", anchors=anchors, stdout=whole)
    assert "whole: 8 lines, 1 anchors" in whole.getvalue()
    table = AuditEvent._meta.db_table
    for statement in (
        f"UPDATE {table} SET record = replace(record, 'act', 'fact') WHERE sequence = 3",
        f"UPDATE {table} SET action = 'act 9' WHERE sequence = 3",
        f"UPDATE {table} SET actor_id = NULL WHERE sequence = 4",
        f"DELETE FROM {table} WHERE sequence = 5",
        f"DELETE FROM {table} WHERE sequence = 8",
    ):
        with transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute("DROP TRIGGER audit_trail_append_only")  # what somebody with the database's key would do
                cursor.execute(statement)
            last = AuditEvent.objects.first()
            assert last is not None
            AuditHead.objects.update(sequence=last.sequence, hash=last.hash)
            with pytest.raises(CommandError, match="not whole"):
                call_command("verify_audit", anchors=anchors, stderr=io.StringIO())
            transaction.set_rollback(True)


def test_the_database_refuses_to_change_a_line(kit: StudyKit) -> None:
    """Or to hold two lines that follow the same one."""
    write(kit, 2)
    with pytest.raises(IntegrityError, match="append-only"), transaction.atomic():
        AuditEvent.objects.update(action="nothing")
    with pytest.raises(IntegrityError), transaction.atomic():
        AuditEvent.objects.create(sequence=3, record="{}", prev_hash=GENESIS, hash="x", at=NOW, action="fork")


def test_a_reason_can_be_erased_and_the_chain_still_holds(kit: StudyKit) -> None:
    """Its text is outside the chain; changed instead of erased, it shows."""
    write(kit, 7)
    note = AuditNote.objects.order_by("pk")[0]
    AuditNote.objects.filter(pk=note.pk).update(text="another reason")
    assert [problem for problem in audit.problems() if "reason" in problem]
    note.delete()
    assert list(audit.problems()) == []


def test_a_change_that_fails_leaves_no_line(kit: StudyKit) -> None:
    """The line is in the change's transaction: both or neither."""
    before = audit.head()
    with transaction.atomic():
        audit.record(study=kit.study, actor=None, action="add site", detail={}, now=NOW)
        transaction.set_rollback(True)
    assert audit.head() == before
    assert list(audit.problems()) == []


@pytest.mark.parametrize("text", ["", "{}", "not json\n", '{"sequence": "x", "hash": 1}\n', "\udcff"])
def test_a_bad_file_of_anchors_is_refused(tmp_path: Path, text: str) -> None:
    """With the file, the line and what to do; an empty file is none."""
    file = tmp_path / "anchors"
    file.write_bytes(text.encode("utf-8", "surrogateescape"))
    if text:
        with pytest.raises(CommandError, match=r"anchors.*(Restore|Name)"):
            call_command("verify_audit", anchors=file)
    else:
        call_command("verify_audit", anchors=file, stdout=io.StringIO())
    with pytest.raises(CommandError, match="cannot be read"):
        call_command("verify_audit", anchors=tmp_path / "missing")


# --- what stands in it ---


def actions() -> list[str]:
    return list(AuditEvent.objects.order_by("sequence").values_list("action", flat=True))


def test_signing_in_and_out_and_failing_to_are_told(kit: StudyKit, client: Client) -> None:
    """With the account, never with what was typed."""
    user = make_member(kit, Member.Role.RESEARCHER, username="rosa")
    client.post(reverse("login"), {"username": "rosa", "password": "my secret"})
    client.post(reverse("login"), {"username": "my secret typed here", "password": "x"})
    client.post(reverse("login"), {"username": "rosa", "password": PASSWORD})
    client.post(reverse("logout"))
    assert actions() == ["sign in failed", "sign in failed", "sign in", "sign out"]
    failed = AuditEvent.objects.filter(action="sign in failed").order_by("sequence")
    assert [event.detail["account"] for event in failed] == [user.pk, None]
    assert not AuditEvent.objects.filter(record__contains="secret").exists()


def test_refusals_are_told(kit: StudyKit) -> None:
    """Pages of another role and of a foreign study, with the study that they were asked of."""
    make_study("OTHER")
    clinician = signed_in(make_member(kit, Member.Role.CLINICIAN))
    assert clinician.get(reverse("study_settings", args=["OWN"])).status_code == 403
    assert clinician.get(reverse("dyads", args=["OTHER"])).status_code == 404
    refused = AuditEvent.objects.filter(action="refused").order_by("sequence").select_related("study")
    assert [(one.study and one.study.code, one.detail["page"], one.detail["status"]) for one in refused] == [
        ("OWN", "study_settings", 403),
        ("OTHER", "dyads", 404),
    ]


def test_a_change_of_settings_says_what_was_and_what_is(kit: StudyKit) -> None:
    """Old and new of the fields that changed, and no others."""
    admin = signed_in(make_member(kit, Member.Role.ADMIN))
    data = {
        "title": "Renamed",
        "instrument": "healing-relationships 1.0",
        "default_form": "full",
        "languages": ["en", "es"],
        "consent": "outside",
        "withdrawn_answers": "ask",
        "link_valid_days": "10",
        **CLINICIAN_SETTINGS,
        "status": "open",
        "why": "a better name",
    }
    assert admin.post(reverse("study_settings", args=["OWN"]), data).status_code == 302
    event = AuditEvent.objects.get(action="change study")
    assert event.facts["old"] == {"title": "Study OWN", "link_valid_days": 30}
    assert event.facts["new"] == {"title": "Renamed", "link_valid_days": 10}
    assert (event.note.text, event.detail["amendment"]) == ("a better name", 1)


def test_what_a_superuser_changes_in_djangos_admin_is_told(kit: StudyKit) -> None:
    """Which table and row; its content is in the admin's own history."""
    root = make_user("root", is_superuser=True)
    User.objects.filter(pk=root.pk).update(is_staff=True)
    client = signed_in(root)
    data = {"username": "new", "usable_password": "true", "password1": PASSWORD, "password2": PASSWORD}
    assert client.post(reverse("admin:auth_user_add"), data).status_code == 302
    detail = AuditEvent.objects.get(action="change in Django's admin").detail
    assert (detail["what"], detail["table"]) == ("added", "auth.user")


# --- its page ---


@pytest.fixture
def auditor(kit: StudyKit) -> Client:
    return signed_in(make_member(kit, Member.Role.AUDITOR))


def test_the_page_lists_and_searches(kit: StudyKit, auditor: Client) -> None:
    """By person, action, text and day; a condition that cannot be read is left out."""
    other = make_study("OTHER")
    ada, ben = make_user("ada"), make_user("ben")
    for person, action, site, days in ((ada, "add site", "EASTSITE", 0), (ben, "add wave", "WESTWAVE", 2)):
        audit.record(
            study=kit.study, actor=person, action=action, detail={"code": site}, now=NOW + timedelta(days=days)
        )
    audit.record(study=other.study, actor=ada, action="add site", detail={"code": "FOREIGN"}, now=NOW)
    page = reverse("audit_trail", args=["OWN"])

    def shown(query: str) -> set[str]:
        body = auditor.get(page + query).content.decode()
        return {word for word in ("EASTSITE", "WESTWAVE", "FOREIGN") if word in body}

    assert shown("") == {"EASTSITE", "WESTWAVE"}
    assert shown(f"?person={ada.pk}") == {"EASTSITE"}
    assert shown("?action=add+wave") == {"WESTWAVE"}
    assert shown("?holds=easts") == {"EASTSITE"}
    assert shown("?since=2026-03-03") == {"WESTWAVE"}
    assert shown("?until=2026-03-03") == {"EASTSITE"}
    assert shown("?since=soon&person=x&action=nothing") == {"EASTSITE", "WESTWAVE"}
    assert "No line meets" in auditor.get(page + "?holds=nothing").content.decode()


def test_the_download_can_be_checked_elsewhere(kit: StudyKit, auditor: Client) -> None:
    """Each line's text and hashes, a typed reason harmless to spreadsheets; the download itself is in the trail."""
    audit.record(study=kit.study, actor=None, action="add site", detail={"code": "X"}, why="=1+1", now=NOW)
    response = auditor.get(reverse("audit_download", args=["OWN"]))
    rows = list(csv.DictReader(io.StringIO(b"".join(response.streaming_content).decode())))  # type: ignore[attr-defined]
    assert all(line_hash(row["prev_hash"], row["record"]) == row["hash"] for row in rows)
    assert [row["action"] for row in rows] == ["add site", "export audit trail"]
    assert rows[0]["why"] == "'=1+1"


def test_every_change_of_the_settings_pages_leaves_a_line(kit: StudyKit) -> None:
    """A row more in a table of the study is a line more in the trail."""
    admin = signed_in(make_member(kit, Member.Role.ADMIN))
    for name, data in (
        ("site_new", {"code": "EAST", "name": "East", "target_dyads": "4"}),
        ("clinician_new", {"site": str(kit.sites[0].pk), "code": "C77"}),
        ("wave_new", {"code": "retest", "label": "Retest", "position": "1"}),
        ("member_new", {"username": "new", "new_password": PASSWORD, "role": "auditor", "export": "none"}),
    ):
        before = len(actions())
        assert admin.post(reverse(name, args=["OWN"]), data).status_code == 302
        assert len(actions()) == before + 1
    assert Site.objects.filter(code="EAST").exists()
    assert list(audit.problems()) == []


def test_the_parts_of_a_line_are_told_in_words() -> None:
    """Names of columns and keys never stand on the page; truth values are words; a changed setting is named."""
    facts = {
        "detail": {"code": "S1", "fields": ["target_dyads"]},
        "old": {"target_dyads": 0, "name": ""},
        "new": {"target_dyads": 80, "name": "North"},
    }
    assert facts_words(facts) == [("code", "S1"), ("target number of dyads", "0 → 80"), ("name", "– → North")]
    with override("es"):
        told = facts_words({"detail": {"own_left_out": True, "codes_left": 7, "fields": ["link_valid_days"]}})
        assert told[:2] == [("sin pacientes propios", "sí"), ("códigos de recuperación restantes", "7")]
        assert told[2] == ("ajustes", "días que un enlace queda abierto")


def test_every_part_that_is_recorded_has_its_words() -> None:
    """Whatever a `detail` holds anywhere in the code is in the list of words: a new one fails here first."""
    keys = set()
    for path in (path for package in PACKAGES for path in (ROOT / package).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            named = getattr(node, "arg", "") or next(
                (getattr(one, "id", "") for one in getattr(node, "targets", [])), ""
            )
            if named == "detail" and isinstance(node, ast.keyword | ast.Assign):
                dictionaries = [one for one in ast.walk(node.value) if isinstance(one, ast.Dict)]
                keys |= {key.value for one in dictionaries for key in one.keys if isinstance(key, ast.Constant)}
    assert {"dyad", "wave", "own_left_out", "codes_left"} <= keys
    assert {key for key in keys if isinstance(key, str)} <= FACTS.keys()
