"""Direct reads: the newest of a subject, of many subjects, and onwards from a sequence; and core requests."""

import pytest
from nats.aio.msg import Msg
from nats.js.api import StreamConfig

from kurir.runtime.broker import BrokerUnavailable, Bus, Outgoing, Unreachable
from tests.support.conditions import until
from tests.support.nats_server import NatsServer


async def a_stream(bus: Bus) -> None:
    await bus.js.add_stream(StreamConfig(name="S", subjects=["s.>"], allow_direct=True))


async def test_the_newest_message_of_a_subject_or_none(bus: Bus) -> None:
    await a_stream(bus)
    assert await bus.last_by_subject("S", "s.a") is None
    await bus.publish("s.a", b"1")
    await bus.publish("s.a", b"2", headers={"k": "v"})
    newest = await bus.last_by_subject("S", "s.a")
    assert newest is not None
    assert (newest.subject, newest.seq, newest.data, newest.headers) == ("s.a", 2, b"2", {"k": "v"})
    assert newest.published_at > 1.7e9


async def test_the_newest_of_every_subject(bus: Bus) -> None:
    await a_stream(bus)
    assert await bus.last_by_subjects("S", "s.*") == []
    for data in (b"old", b"new"):
        for subject in ("s.a", "s.b", "s.c.d"):
            await bus.publish(subject, data)
    found = await bus.last_by_subjects("S", "s.*")
    assert [(m.subject, m.data) for m in found] == [("s.a", b"new"), ("s.b", b"new")]


async def test_the_newest_of_more_subjects_than_one_request_takes(bus: Bus) -> None:
    await a_stream(bus)
    await bus.publish_many([Outgoing(f"s.{n}", b"%d" % n) for n in range(3000)])
    assert [m.data for m in await bus.last_by_subjects("S", "s.*")] == [b"%d" % n for n in range(3000)]
    assert len(await bus.subjects("S", "s.*")) == 3000


async def test_reading_onwards_from_a_sequence_skips_other_subjects(bus: Bus) -> None:
    await a_stream(bus)
    await bus.publish_many([Outgoing(f"s.{'ab'[n % 2]}", b"%d" % n) for n in range(3000)])
    found = await bus.read_from("S", "s.a", 101, 1200)
    assert [m.data for m in found] == [b"%d" % n for n in range(100, 2500, 2)]
    assert [m.seq for m in await bus.read_from("S", "s.a", 2997, 1200)] == [2997, 2999]
    assert await bus.read_from("S", "s.a", 5000, 10) == []


async def test_messages_are_counted_and_the_first_of_them_is_found(bus: Bus) -> None:
    await a_stream(bus)
    await bus.publish_many([Outgoing(f"s.{'ab'[n % 2]}.{n}", b"%d" % n) for n in range(3000)])
    assert [await bus.count("S", subject) for subject in (">", "s.a.*", "s.b.7", "s.none")] == [3000, 1500, 1, 0]
    first = await bus.first_from("S", "s.b.*", 101)
    assert first is not None
    assert (first.seq, first.data) == (102, b"101")
    assert await bus.first_from("S", "s.b.*", 5000) is None
    assert await bus.first_from("S", "s.none", 1) is None


async def test_reading_from_what_is_not_there_is_unavailable(bus: Bus) -> None:
    with pytest.raises(BrokerUnavailable):
        await bus.last_by_subject("S", "s.a")
    with pytest.raises(BrokerUnavailable):
        await bus.read_from("S", "s.a", 1, 1)
    with pytest.raises(BrokerUnavailable):
        await bus.first_from("S", "s.a", 1)


async def test_reading_while_disconnected_fails_at_once(bus: Bus, nats_server: NatsServer) -> None:
    await a_stream(bus)
    await nats_server.kill()
    await until("the loss is noticed", lambda: not bus.connected)
    with pytest.raises(BrokerUnavailable):
        await bus.last_by_subjects("S", "s.*")


async def test_a_request_is_answered(bus: Bus) -> None:
    async def answer(question: Msg) -> None:
        await question.respond(b"re: " + question.data)

    await bus.nc.subscribe("ask", cb=answer)
    assert await bus.request("ask", b"what", 5) == b"re: what"


async def test_a_request_nobody_listens_to_is_unreachable_at_once(bus: Bus) -> None:
    with pytest.raises(Unreachable) as failed:
        await bus.request("ask", b"what", 30)
    assert not failed.value.outcome_unknown


async def test_a_request_without_an_answer_in_time_is_unreachable_with_unknown_outcome(bus: Bus) -> None:
    await bus.nc.subscribe("ask")
    with pytest.raises(Unreachable) as failed:
        await bus.request("ask", b"what", 0.2)
    assert failed.value.outcome_unknown
