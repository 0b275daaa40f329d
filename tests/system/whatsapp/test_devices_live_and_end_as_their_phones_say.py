"""Devices on the real library: linked by both ways, opened again after a crash, ended at the phone, kept apart."""

from collections import Counter

import pytest

from tests.support.conditions import until
from tests.support.webhook_receiver import WebhookReceiver
from tests.support.whatsapp_emulator.client import EmulatorClient
from tests.support.whatsapp_emulator.journal import overlaps
from tests.system.live_system import LiveSystem
from tests.system.whatsapp.people import VERA, Number, text_of

pytestmark = [pytest.mark.system, pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(180)]

MESSAGES = 40
KILL_AFTER = 10
ACK_DELAY_S = 0.3  # far more than webhooks need to tell of what is done, on a busy machine too
RESUMED_WITHIN_S = 90.0  # the node's start and the time-out of its former self's leases, on a busy machine


async def test_a_device_is_linked_by_the_qr_code_of_its_event_stream(ayu: Number) -> None:
    shown = await ayu.shown()
    assert (shown["engine"], shown["status"], shown["phoneNumber"]) == ("neonize", "CONNECTED", ayu.phone)
    assert [status for status in ayu.device_statuses() if status in ("QR", "CONNECTED")][:2] == ["QR", "CONNECTED"]
    for hook in ayu.hooks():
        ayu.verify(hook)


async def test_a_device_is_linked_by_a_code_that_is_typed_on_the_phone(citra: Number) -> None:
    shown = await citra.shown()
    assert (shown["status"], shown["phoneNumber"], shown["pairingCode"]) == ("CONNECTED", citra.phone, None)
    assert "PAIRING_CODE" in citra.device_statuses()
    assert "QR" not in citra.device_statuses()


async def test_a_node_killed_while_sending_loses_nothing_and_opens_its_devices_without_a_code(
    ayu: Number, citra: Number, whatsapp: EmulatorClient, system: LiveSystem, counted: list[str]
) -> None:
    mark = await whatsapp.mark()
    await whatsapp.set_faults(ack_delay_s=ACK_DELAY_S)  # so that there is a middle to be killed in
    statuses_before = {number: len(number.device_statuses()) for number in (ayu, citra)}
    texts: dict[str, str] = {}  # by our id
    for count in range(MESSAGES):
        number, text = (ayu, citra)[count % 2], f"pesan {count}"
        texts[await number.send("text", VERA, text=text)] = text

    def ends() -> dict[str, str]:
        told = [data for number in (ayu, citra) for data in number.told("message.status") if data["id"] in texts]
        return {data["id"]: data["status"] for data in told if data["status"] in ("READ", "FAILED")}

    await until(f"{KILL_AFTER} messages are read", lambda: len(ends()) >= KILL_AFTER, within_s=60)
    system.kill_node()
    in_time = len(await whatsapp.journal("message.sent", after=mark))
    assert in_time < MESSAGES, "the node was killed too late"
    await until(
        "every message has its end at the webhook",
        lambda: ends().keys() == texts.keys(),
        within_s=RESUMED_WITHIN_S,
        seen=lambda: f"{len(ends())} of {MESSAGES}; {system.log_of('session-node')[-500:]}",
    )

    journal = await whatsapp.journal("message.read", after=mark)
    reads = Counter(text_of(entry["content"]) for entry in journal if entry["phone"] == VERA)
    unsure = {texts[message] for message, end in ends().items() if end == "FAILED"}
    assert len(unsure) <= 2, "of each device one message was on its way at most"
    assert {text: reads[text] for text in texts.values() if reads[text] != 1 and text not in unsure} == {}
    assert all(reads[text] <= 1 for text in unsure)
    for number in (ayu, citra):
        await number.until_status("CONNECTED")
        since = number.device_statuses()[statuses_before[number] :]
        assert "CONNECTED" in since
        assert not {"QR", "PAIRING_CODE", "LOGGED_OUT"} & set(since)
    assert not await whatsapp.journal("device.paired", after=mark)
    assert not overlaps(await whatsapp.journal())
    counted.append(f"session-node killed: {MESSAGES} accepted on WhatsApp, {len(unsure)} unknown, none lost or twice")


async def test_tenants_on_one_node_do_not_see_each_others_devices(
    ayu: Number, citra: Number, whatsapp: EmulatorClient
) -> None:
    message = await ayu.send("text", VERA, text="rahasia")
    await ayu.until_told(message, "READ")
    to_ayu = await whatsapp.say(VERA, ayu.phone, text="untuk Ayu")
    await ayu.until_received(to_ayu)
    await citra.until_received(await whatsapp.say(VERA, citra.phone, text="untuk Citra"))

    for path in (f"/devices/{ayu.device}", f"/devices/{ayu.device}/events", f"/messages/{message}"):
        assert (await citra.tenant.http.get(path)).status_code == 404, path
    body = {"deviceId": ayu.device, "to": VERA, "text": "curian"}
    assert (await citra.tenant.http.post("/messages/send-text", json=body)).status_code == 404
    for act in ("connect", "disconnect", "logout"):
        assert (await citra.tenant.http.post(f"/devices/{ayu.device}/{act}")).status_code == 404, act
    assert [device["id"] for device in await citra.tenant.call("GET", "/devices")] == [citra.device]
    assert {hook.json()["data"]["deviceId"] for hook in citra.hooks()} == {citra.device}
    assert (await ayu.shown())["status"] == "CONNECTED"


async def test_a_device_that_is_unlinked_on_the_phone_is_logged_out(
    system: LiveSystem, whatsapp: EmulatorClient, inbox: WebhookReceiver
) -> None:
    dewi = Number("Dewi", "628111000003", whatsapp, inbox)
    await dewi.settle(system)
    await dewi.link_by_qr()
    await whatsapp.remove(dewi.phone)
    await dewi.until_status("LOGGED_OUT")
    await until("the webhook tells it", lambda: dewi.device_statuses()[-1] == "LOGGED_OUT")
    message = await dewi.send("text", VERA, text="terlambat")
    await dewi.until_told(message, "FAILED")
    assert dewi.told("message.status")[-1]["error"]["code"] == "device_logged_out"
    await dewi.link_by_qr()  # the next connect shows a new code
    await dewi.tenant.close()


async def test_a_device_has_the_engine_that_its_request_names_or_the_default_one(ayu: Number) -> None:
    assert (await ayu.tenant.call("POST", "/devices", {"name": "Contoh", "engine": "sandbox"}))["engine"] == "sandbox"
    assert (await ayu.tenant.call("POST", "/devices", {"name": "Biasa"}))["engine"] == "neonize"
    refused = await ayu.tenant.http.post("/devices", json={"name": "Lain", "engine": "baileys"})
    assert refused.status_code == 400
    assert refused.json()["field"] == "engine"
