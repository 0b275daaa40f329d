"""What becomes of an endpoint is an event: told to the tenant's other endpoints, once, and never to itself."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from kurir.contracts import events, streams, subjects
from kurir.contracts.events import EndpointDisabled, EndpointExhausted, EndpointFailing, EndpointRecovered
from kurir.contracts.records import Endpoint
from tests.support.conditions import until
from tests.support.dispatcher import Stage, a_message
from tests.support.webhook_receiver import Received, Reply, WebhookReceiver


def told_at(receiver: WebhookReceiver, path: str) -> list[tuple[str, str]]:
    """Type and endpoint of each event about an endpoint that arrived at this path."""
    bodies = [request.json() for request in receiver.at(path)]
    return [(body["event"], body["data"]["endpoint"]) for body in bodies if body["event"].startswith("endpoint.")]


async def told(stage: Stage) -> list[Any]:
    """Events about endpoints in the stream, in order."""
    stored = await stage.bus.read_from(streams.EVENTS.name, "kurir.evt.*.*.endpoint.*", 1, 1_000)
    return [events.decode(subjects.parse_event(one.subject).type, one.data) for one in stored]


async def fails_in_a_row(stage: Stage, endpoint: Endpoint, count: int = 3) -> None:
    for _ in range(count):
        await stage.say(a_message())

    def is_told() -> bool:
        state = stage.states.get(f"t1.{endpoint.id}")
        return state is not None and state.last_told == "failing"

    await until("it is told that the endpoint fails", is_told)


async def test_failing_and_recovered_are_told_to_the_others_once_each(stage: Stage, receiver: WebhookReceiver) -> None:
    bad = await stage.endpoint(receiver.url("/bad?token=secret"))
    await stage.endpoint(receiver.url("/other"))
    await stage.endpoint(receiver.url("/elsewhere"), tenant="t2")
    receiver.on("/bad", Reply(500))
    settings = {"retry_schedule": "1,1,1,1,1", "circuit_threshold": 3, "circuit_first_s": 0.2, "circuit_longest_s": 0.2}
    async with stage.dispatcher(**settings), stage.dispatcher(**settings):
        await fails_in_a_row(stage, bad, 12)
        receiver.on("/bad", Reply(204))
        await receiver.wait_for(1, lambda request: ("endpoint.recovered", bad.id) in told_at(receiver, "/other"))
        await stage.nothing_waits()
    failing, recovered = await told(stage)
    assert isinstance(failing, EndpointFailing)
    assert isinstance(recovered, EndpointRecovered)
    assert (failing.endpoint, failing.host, failing.error, failing.status) == (bad.id, "127.0.0.1", "http_5xx", 500)
    assert failing.failures >= 3
    assert recovered.failing_since == failing.failing_since < recovered.at
    assert told_at(receiver, "/other") == [("endpoint.failing", bad.id), ("endpoint.recovered", bad.id)]
    assert told_at(receiver, "/bad") == told_at(receiver, "/elsewhere") == []
    assert b"secret" not in b"".join(request.body for request in receiver.at("/other"))


async def test_single_failures_are_told_to_nobody(stage: Stage, receiver: WebhookReceiver) -> None:
    bad = await stage.endpoint(receiver.url("/bad"))
    receiver.on("/bad", Reply(500), Reply(500), Reply(204))
    async with stage.dispatcher(retry_schedule="1.5,1.5"):
        await stage.say(a_message())
        await until("it is known to fail", lambda: stage.states.get(f"t1.{bad.id}") is not None)
        await stage.nothing_waits()
        await until("it is well", lambda: (s := stage.states.get(f"t1.{bad.id}")) is not None and not s.failing_since)
    assert await told(stage) == []


async def test_what_is_given_up_is_told_once_with_how_much_it_is(stage: Stage, receiver: WebhookReceiver) -> None:
    bad = await stage.endpoint(receiver.url("/bad"))
    await stage.endpoint(receiver.url("/other"))
    receiver.on("/bad", Reply(503))
    async with stage.dispatcher(retry_schedule="", circuit_threshold=100):
        for _ in range(20):
            await stage.say(a_message())
        await receiver.wait_for(1, lambda request: bool(told_at(receiver, "/other")))
        await stage.nothing_waits()
    (exhausted,) = await told(stage)
    assert isinstance(exhausted, EndpointExhausted)
    assert (exhausted.endpoint, exhausted.attempts, exhausted.error) == (bad.id, 1, "http_503")
    assert 1 <= exhausted.dead <= 20
    assert len(await stage.dead()) == 20
    assert told_at(receiver, "/other") == [("endpoint.exhausted", bad.id)]


async def test_two_endpoints_that_fail_do_not_tell_of_each_other_for_ever(
    stage: Stage, receiver: WebhookReceiver
) -> None:
    pair = [await stage.endpoint(receiver.url(path)) for path in ("/one", "/two")]
    receiver.default = Reply(500)
    async with stage.dispatcher(retry_schedule="0.1", circuit_threshold=1, circuit_first_s=0.1, circuit_longest_s=0.1):
        await stage.say(a_message())

        async def is_said() -> bool:
            return len(await told(stage)) >= 4

        await until("both are told of", is_said, within_s=30)
        await stage.nothing_waits()
    said = [(type(event), event.endpoint) for event in await told(stage)]
    assert len(said) == len(set(said)) == 4, "of each endpoint that it fails and that something was given up"
    assert {endpoint for _, endpoint in said} == {one.id for one in pair}


async def test_a_disabled_endpoint_is_told_of_and_so_is_its_return(stage: Stage, receiver: WebhookReceiver) -> None:
    gone = await stage.endpoint(receiver.url("/gone"), device="d1")
    await stage.endpoint(receiver.url("/other"), device="d1")
    await stage.endpoint(receiver.url("/another"), device="d2")
    receiver.on("/gone", Reply(410))
    async with stage.dispatcher():
        await stage.say(a_message())
        await receiver.wait_for(1, lambda request: bool(told_at(receiver, "/other")))
        receiver.on("/gone", Reply(204))
        key = f"t1.{gone.id}"
        await until("its state is known", lambda: stage.states.get(key) is not None)
        state = stage.states.get(key)
        assert state is not None
        later = state.at + timedelta(milliseconds=1)
        await stage.endpoints.put(key, msgspec.structs.replace(gone, updated_at=later))

        async def hears_again() -> bool:
            await stage.say(a_message())
            return len(receiver.at("/gone")) > 1

        await until("the endpoint hears again", hears_again)
        await receiver.wait_for(1, _is("endpoint.recovered"))
        await stage.nothing_waits()
    disabled, recovered = await told(stage)
    assert isinstance(disabled, EndpointDisabled)
    assert (disabled.device, disabled.reason, disabled.status) == ("d1", "The endpoint answered 410 Gone.", 410)
    assert isinstance(recovered, EndpointRecovered)
    assert told_at(receiver, "/other") == [("endpoint.disabled", gone.id), ("endpoint.recovered", gone.id)]
    assert receiver.at("/another") == [], "another device's endpoint hears nothing of it"


async def test_an_endpoint_in_order_hears_of_others_and_not_of_itself(stage: Stage, receiver: WebhookReceiver) -> None:
    now = datetime.now(UTC) - timedelta(seconds=1)
    in_order = await stage.endpoint(receiver.url("/in-order"), in_order=True, order_changed_at=now)
    bad = await stage.endpoint(receiver.url("/bad"))
    receiver.on("/bad", Reply(500))
    receiver.on("/in-order", Reply(500), Reply(500), Reply(500), Reply(204))
    async with stage.dispatcher(retry_schedule="0.7,0.7,0.7", circuit_threshold=3):
        await fails_in_a_row(stage, bad)

        async def is_said_of_itself() -> bool:
            return [type(event) for event in await told(stage) if event.endpoint == in_order.id] == [
                EndpointFailing,
                EndpointRecovered,
            ]

        await until("it is said that it failed and recovered", is_said_of_itself)
        last = await stage.say(a_message())
        await receiver.wait_for(
            1, lambda request: request.path == "/in-order" and request.header("webhook-id") == last.id
        )
    assert told_at(receiver, "/in-order") == [("endpoint.failing", bad.id)]


def _is(type_: str) -> Any:
    def is_it(request: Received) -> bool:
        return bool(request.json()["event"] == type_)

    return is_it
