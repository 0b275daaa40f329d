"""Events in the words of this gateway. Its document has webhooks, but says that they are disabled and shows none: these
are of our making, `{"event", "data", "timestamp"}`, with the members that its answers have.

`message` is a received message, `message_status` what became of one that was sent, `connection` the bot's connection.
"""

from datetime import datetime, tzinfo
from typing import Any, Final

import msgspec

from kurir.contracts import events, states
from kurir.contracts.content import kind_of, media_of
from kurir.contracts.states import MessageStatus
from kurir.dialects import javascript
from kurir.dialects.baileys import phone_form
from kurir.dialects.baileys_gateway.errors import iso
from kurir.dialects.clipping import encode_clipped
from kurir.dialects.dialect import MAX_BODY_BYTES, Context, Payload
from kurir.dialects.plain_text import text_of

NAMES: Final[dict[str, tuple[str, ...]]] = {
    "messages.upsert": ("message",),
    "send.message.status": ("message_status",),
    "connection.update": ("connection",),
}

_STATUS: Final[dict[MessageStatus, str]] = {
    "retrying": "queued",
    "undelivered": "sent",
    "played": "read",
    "unknown": "failed",
    "expired": "failed",
    "canceled": "failed",
}
"""Where its word is not ours."""


def told_as(type_: str, event: bytes | msgspec.Raw) -> tuple[str, ...]:
    """See `dialect.Shape`."""
    return NAMES.get(type_, ())


def payload(type_: str, event: bytes | msgspec.Raw, context: Context, told_as: str | None = None) -> Payload:
    """See `dialect.PayloadShape`."""
    fact = events.decode(type_, event)
    match fact:
        case events.MessageUpserted():
            data = _message(fact, context)
        case events.MessageStatusChanged():
            data = _status(fact, context.zone)
        case events.ConnectionUpdate():
            data = {"bot_connected": fact.state == "connected", "status": fact.state, "phone": fact.phone}
            data["message"] = states.SENTENCES[fact.reason] if fact.reason else None
        case _:
            head = events.decode_head(event)
            told = {"event": type_, "data": msgspec.json.decode(event), "timestamp": iso(head.at)}
            return Payload(type_, encode_clipped(told, MAX_BODY_BYTES))
    name = NAMES[type_][0]
    body = encode_clipped(
        {"event": name, "data": data, "timestamp": iso(fact.at)}, MAX_BODY_BYTES, javascript.encode_settled
    )
    return Payload(name, body)


def _message(fact: events.MessageUpserted, context: Context) -> dict[str, Any]:
    content = fact.content
    data: dict[str, Any] = {
        "id": fact.message_id,
        "phone": _phone(phone_form(fact.chat)),
        "sender": _phone(phone_form(fact.sender)),
        "name": fact.push_name,
        "from_me": fact.from_me,
        "message": text_of(content),
        "type": kind_of(content),
    }
    if (media := media_of(content)) is not None:
        data |= {
            "filename": media.file_name,
            "url": context.media_url(media),
            "file_size_kb": javascript.number(round(media.size / 1024, 2)),
        }
    return data | {"timestamp": _local(fact.sent_at, context.zone)}


def _status(fact: events.MessageStatusChanged, zone: tzinfo) -> dict[str, Any]:
    return {
        "id": fact.message_id,
        "phone": _phone(fact.to),
        "status": _STATUS.get(fact.status, fact.status),
        "message": states.SENTENCES[fact.reason] if fact.reason else None,
        "timestamp": _local(fact.at, zone),
    }


def _phone(jid: str) -> str:
    return jid.removesuffix("@s.whatsapp.net")


def _local(at: datetime, zone: tzinfo) -> str:
    return at.astimezone(zone).strftime("%Y-%m-%d %H:%M:%S")
