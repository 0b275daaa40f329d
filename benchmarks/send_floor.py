"""What carrying out a command costs on the bus alone: each command is pulled, four events are stored, it is acked.

Runs in a process of its own until that is ended. The events have the size and the headers of real ones.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from multiprocessing.connection import Connection

import nats
import uvloop
from nats.aio.msg import Msg
from nats.errors import TimeoutError as NatsTimeout
from nats.js import JetStreamContext

from kurir.contracts import events, headers, ids, streams, subjects
from kurir.contracts.content import Address
from kurir.contracts.states import MessageStatus
from kurir.runtime.broker import Bus, Incoming

BATCH = 64
IN_FLIGHT = 1_024

Publish = Callable[[str, bytes, str, dict[str, str]], Awaitable[object]]
Event = tuple[str, bytes, dict[str, str]]


def carry_out(there: Connection, nats_url: str, driver: str) -> None:
    """Work all partitions of COMMANDS by `driver`, nats-py or bus; say so when it begins."""
    uvloop.run(_by_nats_py(there, nats_url) if driver == "nats-py" else _by_bus(there, nats_url))


async def _by_nats_py(there: Connection, nats_url: str) -> None:
    client = await nats.connect(nats_url)
    js = client.jetstream()
    turns = asyncio.Semaphore(IN_FLIGHT)
    tasks: set[asyncio.Task[None]] = set()

    async def publish(subject: str, payload: bytes, msg_id: str, said: dict[str, str]) -> None:
        await js.publish(subject, payload, headers={headers.MSG_ID: msg_id, **said})

    async def work(message: Msg) -> None:
        await _store_events(publish, message.headers[headers.MSG_ID] if message.headers else "")
        await message.ack()
        turns.release()

    async def pull(subscription: JetStreamContext.PullSubscription) -> None:
        while True:
            try:
                batch = await subscription.fetch(BATCH, timeout=30)
            except NatsTimeout:
                continue
            for message in batch:
                await turns.acquire()
                task = asyncio.create_task(work(message))
                tasks.add(task)
                task.add_done_callback(tasks.discard)

    pulls = [await js.pull_subscribe_bind(consumer=name, stream=streams.COMMANDS.name) for name in _consumers()]
    there.send("working")
    await asyncio.gather(*map(pull, pulls))


async def _by_bus(there: Connection, nats_url: str) -> None:
    bus = await Bus.connect(nats_url, name="floor")
    tasks: set[asyncio.Task[None]] = set()

    async def publish(subject: str, payload: bytes, msg_id: str, said: dict[str, str]) -> None:
        await bus.publish(subject, payload, msg_id=msg_id, headers=said)

    async def work(message: Incoming) -> None:
        await _store_events(publish, message.headers[headers.MSG_ID])
        message.ack()

    async def pull(consumer: str) -> None:
        async for batch in await bus.open_pull(streams.COMMANDS.name, consumer, max_outstanding=BATCH):
            for message in batch:
                task = asyncio.create_task(work(message))
                tasks.add(task)
                task.add_done_callback(tasks.discard)

    there.send("working")
    await asyncio.gather(*map(pull, _consumers()))


def _consumers() -> list[str]:
    return [streams.command_consumer(partition) for partition in range(subjects.COMMAND_PARTITIONS)]


async def _store_events(publish: Publish, message_id: str) -> None:
    for number, (subject, payload, said) in enumerate(_EVENTS):
        await publish(subject, payload, f"{message_id}-{number}", said)


def _events() -> list[Event]:
    device, at, message, to = "dev0000", datetime.now(UTC), ids.uuid7(), "6281234567890@s.whatsapp.net"

    def status(status: MessageStatus, recipient: Address | None = None) -> events.Event:
        return events.MessageStatusChanged(
            id=ids.status_event_id(message, status),
            tenant="bench",
            device=device,
            at=at,
            seq=1000,
            epoch=1000,
            message_id=message,
            status=status,
            to=to,
            whatsapp_id="3EB0C767D097B7C7C030",
            recipient=recipient,
        )

    reader = Address(jid=to, pn=to, lid="100006281234567890@lid")
    mark = events.MessageSending(
        id=ids.status_event_id(message, "sending"), tenant="bench", device=device, at=at, message_id=message, to=to
    )
    return [_outgoing(one) for one in (mark, status("sent"), status("delivered", reader), status("read", reader))]


def _outgoing(event: events.Event) -> Event:
    type_ = events.type_of(event)
    said = headers.cloudevent(
        id_=event.id, type_=type_, source="bench", time=event.at.isoformat(), subject=event.device
    )
    return subjects.event(event.tenant, event.device, type_), events.encode(event), said


_EVENTS = _events()
