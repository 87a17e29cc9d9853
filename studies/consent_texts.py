"""What patients read before they agree: versions of a text for each language, the study's or a site's own."""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Q

from studies import audit
from studies.models import ConsentText, Site, Study
from studies.plain_text import normalised

_STARTING_TEXTS = Path(__file__).parent / "starting_texts"
MAXIMUM_LENGTH = 8000  # characters: some four pages

#: A place (a site's id, or None for the study) and a language.
Place = tuple[int | None, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class MissingText:
    """A site whose patients would find no text in this language; `site` is None where the study has no site yet."""

    site: Site | None
    language: str


def text_hash(text: str) -> str:
    """By which a text is recognised: SHA-256 (hex) of its UTF-8."""
    return hashlib.sha256(text.encode()).hexdigest()


def starting_text(language: str) -> str:
    """A draft to adapt with the ethics board; English where there is none in this language."""
    path = _STARTING_TEXTS / f"consent.{language}.txt"
    return normalised((path if path.is_file() else _STARTING_TEXTS / "consent.en.txt").read_text(encoding="utf-8"))


def newest_texts(study: Study) -> dict[Place, ConsentText]:
    """The newest version of each place and language, also those that end a site's own text. One query."""
    versions = ConsentText.objects.filter(study=study).order_by("number")
    return {(version.site_id, version.language): version for version in versions}


def counting_text(newest: dict[Place, ConsentText], *, site_id: int | None, language: str) -> ConsentText | None:
    """What a site's patients read: the site's own text, or else the study's."""
    own = newest.get((site_id, language))
    return own if own is not None and own.text else newest.get((None, language))


def text_for(*, study: Study, site_id: int, language: str) -> ConsentText | None:
    """What a patient of this site reads in this language; None where nobody has written it."""
    versions = ConsentText.objects.filter(Q(site=site_id) | Q(site=None), study=study, language=language)
    newest = {(version.site_id, version.language): version for version in versions.order_by("number")}
    return counting_text(newest, site_id=site_id, language=language)


def missing_texts(study: Study, languages: tuple[str, ...]) -> list[MissingText]:
    """Where a patient would find no text; empty when every site has one in each of these languages. Two queries."""
    newest = newest_texts(study)
    sites: list[Site | None] = list(study.sites.all()) or [None]
    return [
        MissingText(site=site, language=language)
        for language in languages
        for site in sites
        if counting_text(newest, site_id=site.pk if site else None, language=language) is None
    ]


@transaction.atomic
def write_text(
    *, study: Study, site: Site | None, language: str, text: str, why: str, actor: User | None, now: datetime
) -> ConsentText | None:
    """Add a version; None, and nothing added, when the newest one says the same.

    An empty text ends a site's own one; the study's cannot be empty. Raises `IntegrityError` when somebody else has
    added a version in the same moment.
    """
    text = normalised(text)
    versions = ConsentText.objects.filter(study=study, site=site, language=language)
    before = versions.order_by("-number").first()
    if (before.text if before else "") == text:
        return None
    version = ConsentText(
        study=study,
        site=site,
        language=language,
        number=before.number + 1 if before else 1,
        text=text,
        text_hash=text_hash(text),
        why=why,
        written_by=actor,
        written_at=now,
    )
    version.save()
    audit.record(
        study=study,
        actor=actor,
        action="write consent text",
        detail={"site": site.code if site else None, "language": language, "version": version.number},
        why=why,
        old={"text_hash": before.text_hash if before else None},
        new={"text_hash": version.text_hash},
        now=now,
    )
    return version
