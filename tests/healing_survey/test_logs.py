"""No log line holds the secret of a link."""

import io
import logging
import sys

import pytest
from django.test import Client

from healing_survey.logs import WithoutLinks


def logged(message: str, *arguments: object, error: BaseException | None = None) -> str:
    """What a handler with the filter writes."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.addFilter(WithoutLinks())
    record = logging.LogRecord("test", logging.ERROR, __file__, 1, message, arguments, None)
    if error is not None:
        record.exc_info = (type(error), error, error.__traceback__)
    handler.handle(record)
    return stream.getvalue()


def test_the_secret_of_a_link_is_cut_out() -> None:
    """In messages, in their arguments and in tracebacks; the rest stays."""
    assert logged("Internal Server Error: %s", "/q/dGhlIHNlY3JldA/page/3/") == "Internal Server Error: /q/…/page/3/\n"
    try:
        raise ValueError("at http://x/q/dGhlIHNlY3JldA/")
    except ValueError:
        text = logged("broke", error=sys.exc_info()[1])
    assert "dGhlIHNlY3JldA" not in text
    assert "ValueError: at http://x/q/…/" in text


def test_other_lines_stay_as_they_are() -> None:
    """Nothing else is touched, per cent signs included."""
    assert logged("100 %% of %s", "/studies/DEMO/") == "100 % of /studies/DEMO/\n"


@pytest.mark.django_db
def test_a_broken_page_logs_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """The real logger of a real 500, through the settings' handler."""

    def broken(*args: object, **options: object) -> None:
        raise RuntimeError("planted")

    monkeypatch.setattr("instruments.views.administration_with_token", broken)
    stream = io.StringIO()
    handler = next(h for h in logging.getLogger().handlers if isinstance(h, logging.StreamHandler) and h.filters)
    old = handler.setStream(stream)
    try:
        response = Client(raise_request_exception=False).get("/q/dGhlIHNlY3JldA/")
    finally:
        handler.setStream(old)
    assert response.status_code == 500
    assert "planted" in stream.getvalue()
    assert "dGhlIHNlY3JldA" not in stream.getvalue()
