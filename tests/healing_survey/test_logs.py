"""No log line holds the secret of a link."""

import io
import json
import logging
import sys
from typing import Any

import pytest
from django.test import Client

from healing_survey.logs import JsonLines, WithoutLinks
from instruments.definitions import Role
from tests.factories import finish, make_study, make_visit


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


def test_json_lines_hold_the_message_and_no_secret() -> None:
    """One object a line, whatever the message; a link's secret is cut out, in exceptions, too."""
    try:
        raise ValueError("/q/secret-token/ failed")
    except ValueError:
        record = logging.LogRecord(
            "x", logging.ERROR, __file__, 1, "GET /q/%s/\nfailed", ("secret-token",), sys.exc_info()
        )
    record.facts = {"status": 500}
    assert WithoutLinks().filter(record)
    line = JsonLines().format(record)
    assert "\n" not in line
    read = json.loads(line)
    assert (read["level"], read["status"], read["message"]) == ("ERROR", 500, "GET /q/…/\nfailed")
    assert "secret-token" not in line
    assert "ValueError" in read["exception"]


@pytest.mark.django_db
def test_a_requests_line_names_the_page_and_not_the_address(
    settings: Any, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    """The secret of a questionnaire's link stands in its address."""
    settings.LOG_REQUESTS = True
    with caplog.at_level(logging.INFO, logger="healing_survey.requests"):
        client.get("/q/secret-token/")
    (record,) = [one for one in caplog.records if one.name == "healing_survey.requests"]
    facts = record.facts  # type: ignore[attr-defined]
    assert (facts["page"], facts["status"], facts["user"]) == ("questionnaire", 404, None)
    assert "secret-token" not in JsonLines().format(record)


@pytest.mark.django_db
def test_metrics_count_and_need_their_token(settings: Any, client: Client) -> None:
    """Without the token, or where none is set, there is no such page; it holds no code."""
    finish(make_visit(make_study("SECRET")), Role.PATIENT)
    assert client.get("/metrics/").status_code == 404
    settings.METRICS_TOKEN = "right"
    assert client.get("/metrics/", headers={"Authorization": "Bearer wrong"}).status_code == 404
    body = client.get("/metrics/", headers={"Authorization": "Bearer right"}).content.decode()
    assert "healing_visits 1\n" in body
    assert 'healing_questionnaires{role="patient",status="completed"} 1\n' in body
    assert "healing_scoring_due 1\n" in body
    assert "SECRET" not in body
