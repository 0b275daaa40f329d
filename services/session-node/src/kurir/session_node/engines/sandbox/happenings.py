"""What the sandbox's contacts and groups do of themselves after a message: type, call, change a picture, move people.

No I/O: what will be seen, and when. It is not kept: a device that is not connected at the moment does not see it.
"""

import random
from collections.abc import AsyncIterator
from datetime import datetime, timedelta

import msgspec

from kurir.contracts.content import Address, Document, Media
from kurir.session_node.engines.engine import MediaFailed, Received, Sent
from kurir.session_node.engines.observations import (
    CallSeen,
    ContactChanged,
    GroupChanged,
    MembershipChanged,
    PresenceSeen,
    Seen,
)
from kurir.session_node.engines.sandbox import contacts
from kurir.session_node.engines.sandbox.scenario import Happening

ADMIN = contacts.GROUP_MEMBERS[0]
NEWCOMER = contacts.address("628990000004@s.whatsapp.net")


class LostFile:
    """An attachment that WhatsApp no longer has."""

    mimetype = "application/pdf"
    size: int | None = 48_213
    file_name: str | None = "lost.pdf"

    async def chunks(self) -> AsyncIterator[bytes]:
        raise MediaFailed("media_expired", "the sandbox never had it")
        yield b""


def after(happens: Happening, sent: Sent, me: Address, pace: contacts.Pace) -> list[tuple[datetime, Seen | Received]]:
    """What follows a message to `sent.chat`, in order, each with its moment. `me` is the device itself."""
    at = sent.sent_at + timedelta(seconds=pace.read_s[1])
    told = []
    for seen in _seen(happens, sent.chat, me, at):
        at += timedelta(seconds=random.uniform(*pace.reply_s))
        moment = {"sent_at": at} if isinstance(seen, Received) else {"at": at}
        told.append((at, msgspec.structs.replace(seen, **moment)))
    return told


def _seen(happens: Happening, chat: Address, me: Address, at: datetime) -> list[Seen | Received]:
    """The order of things; their moments are filled in."""
    match happens:
        case "presence":
            online = PresenceSeen(chat=chat, sender=chat, presence="available", at=at)
            types, pauses = (msgspec.structs.replace(online, presence=shown) for shown in ("composing", "paused"))
            gone = msgspec.structs.replace(online, presence="unavailable", last_seen=at)
            return [online, types, pauses, gone]
        case "call":
            ringing = CallSeen(call_id=contacts.whatsapp_id(), chat=chat, sender=chat, state="offered", at=at)
            return [ringing, msgspec.structs.replace(ringing, state="missed", reason="timeout")]
        case "lost_file":
            lost = LostFile()
            media = Media(object="", mimetype=lost.mimetype, size=lost.size or 0, sha256="", file_name=lost.file_name)
            content = Document(media=media, caption="Did you get this?")
            name = contacts.whatsapp_id()
            return [Received(whatsapp_id=name, chat=chat, sender=chat, content=content, sent_at=at, attachment=lost)]
        case "picture":
            return [ContactChanged(contact=chat, picture="changed", at=at)]
        case "group":
            came = MembershipChanged(chat=chat, action="add", participants=(NEWCOMER,), author=ADMIN, at=at)
            return [
                GroupChanged(chat=chat, author=ADMIN, subject="Another subject", at=at),
                GroupChanged(chat=chat, author=ADMIN, description="Another description", is_announce=True, at=at),
                came,
                msgspec.structs.replace(came, action="promote"),
                msgspec.structs.replace(came, action="demote"),
                msgspec.structs.replace(came, action="leave", author=NEWCOMER),
            ]
        case "removed":
            return [
                MembershipChanged(chat=chat, action="remove", participants=(me,), author=ADMIN, includes_me=True, at=at)
            ]
