"""Messages that a device sends by itself, ordered as everybody's are: paced, told of and kept like them.

A repeat under the same id changes nothing. The event comes after the order, and its loss is no harm.
"""

from typing import Any

import msgspec
import structlog

from kurir.contracts import commands, events, headers, ids, subjects
from kurir.contracts.commands import SendMessage
from kurir.runtime.broker import Bus, PublishError
from kurir.runtime.partitions import partition_of
from kurir.session_node.event_log import SOURCE

log = structlog.get_logger(__name__)

_encoder = msgspec.json.Encoder()


async def order(bus: Bus, message: SendMessage) -> None:
    """Store a message for its device. Raises PublishError."""
    partition = partition_of(message.device, subjects.COMMAND_PARTITIONS)
    subject = subjects.command(partition, message.tenant, message.device, commands.kind_of(message))
    await bus.publish(subject, _encoder.encode(message), msg_id=message.id)
    event = events.MessageQueued(
        id=ids.status_event_id(message.id, "queued"),
        tenant=message.tenant,
        device=message.device,
        at=message.accepted_at,
        message_id=message.id,
        to=message.to,
        content=message.content,
        priority=message.priority,
        expires_at=message.expires_at,
    )
    type_ = events.type_of(event)
    said: dict[str, Any] = headers.cloudevent(
        id_=event.id,
        type_=type_,
        source=SOURCE,
        time=event.at.isoformat(),
        subject=event.device,
        traceparent=None,
    )
    try:
        subject = subjects.event(event.tenant, event.device, type_)
        await bus.publish(subject, events.encode(event), msg_id=event.id, headers=said)
    except PublishError as error:
        log.warning("event.not_told", event_id=event.id, error=str(error))
