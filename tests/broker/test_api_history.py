"""What became of messages, read from a real history database."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from kurir.api.messages import known
from kurir.contracts import events, ids, subjects
from kurir.contracts.content import STATUS, Address, Text
from kurir.contracts.deliveries import DeliveryAttempt
from kurir.contracts.events import AnyEvent, MessageQueued, MessageSending, MessageStatusChanged, MessageUpserted
from kurir.runtime.mongo import Mongo
from tests.support.api_server import Api, Client, fact_of, running_api
from tests.support.mongo_server import MongoServer
from tests.support.nats_server import NatsServer

TO = "6281234567890@s.whatsapp.net"


@pytest.fixture
async def api(nats_server: NatsServer, mongo_server: MongoServer) -> AsyncIterator[Api]:
    async with running_api(nats_server.url, mongo_server.url) as running:
        yield running


@pytest.fixture
async def own_mongo(mongo_server: MongoServer) -> AsyncIterator[Mongo]:
    connected = Mongo.connect(mongo_server.url)
    yield connected
    await connected.close()


class Writer:
    """Writes events as the history's writer does, in the order of a stream."""

    def __init__(self, mongo: Mongo, tenant: Client) -> None:
        self._mongo = mongo
        self._tenant = tenant
        self._seq = 0

    async def write(self, *facts: AnyEvent) -> None:
        documents = []
        for fact in facts:
            self._seq += 1
            documents.append(fact_of(self._seq, fact))
        await self._mongo.insert_facts("events", documents)

    def common(self, message: str, device: str, **fields: Any) -> dict[str, Any]:
        at = fields.pop("at", datetime.now(UTC))
        return {"tenant": self._tenant.id, "device": device, "at": at, "message_id": message, "to": TO, **fields}

    def queued(self, message: str, device: str = "d1", **fields: Any) -> MessageQueued:
        text = fields.pop("text", "hi")
        return MessageQueued(id=f"{message}-queued", content=Text(text=text), **self.common(message, device, **fields))

    def status(self, message: str, status: str, device: str = "d1", **fields: Any) -> MessageStatusChanged:
        return MessageStatusChanged(
            id=f"{message}-{status}",
            status=status,  # type: ignore[arg-type]
            **self.common(message, device, **fields),
        )


async def test_a_message_is_followed_from_queued_to_read(api: Api, own_mongo: Mongo) -> None:
    tenant = await api.tenant()
    device = await tenant.device()
    writer = Writer(own_mongo, tenant)
    message = (await tenant.send(device)).json()["id"]
    await api.write_history(own_mongo)
    seen = [(await tenant.get(f"/messages/{message}")).json()["status"]]
    for status in ("sent", "delivered", "read"):
        await writer.write(writer.status(message, status, device, whatsapp_id="3EB0"))
        seen.append((await tenant.get(f"/messages/{message}")).json()["status"])
    assert seen == ["QUEUED", "SENT", "DELIVERED", "READ"]
    shown = (await tenant.get(f"/api/messages/{message}")).json()
    assert (shown["messageId"], shown["to"], shown["kind"], shown["direction"]) == ("3EB0", TO, "text", "outbound")
    assert shown["content"] == {"kind": "text", "text": "Halo!", "linkPreview": False, "preview": None, "style": None}


async def test_a_young_message_that_is_not_written_yet_is_waited_for(
    api: Api, own_mongo: Mongo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(known, "AWAIT_YOUNG_S", 10.0)
    tenant = await api.tenant()
    message = (await tenant.send(await tenant.device())).json()["id"]
    asked = asyncio.create_task(tenant.get(f"/messages/{message}"))
    await asyncio.sleep(0.2)
    assert not asked.done()
    await api.write_history(own_mongo)
    assert (await asked).json()["id"] == message


async def test_an_unknown_message_is_404_at_once_unless_it_is_young(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known, "AWAIT_YOUNG_S", 60.0)
    tenant = await api.tenant()
    for unknown in ("0192f3c1-7d6e-7abc-8def-0123456789ab", ids.inbound_message_id("d", TO, TO, "3EB0"), "nothing"):
        async with asyncio.timeout(30):
            answer = await tenant.get(f"/messages/{unknown}")
        assert (answer.status_code, answer.json()["code"]) == (404, "MESSAGE_NOT_FOUND")
    monkeypatch.setattr(known, "AWAIT_YOUNG_S", 1.0)
    young = await tenant.get(f"/messages/{ids.uuid7()}")
    assert young.status_code == 404


async def test_a_message_that_was_just_received_is_there_before_the_history_is_written(api: Api) -> None:
    tenant = await api.tenant()
    device = await tenant.device()
    message = ids.inbound_message_id(device, TO, TO, "3EB0")
    friend = Address(jid=TO, pn=TO)
    received = MessageUpserted(
        id=ids.status_event_id(message, "received"),
        tenant=tenant.id,
        device=device,
        at=datetime.now(UTC),
        message_id=message,
        whatsapp_id="3EB0",
        chat=friend,
        sender=friend,
        content=Text(text="Halo?"),
        sent_at=datetime.now(UTC),
    )
    assert (await tenant.get(f"/messages/{message}")).status_code == 404
    subject = subjects.event(tenant.id, device, "messages.upsert")
    await api.bus.publish(subject, events.encode(received), msg_id=received.id)
    shown = await tenant.get(f"/messages/{message}")
    assert (shown.status_code, shown.json()["id"], shown.json()["status"]) == (200, message, "RECEIVED")
    other = await api.tenant()
    assert (await other.get(f"/messages/{message}")).status_code == 404


async def test_the_story_of_a_message_is_told_in_one_call(api: Api, own_mongo: Mongo) -> None:
    tenant = await api.tenant()
    device = await tenant.device()
    message = (await tenant.send(device)).json()["id"]
    await api.write_history(own_mongo)
    writer = Writer(own_mongo, tenant)
    now = datetime.now(UTC)
    sending = MessageSending(id="s", **writer.common(message, device, at=now + timedelta(milliseconds=10)))
    sent = writer.status(message, "sent", device, whatsapp_id="3EB0", at=now + timedelta(milliseconds=20))
    await writer.write(sending, sent)
    attempts = [
        attempt(tenant.id, device, message, n, now + timedelta(seconds=n), outcome)
        for n, outcome in ((2, "delivered"), (1, "retry"))
    ]
    foreign = attempt("other", device, message, 3, now, "dead")
    await own_mongo.insert_facts("attempts", [attempt_fact(one) for one in (*attempts, foreign)])
    story = (await tenant.get(f"/messages/{message}/story")).json()
    assert story["status"] == "SENT"
    told = [(fact["kind"], fact.get("status"), fact.get("outcome"), fact.get("httpStatus")) for fact in story["facts"]]
    assert told == [
        ("send.message.queued", "queued", None, None),
        ("send.message.sending", "sending", None, None),
        ("send.message.status", "sent", None, None),
        ("delivery.attempt", None, "retry", 500),
        ("delivery.attempt", None, "delivered", 200),
    ]


async def test_lists_are_paged_newest_first_without_gaps_or_repeats(api: Api, own_mongo: Mongo) -> None:
    tenant = await api.tenant()
    writer = Writer(own_mongo, tenant)
    same_moment = datetime.now(UTC)
    made = [ids.uuid7() for _ in range(25)]
    for n, message in enumerate(made):
        # In groups of ten at the same millisecond: a page may end inside one.
        await writer.write(writer.queued(message, at=same_moment + timedelta(milliseconds=n // 10)))
    await writer.write(writer.status(made[-1], "sent"))
    await writer.write(received(tenant.id, "in1"))
    seen, cursor, pages = [], None, 0
    while True:
        page = (await tenant.get("/messages", params={"limit": 7, **({"cursor": cursor} if cursor else {})})).json()
        seen += [(one["id"], one["status"]) for one in page["messages"]]
        pages, cursor = pages + 1, page["next"]
        if cursor is None:
            break
    assert seen == [
        ("in1", "RECEIVED"),
        (made[-1], "SENT"),
        *((message, "QUEUED") for message in reversed(made[:-1])),
    ]
    assert pages == 4
    outbound = (await tenant.get("/messages", params={"direction": "outbound", "limit": 100})).json()
    assert (len(outbound["messages"]), outbound["next"]) == (25, None)
    inbound = (await tenant.get("/messages", params={"direction": "inbound"})).json()["messages"]
    assert [one["from"] for one in inbound] == [TO]


async def test_a_message_that_was_scheduled_stands_in_a_list_once(api: Api, own_mongo: Mongo) -> None:
    tenant = await api.tenant()
    writer = Writer(own_mongo, tenant)
    message, now = ids.uuid7(), datetime.now(UTC)
    scheduled = writer.queued(message, status="scheduled", send_at=now + timedelta(minutes=1), at=now)
    await writer.write(msgspec.structs.replace(scheduled, id=f"{message}-scheduled"))
    await writer.write(writer.queued(message, at=now + timedelta(minutes=1)), writer.status(message, "sent"))
    pages = [(await tenant.get("/messages", params={"limit": 1})).json()]
    while pages[-1]["next"] is not None:
        pages.append((await tenant.get("/messages", params={"limit": 1, "cursor": pages[-1]["next"]})).json())
    assert [(one["id"], one["status"]) for page in pages for one in page["messages"]] == [(message, "SENT")]


async def test_lists_are_narrowed_by_device_and_chat(api: Api, own_mongo: Mongo) -> None:
    tenant = await api.tenant()
    one, two = await tenant.device(), await tenant.device()
    writer = Writer(own_mongo, tenant)
    first, second, third = ids.uuid7(), ids.uuid7(), ids.uuid7()
    await writer.write(writer.queued(first, one), writer.queued(second, two))
    await writer.write(writer.queued(third, two, to="120363025246125486@g.us"))

    async def found(**params: str) -> set[str]:
        return {each["id"] for each in (await tenant.get("/messages", params=params)).json()["messages"]}

    assert await found(deviceId=one) == {first}
    assert await found(deviceId=two) == {second, third}
    assert await found(chat="0812 3456 7890") == {first, second}
    assert await found(deviceId=two, chat="120363025246125486@g.us") == {third}
    status = ids.uuid7()
    await writer.write(writer.queued(status, one, to=STATUS))
    assert await found(chat=STATUS) == {status}


async def test_a_wrong_question_is_told_by_its_field(api: Api) -> None:
    tenant = await api.tenant()
    for field, value in (("limit", "0"), ("limit", "x"), ("cursor", "???"), ("chat", "no")):
        answer = await tenant.get("/messages", params={field: value})
        assert (answer.status_code, answer.json()["field"]) == (400, field)


async def test_a_canceling_that_could_not_be_told_is_completed_by_its_repeat(api: Api, own_mongo: Mongo) -> None:
    tenant = await api.tenant()
    send_at = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    message = (await tenant.send(await tenant.device(), sendAt=send_at)).json()["id"]
    await api.write_history(own_mongo)
    # The process died between taking the schedule away and telling of it.
    await api.bus.js.purge_stream("LATER", subject=f"kurir.later.send.{message}")
    for _ in range(2):
        assert (await tenant.delete(f"/messages/{message}")).status_code == 204
        await api.write_history(own_mongo)
        assert (await tenant.get(f"/messages/{message}")).json()["status"] == "CANCELED"


async def test_what_is_sent_already_cannot_be_canceled(api: Api, own_mongo: Mongo) -> None:
    tenant = await api.tenant()
    message = (await tenant.send(await tenant.device())).json()["id"]
    await api.write_history(own_mongo)
    answer = await tenant.delete(f"/messages/{message}")
    assert (answer.status_code, answer.json()["code"]) == (409, "CONFLICT")
    assert (await tenant.delete("/messages/nothing")).status_code == 404
    assert (await tenant.delete("/messages/a.b")).status_code == 404


def received(tenant: str, message: str) -> MessageUpserted:
    now = datetime.now(UTC) + timedelta(seconds=1)
    return MessageUpserted(
        id=f"{message}-received",
        tenant=tenant,
        device="d1",
        at=now,
        message_id=message,
        whatsapp_id="3A",
        chat=Address(jid=TO),
        sender=Address(jid=TO),
        content=Text(text="hi"),
        sent_at=now,
    )


def attempt(tenant: str, device: str, message: str, n: int, at: datetime, outcome: str) -> DeliveryAttempt:
    return DeliveryAttempt(
        id=f"{tenant}:{n}",
        delivery="dl",
        generation=0,
        attempt=n,
        tenant=tenant,
        device=device,
        endpoint="wh_1",
        event_id="e",
        event_type="send.message.status",
        message_id=message,
        at=at,
        url="https://example.com",
        outcome=outcome,  # type: ignore[arg-type]
        milliseconds=1.0,
        status=200 if outcome == "delivered" else 500,
    )


def attempt_fact(fact: DeliveryAttempt) -> dict[str, Any]:
    return {
        "_id": fact.id,
        "tenant": fact.tenant,
        "message_id": fact.message_id,
        "at_ms": round(fact.at.timestamp() * 1000),
        "body": msgspec.json.encode(fact).decode(),
    }
