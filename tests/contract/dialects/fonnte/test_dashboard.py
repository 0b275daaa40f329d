"""The dashboard's own API: messages and files to one recipient, the groups of a device, the status of all."""

import re

import pytest

from tests.contract.dialects.fonnte.conftest import PHONE, Account, device_key


@pytest.mark.shows("fonnte", "POST /api/send-message", "Authorization", "Content-Type", "to", "message")
@pytest.mark.shows("fonnte", "POST /api/send-message", "answer.success", "answer.message", "answer.id")
@pytest.mark.shows("fonnte", "POST /api/send-message", "answer.to", "answer.timestamp")
async def test_a_text_is_answered_with_whatsapps_id(account: Account) -> None:
    answer = await account.post(
        "/api/send-message",
        {"to": "628123456789", "message": "Halo!"},
        headers={"Authorization": f"Bearer {account.token}"},
    )
    body = answer.json()
    assert answer.status_code == 200, answer.text
    assert body == {
        "success": True,
        "message": "Message dispatched successfully",
        "id": body["id"],
        "to": "628123456789",
        "timestamp": body["timestamp"],
    }
    sent = [fact for _, fact in await account.api.events() if getattr(fact, "status", "") == "sent"]
    assert [getattr(fact, "whatsapp_id", None) for fact in sent] == [body["id"]]
    assert isinstance(body["timestamp"], int)


@pytest.mark.shows("fonnte", "POST /api/send-message", "error 401", "error 400", "error 500", "error 503")
async def test_failures_of_a_text(account: Account, idle: Account) -> None:
    path = "/api/send-message"
    bearer = {"Authorization": f"Bearer {account.token}"}
    wrong = await account.api.http.post(path, json={"to": "1"}, headers={"Authorization": "Bearer wa_wrong"})
    assert (wrong.status_code, wrong.json()) == (401, {"error": "Unauthorized: Invalid API Key."})
    missing = await account.post(path, {"to": "628123456789"}, headers=bearer)
    assert (missing.status_code, missing.json()) == (400, {"error": "Missing required fields: to, message"})
    nobody = await account.post(path, {"to": "628125550101", "message": "x"}, headers=bearer)
    assert nobody.status_code == 500
    assert nobody.json()["error"].startswith("Failed to send message: ")
    await account.tenant.post(f"/devices/{account.device}/disconnect")
    await account.gateway.until_status(account.tenant, account.device, "DISCONNECTED")
    offline = await account.post(path, {"to": "628123456789", "message": "x"}, headers=bearer)
    assert (offline.status_code, offline.json()) == (503, {"error": "Failed to send message: Device is not connected"})


@pytest.mark.shows("fonnte", "POST /api/send-media", "Authorization", "Content-Type", "to", "url", "caption", "type")
@pytest.mark.shows("fonnte", "POST /api/send-media", "answer.success", "answer.message", "answer.id", "answer.to")
@pytest.mark.shows("fonnte", "POST /api/send-media", "answer.timestamp", "error 400", "error 401", "error 503")
async def test_media_by_url_and_their_failures(account: Account) -> None:
    path = "/api/send-media"
    fields = {"to": "628123456789", "url": "https://placehold.invalid/600x400.png"}
    wrong = await account.api.http.post(path, json=fields)
    assert (wrong.status_code, wrong.json()) == (401, {"error": "Unauthorized: Invalid API Key."})
    kind = await account.post(path, {**fields, "type": "audio"})
    assert (kind.status_code, kind.json()) == (
        400,
        {"error": "Unsupported media type. Use: 'image', 'video', 'document'"},
    )
    missing = await account.post(path, {"to": "628123456789"})
    assert (missing.status_code, missing.json()) == (400, {"error": "Missing required fields: to, url"})
    unreachable = await account.post(path, fields)
    assert unreachable.status_code == 400
    assert "could not be fetched" in unreachable.json()["error"]
    method = await account.api.http.get(path)
    assert (method.status_code, list(method.json())) == (405, ["error"])


@pytest.mark.shows("fonnte", "GET /api/devices/:deviceId/wa-groups", "Authorization", "deviceId", "error 503")
@pytest.mark.shows("fonnte", "GET /api/devices/:deviceId/wa-groups", "answer.success", "answer.groups.id")
@pytest.mark.shows("fonnte", "GET /api/devices/:deviceId/wa-groups", "answer.groups.name")
async def test_groups_of_a_device(account: Account) -> None:
    path = "/api/devices/device_legacy/wa-groups"
    bearer = {"Authorization": f"Bearer {account.token}"}
    made = await account.tenant.post(
        f"/devices/{account.device}/groups", json={"subject": "Family Group", "members": ["628123456789"]}
    )
    assert made.status_code == 201, made.text
    answer = await account.api.http.get(path, headers=bearer)
    assert answer.status_code == 200, answer.text
    groups = answer.json()["groups"]
    assert answer.json()["success"] is True
    assert {"id": made.json()["id"], "name": "Family Group"} in groups
    assert all(re.fullmatch(r"[0-9-]+@g\.us", group["id"]) for group in groups)
    nobody = await account.api.http.get(path)
    assert (nobody.status_code, nobody.json()) == (401, {"error": "Unauthorized: Invalid API Key."})
    stranger = await account.api.tenant()
    foreign = await account.api.http.get(path, headers={"Authorization": f"Bearer {stranger.key}"})
    assert (foreign.status_code, list(foreign.json())) == (404, ["error"])
    await account.tenant.post(f"/devices/{account.device}/disconnect")
    await account.gateway.until_status(account.tenant, account.device, "DISCONNECTED")
    offline = await account.api.http.get(path, headers=bearer)
    assert (offline.status_code, offline.json()) == (503, {"error": "Device is not connected or session not active"})


@pytest.mark.shows("fonnte", "GET /api/status", "Authorization", "answer.devices.id", "answer.devices.name")
@pytest.mark.shows("fonnte", "GET /api/status", "answer.devices.apiKey", "answer.devices.webhookUrl")
@pytest.mark.shows("fonnte", "GET /api/status", "answer.devices.status", "answer.devices.authenticated")
@pytest.mark.shows("fonnte", "GET /api/status", "answer.devices.hasQr", "answer.devices.qr", "answer.publicUrl")
@pytest.mark.shows("fonnte", "GET /api/status", "answer.devices.phoneNumber", "answer.devices.pushName")
@pytest.mark.shows("fonnte", "GET /api/status", "answer.devices.totalMessagesSent")
async def test_status_tells_of_the_keys_devices_and_of_no_other_key(account: Account) -> None:
    await account.post("/send", {"target": "628123456789", "message": "x"})
    other = await account.tenant.device(name="Other")
    other_key = await device_key(account.tenant, other)
    await account.tenant.post(f"/devices/{other}/connect")
    await account.gateway.until_status(account.tenant, other, "QR")
    mine = await account.api.http.get("/api/status", headers={"Authorization": f"Bearer {account.token}"})
    assert mine.status_code == 200, mine.text
    (device,) = mine.json()["devices"]
    assert device == {
        "id": "device_legacy",
        "name": "Default Device",
        "apiKey": account.token,
        "webhookUrl": "",
        "status": "CONNECTED",
        "authenticated": True,
        "hasQr": False,
        "qr": None,
        "phoneNumber": PHONE,
        "pushName": device["pushName"],
        "totalMessagesSent": 1,
    }
    assert mine.json()["publicUrl"].startswith("http")
    both = await account.api.http.get("/api/status", headers={"Authorization": f"Bearer {account.tenant.key}"})
    shown = {one["name"]: one for one in both.json()["devices"]}
    assert shown["Other"]["apiKey"] == f"wa_****{other_key[-4:]}"
    assert shown["Other"]["qr"].startswith("data:image/png;base64,")
    assert (shown["Other"]["hasQr"], shown["Other"]["status"]) == (True, "QR")
    assert account.token not in both.text
    wrong = await account.api.http.get("/api/status", headers={"Authorization": "Bearer wa_wrong"})
    assert (wrong.status_code, wrong.json()) == (401, {"error": "Unauthorized: Invalid API Key."})
