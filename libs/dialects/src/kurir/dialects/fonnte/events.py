"""Events as Fonnte's webhooks tell them (docs.fonnte.com): `incoming`, `status` and `device`, flat JSON objects that
say by their members which of the three they are. The dashboard's own `webhookUrl` gets `incoming`.

`device` is the number that the device is paired with, or, before that is known, what its clients call it. `inboxid` and
`id` are the numbers that the API gives messages (see `numbers`). Upstream signs nothing.
"""

from datetime import datetime
from pathlib import PurePosixPath
from typing import Any, Final

import msgspec

from kurir.contracts import events, states
from kurir.contracts.content import Edit, Location, Poll, Revoke, kind_of, media_of
from kurir.contracts.states import MessageStatus
from kurir.dialects import javascript
from kurir.dialects.clipping import encode_clipped
from kurir.dialects.dialect import MAX_BODY_BYTES, Context, Payload
from kurir.dialects.fonnte import answers, numbers
from kurir.dialects.plain_text import coordinates, text_of

NAMES: Final[dict[str, tuple[str, ...]]] = {
    "messages.upsert": ("incoming",),
    "send.message.status": ("status",),
    "connection.update": ("device",),
}

_STATUS: Final[dict[MessageStatus, str]] = {
    "sent": "sent",
    "delivered": "delivered",
    "read": "read",
    "played": "read",
    "failed": "failed",
    "unknown": "failed",
    "expired": "failed",
    "canceled": "failed",
}
_UNDER_WAY: Final = frozenset({"connecting", "qr", "pairing_code"})
"""Neither connected nor disconnected: told to nobody."""


def told_as(type_: str, event: bytes | msgspec.Raw) -> tuple[str, ...]:
    """See `dialect.Shape`. What the account wrote itself is not incoming, and edits are no messages."""
    match events.decode(type_, event):
        case events.MessageUpserted(from_me=True) | events.MessageUpserted(content=Edit() | Revoke()):
            return ()
        case events.MessageStatusChanged(status=status) if status not in _STATUS:
            return ()
        case events.ConnectionUpdate(state=state) if state in _UNDER_WAY:
            return ()
    return NAMES.get(type_, ())


def payload(type_: str, event: bytes | msgspec.Raw, context: Context, told_as: str | None = None) -> Payload:
    """See `dialect.PayloadShape`."""
    fact = events.decode(type_, event)
    match fact:
        case events.MessageUpserted():
            told = _incoming(fact, context)
        case events.MessageStatusChanged():
            told = _status(fact, context)
        case events.ConnectionUpdate():
            told = _device(fact, context)
        case _:
            return _untranslated(type_, event)
    return Payload(NAMES[type_][0], encode_clipped(told, MAX_BODY_BYTES, javascript.encode_settled))


def _untranslated(type_: str, event: bytes | msgspec.Raw) -> Payload:
    events.decode_head(event)
    return Payload(type_, encode_clipped({"event": type_, "data": msgspec.json.decode(event)}, MAX_BODY_BYTES))


def _incoming(fact: events.MessageUpserted, context: Context) -> dict[str, Any]:
    content = fact.content
    media = media_of(content)
    name = media.file_name or "" if media is not None else ""
    return {
        "device": _number(fact.device, context),
        "sender": answers.address(fact.chat),
        "message": "" if isinstance(content, Location | Poll) else text_of(content),
        "text": "",
        "member": answers.address(fact.sender) if fact.is_group else "",
        "name": fact.push_name or "",
        "location": coordinates(content) if isinstance(content, Location) else "",
        "pollname": content.question if isinstance(content, Poll) else "",
        "choices": list(content.options) if isinstance(content, Poll) else [],
        "url": context.media_url(media) or "" if media is not None else "",
        "filename": name,
        "extension": _extension(name, media.mimetype) if media is not None else "",
        "type": kind_of(content),
        "timestamp": _seconds(fact.sent_at),
        "inboxid": numbers.inbox_number(fact.message_id),
    }


def _extension(name: str, mimetype: str) -> str:
    """Without the dot; of a file without a name what its type says, `jpeg` of `image/jpeg`."""
    return PurePosixPath(name).suffix[1:] or mimetype.partition(";")[0].rpartition("/")[2]


def _status(fact: events.MessageStatusChanged, context: Context) -> dict[str, Any]:
    word = _STATUS.get(fact.status, "pending")
    number = numbers.number_of(fact.message_id)
    told: dict[str, Any] = {
        "device": _number(fact.device, context),
        "id": str(number) if number is not None else fact.message_id,
        "stateid": fact.whatsapp_id,
        "status": word,
        "state": word,
        "timestamp": _seconds(fact.at),
    }
    if fact.reason is not None:
        told["reason"] = states.SENTENCES[fact.reason]
    return told


def _device(fact: events.ConnectionUpdate, context: Context) -> dict[str, Any]:
    return {
        "device": fact.phone or _number(fact.device, context),
        "status": "connect" if fact.state == "connected" else "disconnect",
        "token": context.key,
        "timestamp": _seconds(fact.at),
        "reason": states.SENTENCES[fact.reason] if fact.reason else "",
    }


def _number(device: str, context: Context) -> str:
    paired = (context.owner or "").partition("@")[0].partition(":")[0]
    return paired or context.code or device


def _seconds(at: datetime) -> int:
    return int(at.timestamp())
