"""Every node is drained and started again, one after the other, while messages go both ways on the real library.

Proven: every command is sent, once, and none has an unknown outcome; every message that came is an event; nobody is
asked for a QR code; each time that a device was away is told, with its reason, and lasts as long as is promised.
"""

from statistics import median, quantiles

import pytest

from kurir.contracts.events import ConnectionUpdate
from tests.support.whatsapp_emulator.journal import ownerships
from tests.system.sessions import findings
from tests.system.sessions.cluster import Cluster
from tests.system.sessions.judging import judge
from tests.system.sessions.traffic import traffic

DEVICES, NODES = 24, 3
AWAY_P95_S = 30.0  # less than a second on a machine with nothing else to do; on a busy one logins alone take some

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]


async def test_a_rolling_restart_loses_nothing(cluster: Cluster) -> None:
    await cluster.link(DEVICES)
    await cluster.start(NODES)
    async with traffic(cluster) as made:
        for node in cluster.nodes:
            await cluster.drain(node)
            await cluster.settled()
    counts, events = await judge(cluster, made)
    assert all(it.notes == ["ended with 0"] for it in cluster.happened), cluster.happened
    assert counts["sent"] == counts["orders"] == counts["attempts"]
    assert not any(what.startswith("lost with") for what in counts)
    stays = ownerships(await cluster.whatsapp.journal("connection.logged_in", "connection.ended"))
    came = [event.device for event in events if isinstance(event, ConnectionUpdate) and event.state == "connected"]
    for device, name in cluster.linked_as.items():
        # One that is given away in the moment of its login, its owner does not hear of.
        long = [stay for stay in stays if stay.device == name and (stay.until is None or stay.until - stay.since > 1)]
        assert len(long) <= came.count(device), f"{device} came and went without a word"
    away = [gap for of_device in findings.gaps(events).values() for gap in of_device]
    assert {gap.reason for gap in away} == {"moved"}
    seconds = sorted(gap.seconds for gap in away)
    p95 = quantiles(seconds, n=20)[-1]
    print(f"  away {len(away)} times: median {median(seconds):.2f} s, p95 {p95:.2f} s, longest {seconds[-1]:.2f} s")
    assert p95 < AWAY_P95_S
