"""Every channel of the bus: who says what to whom, on which subject, kept by which stream.

One row per kind of message. The AsyncAPI document is made from this table, and `tests/examples/<name>/` holds
recorded messages of each row that must decode for ever.
"""

from typing import Any, Literal

from msgspec import Struct

from kurir.contracts import commands, deliveries, events, queries, streams, subjects

Service = Literal["api", "session-node", "webhook-dispatcher", "scheduler", "subscribers", "nats-server"]


class Channel(Struct, frozen=True, kw_only=True):
    """One row. `subject` has `{placeholders}` for its tokens; `stream` is None for core request and reply.

    `message` is the struct on the wire, `reply` the struct that answers it, `answer` the body of an Answer.
    """

    name: str
    subject: str
    stream: streams.StreamSpec | None
    message: Any
    producers: tuple[Service, ...]
    consumers: tuple[Service, ...]
    description: str
    reply: Any = None
    answer: Any = None


def _event_channel(struct: type[events.Event], producers: tuple[Service, ...], description: str) -> Channel:
    type_ = str(struct.__struct_config__.tag)
    return Channel(
        name=type_,
        subject=f"kurir.evt.{{tenant}}.{{device}}.{type_}",
        stream=streams.EVENTS,
        message=struct,
        producers=producers,
        consumers=("webhook-dispatcher", "api", "subscribers"),
        description=description,
    )


def _question_channel(method: queries.Method) -> Channel:
    return Channel(
        name=f"rpc.{method.name}",
        subject=f"kurir.rpc.{{partition}}.{method.name}",
        stream=None,
        message=method.question,
        reply=queries.Reply,
        answer=method.answer,
        producers=("api",),
        consumers=("session-node",),
        description=method.description,
    )


CHANNELS = (
    Channel(
        name="command",
        subject="kurir.cmd.{partition}.{tenant}.{device}.{kind}",
        stream=streams.COMMANDS,
        message=commands.Command,
        producers=("api", "scheduler", "session-node"),
        consumers=("session-node",),
        description="An order to one device; kind is send-high, send, send-bulk or control.",
    ),
    Channel(
        name="command.lane",
        subject="kurir.lane.{partition}.{device}",
        stream=streams.COMMANDS,
        message=commands.Command,
        producers=("session-node",),
        consumers=("session-node",),
        description="Orders to a device that fell behind its own pace, in order.",
    ),
    Channel(
        name="later.send",
        subject="kurir.later.send.{message}",
        stream=streams.LATER,
        message=commands.SendMessage,
        producers=("api",),
        consumers=("nats-server",),
        description="A message that waits for its time; the server fires it into kurir.due.send.",
    ),
    Channel(
        name="due.send",
        subject="kurir.due.send",
        stream=streams.LATER,
        message=commands.SendMessage,
        producers=("nats-server",),
        consumers=("scheduler",),
        description="A message whose time has come; the scheduler makes a command of it.",
    ),
    _event_channel(
        events.ConnectionUpdate, ("session-node",), "The session of a device changed its state, or shows a QR code."
    ),
    _event_channel(events.MessageUpserted, ("session-node",), "A message was received, or sent from another device."),
    _event_channel(events.MediaFailed, ("session-node",), "The file of a received message was not kept, and why."),
    _event_channel(
        events.PresenceUpdated, ("session-node",), "Somebody is online, was last seen, types or records. Perishable."
    ),
    _event_channel(events.CallUpdated, ("session-node",), "Somebody calls, or what became of a call."),
    _event_channel(events.GroupUpserted, ("session-node",), "The device is in a group from now on."),
    _event_channel(events.GroupUpdated, ("session-node",), "A group has another subject, description or setting."),
    _event_channel(
        events.GroupMembersChanged, ("session-node",), "Members of a group came, went, or got another role."
    ),
    _event_channel(events.ContactUpdated, ("session-node",), "Somebody changed or removed the profile picture."),
    _event_channel(
        events.EndpointFailing, ("webhook-dispatcher",), "Several attempts in a row to deliver to a webhook failed."
    ),
    _event_channel(events.EndpointRecovered, ("webhook-dispatcher",), "A webhook that failed took a delivery again."),
    _event_channel(
        events.EndpointExhausted,
        ("webhook-dispatcher",),
        "Deliveries to a webhook were given up after their last attempt.",
    ),
    _event_channel(events.EndpointDisabled, ("webhook-dispatcher",), "Nothing more is sent to a webhook, and why."),
    _event_channel(events.MessageQueued, ("api", "session-node"), "A message was accepted: its command is stored."),
    _event_channel(events.MessageSending, ("session-node",), "The engine is about to be asked to send."),
    _event_channel(
        events.MessageStatusChanged,
        ("session-node", "api"),
        "A message was sent, delivered, read, failed, …; canceled is spoken by the api.",
    ),
    Channel(
        name="delivery",
        subject="kurir.dlv.{partition}.{endpoint}",
        stream=streams.DELIVERIES,
        message=deliveries.Delivery,
        producers=("webhook-dispatcher", "nats-server"),
        consumers=("webhook-dispatcher",),
        description="One event for one endpoint, due for its next attempt.",
    ),
    Channel(
        name="delivery.lane",
        subject="kurir.dlvlane.{partition}.{endpoint}",
        stream=streams.DELIVERIES,
        message=deliveries.Delivery,
        producers=("webhook-dispatcher",),
        consumers=("webhook-dispatcher",),
        description="Deliveries to an endpoint that is over its concurrency or unhealthy.",
    ),
    Channel(
        name="delivery.retry",
        subject="kurir.dlvretry.{endpoint}.{delivery}",
        stream=streams.DELIVERIES,
        message=deliveries.Delivery,
        producers=("webhook-dispatcher",),
        consumers=("nats-server",),
        description="The next attempt of a delivery, scheduled.",
    ),
    Channel(
        name="delivery.replay",
        subject="kurir.replay.{tenant}.{endpoint}.{replay}",
        stream=streams.DELIVERIES,
        message=deliveries.ReplayOrder,
        producers=("api",),
        consumers=("webhook-dispatcher",),
        description="Deliver again: one event, a range of time, or what was given up.",
    ),
    Channel(
        name="webhook.test",
        subject=subjects.WEBHOOK_TEST,
        stream=None,
        message=deliveries.WebhookTest,
        reply=queries.Reply,
        answer=deliveries.DeliveryAttempt,
        producers=("api",),
        consumers=("webhook-dispatcher",),
        description="Send a sample event to a webhook now; one dispatcher does, and answers how it went.",
    ),
    Channel(
        name="delivery.attempt",
        subject="kurir.aud.{tenant}.delivery.attempt",
        stream=streams.AUDIT,
        message=deliveries.DeliveryAttempt,
        producers=("webhook-dispatcher",),
        consumers=("webhook-dispatcher", "subscribers"),
        description="What came of one HTTP request to a webhook.",
    ),
    Channel(
        name="configuration.changed",
        subject="kurir.aud.{tenant}.configuration.changed",
        stream=streams.AUDIT,
        message=deliveries.ConfigurationChanged,
        producers=("api", "webhook-dispatcher"),
        consumers=("webhook-dispatcher", "subscribers"),
        description="Somebody changed a tenant, key, device or endpoint.",
    ),
    *map(_question_channel, queries.METHODS.values()),
)


def by_name(name: str) -> Channel:
    """The row of that name. Raises KeyError."""
    return _BY_NAME[name]


_BY_NAME = {channel.name: channel for channel in CHANNELS}
