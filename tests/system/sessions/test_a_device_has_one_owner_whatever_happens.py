"""Shards and nodes are killed, frozen, cut off and drained at random under load, on the real library.

Proven over the emulator's own record: no moment with two connected owners of one device, no word of a former owner
after the login of the next, no accepted command without an end, every message twice explained, every message that
came an event but for what engine.md declares. `KURIR_CHAOS_SECONDS` says for how long (two minutes),
`KURIR_CHAOS_SEED` repeats the order of what happened (not its timing).
"""

import asyncio
import os
import random
import time
from collections import Counter

import pytest

from tests.support.conditions import until
from tests.system.sessions import findings
from tests.system.sessions.cluster import SHARDS, Cluster
from tests.system.sessions.traffic import Traffic, traffic

SECONDS = float(os.environ.get("KURIR_CHAOS_SECONDS", "120"))
SEED = int(os.environ.get("KURIR_CHAOS_SEED", random.SystemRandom().randrange(1 << 32)))
DEVICES, NODES = 24, 3
DONE_WITHIN_S = 90.0

pytestmark = [pytest.mark.system, pytest.mark.timeout(SECONDS + 600)]


async def test_a_device_has_one_owner_whatever_happens(cluster: Cluster) -> None:
    await cluster.link(DEVICES)
    await cluster.start(NODES)
    async with traffic(cluster) as made:
        await chaos(cluster, random.Random(SEED))
    await cluster.settled()
    await until("every command has ended", lambda: no_command_left(cluster), within_s=DONE_WITHIN_S)
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


async def no_command_left(cluster: Cluster) -> bool:
    await asyncio.sleep(0.2)
    return await cluster.gateway.commands_left() == 0


async def judge(cluster: Cluster, made: Traffic) -> None:
    await asyncio.sleep(findings.LAST_MOMENTS_S)  # for words that are on their way
    journal, events = await cluster.whatsapp.journal(), await cluster.gateway.events()
    assert journal[0]["n"] == 1, "the emulator's record is not whole"
    found = [
        findings.owners(journal),
        findings.connections(events, cluster.linked_as),
        findings.outbound(made.orders, events, journal, cluster.linked_as),
        findings.inbound(made.said, events, journal, cluster.happened),
    ]
    print(
        f"\nseed {SEED}; " + ", ".join(f"{n} × {what}" for what, n in Counter(i.what for i in cluster.happened).items())
    )
    for one in found:
        for what, count in sorted(one.counts.items()):
            print(f"  {count} {what}")
    wrong = [sentence for one in found for sentence in one.wrong]
    assert not wrong, "\n".join(wrong[:50])
