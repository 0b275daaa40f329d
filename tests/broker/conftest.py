"""Fixtures for the stores: the embedded server always, a real MongoDB too where one is at hand. And for what stands
around a service: the api and a tenant of it, a dispatcher's stage, a tenant's receiver, a way to the broker that can
hang.
"""

import asyncio
import os
import shutil
import subprocess
import uuid
from collections.abc import AsyncIterator, Iterator
from functools import cache

import pytest

from kurir.runtime.mongo import Driver, Mongo
from tests.support.api_server import Api, Client, running_api
from tests.support.dispatcher import Stage
from tests.support.mongo_server import MongoServer
from tests.support.nats_server import NatsServer
from tests.support.tunnel import Tunnel
from tests.support.webhook_receiver import WebhookReceiver

MONGO_IMAGE = "mongo:8.0"


@cache
def _servers_at_hand() -> list[str]:
    if os.environ.get("MONGODB_URL"):
        return ["embedded", "given"]
    docker = shutil.which("docker")
    if docker and subprocess.run([docker, "info"], capture_output=True, timeout=30).returncode == 0:
        return ["embedded", "container"]
    return ["embedded"]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "mongo_url" in metafunc.fixturenames:
        metafunc.parametrize("mongo_url", _servers_at_hand(), indirect=True, scope="session")
    if "mongo_driver" in metafunc.fixturenames:
        metafunc.parametrize("mongo_driver", ["motor", "pymongo"])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if _servers_at_hand() == ["embedded"]:
        terminalreporter.write_line("stores: tested on the embedded server alone (no MONGODB_URL, no Docker)")


@pytest.fixture(scope="session")
def mongo_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """A server for all store tests of this run; tests keep apart by their collection."""
    if request.param == "given":
        yield os.environ["MONGODB_URL"]
    elif request.param == "container":
        from testcontainers.mongodb import MongoDbContainer

        with MongoDbContainer(MONGO_IMAGE) as container:
            yield container.get_connection_url()
    else:
        server = MongoServer()
        asyncio.run(server.start())
        try:
            yield server.url
        finally:
            asyncio.run(server.stop())


@pytest.fixture
async def mongo(mongo_url: str, mongo_driver: Driver) -> AsyncIterator[Mongo]:
    connected = Mongo.connect(mongo_url, mongo_driver)
    try:
        yield connected
    finally:
        await connected.close()


@pytest.fixture
def collection() -> str:
    """A name no other test uses: databases of the embedded server share their collections."""
    return f"facts_{uuid.uuid4().hex[:12]}"


@pytest.fixture
async def mongo_server() -> AsyncIterator[MongoServer]:
    """An embedded server of this test alone, to be killed and restarted."""
    server = MongoServer()
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


@pytest.fixture
async def stage(nats_server: NatsServer) -> AsyncIterator[Stage]:
    """What a dispatcher needs around it, without its history."""
    async with Stage(nats_server) as stage:
        yield stage


@pytest.fixture
async def receiver() -> AsyncIterator[WebhookReceiver]:
    """Where the webhooks of a test arrive."""
    async with WebhookReceiver() as receiver:
        yield receiver


@pytest.fixture
async def tunnel(nats_server: NatsServer) -> AsyncIterator[Tunnel]:
    """A way to the broker that can hang, or be closed."""
    opened = Tunnel(nats_server.port)
    await opened.start()
    yield opened
    opened.stop()


@pytest.fixture
async def api(nats_server: NatsServer) -> AsyncIterator[Api]:
    """The api, without a history."""
    async with running_api(nats_server.url) as running:
        yield running


@pytest.fixture
async def tenant(api: Api) -> Client:
    """A tenant of the api, who calls it."""
    return await api.tenant()
