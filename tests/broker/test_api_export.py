"""Events and attempts of a span of time as NDJSON, read from a real history database."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from kurir.api.export import service
from kurir.contracts import events, streams, subjects
from kurir.contracts.deliveries import DeliveryAttempt
from kurir.runtime.mongo import Mongo
from tests.support.api_server import Api, Client, fact_of, running_api
from tests.support.conditions import until
from tests.support.dispatcher import a_message
from tests.support.mongo_server import MongoServer
from tests.support.nats_server import NatsServer

BEGIN = datetime(2026, 5, 1, tzinfo=UTC)
SPAN = {"from": BEGIN.isoformat(), "to": (BEGIN + timedelta(hours=1)).isoformat()}


@pytest.fixture
async def api(nats_server: NatsServer, mongo_server: MongoServer) -> AsyncIterator[Api]:
    async with running_api(nats_server.url, mongo_server.url) as running:
        yield running


@pytest.fixture
async def own_mongo(mongo_server: MongoServer) -> AsyncIterator[Mongo]:
    connected = Mongo.connect(mongo_server.url)
    yield connected
    await connected.close()


async def keep_events(mongo: Mongo, tenant: str, count: int, device: str = "d1", every_ms: int = 0) -> list[str]:
    """Facts as the history's writer leaves them; the ids in the order of the stream."""
    made = [a_message(tenant, device, str(n), at=BEGIN + timedelta(milliseconds=n * every_ms)) for n in range(count)]
    await mongo.insert_facts("events", [fact_of(n + 1, one) for n, one in reversed(list(enumerate(made)))])
    return [one.id for one in made]


async def keep_attempt(mongo: Mongo, tenant: str, number: int, **fields: Any) -> None:
    fact = DeliveryAttempt(
        **{
            "id": f"{tenant}-a{number:04}",
            "delivery": "e:w",
            "generation": 0,
            "attempt": 1,
            "tenant": tenant,
            "device": "d1",
            "endpoint": "w1",
            "event_id": "e",
            "event_type": "messages.upsert",
            "message_id": None,
            "at": BEGIN + timedelta(seconds=number),
            "url": "https://example.com/",
            "outcome": "delivered",
            "milliseconds": 1.0,
            **fields,
        }
    )
    kept = ("tenant", "device", "endpoint", "delivery", "event_id", "message_id", "outcome", "at")
    document = {name: getattr(fact, name) for name in kept}
    document |= {"_id": fact.id, "key": fact.id, "at_ms": round(fact.at.timestamp() * 1000)}
    await mongo.insert_facts("attempts", [{**document, "body": msgspec.json.encode(fact).decode()}])


async def export(client: Client, what: str, **query: str) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The lines, and what the last one says."""
    answer = await client.get(f"/export/{what}", params={**SPAN, **query})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/x-ndjson"
    *lines, last = [json.loads(line) for line in answer.text.splitlines()]
    assert last["export"]["lines"] == len(lines)
    return lines, last["export"]


async def test_a_span_of_events_is_exported_whole_and_in_order(api: Api, own_mongo: Mongo) -> None:
    tenant = await api.tenant()
    ids = await keep_events(own_mongo, tenant.id, 3 * service.BATCH + 7, every_ms=3)
    lines, ending = await export(tenant, "events")
    assert [line["id"] for line in lines] == ids
    assert lines[0]["content"]["text"] == "0"
    assert (ending["complete"], "reason" in ending) == (True, False)


async def test_more_events_of_one_millisecond_than_a_batch_are_all_there_once(api: Api, own_mongo: Mongo) -> None:
    tenant = await api.tenant()
    ids = await keep_events(own_mongo, tenant.id, 2 * service.BATCH + 7)
    lines, _ = await export(tenant, "events")
    assert [line["id"] for line in lines] == ids


async def test_a_tenant_exports_nothing_of_another(api: Api, own_mongo: Mongo) -> None:
    tenant, other = await api.tenant(), await api.tenant()
    device = await other.device()
    await keep_events(own_mongo, other.id, 3, device)
    await keep_attempt(own_mongo, other.id, 1)
    for what in ("events", "attempts"):
        assert (await export(tenant, what))[0] == []
        answer = await tenant.get(f"/export/{what}", params={**SPAN, "deviceId": device})
        assert (answer.status_code, answer.json()["code"]) == (404, "DEVICE_NOT_FOUND")
    webhook = (await other.post("/webhooks", json={"url": "https://example.com/"})).json()["id"]
    answer = await tenant.get("/export/attempts", params={**SPAN, "webhookId": webhook})
    assert (answer.status_code, answer.json()["code"]) == (404, "WEBHOOK_NOT_FOUND")
    key = (await api.operator.post(f"/tenants/{other.id}/keys", json={"deviceId": await other.device()})).json()
    assert (await export(Client(api.http, key["apiKey"]), "events"))[0] == [], "a key of one device sees that one alone"


async def test_events_are_narrowed_by_time_type_and_device(api: Api, own_mongo: Mongo) -> None:
    tenant = await api.tenant()
    one, other = await tenant.device(), await tenant.device()
    ids = await keep_events(own_mongo, tenant.id, 10, one, every_ms=1000)
    await keep_events(own_mongo, tenant.id, 2, other)
    lines, _ = await export(tenant, "events", deviceId=one)
    assert [line["id"] for line in lines] == ids
    since, till = (BEGIN + timedelta(seconds=n) for n in (2, 5))
    lines, _ = await export(tenant, "events", deviceId=one, **{"from": since.isoformat(), "to": till.isoformat()})
    assert [line["id"] for line in lines] == ids[2:5]
    assert (await export(tenant, "events", events="message.status"))[0] == []
    assert len((await export(tenant, "events", events="message.status,messages.*"))[0]) == 12


async def test_attempts_are_narrowed_by_webhook_and_outcome(api: Api, own_mongo: Mongo) -> None:
    tenant = await api.tenant()
    webhook = (await tenant.post("/webhooks", json={"url": "https://example.com/"})).json()["id"]
    for number in range(4):
        await keep_attempt(own_mongo, tenant.id, number, outcome="dead" if number == 2 else "delivered")
    await keep_attempt(own_mongo, tenant.id, 9, endpoint=webhook)
    assert len((await export(tenant, "attempts"))[0]) == 5
    assert [one["endpoint"] for one in (await export(tenant, "attempts", webhookId=webhook))[0]] == [webhook]
    lines, ending = await export(tenant, "attempts", outcome="dead")
    assert [line["id"] for line in lines] == [f"{tenant.id}-a0002"]
    assert ending["complete"] is True


async def test_what_the_history_has_not_written_yet_makes_an_export_incomplete(api: Api, own_mongo: Mongo) -> None:
    tenant = await api.tenant()
    event = a_message(tenant.id)
    subject = subjects.event(tenant.id, "d1", events.type_of(event))
    stored = await api.bus.publish(subject, events.encode(event), msg_id=event.id)
    today = {"from": (event.at - timedelta(minutes=1)).isoformat()}
    answer = await tenant.get("/export/events", params=today)
    ending = json.loads(answer.text.splitlines()[-1])["export"]
    assert (ending["complete"], ending["reason"], ending["lines"]) == (False, "history_behind", 0)
    assert datetime.fromisoformat(ending["writtenUntil"]) >= event.at
    assert (await export(tenant, "events"))[1]["complete"], "a span that ended before that is whole"
    await own_mongo.insert_facts("events", [fact_of(stored.seq, event)])
    pull = await api.bus.open_pull(streams.EVENTS.name, streams.HISTORY_CONSUMER)
    (message,) = await pull.next_batch()
    message.ack()

    async def is_complete() -> bool:
        answer = await tenant.get("/export/events", params=today)
        return bool(json.loads(answer.text.splitlines()[-1])["export"]["complete"])

    await until("the export is complete", is_complete)


async def test_an_export_that_breaks_off_says_so_and_goes_on_where_it_ended(
    api: Api, own_mongo: Mongo, mongo_server: MongoServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    tenant = await api.tenant()
    ids = await keep_events(own_mongo, tenant.id, 2 * service.BATCH + 50, every_ms=1)
    asked = 0
    read = Mongo.find

    async def find(*args: Any, **options: Any) -> Any:
        nonlocal asked
        asked += 1
        if asked == 4:  # the probe, then the first batch of one question, then the second of two
            await mongo_server.kill()
        return await read(*args, **options)

    monkeypatch.setattr(Mongo, "find", find)
    lines, ending = await export(tenant, "events")
    assert [line["id"] for line in lines] == ids[: service.BATCH]
    assert (ending["complete"], ending["reason"]) == (False, "history_unavailable")
    answer = await tenant.get("/export/events", params=SPAN)
    assert (answer.status_code, answer.json()["code"]) == (503, "HISTORY_UNAVAILABLE")
    await mongo_server.start()
    rest, ending = await export(tenant, "events", cursor=ending["cursor"])
    assert [line["id"] for line in rest] == ids[service.BATCH :]
    assert ending["complete"] is True


@pytest.mark.parametrize(
    ("what", "query", "field"),
    [
        ("events", {"from": "yesterday"}, "from"),
        ("events", {"from": "2026-05-01T00:00:00"}, "from"),
        ("events", {"to": "2026-05-01T00:00:00"}, "to"),
        ("events", {"events": "message.recieved"}, "events"),
        ("events", {"cursor": "x"}, "cursor"),
        ("attempts", {"outcome": "lost"}, "outcome"),
        ("attempts", {"cursor": service.cursor_of(service.Position(1, 2))}, "cursor"),
    ],
)
async def test_what_cannot_be_exported_is_refused_by_name(
    api: Api, what: str, query: dict[str, str], field: str
) -> None:
    tenant = await api.tenant()
    answer = await tenant.get(f"/export/{what}", params={**SPAN, **query})
    assert (answer.status_code, answer.json().get("field")) == (400, field), answer.text
