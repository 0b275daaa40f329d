"""Events in the words of the device API: `{"event", "timestamp", "data"}` with message.received, message.status and
device.status. What this API has no name for keeps its own, with the event as it stands in the stream.

Bodies are a fixed point of JavaScript's parse and stringify (see `javascript`), because this API's receivers verify
the signature over `JSON.stringify(req.body)`. Message content has the shape that Baileys gives it. Media are named
by URL, never inlined.
"""

from typing import Any

import msgspec

from kurir.contracts import events, states
from kurir.contracts.content import Media, media_of
from kurir.dialects import javascript
from kurir.dialects.baileys import message, other_form, phone_form
from kurir.dialects.clipping import encode_clipped
from kurir.dialects.dialect import MAX_BODY_BYTES, Context, MediaUrl, Payload

NAMES = {
    "messages.upsert": "message.received",
    "send.message.queued": "message.status",
    "send.message.sending": "message.status",
    "send.message.status": "message.status",
    "connection.update": "device.status",
}
"""What this API calls each native event type."""

_STATUS: dict[states.MessageStatus, str] = {
    "scheduled": "QUEUED",
    "queued": "QUEUED",
    "sending": "QUEUED",
    "retrying": "QUEUED",
    "sent": "SENT",
    "undelivered": "SENT",  # this API has no word for it; the error beside it says why
    "delivered": "DELIVERED",
    "read": "READ",
    "played": "READ",
    "failed": "FAILED",
    "unknown": "FAILED",
    "expired": "FAILED",
    "canceled": "FAILED",
}


def status_word(status: states.MessageStatus) -> str:
    """QUEUED, SENT, DELIVERED, READ or FAILED. Which kind of failure it was stands in the error beside it."""
    return _STATUS[status]


def device_status_word(state: states.ConnectionState) -> str:
    """E.g. CONNECTED, CONNECTING, QR, LOGGED_OUT."""
    return state.upper()


def payload(type_: str, event: bytes | msgspec.Raw, context: Context, told_as: str | None = None) -> Payload:
    """See `dialect.PayloadShape`."""
    fact = events.decode(type_, event)
    data: dict[str, Any]
    match fact:
        case events.MessageUpserted():
            data = _received(fact, context.media_url)
        case events.MessageStatusChanged():
            data = _status(fact, fact.status, fact.whatsapp_id, _error(fact.status, fact.reason, fact.detail))
        case events.MessageQueued() | events.MessageSending():
            data = _status(fact, fact.status, None, None)
        case events.ConnectionUpdate():
            data = {
                "deviceId": fact.device,
                "status": device_status_word(fact.state),
                "phoneNumber": fact.phone,
                "reason": fact.reason,
            }
        case _:
            return _untranslated(type_, event)
    name = NAMES[type_]
    envelope = {"event": name, "timestamp": _ms(fact), "data": data}
    body = encode_clipped(envelope, MAX_BODY_BYTES, javascript.encode_settled)
    return Payload(name, body)


def _untranslated(type_: str, event: bytes | msgspec.Raw) -> Payload:
    head = events.decode_head(event)
    envelope = {"event": type_, "timestamp": _ms(head), "data": msgspec.json.decode(event)}
    return Payload(type_, encode_clipped(envelope, MAX_BODY_BYTES))


def _ms(fact: events.Event | events.EventHead) -> int:
    return round(fact.at.timestamp() * 1000)


def _received(fact: events.MessageUpserted, media_url: MediaUrl) -> dict[str, Any]:
    type_, content = message(fact.content, fact.quote, fact.mentions, media_url)
    media = media_of(fact.content)
    return {
        "deviceId": fact.device,
        "remoteJid": phone_form(fact.chat),
        "fromMe": fact.from_me,
        "type": type_,
        "content": content,
        "timestamp": int(fact.sent_at.timestamp()),
        "id": fact.message_id,
        "messageId": fact.whatsapp_id,
        "pushName": fact.push_name,
        "participant": phone_form(fact.sender) if fact.is_group else None,
        "remoteJidAlt": other_form(fact.chat),
        "participantAlt": other_form(fact.sender) if fact.is_group else None,
        "media": _media(media, media_url) if media else None,
    }


def _status(
    fact: events.MessageStatusChanged | events.MessageQueued | events.MessageSending,
    status: states.MessageStatus,
    whatsapp_id: str | None,
    error: dict[str, Any] | None,
) -> dict[str, Any]:
    return {
        "deviceId": fact.device,
        "id": fact.message_id,
        "messageId": whatsapp_id,
        "remoteJid": fact.to,
        "status": status_word(status),
        "error": error,
        "timestamp": int(fact.at.timestamp()),
    }


def _error(status: states.MessageStatus, reason: states.Reason | None, detail: str | None) -> dict[str, Any] | None:
    if reason is None and status_word(status) != "FAILED":
        return None
    sentence = states.SENTENCES[reason] if reason else "The message was not sent."
    return {"code": reason or status, "message": sentence, "detail": detail}


def _media(media: Media, media_url: MediaUrl) -> dict[str, Any]:
    missing = {"missing": media.missing} if media.missing else {}
    return {
        "url": media_url(media),
        "mimetype": media.mimetype,
        "size": media.size,
        "sha256": media.sha256,
        "fileName": media.file_name,
        **missing,
    }
