"""Endpoints that want their events in order get them so, through failures, deaths and changes of mind."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from kurir.contracts import streams
from kurir.contracts.records import Endpoint, EventFilter
from tests.support.conditions import until
from tests.support.dispatcher import Stage, a_message
from tests.support.nats_server import NatsServer
from tests.support.webhook_receiver import Received, Reply, WebhookReceiver


async def an_orderly_endpoint(stage: Stage, url: str, **fields: Any) -> Endpoint:
    return await stage.endpoint(url, in_order=True, order_changed_at=datetime.now(UTC), **fields)


class Taking:
    """A receiver's handler that fails some requests and notes the events that it took, in order."""

    def __init__(self, *fails: int) -> None:
        self._fails = set(fails)
        self._count = 0
        self.taken: list[str] = []

    def __call__(self, request: Received) -> Reply:
        self._count += 1
        if self._count in self._fails:
            return Reply(500)
        self.taken.append(request.header("webhook-id") or "")
        return Reply(204)


async def said(stage: Stage, count: int) -> list[str]:
    return [(await stage.say(a_message())).id for _ in range(count)]


async def test_events_come_in_order_through_failures_and_from_two_dispatchers(
    stage: Stage, receiver: WebhookReceiver
) -> None:
    taking = Taking(3, 4, 20)
    receiver.on("/hook", answering=taking)
    await an_orderly_endpoint(stage, receiver.url("/hook"))
    async with stage.dispatcher(retry_schedule="0.05,0.05,0.05"), stage.dispatcher(retry_schedule="0.05,0.05,0.05"):
        events = await said(stage, 60)
        await until("all are taken", lambda: len(taking.taken) >= 60, within_s=30)
        attempts = await stage.attempts_until(63)
    assert taking.taken == events
    assert [one.attempt for one in attempts if one.outcome == "retry"] == [1, 2, 1]
    assert await stage.waiting() == 0, "no delivery was made of them"


async def test_an_event_that_keeps_failing_gives_way_after_the_head_timeout(
    stage: Stage, receiver: WebhookReceiver
) -> None:
    stuck: list[str] = []

    def answer(request: Received) -> Reply:
        return Reply(500 if request.header("webhook-id") in stuck else 204)

    receiver.on("/hook", answering=answer)
    await an_orderly_endpoint(stage, receiver.url("/hook"), head_timeout_s=3, retry_delays_s=(0.2, 0.2, 600.0))
    async with stage.dispatcher():
        first = a_message()
        stuck.append(first.id)
        await stage.say(first)
        rest = await said(stage, 3)
        await receiver.wait_for(3, lambda request: request.header("webhook-id") in rest)
        assert await stage.waiting() == 1, "the one that failed waits for its next attempt"
    held_up = [request for request in receiver.received if request.header("webhook-id") == first.id]
    assert len(held_up) >= 3
    assert receiver.received[: len(held_up)] == held_up


async def test_order_is_kept_when_the_broker_is_killed(
    stage: Stage, receiver: WebhookReceiver, nats_server: NatsServer
) -> None:
    taking = Taking(10, 55)
    receiver.on("/hook", answering=taking)
    await an_orderly_endpoint(stage, receiver.url("/hook"))
    async with stage.dispatcher(retry_schedule="0.05"):
        events = await said(stage, 50)
        await until("some are taken", lambda: len(taking.taken) >= 20)
        await nats_server.restart()
        await until("the stage is connected again", lambda: stage.bus.connected)
        events += await said(stage, 50)
        await until("all are taken", lambda: set(taking.taken) == set(events), within_s=60)
    firsts = list(dict.fromkeys(taking.taken))
    assert firsts == events


async def test_another_dispatcher_goes_on_where_one_was_killed(stage: Stage, receiver: WebhookReceiver) -> None:
    taking = Taking()
    receiver.on("/hook", answering=taking)
    await an_orderly_endpoint(stage, receiver.url("/hook"))
    async with stage.dispatcher_process() as killed:
        events = await said(stage, 50)
        await until("some are taken", lambda: len(taking.taken) >= 10)
        killed.kill()
        async with stage.dispatcher():
            events += await said(stage, 50)
            await until("all are taken", lambda: set(taking.taken) == set(events), within_s=60)
    assert list(dict.fromkeys(taking.taken)) == events
    assert len(taking.taken) <= 101, "at most the one under way came twice"


async def test_a_filter_counts_here_too(stage: Stage, receiver: WebhookReceiver) -> None:
    await an_orderly_endpoint(stage, receiver.url("/hook"), filter=EventFilter(from_me=True))
    async with stage.dispatcher():
        await said(stage, 3)
        mine = await stage.say(a_message(from_me=True))
        await receiver.wait_for(1)
    assert [request.header("webhook-id") for request in receiver.received] == [mine.id]


async def test_nothing_is_lost_when_an_endpoint_turns_to_order_and_back(
    stage: Stage, receiver: WebhookReceiver
) -> None:
    endpoint = await stage.endpoint(receiver.url("/hook"))

    async def change(in_order: bool) -> None:
        now = datetime.now(UTC)
        changed = msgspec.structs.replace(endpoint, in_order=in_order, order_changed_at=now, updated_at=now)
        await stage.endpoints.put(f"t1.{endpoint.id}", changed)

    async with stage.dispatcher(), stage.dispatcher():
        events = await said(stage, 40)
        await change(in_order=True)
        events += await said(stage, 40)
        await change(in_order=False)
        events += await said(stage, 40)

        def all_have_arrived() -> bool:
            return {request.header("webhook-id") for request in receiver.received} == set(events)

        await until("every event has arrived", all_have_arrived, within_s=30)


async def test_its_consumer_goes_with_the_endpoint(stage: Stage, receiver: WebhookReceiver) -> None:
    endpoint = await an_orderly_endpoint(stage, receiver.url("/hook"))
    name = streams.in_order_consumer(endpoint.id)

    async def names() -> set[str]:
        return {info.name for info in await stage.bus.js.consumers_info(streams.EVENTS.name)}

    async def is_there() -> bool:
        return name in await names()

    async def is_gone() -> bool:
        return name not in await names()

    async with stage.dispatcher():
        await until("the consumer is there", is_there)
        await stage.endpoints.delete(f"t1.{endpoint.id}")
        await until("the consumer is gone", is_gone)


async def test_an_endpoint_that_left_the_order_long_ago_costs_nothing(stage: Stage, receiver: WebhookReceiver) -> None:
    long_ago = datetime.now(UTC) - timedelta(days=1)
    await stage.endpoint(receiver.url("/hook"), order_changed_at=long_ago)
    async with stage.dispatcher() as life:
        await said(stage, 1)
        await receiver.wait_for(1)
        await until("no line is worked", lambda: b"kurir_webhook_lines 0.0" in life.metrics.exposition())
