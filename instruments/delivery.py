"""What a page's script sends: one answer, or all that waited on a device, read strictly.

An answer is never refused for what is said about it: a wrong clock or odd paradata are left out, the answer is kept.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NoReturn

from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest
from django.utils.dateparse import parse_datetime

from instruments.services import AnswerRefused, GivenAnswer

MAXIMUM_ANSWER_BYTES = 16 * 1024
MAXIMUM_DELIVERY_BYTES = 256 * 1024
MAXIMUM_DELIVERED_ANSWERS = 200

_ANSWER_KEYS = {"item", "value", "sequence"}
_DELIVERY_KEYS = {"language", "answers"}
_DIGEST = re.compile(r"[0-9a-f]{1,64}\Z")


class NotJson(AnswerRefused):
    """The body can't be read."""

    status = 400


class BodyTooLarge(AnswerRefused):
    """The body is larger than any answer, or than any device's queue."""

    status = 413


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """Answers that waited on a device, in the order of giving."""

    language: str
    answers: tuple[GivenAnswer, ...]
    finish: bool
    n_waiting: int | None  # how many more wait on this device, whoever gave them


def read_answer(request: HttpRequest) -> GivenAnswer:
    """The answer in a JSON body: a key that stands twice or a number that is none is refused.

    Raises
    ------
    AnswerRefused
        If the body is too large, is no JSON, or has not the keys item, value and sequence.
    """
    body = _read_object(request, MAXIMUM_ANSWER_BYTES)
    if not _ANSWER_KEYS <= body.keys() <= _ANSWER_KEYS | {"client_time"}:
        raise AnswerRefused("The body must have the keys item, value and sequence; client_time may be added.")
    client_time = _client_time(body.get("client_time"))
    if client_time is None and body.get("client_time") is not None:
        raise AnswerRefused("client_time must be an ISO 8601 time with its offset, like 2026-01-31T09:30:00Z.")
    return GivenAnswer(**_item_and_sequence(body), value=body["value"], client_time=client_time)


def read_delivery(request: HttpRequest, *, now: datetime) -> Delivery:
    """What a device's queue sends in a JSON body.

    Raises
    ------
    AnswerRefused
        If the body is too large, is no JSON, or is not `{"language": …, "answers": [{"item": …, "value": …,
        "sequence": …}, …]}` with, if wanted, `finish`, `sent_at` and `waiting`, and with `client_time`, `language` and
        `paradata` in each answer.
    """
    body = _read_object(request, MAXIMUM_DELIVERY_BYTES)
    if not _DELIVERY_KEYS <= body.keys() <= _DELIVERY_KEYS | {"finish", "sent_at", "waiting"}:
        raise AnswerRefused("The body must have the keys language and answers; finish, sent_at, waiting may be added.")
    answers, language = body["answers"], body["language"]
    if not isinstance(language, str) or not isinstance(answers, list):
        raise AnswerRefused("language must be a text and answers a list.")
    if len(answers) > MAXIMUM_DELIVERED_ANSWERS:
        raise AnswerRefused(f"A delivery holds at most {MAXIMUM_DELIVERED_ANSWERS} answers: send them in parts.")
    sent_at = _client_time(body.get("sent_at"))
    skew = None if sent_at is None else round((now - sent_at).total_seconds(), 1)
    waiting = body.get("waiting")
    return Delivery(
        language=language,
        answers=tuple(_delivered_answer(one, skew=skew) for one in answers),
        finish=body.get("finish") is True,
        n_waiting=waiting if _is_count(waiting, 1_000_000) else None,
    )


def read_paradata(sent: object, *, skew: float | None) -> dict[str, Any] | None:
    """How an answer was given, as far as it makes sense; None when nothing of it does.

    `ms` on screen by a monotonic clock, `shown` how often the question was, `changed` how often its answer, `portrait`
    and `offline` true or false, `text` the digest of the words that were shown, `skew` seconds that the device's clock
    was behind ours when it sent this.
    """
    if not isinstance(sent, Mapping):
        return None
    kept: dict[str, Any] = {}
    for name, highest in (("ms", 86_400_000), ("shown", 10_000), ("changed", 10_000)):
        if _is_count(sent.get(name), highest):
            kept[name] = sent[name]
    for name in ("portrait", "offline"):
        if isinstance(sent.get(name), bool):
            kept[name] = sent[name]
    if isinstance(sent.get("text"), str) and _DIGEST.match(sent["text"]):
        kept["text"] = sent["text"]
    if kept and skew is not None:
        kept["skew"] = skew
    return kept or None


def _delivered_answer(sent: object, *, skew: float | None) -> GivenAnswer:
    if not isinstance(sent, dict) or not (
        _ANSWER_KEYS <= sent.keys() <= _ANSWER_KEYS | {"client_time", "language", "paradata"}
    ):
        raise AnswerRefused(
            "Each answer must have the keys item, value and sequence; client_time, language, paradata may be added."
        )
    language = sent.get("language")
    return GivenAnswer(
        **_item_and_sequence(sent),
        value=sent["value"],
        client_time=_client_time(sent.get("client_time")),
        language=language if isinstance(language, str) else "",
        paradata=read_paradata(sent.get("paradata"), skew=skew),
    )


def _item_and_sequence(body: Mapping[str, Any]) -> dict[str, Any]:
    item, sequence = body["item"], body["sequence"]
    if not isinstance(item, str) or isinstance(sequence, bool) or not isinstance(sequence, int):
        raise AnswerRefused("item must be a text and sequence a whole number.")
    return {"item": item, "sequence": sequence}


def _is_count(value: object, highest: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= highest


def _read_object(request: HttpRequest, maximum_bytes: int) -> dict[str, Any]:
    try:
        too_large = len(request.body) > maximum_bytes
    except RequestDataTooBig:
        too_large = True
    if too_large:
        raise BodyTooLarge(f"The body must not be larger than {maximum_bytes} bytes.")
    try:
        body = json.loads(request.body, object_pairs_hook=_unique_keys, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise NotJson("The body must be one JSON object in UTF-8, each key once.") from error
    if not isinstance(body, dict):
        raise AnswerRefused("The body must be one JSON object.")
    return body


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("A key stands twice.")
    return found


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON.")


def _client_time(text: object) -> datetime | None:
    """The respondent's clock, in UTC; None where it is off by centuries (which databases can't store) or no time."""
    try:
        time = parse_datetime(text) if isinstance(text, str) and len(text) <= 40 else None
        if time is not None and time.tzinfo is not None and 2000 <= time.year <= 2200:
            return time.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    return None
