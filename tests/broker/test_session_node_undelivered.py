"""A message that no device of its receiver confirms in time is reported `undelivered`, once, by its owner."""

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from kurir.contracts.commands import SendMessage
from kurir.contracts.content import STATUS
from kurir.contracts.events import Event, MessageStatusChanged
from kurir.contracts.states import furthest
from kurir.runtime.broker import Bus
from kurir.runtime.metrics import Metrics
from kurir.session_node.engines.sandbox.client import Pace
from kurir.session_node.event_log import EventLog
from kurir.session_node.meters import Meters
from kurir.session_node.overdue import Overdue
from kurir.session_node.receipts import SentMessages
from tests.support.conditions import until
from tests.support.nats_server import NatsServer
from tests.support.session_nodes import (
    LEASE_TTL_S,
    QUICK,
    TENANT,
    Gateway,
    LocalShard,
    NodeProcess,
    a_message,
)

SILENT = "628125550105@s.whatsapp.net"
DROPS = "628125550108@s.whatsapp.net"
FRIEND = "628111000001@s.whatsapp.net"
MOVED_WITHIN_S = LEASE_TTL_S + 40.0


@pytest.fixture
async def gateway(bus: Bus, nats_server: NatsServer) -> Gateway:
    return await Gateway.open(bus, nats_server.url)


def paced(**changed: Any) -> Pace:
    return msgspec.structs.replace(QUICK, **changed)


async def statuses_of(gateway: Gateway, message: SendMessage) -> list[str]:
    return [fact.status for fact in (await gateway.statuses())[message.id] if fact.status != "sending"]


async def test_a_message_without_receipt_is_reported_with_its_reason(gateway: Gateway) -> None:
    await gateway.add_device("d1", undelivered_after_s=3)
    silent, friendly = a_message("d1", to=SILENT), a_message("d1", to=FRIEND)
    async with LocalShard(gateway.url):
        await gateway.order(silent, friendly)
        await until("undelivered", lambda: gateway.has_status([silent], "undelivered"))
        await until("the other one is read", lambda: gateway.has_status([friendly], "read"))
        last = (await gateway.statuses())[silent.id][-1]
        assert isinstance(last, MessageStatusChanged)
        assert (last.status, last.reason, last.to) == ("undelivered", "no_receipt", SILENT)
        assert last.whatsapp_id
        assert await statuses_of(gateway, friendly) == ["sent", "delivered", "read"]


async def test_nothing_is_reported_of_a_device_that_does_not_want_it(gateway: Gateway) -> None:
    await gateway.add_device("d1")
    await gateway.add_device("d2", jid="628998@s.whatsapp.net", undelivered_after_s=1)
    quiet, watched = a_message("d1", to=SILENT), a_message("d2", to=SILENT)
    async with LocalShard(gateway.url):
        await gateway.order(quiet, watched)
        await until("the other one is undelivered", lambda: gateway.has_status([watched], "undelivered"))
        await until("the quiet one is sent", lambda: gateway.has_status([quiet], "sent"))
        assert await statuses_of(gateway, quiet) == ["sent"]


async def test_a_receipt_that_comes_later_overrules_it(gateway: Gateway) -> None:
    await gateway.add_device("d1", undelivered_after_s=1)
    message = a_message("d1", to=FRIEND)
    async with LocalShard(gateway.url, pace=paced(delivered_s=(4.0, 4.0))):
        await gateway.order(message)
        await until("read", lambda: gateway.has_status([message], "read"))
        said = (await gateway.statuses())[message.id]
        assert [fact.status for fact in said] == ["sending", "sent", "undelivered", "delivered", "read"]
        assert furthest(fact.status for fact in said) == "read"


async def test_a_device_that_is_away_at_the_time_is_judged_when_it_has_what_waited_for_it(gateway: Gateway) -> None:
    await gateway.add_device("d1", undelivered_after_s=1)
    message, silent = a_message("d1", to=DROPS), a_message("d1", to=SILENT)
    async with LocalShard(gateway.url, pace=paced(reconnect_s=3.0)):
        await gateway.order(silent, message)
        await until("read", lambda: gateway.has_status([message], "read"), within_s=20)
        await until("the silent one is undelivered", lambda: gateway.has_status([silent], "undelivered"))
        assert await statuses_of(gateway, message) == ["sent", "delivered", "read"]
        states = [
            event.status if isinstance(event, MessageStatusChanged) else getattr(event, "state", "")
            for event in await gateway.events("d1")
        ]
        assert states.index("undelivered") > len(states) - 1 - states[::-1].index("connected")


async def test_a_shard_that_was_killed_before_the_time_leaves_it_to_the_next_owner(
    gateway: Gateway, tmp_path: Path
) -> None:
    await gateway.add_device("d1", undelivered_after_s=8)
    silent, friendly = a_message("d1", to=SILENT), a_message("d1", to=FRIEND)
    first = NodeProcess(gateway.url, tmp_path, "--shard", "0", node="first")
    try:
        await gateway.order(silent, friendly)
        await until("both are sent", lambda: gateway.has_status([silent, friendly], "sent"), within_s=60)
        await until("one was read", lambda: gateway.has_status([friendly], "read"), within_s=20)
    finally:
        first.kill()
    assert await statuses_of(gateway, silent) == ["sent"]
    async with LocalShard(gateway.url, node="second"):
        await until("undelivered", lambda: gateway.has_status([silent], "undelivered"), within_s=MOVED_WITHIN_S)
        assert await statuses_of(gateway, friendly) == ["sent", "delivered", "read"]
    async with LocalShard(gateway.url, node="third"):
        next_one = a_message("d1", to=SILENT)
        await gateway.order(next_one)
        await until("the next one too", lambda: gateway.has_status([next_one], "undelivered"), within_s=MOVED_WITHIN_S)
        assert (await statuses_of(gateway, silent)).count("undelivered") == 1


async def test_a_time_that_is_set_later_counts_for_what_was_sent_before(gateway: Gateway) -> None:
    device = await gateway.add_device("d1")
    message = a_message("d1", to=SILENT)
    async with LocalShard(gateway.url):
        await gateway.order(message)
        await until("sent", lambda: gateway.has_status([message], "sent"))
        await gateway.put_device(msgspec.structs.replace(device, undelivered_after_s=1))
        await until("undelivered", lambda: gateway.has_status([message], "undelivered"))
        await gateway.put_device(msgspec.structs.replace(device, undelivered_after_s=2))
        other = a_message("d1", to=SILENT)
        await gateway.order(other)
        await until("the other one too", lambda: gateway.has_status([other], "undelivered"))
        assert await statuses_of(gateway, message) == ["sent", "undelivered"]


# --- memory and stream -----------------------------------------------------------------------------------------------


async def test_nobody_has_to_have_seen_a_status(gateway: Gateway) -> None:
    await gateway.add_device("d1", undelivered_after_s=1)
    silent, status = a_message("d1", to=SILENT), a_message("d1", to=STATUS)
    status = msgspec.structs.replace(status, audience=(SILENT,))
    async with LocalShard(gateway.url):
        await gateway.order(status, silent)
        await until("undelivered", lambda: gateway.has_status([silent], "undelivered"))
    assert "undelivered" not in await statuses_of(gateway, status)


class Clockwork:
    """An Overdue on the real stream, with a clock of its own that starts now, and looks that are counted."""

    def __init__(self, bus: Bus, *, limit: int) -> None:
        self.log = EventLog(bus, TENANT, "d1", 1, Meters(Metrics()).events)
        self.looks = 0
        self.ahead_s = 0.0
        self.overdue = Overdue(
            TENANT, "d1", bus, SentMessages(), self._look, now=lambda: time.time() + self.ahead_s, limit=limit
        )

    def _look(self) -> None:
        self.looks += 1

    async def send(self, number: int, *, is_received: bool = False) -> None:
        self.overdue.sent(f"3EB0{number}", f"m{number}", FRIEND)
        await self.log.append(self._status(number, "sent"))
        if is_received:
            await self.log.append(self._status(number, "delivered"))
            self.overdue.received(f"m{number}")

    async def reported(self) -> list[str]:
        """What is reported, over as many looks as it takes."""
        told: list[Event] = []
        while facts := await self.overdue.facts():
            await self.log.append(*facts)
            told += facts
        return [fact.message_id for fact in told if isinstance(fact, MessageStatusChanged)]

    def _status(self, number: int, status: Any) -> MessageStatusChanged:
        return MessageStatusChanged(
            id=f"m{number}-{status}",
            tenant=TENANT,
            device="d1",
            at=datetime.now(UTC),
            message_id=f"m{number}",
            status=status,
            to=FRIEND,
            whatsapp_id=f"3EB0{number}",
        )


async def test_messages_beyond_what_memory_holds_are_reported_too(gateway: Gateway) -> None:
    clock = Clockwork(gateway.bus, limit=4)
    clock.overdue.be_patient(60)
    clock.overdue.connected()
    clock.overdue.caught_up()
    assert await clock.reported() == []
    for number in range(20):
        await clock.send(number, is_received=number % 5 == 0)
    clock.ahead_s = 61.0
    assert sorted(await clock.reported()) == sorted(f"m{n}" for n in range(20) if n % 5)
    assert await clock.reported() == []
    clock.overdue.stop()


async def test_nothing_is_reported_before_what_waited_at_whatsapp_has_come(gateway: Gateway) -> None:
    clock = Clockwork(gateway.bus, limit=100)
    clock.overdue.be_patient(60)
    await clock.send(1)
    clock.ahead_s = 61.0
    assert await clock.reported() == []
    clock.overdue.connected()
    assert await clock.reported() == []
    clock.overdue.caught_up()
    assert await clock.reported() == ["m1"]
    clock.overdue.stop()


async def test_an_engine_that_never_says_that_it_has_caught_up_is_waited_for_a_minute(gateway: Gateway) -> None:
    clock = Clockwork(gateway.bus, limit=100)
    clock.overdue.be_patient(60)
    await clock.send(1)
    clock.ahead_s = 61.0
    clock.overdue.connected()
    assert await clock.reported() == []
    clock.ahead_s += 61.0
    assert await clock.reported() == ["m1"]
    clock.overdue.stop()
