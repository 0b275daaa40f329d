"""`POST /send` of this API: from JSON or the fields of a form to an order. Pure.

A form may write the parts of `payload` as PHP does, `payload[order][id]`, or hold it as JSON. What is unknown is
ignored, as the original does.
"""

import re
from collections.abc import Mapping
from typing import Any, Final, Literal, get_args

import msgspec
from msgspec import Struct

from kurir.contracts import metadata
from kurir.contracts.content import Text
from kurir.dialects.orders import File, Order
from kurir.dialects.rk_connect.errors import Refused

MessageType = Literal["text", "image", "document", "video", "audio"]

MAX_TEXT: Final = 65_536
MAX_CAPTION: Final = 4096
MAX_RECIPIENT: Final = 64

TYPES: Final = frozenset(
    {
        "image/jpeg",
        "image/png",
        "image/webp",
        "application/pdf",
        "application/msword",
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        "video/mp4",
        "audio/mpeg",
        "audio/ogg",
        "application/ogg",
    }
)
"""The types of files that this API takes: jpeg, png, webp, pdf, doc, docx, mp4, mp3, ogg."""

_TYPES: Final = frozenset(get_args(MessageType))
_PART = re.compile(r"\[([^\[\]]*)\]")


class Send(Struct, frozen=True, kw_only=True):
    """A request that was found right. `message` is the text, or the caption of a file."""

    recipient: str
    type: MessageType
    message: str | None
    payload: dict[str, Any] | None

    def order(self) -> Order:
        """The order; its file is the one that came in the form."""
        if self.type == "text":
            return Order(to=self.recipient, content=Text(text=self.message or ""), metadata=self.payload)
        caption = self.message if self.type != "audio" else None  # WhatsApp shows none on sound
        return Order(
            to=self.recipient, file=File(kind=self.type, caption=caption, any_type=True), metadata=self.payload
        )


def from_json(body: bytes) -> Send:
    """Raises Refused."""
    try:
        given = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        raise Refused("INVALID_JSON") from None
    if not isinstance(given, dict):
        raise Refused("INVALID_JSON", "The body must be a JSON object.")
    return _send(given, has_file=False)


def from_form(fields: Mapping[str, str], *, has_file: bool) -> Send:
    """`has_file`: the form has a file named `media`. Raises Refused."""
    given: dict[str, Any] = dict(fields)
    if isinstance(text := given.get("payload"), str):
        try:
            given["payload"] = msgspec.json.decode(text) if text.strip() else None
        except (msgspec.DecodeError, RecursionError):
            raise _invalid("payload", "The payload must be an object, as JSON or as payload[name].") from None
    elif parts := {name: value for name, value in fields.items() if name.startswith("payload[")}:
        given["payload"] = _nested(parts)
    return _send(given, has_file=has_file)


def _send(given: Mapping[str, Any], *, has_file: bool) -> Send:
    type_ = given.get("type")
    if type_ is None or type_ == "":
        type_ = "text"
    if not isinstance(type_, str) or type_ not in _TYPES:
        raise Refused("INVALID_MESSAGE_TYPE")
    kind: MessageType = type_  # type: ignore[assignment]
    recipient = _recipient(given.get("recipient"))
    message = _message(given.get("message"), kind)
    if kind != "text" and not has_file:
        raise Refused("MEDIA_REQUIRED")
    return Send(recipient=recipient, type=kind, message=message, payload=_payload(given.get("payload")))


def _recipient(value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool):  # clients that keep numbers as numbers
        value = str(value)
    if value is None or value == "":
        raise _invalid("recipient", "The recipient field is required.")
    if not isinstance(value, str):
        raise _invalid("recipient", "The recipient must be a string.")
    if len(value) > MAX_RECIPIENT:
        raise Refused("INVALID_RECIPIENT")
    return value


def _message(value: Any, type_: MessageType) -> str | None:
    if value is None or value == "":
        if type_ == "text":
            raise _invalid("message", "The message field is required when type is text.")
        return None
    if not isinstance(value, str):
        raise _invalid("message", "The message must be a string.")
    limit = MAX_TEXT if type_ == "text" else MAX_CAPTION
    if len(value) > limit:
        raise _invalid("message", f"The message may not be longer than {limit} characters.")
    return value


def _payload(value: Any) -> dict[str, Any] | None:
    if value is None or value == []:  # what PHP makes of an empty object
        return None
    if not isinstance(value, dict):
        raise _invalid("payload", "The payload must be an object.")
    if (fault := metadata.fault(value)) is not None:
        raise _invalid("payload", f"The payload {fault}.")
    return value


def _nested(parts: Mapping[str, str]) -> dict[str, Any]:
    """`{"payload[a][b]": "1"}` is `{"a": {"b": "1"}}`; an empty name counts on, as PHP has it."""
    whole: dict[str, Any] = {}
    for name, value in parts.items():
        path = _PART.findall(name)[: metadata.MAX_DEPTH]
        place = whole
        for step in path[:-1]:
            inner = place.setdefault(step or str(len(place)), {})
            if not isinstance(inner, dict):
                inner = place[step] = {}
            place = inner
        if path:
            place[path[-1] or str(len(place))] = value
    return whole


def _invalid(field: str, message: str) -> Refused:
    return Refused("VALIDATION_ERROR", message, errors={field: [message]})
