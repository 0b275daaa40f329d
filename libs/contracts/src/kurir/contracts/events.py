"""Facts about devices, messages and endpoints. Published by the shard that owns the device, or by whom it says so.

The dotted tag is the event's type, the tail of its subject and its CloudEvents type. `id` is stable: the same in the
stream, in every webhook attempt and in the audit log, and it is the Nats-Msg-Id, so a repeated report is stored once.
`seq` grows by one with each event of a device's session; 0 marks an event of another service, outside that sequence.
`epoch` is the fencing token of the owner that speaks: a smaller one than seen before is a late word of a former owner.
"""

from datetime import datetime
from typing import Annotated, Any, Literal, get_args

import msgspec
from msgspec import Meta, Struct

from kurir.contracts.commands import Priority
from kurir.contracts.content import Address, Content, Media, Quote
from kurir.contracts.groups import GroupMember
from kurir.contracts.states import ConnectionState, MessageStatus, Reason

When = Annotated[datetime, Meta(tz=True)]


class Event(Struct, frozen=True, kw_only=True, tag_field="type"):
    """What every event says."""

    id: str
    tenant: str
    device: str
    at: When
    seq: int = 0
    epoch: int = 0


class ConnectionUpdate(Event, frozen=True, kw_only=True, tag="connection.update"):
    """The session of a device changed its state.

    With state `qr`, `qr` is the text to show as a QR code until `qr_expires_at`; with `pairing_code` the code to type.
    `code` is WhatsApp's own number for the reason, where it gave one: 401, 402, 403, 405, 503, ….
    """

    state: ConnectionState
    reason: Reason | None = None
    detail: str | None = None
    code: int | None = None
    qr: str | None = None
    qr_expires_at: When | None = None
    pairing_code: str | None = None
    phone: str | None = None
    jid: str | None = None
    lid: str | None = None
    push_name: str | None = None
    banned_until: When | None = None


class MessageUpserted(Event, frozen=True, kw_only=True, tag="messages.upsert"):
    """A message was received, or was sent from another of the account's devices (`from_me`)."""

    message_id: str
    whatsapp_id: str
    chat: Address
    sender: Address
    content: Content
    sent_at: When
    from_me: bool = False
    is_group: bool = False
    push_name: str | None = None
    quote: Quote | None = None
    mentions: tuple[str, ...] = ()


class MediaFailed(Event, frozen=True, kw_only=True, tag="messages.media.failed"):
    """The file of a received message was not kept. The message itself is told by messages.upsert, just before.

    `media` is what the sender says of the file: `size` in bytes, `sha256` of the file that should have come.
    """

    message_id: str
    whatsapp_id: str
    chat: Address
    sender: Address
    media: Media
    reason: Reason
    detail: str | None = None


class MessageQueued(Event, frozen=True, kw_only=True, tag="send.message.queued"):
    """A message was accepted: its command is stored. Spoken by the api, and by the owner of a device that writes by
    itself. `metadata` is what its caller noted."""

    message_id: str
    to: str
    content: Content
    status: Literal["queued", "scheduled"] = "queued"
    priority: Priority = "normal"
    send_at: When | None = None
    expires_at: When | None = None
    metadata: dict[str, Any] | None = None


class MessageSending(Event, frozen=True, kw_only=True, tag="send.message.sending"):
    """The engine is about to be asked. Stored before the engine is called: the mark that makes a repeat visible."""

    message_id: str
    to: str
    attempt: int = 1
    status: Literal["sending"] = "sending"


class MessageStatusChanged(Event, frozen=True, kw_only=True, tag="send.message.status"):
    """A message reached a status: the engine's answer, or a receipt.

    `recipient` is who the receipt came from (in groups one of many); `whatsapp_id` is known from `sent` on. `content`
    is there with `sent` alone: what WhatsApp took.
    """

    message_id: str
    status: MessageStatus
    to: str
    whatsapp_id: str | None = None
    reason: Reason | None = None
    detail: str | None = None
    attempt: int = 1
    recipient: Address | None = None
    content: Content | None = None


class PresenceUpdated(Event, frozen=True, kw_only=True, tag="presence.update"):
    """Somebody is online (`available`) or not, or is typing, recording or no longer so in a chat.

    Perishable: told only while nothing more important waits, and not kept in the history. WhatsApp tells it to
    devices that are online themselves, and who is online only of people whose presence is watched.
    """

    chat: Address
    sender: Address
    presence: Literal["available", "unavailable", "composing", "recording", "paused"]
    last_seen: When | None = None


class CallUpdated(Event, frozen=True, kw_only=True, tag="call.update"):
    """Somebody calls, or a call was taken or ended; `chat` is the group of a group call, else the caller.

    `accepted` and `rejected` happened on another of the account's devices, or at the other end. `missed`: it rang until
    WhatsApp gave up. `ended`: hung up, which without an `accepted` before means that nobody had answered.
    `reason` is WhatsApp's word for why a call ended.
    """

    call_id: str
    chat: Address
    sender: Address
    state: Literal["offered", "accepted", "rejected", "missed", "ended"]
    is_video: bool = False
    is_group: bool = False
    reason: str | None = None


class GroupUpserted(Event, frozen=True, kw_only=True, tag="groups.upsert"):
    """The device is in a group from now on: it was added, joined, or made the group. `reason` is WhatsApp's word."""

    chat: Address
    subject: str
    description: str | None = None
    owner: Address | None = None
    created_at: When | None = None
    members: tuple[GroupMember, ...] = ()
    is_announce: bool = False
    is_locked: bool = False
    author: Address | None = None
    reason: str | None = None


class GroupUpdated(Event, frozen=True, kw_only=True, tag="groups.update"):
    """A group was changed by `author`; what is absent stayed as it was.

    An empty `description` was removed. `is_announce`: only admins write; `is_locked`: only admins change subject and
    description. Messages disappear after `ephemeral_s` seconds, 0 says that they stay. `is_deleted`: it is no more.
    """

    chat: Address
    author: Address | None = None
    subject: str | None = None
    description: str | None = None
    is_announce: bool | None = None
    is_locked: bool | None = None
    ephemeral_s: int | None = None
    invite_link: str | None = None
    picture: Literal["changed", "removed"] | None = None
    is_deleted: bool | None = None


class GroupMembersChanged(Event, frozen=True, kw_only=True, tag="group-participants.update"):
    """Members came, went or got another role: by `author`, or by themselves (`join`, `leave`).

    `includes_me` says that the device's own account is among them; `reason` is WhatsApp's word.
    """

    chat: Address
    action: Literal["add", "remove", "promote", "demote", "join", "leave"]
    participants: tuple[Address, ...]
    author: Address | None = None
    includes_me: bool = False
    reason: str | None = None


class ContactUpdated(Event, frozen=True, kw_only=True, tag="contacts.update"):
    """A person changed or removed the profile picture, or the device's own account did on another device."""

    contact: Address
    picture: Literal["changed", "removed"]


class EndpointEvent(Event, frozen=True, kw_only=True):
    """What the webhook-dispatcher says of one webhook, to the others of its tenant and never to itself.

    `device` is the one that the endpoint is bound to, else `subjects.NO_DEVICE`; `host` is the URL's, without the
    rest of it, which may be a secret. `error` is a class as in DeliveryAttempt, `status` that of the answer, if any.
    """

    endpoint: str
    host: str


class EndpointFailing(EndpointEvent, frozen=True, kw_only=True, tag="endpoint.failing"):
    """Several attempts in a row failed, the first of them at `failing_since`. Told once, until it recovers."""

    failing_since: When
    failures: int
    error: str
    status: int | None = None


class EndpointRecovered(EndpointEvent, frozen=True, kw_only=True, tag="endpoint.recovered"):
    """An endpoint that was said to fail, or was disabled and turned on again, took a delivery."""

    failing_since: When | None = None


class EndpointExhausted(EndpointEvent, frozen=True, kw_only=True, tag="endpoint.exhausted"):
    """A delivery was given up after its last attempt. Told at most once in ten minutes: `dead` says how many
    deliveries to this endpoint have been given up by now and may be replayed; `event_id` is the latest of them."""

    dead: int
    delivery: str
    event_id: str
    event_type: str
    attempts: int
    error: str
    status: int | None = None


class EndpointDisabled(EndpointEvent, frozen=True, kw_only=True, tag="endpoint.disabled"):
    """Nothing more is sent to an endpoint until its tenant changes it. `reason` is a sentence."""

    reason: str
    failing_since: When | None = None
    error: str | None = None
    status: int | None = None


AnyEvent = (
    ConnectionUpdate
    | MessageUpserted
    | MediaFailed
    | MessageQueued
    | MessageSending
    | MessageStatusChanged
    | PresenceUpdated
    | CallUpdated
    | GroupUpserted
    | GroupUpdated
    | GroupMembersChanged
    | ContactUpdated
    | EndpointFailing
    | EndpointRecovered
    | EndpointExhausted
    | EndpointDisabled
)

EVENT_TYPES: dict[str, type[Event]] = {str(struct.__struct_config__.tag): struct for struct in get_args(AnyEvent)}

PERISHABLE_TYPES = frozenset({"presence.update"})
"""True for a moment: not kept in the history, and no webhook hears of them that does not ask by name."""

ENDPOINT_TYPES = frozenset(type_ for type_, struct in EVENT_TYPES.items() if issubclass(struct, EndpointEvent))
"""Events about an endpoint: it never hears of itself."""

_decoders = {type_: msgspec.json.Decoder(struct) for type_, struct in EVENT_TYPES.items()}


class EventHead(Struct, frozen=True, kw_only=True):
    """What can be read of any event, also of a type that this version does not know."""

    id: str
    type: str
    tenant: str
    device: str
    at: When
    seq: int = 0
    epoch: int = 0
    message_id: str | None = None


_head_decoder = msgspec.json.Decoder(EventHead)
_encoder = msgspec.json.Encoder()


def type_of(event: Event) -> str:
    """The event's dotted type."""
    return str(event.__struct_config__.tag)


def decode(type_: str, data: bytes | msgspec.Raw) -> AnyEvent | None:
    """Decode an event whose type is known from its subject; None for a type that this version does not know.

    Raises msgspec.ValidationError when the body does not fit its type.
    """
    decoder = _decoders.get(type_)
    return None if decoder is None else decoder.decode(data)  # type: ignore[return-value]


def decode_head(data: bytes | msgspec.Raw) -> EventHead:
    """Decode what all events share. Raises msgspec.ValidationError."""
    return _head_decoder.decode(data)


def encode(event: Event) -> bytes:
    return _encoder.encode(event)
