"""Session nodes of several shards on the real library, each with a way to NATS of its own, and what can happen to them.

A node is killed, frozen, cut off and drained as an orchestrator or a machine would do it. What is done is written down
with the devices that it concerned, for the judgement afterwards (findings.py).
"""

import asyncio
import os
import signal
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import msgspec

from kurir.contracts import subjects
from kurir.contracts.records import Session
from kurir.runtime import keyvalue
from kurir.runtime.partitions import partition_of
from kurir.session_node.ownership import lease_key
from tests.support.conditions import until
from tests.support.session_nodes import TENANT, Gateway, NodeProcess
from tests.support.tunnel import Tunnel
from tests.support.whatsapp_emulator.client import EmulatorClient
from tests.support.whatsapp_emulator.neonize_clients import NeonizeClients
from tests.support.whatsapp_emulator.process import EmulatorProcess
from tests.support.whatsapp_emulator.provisioned_store import StoreTemplate

SHARDS = 2
LEASE_TTL_S = 5
STARTED_WITHIN_S = 90.0
SETTLED_WITHIN_S = 120.0
LOOK_S = 0.1

What = Literal["kill a shard", "kill a node", "freeze a shard", "freeze a node", "cut a node off", "drain a node"]


@dataclass(slots=True)
class Happened:
    """One thing that was done: when, until when, and whose owner it concerned (emulator's names of devices)."""

    what: What
    node: str
    since: float
    devices: frozenset[str]
    until: float = float("inf")
    notes: list[str] = field(default_factory=list)


class Node:
    """One node of a cluster; `life` counts its processes."""

    def __init__(self, name: str, tunnel: Tunnel) -> None:
        self.name = name
        self.tunnel = tunnel
        self.process: NodeProcess | None = None
        self.logs: list[NodeProcess] = []

    @property
    def running(self) -> NodeProcess:
        assert self.process is not None, f"{self.name} does not run"
        return self.process

    @property
    def shard_pids(self) -> list[int]:
        """Of the processes that are its shards at the moment."""
        pid = self.running.process.pid
        try:
            return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        except OSError:
            return []

    async def pid_of_shard(self, index: int) -> int:
        """Of the process that was started last as this shard. Waits for the first: the node may have just begun."""
        await until(f"{self.name} has started shard {index}", lambda: index in self.running.pids_of_shards())
        return self.running.pids_of_shards()[index]

    def signal_all(self, number: signal.Signals) -> None:
        """To the supervisor and all its shards, as to a whole machine."""
        for pid in (self.running.process.pid, *self.shard_pids):
            signal_to(pid, number)


class Cluster:
    """Nodes `n0`, `n1`, … that share one folder of keys, and devices that are linked from the beginning."""

    def __init__(self, emulator: EmulatorProcess, gateway: Gateway, home: Path) -> None:
        self.gateway = gateway
        self.whatsapp: EmulatorClient = emulator.client
        self.nodes: list[Node] = []
        self.linked_as: dict[str, str] = {}
        """What the emulator calls each of our devices."""
        self.phones: dict[str, str] = {}
        self.happened: list[Happened] = []
        self._emulator = emulator
        self._home = home

    async def link(self, count: int) -> None:
        """Make devices with stores, known to WhatsApp and wanted connected."""
        clients = NeonizeClients(self._emulator, self._home)
        await clients.start()
        await clients.pair("template", "628000000000")
        await clients.stop()
        template = StoreTemplate(clients.file("template"), self._home)
        for number in range(count):
            device, phone = f"dev{number:02}", f"62811{number:07}"
            file = self._home / "devices" / "neonize" / TENANT / f"{device}.db"
            provided = await template.write(file, self.whatsapp, phone, name=f"Device {number}")
            self.linked_as[device], self.phones[device] = provided.device, phone
            await self.gateway.add_device(device, jid=provided.jid, engine="neonize")

    async def start(self, count: int) -> None:
        """Start so many nodes and wait until every device is connected."""
        for number in range(count):
            tunnel = Tunnel(int(self.gateway.url.rpartition(":")[2]))
            await self.whatsapp.open_door(await tunnel.start())
            self.nodes.append(Node(f"n{number}", tunnel))
        for node in self.nodes:
            self.start_node(node)
        await self.settled()

    def start_node(self, node: Node) -> None:
        node.process = NodeProcess(
            f"nats://127.0.0.1:{node.tunnel.port}",
            self._home,
            f"--shards={SHARDS}",
            node=node.name,
            env={"KURIR_LEASE_TTL_S": str(LEASE_TTL_S), "KURIR_SHUTDOWN_GRACE_S": "25", "KURIR_HEALTH_PORT": "0"},
            launcher=self._emulator.trusting,
        )
        node.logs.append(node.process)

    async def end(self) -> None:
        for node in self.nodes:
            if node.process is not None:
                node.signal_all(signal.SIGCONT)
        await asyncio.gather(*(node.process.end() for node in self.nodes if node.process is not None))
        for node in self.nodes:
            node.tunnel.stop()

    # What is seen of it

    async def holders(self) -> dict[str, str]:
        """The shard of each device that has an owner."""
        holders = await self.gateway.holders()
        keys = {device: lease_key(partition_of(device, subjects.COMMAND_PARTITIONS)) for device in self.linked_as}
        return {device: holders[key] for device, key in keys.items() if key in holders}

    async def states(self) -> dict[str, Session]:
        stored = await self.gateway.bus.last_by_subjects(keyvalue.stream_of("sessions"), f"$KV.sessions.{TENANT}.*")
        sessions = [msgspec.json.decode(one.data, type=Session) for one in stored]
        return {session.device: session for session in sessions}

    async def settled(self) -> None:
        """Wait until every shard of every node lives and owns something, and every device is connected by its owner."""
        seen: dict[str, str] = {}

        async def is_so() -> bool:
            await asyncio.sleep(LOOK_S)
            holders, states = await self.holders(), await self.states()
            seen.clear()
            seen.update(
                (device, f"{session.state} by {session.shard}, owned by {holders.get(device)}")
                for device, session in states.items()
                if session.state != "connected" or session.shard != holders.get(device)
            )
            owners = set((await self.gateway.holders()).values())
            seen.update((name, "owns nothing") for name in self.shard_names() - {o.partition("_")[0] for o in owners})
            return not seen

        await until("every device is connected by its owner", is_so, within_s=SETTLED_WITHIN_S, seen=lambda: seen)

    def shard_names(self) -> set[str]:
        return {f"{node.name}-{index}" for node in self.nodes for index in range(SHARDS)}

    async def until_taken_over(self, node: Node, devices: frozenset[str], shard: str | None = None) -> None:
        """Wait until none of these devices (emulator's names) belongs to the node, or to that shard, and all have an
        owner.
        """
        mine = {device for device, name in self.linked_as.items() if name in devices}
        former = shard or f"{node.name}-"

        async def is_so() -> bool:
            await asyncio.sleep(LOOK_S)
            holders = await self.holders()
            return all(device in holders and not holders[device].startswith(former) for device in mine)

        await until(f"the devices of {former} belong to others", is_so, within_s=SETTLED_WITHIN_S)

    async def devices_of(self, owner: str) -> frozenset[str]:
        """What the emulator calls the devices whose owner's name begins so."""
        holders = await self.holders()
        return frozenset(self.linked_as[device] for device, holder in holders.items() if holder.startswith(owner))

    # What happens to it

    async def begin(self, what: What, node: Node, owner: str | None = None) -> Happened:
        """Write down that something is done to a node, or to what one of its shards owns."""
        it = Happened(what, node.name, time.time(), await self.devices_of(owner or f"{node.name}-"))
        self.happened.append(it)
        return it

    async def kill_shard(self, node: Node, index: int) -> None:
        """SIGKILL; its supervisor starts it again."""
        pid = await node.pid_of_shard(index)
        it = await self.begin("kill a shard", node, f"{node.name}-{index}")
        signal_to(pid, signal.SIGKILL)
        it.until = time.time()

    async def kill_node(self, node: Node) -> None:
        """SIGKILL all of it; it is started again when others have its devices."""
        it = await self.begin("kill a node", node)
        node.signal_all(signal.SIGKILL)
        node.running.kill()
        it.until = time.time()
        await self.until_taken_over(node, it.devices)
        self.start_node(node)

    async def freeze_shard(self, node: Node, index: int) -> None:
        """SIGSTOP; SIGCONT after others, or its successor, have its devices."""
        pid = await node.pid_of_shard(index)
        it = await self.begin("freeze a shard", node, f"{node.name}-{index}")
        signal_to(pid, signal.SIGSTOP)
        await asyncio.sleep(LEASE_TTL_S)
        await self._until_connected_anew(it)
        it.until = time.time()
        signal_to(pid, signal.SIGCONT)

    async def freeze_node(self, node: Node, *, is_disconnected: bool) -> None:
        """SIGSTOP all of it, SIGCONT when others have its devices; meanwhile WhatsApp may drop its connections."""
        it = await self.begin("freeze a node", node)
        node.signal_all(signal.SIGSTOP)
        if is_disconnected:
            it.notes.append("connections dropped")
            await asyncio.gather(*(self.whatsapp.drop(name) for name in it.devices), return_exceptions=True)
        await self._until_connected_anew(it)
        it.until = time.time()
        node.signal_all(signal.SIGCONT)

    async def cut_off(self, node: Node, *, is_refused: bool) -> None:
        """Nothing passes to and from NATS until others have its devices; connections hang, or are refused."""
        it = await self.begin("cut a node off", node)
        if is_refused:
            it.notes.append("refused")
            node.tunnel.stop()
        else:
            node.tunnel.hang()
        await self.until_taken_over(node, it.devices)
        it.until = time.time()
        if is_refused:
            await node.tunnel.start()
        else:
            node.tunnel.let_go()

    async def drain(self, node: Node) -> None:
        """SIGTERM, wait for the end, start it again."""
        it = await self.begin("drain a node", node)
        code = await node.running.terminate(within_s=40)
        it.until = time.time()
        it.notes.append(f"ended with {code}")
        self.start_node(node)

    async def _until_connected_anew(self, it: Happened) -> None:
        """Wait until each device that was concerned was connected after it by somebody."""
        mine = {device for device, name in self.linked_as.items() if name in it.devices}
        since = datetime.fromtimestamp(it.since, UTC)

        async def is_so() -> bool:
            await asyncio.sleep(LOOK_S)
            states = await self.states()
            return all(states[device].state == "connected" and states[device].at > since for device in mine)

        await until(f"{len(mine)} devices are connected anew", is_so, within_s=SETTLED_WITHIN_S)


def signal_to(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return
