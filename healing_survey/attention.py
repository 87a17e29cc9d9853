"""Messages of what needs a hand, for the pages that show them, and putting one away."""

from collections.abc import Callable, Mapping
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_POST

from analysis.attention import Message, messages_for
from studies.access import staff_page

PUT_AWAY = "messages_put_away"
MOST_PUT_AWAY = 50


def attention(request: HttpRequest) -> Mapping[str, Callable[[], list[Message]]]:
    """`attention` in templates: asked for only by pages that show it; without what the person has put away."""

    def messages() -> list[Message]:
        match = request.resolver_match
        code = None if match is None else match.kwargs.get("code")
        put_away = request.session.get(PUT_AWAY, [])
        return [one for one in messages_for(request.user, code=code) if one.key not in put_away]

    return {"attention": messages}


@staff_page
@require_POST
def put_away(request: HttpRequest) -> HttpResponse:
    """Not to be shown again until it changes, or until the next sign-in."""
    known: list[Any] = request.session.get(PUT_AWAY, [])
    request.session[PUT_AWAY] = [*known, request.POST.get("key", "")[:300]][-MOST_PUT_AWAY:]
    wanted = request.POST.get("next", "")
    is_ours = url_has_allowed_host_and_scheme(wanted, {request.get_host()}, require_https=request.is_secure())
    return redirect(wanted if is_ours else "home")
