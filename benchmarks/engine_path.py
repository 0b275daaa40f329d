"""One device's messages on their whole way: POST, JetStream, session-node, neonize, the ack of WhatsApp's emulator, the
stored outcome. Against neonize alone.

No more than UNDER_WAY messages of the device wait at any time. The floor sends the same text to the same person from
another device of the same emulator, one message after the other, in a bare loop: with its store as Kurir opens it, and
as neonize does by itself. An emulator on the same machine acknowledges sooner than any server can; so it is measured
with acknowledgements that take ACK_DELAY_MS, too.

python -m benchmarks.engine_path
"""

import asyncio
import contextlib
import sys
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import cast

import httpx
import msgspec
import uvloop

from benchmarks.accept import TEXT, operator_key
from benchmarks.bare import Bare, bare_neonize
from benchmarks.feed import stored
from benchmarks.figures import Figure, Measure, in_turns, show
from benchmarks.floors import Rate
from benchmarks.load import answer_length, request
from benchmarks.machine import Meter, children_of, nats_server, service
from benchmarks.whatsapp import (
    FRIEND,
    INSIDE,
    Stored,
    World,
    answer,
    measured,
    node_environment,
    put_store,
    world_of,
)
from kurir.contracts import streams, subjects
from kurir.contracts.records import Session
from kurir.runtime import keyvalue, topology
from kurir.runtime.broker import Bus
from kurir.runtime.secrets import new_master_key
from tests.support.server_process import free_port

UNDER_WAY = 30  # more than 32 would open a lane, which is for devices that are behind
SECONDS = 5.0
ACK_DELAY_MS = 20  # less than a round trip to WhatsApp takes from most places
AFTER = "--acks-after-ms"
ROUNDS = 3
CONNECTED_WITHIN_S = 30.0
CONNECTIONS = 4
LOOK_S = 0.01
DRAINED_WITHIN_S = 30.0
FLOORS = {"neonize alone, its store in WAL mode as ours": True, "neonize alone, its store as it opens it": False}
STATUSES_OF_A_MESSAGE = 2  # sent, delivered


def main() -> list[Figure]:
    """Measure, print and return the figures: with an emulator that answers at once, and from ACK_DELAY_MS away."""
    return [
        figure
        for delay_ms in (0, ACK_DELAY_MS)
        for figure in cast(
            list[Figure],
            measured("benchmarks.engine_path", 3, (AFTER, str(delay_ms)), ack_delay_s=delay_ms / 1000),
        )
    ]


async def _measured(world: World, delay_ms: int) -> list[Figure]:
    async with contextlib.AsyncExitStack() as stack:
        path = await stack.enter_async_context(_path(world, world.devices[0]))
        measures: dict[str, Measure] = {"path": path.run}
        for (what, is_wal), linked in zip(FLOORS.items(), world.devices[1:], strict=True):
            bare = await stack.enter_async_context(bare_neonize(world.proxy))
            await bare.ask("open", [linked.file], is_wal)
            measures[what] = partial(_bare_run, bare)
        for measure in measures.values():
            await measure()  # Signal sessions and caches exist now
        rates = await in_turns(ROUNDS, measures)
    distance = f", acks after {delay_ms} ms" if delay_ms else ""
    figures = [
        Figure(
            name="engine path",
            what=f"one device, HTTP to WhatsApp's ack, {UNDER_WAY} under way{distance}",
            ours=rates["path"],
            floor_is=what,
            floor=rates[what],
            notes=(path.note,) if is_wal else (),
        )
        for what, is_wal in FLOORS.items()
    ]
    show(figures)
    return figures


async def _bare_run(bare: Bare) -> Rate:
    per_s, cpu_us = cast(list[float], await bare.ask("send", FRIEND, TEXT, SECONDS))
    return Rate(per_s=per_s, cpu_us=cpu_us)


class _Path:
    """Keeps UNDER_WAY messages of one device under way. What is looked at is the streams: to be told of each message
    would cost as much as a part of its way."""

    def __init__(self, bus: Bus, statuses: str, port: int, post: bytes, meter: Meter) -> None:
        self._bus, self._statuses = bus, statuses
        self._port, self._post, self._meter = port, post, meter
        self._posted = 0
        self.note = ""

    async def run(self) -> Rate:
        """Raises RuntimeError when a message is not accepted or not sent, TimeoutError."""
        async with contextlib.AsyncExitStack() as stack:
            lines = [await stack.enter_async_context(_connection(self._port)) for _ in range(CONNECTIONS)]
            await self._keep_busy(lines, SECONDS / 5)  # fills the pipe
            self._meter.start()
            began, before = time.perf_counter(), await self._done()
            await self._keep_busy(lines, SECONDS)
            count, took, used = await self._done() - before, time.perf_counter() - began, self._meter.read()
        async with asyncio.timeout(DRAINED_WITHIN_S):
            while await self._told() < STATUSES_OF_A_MESSAGE * self._posted:
                await asyncio.sleep(LOOK_S)
        per_message = {name: used_s / max(1, count) * 1e6 for name, used_s in used.items()}
        self.note = "CPU µs a message: " + ", ".join(f"{name} {us:.0f}" for name, us in per_message.items())
        return Rate(per_s=count / took, cpu_us=per_message["session-node"])

    async def _keep_busy(self, lines: list["_Line"], seconds: float) -> None:
        until = time.perf_counter() + seconds
        while time.perf_counter() < until:
            room = UNDER_WAY - (self._posted - await self._done())
            self._posted += room
            await asyncio.gather(*(line.post(self._post, room // len(lines)) for line in lines[1:]))
            await lines[0].post(self._post, room - room // len(lines) * (len(lines) - 1))
            await asyncio.sleep(LOOK_S)

    async def _done(self) -> int:
        """Messages that were sent, and told so."""
        return self._posted - await stored(self._bus, streams.COMMANDS.name)

    async def _told(self) -> int:
        return sum((await self._bus.subjects(streams.EVENTS.name, self._statuses)).values())


class _Line:
    """A kept-alive connection to the api."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def post(self, request: bytes, times: int) -> None:
        """Raises RuntimeError when one is not accepted."""
        for _ in range(times):
            self._writer.write(request)
            held = b""
            while not held or answer_length(held) != len(held):
                if not (more := await self._reader.read(65536)):
                    raise RuntimeError("the api closed the connection")
                held += more
            if not held.startswith(b"HTTP/1.1 2"):
                raise RuntimeError(held.decode())


@contextlib.asynccontextmanager
async def _connection(port: int) -> AsyncIterator[_Line]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield _Line(reader, writer)
    finally:
        writer.close()


@contextlib.asynccontextmanager
async def _path(world: World, linked: Stored) -> AsyncIterator[_Path]:
    """Api and session-node, the device connected."""
    async with contextlib.AsyncExitStack() as stack:
        server = await stack.enter_async_context(nats_server())
        bus = await Bus.connect(server.url, name="engine path")
        stack.push_async_callback(bus.close)
        await topology.apply(bus)
        port = free_port()
        environment = {
            "NATS_URL": server.url,
            "MONGODB_URL": "mongodb://127.0.0.1:9/kurir",
            "KURIR_MASTER_KEY": new_master_key(),
            "KURIR_API_PORT": str(port),
        }
        api = await stack.enter_async_context(service("kurir.cli", "api", environment=environment))
        operator = await operator_key(environment)
        store = Path(world.folder) / "devices"
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=20) as http:
            tenant, key, device = await _linked_device(http, bus, operator, linked, store)
        node = await stack.enter_async_context(
            service("kurir.session_node", "--shards", "1", environment=node_environment(world, server.url, store))
        )
        async with asyncio.timeout(CONNECTED_WITHIN_S):
            while not await _is_connected(bus, tenant, device):
                await asyncio.sleep(0.05)
        body = msgspec.json.encode({"deviceId": device, "to": FRIEND, "text": TEXT})
        meter = Meter(
            {
                "api": api,
                "nats-server": server.pid,
                "session-node": children_of(node),
                "emulator": world.emulator_pid,
            }
        )
        post = request(f"127.0.0.1:{port}", "/messages/send-text", body, [("X-API-Key", key)])
        path = _Path(bus, subjects.event(tenant, device, "send.message.status"), port, post, meter)
        yield path


async def _linked_device(
    http: httpx.AsyncClient, bus: Bus, operator: str, linked: Stored, store: Path
) -> tuple[str, str, str]:
    """A tenant, its key, and its device, which has the stored keys; the node that starts next is to connect it."""

    async def post(path: str, key: str, body: object = None) -> dict[str, str]:
        answer = await http.post(path, headers={"X-API-Key": key}, json=body)
        if not answer.is_success:
            raise RuntimeError(f"{path}: {answer.status_code} {answer.text}")
        made: dict[str, str] = answer.json()
        return made

    tenant = (await post("/tenants", operator, {"name": "Bench", "ratePerMinute": 1_000_000}))["id"]
    key = (await post(f"/tenants/{tenant}/keys", operator, {"name": "bench"}))["apiKey"]
    device = (await post("/devices", key, {"name": "Bench", "engine": "neonize", "pacePerMinute": 0}))["id"]
    put_store(linked, store, tenant, device)
    session = Session(
        device=device, tenant=tenant, state="disconnected", at=datetime.now(UTC), paired=True, jid=linked.jid
    )
    await keyvalue.put(bus, "sessions", f"{tenant}.{device}", msgspec.json.encode(session))
    await post(f"/devices/{device}/connect", key)
    return tenant, key, device


async def _is_connected(bus: Bus, tenant: str, device: str) -> bool:
    known = await keyvalue.read(bus, "sessions", f"{tenant}.{device}")
    return known is not None and msgspec.json.decode(known.data, type=Session).state == "connected"


if __name__ == "__main__":
    if INSIDE in sys.argv:
        folder = sys.argv[sys.argv.index(INSIDE) + 1]
        delay_ms = int(sys.argv[sys.argv.index(AFTER) + 1])
        answer(folder, uvloop.run(_measured(world_of(folder), delay_ms)))
    else:
        main()
