"""From an event in the stream to a signed request at the receivers that asked for it, and to nobody else."""

import hashlib
import hmac
from datetime import UTC, datetime, timedelta

import msgspec
from standardwebhooks import Webhook

from kurir.contracts import events, streams, subjects
from kurir.contracts.content import Address
from kurir.contracts.records import EventFilter
from kurir.runtime.partitions import partition_of
from tests.support.conditions import until
from tests.support.dispatcher import Stage, a_message
from tests.support.webhook_receiver import Reply, WebhookReceiver


async def test_an_event_reaches_its_webhook_signed_in_both_ways(stage: Stage, receiver: WebhookReceiver) -> None:
    endpoint = await stage.endpoint(receiver.url("/hook"), headers={"Authorization": "Bearer mine"})
    async with stage.dispatcher():
        event = await stage.say(a_message(text="Grüße 😀"))
        (request,) = await receiver.wait_for(1)
        await stage.nothing_waits()
    secret = stage.secrets[endpoint.id]
    headers = dict(request.headers)
    assert Webhook(secret).verify(request.body, headers)
    assert headers["webhook-id"] == event.id
    by_body = hmac.new(secret.encode(), request.body, hashlib.sha256).hexdigest()
    assert headers["X-Webhook-Signature"] == by_body
    assert headers["X-Webhook-Event"] == "message.received"
    assert headers["Authorization"] == "Bearer mine"
    assert headers["Content-Type"] == "application/json"
    body = request.json()
    assert (body["event"], body["timestamp"]) == ("message.received", round(event.at.timestamp() * 1000))
    assert body["data"]["content"] == {"conversation": "Grüße 😀"}


async def test_every_attempt_is_in_the_audit_with_all_its_facts(stage: Stage, receiver: WebhookReceiver) -> None:
    receiver.on("/hook", Reply(200, b"thank you"))
    endpoint = await stage.endpoint(receiver.url("/hook"))
    async with stage.dispatcher():
        event = await stage.say(a_message())
        (attempt,) = await stage.attempts_until(1)
    assert (attempt.outcome, attempt.status, attempt.attempt) == ("delivered", 200, 1)
    assert (attempt.event_id, attempt.endpoint, attempt.tenant) == (event.id, endpoint.id, "t1")
    assert (attempt.response, attempt.address, attempt.url) == ("thank you", "127.0.0.1", endpoint.url)
    assert attempt.request_headers["webhook-id"] == event.id
    assert attempt.request_headers["webhook-signature"] == "***"


async def test_events_go_to_the_endpoints_that_ask_and_to_no_other_tenant(
    stage: Stage, receiver: WebhookReceiver
) -> None:
    await stage.endpoint(receiver.url("/all"), events=("*",))
    await stage.endpoint(receiver.url("/device"), events=("message.received",), device="d2")
    await stage.endpoint(receiver.url("/status"), events=("message.status",))
    await stage.endpoint(receiver.url("/under-way"), events=("send.message.*",))
    await stage.endpoint(receiver.url("/off"), active=False)
    await stage.endpoint(receiver.url("/stranger"), tenant="t2")
    now = datetime.now(UTC)
    async with stage.dispatcher():
        first = await stage.say(a_message(device="d1"))
        second = await stage.say(a_message(device="d2"))
        sending = await stage.say(
            events.MessageSending(id="m1-sending", tenant="t1", device="d1", at=now, message_id="m1", to="62")
        )
        sent = await stage.say(
            events.MessageStatusChanged(
                id="m1-sent", tenant="t1", device="d1", at=now, message_id="m1", to="62", status="sent"
            )
        )
        await receiver.wait_for(7)
        await stage.nothing_waits()
    told = {(request.path, request.header("webhook-id")) for request in receiver.received}
    assert told == {
        ("/all", first.id),
        ("/all", second.id),
        ("/all", sent.id),
        ("/device", second.id),
        ("/status", sent.id),
        ("/under-way", sending.id),
        ("/under-way", sent.id),
    }
    assert len(receiver.received) == 7


async def test_a_webhook_that_is_registered_while_running_hears_what_comes_next(
    stage: Stage, receiver: WebhookReceiver
) -> None:
    async with stage.dispatcher():
        await stage.endpoint(receiver.url("/hook"), payload="native")
        event = await stage.say(a_message())
        (request,) = await receiver.wait_for(1)
    assert request.header("webhook-id") == event.id
    assert request.json()["type"] == "messages.upsert"
    assert request.header("X-Webhook-Event") == "messages.upsert"


async def test_a_deleted_webhook_gets_nothing_more_and_the_audit_says_so(
    stage: Stage, receiver: WebhookReceiver
) -> None:
    receiver.on("/hook", Reply(500))
    endpoint = await stage.endpoint(receiver.url("/hook"))
    async with stage.dispatcher(retry_schedule="1,1,1,1,1"):
        await stage.say(a_message())
        await stage.attempts_until(1)
        await stage.endpoints.delete(f"t1.{endpoint.id}")
        await stage.nothing_waits()
    *before, last = [attempt.outcome for attempt in await stage.attempts()]
    assert (set(before), last) == ({"retry"}, "canceled")


async def test_what_is_no_event_is_kept_in_dead_and_holds_up_nobody(stage: Stage, receiver: WebhookReceiver) -> None:
    await stage.endpoint(receiver.url("/hook"))
    forged = events.encode(a_message(tenant="t2"))
    unknown_id = events.encode(a_message(id="a.b"))
    async with stage.dispatcher():
        for payload in (b"{", b"[]", forged, unknown_id):
            await stage.bus.publish(subjects.event("t1", "d1", "messages.upsert"), payload)
        event = await stage.say(a_message())
        (request,) = await receiver.wait_for(1)
        assert request.header("webhook-id") == event.id

        async def all_are_dead() -> bool:
            return len({stored.data for stored in await stage.dead()}) == 4

        await until("four messages are in DEAD", all_are_dead)
    assert len(receiver.received) == 1


async def test_an_event_too_large_to_become_a_delivery_is_kept_in_dead(stage: Stage, receiver: WebhookReceiver) -> None:
    await stage.endpoint(receiver.url("/hook"))
    head = events.encode(a_message())[:-1]
    # As large as the server takes, but for the headers that a message in DEAD gets; a delivery has more around it.
    size = stage.bus.nc.max_payload - 450
    event = head + b',"more":"' + b"a" * (size - len(head) - 10) + b'"}'
    async with stage.dispatcher():
        await stage.bus.publish(subjects.event("t1", "d1", "messages.upsert"), event)

        async def is_dead() -> bool:
            return [stored.data for stored in await stage.dead()] == [event]

        await until("the event is in DEAD", is_dead)
        await stage.say(a_message())
        await receiver.wait_for(1)


async def test_the_same_event_said_twice_is_delivered_once(stage: Stage, receiver: WebhookReceiver) -> None:
    await stage.endpoint(receiver.url("/hook"))
    async with stage.dispatcher():
        event = await stage.say(a_message())
        await stage.say(event)
        marker = await stage.say(a_message())
        await receiver.wait_for(1, where=lambda request: request.header("webhook-id") == marker.id)
        await stage.nothing_waits()
    assert [request.header("webhook-id") for request in receiver.received].count(event.id) == 1


async def test_the_trace_goes_from_the_event_to_the_request(stage: Stage, receiver: WebhookReceiver) -> None:
    await stage.endpoint(receiver.url("/hook"))
    receiver.on("/hook", Reply(500), Reply(204))
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    event = a_message()
    async with stage.dispatcher():
        await stage.bus.publish(
            subjects.event("t1", "d1", "messages.upsert"), events.encode(event), headers={"traceparent": trace}
        )
        requests = await receiver.wait_for(2)
    assert [request.header("traceparent") for request in requests] == [trace, trace]


async def test_while_too_much_waits_no_more_is_fanned_out_and_later_it_goes_on(
    stage: Stage, receiver: WebhookReceiver
) -> None:
    await stage.endpoint(receiver.url("/hook"))
    receiver.on("/hook", Reply(500))
    async with stage.dispatcher(retry_schedule="2,2", max_pending_deliveries=1):
        await stage.say(a_message())
        await stage.attempts_until(1)
        # The retry waits in DELIVERIES, which is all that may wait there.
        first = await stage.bus.js.consumer_info(streams.EVENTS.name, streams.FANOUT_CONSUMER)
        receiver.on("/hook", Reply(204))
        await stage.say(a_message())
        assert first.num_pending == 0
        await receiver.wait_for(3)


async def test_a_message_that_is_no_delivery_is_kept_in_dead(stage: Stage, receiver: WebhookReceiver) -> None:
    endpoint = await stage.endpoint(receiver.url("/hook"))
    async with stage.dispatcher():
        event = await stage.say(a_message())
        await receiver.wait_for(1)
        subject = subjects.delivery(partition_of(endpoint.id, subjects.DELIVERY_PARTITIONS), endpoint.id)
        await stage.bus.publish(subject, b'{"id":1}')
        await stage.nothing_waits()
        assert [stored.data for stored in await stage.dead()] == [b'{"id":1}']
    assert event.id == receiver.received[0].header("webhook-id")


async def test_a_webhook_to_an_inner_address_is_refused_and_retried_by_the_schedule(
    stage: Stage, receiver: WebhookReceiver
) -> None:
    await stage.endpoint(receiver.url("/hook"))
    async with stage.dispatcher(egress_allow="", retry_schedule="0.1"):
        await stage.say(a_message())
        first, last = await stage.attempts_until(2)
    assert (first.error, first.outcome, last.outcome) == ("guard", "retry", "dead")
    assert receiver.connections == 0


async def test_an_endpoint_whose_secret_ran_out_gets_nothing_unsigned(stage: Stage, receiver: WebhookReceiver) -> None:
    endpoint = await stage.endpoint(receiver.url("/hook"))
    past = datetime.now(UTC) - timedelta(seconds=1)
    expired = msgspec.structs.replace(endpoint.secrets[0], expires_at=past)
    await stage.endpoints.put(f"t1.{endpoint.id}", msgspec.structs.replace(endpoint, secrets=(expired,)))
    async with stage.dispatcher(retry_schedule=""):
        await stage.say(a_message())
        (attempt,) = await stage.attempts_until(1)
    assert (attempt.error, attempt.outcome) == ("secret", "dead")
    assert not receiver.received


async def test_a_filter_holds_back_what_its_endpoint_does_not_want(stage: Stage, receiver: WebhookReceiver) -> None:
    group = Address(jid="120363@g.us")
    await stage.endpoint(receiver.url("/group"), filter=EventFilter(chats=("120363@g.us",)))
    await stage.endpoint(receiver.url("/out"), filter=EventFilter(direction="out"))
    await stage.endpoint(receiver.url("/all"))
    async with stage.dispatcher():
        from_alice = await stage.say(a_message())
        in_group = await stage.say(a_message(chat=group, is_group=True))
        mine = await stage.say(a_message(from_me=True))
        await receiver.wait_for(5)
        await stage.nothing_waits()
    heard = {path: {one.header("webhook-id") for one in receiver.at(path)} for path in ("/group", "/out", "/all")}
    assert heard == {"/group": {in_group.id}, "/out": {mine.id}, "/all": {from_alice.id, in_group.id, mine.id}}
