"""Logs hold no secret: the address of a questionnaire opens it, so it is cut out of every line."""

import logging
import re

_LINK = re.compile(r"(/q/)[^/\s\"'<>]+")


class WithoutLinks(logging.Filter):
    """Replaces the secret in any `/q/<secret>/` of a record's message."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Rewrite the finished message; a record is never held back."""
        message = record.getMessage()
        if "/q/" in message:
            record.msg, record.args = _LINK.sub(r"\1…", message), None
        if record.exc_info and not record.exc_text:
            record.exc_text = _LINK.sub(r"\1…", logging.Formatter().formatException(record.exc_info))
        return True
