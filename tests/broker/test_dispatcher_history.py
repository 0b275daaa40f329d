"""Events, attempts and configuration changes in MongoDB: each once, with what they are looked up by."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import msgspec
import pytest

from kurir.contracts import deliveries, events, subjects
from kurir.contracts.deliveries import ConfigurationChanged
from kurir.contracts.records import AttemptFact, ChangeFact, EventFact
from kurir.runtime.mongo import Document, Mongo
from tests.support.conditions import until
from tests.support.dispatcher import ALICE, Stage, a_message
from tests.support.mongo_server import MongoServer
from tests.support.nats_server import NatsServer
from tests.support.webhook_receiver import WebhookReceiver


@pytest.fixture
async def mongo(mongo_server: MongoServer) -> AsyncIterator[Mongo]:
    connected = Mongo.connect(mongo_server.url)
    try:
        yield connected
    finally:
        await connected.close()


@pytest.fixture
async def stage(nats_server: NatsServer, mongo_server: MongoServer) -> AsyncIterator[Stage]:
    async with Stage(nats_server, mongo_server.url) as stage:
        yield stage


async def written(mongo: Mongo, collection: str, count: int) -> list[Document]:
    """The documents of a collection, once there are `count`."""
    found: list[Document] = []

    async def enough() -> bool:
        found[:] = await mongo.find(collection, {"tenant": "t1"}, limit=1000, sort=[("at_ms", 1)])
        return len(found) >= count

    await until(f"{count} documents in {collection}", enough, seen=lambda: found)
    return found


def fields_of(struct: type[msgspec.Struct]) -> set[str]:
    return {"_id" if name == "id" else name for name in struct.__struct_fields__}


async def test_an_event_and_its_attempt_are_written_as_their_records_say(
    stage: Stage, mongo: Mongo, mongo_server: MongoServer
) -> None:
    async with WebhookReceiver() as receiver:
        endpoint = await stage.endpoint(receiver.url("/hook"))
        async with stage.dispatcher():
            event = a_message()
            await stage.say(event)
            (document,) = await written(mongo, "events", 1)
            (attempt,) = await written(mongo, "attempts", 1)
    assert document.keys() == fields_of(EventFact)
    assert (document["_id"], document["key"], document["type"]) == (event.id, event.id, "messages.upsert")
    assert (document["message_id"], document["chat"], document["device"]) == (event.message_id, ALICE.pn, "d1")
    assert document["at_ms"] == round(event.at.timestamp() * 1000)
    assert abs((document["at"] - event.at).total_seconds()) < 0.001
    assert document["body"].encode() == events.encode(event)
    assert attempt.keys() == fields_of(AttemptFact)
    assert (attempt["event_id"], attempt["endpoint"], attempt["outcome"]) == (event.id, endpoint.id, "delivered")
    assert attempt["message_id"] == event.message_id
    fact = deliveries.decode_audit(attempt["body"])
    assert (fact.id, fact.at) == (attempt["_id"], fact.at)


async def test_the_events_of_a_message_are_found_by_it_and_by_its_chat(stage: Stage, mongo: Mongo) -> None:
    now = datetime.now(UTC)
    async with stage.dispatcher():
        sending = events.MessageSending(
            id="m1-sending", tenant="t1", device="d1", at=now, seq=1, message_id="m1", to="62@s.whatsapp.net"
        )
        sent = events.MessageStatusChanged(
            id="m1-sent",
            tenant="t1",
            device="d1",
            at=now,
            seq=2,
            message_id="m1",
            to="62@s.whatsapp.net",
            status="sent",
        )
        connected = events.ConnectionUpdate(id="c1", tenant="t1", device="d1", at=now, seq=3, state="connected")
        for event in (sending, sent, connected):
            await stage.say(event)
        found = {document["_id"]: document for document in await written(mongo, "events", 3)}
    assert [(found[id_]["message_id"], found[id_]["chat"], found[id_]["seq"]) for id_ in found] == [
        ("m1", "62@s.whatsapp.net", 1),
        ("m1", "62@s.whatsapp.net", 2),
        (None, None, 3),
    ]


async def test_a_configuration_change_is_written(stage: Stage, mongo: Mongo) -> None:
    change = ConfigurationChanged(
        id="c1", tenant="t1", what="key.rotated", at=datetime.now(UTC), actor="k1", target="k1"
    )
    async with stage.dispatcher():
        subject = subjects.audit("t1", "configuration.changed")
        for _ in range(2):
            await stage.bus.publish(subject, msgspec.json.encode(change))
        marker = msgspec.structs.replace(change, id="c2")
        await stage.bus.publish(subject, msgspec.json.encode(marker))
        first, _ = await written(mongo, "changes", 2)
    assert first.keys() == fields_of(ChangeFact)
    assert (first["_id"], first["what"], first["target"]) == ("c1", "key.rotated", "k1")


async def test_what_mongodb_will_never_take_is_kept_in_dead_and_the_rest_is_written(stage: Stage, mongo: Mongo) -> None:
    async with stage.dispatcher():
        good = [await stage.say(a_message()) for _ in range(3)]
        poison = await stage.say(a_message(seq=2**63))
        good += [await stage.say(a_message()) for _ in range(3)]
        documents = await written(mongo, "events", 6)

        async def is_dead() -> bool:
            return [stored.data for stored in await stage.dead()] == [events.encode(poison)]

        await until("the poison is in DEAD", is_dead)
    assert {document["_id"] for document in documents} == {event.id for event in good}


async def test_presence_is_not_kept_in_the_history(stage: Stage, mongo: Mongo) -> None:
    async with stage.dispatcher():
        await stage.say(
            events.PresenceUpdated(
                id="p1", tenant="t1", device="d1", at=datetime.now(UTC), chat=ALICE, sender=ALICE, presence="composing"
            )
        )
        event = await stage.say(a_message())
        assert [document["_id"] for document in await written(mongo, "events", 1)] == [event.id]


async def test_a_type_that_this_version_does_not_know_is_written_as_it_is(stage: Stage, mongo: Mongo) -> None:
    body = {"type": "story.update", "id": "s1", "tenant": "t1", "device": "d1", "at": "2026-11-20T08:30:00Z", "seq": 1}
    async with stage.dispatcher():
        await stage.bus.publish(subjects.event("t1", "d1", "story.update"), msgspec.json.encode(body))
        (document,) = await written(mongo, "events", 1)
    assert (document["type"], msgspec.json.decode(document["body"])) == ("story.update", body)


async def test_a_repeat_of_what_is_written_changes_nothing(stage: Stage, mongo: Mongo) -> None:
    async with stage.dispatcher():
        event = await stage.say(a_message())
        before = await written(mongo, "events", 1)
        # Without its message id the stream takes it again, as it would after the server forgot.
        await stage.bus.publish(subjects.event("t1", "d1", "messages.upsert"), events.encode(event))
        await stage.say(a_message())
        after = await written(mongo, "events", 2)
    assert [document for document in after if document["_id"] == event.id] == before
