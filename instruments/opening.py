"""Finds one questionnaire with all that its pages need, in one prepared statement.

A form of fifty items is some 140 requests, and each begins here. Django's `select_related` builds the same statement
anew every time, which took half of what a request cost; written out once, it takes a tenth of that.
"""

from collections.abc import Iterator
from functools import cache
from itertools import islice
from typing import Any, TypeVar

from django.db import DEFAULT_DB_ALIAS, connections, models
from django.db.models.expressions import Expression

from instruments.models import Administration, InstrumentVersion, RatingPass, hash_token
from studies.models import Dyad, Study, Visit, Wave

_Model = TypeVar("_Model", bound=models.Model)

#: The columns that are read of each table, in the order of the model's fields.
_OWN = tuple(one.attname for one in Administration._meta.concrete_fields if one.attname != "item_order")
_VERSION = ("id", "content_hash")
_VISIT = ("id", "dyad_id", "wave_id")
_WAVE = ("id", "code", "is_follow_up")
_DYAD = ("id", "study_id", "code")
_STUDY = ("id", "code", "is_synthetic", "languages", "consent")
_TABLES: tuple[tuple[type[models.Model], str, tuple[str, ...]], ...] = (
    (Administration, "administration", _OWN),
    (InstrumentVersion, "version", _VERSION),
    (Visit, "visit", _VISIT),
    (Wave, "wave", _WAVE),
    (Dyad, "dyad", _DYAD),
    (Study, "study", _STUDY),
)


def administration_with_token(token: str) -> Administration:
    """The questionnaire that a secret opens: a link's, or a clinician's pass from the inbox.

    Raises
    ------
    Administration.DoesNotExist
        If no questionnaire has this link.
    """
    return _with_token(token, locked=False)


def locked_administration(administration_id: int) -> Administration:
    """One questionnaire, held until the end of the transaction so that two deliveries can't overtake each other.

    Raises
    ------
    Administration.DoesNotExist
        If there is none with this id.
    """
    return _read("id", administration_id, locked=True)


def locked_administration_with_token(token: str) -> Administration:
    """The questionnaire that a link's secret opens, held as by `locked_administration`.

    Raises
    ------
    Administration.DoesNotExist
        If no questionnaire has this link.
    """
    return _with_token(token, locked=True)


def _with_token(token: str, *, locked: bool) -> Administration:
    token_hash = hash_token(token)
    try:
        return _read("token_hash", token_hash, locked=locked)
    except Administration.DoesNotExist:
        administration_id = (
            RatingPass.objects.in_use().filter(token_hash=token_hash).values_list("administration", flat=True).first()
        )
        if administration_id is None:
            raise
    return _read("id", administration_id, locked=locked)


def _read(key: str, value: str | int, *, locked: bool) -> Administration:
    connection = connections[DEFAULT_DB_ALIAS]
    with connection.cursor() as cursor:
        cursor.execute(_statement(key, locked), [value])
        row = cursor.fetchone()
    if row is None:
        raise Administration.DoesNotExist("No questionnaire has this link or id.")
    values = list(row)
    for place, expression, converters in _converters():
        for convert in converters:
            values[place] = convert(values[place], expression, connection)
    remaining = iter(values)
    administration = _part(Administration, _OWN, remaining)
    administration.instrument_version = _part(InstrumentVersion, _VERSION, remaining)
    administration.visit = visit = _part(Visit, _VISIT, remaining)
    visit.wave = _part(Wave, _WAVE, remaining)
    visit.dyad = _part(Dyad, _DYAD, remaining)
    visit.dyad.study = _part(Study, _STUDY, remaining)
    return administration


def _part(model: type[_Model], columns: tuple[str, ...], values: Iterator[Any]) -> _Model:
    """The next columns as a row of this model; its fields that were not read are deferred, as after `only()`."""
    return model.from_db(DEFAULT_DB_ALIAS, columns, list(islice(values, len(columns))))


@cache
def _converters() -> tuple[tuple[int, Expression, list[Any]], ...]:
    """What turns a raw column into the value of its field (SQLite knows neither times nor truth values)."""
    connection = connections[DEFAULT_DB_ALIAS]
    found = []
    fields = [(model, name) for model, _, columns in _TABLES for name in columns]
    by_column = {model: {field.attname: field for field in model._meta.concrete_fields} for model, _, _ in _TABLES}
    for place, (model, name) in enumerate(fields):
        field = by_column[model][name]
        expression = field.get_col(model._meta.db_table)
        converters = [*connection.ops.get_db_converters(expression), *expression.get_db_converters(connection)]
        if converters:
            found.append((place, expression, converters))
    return tuple(found)


@cache
def _statement(key: str, locked: bool) -> str:
    connection = connections[DEFAULT_DB_ALIAS]
    quote = connection.ops.quote_name
    table = {model: f"{quote(model._meta.db_table)} {alias}" for model, alias, _ in _TABLES}
    selected = [f"{alias}.{quote(name)}" for _, alias, columns in _TABLES for name in columns]
    lock = " FOR UPDATE OF administration" if locked and connection.features.has_select_for_update else ""
    return (
        f"SELECT {', '.join(selected)} FROM {table[Administration]}"
        f" JOIN {table[InstrumentVersion]} ON version.id = administration.instrument_version_id"
        f" JOIN {table[Visit]} ON visit.id = administration.visit_id"
        f" JOIN {table[Wave]} ON wave.id = visit.wave_id"
        f" JOIN {table[Dyad]} ON dyad.id = visit.dyad_id"
        f" JOIN {table[Study]} ON study.id = dyad.study_id"
        f" WHERE administration.{quote(key)} = %s AND administration.withdrawn_at IS NULL{lock}"
    )
