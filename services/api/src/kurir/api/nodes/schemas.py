"""Session nodes as operators see them."""

from datetime import datetime

from msgspec import Struct

from kurir.contracts.records import NodeState


class NodeView(Struct, frozen=True, kw_only=True, rename="camel"):
    """`shards` that are alive hold `sessions` of the `capacity` that they are meant for, in `partitions` of 64.

    A `cordoned` node takes no partitions and keeps those it has; a `drained` one gives them away, and may be stopped
    when it has 0. `note` says when this cannot be honoured.
    """

    name: str
    state: NodeState
    since: datetime | None
    shards: int
    sessions: int
    capacity: int
    partitions: int
    note: str | None = None
