"""A message with a time becomes a command when the time has come, once, whatever dies meanwhile."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from kurir.contracts import commands, events, headers, streams, subjects
from kurir.contracts.commands import SendMessage
from kurir.contracts.content import Text
from kurir.contracts.ids import uuid7
from kurir.runtime import topology
from kurir.runtime.broker import Bus
from kurir.runtime.clock import SystemClock
from kurir.runtime.metrics import Metrics
from kurir.runtime.partitions import partition_of
from kurir.scheduler.jobs.scheduled_sends import ScheduledSends
from tests.support.conditions import until
from tests.support.nats_server import NatsServer

DEVICE = "c1"
PARTITION = partition_of(DEVICE, subjects.COMMAND_PARTITIONS)


@pytest.fixture
async def scheduling(bus: Bus) -> AsyncIterator[Bus]:
    """A bus with Kurir's streams and a scheduler at work on it."""
    await topology.apply(bus)
    work = asyncio.create_task(ScheduledSends(bus, SystemClock(), Metrics()).run())
    yield bus
    work.cancel()
    await asyncio.gather(work, return_exceptions=True)


def a_message() -> SendMessage:
    return SendMessage(
        id=uuid7(),
        tenant="t1",
        device=DEVICE,
        to="6281234567890@s.whatsapp.net",
        content=Text(text="later"),
        accepted_at=datetime.now(UTC),
    )


async def schedule(bus: Bus, message: SendMessage, in_s: float) -> None:
    at = (datetime.now(UTC) + timedelta(seconds=in_s)).isoformat().replace("+00:00", "Z")
    await bus.publish(
        subjects.later("send", message.id),
        msgspec.json.encode(message),
        headers={headers.SCHEDULE: f"@at {at}", headers.SCHEDULE_TARGET: subjects.due("send")},
    )


async def commanded(bus: Bus) -> list[str]:
    subject = subjects.command(PARTITION, "t1", DEVICE, "send")
    return [commands.decode(stored.data).id for stored in await bus.read_from("COMMANDS", subject, 1, 100)]


async def test_a_message_becomes_a_command_and_is_told_as_queued_when_its_time_has_come(scheduling: Bus) -> None:
    message = a_message()
    await schedule(scheduling, message, 2.0)
    assert await commanded(scheduling) == []
    await until("the command is there", lambda: _is(commanded(scheduling), [message.id]))
    await until("nothing is due any more", lambda: _is(_due_left(scheduling), 0))  # which it is until that is told
    subject = subjects.event("t1", DEVICE, "send.message.queued")
    told = await scheduling.last_by_subject("EVENTS", subject)
    assert told is not None
    queued = events.decode("send.message.queued", told.data)
    assert isinstance(queued, events.MessageQueued)
    assert (queued.message_id, queued.status, queued.seq) == (message.id, "queued", 0)


async def test_a_message_due_twice_becomes_one_command(scheduling: Bus) -> None:
    message = a_message()
    for _ in range(2):
        await scheduling.publish(subjects.due("send"), msgspec.json.encode(message))
    await until("nothing is due any more", lambda: _is(_due_left(scheduling), 0))
    assert await commanded(scheduling) == [message.id]


async def test_schedules_that_fall_due_while_the_server_is_dead_become_commands_after_it(
    scheduling: Bus, nats_server: NatsServer
) -> None:
    messages = [a_message() for _ in range(20)]
    for message in messages:
        await schedule(scheduling, message, 0.5)
    await nats_server.kill()
    await asyncio.sleep(0.6)  # the time itself is what passes here
    await nats_server.restart()
    wanted = sorted(message.id for message in messages)

    async def all_there() -> bool:
        return scheduling.connected and sorted(await commanded(scheduling)) == wanted

    await until("all commands are there", all_there, within_s=30)


async def test_what_is_no_message_goes_to_the_dead_letters_with_its_reason(scheduling: Bus) -> None:
    await scheduling.publish(subjects.due("send"), b'{"command": "dance"}')
    await until("the dead letter is there", lambda: _is(_dead(scheduling), 1))
    await until("nothing is due any more", lambda: _is(_due_left(scheduling), 0))


async def _is(awaited: Awaitable[object], value: object) -> bool:
    return await awaited == value


async def _due_left(bus: Bus) -> int:
    return sum((await bus.subjects(streams.LATER.name, "kurir.due.>")).values())


async def _dead(bus: Bus) -> int:
    return sum((await bus.subjects(streams.DEAD.name, "kurir.dead.>")).values())
