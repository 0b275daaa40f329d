"""Events in the words of Evolution API: `{"event", "instance", "data", "destination", "date_time", "sender",
"server_url", "apikey"}`, with `data` as v1 or v2 shapes it.

Names and shapes are those of Evolution API 1.8 and 2.3 (whatsapp.baileys.service, webhook.controller); members that it
leaves undefined are absent. `date_time` is UTC, where the original writes local time and calls it so.
`send.message.status` is not Evolution's: `sent`, `failed` and `retry` of a message, with the id that we gave it.
One fact may be told as several events, as the original does: a message that was sent is a send.message, a
messages.update and a send.message.status, a received one also updates its contact and its chat.
"""

import re
from typing import Any, Final

import msgspec

from kurir.contracts import events
from kurir.contracts.content import Edit, Revoke
from kurir.dialects import javascript
from kurir.dialects.clipping import encode_clipped
from kurir.dialects.dialect import MAX_BODY_BYTES, Context, Payload
from kurir.dialects.evolution import event_data as data_of
from kurir.dialects.evolution.event_data import Teller

NAMES: Final[dict[str, tuple[str, ...]]] = {
    "connection.update": ("qrcode.updated", "connection.update", "status.instance"),
    "messages.upsert": ("messages.upsert", "messages.edited", "messages.delete", "contacts.update", "chats.update"),
    "send.message.status": (
        "send.message",
        "send.message.update",
        "messages.delete",
        "messages.update",
        "send.message.status",
    ),
    "presence.update": ("presence.update",),
    "call.update": ("call",),
    "groups.upsert": ("groups.upsert",),
    "groups.update": ("groups.update",),
    "group-participants.update": ("group-participants.update",),
    "contacts.update": ("contacts.update",),
}
"""What an event of each native type may be told as."""

_ALSO_CALLED = {"groups.update": ("GROUP_UPDATE",)}


def words(name: str) -> tuple[str, ...]:
    """By what an endpoint asks for an event: `MESSAGES_UPSERT` for `messages.upsert`."""
    return (re.sub(r"[.-]", "_", name).upper(), *_ALSO_CALLED.get(name, ()))


def told_as(type_: str, event: bytes | msgspec.Raw) -> tuple[str, ...]:
    """See `dialect.Shape`."""
    names = NAMES.get(type_, ())
    if len(names) < 2:
        return names
    match events.decode(type_, event):
        case events.ConnectionUpdate() as fact:
            return _of_connection(fact)
        case events.MessageUpserted(content=Edit()):
            return ("messages.edited",)
        case events.MessageUpserted(content=Revoke()):
            return ("messages.delete",)
        case events.MessageUpserted(from_me=from_me, push_name=push_name):
            contact = () if from_me or not push_name else ("contacts.update",)
            return ("messages.upsert", *contact, "chats.update")
        case events.MessageStatusChanged() as fact:
            return _of_status(fact)
    return ()


def _of_connection(fact: events.ConnectionUpdate) -> tuple[str, ...]:
    if fact.state in ("qr", "pairing_code"):
        return ("qrcode.updated",)
    if fact.reason == "qr_timeout":
        return ("qrcode.updated", "connection.update")
    return ("connection.update", "status.instance") if fact.state in data_of.ENDED else ("connection.update",)


def _of_status(fact: events.MessageStatusChanged) -> tuple[str, ...]:
    if fact.status == "sent":
        sent: tuple[str, ...]
        match fact.content:
            case None:
                sent = ()
            case Edit():
                sent = ("send.message.update",)
            case Revoke():
                sent = ("messages.delete",)
            case _:
                sent = ("send.message",)
        return (*sent, "messages.update", "send.message.status")
    if fact.status in data_of.RECEIPTS:
        return ("messages.update",)
    if fact.status == "retrying":
        return ("send.message.status",)
    if fact.status in data_of.FAILURES:
        return ("messages.update", "send.message.status") if fact.whatsapp_id else ("send.message.status",)
    return ()


def payload(type_: str, event: bytes | msgspec.Raw, context: Context, told_as: str | None = None) -> Payload:
    """See `dialect.PayloadShape`; without `told_as` it is the first name that the event has."""
    fact = events.decode(type_, event)
    head = events.decode_head(event) if fact is None else fact
    name = told_as or next(iter(_names_of(type_, event)), type_)
    teller = Teller(context, context.code or head.device, head.device)
    told = _data(name, fact, teller) if fact is not None else None
    envelope = {
        "event": name,
        "instance": teller.instance,
        "data": msgspec.json.decode(event) if told is None else told,
        "destination": context.destination,
        "date_time": data_of.iso(head.at),
        "sender": data_of.account(fact.jid if isinstance(fact, events.ConnectionUpdate) else None) or teller.owner,
        "server_url": context.server_url,
        "apikey": context.key,
    }
    has_file = context.file is not None and name in ("messages.upsert", "send.message")
    limit = MAX_BODY_BYTES + (len(context.file) if has_file and context.file else 0)
    encode = javascript.encode if told is None else javascript.encode_settled
    body = encode_clipped({key: one for key, one in envelope.items() if one is not None}, limit, encode)
    path = "/" + words(name)[0].replace("_", "-").lower() if context.options.by_events else ""
    return Payload(name, body, path)


_names_of = told_as


def _data(name: str, fact: events.AnyEvent, teller: Teller) -> Any:
    """The event's `data`; None for what has no shape of its own under that name."""
    match name, fact:
        case "connection.update", events.ConnectionUpdate():
            return data_of.connection(fact, teller)
        case "qrcode.updated", events.ConnectionUpdate():
            return data_of.qr_code(fact, teller)
        case "status.instance", events.ConnectionUpdate():
            return data_of.ended(fact, teller)
        case "messages.upsert", events.MessageUpserted():
            return data_of.received(fact, teller)
        case "messages.edited", events.MessageUpserted(content=Edit() as edit):
            return data_of.edited(edit)
        case "messages.delete", events.MessageUpserted(content=Revoke() as revoke):
            return data_of.key_of(revoke.target)
        case "contacts.update", events.MessageUpserted():
            return data_of.contact_of_sender(fact, teller)
        case "chats.update", events.MessageUpserted():
            return data_of.chat_of(fact, teller)
        case "send.message" | "send.message.update", events.MessageStatusChanged():
            return data_of.sent(fact, teller)
        case "messages.delete", events.MessageStatusChanged(content=Revoke() as revoke):
            return data_of.key_of(revoke.target)
        case "messages.update", events.MessageStatusChanged():
            return data_of.update(fact, teller)
        case "send.message.status", events.MessageStatusChanged():
            return data_of.status(fact)
        case "presence.update", events.PresenceUpdated():
            return data_of.presence(fact)
        case "call", events.CallUpdated():
            return data_of.call(fact)
        case "groups.upsert", events.GroupUpserted():
            return data_of.new_group(fact)
        case "groups.update", events.GroupUpdated():
            return data_of.group(fact)
        case "group-participants.update", events.GroupMembersChanged():
            return data_of.members(fact)
        case "contacts.update", events.ContactUpdated():
            return data_of.contact(fact, teller)
    return None
