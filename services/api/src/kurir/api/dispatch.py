"""Handing commands to the bus: the only way from HTTP to a device.

When `submit` returns, JetStream has the command, under the message id: submitting it again changes nothing. The
event that tells of it comes after; a command whose event was lost is carried out and reported all the same.
"""

from datetime import datetime
from typing import Literal

import msgspec

from kurir.contracts import commands, events, headers, ids, streams, subjects
from kurir.contracts.commands import Command, SendMessage
from kurir.runtime import logs
from kurir.runtime.broker import BrokerUnavailable, Bus, PublishError, Unreachable
from kurir.runtime.clock import Clock
from kurir.runtime.partitions import partition_of
from kurir.runtime.tracing import current_traceparent

EVENT_TIMEOUT_S = 2.0  # the caller waits for it, and the answer does not depend on it
PURGE_TIMEOUT_S = 5.0
LATER_SEND = "send"

log = logs.get("kurir.api.dispatch")
_encoder = msgspec.json.Encoder()


class Dispatch:
    def __init__(self, bus: Bus, clock: Clock) -> None:
        self._bus = bus
        self._clock = clock

    async def submit(
        self, message: SendMessage, *, send_at: datetime | None = None, changed_at: datetime | None = None
    ) -> None:
        """Store a message for its device, or until `send_at`, and tell of it; `changed_at` is when it was given
        another time than it had before.

        Raises BacklogFull when too many wait for the device, or another PublishError; after BrokerUnavailable
        with `outcome_unknown` it may have been stored, so repeat it under the same id.
        """
        if send_at is None:
            await self.order(message)
        else:
            await self._bus.publish(
                # No message id: publishing a schedule again replaces it.
                subjects.later(LATER_SEND, message.id),
                _encoder.encode(message),
                headers={
                    **_trace(),
                    headers.SCHEDULE: f"@at {send_at.isoformat().replace('+00:00', 'Z')}",
                    headers.SCHEDULE_TARGET: subjects.due(LATER_SEND),
                },
            )
        await self._tell_queued(message, send_at, changed_at)

    async def order(self, command: Command) -> None:
        """Store an order for its device. Raises PublishError, as `submit` does."""
        partition = partition_of(command.device, subjects.COMMAND_PARTITIONS)
        subject = subjects.command(partition, command.tenant, command.device, commands.kind_of(command))
        await self._bus.publish(subject, _encoder.encode(command), msg_id=command.id, headers=_trace() or None)

    async def scheduled(self, message_id: str) -> SendMessage | None:
        """The message that waits for its time under this id. Raises PublishError."""
        stored = await self._bus.last_by_subject(streams.LATER.name, subjects.later(LATER_SEND, message_id))
        command = commands.decode(stored.data) if stored is not None else None
        return command if isinstance(command, SendMessage) else None

    async def cancel(self, message: SendMessage) -> bool:
        """Take back a scheduled message; False when its time has come meanwhile.

        Raises PublishError; then it may be taken back already, and `tell_canceled` is left to do.
        """
        purge = _encoder.encode({"filter": subjects.later(LATER_SEND, message.id)})
        try:
            answer = await self._bus.request(f"$JS.API.STREAM.PURGE.{streams.LATER.name}", purge, PURGE_TIMEOUT_S)
        except Unreachable as error:
            raise BrokerUnavailable(str(error), outcome_unknown=error.outcome_unknown) from error
        if not msgspec.json.decode(answer).get("purged"):
            return False
        await self.tell_canceled(message.tenant, message.device, message.id, message.to)
        return True

    async def tell_canceled(self, tenant: str, device: str, message_id: str, to: str) -> None:
        """Tell that a message was taken back; telling it again changes nothing. Raises PublishError."""
        event = events.MessageStatusChanged(
            id=ids.status_event_id(message_id, "canceled"),
            tenant=tenant,
            device=device,
            at=self._clock.now(),
            message_id=message_id,
            status="canceled",
            reason="canceled",
            to=to,
        )
        await self._publish(event)

    async def _tell_queued(self, message: SendMessage, send_at: datetime | None, changed_at: datetime | None) -> None:
        status: Literal["queued", "scheduled"] = "queued" if send_at is None else "scheduled"
        again = (round(changed_at.timestamp() * 1000),) if changed_at is not None else ()
        event = events.MessageQueued(
            id=ids.status_event_id(message.id, status, *again),
            tenant=message.tenant,
            device=message.device,
            at=changed_at or message.accepted_at,
            message_id=message.id,
            to=message.to,
            content=message.content,
            status=status,
            priority=message.priority,
            send_at=send_at,
            expires_at=message.expires_at,
            metadata=message.metadata,
        )
        try:
            await self._publish(event)
        except PublishError as error:  # the command is stored: the message is accepted
            log.warning("event.not_told", event_id=event.id, error=str(error))

    async def _publish(self, event: events.Event) -> None:
        type_ = events.type_of(event)
        attributes = headers.cloudevent(
            id_=event.id,
            type_=type_,
            source="api",
            time=event.at.isoformat(),
            subject=event.device,
            traceparent=current_traceparent(),
        )
        await self._bus.publish(
            subjects.event(event.tenant, event.device, type_),
            events.encode(event),
            msg_id=event.id,
            headers=attributes,
            timeout_s=EVENT_TIMEOUT_S,
        )


def _trace() -> dict[str, str]:
    traceparent = current_traceparent()
    return {headers.TRACEPARENT: traceparent} if traceparent else {}
