"""A shard that is full, and one that logs its devices in again: who is let in, who waits, and how that is seen.

The sandbox stands for the engine that has limits, under its name.
"""

from collections import Counter
from typing import Any

import msgspec
import pytest

from kurir.contracts.events import ConnectionUpdate
from kurir.contracts.subjects import COMMAND_PARTITIONS
from kurir.runtime.broker import Bus
from tests.support.conditions import until
from tests.support.nats_server import NatsServer
from tests.support.session_nodes import Gateway, LocalShard, a_message


class LimitedShard(LocalShard):
    def engines(self) -> dict[str, Any]:
        return {"neonize": lambda: self.engine}


@pytest.fixture
async def gateway(bus: Bus, nats_server: NatsServer) -> Gateway:
    return await Gateway.open(bus, nats_server.url)


async def states(gateway: Gateway, names: list[str]) -> list[tuple[str, str | None]]:
    return [((session := await gateway.session(name)).state, session.reason) for name in names]


async def test_a_full_shard_lets_devices_wait_with_the_reason_and_takes_them_as_soon_as_it_has_room(
    gateway: Gateway,
) -> None:
    names = [f"d{n}" for n in range(5)]
    records = {name: await gateway.add_device(name, engine="neonize") for name in names}
    waits = ("disconnected", "no_capacity")
    async with LimitedShard(gateway.url, shard_max_sessions=3) as shard:

        async def is_full() -> bool:
            return Counter(await states(gateway, names)) == {("connected", None): 3, waits: 2}

        await until("three are connected and two wait", is_full)
        assert b"kurir_sessions_without_room 2.0" in shard.metrics.exposition()
        now = dict(zip(names, await states(gateway, names), strict=True))
        connected = next(name for name in names if now[name][0] == "connected")
        first, second = (name for name in names if now[name] == waits)

        async def is_said_once() -> bool:
            told = [event for event in await gateway.events(first) if isinstance(event, ConnectionUpdate)]
            return [(event.state, event.reason) for event in told] == [waits]

        await until("it is said once", is_said_once)

        message = a_message(second)
        await gateway.order(message)
        await until("the shard knows that it waits", lambda: urgent(shard, second))
        await gateway.put_device(msgspec.structs.replace(records[connected], wanted="disconnected"))
        await until("the message is read", lambda: gateway.has_status([message], "read"))
        assert await gateway.state(first) == "disconnected", "the one with a message came first"

        await gateway.put_device(msgspec.structs.replace(records[second], wanted="disconnected"))

        async def is_connected() -> bool:
            return await gateway.state(first) == "connected"

        await until("the other one is connected", is_connected)


def urgent(shard: LocalShard, device: str) -> bool:
    found = [session for p in shard.shard.partitions.values() if (session := p.session("t1", device)) is not None]
    return bool(found) and found[0].is_urgent


async def test_after_a_restart_devices_with_waiting_messages_log_in_before_the_others(gateway: Gateway) -> None:
    names = [f"d{n:02d}" for n in range(24)]
    for name in names:
        await gateway.add_device(name, engine="neonize")
    busy = names[-3:]
    messages = [a_message(name) for name in busy]
    await gateway.order(*messages)
    async with LimitedShard(gateway.url, logins_per_s=1.0) as shard:
        await until("it owns every partition", lambda: len(shard.shard.owned) == COMMAND_PARTITIONS)
        await until("their messages are sent", lambda: gateway.has_status(messages, "sent"), within_s=30)
        before = [name for name in names if name not in busy and await gateway.state(name) == "connected"]
        assert len(before) < len(names) - len(busy), "most of the others are still waiting for their turn"
        logins = [event.device for event in await gateway.events() if isinstance(event, ConnectionUpdate)]
        assert max(logins.index(name) for name in busy) < len(names) // 2
