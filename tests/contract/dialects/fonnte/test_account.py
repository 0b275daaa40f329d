"""The paths of Fonnte's account: devices, their pairing, webhooks and deletion."""

import base64
import re

import pytest

from kurir.api.legacy.fonnte.telling import PATHS
from kurir.contracts.content import Text
from kurir.contracts.events import MessageQueued
from kurir.contracts.records import DialectOptions
from tests.contract.dialects.fonnte.conftest import PHONE, Account, device_key, key_with
from tests.support.api_server import Client
from tests.support.conditions import until


async def test_nobody_is_let_in_without_a_token_or_at_another_method(account: Account) -> None:
    for path in PATHS:
        answer = await account.api.http.post(path, headers={"Authorization": "wrong"})
        told = (answer.status_code, answer.json())
        assert told == (401, {"status": False, "reason": "Unauthorized: Invalid API Key."}), path
        other = await account.api.http.delete(path, headers={"Authorization": account.token})
        assert (other.status_code, other.json()["status"]) == (405, False), path


@pytest.mark.shows("fonnte", "POST /device", "answer.device", "answer.device_status", "answer.expired", "answer.name")
@pytest.mark.shows("fonnte", "POST /device", "answer.messages", "answer.package", "answer.quota", "answer.status")
async def test_a_device_tells_of_itself(account: Account) -> None:
    await account.post("/send", {"target": "628123456789", "message": "x"})
    answer = await account.post("/device")
    assert (answer.status_code, answer.json()) == (
        200,
        {
            "device": PHONE,
            "device_status": "connect",
            "expired": "unlimited",
            "messages": 1,
            "name": "Default Device",
            "package": "standard",
            "quota": "unlimited",
            "status": True,
        },
    )


@pytest.mark.shows("fonnte", "POST /add-device", "name", "device", "autoread", "personal", "group", "answer.token")
@pytest.mark.shows("fonnte", "POST /add-device", "answer.autoread", "answer.device", "answer.group", "answer.name")
@pytest.mark.shows("fonnte", "POST /add-device", "answer.personal", "answer.status")
@pytest.mark.shows("fonnte", "POST /get-devices", "answer.connected", "answer.data.autoread", "answer.data.device")
@pytest.mark.shows("fonnte", "POST /get-devices", "answer.data.expired", "answer.data.name", "answer.data.package")
@pytest.mark.shows("fonnte", "POST /get-devices", "answer.data.quota", "answer.data.status", "answer.data.token")
@pytest.mark.shows("fonnte", "POST /get-devices", "answer.devices", "answer.messages", "answer.status", "answer.type")
async def test_an_account_adds_and_lists_devices(account: Account) -> None:
    key = account.tenant.key
    form = {"name": "device name", "device": "08123456789", "autoread": "true", "personal": "true", "group": "false"}
    added = await account.api.http.post("/add-device", data=form, headers={"Authorization": key})
    body = added.json()
    assert (added.status_code, body) == (
        200,
        {
            "autoread": "on",
            "device": "08123456789",
            "group": "on",
            "name": "device name",
            "personal": "on",
            "status": True,
            "token": body["token"],
            "ignored": ["group"],
        },
    )
    told = (await account.post("/device", headers={"Authorization": body["token"]})).json()
    assert (told["device"], told["device_status"]) == ("08123456789", "disconnect")
    listed = (await account.post("/get-devices", headers={"Authorization": key})).json()
    assert (listed["connected"], listed["devices"], listed["type"]) == (1, 2, "device")
    assert listed["data"][1] == {
        "autoread": "on",
        "device": "08123456789",
        "expired": "unlimited",
        "name": "device name",
        "package": "standard",
        "quota": "unlimited",
        "status": "disconnect",
        "token": f"wa_****{body['token'][-4:]}",
    }
    for path in ("/get-devices", "/add-device"):
        refused = await account.post(path, form)
        assert (refused.status_code, refused.json()["reason"]) == (401, "unknown user")
    again = await account.api.http.post("/add-device", data=form, headers={"Authorization": key})
    assert (again.status_code, again.json()["status"]) == (409, False)
    for wrong in ({"name": "x", "device": "08123456789"}, {"name": "good"}, {"name": "good", "device": "x"}):
        answer = await account.api.http.post("/add-device", json=wrong, headers={"Authorization": key})
        assert (answer.status_code, answer.json()["reason"]) == (400, "input invalid")


@pytest.mark.shows("fonnte", "POST /update-device", "name", "device", "webhook", "webhookconnect", "webhookstatus")
@pytest.mark.shows("fonnte", "POST /update-device", "webhookchaining", "autoread", "personal", "group", "quick")
@pytest.mark.shows("fonnte", "POST /update-device", "resend", "target", "countryCode", "answer.status")
async def test_a_device_is_changed_and_gets_webhooks(account: Account) -> None:
    form = {"name": "New name", "device": "08129999999", "webhook": "https://example.com/in", "autoread": "true"}
    form |= {"webhookstatus": "https://example.com/status", "webhookconnect": "", "countryCode": "62", "quick": "false"}
    answer = await account.post("/update-device", data=form)
    assert (answer.status_code, answer.json()) == (
        200,
        {
            "status": True,
            "detail": "device updated",
            "name": "New name",
            "device": PHONE,
            "autoread": "on",
            "webhook": "https://example.com/in",
            "webhookconnect": "",
            "webhookstatus": "https://example.com/status",
            "ignored": ["countryCode"],
        },
    )
    kept = (await account.tenant.get("/webhooks")).json()
    assert [(one["url"], one["events"], one["payload"], one["deviceId"]) for one in kept] == [
        ("https://example.com/in", ["messages.upsert"], "fonnte", account.device),
        ("https://example.com/status", ["send.message.status"], "fonnte", account.device),
    ]
    changed = await account.post("/update-device", {"webhook": "https://example.com/other", "webhookstatus": ""})
    assert changed.json()["webhook"] == "https://example.com/other"
    kept = (await account.tenant.get("/webhooks")).json()
    assert [one["url"] for one in kept] == ["https://example.com/other"]
    wrong = await account.post("/update-device", {"webhook": "nowhere"})
    assert (wrong.status_code, wrong.json()["reason"]) == (400, "input invalid")


@pytest.mark.shows("fonnte", "POST /delete-device", "otp", "answer.detail", "answer.status")
async def test_a_device_is_deleted_by_a_code_that_its_own_number_gets(account: Account) -> None:
    early = await account.post("/delete-device", data={"otp": "123456"})
    assert (early.status_code, early.json()["reason"]) == (400, "otp haven't requested")
    asked = await account.post("/delete-device", data={"otp": ""})
    assert (asked.status_code, asked.json()["status"]) == (200, True), asked.text
    queued = [fact for _, fact in await account.api.events() if isinstance(fact, MessageQueued)]
    assert [fact.to for fact in queued] == [f"{PHONE}@s.whatsapp.net"]
    assert isinstance(queued[0].content, Text)
    code = queued[0].content.text[:6]
    again = await account.post("/delete-device", data={"otp": ""})
    assert again.status_code == 429
    assert re.fullmatch(r"please wait \d+ seconds before requesting new otp", again.json()["reason"])
    wrong = await account.post("/delete-device", data={"otp": f"{(int(code) + 1) % 1_000_000:06}"})
    assert (wrong.status_code, wrong.json()["reason"]) == (400, "incorrect OTP")
    right = await account.post("/delete-device", data={"otp": code})
    assert right.json() == {"detail": f"device {PHONE} successfully deleted", "status": True}
    gone = await account.tenant.get(f"/devices/{account.device}")
    assert gone.status_code == 404


async def test_five_wrong_codes_are_enough(account: Account) -> None:
    assert (await account.post("/delete-device")).status_code == 200
    assert (await account.post("/delete-device", data={"otp": "abcdef"})).json()["reason"] == "incorrect OTP"
    (fact,) = [fact for _, fact in await account.api.events() if isinstance(fact, MessageQueued)]
    assert isinstance(fact.content, Text)
    wrong = f"{(int(fact.content.text[:6]) + 1) % 1_000_000:06}"
    reasons = [(await account.post("/delete-device", data={"otp": wrong})).json()["reason"] for _ in range(7)]
    assert re.fullmatch(r"delete failed. try again in \d+ seconds", reasons[-1])
    locked = await account.post("/delete-device", data={"otp": fact.content.text[:6]})
    assert locked.status_code == 429


@pytest.mark.shows("fonnte", "POST /qr", "type", "whatsapp", "answer.url", "answer.code", "answer.status")
@pytest.mark.shows("fonnte", "POST /qr", "answer.reason")
@pytest.mark.shows("fonnte", "POST /disconnect", "answer.detail", "answer.status")
async def test_a_device_is_paired_and_let_go(idle: Account) -> None:
    shown = await idle.post("/qr")
    assert shown.status_code == 200, shown.text
    assert base64.b64decode(shown.json()["url"]).startswith(b"\x89PNG")
    code = await idle.post("/qr", data={"type": "code", "whatsapp": "08123456789"})
    assert (code.status_code, code.json()["status"]) == (200, True), code.text
    assert re.fullmatch(r"[A-Z0-9]{8}", code.json()["code"])
    wrong = await idle.post("/qr", data={"type": "sms"})
    assert (wrong.status_code, wrong.json()["reason"]) == (400, "input invalid")
    already = await idle.post("/disconnect")
    assert (already.status_code, already.json()["reason"]) == (400, "device already disconnected")
    await idle.gateway.connect(idle.tenant, idle.device)
    connected = await idle.post("/qr")
    assert (connected.status_code, connected.json()) == (400, {"status": False, "reason": "device already connect"})
    left = await idle.post("/disconnect")
    assert left.json() == {"detail": "device disconnected", "status": True}
    await idle.gateway.until_status(idle.tenant, idle.device, "LOGGED_OUT")
    again = await idle.post("/qr")
    assert again.status_code == 200, again.text


@pytest.mark.shows("fonnte", "POST /validate", "target", "countryCode", "answer.registered", "answer.not_registered")
@pytest.mark.shows("fonnte", "POST /get-whatsapp-group", "answer.data.id", "answer.data.name", "answer.status")
@pytest.mark.shows("fonnte", "POST /fetch-group", "answer.data.id", "answer.data.name", "answer.status")
@pytest.mark.shows("fonnte", "POST /rotator", "answer.data", "answer.status")
@pytest.mark.shows("fonnte", "POST /typing", "target", "duration", "stop", "answer.status")
@pytest.mark.shows("fonnte", "POST /statistics", "answer.data", "answer.status")
async def test_what_is_asked_of_a_device(account: Account) -> None:
    checked = await account.post("/validate", {"target": "08123456789,628125550101,hello", "countryCode": "62"})
    assert checked.json() == {
        "status": True,
        "registered": ["628123456789"],
        "not_registered": ["628125550101", "hello"],
    }
    made = await account.tenant.post(
        f"/devices/{account.device}/groups", json={"subject": "Family Group", "members": ["628123456789"]}
    )
    for path in ("/get-whatsapp-group", "/fetch-group"):
        listed = (await account.post(path)).json()
        assert listed["status"] is True
        assert {"id": made.json()["id"], "name": "Family Group"} in listed["data"]
    assert (await account.post("/rotator")).json() == {"data": [], "detail": "no rotator yet", "status": False}
    group = (await account.tenant.post("/contact-groups", json={"name": "1"})).json()["id"]
    numbers = {"628123456701", "628123456702"}
    for number in numbers:
        await account.tenant.post("/contacts", json={"name": number, "number": number, "groupId": group})
    rotators = (await account.post("/rotator")).json()
    assert rotators == {"data": [{"id": "rotator#1", "name": "1"}], "status": True}
    targets = ",".join(["rotator#1"] * 40)
    chosen = await account.post("/send", {"target": targets, "message": "x"})
    assert set(chosen.json()["target"]) == numbers
    nobody = await account.post("/send", {"target": "rotator#2", "message": "x"})
    assert (nobody.status_code, nobody.json()["reason"]) == (400, "target invalid")
    for more in ({"duration": 5}, {"stop": True}):
        typing = await account.post("/typing", {"target": "628123456789", **more})
        assert (typing.status_code, typing.json()["status"]) == (200, True), typing.text

    async def has_counted() -> bool:
        counted = (await account.post("/statistics")).json()
        return bool(counted == {"status": True, "days": 7, "data": {"outgoing": 40, "incoming": 0}})

    await until("all that was sent is counted", has_counted)


@pytest.mark.shows("fonnte", "POST /send", "fonnte_strict_http")
async def test_failures_are_200_for_keys_that_want_them_so(account: Account) -> None:
    token = {"Authorization": await key_with(account, DialectOptions(failures_are_200=True))}
    answer = await account.api.http.post("/send", json={"target": "hello", "message": "x"}, headers=token)
    assert (answer.status_code, answer.json()["reason"]) == (200, "target invalid")
    assert answer.json()["status"] is False
    await account.tenant.post(f"/devices/{account.device}/disconnect")
    await account.gateway.until_status(account.tenant, account.device, "DISCONNECTED")
    answer = await account.api.http.post("/send", json={"target": "628123456789", "message": "x"}, headers=token)
    assert (answer.status_code, answer.json()["reason"]) == (200, "request invalid on disconnected device")
    assert isinstance(answer.json()["requestid"], int)


async def test_no_path_tells_or_does_anything_of_another_tenants_device(account: Account) -> None:
    stranger = await account.api.tenant()
    assert isinstance(stranger, Client)
    own = await stranger.device()
    token = {"Authorization": await device_key(stranger, own)}
    sent = (await account.post("/send", {"target": "628123456789", "message": "x"})).json()["id"][0]
    told = (await account.api.http.post("/device", headers=token)).json()
    assert told["device"] == own
    listed = (await account.api.http.post("/get-devices", headers={"Authorization": stranger.key})).json()
    assert [one["device"] for one in listed["data"]] == [own]
    counted = (await account.api.http.post("/statistics", headers=token)).json()
    assert counted["data"] == {"outgoing": 0, "incoming": 0}
    status = (await account.api.http.get("/api/status", headers=token)).json()
    assert [one["id"] for one in status["devices"]] == [own]

    async def is_unknown() -> bool:
        answer = await account.api.http.post("/delete-message", json={"id": sent}, headers=token)
        return answer.status_code in (400, 503) and answer.json()["status"] is False

    await until("the stranger cannot delete it", is_unknown)
