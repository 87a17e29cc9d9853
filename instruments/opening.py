"""Finds one questionnaire with all that its pages need, in one prepared statement.

A form of fifty items is some 140 requests, and each begins here. Django's `select_related` builds the same statement
anew every time, which took half of what a request cost; written out once, it takes a fifth of that.
"""

from functools import cache
from typing import TypeVar

from django.db import DEFAULT_DB_ALIAS, connections, models

from instruments.models import Administration, InstrumentVersion, hash_token
from studies.models import Dyad, Study, Visit, Wave

_Model = TypeVar("_Model", bound=models.Model)

#: What is read beside the administration itself: the columns of each table, in the order of the model's fields.
_VERSION = ("id", "content_hash")
_VISIT = ("id", "dyad_id", "wave_id")
_WAVE = ("id", "is_follow_up")
_DYAD = ("id", "study_id", "code")
_STUDY = ("id", "is_synthetic")


def administration_with_token(token: str) -> Administration:
    """The questionnaire that a link's secret opens.

    Raises
    ------
    Administration.DoesNotExist
        If no questionnaire has this link.
    """
    return _read("token_hash", hash_token(token), locked=False)


def locked_administration(administration_id: int) -> Administration:
    """One questionnaire, held until the end of the transaction so that two deliveries can't overtake each other.

    Raises
    ------
    Administration.DoesNotExist
        If there is none with this id.
    """
    return _read("id", administration_id, locked=True)


def _read(key: str, value: str | int, *, locked: bool) -> Administration:
    rows = list(Administration.objects.raw(_statement(key, locked), [value]))
    if not rows:
        raise Administration.DoesNotExist("No questionnaire has this link or id.")
    administration: Administration = rows[0]
    visit = _part(Visit, administration, "visit", _VISIT)
    visit.wave = _part(Wave, administration, "wave", _WAVE)
    visit.dyad = _part(Dyad, administration, "dyad", _DYAD)
    visit.dyad.study = _part(Study, administration, "study", _STUDY)
    administration.visit = visit
    administration.instrument_version = _part(InstrumentVersion, administration, "version", _VERSION)
    return administration


def _part(model: type[_Model], administration: Administration, alias: str, columns: tuple[str, ...]) -> _Model:
    """A related row; fields that were not read are deferred, as after `only()`."""
    values = [getattr(administration, f"{alias}__{column}") for column in columns]
    # Raw columns come as the database has them, and SQLite's truth values are numbers.
    truths = [bool(value) if name.startswith("is_") else value for name, value in zip(columns, values, strict=True)]
    return model.from_db(DEFAULT_DB_ALIAS, columns, truths)


@cache
def _statement(key: str, locked: bool) -> str:
    connection = connections[DEFAULT_DB_ALIAS]
    quote = connection.ops.quote_name

    def table(model: type[models.Model], alias: str) -> str:
        return f"{quote(model._meta.db_table)} {alias}"

    def columns(alias: str, names: tuple[str, ...]) -> list[str]:
        return [f"{alias}.{quote(name)} AS {quote(f'{alias}__{name}')}" for name in names]

    selected = [f"administration.{quote(field.attname)}" for field in Administration._meta.concrete_fields]
    selected += columns("version", _VERSION) + columns("visit", _VISIT) + columns("wave", _WAVE)
    selected += columns("dyad", _DYAD) + columns("study", _STUDY)
    lock = " FOR UPDATE OF administration" if locked and connection.features.has_select_for_update else ""
    return (
        f"SELECT {', '.join(selected)} FROM {table(Administration, 'administration')}"
        f" JOIN {table(InstrumentVersion, 'version')} ON version.id = administration.instrument_version_id"
        f" JOIN {table(Visit, 'visit')} ON visit.id = administration.visit_id"
        f" JOIN {table(Wave, 'wave')} ON wave.id = visit.wave_id"
        f" JOIN {table(Dyad, 'dyad')} ON dyad.id = visit.dyad_id"
        f" JOIN {table(Study, 'study')} ON study.id = dyad.study_id"
        f" WHERE administration.{quote(key)} = %s{lock}"
    )
