"""One device's events: numbered, in order, each confirmed by the stream."""

import asyncio
import time
from datetime import UTC, datetime

from kurir.contracts.events import ConnectionUpdate, Event, MessageSending
from kurir.runtime.broker import Bus
from kurir.runtime.metrics import Metrics
from kurir.session_node.event_log import EventLog
from kurir.session_node.meters import Tally
from tests.support.conditions import until
from tests.support.nats_server import NatsServer
from tests.support.session_nodes import TENANT, Gateway


def a_log(bus: Bus, epoch: int = 5) -> EventLog:
    return EventLog(bus, TENANT, "d1", epoch, Tally(Metrics().counter("events_total", "x")))


def a_mark(message_id: str, attempt: int = 1) -> MessageSending:
    at = datetime.now(UTC)
    return MessageSending(
        id=f"{message_id}-sending-{attempt}",
        tenant=TENANT,
        device="d1",
        at=at,
        message_id=message_id,
        to="x",
        attempt=attempt,
    )


def connected() -> ConnectionUpdate:
    return ConnectionUpdate(
        id="c1", tenant=TENANT, device="d1", at=datetime.now(UTC), state="connected", jid="628@s.whatsapp.net"
    )


async def test_events_are_numbered_on_from_what_a_former_owner_said(bus: Bus, nats_server: NatsServer) -> None:
    gateway = await Gateway.open(bus, nats_server.url)
    await a_log(bus, epoch=3).append(a_mark("m1"), a_mark("m2"))
    await a_log(bus, epoch=7).append(a_mark("m3"))
    assert [(event.epoch, event.seq) for event in await gateway.events("d1")] == [(3, 1), (3, 2), (7, 3)]


async def test_a_late_word_of_a_former_owner_does_not_set_the_numbers_back(bus: Bus, nats_server: NatsServer) -> None:
    gateway = await Gateway.open(bus, nats_server.url)
    former, present = a_log(bus, epoch=3), a_log(bus, epoch=7)
    await former.append(a_mark("m1"))
    await present.append(a_mark("m2"), connected())
    await former.append(a_mark("m4"))
    await a_log(bus, epoch=9).append(a_mark("m5"))
    said = [(event.epoch, event.seq) for event in await gateway.events("d1")]
    assert said == [(3, 1), (7, 2), (7, 3), (3, 2), (9, 4)]


async def test_a_mark_that_somebody_else_stored_is_known_as_such(bus: Bus, nats_server: NatsServer) -> None:
    await Gateway.open(bus, nats_server.url)
    (first,) = await a_log(bus, epoch=3).append(a_mark("m1"))
    again = a_log(bus, epoch=7)
    (repeat,) = await again.append(a_mark("m1"))
    assert not first.was_known
    assert repeat.was_known
    assert repeat.stored_seq == first.stored_seq
    (other,) = await again.append(a_mark("m2"))
    assert not other.was_known


async def test_what_is_appended_during_an_outage_is_stored_once_and_in_order_after_it(
    bus: Bus, nats_server: NatsServer
) -> None:
    gateway = await Gateway.open(bus, nats_server.url)
    log = a_log(bus)
    await log.append(a_mark("m0"))
    await nats_server.kill()
    appending = [asyncio.create_task(log.append(a_mark(f"m{n}"), a_mark(f"n{n}"))) for n in range(1, 4)]
    await nats_server.restart()
    appended = [one for each in await asyncio.wait_for(asyncio.gather(*appending), 20) for one in each]
    assert not any(one.was_known for one in appended)
    said = [event for event in await gateway.events("d1") if isinstance(event, MessageSending)]
    assert [event.message_id for event in said] == ["m0", "m1", "n1", "m2", "n2", "m3", "n3"]
    assert [event.seq for event in said] == list(range(1, 8))


async def test_what_has_become_stale_during_an_outage_is_not_stored_after_it(bus: Bus, nats_server: NatsServer) -> None:
    gateway = await Gateway.open(bus, nats_server.url)
    log = a_log(bus)
    await log.append(a_mark("m0"))
    await nats_server.kill()
    asked = 0

    def is_stale(fact: Event) -> bool:
        nonlocal asked
        asked += 1
        return isinstance(fact, ConnectionUpdate) and asked > 3  # of the second try on

    appending = [
        asyncio.create_task(log.append(*facts, is_stale=is_stale))
        for facts in ((connected(), a_mark("m1")), (connected(),))
    ]
    await until("the first has been tried", lambda: asked > 3)
    await nats_server.restart()
    assert [len(each) for each in await asyncio.wait_for(asyncio.gather(*appending), 20)] == [1, 0]
    assert [type(event) for event in await gateway.events("d1")] == [MessageSending, MessageSending]


async def test_our_own_repeat_after_a_lost_confirmation_is_not_taken_for_somebody_elses(
    bus: Bus, nats_server: NatsServer
) -> None:
    gateway = await Gateway.open(bus, nats_server.url)
    log = a_log(bus)
    await log.append(a_mark("m0"))
    # Frozen, the server takes the bytes and answers after we have given up on the first try.
    await nats_server.freeze()
    appending = asyncio.create_task(log.append(a_mark("m1")))
    await asyncio.sleep(5.5)  # publish times out after 5 s
    await nats_server.thaw()
    (mark,) = await asyncio.wait_for(appending, 20)
    assert not mark.was_known
    assert [event.seq for event in await gateway.events("d1")] == [1, 2]


async def test_last_words_tell_the_last_mark_and_connection(bus: Bus, nats_server: NatsServer) -> None:
    await Gateway.open(bus, nats_server.url)
    await a_log(bus).append(connected(), a_mark("m1"), a_mark("m2"))
    words = await a_log(bus, epoch=6).last_words()
    assert words.seq == 3
    assert words.mark is not None
    assert words.mark.message_id == "m2"
    assert words.connection is not None
    assert words.connection.jid == "628@s.whatsapp.net"
    assert abs(words.mark_at - time.time()) < 5
