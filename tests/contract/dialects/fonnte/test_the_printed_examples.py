"""What the dashboard's document prints, sent and answered as printed, with a key of the form that it prints."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest

from kurir.api.legacy.fonnte.counts import MessageCounts
from kurir.contracts.records import ApiKey
from kurir.runtime import secrets
from kurir.runtime.registry import Registry
from tests.contract.dialects.fonnte.conftest import Account
from tests.support.connected_devices import Gateway, running_gateway
from tests.support.nats_server import NatsServer
from tests.support.printed_examples import assert_as_printed, example, file_of
from tests.support.web_site import WebSite

NAME = "fonnte"
KEY = "wa_f1e2d3c4b5a697887766554433221100"
PHONE = "628123456789"
PUBLIC_URL = "https://waapi.hsblink.web.id"


@pytest.fixture
async def gateway(nats_server: NatsServer) -> AsyncIterator[Gateway]:
    async with running_gateway(nats_server.url, public_url=PUBLIC_URL, egress_allow="127.0.0.0/8") as running:
        yield running


@pytest.fixture
async def printed(gateway: Gateway) -> Account:
    """The document's device and its key. Not connected."""
    tenant = await gateway.api.tenant()
    device = await tenant.device(code="device_legacy", name="Default Device", pacePerMinute=0)
    record = ApiKey(
        id="key_printed",
        role="tenant",
        name="imported",
        hint=KEY[-4:],
        created_at=datetime.now(UTC),
        tenant=tenant.id,
        device=device,
        dialect="fonnte",
    )
    await Registry(gateway.api.bus, "keys", ApiKey).create(secrets.api_key_digest(KEY), record)
    return Account(gateway, tenant, device, KEY)


async def replayed(account: Account, name: str, varying: set[str] | None = None) -> dict[str, Any]:
    """The answer, which has the status and the form that are printed."""
    one = example(NAME, name)
    answer = await one.sent_by(account.api.http)
    assert answer.status_code == one.status, answer.text
    found = {member: value for member, value in answer.json().items() if member in one.body}
    assert_as_printed({member: found[member] for member in one.body}, one.body, varying=varying or set())
    return dict(answer.json())


@pytest.mark.shows(NAME, "POST /send", "target", "to", "message", "answer.status", "answer.reason", "error 401")
@pytest.mark.shows(NAME, "POST /api/send-message", "to", "message", "answer.id", "answer.to", "answer.timestamp")
@pytest.mark.shows(NAME, "POST /api/send-media", "to", "url", "caption", "type", "answer.id", "error 400")
async def test_messages_are_sent_and_answered_as_printed(printed: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    await printed.gateway.connect(printed.tenant, printed.device, PHONE)
    for name in ("send", "send_urlencoded", "send_unauthorized", "send_media_type"):
        await replayed(printed, name)
    text = await replayed(printed, "send_message", {"id", "timestamp"})
    async with WebSite() as site:
        url = site.page("/600x400.png", file_of("600x400.png", 500), "image/png")
        media = example(NAME, "send_media")
        media.request["json"]["url"] = url  # the document's picture, on a site of our own
        for more, kind in (({}, "image"), ({"type": "image", "caption": "Halo"}, "image")):
            media.request["json"].update(more)
            answer = await media.sent_by(printed.api.http)
            assert answer.status_code == 200, answer.text
            assert_as_printed(answer.json(), media.body, varying={"id", "timestamp"})
            assert answer.json()["message"].startswith(kind)
        pdf = site.page("/a.pdf", file_of("a.pdf", 500), "application/pdf")
        answer = await printed.post("/api/send-media", {"to": PHONE, "url": pdf, "type": "document"})
        assert answer.json()["message"] == "document message dispatched successfully", answer.text
        for name, page in (("a.png", url), ("b.pdf", pdf)):
            sent = await printed.post("/send", {"target": PHONE, "message": "x", "url": page, "filename": name})
            assert sent.json()["reason"] == "Message sent successfully", sent.text
    assert len(text["id"]) >= 12
    assert abs(text["timestamp"] - datetime.now(UTC).timestamp()) < 120


@pytest.mark.shows(NAME, "POST /api/send-message", "error 503")
@pytest.mark.shows(NAME, "GET /api/devices/:deviceId/wa-groups", "error 503")
async def test_a_device_that_is_not_connected_is_told_as_printed(printed: Account) -> None:
    for name in ("send_message_offline", "wa_groups_offline"):
        await replayed(printed, name)
    assert await printed.accepted() == [], "nothing waits until it is connected"


@pytest.mark.shows(NAME, "GET /api/devices/:deviceId/wa-groups", "deviceId", "answer.groups.id", "answer.groups.name")
async def test_groups_are_listed_as_printed(printed: Account) -> None:
    await printed.gateway.connect(printed.tenant, printed.device, PHONE)
    made = await printed.tenant.post(
        f"/devices/{printed.device}/groups", json={"subject": "Family Group", "members": ["628111222333"]}
    )
    answer = await replayed(printed, "wa_groups", {"groups"})
    assert {"id": made.json()["id"], "name": "Family Group"} in answer["groups"]


@pytest.mark.shows(NAME, "GET /api/status", "answer.devices", "answer.publicUrl", "error 500")
async def test_the_status_is_told_as_printed(printed: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    await printed.gateway.connect(printed.tenant, printed.device, PHONE)
    for _ in range(5):
        await replayed(printed, "send")
    one = example(NAME, "status")
    answer = (await one.sent_by(printed.api.http)).json()
    (device,) = answer["devices"]
    assert list(device) == list(one.body["devices"][0])
    assert {**device, "pushName": "CS WaApi"} == one.body["devices"][0]
    assert answer["publicUrl"] == PUBLIC_URL

    async def fail(*_: object) -> None:
        raise RuntimeError("something that nobody has thought of")

    monkeypatch.setattr(MessageCounts, "of", fail)
    await replayed(printed, "status_error")


async def test_the_other_shapes_of_a_key_are_understood(printed: Account) -> None:
    for value in (KEY, f"Bearer {KEY}", f"bearer {KEY}"):
        answer = await printed.api.http.get("/api/status", headers={"Authorization": value})
        assert answer.status_code == 200, value
