"""What this API says when something is wrong: `{"success": false, "message", "code", "meta"}` and its HTTP status.

Wrong fields are also told one by one in `errors`, and limits in `retry_after` (seconds). Pure.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from kurir.contracts.errors import ErrorCode

Code = Literal[
    "MISSING_API_KEY",
    "INVALID_API_KEY",
    "MISSING_SIGNATURE_HEADERS",
    "INVALID_SIGNATURE",
    "TIMESTAMP_EXPIRED",
    "QUOTA_EXCEEDED",
    "DEVICE_NOT_ALLOWED",
    "IP_NOT_ALLOWED",
    "MISSING_DEVICE_CODE",
    "INVALID_JSON",
    "DEVICE_NOT_FOUND",
    "MESSAGE_NOT_FOUND",
    "NOT_FOUND",
    "METHOD_NOT_ALLOWED",
    "DEVICE_DISCONNECTED",
    "IDEMPOTENCY_CONFLICT",
    "MEDIA_TOO_LARGE",
    "UNSUPPORTED_MEDIA_TYPE",
    "VALIDATION_ERROR",
    "INVALID_RECIPIENT",
    "INVALID_MESSAGE_TYPE",
    "MEDIA_REQUIRED",
    "RATE_LIMIT_EXCEEDED",
    "INTERNAL_ERROR",
    "SERVICE_UNAVAILABLE",
]


class Kind(NamedTuple):
    status: int
    sentence: str


KINDS: dict[Code, Kind] = {
    "MISSING_API_KEY": Kind(401, "The X-API-KEY header is required."),
    "INVALID_API_KEY": Kind(401, "The API key is unknown or was revoked."),
    "MISSING_SIGNATURE_HEADERS": Kind(401, "The X-TIMESTAMP and X-SIGNATURE headers are required."),
    "INVALID_SIGNATURE": Kind(401, "The request signature does not match."),
    "TIMESTAMP_EXPIRED": Kind(401, "X-TIMESTAMP must be Unix seconds within 5 minutes of now."),
    "QUOTA_EXCEEDED": Kind(403, "Monthly quota exceeded or account suspended."),
    "DEVICE_NOT_ALLOWED": Kind(403, "This API key may not use this device."),
    "IP_NOT_ALLOWED": Kind(403, "Requests of this API key are not accepted from this address."),
    "MISSING_DEVICE_CODE": Kind(400, "The X-DEVICE-CODE header is required."),
    "INVALID_JSON": Kind(400, "The body is not valid JSON."),
    "DEVICE_NOT_FOUND": Kind(404, "There is no device with this code in your project."),
    "MESSAGE_NOT_FOUND": Kind(404, "There is no message with this id in your project."),
    "NOT_FOUND": Kind(404, "There is nothing at this path."),
    "METHOD_NOT_ALLOWED": Kind(405, "This path does not know this method."),
    "DEVICE_DISCONNECTED": Kind(409, "The device is not connected."),
    "IDEMPOTENCY_CONFLICT": Kind(409, "This X-REQUEST-ID was used for another message."),
    "MEDIA_TOO_LARGE": Kind(413, "The request or its media is too large."),
    "UNSUPPORTED_MEDIA_TYPE": Kind(
        415, "The media must be a file of type: jpeg, png, webp, pdf, doc, docx, mp4, mp3, ogg."
    ),
    "VALIDATION_ERROR": Kind(422, "The given data was invalid."),
    "INVALID_RECIPIENT": Kind(422, "The recipient must be a number with country code, or a group id."),
    "INVALID_MESSAGE_TYPE": Kind(422, "The type must be one of: text, image, document, video, audio."),
    "MEDIA_REQUIRED": Kind(422, "The media file is required unless type is text."),
    "RATE_LIMIT_EXCEEDED": Kind(429, "Too many requests; wait before you send the next one."),
    "INTERNAL_ERROR": Kind(500, "Something went wrong on our side."),
    "SERVICE_UNAVAILABLE": Kind(503, "The service is not available at the moment; nothing was accepted."),
}
"""The status of each code, and what is said when there is nothing more exact to say."""

OF_KURIR: dict[ErrorCode, Code] = {
    "MISSING_API_KEY": "MISSING_API_KEY",
    "INVALID_API_KEY": "INVALID_API_KEY",
    "FORBIDDEN": "INVALID_API_KEY",  # an operator's key is no project's
    "ACCOUNT_SUSPENDED": "QUOTA_EXCEEDED",
    "QUOTA_EXCEEDED": "QUOTA_EXCEEDED",
    "INVALID_JSON": "INVALID_JSON",
    "INVALID_RECIPIENT": "INVALID_RECIPIENT",
    "DEVICE_NOT_FOUND": "DEVICE_NOT_FOUND",
    "MESSAGE_NOT_FOUND": "MESSAGE_NOT_FOUND",
    "NOT_FOUND": "NOT_FOUND",
    "METHOD_NOT_ALLOWED": "METHOD_NOT_ALLOWED",
    "DEVICE_NOT_CONNECTED": "DEVICE_DISCONNECTED",
    "IDEMPOTENCY_CONFLICT": "IDEMPOTENCY_CONFLICT",
    "MEDIA_TOO_LARGE": "MEDIA_TOO_LARGE",
    "PAYLOAD_TOO_LARGE": "MEDIA_TOO_LARGE",
    "UNSUPPORTED_MEDIA_TYPE": "UNSUPPORTED_MEDIA_TYPE",
    "VALIDATION_ERROR": "VALIDATION_ERROR",
    "RATE_LIMIT_EXCEEDED": "RATE_LIMIT_EXCEEDED",
    "TOO_MANY_REQUESTS": "RATE_LIMIT_EXCEEDED",
    "BACKLOG_FULL": "RATE_LIMIT_EXCEEDED",
    "SERVICE_UNAVAILABLE": "SERVICE_UNAVAILABLE",
    "HISTORY_UNAVAILABLE": "SERVICE_UNAVAILABLE",
    "SESSION_UNOWNED": "SERVICE_UNAVAILABLE",
    "NO_ANSWER": "SERVICE_UNAVAILABLE",
    "OUTCOME_UNKNOWN": "SERVICE_UNAVAILABLE",
}
"""Kurir's own codes in this API's words; what is not here is an INTERNAL_ERROR."""

_KURIRS_SENTENCE: frozenset[Code] = frozenset(
    {"VALIDATION_ERROR", "MEDIA_TOO_LARGE", "UNSUPPORTED_MEDIA_TYPE", "SERVICE_UNAVAILABLE", "DEVICE_DISCONNECTED"}
)
"""Where Kurir's own sentence says more than this API's."""

_FIELD_OF_KURIR = {"to": "recipient", "file": "media", "text": "message", "caption": "message"}
"""What this API calls the fields that Kurir's own problems name."""

_FIELD_OF: dict[Code, str] = {
    "INVALID_RECIPIENT": "recipient",
    "INVALID_MESSAGE_TYPE": "type",
    "MEDIA_REQUIRED": "media",
    "MEDIA_TOO_LARGE": "media",
    "UNSUPPORTED_MEDIA_TYPE": "media",
}


class Refused(Exception):
    """A request that this API does not take. `errors` says what is wrong with each field."""

    def __init__(
        self, code: Code, message: str | None = None, *, errors: Mapping[str, Sequence[str]] | None = None
    ) -> None:
        self.code = code
        self.status = KINDS[code].status
        self.message = message or KINDS[code].sentence
        self.errors = {field: list(told) for field, told in (errors or {}).items()}
        if not self.errors and (field := _FIELD_OF.get(code)) is not None:
            self.errors = {field: [self.message]}
        super().__init__(self.message)


def of_kurir(code: ErrorCode, message: str, field: str | None) -> Refused:
    """One of Kurir's own errors, its sentence and the field that it names, in this API's words."""
    mine = OF_KURIR.get(code, "INTERNAL_ERROR")
    said = message if mine in _KURIRS_SENTENCE else None
    named = _FIELD_OF_KURIR.get(field, field) if field is not None and mine == "VALIDATION_ERROR" else None
    return Refused(mine, said, errors={named: [message]} if named else None)


def body(refused: Refused, server_id: str, *, retry_after_s: int | None = None) -> dict[str, Any]:
    """The body of an answer that is no success; `server_id` is the node that gives it."""
    told: dict[str, Any] = {"success": False, "message": refused.message, "code": refused.code}
    if refused.errors:
        told["errors"] = refused.errors
    if retry_after_s is not None:
        told["retry_after"] = retry_after_s
    return told | {"meta": {"server_id": server_id}}
