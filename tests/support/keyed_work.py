"""A partition of commands, who orders, and who works: what the tests of work by key are about."""

from collections import defaultdict
from collections.abc import Awaitable, Callable
from typing import Any

from nats.js.api import ConsumerConfig, DiscardPolicy, RetentionPolicy, StreamConfig

from kurir.contracts import subjects
from kurir.runtime.broker import Bus, Incoming, Outgoing, PubAck
from kurir.runtime.lanes import KeyedConsumer
from tests.support.conditions import until

PARTITION = 5


class Desk:
    """Stands for a handler: notes what it was given, per key, and does what the test wants."""

    def __init__(self, does: Callable[[str, int], Awaitable[None]] | None = None) -> None:
        self.done: dict[str, list[int]] = defaultdict(list)
        self.in_work: dict[str, int] = defaultdict(int)
        self.most_in_work: dict[str, int] = defaultdict(int)
        self._does = does

    async def handle(self, message: Incoming) -> None:
        key, number = subjects.command_key(message.subject), int(message.data)
        self.in_work[key] += 1
        self.most_in_work[key] = max(self.most_in_work[key], self.in_work[key])
        try:
            if self._does is not None:
                await self._does(key, number)
            self.done[key].append(number)
        finally:
            self.in_work[key] -= 1


async def a_partition(bus: Bus, *, lane_limit: int = 0, ack_wait_s: float = 30) -> None:
    await bus.js.add_stream(
        StreamConfig(
            name="COMMANDS",
            subjects=["kurir.cmd.>", "kurir.lane.>"],
            retention=RetentionPolicy.WORK_QUEUE,
            allow_direct=True,
            discard=DiscardPolicy.NEW if lane_limit else DiscardPolicy.OLD,
            discard_new_per_subject=bool(lane_limit),
            max_msgs_per_subject=lane_limit or -1,
        )
    )
    await bus.js.add_stream(StreamConfig(name="DEAD", subjects=["kurir.dead.>"], allow_direct=True))
    await bus.js.add_consumer(
        "COMMANDS",
        ConsumerConfig(
            durable_name=f"shard-{PARTITION}",
            filter_subject=subjects.commands_of_partition(PARTITION),
            ack_wait=ack_wait_s,
            max_ack_pending=2000,
        ),
    )


def a_consumer(bus: Bus, desk: Desk, **options: Any) -> KeyedConsumer:
    defaults: dict[str, Any] = {
        "stream": "COMMANDS",
        "consumer": f"shard-{PARTITION}",
        "key_of": subjects.command_key,
        "lane_subject": lambda key: subjects.command_lane(PARTITION, key),
        "lane_filter": subjects.command_lanes_of_partition(PARTITION),
        "lane_consumer_name": lambda key: f"lane-{key}",
        "handle": desk.handle,
        "ack_wait_s": 30,
        "queue_per_key": 4,
    }
    return KeyedConsumer(bus, **defaults | options)


async def order(bus: Bus, key: str, *numbers: int) -> None:
    subject = subjects.command(PARTITION, "t1", key, "send")
    results = await bus.publish_many([Outgoing(subject, b"%d" % n, f"{key}-{n}") for n in numbers])
    assert all(isinstance(result, PubAck) for result in results)


async def stored(bus: Bus, subject: str = ">") -> int:
    return sum((await bus.subjects("COMMANDS", subject)).values())


async def until_stored(bus: Bus, count: int, subject: str = ">") -> None:
    async def look() -> bool:
        return await stored(bus, subject) == count

    await until(f"{count} messages are stored on {subject}", look, within_s=60)


async def consumers(bus: Bus) -> list[str]:
    return sorted(info.name for info in await bus.js.consumers_info("COMMANDS"))


def lane_of(key: str) -> str:
    return subjects.command_lane(PARTITION, key)
