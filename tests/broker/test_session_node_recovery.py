"""What a new owner makes of commands that a former one had begun."""

import asyncio
from datetime import UTC, datetime

import msgspec
import pytest

from kurir.contracts.events import MessageSending, MessageStatusChanged
from kurir.runtime.broker import Bus, Incoming
from kurir.runtime.metrics import Metrics
from kurir.session_node.event_log import EventLog
from kurir.session_node.meters import Tally
from tests.support.conditions import until
from tests.support.nats_server import NatsServer
from tests.support.session_nodes import FRIEND, TENANT, Gateway, LocalShard, a_message


@pytest.fixture
async def gateway(bus: Bus, nats_server: NatsServer) -> Gateway:
    gateway = await Gateway.open(bus, nats_server.url)
    # A repeat long after the mark: the stream has forgotten the ids that it saw.
    config = (await bus.js.stream_info("EVENTS")).config
    config.duplicate_window = 0.1
    await bus.js.update_stream(config)
    return gateway


async def none_left(gateway: Gateway) -> bool:
    return await gateway.commands_left() == 0


def former_owner(gateway: Gateway, epoch: int = 1) -> EventLog:
    return EventLog(gateway.bus, TENANT, "d1", epoch, Tally(Metrics().counter("events_total", "x")))


def a_mark(message_id: str, attempt: int = 1) -> MessageSending:
    return MessageSending(
        id=f"{message_id}-sending-{attempt}",
        tenant=TENANT,
        device="d1",
        at=datetime.now(UTC),
        message_id=message_id,
        to=FRIEND,
        attempt=attempt,
    )


async def statuses_of(gateway: Gateway, message_id: str) -> list[str]:
    return [fact.status for fact in (await gateway.statuses("d1"))[message_id]]


async def is_connected(gateway: Gateway) -> bool:
    return await gateway.state("d1") == "connected"


async def test_commands_whose_acknowledgement_was_lost_are_not_sent_again(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    await gateway.add_device("d1")
    messages = [a_message("d1") for _ in range(5)]
    with monkeypatch.context() as patched:
        patched.setattr(Incoming, "ack", lambda self: None)
        async with LocalShard(gateway.url, node="first"):
            await until("it is connected", lambda: is_connected(gateway))  # what waits may be moved to a lane
            await gateway.order(*messages)
            await until("all are read", lambda: gateway.has_status(messages, "read"))
        assert await gateway.commands_left() == len(messages)
    last = a_message("d1")
    await gateway.order(last)
    async with LocalShard(gateway.url, node="second"):
        await until("the last one is read", lambda: gateway.has_status([last], "read"))
        await until("all are acknowledged", lambda: none_left(gateway))
    for message in messages:
        assert await statuses_of(gateway, message.id) == ["sending", "sent", "delivered", "read"]


async def test_a_mark_without_outcome_is_reported_unknown(gateway: Gateway) -> None:
    await gateway.add_device("d1")
    begun, behind = a_message("d1"), a_message("d1")
    await gateway.order(begun, behind)
    await former_owner(gateway).append(a_mark(begun.id))
    await asyncio.sleep(0.2)  # the duplicate window
    async with LocalShard(gateway.url):
        await until("the one behind is read", lambda: gateway.has_status([behind], "read"))
        await until("all are acknowledged", lambda: none_left(gateway))
    assert await statuses_of(gateway, begun.id) == ["sending", "unknown"]
    (unknown,) = [
        fact
        for fact in (await gateway.statuses("d1"))[begun.id]
        if isinstance(fact, MessageStatusChanged) and fact.status == "unknown"
    ]
    assert unknown.reason == "outcome_unknown"


async def test_a_mark_without_outcome_is_sent_again_where_the_tenant_chose_that(gateway: Gateway) -> None:
    await gateway.add_device("d1")
    begun = a_message("d1", on_unknown="resend")
    await gateway.order(begun)
    await former_owner(gateway).append(a_mark(begun.id))
    await asyncio.sleep(0.2)  # the duplicate window
    async with LocalShard(gateway.url):
        await until("it is read", lambda: gateway.has_status([begun], "read"))
    assert (await statuses_of(gateway, begun.id))[:4] == ["sending", "retrying", "sending", "sent"]


async def test_a_backlog_that_waited_for_its_device_is_sent_in_order_by_the_next_owner(gateway: Gateway) -> None:
    device = await gateway.add_device("d1", wanted="disconnected")
    messages = [a_message("d1") for _ in range(80)]
    async with LocalShard(gateway.url, node="first"):
        await gateway.order(*messages[:60])

        async def are_in_the_lane() -> bool:
            return sum((await gateway.bus.subjects("COMMANDS", "kurir.lane.>")).values()) >= 20

        await until("most wait in the device's lane", are_in_the_lane)
    await gateway.put_device(msgspec.structs.replace(device, wanted="connected"))
    await gateway.order(*messages[60:])
    async with LocalShard(gateway.url, node="second"):
        await until("all are read", lambda: gateway.has_status(messages, "read"), within_s=30)
        await until("all are acknowledged", lambda: none_left(gateway))
    facts = [event for event in await gateway.events("d1") if isinstance(event, MessageStatusChanged)]
    assert [fact.message_id for fact in facts if fact.status == "sent"] == [message.id for message in messages]
