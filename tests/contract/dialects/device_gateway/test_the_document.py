"""The device API's own document, from the key to the webhook: what it names is there, as it names it."""

import base64
import contextlib
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.support.api_server import MASTER_KEY, Api, Client, running_api
from tests.support.conditions import until
from tests.support.connected_devices import running_gateway
from tests.support.dispatcher import Stage
from tests.support.nats_server import NatsServer
from tests.support.web_site import WebSite
from tests.support.webhook_receiver import Received, WebhookReceiver

NAME = "device_gateway"
PICTURE = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


@pytest.fixture
async def api(nats_server: NatsServer) -> AsyncIterator[Api]:
    async with running_api(nats_server.url) as running:
        yield running


@pytest.mark.shows(NAME, "GET /auth/me", "X-API-Key", "error 401")
@pytest.mark.shows(NAME, "POST /auth/rotate-key", "answer.apiKey", "the former key ends")
async def test_a_key_of_64_hex_characters_is_verified_and_rotated(api: Api) -> None:
    tenant = await api.tenant(name="Toko")
    for mount in ("", "/api"):
        assert (await tenant.get(f"{mount}/auth/me")).json()["name"] == "Toko"
        assert (await Client(api.http, "0" * 64).get(f"{mount}/auth/me")).status_code == 401
    fresh = (await tenant.post("/auth/rotate-key")).json()["apiKey"]
    assert len(bytes.fromhex(fresh)) == 32
    assert (await tenant.get("/auth/me")).status_code == 401
    assert (await Client(api.http, fresh).get("/auth/me")).status_code == 200


@pytest.mark.shows(NAME, "GET /llms.txt", "text")
@pytest.mark.shows(NAME, "GET /llms-full.txt", "text")
@pytest.mark.shows(NAME, "GET /api/openapi.json", "openapi 3.1")
@pytest.mark.shows(NAME, "GET /api/docs", "Swagger UI")
async def test_the_documents_are_where_people_tools_and_agents_look(api: Api) -> None:
    for path in ("/llms.txt", "/llms-full.txt"):
        answer = await api.http.get(path)
        assert answer.headers["content-type"].startswith("text/")
        assert "/messages/send-text" in answer.text
    document = (await api.http.get("/api/openapi.json")).json()
    assert document["openapi"].startswith("3.1")
    assert {"/devices", "/messages/send-text", "/messages/send-media", "/webhooks"} <= document["paths"].keys()
    page = await api.http.get("/api/docs")
    assert page.headers["content-type"].startswith("text/html")
    assert "swagger" in page.text.lower()


@pytest.mark.shows(
    *(NAME, "POST /messages/send-text", "X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"),
    *("error 429", "limit 30/min per device"),
)
async def test_a_device_is_given_thirty_messages_a_minute_and_each_answer_says_so(api: Api) -> None:
    tenant = await api.tenant()
    device, other = await tenant.device(), await tenant.device()
    left = [(await tenant.send(device)).headers["x-ratelimit-remaining"] for _ in range(30)]
    answer = await tenant.send(device)
    if answer.status_code != 429:  # the minute has ended meanwhile, and begun again
        left = [(await tenant.send(device)).headers["x-ratelimit-remaining"] for _ in range(29)]
        answer = await tenant.send(device)
    assert left[-1] == "0"
    assert answer.status_code == 429
    assert answer.headers["x-ratelimit-limit"] == "30"
    assert int(answer.headers["x-ratelimit-reset"]) > 1_700_000_000
    assert 1 <= int(answer.headers["retry-after"]) <= 60
    assert (await tenant.send(other)).status_code == 200


@pytest.mark.shows(NAME, "POST /devices", "X-API-Key", "name", "answer.id")
@pytest.mark.shows(NAME, "POST /devices/{id}/connect", "answer.status")
@pytest.mark.shows(NAME, "GET /devices/{id}/events", "event qr", "event status")
@pytest.mark.shows(NAME, "POST /messages/send-text", "deviceId", "to", "text")
@pytest.mark.shows(NAME, "POST /messages/send-media", "deviceId", "to", "kind", "url")
@pytest.mark.shows(
    *(NAME, "webhook message.received", "Content-Type", "X-Webhook-Event", "X-Webhook-Signature"),
    *("X-Webhook-Timestamp", "event", "timestamp", "data.deviceId", "data.remoteJid", "data.fromMe", "data.type"),
    *("data.content", "data.timestamp"),
)
@pytest.mark.shows(NAME, "webhook message.status", "event", "data")
@pytest.mark.shows(NAME, "webhook device.status", "event", "data")
async def test_the_quickstart_leads_from_a_device_to_its_webhooks(
    nats_server: NatsServer,
) -> None:
    async with contextlib.AsyncExitStack() as stack:
        stage = await stack.enter_async_context(Stage(nats_server))
        gateway = await stack.enter_async_context(running_gateway(nats_server.url, egress_allow="127.0.0.1/32"))
        await stack.enter_async_context(stage.dispatcher(master_key=MASTER_KEY))
        receiver = await stack.enter_async_context(WebhookReceiver())
        tenant = await gateway.api.tenant()
        asked = {"url": receiver.url("/wa/webhook"), "events": ["message.received", "message.status", "device.status"]}
        webhook = (await tenant.post("/webhooks", json=asked)).json()

        device = (await tenant.post("/devices", json={"name": "CS", "engine": "sandbox"})).json()["id"]
        assert (await tenant.post(f"/devices/{device}/connect")).json()["status"] == "CONNECTING"
        told = await followed(tenant, device)
        assert [one["status"] for name, one in told if name == "status"][-1] == "CONNECTED"
        (qr,) = [one for name, one in told if name == "qr"]
        assert device in qr["qr"]  # as the sandbox writes it; WhatsApp's begin with 2@
        assert qr["dataUrl"].startswith("data:image/png;base64,")

        text = {"deviceId": device, "to": "628111222333", "text": "echo Halo!"}
        sent = (await tenant.post("/messages/send-text", json=text)).json()
        assert sent["status"] == "QUEUED"
        async with WebSite() as site:
            url = site.page("/picture.png", PICTURE, "image/png")
            picture = {"deviceId": device, "to": "628111222333", "kind": "image", "url": url}
            assert (await tenant.post("/messages/send-media", json=picture)).status_code == 200

        (received,) = await receiver.wait_for(1, where=named("message.received"))
        assert_signed(received, webhook["secret"])
        data = received.json()["data"]
        assert {"deviceId", "remoteJid", "fromMe", "type", "content", "timestamp"} <= data.keys()
        assert (data["deviceId"], data["remoteJid"], data["fromMe"]) == (device, "628111222333@s.whatsapp.net", False)
        assert "Halo!" in json.dumps(data["content"])
        statuses = await receiver.wait_for(6, where=named("message.status"))
        assert {one.json()["data"]["status"] for one in statuses} >= {"SENT", "DELIVERED", "READ"}
        states = await receiver.wait_for(2, where=named("device.status"))
        assert "CONNECTED" in {one.json()["data"]["status"] for one in states}
        for one in (*statuses, *states):
            assert_signed(one, webhook["secret"])


async def followed(tenant: Client, device: str) -> list[tuple[str, dict[str, Any]]]:
    """The device's events until it is connected; it is scanned when its code is there."""
    told: list[tuple[str, dict[str, Any]]] = []
    name = ""
    headers = {"X-API-Key": tenant.key, "Accept": "text/event-stream"}
    async with tenant.http.stream("GET", f"/devices/{device}/events", headers=headers, timeout=30) as stream:
        async for line in stream.aiter_lines():
            field, _, value = line.partition(": ")
            if field == "event":
                name = value
            elif field == "data":
                told.append((name, json.loads(value)))
                if name == "qr":
                    await scanned(tenant, device)
                if told[-1][1].get("status") == "CONNECTED":
                    return told
    raise AssertionError(f"the stream ended: {told}")


async def scanned(tenant: Client, device: str) -> None:
    async def is_scanned() -> bool:
        answer: httpx.Response = await tenant.post(f"/devices/{device}/sandbox/scan", json={"phone": "628111000111"})
        return answer.status_code == 200

    await until("the code is scanned", is_scanned)


def named(event: str) -> Any:
    return lambda request: request.header("X-Webhook-Event") == event


def assert_signed(request: Received, secret: str) -> None:
    """As the document says: hex of the HMAC of the body, and a time in milliseconds."""
    assert request.header("Content-Type") == "application/json"
    expected = hmac.new(secret.encode(), request.body, hashlib.sha256).hexdigest()
    assert request.header("X-Webhook-Signature") == expected
    assert len(request.header("X-Webhook-Timestamp") or "") == 13
    body = request.json()
    assert body["event"] == request.header("X-Webhook-Event")
    assert len(str(body["timestamp"])) == 13
