"""The lanes of keys that are behind: they hold up nobody, keep the order, and nothing is lost whoever dies."""

import asyncio
import random
from collections.abc import AsyncIterator

import pytest
from nats.js.api import ConsumerConfig

from kurir.runtime import lanes
from kurir.runtime.broker import Bus, Incoming, Outgoing, Pull
from kurir.runtime.settlement import Rejected, Retry
from tests.support.conditions import until
from tests.support.keyed_work import (
    PARTITION,
    Desk,
    a_consumer,
    a_partition,
    consumers,
    lane_of,
    order,
    until_stored,
)
from tests.support.nats_server import NatsServer


@pytest.fixture
async def other_bus(nats_server: NatsServer) -> AsyncIterator[Bus]:
    """The connection of a process that can be cut off."""
    connected = await Bus.connect(nats_server.url, name="other", on_closed=lambda: None)
    try:
        yield connected
    finally:
        await connected.close()


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
