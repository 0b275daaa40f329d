"""What was delivered, or given up, is delivered again when somebody asks: under the same id, and called a replay."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from kurir.contracts import deliveries, ids, streams, subjects
from kurir.contracts.deliveries import ReplayOrder
from kurir.contracts.records import Endpoint, EventFilter, Replay
from kurir.runtime import keyvalue
from kurir.runtime.partitions import partition_of
from kurir.runtime.progress import taken_seq
from kurir.webhook_dispatcher import replays
from tests.support.conditions import until
from tests.support.dispatcher import Stage, a_message
from tests.support.mongo_server import MongoServer
from tests.support.nats_server import NatsServer
from tests.support.webhook_receiver import Received, Reply, WebhookReceiver


async def order(stage: Stage, endpoint: Endpoint, **what: Any) -> ReplayOrder:
    """Give the order of a replay, as the api would."""
    named = {"id": ids.short_id("rp_"), "tenant": endpoint.tenant, "endpoint": endpoint.id}
    made = ReplayOrder(**{**named, "made_at": datetime.now(UTC), **what})
    subject = subjects.replay(made.tenant, made.endpoint, made.id)
    await stage.bus.publish(subject, msgspec.json.encode(made), msg_id=made.id)
    return made


async def ended(stage: Stage, order: ReplayOrder, within_s: float = 20.0) -> Replay:
    """The record of a replay, once it has ended."""
    found: list[Replay] = []

    async def is_over() -> bool:
        stored = await keyvalue.read(stage.bus, "replays", f"{order.tenant}.{order.endpoint}.{order.id}")
        found[:] = [msgspec.json.decode(stored.data, type=Replay)] if stored is not None else []
        return bool(found) and found[0].state != "running"

    await until("the replay has ended", is_over, within_s=within_s, seen=lambda: found)
    return found[0]


def replays_in(receiver: WebhookReceiver) -> list[Received]:
    return [request for request in receiver.received if request.header("X-Webhook-Replay") == "true"]


async def test_a_range_of_time_is_delivered_again_as_far_as_the_filters_let_it_through(
    stage: Stage, receiver: WebhookReceiver
) -> None:
    endpoint = await stage.endpoint(receiver.url("/hook"))
    other = await stage.endpoint(receiver.url("/other"))
    async with stage.dispatcher():
        before = [(await stage.say(a_message())).id for _ in range(3)]
        await receiver.wait_for(6)
        since = datetime.now(UTC)
        within = [(await stage.say(a_message())).id for _ in range(3)]
        mine = await stage.say(a_message(from_me=True))
        await receiver.wait_for(14)
        await stage.nothing_waits()  # what is under way would be passed over
        made = await order(stage, endpoint, since=since, filter=EventFilter(from_me=False), per_second=500)
        replay = await ended(stage, made)
        await receiver.wait_for(17)
        everything = await order(stage, endpoint, since=since - timedelta(hours=1), until=since, per_second=500)
        assert (await ended(stage, everything)).replayed == 3
        await receiver.wait_for(20)
        await stage.nothing_waits()
    assert (replay.state, replay.replayed, replay.skipped) == ("done", 3, 0)
    again = [request.header("webhook-id") for request in replays_in(receiver)]
    assert sorted(str(one) for one in again) == sorted(within + before)
    assert mine.id not in again
    assert {request.path for request in replays_in(receiver)} == {"/hook"}, f"nothing for {other.id}"


async def test_everything_dead_of_an_endpoint_is_delivered_again_and_dead_no_more(
    stage: Stage, receiver: WebhookReceiver
) -> None:
    endpoint = await stage.endpoint(receiver.url("/hook"))
    receiver.on("/hook", Reply(500))
    async with stage.dispatcher(retry_schedule="", circuit_threshold=100):
        events = {(await stage.say(a_message())).id for _ in range(5)}
        await stage.attempts_until(5)
        await stage.nothing_waits()
        assert len(await stage.dead()) == 5
        receiver.on("/hook", Reply(204))
        replay = await ended(stage, await order(stage, endpoint, dead=True, per_second=500))
        attempts = await stage.attempts_until(10)
        await stage.nothing_waits()
        assert await stage.dead() == []
        repeated = await ended(stage, await order(stage, endpoint, dead=True))
    assert (replay.state, replay.replayed) == ("done", 5)
    assert {one.event_id for one in attempts if one.outcome == "delivered" and one.is_replay} == events
    assert (repeated.state, repeated.replayed) == ("done", 0)


async def test_one_event_is_found_in_the_history_and_delivered_again(
    nats_server: NatsServer, mongo_server: MongoServer, receiver: WebhookReceiver
) -> None:
    async with Stage(nats_server, mongo_server.url) as stage:
        endpoint = await stage.endpoint(receiver.url("/hook"))
        foreign = await stage.endpoint(receiver.url("/foreign"), device="d2")
        async with stage.dispatcher():
            event = await stage.say(a_message())
            await receiver.wait_for(1)
            await stage.nothing_waits()

            async def is_written() -> bool:
                return (await ended(stage, await order(stage, endpoint, event_id=event.id))).state == "done"

            await until("the event is in the history", is_written)
            await receiver.wait_for(2)
            refused = await ended(stage, await order(stage, foreign, event_id=event.id))
            await stage.nothing_waits()
    first, second = receiver.received
    assert (second.header("webhook-id"), second.body) == (first.header("webhook-id"), first.body)
    assert (first.header("X-Webhook-Replay"), second.header("X-Webhook-Replay")) == (None, "true")
    assert (refused.state, refused.replayed) == ("failed", 0)


async def test_a_replay_takes_the_place_of_the_retry_that_was_scheduled(
    stage: Stage, receiver: WebhookReceiver
) -> None:
    since = datetime.now(UTC)
    endpoint = await stage.endpoint(receiver.url("/hook"))
    receiver.on("/hook", Reply(500), Reply(204))

    async with stage.dispatcher(retry_schedule="3600"):
        event = await stage.say(a_message())
        (first,) = await stage.attempts_until(1)
        await stage.retry_waits(first)
        replay = await ended(stage, await order(stage, endpoint, since=since))
        await receiver.wait_for(2)
        await stage.nothing_waits()
    assert (replay.replayed, replay.skipped) == (1, 0)
    assert [request.header("webhook-id") for request in receiver.received] == [event.id, event.id]


async def test_another_dispatcher_goes_on_with_a_replay_and_a_canceled_one_stops(
    stage: Stage, receiver: WebhookReceiver
) -> None:
    since = datetime.now(UTC)
    endpoint = await stage.endpoint(receiver.url("/hook"))
    async with stage.dispatcher():
        events = {(await stage.say(a_message())).id for _ in range(60)}
        await receiver.wait_for(60)
        await stage.nothing_waits()
        made = await order(stage, endpoint, since=since, per_second=20)
        await until("some are replayed", lambda: len(replays_in(receiver)) >= 5)
    assert len(replays_in(receiver)) < 60
    async with stage.dispatcher():
        replay = await ended(stage, made)
        await stage.nothing_waits()
        assert {request.header("webhook-id") for request in replays_in(receiver)} == events
        assert len(replays_in(receiver)) <= 61, "what was done before is not done again"
        canceled = await order(stage, endpoint, since=since, per_second=1)
        await receiver.wait_for(len(receiver.received) + 1)
        await stage.bus.js.purge_stream(
            streams.DELIVERIES.name, subject=subjects.replay("t1", endpoint.id, canceled.id)
        )
        stopped = await ended(stage, canceled)
    assert (replay.state, stopped.state) == ("done", "canceled")
    assert replay.replayed >= 60
    assert stopped.replayed < 10


async def test_a_replay_passes_over_what_is_being_attempted_or_waits_behind_it(
    stage: Stage, receiver: WebhookReceiver
) -> None:
    since = datetime.now(UTC)
    endpoint = await stage.endpoint(receiver.url("/hook"), max_in_flight=1)
    answer = asyncio.Event()
    receiver.on("/hook", Reply(204, after=answer), Reply(204))
    async with stage.dispatcher():
        said = [(await stage.say(a_message())).id for _ in range(20)]
        await receiver.wait_for(1)
        while_under_way = await ended(stage, await order(stage, endpoint, since=since, per_second=500))
        assert len(receiver.received) == 1
        answer.set()
        await receiver.wait_for(20)
        await stage.nothing_waits()
        assert sorted(str(request.header("webhook-id")) for request in receiver.received) == sorted(said)
        afterwards = await ended(stage, await order(stage, endpoint, since=since, per_second=500))
        await receiver.wait_for(40)
        await stage.nothing_waits()
    assert (while_under_way.replayed, while_under_way.skipped) == (0, 20)
    assert (afterwards.replayed, afterwards.skipped) == (20, 0)


async def test_a_replay_that_meets_a_retry_under_way_makes_no_second_request(
    stage: Stage, receiver: WebhookReceiver
) -> None:
    since = datetime.now(UTC)
    endpoint = await stage.endpoint(receiver.url("/hook"))
    answer = asyncio.Event()
    receiver.on("/hook", Reply(500), Reply(204, after=answer), Reply(204))
    async with stage.dispatcher(retry_schedule="0.1"):
        event = await stage.say(a_message())
        await receiver.wait_for(2)
        replay = await ended(stage, await order(stage, endpoint, since=since))
        assert len(receiver.received) == 2, "the retry is still waiting for its answer"
        answer.set()
        await stage.nothing_waits()
    assert (replay.replayed, replay.skipped) == (0, 1)
    assert [request.header("webhook-id") for request in receiver.received] == [event.id, event.id]


async def test_what_is_paused_or_in_line_is_not_replayed_either(stage: Stage, receiver: WebhookReceiver) -> None:
    since = datetime.now(UTC)
    paused = await stage.endpoint(receiver.url("/paused"), max_in_flight=1, events=("messages.upsert",))
    line = await stage.endpoint(
        receiver.url("/line"), in_order=True, order_changed_at=since, events=("messages.upsert",)
    )
    for path in ("/paused", "/line"):
        receiver.on(path, Reply(500))
    settings = {"retry_schedule": "6,6,6", "circuit_threshold": 1, "circuit_first_s": 6.0}
    async with stage.dispatcher(**settings):
        said = {(await stage.say(a_message())).id for _ in range(10)}
        await receiver.wait_for(2)

        async def is_in_its_lane() -> bool:
            return 9 in (await stage.bus.subjects(streams.DELIVERIES.name, "kurir.dlvlane.>")).values()

        await until("nine wait in the lane", is_in_its_lane)
        replays = [await ended(stage, await order(stage, one, since=since, per_second=500)) for one in (paused, line)]
        for path in ("/paused", "/line"):
            receiver.on(path, Reply(204))
        await stage.nothing_waits(within_s=30)
        await until("all arrived in line", lambda: len({one.body for one in receiver.at("/line")}) == 10, within_s=20)
    # What had failed once was scheduled, and the replay took its place, or was attempted again and passed over.
    assert replays[0].skipped >= 9
    assert (replays[1].replayed, replays[1].skipped) == (0, 10)
    for path in ("/paused", "/line"):
        assert {request.header("webhook-id") for request in receiver.at(path)} == said
        assert len(receiver.at(path)) <= 12, "each once, and those that failed again"


async def test_a_replay_goes_on_when_its_dispatcher_was_killed(stage: Stage, receiver: WebhookReceiver) -> None:
    since = datetime.now(UTC)
    endpoint = await stage.endpoint(receiver.url("/hook"))
    async with stage.dispatcher_process() as dispatcher:
        said = {(await stage.say(a_message())).id for _ in range(100)}
        await receiver.wait_for(100)
        await stage.nothing_waits()
        made = await order(stage, endpoint, since=since, per_second=25)
        await until("half is replayed", lambda: len(replays_in(receiver)) >= 50)
        dispatcher.kill()
        async with stage.dispatcher():
            replay = await ended(stage, made, within_s=60)  # the order comes again after ack_wait
            await stage.nothing_waits(within_s=60)
    again = replays_in(receiver)
    assert replay.state == "done"
    assert {request.header("webhook-id") for request in again} == said
    assert len(again) <= 110, "what was under way when it died comes twice, and nothing else"


async def test_a_tenant_that_wants_many_slow_replays_delays_nobody_elses(
    stage: Stage, receiver: WebhookReceiver
) -> None:
    since = datetime.now(UTC)
    slow, other = await stage.endpoint(receiver.url("/slow")), await stage.endpoint(receiver.url("/other"), tenant="t2")
    async with stage.dispatcher():
        for _ in range(60):
            await stage.say(a_message())
        said = {(await stage.say(a_message(tenant="t2"))).id for _ in range(5)}
        await receiver.wait_for(65)
        await stage.nothing_waits()
        for _ in range(replays.AT_ONCE + 5):  # each would last a minute
            await order(stage, slow, since=since, per_second=1)
        await until("they are under way", lambda: len(replays_in(receiver)) >= 1)
        replay = await ended(stage, await order(stage, other, since=since))
        await until("it was delivered", lambda: len(receiver.at("/other")) == 10)
    assert (replay.state, replay.replayed) == ("done", 5)
    assert {str(request.header("webhook-id")) for request in replays_in(receiver) if request.path == "/other"} == said


async def test_replays_that_take_turns_deliver_everything_once(
    stage: Stage, receiver: WebhookReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replays, "AT_ONCE", 2)
    monkeypatch.setattr(replays, "TURN_S", 0.02)
    since = datetime.now(UTC)
    paths = [f"/{number}" for number in range(4)]
    for path in paths:
        receiver.on(path, Reply(500))
    endpoints = [await stage.endpoint(receiver.url(path), events=("message.received",)) for path in paths]
    async with stage.dispatcher(retry_schedule="", circuit_threshold=1000):
        said = {(await stage.say(a_message())).id for _ in range(30)}
        await stage.attempts_until(4 * 30)
        await stage.nothing_waits()
        for path in paths:
            receiver.on(path, Reply(204))
        ranges = [await order(stage, each, since=since, per_second=500) for each in endpoints[:2]]
        dead = [await order(stage, each, dead=True, per_second=500) for each in endpoints[2:]]
        ends = [await ended(stage, each) for each in (*ranges, *dead)]
        await stage.nothing_waits()
        dead_left = await stage.dead()
    assert [(one.state, one.replayed, one.skipped) for one in ends] == [("done", 30, 0)] * 4
    assert len(dead_left) == 60, "what a range delivers again is still called dead"
    for path in paths:
        again = [request.header("webhook-id") for request in replays_in(receiver) if request.path == path]
        assert sorted(map(str, again)) == sorted(said)


async def test_a_replay_that_waits_for_its_turn_is_given_to_another_dispatcher(
    stage: Stage, receiver: WebhookReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replays, "AT_ONCE", 1)
    monkeypatch.setattr(replays, "TURN_S", 3600.0)
    since = datetime.now(UTC)
    first, second = await stage.endpoint(receiver.url("/first")), await stage.endpoint(receiver.url("/second"))
    async with stage.dispatcher():
        for _ in range(20):
            await stage.say(a_message())
        await receiver.wait_for(40)
        await stage.nothing_waits()
        await order(stage, first, since=since, per_second=1)
        await until("the first is under way", lambda: len(replays_in(receiver)) >= 1)
        waits = await order(stage, second, since=since)

        async def is_taken() -> bool:
            consumer = await stage.bus.js.consumer_info(streams.DELIVERIES.name, streams.REPLAY_CONSUMER)
            return bool(consumer.num_ack_pending == 2)

        await until("the second is taken", is_taken)
    assert not [request for request in replays_in(receiver) if request.path == "/second"]
    monkeypatch.setattr(replays, "TURN_S", 0.1)
    async with stage.dispatcher():
        assert (await ended(stage, waits)).replayed == 20


async def test_a_range_leaves_alone_what_is_not_fanned_out_yet(stage: Stage, receiver: WebhookReceiver) -> None:
    """While too much waits, no more events are taken; a replay ordered then does not deliver them before their turn."""
    since = datetime.now(UTC)
    await stage.endpoint(receiver.url("/full"), tenant="t2", retry_delays_s=(600.0,))
    endpoint = await stage.endpoint(receiver.url("/hook"), events=("messages.upsert",))
    receiver.on("/full", Reply(500))
    async with stage.dispatcher():
        before = [(await stage.say(a_message())).id for _ in range(5)]
        await receiver.wait_for(5)
        await stage.say(a_message("t2"))
        await stage.attempts_until(6)
    async with stage.dispatcher(max_pending_deliveries=1):
        behind = [(await stage.say(a_message())).id for _ in range(5)]
        taken = await taken_seq(stage.bus, streams.EVENTS.name, streams.FANOUT_CONSUMER)
        given = await order(stage, endpoint, since=since, per_second=500, fanned_out=taken)
        replay = await ended(stage, given)
        assert (replay.replayed, replay.skipped) == (5, 5)
        await receiver.wait_for(11)
        await stage.bus.js.purge_stream(streams.DELIVERIES.name)
        await receiver.wait_for(16)
    assert sorted(str(one.header("webhook-id")) for one in replays_in(receiver)) == sorted(before)
    assert [one.header("webhook-id") for one in receiver.at("/hook")].count(behind[0]) == 1
    assert {one.header("webhook-id") for one in receiver.at("/hook")} == {*before, *behind}


async def test_what_is_given_up_and_passed_over_stays_given_up(stage: Stage, receiver: WebhookReceiver) -> None:
    """A dispatcher died between giving a delivery up and settling it: it comes again, and is not given up twice."""
    endpoint = await stage.endpoint(receiver.url("/hook"), max_in_flight=1)
    answer = asyncio.Event()
    receiver.on("/hook", Reply(500), Reply(204, after=answer), Reply(204))
    async with stage.dispatcher(retry_schedule="", circuit_threshold=100):
        event = await stage.say(a_message())
        await stage.attempts_until(1)
        await stage.nothing_waits()
        (dead,) = await stage.dead()
        partition = partition_of(endpoint.id, subjects.DELIVERY_PARTITIONS)
        await stage.bus.publish(subjects.delivery(partition, endpoint.id), dead.data)
        await receiver.wait_for(2)
        same = await ended(stage, await order(stage, endpoint, dead=True))
        assert (same.replayed, same.skipped, len(await stage.dead())) == (0, 1, 1)
        answer.set()
        await stage.nothing_waits()
        answer.clear()
        receiver.on("/hook", Reply(204, after=answer), Reply(204))
        later = msgspec.structs.replace(deliveries.decode(dead.data), generation=1, is_replay=True)
        await stage.bus.publish(subjects.delivery(partition, endpoint.id), msgspec.json.encode(later))
        await receiver.wait_for(3)
        newer = await ended(stage, await order(stage, endpoint, dead=True))
        assert (newer.replayed, newer.skipped, await stage.dead()) == (0, 1, []), "it would be given up once more"
        answer.set()
        await stage.nothing_waits()
    assert {request.header("webhook-id") for request in receiver.received} == {event.id}
