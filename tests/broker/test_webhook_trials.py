"""A tenant tries out a webhook: a sample arrives at once, and the answer tells how that went."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from kurir.webhook_dispatcher.webhook_tests import AT_ONCE_OF_TENANT
from tests.support.api_server import Api, Client, running_api
from tests.support.conditions import until
from tests.support.dispatcher import Stage, a_message
from tests.support.nats_server import NatsServer
from tests.support.webhook_receiver import Reply, WebhookReceiver


@pytest.fixture
async def api(nats_server: NatsServer, stage: Stage) -> AsyncIterator[Api]:
    async with running_api(nats_server.url) as running:
        yield running


async def a_webhook(stage: Stage, tenant: Client, url: str, **fields: object) -> str:
    """One that the api knows of."""
    endpoint = await stage.endpoint(url, tenant=tenant.id, **fields)

    async def is_known() -> bool:
        return (await tenant.get(f"/webhooks/{endpoint.id}")).status_code == 200

    await until("the api knows the webhook", is_known)
    return endpoint.id


async def test_a_sample_arrives_signed_and_marked_and_its_outcome_is_the_answer(
    api: Api, stage: Stage, receiver: WebhookReceiver
) -> None:
    tenant = await api.tenant()
    webhook = await a_webhook(stage, tenant, receiver.url("/hook"))
    receiver.on("/hook", Reply(200, b"thank you"))
    async with stage.dispatcher():
        ping = (await tenant.post(f"/webhooks/{webhook}/test")).json()
        message = (await tenant.post(f"/webhooks/{webhook}/test", json={"event": "message.received"})).json()
        await stage.attempts_until(2)
    first, second = receiver.received
    assert (ping["outcome"], ping["httpStatus"], ping["response"], ping["isTest"]) == (
        "delivered",
        200,
        "thank you",
        True,
    )
    assert (first.json()["event"], first.header("X-Webhook-Test"), first.header("webhook-id")) == (
        "ping",
        "true",
        ping["eventId"],
    )
    assert second.json()["data"]["content"] == {"conversation": "Halo!"}
    assert message["eventId"].startswith("test_")
    assert first.header("webhook-signature") is not None
    assert message["requestHeaders"]["webhook-signature"] == "***"
    assert [attempt.is_test for attempt in await stage.attempts()] == [True, True]


async def test_a_failed_test_tells_why_and_has_no_consequences(
    api: Api, stage: Stage, receiver: WebhookReceiver
) -> None:
    tenant = await api.tenant()
    webhook = await a_webhook(stage, tenant, receiver.url("/hook"))
    nowhere = await a_webhook(stage, tenant, "http://127.0.0.1:9/")
    receiver.on("/hook", Reply(410, b"no more"))
    async with stage.dispatcher(circuit_threshold=1):
        gone = (await tenant.post(f"/webhooks/{webhook}/test")).json()
        refused = (await tenant.post(f"/webhooks/{nowhere}/test")).json()
        receiver.on("/hook", Reply(204))
        await stage.say(a_message(tenant.id))
        await receiver.wait_for(2)
    assert (gone["outcome"], gone["httpStatus"], gone["error"]) == ("failed", 410, "http_410")
    assert (refused["outcome"], refused["httpStatus"], refused["error"]) == ("failed", None, "connect")
    assert await stage.dead() == []


async def test_a_webhook_that_is_left_alone_is_tested_and_goes_on_when_that_succeeds(
    api: Api, stage: Stage, receiver: WebhookReceiver
) -> None:
    tenant = await api.tenant()
    webhook = await a_webhook(stage, tenant, receiver.url("/hook"))
    off = await a_webhook(stage, tenant, receiver.url("/off"), active=False)
    receiver.on("/hook", Reply(500))
    async with stage.dispatcher(retry_schedule="0.5,3600", circuit_threshold=1, circuit_first_s=600):
        event = await stage.say(a_message(tenant.id))
        await stage.attempts_until(1)
        receiver.on("/hook", Reply(204))
        assert (await tenant.post(f"/webhooks/{webhook}/test")).json()["outcome"] == "delivered"
        await receiver.wait_for(2, lambda request: request.header("webhook-id") == event.id)
        assert (await tenant.post(f"/webhooks/{off}/test")).json()["outcome"] == "delivered"


async def test_what_cannot_be_tested_is_refused(api: Api, stage: Stage, receiver: WebhookReceiver) -> None:
    tenant, other = await api.tenant(), await api.tenant()
    webhook = await a_webhook(stage, tenant, receiver.url("/hook"))
    nobody = await tenant.post(f"/webhooks/{webhook}/test")
    assert (nobody.status_code, nobody.json()["code"]) == (503, "SERVICE_UNAVAILABLE")
    async with stage.dispatcher():
        unknown = await tenant.post(f"/webhooks/{webhook}/test", json={"event": "message.recieved"})
        foreign = await other.post(f"/webhooks/{webhook}/test")
    assert (unknown.status_code, unknown.json()["field"]) == (400, "event")
    assert (foreign.status_code, foreign.json()["code"]) == (404, "WEBHOOK_NOT_FOUND")
    assert receiver.received == []


async def test_a_tenant_whose_tests_hang_leaves_room_for_others(
    api: Api, stage: Stage, receiver: WebhookReceiver
) -> None:
    tenant, other = await api.tenant(), await api.tenant()
    hangs = await a_webhook(stage, tenant, receiver.url("/hangs"))
    webhook = await a_webhook(stage, other, receiver.url("/hook"))
    answers = asyncio.Event()
    receiver.on("/hangs", Reply(204, after=answers))
    async with stage.dispatcher():
        asking = [asyncio.create_task(tenant.post(f"/webhooks/{hangs}/test")) for _ in range(AT_ONCE_OF_TENANT)]
        await receiver.wait_for(AT_ONCE_OF_TENANT)
        refused = await tenant.post(f"/webhooks/{hangs}/test")
        taken = await other.post(f"/webhooks/{webhook}/test")
        answers.set()
        ended = [(await one).json()["outcome"] for one in asking]
        again = await tenant.post(f"/webhooks/{hangs}/test")
    assert (refused.status_code, refused.json()["code"], refused.headers["retry-after"]) == (
        429,
        "TOO_MANY_REQUESTS",
        "2",
    )
    assert taken.json()["outcome"] == "delivered"
    assert ended == ["delivered"] * AT_ONCE_OF_TENANT
    assert again.json()["outcome"] == "delivered"


async def test_tests_of_a_dispatcher_that_ends_are_finished(api: Api, stage: Stage, receiver: WebhookReceiver) -> None:
    tenant = await api.tenant()
    webhook = await a_webhook(stage, tenant, receiver.url("/slow"))
    receiver.on("/slow", Reply(200, delay_s=1.0))
    async with stage.dispatcher() as life:
        asking = asyncio.create_task(tenant.post(f"/webhooks/{webhook}/test"))
        await receiver.wait_for(1)
        life.stop()
        answer = await asking
    assert answer.json()["outcome"] == "delivered"
    assert len(await stage.attempts()) == 1
