"""Fixtures for everything that speaks NATS: a fresh server and a connected bus per test.

Where Docker answers, every such test runs a second time on the server image of production.
"""

from collections.abc import AsyncIterator

import hypothesis
import pytest

from kurir.runtime.broker import Bus
from tests.support.compatibility.table import pytest_addoption, pytest_configure
from tests.support.nats_container import NatsContainer, docker_answers
from tests.support.nats_server import NatsServer

__all__ = ["pytest_addoption", "pytest_configure"]  # pytest finds them here

# The examples are the same in every run, and no measure of speed: who looks for more asks for
# --hypothesis-profile=default.
hypothesis.settings.register_profile(
    "same", derandomize=True, deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("same")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "nats_server" in metafunc.fixturenames:
        servers = [NatsServer, NatsContainer] if docker_answers() else [NatsServer]
        names = ["process", "container"][: len(servers)]
        marks = [[], [pytest.mark.containers]][: len(servers)]
        params = [
            pytest.param(server, id=name, marks=mark) for server, name, mark in zip(servers, names, marks, strict=True)
        ]
        metafunc.parametrize("nats_server", params, indirect=True)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not docker_answers():
        terminalreporter.write_line("no Docker here: NATS tests ran on the nats-server binary alone, not on its image")


@pytest.fixture
async def nats_server(request: pytest.FixtureRequest) -> AsyncIterator[NatsServer]:
    """A nats-server of this test alone, with JetStream and an empty store."""
    server: NatsServer = getattr(request, "param", NatsServer)()
    await server.start()
    try:
        yield server
    finally:
        await server.kill()  # an orderly end takes a second, and nobody reads this store again
        await server.stop()


@pytest.fixture
async def bus(nats_server: NatsServer) -> AsyncIterator[Bus]:
    """A bus connected to `nats_server`; no stream exists yet (see kurir.runtime.topology.apply)."""
    connected = await Bus.connect(nats_server.url, name="test")
    try:
        yield connected
    finally:
        await connected.close()
