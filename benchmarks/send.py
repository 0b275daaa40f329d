"""How many commands a second one shard process carries out on the sandbox engine: mark, engine, status, receipts.

Each command is pulled from COMMANDS, marked in EVENTS, given to the engine, its outcome stored and then acknowledged;
two receipts follow. The floors move the same messages through the same streams (pull, four confirmed publishes, ack)
by nats-py and by Kurir's bus, with no device, no order and no engine between.

python -m benchmarks.send
"""

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import msgspec
import uvloop

from benchmarks.children import child
from benchmarks.feed import grown_to, stored, work_off
from benchmarks.figures import Figure, Measure, in_turns, show
from benchmarks.floors import Rate
from benchmarks.machine import Server, cpu_s_of, nats_server, service
from benchmarks.send_floor import carry_out
from kurir.contracts import commands, ids, streams, subjects
from kurir.contracts.commands import SendMessage
from kurir.contracts.content import Text
from kurir.contracts.records import Device, Session
from kurir.runtime import keyvalue, topology
from kurir.runtime.broker import Bus, Outgoing
from kurir.runtime.partitions import partition_of

TENANT = "bench"
DEVICES = 500  # the sandbox takes 30 to 80 ms to answer, and a device sends one message at a time
UNDER_WAY = 2  # commands of each device
SECONDS = 5.0
EVENTS_OF_A_MESSAGE = 4  # sending, sent, delivered, read
ROUNDS = 2
CONNECTED_WITHIN_S = 60.0
FLOORS = {"nats-py": "nats-py: pull, 4 publishes, ack", "bus": "Kurir's Bus: pull, 4 publishes, ack"}


def main(devices: int = DEVICES) -> list[Figure]:
    """Measure, print and return the figures."""
    return uvloop.run(_measured([f"dev{number:04}" for number in range(devices)]))


async def _measured(devices: list[str]) -> list[Figure]:
    async with contextlib.AsyncExitStack() as stack:
        ours = await stack.enter_async_context(_stage())
        theirs = await stack.enter_async_context(_stage())
        pid = await stack.enter_async_context(_shard(ours[1], ours[0], devices))

        async def by_shard() -> Rate:
            return await _carried_out(ours[1], devices, pid)

        async def by_floor(driver: str) -> Rate:
            with child(carry_out, theirs[0].url, driver) as floor:
                await asyncio.to_thread(floor.hear)
                return await _carried_out(theirs[1], devices, floor.pid)

        measures: dict[str, Measure] = {
            "shard": by_shard,
            "nats-py": lambda: by_floor("nats-py"),
            "bus": lambda: by_floor("bus"),
        }
        rates = await in_turns(ROUNDS, measures)
    figures = [
        Figure(
            name="send",
            what=f"one shard, {len(devices):,} sandbox devices",
            ours=rates["shard"],
            floor_is=what,
            floor=rates[floor],
        )
        for floor, what in FLOORS.items()
    ]
    show(figures)
    return figures


@contextlib.asynccontextmanager
async def _stage() -> AsyncIterator[tuple[Server, Bus]]:
    async with nats_server() as server:
        bus = await Bus.connect(server.url, name="send")
        try:
            await topology.apply(bus)
            yield server, bus
        finally:
            await bus.close()


@contextlib.asynccontextmanager
async def _shard(bus: Bus, server: Server, devices: list[str]) -> AsyncIterator[int]:
    """A shard process with all devices connected. Yields its process id."""
    for device in devices:
        await _add_paired(bus, device)
    with tempfile.TemporaryDirectory(prefix="kurir-bench-") as folder:
        environment = {"NATS_URL": server.url, "KURIR_NODE_NAME": "bench", "KURIR_DEVICE_STORE_DIR": folder}
        async with service("kurir.session_node", "--shard", "0", environment=environment) as pid:
            async with asyncio.timeout(CONNECTED_WITHIN_S):
                while await _connected(bus) < len(devices):
                    await asyncio.sleep(0.1)
            yield pid


async def _add_paired(bus: Bus, device: str) -> None:
    at = datetime.now(UTC)
    record = Device(
        id=device,
        tenant=TENANT,
        name=device,
        engine="sandbox",
        created_at=at,
        updated_at=at,
        wanted="connected",
        connect_generation=1,
        pace_per_minute=0,
    )
    session = Session(
        device=device, tenant=TENANT, state="disconnected", at=at, paired=True, jid="6289900000001@s.whatsapp.net"
    )
    await keyvalue.put(bus, "sessions", f"{TENANT}.{device}", msgspec.json.encode(session))
    await keyvalue.put(bus, "devices", f"{TENANT}.{device}", msgspec.json.encode(record))


async def _connected(bus: Bus) -> int:
    known = await bus.last_by_subjects("KV_sessions", f"$KV.sessions.{TENANT}.*")
    return sum(msgspec.json.decode(one.data, type=Session).state == "connected" for one in known)


async def _carried_out(bus: Bus, devices: list[str], pid: int) -> Rate:
    """Commands for SECONDS, their four events included."""
    said = await stored(bus, streams.EVENTS.name)
    before = cpu_s_of(pid)
    progress = await work_off(
        bus,
        streams.COMMANDS.name,
        lambda number: _order(devices[number % len(devices)]),
        window=UNDER_WAY * len(devices),
        seconds=SECONDS,
    )
    await grown_to(bus, streams.EVENTS.name, said + EVENTS_OF_A_MESSAGE * progress.count)
    return Rate(per_s=progress.per_s, cpu_us=(cpu_s_of(pid) - before) / progress.count * 1e6)


def _order(device: str) -> Outgoing:
    order = SendMessage(
        id=ids.uuid7(),
        tenant=TENANT,
        device=device,
        to="6281234567890@s.whatsapp.net",
        content=Text(text="Pesanan Anda 20251120-0042 sudah dikirim dan tiba besok. Terima kasih!"),
        accepted_at=datetime.now(UTC),
    )
    partition = partition_of(device, subjects.COMMAND_PARTITIONS)
    subject = subjects.command(partition, TENANT, device, commands.kind_of(order))
    return Outgoing(subject, msgspec.json.encode(order), order.id)


if __name__ == "__main__":
    main()
