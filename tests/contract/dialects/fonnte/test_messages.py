"""What becomes of messages, asked by their numbers: over the history, as its writer writes it."""

import time
from collections.abc import AsyncIterator

import pytest

from kurir.api.messages import just_received
from kurir.contracts.events import MessageUpserted
from kurir.dialects.fonnte import numbers
from kurir.runtime.mongo import Mongo
from tests.contract.dialects.fonnte.conftest import Account, device_key
from tests.support.conditions import until
from tests.support.connected_devices import Gateway, running_gateway
from tests.support.mongo_server import MongoServer
from tests.support.nats_server import NatsServer


@pytest.fixture
async def mongo_url() -> AsyncIterator[str]:
    server = MongoServer()
    await server.start()
    try:
        yield server.url
    finally:
        await server.stop()


@pytest.fixture
async def gateway(nats_server: NatsServer, mongo_url: str) -> AsyncIterator[Gateway]:
    async with running_gateway(nats_server.url, mongo_url) as running:
        yield running


@pytest.fixture
async def history(mongo_url: str) -> AsyncIterator[Mongo]:
    mongo = Mongo.connect(mongo_url)
    try:
        yield mongo
    finally:
        await mongo.close()


async def status_of(account: Account, history: Mongo, number: str) -> str:
    await account.api.write_history(history)
    answer = await account.post("/status", data={"id": number})
    assert answer.status_code == 200, answer.text
    assert (answer.json()["id"], answer.json()["status"]) == (int(number), True)
    return str(answer.json()["message_status"])


@pytest.mark.shows("fonnte", "POST /status", "id", "answer.id", "answer.message_status", "answer.status")
@pytest.mark.shows("fonnte", "POST /reset-message", "id", "schedule", "delay", "byschedule", "answer.status")
@pytest.mark.shows("fonnte", "POST /delete-message", "id", "answer.detail", "answer.status")
async def test_a_message_is_followed_given_another_time_and_taken_back(account: Account, history: Mongo) -> None:
    sent = (await account.post("/send", {"target": "628123456789", "message": "x"})).json()["id"][0]
    assert await status_of(account, history, sent) == "sent"
    invalid = await account.post("/send", {"target": "628125550101,628123456789", "message": "x"})
    first, _ = invalid.json()["id"]

    async def is_invalid() -> bool:
        return await status_of(account, history, first) == "invalid"

    await until("the number is known to have no WhatsApp", is_invalid)
    at = int(time.time()) + 3600
    later = (await account.post("/send", {"target": "628123456789", "message": "x", "schedule": at})).json()["id"][0]
    assert await status_of(account, history, later) == "waiting"

    moved = await account.post("/reset-message", {"id": later, "schedule": at + 600})
    assert (moved.status_code, moved.json()["status"]) == (200, True), moved.text
    await account.api.write_history(history)
    found = (await account.tenant.get("/messages", params={"limit": 10})).json()["messages"]
    (waiting,) = [one for one in found if one["status"] == "SCHEDULED"]
    assert waiting["sendAt"].startswith(time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at + 600)))
    for wrong in ({"id": later}, {"id": later, "schedule": at, "byschedule": True}, {"id": later, "schedule": 1}):
        answer = await account.post("/reset-message", wrong)
        assert (answer.status_code, answer.json()["reason"]) == (400, "input invalid"), wrong

    stranger = await account.api.tenant()
    foreign = {"Authorization": await device_key(stranger, await stranger.device())}
    fields = {"id": later, "schedule": at}
    for path in ("/status", "/reset-message", "/delete-message"):
        answer = await account.api.http.post(path, json=fields, headers=foreign)
        assert (answer.status_code, answer.json()["reason"]) == (400, "invalid message id"), path
        unknown = await account.post(path, {"id": 99_999_999, "schedule": at})
        assert (unknown.status_code, unknown.json()["reason"]) == (400, "invalid message id"), path
        missing = await account.post(path, {})
        assert (missing.status_code, missing.json()["reason"]) == (400, "id required"), path

    deleted = await account.post("/delete-message", {"id": later})
    assert deleted.json() == {"detail": f"message {later} successfully deleted", "status": True}
    assert await status_of(account, history, later) == "canceled"
    too_late = await account.post("/delete-message", {"id": sent})
    assert (too_late.status_code, too_late.json()["reason"]) == (400, "cannot delete message with status sent")
    unmoved = await account.post("/reset-message", {"id": sent, "schedule": at})
    assert (unmoved.status_code, unmoved.json()["reason"]) == (400, "cannot reschedule message with status sent")


async def test_an_unknown_inbox_number_is_told(account: Account) -> None:
    unknown = await account.post("/send", {"target": "628123456789", "message": "x", "inboxid": 5})
    assert (unknown.status_code, unknown.json()["detail"]) == (400, "inboxid: there is no such message.")


async def test_an_older_received_message_is_quoted_too(
    account: Account, history: Mongo, monkeypatch: pytest.MonkeyPatch
) -> None:
    echo = "628125550114"
    await account.post("/send", {"target": echo, "message": "Hi"})

    async def received() -> MessageUpserted | None:
        return next((fact for _, fact in await account.api.events() if isinstance(fact, MessageUpserted)), None)

    async def has_come() -> bool:
        return await received() is not None

    await until("the contact has answered", has_come)
    monkeypatch.setattr(just_received, "RECENT_S", 0.0)
    fact = await received()
    assert fact is not None
    fields = {"target": echo, "message": "x", "inboxid": numbers.inbox_number(fact.message_id)}
    assert (await account.post("/send", fields)).status_code == 400
    await account.api.write_history(history)
    assert (await account.post("/send", fields)).status_code == 200
