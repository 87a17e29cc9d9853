"""Counts over all of a clinician's visits, kept so that pages need not count a whole study anew.

A tally is never added to: it is what a plain query counted (`register`), kept until something that it rests on changes.
Triggers in the database leave a mark for the clinician with every such change (`watch`), in the change's own
transaction, whoever makes it and how. Pages count a marked clinician themselves; a worker counts again what is marked,
and takes the marks away. So a tally can be old only together with its mark, and with the worker stopped pages become
slower, not wrong.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import connection, transaction

from studies.models import Clinician, Tally, TallyMark

#: From primary keys of clinicians to each one's figures, as JSON gives them back, and exactly the same at every count.
Counter = Callable[[Sequence[int]], Mapping[int, Any]]
#: Clinicians counted in one transaction: on SQLite everybody's writing waits meanwhile.
CHUNK = 2

_COUNTERS: dict[str, Counter] = {}
_WATCHED: dict[str, "Watched"] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """A table whose changes make tallies old. `clinicians` is SQL that finds whose, from a trigger's row `{row}`."""

    clinicians: str
    columns: tuple[str, ...]  # an update of others changes no count; none: every update may


def register(kind: str, counter: Counter) -> None:
    """Keep what `counter` finds under this name. A counter that comes to count otherwise needs another name."""
    _COUNTERS[kind] = counter


def watch(table: str, *, clinicians: str, columns: Sequence[str] = ()) -> None:
    """Mark the clinicians found by the SQL whenever rows come, go, or change in these columns (none: in any)."""
    _WATCHED[table] = Watched(clinicians=clinicians, columns=tuple(columns))


def figures(kind: str, clinician_ids: Sequence[int]) -> dict[int, Any]:
    """Each clinician's figures as they are now. Two queries, and those of the counter for clinicians who are marked."""
    # The marks first: a worker may count and take marks away in between, and then the newer tally is read.
    marked = set(TallyMark.objects.values_list("clinician_id", flat=True).distinct())
    fresh = [pk for pk in clinician_ids if pk not in marked]
    found = dict(Tally.objects.filter(kind=kind, clinician__in=fresh).values_list("clinician_id", "figures"))
    if missing := [pk for pk in clinician_ids if pk not in found]:
        found |= _COUNTERS[kind](missing)
    return found


def refresh(*, clock: Callable[[], datetime], seconds: float | None = None) -> int:
    """Count again what is marked, or as much as fits into `seconds`; the number of clinicians counted."""
    until = None if seconds is None else clock() + timedelta(seconds=seconds)
    marked = list(TallyMark.objects.order_by("clinician_id").values_list("clinician_id", flat=True).distinct())
    n_counted = 0
    for start in range(0, len(marked), CHUNK):
        if until is not None and clock() >= until:
            break
        n_counted += _count_again(marked[start : start + CHUNK])
    return n_counted


@transaction.atomic
def _count_again(clinician_ids: Sequence[int]) -> int:
    # One worker at a time for each clinician: an older count must never be stored over a newer one.
    clinicians = Clinician.objects.select_for_update(no_key=True).filter(pk__in=clinician_ids).order_by("pk")
    ids = list(clinicians.values_list("pk", flat=True))
    # Away with the marks *before* counting: what is committed in between is counted, and its mark stays.
    TallyMark.objects.filter(clinician_id__in=clinician_ids).delete()
    counted = [
        Tally(clinician_id=pk, kind=kind, figures=one)
        for kind, counter in _COUNTERS.items()
        for pk, one in counter(ids).items()
    ]
    Tally.objects.bulk_create(
        counted, update_conflicts=True, unique_fields=["clinician", "kind"], update_fields=["figures"]
    )
    return len(ids)


def wrong_tallies() -> Iterator[tuple[int, str]]:
    """Clinician and kind of every kept tally that is not marked and yet differs from a fresh count: there are none."""
    for pk in Clinician.objects.order_by("pk").values_list("pk", flat=True):
        with transaction.atomic():
            Clinician.objects.select_for_update(no_key=True).get(pk=pk)  # no worker counts again meanwhile
            kept = dict(Tally.objects.filter(clinician=pk).values_list("kind", "figures"))
            counted = {kind: _COUNTERS[kind]([pk])[pk] for kind in kept if kind in _COUNTERS}
            if not TallyMark.objects.filter(clinician_id=pk).exists():
                yield from ((pk, kind) for kind, one in counted.items() if kept[kind] != one)


def mark_all() -> None:
    """Let everything be counted again."""
    TallyMark.objects.bulk_create(
        (TallyMark(clinician_id=pk) for pk in Clinician.objects.values_list("pk", flat=True)), batch_size=500
    )


# --- the triggers ---


def prepare(**_: Any) -> None:
    """After every migration: the triggers as they should be, and everything counted again if they were not.

    Not in a migration, because SQLite loses a table's triggers when a later migration makes the table anew.
    """
    tables = set(connection.introspection.table_names())
    if TallyMark._meta.db_table not in tables:
        return
    wanted = {name: sql for table, watched in _WATCHED.items() if table in tables for name, sql in _sql(table, watched)}
    present = _present()
    with connection.cursor() as cursor:
        for name in present - wanted.keys():
            drop = "DROP TRIGGER {}" if connection.vendor == "sqlite" else "DROP FUNCTION {} CASCADE"
            cursor.execute(drop.format(name))
        missing = [name for name in wanted if name not in present]
        for name in missing:
            for statement in wanted[name]:
                cursor.execute(statement)
    stored = set(Tally.objects.values_list("kind", flat=True).distinct())
    if missing or stored - _COUNTERS.keys() or (stored and _COUNTERS.keys() - stored):
        Tally.objects.exclude(kind__in=_COUNTERS).delete()
        mark_all()


def _present() -> set[str]:
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute("SELECT name FROM sqlite_master WHERE type = 'trigger' AND name LIKE 'tally!_%' ESCAPE '!'")
        else:
            cursor.execute("SELECT tgname FROM pg_trigger WHERE tgname LIKE 'tally!_%' ESCAPE '!' AND NOT tgisinternal")
        return {name for (name,) in cursor.fetchall()}


def _sql(table: str, watched: Watched) -> Iterator[tuple[str, list[str]]]:
    """(name, statements) of the table's triggers; the name holds a digest, so that a changed one is seen."""
    differs = "IS NOT" if connection.vendor == "sqlite" else "IS DISTINCT FROM"
    changed = " OR ".join(f"OLD.{column} {differs} NEW.{column}" for column in watched.columns)
    condition_of_update = f"WHEN ({changed})" if changed else ""
    for event, rows, condition in (
        ("INSERT", ("NEW",), ""),
        ("DELETE", ("OLD",), ""),
        ("UPDATE", ("OLD", "NEW"), condition_of_update),
    ):
        whose = " UNION ".join(watched.clinicians.format(row=row) for row in rows)
        insert = f"INSERT INTO {TallyMark._meta.db_table} (clinician_id) {whose}"
        digest = hashlib.sha256(f"{insert} {condition}".encode()).hexdigest()[:8]
        name = f"tally_{table}_{event.lower()}_{digest}"
        if connection.vendor == "sqlite":
            yield name, [f"CREATE TRIGGER {name} AFTER {event} ON {table} {condition} BEGIN {insert}; END"]
        else:
            yield (
                name,
                [
                    f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS "
                    f"$$ BEGIN {insert}; RETURN NULL; END $$",
                    f"CREATE TRIGGER {name} AFTER {event} ON {table} FOR EACH ROW {condition} "
                    f"EXECUTE FUNCTION {name}()",
                ],
            )
