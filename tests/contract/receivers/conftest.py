"""A stage with a dispatcher, and a recording receiver beside the one that is tried."""

from collections.abc import AsyncIterator

import pytest

from tests.support.dispatcher import Stage
from tests.support.nats_server import NatsServer
from tests.support.webhook_receiver import WebhookReceiver


@pytest.fixture
async def stage(nats_server: NatsServer) -> AsyncIterator[Stage]:
    async with Stage(nats_server) as stage:
        yield stage


@pytest.fixture
async def recorder() -> AsyncIterator[WebhookReceiver]:
    async with WebhookReceiver() as receiver:
        yield receiver
