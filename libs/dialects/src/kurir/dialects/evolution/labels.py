"""What clients ask and are told about labels, the archive, and chats that are to look unread. Pure; raises Invalid."""

from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import Struct

from kurir.contracts.people import Label
from kurir.dialects.evolution.fields import Fields
from kurir.dialects.evolution.numbers import recipient
from kurir.dialects.evolution.requests import number_of

NOBODY = "Number is not on WhatsApp"


class Labeling(Struct, frozen=True, kw_only=True):
    """`number` as it was written."""

    number: str
    label: str
    labeled: bool


class Archiving(Struct, frozen=True, kw_only=True):
    chat: str
    archived: bool


def labeling(values: Mapping[str, Any]) -> Labeling:
    """`PUT /label/handleLabel`."""
    fields = Fields(values)
    fields.require("labelId", "action")
    found = Labeling(
        number=number_of(fields),
        label=fields.text("labelId", min_length=1, max_length=64),
        labeled=fields.text("action", allowed=("add", "remove")) == "add",
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


def labels(found: Iterable[Label]) -> list[dict[str, Any]]:
    """The labels with which every account begins are WhatsApp's own: their ids are `predefinedId` too."""
    return [{"color": one.color, "name": one.name, "id": one.id, "predefinedId": one.id} for one in found]


def labeled(jid: str, wanted: Labeling) -> dict[str, Any]:
    return {"numberJid": jid, "labelId": wanted.label, "add" if wanted.labeled else "remove": True}


def archived(chat: str) -> dict[str, Any]:
    """The same for a chat that was taken out of the archive, as the original has it."""
    return {"chatId": chat, "archived": True}


def marked_unread(chat: str) -> dict[str, Any]:
    return {"chatId": chat, "markedChatUnread": True}
