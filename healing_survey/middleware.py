"""Middleware of the whole site."""

from collections.abc import Callable

from django.contrib.auth.models import User
from django.core.exceptions import BadRequest
from django.http import Http404, HttpRequest, HttpResponse
from django.utils import timezone

from studies import audit
from studies.models import Study

_GetResponse = Callable[[HttpRequest], HttpResponse]

_HEADERS = {
    # Every page is made for one person at one time: no browser or proxy may keep it. Static files come before.
    "Cache-Control": "no-store, private",
    # Nothing is loaded from elsewhere, written into the page as a script or a style, shown in a frame or sent away.
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' data:; style-src 'self'; script-src 'self'; object-src 'none'; "
        "base-uri 'none'; frame-ancestors 'none'; form-action 'self'"
    ),
}


def guard_pages(get_response: _GetResponse) -> _GetResponse:
    """The headers that every page has, unless its view set stricter ones."""

    def middleware(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        for name, value in _HEADERS.items():
            response.headers.setdefault(name, value)
        return response

    return middleware


def refuse_nul(get_response: _GetResponse) -> _GetResponse:
    """No address, query or cookie of ours holds a NUL character, and PostgreSQL fails on one in a query's values.

    What is posted goes through forms, which refuse it beside the field. The link of a questionnaire is hashed before
    it is looked up; it passes, so that this unknown link is answered like any other.
    """

    def middleware(request: HttpRequest) -> HttpResponse:
        if "\0" in request.path_info and not request.path_info.startswith("/q/"):
            raise Http404
        query = request.META.get("QUERY_STRING", "")
        if "%00" in query or "\0" in query or any("\0" in value for value in request.COOKIES.values()):
            raise BadRequest("A request must hold no NUL character.")
        return get_response(request)

    return middleware


def record_refusals(get_response: _GetResponse) -> _GetResponse:
    """Whatever a signed-in person is refused is in the audit trail: which page of which study, not what was sent.

    What is not found counts as well: that is how a foreign study answers.
    """

    def middleware(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        match = request.resolver_match
        if response.status_code in (403, 404) and match is not None and isinstance(request.user, User):
            code = str(match.kwargs.get("code", ""))[:30]
            audit.record(
                study=Study.objects.filter(code=code).first() if code else None,
                actor=request.user,
                action="refused",
                detail={"page": match.view_name, "method": request.method, "status": response.status_code},
                now=timezone.now(),
            )
        return response

    return middleware
