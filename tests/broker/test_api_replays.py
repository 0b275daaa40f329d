"""One delivery, or one event, is asked for again without naming a webhook, and comes."""

from collections.abc import AsyncIterator

import pytest

from kurir.runtime.mongo import Mongo
from tests.support.api_server import Api, Client, running_api
from tests.support.conditions import until
from tests.support.dispatcher import Stage, a_message
from tests.support.mongo_server import MongoServer
from tests.support.nats_server import NatsServer
from tests.support.webhook_receiver import WebhookReceiver


@pytest.fixture
async def stage(nats_server: NatsServer, mongo_server: MongoServer) -> AsyncIterator[Stage]:
    async with Stage(nats_server, mongo_server.url) as stage:
        yield stage


@pytest.fixture
async def api(stage: Stage) -> AsyncIterator[Api]:
    async with running_api(stage.nats_server.url, stage.mongo_url) as running:
        yield running


async def known_to_the_api(tenant: Client, count: int) -> None:
    async def are_known() -> bool:
        return len((await tenant.get("/webhooks")).json()) == count

    await until(f"the api knows {count} webhooks", are_known)


async def written(stage: Stage, event_id: str, attempts: int) -> None:
    """Return when the history has the event and that many attempts of it."""
    mongo = Mongo.connect(stage.mongo_url)

    async def are_there() -> bool:
        events = await mongo.find("events", {"_id": event_id}, limit=1)
        return bool(events) and len(await mongo.find("attempts", {"event_id": event_id}, limit=10)) == attempts

    await until("the history has it", are_there)
    await mongo.close()


def replayed_at(receiver: WebhookReceiver, path: str, event_id: str) -> int:
    return sum(
        request.header("webhook-id") == event_id and request.header("X-Webhook-Replay") == "true"
        for request in receiver.at(path)
    )


async def test_an_event_comes_again_to_every_webhook_that_asks_for_it(
    api: Api, stage: Stage, receiver: WebhookReceiver
) -> None:
    tenant, other = await api.tenant(), await api.tenant()
    for path, wanted in (("/one", ("*",)), ("/two", ("message.*",)), ("/not", ("call.update",))):
        await stage.endpoint(receiver.url(path), tenant=tenant.id, events=wanted)
    await stage.endpoint(receiver.url("/foreign"), tenant=other.id)
    await known_to_the_api(tenant, 3)
    async with stage.dispatcher():
        event = await stage.say(a_message(tenant.id))
        await receiver.wait_for(2)
        await written(stage, event.id, 2)
        await stage.nothing_waits()
        answer = await tenant.post(f"/events/{event.id}/replay")
        refused = await other.post(f"/events/{event.id}/replay")
        await receiver.wait_for(4)
        await stage.nothing_waits()
    replays = answer.json()
    assert (answer.status_code, [one["state"] for one in replays]) == (202, ["waiting", "waiting"])
    assert len({one["webhookId"] for one in replays}) == 2
    assert (refused.status_code, refused.json()["code"]) == (404, "NOT_FOUND")
    counts = [replayed_at(receiver, path, event.id) for path in ("/one", "/two", "/not", "/foreign")]
    assert counts == [1, 1, 0, 0]


async def test_one_delivery_comes_again_to_its_webhook_alone(api: Api, stage: Stage, receiver: WebhookReceiver) -> None:
    tenant, other = await api.tenant(), await api.tenant()
    webhook = await stage.endpoint(receiver.url("/one"), tenant=tenant.id)
    await stage.endpoint(receiver.url("/two"), tenant=tenant.id)
    await known_to_the_api(tenant, 2)
    async with stage.dispatcher():
        event = await stage.say(a_message(tenant.id))
        await receiver.wait_for(2)
        await written(stage, event.id, 2)
        await stage.nothing_waits()
        (attempt,) = (await tenant.get(f"/webhooks/{webhook.id}/attempts")).json()["attempts"]
        answer = await tenant.post(f"/deliveries/{attempt['delivery']}/replay")
        refused = [
            await other.post(f"/deliveries/{attempt['delivery']}/replay"),
            await tenant.post(f"/deliveries/{event.id}/replay"),
        ]
        await receiver.wait_for(3)
        await stage.nothing_waits()
    assert (answer.status_code, answer.json()["webhookId"]) == (202, webhook.id)
    assert [(one.status_code, one.json()["code"]) for one in refused] == [(404, "NOT_FOUND")] * 2
    assert [replayed_at(receiver, path, event.id) for path in ("/one", "/two")] == [1, 0]
