"""What these APIs say when something is wrong. Pure.

At Fonnte's paths `{"status": false, "reason": …}`: the reason is one of Fonnte's own, word for word, and `detail` says
more and names the field. At the dashboard's paths under `/api` it is `{"error": …}`.
"""

from typing import Any, Final

from kurir.contracts.errors import ERRORS, ErrorCode
from kurir.contracts.states import SENTENCES, Reason

UNAUTHORIZED: Final = "Unauthorized: Invalid API Key."
DEVICE_OFFLINE: Final = "Failed to send message: Device is not connected"
GROUPS_OFFLINE: Final = "Device is not connected or session not active"
WRONG_MEDIA_TYPE: Final = "Unsupported media type. Use: 'image', 'video', 'document'"
SERVER_ERROR: Final = "Internal Server Error"

_REASONS: Final[dict[ErrorCode, tuple[int, str]]] = {
    "MISSING_API_KEY": (401, UNAUTHORIZED),
    "INVALID_API_KEY": (401, UNAUTHORIZED),
    "FORBIDDEN": (401, UNAUTHORIZED),
    "ACCOUNT_SUSPENDED": (403, "unknown user"),
    "QUOTA_EXCEEDED": (403, "insufficient quota"),
    "VALIDATION_ERROR": (400, "input invalid"),
    "INVALID_JSON": (400, "JSON format invalid"),
    "INVALID_RECIPIENT": (400, "target invalid"),
    "DEVICE_NOT_FOUND": (400, "invalid device"),
    "MESSAGE_NOT_FOUND": (400, "invalid message id"),
    "NOT_FOUND": (404, "not found"),
    "METHOD_NOT_ALLOWED": (405, "method not allowed"),
    "DEVICE_NOT_CONNECTED": (503, "request invalid on disconnected device"),
    "MEDIA_TOO_LARGE": (400, "file size must under 4MB"),
    "PAYLOAD_TOO_LARGE": (400, "file size must under 4MB"),
    "UNSUPPORTED_MEDIA_TYPE": (400, "file format not supported"),
    "MEDIA_FETCH_FAILED": (400, "url unreachable"),
    "URL_NOT_ALLOWED": (400, "url invalid"),
    "TOO_MANY_REQUESTS": (429, "too many requests"),
    "RATE_LIMIT_EXCEEDED": (429, "too many requests"),
    "BACKLOG_FULL": (429, "too many requests"),
}
"""Status and reason for Kurir's own codes. Others have Kurir's status and sentence, or are a server error."""

_NAME_OF_FIELD: Final = {"to": "target", "text": "message", "caption": "message", "sendAt": "schedule"}
"""What this API calls the fields that Kurir's own problems name."""

_WITHOUT_DETAIL: Final = frozenset({401, 500})


class Refused(Exception):
    """A request that is not carried out. `reason` is Fonnte's word, `detail` a sentence."""

    def __init__(self, status: int, reason: str, detail: str | None = None) -> None:
        self.status = status
        self.reason = reason
        self.detail = detail
        super().__init__(reason)


def invalid(field: str, detail: str) -> Refused:
    """A field that is missing or wrong."""
    return Refused(400, "input invalid", f"{field}: {detail}")


def of_kurir(code: ErrorCode, message: str, field: str | None = None) -> Refused:
    """One of Kurir's own errors, its sentence and the field that it names, in this API's words."""
    status, reason = _REASONS.get(code, (ERRORS[code].status, message))
    if status == 500:
        return Refused(500, SERVER_ERROR)
    if status in _WITHOUT_DETAIL or reason == message:
        return Refused(status, reason)
    return Refused(status, reason, f"{_NAME_OF_FIELD.get(field, field)}: {message}" if field else message)


def not_sent(reason: Reason | None) -> Refused:
    """A message that was accepted, and that the engine did not send."""
    return Refused(500, f"Failed to send message: {SENTENCES[reason] if reason else 'it was not sent.'}")


def body(refused: Refused, request_id: int | None = None) -> dict[str, Any]:
    """The body at Fonnte's paths; `request_id` is the request's number, where it has one."""
    told: dict[str, Any] = {"status": False, "reason": refused.reason}
    if refused.detail is not None:
        told["detail"] = refused.detail
    if request_id is not None:
        told["requestid"] = request_id
    return told


def dashboard(refused: Refused) -> dict[str, str]:
    """The body at the dashboard's paths."""
    return {"error": refused.reason}


def dashboard_of_kurir(code: ErrorCode, message: str) -> Refused:
    """One of Kurir's own errors in the words of the dashboard's paths."""
    match _REASONS.get(code, (ERRORS[code].status, ""))[0]:
        case 401:
            return Refused(401, UNAUTHORIZED)
        case 429:
            return Refused(429, "Too many requests")
        case 503 if code == "DEVICE_NOT_CONNECTED":
            return Refused(503, DEVICE_OFFLINE)
        case 500:
            return Refused(500, SERVER_ERROR)
        case status:
            return Refused(404 if code.endswith("_NOT_FOUND") else status, message)
