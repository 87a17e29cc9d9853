"""Writes answers: a line each into the log, and the questionnaire's row, by statements that are written out once.

A form is some seventy deliveries. Django builds the same INSERT and UPDATE anew for each, which took a third of what a
delivery cost; see `instruments.opening` for the statement that reads.
"""

from collections.abc import Iterable
from functools import cache
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connections, models
from django.db.backends.base.base import BaseDatabaseWrapper

from instruments.models import Administration, AnswerEvent

_Fields = tuple["models.Field[Any, Any]", ...]

_LINE: _Fields = tuple(field for field in AnswerEvent._meta.concrete_fields if not field.primary_key)
_SAVED = ("answers", "last_sequence", "status", "started_at", "language")
_ROW: _Fields = tuple(field for field in Administration._meta.concrete_fields if field.attname in _SAVED)


def append_events(events: Iterable[AnswerEvent]) -> None:
    """Add lines to the answer log; they get no primary key here.

    Raises
    ------
    django.db.IntegrityError
        If a questionnaire's sequence number is taken already.
    """
    connection = connections[DEFAULT_DB_ALIAS]
    values = [value for event in events for value in _values(_LINE, event, connection)]
    with connection.cursor() as cursor:
        cursor.execute(_insert(len(values) // len(_LINE)), values)


def save_answers(administration: Administration) -> None:
    """Write what answering changes of a questionnaire: answers, last sequence number, status, start and language."""
    connection = connections[DEFAULT_DB_ALIAS]
    with connection.cursor() as cursor:
        cursor.execute(_update(), [*_values(_ROW, administration, connection), administration.pk])


def _values(fields: _Fields, row: models.Model, connection: BaseDatabaseWrapper) -> list[Any]:
    return [field.get_db_prep_save(getattr(row, field.attname), connection) for field in fields]


@cache
def _insert(n_lines: int) -> str:
    quote = connections[DEFAULT_DB_ALIAS].ops.quote_name
    columns = ", ".join(quote(str(field.column)) for field in _LINE)
    line = f"({', '.join(['%s'] * len(_LINE))})"
    return f"INSERT INTO {quote(AnswerEvent._meta.db_table)} ({columns}) VALUES {', '.join([line] * n_lines)}"


@cache
def _update() -> str:
    quote = connections[DEFAULT_DB_ALIAS].ops.quote_name
    columns = ", ".join(f"{quote(str(field.column))} = %s" for field in _ROW)
    return f"UPDATE {quote(Administration._meta.db_table)} SET {columns} WHERE {quote('id')} = %s"
