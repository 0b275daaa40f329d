"""Every test of this folder runs once per engine."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kurir.session_node.engines.engine import Engine
from tests.contract.engine.worlds import WORLDS, Watched, World


@pytest.fixture(params=WORLDS, ids=lambda world: world.name)
def world(request: pytest.FixtureRequest) -> World:
    made: World = request.param()
    return made


@pytest.fixture
async def engine(world: World, tmp_path: Path) -> AsyncIterator[Engine]:
    started = await world.start(tmp_path)
    try:
        yield started
    finally:
        await world.stop()


@pytest.fixture
def watched() -> Watched:
    return Watched()
