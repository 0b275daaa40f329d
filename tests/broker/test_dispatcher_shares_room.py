"""An endpoint that is down for long fills its own share of DELIVERIES and no more: the rest of what is for it is given
up at once, kept in DEAD, and replayed when its tenant wants."""

from collections import Counter
from datetime import timedelta

import pytest

from kurir.contracts import deliveries, events, streams, subjects
from kurir.contracts.events import EndpointExhausted
from kurir.runtime.broker import Outgoing
from kurir.webhook_dispatcher import endpoint_health
from tests.broker.test_dispatcher_metrics import figure
from tests.broker.test_dispatcher_replays import ended, order
from tests.support.conditions import until
from tests.support.dispatcher import Stage, a_message
from tests.support.webhook_receiver import Received, Reply, WebhookReceiver

MAX_PENDING, SHARE = 600, 60
SMALL = {
    "max_pending_deliveries": MAX_PENDING,
    "max_waiting_per_endpoint": SHARE,
    "retry_schedule": ",".join(["1"] * 200),
    "circuit_threshold": 3,
    "circuit_first_s": 1.0,
    "circuit_longest_s": 1.0,
}


async def events_dead(stage: Stage) -> Counter[str]:
    """How often each event stands in DEAD."""
    return Counter(deliveries.decode(one.data).event_id for one in await stage.dead())


async def events_waiting(stage: Stage) -> set[str]:
    stored = await stage.bus.read_from(streams.DELIVERIES.name, ">", 1, 10_000)
    return {deliveries.decode(one.data).event_id for one in stored}


async def say_until_dead(stage: Stage, count: int) -> set[str]:
    """Events of t1, one after the other, until so many stand in DEAD."""
    said: set[str] = set()

    async def are_dead() -> bool:
        said.add((await stage.say(a_message("t1"))).id)
        return await stage.waiting(streams.DEAD.name) >= count

    await until(f"{count} deliveries are dead", are_dead, within_s=60, seen=lambda: len(said))
    return said


async def test_a_dead_endpoint_has_its_share_and_another_tenant_is_served_when_all_of_it_would_be_too_much(
    stage: Stage, receiver: WebhookReceiver
) -> None:
    down = await stage.endpoint(receiver.url("/down"), tenant="t1", events=("messages.upsert",))
    await stage.endpoint(receiver.url("/well"), tenant="t2")
    receiver.on("/down", Reply(503))
    async with stage.dispatcher(**SMALL) as life:
        said = await say_until_dead(stage, MAX_PENDING)
        assert await stage.waiting() < MAX_PENDING, "events go on being fanned out"
        event = await stage.say(a_message("t2"))
        await receiver.wait_for(1, lambda request: request.header("webhook-id") == event.id)

        async def all_are_fanned_out() -> bool:
            return said == await events_waiting(stage) | set(await events_dead(stage))

        await until("each event waits or is dead", all_are_fanned_out)
        dead = await events_dead(stage)
        assert max(dead.values()) == 1
        await until("all are counted", lambda: figure(life, "kurir_webhook_backlog_full_total") == len(dead))
        assert figure(life, "kurir_webhook_full") == 1
        letter = (await stage.dead())[0]
        told = subjects.event("t1", subjects.NO_DEVICE, "endpoint.exhausted")

        async def is_told() -> bool:
            return await stage.bus.count(streams.EVENTS.name, told) == 1

        await until("the tenant is told", is_told, within_s=20)
        stored = await stage.bus.last_by_subject(streams.EVENTS.name, told)
    facts = {fact.event_id: fact for fact in await stage.attempts(lambda one: one.error == "backlog_full")}
    assert facts.keys() == dead.keys()
    assert {(one.outcome, one.attempt, one.endpoint) for one in facts.values()} == {("dead", 0, down.id)}
    assert letter.subject == f"kurir.dead.deliveries.t1.{down.id}"
    assert letter.headers["Kurir-Dead-Reason"] == "dead: backlog_full before attempt 1"
    assert stored is not None
    exhausted = events.decode("endpoint.exhausted", stored.data)
    assert isinstance(exhausted, EndpointExhausted)
    assert (exhausted.endpoint, exhausted.error, exhausted.attempts) == (down.id, "backlog_full", 0)
    assert exhausted.dead > 0


async def test_what_was_given_up_for_want_of_room_arrives_by_a_replay_once_the_endpoint_is_back(
    stage: Stage, receiver: WebhookReceiver
) -> None:
    down = await stage.endpoint(receiver.url("/down"), tenant="t1", events=("messages.upsert",))
    receiver.on("/down", Reply(503))
    async with stage.dispatcher(**SMALL):
        said = await say_until_dead(stage, 40)
        refused = await ended(stage, await order(stage, down, dead=True))
        receiver.on("/down", Reply(204))
        await stage.nothing_waits(within_s=60)
        said.add((await stage.say(a_message("t1"))).id)

        async def is_replayed() -> bool:
            replay = await ended(stage, await order(stage, down, dead=True, per_second=500))
            return replay.state == "done"

        await until("the replay is done", is_replayed, within_s=30)
        await until("everything has arrived", lambda: said <= {one.header("webhook-id") for one in receiver.received})
        await stage.nothing_waits()
        assert await stage.dead() == []
    assert (refused.state, refused.replayed) == ("failed", 0)
    assert "Too much waits" in (refused.reason or "")


async def test_a_dispatcher_killed_while_an_endpoint_is_full_loses_nothing(
    stage: Stage, receiver: WebhookReceiver
) -> None:
    await stage.endpoint(receiver.url("/down"), tenant="t1", events=("messages.upsert",))
    receiver.on("/down", Reply(503))
    environment = {f"KURIR_{name.upper()}": str(value) for name, value in SMALL.items()}
    async with stage.dispatcher_process(**environment) as dispatcher:
        said = await say_until_dead(stage, 20)
        more = [a_message("t1") for _ in range(500)]
        subject = subjects.event("t1", "d1", "messages.upsert")
        # All at once: one after the other they would be fanned out as fast as they are said.
        await stage.bus.publish_many([Outgoing(subject, events.encode(one), one.id) for one in more])
        dispatcher.kill()
        said |= {one.id for one in more}
        assert len(await events_dead(stage)) < 500, "it was killed in the middle"
        await dispatcher.start()

        async def each_is_somewhere() -> bool:
            return said == await events_waiting(stage) | set(await events_dead(stage))

        # What the killed one had taken and not acknowledged comes again after ack_wait.
        await until("each event waits or is dead", each_is_somewhere, within_s=60)
    assert max((await events_dead(stage)).values()) == 1


async def test_events_that_come_again_after_they_were_given_up_are_given_up_once(
    stage: Stage, receiver: WebhookReceiver
) -> None:
    """A process that died after it had stored the dead letters and before it acknowledged their events: played by a
    consumer that is set back, and a dispatcher that knows nothing of the one before."""
    await stage.endpoint(receiver.url("/down"), tenant="t1", events=("messages.upsert",))
    receiver.on("/down", Reply(503))
    async with stage.dispatcher(**SMALL):
        await say_until_dead(stage, 40)
    before = set(await events_dead(stage))
    await stage.bus.js.reset_consumer(streams.EVENTS.name, streams.FANOUT_CONSUMER, seq=1)
    async with stage.dispatcher(**SMALL):
        last = await stage.say(a_message("t1"))

        async def has_come() -> bool:
            return last.id in await events_dead(stage)

        await until("the last event is given up too", has_come)
        dead = await events_dead(stage)
        facts = await stage.attempts(lambda one: one.error == "backlog_full")
    assert before <= dead.keys()
    assert max(dead.values()) == 1
    assert max(Counter(one.id for one in facts).values()) == 1


async def test_an_endpoint_that_is_well_again_gets_what_is_new_however_many_retries_wait(
    stage: Stage, receiver: WebhookReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoint_health, "FAILING_LASTS", timedelta(seconds=1))
    endpoint = await stage.endpoint(receiver.url("/hook"), tenant="t1", events=("messages.upsert",))
    first: list[str | None] = []

    def answer(request: Received) -> Reply:
        """The first event is tried again soon, until it finds the endpoint well; all others in an hour."""
        identifier = request.header("webhook-id")
        first[:] = first or [identifier]
        return Reply(503) if identifier == first[0] else Reply(503, retry_after=3600)

    receiver.on("/hook", answering=answer)
    async with stage.dispatcher(**{**SMALL, "retry_schedule": ",".join(["3"] * 60), "circuit_threshold": 1_000}):
        await say_until_dead(stage, 10)
        receiver.on("/hook", Reply(204))
        key = f"t1.{endpoint.id}"
        await until(
            "it is well",
            lambda: (state := stage.states.get(key)) is not None and not state.failing_since,
            within_s=30,
        )
        new: set[str | None] = set()

        async def hears() -> bool:
            new.add((await stage.say(a_message("t1"))).id)
            return any(request.header("webhook-id") in new for request in receiver.received)

        await until("the endpoint hears what is new", hears, within_s=30)
        assert await stage.bus.count(streams.DELIVERIES.name, subjects.delivery_retries(endpoint.id)) >= SHARE
