"""Operators cordon and drain session nodes, over HTTP and from the command line; no command is lost by it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from kurir.contracts.subjects import COMMAND_PARTITIONS
from kurir.runtime.broker import Bus
from tests.broker.test_api_keys import Finished, command_line
from tests.support.api_server import Api, running_api
from tests.support.conditions import until
from tests.support.nats_server import NatsServer
from tests.support.session_nodes import Gateway, LocalShard, a_message

DEVICES = [f"d{n}" for n in range(12)]
MOVED_WITHIN_S = 40.0


@pytest.fixture
async def gateway(bus: Bus, nats_server: NatsServer) -> Gateway:
    return await Gateway.open(bus, nats_server.url)


@pytest.fixture
async def api(gateway: Gateway, nats_server: NatsServer) -> AsyncIterator[Api]:
    async with running_api(nats_server.url) as running:
        yield running


@pytest.fixture
async def two_nodes(gateway: Gateway) -> AsyncIterator[tuple[LocalShard, LocalShard]]:
    async with AsyncExitStack() as stack:
        one, two = [
            await stack.enter_async_context(LocalShard(gateway.url, node=name)) for name in ("one", "two.example")
        ]
        await until("both have their share", lambda: have_their_share(one, two), within_s=MOVED_WITHIN_S)
        yield one, two


def have_their_share(*shards: LocalShard) -> bool:
    """Whether nothing is on its way from one to another any more."""
    wanted = [shard.shard._ownership._wanted() for shard in shards]
    owners = {partition: shard.settings.shard_id for shard in shards for partition in shard.shard.owned}
    return len(owners) == COMMAND_PARTITIONS and all(one == owners for one in wanted)


def all_owned(*shards: LocalShard) -> bool:
    return sum(len(shard.shard.owned) for shard in shards) == COMMAND_PARTITIONS


async def node(api: Api, name: str) -> dict[str, object]:
    found: dict[str, object] = (await api.operator.get(f"/operator/nodes/{name}")).json()
    return found


async def test_a_drained_node_gives_everything_away_under_load_and_every_message_is_sent_once(
    api: Api, gateway: Gateway, two_nodes: tuple[LocalShard, LocalShard]
) -> None:
    one, two = two_nodes
    await asyncio.gather(*(gateway.add_device(name, jid=f"62899{name[1:]}@s.whatsapp.net") for name in DEVICES))
    messages = [a_message(name) for _ in range(40) for name in DEVICES]
    half = len(messages) // 2
    await gateway.order(*messages[:half])
    answer = await api.operator.post("/operator/nodes/one/drain")
    assert (answer.status_code, answer.json()["state"]) == (200, "drained")
    await gateway.order(*messages[half:])
    await until("the other one has all", lambda: len(two.shard.owned) == COMMAND_PARTITIONS, within_s=MOVED_WITHIN_S)

    async def shows_none() -> bool:
        return (await node(api, "one"))["partitions"] == 0

    await until("it shows that it has none", shows_none)
    await until("all are sent", lambda: gateway.has_status(messages, "sent"), within_s=MOVED_WITHIN_S)
    said = await gateway.statuses()
    assert [message.id for message in messages if sum(f.status == "sent" for f in said[message.id]) != 1] == []
    assert one.shard.owned == frozenset()

    assert (await api.operator.post("/operator/nodes/one/uncordon")).json()["state"] == "open"
    await until(
        "it has a share again", lambda: len(one.shard.owned) > 0 and all_owned(one, two), within_s=MOVED_WITHIN_S
    )


async def test_a_cordoned_node_keeps_its_partitions_and_takes_none_of_a_node_that_leaves(
    api: Api, gateway: Gateway, two_nodes: tuple[LocalShard, LocalShard]
) -> None:
    one, two = two_nodes
    before = one.shard.owned
    assert (await api.operator.post("/operator/nodes/one/cordon")).json()["state"] == "cordoned"
    async with LocalShard(gateway.url, node="three") as three:
        await until("the third has a share", lambda: len(three.shard.owned) > 5, within_s=MOVED_WITHIN_S)
        await two.stop()
        await until("nothing is unowned", lambda: all_owned(one, three), within_s=MOVED_WITHIN_S)
        assert one.shard.owned == before
        assert b"kurir_node_cordoned 1.0" in one.metrics.exposition()
        assert b"kurir_node_cordoned 0.0" in three.metrics.exposition()


async def test_when_every_node_is_cordoned_service_goes_on_and_that_is_said(
    api: Api, gateway: Gateway, two_nodes: tuple[LocalShard, LocalShard]
) -> None:
    one, two = two_nodes
    assert (await api.operator.post("/operator/nodes/one/cordon")).json()["note"] is None
    assert "No node is open" in (await api.operator.post("/operator/nodes/two.example/cordon")).json()["note"]
    refused = await api.operator.post("/operator/nodes/one/drain")
    assert (refused.status_code, refused.json()["code"]) == (409, "CONFLICT")
    await one.stop()
    await until("the last node has all", lambda: len(two.shard.owned) == COMMAND_PARTITIONS, within_s=MOVED_WITHIN_S)
    assert [one["name"] for one in (await api.operator.get("/operator/nodes")).json()] == ["one", "two.example"]


async def test_nodes_are_for_operators_alone(api: Api, two_nodes: tuple[LocalShard, LocalShard]) -> None:
    tenant = await api.tenant()
    for method, path in (("GET", ""), ("GET", "/one"), ("POST", "/one/cordon"), ("POST", "/one/drain")):
        assert (await tenant.request(method, f"/operator/nodes{path}")).status_code == 403
    assert (await api.operator.post("/operator/nodes/nobody/cordon")).status_code == 404


async def test_nodes_are_drained_from_the_command_line(
    api: Api, gateway: Gateway, nats_server: NatsServer, two_nodes: tuple[LocalShard, LocalShard]
) -> None:
    one, _ = two_nodes
    listed = (await nodes_command(nats_server, "list")).stdout.splitlines()
    assert [line.split("\t")[:2] for line in listed] == [["one", "open"], ["two.example", "open"]]
    drained = await nodes_command(nats_server, "drain", "one", "--within", str(MOVED_WITHIN_S))
    assert (drained.exit_code, drained.stdout.split("\t")[:3]) == (0, ["one", "drained", "0 partitions"]), drained
    last = await nodes_command(nats_server, "drain", "two.example")
    assert (last.exit_code, "No other node is open" in last.stderr) == (1, True)
    assert (await nodes_command(nats_server, "uncordon", "one")).exit_code == 0
    await until("it has a share again", lambda: len(one.shard.owned) > 0, within_s=MOVED_WITHIN_S)
    assert (await nodes_command(nats_server, "cordon", "nobody")).stderr == "Error: There is no such node.\n"


async def nodes_command(nats_server: NatsServer, *arguments: str) -> Finished:
    return await command_line(nats_server.url, "nodes", *arguments, module="kurir.api.nodes.commands")
