"""Shards and nodes are killed, frozen, cut off and drained at random under load, on the real library.

Proven over the emulator's own record: no moment with two connected owners of one device, no word of a former owner
after the login of the next, no accepted command without an end, every message twice explained, every message that
came an event but for what engine.md declares. `KURIR_CHAOS_S` says for how long (two minutes),
`KURIR_CHAOS_SEED` repeats the order of what happened (not its timing).
"""

import asyncio
import os
import random
import secrets
import time

import pytest

from tests.system.sessions.cluster import SHARDS, Cluster
from tests.system.sessions.judging import judge
from tests.system.sessions.traffic import traffic

SECONDS = float(os.environ.get("KURIR_CHAOS_S", "120"))
SEED = os.environ.get("KURIR_CHAOS_SEED") or secrets.token_hex(4)
DEVICES, NODES = 24, 3

pytestmark = [pytest.mark.system, pytest.mark.timeout(SECONDS + 600)]


async def test_a_device_has_one_owner_whatever_happens(cluster: Cluster) -> None:
    print(f"seed {SEED}")
    await cluster.link(DEVICES)
    await cluster.start(NODES)
    async with traffic(cluster) as made:
        await chaos(cluster, random.Random(SEED))
    await judge(cluster, made)


async def chaos(cluster: Cluster, chance: random.Random) -> None:
    """One thing after the other; half of them before the cluster has come to rest from the one before."""
    ends_at = time.monotonic() + SECONDS
    kinds: list[str] = []
    while time.monotonic() < ends_at:
        if not kinds:
            kinds = ["kill shard", "kill node", "freeze shard", "freeze node", "drop node", "hang", "refuse", "drain"]
            chance.shuffle(kinds)
        node, index, kind = chance.choice(cluster.nodes), chance.randrange(SHARDS), kinds.pop()
        print(f"{kind} {node.name}", flush=True)
        match kind:
            case "kill shard":
                await cluster.kill_shard(node, index)
            case "kill node":
                await cluster.kill_node(node)
            case "freeze shard":
                await cluster.freeze_shard(node, index)
            case "freeze node" | "drop node":
                await cluster.freeze_node(node, is_disconnected=kind == "drop node")
            case "hang" | "refuse":
                await cluster.cut_off(node, is_refused=kind == "refuse")
            case _:
                await cluster.drain(node)
        if chance.random() < 0.5:
            await cluster.settled()
        else:
            await asyncio.sleep(chance.uniform(0.0, 3.0))
