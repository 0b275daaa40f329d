"""Events in the words of RK Connect. Its document shows no webhook, only `GET /status/{uuid}`: these are of our making,
`{"event", "data", "meta"}`.

`message.status` has the data of that answer, as far as one event knows it; `message.received` and `device.status` are
written like it.
"""

from datetime import UTC, datetime, tzinfo
from typing import Any, Final

import msgspec

from kurir.contracts import events, ids, states
from kurir.contracts.content import kind_of, media_of
from kurir.dialects import javascript
from kurir.dialects.baileys import phone_form
from kurir.dialects.clipping import encode_clipped
from kurir.dialects.dialect import MAX_BODY_BYTES, Context, Payload
from kurir.dialects.plain_text import text_of
from kurir.dialects.rk_connect import answers

NAMES: Final[dict[str, tuple[str, ...]]] = {
    "messages.upsert": ("message.received",),
    "send.message.status": ("message.status",),
    "connection.update": ("device.status",),
}

_SERVER: Final = "webhooks"
"""In `meta.server_id`: the same for every attempt, whichever process makes it."""


def told_as(type_: str, event: bytes | msgspec.Raw) -> tuple[str, ...]:
    """See `dialect.Shape`."""
    return NAMES.get(type_, ())


def payload(type_: str, event: bytes | msgspec.Raw, context: Context, told_as: str | None = None) -> Payload:
    """See `dialect.PayloadShape`."""
    fact = events.decode(type_, event)
    match fact:
        case events.MessageUpserted():
            data = _received(fact, context)
        case events.MessageStatusChanged():
            data = _status(fact, context.code or fact.device, context.zone)
        case events.ConnectionUpdate():
            data = {"device_code": context.code or fact.device, "status": fact.state, "phone": fact.phone}
            data |= {
                "error_message": states.SENTENCES[fact.reason] if fact.reason else None,
                "at": _time(fact.at, context.zone),
            }
        case _:
            events.decode_head(event)
            told = {"event": type_, "data": msgspec.json.decode(event), "meta": {"server_id": _SERVER}}
            return Payload(type_, encode_clipped(told, MAX_BODY_BYTES))
    name = NAMES[type_][0]
    envelope = {"event": name, "data": data, "meta": {"server_id": _SERVER}}
    return Payload(name, encode_clipped(envelope, MAX_BODY_BYTES, javascript.encode_settled))


def _received(fact: events.MessageUpserted, context: Context) -> dict[str, Any]:
    content = fact.content
    media = media_of(content)
    return {
        "id": fact.message_id,
        "type": kind_of(content),
        "sender": answers.recipient(phone_form(fact.sender)),
        "group": phone_form(fact.chat) if fact.is_group else None,
        "name": fact.push_name,
        "from_me": fact.from_me,
        "message": text_of(content),
        "media": context.media_url(media) if media is not None else None,
        "device_code": context.code or fact.device,
        "created_at": _time(fact.sent_at, context.zone),
    }


def _status(fact: events.MessageStatusChanged, code: str, zone: tzinfo) -> dict[str, Any]:
    """As `GET /status/{uuid}` tells it; when the message was accepted stands in its id."""
    told = answers.status((fact,), code, zone, _SERVER)
    assert told is not None, "it is of a message that was sent"
    data: dict[str, Any] = told["data"]
    accepted_ms = ids.created_at_ms(fact.message_id)
    if accepted_ms is not None:
        data["created_at"] = _time(datetime.fromtimestamp(accepted_ms / 1000, UTC), zone)
    return data


def _time(at: datetime, zone: tzinfo) -> str:
    return at.astimezone(zone).isoformat(timespec="seconds")
