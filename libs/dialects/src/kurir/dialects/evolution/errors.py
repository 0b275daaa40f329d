"""What this API says when something is wrong: `{"status", "error", "response": {"message"}}`. Pure.

Findings about a body are a list inside the list of messages, as the original has them.
"""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, Final

from kurir.contracts.errors import ErrorCode

NO_BUTTONS = "Method not available on WhatsApp Baileys"
NO_TEMPLATES = "Method not available in the Baileys service"
NO_TOKENS = "There are no JWT tokens here: keys do not expire, and are rotated by POST /auth/rotate-key"
NOT_MEDIA = "Owned media must be a url or base64"
NO_FILE_NAME = "For base64 the file name must be informed."
KEY_TAKEN = "Token already exists"
BAD_URL = 'Invalid "url" property'
OFFLINE = "Connection Closed"

_FIELDS: Final = {
    "to": "number",
    "mentions": "mentioned",
    "audience": "statusJidList",
    "members": "participants",
    "link": "inviteCode",
}
"""What this API's clients call fields of the native one. Fields of lists are named with their index: `mentions[0]`."""


class Refused(Exception):
    """A request that this API refuses in words of its own."""

    def __init__(self, message: str, status: int = 400) -> None:
        self.message = message
        self.status = status
        super().__init__(message)


def body(status: int, message: Any) -> dict[str, Any]:
    """An error with its status' own name; `message` is a list, but a plain text of 401 and 500."""
    return {"status": status, "error": HTTPStatus(status).phrase, "response": {"message": message}}


def unauthorized() -> dict[str, Any]:
    return body(401, "Unauthorized")


def invalid(messages: Sequence[str]) -> dict[str, Any]:
    return body(400, [list(messages)])


def refused(refusal: Refused) -> dict[str, Any]:
    return body(refusal.status, [refusal.message])


def not_on_whatsapp(*, jid: str, number: str) -> dict[str, Any]:
    return body(400, [{"exists": False, "jid": jid, "number": number}])


def name_taken(name: str) -> dict[str, Any]:
    return body(403, [f'This name "{name}" is already in use.'])


def no_instance(name: str) -> dict[str, Any]:
    return body(404, [f'The "{name}" instance does not exist'])


def not_connected(name: str) -> dict[str, Any]:
    return body(400, [f'The "{name}" instance is not connected'])


def no_route(method: str, path: str) -> dict[str, Any]:
    return body(404, [f"Cannot {method} {path}"])


def lacking(what: str) -> Refused:
    """What WhatsApp's engines here cannot do: never a success that is none."""
    return Refused(f"Not supported by this gateway's WhatsApp engine: {what}", 501)


def told(code: ErrorCode, status: int, message: str, *, field: str | None, method: str, path: str) -> tuple[int, Any]:
    """Status and body of a problem that has no words of its own here.

    A wrong path and a wrong method are the same to this API. A device that is not connected is 503: the request may be
    repeated as it is.
    """
    match code:
        case "MISSING_API_KEY" | "INVALID_API_KEY":
            return 401, unauthorized()
        case "NOT_FOUND" | "METHOD_NOT_ALLOWED":
            return 404, no_route(method, path)
        case "VALIDATION_ERROR" | "INVALID_RECIPIENT":
            return 400, invalid([f"{_named(field)}: {message}" if field else message])
        case "DEVICE_NOT_CONNECTED":
            return 503, body(503, [OFFLINE, message])
        case "INTERNAL_ERROR":
            return 500, body(500, message)
    return status, body(status, [message])


def _named(field: str) -> str:
    name, bracket, index = field.partition("[")
    return f"{_FIELDS.get(name, name)}{bracket}{index}"
