"""Evolution's webhooks and websocket, from the instance's own settings to who listens."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import socketio

from tests.contract.dialects.evolution.conftest import INSTANCE, NAME, NOBODY_THERE, PUBLIC_URL, Evolution
from tests.support.api_server import MASTER_KEY
from tests.support.conditions import until
from tests.support.connected_devices import Gateway, running_gateway
from tests.support.dispatcher import Stage
from tests.support.nats_server import NatsServer
from tests.support.webhook_receiver import WebhookReceiver

ECHO = "628125550114"  # answers what it is told
REFUSED_ONCE = "628125550113"
PHONE = "628111222333"


@pytest.fixture
async def gateway(nats_server: NatsServer) -> AsyncIterator[Gateway]:
    settings = {"default_engine": "sandbox", "public_url": PUBLIC_URL, "egress_allow": "127.0.0.1/32"}
    async with (
        running_gateway(nats_server.url, **settings) as running,
        Stage(nats_server) as stage,
        stage.dispatcher(master_key=MASTER_KEY, public_url=PUBLIC_URL),
    ):
        yield running


class Told:
    """What the receiver was told of, by the names of events."""

    def __init__(self, receiver: WebhookReceiver) -> None:
        self._receiver = receiver

    def of(self, event: str) -> list[dict[str, Any]]:
        bodies = [request.json() for request in self._receiver.received]
        return [body["data"] for body in bodies if body["event"] == event]

    async def first(self, event: str, **fields: Any) -> dict[str, Any]:
        def found() -> list[dict[str, Any]]:
            return [data for data in self.of(event) if all(data.get(name) == value for name, value in fields.items())]

        await until(f"{event} {fields}", lambda: bool(found()), within_s=30, seen=lambda: self.of(event))
        return found()[0]


@pytest.mark.shows(NAME, "webhook connection.update", "QR", "connecting", "open", "close")
@pytest.mark.shows(NAME, "webhook messages.upsert", "data")
@pytest.mark.shows(NAME, "webhook send.message.status", "sent", "failed", "retry")
async def test_an_instance_s_webhook_tells_its_life_its_messages_and_what_became_of_them(evolution: Evolution) -> None:
    async with WebhookReceiver() as receiver:
        told = Told(receiver)
        await evolution.connected(webhook=receiver.url("/hook"), events=[])
        qr = await told.first("qrcode.updated")
        assert qr["qrcode"]["base64"].startswith("data:image/png;base64,")
        assert (await told.first("connection.update", state="connecting"))["instance"] == INSTANCE
        assert (await told.first("connection.update", state="open"))["wuid"] == f"{PHONE}@s.whatsapp.net"

        body = {"number": ECHO, "textMessage": {"text": "Hi"}}
        answer = (await evolution.post(f"/message/sendText/{INSTANCE}", body)).json()
        status = await told.first("send.message.status", status="sent")
        assert status["key"] == (await told.first("send.message"))["key"] == answer["key"]
        assert (await told.first("messages.update", status="SERVER_ACK"))["id"] == answer["key"]["id"]
        await told.first("messages.update", status="DELIVERY_ACK")
        received = await told.first("messages.upsert")
        assert received["message"]["extendedTextMessage"]["text"] == "You wrote: Hi"
        assert received["contextInfo"]["stanzaId"] == answer["key"]["id"]
        assert received["key"]["remoteJid"] == f"{ECHO}@s.whatsapp.net"

        body = {"number": NOBODY_THERE, "textMessage": {"text": "Hi"}}
        await evolution.post(f"/message/sendText/{INSTANCE}", body)
        failed = await told.first("send.message.status", status="failed")
        assert (failed["number"], failed["error"]["code"]) == (NOBODY_THERE, "NUMBER_NOT_ON_WHATSAPP")

        body = {"number": REFUSED_ONCE, "textMessage": {"text": "Hi"}}
        await evolution.post(f"/message/sendText/{INSTANCE}", body)
        retried = await told.first("send.message.status", status="retry")
        assert retried["number"] == REFUSED_ONCE
        assert (await told.first("send.message.status", status="sent", number=REFUSED_ONCE))["attempt"] == 2

        assert (await evolution.delete(f"/instance/logout/{INSTANCE}")).status_code == 200
        await told.first("connection.update", state="close")
        (envelope, *_) = [request.json() for request in receiver.received]
        assert (envelope["instance"], envelope["server_url"]) == (INSTANCE, PUBLIC_URL)
        assert envelope["destination"] == receiver.url("/hook")
        assert not [request for request in receiver.received if request.header("webhook-signature")]


@pytest.mark.shows(NAME, "POST /webhook/set/{instance}", "events", "webhook_by_events")
async def test_only_the_events_that_were_set_come_each_to_its_own_url(evolution: Evolution) -> None:
    async with WebhookReceiver() as receiver:
        await evolution.connected()
        asked = {"enabled": True, "url": receiver.url("/hook"), "webhook_by_events": True, "events": ["SEND_MESSAGE"]}
        answer = await evolution.post(f"/webhook/set/{INSTANCE}", asked)
        assert answer.status_code == 201, answer.text
        body = {"number": "6281234567", "textMessage": {"text": "Hi"}}
        await evolution.post(f"/message/sendText/{INSTANCE}", body)
        (request,) = await receiver.wait_for(1)
        assert (request.path, request.json()["event"]) == ("/hook/send-message", "send.message")
        assert request.json()["data"]["message"] == {"conversation": "Hi"}


@pytest.mark.shows(NAME, "websocket /socket.io", "apikey", "namespace /{instanceName}", "event", "payload")
async def test_an_instance_s_namespace_tells_what_its_websocket_settings_let_through(evolution: Evolution) -> None:
    await evolution.connected()
    asked = {"enabled": True, "events": ["SEND_MESSAGE"]}
    assert (await evolution.post(f"/websocket/set/{INSTANCE}", asked)).status_code == 201
    client = socketio.AsyncClient(reconnection=False)
    heard: list[tuple[str, Any]] = []
    client.on("*", lambda event, body: heard.append((event, body)), namespace=f"/{INSTANCE}")
    await client.connect(
        evolution.gateway.api.url, namespaces=[f"/{INSTANCE}"], auth={"apikey": evolution.key}, wait_timeout=30
    )
    try:
        body = {"number": ECHO, "textMessage": {"text": "Hi"}}
        await evolution.post(f"/message/sendText/{INSTANCE}", body)
        await until("it is told", lambda: bool(heard), within_s=30)
    finally:
        await client.disconnect()
    assert [event for event, _ in heard] == ["send.message"]
    assert (heard[0][1]["instance"], heard[0][1]["data"]["message"]) == (INSTANCE, {"conversation": "Hi"})
