"""Events in the words of the device API: `{"event", "timestamp", "data"}` with message.received, message.status and
device.status. What this API has no name for keeps its own, with the event as it stands in the stream.

Bodies are a fixed point of JavaScript's parse and stringify (see `javascript`), because this API's receivers verify
the signature over `JSON.stringify(req.body)`. Message content has the shape that Baileys gives it. Media are named
by URL, never inlined.
"""

from typing import Any

import msgspec

from kurir.contracts import events, states
from kurir.contracts.content import (
    Address,
    Audio,
    Contact,
    ContactCard,
    Content,
    Document,
    Edit,
    Image,
    LinkPreview,
    Location,
    Media,
    MessageKey,
    Poll,
    Quote,
    Reaction,
    Revoke,
    Sticker,
    Text,
    Unsupported,
    Video,
    media_of,
)
from kurir.dialects import javascript
from kurir.dialects.clipping import encode_clipped
from kurir.dialects.dialect import MAX_BODY_BYTES, MediaUrl, Payload

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


_REVOKE = 0
_MESSAGE_EDIT = 14
"""Types of WhatsApp's ProtocolMessage, as its protobuf numbers them."""


def status_word(status: states.MessageStatus) -> str:
    """QUEUED, SENT, DELIVERED, READ or FAILED. Which kind of failure it was stands in the error beside it."""
    return _STATUS[status]


def device_status_word(state: states.ConnectionState) -> str:
    """E.g. CONNECTED, CONNECTING, QR, LOGGED_OUT."""
    return state.upper()


def payload(type_: str, event: bytes | msgspec.Raw, media_url: MediaUrl) -> Payload:
    """See `dialect.PayloadShape`."""
    fact = events.decode(type_, event)
    data: dict[str, Any]
    match fact:
        case events.MessageUpserted():
            data = _received(fact, media_url)
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
    type_, content = _content(fact.content, fact.quote, fact.mentions, media_url)
    media = media_of(fact.content)
    return {
        "deviceId": fact.device,
        "remoteJid": _phone_form(fact.chat),
        "fromMe": fact.from_me,
        "type": type_,
        "content": content,
        "timestamp": int(fact.sent_at.timestamp()),
        "id": fact.message_id,
        "messageId": fact.whatsapp_id,
        "pushName": fact.push_name,
        "participant": _phone_form(fact.sender) if fact.is_group else None,
        "remoteJidAlt": _other_form(fact.chat),
        "participantAlt": _other_form(fact.sender) if fact.is_group else None,
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


def _phone_form(address: Address) -> str:
    return address.pn or address.jid


def _other_form(address: Address) -> str | None:
    """The hidden identity of somebody whose phone number is known too."""
    return address.lid if address.lid != _phone_form(address) else None


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


def _content(
    content: Content, quote: Quote | None, mentions: tuple[str, ...], media_url: MediaUrl
) -> tuple[str, dict[str, Any]]:
    """The name of the content's kind and the content itself, as Baileys shapes a message (WAProto.proto, Message)."""
    context = _context(quote, mentions)
    match content:
        case Text(text=text, preview=None) if context is None:
            return "conversation", {"conversation": text}
        case Text(text=text, preview=preview):
            return _wrapped("extendedTextMessage", {"text": text} | _previewed(preview), context)
        case Image():
            return _wrapped("imageMessage", _media_message(content.media, media_url, content.caption), context)
        case Video():
            return _wrapped("videoMessage", _media_message(content.media, media_url, content.caption), context)
        case Audio():
            return _wrapped("audioMessage", {**_media_message(content.media, media_url), "ptt": content.voice}, context)
        case Document():
            named = {
                **_media_message(content.media, media_url, content.caption),
                "fileName": content.media.file_name,
            }
            return _wrapped("documentMessage", named, context)
        case Sticker():
            return _wrapped("stickerMessage", _media_message(content.media, media_url), context)
        case Location():
            place = {
                "degreesLatitude": javascript.number(content.latitude),
                "degreesLongitude": javascript.number(content.longitude),
                "name": content.name,
                "address": content.address,
            }
            return _wrapped("locationMessage", place, context)
        case Contact(contacts=(card,)):
            return _wrapped("contactMessage", _card(card), context)
        case Contact(contacts=cards):
            shown = {"displayName": f"{len(cards)} contacts", "contacts": [_card(card) for card in cards]}
            return _wrapped("contactsArrayMessage", shown, context)
        case Poll():
            poll = {
                "name": content.question,
                "options": [{"optionName": option} for option in content.options],
                "selectableOptionsCount": content.selectable,
            }
            return _wrapped("pollCreationMessage", poll, context)
        case Reaction():
            return _wrapped("reactionMessage", {"key": _key(content.target), "text": content.emoji}, None)
        case Edit():
            edited = {"extendedTextMessage": {"text": content.text}}
            protocol = {"key": _key(content.target), "type": _MESSAGE_EDIT, "editedMessage": edited}
            return _wrapped("protocolMessage", protocol, None)
        case Revoke():
            return _wrapped("protocolMessage", {"key": _key(content.target), "type": _REVOKE}, None)
        case Unsupported(whatsapp_type=whatsapp_type):
            return whatsapp_type, {}


def _previewed(preview: LinkPreview | None) -> dict[str, Any]:
    if preview is None:
        return {}
    return {"matchedText": preview.url, "title": preview.title, "description": preview.description}


def _wrapped(name: str, message: dict[str, Any], context: dict[str, Any] | None) -> tuple[str, dict[str, Any]]:
    if context is not None:
        message["contextInfo"] = context
    return name, {name: message}


def _media_message(media: Media, media_url: MediaUrl, caption: str | None = None) -> dict[str, Any]:
    message: dict[str, Any] = {
        "url": media_url(media),
        "mimetype": media.mimetype,
        # A 64-bit integer in the protocol, which its JSON form writes as text.
        "fileLength": str(media.size),
    }
    if caption is not None:
        message["caption"] = caption
    return message


def _context(quote: Quote | None, mentions: tuple[str, ...]) -> dict[str, Any] | None:
    if quote is None and not mentions:
        return None
    context: dict[str, Any] = {}
    if quote is not None:
        context["stanzaId"] = quote.key.whatsapp_id
        context["participant"] = quote.key.participant
        context["quotedMessage"] = {"conversation": quote.text} if quote.text is not None else None
    if mentions:
        context["mentionedJid"] = list(mentions)
    return context


def _key(key: MessageKey) -> dict[str, Any]:
    return {
        "remoteJid": key.chat,
        "fromMe": key.from_me,
        "id": key.whatsapp_id,
        "participant": key.participant,
    }


def _card(card: ContactCard) -> dict[str, Any]:
    return {"displayName": card.name, "vcard": _vcard(card)}


def _vcard(card: ContactCard) -> str:
    """vCard 3.0 (RFC 2426), as WhatsApp writes contacts."""
    lines = ["BEGIN:VCARD", "VERSION:3.0", f"FN:{_escaped(card.name)}", f"N:;{_escaped(card.name)};;;"]
    if card.organization:
        lines.append(f"ORG:{_escaped(card.organization)};")
    lines += [f"TEL;type=CELL;type=VOICE;waid={phone}:+{phone}" for phone in card.phones]
    if card.email:
        lines.append(f"EMAIL:{_escaped(card.email)}")
    if card.url:
        lines.append(f"URL:{_escaped(card.url)}")
    return "\n".join([*lines, "END:VCARD"])


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "").replace(";", "\\;").replace(",", "\\,")
