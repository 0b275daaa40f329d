"""What neonize leaves behind when it closes sessions goes with the process, and no device goes with it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kurir.contracts.events import ConnectionUpdate
from kurir.runtime.broker import Bus
from tests.contract.neonize.people import VERA, VERA_JID
from tests.support.conditions import until
from tests.support.nats_server import NatsServer
from tests.support.session_nodes import TENANT, Gateway, NodeProcess, a_message, is_alive
from tests.support.whatsapp_emulator.neonize_clients import NeonizeClients
from tests.support.whatsapp_emulator.process import EmulatorProcess
from tests.support.whatsapp_emulator.provisioned_store import StoreTemplate

DEVICES = ("d0", "d1", "d2")
CLOSED = 12
STARTED_WITHIN_S = 60.0


@pytest.fixture
async def gateway(bus: Bus, nats_server: NatsServer) -> Gateway:
    return await Gateway.open(bus, nats_server.url)


@pytest.fixture
async def jids(emulator: EmulatorProcess, tmp_path: Path) -> dict[str, str]:
    """Devices that are linked, with their keys where the node looks for them."""
    clients = NeonizeClients(emulator, tmp_path)
    await clients.start()
    await clients.pair("template", "628500000009")
    await clients.stop()
    template = StoreTemplate(clients.file("template"), tmp_path)
    jids = {}
    for number, device in enumerate(DEVICES):
        file = tmp_path / "devices" / "neonize" / TENANT / f"{device}.db"
        jids[device] = (await template.write(file, emulator.client, f"62850000000{number}", name=device)).jid
    return jids


@pytest.fixture
async def node(
    emulator: EmulatorProcess, gateway: Gateway, jids: dict[str, str], tmp_path: Path
) -> AsyncIterator[NodeProcess]:
    """With one shard, and all devices connected."""
    await emulator.client.contact(VERA, name="Vera", read=True)
    await emulator.client.open_door(int(gateway.url.rpartition(":")[2]))
    for device, jid in jids.items():
        await gateway.add_device(device, engine="neonize", jid=jid)
    env = {"KURIR_WHATSAPP_PROXY": emulator.address.proxy, "KURIR_RECYCLE_CLOSED_CLIENTS": str(CLOSED)}
    started = NodeProcess(gateway.url, tmp_path, "--shards", "1", env=env, launcher=emulator.trusting)
    yield started
    await started.end()


async def test_a_replaced_shards_descriptors_are_free_and_its_devices_send_and_receive(
    emulator: EmulatorProcess, gateway: Gateway, node: NodeProcess
) -> None:
    async def all_are(state: str) -> bool:
        return all([await gateway.state(device) == state for device in DEVICES])

    await until("all are connected", lambda: all_are("connected"), within_s=STARTED_WITHIN_S)
    former = node.pids_of_shards()[0]
    at_first = descriptors_of(former)
    for generation in range(2, 2 + CLOSED // len(DEVICES)):
        for device in DEVICES:
            await gateway.add_device(device, engine="neonize", jid=None, wanted="disconnected")
        await until("all are closed", lambda: all_are("disconnected"), within_s=30)
        in_the_end = descriptors_of(former)
        for device in DEVICES:
            await gateway.add_device(device, engine="neonize", jid=None, connect_generation=generation)
        await until("all are connected again", lambda: all_are("connected"), within_s=30)
    assert in_the_end > at_first + CLOSED, "closing leaves nothing behind any more: replace shards no longer"
    await until("a successor took over", lambda: not is_alive(former), within_s=STARTED_WITHIN_S)
    await until("all are connected again", lambda: all_are("connected"), within_s=30)
    successor = node.pids_of_shards()[0]
    assert descriptors_of(successor) <= at_first + len(DEVICES)
    moved = [e.device for e in await gateway.events() if isinstance(e, ConnectionUpdate) and e.reason == "moved"]
    assert sorted(moved) == sorted(DEVICES)
    orders = [a_message(device, to=VERA_JID, text=f"from {device}") for device in DEVICES]
    await gateway.order(*orders)
    await until("Vera has read all", lambda: gateway.has_status(orders, "read"), within_s=30)


def descriptors_of(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))
