"""What clients ask about chats, contacts, messages and groups. Pure; everything here raises Invalid."""

import re
from collections.abc import Mapping
from typing import Any, Final, Literal

from msgspec import Struct

from kurir.contracts.content import MessageKey
from kurir.contracts.groups import MemberChange
from kurir.contracts.people import TypingState
from kurir.dialects.evolution.fields import Fields
from kurir.dialects.evolution.numbers import recipient
from kurir.dialects.evolution.requests import MAX_DELAY_MS, MAX_TEXT, message_key, number_of

PRESENCES: Final = ("unavailable", "available", "composing", "recording", "paused")
MAX_NUMBERS: Final = 1000
MAX_BASE64: Final = 32 * 1024 * 1024  # what a picture may have is told by who stores it
GroupSetting = Literal["announcement", "not_announcement", "locked", "unlocked"]
_GROUP = re.compile(r"[0-9-]{5,40}@g\.us")
_DATA_URL = re.compile(r"data:[^,]{0,255};base64,")
_BASE64 = re.compile(r"[A-Za-z0-9+/]+={0,2}")
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


class Picture(Struct, frozen=True, kw_only=True):
    """By `url`, or as `data` in base64."""

    url: str | None = None
    data: str | None = None


class NewGroup(Struct, frozen=True, kw_only=True):
    subject: str
    description: str | None
    participants: tuple[str, ...]
    promote: bool
    picture: Picture | None


class MembersChange(Struct, frozen=True, kw_only=True):
    change: MemberChange
    participants: tuple[str, ...]


class Invitation(Struct, frozen=True, kw_only=True):
    group: str
    description: str
    numbers: tuple[str, ...]


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


# --- groups ---------------------------------------------------------------------------------------------------------


def new_group(values: Mapping[str, Any]) -> NewGroup:
    fields = Fields(values)
    fields.require("subject", "participants")
    found = NewGroup(
        subject=fields.text("subject", min_length=1, max_length=100),
        description=fields.optional("description", max_length=2048),
        participants=_people(fields, "participants"),
        promote=fields.flag("promoteParticipants"),
        picture=_picture(fields, "profilePicture") if fields.raw("profilePicture") else None,
    )
    fields.check()
    return found


def picture(values: Mapping[str, Any], name: str) -> Picture:
    """`image` of a group, `picture` of the account."""
    fields = Fields(values)
    fields.require(name)
    found = _picture(fields, name)
    fields.check()
    return found


def _picture(fields: Fields, name: str) -> Picture:
    text = fields.text(name, min_length=1, max_length=MAX_BASE64)
    if text.startswith(("http://", "https://")):
        return Picture(url=text)
    data = "".join(_DATA_URL.sub("", text, count=1).split())
    if text and not _BASE64.fullmatch(data):
        fields.findings.append(f'"{name}" must be a url or a base64')
    return Picture(data=data)


def group_of(query: Mapping[str, Any], values: Mapping[str, Any]) -> str:
    """The group's JID: `groupJid` in the query, or else in the body."""
    fields = Fields({"groupJid": query.get("groupJid") or values.get("groupJid")})
    fields.require("groupJid")
    found = fields.text("groupJid", max_length=64)
    if found and "@" not in found:
        found += "@g.us"
    if found and not _GROUP.fullmatch(found):
        fields.find("groupJid", 'does not match pattern "^[\\\\d-]+@g.us$"')
    fields.check()
    return found


def subject(values: Mapping[str, Any]) -> str:
    fields = Fields(values)
    fields.require("subject")
    found = fields.text("subject", min_length=1, max_length=100)
    fields.check()
    return found


def description(values: Mapping[str, Any]) -> str:
    fields = Fields(values)
    fields.require("description")
    found = fields.text("description", max_length=2048)
    fields.check()
    return found


def members_change(values: Mapping[str, Any]) -> MembersChange:
    fields = Fields(values)
    fields.require("action", "participants")
    changes: tuple[MemberChange, ...] = ("add", "remove", "promote", "demote")
    word = fields.text("action", allowed=changes)
    people = _people(fields, "participants")
    fields.check()
    return MembersChange(change=next(one for one in changes if one == word), participants=people)


def group_setting(values: Mapping[str, Any]) -> GroupSetting:
    fields = Fields(values)
    fields.require("action")
    settings: tuple[GroupSetting, ...] = ("announcement", "not_announcement", "locked", "unlocked")
    word = fields.text("action", allowed=settings)
    fields.check()
    return next(one for one in settings if one == word)


def expiration(values: Mapping[str, Any]) -> int:
    """After how many seconds messages of a group disappear; 0 for never."""
    fields = Fields(values)
    fields.require("expiration")
    found = fields.whole("expiration", allowed=(0, 86_400, 604_800, 7_776_000))
    fields.check()
    return found


def invite_code(query: Mapping[str, Any], values: Mapping[str, Any]) -> str:
    fields = Fields({"inviteCode": query.get("inviteCode") or values.get("inviteCode")})
    fields.require("inviteCode")
    found = fields.text("inviteCode", max_length=255)
    fields.check()
    return found


def wants_participants(query: Mapping[str, Any]) -> bool:
    """`getParticipants=true|false`, which the original insists on."""
    fields = Fields(query)
    fields.require("getParticipants")
    word = fields.text("getParticipants", allowed=("true", "false"))
    fields.check()
    return word == "true"


def invitation(values: Mapping[str, Any]) -> Invitation:
    fields = Fields(values)
    fields.require("groupJid", "description", "numbers")
    found = Invitation(
        group=fields.text("groupJid", max_length=64),
        description=fields.text("description", max_length=4096),
        numbers=_people(fields, "numbers"),
    )
    fields.check()
    return found


def _people(fields: Fields, name: str) -> tuple[str, ...]:
    says = f'"{name}" must be an array of numeric strings'
    return tuple(recipient(one) for one in fields.texts(name, least=1, max_length=64, says=says))
