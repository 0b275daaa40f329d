"""Failures in this API's words: `{"status": "error", "message", "timestamp"}`, and with which HTTP status. Pure.

The API knows the statuses 400, 401, 404, 429, 500 and 503 alone; everything is told by one of them.
"""

from datetime import UTC, datetime
from typing import Any

from kurir.contracts.errors import ERRORS, ErrorCode
from kurir.contracts.states import SENTENCES, Reason
from kurir.dialects.baileys_gateway.files import FileType

UNAUTHORIZED = "Unauthorized: Invalid or missing API key"
NOT_CONNECTED = "Bot not connected"
TOO_MANY = "Too many requests. Please try again later."
NO_ENDPOINT = "Endpoint not found"

REQUESTS_PER_WINDOW = 100
WINDOW_S = 3600
"""The limit for one IP address, as the document states it."""


class Failure(Exception):
    """An answer other than success. `limit` is told with `window` (seconds) when one was reached."""

    def __init__(self, status: int, message: str, *, limit: int | None = None, window_s: int = WINDOW_S) -> None:
        self.status = status
        self.message = message
        self.limit = limit
        self.window_s = window_s
        super().__init__(message)

    def body(self, at: datetime) -> dict[str, Any]:
        """What is answered at the time `at`, which has a zone."""
        body: dict[str, Any] = {"status": "error", "message": self.message, "timestamp": iso(at)}
        if self.limit is not None:
            body |= {"limit": self.limit, "window": self.window_s}
        return body


def iso(at: datetime) -> str:
    """As JavaScript's toISOString writes it: UTC, milliseconds, Z."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def wrong_type(files: FileType) -> Failure:
    return Failure(400, f"Invalid file type. Allowed: {files.allowed}")


def too_large(files: FileType) -> Failure:
    return Failure(400, f"File too large. Maximum size: {files.max_mib}MB")


def too_many(limit: int) -> Failure:
    """The limit of an IP address is reached."""
    return Failure(429, TOO_MANY, limit=limit)


def not_sent(reason: Reason | None, detail: str | None) -> Failure:
    """The engine did not send the message, or did not say that it did."""
    why = SENTENCES[reason] if reason is not None else "The message was not sent."
    return Failure(500, f"Failed to send message: {why}" + (f" ({detail})" if detail else ""))


def failure_of(code: ErrorCode, message: str) -> Failure:
    """What this API says of a failure that the gateway names by `code`; `message` is the gateway's own sentence."""
    match code:
        case "MISSING_API_KEY" | "INVALID_API_KEY":
            return Failure(401, UNAUTHORIZED)
        case "FORBIDDEN" | "ACCOUNT_SUSPENDED":
            return Failure(401, f"Unauthorized: {message}")
        case "NOT_FOUND" | "METHOD_NOT_ALLOWED":
            return Failure(404, NO_ENDPOINT)
        case "DEVICE_NOT_CONNECTED":
            return Failure(503, NOT_CONNECTED)
        case "DEVICE_NOT_FOUND" | "TENANT_NOT_FOUND":  # no request names either: it is the key that leads to none
            return Failure(503, f"{NOT_CONNECTED}: {message}")
        case "INVALID_RECIPIENT":
            return Failure(400, "Invalid phone number")
        case "PAYLOAD_TOO_LARGE" | "MEDIA_TOO_LARGE":
            return Failure(400, "File too large")
    status = ERRORS[code].status
    if status in (429, 503):
        return Failure(status, TOO_MANY if status == 429 else message)
    return Failure(400 if status < 500 else 500, message if status < 500 else f"Failed to send message: {message}")
