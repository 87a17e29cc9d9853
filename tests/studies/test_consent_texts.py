"""Versions of consent texts: which one counts, and that none ever changes."""

import hashlib

import pytest
from django.db import IntegrityError, transaction

from studies.consent_texts import missing_texts, starting_text, text_for, write_text
from studies.models import AuditEvent, ConsentText, Site
from studies.plain_text import unfilled
from tests.factories import NOW, StudyKit, make_study

pytestmark = pytest.mark.django_db


@pytest.fixture
def kit() -> StudyKit:
    return make_study("TEXTS", n_sites=2)


def write(kit: StudyKit, text: str, *, site: Site | None = None, language: str = "en") -> ConsentText | None:
    return write_text(study=kit.study, site=site, language=language, text=text, why="w", actor=None, now=NOW)


def read(kit: StudyKit, site: Site, language: str = "en") -> str | None:
    text = text_for(study=kit.study, site_id=site.pk, language=language)
    return text.text if text else None


def test_a_site_s_own_text_takes_the_place_of_the_study_s(kit: StudyKit) -> None:
    """In its language only, until it is emptied; another language is never shown instead."""
    first = kit.sites[0]
    write(kit, "for all")
    write(kit, "own", site=first)
    assert [read(kit, site) for site in kit.sites] == ["own", "for all"]
    assert read(kit, first, "es") is None
    write(kit, "", site=first)
    assert read(kit, first) == "for all"
    assert ConsentText.objects.count() == 3


def test_what_is_missing_is_named_by_site_and_language(kit: StudyKit) -> None:
    """A text of the study serves every site; a site's own serves that site alone."""
    first, second = kit.sites
    write(kit, "for all")
    write(kit, "propio", site=first, language="es")
    assert [(one.site, one.language) for one in missing_texts(kit.study, ("en", "es"))] == [(second, "es")]
    write(kit, "para todos", language="es")
    assert missing_texts(kit.study, ("en", "es")) == []


def test_a_version_is_numbered_hashed_traced_and_never_changed(kit: StudyKit) -> None:
    """The same words add nothing; the database itself refuses an update."""
    first = write(kit, "one\r\n")
    assert first is not None
    assert write(kit, "one") is None
    second = write(kit, "two")
    assert second is not None
    assert (first.number, second.number) == (1, 2)
    assert first.text_hash == hashlib.sha256(b"one").hexdigest()
    facts = AuditEvent.objects.order_by("sequence").last()
    assert facts is not None
    assert facts.facts["new"] == {"text_hash": second.text_hash}
    assert facts.note.text == "w"
    with pytest.raises(IntegrityError, match="never changed"), transaction.atomic():
        ConsentText.objects.filter(pk=first.pk).update(text="other")
    with pytest.raises(IntegrityError), transaction.atomic():
        first.save()
    assert read(kit, kit.sites[0]) == "two"


@pytest.mark.parametrize("language", ["en", "es"])
def test_the_ready_made_text_is_a_draft_that_mentions_the_times(language: str) -> None:
    """It says that it is a draft, leaves gaps, and tells that times and more are kept with the answers."""
    text = starting_text(language)
    assert text.startswith({"en": "[DRAFT", "es": "[BORRADOR"}[language])
    assert len(unfilled(text)) == 5
    told = {"en": ("time it took", "changed", "connection"), "es": ("tiempo que tomó", "cambió", "conexión")}
    assert all(word in text for word in told[language])
