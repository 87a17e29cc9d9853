"""What makes a browser a site's tablet: two cookies, and the one questionnaire that they let it show.

The first says which tablet this is. The second names the questionnaire that is open on it; it goes when the tablet is
given back, paused or finished. As long as the first is there, every other patient's page sends the browser to the
tablet's own page: Back, Forward, the history and old links lead nowhere else. Both are compared without a look into the
database, so a questionnaire's pages cost what they did.
"""

from datetime import datetime

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.template import loader
from django.utils import translation

from instruments import devices, hand_over
from instruments.models import hash_token

#: As long as browsers keep a cookie at all; made anew whenever the tablet's own page is shown.
KEPT_SECONDS = 400 * 24 * 60 * 60
#: A questionnaire that was left open overnight is locked in the morning.
OPEN_SECONDS = 12 * 60 * 60
_CLOSED = "closed"


def secret_of(request: HttpRequest) -> str:
    """The tablet's own secret; blank for a browser that is none."""
    return request.COOKIES.get(settings.DEVICE_COOKIE, "")[:64]


def is_tablet(request: HttpRequest) -> bool:
    """Whether this browser was made a tablet once, be it revoked since."""
    return bool(secret_of(request))


def shows_form(request: HttpRequest, token_hash: str) -> bool:
    """Whether the questionnaire with this hash is the one that is open on this tablet."""
    return request.COOKIES.get(_form_cookie()) == _mark(token_hash)


def holds_another(request: HttpRequest, token: str) -> bool:
    """Whether this is a tablet, and another questionnaire or none is open on it."""
    return is_tablet(request) and not shows_form(request, hash_token(token))


def make_tablet(request: HttpRequest, response: HttpResponse, secret: str) -> None:
    """From here on this browser is the tablet with this secret."""
    _set(request, response, settings.DEVICE_COOKIE, secret, KEPT_SECONDS)


def open_form(request: HttpRequest, response: HttpResponse, token: str) -> None:
    """From here on this tablet shows this questionnaire."""
    _set(request, response, _form_cookie(), _mark(hash_token(token)), OPEN_SECONDS)


def close_form(request: HttpRequest, response: HttpResponse) -> None:
    """Stopped, paused or finished: no questionnaire shows any more until one is opened anew.

    The changed cookie also makes browsers drop the pages that they keep for Back.
    """
    _set(request, response, _form_cookie(), _CLOSED, OPEN_SECONDS)


def was_closed(request: HttpRequest) -> bool:
    """Whether the questionnaire was closed on this tablet, rather than never having arrived."""
    return request.COOKIES.get(_form_cookie()) == _CLOSED


def await_form(response: HttpResponse) -> None:
    """The tablet waits for its next questionnaire."""
    response.delete_cookie(_form_cookie(), samesite="Lax")


def forget_tablet(response: HttpResponse) -> None:
    """This browser is no tablet any more."""
    response.delete_cookie(settings.DEVICE_COOKIE, samesite="Lax")
    await_form(response)


def open_typed(request: HttpRequest, response: HttpResponse, token: str, *, now: datetime) -> None:
    """A patient has typed this questionnaire's code on a tablet: it opens, if the tablet is free for it."""
    secret = secret_of(request)
    device = devices.device_with_secret(secret)
    if device is None:
        forget_tablet(response)
    elif hand_over.open_here(device=device, secret=secret, token=token, with_code=True, now=now):
        open_form(request, response, token)


def offer_return(response: HttpResponse) -> None:
    """Puts the way to the front desk under a patient's page."""
    if b"</main>" not in response.content:
        return
    with translation.override(response.headers.get("Content-Language", "en")):
        line = loader.get_template("tablets/give_back.html").render().strip()
    response.content = response.content.replace(b"</main>", b"</main>\n" + line.encode(), 1)


def _form_cookie() -> str:
    return f"{settings.DEVICE_COOKIE}_form"


def _mark(token_hash: str) -> str:
    return token_hash[:32]


def _set(request: HttpRequest, response: HttpResponse, name: str, value: str, seconds: int) -> None:
    # Lax: a link that the tablet's camera has read must find out that this is a tablet.
    response.set_cookie(
        name, value, max_age=seconds, path="/", secure=request.is_secure(), httponly=True, samesite="Lax"
    )
