"""Who should own which partition."""

import math
from collections import Counter
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from kurir.contracts.records import Node, NodeState, Shard
from kurir.session_node.placement import SLACK, wanted_owners


def a_shard(name: str, *, capacity: int = 200, draining: bool = False, slot: str = "", after_s: float = 0.0) -> Shard:
    at = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=after_s)
    return Shard(id=name, slot=slot, node="n", started_at=at, capacity=capacity, draining=draining)


def shards(count: int) -> list[Shard]:
    return [a_shard(f"node{i // 4}-{i % 4}") for i in range(count)]


def test_nobody_owns_anything_without_shards() -> None:
    assert wanted_owners([]) == {}
    assert wanted_owners([a_shard("a", draining=True)]) == {}


def test_the_order_in_which_shards_are_seen_does_not_matter() -> None:
    assert wanted_owners(shards(9)) == wanted_owners(reversed(shards(9)))


@pytest.mark.parametrize("count", [1, 2, 3, 8, 52, 64])
def test_every_partition_has_an_owner_and_no_shard_more_than_its_bound(count: int) -> None:
    owners = wanted_owners(shards(count))
    assert sorted(owners) == list(range(64))
    assert max(Counter(owners.values()).values()) <= math.ceil(SLACK * 64 / count)


def test_capacity_weighs() -> None:
    load = Counter(wanted_owners([a_shard("big", capacity=300), a_shard("small", capacity=100)]).values())
    assert load["small"] <= math.ceil(SLACK * 16)
    assert load["big"] >= 46


@pytest.mark.parametrize("count", [2, 4, 10, 30])
def test_a_shard_that_leaves_moves_little_more_than_its_own(count: int) -> None:
    before = wanted_owners(shards(count))
    gone = shards(count)[count // 2].id
    after = wanted_owners([shard for shard in shards(count) if shard.id != gone])
    own = sum(owner == gone for owner in before.values())
    moved = sum(before[p] != after[p] for p in before)
    assert moved <= own + 16


def test_a_draining_shard_gives_everything_away() -> None:
    owners = wanted_owners([a_shard("a", draining=True), a_shard("b")])
    assert set(owners.values()) == {"b"}


def test_who_takes_over_a_slot_gets_what_its_former_process_had_and_nobody_else_moves() -> None:
    before = wanted_owners([a_shard("a", slot="a"), a_shard("b", slot="b"), a_shard("c")])
    during = wanted_owners([a_shard("a", slot="a"), a_shard("a_1", slot="a", after_s=60), a_shard("b"), a_shard("c")])
    assert during == {p: "a_1" if owner == "a" else owner for p, owner in before.items()}
    after = wanted_owners([a_shard("a_1", slot="a", after_s=60), a_shard("b", slot="b"), a_shard("c")])
    assert after == during


def test_a_slot_goes_back_when_its_new_process_dies() -> None:
    old = a_shard("a_9", slot="a")
    assert set(wanted_owners([old, a_shard("a_10", slot="a", after_s=60)]).values()) == {"a_10"}
    assert set(wanted_owners([old]).values()) == {"a_9"}


def a_node(name: str, state: NodeState) -> Node:
    return Node(name=name, state=state, at=datetime(2026, 1, 1, tzinfo=UTC), by="me")


def on_nodes(*names: str) -> list[Shard]:
    return [msgspec.structs.replace(a_shard(f"{name}-0"), node=name) for name in names]


def test_a_cordoned_node_keeps_what_it_holds_and_gets_no_more() -> None:
    held = dict.fromkeys(range(5), "a-0")
    owners = wanted_owners(on_nodes("a", "b", "c"), nodes=[a_node("a", "cordoned")], holders=held)
    assert {p for p, owner in owners.items() if owner == "a-0"} == set(held)
    assert sorted(owners) == list(range(64))


def test_a_drained_node_keeps_nothing() -> None:
    held = dict.fromkeys(range(64), "a-0")
    owners = wanted_owners(on_nodes("a", "b"), nodes=[a_node("a", "drained")], holders=held)
    assert set(owners.values()) == {"b-0"}


def test_when_every_node_is_cordoned_they_go_on_rather_than_leave_devices_alone() -> None:
    cordoned = [a_node("a", "cordoned"), a_node("b", "cordoned")]
    assert len(wanted_owners(on_nodes("a", "b"), nodes=cordoned)) == 64
    mixed = [a_node("a", "drained"), a_node("b", "cordoned")]
    assert set(wanted_owners(on_nodes("a", "b"), nodes=mixed).values()) == {"b-0"}
    drained = [a_node("a", "drained"), a_node("b", "drained")]
    assert set(wanted_owners(on_nodes("a", "b"), nodes=drained).values()) == {"a-0", "b-0"}


def test_the_name_of_a_node_is_its_key_also_when_it_has_dots() -> None:
    owners = wanted_owners(on_nodes("a.example", "b"), nodes=[a_node("a.example", "drained")])
    assert set(owners.values()) == {"b-0"}
