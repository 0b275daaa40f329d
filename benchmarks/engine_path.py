"""One device's messages on their whole way: POST, JetStream, session-node, neonize, the ack of WhatsApp's emulator, the
stored outcome. Against neonize alone.

No more than UNDER_WAY messages of the device wait at any time. The floor sends the same text to the same person from
another device of the same emulator, one message after the other, in a bare loop.

python -m benchmarks.engine_path
"""

import asyncio
import contextlib
import sys
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import httpx
import msgspec
import nats
import uvloop
from nats.aio.msg import Msg

from benchmarks.accept import TEXT, operator_key
from benchmarks.bare import Bare, bare_neonize
from benchmarks.figures import Figure, in_turns, show
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
from kurir.contracts import subjects
from kurir.contracts.records import Session
from kurir.runtime import keyvalue, topology
from kurir.runtime.broker import Bus
from kurir.runtime.secrets import new_master_key
from tests.support.server_process import free_port

UNDER_WAY = 24  # more than 32 would open a lane, which is for devices that are behind
SECONDS = 6.0
WARM_UP_S = 1.5
ROUNDS = 3
CONNECTED_WITHIN_S = 30.0
CONNECTIONS = 4


def main() -> list[Figure]:
    """Measure, print and return the figure."""
    return cast(list[Figure], measured("benchmarks.engine_path", devices=2))


async def _measured(world: World) -> list[Figure]:
    async with contextlib.AsyncExitStack() as stack:
        bare = await stack.enter_async_context(bare_neonize(world.proxy))
        await bare.ask("open", [world.devices[0].file])
        path = await stack.enter_async_context(_path(world, world.devices[1]))
        await path.run(WARM_UP_S)
        await _bare_run(bare, WARM_UP_S)
        rates = await in_turns(ROUNDS, {"path": lambda: path.run(SECONDS), "bare": lambda: _bare_run(bare, SECONDS)})
    figure = Figure(
        name="engine path",
        what=f"one device, HTTP to WhatsApp's ack, {UNDER_WAY} under way",
        ours=rates["path"],
        floor_is="neonize alone, in a bare loop",
        floor=rates["bare"],
        notes=(path.note,),
    )
    show([figure])
    return [figure]


async def _bare_run(bare: Bare, seconds: float) -> Rate:
    per_s, cpu_us = cast(list[float], await bare.ask("send", FRIEND, TEXT, seconds))
    return Rate(per_s=per_s, cpu_us=cpu_us)


class _Path:
    """Keeps UNDER_WAY messages of one device under way, and counts those that were sent."""

    def __init__(self, port: int, post: bytes, meter: Meter) -> None:
        self._port, self._post, self._meter = port, post, meter
        self._under_way = 0
        self._is_posting = False
        self.sent = 0
        self.failed: list[bytes] = []
        self._room = asyncio.Event()
        self.note = ""

    def told(self, status: bytes) -> None:
        """One status event of the device."""
        if b'"status":"sent"' in status:
            self.sent += 1
            self._under_way -= 1
            self._room.set()
        elif b'"status":"delivered"' not in status:
            self.failed.append(status)

    async def run(self, seconds: float) -> Rate:
        """Raises RuntimeError when a message is not accepted or not sent."""
        self._is_posting = True
        posters = [asyncio.create_task(self._posting()) for _ in range(CONNECTIONS)]
        await asyncio.sleep(seconds / 5)  # fills the pipe
        self._meter.start()
        began, before = time.perf_counter(), self.sent
        await asyncio.sleep(seconds)
        count, took, used = self.sent - before, time.perf_counter() - began, self._meter.read()
        self._is_posting = False
        async with asyncio.timeout(30):
            await asyncio.gather(*posters)
            while self._under_way > 0:
                await asyncio.sleep(0.01)
        if self.failed:
            raise RuntimeError(self.failed[0].decode())
        per_message = {name: used_s / max(1, count) * 1e6 for name, used_s in used.items()}
        self.note = "CPU µs a message: " + ", ".join(f"{name} {us:.0f}" for name, us in per_message.items())
        return Rate(per_s=count / took, cpu_us=per_message["session-node"])

    async def _posting(self) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            while self._is_posting:
                if self._under_way >= UNDER_WAY:
                    self._room.clear()
                    await self._room.wait()
                    continue
                self._under_way += 1
                writer.write(self._post)
                await self._answered(reader)
        finally:
            writer.close()

    async def _answered(self, reader: asyncio.StreamReader) -> None:
        held = b""
        while not held or answer_length(held) != len(held):
            if not (more := await reader.read(65536)):
                self.failed.append(held or b"the api closed the connection")
                return
            held += more
        if not held.startswith(b"HTTP/1.1 2"):
            self.failed.append(held)


@contextlib.asynccontextmanager
async def _path(world: World, stored: Stored) -> AsyncIterator[_Path]:
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
            tenant, key, device = await _linked_device(http, bus, operator, stored, store)
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
        path = _Path(port, request(f"127.0.0.1:{port}", "/messages/send-text", body, [("X-API-Key", key)]), meter)
        told = await nats.connect(server.url)
        stack.push_async_callback(told.close)

        async def tell(message: Msg) -> None:
            path.told(message.data)

        await told.subscribe(subjects.event(tenant, device, "send.message.status"), cb=tell)
        await told.flush()
        yield path


async def _linked_device(
    http: httpx.AsyncClient, bus: Bus, operator: str, stored: Stored, store: Path
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
    put_store(stored, store, tenant, device)
    session = Session(
        device=device, tenant=tenant, state="disconnected", at=datetime.now(UTC), paired=True, jid=stored.jid
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
        answer(folder, uvloop.run(_measured(world_of(folder))))
    else:
        main()
