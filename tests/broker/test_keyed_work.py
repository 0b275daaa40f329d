"""Work by key: in order, apart from each other, and given back when it cannot be finished."""

import asyncio
import random

from kurir.runtime.broker import Bus, Incoming
from kurir.runtime.settlement import Retry
from tests.support.conditions import until
from tests.support.keyed_work import (
    PARTITION,
    Desk,
    a_consumer,
    a_partition,
    order,
    until_stored,
)


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
    may_look = asyncio.Event()

    async def look(message: Incoming) -> None:
        await may_look.wait()
        found = consumer.following(message)
        seen.append(None if found is None else int(found.data))

    consumer = a_consumer(bus, Desk(), handle=look)
    await consumer.start()
    await until("all are held", lambda: consumer.held == 3)
    may_look.set()
    await until("all are done", lambda: len(seen) == 3)
    await consumer.stop()
    assert seen == [1, 2, None]
