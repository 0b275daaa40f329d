"""A cluster on the real library for each test: one emulator, one broker, nodes with ways of their own to it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kurir.runtime.broker import Bus
from tests.support.nats_server import NatsServer
from tests.support.session_nodes import Gateway
from tests.support.whatsapp_emulator.process import EmulatorProcess
from tests.system.sessions.cluster import Cluster


@pytest.fixture
async def cluster(nats_server: NatsServer, bus: Bus, tmp_path: Path) -> AsyncIterator[Cluster]:
    """Nobody and nothing in it yet."""
    (tmp_path / "whatsapp").mkdir()
    with EmulatorProcess(tmp_path / "whatsapp") as emulator:
        made = Cluster(emulator, await Gateway.open(bus, nats_server.url), tmp_path)
        try:
            yield made
        finally:
            await made.end()
