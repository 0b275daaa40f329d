"""Brings a cluster to rest after what happened to it, collects what was written down, and judges it."""

import asyncio
from collections import Counter

from kurir.contracts.events import AnyEvent
from tests.support.conditions import until
from tests.system.sessions import findings
from tests.system.sessions.cluster import Cluster
from tests.system.sessions.traffic import Traffic

DONE_WITHIN_S = 90.0


async def judge(cluster: Cluster, made: Traffic) -> tuple[Counter[str], list[AnyEvent]]:
    """Fail with every finding; otherwise what was counted, and the events."""
    await cluster.settled()
    await until("every command has ended", lambda: _no_command_left(cluster), within_s=DONE_WITHIN_S)
    await asyncio.sleep(findings.LAST_MOMENTS_S)  # for words that are on their way
    journal, events = await cluster.whatsapp.journal(), await cluster.gateway.events()
    assert journal[0]["n"] == 1, "the emulator's record is not whole"
    found = [
        findings.owners(journal),
        findings.connections(events, cluster.linked_as, cluster.happened),
        findings.outbound(made.orders, events, journal, cluster.linked_as),
        findings.inbound(made.said, events, journal, cluster.happened),
    ]
    print(", ".join(f"{count} × {what}" for what, count in Counter(it.what for it in cluster.happened).items()))
    counts = sum((one.counts for one in found), Counter[str]())
    for what, count in sorted(counts.items()):
        print(f"  {count} {what}")
    wrong = [sentence for one in found for sentence in one.wrong]
    assert not wrong, "\n".join([*wrong[:50], *map(str, cluster.happened)])
    return counts, events


async def _no_command_left(cluster: Cluster) -> bool:
    await asyncio.sleep(0.2)
    return await cluster.gateway.commands_left() == 0
