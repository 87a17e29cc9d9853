"""Which rows a request can reach at all: managers that give no row until a right was found, and then only its sites.

The rows of a site are kept from others by construction, not by remembering a filter: inside a staff member's request
the managers below give nothing, until `studies.access.study_for` has found the person's right to a study; from then on
they give that study's rows, at the sites of that right. Workers, commands and questionnaires opened by their link are
outside: what they may reach is decided by the row that they were given.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, TypeVar

from django.db import models

Row = TypeVar("Row", bound=models.Model)


@dataclass(slots=True, kw_only=True)
class Scope:
    """What the current request can reach: nothing, everything, or one study's sites (`site_ids` None: all of them)."""

    is_lifted: bool = False
    study_id: int | None = None
    site_ids: frozenset[int] | None = None
    #: What `study_for` looked up in this request: (user, study code) -> memberships.
    memberships: dict[tuple[int, str], list[Any]] = field(default_factory=dict)


_CURRENT: ContextVar[Scope | None] = ContextVar("scope", default=None)


def current() -> Scope | None:
    """The scope of the request that is being answered; None outside one."""
    return _CURRENT.get()


@contextmanager
def within(scope: Scope) -> Iterator[Scope]:
    """Everything in here reaches what `scope` lets it reach."""
    token = _CURRENT.set(scope)
    try:
        yield scope
    finally:
        _CURRENT.reset(token)


@contextmanager
def beyond_sites() -> Iterator[None]:
    """For figures over a whole study that give nobody's row away: the sites don't count in here, the study does."""
    scope = _CURRENT.get()
    if scope is None or scope.is_lifted:
        yield
        return
    with within(Scope(study_id=scope.study_id, site_ids=None)):
        yield


@contextmanager
def lifted() -> Iterator[None]:
    """For figures over the whole installation that give nobody's row away."""
    with within(Scope(is_lifted=True)):
        yield


def streamed(parts: Iterable[Any], scope: Scope) -> Iterator[Any]:
    """The parts of an answer that is made while it is sent: each is made in the request's scope, too."""
    iterator = iter(parts)
    while True:
        with within(scope):
            try:
                part = next(iterator)
            except StopIteration:
                return
        yield part


class ScopedManager(models.Manager[Row]):
    """Gives the rows in scope. A subclass says where a row's study and site are found."""

    study_path: str
    site_path: str

    def get_queryset(self) -> "models.QuerySet[Row]":
        """Every row outside requests; inside, what the request's right covers, and nothing before it was found."""
        rows = super().get_queryset()
        scope = _CURRENT.get()
        if scope is None or scope.is_lifted:
            return rows
        if scope.study_id is None:
            return rows.none()
        rows = rows.filter(**{self.study_path: scope.study_id})
        if scope.site_ids is not None:
            rows = rows.filter(**{f"{self.site_path}__in": scope.site_ids})
        return rows


def reach(study_id: int, site_ids: frozenset[int] | None) -> None:
    """From here on this request reaches the study's rows at these sites; outside a request nothing happens."""
    scope = _CURRENT.get()
    if scope is not None and not scope.is_lifted:
        scope.study_id, scope.site_ids = study_id, site_ids
