"""Which engines a node has, and what it says of those that it has not."""

import pytest

from kurir.session_node.engine_room import EngineRoom, EngineUnavailable
from kurir.session_node.engines.engine import Engine


def broken() -> Engine:
    raise ImportError("libmagic is missing")


async def test_an_engine_that_this_node_does_not_have_is_refused_by_name() -> None:
    with pytest.raises(EngineUnavailable, match="this node has no engine neonize"):
        await EngineRoom({}).engine("neonize")


async def test_an_engine_that_does_not_start_is_refused_with_the_cause() -> None:
    with pytest.raises(EngineUnavailable, match="neonize does not start: libmagic is missing"):
        await EngineRoom({"neonize": broken}).engine("neonize")
