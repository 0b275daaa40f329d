"""Session nodes and what operators want of them. Used over HTTP, and by the command line.

A node is known when a shard of it is alive, or when somebody cordoned it. What is wanted is a record; the shards of all
nodes act on it (session_node.placement), one partition at a time.
"""

from collections import Counter

from kurir.api.changes import Changes
from kurir.api.nodes.schemas import NodeView
from kurir.api.problems import Problem
from kurir.contracts.records import ApiKey, Holder, Node, NodeState, Shard, node_key
from kurir.runtime.clock import Clock
from kurir.runtime.registry import Registry

OPERATORS = "operators"
"""Whose audit log tells of nodes. No tenant has this id."""

NONE_OPEN = "No node is open, so cordons are not honoured until one is: nobody else could take the devices."
_DONE: dict[NodeState, str] = {"open": "node.uncordoned", "cordoned": "node.cordoned", "drained": "node.drained"}


class Nodes:
    def __init__(
        self,
        clock: Clock,
        changes: Changes,
        nodes: Registry[Node],
        shards: Registry[Shard],
        leases: Registry[Holder],
    ) -> None:
        self._clock = clock
        self._changes = changes
        self._nodes = nodes
        self._shards = shards
        self._leases = leases

    def all(self) -> list[NodeView]:
        """By name."""
        living: dict[str, list[Shard]] = {}
        for _, shard in self._shards.items():
            living.setdefault(node_key(shard.node), []).append(shard)
        records = dict(self._nodes.items())
        node_of = {shard.id: node_key(shard.node) for shards in living.values() for shard in shards}
        partitions = Counter(node_of.get(lease.holder) for _, lease in self._leases.items())
        note = None if any(key not in records for key in living) or not living else NONE_OPEN
        views = []
        for key in {*living, *records}:
            shards, record = living.get(key, []), records.get(key)
            views.append(
                NodeView(
                    name=shards[0].node if shards else records[key].name,
                    state=record.state if record is not None else "open",
                    since=record.at if record is not None else None,
                    shards=len(shards),
                    sessions=sum(shard.sessions for shard in shards),
                    capacity=sum(shard.capacity for shard in shards),
                    partitions=partitions[key],
                    note=note if record is not None else None,
                )
            )
        return sorted(views, key=lambda view: view.name)

    def get(self, name: str) -> NodeView:
        """Raises Problem NOT_FOUND."""
        key = node_key(name)
        found = next((view for view in self.all() if node_key(view.name) == key), None)
        if found is None:
            raise Problem("NOT_FOUND", "There is no such node.")
        return found

    async def want(self, actor: ApiKey | str, name: str, state: NodeState) -> NodeView:
        """Cordon, drain or open a node. Raises Problem NOT_FOUND, and CONFLICT for draining the last open node."""
        node = self.get(name)
        key = node_key(name)
        if state == "open":
            await self._nodes.delete(key)
        else:
            if state == "drained" and not self._is_another_open(key):
                raise Problem("CONFLICT", "No other node is open to take its devices: start one, or uncordon one.")
            await self._nodes.put(key, Node(name=node.name, state=state, at=self._clock.now(), by=_name_of(actor)))
        await self._changes.tell(OPERATORS, _DONE[state], actor=actor, target=node.name)
        return self.get(name) if state != "open" or node.shards else node

    def _is_another_open(self, key: str) -> bool:
        others = (node_key(shard.node) for _, shard in self._shards.items() if not shard.draining)
        return any(other != key and other not in self._nodes for other in others)


def _name_of(actor: ApiKey | str) -> str:
    return actor if isinstance(actor, str) else actor.id
