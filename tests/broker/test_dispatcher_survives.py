"""What dies in the middle loses nothing: the dispatcher, the broker, MongoDB. Repeats are counted, not denied."""

import asyncio
from collections import Counter

import msgspec

from kurir.contracts import deliveries, events, streams, subjects
from kurir.runtime.broker import Outgoing
from kurir.runtime.mongo import Mongo
from kurir.runtime.partitions import partition_of
from tests.support.conditions import until
from tests.support.dispatcher import Stage, a_message
from tests.support.mongo_server import MongoServer
from tests.support.nats_server import NatsServer
from tests.support.webhook_receiver import Reply, WebhookReceiver


def arrivals(receiver: WebhookReceiver) -> Counter[str]:
    """How often each event arrived."""
    return Counter(request.header("webhook-id") or "" for request in receiver.received)


async def test_a_dispatcher_killed_in_the_middle_loses_no_event_and_repeats_only_what_was_under_way(
    nats_server: NatsServer, mongo_server: MongoServer, receiver: WebhookReceiver
) -> None:
    async with Stage(nats_server, mongo_server.url) as stage:
        await stage.endpoint(receiver.url("/hook"), max_in_flight=10)
        receiver.on("/hook", answering=lambda _: Reply(204, delay_s=0.02))
        said = set()
        async with stage.dispatcher_process() as dispatcher:
            for number in range(300):
                said.add((await stage.say(a_message())).id)
                if number == 150:
                    await receiver.wait_for(20)
                    dispatcher.kill()
            assert len(arrivals(receiver)) < 300
            await dispatcher.start()
            # What the killed one held comes again after ack_wait.
            await until("every event has arrived", lambda: said <= arrivals(receiver).keys(), within_s=60)
            await stage.nothing_waits(within_s=60)
    assert arrivals(receiver).keys() == said
    assert sum(arrivals(receiver).values()) - 300 <= 10


async def test_a_dispatcher_that_is_told_to_stop_finishes_and_hands_back_at_once(
    stage: Stage, receiver: WebhookReceiver
) -> None:
    await stage.endpoint(receiver.url("/hook"))
    receiver.on("/hook", answering=lambda _: Reply(204, delay_s=0.2))
    messages = [a_message() for _ in range(200)]
    said = {message.id for message in messages}
    subject = subjects.event("t1", "d1", "messages.upsert")
    async with stage.dispatcher_process() as dispatcher:
        # All at once: one after the other they could be delivered as fast as they are said.
        await stage.bus.publish_many([Outgoing(subject, events.encode(one), one.id) for one in messages])
        await receiver.wait_for(20)
        assert await dispatcher.terminate() == 0
        assert len(receiver.received) < 200
    async with stage.dispatcher():
        await receiver.wait_for(200, timeout_s=20)
        await stage.nothing_waits()
    assert arrivals(receiver) == Counter(said), "each exactly once"


async def test_a_broker_killed_in_the_middle_loses_no_event(
    stage: Stage, receiver: WebhookReceiver, nats_server: NatsServer
) -> None:
    await stage.endpoint(receiver.url("/hook"))
    receiver.on("/hook", answering=lambda request: Reply(500 if len(receiver.received) % 10 == 0 else 204))
    said = set()
    async with stage.dispatcher(retry_schedule="0.2,0.2,0.2,0.2,0.2,0.2", circuit_threshold=100):
        for number in range(300):
            said.add((await stage.say(a_message())).id)
            if number in (100, 200):
                await nats_server.kill()
                await nats_server.start()
                await until("the stage is connected again", lambda: stage.bus.connected)
        await until("every event has arrived", lambda: said <= arrivals(receiver).keys(), within_s=60)
        await stage.nothing_waits(within_s=60)
    attempts = await stage.attempts()
    assert {attempt.event_id for attempt in attempts if attempt.outcome == "delivered"} == said
    assert Counter(attempt.event_id for attempt in attempts) == arrivals(receiver), "each request is on record"


async def test_events_that_a_broker_brings_again_after_its_death_are_not_delivered_again(
    stage: Stage, receiver: WebhookReceiver, nats_server: NatsServer
) -> None:
    """A broker that dies forgets its newest acknowledgements in EVENTS, and the ids of deliveries that are done."""
    await stage.endpoint(receiver.url("/hook"))
    async with stage.dispatcher():
        for _ in range(20):
            await stage.say(a_message())
        await receiver.wait_for(20)
        await stage.nothing_waits()
        await nats_server.restart()
        await until("the stage is connected again", lambda: stage.bus.connected)
        await stage.bus.js.reset_consumer(streams.EVENTS.name, streams.FANOUT_CONSUMER, seq=1)
        fresh = await stage.say(a_message())
        await receiver.wait_for(1, lambda request: request.header("webhook-id") == fresh.id)
        await stage.nothing_waits()
    assert len(receiver.received) == 21


async def test_an_attempt_that_is_made_twice_stands_on_record_twice(stage: Stage, receiver: WebhookReceiver) -> None:
    """A delivery that a dead broker's successor stored a second time: both first attempts are made, with two ends."""
    endpoint = await stage.endpoint(receiver.url("/hook"))
    receiver.on("/hook", Reply(500), Reply(204))
    async with stage.dispatcher(retry_schedule="3600"):
        event = await stage.say(a_message())
        (first,) = await stage.attempts_until(1)
        scheduled = await stage.retry_waits(first)
        again = msgspec.structs.replace(deliveries.decode(scheduled.data), attempt=1)
        partition = partition_of(endpoint.id, subjects.DELIVERY_PARTITIONS)
        await stage.bus.publish(subjects.delivery(partition, endpoint.id), msgspec.json.encode(again))
        attempts = await stage.attempts_until(2)
    assert [(one.event_id, one.attempt, one.outcome) for one in attempts] == [
        (event.id, 1, "retry"),
        (event.id, 1, "delivered"),
    ]


async def test_an_attempt_that_is_on_record_is_not_made_again(
    nats_server: NatsServer, mongo_server: MongoServer
) -> None:
    """A process that died after it had recorded the attempt, before it had scheduled the next one and acknowledged:
    played by a message that was delivered once, is unacknowledged, and whose attempt stands in the history."""
    async with Stage(nats_server, mongo_server.url) as stage, WebhookReceiver() as receiver:
        endpoint = await stage.endpoint(receiver.url("/hook"))
        receiver.on("/hook", Reply(500), Reply(204))
        mongo = Mongo.connect(mongo_server.url)
        async with stage.dispatcher(retry_schedule="3600"):
            await stage.say(a_message())
            (attempt,) = await stage.attempts_until(1)

            async def is_written() -> bool:
                return await mongo.find_one("attempts", {"_id": attempt.id}) is not None

            await until("the attempt is in the history", is_written)
        await mongo.close()
        retry = subjects.delivery_retry(endpoint.id, attempt.delivery)
        scheduled = await stage.bus.last_by_subject(streams.DELIVERIES.name, retry)
        assert scheduled is not None
        await stage.bus.js.purge_stream(streams.DELIVERIES.name)
        partition = partition_of(endpoint.id, subjects.DELIVERY_PARTITIONS)
        first = msgspec.structs.replace(deliveries.decode(scheduled.data), attempt=1)
        await stage.bus.publish(subjects.delivery(partition, endpoint.id), msgspec.json.encode(first))
        consumer = streams.delivery_consumer(partition)
        (message,) = await stage.bus.pull(streams.DELIVERIES.name, consumer, batch=1, expires_s=5)
        message.nak()

        async with stage.dispatcher(retry_schedule="3600"):

            async def is_scheduled_again() -> bool:
                found = await stage.bus.last_by_subject(streams.DELIVERIES.name, retry)
                return found is not None and found.data == scheduled.data and await stage.waiting() == 1

            await until("only the second attempt waits, as it was scheduled", is_scheduled_again)
        assert len(receiver.received) == 1
        assert len(await stage.attempts()) == 1


async def test_while_mongodb_is_away_webhooks_go_on_and_history_catches_up(
    nats_server: NatsServer, mongo_server: MongoServer
) -> None:
    mongo = Mongo.connect(mongo_server.url)
    async with Stage(nats_server, mongo_server.url) as stage, WebhookReceiver() as receiver:
        await stage.endpoint(receiver.url("/hook"))
        await mongo_server.kill()
        async with stage.dispatcher():
            before = {(await stage.say(a_message())).id for _ in range(100)}
            await receiver.wait_for(100)
            await mongo_server.start()
            after = {(await stage.say(a_message())).id for _ in range(100)}
            await receiver.wait_for(200)

            async def all_is_written() -> bool:
                events = await mongo.find("events", {"tenant": "t1"}, limit=1000, projection=["key"])
                attempts = await mongo.find("attempts", {"tenant": "t1"}, limit=1000, projection=["event_id"])
                return {event["_id"] for event in events} == before | after and {
                    attempt["event_id"] for attempt in attempts
                } == before | after

            await until("the history has caught up", all_is_written, within_s=30)
    await mongo.close()


async def test_of_two_dispatchers_one_takes_over_what_the_other_leaves_in_a_lane(
    stage: Stage, receiver: WebhookReceiver
) -> None:
    await stage.endpoint(receiver.url("/hook"))
    answers = asyncio.Event()
    receiver.on("/hook", answering=lambda _: Reply(204, after=answers, delay_s=0.05))
    said = set()
    async with stage.dispatcher_process() as leaving, stage.dispatcher():
        for _ in range(600):  # more than both take in hand while it does not answer
            said.add((await stage.say(a_message())).id)

        async def is_behind() -> bool:
            return bool(await stage.bus.subjects(streams.DELIVERIES.name, "kurir.dlvlane.>"))

        await until("the endpoint has a lane", is_behind)
        answers.set()
        assert await leaving.terminate() == 0
        await until("every event has arrived", lambda: said <= arrivals(receiver).keys(), within_s=60)
        await stage.nothing_waits(within_s=60)


async def test_acknowledged_deliveries_that_a_killed_server_brought_back_are_cleared_away(
    stage: Stage, receiver: WebhookReceiver
) -> None:
    """They stand below the floor of their consumer, which nobody can be given again."""
    endpoint = await stage.endpoint(receiver.url("/hook"))
    partition = partition_of(endpoint.id, subjects.DELIVERY_PARTITIONS)
    subject = subjects.delivery(partition, endpoint.id)
    for _ in range(300):
        last = await stage.bus.publish(subject, b"{}")
    await stage.bus.js.reset_consumer(streams.DELIVERIES.name, streams.delivery_consumer(partition), seq=last.seq + 1)
    async with stage.dispatcher():
        await stage.nothing_waits()
        event = await stage.say(a_message())
        await receiver.wait_for(1)
        await stage.nothing_waits()
    assert [request.header("webhook-id") for request in receiver.received] == [event.id]
    assert await stage.dead() == []
