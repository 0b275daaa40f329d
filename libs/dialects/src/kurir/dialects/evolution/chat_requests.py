"""What clients ask about chats, contacts and messages. Pure; everything here raises Invalid."""

from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct

from kurir.contracts.content import MessageKey
from kurir.contracts.people import TypingState
from kurir.dialects.evolution.fields import Fields
from kurir.dialects.evolution.numbers import recipient
from kurir.dialects.evolution.requests import MAX_DELAY_MS, MAX_TEXT, message_key, number_of

PRESENCES: Final = ("unavailable", "available", "composing", "recording", "paused")
MAX_NUMBERS: Final = 1000
_TYPING: dict[str, TypingState] = {"composing": "typing", "recording": "recording", "paused": "paused"}


class Typing(Struct, frozen=True, kw_only=True):
    """`state` is shown in the chat `to` for `delay_ms`; None for presences that are not about a chat."""

    to: str
    presence: str
    state: TypingState | None
    delay_ms: int


class Correction(Struct, frozen=True, kw_only=True):
    """Another text for a message."""

    key: MessageKey
    text: str


class Archiving(Struct, frozen=True, kw_only=True):
    chat: str
    archived: bool


class Where(Struct, frozen=True, kw_only=True):
    """Which of the things that are listed are wanted: by id, chat and direction; None means any."""

    id: str | None = None
    chat: str | None = None
    from_me: bool | None = None
    push_name: str | None = None
    limit: int = 50
    page: int = 1


def numbers(values: Mapping[str, Any]) -> tuple[str, ...]:
    """`POST /chat/whatsappNumbers`, as they were written."""
    fields = Fields(values)
    fields.require("numbers")
    found = fields.texts(
        "numbers", least=1, most=MAX_NUMBERS, max_length=64, says='"numbers" must be an array of numeric strings'
    )
    fields.check()
    return found


def read_messages(values: Mapping[str, Any]) -> tuple[MessageKey, ...]:
    """`PUT /chat/markMessageAsRead`."""
    fields = Fields(values)
    name = "readMessages" if fields.has("readMessages") else "read_messages"
    fields.require(name)
    found = tuple(message_key(one) for one in fields.parts(name, least=1, most=100))
    fields.check()
    return found


def deletion(values: Mapping[str, Any]) -> MessageKey:
    """`DELETE /chat/deleteMessageForEveryone`."""
    fields = Fields(values)
    found = message_key(fields)
    fields.check()
    return found


def correction(values: Mapping[str, Any]) -> Correction:
    """`PUT /chat/updateMessage`."""
    fields = Fields(values)
    fields.require("text", "key")
    found = Correction(key=message_key(fields.part("key")), text=fields.text("text", min_length=1, max_length=MAX_TEXT))
    fields.check()
    return found


def typing(values: Mapping[str, Any]) -> Typing:
    """`POST /chat/sendPresence`."""
    fields = Fields(values)
    body = fields.part("options") if fields.has("options") else fields
    body.require("presence")
    word = body.text("presence", allowed=PRESENCES)
    found = Typing(
        to=recipient(number_of(fields)),
        presence=word,
        state=_TYPING.get(word),
        delay_ms=min(body.whole("delay"), MAX_DELAY_MS),
    )
    fields.check()
    return found


def archiving(values: Mapping[str, Any]) -> Archiving:
    """`PUT /chat/archiveChat`."""
    fields = Fields(values)
    fields.require("archive")
    found = Archiving(chat=_chat(fields), archived=fields.flag("archive"))
    fields.check()
    return found


def unread(values: Mapping[str, Any]) -> str:
    """The chat that `PUT /chat/markChatUnread` is about."""
    fields = Fields(values)
    found = _chat(fields)
    fields.check()
    return found


def _chat(fields: Fields) -> str:
    """`chat`, or else the chat of `lastMessage`, which is not needed for anything more here."""
    if fields.has("chat"):
        return recipient(number_of(fields, "chat"))
    fields.require("lastMessage")
    key = fields.part("lastMessage").part("key")
    key.require("remoteJid")
    return recipient(key.text("remoteJid", max_length=64))


def number(values: Mapping[str, Any]) -> str:
    """One number, as it was written."""
    fields = Fields(values)
    found = number_of(fields)
    fields.check()
    return found


def where(values: Mapping[str, Any]) -> Where:
    """What `find…` is to list: v1 writes `where.key.remoteJid` of messages and `where.id` of contacts."""
    fields = Fields(values)
    body = fields.part("where")
    key = body.part("key")
    chat = key.optional("remoteJid", max_length=64) or body.optional("remoteJid", max_length=64)
    from_me = key.raw("fromMe") if key.has("fromMe") else body.raw("fromMe")
    size = "offset" if fields.has("offset") else "limit"
    found = Where(
        id=key.optional("id", max_length=128) or body.optional("id", max_length=128),
        chat=recipient(chat) if chat else None,
        from_me=from_me if isinstance(from_me, bool) else None,
        push_name=body.optional("pushName", max_length=255),
        limit=fields.whole(size, 50, least=1, most=1000),
        page=fields.whole("page", 1, least=1, most=10_000),
    )
    fields.check()
    return found


def media_of(values: Mapping[str, Any]) -> str:
    """`POST /chat/getBase64FromMediaMessage`: WhatsApp's id of the message."""
    fields = Fields(values)
    fields.require("message")
    key = fields.part("message").part("key")
    key.require("id")
    found = key.text("id", min_length=1, max_length=128)
    fields.check()
    return found
