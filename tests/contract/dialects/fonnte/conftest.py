"""A gateway with one connected sandbox device, and a key of that device."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from kurir.contracts import ids
from kurir.contracts.events import MessageQueued
from kurir.contracts.records import ApiKey, DialectOptions
from kurir.runtime import secrets
from kurir.runtime.registry import Registry
from tests.support.api_server import Api, Client
from tests.support.connected_devices import Gateway, running_gateway
from tests.support.nats_server import NatsServer

PHONE = "628111222333"


@dataclass
class Account:
    """`tenant` has the account's key, `token` is the key of `device`."""

    gateway: Gateway
    tenant: Client
    device: str
    token: str

    @property
    def api(self) -> Api:
        return self.gateway.api

    async def post(self, path: str, fields: Any = None, **options: Any) -> httpx.Response:
        """JSON, unless `options` say otherwise, with the device's token."""
        if fields is not None:
            options["json"] = fields
        headers = {"Authorization": self.token, **options.pop("headers", {})}
        return await self.api.http.post(path, headers=headers, **options)

    async def accepted(self) -> list[MessageQueued]:
        """The messages that were accepted, each told once; a scheduled one again when its time comes."""
        return [fact for _, fact in await self.api.events() if isinstance(fact, MessageQueued)]


@pytest.fixture
async def gateway(nats_server: NatsServer) -> AsyncIterator[Gateway]:
    async with running_gateway(nats_server.url) as running:
        yield running


@pytest.fixture
async def idle(gateway: Gateway) -> Account:
    """Not connected."""
    tenant = await gateway.api.tenant()
    device = await tenant.device(code="device_legacy", name="Default Device", pacePerMinute=0)
    return Account(gateway, tenant, device, await device_key(tenant, device))


@pytest.fixture
async def account(idle: Account) -> Account:
    await idle.gateway.connect(idle.tenant, idle.device, PHONE)
    return idle


async def device_key(tenant: Client, device: str) -> str:
    answer = await tenant.post("/auth/keys", json={"name": "of the device", "deviceId": device})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["apiKey"])


async def key_with(account: Account, options: DialectOptions) -> str:
    """A key of the device for which the API behaves so."""
    key = secrets.new_api_key()
    record = ApiKey(
        id=ids.short_id("key_"),
        role="tenant",
        name="with options",
        hint=key[-4:],
        created_at=datetime.now(UTC),
        tenant=account.tenant.id,
        device=account.device,
        dialect="fonnte",
        options=options,
    )
    await Registry(account.api.bus, "keys", ApiKey).create(secrets.api_key_digest(key), record)
    return key
