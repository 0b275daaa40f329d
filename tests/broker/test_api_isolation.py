"""Who may do what: over the whole route table, so that a new route is tested the day it is added."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest

from kurir.api.documents import openapi
from kurir.contracts import ids
from kurir.contracts.content import Text
from kurir.contracts.events import MessageQueued
from kurir.runtime.mongo import Mongo
from kurir.runtime.objects import ObjectStore
from tests.support.api_server import Api, Client, fact_of, running_api
from tests.support.mongo_server import MongoServer
from tests.support.nats_server import NatsServer

OPERATIONS = [
    (method.upper(), path, operation)
    for path, item in openapi.document()["paths"].items()
    for method, operation in item.items()
]
OPERATORS_ONLY = {operation["operationId"] for _, _, operation in OPERATIONS if operation["tags"] == ["Operators"]}


@pytest.fixture
async def api(nats_server: NatsServer, mongo_server: MongoServer) -> AsyncIterator[Api]:
    async with running_api(nats_server.url, mongo_server.url) as running:
        yield running


def body_for(path: str) -> dict[str, Any] | None:
    """A body that is right, so that nothing but the right to do it is judged."""
    bodies: dict[str, dict[str, Any]] = {
        "/devices/{deviceId}": {"name": "mine now"},
        "/webhooks/{webhookId}": {"active": False},
        "/webhooks/{webhookId}/replays": {"dead": True},
        "/tenants/{tenantId}": {"name": "mine now"},
        "/messages/{messageId}": {"text": "mine now"},
        "/admin/projects/{projectId}": {"name": "mine now"},
        "/devices/{deviceId}/embed-token": {"returnOrigin": "https://app.example.com"},
        "/contact-groups/{groupId}": {"name": "mine now"},
        "/contacts/{contactId}": {"name": "mine now"},
        "/devices/{deviceId}/groups": {"subject": "Office"},
        "/devices/{deviceId}/groups/join": {"link": "https://chat.whatsapp.com/AbCdEfGhIjKl"},
        "/devices/{deviceId}/groups/{groupId}/members": {"change": "add", "members": ["6281234567890"]},
        "/devices/{deviceId}/groups/{groupId}/subject": {"subject": "mine now"},
        "/devices/{deviceId}/groups/{groupId}/description": {"description": "mine now"},
        "/devices/{deviceId}/groups/{groupId}/rights": {"isAnnounce": True},
        "/devices/{deviceId}/groups/{groupId}/disappearing": {"seconds": 86400},
        "/devices/{deviceId}/groups/{groupId}/picture": {"url": "https://example.com/a.png"},
        "/devices/{deviceId}/profile": {"name": "mine now"},
        "/devices/{deviceId}/profile/picture": {"url": "https://example.com/a.png"},
        "/devices/{deviceId}/privacy": {"about": "none"},
        "/devices/{deviceId}/chats/{chatId}/archive": {"archived": True},
        "/devices/{deviceId}/numbers/check": {"numbers": ["6281234567890"]},
        "/devices/{deviceId}/presence": {"presence": "online"},
        "/devices/{deviceId}/chats/{chatId}/read": {"messageIds": ["3A01"]},
    }
    return bodies.get(path)


async def things_of(owner: Client, api: Api, mongo: Mongo) -> dict[str, str]:
    """One of everything, of one tenant."""
    device = await owner.device()
    webhook = await owner.post("/webhooks", json={"url": "https://example.com/hook"})
    replay = await owner.post(f"/webhooks/{webhook.json()['id']}/replays", json={"dead": True})
    message = ids.uuid7()
    event = MessageQueued(
        id=f"{message}-queued",
        tenant=owner.id,
        device=device,
        at=datetime.now(UTC),
        message_id=message,
        to="628@s.whatsapp.net",
        content=Text(text="private"),
    )
    await mongo.insert_facts("events", [fact_of(1, event)])

    async def one_piece() -> AsyncIterator[bytes]:
        yield b"private"

    await ObjectStore(api.bus, "media").put_stream(f"{owner.id}/file-1", one_piece(), max_bytes=100)
    return {
        "{deviceId}": device,
        "{webhookId}": webhook.json()["id"],
        "{replayId}": replay.json()["id"],
        "{messageId}": message,
        "{mediaId}": "file-1",
        "{tenantId}": owner.id,
        "{keyId}": "key_1",
        "{groupId}": "120363041234567890@g.us",
        "{chatId}": "6281234567890",
        "{contactId}": "6281234567890",
    }


async def test_what_belongs_to_another_tenant_is_not_there(api: Api, mongo_server: MongoServer) -> None:
    """Every path about a thing, with another tenant's thing: 404, and the thing is as before."""
    mongo = Mongo.connect(mongo_server.url)
    owner, stranger = await api.tenant(), await api.tenant()
    things = await things_of(owner, api, mongo)
    before = [(await owner.get(path)).json() for path in ("/devices", "/webhooks")]
    for mount in ("", "/api"):
        for method, template, operation in OPERATIONS:
            if "{" not in template:
                continue
            path = template
            for placeholder, thing in things.items():
                path = path.replace(placeholder, thing)
            answer = await stranger.request(method, mount + path, json=body_for(template))
            expected = 403 if operation["operationId"] in OPERATORS_ONLY else 404
            assert answer.status_code == expected, (method, path, answer.status_code, answer.text)
            assert "private" not in answer.text
    assert [(await owner.get(path)).json() for path in ("/devices", "/webhooks")] == before
    assert (await owner.get(f"/messages/{things['{messageId}']}")).status_code == 200
    assert (await owner.get(f"/media/{things['{mediaId}']}")).content == b"private"
    await mongo.close()


async def test_lists_hold_ones_own_things_alone(api: Api, mongo_server: MongoServer) -> None:
    mongo = Mongo.connect(mongo_server.url)
    owner, stranger = await api.tenant(), await api.tenant()
    things = await things_of(owner, api, mongo)
    for path in ("/devices", "/webhooks"):
        assert (await stranger.get(path)).json() == []
    assert (await stranger.get("/messages")).json()["messages"] == []
    assert [one["id"] for one in (await owner.get("/messages")).json()["messages"]] == [things["{messageId}"]]
    assert (await stranger.get("/messages", params={"deviceId": things["{deviceId}"]})).status_code == 404
    answer = await stranger.post("/webhooks", json={"url": "https://example.com/", "deviceId": things["{deviceId}"]})
    assert (answer.status_code, answer.json()["field"]) == (404, "deviceId")
    for name in ("send-text", "send-media"):
        body = {"deviceId": things["{deviceId}"], "to": "6281234567890", "text": "x"}
        if name == "send-media":
            body = {**body, "kind": "image", "url": "https://example.com/a.png"}
            del body["text"]
        assert (await stranger.post(f"/messages/{name}", json=body)).status_code == 404
    await mongo.close()


async def test_without_a_key_every_path_is_401_before_its_body_is_looked_at(api: Api) -> None:
    stranger = Client(api.http, "0" * 64)
    for method, path, _ in OPERATIONS:
        for mount in ("", "/api"):
            missing = await api.http.request(method, mount + path, content=b"not even json")
            assert (missing.status_code, missing.json()["code"]) == (401, "MISSING_API_KEY"), path
            wrong = await stranger.request(method, mount + path, content=b"not even json")
            assert (wrong.status_code, wrong.json()["code"]) == (401, "INVALID_API_KEY"), path


async def test_an_operators_key_acts_for_no_tenant_and_a_tenants_key_manages_none(api: Api) -> None:
    tenant = await api.tenant()
    for method, path, operation in OPERATIONS:
        if operation["tags"] == ["Account"]:
            continue
        client = tenant if operation["operationId"] in OPERATORS_ONLY else api.operator
        answer = await client.request(method, path, json=body_for(path))
        assert (answer.status_code, answer.json()["code"]) == (403, "FORBIDDEN"), (method, path)


async def test_a_tenant_that_is_switched_off_is_refused_and_can_come_back(api: Api) -> None:
    tenant = await api.tenant()
    await api.operator.patch(f"/tenants/{tenant.id}", json={"active": False})
    assert (await tenant.get("/devices")).status_code == 403
    await api.operator.patch(f"/tenants/{tenant.id}", json={"active": True})
    assert (await tenant.get("/devices")).status_code == 200


async def test_a_key_that_is_bound_to_a_device_sees_that_device_alone(api: Api) -> None:
    tenant = await api.tenant()
    mine, other = await tenant.device(), await tenant.device()
    made = await api.operator.post(f"/tenants/{tenant.id}/keys", json={"name": "till", "deviceId": mine})
    bound = Client(api.http, made.json()["apiKey"])
    assert [device["id"] for device in (await bound.get("/devices")).json()] == [mine]
    assert (await bound.get(f"/devices/{other}")).status_code == 404
    assert (await bound.send(other)).status_code == 404
    assert (await bound.send(mine)).status_code == 200
    assert (await bound.post("/devices", json={"name": "more"})).status_code == 403
    assert (await bound.get("/messages", params={"deviceId": other})).status_code == 404
