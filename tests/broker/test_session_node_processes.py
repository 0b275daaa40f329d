"""Session nodes as processes: killed, stopped, frozen, joined. Every accepted command ends, none is sent twice."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx
import pytest

from kurir.contracts.commands import SendMessage
from kurir.contracts.events import ConnectionUpdate, MessageSending
from kurir.contracts.states import SETTLED_STATUSES
from kurir.contracts.subjects import COMMAND_PARTITIONS
from kurir.runtime.broker import Bus
from kurir.runtime.partitions import partition_of
from kurir.session_node.ownership import lease_key
from tests.support.conditions import until
from tests.support.nats_server import NatsServer
from tests.support.session_nodes import LEASE_TTL_S, Gateway, LocalShard, NodeProcess, a_message, is_alive

DEVICES = 24
STARTED_WITHIN_S = 60.0  # imports of several processes on a busy machine
MOVED_WITHIN_S = LEASE_TTL_S + 40.0


@pytest.fixture
async def gateway(bus: Bus, nats_server: NatsServer) -> Gateway:
    return await Gateway.open(bus, nats_server.url)


StartNode = Callable[..., NodeProcess]


@pytest.fixture
async def start_node(gateway: Gateway, tmp_path: Path) -> AsyncIterator[StartNode]:
    started: list[NodeProcess] = []

    def start(*arguments: str, node: str = "node", **env: str) -> NodeProcess:
        started.append(NodeProcess(gateway.url, tmp_path, *arguments, node=node, env=env))
        return started[-1]

    yield start
    await asyncio.gather(*(node.end() for node in started))


async def devices_connected(gateway: Gateway) -> list[str]:
    names = [f"d{n}" for n in range(DEVICES)]
    await asyncio.gather(*(gateway.add_device(name, jid=f"62899{name[1:]}@s.whatsapp.net") for name in names))

    async def all_connected() -> bool:
        return all([await gateway.state(name) == "connected" for name in names])

    await until("all devices are connected", all_connected, within_s=STARTED_WITHIN_S)
    return names


async def load(gateway: Gateway, names: list[str], count: int) -> list[SendMessage]:
    messages = [a_message(name) for _ in range(count) for name in names]
    await gateway.order(*messages)
    return messages


async def some_sent(gateway: Gateway, count: int) -> bool:
    said = await gateway.statuses()
    return sum(any(fact.status == "sent" for fact in facts) for facts in said.values()) >= count


async def all_ended(gateway: Gateway, messages: list[SendMessage]) -> bool:
    return await gateway.has_status(messages, *SETTLED_STATUSES) and await gateway.commands_left() == 0


async def owns_everything(gateway: Gateway, holder: str) -> bool:
    holders = await gateway.holders()
    return len(holders) == COMMAND_PARTITIONS and set(holders.values()) == {holder}


async def check_what_was_said(gateway: Gateway, messages: list[SendMessage]) -> int:
    """Nothing was begun twice without a certain failure between. Returns how many outcomes are unknown."""
    said = await gateway.statuses()
    unknown = 0
    for message in messages:
        statuses = [fact.status for fact in said[message.id]]
        assert statuses.count("sent") <= 1, statuses
        assert statuses.count("sending") <= 1 + statuses.count("retrying"), statuses
        unknown += "unknown" in statuses
    return unknown


async def sent_by_former_owners(gateway: Gateway) -> list[str]:
    """Messages that an owner began after a later owner had spoken for the device, and sent."""
    newest: dict[str, int] = {}
    late: set[tuple[str, int]] = set()
    for event in await gateway.events():
        if isinstance(event, MessageSending) and event.epoch < newest.get(event.device, 0):
            late.add((event.message_id, event.epoch))
        newest[event.device] = max(newest.get(event.device, 0), event.epoch)
    said = await gateway.statuses()
    return [
        message_id
        for message_id, epoch in late
        if any(fact.status == "sent" and fact.epoch == epoch for fact in said[message_id])
    ]


async def test_a_shard_killed_while_sending_loses_nothing_and_sends_nothing_twice(
    gateway: Gateway, start_node: StartNode
) -> None:
    first = start_node("--shard", "0", node="first")
    names = await devices_connected(gateway)
    messages = await load(gateway, names, 20)
    await until("some are sent", lambda: some_sent(gateway, 30), within_s=30)
    first.kill()
    second = start_node("--shard", "0", node="second")
    await until("every command has ended", lambda: all_ended(gateway, messages), within_s=MOVED_WITHIN_S)
    assert second.process.poll() is None
    unknown = await check_what_was_said(gateway, messages)
    assert unknown <= len(names)  # each device sends one at a time


async def test_another_shard_takes_over_when_leases_expire(gateway: Gateway, start_node: StartNode) -> None:
    first = start_node("--shard", "0", node="first")
    names = await devices_connected(gateway)
    async with LocalShard(gateway.url, node="second"):
        first.kill()
        await until("the other owns everything", lambda: owns_everything(gateway, "second-0"), within_s=MOVED_WITHIN_S)
        messages = await load(gateway, names, 1)
        await until("every command has ended", lambda: all_ended(gateway, messages), within_s=MOVED_WITHIN_S)
        assert await check_what_was_said(gateway, messages) == 0


async def test_a_shard_that_is_told_to_stop_hands_over_and_leaves_no_outcome_unknown(
    gateway: Gateway, start_node: StartNode
) -> None:
    first = start_node("--shard", "0", node="first")
    names = await devices_connected(gateway)
    second = start_node("--shard", "0", node="second")

    async def shared() -> bool:
        return set((await gateway.holders()).values()) == {"first-0", "second-0"}

    await until("both own partitions", shared, within_s=STARTED_WITHIN_S)
    messages = await load(gateway, names, 20)
    await until("some are sent", lambda: some_sent(gateway, 30), within_s=30)
    assert await first.terminate() == 0
    await until("the other owns everything", lambda: owns_everything(gateway, "second-0"), within_s=30)
    await until("every command has ended", lambda: all_ended(gateway, messages), within_s=MOVED_WITHIN_S)
    assert await check_what_was_said(gateway, messages) == 0
    await until("all are read, whoever sent them", lambda: gateway.has_status(messages, "read"), within_s=30)
    assert second.process.poll() is None
    moves = [e for e in await gateway.events() if isinstance(e, ConnectionUpdate) and e.reason == "moved"]
    assert {move.state for move in moves} == {"disconnected"}


async def test_partitions_are_shared_with_a_shard_that_joins(gateway: Gateway, start_node: StartNode) -> None:
    async with LocalShard(gateway.url, node="first") as first:
        await until("it owns everything", lambda: owns_everything(gateway, "first-0"), within_s=30)
        async with LocalShard(gateway.url, node="second") as second:

            def both_have_their_share() -> bool:
                return (
                    min(len(first.shard.owned), len(second.shard.owned)) >= COMMAND_PARTITIONS // 2 - 4
                    and len(first.shard.owned | second.shard.owned) == COMMAND_PARTITIONS
                )

            await until("both have their share", both_have_their_share, within_s=30)
            assert not first.shard.owned & second.shard.owned
        await until("the first has everything again", lambda: owns_everything(gateway, "first-0"), within_s=30)


async def test_a_frozen_shard_does_not_speak_when_it_wakes_after_another_took_over(
    gateway: Gateway, start_node: StartNode
) -> None:
    first = start_node("--shard", "0", node="first")
    names = await devices_connected(gateway)
    messages = await load(gateway, names, 10)
    await until("some are sent", lambda: some_sent(gateway, 20), within_s=30)
    first.process.send_signal(signal.SIGSTOP)
    async with LocalShard(gateway.url, node="second") as second:
        await until("the other owns everything", lambda: owns_everything(gateway, "second-0"), within_s=MOVED_WITHIN_S)
        more = await load(gateway, names, 3)
        first.process.send_signal(signal.SIGCONT)
        await until("every command has ended", lambda: all_ended(gateway, messages + more), within_s=MOVED_WITHIN_S)
        await check_what_was_said(gateway, messages + more)
        assert await sent_by_former_owners(gateway) == []
        assert second.impostors == []


async def test_a_second_process_of_the_same_name_waits_for_the_first(gateway: Gateway, start_node: StartNode) -> None:
    async with LocalShard(gateway.url, node="twin") as first:
        await until("it owns everything", lambda: owns_everything(gateway, "twin-0"), within_s=30)
        second = start_node("--shard", "0", node="twin")

        def is_waiting() -> bool:
            return any(line.get("event") == "ownership.name_taken" for line in second.log_lines())

        await until("the second one waits", is_waiting, within_s=STARTED_WITHIN_S)
        assert len(first.shard.owned) == COMMAND_PARTITIONS
        assert first.impostors == []
        await first.stop()

        def has_started() -> bool:
            return any(line.get("event") == "service.started" for line in second.log_lines())

        await until("the second one has started", has_started, within_s=30)


async def ready_status(node: NodeProcess) -> int:
    url = node.health_url()
    if url is None:
        return 0
    async with httpx.AsyncClient() as client:
        try:
            return (await client.get(f"{url}/health/ready", timeout=3)).status_code
        except httpx.HTTPError:
            return 0


async def is_ready(node: NodeProcess) -> bool:
    return await ready_status(node) == 200


async def test_a_node_speaks_for_all_its_shards(gateway: Gateway, start_node: StartNode) -> None:
    node = start_node("--shards", "2")
    await until("the node is ready", lambda: is_ready(node), within_s=STARTED_WITHIN_S)
    assert set((await gateway.holders()).values()) <= {"node-0", "node-1"}
    async with httpx.AsyncClient() as client:
        text = (await client.get(f"{node.health_url()}/metrics", timeout=10)).text
    for shard in ("0", "1"):
        assert f'kurir_partitions_owned{{shard="{shard}"}}' in text
    assert 'kurir_shard_restarts_total{shard="supervisor"} 0.0' in text
    assert await node.terminate() == 0
    assert await gateway.holders() == {}


async def test_a_shard_that_crashes_is_restarted_and_its_devices_are_served_meanwhile(
    gateway: Gateway, start_node: StartNode
) -> None:
    node = start_node("--shards", "2")
    await until("the node is ready", lambda: is_ready(node), within_s=STARTED_WITHIN_S)
    names = await devices_connected(gateway)
    messages = await load(gateway, names, 20)
    await until("some are sent", lambda: some_sent(gateway, 30), within_s=30)
    killed = node.pids_of_shards()[0]
    os.kill(killed, signal.SIGKILL)
    await until("every command has ended", lambda: all_ended(gateway, messages), within_s=MOVED_WITHIN_S)
    await until("the shard runs again", lambda: node.pids_of_shards()[0] != killed, within_s=STARTED_WITHIN_S)
    await until("the node is ready again", lambda: is_ready(node), within_s=STARTED_WITHIN_S)
    assert await check_what_was_said(gateway, messages) <= len(names)


async def test_a_shard_that_has_served_long_enough_hands_over_to_its_successor(
    gateway: Gateway, start_node: StartNode
) -> None:
    node = start_node("--shards", "2", KURIR_RECYCLE_CLOSED_CLIENTS="6")
    await until("the node is ready", lambda: is_ready(node), within_s=STARTED_WITHIN_S)
    names = await devices_connected(gateway)
    pids = node.pids_of_shards()
    shards = await gateway.holders()
    moving = [name for name in names if shards[lease_key(partition_of(name, COMMAND_PARTITIONS))] == "node-0"]
    served = moving[0]
    messages = await load(gateway, names, 20)
    for generation in range(2, 9):  # this device's sessions, closed and opened again
        await gateway.add_device(served, jid=None, wanted="disconnected")
        await until("it is closed", lambda: is_in_state(gateway, served, "disconnected"), within_s=30)
        await gateway.add_device(served, jid=None, connect_generation=generation)
        await until("it is open", lambda: is_in_state(gateway, served, "connected"), within_s=30)

    async def has_successor() -> bool:
        return set((await gateway.holders()).values()) == {"node-0_1", "node-1"}

    await until("the successor has everything", has_successor, within_s=STARTED_WITHIN_S)
    messages += await load(gateway, names, 3)
    await until("every command has ended", lambda: all_ended(gateway, messages), within_s=MOVED_WITHIN_S)
    assert await check_what_was_said(gateway, messages) == 0
    await until("the former process is gone", lambda: not is_alive(pids[0]), within_s=30)
    assert node.pids_of_shards()[1] == pids[1]
    moves = [e.device for e in await gateway.events() if isinstance(e, ConnectionUpdate) and e.reason == "moved"]
    assert sorted(moves) == sorted(moving)  # each once, and no other
    assert all([await gateway.state(name) == "connected" for name in names])
    (recycled,) = [line for line in node.log_lines() if line.get("event") == "supervisor.shard_recycled"]
    assert (recycled["shard"], recycled["reason"]) == (0, "closed_clients")
    async with httpx.AsyncClient() as client:
        text = (await client.get(f"{node.health_url()}/metrics", timeout=10)).text
    assert 'kurir_shards_recycled_total{shard="supervisor",reason="closed_clients"} 1.0' in text
    assert 'kurir_shard_restarts_total{shard="supervisor"} 0.0' in text
    assert await node.terminate() == 0
    assert await gateway.holders() == {}


async def is_in_state(gateway: Gateway, device: str, state: str) -> bool:
    return await gateway.state(device) == state


async def test_no_shard_outlives_a_killed_supervisor(gateway: Gateway, start_node: StartNode) -> None:
    node = start_node("--shards", "2")
    await until("the node is ready", lambda: is_ready(node), within_s=STARTED_WITHIN_S)
    shards = node.pids_of_shards().values()
    assert all(is_alive(pid) for pid in shards)
    node.kill()
    await until("its shards have ended", lambda: not any(is_alive(pid) for pid in shards), within_s=30)
    assert await gateway.holders() == {}


async def test_a_node_that_is_told_to_stop_while_the_bus_is_away_ends_in_its_grace_period(
    gateway: Gateway, nats_server: NatsServer, start_node: StartNode
) -> None:
    node = start_node("--shards", "2")
    await until("the node is ready", lambda: is_ready(node), within_s=STARTED_WITHIN_S)
    await devices_connected(gateway)
    shards = node.pids_of_shards().values()
    await nats_server.kill()
    await node.terminate(within_s=25)
    assert not any(is_alive(pid) for pid in shards)
    await nats_server.restart()
