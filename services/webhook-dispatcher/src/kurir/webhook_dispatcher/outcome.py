"""What an HTTP answer, or its absence, means for a delivery. Pure.

Success is 2xx and nothing else: a redirect is a failure, because following it would leave the address that was
given and checked. 410 says that the endpoint is gone for good (Standard Webhooks specification).
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Literal, NamedTuple

MAX_RETRY_AFTER_S = 10 * 3600.0
"""A receiver may ask for no more than this; otherwise one header would end a delivery."""

_SLOW_DOWN = (429, 503)


class Verdict(NamedTuple):
    """`error` is a class of failure for the audit and for metrics; `retry_after_s` what the receiver asked for."""

    kind: Literal["delivered", "failed", "gone"]
    error: str | None = None
    retry_after_s: float | None = None


def of_answer(status: int, headers: Mapping[str, str], now: datetime) -> Verdict:
    """Judge an HTTP answer; `headers` have lower-case names, `now` is aware."""
    if 200 <= status < 300:
        return Verdict("delivered")
    if status == 410:
        return Verdict("gone", "http_410")
    retry_after_s = _retry_after_s(headers.get("retry-after"), now) if status in _SLOW_DOWN else None
    return Verdict("failed", _error_class(status), retry_after_s)


def of_failure(error: str) -> Verdict:
    """Judge an attempt without an answer: time ran out, no address, a forbidden one, a broken connection.

    All of these can be different the next time, a forbidden address as well: names are resolved for each attempt.
    """
    return Verdict("failed", error)


ERRORS = ("http_3xx", "http_4xx", "http_410", "http_429", "http_5xx", "http_503", "http_other")
"""Every error class that an answer can have."""


def _error_class(status: int) -> str:
    if status in _SLOW_DOWN:
        return f"http_{status}"
    return f"http_{status // 100}xx" if 300 <= status < 600 else "http_other"


def _retry_after_s(value: str | None, now: datetime) -> float | None:
    """Seconds of a Retry-After header (RFC 9110 section 10.2.3: a number or a date), from 0 to MAX_RETRY_AFTER_S."""
    if value is None:
        return None
    text = value.strip()
    if text.isascii() and text.isdigit():
        seconds = float(text[:12])
    else:
        try:
            at = parsedate_to_datetime(text)
        except ValueError:
            return None
        seconds = (at.replace(tzinfo=at.tzinfo or UTC) - now).total_seconds()
    return min(max(seconds, 0.0), MAX_RETRY_AFTER_S)
