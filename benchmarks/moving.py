"""Clusters whose nodes are drained and killed, and what their devices say of it: who was away, and for how long."""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from datetime import UTC, datetime
from statistics import median, quantiles
from typing import Literal

import msgspec
import nats
from nats.aio.msg import Msg

from benchmarks.figures import Amount
from benchmarks.machine import children_of, service
from kurir.contracts import events, subjects
from kurir.contracts.events import ConnectionUpdate
from kurir.contracts.records import Device, Engine, Session
from kurir.runtime import keyvalue
from kurir.runtime.broker import Bus

WITHIN_S = 240.0
AT_REST_S = 4.0
PUTS_AT_ONCE = 200
HEARD_WITHIN_S = 3.0


class Node:
    """A session node as a deployment starts it; `start` returns when it is ready."""

    def __init__(self, name: str, shards: int, environment: Mapping[str, str]) -> None:
        self.name = name
        self._shards = shards
        self._environment = {**environment, "KURIR_NODE_NAME": name}
        self._running = contextlib.AsyncExitStack()
        self.pid = 0

    @property
    def pids(self) -> list[int]:
        """The supervisor's and its shards'."""
        return [self.pid, *children_of(self.pid)]

    async def start(self) -> None:
        arguments = ("kurir.session_node", "--shards", str(self._shards))
        self.pid = await self._running.enter_async_context(service(*arguments, environment=self._environment))

    async def drain(self) -> None:
        """SIGTERM, and wait for the end. Harmless when it has ended."""
        await self._running.aclose()

    async def kill(self) -> None:
        """SIGKILL all of it, as if its machine were gone."""
        for pid in self.pids:
            os.kill(pid, signal.SIGKILL)
        await self._running.aclose()


@contextlib.asynccontextmanager
async def cluster(count: int, shards: int, environment: Mapping[str, str]) -> AsyncIterator[list[Node]]:
    """So many nodes, all ready."""
    nodes = [Node(f"bench{number}", shards, environment) for number in range(count)]
    try:
        await asyncio.gather(*(node.start() for node in nodes))
        yield nodes
    finally:
        await asyncio.gather(*(node.drain() for node in nodes), return_exceptions=True)


class Seen:
    """What devices say of their connections, as it is heard."""

    def __init__(self) -> None:
        self._connected: set[str] = set()
        self._left_at: dict[str, float] = {}
        self._changed_at = time.monotonic()
        self.away_s: dict[str, float] = {}
        """Of each device that came back since `begin`."""

    def begin(self, lost: Iterable[str] = ()) -> None:
        """Count anew; `lost` are away from now on without having said so."""
        self.away_s.clear()
        self._left_at = dict.fromkeys(lost, time.monotonic())
        self._connected -= self._left_at.keys()

    def hear(self, update: ConnectionUpdate) -> None:
        now = self._changed_at = time.monotonic()
        if update.state == "connected":
            self._connected.add(update.device)
            if update.device in self._left_at:
                self.away_s.setdefault(update.device, now - self._left_at.pop(update.device))
        elif update.state == "disconnected":
            self._connected.discard(update.device)
            if update.device not in self.away_s:
                self._left_at.setdefault(update.device, now)

    async def until_connected(self, devices: Iterable[str]) -> None:
        """All of them, and nothing changes any more. Raises TimeoutError."""
        wanted = set(devices)
        async with asyncio.timeout(WITHIN_S):
            while not wanted <= self._connected or time.monotonic() < self._changed_at + AT_REST_S:
                await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def watching(nats_url: str, tenant: str) -> AsyncIterator[Seen]:
    """What the devices of a tenant say from now on."""
    seen = Seen()
    client = await nats.connect(nats_url)

    async def hear(message: Msg) -> None:
        fact = events.decode(subjects.parse_event(message.subject).type, message.data)
        if isinstance(fact, ConnectionUpdate):
            seen.hear(fact)

    try:
        await client.subscribe(subjects.event(tenant, "*", "connection.update"), cb=hear)
        await client.flush()
        yield seen
    finally:
        await client.close()


async def add_devices(
    bus: Bus,
    tenant: str,
    engine: Engine,
    jids: Mapping[str, str],
    *,
    wanted: Literal["connected", "disconnected"] = "connected",
) -> None:
    """Paired devices; `jids` by their names."""
    at = datetime.now(UTC)
    known = {
        name: Session(device=name, tenant=tenant, state="disconnected", at=at, paired=True, jid=jid)
        for name, jid in jids.items()
    }
    devices = {
        name: Device(
            id=name,
            tenant=tenant,
            name=name,
            engine=engine,
            created_at=at,
            updated_at=at,
            wanted=wanted,
            connect_generation=1,
            pace_per_minute=0,
        )
        for name in jids
    }
    await _put(bus, "sessions", tenant, known)
    await asyncio.sleep(HEARD_WITHIN_S)  # the shards know that the devices are linked before they exist
    await _put(bus, "devices", tenant, devices)


async def _put(bus: Bus, bucket: str, tenant: str, records: Mapping[str, Session | Device]) -> None:
    names = list(records)
    for start in range(0, len(names), PUTS_AT_ONCE):
        some = names[start : start + PUTS_AT_ONCE]
        encoded = [msgspec.json.encode(records[name]) for name in some]
        await asyncio.gather(
            *(keyvalue.put(bus, bucket, f"{tenant}.{name}", one) for name, one in zip(some, encoded, strict=True))
        )


async def owned_by(bus: Bus, tenant: str, node: str) -> list[str]:
    """The devices whose sessions the node holds."""
    known = await bus.last_by_subjects(keyvalue.stream_of("sessions"), f"$KV.sessions.{tenant}.*")
    sessions = [msgspec.json.decode(one.data, type=Session) for one in known]
    return [session.device for session in sessions if session.node == node and session.state == "connected"]


async def moved(
    figure: str, what: str, bus: Bus, seen: Seen, nodes: list[Node], devices: Iterable[str], tenant: str
) -> list[Amount]:
    """Drain the first node, start it again, kill it: the gaps of the devices that it held each time."""
    node = nodes[0]
    held = await owned_by(bus, tenant, node.name)
    seen.begin()
    await node.drain()
    await seen.until_connected(devices)
    drained = _amount(figure, f"s away, p95 of {len(held)} {what}, when their node is drained", seen, held, 5.0)
    await node.start()
    await seen.until_connected(devices)
    held = await owned_by(bus, tenant, node.name)
    seen.begin(lost=held)
    await node.kill()
    await seen.until_connected(devices)
    killed = _amount(figure, f"s away, p95 of {len(held)} {what}, when their node is killed", seen, held, 20.0)
    return [drained, killed]


def _amount(figure: str, what: str, seen: Seen, held: list[str], at_most: float) -> Amount:
    away = sorted(seen.away_s[device] for device in held if device in seen.away_s)
    others = sorted(seconds for device, seconds in seen.away_s.items() if device not in held)
    notes = [f"{what}: median {median(away):.2f}, longest {away[-1]:.2f}; {len(away)} of {len(held)} were away"]
    if others:
        notes.append(f"besides, {len(others)} of other nodes moved, for {median(others):.2f} s (median)")
    return Amount(
        name=figure,
        what=what,
        ours=quantiles(away, n=20)[-1],
        at_most=at_most,
        floor_is="none",
        floor=None,
        notes=tuple(notes),
    )
