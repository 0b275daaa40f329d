"""A project as RK Connect's clients know it: an api key and its secret, and a device by its code."""

import hashlib
import hmac
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import httpx
import pytest

from kurir.contracts import events, subjects
from kurir.contracts.commands import SendMessage
from kurir.contracts.events import MessageStatusChanged
from kurir.contracts.states import MessageStatus, Reason
from kurir.runtime.mongo import Mongo
from tests.support.api_server import Api, Client, running_api
from tests.support.conditions import until
from tests.support.mongo_server import MongoServer
from tests.support.nats_server import NatsServer

CODE = "RK-XXXX"
SENT = {"recipient": "6281234567890", "type": "text", "message": "Hello from RK Connect"}
SERVER = "node-01"


def signature(secret: str, key: str, timestamp: str, body: bytes) -> str:
    return hmac.new(secret.encode(), f"{key}{timestamp}".encode() + body, hashlib.sha256).hexdigest()


@dataclass
class Project:
    """A signed key at work."""

    api: Api
    tenant: Client
    device: str
    key: str
    secret: str

    async def request(
        self,
        method: str,
        path: str,
        *,
        headers: dict[str, str | None] | None = None,
        over: Literal["body", "nothing"] | bytes = "body",
        timestamp: str | None = None,
        **options: Any,
    ) -> httpx.Response:
        """A request that is signed `over` its body, or over something else. Headers that are None are left out."""
        request = self.api.http.build_request(method, path, **options)
        body = b"".join([piece async for piece in request.stream]) if over == "body" else b""  # type: ignore[union-attr]
        timestamp = timestamp or str(int(time.time()))
        signed = over if isinstance(over, bytes) else body
        ours = {
            "X-API-KEY": self.key,
            "X-DEVICE-CODE": CODE,
            "X-TIMESTAMP": timestamp,
            "X-SIGNATURE": signature(self.secret, self.key, timestamp, signed),
            **(headers or {}),
        }
        for name, value in ours.items():
            if value is not None:
                request.headers[name] = value
        return await self.api.http.send(request)

    async def send(self, **options: Any) -> httpx.Response:
        """POST /api/v1/send, of the printed text unless there is another `json`, `data` or `content`."""
        if not options.keys() & {"json", "data", "content", "files"}:
            options["json"] = SENT
        return await self.request("POST", "/api/v1/send", **options)

    async def upload(self, type_: str, name: str, data: bytes, **options: Any) -> httpx.Response:
        fields = {"recipient": SENT["recipient"], "type": type_, **options.pop("fields", {})}
        return await self.send(data=fields, files={"media": (name, data)}, **options)

    async def tell(self, message: str, status: MessageStatus, reason: Reason | None = None) -> None:
        """Say that a message came to this status, as a session node does."""
        event = MessageStatusChanged(
            id=f"{message}-{status}",
            tenant=self.tenant.id,
            device=self.device,
            at=datetime.now(UTC),
            message_id=message,
            status=status,
            reason=reason,
            to=f"{SENT['recipient']}@s.whatsapp.net",
        )
        subject = subjects.event(event.tenant, event.device, events.type_of(event))
        await self.api.bus.publish(subject, events.encode(event), msg_id=event.id)

    async def messages(self) -> list[SendMessage]:
        return [command for command in await self.api.commands() if isinstance(command, SendMessage)]


async def project_of(api: Api, tenant: Client, code: str = CODE, **key: Any) -> Project:
    """A new device of this code and a new signed key of the tenant."""
    device = await tenant.device(code=code)
    made = (await tenant.post("/auth/keys", json={"signed": True, **key})).json()
    return Project(api, tenant, device, made["apiKey"], made["apiSecret"])


@pytest.fixture
async def mongo_server() -> AsyncIterator[MongoServer]:
    server = MongoServer()
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


@pytest.fixture
async def mongo(mongo_server: MongoServer) -> AsyncIterator[Mongo]:
    connected = Mongo.connect(mongo_server.url)
    yield connected
    await connected.close()


@pytest.fixture
async def api(nats_server: NatsServer, mongo_server: MongoServer) -> AsyncIterator[Api]:
    async with running_api(nats_server.url, mongo_server.url, node_name=SERVER) as running:
        yield running


@pytest.fixture
async def project(api: Api) -> Project:
    return await project_of(api, await api.tenant())


def failure(answer: httpx.Response) -> tuple[int, str]:
    """Status and code of an answer that has the form of every failure."""
    body = answer.json()
    assert body["success"] is False, answer.text
    assert body["message"]
    assert body["meta"] == {"server_id": SERVER}
    return answer.status_code, body["code"]


async def until_known(project: Project, code: str = "MISSING_DEVICE_CODE") -> None:
    """Until the api knows a key that the command line made, which it tells by this code."""

    async def is_known() -> bool:
        return bool((await project.send(headers={"X-DEVICE-CODE": None})).json()["code"] == code)

    await until("the key is known", is_known)
