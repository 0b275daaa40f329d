"""The api with a shard beside it: a tenant whose connected device answers what is asked of it."""

from collections.abc import AsyncIterator

import pytest

from tests.support.api_server import Client
from tests.support.connected_devices import Gateway, running_gateway
from tests.support.nats_server import NatsServer


@pytest.fixture
async def gateway(nats_server: NatsServer) -> AsyncIterator[Gateway]:
    async with running_gateway(nats_server.url) as running:
        yield running


@pytest.fixture
async def tenant(gateway: Gateway) -> Client:
    return await gateway.api.tenant()


@pytest.fixture
async def device(gateway: Gateway, tenant: Client) -> str:
    return await gateway.connected(tenant)
