"""What was sent to a webhook, read back over HTTP."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from kurir.contracts.deliveries import DeliveryAttempt
from kurir.runtime.mongo import Mongo
from tests.support.api_server import Api, Client, fact_of, running_api
from tests.support.dispatcher import a_message
from tests.support.mongo_server import MongoServer
from tests.support.nats_server import NatsServer

BEGAN = datetime(2026, 11, 21, 10, tzinfo=UTC)


@pytest.fixture
async def api(nats_server: NatsServer, mongo_server: MongoServer) -> AsyncIterator[Api]:
    async with running_api(nats_server.url, mongo_server.url) as running:
        yield running


@pytest.fixture
async def mongo(mongo_server: MongoServer) -> AsyncIterator[Mongo]:
    connected = Mongo.connect(mongo_server.url)
    yield connected
    await connected.close()


async def a_webhook(tenant: Client) -> str:
    answer = await tenant.post("/webhooks", json={"url": "https://example.com/hook"})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


async def attempted(mongo: Mongo, tenant: Client, webhook: str, count: int, **fields: Any) -> None:
    """Write attempts as the audit's writer does, four of them in each millisecond."""
    facts = []
    for number in range(count):
        at = BEGAN + timedelta(milliseconds=number // 4)
        given: dict[str, Any] = {"outcome": "delivered", "status": 200, "event_type": "messages.upsert"} | fields
        attempt = DeliveryAttempt(
            id=f"{webhook}-{number:03}",
            delivery=f"d{number}",
            generation=0,
            attempt=1,
            tenant=tenant.id,
            device="dev_1",
            endpoint=webhook,
            event_id=f"e{number}",
            message_id=None,
            at=at,
            url="https://example.com/hook",
            milliseconds=12.5,
            **given,
        )
        facts.append(
            {
                "_id": attempt.id,
                "key": attempt.id,
                "tenant": attempt.tenant,
                "device": attempt.device,
                "endpoint": attempt.endpoint,
                "event_id": attempt.event_id,
                "outcome": attempt.outcome,
                "at": at,
                "at_ms": round(at.timestamp() * 1000),
                "body": msgspec.json.encode(attempt).decode(),
            }
        )
    await mongo.insert_facts("attempts", facts)


async def test_pages_tell_each_attempt_once_newest_first(api: Api, mongo: Mongo) -> None:
    tenant = await api.tenant()
    webhook, other = await a_webhook(tenant), await a_webhook(tenant)
    await attempted(mongo, tenant, webhook, 23)
    await attempted(mongo, tenant, other, 3)
    told: list[str] = []
    cursor: str | None = None
    for _ in range(10):
        params = {"limit": "5"} | ({"cursor": cursor} if cursor else {})
        page = (await tenant.get(f"/webhooks/{webhook}/attempts", params=params)).json()
        told += [attempt["id"] for attempt in page["attempts"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert told == [f"{webhook}-{number:03}" for number in reversed(range(23))]


async def test_an_attempt_tells_what_was_sent_and_answered_and_can_be_asked_for_by_outcome(
    api: Api, mongo: Mongo
) -> None:
    tenant = await api.tenant()
    webhook = await a_webhook(tenant)
    await attempted(mongo, tenant, webhook, 1)
    failing = {"outcome": "dead", "status": None, "error": "timeout", "detail": "nothing in 15 s"}
    await attempted(mongo, tenant, await a_webhook(tenant), 1, **failing)
    gone = await a_webhook(tenant)
    await attempted(mongo, tenant, gone, 2, **failing)
    assert (await tenant.get(f"/webhooks/{webhook}/attempts?outcome=dead")).json() == {"attempts": [], "next": None}
    (last, _) = (await tenant.get(f"/webhooks/{gone}/attempts?outcome=dead")).json()["attempts"]
    assert (last["outcome"], last["httpStatus"], last["error"], last["eventId"]) == ("dead", None, "timeout", "e1")


async def test_a_wrong_cursor_and_another_tenants_webhook_are_refused(api: Api, mongo: Mongo) -> None:
    tenant, stranger = await api.tenant(), await api.tenant()
    webhook = await a_webhook(tenant)
    await attempted(mongo, tenant, webhook, 1)
    refused = await tenant.get(f"/webhooks/{webhook}/attempts", params={"cursor": "bm9uc2Vuc2U"})
    assert (refused.status_code, refused.json()["field"]) == (400, "cursor")
    hidden = await stranger.get(f"/webhooks/{webhook}/attempts")
    assert (hidden.status_code, hidden.json()["code"]) == (404, "WEBHOOK_NOT_FOUND")


async def test_the_story_of_an_event_tells_of_each_request_that_came_of_it(api: Api, mongo: Mongo) -> None:
    tenant, stranger = await api.tenant(), await api.tenant()
    device, other_device = await tenant.device(), await tenant.device()
    webhooks = [await a_webhook(tenant), await a_webhook(tenant)]
    event = a_message(tenant.id, device, "Halo!", id="e1")
    await mongo.insert_facts("events", [fact_of(7, event)])
    for webhook in webhooks:
        await attempted(mongo, tenant, webhook, 3)  # of e0, e1 and e2
    for identifier in ("e1", "e1~message-upsert"):
        story = (await tenant.get(f"/events/{identifier}/story")).json()
        assert (story["id"], story["event"], story["deviceId"]) == ("e1", "messages.upsert", device)
        assert story["data"]["content"]["text"] == "Halo!"
        assert [attempt["webhookId"] for attempt in story["attempts"]] == webhooks
        assert {attempt["eventId"] for attempt in story["attempts"]} == {"e1"}
    bound = (await api.operator.post(f"/tenants/{tenant.id}/keys", json={"deviceId": other_device})).json()["apiKey"]
    for client, identifier in ((stranger, "e1"), (Client(api.http, bound), "e1"), (tenant, "e2")):
        hidden = await client.get(f"/events/{identifier}/story")
        assert (hidden.status_code, hidden.json()["code"]) == (404, "NOT_FOUND")


async def test_without_its_database_the_history_is_said_to_be_away(nats_server: NatsServer) -> None:
    async with running_api(nats_server.url) as api:
        tenant = await api.tenant()
        answer = await tenant.get(f"/webhooks/{await a_webhook(tenant)}/attempts")
        assert (answer.status_code, answer.json()["code"]) == (503, "HISTORY_UNAVAILABLE")
