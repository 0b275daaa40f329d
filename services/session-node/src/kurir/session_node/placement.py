"""Which shard should own which partition: the same answer in every process that sees the same shards.

Rendezvous hashing with bounded load: a partition goes to the shard that it scores highest with, unless it is full.
A shard that joins or leaves moves few partitions besides its own, and one that replaces another, in its slot, moves
none but that one's. Pure; ownership.py acts on it.
"""

import hashlib
import math
from collections.abc import Iterable, Mapping
from functools import lru_cache
from types import MappingProxyType

from kurir.contracts.records import Node, NodeState, Shard, node_key
from kurir.contracts.subjects import COMMAND_PARTITIONS

SLACK = 1.1  # of the fair share: 1.0 would move partitions for nothing but evenness, 2.0 lets one shard have all


def wanted_owners(
    shards: Iterable[Shard],
    partitions: int = COMMAND_PARTITIONS,
    *,
    nodes: Iterable[Node] = (),
    holders: Mapping[int, str] = MappingProxyType({}),
) -> dict[int, str]:
    """The shard id that should own each partition; empty when no shard takes any.

    Each shard gets at most its share by capacity, plus SLACK. Shards that drain or have no capacity get none, nor do
    those whose slot a newer one has. Shards of a cordoned node get what they hold, by `holders`, and no more; those of
    a drained node nothing. When no node is open, cordoned ones are taken, and drained ones before none at all.
    """
    living = newest_of_slots(shard for shard in shards if not shard.draining and shard.capacity > 0)
    states = {node_key(node.name): node.state for node in nodes}
    taking = takers(living, states)
    owners = _spread(tuple(sorted((slot_of(shard), shard.id, shard.capacity) for shard in taking)), partitions)
    keeping = {shard.id for shard in living if states.get(node_key(shard.node)) == "cordoned"}
    return owners | {p: holder for p, holder in holders.items() if holder in keeping}


def takers(shards: Iterable[Shard], states: Mapping[str, NodeState]) -> list[Shard]:
    """The shards of open nodes; if there are none those of cordoned ones, and at last all. `states` by node key."""
    by_state: dict[NodeState, list[Shard]] = {"open": [], "cordoned": [], "drained": []}
    for shard in shards:
        by_state[states.get(node_key(shard.node), "open")].append(shard)
    return by_state["open"] or by_state["cordoned"] or by_state["drained"]


def newest_of_slots(shards: Iterable[Shard]) -> list[Shard]:
    """Of the shards that stand for the same slot only the one that was started last."""
    newest: dict[str, Shard] = {}
    for shard in sorted(shards, key=lambda shard: (shard.started_at, shard.id)):
        newest[slot_of(shard)] = shard
    return list(newest.values())


def slot_of(shard: Shard) -> str:
    """What placement knows a shard by."""
    return shard.slot or shard.id


@lru_cache(maxsize=8)
def _spread(taking: tuple[tuple[str, str, int], ...], partitions: int) -> dict[int, str]:
    """The owner of each partition among these slots, shard ids and capacities. Not to be changed by who gets it."""
    total = sum(capacity for _, _, capacity in taking)
    room = {shard_id: math.ceil(SLACK * partitions * capacity / total) for _, shard_id, capacity in taking}
    # The pairs that score highest come first, so the order of partitions plays no role in who is turned away.
    pairs = sorted(
        ((_score(slot, capacity, p), shard_id, p) for slot, shard_id, capacity in taking for p in range(partitions)),
        reverse=True,
    )
    owners: dict[int, str] = {}
    for _, shard_id, partition in pairs:
        if partition not in owners and room[shard_id] > 0:
            owners[partition] = shard_id
            room[shard_id] -= 1
    return owners


@lru_cache(maxsize=COMMAND_PARTITIONS * 256)
def _score(slot: str, capacity: int, partition: int) -> float:
    """Weighted rendezvous score: a shard wins in proportion to its capacity."""
    digest = hashlib.blake2b(f"{slot}/{partition}".encode(), digest_size=8).digest()
    uniform = (int.from_bytes(digest, "big") + 1) / (2**64 + 1)
    return -capacity / math.log(uniform)
