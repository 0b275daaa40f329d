"""Pulling: early, in order, bounded, and still there after the server was gone."""

import asyncio

import pytest
from nats.js.api import ConsumerConfig, ConsumerInfo, RetentionPolicy, StreamConfig

from kurir.runtime.broker import BrokerUnavailable, Bus, ConsumerGone, Incoming, Outgoing
from tests.support.conditions import until
from tests.support.nats_server import NatsServer


async def a_queue(bus: Bus, *, ack_wait_s: float = 30, max_ack_pending: int = 1000) -> None:
    await bus.js.add_stream(StreamConfig(name="Q", subjects=["q.>"], retention=RetentionPolicy.WORK_QUEUE))
    await bus.js.add_consumer(
        "Q", ConsumerConfig(durable_name="c", ack_wait=ack_wait_s, max_ack_pending=max_ack_pending)
    )


async def consumer(bus: Bus) -> ConsumerInfo:
    info: ConsumerInfo = await bus.js.consumer_info("Q", "c")
    return info


async def fill(bus: Bus, count: int) -> None:
    await bus.publish_many([Outgoing(f"q.{n}", b"%d" % n, headers={"n": str(n)}) for n in range(count)])


async def test_a_message_carries_its_metadata_and_headers(bus: Bus) -> None:
    await a_queue(bus)
    ack = await bus.publish("q.x", b"hello", headers={"ce-id": "1"})
    [message] = await bus.pull("Q", "c", batch=10, expires_s=5)
    assert (message.subject, message.data, message.headers) == ("q.x", b"hello", {"ce-id": "1"})
    assert (message.stream, message.consumer, message.stream_seq) == ("Q", "c", ack.seq)
    assert (message.consumer_seq, message.delivered, message.pending) == (1, 1, 0)
    stored = await bus.js.get_msg("Q", ack.seq)
    assert stored.time is not None
    assert abs(message.published_at - stored.time.timestamp()) < 0.001


async def test_one_pull_takes_what_is_there_and_leaves_no_request_behind(bus: Bus) -> None:
    await a_queue(bus)
    await fill(bus, 7)
    first = await bus.pull("Q", "c", batch=5, expires_s=5)
    second = await bus.pull("Q", "c", batch=5, expires_s=5)
    assert [m.data for m in first + second] == [b"%d" % n for n in range(7)]
    assert (await consumer(bus)).num_waiting == 0
    assert await bus.pull("Q", "c", batch=5, expires_s=0.1) == []


async def test_a_waiting_pull_returns_with_the_first_message(bus: Bus) -> None:
    await a_queue(bus)
    waiting = asyncio.create_task(bus.pull("Q", "c", batch=100, expires_s=30))
    await until("the pull waits at the server", lambda: _waits(bus))
    await bus.publish("q.1", b"1")
    assert [m.data for m in await asyncio.wait_for(waiting, 5)] == [b"1"]


async def _waits(bus: Bus) -> bool:
    return (await consumer(bus)).num_waiting == 1


async def test_pulling_from_a_consumer_that_does_not_exist_says_so(bus: Bus) -> None:
    await a_queue(bus)
    with pytest.raises(BrokerUnavailable):
        await bus.pull("Q", "nobody", batch=1, expires_s=0.3)


async def test_acked_is_gone_naked_comes_again_and_terminated_does_not(bus: Bus) -> None:
    await a_queue(bus)
    await fill(bus, 3)
    done, later, wrong = await bus.pull("Q", "c", batch=3, expires_s=5)
    done.ack()
    later.nak()
    wrong.term("cannot be read\r\nPUB q.evil 0")
    [again] = await bus.pull("Q", "c", batch=3, expires_s=5)
    assert (again.data, again.delivered) == (b"1", 2)
    assert await again.ack_confirmed()
    assert (await bus.js.stream_info("Q")).state.messages == 0


async def test_work_in_progress_is_not_delivered_again(bus: Bus) -> None:
    await a_queue(bus, ack_wait_s=2)
    await fill(bus, 2)
    kept, dropped = await bus.pull("Q", "c", batch=2, expires_s=5)
    reported = asyncio.create_task(_report_progress(kept))
    again = await bus.pull("Q", "c", batch=2, expires_s=5)
    again += await bus.pull("Q", "c", batch=2, expires_s=0.5)
    reported.cancel()
    assert {m.data for m in again} == {dropped.data}


async def _report_progress(message: Incoming) -> None:
    while True:
        message.in_progress()
        await asyncio.sleep(0.1)


async def test_a_lasting_pull_hands_over_everything_in_order(bus: Bus) -> None:
    await a_queue(bus)
    pull = await bus.open_pull("Q", "c", max_outstanding=50)
    await fill(bus, 1000)
    taken: list[bytes] = []
    while len(taken) < 1000:
        for message in await pull.next_batch(5):
            taken.append(message.data)
            message.ack()
    assert taken == [b"%d" % n for n in range(1000)]
    assert await pull.next_batch(0.05) == []
    await bus.close_pull(pull)


async def test_a_lasting_pull_never_takes_more_than_there_is_room_for(bus: Bus) -> None:
    await a_queue(bus)
    await fill(bus, 100)
    held: list[Incoming] = []
    pull = await bus.open_pull("Q", "c", max_outstanding=50, room=lambda: 10 - len(held))
    while len(held) < 10:
        held += await pull.next_batch(5)
    assert await pull.next_batch(0.2) == []
    assert (await consumer(bus)).num_ack_pending == 10
    for message in held:
        message.ack()
    held.clear()
    pull.ask_more()
    assert await pull.next_batch(5)
    await bus.close_pull(pull)


async def test_closing_gives_back_what_nobody_took(bus: Bus) -> None:
    await a_queue(bus)
    await fill(bus, 20)
    pull = await bus.open_pull("Q", "c", max_outstanding=20)
    await until("all are delivered", lambda: _delivered(bus, 20))
    await bus.close_pull(pull)
    again: list[Incoming] = []
    while len(again) < 20:
        batch = await bus.pull("Q", "c", batch=20, expires_s=5)
        assert batch, "given back messages must come at once, not after ack_wait"
        again += batch
    assert [m.data for m in again] == [b"%d" % n for n in range(20)]


async def _delivered(bus: Bus, count: int) -> bool:
    return (await consumer(bus)).num_ack_pending == count


async def test_deleting_the_consumer_ends_its_pull(bus: Bus) -> None:
    await a_queue(bus)
    pull = await bus.open_pull("Q", "c")
    await until("the pull waits at the server", lambda: _waits(bus))
    await bus.js.delete_consumer("Q", "c")
    with pytest.raises(ConsumerGone):
        await pull.next_batch(5)
    await bus.close_pull(pull)


async def test_a_lasting_pull_waits_for_its_consumer_to_appear(bus: Bus) -> None:
    pull = await bus.open_pull("Q", "c")
    assert await pull.next_batch(0.05) == []
    await a_queue(bus)
    await fill(bus, 1)
    assert [m.data for m in await pull.next_batch(10)] == [b"0"]
    await bus.close_pull(pull)


async def test_pulls_work_again_after_the_server_was_killed(bus: Bus, nats_server: NatsServer) -> None:
    await a_queue(bus)
    lasting = await bus.open_pull("Q", "c")
    waiting = asyncio.create_task(lasting.next_batch(30))
    await until("the pull waits at the server", lambda: _waits(bus))
    await nats_server.kill()
    await until("the loss is noticed", lambda: not bus.connected)
    assert await bus.pull("Q", "c", batch=1, expires_s=0.1) == []

    await nats_server.start()
    await until("connected again", lambda: bus.connected)
    await bus.publish("q.1", b"1")
    assert [m.data for m in await asyncio.wait_for(waiting, 20)] == [b"1"]
    await bus.close_pull(lasting)


async def test_a_single_pull_survives_an_outage_within_its_time(bus: Bus, nats_server: NatsServer) -> None:
    await a_queue(bus)
    waiting = asyncio.create_task(bus.pull("Q", "c", batch=5, expires_s=30))
    await until("the pull waits at the server", lambda: _waits(bus))
    await nats_server.restart()
    await until("connected again", lambda: bus.connected)
    await bus.publish("q.1", b"1")
    assert [m.data for m in await asyncio.wait_for(waiting, 20)] == [b"1"]


async def test_acks_given_while_disconnected_count_after_the_reconnect(bus: Bus) -> None:
    await a_queue(bus)
    await fill(bus, 5)
    messages = await bus.pull("Q", "c", batch=5, expires_s=5)
    await bus.nc.force_reconnect()
    assert not bus.connected
    for message in messages:
        message.ack()
    await until("connected again", lambda: bus.connected)
    await until("all acks arrived", lambda: _stored(bus, 0))


async def _stored(bus: Bus, count: int) -> bool:
    return (await bus.js.stream_info("Q")).state.messages == count


async def test_messages_of_any_size_arrive_whole(bus: Bus) -> None:
    await a_queue(bus)
    bodies = [bytes([n]) * size for n, size in enumerate((0, 1, 32_767, 32_768, 200_000, 1_500_000, 3))]
    await bus.publish_many(
        [Outgoing("q.x", body, headers={"n": "1"} if n % 2 else None) for n, body in enumerate(bodies)]
    )
    taken: list[bytes] = []
    while len(taken) < len(bodies):
        for message in await bus.pull("Q", "c", batch=10, expires_s=5):
            taken.append(message.data)
            message.ack()
    assert taken == bodies
