"""The real neonize library links devices with the emulator's phones, logs in, and is unlinked."""

import pytest

from tests.support.whatsapp_emulator.client import EmulatorClient, EmulatorRefused
from tests.support.whatsapp_emulator.neonize_clients import NeonizeClients

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_device_is_linked_by_qr_code_and_logs_in(whatsapp: EmulatorClient, clients: NeonizeClients) -> None:
    before = await whatsapp.mark()
    device = await clients.pair("by-qr", "628222000001", name="Citra")
    assert device == "628222000001:1"
    pairing, login = (await whatsapp.journal("connection.pairing", "connection.logged_in", after=before))[:2]
    assert (pairing["kind"], login["device"]) == ("connection.pairing", device)
    account = (await whatsapp.accounts())["628222000001"]
    assert account["devices"][0]["prekeys"] > 100


async def test_a_device_is_linked_by_phone_code(whatsapp: EmulatorClient, clients: NeonizeClients) -> None:
    assert await clients.pair_by_code("by-code", "628222000002", name="Dewi") == "628222000002:1"
    await whatsapp.contact("628999000001")
    sent = await clients.do("by-code", "send_text", to="628999000001", text="linked by a code")
    assert (await whatsapp.until_read("628999000001", sent["id"]))["extendedTextMessage"]["text"] == "linked by a code"


async def test_one_number_links_several_devices(whatsapp: EmulatorClient, clients: NeonizeClients) -> None:
    first = await clients.pair("several-1", "628222000003")
    second = await clients.pair("several-2", "628222000003")
    assert (first, second) == ("628222000003:1", "628222000003:2")
    await whatsapp.contact("628999000002")
    before = len(clients.events)
    await whatsapp.say("628999000002", "628222000003", "to all of you")
    await clients.until_text("several-1", "to all of you", after=before)
    await clients.until_text("several-2", "to all of you", after=before)


async def test_a_code_that_no_device_shows_is_refused(whatsapp: EmulatorClient) -> None:
    with pytest.raises(EmulatorRefused, match="shows this QR code"):
        await whatsapp.scan("2@nobody,bm9pc2U=,aWQ=,c2VjcmV0,1", "628222000004")
    with pytest.raises(EmulatorRefused, match="asked for a code"):
        await whatsapp.enter_code("628222000004", "ABCD-EFGH")


async def test_a_device_that_is_removed_on_the_phone_is_logged_out(
    whatsapp: EmulatorClient, clients: NeonizeClients
) -> None:
    device = await clients.pair("removed", "628222000005")
    before = len(clients.events)
    await whatsapp.remove(device)
    await clients.until("removed", "LoggedOutEv", after=before)
    await whatsapp.until_journal("connection.ended", device=device, cause="removed")
    assert (await whatsapp.accounts())["628222000005"]["devices"] == []


async def test_a_client_that_logs_out_is_unlinked(whatsapp: EmulatorClient, clients: NeonizeClients) -> None:
    device = await clients.pair("leaving", "628222000006")
    await clients.do("leaving", "logout")
    await whatsapp.until_journal("device.removed", device=device, by="client")


async def test_a_pairing_gets_as_many_codes_as_set(whatsapp: EmulatorClient, clients: NeonizeClients) -> None:
    await whatsapp.set_faults(qr_refs=1)
    await clients.do("one-code", "open", database=clients.database("one-code"))
    code = (await clients.until("one-code", "QR"))["data"]
    assert await whatsapp.scan(code, "628222000007") == "628222000007:1"
