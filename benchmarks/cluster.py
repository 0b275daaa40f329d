"""A cluster of ten shards with 5,000 sandbox devices: what it costs when nothing happens, and how long devices are away
when a node of two shards is drained, and when it is killed.

CPU is that of all shards and supervisors together, in percent of one core. What the work on ownership takes is found by
comparison: the same cluster with the same devices, whose leases last so long that none is renewed meanwhile.

python -m benchmarks.cluster [--devices 5000]
"""

import argparse
import asyncio
import contextlib
import tempfile

import uvloop

from benchmarks.figures import Amount, show
from benchmarks.machine import Meter, nats_server
from benchmarks.moving import Node, add_devices, cluster, moved, watching
from kurir.runtime import topology
from kurir.runtime.broker import Bus

DEVICES, NODES, SHARDS = 5_000, 5, 2
TENANT = "bench"
IDLE_S = 20.0
CALM_S = 5.0
OWNERSHIP_PERCENT = 5.0
NO_RENEWALS_S = 600


def main(devices: int = DEVICES) -> list[Amount]:
    """Measure, print and return the figures."""
    return uvloop.run(_measured(devices))


async def _measured(count: int) -> list[Amount]:
    async with contextlib.AsyncExitStack() as stack:
        server = await stack.enter_async_context(nats_server())
        bus = await Bus.connect(server.url, name="cluster")
        stack.push_async_callback(bus.close)
        await topology.apply(bus)
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="kurir-bench-"))
        environment = {
            "NATS_URL": server.url,
            "KURIR_DEVICE_STORE_DIR": folder,
            "KURIR_SHARD_CAPACITY": str(count),
            "KURIR_SHUTDOWN_GRACE_S": "60",
        }
        jids = {f"dev{number:05}": f"62811{number:07}@s.whatsapp.net" for number in range(count)}
        seen = await stack.enter_async_context(watching(server.url, TENANT))
        async with cluster(NODES, SHARDS, {**environment, "KURIR_LEASE_TTL_S": str(NO_RENEWALS_S)}) as nodes:
            await add_devices(bus, TENANT, "sandbox", jids)
            await seen.until_connected(jids)
            without = await _idle(nodes, server.pid)
        nodes = await stack.enter_async_context(cluster(NODES, SHARDS, environment))
        await seen.until_connected(jids)
        idle = await _idle(nodes, server.pid)
        figures = [
            Amount(
                name="cluster",
                what=f"% of a core for the ownership of {count:,} idle sandbox devices on {NODES * SHARDS} shards",
                ours=idle["nodes"] - without["nodes"],
                at_most=OWNERSHIP_PERCENT,
                floor_is="none",
                floor=None,
                notes=(
                    f"all of the {NODES * SHARDS + NODES} processes take {idle['nodes']:.1f} % of a core; "
                    f"{without['nodes']:.1f} % with leases that are not renewed",
                    f"nats-server takes {idle['nats']:.1f} %, and {without['nats']:.1f} % then",
                ),
            ),
            *await moved("cluster", "sandbox devices", bus, seen, nodes, jids, TENANT),
        ]
    show(figures)
    return figures


async def _idle(nodes: list[Node], nats_pid: int) -> dict[str, float]:
    """Percent of a core while nothing happens."""
    await asyncio.sleep(CALM_S)
    meter = Meter({"nodes": [pid for node in nodes for pid in node.pids], "nats": nats_pid})
    await asyncio.sleep(IDLE_S)
    return {name: used / IDLE_S * 100 for name, used in meter.read().items()}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cluster")
    parser.add_argument("--devices", type=int, default=DEVICES)
    main(parser.parse_args().devices)
