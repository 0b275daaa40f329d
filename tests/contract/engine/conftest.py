"""Every test of this folder runs once per engine. One emulator and one process with neonize serve all of them."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from kurir.session_node.engines.engine import Engine
from tests.contract.engine.worlds import WORLDS, LinkedDevices, Watched, World
from tests.support.whatsapp_emulator.process import EmulatorProcess


@pytest.fixture(scope="session")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmulatorProcess]:
    with EmulatorProcess(tmp_path_factory.mktemp("whatsapp")) as started:
        yield started


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def linked_devices(
    emulator: EmulatorProcess, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[LinkedDevices]:
    linked = LinkedDevices(emulator, tmp_path_factory.mktemp("neonize"))
    try:
        yield linked
    finally:
        await linked.engine.end()


@pytest.fixture(params=WORLDS, ids=lambda world: world.name)
def world(request: pytest.FixtureRequest) -> World:
    made: World = request.param(*(request.getfixturevalue(name) for name in request.param.needs))
    return made


@pytest_asyncio.fixture(loop_scope="session")
async def engine(world: World, tmp_path: Path) -> AsyncIterator[Engine]:
    started = await world.start(tmp_path)
    try:
        yield started
    finally:
        await world.stop()


@pytest.fixture
def watched() -> Watched:
    return Watched()
