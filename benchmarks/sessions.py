"""What hundreds of connected WhatsApp sessions take: memory of each, the time to log them in, and to get them back when
a shard is killed. Against neonize alone with the same stored devices in one process.

The base is a shard that has loaded the engine and holds one session; memory is told after the sessions were idle for
a while. A killed shard's sessions count as back when each of them was reported connected again.

python -m benchmarks.sessions [--sessions 200] [--shards 2]
"""

import argparse
import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import cast

import msgspec
import nats
import uvloop
from nats.aio.msg import Msg

from benchmarks.bare import bare_neonize
from benchmarks.figures import Amount, show
from benchmarks.machine import children_of, cpu_s_of, nats_server, service
from benchmarks.memory import Memory, memory_of
from benchmarks.whatsapp import (
    INSIDE,
    TENANT,
    World,
    answer,
    measured,
    node_environment,
    put_store,
    world_of,
)
from kurir.contracts import events, subjects
from kurir.contracts.events import ConnectionUpdate
from kurir.contracts.records import Device, Holder, Session
from kurir.runtime import keyvalue, topology
from kurir.runtime.broker import Bus
from kurir.runtime.partitions import partition_of
from kurir.session_node.ownership import lease_key

SESSIONS, SHARDS = 200, 2
SESSION_MB, LOGIN_WITHIN_S, BACK_WITHIN_S = 1.2, 10.0, 15.0
"""What is wanted, of SESSIONS on SHARDS."""
IDLE_S = 10.0
AT_REST_S = 4.0
WITHIN_S = 180.0
HEARD_WITHIN_S = 2.0
MB = 1024 * 1024


def main(sessions: int = SESSIONS, shards: int = SHARDS) -> list[Amount]:
    """Measure, print and return the figures."""
    return cast(list[Amount], measured("benchmarks.sessions", sessions, ("--shards", str(shards))))


async def _measured(world: World, shards: int) -> list[Amount]:
    bare_base, bare, bare_login_s = await _bare(world)
    async with contextlib.AsyncExitStack() as stack:
        server = await stack.enter_async_context(nats_server())
        bus = await Bus.connect(server.url, name="sessions")
        stack.push_async_callback(bus.close)
        await topology.apply(bus)
        node = _Node(world, server.url, shards)
        async with node.running(), _watched(server.url) as seen:
            pids = node.shard_pids
            pilots, rest = await _linked(world, node, bus, shards)
            await asyncio.sleep(HEARD_WITHIN_S)  # the shards know that the devices are linked before they exist
            for device in pilots:
                await _put(bus, device)
            await seen.until_connected(pilots)
            await asyncio.sleep(IDLE_S / 2)
            base, emulator_before = memory_of(pids), cpu_s_of(world.emulator_pid)
            began = time.monotonic()
            await asyncio.gather(*(_put(bus, device) for device in rest))
            await seen.until_connected(rest)
            login_s, emulator_login_s = time.monotonic() - began, cpu_s_of(world.emulator_pid) - emulator_before
            await asyncio.sleep(IDLE_S)
            used = memory_of(pids)
            emulator = memory_of([world.emulator_pid])
            back = await _killed(node, bus, seen) if shards > 1 else None
    count = len(world.devices)
    figures = [
        Amount(
            name="sessions",
            what=f"MB a connected idle session: resident, of {count} on {shards} shards, without the base",
            ours=(used - base).rss / len(rest) / MB,
            at_most=SESSION_MB,
            floor_is="neonize alone, one process",
            floor=(bare - bare_base).rss / count / MB,
            notes=(
                f"{shards} shards with one session each take {_told(base)}, with {count} {_told(used)}",
                f"neonize alone takes {_told(bare_base)}, with {count} sessions {_told(bare)}",
                f"the emulator takes {emulator.rss / MB:,.0f} MB, and "
                f"{emulator_login_s / len(rest) * 1e3:.1f} ms of CPU for a login",
            ),
        ),
        Amount(
            name="sessions",
            what=f"s to log {len(rest)} stored sessions in",
            ours=login_s,
            at_most=LOGIN_WITHIN_S * max(1.0, count / SESSIONS),
            floor_is="neonize alone, one after the other",
            floor=bare_login_s,
        ),
    ]
    if back is not None:
        figures.append(back)
    show(figures)
    return figures


async def _bare(world: World) -> tuple[Memory, Memory, float]:
    async with bare_neonize(world.proxy) as bare:
        base = memory_of([bare.pid])
        seconds = cast(float, await bare.ask("open", [stored.file for stored in world.devices]))
        await asyncio.sleep(IDLE_S)
        return base, memory_of([bare.pid]), seconds


class _Node:
    """A session node, and who among its shards owns what."""

    def __init__(self, world: World, nats_url: str, shards: int) -> None:
        self._environment = node_environment(world, nats_url, Path(world.folder) / "devices")
        self._shards = shards
        self.pid = 0

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        arguments = ("kurir.session_node", "--shards", str(self._shards))
        async with service(*arguments, environment=self._environment) as self.pid:
            yield

    @property
    def shard_pids(self) -> list[int]:
        return children_of(self.pid)

    async def owners(self, bus: Bus) -> dict[int, str]:
        """The shard of each partition."""
        found = {}
        for lease in await bus.last_by_subjects(keyvalue.stream_of("leases"), "$KV.leases.>"):
            if not keyvalue.is_marker(lease.headers):
                found[keyvalue.key_in("leases", lease.subject)] = msgspec.json.decode(lease.data, type=Holder).holder
        return {
            number: found[key] for number in range(subjects.COMMAND_PARTITIONS) if (key := lease_key(number)) in found
        }


async def _linked(world: World, node: _Node, bus: Bus, shards: int) -> tuple[list[str], list[str]]:
    """Give every stored device a name and its keys a place; names of one device of each shard, and of the others."""
    owners = await node.owners(bus)
    names = [f"dev{number:04}" for number in range(len(world.devices))]
    for name, stored in zip(names, world.devices, strict=True):
        put_store(stored, Path(world.folder) / "devices", TENANT, name)
        session = Session(
            device=name,
            tenant=TENANT,
            state="disconnected",
            at=datetime.now(UTC),
            paired=True,
            jid=stored.jid,
        )
        await keyvalue.put(bus, "sessions", f"{TENANT}.{name}", msgspec.json.encode(session))
    pilots = list({owners[partition_of(name, subjects.COMMAND_PARTITIONS)]: name for name in names}.values())
    if len(pilots) != shards:
        raise RuntimeError(f"the devices are on {len(pilots)} of {shards} shards")
    return pilots, [name for name in names if name not in pilots]


async def _put(bus: Bus, device: str) -> None:
    """Let there be this device, to be connected."""
    at = datetime.now(UTC)
    record = Device(
        id=device,
        tenant=TENANT,
        name=device,
        engine="neonize",
        created_at=at,
        updated_at=at,
        wanted="connected",
        connect_generation=1,
        pace_per_minute=0,
    )
    await keyvalue.put(bus, "devices", f"{TENANT}.{device}", msgspec.json.encode(record))


class _Seen:
    """What devices said of their connections."""

    def __init__(self) -> None:
        self.state: dict[str, str] = {}
        self.connected_at: dict[str, float] = {}
        self.changed_at = time.monotonic()

    def hear(self, update: ConnectionUpdate) -> None:
        self.changed_at = time.monotonic()
        self.state[update.device] = update.state
        if update.state == "connected":
            self.connected_at.setdefault(update.device, self.changed_at)

    async def until_connected(self, devices: Iterable[str]) -> None:
        """Raises TimeoutError."""
        wanted = set(devices)
        async with asyncio.timeout(WITHIN_S):
            while not wanted <= self.connected_at.keys():
                await asyncio.sleep(0.02)

    async def until_at_rest(self) -> float:
        """Return when nothing has changed for a while and all are connected; the moment of the last change."""
        async with asyncio.timeout(WITHIN_S):
            while time.monotonic() < self.changed_at + AT_REST_S or set(self.state.values()) != {"connected"}:
                await asyncio.sleep(0.1)
        return self.changed_at


@contextlib.asynccontextmanager
async def _watched(nats_url: str) -> AsyncIterator[_Seen]:
    seen = _Seen()
    client = await nats.connect(nats_url)

    async def hear(message: Msg) -> None:
        fact = events.decode(subjects.parse_event(message.subject).type, message.data)
        if isinstance(fact, ConnectionUpdate):
            seen.hear(fact)

    try:
        await client.subscribe(subjects.event(TENANT, "*", "connection.update"), cb=hear)
        await client.flush()
        yield seen
    finally:
        await client.close()


async def _killed(node: _Node, bus: Bus, seen: _Seen) -> Amount:
    """Kill a shard and time its sessions' return."""
    known = await bus.last_by_subjects(keyvalue.stream_of("sessions"), f"$KV.sessions.{TENANT}.*")
    sessions = [msgspec.json.decode(one.data, type=Session) for one in known]
    pid = node.shard_pids[0]
    shard = _shard_of(pid)
    lost = {session.device for session in sessions if session.shard is not None and session.shard.endswith(f"-{shard}")}
    seen.connected_at.clear()
    killed_at = time.monotonic()
    os.kill(pid, signal.SIGKILL)
    await seen.until_connected(lost)
    away = sorted(at - killed_at for device, at in seen.connected_at.items() if device in lost)
    at_rest_s = await seen.until_at_rest() - killed_at
    return Amount(
        name="sessions",
        what=f"s from kill -9 of a shard to all its {len(lost)} sessions open again",
        ours=away[-1],
        at_most=BACK_WITHIN_S,
        floor_is="none",
        floor=None,
        notes=(
            f"of a killed shard half the sessions were open again after {median(away):.1f} s; "
            f"all were where they belong, the new process serving its share, after {at_rest_s:.1f} s",
        ),
    )


def _shard_of(pid: int) -> str:
    """The index that a shard process was started with."""
    arguments = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
    return arguments[arguments.index("--shard") + 1]


def _told(memory: Memory) -> str:
    return f"{memory.rss / MB:,.0f} MB resident (PSS {memory.pss / MB:,.0f}, USS {memory.uss / MB:,.0f})"


def _inside(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument(INSIDE)
    parser.add_argument("--shards", type=int)
    chosen = parser.parse_args(arguments)
    answer(chosen.inside, uvloop.run(_measured(world_of(chosen.inside), chosen.shards)))


if __name__ == "__main__":
    if INSIDE in sys.argv:
        _inside(sys.argv[1:])
    else:
        chooser = argparse.ArgumentParser(prog="python -m benchmarks.sessions")
        chooser.add_argument("--sessions", type=int, default=SESSIONS)
        chooser.add_argument("--shards", type=int, default=SHARDS)
        wanted = chooser.parse_args()
        main(wanted.sessions, wanted.shards)
