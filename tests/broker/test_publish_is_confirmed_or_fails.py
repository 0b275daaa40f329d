"""A publish is stored and confirmed, or the caller knows it is not, or knows that nobody knows."""

import asyncio
import sys

import pytest
from nats.errors import OutboundBufferLimitError
from nats.js.api import DiscardPolicy, StreamConfig

from kurir.runtime.broker import (
    CONNECTION_CLOSED_EXIT,
    BacklogFull,
    BrokerUnavailable,
    Bus,
    Outgoing,
    PubAck,
    PublishRefused,
    WrongSequence,
)
from tests.support.conditions import until
from tests.support.nats_server import NatsServer


async def a_stream(bus: Bus, **config: object) -> None:
    await bus.js.add_stream(StreamConfig(name="S", subjects=["s.>"], allow_direct=True, **config))  # type: ignore[arg-type]


async def stored(bus: Bus) -> int:
    return (await bus.js.stream_info("S")).state.messages


async def test_a_confirmed_message_is_in_the_stream_with_its_headers(bus: Bus) -> None:
    await a_stream(bus)
    ack = await bus.publish("s.a", b"hello", msg_id="m1", headers={"ce-id": "m1", "x": "å: b"})
    assert ack == PubAck(stream="S", seq=1)
    message = await bus.last_by_subject("S", "s.a")
    assert message is not None
    assert (message.seq, message.data) == (1, b"hello")
    assert message.headers == {"Nats-Msg-Id": "m1", "ce-id": "m1", "x": "å: b"}


async def test_the_same_message_id_again_is_a_duplicate_and_is_not_stored(bus: Bus) -> None:
    await a_stream(bus)
    first = await bus.publish("s.a", b"1", msg_id="m1")
    again = await bus.publish("s.a", b"1", msg_id="m1")
    assert (again.seq, again.duplicate) == (first.seq, True)
    assert await stored(bus) == 1


async def test_a_full_subject_is_a_full_backlog(bus: Bus) -> None:
    await a_stream(bus, max_msgs_per_subject=1, discard=DiscardPolicy.NEW, discard_new_per_subject=True)
    await bus.publish("s.a", b"1")
    with pytest.raises(BacklogFull):
        await bus.publish("s.a", b"2")
    await bus.publish("s.b", b"3")


async def test_a_wrong_expected_sequence_is_told_apart(bus: Bus) -> None:
    await a_stream(bus)
    await bus.publish("s.a", b"1")
    with pytest.raises(WrongSequence):
        await bus.publish("s.a", b"2", headers={"Nats-Expected-Last-Subject-Sequence": "7"})


async def test_a_counter_answers_its_new_value(bus: Bus) -> None:
    await a_stream(bus, allow_msg_counter=True)
    assert (await bus.publish("s.a", b"", headers={"Nats-Incr": "+1"})).value == 1
    assert (await bus.publish("s.a", b"", headers={"Nats-Incr": "+2"})).value == 3


async def test_a_subject_without_a_stream_is_unavailable_and_surely_not_stored(bus: Bus) -> None:
    with pytest.raises(BrokerUnavailable) as failed:
        await bus.publish("nowhere", b"1")
    assert not failed.value.outcome_unknown


async def test_a_message_above_the_server_limit_is_refused_and_the_connection_stays(bus: Bus) -> None:
    await a_stream(bus)
    with pytest.raises(PublishRefused):
        await bus.publish("s.a", bytes(bus.nc.max_payload + 1))
    await bus.publish("s.a", b"small")


@pytest.mark.parametrize("subject", ["", "s.a b", "s.a\r\nPUB s.b 0", "s.\t"])
async def test_what_is_no_subject_never_reaches_the_server(bus: Bus, subject: str) -> None:
    with pytest.raises(ValueError):
        await bus.publish(subject, b"1")


@pytest.mark.parametrize("value", ["a\r\nb: c", "a\nb", "a\rb"])
async def test_a_header_cannot_break_out_of_its_line(bus: Bus, value: str) -> None:
    with pytest.raises(ValueError):
        await bus.publish("s.a", b"1", headers={"x": value})
    with pytest.raises(ValueError):
        await bus.publish("s.a", b"1", msg_id=value)


async def test_many_are_stored_in_order_and_each_has_its_own_answer(bus: Bus) -> None:
    await a_stream(bus)
    items = [Outgoing("s.a", b"%d" % n, f"id{n}") for n in range(2000)]
    items.insert(1000, Outgoing("nowhere", b"lost"))
    results = await bus.publish_many(items)
    assert isinstance(results.pop(1000), BrokerUnavailable)
    assert [r.seq for r in results if isinstance(r, PubAck)] == list(range(1, 2001))
    assert [m.data for m in await bus.read_from("S", "s.a", 1, 2001)] == [b"%d" % n for n in range(2000)]


async def test_what_failed_while_the_server_was_down_never_arrives_later(bus: Bus, nats_server: NatsServer) -> None:
    await a_stream(bus)
    await nats_server.kill()
    await until("the loss is noticed", lambda: not bus.connected)
    for n in range(10):
        with pytest.raises(BrokerUnavailable) as failed:
            await bus.publish("s.a", b"%d" % n)
        assert not failed.value.outcome_unknown
    assert all(isinstance(r, BrokerUnavailable) for r in await bus.publish_many([Outgoing("s.a", b"x")] * 3))
    with pytest.raises(OutboundBufferLimitError):
        await bus.nc.publish("s.a", b"by nats-py itself")

    await nats_server.start()
    await until("connected again", lambda: bus.connected)
    await bus.publish("s.a", b"after")
    assert [m.data for m in await bus.read_from("S", "s.a", 1, 100)] == [b"after"]


async def test_publishes_in_flight_when_the_server_dies_fail_at_once_and_are_not_sent_again(
    bus: Bus, nats_server: NatsServer
) -> None:
    await a_stream(bus)
    await nats_server.freeze()
    hanging = [asyncio.create_task(bus.publish("s.a", b"%d" % n, timeout_s=60)) for n in range(100)]
    await asyncio.sleep(0)
    await nats_server.kill()
    results = await asyncio.wait_for(asyncio.gather(*hanging, return_exceptions=True), 10)
    assert all(isinstance(r, BrokerUnavailable) and r.outcome_unknown for r in results)

    await nats_server.start()
    await until("connected again", lambda: bus.connected)
    await bus.publish("s.a", b"after")
    assert [m.data for m in await bus.read_from("S", "s.a", 1, 200)] == [b"after"]


async def test_a_server_that_does_not_answer_makes_the_outcome_unknown(bus: Bus, nats_server: NatsServer) -> None:
    await a_stream(bus)
    await nats_server.freeze()
    with pytest.raises(BrokerUnavailable) as failed:
        await bus.publish("s.a", b"1", timeout_s=0.2)
    assert failed.value.outcome_unknown
    await nats_server.thaw()


async def test_confirmed_messages_survive_kills_of_the_server(bus: Bus, nats_server: NatsServer) -> None:
    await a_stream(bus)
    confirmed: set[int] = set()
    done = asyncio.Event()

    async def publish_all(worker: int) -> None:
        for n in range(worker, 600, 8):
            while True:
                try:
                    await bus.publish("s.a", b"%d" % n, msg_id=f"m{n}")
                    confirmed.add(n)
                    break
                except BrokerUnavailable:
                    await asyncio.sleep(0.02)
            if n >= 300 and not done.is_set():
                await asyncio.sleep(0.01)

    async def kill_twice() -> None:
        for enough in (100, 250):
            await until(f"{enough} are confirmed", lambda enough=enough: len(confirmed) >= enough)  # type: ignore[misc]
            await nats_server.restart()
        done.set()

    await asyncio.wait_for(asyncio.gather(kill_twice(), *(publish_all(w) for w in range(8))), 60)
    messages = await bus.read_from("S", "s.a", 1, 5000)
    assert {int(m.data) for m in messages} == set(range(600)) == confirmed
    assert len(messages) == 600


async def test_a_connection_that_closes_by_itself_is_reported(nats_server: NatsServer) -> None:
    told = asyncio.Event()
    bus = await Bus.connect(nats_server.url, name="test", on_closed=told.set)
    assert bus.nc._transport is not None
    bus.nc._transport.write(b"NONSENSE\r\n")  # the server answers with an error, and nats-py closes for good
    await asyncio.wait_for(told.wait(), 10)

    told.clear()
    bus = await Bus.connect(nats_server.url, name="test", on_closed=told.set)
    await bus.close()
    assert not told.is_set()


async def test_a_process_whose_connection_closes_for_good_ends(nats_server: NatsServer) -> None:
    code = f"""
import asyncio
from kurir.runtime.broker import Bus
async def main():
    bus = await Bus.connect({nats_server.url!r}, name="test")
    bus.nc._transport.write(b"NONSENSE\\r\\n")
    await asyncio.sleep(60)
asyncio.run(main())
"""
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=asyncio.subprocess.DEVNULL)
    assert await asyncio.wait_for(process.wait(), 30) == CONNECTION_CLOSED_EXIT


async def test_connecting_waits_for_the_server_to_come_up() -> None:
    server = NatsServer()
    connecting = asyncio.create_task(Bus.connect(server.url, name="test"))
    await asyncio.sleep(0)
    assert not connecting.done()
    await server.start()
    bus = await asyncio.wait_for(connecting, 10)
    assert bus.connected
    await bus.close()
    await server.stop()
