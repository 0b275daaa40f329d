"""Which engines a node has, and what it says of those that it has not."""

import asyncio

import pytest

from kurir.session_node import engine_room
from kurir.session_node.engine_room import EngineRoom, EngineUnavailable
from kurir.session_node.engines.engine import Engine
from kurir.session_node.engines.sandbox.client import SandboxEngine


def broken() -> Engine:
    raise ImportError("libmagic is missing")


async def test_an_engine_that_this_node_does_not_have_is_refused_by_name() -> None:
    with pytest.raises(EngineUnavailable, match="this node has no engine neonize"):
        await EngineRoom({}).engine("neonize")


async def test_an_engine_that_does_not_start_is_refused_with_the_cause() -> None:
    with pytest.raises(EngineUnavailable, match="neonize does not start: libmagic is missing"):
        await EngineRoom({"neonize": broken}).engine("neonize")


async def test_an_engine_that_does_not_stop_keeps_no_other_from_it(monkeypatch: pytest.MonkeyPatch) -> None:
    class Hanging(SandboxEngine):
        async def stop(self) -> None:
            await asyncio.Event().wait()

    class Noting(SandboxEngine):
        is_stopped = False

        async def stop(self) -> None:
            self.is_stopped = True

    monkeypatch.setattr(engine_room, "LONGEST_STOP_S", 0.02)
    noting = Noting(None)
    room = EngineRoom({"first": lambda: Hanging(None), "second": lambda: noting})
    await room.engine("first")
    await room.engine("second")
    await room.stop()
    assert noting.is_stopped
