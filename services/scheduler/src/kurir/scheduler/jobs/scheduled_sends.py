"""Turns messages whose time has come into commands. Every replica does; no leader is needed.

The server fires a schedule into `kurir.due.send`; here it becomes a command under the message's own id, and is
acknowledged after that. A repeat, after a kill in between, publishes the same id: the stream drops it, and should the
stream have forgotten, the device's owner finds the mark of the first.
"""

from collections.abc import Sequence

from kurir.contracts import commands, events, headers, ids, streams, subjects
from kurir.contracts.commands import SendMessage
from kurir.runtime.broker import BacklogFull, Bus, Incoming, Outgoing, PublishError
from kurir.runtime.clock import Clock
from kurir.runtime.logs import get
from kurir.runtime.metrics import Metrics
from kurir.runtime.partitions import partition_of
from kurir.runtime.settlement import Again, GivenUp, Rejected, conclude, fate_of
from kurir.runtime.tracing import traceparent_of

BATCH = 500  # a campaign's ticks fall due together: 30,000 at one instant were seen to be fired within a second
BACKLOG_AGAIN_S = 15.0  # a device with a full backlog makes room for one message in 2 s at its default pace

log = get("kurir.scheduled_sends")


class ScheduledSends:
    """Consumes `due`; whoever spawns `run` ends it by cancelling."""

    def __init__(self, bus: Bus, clock: Clock, metrics: Metrics) -> None:
        self._bus = bus
        self._clock = clock
        self._outcomes = metrics.counter(
            "kurir_scheduled_sends_total", "Scheduled messages whose time came", outcome=("commanded", "again", "dead")
        )

    async def run(self) -> None:
        """Work until cancelled; what was pulled and not worked goes back at once."""
        pull = await self._bus.open_pull(streams.LATER.name, streams.DUE_CONSUMER, max_outstanding=BATCH)
        try:
            async for batch in pull:
                await self._command(batch)
        finally:
            await self._bus.close_pull(pull)

    async def _command(self, batch: Sequence[Incoming]) -> None:
        good: list[tuple[Incoming, SendMessage]] = []
        for message in batch:
            try:
                command = commands.decode(message.data)
                if not isinstance(command, SendMessage):
                    raise Rejected("VALIDATION_ERROR", "only messages are scheduled")
            except Exception as error:
                await conclude(self._bus, message, fate_of(error, message.delivered))
                self._outcomes.add(outcome="dead")
            else:
                good.append((message, command))
        answers = await self._bus.publish_many([_as_command(message, command) for message, command in good])
        told = [command for (_, command), answer in zip(good, answers, strict=True) if not _failed(answer)]
        # The history says "queued" from now on; a lost one of these costs a line of the story, not the message.
        await self._bus.publish_many([self._as_queued(command) for command in told])
        for (message, _), answer in zip(good, answers, strict=True):
            await self._settle(message, answer)

    async def _settle(self, message: Incoming, answer: object) -> None:
        match answer:
            case BacklogFull():
                await conclude(self._bus, message, Again(BACKLOG_AGAIN_S, "the device's backlog is full"))
                self._outcomes.add(outcome="again")
            case PublishError():
                fate = fate_of(answer, message.delivered)
                await conclude(self._bus, message, fate)
                self._outcomes.add(outcome="dead" if isinstance(fate, GivenUp) else "again")
            case _:
                message.ack()
                self._outcomes.add(outcome="commanded")

    def _as_queued(self, command: SendMessage) -> Outgoing:
        event = events.MessageQueued(
            id=ids.status_event_id(command.id, "queued"),
            tenant=command.tenant,
            device=command.device,
            at=self._clock.now(),
            message_id=command.id,
            to=command.to,
            content=command.content,
            priority=command.priority,
            expires_at=command.expires_at,
            metadata=command.metadata,
        )
        type_ = events.type_of(event)
        attributes = headers.cloudevent(
            id_=event.id, type_=type_, source="scheduler", time=event.at.isoformat(), subject=event.device
        )
        subject = subjects.event(event.tenant, event.device, type_)
        return Outgoing(subject, events.encode(event), event.id, attributes)


def _as_command(message: Incoming, command: SendMessage) -> Outgoing:
    partition = partition_of(command.device, subjects.COMMAND_PARTITIONS)
    subject = subjects.command(partition, command.tenant, command.device, commands.kind_of(command))
    traceparent = traceparent_of(message.headers)
    return Outgoing(subject, message.data, command.id, {headers.TRACEPARENT: traceparent} if traceparent else None)


def _failed(answer: object) -> bool:
    return isinstance(answer, PublishError)
