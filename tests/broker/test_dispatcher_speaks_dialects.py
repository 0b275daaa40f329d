"""Webhooks in the words of other gateways: what is told of an event, in which bodies, to which URL, and to whom not."""

import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import msgspec

from kurir.contracts import events, ids
from kurir.contracts.content import Image, Media, Text
from kurir.contracts.records import Device, PayloadOptions, Session
from kurir.contracts.streams import MEDIA_BUCKET
from kurir.runtime.objects import ObjectStore
from kurir.runtime.registry import Registry
from tests.broker.test_dispatcher_replays import ended, order, replays_in
from tests.support.conditions import until
from tests.support.dispatcher import Stage, a_message
from tests.support.mongo_server import MongoServer
from tests.support.nats_server import NatsServer
from tests.support.webhook_receiver import Received, Reply, WebhookReceiver

AT = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)


async def a_paired_device(stage: Stage, **fields: Any) -> None:
    device = Device(id="d1", tenant="t1", name="CS", engine="sandbox", created_at=AT, updated_at=AT, **fields)
    session = Session(device="d1", tenant="t1", state="connected", at=AT, paired=True, jid="628111:7@s.whatsapp.net")
    for bucket, record in (("devices", device), ("sessions", session)):
        registry: Registry[Any] = Registry(stage.bus, bucket, type(record))
        await registry.start()
        await registry.put("t1.d1", record)
        await registry.stop()


def a_status(status: str, **fields: Any) -> events.MessageStatusChanged:
    return events.MessageStatusChanged(
        id=ids.uuid7(),
        tenant="t1",
        device="d1",
        at=AT,
        message_id="m1",
        to="628222@s.whatsapp.net",
        status=status,  # type: ignore[arg-type]
        **fields,
    )


async def test_evolution_gets_its_envelope_and_nothing_that_it_has_no_word_for(
    stage: Stage, receiver: WebhookReceiver
) -> None:
    await a_paired_device(stage, code="CS_HQ")
    options = PayloadOptions(sealed_key=stage.sealed("my key", "t1", "wh1"))
    endpoint = await stage.endpoint(
        receiver.url("/hook"), id="wh1", payload="evolution", events=(), signatures=("none",), payload_options=options
    )
    async with stage.dispatcher(public_url="https://kurir.example/"):
        await stage.say(a_status("undelivered"))
        message = await stage.say(a_message(at=AT, sent_at=AT, whatsapp_id="3EB0AA"))
        told = {request.json()["event"]: request for request in await receiver.wait_for(2)}
        await stage.nothing_waits()
        attempts = await stage.attempts()
    assert sorted(told) == ["chats.update", "messages.upsert"]
    assert told["messages.upsert"].json() == {
        "event": "messages.upsert",
        "instance": "CS_HQ",
        "data": {
            "key": {"remoteJid": "628111222333@s.whatsapp.net", "fromMe": False, "id": "3EB0AA"},
            "message": {"conversation": "Halo!"},
            "messageType": "conversation",
            "messageTimestamp": 1772452800,
            "owner": "CS_HQ",
            "source": "unknown",
        },
        "destination": endpoint.url,
        "date_time": "2026-03-02T12:00:00.000Z",
        "sender": "628111@s.whatsapp.net",
        "server_url": "https://kurir.example",
        "apikey": "my key",
    }
    assert {attempt.delivery for attempt in attempts} == {
        f"{message.id}~messages-upsert:wh1",
        f"{message.id}~chats-update:wh1",
    }
    request = told["messages.upsert"]
    assert request.header("webhook-id") == f"{message.id}~messages-upsert"
    assert request.header("webhook-signature") is None
    assert request.header("x-webhook-signature") is None


async def test_what_is_asked_for_in_the_words_of_evolution_is_told_and_nothing_else(
    stage: Stage, receiver: WebhookReceiver
) -> None:
    asked = ("SEND_MESSAGE", "SEND_MESSAGE_STATUS")
    await stage.endpoint(receiver.url("/hook"), payload="evolution", events=asked)
    async with stage.dispatcher():
        await stage.say(a_message())
        await stage.say(a_status("sent", whatsapp_id="3EB0BB", content=Text(text="Hi")))
        requests = await receiver.wait_for(2)
        await stage.nothing_waits()
    assert sorted(request.json()["event"] for request in requests) == ["send.message", "send.message.status"]
    assert len(receiver.received) == 2


async def test_each_thing_that_one_event_is_told_as_is_tried_by_itself(stage: Stage, receiver: WebhookReceiver) -> None:
    receiver.on("/hook/messages-update", Reply(500), Reply(204))
    options = PayloadOptions(by_events=True)
    asked = ("MESSAGES_UPDATE", "SEND_MESSAGE_STATUS")
    await stage.endpoint(receiver.url("/hook"), payload="evolution", events=asked, payload_options=options)
    async with stage.dispatcher():
        await stage.say(a_status("sent", whatsapp_id="3EB0BB"))
        requests = await receiver.wait_for(3)
        await stage.nothing_waits()
    paths = sorted(request.path for request in requests)
    assert paths == ["/hook/messages-update", "/hook/messages-update", "/hook/send-message-status"]
    first, again = [request for request in requests if request.path == "/hook/messages-update"]
    assert first.body == again.body
    assert first.header("webhook-id") == again.header("webhook-id")


async def test_in_order_too_an_event_is_told_as_all_that_it_is(stage: Stage, receiver: WebhookReceiver) -> None:
    await stage.endpoint(
        receiver.url("/hook"), payload="evolution", events=(), in_order=True, order_changed_at=datetime.now(UTC)
    )
    async with stage.dispatcher():
        for whatsapp_id in ("3EB01", "3EB02"):
            await stage.say(a_status("sent", whatsapp_id=whatsapp_id, content=Text(text="Hi")))
        requests = await receiver.wait_for(6)
    names = [request.json()["event"] for request in requests]
    assert names == ["send.message", "messages.update", "send.message.status"] * 2


async def test_a_replay_repeats_all_that_an_event_is_told_as_or_one_of_it(
    nats_server: NatsServer, mongo_server: MongoServer, receiver: WebhookReceiver
) -> None:
    async with Stage(nats_server, mongo_server.url) as stage:
        endpoint = await stage.endpoint(receiver.url("/hook"), payload="evolution", events=())
        async with stage.dispatcher():
            event = await stage.say(a_status("sent", whatsapp_id="3EB01", content=Text(text="Hi")))
            await receiver.wait_for(3)

            async def is_written() -> bool:
                one = await order(stage, endpoint, event_id=f"{event.id}~messages-update")
                return (await ended(stage, one)).replayed == 1

            await until("the event is in the history", is_written)
            await receiver.wait_for(4)
            await stage.nothing_waits()  # what is under way would be passed over
            everything = await order(stage, endpoint, since=AT, per_second=500)
            assert (await ended(stage, everything)).replayed == 3
            await receiver.wait_for(7)
    again = [request.json()["event"] for request in replays_in(receiver)]
    assert again[0] == "messages.update"
    assert sorted(again[1:]) == ["messages.update", "send.message", "send.message.status"]


async def test_a_file_comes_in_the_body_where_it_is_wanted(stage: Stage, receiver: WebhookReceiver) -> None:
    picture = b"\x89PNG" + bytes(200_000)
    media = await kept(stage, picture)
    large = await kept(stage, bytes(300_000))
    options = PayloadOptions(base64=True)
    await stage.endpoint(
        receiver.url("/hook"), payload="evolution", events=("MESSAGES_UPSERT",), payload_options=options
    )
    async with stage.dispatcher(inline_file_max_bytes=250_000):
        await stage.say(a_message(content=Image(media=media, caption="Hi"), whatsapp_id="small"))
        await stage.say(a_message(content=Image(media=large), whatsapp_id="large"))
        told = {one.json()["data"]["key"]["id"]: one.json()["data"]["message"] for one in await receiver.wait_for(2)}
    assert base64.b64decode(told["small"]["base64"]) == picture
    assert told["small"]["imageMessage"]["caption"] == "Hi"
    assert "base64" not in told["large"]
    assert told["large"]["imageMessage"]["url"].endswith("/media/" + large.object.partition("/")[2])


async def kept(stage: Stage, content: bytes) -> Media:
    async def source() -> AsyncIterator[bytes]:
        yield content

    name = f"t1/{ids.short_id('m')}"
    store = ObjectStore(stage.bus, MEDIA_BUCKET)
    await store.put_stream(name, source(), max_bytes=1_000_000)
    digest = hashlib.sha256(content).hexdigest()
    return Media(object=name, mimetype="image/png", size=len(content), sha256=digest)


async def test_a_key_for_tokens_signs_one_for_each_attempt_and_is_not_sent(
    stage: Stage, receiver: WebhookReceiver
) -> None:
    headers = {"jwt_key": "s3cret", "X-Mine": "yes"}
    await stage.endpoint(receiver.url("/hook"), payload="evolution", events=("MESSAGES_UPSERT",), headers=headers)
    async with stage.dispatcher():
        await stage.say(a_message())
        (request,) = await receiver.wait_for(1)
        (attempt,) = await stage.attempts_until(1)
    assert (request.header("jwt_key"), request.header("X-Mine")) == (None, "yes")
    claims = claims_of(request, b"s3cret")
    assert claims["exp"] - claims["iat"] == 600
    assert abs(claims["iat"] - request.at) < 60
    assert attempt.request_headers["Authorization"] == "***"


def claims_of(request: Received, key: bytes) -> dict[str, int]:
    scheme, _, token = (request.header("Authorization") or "").partition(" ")
    assert scheme == "Bearer"
    signed, _, signature = token.rpartition(".")
    expected = base64.urlsafe_b64encode(hmac.digest(key, signed.encode(), hashlib.sha256)).rstrip(b"=").decode()
    assert signature == expected
    head, claims = (json.loads(base64.urlsafe_b64decode(part + "==")) for part in signed.split("."))
    assert head == {"alg": "HS256", "typ": "JWT"}
    told: dict[str, int] = claims
    return told


async def test_fonnte_gets_flat_objects_at_the_urls_that_ask_for_them(stage: Stage, receiver: WebhookReceiver) -> None:
    await a_paired_device(stage)
    for word in ("incoming", "status", "device"):
        await stage.endpoint(receiver.url(f"/{word}"), payload="fonnte", events=(word,), signatures=("none",))
    async with stage.dispatcher():
        await stage.say(a_message(at=AT, sent_at=AT, message_id="in" + "0a" * 16))
        await stage.say(a_status("read", whatsapp_id="3EB0BB"))
        await stage.say(events.ConnectionUpdate(id="c1", tenant="t1", device="d1", at=AT, state="connecting"))
        await stage.say(events.ConnectionUpdate(id="c2", tenant="t1", device="d1", at=AT, state="connected"))
        told = {request.path: request.json() for request in await receiver.wait_for(3)}
        await stage.nothing_waits()
    assert len(receiver.received) == 3
    assert told["/incoming"]["device"] == "628111"
    assert (told["/incoming"]["sender"], told["/incoming"]["message"]) == ("628111222333", "Halo!")
    assert told["/incoming"]["inboxid"] == int("0a" * 6 + "0", 16)
    assert (told["/status"]["id"], told["/status"]["stateid"], told["/status"]["state"]) == ("m1", "3EB0BB", "read")
    assert told["/device"]["status"] == "connect"


async def test_an_event_that_cannot_be_read_ends_its_delivery_and_no_other(
    stage: Stage, receiver: WebhookReceiver
) -> None:
    await stage.endpoint(receiver.url("/native"), payload="native")
    await stage.endpoint(receiver.url("/evolution"), payload="evolution", events=())
    broken = a_message()
    body = msgspec.json.decode(events.encode(broken))
    body["content"] = {"kind": "hologram"}
    async with stage.dispatcher():
        await stage.bus.publish("kurir.evt.t1.d1.messages.upsert", msgspec.json.encode(body), msg_id=broken.id)
        (request,) = await receiver.wait_for(1)
        await until("the other delivery was given up", lambda: _is_dead(stage))
    assert request.path == "/native"


async def _is_dead(stage: Stage) -> bool:
    return len(await stage.dead()) == 1
