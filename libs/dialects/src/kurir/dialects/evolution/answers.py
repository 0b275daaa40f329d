"""What this API answers about messages: those just sent, and those found again. Pure.

v1 writes the time of a send as text and says little more than the message; v2 adds what kind it is and whose.
"""

import base64
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final

from msgspec import Struct

from kurir.contracts import events, states
from kurir.contracts.content import Content, MessageKey, Quote, Text, media_of
from kurir.contracts.states import MessageStatus
from kurir.dialects import baileys
from kurir.dialects.baileys import phone_form
from kurir.dialects.dialect import MediaUrl
from kurir.dialects.evolution.event_data import source
from kurir.dialects.evolution.requests import Version

STATUSES: Final[dict[MessageStatus, str]] = {
    "scheduled": "PENDING",
    "queued": "PENDING",
    "sending": "PENDING",
    "retrying": "PENDING",
    "sent": "SERVER_ACK",
    "undelivered": "SERVER_ACK",
    "delivered": "DELIVERY_ACK",
    "read": "READ",
    "played": "PLAYED",
    "failed": "ERROR",
    "unknown": "ERROR",
    "expired": "ERROR",
    "canceled": "ERROR",
}
READ: Final = {"message": "Read messages", "read": "success"}


class Message(Struct, frozen=True, kw_only=True):
    """A message by WhatsApp's names: of one that is not sent yet, `key.whatsapp_id` is our id of it.

    `content` is None where only a file's kind is known yet, which `kind` then names (`imageMessage`).
    """

    key: MessageKey
    content: Content | None
    at: datetime
    status: MessageStatus = "queued"
    quote: Quote | None = None
    mentions: tuple[str, ...] = ()
    push_name: str | None = None
    kind: str = "conversation"
    caption: str | None = None


class Whose(Struct, frozen=True, kw_only=True):
    """In whose name it is told: the instance's name and id, and where its media are."""

    instance: str
    instance_id: str
    media_url: MediaUrl


def sent(message: Message, whose: Whose, version: Version) -> dict[str, Any]:
    """The answer to a send."""
    kind, told = _told(message, whose)
    at = int(message.at.timestamp())
    if version == "v1":
        if isinstance(message.content, Text) and kind == "conversation":  # v1 sends every text as an extended one
            told = {"extendedTextMessage": {"text": message.content.text}}
        return {"key": key_of(message.key), "message": told, "messageTimestamp": str(at), "status": "PENDING"}
    return {
        "key": key_of(message.key),
        "pushName": message.push_name or "",
        "status": "PENDING",
        "message": told,
        "contextInfo": _context_of(told),
        "messageType": kind,
        "messageTimestamp": at,
        "instanceId": whose.instance_id,
        "source": source(message.key.whatsapp_id),
    }


def found(message: Message, whose: Whose, version: Version) -> dict[str, Any]:
    """One message of `findMessages`."""
    kind, told = _told(message, whose)
    body = {
        "key": key_of(message.key),
        "pushName": message.push_name,
        "messageType": kind,
        "message": told,
        "messageTimestamp": int(message.at.timestamp()),
    }
    if version == "v1":
        return body | {"owner": whose.instance, "source": source(message.key.whatsapp_id)}
    return body | {
        "instanceId": whose.instance_id,
        "source": source(message.key.whatsapp_id),
        "contextInfo": _context_of(told),
        "MessageUpdate": [{"status": STATUSES[message.status]}] if message.key.from_me else [],
    }


def page(messages: Sequence[dict[str, Any]], *, number: int, has_more: bool, version: Version) -> Any:
    """v1 lists messages, v2 pages of them: how many there are beyond this page is not counted."""
    if version == "v1":
        return list(messages)
    pages = number + 1 if has_more else number
    return {"messages": {"total": len(messages), "pages": pages, "currentPage": number, "records": list(messages)}}


def message_of(facts: Sequence[events.AnyEvent]) -> Message | None:
    """A message as its facts tell it; None when they tell of none."""
    for fact in facts:
        if isinstance(fact, events.MessageUpserted):
            return Message(
                key=MessageKey(
                    chat=phone_form(fact.chat),
                    whatsapp_id=fact.whatsapp_id,
                    from_me=fact.from_me,
                    participant=phone_form(fact.sender) if fact.is_group else None,
                ),
                content=fact.content,
                at=fact.sent_at,
                status="delivered",
                quote=fact.quote,
                mentions=fact.mentions,
                push_name=fact.push_name,
            )
    queued = next((fact for fact in facts if isinstance(fact, events.MessageQueued)), None)
    if queued is None:
        return None
    steps = [fact for fact in facts if isinstance(fact, events.MessageStatusChanged)]
    whatsapp_id = next((step.whatsapp_id for step in steps if step.whatsapp_id), None)
    reached = states.furthest([queued.status, *(step.status for step in steps)])
    return Message(
        key=MessageKey(chat=queued.to, whatsapp_id=whatsapp_id or queued.message_id, from_me=True),
        content=queued.content,
        at=queued.at,
        status=reached,
    )


def statuses(facts: Iterable[events.AnyEvent], whose: Whose) -> list[dict[str, Any]]:
    """What became of a message, one row for each step that WhatsApp's own apps would show."""
    return [
        {
            "id": fact.whatsapp_id or fact.message_id,
            "remoteJid": fact.to,
            "fromMe": True,
            "participant": phone_form(fact.recipient) if fact.recipient is not None else None,
            "status": STATUSES[fact.status],
            "datetime": round(fact.at.timestamp() * 1000),
            "owner": whose.instance,
        }
        for fact in facts
        if isinstance(fact, events.MessageStatusChanged)
    ]


def chats(messages: Iterable[Message], whose: Whose, version: Version) -> list[dict[str, Any]]:
    """Who was written to or has written, the latest first; `messages` are newest first."""
    latest: dict[str, Message] = {}
    for message in messages:
        latest.setdefault(message.key.chat, message)
    if version == "v1":
        return [
            {"id": chat, "lastMsgTimestamp": int(message.at.timestamp()), "owner": whose.instance}
            for chat, message in latest.items()
        ]
    return [
        {
            "id": chat,
            "remoteJid": chat,
            "pushName": None if message.key.from_me else message.push_name,
            "profilePicUrl": None,
            "updatedAt": message.at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "lastMessage": found(message, whose, "v2"),
        }
        for chat, message in latest.items()
    ]


def file(content: Content, data: bytes) -> dict[str, Any]:
    """`getBase64FromMediaMessage`. Raises ValueError for a content without a file."""
    media = media_of(content)
    if media is None:
        raise ValueError("this message has no file")
    kind, _ = baileys.message(content, None, (), lambda _: None)
    return {
        "mediaType": kind,
        "fileName": media.file_name,
        "caption": getattr(content, "caption", None),
        "size": {"fileLength": str(media.size)},
        "mimetype": media.mimetype,
        "base64": base64.b64encode(data).decode(),
        "buffer": None,
    }


def key_of(key: MessageKey) -> dict[str, Any]:
    told = {"remoteJid": key.chat, "fromMe": key.from_me, "id": key.whatsapp_id}
    return told | ({"participant": key.participant} if key.participant is not None else {})


def revoked(key: MessageKey, at: datetime, whatsapp_id: str) -> dict[str, Any]:
    """The answer to a deletion: the message that deletes."""
    return _protocol(key, {"type": "REVOKE"}, at, whatsapp_id)


def edited(key: MessageKey, text: str, at: datetime, whatsapp_id: str) -> dict[str, Any]:
    """The answer to a correction: the message that corrects."""
    changed = {"extendedTextMessage": {"text": text}}
    return _protocol(key, {"type": "MESSAGE_EDIT", "editedMessage": changed}, at, whatsapp_id)


def _protocol(key: MessageKey, what: dict[str, Any], at: datetime, whatsapp_id: str) -> dict[str, Any]:
    return {
        "key": {"remoteJid": key.chat, "fromMe": True, "id": whatsapp_id},
        "message": {"protocolMessage": {"key": key_of(key), **what}},
        "messageTimestamp": str(int(at.timestamp())),
        "status": "PENDING",
    }


def _told(message: Message, whose: Whose) -> tuple[str, dict[str, Any]]:
    """The kind's name and the message as the Baileys library shapes it, with what is known of a file."""
    content = message.content
    if content is None:
        return message.kind, {message.kind: _defined({"caption": message.caption})}
    kind, told = baileys.message(content, message.quote, message.mentions, whose.media_url)
    media = media_of(content)
    if media is not None and media.sha256:
        told[kind]["fileSha256"] = base64.b64encode(bytes.fromhex(media.sha256)).decode()
    return kind, _defined(told)


def _context_of(told: dict[str, Any]) -> Any:
    part = next(iter(told.values()), None)
    return part.get("contextInfo") if isinstance(part, dict) else None


def _defined(value: Any) -> Any:
    """Without members that are None, which JavaScript's JSON leaves out."""
    if isinstance(value, dict):
        return {name: _defined(one) for name, one in value.items() if one is not None}
    return [_defined(one) for one in value] if isinstance(value, list) else value
