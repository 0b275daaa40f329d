"""The dashboard in a real browser, over the real api, session shard and webhook-dispatcher."""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from tests.support.api_server import MASTER_KEY, Api, Client, running_api
from tests.support.browser import Chromium, Page
from tests.support.conditions import until
from tests.support.dispatcher import Stage
from tests.support.mongo_server import MongoServer
from tests.support.nats_server import NatsServer
from tests.support.session_nodes import LocalShard
from tests.support.webhook_receiver import WebhookReceiver


@dataclass
class Scene:
    """A whole system in this process, and a browser."""

    api: Api
    stage: Stage
    chromium: Chromium
    receiver: WebhookReceiver

    async def page(self, client: Client, place: str = "", *, width: int = 1280) -> Page:
        """The dashboard with a key's owner signed in, at `place`."""
        page = await self.chromium.page(f"{self.api.url}/dashboard/#/{place}", width=width)
        await page.fill("API key", client.key)
        await page.press("Sign in")
        await page.sees("Sign out")
        return page


@pytest.fixture
async def scene(nats_server: NatsServer, mongo_server: MongoServer) -> AsyncIterator[Scene]:
    async with contextlib.AsyncExitStack() as stack:
        stage = await stack.enter_async_context(Stage(nats_server, mongo_server.url))
        api = await stack.enter_async_context(
            running_api(nats_server.url, mongo_server.url, egress_allow="127.0.0.1/32")
        )
        await stack.enter_async_context(stage.dispatcher(master_key=MASTER_KEY))
        receiver = await stack.enter_async_context(WebhookReceiver())
        chromium = await stack.enter_async_context(Chromium())
        yield Scene(api, stage, chromium, receiver)


@pytest.fixture
async def shard(nats_server: NatsServer, scene: Scene) -> AsyncIterator[LocalShard]:
    async with LocalShard(nats_server.url) as running:
        yield running


async def a_connected_device(tenant: Client, name: str = "CS") -> str:
    device = await tenant.device(name=name, pacePerMinute=0)
    await tenant.post(f"/devices/{device}/connect")

    async def is_paired() -> bool:
        await tenant.post(f"/devices/{device}/sandbox/scan")
        return bool((await tenant.get(f"/devices/{device}")).json()["status"] == "CONNECTED")

    await until("the device is connected", is_paired, within_s=30)
    return device
