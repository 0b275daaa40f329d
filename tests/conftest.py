"""Fixtures for everything that speaks NATS: a fresh server and a connected bus per test."""

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest

from tests.support.nats_server import NatsServer

if TYPE_CHECKING:
    from kurir.runtime.broker import Bus


@pytest.fixture
async def nats_server() -> AsyncIterator[NatsServer]:
    """A nats-server of this test alone, with JetStream and an empty store."""
    server = NatsServer()
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


@pytest.fixture
async def bus(nats_server: NatsServer) -> "AsyncIterator[Bus]":
    """A bus connected to `nats_server`; no stream exists yet (see kurir.runtime.topology.apply)."""
    from kurir.runtime.broker import Bus

    connected = await Bus.connect(nats_server.url, name="test")
    try:
        yield connected
    finally:
        await connected.close()
