"""Logs hold no secret: the address of a questionnaire opens it, so it is cut out of every line."""

import json
import logging
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime

from django.conf import settings
from django.http import HttpRequest, HttpResponse

_LINK = re.compile(r"(/q/|/invitations/|/sign-in/link/)[^/\s\"'<>]+")


class WithoutLinks(logging.Filter):
    """Replaces the secret in any `/q/<secret>/` of a record's message, and in the links that e-mails bring."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Rewrite the finished message; a record is never held back."""
        message = record.getMessage()
        if _LINK.search(message):
            record.msg, record.args = _LINK.sub(r"\1…", message), None
        if record.exc_info and not record.exc_text:
            record.exc_text = _LINK.sub(r"\1…", logging.Formatter().formatException(record.exc_info))
        return True


class JsonLines(logging.Formatter):
    """One JSON object a line, for a collector: when, how grave, from where, what; and a request's few facts."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as JSON; an exception as text in it."""
        told = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "facts", {}),
        }
        if record.exc_info or record.exc_text:
            told["exception"] = record.exc_text or self.formatException(record.exc_info or (None, None, None))
        return json.dumps(told, ensure_ascii=False, default=str)


def log_requests(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """One line a request where LOG_REQUESTS asks for it: the URL's name, never the address, which can hold a secret."""
    logger = logging.getLogger("healing_survey.requests")

    def middleware(request: HttpRequest) -> HttpResponse:
        if not settings.LOG_REQUESTS:
            return get_response(request)
        start = time.perf_counter()
        response = get_response(request)
        match = request.resolver_match
        facts = {
            "page": match.view_name if match is not None else None,
            "method": request.method,
            "status": response.status_code,
            "milliseconds": round(1000 * (time.perf_counter() - start), 1),
            "user": getattr(getattr(request, "user", None), "pk", None),
        }
        logger.info("request", extra={"facts": facts})
        return response

    return middleware
