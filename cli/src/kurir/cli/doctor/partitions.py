"""Who holds the devices: shards that are alive, and leases that are theirs.

Partitions move for a second or two, so what looks wrong is looked at again after LOOK_AGAIN_S, and told if
it was so both times.
"""

import asyncio
from collections import Counter, defaultdict

from kurir.cli.doctor.broker import lasting, shown
from kurir.contracts.records import Holder, Node, Shard, node_key
from kurir.contracts.subjects import COMMAND_PARTITIONS
from kurir.runtime.diagnosis import Finding, Scene

LOOK_AGAIN_S = 3.0
HAND_OVER_S = 300.0  # a shard that is replaced lives beside its successor for so long at most
NEARLY_FULL = 0.9
FORGOTTEN_S = 24 * 3600.0  # maintenance of a node takes hours

Problem = tuple[str, str]  # its kind, and whom it is about


async def leases(scene: Scene) -> list[Finding]:
    """Partitions without an owner, and leases of shards that are not there any more."""
    problems = await _lease_problems(scene)
    if problems:
        await asyncio.sleep(LOOK_AGAIN_S)
        problems &= await _lease_problems(scene)
    by_kind = defaultdict(list)
    for kind, whom in sorted(problems):
        by_kind[kind].append(whom)
    cures = {
        "without an owner": "Start a session-node, or uncordon one; if nodes are up, look into their logs for leases.",
        "held by a shard that is not alive": "Others claim them when the lease has run out (KURIR_LEASE_TTL_S); "
        "if this stays, see whether any shard is alive.",
        "held for ever by a shard that is not alive": "Delete each with `nats kv del leases <partition>`: it was "
        "written without an expiry, so no shard can claim it.",
    }
    return [
        Finding(
            "leases", "fail", f"{len(whose)} of {COMMAND_PARTITIONS} partitions {kind}: {shown(whose)}", cures[kind]
        )
        for kind, whose in by_kind.items()
    ] or [Finding("leases", "ok", f"all {COMMAND_PARTITIONS} partitions have an owner that is alive")]


async def _lease_problems(scene: Scene) -> set[Problem]:
    held = {entry.key: entry for entry in await scene.read("leases", Holder)}
    alive = {entry.key for entry in await scene.read("shards", Shard)}
    problems: set[Problem] = set()
    for partition in range(COMMAND_PARTITIONS):
        key = f"p{partition:02d}"
        lease = held.get(key)
        if lease is None:
            problems.add(("without an owner", key))
        elif lease.value.holder not in alive:
            kind = "held by" if lease.ttl_s is not None else "held for ever by"
            problems.add((f"{kind} a shard that is not alive", f"{key} ({lease.value.holder})"))
    return problems


async def shards(scene: Scene) -> list[Finding]:
    """Whether shards are alive, have room, and are each the only one of their slot."""
    alive = [entry.value for entry in await scene.records("shards", Shard)]
    if not alive:
        return [Finding("shards", "fail", "none is alive", "Start a session-node: `kurir session-node`.")]
    found = []
    now = scene.clock.now()
    slots = Counter(shard.slot or shard.id for shard in alive)
    for slot in sorted(slot for slot, count in slots.items() if count > 1):
        of_slot = sorted((shard for shard in alive if (shard.slot or shard.id) == slot), key=lambda s: s.started_at)
        age_s = (now - of_slot[-1].started_at).total_seconds()
        names = ", ".join(f"{shard.id} on {shard.node}" for shard in of_slot)
        if age_s > HAND_OVER_S:
            cure = (
                "Two nodes bear one KURIR_NODE_NAME, or a shard that was replaced did not end: give each node a "
                f"name of its own, or end the process of {of_slot[0].id}."
            )
            found.append(Finding("shards", "fail", f"two in slot {slot}: {names}", cure))
    capacity = sum(shard.capacity for shard in alive if not shard.draining)
    sessions = sum(shard.sessions for shard in alive)
    nodes = len({shard.node for shard in alive})
    text = f"{len(alive)} shards of {nodes} nodes are alive, {sessions} sessions, meant for {capacity}"
    if sessions > NEARLY_FULL * capacity:
        cure = "Run another session-node, or raise KURIR_SHARDS where there is memory for it."
        found.append(Finding("shards", "warn", text, cure))
    return found or [Finding("shards", "ok", text)]


async def nodes(scene: Scene) -> list[Finding]:
    """Nodes that operators keep partitions away from: forgotten ones, and all of them at once."""
    states = {entry.key: entry.value for entry in await scene.records("nodes", Node)}
    living = {node_key(entry.value.node) for entry in await scene.records("shards", Shard)}
    told = ", ".join(f"{node.name} is {node.state}" for _, node in sorted(states.items()))
    uncordon = "Open nodes again with `kurir nodes uncordon <name>`."
    if living and living <= states.keys():
        text = f"no node is open, so cordons are not honoured: {told}"
        return [Finding("nodes", "fail", text, uncordon)]
    age_s = max([(scene.clock.now() - node.at).total_seconds() for node in states.values()], default=0.0)
    if age_s > FORGOTTEN_S:
        return [Finding("nodes", "warn", f"{told}, for up to {lasting(age_s)}", uncordon)]
    return [Finding("nodes", "ok", told or f"all {len(living)} are open")]
