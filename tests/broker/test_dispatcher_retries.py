"""What happens to a delivery that fails: again by the schedule, given up, or its endpoint left alone."""

import time
from datetime import timedelta

import msgspec
import pytest

from kurir.contracts import deliveries
from kurir.contracts.deliveries import ConfigurationChanged
from kurir.contracts.subjects import DELIVERY_PARTITIONS
from kurir.runtime.partitions import partition_of
from tests.support.conditions import until
from tests.support.dispatcher import Stage, a_message
from tests.support.webhook_receiver import Reply, WebhookReceiver


async def test_after_a_500_the_same_event_comes_again_under_the_same_id(
    stage: Stage, receiver: WebhookReceiver
) -> None:
    await stage.endpoint(receiver.url("/hook"))
    receiver.on("/hook", Reply(500), Reply(200))
    async with stage.dispatcher():
        event = await stage.say(a_message())
        first, second = await receiver.wait_for(2)
        attempts = await stage.attempts_until(2)
        await stage.nothing_waits()
    assert first.header("webhook-id") == second.header("webhook-id") == event.id
    assert first.body == second.body
    assert second.at - first.at >= 0.2
    assert [(attempt.attempt, attempt.outcome) for attempt in attempts] == [(1, "retry"), (2, "delivered")]
    assert attempts[0].next_at is not None
    assert attempts[0].next_at - attempts[0].at >= timedelta(seconds=0.2)


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (Reply(302, redirect_to="/elsewhere"), "http_3xx"),
        (Reply(404), "http_4xx"),
        (Reply(hang=True), "timeout"),
        (Reply(200, b"slow", drip_every_s=1.0), "timeout"),
        (Reply(reset=True), "reset"),
        (Reply(200, b"whole body", cut_body_at=3), "reset"),
    ],
)
async def test_whatever_is_no_success_is_tried_again(
    stage: Stage, receiver: WebhookReceiver, reply: Reply, error: str
) -> None:
    await stage.endpoint(receiver.url("/hook"))
    receiver.on("/hook", reply, Reply(204))
    async with stage.dispatcher(attempt_deadline_s=2.0):
        await stage.say(a_message())
        attempts = await stage.attempts_until(2)
    assert [(attempt.error, attempt.outcome) for attempt in attempts] == [(error, "retry"), (None, "delivered")]
    assert not receiver.at("/elsewhere")


async def test_an_endpoint_that_is_down_gets_it_when_it_is_back(stage: Stage, receiver: WebhookReceiver) -> None:
    await stage.endpoint(receiver.url("/hook"))
    await receiver.stop()
    async with stage.dispatcher(retry_schedule=",".join(["0.2"] * 30), circuit_threshold=100):
        event = await stage.say(a_message())
        await stage.attempts_until(2)
        await receiver.start()
        (request,) = await receiver.wait_for(1)
    assert request.header("webhook-id") == event.id
    assert (await stage.attempts())[0].error == "connect"


async def test_a_receiver_that_asks_for_time_gets_it(stage: Stage, receiver: WebhookReceiver) -> None:
    await stage.endpoint(receiver.url("/hook"))
    receiver.on("/hook", Reply(429, retry_after=2), Reply(204))
    async with stage.dispatcher(retry_schedule="0.1,0.1"):
        await stage.say(a_message())
        first, second = await receiver.wait_for(2)
    assert second.at - first.at >= 2.0


async def test_what_fails_to_the_end_is_kept_in_dead_with_the_reason(stage: Stage, receiver: WebhookReceiver) -> None:
    endpoint = await stage.endpoint(receiver.url("/hook"))
    receiver.on("/hook", Reply(500))
    async with stage.dispatcher():
        event = await stage.say(a_message())
        attempts = await stage.attempts_until(3)
        await stage.nothing_waits()
        (dead,) = await stage.dead()
    assert [attempt.outcome for attempt in attempts] == ["retry", "retry", "dead"]
    assert dead.subject == f"kurir.dead.deliveries.t1.{endpoint.id}"
    assert dead.headers["Kurir-Dead-Reason"] == "dead: http_5xx in attempt 3"
    delivery = deliveries.decode(dead.data)
    assert (delivery.event_id, delivery.attempt) == (event.id, 3)
    assert len(receiver.received) == 3


async def test_a_410_disables_the_endpoint_until_its_tenant_changes_it(stage: Stage, receiver: WebhookReceiver) -> None:
    endpoint = await stage.endpoint(receiver.url("/hook"))
    receiver.on("/hook", Reply(410))
    async with stage.dispatcher():
        await stage.say(a_message())
        key = f"t1.{endpoint.id}"
        await until("the endpoint is disabled", lambda: (state := stage.states.get(key)) is not None and state.disabled)
        await stage.say(a_message())
        attempts = await stage.attempts_until(2)
        assert [attempt.outcome for attempt in attempts] == ["disabled", "canceled"]
        assert len(receiver.received) == 1

        async def is_buried() -> bool:  # the last that is done with it
            return len(await stage.dead()) == 1

        await until("what the disabled endpoint did not take is in DEAD", is_buried)
        (change,) = [fact for fact in await stage.facts() if isinstance(fact, ConfigurationChanged)]
        assert (change.what, change.target) == ("endpoint.disabled", endpoint.id)

        receiver.on("/hook", Reply(204))
        state = stage.states.get(key)
        assert state is not None
        later = state.at + timedelta(milliseconds=1)
        await stage.endpoints.put(key, msgspec.structs.replace(endpoint, updated_at=later))

        async def hears_again() -> bool:
            await stage.say(a_message())
            return len(receiver.received) > 1

        await until("the endpoint hears again", hears_again)


async def test_an_endpoint_that_only_fails_for_too_long_is_disabled(stage: Stage, receiver: WebhookReceiver) -> None:
    endpoint = await stage.endpoint(receiver.url("/hook"))
    receiver.on("/hook", Reply(500))
    async with stage.dispatcher(retry_schedule="0.3,0.3,0.3,0.3", disable_after_s=0.5):
        await stage.say(a_message())
        await until(
            "the endpoint is disabled",
            lambda: (state := stage.states.get(f"t1.{endpoint.id}")) is not None and state.disabled,
        )
        await stage.nothing_waits()
    attempts = await stage.attempts()
    assert attempts[-1].outcome == "disabled"
    assert 2 <= len(attempts) < 5


async def test_that_an_endpoint_fails_and_recovers_is_told_to_the_api(stage: Stage, receiver: WebhookReceiver) -> None:
    endpoint = await stage.endpoint(receiver.url("/hook"))
    receiver.on("/hook", Reply(500))
    async with stage.dispatcher(retry_schedule="2,2,2"):
        await stage.say(a_message())
        key = f"t1.{endpoint.id}"
        await until("it is failing", lambda: (state := stage.states.get(key)) is not None and bool(state.failing_since))
        receiver.on("/hook", Reply(204))
        await until("it is well", lambda: (state := stage.states.get(key)) is not None and not state.failing_since)


async def test_an_endpoint_that_hangs_holds_up_no_other(stage: Stage, receiver: WebhookReceiver) -> None:
    # All in one partition: the slow one first, with far more than may be under way to it.
    slow = await stage.endpoint(receiver.url("/slow"), id="we0", max_in_flight=2)
    neighbours = [name for name in (f"we{n}" for n in range(1, 400)) if _same_partition(name, slow.id)][:5]
    receiver.on("/slow", Reply(hang=True))
    async with stage.dispatcher(attempt_deadline_s=25):
        for _ in range(300):
            await stage.say(a_message())
        await until("the slow one is full", lambda: len(receiver.at("/slow")) == 2)
        for name in neighbours:
            await stage.endpoint(receiver.url(f"/{name}"), id=name, events=("device.status",))
        await stage.endpoint(receiver.url("/quick"), id=neighbours[0], device="d9")

        async def heard() -> bool:
            await stage.say(a_message(device="d9"))
            return bool(receiver.at("/quick"))

        await until("the neighbour hears while the slow one hangs", heard)
        assert len(receiver.at("/slow")) == 2
        await receiver.stop()
    assert not await stage.dead()


async def test_an_endpoint_that_fails_in_a_row_is_left_alone_and_probed(
    stage: Stage, receiver: WebhookReceiver
) -> None:
    await stage.endpoint(receiver.url("/hook"), max_in_flight=1)
    receiver.on("/hook", Reply(500))
    overrides = {"circuit_threshold": 3, "circuit_first_s": 1.0, "circuit_longest_s": 1.0}
    async with stage.dispatcher(retry_schedule="60,60", **overrides):
        for _ in range(10):
            await stage.say(a_message())
        _, _, last, probe = await receiver.wait_for(4)
        assert probe.at - last.at >= 0.9
        assert len(receiver.received) == 4, "one probe, and no more while it fails"
        receiver.on("/hook", Reply(204))
        await receiver.wait_for(10)
        delivered = [attempt for attempt in await stage.attempts_until(10) if attempt.outcome == "delivered"]
        assert len(delivered) == 6


async def test_an_endpoint_has_a_retry_schedule_of_its_own(stage: Stage, receiver: WebhookReceiver) -> None:
    for path, delays_s in (("/own", (0.1,)), ("/none", ()), ("/usual", None)):
        await stage.endpoint(receiver.url(path), events=("messages.upsert",), retry_delays_s=delays_s)
    for path in ("/own", "/none", "/usual"):
        receiver.on(path, Reply(500))
    async with stage.dispatcher(retry_schedule="0.1,0.1"):
        await stage.say(a_message())
        await stage.nothing_waits()
        attempts = await stage.attempts_until(6)
    ends = {path: [one.outcome for one in attempts if one.url.endswith(path)] for path in ("/own", "/none", "/usual")}
    assert ends == {"/own": ["retry", "dead"], "/none": ["dead"], "/usual": ["retry", "retry", "dead"]}


async def test_no_more_requests_are_made_in_a_second_than_an_endpoint_wants_of_all_dispatchers_together(
    stage: Stage, receiver: WebhookReceiver
) -> None:
    await stage.endpoint(receiver.url("/slow"), max_per_second=5)
    await stage.endpoint(receiver.url("/quick"))
    async with stage.dispatcher(), stage.dispatcher():
        began = int(time.time())
        for _ in range(15):
            await stage.say(a_message())
        await receiver.wait_for(15, lambda request: request.path == "/quick")
        await receiver.wait_for(15, lambda request: request.path == "/slow")
        await stage.nothing_waits()
    assert len(receiver.received) == 30
    slow = sorted(request.at for request in receiver.at("/slow"))
    # Counted in whole seconds: five in the first one at most, ten in the first two.
    assert slow[5] >= began + 1
    assert slow[10] >= began + 2


def _same_partition(one: str, other: str) -> bool:
    return partition_of(one, DELIVERY_PARTITIONS) == partition_of(other, DELIVERY_PARTITIONS)
