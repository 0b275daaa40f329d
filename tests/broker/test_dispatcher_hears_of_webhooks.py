"""What the api has confirmed of a webhook holds for every event that is stored afterwards, however soon."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from nats.aio.msg import Msg

from kurir.contracts import events, ids, streams, subjects
from kurir.contracts.content import Address
from kurir.contracts.deliveries import Delivery
from kurir.runtime.broker import BrokerUnavailable
from kurir.runtime.bucket_watch import BucketWatch
from kurir.runtime.partitions import partition_of
from kurir.runtime.progress import pending
from tests.support.api_server import MASTER_KEY, Client, running_api
from tests.support.conditions import until
from tests.support.dispatcher import Stage, a_message
from tests.support.nats_server import NatsServer
from tests.support.webhook_receiver import WebhookReceiver

WEBHOOKS = 100
AT_ONCE = 20
CHANGES = 20
LATE_S = 0.02


@pytest.fixture(autouse=True)
def news_come_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the api writes reaches the dispatcher some time after the events do, as on a machine with much to do."""
    receive = BucketWatch._receive

    async def receive_late(watch: BucketWatch, message: Msg) -> None:
        await asyncio.sleep(LATE_S)
        await receive(watch, message)

    monkeypatch.setattr(BucketWatch, "_receive", receive_late)


@pytest.fixture
async def stage(nats_server: NatsServer) -> AsyncIterator[Stage]:
    async with Stage(nats_server) as stage, stage.dispatcher(master_key=MASTER_KEY):
        yield stage


@pytest.fixture
async def tenant(nats_server: NatsServer, stage: Stage) -> AsyncIterator[Client]:
    async with running_api(nats_server.url, egress_allow="127.0.0.1/32") as api:
        yield await api.tenant(maxEndpoints=WEBHOOKS)


async def made(tenant: Client, url: str, **fields: Any) -> str:
    answer = await tenant.post("/webhooks", json={"url": url, "events": ["message.received"], **fields})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


async def changed(tenant: Client, webhook: str, **fields: Any) -> None:
    answer = await tenant.patch(f"/webhooks/{webhook}", json=fields)
    assert answer.status_code == 200, answer.text


async def said(stage: Stage, tenant: Client, number: int) -> str:
    """An event in a chat of its own."""
    jid = f"62811{number:08}@s.whatsapp.net"
    event = await stage.say(a_message(tenant.id, chat=Address(jid=jid, pn=jid)))
    return event.id


async def is_judged(stage: Stage, webhook: str, in_order: bool) -> bool:
    """Whether nothing waits to be made deliveries of, nor for the webhook's line."""
    if await pending(stage.bus, streams.EVENTS.name, streams.FANOUT_CONSUMER):
        return False
    try:
        return not in_order or not await pending(stage.bus, streams.EVENTS.name, streams.in_order_consumer(webhook))
    except BrokerUnavailable:  # a line that is off may have no consumer
        return True


async def test_the_event_right_after_the_answer_reaches_a_new_webhook(
    stage: Stage, tenant: Client, receiver: WebhookReceiver
) -> None:
    async def make_and_say(number: int) -> tuple[str, str]:
        await made(tenant, receiver.url(f"/{number}"), filter={"chats": [f"62811{number:08}"]})
        return f"/{number}", await said(stage, tenant, number)

    expected = set()
    for start in range(0, WEBHOOKS, AT_ONCE):
        expected |= set(await asyncio.gather(*(make_and_say(start + number) for number in range(AT_ONCE))))
    await receiver.wait_for(WEBHOOKS)
    assert {(request.path, request.header("webhook-id")) for request in receiver.received} == expected


@pytest.mark.parametrize("in_order", [False, True])
async def test_the_event_right_after_a_change_meets_the_webhook_as_it_now_is(
    stage: Stage, tenant: Client, receiver: WebhookReceiver, in_order: bool
) -> None:
    webhook = await made(tenant, receiver.url("/hook"), inOrder=in_order)
    await changed(tenant, webhook, active=False)
    expected = []
    for number in range(CHANGES):
        await changed(tenant, webhook, active=True, events=["message.received"])
        expected.append(await said(stage, tenant, number))
        await receiver.wait_for(len(expected))  # what is not sent yet when a webhook is turned off is not sent
        is_off = in_order or number % 2  # what a line in order hears of is changed at its consumer
        await changed(tenant, webhook, **({"active": False} if is_off else {"events": ["message.status"]}))
        await said(stage, tenant, number)
        await until("it was judged while the webhook did not want it", lambda: is_judged(stage, webhook, in_order))
    assert [request.header("webhook-id") for request in receiver.received] == expected


async def test_what_another_dispatcher_made_of_an_event_after_a_webhook_was_turned_on_is_sent(
    stage: Stage, tenant: Client, receiver: WebhookReceiver
) -> None:
    webhook = await made(tenant, receiver.url("/hook"))
    partition = partition_of(webhook, subjects.DELIVERY_PARTITIONS)
    for number in range(CHANGES):
        await changed(tenant, webhook, active=False)
        await changed(tenant, webhook, active=True)
        event = a_message(tenant.id)
        delivery = Delivery(
            id=ids.delivery_id(event.id, webhook),
            tenant=tenant.id,
            device=event.device,
            endpoint=webhook,
            event_id=event.id,
            event_type=events.type_of(event),
            event=msgspec.Raw(events.encode(event)),
            stream_seq=0,
            first_at=event.at,
        )
        await stage.bus.publish(subjects.delivery(partition, webhook), msgspec.json.encode(delivery))
        await receiver.wait_for(number + 1)
