"""Work by key: in order, apart from each other, and nothing is lost whoever dies."""

import asyncio
import random
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from nats.js.api import ConsumerConfig, DiscardPolicy, RetentionPolicy, StreamConfig

from kurir.contracts import subjects
from kurir.runtime import lanes
from kurir.runtime.broker import Bus, Incoming, Outgoing, PubAck, Pull
from kurir.runtime.lanes import KeyedConsumer
from kurir.runtime.settlement import Rejected, Retry
from tests.support.conditions import until
from tests.support.nats_server import NatsServer

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


@pytest.fixture
async def other_bus(nats_server: NatsServer) -> AsyncIterator[Bus]:
    """The connection of a process that can be cut off."""
    connected = await Bus.connect(nats_server.url, name="other", on_closed=lambda: None)
    try:
        yield connected
    finally:
        await connected.close()


async def test_each_key_is_worked_in_order_and_one_at_a_time(bus: Bus) -> None:
    await a_partition(bus)

    async def tarry(key: str, number: int) -> None:
        await asyncio.sleep(random.random() / 1000)

    desk = Desk(tarry)
    consumer = a_consumer(bus, desk)
    await consumer.start()
    for number in range(50):
        for key in ("a", "b", "c"):
            await order(bus, key, number)
    await until_stored(bus, 0)
    assert desk.done == {key: list(range(50)) for key in ("a", "b", "c")}
    assert set(desk.most_in_work.values()) == {1}
    await consumer.stop()


async def test_order_is_kept_through_spill_and_drain(bus: Bus) -> None:
    await a_partition(bus)
    is_slow = True

    async def tarry(key: str, number: int) -> None:
        await asyncio.sleep(0.002 if is_slow else 0)

    desk = Desk(tarry)
    consumer = a_consumer(bus, desk)
    await consumer.start()
    went_through_lane = False
    for start in range(0, 600, 100):
        await order(bus, "a", *range(start, start + 100))
        went_through_lane |= bool(consumer.open_lanes)
        await asyncio.sleep(random.random() / 10)
    is_slow = False
    await until_stored(bus, 0)
    assert went_through_lane
    assert desk.done["a"] == list(range(600))
    await until("the lane is closed", lambda: not consumer.open_lanes)
    assert await consumers(bus) == [f"shard-{PARTITION}"]

    await order(bus, "a", 600)
    await until("the key is worked straight again", lambda: desk.done["a"][-1] == 600)
    await consumer.stop()


async def test_a_thousand_messages_of_a_paused_key_hold_up_nobody(bus: Bus) -> None:
    await a_partition(bus)
    desk = Desk()
    consumer = a_consumer(bus, desk, max_held=64)
    await consumer.start()
    consumer.pause("paused")
    for start in range(0, 1000, 100):
        await order(bus, "paused", *range(start, start + 100))
        await order(bus, "other", start)
    await until("the other key is done", lambda: len(desk.done["other"]) == 10)
    await until_stored(bus, 1000, lane_of("paused"))
    assert desk.done["paused"] == []
    await until("nothing is held in the process", lambda: consumer.held == 0)
    assert await consumers(bus) == [f"shard-{PARTITION}"]

    consumer.resume("paused")
    await until_stored(bus, 0)
    assert desk.done["paused"] == list(range(1000))
    await consumer.stop()


async def test_a_key_whose_handler_hangs_holds_up_nobody(bus: Bus) -> None:
    await a_partition(bus)
    release = asyncio.Event()

    async def hang(key: str, number: int) -> None:
        if key == "hangs":
            await release.wait()

    desk = Desk(hang)
    consumer = a_consumer(bus, desk, max_held=64)
    await consumer.start()
    await order(bus, "hangs", *range(500))
    await order(bus, "other", *range(500))
    await until("the other key is done", lambda: len(desk.done["other"]) == 500)
    assert desk.done["hangs"] == []
    release.set()
    await until_stored(bus, 0)
    assert desk.done["hangs"] == list(range(500))
    await consumer.stop()


async def test_pausing_and_resuming_at_any_moment_keeps_the_order(bus: Bus) -> None:
    await a_partition(bus)

    async def tarry(key: str, number: int) -> None:
        await asyncio.sleep(random.random() / 500)

    desk = Desk(tarry)
    consumer = a_consumer(bus, desk)
    await consumer.start()
    is_published = asyncio.Event()

    async def publish() -> None:
        for start in range(0, 400, 20):
            await order(bus, "a", *range(start, start + 20))
            await asyncio.sleep(random.random() / 50)
        is_published.set()

    publishing = asyncio.create_task(publish())
    while not is_published.is_set():
        consumer.pause("a")
        await asyncio.sleep(random.random() / 30)
        consumer.resume("a")
        await asyncio.sleep(random.random() / 30)
    await publishing
    await until_stored(bus, 0)
    assert desk.done["a"] == list(range(400))
    await consumer.stop()


async def test_a_key_that_is_resumed_while_its_lane_is_being_closed_goes_on_at_once(
    bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as a device that connects in the moment in which its message was found to have to wait for that."""
    await a_partition(bus)
    tries: list[int] = []

    async def wait_for_a_change(key: str, number: int) -> None:
        tries.append(number)
        if len(tries) == 1:
            consumer.pause(key)
            raise Retry(3600, "offline")

    close_pull = bus.close_pull

    async def close_and_let_the_change_come(pull: Pull) -> None:
        await close_pull(pull)
        consumer.resume("a")

    desk = Desk(wait_for_a_change)
    consumer = a_consumer(bus, desk)
    await consumer.start()
    consumer.pause("a")
    await order(bus, "a", *range(5))
    await until_stored(bus, 5, lane_of("a"))
    monkeypatch.setattr(bus, "close_pull", close_and_let_the_change_come)
    consumer.resume("a")
    await until("all are done", lambda: desk.done["a"] == list(range(5)), seen=lambda: tries)
    await until_stored(bus, 0)
    monkeypatch.undo()
    await consumer.stop()


async def test_a_message_to_be_tried_again_keeps_its_place(bus: Bus) -> None:
    await a_partition(bus)
    tries: list[int] = []

    async def refuse_twice(key: str, number: int) -> None:
        tries.append(number)
        if number == 1 and tries.count(1) < 3:
            raise Retry(0.05, "busy")

    desk = Desk(refuse_twice)
    consumer = a_consumer(bus, desk)
    await consumer.start()
    await order(bus, "a", *range(20))
    await until_stored(bus, 0)
    assert tries == [0, 1, 1, 1, *range(2, 20)]
    assert desk.done["a"] == list(range(20))
    await consumer.stop()


async def test_a_rejected_message_goes_to_the_dead_from_the_partition_and_from_the_lane(bus: Bus) -> None:
    await a_partition(bus)

    async def reject(key: str, number: int) -> None:
        if number in (0, 15):
            raise Rejected("INVALID_RECIPIENT", f"{number}")

    desk = Desk(reject)
    consumer = a_consumer(bus, desk)
    await consumer.start()
    await order(bus, "a", 0)
    await until_stored(bus, 0)
    consumer.pause("a")
    await order(bus, "a", *range(1, 20))
    await until_stored(bus, 19, lane_of("a"))
    consumer.resume("a")
    await until_stored(bus, 0)
    assert desk.done["a"] == [n for n in range(20) if n not in (0, 15)]
    dead = await bus.read_from("DEAD", "kurir.dead.commands.t1.a", 1, 10)
    assert [(d.data, d.headers["Kurir-Dead-Subject"]) for d in dead] == [
        (b"0", "kurir.cmd.5.t1.a.send"),
        (b"15", "kurir.cmd.5.t1.a.send"),
    ]
    await consumer.stop()


async def test_unordered_keys_have_several_in_work_and_never_more_than_allowed(bus: Bus) -> None:
    await a_partition(bus)

    async def tarry(key: str, number: int) -> None:
        await asyncio.sleep(0.005)
        if number % 50 == 7 and number not in desk.done[key] and random.random() < 0.5:
            raise Retry(0.01, "busy")

    desk = Desk(tarry)
    consumer = a_consumer(bus, desk, concurrency_per_key=3, queue_per_key=6)
    await consumer.start()
    await order(bus, "a", *range(200))
    await order(bus, "b", *range(10))
    await until_stored(bus, 0)
    assert sorted(desk.done["a"]) == list(range(200))
    assert sorted(desk.done["b"]) == list(range(10))
    assert desk.most_in_work["a"] == 3
    await consumer.stop()


async def test_stopping_finishes_what_is_in_work_and_gives_the_rest_back_at_once(bus: Bus) -> None:
    await a_partition(bus)
    begun, release = asyncio.Event(), asyncio.Event()

    async def hang(key: str, number: int) -> None:
        begun.set()
        await release.wait()

    desk = Desk(hang)
    consumer = a_consumer(bus, desk, queue_per_key=50)
    await consumer.start()
    await order(bus, "a", *range(10))
    await begun.wait()
    await until("all are held", lambda: consumer.held == 10)
    stopping = asyncio.create_task(consumer.stop())
    returned: list[Incoming] = []
    while len(returned) < 9:
        batch = await bus.pull("COMMANDS", f"shard-{PARTITION}", batch=20, expires_s=5)
        assert batch, "what waits must come back at once, not after ack_wait"
        returned += batch
    assert [int(m.data) for m in returned] == list(range(1, 10))
    release.set()
    await stopping
    await until_stored(bus, 9)
    assert desk.done["a"] == [0]


async def test_a_handler_that_does_not_finish_in_time_is_cancelled_and_its_message_given_back(bus: Bus) -> None:
    await a_partition(bus)
    begun = asyncio.Event()

    async def hang(key: str, number: int) -> None:
        begun.set()
        await asyncio.Event().wait()

    consumer = a_consumer(bus, Desk(hang))
    await consumer.start()
    await order(bus, "a", 0)
    await begun.wait()
    await consumer.stop(within_s=0.05)
    [again] = await bus.pull("COMMANDS", f"shard-{PARTITION}", batch=20, expires_s=5)
    assert again.data == b"0"


async def test_a_new_owner_goes_on_in_order_where_a_dead_one_was(bus: Bus, other_bus: Bus) -> None:
    await a_partition(bus)
    is_dead = False

    async def die_later(key: str, number: int) -> None:
        if is_dead or number > 100:  # and until then it does not come to its lane's end
            await asyncio.Event().wait()
        await asyncio.sleep(0.001)

    first = Desk(die_later)
    dying = a_consumer(other_bus, first, queue_per_key=8)
    await dying.start()
    dying.pause("b")
    for start in range(0, 300, 30):
        await order(bus, "a", *range(start, start + 30))
        await order(bus, "b", *range(start, start + 30))
    await until("some are done and the lane is open", lambda: len(first.done["a"]) > 60 and "a" in dying.open_lanes)
    await other_bus.nc.close()  # without a word: nothing is acknowledged or given back any more
    is_dead = True

    second = Desk()
    consumer = a_consumer(bus, second, queue_per_key=8)
    await consumer.start()
    await order(bus, "a", *range(300, 330))
    await until_stored(bus, 0)
    assert second.done["b"] == list(range(300))
    # Strictly in order, with at most a few repeats of what the dead one had done and could not acknowledge.
    assert second.done["a"] == list(range(second.done["a"][0], 330))
    assert second.done["a"][0] <= len(first.done["a"])
    await consumer.stop()
    await dying.stop(within_s=0)


async def test_nothing_is_lost_swapped_or_repeated_when_the_server_is_killed(bus: Bus, nats_server: NatsServer) -> None:
    await a_partition(bus, ack_wait_s=3)

    async def tarry(key: str, number: int) -> None:
        await asyncio.sleep(random.random() / 300)

    desk = Desk(tarry)
    consumer = a_consumer(bus, desk, ack_wait_s=3)
    await consumer.start()
    await order(bus, "a", *range(300))
    await order(bus, "b", *range(300))
    for enough in (50, 150):
        await until(f"{enough} are done", lambda enough=enough: len(desk.done["a"]) >= enough)  # type: ignore[misc]
        await nats_server.restart()
        await until("connected again", lambda: bus.connected)
    await until_stored(bus, 0)
    assert desk.done == {"a": list(range(300)), "b": list(range(300))}
    await consumer.stop()


async def test_what_waits_long_is_not_delivered_again(bus: Bus) -> None:
    await a_partition(bus, ack_wait_s=2)
    release = asyncio.Event()
    tries: list[int] = []

    async def hang(key: str, number: int) -> None:
        tries.append(number)
        await release.wait()

    desk = Desk(hang)
    consumer = a_consumer(bus, desk, ack_wait_s=2, queue_per_key=20)
    await consumer.start()
    await order(bus, "a", *range(10))
    await until("the first is in work", lambda: tries == [0])
    await asyncio.sleep(4.5)  # more than two ack_waits
    info = await bus.js.consumer_info("COMMANDS", f"shard-{PARTITION}")
    assert info.num_redelivered == 0
    release.set()
    await until_stored(bus, 0)
    assert desk.done["a"] == list(range(10))
    await consumer.stop()


async def test_what_finds_its_lane_full_overflows(bus: Bus) -> None:
    await a_partition(bus, lane_limit=30)
    refused: list[int] = []

    async def overflow(message: Incoming) -> None:
        refused.append(int(message.data))

    desk = Desk()
    consumer = a_consumer(bus, desk, overflow=overflow)
    await consumer.start()
    consumer.pause("a")
    for start in range(0, 50, 10):
        await order(bus, "a", *range(start, start + 10))
        await until_stored(bus, 0, "kurir.cmd.>")
    assert refused == list(range(30, 50))
    consumer.resume("a")
    await until_stored(bus, 0)
    assert desk.done["a"] == list(range(30))
    await consumer.stop()


async def test_an_overflow_nobody_takes_goes_to_the_dead(bus: Bus) -> None:
    await a_partition(bus, lane_limit=1)
    consumer = a_consumer(bus, Desk())
    await consumer.start()
    consumer.pause("a")
    await order(bus, "a", 0)
    await until_stored(bus, 1, lane_of("a"))
    await until_stored(bus, 0, "kurir.cmd.>")
    await order(bus, "a", 1)
    await until_stored(bus, 0, "kurir.cmd.>")
    [dead] = await bus.read_from("DEAD", "kurir.dead.commands.t1.a", 1, 10)
    assert dead.headers["Kurir-Dead-Reason"].startswith("BACKLOG_FULL")
    await consumer.stop()


@pytest.mark.parametrize("is_exclusive", [True, False], ids=["owned", "shared"])
async def test_acknowledged_messages_that_a_killed_server_brought_back_into_a_lane_do_not_keep_it_open(
    bus: Bus, is_exclusive: bool
) -> None:
    """They stand below the floor of the lane's consumer, which nobody can be given again."""
    await a_partition(bus)
    for number in range(20):
        last = await bus.publish(lane_of("a"), b"%d" % number)
    await bus.js.add_consumer("COMMANDS", ConsumerConfig(durable_name="lane-a", filter_subject=lane_of("a")))
    await bus.js.reset_consumer("COMMANDS", "lane-a", seq=last.seq + 1)
    waiting = await bus.publish(lane_of("a"), b"20")
    assert waiting.seq == last.seq + 1
    desk = Desk()
    consumer = a_consumer(bus, desk, is_exclusive=is_exclusive)
    await consumer.start()
    await until_stored(bus, 0)
    await until("the lane is closed", lambda: not consumer.open_lanes)
    await order(bus, "a", 21)
    await until_stored(bus, 0)
    assert desk.done == {"a": [20, 21]}
    await consumer.stop()


async def test_what_reached_a_lane_behind_our_back_is_worked_too(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "LOOK_FOR_LANES_EVERY_S", 0.05)
    await a_partition(bus)
    desk = Desk()
    consumer = a_consumer(bus, desk)
    await consumer.start()
    await bus.publish_many([Outgoing(lane_of("a"), b"%d" % n) for n in range(20)])
    await until_stored(bus, 0)
    assert desk.done["a"] == list(range(20))
    await consumer.stop()


async def test_two_processes_share_a_partition_where_order_does_not_matter(bus: Bus, other_bus: Bus) -> None:
    await a_partition(bus)

    async def tarry(key: str, number: int) -> None:
        await asyncio.sleep(0.002)

    desks = [Desk(tarry), Desk(tarry)]
    shared = [
        a_consumer(b, desk, concurrency_per_key=2, is_exclusive=False)
        for b, desk in zip((bus, other_bus), desks, strict=True)
    ]
    for consumer in shared:
        await consumer.start()
    for start in range(0, 500, 50):
        await order(bus, "a", *range(start, start + 50))
    await until_stored(bus, 0)
    assert all(desk.done["a"] for desk in desks)
    assert sorted(desks[0].done["a"] + desks[1].done["a"]) == list(range(500))
    for consumer in shared:
        await until("its lane is closed", lambda consumer=consumer: not consumer.open_lanes)  # type: ignore[misc]
    # Whoever leaves a lane cannot know what the other has of it: taken away, its consumer would give that again.
    assert await consumers(bus) == ["lane-a", f"shard-{PARTITION}"]
    for consumer in shared:
        await consumer.stop()


async def test_keys_without_work_are_forgotten(bus: Bus) -> None:
    await a_partition(bus)
    desk = Desk()
    consumer = a_consumer(bus, desk)
    await consumer.start()
    for number in range(100):
        await order(bus, f"key-{number}", 0)
    await until_stored(bus, 0)
    await until("all keys are forgotten", lambda: not consumer._keys)
    await consumer.stop()


async def test_what_is_handled_next_of_a_key_can_be_seen(bus: Bus) -> None:
    await a_partition(bus)
    await order(bus, "a", 0, 1, 2)
    seen: list[int | None] = []

    async def look(message: Incoming) -> None:
        found = consumer.following(message)
        seen.append(None if found is None else int(found.data))

    consumer = a_consumer(bus, Desk(), handle=look)
    await consumer.start()
    await until("all are done", lambda: len(seen) == 3)
    await consumer.stop()
    assert seen == [1, 2, None]
