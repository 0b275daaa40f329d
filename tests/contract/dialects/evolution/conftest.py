"""A client of Evolution API: a base URL and an apikey, and instances by their names."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from nats.aio.msg import Msg

from kurir.contracts import commands
from kurir.contracts.commands import SendMessage
from kurir.contracts.records import ApiKey, DialectOptions
from kurir.runtime.registry import Registry
from kurir.runtime.secrets import api_key_digest
from tests.support.api_server import Client
from tests.support.conditions import until
from tests.support.connected_devices import Gateway, running_gateway
from tests.support.mongo_server import MongoServer
from tests.support.nats_server import NatsServer

NAME = "evolution"
PUBLIC_URL = "http://127.0.0.1:8080"
INSTANCE = "CS_HQ_NODE1"
ANI, BUDI = "6281234567", "6281234568"
SITE_HOST = "127.0.0.2"  # where files may be fetched from, unlike everything else inside
NOBODY_THERE = "628125550101"


@dataclass
class Evolution:
    """`tenant` is the same account at the native API."""

    gateway: Gateway
    tenant: Client
    key: str
    ordered: list[bytes] = field(default_factory=list)

    async def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        headers = {"apikey": self.key, **options.pop("headers", {})}
        return await self.gateway.api.http.request(method, path, headers=headers, **options)

    async def get(self, path: str, **options: Any) -> httpx.Response:
        return await self.request("GET", path, **options)

    async def post(self, path: str, body: Any = None, **options: Any) -> httpx.Response:
        return await self.request("POST", path, json=body, **options)

    async def put(self, path: str, body: Any = None, **options: Any) -> httpx.Response:
        return await self.request("PUT", path, json=body, **options)

    async def delete(self, path: str, body: Any = None, **options: Any) -> httpx.Response:
        return await self.request("DELETE", path, json=body, **options)

    async def created(self, name: str = INSTANCE, **fields: Any) -> dict[str, Any]:
        answer = await self.post("/instance/create", {"instanceName": name, **fields})
        assert answer.status_code == 201, answer.text
        made: dict[str, Any] = answer.json()
        return made

    async def connected(self, name: str = INSTANCE, phone: str = "628111222333", **fields: Any) -> str:
        """The device's id of a new instance that is paired and open."""
        made = await self.created(name, **fields)
        device = str(made["instance"]["instanceId"])
        await self.gateway.connect(self.tenant, device, phone)
        await self.until_state(name, "open")
        return device

    async def until_state(self, name: str, state: str) -> None:
        async def is_so() -> bool:
            answer = await self.get(f"/instance/connectionState/{name}")
            return bool(answer.json()["instance"]["state"] == state)

        await until(f"{name} {state}", is_so)

    async def sent(self) -> list[SendMessage]:
        """What was ordered of all devices so far, in order."""
        await self.gateway.api.bus.nc.flush()
        return [command for command in map(commands.decode, self.ordered) if isinstance(command, SendMessage)]


@pytest.fixture
async def gateway(nats_server: NatsServer) -> AsyncIterator[Gateway]:
    settings = {"default_engine": "sandbox", "public_url": PUBLIC_URL, "egress_allow": f"{SITE_HOST}/32"}
    async with running_gateway(nats_server.url, **settings) as running:
        yield running


@pytest.fixture
async def mongo_server() -> AsyncIterator[MongoServer]:
    server = MongoServer()
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


@pytest.fixture
async def evolution(gateway: Gateway) -> Evolution:
    tenant = await gateway.api.tenant()
    client = Evolution(gateway, tenant, tenant.key)

    async def note(message: Msg) -> None:
        client.ordered.append(message.data)

    await gateway.api.bus.nc.subscribe("kurir.cmd.>", cb=note)
    await gateway.api.bus.nc.flush()
    return client


async def stranger_of(evolution: Evolution) -> Evolution:
    """A client with another account."""
    tenant = await evolution.gateway.api.tenant()
    return Evolution(evolution.gateway, tenant, tenant.key)


async def key_with(evolution: Evolution, options: DialectOptions) -> Evolution:
    """The same account's client with a key of these options."""
    key = f"another-key-of-{evolution.tenant.id}"
    record = ApiKey(
        id="key_of_test",
        role="tenant",
        name="test",
        hint=key[-4:],
        created_at=datetime.now(UTC),
        tenant=evolution.tenant.id,
        options=options,
    )
    await Registry(evolution.gateway.api.bus, "keys", ApiKey).create(api_key_digest(key), record)
    return Evolution(evolution.gateway, evolution.tenant, key)


def messages_of(answer: httpx.Response) -> Any:
    """What an error says; everything around it is as every error has it."""
    body = answer.json()
    assert (body["status"], list(body)) == (answer.status_code, ["status", "error", "response"]), answer.text
    return body["response"]["message"]
