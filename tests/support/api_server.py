"""The api service as its tests see it: the real application over a real bus, behind a real uvicorn.

async with running_api(nats_url, mongo_url) as api:
    tenant = await api.tenant()
    answer = await tenant.post("/devices", json={"name": "CS"})
"""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx
import msgspec
from pydantic import SecretStr

from kurir.api import app
from kurir.api.settings import ApiSettings
from kurir.contracts import commands, events, streams
from kurir.contracts.commands import Command
from kurir.contracts.events import AnyEvent
from kurir.runtime import secrets, topology
from kurir.runtime.broker import Bus
from kurir.runtime.mongo import Mongo
from kurir.runtime.registry import Registry
from kurir.runtime.service import Lifetime

MASTER_KEY = secrets.new_master_key()
NOBODY = "mongodb://127.0.0.1:1/kurir"  # a port on which no server ever listens


@dataclass
class Api:
    """A running api. `http` sends no key; `bus` is a connection of the test's own."""

    url: str
    http: httpx.AsyncClient
    bus: Bus
    life: Lifetime
    operator_key: str

    @property
    def operator(self) -> "Client":
        return Client(self.http, self.operator_key)

    async def tenant(self, **settings: Any) -> "Client":
        """A new tenant's client."""
        answer = await self.operator.post("/tenants", json={"name": "Tenant", **settings})
        assert answer.status_code == 201, answer.text
        made = answer.json()
        key = (await self.operator.post(f"/tenants/{made['id']}/keys")).json()
        client = Client(self.http, key["apiKey"])
        client.id = made["id"]
        return client

    async def commands(self) -> list[Command]:
        """Every command that is stored, in order."""
        found = await self.bus.read_from(streams.COMMANDS.name, "kurir.cmd.>", 1, 10_000)
        return [commands.decode(one.data) for one in found]

    async def events(self) -> list[tuple[int, AnyEvent]]:
        """Every event that is stored, with its sequence."""
        found = await self.bus.read_from(streams.EVENTS.name, "kurir.evt.>", 1, 10_000)
        decoded = [(one.seq, events.decode(one.subject.split(".", 4)[4], one.data)) for one in found]
        return [(seq, event) for seq, event in decoded if event is not None]

    async def write_history(self, mongo: Mongo) -> None:
        """What the history's writer does: every event of the stream as a fact."""
        await mongo.insert_facts("events", [fact_of(seq, event) for seq, event in await self.events()])


class Client:
    """Requests with a key."""

    id = ""

    def __init__(self, http: httpx.AsyncClient, key: str) -> None:
        self.http = http
        self.key = key

    async def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        headers = {"X-API-Key": self.key, **options.pop("headers", {})}
        return await self.http.request(method, path, headers=headers, **options)

    async def get(self, path: str, **options: Any) -> httpx.Response:
        return await self.request("GET", path, **options)

    async def post(self, path: str, **options: Any) -> httpx.Response:
        return await self.request("POST", path, **options)

    async def patch(self, path: str, **options: Any) -> httpx.Response:
        return await self.request("PATCH", path, **options)

    async def delete(self, path: str, **options: Any) -> httpx.Response:
        return await self.request("DELETE", path, **options)

    async def device(self, **fields: Any) -> str:
        """A new sandbox device's id."""
        answer = await self.post("/devices", json={"name": "CS", "engine": "sandbox", **fields})
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    async def send(self, device: str, *, headers: dict[str, str] | None = None, **fields: Any) -> httpx.Response:
        body = {"deviceId": device, "to": "6281234567890", "text": "Halo!", **fields}
        return await self.post("/messages/send-text", json=body, headers=headers or {})


@contextlib.asynccontextmanager
async def running_api(nats_url: str, mongo_url: str = NOBODY, **settings: Any) -> AsyncIterator[Api]:
    """Start the api on a free port over `nats_url`, with streams and buckets made, and an operator's key."""
    chosen = ApiSettings(
        nats_url=nats_url, mongodb_url=mongo_url, master_key=SecretStr(MASTER_KEY), api_port=0, **settings
    )
    life = Lifetime("api", chosen)
    async with contextlib.AsyncExitStack() as stack:
        bus = await Bus.connect(nats_url, name="test of the api")
        stack.push_async_callback(bus.close)
        await topology.apply(bus)
        stack.push_async_callback(life._stop_parts)
        server = await app.serve(life, chosen)
        life.health.started()
        http = await stack.enter_async_context(httpx.AsyncClient(base_url=server.url, timeout=15, trust_env=False))
        yield Api(server.url, http, bus, life, await _operator_key(bus))


async def _operator_key(bus: Bus) -> str:
    from kurir.api.changes import Changes
    from kurir.api.tenants.service import Tenants
    from kurir.contracts.records import ApiKey, Device, Endpoint, Tenant
    from kurir.runtime.clock import SystemClock

    clock = SystemClock()
    tenants = Tenants(
        clock,
        Changes(bus, clock),
        Registry(bus, "tenants", Tenant),
        Registry(bus, "keys", ApiKey),
        Registry(bus, "devices", Device),
        Registry(bus, "endpoints", Endpoint),
    )
    _, key = await tenants.create_key("test", None, "operator of the test")
    return key


def fact_of(stream_seq: int, event: AnyEvent) -> dict[str, Any]:
    """An event as the history keeps it (records.EventFact)."""
    message_id = getattr(event, "message_id", None)
    chat = (
        (event.chat.pn or event.chat.jid) if isinstance(event, events.MessageUpserted) else getattr(event, "to", None)
    )
    return {
        "_id": event.id,
        "key": event.id,
        "tenant": event.tenant,
        "device": event.device,
        "type": events.type_of(event),
        "message_id": message_id,
        "chat": chat,
        "at": event.at,
        "at_ms": round(event.at.timestamp() * 1000),
        "seq": event.seq,
        "stream_seq": stream_seq,
        "body": msgspec.json.encode(event).decode(),
    }
