"""Webhooks in the words of other gateways are made, changed, seen and tried as every other is."""

from collections.abc import AsyncIterator
from typing import get_args

import pytest

from kurir.contracts.records import PayloadShape
from tests.support.api_server import Api, running_api
from tests.support.nats_server import NatsServer

WORDS = {
    "native": "messages.upsert",
    "device_gateway": "message.received",
    "evolution": "MESSAGES_UPSERT",
    "fonnte": "incoming",
    "baileys_gateway": "message_status",
    "rk_connect": "device.status",
}


@pytest.fixture
async def api(nats_server: NatsServer) -> AsyncIterator[Api]:
    async with running_api(nats_server.url, egress_allow="127.0.0.1/32", egress_require_https=False) as running:
        yield running


async def test_a_webhook_may_have_any_shape_and_be_asked_for_in_its_words(api: Api) -> None:
    tenant = await api.tenant()
    assert set(WORDS) == set(get_args(PayloadShape))
    for shape, word in WORDS.items():
        body = {"url": "http://127.0.0.1:9/hook", "payload": shape, "events": [word]}
        made = await tenant.post("/webhooks", json=body)
        assert made.status_code == 201, made.text
        assert (made.json()["payload"], made.json()["events"]) == (shape, [word])


async def test_a_word_of_another_dialect_is_refused_by_its_field(api: Api) -> None:
    tenant = await api.tenant()
    body = {"url": "http://127.0.0.1:9/hook", "payload": "fonnte", "events": ["incoming", "MESSAGES_UPSERT"]}
    refused = await tenant.post("/webhooks", json=body)
    assert (refused.status_code, refused.json()["field"]) == (400, "events[1]")
    unknown = await tenant.post("/webhooks", json={"url": "http://127.0.0.1:9/hook", "payload": "telegram"})
    assert (unknown.status_code, unknown.json()["field"]) == (400, "payload")


async def test_live_events_come_in_the_words_of_a_dialect_too(api: Api) -> None:
    tenant = await api.tenant()
    refused = await tenant.get("/events", params={"payload": "fonnte", "events": "MESSAGES_UPSERT"})
    assert (refused.status_code, refused.json()["field"]) == (400, "events")
