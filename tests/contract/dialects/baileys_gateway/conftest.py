"""A gateway whose operator lets requests without a key act for one sandbox device, as the original does."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from tests.support.api_server import Api, Client, running_api
from tests.support.connected_devices import Gateway, running_gateway
from tests.support.nats_server import NatsServer


@dataclass
class Bot:
    """`open` is an api that takes requests without a key, for `device`; `gateway` is one that does not."""

    gateway: Gateway
    open: Api
    tenant: Client
    device: str

    async def connect(self) -> None:
        await self.gateway.connect(self.tenant, self.device)


@pytest.fixture
async def gateway(nats_server: NatsServer) -> AsyncIterator[Gateway]:
    async with running_gateway(nats_server.url) as running:
        yield running


@pytest.fixture
async def idle_bot(gateway: Gateway) -> AsyncIterator[Bot]:
    """Not connected."""
    tenant = await gateway.api.tenant()
    device = await tenant.device(code="bot")
    async with running_api(gateway.nats_url, anonymous_device=f"{tenant.id}/bot") as api:
        yield Bot(gateway, api, tenant, device)


@pytest.fixture
async def bot(idle_bot: Bot) -> Bot:
    """Connected."""
    await idle_bot.connect()
    return idle_bot
