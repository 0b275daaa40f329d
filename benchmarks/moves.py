"""How long WhatsApp devices are away when their node is drained and when it is killed, on the real library.

Two nodes of one shard hold 200 sessions each. The first is told to end and hands its sessions over, is started again
and gets its share back, and is killed with the default lease. A device is away from its `disconnected`, or the kill,
until its next `connected`, as a subscriber hears it.

python -m benchmarks.moves [--sessions 200]
"""

import argparse
import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import uvloop

from benchmarks.figures import Amount, show
from benchmarks.machine import nats_server
from benchmarks.moving import add_devices, cluster, moved, watching
from benchmarks.whatsapp import INSIDE, TENANT, World, answer, measured, node_environment, put_store, world_of
from kurir.runtime import topology
from kurir.runtime.broker import Bus

SESSIONS, NODES = 200, 2
ROOM = 1.25  # partitions are not quite even


def main(sessions: int = SESSIONS) -> list[Amount]:
    """Measure, print and return the figures; `sessions` of each node."""
    return cast(list[Amount], measured("benchmarks.moves", sessions * NODES))


async def _measured(world: World) -> list[Amount]:
    async with contextlib.AsyncExitStack() as stack:
        server = await stack.enter_async_context(nats_server())
        bus = await Bus.connect(server.url, name="moves")
        stack.push_async_callback(bus.close)
        await topology.apply(bus)
        store = Path(world.folder) / "devices"
        jids = {f"dev{number:04}": stored.jid for number, stored in enumerate(world.devices)}
        for name, stored in zip(jids, world.devices, strict=True):
            put_store(stored, store, TENANT, name)
        # One of the two holds all of them while the other is away.
        environment = node_environment(world, server.url, store)
        environment |= {"KURIR_SHARD_CAPACITY": str(int(len(jids) * ROOM)), "KURIR_SHUTDOWN_GRACE_S": "60"}
        seen = await stack.enter_async_context(watching(server.url, TENANT))
        nodes = await stack.enter_async_context(cluster(NODES, 1, environment))
        await add_devices(bus, TENANT, "neonize", jids)
        await seen.until_connected(jids)
        figures = await moved("moves", "sessions", bus, seen, nodes, jids, TENANT)
    show(figures)
    return figures


def _inside(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument(INSIDE)
    chosen = parser.parse_args(arguments)
    answer(chosen.inside, uvloop.run(_measured(world_of(chosen.inside))))


if __name__ == "__main__":
    if INSIDE in sys.argv:
        _inside(sys.argv[1:])
    else:
        chooser = argparse.ArgumentParser(prog="python -m benchmarks.moves")
        chooser.add_argument("--sessions", type=int, default=SESSIONS, help="of each of the two nodes")
        main(chooser.parse_args().sessions)
