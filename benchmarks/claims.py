"""What it costs a shard to claim a partition, with few devices in the system and with many.

Two nodes of one shard each, of which one is drained and opened again, so that its partitions go to the other one and
come back. The devices are there and rest: what their sessions cost at WhatsApp belongs to logging in, not to the claim.
CPU is the claiming shard's and nats-server's, both for each partition.

python -m benchmarks.claims [--devices 5000]
"""

import argparse
import asyncio
import contextlib
import tempfile
from datetime import UTC, datetime

import msgspec
import uvloop

from benchmarks.figures import Amount, show
from benchmarks.machine import Meter, children_of, nats_server
from benchmarks.moving import WITHIN_S, Node, add_devices, cluster
from kurir.contracts import records
from kurir.contracts.records import Holder, NodeState
from kurir.contracts.subjects import COMMAND_PARTITIONS
from kurir.runtime import keyvalue, topology
from kurir.runtime.broker import Bus

FEW, MANY = 100, 5_000
TENANT = "bench"
MOVES = 6
CALM_S = 2.0
MOST_TIMES = 1.5


def main(devices: int = MANY) -> list[Amount]:
    """Measure, print and return the figures."""
    return uvloop.run(_measured(devices))


async def _measured(many: int) -> list[Amount]:
    few, much = [await _claims(count) for count in (FEW, many)]
    figures = [
        Amount(
            name="claims",
            what=f"ms of CPU of {whose} for a partition that is claimed, with {many:,} devices",
            ours=much[whose],
            at_most=MOST_TIMES * few[whose],
            floor_is=f"with {FEW} devices",
            floor=few[whose],
        )
        for whose in ("the shard", "nats-server")
    ]
    show(figures)
    return figures


async def _claims(devices: int) -> dict[str, float]:
    """Milliseconds of CPU for each claim."""
    async with contextlib.AsyncExitStack() as stack:
        server = await stack.enter_async_context(nats_server())
        bus = await Bus.connect(server.url, name="claims")
        stack.push_async_callback(bus.close)
        await topology.apply(bus)
        jids = {f"dev{number:05}": f"62811{number:07}@s.whatsapp.net" for number in range(devices)}
        await add_devices(bus, TENANT, "sandbox", jids, wanted="disconnected")
        environment = {
            "NATS_URL": server.url,
            "KURIR_DEVICE_STORE_DIR": stack.enter_context(tempfile.TemporaryDirectory(prefix="kurir-bench-")),
        }
        first, second = await stack.enter_async_context(cluster(2, 1, environment))
        claims, cpu_s = 0, {"the shard": 0.0, "nats-server": 0.0}
        for move in range(MOVES):
            taker = second if move % 2 == 0 else first
            await asyncio.sleep(CALM_S)
            held = await _held(bus)
            meter = Meter({"the shard": children_of(taker.pid), "nats-server": server.pid})
            await _want(bus, first, "drained" if taker is second else "open")
            await _until_moved(bus, first, taker)
            for whose, used in meter.read().items():
                cpu_s[whose] += used
            now = await _held(bus)
            claims += sum(now[key] != held[key] for key in now)
        return {whose: used / claims * 1000 for whose, used in cpu_s.items()}


async def _want(bus: Bus, node: Node, state: NodeState) -> None:
    """What `kurir nodes drain` and `uncordon` write."""
    if state == "open":
        await keyvalue.delete(bus, "nodes", node.name)
    else:
        record = records.Node(name=node.name, state=state, at=datetime.now(UTC), by="benchmark")
        await keyvalue.put(bus, "nodes", node.name, msgspec.json.encode(record))


async def _until_moved(bus: Bus, first: Node, taker: Node) -> None:
    """The first node has nothing left, or its share again."""
    share = 0 if taker is not first else COMMAND_PARTITIONS * 2 // 5
    async with asyncio.timeout(WITHIN_S):
        while True:
            held = await _held(bus)
            of_first = sum(holder.startswith(first.name) for holder in held.values())
            if len(held) == COMMAND_PARTITIONS and (of_first == 0 if share == 0 else of_first >= share):
                return
            await asyncio.sleep(0.1)


async def _held(bus: Bus) -> dict[str, str]:
    """Who holds each lease."""
    leases = await bus.last_by_subjects(keyvalue.stream_of("leases"), "$KV.leases.>")
    return {
        lease.subject: msgspec.json.decode(lease.data, type=Holder).holder
        for lease in leases
        if not keyvalue.is_marker(lease.headers)
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.claims")
    parser.add_argument("--devices", type=int, default=MANY)
    main(parser.parse_args().devices)
