"""`undeliveredAfter` of a device, and the status that it leads to, as tenants see them."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from kurir.contracts.events import MessageStatusChanged
from kurir.runtime.mongo import Mongo
from tests.support.api_server import Api, fact_of, running_api
from tests.support.mongo_server import MongoServer
from tests.support.nats_server import NatsServer


@pytest.fixture
async def api(nats_server: NatsServer, mongo_server: MongoServer) -> AsyncIterator[Api]:
    async with running_api(nats_server.url, mongo_server.url) as running:
        yield running


async def test_the_time_is_off_at_first_and_can_be_set_changed_and_switched_off(api: Api) -> None:
    tenant = await api.tenant()
    made = (await tenant.post("/devices", json={"name": "CS", "engine": "sandbox"})).json()
    assert made["undeliveredAfter"] is None
    path = f"/devices/{made['id']}"
    for seconds in (60, 86_400, None):
        changed = await tenant.patch(path, json={"undeliveredAfter": seconds})
        assert (changed.status_code, changed.json()["undeliveredAfter"]) == (200, seconds)
    with_it = await tenant.post("/devices", json={"name": "OTP", "engine": "sandbox", "undeliveredAfter": 120})
    assert (await tenant.get(f"/devices/{with_it.json()['id']}")).json()["undeliveredAfter"] == 120


@pytest.mark.parametrize("seconds", [59, 86_401, 0, -1, 90.5, "soon"])
async def test_a_time_that_cannot_be_kept_is_refused_and_named(api: Api, seconds: object) -> None:
    tenant = await api.tenant()
    refused = await tenant.post("/devices", json={"name": "CS", "undeliveredAfter": seconds})
    assert (refused.status_code, refused.json()["code"]) == (400, "VALIDATION_ERROR")
    assert "undeliveredAfter" in refused.text


async def test_a_message_is_undelivered_until_a_receipt_comes(api: Api, mongo_server: MongoServer) -> None:
    tenant = await api.tenant()
    device = await tenant.device()
    accepted = (await tenant.send(device)).json()
    mongo = Mongo.connect(mongo_server.url)
    queued = (await api.events())[-1]

    async def tell(seq: int, status: str, **more: object) -> dict[str, object]:
        fact = MessageStatusChanged(
            id=f"{accepted['id']}-{status}",
            tenant=queued[1].tenant,
            device=device,
            at=datetime.now(UTC),
            message_id=accepted["id"],
            status=status,  # type: ignore[arg-type]
            to=accepted["to"],
            whatsapp_id="3EB0AA",
            **more,  # type: ignore[arg-type]
        )
        await mongo.insert_facts("events", [fact_of(seq, fact)])
        answer: dict[str, object] = (await tenant.get(f"/messages/{accepted['id']}")).json()
        return answer

    try:
        await api.write_history(mongo)
        assert (await tell(1001, "sent"))["status"] == "SENT"
        shown = await tell(1002, "undelivered", reason="no_receipt", detail="none in 60 s")
        assert shown["status"] == "UNDELIVERED"
        error = shown["error"]
        assert isinstance(error, dict)
        assert (error["code"], error["detail"]) == ("no_receipt", "none in 60 s")
        later = await tell(1003, "delivered")
        assert (later["status"], later["error"]) == ("DELIVERED", None)
    finally:
        await mongo.close()
